//! SMTP as octets, for both sides: the server in the listener, and the client towards the relay.
//!
//! Promises: nothing here does input or output, waits or knows the time. Octets are an argument, and the result says what
//! to do. Whatever the octets are, nothing panics, and memory is bounded by the limits that each module states.
//!
//! | module | server (listener) | client (relay) |
//! |---|---|---|
//! | [`reply`] | encode | parse |
//! | [`command`] | parse | |
//! | `parameters` | parse | write |
//! | `client` | | the extensions offered; the commands of a transaction |
//! | [`bsmtp`] | | a whole dialogue in a file |
//! | [`dot`] | decode content | stuff content |
//! | [`session`] | the whole dialogue | |
//!
//! [`bsmtp`] is the form of a message with its envelope in the drop directory.
//!
//! Not here: sockets, TLS and SASL (`listener/`, `relay/`), changes to a message (`message/`), the dialogue of the client
//! (`relay/dialog.rs`).
//!
//! RFC 5321, with the extensions that [`session`] names.

mod bad_command;
pub mod bsmtp;
pub(crate) mod client;
pub mod command;
pub mod dot;
mod parameters;
mod path;
#[cfg(any(test, feature = "fuzz"))]
pub mod play;
pub mod reply;
pub mod session;
