//! What every attestor has to do, run against each.

use crate::{Subject, WorkloadAttestor};
use std::cell::Cell;

/// A process as this one's user.
pub fn subject(pid: i32, is_same: &dyn Fn() -> bool) -> Subject<'_> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Subject { pid, uid, gid, is_same }
}

/// `honest` is what the attestor has to find about the process that runs the test.
pub fn suite(attestor: &dyn WorkloadAttestor, honest: &[&str]) {
    let us = std::process::id() as i32;
    let finds = |subject: &Subject<'_>| attestor.attest(subject);

    let found = finds(&subject(us, &|| true)).expect("honest");
    for fact in honest {
        assert!(found.iter().any(|selector| selector.as_str() == *fact), "{fact} is not in {found:?}");
    }
    assert!(found.iter().all(|selector| selector.kind() == attestor.name()), "only selectors of its own type");
    assert_eq!(found, finds(&subject(us, &|| true)).expect("honest"), "the same twice");

    assert!(finds(&subject(us, &|| false)).is_err(), "not the same process any more");
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        true
    };
    finds(&subject(us, &count)).expect("honest");
    assert!(asked.get() > 0, "asks after reading");

    let mut child = std::process::Command::new("true").spawn().expect("a child");
    let exited = child.id() as i32;
    child.wait().expect("its end");
    assert!(finds(&subject(exited, &|| false)).is_err(), "exited");

    for pid in [0, -1, i32::MIN, i32::MAX] {
        assert!(finds(&subject(pid, &|| false)).is_err(), "pid {pid}");
    }
    let mut foreign = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
    let other = finds(&subject(foreign.id() as i32, &|| true));
    foreign.kill().expect("its end");
    foreign.wait().expect("its end");
    let same = other.is_ok_and(|other| honest.iter().all(|fact| other.iter().any(|found| found.as_str() == *fact)));
    assert!(!same, "another process is not this one");
}
