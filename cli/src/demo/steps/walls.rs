//! Step 9: the ways round the broker, in a contained session and in one that is not.

use super::{Actors, expect, indented};
use crate::demo::child::HelperProcess;
use crate::demo::order::{Order, Report, Target};
use crate::demo::place::Place;
use crate::demo::tries::{WAYS, WORKED};
use crate::demo::world::Tool;
use crate::failure::Failure;
use crate::output::{Cell, Table};

/// Where things are that the researcher has no business with.
pub(super) fn target(place: &Place, helper: &HelperProcess, lock: String, tool: &Tool) -> Target {
    Target {
        key_file: place.paths().helper_seal_key(),
        issuer: place.paths().server_runtime(),
        sockets: place.paths().helper_runtime(),
        helper: helper.number(),
        lock,
        tool: tool.plain,
    }
}

/// Has the researcher try them all, contained and not; or says why nobody can be contained here, and is false.
pub(super) async fn walls(actors: &mut Actors, target: &Target) -> Result<(bool, String), Failure> {
    let Actors { researcher, loose, witness, .. } = actors;
    let order = Order::GoRound(target.clone());
    let report = witness.hear(researcher.order(&order).await?);
    let loose = match loose {
        Ok(loose) => witness.hear(loose.order(&order).await?),
        Err(why) => {
            let line = format!(
                "This host cannot contain a session: {why}. So all of the above ran without walls, and of these ways \
                 round the broker some are open:\n\n{}",
                indented(&told(None, &report))
            );
            return Ok((false, line));
        }
    };
    for way in WAYS {
        let came = report.note(way);
        expect(!came.is_empty() && came != WORKED, &format!("{way}: contained, the researcher got there"))?;
    }
    // What nothing stops outside shows that the ways are ways.
    for way in ["the helper's seal key", "the helper in /proc", "the tool on loopback, directly"] {
        expect(loose.note(way) == WORKED, &format!("{way}, without containment: {}", loose.note(way)))?;
    }
    let line = format!(
        "The researcher, which ran contained all the while, tried to go round the broker; each way was closed. The same \
         without containment:\n\n{}",
        indented(&told(Some(&report), &loose))
    );
    Ok((true, line))
}

fn told(contained: Option<&Report>, loose: &Report) -> String {
    let mut table = match contained {
        Some(_) => Table::new(&["way", "contained", "not contained"]),
        None => Table::new(&["way", "not contained"]),
    };
    for way in WAYS {
        let notes = contained.into_iter().chain([loose]).map(|report| Cell::text(report.note(way)));
        table.row([Cell::text(way)].into_iter().chain(notes).collect());
    }
    table.to_text()
}
