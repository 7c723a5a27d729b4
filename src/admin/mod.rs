//! How an operator sees a running daemon.
//!
//! - [`protocol`]: the words spoken on the control socket, shared by daemon and command line.
//! - [`control`]: the daemon's end; `flush`: the one request that waits for the relay; `rights`: what whoever asks
//!   may know.
//! - [`client`]: the command line's end.

pub mod client;
mod clients;
pub mod control;
mod flush;
pub mod protocol;
mod rights;
