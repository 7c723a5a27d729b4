//! What the kernel says of sockets, from any octets. `tests/fuzz` calls it; it is built for that and for tests alone.
//!
//! Promises: nothing panics, and there is an owner only if the octets describe a socket with these addresses.

use std::collections::HashMap;

use super::diag::{self, SocketAnswer};
pub use super::socket_row::FourTuple;
use super::table;

/// Returns the owner of the socket with these addresses in a table of all sockets.
pub fn in_table(octets: &[u8], tuple: FourTuple) -> Option<u32> {
    let mut owners = HashMap::from([(tuple, None)]);
    table::look_up(octets, &mut owners);
    owners.remove(&tuple).flatten()
}

/// Returns the owner of the socket with these addresses in an answer to the query of this number.
pub fn in_answer(octets: &[u8], query: u32, tuple: FourTuple) -> Option<u32> {
    match diag::read(octets, query, tuple) {
        Ok(SocketAnswer::Owner(uid)) => Some(uid),
        Ok(SocketAnswer::AnotherSocket | SocketAnswer::NoSocket) | Err(_) => None,
    }
}
