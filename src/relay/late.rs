//! A relay of which a file for TLS could not be read at the start or the reload: the trusted authorities, our certificate, its
//! key.
//!
//! Promises: nothing is sent to such a relay, since it cannot be loaded without the file. Each try reads the file again, and
//! from the first time on that it can be read, this is a relay like any other. Until then the trouble is a matter of
//! configuration, as without a secret.
//!
//! Not here: which faults of files may wait so (`relay.rs`), watching for the end of the trouble (`queue/owner/secret_watch.rs`).

use std::sync::{Arc, OnceLock};

use super::trouble::{Cause, Phase, Trouble};
use super::{Connection, Relay, config};
use crate::key_names::on_route;
use crate::log;

/// A relay that is loaded when its files can be read.
pub struct LateRelay {
    settings: config::RelayConfig,
    route: Option<Arc<str>>,
    loaded: OnceLock<Relay>,
}

impl LateRelay {
    pub(super) fn new(settings: config::RelayConfig, route: Option<Arc<str>>) -> Self {
        LateRelay { settings, route, loaded: OnceLock::new() }
    }

    /// Returns the name of the route that leads to it; `None` for the relay of the top-level `relayhost`.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// Returns the relay if its files could be read before.
    pub fn loaded(&self) -> Option<&Relay> {
        self.loaded.get()
    }

    /// Returns the relay, after reading its files if that has not succeeded before.
    async fn relay(&self) -> Result<&Relay, Trouble> {
        if let Some(relay) = self.loaded.get() {
            return Ok(relay);
        }
        let (settings, route) = (self.settings.clone(), self.route.clone());
        let loading = tokio::task::spawn_blocking(move || Relay::loaded(settings, route)).await;
        let words = match loading {
            Ok(Ok(relay)) => {
                relay.warnings().iter().for_each(|warning| log::relay_warning(warning));
                return Ok(self.loaded.get_or_init(|| relay));
            }
            Ok(Err(error)) => on_route(&error.to_string(), self.route.as_deref()).into_owned(),
            Err(panic) => panic.to_string(),
        };
        Err(Trouble { phase: Phase::Tls, peer: None, cause: Cause::Misfit(words) })
    }

    /// Opens an authenticated session, as [`Relay::connect`] does.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        self.relay().await?.connect().await
    }

    /// Returns whether the files can be read at last, or, if that was so before, whether there is another secret for the login.
    pub async fn has_news(&self) -> bool {
        match self.loaded() {
            Some(relay) => relay.has_another_secret().await,
            None => self.relay().await.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::BuiltRelay;
    use super::super::testing::authority::{Authority, tls_settings};
    use super::super::testing::settings;
    use super::*;
    use crate::config::{Tls, Trust};

    #[tokio::test]
    async fn it_is_a_relay_as_soon_as_its_file_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let tls = Tls::StartTls(tls_settings(Trust::CaFile(path.clone())));
        let late = LateRelay::new(config::RelayConfig { tls, ..settings() }, None);
        let trouble = late.connect().await.err().unwrap();
        let expected = format!("configuration: TLS handshake: tls.ca-file: cannot read {}", path.display());
        assert!(trouble.to_string().starts_with(&expected), "{trouble}");
        assert!(!late.has_news().await && late.loaded().is_none());
        fs::copy(Authority::new().file().path(), &path).unwrap();
        assert!(late.has_news().await && late.loaded().is_some());
        assert!(!late.has_news().await, "once");
    }

    /// A certificate of one route that could not be read kept the whole daemon from starting.
    #[test]
    fn a_file_of_one_relay_that_cannot_be_read_keeps_no_other_from_being_used() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let route = |name: &str, ca: &str| {
            format!(
                "[[route]]\nname = \"{name}\"\nsenders = \"@{name}.example\"\nrelayhost = \"{name}.example\"\n[route.tls]\n\
                 ca-file = \"{ca}\"\n"
            )
        };
        let built = |first: &str, routes: &[String]| {
            let toml =
                format!("relayhost = \"mx.example\"\n[tls]\nca-file = \"{first}\"\n{}", routes.concat());
            let path = write("nullmta.toml", &toml);
            let built = Relay::for_daemon(&config::Config::load(path.as_ref()).unwrap());
            built.map(|built| {
                let fault = |relay: BuiltRelay| match relay {
                    BuiltRelay::Usable(_) => String::new(),
                    BuiltRelay::Late(_, fault) => fault,
                };
                built.into_iter().map(fault).collect::<Vec<_>>()
            })
        };
        let authorities = Authority::new().file();
        let good = authorities.path().display().to_string();
        let (none, bad) = ("/nowhere/ca.pem", write("bad.pem", "no certificate"));
        let faults = built(&good, &[route("a", none), route("b", &good)]).unwrap();
        assert_eq!((faults[0].as_str(), faults[2].as_str()), ("", ""));
        assert!(
            faults[1].contains("nullmta.toml:9: key `")
                && faults[1].contains("ca-file`: cannot read /nowhere/ca.pem"),
            "{faults:?}"
        );
        let faults = built(none, &[route("b", &good)]).unwrap();
        assert!(faults[0].contains("nullmta.toml:3: ") && faults[1].is_empty(), "{faults:?}");
        // No relay is left, or what is in the file is wrong.
        assert!(built(none, &[route("a", none)]).unwrap_err().contains("nullmta.toml:3: "));
        assert!(built(&good, &[route("a", &bad)]).unwrap_err().contains("expected PEM certificates in "));
    }
}
