//! Reads the public key, the dates and the issuer of a certificate, whatever else the certificate contains or lacks.
//!
//! Promises: [`PublicKey::of`] reads X.509 certificates of every version, with any extensions or none, since it parses
//! only the part before the key. It returns octets of the certificate itself, so that a pin and a signature are checked
//! with the same key.
//!
//! Fails: with `None` for octets that are not a certificate.
//!
//! Not here: whether the certificate is to be trusted (`trust.rs`).
//!
//! RFC 5280 4.1, RFC 8017 A.1.1, X.690 8.1 (the encoding).

use ::aws_lc_rs::digest;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// id-at-commonName and id-at-organizationName (RFC 5280 A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];
/// The tag `[0]` of the version, which a certificate of version 1 does not have.
const VERSION: u8 = 0xa0;

/// The AlgorithmIdentifier of an RSA key, without its own tag and length: rsaEncryption, NULL.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Returns the SHA-256 of the SubjectPublicKeyInfo of the certificate `der`; `None` if it has none.
pub(crate) fn pin_of(der: &[u8]) -> Option<[u8; 32]> {
    let key = PublicKey::of(der)?;
    digest::digest(&digest::SHA256, key.whole).as_ref().try_into().ok()
}

/// Returns the first and the last second at which the certificate `der` is valid, in seconds since 1970; `None` if
/// they cannot be read.
pub(crate) fn validity_of(der: &[u8]) -> Option<(i64, i64)> {
    let mut fields = fields_behind_serial(der)?;
    fields.content(SEQUENCE)?;
    fields.content(SEQUENCE)?;
    let mut dates = DerReader(fields.content(SEQUENCE)?);
    Some((dates.date()?, dates.date()?))
}

/// Returns the common name of the issuer of the certificate `der`, or its organisation if it has none.
pub(crate) fn issuer_of(der: &[u8]) -> Option<String> {
    let mut fields = fields_behind_serial(der)?;
    fields.content(SEQUENCE)?;
    let issuer = fields.content(SEQUENCE)?;
    attribute(issuer, COMMON_NAME).or_else(|| attribute(issuer, ORGANISATION))
}

/// Returns the common name of the owner of the certificate `der`, or its organisation if it has none.
pub(crate) fn subject_of(der: &[u8]) -> Option<String> {
    let mut fields = fields_behind_serial(der)?;
    // Signature algorithm, issuer, validity.
    for _ in 0..3 {
        fields.content(SEQUENCE)?;
    }
    let subject = fields.content(SEQUENCE)?;
    attribute(subject, COMMON_NAME).or_else(|| attribute(subject, ORGANISATION))
}

/// Returns the value of the attribute `kind` in a distinguished name.
fn attribute(name: &[u8], kind: &[u8]) -> Option<String> {
    let mut sets = DerReader(name);
    while let Some(set) = sets.content(SET) {
        let mut pair = DerReader(DerReader(set).content(SEQUENCE)?);
        if pair.content(OBJECT_IDENTIFIER)? == kind {
            let text = pair.content(*pair.0.first()?)?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}

/// Returns the fields of the certificate `der` behind its serial number: signature algorithm, issuer, validity, subject,
/// key.
fn fields_behind_serial(der: &[u8]) -> Option<DerReader<'_>> {
    let mut outer = DerReader(der);
    let mut certificate = DerReader(outer.content(SEQUENCE)?);
    let mut fields = DerReader(certificate.content(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.content(VERSION)?;
    }
    fields.content(INTEGER)?;
    Some(fields)
}

/// A SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey<'a> {
    /// All octets of it, over which a pin is made.
    pub(crate) whole: &'a [u8],
    /// The AlgorithmIdentifier, without its own tag and length.
    pub(crate) algorithm: &'a [u8],
    /// The key itself, without the count of unused bits.
    pub(crate) key: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Returns the key in the certificate `der`.
    pub(crate) fn of(der: &'a [u8]) -> Option<PublicKey<'a>> {
        let mut fields = fields_behind_serial(der)?;
        // Signature algorithm, issuer, validity, subject.
        for _ in 0..4 {
            fields.content(SEQUENCE)?;
        }
        let whole = fields.element(SEQUENCE)?.0;
        let mut parts = DerReader(DerReader(whole).content(SEQUENCE)?);
        let algorithm = parts.content(SEQUENCE)?;
        let (unused_bits, key) = parts.content(BIT_STRING)?.split_first()?;
        (*unused_bits == 0).then_some(PublicKey { whole, algorithm, key })
    }

    /// Returns the number of bits of the modulus of an RSA key; `None` for another kind of key.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        if self.algorithm != RSA {
            return None;
        }
        let modulus = DerReader(DerReader(self.key).content(SEQUENCE)?).content(INTEGER)?;
        let first = modulus.iter().position(|octet| *octet != 0)?;
        Some((modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize)
    }
}

/// A reader of the elements of the encoding.
struct DerReader<'a>(&'a [u8]);

impl<'a> DerReader<'a> {
    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|(_, content)| content)
    }

    /// Returns the next element, a date (RFC 5280 4.1.2.5), in seconds since 1970.
    fn date(&mut self) -> Option<i64> {
        let tag = *self.0.first()?;
        let text = std::str::from_utf8(self.content(tag)?).ok()?;
        let text = match (tag, text.get(..2)?) {
            (UTC_TIME, year) if year < "50" => format!("20{text}"),
            (UTC_TIME, _) => format!("19{text}"),
            (GENERALIZED_TIME, _) => text.to_owned(),
            _ => return None,
        };
        let date = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }

    /// Returns the next element, which must have this tag: all its octets, and its content.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (head, length) = match *self.0 {
            [first, length, ..] if first == tag && length < 0x80 => (2, usize::from(length)),
            [first, form, ..] if first == tag && (0x81..=0x84).contains(&form) => {
                let octets = self.0.get(2..2 + usize::from(form & 0x7f))?;
                (2 + octets.len(), octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
            }
            _ => return None,
        };
        let (whole, rest) = self.0.split_at_checked(head.checked_add(length)?)?;
        self.0 = rest;
        Some((whole, &whole[head..]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::server::ParsedCertificate;

    use super::*;

    fn certificate() -> Vec<u8> {
        rcgen::generate_simple_self_signed(["a.example".into()]).unwrap().cert.der().to_vec()
    }

    #[test]
    fn the_key_is_the_one_that_verification_reads() {
        let der = CertificateDer::from(certificate());
        let key = PublicKey::of(&der).unwrap();
        let expected = ParsedCertificate::try_from(&der).unwrap().subject_public_key_info();
        assert_eq!((key.whole, key.rsa_bits()), (expected.as_ref(), None));
    }

    #[test]
    fn dates_and_issuer_are_those_that_were_put_in() {
        let mut parameters = rcgen::CertificateParams::new(["a.example".into()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        for (from, until, seconds) in [
            (
                rcgen::date_time_ymd(1990, 1, 1),
                rcgen::date_time_ymd(2049, 12, 31),
                (631_152_000, 2_524_521_600),
            ),
            (
                rcgen::date_time_ymd(2020, 1, 1),
                rcgen::date_time_ymd(2120, 1, 1),
                (1_577_836_800, 4_733_510_400),
            ),
        ] {
            (parameters.not_before, parameters.not_after) = (from, until);
            let der = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
            assert_eq!(validity_of(&der), Some(seconds));
            assert_eq!(issuer_of(&der).as_deref(), Some("an authority"));
        }
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_those_of_its_modulus() {
        for (modulus, bits) in [(&[0x00, 0xff, 0x01][..], 16), (&[0x7f], 7), (&[0x01, 0, 0], 17)] {
            let inner = [&[INTEGER, modulus.len() as u8], modulus, &[INTEGER, 1, 3]].concat();
            let key = [&[SEQUENCE, inner.len() as u8], &inner[..]].concat();
            assert_eq!(PublicKey { whole: &[], algorithm: RSA, key: &key }.rsa_bits(), Some(bits));
        }
        assert_eq!(PublicKey { whole: &[], algorithm: RSA, key: b"\x30\x02\x02\x00" }.rsa_bits(), None);
    }

    proptest! {
        /// A relay shows what it likes before it has proved anything.
        #[test]
        fn nothing_that_is_shown_brings_us_down(octets: Vec<u8>, cut: prop::sample::Index, at: prop::sample::Index, octet: u8) {
            let _ = PublicKey::of(&octets);
            let mut near = certificate();
            let at = at.index(near.len());
            near[at] = octet;
            let _ = (validity_of(&near), issuer_of(&near));
            if let Some(key) = PublicKey::of(&near[..cut.index(near.len())]) {
                let _ = key.rsa_bits();
            }
        }
    }
}
