//! How a refusal looks on HTTP. The only file of the proxy that names status codes for refusals.

use avouch_policy::{RefusalCode, Retry};

use super::h1::write;
use crate::broker::Refusal;

/// The status of each code.
fn status(code: RefusalCode) -> u16 {
    match code {
        RefusalCode::BadRequest => 400,
        RefusalCode::Denied
        | RefusalCode::UnboundHost
        | RefusalCode::AddressRefused
        | RefusalCode::BrowserRequest
        | RefusalCode::PlaceholderMisplaced => 403,
        RefusalCode::AmbiguousCredential => 409,
        RefusalCode::TooLarge => 413,
        RefusalCode::Misdirected => 421,
        RefusalCode::UpstreamUnreachable | RefusalCode::UpstreamUnclean => 502,
        RefusalCode::Stale | RefusalCode::AuditUnavailable | RefusalCode::SourceUnavailable => 503,
    }
}

/// Whether the connection ends with it: where it is no longer certain where the next message begins.
pub(super) fn closes(code: RefusalCode) -> bool {
    match code {
        RefusalCode::BadRequest | RefusalCode::TooLarge | RefusalCode::Misdirected => true,
        RefusalCode::Denied
        | RefusalCode::UnboundHost
        | RefusalCode::AddressRefused
        | RefusalCode::BrowserRequest
        | RefusalCode::PlaceholderMisplaced
        | RefusalCode::AmbiguousCredential
        | RefusalCode::UpstreamUnreachable
        | RefusalCode::UpstreamUnclean
        | RefusalCode::Stale
        | RefusalCode::AuditUnavailable
        | RefusalCode::SourceUnavailable => false,
    }
}

/// The whole response. To a `HEAD` it has no body.
pub(super) fn response(out: &mut Vec<u8>, refusal: Refusal, head_only: bool, close: bool) {
    let retry = refusal.code.retry();
    let body = refusal.code.json(refusal.decision);
    let mut fields: Vec<(&str, String)> = vec![
        ("content-type", "application/json".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("x-should-retry", (retry != Retry::Never).to_string()),
    ];
    if let Some(seconds) = retry.after_seconds() {
        fields.push(("retry-after", seconds.to_string()));
    }
    if close {
        fields.push(("connection", "close".to_owned()));
    }
    write::status_line(out, status(refusal.code));
    for (name, value) in fields {
        // Made of our own constants and numbers: always fit to be a field.
        let _ = write::field(out, name, value.as_bytes());
    }
    write::number_field(out, "content-length", body.len() as u64);
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::{Millis, Ulid};

    #[test]
    fn every_refusal_is_whole_and_says_whether_to_retry() {
        for code in RefusalCode::ALL {
            let refusal = Refusal { code, decision: Ulid::new(Millis(1), [3; 10]) };
            let mut out = Vec::new();
            response(&mut out, refusal, false, closes(code));
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["error"]["code"], code.as_str());
            assert_eq!(json["error"]["decision"], refusal.decision.to_string());
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", status(code))), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())));
            assert!((400..600).contains(&status(code)));
            let after = json["error"].get("retry_after_seconds").is_some();
            assert_eq!(head.contains("\r\nretry-after: "), after, "{head}");
            assert!(head.contains(&format!("x-should-retry: {after}")), "{head}");
        }
    }

    #[test]
    fn a_refused_head_has_no_body() {
        let mut out = Vec::new();
        let refusal = Refusal { code: RefusalCode::Denied, decision: Ulid::new(Millis(1), [3; 10]) };
        response(&mut out, refusal, true, false);
        assert!(out.ends_with(b"\r\n\r\n"));
    }
}
