//! The files of `src/` as text: the paths that each of them names, and the file that each path leads to.
//!
//! Promises: a path leads to the file that declares the last module in it. A name that a file passes on (`pub use
//! table::Key`) leads to the file from which it comes.
//!
//! Not seen: tests (`mod tests`, `tests/`, `testing/`); a path that a macro makes; a name behind `use …::*`, for which the
//! file before the star counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A file of `src/`.
pub struct Source {
    /// The text, without comments and tests.
    pub code: String,
    /// Each path that the file names, such as `super::table::Key` or `std::fs::File`; groups are taken apart.
    pub paths: BTreeSet<String>,
    /// Each name that the file imports, with its path.
    imported: BTreeMap<String, String>,
}

/// Every file but tests, by the path of its module, such as `queue/owner`.
pub static FILES: LazyLock<BTreeMap<String, Source>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(module) = module_of(&path, &root) {
                found.insert(module, source_of(&path));
            }
        }
    }
    found
});

fn module_of(path: &Path, root: &Path) -> Option<String> {
    let module: PathBuf = path.strip_prefix(root).unwrap().with_extension("");
    let names: Vec<&str> = module.iter().map(|name| name.to_str().unwrap()).collect();
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    let is_test = names.iter().any(|name| ["tests", "testing"].contains(name));
    let is_root = ["lib", "main"].contains(&names[0]);
    (is_code && !is_test && !is_root).then(|| names.join("/"))
}

fn source_of(path: &Path) -> Source {
    static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u:\b)use ([a-z_][^;]*);").unwrap());
    static IN_CODE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?-u:\b)[a-z_][a-z_0-9]*(?:::[A-Za-z_0-9]+)+").unwrap());
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = lines.join("\n");
    let mut used = Vec::new();
    for tree in USE.captures_iter(&code) {
        let tree: String = tree[1].replace(" as ", "::").split_whitespace().collect();
        take_apart(&tree, &mut used);
    }
    let last = |path: &String| (path.rsplit("::").next().unwrap_or(path).to_owned(), path.clone());
    let imported = used.iter().map(last).collect();
    let beside = USE.replace_all(&code, "");
    used.extend(IN_CODE.find_iter(&beside).map(|path| path.as_str().to_owned()));
    Source { paths: used.into_iter().collect(), imported, code }
}

/// Adds the paths of a `use` to `into`: `a::{self, b, c::{d, e}}` gives `a`, `a::b`, `a::c::d`, `a::c::e`.
fn take_apart(tree: &str, into: &mut Vec<String>) {
    let Some((stem, branches)) = tree.split_once('{') else {
        return into.push(tree.strip_suffix("::self").unwrap_or(tree).to_owned());
    };
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

/// Returns the file that `path`, named in `module`, leads to; `None` if it leads out of `src/`.
fn file_of(path: &str, module: &str) -> Option<String> {
    let mut names: Vec<&str> = module.split('/').collect();
    let mut segments = path.split("::").peekable();
    match segments.peek() {
        Some(&"crate") => {
            segments.next();
            names.clear();
        }
        Some(&"self") => {
            segments.next();
        }
        Some(&"super") => {}
        Some(&first) if FILES.contains_key(&format!("{module}/{first}")) => {}
        _ => return None,
    }
    while segments.next_if_eq(&"super").is_some() {
        names.pop();
    }
    while let Some(segment) = segments.next_if(|segment| FILES.contains_key(&below(&names, segment))) {
        names.push(segment);
    }
    let found = names.join("/");
    let source = FILES.get(&found)?;
    let from_elsewhere = segments.next().and_then(|name| source.imported.get(name));
    from_elsewhere.and_then(|path| file_of(path, &found)).or(Some(found))
}

fn below(names: &[&str], name: &str) -> String {
    [names, &[name]].concat().join("/")
}

/// Returns the files that each file uses.
pub fn uses() -> BTreeMap<&'static str, BTreeSet<String>> {
    let used = |(module, source): (&'static String, &Source)| {
        let files = source.paths.iter().filter_map(|path| file_of(path, module));
        (module.as_str(), files.filter(|file| file != module).collect())
    };
    FILES.iter().map(used).collect()
}
