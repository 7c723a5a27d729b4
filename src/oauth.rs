//! OAuth 2.0, as far as it is text: access tokens, the requests and replies of a token endpoint, and what is said of them.
//!
//! Promises: an [`AccessToken`] has the alphabet of RFC 6750 and a bounded length, so that no octet of it can end a line
//! or a field of SASL; no text that is returned contains a token or a secret of ours, and text of others is escaped and
//! short. Pure.
//!
//! Not here: the dialogue with the endpoint (`relay/token.rs`), the one with the relay (`relay/sasl/bearer.rs`).
//!
//! RFC 6749 (OAuth 2.0), 6750 (bearer tokens), 7523 (assertions), 7628 (OAUTHBEARER), 8628 (device code).

mod access_token;
mod assertion;
mod challenge;
mod form;
mod grant_reply;
mod remedies;
mod words;

pub use access_token::{AccessToken, BadToken};
pub use assertion::{AssertionKey, BadAssertionKey, Claims};
pub use challenge::reason_in;
pub use form::form;
pub use grant_reply::{Denial, DeviceCode, Granted, device_code, granted, rotated};
pub use remedies::{TokenGrant, remedy_at_relay};
