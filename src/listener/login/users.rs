//! The users of `listen.users-file` that are in force.
//!
//! Promises:
//! 1. A change of the file counts for the next login, without a reload. Its stamp is looked at before each one, and once a
//!    second.
//! 2. If the file cannot be used any more (it is broken, or gone), the users of before stay in force, and that is logged once
//!    and shown by `nullmta status`. To take all logins away, empty the file, or take its key out of the configuration.
//! 3. A file system that hangs holds one thread, each login for [`PATIENCE`], and no mail. Then the users of before are asked.
//! 4. An unknown name gets keys that stay the same while the daemon runs.
//! 5. A file that could not be read at all, as with too many open files, is read again at the next look, changed or not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::{FileStamp, LoginName, LoginUser, LoginUsers, UsersFileError};
use crate::log;
use crate::sasl_server::{DecoyKeys, FoundKeys, LoginKeys, ScramHash, USUAL_ITERATIONS};

/// The time for which a login waits for the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file, with the users that were read from it last.
pub(super) struct UsersInForce {
    path: PathBuf,
    decoys: Option<Arc<DecoyKeys>>,
    /// Held by the one thread that looks at the file, which may hang.
    turn: Arc<TurnMutex<()>>,
    /// Held for a moment, and never while the disk is waited for.
    state: Mutex<UsersState>,
}

#[derive(Default)]
struct UsersState {
    /// The users; `None` if the file could never be used.
    users: Option<Arc<AskedUsers>>,
    /// The stamp of the file whose content is known, which is `None` if there was no file; `None` if it has to be read.
    seen: Option<Option<FileStamp>>,
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
        Arc::new(UsersInForce { path: path.into(), decoys, turn: Arc::default(), state: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again if it has changed, unless a thread does that already: a disk that hangs holds one thread and not one
    /// more each second. Returns at once.
    pub(super) fn look(self: &Arc<Self>) {
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
            // The task has no result that anybody waits for.
            drop(self.read_in(turn));
        }
    }

    /// Returns the users that are in force now, after a look at the file; `None` if it could never be used. If the disk hangs,
    /// they are those of before.
    pub(super) async fn now(self: &Arc<Self>) -> Option<Arc<AskedUsers>> {
        let read = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            self.read_in(turn).await
        };
        match timeout(PATIENCE, read).await {
            Ok(Ok(users)) => users,
            Ok(Err(_)) | Err(_) => self.state().users.clone(),
        }
    }

    /// Reads the file again if it has changed, on a thread that has the turn until then.
    fn read_in(self: &Arc<Self>, turn: OwnedMutexGuard<()>) -> JoinHandle<Option<Arc<AskedUsers>>> {
        let users = Arc::clone(self);
        spawn_blocking(move || {
            let _turn = turn;
            users.read()
        })
    }

    /// Reads the file again if it has changed. Blocks on the disk.
    fn read(&self) -> Option<Arc<AskedUsers>> {
        let stamp = FileStamp::of(&self.path);
        {
            let state = self.state();
            if state.seen == Some(stamp) {
                return state.users.clone();
            }
        }
        let loaded = LoginUsers::load(&self.path);
        let mut state = self.state();
        let is_passing = loaded.as_ref().is_err_and(UsersFileError::is_passing);
        match (loaded, &self.decoys) {
            (Ok(users), Some(decoys)) => {
                let is_news = state.users.is_some() || state.fault.is_some();
                state.fault = None;
                if is_news {
                    log::users_read(&self.path.display(), users.0.len());
                }
                state.users = Some(AskedUsers::of(users, Arc::clone(decoys)));
            }
            (Ok(_), None) => self.note_fault(&mut state, "no random numbers to be had".into()),
            (Err(error), _) => self.note_fault(&mut state, error.to_string()),
        }
        state.seen = (!is_passing).then_some(stamp);
        state.users.clone()
    }

    fn note_fault(&self, state: &mut UsersState, fault: String) {
        if state.fault.as_ref() != Some(&fault) {
            log::users_unusable(&fault, state.users.is_some());
        }
        state.fault = Some(fault);
    }

    /// Returns what is wrong with the file, and what that means; `None` if nothing is.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
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
        // The spellings of a name have one salt, as those of a user have.
        let spelled = LoginName::parse(name).map_or_else(|| name.to_owned(), |LoginName(name)| name);
        let decoy = self.decoys.keys_of(&spelled, hash, &self.counts);
        // Only SCRAM-SHA-256 is offered, of which alone there are keys.
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
        let knows = |name: &str| users.read().is_some_and(|users| users.find(name).is_some());
        let said = logged(|| assert!(users.read().is_none() && users.read().is_none()));
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
        let users = UsersInForce::of(&path).read().unwrap();
        let found = |name, hash| users.keys_of(name, hash);
        assert!(found("ann", ScramHash::Sha256).is_known && !found("ann", ScramHash::Sha1).is_known);
        let (one, again) = (found("bob", ScramHash::Sha256), found("bob", ScramHash::Sha256));
        assert!(!one.is_known && one.keys == again.keys);
        // Only a user had one salt for each spelling, which told who is one.
        for (name, spelling) in [("ann", "an\u{ad}n"), ("bob", "bo\u{ad}b")] {
            let [name, spelling] = [name, spelling].map(|name| found(name, ScramHash::Sha256));
            assert_eq!((name.is_known, name.keys), (spelling.is_known, spelling.keys));
        }
        assert_eq!(one.keys.iterations(), 4096);
    }

    /// The stamp of a file that could not be opened was noted, and its change did not count until the next one.
    #[test]
    fn a_file_that_could_not_be_read_is_read_again_though_it_has_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("users"), directory.path().join("link"));
        write(&path, &with("ann"));
        let users = UsersInForce::of(&link);
        assert!(users.read().is_none());
        assert!(users.state().seen.is_none(), "nothing is known of its content");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(users.read().is_some_and(|users| users.find("ann").is_some()));
        assert!(users.state().seen.is_some());
        write(&path, "nonsense");
        assert!(users.read().is_some() && users.state().seen.is_some(), "what it says is known");
    }

    /// Each login held a thread while the file system hung, and at last no thread was left for the mail.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_leaves_the_users_of_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        write(&path, &with("ann"));
        let users = UsersInForce::of(&path);
        assert!(users.now().await.is_some_and(|users| users.find("ann").is_some()));
        let hangs = Arc::clone(&users.turn).try_lock_owned().unwrap();
        write(&path, &with("bob"));
        let began = tokio::time::Instant::now();
        assert!(users.now().await.is_some_and(|users| users.find("ann").is_some()));
        assert_eq!(began.elapsed(), PATIENCE);
        users.look();
        drop(hangs);
        assert!(users.now().await.is_some_and(|users| users.find("bob").is_some()));
        let unread = UsersInForce::of(&path);
        let _hangs = Arc::clone(&unread.turn).try_lock_owned().unwrap();
        assert!(unread.now().await.is_none());
    }
}
