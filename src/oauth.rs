//! OAuth 2.0, as far as it is text: access tokens, and what is said about them.
//!
//! Promises: an [`AccessToken`] has the alphabet of RFC 6750 and a bounded length, so that no octet of it can end a line
//! or a field of SASL; no text that is returned contains a token or a secret, and text of others is escaped and short.
//! Pure.
//!
//! Not here: the dialogue with the relay (`relay/sasl/bearer.rs`), where a token comes from (`relay/password.rs`).
//!
//! RFC 6750 (bearer tokens), RFC 7628 (OAUTHBEARER).

mod access_token;
mod challenge;
mod words;

pub use access_token::{AccessToken, BadToken};
pub use challenge::reason_in;
