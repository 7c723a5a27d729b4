//! Parameters that no other file here uses, with the reasons why nullmta needs no key for them.

use super::super::draft::{ConfigDraft, Omission};
use super::super::main_cf::Parameters;
use Omission::{AlreadySo, NotCarried};

const NOT_LOCAL: &str = "nothing is delivered on this host";
const NO_PROGRAMS: &str = "mail is handed to the relay, and to no program or filter on the way";
const LISTENER: &str =
    "there is nothing to guard: only programs on this host hand in mail, by loopback and a unix socket";
const OWN_TLS: &str = "TLS is rustls with its own defaults, 1.2 and 1.3";
const ONE_PROCESS: &str = "nullmta is one process with one spool";
const TO_RELAY: &str = "all mail goes to the relayhost, whatever its addresses are";
const COPIES: &str = "nobody is added to the recipients";

/// The reasons, by the name of the parameter. The first line that fits counts; a `*` stands for any text.
const REASONS: [(&str, Omission, &str); 111] = [
    // What recipes set, and nullmta is.
    ("biff", AlreadySo, NOT_LOCAL),
    ("append_dot_mydomain", AlreadySo, "only a bare local part is completed"),
    ("append_at_myorigin", AlreadySo, "bare addresses are always completed"),
    ("always_add_missing_headers", AlreadySo, "Date, Message-ID and From are added where they are missing"),
    ("compatibility_level", AlreadySo, "it is about Postfix's own versions"),
    ("readme_directory", AlreadySo, "it is about Postfix's own files"),
    ("html_directory", AlreadySo, "it is about Postfix's own files"),
    ("manpage_directory", AlreadySo, "it is about Postfix's own files"),
    ("sample_directory", AlreadySo, "it is about Postfix's own files"),
    ("meta_directory", AlreadySo, "it is about Postfix's own files"),
    ("shlib_directory", AlreadySo, "it is about Postfix's own files"),
    ("command_directory", AlreadySo, "it is about Postfix's own files"),
    ("daemon_directory", AlreadySo, "it is about Postfix's own files"),
    ("data_directory", AlreadySo, "it is about Postfix's own files"),
    ("config_directory", AlreadySo, "it is about Postfix's own files"),
    ("sendmail_path", AlreadySo, "it is about Postfix's own files"),
    ("newaliases_path", AlreadySo, "it is about Postfix's own files"),
    ("mailq_path", AlreadySo, "it is about Postfix's own files"),
    ("setgid_group", AlreadySo, "nullmta has no set-id program"),
    ("mail_owner", AlreadySo, "the unit file says who nullmta runs as"),
    ("default_privs", AlreadySo, NOT_LOCAL),
    ("alias_database", AlreadySo, "aliases stand in this file"),
    ("default_database_type", AlreadySo, "tables stand in this file"),
    ("default_transport", AlreadySo, TO_RELAY),
    ("relay_transport", AlreadySo, TO_RELAY),
    ("mydomain", AlreadySo, "its value stands where it was referred to"),
    ("disable_vrfy_command", AlreadySo, "VRFY tells nothing"),
    ("smtputf8_enable", AlreadySo, "SMTPUTF8 is spoken, and asked of the relay where an address needs it"),
    (
        "smtp_sasl_security_options",
        AlreadySo,
        "a password is sent over verified TLS only, so any mechanism is safe",
    ),
    (
        "smtp_sasl_tls_security_options",
        AlreadySo,
        "a password is sent over verified TLS only, so any mechanism is safe",
    ),
    ("smtp_sasl_type", AlreadySo, "nullmta has its own SASL"),
    ("smtp_sasl_path", AlreadySo, "nullmta has its own SASL"),
    ("cyrus_sasl_config_path", AlreadySo, "nullmta has its own SASL"),
    ("smtp_sasl_auth_enable", AlreadySo, "a username says so"),
    (
        "smtp_sasl_auth_soft_bounce",
        AlreadySo,
        "a relay that refuses the login pauses the mail and bounces none",
    ),
    ("smtp_sasl_auth_cache_*", AlreadySo, "a relay that refuses the login pauses the mail and bounces none"),
    ("smtp_tls_note_starttls_offer", AlreadySo, "TLS is always used"),
    ("smtp_tls_session_cache_*", AlreadySo, "connections are kept and reused"),
    ("smtp_connection_cache_on_demand", AlreadySo, "connections are kept and reused"),
    ("smtp_connection_cache_destinations", AlreadySo, "connections are kept and reused"),
    ("smtp_tls_connection_reuse", AlreadySo, "connections are kept and reused"),
    ("smtp_tls_loglevel", AlreadySo, "the version of TLS stands in every delivery line"),
    ("tls_random_source", AlreadySo, OWN_TLS),
    ("smtp_host_lookup", AlreadySo, "names are looked up as the system does, /etc/hosts included"),
    ("disable_dns_lookups", AlreadySo, "names are looked up as the system does, /etc/hosts included"),
    ("smtp_dns_support_level", AlreadySo, "names are looked up as the system does, /etc/hosts included"),
    ("smtp_always_send_ehlo", AlreadySo, "EHLO is always sent"),
    ("smtp_randomize_addresses", AlreadySo, "all addresses of the relay are tried"),
    ("local_transport", AlreadySo, "mail for this host's users goes to the relay too"),
    ("relay_domains", AlreadySo, "mail for any domain goes to the relay"),
    ("virtual_alias_domains", AlreadySo, "mail for any domain goes to the relay"),
    ("local_header_rewrite_clients", AlreadySo, "all mail is this host's, and is rewritten"),
    ("remote_header_rewrite_domain", AlreadySo, "all mail is this host's, and is rewritten"),
    ("enable_original_recipient", AlreadySo, "orig_to= in the log says it"),
    ("swap_bangpath", AlreadySo, "addresses with ! and % are left as they are"),
    ("allow_percent_hack", AlreadySo, "addresses with ! and % are left as they are"),
    ("queue_run_delay", AlreadySo, "each message has its own time for the next attempt"),
    ("smtpd_relay_restrictions", AlreadySo, LISTENER),
    ("smtpd_recipient_restrictions", AlreadySo, LISTENER),
    ("smtpd_client_restrictions", AlreadySo, LISTENER),
    ("smtpd_helo_*", AlreadySo, LISTENER),
    ("smtpd_sender_*", AlreadySo, LISTENER),
    ("mynetworks_style", AlreadySo, LISTENER),
    ("smtpd_tls_received_header", AlreadySo, "Received tells the version of TLS"),
    // What is lost.
    ("smtpd_tls_*", NotCarried, OWN_TLS),
    (
        "smtpd_sasl_*",
        NotCarried,
        "programs on this host need no password to hand in mail; where they insist on one, listen.users-file and nullmta user add",
    ),
    ("smtpd_banner", NotCarried, "the greeting is listen.hostname and nothing else"),
    (
        "smtpd_milters",
        NotCarried,
        "there are no milters: let the relay sign (DKIM), or sign in front of nullmta",
    ),
    (
        "non_smtpd_milters",
        NotCarried,
        "there are no milters: let the relay sign (DKIM), or sign in front of nullmta",
    ),
    ("milter_*", NotCarried, "there are no milters: let the relay sign (DKIM), or sign in front of nullmta"),
    ("content_filter", NotCarried, NO_PROGRAMS),
    ("receive_override_options", NotCarried, NO_PROGRAMS),
    ("smtpd_*", NotCarried, LISTENER),
    ("postscreen_*", NotCarried, LISTENER),
    ("qmqpd_*", NotCarried, LISTENER),
    ("tlsproxy_*", NotCarried, LISTENER),
    ("submission_*", NotCarried, LISTENER),
    ("mua_*", NotCarried, LISTENER),
    ("always_bcc", NotCarried, COPIES),
    ("sender_bcc_maps", NotCarried, COPIES),
    ("recipient_bcc_maps", NotCarried, COPIES),
    ("relocated_maps", NotCarried, "the relay says who has moved"),
    (
        "recipient_delimiter",
        NotCarried,
        "local parts are left whole: an alias is looked up with its extension",
    ),
    ("mailbox_*", NotCarried, NOT_LOCAL),
    ("home_mailbox", NotCarried, NOT_LOCAL),
    ("mail_spool_directory", NotCarried, NOT_LOCAL),
    ("luser_relay", NotCarried, NOT_LOCAL),
    ("fallback_transport*", NotCarried, NOT_LOCAL),
    ("forward_path", NotCarried, NOT_LOCAL),
    ("local_*", NotCarried, NOT_LOCAL),
    ("virtual_*", NotCarried, NOT_LOCAL),
    ("lmtp_*", NotCarried, NOT_LOCAL),
    ("allow_mail_to_*", NotCarried, NOT_LOCAL),
    ("smtp_bind_address_enforce", NotCarried, "an address that cannot be used is always an error"),
    (
        "smtp_address_preference",
        NotCarried,
        "IPv6 and IPv4 are tried in turn, whichever answers first; relay.address-family takes one of them",
    ),
    ("smtp_tls_*", NotCarried, OWN_TLS),
    ("tls_*", NotCarried, OWN_TLS),
    ("relayhost_*", NotCarried, TO_RELAY),
    (
        "queue_directory",
        NotCarried,
        "the spool is another one; let Postfix send its queue before it is stopped",
    ),
    ("queue_minfree", NotCarried, "queue.min-free-space keeps its default, 64M"),
    ("soft_bounce", NotCarried, "what the relay refuses for good is bounced"),
    (
        "notify_classes",
        NotCarried,
        "the log says what happens; queue.postmaster gets bounces that cannot be delivered",
    ),
    (
        "*_notice_recipient",
        NotCarried,
        "the log says what happens; queue.postmaster gets bounces that cannot be delivered",
    ),
    ("empty_address_recipient", NotCarried, "mail to <> is refused when it is handed in"),
    (
        "empty_address_*",
        NotCarried,
        "it is the key of mail from <> in tables by sender; here that goes to the relayhost as all other does",
    ),
    (
        "double_bounce_sender",
        NotCarried,
        "all reports of nullmta itself are from <>; if a relay refuses <>, it gets rewrite.null-sender",
    ),
    ("maillog_file*", NotCarried, "nullmta logs to the journal"),
    ("syslog_*", NotCarried, "nullmta logs to the journal"),
    ("debug*", NotCarried, "log.level = \"debug\" shows the dialogue"),
    ("default_process_limit", NotCarried, ONE_PROCESS),
    ("multi_instance_*", NotCarried, ONE_PROCESS),
];

const UNKNOWN: &str = "nullmta has nothing like it";

/// Lists every parameter that neither became a key nor was listed yet.
pub(super) fn account(parameters: &Parameters, draft: &mut ConfigDraft) {
    for parameter in parameters.overridden() {
        let name = parameter.name.clone();
        draft.already_so(vec![parameters.cite(parameter)], &format!("a later line sets {name} again"));
    }
    let left: Vec<_> =
        parameters.all().iter().filter(|parameter| !draft.accounts_for(&parameter.name)).collect();
    for parameter in left {
        let cited = vec![parameters.cite(parameter)];
        match reason(&parameter.name) {
            Some((omission, why)) => draft.remark(omission, cited, why),
            None if parameters.is_referred_to(&parameter.name) => {
                draft.already_so(cited, "its value stands where it was referred to");
            }
            None => draft.not_carried(cited, UNKNOWN),
        }
    }
}

fn reason(name: &str) -> Option<(Omission, &'static str)> {
    let fits = |pattern: &str| match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => name == pattern,
    };
    REASONS.iter().find(|(pattern, ..)| fits(pattern)).map(|(_, omission, why)| (*omission, *why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_particular_comes_before_the_general() {
        assert_eq!(reason("smtpd_relay_restrictions"), Some((AlreadySo, LISTENER)));
        assert_eq!(reason("smtpd_junk_command_limit"), Some((NotCarried, LISTENER)));
        assert_eq!(reason("2bounce_notice_recipient").map(|(omission, _)| omission), Some(NotCarried));
        assert_eq!(reason("no_such_parameter"), None);
    }

    #[test]
    fn no_reason_is_hidden_by_one_before_it() {
        for (index, (pattern, ..)) in REASONS.iter().enumerate() {
            let name = pattern.replace('*', "x");
            let first =
                REASONS.iter().position(|(_, omission, why)| reason(&name) == Some((*omission, *why)));
            assert!(first.is_some_and(|first| first <= index), "{pattern}");
            let earlier = REASONS[..index].iter().filter_map(|(earlier, ..)| earlier.strip_suffix('*'));
            assert!(
                earlier.into_iter().all(|start| !start.is_empty() && !name.starts_with(start)),
                "{pattern}"
            );
        }
    }
}
