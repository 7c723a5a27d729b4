//! The words for what came and went lately.
//!
//! Pure. Not here: counting it (`history.rs`).

use crate::history::{FlowCounts, FlowSpan};
use crate::log::age_in_words;

/// Returns the name of a span of time, and that it is shorter since the daemon has not run for so long.
pub(super) fn span_name(name: &str, span: &FlowSpan, length: u64) -> String {
    match span.is_shorter_than(length) {
        true => format!("the {} since the start", age_in_words(span.seconds)),
        false => format!("last {name}"),
    }
}

/// Returns in words what came and went.
pub(super) fn flow(counts: FlowCounts) -> String {
    let FlowCounts { accepted, refused, sent, deferred, bounced } = counts;
    let always = [(accepted, "accepted"), (sent, "sent")].into_iter();
    let sometimes = [(refused, "refused"), (deferred, "deferred"), (bounced, "bounced")].into_iter();
    let parts = always.chain(sometimes.filter(|(count, _)| *count > 0));
    parts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<String>>().join(", ")
}
