//! `header_checks` and its relatives: rules for header fields.
//!
//! Promises: 1. a rule that is carried does to each field what Postfix's did; the order is kept. Postfix
//! stops at the first pattern that matches a field. 2. A rule whose pattern is carried and whose action is not
//! keeps the fields that it matches from the rules behind it. 3. Where the pattern itself cannot be carried, no
//! rule behind it that might match the same field and do something else is carried: it would refuse or change
//! what Postfix lets pass. Nor is any rule behind a table that cannot be had.

use super::super::draft::{Cited, ConfigDraft, DraftKey, DraftValue};
use super::super::lines::first_word;
use super::super::location::ImportError;
use super::super::maps::{LookupTable, Shape};
use super::super::pattern::{PostfixPattern as Rule, translated_result};
use super::Source;
use crate::message::rewrite::{FieldText, Pattern, Refusal};

/// Where Postfix asks the rules, and by which parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Intake,
    /// A message can no longer be refused there.
    AtRelay,
}

const TABLES: [(&str, Stage); 2] = [("header_checks", Stage::Intake), ("smtp_header_checks", Stage::AtRelay)];

/// Checks of what nullmta never changes.
const UNTOUCHED: [&str; 6] = [
    "mime_header_checks",
    "nested_header_checks",
    "body_checks",
    "smtp_mime_header_checks",
    "smtp_nested_header_checks",
    "smtp_body_checks",
];

/// Why what is below the header section is not carried.
const BELOW: &str = "rules are for the message's own header section; all below it stays as it is";

/// What a table that cannot be had takes with it.
const NOR_BEHIND: &str = "; nor is any rule behind it: a field might have met one of these first";

/// What a rule comes to whose action is not carried.
const STAYS: &str = "the field stays as it is, and no later rule is asked about it";

/// Carries them.
pub(super) fn carry(source: &Source<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
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

/// Sets the rules but for those at the end that would keep fields from no rule.
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

fn account_for_stages(source: &Source<'_>, draft: &mut ConfigDraft) {
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

/// What stands before a rule and is not carried.
#[derive(Default)]
struct LeftOut {
    /// The first table that cannot be had.
    table: Option<String>,
    rules: Vec<Rule>,
}

impl LeftOut {
    /// What a field that `rule` matches might meet first, which would do something else with it.
    fn first_for(&self, rule: &Rule) -> Option<String> {
        if let Some(table) = &self.table {
            return Some(format!("a rule of {table} first, which is not read"));
        }
        let first =
            self.rules.iter().find(|first| first.may_match_with(rule) && !does_the_same(first, rule))?;
        Some(format!("the rule at {} first, which is left out", first.location))
    }
}

/// The keys for `rule`; `None` where it is left out, as what is `before` it is, and accounted for.
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

/// The pattern of `rule`, as the configuration has it, or why there is none.
fn pattern_of(rule: &Rule) -> Result<Pattern, String> {
    if !rule.conditions.is_empty() {
        return Err("rules between `if` and `endif` have no equivalent".into());
    }
    Pattern::new(&rule.expression.translated()?)
        .map_err(|error| format!("its pattern cannot be used: {error}"))
}

/// Whether Postfix does the same with a field that both match, whichever is asked first.
fn does_the_same(one: &Rule, other: &Rule) -> bool {
    let action = |rule: &Rule| match first_word(&rule.result).0.to_ascii_uppercase().as_str() {
        "REJECT" => Some("REJECT"),
        "IGNORE" | "STRIP" => Some("IGNORE"),
        _ => None,
    };
    action(one).is_some() && action(one) == action(other)
}

const KEEP: &str = "rewrite.header.keep";

/// The key and value for what `rule` does, and what of it is lost.
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
        text if Refusal::parse(text).is_some() => (text, None),
        _ => {
            (usual, Some("the message is refused, but in other words: these cannot stand in a reply".into()))
        }
    };
    ("rewrite.header.reject", said.into(), lost)
}
