//! How an operator sees and steers a running daemon: the control socket.
//!
//! - [`protocol`]: the words spoken on the control socket, shared by daemon and command line.
//! - [`control`]: the daemon's end; `flush`: the one request that waits for the relay; `rights`: what whoever asks
//!   may know.
//!
//! Not here: the command line's end (`cli/control_client.rs`).

mod clients;
pub mod control;
mod flush;
pub mod protocol;
mod rights;
