//! The accounts of an `msmtprc`.
//!
//! Promises: an account has the commands of the `defaults` before it, those of the accounts that it inherits from, and
//! its own.
//!
//! Fails: a line that is not a command; an account that inherits from an unknown one.

use crate::import::lines::first_word;
use crate::import::location::{ImportError, SourceLocation};

/// One command of an account.
#[derive(Clone)]
pub(super) struct MsmtpCommand {
    pub(super) location: SourceLocation,
    pub(super) name: String,
    pub(super) value: String,
}

/// An account, with the commands that it inherits.
#[derive(Clone, Default)]
pub(super) struct MsmtpAccount {
    pub(super) name: String,
    pub(super) commands: Vec<MsmtpCommand>,
}

/// The accounts of a file.
pub(super) struct MsmtpAccounts {
    pub(super) accounts: Vec<MsmtpAccount>,
    /// The commands of each `defaults` section that a later one replaces.
    pub(super) replaced: Vec<MsmtpCommand>,
}

impl MsmtpAccounts {
    /// Reads the accounts in `text`, the content of `file`.
    pub(super) fn read(file: &str, text: &str) -> Result<MsmtpAccounts, ImportError> {
        let (mut accounts, mut replaced): (Vec<MsmtpAccount>, Vec<MsmtpCommand>) = Default::default();
        let mut defaults: Vec<MsmtpCommand> = Vec::new();
        let mut in_defaults = true;
        for (index, line) in text.lines().enumerate() {
            let location = SourceLocation::line(file, index + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = first_word(line);
            match name {
                "defaults" => {
                    in_defaults = true;
                    replaced.append(&mut defaults);
                }
                "account" => {
                    in_defaults = false;
                    let commands = defaults.clone();
                    accounts.push(begun(&location, value, commands, &accounts)?);
                }
                _ if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                    return Err(location.error("expected a command"));
                }
                _ => {
                    let command = MsmtpCommand { location, name: name.into(), value: unquoted(value).into() };
                    let open = accounts.last_mut().filter(|_| !in_defaults);
                    open.map_or(&mut defaults, |account| &mut account.commands).push(command);
                }
            }
        }
        Ok(MsmtpAccounts { accounts, replaced })
    }
}

/// Returns the account that `account name` or `account name : base, base` begins.
fn begun(
    location: &SourceLocation,
    value: &str,
    mut commands: Vec<MsmtpCommand>,
    accounts: &[MsmtpAccount],
) -> Result<MsmtpAccount, ImportError> {
    let (name, bases) = value.split_once(':').unwrap_or((value, ""));
    for base in bases.split(',').map(str::trim).filter(|base| !base.is_empty()) {
        let base = accounts.iter().find(|account| account.name == base);
        let base = base.ok_or_else(|| location.error("it builds on an account that is not above"))?;
        // What both have from the same defaults is there once.
        commands.retain(|command| base.commands.iter().all(|known| known.location != command.location));
        commands.extend(base.commands.clone());
    }
    Ok(MsmtpAccount { name: name.trim().into(), commands })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

impl MsmtpAccount {
    /// Returns the last command of that name.
    pub(super) fn get(&self, name: &str) -> Option<&MsmtpCommand> {
        self.commands.iter().rev().find(|command| command.name == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|command| command.value.as_str())
    }

    /// Returns whether a command is on: it has no value, or `on`.
    pub(super) fn is_on(&self, name: &str, default: bool) -> bool {
        self.value(name).map_or(default, |value| value != "off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account_of(text: &str) -> Result<MsmtpAccount, String> {
        let accounts = MsmtpAccounts::read("m", text).map_err(|error| error.to_string())?;
        Ok(accounts.accounts.into_iter().next_back().unwrap())
    }

    #[test]
    fn accounts_build_on_defaults_and_on_each_other() {
        let text = "defaults\ntls on\nport 587\naccount a\nhost a.example\nuser \"two words\"\n\
                    defaults\nport 25\naccount default : a\nport 2525\n";
        let account = account_of(text).unwrap();
        assert_eq!(account.name, "default");
        assert_eq!((account.value("host"), account.value("port")), (Some("a.example"), Some("2525")));
        assert_eq!(account.value("user"), Some("two words"));
        assert!(account.is_on("tls", false));
    }

    #[test]
    fn broken_files_name_the_line() {
        for (text, said) in [
            ("account b : a", "m:1: it builds on an account that is not above"),
            ("account a\nhost x\n@hunter2", "m:3: expected a command"),
        ] {
            assert_eq!(account_of(text).err().as_deref(), Some(said));
        }
    }
}
