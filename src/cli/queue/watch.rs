//! `nullmta queue watch`: the state of the mail, drawn anew each second; where there is no terminal, a line each second.
//!
//! Promises: it quits on q, Ctrl-C, SIGINT, SIGTERM, SIGHUP and a closed output, with the terminal as it was before. A daemon that is
//! down, or comes back, is shown as that; the command goes on, unless it cannot read the configuration at its beginning. It asks for what any user may know.
//!
//! Not here: what is drawn (`watch/screen.rs`), the terminal (`watch/full_screen.rs`).

mod full_screen;
mod screen;

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::super::ConfigFile;
use super::super::exit::{Exit, Failure};
use super::super::output::printed;
use super::ask_one_within;
use crate::admin::protocol::{ControlRequest, DaemonStatus};
use crate::history::MinuteOfDay;
use full_screen::{FullScreen, PressedKeys};
use screen::{WatchedState, line, screen};

/// Time between two pictures.
const STEP: Duration = Duration::from_secs(1);

/// Time for which the daemon may be silent before that is shown.
const PATIENCE: Duration = Duration::from_secs(3);

/// The minutes of the curve.
const CURVE_MINUTES: u64 = 60;

/// Watch the queue: the relay, what waits, and what has failed, drawn anew each second; q quits
#[derive(Args)]
pub(in crate::cli) struct QueueWatch {
    #[command(flatten)]
    config: ConfigFile,
}

impl QueueWatch {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        self.require_configuration()?;
        let system = |error: io::Error| Failure::new(Exit::OsError, error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(system)?;
        let path = self.config.config.clone();
        let watched = runtime.block_on(async {
            let mut quit = QuitSignals::new()?;
            match io::stdout().is_terminal() {
                true => on_screen(path, &mut quit).await,
                false => in_lines(path, &mut quit).await,
            }
        });
        // A question to a daemon that hangs must not keep the command from its end.
        runtime.shutdown_background();
        printed(watched)
    }

    /// Fails if no daemon answers, and the configuration cannot be used: a daemon may come back, but a wrong path stays wrong.
    fn require_configuration(&self) -> Result<(), Failure> {
        match ask_one_within::<DaemonStatus>(PATIENCE, &self.config, &ControlRequest::Status) {
            Err((failure, _)) if failure.exit() == Exit::Config => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Draws the state until somebody quits.
async fn on_screen(path: PathBuf, quit: &mut QuitSignals) -> io::Result<()> {
    let full_screen = FullScreen::begin()?;
    let mut keys = full_screen.keys();
    let mut due = steps();
    loop {
        tokio::select! {
            () = quit.given() => return Ok(()),
            () = wants_to_quit(&mut keys) => return Ok(()),
            state = async { due.tick().await; look(path.clone()).await } => {
                let (columns, rows) = FullScreen::size();
                full_screen.draw(&screen(&state, Timestamp::now(), columns, rows, full_screen.look()))?;
            }
        }
    }
}

/// Prints a line for each state until somebody quits, or nobody reads any more.
async fn in_lines(path: PathBuf, quit: &mut QuitSignals) -> io::Result<()> {
    let mut due = steps();
    loop {
        tokio::select! {
            () = quit.given() => return Ok(()),
            state = async { due.tick().await; look(path.clone()).await } => {
                let mut out = io::stdout();
                writeln!(out, "{}", line(&state, Timestamp::now()))?;
                out.flush()?;
            }
        }
    }
}

fn steps() -> tokio::time::Interval {
    let mut due = interval(STEP);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}

/// Waits for the key that quits; for ever if there are no keys.
async fn wants_to_quit(keys: &mut Option<PressedKeys>) {
    match keys {
        Some(keys) => keys.quit().await,
        None => pending().await,
    }
}

/// Asks the daemon for its state.
async fn look(path: PathBuf) -> WatchedState {
    let asked = spawn_blocking(move || {
        let file = ConfigFile { config: path };
        let status: DaemonStatus = ask_one_within(PATIENCE, &file, &ControlRequest::Status)
            .map_err(|(failure, _)| failure.to_string())?;
        // An older daemon knows no history.
        let day: Vec<MinuteOfDay> =
            ask_one_within(PATIENCE, &file, &ControlRequest::History { minutes: CURVE_MINUTES })
                .unwrap_or_default();
        Ok((Box::new(status), day))
    });
    asked.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The signals at which the command ends.
struct QuitSignals([Signal; 3]);

impl QuitSignals {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(QuitSignals([interrupt?, terminate?, hangup?]))
    }

    /// Waits for one of them. Cancel safe.
    async fn given(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
