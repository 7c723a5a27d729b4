//! The figures of all rounds, their medians, and what they say about the targets.

use std::collections::BTreeMap;

use crate::load::{Connections, Figures, Load};

/// Whom the load was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The nullmta of this build.
    Nullmta,
    /// The build named by `--beside`.
    Beside,
    Bare,
    Postfix,
}

impl Subject {
    const ALL: [Subject; 4] = [Subject::Nullmta, Subject::Beside, Subject::Bare, Subject::Postfix];

    /// Returns its name in tables and directories.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Nullmta => "nullmta",
            Subject::Beside => "nullmta-beside",
            Subject::Bare => "bare",
            Subject::Postfix => "Postfix",
        }
    }
}

/// The most milliseconds of processor time that a message may take, accepted and delivered.
const PROCESSOR_TARGET: f64 = 0.2;

type Cell = (Connections, Subject, usize);

/// All figures of a part.
#[derive(Default)]
pub struct Report {
    disk: BTreeMap<usize, Vec<Figures>>,
    cells: BTreeMap<Cell, Vec<Figures>>,
}

impl Report {
    /// Adds commits of `batch` messages each.
    pub fn add_disk(&mut self, batch: usize, figures: Figures) {
        self.disk.entry(batch).or_default().push(figures);
    }

    /// Adds one run of `load`.
    pub fn add(&mut self, subject: Subject, load: &Load, figures: Figures) {
        self.cells.entry((load.connections, subject, load.sessions)).or_default().push(figures);
    }

    /// Prints the tables of the accept part: a line for each subject.
    pub fn print(&self, sessions: &[usize]) {
        println!("\n4 KiB messages a second (p50 / p99 in ms), medians\n");
        for (batch, figures) in &self.disk {
            println!("disk, one sync for {batch:<15}{}", median(figures).in_words());
        }
        for (connections, heading) in [
            (Connections::Kept, "many messages per connection"),
            (Connections::OnePerMessage, "one message per connection"),
        ] {
            self.print_table(heading, connections, sessions, Median::in_words);
            self.print_table(
                "  processor time, ms a message",
                connections,
                sessions,
                Median::processor_in_words,
            );
            self.print_beside(connections, sessions);
        }
    }

    /// Prints the tables of the delivery part.
    pub fn print_delivery(&self, sessions: &[usize]) {
        let connections = Connections::Kept;
        println!("\n4 KiB messages accepted and delivered a second (p50 / p99 of their 250, in ms), medians");
        self.print_table("many messages per connection", connections, sessions, Median::in_words);
        self.print_table("  processor time, ms a message", connections, sessions, Median::processor_in_words);
        self.print_beside(connections, sessions);
        println!();
        for sessions in sessions {
            if let Some(ours) = self.median(connections, Subject::Nullmta, *sessions) {
                let words =
                    format!("{sessions} sessions, accepted and delivered: processor time, ms a message");
                at_most(&words, PROCESSOR_TARGET, ours.processor);
            }
        }
    }

    /// Prints a line for each subject, with a cell for each session count.
    fn print_table(
        &self,
        heading: &str,
        connections: Connections,
        sessions: &[usize],
        in_words: impl Fn(Median) -> String,
    ) {
        print!("\n{heading:<34}");
        sessions.iter().for_each(|sessions| print!("{:<24}", format!("{sessions} at once")));
        println!();
        for subject in Subject::ALL {
            let cell = |sessions: &usize| self.median(connections, subject, *sessions);
            let words: Vec<String> = sessions.iter().filter_map(cell).map(&in_words).collect();
            if !words.is_empty() {
                println!("{:<34}{}", subject.name(), words.concat());
            }
        }
    }

    /// Prints the figures of this build divided by those of the one beside it, if there is one.
    fn print_beside(&self, connections: Connections, sessions: &[usize]) {
        let ratio = |sessions: &usize| {
            let of = |subject| self.median(connections, subject, *sessions);
            let (ours, beside) = (of(Subject::Nullmta)?, of(Subject::Beside)?);
            let (rate, processor) = (ours.rate / beside.rate, ours.processor / beside.processor);
            Some(format!("{:<24}", format!("{rate:.2}, processor {processor:.2}")))
        };
        let words: Vec<String> = sessions.iter().filter_map(ratio).collect();
        if !words.is_empty() {
            println!("\n{:<34}{}", "messages a second, times beside", words.concat());
        }
    }

    /// Prints each target, what was reached, and whether that is enough.
    pub fn print_targets(&self, syncs: Option<[f64; 2]>) {
        println!("\n{:<66}{:>9}{:>9}", "targets", "target", "reached");
        for (connections, words) in
            [(Connections::Kept, "many per connection"), (Connections::OnePerMessage, "one per connection")]
        {
            self.print_ratios(connections, words);
        }
        if let Some([one, fifty]) = syncs {
            at_most("syncs per message, 1 session", 1.01, one);
            at_most("syncs per message, 50 sessions", 0.1, fifty);
        }
    }

    fn print_ratios(&self, connections: Connections, words: &str) {
        let rate = |subject, sessions| Some(self.median(connections, subject, sessions)?.rate);
        let disk = self.disk.get(&1).map(|figures| median(figures));
        if let (Some(ours), Some(bare), Some(disk)) =
            (rate(Subject::Nullmta, 1), rate(Subject::Bare, 1), &disk)
        {
            let possible = 1.0 / (1.0 / bare + 1.0 / disk.rate);
            at_least(&format!("1 session, {words}: of bare and disk in series"), 0.8, ours / possible);
        }
        if let (Some(ours), Some(postfix)) = (rate(Subject::Nullmta, 1), rate(Subject::Postfix, 1)) {
            at_least(&format!("1 session, {words}: times Postfix"), 2.5, ours / postfix);
        }
        if let (Some(ours), Some(bare)) = (rate(Subject::Nullmta, 50), rate(Subject::Bare, 50)) {
            at_least(&format!("50 sessions, {words}: of bare"), 0.6, ours / bare);
        }
        if let (Some(ours), Some(postfix)) = (rate(Subject::Nullmta, 50), rate(Subject::Postfix, 50)) {
            at_least(&format!("50 sessions, {words}: times Postfix"), 20.0, ours / postfix);
        }
        if let (Some(ours), Some(disk)) = (self.median(connections, Subject::Nullmta, 50), disk) {
            let syncs = ours.p99 / disk.p50;
            at_most(&format!("50 sessions, {words}: p99 in syncs (p50 of the disk's)"), 5.0, syncs);
        }
    }

    fn median(&self, connections: Connections, subject: Subject, sessions: usize) -> Option<Median> {
        self.cells.get(&(connections, subject, sessions)).map(|figures| median(figures))
    }
}

/// The medians of some rounds; times in milliseconds.
struct Median {
    rate: f64,
    p50: f64,
    p99: f64,
    processor: f64,
}

impl Median {
    fn in_words(self) -> String {
        let Median { rate, p50, p99, .. } = self;
        format!("{:<24}", format!("{rate:>6.0} ({p50:.2} / {p99:.2})"))
    }

    fn processor_in_words(self) -> String {
        format!("{:<24}", format!("{:>6.3}", self.processor))
    }
}

fn median(figures: &[Figures]) -> Median {
    let of = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Median {
        rate: of(|figures| figures.rate),
        p50: of(|figures| figures.p50.as_secs_f64() * 1e3),
        p99: of(|figures| figures.p99.as_secs_f64() * 1e3),
        processor: of(|figures| figures.processor * 1e3),
    }
}

/// Prints a target that is a least figure.
pub fn at_least(words: &str, target: f64, reached: f64) {
    print_target(words, &format!(">= {target}"), reached, reached >= target);
}

/// Prints a target that is a most figure.
pub fn at_most(words: &str, target: f64, reached: f64) {
    print_target(words, &format!("<= {target}"), reached, reached <= target);
}

fn print_target(words: &str, target: &str, reached: f64, is_met: bool) {
    let verdict = if is_met { "met" } else { "missed" };
    println!("{words:<66}{target:>9}{reached:>9.2}  {verdict}");
}
