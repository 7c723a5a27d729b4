use super::super::reply_meaning::{RuleName, WaitClass, WaitReason};
use super::*;

fn failure(place: &str) -> HostFailure {
    HostFailure { place: place.into(), why: "connection refused".into(), kind: FailureKind::NoSession }
}

fn order(memory: &HostMemory) -> Vec<&'static str> {
    memory.note_choice(true);
    memory.order_hosts(vec!["a:25", "b:25"], |host| (*host).to_owned(), SecretPrint::default())
}

fn trouble(cause: Cause) -> Trouble {
    Trouble { phase: Phase::Mail, peer: None, cause }
}

#[tokio::test(start_paused = true)]
async fn promise_1_the_time_doubles_up_to_ten_minutes() {
    let memory = HostMemory::default();
    for minutes in [1, 2, 4, 8, 10, 10] {
        memory.learn("b:25", "", vec![failure("a:25")]);
        tokio::time::advance(Duration::from_secs(60 * minutes - 1)).await;
        assert_eq!(order(&memory), ["b:25", "a:25"], "{minutes}");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(order(&memory), ["a:25", "b:25"], "{minutes}");
        assert_eq!(order(&memory), ["b:25", "a:25"], "only one connection tries it");
    }
    memory.learn("a:25", "", Vec::new());
    assert_eq!(order(&memory), ["a:25", "b:25"]);
}

/// A relay that takes two connections from us answered 421 to the third, and lost its mail to the second relay.
#[tokio::test(start_paused = true)]
async fn promise_4_a_host_in_use_only_wants_no_more_connections() {
    let memory = Arc::new(HostMemory::default());
    let in_use = memory.clone().begin_use("a:25".into());
    memory.learn("b:25", "", vec![failure("a:25")]);
    assert_eq!(order(&memory), ["a:25", "b:25"]);
    let kind = FailureKind::LoginPutOff(SecretPrint::default());
    memory.learn("b:25", "", vec![HostFailure { kind, ..failure("a:25") }]);
    assert_eq!(order(&memory), ["b:25", "a:25"]);
    memory.learn("a:25", "", Vec::new());
    drop(in_use);
    memory.learn("b:25", "", vec![failure("a:25")]);
    assert_eq!(order(&memory), ["b:25", "a:25"]);
}

/// Each try at a host that refused the login counts against the account; one at a host that is down costs nothing.
#[tokio::test(start_paused = true)]
async fn promise_3_what_refused_the_login_comes_behind_all_others_and_keeps_its_turn() {
    let memory = HostMemory::default();
    let ordered = || {
        let place = |host: &&str| (*host).to_owned();
        memory.order_hosts(vec!["a:25", "b:25", "c:25"], place, SecretPrint::default())
    };
    let kind = FailureKind::LoginRefused(SecretPrint::default());
    let refuses = |place: &str| memory.note_refusal(HostFailure { kind, ..failure(place) });
    refuses("a:25");
    assert_eq!(ordered(), ["b:25", "c:25", "a:25"]);
    memory.learn("c:25", "", vec![failure("b:25"), failure("a:25")]);
    assert_eq!(ordered(), ["c:25", "b:25", "a:25"], "behind one that is passed over");
    refuses("b:25");
    refuses("c:25");
    assert_eq!(ordered(), ["a:25", "b:25", "c:25"], "all have refused it");
    tokio::time::advance(Duration::from_secs(30 * 60)).await;
    assert_eq!(ordered(), ["a:25", "b:25", "c:25"], "all is forgotten");
    refuses("c:25");
    memory.learn("b:25", "", vec![failure("a:25")]);
    assert_eq!(ordered(), ["b:25", "a:25", "c:25"], "it takes logins, and a is down");
    memory.forget_logins();
    assert_eq!(ordered(), ["b:25", "c:25", "a:25"], "another secret");
}

/// An operator flushed, since the first host was mended, and the mail went on to the second one.
#[tokio::test(start_paused = true)]
async fn promise_2_who_wants_to_know_at_once_gives_all_a_turn() {
    let memory = HostMemory::default();
    memory.learn("b:25", "", vec![failure("a:25")]);
    memory.give_turns();
    assert_eq!(order(&memory), ["a:25", "b:25"]);
    assert_eq!(order(&memory), ["b:25", "a:25"], "one connection tries it");
    memory.learn("b:25", "", vec![failure("a:25")]);
    tokio::time::advance(Duration::from_secs(119)).await;
    assert_eq!(order(&memory), ["b:25", "a:25"], "its time is doubled as ever");
}

/// A relay that greets, and hangs up at MAIL, got every message, though another one of the list would have taken them.
#[tokio::test(start_paused = true)]
async fn a_host_whose_connection_breaks_off_is_passed_over() {
    let memory = Arc::new(HostMemory::default());
    let uses = || memory.clone().begin_use("a:25".into());
    uses().broke_off(&trouble(Cause::Closed));
    assert_eq!(order(&memory), ["a:25", "b:25"], "there was no other");
    let reason = WaitReason {
        rule: RuleName::Own(1),
        class: WaitClass::Quota,
        pause: None,
        doubles: false,
        hint: None,
    };
    uses().broke_off(&trouble(Cause::Waits { said: "421 slow".into(), reason: Box::new(reason) }));
    assert_eq!(order(&memory), ["a:25", "b:25"], "it says for what the mail waits");
    let other = uses();
    uses().broke_off(&trouble(Cause::Closed));
    assert_eq!(order(&memory), ["a:25", "b:25"], "another connection works");
    drop(other);
    uses().broke_off(&trouble(Cause::Closed));
    assert_eq!(order(&memory), ["b:25", "a:25"]);
}

#[tokio::test(start_paused = true)]
async fn promise_5_no_more_are_remembered_than_some() {
    let memory = HostMemory::default();
    memory.learn("b:25", "", (0..MOST + 9).map(|number| failure(&format!("{number}:25"))).collect());
    assert_eq!(memory.notices(true).len(), MOST);
}
