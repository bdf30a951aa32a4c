//! `federate`: lets an agent go to a vendor with identity tokens of its own, prints what the vendor has to be told, and
//! tries it.

mod exchange;
mod settings;
mod trial;

use super::Context;
use super::jwks::moment;
use crate::args::{FederateVerb, Ordered};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, talk};
use crate::progress::{self, SETTLING};
use crate::replies;
use avouch_wire::admin::{self, CloseTargetRequest, ListTargetsRequest, OpenTargetRequest, ShowKeysRequest};
use avouch_words::Millis;
use avouch_words::target::{Target, Vendor};
use serde_json::json;
use std::collections::BTreeMap;

/// Opens, lists or closes; or, inside a session, exchanges.
pub async fn run(context: &Context, verb: FederateVerb) -> Result<(), Failure> {
    match verb.opened() {
        Ok(ordered) => open(context, ordered).await,
        Err(FederateVerb::Close { vendor, agent }) => {
            let request = CloseTargetRequest { agent: agent.to_string(), vendor: vendor.as_str().to_owned() };
            let mut admin = context.admin().await?;
            let closed = progress::during(SETTLING, admin.close_target(request)).await;
            let closed = closed.map_err(|status| replies::failure(&status))?.into_inner();
            talk(format!("{agent} gets no more tokens for {}; those it has hold until they end.", vendor.as_str()));
            context.output.one(&table(&[closed], context))
        }
        Err(FederateVerb::Exchange) => exchange::run(context).await,
        Err(_) => {
            let reply = context.admin().await?.list_targets(ListTargetsRequest {}).await;
            let targets = reply.map_err(|status| replies::failure(&status))?.into_inner().targets;
            context.output.list(&table(&targets, context))?;
            if targets.is_empty() {
                talk("No agent goes to a vendor with tokens of its own.");
                next("avouch federate aws --agent AGENT --role-arn ARN");
            }
            Ok(())
        }
    }
}

async fn open(context: &Context, (vendor, common, settings): Ordered) -> Result<(), Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let target = Target::new(vendor, common.audience.as_deref(), settings).map_err(|error| usage(&error))?;
    let mut admin = context.admin().await?;
    let keys = admin.show_keys(ShowKeysRequest {}).await.map_err(|status| replies::failure(&status))?.into_inner();
    // Nothing is opened to a vendor that could never believe a token.
    let uploaded = must_upload(vendor, &keys)?;
    let request = OpenTargetRequest {
        agent: common.agent.to_string(),
        vendor: vendor.as_str().to_owned(),
        audience: target.audience().to_owned(),
        settings: target.settings().clone().into_iter().collect(),
    };
    let opened = progress::during(SETTLING, admin.open_target(request)).await;
    let opened = opened.map_err(|status| replies::failure(&status))?.into_inner();
    let told = settings::of(&target, &opened, &keys, uploaded);
    let by = moment(keys.upload_by_ms);
    let trial = match common.test {
        true => Some(trial::run(context, &common, &target)?),
        false => None,
    };
    let json = || {
        let steps: Vec<_> = told.iter().map(|step| json!({"about": step.about, "text": step.text})).collect();
        let environment: BTreeMap<_, _> = target.environment("DIR").into_iter().collect();
        json!({
            "agent": opened.agent, "vendor": opened.vendor, "issuer": keys.issuer, "subject": opened.subject,
            "audience": opened.audience, "algorithm": opened.algorithm,
            "keys": if uploaded { "uploaded" } else { "discovery" },
            "upload_again_by": uploaded.then_some(&by),
            "environment": environment, "steps": steps, "test": trial,
        })
    };
    let text = || {
        let mut text = String::new();
        for step in &told {
            text.push_str(&format!("# {}\n{}\n\n", step.about, step.text));
        }
        text.push_str("# The environment of the agent's sessions, set by `avouch run`\n");
        for (name, value) in target.environment("DIR") {
            text.push_str(&format!("{name}={value}\n"));
        }
        text
    };
    context.output.tell(text, json)?;
    if uploaded {
        talk(format!("The keys are in there: run this again, and upload them, by {by}."));
    }
    if let Some(trial) = trial {
        talk(format!("{} took the token, and gave access for {} s.", trial["endpoint"], trial["expires_in"]));
    }
    next(format!("avouch run --agent {} -- COMMAND", common.agent));
    Ok(())
}

/// Whether the vendor has to be given the keys, as it cannot fetch them; refuses where it takes none.
fn must_upload(vendor: Vendor, keys: &admin::ShowKeysReply) -> Result<bool, Failure> {
    if !keys.issuer.starts_with("https://") {
        return Err(Failure::new(Exit::Failure, format!("{} wants an issuer with a URL that begins with https://", vendor.as_str()))
            .then("Set public.url in the issuer's settings; where the vendor takes uploaded keys, nothing needs to be served there."));
    }
    match keys.served && keys.public {
        true => Ok(false),
        false if vendor.takes_uploaded_keys() => Ok(true),
        false => Err(Failure::new(
            Exit::Failure,
            format!("{} fetches the issuer's keys itself, and {} is no public URL that serves them", vendor.as_str(), keys.issuer),
        )
        .then("Give the issuer a public URL: public.url, public.listen and a certificate, or a reverse proxy (docs/oidc.md).")),
    }
}

fn table(targets: &[admin::Target], context: &Context) -> Table {
    let mut table = Table::new(&["agent", "vendor", "audience", "subject", "algorithm", "settings", "created"]);
    for target in targets {
        let mut settings: Vec<String> = target.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.sort();
        table.row(vec![
            Cell::text(&target.agent),
            Cell::text(&target.vendor),
            Cell::text(&target.audience),
            Cell::text(&target.subject),
            Cell::text(&target.algorithm),
            Cell::list(&settings),
            Cell::moment(Millis(target.created_ms), context.output.now()),
        ]);
    }
    table
}
