//! Faults: what the sink does wrong on purpose, at which phase of a session, for which address, and how often.
//!
//! Promises: a [`SinkFault`] that exists is possible (`lose-reply` only at the final dot, an address only at
//! MAIL and RCPT, only 4xx or 5xx replies, or odd ones of which the phase allows the first digit); its text form parses to the same fault; with the same seed, the same sequence
//! of events gets the same faults.
//!
//! Text form: `PHASE[:ADDRESS]=EFFECT[*TIMES][%PERCENT]`, for instance `rcpt=451`, `dot=drop*3`,
//! `data=452 4.3.1 full`, `rcpt:bad@example.org=550`, `mail=421%10`, `dot=long 4000 554 no`.
//!
//! Not here: carrying a fault out (`session.rs`), replies that are no SMTP (`odd.rs`).

use std::fmt;
use std::str::FromStr;

use super::odd::OddReply;
use crate::smtp::reply::Reply;
use crate::status::Status;

/// The phase of a session at which a fault strikes, named after what the client has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SinkPhase {
    /// The client has connected, and nothing was sent.
    Connect,
    /// The client waits for the greeting.
    Greeting,
    /// The client has sent EHLO or HELO.
    Ehlo,
    /// The client has sent STARTTLS.
    StartTls,
    /// The client has sent AUTH.
    Auth,
    /// The client has sent MAIL.
    Mail,
    /// The client has sent RCPT, for each recipient.
    Rcpt,
    /// The client has sent DATA, or the first BDAT of a message.
    Data,
    /// The client has sent the first octets of content.
    Content,
    /// The client has sent the final dot, or the last chunk.
    Dot,
    /// The client has sent QUIT.
    Quit,
}

impl SinkPhase {
    /// Every phase, in the order of a session.
    pub const ALL: [SinkPhase; 11] = [
        SinkPhase::Connect,
        SinkPhase::Greeting,
        SinkPhase::Ehlo,
        SinkPhase::StartTls,
        SinkPhase::Auth,
        SinkPhase::Mail,
        SinkPhase::Rcpt,
        SinkPhase::Data,
        SinkPhase::Content,
        SinkPhase::Dot,
        SinkPhase::Quit,
    ];

    const fn name(self) -> &'static str {
        match self {
            SinkPhase::Connect => "connect",
            SinkPhase::Greeting => "greeting",
            SinkPhase::Ehlo => "ehlo",
            SinkPhase::StartTls => "starttls",
            SinkPhase::Auth => "auth",
            SinkPhase::Mail => "mail",
            SinkPhase::Rcpt => "rcpt",
            SinkPhase::Data => "data",
            SinkPhase::Content => "content",
            SinkPhase::Dot => "dot",
            SinkPhase::Quit => "quit",
        }
    }
}

impl fmt::Display for SinkPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SinkPhase {
    type Err = BadFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        SinkPhase::ALL.into_iter().find(|phase| phase.name() == name).ok_or(BadFault::UnknownPhase)
    }
}

/// The behaviour of the sink when a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// Sends this 4xx or 5xx reply; after 421 it closes the connection.
    Answer(Reply),
    /// Sends these octets; after 421 it closes the connection. What they answer is done if their first digit says so, and
    /// refused otherwise.
    Odd(OddReply),
    /// Sends nothing more, but keeps the connection open.
    Stall,
    /// Closes the connection without a reply.
    Drop,
    /// Stores the message, then closes the connection without a reply.
    LoseReply,
}

impl FaultEffect {
    /// Returns true if a fault can have this effect at `phase`.
    pub(super) fn is_possible_at(&self, phase: SinkPhase) -> bool {
        match self {
            FaultEffect::Answer(reply) => phase != SinkPhase::Connect && (400..600).contains(&reply.code()),
            FaultEffect::Odd(odd) => {
                phase != SinkPhase::Connect
                    && (self.goes_on_at(phase) || !odd.begins_with(b'2') && !odd.begins_with(b'3'))
            }
            FaultEffect::LoseReply => phase == SinkPhase::Dot,
            FaultEffect::Stall | FaultEffect::Drop => true,
        }
    }

    /// Returns true if it is only an odd way to say that what was asked for at `phase` is done.
    pub(super) fn goes_on_at(&self, phase: SinkPhase) -> bool {
        use SinkPhase::{Data, Dot, Ehlo, Greeting, Mail, Quit, Rcpt};
        let FaultEffect::Odd(odd) = self else { return false };
        match phase {
            Greeting | Ehlo | Mail | Rcpt | Dot | Quit => odd.begins_with(b'2'),
            Data => odd.begins_with(b'3'),
            _ => false,
        }
    }
}

impl fmt::Display for FaultEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultEffect::Answer(reply) => reply.fmt(f),
            FaultEffect::Odd(odd) => odd.fmt(f),
            FaultEffect::Stall => f.write_str("stall"),
            FaultEffect::Drop => f.write_str("drop"),
            FaultEffect::LoseReply => f.write_str("lose-reply"),
        }
    }
}

/// A fault that can strike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkFault {
    phase: SinkPhase,
    address: Option<Box<str>>,
    effect: FaultEffect,
    /// The number of times that it may still strike; `None` for no limit.
    times: Option<u32>,
    /// The probability with which it strikes, in percent.
    percent: u8,
}

impl SinkFault {
    /// Returns a fault that strikes every time; `None` if `effect` is not possible at `phase`.
    pub fn new(phase: SinkPhase, effect: FaultEffect) -> Option<Self> {
        let possible = effect.is_possible_at(phase);
        possible.then_some(SinkFault { phase, address: None, effect, times: None, percent: 100 })
    }

    fn concerns(&self, phase: SinkPhase, address: Option<&str>) -> bool {
        let spent = self.times == Some(0);
        let addressed = match &self.address {
            Some(wanted) => address.is_some_and(|given| wanted.eq_ignore_ascii_case(given)),
            None => true,
        };
        self.phase == phase && addressed && !spent
    }
}

/// The faults of one sink, with the random numbers that decide when they strike.
#[derive(Debug)]
pub struct Faults {
    waiting: Vec<SinkFault>,
    dice: fastrand::Rng,
}

impl Faults {
    /// Returns a set of `faults`, in order of precedence. `seed` decides about those with a percentage.
    pub fn new(faults: Vec<SinkFault>, seed: u64) -> Self {
        Faults { waiting: faults, dice: fastrand::Rng::with_seed(seed) }
    }

    /// Adds a fault after those that are already there.
    pub fn add(&mut self, fault: SinkFault) {
        self.waiting.push(fault);
    }

    /// Removes every fault.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Returns the effect of the first fault that concerns this event and strikes; `None` if there is none.
    ///
    /// `address` is the mailbox of a MAIL or RCPT, empty for `<>`.
    pub fn strike(&mut self, phase: SinkPhase, address: Option<&str>) -> Option<FaultEffect> {
        let dice = &mut self.dice;
        let fault = self.waiting.iter_mut().find(|fault| {
            fault.concerns(phase, address) && (fault.percent == 100 || dice.u8(0..100) < fault.percent)
        })?;
        fault.times = fault.times.map(|left| left - 1);
        Some(fault.effect.clone())
    }
}

/// The reason why a text is not a [`SinkFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFault {
    /// There is no `=` between phase and effect.
    NoEffect,
    /// The phase is not known.
    UnknownPhase,
    /// The phase allows no address.
    AddressNotHere,
    /// The effect is neither a known word nor a reply.
    UnknownEffect,
    /// The effect is not possible at this phase.
    EffectNotHere,
    /// The number is `*0`, or a percentage outside 1 to 100.
    BadCount,
}

impl fmt::Display for BadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadFault::NoEffect => f.write_str("expected PHASE=EFFECT, such as rcpt=451 or dot=drop*3"),
            BadFault::UnknownPhase => {
                f.write_str("unknown phase: expected one of")?;
                SinkPhase::ALL.iter().try_for_each(|phase| write!(f, " {phase}"))
            }
            BadFault::AddressNotHere => f.write_str("only mail and rcpt can be bound to an address"),
            BadFault::UnknownEffect => {
                f.write_str(
                    "unknown effect: expected a 4xx or 5xx reply, stall, drop, lose-reply, or long, lines or raw \
                     with what is to be said",
                )
            }
            BadFault::EffectNotHere => {
                f.write_str(
                    "lose-reply goes with dot only, connect takes stall or drop, and what begins with 2 or 3 must be \
                     a success at that phase",
                )
            }
            BadFault::BadCount => f.write_str("expected a count from 1 behind *, 1 to 100 behind %"),
        }
    }
}

impl std::error::Error for BadFault {}

impl FromStr for SinkFault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, effect) = text.split_once('=').ok_or(BadFault::NoEffect)?;
        let (name, address) = match place.split_once(':') {
            Some((name, address)) => (name, Some(address.trim_matches(['<', '>']).into())),
            None => (place, None),
        };
        let phase: SinkPhase = name.parse()?;
        if address.is_some() && !matches!(phase, SinkPhase::Mail | SinkPhase::Rcpt) {
            return Err(BadFault::AddressNotHere);
        }
        let (effect, percent) = split_count(effect, '%');
        let (effect, times) = split_count(effect, '*');
        let percent = percent.unwrap_or(100);
        if times == Some(0) || !(1..=100).contains(&percent) {
            return Err(BadFault::BadCount);
        }
        let fault = SinkFault::new(phase, parse_effect(effect)?).ok_or(BadFault::EffectNotHere)?;
        // In range: just checked.
        Ok(SinkFault { address, times, percent: percent as u8, ..fault })
    }
}

/// Splits a number after `mark` from the end of `text`; a text without one stays whole.
fn split_count(text: &str, mark: char) -> (&str, Option<u32>) {
    let split = text.rsplit_once(mark).and_then(|(front, digits)| Some((front, digits.parse().ok()?)));
    split.map_or((text, None), |(front, count)| (front, Some(count)))
}

/// Parses an effect as it stands behind the `=` of a fault or of a limit.
pub(super) fn parse_effect(text: &str) -> Result<FaultEffect, BadFault> {
    match text {
        "stall" => Ok(FaultEffect::Stall),
        "drop" => Ok(FaultEffect::Drop),
        "lose-reply" => Ok(FaultEffect::LoseReply),
        _ => parse_reply(text)
            .map(FaultEffect::Answer)
            .or_else(|| OddReply::parse(text).map(FaultEffect::Odd))
            .ok_or(BadFault::UnknownEffect),
    }
}

/// Parses `452 full` or `452 4.3.1 full`, which is said as it stands, or `452`, whose status and words are the usual ones.
fn parse_reply(text: &str) -> Option<Reply> {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.parse().ok().filter(|code| (400..600).contains(code))?;
    let printable = rest.chars().all(|c| !c.is_control());
    let usual = usual_status(code);
    let fits = Status::split_from(rest).is_none_or(|(status, _)| status.class() == usual.class());
    let words = if rest.is_empty() { format!("{usual} as told by a fault") } else { rest.to_owned() };
    (printable && fits).then(|| Reply::bare(code, words))
}

fn usual_status(code: u16) -> Status {
    match code {
        421 => Status::transient(3, 2),
        452 => Status::transient(3, 1),
        454 => Status::transient(7, 0),
        400..500 => Status::transient(3, 0),
        535 => Status::permanent(7, 8),
        550 => Status::permanent(1, 1),
        552 => Status::permanent(3, 4),
        554 => Status::permanent(7, 1),
        _ => Status::permanent(3, 0),
    }
}

impl fmt::Display for SinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.phase)?;
        if let Some(address) = &self.address {
            write!(f, ":{address}")?;
        }
        write!(f, "={}", self.effect)?;
        if let Some(times) = self.times {
            write!(f, "*{times}")?;
        }
        if self.percent != 100 {
            write!(f, "%{}", self.percent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SinkFault {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn text_reads_back_as_the_same_fault() {
        let cases = [
            ("connect=drop", "connect=drop"),
            ("greeting=554 5.7.1 go away", "greeting=554 5.7.1 go away"),
            ("rcpt=451", "rcpt=451 4.3.0 as told by a fault"),
            ("auth=535", "auth=535 5.7.8 as told by a fault"),
            ("data=452 full", "data=452 full"),
            ("data=452 4.3.1 full*2", "data=452 4.3.1 full*2"),
            ("dot=451 100% sure", "dot=451 100% sure"),
            ("mail=550  two  spaces ", "mail=550  two  spaces "),
            ("mail=550 5.1.1", "mail=550 5.1.1"),
            ("dot=lose-reply*1", "dot=lose-reply*1"),
            ("dot=drop*3%25", "dot=drop*3%25"),
            ("rcpt:<Bad@example.org>=550", "rcpt:Bad@example.org=550 5.1.1 as told by a fault"),
            ("mail:=550", "mail:=550 5.1.1 as told by a fault"),
            (r"dot=raw 254 4.7.1 x\xff", r"dot=raw 254 4.7.1 x\xff"),
            ("data=long 4000 554 5.2.252 no*2", "data=long 4000 554 5.2.252 no*2"),
        ];
        for (text, shown) in cases {
            let fault = read(text);
            assert_eq!(fault.to_string(), shown);
            assert_eq!(read(shown), fault, "{text}");
        }
    }

    /// A rehearsal of a relay that says `550 text` was one of a relay that says `550 5.1.1 text`, which means something else.
    #[test]
    fn a_reply_is_said_octet_by_octet() {
        for said in ["550 text", "452 full", "421 4.7.0 later", "454 Throttling failure:  x ", "535 5.7.8"] {
            let FaultEffect::Answer(reply) = parse_effect(said).unwrap() else { panic!("{said}") };
            let mut octets = Vec::new();
            reply.encode(&mut octets);
            assert_eq!(String::from_utf8(octets).unwrap(), format!("{said}\r\n"));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let cases = [
            ("rcpt", BadFault::NoEffect),
            ("helo=451", BadFault::UnknownPhase),
            ("data:a@example.org=451", BadFault::AddressNotHere),
            ("rcpt=250", BadFault::UnknownEffect),
            ("rcpt=354 go on", BadFault::UnknownEffect),
            ("rcpt=600", BadFault::UnknownEffect),
            ("rcpt=explode", BadFault::UnknownEffect),
            ("rcpt=451 5.1.1 the class is another", BadFault::UnknownEffect),
            ("rcpt=451 two\r\nlines", BadFault::UnknownEffect),
            ("rcpt=lose-reply", BadFault::EffectNotHere),
            ("connect=421", BadFault::EffectNotHere),
            ("connect=raw 421", BadFault::EffectNotHere),
            ("data=raw 250 ok", BadFault::EffectNotHere),
            ("auth=raw 235 ok", BadFault::EffectNotHere),
            ("dot=raw 354", BadFault::EffectNotHere),
            (r"dot=raw \q", BadFault::UnknownEffect),
            ("rcpt=451*0", BadFault::BadCount),
            ("rcpt=451%0", BadFault::BadCount),
            ("rcpt=451%101", BadFault::BadCount),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<SinkFault>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn strikes_at_its_phase_and_as_often_as_told() {
        let mut faults = Faults::new(vec![read("dot=drop*2"), read("dot=stall*1"), read("rcpt=451")], 0);
        assert_eq!(faults.strike(SinkPhase::Mail, Some("a@example.org")), None);
        let dots: Vec<_> = (0..4).map(|_| faults.strike(SinkPhase::Dot, None)).collect();
        assert_eq!(dots, [Some(FaultEffect::Drop), Some(FaultEffect::Drop), Some(FaultEffect::Stall), None]);
        assert!((0..100).all(|_| faults.strike(SinkPhase::Rcpt, Some("a@example.org")).is_some()));
        faults.clear();
        assert_eq!(faults.strike(SinkPhase::Rcpt, Some("a@example.org")), None);
        faults.add(read("quit=drop"));
        assert_eq!(faults.strike(SinkPhase::Quit, None), Some(FaultEffect::Drop));
    }

    #[test]
    fn an_address_narrows_it() {
        let mut faults = Faults::new(vec![read("rcpt:bad@example.org=550"), read("mail:=451")], 0);
        assert!(faults.strike(SinkPhase::Rcpt, Some("BAD@example.ORG")).is_some());
        assert!(faults.strike(SinkPhase::Rcpt, Some("good@example.org")).is_none());
        assert!(faults.strike(SinkPhase::Rcpt, None).is_none());
        assert!(faults.strike(SinkPhase::Mail, Some("")).is_some(), "the null reverse-path");
        assert!(faults.strike(SinkPhase::Mail, Some("good@example.org")).is_none());
    }

    #[test]
    fn chance_follows_the_seed() {
        let throws = |seed| -> Vec<bool> {
            let mut faults = Faults::new(vec![read("dot=drop%30")], seed);
            (0..1000).map(|_| faults.strike(SinkPhase::Dot, None).is_some()).collect()
        };
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
        let struck = throws(7).into_iter().filter(|struck| *struck).count();
        assert!((230..370).contains(&struck), "{struck} of 1000 at 30 %");
    }
}
