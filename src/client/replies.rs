//! Replies, put together in the order in which the client asked.
//!
//! A request has one slot, or one per key of a multi-key get. Answers come from several servers in any
//! order. What is next in the client's order goes straight to the bytes to be sent; everything else is held
//! until its turn. Requests of a client form a list through the request table, so an idle client owns none.
//!
//! Invariants: every request of an open client is answered exactly once and in order; answers for a request
//! that is gone (its client left) are thrown away, told apart by serial number; a client that has received
//! half of a value that can't be completed is closed, never fed something else.

use std::sync::Arc;

use slab::Slab;

use crate::protocol::error::Words;
use crate::stats::results::Results;
use crate::upstream::conn::Ticket;
use crate::worker::buf::{Buf, BufPool, shrink_slab};

pub use super::request::{Client, LongGet, Mute, Outcomes, Shape, WINDOW};
use super::request::{FIRST_AVERAGE, MIN_WINDOW, Request, Slot};

const NONE: u32 = u32::MAX;

/// All clients of a worker and their requests.
#[derive(Debug)]
pub struct Replies {
    pub(super) clients: Slab<Client>,
    pub(super) requests: Slab<Request>,
    serial: u32,
    /// The worker's buffers.
    pub pool: BufPool,
    /// Clients with something to send, or to be closed.
    pub dirty: Vec<u32>,
    /// Clients whose long get may go on.
    pub refill: Vec<u32>,
    slot_lists: Vec<Vec<Slot>>,
    /// Whether a failed get is a miss.
    pub miss_on_get_errors: bool,
    /// The same as the pool of the next failure has it, if it has.
    pub pool_hides_errors: Option<bool>,
    /// Counts of outcomes.
    pub outcomes: Outcomes,
    /// Counts of failures.
    pub results: Arc<Results>,
    /// Whose words errors have.
    pub words: Words,
    /// Whether all failures look alike to clients.
    pub groups_errors: bool,
}

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
            pool_hides_errors: None,
            outcomes: Outcomes::default(),
            results: Arc::default(),
            words: Words::Own,
            groups_errors: false,
        }
    }
}

impl Replies {
    /// A new client; returns its id, which is reused after [`Replies::close`].
    pub fn open(&mut self) -> u32 {
        self.clients.insert(Client {
            address: None,
            input: Buf::default(),
            out: Buf::default(),
            swallow: 0,
            head: NONE,
            tail: NONE,
            requests: 0,
            keys: 0,
            long: None,
            part_failure: None,
            held: 0,
            in_line: false,
            average: FIRST_AVERAGE,
            dirty: false,
            closing: false,
            broken: false,
            reset: false,
            blocked: false,
            waits: false,
            dialogues: 0,
            eof: false,
            spoken: false,
            need: 0,
        }) as u32
    }

    /// The client is gone: forgets it and everything it asked.
    pub fn close(&mut self, id: u32) {
        self.release(id);
        self.clients.try_remove(id as usize);
    }

    /// Forgets everything the client asked and what it was to get. It is to be closed.
    pub fn release(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(id as usize) else {
            return;
        };
        client.broken = true;
        client.input.clear(&mut self.pool);
        client.out.clear(&mut self.pool);
        client.long = None;
        (client.requests, client.keys, client.held) = (0, 0, 0);
        client.tail = NONE;
        let mut next = std::mem::replace(&mut client.head, NONE);
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
    #[inline]
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

    /// Whether the client may ask for more: `max_requests` outstanding (keys of gets count each, so that one
    /// client does not fill a server's queue), `max_bytes` of replies waiting or, going by their usual length,
    /// to be expected. Nothing overtakes the keys of a long get that are still to be asked for, or a `set`
    /// behind it would be executed before it.
    pub fn has_room(&self, id: u32, max_requests: usize, max_bytes: usize) -> bool {
        let Some(client) = self.clients.get(id as usize) else {
            return false;
        };
        let expected = client.keys as usize * client.average as usize;
        let waiting = client.out.len() + client.held;
        client.long.is_none()
            && (client.requests as usize) < max_requests
            && (client.keys as usize) < max_requests.max(1)
            && waiting < max_bytes
            && (client.keys == 0 || waiting + expected < max_bytes)
    }

    /// How many keys the client may have under way at a time, by the usual length of its replies.
    pub fn window(&self, id: u32, max_bytes: usize) -> usize {
        let average = self
            .clients
            .get(id as usize)
            .map_or(FIRST_AVERAGE, |client| client.average);
        (max_bytes / average.max(1) as usize).clamp(MIN_WINDOW, WINDOW)
    }

    /// Keeps the rest of a long get.
    pub fn keep_long(&mut self, id: u32, long: Box<LongGet>) {
        if let Some(client) = self.clients.get_mut(id as usize) {
            client.long = Some(long);
        }
    }

    /// Takes the rest of the client's long get, if there is room for its next part; with how many keys that
    /// may have.
    pub fn take_long(&mut self, id: u32, max_bytes: usize) -> Option<(Box<LongGet>, usize)> {
        let window = self.window(id, max_bytes);
        let client = self.clients.get_mut(id as usize)?;
        let room = (client.keys as usize) <= window / 2
            && client.out.len() + client.held < max_bytes
            && !client.broken;
        if !room {
            return None;
        }
        Some((client.long.take()?, window))
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

    /// Bytes of memory that each client holds, by its number: whole buffers, replies that wait for their turn included.
    pub fn held(&self) -> Vec<usize> {
        let mut held = vec![0; self.clients.capacity()];
        for (id, client) in &self.clients {
            let long = client.long.as_ref().map_or(0, |long| long.text.capacity());
            if let Some(held) = held.get_mut(id) {
                *held = client.out.held() + client.input.held() + long;
            }
        }
        for (_, request) in &self.requests {
            if let Some(held) = held.get_mut(request.client as usize) {
                *held += request.held();
            }
        }
        held
    }

    /// Gives memory back that nobody has needed lately.
    pub fn shrink(&mut self) {
        self.pool.shrink();
        self.slot_lists.truncate(self.slot_lists.len() * 7 / 8);
        shrink_slab(&mut self.requests);
        shrink_slab(&mut self.clients);
    }

    pub(super) fn live(&mut self, to: Ticket) -> Option<&mut Request> {
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

    /// Closes the client at once.
    pub fn break_client(&mut self, id: u32) {
        if let Some(client) = self.clients.get_mut(id as usize) {
            client.broken = true;
        }
        self.mark(id);
    }

    /// A slot has its answer.
    #[inline]
    pub(super) fn settled(&mut self, to: Ticket) {
        let Some(request) = self.requests.get_mut(to.request as usize) else {
            return;
        };
        request.pending = request.pending.saturating_sub(1);
        let client_id = request.client;
        let next = request.emit;
        let waits = matches!(request.slot(next), Some(Slot::Waiting));
        if let Some(client) = self.clients.get_mut(client_id as usize) {
            client.keys = client.keys.saturating_sub(1);
            if client.head == to.request {
                match waits && client.long.is_none() {
                    true => self.mark(client_id),
                    false => self.pump(client_id),
                }
            }
        }
    }

    /// Moves everything whose turn has come to the bytes to be sent.
    pub(super) fn pump(&mut self, client_id: u32) {
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
                        client.held = client.held.saturating_sub(*len);
                        client.out.push(bytes, &mut self.pool);
                    }
                    Slot::Stream { bytes, done } => {
                        client.held = client.held.saturating_sub(bytes.len());
                        client.out.append(bytes, &mut self.pool);
                        if !*done {
                            *slot = Slot::Direct;
                            break;
                        }
                    }
                }
                request.emit += 1;
            }
            if request.emit < request.count {
                break;
            }
            match request.shape {
                Shape::Get => {
                    let earlier = client.part_failure.take();
                    let failure = earlier.as_deref().or(request.failure.as_ref());
                    let words = self.words;
                    let tail = failure.map_or(&b"END\r\n"[..], |one| one.wire_in(words));
                    client.out.push(tail, &mut self.pool);
                }
                Shape::GetPart => {
                    if let Some(failure) = request.failure.take() {
                        client.part_failure.get_or_insert(Box::new(failure));
                    }
                }
                _ => {}
            }
            let done = self.requests.remove(client.head as usize);
            client.head = done.next;
            if client.head == NONE {
                client.tail = NONE;
            }
            client.requests -= 1;
            Self::recycle_into(&mut self.pool, &mut self.slot_lists, done);
        }
        if client.long.is_some() && self.refill.last() != Some(&client_id) {
            self.refill.push(client_id);
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
                if let Slot::Stream { mut bytes, .. } = slot {
                    bytes.clear(pool);
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
