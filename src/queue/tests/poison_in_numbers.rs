//! Many messages at which the relay breaks the dialogue off, in front of many others.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::bench::{Bench, DAY, Does, MINUTE, captured};
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;
use crate::spool::fs::sim::SimFs;

const PHASES: [Phase; 5] = [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Content, Phase::Dot];
const STEP: Duration = Duration::from_millis(500);
/// How long the relay is silent.
const SILENCE: Duration = MINUTE.saturating_mul(5);

/// Who sent the bad messages.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Whoever sent the others: they stand in front of these.
    TheSame,
    /// One other.
    Another,
    /// Each was sent by somebody else.
    Everybody,
}

impl From {
    fn of(self, number: usize) -> String {
        match self {
            From::TheSame => "app@example.org".into(),
            From::Another => "poison@example.org".into(),
            From::Everybody => format!("poison{number}@example.org"),
        }
    }
}

struct Case {
    does: Does,
    poison: usize,
    others: usize,
    from: From,
    connections: usize,
}

/// How long it takes until nothing but the bad messages is left.
async fn time_until_others_left(case: &Case) -> Duration {
    let Case { does, poison, others, from, connections } = case;
    let mut bench = Bench::simulated(&SimFs::new());
    bench.reload_with(|settings| settings.max_connections = NonZeroUsize::new(*connections).unwrap());
    bench.relay.always(Does::Refuses);
    for number in 0..*poison {
        let id = bench.submit(&from.of(number), &["ann@example.net"]).await;
        bench.relay.always_with(id, does.clone());
    }
    for _ in 0..*others {
        bench.submit("app@example.org", &["ben@example.net"]).await;
    }
    bench.until(|status| status.live == poison + others && status.paused_until.is_some()).await;
    bench.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    bench.queue.probe_now();
    let mut passed = Duration::ZERO;
    while bench.until_nothing_happens().await.live > *poison {
        bench.clock.advance(STEP);
        passed += STEP;
        assert!(passed < DAY, "{} left", bench.queue.status().await.unwrap().live);
    }
    let taken = bench.relay.seen().iter().filter(|seen| seen.to == ["ben@example.net"]).count();
    assert_eq!(taken, *others, "each once");
    passed
}

/// A second and a quarter for each two of them (one alone pauses nobody), and a pause of some seconds. Where the relay
/// is silent, as long as that for each of them.
fn bound(case: &Case) -> Duration {
    let poison = case.poison as u32;
    let pauses = Duration::from_millis(1250) * (poison / 2) + Duration::from_secs(10);
    if let Does::Stalls(..) = case.does { pauses + SILENCE * (poison + 1) } else { pauses }
}

async fn assert_others_leave(case: &Case) {
    let (log, _logging) = captured();
    let Case { does, poison, others, from, connections } = case;
    let name = format!("{does:?}, {poison} before {others}, from {from:?}, {connections} connections");
    let took = time_until_others_left(case).await;
    assert!(took <= bound(case), "{name}: took {took:?}, not {:?}", bound(case));
    assert!(!log.text().contains("status=bounced") && !log.text().contains("status=expired"), "{name}");
}

/// From the ninth of them on it looked like an outage: with a hundred in front of three hundred good messages each
/// further one cost a pause of five minutes, and the good ones waited for hours.
#[tokio::test]
async fn thirty_of_them_hold_up_the_others_for_a_second_each_at_most() {
    let said = |code| Cause::Reply(Reply::bare(code, "go away"));
    let froms = [From::TheSame, From::Another, From::Everybody];
    let mut number = 0;
    for phase in PHASES {
        let causes = [said(421), Cause::Closed, Cause::Garbage("250ok".into()), said(503), said(530)];
        let breaks = causes.map(|cause| Does::Breaks(phase, cause));
        for does in breaks.into_iter().chain([Does::Stalls(phase, SILENCE)]) {
            let (from, connections) = (froms[number % 3], [1, 20, 4][number / 2 % 3]);
            number += 1;
            assert_others_leave(&Case { does, poison: 30, others: 60, from, connections }).await;
        }
    }
}
