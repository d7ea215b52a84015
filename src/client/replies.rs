//! Replies, put together in the order in which the client asked.
//!
//! A request has one slot, or one per key of a multi-key get. Answers come from several servers in any
//! order. What is next in the client's order goes straight to the bytes to be sent; everything else is held
//! until its turn. Requests of a client form a list through the request table, so an idle client owns none.
//!
//! Invariants: every request of an open client is answered exactly once and in order; answers for a request
//! that is gone (its client left) are thrown away, told apart by serial number; a client that has received
//! half of a value that can't be completed is closed, never fed something else.

use slab::Slab;

use crate::protocol::error::ErrorKind;
use crate::protocol::request::{GetCommand, MetaCommand};
use crate::protocol::response::Kind;
use crate::upstream::conn::Ticket;
use crate::worker::buf::{Buf, BufPool};

const NONE: u32 = u32::MAX;

/// Assumed length of a reply before there is a history, in bytes: high, so that a new client's long pipeline
/// of large values is not asked for all at once.
const FIRST_AVERAGE: u32 = 32 * 1024;

/// One client connection.
#[derive(Debug)]
pub struct Client {
    /// Received and not yet parsed.
    pub input: Buf,
    /// To be sent.
    pub out: Buf,
    /// Bytes of a refused data block still to be thrown away.
    pub swallow: usize,
    head: u32,
    tail: u32,
    /// Requests without a complete reply.
    pub requests: u32,
    /// Keys without an answer.
    pub keys: u32,
    /// Its last request is a long get with keys that have not been asked for yet.
    parked: bool,
    /// What a reply's length is expected to be, in bytes: the longest lately.
    average: u32,
    /// In [`Replies::dirty`].
    dirty: bool,
    /// No more requests are read; it is closed when all replies are sent.
    pub closing: bool,
    /// It is closed at once; what it was owed can't be sent.
    pub broken: bool,
    /// Parsing stopped at a bound and goes on when there is room.
    pub blocked: bool,
    /// It has shut down its sending side.
    pub eof: bool,
    /// The length of the request that has begun, in bytes, or 0 if that isn't known.
    pub need: usize,
}

impl Client {
    /// Learns from the length of a reply: at once if it is longer than expected, slowly if it is shorter.
    #[inline]
    fn expect(&mut self, len: usize) {
        let len = len.min(u32::MAX as usize / 2) as u32;
        self.average = if len >= self.average {
            len
        } else {
            self.average - (self.average - len) / 8
        };
    }
}

/// Which answers a client does not want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    /// It sees all.
    Nothing,
    /// `noreply`: it sees none.
    All,
    /// Flag `q` of this meta command: it does not see the common one.
    Quiet(MetaCommand),
}

impl Mute {
    /// Whether an answer of this kind is kept from the client; recorded from memcached 1.6.
    fn hides(self, kind: Kind) -> bool {
        match self {
            Mute::Nothing => false,
            Mute::All => true,
            Mute::Quiet(MetaCommand::Get) => kind == Kind::MetaMiss,
            Mute::Quiet(MetaCommand::Arithmetic) => {
                matches!(kind, Kind::MetaHeader | Kind::MetaValue(_))
            }
            Mute::Quiet(_) => kind == Kind::MetaHeader,
        }
    }
}

/// What kind of reply a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Values and `END`.
    Get,
    /// One line, possibly with a data block.
    Line(Mute),
    /// One line for what all servers were told.
    Broadcast(Mute),
    /// As `Line`; if it fails, it is a miss whose text was given with [`Replies::set_miss`].
    MetaGet(Mute),
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Waiting,
    /// Nothing to send.
    Empty,
    /// Complete, in the request's held bytes.
    Held { at: usize, len: usize },
    /// Arriving, held back.
    Stream { bytes: Vec<u8>, done: bool },
    /// Arriving, straight to the client.
    Direct,
}

#[derive(Debug)]
enum Failure {
    Kind(ErrorKind),
    Line(Box<[u8]>),
}

impl Failure {
    fn wire(&self) -> &[u8] {
        match self {
            Failure::Kind(kind) => kind.wire(),
            Failure::Line(line) => line,
        }
    }
}

#[derive(Debug)]
struct Request {
    serial: u32,
    client: u32,
    next: u32,
    shape: Shape,
    /// The slot that is sent next.
    emit: u32,
    count: u32,
    /// Slots (for a broadcast: servers) without an answer.
    pending: u32,
    first: Slot,
    rest: Vec<Slot>,
    held: Vec<u8>,
    failure: Option<Failure>,
    more: Option<Box<MoreKeys>>,
}

impl Request {
    fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        match index {
            0 => Some(&mut self.first),
            _ => self.rest.get_mut(index as usize - 1),
        }
    }
}

impl Request {
    /// Whether it has keys that were not asked for yet, and few that were.
    fn wants_more(&self) -> bool {
        self.more
            .as_ref()
            .is_some_and(|more| self.pending.saturating_sub(self.count - more.next) < WINDOW / 2)
    }
}

/// The keys of a very long get that have not been asked for yet.
#[derive(Debug)]
pub struct MoreKeys {
    /// The command and its expiry time.
    pub command: (GetCommand, i32),
    /// The key words of the line.
    pub text: Vec<u8>,
    /// Where the next key begins.
    pub at: usize,
    /// Its slot.
    pub next: u32,
}

/// Counts of outcomes since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Keys found.
    pub hits: u64,
    /// Keys not found.
    pub misses: u64,
    /// Keys of failed gets that were answered as misses.
    pub hidden_errors: u64,
}

/// All clients of a worker and their requests.
#[derive(Debug)]
pub struct Replies {
    clients: Slab<Client>,
    requests: Slab<Request>,
    serial: u32,
    /// The worker's buffers.
    pub pool: BufPool,
    /// Clients with something to send, or to be closed.
    pub dirty: Vec<u32>,
    /// Requests that may ask for more of their keys, as (request, serial).
    pub refill: Vec<(u32, u32)>,
    slot_lists: Vec<Vec<Slot>>,
    /// Whether a failed get is a miss.
    pub miss_on_get_errors: bool,
    /// Counts of outcomes.
    pub outcomes: Outcomes,
}

/// How many keys of one get are asked for at a time.
pub const WINDOW: u32 = 512;

impl Default for Replies {
    fn default() -> Replies {
        Replies {
            clients: Slab::new(),
            requests: Slab::new(),
            serial: 0,
            pool: BufPool::default(),
            dirty: Vec::new(),
            refill: Vec::new(),
            slot_lists: Vec::new(),
            miss_on_get_errors: true,
            outcomes: Outcomes::default(),
        }
    }
}

impl Replies {
    /// A new client; returns its id, which is reused after [`Replies::close`].
    pub fn open(&mut self) -> u32 {
        self.clients.insert(Client {
            input: Buf::default(),
            out: Buf::default(),
            swallow: 0,
            head: NONE,
            tail: NONE,
            requests: 0,
            keys: 0,
            parked: false,
            average: FIRST_AVERAGE,
            dirty: false,
            closing: false,
            broken: false,
            blocked: false,
            eof: false,
            need: 0,
        }) as u32
    }

    /// The client is gone: forgets it and everything it asked.
    pub fn close(&mut self, id: u32) {
        let Some(mut client) = self.clients.try_remove(id as usize) else {
            return;
        };
        client.input.clear(&mut self.pool);
        client.out.clear(&mut self.pool);
        let mut next = client.head;
        while let Some(request) = self.requests.try_remove(next as usize) {
            next = request.next;
            self.recycle(request);
        }
    }

    /// A client.
    pub fn client(&self, id: u32) -> Option<&Client> {
        self.clients.get(id as usize)
    }

    /// A client, to change it.
    pub fn client_mut(&mut self, id: u32) -> Option<&mut Client> {
        self.clients.get_mut(id as usize)
    }

    /// A client together with the pool its buffers come from.
    pub fn client_and_pool(&mut self, id: u32) -> Option<(&mut Client, &mut BufPool)> {
        Some((self.clients.get_mut(id as usize)?, &mut self.pool))
    }

    /// All clients' ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.clients.iter().map(|(id, _)| id as u32)
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How many requests there are, of all clients.
    #[cfg(test)]
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Puts the client on the list of those to be looked at before the turn ends.
    pub fn mark(&mut self, id: u32) {
        if let Some(client) = self.clients.get_mut(id as usize)
            && !client.dirty
        {
            client.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Takes the client off that list's books; the caller has removed it from [`Replies::dirty`].
    pub fn unmark(&mut self, id: u32) {
        if let Some(client) = self.clients.get_mut(id as usize) {
            client.dirty = false;
        }
    }

    /// Whether the client may ask for more: `max_requests` outstanding, `max_bytes` of replies waiting or,
    /// going by its average, to be expected. Nothing overtakes the keys of a long get that are still to be
    /// asked for, or a `set` behind it would be executed before it.
    pub fn has_room(&self, id: u32, max_requests: usize, max_bytes: usize) -> bool {
        let Some(client) = self.clients.get(id as usize) else {
            return false;
        };
        let expected = client.keys as usize * client.average as usize;
        !client.parked
            && (client.requests as usize) < max_requests
            && client.out.len() < max_bytes
            && (client.keys == 0 || client.out.len() + expected < max_bytes)
    }

    /// A new request of `count` slots; returns the ticket for its first.
    pub fn begin(&mut self, client_id: u32, shape: Shape, count: u32) -> Ticket {
        let Some(client) = self.clients.get_mut(client_id as usize) else {
            return Ticket::NOBODY;
        };
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let (slots, pending) = match shape {
            Shape::Broadcast(_) => (1, count),
            _ => (count, count),
        };
        let mut rest = Vec::new();
        if slots > 1 {
            rest = self.slot_lists.pop().unwrap_or_default();
            rest.resize_with(slots as usize - 1, Slot::default);
        }
        let id = self.requests.insert(Request {
            serial,
            client: client_id,
            next: NONE,
            shape,
            emit: 0,
            count: slots,
            pending,
            first: Slot::Waiting,
            rest,
            held: Vec::new(),
            failure: None,
            more: None,
        }) as u32;
        client.requests += 1;
        client.keys += pending;
        let tail = std::mem::replace(&mut client.tail, id);
        match self.requests.get_mut(tail as usize) {
            Some(last) => last.next = id,
            None => client.head = id,
        }
        Ticket {
            request: id,
            serial,
            index: 0,
            frame: Ticket::NO_FRAME,
        }
    }

    /// A reply that is known at once, in the client's order.
    pub fn local(&mut self, client_id: u32, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(client_id as usize) else {
            return;
        };
        if client.head == NONE {
            client.out.push(bytes, &mut self.pool);
            self.mark(client_id);
        } else {
            let to = self.begin(client_id, Shape::Line(Mute::Nothing), 1);
            self.deliver(to, bytes);
        }
    }

    /// The reply to be given if the meta get fails and failures count as misses.
    pub fn set_miss(&mut self, to: Ticket, text: &[u8]) {
        let Some(request) = self.requests.get_mut(to.request as usize) else {
            return;
        };
        if request.held.capacity() == 0 {
            request.held = self.pool.take(text.len());
        }
        request.held.extend_from_slice(text);
    }

    /// Parks the keys of a long get that are not asked for yet.
    pub fn park(&mut self, to: Ticket, more: MoreKeys) {
        self.repark(to.request, to.serial, Box::new(more));
    }

    /// Takes the parked keys of a request, if it is still wanted and few of the keys it has asked for are
    /// under way, with its client.
    pub fn unpark(&mut self, request: u32, serial: u32) -> Option<(u32, Box<MoreKeys>)> {
        let request = self
            .requests
            .get_mut(request as usize)
            .filter(|r| r.serial == serial && r.wants_more())?;
        let id = request.client;
        if let Some(client) = self.clients.get_mut(id as usize) {
            client.parked = false;
        }
        request.more.take().map(|more| (id, more))
    }

    /// Parks them again.
    pub fn repark(&mut self, request: u32, serial: u32, more: Box<MoreKeys>) {
        if let Some(request) = self.requests.get_mut(request as usize)
            && request.serial == serial
        {
            request.more = Some(more);
            if let Some(client) = self.clients.get_mut(request.client as usize) {
                client.parked = true;
            }
        }
    }

    /// Lists the client's first request for more keys, if it wants any.
    pub fn refill_head(&mut self, id: u32) {
        if let Some(client) = self.clients.get(id as usize)
            && let Some(request) = self.requests.get(client.head as usize)
            && request.wants_more()
        {
            self.refill.push((client.head, request.serial));
        }
    }

    /// Bytes of buffers a client holds, replies that wait for their turn included.
    pub fn held_by(&self, id: u32) -> usize {
        let Some(client) = self.clients.get(id as usize) else {
            return 0;
        };
        let mut bytes = client.out.len() + client.input.len();
        let mut next = client.head;
        while let Some(request) = self.requests.get(next as usize) {
            bytes += request.held.len();
            for slot in std::iter::once(&request.first).chain(&request.rest) {
                if let Slot::Stream { bytes: held, .. } = slot {
                    bytes += held.len();
                }
            }
            next = request.next;
        }
        bytes
    }

    fn live(&mut self, to: Ticket) -> Option<&mut Request> {
        self.requests
            .get_mut(to.request as usize)
            .filter(|request| request.serial == to.serial)
    }

    /// Whether anybody still waits for this answer.
    pub fn wanted(&mut self, to: Ticket) -> bool {
        self.live(to).is_some()
    }

    /// The client that waits for this answer.
    pub fn client_of(&mut self, to: Ticket) -> Option<u32> {
        self.live(to).map(|request| request.client)
    }

    /// A key was not found.
    pub fn miss(&mut self, to: Ticket) {
        if let Some(request) = self.live(to) {
            if let Some(slot) = request.slot(to.index) {
                *slot = Slot::Empty;
            }
            self.outcomes.misses += 1;
            self.settled(to);
        }
    }

    /// A value was found.
    #[inline]
    pub fn value(&mut self, to: Ticket, bytes: &[u8]) {
        self.outcomes.hits += 1;
        self.deliver(to, bytes);
    }

    /// A line (for meta with its block) was answered.
    pub fn line(&mut self, to: Ticket, kind: Kind, bytes: &[u8]) {
        let Some(request) = self.live(to) else {
            return;
        };
        let mute = match request.shape {
            Shape::Get => Mute::Nothing,
            Shape::Broadcast(_) => {
                return self.broadcast_answer(to, None);
            }
            Shape::Line(mute) => mute,
            Shape::MetaGet(mute) => {
                // The text for a failure isn't needed any more.
                request.held.clear();
                match kind {
                    Kind::MetaMiss => self.outcomes.misses += 1,
                    _ => self.outcomes.hits += 1,
                }
                mute
            }
        };
        if mute.hides(kind) {
            self.hide(to);
        } else {
            self.deliver(to, bytes);
        }
    }

    fn hide(&mut self, to: Ticket) {
        if let Some(request) = self.live(to) {
            if let Some(slot) = request.slot(to.index) {
                *slot = Slot::Empty;
            }
            self.settled(to);
        }
    }

    /// The request failed here.
    pub fn fail(&mut self, to: Ticket, kind: ErrorKind) {
        self.failed(to, Failure::Kind(kind));
    }

    /// The server answered with an error line.
    pub fn error(&mut self, to: Ticket, line: &[u8]) {
        if self.wanted(to) {
            self.failed(to, Failure::Line(line.into()));
        }
    }

    fn failed(&mut self, to: Ticket, failure: Failure) {
        let hide_errors = self.miss_on_get_errors;
        let Some(request) = self.live(to) else {
            return;
        };
        let client = request.client;
        if matches!(request.shape, Shape::Broadcast(_)) {
            // Its one slot stays open until all servers have answered.
            return self.broadcast_answer(to, Some(failure));
        }
        match request.slot(to.index) {
            // Half a value has been sent; there is no way to take it back.
            Some(Slot::Direct) => return self.break_client(client),
            Some(slot) => *slot = Slot::Empty,
            None => return,
        }
        match request.shape {
            Shape::Get => {
                if hide_errors {
                    self.outcomes.hidden_errors += 1;
                    self.outcomes.misses += 1;
                } else if let Some(request) = self.live(to) {
                    request.failure.get_or_insert(failure);
                }
                self.settled(to);
            }
            Shape::Line(Mute::All) => self.hide(to),
            Shape::Line(_) => self.deliver(to, failure.wire()),
            Shape::Broadcast(_) => {}
            Shape::MetaGet(mute) => {
                let text = std::mem::take(&mut request.held);
                // An error line of the server is about the command itself (a bad flag), not about the item.
                let server_said =
                    matches!(&failure, Failure::Line(line) if line.starts_with(b"CLIENT_ERROR"));
                if !hide_errors || server_said {
                    self.deliver(to, failure.wire());
                } else {
                    self.outcomes.hidden_errors += 1;
                    self.outcomes.misses += 1;
                    if mute.hides(Kind::MetaMiss) {
                        self.hide(to);
                    } else {
                        self.deliver(to, if text.is_empty() { b"EN\r\n" } else { &text });
                    }
                }
                self.pool.put(text);
            }
        }
    }

    fn broadcast_answer(&mut self, to: Ticket, failure: Option<Failure>) {
        let Some(request) = self.live(to) else {
            return;
        };
        let client_id = request.client;
        request.pending = request.pending.saturating_sub(1);
        if let Some(failure) = failure {
            request.failure.get_or_insert(failure);
        }
        let done = request.pending == 0;
        if done {
            // deliver() settles the one slot.
            request.pending = 1;
            let Shape::Broadcast(mute) = request.shape else {
                return;
            };
            let failure = request.failure.take();
            if mute == Mute::All {
                self.hide(to);
            } else {
                self.deliver(to, failure.as_ref().map_or(b"OK\r\n", Failure::wire));
            }
        } else if let Some(client) = self.clients.get_mut(client_id as usize) {
            client.keys = client.keys.saturating_sub(1);
        }
    }

    /// Complete bytes for a slot: to the client if it is its turn, else held.
    #[inline]
    fn deliver(&mut self, to: Ticket, bytes: &[u8]) {
        let Some(request) = self
            .requests
            .get_mut(to.request as usize)
            .filter(|request| request.serial == to.serial)
        else {
            return;
        };
        let Some(client) = self.clients.get_mut(request.client as usize) else {
            return;
        };
        client.expect(bytes.len());
        if client.head == to.request && request.emit == to.index {
            client.out.push(bytes, &mut self.pool);
            request.emit += 1;
        } else {
            if request.held.capacity() == 0 {
                request.held = self.pool.take(bytes.len());
            }
            let at = request.held.len();
            request.held.extend_from_slice(bytes);
            if let Some(slot) = request.slot(to.index) {
                *slot = Slot::Held {
                    at,
                    len: bytes.len(),
                };
            }
        }
        self.settled(to);
    }

    /// A large reply begins.
    pub fn start(&mut self, to: Ticket, total: usize) {
        let Some(request) = self.live(to) else {
            return;
        };
        let (client_id, emit) = (request.client, request.emit);
        let Some(client) = self.clients.get_mut(client_id as usize) else {
            return;
        };
        client.average = client
            .average
            .max((total / 4).min(u32::MAX as usize / 16) as u32);
        let state = if client.head == to.request && emit == to.index {
            Slot::Direct
        } else {
            Slot::Stream {
                bytes: Vec::new(),
                done: false,
            }
        };
        if let Some(slot) = self.live(to).and_then(|request| request.slot(to.index)) {
            *slot = state;
        }
        self.outcomes.hits += 1;
    }

    /// More of a large reply.
    pub fn chunk(&mut self, to: Ticket, data: &[u8]) {
        let Some(request) = self
            .requests
            .get_mut(to.request as usize)
            .filter(|request| request.serial == to.serial)
        else {
            return;
        };
        let client_id = request.client;
        match request.slot(to.index) {
            Some(Slot::Direct) => {
                if let Some(client) = self.clients.get_mut(client_id as usize) {
                    client.out.push(data, &mut self.pool);
                }
                self.mark(client_id);
            }
            Some(Slot::Stream { bytes, .. }) => {
                if bytes.capacity() == 0 {
                    *bytes = self.pool.take(data.len());
                }
                bytes.extend_from_slice(data);
            }
            _ => {}
        }
    }

    /// The end of a large reply.
    pub fn end(&mut self, to: Ticket) {
        let Some(request) = self.live(to) else {
            return;
        };
        match request.slot(to.index) {
            Some(Slot::Stream { done, .. }) => *done = true,
            Some(slot @ Slot::Direct) => {
                *slot = Slot::Empty;
                request.emit += 1;
            }
            _ => return,
        }
        self.settled(to);
    }

    /// The connection broke in the middle of a large reply. Returns false if nobody had seen any of it, and
    /// the caller fails the request as usual.
    pub fn cut(&mut self, to: Ticket) -> bool {
        let Some(request) = self.live(to) else {
            return true;
        };
        let client = request.client;
        match request.slot(to.index) {
            Some(Slot::Direct) => {
                self.break_client(client);
                true
            }
            _ => false,
        }
    }

    /// Closes the client at once.
    pub fn break_client(&mut self, id: u32) {
        if let Some(client) = self.clients.get_mut(id as usize) {
            client.broken = true;
        }
        self.mark(id);
    }

    /// A slot has its answer.
    #[inline]
    fn settled(&mut self, to: Ticket) {
        let Some(request) = self.requests.get_mut(to.request as usize) else {
            return;
        };
        request.pending = request.pending.saturating_sub(1);
        let client_id = request.client;
        if let Some(client) = self.clients.get_mut(client_id as usize) {
            client.keys = client.keys.saturating_sub(1);
            if client.head == to.request {
                self.pump(client_id);
            }
        }
    }

    /// Moves everything whose turn has come to the bytes to be sent.
    fn pump(&mut self, client_id: u32) {
        let Some(client) = self.clients.get_mut(client_id as usize) else {
            return;
        };
        while let Some(request) = self.requests.get_mut(client.head as usize) {
            while request.emit < request.count {
                let emit = request.emit;
                let slot = match emit {
                    0 => &mut request.first,
                    _ => match request.rest.get_mut(emit as usize - 1) {
                        Some(slot) => slot,
                        None => break,
                    },
                };
                match slot {
                    Slot::Waiting | Slot::Direct => break,
                    Slot::Empty => {}
                    Slot::Held { at, len } => {
                        let bytes = request.held.get(*at..*at + *len).unwrap_or_default();
                        client.out.push(bytes, &mut self.pool);
                    }
                    Slot::Stream { bytes, done } => {
                        client.out.push(bytes, &mut self.pool);
                        self.pool.put(std::mem::take(bytes));
                        if !*done {
                            *slot = Slot::Direct;
                            break;
                        }
                    }
                }
                request.emit += 1;
            }
            if request.wants_more() {
                self.refill.push((client.head, request.serial));
            }
            if request.emit < request.count {
                break;
            }
            if request.shape == Shape::Get {
                let tail = request
                    .failure
                    .as_ref()
                    .map_or(&b"END\r\n"[..], Failure::wire);
                client.out.push(tail, &mut self.pool);
            }
            let done = self.requests.remove(client.head as usize);
            client.head = done.next;
            if client.head == NONE {
                client.tail = NONE;
            }
            client.requests -= 1;
            Self::recycle_into(&mut self.pool, &mut self.slot_lists, done);
        }
        self.mark(client_id);
    }

    fn recycle(&mut self, request: Request) {
        Self::recycle_into(&mut self.pool, &mut self.slot_lists, request);
    }

    #[inline]
    fn recycle_into(pool: &mut BufPool, lists: &mut Vec<Vec<Slot>>, mut request: Request) {
        pool.put(request.held);
        if request.rest.capacity() > 0 {
            for slot in request.rest.drain(..) {
                if let Slot::Stream { bytes, .. } = slot {
                    pool.put(bytes);
                }
            }
            if lists.len() < 64 && request.rest.capacity() <= 4096 {
                lists.push(request.rest);
            }
        }
    }
}

#[cfg(test)]
#[path = "replies_tests.rs"]
mod tests;
