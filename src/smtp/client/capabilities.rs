//! The extensions that a server offers in its reply to EHLO.
//!
//! Promises: case and order of the keywords do not matter; an unknown or malformed line offers nothing and does no harm;
//! offers before TLS are dropped with this value, since EHLO is sent again after the handshake.
//!
//! Not here: the use of an offer (`client.rs`; `relay/sasl.rs`, `relay/opening.rs`). CHUNKING is not used.
//!
//! RFC 5321 4.1.1.1, RFC 1870 (SIZE), RFC 2920 (PIPELINING), RFC 3207 (STARTTLS), RFC 3461 (DSN),
//! RFC 4954 (AUTH), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8).

use super::{ExtensionParameter, ParameterSet};
use crate::smtp::reply::Reply;

/// The extensions that nullmta uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// SIZE: a `SIZE=` parameter is understood.
    pub(crate) size: bool,
    /// The largest message that the server accepts, in octets; `None` if it states no fixed limit.
    pub(crate) size_limit: Option<u64>,
    /// `BODY=8BITMIME` is understood.
    pub(crate) eight_bit_mime: bool,
    /// UTF-8 addresses are understood.
    pub(crate) smtputf8: bool,
    /// NOTIFY, ORCPT, RET and ENVID are understood.
    pub(crate) dsn: bool,
    /// Commands may be sent in groups.
    pub(crate) pipelining: bool,
    /// TLS may be started.
    pub(crate) starttls: bool,
    /// The SASL mechanisms in upper case, in the order of the server, each once.
    pub(crate) auth: Vec<String>,
}

impl Capabilities {
    /// The extensions that our own session offers to a file: those that parameters of an envelope need.
    pub(crate) const OURS: Capabilities = Capabilities {
        size: false,
        size_limit: None,
        eight_bit_mime: true,
        smtputf8: true,
        dsn: true,
        pipelining: false,
        starttls: false,
        auth: Vec::new(),
    };

    /// Returns the extensions in a positive reply to EHLO, whose first line is the name of the server.
    pub(crate) fn from_ehlo(reply: &Reply) -> Self {
        let mut offered = Capabilities::default();
        for line in reply.lines().iter().skip(1) {
            offered.take_line(line);
        }
        offered
    }

    /// Returns the same offer without these parameters. A stated limit of the size is still one.
    pub(crate) fn without(&self, left_out: ParameterSet) -> Self {
        use ExtensionParameter::{Body, Dsn, Size, SmtpUtf8};
        Capabilities {
            size: self.size && !left_out.has(Size),
            eight_bit_mime: self.eight_bit_mime && !left_out.has(Body),
            smtputf8: self.smtputf8 && !left_out.has(SmtpUtf8),
            dsn: self.dsn && !left_out.has(Dsn),
            ..self.clone()
        }
    }

    fn take_line(&mut self, line: &str) {
        let line = line.trim().to_ascii_uppercase();
        let (keyword, parameters) = line.split_once([' ', '\t', '=']).unwrap_or((&line, ""));
        match keyword {
            "SIZE" => self.take_size(parameters),
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "DSN" => self.dsn = true,
            "PIPELINING" => self.pipelining = true,
            "STARTTLS" => self.starttls = true,
            // `AUTH=LOGIN PLAIN` is the form from before RFC 2554 that some relays still add.
            "AUTH" => self.take_mechanisms(parameters),
            _ => {}
        }
    }

    fn take_size(&mut self, limit: &str) {
        self.size = true;
        // RFC 1870 3: zero means that no fixed limit is in force.
        self.size_limit = limit.trim().parse().ok().filter(|&limit| limit > 0);
    }

    fn take_mechanisms(&mut self, names: &str) {
        // Commas, and a sign before each name, are in no RFC.
        for name in names.split([' ', '\t', ',', '=']).filter(|name| !name.is_empty()) {
            // RFC 4422 3.1
            let well_formed = name.bytes().all(|o| o.is_ascii_alphanumeric() || o == b'-' || o == b'_');
            if well_formed && !self.auth.iter().any(|known| known == name) {
                self.auth.push(name.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(lines: &[&str]) -> Capabilities {
        Capabilities::from_ehlo(&Reply::multiline(250, lines.iter().map(|&line| line.into()).collect()))
    }

    #[test]
    fn a_full_offer() {
        let all = offered(&[
            "mx.example.net at your service",
            "PIPELINING",
            "SIZE 10240000",
            "starttls",
            "AUTH PLAIN login SCRAM-SHA-256",
            "AUTH=LOGIN PLAIN,CRAM-MD5",
            "AUTH\tPLAIN",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING",
        ]);
        let expected = Capabilities {
            size: true,
            size_limit: Some(10_240_000),
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            pipelining: true,
            starttls: true,
            auth: ["PLAIN", "LOGIN", "SCRAM-SHA-256", "CRAM-MD5"].map(String::from).to_vec(),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn the_greeting_line_offers_nothing() {
        assert_eq!(offered(&["STARTTLS"]), Capabilities::default());
        assert_eq!(offered(&["PIPELINING", ""]), Capabilities::default());
    }

    #[test]
    fn size_forms() {
        let cases = [
            ("SIZE", None),
            ("SIZE 0", None),
            ("SIZE 99", Some(99)),
            ("SIZE=99", Some(99)),
            ("SIZE x", None),
        ];
        for (line, limit) in cases {
            let read = offered(&["mx", line]);
            assert_eq!((read.size, read.size_limit), (true, limit), "{line}");
        }
    }

    #[test]
    fn malformed_lines_offer_nothing() {
        for line in ["STARTTLSX", "X STARTTLS", "AUTH", "AUTH \u{1b}[31m", "=", " "] {
            assert_eq!(offered(&["mx", line]), Capabilities::default(), "{line:?}");
        }
    }
}
