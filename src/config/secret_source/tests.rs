use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;

fn file(directory: &TempDir, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

fn shell(script: &str) -> SecretSource {
    SecretSource::Command(["/bin/sh", "-c", script].map(String::from).to_vec())
}

async fn exposed(source: &SecretSource) -> Result<String, String> {
    source.read().await.map(|secret| secret.expose().into()).map_err(|error| error.to_string())
}

#[test]
fn one_line_is_a_secret() {
    let taken =
        |octets: &[u8]| secret_of(Zeroizing::new(octets.to_vec())).map(|secret| secret.expose().to_owned());
    let longest = vec![b'x'; MAX_OCTETS];
    for (octets, expected) in [
        (&b"hunter2"[..], Ok("hunter2")),
        (b"hunter2\n", Ok("hunter2")),
        (b"hunter2\r\n", Ok("hunter2")),
        (b" p\xc3\xa4ss ", Ok(" p\u{e4}ss ")),
        (b"\xef\xbb\xbfhunter2\r\n", Ok("hunter2")),
        (b"\xef\xbb\xbf", Err(BadSecret::Empty)),
        (b"hunter\xef\xbb\xbf2", Ok("hunter\u{feff}2")),
        (b"", Err(BadSecret::Empty)),
        (b"\n", Err(BadSecret::Empty)),
        (b"\r\n", Err(BadSecret::Empty)),
        (b"hunter2\n\n", Err(BadSecret::NotOneLine)),
        (b"user\nhunter2\n", Err(BadSecret::NotOneLine)),
        (b"hunter2\r", Err(BadSecret::NotOneLine)),
        (b"hun\0ter2", Err(BadSecret::NotOneLine)),
        (b"hunter\xff", Err(BadSecret::NotUtf8)),
        (&longest, Ok(std::str::from_utf8(&longest).unwrap())),
        (&[b'x'; MAX_OCTETS + 1], Err(BadSecret::TooLong)),
    ] {
        assert_eq!(taken(octets), expected.map(String::from));
    }
}

#[tokio::test]
async fn a_file_is_read_anew_each_time() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "secret", "old\n", 0o600);
    let source = SecretSource::File(path.clone());
    assert_eq!(exposed(&source).await.unwrap(), "old");
    fs::write(&path, "new").unwrap();
    assert_eq!(exposed(&source).await.unwrap(), "new");
}

#[tokio::test]
async fn a_file_that_others_may_open_is_refused() {
    let directory = TempDir::new().unwrap();
    for (mode, refused) in [
        (0o600, false),
        (0o400, false),
        (0o640, false),
        (0o604, true),
        (0o644, true),
        (0o620, true),
        (0o610, true),
    ] {
        let path = file(&directory, &format!("{mode:o}"), "hunter2", mode);
        let read = SecretSource::File(path.clone()).read().await;
        assert_eq!(
            matches!(read, Err(SecretError::File(_, OpenFault::OpenToOthers { .. }))),
            refused,
            "{mode:o}"
        );
        if let Err(error) = read {
            let error = error.to_string();
            let ways = [&format!(": chmod 600 {}, or", path.display()), "(credential)", "(password-command)"];
            assert!(ways.iter().all(|way| error.contains(way)), "{error}");
        }
    }
}

#[tokio::test]
async fn the_mode_that_counts_is_that_of_the_file_behind_a_link() {
    let directory = TempDir::new().unwrap();
    let link = directory.path().join("link");
    symlink(file(&directory, "open", "hunter2", 0o644), &link).unwrap();
    assert!(matches!(
        SecretSource::File(link).read().await,
        Err(SecretError::File(_, OpenFault::OpenToOthers { .. }))
    ));
}

#[tokio::test]
async fn what_is_no_file_is_refused_and_never_waited_for() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for path in [pipe, directory.path().to_owned(), "/dev/null".into()] {
        let read = SecretSource::File(path.clone()).read().await;
        assert!(matches!(read, Err(SecretError::File(_, OpenFault::NotAFile))), "{path:?}: {read:?}");
    }
    let missing = SecretSource::File(directory.path().join("missing")).read().await.unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /"), "{missing}");
}

#[test]
fn who_may_not_read_a_file_is_said() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = SecretError::File("/etc/secret".into(), OpenFault::Unreadable(denied)).to_string();
    assert_eq!(error, format!("cannot read /etc/secret as uid {}: permission denied", geteuid().as_raw()));
}

#[tokio::test]
async fn a_credential_lies_in_the_directory_that_systemd_names() {
    let directory = TempDir::new().unwrap();
    // systemd's ACL shows as a group that may read.
    file(&directory, "relay", "hunter2\n", 0o440);
    let path = credential_path(Some(directory.path().into()), "relay").unwrap();
    assert_eq!(read_aside(path.clone(), Guard::Systemd).await.unwrap().expose(), "hunter2");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    assert!(matches!(
        read_file(&path, Guard::Systemd),
        Err(SecretError::File(_, OpenFault::OpenToOthers { .. }))
    ));
    let error = credential_path(None, "relay").unwrap_err().to_string();
    assert_eq!(error, "no credential relay: systemd gave us none (LoadCredential=relay:PATH does)");
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
    // Cut off, it dies of SIGPIPE, or of the error that a parent ignoring SIGPIPE leaves it.
    assert!(error.starts_with("/bin/sh failed") && !error.contains("hunter2"), "{error}");
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

#[test]
fn checking_runs_nothing() {
    let directory = TempDir::new().unwrap();
    let mark = directory.path().join("mark");
    assert!(shell(&format!("touch {}", mark.display())).check().is_ok());
    assert!(!mark.exists());
    let plain = file(&directory, "plain", "", 0o600);
    for program in [plain, directory.path().to_owned(), directory.path().join("missing")] {
        let command = SecretSource::Command(vec![program.to_str().unwrap().into()]);
        assert!(matches!(command.check(), Err(SecretError::NotRun(..))), "{program:?}");
    }
}
