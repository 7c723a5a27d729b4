//! Many messages at which the relay breaks the dialogue off, in whatever way, in front of many others.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Event;
use super::world::{DAY, Does, MINUTE, SECOND, World};
use crate::queue::lanes::Lane;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;

const PHASES: [Phase; 5] = [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Content, Phase::Dot];
const STEP: Duration = Duration::from_millis(500);
/// Time for which the relay is silent.
const SILENCE: Duration = MINUTE.saturating_mul(5);

/// The submitters of the bad messages.
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
    /// The lane of the bad message of this number; that of the others is 0.
    fn lane(self, number: usize) -> Lane {
        match self {
            From::TheSame => 0,
            From::Another => 1,
            From::Everybody => number as Lane + 1,
        }
    }
}

#[derive(Debug)]
struct Case {
    phase: Phase,
    cause: Cause,
    poison: usize,
    others: usize,
    from: From,
    connections: usize,
}

impl Case {
    /// Returns what the relay does with the bad messages.
    fn bad(&self) -> Does {
        match self.cause {
            Cause::TimedOut(limit) => Does::Stalls(self.phase, limit),
            _ => Does::Breaks(self.phase, self.cause.clone()),
        }
    }

    fn silence(&self) -> Duration {
        if let Cause::TimedOut(limit) = self.cause { limit } else { Duration::ZERO }
    }

    /// A second and a quarter for each two of them (one alone pauses nobody), and a pause of some seconds. Where the relay
    /// is silent, as long as that for each of them.
    fn bound(&self) -> Duration {
        let poison = self.poison as u32;
        Duration::from_millis(1250) * (poison / 2) + SECOND * 10 + self.silence() * (poison + 1)
    }

    /// A queue of these messages whose relay is reached from now on.
    fn world(&self) -> World {
        let mut world = World::new(self.connections);
        world.relay_always(Does::IsAway);
        world.bad = self.bad();
        for number in 0..self.poison {
            world.lane = self.from.lane(number);
            world.arrive_poison();
        }
        world.lane = 0;
        world.arrive(self.others);
        assert!(world.is_paused());
        world.relay_always(Does::Takes);
        world.tell(Event::ProbeNow);
        world
    }
}

fn assert_others_leave(case: &Case) {
    let mut world = case.world();
    let mut passed = Duration::ZERO;
    while world.status().live > case.poison {
        world.pass(STEP);
        passed += STEP;
        assert!(passed < DAY, "{case:?}: {} left", world.status().live);
    }
    assert!(passed <= case.bound(), "{case:?}: took {passed:?}, not {:?}", case.bound());
    let others = world.given.iter().map(|(_, id)| *id).filter(|id| !world.poison.contains(id));
    let others: Vec<_> = others.collect();
    let distinct = others.iter().collect::<BTreeSet<_>>().len();
    assert_eq!((others.len(), distinct), (case.others, case.others), "{case:?}: each once");
}

/// From the ninth of them on it looked like an outage: with a hundred in front of three hundred good messages each
/// further one cost a pause of five minutes, and the good ones waited for hours.
#[test]
fn thirty_of_them_hold_up_the_others_for_a_second_each_at_most() {
    let said = |code| Cause::Reply(Reply::bare(code, "go away"));
    let froms = [From::TheSame, From::Another, From::Everybody];
    let mut number = 0;
    for phase in PHASES {
        let garbage = Cause::Garbage("250ok".into());
        for cause in [said(421), Cause::Closed, garbage, said(503), said(530), Cause::TimedOut(SILENCE)] {
            let (from, connections) = (froms[number % 3], [1, 20, 4][number / 2 % 3]);
            number += 1;
            assert_others_leave(&Case { phase, cause, poison: 30, others: 60, from, connections });
        }
    }
}
