//! Lines before, between and in place of header lines, as the real program takes them in. There is one table, and each
//! row goes through SMTP, `sendmail` with a recipient and `sendmail -t`; the message that a relay gets is judged.
//!
//! Every row must keep this: no other recipient learns who is in Bcc, and with `-t` those in Bcc get the message; From is
//! the one that was written; all that follows the header is the body. Or the message is refused, in the same sentence
//! everywhere, and nothing of it is sent.

#![allow(missing_docs, reason = "a test")]

mod daemon;
mod far_end;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daemon::{Daemon, SinkProcess};
use far_end::client::converse;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nullmta");

const FROM: &str = "From: ann@author.example\n";
const TO: &str = "To: bob@to.example\n";
const REST: &str = "Subject: s\nDate: Sat, 21 Nov 2026 02:10:00 +0000\n";
const BCC: &str = "Bcc: hidden@secret.example\n";
const BODY: &str = "\nbody\n";

/// The result that a message must have.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Bcc is a field: a recipient with `-t`, and nobody else is told.
    Field,
    /// The same, but with `-t` the message is refused, since a recipient cannot be read.
    FieldUnreadable,
    /// There is no Bcc: it goes on as it is.
    Text,
    /// The same, and its From is not the message's.
    TextAlone,
    /// All three refuse it in this sentence.
    Refused(&'static str),
}
use Fate::{Field, FieldUnreadable, Refused, Text, TextAlone};

const BEHIND_CR: Fate = Refused("a Bcc stands behind a CR that ends no line: end lines with CRLF");
const INDENTED: Fate = Refused("a Bcc stands on an indented line within another field: indent no field");
const TOO_FAR: Fate = Refused("a Bcc stands behind too many lines that are no header");

struct Row {
    content: Vec<u8>,
    fate: Fate,
}

fn row(content: impl AsRef<[u8]>, fate: Fate) -> Row {
    Row { content: content.as_ref().to_vec(), fate }
}

/// Lines that are no field, and what becomes of a message with them before its header, or in it.
const JUNK: &[&[u8]] = &[
    b"From ann Sat Nov 21 02:10:00 2026\n",
    b">From ann Sat Nov 21 02:10:00 2026\n",
    b"From ann\n",
    b" \t\n",
    b"\0\0\n",
    b"\x0c\n",
    b"\x0b\n",
    b"\x1b[0m\n",
    b"\xA0\n",
    "\u{a0}\n".as_bytes(),
    "\u{200b}\n".as_bytes(),
    "\u{2028}\n".as_bytes(),
    "\u{3000}\n".as_bytes(),
    b"no colon\n",
    b"two words: x\n",
    "N\u{e4}me: x\n".as_bytes(),
    b": nameless\n",
    b"GET /mail HTTP/1.1\n",
    b"HTTP/1.1 200 OK\n",
    b"--- 8< ---\n",
    b"<html>\n",
    b"=20\n",
    b"X-Field\n",
    b"\xFF\xFE\n",
];

/// A line in place of Bcc, and whether it is one.
const SPELLINGS: &[(&str, Fate)] = &[
    ("BCC: hidden@secret.example\n", Field),
    ("Bcc:hidden@secret.example\n", Field),
    ("Bcc : hidden@secret.example\n", Field),
    ("Bcc\t: hidden@secret.example\n", Field),
    ("Bcc:\n hidden@secret.example\n", Field),
    ("Bcc:\n\thidden@secret.example,\n hidden@other.example\n", Field),
    ("Bcc:\nhidden@secret.example\n", Field),
    ("Bcc: hidden@secret.example,\nhidden@other.example\n", Field),
    ("Bcc: hidden@secret.example\n, hidden@other.example\n", Field),
    ("B cc: hidden@secret.example\n", Field),
    (">Bcc: hidden@secret.example\n", Field),
    ("> > Bcc: hidden@secret.example\n", Field),
    ("- Bcc: hidden@secret.example\n", Field),
    ("* Bcc: hidden@secret.example\n", Field),
    ("\"Bcc\": hidden@secret.example\n", Field),
    ("\0Bcc: hidden@secret.example\n", Field),
    ("B\0cc: hidden@secret.example\n", Field),
    ("\u{feff}Bcc: hidden@secret.example\n", Field),
    ("\u{a0}Bcc: hidden@secret.example\n", Field),
    ("\u{200b}Bcc: hidden@secret.example\n", Field),
    ("B\u{ad}cc: hidden@secret.example\n", Field),
    ("\u{2028}Bcc: hidden@secret.example\n", Field),
    ("\u{85}Bcc: hidden@secret.example\n", Field),
    ("\x0cBcc: hidden@secret.example\n", Field),
    ("\x0bBcc: hidden@secret.example\n", Field),
    ("Bcc\u{a0}: hidden@secret.example\n", Field),
    ("Bcc\u{ff1a}hidden@secret.example\n", Field),
    ("Bcc\u{fe55} hidden@secret.example\n", Field),
    ("\u{ff22}\u{ff43}\u{ff43}\u{ff1a} hidden@secret.example\n", Field),
    ("\u{ff22}\u{ff23}\u{ff23}: hidden@secret.example\n", Field),
    ("Bcc; hidden@secret.example\n", Field),
    ("Bcc hidden@secret.example\n", Field),
    ("Bcc <hidden@secret.example>\n", Field),
    ("Bcc\n : hidden@secret.example\n", Field),
    ("Bcc\n hidden@secret.example\n", Field),
    ("Bcc\n: hidden@secret.example\n", Field),
    ("Bcc\nhidden@secret.example\n", Field),
    ("Bcc\nhidden@secret.example,\nhidden@other.example\n", Field),
    // Written for a terminal, a browser, or by what encodes every text.
    ("\x1b[0mBcc: hidden@secret.example\n", Field),
    ("\x1b[1;31mBcc\x1b[0m: hidden@secret.example\n", Field),
    ("\x1b[1mBcc:\x1b[0m hidden@secret.example\n", Field),
    ("\x1b]0;title\x07Bcc: hidden@secret.example\n", Field),
    ("\u{9b}1mBcc: hidden@secret.example\n", Field),
    ("^[[0mBcc: hidden@secret.example\n", Field),
    ("[0mBcc: hidden@secret.example\n", Field),
    ("\x1b[1mBcc\x1b[0m\n : hidden@secret.example\n", Field),
    ("\\nBcc: hidden@secret.example\n", Field),
    ("**Bcc:** hidden@secret.example\n", FieldUnreadable),
    ("<b>Bcc: hidden@secret.example\n", Field),
    ("<b>Bcc</b>: hidden@secret.example\n", Field),
    ("<b>Bcc:</b> hidden@secret.example\n", Field),
    ("<b>Bcc: hidden@secret.example</b>\n", FieldUnreadable),
    ("<font color=\"red\">Bcc</font>: hidden@secret.example<br>\n", FieldUnreadable),
    ("<b>Bcc</b>\n: hidden@secret.example\n", Field),
    ("&nbsp;Bcc: hidden@secret.example\n", Field),
    ("=?utf-8?q?Bcc?=: hidden@secret.example\n", Field),
    ("=?utf-8?Q?=42cc?= : hidden@secret.example\n", Field),
    ("=?utf-8?b?QmNj?=: hidden@secret.example\n", Field),
    ("=?utf-8?q?Bcc:_hidden@secret.example?=\n", FieldUnreadable),
    ("=?utf-8?q?Bcc:?= hidden@secret.example\n", Field),
    ("Resent-To: bob@to.example\nResent Bcc: hidden@secret.example\n", Field),
    ("bcc=hidden@secret.example\n", Field),
    ("Bcc -> hidden@secret.example\n", FieldUnreadable),
    ("Bcc, hidden@secret.example\n", Field),
    ("Bcc (secret): hidden@secret.example\n", FieldUnreadable),
    ("Bcc: hidden@secret.example hidden@other.example\n", Field),
    ("Bcc: hidden@secret.example Ann <hidden@other.example>\n", FieldUnreadable),
    ("Bcc: Ann <hidden@secret.example> Bob <hidden@other.example>\n", Field),
    ("Bcc: hidden@secret.example\0\n", FieldUnreadable),
    ("X-Bcc: said@secret.example\n", Text),
    ("Bcc-List: said@secret.example\n", Text),
    ("Blind-Copy: said@secret.example\n", Text),
    ("\u{412}\u{441}\u{441}: said@secret.example\n", Text),
    ("=?utf-8?q?X-Bcc?=: said@secret.example\n", Text),
    ("X-Note: Bcc: said@secret.example\n", Text),
    ("X-Note: a shell that reads no \\nBcc: said@secret.example\n", Text),
    // Somebody else's mail, quoted with the initials of who wrote it.
    ("JD> Bcc: said@secret.example\n\n", Text),
    // A body in HTML without an empty line before it, which shows a header.
    ("<html>\n<b>Bcc:</b> said@secret.example<br>\n\n", Text),
    ("<!-- x -->\n<p>Dear Bob</p>\n<b>From:</b> x@y<br>\n<b>Bcc:</b> said@secret.example\n\n", Text),
    ("Comments: as in\n Bcc: said@secret.example\n", Text),
];

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for junk in JUNK {
        let header = [FROM, TO, REST, BCC, BODY].concat();
        rows.push(row([junk, header.as_bytes()].concat(), Field));
        let (before, behind) = ([FROM, TO, REST].concat(), [BCC, BODY].concat());
        rows.push(row([before.as_bytes(), junk, behind.as_bytes()].concat(), Field));
        let behind = [TO, REST, BCC, BODY].concat();
        rows.push(row([FROM.as_bytes(), junk, behind.as_bytes()].concat(), Field));
    }
    for (line, fate) in SPELLINGS {
        rows.push(row([FROM, TO, REST, line, BODY].concat(), *fate));
        if *fate != Text {
            rows.push(row([line, FROM, TO, REST, BODY].concat(), *fate));
        }
    }
    rows.extend(shapes());
    rows
}

/// Returns rows for the shapes of a whole header.
fn shapes() -> Vec<Row> {
    let header = [FROM, TO, REST, BCC].concat();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let indented = |by: &str| header.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
    let junk = "no field, and no empty line\n".repeat(2600);
    let quoted = "Bcc: said@secret.example\n";
    vec![
        row([&header, BODY].concat(), Field),
        row(crlf(&[&header, BODY].concat()), Field),
        row([&crlf(&header), BODY].concat(), Field),
        row([&crlf(FROM), TO, &crlf(REST), BCC, BODY].concat(), Field),
        row([&header, BODY].concat().replace('\n', "\r\r\n"), Field),
        // Before the header.
        row(["\u{feff}", &header, BODY].concat(), Field),
        row(["\u{feff}\n", &header, BODY].concat(), Field),
        row(["\n", &header, BODY].concat(), Field),
        row(["\n \t\n\n", &header, BODY].concat(), Field),
        row([&"\n".repeat(40_000), &header, BODY].concat(), TOO_FAR),
        row([&junk, &header, BODY].concat(), TOO_FAR),
        row([&"x".repeat(200_000), "\n", &header, BODY].concat(), TOO_FAR),
        row([FROM, TO, REST, &junk, BCC, BODY].concat(), TOO_FAR),
        row(
            [FROM, TO, REST, &"x".repeat(200_000), "\nB cc\n : hidden@secret.example\n", BODY].concat(),
            TOO_FAR,
        ),
        // Indented, as a whole or but for the first line.
        row([&indented(" "), BODY].concat(), Field),
        row([&indented("\t"), BODY].concat(), Field),
        row([&indented("    "), "    ", BODY].concat(), Field),
        row(["\n", &indented("  "), BODY].concat(), Field),
        row([&indented("  ").replace("bob@", "\n    bob@"), BODY].concat(), Field),
        row([FROM, TO, "Subject: s\n Bcc: hidden@secret.example\n", BODY].concat(), INDENTED),
        row([FROM, "To: bob@to.example\n\tBcc: hidden@secret.example\n", REST, BODY].concat(), INDENTED),
        row(
            [FROM, TO, "Content-Type: text/plain;\n charset=x\n bcc : hidden@secret.example\n", BODY]
                .concat(),
            INDENTED,
        ),
        // CR alone.
        row([&header, BODY].concat().replace('\n', "\r"), BEHIND_CR),
        row([&header, BODY].concat().replace('\n', "\n\r"), BEHIND_CR),
        row([FROM, TO, "Subject: s\rBcc: hidden@secret.example\n", BODY].concat(), BEHIND_CR),
        row([FROM, TO, "Subject: s\r Bcc\r : hidden@secret.example\r\n", BODY].concat(), BEHIND_CR),
        // The same behind an empty line that came too early.
        row(["X-Mailer: m\n\n", &header.replace('\n', "\r"), BODY].concat(), BEHIND_CR),
        row(
            ["X-Mailer: m\n\n", FROM, "To: bob@to.example\rBcc: hidden@secret.example\n", BODY].concat(),
            BEHIND_CR,
        ),
        row(
            ["X-Mailer: m\r\n\r\n", FROM, TO, "Subject: s\r\rBcc: hidden@secret.example\r\n", BODY].concat(),
            BEHIND_CR,
        ),
        row(["X: x\n\nY: y\n\n", FROM, TO, "Bcc\r : hidden@secret.example\n", BODY].concat(), Field),
        row(
            ["\u{feff}X: x\n\n", FROM, TO, "Subject: s\r bcc; hidden@secret.example\n", BODY].concat(),
            BEHIND_CR,
        ),
        row(["X-Mailer: m\n\n", FROM, TO, "Subject: 10%\r20%\n", BCC, BODY].concat(), Field),
        row([FROM, TO, REST, "\n10%\rBcc: said@secret.example\n", BODY].concat(), Text),
        row(["Dear Bob\n\nSubject: s\rBcc: said@secret.example\n", BODY].concat(), TextAlone),
        // An empty line behind fields that make no message.
        row(["Content-Type: text/plain\n\n", &header, BODY].concat(), Field),
        row(["X-Mailer: m\nStatus: 200\n\n\n", &header, BODY].concat(), Field),
        row(["X-Mailer: m\n\nX-Other: o\n\n", &header, BODY].concat(), Field),
        row(["X-Mailer: m\n\n", FROM, TO, "B cc: hidden@secret.example\n", BODY].concat(), Field),
        row(["X-Mailer: m\n\n", FROM, TO, REST, BODY].concat(), Text),
        // A body that quotes a header is a body.
        row([FROM, TO, REST, "\n", quoted, BODY].concat(), Text),
        row([FROM, TO, REST, "\n", "From: x@y\nTo: z@y\n", quoted, BODY].concat(), Text),
        row([FROM, TO, REST, "no field\n\n", quoted, BODY].concat(), Text),
        row([FROM, TO, REST, &junk, "\n", quoted, BODY].concat(), Text),
        row([TO, "\nFrom: said@else.example\n", quoted, BODY].concat(), TextAlone),
        row(["Subject: s\n\n", "From: said@else.example\n", quoted, BODY].concat(), TextAlone),
        row(["X-Mailer: m\n\nDear Bob\n", quoted, BODY].concat(), TextAlone),
        row(
            ["MIME-Version: 1.0\nContent-Type: message/rfc822\n\nFrom: x@y\n", quoted, BODY].concat(),
            TextAlone,
        ),
        row(["Dear Bob,\nall is well.\n\n", quoted, BODY].concat(), TextAlone),
    ]
}

/// The ways into the program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Smtp,
    Sendmail,
    SendmailT,
}

/// A host with a daemon, and its relay.
struct Host {
    directory: tempfile::TempDir,
    _sink: SinkProcess,
    daemon: Daemon,
}

impl Host {
    fn start() -> Host {
        let directory = tempfile::tempdir().unwrap();
        let mail = directory.path().join("mail");
        let sink = SinkProcess::start(&["--envelope", "--maildir", mail.to_str().unwrap()]);
        let daemon = Daemon::start(directory.path(), sink.port);
        Host { directory, _sink: sink, daemon }
    }

    /// Hands in a message; what was said if it was refused.
    fn submit(&self, way: Way, from: &str, to: Option<&str>, content: &[u8]) -> Result<(), String> {
        if way == Way::Smtp {
            return self.submit_by_smtp(from, content);
        }
        let mut command = Command::new(PROGRAM);
        command.args(["sendmail", "-i", "-f", from, "-C"]).arg(self.directory.path().join("nullmta.toml"));
        command.args((way == Way::SendmailT).then_some("-t")).args(to);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that has seen enough does not read all of it.
        let _ = child.stdin.take().unwrap().write_all(content);
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        match status.code() {
            Some(0) => Ok(()),
            Some(65) => Err(said),
            code => panic!("{from}: exit code {code:?}: {said}"),
        }
    }

    fn submit_by_smtp(&self, from: &str, content: &[u8]) -> Result<(), String> {
        let mail = format!("MAIL FROM:<{from}>");
        let data = as_data(content);
        let said = [b"EHLO c", mail.as_bytes(), b"RCPT TO:<bob@to.example>", b"DATA", &data];
        let replies = converse(self.daemon.port, &said);
        let codes: Vec<&str> = replies.iter().map(|reply| &reply[0][..3]).collect();
        assert_eq!(codes[..4], ["250", "250", "250", "354"], "{from}: {replies:?}");
        if codes[4] == "250" { Ok(()) } else { Err(replies[4].join("\n")) }
    }

    /// Returns the messages that the relay got, by their reverse-paths, once it has got all.
    fn received(self) -> BTreeMap<String, Vec<u8>> {
        self.daemon.wait_for_queue_of(0);
        let files = fs::read_dir(self.directory.path().join("mail/new")).unwrap();
        files.map(|file| kept(&file.unwrap().path())).collect()
    }
}

/// Returns a message as the sink keeps it: its reverse-path, and all of it.
fn kept(file: &Path) -> (String, Vec<u8>) {
    let octets = fs::read(file).unwrap();
    let line = octets.split(|octet| *octet == b'\r').next().unwrap();
    let from = std::str::from_utf8(line).unwrap().strip_prefix("Return-Path: <").unwrap();
    (from.trim_end_matches('>').to_owned(), octets)
}

/// Returns content as a client of SMTP sends it. Line ends stay if there is a CR, since the row is about them. No line
/// begins with a dot.
fn as_data(content: &[u8]) -> Vec<u8> {
    let mut data = content.to_vec();
    if !content.contains(&b'\r') {
        data = content.split_inclusive(|octet| *octet == b'\n').flat_map(with_crlf).collect();
    }
    if !data.ends_with(b"\r\n") {
        data.extend_from_slice(b"\r\n");
    }
    data.push(b'.');
    data
}

fn with_crlf(line: &[u8]) -> Vec<u8> {
    line.strip_suffix(b"\n").map_or_else(|| line.to_vec(), |text| [text, b"\r\n"].concat())
}

impl Row {
    /// Returns whether it is taken that way as it must be, or refused in these words.
    fn is_right(&self, way: Way, refused: Option<&str>) -> bool {
        match self.fate {
            Field | Text | TextAlone => refused.is_none(),
            FieldUnreadable => refused.is_some() == (way == Way::SendmailT),
            Refused(sentence) => refused.is_some_and(|said| said.contains(sentence)),
        }
    }

    fn recipients(&self, way: Way) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(&self.content);
        let is_named = |who: &&str| way == Way::SendmailT && text.contains(*who);
        let hidden = ["hidden@secret.example", "hidden@other.example"].into_iter().filter(is_named);
        hidden.chain(["bob@to.example"]).map(str::to_owned).collect()
    }

    /// Returns the fault of the message that the relay got; `None` if it is right.
    fn fault(&self, way: Way, got: &[u8]) -> Option<&'static str> {
        let text = String::from_utf8_lossy(got).into_owned();
        let (envelope, content) = text.split_once("Received:").unwrap();
        let to = envelope.lines().filter_map(|line| line.strip_prefix("X-Envelope-To: <")?.strip_suffix('>'));
        let is_to = to.map(str::to_owned).collect::<BTreeSet<_>>() == self.recipients(way);
        let (header, body) = content.split_once("\r\n\r\n").unwrap();
        let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        let froms: Vec<_> = unfolded.lines().filter(|line| line.starts_with("From:")).collect();
        let is_to_bob = |line: &str| line.split_whitespace().eq(TO.split_whitespace());
        let is_alone = self.fate == TextAlone;
        let said = |octets: &str| octets.matches("said@secret.example").count();
        let is_field = self.fate == Field;
        let checks = [
            (is_to, "the recipients are others"),
            (!content.replace('\0', "").contains("hidden@"), "the Bcc is published"),
            (froms.len() == 1 && (froms[0].trim_end() == FROM.trim_end()) != is_alone, "From is another"),
            (is_alone || unfolded.lines().any(is_to_bob), "To is lost"),
            (said(content) == said(&String::from_utf8_lossy(&self.content)), "text is lost"),
            (
                body.trim_end().ends_with("body") && (!is_field || body.trim_end() == "body"),
                "the body is another",
            ),
        ];
        checks.iter().find(|(is_right, _)| !is_right).map(|(_, fault)| *fault)
    }

    /// As much of it as says which it is.
    fn shown(&self) -> String {
        let shown = &self.content[..self.content.len().min(200)];
        shown.escape_ascii().to_string()
    }
}

/// A Bcc went out to everybody behind a line that is no field, behind an empty line that a program wrote too early,
/// in a header that was indented as a whole, and behind 64 KiB of junk; each was tried at one entrance only.
#[test]
fn no_entrance_publishes_a_bcc_or_hides_from() {
    let host = Host::start();
    let rows = rows();
    let (mut taken, mut faults) = (Vec::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        for way in [Way::Smtp, Way::Sendmail, Way::SendmailT] {
            let from = format!("{way:?}.{number}@author.example");
            // Without a header there is nobody in it.
            let to = (way == Way::Sendmail || row.fate == TextAlone).then_some("bob@to.example");
            let refused = host.submit(way, &from, to, &row.content).err();
            if !row.is_right(way, refused.as_deref()) {
                faults.push(format!("{way:?} of {}: refused: {refused:?}", row.shown()));
            }
            if refused.is_none() {
                taken.push((from, way, row));
            }
        }
    }
    let received = host.received();
    assert_eq!(received.len(), taken.len(), "one copy of each");
    for (from, way, row) in taken {
        let got = &received[&from];
        if let Some(fault) = row.fault(way, got) {
            let got = String::from_utf8_lossy(&got[..got.len().min(1500)]).into_owned();
            faults.push(format!("{way:?} of {}: {fault}:\n{got}", row.shown()));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
