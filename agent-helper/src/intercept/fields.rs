//! Which header fields go on, in each direction. The rest of a head is never copied.

use super::h1::{RequestHead, ResponseHead};

/// What nothing may carry on: these speak to the next hop only, or are written anew.
const HOP: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "alt-svc",
];

/// What would let a request be read as another one by what stands before the tool (case A15).
const OVERRIDES: [&str; 14] = [
    "client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Credentials by name (case A23).
const CREDENTIALS: [&str; 9] = [
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "cookie2",
    "ocp-apim-subscription-key",
    "token",
    "x-api-key",
    "x-functions-key",
];

/// Credentials by the end of their name. Not `-key` alone, as an `idempotency-key` is none.
const CREDENTIAL_ENDS: [&str; 9] =
    ["-access-key", "-api-key", "-apikey", "-auth", "-authorization", "-credential", "-password", "-secret", "-token"];

/// Whether a client's field goes to a server that a binding names, beside our own credential.
pub(super) fn goes_to_bound(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    let partial = matches!(name, "range" | "if-range" | "accept-encoding");
    let overriding = OVERRIDES.contains(&name) || name.starts_with("x-forwarded") || name.starts_with("x-envoy-");
    // Some servers read `_` as `-`.
    !(is_hop(name) || partial || is_credential(name) || overriding || name.contains('_'))
}

/// Whether a client's field is one that carries credentials.
pub(super) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIALS.contains(&name.as_str()) || CREDENTIAL_ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a client's field goes to a server that nothing binds.
pub(super) fn goes_to_unbound(name: &str) -> bool {
    !is_hop(&name.to_ascii_lowercase())
}

/// Whether a server's field goes to the client.
pub(super) fn goes_back(name: &str) -> bool {
    !is_hop(&name.to_ascii_lowercase())
}

fn is_hop(name: &str) -> bool {
    HOP.contains(&name) || name.starts_with("proxy-")
}

/// What of a request's head closes the connection although it could be read; the text names the rule.
pub(super) fn lint(head: &RequestHead) -> Result<(), &'static str> {
    let fields = head.fields();
    if fields.all("upgrade").next().is_some() || fields.all("http2-settings").next().is_some() {
        return Err("Upgrade");
    }
    // Any other option names a field to be dropped on the way: the slot's own, with luck (case A16).
    let harmless =
        |token: &[u8]| [&b"close"[..], b"keep-alive", b"te"].iter().any(|known| token.eq_ignore_ascii_case(known));
    if !fields.tokens("connection").chain(fields.tokens("proxy-connection")).all(harmless) {
        return Err("Connection names a field");
    }
    Ok(())
}

/// Whether a web page made the request (case A25). `target` is where it goes.
pub(super) fn is_browser(head: &RequestHead, target: &avouch_policy::Origin) -> bool {
    let fields = head.fields();
    let of_a_page = fields.all("sec-fetch-site").any(|site| site != b"none");
    let same = |origin: &[u8]| {
        std::str::from_utf8(origin).ok().and_then(|text| avouch_policy::Origin::parse(text).ok()).as_ref()
            == Some(target)
    };
    of_a_page || !fields.all("origin").all(same)
}

/// Whether a response to an injected request could hide a credential from the scrubber: in a content coding, or in
/// pieces (cases A05, A06).
pub(super) fn hides(response: &ResponseHead) -> bool {
    let fields = response.fields();
    let coded = fields.tokens("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let pieces = |kind: &[u8]| kind.trim_ascii_start().to_ascii_lowercase().starts_with(b"multipart/byteranges");
    coded
        || response.status() == 206
        || fields.all("content-range").next().is_some()
        || fields.all("content-type").any(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_overrides_and_hop_fields_stay_behind_on_bound_hosts() {
        for name in [
            "Authorization",
            "Cookie",
            "X-Api-Key",
            "x-goog-api-key",
            "PRIVATE-TOKEN",
            "X-Vault-Token",
            "x-amz-security-token",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Connection",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "X-HTTP-Method-Override",
            "X-Original-URL",
            "X-Rewrite-Url",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Forwarded",
            "Via",
            "Range",
            "If-Range",
            "Accept-Encoding",
            "X_Forwarded_For",
            "Expect",
            "X-Envoy-Original-Path",
        ] {
            assert!(!goes_to_bound(name), "{name}");
        }
        // A placeholder may stand in these although they are not the slot.
        assert!(avouch_policy::placeholder::KEY_FIELDS.iter().all(|name| !goes_to_bound(name)));
        for name in [
            "Accept",
            "Content-Type",
            "User-Agent",
            "X-GitHub-Api-Version",
            "Idempotency-Key",
            "anthropic-version",
            "Mcp-Method",
            "traceparent",
            "If-None-Match",
        ] {
            assert!(goes_to_bound(name), "{name}");
        }
    }

    #[test]
    fn an_agents_own_credential_goes_to_what_nothing_binds_but_hop_fields_do_not() {
        assert!(goes_to_unbound("Authorization") && goes_to_unbound("Range") && goes_to_unbound("Accept-Encoding"));
        assert!(!goes_to_unbound("Proxy-Authorization") && !goes_to_unbound("Connection"));
    }
}
