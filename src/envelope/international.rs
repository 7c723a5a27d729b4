//! International domain names: reads a label in its `xn--` form.
//!
//! Promises: a label is read only if it stands for a text in lower case with characters outside ASCII. Anything else is not
//! read, so that no name in ASCII alone is the same as another one.
//!
//! Not here: comparing (`spelling.rs`), writing the form: the relay gets each domain as it was given.
//!
//! RFC 3492 (Punycode), RFC 5890 2.3.2.1 (A-labels and U-labels).

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
