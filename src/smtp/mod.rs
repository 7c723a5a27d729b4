//! SMTP as octets, both ways: what the listener and the relay side say and understand.
//!
//! Promises: nothing here does input or output, waits or knows the time; octets are an argument,
//! what is to be done with them is the result. Whatever the octets are, nothing panics, and memory
//! is bounded by the limits that each module states.
//!
//! | module | server (listener) | client (relay) |
//! |---|---|---|
//! | [`reply`] | encode | parse |
//! | [`command`] | parse | |
//! | `parameters` | parse | write |
//! | `client` | | what is offered; the commands of a transaction |
//! | [`bsmtp`] | | a whole dialogue in a file |
//! | [`dot`] | decode content | stuff content |
//! | [`session`] | the whole dialogue | |
//!
//! [`bsmtp`] is a message at rest with its envelope, as the drop directory keeps it.
//!
//! Not here: sockets, TLS and SASL (`listener/`, `relay/`), what is done to a message (`message/`),
//! the client's dialogue (`relay/dialog.rs`).
//!
//! RFC 5321, with the extensions that [`session`] names.

mod bad_command;
pub mod bsmtp;
pub(crate) mod client;
pub mod command;
pub mod dot;
mod parameters;
mod path;
pub mod reply;
mod scan;
pub mod session;
mod xtext;
