//! What is mounted at several places.

use crate::place::{Caller, HIDE, ORDINARY, Place, is_root, said};
use std::fs;
use std::process::Command;

pub fn what_is_hidden_is_hidden_under_all_its_names() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let place = Place::new(Caller::Ordinary);
    fs::create_dir_all(place.path("home/state/keys")).unwrap();
    fs::write(place.path("home/state/keys/key"), "sealed").unwrap();
    place.own();
    let look = "cat /mnt/state/keys/key /media/key";
    let control = with_mounts(&place, "work", &["sh", "-c", look]).output().unwrap();
    assert_eq!(said(&control), "sealedsealed", "the control");
    let run = |directory: &str| {
        let mut command = place.command("open", look);
        command.env(HIDE, place.path("home/state"));
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let words: Vec<_> = words.into_iter().map(|word| word.to_str().unwrap()).collect();
        let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        said(&with_mounts(&place, directory, &words).envs(environment).output().unwrap())
    };
    let text = run("work");
    assert!(text.contains("No such file") && !text.contains("sealed"), "{text}");
    for (directory, why) in [("/mnt", "holds your whole home"), ("/media", "belongs to avouch")] {
        let text = run(directory);
        assert!(text.contains("refused: ") && text.contains(why), "{directory}: {text}");
    }
}

/// A command of the ordinary user's where home and its keys are mounted at a second place each.
fn with_mounts(place: &Place, directory: &str, words: &[&str]) -> Command {
    let shell = "cd $1 && mount --bind home /mnt && mount --bind home/state/keys /media && cd $2 && \
                 uid=$0 && shift 2 && exec setpriv --reuid $uid --regid $uid --clear-groups \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", shell, &ORDINARY.to_string()]).args([place.path(""), place.path(directory)]);
    command.args(words);
    command
}
