//! `nullmta queue hold --new|--rules`, `queue release --new`: makes, lists and lifts hold rules.
//!
//! Promises: a rule that is said to be made or lifted is in force, or not any more, over a restart as well. The exit code is 0 if
//! a rule was made, listed or lifted; 1 if there was none to lift; 75 if it was not written; 77 without the right.
//!
//! Not here: who may do it, and what it means for mail (`admin/control.rs`, `standing_orders.rs`).

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use super::super::exit::{Exit, Failure};
use super::super::output::{printed, say};
use super::super::values::time;
use super::steer::Steer;
use super::{ask, ask_one, print_json};
use crate::admin::protocol::{ControlRequest, LiftResult, LiftedRule, ListedHoldRule, NewHoldRule};
use crate::filter::QueueFilter;
use crate::log::{Foreign, counted};
use crate::spool::OperatorVerb;
use crate::standing_orders::{HoldConditions, checked_reason};

/// Put messages on hold, or make a rule by which new ones are.
#[derive(Args)]
pub(in crate::cli) struct HoldCommand {
    #[command(flatten)]
    steer: Steer,
    #[command(flatten)]
    rule: RuleOptions,
}

/// The options about hold rules.
#[derive(Args)]
#[command(next_help_heading = "Mail to come")]
struct RuleOptions {
    /// Make a hold rule: new mail --from, --to or of --uid is accepted and put on hold; --reason says why, for status and log
    #[arg(long, conflicts_with_all = ["all", "rules"])]
    new: bool,
    /// How long the rule holds new mail, such as 2h; what it has put on hold stays so
    #[arg(long = "for", value_name = "TIME", value_parser = time, requires = "new")]
    time: Option<Duration>,
    /// The rule is also about bounces and other reports that nullmta makes itself
    #[arg(long, requires = "new")]
    reports: bool,
    /// List the hold rules
    #[arg(long)]
    rules: bool,
}

/// Release messages, or lift hold rules.
#[derive(Args)]
pub(in crate::cli) struct ReleaseCommand {
    #[command(flatten)]
    steer: Steer,
    /// Lift the hold rules of these numbers, or with --all every one; what they have put on hold stays so
    #[arg(long, value_name = "RULE", num_args = 0.., help_heading = "Mail to come")]
    new: Option<Vec<u32>>,
}

impl HoldCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        match &self.rule {
            RuleOptions { new: true, .. } => self.make(),
            RuleOptions { rules: true, .. } => self.list(),
            _ => self.steer.run(OperatorVerb::Hold),
        }
    }

    fn make(&self) -> Result<(), Failure> {
        let Steer { config, dry_run, json, .. } = &self.steer;
        let usage = |why: &dyn std::fmt::Display| Failure::new(Exit::Usage, why);
        let (conditions, reason) = self.asked().map_err(|why| usage(&why))?;
        conditions.check().map_err(|why| usage(&why))?;
        checked_reason(reason.as_deref().unwrap_or_default()).map_err(|why| usage(&why))?;
        let seconds = self.rule.time.map(|time| time.as_secs().max(1));
        let request = ControlRequest::HoldNew(NewHoldRule { conditions, seconds, reason, dry_run: *dry_run });
        let rule: ListedHoldRule = ask_one(config, &request)?;
        if *json { printed(print_json(&rule)) } else { say!("{}", made_text(&rule)) }
    }

    /// Returns the mail that the rule is to be about, and the reason for it.
    fn asked(&self) -> Result<(HoldConditions, Option<String>), &'static str> {
        let QueueFilter { ids, from, to, uid, older_than, reason, state, held_by, route } =
            self.steer.which.filter();
        let is_of_queue = !ids.is_empty() || older_than.is_some() || !state.is_empty() || !held_by.is_empty();
        if is_of_queue || !route.is_empty() {
            return Err(
                "a rule for new mail is about --from, --to and --uid: an id, an age, a state, a holder or a route is of mail that \
                        is in the queue already",
            );
        }
        let words: Vec<String> = reason.iter().map(ToString::to_string).collect();
        let reason = Some(words.join("; ")).filter(|words| !words.is_empty());
        Ok((HoldConditions { from, to, uid, reports: self.rule.reports }, reason))
    }

    fn list(&self) -> Result<(), Failure> {
        let Steer { config, json, .. } = &self.steer;
        if !self.steer.which.filter().is_everything() {
            return Err(Failure::new(
                Exit::Usage,
                "--rules lists every hold rule: it goes with no condition",
            ));
        }
        let mut count = 0;
        ask(config, &ControlRequest::HoldRules, &mut |rule: ListedHoldRule| {
            count += 1;
            if *json { print_json(&rule) } else { writeln!(io::stdout(), "{}", line(&rule)) }
        })?;
        if count == 0 && !*json { say!("There is no hold rule.") } else { Ok(()) }
    }
}

impl ReleaseCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        match &self.new {
            Some(rules) => self.lift(rules),
            None => self.steer.run(OperatorVerb::Release),
        }
    }

    fn lift(&self, rules: &[u32]) -> Result<(), Failure> {
        let Steer { config, all, dry_run, json, .. } = &self.steer;
        if *all != rules.is_empty() || !self.steer.which.filter().is_everything() {
            let why =
                "say which hold rules: --new NUMBER, or --new --all; nullmta queue hold --rules lists them";
            return Err(Failure::new(Exit::Usage, why));
        }
        let named = (!all).then(|| rules.to_vec());
        let request = ControlRequest::LiftHold { rules: named, dry_run: *dry_run };
        let mut lifted = 0;
        ask(config, &request, &mut |rule: LiftedRule| {
            lifted += usize::from(rule.result == LiftResult::Lifted);
            if *json { print_json(&rule) } else { writeln!(io::stdout(), "{}", lifted_text(&rule, *dry_run)) }
        })?;
        if lifted == 0 { Err(Failure::new(Exit::Failed, "there was no such hold rule")) } else { Ok(()) }
    }
}

/// Returns a line about a rule: what it holds, since when, until when, and of whom.
pub(in crate::cli) fn line(rule: &ListedHoldRule) -> String {
    let ListedHoldRule { by, since, until, reason, messages, .. } = rule;
    let until = until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
    let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {}", Foreign(reason)));
    format!(
        "{}: new mail {} is put on hold since {since}{until}, {} since the start of nullmta, by {}{reason}",
        name(rule),
        conditions(rule),
        counted(*messages, "message"),
        Foreign(by)
    )
}

fn name(rule: &ListedHoldRule) -> String {
    rule.number.map_or("a hold rule".into(), |number| format!("hold rule {number}"))
}

fn conditions(rule: &ListedHoldRule) -> String {
    Foreign(&rule.conditions().to_string()).to_string()
}

/// Returns what is said of a rule that was made, or would be.
fn made_text(rule: &ListedHoldRule) -> String {
    let held = format!("new mail {}", conditions(rule));
    let Some(number) = rule.number else {
        return format!("A hold rule would be made: {held} would be accepted and put on hold.");
    };
    let by_time = rule.until.as_ref().map_or(String::new(), |until| format!(" until {until}, or"));
    format!(
        "Hold rule {number}: {held} is accepted and put on hold{by_time} until nullmta queue release --new {number}.\n\
         What is on hold then stays so until nullmta queue release. Mail that is in the queue already goes on."
    )
}

/// Returns what is said of a rule that was lifted, or would be.
fn lifted_text(lifted: &LiftedRule, is_dry: bool) -> String {
    let LiftedRule { number, rule, .. } = lifted;
    let Some(rule) = rule else { return format!("There is no hold rule {number}.") };
    let is = if is_dry { "would be" } else { "is" };
    let held = counted(rule.messages, "message");
    format!(
        "Hold rule {number} {is} lifted: new mail {} goes on. What it has put on hold ({held} since the start) stays so: \
         nullmta queue release --held-by rule:{number} has it sent.",
        conditions(rule)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> ListedHoldRule {
        ListedHoldRule {
            number: Some(3),
            from: vec!["noreply@*".parse().unwrap()],
            to: Vec::new(),
            uid: vec![33],
            reports: false,
            by: "uid 0 (root)".into(),
            since: "2026-11-29T08:00:00Z".into(),
            until: None,
            reason: Some("a job\u{1b} ran away".into()),
            messages: 1,
        }
    }

    #[test]
    fn a_rule_is_a_sentence() {
        let until = ListedHoldRule { until: Some("2026-11-29T10:00:00Z".into()), reason: None, ..rule() };
        assert_eq!(
            [line(&rule()), line(&until)].join("\n"),
            "hold rule 3: new mail from noreply@*, of uid 33 is put on hold since 2026-11-29T08:00:00Z, 1 message since the start of nullmta, by \
             uid 0 (root): a job\\u{1b} ran away\n\
             hold rule 3: new mail from noreply@*, of uid 33 is put on hold since 2026-11-29T08:00:00Z until \
             2026-11-29T10:00:00Z, 1 message since the start of nullmta, by uid 0 (root)"
        );
    }

    #[test]
    fn what_was_done_is_said_with_what_to_do_next() {
        let timed = ListedHoldRule { until: Some("2026-11-29T10:00:00Z".into()), ..rule() };
        assert!(
            made_text(&timed)
                .contains("on hold until 2026-11-29T10:00:00Z, or until nullmta queue release --new 3.\n")
        );
        let dry = made_text(&ListedHoldRule { number: None, ..rule() });
        assert!(dry.contains("would be made"), "{dry}");
        let lifted = |rule| LiftedRule { number: 3, result: LiftResult::Lifted, rule };
        assert!(lifted_text(&lifted(Some(rule())), false).contains("--held-by rule:3 has it sent"));
        assert_eq!(lifted_text(&lifted(None), false), "There is no hold rule 3.");
    }
}
