//! Finds and reads the files that an imported configuration names.
//!
//! Promises: files are read only through the function that was given. For a configuration that was copied elsewhere
//! (`/backup/web1/etc/postfix`), `/etc/aliases` means the file in that copy, not the one of this host.
//!
//! Fails: a file that does not exist is `Ok(None)`, and the caller decides; one that cannot be read is an error.

use std::io;
use std::path::{Path, PathBuf};

use super::location::{ImportError, SourceLocation};

/// A function that returns the octets of the file at a path; for a directory, [`io::ErrorKind::IsADirectory`].
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The files that a configuration can name, and where they are found now.
pub(super) struct SourceFiles<'a> {
    read: Read<'a>,
    /// The directory of the configuration on its own host, such as `/etc/postfix`.
    home: &'static str,
    /// The path of that directory here.
    directory: PathBuf,
    /// The path here of what is `/` on its own host.
    root: PathBuf,
}

/// Directories under which packages are installed: `/usr/local/etc/postfix` is not a copy from another host.
const PREFIXES: [&str; 4] = ["/usr/local", "/usr/pkg", "/opt/local", "/opt/homebrew"];

impl<'a> SourceFiles<'a> {
    /// Returns the files around `directory`, which is called `home` on its own host.
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

    /// Returns the path here of the file that the configuration names as `path`.
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

    /// Returns the path of the file `name` in the directory of the configuration.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}/{name}", self.home)
    }

    /// Returns the text of the file at `path`; `None` if there is no such file. Octets that are not UTF-8 become U+FFFD,
    /// which `lines.rs` refuses outside comments.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, ImportError> {
        match (self.read)(&self.at(path)) {
            Ok(octets) => Ok(Some(String::from_utf8_lossy(&octets).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceLocation::file(path).error(format!("cannot be read: {error}"))),
        }
    }

    /// Returns `error` with the path where the file is found here.
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
