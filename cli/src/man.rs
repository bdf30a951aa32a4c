//! Man pages, made from the tree that the command line is read with: one for each noun and verb.

use crate::args::Cli;
use crate::failure::{Exit, Failure};
use crate::output::{Output, next, talk};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// Writes all pages, and says so.
pub fn run(dir: &Path, output: Output) -> Result<(), Failure> {
    let count = write(dir)?;
    talk(format!("Wrote {count} pages to {}.", dir.display()));
    next(format!("man -l {}", dir.join("avouch.1").display()));
    output.script(|| json!({"pages": count, "dir": dir.display().to_string()}))
}

/// Writes all pages into this directory, which is made if it is not there. How many there are.
fn write(dir: &Path) -> Result<usize, Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| {
        let pages = pages()?;
        for (file, page) in &pages {
            std::fs::write(dir.join(file), page)?;
        }
        Ok(pages.len())
    });
    written
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot write man pages to {}: {error}", dir.display())))
}

/// Each page with its file name.
fn pages() -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    collect(&root, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone()).date(REVISED).source(SOURCE).manual(MANUAL);
    pages.push((man.get_filename().into(), page(&man, command)?));
    command.get_subcommands().filter(|one| !one.is_hide_set()).try_for_each(|one| collect(one, pages))
}

/// As [`Man::render`], with the examples in a section of their own: it leaves out what stands before the help.
fn page(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if let Some(examples) = command.get_before_long_help().or(command.get_before_help()) {
        examples_section(&examples.to_string()).to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    Ok(page.replace(BROKEN_TWICE, SPACE).into_bytes())
}

/// Lines as they are: they are commands.
fn examples_section(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in text.lines().skip_while(|line| line.starts_with("Example")) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

/// When the manual last changed in more than words.
const REVISED: &str = "2026-11-21";
/// How an empty line between paragraphs is rendered, and the macro that is meant for it.
const BROKEN_TWICE: &str = ".br\n\n.br\n";
const SPACE: &str = ".sp\n";
const SOURCE: &str = concat!("avouch ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "avouch";

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command as Process, Stdio};

    fn verbs(command: &Command, into: &mut Vec<String>) {
        for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            into.push(one.get_display_name().unwrap_or_default().to_owned());
            verbs(one, into);
        }
    }

    #[test]
    fn every_noun_and_verb_has_its_page_with_its_examples() {
        let dir = tempfile::tempdir().unwrap();
        let pages_dir = dir.path().join("man1");
        write(&pages_dir).unwrap();
        let mut root = Cli::command();
        root.build();
        let mut all = vec!["avouch".to_owned()];
        verbs(&root, &mut all);
        assert!(all.len() > 30 && all.contains(&"avouch-lock-create".to_owned()), "{all:?}");
        for name in &all {
            let page = std::fs::read_to_string(pages_dir.join(format!("{name}.1"))).unwrap();
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
        }
        assert_eq!(std::fs::read_dir(&pages_dir).unwrap().count(), all.len(), "and no other page");
        let page = std::fs::read_to_string(pages_dir.join("avouch-lock-create.1")).unwrap();
        assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{page}");
        assert!(page.contains("avouch lock create \\-\\-agent researcher"), "{page}");
    }

    #[test]
    fn a_formatter_reads_every_page_without_a_warning() {
        // Whichever of the two this machine has; with neither, what they read is still what the page begins with.
        let formatters: [(&str, &[&str]); 2] =
            [("mandoc", &["-W", "warning,stop", "-T", "utf8"]), ("groff", &["-man", "-ww", "-z"])];
        for (file, page) in pages().unwrap() {
            assert!(String::from_utf8_lossy(&page).contains(".TH "), "{}", file.display());
            for (program, arguments) in formatters {
                let mut formatter = Process::new(program);
                formatter.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
                let Ok(mut child) = formatter.spawn() else { continue };
                let mut input = child.stdin.take().unwrap();
                io::Write::write_all(&mut input, &page).unwrap();
                drop(input);
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{program}: {}: {said}", file.display());
            }
        }
    }
}
