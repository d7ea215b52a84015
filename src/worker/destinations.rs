//! Destinations and the connections to them: opened when needed, probed, timed, closed, replaced on reload.
//!
//! A fresh connection must answer `version` before anything else is sent on it. A connection whose oldest
//! request has been overdue for a whole further timeout is closed. When a destination is out of service is
//! in `health.rs`.

use std::sync::Arc;

use super::core::{Core, Routing, Todo};
use super::hub::{Hub, Times};
use super::idle::Idle;
use super::metered;
use crate::config::OnReturn;
use crate::protocol::error::ErrorKind;
use crate::route::compile::{DestinationSpec, Snapshot};
use crate::stats;
use crate::upstream::conn::{Broken, Conn, PROBE, Ticket};
use crate::upstream::owed::{self, Owed};
use crate::upstream::tko::Seat;
use crate::worker::buf::Buf;

/// A connection that breaks sooner than this after it became ready counts as a failure of the destination,
/// in microseconds; so a server that accepts and closes is not reconnected to without pause.
pub(super) const YOUNG: u64 = 1_000_000;

/// A server, as this worker sees it.
pub struct Destination {
    pub(super) spec: Arc<DestinationSpec>,
    /// Its part in what all workers know of the server; none if that is not kept track of, or it is retired.
    pub(super) seat: Option<Seat>,
    /// The server is out of service, as far as this worker has heard.
    pub(super) down: bool,
    /// The connection that probes a server that is out, if that is up to this destination.
    pub(super) probe: Option<u32>,
    pub(super) conns: Vec<u32>,
    pub(super) stats: Arc<stats::Destination>,
    /// What it is owed, if its pool cares.
    pub(super) owed: Option<Arc<Owed>>,
    /// It has been in service.
    pub(super) served: bool,
    retired: bool,
    /// When a full queue may be logged again.
    complain_at: u64,
}

/// One connection to a destination.
pub struct Upstream {
    pub(super) destination: u32,
    pub(super) conn: Conn,
    pub(super) state: State,
    /// In [`Todo::write`].
    pub(super) dirty: bool,
    pub(super) timeout: u64,
    pub(super) stats: Arc<stats::Destination>,
    /// See [`DestinationSpec::hides_errors`].
    pub(super) hides_errors: Option<bool>,
    /// Whether it matters which updates are not done.
    pub(super) tracks: bool,
    /// When it is closed for not being used.
    pub(super) idle: Idle,
    /// How many of the bytes to be sent may be, if there is a bound.
    pub(super) admitted: usize,
    /// How much of the probe has been written.
    probed: usize,
    /// Requests and bytes of this connection that are in the destination's figures.
    reported: (usize, usize),
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected; connects when it is needed.
    Idle,
    /// Not connected; tries again at this time.
    Waiting { until: u64 },
    /// Being connected, at the latest until then.
    Connecting { deadline: u64 },
    /// Connected; `version` not yet answered.
    Probing { deadline: u64 },
    /// In use.
    Ready { since: u64 },
    /// In use, with a bound on what is under way; see `metered.rs`.
    Metered { since: u64 },
}

impl Destination {
    /// Whether it gets nothing more.
    pub(super) fn is_given_up(&self) -> bool {
        self.down || self.retired
    }
}

impl Upstream {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. } | State::Metered { .. })
    }

    /// Has the destination's figures say how much waits.
    #[inline]
    pub(super) fn report_queue(&mut self) {
        let (requests, bytes) = (self.conn.waiting(), self.conn.unsent());
        let before = std::mem::replace(&mut self.reported, (requests, bytes));
        self.stats
            .waiting
            .add((requests as u64).wrapping_sub(before.0 as u64));
        self.stats
            .unsent_bytes
            .add((bytes as u64).wrapping_sub(before.1 as u64));
    }
}

impl Core {
    /// Routes by `snapshot` from now on. Destinations that stay keep their connections; those that go finish
    /// what is under way.
    pub fn apply(&mut self, snapshot: Arc<Snapshot>) {
        let pools = snapshot.pools.iter();
        self.tkos
            .set_bounds(pools.filter_map(|pool| Some((&*pool.name, pool.fail_open?))));
        let mut destinations = Vec::with_capacity(snapshot.pools.len());
        for pool in &snapshot.pools {
            let adopt = |spec| self.adopt(&pool.name, spec);
            let ids: Vec<u32> = pool.servers.iter().map(adopt).collect();
            destinations.push(ids);
        }
        let used: std::collections::HashSet<u32> = destinations.iter().flatten().copied().collect();
        for id in 0..self.destinations.len() as u32 {
            if !used.contains(&id)
                && let Some(Some(destination)) = self.destinations.get_mut(id as usize)
            {
                destination.retired = true;
                if let Some(owed) = &destination.owed {
                    let spec = &destination.spec;
                    let is_it = |it: &Arc<DestinationSpec>| {
                        owed::is_same((&it.name, &it.addr), (&spec.name, &spec.addr))
                    };
                    // One that stays in service, if under other routes, has not missed what it was sent.
                    match snapshot
                        .pools
                        .iter()
                        .any(|pool| pool.servers.iter().any(is_it))
                    {
                        true => owed.trust(),
                        false => owed.leave(self.now),
                    }
                }
                self.leave_seat(id);
                self.retire(id);
            }
        }
        self.replies.miss_on_get_errors = snapshot.settings.miss_on_get_errors;
        self.replies.words = snapshot.settings.words;
        self.replies.groups_errors = snapshot.settings.groups_errors;
        snapshot.tree.begin(self.now);
        self.routing = Arc::new(Routing {
            snapshot,
            destinations,
        });
        // Whoever probed a server may have left.
        self.heed();
        // The bound may be another one.
        if self.overloaded {
            self.enforce_budget();
        }
    }

    /// The destination with this spec: the one there is, or a new one, whose figures are those of this pool.
    fn adopt(&mut self, pool: &str, spec: &Arc<DestinationSpec>) -> u32 {
        let known = self.destinations.iter_mut().position(|destination| {
            destination
                .as_ref()
                .is_some_and(|d| *d.spec == **spec && !d.retired)
        });
        if let Some(id) = known {
            return id as u32;
        }
        let id = self.destinations.len() as u32;
        let figures = Arc::new(stats::Destination::default());
        self.local.opened(pool, &spec.name, Arc::clone(&figures));
        let owed = match spec.on_return {
            OnReturn::Trust => None,
            OnReturn::Replay | OnReturn::Cold => {
                let owed = self.local.owed(&spec.name, &spec.addr);
                owed.join(self.now);
                Some(owed)
            }
        };
        let conns = (0..spec.connections)
            .map(|_| {
                self.conns.insert(Upstream {
                    destination: id,
                    conn: Conn::default(),
                    state: State::Idle,
                    dirty: false,
                    timeout: spec.timeout,
                    stats: Arc::clone(&figures),
                    hides_errors: spec.hides_errors,
                    tracks: owed.is_some(),
                    idle: Idle::new(spec.idle_close),
                    admitted: 0,
                    probed: 0,
                    reported: (0, 0),
                }) as u32
            })
            .collect();
        let seat = self.seat(spec);
        let down = seat.as_ref().is_some_and(|seat| seat.standing().0);
        figures.down.set(down.into());
        self.destinations.push(Some(Destination {
            spec: Arc::clone(spec),
            seat,
            down,
            probe: None,
            conns,
            stats: figures,
            owed,
            served: false,
            retired: false,
            complain_at: 0,
        }));
        id
    }

    /// Closes those connections of a retired destination that have nothing under way.
    pub(super) fn retire(&mut self, id: u32) {
        let Some(Some(destination)) = self.destinations.get_mut(id as usize) else {
            return;
        };
        if !destination.retired {
            return;
        }
        let conns = &mut self.conns;
        let todo = &mut self.todo;
        destination.conns.retain(|conn| {
            let idle = conns.get(*conn as usize).is_none_or(|up| up.conn.is_idle());
            if idle {
                conns.try_remove(*conn as usize);
                todo.close.push(*conn);
            }
            !idle
        });
        if destination.conns.is_empty() {
            let figures = Arc::clone(&destination.stats);
            self.local.closed(&figures);
            if let Some(place) = self.destinations.get_mut(id as usize) {
                *place = None;
            }
        }
    }

    /// The connection of a destination that has one.
    #[inline]
    pub(super) fn only_connection(&self, id: u32) -> Option<u32> {
        match self.destinations.get(id as usize)?.as_ref()?.conns[..] {
            [conn] => Some(conn),
            _ => None,
        }
    }

    /// The connection of a destination that has one, if it can be used as it is for any key.
    #[inline]
    fn ready_connection(&self, id: u32) -> Option<u32> {
        let conn = self.only_connection(id)?;
        let destination = self.destinations.get(id as usize)?.as_ref()?;
        let up = self.conns.get(conn as usize)?;
        let owed = destination.owed.as_ref();
        let is_fine = up.is_ready()
            && !destination.down
            && up.conn.lines() < destination.spec.queue_requests
            && up.conn.unsent() < destination.spec.queue_bytes
            && !owed.is_some_and(|owed| owed.is_pending());
        is_fine.then_some(conn)
    }

    /// The connection to use for a key at a destination. None while the server is owed updates of the key.
    #[inline]
    pub(super) fn connection(&mut self, id: u32, key: &[u8]) -> Result<u32, ErrorKind> {
        match self.ready_connection(id) {
            Some(conn) => Ok(conn),
            None => self.settled_connection(id, key),
        }
    }

    /// As [`Core::connection`], looking closely.
    fn settled_connection(&mut self, id: u32, key: &[u8]) -> Result<u32, ErrorKind> {
        let conn = self.any_connection(id, key)?;
        if let Some(Some(destination)) = self.destinations.get(id as usize)
            && let Some(owed) = &destination.owed
            && owed.is_pending()
            && owed.refuses(key)
        {
            destination.stats.failed(ErrorKind::MarkedDown, 1);
            self.settle_soon();
            return Err(ErrorKind::MarkedDown);
        }
        Ok(conn)
    }

    /// As [`Core::connection`], whatever is owed.
    pub(super) fn any_connection(&mut self, id: u32, key: &[u8]) -> Result<u32, ErrorKind> {
        let Some(Some(destination)) = self.destinations.get_mut(id as usize) else {
            return Err(ErrorKind::NoServer);
        };
        if destination.down {
            destination.stats.failed(ErrorKind::MarkedDown, 1);
            return Err(ErrorKind::MarkedDown);
        }
        let conn = match destination.conns.as_slice() {
            [one] => *one,
            many => {
                let index = spread(key) % (many.len() as u64).max(1);
                *many.get(index as usize).ok_or(ErrorKind::NoServer)?
            }
        };
        let up = self
            .conns
            .get_mut(conn as usize)
            .ok_or(ErrorKind::NoServer)?;
        if up.conn.lines() >= destination.spec.queue_requests
            || up.conn.unsent() >= destination.spec.queue_bytes
        {
            up.stats.failed(ErrorKind::QueueFull, 1);
            if self.now >= destination.complain_at {
                destination.complain_at = self.now + 10_000_000;
                tracing::warn!(
                    server = %destination.spec.name,
                    lines = up.conn.lines(),
                    "the queue for a server is full (queue.requests, queue.bytes); requests fail until it answers"
                );
            }
            return Err(ErrorKind::QueueFull);
        }
        // A pause that another connection's success has made pointless is cut short.
        if matches!(up.state, State::Idle | State::Waiting { .. }) {
            let deadline = self.now.saturating_add(destination.spec.connect_timeout);
            begin_connecting(up, conn, deadline, &mut self.todo);
            self.timer = self.timer.min(deadline);
        }
        Ok(conn)
    }

    /// Where the driver connects to, if this connection is to be opened.
    pub fn conn_target(&self, id: u32) -> Option<Arc<DestinationSpec>> {
        let up = self.conns.get(id as usize)?;
        if !matches!(up.state, State::Connecting { .. }) {
            return None;
        }
        let destination = self.destinations.get(up.destination as usize)?.as_ref()?;
        Some(Arc::clone(&destination.spec))
    }

    /// The connection is established.
    pub fn conn_connected(&mut self, id: u32) {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let State::Connecting { deadline } = up.state else {
            return;
        };
        up.state = State::Probing { deadline };
        up.conn.probe(deadline);
        up.probed = 0;
        if !up.dirty {
            up.dirty = true;
            self.todo.write.push(id);
        }
        self.stats.worker.upstream_connects.inc();
        up.stats.connects.inc();
    }

    /// Bytes to be sent on a connection; if they are in pieces, the first of them and what has them all. Ends the
    /// open batch. No bytes, but what has them, if they must wait until the server has sent something.
    pub fn conn_out(&mut self, id: u32) -> (&[u8], Option<&Buf>) {
        if matches!(self.conns.get(id as usize), Some(up) if matches!(up.state, State::Metered { .. }))
        {
            self.admit(id);
        }
        let Some(up) = self.conns.get_mut(id as usize) else {
            return (b"", None);
        };
        match up.state {
            State::Ready { .. } => {
                up.conn.seal(&mut self.pool);
                up.report_queue();
                let all = up.conn.out();
                (all.pending(), Some(all).filter(|all| all.is_gathered()))
            }
            // Until it has answered, it gets nothing but the probe.
            State::Probing { .. } => (PROBE.get(up.probed..).unwrap_or_default(), None),
            _ => metered::out(up),
        }
    }

    /// `n` of these bytes were written.
    pub fn conn_wrote(&mut self, id: u32, n: usize) {
        if let Some(up) = self.conns.get_mut(id as usize) {
            match up.state {
                State::Probing { .. } => up.probed += n,
                _ => up.conn.wrote(n, &mut self.pool),
            }
            up.stats.writes.inc();
            self.stats.worker.upstream_writes.inc();
        }
    }

    /// The driver is through with the connection for this turn.
    pub fn conn_flushed(&mut self, id: u32) {
        if let Some(up) = self.conns.get_mut(id as usize) {
            up.dirty = false;
        }
    }

    /// The server sent bytes.
    pub fn conn_bytes(&mut self, id: u32, data: &[u8]) {
        self.stats.worker.upstream_reads.inc();
        let mut hub = Hub {
            replies: &mut self.replies,
            frames: &mut self.frames,
            dialogues: &mut self.dialogues,
            later: &mut self.later,
            ready: false,
            refused: false,
            lent: self.lent.as_ref(),
            hides_errors: None,
            times: Times::none(),
        };
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        hub.hides_errors = up.hides_errors;
        if !up.is_ready() && !matches!(up.state, State::Probing { .. }) {
            return;
        }
        hub.times = Times::of(&up.stats, self.now);
        let outcome = up.conn.receive(data, &mut hub, &mut self.pool);
        hub.times.record();
        let (ready, refused) = (hub.ready, hub.refused);
        if self.lent.is_some() {
            self.lent = None;
        }
        let destination_id = up.destination;
        up.conn.extend_deadline(self.now.saturating_add(up.timeout));
        up.report_queue();
        // That a connection is answered `version` says nothing of other requests.
        if !refused
            && !ready
            && let Some(Some(destination)) = self.destinations.get(destination_id as usize)
            && let Some(seat) = &destination.seat
        {
            seat.answered();
        }
        if ready {
            self.became_ready(id);
        }
        if let Err(broken) = outcome {
            self.bad_reply(id, broken);
        }
        self.run_later();
        self.count_outcomes();
        if let Some(Some(destination)) = self.destinations.get(destination_id as usize)
            && destination.retired
        {
            self.retire(destination_id);
        }
        self.check_budget(data.len());
    }

    fn became_ready(&mut self, id: u32) {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let destination_id = up.destination;
        if let Some(pause) = self.answered_probe(id) {
            return self.probe_again(id, pause);
        }
        let is_metered = matches!(
            self.destinations.get(destination_id as usize),
            Some(Some(destination)) if destination.spec.in_flight > 0
        );
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let since = self.now;
        up.state = match is_metered {
            true => State::Metered { since },
            false => State::Ready { since },
        };
        up.conn.begin_waiting(self.now);
        up.idle.begin(self.now);
        self.timer = self.timer.min(up.idle.look_at);
        up.stats.connections.inc();
        if !up.dirty {
            up.dirty = true;
            self.todo.write.push(id);
        }
        self.settle(destination_id);
    }

    /// The server has answered, but must do so again on a fresh connection before it is back.
    fn probe_again(&mut self, id: u32, pause: u64) {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        up.state = State::Idle;
        self.todo.close.push(id);
        let hides_errors = up.hides_errors;
        let (destination_id, undone) = (up.destination, up.conn.unanswered_updates());
        // Whoever has waited since before it was out.
        let waiting: Vec<Ticket> = up.conn.break_off(&mut self.pool).collect();
        up.report_queue();
        up.stats.failed(ErrorKind::MarkedDown, waiting.len());
        self.owe_keys(destination_id, undone.iter().map(|key| &**key), true);
        for to in waiting {
            self.fail_in(hides_errors, to, ErrorKind::MarkedDown);
        }
        self.wait_to_probe(id, pause);
    }

    fn bad_reply(&mut self, id: u32, broken: Broken) {
        self.stats.worker.upstream_bad_replies.inc();
        if let Some(up) = self.conns.get(id as usize)
            && let Some(Some(destination)) = self.destinations.get(up.destination as usize)
        {
            tracing::error!(
                server = %destination.spec.name,
                why = broken.describe(),
                "closing a connection to a server; check that it is memcached and nothing alters its answers"
            );
        }
        self.todo.close.push(id);
        self.break_conn(id, ErrorKind::BadReply, broken.describe());
    }

    /// The connection could not be made, or was closed or reset. The driver has dropped it.
    pub fn conn_closed(&mut self, id: u32, why: &str) {
        let Some(up) = self.conns.get(id as usize) else {
            return;
        };
        let kind = match up.state {
            State::Connecting { .. } | State::Probing { .. } => ErrorKind::ConnectFailed,
            State::Ready { .. } | State::Metered { .. } => ErrorKind::ConnectionLost,
            State::Idle | State::Waiting { .. } => return,
        };
        if let Some(Some(destination)) = self.destinations.get(up.destination as usize) {
            tracing::debug!(server = %destination.spec.name, why, kind = kind.label(), "connection closed");
        }
        if self.reopen(id) {
            return;
        }
        self.break_conn(id, kind, why);
        self.run_later();
        self.count_outcomes();
    }

    /// Fails everything that waits on a connection and decides when to connect again.
    pub(super) fn break_conn(&mut self, id: u32, kind: ErrorKind, why: &str) {
        let random = self.random();
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let hides_errors = up.hides_errors;
        let streaming = up.conn.streaming();
        let undone = up.conn.unanswered_updates();
        let waiting: Vec<Ticket> = up.conn.break_off(&mut self.pool).collect();
        up.report_queue();
        up.stats.failed(kind, waiting.len());
        let destination_id = up.destination;
        let failed = match up.state {
            State::Ready { since } | State::Metered { since } => {
                up.stats.connections.sub(1);
                // Timeouts are counted one by one.
                kind != ErrorKind::Timeout && self.now.saturating_sub(since) < YOUNG
            }
            _ => true,
        };
        up.state = State::Idle;
        let Some(Some(destination)) = self.destinations.get(destination_id as usize) else {
            return;
        };
        if !destination.retired {
            self.local.troubled(&destination.spec.name);
        }
        // It may also be this worker that has given it up.
        if failed && kind != ErrorKind::MarkedDown {
            self.count_failure(destination_id, kind, why);
        }
        self.probe_later(id, random);
        self.owe_keys(destination_id, undone.iter().map(|key| &**key), true);
        for to in waiting {
            if streaming == Some(to) && to.dialogue().is_none() && self.replies.cut(to) {
                self.forget_frame(to);
                continue;
            }
            self.fail_in(hides_errors, to, kind);
        }
        self.retire(destination_id);
    }
}

pub(super) fn begin_connecting(up: &mut Upstream, id: u32, deadline: u64, todo: &mut Todo) {
    up.state = State::Connecting { deadline };
    todo.connect.push(id);
}

/// Spreads keys over a destination's connections, so that all requests for a key stay in order on one.
fn spread(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}
