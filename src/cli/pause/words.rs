//! The words for a pause that an operator has ordered.
//!
//! Pure. Not here: ordering and lifting one (`pause.rs`).

use crate::admin::protocol::ListedPause;
use crate::log::{Foreign, capitalized};
use crate::standing_orders::{PauseScope, PausedPart};

/// Returns a line about a pause: what [`said`] says, and how it ends.
pub(in crate::cli) fn line(pause: &ListedPause) -> String {
    format!("{}; {} ends that", said(pause), ends(pause))
}

/// Returns what is paused, since and until when, by whom and why.
pub(in crate::cli) fn said(pause: &ListedPause) -> String {
    let ListedPause { by, since, until, reason, .. } = pause;
    let until = until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
    let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {}", Foreign(reason)));
    format!("{} is PAUSED since {since}{until} by {}{reason}", name(pause), Foreign(by))
}

/// Returns what a pause that was just ordered means.
pub(super) fn paused_text(pause: &ListedPause) -> String {
    let means = match pause.part {
        PausedPart::Delivery => "nothing more is sent; mail is accepted and waits, and none of its time runs",
        PausedPart::Intake => "clients get 451 and try again later; what is in the queue is sent",
    };
    let until = pause.until.as_ref().map_or(String::new(), |until| format!(" until {until}, or"));
    format!("{} is paused{until} until {}: {means}.", capitalized(&name(pause)), ends(pause))
}

/// Returns what is paused.
pub(super) fn name(pause: &ListedPause) -> String {
    let route = pause.route.as_ref().map_or(String::new(), |route| format!(" by route {}", Foreign(route)));
    format!("{}{route}", pause.part)
}

/// Returns what to know of a pause of a route that the configuration in force does not have.
pub(in crate::cli) fn without_route(pause: &ListedPause) -> String {
    format!(
        "the configuration in force has no route for the pause of {}: the mail that went by it is not paused; {} ends the pause",
        name(pause),
        ends(pause)
    )
}

/// Returns the command that lifts it.
pub(in crate::cli) fn ends(pause: &ListedPause) -> String {
    let scope = PauseScope { part: pause.part, route: pause.route.clone() };
    Foreign(&scope.resume_command()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_said_with_how_it_ends() {
        let pause = ListedPause {
            part: PausedPart::Delivery,
            route: Some("news".into()),
            by: "uid 0 (root)".into(),
            since: "2026-11-29T08:00:00Z".into(),
            until: Some("2026-11-29T10:00:00Z".into()),
            reason: Some("the relay\u{1b} moves".into()),
        };
        assert_eq!(
            line(&pause),
            "delivery by route news is PAUSED since 2026-11-29T08:00:00Z until 2026-11-29T10:00:00Z by uid 0 (root): the \
             relay\\u{1b} moves; nullmta resume delivery --route news ends that"
        );
        assert!(
            paused_text(&pause).starts_with(
                "Delivery by route news is paused until 2026-11-29T10:00:00Z, or until nullmta resume delivery --route news: \
                 nothing more is sent"
            )
        );
    }
}
