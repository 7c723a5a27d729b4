//! Decides whether a bare word beside an address in brackets is a recipient: `Smith` in `Smith, Ann <a@x.example>`.
//!
//! Promises: a word that is a user of this host or an alias stays a recipient. Any other word is refused, and nothing is
//! queued: usually it is part of a name without quotes, and mail to it would go to a stranger, or bounce. If the
//! configuration cannot be read, or the name service does not answer, no word is refused.
//!
//! Not here: which words are doubtful (`message/address_list.rs`).

use crate::cli::exit::{Exit, Failure};
use crate::envelope::Address;
use crate::log::Foreign;
use crate::message::rewrite::{LocalUser, Rules};
use crate::users;

/// Fails with `exit` if one of the `doubtful` words is neither a user nor an alias. `rules` is `None` if the configuration
/// cannot be read.
pub(super) fn refuse_unknown(doubtful: &[Address], rules: Option<&Rules>, exit: Exit) -> Result<(), Failure> {
    refuse_who_is_not(is_user, doubtful, rules, exit)
}

fn refuse_who_is_not(
    is_user: impl Fn(&str) -> bool,
    doubtful: &[Address],
    rules: Option<&Rules>,
    exit: Exit,
) -> Result<(), Failure> {
    let Some(rules) = rules else { return Ok(()) };
    match doubtful.iter().find(|word| !is_known(word, &is_user, rules)) {
        Some(word) => Err(Failure::new(exit, sentence(word))),
        None => Ok(()),
    }
}

/// Returns whether a user of this host has this login name. Returns true if the name service does not answer.
fn is_user(login: &str) -> bool {
    users::by_login(login).map_or(true, |user| user.is_some())
}

fn is_known(word: &Address, is_user: impl Fn(&str) -> bool, rules: &Rules) -> bool {
    // RFC 5321 4.5.1: every host has a postmaster.
    word.as_str().eq_ignore_ascii_case("postmaster")
        || rules.is_named(word)
        || LocalUser::logins(word.local_part()).iter().any(|login| is_user(login))
}

fn sentence(word: &Address) -> String {
    format!(
        "{} is neither a user of this host nor an alias, and stands beside an address in brackets: put quotes around \
         the whole name if it is a part of one, else write its domain behind it; nothing was queued",
        Foreign(word.as_str())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::rewrite::{Replacement, RewriteSettings, Selector};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn users_aliases_and_those_of_a_table_are_known() {
        let plain = || RewriteSettings::new("o.example", "web1.o.example");
        let entry = |from, to| [(Selector::parse(from).unwrap(), Replacement::parse(to).unwrap())].into();
        let aliases = [("ops".to_owned(), vec![address("o@x.example")])].into();
        let all = RewriteSettings { recipient: Some(address("o@x.example")), ..plain() };
        for (settings, known, unknown) in [
            (plain(), "root Ann postmaster", "Smith ops sales"),
            (RewriteSettings { aliases, ..plain() }, "ops OPS ann", "Smith sales"),
            (
                RewriteSettings { recipients: entry("sales", "s@x.example"), ..plain() },
                "sales ann",
                "Smith ops",
            ),
            (RewriteSettings { recipients: entry("@o.example", "@x.example"), ..plain() }, "ann", "Smith"),
            (all, "Smith ann", ""),
        ] {
            let rules = Rules::new(settings).unwrap();
            let is_known =
                |word: &str| is_known(&address(word), |login| ["root", "ann"].contains(&login), &rules);
            assert!(known.split_whitespace().all(is_known), "{known}");
            assert!(!unknown.split_whitespace().any(is_known), "{unknown}");
        }
    }

    #[test]
    fn where_the_aliases_are_not_known_nobody_is_refused() {
        let (doubtful, exit) = ([address("nobody-of-this-name")], Exit::DataErr);
        let rules = Rules::new(RewriteSettings::new("o.example", "web1.o.example")).unwrap();
        let refuse = |doubtful, rules| refuse_who_is_not(|_| false, doubtful, rules, exit);
        assert!(refuse(&doubtful[..], None).is_ok());
        assert!(refuse(&[], Some(&rules)).is_ok());
        let failure = refuse(&doubtful, Some(&rules)).unwrap_err();
        assert_eq!(failure.exit(), exit);
        assert!(failure.to_string().starts_with("nobody-of-this-name is neither a user"), "{failure}");
    }
}
