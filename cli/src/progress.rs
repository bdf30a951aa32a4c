//! Lines that say what is waited for, once it takes more than a second: on a terminal alone, and gone when it is over.

use crate::output::shown;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Waits, and says for what if a person is there to read it.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let people = io::stderr().is_terminal();
    let plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    match people {
        true => watched(&mut io::stderr(), plain, what, work).await,
        false => work.await,
    }
}

/// The line is written anew each second, over itself where the terminal can do that.
async fn watched<T>(to: &mut impl io::Write, plain: bool, what: &str, work: impl Future<Output = T>) -> T {
    let what = shown(what);
    let begun = Instant::now();
    let mut ticks = interval_at(begun + FIRST, STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = false;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if said && !plain {
                    let _ = to.write_all(ERASE.as_bytes()).and_then(|()| to.flush());
                }
                return done;
            }
            _ = ticks.tick(), if !(plain && said) => {
                let line = match plain {
                    true => format!("{what} …\n"),
                    false => format!("{ERASE}{what} … {}s", begun.elapsed().as_secs()),
                };
                let _ = to.write_all(line.as_bytes()).and_then(|()| to.flush());
                said = true;
            }
        }
    }
}

/// What most verbs that change something wait for.
pub const SETTLING: &str = "Waiting for the connected nodes to have it";
/// Back to the line's beginning, and nothing on it.
const ERASE: &str = "\r\u{1b}[K";
/// What is over by then is not spoken of.
const FIRST: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(plain: bool, takes: Duration) -> String {
        let mut out = Vec::new();
        let work = async {
            tokio::time::sleep(takes).await;
            7
        };
        assert_eq!(watched(&mut out, plain, "Waiting for the nodes", work).await, 7);
        String::from_utf8(out).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_takes_more_than_a_second_is_spoken_of_and_the_line_goes() {
        assert_eq!(said(false, Duration::from_millis(990)).await, "");
        let long = said(false, Duration::from_millis(2_500)).await;
        assert_eq!(long, "\r\u{1b}[KWaiting for the nodes … 1s\r\u{1b}[KWaiting for the nodes … 2s\r\u{1b}[K");
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_that_cannot_erase_gets_one_line() {
        assert_eq!(said(true, Duration::from_secs(9)).await, "Waiting for the nodes …\n");
    }
}
