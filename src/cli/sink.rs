//! `nullmta sink`: a small relay for development and for rehearsals of outages.
//!
//! Promises: the first line on standard output is `listening on ADDRESS`, printed when clients can connect; after that,
//! there is one line for each message received and each fault that occurred. It runs until SIGINT or SIGTERM.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::exit::{Exit, Failure};
use crate::config::TlsFile;
use crate::listener::certificate::Certificate;
use crate::listener::stop::stop_signal;
use crate::log::Foreign;
use crate::oauth::AccessToken;
use crate::secret::Secret;
use crate::sink::{
    self, FaultEffect, HelloLimit, Security, SinkError, SinkEvent, SinkFault, SinkLimit, SinkOptions,
    SinkProfile, SinkUser, TokenUser,
};

const FAULTS: &str = "\
Faults: PHASE[:ADDRESS]=EFFECT[*TIMES][%PERCENT]
  PHASE    connect, greeting, ehlo, starttls, auth, mail, rcpt, data, content, dot or quit
  EFFECT   a reply such as \"452 4.3.1 full\", said as it stands, or 451 with the usual words,
           stall, drop, or dot=lose-reply:
           store the message, then drop the connection instead of saying so.
           Odd replies: \"long 4000 554 no\" (a line of 4000 octets), \"lines 90 451 wait\" (90 lines), and
           \"raw 250-a\\r\\n250 b\\xe9\" for any octets; CRLF follows unless \\c is the end
  Examples --fail rcpt=451  --fail 'dot=drop*3'  --fail rcpt:bad@example.org=550  --fail 'mail=421%10'

Limits: NUMBER[@PHASE]=EFFECT, or NUMBER[rcpt]/WINDOW[@PHASE[,PHASE]][!]=EFFECT for a rate and a quota
  WINDOW   s, min, h, day, or so many of them: 20s
  PHASE    where it is counted, and refused beyond the limit; each limit has its usual one. With two,
           it is counted at the first one and refused at the second
  rcpt     counts recipients, not messages;  !  lets a refused try begin the window anew
  Examples --max-recipients '50=452 4.5.3 too many'  --rate '14/s=454 slow down'  --quota '500rcpt/day!=550 5.4.5 quota'
           --quota '100/day@dot,auth=451 credits exceeded'";

/// Returns the help for the forms of faults and limits, and for the providers.
fn after_help() -> String {
    let providers: String = SinkProfile::all()
        .iter()
        .map(|profile| format!("\n  {:<34} {}", profile.names.join(", "), profile.provider))
        .collect();
    format!(
        "{FAULTS}\n\nProviders: --like NAME gives the sink their extensions, mechanisms, limits and replies, as far \
         as\nthey are known. Other options win; those of faults come first.{providers}"
    )
}

/// Run a small relay for development and rehearsals of outages.
///
/// It takes mail for anyone, delivers it to nobody, and keeps it in a Maildir.
#[derive(Args)]
#[command(after_help = after_help())]
pub(super) struct SinkCommand {
    /// Be like the relay of this provider, such as ses; the help lists them all at its end
    #[arg(long, value_name = "NAME", value_parser = parse_profile)]
    like: Option<&'static SinkProfile>,
    /// The loopback address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2525")]
    listen: SocketAddr,
    /// Keep messages in this Maildir; without it they are only counted
    #[arg(long, value_name = "DIR")]
    maildir: Option<PathBuf>,
    /// Put the envelope in front of each message, as Return-Path and X-Envelope-To
    #[arg(long)]
    envelope: bool,
    /// The protection of connections [default: starttls]
    #[arg(long, value_enum)]
    tls: Option<SinkSecurity>,
    /// Write the self-made certificate to this file, for tls.ca-file
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    ca_file: Option<PathBuf>,
    /// Show this certificate chain (PEM) instead of a self-made one
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Ask for AUTH, and accept this user; use no real password, since other users of this host can read it
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = parse_user)]
    users: Vec<SinkUser>,
    /// Ask for AUTH, and accept this access token (OAUTHBEARER, XOAUTH2); use no real one
    #[arg(long = "token", value_name = "NAME:TOKEN", value_parser = parse_token)]
    tokens: Vec<TokenUser>,
    /// Take mail of this sender only, or of this @domain; the others are refused at MAIL, or as the provider does it
    #[arg(long, value_name = "ADDRESS")]
    verified: Vec<String>,
    /// Behave in this way at some step; the first fault that fits is used
    #[arg(long = "fail", value_name = "FAULT")]
    faults: Vec<SinkFault>,
    /// Take no more recipients in a transaction; the others are refused at RCPT
    #[arg(long, value_name = "LIMIT", value_parser = SinkLimit::recipients)]
    max_recipients: Vec<SinkLimit>,
    /// Take no more messages over one connection; then MAIL is refused
    #[arg(long, value_name = "LIMIT", value_parser = SinkLimit::messages_per_session)]
    messages_per_session: Vec<SinkLimit>,
    /// Serve no more connections at once; the others are refused in the greeting
    #[arg(long, value_name = "LIMIT", value_parser = SinkLimit::connections)]
    max_connections: Vec<SinkLimit>,
    /// Take messages no faster; what comes too fast is refused at the final dot
    #[arg(long, value_name = "LIMIT", value_parser = SinkLimit::rate)]
    rate: Vec<SinkLimit>,
    /// Take no more messages in any window; the others are refused at the final dot
    #[arg(long, value_name = "LIMIT", value_parser = SinkLimit::quota)]
    quota: Vec<SinkLimit>,
    /// Close a session that is silent for so many seconds [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
    /// Lose a ClientHello that is longer, such as 1400=drop or 1400=stall
    #[arg(long, value_name = "OCTETS=EFFECT")]
    max_client_hello: Option<HelloLimit>,
    /// Determines when faults with a percentage occur
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// The name in the greeting [default: localhost]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The largest message, in octets [default: 104857600]
    #[arg(long, value_name = "OCTETS")]
    max_message_size: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SinkSecurity {
    /// TLS after STARTTLS
    Starttls,
    /// TLS from the first octet
    Implicit,
    /// No TLS at all
    None,
}

fn parse_profile(name: &str) -> Result<&'static SinkProfile, String> {
    let names = || SinkProfile::all().iter().map(|profile| profile.names.join(" or "));
    SinkProfile::named(name)
        .ok_or_else(|| format!("there is no such provider, but {}", names().collect::<Vec<_>>().join(", ")))
}

fn parse_user(text: &str) -> Result<SinkUser, &'static str> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok(SinkUser { name: name.into(), password: Secret::new(password.into()) })
        }
        _ => Err("expected NAME:PASSWORD"),
    }
}

fn parse_token(text: &str) -> Result<TokenUser, String> {
    match text.split_once(':') {
        Some((name, token)) if !name.is_empty() => {
            let token = AccessToken::of(Secret::new(token.into())).map_err(|bad| bad.to_string())?;
            Ok(TokenUser { name: name.into(), token })
        }
        _ => Err("expected NAME:TOKEN".into()),
    }
}

impl SinkCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let ca_file = self.ca_file.clone();
        let options = self.into_options()?;
        if let Some(path) = ca_file {
            std::fs::write(&path, options.certificate.pem())
                .map_err(|error| Failure::new(Exit::IoError, format!("{}: {error}", path.display())))?;
        }
        let runtime = Runtime::new().map_err(|error| Failure::new(Exit::OsError, error))?;
        runtime.block_on(serve(options))
    }

    fn into_options(self) -> Result<SinkOptions, Failure> {
        let certificate = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = TlsFile { setting: "--certificate", path: certificate };
                let key = TlsFile { setting: "--key", path: key };
                Certificate::load(chain, key).map_err(|error| error.to_string())
            }
            _ => Certificate::self_made("localhost"),
        };
        let certificate = certificate.map_err(|error| Failure::new(Exit::Config, error))?;
        let usual = match self.like {
            Some(profile) => profile.options(certificate),
            None => SinkOptions::new(certificate),
        };
        let limits =
            [self.max_recipients, self.messages_per_session, self.max_connections, self.rate, self.quota];
        Ok(SinkOptions {
            address: self.listen,
            hostname: self.hostname.unwrap_or(usual.hostname),
            security: self.tls.map_or(usual.security, Security::from),
            users: self.users,
            tokens: self.tokens,
            senders: usual.senders.verifying(self.verified),
            maildir: self.maildir,
            envelope_fields: self.envelope,
            max_message_size: self.max_message_size.unwrap_or(usual.max_message_size),
            faults: [self.faults, usual.faults].concat(),
            limits: in_place_of(usual.limits, limits.concat()),
            idle: self.idle.map_or(usual.idle, Duration::from_secs),
            hello_limit: self.max_client_hello,
            seed: self.seed,
            ..usual
        })
    }
}

impl From<SinkSecurity> for Security {
    fn from(tls: SinkSecurity) -> Self {
        match tls {
            SinkSecurity::Starttls => Security::StartTls,
            SinkSecurity::Implicit => Security::Implicit,
            SinkSecurity::None => Security::None,
        }
    }
}

/// Returns the limits of a provider with those of the command line, each in place of the provider's of its kind.
fn in_place_of(mut of_provider: Vec<SinkLimit>, own: Vec<SinkLimit>) -> Vec<SinkLimit> {
    of_provider.retain(|limit| !own.iter().any(|own| own.is_like(limit)));
    [own, of_provider].concat()
}

async fn serve(options: SinkOptions) -> Result<(), Failure> {
    let os_error = |error: io::Error| Failure::new(Exit::OsError, error);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(os_error)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(os_error)?;
    let (events, happened) = unbounded_channel();
    let sink = sink::Sink::bind(options, events).await.map_err(refused)?;
    print_line(&format!("listening on {}", sink.address()))?;
    let (stopper, stop) = stop_signal();
    let run = async {
        sink.run(stop).await;
        Ok(())
    };
    let end = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stopper.stop(Instant::now());
        Ok(())
    };
    tokio::try_join!(run, print_events(happened), end).map(drop)
}

fn refused(error: SinkError) -> Failure {
    let exit = match &error {
        SinkError::NotLoopback(_) => Exit::Usage,
        SinkError::Bind { .. } => Exit::Unavailable,
        SinkError::Maildir { .. } => Exit::IoError,
        SinkError::Users(_) => Exit::OsError,
    };
    Failure::new(exit, error)
}

async fn print_events(mut happened: UnboundedReceiver<SinkEvent>) -> Result<(), Failure> {
    while let Some(event) = happened.recv().await {
        print_line(&line(&event))?;
    }
    Ok(())
}

fn print_line(line: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .map_err(|error| Failure::new(Exit::IoError, format!("standard output: {error}")))
}

fn line(event: &SinkEvent) -> String {
    match event {
        SinkEvent::Received(message) => {
            let to: Vec<String> = message
                .envelope
                .recipients
                .iter()
                .map(|recipient| format!("<{}>", recipient.address))
                .collect();
            format!(
                "{}: received from=<{}>, to={}, proto={}, user={}",
                message.id,
                message.envelope.reverse_path,
                to.join(","),
                message.protocol,
                message.user.as_deref().map_or("none".into(), |user| Foreign(user).to_string()),
            )
        }
        SinkEvent::Struck(phase, effect) => match effect {
            FaultEffect::Answer(reply) => format!("fault at {phase}: answered {reply}"),
            FaultEffect::Odd(odd) => format!("fault at {phase}: answered {odd}"),
            FaultEffect::Stall => format!("fault at {phase}: stalled"),
            FaultEffect::Drop => format!("fault at {phase}: dropped the connection"),
            FaultEffect::LoseReply => format!("fault at {phase}: stored, then dropped the connection"),
        },
        SinkEvent::Trouble(why) => format!("trouble: {}", Foreign(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sink: SinkCommand,
    }

    fn parse(arguments: &[&str]) -> Result<SinkOptions, String> {
        let line = Line::try_parse_from(["sink"].iter().chain(arguments));
        line.map_err(|error| error.to_string())?.sink.into_options().map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_become_options() {
        let options = parse(&[
            "--listen",
            "[::1]:0",
            "--user",
            "a:b:c",
            "--user",
            "d:e",
            "--fail",
            "rcpt=451*2",
            "--fail",
            "data=452 4.3.1 full",
            "--quota",
            "50/20s=454",
            "--max-recipients",
            "50=452",
            "--max-client-hello",
            "1400=stall",
            "--tls",
            "implicit",
            "--envelope",
            "--maildir",
            "/var/tmp/m",
        ])
        .unwrap();
        assert_eq!(options.address.to_string(), "[::1]:0");
        assert_eq!((options.users[0].name.as_str(), options.users[0].password.text()), ("a", Some("b:c")));
        assert_eq!((options.users.len(), options.faults.len()), (2, 2));
        assert_eq!(
            options.limits,
            [SinkLimit::recipients("50=452"), SinkLimit::quota("50/20s=454")].map(Result::unwrap)
        );
        assert_eq!(options.hello_limit, "1400=stall".parse().ok());
        assert_eq!((options.security, options.envelope_fields), (Security::Implicit, true));
    }

    #[test]
    fn a_provider_gives_what_no_other_option_does() {
        let like = |more: &[&str]| parse(&[&["--like", "ses"], more].concat()).unwrap();
        let options = like(&[]);
        assert_eq!(options.hostname, "email-smtp.eu-west-1.amazonaws.com");
        assert_eq!((options.limits.len(), options.faults.len()), (4, 1));
        let changed = like(&[
            "--quota",
            "5/h=454",
            "--quota",
            "9/day=454",
            "--fail",
            "dot=451",
            "--tls",
            "none",
            "--hostname",
            "x",
            "--max-message-size",
            "99",
            "--idle",
            "7",
            "--verified",
            "@example.org",
        ]);
        assert_eq!(changed.limits.len(), 5, "both quotas, and the other three of the provider");
        assert_eq!(
            changed.limits[..2],
            [SinkLimit::quota("5/h=454"), SinkLimit::quota("9/day=454")].map(Result::unwrap)
        );
        assert_eq!(changed.faults[0].to_string(), "dot=451 4.3.0 as told by a fault");
        assert_eq!((changed.security, changed.hostname.as_str()), (Security::None, "x"));
        assert_eq!((changed.max_message_size, changed.idle.as_secs()), (99, 7));
        assert_eq!(changed.senders, options.senders.verifying(vec!["@example.org".into()]));
        let implicit = parse(&["--like", "yandex"]).unwrap();
        assert_eq!(implicit.security, Security::Implicit);
    }

    #[test]
    fn the_help_lists_every_provider() {
        let help = after_help();
        assert!(SinkProfile::all().iter().all(|profile| help.contains(profile.provider)), "{help}");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        let cases: [(&[&str], &str); 12] = [
            (&["--like", "nobody"], "amazon-ses or ses, azure"),
            (&["--rate", "14=454"], "expected a window"),
            (&["--max-recipients", "50@mail=452"], "not counted at that phase"),
            (&["--max-client-hello", "1400=550"], "OCTETS=drop"),
            (&["--user", "nobody"], "NAME:PASSWORD"),
            (&["--user", ":x"], "NAME:PASSWORD"),
            (&["--token", ":x"], "NAME:TOKEN"),
            (&["--token", "a:b c"], "no access token"),
            (&["--fail", "rcpt=250"], "4xx or 5xx reply"),
            (&["--certificate", "x.pem"], "--key"),
            (&["--certificate", "absent.pem", "--key", "absent.pem"], "absent.pem"),
            (&["--listen", "localhost"], "--listen"),
        ];
        for (arguments, expected) in cases {
            let error = parse(arguments).err().unwrap_or_else(|| panic!("{arguments:?} was taken"));
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn only_loopback_is_listened_on() {
        let options = parse(&["--listen", "0.0.0.0:0"]).unwrap();
        let failure = Runtime::new().unwrap().block_on(serve(options)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_string().contains("not a loopback address"), "{failure}");
    }
}
