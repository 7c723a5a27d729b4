//! The body of a request to a token endpoint: `application/x-www-form-urlencoded`.
//!
//! Promises: the buffer has its final size from the start, so that no copy of a secret stays behind where it grew; it is
//! overwritten when it is dropped.

use zeroize::Zeroizing;

/// Returns `fields` as a form. The order is kept.
pub fn form(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let size: usize = fields.iter().map(|(name, value)| 2 + 3 * (name.len() + value.len())).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    for (name, value) in fields {
        if !out.is_empty() {
            out.push(b'&');
        }
        encode(&mut out, name);
        out.push(b'=');
        encode(&mut out, value);
    }
    out
}

fn encode(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_letters_is_encoded() {
        let body = form(&[("grant_type", "refresh_token"), ("scope", "https://a/b c"), ("x", "ä&=+%\r\n")]);
        assert_eq!(
            str::from_utf8(&body).unwrap(),
            "grant_type=refresh_token&scope=https%3A%2F%2Fa%2Fb%20c&x=%C3%A4%26%3D%2B%25%0D%0A"
        );
    }
}
