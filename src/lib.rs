//! nullmta: mail handed to `localhost` is never lost.

pub mod config;
pub mod envelope;
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
