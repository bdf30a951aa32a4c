//! A session keyring of the session's own. Keyrings are a uid's, and no namespace divides them.

use crate::walls::kernel;
use nix::errno::Errno;

/// Gives this thread, and all that it starts, a new and empty session keyring without a name, so that what lies in
/// its user's session keyring is possessed by none of them. Before seccomp, which refuses it.
pub(crate) fn join_fresh() -> Result<(), Errno> {
    kernel::join_new_keyring()
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux_keyutils::{KeyRing, KeyRingIdentifier};

    #[test]
    fn a_key_of_the_callers_session_is_not_found_in_the_fresh_one() {
        std::thread::spawn(|| {
            let name = format!("avouch-test-{}", std::process::id());
            let session = || KeyRing::from_special_id(KeyRingIdentifier::Session, true);
            if join_fresh().is_err() {
                eprintln!("this host has no keyrings: nothing to show");
                return;
            }
            session().expect("session").add_key(&name, b"kept").expect("key");
            let key = session().expect("session").search(&name).expect("the control");
            join_fresh().expect("another");
            assert!(session().expect("session").search(&name).is_err());
            let mut value = [0; 4];
            let read = key.read(&mut value);
            // By its number its user may still look at it: that is what seccomp refuses.
            assert!(read.is_err() || rustix::process::geteuid().is_root(), "{read:?}");
        })
        .join()
        .expect("thread");
    }
}
