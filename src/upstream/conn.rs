//! One connection to a memcached server: what was asked, in order, and what comes back for it.
//!
//! Requests are encoded straight into the bytes to be sent. Single-key gets of one turn, whoever asks, join
//! into one multi-key `get` (*get coalescing*): the last entry stays open for more keys until something else
//! is queued or the bytes are written. Replies are taken apart by key and handed to a [`Sink`].
//!
//! Invariants: replies arrive in the order of the entries; a `VALUE` must carry the key of a waiting slot of
//! the first entry, a meta reply the opaque that was sent, a line must be of the kind its command can have,
//! and nothing is an answer to what has not been written yet.
//! Anything else is [`Broken`]: the caller closes the connection, because nothing is worse than a reply
//! given to the wrong request. An entry whose requests have timed out stays as a *tombstone*: its late reply
//! is recognised and thrown away.
//!
//! No sockets, no clocks; who is asking is opaque to this module ([`Ticket`]).

use std::collections::VecDeque;

use super::keys::{KeyLog, KeyRef};
pub use super::types::{Asking, Broken, Class, ReplyKind, Sink, Ticket};
use crate::protocol::request::GetCommand;
use crate::stats::latency::Timing;
use crate::worker::buf::{Buf, BufPool, Lent, shrink_queue};

/// Values up to this many bytes are delivered whole; larger ones are passed on while they arrive.
pub const STREAM_ABOVE: usize = 32 * 1024;

/// A large value must bring this many bytes within each timeout, or it has timed out.
const MIN_PROGRESS: usize = 64 * 1024;

/// The most keys one coalesced get carries.
const MAX_BATCH_KEYS: u32 = 64;

/// What the key of a request that waits is taken to need, in bytes.
const USUAL_KEY: usize = 32;

/// The longest coalesced `get` line, in bytes.
const MAX_BATCH_BYTES: usize = 8 * 1024;

/// The longest `gat` line: memcached closes a connection over 2 KiB of any other unfinished line than `get`.
const MAX_TOUCH_BYTES: usize = 1800;

/// What a fresh connection must answer before it is used.
pub const PROBE: &[u8] = b"version\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Get(GetCommand),
    Line(Class),
    /// The `version` that a fresh connection must answer.
    Probe,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shape: Shape,
    /// Slots still without an answer.
    pub(super) slots: u32,
    /// Slots that it had.
    pub(super) asked: u32,
    pub(super) timing: Timing,
    /// When its requests give up, in the caller's microseconds.
    pub(super) deadline: u64,
    pub(super) tombstone: bool,
    /// Its key is in [`Conn::updates`].
    pub(super) tracked: bool,
    /// Where its line begins, counted in all bytes of this connection.
    pub(super) begins: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) to: Ticket,
    pub(super) key: KeyRef,
}

/// The last entry, while more keys can join it.
#[derive(Debug)]
struct OpenBatch {
    command: (GetCommand, i32),
    request: (u32, u32),
    /// Where its line begins in the bytes to be sent, and where that line will be among the keys.
    line: (usize, u32),
    /// How long the bytes to be sent may get with it.
    max_out: usize,
    /// How many more keys it takes.
    room: u32,
}

/// A data block that is passed on while it arrives.
#[derive(Debug)]
pub(super) struct Stream {
    /// Bytes still to come, the line end included.
    pub(super) left: usize,
    /// How many were still to come when the deadline was last moved.
    pub(super) left_at_deadline: usize,
}

impl Stream {
    pub(super) fn new(left: usize) -> Stream {
        Stream {
            left,
            left_at_deadline: left,
        }
    }
}

/// A connection's queue and reply matcher.
#[derive(Debug, Default)]
pub struct Conn {
    pub(super) out: Buf,
    pub(super) input: Buf,
    pub(super) entries: VecDeque<Entry>,
    pub(super) slots: VecDeque<Slot>,
    pub(super) keys: KeyLog,
    open: Option<OpenBatch>,
    pub(super) stream: Option<Stream>,
    pub(super) scratch: Vec<u8>,
    /// The keys of the entries that are tracked, in their order.
    pub(super) updates: VecDeque<Box<[u8]>>,
    /// What a server says its uptime is, while its statistics are being read.
    pub(super) uptime: Option<u64>,
    /// Bytes of `out` that have been written on this connection.
    pub(super) written: u64,
    /// Whether the server knows `lease-get`, once it has been asked on this connection.
    pub(super) leases: Option<bool>,
}

impl Conn {
    /// Requests (keys of gets count each) without an answer.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Whether any of them has not timed out yet.
    pub fn is_waited_for(&self) -> bool {
        self.entries.iter().any(|entry| !entry.tombstone)
    }

    /// Command lines without a complete answer; keys that share a line count once.
    pub fn lines(&self) -> usize {
        self.entries.len()
    }

    /// Bytes to be sent.
    pub fn out(&self) -> &Buf {
        &self.out
    }

    /// How many bytes are to be sent.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Whether the server knows `lease-get`; `None` while it has not said so on this connection.
    pub fn knows_leases(&self) -> Option<bool> {
        self.leases
    }

    /// Whether nothing is asked for or to be sent.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.out.is_empty()
    }

    /// How many bytes have been written on this connection.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The connection is gone: what waits can be sent on a new one as if nothing had been. Returns whether that is so; it
    /// is not if anything of it had been sent, or depends on what the server has said.
    pub fn begin_again(&mut self, pool: &mut BufPool) -> bool {
        let depends = |entry: &Entry| entry.shape == Shape::Line(Class::LeaseSet);
        let can = self
            .entries
            .front()
            .is_some_and(|first| !self.is_sent(first))
            && !self.entries.iter().any(depends);
        if can {
            self.input.clear(pool);
            self.uptime = None;
            self.leases = None;
        }
        can
    }

    /// Whether any answer would be one that was not asked for.
    #[cfg(test)]
    pub fn expects_nothing(&self) -> bool {
        !self
            .entries
            .front()
            .is_some_and(|entry| self.is_sent(entry))
    }

    /// Bytes of memory in buffers and for what is waited for.
    pub fn held(&self) -> usize {
        self.out.held()
            + self.input.held()
            + self.entries.len() * size_of::<Entry>()
            + self.slots.len() * (size_of::<Slot>() + USUAL_KEY)
    }

    /// Gives back what the queues held at their longest, if they are much shorter by now.
    pub fn shrink(&mut self) {
        shrink_queue(&mut self.entries);
        shrink_queue(&mut self.slots);
        self.keys.shrink();
    }

    /// Whether a large value is arriving, and for whom.
    pub fn streaming(&self) -> Option<Ticket> {
        self.stream
            .as_ref()
            .and_then(|_| self.slots.front().map(|slot| slot.to))
    }

    /// Queues one key of a retrieval; joins it to the open batch where that is allowed.
    ///
    /// `coalesce` lets keys of different requests share a line. Returns whether a new line was begun.
    pub fn get(
        &mut self,
        (command, exptime): (GetCommand, i32),
        key: &[u8],
        Asking {
            to,
            since,
            deadline,
        }: Asking,
        coalesce: bool,
        pool: &mut BufPool,
    ) -> bool {
        if self.join((command, exptime), key, to, coalesce, pool) {
            return false;
        }
        self.begin_line((command, exptime), key, to, (since, deadline), pool);
        true
    }

    fn begin_line(
        &mut self,
        (command, exptime): (GetCommand, i32),
        key: &[u8],
        to: Ticket,
        (since, deadline): (u64, u64),
        pool: &mut BufPool,
    ) {
        self.seal(pool);
        let begins = self.written + self.out.len() as u64;
        let out = self.out.back(pool);
        let max_line = match command.touches() {
            true => MAX_TOUCH_BYTES,
            false => MAX_BATCH_BYTES,
        };
        let line_start = out.len();
        out.extend_from_slice(command.name());
        if command.touches() {
            out.push(b' ');
            out.extend_from_slice(itoa::Buffer::new().format(exptime).as_bytes());
        }
        out.push(b' ');
        let at = self.keys.end();
        self.slots.push_back(Slot {
            to,
            key: KeyRef::within(at, out.len() - line_start, key.len()),
        });
        out.extend_from_slice(key);
        self.entries.push_back(Entry {
            shape: Shape::Get(command),
            slots: 1,
            asked: 1,
            timing: Timing::new(
                match command.touches() {
                    true => b"gat ",
                    false => b"get ",
                },
                since,
            ),
            deadline,
            tombstone: false,
            tracked: false,
            begins,
        });
        self.open = Some(OpenBatch {
            command: (command, exptime),
            // What nobody waits for are many requests.
            request: match to == Ticket::NOBODY {
                true => (to.request, to.serial.wrapping_add(1)),
                false => (to.request, to.serial),
            },
            line: (line_start, at),
            max_out: line_start + max_line,
            room: MAX_BATCH_KEYS - 1,
        });
    }

    /// Adds a key of a retrieval to the last line, if that is still open for it. Returns whether it was.
    #[inline]
    pub fn join(
        &mut self,
        command: (GetCommand, i32),
        key: &[u8],
        to: Ticket,
        coalesce: bool,
        pool: &mut BufPool,
    ) -> bool {
        let (Some(open), Some(entry)) = (&mut self.open, self.entries.back_mut()) else {
            return false;
        };
        let out = self.out.back(pool);
        let same_request = open.request == (to.request, to.serial);
        if open.room == 0
            || open.command != command
            || !(same_request || (coalesce && !command.0.touches()))
            || out.len() + key.len() > open.max_out
        {
            return false;
        }
        open.room -= 1;
        out.push(b' ');
        let (line_start, at) = open.line;
        self.slots.push_back(Slot {
            to,
            key: KeyRef::within(at, out.len() - line_start, key.len()),
        });
        out.extend_from_slice(key);
        entry.slots += 1;
        entry.asked += 1;
        true
    }

    /// Queues a complete command: `head` is its line with the line end, `block` its data block or nothing.
    /// The block may be part of the `lent` buffer. `guard` is what a meta reply must carry: the opaque, and after a space the key if that is to come
    /// back; empty otherwise.
    pub fn command(
        &mut self,
        class: Class,
        head: &[u8],
        (block, lent): (&[u8], Option<&Lent>),
        guard: &[u8],
        Asking {
            to,
            since,
            deadline,
        }: Asking,
        pool: &mut BufPool,
    ) {
        self.seal(pool);
        let begins = self.written + self.out.len() as u64;
        self.out.push(head, pool);
        if !block.is_empty() {
            self.out.push_part(block, lent, pool);
        }
        self.entries.push_back(Entry {
            shape: Shape::Line(class),
            slots: 1,
            asked: 1,
            timing: Timing::new(head, since),
            deadline,
            tombstone: false,
            tracked: false,
            begins,
        });
        let key = if guard.is_empty() {
            KeyRef::EMPTY
        } else {
            self.keys.push(guard)
        };
        self.slots.push_back(Slot { to, key });
    }

    /// The command that was queued last changes this key: it is kept until that has been answered.
    pub fn track(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.back_mut() {
            entry.tracked = true;
            self.updates.push_back(key.into());
        }
    }

    /// The keys of tracked commands that have not been answered, in their order. To be called before
    /// [`Conn::break_off`], which forgets them.
    pub fn unanswered_updates(&mut self) -> VecDeque<Box<[u8]>> {
        std::mem::take(&mut self.updates)
    }

    /// A fresh connection is asked for its `version` ([`PROBE`], which the caller writes) before anything
    /// that has been queued meanwhile.
    pub fn probe(&mut self, deadline: u64) {
        self.entries.push_front(Entry {
            shape: Shape::Probe,
            slots: 1,
            asked: 0,
            timing: Timing::default(),
            deadline,
            tombstone: false,
            tracked: false,
            begins: 0,
        });
        self.slots.push_front(Slot {
            to: Ticket::NOBODY,
            key: KeyRef::EMPTY,
        });
    }

    /// Ends the open batch; no more keys can join it. To be called before the bytes are written.
    pub fn seal(&mut self, pool: &mut BufPool) {
        if let Some(open) = self.open.take() {
            let out = self.out.back(pool);
            // So the keys can be read until they have been answered.
            self.keys.push(out.get(open.line.0..).unwrap_or_default());
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The first `n` bytes of [`Conn::out`] have been written.
    pub fn wrote(&mut self, n: usize, pool: &mut BufPool) {
        self.written += n as u64;
        self.out.consume(n, pool);
    }

    /// How many bytes of [`Conn::out`] may be written if at most `most` lines are to be under way. Lines that have timed out
    /// and are next to be sent are dropped, unless they are tracked. Ends the open batch, unless nothing may be written.
    pub fn admit(&mut self, most: usize, now: u64, pool: &mut BufPool) -> usize {
        let under_way = self.entries.partition_point(|entry| self.is_sent(entry));
        while under_way < most
            && let Some(entry) = self.entries.get_mut(under_way)
            && entry.tombstone
            && entry.begins == self.written
        {
            if entry.tracked {
                // Its answer is not overdue before it is asked.
                entry.deadline = entry.deadline.max(now);
                break;
            }
            self.drop_unsent(under_way, pool);
        }
        let end = match self.entries.get(under_way.max(most)) {
            Some(first) => first.begins.saturating_sub(self.written),
            None => u64::MAX,
        };
        // Where the open batch begins in its buffer is known only while nothing of that is taken away.
        if end > 0 {
            self.seal(pool);
        }
        end.min(self.out.len() as u64) as usize
    }

    /// Drops a line that is the next to be sent.
    fn drop_unsent(&mut self, place: usize, pool: &mut BufPool) {
        self.seal(pool);
        let before = self.entries.iter().take(place);
        let slot: usize = before.map(|entry| entry.slots as usize).sum();
        let Some(entry) = self.entries.remove(place) else {
            return;
        };
        // Their keys are forgotten with the next ones.
        self.slots.drain(slot..slot + entry.slots as usize);
        let end = match self.entries.get(place) {
            Some(next) => next.begins,
            None => self.written + self.out.len() as u64,
        };
        self.wrote(end.saturating_sub(entry.begins) as usize, pool);
    }

    /// When the connection next needs attention: its oldest live request gives up, or its first answer has
    /// been overdue for `patience`. While it is not connected no answer can be overdue: then that is `None`.
    pub fn next_event(&self, patience: Option<u64>) -> Option<u64> {
        // The first one's deadline may have been moved beyond those of the others.
        let first = self.entries.front().and_then(|entry| match entry {
            Entry {
                shape: Shape::Probe,
                ..
            } => None,
            entry if entry.tombstone => patience.map(|more| entry.deadline.saturating_add(more)),
            entry => Some(entry.deadline),
        });
        let other = self
            .entries
            .iter()
            .skip(1)
            .find(|entry| !entry.tombstone)
            .map(|entry| entry.deadline);
        match (first, other) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Makes tombstones of the entries that are due at `now`; calls `give_up` for each request in them and `late`
    /// for each entry with the number of its requests. Returns how many entries were due.
    pub fn expire(
        &mut self,
        now: u64,
        mut give_up: impl FnMut(Ticket),
        mut late: impl FnMut(Timing, u32),
    ) -> usize {
        let mut slot = 0;
        let mut due = 0;
        for (place, entry) in self.entries.iter_mut().enumerate() {
            // The probe has the connection's own deadline.
            let is_due = entry.deadline <= now && entry.shape != Shape::Probe;
            // The first may be a probe, or have been given more time than those behind it.
            if !is_due && place > 0 {
                break;
            }
            if is_due && !entry.tombstone {
                entry.tombstone = true;
                // It may be the open one; nothing joins what nobody waits for.
                if let Some(open) = &mut self.open {
                    open.room = 0;
                }
                due += 1;
                late(entry.timing, entry.asked);
                for waiting in self.slots.iter_mut().skip(slot).take(entry.slots as usize) {
                    give_up(std::mem::replace(&mut waiting.to, Ticket::NOBODY));
                }
            }
            slot += entry.slots as usize;
        }
        due
    }

    /// The connection is ready, and nothing that is queued has been sent before: the answers to requests that
    /// have timed out meanwhile are overdue from now on.
    pub fn begin_waiting(&mut self, now: u64) {
        for entry in self.entries.iter_mut().take_while(|entry| entry.tombstone) {
            entry.deadline = entry.deadline.max(now);
        }
    }

    /// Whether the first entry timed out before `limit` and has still not been answered.
    pub fn stuck_since(&self, limit: u64) -> bool {
        self.entries
            .front()
            .is_some_and(|entry| entry.tombstone && entry.deadline <= limit)
    }

    /// Progress on a large value: its entry's deadline moves, if enough has come since it last did. A server
    /// that stopped half-way and answers other requests now would otherwise feed the value for ever.
    pub fn extend_deadline(&mut self, deadline: u64) {
        if let Some(stream) = &mut self.stream
            && stream.left_at_deadline - stream.left >= MIN_PROGRESS
            && let Some(entry) = self.entries.front_mut()
            && !entry.tombstone
        {
            stream.left_at_deadline = stream.left;
            entry.deadline = deadline;
        }
    }

    /// The connection is gone: forgets everything and returns who still waited, in order. The first one is
    /// half-answered if `streaming` was `Some`.
    pub fn break_off(&mut self, pool: &mut BufPool) -> impl Iterator<Item = Ticket> + use<> {
        let slots = std::mem::take(&mut self.slots);
        self.entries.clear();
        self.keys.reset();
        self.updates.clear();
        self.uptime = None;
        self.open = None;
        self.stream = None;
        self.leases = None;
        self.written = 0;
        self.out.clear(pool);
        self.input.clear(pool);
        slots
            .into_iter()
            .map(|slot| slot.to)
            .filter(|to| *to != Ticket::NOBODY)
    }
}

#[cfg(test)]
#[path = "conn_tests.rs"]
mod tests;
