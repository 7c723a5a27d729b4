//! Tests of the queue's state alone: they make up the events and look at the effects, and time passes only when they
//! say so.

mod connections;
mod logins;
mod model;
mod outages;
mod poison;
mod poison_in_numbers;
mod throttle;
mod world;
