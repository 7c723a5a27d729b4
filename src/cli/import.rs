//! `nullmta import-postfix`: writes `nullmta.toml` from the configuration of another program.
//!
//! Promises: an existing file is never overwritten; each secret is written to a file of mode 0600 or not at all; without
//! `-o`, the configuration is written to standard output, and nothing else is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{self, Path, PathBuf};

use clap::{Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::output::printed;
use super::service_user::ServiceUser;
use crate::config::Environment;
use crate::import::{ImportOptions, SourceFormat, import};
use crate::secret::Secret;

/// Write nullmta.toml from the configuration of Postfix, msmtp, nullmailer or ssmtp.
#[derive(Args)]
pub(super) struct ImportCommand {
    /// Postfix's or nullmailer's directory, msmtprc, ssmtp.conf, or the JSON attributes of Chef's postfix
    /// cookbook
    #[arg(value_name = "DIR", default_value = "/etc/postfix")]
    start: PathBuf,
    /// Write the configuration to this file instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the secret to this file, which only its owner can read: the service's user if it exists and root asks.
    /// The secrets of other logins go to files beside it, FILE-2, FILE-3 …
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The format of the files, if their names and text do not tell it
    #[arg(long, value_name = "FORMAT")]
    from: Option<From>,
}

/// The values of `--from`.
#[derive(Clone, Copy, ValueEnum)]
enum From {
    Postfix,
    Chef,
    Msmtp,
    Nullmailer,
    Ssmtp,
}

impl From {
    fn format(self) -> SourceFormat {
        match self {
            From::Postfix => SourceFormat::Postfix,
            From::Chef => SourceFormat::Chef,
            From::Msmtp => SourceFormat::Msmtp,
            From::Nullmailer => SourceFormat::Nullmailer,
            From::Ssmtp => SourceFormat::Ssmtp,
        }
    }
}

impl ImportCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let secret_file = self.secret_file.as_deref().map(absolute).transpose()?;
        // Both are looked for before either is written.
        [&self.output, &secret_file].into_iter().flatten().try_for_each(|path| refuse_existing(path))?;
        let options = ImportOptions {
            hostname: &Environment::of_host().hostname,
            secret_file: secret_file.as_deref().map(utf8).transpose()?,
        };
        let read = |path: &Path| fs::read(path);
        let imported = import(&self.start, self.from.map(From::format), &read, &options)
            .map_err(|error| Failure::new(Exit::Config, error))?;
        if let Some(path) = &secret_file {
            write_secrets(path, &imported.secrets)?;
        }
        match &self.output {
            Some(path) => write_new(path, imported.toml.as_bytes(), 0o644),
            None => printed(io::stdout().write_all(imported.toml.as_bytes())),
        }
    }
}

/// Returns the absolute path, which the configuration needs.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path::absolute(path).map_err(|error| cannot_write(path, &error))
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::new(Exit::Usage, "the path of the secret has to be UTF-8"))
}

fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(Failure::new(Exit::IoError, format!("{} exists: remove it first", path.display()))),
        Err(_) => Ok(()),
    }
}

/// Writes each secret into the file that the configuration names for it; the first is `asked`.
fn write_secrets(asked: &Path, secrets: &[(String, Secret)]) -> Result<(), Failure> {
    if secrets.is_empty() {
        eprintln!("nullmta: no secret was found: {} is not written", asked.display());
    }
    // All are looked for before any is written.
    secrets.iter().try_for_each(|(path, _)| refuse_existing(Path::new(path)))?;
    // The service's user reads them; where there is none yet, who runs the daemon may be anybody.
    let owner = ServiceUser::of_host().map(|user| user.uid());
    for (path, secret) in secrets {
        write_new_for(owner, Path::new(path), &[secret.expose(), b"\n"].concat(), 0o600)?;
    }
    Ok(())
}

/// Creates the file; it is on stable storage when this returns.
fn write_new(path: &Path, octets: &[u8], mode: u32) -> Result<(), Failure> {
    write_new_for(None, path, octets, mode)
}

/// Creates the file in the same way, and makes `owner` its owner.
fn write_new_for(owner: Option<u32>, path: &Path, octets: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        fchown(&file, owner, None)?;
        file.write_all(octets)?;
        file.sync_all()
    };
    write().map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::IoError, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn postfix(directory: &Path) -> PathBuf {
        let start = directory.join("etc/postfix");
        fs::create_dir_all(&start).unwrap();
        let main = "relayhost = [smtp.example.com]:587\nsmtp_sasl_auth_enable = yes\n\
                    smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\n";
        fs::write(start.join("main.cf"), main).unwrap();
        fs::write(start.join("sasl_passwd"), "[smtp.example.com]:587 apikey:hunter2\n").unwrap();
        start
    }

    fn into(directory: &Path, start: PathBuf) -> ImportCommand {
        let (output, secret_file) = (Some(directory.join("nullmta.toml")), Some(directory.join("secret")));
        ImportCommand { start, output, secret_file, from: None }
    }

    #[test]
    fn the_secret_is_in_its_own_file_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let import = into(directory.path(), postfix(directory.path()));
        import.run().unwrap();
        let secret = directory.path().join("secret");
        let toml = fs::read_to_string(directory.path().join("nullmta.toml")).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "hunter2\n");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(toml.contains(&format!("password-file = \"{}\"", secret.display())), "{toml}");
        assert!(!toml.contains("hunter2"), "{toml}");
    }

    /// Only the secret of the relayhost was kept: those of other senders had to be copied by hand.
    #[test]
    fn the_secret_of_each_route_is_in_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let start = postfix(directory.path());
        let main = fs::read_to_string(start.join("main.cf")).unwrap();
        let more = "sender_dependent_relayhost_maps = hash:/etc/postfix/relays\n\
                    smtp_sender_dependent_authentication = yes\n";
        fs::write(start.join("main.cf"), main + more).unwrap();
        fs::write(start.join("relays"), "@news.example [smtp.news.example]:587\n").unwrap();
        let passwords = "[smtp.example.com]:587 apikey:hunter2\n@news.example news:hunter3\n";
        fs::write(start.join("sasl_passwd"), passwords).unwrap();
        let import = into(directory.path(), start);
        import.run().unwrap();
        let secret = directory.path().join("secret-2");
        assert_eq!(fs::read_to_string(directory.path().join("secret")).unwrap(), "hunter2\n");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "hunter3\n");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        let toml = fs::read_to_string(directory.path().join("nullmta.toml")).unwrap();
        assert!(toml.contains(&format!("password-file = \"{}\"", secret.display())), "{toml}");
        assert!(!toml.contains("hunter"), "{toml}");
        let failure =
            ImportCommand { output: None, secret_file: Some(directory.path().join("new")), ..import };
        fs::write(directory.path().join("new-2"), "precious").unwrap();
        assert!(failure.run().unwrap_err().to_string().ends_with("new-2 exists: remove it first"));
        assert!(!directory.path().join("new").exists());
    }

    #[test]
    fn nothing_is_written_over_and_nothing_is_half_done() {
        let directory = tempfile::tempdir().unwrap();
        let import = into(directory.path(), postfix(directory.path()));
        fs::write(directory.path().join("nullmta.toml"), "precious").unwrap();
        let failure = import.run().unwrap_err();
        assert!(failure.to_string().ends_with("nullmta.toml exists: remove it first"), "{failure}");
        assert!(!directory.path().join("secret").exists());
        assert_eq!(fs::read_to_string(directory.path().join("nullmta.toml")).unwrap(), "precious");
    }

    #[test]
    fn errors_name_the_file_that_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let start = postfix(directory.path());
        fs::write(start.join("main.cf"), "relayhost = [a]\nno assignment\n").unwrap();
        let failure = into(directory.path(), start.clone()).run().unwrap_err();
        assert_eq!(failure.exit(), Exit::Config);
        assert!(
            failure.to_string().starts_with(&format!("{}:2: expected", start.join("main.cf").display())),
            "{failure}"
        );
        assert!(!directory.path().join("secret").exists());
    }
}
