//! Opens a file that the configuration names, and checks who else may read it.
//!
//! Promises:
//! 1. Only a regular file is opened; a pipe cannot block us.
//! 2. A file that holds a secret (a password or a private key) belongs to root or to us. Nobody else may write to it, and
//!    nobody else may read it except a group of ours. A file that everybody may read is accepted only if its mode cannot
//!    be changed here, as with secrets that are mounted into a container, which has no other users. The operator is then
//!    warned.
//! 3. The open file is checked, not its name, so it cannot be exchanged in between.
//!
//! Fails: [`OpenFault`], which does not contain the path.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// The protection of a file from other readers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// Nothing: the file is public.
    Nobody,
    /// Its mode and its owner, which are checked.
    Ourselves,
    /// The directory that systemd made for it. The group bits of its mode are not checked, since the ACL that systemd
    /// sets makes the file look readable by its group.
    Systemd,
}

/// The reason why a file is not used. Nothing was read from it.
#[derive(Debug)]
pub enum OpenFault {
    /// The file cannot be opened or read.
    Unreadable(io::Error),
    /// The path names a directory, a device or a pipe.
    NotAFile,
    /// Other users may read the file, or may change it.
    OpenToOthers {
        /// The permission bits of the file, as of chmod(1).
        mode: u32,
    },
    /// The file belongs neither to root nor to us.
    WrongOwner {
        /// The owner of the file.
        uid: u32,
    },
}

impl OpenFault {
    /// Returns a message about this fault of the file at `path`.
    pub(super) fn words(&self, path: &Path) -> String {
        let (path, us) = (path.display(), geteuid().as_raw());
        match self {
            OpenFault::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                format!("cannot read {path} as uid {us}: {error}")
            }
            OpenFault::Unreadable(error) => format!("cannot read {path}: {error}"),
            OpenFault::NotAFile => format!("{path} is not a regular file"),
            OpenFault::OpenToOthers { mode } => {
                format!("{path} is open to others than its owner (mode {mode:04o}): chmod 600 {path}")
            }
            OpenFault::WrongOwner { uid } => {
                format!("{path} belongs to uid {uid}: expected root or uid {us}")
            }
        }
    }
}

/// Opens the file at `path`, which `guard` protects. Returns it with who may read it.
pub(super) fn open(path: &Path, guard: Guard) -> Result<(File, Access), OpenFault> {
    // Opening a pipe would block for ever.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(OpenFault::Unreadable)?;
    let metadata = file.metadata().map_err(OpenFault::Unreadable)?;
    if !metadata.is_file() {
        return Err(OpenFault::NotAFile);
    }
    let facts = Facts::of(&file, &metadata);
    let access = match guard {
        Guard::Nobody => Access::Few,
        Guard::Ourselves => access(facts, &Reader::ourselves()),
        Guard::Systemd if facts.mode & 0o007 != 0 => Access::TooMany,
        Guard::Systemd => Access::Few,
    };
    match access {
        Access::Few | Access::Everybody => Ok((file, access)),
        Access::TooMany => Err(OpenFault::OpenToOthers { mode: facts.mode }),
        Access::Foreign => Err(OpenFault::WrongOwner { uid: facts.owner }),
    }
}

/// Returns whether every user of this host may read the secret file at `path`, although it is used.
pub(super) fn is_exposed(path: &Path) -> bool {
    open(path, Guard::Ourselves).is_ok_and(|(_, access)| access == Access::Everybody)
}

/// The user who opens the file.
struct Reader {
    uid: u32,
    groups: Vec<u32>,
}

impl Reader {
    /// Returns the user that this process runs as.
    fn ourselves() -> Reader {
        // If the groups cannot be read, only our own group counts.
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Reader { uid: geteuid().as_raw(), groups }
    }
}

/// The facts about an open file that decide who may read it.
#[derive(Clone, Copy)]
struct Facts {
    mode: u32,
    owner: u32,
    group: u32,
    /// True if its mode cannot be changed from here: the mount is read-only, or comes from outside the container.
    is_given: bool,
}

impl Facts {
    fn of(file: &File, metadata: &Metadata) -> Facts {
        Facts {
            mode: metadata.permissions().mode() & 0o7777,
            owner: metadata.uid(),
            group: metadata.gid(),
            is_given: is_read_only(file) || is_container_mount(metadata),
        }
    }
}

/// The set of users who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Only those who should.
    Few,
    /// Everybody, and the mode cannot be changed from here.
    Everybody,
    /// Users who should not.
    TooMany,
    /// The file belongs to another user.
    Foreign,
}

/// Returns who may read the file with these `facts`, as seen by `reader`.
fn access(facts: Facts, reader: &Reader) -> Access {
    // Root may look at a file that it has given to the daemon's user, as `nullmta check` does.
    let is_ours = facts.owner == 0 || facts.owner == reader.uid || reader.uid == 0;
    let group_matters = !reader.groups.contains(&facts.group);
    if !is_ours {
        Access::Foreign
    } else if facts.mode & 0o033 != 0 || (facts.mode & 0o040 != 0 && group_matters && !facts.is_given) {
        Access::TooMany
    } else if facts.mode & 0o004 == 0 {
        Access::Few
    } else if facts.is_given {
        Access::Everybody
    } else {
        Access::TooMany
    }
}

/// Returns whether nobody on this host can change the file: its file system is read-only. That its mount is says nothing:
/// to the daemon, whose unit has `ProtectSystem=strict`, every mount is.
fn is_read_only(file: &File) -> bool {
    let of_process =
        |path: &str| std::fs::read_to_string(Path::new("/proc/self").join(path)).unwrap_or_default();
    let about = of_process(&format!("fdinfo/{}", file.as_raw_fd()));
    let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    mount.is_some_and(|mount| has_read_only_system(&of_process("mountinfo"), mount.trim()))
}

/// Returns whether the file system behind the mount with this id is read-only, by the text of `/proc/self/mountinfo`.
fn has_read_only_system(mounts: &str, id: &str) -> bool {
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id));
    let options = line.and_then(|line| line.split_once(" - ")?.1.split(' ').nth(2));
    options.is_some_and(|options| options.split(',').any(|option| option == "ro"))
}

/// Returns whether this process is in a container and the file comes from outside: its file system is not that of `/`.
fn is_container_mount(metadata: &Metadata) -> bool {
    let is_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
        || ["KUBERNETES_SERVICE_HOST", "container"].iter().any(|name| std::env::var_os(name).is_some());
    let root: io::Result<Metadata> = std::fs::metadata("/");
    is_container && root.is_ok_and(|root| root.dev() != metadata.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Docker mounts secrets as root 0444, Kubernetes as root:group 0440: neither could be used, and no mode that is
    /// accepted can be asked for there.
    #[test]
    fn those_who_may_read_a_secret() {
        let daemon = Reader { uid: 990, groups: vec![990, 2000] };
        let root = Reader { uid: 0, groups: vec![0] };
        let cases = [
            // mode, owner, group, given, as the daemon, as root
            (0o600, 0, 0, false, Access::Few, Access::Few),
            (0o400, 990, 990, false, Access::Few, Access::Few),
            (0o600, 1000, 1000, false, Access::Foreign, Access::Few),
            (0o440, 0, 2000, false, Access::Few, Access::TooMany),
            (0o640, 0, 990, false, Access::Few, Access::TooMany),
            (0o640, 0, 100, false, Access::TooMany, Access::TooMany),
            (0o440, 0, 100, true, Access::Few, Access::Few),
            (0o660, 0, 990, false, Access::TooMany, Access::TooMany),
            (0o610, 0, 990, false, Access::TooMany, Access::TooMany),
            (0o444, 0, 0, false, Access::TooMany, Access::TooMany),
            (0o444, 0, 0, true, Access::Everybody, Access::Everybody),
            (0o644, 0, 0, true, Access::Everybody, Access::Everybody),
            (0o644, 1000, 0, true, Access::Foreign, Access::Everybody),
            (0o604, 0, 0, false, Access::TooMany, Access::TooMany),
            (0o666, 0, 0, true, Access::TooMany, Access::TooMany),
            (0o446, 0, 0, true, Access::TooMany, Access::TooMany),
        ];
        for (mode, owner, group, is_given, as_daemon, as_root) in cases {
            let facts = Facts { mode, owner, group, is_given };
            let seen = (access(facts, &daemon), access(facts, &root));
            assert_eq!(seen, (as_daemon, as_root), "{mode:04o} {owner}:{group} {is_given}");
        }
    }

    /// To the daemon every file seemed to be on a read-only mount, by its own unit: a password that every user could read was
    /// taken under systemd, and refused by `check`.
    #[test]
    fn the_file_system_counts_and_not_the_mount() {
        let mounts = "304 303 254:0 / / ro,relatime shared:118 master:10 - ext4 /dev/vda rw,discard\n\
                      355 304 0:42 / /mnt/sec ro,nosuid shared:119 - tmpfs tmpfs ro\n\
                      35 304 0:43 / /srv rw - xfs /dev/vdb rw,attr2,noro,quota=ro\n";
        for (id, read_only) in [("304", false), ("355", true), ("35", false), ("3", false), ("", false)] {
            assert_eq!(has_read_only_system(mounts, id), read_only, "{id}");
        }
        assert!(!is_read_only(&tempfile::tempfile().unwrap()));
    }

    #[test]
    fn we_have_a_group() {
        assert!(!Reader::ourselves().groups.is_empty());
    }
}
