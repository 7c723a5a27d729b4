use std::fs::{self, File};
use std::io::Read;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::{NamedTempFile, TempDir};

use super::*;

fn shell(script: &str) -> SecretSource {
    SecretSource::Command(["/bin/sh", "-c", script].map(String::from).to_vec())
}

async fn exposed(source: &SecretSource) -> Result<String, String> {
    read(source).await.map(|secret| secret.text().unwrap().into()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_file_is_read_anew_each_time() {
    let file = NamedTempFile::new().unwrap();
    let source = SecretSource::File(file.path().into());
    for password in ["old", "new"] {
        fs::write(file.path(), format!("{password}\n")).unwrap();
        assert_eq!(exposed(&source).await.unwrap(), password);
    }
}

#[tokio::test]
async fn a_command_prints_the_secret() {
    assert_eq!(exposed(&shell("echo hunter2")).await.unwrap(), "hunter2");
    assert_eq!(exposed(&shell("cat; echo no input")).await.unwrap(), "no input");
    let literal = SecretSource::Command(["/bin/echo", "$HOME `id` ; x"].map(String::from).to_vec());
    assert_eq!(exposed(&literal).await.unwrap(), "$HOME `id` ; x", "no shell between us and it");
}

#[tokio::test]
async fn a_command_that_fails_is_quoted_without_the_secret() {
    for (script, expected) in [
        ("echo first >&2; echo locked >&2; exit 2", "/bin/sh failed, exit status: 2: locked"),
        ("echo hunter2; echo hunter2 is old >&2; exit 1", "/bin/sh failed, exit status: 1: *** is old"),
        (r"printf 'a\033[31mb\n' >&2; exit 1", r"/bin/sh failed, exit status: 1: a\u{1b}[31mb"),
        ("exit 3", "/bin/sh failed, exit status: 3: it said nothing"),
        ("true", "the output of /bin/sh holds no secret: expected one line"),
        (
            "printf 'hunter2\\nsecond'",
            "the output of /bin/sh holds more than one line or a control character: expected one line",
        ),
    ] {
        assert_eq!(exposed(&shell(script)).await.unwrap_err(), expected, "{script}");
    }
    let missing = SecretSource::Command(vec!["/nonexistent/pass".into()]);
    assert!(exposed(&missing).await.unwrap_err().starts_with("cannot run /nonexistent/pass: "));
}

#[tokio::test]
async fn a_command_that_prints_without_end_is_cut_off() {
    let error = exposed(&shell("yes hunter2")).await.unwrap_err();
    // Cut off, it dies of SIGPIPE, or of the error that a parent ignoring SIGPIPE leaves it: that tells nothing.
    assert_eq!(error, "the output of /bin/sh holds more than 16 KiB: expected one line");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_killed_with_all_it_started() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let source = shell(&format!("exec 3> {}; (sleep 60; echo survived >&3) & wait", pipe.display()));
    let running = tokio::spawn(async move { exposed(&source).await });
    // Returns when the program has opened the pipe; until then the paused clock stands.
    let mut held = tokio::task::spawn_blocking(|| File::open(pipe)).await.unwrap().unwrap();
    assert_eq!(running.await.unwrap().unwrap_err(), "/bin/sh took longer than 30 s and was killed");
    let mut said = String::new();
    held.read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "the end comes when nobody holds the pipe any more");
}

/// It was said to have taken too long, and whoever looked for it found that it had ended at once.
#[tokio::test(start_paused = true)]
async fn a_command_that_leaves_another_one_with_its_output_says_so() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // The pipe is opened when the shell has ended, and waits for its parent.
    let waits = "until grep -q 'State:.Z' /proc/$$/status; do :; done";
    let source = shell(&format!("({waits}; exec 3> {}; sleep 60) &", pipe.display()));
    let running = tokio::spawn(async move { exposed(&source).await });
    let held = tokio::task::spawn_blocking(|| File::open(pipe)).await.unwrap().unwrap();
    let said = running.await.unwrap().unwrap_err();
    assert!(
        said.starts_with(
            "/bin/sh has ended, but another program that it started kept its output open for 30 s"
        ),
        "{said}"
    );
    drop(held);
}

/// The end of its pipe was told: `failed, exit status: 141: it said nothing`.
#[tokio::test]
async fn a_command_that_prints_too_much_is_told_so() {
    for words in ["yes", "head -c 40000 /dev/zero", "head -c 20000 /dev/zero; exit 1"] {
        let said = exposed(&shell(words)).await.unwrap_err();
        assert_eq!(said, "the output of /bin/sh holds more than 16 KiB: expected one line", "{words}");
    }
}

/// A password file that was gone was trouble like a relay that is down for a moment: nothing said that somebody must act.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_for_an_operator_and_what_a_program_says_may_pass() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let program = |words: &str| vec!["/bin/sh".into(), "-c".into(), words.into()];
    let text = file("text", "echo hunter2", 0o600).display().to_string();
    let cases = [
        (SecretSource::File(directory.path().join("no")), true, "; put the secret there, on one line"),
        (SecretSource::File(file("empty", "", 0o600)), true, "holds no secret: expected one line"),
        (SecretSource::File(file("open", "x", 0o644)), true, ": chmod 600 "),
        (
            SecretSource::Token(TokenSource::File(file("two", "Bearer x", 0o600))),
            true,
            "; put the token alone there",
        ),
        (SecretSource::Command(vec!["/nonexistent/pass".into()]), true, "cannot run /nonexistent/pass"),
        (SecretSource::Command(vec![text]), true, "cannot run "),
        (SecretSource::Command(program("exit 1")), false, "failed, exit status: 1"),
        (SecretSource::Command(program("true")), false, "the output of /bin/sh holds no secret"),
        (
            SecretSource::Token(TokenSource::Command(program("echo Bearer x"))),
            false,
            "auth.token-command gave what",
        ),
    ];
    for (source, is_for_operator, expected) in cases {
        let read = match (read(&source).await, source.is_token()) {
            (Ok(secret), true) => token_of(&source, secret).map(drop),
            (read, _) => read.map(drop),
        };
        let cause = read.unwrap_err().cause();
        assert_eq!(matches!(cause, Cause::NoSecret(_)), is_for_operator, "{cause}");
        assert!(cause.to_string().contains(expected), "{cause}");
    }
}
