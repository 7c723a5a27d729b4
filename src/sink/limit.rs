//! A limit of the sink: what it counts, how much of that it allows, and what it says beyond it.
//!
//! Promises: a [`SinkLimit`] that exists is possible: its effect is one that its phase can have, and recipients are counted
//! only where they are known.
//!
//! Text form: `NUMBER[rcpt][/WINDOW][@PHASE[,PHASE]][!]=EFFECT`, with the effects of a fault, for instance `50=452 4.5.3 too many`,
//! `14/s=454 slow down`, `500rcpt/day@rcpt!=550 quota exceeded`. Only a rate and a quota have a window (`s`, `min`, `h`,
//! `day`, or so many of them: `20s`), count recipients on request, and may have the `!`: whoever tries while nothing is
//! left waits for the whole window again. With two phases, it is counted at the first one and refused at the second:
//! `5000/day@dot,auth=451 credits exceeded`.
//!
//! Not here: counting (`allowance.rs`).

use std::fmt;
use std::time::Duration;

use super::fault::{BadFault, FaultEffect, SinkPhase, parse_effect};

/// A limit, with what happens beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkLimit {
    /// What is counted.
    pub(super) kind: LimitKind,
    /// How much of it is allowed.
    pub(super) most: u32,
    /// The phase at which it is counted.
    pub(super) counted: SinkPhase,
    /// The phase at which it is refused beyond the limit; for most limits the same.
    pub(super) phase: SinkPhase,
    /// What happens beyond the limit.
    pub(super) effect: FaultEffect,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The recipients of a transaction.
    Recipients,
    /// The messages that one session has sent.
    Messages,
    /// The sessions that have come to the phase and have not ended.
    Connections,
    /// A rate, as a bucket that fills evenly: after a rest the whole number may come at once.
    Rate(LimitWindow),
    /// A quota: no more than the number within any window.
    Quota(LimitWindow),
}

/// The time for which a rate or a quota counts, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitWindow {
    /// The length of the window.
    pub(super) length: Duration,
    /// True if each recipient counts.
    pub(super) recipients: bool,
    /// True if a refused try counts, too, so that whoever goes on trying stays refused.
    pub(super) prolonged: bool,
}

/// The number, the window and the phase of a limit, as they stand in front of the `=`.
struct Front<'a> {
    most: u32,
    window: Option<(&'a str, bool)>,
    phases: Option<LimitPhases>,
    prolonged: bool,
}

/// The phases at which a limit is counted and refused.
#[derive(Clone, Copy)]
struct LimitPhases {
    counted: SinkPhase,
    refused: SinkPhase,
}

impl LimitPhases {
    fn both(phase: SinkPhase) -> Self {
        LimitPhases { counted: phase, refused: phase }
    }
}

impl SinkLimit {
    /// Parses a limit of the recipients of one transaction, which is refused at RCPT.
    pub fn recipients(text: &str) -> Result<Self, BadLimit> {
        Self::without_window(text, LimitKind::Recipients, SinkPhase::Rcpt)
    }

    /// Parses a limit of the messages of one session, which is refused at MAIL.
    pub fn messages_per_session(text: &str) -> Result<Self, BadLimit> {
        Self::without_window(text, LimitKind::Messages, SinkPhase::Mail)
    }

    /// Parses a limit of the sessions at once, which is refused in the greeting.
    pub fn connections(text: &str) -> Result<Self, BadLimit> {
        Self::without_window(text, LimitKind::Connections, SinkPhase::Greeting)
    }

    /// Parses a rate, which is refused at the final dot.
    pub fn rate(text: &str) -> Result<Self, BadLimit> {
        Self::with_window(text, LimitKind::Rate)
    }

    /// Parses a quota, which is refused at the final dot.
    pub fn quota(text: &str) -> Result<Self, BadLimit> {
        Self::with_window(text, LimitKind::Quota)
    }

    fn without_window(text: &str, kind: LimitKind, usual: SinkPhase) -> Result<Self, BadLimit> {
        let (front, effect) = split(text)?;
        if front.window.is_some() || front.prolonged {
            return Err(BadLimit::NoWindowHere);
        }
        Self::possible(kind, front.most, front.phases.unwrap_or(LimitPhases::both(usual)), effect)
    }

    fn with_window(text: &str, kind: fn(LimitWindow) -> LimitKind) -> Result<Self, BadLimit> {
        let (front, effect) = split(text)?;
        let (length, recipients) = front.window.ok_or(BadLimit::NoWindow)?;
        let length = window_length(length).ok_or(BadLimit::NoWindow)?;
        let window = LimitWindow { length, recipients, prolonged: front.prolonged };
        let phases = front.phases.unwrap_or(LimitPhases::both(SinkPhase::Dot));
        Self::possible(kind(window), front.most, phases, effect)
    }

    fn possible(
        kind: LimitKind,
        most: u32,
        phases: LimitPhases,
        effect: FaultEffect,
    ) -> Result<Self, BadLimit> {
        use SinkPhase::{Content, Data, Dot, Mail, Quit, Rcpt};
        let LimitPhases { counted: phase, refused } = phases;
        let counted = match kind {
            LimitKind::Recipients => matches!(phase, Rcpt | Data | Dot),
            LimitKind::Messages => matches!(phase, Mail | Rcpt | Data | Dot),
            LimitKind::Rate(window) | LimitKind::Quota(window) if window.recipients => {
                matches!(phase, Rcpt | Data | Dot)
            }
            LimitKind::Connections | LimitKind::Rate(_) | LimitKind::Quota(_) => {
                !matches!(phase, Content | Quit)
            }
        };
        let has_window = matches!(kind, LimitKind::Rate(_) | LimitKind::Quota(_));
        if !counted || refused != phase && (!has_window || matches!(refused, Content | Quit)) {
            return Err(BadLimit::NotCountedHere);
        }
        if !effect.is_possible_at(refused) {
            return Err(BadLimit::Effect(BadFault::EffectNotHere));
        }
        Ok(SinkLimit { kind, most, counted: phase, phase: refused, effect })
    }

    /// Returns true if `other` is a limit of the same kind.
    pub fn is_like(&self, other: &SinkLimit) -> bool {
        std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

fn split(text: &str) -> Result<(Front<'_>, FaultEffect), BadLimit> {
    let (front, effect) = text.split_once('=').ok_or(BadLimit::NoEffect)?;
    let effect = parse_effect(effect).map_err(BadLimit::Effect)?;
    let (front, prolonged) = front.strip_suffix('!').map_or((front, false), |front| (front, true));
    let (front, phases) = match front.split_once('@') {
        None => (front, None),
        Some((front, names)) => (front, Some(limit_phases(names)?)),
    };
    let (number, window) = match front.split_once('/') {
        None => (front, None),
        Some((number, window)) => (number, Some(window)),
    };
    let (number, recipients) = match window {
        Some(_) => number.strip_suffix("rcpt").map_or((number, false), |number| (number, true)),
        None => (number, false),
    };
    let most = number.parse().map_err(|_| BadLimit::NoNumber)?;
    Ok((Front { most, window: window.map(|window| (window, recipients)), phases, prolonged }, effect))
}

fn limit_phases(names: &str) -> Result<LimitPhases, BadLimit> {
    let phase = |name: &str| name.parse().map_err(BadLimit::Effect);
    match names.split_once(',') {
        None => phase(names).map(LimitPhases::both),
        Some((counted, refused)) => Ok(LimitPhases { counted: phase(counted)?, refused: phase(refused)? }),
    }
}

/// Returns the length of `s`, `20s`, `min`, `h` or `day`; `None` for anything else.
fn window_length(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = if number.is_empty() { 1 } else { number.parse().ok()? };
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "day" => 86400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// The reason why a text is not a [`SinkLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLimit {
    /// There is no `=` before the effect.
    NoEffect,
    /// It does not begin with a number.
    NoNumber,
    /// A rate or a quota has no window.
    NoWindow,
    /// Only a rate and a quota have a window.
    NoWindowHere,
    /// At this phase there is nothing to count.
    NotCountedHere,
    /// The phase or the effect is none.
    Effect(BadFault),
}

impl fmt::Display for BadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLimit::NoEffect => f.write_str("expected NUMBER=EFFECT, such as 50=452 4.5.3 too many"),
            BadLimit::NoNumber => f.write_str("expected a number at the start"),
            BadLimit::NoWindow => {
                f.write_str("expected a window of s, min, h or day, such as 14/s or 50/20s")
            }
            BadLimit::NoWindowHere => f.write_str("only a rate and a quota have a window or a !"),
            BadLimit::NotCountedHere => f.write_str("this is not counted at that phase"),
            BadLimit::Effect(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for BadLimit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_all_its_parts() {
        let limit = SinkLimit::recipients("50=452 4.5.3 too many").unwrap();
        assert_eq!((limit.kind, limit.most, limit.phase), (LimitKind::Recipients, 50, SinkPhase::Rcpt));
        let limit = SinkLimit::messages_per_session("100@dot=421").unwrap();
        assert_eq!((limit.kind, limit.phase), (LimitKind::Messages, SinkPhase::Dot));
        let limit = SinkLimit::connections("3@data=432 4.3.2 Concurrent connections limit exceeded").unwrap();
        assert_eq!((limit.most, limit.phase), (3, SinkPhase::Data));
        let limit = SinkLimit::rate("14/s=454").unwrap();
        let window = |seconds, recipients, prolonged| LimitWindow {
            length: Duration::from_secs(seconds),
            recipients,
            prolonged,
        };
        assert_eq!((limit.kind, limit.phase), (LimitKind::Rate(window(1, false, false)), SinkPhase::Dot));
        let limit = SinkLimit::quota("500rcpt/day@rcpt!=550 quota = used up").unwrap();
        assert_eq!(limit.kind, LimitKind::Quota(window(86400, true, true)));
        let limit = SinkLimit::quota("50/20s=stall").unwrap();
        assert_eq!(
            (limit.kind, limit.effect),
            (LimitKind::Quota(window(20, false, false)), FaultEffect::Stall)
        );
    }

    #[test]
    fn what_is_counted_at_one_phase_may_be_refused_at_another() {
        let limit = SinkLimit::quota("5000/day@dot,auth=451 credits exceeded").unwrap();
        assert_eq!((limit.counted, limit.phase), (SinkPhase::Dot, SinkPhase::Auth));
        assert_eq!(SinkLimit::recipients("5@rcpt,dot=452"), Err(BadLimit::NotCountedHere));
        assert_eq!(SinkLimit::quota("5/day@dot,quit=452"), Err(BadLimit::NotCountedHere));
    }

    #[test]
    fn nonsense_is_refused() {
        type Parse = fn(&str) -> Result<SinkLimit, BadLimit>;
        let cases: [(Parse, &str, BadLimit); 12] = [
            (SinkLimit::recipients, "50", BadLimit::NoEffect),
            (SinkLimit::recipients, "many=452", BadLimit::NoNumber),
            (SinkLimit::recipients, "50rcpt=452", BadLimit::NoNumber),
            (SinkLimit::recipients, "50/s=452", BadLimit::NoWindowHere),
            (SinkLimit::connections, "50!=421", BadLimit::NoWindowHere),
            (SinkLimit::recipients, "50@mail=452", BadLimit::NotCountedHere),
            (SinkLimit::rate, "5rcpt/s@mail=450", BadLimit::NotCountedHere),
            (SinkLimit::rate, "5=450", BadLimit::NoWindow),
            (SinkLimit::rate, "5/week=450", BadLimit::NoWindow),
            (SinkLimit::rate, "5/0s=450", BadLimit::NoWindow),
            (SinkLimit::rate, "5/s=250", BadLimit::Effect(BadFault::UnknownEffect)),
            (SinkLimit::connections, "5@connect=421", BadLimit::Effect(BadFault::EffectNotHere)),
        ];
        for (parse, text, expected) in cases {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
