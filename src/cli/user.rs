//! `nullmta user`: the users who may log in at the listener, in the file that `listen.users-file` names.
//!
//! Promises: a password is never an argument, which every user could see: it is asked for on the terminal, or read from standard
//! input, of which it is the first line. It is not stored: only its SCRAM keys are. The daemon sees a change at the next login,
//! without a reload.
//!
//! Not here: the file (`config/users_file.rs`), changes to its text (`config/users_edit.rs`), how it is replaced
//! (`user/replace.rs`), how a password is asked for (`user/ask.rs`).

mod ask;
mod replace;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{printed, say};
use super::queue::print_json;
use super::{ConfigFile, config_failure};
use crate::config::{
    Config, FromDomain, LoginName, LoginUser, LoginUsers, Logins, UsersEditError, UsersFileError,
};
use crate::routing::AddressPattern;
use crate::sasl_server::{ScramHash, ScramKeys, USUAL_ITERATIONS};
use crate::secret::Secret;
use ask::{ask_new_password, ask_password};
use replace::change;

/// Change and list the users who may log in at the listener
#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add(UserAdd),
    /// Change the password of a user
    Passwd(NamedUser),
    /// Delete a user
    Delete(NamedUser),
    /// List the users, and what they may send
    List(UserList),
    /// Ask for the password of a user, and exit with 0 if it is the right one, else with 1
    Verify(NamedUser),
}

#[derive(Args)]
pub(super) struct NamedUser {
    #[command(flatten)]
    file: ConfigFile,
    /// The name of the user
    #[arg(value_parser = login_name)]
    name: LoginName,
}

#[derive(Args)]
pub(super) struct UserAdd {
    #[command(flatten)]
    user: NamedUser,
    /// A reverse-path that the user may give in MAIL: an address, @domain, or @.domain for those below it; may be
    /// repeated [default: any]
    #[arg(long, value_name = "PATTERN", value_parser = reverse_path)]
    reverse_path: Vec<AddressPattern>,
    /// A domain that the authors in From may have: a domain, or .domain for those below it; may be repeated [default: any]
    #[arg(long, value_name = "DOMAIN", value_parser = from_domain)]
    from_domain: Vec<FromDomain>,
}

#[derive(Args)]
pub(super) struct UserList {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn login_name(text: &str) -> Result<LoginName, &'static str> {
    LoginName::parse(text).ok_or("expected a name of up to 255 octets, without spaces")
}

fn reverse_path(text: &str) -> Result<AddressPattern, &'static str> {
    AddressPattern::parse(text).ok_or("expected an address with its domain, @domain or @.domain")
}

fn from_domain(text: &str) -> Result<FromDomain, &'static str> {
    FromDomain::parse(text).ok_or("expected a domain such as example.com, or .example.com")
}

/// A user as `--json` shows them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ListedUser<'a> {
    name: &'a str,
    reverse_paths: Vec<String>,
    from_domains: Vec<String>,
}

impl UserCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            UserCommand::Add(add) => add.run(),
            UserCommand::Passwd(user) => user.change_password(),
            UserCommand::Delete(user) => user.delete(),
            UserCommand::List(list) => list.run(),
            UserCommand::Verify(user) => user.verify(),
        }
    }
}

impl UserAdd {
    fn run(&self) -> Result<(), Failure> {
        let (path, name) = (users_file(&self.user.file)?, &self.user.name.0);
        let user = LoginUser {
            name: name.clone(),
            keys: keys(&ask_new_password(name)?)?,
            reverse_paths: self.reverse_path.clone(),
            from_domains: self.from_domain.iter().map(|domain| domain.0.clone()).collect(),
        };
        change(&path, true, |text| text.with(&user))?;
        say!("{name} may log in: {} has the keys of the password", path.display())
    }
}

impl NamedUser {
    fn change_password(&self) -> Result<(), Failure> {
        let (path, name) = (users_file(&self.file)?, &self.name.0);
        self.find(&path)?;
        let keys = keys(&ask_new_password(name)?)?;
        change(&path, false, |text| text.with_keys(name, &keys))?;
        say!("the password of {name} is changed")
    }

    fn delete(&self) -> Result<(), Failure> {
        let (path, name) = (users_file(&self.file)?, &self.name.0);
        change(&path, false, |text| text.without(name))?;
        say!("{name} may not log in any more; a session that is open stays so")
    }

    fn verify(&self) -> Result<(), Failure> {
        let path = users_file(&self.file)?;
        let user = self.find(&path)?;
        let name = &user.name;
        if user.keys.is_password(&ask_password(&format!("Password of {name}: "))?) {
            say!("this is the password of {name}")
        } else {
            Err(Failure::new(Exit::Failed, format!("this is not the password of {name}")))
        }
    }

    fn find(&self, path: &std::path::Path) -> Result<LoginUser, Failure> {
        let users = LoginUsers::load(path).map_err(file_failure)?;
        let unknown = || edit_failure(&UsersEditError::Unknown(self.name.0.clone()));
        users.find(&self.name.0).cloned().ok_or_else(unknown)
    }
}

impl UserList {
    fn run(&self) -> Result<(), Failure> {
        let path = users_file(&self.file)?;
        let users = LoginUsers::load(&path).map_err(file_failure)?;
        for user in &users.0 {
            if self.json {
                printed(print_json(&listed(user)))?;
            } else {
                say!("{}", line(user))?;
            }
        }
        if users.0.is_empty() && !self.json {
            return say!("There are no users in {}: nullmta user add NAME adds one.", path.display());
        }
        Ok(())
    }
}

fn listed(user: &LoginUser) -> ListedUser<'_> {
    ListedUser {
        name: &user.name,
        reverse_paths: user.written_reverse_paths(),
        from_domains: user.written_from_domains(),
    }
}

/// Returns a user on one line.
fn line(user: &LoginUser) -> String {
    let ListedUser { name, reverse_paths, from_domains } = listed(user);
    let any = |texts: Vec<String>| if texts.is_empty() { "any".into() } else { texts.join(", ") };
    format!("{name}  reverse-paths: {}  from-domains: {}", any(reverse_paths), any(from_domains))
}

fn keys(password: &Secret) -> Result<ScramKeys, Failure> {
    ScramKeys::fresh(ScramHash::Sha256, USUAL_ITERATIONS, password)
        .map_err(|words| Failure::new(Exit::OsError, words))
}

/// Returns the path of the file with the users.
fn users_file(file: &ConfigFile) -> Result<PathBuf, Failure> {
    let config = Config::read(&file.config).map_err(config_failure)?;
    match config.listen.logins {
        Some(Logins::Users(path)) => Ok(path),
        Some(Logins::Anybody) | None => Err(Failure::new(
            Exit::Config,
            format!(
                "{}: expected listen.users-file, the file that the users are to stand in, such as \
                 users-file = \"/etc/nullmta.users\" in [listen]",
                file.config.display()
            ),
        )),
    }
}

fn file_failure(error: UsersFileError) -> Failure {
    let exit = match &error {
        UsersFileError::Unusable(..) => Exit::IoError,
        UsersFileError::Bad(_) => Exit::DataErr,
    };
    Failure::new(exit, error)
}

fn edit_failure(error: &UsersEditError) -> Failure {
    let exit = match error {
        UsersEditError::File(UsersFileError::Unusable(..)) => Exit::IoError,
        UsersEditError::File(UsersFileError::Bad(_)) | UsersEditError::TooOdd => Exit::DataErr,
        UsersEditError::Known(_) | UsersEditError::Unknown(_) => Exit::Failed,
    };
    Failure::new(exit, error)
}

#[cfg(test)]
mod tests;
