use std::collections::BTreeMap;

use super::*;

/// Each check has its row, and each field: what monitors hosts depends on both.
#[test]
fn the_fields_and_the_checks_are_described() {
    let finding = Finding::broken("ports", "taken", "stop it");
    let shown = serde_json::to_value(&finding).unwrap();
    let shown: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    let commands = include_str!("../../../config/commands.md");
    let section = commands.split("## What `nullmta doctor` looks at").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let described: BTreeMap<&str, &str> = rows.collect();
    let checks: Vec<String> = sources().iter().flat_map(|source| checks_in(source)).collect();
    let missing: Vec<&str> = shown
        .into_iter()
        .chain(checks.iter().map(String::as_str))
        .filter(|name| !described.contains_key(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
    let surplus = described.keys().filter(|name| !shown_or_check(name, &checks));
    assert_eq!(surplus.collect::<Vec<_>>(), Vec::<&&str>::new());
}

fn shown_or_check(name: &str, checks: &[String]) -> bool {
    ["check", "result", "words", "to-do"].contains(&name) || checks.iter().any(|check| check == name)
}

fn sources() -> [&'static str; 7] {
    [
        include_str!("../doctor.rs"),
        include_str!("callers.rs"),
        include_str!("host.rs"),
        include_str!("ports.rs"),
        include_str!("relays.rs"),
        include_str!("service.rs"),
        include_str!("storage.rs"),
    ]
}

/// Returns the names of checks in `source`: constants, those of findings, and those of links.
fn checks_in(source: &str) -> Vec<String> {
    let own = source.split("#[cfg(test)]").next().unwrap_or_default();
    // The name may stand on the line behind.
    let own: String = own.lines().map(str::trim_start).collect();
    let begins = [
        "const CHECK: &str = \"",
        "const UNIT: &str = \"",
        "const DAEMON: &str = \"",
        "Finding::ok(\"",
        "(\"",
        "Finding::broken(\"",
        "Finding::look(\"",
        "Finding::doubt(\"",
    ];
    let named = begins.into_iter().flat_map(|begin| {
        own.split(begin).skip(1).filter_map(|rest| rest.split('"').next()).map(move |name| (begin, name))
    });
    // A pair of the table of links has the path of the link behind the name.
    named
        .filter(|(begin, name)| *begin != "(\"" || own.contains(&format!("(\"{name}\", \"/usr/")))
        .map(|(_, name)| name.to_owned())
        .collect()
}
