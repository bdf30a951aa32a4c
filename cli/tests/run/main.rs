//! `avouch run` against a helper that says what the test wants: exit codes, signals, environment, terminal.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod terminal;
