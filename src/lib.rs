//! nullmta: mail handed to `localhost` is never lost.
//!
//! ```text
//!  app ── SMTP 127.0.0.1:25 ──┐                                             ┌── relayhost:587
//!  local ── submit.sock ──────┤ session ─▶ intake ─▶ spool ─▶ 250           │   STARTTLS, SASL
//!                             │  (smtp)   (message)   │ one sync for many   │
//!  DSN ───────────────────────┴───────────────────────┤                     │
//!                                                     ▼                     │
//!              operator ── control (admin) ────────▶ queue ─▶ attempt ─▶ relay session
//!                                                     ▲          │
//!                                         deferred, by age       └─▶ sent | deferred | bounced ─▶ DSN
//! ```
//! | | | |
//! |---|---|---|
//! | words | [`envelope`] [`queue_id`] [`status`] [`outcome`] [`secret`] [`log`] [`tls_faults`] | types and texts that all modules use; pure |
//! | cores | [`smtp`] [`message`] | SMTP for server and client (RFC 5321), changes to a message; pure |
//! | | [`config`] | the configuration; pure, except for reading files and secrets |
//! | shells | [`spool`] [`relay`] [`listener`] [`users`] | the disk, connections to the relay, connections from clients, the users of this host |
//! | | [`queue`] | the only owner of live messages |
//! | | [`admin`] | the control socket, through which an operator queries and controls the daemon |
//! | | [`daemon`] [`systemd`] [`journal`] | start, reload, stop |
//! | faces | [`cli`] [`sink`] | the commands, and a relay for tests and rehearsals |
//! | | [`import`] | converts the configuration of another program to ours; pure |
//!
//! A module uses only modules above it; `tests/layers.rs` has the table of who may use whom. Three types are proofs, without
//! which the code does not compile: [`spool::Committed`] is needed to reply 250, `relay::tls::Verified` to send anything
//! about a message to the relay, and [`spool::Settled`] to remove a message.

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod envelope;
pub mod import;
pub mod journal;
pub mod listener;
pub mod log;
pub mod message;
pub mod outcome;
pub mod queue;
pub mod queue_id;
pub mod relay;
pub mod secret;
pub mod sink;
pub mod smtp;
pub mod spool;
pub mod status;
pub mod systemd;
pub mod tls_faults;
pub mod users;

#[cfg(test)]
#[path = "../tests/far_end/mod.rs"]
mod far_end;
