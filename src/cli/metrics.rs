//! `nullmta metrics`: prints the figures of the daemon in the format of OpenMetrics, as `admin.http` gives them.

use std::io::{self, Write};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::ask_one;
use crate::admin::exposition::exposition;
use crate::admin::protocol::{ControlRequest, DaemonStatus};

/// Prints the metrics. Everybody gets them: there is no name and no address in them.
pub(super) fn run(config: &ConfigFile) -> Result<(), Failure> {
    let status: DaemonStatus = ask_one(config, &ControlRequest::Status)?;
    let text = exposition(&status).map_err(|error| Failure::new(Exit::Software, error))?;
    printed(write!(io::stdout(), "{text}"))
}
