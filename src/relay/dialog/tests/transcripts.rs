//! The dialogues in `tests/relays/*.smtp`.

use super::*;

/// One file of `tests/relays/*.smtp`: what the relay offers (lines of its reply to EHLO), how it is written to, the messages (from ann@example.org;
/// `asking` for ENVID=x1 and a notice of success), the script, what is reported, how the connection ends (`ok`, or the
/// trouble's phase), and what the relay still hears.
struct Case {
    offered: Capabilities,
    settings: config::RelayConfig,
    messages: Vec<Transaction>,
    script: String,
    reports: Vec<String>,
    end: String,
    rest: String,
}

fn case(text: &str) -> Case {
    let mut case = Case {
        offered: Capabilities::default(),
        settings: settings(),
        messages: vec![],
        script: String::new(),
        reports: vec![],
        end: String::new(),
        rest: String::new(),
    };
    // The first line of the reply to EHLO is the relay's name.
    let mut extensions = vec!["mx.example.net".to_owned()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("offers", extension) => extensions.push(extension.into()),
            ("asking", asking) => {
                let mut message = written(asking);
                message.recipients.iter_mut().for_each(|(_, to)| to.notify = ON_SUCCESS);
                message.envid = Some("x1".into());
                case.messages.push(message);
            }
            ("pipelining", "across") => case.settings.pipelining = Pipelining::Across,
            ("message", message) => case.messages.push(written(message)),
            ("report", report) => case.reports.push(report.into()),
            ("end", end) => case.end = end.into(),
            ("rest", rest) => case.rest = format!("{rest}\r\n"),
            _ => case.script.extend([line, "\n"]),
        }
    }
    case.offered = Capabilities::from_ehlo(&Reply::multiline(250, extensions));
    case
}

const ON_SUCCESS: Notify = Notify::On { success: true, failure: true, delay: false };

/// `1 ben@example.net cara@example.net: content`
fn written(message: &str) -> Transaction {
    let (envelope, content) = message.split_once(": ").unwrap();
    let (id, to) = envelope.split_once(' ').unwrap();
    let to: Vec<&str> = to.split(' ').collect();
    transaction(id.parse().unwrap(), "ann@example.org", &to, &format!("{content}\r\n"))
}

#[tokio::test(start_paused = true)]
async fn transcripts() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relays");
    let mut played = 0;
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    // Those of whole sessions are read by `opening/tests/sessions.rs`.
    for path in paths.filter(|path| path.is_file()) {
        println!("{}", path.display());
        let case = case(&std::fs::read_to_string(&path).unwrap());
        let ended = run_with(case.offered, case.settings, &case.script, case.messages).await;
        let end = ended.result.err().map_or("ok".into(), |trouble| trouble.phase.to_string());
        assert_eq!(ended.given.told(), case.reports, "{}", path.display());
        assert_eq!((end, ended.rest), (case.end, case.rest), "{}", path.display());
        played += 1;
    }
    assert!(played > 20, "{played} transcripts in {directory}");
}
