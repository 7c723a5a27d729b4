//! The options of `nullmta queue …` that say which messages are meant.
//!
//! Not here: what they mean (`filter.rs`).

use std::time::Duration;

use clap::Args;

use super::super::exit::{Exit, Failure};
use super::super::values::time;
use crate::filter::{BadHolderCondition, Glob, HolderCondition, MessageState, QueueFilter};
use crate::queue_id::QueueId;
use crate::users;

/// The messages that a command is about.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Which messages")]
pub(in crate::cli) struct FilterOptions {
    /// Only these messages
    #[arg(value_name = "ID", help_heading = None)]
    ids: Vec<QueueId>,
    /// Only from this sender: an address, or a pattern with * and ?; <> is the sender of bounces
    #[arg(long, value_name = "PATTERN")]
    from: Vec<Glob>,
    /// Only to this recipient: an address, or a pattern
    #[arg(long, value_name = "PATTERN")]
    to: Vec<Glob>,
    /// Only what this user submitted
    #[arg(long, value_name = "UID")]
    uid: Vec<u32>,
    /// Only what was accepted so long ago, such as 90s, 2h or 1d12h
    #[arg(long, value_name = "AGE", value_parser = time)]
    older_than: Option<Duration>,
    /// Only what is still here for this reason: a pattern for the words that are shown, such as '*quota*'
    #[arg(long, value_name = "PATTERN")]
    reason: Vec<Glob>,
    /// Only what is in this state: ready, active, deferred, held, on-hold or dead
    #[arg(long, value_name = "STATE")]
    state: Vec<MessageState>,
    /// Only what this one holds: operator, submitter, rule, rule:NUMBER, limit, or a user, by login name or uid:NUMBER
    #[arg(long, value_name = "WHO", value_parser = who)]
    held_by: Vec<HolderCondition>,
    /// Only what goes by this route: its name, or a pattern; "" is mail that goes by none
    #[arg(long, value_name = "PATTERN")]
    route: Vec<Glob>,
}

impl FilterOptions {
    /// Returns the filter that they give; fails if it has too many values.
    pub(in crate::cli) fn checked_filter(&self) -> Result<QueueFilter, Failure> {
        let filter = self.filter();
        filter.check().map_err(|why| Failure::new(Exit::Usage, why))?;
        Ok(filter)
    }

    /// Returns the filter that they give.
    pub(in crate::cli) fn filter(&self) -> QueueFilter {
        let FilterOptions { ids, from, to, uid, older_than, reason, state, held_by, route } = self.clone();
        QueueFilter {
            ids,
            from,
            to,
            uid,
            older_than: older_than.map(|age| age.as_secs()),
            reason,
            state,
            held_by,
            route,
        }
    }
}

/// Reads who holds a message. What is no word of a filter is the login name of a user.
fn who(text: &str) -> Result<HolderCondition, BadHolderCondition> {
    text.parse().or_else(|bad| {
        let account = users::by_login(text).ok().flatten().filter(|_| !text.is_empty());
        account.map(|account| HolderCondition::User(account.uid)).ok_or(bad)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: FilterOptions,
    }

    fn filter(words: &[&str]) -> Result<String, String> {
        let line = Line::try_parse_from([&["x"], words].concat()).map_err(|error| error.to_string())?;
        Ok(serde_json::to_string(&line.options.filter()).unwrap())
    }

    #[test]
    fn each_option_is_a_condition() {
        let words = "18A4F1C9A02B3D40 --from a@* --from <> --to b --uid 0 --older-than 1h30m --reason *x* --state held --held-by rule:3 --held-by root --route";
        let words: Vec<&str> = words.split(' ').chain([""]).collect();
        assert_eq!(
            filter(&words).unwrap(),
            r#"{"ids":["18A4F1C9A02B3D40"],"from":["a@*","<>"],"to":["b"],"uid":[0],"older-than":5400,"reason":["*x*"],"state":["held"],"held-by":["rule:3","uid:0"],"route":[""]}"#
        );
        assert_eq!(filter(&[]).unwrap(), "{}");
    }

    #[test]
    fn what_is_no_condition_is_said() {
        for (words, said) in [
            (["--older-than", "2"], "a time is a number above zero and a unit"),
            (["--state", "lost"], "the states are ready, active"),
            (["--from", "a\\"], "a pattern does not end in"),
            (["--held-by", "no such user"], "operator, submitter, rule, rule:NUMBER"),
            (["x", "y"], "a queue id is 16 hexadecimal digits"),
        ] {
            assert!(filter(&words).unwrap_err().contains(said), "{words:?}");
        }
    }
}
