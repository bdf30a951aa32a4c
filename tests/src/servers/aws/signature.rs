//! Signatures of version 4, verified.

use super::http::Asked;
use ring::{digest, hmac};
use std::fmt::Write;

/// Whose keys signed the request: their id. Else AWS's code for what is wrong.
pub(super) fn verify(
    asked: &Asked,
    region: &str,
    service: &str,
    secret: impl Fn(&str) -> Option<String>,
) -> Result<String, &'static str> {
    let header = asked.header("authorization").ok_or("MissingAuthenticationTokenException")?;
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("IncompleteSignature")?;
    let field = |name: &str| {
        let all = fields.split(", ").filter_map(|field| field.split_once('='));
        all.filter(|(other, _)| *other == name).map(|(_, value)| value).next().ok_or("IncompleteSignature")
    };
    let (scope, signed, shown) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let [id, day, of_region, of_service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err("IncompleteSignature");
    };
    let moment = asked.header("x-amz-date").ok_or("IncompleteSignature")?;
    if of_region != region || of_service != service || !moment.starts_with(day) {
        return Err("InvalidSignatureException");
    }
    let names: Vec<&str> = signed.split(';').collect();
    if !["host", "x-amz-date", "x-amz-target"].iter().all(|name| names.contains(name)) {
        return Err("InvalidSignatureException");
    }
    let mut canonical = format!("{}\n{}\n\n", asked.method, asked.path);
    for name in names {
        let value = asked.header(name).ok_or("InvalidSignatureException")?;
        writeln!(canonical, "{name}:{value}").map_err(|_| "InternalFailure")?;
    }
    write!(canonical, "\n{signed}\n{}", hex(digest::digest(&digest::SHA256, &asked.body).as_ref()))
        .map_err(|_| "InternalFailure")?;
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}");
    let secret = secret(id).ok_or("UnrecognizedClientException")?;
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, service, "aws4_request"] {
        key = sign(&key, part.as_bytes());
    }
    match hex(&sign(&key, to_sign.as_bytes())) == shown {
        true => Ok(id.to_owned()),
        false => Err("InvalidSignatureException"),
    }
}

fn sign(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
