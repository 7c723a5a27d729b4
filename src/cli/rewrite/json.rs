//! `nullmta rewrite --explain --json`: the explanation as one JSON object.
//!
//! ```json
//! {
//!   "changes": [
//!     {"place": "field", "field": "From", "rule": "rewrite.origin", "before": "root", "after": "root@example.org"},
//!     {"place": "recipient", "field": null, "rule": "rewrite.aliases", "before": "root", "after": "ops@example.com"}
//!   ],
//!   "more-changes": 0,
//!   "left-alone": [{"field": "Cc", "body": "Ann <ann@x", "why": "no list of addresses"}],
//!   "reverse-path": "root@example.org",
//!   "recipients": ["ops@example.com"],
//!   "header": [{"name": "From", "body": "Cron <root@example.org>"}]
//! }
//! ```
//! Promises: every key is always present, and later versions only add keys. `changes` has the order in which the changes
//! are made: `place` is `field` (with its name), `reverse-path` or `recipient`; `rule` is the key of the configuration,
//! `rewrite.header` with the number of the rule counted from 1, or `always`; `before` is null for something that was
//! added, `after` for something that was removed. Changes beyond 1000 are only counted, in `more-changes`. `left-alone`
//! lists fields with addresses that rules could not be applied to, wholly or in part, with the reason in words. The null
//! reverse-path is the empty text; `reverse-path` is what the relay gets, with `rewrite.null-sender` in place of the null
//! one. `header` is the header section that is sent, each field on one line, with octets that are not UTF-8 replaced.

use serde::Serialize;

use crate::message::fixup::Fixed;
use crate::message::header::{self, Field};
use crate::message::rewrite::{Change, ChangePlace, LeftAlone};

/// The explanation of how a message is rewritten.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Explanation<'m> {
    changes: Vec<ChangeJson<'m>>,
    more_changes: usize,
    left_alone: Vec<LeftJson<'m>>,
    reverse_path: String,
    recipients: Vec<String>,
    header: Vec<FieldJson>,
}

#[derive(Serialize)]
struct ChangeJson<'m> {
    place: &'static str,
    field: Option<&'m str>,
    rule: String,
    before: Option<&'m str>,
    after: Option<&'m str>,
}

#[derive(Serialize)]
struct LeftJson<'m> {
    field: &'m str,
    body: &'m str,
    why: String,
}

#[derive(Serialize)]
struct FieldJson {
    name: String,
    body: String,
}

impl<'m> Explanation<'m> {
    /// Returns the explanation for a message whose header section has become `header`.
    pub(super) fn of(fixed: &'m Fixed, header: &[u8]) -> Self {
        Explanation {
            changes: fixed.changes.kept().iter().map(ChangeJson::of).collect(),
            more_changes: fixed.changes.more(),
            left_alone: fixed.changes.left_alone().iter().map(LeftJson::of).collect(),
            reverse_path: fixed.envelope.reverse_path.to_string(),
            recipients: fixed.envelope.recipients.iter().map(|it| it.address.to_string()).collect(),
            header: header::split(header).header.fields().map(|field| FieldJson::of(&field)).collect(),
        }
    }
}

impl<'m> ChangeJson<'m> {
    fn of(change: &'m Change) -> Self {
        let (place, field) = match &change.place {
            ChangePlace::Field(name) => ("field", Some(name.as_str())),
            ChangePlace::ReversePath => ("reverse-path", None),
            ChangePlace::Recipient => ("recipient", None),
        };
        let Change { rule, before, after, .. } = change;
        ChangeJson {
            place,
            field,
            rule: rule.to_string(),
            before: before.as_deref(),
            after: after.as_deref(),
        }
    }
}

impl<'m> LeftJson<'m> {
    fn of(left: &'m LeftAlone) -> Self {
        LeftJson { field: &left.field, body: &left.body, why: left.why.to_string() }
    }
}

impl FieldJson {
    fn of(field: &Field<'_>) -> Self {
        let body = String::from_utf8_lossy(&field.unfolded()).trim().to_owned();
        FieldJson { name: field.name().to_owned(), body }
    }
}
