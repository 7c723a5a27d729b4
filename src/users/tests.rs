use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// Ann is 1000, and in the groups 1000 and 990; nobody else is known.
#[derive(Default)]
struct Host {
    asked: AtomicUsize,
    fails: bool,
}

impl NameService for Host {
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.fails {
            return Err(io::Error::other("no such service"));
        }
        Ok((uid == 1000).then(|| Account { uid, gid: 1000, login: "ann".into(), gecos: b"Ann E".to_vec() }))
    }

    fn groups(&self, account: &Account) -> io::Result<Vec<u32>> {
        assert_eq!(account.uid, 1000);
        Ok(vec![1000, 990])
    }

    fn group_name(&self, gid: u32) -> io::Result<Option<String>> {
        Ok((gid == 990).then(|| "mail".into()))
    }
}

fn ann() -> Option<LocalUser> {
    Some(LocalUser::new("ann", b"Ann E"))
}

#[tokio::test]
async fn a_name_is_asked_for_once_and_so_is_that_there_is_none() {
    let host = Arc::new(Host::default());
    let users = Users::waiting_for(LONG, host.clone());
    for _ in 0..3 {
        assert_eq!((users.named(1000).await, users.clone().named(1001).await), (ann(), None));
    }
    assert_eq!(host.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn groups_have_names_and_nobody_is_in_none() {
    let users = Users::waiting_for(LONG, Arc::new(Host::default()));
    assert_eq!(
        (users.groups_named(1000).await.unwrap(), users.groups_named(1001).await.unwrap()),
        (vec!["mail".to_owned()], vec![])
    );
    let users = Users::waiting_for(LONG, Arc::new(Host { fails: true, ..Host::default() }));
    assert_eq!(users.groups_named(1000).await, None);
}

#[tokio::test]
async fn many_who_ask_at_once_for_one_user_are_few_questions() {
    let host = Arc::new(Host::default());
    let users = Users::waiting_for(LONG, host.clone());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let users = users.clone();
            tokio::spawn(async move { users.named(1000).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), ann());
    }
    assert!(host.asked.load(Ordering::SeqCst) <= LOOKUPS);
}

#[tokio::test]
async fn members_are_those_that_the_name_service_says() {
    let users = Users::waiting_for(LONG, Arc::new(Host::default()));
    for (uid, gid, expected) in [(1000, 990, true), (1000, 1000, true), (1000, 0, false), (1001, 990, false)]
    {
        assert_eq!(users.is_in_group(uid, gid).await, expected, "{uid} in {gid}");
    }
    let failing = Users::waiting_for(LONG, Arc::new(Host { fails: true, ..Host::default() }));
    assert!(!failing.is_in_group(1000, 990).await);
}

#[tokio::test]
async fn a_service_that_fails_is_not_asked_again_at_once() {
    let host = Arc::new(Host { fails: true, ..Host::default() });
    let users = Users::waiting_for(LONG, host.clone());
    assert_eq!((users.named(1000).await, users.named(1000).await), (None, None));
    assert_eq!(host.asked.load(Ordering::SeqCst), 1);
    assert!(!users.known().is_newly_silent(), "the log has it");
}

/// A name service that answers when it is told to.
struct Hanging {
    told: Mutex<Receiver<()>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Hanging {
    fn new() -> (Sender<()>, Arc<Hanging>) {
        let (tell, told) = channel();
        let (told, open, most_open) = (Mutex::new(told), AtomicUsize::new(0), AtomicUsize::new(0));
        (tell, Arc::new(Hanging { told, open, most_open }))
    }
}

impl NameService for Hanging {
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        // An error is the end of the test.
        let _ = self.told.lock().unwrap().recv();
        self.open.fetch_sub(1, Ordering::SeqCst);
        Host::default().by_uid(uid)
    }

    fn groups(&self, account: &Account) -> io::Result<Vec<u32>> {
        Host::default().groups(account)
    }

    fn group_name(&self, _gid: u32) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// passwd was read within the accept loop: a name service asked there could have stopped all of intake.
#[tokio::test]
async fn a_name_service_that_hangs_costs_names_and_few_threads() {
    let (_tell, host) = Hanging::new();
    let users = Users::waiting_for(Duration::from_millis(1), host.clone());
    for uid in 0..10 {
        assert_eq!(users.named(uid).await, None);
    }
    assert!(!users.is_in_group(1000, 990).await);
    assert!(host.most_open.load(Ordering::SeqCst) <= LOOKUPS);
    assert!(!users.known().is_newly_silent(), "the log has it");
}

/// Clients over TCP waited seconds for a name service that hung, for a word in the log.
#[tokio::test]
async fn a_name_that_is_a_courtesy_is_not_waited_for() {
    let (_tell, host) = Hanging::new();
    assert_eq!(Users::waiting_for(LONG, host).named_soon(1000).await, None);
    assert_eq!(Users::waiting_for(LONG, Arc::new(Host::default())).named_soon(1000).await, ann());
}

#[tokio::test]
async fn an_answer_that_comes_late_is_kept() {
    let (tell, host) = Hanging::new();
    let users = Users::waiting_for(Duration::from_millis(1), host);
    assert_eq!(users.named(1000).await, None);
    tell.send(()).unwrap();
    // Its thread learns it in its own time.
    while users.named(1000).await != ann() {
        thread::yield_now();
    }
    assert!(users.known().is_newly_silent(), "it has answered");
}

#[test]
fn commands_wait_no_longer_either() {
    let (tell, told) = channel::<()>();
    let hangs = move || told.recv().map_err(io::Error::other);
    let error = within(Duration::from_millis(1), hangs).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(tell);
    assert_eq!(within(LONG, || Ok(1)).unwrap(), 1);
}
