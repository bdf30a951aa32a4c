//! What is mounted at several places.

use crate::place::{Caller, HIDE, ORDINARY, Place, UID, is_root, said};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

pub fn a_directory_with_a_program_that_raises_its_rights_is_not_shown_as_anothers() {
    if !is_root() {
        return println!("not run: needs root");
    }
    let write = "f=open('deep/tool','r+b'); import mmap; mmap.mmap(f.fileno(),0)[:4]=b'else'";
    for (mode, refused) in [(0o4755, true), (0o2755, true), (0o755, false)] {
        let place = Place::new(Caller::Root);
        fs::create_dir(place.path("work/deep")).unwrap();
        fs::write(place.path("work/deep/tool"), "some").unwrap();
        fs::set_permissions(place.path("work/deep/tool"), fs::Permissions::from_mode(mode)).unwrap();
        let text = place.run("work", &format!("/usr/bin/python3 -c \"{write}\"; echo ran"));
        assert_eq!(text.contains("refused: ") && text.contains("deep/tool"), refused, "{mode:o}: {text}");
        assert_eq!(text.contains("ran"), !refused, "{mode:o}: {text}");
    }
}

pub fn a_directory_of_anothers_is_shown_to_an_id_that_nobody_has() {
    if !is_root() {
        return println!("not run: needs root");
    }
    for (uid, sudo, runs) in
        [(Some(ORDINARY), None, false), (None, Some(ORDINARY), false), (Some(1_900_000_000), None, true)]
    {
        let place = Place::new(Caller::Root);
        let mut command = place.command("work", "echo ran");
        for (name, uid) in [(UID, uid), ("SUDO_UID", sudo)] {
            command.envs(uid.map(|uid| (name, uid.to_string())));
        }
        let text = said(&command.output().unwrap());
        assert_eq!((text == "ran", text.contains("belongs to uid 0")), (runs, !runs), "{text}");
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
