//! Refusals that are about more than their message, by the rules for replies: a rate, a quota, the configuration.

use super::super::{Event, LogLine};
use super::world::{DAY, Does, HOUR, MINUTE, SECOND, World};
use crate::queue::Standing;
use crate::relay::Phase;

const GMAIL: &str = "smtp.gmail.com";
const SES: &str = "email-smtp.eu-west-1.amazonaws.com";
const ANY: &str = "mail.hoster.example";
const USED_UP: &str = "550 5.4.5 Daily user sending limit exceeded.";

fn refuses(host: &'static str, said: &'static str) -> Does {
    Does::RefusesByRule { host, from: None, said }
}

/// Returns the text of the relay's trouble.
fn trouble(world: &mut World) -> String {
    world.status().foremost().trouble.clone().unwrap()
}

/// A daily quota that was used up bounced the whole queue: 550.
#[test]
fn a_used_up_quota_bounces_nothing_and_is_probed_each_hour() {
    let mut world = World::new(20);
    world.relay_always(refuses(GMAIL, USED_UP));
    world.arrive(300);
    assert!(world.is_paused());
    let text = trouble(&mut world);
    assert!(
        text.starts_with("quota: relay.example[192.0.2.1]:587: end of data: the relay said: 550 5.4.5"),
        "{text}"
    );
    let (first, clock) = (world.seen.len(), world.relay_clock);
    assert!(first <= 20, "{first}: no more than one for each connection");
    world.pass(DAY * 7);
    let probes = world.seen.len() - first;
    assert!((167..=168).contains(&probes), "{probes}: one each hour");
    assert_eq!((world.log.len(), world.relay_clock), (0, clock), "no patience runs: {:?}", world.log);
    assert_eq!(world.pauses_logged(), 1, "{:?}", world.lines);

    world.relay_always(Does::Takes);
    world.pass(HOUR);
    assert_eq!((world.status().live, world.logged("status=sent")), (0, 300));
}

/// The listing said of the probe of a quota that the connection was lost during it.
#[test]
fn a_message_that_met_a_quota_has_lost_no_connection() {
    let mut world = World::new(1);
    world.relay_always(refuses(GMAIL, USED_UP));
    world.arrive(3);
    world.pass(HOUR * 3);
    assert!(world.standings().iter().all(|listed| listed.losses == 0), "{:?}", world.standings());
}

/// The relay was paused for a minute, as for a quota that is used up: three places took a minute for what takes three
/// seconds.
#[test]
fn too_many_connections_cost_a_connection_and_no_speed() {
    let mut world = World::new(20);
    for _ in 0..2 {
        world.relay.once(refuses(ANY, "432 4.3.2 concurrent connections limit exceeded"));
    }
    world.arrive(400);
    // The first refusals meet the only connection, which is tried again after one second, and after two more.
    world.pass(SECOND * 8);
    assert_eq!((world.status().live, world.logged("status=sent"), world.log.len()), (0, 400, 400));
}

/// Nothing was given out again for the same reply at once, for ever.
#[test]
fn a_relay_that_takes_no_connection_is_probed_ever_more_seldom() {
    let mut world = World::new(20);
    world.relay_always(refuses(ANY, "432 4.3.2 concurrent connections limit exceeded"));
    world.arrive(10);
    world.pass(HOUR);
    assert!(world.seen.len() < 60, "{}", world.seen.len());
    assert_eq!((world.status().live, world.log.len()), (10, 0), "and no message is charged: {:?}", world.log);
}

/// Such a pause was a minute for a rate as well, at a relay whose words are not known better.
#[test]
fn a_rate_at_any_relay_pauses_nothing() {
    let mut world = World::new(20);
    world.relay.once(refuses(ANY, "451 4.7.0 rate limited"));
    world.arrive(100);
    world.pass(MINUTE * 5);
    assert_eq!((world.status().live, world.logged("status=sent"), world.pauses_logged()), (0, 100, 0));
}

/// Each message waited by its age for a rate that was exceeded for a moment.
#[test]
fn a_rate_that_is_exceeded_costs_no_message_anything() {
    let mut world = World::new(20);
    for _ in 0..2 {
        world.relay.once(refuses(SES, "454 Throttling failure: Maximum sending rate exceeded."));
    }
    world.arrive(200);
    world.pass(HOUR);
    assert_eq!((world.status().live, world.logged("status=sent"), world.log.len()), (0, 200, 200));
    let slowed = world.lines.iter().filter(|line| matches!(line, LogLine::RelaySlowed { .. })).count();
    assert_eq!((slowed, world.pauses_logged()), (1, 0), "said once: {:?}", world.lines);
}

/// A relay that is always too slow was asked again without a pause.
#[test]
fn a_relay_that_always_says_that_it_is_too_fast_is_asked_ever_more_seldom() {
    let mut world = World::new(20);
    world.relay_always(refuses(SES, "454 Throttling failure: Maximum sending rate exceeded."));
    world.arrive(100);
    world.pass(HOUR);
    assert!(world.seen.len() < 90, "{}: one a minute in the end", world.seen.len());
    assert!(world.log.is_empty(), "{:?}", world.log);
}

/// A block that each try prolongs was tried each hour, and would have lasted for ever.
#[test]
fn a_quota_or_a_block_without_a_stated_end_is_probed_ever_more_seldom() {
    let hours = [0, 1, 3, 7, 15, 31, 56, 81, 106, 131, 156];
    for does in [
        refuses("smtp.zoho.com", "550 5.4.6 Unusual sending activity detected."),
        Does::RefusesLoginByRule { host: "smtp.yandex.ru", said: "535 5.7.8 Error: authentication failed" },
    ] {
        let mut world = World::new(1);
        world.relay_always(does);
        world.arrive(10);
        world.pass(DAY * 7);
        assert_eq!(world.begun, hours.map(|hour| hour * 3600));
        assert_eq!((world.log.len(), world.pauses_logged()), (0, 1));
        world.relay_always(Does::Takes);
        world.tell(Event::ProbeNow);
        assert_eq!(world.status().live, 0);
        world.relay_always(refuses("smtp.zoho.com", "550 5.4.6 Unusual sending activity detected."));
        world.arrive(1);
        let again = world.begun.len();
        world.pass(HOUR * 2);
        assert_eq!(world.begun.len(), again + 1, "the pauses begin anew when the relay has taken mail");
    }
}

#[test]
fn the_pause_is_the_one_that_the_relay_names() {
    let mut world = World::new(20);
    world.relay_always(Does::RefusesLoginByRule {
        host: ANY,
        said: "550 Too many messages. Try again in 92 seconds",
    });
    world.arrive(10);
    world.pass(MINUTE * 10);
    let begun: Vec<i64> = (0..=6).map(|number| 92 * number).collect();
    assert_eq!(world.begun, begun);
    let text = trouble(&mut world);
    assert!(text.starts_with("throttle: AUTH: the relay said: 550 Too many"), "{text}");

    let mut world = World::new(20);
    world.relay_always(refuses(GMAIL, "550 5.4.5 Daily user sending limit exceeded, try again in 3 hours"));
    world.arrive(1);
    world.relay_always(Does::Takes);
    world.pass(HOUR * 3 - SECOND);
    assert_eq!(world.status().live, 1);
    world.pass(SECOND * 2);
    assert_eq!(world.status().live, 0);
}

#[test]
fn a_login_that_an_operator_must_correct_says_how_and_is_tried_as_seldom_as_a_wrong_password() {
    let mut world = World::new(20);
    let said =
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    world.relay_always(Does::RefusesLoginByRule { host: "smtp.office365.com", said });
    world.arrive(100);
    let text = trouble(&mut world);
    assert!(text.starts_with("configuration: AUTH: ") && text.contains("Set-CASMailbox"), "{text}");
    assert!(world.watches_secret);
    world.pass(HOUR);
    // After 1, 3, 7, 15 and 31 minutes.
    assert_eq!(world.begun.len(), 6, "{:?}", world.begun);
    world.relay_always(Does::Takes);
    world.reload();
    assert_eq!((world.status().live, world.log.len()), (0, 100));
}

/// A refresh token that was dead was trouble like a relay that is down for a moment: nothing said that somebody must act.
#[test]
fn a_token_that_an_operator_must_see_to_is_configuration_and_said_once() {
    let mut world = World::new(20);
    world.relay_always(Does::HasNoSecret("the token endpoint login.example: invalid_grant: log in again"));
    world.arrive(100);
    let expected = "configuration: AUTH: the token endpoint login.example: invalid_grant: log in again";
    assert_eq!(trouble(&mut world), expected);
    assert!(world.watches_secret, "a login on a terminal ends the pause");
    world.pass(HOUR);
    // After 1, 3, 7, 15 and 31 minutes.
    assert_eq!(world.begun.len(), 6, "{:?}", world.begun);
    world.pass(DAY * 7);
    assert_eq!((world.log.len(), world.pauses_logged()), (0, 1), "nothing bounces: {:?}", world.log);
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!((world.status().live, world.log.len()), (0, 100));
}

#[test]
fn credits_that_are_used_up_at_the_login_are_a_quota() {
    let mut world = World::new(20);
    let said = "451 Authentication failed: Maximum credits exceeded";
    world.relay_always(Does::RefusesLoginByRule { host: "smtp.sendgrid.net", said });
    world.arrive(100);
    world.pass(HOUR * 5 + MINUTE);
    assert_eq!(world.begun, [0, 3600, 7200, 10_800, 14_400, 18_000]);
    assert!(world.log.is_empty(), "{:?}", world.log);
}

/// An account that may not send bounced the queue, one message after the other.
#[test]
fn an_account_that_may_not_send_pauses_the_relay() {
    let mut world = World::new(20);
    world.relay_always(refuses(
        SES,
        "554 Access denied: User `x' is not authorized to perform `ses:SendRawEmail'",
    ));
    world.arrive(100);
    let text = trouble(&mut world);
    assert!(text.starts_with("configuration: ") && text.contains("ses:SendRawEmail"), "{text}");
    world.pass(DAY * 7);
    assert!(world.seen.len() < 400, "{}", world.seen.len());
    assert_eq!((world.log.len(), world.pauses_logged()), (0, 1));
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    assert_eq!(world.status().live, 0);
}

/// A text of any relay may be read wrongly: one message would have kept all others waiting.
#[test]
fn a_message_that_is_refused_while_others_are_taken_waits_alone_and_bounces_in_the_end() {
    let mut world = World::new(2);
    world.bad = refuses(ANY, "554 5.7.1 your content goes beyond a limit");
    world.arrive_poison();
    world.arrive(50);
    world.pass(MINUTE * 5);
    assert_eq!((world.status().live, world.logged("status=sent")), (1, 50), "{:?}", world.lines);
    let passed = world.pass_until_live(0, HOUR);
    assert!((DAY * 5..DAY * 6).contains(&passed), "{passed:?}");
    assert_eq!((world.logged("status=expired"), world.logged("status=sent")), (1, 51), "with its bounce");
}

#[test]
fn a_guess_that_nothing_disproves_bounces_after_the_lifetime_and_not_before() {
    let mut world = World::new(2);
    world.relay_always(refuses(ANY, "550 5.7.1 rate limit exceeded"));
    world.arrive(1);
    world.pass(DAY * 5 - HOUR);
    assert_eq!((world.standing(), world.log.len()), (Standing::Ready, 0));
    world.relay.once(refuses(ANY, "550 5.7.1 rate limit exceeded"));
    world.relay.once(refuses(ANY, "550 5.7.1 rate limit exceeded"));
    world.pass(HOUR * 3);
    assert_eq!(world.logged("status=expired"), 1, "{:?}", world.log);
}

/// Two messages of which a relay said that they went beyond a limit stopped all others for an hour: they were its probes.
#[test]
fn a_few_messages_that_a_rule_misreads_hold_up_no_other() {
    for bad in [1, 2, 6] {
        let mut world = World::new(2);
        world.bad = refuses(ANY, "554 5.7.1 Rejected: too many URLs, content limit");
        (0..bad).for_each(|_| _ = world.arrive_poison());
        world.arrive(200);
        world.pass(MINUTE * 2);
        assert_eq!((world.status().live, world.logged("status=sent")), (bad, 200), "{:?}", world.lines);
    }
}

/// One message on a quiet host was the only probe, ever more seldom: one that came later waited for up to an hour.
#[test]
fn a_message_that_comes_later_does_not_wait_for_the_probe_of_one_that_a_rule_misreads() {
    let mut world = World::new(2);
    world.bad = refuses(ANY, "554 5.7.1 Rejected: too many URLs, content limit");
    world.arrive_poison();
    world.pass(MINUTE * 50);
    world.arrive(1);
    world.pass(SECOND * 2);
    assert_eq!((world.status().live, world.logged("status=sent")), (1, 1), "{:?}", world.lines);
}

/// One recipient of whom a relay spoke of a rate, at each of ten tries, halved the rate each time; and a time that it named for
/// that recipient paused all mail.
#[test]
fn what_one_message_is_told_of_the_pace_hardly_delays_others() {
    let texts = [
        (ANY, "450 4.7.1 <slow@x.example>: Recipient address rejected: rate limit exceeded, try again later"),
        (ANY, "450 4.7.1 <slow@x.example>: Recipient address rejected: try again in 300 seconds"),
        (SES, "454 Throttling failure: Maximum sending rate exceeded."),
    ];
    for (host, said) in texts {
        let mut world = World::new(20);
        let at_rcpt = Does::FillsUp { after: 0, phase: Phase::Rcpt, said };
        world.bad = if host == ANY { at_rcpt } else { refuses(host, said) };
        world.arrive(30);
        world.pass(SECOND * 2);
        world.arrive_poison();
        for _ in 0..60 {
            world.arrive(1);
            world.pass(SECOND);
        }
        world.pass(SECOND * 20);
        assert_eq!(
            (world.logged("status=sent"), world.pauses_logged()),
            (90, 0),
            "{said}: {:?}",
            world.lines
        );
        assert_eq!((world.status().live, world.logged("status=deferred") > 0), (1, true), "{said}");
    }
}

/// The only recipient on a quiet host who is put off for a while was asked about once a minute.
#[test]
fn a_recipient_who_alone_is_put_off_for_a_time_is_tried_by_age() {
    let said = "450 4.7.1 <slow@x.example>: Recipient address rejected: try again in 300 seconds";
    let mut world = World::new(2);
    world.relay_always(Does::FillsUp { after: 0, phase: Phase::Rcpt, said });
    world.arrive(1);
    world.pass(HOUR);
    let tries = world.given.len();
    assert!((5..9).contains(&tries), "{tries}");
    assert_eq!((world.logged("status=deferred"), world.pauses_logged()), (tries, 0), "{:?}", world.lines);
}

/// One message that set off a rule of the provider paused the relay for all others, again and again.
#[test]
fn a_provider_rule_that_one_message_sets_off_pauses_the_relay_once() {
    for said in [
        "554 Access denied: User `x' is not authorized to perform `ses:SendRawEmail' on resource `y'",
        "454 Throttling failure: Daily message quota exceeded.",
    ] {
        let mut world = World::new(2);
        world.bad = refuses(SES, said);
        world.arrive(3);
        world.arrive_poison();
        for _ in 0..30 {
            world.pass(MINUTE * 10);
            world.arrive(1);
        }
        world.pass(MINUTE * 10);
        assert_eq!(world.logged("status=sent"), 33, "{:?}", world.lines);
        let pauses = world.pauses_logged();
        assert_eq!((world.status().live, pauses), (1, 1), "{:?}", world.lines);
    }
}

/// A quota of the last day lets one message go each hour: the messages that were refused before were each charged, nothing
/// paused the relay, and they bounced in the end.
#[test]
fn a_quota_that_lets_a_message_go_now_and_then_goes_on_pausing_the_relay() {
    let mut world = World::new(20);
    world.relay_always(refuses(GMAIL, USED_UP));
    world.arrive(40);
    let tried = world.seen.len();
    for _ in 0..24 {
        world.relay.once(Does::Takes);
        world.pass(HOUR);
    }
    let sent = world.logged("status=sent");
    assert!(sent >= 20, "{sent}");
    assert_eq!(world.status().live, 40 - sent);
    let tries = world.seen.len() - tried - sent;
    assert!(tries <= 24 * 8, "{tries}: a few each hour");
    assert_eq!(world.logged("status=bounced") + world.logged("status=expired"), 0, "{:?}", world.log);
}

/// A block that each try prolongs was prolonged by each restart.
#[test]
fn a_restart_does_not_end_the_pause_for_a_quota() {
    let mut world = World::new(5);
    world.relay_always(refuses(GMAIL, USED_UP));
    world.arrive(10);
    let seen = world.seen.len();
    for _ in 0..5 {
        world.restart();
        world.pass(MINUTE * 10);
        assert!(world.is_paused() && world.seen.len() == seen, "no restart tries");
    }
    assert!(trouble(&mut world).contains("before the restart the relay had said"), "{}", trouble(&mut world));
    assert_eq!(
        trouble(&mut world),
        "quota: before the restart the relay had said that it takes no mail until the next probe (relay.example[192.0.2.1]:587: \
         end of data: the relay said: 550 5.4.5 Daily user sending limit exceeded.); nullmta flush tries at once",
        "after five restarts, too"
    );
    assert_eq!((world.pauses_logged(), world.relay_clock), (6, 0), "each run says so, and no patience runs");
    world.pass(MINUTE * 10 + SECOND);
    assert_eq!(world.seen.len(), seen + 1, "its probe comes when it was due");
    world.restart();
    world.relay_always(Does::Takes);
    world.tell(Event::ProbeNow);
    world.pass(SECOND * 10);
    assert_eq!((world.status().live, world.is_paused()), (0, false), "a flush tries at once");
    world.restart();
    world.arrive(1);
    assert_eq!(world.status().live, 0, "a pause that is over is not noted any more");
}

#[test]
fn a_reload_ends_a_noted_pause_for_good_and_a_note_of_nonsense_costs_a_try() {
    let mut world = World::new(5);
    world.relay_always(refuses(SES, "454 Throttling failure: Daily message quota exceeded."));
    world.arrive(3);
    world.restart();
    assert!(world.is_paused());
    world.relay_always(Does::IsAway);
    world.reload();
    world.relay_always(Does::Takes);
    world.restart();
    assert_eq!(world.status().live, 0, "the pause is not noted any more");

    world.relay_always(refuses(GMAIL, USED_UP));
    world.arrive(3);
    let seen = world.seen.len();
    world.set_up.relay().rates_record = "paused=never".into();
    world.restart();
    assert_eq!((world.seen.len(), world.is_paused()), (seen + 1, true));
}

/// Who has corrected a setting may restart to have it tried.
#[test]
fn a_restart_tries_what_an_operator_has_to_correct() {
    let mut world = World::new(5);
    world.relay_always(Does::RefusesLoginByRule {
        host: "smtp.office365.com",
        said: "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
    });
    world.arrive(3);
    assert!(world.is_paused());
    world.relay_always(Does::Takes);
    world.restart();
    world.pass(SECOND);
    assert_eq!(world.status().live, 0);
}
