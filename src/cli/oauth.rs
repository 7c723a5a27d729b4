//! `nullmta oauth login`: logs a user in on a terminal, for `grant = "device-code"`.
//!
//! Promises: it prints a page and a code for a browser on any host, and ends when the user has logged in there. The refresh
//! token is then on disk, in `auth.oauth.refresh-token-file`; a daemon that waits because of the login goes on within
//! seconds. No token is printed.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::say;
use crate::config::{Config, OAuthConfig, RelayConfig, RouteConfig};
use crate::key_names::on_route;
use crate::log::counted;
use crate::relay::{DevicePrompt, device_login};

/// Log in at the provider, for access tokens in place of a password.
#[derive(Subcommand)]
pub(super) enum OauthCommand {
    /// Log in with a browser on any host, and keep the refresh token for the daemon
    Login(LoginAsked),
}

#[derive(Args)]
pub(super) struct LoginAsked {
    #[command(flatten)]
    file: ConfigFile,
    /// Log in for the relay of this [[route]], in place of that of the top-level relayhost
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
}

impl OauthCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let OauthCommand::Login(asked) = self;
        let config = asked.file.load()?;
        let (route, relay) = asked.relay(&config)?;
        login(route, relay, &asked.path())
    }
}

impl LoginAsked {
    fn path(&self) -> String {
        self.file.config.display().to_string()
    }

    /// Returns the relay to log in for: the one that is named, or the only one with such a login.
    fn relay<'c>(&self, config: &'c Config) -> Result<(Option<&'c str>, &'c RelayConfig), Failure> {
        let failure = |words: String| Failure::new(Exit::Config, format!("{}: {words}", self.path()));
        let routes = || config.routes.iter();
        let of_route = |route: &'c RouteConfig| (Some(route.rule.name.as_str()), &route.relay);
        if let Some(name) = &self.route {
            let found = routes().find(|route| route.rule.name == *name);
            let found =
                found.ok_or_else(|| failure(format!("expected a [[route]] with the name {name:?}")))?;
            return Ok(of_route(found));
        }
        if has_login(&config.relay) {
            return Ok((None, &config.relay));
        }
        let mut others = routes().filter(|route| has_login(&route.relay));
        match (others.next(), others.next()) {
            (Some(only), None) => Ok(of_route(only)),
            (None, _) => Ok((None, &config.relay)),
            (Some(one), Some(other)) => Err(failure(format!(
                "several routes have such a login ({}, {} …): name one with --route",
                one.rule.name, other.rule.name
            ))),
        }
    }
}

fn has_login(relay: &RelayConfig) -> bool {
    relay.auth.as_ref().and_then(|auth| auth.secret.oauth()).is_some_and(OAuthConfig::has_login)
}

fn login(route: Option<&str>, relay: &RelayConfig, path: &str) -> Result<(), Failure> {
    let auth = relay.auth.as_ref();
    let oauth = auth.and_then(|auth| auth.secret.oauth().filter(|oauth| oauth.has_login()));
    let (Some(auth), Some(oauth)) = (auth, oauth) else {
        let words = "expected [auth.oauth] with grant = \"device-code\"; no other login needs a terminal";
        return Err(Failure::new(Exit::Config, format!("{path}: {}", on_route(words, route))));
    };
    let runtime = Runtime::new().map_err(|error| Failure::new(Exit::OsError, error))?;
    let prompt = |prompt: &DevicePrompt| tell(prompt, &auth.username);
    let logged_in = runtime.block_on(device_login(oauth, relay.families, prompt));
    logged_in.map_err(|words| Failure::new(Exit::Failed, on_route(&words, route)))?;
    let kept = oauth.refresh_token_file().map(|file| file.display().to_string()).unwrap_or_default();
    say!("logged in; the refresh token is in {kept}")
}

/// Tells the user what to do. If it cannot be printed, the code runs out.
fn tell(prompt: &DevicePrompt, username: &str) {
    let DevicePrompt { page, user_code, lifetime } = prompt;
    let time = in_words(*lifetime);
    let mut output = io::stdout().lock();
    let _ = writeln!(
        output,
        "Open {page} in a browser, type the code {user_code}, and log in as {username}. The code is valid for {time}."
    );
    let _ = output.flush();
}

/// Returns a time in minutes, or in seconds where it is short.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => counted(seconds, "second"),
        seconds => counted(seconds / 60, "minute"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code of 50 seconds was said to be valid for 0 minutes.
    #[test]
    fn the_time_of_a_code_is_said_as_it_is() {
        let told = [1, 50, 119, 120, 900].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(told, ["1 second", "50 seconds", "119 seconds", "2 minutes", "15 minutes"]);
    }
}
