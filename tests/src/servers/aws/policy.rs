//! As much of IAM's policy language as the policies of `docs/sources.md` use. What is not known allows nothing.

use serde_json::Value;
use std::collections::BTreeMap;

/// Whether an identity policy allows an action on a resource.
pub(super) fn allows(policy: &Value, action: &str, resource: &str) -> bool {
    let statements = one_or_more(&policy["Statement"]);
    let denied = |statement: &&&Value| statement["Effect"] != "Allow";
    !statements.iter().any(|statement| denied(&statement))
        && statements.iter().any(|statement| {
            statement.get("Condition").is_none()
                && any(&statement["Action"], action, true)
                && any(&statement["Resource"], resource, true)
        })
}

/// Whether a trust policy lets in whoever shows a token of this provider with these claims.
pub(super) fn trusts(policy: &Value, provider: &str, claims: &BTreeMap<String, String>) -> bool {
    one_or_more(&policy["Statement"]).iter().any(|statement| {
        statement["Effect"] == "Allow"
            && any(&statement["Action"], "sts:AssumeRoleWithWebIdentity", false)
            && statement["Principal"]["Federated"] == provider
            && statement["Condition"].as_object().is_some_and(|conditions| {
                conditions.iter().all(|(operator, keys)| {
                    let glob = match operator.as_str() {
                        "StringEquals" => false,
                        "StringLike" => true,
                        _ => return false,
                    };
                    let mut keys = keys.as_object().into_iter().flatten();
                    keys.all(|(key, wanted)| claims.get(key).is_some_and(|claim| any(wanted, claim, glob)))
                })
            })
    })
}

fn one_or_more(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |all| all.iter().collect())
}

fn any(patterns: &Value, text: &str, glob: bool) -> bool {
    one_or_more(patterns).iter().filter_map(|pattern| pattern.as_str()).any(|pattern| match glob {
        true => like(pattern.as_bytes(), text.as_bytes()),
        false => pattern == text,
    })
}

fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|at| like(rest, &text[at..])),
        (Some((b'?', pattern)), Some((_, text))) => like(pattern, text),
        (Some((a, pattern)), Some((b, text))) if a == b => like(pattern, text),
        _ => false,
    }
}
