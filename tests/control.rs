//! The faces of a running daemon: `nullmta reload`, `flush`, `status`, `mailq` and `queue list`, as programs.

#![allow(missing_docs, reason = "a test")]

mod daemon;
mod far_end;

use std::fs::{self, Permissions};
use std::io::pipe;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use daemon::{Daemon, SinkProcess, free_port, program_under};
use far_end::client::converse;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nullmta");
const NOBODY: u32 = 65534;

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

    /// The same as a user without rights.
    fn as_nobody(&self, words: &[&str], config: &str) -> Output {
        let mut command = Command::new(program_under(self.directory.path()));
        command.args(words).arg(config).arg(self.config()).uid(NOBODY).gid(NOBODY).current_dir("/");
        command.output().unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.nullmta(&["status", "--json"]).stdout).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
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

/// `systemctl reload` said that all was well when the new configuration had been refused, and nothing told which one
/// was in force.
#[test]
fn a_reload_says_what_changed_or_fails_and_status_tells() {
    let host = Host::start();
    let good = fs::read_to_string(host.config()).unwrap();
    fs::write(host.config(), format!("{good}[queue]\nretry-min = \"2m\"\n")).unwrap();
    let (code, out, _) = text(&host.nullmta(&["reload"]));
    assert!(code == 0 && out.ends_with("; changed: queue.retry-min\n"), "{code} {out}");

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
    assert_eq!(host.log().matches("configuration reloaded from").count(), 2, "{}", host.log());
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
        if code == 0 && out.contains(" 1 held, 0 dead") {
            break out;
        }
        assert!(code == 0 || code == 75, "{code} {err}");
    };
    let (_, status, _) = text(&host.nullmta(&["status"]));
    let held = status.lines().find(|line| line.starts_with("held    ")).unwrap();
    assert!(held.contains("553 5.7.1 not your sender; have the relay take this sender"), "{status}");
    assert_eq!(flushed.lines().nth(1), Some(held), "{flushed}");
    let json = text(&host.nullmta(&["flush", "--json"])).1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["held-because"], held["held    ".len()..], "{json}");
}
