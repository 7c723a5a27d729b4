//! Several relays over a real spool: the look-up of what each message's relays are.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::bench::{Bench, Does, TestRelay};
use crate::envelope::Submitter;
use crate::queue::refusals::RefusalRule;
use crate::queue::testing::envelope;
use crate::queue::{RelaySettings, Settings};
use crate::routing::{AddressPattern, RouteRule, SenderPattern, SendersIn};

/// More than are looked up at a time, twice over.
const MANY: usize = 600;

fn rule(name: &str) -> RouteRule {
    RouteRule {
        name: name.into(),
        senders: Vec::new(),
        senders_in: SendersIn::Envelope,
        recipients: Vec::new(),
        uids: Vec::new(),
    }
}

fn add_route(settings: &mut Settings, rule: RouteRule, relay: &Arc<TestRelay>) {
    settings.relays.push(RelaySettings {
        route: Some(rule.name.clone()),
        max_connections: NonZeroUsize::new(2).unwrap(),
        recipients_per_message: NonZeroUsize::new(50).unwrap(),
        domains_per_message: None,
        rates: Vec::new(),
        connector: relay.clone(),
        refusals: RefusalRule {
            relay: format!("{}.example:587", rule.name),
            has_login: true,
            on_refusal: None,
        },
    });
    settings.routes.0.push(rule);
}

/// Puts the same messages on the spool: for each route some, one by the From field of a large message.
async fn submit_all(bench: &Bench) {
    let small = b"From: app@shop.example\r\n\r\nhello\r\n";
    for number in 0..MANY {
        let to = format!("r{number}@{}", if number % 2 == 0 { "partner.example" } else { "x.example" });
        bench.try_submit(envelope("app@shop.example", &[&to]), small).await.unwrap();
    }
    let large = [&b"From: News <list@news.example>\r\n\r\n"[..], &b"hello\r\n".repeat(300_000)].concat();
    bench.try_submit(envelope("bounce@shop.example", &["large@x.example"]), &large).await.unwrap();
    let header_free = b"\r\nfrom: list@news.example\r\n";
    bench.try_submit(envelope("bounce@shop.example", &["body@x.example"]), header_free).await.unwrap();
    for (submitter, to) in [
        (Submitter::Uid(33), "uid33@x.example"),
        (Submitter::LoopbackUid(33), "tcp33@x.example"),
        (Submitter::Uid(34), "uid34@x.example"),
        (Submitter::Loopback, "unknown@x.example"),
    ] {
        bench.try_submit_as(submitter, envelope("app@shop.example", &[to]), small).await.unwrap();
    }
}

fn recipients(relay: &TestRelay) -> Vec<String> {
    let mut to: Vec<String> = relay.seen().into_iter().flat_map(|seen| seen.to).collect();
    to.sort();
    to
}

fn partners() -> Vec<String> {
    let mut to: Vec<String> =
        (0..MANY).step_by(2).map(|number| format!("r{number}@partner.example")).collect();
    to.sort();
    to
}

#[tokio::test]
async fn each_message_on_the_spool_finds_its_relay_at_its_arrival_a_start_and_a_reload() {
    for how in ["arrival", "start", "reload"] {
        let [partner, news, user] = [TestRelay::new(), TestRelay::new(), TestRelay::new()];
        let add_all = |settings: &mut Settings| {
            let recipients = vec![AddressPattern::parse("@partner.example").unwrap()];
            add_route(settings, RouteRule { recipients, ..rule("partner") }, &partner);
            let senders = vec![SenderPattern::parse("@news.example").unwrap()];
            let senders_in = SendersIn::HeaderFrom;
            add_route(settings, RouteRule { senders, senders_in, ..rule("news") }, &news);
            add_route(settings, RouteRule { uids: vec![33], ..rule("user") }, &user);
        };
        let mut bench = Bench::with(|settings| {
            if how != "reload" {
                add_all(settings);
            }
        })
        .await;
        if how != "arrival" {
            [&bench.relay, &partner, &news, &user].iter().for_each(|relay| relay.always(Does::Refuses));
        }
        submit_all(&bench).await;
        if how == "start" {
            bench.until(|status| status.live == MANY + 6).await;
            bench = bench.restart().await;
        }
        [&bench.relay, &partner, &news, &user]
            .iter()
            .for_each(|relay| relay.always(Does::Says(vec!["250 2.0.0 ok"])));
        match how {
            "reload" => {
                bench.until(|status| status.live == MANY + 6).await;
                bench.reload_with(add_all);
            }
            _ => bench.queue.probe_now(),
        }
        bench.pass_until_settled().await;
        assert_eq!(recipients(&partner), partners(), "{how}");
        assert_eq!(recipients(&news), ["large@x.example"], "{how}");
        assert_eq!(recipients(&user), ["tcp33@x.example", "uid33@x.example"], "{how}");
        assert_eq!(recipients(&bench.relay).len(), MANY / 2 + 3, "{how}");
    }
}
