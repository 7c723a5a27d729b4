//! The messages on the spool that a filter means and a client may see, the oldest first.
//!
//! Promises: a page of [`PAGE`] messages is in memory, and the ids of one look at the index. What the index knows of a
//! message (its id and with that its age, its user) decides before the message is read, and its envelope before its content
//! is; the queue, whose one task has other work, is asked only about what is left, a page at a time. A message that arrives
//! after the selection began is not in it, so a selection has an end.
//!
//! Not here: what a filter means (`filter.rs`), who may see what (`rights.rs`), how a message is shown (`listing.rs`).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::yield_now;

use super::listing::{Seen, facts, headlines, seen};
use super::protocol::{QueuedMessage, RelayHeadline};
use super::rights::Rights;
use crate::filter::QueueFilter;
use crate::queue::{MessageStanding, Queue, QueueStatus};
use crate::queue_id::QueueId;
use crate::spool::{IndexedMessage, Spool};

/// The number of messages that are in memory at once.
const PAGE: usize = 256;
/// The number of ids that one look at the index takes.
const LOOK: usize = 4096;

/// A walk through the messages that a filter means.
pub(super) struct Selection {
    queue: Queue,
    spool: Spool,
    filter: Arc<QueueFilter>,
    rights: Rights,
    /// What the relays are doing, as of the beginning.
    status: Option<Arc<QueueStatus>>,
    place: SelectionPlace,
    /// The messages of the last look that are still to be read.
    pending: VecDeque<QueueId>,
    hidden: u64,
}

/// Where the walk goes on.
enum SelectionPlace {
    /// Behind this message on the spool, up to `last`.
    Behind {
        after: Option<QueueId>,
        last: QueueId,
    },
    /// At this of the ids that the filter names.
    Named(usize),
    End,
}

impl Selection {
    /// Begins a walk through what `filter` means, among what a client with these rights may see.
    pub async fn begin(queue: &Queue, spool: &Spool, filter: QueueFilter, rights: Rights) -> Self {
        let place = match filter.ids.is_empty() {
            true => SelectionPlace::Behind { after: None, last: spool.newest() },
            false => SelectionPlace::Named(0),
        };
        Selection {
            queue: queue.clone(),
            spool: spool.clone(),
            filter: Arc::new(filter),
            rights,
            status: queue.status().await.map(Arc::new),
            place,
            pending: VecDeque::new(),
            hidden: 0,
        }
    }

    /// Returns the relays that keep mail, as of the beginning.
    pub fn headlines(&self) -> Vec<RelayHeadline> {
        self.status.as_deref().map_or_else(Vec::new, |status| headlines(status, self.rights))
    }

    /// Returns the number of messages so far that this client may not see. To tell it for a filter would tell about mail of
    /// other users, so it is known only without one.
    pub fn hidden(&self) -> u64 {
        if self.filter.is_everything() { self.hidden } else { 0 }
    }

    /// Returns the next messages, of which there may be none; `None` at the end.
    pub async fn next_page(&mut self) -> io::Result<Option<Vec<QueuedMessage>>> {
        if self.pending.is_empty() {
            // A walk in which nothing is found must not keep its thread from others, nor its caller from the client.
            yield_now().await;
            let Some(looked_at) = self.look() else { return Ok(None) };
            self.pending = self.by_envelope(looked_at).await?.into();
        }
        let page = self.pending.drain(..PAGE.min(self.pending.len())).collect();
        let mut standings = self.queue.standings(page).await;
        standings.retain(|listed| self.filter.may_stand(listed.standing.into()));
        self.read(standings).await.map(Some)
    }

    /// Returns the ids of the next messages, of which there may be none; `None` at the end.
    pub async fn next_ids(&mut self) -> io::Result<Option<Vec<String>>> {
        if self.is_plain() {
            yield_now().await;
            let ids = self.look();
            return Ok(ids.map(|ids| ids.iter().map(QueueId::to_string).collect()));
        }
        let page = self.next_page().await?;
        Ok(page.map(|page| page.into_iter().map(|message| message.id).collect()))
    }

    /// Returns whether every message is meant, so that none needs to be read to know that.
    fn is_plain(&self) -> bool {
        self.filter.is_everything() && self.rights == Rights::Everything
    }

    /// Returns the number of the next messages, which may be none; `None` at the end.
    pub async fn count_next(&mut self) -> io::Result<Option<u64>> {
        if self.is_plain() {
            yield_now().await;
            let pending = std::mem::take(&mut self.pending).len();
            let looked_at = self.look().map(|ids| ids.len() + pending);
            return Ok(looked_at.or((pending > 0).then_some(pending)).map(|count| count as u64));
        }
        Ok(self.next_page().await?.map(|page| page.len() as u64))
    }

    /// Looks at the next ids in the index, and leaves out what it knows not to be meant; `None` at the end.
    fn look(&mut self) -> Option<Vec<QueueId>> {
        let now = Timestamp::now();
        let found = match self.place {
            SelectionPlace::Behind { after, last } => self.following(after, last, now),
            SelectionPlace::Named(from) => self.named(from),
            SelectionPlace::End => return None,
        };
        let mut meant = Vec::with_capacity(found.len());
        for IndexedMessage { id, uid } in found {
            if !self.rights.may_include(uid) {
                self.hidden += 1;
            } else if self.filter.may_be(id, uid, now) {
                meant.push(id);
            }
        }
        Some(meant)
    }

    fn following(&mut self, after: Option<QueueId>, last: QueueId, now: Timestamp) -> Vec<IndexedMessage> {
        let found = self.spool.following(after, LOOK);
        // They are in the order of their ids: behind one that is too young, or too new, there is nothing older.
        let goes_on = found.last().filter(|end| end.id <= last && self.filter.may_be_as_old(end.id, now));
        self.place = match goes_on {
            Some(end) => SelectionPlace::Behind { after: Some(end.id), last },
            None => SelectionPlace::End,
        };
        found.into_iter().take_while(|one| one.id <= last).collect()
    }

    fn named(&mut self, from: usize) -> Vec<IndexedMessage> {
        let end = self.filter.ids.len().min(from + LOOK);
        self.place =
            if end < self.filter.ids.len() { SelectionPlace::Named(end) } else { SelectionPlace::End };
        self.spool.indexed(&self.filter.ids[from..end])
    }

    /// Leaves out the messages that are not meant by their envelopes.
    async fn by_envelope(&self, mut ids: Vec<QueueId>) -> io::Result<Vec<QueueId>> {
        if !self.filter.asks_for_envelope() {
            return Ok(ids);
        }
        let (spool, filter) = (self.spool.clone(), Arc::clone(&self.filter));
        let look = move || {
            ids.retain(|id| {
                let Some(envelope) = spool.glance(*id) else { return true };
                filter.may_be_of(envelope.uid)
                    && filter.may_go(
                        &envelope.reverse_path,
                        envelope.original_from.as_deref(),
                        envelope.recipients.iter().map(|to| &**to),
                    )
            });
            ids
        };
        Ok(tokio::task::spawn_blocking(look).await?)
    }

    /// Reads these messages, and leaves out what is not meant.
    async fn read(&mut self, standings: Vec<MessageStanding>) -> io::Result<Vec<QueuedMessage>> {
        let (spool, filter) = (self.spool.clone(), Arc::clone(&self.filter));
        let (rights, status) = (self.rights, self.status.clone());
        let look = move || {
            let (mut meant, mut hidden) = (Vec::new(), 0);
            for standing in standings {
                match seen(&spool, standing.into(), rights, status.as_deref()) {
                    Seen::Whole(message) if filter.includes(&facts(standing.id, &message)) => {
                        meant.push(*message);
                    }
                    Seen::Hidden => hidden += 1,
                    Seen::Whole(_) | Seen::Gone => {}
                }
            }
            (meant, hidden)
        };
        let (meant, hidden) = tokio::task::spawn_blocking(look).await?;
        self.hidden += hidden;
        Ok(meant)
    }
}
