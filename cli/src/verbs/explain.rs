//! `explain`: what the codes of refusals mean, those of calls and those of sessions.

use crate::failure::{Exit, Failure};
use crate::output::{Cell, Format, Output, Table, data};
use avouch_policy::{RefusalCode, Retry};

/// What there is to say of a code.
struct Meaning {
    code: String,
    message: String,
    action: String,
    retry: String,
}

/// One code, or all of them.
pub fn run(output: Output, code: Option<&str>) -> Result<(), Failure> {
    let mut known = meanings();
    let Some(code) = code else {
        return output.list(&table(&known));
    };
    let Some(found) = known.iter().position(|known| known.code == code) else {
        let nearest = known.iter().min_by_key(|known| distance(&known.code, code));
        let action =
            nearest.map(|nearest| format!("The nearest is {}; `avouch explain` lists them all.", nearest.code));
        let failure = Failure::new(Exit::NotFound, format!("{code:?} is no code of avouch"));
        return Err(failure.then(action.unwrap_or_default()));
    };
    let found = known.swap_remove(found);
    match output.format() {
        Format::Json => output.one(&table(&[found])),
        Format::Table => {
            let Meaning { message, action, retry, .. } = found;
            data(format!("{code}: {message}\n\nwhat to do: {action}\nretry: {retry}\n"))
        }
    }
}

/// Of calls first. A code that both have says the same of either: that it is not allowed.
fn meanings() -> Vec<Meaning> {
    let calls = RefusalCode::ALL.map(|code| Meaning {
        code: code.as_str().to_owned(),
        message: code.message().to_owned(),
        action: code.action().to_owned(),
        retry: retry(code.retry()),
    });
    let mut known = Vec::from(calls);
    for session in avouch_helper::session::refusals() {
        if known.iter().all(|known| known.code != session.code) {
            let retry = if session.code == "not_ready" { Retry::After(1) } else { Retry::Never };
            let (code, message, action) = (session.code, session.message, session.action);
            known.push(Meaning { code, message, action, retry: self::retry(retry) });
        }
    }
    known
}

fn table(meanings: &[Meaning]) -> Table {
    let mut table = Table::new(&["code", "retry", "message", "action"]);
    for meaning in meanings {
        let cells = [&meaning.code, &meaning.retry, &meaning.message, &meaning.action];
        table.row(cells.map(Cell::text).into());
    }
    table
}

fn retry(retry: Retry) -> String {
    match retry.after_seconds() {
        Some(seconds) => format!("{} {seconds}s", retry.as_str()),
        None => retry.as_str().to_owned(),
    }
}

/// How many letters differ, place by place: enough to find a slip of the finger.
fn distance(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).filter(|(a, b)| a == b).count();
    one.chars().count().max(other.chars().count()) - same
}

#[cfg(test)]
mod tests {
    use super::*;
    use avouch_words::Millis;

    #[test]
    fn an_unknown_code_names_the_nearest_one() {
        let output = Output::new(Some(Format::Table), Millis(0)).unwrap();
        let failure = run(output, Some("unbound_hots")).unwrap_err();
        assert_eq!(failure.code(), 3);
        assert!(failure.to_string().contains("The nearest is unbound_host;"), "{failure}");
        run(output, Some("init_not_below")).unwrap();
    }
}
