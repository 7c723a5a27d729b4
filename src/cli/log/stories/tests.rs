use std::fs;
use std::io::Write;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;

fn id(number: u64) -> QueueId {
    QueueId::from_raw(number)
}

/// Writes a log with a line for each text.
fn log_of(texts: &[String]) -> (NamedTempFile, LineSource) {
    let mut file = NamedTempFile::new().unwrap();
    for text in texts {
        writeln!(file, "2026-11-21T02:10:00.123Z INFO  {text}").unwrap();
    }
    let source = LineSource::of(Some(file.path()), None).unwrap();
    (file, source)
}

/// Returns what is told of `wanted` with this much room: each story with its lines.
fn told(source: &LineSource, wanted: &str, most_reports: usize, room: usize) -> Vec<(Story, Vec<String>)> {
    let wanted: Wanted = wanted.parse().unwrap();
    let book = Search::of(source, &wanted, most_reports).unwrap().into_book(None, &wanted);
    let mut told: Vec<(Story, Vec<String>)> = Vec::new();
    book.tell_within(room, source, &mut |story, line| {
        match told.last_mut() {
            Some((last, lines)) if *last == story => lines.push(line.text.clone()),
            _ => told.push((story, vec![line.text.clone()])),
        }
        true
    })
    .unwrap();
    told
}

#[test]
fn a_report_and_the_report_about_it_are_told_behind_their_message() {
    let texts = [
        format!("{}: client=x, from=<ann@example.org>, size=1 (queued)", id(16)),
        format!("{}: client=x, from=<ann@example.org>, size=1 (queued)", id(17)),
        format!("{}: sender non-delivery notification: {}", id(16), id(32)),
        // Its own lines may begin before it is named.
        format!("{}: to=<ann@example.org>, relay=none", id(32)),
        format!("{}: sender non-delivery notification: {}", id(32), id(48)),
        format!("{}: removed", id(48)),
        format!("{}: removed", id(17)),
        format!("{}: client=x, from=<bob@example.org>, size=1 (queued)", id(18)),
        "NOQUEUE: reject: RCPT from x: 553 <ann@example.org>".to_owned(),
    ];
    let (_file, source) = log_of(&texts);
    let order = |wanted: &str, most_reports, room| -> Vec<(Option<u64>, Option<u64>, usize)> {
        let raw = |id: Option<QueueId>| id.map(QueueId::raw);
        told(&source, wanted, most_reports, room)
            .into_iter()
            .map(|(story, lines)| (raw(story.id), raw(story.about), lines.len()))
            .collect()
    };
    let first = [(Some(16), None, 2), (Some(32), Some(16), 2), (Some(48), Some(32), 1)];
    let all = [&first[..], &[(Some(17), None, 2), (None, None, 1)]].concat();
    for (most_reports, room) in [(100, 1 << 20), (0, 1 << 20), (1, 0), (100, 0), (100, 500)] {
        assert_eq!(order(&id(16).to_string(), most_reports, room), first, "{most_reports} {room}");
        assert_eq!(order("ann@example.org", most_reports, room), all, "{most_reports} {room}");
        assert_eq!(
            order(&id(48).to_string(), most_reports, room)[0],
            (Some(48), if most_reports > 0 { Some(32) } else { None }, 1)
        );
    }
}

#[test]
fn what_is_not_there_is_not_told_and_a_growing_file_is_read_as_far_as_it_went() {
    let texts = [format!("{}: removed", id(16))];
    let (file, source) = log_of(&texts);
    assert!(told(&source, &id(17).to_string(), 9, 9).is_empty());
    let mut more = fs::OpenOptions::new().append(true).open(file.path()).unwrap();
    writeln!(more, "2026-11-21T02:10:01Z INFO  {}: removed", id(16)).unwrap();
    assert_eq!(told(&source, &id(16).to_string(), 9, 9)[0].1.len(), 1);
}

proptest! {
    /// However little room there is, each line about what is meant is told once, and in its order.
    #[test]
    fn every_line_is_told_once_whatever_the_room(
        lines in proptest::collection::vec((1u64..9, 0u64..9), 0..60),
        room in 0usize..3000,
        most_reports in 0usize..4,
    ) {
        // A report is younger than its message.
        let texts: Vec<String> = lines.iter().enumerate().map(|(at, (about, up))| {
            let said = if *up > 4 { format!("sender delay notification: {}", id(about + up)) } else { format!("line {at}") };
            format!("{}: {said}", id(*about))
        }).collect();
        let (_file, source) = log_of(&texts);
        let wanted = id(1).to_string();
        let stories = told(&source, &wanted, most_reports, room);
        let ids: Vec<QueueId> = stories.iter().map(|(story, _)| story.id.unwrap()).collect();
        for (story, told) in &stories {
            let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(&story.id.unwrap().to_string())).collect();
            prop_assert_eq!(told.iter().collect::<Vec<_>>(), own);
        }
        let mut reached = BTreeSet::from([id(1)]);
        for _ in 0..9 {
            for (about, up) in lines.iter().filter(|(_, up)| *up > 4) {
                if reached.contains(&id(*about)) {
                    reached.insert(id(about + up));
                }
            }
        }
        let has_lines = |id: &QueueId| texts.iter().any(|text| text.starts_with(&id.to_string()));
        let expected: BTreeSet<QueueId> = reached.into_iter().filter(has_lines).collect();
        prop_assert_eq!(ids.len(), expected.len(), "a story told twice: {:?}", ids);
        prop_assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
