use super::*;
use crate::filter::Glob;

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
}

fn from(patterns: &[&str]) -> HoldConditions {
    HoldConditions { from: globs(patterns), ..HoldConditions::default() }
}

fn terms(until: Option<i64>) -> OrderTerms {
    OrderTerms {
        by: "uid 0 (root)".into(),
        since: moment(10),
        until: until.map(moment),
        reason: Some("a job ran away".into()),
    }
}

fn message<'a>(from: &'a str, to: &'a [String]) -> NewMessage<'a> {
    NewMessage { uid: Some(33), is_report: false, from, original_from: None, to }
}

#[test]
fn a_rule_holds_what_fits_all_of_its_conditions() {
    let to: Vec<String> = ["a@x.org", "b@y.org"].map(str::to_owned).to_vec();
    let app = message("noreply@Example.org", &to);
    let fits = |conditions: HoldConditions| conditions.fit(&app);
    assert!(fits(from(&["other@*", "noreply@example.org"])));
    assert!(!fits(from(&["noreply"])));
    assert!(
        fits(HoldConditions { to: globs(&["*@y.org"]), ..from(&["noreply@*"]) }),
        "one recipient is enough"
    );
    assert!(!fits(HoldConditions { to: globs(&["*@z.org"]), ..from(&["noreply@*"]) }));
    assert!(fits(HoldConditions { uid: vec![0, 33], ..HoldConditions::default() }));
    assert!(!fits(HoldConditions { uid: vec![0], ..from(&["*"]) }));
    let unknown = NewMessage { uid: None, ..app };
    assert!(!HoldConditions { uid: vec![33], ..HoldConditions::default() }.fit(&unknown));
    let null = message("", &to);
    assert!(from(&["<>"]).fit(&null) && from(&["*"]).fit(&null) && !from(&["*@*"]).fit(&null));
}

/// With `rewrite.sender` all mail is from one address, and a rule for `cron@*` held nothing.
#[test]
fn a_rule_holds_mail_by_the_sender_that_was_handed_in() {
    let to = ["ann@x.org".to_owned()];
    let cron = NewMessage { original_from: Some("Cron@web1.x"), ..message("noreply@x.org", &to) };
    assert!(from(&["cron@*"]).fit(&cron) && from(&["noreply@*"]).fit(&cron) && !from(&["app@*"]).fit(&cron));
}

/// A rule for `noreply@*` let the mail of `NoReply@` out.
#[test]
fn a_rule_holds_mail_in_upper_and_lower_case() {
    let to = ["Ann.Other@x.org".to_owned()];
    let app = message("NoReply@example.org", &to);
    assert!(from(&["noreply@*"]).fit(&app) && from(&["NOREPLY@*"]).fit(&app));
    assert!(HoldConditions { to: globs(&["ann.other@X.ORG"]), ..HoldConditions::default() }.fit(&app));
}

#[test]
fn our_own_reports_are_held_only_where_a_rule_says_so() {
    let bounce = NewMessage { uid: None, is_report: true, from: "", original_from: None, to: &[] };
    assert!(!from(&["<>"]).fit(&bounce));
    assert!(HoldConditions { reports: true, ..from(&["<>"]) }.fit(&bounce));
}

/// Promise 2.
#[test]
fn the_oldest_rule_holds_and_no_number_is_used_again() {
    let mut orders = StandingOrders::default();
    let mut add = |until| orders.add_rule(from(&["a@*"]), terms(until)).unwrap().number;
    assert_eq!([add(None), add(None)], [1, 2]);
    let held_by = |orders: &StandingOrders| {
        orders.hold_rule_for(&message("a@x", &[]), moment(20)).map(|rule| rule.number)
    };
    assert_eq!(held_by(&orders), Some(1));
    assert_eq!(orders.lift_rule(1).map(|rule| rule.number), Some(1));
    assert_eq!((held_by(&orders), orders.lift_rule(1)), (Some(2), None));
    orders.lift_rule(2);
    assert_eq!(held_by(&orders), None);
    assert_eq!(orders.add_rule(from(&["a@*"]), terms(None)).unwrap().number, 3);
}

/// Promise 2: also where the orders are lost twice.
#[test]
fn no_number_is_used_again_after_the_orders_were_lost() {
    let mut last = 0;
    for second in [1_796_000_000, 1_796_000_100, 1_796_000_200] {
        let mut orders = StandingOrders::unknown(OrdersUnknown::Damaged, moment(second));
        let number = orders.add_rule(from(&["a@*"]), terms(None)).unwrap().number;
        assert!(number > last, "{second}");
        last = number;
    }
}

/// Promise 1.
#[test]
fn a_rule_ends_at_its_time() {
    let mut orders = StandingOrders::default();
    orders.add_rule(from(&["*"]), terms(Some(100))).unwrap();
    orders.add_rule(from(&["*"]), terms(None)).unwrap();
    let rules = |orders: &StandingOrders, now| orders.rules(moment(now)).count();
    assert_eq!((rules(&orders, 99), orders.have_ended(moment(99))), (2, false));
    assert_eq!((rules(&orders, 100), orders.have_ended(moment(100))), (1, true));
    assert_eq!(orders.take_ended(moment(100)).rules.iter().map(|rule| rule.number).collect::<Vec<_>>(), [1]);
    assert_eq!((rules(&orders, 0), orders.have_ended(moment(100))), (1, false));
}

/// Promise 3.
#[test]
fn rules_are_bounded() {
    let mut orders = StandingOrders::default();
    assert_eq!(orders.add_rule(HoldConditions::default(), terms(None)), Err(BadHoldRule::NoCondition));
    let many = HoldConditions { uid: (0..=MOST_PATTERNS as u32).collect(), ..HoldConditions::default() };
    assert_eq!(orders.add_rule(many, terms(None)), Err(BadHoldRule::TooManyPatterns));
    for _ in 0..MOST_RULES {
        orders.add_rule(from(&["*"]), terms(None)).unwrap();
    }
    assert_eq!(orders.add_rule(from(&["*"]), terms(None)), Err(BadHoldRule::TooManyRules));
}

/// Promise 4.
#[test]
fn pauses_are_bounded() {
    let mut orders = StandingOrders::default();
    let mut pause = |route: usize| {
        let scope = PauseScope { part: PausedPart::Delivery, route: Some(route.to_string()) };
        orders.pause(Pause { scope, terms: terms(None) })
    };
    assert!((0..MOST_PAUSES).all(|route| pause(route).is_ok()));
    assert_eq!(pause(MOST_PAUSES), Err(TooManyPauses));
    assert_eq!(pause(7), Ok(()), "in the place of one");
}

#[test]
fn what_is_written_is_read_again_and_nothing_more() {
    let mut orders = StandingOrders::default();
    let conditions = HoldConditions { to: globs(&["b@x"]), uid: vec![33], reports: true, ..from(&["a@*"]) };
    orders.add_rule(conditions, terms(Some(4_000_000_000))).unwrap();
    let text = serde_json::to_string(&orders).unwrap();
    assert_eq!(
        text,
        r#"{"last-rule":1,"rules":[{"number":1,"conditions":{"from":["a@*"],"to":["b@x"],"uid":[33],"reports":true},"terms":{"by":"uid 0 (root)","since":"1970-01-01T00:00:10Z","until":"2096-10-02T07:06:40Z","reason":"a job ran away"}}]}"#
    );
    assert_eq!(serde_json::from_str::<StandingOrders>(&text).unwrap(), orders);
    let newer = text.replace("\"uid\":[33]", "\"gid\":[33]");
    assert!(serde_json::from_str::<StandingOrders>(&newer).is_err());
}

#[test]
fn a_rule_is_named_with_who_made_it_and_why() {
    let mut orders = StandingOrders::default();
    let conditions =
        HoldConditions { to: globs(&["b@x"]), uid: vec![33], reports: true, ..from(&["a@*", "<>"]) };
    let rule = orders.add_rule(conditions, terms(None)).unwrap();
    assert_eq!(rule.to_string(), "hold rule 1 of uid 0 (root): a job ran away");
    assert_eq!(
        rule.conditions.to_string(),
        "from a@* or <>, to b@x, of uid 33, reports of nullmta's own among it"
    );
}

/// Promises 1 and 4.
#[test]
fn a_pause_stands_until_it_is_lifted_replaced_or_over() {
    let scope = |part, route: Option<&str>| PauseScope { part, route: route.map(str::to_owned) };
    let (all, news) = (scope(PausedPart::Delivery, None), scope(PausedPart::Delivery, Some("news")));
    let intake = scope(PausedPart::Intake, None);
    let mut orders = StandingOrders::default();
    for (scope, until) in [(&all, Some(50)), (&news, None), (&intake, Some(70)), (&all, Some(60))] {
        orders.pause(Pause { scope: scope.clone(), terms: terms(until) }).unwrap();
    }
    let halted = |orders: &StandingOrders, now, route| {
        orders.pauses(moment(now)).any(|pause| pause.scope.halts(route))
    };
    assert!(
        halted(&orders, 59, None) && halted(&orders, 59, Some("shop")) && halted(&orders, 60, Some("news"))
    );
    assert!(!halted(&orders, 60, None) && !halted(&orders, 60, Some("shop")));
    assert!(orders.intake_pause(moment(69)).is_some() && orders.intake_pause(moment(70)).is_none());
    let text = serde_json::to_string(&orders).unwrap();
    assert_eq!(serde_json::from_str::<StandingOrders>(&text).unwrap(), orders);
    assert_eq!(orders.take_ended(moment(65)).pauses.len(), 1);
    let lifted = orders.lift_pause(&news).unwrap();
    assert_eq!(lifted.to_string(), "delivery by route news is paused by uid 0 (root): a job ran away");
    assert_eq!((orders.lift_pause(&news), orders.lift_pause(&all)), (None, None));
    assert!(orders.lift_pause(&intake).is_some());
    assert_eq!(orders, StandingOrders::default());
}

#[test]
fn a_reason_is_one_short_line() {
    assert_eq!(checked_reason("  a job \n"), Ok(Some("a job".into())));
    assert_eq!(checked_reason(" "), Ok(None));
    assert_eq!(checked_reason("a\r\n250 ok"), Err(BadReason::Invisible));
    assert_eq!(checked_reason(&"x".repeat(201)), Err(BadReason::TooLong));
}
