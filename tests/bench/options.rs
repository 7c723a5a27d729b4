//! The command line of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;
use crate::report::Subject;
use crate::server::Program;

/// What is measured how long.
pub struct Plan {
    pub rounds: usize,
    /// Session counts of the accept part.
    pub sessions: &'static [usize],
    /// Session counts of the delivery part.
    pub delivering: &'static [usize],
    /// How long one run lasts.
    pub time: Duration,
    /// How long the start part sends just after a start, and again later.
    pub after_start: Duration,
    /// How many messages the drain part spools without a delay, and how many for a relay that is far away.
    pub drained: usize,
    pub drained_far: usize,
}

const FULL: Plan = Plan {
    rounds: 3,
    sessions: &[1, 10, 50, 200],
    delivering: &[1, 10, 50],
    time: Duration::from_millis(1200),
    after_start: Duration::from_secs(10),
    drained: 10_000,
    drained_far: 2_000,
};

const QUICK: Plan = Plan {
    rounds: 2,
    sessions: &[1, 50],
    delivering: &[1, 50],
    time: Duration::from_millis(600),
    after_start: Duration::from_secs(3),
    drained: 1_000,
    drained_far: 400,
};

/// A part of the benchmark.
#[derive(Clone, Copy)]
pub enum Part {
    Accept,
    Delivery,
    Start,
    Drain,
}

impl Part {
    const ALL: [Part; 4] = [Part::Accept, Part::Delivery, Part::Start, Part::Drain];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Accept => "accept",
            Part::Delivery => "delivery",
            Part::Start => "start",
            Part::Drain => "drain",
        }
    }
}

/// What was asked for.
pub struct Options {
    pub plan: Plan,
    pub parts: Vec<Part>,
    /// This build, and the one to be measured beside it.
    pub programs: Vec<Program>,
    /// Where the temporary directory is made.
    pub directory: PathBuf,
}

impl Options {
    /// Reads the command line. `--bench`, which cargo adds, is passed over.
    pub fn parse(arguments: &[String]) -> Outcome<Options> {
        let mut options = Options {
            plan: FULL,
            parts: Part::ALL.to_vec(),
            programs: vec![Program { subject: Subject::Nullmta, path: env!("CARGO_BIN_EXE_nullmta").into() }],
            directory: env!("CARGO_TARGET_TMPDIR").into(),
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument {
                "--bench" => {}
                "--quick" => options.plan = QUICK,
                "--directory" => options.directory = value()?.into(),
                "--beside" => {
                    // Absolute: the benchmark does not start it from here.
                    let path = std::path::absolute(value()?)?;
                    options.programs.push(Program { subject: Subject::Beside, path });
                }
                "--only" => {
                    let name = value()?;
                    options.parts = Part::ALL.into_iter().filter(|part| part.name() == name).collect();
                    if options.parts.is_empty() {
                        return Err(format!("{name} is no part: accept, delivery, start or drain").into());
                    }
                }
                _ => return Err(format!("unknown option {argument}").into()),
            }
        }
        Ok(options)
    }
}
