//! Writes the text of the new configuration file.
//!
//! Promises: the text is valid TOML, whatever the values and comments contain; above each key stand the settings that it
//! was made from; the settings that became no key are listed at the end, with the reasons.

use super::draft::{Cited, ConfigDraft, DraftKey, DraftValue, Omission, Remark, Route};
use crate::config::quoted;

/// The tables in the order of the file. Keys without a table come first, nested tables last.
const TABLES: [&str; 11] = [
    "",
    "auth",
    "tls",
    "listen",
    "rewrite",
    "rewrite.senders",
    "rewrite.recipients",
    "rewrite.aliases",
    "queue",
    "relay",
    "relay.timeouts",
];

/// The array of tables whose elements are the groups of these keys.
const RULES: &str = "rewrite.header";

/// The width of a comment line, and the number of characters of a value that a comment shows.
const WIDTH: usize = 100;
const SHOWN: usize = 160;

/// Returns the text of `draft`, which was made from the configuration at `origin`.
pub(super) fn render(draft: &ConfigDraft, origin: &str) -> String {
    let mut text = String::new();
    let made = format!("Made by `nullmta import-postfix` out of {origin}.");
    let advice = "Read it, put it in place as /etc/nullmta.toml, and ask `nullmta check` about it.";
    [made.as_str(), advice].into_iter().for_each(|words| comment(&mut text, "", words));
    for table in TABLES {
        let keys: Vec<&DraftKey> =
            draft.groups.iter().flatten().filter(|key| table_of(key) == table).collect();
        if !keys.is_empty() {
            text += "\n";
            heading(&mut text, table);
            keys.iter().for_each(|key| write_key(&mut text, key));
        }
        if table == "rewrite.aliases" {
            write_rules(&mut text, draft);
        }
    }
    write_routes(&mut text, &draft.routes);
    write_account(&mut text, draft, Omission::GoesElsewhere, "Mail that goes another way than before:");
    write_account(&mut text, draft, Omission::NotCarried, "Not carried over:");
    write_account(&mut text, draft, Omission::AlreadySo, "So with nullmta anyway:");
    text
}

/// Returns the table that `key` is written in. A key whose value is a table is the heading of that table.
fn table_of(key: &DraftKey) -> &str {
    match (&key.value, key.name.rsplit_once('.')) {
        (DraftValue::Map(_), _) => key.name,
        (_, Some((table, _))) => table,
        (_, None) => "",
    }
}

fn heading(text: &mut String, table: &str) {
    if !table.is_empty() {
        *text += &format!("[{table}]\n");
    }
}

fn write_rules(text: &mut String, draft: &ConfigDraft) {
    let is_rule = |group: &&Vec<DraftKey>| group.iter().any(|key| table_of(key) == RULES);
    for group in draft.groups.iter().filter(is_rule) {
        *text += &format!("\n[[{RULES}]]\n");
        group.iter().for_each(|key| write_key(text, key));
    }
}

fn write_key(text: &mut String, key: &DraftKey) {
    key.from.iter().for_each(|cited| comment(text, "", &shortened(cited)));
    for advice in &key.advice {
        // A command stands by itself.
        comment(text, if advice.starts_with(' ') { "    " } else { "" }, advice);
    }
    let name = key.name.rsplit_once('.').map_or(key.name, |(_, name)| name);
    match &key.value {
        DraftValue::Map(entries) => {
            for (key, targets, location) in entries {
                let value = DraftValue::from(targets.clone());
                *text += &format!(
                    "{} = {}  # {}\n",
                    bare_or_quoted(key),
                    written(&value),
                    printable(&location.to_string())
                );
            }
        }
        value => *text += &format!("{name} = {}\n", written(value)),
    }
}

fn written(value: &DraftValue) -> String {
    match value {
        DraftValue::Text(text) => quoted(text),
        DraftValue::Texts(texts) => {
            format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
        DraftValue::Number(number) => number.to_string(),
        DraftValue::Flag(flag) => flag.to_string(),
        // Written line by line in `write_key`.
        DraftValue::Map(_) => String::new(),
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if bare { key.into() } else { quoted(key) }
}

/// Returns `text` on one line, without characters that TOML refuses in a comment.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn shortened(cited: &Cited) -> String {
    let text = cited.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Appends comment lines with the text `words`, broken between words.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("#{indent}");
    for word in printable(words).split(' ').filter(|word| !word.is_empty()) {
        if line.len() > indent.len() + 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            *text += &format!("{line}\n");
            line = format!("#{indent}   ");
        }
        line += " ";
        line += word;
    }
    *text += &format!("{line}\n");
}

/// The tables of a route, in the order of the file.
const ROUTE_TABLES: [&str; 5] = ["", "auth", "tls", "relay", "relay.timeouts"];

fn write_routes(text: &mut String, routes: &[Route]) {
    if routes.is_empty() {
        return;
    }
    *text += "\n# Mail that goes to another relay. The first route that takes a recipient counts.\n";
    for route in routes {
        *text += "\n[[route]]\n";
        *text += &format!("name = {}\n", quoted(&route.name));
        for (key, values) in [("senders", &route.senders), ("recipients", &route.recipients)] {
            if !values.is_empty() {
                *text += &format!("{key} = {}\n", written(&DraftValue::from(values.clone())));
            }
        }
        for table in ROUTE_TABLES {
            let keys: Vec<&DraftKey> = route.keys().filter(|key| table_of(key) == table).collect();
            if !keys.is_empty() && !table.is_empty() {
                heading(text, &format!("route.{table}"));
            }
            keys.iter().for_each(|key| write_key(text, key));
        }
    }
}

fn write_account(text: &mut String, draft: &ConfigDraft, omission: Omission, title: &str) {
    let mut remarks: Vec<_> = draft.remarks.iter().filter(|remark| remark.omission == omission).collect();
    // File by file, in the order in which they came up, and line by line.
    let files: Vec<_> = remarks.iter().map(|remark| file_of(remark)).collect();
    remarks.sort_by_key(|remark| {
        let file = files.iter().position(|file| *file == file_of(remark));
        (remark.about.is_some(), file, remark.about.as_ref().and_then(|cited| cited.location.line))
    });
    if remarks.is_empty() {
        return;
    }
    *text += &format!("\n# {title}\n");
    let mut said = "";
    for remark in remarks {
        // One reason for several settings in a row is given once, behind the last of them.
        if !said.is_empty() && (said != remark.why || remark.about.is_none()) {
            comment(text, "    ", said);
            *text += "#\n";
        } else if said.is_empty() {
            *text += "#\n";
        }
        if let Some(cited) = &remark.about {
            comment(text, "", &shortened(cited));
        }
        said = &remark.why;
    }
    comment(text, "    ", said);
}

fn file_of(remark: &Remark) -> Option<&str> {
    remark.about.as_ref().map(|cited| cited.location.file.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::location::SourceLocation;
    use toml::de::DeTable;

    fn cited(shown: &str) -> Vec<Cited> {
        vec![Cited {
            location: SourceLocation::line("/etc/postfix/main.cf", 1),
            name: "x".into(),
            shown: Some(shown.into()),
        }]
    }

    #[test]
    fn hostile_values_stay_toml() {
        for hostile in ["a\nb = 1", "\"", "'\\", "a\u{0}\u{1b}[2J", "\u{7f}é", "\\u0000", "[x]\r\n#", "'"] {
            let mut draft = ConfigDraft::default();
            draft.set(DraftKey::new("spool", hostile, cited(hostile)).advised(hostile));
            draft.set(DraftKey::new(
                "listen.addresses",
                DraftValue::Texts(vec![hostile.into(); 2]),
                Vec::new(),
            ));
            let entries = vec![(hostile.into(), vec![hostile.into()], SourceLocation::file(hostile))];
            draft.set(DraftKey::new("rewrite.senders", DraftValue::Map(entries), Vec::new()));
            draft.not_carried(cited(hostile), hostile);
            draft.routes.push(Route {
                name: hostile.into(),
                senders: vec![hostile.into()],
                recipients: vec![hostile.into(); 2],
                groups: vec![vec![
                    DraftKey::new("relayhost", hostile, cited(hostile)),
                    DraftKey::new("auth.username", hostile, cited(hostile)).advised(hostile),
                ]],
            });
            let text = render(&draft, hostile);
            let table = DeTable::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).into_inner();
            assert_eq!(table.get("spool").unwrap().get_ref().as_str(), Some(hostile));
            assert_eq!(table.len(), 4, "{text}");
        }
    }

    #[test]
    fn tables_stand_in_their_order_and_rules_apart() {
        let mut draft = ConfigDraft::default();
        for name in ["queue.lifetime", "relayhost", "relay.timeouts.dot", "auth.username"] {
            draft.set(DraftKey::new(name, "v", Vec::new()));
        }
        for rule in ["a", "b"] {
            let replace = DraftKey::new("rewrite.header.remove", DraftValue::Flag(true), Vec::new());
            draft.set_together(vec![DraftKey::new("rewrite.header.match", rule, Vec::new()), replace]);
        }
        let text = render(&draft, "it");
        let headings: Vec<_> =
            text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(
            headings,
            [
                "relayhost = \"v\"",
                "[auth]",
                "username = \"v\"",
                "[[rewrite.header]]",
                "match = \"a\"",
                "remove = true",
                "[[rewrite.header]]",
                "match = \"b\"",
                "remove = true",
                "[queue]",
                "lifetime = \"v\"",
                "[relay.timeouts]",
                "dot = \"v\"",
            ]
        );
    }

    #[test]
    fn a_reason_shared_is_given_once() {
        let mut draft = ConfigDraft::default();
        draft.warn("alone");
        draft.not_carried(cited("1"), "shared");
        draft.not_carried(cited("2"), "shared");
        let mut text = String::new();
        write_account(&mut text, &draft, Omission::NotCarried, "T");
        assert_eq!(text, "\n# T\n#\n#     alone\n#\n# main.cf:1: x = 1\n# main.cf:1: x = 2\n#     shared\n");
    }

    #[test]
    fn comments_are_broken_between_words() {
        let mut text = String::new();
        comment(&mut text, "", &"word ".repeat(30));
        assert!(
            text.lines().count() == 2 && text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }
}
