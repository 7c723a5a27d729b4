//! `header_checks` and its relatives: rules for header fields.
//!
//! Promises: 1. a rule that is carried does the same to each field as in Postfix, and the order is kept. Postfix stops at
//! the first pattern that matches a field. 2. If the pattern of a rule can be carried but its action cannot, the fields
//! that it matches are kept from the rules after it. 3. If the pattern itself cannot be carried, a later rule that might
//! match the same field and do something else is left out: it would refuse or change a field that Postfix lets pass. So
//! is any rule after a table that cannot be read.

use super::super::draft::{Cited, ConfigDraft, DraftKey, DraftValue};
use super::super::lines::first_word;
use super::super::location::ImportError;
use super::super::maps::{LookupTable, Shape};
use super::super::pattern::{PostfixPattern as Rule, translated_result};
use super::PostfixSource;
use crate::message::rewrite::{FieldText, Pattern, RejectText};

/// The moment when Postfix applies the rules, which depends on the parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Intake,
    /// At delivery, when a message can no longer be refused.
    AtRelay,
}

const TABLES: [(&str, Stage); 2] = [("header_checks", Stage::Intake), ("smtp_header_checks", Stage::AtRelay)];

/// Parameters for checks of content that nullmta never changes.
const UNTOUCHED: [&str; 6] = [
    "mime_header_checks",
    "nested_header_checks",
    "body_checks",
    "smtp_mime_header_checks",
    "smtp_nested_header_checks",
    "smtp_body_checks",
];

/// The reason why checks below the header section are not carried.
const BELOW: &str = "rules are for the message's own header section; all below it stays as it is";

/// The note that the rules after an unreadable table are left out, too.
const NOR_BEHIND: &str = "; nor is any rule behind it: a field might have met one of these first";

/// The note about a rule whose action is not carried.
const STAYS: &str = "the field stays as it is, and no later rule is asked about it";

/// Adds the header rules to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let mut carried = Vec::new();
    for (name, stage) in TABLES {
        let cited = source.parameters.cited(&[name]);
        let mut before = LeftOut::default();
        for table in source.tables_in_order(name, Shape::Postmap, NOR_BEHIND, draft)? {
            let rules = match table {
                LookupTable::Patterns(rules) => rules,
                LookupTable::Unread(table) => {
                    before.table.get_or_insert(table);
                    continue;
                }
                LookupTable::Static(_) | LookupTable::Pairs(_) => {
                    draft.not_carried(cited.clone(), "only regexp: and pcre: tables have rules");
                    continue;
                }
            };
            for rule in rules {
                match carry_rule(&rule, stage, &before, draft) {
                    Some(keys) => carried.push(keys),
                    None => before.rules.push(rule),
                }
            }
        }
        if !draft.accounts_for(name) {
            draft.already_so(cited, "see rewrite.header");
        }
    }
    set_all(carried, draft);
    account_for_stages(source, draft);
    Ok(())
}

/// Adds the rules, without those at the end that only keep fields from later rules: there are none.
fn set_all(mut rules: Vec<Vec<DraftKey>>, draft: &mut ConfigDraft) {
    let is_keep = |rule: &Vec<DraftKey>| rule.iter().any(|key| key.name == "rewrite.header.keep");
    while let Some(last) = rules.pop_if(|rule| is_keep(rule)) {
        let is_told = |cited: &Cited| {
            let told = draft.remarks.iter().filter_map(|remark| remark.about.as_ref());
            told.into_iter().any(|told| (&told.location, &told.name) == (&cited.location, &cited.name))
        };
        let from = last.into_iter().flat_map(|key| key.from).filter(|cited| !is_told(cited)).collect();
        draft.already_so(from, "no rule stands behind it");
    }
    rules.into_iter().for_each(|rule| draft.set_together(rule));
}

fn account_for_stages(source: &PostfixSource<'_>, draft: &mut ConfigDraft) {
    let is_set = |name| source.parameters.get(name).is_some();
    if is_set("header_checks") && is_set("smtp_header_checks") {
        draft.warn(
            "Postfix asks smtp_header_checks about what header_checks have made of a field; here the first rule of \
             all that matches it counts.",
        );
    }
    if is_set("header_checks") && !(is_set("mime_header_checks") && is_set("nested_header_checks")) {
        draft.warn(&format!("Postfix applies header_checks to the parts of a message, too: {BELOW}."));
    }
    for name in UNTOUCHED {
        draft.not_carried(source.parameters.cited(&[name]), BELOW);
    }
}

/// The rules before the present one that are left out.
#[derive(Default)]
struct LeftOut {
    /// The first table that cannot be read.
    table: Option<String>,
    rules: Vec<Rule>,
}

impl LeftOut {
    /// Names what might match a field before `rule` does, and do something else with it.
    fn first_for(&self, rule: &Rule) -> Option<String> {
        if let Some(table) = &self.table {
            return Some(format!("a rule of {table} first, which is not read"));
        }
        let first =
            self.rules.iter().find(|first| first.may_match_with(rule) && !does_the_same(first, rule))?;
        Some(format!("the rule at {} first, which is left out", first.location))
    }
}

/// Returns the keys for `rule`; `None` if it is left out, because of the rules left out `before` it, and listed.
fn carry_rule(rule: &Rule, stage: Stage, before: &LeftOut, draft: &mut ConfigDraft) -> Option<Vec<DraftKey>> {
    let name = rule.expression.written();
    let cited = Cited { location: rule.location.clone(), name, shown: Some(rule.result.clone()) };
    let pattern = match pattern_of(rule) {
        Ok(pattern) => pattern,
        Err(why) => {
            let why = format!("{why}; nor is any rule behind it that might match the same field");
            draft.not_carried(vec![cited], &why);
            return None;
        }
    };
    let (key, value, lost) = action(rule, stage, &pattern);
    if let Some(first) = before.first_for(rule).filter(|_| key != KEEP) {
        draft.not_carried(vec![cited], &format!("a field that it matches might meet {first}"));
        return None;
    }
    if let Some(lost) = lost {
        draft.not_carried(vec![cited.clone()], &lost);
    }
    Some(vec![
        DraftKey::new("rewrite.header.match", pattern.as_str(), vec![cited]),
        DraftKey::new(key, value, Vec::new()),
    ])
}

/// Returns the pattern of `rule` for the configuration, or the reason why there is none.
fn pattern_of(rule: &Rule) -> Result<Pattern, String> {
    if !rule.conditions.is_empty() {
        return Err("rules between `if` and `endif` have no equivalent".into());
    }
    Pattern::new(&rule.expression.translated()?)
        .map_err(|error| format!("its pattern cannot be used: {error}"))
}

/// Returns whether both rules do the same with a field that both match, so that their order does not matter.
fn does_the_same(one: &Rule, other: &Rule) -> bool {
    let action = |rule: &Rule| match first_word(&rule.result).0.to_ascii_uppercase().as_str() {
        "REJECT" => Some("REJECT"),
        "IGNORE" | "STRIP" => Some("IGNORE"),
        _ => None,
    };
    action(one).is_some() && action(one) == action(other)
}

const KEEP: &str = "rewrite.header.keep";

/// Returns the key and value for the action of `rule`, and a note about a part that is lost.
fn action(rule: &Rule, stage: Stage, pattern: &Pattern) -> (&'static str, DraftValue, Option<String>) {
    let (action, argument) = first_word(&rule.result);
    let kept = |lost: Option<String>| (KEEP, DraftValue::Flag(true), lost);
    let writing = |key| match field(argument, pattern) {
        Ok(text) => (key, DraftValue::Text(text), None),
        Err(why) => kept(Some(format!("{why}: {STAYS}"))),
    };
    match action.to_ascii_uppercase().as_str() {
        "REPLACE" => writing("rewrite.header.replace"),
        "PREPEND" => writing("rewrite.header.prepend"),
        "IGNORE" | "STRIP" => ("rewrite.header.remove", DraftValue::Flag(true), None),
        "REJECT" if stage == Stage::Intake => refusal(argument),
        "DUNNO" | "OK" => kept(None),
        "WARN" | "INFO" => kept(Some(format!("rules log nothing: {STAYS}"))),
        _ => kept(Some(format!("rules replace, remove, prepend, reject or keep: {STAYS}"))),
    }
}

fn field(argument: &str, pattern: &Pattern) -> Result<String, String> {
    let text = translated_result(argument)?;
    match FieldText::parse(&text, pattern.groups()) {
        Ok(_) => Ok(text),
        Err(why) => {
            Err(format!("expected a header field such as \"Reply-To: ops@example.com\", found {why}"))
        }
    }
}

fn refusal(text: &str) -> (&'static str, DraftValue, Option<String>) {
    let usual = "message content rejected";
    let (said, lost) = match text {
        "" => (usual, None),
        text if RejectText::parse(text).is_some() => (text, None),
        _ => {
            (usual, Some("the message is refused, but in other words: these cannot stand in a reply".into()))
        }
    };
    ("rewrite.header.reject", said.into(), lost)
}
