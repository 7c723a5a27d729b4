//! Who may read the file of a secret, and whether that is few enough.
//!
//! Promises: the file's owner is root or us, nobody else may write to it, and nobody else may read it but a group
//! of ours. Where everybody may, it is taken only if that cannot be helped: a container's secrets are mounted so, and
//! its other users are none. Then the operator is told.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::process::{getegid, geteuid, getgroups};

/// Who looks.
pub(super) struct Reader {
    pub(super) uid: u32,
    pub(super) groups: Vec<u32>,
}

impl Reader {
    /// The user that this process runs as.
    pub(super) fn ourselves() -> Reader {
        // Without them the mode is judged by the group we have for certain.
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Reader { uid: geteuid().as_raw(), groups }
    }
}

/// What the system says of an open file.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    /// Its mode cannot be changed here: the mount is read-only, or made by who runs the container.
    pub(super) is_given: bool,
}

impl Facts {
    pub(super) fn of(file: &File, metadata: &Metadata) -> Facts {
        Facts {
            mode: metadata.permissions().mode() & 0o7777,
            owner: metadata.uid(),
            group: metadata.gid(),
            is_given: is_read_only(file) || is_container_mount(metadata),
        }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Those who should.
    Few,
    /// Everybody, which is not for us to change.
    Everybody,
    /// Others, who should not.
    TooMany,
    /// It is somebody else's.
    Foreign,
}

/// Who may read the file with these `facts`.
pub(super) fn access(facts: Facts, reader: &Reader) -> Access {
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

fn is_read_only(file: &File) -> bool {
    fstatvfs(file).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether we are in a container and the file is from outside: on another file system than its root.
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

    #[test]
    fn we_have_a_group() {
        assert!(!Reader::ourselves().groups.is_empty());
    }
}
