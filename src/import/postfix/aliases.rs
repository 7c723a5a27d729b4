//! Aliases of local users: `alias_maps`, and users in `virtual_alias_maps`.
//!
//! Promises: an alias is followed until its mail leaves this host; one that ends in a mailbox, a file or a program of
//! this host is listed as not carried, since nullmta delivers nothing locally.

use std::collections::BTreeSet;

use super::super::draft::{Cited, ConfigDraft, DraftKey, DraftValue};
use super::super::lines::items;
use super::super::location::ImportError;
use super::super::maps::{LookupTable, MapEntry, Shape};
use super::PostfixSource;
use crate::envelope::Address;

/// Adds the aliases to `draft`. `users` are those of the virtual table, which takes precedence; `origin` completes bare
/// names.
pub(super) fn carry(
    source: &PostfixSource<'_>,
    users: Vec<MapEntry>,
    origin: &str,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let virtual_count = users.len();
    let mut from =
        if users.is_empty() { Vec::new() } else { source.parameters.cited(&["virtual_alias_maps"]) };
    let aliases = with_local(source, users, draft)?;
    if !draft.accounts_for("alias_maps") {
        from.extend(source.parameters.cited(&["alias_maps"]));
    }
    let mut carried = Vec::new();
    let mut local = Vec::new();
    for alias in &aliases {
        let mut targets = Targets::default();
        targets.follow(alias, &aliases);
        account_for_files(alias, &targets, draft);
        match targets.remote.is_empty() {
            true => local.push(alias),
            false => carried.push((alias.key.clone(), targets.remote, alias.location.clone())),
        }
    }
    account_for_local(&local, draft);
    if carried.is_empty() {
        draft.already_so(from, "no alias leads away from this host");
        return Ok(());
    }
    let key = DraftKey::new("rewrite.aliases", DraftValue::Map(carried), from);
    let is_for_origin = aliases.len() == virtual_count || is_delivered_locally(source, origin)?;
    draft.set(if is_for_origin { key } else { key.advised(elsewhere(origin)) });
    Ok(())
}

/// Returns whether Postfix delivers mail for users of `domain` by local(8).
fn is_delivered_locally(source: &PostfixSource<'_>, domain: &str) -> Result<bool, ImportError> {
    let destinations = source.value("mydestination")?;
    Ok(items(&destinations).iter().any(|own| own.eq_ignore_ascii_case(domain)))
}

fn elsewhere(origin: &str) -> String {
    format!(
        "Postfix has aliases for users of mydestination, and {origin}, which completes bare names, is not in it: \
         mail for root went to root@{origin}. With nullmta it goes where the alias leads."
    )
}

/// Returns `users`, and the users of `alias_maps` that are not among them.
fn with_local(
    source: &PostfixSource<'_>,
    users: Vec<MapEntry>,
    draft: &mut ConfigDraft,
) -> Result<Vec<MapEntry>, ImportError> {
    let mut aliases = users;
    let cited = source.parameters.cited(&["alias_maps"]);
    // Without local domains no mail comes to local(8), whose aliases they are.
    if source.value("mydestination")?.is_empty() {
        draft.already_so(cited, "not used: mydestination is empty");
        return Ok(aliases);
    }
    for table in source.tables("alias_maps", Shape::Aliases, "", draft)? {
        let LookupTable::Pairs(entries) = table else {
            draft.not_carried(cited.clone(), "only tables with a user in each line are read");
            continue;
        };
        let known: BTreeSet<String> = aliases.iter().map(|entry| entry.key.clone()).collect();
        aliases.extend(entries.into_iter().filter(|entry| !known.contains(&entry.key)));
    }
    Ok(aliases)
}

/// The targets of an alias.
#[derive(Default)]
struct Targets {
    remote: Vec<String>,
    /// `|program`, `/file` and `:include:`.
    on_this_host: bool,
    mailbox: bool,
    /// The aliases that were followed already. None is followed twice, so that a circle ends.
    followed: BTreeSet<String>,
}

impl Targets {
    fn follow(&mut self, alias: &MapEntry, aliases: &[MapEntry]) {
        self.followed.insert(alias.key.clone());
        let targets = alias.value.split(',').map(|target| target.trim().trim_matches('"'));
        for target in targets.map(|target| target.trim_start_matches('\\')) {
            let name = target.to_lowercase();
            let next = aliases.iter().find(|next| next.key == name && name != alias.key);
            if target.starts_with(['|', '/', ':']) {
                self.on_this_host = true;
            } else if let Some(next) = next {
                if !self.followed.contains(&name) {
                    self.follow(next, aliases);
                }
            } else if target.contains('@') && Address::parse(target).is_ok() {
                if !self.remote.iter().any(|known| known == target) {
                    self.remote.push(target.into());
                }
            } else {
                self.mailbox = true;
            }
        }
    }
}

fn account_for_files(alias: &MapEntry, targets: &Targets, draft: &mut ConfigDraft) {
    if targets.on_this_host {
        let cited = Cited::entry(&alias.location, &alias.key);
        draft.not_carried(vec![cited], "nothing is written to files, piped to programs or included");
    } else if targets.mailbox && !targets.remote.is_empty() {
        draft.not_carried(
            vec![Cited::entry(&alias.location, &alias.key)],
            "no copy stays in a mailbox of this host",
        );
    }
}

/// Lists the aliases that end in a mailbox of this host. Distributions ship dozens of them, so they share one line.
fn account_for_local(local: &[&MapEntry], draft: &mut ConfigDraft) {
    let Some(first) = local.first() else { return };
    let names: Vec<&str> = local.iter().map(|alias| alias.key.as_str()).collect();
    let cited = Cited {
        location: first.location.clone(),
        name: names.join(", "),
        shown: Some("users of this host".into()),
    };
    draft.not_carried(
        vec![cited],
        "nothing is delivered here: their mail goes to the relay, completed with the origin",
    );
}

#[cfg(test)]
mod tests {
    use super::super::super::maps::pairs;
    use super::*;

    fn followed(text: &str, user: &str) -> Targets {
        let aliases = pairs("/etc/aliases", text, Shape::Aliases).unwrap();
        let mut targets = Targets::default();
        targets.follow(aliases.iter().find(|alias| alias.key == user).unwrap(), &aliases);
        targets
    }

    #[test]
    fn aliases_are_followed_to_where_the_mail_leaves() {
        let text = "postmaster: root\nroot: Ops, a@example.com\nops: a@example.com, b@example.com, |/bin/x\n";
        let targets = followed(text, "postmaster");
        assert_eq!(targets.remote, ["a@example.com", "b@example.com"]);
        assert!(targets.on_this_host && !targets.mailbox);
        let own = followed("ann: \\ann, ann@example.com\n", "ann");
        assert!(own.mailbox && own.remote == ["ann@example.com"]);
    }

    /// Each of them names the others twice: following every path would never end.
    #[test]
    fn circles_end() {
        let users: Vec<String> = (0..40).map(|number| format!("u{number}")).collect();
        let all = users.join(", ");
        let text: String = users.iter().map(|user| format!("{user}: {all}, {all}\n")).collect();
        let targets = followed(&text, "u0");
        assert!(targets.remote.is_empty() && targets.mailbox);
    }
}
