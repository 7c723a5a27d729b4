//! The delivery part: messages are accepted, and delivered to a sink at the same time.
//!
//! A run ends when the sink has all its messages. The processor time is that of the daemon, or of all processes of
//! Postfix, from the first octet of a run to its last delivery; that of the sink and of the load generator is not in it.

use std::path::Path;
use std::time::Instant;

use crate::Outcome;
use crate::load::{Connections, Figures, Load, Target};
use crate::options::{Options, Plan};
use crate::postfix::{self, Postfix};
use crate::report::{Report, Subject};
use crate::server::{Program, Server};
use crate::sink::Sink;
use crate::syncs;

/// Measures and prints.
pub fn measure(options: &Options, directory: &Path) -> Outcome<()> {
    let plan = &options.plan;
    let start = |program: &Program| {
        let sink = Sink::start()?;
        let base = directory.join(program.subject.name());
        Ok((program.subject, Server::nullmta(program, &base, &[], sink.port)?, sink))
    };
    let servers = options.programs.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        eprintln!("delivery: round {round} of {}", plan.rounds);
        for load in loads(plan) {
            for (subject, server, sink) in &servers {
                report.add(*subject, &load, run(&load, server, sink)?);
            }
        }
        if postfix::is_usable() {
            let sink = Sink::start()?;
            let postfix = Postfix::start(&directory.join(format!("postfix-{round}")), sink.port)?;
            for load in loads(plan) {
                report.add(Subject::Postfix, &load, run(&load, &postfix, &sink)?);
            }
        }
    }
    report.print_delivery(plan.delivering);
    if let Some(counted) = syncs::per_message(&directory.join("syncs"), plan.time, syncs::Relay::Sink)? {
        println!(
            "syncs per message accepted and delivered: {:.2} at 1 session, {:.2} at 50",
            counted[0], counted[1]
        );
    }
    Ok(())
}

fn loads(plan: &Plan) -> impl Iterator<Item = Load> {
    let load = move |&sessions| Load { sessions, connections: Connections::Kept, time: plan.time };
    plan.delivering.iter().map(load)
}

/// One run, to its last delivery.
fn run(load: &Load, target: &impl Target, sink: &Sink) -> Outcome<Figures> {
    let (begin, before, delivered) = (Instant::now(), target.processor_time()?, sink.received());
    let figures = load.run(target)?;
    sink.wait_for(delivered + figures.sent)?;
    let time = begin.elapsed();
    let processor = (target.processor_time()? - before).as_secs_f64() / figures.sent as f64;
    Ok(Figures { rate: figures.sent as f64 / time.as_secs_f64(), processor, ..figures })
}
