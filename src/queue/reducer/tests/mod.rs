//! The queue's state alone: what comes is made up, what is to be done is looked at, and no time passes but what a test
//! lets pass.

mod connections;
mod logins;
mod model;
mod outages;
mod poison;
mod world;
