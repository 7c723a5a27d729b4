//! From Postfix's parameters to keys.
//!
//! Promises: every parameter that is set is carried or accounted for. What Postfix does by default and
//! nullmta does otherwise is said only where mail would go another way: nullmta's defaults are meant.
//!
//! One file a topic: where mail goes (`relay.rs`, `tls.rs`, `auth.rs`, `routes.rs`), what is done to it
//! (`rewrite.rs`, `aliases.rs`, `header_checks.rs`), how long and how often (`limits.rs`), where it comes
//! from (`listen.rs`, `starttls.rs`), and all the rest (`leftover.rs`).

mod aliases;
mod auth;
mod header_checks;
mod leftover;
mod limits;
mod listen;
mod relay;
mod rewrite;
mod routes;
mod stage;
mod starttls;
mod tls;

pub(super) use auth::{TOKENS, password_file};

use super::Options;
use super::draft::{Cited, Draft};
use super::files::Files;
use super::main_cf::Settings;
use super::maps::{Shape, Table, tables};
use super::place::ImportError;

/// What is read.
pub(super) struct Source<'a> {
    pub(super) settings: &'a Settings,
    pub(super) files: &'a Files<'a>,
    pub(super) options: &'a Options<'a>,
}

impl Source<'_> {
    fn value(&self, name: &str) -> Result<String, ImportError> {
        self.settings.value(name)
    }

    /// The value of a parameter that was set; its default is of no interest.
    fn set_value(&self, name: &str) -> Result<Option<String>, ImportError> {
        self.settings.get(name).map(|_| self.settings.value(name)).transpose()
    }

    /// The tables of the parameter `name`. Those that cannot be had are accounted for, with `advice`, and left out.
    fn tables(
        &self,
        name: &str,
        shape: Shape,
        advice: &str,
        draft: &mut Draft,
    ) -> Result<Vec<Table>, ImportError> {
        let mut tables = self.tables_in_order(name, shape, advice, draft)?;
        tables.retain(|table| !matches!(table, Table::Unread(_)));
        Ok(tables)
    }

    /// The same, with [`Table::Unread`] in the place of those that cannot be had.
    fn tables_in_order(
        &self,
        name: &str,
        shape: Shape,
        advice: &str,
        draft: &mut Draft,
    ) -> Result<Vec<Table>, ImportError> {
        let found = tables(self.settings, name, self.files, shape)?;
        for table in found.unread {
            let why = format!("{}: {}{advice}", table.name, table.why);
            draft.not_carried(self.settings.cited(&[name]), &why);
        }
        for entry in found.repeated {
            // Its value may be a secret.
            let cited = Cited { shown: None, ..Cited::entry(&entry.place, &entry.key) };
            draft.not_carried(vec![cited], "the key stands above already, and the first entry counts");
        }
        Ok(found.tables)
    }
}

/// Carries all of it.
pub(super) fn carry(source: &Source<'_>, draft: &mut Draft) -> Result<(), ImportError> {
    let relays = relay::read(source, draft)?;
    let rewriting = rewrite::carry(source, draft)?;
    let credentials = auth::carry(source, &relays.nexthops, rewriting.fixed_sender.as_deref(), draft)?;
    let nexthops = relays.carry(|nexthop| credentials.are_for(nexthop), draft);
    tls::carry(source, &nexthops, draft)?;
    routes::carry(source, &nexthops, &credentials, draft)?;
    aliases::carry(source, rewriting.virtual_users, &rewriting.origin, draft)?;
    header_checks::carry(source, draft)?;
    limits::carry(source, draft)?;
    listen::carry(source, draft)?;
    starttls::carry(source, draft)?;
    leftover::account(source.settings, draft);
    Ok(())
}
