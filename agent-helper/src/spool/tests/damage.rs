//! Crashes at every byte, and files that somebody else touched.

use super::*;

fn copy(from: &Path) -> tempfile::TempDir {
    let to = directory();
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|item| item.unwrap().file_name()).collect();
    // Segments last, so that the copy is no older in them than in what speaks of them.
    names.sort_by_key(|name| name.to_str().unwrap().ends_with(".jsonl"));
    for name in names {
        match fs::copy(from.join(&name), to.path().join(&name)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            done => drop(done.unwrap()),
        }
    }
    to
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_and_counted() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    for n in 0..3 {
        spool.append(event(n)).await.unwrap();
    }
    spool.close().await;
    let file = segments(dir.path(), spool.id()).remove(0);
    let whole = fs::read(&file).unwrap();
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
    for keep in 0..whole.len() {
        let torn = copy(dir.path());
        let file = torn.path().join(file.file_name().unwrap());
        File::options().write(true).open(&file).unwrap().set_len(keep as u64).unwrap();
        let spool = open(torn.path()).unwrap();
        let good = ends.iter().filter(|end| **end <= keep).count();
        let cut = keep - ends.iter().copied().filter(|end| *end <= keep).max().unwrap_or(0);
        let mut expected: Vec<_> = (0..good as u64).map(event).collect();
        if cut > 0 {
            expected.push(HelperEvent::TailCut { bytes: Count(cut as u64) });
        }
        expected.push(event(99));
        spool.append(event(99)).await.unwrap();
        assert_eq!(events(&spool).await, expected, "{keep}");
        spool.close().await;
    }
}

#[tokio::test]
async fn a_tail_of_garbage_or_zeros_is_cut() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    spool.append(event(0)).await.unwrap();
    spool.append(event(1)).await.unwrap();
    spool.close().await;
    let file = segments(dir.path(), spool.id()).remove(0);
    let whole = fs::read(&file).unwrap();
    let end = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    // A page that was never written, before one that was: one write that power loss tore.
    let hole = [&whole[..end], &[0; 64][..], b"\n", &whole[end..]].concat();
    for tail in
        [[&whole[..], &[0; 100]].concat(), [&whole[..], b"\n"].concat(), [&whole[..], b"{}\n{}\n"].concat(), hole]
    {
        let torn = copy(dir.path());
        fs::write(torn.path().join(file.file_name().unwrap()), &tail).unwrap();
        let next = open(torn.path()).unwrap();
        assert_eq!(next.id(), spool.id());
        assert!(matches!(events(&next).await.last(), Some(HelperEvent::TailCut { .. })));
        next.close().await;
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_of_anything_loses_nothing_that_was_durable() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    let writer = spool.clone();
    let task = tokio::spawn(async move {
        for n in 0..120 {
            writer.append(event(n)).await.unwrap();
            if n % 50 == 49 {
                writer.acknowledge(n - 20, note(n)).await.unwrap();
            }
        }
    });
    let mut copies = 0;
    while !task.is_finished() {
        let durable = *spool.durable().borrow();
        let torn = copy(dir.path());
        let next = open(torn.path()).unwrap();
        assert_eq!(next.id(), spool.id());
        let found = events(&next).await;
        assert!(found.len() as u64 >= durable, "{} < {durable}", found.len());
        let least = usize::try_from(durable).unwrap();
        assert_eq!(found[..least], (0..durable).map(event).collect::<Vec<_>>());
        next.close().await;
        copies += 1;
        tokio::task::yield_now().await;
    }
    task.await.unwrap();
    assert!(copies > 0);
}

#[tokio::test]
async fn a_deleted_renamed_truncated_or_grown_file_refuses_the_next_record() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("deleted", |file| fs::remove_file(file).unwrap()),
        ("renamed", |file| fs::rename(file, file.with_extension("away")).unwrap()),
        ("truncated", |file| File::options().write(true).open(file).unwrap().set_len(10).unwrap()),
        ("grown", |file| {
            let whole = fs::read(file).unwrap();
            fs::write(file, [&whole[..], b"x"].concat()).unwrap();
        }),
        ("replaced", |file| {
            let copy = file.with_extension("copy");
            fs::copy(file, &copy).unwrap();
            fs::rename(copy, file).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = directory();
        let spool = open(dir.path()).unwrap();
        spool.append(event(0)).await.unwrap();
        spool.append(intent(10)).await.unwrap();
        damage(&segments(dir.path(), spool.id())[0]);
        assert_eq!(spool.append(intent(11)).await, Err(SpoolFault::Changed), "{what}");
        assert_eq!(spool.append(event(1)).await, Err(SpoolFault::Changed), "{what}");
        spool.close().await;
        // The next start begins another spool and says which one broke; it never goes on as if nothing were.
        let next = open(dir.path()).unwrap();
        assert_ne!(next.id(), spool.id(), "{what}");
        let found = events(&next).await;
        assert!(
            matches!(&found[0], HelperEvent::SpoolBroken { previous, .. } if previous.spool == spool.id()),
            "{what}"
        );
        next.close().await;
        assert_eq!(open(dir.path()).unwrap().id(), next.id(), "{what}");
    }
}

#[tokio::test]
async fn a_spool_changed_between_runs_is_broken() {
    let dir = directory();
    let spool = open(dir.path()).unwrap();
    for n in 0..4 {
        spool.append(event(n)).await.unwrap();
    }
    spool.append(intent(10)).await.unwrap();
    spool.acknowledge(3, note(7)).await.unwrap();
    spool.close().await;
    let name = segments(dir.path(), spool.id()).remove(0).file_name().unwrap().to_owned();
    let whole = fs::read(dir.path().join(&name)).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    let mut flipped = whole.clone();
    flipped[lines[0].len() + 20] ^= 1;
    let mut rewritten = Vec::new();
    let mut chain = Chain::start(spool.id());
    for n in 0..5 {
        rewritten.extend(chain.seal(event(n + 50), Millis(1)).unwrap().bytes);
        rewritten.push(b'\n');
    }
    let damages = [
        ("flipped", Some(flipped)),
        ("a line out", Some([lines[0], lines[2], lines[3], lines[4]].concat())),
        ("two lines swapped", Some([lines[0], lines[2], lines[1], lines[3], lines[4]].concat())),
        ("acknowledged ones cut", Some(lines[..2].concat())),
        ("written anew", Some(rewritten)),
        ("gone", None),
    ];
    for (what, bytes) in damages {
        let copy = copy(dir.path());
        match bytes {
            Some(bytes) => fs::write(copy.path().join(&name), bytes).unwrap(),
            None => fs::remove_file(copy.path().join(&name)).unwrap(),
        }
        let next = open(copy.path()).unwrap();
        assert_ne!(next.id(), spool.id(), "{what}");
        let loss = if what == "gone" { Loss::Missing } else { Loss::Broken };
        let found = events(&next).await;
        assert!(
            matches!(found[0], HelperEvent::SpoolBroken { previous: SpoolEnd { spool: id, records }, loss: l }
                if id == spool.id() && records.0 >= 3 && l == loss),
            "{what}: {:?}",
            found[0]
        );
        next.close().await;
    }
    for marker in [files::MARKER, files::ACKED] {
        let copy = copy(dir.path());
        fs::write(copy.path().join(marker), "nonsense").unwrap();
        let next = open(copy.path()).unwrap();
        assert_ne!(next.id(), spool.id(), "{marker}");
        next.close().await;
    }
    // Without its marker the old spool is still seen.
    let copy = copy(dir.path());
    fs::remove_file(copy.path().join(files::MARKER)).unwrap();
    let next = open(copy.path()).unwrap();
    assert!(matches!(events(&next).await[0], HelperEvent::SpoolBroken { .. }));
    // Untouched, it goes on: the call without an outcome is the only thing new.
    let spool_again = open(dir.path()).unwrap();
    assert_eq!(spool_again.id(), spool.id());
    assert_eq!(events(&spool_again).await.len(), 6);
}
