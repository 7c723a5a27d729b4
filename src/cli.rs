//! The command line: one file per command. `main.rs` only calls [`main`].
//!
//! Promises: a command that fails prints one line on standard error that says what to do, and exits with a code of
//! `exit.rs`. If nullmta is called as `sendmail`, `mailq` or `newaliases`, it acts as that program (`sendmail/`).

mod check;
mod control_client;
mod demo;
mod doctor;
pub mod exit;
mod flow_words;
mod flush;
mod import;
mod log;
mod mailq;
mod metrics;
mod oauth;
mod output;
mod paragraph;
mod pause;
mod probe;
mod queue;
mod relay_reply;
mod reload;
mod rewrite;
mod run;
pub mod sendmail;
mod service_user;
mod sink;
mod spool;
mod status;
mod terminal;
mod test;
mod trace;
mod unit;
mod unix_connection;
mod user;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, ConfigError};
use exit::{Exit, Failure};

const CALLED_BY_NAME: &str =
    "Called `sendmail`, `mailq` or `newaliases`, by a link or as the first argument, it is that program.";

/// Mail handed to localhost is never lost: accepts it on loopback, stores it durably, and hands it to one
/// relayhost over verified TLS.
#[derive(Parser)]
#[command(name = "nullmta", version, disable_help_subcommand = true, after_help = CALLED_BY_NAME)]
struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the daemon in the foreground
    Run(ConfigFile),
    Check(check::CheckCommand),
    Probe(probe::ProbeCommand),
    Test(test::TestCommand),
    Doctor(doctor::DoctorCommand),
    /// Show on one screen that mail survives an outage and a crash
    Demo,
    /// Run a small relay for development and rehearsals of outages
    Sink(Box<sink::SinkCommand>),
    /// List the queue
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Check, count or export the messages on the spool, without the daemon
    #[command(subcommand)]
    Spool(spool::SpoolCommand),
    /// Show the state of the daemon in a few numbers
    Status(status::StatusCommand),
    /// Print the figures of the daemon as metrics, in the format of OpenMetrics, which Prometheus reads
    Metrics(metrics::MetricsCommand),
    /// Try the relay and every deferred message now, and print the result
    Flush(flush::FlushCommand),
    /// Pause the delivery or the intake of mail, over restarts as well
    #[command(subcommand)]
    Pause(pause::PauseCommand),
    /// Have mail go on that was paused
    Resume(pause::ResumeCommand),
    /// Make the daemon read its configuration again, and print what changed or what is wrong
    Reload(ConfigFile),
    /// Log in at the provider, for access tokens in place of a password
    #[command(subcommand)]
    Oauth(oauth::OauthCommand),
    /// Change and list the users who may log in at the listener
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show how a message is rewritten, without sending it
    Rewrite(rewrite::RewriteCommand),
    RelayReply(relay_reply::RelayReplyCommand),
    Log(log::LogCommand),
    Trace(trace::TraceCommand),
    /// Write nullmta.toml from the configuration of Postfix, msmtp, nullmailer or ssmtp
    ImportPostfix(import::ImportCommand),
}

/// The option that names the configuration file.
#[derive(Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::FILE)]
    config: PathBuf,
}

impl ConfigFile {
    /// Loads the configuration, and checks the files that it names.
    fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.config).map_err(config_failure)
    }
}

fn config_failure(error: ConfigError) -> Failure {
    Failure::new(Exit::Config, error)
}

/// Parses the command line and runs the command. Returns its exit code.
pub fn main() -> ExitCode {
    let command_line: Vec<OsString> = std::env::args_os().collect();
    if let Some((program, arguments)) = sendmail::called(&command_line) {
        return sendmail::main(program, arguments);
    }
    let is_check = status::is_check(&command_line);
    let arguments = match Arguments::try_parse_from(command_line) {
        Ok(arguments) => arguments,
        Err(error) if is_check && error.use_stderr() => return status::misused(&error).into(),
        Err(error) => return usage(&error),
    };
    let done = match arguments.command {
        CliCommand::Run(file) => run::run(&file),
        CliCommand::Check(check) => check.run(),
        CliCommand::Probe(probe) => probe.run(),
        CliCommand::Test(test) => test.run(),
        CliCommand::Doctor(doctor) => doctor.run(),
        CliCommand::Demo => demo::run(),
        CliCommand::Sink(sink) => sink.run(),
        CliCommand::Queue(queue) => queue.run(),
        CliCommand::Spool(spool) => spool.run(),
        CliCommand::Status(status) => status.run(),
        CliCommand::Metrics(metrics) => metrics.run(),
        CliCommand::Flush(flush) => flush.run(),
        CliCommand::Pause(pause) => pause.run(),
        CliCommand::Resume(resume) => resume.run(),
        CliCommand::Reload(file) => reload::run(&file),
        CliCommand::Oauth(oauth) => oauth.run(),
        CliCommand::User(user) => user.run(),
        CliCommand::Rewrite(rewrite) => rewrite.run(),
        CliCommand::RelayReply(reply) => reply.run(),
        CliCommand::Log(log) => log.run(),
        CliCommand::Trace(trace) => trace.run(),
        CliCommand::ImportPostfix(import) => import.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_said() {
                eprintln!("nullmta: {failure}");
            }
            failure.exit().into()
        }
    }
}

/// Prints `error` and returns the exit code: success for help and version, else a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    // If this cannot be printed, there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}
