//! `avouch run` against a helper that says what the test wants: exit codes, signals, environment, terminal.

mod fake;
mod plain;
mod terminal;
