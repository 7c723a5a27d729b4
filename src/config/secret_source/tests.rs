use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;
use crate::config::OpenFault;
use crate::secret::BadSecret;

fn file(directory: &TempDir, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

fn shell(script: &str) -> SecretSource {
    SecretSource::Command(["/bin/sh", "-c", script].map(String::from).to_vec())
}

#[test]
fn a_file_that_others_may_open_is_refused() {
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
        let read = SecretFile::at(&path, SecretKind::Password).read();
        assert_eq!(
            matches!(read, Err(SecretError::File(_, OpenFault::OpenToOthers { .. }, _))),
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

#[test]
fn the_mode_that_counts_is_that_of_the_file_behind_a_link() {
    let directory = TempDir::new().unwrap();
    let link = directory.path().join("link");
    symlink(file(&directory, "open", "hunter2", 0o644), &link).unwrap();
    assert!(matches!(
        SecretFile::at(&link, SecretKind::Password).read(),
        Err(SecretError::File(_, OpenFault::OpenToOthers { .. }, _))
    ));
}

/// Kubernetes mounts a secret so, and exchanges `..data` when it rotates it.
#[test]
fn a_secret_behind_the_links_of_a_mount_is_read_and_rotated() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("..data");
    for (version, password) in [("..2026_01", "old"), ("..2026_02", "new")] {
        fs::create_dir(directory.path().join(version)).unwrap();
        file(&directory, &format!("{version}/password"), format!("{password}\n"), 0o440);
        let next = directory.path().join("..data_tmp");
        symlink(version, &next).unwrap();
        fs::rename(&next, &data).unwrap();
        if version == "..2026_01" {
            symlink("..data/password", directory.path().join("password")).unwrap();
        }
        let read = SecretFile::at(&directory.path().join("password"), SecretKind::Password).read().unwrap();
        assert_eq!(read.text(), Some(password));
    }
}

#[test]
fn what_is_no_file_is_refused_and_never_waited_for() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for path in [pipe, directory.path().to_owned(), "/dev/null".into()] {
        let read = SecretFile::at(&path, SecretKind::Password).read();
        assert!(matches!(read, Err(SecretError::File(_, OpenFault::NotAFile, _))), "{path:?}: {read:?}");
    }
    let missing = SecretFile::at(&directory.path().join("missing"), SecretKind::Password).read().unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /"), "{missing}");
}

#[test]
fn who_may_not_read_a_file_is_said() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = SecretError::File("/etc/secret".into(), OpenFault::Unreadable(denied), SecretKind::Password)
        .to_string();
    let expected = format!(
        "cannot read /etc/secret as uid {}: permission denied; give the file to that user (chown), with mode 600, and \
         let it through the directories",
        geteuid().as_raw()
    );
    assert_eq!(error, expected);
}

/// An operator was called for what passes by itself, or nobody was for a file that stays as it is.
#[test]
fn what_stays_is_for_an_operator_and_what_passes_is_not() {
    let file = |fault| SecretError::File("/etc/secret".into(), fault, SecretKind::Password);
    let unreadable = |error: Errno| file(OpenFault::Unreadable(error.into()));
    let not_run = |error: Errno| SecretError::NotRun("/bin/pass".into(), error.into());
    let cases = [
        (unreadable(Errno::NOENT), true),
        (unreadable(Errno::ACCESS), true),
        (unreadable(Errno::NOTDIR), true),
        (unreadable(Errno::NAMETOOLONG), true),
        (unreadable(Errno::MFILE), false),
        (unreadable(Errno::IO), false),
        (file(OpenFault::NotAFile), true),
        (file(OpenFault::OpenToOthers { mode: 0o644 }), true),
        (file(OpenFault::WrongOwner { uid: 1000 }), true),
        (SecretError::NoCredentials("relay".into()), true),
        (SecretError::NoSecret("/etc/secret".into(), BadSecret::Empty), true),
        (not_run(Errno::NOENT), true),
        (not_run(Errno::AGAIN), false),
        (not_run(Errno::NOMEM), false),
    ];
    for (error, expected) in cases {
        assert_eq!(error.is_for_operator(), expected, "{error}");
    }
}

#[test]
fn a_credential_lies_in_the_directory_that_systemd_names() {
    let directory = TempDir::new().unwrap();
    // systemd's ACL shows as a group that may read.
    file(&directory, "relay", "hunter2\n", 0o440);
    let credential = SecretFile::in_directory(Some(directory.path().into()), "relay").unwrap();
    assert_eq!(credential.read().unwrap().text(), Some("hunter2"));
    fs::set_permissions(&credential.path, PermissionsExt::from_mode(0o444)).unwrap();
    assert!(matches!(credential.read(), Err(SecretError::File(_, OpenFault::OpenToOthers { .. }, _))));
    let error = SecretFile::in_directory(None, "relay").unwrap_err().to_string();
    assert_eq!(error, "no credential relay: systemd gave us none (LoadCredential=relay:PATH does)");
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

/// Whoever had a client secret of mode 644 was sent to `credential`, which only takes the place of a password.
#[test]
fn what_to_do_about_a_file_fits_the_key_that_names_it() {
    let told = |kind, fault| SecretError::File("/s".into(), fault, kind).to_string();
    let cases = [
        (SecretKind::Password, "put the secret there", "(credential) or by a program (password-command)"),
        (SecretKind::AccessToken, "put the token there", "have a program print the token (token-command)"),
        (
            SecretKind::ClientSecret,
            "put the secret there",
            "name a copy of it with that mode, which belongs to nullmta's user",
        ),
        (SecretKind::RefreshToken, "put a refresh token there", "mode 0644): chmod 600 /s"),
    ];
    for (kind, missing, open) in cases {
        let absent = told(kind, OpenFault::Unreadable(Errno::NOENT.into()));
        let exposed = told(kind, OpenFault::OpenToOthers { mode: 0o644 });
        assert!(absent.contains(missing) && exposed.ends_with(open), "{absent} {exposed}");
        assert_eq!(absent.contains("nullmta oauth login"), kind == SecretKind::RefreshToken, "{absent}");
    }
}
