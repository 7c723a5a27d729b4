//! The users of `listen.users-file` that are in force.
//!
//! Promises:
//! 1. A change of the file counts for the next login, without a reload. Its stamp is looked at before each one, and once a
//!    second.
//! 2. If the file cannot be used any more (it is broken, or gone), the users of before stay in force, and that is logged once
//!    and shown by `nullmta status`. To take all logins away, empty the file, or take its key out of the configuration.
//! 3. A file system that hangs holds the logins, one thread, and no mail.
//! 4. An unknown name gets keys that stay the same while the daemon runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{FileStamp, LoginUser, LoginUsers};
use crate::log;
use crate::sasl_server::{DecoyKeys, FoundKeys, LoginKeys, ScramHash, USUAL_ITERATIONS};

/// The file, with the users that were read from it last.
pub(super) struct UsersInForce {
    path: PathBuf,
    decoys: Option<Arc<DecoyKeys>>,
    state: Mutex<UsersState>,
}

#[derive(Default)]
struct UsersState {
    /// The users; `None` if the file could never be used.
    users: Option<Arc<AskedUsers>>,
    /// The stamp of the file that was looked at last; `None` if there was none.
    seen: Option<FileStamp>,
    was_looked_at: bool,
    /// What is wrong with it.
    fault: Option<String>,
}

/// The users at one time, as an exchange asks for them.
pub(super) struct AskedUsers {
    users: LoginUsers,
    /// The iteration counts that there are.
    counts: Vec<u32>,
    decoys: Arc<DecoyKeys>,
}

impl UsersInForce {
    /// Returns the users of the file at `path`, which was not looked at yet.
    pub(super) fn of(path: &Path) -> Arc<Self> {
        let decoys = DecoyKeys::fresh().ok().map(Arc::new);
        Arc::new(UsersInForce { path: path.into(), decoys, state: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again if it has changed. Blocks on the disk; if another thread does that already, it returns at once, so
    /// that a disk that hangs holds one thread and not one more each second.
    pub(super) fn look(&self) {
        if let Ok(state) = self.state.try_lock() {
            self.read(state);
        }
    }

    /// Returns the users that are in force now; `None` if the file could never be used. Blocks on the disk.
    pub(super) fn now(&self) -> Option<Arc<AskedUsers>> {
        self.read(self.state())
    }

    fn read(&self, mut state: MutexGuard<'_, UsersState>) -> Option<Arc<AskedUsers>> {
        let stamp = FileStamp::of(&self.path);
        if state.was_looked_at && stamp == state.seen {
            return state.users.clone();
        }
        match (LoginUsers::load(&self.path), &self.decoys) {
            (Ok(users), Some(decoys)) => {
                let is_news = state.was_looked_at;
                state.fault = None;
                if is_news {
                    log::users_read(&self.path.display(), users.0.len());
                }
                state.users = Some(AskedUsers::of(users, Arc::clone(decoys)));
            }
            (Ok(_), None) => self.note_fault(&mut state, "no random numbers to be had".into()),
            (Err(error), _) => self.note_fault(&mut state, error.to_string()),
        }
        (state.seen, state.was_looked_at) = (stamp, true);
        state.users.clone()
    }

    fn note_fault(&self, state: &mut UsersState, fault: String) {
        if state.fault.as_ref() != Some(&fault) {
            log::users_unusable(&fault, state.users.is_some());
        }
        state.fault = Some(fault);
    }

    /// Returns what is wrong with the file, and what that means; `None` if nothing is, or while it is being read.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.try_lock().ok()?;
        let means = if state.users.is_some() { log::USERS_STAY } else { log::NOBODY_LOGS_IN };
        state.fault.as_ref().map(|fault| format!("{fault}; {means}"))
    }

    fn state(&self) -> MutexGuard<'_, UsersState> {
        // No code under this lock can panic and leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskedUsers {
    fn of(users: LoginUsers, decoys: Arc<DecoyKeys>) -> Arc<Self> {
        let counts: BTreeSet<u32> = users.0.iter().map(|user| user.keys.iterations()).collect();
        let counts = if counts.is_empty() { vec![USUAL_ITERATIONS] } else { counts.into_iter().collect() };
        Arc::new(AskedUsers { users, counts, decoys })
    }

    /// Returns those of no file, where nobody is asked for a password.
    pub(super) fn none() -> Arc<Self> {
        AskedUsers::of(LoginUsers::default(), Arc::new(DecoyKeys::of(&[])))
    }

    /// Returns the user of this name.
    pub(super) fn find(&self, name: &str) -> Option<&LoginUser> {
        self.users.find(name)
    }
}

impl LoginKeys for AskedUsers {
    fn keys_of(&self, name: &str, hash: ScramHash) -> FoundKeys {
        // Only SCRAM-SHA-256 is offered, of which alone there are keys.
        let decoy = self.decoys.keys_of(name, hash, &self.counts);
        let known = self.find(name).filter(|_| hash == ScramHash::Sha256);
        FoundKeys { is_known: known.is_some(), keys: known.map_or(decoy, |user| user.keys.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::journal::testing::logged;

    const KEYS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn write(path: &Path, text: &str) {
        // A new file in its place, as editors and `nullmta user` write it.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, path).unwrap();
    }

    fn with(name: &str) -> String {
        format!("[[user]]\nname = {name:?}\nscram-sha-256 = {KEYS:?}\n")
    }

    #[test]
    fn a_change_counts_at_once_and_a_broken_file_leaves_the_users_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let users = UsersInForce::of(&path);
        let knows = |name: &str| users.now().is_some_and(|users| users.find(name).is_some());
        let said = logged(|| assert!(users.now().is_none() && users.now().is_none()));
        assert_eq!(said.matches("nobody can log in").count(), 1, "{said}");
        assert!(users.trouble().unwrap().contains("nullmta user add NAME makes it; nobody can log in"));

        write(&path, &with("ann"));
        let said = logged(|| assert!(knows("ann") && !knows("bob")));
        assert!(said.contains("were read again: 1 user in force"), "{said}");
        assert_eq!(users.trouble(), None);
        write(&path, &with("bob"));
        assert!(!knows("ann") && knows("bob"));

        for broken in ["[[user]]\n", "nonsense"] {
            write(&path, broken);
            let said = logged(|| assert!(knows("bob") && knows("bob")));
            assert_eq!(said.matches("the users of before stay in force").count(), 1, "{said}");
        }
        fs::remove_file(&path).unwrap();
        assert!(knows("bob") && users.trouble().unwrap().contains("stay in force"));
        write(&path, "");
        assert!(!knows("bob") && users.trouble().is_none());
    }

    #[test]
    fn an_unknown_name_has_keys_like_those_of_the_users() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write(&path, &with("ann"));
        let users = UsersInForce::of(&path).now().unwrap();
        let found = |name, hash| users.keys_of(name, hash);
        assert!(found("ann", ScramHash::Sha256).is_known && !found("ann", ScramHash::Sha1).is_known);
        let (one, again) = (found("bob", ScramHash::Sha256), found("bob", ScramHash::Sha256));
        assert!(!one.is_known && one.keys == again.keys);
        assert_eq!(one.keys.iterations(), 4096);
    }
}
