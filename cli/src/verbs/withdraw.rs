//! Before something is withdrawn: a person is asked, a script says `--yes`.

use crate::args::Withdrawal;
use crate::failure::{Exit, Failure};
use crate::prompt;
use std::io::{self, IsTerminal as _};

/// Whether to go on. What will happen is the beginning of a sentence.
pub fn confirm(withdrawal: &Withdrawal, what: &str) -> Result<(), Failure> {
    if withdrawal.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let sentence = format!("{what}, and nobody is there to be asked");
        return Err(Failure::new(Exit::Usage, sentence).then("Add --yes."));
    }
    match prompt::agreed(&format!("{what}. Go on?")) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failure, "nothing was done")),
        Err(error) => Err(Failure::new(Exit::Failure, format!("cannot ask: {error}"))),
    }
}
