//! New mail on hold by a rule, or from the first for another reason.

use super::*;
use crate::filter::{HolderKind, MailHolder};
use crate::standing_orders::{HoldConditions, OrderTerms};

fn terms() -> OrderTerms {
    OrderTerms { by: "uid 0 (root)".into(), since: now(), until: None, reason: Some("it ran away".into()) }
}

fn from(pattern: &str) -> HoldConditions {
    HoldConditions { from: vec![pattern.parse().unwrap()], ..HoldConditions::default() }
}

fn rule(spool: &Spool, conditions: HoldConditions) -> u32 {
    spool.change_standing_orders(|orders| orders.add_rule(conditions, terms())).unwrap().unwrap().number
}

/// M14: the queue hears of it as on hold, and the next start finds it so, wherever the cleaner has moved it.
#[tokio::test]
async fn what_a_rule_fits_comes_in_on_hold_and_stays_so() {
    let mut rig = new();
    let other = rig.commit(b"before").await;
    assert_eq!(other.on_hold(), None);
    assert_eq!(rule(&rig.spool, from("ann@EXAMPLE.*")), 1);
    let held = rig.commit(&content(1, 9000)).await;
    assert_eq!(held.on_hold(), Some("hold rule 1 of uid 0 (root): it ran away"));
    assert_eq!((rig.spool.held_by_rule(1), rig.spool.held_by_rule(2)), (1, 0));
    let states: Vec<EntryState> = (0..2).map(|_| rig.arrivals.try_recv().unwrap().marks.state()).collect();
    assert_eq!(states, [EntryState::Active, EntryState::OnHold]);
    let back = rig.after_power_loss();
    assert_eq!(back.entry(held.id()).marks.state(), EntryState::OnHold);
    assert_eq!(back.entry(other.id()).marks.state(), EntryState::Active);
    let stored = back.spool.read(held.id()).unwrap();
    assert_eq!((stored.came_on_hold.as_deref(), stored.held_by), (held.on_hold(), Some(MailHolder::rule(1))));
    assert_eq!(back.commit(b"after").await.on_hold(), held.on_hold(), "the rule outlives the power");
    back.spool.set_state(held.id(), EntryState::Active).await.unwrap();
    let after = back.after_power_loss();
    assert_eq!(after.entry(held.id()).marks.state(), EntryState::Active);
    assert_eq!(after.spool.peek(held.id()).unwrap().held_by, None);
}

/// The sender that was handed in counts, and is known to the end, also where the cleaner has moved the message.
#[tokio::test]
async fn a_rule_fits_the_sender_that_was_handed_in() {
    let rig = new();
    rule(&rig.spool, from("cron@*"));
    let handed_in = ReversePath::Mailbox(Address::parse("cron@web1.example").unwrap());
    let draft = rig.draft(b"x").await.unwrap().handed_in_from(handed_in);
    let held = rig.spool.commit(draft, envelope(1), Submitter::Uid(33), now()).await.unwrap();
    assert!(held.on_hold().is_some());
    for back in [&rig.after_power_loss(), &rig] {
        let original = Some("cron@web1.example".to_owned());
        assert_eq!(back.spool.peek(held.id()).unwrap().original_from, original);
        assert_eq!(back.spool.glance(held.id()).unwrap().original_from, original);
    }
    let draft = rig.draft(b"x").await.unwrap().handed_in_from(envelope(1).reverse_path);
    let same = rig.spool.commit(draft, envelope(1), Submitter::Uid(33), now()).await.unwrap();
    assert_eq!(rig.spool.peek(same.id()).unwrap().original_from, None);
}

#[tokio::test]
async fn a_lifted_rule_and_one_whose_time_is_over_hold_nothing() {
    let rig = new();
    let lifted = rule(&rig.spool, from("*"));
    rig.spool.change_standing_orders(|orders| orders.lift_rule(lifted)).unwrap().unwrap();
    let over = OrderTerms { until: Some(now()), ..terms() };
    rig.spool.change_standing_orders(|orders| orders.add_rule(from("*"), over)).unwrap().unwrap();
    assert_eq!(rig.commit(b"x").await.on_hold(), None);
}

#[tokio::test]
async fn a_bounce_is_held_only_by_a_rule_about_reports() {
    let rig = new();
    let id = rig.commit(b"x").await.id();
    let mut ledger = rig.spool.peek(id).unwrap().ledger;
    rule(&rig.spool, from("*"));
    let draft = rig.draft(b"it failed").await.unwrap();
    let dsn = rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[0], now()).await.unwrap();
    assert_eq!(dsn.on_hold(), None);
    rule(&rig.spool, HoldConditions { reports: true, ..from("*") });
    let draft = rig.draft(b"it failed").await.unwrap();
    let dsn = rig.spool.commit_bounce(draft, envelope(1), &mut ledger, &[1], now()).await.unwrap();
    assert!(dsn.on_hold().unwrap().starts_with("hold rule 2 of "));
    let back = rig.after_power_loss();
    assert_eq!(back.entry(dsn.id()).marks.state(), EntryState::OnHold);
    assert_eq!(back.spool.peek(id).unwrap().ledger.fates(), [Fate::Bounced; 2]);
}

#[tokio::test]
async fn a_draft_may_be_put_on_hold_for_a_reason_of_its_own() {
    let rig = new();
    let mut draft = rig.draft(b"x").await.unwrap();
    draft.hold("the limit app");
    let held = rig.spool.commit(draft, envelope(1), Submitter::Uid(33), now()).await.unwrap();
    assert_eq!(held.on_hold(), Some("the limit app"));
    let back = rig.after_power_loss();
    assert_eq!(back.entry(held.id()).marks.state(), EntryState::OnHold);
    assert_eq!(back.spool.peek(held.id()).unwrap().held_by, Some(MailHolder::of(HolderKind::Limit)));
}

/// M9: who holds a message is known as long as it is on hold, also where the cleaner has moved it, and whoever held it before.
#[tokio::test]
async fn who_holds_a_message_outlives_the_power_and_the_cleaner() {
    let rig = new();
    rule(&rig.spool, from("*"));
    let id = rig.commit(&content(0, 3000)).await.id();
    let held_by = |rig: &Rig| rig.spool.peek(id).unwrap().held_by;
    rig.spool.assign_route(id, "news").await.unwrap();
    let app = MailHolder::user(HolderKind::Submitter, 33, Some("app"));
    let root = MailHolder::user(HolderKind::Operator, 0, Some("root"));
    for by in [Some(app), None, Some(root)] {
        match &by {
            Some(by) => rig.spool.hold(id, by).await.unwrap(),
            None => rig.spool.set_state(id, EntryState::Held).await.unwrap(),
        }
        let first = rig.names("log")[0].clone();
        assert_eq!((held_by(&rig), held_by(&rig.after_power_loss())), (by.clone(), by.clone()));
        for number in 1..90 {
            let passing = rig.commit(&content(number, 2500)).await.id();
            rig.settle(passing).await.unwrap();
        }
        assert!(!rig.names("log").contains(&first), "it has been moved");
        assert_eq!((held_by(&rig), held_by(&rig.after_power_loss())), (by.clone(), by));
        let route = Some("news".to_owned());
        for back in [&rig.after_power_loss(), &rig] {
            assert_eq!(back.spool.peek(id).unwrap().assigned_route, route, "M15");
        }
    }
}
