//! `explain`: what the codes of refusals mean.

use crate::failure::{Exit, Failure};
use crate::output::{Cell, Format, Output, Table, data};
use avouch_policy::{RefusalCode, Retry};

/// One code, or all of them.
pub fn run(output: Output, code: Option<&str>) -> Result<(), Failure> {
    let Some(code) = code else {
        return output.list(&table(&RefusalCode::ALL));
    };
    let Some(found) = RefusalCode::ALL.into_iter().find(|known| known.as_str() == code) else {
        let nearest = RefusalCode::ALL.map(RefusalCode::as_str).into_iter().min_by_key(|known| distance(known, code));
        let action = nearest.map(|nearest| format!("The nearest is {nearest}; `avouch explain` lists them all."));
        let failure = Failure::new(Exit::NotFound, format!("{code:?} is no code of avouch"));
        return Err(failure.then(action.unwrap_or_default()));
    };
    match output.format() {
        Format::Json => output.one(&table(&[found])),
        Format::Table => data(format!(
            "{code}: {}\n\nto the agent: {}\nretry: {}\n",
            found.message(),
            found.action(),
            retry(found.retry())
        )),
    }
}

fn table(codes: &[RefusalCode]) -> Table {
    let mut table = Table::new(&["code", "retry", "message", "action"]);
    for code in codes {
        let (message, action) = (Cell::text(code.message()), Cell::text(code.action()));
        table.row(vec![Cell::text(code.as_str()), Cell::text(retry(code.retry())), message, action]);
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
    }
}
