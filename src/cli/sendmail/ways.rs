//! The ways by which a message can reach the daemon: its sockets and the drop directory.
//!
//! Promises: the configuration decides; without a configuration file the defaults do. If the file has an error, or this
//! user may not read it, the usual sockets are tried, since the daemon may be running. Then the drop directory is used only
//! if the file certainly says which spool is meant: a message left in the wrong one would stay there for ever.
//!
//! Fails only for a `-C` file that cannot be read or has an error (78).

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::message::rewrite::Rules;

/// One way to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The unix socket, on which the daemon knows the user who submits.
    Socket(PathBuf),
    /// A TCP socket on a loopback address.
    Tcp(SocketAddr),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Socket(path) => path.display().fmt(f),
            Way::Tcp(address) => address.fmt(f),
        }
    }
}

/// All ways to the daemon, and the settings that `sendmail` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ways {
    /// The sockets of the daemon, in the order in which they are tried.
    pub(super) to_daemon: Vec<Way>,
    /// The directory in which messages are left while the daemon is down.
    pub(super) drop_directory: Option<PathBuf>,
    /// The path of the control socket, for `mailq`.
    pub(super) control: PathBuf,
    /// The largest message that the daemon accepts, in octets.
    pub(super) max_message_size: u64,
    /// The error in the configuration, which is only a warning for `sendmail`.
    pub(super) warning: Option<String>,
    /// The rewriting rules, for `known.rs`; `None` if there is no configuration, or it cannot be read.
    pub(super) rules: Option<Arc<Rules>>,
}

impl Ways {
    /// Returns the ways that the configuration at `path` names. Without `path` the usual file is read.
    pub(super) fn find(path: Option<&Path>) -> Result<Self, Failure> {
        Ways::at(path.unwrap_or(Path::new(config::FILE)), path.is_some())
    }

    fn at(path: &Path, is_asked_for: bool) -> Result<Self, Failure> {
        let is_absent = File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_absent && !is_asked_for {
            return Ok(Ways::default());
        }
        match Config::read(path) {
            Ok(config) => Ok(Ways::of(config)),
            Err(error) if is_asked_for => Err(Failure::new(Exit::Config, error)),
            Err(error) => {
                let warning = Some(error.to_string());
                let drop_directory = Config::spool_in(path).as_deref().map(drop_directory);
                Ok(Ways { warning, drop_directory, ..Ways::default() })
            }
        }
    }

    fn of(config: Config) -> Self {
        // Over TCP a login may be required, which sendmail has not; the drop directory needs none.
        let is_open = |address: &SocketAddr| address.port() != 0 && !config.listen.require_auth;
        let addresses = config.listen.addresses.into_iter().filter(is_open);
        let socket = config.listen.socket.map(Way::Socket);
        Ways {
            to_daemon: socket.into_iter().chain(addresses.map(Way::Tcp)).collect(),
            drop_directory: Some(drop_directory(&config.spool)),
            control: config.control,
            max_message_size: config.listen.max_message_size,
            warning: None,
            rules: Some(config.rewrite),
        }
    }
}

impl Default for Ways {
    fn default() -> Self {
        Ways {
            to_daemon: [Way::Socket(config::SUBMIT_SOCKET.into())]
                .into_iter()
                .chain(config::LISTEN_ADDRESSES.map(Way::Tcp))
                .collect(),
            drop_directory: Some(drop_directory(Path::new(config::SPOOL))),
            control: config::CONTROL.into(),
            max_message_size: config::MAX_MESSAGE_SIZE,
            warning: None,
            rules: None,
        }
    }
}

fn drop_directory(spool: &Path) -> PathBuf {
    spool.join("drop")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn the_defaults_are_those_of_the_configuration() {
        let environment = Environment { hostname: "h.example".into() };
        let config =
            Config::parse("relayhost = \"smtp.example.com\"\n", Path::new(config::FILE), &environment)
                .unwrap();
        assert_eq!(Ways { rules: None, ..Ways::of(config) }, Ways::default());
    }

    #[test]
    fn the_configuration_decides() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        let text = "relayhost = \"smtp.example.com\"\nspool = \"/srv/spool\"\n\
                    [listen]\nsocket = \"off\"\naddresses = [\"127.0.0.2:2525\", \"127.0.0.1:0\"]\n";
        std::fs::write(&path, text).unwrap();
        let ways = Ways::find(Some(&path)).unwrap();
        assert_eq!(ways.to_daemon, [Way::Tcp("127.0.0.2:2525".parse().unwrap())]);
        assert_eq!(ways.drop_directory, Some("/srv/spool/drop".into()));
    }

    /// With a login required, and the socket off, sendmail got 530, and the message was refused.
    #[test]
    fn a_way_that_needs_a_login_is_none() {
        let environment = Environment { hostname: "h.example".into() };
        let text = "relayhost = \"smtp.example.com\"\n[listen]\nusers-file = \"/u\"\nrequire-auth = true\n";
        for (socket, expected) in
            [("", vec![Way::Socket(config::SUBMIT_SOCKET.into())]), ("socket = \"off\"\n", vec![])]
        {
            let text = format!("{text}{socket}");
            let config = Config::parse(&text, Path::new(config::FILE), &environment).unwrap();
            let ways = Ways::of(config);
            assert_eq!(ways.to_daemon, expected);
            assert!(ways.drop_directory.is_some());
        }
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_good() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        assert_eq!(Ways::find(Some(&path)).unwrap_err().exit(), Exit::Config);
        std::fs::write(&path, "spool = 1\n").unwrap();
        let failure = Ways::find(Some(&path)).unwrap_err();
        assert!(failure.exit() == Exit::Config && failure.to_string().contains("spool"), "{failure}");
    }

    #[test]
    fn the_usual_one_may_be_absent_and_a_bad_one_leaves_the_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        assert_eq!(Ways::at(&path, false).unwrap(), Ways::default());
        std::fs::write(&path, "spool = 1\n").unwrap();
        let ways = Ways::at(&path, false).unwrap();
        assert_eq!((ways.to_daemon, ways.drop_directory), (Ways::default().to_daemon, None));
        assert!(ways.warning.is_some_and(|warning| warning.contains("spool")));
    }

    /// A misspelled key elsewhere, and the daemon did not start: cron's mail ended with exit code 75, and was gone.
    #[test]
    fn a_bad_one_that_says_where_the_spool_is_leaves_messages_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        std::fs::write(&path, "relayhost = \"r\"\nspool = \"/srv/spool\"\n[rewrite]\nsendr = \"x\"\n")
            .unwrap();
        let ways = Ways::at(&path, false).unwrap();
        assert_eq!(ways.drop_directory, Some("/srv/spool/drop".into()));
        assert!(ways.warning.is_some_and(|warning| warning.contains("sendr")));
    }

    /// One that a user may not read gave the default spool: sendmail exited with 0, and the message lay in
    /// a directory that no daemon looks into. Root may read everything but a directory.
    #[test]
    fn one_that_cannot_be_read_names_no_place_to_leave_a_message() {
        let directory = tempfile::tempdir().unwrap();
        let ways = Ways::at(directory.path(), false).unwrap();
        assert_eq!((ways.to_daemon, ways.drop_directory), (Ways::default().to_daemon, None));
        assert!(ways.warning.is_some_and(|warning| warning.contains("cannot be read")));
    }
}
