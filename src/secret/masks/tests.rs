use proptest::prelude::*;

use super::*;

fn masks(secret: &str) -> SecretMasks {
    let mut masks = SecretMasks::default();
    masks.keep(secret);
    masks
}

#[test]
fn a_secret_is_masked_in_each_of_its_forms() {
    let table = [
        ("hunter22", "no hunter22, hunter22!", "no ***, ***!"),
        (
            "s&/m\"",
            "s&/m\" s&\\/m\\\" s%26%2fm%22 s\\u0026/m\\u0022 s&amp;/m&quot; s&#38;&#x2F;m\"",
            "*** *** *** *** *** ***",
        ),
        ("s&m4", "s&#x00026;m4 s&#x000026;m4 s&#x0000026;m4", "*** *** s&#x0000026;m4"),
        ("s&m4", "s&s&&ä s&äääää;m4 s&", "s&s&&ä s&äääää;m4 s&"),
        ("a\\\\b", "a\\\\b a\\\\\\\\b", "*** ***"),
        ("pä ß", "pä ß p%C3%A4+%C3%9F p%E4%20%DF p\\u00e4  \\u00DF", "*** *** *** ***"),
        ("a😀bc", "a\\ud83d\\ude00bc a%F0%9F%98%80bc a&#128512;bc", "*** *** ***"),
        ("two  words", "two words two  words two%20%20words", "*** *** ***"),
        ("hunter22", "aHVudGVyMjI= aHVudGVyMjI", "*** ***"),
        ("a long secret>>>", "app:a long s", "app:***"),
        ("abcdefghij", "cut in abcdefgh", "cut in ***"),
        ("abcdefgh/j", "cut in abcdefgh%2", "cut in ***"),
        ("abcdefghij", "abcdef is no part that is looked for", "abcdef is no part that is looked for"),
        ("abc", "abc YWJj", "abc YWJj"),
        ("", "nothing", "nothing"),
    ];
    for (secret, text, expected) in table {
        assert_eq!(masks(secret).masked(text), expected, "{secret}");
    }
}

/// `Authorization: Basic` has the secret behind the name.
#[test]
fn base64_of_something_longer_hides_the_secret_within() {
    for name in ["", "a", "ab", "abc"] {
        let text = STANDARD.encode(format!("{name}:hunter22-long:{name}"));
        let masked = masks("hunter22-long").masked(&text);
        assert!(masked.contains("***") && masked.len() < text.len() - 10, "{text} {masked}");
    }
}

/// The longest secret that stands somewhere is masked whole.
#[test]
fn one_secret_may_be_a_part_of_another() {
    let mut both = masks("hunter");
    both.keep("hunter22");
    assert_eq!(both.masked("hunter22 hunter2"), "*** ***2");
    assert!(!format!("{both:?}").contains("hunter"));
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}

fn unicode(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn percent_of_all(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02x}")).collect()
}

/// A form may end in a `"` or a backslash of its own: `json` takes quotes away, so it is not used for such.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        secret.replace('/', "\\/"),
        unicode(secret),
        percent_of_all(secret),
        percent_of_all(secret).to_uppercase(),
        percent_of_all(secret).replace("%20", "+"),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
        STANDARD.encode(secret),
        URL_SAFE.encode(secret),
    ];
    if !secret.contains('"') {
        forms.push(json(secret));
    }
    forms
}

proptest! {
    #[test]
    fn no_form_of_a_secret_comes_through(
        secret in "[!-)+-~ä€😀][ -)+-~ä€😀]{2,40}[!-)+-~ä€😀]",
        front in "[ -)+-~]{0,12}",
        behind in "[ -)+-~]{0,12}",
    ) {
        let masks = masks(&secret);
        for form in forms(&secret) {
            let masked = masks.masked(&format!("{front}{form}{behind}"));
            prop_assert!(!masked.contains(&form), "{secret}: {form}: {masked}");
        }
    }
}
