//! Orders about messages: who may give them, and what came of each.
//!
//! Promises: an order is given only about a message that its client may steer (`rights.rs`). Messages are ordered in
//! pages of [`PAGE`], and the next page begins when the one before is recorded, so that neither the queue nor the spool has
//! more than one page at hand for a client. What is answered as done is on stable storage where it changes the spool.
//!
//! Fails: what the spool does not record is answered as failed, and the message is as it was.
//! Not here: which messages a filter means (`selection.rs`), what an order means for a message (`queue/orders.rs`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::{Instant as Deadline, timeout_at};

use super::clients::ClientSlot;
use super::listing::holder;
use super::no_route::NoRoute;
use super::output::ClientOutput;
use super::protocol::{Frame, SteerResult, SteeredMessage};
use super::rights::Rights;
use super::selection::Selection;
use crate::filter::{MailHolder, QueueFilter};
use crate::message::dsn::Overseers;
use crate::queue::{
    OrderFailure, OrderResult, Queue, Standing, against_holder, asks_for_holder, forecast, returning,
};
use crate::queue_id::QueueId;
use crate::spool::{Operator, OperatorOrder, OperatorVerb, Spool};

/// The number of messages that are ordered at a time.
const PAGE: usize = 256;
/// Time for which the answers about a page are awaited: shorter than clients wait for us.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request to do something with messages.
pub(super) struct Steering {
    pub(super) verb: OperatorVerb,
    /// The route by which they are to go, if that is what is done.
    pub(super) route: Arc<str>,
    /// The ids of messages; each of them has its answer.
    pub(super) ids: Vec<String>,
    /// The messages that are meant besides.
    pub(super) filter: Option<QueueFilter>,
    pub(super) dry_run: bool,
}

/// The daemon has stopped while it was asked.
struct Stopping;

/// What came of one page of messages.
struct SteeredPage {
    steered: Vec<SteeredMessage>,
    /// True if the daemon stopped meanwhile, so that not everything is known.
    is_stopping: bool,
}

/// The rights of a client who gives orders, and what they are given to.
pub(super) struct SteeringDesk<'a> {
    pub(super) queue: &'a Queue,
    pub(super) spool: &'a Spool,
    pub(super) rights: Rights,
    pub(super) by: Operator,
}

impl SteeringDesk<'_> {
    /// Does what was asked with each message, and writes what came of it.
    pub(super) async fn steer(
        &self,
        asked: Steering,
        client: &ClientSlot,
        output: &mut ClientOutput,
    ) -> io::Result<()> {
        if let Err(no_route) = self.require_route(&asked).await {
            return output.end(&no_route).await;
        }
        let is_retry = asked.verb == OperatorVerb::Retry && !asked.dry_run;
        if is_retry && let Err(again_in) = client.may_retry(Instant::now()) {
            let again_in = again_in.as_secs() + 1;
            let why = format!(
                "your mail was tried on request less than a minute ago, and is again in {again_in} s"
            );
            return output.end(&Frame::Error(why)).await;
        }
        if is_retry && let Some(pause) = self.pause_of_all() {
            let why = format!("nothing was tried: {pause}; nullmta resume delivery has mail go on");
            return output.end(&Frame::Error(why)).await;
        }
        if self.steer_each(&asked, output).await?.is_err() {
            return output.end(&Frame::Error("the daemon is stopping".into())).await;
        }
        if is_retry && self.rights == Rights::Everything {
            self.queue.probe_relays();
        }
        output.end(&Frame::Done).await
    }

    /// Refuses a route that is not in force: the mail would go as if nothing had been ordered.
    async fn require_route(&self, asked: &Steering) -> Result<(), Frame> {
        if asked.verb != OperatorVerb::Route || asked.route.is_empty() {
            return Ok(());
        }
        let status = self.queue.status().await.ok_or(Frame::Error("the daemon is stopping".into()))?;
        NoRoute::refuse(&asked.route, &status).map_err(|no_route| Frame::Unknown(no_route.to_string()))
    }

    /// Returns the pause of delivery to all relays, in words for this client, if there is one.
    fn pause_of_all(&self) -> Option<String> {
        let orders = self.spool.standing_orders();
        let pause = orders.delivery_pause(Timestamp::now())?;
        Some(match self.rights {
            Rights::Everything => pause.to_string(),
            Rights::Own(_) => "delivery is paused by an operator".into(),
        })
    }

    async fn steer_each(
        &self,
        asked: &Steering,
        output: &mut ClientOutput,
    ) -> io::Result<Result<(), Stopping>> {
        for page in asked.ids.chunks(PAGE) {
            let SteeredPage { steered, is_stopping } = self.steer_page(asked, page).await?;
            output.items(&steered).await?;
            if is_stopping {
                return Ok(Err(Stopping));
            }
        }
        match &asked.filter {
            Some(filter) => self.steer_filtered(asked, filter, output).await,
            None => Ok(Ok(())),
        }
    }

    /// Does what was asked with every message that the filter means and the client may steer, but for what comes in from now
    /// on.
    async fn steer_filtered(
        &self,
        asked: &Steering,
        filter: &QueueFilter,
        output: &mut ClientOutput,
    ) -> io::Result<Result<(), Stopping>> {
        let mut selection = Selection::begin(self.queue, self.spool, filter.clone(), self.rights).await;
        while let Some(ids) = selection.next_ids().await? {
            output.step().await?;
            for page in ids.chunks(PAGE) {
                let SteeredPage { mut steered, is_stopping } = self.steer_page(asked, page).await?;
                // What had its end meanwhile is not meant any more.
                steered.retain(|message| message.result != SteerResult::NotFound);
                output.items(&steered).await?;
                if is_stopping {
                    return Ok(Err(Stopping));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Does what was asked with these messages. Returns what came of each, in their order.
    async fn steer_page(&self, asked: &Steering, page: &[String]) -> io::Result<SteeredPage> {
        let orders = self.permitted(asked, page).await?;
        let (answers, is_stopping) = match asked.dry_run {
            true => (self.forecast(orders).await?, false),
            false => self.order(orders).await,
        };
        let shown = |(id, came_to)| (id, shown(came_to, asked.dry_run));
        let mut results: HashMap<QueueId, (SteerResult, Option<String>)> =
            answers.into_iter().map(shown).collect();
        self.say_who_holds(&mut results).await?;
        let steered = page.iter().map(|id| {
            let known = id.parse().ok().and_then(|id: QueueId| results.get(&id).cloned());
            let (result, why) = known.unwrap_or((SteerResult::NotFound, None));
            SteeredMessage { id: id.clone(), result, why }
        });
        Ok(SteeredPage { steered: steered.collect(), is_stopping })
    }

    /// Returns the order for each of these messages, once. Of a message that the client may not steer there is none, as of one that
    /// is not there: nobody learns which ids there are.
    async fn permitted(&self, asked: &Steering, page: &[String]) -> io::Result<Vec<OperatorOrder>> {
        let mut ids: Vec<QueueId> = page.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (spool, by, rights) = (self.spool.clone(), self.by.clone(), self.rights);
        let (verb, route) = (asked.verb, Arc::clone(&asked.route));
        let permitted = move |id| {
            if rights == Rights::Everything {
                return rights.order(verb, &by, id, None);
            }
            let stored = spool.peek(id).ok()?;
            rights.order(verb, &by, id, Some(stored.submitter))
        };
        let to_route = move |order: OperatorOrder| order.to_route(Arc::clone(&route));
        let look = move || ids.into_iter().filter_map(permitted).map(to_route).collect();
        Ok(tokio::task::spawn_blocking(look).await?)
    }

    /// Adds to each message that is not released from the hand of somebody else who that is.
    async fn say_who_holds(
        &self,
        results: &mut HashMap<QueueId, (SteerResult, Option<String>)>,
    ) -> io::Result<()> {
        let of_others = results.iter().filter(|(_, (result, _))| *result == SteerResult::HeldByOther);
        let ids: Vec<QueueId> = of_others.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (spool, rights) = (self.spool.clone(), self.rights);
        let look = move || -> Vec<(QueueId, Option<MailHolder>)> {
            ids.into_iter()
                .map(|id| (id, spool.peek(id).ok().and_then(|stored| holder(&stored, rights))))
                .collect()
        };
        for (id, holder) in tokio::task::spawn_blocking(look).await? {
            let why = holder.map(|holder| format!("held by {holder}"));
            results.insert(id, (SteerResult::HeldByOther, why));
        }
        Ok(())
    }

    /// Returns what the orders would come to.
    async fn forecast(&self, orders: Vec<OperatorOrder>) -> io::Result<HashMap<QueueId, OrderResult>> {
        let standings = self.queue.standings(orders.iter().map(OperatorOrder::id).collect()).await;
        let standings: HashMap<QueueId, Standing> =
            standings.into_iter().map(|listed| (listed.id, listed.standing)).collect();
        let overseers = self.queue.status().await.map(|status| status.overseers).unwrap_or_default();
        let spool = self.spool.clone();
        let foreseen = move |order: OperatorOrder| {
            let standing = *standings.get(&order.id())?;
            let foreseen = match forecast(order.verb(), standing) {
                OrderResult::Done => {
                    on_spool(&spool, &order, standing, &overseers).unwrap_or(OrderResult::Done)
                }
                answer => answer,
            };
            Some((order.id(), foreseen))
        };
        let look = move || orders.into_iter().filter_map(foreseen).collect();
        Ok(tokio::task::spawn_blocking(look).await?)
    }

    /// Gives the orders. Returns what came of them, as far as that is known in time, and whether the daemon stops.
    async fn order(&self, orders: Vec<OperatorOrder>) -> (HashMap<QueueId, OrderResult>, bool) {
        let ids: Vec<QueueId> = orders.iter().map(OperatorOrder::id).collect();
        let mut answers = HashMap::new();
        let mut answered = self.queue.order(orders);
        let deadline = Deadline::now() + PATIENCE;
        let mut is_stopping = false;
        while answers.len() < ids.len() {
            let answer = timeout_at(deadline, answered.recv()).await;
            is_stopping = matches!(answer, Ok(None));
            match answer {
                Ok(Some((id, came_to))) => drop(answers.insert(id, came_to)),
                Ok(None) | Err(_) => {
                    ids.iter().for_each(|id| _ = answers.entry(*id).or_insert(OrderResult::Awaited));
                }
            }
        }
        (answers, is_stopping)
    }
}

/// Returns what an order would come to that is about to be done, by what the spool knows of the message; `None` if that changes
/// nothing.
fn on_spool(
    spool: &Spool,
    order: &OperatorOrder,
    standing: Standing,
    overseers: &Overseers,
) -> Option<OrderResult> {
    let is_held = standing == Standing::OnHold && asks_for_holder(order.verb());
    let is_read = order.verb() == OperatorVerb::Expire || is_held;
    let stored = is_read.then(|| spool.peek(order.id()))?;
    let holder = stored.as_ref().ok().and_then(|stored| stored.held_by.as_ref()).filter(|_| is_held);
    if let Some(answer) = holder.and_then(|holder| against_holder(order, holder)) {
        return Some(answer);
    }
    match (order.verb(), stored) {
        (OperatorVerb::Expire, Err(_)) => Some(OrderResult::Failed(OrderFailure::Unreadable)),
        (OperatorVerb::Expire, Ok(stored)) => {
            Some(returning(&stored.envelope, stored.ledger.unsettled(), overseers))
        }
        _ => None,
    }
}

/// Returns a result as it is shown.
fn shown(came_to: OrderResult, is_dry: bool) -> (SteerResult, Option<String>) {
    let result = match came_to {
        OrderResult::Done if is_dry => SteerResult::WouldBeDone,
        OrderResult::Unreported if is_dry => SteerResult::WouldBeUnreported,
        OrderResult::Marked if is_dry => SteerResult::WouldBeMarked,
        OrderResult::Dead if is_dry => SteerResult::WouldBeDead,
        OrderResult::Done => SteerResult::Done,
        OrderResult::Unreported => SteerResult::Unreported,
        OrderResult::Marked => SteerResult::Marked,
        OrderResult::Outranked(_) => SteerResult::Outranked,
        OrderResult::Replaced => SteerResult::Replaced,
        OrderResult::AlreadySo => SteerResult::AlreadySo,
        OrderResult::OnHold => SteerResult::OnHold,
        OrderResult::HeldByOther => SteerResult::HeldByOther,
        OrderResult::Dead => SteerResult::Dead,
        OrderResult::Awaited => SteerResult::Awaited,
        OrderResult::NotFound => SteerResult::NotFound,
        OrderResult::Failed(_) => SteerResult::Failed,
    };
    let why = match came_to {
        OrderResult::Failed(OrderFailure::Unrecorded(error)) => Some(error.to_string()),
        OrderResult::Failed(OrderFailure::Unreadable) => Some("it cannot be read from the spool".to_owned()),
        OrderResult::Outranked(OperatorVerb::Delete) => Some("it is to be deleted".to_owned()),
        OrderResult::Outranked(OperatorVerb::Expire) => Some("it is to be returned".to_owned()),
        OrderResult::Outranked(_) => Some("it is to be put on hold, released or routed".to_owned()),
        _ => None,
    };
    (result, why)
}
