//! The faces of a running daemon: `nullmta reload`, `flush`, `status`, `mailq` and `queue …`, as programs.

#![allow(missing_docs, reason = "a test")]

mod daemon;
mod far_end;

use std::fs::{self, Permissions};
use std::io::pipe;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use daemon::{Daemon, SinkProcess, free_port, program_under};
use far_end::client::converse;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nullmta");
const NOBODY: u32 = 65534;
/// How long the daemon may take to log what it has done.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon whose relay is down.
struct Host {
    directory: tempfile::TempDir,
    daemon: Daemon,
}

impl Host {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let daemon = Daemon::start(directory.path(), free_port());
        Host { directory, daemon }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("nullmta.toml")
    }

    fn nullmta(&self, words: &[&str]) -> Output {
        Command::new(PROGRAM).args(words).arg("-c").arg(self.config()).output().unwrap()
    }

    fn mailq(&self) -> Output {
        Command::new(PROGRAM).args(["mailq", "-C"]).arg(self.config()).output().unwrap()
    }

    /// The same as a user without rights.
    fn as_nobody(&self, words: &[&str], config: &str) -> Output {
        let mut command = Command::new(program_under(self.directory.path()));
        command.args(words).arg(config).arg(self.config()).uid(NOBODY).gid(NOBODY).current_dir("/");
        command.output().unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.nullmta(&["status", "--json"]).stdout).unwrap()
    }

    fn listed(&self) -> Vec<serde_json::Value> {
        let (_, json, _) = text(&self.nullmta(&["queue", "list", "--json"]));
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Waits until the log has these words.
    fn wait_for_log(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    fn submit(&self) {
        let lines = ["EHLO c", "MAIL FROM:<app@example.org>", "RCPT TO:<ann@example.net>", "DATA", "x\r\n."];
        let replies = converse(self.daemon.port, &lines);
        assert!(replies[4][0].starts_with("250 2.0.0"), "{replies:?}");
    }
}

fn text(output: &Output) -> (i32, String, String) {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|octets| String::from_utf8(octets.clone()).unwrap());
    (output.status.code().unwrap(), out, err)
}

/// How much came and went lately was not to be seen, and neither was why it failed.
#[test]
fn status_tells_the_rates_and_why_mail_has_failed_to_anybody() {
    let host = Host::start();
    host.submit();
    let begun = Instant::now();
    let status = loop {
        let status = host.status();
        let is_told = status["failures"][0]["times"].as_u64() > Some(0);
        if is_told && status["rates"]["last-hour"]["accepted"] == 1 {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "{status}");
        sleep(Duration::from_millis(100));
    };
    assert_eq!(status["failures"][0]["reason"], "relay trouble, connect");
    assert_eq!(status["rates"]["last-hour"]["sent"], 0);
    let (code, out, err) = text(&host.as_nobody(&["status"], "-c"));
    assert!(code == 0 && err.is_empty(), "{err}");
    assert!(out.contains(" since the start: 1 accepted, 0 sent\n"), "{out}");
    assert!(out.contains(" ago: relay trouble, connect\n"), "{out}");
}

/// A queue could only be listed as a whole.
#[test]
fn a_listing_is_of_what_is_asked_for_and_tells_nobody_about_mail_of_others() {
    let host = Host::start();
    for _ in 0..3 {
        host.submit();
    }
    let listed = |words: &[&str]| {
        let (code, out, err) = text(&host.nullmta(&[&["queue", "list", "--json"], words].concat()));
        assert_eq!((code, &*err), (0, ""), "{words:?}");
        let ids =
            out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone());
        ids.map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let all = listed(&[]);
    assert_eq!(all.len(), 3);
    assert_eq!(listed(&["--from", "app@EXAMPLE.*", "--to", "ann@*", "--older-than", "1ms"]), all);
    assert_eq!(listed(&["--from", "APP@example.org"]), [""; 0]);
    assert_eq!(listed(&["--state", "dead"]), [""; 0]);
    assert_eq!(listed(&["--older-than", "1d"]), [""; 0]);
    assert_eq!(listed(&[&all[1], "18A4F1C9A02B3D40"]), [&*all[1]]);
    assert_eq!(listed(&["--limit", "2"]), all[..2]);
    let (_, out, _) = text(&host.nullmta(&["queue", "list", "--limit", "1"]));
    assert!(out.ends_with("\n2 messages more beyond --limit.\n"), "{out}");

    // What others have must not be guessed by a filter: it is the same whether there is such mail or not.
    let seen = |words: &[&str]| text(&host.as_nobody(&[&["queue", "list"], words].concat(), "-c"));
    let nothing = (0, "No message that you may see is as asked for.\n".to_owned(), String::new());
    for words in [&["--from", "app@*"][..], &["--from", "x"], &[&all[0]], &["18A4F1C9A02B3D40"]] {
        assert_eq!(seen(words), nothing, "{words:?}");
    }
}

/// `systemctl reload` said that all was well when the new configuration had been refused, and nothing told which one
/// was in force.
#[test]
fn a_reload_says_what_changed_or_fails_and_status_tells() {
    let host = Host::start();
    let good = fs::read_to_string(host.config()).unwrap();
    fs::write(host.config(), format!("{good}[queue]\nretry-min = \"2m\"\n")).unwrap();
    let (code, out, _) = text(&host.nullmta(&["reload"]));
    assert!(code == 0 && out.ends_with("; changed: queue.retry-min\n"), "{code} {out}");

    // The same file with another content was "changed: nothing".
    let listed = |file: &std::path::Path| {
        let route = "[[route]]\nuid = 1\nrelayhost = \"127.0.0.1:9\"\n";
        format!("{good}{route}tls.ca-file = \"{}\"\n", file.display())
    };
    let authority = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates/authority.pem");
    let ca = host.config().with_file_name("ca.pem");
    fs::copy(&authority, &ca).unwrap();
    fs::write(host.config(), listed(&ca)).unwrap();
    text(&host.nullmta(&["reload"]));
    assert!(text(&host.nullmta(&["reload"])).1.ends_with("; changed: nothing\n"));
    let twice = fs::read_to_string(&authority).unwrap().repeat(2);
    fs::write(&ca, twice).unwrap();
    let (code, out, _) = text(&host.nullmta(&["reload"]));
    assert!(code == 0 && out.ends_with("; changed: route[1].tls.ca-file (its content)\n"), "{code} {out}");

    fs::write(host.config(), good.replace("hostname", "hostnome")).unwrap();
    let (code, out, err) = text(&host.nullmta(&["reload"]));
    assert_eq!((code, out.as_str()), (78, ""), "{err}");
    let line = format!("{}:8: key `listen.hostnome`: ", host.config().display());
    assert!(err.contains(&line) && err.contains("stays in force"), "{err}");
    let configuration = &host.status()["configuration"];
    assert!(configuration["refused"]["why"].as_str().unwrap().starts_with(&line), "{configuration}");
    let (code, out, _) = text(&host.nullmta(&["status"]));
    assert!(
        code == 0 && out.contains(" in force since 20") && out.contains("refused the newer one of 20"),
        "{out}"
    );

    fs::write(host.config(), good.replace("/spool", "/elsewhere")).unwrap();
    let (code, out, _) = text(&host.nullmta(&["reload"]));
    assert!(code == 0 && out.contains("before a restart: spool\n"), "{code} {out}");
    assert_eq!(host.status()["configuration"]["refused"], serde_json::Value::Null);
    assert_eq!(host.log().matches("configuration reloaded from").count(), 5, "{}", host.log());
}

/// `sendmail -q` and ETRN within a minute of the last were not followed, and answered "queueing started"; nothing said
/// what came of any of them.
#[test]
fn a_flush_says_what_came_of_it_and_etrn_that_it_was_too_soon() {
    let host = Host::start();
    assert_eq!(text(&host.nullmta(&["flush"])).1, "the queue is empty\n");
    host.submit();
    for _ in 0..3 {
        let (code, out, err) = text(&host.nullmta(&["flush"]));
        assert_eq!((code, out.as_str()), (69, ""), "{err}");
        assert!(
            err.contains("the relay was not reached: ") && err.contains("; 1 in the queue, next probe "),
            "{err}"
        );
    }
    let replies = converse(host.daemon.port, &["EHLO c", "ETRN x", "ETRN x"]);
    assert_eq!(replies[1], ["250 2.0.0 queueing started"]);
    let told = "250 2.0.0 not started: tried on request 0 s ago, and on request again in 60 s; the relay is paused, ";
    assert!(replies[2][0].starts_with(told), "{replies:?}");
}

/// Of several relays only one was shown, and a listing said of each message what that one suffered from.
#[test]
fn each_route_is_shown_with_what_waits_for_it_and_is_flushed_alone() {
    let host = Host::start();
    let (config, port) = (fs::read_to_string(host.config()).unwrap(), free_port());
    let route = format!(
        "\n[[route]]\nname = \"news\"\nsenders = [\"@news.example\"]\nrelayhost = \"127.0.0.1:{port}\"\ntls.mode = \
         \"none\"\nauth.username = \"ann\"\nauth.password-file = \"{}\"\n",
        host.directory.path().join("secret").display()
    );
    let secret = host.directory.path().join("secret");
    fs::write(&secret, "hunter2\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::write(host.config(), config + &route).unwrap();
    assert_eq!(text(&host.nullmta(&["reload"])).0, 0);
    host.submit();
    let lines = ["EHLO c", "MAIL FROM:<x@news.example>", "RCPT TO:<bob@example.net>", "DATA", "x\r\n."];
    assert!(converse(host.daemon.port, &lines)[4][0].starts_with("250 "));

    let (code, _, err) = text(&host.nullmta(&["flush", "--route", "news"]));
    assert_eq!(code, 69, "{err}");
    assert!(
        err.starts_with(&format!("nullmta: the relay was not reached: 127.0.0.1[127.0.0.1]:{port}: ")),
        "{err}"
    );
    let (code, _, err) = text(&host.nullmta(&["flush", "--route", "nwes"]));
    assert_eq!((code, &*err), (64, "nullmta: there is no route \"nwes\": those in force are news\n"));
    let (code, _, err) = text(&host.nullmta(&["flush"]));
    assert!(code == 69 && err.contains("\nroute   news: not reached: 127.0.0.1"), "{code} {err}");

    let status = host.status();
    let [first, news] = &status["relays"].as_array().unwrap()[..] else { panic!("{status}") };
    assert_eq!((&first["route"], &news["route"]), (&serde_json::Value::Null, &"news".into()));
    assert_eq!(news["relay"], format!("127.0.0.1:{port} as ann"));
    for relay in [first, news] {
        assert_eq!((&relay["state"], &relay["messages"]), (&"paused".into(), &1.into()), "{relay}");
        for key in ["paused-since", "next-probe", "trouble"] {
            assert!(relay[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {relay}");
        }
        assert_eq!(relay["pace"]["max-connections"], 20);
    }
    let shown = text(&host.nullmta(&["status"])).1;
    let line = format!("\nroute   news, to 127.0.0.1:{port} as ann: paused since 20");
    assert!(shown.contains(&line) && shown.contains("\n  trouble 127.0.0.1[127.0.0.1]:"), "{shown}");

    let (_, json, _) = text(&host.nullmta(&["queue", "list", "--json"]));
    let listed: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let recipient = |place: usize| &listed[place]["recipients"][0];
    assert_eq!((&recipient(0)["route"], &recipient(1)["route"]), (&serde_json::Value::Null, &"news".into()));
    for (place, own, other) in [(0, &first["trouble"], port), (1, &news["trouble"], 0)] {
        assert_eq!(&recipient(place)["reason"], own, "{json}");
        assert!(!recipient(place)["reason"].as_str().unwrap().contains(&format!(":{other}:")), "{json}");
    }
    let shown = text(&host.nullmta(&["queue", "list"])).1;
    let headline = format!("127.0.0.1:{port} as ann, the relay of route news, is paused for ");
    assert!(shown.contains(&headline), "{shown}");
    assert_eq!(shown.matches(news["trouble"].as_str().unwrap()).count(), 1, "{shown}");
    assert!(
        shown.contains(" by route news\n     waits for the relay of route news, as said above\n"),
        "{shown}"
    );
    let log = host.log();
    assert!(log.contains(" route news: relay paused: ") && log.contains(" relay paused: 127"), "{log}");
    let mailq = text(&host.mailq()).1;
    assert!(
        !mailq.contains("route") && mailq.contains(&format!("(127.0.0.1[127.0.0.1]:{port}: ")),
        "{mailq}"
    );
}

/// Nothing tested which relay's rules were shown for a route: those of the top-level relayhost would have passed.
#[test]
fn the_rules_that_are_shown_are_those_of_the_named_route() {
    let host = Host::start();
    let config = fs::read_to_string(host.config()).unwrap();
    let route = "\n[[route]]\nname = \"news\"\nsenders = \"@news.example\"\nrelayhost = \
                 \"email-smtp.eu-west-1.amazonaws.com\"\n[[route.relay.reply]]\nmatch = \"^554 .*blue moon\"\nmeans = \
                 \"quota\"\npause = \"90m\"\n";
    fs::write(host.config(), config.clone() + route).unwrap();
    let (of_news, of_all) = (["check", "--relay-rules", "--route", "news"], ["check", "--relay-rules"]);
    let (code, out, err) = text(&host.nullmta(&of_news));
    assert!(
        code == 0
            && out.starts_with("Replies of email-smtp.eu-west-1.amazonaws.com:587 (")
            && out.contains("blue moon"),
        "{code} {out} {err}"
    );
    let (code, out, err) = text(&host.nullmta(&of_all));
    assert!(
        code == 0 && out.starts_with("Replies of 127.0.0.1:") && !out.contains("blue moon"),
        "{code} {out} {err}"
    );
    let (_, out, err) = text(&host.nullmta(&[&of_news[..], &["--json"]].concat()));
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).expect(&err);
    assert_eq!((&first["means"], &first["pause_seconds"]), (&"quota".into(), &5400.into()), "{out}");

    let said = "554 5.7.0 once in a blue moon";
    let (code, out, err) = text(&host.nullmta(&["relay-reply", said, "--route", "news"]));
    assert!(
        code == 0 && out.contains("class: quota\n") && out.contains("pause: 1h30m\n"),
        "{code} {out} {err}"
    );
    let (code, out, err) = text(&host.nullmta(&["relay-reply", said]));
    assert!(code == 0 && out.contains("class: permanent\n"), "{code} {out} {err}");

    let usage = "nullmta: no route has the name \"nwes\"; the configuration's routes: news\n";
    for arguments in
        [&["check", "--relay-rules", "--route", "nwes"][..], &["relay-reply", said, "--route", "nwes"]]
    {
        let (code, out, err) = text(&host.nullmta(arguments));
        assert!((code, &*out) == (64, "") && err.ends_with(usage), "{code} {out} {err}");
    }
    let (code, _, err) = text(&host.nullmta(&["check", "--route", "news"]));
    assert!(code == 64 && err.contains("--route: expected SENDER and RECIPIENT"), "{code} {err}");
    fs::write(host.config(), config).unwrap();
    let (code, _, err) = text(&host.nullmta(&["relay-reply", said, "--route", "news"]));
    assert!(code == 64 && err.ends_with("the configuration's routes: there is none\n"), "{code} {err}");
}

/// Over TCP the kernel tells whose the connection is, and its mail takes the route of that user.
#[test]
fn mail_over_tcp_takes_the_route_of_its_user() {
    let host = Host::start();
    let uid = fs::metadata(host.directory.path()).unwrap().uid();
    let config = fs::read_to_string(host.config()).unwrap();
    let route = |name: &str, uid: u32| {
        format!(
            "\n[[route]]\nname = \"{name}\"\nuid = {uid}\nrelayhost = \"127.0.0.1:{}\"\ntls.mode = \"none\"\n",
            free_port()
        )
    };
    let routes = |mine: u32| route("another", mine + 1) + &route("mine", mine);
    fs::write(host.config(), config.clone() + &routes(uid)).unwrap();
    assert_eq!(text(&host.nullmta(&["reload"])).0, 0);
    host.submit();
    let ways = || -> Vec<serde_json::Value> {
        let json = text(&host.nullmta(&["queue", "list", "--json"])).1;
        let listed = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        listed.map(|message| message["recipients"][0]["route"].clone()).collect()
    };
    assert_eq!(ways(), ["mine"]);
    let uid = uid.to_string();
    let (code, out, err) = text(&host.nullmta(&["check", "--route", "", "bob@x.example", "--uid", &uid]));
    assert!(
        code == 0 && out.contains("mail from <> to <bob@x.example> goes by route mine to 127"),
        "{out} {err}"
    );
    let (code, out, err) = text(&host.nullmta(&["check", "--route", "ann@x.example", "bob@x.example"]));
    assert!(code == 0 && out.contains(" goes by no route, so to 127.0.0.1:"), "{out} {err}");
    let (code, _, err) = text(&host.nullmta(&["check", "--route", "ann@x.example", "not an address"]));
    assert_eq!((code, err.contains("not an address")), (64, true), "{err}");
}

/// A user who may see none of it was told that the queue is empty; and was shown the relay's words, which may hold the
/// address of another's mail. Only root can play that user.
#[test]
fn a_user_without_rights_is_told_how_much_there_is() {
    let host = Host::start();
    if fs::metadata(host.directory.path()).unwrap().uid() != 0 {
        return;
    }
    host.submit();
    assert_eq!(text(&host.as_nobody(&["mailq"], "-C")).1, "-- 0 of yours, 1 in all.\n");
    assert_eq!(text(&host.as_nobody(&["queue", "list"], "-c")).1, "0 of yours, 1 in all.\n");
    let (code, out, err) = text(&host.as_nobody(&["queue", "list", "--json"], "-c"));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "nullmta: 0 of yours, 1 in all\n"));
    assert_eq!(text(&host.as_nobody(&["flush"], "-c")).0, 77);
}

/// Version, relay, addresses and spool of a running daemon were nowhere in its log.
/// `mailq | head` and `queue list | head` said "Broken pipe", and `status` and others panicked.
#[test]
fn a_reader_that_has_seen_enough_is_told_nothing() {
    let host = Host::start();
    host.submit();
    for words in [
        &["mailq", "-C"][..],
        &["queue", "list", "-c"],
        &["queue", "list", "--json", "-c"],
        &["status", "-c"],
        &["status", "--json", "-c"],
        &["check", "-c"],
        &["reload", "-c"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = Command::new(PROGRAM);
        command.args(words).arg(host.config()).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let is_quiet = said.lines().all(|line| line.starts_with("nullmta: warning: "));
        assert!(output.status.success() && is_quiet, "{words:?}: {:?} {said}", output.status);
    }
}

#[test]
fn the_start_says_what_it_is() {
    let host = Host::start();
    let (port, spool) = (host.daemon.port, host.directory.path().join("spool"));
    let log = host.log();
    assert!(
        log.contains(&format!("started as h.example: nullmta {}, relay ", env!("CARGO_PKG_VERSION"))),
        "{log}"
    );
    assert!(
        log.contains(&format!(", listening on 127.0.0.1:{port}, spool {}; 0 in the queue", spool.display())),
        "{log}"
    );
}

/// A relay that speaks of a used-up quota is asked again in a minute or more. Who knows better says so.
#[test]
fn a_flush_delivers_what_waits_for_a_quota() {
    let directory = tempfile::tempdir().unwrap();
    let sink = SinkProcess::start(&["--fail", "mail=452 4.7.1 daily quota exceeded*1"]);
    let daemon = Daemon::start(directory.path(), sink.port);
    let host = Host { directory, daemon };
    host.submit();
    host.wait_for_log("relay paused: quota: ");
    assert_eq!((&host.status()["relay"], &host.status()["ready"]), (&"paused".into(), &1.into()));
    let (code, out, err) = text(&host.nullmta(&["flush"]));
    // Under load the message may still be on its way when the wait is over.
    assert!((code == 0 && out.starts_with("the relay was reached; ")) || code == 75, "{code} {out} {err}");
    host.daemon.wait_for_queue_of(0);
    assert_eq!(host.log().matches("status=sent").count(), 1, "{}", host.log());
}

/// `nullmta flush` said `1 held or dead` and nothing of why, so that one more command was needed to know what to do.
#[test]
fn a_flush_says_why_what_it_leaves_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let sink = SinkProcess::start(&["--fail", "mail=553 5.7.1 not your sender"]);
    let daemon = Daemon::start(directory.path(), sink.port);
    let host = Host { directory, daemon };
    host.submit();
    let flushed = loop {
        let (code, out, err) = text(&host.nullmta(&["flush"]));
        // Under load the message may still be on its way when the wait is over.
        if code == 1 {
            assert_eq!(out, "");
            break err;
        }
        assert!(code == 0 || code == 75, "{code} {err}");
    };
    let (_, status, _) = text(&host.nullmta(&["status"]));
    let held = status.lines().find(|line| line.starts_with("held    ")).unwrap();
    assert!(held.contains("553 5.7.1 not your sender; have the relay take this sender"), "{status}");
    let took_nothing = "the relay was reached, but took nothing; no message has left, 1 in the queue: 1 held";
    assert!(flushed.lines().next().unwrap().ends_with(took_nothing), "{flushed}");
    assert_eq!(flushed.lines().nth(1), Some(held), "{flushed}");
    let json = text(&host.nullmta(&["flush", "--json"])).1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["held-because"], held["held    ".len()..], "{json}");
}

/// A job that ran away was stopped only with all mail of the host.
#[test]
fn new_mail_is_held_by_a_rule_until_that_is_lifted() {
    let host = Host::start();
    let queue = |words: &[&str]| text(&host.nullmta(&[&["queue"], words].concat()));
    let states = || host.listed().iter().map(|message| message["state"].clone()).collect::<Vec<_>>();
    let new = ["hold", "--new", "--from", "app@*", "--reason", "a job ran away"];
    let (code, out, _) = queue(&[&new[..], &["--dry-run"]].concat());
    assert_eq!(
        (code, &*out),
        (0, "A hold rule would be made: new mail from app@* would be accepted and put on hold.\n")
    );
    assert_eq!(queue(&["hold", "--rules"]).1, "There is no hold rule.\n");
    let (code, out, _) = queue(&[&new[..], &["--for", "2h"]].concat());
    assert!(
        code == 0 && out.starts_with("Hold rule 1: new mail from app@* is accepted and put on hold until "),
        "{out}"
    );
    host.submit();
    assert_eq!(states(), ["on-hold"]);
    let by = format!("hold rule 1 of uid {}", fs::metadata(host.config()).unwrap().uid());
    let reason = host.listed()[0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with(&format!("held by {by}"))
            && reason.ends_with(": a job ran away; nullmta queue release has it sent"),
        "{reason}"
    );
    assert_eq!(host.listed()[0]["held-by"], serde_json::json!({"kind": "rule", "rule": 1}));
    host.wait_for_log(&format!(": put on hold as it came in, by {by}"));

    let status = host.status();
    let rule = &status["hold-rules"][0];
    assert_eq!((&rule["number"], &rule["messages"]), (&1.into(), &1.into()), "{status}");
    let (_, listed, _) = queue(&["hold", "--rules", "--json"]);
    assert_eq!(&serde_json::from_str::<serde_json::Value>(&listed).unwrap(), rule);
    let (_, words, _) = text(&host.nullmta(&["status"]));
    assert!(words.contains("\nhold    hold rule 1: new mail from app@* is put on hold since "), "{words}");

    for (words, said) in [
        (&["hold", "--new"][..], "say which new mail"),
        (&["hold", "--new", "--state", "dead", "--from", "*"], "an age, a state, a holder or a route"),
        (&["hold", "--new", "--from", "*", "--reason", "a\nb"], "one line"),
        (&["release", "--new"], "say which hold rules"),
        (&["hold", "--for", "2h"], "--new"),
    ] {
        let (code, out, err) = queue(words);
        assert!((code, &*out) == (64, "") && err.contains(said), "{words:?}: {code} {err}");
    }
    assert_eq!(
        queue(&["release", "--new", "7"]),
        (1, "There is no hold rule 7.\n".into(), "nullmta: there was no such hold rule\n".into())
    );
    let (code, out, _) = queue(&["release", "--new", "--all"]);
    assert!(
        code == 0
            && out.contains("Hold rule 1 is lifted")
            && out.contains("(1 message since the start) stays so"),
        "{out}"
    );
    host.wait_for_log("hold rule 1: lifted by uid ");
    host.submit();
    assert_eq!(states()[0], "on-hold");
    assert_ne!(states()[1], "on-hold");
    assert_eq!(queue(&["release", "--held-by", "rule:2"]).1, "0 messages released\n");
    assert_eq!(queue(&["release", "--held-by", "rule:1", "--dry-run"]).1, "1 message would be released\n");
    assert_eq!(queue(&["release", "--held-by", "rule:1"]).1, "1 message released\n");
    for words in [
        &["queue", "hold", "--new", "--uid", "65534"][..],
        &["queue", "hold", "--rules"],
        &["queue", "release", "--new", "--all"],
    ] {
        assert_eq!(text(&host.as_nobody(words, "-c")).0, 77, "{words:?}");
    }
}

/// The mail of a relay that stayed away could not be sent by another one.
#[test]
fn a_message_is_routed_to_another_relay_and_back() {
    let host = Host::start();
    let (config, port) = (fs::read_to_string(host.config()).unwrap(), free_port());
    let route = format!(
        "\n[[route]]\nname = \"news\"\nuid = 4000000000\nrelayhost = \"127.0.0.1:{port}\"\ntls.mode = \"none\"\n"
    );
    fs::write(host.config(), config + &route).unwrap();
    assert_eq!(text(&host.nullmta(&["reload"])).0, 0);
    host.submit();
    let id = host.listed()[0]["id"].as_str().unwrap().to_owned();
    let queue = |words: &[&str]| text(&host.nullmta(&[&["queue"], words].concat()));
    let by_route = || host.listed()[0]["recipients"][0]["route"].clone();
    let (code, _, err) = queue(&["route", &id, "nwes"]);
    assert_eq!((code, &*err), (64, "nullmta: there is no route \"nwes\": those in force are news\n"));
    assert_eq!(queue(&["route", "--dry-run", &id, "news"]).1, "1 message would be routed\n");
    assert_eq!(by_route(), serde_json::Value::Null);
    // It may be under way.
    let routed = |route: &str| loop {
        let (code, out, err) = queue(&["route", &id, route]);
        assert_eq!(code, 0, "{err}");
        if out == "1 message routed\n" {
            break;
        }
    };
    routed("news");
    assert_eq!(by_route(), "news");
    assert!(queue(&["show", &id]).1.contains(", assigned to route news"));
    let by = format!("{id}: to be sent by route news, as ordered by uid ");
    host.wait_for_log(&by);
    routed("");
    assert_eq!(by_route(), serde_json::Value::Null);
    let denied = host.as_nobody(&["queue", "route", &id, "news"], "-c");
    assert_eq!(text(&denied).0, 77);
}

/// With `rewrite.sender` all mail is from one address: a rule, and a filter, about who had handed it in found nothing.
#[test]
fn a_rule_and_a_filter_are_about_the_sender_that_was_handed_in() {
    let host = Host::start();
    let good = fs::read_to_string(host.config()).unwrap();
    fs::write(host.config(), format!("{good}[rewrite]\nsender = \"noreply@example.com\"\n")).unwrap();
    assert_eq!(text(&host.nullmta(&["reload"])).0, 0);
    let queue = |words: &[&str]| text(&host.nullmta(&[&["queue"], words].concat()));
    assert_eq!(queue(&["hold", "--new", "--from", "app@*"]).0, 0);
    host.submit();
    let message = &host.listed()[0];
    assert_eq!(
        (&message["state"], &message["from"], &message["original-from"]),
        (&"on-hold".into(), &"noreply@example.com".into(), &"app@example.org".into())
    );
    let id = message["id"].as_str().unwrap();
    assert!(queue(&["show", id]).1.contains("noreply@example.com (given as app@example.org)\n"));
    for from in ["app@*", "noreply@*"] {
        assert_eq!(
            queue(&["release", "--from", from, "--dry-run"]).1,
            "1 message would be released\n",
            "{from}"
        );
    }
    assert_eq!(queue(&["release", "--from", "other@*", "--dry-run"]).1, "0 messages would be released\n");
    assert!(queue(&["shape", "--by", "sender", "--table"]).1.contains(" app@example.org\n"));
}

/// Nothing but editing the spool took a message out of the queue, or kept one in it.
#[test]
fn messages_are_held_returned_and_deleted_and_the_log_says_by_whom() {
    let host = Host::start();
    (0..3).for_each(|_| host.submit());
    let ids: Vec<String> =
        host.listed().iter().map(|message| message["id"].as_str().unwrap().into()).collect();
    let [first, second, third] = &ids[..] else { panic!("{ids:?}") };
    let queue = |words: &[&str]| text(&host.nullmta(&[&["queue"], words].concat()));
    let state_of_first = || host.listed()[0]["state"].clone();

    assert_eq!(
        queue(&["hold", "--dry-run", first]),
        (0, "1 message would be put on hold\n".into(), "".into())
    );
    assert_ne!(state_of_first(), "on-hold");
    assert_eq!(queue(&["hold", first]).1, "1 message put on hold\n");
    assert_eq!(
        queue(&["hold", first]).1,
        "0 messages put on hold\n1 not sent anyway: on hold already, or dead\n"
    );
    assert_eq!(state_of_first(), "on-hold");
    assert!(host.listed()[0]["recipients"][0]["reason"].as_str().unwrap().starts_with("held by "));
    assert_eq!((&host.status()["on-hold"], &host.status()["messages"]), (&1.into(), &3.into()));
    let (code, out, _) = queue(&["retry", first]);
    assert!(code == 0 && out.contains("1 not tried, since they are on hold: "), "{out}");

    assert_eq!(queue(&["delete", second]).1, "1 message deleted\n");
    let gone = format!("0 messages deleted\n1 not found: {second}\n");
    assert_eq!(
        queue(&["delete", second]),
        (1, gone, "nullmta: no message was found that you may steer\n".into())
    );
    let would_be = format!("{{\"id\":\"{third}\",\"result\":\"would-be-done\"}}\n");
    assert_eq!(queue(&["expire", "--dry-run", "--json", third]).1, would_be);
    assert_eq!(queue(&["expire", third]).1, "1 message returned\n");
    assert_eq!(
        queue(&["expire", "--dry-run", "--from", "<>"]).1.lines().nth(1).unwrap().split(": ").next().unwrap(),
        "1 would not be returned, since nobody can be told"
    );
    let left = host.listed();
    assert_eq!(
        (left.len(), &left[1]["from"], &left[1]["recipients"][0]["address"]),
        (2, &"".into(), &"app@example.org".into())
    );

    let (code, json, _) = queue(&["release", "--json", first, second]);
    let expected = format!(
        "{{\"id\":\"{first}\",\"result\":\"done\"}}\n{{\"id\":\"{second}\",\"result\":\"not-found\"}}\n"
    );
    assert_eq!((code, json), (0, expected));
    let by =
        |id: &str, what: &str| format!(" {id}: {what} by uid {}", fs::metadata(host.config()).unwrap().uid());
    for line in
        [by(first, "put on hold"), by(first, "released"), by(second, "deleted"), by(third, "returned")]
    {
        assert_eq!(host.log().matches(&line).count(), 1, "{line}: {}", host.log());
    }
    let (code, out, err) = queue(&["delete", "--all"]);
    assert!((code, &*out) == (64, "") && err.contains("give --yes as well"), "{code} {err}");
    assert_eq!(queue(&["hold", "--all", "--yes"]).1, "2 messages put on hold\n");
    assert_eq!(text(&host.as_nobody(&["queue", "delete", "--all", "--yes"], "-c")).0, 1, "none is theirs");
    let denied = host.as_nobody(&["queue", "delete", first], "-c");
    assert_eq!((text(&denied).0, host.listed().len()), (1, 2), "nobody learns that it is there");
}
