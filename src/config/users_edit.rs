//! Changes to the text of a file with users, as `nullmta user` makes them.
//!
//! Promises: a change leaves everything else in the file as it was, comments too, and the result says exactly what was asked
//! for: it is read again, and compared. A comment directly above a user who is deleted goes with the user.
//!
//! Fails: [`UsersEditError`]; then there is no new text. A file in which users are written in another way than `[[user]]` can
//! be too odd for a change.

use std::fmt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::toml_text::quoted;
use super::users_file::{LoginUser, LoginUsers, UsersFileError, read};
use crate::routing::AddressPattern;
use crate::sasl_server::ScramKeys;

/// The head of a new file.
const HEAD: &str = "# The users who may log in to nullmta (listen.users-file). `nullmta user` changes this file, and keeps \
                    what else stands in it.\n";

/// The reason why a change is not made.
#[derive(Debug)]
pub enum UsersEditError {
    /// The file cannot be used as it is.
    File(UsersFileError),
    /// There is a user of this name.
    Known(String),
    /// There is no user of this name.
    Unknown(String),
    /// The file is written in a way that the change does not fit in.
    TooOdd,
}

impl fmt::Display for UsersEditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsersEditError::File(error) => error.fmt(f),
            UsersEditError::Known(name) => {
                write!(f, "there is a user {name:?} already: nullmta user passwd changes the password")
            }
            UsersEditError::Unknown(name) => {
                write!(f, "there is no user {name:?}: nullmta user list shows those that there are")
            }
            UsersEditError::TooOdd => f.write_str(
                "the file was not changed, since its users are written in an unusual way: begin each one with a line [[user]]",
            ),
        }
    }
}

impl std::error::Error for UsersEditError {}

/// The text of a file with users, with what it says.
#[derive(Debug)]
pub struct UsersText {
    text: String,
    /// The users in it.
    pub users: LoginUsers,
}

impl UsersText {
    /// Reads the file at `path`. Blocks on the disk.
    pub fn load(path: &Path) -> Result<Self, UsersEditError> {
        UsersText::of(read(path).map_err(UsersEditError::File)?, path)
    }

    fn of(text: String, path: &Path) -> Result<Self, UsersEditError> {
        let users = LoginUsers::parse(&text, path)
            .map_err(|error| UsersEditError::File(UsersFileError::Bad(error)))?;
        Ok(UsersText { text, users })
    }

    /// Returns the text with one user more, at its end.
    pub fn with(&self, user: &LoginUser) -> Result<String, UsersEditError> {
        if self.users.find(&user.name).is_some() {
            return Err(UsersEditError::Known(user.name.clone()));
        }
        let mut text = if self.text.trim().is_empty() { HEAD.to_owned() } else { self.text.clone() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text += &format!("\n{}", block(user));
        let users = self.users.0.iter().chain([user]).cloned().collect();
        proven(text, users)
    }

    /// Returns the text with other keys for the user of this name.
    pub fn with_keys(&self, name: &str, keys: &ScramKeys) -> Result<String, UsersEditError> {
        let place = self.place(name)?;
        let table = self.table(place).ok_or(UsersEditError::TooOdd)?;
        let (span, _) = value(&table, "scram-sha-256").ok_or(UsersEditError::TooOdd)?;
        let mut text = self.text.clone();
        text.replace_range(span, &quoted(&keys.to_string()));
        let mut users = self.users.0.clone();
        users[place].keys = keys.clone();
        proven(text, users)
    }

    /// Returns the text without the user of this name.
    pub fn without(&self, name: &str) -> Result<String, UsersEditError> {
        let place = self.place(name)?;
        let lines = self.block_lines(place).ok_or(UsersEditError::TooOdd)?;
        let kept = self.text.split_inclusive('\n').enumerate().filter(|(line, _)| !lines.contains(line));
        let text = kept.map(|(_, line)| line).collect();
        let mut users = self.users.0.clone();
        users.remove(place);
        proven(text, users)
    }

    fn place(&self, name: &str) -> Result<usize, UsersEditError> {
        let user = self.users.find(name).ok_or_else(|| UsersEditError::Unknown(name.into()))?;
        // `find` returns a user of this list.
        Ok(self.users.0.iter().position(|other| other.name == user.name).unwrap_or_default())
    }

    /// Returns the table of the user at `place`.
    fn table(&self, place: usize) -> Option<DeTable<'_>> {
        let document = DeTable::parse(&self.text).ok()?.into_inner();
        let users = document.into_iter().find(|(key, _)| key.get_ref() == "user")?.1;
        let DeValue::Array(users) = users.into_inner() else { return None };
        match users.into_iter().nth(place)?.into_inner() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Returns the lines of the user at `place`, counted from 0: the comment directly above, `[[user]]`, and what follows up to
    /// the last value.
    fn block_lines(&self, place: usize) -> Option<std::ops::Range<usize>> {
        let table = self.table(place)?;
        let spans = table.iter().map(|(_, value)| value.span());
        let (first, last) =
            spans.fold((usize::MAX, 0), |(first, last), span| (first.min(span.start), last.max(span.end)));
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let line_of = |offset: usize| self.text[..offset].matches('\n').count();
        let heading =
            (0..=line_of(first)).rev().find(|line| lines[*line].trim_start().starts_with("[[user]]"))?;
        let is_comment = |line: &usize| lines[*line].trim_start().starts_with('#');
        let begin = (0..heading).rev().take_while(is_comment).last().unwrap_or(heading);
        let is_empty = |line: &usize| lines[*line].trim().is_empty();
        let end = line_of(last) + 1;
        // One of the empty lines around it goes with it.
        let end = if end < lines.len() && is_empty(&end) { end + 1 } else { end };
        Some(begin..end)
    }
}

fn value<'t>(table: &'t DeTable<'_>, key: &str) -> Option<(std::ops::Range<usize>, &'t DeValue<'t>)> {
    let entry: &Spanned<DeValue<'_>> = table.iter().find(|(name, _)| name.get_ref() == key)?.1;
    Some((entry.span(), entry.get_ref()))
}

fn block(user: &LoginUser) -> String {
    let list = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let mut block = format!(
        "[[user]]\nname = {}\nscram-sha-256 = {}\n",
        quoted(&user.name),
        quoted(&user.keys.to_string())
    );
    if !user.reverse_paths.is_empty() {
        block += &format!("reverse-paths = [{}]\n", list(user.written_reverse_paths()));
    }
    if !user.from_domains.is_empty() {
        block += &format!("from-domains = [{}]\n", list(user.written_from_domains()));
    }
    block
}

impl LoginUser {
    /// Returns the reverse-paths as the file has them.
    pub fn written_reverse_paths(&self) -> Vec<String> {
        self.reverse_paths.iter().map(AddressPattern::to_string).collect()
    }

    /// Returns the domains of From as the file has them.
    pub fn written_from_domains(&self) -> Vec<String> {
        let written = |pattern: &AddressPattern| pattern.to_string().trim_start_matches('@').to_owned();
        self.from_domains.iter().map(written).collect()
    }
}

/// Returns `text` if it has exactly these users.
fn proven(text: String, users: Vec<LoginUser>) -> Result<String, UsersEditError> {
    match LoginUsers::parse(&text, Path::new("")) {
        Ok(read) if read.0 == users => Ok(text),
        _ => Err(UsersEditError::TooOdd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FromDomain, LoginName};
    use crate::sasl_server::ScramHash;
    use crate::secret::Secret;

    fn keys(password: &str) -> ScramKeys {
        ScramKeys::fresh(ScramHash::Sha256, 4096, &Secret::new(password.into())).unwrap()
    }

    fn user(name: &str) -> LoginUser {
        LoginUser {
            name: LoginName::parse(name).unwrap().0,
            keys: keys("old"),
            reverse_paths: vec![
                AddressPattern::parse("a@b.example").unwrap(),
                AddressPattern::parse("@.b.example").unwrap(),
            ],
            from_domains: vec![FromDomain::parse(".b.example").unwrap().0],
        }
    }

    fn text(text: impl Into<String>) -> UsersText {
        UsersText::of(text.into(), Path::new("users")).unwrap()
    }

    #[test]
    fn a_user_comes_and_goes_and_the_rest_stays() {
        let one = text("").with(&user("a\\\"'b")).unwrap();
        assert!(
            one.starts_with("# The users who may log in")
                && one.contains("reverse-paths = [\"a@b.example\", \"@.b.example\"]"),
            "{one}"
        );
        assert!(one.contains("from-domains = [\".b.example\"]"), "{one}");
        let by_hand = format!(
            "{one}\n# The shop of\n# the cellar\n[[user]] # ann\nname = 'ann'   # her\nscram-sha-256 = '{}' # old\n\n# at the end\n",
            keys("x")
        );
        let read = text(by_hand.clone());
        assert_eq!(read.users.0.len(), 2);
        let changed = read.with_keys("ann", &keys("new")).unwrap();
        assert!(
            changed.contains("name = 'ann'   # her") && changed.contains(" # old\n\n# at the end\n"),
            "{changed}"
        );
        assert!(text(changed).users.find("ann").unwrap().keys.is_password(&Secret::new("new".into())));
        assert_eq!(read.without("ann").unwrap(), format!("{one}\n# at the end\n"));
        let left = read.without("a\\\"'b").unwrap();
        assert!(left.starts_with("# The users who may log in") && left.contains("# The shop of"), "{left}");
        assert_eq!(text(left).users.0.len(), 1);
    }

    #[test]
    fn names_are_known_once() {
        let one = text(text("").with(&user("ann")).unwrap());
        assert!(matches!(one.with(&user("ann")), Err(UsersEditError::Known(_))));
        assert!(matches!(one.without("bob"), Err(UsersEditError::Unknown(_))));
        assert!(matches!(one.with_keys("bob", &keys("x")), Err(UsersEditError::Unknown(_))));
    }

    /// A change by lines would have cut into what is written otherwise.
    #[test]
    fn what_is_written_in_another_way_is_changed_right_or_not_at_all() {
        let inline = text(format!("user = [{{ name = \"ann\", scram-sha-256 = \"{}\" }}]\n", keys("x")));
        assert!(matches!(inline.without("ann"), Err(UsersEditError::TooOdd)));
        assert!(matches!(inline.with(&user("bob")), Err(UsersEditError::TooOdd)));
        let changed = inline.with_keys("ann", &keys("new")).unwrap();
        assert!(changed.starts_with("user = [{ name = \"ann\""), "{changed}");
        let long = text(format!(
            "[[user]]\nname = \"\"\"\nann\"\"\"\nscram-sha-256 = '''{}'''\n[[user]]\nname = \"bob\"\nscram-sha-256 = \"{}\"",
            keys("x"),
            keys("y")
        ));
        let left = text(long.without("bob").unwrap());
        assert!(left.users.find("ann").is_some() && left.users.0.len() == 1);
        assert!(text(long.without("ann").unwrap()).users.find("bob").is_some());
    }
}
