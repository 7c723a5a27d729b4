//! The stories of the messages that are meant: found in one pass over the log, told in further ones.
//!
//! Promises
//! 1. Each line of a story is told once, in the order of the log; the story of a report comes behind that of its message.
//! 2. Memory is bounded by [`MOST_STORIES`], [`MOST_REPORTS`] and [`ROOM`], whatever the log holds: of more messages the newest are
//!    told. A story that is larger than the room is told as it is read; those that found no room are told in another pass.
//!
//! A report may be told of before the line that names its message as one that is meant (by an address, say). So the first pass keeps
//! who is a report about whom, of all; only if those were too many, it is repeated for those of the messages that are meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;

use super::Story;
use super::line::StoryLine;
use super::source::{LineSource, SourceError};
use super::wanted::Wanted;
use crate::queue_id::QueueId;

/// The most messages whose stories are told, with their reports.
const MOST_STORIES: usize = 100_000;
/// The most reports of which it is kept what they are about, before it is known what is meant.
const MOST_REPORTS: usize = 100_000;
/// The octets of lines that wait until a story before theirs is told.
const ROOM: usize = 64 << 20;
/// The octets that a waiting line takes beside its text.
const LINE_ITSELF: usize = 160;
/// A message is accepted after this time before the one that its queue id tells: the clock may have been set a little.
const MARGIN: Duration = Duration::from_secs(600);

/// How far the log reaches that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogReach {
    /// The time of its first line, as that shows it.
    pub(super) first: Option<String>,
    /// The number of its lines.
    pub(super) lines: u64,
}

/// The messages that are meant.
pub(super) struct StoryBook {
    stories: Vec<Story>,
    reach: LogReach,
    /// The newest message beyond [`MOST_STORIES`].
    newest_left_out: Option<QueueId>,
    /// The part of the log in which they are found, if it is not all of it.
    part: Option<LineSource>,
    /// What is looked for, also in lines about no message.
    wanted: Wanted,
}

impl StoryBook {
    /// Finds the messages that are meant.
    pub(super) fn of(source: &LineSource, wanted: &Wanted) -> Result<StoryBook, SourceError> {
        // A queue id tells the time. If the clock was set, there is nothing, and all of the log is read.
        if let Wanted::Id(id) = wanted
            && let Some(part) = time_of(*id).and_then(|time| source.from(time))
        {
            let search = Search::of(&part, wanted, MOST_REPORTS)?;
            if !search.found.is_empty() {
                return Ok(search.into_book(Some(part), wanted));
            }
        }
        Ok(Search::of(source, wanted, MOST_REPORTS)?.into_book(None, wanted))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stories.is_empty()
    }

    pub(super) fn reach(&self) -> &LogReach {
        &self.reach
    }

    /// Returns whether there are more messages than [`MOST_STORIES`].
    pub(super) fn has_left_out(&self) -> bool {
        self.newest_left_out.is_some()
    }

    /// Gives each line to `tell`, story by story, until that returns false.
    pub(super) fn tell(
        &self,
        source: &LineSource,
        tell: &mut dyn FnMut(Story, &StoryLine) -> bool,
    ) -> Result<(), SourceError> {
        self.tell_within(ROOM, self.part.as_ref().unwrap_or(source), tell)
    }

    fn tell_within(
        &self,
        room: usize,
        source: &LineSource,
        tell: &mut dyn FnMut(Story, &StoryLine) -> bool,
    ) -> Result<(), SourceError> {
        let places: HashMap<Option<QueueId>, usize> =
            self.stories.iter().enumerate().map(|(place, story)| (story.id, place)).collect();
        let mut told = 0;
        while told < self.stories.len() {
            let mut waiting = Waiting::behind(told, self.stories.len(), room);
            let mut goes_on = true;
            source.read(&mut |line| {
                let Some(&place) = self.place_of(&line, &places) else {
                    return ControlFlow::Continue(());
                };
                if place == told {
                    goes_on = tell(self.stories[place], &line);
                } else {
                    waiting.add(place, line);
                }
                if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            told = waiting.end;
            let mut lines = waiting.lines();
            if !goes_on || !lines.all(|(place, line)| tell(self.stories[place], &line)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the place of the story of which `line` is a part; `None` if it is not meant.
    fn place_of<'a>(
        &self,
        line: &StoryLine,
        places: &'a HashMap<Option<QueueId>, usize>,
    ) -> Option<&'a usize> {
        let id = line.id();
        (id.is_some() || self.wanted.is_named_in(&line.text)).then(|| places.get(&id))?
    }
}

/// Returns the time before which nothing was logged about the message.
fn time_of(id: QueueId) -> Option<Timestamp> {
    Timestamp::from_nanosecond(id.raw().into()).ok()?.checked_sub(MARGIN).ok()
}

/// The first passes over the log.
struct Search {
    /// The messages that are meant.
    found: BTreeSet<QueueId>,
    /// Each report, with the message that it is about, which is older.
    reports: BTreeSet<(QueueId, QueueId)>,
    has_lines_about_none: bool,
    /// The newest message beyond [`MOST_STORIES`].
    newest_left_out: Option<QueueId>,
    reach: LogReach,
}

impl Search {
    fn of(source: &LineSource, wanted: &Wanted, most_reports: usize) -> Result<Search, SourceError> {
        let mut search = Search {
            found: BTreeSet::new(),
            reports: BTreeSet::new(),
            has_lines_about_none: false,
            newest_left_out: None,
            reach: LogReach::default(),
        };
        let mut are_too_many = false;
        source.read(&mut |line| {
            search.meet(&line, wanted);
            if search.reports.len() > most_reports {
                search.reports.pop_first();
                are_too_many = true;
            }
            ControlFlow::Continue(())
        })?;
        search.add_reports();
        while are_too_many && search.look_for_reports(source)? {}
        Ok(search)
    }

    fn meet(&mut self, line: &StoryLine, wanted: &Wanted) {
        self.reach.lines += 1;
        if self.reach.first.is_none() && !line.stamp.is_empty() {
            self.reach.first = Some(line.stamp.clone());
        }
        match line.id() {
            Some(id) if wanted.means(id, &line.text) => self.add(id),
            Some(_) => {}
            None => self.has_lines_about_none |= wanted.is_named_in(&line.text),
        }
        self.reports.extend(relation(line));
    }

    fn add(&mut self, id: QueueId) {
        if self.newest_left_out.is_none_or(|left_out| id > left_out) {
            self.found.insert(id);
        }
        if self.found.len() > MOST_STORIES {
            self.newest_left_out = self.found.pop_first();
        }
    }

    /// Adds the reports about what is found. A report is younger than its message, so one round finds those about reports, too.
    fn add_reports(&mut self) {
        for (report, about) in &self.reports {
            if self.found.contains(about) {
                self.found.insert(*report);
            }
        }
    }

    /// Looks once more for reports, only about what is found. Returns whether there were more.
    fn look_for_reports(&mut self, source: &LineSource) -> Result<bool, SourceError> {
        let before = self.found.len();
        source.read(&mut |line| {
            if let Some((report, about)) = relation(&line).filter(|(_, about)| self.found.contains(about)) {
                self.reports.insert((report, about));
                self.found.insert(report);
            }
            ControlFlow::Continue(())
        })?;
        Ok(self.found.len() > before)
    }

    /// Returns what this report is about: one message, unless the log was tampered with.
    fn subjects(&self, report: QueueId) -> impl Iterator<Item = QueueId> {
        let all = (report, QueueId::from_raw(0))..=(report, report);
        self.reports.range(all).map(|(_, about)| *about)
    }

    fn into_book(self, part: Option<LineSource>, wanted: &Wanted) -> StoryBook {
        let mut about: BTreeMap<QueueId, Vec<QueueId>> = BTreeMap::new();
        for report in &self.found {
            if let Some(message) = self.subjects(*report).find(|message| self.found.contains(message)) {
                about.entry(message).or_default().push(*report);
            }
        }
        let is_first = |id: &&QueueId| !self.subjects(**id).any(|message| self.found.contains(&message));
        let mut next: Vec<QueueId> = self.found.iter().filter(is_first).rev().copied().collect();
        let mut stories = Vec::new();
        while let Some(id) = next.pop() {
            stories.push(Story { id: Some(id), about: self.subjects(id).next() });
            next.extend(about.remove(&id).unwrap_or_default().into_iter().rev());
        }
        stories.extend(self.has_lines_about_none.then_some(Story { id: None, about: None }));
        let Search { newest_left_out, reach, .. } = self;
        StoryBook { stories, reach, newest_left_out, part, wanted: wanted.clone() }
    }
}

/// Returns the report that a line says to be made, and the message that it is about. A report is younger than that.
fn relation(line: &StoryLine) -> Option<(QueueId, QueueId)> {
    let (about, report) = (line.id()?, line.report()?);
    (about < report).then_some((report, about))
}

/// The lines of stories that wait for the one before them.
struct Waiting {
    /// The place of the first story here.
    first: usize,
    /// The place behind the last story here: those from it on found no room.
    end: usize,
    stories: Vec<Vec<StoryLine>>,
    octets: usize,
    room: usize,
}

impl Waiting {
    /// Returns the room for the stories behind the one at `told`, of `all`.
    fn behind(told: usize, all: usize, room: usize) -> Waiting {
        Waiting { first: told + 1, end: all, stories: Vec::new(), octets: 0, room }
    }

    fn add(&mut self, place: usize, line: StoryLine) {
        let Some(at) = place.checked_sub(self.first).filter(|_| place < self.end) else { return };
        if self.stories.len() <= at {
            self.stories.resize_with(at + 1, Vec::new);
        }
        self.octets += size(&line);
        self.stories[at].push(line);
        while self.octets > self.room && self.end > self.first {
            self.end -= 1;
            let given_up = self.stories.split_off((self.end - self.first).min(self.stories.len()));
            self.octets -= given_up.iter().flatten().map(size).sum::<usize>();
        }
    }

    fn lines(self) -> impl Iterator<Item = (usize, StoryLine)> {
        let first = self.first;
        self.stories
            .into_iter()
            .enumerate()
            .flat_map(move |(at, lines)| lines.into_iter().map(move |line| (first + at, line)))
    }
}

fn size(line: &StoryLine) -> usize {
    LINE_ITSELF + line.text.len() + line.stamp.len() + line.level.len()
}

#[cfg(test)]
mod tests;
