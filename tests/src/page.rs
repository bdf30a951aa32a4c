//! A page of the docs as a test: its code blocks are what is run. A block begins with one of these words.
//!
//! | after the backticks | what is done with the block |
//! |---|---|
//! | `sh` | run with a shell in the page's folder |
//! | `sh install` | nothing: `tests/quickstarts/install` has run it |
//! | `text` | each line has to be in the output of the block before it, in this order; `…` stands for anything |
//! | a language and a file's name | written to that file in the page's folder |

use std::io;
use std::path::Path;

/// One code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// To be run.
    Run(String),
    /// To be run beforehand, by the runner of the tests.
    Install(String),
    /// To be found in what the last block printed.
    Printed(String),
    /// A file to be written: its name and content.
    File(String, String),
}

/// The blocks of a page, in order.
pub fn blocks(text: &str) -> io::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let content: String =
            lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        blocks.push(match info.split(' ').collect::<Vec<_>>()[..] {
            ["sh"] => Block::Run(content),
            ["sh", "install"] => Block::Install(content),
            ["text"] => Block::Printed(content),
            [_, file] if !file.is_empty() => Block::File(file.to_owned(), content),
            _ => return Err(io::Error::other(format!("nobody knows what to do with a block of {info:?}"))),
        });
    }
    Ok(blocks)
}

/// A block as a test runs it. Two things are not as they are typed: the binding leads to the local service, and the
/// question that `avouch run` asks once is answered by a flag.
pub fn as_run(block: &str, instead: &str) -> String {
    let line = |line: &str| match line.contains("avouch secret put ") {
        true => format!("{line} {instead}\n"),
        false => format!("{}\n", line.replace("avouch run -- ", "avouch run --yes -- ")),
    };
    block.lines().map(line).collect()
}

/// The first expected line that the output does not have, after those before it.
pub fn missing<'a>(expected: &'a str, output: &str) -> Option<&'a str> {
    let mut rest = output.lines();
    expected.lines().find(|wanted| !rest.any(|line| fits(wanted, line.trim_end())))
}

fn fits(wanted: &str, line: &str) -> bool {
    let parts: Vec<&str> = wanted.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else { return wanted == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Removes what an earlier run left in a page's folder, and leaves what was installed.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        if !INSTALLED.iter().any(|kept| entry.file_name() == *kept) {
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

/// What `tests/quickstarts/install` makes in a folder.
pub const INSTALLED: [&str; 5] = [".venv", "node_modules", "package.json", "package-lock.json", TOOLCHAIN];
/// Where it puts a Rust toolchain.
pub const TOOLCHAIN: &str = ".toolchain";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_blocks() {
        let page =
            "# A\n\n```sh install\nget it\n```\nand\n```sh\na\nb\n```\n```text\nc\n```\n```python x.py\nd\n```\n";
        let [install, run, printed, file] = [("get it\n"), ("a\nb\n"), ("c\n"), ("d\n")].map(str::to_owned);
        let wanted =
            [Block::Install(install), Block::Run(run), Block::Printed(printed), Block::File("x.py".into(), file)];
        assert_eq!(blocks(page).unwrap(), wanted);
        assert!(blocks("```\nx\n```\n").is_err() && blocks("```python\nx\n```\n").is_err());
    }

    #[test]
    fn two_things_are_not_as_they_are_typed() {
        let block = "avouch secret put a --value-stdin\navouch run -- b -- c\navouch run --agent x -- b\n";
        let run = "avouch secret put a --value-stdin --ca c\navouch run --yes -- b -- c\navouch run --agent x -- b\n";
        assert_eq!(as_run(block, "--ca c"), run);
    }

    #[test]
    fn what_is_not_printed_is_missing() {
        let output = "one\ntwo 2 three  \nfour\n";
        for there in ["one\nfour\n", "…\n", "two … three\n", "o…\nt…e\n", "two 2 three"] {
            assert_eq!(missing(there, output), None, "{there}");
        }
        for (expected, first) in [("four\none\n", "one"), ("two\n", "two"), ("…two", "…two"), ("two … 3\n", "two … 3")]
        {
            assert_eq!(missing(expected, output), Some(first));
        }
    }
}
