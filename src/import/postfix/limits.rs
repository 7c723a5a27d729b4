//! Times, counts and sizes: the queue, the connections to the relay, and what a message may be.
//!
//! Promises: a value that equals the default of nullmta is left out; each parameter has its own unit, as in Postfix.

use super::super::draft::{ConfigDraft, DraftKey, DraftValue};
use super::super::location::ImportError;
use super::super::times::{seconds, words};
use super::PostfixSource;

/// A duration: the parameter of Postfix, its unit, our key, and our default in seconds.
struct Lapse(&'static str, char, &'static str, u64);

const LAPSES: [Lapse; 15] = [
    Lapse("maximal_queue_lifetime", 'd', "queue.lifetime", 5 * 86_400),
    Lapse("minimal_backoff_time", 's', "queue.retry-min", 60),
    Lapse("maximal_backoff_time", 's', "queue.retry-max", 3600),
    Lapse("delay_warning_time", 'h', "queue.delay-warning", 4 * 3600),
    Lapse("smtp_connection_cache_time_limit", 's', "relay.idle", 5),
    Lapse("smtpd_timeout", 's', "listen.idle-timeout", 300),
    Lapse("smtp_connect_timeout", 's', "relay.timeouts.connect", 30),
    Lapse("smtp_starttls_timeout", 's', "relay.timeouts.tls", 60),
    Lapse("smtp_helo_timeout", 's', "relay.timeouts.ehlo", 300),
    Lapse("smtp_mail_timeout", 's', "relay.timeouts.mail", 300),
    Lapse("smtp_rcpt_timeout", 's', "relay.timeouts.rcpt", 300),
    Lapse("smtp_data_init_timeout", 's', "relay.timeouts.data", 120),
    Lapse("smtp_data_xfer_timeout", 's', "relay.timeouts.block", 180),
    Lapse("smtp_data_done_timeout", 's', "relay.timeouts.dot", 600),
    Lapse("smtp_quit_timeout", 's', "relay.timeouts.quit", 10),
];

/// A number: the parameter of Postfix, our key, and our default. In Postfix, 0 means no limit.
struct Number(&'static str, &'static str, u64);

const NUMBERS: [Number; 7] = [
    Number("smtp_destination_concurrency_limit", "relay.max-connections", 20),
    Number("default_destination_concurrency_limit", "relay.max-connections", 20),
    Number("smtp_connection_reuse_count_limit", "relay.messages-per-connection", 100),
    Number("smtp_destination_recipient_limit", "relay.recipients-per-message", 50),
    Number("default_destination_recipient_limit", "relay.recipients-per-message", 50),
    Number("message_size_limit", "listen.max-message-size", 50 << 20),
    Number("smtpd_recipient_limit", "listen.max-recipients", 1000),
];

const DEFAULT: &str = "the default";

/// Adds these parameters to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    for lapse in &LAPSES {
        carry_lapse(source, lapse, draft)?;
    }
    for number in &NUMBERS {
        carry_number(source, number, draft)?;
    }
    carry_bounce_lifetime(source, draft)?;
    carry_line_length(source, draft)?;
    for name in ["smtp_destination_rate_delay", "default_destination_rate_delay"] {
        let cited = source.parameters.cited(&[name]);
        match seconds(&source.value(name)?, 's') {
            None | Some(0) => draft.already_so(cited, "no pause between messages"),
            Some(_) if draft.has("relay.rate") => draft.not_carried(cited, "overruled by the one for smtp"),
            Some(1) => draft.set(DraftKey::new("relay.rate", "1/s", cited)),
            Some(pause) if pause <= 3600 => {
                draft.set(DraftKey::new("relay.rate", format!("{}/h", 3600 / pause), cited));
            }
            Some(_) => draft.not_carried(cited, "the pause is too long for relay.rate"),
        }
    }
    Ok(())
}

fn carry_lapse(
    source: &PostfixSource<'_>,
    Lapse(name, unit, key, default): &Lapse,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let Some(value) = source.set_value(name)? else { return Ok(()) };
    let cited = source.parameters.cited(&[name]);
    match (seconds(&value, *unit), *key) {
        (None, _) => draft.not_carried(cited, "it is no number with one of the units s, m, h, d, w"),
        (Some(same), _) if same == *default => draft.already_so(cited, DEFAULT),
        (Some(0), "queue.delay-warning" | "relay.idle") => draft.set(DraftKey::new(key, "off", cited)),
        (Some(0), _) => draft.not_carried(cited, "0 has no equivalent; the default stays"),
        (Some(seconds), _) => draft.set(DraftKey::new(key, words(seconds), cited)),
    }
    Ok(())
}

fn carry_number(
    source: &PostfixSource<'_>,
    Number(name, key, default): &Number,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let Some(value) = source.set_value(name)? else { return Ok(()) };
    let cited = source.parameters.cited(&[name]);
    match value.parse::<u64>() {
        Err(_) => draft.not_carried(cited, "it is no number"),
        Ok(0) => draft.not_carried(
            cited,
            &format!("0 is no limit there, which has no equivalent; the default is {default}"),
        ),
        Ok(same) if same == *default => draft.already_so(cited, DEFAULT),
        Ok(_) if draft.has(key) => draft.not_carried(cited, "overruled by the limit for smtp"),
        Ok(number) => draft.set(DraftKey::new(key, DraftValue::Number(number), cited)),
    }
    Ok(())
}

/// Adds the limit on line length. nullmta folds lines over 998 octets, or none.
fn carry_line_length(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let name = "smtp_line_length_limit";
    let Some(value) = source.set_value(name)? else { return Ok(()) };
    let cited = source.parameters.cited(&[name]);
    match value.parse::<u64>() {
        Ok(0) => draft.set(DraftKey::new("rewrite.long-lines", "keep", cited)),
        Ok(998) => draft.already_so(cited, DEFAULT),
        _ => draft.not_carried(cited, "lines are folded at 998 octets (rewrite.long-lines)"),
    }
    Ok(())
}

/// Adds the lifetime of bounces. nullmta keeps a DSN as long as any message.
fn carry_bounce_lifetime(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let of = |name: &str| {
        source.set_value(name).map(|value| value.map_or(Some(5 * 86_400), |value| seconds(&value, 'd')))
    };
    let cited = source.parameters.cited(&["bounce_queue_lifetime"]);
    match of("bounce_queue_lifetime")? == of("maximal_queue_lifetime")? {
        true => draft.already_so(cited, "a bounce lives as long as any message"),
        false => draft.not_carried(cited, "a bounce lives as long as any message: queue.lifetime"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is left out because it is the default has to be the default.
    #[test]
    fn the_defaults_are_those_of_the_configuration() {
        use crate::config::{Config, Environment};
        let parse = |text: &str| {
            let environment = Environment { hostname: "web1.example.com".into() };
            Config::parse(text, std::path::Path::new("t"), &environment)
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let default = parse("relayhost = \"a\"");
        for Lapse(name, _, key, seconds) in &LAPSES {
            assert_eq!(
                parse(&format!("relayhost = \"a\"\n{key} = \"{}\"", words(*seconds))),
                default,
                "{name}"
            );
        }
        for Number(name, key, number) in &NUMBERS {
            assert_eq!(parse(&format!("relayhost = \"a\"\n{key} = {number}")), default, "{name}");
        }
    }
}
