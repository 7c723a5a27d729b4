//! A line of the log as it is read again: from the journal, or from a file in any form in which nullmta writes one.
//!
//! Promises: what is no line of nullmta is `None`. A line whose end is missing is read as far as it goes, and its text says that it is
//! cut. Whatever a line holds, what is shown of it is one line, without characters that could control a terminal.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;

use crate::log::is_harmful;
use crate::queue_id::QueueId;

/// The number of letters of a queue id.
const ID_LETTERS: usize = 16;
/// What stands behind the text of a line whose end is missing.
const CUT: &str = " ... (cut)";

/// A line of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoryLine {
    /// When it was logged; `None` if the line has no time that can be compared.
    pub(super) time: Option<Timestamp>,
    /// The time as it is shown; empty if none is known.
    pub(super) stamp: String,
    /// `INFO`, `WARN`, `ERROR` or `DEBUG`; empty if it is not known.
    pub(super) level: &'static str,
    /// The text, which is the same in each form.
    pub(super) text: String,
}

impl fmt::Display for StoryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.stamp.is_empty() {
            write!(f, "{} ", Visible(&self.stamp))?;
        }
        if !self.level.is_empty() {
            write!(f, "{:5} ", self.level)?;
        }
        write!(f, "{}", Visible(&self.text))
    }
}

/// A text of any length in which every character that could control a terminal is escaped. The log has escaped and cut it already,
/// unless somebody else wrote it.
struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match is_harmful(c) {
            true => write!(f, "{}", c.escape_default()),
            false => write!(f, "{c}"),
        })
    }
}

/// A line of `log.format = "json"`, as far as it is of concern.
#[derive(Deserialize)]
struct JsonForm {
    timestamp: Option<String>,
    level: Option<String>,
    message: String,
}

/// An entry of `journalctl --output=json`.
#[derive(Deserialize)]
struct JournalEntry {
    #[serde(rename = "MESSAGE")]
    message: JournalText,
    #[serde(rename = "PRIORITY")]
    priority: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    microseconds: String,
}

/// A field of the journal: octets where it is no UTF-8.
#[derive(Deserialize)]
#[serde(untagged)]
enum JournalText {
    Text(String),
    Octets(Vec<u8>),
}

impl StoryLine {
    /// Reads an entry that `journalctl --output=json` has printed.
    pub(super) fn of_journal(entry: &str) -> Option<StoryLine> {
        let entry: JournalEntry = serde_json::from_str(entry).ok()?;
        let text = match entry.message {
            JournalText::Text(text) => text,
            JournalText::Octets(octets) => String::from_utf8_lossy(&octets).into_owned(),
        };
        let time = Timestamp::from_microsecond(entry.microseconds.parse().ok()?).ok()?;
        let level = entry.priority.as_deref().map_or("", level_of);
        let line = StoryLine::of_text(&text).unwrap_or_else(|| StoryLine { text, ..StoryLine::default() });
        let level = if line.level.is_empty() { level } else { line.level };
        Some(StoryLine { time: Some(time), stamp: format!("{time:.3}"), level, ..line })
    }

    /// Reads a line of a file; `is_cut` if its end is missing.
    pub(super) fn of_file(raw: &str, is_cut: bool) -> Option<StoryLine> {
        let mut line = StoryLine::of_text(raw).or_else(|| StoryLine::of_syslog(raw))?;
        if is_cut {
            line.text += CUT;
        }
        Some(line)
    }

    /// Reads a line as nullmta has written it.
    fn of_text(raw: &str) -> Option<StoryLine> {
        if raw.starts_with('{') {
            return Some(StoryLine::of_json(raw));
        }
        if let Some((priority, text)) = raw.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            let is_priority = priority.len() == 1 && priority.bytes().all(|octet| octet.is_ascii_digit());
            return is_priority.then(|| StoryLine {
                level: level_of(priority),
                text: text.to_owned(),
                ..StoryLine::default()
            });
        }
        StoryLine::of_timed(raw)
            .or_else(|| id_of(raw).map(|_| StoryLine { text: raw.to_owned(), ..StoryLine::default() }))
    }

    /// Reads a line of `log.format = "json"`, which may be cut anywhere.
    fn of_json(raw: &str) -> StoryLine {
        match serde_json::from_str::<JsonForm>(raw) {
            Ok(JsonForm { timestamp, level, message }) => {
                let stamp = timestamp.unwrap_or_default();
                let time = stamp.parse().ok();
                StoryLine {
                    time,
                    stamp,
                    level: level.as_deref().and_then(named_level).unwrap_or(""),
                    text: message,
                }
            }
            Err(_) => {
                let text = raw.split_once("\"message\":\"").map_or(raw, |(_, text)| text);
                StoryLine { text: format!("{text}{CUT}"), ..StoryLine::default() }
            }
        }
    }

    /// Reads a line with time and level.
    fn of_timed(raw: &str) -> Option<StoryLine> {
        let (stamp, rest) = raw.split_once(' ')?;
        let time = Timestamp::from_str(stamp).ok()?;
        let (level, text) = rest.split_at_checked(5)?;
        let text = text.strip_prefix(' ').unwrap_or(text).to_owned();
        Some(StoryLine { time: Some(time), stamp: stamp.to_owned(), level: named_level(level)?, text })
    }

    /// Reads a line of syslog, or of `journalctl`: `Nov 29 10:00:00 web1 nullmta[812]: …`. Its time has no year, as a rule.
    fn of_syslog(raw: &str) -> Option<StoryLine> {
        let (host, rest) = raw.split_once(" nullmta[")?;
        let (pid, text) = rest.split_once("]: ")?;
        if !pid.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        let stamp = host.rsplit_once(' ').map_or("", |(stamp, _)| stamp).to_owned();
        let line = StoryLine::of_text(text);
        let line = line.unwrap_or_else(|| StoryLine { text: text.to_owned(), ..StoryLine::default() });
        let time = line.time.or_else(|| stamp.parse().ok());
        Some(StoryLine { stamp, time, ..line })
    }

    /// Returns the queue id of the message that the line is about.
    pub(super) fn id(&self) -> Option<QueueId> {
        id_of(&self.text)
    }

    /// Returns the queue id of the report that this line says to be made.
    pub(super) fn report(&self) -> Option<QueueId> {
        self.id()?;
        let said = self.text.get(ID_LETTERS + 2..)?;
        let is_one = said.starts_with("sender ") || said.starts_with("not picked up from ");
        // What the daemon answered at the pick-up may hold these words, too; what comes of it is said behind that.
        let (_, behind) = said.rsplit_once("notification: ").filter(|_| is_one)?;
        behind.get(..ID_LETTERS)?.parse().ok()
    }
}

/// Returns the queue id at the start of `text`, which stands before a colon.
fn id_of(text: &str) -> Option<QueueId> {
    let (id, rest) = text.split_at_checked(ID_LETTERS)?;
    rest.starts_with(": ").then(|| id.parse().ok())?
}

/// Returns the level of this name, which spaces may follow.
fn named_level(name: &str) -> Option<&'static str> {
    ["ERROR", "WARN", "INFO", "DEBUG"].into_iter().find(|level| *level == name.trim_end())
}

/// Returns the level with this priority of syslog(3).
fn level_of(priority: &str) -> &'static str {
    match priority {
        "0" | "1" | "2" | "3" => "ERROR",
        "4" => "WARN",
        "5" | "6" => "INFO",
        "7" => "DEBUG",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "18A4F1C9A02B3D40: removed";

    fn shown(line: Option<StoryLine>) -> String {
        line.map_or("none".into(), |line| line.to_string())
    }

    #[test]
    fn a_line_reads_the_same_in_each_form() {
        let timed = format!("2026-11-21T02:10:00.123Z INFO  {TEXT}");
        let json = r#"{"timestamp":"2026-11-21T02:10:00.123Z","level":"INFO","message":"18A4F1C9A02B3D40: removed","queue_id":"18A4F1C9A02B3D40"}"#;
        for raw in [&*timed, json] {
            assert_eq!(shown(StoryLine::of_file(raw, false)), timed, "{raw}");
        }
        let journal = |message: &str| {
            format!(r#"{{"MESSAGE":{message},"PRIORITY":"6","__REALTIME_TIMESTAMP":"1795227000123000"}}"#)
        };
        let time: Timestamp = "2026-11-21T02:10:00.123Z".parse().unwrap();
        let microseconds = time.as_microsecond().to_string();
        for message in
            [format!("\"{TEXT}\""), serde_json::to_string(json).unwrap(), format!("{:?}", TEXT.as_bytes())]
        {
            let entry = journal(&message).replace("1795227000123000", &microseconds);
            assert_eq!(shown(StoryLine::of_journal(&entry)), timed, "{entry}");
        }
    }

    #[test]
    fn lines_of_syslog_and_lines_without_a_time_are_read() {
        for (raw, line) in [
            (
                "Nov 29 10:00:00 web1 nullmta[812]: 18A4F1C9A02B3D40: removed",
                "Nov 29 10:00:00 18A4F1C9A02B3D40: removed",
            ),
            ("<4>relay paused: x", "WARN  relay paused: x"),
            ("18A4F1C9A02B3D40: removed", TEXT),
        ] {
            assert_eq!(shown(StoryLine::of_file(raw, false)), line, "{raw}");
        }
        for other in [
            "",
            "thread panicked",
            "<x>y",
            "2026-11-21T02:10:00Z",
            "2026-11-21T02:10:00Z NOTE  x",
            "é18A4F1C9A02B3D40: x",
        ] {
            assert_eq!(shown(StoryLine::of_file(other, false)), "none", "{other}");
        }
    }

    #[test]
    fn a_line_that_is_cut_is_read_as_far_as_it_goes() {
        let json =
            r#"{"timestamp":"2026-11-21T02:10:00Z","level":"INFO","message":"18A4F1C9A02B3D40: to=<ann@exa"#;
        let line = StoryLine::of_file(json, false).unwrap();
        assert_eq!(
            (line.id().map(|id| id.to_string()).as_deref(), &*line.text),
            (Some("18A4F1C9A02B3D40"), "18A4F1C9A02B3D40: to=<ann@exa ... (cut)")
        );
        assert!(StoryLine::of_file(TEXT, true).unwrap().text.ends_with("removed ... (cut)"));
    }

    #[test]
    fn a_file_cannot_control_the_terminal() {
        let raw = "2026-11-21T02:10:00Z INFO  18A4F1C9A02B3D40: \u{1b}[2J\u{202e}";
        assert!(shown(StoryLine::of_file(raw, false)).ends_with("18A4F1C9A02B3D40: \\u{1b}[2J\\u{202e}"));
    }

    #[test]
    fn the_report_is_the_one_that_nullmta_names() {
        let report = |text: &str| {
            StoryLine { text: text.into(), ..StoryLine::default() }.report().map(|id| id.to_string())
        };
        let named = Some("18A4F1C9B1443A11".to_owned());
        assert_eq!(report("18A4F1C9A02B3D40: sender non-delivery notification: 18A4F1C9B1443A11"), named);
        assert_eq!(
            report(
                "18A4F1C9A02B3D40: not picked up from x: 550 notification: 18A4F1C9A02B0000; sender non-delivery notification: \
                 18A4F1C9B1443A11; it is now y"
            ),
            named
        );
        assert_eq!(
            report("18A4F1C9A02B3D40: to=<x>, status=bounced (550 notification: 18A4F1C9B1443A11)"),
            None
        );
        assert_eq!(report("NOQUEUE: notification: 18A4F1C9B1443A11"), None);
        assert_eq!(report(TEXT), None);
    }
}
