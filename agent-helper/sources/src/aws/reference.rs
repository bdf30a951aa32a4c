//! Which secret, which version and which part of it: `NAME[#KEY][@STAGE]`.

/// A reference, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SecretReference<'a> {
    /// The secret's name or ARN.
    pub(super) id: &'a str,
    /// One key of the JSON object that its value is.
    pub(super) key: Option<&'a str>,
    /// The staging label of the version.
    pub(super) stage: &'a str,
}

const CURRENT: &str = "AWSCURRENT";
/// The longest name or ARN, staging label and key (the API's limits; a key's is ours).
const ID_MAX: usize = 400;
const STAGE_MAX: usize = 256;
const KEY_MAX: usize = 128;

impl<'a> SecretReference<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        // The last one: names may hold `@` too, and are then written with their stage.
        let (rest, stage) = text.rsplit_once('@').unwrap_or((text, CURRENT));
        let (id, key) = match rest.split_once('#') {
            Some((id, key)) => (id, Some(key)),
            None => (rest, None),
        };
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(in_id) {
            return Err("it begins with a secret's name or ARN: letters, digits and /_+=.@-: alone");
        }
        if stage.is_empty() || stage.len() > STAGE_MAX || !stage.bytes().all(in_id) {
            return Err("after @ comes a version stage, such as AWSPREVIOUS");
        }
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
            return Err("after # comes a key of the secret's JSON object, of at most 128 characters");
        }
        Ok(Self { id, key, stage })
    }
}

fn in_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_key_and_a_stage_are_told_apart() {
        let read = |text| {
            let read = SecretReference::parse(text).unwrap();
            (read.id, read.key, read.stage)
        };
        assert_eq!(read("prod/github"), ("prod/github", None, CURRENT));
        assert_eq!(read("prod/db#password"), ("prod/db", Some("password"), CURRENT));
        assert_eq!(read("prod/db#password@AWSPREVIOUS"), ("prod/db", Some("password"), "AWSPREVIOUS"));
        assert_eq!(read("prod/db@AWSPENDING"), ("prod/db", None, "AWSPENDING"));
        assert_eq!(read("a@b@AWSCURRENT"), ("a@b", None, CURRENT));
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf";
        assert_eq!(read(&format!("{arn}#key")), (arn, Some("key"), CURRENT));
        for bad in ["", "#k", "@AWSPREVIOUS", "a#", "a@", "a#@AWSCURRENT", "a b", "a?x", "a\"", "a#k@b d"] {
            assert!(SecretReference::parse(bad).is_err(), "{bad}");
        }
        assert!(SecretReference::parse(&"a".repeat(ID_MAX)).is_ok());
        assert!(SecretReference::parse(&"a".repeat(ID_MAX + 1)).is_err());
    }
}
