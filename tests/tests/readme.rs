//! The README and the pages of `docs/` are kept true: their commands are commands, their links lead somewhere, and the
//! README's table has every folder.

use avouch::args::Cli;
use clap::Parser as _;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_command_of_the_readme_is_read_by_the_program() {
    let readme = readme();
    let lines: Vec<&str> = blocks(&readme).filter(|line| line.starts_with("avouch ")).collect();
    assert!(lines.len() >= 8, "{lines:?}");
    for line in lines {
        let words = shell_words(line);
        Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn every_command_and_link_of_the_docs_is_there() {
    let mut pages = 0;
    for folder in ["docs", "docs/quickstarts"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            if entry.path().extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(entry.path()).expect("a page");
            for line in blocks(&text).filter(|line| line.starts_with("avouch ")) {
                Cli::try_parse_from(shell_words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            for link in links(&text) {
                let there = link.starts_with("https://") || root().join(folder).join(link).exists();
                assert!(there, "{}: {link}", entry.path().display());
            }
            pages += 1;
        }
    }
    assert!(pages > 10, "{pages}");
}

#[test]
fn every_link_and_folder_of_the_readme_is_there() {
    let readme = readme();
    for link in links(&readme) {
        assert!(link.starts_with("https://") || root().join(link).exists(), "{link}");
    }
    let section =
        readme.split("## Where things are").nth(1).and_then(|rest| rest.split("## ").next()).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> =
        rows.flat_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for folder in &named {
        assert!(root().join(folder).is_dir(), "{folder} is not there");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split('"').skip(1).step_by(2) {
        assert!(named.contains(&member), "{member} has no line in the README");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// Where its links lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The lines of its code blocks.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").skip(1).step_by(2).flat_map(str::lines)
}

/// Words as a shell cuts them: quotes hold words together, a substitution stands for one.
fn shell_words(line: &str) -> Vec<String> {
    let line = line.replace("$(id -u)", "1000");
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, ' ') => words.push(String::new()),
            (_, other) => words.last_mut().expect("a word").push(other),
        }
    }
    words
}
