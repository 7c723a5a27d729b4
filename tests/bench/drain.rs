//! The drain part: the relay was down, the spool is full, and the relay returns, near or a round trip away. It wants STARTTLS
//! and AUTH.
//!
//! Beside nullmta: the same octets sent by a client that does nothing else (`tls_client.rs`), and Postfix, tuned for one
//! relay. At the end, accepting and draining at once is put beside each of them alone. What one run is: `drain_run.rs`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::drain_run::{DrainRun, Drained, SESSIONS, as_sent};
use crate::load::{Connections, Load};
use crate::options::{Options, Plan};
use crate::postfix;
use crate::report::{at_least, at_most};
use crate::server::{Program, Server, free_port};
use crate::sink::Certificate;

/// The round trips to the relay.
const ROUND_TRIPS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(50)];

/// The runs of each subject, one for each round.
#[derive(Default)]
struct Rounds {
    nullmta: Vec<Drained>,
    /// The build named by `--beside`.
    beside: Vec<Drained>,
    bare: Vec<Drained>,
    postfix: Vec<Drained>,
}

/// Measures and prints.
pub fn measure(options: &Options, directory: &Path) -> Outcome<()> {
    let certificate = Certificate::make(directory)?;
    let program = options.programs.first().ok_or("no program to measure")?;
    let content = as_sent(program, &certificate, &directory.join("content"))?;
    println!("\n4 KiB messages drained a second over STARTTLS and AUTH (first one after, in ms), medians\n");
    let columns = ["nullmta", "nullmta-beside", "bare TLS client", "Postfix, tuned"];
    println!("{:<26}{}", "round trip to the relay", columns.map(|name| format!("{name:<18}")).concat());
    let mut near = Rounds::default();
    for round_trip in ROUND_TRIPS {
        let messages = if round_trip.is_zero() { options.plan.drained } else { options.plan.drained_far };
        let base = directory.join(format!("{}-ms", round_trip.as_millis()));
        let run = DrainRun { certificate: &certificate, content: &content, round_trip, messages };
        let rounds = rounds(options, &run, &base)?;
        let columns = [&rounds.nullmta, &rounds.beside, &rounds.bare, &rounds.postfix];
        let cells = columns.map(|drained| format!("{:<18}", in_words(drained, messages)));
        println!("{:<26}{}", format!("{} ms, {messages} messages", round_trip.as_millis()), cells.concat());
        if round_trip.is_zero() {
            near = rounds;
        }
    }
    println!();
    print_targets(&near);
    let run = DrainRun {
        certificate: &certificate,
        content: &content,
        round_trip: ROUND_TRIPS[0],
        messages: options.plan.drained,
    };
    both(&options.plan, program, &run, &directory.join("both"))
}

/// Lets the subjects take turns.
fn rounds(options: &Options, run: &DrainRun, base: &Path) -> Outcome<Rounds> {
    let mut rounds = Rounds::default();
    for round in 1..=options.plan.rounds {
        eprintln!("drain: {} ms, round {round} of {}", run.round_trip.as_millis(), options.plan.rounds);
        let base = base.join(round.to_string());
        for (program, drained) in options.programs.iter().zip([&mut rounds.nullmta, &mut rounds.beside]) {
            drained.push(run.nullmta(program, &base)?);
        }
        rounds.bare.push(run.bare()?);
        if postfix::is_usable() {
            rounds.postfix.push(run.postfix(&base)?);
        }
        // Each round has a disk as full as the one before.
        let _ = std::fs::remove_dir_all(&base);
    }
    Ok(rounds)
}

fn in_words(drained: &[Drained], messages: usize) -> String {
    match (median(drained.iter().map(|one| one.all)), median(drained.iter().map(|one| one.first))) {
        (Some(all), Some(first)) => format!("{:.0} ({:.0})", messages as f64 / all, first * 1e3),
        _ => "-".into(),
    }
}

fn print_targets(near: &Rounds) {
    let of = |drained: &[Drained]| median(drained.iter().map(|one| one.all));
    let Some(ours) = of(&near.nullmta) else { return };
    if let Some(postfix) = of(&near.postfix) {
        at_most("drained, relay near: of the time of Postfix", 0.1, ours / postfix);
    }
    if let Some(bare) = of(&near.bare) {
        at_least("drained, relay near: of the rate of a bare TLS client", 0.5, bare / ours);
    }
}

/// Accepting alone, draining alone, and both at once, in turns.
fn both(plan: &Plan, program: &Program, run: &DrainRun, base: &Path) -> Outcome<()> {
    let (mut accepting, mut draining) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        eprintln!("drain: accepting and draining, round {round} of {}", plan.rounds);
        let base = base.join(round.to_string());
        let relay = free_port()?;
        let server = Server::nullmta_with_login(program, &base.join("busy"), relay, &run.certificate.chain)?;
        let load = Load { sessions: SESSIONS, connections: Connections::Kept, time: plan.time };
        let alone = load.run(&server)?;
        // What was accepted so far is spooled, and most of it is left when this run is over.
        let drained = run.messages as f64 / run.nullmta(program, &base.join("alone"))?.all;
        let relay = run.relay_up(relay)?;
        server.flush()?;
        let (begin, before) = (Instant::now(), relay.sink.received());
        let beside = load.run(&server)?;
        let delivered = (relay.sink.received() - before) as f64 / begin.elapsed().as_secs_f64();
        accepting.push(beside.rate / alone.rate);
        draining.push(delivered / drained);
    }
    for (words, shares) in [("accepting while it drains", accepting), ("draining while it accepts", draining)]
    {
        at_least(&format!("{words}: of the rate alone"), 0.4, median(shares.into_iter()).unwrap_or(f64::NAN));
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
