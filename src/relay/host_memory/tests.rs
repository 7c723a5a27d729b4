use super::super::reply_meaning::{RuleName, WaitClass, WaitReason};
use super::*;

fn failure(place: &str) -> HostFailure {
    HostFailure { place: place.into(), why: "connection refused".into(), is_login: false }
}

fn order(memory: &HostMemory) -> Vec<&'static str> {
    memory.note_choice(true);
    memory.order_hosts(vec!["a:25", "b:25"], |host| (*host).to_owned(), |_| false)
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
    memory.learn("b:25", "", vec![HostFailure { is_login: true, ..failure("a:25") }]);
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
    let ordered = |refused: &[&str]| {
        memory.order_hosts(
            vec!["a:25", "b:25", "c:25"],
            |host| (*host).to_owned(),
            |host| refused.contains(host),
        )
    };
    assert_eq!(ordered(&["a:25"]), ["b:25", "c:25", "a:25"]);
    memory.learn("c:25", "", vec![failure("b:25")]);
    assert_eq!(ordered(&["a:25"]), ["c:25", "b:25", "a:25"], "behind one that is passed over");
    assert_eq!(ordered(&["a:25", "b:25", "c:25"]), ["a:25", "b:25", "c:25"], "all have refused it");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(ordered(&["b:25"]), ["a:25", "c:25", "b:25"]);
    assert_eq!(ordered(&[]), ["a:25", "b:25", "c:25"], "it has its turn still");
    assert_eq!(ordered(&[]), ["a:25", "c:25", "b:25"]);
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
    assert_eq!(memory.notices().len(), MOST);
}
