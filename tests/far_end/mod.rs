//! The far end of an SMTP connection: the server and the client that tests in Rust put opposite to what they test.
//!
//! Tests of the library reach it as `crate::far_end`, programs under `tests/` by `mod far_end`. It knows nothing of the
//! library, so that a fault there cannot hide behind the same fault here.
//!
//! Not here: a relay that is a program with its own faults (`nullmta sink`, and the library's `sink`); the client and the
//! server of the benchmark, whose cost is a part of what is measured (`tests/bench/`).

#![allow(dead_code, reason = "each test uses what it needs")]

pub mod client;
pub mod server;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Runs `future` to its end, for tests that have no runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
