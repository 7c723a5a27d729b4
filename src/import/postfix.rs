//! Turns the parameters of Postfix into keys.
//!
//! Promises: every parameter that is set becomes a key or is listed with a reason. Where the defaults of Postfix and
//! nullmta differ, this is mentioned only if mail would go to another place.
//!
//! One file per topic: where mail goes (`relay.rs`, `tls.rs`, `auth.rs`; by sender or recipient `ways.rs`,
//! `route_tables.rs`, `routes.rs`), what is done to it
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
mod route_tables;
mod routes;
mod stage;
mod starttls;
mod tls;
mod ways;

pub(super) use auth::{TOKENS, password_file};

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft};
use super::files::SourceFiles;
use super::location::ImportError;
use super::main_cf::Parameters;
use super::maps::{LookupTable, Shape, tables};
use super::nexthop::Nexthop;
use route_tables::RouteTables;
use routes::PlannedRoute;

/// The configuration of Postfix that is imported.
pub(super) struct PostfixSource<'a> {
    pub(super) parameters: &'a Parameters,
    pub(super) files: &'a SourceFiles<'a>,
    pub(super) options: &'a ImportOptions<'a>,
}

impl PostfixSource<'_> {
    fn value(&self, name: &str) -> Result<String, ImportError> {
        self.parameters.value(name)
    }

    /// Returns the value of the parameter `name`; `None` if it was not set.
    fn set_value(&self, name: &str) -> Result<Option<String>, ImportError> {
        self.parameters.get(name).map(|_| self.parameters.value(name)).transpose()
    }

    /// Returns the tables of the parameter `name`. Those that cannot be read are listed, with `advice`, and left out.
    fn tables(
        &self,
        name: &str,
        shape: Shape,
        advice: &str,
        draft: &mut ConfigDraft,
    ) -> Result<Vec<LookupTable>, ImportError> {
        let mut tables = self.tables_in_order(name, shape, advice, draft)?;
        tables.retain(|table| !matches!(table, LookupTable::Unread(_)));
        Ok(tables)
    }

    /// Returns the same tables, with [`LookupTable::Unread`] for each one that cannot be read.
    fn tables_in_order(
        &self,
        name: &str,
        shape: Shape,
        advice: &str,
        draft: &mut ConfigDraft,
    ) -> Result<Vec<LookupTable>, ImportError> {
        let found = tables(self.parameters, name, self.files, shape)?;
        for table in found.unread {
            let why = format!("{}: {}{advice}", table.name, table.why);
            draft.not_carried(self.parameters.cited(&[name]), &why);
        }
        for entry in found.repeated {
            // Its value may be a secret.
            let cited = Cited { shown: None, ..Cited::entry(&entry.location, &entry.key) };
            draft.already_so(vec![cited], "the key stands above already, and the first entry counts");
        }
        Ok(found.tables)
    }
}

/// Adds the configuration of Postfix to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let rewriting = rewrite::carry(source, draft)?;
    let tables = RouteTables::read(source, &rewriting.origin, draft)?;
    let relays = relay::read(source, &tables, draft)?;
    let credentials = auth::carry(source, &relays.nexthops, rewriting.fixed_sender.as_deref(), draft)?;
    let all = relays.nexthops.clone();
    let nexthops = relays.carry(|nexthop| credentials.are_for(nexthop), draft);
    let planned = routes::plan(source, &tables, &rewriting, &nexthops, &credentials, draft)?;
    let of_routes = planned.iter().flat_map(PlannedRoute::nexthops);
    let hops: Vec<Nexthop> = nexthops.iter().chain(of_routes).cloned().collect();
    tls::carry(source, &nexthops, &hops, draft)?;
    routes::carry(source, planned, &hops, draft)?;
    auth::account_for_tables(source, &credentials, draft);
    auth::account_for_other_relays(&credentials, &all, draft);
    aliases::carry(source, rewriting.virtual_users, &rewriting.origin, draft)?;
    header_checks::carry(source, draft)?;
    limits::carry(source, draft)?;
    listen::carry(source, draft)?;
    starttls::carry(source, draft)?;
    leftover::account(source.parameters, draft);
    Ok(())
}
