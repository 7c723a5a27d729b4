//! `header_checks` and its relatives: rules for header fields.
//!
//! Promises: a rule that is carried does to each field what Postfix's did; the order is kept. Postfix
//! stops at the first pattern that matches a field.

use super::super::draft::{Cited, Draft, Key, Value};
use super::super::lines::first_word;
use super::super::maps::{Shape, Table};
use super::super::pattern::{Pattern, translated_result};
use super::super::place::ImportError;
use super::Source;

const TABLES: [&str; 2] = ["header_checks", "smtp_header_checks"];

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

/// Carries them.
pub(super) fn carry(source: &Source<'_>, draft: &mut Draft) -> Result<(), ImportError> {
    for name in TABLES {
        let cited = source.settings.cited(&[name]);
        for table in source.tables(name, Shape::Postmap, "", draft)? {
            match table {
                Table::Patterns(patterns) => patterns.iter().for_each(|pattern| carry_rule(pattern, draft)),
                _ => draft.not_carried(cited.clone(), "only regexp: and pcre: tables have rules"),
            }
        }
        if !draft.accounts_for(name) {
            draft.already_so(cited, "see rewrite.header");
        }
    }
    let is_set = |name| source.settings.get(name).is_some();
    if is_set("header_checks") && !(is_set("mime_header_checks") && is_set("nested_header_checks")) {
        draft.warn(&format!("Postfix applies header_checks to the parts of a message, too: {BELOW}."));
    }
    for name in UNTOUCHED {
        draft.not_carried(source.settings.cited(&[name]), BELOW);
    }
    Ok(())
}

fn carry_rule(pattern: &Pattern, draft: &mut Draft) {
    let (action, argument) = first_word(&pattern.result);
    let name = pattern.expression.written();
    let cited = Cited { place: pattern.place.clone(), name, shown: Some(pattern.result.clone()) };
    let refuse = |draft: &mut Draft, why: &str| {
        let why = format!("{why}; a field that it matches now meets the rules behind it");
        draft.not_carried(vec![cited.clone()], &why);
    };
    if pattern.conditional {
        return refuse(draft, "rules between `if` and `endif` have no equivalent");
    }
    let expression = match pattern.expression.translated() {
        Ok(expression) => expression,
        Err(why) => return refuse(draft, &why),
    };
    let field = || translated_result(argument).map(Value::Text);
    let (name, value) = match action.to_ascii_uppercase().as_str() {
        "REPLACE" => ("rewrite.header.replace", field()),
        "PREPEND" => ("rewrite.header.prepend", field()),
        "IGNORE" | "STRIP" => ("rewrite.header.remove", Ok(Value::Flag(true))),
        "REJECT" => ("rewrite.header.reject", Ok(reason(argument))),
        "DUNNO" | "OK" => return refuse(draft, "a rule cannot keep the later ones from a field"),
        "WARN" | "INFO" => return refuse(draft, "rules change fields, they log nothing"),
        _ => return refuse(draft, "rules replace, remove, prepend or reject"),
    };
    match value {
        Ok(value) => draft.set_together(vec![
            Key::new("rewrite.header.match", expression, vec![cited]),
            Key::new(name, value, Vec::new()),
        ]),
        Err(why) => refuse(draft, &why),
    }
}

fn reason(text: &str) -> Value {
    Value::Text(if text.is_empty() { "message content rejected".into() } else { text.into() })
}
