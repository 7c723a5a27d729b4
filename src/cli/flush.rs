//! `nullmta flush`: tries the relays and every deferred message now, and prints the result.

use clap::Args;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::{ask_one, print_json};
use super::status;
use crate::admin::protocol::{Contact, ControlRequest, Flushed, RelayFlushed};
use crate::log::Foreign;

/// Try the relays and every deferred message now.
#[derive(Args)]
pub(super) struct FlushCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Try only the relay of this [[route]], and the messages that go by it
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl FlushCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let request = ControlRequest::Flush { route: self.route.clone() };
        let flushed: Flushed = ask_one(&self.config, &request)?;
        if self.json {
            printed(print_json(&flushed))?;
        }
        match outcome(&flushed) {
            Ok(_) if self.json => Ok(()),
            outcome => say!("{}", outcome?),
        }
    }
}

/// Returns the result in words; a failure if a relay was not reached, or refuses what it was asked to take.
fn outcome(flushed: &Flushed) -> Result<String, Failure> {
    let worst = outcome_of_worst(flushed);
    if flushed.relays.len() < 2 || flushed.relay == Contact::NotNeeded {
        return worst;
    }
    let lines: Vec<String> = flushed.relays.iter().map(relay_line).collect();
    match worst {
        Ok(words) => Ok(format!("{words}\n{}", lines.join("\n"))),
        Err(failure) => Err(Failure::new(failure.exit(), format!("{failure}\n{}", lines.join("\n")))),
    }
}

/// Returns a line about one of several relays.
fn relay_line(at: &RelayFlushed) -> String {
    let trouble = at.trouble.as_deref().map(Foreign).map(|trouble| format!(": {trouble}"));
    let (trouble, messages) = (trouble.unwrap_or_default(), at.messages);
    let said = match at.relay {
        Contact::NotNeeded => "nothing to send".into(),
        Contact::Reached => "reached".into(),
        Contact::Paused => format!("takes no mail now{trouble}"),
        Contact::NotReached => format!("not reached{trouble}"),
        Contact::Halted => format!("not tried{trouble}"),
        Contact::Awaited => format!("not answered yet{trouble}"),
    };
    let next_probe = at.next_probe.as_ref().map_or(String::new(), |time| format!(", next probe {time}"));
    let heading = at.route.as_ref().map_or("relay  ".into(), |route| format!("route   {}:", Foreign(route)));
    format!("{heading} {said}; {messages} in the queue{next_probe}")
}

/// Returns the result in words, by what came of it at all relays together.
fn outcome_of_worst(flushed: &Flushed) -> Result<String, Failure> {
    let Flushed { relay, messages, .. } = flushed;
    let trouble = flushed.trouble.as_deref().map(Foreign).map(|trouble| format!(": {trouble}"));
    let trouble = trouble.unwrap_or_default();
    let next_probe =
        flushed.next_probe.as_ref().map(|time| format!(", next probe {time}")).unwrap_or_default();
    let subject = match flushed.relays.len() {
        0 | 1 => "the relay",
        _ if *relay == Contact::Reached => "each relay that has mail",
        _ => "a relay",
    };
    match relay {
        Contact::NotNeeded if *messages == 0 => Ok("the queue is empty".into()),
        Contact::NotNeeded => Ok(format!("nothing to send{}{}", states(flushed), kept(flushed))),
        Contact::Reached if refuses_all(flushed) => Err(Failure::new(
            Exit::Failed,
            format!("{subject} was reached, but took nothing; {}{}", left(flushed), kept(flushed)),
        )),
        Contact::Reached => Ok(format!("{subject} was reached; {}{}", left(flushed), kept(flushed))),
        Contact::Paused => Err(Failure::new(
            Exit::Unavailable,
            format!("{subject} was reached, but takes no mail now{trouble}; {}{next_probe}", left(flushed)),
        )),
        Contact::NotReached => Err(Failure::new(
            Exit::Unavailable,
            format!("{subject} was not reached{trouble}; {messages} in the queue{next_probe}"),
        )),
        Contact::Halted => Err(Failure::new(Exit::TempFail, format!("nothing was tried{trouble}"))),
        Contact::Awaited => Err(Failure::new(
            Exit::TempFail,
            format!("{subject} has not answered yet{trouble}; {messages} in the queue; see nullmta status"),
        )),
    }
}

/// Returns whether no message has left, and none is under way, but some are held since the relay refuses them.
fn refuses_all(flushed: &Flushed) -> bool {
    flushed.messages >= flushed.before && flushed.under_way == 0 && flushed.held > 0
}

/// Returns how many messages have left, and what is in the queue.
fn left(flushed: &Flushed) -> String {
    let Flushed { before, messages, .. } = flushed;
    let gone = match before.saturating_sub(*messages) {
        0 => "no message has left".into(),
        1 => "1 message has left".into(),
        gone => format!("{gone} messages have left"),
    };
    match messages {
        0 => format!("{gone}, the queue is empty"),
        _ => format!("{gone}, {messages} in the queue{}", states(flushed)),
    }
}

/// Returns the number of messages in each state in which there are some: ": 1 deferred, 5 held".
fn states(flushed: &Flushed) -> String {
    let Flushed { under_way, deferred, held, on_hold, dead, .. } = flushed;
    let counts = [
        (under_way, "ready or active"),
        (deferred, "deferred"),
        (held, "held"),
        (on_hold, "on hold"),
        (dead, "dead"),
    ];
    let some = counts.into_iter().filter(|(count, _)| **count > 0);
    let some: Vec<String> = some.map(|(count, state)| format!("{count} {state}")).collect();
    if some.is_empty() { String::new() } else { format!(": {}", some.join(", ")) }
}

/// Returns the reasons why messages are held or dead, a line for each, as in `nullmta status`.
fn kept(flushed: &Flushed) -> String {
    let held = flushed.held_because.as_deref().map(status::held_line);
    let dead = flushed.newest_dead.as_ref().map(|newest| status::dead_line(flushed.dead, newest));
    let lines: Vec<String> =
        held.into_iter().chain(dead).map(|line| format!("\n{}", line.trim_end())).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flushed(relay: Contact) -> Flushed {
        Flushed {
            relay,
            trouble: Some("mx[192.0.2.1]:587: connect: refused\u{1b}".into()),
            before: 3,
            messages: 2,
            under_way: 0,
            deferred: 1,
            held: 1,
            on_hold: 0,
            held_because: Some("what the relay refuses is held\u{1b}".into()),
            dead: 0,
            newest_dead: None,
            next_probe: Some("2026-11-21T02:10:00Z".into()),
            relays: Vec::new(),
        }
    }

    /// Of two relays the one that was reached hid the one that was not, and the exit code was 0.
    #[test]
    fn each_of_several_relays_has_a_line() {
        let at = |route: Option<&str>, relay| RelayFlushed {
            route: route.map(str::to_owned),
            relay,
            trouble: Some("refused".into()).filter(|_| relay == Contact::NotReached),
            messages: 2,
            next_probe: Some("2026-11-21T02:10:00Z".into()).filter(|_| relay == Contact::NotReached),
        };
        let relays = vec![at(None, Contact::Reached), at(Some("news"), Contact::NotReached)];
        let failure = outcome(&Flushed { relays, ..flushed(Contact::NotReached) }).unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        let text = failure.to_string();
        let (_, lines) = text.split_once('\n').unwrap();
        assert_eq!(
            lines,
            "relay   reached; 2 in the queue\n\
             route   news: not reached: refused; 2 in the queue, next probe 2026-11-21T02:10:00Z"
        );
        let relays = vec![at(None, Contact::Reached), at(Some("news"), Contact::NotNeeded)];
        let words = outcome(&Flushed { relays, ..flushed(Contact::Reached) }).unwrap();
        assert!(words.ends_with("\nroute   news: nothing to send; 2 in the queue"), "{words}");
    }

    #[test]
    fn what_came_of_it_is_said_and_is_the_exit_code() {
        let reached = outcome(&Flushed { trouble: None, ..flushed(Contact::Reached) }).unwrap();
        assert!(
            reached.starts_with(
                "the relay was reached; 1 message has left, 2 in the queue: 1 deferred, 1 held\nheld    "
            ),
            "{reached}"
        );
        let unreached = outcome(&flushed(Contact::NotReached)).unwrap_err();
        assert_eq!(unreached.exit(), Exit::Unavailable);
        assert_eq!(
            unreached.to_string(),
            "the relay was not reached: mx[192.0.2.1]:587: connect: refused\\u{1b}; 2 in the queue, \
             next probe 2026-11-21T02:10:00Z"
        );
        let paused = outcome(&flushed(Contact::Paused)).unwrap_err();
        assert_eq!(paused.exit(), Exit::Unavailable);
        assert_eq!(
            paused.to_string(),
            "the relay was reached, but takes no mail now: mx[192.0.2.1]:587: connect: refused\\u{1b}; 1 message has \
             left, 2 in the queue: 1 deferred, 1 held, next probe 2026-11-21T02:10:00Z"
        );
        assert_eq!(outcome(&flushed(Contact::Awaited)).unwrap_err().exit(), Exit::TempFail);
        assert_eq!(
            outcome(&flushed(Contact::NotNeeded)).unwrap(),
            "nothing to send: 1 deferred, 1 held\nheld    what the relay refuses is held\\u{1b}"
        );
        let empty = Flushed { messages: 0, ..flushed(Contact::NotNeeded) };
        assert_eq!(outcome(&empty).unwrap(), "the queue is empty");
    }

    /// "The relay was reached; of 6 messages 6 in the queue: 0 ready or active, 0 deferred, 6 held, 0 dead", and exit code
    /// 0, of a relay that refuses all of them.
    #[test]
    fn a_flush_after_which_no_message_has_left_is_no_success_where_some_are_held() {
        // before, in the queue, under way, deferred, held, dead
        let cases = [
            (
                [6, 6, 0, 0, 6, 0],
                Some(Exit::Failed),
                "was reached, but took nothing; no message has left, 6 in the queue: 6 held",
            ),
            (
                [6, 7, 0, 1, 5, 1],
                Some(Exit::Failed),
                "no message has left, 7 in the queue: 1 deferred, 5 held, 1 dead",
            ),
            (
                [6, 6, 1, 0, 5, 0],
                None,
                "was reached; no message has left, 6 in the queue: 1 ready or active, 5 held",
            ),
            ([6, 6, 0, 6, 0, 0], None, "was reached; no message has left, 6 in the queue: 6 deferred"),
            ([6, 5, 0, 0, 5, 0], None, "was reached; 1 message has left, 5 in the queue: 5 held"),
            (
                [6, 2, 0, 1, 0, 1],
                None,
                "was reached; 4 messages have left, 2 in the queue: 1 deferred, 1 dead",
            ),
            ([6, 0, 0, 0, 0, 0], None, "was reached; 6 messages have left, the queue is empty"),
        ];
        for ([before, messages, under_way, deferred, held, dead], exit, words) in cases {
            let flushed = Flushed { trouble: None, held_because: None, ..flushed(Contact::Reached) };
            let said = outcome(&Flushed { before, messages, under_way, deferred, held, dead, ..flushed });
            assert_eq!(said.as_ref().err().map(Failure::exit), exit, "{words}");
            let said = said.unwrap_or_else(|failure| failure.to_string());
            assert!(said.ends_with(words), "{said}");
        }
    }
}
