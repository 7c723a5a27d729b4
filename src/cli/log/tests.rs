use super::*;
use crate::cli::log::line::StoryLine;

fn printed(is_json: bool) -> String {
    let id = |raw| Some(QueueId::from_raw(raw));
    let mut out = StoryPrinter { out: Vec::new(), is_json, last: None, written: Ok(()) };
    let line = |text: &str| StoryLine {
        time: None,
        stamp: "2026-11-29T10:00:00.123Z".into(),
        level: "WARN",
        text: text.into(),
    };
    let first = Story { id: id(1), about: None };
    out.line(first, &line("0000000000000001: dead\u{202e}"));
    out.line(first, &line("0000000000000001: removed"));
    out.line(Story { id: id(2), about: id(1) }, &line("0000000000000002: removed"));
    let bare = StoryLine { text: "NOQUEUE: reject".into(), ..StoryLine::default() };
    out.line(Story { id: None, about: None }, &bare);
    String::from_utf8(out.out).unwrap()
}

#[test]
fn stories_are_apart_and_lines_are_as_in_the_log() {
    let expected = "\
2026-11-29T10:00:00.123Z WARN  0000000000000001: dead\\u{202e}
2026-11-29T10:00:00.123Z WARN  0000000000000001: removed

The report about 0000000000000001:
2026-11-29T10:00:00.123Z WARN  0000000000000002: removed

About no message, but naming it:
NOQUEUE: reject
";
    assert_eq!(printed(false), expected);
}

#[test]
fn json_says_the_same() {
    let json = printed(true);
    let lines: Vec<&str> = json.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"time":"2026-11-29T10:00:00.123Z","level":"WARN","id":"0000000000000001","text":"0000000000000001: dead\u202e"}"#
    );
    assert!(lines[2].contains(r#""id":"0000000000000002","report-about":"0000000000000001""#));
    assert_eq!(lines[3], r#"{"text":"NOQUEUE: reject"}"#);
}
