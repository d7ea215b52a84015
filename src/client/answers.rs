//! Outcomes of requests: what each means for its request, and where its bytes go.

use super::replies::Replies;
use super::request::{Failure, Mute, Shape, Slot};
use crate::protocol::error::{ErrorKind, Words};
use crate::protocol::response::Kind;
use crate::stats::results::Failed;
use crate::upstream::conn::Ticket;
use crate::worker::buf::Lent;

/// What every failure is where they are to look alike.
const REMOTE_ERROR: &[u8] = b"SERVER_ERROR remote error\r\n";

impl Replies {
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
            // What is found by another command than a get.
            Shape::Get | Shape::GetPart => {
                match kind {
                    Kind::MetaMiss => self.outcomes.misses += 1,
                    _ => self.outcomes.hits += 1,
                }
                Mute::Nothing
            }
            Shape::Broadcast(_) => {
                return self.broadcast_answer(to, None);
            }
            Shape::Line(mute) | Shape::Number(mute) => mute,
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
        } else {
            self.pool_hides_errors = None;
        }
    }

    fn failed(&mut self, to: Ticket, failure: Failure) {
        let of_pool = self.pool_hides_errors.take();
        let hide_errors = of_pool.unwrap_or(self.miss_on_get_errors);
        let Some(request) = self.live(to) else {
            return;
        };
        let client = request.client;
        if matches!(request.shape, Shape::Broadcast(_)) {
            // Its one slot stays open until all servers have answered.
            return self.broadcast_answer(to, Some(failure));
        }
        let shape = request.shape;
        let words = self.words;
        let failure = match self.groups_errors {
            true => Failure::Line(REMOTE_ERROR.into()),
            false => failure,
        };
        self.results.ended(match &failure {
            Failure::Kind(kind) => Failed::of(*kind),
            Failure::Line(line) => Failed::of_line(line),
        });
        let Some(request) = self.live(to) else {
            return;
        };
        match request.slot(to.index) {
            // Half a value has been sent; there is no way to take it back.
            Some(Slot::Direct) => return self.break_client(client),
            Some(slot) => {
                if let Slot::Stream { mut bytes, .. } = std::mem::replace(slot, Slot::Empty) {
                    if let Some(client) = self.clients.get_mut(client as usize) {
                        client.held = client.held.saturating_sub(bytes.len());
                    }
                    bytes.clear(&mut self.pool);
                }
            }
            None => return,
        }
        let Some(request) = self.live(to) else {
            return;
        };
        match shape {
            Shape::Get | Shape::GetPart => {
                if hide_errors {
                    self.outcomes.hidden_errors += 1;
                    self.outcomes.misses += 1;
                } else if let Some(request) = self.live(to) {
                    request.failure.get_or_insert(failure);
                }
                self.settled(to);
            }
            Shape::Line(Mute::All) | Shape::Number(Mute::All) => self.hide(to),
            Shape::Number(_) if words == Words::Mcrouter && !is_about_the_item(&failure) => {
                self.deliver(to, b"NOT_FOUND\r\n");
            }
            Shape::Line(_) | Shape::Number(_) => self.deliver(to, failure.wire_in(words)),
            Shape::Broadcast(_) => {}
            Shape::MetaGet(mute) => {
                let text = std::mem::take(&mut request.held);
                // An error line of the server is about the command itself (a bad flag), not about the item.
                let server_said =
                    matches!(&failure, Failure::Line(line) if line.starts_with(b"CLIENT_ERROR"));
                if !hide_errors || server_said {
                    self.deliver(to, failure.wire_in(words));
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
            let words = self.words;
            if mute == Mute::All {
                self.hide(to);
            } else {
                self.deliver(
                    to,
                    failure.as_ref().map_or(b"OK\r\n", |one| one.wire_in(words)),
                );
            }
        } else if let Some(client) = self.clients.get_mut(client_id as usize) {
            client.keys = client.keys.saturating_sub(1);
        }
    }

    /// Complete bytes for a slot: to the client if it is its turn, else held.
    #[inline]
    pub(super) fn deliver(&mut self, to: Ticket, bytes: &[u8]) {
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
        request.pending = request.pending.saturating_sub(1);
        client.keys = client.keys.saturating_sub(1);
        let is_first = client.head == to.request;
        if is_first && request.emit == to.index {
            if matches!(request.slot(to.index), Some(Slot::Direct)) {
                // The client has the beginning of something else; nothing may follow that but its end.
                client.broken = true;
            }
            client.out.push(bytes, &mut self.pool);
            request.emit += 1;
            let waits = matches!(request.slot(request.emit), Some(Slot::Waiting));
            let id = request.client;
            if !waits || client.long.is_some() {
                self.pump(id);
            } else if !client.dirty {
                client.dirty = true;
                self.dirty.push(id);
            }
            return;
        }
        let (at, len) = (request.held.len(), bytes.len());
        client.held += len;
        if request.held.capacity() == 0 {
            request.held = self.pool.take(len);
        }
        request.held.extend_from_slice(bytes);
        if let Some(slot) = request.slot(to.index) {
            let held = Slot::Held { at, len };
            if let Slot::Stream { mut bytes, .. } = std::mem::replace(slot, held) {
                client.held = client.held.saturating_sub(bytes.len());
                bytes.clear(&mut self.pool);
            }
        }
        if is_first && client.long.is_some() {
            let id = request.client;
            self.pump(id);
        }
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
        client.expect(total);
        let state = if client.head == to.request && emit == to.index {
            Slot::Direct
        } else {
            Slot::Stream {
                bytes: Box::default(),
                done: false,
            }
        };
        if let Some(slot) = self.live(to).and_then(|request| request.slot(to.index)) {
            *slot = state;
        }
        self.outcomes.hits += 1;
    }

    /// More of a large reply; `data` may be part of the `lent` buffer.
    pub fn chunk(&mut self, to: Ticket, data: &[u8], lent: Option<&Lent>) {
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
                    client.out.push_part(data, lent, &mut self.pool);
                }
                self.mark(client_id);
            }
            Some(Slot::Stream { bytes, .. }) => {
                bytes.push_part(data, lent, &mut self.pool);
                if let Some(client) = self.clients.get_mut(client_id as usize) {
                    client.held += data.len();
                }
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
}

/// Whether a server refused the command for what the item is: no number.
fn is_about_the_item(failure: &Failure) -> bool {
    matches!(failure, Failure::Line(line) if line.starts_with(b"CLIENT_ERROR"))
}
