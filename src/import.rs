//! Imports the configuration of another program: of Postfix, also as attributes of a Chef cookbook, of msmtp,
//! nullmailer or ssmtp.
//!
//! Promises: 1. `nullmta check` accepts the result, apart from files that the result names; 2. a comment above each key
//! says which settings it was made from, and each setting that became no key is listed with the reason; 3. no secret
//! is in the text, in an error or in a debug print; 4. pure: files are read through the function that is given.
//!
//! Fails: [`ImportError`], with file and line. There is no result then: half a configuration would send mail the wrong
//! way.
//!
//! Not here: writing files (`cli/import.rs`), what the keys mean (`config/`).
//!
//! ```text
//!  main.cf ─ lines ─ main_cf ─ expand ─┐
//!  hash: regexp: … ─ maps ─ pattern ───┼─ postfix/ ─┐
//!  node.json ─ chef ───────────────────┘            ├─ draft ─ render ─ TOML
//!  msmtprc, ssmtp.conf, nullmailer/ ────────────────┘
//! ```

mod chef;
mod draft;
mod expand;
mod files;
mod finish;
mod lines;
mod location;
mod main_cf;
mod maps;
mod master_cf;
mod msmtp;
mod nexthop;
mod nullmailer;
mod pattern;
mod postfix;
mod render;
mod single_relay;
mod ssmtp;
mod times;

use std::io;
use std::path::{Path, PathBuf};

pub use files::Read;
pub use location::{ImportError, SourceLocation};

use crate::secret::Secret;
use draft::ConfigDraft;
use files::SourceFiles;
use main_cf::Parameters;

/// The program whose configuration is imported, and the form that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// A directory with `main.cf`.
    Postfix,
    /// A JSON file with the attributes of the `postfix` cookbook.
    Chef,
    /// The file `msmtprc`.
    Msmtp,
    /// A directory with `remotes`.
    Nullmailer,
    /// The file `ssmtp.conf`.
    Ssmtp,
}

/// The arguments of an import, apart from the files.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions<'a> {
    /// The name of this host.
    pub hostname: &'a str,
    /// The path where the caller will write the first secret; others get a number behind it. `None` if a person will do
    /// that.
    pub secret_file: Option<&'a str>,
}

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// The text of `nullmta.toml`.
    pub toml: String,
    /// The secrets of the logins, each with the path of the file that the text names for it.
    pub secrets: Vec<(String, Secret)>,
}

/// Imports the configuration at `start`, a file or a directory. Without `format`, its name and content decide.
pub fn import(
    start: &Path,
    format: Option<SourceFormat>,
    read: Read<'_>,
    options: &ImportOptions<'_>,
) -> Result<Imported, ImportError> {
    let (format, file) = recognise(start, format, read)?;
    let directory =
        file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")).to_owned();
    let home = match format {
        SourceFormat::Nullmailer => "/etc/nullmailer",
        SourceFormat::Ssmtp => "/etc/ssmtp",
        _ => "/etc/postfix",
    };
    let files = SourceFiles::new(&directory, home, read);
    let mut draft = ConfigDraft::default();
    let begun = begin(format, &file, &files, options, &mut draft).map_err(|error| files.located(error))?;
    let finished = draft.finish(&start.display().to_string(), &begun, options.hostname);
    finished.map_err(|error| files.located(error))
}

/// Fills `draft`, and returns the location for errors that concern the configuration as a whole.
fn begin(
    format: SourceFormat,
    file: &Path,
    files: &SourceFiles<'_>,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) -> Result<SourceLocation, ImportError> {
    // Within its own directory a file is called what its host calls it.
    let name = match (format, file.file_name()) {
        (SourceFormat::Postfix | SourceFormat::Nullmailer, Some(name)) => files.own(&name.to_string_lossy()),
        _ => file.display().to_string(),
    };
    let location = SourceLocation::file(&name);
    let text = files.text(&name)?.ok_or_else(|| location.error("is not there"))?;
    match format {
        SourceFormat::Postfix => {
            let mut parameters = Parameters::of_host(options.hostname);
            parameters.read(&name, &text)?;
            postfix::carry(&postfix::PostfixSource { parameters: &parameters, files, options }, draft)?;
            master_cf::account(files, draft)?;
        }
        SourceFormat::Chef => chef::carry(&location, &text, options, draft)?,
        SourceFormat::Msmtp => msmtp::carry(&location, &text, options, draft)?,
        SourceFormat::Nullmailer => nullmailer::carry(files, &location, &text, options, draft)?,
        SourceFormat::Ssmtp => ssmtp::carry(files, &location, &text, options, draft)?,
    }
    Ok(location)
}

/// File names that show the format.
const NAMES: [(&str, SourceFormat); 7] = [
    ("main.cf", SourceFormat::Postfix),
    ("remotes", SourceFormat::Nullmailer),
    ("ssmtp.conf", SourceFormat::Ssmtp),
    ("msmtprc", SourceFormat::Msmtp),
    (".msmtprc", SourceFormat::Msmtp),
    ("msmtp.conf", SourceFormat::Msmtp),
    ("revaliases", SourceFormat::Ssmtp),
];

/// Returns the format of `start`, and the file to begin with.
fn recognise(
    start: &Path,
    forced: Option<SourceFormat>,
    read: Read<'_>,
) -> Result<(SourceFormat, PathBuf), ImportError> {
    let error = |message: String| ImportError {
        location: SourceLocation::file(&start.display().to_string()),
        message,
    };
    let octets = match read(start) {
        Ok(octets) => octets,
        Err(failure) if failure.kind() == io::ErrorKind::IsADirectory => {
            let mut known = NAMES.iter().filter(|(_, format)| forced.is_none_or(|forced| forced == *format));
            let found = known.find(|(name, _)| read(&start.join(name)).is_ok());
            return found.map(|(name, format)| (*format, start.join(name))).ok_or_else(|| {
                error("expected a directory with main.cf, remotes, ssmtp.conf or msmtprc".into())
            });
        }
        Err(failure) => return Err(error(format!("cannot be read: {failure}"))),
    };
    let named = NAMES.iter().find(|(name, _)| start.file_name().is_some_and(|file| file == *name));
    let format =
        forced.or(named.map(|(_, format)| *format)).or_else(|| by_content(&String::from_utf8_lossy(&octets)));
    let unknown = || {
        error("expected main.cf, msmtprc, ssmtp.conf, remotes or Chef attributes; --from says which".into())
    };
    format.map(|format| (format, start.to_owned())).ok_or_else(unknown)
}

/// Returns the format that the content of a file suggests.
fn by_content(text: &str) -> Option<SourceFormat> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let has_key = |key: &str| {
        lines()
            .any(|line| line.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case(key)))
    };
    let first = lines().next()?;
    match first.split_whitespace().next()? {
        word if word.starts_with('{') => Some(SourceFormat::Chef),
        "account" | "defaults" | "host" => Some(SourceFormat::Msmtp),
        _ if has_key("mailhub") => Some(SourceFormat::Ssmtp),
        _ if has_key("relayhost") || has_key("myhostname") => Some(SourceFormat::Postfix),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_text() {
        for (text, format) in [
            ("# c\n{\"postfix\": {}}", Some(SourceFormat::Chef)),
            ("defaults\nauth on\n", Some(SourceFormat::Msmtp)),
            ("\naccount x\nhost a", Some(SourceFormat::Msmtp)),
            ("root=postmaster\nmailhub=mail:587", Some(SourceFormat::Ssmtp)),
            ("biff = no\nrelayhost=[a]", Some(SourceFormat::Postfix)),
            ("smtp.example.com smtp --port=587", None),
            ("", None),
        ] {
            assert_eq!(by_content(text), format, "{text}");
        }
    }

    #[test]
    fn directories_are_known_by_their_files_and_a_format_can_be_forced() {
        let read = |path: &Path| match path.to_str().unwrap() {
            "/etc" => Err(io::ErrorKind::IsADirectory.into()),
            "/etc/ssmtp.conf" | "/etc/msmtprc" | "/x" => Ok(Vec::new()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let found = |start: &str, forced| {
            recognise(Path::new(start), forced, &read).map_err(|error| error.to_string())
        };
        assert_eq!(found("/etc", None), Ok((SourceFormat::Ssmtp, "/etc/ssmtp.conf".into())));
        assert_eq!(
            found("/etc", Some(SourceFormat::Msmtp)),
            Ok((SourceFormat::Msmtp, "/etc/msmtprc".into()))
        );
        assert_eq!(found("/x", Some(SourceFormat::Chef)), Ok((SourceFormat::Chef, "/x".into())));
        assert!(
            found("/etc", Some(SourceFormat::Nullmailer))
                .unwrap_err()
                .starts_with("/etc: expected a directory")
        );
        assert!(found("/x", None).unwrap_err().contains("--from"));
        assert_eq!(found("/gone", None), Err("/gone: cannot be read: entity not found".into()));
    }
}
