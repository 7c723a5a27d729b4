//! The order of the tree: which module may use which, what is pure, that no two files need each other without a reason,
//! and that a type has a name of its own.
//!
//! Promises
//! 1. [`MAY_USE`] says in full which module uses which: a `use` that is not in it fails, and so does an entry that nothing
//!    needs any more. Each module uses only those above it, so there are no circles of modules. The table of `src/lib.rs`
//!    has the same modules in the same order.
//! 2. A pure module names nothing of the system: no task, thread, process, socket, file or clock. Its exceptions are in
//!    [`MAY_TOUCH`].
//! 3. Two files need each other only for a reason that is written in [`CIRCLES`]. A file counts as using each file of
//!    which it names something, its own submodules, too; but a part may always use the file of which it is a part
//!    (`super::Thing`). For that is how a folder is made: the file beside it declares what its parts have in common, and
//!    calls them. So its parts must not need each other in a circle, and no part may need it by way of another folder.
//! 4. A name that leaves its file stands for one type; the exceptions are in [`SHARED_NAMES`]. No private type of another
//!    file has that name.
//!
//! 5. The order of an operator, which is a proof, is made only where rights are checked (`src/admin/rights.rs`).
//!
//! Not seen: what `layers/tree.rs` does not see; a name that a macro declares.

#[path = "layers/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use tree::{FILES, uses};

/// Each module of `src/lib.rs` with the modules that it may use, from the bottom up.
const MAY_USE: &[(&str, &[&str])] = &[
    // Words: types and texts that all modules use; pure.
    ("envelope", &[]),
    ("histogram", &[]),
    ("key_names", &[]),
    ("outcome", &[]),
    ("queue_id", &[]),
    ("secret", &[]),
    ("status", &[]),
    ("tls_faults", &[]),
    ("log", &["envelope", "key_names", "outcome", "queue_id", "status"]),
    // Cores: what somebody is told of unasked, the messages that an operator means, the last day in numbers, orders about mail to come, the way of a message, senders, changes to a message, SMTP, access tokens, logins of clients; pure.
    ("alarm", &["log"]),
    ("filter", &["queue_id"]),
    ("history", &[]),
    ("standing_orders", &["filter"]),
    ("routing", &["envelope"]),
    ("sender_policy", &["envelope", "routing"]),
    ("message", &["envelope", "queue_id", "sender_policy", "status"]),
    ("smtp", &["envelope", "message", "sender_policy", "status"]),
    ("oauth", &["secret"]),
    ("sasl_server", &["secret"]),
    // The configuration; pure, except for reading files.
    (
        "config",
        &[
            "alarm",
            "envelope",
            "key_names",
            "message",
            "oauth",
            "routing",
            "sasl_server",
            "secret",
            "tls_faults",
        ],
    ),
    ("import", &["config", "envelope", "message", "secret"]),
    // Shells: the users of this host, the disk, connections to the relay, connections from clients.
    ("users", &["log", "message"]),
    ("spool", &["envelope", "filter", "histogram", "log", "queue_id", "smtp", "standing_orders"]),
    ("trace", &["log", "queue_id"]),
    (
        "relay",
        &[
            "config",
            "envelope",
            "key_names",
            "log",
            "message",
            "oauth",
            "queue_id",
            "secret",
            "smtp",
            "status",
            "tls_faults",
            "trace",
        ],
    ),
    (
        "listener",
        &[
            "config",
            "envelope",
            "log",
            "message",
            "queue_id",
            "routing",
            "sasl_server",
            "sender_policy",
            "smtp",
            "spool",
            "status",
            "tls_faults",
            "users",
            "trace",
        ],
    ),
    // The one owner of live messages.
    (
        "queue",
        &[
            "config",
            "envelope",
            "filter",
            "histogram",
            "key_names",
            "log",
            "message",
            "outcome",
            "queue_id",
            "relay",
            "routing",
            "spool",
            "standing_orders",
            "status",
        ],
    ),
    // The control socket, and start, reload, stop.
    (
        "admin",
        &[
            "alarm",
            "config",
            "envelope",
            "filter",
            "histogram",
            "history",
            "listener",
            "log",
            "message",
            "queue",
            "queue_id",
            "relay",
            "spool",
            "standing_orders",
            "users",
            "trace",
        ],
    ),
    ("journal", &["config", "log"]),
    ("systemd", &[]),
    (
        "daemon",
        &["admin", "config", "journal", "listener", "log", "queue", "relay", "spool", "systemd", "users"],
    ),
    // Faces.
    ("sink", &["envelope", "listener", "oauth", "sasl_server", "secret", "smtp", "status", "tls_faults"]),
    (
        "cli",
        &[
            "admin",
            "config",
            "daemon",
            "envelope",
            "filter",
            "history",
            "import",
            "journal",
            "key_names",
            "listener",
            "log",
            "message",
            "oauth",
            "queue_id",
            "relay",
            "routing",
            "sasl_server",
            "secret",
            "sink",
            "smtp",
            "spool",
            "standing_orders",
            "status",
            "systemd",
            "users",
            "trace",
        ],
    ),
];

/// The modules that name nothing of the system.
const PURE: &[&str] = &[
    "envelope",
    "histogram",
    "key_names",
    "outcome",
    "queue_id",
    "secret",
    "status",
    "tls_faults",
    "alarm",
    "filter",
    "history",
    "routing",
    "sender_policy",
    "message",
    "smtp",
    "oauth",
    "sasl_server",
    "log",
    "config",
    "import",
];

/// Paths by which code reaches the system, or the clock.
const SYSTEM: &[&str] = &[
    "libc",
    "nix",
    "rustix",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "tokio",
];

/// Paths below those of [`SYSTEM`] that are only types.
const ONLY_TYPES: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::time::Duration",
];

/// Pure modules that may use some of the system, and the reason.
const MAY_TOUCH: &[(&str, &[&str], &str)] = &[(
    "config",
    &[
        "std::env",
        "std::fs",
        "std::os::fd",
        "std::os::unix::fs",
        "rustix::fs",
        "rustix::process::getegid",
        "rustix::process::geteuid",
        "rustix::process::getgroups",
        "rustix::system::uname",
    ],
    "it reads the files that it names, checks who else may read them, and asks for the name of this host",
)];

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

/// A reader of `src/lib.rs` takes the order of its table for the order of use.
#[test]
fn the_front_page_has_the_same_modules_in_the_same_order() {
    let front = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rows: String = front.lines().filter(|line| line.starts_with("//! |")).collect();
    let named = Regex::new(r"\[`([a-z_]+)`\]").unwrap();
    let named: Vec<&str> = named.captures_iter(&rows).map(|name| name.get(1).unwrap().as_str()).collect();
    let table: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    assert_eq!(named, table, "left: src/lib.rs; right: the table");
}

/// Returns true if `path` is one of `paths`, or below one of them.
fn is_below(path: &str, paths: &[&str]) -> bool {
    paths
        .iter()
        .any(|above| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

/// Returns the paths of the system that a file of the pure module names, without the exceptions of that module.
fn touched(module: &str, code: &tree::Source) -> Vec<String> {
    let exceptions = MAY_TOUCH.iter().filter(|(name, ..)| *name == top_of(module));
    let exceptions: Vec<&str> = exceptions.flat_map(|(_, paths, _)| paths.iter().copied()).collect();
    let paths = code.paths.iter().filter(|path| is_below(path, SYSTEM) && !is_below(path, ONLY_TYPES));
    let mut touched: Vec<String> = paths.filter(|path| !is_below(path, &exceptions)).cloned().collect();
    touched.extend(code.code.contains("::now()").then(|| "a clock".to_owned()));
    touched
}

/// The configuration once ran a program and asked a name server, so that no test of it was without a process.
#[test]
fn a_pure_module_names_nothing_of_the_system() {
    let files = FILES.iter().filter(|(module, _)| PURE.contains(&top_of(module)));
    let found: BTreeMap<&str, Vec<String>> = files
        .map(|(module, code)| (module.as_str(), touched(module, code)))
        .filter(|(_, touched)| !touched.is_empty())
        .collect();
    assert!(found.is_empty(), "pure modules reach the system: {found:#?}");
}

/// Each exception is needed, and the code that is not pure is seen to be so.
#[test]
fn what_reaches_the_system_is_found() {
    let named: BTreeSet<&str> =
        FILES.values().flat_map(|source| source.paths.iter().map(String::as_str)).collect();
    for (module, paths, _) in MAY_TOUCH {
        let of_module = FILES.iter().filter(|(file, _)| top_of(file) == *module);
        let of_module: BTreeSet<&String> = of_module.flat_map(|(_, source)| &source.paths).collect();
        for path in *paths {
            assert!(of_module.iter().any(|named| is_below(named, &[path])), "{module} does not need {path}");
        }
    }
    for path in SYSTEM.iter().filter(|path| **path != "libc") {
        assert!(named.iter().any(|named| is_below(named, &[path])), "no file names {path}");
    }
    for module in ["listener", "relay", "spool", "users"] {
        let touches =
            |(file, source): (&String, _)| top_of(file) == module && !touched(file, source).is_empty();
        assert!(FILES.iter().any(touches), "{module} is a shell, and nothing shows it");
    }
}

/// Returns the files that each file uses, but for those of which it is a part.
fn needs() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut uses = uses();
    for (file, used) in &mut uses {
        used.retain(|other| !file.strip_prefix(other.as_str()).is_some_and(|part| part.starts_with('/')));
    }
    uses
}

/// Returns everything that can be reached from `file`.
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
    let needs = needs();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        needs.keys().map(|file| (*file, reached(file, &needs))).collect();
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

/// Returns the names of the types that the files declare, each with its files: those that leave their file if `is_public`,
/// otherwise those that do not.
fn declared(is_public: bool) -> BTreeMap<&'static str, Vec<&'static str>> {
    static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?m)^ *(pub(?:\([a-z:_ ]+\))? )?(?:unsafe )?(?:struct|enum|union|trait|type) ([A-Za-z_0-9]+)",
        )
        .unwrap()
    });
    let mut declared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, source) in FILES.iter() {
        for found in DECLARED.captures_iter(&source.code) {
            // The type that a trait has (`type Stream;`, `type Stream = …;` in an impl) is no name of its own.
            let is_associated = found[0].trim_start().starts_with("type ") && found[0].starts_with(' ');
            if found.get(1).is_some() == is_public && !is_associated {
                declared.entry(found.get(2).unwrap().as_str()).or_default().push(file);
            }
        }
    }
    declared
}

#[test]
fn a_name_that_leaves_its_file_stands_for_one_type() {
    let mut declared = declared(true);
    assert!(declared.len() > 100, "the declarations were not found");
    declared.retain(|_, files| files.len() > 1);
    let shared: Vec<&str> = declared.keys().copied().collect();
    let known: Vec<&str> = SHARED_NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(shared, known, "left: the tree, {declared:?}; right: those with a reason");
}

/// A reader who meets `Envelope` in a file takes it for the one that everybody knows.
#[test]
fn a_private_type_has_no_name_of_a_public_one() {
    let public = declared(true);
    let mut private = declared(false);
    assert!(private.len() > 100, "the declarations were not found");
    private.retain(|name, files| {
        public.get(name).is_some_and(|others| others.iter().any(|other| !files.contains(other)))
    });
    assert!(private.is_empty(), "private types with the name of a public type elsewhere: {private:?}");
}

/// Promise 5. Tests may make one, to give it to the queue or to the spool.
#[test]
fn only_the_check_of_rights_makes_the_order_of_an_operator() {
    let text = |module: &str| fs::read_to_string(format!("{}/src/{module}.rs", env!("CARGO_MANIFEST_DIR")));
    let makes = |module: &&String| text(module).is_ok_and(|text| text.contains("OperatorOrder::permitted("));
    let makers: Vec<&str> =
        FILES.keys().filter(makes).map(String::as_str).filter(|module| !module.contains("/tests")).collect();
    // The file of the order itself makes some in its tests.
    assert_eq!(makers, ["admin/rights", "spool/order"]);
}
