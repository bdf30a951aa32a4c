//! The switches of a host that hold user namespaces back, and the sentence for each.

use std::fs;
use std::path::Path;

/// What the host's switches say.
#[derive(Debug, Default)]
pub(super) struct Switches {
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu.
    pub(super) apparmor: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, of Debian and others.
    pub(super) clone: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(super) most: Option<u64>,
    /// Whether this is inside a container.
    pub(super) container: bool,
}

impl Switches {
    pub(super) fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            most: number("/proc/sys/user/max_user_namespaces"),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists()),
        }
    }

    /// What to do if there are no user namespaces.
    pub(super) fn user_namespaces(&self) -> String {
        let sentence = if self.clone == Some(0) {
            "sudo sysctl -w kernel.unprivileged_userns_clone=1"
        } else if self.most == Some(0) {
            "sudo sysctl -w user.max_user_namespaces=15000"
        } else if self.container {
            "this is a container that forbids them: run avouch on its host, or give the container no network and the helper's \
             socket, as deploy/compose.yaml does"
        } else if self.apparmor.is_some_and(|on| on > 0) {
            "sudo install -m 0644 deploy/apparmor/avouch /etc/apparmor.d/avouch && sudo apparmor_parser -r /etc/apparmor.d/avouch"
        } else {
            "boot a kernel with CONFIG_USER_NS, and look whether a security module forbids user namespaces"
        };
        sentence.to_owned()
    }
}

pub(super) const PROC: &str = "the outer container covers parts of /proc: start it with --security-opt systempaths=unconfined \
                               (Docker) or --security-opt unmask=ALL (Podman)";
pub(super) const OTHER_ID: &str = "call avouch as an ordinary user, or name the owner of the work directory with --uid";
