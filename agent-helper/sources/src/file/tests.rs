use super::*;
use crate::Part;
use crate::testing::{Nobody, name, wanted};
use crate::value::ROOM;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

const VALUE: &[u8] = b"correct-horse-battery";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("token")
    }

    fn write(&self, bytes: &[u8], mode: u32) {
        fs::write(self.path(), bytes).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn source(&self) -> FileSource {
        FileSource::new(name("file"), self.path().to_str().unwrap(), None).unwrap()
    }

    fn in_credentials(&self) -> FileSource {
        FileSource::new(name("file"), "$CREDENTIALS_DIRECTORY/token", Some(self.0.path())).unwrap()
    }
}

async fn read(source: &FileSource) -> Result<Lease, SourceFault> {
    source.read(&wanted(""), &Nobody).await
}

async fn fault(source: &FileSource) -> SourceFault {
    read(source).await.unwrap_err()
}

fn is_current(source: &FileSource, lease: &Lease) -> bool {
    source.is_current(&Reference::default(), lease.version.as_ref().unwrap())
}

#[tokio::test]
async fn a_file_that_others_can_use_is_refused_however_little() {
    let place = Place::new();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644] {
        place.write(VALUE, 0o600);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fault(&place.source()).await, SourceFault::Denied, "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        place.write(VALUE, 0o600);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read(&place.source()).await.unwrap().part(Part::Value).unwrap().expose(), VALUE);
    }
}

#[tokio::test]
async fn only_a_plain_file_of_root_or_of_ones_own_is_read() {
    let place = Place::new();
    assert_eq!(fault(&place.source()).await, SourceFault::Missing);
    fs::create_dir(place.path()).unwrap();
    assert_eq!(fault(&place.source()).await, SourceFault::Denied);
    fs::remove_dir(place.path()).unwrap();
    place.write(VALUE, 0o600);
    let elsewhere = place.0.path().join("elsewhere");
    fs::rename(place.path(), &elsewhere).unwrap();
    symlink(&elsewhere, place.path()).unwrap();
    assert_eq!(fault(&place.source()).await, SourceFault::Denied, "a link");
    fs::remove_file(place.path()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place.path(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(fault(&place.source()).await, SourceFault::Denied, "a pipe, without waiting for its other end");
    if rustix::process::geteuid().is_root() {
        fs::remove_file(place.path()).unwrap();
        place.write(VALUE, 0o600);
        std::os::unix::fs::chown(place.path(), Some(54_321), None).unwrap();
        assert_eq!(fault(&place.source()).await, SourceFault::Denied, "another's");
    }
}

#[tokio::test]
async fn a_change_is_seen_at_the_next_use() {
    let place = Place::new();
    let source = place.source();
    place.write(b"the-first-value\n", 0o600);
    let first = read(&source).await.unwrap();
    assert!(is_current(&source, &first));

    // Put over it by rename, of the same size and with the same times.
    let meta = fs::metadata(place.path()).unwrap();
    let next = place.0.path().join("next");
    fs::write(&next, b"the-other-value\n").unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(&next).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    fs::rename(&next, place.path()).unwrap();
    assert!(!is_current(&source, &first), "another inode");
    let second = read(&source).await.unwrap();
    assert_eq!(second.part(Part::Value).unwrap().expose(), b"the-other-value");

    place.write(b"a-third-value", 0o600);
    assert!(!is_current(&source, &second), "written to");
    let third = read(&source).await.unwrap();

    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!is_current(&source, &third), "opened to others");
    assert_eq!(fault(&source).await, SourceFault::Denied);

    fs::remove_file(place.path()).unwrap();
    assert!(!is_current(&source, &third), "revoked");
    assert_eq!(fault(&source).await, SourceFault::Missing);
}

#[tokio::test]
async fn what_is_no_value_is_garbage_and_a_reference_is_refused() {
    let place = Place::new();
    for garbage in [b"short".as_slice(), b"two\nlines-of-it", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", &[b'x'; ROOM * 2]] {
        place.write(garbage, 0o600);
        assert_eq!(fault(&place.source()).await, SourceFault::Garbage);
    }
    place.write(b"", 0o600);
    assert_eq!(fault(&place.source()).await, SourceFault::Missing);
    place.write(VALUE, 0o600);
    assert_eq!(place.source().read(&wanted("x"), &Nobody).await.unwrap_err(), SourceFault::Reference);
}

#[tokio::test]
async fn the_credentials_directory_may_be_named() {
    let place = Place::new();
    place.write(VALUE, 0o400);
    assert!(read(&place.in_credentials()).await.is_ok());
    assert!(FileSource::new(name("f"), "$CREDENTIALS_DIRECTORY/token", None).is_none(), "the helper has none");
    assert!(FileSource::new(name("f"), "token", Some(place.0.path())).is_none());
    if rustix::process::geteuid().is_root() {
        // systemd lets the service's user in by an access list, which the mode shows as the group's.
        place.write(VALUE, 0o440);
        assert!(read(&place.in_credentials()).await.is_ok());
        assert_eq!(fault(&place.source()).await, SourceFault::Denied, "elsewhere that is the group");
        place.write(VALUE, 0o444);
        assert_eq!(fault(&place.in_credentials()).await, SourceFault::Denied);
    }
}
