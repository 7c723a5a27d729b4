//! Which messages a filter means, by a table, and that what is decided early is decided as in the end.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn id(age: u64) -> QueueId {
    QueueId::from_raw((NOW as u64 - age) * 1_000_000_000)
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn filter(json: &str) -> QueueFilter {
    serde_json::from_str(json).unwrap()
}

/// A message of user 33, an hour old, to two recipients by two routes.
fn message() -> FilteredMessage<'static> {
    let recipient = |address, route, reason| FilteredRecipient { address, route, reason: Some(reason) };
    FilteredMessage {
        id: id(3600),
        uid: Some(33),
        state: MessageState::Deferred,
        held_by: None,
        original_from: None,
        age: Duration::from_secs(3600),
        from: Some("App@Example.org"),
        reason: Some("450 busy"),
        recipients: vec![
            recipient("ann@a.example", None, "450 4.2.1 Busy"),
            recipient("bob@b.example", Some("news"), "mx: connection refused"),
        ],
    }
}

#[test]
fn the_values_of_conditions_are_bounded_and_ids_are_not() {
    let of = |uid, ids: usize| QueueFilter { uid, ids: vec![id(1); ids], ..QueueFilter::default() };
    assert_eq!(of(vec![7; MOST_VALUES], 5000).check(), Ok(()));
    assert_eq!(of(vec![7; MOST_VALUES + 1], 0).check(), Err(TooManyValues));
}

#[test]
fn a_filter_asks_for_who_holds_a_message() {
    let (rule, root) = (MailHolder::rule(3), MailHolder::user(HolderKind::Operator, 0, Some("root")));
    let held = |held_by| FilteredMessage { state: MessageState::OnHold, held_by, ..message() };
    let of_rule = filter(r#"{"held-by":["rule:3","submitter"]}"#);
    assert!(of_rule.includes(&held(Some(&rule))));
    assert!(!of_rule.includes(&held(Some(&root))) && !of_rule.includes(&held(None)));
    assert!(of_rule.may_stand(MessageState::OnHold) && !of_rule.may_stand(MessageState::Ready));
}

/// With `rewrite.sender` all mail is from one address, and `--from` found nothing else.
#[test]
fn a_filter_finds_the_sender_that_was_handed_in() {
    let cron = FilteredMessage { original_from: Some("cron@web1.example"), ..message() };
    for from in ["cron@*", "App@example.org"] {
        let asked = QueueFilter { from: vec![from.parse().unwrap()], ..QueueFilter::default() };
        assert!(asked.includes(&cron), "{from}");
        assert_eq!(asked.includes(&message()), from != "cron@*", "{from}");
    }
}

#[test]
fn a_filter_means_these_messages() {
    let own_id = format!(r#"{{"ids":["{}"]}}"#, id(3600));
    let bounce = FilteredMessage { from: Some(""), ..message() };
    let of_nobody = FilteredMessage { uid: None, ..message() };
    let damaged = FilteredMessage {
        from: None,
        recipients: Vec::new(),
        reason: Some("damaged"),
        state: MessageState::Dead,
        ..message()
    };
    let cases = [
        (message(), "{}", true),
        (damaged.clone(), "{}", true),
        (message(), &own_id, true),
        (message(), r#"{"ids":["18A4F1C9A02B3D40"]}"#, false),
        (message(), r#"{"from":["App@example.ORG"]}"#, true),
        (message(), r#"{"from":["app@example.org"]}"#, false),
        (message(), r#"{"from":["nobody@*","*@example.org"]}"#, true),
        (bounce.clone(), r#"{"from":["<>"]}"#, true),
        (bounce, r#"{"from":["*@*"]}"#, false),
        (message(), r#"{"to":["*@b.example"]}"#, true),
        (message(), r#"{"to":["*@c.example"]}"#, false),
        (message(), r#"{"uid":[33]}"#, true),
        (message(), r#"{"uid":[1000,0]}"#, false),
        (of_nobody, r#"{"uid":[33]}"#, false),
        (message(), r#"{"older-than":3600}"#, true),
        (message(), r#"{"older-than":3601}"#, false),
        (message(), r#"{"reason":["*busy*"]}"#, true),
        (message(), r#"{"reason":["busy"]}"#, false),
        (message(), r#"{"state":["held","deferred"]}"#, true),
        (message(), r#"{"state":["held"]}"#, false),
        (message(), r#"{"route":["n*"]}"#, true),
        (message(), r#"{"route":[""]}"#, true),
        (message(), r#"{"route":["else"]}"#, false),
        // All hold for one recipient.
        (message(), r#"{"to":["bob@*"],"route":["news"],"reason":["*refused"]}"#, true),
        (message(), r#"{"to":["ann@*"],"route":["news"]}"#, false),
        (message(), r#"{"to":["ann@*"],"reason":["*refused"]}"#, false),
        // All hold together.
        (message(), r#"{"uid":[33],"from":["App@*"],"state":["deferred"],"older-than":60}"#, true),
        (message(), r#"{"uid":[33],"from":["App@*"],"state":["ready"],"older-than":60}"#, false),
        // Of what cannot be read neither sender nor recipients are known.
        (damaged.clone(), r#"{"reason":["damaged"],"state":["dead"]}"#, true),
        (damaged.clone(), r#"{"from":["*"]}"#, false),
        (damaged.clone(), r#"{"to":["*"]}"#, false),
        (damaged, r#"{"route":["*"]}"#, false),
    ];
    for (message, json, expected) in cases {
        assert_eq!(filter(json).includes(&message), expected, "{json} {message:?}");
    }
}

/// A newer program that asks an older daemon to delete by a condition that it does not know would delete more.
#[test]
fn an_unknown_condition_is_no_filter() {
    assert!(serde_json::from_str::<QueueFilter>(r#"{"size":1}"#).is_err());
    assert!(serde_json::from_str::<QueueFilter>(r#"{"state":["lost"]}"#).is_err());
    assert_eq!(serde_json::to_string(&QueueFilter::default()).unwrap(), "{}");
    assert!(filter("{}").is_everything() && !filter(r#"{"uid":[0]}"#).is_everything());
}

prop_compose! {
    fn some_filter()(
        from in prop_oneof![Just(""), Just(r#","from":["App@*"]"#), Just(r#","from":["<>"]"#)],
        to in prop_oneof![Just(""), Just(r#","to":["bob@?.example","x"]"#), Just(r#","to":["*@z"]"#)],
        uid in prop_oneof![Just(""), Just(r#","uid":[33]"#), Just(r#","uid":[0,1]"#)],
        route in prop_oneof![Just(""), Just(r#","route":["news"]"#), Just(r#","route":["?"]"#)],
        state in prop_oneof![Just(""), Just(r#","state":["deferred","dead"]"#), Just(r#","state":["held"]"#)],
        age in 0..7200_u64,
    ) -> QueueFilter {
        filter(&format!(r#"{{"older-than":{age}{from}{to}{uid}{route}{state}}}"#))
    }
}

proptest! {
    /// Promise 2; `begun` is the time for which its content came in, from the id to the commit.
    #[test]
    fn what_is_meant_is_left_out_by_no_earlier_look(
        filter in some_filter(), uid in prop_oneof![Just(None), Just(Some(33))], begun in 0..600_u64,
        from in prop_oneof![Just("App@example.org"), Just("")],
    ) {
        let id = id(3600 + begun);
        let meant = FilteredMessage { id, uid, from: Some(from), ..message() };
        if filter.includes(&meant) {
            prop_assert!(filter.may_be(id, uid, now()) && filter.may_be(id, None, now()));
            prop_assert!(filter.may_stand(meant.state) && filter.may_be_of(uid));
            prop_assert!(filter.may_go(from, None, meant.recipients.iter().map(|recipient| recipient.address)));
        }
    }
}
