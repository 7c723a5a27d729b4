//! `nullmta reload`: makes the daemon read its configuration again, and waits for the result.

use std::io::{self, Write};

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::ask_one;
use crate::admin::protocol::{ControlRequest, Reloaded};
use crate::log::Foreign;

/// Prints the changed keys, and what is wrong with files that a relay waits for; fails if the daemon refused the new configuration.
pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let reloaded: Reloaded = ask_one(file, &ControlRequest::Reload)?;
    let text = text(&reloaded)?;
    for fault in &reloaded.unusable {
        // What cannot be written there is in the log.
        let _ = writeln!(io::stderr(), "nullmta: {}", waiting(fault));
    }
    printed(write!(io::stdout(), "{text}"))
}

/// Returns the words about a file that a relay waits for.
fn waiting(fault: &str) -> String {
    format!("{}; mail for this relay is taken, and waits on the spool until that is mended", Foreign(fault))
}

fn text(reloaded: &Reloaded) -> Result<String, Failure> {
    let Reloaded { configuration, changed, .. } = reloaded;
    if let Some(refused) = &configuration.refused {
        let (since, why) = (&configuration.since, Foreign(&refused.why));
        let text = format!("configuration not reloaded, that of {since} stays in force: {why}");
        return Err(Failure::new(Exit::Config, text));
    }
    let changed = if changed.is_empty() { "nothing".into() } else { changed.join(", ") };
    let reservations = configuration.reservations();
    Ok(format!("configuration reloaded from {}; changed: {changed}{reservations}\n", configuration.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{Configuration, RefusedConfiguration};

    #[test]
    fn what_came_of_it_is_said_and_is_the_exit_code() {
        let configuration = Configuration {
            path: "/etc/nullmta.toml".into(),
            since: "2026-11-21T02:10:00Z".into(),
            refused: None,
            needs_restart: vec!["spool".into()],
            overruled: vec!["listen.socket".into()],
        };
        let mut reloaded = Reloaded {
            configuration,
            changed: vec!["queue.lifetime".into(), "spool".into()],
            unusable: Vec::new(),
        };
        assert_eq!(
            text(&reloaded).unwrap(),
            "configuration reloaded from /etc/nullmta.toml; changed: queue.lifetime, spool; not in force before \
             a restart: spool; without effect, since systemd passes the sockets: listen.socket\n"
        );
        let why = "/etc/nullmta.toml:3: spool: expected an absolute path, found 1".to_owned();
        reloaded.configuration.refused =
            Some(RefusedConfiguration { at: "2026-11-22T02:10:00Z".into(), why: why.clone() });
        let failure = text(&reloaded).unwrap_err();
        assert!(failure.exit() == Exit::Config && failure.to_string().ends_with(&why), "{failure}");
    }
}
