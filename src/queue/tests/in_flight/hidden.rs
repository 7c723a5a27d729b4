//! Kills while a refusal is being recorded that ends a message, of which an earlier run may have left a copy.

use std::sync::{Arc, Mutex};

use super::*;
use crate::spool::Mark;

/// The disks that a kill at any moment of one run leaves: one for each call that changes the disk, from before it.
fn disks_of_a_run(story: &mut Story) -> Vec<SimFs> {
    let disks = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&disks);
    story.fs.watch(move |disk| kept.lock().unwrap().push(disk.image(1)));
    let watched = story.fs.clone();
    story.run(settle);
    watched.unwatch();
    std::mem::take(&mut *disks.lock().unwrap())
}

/// The record of a refusal ends the in-flight mark without a line, since the message ends with it. What would be lost: the
/// line about the copy of the earlier run, where a kill comes after the mark is hidden and before the refusal is recorded,
/// and the next run sends the message.
#[test]
fn a_kill_at_any_moment_before_a_refusal_is_recorded_hides_no_duplicate() {
    let (mut story, id) = Story::after_silence();
    story.relay.always_with(id, Does::SaysAtRcpt(vec!["550 5.1.1 no such user"]));
    let disks = disks_of_a_run(&mut story);
    assert_eq!((story.lines(id), story.relay.dots(id).0), (0, 1), "the refusal ends it without a word");
    story.relay.heal();
    let (mut hidden, mut sent_again, mut settled) = (0, 0, 0);
    for (number, fs) in disks.into_iter().enumerate() {
        let mut next = Story { fs, relay: story.relay.clone(), lines: HashMap::new() };
        let found = next.found().get(&id).copied();
        let is_hidden = found.is_some_and(|marks| marks.hides_duplicate() && marks.has(Mark::MayHaveArrived));
        let before = next.relay.dots(id).0;
        next.run(settle);
        let dots = next.relay.dots(id).0 - before;
        assert_eq!(next.lines(id), dots, "killed before call {number}, and found with {found:?}");
        hidden += usize::from(is_hidden && dots == 1);
        sent_again += dots;
        settled += usize::from(dots == 0);
    }
    assert!(hidden > 0, "no kill came between the hidden mark and the record of the refusal");
    assert!(sent_again > hidden && settled > 0, "kills came before that, and after it");
}
