//! The queue whole: a real spool, a relay that does as it is told, and a clock that is told the time.

mod bench;
mod bounces;
mod connections;
mod in_flight;
mod logins;
mod logins_missing;
mod many;
mod null_sender;
mod outages;
mod poison;
mod refusals;
mod restarts;
mod retries;
mod throttle;
