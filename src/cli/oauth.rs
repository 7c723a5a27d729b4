//! `nullmta oauth login`: logs a user in on a terminal, for `grant = "device-code"`.
//!
//! Promises: it prints a page and a code for a browser on any host, and ends when the user has logged in there. The refresh
//! token is then on disk, in `auth.oauth.refresh-token-file`; a daemon that waits because of the login goes on within
//! seconds. No token is printed.

use std::io::{self, Write};

use clap::Subcommand;
use tokio::runtime::Runtime;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::output::say;
use crate::config::Config;
use crate::relay::{DevicePrompt, device_login};

/// Log in at the provider, for access tokens in place of a password.
#[derive(Subcommand)]
pub(super) enum OauthCommand {
    /// Log in with a browser on any host, and keep the refresh token for the daemon
    Login(ConfigFile),
}

impl OauthCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let OauthCommand::Login(file) = self;
        let config = file.load()?;
        login(&config, &file.config.display().to_string())
    }
}

fn login(config: &Config, path: &str) -> Result<(), Failure> {
    let auth = config.relay.auth.as_ref();
    let oauth = auth.and_then(|auth| auth.secret.oauth().filter(|oauth| oauth.has_login()));
    let (Some(auth), Some(oauth)) = (auth, oauth) else {
        let words = format!(
            "{path}: expected [auth.oauth] with grant = \"device-code\"; no other login needs a terminal"
        );
        return Err(Failure::new(Exit::Config, words));
    };
    let runtime = Runtime::new().map_err(|error| Failure::new(Exit::OsError, error))?;
    let logged_in = runtime.block_on(device_login(oauth, |prompt| tell(prompt, &auth.username)));
    logged_in.map_err(|words| Failure::new(Exit::Failed, words))?;
    let kept = oauth.refresh_token_file().map(|file| file.display().to_string()).unwrap_or_default();
    say!("logged in; the refresh token is in {kept}")
}

/// Tells the user what to do. If it cannot be printed, the code runs out.
fn tell(prompt: &DevicePrompt, username: &str) {
    let DevicePrompt { page, user_code, minutes } = prompt;
    let mut output = io::stdout().lock();
    let _ = writeln!(
        output,
        "Open {page} in a browser, type the code {user_code}, and log in as {username}. The code is valid for {minutes} \
         minutes."
    );
    let _ = output.flush();
}
