//! Every transcript in `tests/dialogs/`, against the session core: piece by piece as it stands in
//! the file, one octet at a time, and all that the client says at once. Then anything at all, in any pieces.

#[path = "dialogs/shell.rs"]
mod shell;
#[path = "dialogs/transcript.rs"]
mod transcript;

use std::path::Path;

use nullmta::smtp::session::{AuthCover, AuthOffer, SessionPolicy};
use proptest::prelude::*;
use shell::Shell;
use transcript::{Transcript, Turn};

/// A reply may say more than the transcript cares for; every other event is what it is.
fn agrees(actual: &str, expected: &str) -> bool {
    let more = actual.strip_prefix(expected);
    more.is_some_and(|more| more.is_empty() || (expected.starts_with("S: ") && more.starts_with(' ')))
}

/// How a transcript is cut into what the client says in one piece.
type Cut = fn(&Transcript) -> Vec<Turn>;

fn play(name: &str, text: &str, turns: Cut, piece: usize) {
    let mut transcript = Transcript::parse(text);
    let mut shell = Shell::new(&transcript.policy);
    shell.feed(transcript.preamble);
    let unheard = std::mem::take(&mut shell.events);
    assert!(unheard.iter().all(|event| !event.starts_with("S: 5")), "{unheard:?}");
    shell.answers = std::mem::take(&mut transcript.answers);
    for turn in turns(&transcript) {
        turn.said.chunks(piece).for_each(|octets| shell.feed(octets));
        let events = std::mem::take(&mut shell.events);
        let same = events.len() == turn.expected.len()
            && events.iter().zip(&turn.expected).all(|(actual, expected)| agrees(actual, expected));
        assert!(
            same,
            "{name}\nclient:   {}\nexpected: {:#?}\nactual:   {events:#?}",
            turn.said.escape_ascii(),
            turn.expected
        );
    }
    assert!(shell.answers.is_empty(), "never asked for: {:?}", shell.answers);
}

fn play_all(turns: Cut, piece: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut failed = Vec::new();
    let mut played = 0;
    for path in entries.filter(|path| path.extension().is_some_and(|extension| extension == "smtp")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if piece == 1 && !Transcript::parse(&text).by_octets {
            continue;
        }
        played += 1;
        let name = path.file_name().unwrap().to_string_lossy();
        let outcome = std::panic::catch_unwind(|| play(&name, &text, turns, piece));
        failed.extend(outcome.is_err().then(|| name.into_owned()));
    }
    assert!(failed.is_empty(), "of {played} transcripts: {failed:?}");
    assert!(played > 50, "only {played} transcripts found");
}

#[test]
fn as_they_stand() {
    play_all(|transcript| transcript.turns.clone(), usize::MAX);
}

#[test]
fn one_octet_at_a_time() {
    play_all(|transcript| transcript.turns.clone(), 1);
}

#[test]
fn all_at_once() {
    play_all(Transcript::at_once, usize::MAX);
}

/// Pieces of dialogues and of attacks on them.
fn fragments() -> impl Strategy<Value = Vec<&'static [u8]>> {
    let fragments: [&[u8]; 28] = [
        b"EHLO c\r\n",
        b"MAIL FROM:<ann@example.org>\r\n",
        b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\n",
        b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\nDATA\r\n",
        b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\nBDAT 7\r\n",
        b"RCPT TO:<root>\n",
        b"DATA\r\n",
        b"BDAT 3\r\n",
        b"BDAT 9 LAST\r\n",
        b"BDAT 70 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH PLAIN AGFubgB4\r\n",
        b"ETRN x\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\r\n..\r\n",
        b"\n.\n",
        b"\r.\r\n",
        b".\r\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"text",
        b"long enough to be over the limit for content",
        b" \xff ",
    ];
    prop::collection::vec(prop::sample::select(fragments.to_vec()), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn what_happens_does_not_depend_on_the_pieces(fragments in fragments(), piece in 1_usize..50) {
        let auth = AuthOffer::of(["PLAIN"], AuthCover::Nothing);
        let policy = SessionPolicy { max_message_size: 60, max_errors: 6, auth: Some(auth), ..transcript::policy() };
        let octets = [&b"EHLO c\r\n"[..], &fragments.concat()].concat();
        let mut whole = Shell::new(&policy);
        whole.feed(&octets);
        let mut cut = Shell::new(&policy);
        octets.chunks(piece).for_each(|octets| cut.feed(octets));
        prop_assert_eq!(whole.events, cut.events);
    }
}
