//! International domain names: reads a label in its `xn--` form, and writes it.
//!
//! Promises: a label is read only if it stands for a text in lower case with characters outside ASCII. Anything else is not
//! read, so that no name in ASCII alone is the same as another one. A label is written only if reading gives it back, and if
//! it has none of the characters that have several forms: without the tables of Unicode it might become another name.
//!
//! Not here: comparing (`spelling.rs`); which relay gets the form (`relay/group.rs`).
//!
//! RFC 3492 (Punycode), RFC 5890 2.3.2.1 (A-labels and U-labels).

/// The longest label of a domain (RFC 1035 2.3.4).
const MAX_LABEL_OCTETS: usize = 63;

/// The start of a label in the form of ASCII.
const PREFIX: &str = "xn--";

// RFC 3492 5.
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const FIRST_BIAS: u32 = 72;
const FIRST_CODE: u32 = 0x80;

/// Returns the text that a label in lower case, such as `xn--bcher-kva`, stands for; `None` if it stands for none.
pub(super) fn u_label(label: &str) -> Option<String> {
    let text = decoded(label.strip_prefix(PREFIX)?)?;
    let is_plain = |c: char| match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || c == '-' || c == '_',
        false => !c.is_control(),
    };
    (!text.is_ascii() && text.chars().all(is_plain) && text.to_lowercase() == text).then_some(text)
}

/// Returns `domain` in ASCII, with its international labels in their `xn--` form; `None` if one cannot be written so.
pub(super) fn a_domain(domain: &str) -> Option<String> {
    let labels: Option<Vec<String>> = domain.split('.').map(a_label).collect();
    labels.map(|labels| labels.join("."))
}

/// Returns a label in ASCII.
fn a_label(label: &str) -> Option<String> {
    if label.is_ascii() {
        return Some(label.to_owned());
    }
    let lower = label.to_lowercase();
    if lower.chars().any(has_several_forms) {
        return None;
    }
    let written = format!("{PREFIX}{}", encoded(&lower)?);
    (written.len() <= MAX_LABEL_OCTETS && u_label(&written)? == lower).then_some(written)
}

/// Returns whether `c` may be a part of a character that is usually written as one, another form of one, or a dot.
fn has_several_forms(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}' | '\u{200b}'..='\u{206f}' | '\u{3002}' | '\u{fb00}'..='\u{fb4f}'
        | '\u{fe00}'..='\u{feff}' | '\u{ff00}'..='\u{ffef}' | '\u{ad}')
        || c.is_whitespace()
}

/// Encodes Punycode (RFC 3492 6.3).
fn encoded(text: &str) -> Option<String> {
    let mut out: String = text.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut next, mut delta, mut bias, mut handled) = (FIRST_CODE, 0_u32, FIRST_BIAS, basic);
    let length = u32::try_from(text.chars().count()).ok()?;
    while handled < length {
        let smallest = text.chars().map(u32::from).filter(|code| *code >= next).min()?;
        delta = delta.checked_add((smallest - next).checked_mul(handled + 1)?)?;
        next = smallest;
        for code in text.chars().map(u32::from) {
            if code < next {
                delta = delta.checked_add(1)?;
            } else if code == next {
                push_number(delta, bias, &mut out);
                bias = adapted(delta, handled + 1, handled == basic);
                (delta, handled) = (0, handled + 1);
            }
        }
        (delta, next) = (delta.checked_add(1)?, next + 1);
    }
    Some(out)
}

/// Appends a number with digits of variable weight (RFC 3492 3.3).
fn push_number(number: u32, bias: u32, out: &mut String) {
    let mut rest = number;
    for k in (BASE..).step_by(BASE as usize) {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if rest < threshold {
            break;
        }
        let weight = BASE - threshold;
        out.push(letter(threshold + (rest - threshold) % weight));
        rest = (rest - threshold) / weight;
    }
    out.push(letter(rest));
}

/// Returns the letter or digit for a number below [`BASE`].
fn letter(number: u32) -> char {
    char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[number as usize])
}

/// Decodes Punycode (RFC 3492 6.2).
fn decoded(code: &str) -> Option<String> {
    let (basic, extended) = code.rsplit_once('-').unwrap_or(("", code));
    let mut text: Vec<char> = basic.chars().collect();
    let (mut next, mut at, mut bias) = (FIRST_CODE, 0_u32, FIRST_BIAS);
    let mut digits = extended.bytes().peekable();
    while digits.peek().is_some() {
        let before = at;
        let mut weight = 1_u32;
        for k in (BASE..).step_by(BASE as usize) {
            let digit = digit(digits.next()?)?;
            at = at.checked_add(digit.checked_mul(weight)?)?;
            let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
        }
        let length = u32::try_from(text.len()).ok()? + 1;
        bias = adapted(at - before, length, before == 0);
        next = next.checked_add(at / length)?;
        at %= length;
        text.insert(at as usize, char::from_u32(next)?);
        at += 1;
    }
    Some(text.into_iter().collect())
}

fn digit(octet: u8) -> Option<u32> {
    match octet {
        b'a'..=b'z' => Some(u32::from(octet - b'a')),
        b'0'..=b'9' => Some(u32::from(octet - b'0') + 26),
        _ => None,
    }
}

/// Returns the next bias (RFC 3492 6.1).
fn adapted(delta: u32, length: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / DAMP } else { delta / 2 };
    delta += delta / length;
    let mut k = 0;
    while delta > ((BASE - T_MIN) * T_MAX) / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_written_if_it_can_be_read() {
        for (domain, expected) in [
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("BÜCHER.Example", Some("xn--bcher-kva.Example")),
            ("mail.exämple.org", Some("mail.xn--exmple-cua.org")),
            ("пример.中国", Some("xn--e1afmkfd.xn--fiqs8s")),
            ("faß.example", Some("xn--fa-hia.example")),
            ("äöü", Some("xn--4ca0bs")),
            ("他们为什么不说中文", Some("xn--ihqwcrb4cv8a8dqg056pqjye")),
            ("3年b組金八先生", Some("xn--3b-ww4c5e180e575a65lsy2b")),
            ("plain.example", Some("plain.example")),
            // A dot of another script, letters of double width, and a letter and its dots on their own.
            ("bücher。example", None),
            ("ｂücher.example", None),
            ("bu\u{308}cher.example", None),
            ("a\u{200d}b.example", None),
        ] {
            assert_eq!(a_domain(domain).as_deref(), expected, "{domain}");
        }
        assert_eq!(a_domain(&"ü".repeat(100)), None, "a label of over 63 octets");
    }

    #[test]
    fn a_label_is_read_as_the_text_that_it_stands_for() {
        for (label, expected) in [
            ("xn--bcher-kva", Some("bücher")),
            ("xn--exmple-cua", Some("exämple")),
            ("xn--mnchen-3ya", Some("münchen")),
            ("xn--fa-hia", Some("faß")),
            ("xn--4ca0bs", Some("äöü")),
            ("xn--e1afmkfd", Some("пример")),
            ("xn--fiqs8s", Some("中国")),
            // RFC 3492 7.1 (B) and (L).
            ("xn--ihqwcrb4cv8a8dqg056pqjye", Some("他们为什么不说中文")),
            ("xn--3b-ww4c5e180e575a65lsy2b", Some("3年b組金八先生")),
            ("bcher-kva", None),
            ("xn--", None),
            ("xn---", None),
            // They would be the same as names in ASCII.
            ("xn--example-", None),
            ("xn--a", None),
            // In capitals, an umlaut.
            ("xn--bcher-2pa", None),
            ("xn--bcher-kv", None),
            ("xn--99999999", None),
            ("xn--b\u{fc}cher", None),
            ("xn--zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", None),
        ] {
            assert_eq!(u_label(label).as_deref(), expected, "{label}");
        }
    }
}
