use super::*;

fn expression(kind: &str, line: &str) -> Expression {
    split_expression(line, kind).unwrap_or_else(|| panic!("{line}")).0
}

#[test]
fn posix_expressions() {
    for (line, expected) in [
        ("/^Reply-To:.*/", "^Reply-To:.*"),
        ("/^Subject: X/i", "(?-i)^Subject: X"),
        ("#a/b#", "a/b"),
        (r"/a\/b\.c\-d/", r"a\/b\.c\-d"),
        ("/[]a-z[]/", r"[\]a-z\[]"),
        (r"/[^\w&~-]/", r"[^\\w\&\~\-]"),
        ("/^[[:alnum:]_.]+:[[:space:]]*$/", "^[[:alnum:]_.]+:[[:space:]]*$"),
        ("/a{2,3}b{,4}{x/", "a{2,3}b{0,4}\\{x"),
        (r"/\<word\>/", r"\b{start}word\b{end}"),
        ("/(a|b)*c?/", "(a|b)*c?"),
    ] {
        assert_eq!(expression("regexp", line).translated().as_deref(), Ok(expected), "{line}");
    }
}

#[test]
fn pcre_expressions() {
    for (line, expected) in [
        (r"/^Received:\s+from\h(.*?)\[\d+\]/", r"^Received:\s+from[ \t](.*?)\[\d+\]"),
        ("/(?:a|b)(?<n>c)(?i)d/", "(?:a|b)(?<n>c)(?i)d"),
        (r"/[\]\w[]-/ix", r"(?x-i)[\]\w\[]-"),
        ("/a.*b/U", "(?U)a.*b"),
        (r"/\x41\<b/", r"\x41<b"),
    ] {
        assert_eq!(expression("pcre", line).translated().as_deref(), Ok(expected), "{line}");
    }
}

#[test]
fn what_has_no_equivalent_says_so() {
    for (kind, line) in [
        ("regexp", "!/a/"),
        ("regexp", "/a/x"),
        ("regexp", r"/(a)\1/"),
        ("regexp", r"/\d/"),
        ("regexp", "/a+?/"),
        ("regexp", "/a*+/"),
        ("regexp", "/[[.a.]]/"),
        ("regexp", "/[abc/"),
        ("regexp", "/(?:a)/"),
        ("pcre", "/a(?=b)/"),
        ("pcre", "/(?<!b)a/"),
        ("pcre", "/(?>a)/"),
        ("pcre", "/a++/"),
        ("pcre", r"/\Qa\E/"),
        ("pcre", r"/(a)\g1/"),
        ("pcre", "/(*UTF8)a/"),
        ("pcre", "/a/A"),
    ] {
        assert!(expression(kind, line).translated().is_err(), "{line}");
    }
}

#[test]
fn groups_in_results() {
    for (result, expected) in [
        ("X: $1", Ok("X: ${1}")),
        ("${1}0 $(2)0 $$5", Ok("${1}0 ${2}0 $$5")),
        ("(a) $1) {b}", Ok("(a) ${1}) {b}")),
        ("none", Ok("none")),
        ("$x", Err(())),
        ("${1", Err(())),
    ] {
        assert_eq!(translated_result(result).as_deref().map_err(|_| ()), expected, "{result}");
    }
}

#[test]
fn addresses_that_patterns_stand_for() {
    for (line, key) in [
        (r"/^root@web1\.example\.com$/", Some("root@web1.example.com")),
        (r"/^root@.*$/", Some("root")),
        (r"/^root@/", Some("root")),
        (r"/@web1\.example\.com$/", Some("@web1.example.com")),
        (r"/^www-data$/", Some("www-data")),
        (r"/root/", None),
        (r"/^root@web1.example.com$/", None),
        (r"/@example\.com/", None),
        (r"!/^root$/", None),
        ("/^(a|b)@/", None),
    ] {
        assert_eq!(expression("regexp", line).as_key().as_deref(), key, "{line}");
    }
    for (line, all) in [
        ("/.+/", true),
        ("/^(.*)$/", true),
        ("/./", true),
        ("/^.*@.*$/", true),
        ("!/./", false),
        ("/a.*/", false),
    ] {
        assert_eq!(expression("regexp", line).matches_all(), all, "{line}");
    }
}

#[test]
fn a_table_keeps_its_order_and_its_conditions() {
    let text = "/a b/ REPLACE x y\nif /^Subject:/\n/c/ IGNORE\nendif\n/d/i\n  WARN two\n";
    let patterns = read_patterns("/etc/postfix/h", text, "regexp").unwrap();
    let shown: Vec<_> = patterns
        .iter()
        .map(|pattern| (pattern.location.line.unwrap(), !pattern.conditions.is_empty(), &*pattern.result))
        .collect();
    assert_eq!(shown, [(1, false, "REPLACE x y"), (3, true, "IGNORE"), (5, false, "WARN two")]);
}

/// Rules for different fields never meet, so one that is left out does not keep the other from being carried.
#[test]
fn patterns_that_one_field_might_match() {
    let patterns = |text| read_patterns("h", text, "pcre").unwrap();
    let first = patterns("/^Subject: a/ IGNORE");
    for (line, may) in [
        ("/^subject: b/ X", true),
        ("/^To: (a|b)/ X", false),
        ("/^To: \\(a|b/ X", true),
        ("/^To: [(]a|b/ X", true),
        ("/^To: a|^Subject:/ X", true),
        ("/^To:?/ X", true),
        ("/^(To|Subject): a/ X", true),
        ("/^To: a/m X", true),
        ("/To: a/ X", true),
        ("!/^To: a/ X", true),
        ("if /^To:/\n/a/ X\nendif", false),
        ("if !/^To:/\n/a/ X\nendif", true),
    ] {
        assert_eq!(first[0].may_match_with(&patterns(line)[0]), may, "{line}");
    }
}

#[test]
fn broken_tables_name_the_line() {
    for (text, said) in [
        ("/a/ b\nabc def", "t:2: expected `/pattern/flags result`"),
        ("/abc def", "t:1: expected `/pattern/flags result`"),
        ("/a/b/ c", "t:1: expected `/pattern/flags result`"),
        ("endif", "t:1: `endif` without its `if`"),
        ("if x", "t:1: expected `if /pattern/`"),
    ] {
        assert_eq!(read_patterns("t", text, "regexp").unwrap_err().to_string(), said);
    }
}

#[test]
fn addresses_and_domains_are_read_out_of_patterns() {
    for (text, expected) in [
        (r"/^ann@x\.example$/", Some("ann@x.example")),
        (r"/@x\.example$/", Some("@x.example")),
        ("/@x.example$/", Some("@x.example")),
        (r"/@x\.example/", Some("@x.example and longer ones")),
        (r"/^.*@X\.example$/", Some("@x.example")),
        (r"/(.+)@x\.example$/", Some("@x.example")),
        (r"/@(.*\.)?x\.example$/", Some("@x.example @.x.example")),
        (r"/[@.]x\.example$/", Some("@x.example @.x.example")),
        (r"/\.x\.example$/", Some("@.x.example")),
        (r"/^.*@.*\.x\.example$/", Some("@.x.example")),
        // A user that only ends so, and what no address begins with.
        (r"/ann@x\.example$/", None),
        (r"!/@x\.example$/", None),
        (r"/^@x\.example$/", None),
        (r"/^\.x\.example$/", None),
        (r"/x\.example$/", None),
        (r"/^a.*@x\.example$/", None),
    ] {
        let pattern = &read_patterns("p", &format!("{text} r"), "regexp").unwrap()[0];
        let found = pattern.expression.as_addresses().map(|MatchedAddresses { keys, is_open }| {
            keys.join(" ") + if is_open { " and longer ones" } else { "" }
        });
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}
