//! `token create`.

use super::Context;
use crate::args::{TokenOrder, TokenVerb};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Table, next, relative, rfc3339, talk};
use crate::{files, progress, replies};
use avouch_wire::admin::CreateTokenRequest;
use avouch_words::{Millis, Name};
use serde_json::json;
use std::path::Path;

/// Makes a join token and puts it where only its reader sees it.
pub async fn run(context: &Context, verb: TokenVerb) -> Result<(), Failure> {
    let TokenVerb::Create { node, order } = verb;
    make(context, &node, &order).await
}

/// Makes one for this node.
pub async fn make(context: &Context, node: &Name, order: &TokenOrder) -> Result<(), Failure> {
    let TokenOrder { ttl, out } = order;
    let to_stdout = out == Path::new("-");
    if !to_stdout && out.exists() {
        let sentence = format!("{} exists already", out.display());
        return Err(Failure::new(Exit::Usage, sentence).then("Choose another name for --out, or remove that file."));
    }
    let ttl_seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let request = CreateTokenRequest { node: node.to_string(), ttl_seconds };
    let mut admin = context.admin().await?;
    let reply = progress::during("Waiting for the issuer", admin.create_token(request))
        .await
        .map_err(|status| replies::failure(&status))?;
    let reply = reply.into_inner();
    let expires = Millis(reply.expires_ms);
    if to_stdout {
        // The one place where it is shown: the token is what was asked for.
        let json = || json!({"node": reply.node_id, "expires": rfc3339(expires), "token": reply.token});
        context.output.tell(|| format!("{}\n", reply.token), json)?;
        let good = relative(expires, context.output.now());
        talk(format!("This token joins {} once; it runs out {good}.", reply.node_id));
        return Ok(());
    }
    files::create_private(out, format!("{}\n", reply.token).as_bytes())?;
    let mut table = Table::new(&["node", "expires", "file"]);
    let expires = Cell::moment(expires, context.output.now());
    table.row(vec![Cell::text(&reply.node_id), expires, Cell::text(out.display().to_string())]);
    context.output.one(&table)?;
    next("on the node, with join_token_file naming that file: avouch helper --config /etc/avouch/helper.toml");
    Ok(())
}
