//! `jwks print`.

use super::Context;
use crate::args::JwksVerb;
use crate::failure::{Exit, Failure};
use crate::output::talk;
use crate::replies;
use avouch_wire::admin::ShowKeysRequest;
use avouch_words::Millis;
use serde_json::{Value, json};

/// Prints.
pub async fn run(context: &Context, verb: &JwksVerb) -> Result<(), Failure> {
    let JwksVerb::Print { url } = verb;
    let keys = context.admin().await?.show_keys(ShowKeysRequest {}).await;
    let keys = keys.map_err(|status| replies::failure(&status))?.into_inner();
    if *url {
        if !keys.served {
            return Err(Failure::new(Exit::NotFound, "the issuer serves its keys nowhere")
                .then("Set public.url and public.listen in its settings, or upload what `avouch jwks print` prints."));
        }
        let place = format!("{}/keys", keys.issuer);
        return context.output.tell(|| format!("{place}\n"), || json!({"issuer": keys.issuer, "jwks_uri": place}));
    }
    let jwks: Value = serde_json::from_str(&keys.jwks)
        .map_err(|_| Failure::new(Exit::Failure, "the issuer's keys cannot be read"))?;
    let (from, by) = (moment(keys.upload_from_ms), moment(keys.upload_by_ms));
    let there = keys.upload_from_ms <= context.output.now().0;
    talk(match there {
        true => format!("Upload these now: the newest of them signs from {by} at the latest."),
        false => format!("Upload them again between {from}, when the next key is there, and {by}, when it signs."),
    });
    let json = || {
        json!({
            "issuer": keys.issuer, "jwks": jwks, "upload_again_from": from, "upload_again_by": by,
            "served": keys.served, "rs256_audiences": keys.rs256_audiences,
        })
    };
    context.output.tell(|| format!("{jwks:#}\n"), json)
}

/// A moment as RFC 3339 has it.
pub fn moment(millis: i64) -> String {
    crate::output::rfc3339(Millis(millis))
}
