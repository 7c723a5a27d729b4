//! The server of the control socket, in the daemon.
//!
//! Promises: no client gets more than its rights (`rights.rs`); a slow or silent client costs one task and
//! one page of a listing, and is cut off when it makes us wait for 30 seconds.
//!
//! Not here: which messages a request is about (`selection.rs`), how one is shown (`listing.rs`), orders about messages
//! (`steer.rs`).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::clients::{ClientSlot, ClientSlots};
use super::flush::{FlushFailure, flush};
use super::follow::follow;
use super::history_keeper::{FlowFigures, HistoryKeeper};
use super::listing::{Seen, seen};
use super::output::{CLIENT_PATIENCE, ClientOutput};
use super::protocol::{
    AmountLeft, ClientLimited, Configuration, ControlRequest, DaemonStatus, FlowRates, Flushed, Frame,
    IntakeFigures, ListedAlarm, ListedExpiry, Obstacle, OutcomeCounts, QueuedMessage, RateLeft, RefusedVerb,
    RelayFigures, RelaySpeed, Reloaded, SpoolFigures,
};
use super::reading::MessageReading;
use super::rights::Rights;
use super::selection::Selection;
use super::shape_tally::ShapeTally;
use super::standing::{self, StandingDesk};
use super::steer::{Steering, SteeringDesk};
use super::trace::trace;
use crate::alarm::OngoingAlarm;
use crate::filter::QueueFilter;
use crate::listener::Service;
use crate::listener::bind::BindError;
use crate::listener::client_limits::LimitFigures;
use crate::listener::login::LoginDesk;
use crate::listener::unix::{make_directory_of, remove_stale};
use crate::log;
use crate::queue::{MessageStanding, PaceStatus, Queue, QueueStatus, RelayCounts, RelayStatus, Standing};
use crate::queue_id::QueueId;
use crate::relay::{KnownExpiry, RelayFault};
use crate::spool::{Operator, OperatorVerb, Spool, SpoolSpace};
use crate::users::Users;

/// The longest request, in octets: some thousand queue ids.
const MAX_REQUEST_OCTETS: u64 = 64 << 10;

/// The parts of the daemon that answer the requests.
#[derive(Clone)]
pub struct Control {
    pub(crate) queue: Queue,
    /// The spool, for facts that the queue does not keep in memory.
    pub(crate) spool: Spool,
    /// The configuration in force, which a reload replaces.
    pub(crate) configuration: watch::Receiver<Configuration>,
    /// The users of this host, for the members of our group.
    pub(crate) users: Users,
    /// The logins of clients, for what is wrong with the file of their users.
    pub(crate) logins: Arc<LoginDesk>,
    /// The alarms that go on.
    pub(crate) alarms: watch::Receiver<Vec<OngoingAlarm>>,
    /// The listener, which knows the limits of certain clients, and what they were given.
    pub(crate) service: Arc<Service>,
    /// The last day in numbers.
    pub(crate) history: Arc<HistoryKeeper>,
    /// The channel to which requests for a reload are sent.
    pub(crate) reload: UnboundedSender<ReloadRequest>,
}

/// A request to read the configuration again; the result is sent to it.
pub type ReloadRequest = oneshot::Sender<Reloaded>;

/// Creates the socket at `path`, to which anybody may connect. A stale one is replaced.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    make_directory_of(path).and_then(|()| remove_stale(path)).map_err(|error| match error {
        BindError::InUse(_) => io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there"),
        BindError::NotASocket(_) => {
            io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket: remove it")
        }
        error => io::Error::other(error),
    })?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

impl Control {
    /// Answers clients until the task is ended.
    pub async fn serve(self, listener: UnixListener) {
        let clients = Arc::new(ClientSlots::default());
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Some(place) = place_for(&clients, &stream) else { continue };
                    let control = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = control.answer(stream, &place).await {
                            log::control_client(&error);
                        }
                    });
                }
                Err(error) => {
                    log::control_trouble(&error);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn answer(&self, stream: UnixStream, place: &ClientSlot) -> io::Result<()> {
        let rights = Rights::of(stream.peer_cred()?, &self.users).await;
        let (input, output) = stream.into_split();
        let mut output = ClientOutput::new(output);
        let mut line = String::new();
        let mut input = BufReader::new(input.take(MAX_REQUEST_OCTETS));
        timeout(CLIENT_PATIENCE, input.read_line(&mut line)).await??;
        match serde_json::from_str(&line) {
            Ok(request) => self.obey(request, rights, place, &mut output).await,
            Err(error) => output.end(&Frame::Error(format!("no request of this version: {error}"))).await,
        }
    }

    async fn obey(
        &self,
        request: ControlRequest,
        rights: Rights,
        place: &ClientSlot,
        output: &mut ClientOutput,
    ) -> io::Result<()> {
        if let Some(why) = request.filter().and_then(|filter| filter.check().err()) {
            return output.end(&Frame::Error(why.to_string())).await;
        }
        match (request, rights) {
            (ControlRequest::QueueList { filter, limit }, _) => {
                self.queue_list(filter, limit, rights, output).await?;
            }
            (ControlRequest::QueueShape { filter, by, top }, _) => {
                self.queue_shape(filter, ShapeTally::new(by), top, rights, output).await?;
            }
            (ControlRequest::QueueRead { id, most }, _) => {
                MessageReading { id, rights, most }.answer(&self.queue, &self.spool, output).await?;
            }
            (ControlRequest::Steer { verb: OperatorVerb::Route, .. }, Rights::Own(_)) => {
                let why = "only root and the daemon's own user and group may say by which route mail goes";
                return output.end(&Frame::Denied(why.into())).await;
            }
            (ControlRequest::Steer { verb, route, ids, filter, dry_run }, _) => {
                let by = self.operator(place.uid()).await;
                let desk = SteeringDesk { queue: &self.queue, spool: &self.spool, rights, by };
                return desk
                    .steer(Steering { verb, route: route.into(), ids, filter, dry_run }, place, output)
                    .await;
            }
            (ControlRequest::Follow, _) => return follow(&self.queue, rights, output).await,
            (ControlRequest::Status, _) => self.status(rights, output).await?,
            (ControlRequest::History { minutes }, _) => output.item(&self.history.minutes(minutes)).await?,
            (_, Rights::Own(_)) => {
                let why = "only root and the daemon's own user and group may ask for that";
                return output.end(&Frame::Denied(why.into())).await;
            }
            (ControlRequest::Reload, Rights::Everything) => {
                output.answer(self.reload().await.as_ref()).await?;
            }
            (ControlRequest::Flush { route }, Rights::Everything) => {
                return output.came_to(self.flush(route).await?.map(|flushed| vec![flushed])).await;
            }
            (ControlRequest::Trace { side, seconds }, Rights::Everything) => {
                let by = self.operator(place.uid()).await;
                let granted = |seconds| log::traced(seconds, place.uid(), &by);
                return trace(side, seconds, granted, output).await;
            }
            (ControlRequest::HoldRules, Rights::Everything) => {
                output.items(&standing::listed(&self.spool)).await?;
            }
            (ControlRequest::HoldNew(rule), Rights::Everything) => {
                let made = self.standing_desk(place).await.hold_new(rule).await;
                return output.came_to(made.map(|made| vec![made])).await;
            }
            (ControlRequest::LiftHold { rules, dry_run }, Rights::Everything) => {
                return output.came_to(self.standing_desk(place).await.lift(rules, dry_run).await).await;
            }
            (ControlRequest::Pause(pause), Rights::Everything) => {
                let paused = self.standing_desk(place).await.pause(pause).await;
                return output.came_to(paused.map(|paused| vec![paused])).await;
            }
            (ControlRequest::Resume { scope }, Rights::Everything) => {
                return output.came_to(self.standing_desk(place).await.resume(scope).await).await;
            }
        }
        output.end(&Frame::Done).await
    }

    async fn status(&self, rights: Rights, output: &mut ClientOutput) -> io::Result<()> {
        let Some(status) = self.queue.status().await else {
            return output.answer(None::<&DaemonStatus>).await;
        };
        let figures = self.figures_of(&status);
        let shown = match rights {
            Rights::Everything => {
                DaemonStatus { newest_dead: self.dead(status.newest_dead).await?, ..figures }
            }
            Rights::Own(_) => figures.for_anybody(),
        };
        output.item(&shown).await
    }

    /// Returns the figures of the daemon; `None` if it is stopping.
    pub(super) async fn figures(&self) -> Option<DaemonStatus> {
        self.queue.status().await.map(|status| self.figures_of(&status))
    }

    /// Returns the figures of the daemon, as far as everybody may know them; `None` if it is stopping.
    pub(super) async fn figures_for_anybody(&self) -> Option<DaemonStatus> {
        self.figures().await.map(DaemonStatus::for_anybody)
    }

    /// Returns the figures of the daemon, without what has to be read from the disk.
    fn figures_of(&self, status: &QueueStatus) -> DaemonStatus {
        let configuration = self.configuration.borrow().clone();
        let relay = status.foremost();
        let now = Timestamp::now();
        let FlowFigures { minute, hour, failures } = self.history.figures();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            is_in_part: false,
            configuration,
            messages: status.live,
            ready: status.ready,
            deferred: status.deferred,
            held: status.held,
            on_hold: status.on_hold,
            dead: status.dead,
            newest_dead: None,
            active: status.under_way,
            oldest: status.oldest().map(|time| format!("{time:.0}")),
            oldest_age: status.oldest().map(|time| age_at(now, time)),
            rates: FlowRates { last_minute: minute, last_hour: hour },
            failures,
            connections: status.connections(),
            relay: relay.state().into(),
            next_probe: relay.paused_until.map(|time| format!("{time:.0}")),
            spool_trouble: self.spool.trouble(),
            cannot_record: status.cannot_record,
            spool: space(self.spool.space()),
            users_trouble: self.logins.trouble(),
            trouble: relay.trouble.clone(),
            held_because: relay.held_because.clone(),
            expiring: status.relays.iter().flat_map(|relay| relay.expiring.clone()).collect(),
            intake: self.intake(),
            syncs: self.spool.syncs().into(),
            alarms: self.alarms.borrow().iter().map(ongoing).collect(),
            pauses: standing::pauses(&self.spool),
            hold_rules: standing::listed(&self.spool),
            limits: self.service.client_limits().figures(now).into_iter().map(limited).collect(),
            pace: speed(&relay.pace),
            relays: status.relays.iter().map(figures).collect(),
        }
    }

    /// Returns what clients were given since the start.
    fn intake(&self) -> IntakeFigures {
        let refused = |(verb, code, times): (&str, u16, u64)| RefusedVerb { verb: verb.into(), code, times };
        let refused = self.service.refusals().into_iter().map(refused).collect();
        IntakeFigures { accepted: self.service.counts().accepted, refused }
    }

    /// Returns the number of hold rules.
    pub(super) fn hold_rules(&self) -> usize {
        standing::listed(&self.spool).len()
    }

    /// Returns who the client with this uid is.
    async fn operator(&self, uid: u32) -> Operator {
        let name = self.users.named_soon(uid).await.map(|user| user.login.as_str().into());
        Operator { uid, name }
    }

    /// Returns the desk at which this client gives standing orders.
    async fn standing_desk(&self, client: &ClientSlot) -> StandingDesk<'_> {
        StandingDesk { spool: &self.spool, queue: &self.queue, by: self.operator(client.uid()).await }
    }

    /// Makes the daemon read its configuration again. Returns the result; `None` if the daemon is stopping.
    async fn reload(&self) -> Option<Reloaded> {
        let (answer, answered) = oneshot::channel();
        self.reload.send(answer).ok()?;
        answered.await.ok()
    }

    /// Makes the queue try everything now, or all that goes by this route. Returns the result.
    async fn flush(&self, route: Option<String>) -> io::Result<Result<Flushed, FlushFailure>> {
        Ok(match flush(&self.queue, route.as_deref()).await {
            Ok((flushed, newest_dead)) => {
                Ok(Flushed { newest_dead: self.dead(newest_dead).await?, ..flushed })
            }
            Err(failure) => Err(failure),
        })
    }

    /// Returns the dead message `id` as it is listed, if there is one.
    async fn dead(&self, id: Option<QueueId>) -> io::Result<Option<QueuedMessage>> {
        let Some(id) = id else { return Ok(None) };
        let (spool, listed) = (
            self.spool.clone(),
            MessageStanding { id, standing: Standing::Dead, losses: 0, met_overlong: false, marked: None },
        );
        let look = move || seen(&spool, listed.into(), Rights::Everything, None::<&QueueStatus>);
        Ok(match tokio::task::spawn_blocking(look).await? {
            Seen::Whole(message) => Some(*message),
            Seen::Hidden | Seen::Gone => None,
        })
    }

    /// Lists what `filter` means, `limit` messages at most.
    async fn queue_list(
        &self,
        filter: QueueFilter,
        limit: Option<u64>,
        rights: Rights,
        output: &mut ClientOutput,
    ) -> io::Result<()> {
        let mut selection = Selection::begin(&self.queue, &self.spool, filter, rights).await;
        let headlines = selection.headlines();
        if !headlines.is_empty() {
            output.send(&Frame::Relays(headlines)).await?;
        }
        let (mut left, mut more) = (limit.unwrap_or(u64::MAX), 0);
        while let Some(page) = selection.next_page().await? {
            output.step().await?;
            for one in page {
                if left == 0 {
                    more += 1;
                } else {
                    output.item(&one).await?;
                    left -= 1;
                }
            }
            if left == 0 {
                break;
            }
        }
        while let Some(count) = selection.count_next().await? {
            output.step().await?;
            more += count;
        }
        if selection.hidden() > 0 {
            output.send(&Frame::Hidden(selection.hidden())).await?;
        }
        if more > 0 { output.send(&Frame::More(more)).await } else { Ok(()) }
    }

    /// Counts what `filter` means, in `top` rows at most.
    async fn queue_shape(
        &self,
        filter: QueueFilter,
        mut tally: ShapeTally,
        top: u16,
        rights: Rights,
        output: &mut ClientOutput,
    ) -> io::Result<()> {
        let mut selection = Selection::begin(&self.queue, &self.spool, filter, rights).await;
        while let Some(page) = selection.next_page().await? {
            output.step().await?;
            page.iter().for_each(|message| tally.count(message));
        }
        for row in tally.rows(top.into()) {
            output.item(&row).await?;
        }
        match selection.hidden() {
            0 => Ok(()),
            hidden => output.send(&Frame::Hidden(hidden)).await,
        }
    }
}

/// Admits a client; `None` if there are too many. A client that is refused gets an error, for which nothing has to wait:
/// nothing was written to it before, so that the line fits into its buffer.
fn place_for(clients: &Arc<ClientSlots>, stream: &UnixStream) -> Option<ClientSlot> {
    let place = stream.peer_cred().ok().and_then(|client| clients.admit(client.uid()));
    if place.is_none() {
        let frame = Frame::Error("too many clients of the control socket, try again later".into());
        // A client that is gone already needs no answer.
        let _ = serde_json::to_vec(&frame).map(|line| stream.try_write(&[&line[..], b"\n"].concat()));
    }
    place
}

fn limited(figures: LimitFigures) -> ClientLimited {
    let LimitFigures { limit, uid, left, refused, held, until } = figures;
    let amount = |(unit, allowed, left): (&str, String, u64)| AmountLeft { unit: unit.into(), allowed, left };
    let refused_until = until.map(|time| format!("{time:.0}"));
    ClientLimited {
        limit,
        uid,
        amounts: left.into_iter().map(amount).collect(),
        refused,
        held,
        refused_until,
    }
}

/// Returns the figures of a relay as they are shown.
fn figures(relay: &RelayStatus) -> RelayFigures {
    RelayFigures {
        route: relay.route.clone(),
        relay: relay.name.clone(),
        state: relay.state().into(),
        paused_since: relay.paused_since.map(|time| format!("{time:.0}")),
        next_probe: relay.paused_until.map(|time| format!("{time:.0}")),
        trouble: relay.trouble.clone(),
        trouble_outline: relay.trouble_outline.clone(),
        trouble_advice: relay.trouble_advice.map(str::to_owned),
        connecting: relay.times.connecting.into(),
        sending: relay.times.sending.into(),
        reached: relay.reached,
        troubles: relay.troubles,
        last_success: relay.counts.last_sent.map(|time| format!("{time:.0}")),
        outcomes: outcomes(relay.counts),
        oldest: relay.oldest.map(|time| format!("{time:.0}")),
        messages: relay.live,
        ready: relay.ready,
        active: relay.under_way,
        deferred: relay.deferred,
        held: relay.held,
        on_hold: relay.on_hold,
        held_because: relay.held_because.clone(),
        connections: relay.connections,
        pace: speed(&relay.pace),
        obstacle: relay.fault.and_then(obstacle),
        expiring: relay.expiring.clone(),
        expiries: relay.ends.iter().filter_map(expiry).collect(),
        passed_over: relay.passed_over.clone(),
        unwritten_token: relay.unwritten_token.clone(),
    }
}

/// Returns what must change before a relay takes mail, if that does not pass by itself.
fn obstacle(fault: RelayFault) -> Option<Obstacle> {
    match fault {
        RelayFault::Quota { .. } => Some(Obstacle::Quota),
        RelayFault::Configuration { .. } | RelayFault::Login { for_good: true } => {
            Some(Obstacle::Configuration)
        }
        _ => None,
    }
}

fn expiry(end: &KnownExpiry) -> Option<ListedExpiry> {
    let until = Timestamp::from_second(end.until).ok()?;
    Some(ListedExpiry { what: end.what.clone(), until: format!("{until:.0}") })
}

fn ongoing(alarm: &OngoingAlarm) -> ListedAlarm {
    let OngoingAlarm { when, why, since } = alarm.clone();
    ListedAlarm { when, why, since: format!("{since:.0}") }
}

fn outcomes(counts: RelayCounts) -> OutcomeCounts {
    let RelayCounts { sent, deferred, held, bounced, expired, last_sent: _ } = counts;
    OutcomeCounts { sent, deferred, held, bounced, expired }
}

fn space(space: SpoolSpace) -> SpoolFigures {
    let SpoolSpace { octets, free, size, reserve } = space;
    SpoolFigures { octets, free, size, reserve }
}

/// Returns the whole seconds from `time` to `now`; none if the clock was set back behind it.
fn age_at(now: Timestamp, time: Timestamp) -> u64 {
    u64::try_from(now.duration_since(time).as_secs()).unwrap_or(0)
}

/// Returns the pace of a relay as it is shown.
fn speed(pace: &PaceStatus) -> RelaySpeed {
    RelaySpeed {
        max_connections: pace.max_connections,
        connections_allowed: pace.connections_allowed,
        fewer_because: pace.fewer_because.map(str::to_owned),
        rates: pace.rates.iter().map(|(rate, left)| RateLeft { rate: rate.clone(), left: *left }).collect(),
        slowed_to: pace.slowed_to.clone(),
        recipients_limited_to: pace.recipients_limited_to,
        domains_limited_to: pace.domains_limited_to,
        next_message: pace.next_message.map(|time| format!("{time:.0}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, file) = (directory.path().join("control.sock"), directory.path().join("file"));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let _listener = bind(&socket).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(bind(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }
}
