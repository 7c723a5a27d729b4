//! `nullmta check`: reports the errors and warnings that `run` would report about the configuration, without starting.
//!
//! Promises: if it accepts a configuration, so does `run`, since both build the same things from it; but a relayhost that
//! is one of the sockets which systemd passes is seen by `run` alone (`daemon.rs`). The warnings are those that the log has
//! at each start, and with `--strict` they make the command fail. If root runs it, the files and the spool are looked at
//! with the rights of the user of the service, and it warns of files that the unit hides and of a credential that the unit
//! does not load. A spool that the unit creates (`StateDirectory=`) may be missing. A note names a credential that could
//! not be looked at.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::Access;

use super::exit::{Exit, Failure};
use super::output::say;
use super::relay_reply::print_rules;
use super::service_user::{NAME, ServiceUser};
use super::unit::{CredentialFinding, Unit};
use super::{ConfigFile, config_failure};
use crate::config::{
    Config, ListenConfig, LoginUsers, Logins, RelayConfig, RouteConfig, SecretSource, SettingError,
};
use crate::envelope::{Address, ReversePath, Submitter};
use crate::key_names::{about_relay, on_route};
use crate::listener::certificate::Certificate;
use crate::log::counted;
use crate::relay::Relay;
use crate::relay::lookup::lookup_warnings;
use crate::routing::{RouteRule, RoutedMail, SendersIn};

/// Check the configuration and the files that it names, without starting
#[derive(Args)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Exit with 1 if there is a warning
    #[arg(long)]
    strict: bool,
    /// Show the rules for the meaning of the relay's replies, in the order in which they are tried
    #[arg(long)]
    relay_rules: bool,
    /// With --relay-rules: one JSON object a line
    #[arg(long, requires = "relay_rules")]
    json: bool,
    /// Say which route mail of this sender ("" is <>) takes to this recipient, after rewriting; with --relay-rules, the
    /// NAME of the route whose relay is meant
    #[arg(long, num_args = 1..=2, value_names = ["SENDER|NAME", "RECIPIENT"])]
    route: Option<Vec<String>>,
    /// With --route: the author in the From of the header, for routes with senders-in = "header-from"; given several times, the
    /// authors. Without it SENDER is the author, too
    #[arg(long, value_name = "ADDRESS", requires = "route", conflicts_with = "relay_rules")]
    from: Vec<String>,
    /// With --route: the number of the user who submits the mail
    #[arg(long, requires = "route")]
    uid: Option<u32>,
}

const ROUTE_USAGE: &str = "--route: expected SENDER and RECIPIENT, or with --relay-rules the NAME of one route of the configuration";

impl CheckCommand {
    /// Prints a summary of the configuration.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (config, mut warnings, note) = look(&self.file.config)?;
        warnings.extend(lookup_warnings(&config));
        for warning in &warnings {
            eprintln!("nullmta: warning: {warning}");
        }
        if let Some(note) = note {
            eprintln!("nullmta: note: {note}");
        }
        if self.strict && !warnings.is_empty() {
            let path = self.file.config.display();
            return Err(Failure::new(Exit::Failed, format!("{path}: {} warnings", warnings.len())));
        }
        match (self.relay_rules, self.route.as_deref()) {
            (true, None) => return print_rules(&config, None, self.json),
            (true, Some([name])) => return print_rules(&config, Some(name), self.json),
            (false, Some([sender, to])) => {
                let asked = AskedWay { sender, authors: &self.from, to, uid: self.uid };
                return say!("{}", way_of(&config, &asked)?);
            }
            (_, Some(_)) => return Err(Failure::new(Exit::Usage, ROUTE_USAGE)),
            (false, None) => {}
        }
        say!("{}: ok, {}", self.file.config.display(), summary(&config))
    }
}

/// Returns the configuration in the file at `path`, all warnings, and a note if a credential could not be looked at.
pub(super) fn look(path: &Path) -> Result<(Config, Vec<String>, Option<String>), Failure> {
    let path = path.to_path_buf();
    let Some(user) = ServiceUser::of_host() else {
        let (config, warnings) = looked_at(&path)?;
        let note = unseen_credential(&config);
        return Ok((config, warnings, note));
    };
    let unit = Unit::of_host();
    let seen = user.see({
        let (path, created) = (path.clone(), unit.state_directories().to_vec());
        move || File::open(&path).is_ok().then(|| used_by_us(&path, &created))
    });
    let (config, mut warnings) = match seen {
        Ok(Some(looked)) => looked.map_err(|failure| {
            Failure::new(failure.exit(), format!("{failure} (looked at as the service's user, {NAME})"))
        })?,
        // The file is missing, and reading it as root says so; or it is a draft in a directory of root's own.
        Ok(None) | Err(_) => {
            let (config, mut warnings) = looked_at(&path)?;
            let path = path.display();
            warnings.push(format!(
                "{path} cannot be read by the service's user, {NAME}: the files it names were looked at as root"
            ));
            (config, warnings)
        }
    };
    warnings.extend(unit.warnings(&config));
    let mut note = None;
    for finding in unit.credentials(&config) {
        match finding {
            CredentialFinding::Missing(warning) => warnings.push(warning),
            CredentialFinding::NotSeen(unseen) => note = Some(unseen),
        }
    }
    Ok((config, warnings, note))
}

/// Returns a note that a credential was not looked at; `None` if `config` names no credential, or if systemd gave it to
/// this process.
fn unseen_credential(config: &Config) -> Option<String> {
    let secrets =
        config.relays_of_routes().filter_map(|(route, relay)| Some((route, &relay.auth.as_ref()?.secret)));
    let mut unseen = secrets.filter_map(|(route, secret)| match secret {
        SecretSource::Credential(name) if std::env::var_os("CREDENTIALS_DIRECTORY").is_none() => {
            Some((route, name))
        }
        _ => None,
    });
    let (route, name) = unseen.next()?;
    let said = format!(
        "auth.credential: {name} was not looked at: only root, on a host with the user {NAME}, can see what the unit loads"
    );
    Some(about_relay(&said, route))
}

/// Loads the configuration in `file`, and checks that we can use the spool; `created` are the directories that the unit
/// creates at each start. Returns the configuration with all warnings.
fn used_by_us(file: &Path, created: &[PathBuf]) -> Result<(Config, Vec<String>), Failure> {
    let (config, warnings) = looked_at(file)?;
    match obstacle(&config.spool, created) {
        Some(words) => Err(Failure::new(Exit::CantCreate, words)),
        None => Ok((config, warnings)),
    }
}

/// Returns the reason why we cannot use `spool`, which would make each start fail; `None` if we can.
fn obstacle(spool: &Path, created: &[PathBuf]) -> Option<String> {
    if created.iter().any(|directory| is_prepared(spool, directory)) {
        return None;
    }
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let shown = spool.display();
    if !spool.exists() {
        // The start makes this one directory, and none above it.
        let there = spool.parent().unwrap_or(spool);
        return (!is_ours(there, Access::WRITE_OK | Access::EXEC_OK)).then(|| {
            format!(
                "{shown} is missing and cannot be made in {}: install -d -o {NAME} -g {NAME} -m 0711 {shown}",
                there.display()
            )
        });
    }
    let foreign = if is_ours(spool, all) {
        let mut parts = crate::spool::PARTS.iter().map(|name| spool.join(name));
        parts.find(|part| part.exists() && !is_ours(part, Access::WRITE_OK))
    } else {
        Some(spool.into())
    };
    foreign.map(|path| format!("cannot write to {}: chown -R {NAME}:{NAME} {shown}", path.display()))
}

/// Returns whether systemd prepares `spool` before the daemon starts, by creating `directory`. If `directory` belongs to
/// another user, systemd gives it, with everything in it, to the user of the service.
fn is_prepared(spool: &Path, directory: &Path) -> bool {
    let is_first_below = spool == directory || spool.parent() == Some(directory);
    let parent_will_exist = is_first_below || spool.parent().is_some_and(Path::exists);
    spool.starts_with(directory)
        && parent_will_exist
        && !is_ours(directory, Access::WRITE_OK | Access::EXEC_OK)
}

/// Returns whether we have the right of `access` to `path`.
fn is_ours(path: &Path, access: Access) -> bool {
    rustix::fs::access(path, access).is_ok()
}

/// Loads the configuration in `file` with the files that it names. Returns it with all warnings.
fn looked_at(file: &Path) -> Result<(Config, Vec<String>), Failure> {
    let config = Config::load(file).map_err(config_failure)?;
    let refused = |error: SettingError| Failure::new(Exit::Config, config.located(&error));
    let relays = Relay::of_config(&config).map_err(|words| Failure::new(Exit::Config, words))?;
    Certificate::of(&config.listen).map_err(refused)?;
    let mut warnings = config.warnings(file);
    warnings.extend(relays.iter().flat_map(Relay::warnings).cloned());
    Ok((config, warnings))
}

fn summary(config: &Config) -> String {
    let routes =
        config.routes.iter().map(|route| format!("; by route {} to {}", route.rule.name, goal_of(route)));
    let routes: String = routes.collect();
    let logins = logins(&config.listen);
    format!("mail goes to {}{routes}, spool in {}{logins}", goal(&config.relay), config.spool.display())
}

/// Returns who may log in, and whether clients must.
fn logins(listen: &ListenConfig) -> String {
    let required =
        if listen.require_auth { ", and over TCP everybody must (listen.require-auth)" } else { "" };
    match &listen.logins {
        None => String::new(),
        Some(Logins::Users(path)) => match LoginUsers::load(path) {
            Ok(users) => {
                let users = counted(users.0.len() as u64, "user");
                format!("; {users} may log in ({}){required}", path.display())
            }
            // The warning says why.
            Err(_) => format!("; nobody can log in{required}"),
        },
        Some(Logins::Anybody) => {
            format!(
                "; any name and any password is taken as a login, and proves nothing (listen.accept-any){required}"
            )
        }
    }
}

/// The mail whose way is asked for, with addresses as they are submitted.
struct AskedWay<'a> {
    /// The reverse-path; empty, or `<>`, for the null reverse-path.
    sender: &'a str,
    /// The authors in the From field; if there are none, the sender.
    authors: &'a [String],
    to: &'a str,
    /// The user who submits it; `None` for one who is not known.
    uid: Option<u32>,
}

/// Returns which relays get this mail, and by what: a line for each recipient that rewriting makes of the one that is asked for.
fn way_of(config: &Config, asked: &AskedWay<'_>) -> Result<String, Failure> {
    let parse = |text: &str| {
        Address::parse(text).map_err(|bad| Failure::new(Exit::Usage, format!("{text:?}: {bad}")))
    };
    let sender = if matches!(asked.sender, "" | "<>") { None } else { Some(parse(asked.sender)?) };
    let recipient = parse(asked.to)?;
    let authors = asked.authors.iter().map(|author| parse(author)).collect::<Result<Vec<_>, _>>()?;
    let authors = if authors.is_empty() { sender.iter().cloned().collect() } else { authors };
    let given = sender.map_or(ReversePath::Null, ReversePath::Mailbox);
    let reverse_path = match &given {
        ReversePath::Mailbox(sender) => ReversePath::Mailbox(config.rewrite.sender_for(sender)),
        ReversePath::Null => ReversePath::Null,
    };
    let authors: Vec<Address> = authors.iter().map(|author| config.rewrite.author_for(author)).collect();
    let submitter = asked.uid.map_or(Submitter::Loopback, Submitter::Uid);
    let mail = RoutedMail { reverse_path: &reverse_path, authors: &authors, submitter, assigned: None };
    let routes = config.routing();
    let recipients = config.rewrite.recipients_for(&recipient);
    let lines = recipients.iter().map(|sent| {
        let place = routes.place_of(&mail, sent).checked_sub(1);
        let by = match place.and_then(|place| config.routes.get(place)) {
            Some(route) => {
                let why = decided_by(&route.rule, &mail, sent);
                format!("by route {} to {}; {why} decided that", route.rule.name, goal_of(route))
            }
            None if routes.ask_for_header() => {
                let looked_at = format!("the reverse-path <{reverse_path}> nor {}", from_field(&authors));
                format!("by no route, so to {}; neither {looked_at} takes one", goal(&config.relay))
            }
            None => format!("by no route, so to {}", goal(&config.relay)),
        };
        let rewritten = match (&reverse_path, sent) == (&given, &recipient) {
            true => String::new(),
            false => format!("is rewritten as mail from <{reverse_path}> to <{sent}>, and "),
        };
        format!("mail from <{given}> to <{recipient}> {rewritten}goes {by}")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Returns what of the mail took it to this route.
fn decided_by(route: &RouteRule, mail: &RoutedMail<'_>, recipient: &Address) -> String {
    let is_null = *mail.reverse_path == ReversePath::Null;
    let sender = match route.senders_in {
        SendersIn::HeaderFrom if !is_null => from_field(mail.authors),
        SendersIn::Envelope | SendersIn::HeaderFrom => format!("the reverse-path <{}>", mail.reverse_path),
    };
    let conditions = [
        (!route.senders.is_empty()).then_some(sender),
        (!route.recipients.is_empty()).then(|| format!("the recipient <{recipient}>")),
        (!route.uids.is_empty()).then(|| "the user".to_owned()),
    ];
    conditions.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// Returns the From field with these authors, in words.
fn from_field(authors: &[Address]) -> String {
    let authors: Vec<String> = authors.iter().map(|author| format!("<{author}>")).collect();
    if authors.is_empty() {
        "a From without an address".into()
    } else {
        format!("the From {}", authors.join(", "))
    }
}

/// Returns the hosts of the relay of a route, and our name there.
fn goal_of(route: &RouteConfig) -> String {
    on_route(&goal(&route.relay), Some(&route.rule.name)).into_owned()
}

/// Returns the hosts of a relay, and our name there.
pub(super) fn goal(relay: &RelayConfig) -> String {
    let hosts: Vec<String> = relay.hosts.iter().map(ToString::to_string).collect();
    let auth = relay.auth.as_ref().map_or(String::new(), |auth| match auth.username.as_str() {
        // Only EXTERNAL needs no name: the certificate says it (RFC 4422 A).
        "" => " with the certificate of tls.client-certificate".into(),
        username => format!(" as {username}"),
    });
    hosts.join(", then ") + &auth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_mail_is_said_as_the_queue_will_send_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        let text = "relayhost = \"mx.example\"\n\
             route = [\n\
             { name = \"news\", senders = [\"@news.example\", \"<>\"], relayhost = [\"a.example\", \"b.example:465\"], tls.mode = \
             \"implicit\" },\n\
             { recipients = \"@.partner.example\", uid = 33, relayhost = \"c.example\" },\n\
             ]\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        for (from, to, uid, expected) in [
            (
                "app@News.example",
                "b@x.example",
                None,
                "<app@News.example> to <b@x.example> goes by route news to a.example:465, then b.example:465; the reverse-path \
                 <app@News.example> decided that",
            ),
            (
                "",
                "b@x.example",
                None,
                "<> to <b@x.example> goes by route news to a.example:465, then b.example:465; the reverse-path <> decided that",
            ),
            (
                "<>",
                "b@x.example",
                Some(33),
                "<> to <b@x.example> goes by route news to a.example:465, then b.example:465; the reverse-path <> decided that",
            ),
            (
                "a@x.example",
                "b@eu.partner.example",
                Some(33),
                "<a@x.example> to <b@eu.partner.example> goes by route c.example:587 to c.example:587; the recipient \
                 <b@eu.partner.example> and the user decided that",
            ),
            (
                "a@x.example",
                "b@eu.partner.example",
                None,
                "<a@x.example> to <b@eu.partner.example> goes by no route, so to mx.example:587",
            ),
        ] {
            let asked = AskedWay { sender: from, authors: &[], to, uid };
            assert_eq!(way_of(&config, &asked).unwrap(), format!("mail from {expected}"));
        }
        for (from, to) in [("a b@x", "b@x.example"), ("a@x.example", "")] {
            let asked = AskedWay { sender: from, authors: &[], to, uid: None };
            assert_eq!(way_of(&config, &asked).unwrap_err().exit(), Exit::Usage);
        }
    }

    /// The route was told by the addresses before rewriting, and the mail went elsewhere.
    #[test]
    fn the_way_is_that_of_the_rewritten_addresses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        let text = "relayhost = \"mx.example\"\n\
             rewrite = { origin = \"x.example\", sender = \"noreply@x.example\", verified-domains = \"news.example\", \
             aliases = { root = [\"ann@a.example\", \"bob@b.example\"] } }\n\
             route = [\n\
             { name = \"news\", senders = \"@news.example\", relayhost = \"n.example\" },\n\
             { name = \"app\", senders = \"app@shop.example\", senders-in = \"header-from\", relayhost = \"s.example\" },\n\
             { name = \"b\", recipients = \"@b.example\", relayhost = \"b.example\" },\n\
             { name = \"author\", senders = \"@news.example\", senders-in = \"header-from\", relayhost = \"au.example\" },\n\
             ]\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let neither = |from: &str| format!("; neither the reverse-path <{from}> nor");
        for (sender, authors, to, expected) in [
            (
                "a@news.example",
                &[][..],
                "c@c.example",
                "goes by route news to n.example:587; the reverse-path <a@news.example> decided that".to_owned(),
            ),
            (
                "app@shop.example",
                &[],
                "c@c.example",
                format!(
                    "is rewritten as mail from <noreply@x.example> to <c@c.example>, and goes by no route, so to \
                     mx.example:587{} the From <noreply@x.example> takes one",
                    neither("noreply@x.example")
                ),
            ),
            // The From of the header alone takes the route.
            (
                "a@x.example",
                &["b@x.example", "c@news.example"],
                "c@c.example",
                "is rewritten as mail from <noreply@x.example> to <c@c.example>, and goes by route author to au.example:587; \
                 the From <noreply@x.example>, <c@news.example> decided that"
                    .to_owned(),
            ),
            (
                "",
                &["c@news.example"],
                "root",
                format!(
                    "is rewritten as mail from <> to <ann@a.example>, and goes by no route, so to mx.example:587{} the From \
                     <c@news.example> takes one\n\
                     mail from <> to <root> is rewritten as mail from <> to <bob@b.example>, and goes by route b to \
                     b.example:587; the recipient <bob@b.example> decided that",
                    neither("")
                ),
            ),
        ] {
            let authors: Vec<String> = authors.iter().map(|author| (*author).into()).collect();
            let asked = AskedWay { sender, authors: &authors, to, uid: None };
            let expected = format!("mail from <{sender}> to <{to}> {expected}");
            assert_eq!(way_of(&config, &asked).unwrap(), expected);
        }
    }

    /// EXTERNAL without a username was shown as `as ,`.
    #[test]
    fn the_login_is_said_as_it_is_made() {
        let external =
            "auth.mechanisms = \"EXTERNAL\"\ntls.client-certificate = \"/c\"\ntls.client-key = \"/k\"";
        let password = "auth.username = \"apikey\"\nauth.password-file = \"/s\"";
        for (login, expected) in [
            ("", "mx.example:587, then srv:b.example"),
            (password, "mx.example:587, then srv:b.example as apikey"),
            (external, "mx.example:587, then srv:b.example with the certificate of tls.client-certificate"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("nullmta.toml");
            let text = format!("relayhost = [\"mx.example\", \"srv:b.example\"]\n{login}\n");
            std::fs::write(&path, text).unwrap();
            assert_eq!(goal(&Config::read(&path).unwrap().relay), expected);
        }
    }

    /// A spool that `StateDirectory=` makes at the start was an error as long as it was not there.
    #[test]
    fn a_spool_that_the_unit_makes_need_not_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let is_refused = |spool: &Path, created: &[PathBuf]| obstacle(spool, created).is_some();
        let created = [state.clone()];
        let below = state.join("a/b");
        assert!(is_refused(&state.join("a"), &[]) && is_refused(&below, &[]));
        assert!(!is_refused(&state, &created) && !is_refused(&state.join("a"), &created));
        assert!(is_refused(&below, &created), "only one directory is made in it");
        assert!(is_refused(&directory.path().join("other/a"), &created));
    }
}
