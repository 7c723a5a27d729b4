//! Standing orders: an operator gives and lifts them, and their time ends them.
//!
//! Promises: what is answered as ordered is on stable storage and in force, for all mail that is accepted after the answer, and
//! the queue gives out no message after the answer that a pause is about; each order has its log line when it is given, when it is lifted, and when its time is over.
//!
//! Fails: with [`StandingFailure`]; then nothing has changed, or the failure says that this is in doubt. Not here: who may give them (`control.rs`), what they mean
//! (`standing_orders.rs`).

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use jiff::{SignedDuration, Timestamp};

use super::no_route::NoRoute;
use super::protocol::{Frame, LiftResult, LiftedRule, ListedHoldRule, ListedPause, NewHoldRule, NewPause};
use crate::log;
use crate::queue::Queue;
use crate::spool::{Operator, OrdersUnwritten, Spool};
use crate::standing_orders::{
    BadHoldRule, BadReason, EndedOrders, HoldRule, OrderTerms, Pause, PauseScope, StandingOrders,
    TooManyPauses, checked_reason,
};

/// The longest time for which an order may be given, in seconds: a year.
const LONGEST: u64 = 366 * 86_400;

/// The reason why an order was not given, or not lifted.
#[derive(Debug)]
pub(super) enum StandingFailure {
    /// No rule may have these conditions, or there are too many rules.
    Rule(BadHoldRule),
    /// There are too many pauses.
    Pauses(TooManyPauses),
    /// The reason is none.
    Reason(BadReason),
    /// It is about a route that does not exist.
    NoRoute(NoRoute),
    /// The daemon is stopping.
    Stopping,
    /// It is for too long.
    TooLong,
    /// It could not be written.
    Unwritten(OrdersUnwritten),
}

impl From<StandingFailure> for Frame {
    fn from(failure: StandingFailure) -> Frame {
        match failure {
            StandingFailure::NoRoute(_) => Frame::Unknown(failure.to_string()),
            _ => Frame::Error(failure.to_string()),
        }
    }
}

impl fmt::Display for StandingFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StandingFailure::Rule(why) => why.fmt(f),
            StandingFailure::Pauses(why) => why.fmt(f),
            StandingFailure::Reason(why) => why.fmt(f),
            StandingFailure::NoRoute(why) => why.fmt(f),
            StandingFailure::Stopping => f.write_str("the daemon is stopping"),
            StandingFailure::TooLong => f.write_str("an order ends after a year at most, or not by itself"),
            StandingFailure::Unwritten(why) => why.fmt(f),
        }
    }
}

/// An operator at the standing orders of this spool.
pub(super) struct StandingDesk<'a> {
    pub(super) spool: &'a Spool,
    pub(super) queue: &'a Queue,
    pub(super) by: Operator,
}

impl StandingDesk<'_> {
    /// Makes a hold rule. Returns it; with `dry_run`, as it would be.
    pub(super) async fn hold_new(&self, asked: NewHoldRule) -> Result<ListedHoldRule, StandingFailure> {
        let NewHoldRule { conditions, seconds, reason, dry_run } = asked;
        conditions.check().map_err(StandingFailure::Rule)?;
        let terms = self.terms(seconds, reason)?;
        if dry_run {
            return Ok(ListedHoldRule::to_be(&conditions, &terms));
        }
        let rule = self.change(move |orders| orders.add_rule(conditions, terms)).await?;
        let rule = rule.map_err(StandingFailure::Rule)?;
        log::hold_rule_made(rule.number, &rule.conditions, rule.terms.until, self.by.uid, &rule.terms);
        Ok(ListedHoldRule::of(&rule, 0))
    }

    /// Lifts the hold rules of these numbers; all if none are given. With `dry_run` it only says what it would lift.
    pub(super) async fn lift(
        &self,
        numbers: Option<Vec<u32>>,
        dry_run: bool,
    ) -> Result<Vec<LiftedRule>, StandingFailure> {
        let numbers = numbers.unwrap_or_else(|| self.numbers());
        let lift = move |orders: &mut StandingOrders| -> Vec<(u32, Option<HoldRule>)> {
            numbers.into_iter().map(|number| (number, orders.lift_rule(number))).collect()
        };
        let lifted = match dry_run {
            true => lift(&mut (*self.spool.standing_orders()).clone()),
            false => self.change(lift).await?,
        };
        Ok(lifted.into_iter().map(|(number, rule)| self.lifted(number, rule, dry_run)).collect())
    }

    /// Pauses a part of the daemon. What is under way is finished.
    pub(super) async fn pause(&self, asked: NewPause) -> Result<ListedPause, StandingFailure> {
        let NewPause { scope, seconds, reason } = asked;
        self.require_route(scope.route.as_deref()).await?;
        let pause = Pause { scope, terms: self.terms(seconds, reason)? };
        let ordered = pause.clone();
        self.change(move |orders| orders.pause(ordered)).await?.map_err(StandingFailure::Pauses)?;
        log::paused(&pause.scope, pause.terms.until, self.by.uid, &pause.terms);
        Ok(ListedPause::from(&pause))
    }

    /// Lifts the pause of this scope; all pauses if none is given. Returns those that were lifted.
    pub(super) async fn resume(
        &self,
        scope: Option<PauseScope>,
    ) -> Result<Vec<ListedPause>, StandingFailure> {
        let lift = move |orders: &mut StandingOrders| -> Vec<Pause> {
            let every = || orders.pauses(Timestamp::MIN).map(|pause| pause.scope.clone()).collect();
            let scopes: Vec<PauseScope> = scope.map_or_else(every, |scope| vec![scope]);
            scopes.iter().filter_map(|scope| orders.lift_pause(scope)).collect()
        };
        let lifted = self.change(lift).await?;
        lifted.iter().for_each(|pause| log::resumed(&pause.scope, self.by.uid, &self.by));
        Ok(lifted.iter().map(ListedPause::from).collect())
    }

    /// Refuses an order for a route that is not in force: all mail would go out, although it was said to wait.
    async fn require_route(&self, route: Option<&str>) -> Result<(), StandingFailure> {
        let Some(route) = route else { return Ok(()) };
        let status = self.queue.status().await.ok_or(StandingFailure::Stopping)?;
        NoRoute::refuse(route, &status).map_err(StandingFailure::NoRoute)
    }

    /// Changes the orders. The queue follows them also after an error, which may leave more of them than before.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut StandingOrders) -> T + Send + 'static,
    ) -> Result<T, StandingFailure> {
        let spool = self.spool.clone();
        let written = tokio::task::spawn_blocking(move || spool.change_standing_orders(change)).await;
        self.queue.follow_pauses().await;
        let written = written.map_err(io::Error::other).map_err(OrdersUnwritten::from).flatten();
        written.map_err(StandingFailure::Unwritten)
    }

    fn numbers(&self) -> Vec<u32> {
        self.spool.standing_orders().rules(Timestamp::now()).map(|rule| rule.number).collect()
    }

    fn lifted(&self, number: u32, rule: Option<HoldRule>, dry_run: bool) -> LiftedRule {
        let messages = self.spool.held_by_rule(number);
        if rule.is_some() && !dry_run {
            log::hold_rule_lifted(number, messages, self.by.uid, &self.by);
        }
        let result = if rule.is_some() { LiftResult::Lifted } else { LiftResult::NotFound };
        LiftedRule { number, result, rule: rule.map(|rule| ListedHoldRule::of(&rule, messages)) }
    }

    fn terms(&self, seconds: Option<u64>, reason: Option<String>) -> Result<OrderTerms, StandingFailure> {
        let reason = checked_reason(&reason.unwrap_or_default()).map_err(StandingFailure::Reason)?;
        let since = Timestamp::now();
        let until = seconds.map(|seconds| match seconds {
            0..=LONGEST => Ok(since + SignedDuration::from_secs(seconds as i64)),
            _ => Err(StandingFailure::TooLong),
        });
        Ok(OrderTerms { by: self.by.to_string(), since, until: until.transpose()?, reason })
    }
}

/// Returns the hold rules in force on this spool, the oldest first.
pub(super) fn listed(spool: &Spool) -> Vec<ListedHoldRule> {
    let orders = spool.standing_orders();
    let rules = orders.rules(Timestamp::now());
    rules.map(|rule| ListedHoldRule::of(rule, spool.held_by_rule(rule.number))).collect()
}

/// Returns the pauses in force on this spool, the oldest first.
pub(super) fn pauses(spool: &Spool) -> Vec<ListedPause> {
    spool.standing_orders().pauses(Timestamp::now()).map(ListedPause::from).collect()
}

/// Says at a start which pauses it has found in force.
pub fn tell_found(spool: &Spool) {
    for pause in spool.standing_orders().pauses(Timestamp::now()) {
        log::still_paused(&pause.scope, pause.terms.since, pause.terms.until, &pause.terms);
    }
}

/// Says which pauses are about a route that is none of these, so that they keep no mail: it goes as the configuration says now.
pub fn tell_without_route<'a>(spool: &Spool, routes: impl Iterator<Item = &'a str>) {
    let routes: BTreeSet<&str> = routes.collect();
    for pause in spool.standing_orders().pauses(Timestamp::now()) {
        if let Some(route) = pause.scope.route.as_deref().filter(|route| !routes.contains(route)) {
            log::pause_without_route(route);
        }
    }
}

/// Takes out the orders whose time is over, and says so. It is called each second; it does not wait for the disk.
pub fn end_due(spool: &Spool, queue: &Queue) {
    let now = Timestamp::now();
    if !spool.standing_orders().have_ended(now) {
        return;
    }
    let (spool, queue) = (spool.clone(), queue.clone());
    tokio::spawn(async move {
        let of_spool = spool.clone();
        let end = move || of_spool.change_standing_orders(|orders| orders.take_ended(now));
        // What cannot be written now has no effect any more, and is taken out at one of the next seconds.
        let ended = tokio::task::spawn_blocking(end).await.ok().and_then(Result::ok).unwrap_or_default();
        queue.follow_pauses().await;
        tell_ended(&spool, &ended);
    });
}

fn tell_ended(spool: &Spool, ended: &EndedOrders) {
    ended.rules.iter().for_each(|rule| log::hold_rule_ended(rule.number, spool.held_by_rule(rule.number)));
    ended.pauses.iter().for_each(|pause| log::pause_ended(&pause.scope));
}
