//! The order of the tree: which module may use which, that no two files need each other without a reason, and that a type
//! has a name of its own.
//!
//! Promises: the table here is the one of `src/lib.rs` in full: a `use` that is not in it fails, and so does an entry
//! that nothing needs any more. Modules are listed in an order in which each uses only what stands above it, so that
//! there are no circles of modules. Files that need each other are listed with the reason, and so are names that stand
//! for two types.
//!
//! Not seen: tests (`mod tests`, `tests/`, `testing/`), which may use everything; the `use` of a module for its own
//! submodules; a name that only its own file can use, or that a macro declares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Each module of `src/lib.rs` with what it may use, from the bottom up.
const MAY_USE: &[(&str, &[&str])] = &[
    // Words: what everyone speaks in.
    ("envelope", &[]),
    ("outcome", &[]),
    ("queue_id", &[]),
    ("secret", &[]),
    ("status", &[]),
    ("tls_faults", &[]),
    ("log", &["envelope", "outcome", "queue_id", "status"]),
    // Cores: pure.
    ("message", &["envelope", "queue_id", "status"]),
    ("smtp", &["envelope", "message", "status"]),
    // What is configured.
    ("config", &["envelope", "message", "secret", "tls_faults"]),
    ("import", &["config", "envelope", "message", "secret"]),
    // Shells: who is who on this host, the disk, the network outward, the network inward.
    ("users", &["log", "message"]),
    ("spool", &["envelope", "log", "queue_id", "smtp"]),
    ("relay", &["config", "envelope", "log", "queue_id", "secret", "smtp", "status", "tls_faults"]),
    (
        "listener",
        &[
            "config",
            "envelope",
            "log",
            "message",
            "queue_id",
            "smtp",
            "spool",
            "status",
            "tls_faults",
            "users",
        ],
    ),
    // The one owner of live messages.
    ("queue", &["config", "envelope", "log", "message", "outcome", "queue_id", "relay", "spool", "status"]),
    // The control socket, and start, reload, stop.
    ("admin", &["envelope", "listener", "log", "queue", "queue_id", "spool", "users"]),
    ("journal", &["config", "log"]),
    ("systemd", &[]),
    (
        "daemon",
        &["admin", "config", "journal", "listener", "log", "queue", "relay", "spool", "systemd", "users"],
    ),
    // Faces.
    ("sink", &["envelope", "listener", "secret", "smtp", "status", "tls_faults"]),
    (
        "cli",
        &[
            "admin", "config", "daemon", "envelope", "import", "journal", "listener", "log", "message",
            "relay", "secret", "sink", "smtp", "spool", "status", "systemd", "users",
        ],
    ),
];

/// Files that need each other, and why that stays.
const CIRCLES: &[(&[&str], &str)] = &[
    (
        &[
            "message/rewrite/aliases",
            "message/rewrite/mapping",
            "message/rewrite/masquerade",
            "message/rewrite/rules",
        ],
        "the rules are made of these parts, each of which is asked with all the rules at hand",
    ),
    (
        &["smtp/session/content", "smtp/session/state"],
        "the state holds the content that is under way, and its steps change the state",
    ),
];

/// Names that stand for more than one type outside of their files, and why that stays.
const SHARED_NAMES: &[(&str, &str)] = &[];

/// Every file but tests: its module's path, such as `queue/owner`, and its text without comments and tests.
static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(module) = module_of(&path, &root) {
                found.insert(module, code_of(&path));
            }
        }
    }
    found
});

fn module_of(path: &Path, root: &Path) -> Option<String> {
    let module: PathBuf = path.strip_prefix(root).unwrap().with_extension("");
    let module = if module.ends_with("mod") { module.parent().unwrap().to_owned() } else { module };
    let names: Vec<&str> = module.iter().map(|name| name.to_str().unwrap()).collect();
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    let is_test = names.iter().any(|name| ["tests", "testing"].contains(name));
    let is_root = ["lib", "main"].contains(&names[0]);
    (is_code && !is_test && !is_root).then(|| names.join("/"))
}

fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths that a file names, each from `crate` or `super` on: of its `use` lines, groups taken apart, and of its code.
fn paths_in(code: &str) -> Vec<String> {
    static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"use ((?:crate|super)::[^;]*);").unwrap());
    static IN_CODE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:crate|super)(?:::[A-Za-z_0-9]+)+").unwrap());
    let mut paths: Vec<String> = Vec::new();
    for used in USE.captures_iter(code) {
        let tree: String = used[1].replace(" as ", "::").split_whitespace().collect();
        take_apart(&tree, &mut paths);
    }
    paths.extend(IN_CODE.find_iter(code).map(|path| path.as_str().to_owned()));
    paths
}

/// `a::{b, c::{d, e}}` gives `a::b`, `a::c::d`, `a::c::e`.
fn take_apart(tree: &str, into: &mut Vec<String>) {
    let Some((stem, branches)) = tree.split_once('{') else { return into.push(tree.to_owned()) };
    let branches = branches.strip_suffix('}').unwrap_or(branches);
    let (mut depth, mut start) = (0, 0);
    for (at, octet) in branches.bytes().chain([b',']).enumerate() {
        match octet {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                if at > start {
                    take_apart(&format!("{stem}{}", &branches[start..at]), into);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The file that `path`, named in `module`, leads to: the longest part of it that is one.
fn file_of(path: &str, module: &str) -> Option<String> {
    let mut names: Vec<&str> = module.split('/').collect();
    let mut segments = path.split("::").peekable();
    if segments.next_if_eq(&"crate").is_some() {
        names.clear();
    }
    while segments.next_if_eq(&"super").is_some() {
        names.pop();
    }
    let mut found = FILES.contains_key(&names.join("/")).then(|| names.join("/"));
    for segment in segments {
        names.push(segment);
        match FILES.contains_key(&names.join("/")) {
            true => found = Some(names.join("/")),
            false => break,
        }
    }
    found.filter(|file| file != module)
}

/// What each file uses.
fn uses() -> BTreeMap<&'static str, BTreeSet<String>> {
    let used = |(module, code): (&'static String, &String)| {
        let files = paths_in(code).iter().filter_map(|path| file_of(path, module)).collect();
        (module.as_str(), files)
    };
    FILES.iter().map(used).collect()
}

fn top_of(file: &str) -> &str {
    file.split('/').next().unwrap()
}

#[test]
fn every_module_uses_what_the_table_says() {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, files) in uses() {
        let others = files.iter().map(|file| top_of(file)).filter(|top| *top != top_of(file));
        used.entry(top_of(file)).or_default().extend(others.map(str::to_owned));
    }
    let table: BTreeMap<&str, BTreeSet<String>> = MAY_USE
        .iter()
        .map(|(module, uses)| (*module, uses.iter().map(|&name| name.to_owned()).collect()))
        .collect();
    assert_eq!(used, table, "left: the tree; right: the table");
}

#[test]
fn the_table_runs_one_way() {
    for (at, (module, uses)) in MAY_USE.iter().enumerate() {
        for name in *uses {
            let stands = MAY_USE.iter().position(|(other, _)| other == name);
            assert!(stands.is_some_and(|stands| stands < at), "{module} uses {name}, which is not above it");
        }
    }
}

/// The table of the crate's front page names every module, and nothing else does.
#[test]
fn the_front_page_names_every_module() {
    let front = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (module, _) in MAY_USE {
        assert!(front.contains(&format!("[`{module}`]")), "src/lib.rs does not say what {module} is");
    }
}

/// Everything that can be reached from `file`.
fn reached<'a>(file: &str, uses: &'a BTreeMap<&str, BTreeSet<String>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = uses.get(file).into_iter().flatten().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(uses.get(file).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

#[test]
fn files_need_each_other_only_for_a_reason() {
    let uses = uses();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|file| (*file, reached(file, &uses))).collect();
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, beyond) in &reach {
        let circle: Vec<&str> = beyond.iter().copied().filter(|other| reach[other].contains(file)).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let known: BTreeSet<Vec<&str>> = CIRCLES.iter().map(|(files, _)| files.to_vec()).collect();
    assert_eq!(circles, known, "left: the tree; right: those with a reason");
}

#[test]
fn a_name_that_leaves_its_file_stands_for_one_type() {
    static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?m)^ *pub(?:\([a-z:_ ]+\))? (?:unsafe )?(?:struct|enum|union|trait|type) ([A-Za-z_0-9]+)",
        )
        .unwrap()
    });
    let mut declared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, code) in FILES.iter() {
        for name in DECLARED.captures_iter(code) {
            declared.entry(name.get(1).unwrap().as_str()).or_default().push(file);
        }
    }
    assert!(declared.len() > 100, "the declarations were not found");
    declared.retain(|_, files| files.len() > 1);
    let shared: Vec<&str> = declared.keys().copied().collect();
    let known: Vec<&str> = SHARED_NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(shared, known, "left: the tree, {declared:?}; right: those with a reason");
}
