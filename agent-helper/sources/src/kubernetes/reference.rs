//! Which key of which Secret: `NAMESPACE/NAME#KEY`. What is read here goes into a path as it is.

/// A Secret, by its namespace and name.
pub(super) type SecretName = (String, String);

/// A reference, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyReference<'a> {
    namespace: &'a str,
    name: &'a str,
    pub(super) key: &'a str,
}

/// A DNS label and a DNS subdomain (RFC 1123), and a Secret's key.
const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

impl<'a> KeyReference<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let read = text.split_once('#').and_then(|(secret, key)| {
            let (namespace, name) = secret.split_once('/')?;
            Some(Self { namespace, name, key })
        });
        let read = read.ok_or("it is written NAMESPACE/NAME#KEY")?;
        if !is_dns(read.namespace, LABEL_MAX) || read.namespace.contains('.') {
            return Err("it begins with a namespace: lower-case letters, digits and -");
        }
        if !is_dns(read.name, SUBDOMAIN_MAX) {
            return Err("after / comes a Secret's name: lower-case letters, digits, - and .");
        }
        let in_key = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if read.key.is_empty() || read.key.len() > SUBDOMAIN_MAX || !read.key.bytes().all(in_key) {
            return Err("after # comes a key of the Secret: letters, digits, -, _ and .");
        }
        Ok(read)
    }

    pub(super) fn secret(&self) -> SecretName {
        (self.namespace.to_owned(), self.name.to_owned())
    }

    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", self.namespace, self.name)
    }
}

/// Where changes of it are told, beginning after this version. The role may be for this one name alone: the API takes
/// the selector for it.
pub(super) fn watch_path((namespace, name): &SecretName, version: &str, seconds: u64) -> String {
    format!(
        "/api/v1/namespaces/{namespace}/secrets?watch=1&fieldSelector=metadata.name%3D{name}\
         &resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={seconds}"
    )
}

fn is_dns(text: &str, most: usize) -> bool {
    let label = |label: &str| {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        ends(label.bytes().next())
            && ends(label.bytes().last())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= most && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_reference_leads_to_another_path() {
        let read = KeyReference::parse("ci/git-hub.token#pass_word.txt").unwrap();
        assert_eq!(read.path(), "/api/v1/namespaces/ci/secrets/git-hub.token");
        assert_eq!(read.key, "pass_word.txt");
        for bad in [
            "",
            "ci/x",
            "x#k",
            "ci/#k",
            "/x#k",
            "ci/x#",
            "CI/x#k",
            "ci/X#k",
            "ci/../x#k",
            "ci/x/y#k",
            "ci/..#k",
            "ci/.x#k",
            "ci/x.#k",
            "ci/-x#k",
            "a.b/x#k",
            "ci/x%2f#k",
            "ci/x?y#k",
            "ci/x#k/l",
            "ci/x#k%20",
        ] {
            assert!(KeyReference::parse(bad).is_err(), "{bad}");
        }
    }
}
