//! `nullmta metrics`: prints the figures of the daemon in the format of OpenMetrics, as `admin.http` gives them.

use std::io::{self, Write};

use clap::Args;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::ask_one;
use crate::admin::exposition::exposition;
use crate::admin::metric_text::plain;
use crate::admin::protocol::{ControlRequest, DaemonStatus};

/// Print the figures of the daemon as metrics, in the format of OpenMetrics, which Prometheus reads.
#[derive(Args)]
pub(super) struct MetricsCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// Print them in the older text format, as the textfile collector of node_exporter reads it
    #[arg(long)]
    plain: bool,
}

impl MetricsCommand {
    /// Prints the metrics. Everybody gets them: there is no name and no address in them.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let status: DaemonStatus = ask_one(&self.config, &ControlRequest::Status)?;
        let text = exposition(&status).map_err(|error| Failure::new(Exit::Software, error))?;
        printed(write!(io::stdout(), "{}", if self.plain { plain(&text) } else { text }))
    }
}
