//! Who commits. Of git's settings a session whose home is its own gets name and e-mail address and nothing else: URLs and headers
//! in them may hold tokens, and programs that they name are run.

use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

/// The text of settings that say who commits, as those in this home do; none if they do not.
pub(crate) fn identity(home: impl AsFd) -> Option<String> {
    let texts: Vec<String> = SETTINGS.iter().filter_map(|path| text(&home, path)).collect();
    // What stands last holds, within a file and among them.
    let last = |key| texts.iter().rev().find_map(|text| value(text, key));
    let (name, email) = (last("name")?, last("email")?);
    Some(format!(
        "# All that a contained session gets of git's settings.\n[user]\n\tname = \"{name}\"\n\temail = \"{email}\"\n"
    ))
}

fn text(home: impl AsFd, path: &str) -> Option<String> {
    // Nothing that would have to be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(home, path, flags, Mode::empty()).ok()?);
    let mut text = String::new();
    let plain = file.metadata().is_ok_and(|facts| facts.is_file());
    (plain && file.take(LONGEST).read_to_string(&mut text).is_ok()).then_some(text)
}

/// The last value of `user.<key>` that stands there in plain words.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut here = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            here = section.strip_suffix(']').is_some_and(|name| name.trim().eq_ignore_ascii_case("user"));
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim().eq_ignore_ascii_case(key)
        {
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            let odd = |c: char| c.is_control() || matches!(c, '"' | '\\' | '#' | ';');
            found = (!value.is_empty() && value.len() <= LONGEST_VALUE && !value.contains(odd)).then_some(value);
        }
    }
    found
}

/// Below home, the one that holds over the other last.
const SETTINGS: [&str; 2] = [".config/git/config", FILE];
/// Where a session finds its own.
pub(crate) const FILE: &str = ".gitconfig";
const LONGEST: u64 = 64 * 1024;
const LONGEST_VALUE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Option<String> {
        let home = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(home.path().join(".config/git")).expect("folder");
        for (path, text) in files {
            std::fs::write(home.path().join(path), text).expect("file");
        }
        identity(File::open(home.path()).expect("home"))
    }

    #[test]
    fn only_name_and_address_are_taken_of_gits_settings() {
        let settings = "[url \"https://x:token@git.example/\"]\n\tinsteadOf = https://git.example/\n\
                        [core]\n\tpager = !evil\n\tname = not this\n[http]\n\textraHeader = Authorization: token\n\
                        [User]\n\tname = Ann Lee\n\temail=\"ann@example.test\"\n\tsigningKey = ABC\n[alias]\n\tx = !sh\n";
        let text = of(&[(FILE, settings)]).expect("an identity");
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            ["[user]", "\tname = \"Ann Lee\"", "\temail = \"ann@example.test\""]
        );
        for other in ["token", "evil", "ABC", "!sh"] {
            assert!(!text.contains(other), "{other}");
        }
    }

    #[test]
    fn the_last_word_holds_and_what_is_odd_is_left_out() {
        let second = "[user]\nname = B\nemail = b@example.test";
        let email =
            |files: &[(&str, &str)]| of(files).map(|text| text.lines().last().unwrap_or_default().trim().to_owned());
        let b = Some("email = \"b@example.test\"".to_owned());
        assert_eq!(email(&[(".config/git/config", second)]), b);
        assert_eq!(email(&[(".config/git/config", second), (FILE, "[user]\nname = A")]), b);
        assert_eq!(email(&[(FILE, "[user]\nname = A\nemail = a@example.test\n[user]\nemail = b@example.test")]), b);
        assert_eq!(of(&[(FILE, "[user]\nname = A")]), None);
        assert_eq!(of(&[(FILE, "[user \"x\"]\nname = A\nemail = a")]), None);
        for odd in ["a\\nb", "a\" b", "a ; b", "", "a\u{7}"] {
            assert_eq!(of(&[(FILE, &format!("[user]\nemail = a\nname = {odd}"))]), None, "{odd:?}");
        }
        assert_eq!(of(&[]), None);
    }
}
