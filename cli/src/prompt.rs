//! Asking a person on the terminal: for a value, without showing it, or for a yes.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Read as _, Write as _};

/// Reads one line from the terminal on stdin, which must be one; nothing that is typed is shown. The buffer does
/// not grow, so that no copy is left behind.
pub fn hidden(question: &str, longest: usize) -> io::Result<Vec<u8>> {
    let mut talk = io::stderr();
    write!(talk, "{question}: ")?;
    talk.flush()?;
    let quiet = Quiet::begin()?;
    let line = read_line(longest);
    drop(quiet);
    writeln!(talk)?;
    line
}

/// Asks for a yes, which an empty line is too.
pub fn agreed(question: &str) -> io::Result<bool> {
    let mut talk = io::stderr();
    write!(talk, "{question} [Y/n] ")?;
    talk.flush()?;
    let mut line = Vec::new();
    let mut key = [0];
    // Byte by byte: what is typed ahead is for the program that comes after.
    while line.len() < LONGEST_ANSWER && rustix::io::read(io::stdin(), &mut key)? == 1 && key[0] != b'\n' {
        line.push(key[0]);
    }
    if key[0] != b'\n' {
        return Ok(false);
    }
    Ok(matches!(line.trim_ascii().to_ascii_lowercase().as_slice(), b"" | b"y" | b"yes"))
}

/// The terminal takes keys one by one and shows none, until this is dropped. Keys send no signals meanwhile, as
/// one of those would leave it so.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let usual = tcgetattr(io::stdin())?;
        let mut raw = usual.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self(usual))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn read_line(longest: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(longest);
    let mut key = [0];
    loop {
        if io::stdin().lock().read(&mut key)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match key[0] {
            b'\r' | b'\n' => return Ok(line),
            INTERRUPT | END => return Err(io::Error::new(io::ErrorKind::Interrupted, "it was broken off")),
            BACKSPACE | DELETE => drop(line.pop()),
            _ if line.len() == longest => return Err(io::Error::other(format!("it is longer than {longest} bytes"))),
            other => line.push(other),
        }
    }
}

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;
/// The longest answer to a question, in bytes.
const LONGEST_ANSWER: usize = 64;
