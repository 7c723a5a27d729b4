//! Transactions that are full: the relay takes so many recipients and no more.

use super::*;

const FULL: &str = "452 4.5.3 too many recipients";
const OK: &str = "250 2.0.0 ok";

/// Returns the results of three recipients by these replies to RCPT, to DATA, and to the dot where somebody is taken;
/// and whether the connection goes on.
async fn told(rcpts: [&str; 3], data: &str, dot: &str) -> (Vec<String>, bool) {
    let message = transaction(1, "ann@example.org", &["a@x", "b@x", "c@x"], "hello\r\n");
    let mut script = "C: MAIL FROM:<ann@example.org>\nC: RCPT TO:<a@x>\nC: RCPT TO:<b@x>\nC: RCPT TO:<c@x>\n\
                      C: DATA\nS: 250 2.1.0 ok\n"
        .to_owned();
    rcpts.iter().for_each(|reply| script += &format!("S: {reply}\n"));
    script += &format!("S: {data}\n");
    if data.starts_with('3') {
        script += &format!("C: hello\nC: .\nS: {dot}\n");
    }
    if !data.starts_with('3') || !dot.starts_with('2') {
        script += "C: RSET\nS: 250 2.0.0 ok\nC: RSET\nS: 250 2.0.0 ok\n";
    }
    let ended = run(pipelining(), &script, vec![message]).await;
    ended.result.unwrap();
    let brief = |told: &str| told.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let told = ended.given.told().iter().map(|told| brief(told.trim_start_matches("1/"))).collect();
    (told, ended.rest.contains("QUIT"))
}

/// Those behind the last one taken waited for their next attempt, fifty at a time: 13 hours for a thousand. And Exim
/// (`recipients_max_reject`) refuses DATA or the dot of such a transaction: those whom it had taken bounced.
#[tokio::test(start_paused = true)]
async fn a_full_transaction_is_told_from_refused_recipients() {
    let table = [
        ("452", [OK, FULL, FULL], "354 go", OK, ["sent", "too many", "too many"]),
        ("bare 452", [OK, "452 enough", "452 enough"], "354 go", OK, ["sent", "too many", "too many"]),
        ("552", [OK, OK, "552 too many"], "354 go", OK, ["sent", "sent", "too many"]),
        ("550 5.5.3", [OK, OK, "550 5.5.3 too many"], "354 go", OK, ["sent", "sent", "too many"]),
        ("a mailbox", [OK, OK, "452 4.2.2 full"], "354 go", OK, ["sent", "sent", "deferred"]),
        ("the disk", [OK, OK, "452 4.3.1 no room"], "354 go", OK, ["sent", "sent", "deferred"]),
        ("in the middle", [OK, FULL, OK], "354 go", OK, ["sent", "deferred", "sent"]),
        ("unknown beside", [OK, "550 5.1.1 no", FULL], "354 go", OK, ["sent", "bounced", "too many"]),
        ("from the first", [FULL, FULL, FULL], "554 no", OK, ["deferred", "deferred", "deferred"]),
        ("for good", ["550 5.5.3 x", "550 5.1.1 no", OK], "354 go", OK, ["deferred", "bounced", "sent"]),
        ("DATA refused", [OK, OK, FULL], "554 too many", OK, ["deferred", "deferred", "too many"]),
        ("dot refused", [OK, OK, FULL], "354 go", "554 too many", ["deferred", "deferred", "too many"]),
    ];
    for (what, rcpts, data, dot, expected) in table {
        let (told, goes_on) = told(rcpts, data, dot).await;
        let expected: Vec<String> =
            expected.iter().enumerate().map(|(n, verdict)| format!("{n} {}", word(verdict))).collect();
        assert_eq!((told, goes_on), (expected, true), "{what}");
    }
}

/// The first word of what is told.
fn word(verdict: &str) -> &str {
    verdict.split(' ').next().unwrap()
}

/// A relay that counts recipients over a whole session takes none of a second transaction: it is the connection
/// that is full, and another one goes on.
#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nobody_any_more_is_left() {
    let reset = "C: RSET\nS: 250 ok\nC: RSET\nS: 250 ok\n";
    for (data, then) in [("554 5.5.1 nobody", reset), ("354 go", "")] {
        let script = format!(
            "{ENVELOPE}{TAKEN}C: one\nC: .\nS: 250 ok\n{ENVELOPE}S: 250 ok\nS: {FULL}\nS: {data}\n{then}"
        );
        let messages = vec![message(1, "one"), message(2, "two"), message(3, "three")];
        let ended = run(pipelining(), &script, messages).await;
        ended.result.unwrap();
        let verdicts: Vec<Verdict> =
            ended.given.reports.iter().flat_map(|report| &report.recipients).map(|r| r.verdict).collect();
        assert_eq!((verdicts, ended.given.messages.len()), (vec![Verdict::Sent, Verdict::TooMany], 1));
        assert_eq!(ended.rest, "");
    }
}

/// Google's relay takes one domain in a transaction, and says so of each recipient of another one.
#[tokio::test(start_paused = true)]
async fn recipients_of_other_domains_go_in_another_transaction_where_the_relay_wants_that() {
    const OTHER: &str = "451 4.3.0 Multiple destination domains per transaction is unsupported.";
    let said = |rcpts: [&str; 3], dot: &str, end: &str| {
        format!(
            "C: MAIL FROM:<ann@example.org>\nC: RCPT TO:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@x>\nC: DATA\n\
             S: {OK}\nS: {}\nS: {}\nS: {}\nS: 354 go\nC: hello\nC: .\nS: {dot}\n{end}C: QUIT\nS: 221 bye",
            rcpts[0], rcpts[1], rcpts[2]
        )
    };
    let resets = "C: RSET\nS: 250 ok\nC: RSET\nS: 250 ok\n";
    for (rcpts, dot, end, expected) in [
        ([OK, OTHER, OK], OK, "", [Verdict::Sent, Verdict::TooManyDomains, Verdict::Sent]),
        ([OTHER, OK, OK], OK, "", [Verdict::Deferred, Verdict::Sent, Verdict::Sent]),
        ([OK, OK, OK], OTHER, resets, [Verdict::TooManyDomains; 3]),
    ] {
        let message = transaction(1, "ann@example.org", &["a@x", "b@y", "c@x"], "hello\r\n");
        let ended = run(pipelining(), &said(rcpts, dot, end), vec![message]).await;
        ended.result.unwrap();
        let verdicts: Vec<Verdict> =
            ended.given.reports[0].recipients.iter().map(|recipient| recipient.verdict).collect();
        assert_eq!(verdicts, expected, "{rcpts:?} {dot}");
    }
}
