//! What of an inherited environment is not for a contained session.

use crate::looks_like_secret;
use std::ffi::{OsStr, OsString};

/// An inherited environment without what is not for a contained session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// What may be passed on.
    pub environment: Vec<(OsString, OsString)>,
    /// Names of what looked like a secret, sorted; safe to print.
    pub secrets: Vec<String>,
    /// Names of what leads out of the session, sorted; safe to print.
    pub ways_out: Vec<String>,
}

/// Takes out variables that look like secrets, and those that lead to something outside: agents, buses, displays,
/// container engines, editors. Keeps what `keep` names, whatever it is.
pub fn scrub(inherited: impl Iterator<Item = (OsString, OsString)>, keep: &[OsString]) -> Scrubbed {
    let mut scrubbed = Scrubbed::default();
    for (name, value) in inherited {
        let printable = || name.to_string_lossy().escape_debug().to_string();
        if keep.contains(&name) {
            scrubbed.environment.push((name, value));
        } else if leads_out(&name) || leads_nowhere(&name, &value) {
            scrubbed.ways_out.push(printable());
        } else if looks_like_secret(&name.to_string_lossy(), &value.to_string_lossy()) {
            scrubbed.secrets.push(printable());
        } else {
            scrubbed.environment.push((name, value));
        }
    }
    scrubbed.secrets.sort_unstable();
    scrubbed.ways_out.sort_unstable();
    scrubbed
}

fn leads_out(name: &OsStr) -> bool {
    let begins = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    WAYS_OUT.iter().any(|known| name == OsStr::new(known)) || FAMILIES.iter().any(begins)
}

/// A directory for temporary files that a session has not.
fn leads_nowhere(name: &OsStr, value: &OsStr) -> bool {
    let is = |all: &[&str], one: &OsStr| all.iter().any(|known| one == OsStr::new(known));
    is(&TEMPORARY, name) && !is(&["/tmp", "/var/tmp"], value)
}

/// Sockets, displays and agents of the user's session; code that is loaded into every program. The sockets are not there in
/// any case, but a program that finds them named says odd things.
const WAYS_OUT: &[&str] = &[
    "ALACRITTY_SOCKET",
    "AT_SPI_BUS_ADDRESS",
    "BUILDKIT_HOST",
    "CONTAINER_HOST",
    "CREDENTIALS_DIRECTORY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SESSION_BUS_PID",
    "DBUS_SESSION_BUS_WINDOWID",
    "DBUS_STARTER_ADDRESS",
    "DBUS_STARTER_BUS_TYPE",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "DISPLAY",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "GIT_ASKPASS",
    "GNOME_KEYRING_CONTROL",
    "GNOME_KEYRING_PID",
    "GPG_AGENT_INFO",
    "HYPRLAND_INSTANCE_SIGNATURE",
    "I3SOCK",
    "IBUS_ADDRESS",
    "ICEAUTHORITY",
    "KITTY_LISTEN_ON",
    "KRB5CCNAME",
    "KUBECONFIG",
    "LD_AUDIT",
    "LD_PRELOAD",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NIRI_SOCKET",
    "NOTIFY_SOCKET",
    "NVIM",
    "NVIM_LISTEN_ADDRESS",
    "PIPEWIRE_REMOTE",
    "PULSE_COOKIE",
    "PULSE_SERVER",
    "REMOTE_CONTAINERS_IPC",
    "SESSION_MANAGER",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "STY",
    "SUDO_ASKPASS",
    "SWAYSOCK",
    "TMUX",
    "TMUX_PANE",
    "WAYLAND_DISPLAY",
    "WAYLAND_SOCKET",
    "WEZTERM_UNIX_SOCKET",
    "WSL_INTEROP",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "ZELLIJ",
];
const TEMPORARY: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];
/// How the names of a program's sockets and helpers begin.
const FAMILIES: &[&str] = &["VSCODE_GIT_", "VSCODE_IPC_"];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inherited: &[(&str, &str)], keep: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let inherited = inherited.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
        let keep: Vec<OsString> = keep.iter().map(OsString::from).collect();
        let scrubbed = scrub(inherited, &keep);
        let kept = scrubbed.environment.iter().map(|(name, _)| name.to_string_lossy().into_owned());
        (kept.collect(), scrubbed.secrets, scrubbed.ways_out)
    }

    #[test]
    fn secrets_and_ways_out_are_taken_away_and_named_and_one_can_be_kept() {
        let inherited = [
            ("PATH", "/bin"),
            ("SSH_AUTH_SOCK", "/tmp/agent"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1/bus"),
            ("DOCKER_HOST", "unix:///run/docker.sock"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("LD_PRELOAD", "/x.so"),
            ("VSCODE_GIT_IPC_HANDLE", "/run/user/1/x"),
            ("TERM", "xterm"),
            ("TMPDIR", "/home/u/tmp"),
            ("TMP", "/tmp"),
            ("NPM_TOKEN", "secret of npm"),
            ("GITHUB_TOKEN", "avouch:github"),
            ("DATABASE_URL", "postgres://u:hunter2@db/x"),
            ("OPENAI_API_KEY", "abc"),
        ];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (kept, secrets, ways_out) = of(&inherited, &["OPENAI_API_KEY"]);
        assert_eq!(kept, names(&["PATH", "TERM", "TMP", "GITHUB_TOKEN", "OPENAI_API_KEY"]));
        assert_eq!(secrets, names(&["DATABASE_URL", "NPM_TOKEN"]));
        let all = [
            "DBUS_SESSION_BUS_ADDRESS",
            "DOCKER_HOST",
            "LD_PRELOAD",
            "SSH_AUTH_SOCK",
            "TMPDIR",
            "VSCODE_GIT_IPC_HANDLE",
            "XDG_RUNTIME_DIR",
        ];
        assert_eq!(ways_out, names(&all));
        assert_eq!(of(&inherited, &["SSH_AUTH_SOCK"]).0[1], "SSH_AUTH_SOCK", "who asks for it gets it");
    }

    #[test]
    fn no_value_is_shown_and_a_name_cannot_write_to_a_terminal() {
        let (_, secrets, _) = of(&[("A\u{1b}[2J_TOKEN", "hunter2hunter2")], &[]);
        assert_eq!(secrets, ["A\\u{1b}[2J_TOKEN"]);
        let odd = OsString::from("MY_KEY");
        let value = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff, b'x', 0xfe]);
        assert_eq!(scrub([(odd, value)].into_iter(), &[]).secrets, ["MY_KEY"], "bytes that are no text");
    }
}
