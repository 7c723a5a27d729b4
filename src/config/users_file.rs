//! The users who may log in at the listener: the file that `listen.users-file` names.
//!
//! ```toml
//! [[user]]
//! name = "shop"
//! scram-sha-256 = "SCRAM-SHA-256$15000:…$…:…"     # the keys of the password, by `nullmta user`
//! reverse-paths = ["shop@example.com"]            # in MAIL, beside <>; any without it
//! from-domains = ["example.com", ".example.com"]  # in From; any without it
//! ```
//! Promises: a [`LoginUsers`] that exists has no name twice, and nothing that breaks the rule of its key. The file is read only
//! if nobody but root and us can read or change it, as a file with a secret (`access.rs`); no error repeats keys.
//!
//! Fails: [`UsersFileError`]. Then nobody of the file can log in, or those of before; mail that needs no login goes on.
//!
//! Not here: changes to the file (`users_edit.rs`), when it is read again (`listener/login/`).

use std::borrow::Cow;
use std::fmt;
use std::fs::metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::ConfigError;
use super::access::{Guard, OpenFault, open};
use super::error::{ConfigFault, KeyLocation, line_at};
use super::setting::Setting;
use super::table::{Key, Keys, Located, LocatedList, TablePart, TomlTable, table};
use crate::routing::AddressPattern;
use crate::sasl_server::ScramKeys;

/// The longest file that is read, in octets; each user takes about 250.
const MAX_OCTETS: u64 = 16 << 20;

/// Upper bound, in octets, of a name.
const MAX_NAME_OCTETS: usize = 255;

/// A user who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginUser {
    /// The name, as SASLprep makes it.
    pub name: String,
    /// The keys of the password.
    pub keys: ScramKeys,
    /// The reverse-paths that the user may give besides `<>`, which everybody may; empty for all.
    pub reverse_paths: Vec<AddressPattern>,
    /// The domains of the authors that the user may give; empty for all.
    pub from_domains: Vec<AddressPattern>,
}

/// All users of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginUsers(pub Vec<LoginUser>);

table! {
    /// The whole file.
    UsersTable {
        user: Vec<Located<UserTable>>,
    }
}

table! {
    /// The keys of `[[user]]`.
    UserTable {
        name: Key<LoginName>,
        scram_sha_256: Key<ScramKeys>,
        reverse_paths: Keys<AddressPattern>,
        from_domains: Keys<FromDomain>,
    }
}

impl TablePart for Vec<Located<UserTable>> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        let user = |(location, table)| Ok(Located { location, value: UserTable::read(table)? });
        table.numbered_tables(key)?.into_iter().map(user).collect()
    }
}

/// The name of a user in AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName(pub String);

impl LoginName {
    /// Returns the name in `text`, as SASLprep (RFC 4013) makes it; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let name = stringprep::saslprep(text).ok()?;
        let is_short = (1..=MAX_NAME_OCTETS).contains(&name.len());
        let is_word = !name.chars().any(|letter| letter.is_whitespace() || letter.is_control());
        (is_short && is_word).then(|| LoginName(name.into_owned()))
    }
}

impl Setting for LoginName {
    fn expected() -> Cow<'static, str> {
        "a name such as \"shop\", of up to 255 octets, without spaces".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        LoginName::parse(value.as_str()?)
    }
}

impl Setting for ScramKeys {
    fn expected() -> Cow<'static, str> {
        "the keys of a password, \"SCRAM-SHA-256$…\", as `nullmta user passwd` writes them".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        ScramKeys::parse(value.as_str()?)
    }

    fn found(_: &DeValue<'_>) -> String {
        "something else (not shown: it may be a secret)".into()
    }
}

/// A domain of an author, or all domains below it.
#[derive(Clone, Debug)]
pub struct FromDomain(pub AddressPattern);

impl FromDomain {
    /// Parses `example.com`, or `.example.com` for all domains below it.
    pub fn parse(text: &str) -> Option<Self> {
        AddressPattern::parse(&format!("@{text}")).map(FromDomain)
    }
}

impl Setting for FromDomain {
    fn expected() -> Cow<'static, str> {
        "a domain such as \"example.com\", or \".example.com\" for all domains below it".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        FromDomain::parse(value.as_str()?)
    }
}

/// The reason why a file with users cannot be used.
#[derive(Debug)]
pub enum UsersFileError {
    /// It cannot be read, or others could read or change it.
    Unusable(PathBuf, OpenFault),
    /// It says something that is no user.
    Bad(ConfigError),
}

impl fmt::Display for UsersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsersFileError::Unusable(path, fault) => {
                let remedy = match fault {
                    OpenFault::Unreadable(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        "; nullmta user add NAME makes it"
                    }
                    OpenFault::Unreadable(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                        "; give the file to that user (chown), with mode 600, and let it through the directories"
                    }
                    OpenFault::WrongOwner { .. } => "; give it to one of them (chown)",
                    OpenFault::NotAFile => "; name a file",
                    OpenFault::OpenToOthers { .. } | OpenFault::Unreadable(_) => "",
                };
                write!(f, "{}{remedy}", fault.words(path))
            }
            UsersFileError::Bad(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UsersFileError {}

impl UsersFileError {
    /// Returns whether the same file may be readable later, as when too many files were open: nothing is known of its content.
    pub fn is_passing(&self) -> bool {
        matches!(self, UsersFileError::Unusable(_, OpenFault::Unreadable(_)))
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp([i64; 7]);

impl FileStamp {
    /// Returns the stamp of the file at `path`; `None` if there is none that can be looked at. Blocks on the disk.
    pub fn of(path: &Path) -> Option<Self> {
        let found = metadata(path).ok()?;
        let numbers = [found.dev() as i64, found.ino() as i64, found.size() as i64];
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        let mut stamp = [0; 7];
        stamp.iter_mut().zip(numbers.into_iter().chain(times)).for_each(|(slot, number)| *slot = number);
        Some(FileStamp(stamp))
    }
}

impl LoginUsers {
    /// Reads the file at `path`. Blocks on the disk.
    pub fn load(path: &Path) -> Result<Self, UsersFileError> {
        LoginUsers::parse(&read(path)?, path).map_err(UsersFileError::Bad)
    }

    /// Parses `text`, the content of the file at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        parse(text).map_err(|fault| ConfigError::new(path, fault))
    }

    /// Returns the user with this name, which a client may spell otherwise than SASLprep does.
    pub fn find(&self, name: &str) -> Option<&LoginUser> {
        let name = stringprep::saslprep(name).ok()?;
        self.0.iter().find(|user| user.name == name)
    }
}

/// Reads the text of the file at `path`, if nobody else can read or change it. Blocks on the disk.
pub(super) fn read(path: &Path) -> Result<String, UsersFileError> {
    let unusable = |fault| UsersFileError::Unusable(path.into(), fault);
    let (file, _) = open(path, Guard::Ourselves).map_err(unusable)?;
    let mut octets = Vec::new();
    file.take(MAX_OCTETS).read_to_end(&mut octets).map_err(|error| unusable(OpenFault::Unreadable(error)))?;
    String::from_utf8(octets).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..end]).into_owned();
        let location = KeyLocation { line: line_at(&valid, end), key: String::new() };
        UsersFileError::Bad(ConfigError::new(path, location.expected("UTF-8", "an octet that is not")))
    })
}

fn parse(text: &str) -> Result<LoginUsers, ConfigFault> {
    let file = TomlTable::document(text).and_then(UsersTable::read)?;
    let mut users: Vec<LoginUser> = Vec::new();
    for Located { location, value: table } in file.user {
        let missing = |key: &str| {
            let key = format!("{}.{key}", location.key);
            KeyLocation { line: location.line, key }
        };
        let Some(name) = table.name else {
            return Err(missing("name").expected(LoginName::expected(), "none"));
        };
        let Some(keys) = table.scram_sha_256 else {
            return Err(missing("scram-sha-256").expected(ScramKeys::expected(), "none"));
        };
        if users.iter().any(|other| other.name == name.value.0) {
            return Err(name.location.expected("each name once", format!("{:?} again", name.value.0)));
        }
        let from_domains = values(&table.from_domains).into_iter().map(|domain| domain.0).collect();
        let reverse_paths = values(&table.reverse_paths);
        users.push(LoginUser { name: name.value.0, keys: keys.value, reverse_paths, from_domains });
    }
    Ok(LoginUsers(users))
}

fn values<T: Clone>(keys: &Keys<T>) -> Vec<T> {
    keys.as_ref().map(LocatedList::values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn parsed(text: &str) -> Result<LoginUsers, String> {
        let text = text.replace("KEYS", &format!("scram-sha-256 = {KEYS:?}"));
        LoginUsers::parse(&text, Path::new("users")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_users_with_what_they_may() {
        let text = "# by hand\n[[user]]\nname = \"shop\"\nKEYS\nreverse-paths = [\"a@b.example\", \"@c.example\", \"@.c.example\"]\n\
                    from-domains = \"c.example\"\n[[user]]\nname = \"\u{aa}nn\"\nKEYS\n";
        let users = parsed(text).unwrap();
        let [shop, ann] = &users.0[..] else { panic!("{users:?}") };
        assert_eq!((shop.reverse_paths.len(), shop.from_domains.len()), (3, 1));
        assert_eq!((ann.name.as_str(), ann.reverse_paths.len()), ("ann", 0));
        assert_eq!(users.find("\u{aa}nn"), Some(ann), "SASLprep makes it the same");
        assert_eq!((users.find("Shop"), users.find("")), (None, None));
        assert_eq!(parsed("").unwrap(), LoginUsers::default());
    }

    #[test]
    fn an_error_has_its_line_and_repeats_no_keys() {
        for (text, expected) in [
            ("[[user]]\nKEYS", "users:1: key `user[1].name`: expected a name such as"),
            (
                "[[user]]\nname = \"a\"",
                "users:1: key `user[1].scram-sha-256`: expected the keys of a password",
            ),
            ("[[user]]\nname = \"a b\"\nKEYS", "users:2: key `user[1].name`: expected a name such as"),
            (
                "[[user]]\nname = \"a\"\nscram-sha-256 = \"secret\"",
                "users:3: key `user[1].scram-sha-256`: expected the keys",
            ),
            (
                "[[user]]\nname = \"a\"\nKEYS\n[[user]]\nname = \"a\"\nKEYS",
                "users:5: key `user[2].name`: expected each name once",
            ),
            (
                "[[user]]\nname = \"a\"\nKEYS\nfrom-domains = [\"@a.b\"]",
                "users:4: key `user[1].from-domains`: expected a domain",
            ),
            (
                "[[user]]\nname = \"a\"\nKEYS\nreverse-paths = []",
                "users:4: key `user[1].reverse-paths`: expected",
            ),
            (
                "[[user]]\nname = \"a\"\nKEYS\npassword = \"secret\"",
                "users:4: key `user[1].password`: unknown key",
            ),
            (
                "[[user]]\nname = \"a\"\nKEYS\nfrom-domain = \"a.b\"",
                "unknown key (did you mean `from-domains`?)",
            ),
            ("user = 1", "users:1: key `user`: expected a list of tables, [[user]]"),
            ("[[user]", "not valid TOML"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret\""), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let missing = LoginUsers::load(&path).unwrap_err().to_string();
        assert!(missing.contains("nullmta user add NAME makes it"), "{missing}");
        assert!(FileStamp::of(&path).is_none());
        std::fs::write(&path, "").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(LoginUsers::load(&path).unwrap_err().to_string().contains("chmod 600"));
        mode(0o600);
        assert_eq!(LoginUsers::load(&path).unwrap(), LoginUsers::default());
        let before = FileStamp::of(&path);
        std::fs::write(&path, b"\n\n\xff").unwrap();
        assert_ne!(FileStamp::of(&path), before);
        assert!(LoginUsers::load(&path).unwrap_err().to_string().contains(":3: expected UTF-8"));
    }
}
