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
//! | words | [`envelope`] [`histogram`] [`key_names`] [`outcome`] [`queue_id`] [`secret`] [`status`] [`tls_faults`] [`log`] | types that all modules use, and every line of the log; pure |
//! | cores | [`alarm`] [`filter`] [`history`] [`standing_orders`] [`routing`] [`sender_policy`] [`message`] [`smtp`] [`oauth`] [`sasl_server`] | what somebody is told of unasked, the messages that an operator means, the last day in numbers, orders about mail to come, the way of a message, as whom a client may send, changes to a message, SMTP for server and client (RFC 5321), access tokens, logins of clients; pure |
//! | | [`config`] [`import`] | the configuration, and its conversion from that of another program; pure, except for reading files |
//! | shells | [`users`] [`spool`] [`trace`] [`relay`] [`listener`] | the users of this host, the disk, dialogues for those who look on, connections to the relay, connections from clients |
//! | | [`queue`] | the only owner of live messages |
//! | | [`admin`] | the control socket, through which an operator queries and controls the daemon |
//! | | [`journal`] [`systemd`] [`daemon`] | the end of the log, the sockets that systemd passes; start, reload, stop |
//! | faces | [`sink`] [`cli`] | a relay for tests and rehearsals, and the commands |
//!
//! A module uses only modules that stand before it in this table, and a pure one names no task, thread, process, socket or
//! clock; `tests/layers.rs` has the table of which module may use which, and tests both. Three types are proofs, without
//! which the code does not compile: [`spool::Committed`] is needed to reply 250, `relay::tls::Verified` to send anything
//! about a message to the relay, and [`spool::Settled`], or the [`spool::DeletionOrder`] of an operator, to remove a message.

pub mod admin;
pub mod alarm;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod envelope;
pub mod filter;
pub mod histogram;
pub mod history;
pub mod import;
pub mod journal;
pub mod key_names;
pub mod listener;
pub mod log;
pub mod message;
pub mod oauth;
pub mod outcome;
pub mod queue;
pub mod queue_id;
pub mod relay;
pub mod routing;
pub mod sasl_server;
pub mod secret;
pub mod sender_policy;
pub mod sink;
pub mod smtp;
pub mod spool;
pub mod standing_orders;
pub mod status;
pub mod systemd;
pub mod tls_faults;
pub mod trace;
pub mod users;

#[cfg(test)]
#[path = "../tests/far_end/mod.rs"]
mod far_end;
