//! The files that are imported: which one a path of the configuration means, and their text.
//!
//! Promises: reads through the function it was given and in no other way. A configuration that was copied
//! elsewhere (`/backup/web1/etc/postfix`) finds its own `/etc/aliases`, not this host's.
//!
//! Fails: a file that is not there is `Ok(None)`, for the caller to judge; one that cannot be read is an
//! error.

use std::io;
use std::path::{Path, PathBuf};

use super::location::{ImportError, SourceLocation};

/// Gives the octets of the file at a path; [`io::ErrorKind::IsADirectory`] for a directory.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Where the paths that a configuration names are to be looked for.
pub(super) struct SourceFiles<'a> {
    read: Read<'a>,
    /// What the configuration takes for its own directory.
    home: &'static str,
    /// Where that directory is now.
    directory: PathBuf,
    /// Where `/` of its host is now.
    root: PathBuf,
}

/// Prefixes that packages are installed under: `/usr/local/etc/postfix` is no copy of a host.
const PREFIXES: [&str; 4] = ["/usr/local", "/usr/pkg", "/opt/local", "/opt/homebrew"];

impl<'a> SourceFiles<'a> {
    /// The files around `directory`, which its host calls `home`.
    pub(super) fn new(directory: &Path, home: &'static str, read: Read<'a>) -> Self {
        let depth = Path::new(home).components().count() - 1;
        let root = match directory.ends_with(home.trim_start_matches('/')) {
            true => directory.ancestors().nth(depth).unwrap_or(Path::new("/")),
            false => Path::new("/"),
        };
        let root =
            if PREFIXES.iter().any(|prefix| root == Path::new(prefix)) { Path::new("/") } else { root };
        SourceFiles { read, home, directory: directory.into(), root: root.into() }
    }

    /// Where the file is that the configuration calls `path`.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        if path.starts_with(&self.directory) {
            return path.into();
        }
        match (path.strip_prefix(self.home), path.strip_prefix("/")) {
            (Ok(inside), _) => self.directory.join(inside),
            (_, Ok(below)) => self.root.join(below),
            _ => path.into(),
        }
    }

    /// The path of `name` in the configuration's own directory.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}/{name}", self.home)
    }

    /// The text of the file at `path`; `None` when there is none. Octets that are not UTF-8 become U+FFFD,
    /// which `lines.rs` refuses outside comments.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, ImportError> {
        match (self.read)(&self.at(path)) {
            Ok(octets) => Ok(Some(String::from_utf8_lossy(&octets).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceLocation::file(path).error(format!("cannot be read: {error}"))),
        }
    }

    /// `error`, with the path under which the file can be found now.
    pub(super) fn located(&self, mut error: ImportError) -> ImportError {
        error.location.file = self.at(&error.location.file).display().to_string();
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_host_keeps_to_itself() {
        let cases = [
            ("/etc/postfix", "/etc/postfix/sasl", "/etc/postfix/sasl"),
            ("/etc/postfix", "/etc/aliases", "/etc/aliases"),
            ("/backup/web1/etc/postfix", "/etc/postfix/sasl", "/backup/web1/etc/postfix/sasl"),
            ("/backup/web1/etc/postfix", "/etc/aliases", "/backup/web1/etc/aliases"),
            ("/backup/web1/etc/postfix", "/backup/web1/etc/postfix/x", "/backup/web1/etc/postfix/x"),
            ("etc/postfix", "/etc/aliases", "etc/aliases"),
            ("/tmp/pf", "/etc/postfix/maps/sasl", "/tmp/pf/maps/sasl"),
            ("/tmp/pf", "/etc/aliases", "/etc/aliases"),
            ("/usr/local/etc/postfix", "/usr/local/etc/postfix/sasl", "/usr/local/etc/postfix/sasl"),
            ("/usr/local/etc/postfix", "/etc/aliases", "/etc/aliases"),
        ];
        for (directory, path, found) in cases {
            let files = SourceFiles::new(Path::new(directory), "/etc/postfix", &|_| {
                Err(io::ErrorKind::NotFound.into())
            });
            assert_eq!(files.at(path), Path::new(found), "{directory}: {path}");
        }
    }

    #[test]
    fn missing_is_no_error_and_unreadable_is_one() {
        let denied = |path: &Path| match path.ends_with("secret") {
            true => Err(io::ErrorKind::PermissionDenied.into()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let files = SourceFiles::new(Path::new("/b/etc/postfix"), "/etc/postfix", &denied);
        assert_eq!(files.text("/etc/postfix/gone"), Ok(None));
        let error = files.located(files.text("/etc/postfix/secret").unwrap_err());
        assert_eq!(error.to_string(), "/b/etc/postfix/secret: cannot be read: permission denied");
    }
}
