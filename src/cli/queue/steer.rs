//! `nullmta queue hold|release|retry|route|expire|delete`: steers messages, and counts what came of it.
//!
//! Promises: what is counted as done is recorded. The exit code is 0 if something was done, marked or so already; 1 if no
//! message was found; 75 if something was not recorded; 77 if all are held by others.
//!
//! Not here: who may do it, and what it means for a message (`admin/steer.rs`, `queue/orders.rs`).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::Args;

use super::super::ConfigFile;
use super::super::exit::{Exit, Failure};
use super::super::output::printed;
use super::filter_options::FilterOptions;
use super::{AT_A_TIME, ask, print_json};
use crate::admin::protocol::{ControlRequest, SteerResult, SteeredMessage};
use crate::filter::QueueFilter;
use crate::log::{Foreign, counted};
use crate::queue_id::QueueId;
use crate::spool::OperatorVerb;

/// The number of messages that are named for each result that says that something was not done.
const NAMED: usize = 10;

/// Steer messages.
#[derive(Args)]
pub(in crate::cli) struct Steer {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) which: FilterOptions,
    /// All messages that are in the queue now, or all of yours; it asks first
    #[arg(long)]
    pub(super) all: bool,
    /// Do not ask
    #[arg(long, requires = "all")]
    yes: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object a line, for each message
    #[arg(long)]
    pub(super) json: bool,
}

/// Have messages go by another route.
#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(in crate::cli) struct RouteCommand {
    #[command(flatten)]
    steer: Steer,
    /// The [[route]] by which they are to go; "" is none, to the relayhost of all other mail
    #[arg(value_name = "ROUTE", required = true)]
    by: String,
}

impl RouteCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        self.steer.run_with(OperatorVerb::Route, &self.by)
    }
}

impl Steer {
    pub(in crate::cli) fn run(&self, verb: OperatorVerb) -> Result<(), Failure> {
        self.run_with(verb, "")
    }

    /// Does this with the messages that are meant; `route` is that by which they are to go, if that is what is done.
    fn run_with(&self, verb: OperatorVerb, route: &str) -> Result<(), Failure> {
        let meant = self.meant()?;
        if self.all && !self.dry_run && !self.yes {
            confirm(verb)?;
        }
        let mut tally = Tally::default();
        for MeantMessages { ids, filter } in meant {
            let request =
                ControlRequest::Steer { verb, route: route.into(), ids, filter, dry_run: self.dry_run };
            let answered = ask(&self.config, &request, &mut |message: SteeredMessage| {
                let shown = if self.json { print_json(&message) } else { Ok(()) };
                tally.count(message);
                // What was ordered is carried out to its end, whether or not somebody reads on.
                shown.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
            });
            if let Err(failure) = answered {
                return Err(self.broken_off(&tally, verb, failure));
            }
        }
        if !self.json {
            printed(write!(io::stdout(), "{}", tally.text(verb, self.dry_run)))?;
        }
        tally.outcome()
    }

    /// Prints what is known when the answer broke off behind some messages. Returns the failure, which says what is not known.
    fn broken_off(&self, tally: &Tally, verb: OperatorVerb, failure: Failure) -> Failure {
        if tally.0.is_empty() {
            return failure;
        }
        if !self.json {
            // The failure is said in any case.
            let _ = write!(io::stdout(), "{}", tally.text(verb, self.dry_run));
        }
        let what = "what is said to be done is recorded; what became of the other messages is not known here: see nullmta \
                    queue list, and the log, which names each message that was touched";
        Failure::new(failure.exit(), format!("{failure}; {what}"))
    }

    /// Returns the messages that are meant, those of one request after the other.
    fn meant(&self) -> Result<Vec<MeantMessages>, Failure> {
        let usage = |why: &str| Err(Failure::new(Exit::Usage, why));
        let filtered = |filter| MeantMessages { ids: Vec::new(), filter: Some(filter) };
        let named = |page: &[QueueId]| page.iter().map(QueueId::to_string).collect();
        let QueueFilter { ids, .. } = self.which.checked_filter()?;
        let beside_ids = QueueFilter { ids: Vec::new(), ..self.which.filter() };
        let pages = ids.chunks(AT_A_TIME);
        match (self.all, ids.is_empty(), beside_ids.is_everything()) {
            (true, true, true) | (false, true, false) => Ok(vec![filtered(beside_ids)]),
            (true, _, _) => usage("--all is about every message: it goes with no id and no condition"),
            (false, true, true) => {
                usage("say which messages: by their ids, by a condition such as --from, or --all")
            }
            (false, false, true) => {
                Ok(pages.map(|page| MeantMessages { ids: named(page), filter: None }).collect())
            }
            (false, false, false) => Ok(pages
                .map(|page| filtered(QueueFilter { ids: page.to_vec(), ..beside_ids.clone() }))
                .collect()),
        }
    }
}

/// The messages of one request.
#[derive(Debug, PartialEq, Eq)]
struct MeantMessages {
    /// Those that are named, each of which has its answer.
    ids: Vec<String>,
    /// Those that a filter means.
    filter: Option<QueueFilter>,
}

/// Asks at a terminal whether all messages are meant.
fn confirm(verb: OperatorVerb) -> Result<(), Failure> {
    let usage = |why: &str| Failure::new(Exit::Usage, why);
    if !io::stdin().is_terminal() {
        return Err(usage("--all is about every message: without a terminal to ask at, give --yes as well"));
    }
    let what = match verb {
        OperatorVerb::Hold => "Put all messages on hold",
        OperatorVerb::Release => "Release all messages",
        OperatorVerb::Retry => "Try all messages now",
        OperatorVerb::Expire => "Return all messages to their senders",
        OperatorVerb::Route => "Have all messages go by this route",
        OperatorVerb::Delete => "Delete all messages, without a word to anybody",
    };
    eprint!("{what}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::new(Exit::IoError, error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was done")),
    }
}

/// The number of messages with each result, and some of them.
#[derive(Default)]
struct Tally(BTreeMap<SteerResult, (usize, Vec<SteeredMessage>)>);

impl Tally {
    fn count(&mut self, message: SteeredMessage) {
        let (number, named) = self.0.entry(message.result).or_default();
        *number += 1;
        if named.len() < NAMED {
            named.push(message);
        }
    }

    fn number(&self, result: SteerResult) -> usize {
        self.0.get(&result).map_or(0, |(number, _)| *number)
    }

    /// Returns a line for each result, the first one always.
    fn text(&self, verb: OperatorVerb, is_dry: bool) -> String {
        let result = if is_dry { SteerResult::WouldBeDone } else { SteerResult::Done };
        let mut text = format!("{}\n", done(verb, self.number(result), is_dry));
        for (result, (number, named)) in &self.0 {
            let Some(words) = words(verb, *result) else { continue };
            let named = if has_names(*result) { names(named, *number) } else { String::new() };
            text += &format!("{number} {words}{named}\n");
        }
        text
    }

    /// Returns the failure of the command, if it is one.
    fn outcome(&self) -> Result<(), Failure> {
        use SteerResult::{
            AlreadySo, Awaited, Dead, Done, Failed, HeldByOther, Marked, OnHold, Outranked, Replaced,
            Unreported, WouldBeDead, WouldBeDone, WouldBeMarked, WouldBeUnreported,
        };
        let number =
            |results: &[SteerResult]| results.iter().map(|result| self.number(*result)).sum::<usize>();
        if number(&[Failed, Awaited]) > 0 {
            let what = "not everything is recorded; try again, and see the log of nullmta";
            return Err(Failure::new(Exit::TempFail, what));
        }
        let would_be = [WouldBeDead, WouldBeDone, WouldBeMarked, WouldBeUnreported];
        if number(&[Done, Unreported, Marked, AlreadySo, OnHold, Dead]) + number(&would_be) > 0 {
            return Ok(());
        }
        if number(&[Outranked, Replaced]) > 0 {
            return Err(Failure::new(Exit::Failed, "nothing was done, since other orders stand"));
        }
        if number(&[HeldByOther]) > 0 {
            let why = "what an operator, a hold rule or a limit holds is released by root and the daemon's own user and \
                       group alone: ask them";
            return Err(Failure::new(Exit::NoPermission, why));
        }
        Err(Failure::new(Exit::Failed, "no message was found that you may steer"))
    }
}

/// Returns what was done with so many messages.
fn done(verb: OperatorVerb, number: usize, is_dry: bool) -> String {
    let what = match verb {
        OperatorVerb::Hold => "put on hold",
        OperatorVerb::Release => "released",
        OperatorVerb::Retry => "tried now",
        OperatorVerb::Expire => "returned",
        OperatorVerb::Route => "routed",
        OperatorVerb::Delete => "deleted",
    };
    format!("{} {}{what}", counted(number as u64, "message"), if is_dry { "would be " } else { "" })
}

/// Returns what is said of messages with this result, behind their number; `None` for what is done.
fn words(verb: OperatorVerb, result: SteerResult) -> Option<&'static str> {
    Some(match (result, verb) {
        (SteerResult::Done | SteerResult::WouldBeDone, _) => return None,
        (SteerResult::Unreported, _) => "given up without a report, as their senders wanted (NOTIFY=NEVER)",
        (SteerResult::WouldBeUnreported, _) => {
            "would be given up without a report, as their senders wanted (NOTIFY=NEVER)"
        }
        (SteerResult::WouldBeMarked, OperatorVerb::Retry) => {
            "under way: would be tried again if the relay does not take it"
        }
        (SteerResult::WouldBeMarked, _) => {
            "under way: would be done when the relay has answered, unless it takes the message"
        }
        (SteerResult::Dead | SteerResult::WouldBeDead, OperatorVerb::Route) => {
            "not routed, since they are dead: nullmta queue retry tries them"
        }
        (SteerResult::WouldBeDead, _) => {
            "would not be returned, since nobody can be told: they would be dead, and kept"
        }
        (SteerResult::Outranked, _) => {
            "under way, and not marked, since something stronger is ordered already"
        }
        (SteerResult::Replaced, _) => "not done, since a later order took the place of this one",
        (SteerResult::Marked, OperatorVerb::Retry) => "under way: tried again if the relay does not take it",
        (SteerResult::Marked, _) => {
            "under way: done when the relay has answered, unless it takes the message"
        }
        (SteerResult::AlreadySo, OperatorVerb::Hold) => "not sent anyway: on hold already, or dead",
        (SteerResult::AlreadySo, OperatorVerb::Release) => "not on hold",
        (SteerResult::AlreadySo, _) => "tried as soon as the relay takes mail, without that",
        (SteerResult::OnHold, _) => "not tried, since they are on hold: nullmta queue release has them sent",
        (SteerResult::HeldByOther, _) => "left as they are, since somebody else holds them",
        (SteerResult::Dead, _) => "not returned, since nobody can be told: they are dead, and kept",
        (SteerResult::Awaited, _) => "not recorded yet: it goes on",
        (SteerResult::Failed, _) => "not done",
        (SteerResult::NotFound, _) => "not found",
    })
}

/// Returns whether the messages with this result are named.
fn has_names(result: SteerResult) -> bool {
    !matches!(result, SteerResult::Done | SteerResult::WouldBeDone | SteerResult::AlreadySo)
}

/// Returns the ids of the first ones, each with its reason, as text to append.
fn names(named: &[SteeredMessage], number: usize) -> String {
    let name = |message: &SteeredMessage| {
        let why = message.why.as_deref().map_or(String::new(), |why| format!(" ({})", Foreign(why)));
        format!("{}{why}", Foreign(&message.id))
    };
    let names: Vec<String> = named.iter().map(name).collect();
    let more = number - named.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(": {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(results: &[SteerResult]) -> Tally {
        let mut tally = Tally::default();
        for (number, result) in results.iter().enumerate() {
            let why = (*result == SteerResult::Failed).then(|| "no room on the spool".to_owned());
            tally.count(SteeredMessage { id: format!("{number:016X}"), result: *result, why });
        }
        tally
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        steer: Steer,
    }

    #[derive(clap::Parser)]
    struct RouteLine {
        #[command(flatten)]
        route: RouteCommand,
    }

    /// The last word is the route, with ids or without.
    #[test]
    fn the_route_stands_behind_the_messages() {
        let routed = |words: &[&str]| {
            let line = <RouteLine as clap::Parser>::try_parse_from([&["x"], words].concat());
            line.map(|line| (line.route.by, line.route.steer.which.filter().ids.len())).map_err(|_| ())
        };
        let id = "18A4F1C9A02B3D40";
        assert_eq!(routed(&[id, id, "news"]), Ok(("news".into(), 2)));
        assert_eq!(routed(&["--from", "a@*", "news"]), Ok(("news".into(), 0)));
        assert_eq!(routed(&["--all", "--yes", ""]), Ok((String::new(), 0)));
        assert_eq!(routed(&["--all"]), Err(()));
    }

    fn meant(words: &[&str]) -> Result<String, String> {
        let line = <Line as clap::Parser>::try_parse_from([&["x"], words].concat());
        let meant =
            line.map_err(|error| error.to_string())?.steer.meant().map_err(|error| error.to_string())?;
        let pairs: Vec<_> = meant.into_iter().map(|MeantMessages { ids, filter }| (ids, filter)).collect();
        Ok(serde_json::to_string(&pairs).unwrap())
    }

    /// A filter that a slip made empty must not mean everything.
    #[test]
    fn everything_is_meant_by_all_alone() {
        assert_eq!(meant(&["--all"]).unwrap(), "[[[],{}]]");
        assert!(meant(&[]).unwrap_err().contains("say which messages"));
        for beside in [&["--all", "18A4F1C9A02B3D40"][..], &["--all", "--from", "a@x"]] {
            assert!(meant(beside).unwrap_err().contains("goes with no id and no condition"), "{beside:?}");
        }
    }

    #[test]
    fn ids_alone_are_named_and_beside_conditions_are_one() {
        let (one, other) = ("18A4F1C9A02B3D40", "18A4F1C9A02B3D41");
        assert_eq!(meant(&[one, other]).unwrap(), format!(r#"[[["{one}","{other}"],null]]"#));
        assert_eq!(
            meant(&[one, "--from", "a@x"]).unwrap(),
            format!(r#"[[[],{{"ids":["{one}"],"from":["a@x"]}}]]"#)
        );
        assert_eq!(meant(&["--older-than", "2h"]).unwrap(), r#"[[[],{"older-than":7200}]]"#);
    }

    #[test]
    fn what_came_of_it_is_counted() {
        use SteerResult::{Done, Failed, Marked, NotFound};
        let text = tally(&[Done, Marked, NotFound, Done, Failed]).text(OperatorVerb::Delete, false);
        assert_eq!(
            text,
            "2 messages deleted\n\
             1 under way: done when the relay has answered, unless it takes the message: 0000000000000001\n\
             1 not done: 0000000000000004 (no room on the spool)\n\
             1 not found: 0000000000000002\n"
        );
        let dry =
            tally(&[SteerResult::WouldBeDone, SteerResult::WouldBeDead, SteerResult::WouldBeUnreported]);
        assert_eq!(
            dry.text(OperatorVerb::Expire, true),
            "1 message would be returned\n\
             1 would be given up without a report, as their senders wanted (NOTIFY=NEVER): 0000000000000002\n\
             1 would not be returned, since nobody can be told: they would be dead, and kept: 0000000000000001\n"
        );
        let many = tally(&[NotFound; 12]).text(OperatorVerb::Hold, false);
        assert!(many.ends_with(", 0000000000000009 and 2 more\n"), "{many}");
    }

    #[test]
    fn the_exit_code_says_whether_anything_was_found() {
        use SteerResult::{AlreadySo, Done, Failed, HeldByOther, NotFound};
        let exit = |results: &[SteerResult]| tally(results).outcome().err().map(|failure| failure.exit());
        assert_eq!(exit(&[Done, NotFound]), None);
        assert_eq!(exit(&[AlreadySo]), None);
        assert_eq!(exit(&[NotFound]), Some(Exit::Failed));
        assert_eq!(exit(&[Done, Failed]), Some(Exit::TempFail));
        assert_eq!(exit(&[HeldByOther, NotFound]), Some(Exit::NoPermission));
        assert_eq!(exit(&[Done, HeldByOther]), None);
    }
}
