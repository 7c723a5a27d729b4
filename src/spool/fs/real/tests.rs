use super::*;
use crate::spool::fs::{read_full_at, write_all_at};

#[test]
fn the_real_disk_keeps_the_seams_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    RealFs.create_dir(&path("d"), 0o3733).unwrap();
    assert_eq!(fs::metadata(path("d")).unwrap().permissions().mode() & 0o7777, 0o3733);
    assert_eq!(RealFs.create_dir(&path("d"), 0o700).unwrap_err().kind(), ErrorKind::AlreadyExists);

    let file = RealFs.create(&path("a")).unwrap();
    write_all_at(&*file, b"abc", 2).unwrap();
    let mut buffer = [9; 8];
    assert_eq!(read_full_at(&*file, &mut buffer, 0).unwrap(), 5);
    assert_eq!((&buffer[..5], file.length().unwrap()), (&b"\0\0abc"[..], 5));
    // Not every file system can tell what is in memory.
    if let Some(count) = file.read_cached_at(&mut buffer, 2) {
        assert_eq!(&buffer[..count], b"abc");
    }
    // Not every file system has it.
    if file.reserve(9000).is_ok() {
        assert_eq!((read_full_at(&*file, &mut buffer, 0).unwrap(), file.length().unwrap()), (8, 9000));
        assert_eq!(&buffer, b"\0\0abc\0\0\0");
        file.truncate(5).unwrap();
    }
    assert!(RealFs.create(&path("a")).is_err());
    RealFs.rename(&path("a"), &path("b")).unwrap();
    RealFs.sync_dir(directory.path()).unwrap();
    std::os::unix::fs::symlink(path("b"), path("link")).unwrap();
    assert!(RealFs.open(&path("link")).is_err());
    RealFs.create(&path("c")).unwrap();
    let taken = RealFs.rename_to_new(&path("c"), &path("b")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    RealFs.rename_to_new(&path("c"), &path("e")).unwrap();
    RealFs.sync_file_system(&RealFs.open_plain(&path("e")).unwrap()).unwrap();
    RealFs.unlink(&path("b")).unwrap();
    assert!(RealFs.free_space(directory.path()).unwrap() > 0);
    assert!(RealFs.has_room(directory.path(), 1 << 16).unwrap());
    assert!(!RealFs.has_room(directory.path(), 1 << 60).unwrap());
    assert_ne!(RealFs.random().unwrap(), RealFs.random().unwrap());
}

/// A spool on NFS or a FUSE file system without RENAME_NOREPLACE picked nothing up: each file that `sendmail`
/// had acknowledged was answered with EINVAL at each round.
#[test]
fn without_norename_nothing_is_replaced_either() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a"), "a").unwrap();
    fs::write(path("b"), "b").unwrap();
    let taken = rename_by_link(&path("a"), &path("b")).unwrap_err();
    assert_eq!((taken.kind(), path("a").exists()), (ErrorKind::AlreadyExists, true));
    rename_by_link(&path("a"), &path("c")).unwrap();
    assert_eq!((fs::read(path("c")).unwrap(), path("a").exists()), (b"a".to_vec(), false));
    // Directories have no second name, as another's file has none under fs.protected_hardlinks.
    fs::create_dir(path("d")).unwrap();
    let taken = rename_by_link(&path("d"), &path("b")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    rename_by_link(&path("d"), &path("e")).unwrap();
    assert_eq!((path("d").exists(), path("e").is_dir()), (false, true));
    assert_eq!(rename_by_link(&path("no"), &path("f")).unwrap_err().kind(), ErrorKind::NotFound);
    for (errno, unknown) in [
        (Errno::INVAL, true),
        (Errno::NOSYS, true),
        (Errno::OPNOTSUPP, true),
        (Errno::EXIST, false),
        (Errno::ACCESS, false),
        (Errno::IO, false),
    ] {
        assert_eq!(is_unknown_here(errno), unknown, "{errno:?}");
    }
}

/// A file system that answers statfs with zeros read as full, and every message was refused with 452.
#[test]
fn a_file_system_without_blocks_does_not_tell_its_free_space() {
    assert_eq!(free_octets(0, 0, 0), u64::MAX);
    assert_eq!(free_octets(0, 0, 4096), u64::MAX);
    assert_eq!(free_octets(1000, 0, 4096), 0, "full");
    assert_eq!(free_octets(1000, 3, 4096), 12288);
    assert_eq!(free_octets(u64::MAX, u64::MAX, 4096), u64::MAX);
}

#[test]
fn what_is_foreign_is_neither_followed_nor_waited_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("file"), "abc").unwrap();
    std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
    fs::hard_link(path("file"), path("second")).unwrap();
    rustix::fs::mknodat(CWD, path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();

    let (_, facts) = RealFs.open_foreign(&path("second")).unwrap();
    assert_eq!((facts.is_regular, facts.links, facts.length), (true, 2, 3));
    assert_eq!(facts, RealFs.facts(&path("file")).unwrap());
    assert!(RealFs.open_foreign(&path("link")).is_err());
    assert!(!RealFs.facts(&path("link")).unwrap().is_regular);
    assert!(!RealFs.open_foreign(&path("pipe")).unwrap().1.is_regular);
}

#[test]
fn a_file_is_held_as_long_as_its_maker_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tmp");
    let file = RealFs.create_for_owner(&path).unwrap();
    assert!(RealFs.is_held(&path).unwrap() && RealFs.is_held(&path).unwrap());
    drop(file);
    assert!(!RealFs.is_held(&path).unwrap());
    assert_eq!(RealFs.is_held(&directory.path().join("b")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn one_holds_the_lock_and_its_end_releases_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let held = RealFs.lock(&path).unwrap();
    assert_eq!(RealFs.lock(&path).err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    drop(held);
    assert!(RealFs.lock(&path).is_ok());
}
