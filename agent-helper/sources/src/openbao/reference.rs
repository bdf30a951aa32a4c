//! Where in an OpenBao a credential lies, as its reference says it.

/// How a reference is written.
pub(super) const FORMS: &str = "write kv2:MOUNT/PATH#FIELD, kv2:MOUNT/PATH#FIELD@VERSION, kv1:MOUNT/PATH#FIELD, \
                                database:MOUNT/ROLE or pki:MOUNT/ROLE?common_name=NAME";

/// Where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A field of a secret of KV version 1.
    Kv1(Field),
    /// A field of a secret of KV version 2, and of which of its versions; none for the newest.
    Kv2(Field, Option<u64>),
    /// A role of the database secrets engine.
    Database(Role),
    /// A role of the PKI secrets engine, and what the certificate is asked to say.
    Pki(Role, Wishes),
}

/// A field of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) mount: String,
    pub(super) path: String,
    pub(super) field: String,
}

/// A role of a secrets engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) mount: String,
    pub(super) role: String,
}

/// What a certificate is asked to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) common_name: Option<String>,
    pub(super) alt_names: Option<String>,
    pub(super) ip_sans: Option<String>,
    pub(super) uri_sans: Option<String>,
    pub(super) ttl: Option<String>,
}

impl Place {
    /// Reads a reference; what is wrong with it is told as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').ok_or_else(|| format!("{text:?} names no kind: {FORMS}"))?;
        match kind {
            "kv1" => match field(rest)? {
                (field, None) => Ok(Self::Kv1(field)),
                (_, Some(_)) => Err("kv1 keeps one version: leave @VERSION out".to_owned()),
            },
            "kv2" => field(rest).map(|(field, version)| Self::Kv2(field, version)),
            "database" => role(rest).map(Self::Database),
            "pki" => {
                let (place, query) = rest.split_once('?').ok_or("pki needs a ?common_name=NAME")?;
                Ok(Self::Pki(role(place)?, wishes(query)?))
            }
            other => Err(format!("{other:?} is no kind: {FORMS}")),
        }
    }
}

fn field(text: &str) -> Result<(Field, Option<u64>), String> {
    let (place, field) = text.split_once('#').ok_or("there is no #FIELD")?;
    let (field, version) = match field.split_once('@') {
        None => (field, None),
        Some((field, version)) => {
            // As it is written by no other number, so that one version has one reference.
            let number = version.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == version);
            (field, Some(number.ok_or_else(|| format!("@{version} is no version: write a number from 1"))?))
        }
    };
    if field.is_empty() {
        return Err("the field's name is empty".to_owned());
    }
    let (mount, path) = split(place)?;
    Ok((Field { mount, path, field: field.to_owned() }, version))
}

fn role(text: &str) -> Result<Role, String> {
    let (mount, role) = split(text)?;
    match role.contains('/') {
        true => Err(format!("{role:?} is no role's name; the slashes of a mount are written %2F")),
        false => Ok(Role { mount, role }),
    }
}

/// The mount is the first segment; where it has slashes itself they are written `%2F`.
fn split(text: &str) -> Result<(String, String), String> {
    let (mount, path) = text.split_once('/').ok_or("there is no MOUNT/PATH")?;
    let mount = mount.replace("%2F", "/");
    for segment in mount.split('/').chain(path.split('/')) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:=+,@".contains(&b);
        // A step up, or an empty one, would lead to another path than the one that is shown.
        if segment.is_empty() || segment == "." || segment == ".." || !segment.bytes().all(plain) {
            return Err(format!("{segment:?} is no segment of a path: A-Z a-z 0-9 - _ . ~ : = + , @"));
        }
    }
    Ok((mount, path.to_owned()))
}

fn wishes(query: &str) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "common_name" => &mut wishes.common_name,
            "alt_names" => &mut wishes.alt_names,
            "ip_sans" => &mut wishes.ip_sans,
            "uri_sans" => &mut wishes.uri_sans,
            "ttl" => &mut wishes.ttl,
            other => return Err(format!("{other:?} is none of common_name, alt_names, ip_sans, uri_sans, ttl")),
        };
        if value.is_empty() || slot.replace(value.to_owned()).is_some() {
            return Err(format!("{key} has to be there once, with a value"));
        }
    }
    match wishes.common_name.is_some() {
        true => Ok(wishes),
        false => Err("pki needs a common_name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_one_place() {
        let field = |mount: &str, path: &str| Field { mount: mount.into(), path: path.into(), field: "token".into() };
        let role = |mount: &str, role: &str| Role { mount: mount.into(), role: role.into() };
        let cn = |name: &str| Wishes { common_name: Some(name.into()), ..Wishes::default() };
        for (text, place) in [
            ("kv2:secret/ci/github#token", Place::Kv2(field("secret", "ci/github"), None)),
            ("kv2:secret/ci/github#token@3", Place::Kv2(field("secret", "ci/github"), Some(3))),
            ("kv1:team%2Fkv/github#token", Place::Kv1(field("team/kv", "github"))),
            ("database:database/readonly", Place::Database(role("database", "readonly"))),
            ("pki:pki/tools?common_name=a.test", Place::Pki(role("pki", "tools"), cn("a.test"))),
        ] {
            assert_eq!(Place::parse(text), Ok(place), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_reference() {
        for bad in [
            "",
            "secret/ci/github#token",
            "kv3:secret/x#y",
            "kv2:secret/x",
            "kv2:secret#y",
            "kv2:secret/#y",
            "kv2:/x#y",
            "kv2:secret/x#",
            "kv2:secret/x#y@0",
            "kv2:secret/x#y@03",
            "kv2:secret/x#y@latest",
            "kv1:secret/x#y@1",
            "kv2:secret/../sys/x#y",
            "kv2:secret/a/./b#y",
            "kv2:secret//b#y",
            "kv2:secret/a?version=1#y",
            "kv2:secret/%2e%2e/x#y",
            "kv2:..%2Fsys/x#y",
            "database:database/a/b",
            "database:database",
            "pki:pki/tools",
            "pki:pki/tools?ttl=1h",
            "pki:pki/tools?common_name=",
            "pki:pki/tools?common_name=a&common_name=b",
            "pki:pki/tools?common_name=a&format=der",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
