use std::collections::HashSet;
use std::ffi::OsString;

use super::*;
use crate::spool::fs::write_all_at;

const SECTOR: usize = 512;

/// Returns a disk with one file of two sectors: the first one was synced, then both were overwritten.
fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(Path::new("/d"), 0o700).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let file = fs.create(Path::new("/d/a")).unwrap();
    write_all_at(&*file, &[1; SECTOR], 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    write_all_at(&*file, &[2; 2 * SECTOR], 0).unwrap();
    fs
}

#[test]
fn a_crash_keeps_what_was_synced_and_anything_of_the_rest() {
    let fs = disk();
    let after = |seed| fs.image(seed).content(Path::new("/d/a")).unwrap();
    assert_eq!(after(0), [1; SECTOR]);
    assert_eq!(after(1), [2; 2 * SECTOR]);
    let images: HashSet<Vec<u8>> = (2..200).map(after).collect();
    let garbage = images.iter().any(|image| image.starts_with(&[0xA5]));
    let mixed = images.iter().any(|image| image.starts_with(&[1]) && image.ends_with(&[2]));
    assert!(garbage && mixed && images.len() > 6, "{} images", images.len());
}

#[test]
fn a_crash_may_undo_names() {
    let fs = disk();
    fs.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    let names = |seed| fs.image(seed).list(Path::new("/d")).unwrap();
    assert_eq!(names(0), ["a"]);
    assert_eq!(names(1), ["b"]);
    let seen: HashSet<Vec<OsString>> = (2..50).map(names).collect();
    assert_eq!(seen.len(), 3, "old, new or both");
    fs.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(fs.image(0).list(Path::new("/d")).unwrap(), ["b"]);
}

#[test]
fn a_rename_into_another_directory_loses_no_file() {
    let fs = disk();
    fs.create_dir(Path::new("/e"), 0o700).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.rename(Path::new("/d/a"), Path::new("/e/b")).unwrap();
    let names = |seed| ["/d", "/e"].map(|path| fs.image(seed).list(Path::new(path)).unwrap().len());
    let seen: HashSet<[usize; 2]> = (2..50).map(names).collect();
    assert_eq!(seen, HashSet::from([[1, 0], [0, 1], [1, 1]]));
}

#[test]
fn who_may_not_read_a_directory_syncs_everything() {
    let fs = disk();
    let plain = fs.open_plain(Path::new("/d/a")).unwrap();
    fs.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    fs.set_unreadable(Some(Path::new("/d")));
    assert_eq!(fs.sync_dir(Path::new("/d")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(fs.image(0).list(Path::new("/d")).unwrap(), ["a"]);
    fs.sync_file_system(&plain).unwrap();
    assert_eq!(fs.image(0).content(Path::new("/d/b")).unwrap(), [2; 2 * SECTOR]);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next_one() {
    let fs = disk();
    let file = fs.open(Path::new("/d/a")).unwrap();
    fs.set_fault(Some(DiskFault { call: 0, error: ErrorKind::Other, for_ever: false }));
    assert!(file.sync_data().is_err());
    assert!(file.sync_data().is_ok());
    assert_eq!(fs.content(Path::new("/d/a")).unwrap(), [2; 2 * SECTOR], "the page cache has it");
    assert_eq!(fs.image(0).content(Path::new("/d/a")).unwrap()[..SECTOR], [1; SECTOR]);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let fs = disk();
    fs.set_capacity(Some(2 * SECTOR as u64 + 10));
    let file = fs.open(Path::new("/d/a")).unwrap();
    assert_eq!(file.write_at(&[3; 100], 2 * SECTOR as u64).unwrap(), 10);
    assert_eq!(file.write_at(&[3; 1], 2 * SECTOR as u64 + 10).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 100], 0).unwrap(), 100, "blocks that exist");
}
