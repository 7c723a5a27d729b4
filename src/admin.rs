//! The control socket, through which an operator queries and controls a running daemon.
//!
//! - [`protocol`]: the messages on the socket, shared by daemon and command line.
//! - [`control`]: the server in the daemon; `flush`: the one request that waits for the relay; `steer`: orders about
//!   messages; `rights`: what a client
//!   may see and do; `clients`: the limits on clients.
//!
//! Not here: the client (`cli/control_client.rs`).

mod clients;
pub mod control;
mod flush;
mod output;
pub mod protocol;
mod rights;
mod steer;
