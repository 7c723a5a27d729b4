//! nullmta: mail handed to `localhost` is never lost.
//!
//! ```text
//!  app ── SMTP 127.0.0.1:25 ──┐                                             ┌── relayhost:587
//!  local ── submit.sock ──────┤ session ─▶ intake ─▶ spool ─▶ 250           │   STARTTLS, SASL
//!                             │  (smtp)   (message)   │ one sync for many   │
//!  DSN ───────────────────────┴───────────────────────┤                     │
//!                                                     ▼                     │
//!              operator ── control (admin) ────────▶ queue ─▶ courier ─▶ relay session
//!                                                     ▲          │
//!                                         deferred, by age       └─▶ sent | deferred | bounced ─▶ DSN
//! ```
//! | | | |
//! |---|---|---|
//! | words | [`envelope`] [`queue_id`] [`status`] [`secret`] [`log`] [`tls_faults`] | what everyone speaks in; pure |
//! | cores | [`smtp`] [`message`] | RFC 5321 both ways, what is done to a message; pure |
//! | | [`config`] | what is configured; pure, but for reading files and secrets |
//! | shells | [`spool`] [`relay`] [`listener`] [`users`] | the disk, the network outward, the network inward, who is who on this host |
//! | | [`queue`] | the one owner of live messages |
//! | | [`admin`] | the control socket: how an operator sees and steers the daemon |
//! | | [`daemon`] [`systemd`] [`journal`] | start, reload, stop |
//! | faces | [`cli`] [`sink`] | what people type, and a relay to rehearse with |
//! | | [`import`] | another program's configuration, read into ours; pure |
//!
//! Arrows run upward only: `tests/layers.rs` holds who may use whom. Three proofs make wrong states unsayable: [`spool::Committed`] is needed to say
//! 250, `relay::tls::Verified` to say anything of a message to the relay, [`spool::Settled`] to
//! remove one.

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
