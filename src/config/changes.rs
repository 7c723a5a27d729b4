//! Compares two texts of a configuration and names the keys that differ, never their values.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// Returns the keys, such as `queue.lifetime`, whose values differ between `old` and `new`, sorted. A text that is not
/// valid TOML counts as one without keys.
pub(super) fn changed_keys(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (keys(old), keys(new));
    let is_changed = |key: &&String| old.get(*key) != new.get(*key);
    let mut changed: Vec<String> = old.keys().chain(new.keys()).filter(is_changed).cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}

fn keys(text: &str) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    if let Ok(table) = text.parse::<Table>() {
        note(table, "", &mut keys);
    }
    keys
}

/// Adds every key of `table` to `keys`, with `prefix` in front of its name.
fn note(table: Table, prefix: &str, keys: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(table) => note(table, &format!("{key}."), keys),
            value => drop(keys.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_came_went_or_say_something_else() {
        let old = "relayhost = \"a\"\n[queue]\nlifetime = \"5d\"\nretry-min = \"1m\"\n[relay.timeouts]\ndot = \"1m\"\n";
        let cases = [
            (old.to_owned(), vec![]),
            (format!("# words\n{old}\n"), vec![]),
            (old.replace("5d", "4d"), vec!["queue.lifetime"]),
            (
                old.replace("dot", "rcpt").replace("\"a\"", "[\"a\", \"b\"]"),
                vec!["relay.timeouts.dot", "relay.timeouts.rcpt", "relayhost"],
            ),
            (format!("{old}[[rewrite.header]]\nmatch = \"^X-\"\nremove = true\n"), vec!["rewrite.header"]),
            (
                "relayhost =".into(),
                vec!["queue.lifetime", "queue.retry-min", "relay.timeouts.dot", "relayhost"],
            ),
        ];
        for (new, expected) in cases {
            assert_eq!(changed_keys(old, &new), expected, "{new}");
        }
    }
}
