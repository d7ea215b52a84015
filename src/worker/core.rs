//! What a worker decides: requests in, routed and queued, replies out. No sockets, no clock.
//!
//! The driver reports what happened ([`Core::client_bytes`], [`Core::conn_bytes`], [`Core::tick`], …) and
//! then does what is on the lists: bytes to write for `replies.dirty` clients and [`Todo::write`]
//! connections, connections to open and to close. Everything that is ready in one turn is reported first and
//! written afterwards, so each client and each server gets one write a turn.
//!
//! The parts: this file has the state and the clients' side, `dispatch.rs` turns requests into commands
//! for servers, `framed.rs` takes them through routes that decide on replies, `destinations.rs` looks after
//! connections, `health.rs` after who is out of service, `returns.rs` settles what servers are owed when they come back, `hub.rs` takes replies, `dialogues.rs` runs what takes many requests, `budget.rs` watches
//! memory.
//! All times are microseconds on the caller's clock.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;

use super::budget::Budget;
use super::buf::{Block, BufPool, LARGE, Lent, shrink_slab};
use super::destinations::{Destination, Upstream};
use super::dialogues::Dialogues;
use super::frame::Frame;
use super::hub::Later;
use super::turns::{Turn, Turns};
use crate::client::replies::Replies;
use crate::config::ServerAddr;
use crate::introspect::View;
use crate::protocol::request::{self, CloseReason, Parsed};
use crate::route::compile::Snapshot;
use crate::spool::Deletion;
use crate::stats;
use crate::upstream::conn::Ticket;
use crate::upstream::owed::Owed;
use crate::upstream::tko::{Bell, Tkos};

/// What the driver has to do.
#[derive(Debug, Default)]
pub struct Todo {
    /// Connections to open.
    pub connect: Vec<u32>,
    /// Connections to close; they are forgotten already.
    pub close: Vec<u32>,
    /// The same, but nothing was under way on these: they end as they should.
    pub end: Vec<u32>,
    /// Connections with bytes to write.
    pub write: Vec<u32>,
    /// Clients that may be read again.
    pub read_clients: Vec<u32>,
    /// Deletions to be written down; [`Core::spooled`] is to be told how that ended.
    pub spool: Vec<(Ticket, Deletion)>,
}

/// A snapshot with this worker's destinations for each of its servers.
#[derive(Debug)]
pub struct Routing {
    /// What was configured.
    pub snapshot: Arc<Snapshot>,
    /// Per pool and server: the destination.
    pub destinations: Vec<Vec<u32>>,
}

/// Figures that all workers share the reading of.
#[derive(Debug, Default)]
pub struct Stats {
    /// The worker's counters.
    pub worker: stats::Worker,
    /// Errors by kind.
    pub errors: stats::Errors,
    /// How requests failed.
    pub results: Arc<stats::results::Results>,
    /// The worker's sign of life.
    pub beat: stats::beat::Beat,
}

/// Answers the commands that are about the router itself.
pub trait Local: Send {
    /// The `VERSION …` line.
    fn version(&self) -> &[u8];
    /// Appends the answer to `stats` with these arguments.
    fn stats(&mut self, args: &[u8], out: &mut Vec<u8>);
    /// The answer to a question about the router: what follows [`PREFIX`](crate::route::introspect::PREFIX) in a key.
    fn introspect(&mut self, question: &[u8], view: &View<'_>) -> Vec<u8> {
        let _ = (question, view);
        Vec::new()
    }
    /// A destination was opened, for this pool first: its figures.
    fn opened(&mut self, pool: &str, name: &str, figures: Arc<stats::Destination>);
    /// A connection to a server failed or broke; it may be found elsewhere now.
    fn troubled(&mut self, name: &str);
    /// What is owed to the server of this name at this address, see [`crate::upstream::owed`]; shared with whoever else
    /// talks to it. Unless there is anybody, it is this worker's own.
    fn owed(&mut self, name: &str, addr: &ServerAddr) -> Arc<Owed> {
        let _ = (name, addr);
        Arc::default()
    }
    /// Seconds since 1970; 0 unless anybody knows.
    fn unix_time(&self) -> u64 {
        0
    }
    /// Which servers are out of service; shared with the workers that talk to them, too.
    fn tkos(&self) -> Arc<Tkos> {
        Arc::default()
    }
    /// A destination was given up.
    fn closed(&mut self, figures: &Arc<stats::Destination>);
}

/// A worker's state.
pub struct Core {
    pub(super) now: u64,
    pub(super) routing: Arc<Routing>,
    /// Clients and their replies.
    pub replies: Replies,
    pub(super) frames: Slab<Frame>,
    pub(super) dialogues: Dialogues,
    pub(super) destinations: Vec<Option<Destination>>,
    pub(super) conns: Slab<Upstream>,
    pub(super) pool: BufPool,
    /// Clients that wait for their turn.
    pub(super) turns: Turns,
    pub(super) later: VecDeque<Later>,
    /// That list is being worked off.
    pub(super) in_later: bool,
    /// The buffer that the bytes being handled are in, if they may be referred to there.
    pub(super) lent: Option<Lent>,
    /// What the driver has to do.
    pub todo: Todo,
    pub(super) head: Vec<u8>,
    pub(super) guard: Vec<u8>,
    pub(super) random: u64,
    /// When [`Core::tick`] is due, or `u64::MAX`.
    pub(super) timer: u64,
    pub(super) budget_at: u64,
    pub(super) budget: Budget,
    /// Which servers are out, and what wakes this worker when that changes.
    pub(super) tkos: Arc<Tkos>,
    /// To be hung where [`Core::heed`] is called from.
    pub bell: Arc<Bell>,
    /// When what is owed to servers is looked at, or `u64::MAX`.
    pub(super) settle_at: u64,
    /// The figures.
    pub stats: Arc<Stats>,
    pub(super) local: Box<dyn Local>,
    pub(super) draining: bool,
    /// The worker holds more memory than it may.
    pub(super) overloaded: bool,
}

impl Core {
    /// A worker that routes by `snapshot`; `seed` feeds the jitter of reconnects.
    pub fn new(
        snapshot: Arc<Snapshot>,
        local: Box<dyn Local>,
        stats: Arc<Stats>,
        seed: u64,
    ) -> Core {
        let mut core = Core {
            now: 0,
            routing: Arc::new(Routing {
                snapshot: Arc::clone(&snapshot),
                destinations: Vec::new(),
            }),
            replies: Replies::default(),
            frames: Slab::new(),
            dialogues: Dialogues::default(),
            destinations: Vec::new(),
            conns: Slab::new(),
            pool: BufPool::default(),
            turns: Turns::default(),
            later: VecDeque::new(),
            in_later: false,
            lent: None,
            todo: Todo::default(),
            head: Vec::new(),
            guard: Vec::new(),
            random: seed | 1,
            timer: u64::MAX,
            budget_at: u64::MAX,
            budget: Budget::default(),
            tkos: local.tkos(),
            bell: Arc::default(),
            settle_at: u64::MAX,
            stats,
            local,
            draining: false,
            overloaded: false,
        };
        core.replies.results = Arc::clone(&core.stats.results);
        core.apply(snapshot);
        core
    }

    /// Sets the time; to be called before anything is reported.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// To be called about once a second: gives memory back that nobody has needed lately.
    pub fn relax(&mut self) {
        self.pool.shrink();
        self.replies.shrink();
        shrink_slab(&mut self.frames);
        for (_, up) in &mut self.conns {
            up.conn.shrink();
        }
    }

    /// A client connected; returns its id.
    pub fn client_opened(&mut self) -> u32 {
        self.stats.worker.curr_connections.inc();
        self.stats.worker.total_connections.inc();
        self.replies.open()
    }

    /// A client's address is known.
    pub fn client_is_at(&mut self, id: u32, address: IpAddr) {
        if let Some(client) = self.replies.client_mut(id) {
            client.address = Some(address);
        }
    }

    /// A client's connection is gone.
    pub fn client_closed(&mut self, id: u32) {
        if let Some(client) = self.replies.client(id) {
            if client.waits {
                self.turns.forget(id);
            }
            self.stats.worker.curr_connections.sub(1);
            self.replies.close(id);
            self.drop_unwanted();
        }
    }

    /// Whether the driver should read from the client.
    pub fn wants_read(&self, id: u32) -> bool {
        self.replies
            .client(id)
            .is_some_and(|c| !c.blocked && !c.closing && !c.broken)
    }

    /// Whether the client is to be closed now.
    pub fn is_finished(&self, id: u32) -> bool {
        self.replies
            .client(id)
            .is_none_or(|c| c.broken || (c.closing && c.is_idle()))
    }

    /// The bytes that are reported next are part of this buffer. Large values in them are then referred to
    /// instead of copied. Worth it from [`LARGE`] bytes on.
    pub fn lend(&mut self, buffer: &Lent) {
        self.lent = Some(Arc::clone(buffer));
    }

    /// The client sent bytes.
    pub fn client_bytes(&mut self, id: u32, data: &[u8]) {
        self.take_client_bytes(id, data);
        if self.lent.is_some() {
            self.lent = None;
        }
        self.check_budget(data.len());
    }

    #[inline]
    fn take_client_bytes(&mut self, id: u32, data: &[u8]) {
        self.stats.worker.bytes_read.add(data.len() as u64);
        let max_line = self.routing.snapshot.settings.parse.max_get_line;
        let Some((client, pool)) = self.replies.client_and_pool(id) else {
            return;
        };
        if client.closing || client.broken {
            return;
        }
        if !std::mem::replace(&mut client.spoken, true) && request::is_binary(data) {
            // Binary clients exist (memjs) that wait for ever after an end of the stream, but see a reset. It can
            // destroy no reply on its way: there was none.
            client.reset = true;
            return self.turn_away(id, CloseReason::Binary);
        }
        if client.input.is_empty() && !client.blocked {
            let used = self.requests(id, data);
            if let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty())
                && let Some((client, pool)) = self.replies.client_and_pool(id)
                && !client.closing
            {
                client.input.push(rest, pool);
            }
        } else {
            // A long line is searched for its end once, not again for every packet of it.
            let goes_on = client.in_line
                && client.input.len() + data.len() <= max_line
                && memchr::memchr(b'\n', data).is_none();
            client.input.push(data, pool);
            if !goes_on {
                self.lent = None;
                self.resume(id);
            }
        }
    }

    /// Where to read a large data block that a client has announced, and how many bytes of it are to come: it
    /// is read into its place. `None`: read as usual.
    pub fn client_block(&mut self, id: u32) -> Option<(&mut Vec<u8>, usize)> {
        let (client, pool) = self.replies.client_and_pool(id)?;
        let need = client.need as usize;
        let missing = need.checked_sub(client.input.len())?;
        if missing < LARGE || client.blocked || client.closing || client.broken {
            return None;
        }
        Some((client.input.room(need, pool), missing))
    }

    /// `n` bytes have been read there.
    pub fn client_block_bytes(&mut self, id: u32, n: usize) {
        self.stats.worker.bytes_read.add(n as u64);
        self.resume(id);
        self.check_budget(n);
    }

    /// The client sends no more; it is closed when it has all its replies.
    pub fn client_eof(&mut self, id: u32) {
        if let Some((client, pool)) = self.replies.client_and_pool(id) {
            // Requests that wait for room are still answered: they were sent.
            client.eof = true;
            if !client.blocked {
                client.closing = true;
                client.input.clear(pool);
            }
            self.replies.mark(id);
        }
    }

    /// Bytes were written to the client.
    pub fn client_wrote(&mut self, id: u32, n: usize) {
        self.stats.worker.bytes_written.add(n as u64);
        self.stats.worker.client_writes.inc();
        if let Some((client, pool)) = self.replies.client_and_pool(id) {
            client.out.consume(n, pool);
        }
    }

    /// Whether the client has come to a bound, so that [`Core::go_on`] is to be called once it has been
    /// written to; in a later turn, because others come first.
    pub fn is_held_up(&self, id: u32) -> bool {
        self.replies
            .client(id)
            .is_some_and(|c| c.blocked || c.has_long())
    }

    /// Goes on with a client that had come to a bound, if there is room again.
    pub fn go_on(&mut self, id: u32) {
        let settings = &self.routing.snapshot.settings;
        let (max_requests, max_bytes) = (settings.client_requests, settings.client_bytes);
        let Some(client) = self.replies.client(id) else {
            return;
        };
        if client.has_long() {
            self.ask_more(id);
        }
        let Some(client) = self.replies.client_mut(id) else {
            return;
        };
        if client.blocked && !client.broken {
            if !self.replies.has_room(id, max_requests, max_bytes) && !self.need_not_wait(id) {
                return;
            }
            self.unblock(id);
        }
    }

    /// A client that had come to a bound goes on.
    pub(super) fn unblock(&mut self, id: u32) {
        self.resume(id);
        if let Some((client, pool)) = self.replies.client_and_pool(id)
            && !client.blocked
        {
            if client.eof && !client.closing {
                client.closing = true;
                client.input.clear(pool);
                self.replies.mark(id);
            }
            self.todo.read_clients.push(id);
        }
    }

    fn resume(&mut self, id: u32) {
        let Some(client) = self.replies.client_mut(id) else {
            return;
        };
        client.blocked = client.dialogues > 0;
        if client.blocked {
            return;
        }
        if client.input.len() < client.need as usize {
            return;
        }
        let bytes = client.input.take();
        let (bytes, used) = if bytes.len() >= LARGE {
            self.requests_lent(id, bytes)
        } else {
            let used = self.requests(id, &bytes);
            (bytes, used)
        };
        if let Some((client, pool)) = self.replies.client_and_pool(id) {
            if client.closing {
                pool.put(bytes);
            } else {
                client.input.restore(bytes, used, pool);
            }
        }
    }

    /// As [`Core::requests`]; large values in the bytes are referred to. Returns what is left, and how much of
    /// that was used.
    fn requests_lent(&mut self, id: u32, bytes: Vec<u8>) -> (Vec<u8>, usize) {
        let lent = Arc::new(bytes.into());
        self.lend(&lent);
        let used = self.requests(id, &lent);
        self.lent = None;
        match Arc::try_unwrap(lent).map(Block::into_vec) {
            Ok(bytes) => (bytes.unwrap_or_default(), used),
            Err(lent) => {
                let rest = lent.get(used..).unwrap_or_default();
                let mut bytes = self.pool.take(rest.len());
                bytes.extend_from_slice(rest);
                (bytes, 0)
            }
        }
    }

    /// Handles as many requests as `buf` holds and there is room for; returns the bytes used.
    fn requests(&mut self, id: u32, buf: &[u8]) -> usize {
        let routing = Arc::clone(&self.routing);
        let settings = &routing.snapshot.settings;
        let mut at = 0;
        loop {
            let Some(client) = self.replies.client_mut(id) else {
                return buf.len();
            };
            client.need = 0;
            client.in_line = false;
            if client.closing || client.broken {
                return buf.len();
            }
            if client.swallow > 0 {
                let n = (client.swallow as usize).min(buf.len() - at);
                client.swallow -= n as u32;
                at += n;
            }
            let Some(rest) = buf.get(at..).filter(|rest| !rest.is_empty()) else {
                return at;
            };
            if !self
                .replies
                .has_room(id, settings.client_requests, settings.client_bytes)
            {
                match self.turn(id, settings, rest) {
                    Turn::Now => {}
                    Turn::Refused(len) => {
                        at += len;
                        continue;
                    }
                    Turn::Later => {
                        if let Some(client) = self.replies.client_mut(id) {
                            client.blocked = true;
                        }
                        return at;
                    }
                }
            }
            match request::parse(rest, &settings.parse) {
                Parsed::More { total } => {
                    if let Some(client) = self.replies.client_mut(id) {
                        // Not known, if it could not be: lengths are those of an `i32`.
                        client.need = u32::try_from(total).unwrap_or(0);
                        client.in_line = total == 0 && rest.len() > request::MAX_UNFINISHED_LINE;
                    }
                    return at;
                }
                Parsed::Close(reason) => {
                    self.turn_away(id, reason);
                    return buf.len();
                }
                Parsed::Request { len, request } => {
                    at += len;
                    self.dispatch(&routing, id, request);
                    if self.replies.client(id).is_some_and(|c| c.blocked) {
                        return at;
                    }
                }
            }
        }
    }

    fn turn_away(&mut self, id: u32, reason: CloseReason) {
        tracing::info!(why = reason.describe(), "closing a client");
        self.stats.worker.closed_connections.inc();
        self.quit(id);
    }

    /// Closes the client when it has its replies.
    pub(super) fn quit(&mut self, id: u32) {
        if let Some(client) = self.replies.client_mut(id) {
            client.closing = true;
            self.replies.mark(id);
        }
    }

    /// Asks for more keys of very long gets, for clients with room, and lets those go on whose turn it is.
    pub fn refill(&mut self) {
        if !self.turns.is_empty() {
            self.give_turns();
        }
        for id in std::mem::take(&mut self.replies.refill) {
            self.ask_more(id);
        }
    }

    /// No new clients' requests: each client is closed as soon as it has its replies.
    pub fn drain(&mut self) {
        self.draining = true;
        let ids: Vec<u32> = self.replies.ids().collect();
        for id in ids {
            self.settle_draining(id);
            self.replies.mark(id);
        }
    }

    /// While draining: a client without anything under way is closed.
    pub fn settle_draining(&mut self, id: u32) {
        if self.draining
            && let Some(client) = self.replies.client_mut(id)
            && client.requests == 0
            && !client.has_long()
            && client.input.is_empty()
        {
            client.closing = true;
        }
    }

    /// A random number for jitter (xorshift64).
    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// When [`Core::tick`] is to be called next, in microseconds; `u64::MAX` for never.
    pub fn next_tick(&self) -> u64 {
        self.timer
    }
}
