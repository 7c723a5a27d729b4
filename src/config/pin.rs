//! `tls.pin-sha256`: a SHA-256 digest, in hex (colons allowed, as openssl prints it) or base64.

use std::borrow::Cow;

use toml::de::DeValue;

use super::setting::Setting;

/// The SHA-256 of a SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin(pub(super) [u8; 32]);

impl Setting for Pin {
    fn expected() -> Cow<'static, str> {
        "the SHA-256 of the relay's public key (SubjectPublicKeyInfo), 64 hex digits or 44 characters of base64"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        from_hex(text).or_else(|| from_base64(text)).map(Pin)
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let octets: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect();
    (digits.len() == 64).then_some(octets)?.try_into().ok()
}

/// Decodes base64 (RFC 4648 4). 32 octets are 43 characters, the last of which has two spare bits, and one `=`.
fn from_base64(text: &str) -> Option<[u8; 32]> {
    let characters = text.strip_suffix('=')?.as_bytes();
    if characters.len() != 43 {
        return None;
    }
    let mut octets = [0; 32];
    let (mut bits, mut held, mut filled): (u32, u32, usize) = (0, 0, 0);
    for character in characters {
        bits = bits << 6 | u32::from(sextet(*character)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets[filled] = (bits >> held) as u8;
            filled += 1;
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(octets)
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of nothing.
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BASE64: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn the_forms_of_one_pin() {
        let octets = from_hex(HEX).unwrap();
        assert_eq!((octets[0], octets[31]), (0xe3, 0x55));
        let pairs: Vec<_> = HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        assert_eq!(from_hex(&pairs.join(":").to_uppercase()), Some(octets));
        assert_eq!(from_base64(BASE64), Some(octets));
    }

    #[test]
    fn what_is_no_pin() {
        let spare_bits = BASE64.replace("U=", "V=");
        let short = &HEX[2..];
        for text in
            ["", short, &format!("{HEX}00"), &HEX.replace('e', "g"), &BASE64[..43], &spare_bits, "sha256//="]
        {
            assert_eq!(from_hex(text).or_else(|| from_base64(text)), None, "{text:?}");
        }
        assert_eq!(from_base64(&BASE64.replace('+', "-")), None, "the URL alphabet is another one");
    }
}
