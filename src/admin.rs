//! The control socket, through which an operator queries and controls a running daemon.
//!
//! - [`protocol`]: the messages on the socket, shared by daemon and command line.
//! - [`control`]: the server in the daemon; `selection`: the messages that a request is about; `listing`: a message as
//!   it is shown; `steer`: orders about messages; `standing`: orders about mail to come; [`shape`]: the queue in counts; `reading` and [`detail`]: a message
//!   in full; `flush`: the one request that waits for the relay; `rights`: what a client may see and do; `clients`: the
//!   limits on clients; `output`: the stream to a client.
//! - [`http`]: a page, metrics and health for people and monitoring programs; `page`: the page; [`exposition`] and [`metric_text`]: the figures as metrics; [`health`]: what is wrong;
//!   [`history_keeper`]: the last day.
//!
//! - [`alarms`]: who does not look is told, by `alarm_teller`, of what `alarm_facts` finds, as `alarm_message` has it; the
//!   `heartbeat` says that mail gets through.
//!
//! [`from_spool`] is for the commands that read the queue while no daemon runs.
//!
//! Not here: the client (`cli/control_client.rs`).

mod alarm_facts;
mod alarm_message;
pub mod alarm_settings;
mod alarm_teller;
pub mod alarms;
mod clients;
pub mod control;
pub mod detail;
pub mod exposition;
mod flush;
pub mod follow;
pub mod from_spool;
pub mod health;
mod heartbeat;
pub mod history_keeper;
pub mod http;
mod listing;
pub mod metric_text;
mod no_route;
mod output;
mod page;
pub mod protocol;
mod reading;
mod rights;
mod selection;
pub mod shape;
pub mod shape_tally;
pub mod standing;
mod steer;
pub mod trace;
