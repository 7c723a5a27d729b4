//! The relay says replies too many, or too early; what is reported is held against what it truly did with each message.

mod faltering;

use std::collections::HashSet;
use std::sync::Mutex;

use proptest::prelude::*;
use tokio::io::BufReader;

use super::super::*;
use crate::config::Pipelining;
use crate::queue_id::QueueId;
use crate::relay::testing::{Given, peer, settings, transaction, wire};
use crate::relay::{RecipientReport, Report, Transaction, Unmarked, Verdict};
use faltering::{FalteringRelay, Faults, Speech, Surplus, Truth};

/// A queue that takes its time to note a final dot, as a disk does.
struct Noting(Given);

impl Work for Noting {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        self.0.next(patience).await
    }
    async fn before_dot(&mut self, id: QueueId) -> Result<(), Unmarked> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.before_dot(id).await
    }
    async fn report(&mut self, report: Report) {
        self.0.report(report).await;
    }
}

#[derive(Clone, Debug)]
struct Message {
    from: &'static str,
    /// True for each recipient that the relay takes.
    recipients: Vec<bool>,
    is_content_good: bool,
    is_long: bool,
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let from = prop_oneof![4 => Just("ann@example.org"), 1 => Just("no@example.org")];
    let message = (
        from,
        prop::collection::vec(prop::bool::weighted(0.7), 1..4),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.2),
    );
    let message = message.prop_map(|(from, recipients, is_content_good, is_long)| Message {
        from,
        recipients,
        is_content_good,
        is_long,
    });
    prop::collection::vec(message, 1..5)
}

fn surplus() -> impl Strategy<Value = Vec<Surplus>> {
    let code = prop::sample::select(vec![250_u16, 354, 450, 500, 550]);
    let one = (0_usize..30, any::<bool>(), code);
    prop::collection::vec(one.prop_map(|(at, is_early, code)| Surplus { at, is_early, code }), 0..3)
}

fn address(id: usize, index: usize, is_taken: bool) -> String {
    format!("{}{id}-{index}@example.net", if is_taken { "yes" } else { "no" })
}

fn transactions(messages: &[Message]) -> Vec<Transaction> {
    let transaction = |(id, message): (usize, &Message)| {
        let to = message.recipients.iter().enumerate().map(|(index, is_taken)| address(id, index, *is_taken));
        let to: Vec<String> = to.collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let last = if message.is_content_good { "yes" } else { "no" };
        let content = "a line\r\n".repeat(if message.is_long { 20_000 } else { 2 }) + last + "\r\n";
        transaction(id as u64, message.from, &to, &content)
    };
    messages.iter().enumerate().map(transaction).collect()
}

async fn played(pipelining: Pipelining, messages: &[Message], faults: &Faults) -> (Vec<Report>, Truth) {
    let pace = Arc::new(RelayPace::new(pipelining));
    played_at(pace, transactions(messages), faults).await
}

/// One connection to a relay of which others have learnt this pace.
async fn played_at(
    pace: Arc<RelayPace>,
    messages: Vec<Transaction>,
    faults: &Faults,
) -> (Vec<Report>, Truth) {
    let (near, far) = wire("192.0.2.5:587");
    let settings = settings();
    let channel = Channel::new(Verified::assumed(near), peer(), settings.timeouts.clone());
    let offered = Capabilities { pipelining: true, ..Capabilities::default() };
    let connection = Connection::new(channel, offered, &settings).at_pace(pace);
    let truth = Mutex::new(Truth::default());
    let relay = FalteringRelay { stream: BufReader::new(far), faults, events: 0, truth: &truth };
    let mut work = Noting(Given::new(messages));
    let _ = tokio::join!(connection.run(&mut work), relay.serve());
    (work.0.reports, truth.into_inner().unwrap())
}

/// Runs a case, and says of whom something untrue was said.
fn falsely_told(pipelining: Pipelining, messages: &[Message], faults: &Faults) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (reports, truth) = runtime.unwrap().block_on(played(pipelining, messages, faults));
    let mut falsely = Vec::new();
    for (report, told) in
        reports.iter().flat_map(|report| report.recipients.iter().map(move |told| (report, told)))
    {
        let id = report.id.raw() as usize;
        let address = address(id, told.index, messages[id].recipients[told.index]);
        let is_true = match told.verdict {
            Verdict::Sent => truth.taken.contains(&address),
            Verdict::Bounced if messages[id].from.starts_with("no") => true,
            Verdict::Bounced => truth.refused.contains(&address) && !truth.taken.contains(&address),
            // A copy that nobody knows of is announced.
            _ => !truth.taken.contains(&address) || report.possible_duplicate,
        };
        if !is_true {
            falsely.push(format!("{address}: {:?} ({})", told.verdict, told.said));
        }
    }
    falsely
}

/// A relay that answered 500 to a long line and 500 again at the final dot made the messages behind it
/// bounce, with and without PIPELINING, and one reply 250 too many made a valid recipient of the next one bounce.
#[test]
fn a_refusal_is_not_taken_for_the_next_messages() {
    let message = |is_content_good| Message {
        from: "ann@example.org",
        recipients: vec![true, true],
        is_content_good,
        is_long: false,
    };
    let messages = [message(false), message(true), message(true)];
    for pipelining in [Pipelining::Off, Pipelining::Group, Pipelining::Across] {
        for at in 0..20 {
            for (is_early, code) in [(true, 500), (false, 500), (false, 250), (false, 354)] {
                let faults = Faults { surplus: vec![Surplus { at, is_early, code }], ..Faults::default() };
                let falsely = falsely_told(pipelining, &messages, &faults);
                assert!(falsely.is_empty(), "{pipelining:?} {faults:?}: {falsely:?}");
            }
        }
    }
}

/// A relay said one reply too many behind that to a RCPT, and hung up before the next. The valid
/// recipient of that bounced by it, since nothing that does not fit had been said.
#[test]
fn a_relay_that_hangs_up_proves_no_refusal_before_the_content() {
    let recipients = vec![true, true, true];
    let message = Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [message.clone(), message];
    for pipelining in [Pipelining::Off, Pipelining::Group] {
        for at in 0..16 {
            for end in at + 1..at + 4 {
                let surplus = vec![Surplus { at, is_early: false, code: 550 }];
                let faults = Faults { surplus, hangs_up_at: Some(end), ..Faults::default() };
                let falsely = falsely_told(pipelining, &messages, &faults);
                assert!(falsely.is_empty(), "{pipelining:?} {faults:?}: {falsely:?}");
            }
        }
    }
}

/// A relay said one refusal too many where the reply to the final dot belongs, had taken the message, and
/// hung up. It bounced by that, and nobody was told that it may have arrived.
#[test]
fn a_relay_that_hangs_up_proves_no_refusal_of_the_dot() {
    let message =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [message(vec![true]), message(vec![true, false])];
    for pipelining in [Pipelining::Off, Pipelining::Group, Pipelining::Across] {
        for at in 0..16 {
            for code in [450, 550] {
                let surplus = vec![Surplus { at, is_early: true, code }];
                let faults = Faults { surplus, hangs_up_at: Some(at), says_last: true, ..Faults::default() };
                let falsely = falsely_told(pipelining, &messages, &faults);
                assert!(falsely.is_empty(), "{pipelining:?} {faults:?}: {falsely:?}");
            }
        }
    }
}

/// Returns the recipients that the queue would bounce falsely after two tries at the same message alone, since the same
/// refusal was said twice.
async fn bounced_at_the_second(pipelining: Pipelining, message: &Message, faults: &Faults) -> Vec<String> {
    let pace = Arc::new(RelayPace::new(pipelining));
    let code = |told: &RecipientReport| told.said[..3].to_owned();
    let mut unproven: Vec<(usize, String)> = vec![];
    let mut truly = HashSet::new();
    for _ in 0..2 {
        let was_refused = unproven.iter().any(|(_, code)| code.starts_with('5'));
        let alone = transactions(std::slice::from_ref(message));
        let alone = alone.into_iter().map(|alone| Transaction { was_refused, ..alone }).collect();
        let (reports, truth) = played_at(pace.clone(), alone, faults).await;
        let told = reports.iter().flat_map(|report| &report.recipients);
        let said_before = |told: &RecipientReport| unproven.contains(&(told.index, code(told)));
        let again: Vec<usize> = told
            .clone()
            .filter(|told| told.verdict == Verdict::Unproven && said_before(told))
            .map(|told| told.index)
            .collect();
        truly.extend(truth.refused);
        let named = again.iter().map(|index| address(0, *index, message.recipients[*index]));
        let falsely: Vec<String> = named.filter(|address| !truly.contains(address)).collect();
        if !falsely.is_empty() {
            return falsely;
        }
        let refused = told.filter(|told| matches!(told.verdict, Verdict::Unproven | Verdict::Deferred));
        unproven = refused.map(|told| (told.index, code(told))).collect();
    }
    vec![]
}

/// A relay that does the same at each try says one reply too many, and hangs up before it has answered
/// all of the group. The same words twice were believed, and a valid recipient bounced.
#[test]
fn the_same_reply_too_many_said_twice_bounces_nobody() {
    let messages =
        [vec![true], vec![true, false], vec![false, true, true], vec![true, true, false]].map(|recipients| {
            Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false }
        });
    for (message, at) in messages.iter().flat_map(|message| (0..8).map(move |at| (message, at))) {
        for (pipelining, end) in [Pipelining::Off, Pipelining::Group, Pipelining::Across]
            .into_iter()
            .flat_map(|pipelining| (at + 1..at + 6).map(move |end| (pipelining, end)))
        {
            let surplus = vec![Surplus { at, is_early: false, code: 550 }];
            let faults = Faults { surplus, hangs_up_at: Some(end), ..Faults::default() };
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let falsely = runtime.unwrap().block_on(bounced_at_the_second(pipelining, message, &faults));
            assert!(falsely.is_empty(), "{pipelining:?} {message:?} {faults:?}: {falsely:?}");
        }
    }
}

/// With the next group behind the final dot, one reply too many before the dot's own moved that to the
/// place of the next MAIL's. Where the replies came to an end with a refusal, or with the connection, the message
/// that the relay had taken was sent again without a word, or bounced.
#[test]
fn behind_a_dot_that_seems_refused_nothing_is_certain() {
    let taken =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [taken(vec![true]), taken(vec![false]), taken(vec![true])];
    for at in 0..12 {
        for hangs_up_at in (at..at + 4).map(Some).chain([None]) {
            let surplus = vec![Surplus { at, is_early: true, code: 550 }];
            let faults = Faults { surplus, hangs_up_at, says_last: true, ..Faults::default() };
            let falsely = falsely_told(Pipelining::Across, &messages, &faults);
            assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
        }
    }
}

/// The same happened, and 354 too many at the place of the next DATA's reply. It passed for that, with the true
/// replies right behind it, and the message that the relay had taken was sent again without a word.
#[test]
fn behind_a_dot_that_seems_refused_354_proves_nothing_where_more_is_said() {
    let message =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [message(vec![false, true]), message(vec![false])];
    for dot in 4..12 {
        for second in dot..dot + 4 {
            let early = |at, code| Surplus { at, is_early: true, code };
            let faults = Faults { surplus: vec![early(dot, 450), early(second, 354)], ..Faults::default() };
            let falsely = falsely_told(Pipelining::Across, &messages, &faults);
            assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
        }
    }
}

/// A relay said two refusals too many before its true reply to the dot, and the message that it had taken
/// was sent again without a word.
#[test]
fn two_refusals_at_a_dot_prove_nothing_where_more_is_said() {
    let taken = |from| Message { from, recipients: vec![true], is_content_good: true, is_long: false };
    let messages = [taken("ann@example.org"), taken("ben@example.org")];
    for at in 0..12 {
        for codes in [[450, 450], [450, 550], [550, 450], [550, 550]] {
            let surplus = codes.map(|code| Surplus { at, is_early: true, code }).to_vec();
            let faults = Faults { surplus, ..Faults::default() };
            let falsely = falsely_told(Pipelining::Off, &messages, &faults);
            assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
        }
    }
}

/// A relay on a busy host said one refusal too many behind 354, and its own reply to the dot more than
/// 200 ms later, in place of the one to RSET. The message that it had taken was sent again without a word.
#[test]
fn a_slow_relay_proves_no_refusal_by_its_silence() {
    let message =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [message(vec![true]), message(vec![false, true]), message(vec![false])];
    for pipelining in [Pipelining::Off, Pipelining::Group] {
        for at in 0..24 {
            for (is_early, code) in [(true, 451), (false, 451), (true, 550), (false, 550)] {
                let surplus = vec![Surplus { at, is_early, code }];
                let faults = Faults { surplus, speech: Speech::Slow, ..Faults::default() };
                let falsely = falsely_told(pipelining, &messages, &faults);
                assert!(falsely.is_empty(), "{pipelining:?} {faults:?}: {falsely:?}");
            }
        }
    }
}

/// An empty message was sent to a recipient whom the relay had taken. MAIL was refused by a reply too many, and 354, a
/// second one, seemed to ask for content for nobody.
#[test]
fn nobody_gets_an_empty_message() {
    let recipients = vec![true, false, false];
    let messages = [Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false }];
    for at in 0..6 {
        let early = |at, code| Surplus { at, is_early: true, code };
        let faults = Faults { surplus: vec![early(0, 450), early(at, 354)], ..Faults::default() };
        let falsely = falsely_told(Pipelining::Group, &messages, &faults);
        assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
    }
}

/// A slow relay did the same: it said the replies by which it took the recipients more than 200 ms after 354, which
/// came too early. The lone dot by which RFC 2920 3.1 leaves a data phase for nobody sent them an empty message.
#[test]
fn a_slow_relay_that_asks_for_content_too_early_gets_no_empty_message() {
    let message =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    for recipients in [vec![true], vec![true, false], vec![false, true, true]] {
        let messages = [message(recipients), message(vec![true])];
        for pipelining in [Pipelining::Group, Pipelining::Across] {
            for (refusal, early) in
                (0..12).flat_map(|first| (first..first + 6).map(move |second| (first, second)))
            {
                let surplus = [(refusal, 550), (early, 354)];
                let surplus = surplus.map(|(at, code)| Surplus { at, is_early: true, code }).to_vec();
                let faults = Faults { surplus, speech: Speech::Slow, ..Faults::default() };
                let falsely = falsely_told(pipelining, &messages, &faults);
                assert!(falsely.is_empty(), "{pipelining:?} {faults:?}: {falsely:?}");
            }
        }
    }
}

/// A slow relay said 354 too early to the group that was sent after a final dot, and its true replies more than 200 ms
/// later. That passed for the proof that a reply too many had refused the message, which the relay had taken.
#[test]
fn behind_a_dot_354_of_a_slow_relay_proves_nothing_where_more_is_said_later() {
    let message =
        |recipients| Message { from: "ann@example.org", recipients, is_content_good: true, is_long: false };
    let messages = [message(vec![false, true]), message(vec![false, false, true])];
    for dot in 4..12 {
        for second in dot..dot + 6 {
            for is_early in [true, false] {
                let faulty = |at, code| Surplus { at, is_early, code };
                let surplus = vec![faulty(dot, 450), faulty(second, 354)];
                let faults = Faults { surplus, speech: Speech::Slow, ..Faults::default() };
                let falsely = falsely_told(Pipelining::Across, &messages, &faults);
                assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
            }
        }
    }
}

/// A slow relay refused one recipient by a reply too many, and said 354 too early to the same group. The content
/// followed, and the late reply to a RCPT passed for that to the final dot of a message that was refused.
#[test]
fn a_group_with_a_refusal_has_all_its_replies_before_the_content() {
    let recipients = vec![false, true, true];
    let messages = [Message { from: "ann@example.org", recipients, is_content_good: false, is_long: false }];
    for (refusal, early) in (0..5).flat_map(|first| (0..5).map(move |second| (first, second))) {
        let surplus = [(refusal, 450), (early, 354)];
        let surplus = surplus.map(|(at, code)| Surplus { at, is_early: false, code }).to_vec();
        let faults = Faults { surplus, speech: Speech::Slow, ..Faults::default() };
        let falsely = falsely_told(Pipelining::Group, &messages, &faults);
        assert!(falsely.is_empty(), "{faults:?}: {falsely:?}");
    }
}

#[test]
fn without_a_reply_too_many_everybody_has_a_verdict() {
    let good = Message {
        from: "ann@example.org",
        recipients: vec![true, false, true],
        is_content_good: true,
        is_long: true,
    };
    let refused = Message { is_content_good: false, ..good.clone() };
    let from_nobody = Message { from: "no@example.org", ..good.clone() };
    let to_nobody = Message { recipients: vec![false, false], ..good.clone() };
    let messages = [good.clone(), refused, good.clone(), from_nobody, to_nobody, good];
    for pipelining in [Pipelining::Off, Pipelining::Group] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (reports, truth) = runtime.unwrap().block_on(played(pipelining, &messages, &Faults::default()));
        let verdicts = reports.iter().flat_map(|report| &report.recipients).map(|told| told.verdict);
        let counted = |wanted| verdicts.clone().filter(|verdict| *verdict == wanted).count();
        assert_eq!((counted(Verdict::Sent), counted(Verdict::Bounced)), (6, 11), "{pipelining:?}");
        assert_eq!(truth.taken.len(), 6);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Promises 2 and 3. Written across, 2xx said before the final dot's own reply is the exception of the header:
    /// behind it come replies that are awaited, so that nothing shows. So is 2xx of a slow relay, whose own reply to the
    /// dot comes later, and 2xx of a relay that hangs up in place of its own reply.
    #[test]
    fn nobody_is_told_what_is_not_true(
        messages in messages(),
        surplus in surplus(),
        hangs_up_at in prop::option::of(0_usize..40),
        says_last in any::<bool>(),
        speech in prop::sample::select(vec![Speech::Terse, Speech::Slow]),
        pipelining in prop::sample::select(vec![Pipelining::Off, Pipelining::Group, Pipelining::Across]),
    ) {
        let mut surplus = surplus;
        let is_last = |surplus: &Surplus| says_last && surplus.is_early && hangs_up_at == Some(surplus.at);
        surplus.retain(|surplus| surplus.code != 250 || !is_last(surplus));
        match (speech, pipelining) {
            (Speech::Slow, _) => surplus.retain(|surplus| surplus.code != 250),
            (_, Pipelining::Across) => surplus.retain(|surplus| surplus.code != 250 || !surplus.is_early),
            _ => {}
        }
        let faults = Faults { surplus, hangs_up_at, says_last, speech };
        let falsely = falsely_told(pipelining, &messages, &faults);
        prop_assert!(falsely.is_empty(), "{:?}", falsely);
    }
}
