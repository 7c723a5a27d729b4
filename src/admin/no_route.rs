//! The route that a request names: the request is refused if no such route is in force, since it would be about no mail.

use std::fmt;

use crate::queue::QueueStatus;

/// The error for a name that no route in force has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoute {
    asked: String,
    /// The names that there are.
    known: Vec<String>,
}

impl NoRoute {
    /// Returns the error if the queue has no route of this name.
    pub(super) fn refuse(asked: &str, status: &QueueStatus) -> Result<(), NoRoute> {
        let names = || status.relays.iter().filter_map(|relay| relay.route.as_deref());
        match names().any(|known| known == asked) {
            true => Ok(()),
            false => Err(NoRoute { asked: asked.to_owned(), known: names().map(str::to_owned).collect() }),
        }
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRoute { asked, known } = self;
        match known.is_empty() {
            true => write!(f, "there is no route {asked:?}: the configuration in force has no [[route]]"),
            false => write!(f, "there is no route {asked:?}: those in force are {}", known.join(", ")),
        }
    }
}
