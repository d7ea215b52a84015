//! One connection to a memcached server: what was asked, in order, and what comes back for it.
//!
//! Requests are encoded straight into the bytes to be sent. Single-key gets of one turn, whoever asks, join
//! into one multi-key `get` (*get coalescing*): the last entry stays open for more keys until something else
//! is queued or the bytes are written. Replies are taken apart by key and handed to a [`Sink`].
//!
//! Invariants: replies arrive in the order of the entries; a `VALUE` must carry the key of a waiting slot of
//! the first entry, a meta reply the opaque that was sent, a line must be of the kind its command can have.
//! Anything else is [`Broken`]: the caller closes the connection, because nothing is worse than a reply
//! given to the wrong request. An entry whose requests have timed out stays as a *tombstone*: its late reply
//! is recognised and thrown away.
//!
//! No sockets, no clocks; who is asking is opaque to this module ([`Ticket`]).

use std::collections::VecDeque;

use super::keys::{KeyLog, KeyRef};
use crate::protocol::request::GetCommand;
use crate::protocol::response::{self, Kind};
use crate::worker::buf::{Buf, BufPool};

/// Values up to this many bytes are delivered whole; larger ones are passed on while they arrive.
pub const STREAM_ABOVE: usize = 32 * 1024;

/// A large value must bring this many bytes within each timeout, or it has timed out.
const MIN_PROGRESS: usize = 64 * 1024;

/// The most keys one coalesced get carries.
const MAX_BATCH_KEYS: u32 = 64;

/// The longest coalesced `get` line, in bytes.
const MAX_BATCH_BYTES: usize = 8 * 1024;

/// The longest `gat` line: memcached closes a connection over 2 KiB of any other unfinished line than `get`.
const MAX_TOUCH_BYTES: usize = 1800;

/// What a fresh connection must answer before it is used.
pub const PROBE: &[u8] = b"version\r\n";

/// The largest data block a server may announce, in bytes.
const MAX_BLOCK: usize = 1 << 30;

/// Who gets the answer; this module only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The request's place in the worker's table.
    pub request: u32,
    /// Its serial number, so that a reused place isn't taken for it.
    pub serial: u32,
    /// Which of the request's keys.
    pub index: u32,
    /// The route frame that decides on the answer, or [`Ticket::NO_FRAME`].
    pub frame: u32,
}

impl Ticket {
    /// The answer goes to the client as it is.
    pub const NO_FRAME: u32 = u32::MAX;
    /// Nobody waits (any more).
    pub const NOBODY: Ticket = Ticket {
        request: u32::MAX,
        serial: 0,
        index: 0,
        frame: Ticket::NO_FRAME,
    };
}

/// The terms of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Who gets the answer.
    pub to: Ticket,
    /// When it gives up, in the caller's microseconds.
    pub deadline: u64,
}

/// Receives what the replies mean. Each ticket gets exactly one `miss`, `reply`, `fail`, or `start` …
/// `end`, unless the connection breaks; then [`Conn::break_off`] returns those that got none.
pub trait Sink {
    /// The key is not there.
    fn miss(&mut self, to: Ticket);
    /// A complete reply: a line, or a line and its data block. For `get`s the `VALUE` without `END`.
    fn reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]);
    /// A large reply begins; `total` is its length in bytes, line and block.
    fn start(&mut self, to: Ticket, total: usize);
    /// The next bytes of it.
    fn chunk(&mut self, to: Ticket, bytes: &[u8]);
    /// It is complete.
    fn end(&mut self, to: Ticket);
    /// An error line from the server, with its line end.
    fn error(&mut self, to: Ticket, line: &[u8]);
    /// The connection's own `version` was answered.
    fn ready(&mut self);
}

/// What a complete reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A `VALUE` and its block.
    Value,
    /// A line of this kind, for meta with its block.
    Line(Kind),
}

/// Why a connection can't be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reply's key or opaque is not the one asked for.
    WrongKey,
    /// A reply that this command can't have.
    WrongKind,
    /// Bytes that nothing was asked for.
    Unasked,
    /// Something that is not memcached's protocol.
    Garbage,
}

impl Broken {
    /// For the log.
    pub const fn describe(self) -> &'static str {
        match self {
            Broken::WrongKey => "it answered with a key or opaque that was not asked for",
            Broken::WrongKind => "it answered with a reply that this command cannot have",
            Broken::Unasked => "it sent bytes that nothing was asked for",
            Broken::Garbage => "it sent something that is not memcached's protocol",
        }
    }
}

/// The kinds of commands, by the replies they can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// set, add, replace, append, prepend, cas
    Store,
    /// delete
    Delete,
    /// incr, decr
    Arith,
    /// touch
    Touch,
    /// flush_all
    Flush,
    /// mg, ms, md, ma; `own_opaque` if the opaque was added here and is to be taken out of the reply
    Meta {
        /// Whether ringroad added the opaque.
        own_opaque: bool,
    },
    /// me
    MetaDebug,
}

impl Class {
    fn allows(self, kind: Kind) -> bool {
        match self {
            Class::Store => {
                matches!(
                    kind,
                    Kind::Stored | Kind::NotStored | Kind::Exists | Kind::NotFound
                )
            }
            Class::Delete => matches!(kind, Kind::Deleted | Kind::NotFound),
            Class::Arith => matches!(kind, Kind::Number | Kind::NotFound),
            Class::Touch => matches!(kind, Kind::Touched | Kind::NotFound),
            Class::Flush => kind == Kind::Ok,
            Class::Meta { .. } => matches!(
                kind,
                Kind::MetaHeader
                    | Kind::MetaValue(_)
                    | Kind::MetaMiss
                    | Kind::MetaNotFound
                    | Kind::MetaNotStored
                    | Kind::MetaExists
            ),
            Class::MetaDebug => matches!(kind, Kind::MetaDebug | Kind::MetaMiss),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Get(GetCommand),
    Line(Class),
    /// The `version` that a fresh connection must answer.
    Probe,
}

#[derive(Debug)]
struct Entry {
    shape: Shape,
    /// Slots still without an answer.
    slots: u32,
    /// When its requests give up, in the caller's microseconds.
    deadline: u64,
    tombstone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    to: Ticket,
    key: KeyRef,
}

/// The last entry, while more keys can join it.
#[derive(Debug)]
struct OpenBatch {
    request: (u32, u32),
    line_start: usize,
    keys: u32,
}

/// A data block that is passed on while it arrives.
#[derive(Debug)]
struct Stream {
    /// Bytes still to come, the line end included.
    left: usize,
    /// How many were still to come when the deadline was last moved.
    left_at_deadline: usize,
}

impl Stream {
    fn new(left: usize) -> Stream {
        Stream {
            left,
            left_at_deadline: left,
        }
    }
}

/// A connection's queue and reply matcher.
#[derive(Debug, Default)]
pub struct Conn {
    out: Buf,
    input: Buf,
    entries: VecDeque<Entry>,
    slots: VecDeque<Slot>,
    keys: KeyLog,
    open: Option<OpenBatch>,
    stream: Option<Stream>,
    scratch: Vec<u8>,
}

impl Conn {
    /// Requests (keys of gets count each) without an answer.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Bytes to be sent.
    pub fn out(&self) -> &[u8] {
        self.out.pending()
    }

    /// Whether nothing is asked for or to be sent.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.out.is_empty()
    }

    /// Bytes of memory in buffers.
    pub fn buffered(&self) -> usize {
        self.out.len() + self.input.len()
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
        Asking { to, deadline }: Asking,
        coalesce: bool,
        pool: &mut BufPool,
    ) -> bool {
        let joined = self.join(command, key, to, coalesce, pool);
        if !joined {
            self.seal(pool);
            let out = self.out.back(pool);
            let line_start = out.len();
            out.extend_from_slice(command.name());
            if command.touches() {
                out.push(b' ');
                out.extend_from_slice(itoa::Buffer::new().format(exptime).as_bytes());
            }
            out.push(b' ');
            out.extend_from_slice(key);
            self.entries.push_back(Entry {
                shape: Shape::Get(command),
                slots: 1,
                deadline,
                tombstone: false,
            });
            self.open = Some(OpenBatch {
                request: (to.request, to.serial),
                line_start,
                keys: 1,
            });
        }
        let key = self.keys.push(key);
        self.slots.push_back(Slot { to, key });
        !joined
    }

    #[inline]
    fn join(
        &mut self,
        command: GetCommand,
        key: &[u8],
        to: Ticket,
        coalesce: bool,
        pool: &mut BufPool,
    ) -> bool {
        let (Some(open), Some(entry)) = (&mut self.open, self.entries.back_mut()) else {
            return false;
        };
        let same_request = open.request == (to.request, to.serial);
        let max_bytes = if command.touches() {
            MAX_TOUCH_BYTES
        } else {
            MAX_BATCH_BYTES
        };
        let out = self.out.back(pool);
        if entry.tombstone
            || entry.shape != Shape::Get(command)
            || !(same_request || (coalesce && !command.touches()))
            || open.keys >= MAX_BATCH_KEYS
            || out.len() - open.line_start + key.len() > max_bytes
        {
            return false;
        }
        out.push(b' ');
        out.extend_from_slice(key);
        open.keys += 1;
        entry.slots += 1;
        true
    }

    /// Queues a complete command: `head` is its line with the line end, `block` its data block or nothing.
    /// `guard` is what a meta reply must carry: the opaque, and after a space the key if that is to come
    /// back; empty otherwise.
    pub fn command(
        &mut self,
        class: Class,
        head: &[u8],
        block: &[u8],
        guard: &[u8],
        Asking { to, deadline }: Asking,
        pool: &mut BufPool,
    ) {
        self.seal(pool);
        self.out.push(head, pool);
        self.out.push(block, pool);
        self.entries.push_back(Entry {
            shape: Shape::Line(class),
            slots: 1,
            deadline,
            tombstone: false,
        });
        let key = if guard.is_empty() {
            KeyRef::EMPTY
        } else {
            self.keys.push(guard)
        };
        self.slots.push_back(Slot { to, key });
    }

    /// A fresh connection is asked for its `version` ([`PROBE`], which the caller writes) before anything
    /// that has been queued meanwhile.
    pub fn probe(&mut self, deadline: u64) {
        self.entries.push_front(Entry {
            shape: Shape::Probe,
            slots: 1,
            deadline,
            tombstone: false,
        });
        self.slots.push_front(Slot {
            to: Ticket::NOBODY,
            key: KeyRef::EMPTY,
        });
    }

    /// Ends the open batch; no more keys can join it. To be called before the bytes are written.
    pub fn seal(&mut self, pool: &mut BufPool) {
        if self.open.take().is_some() {
            self.out.push(b"\r\n", pool);
        }
    }

    /// The first `n` bytes of [`Conn::out`] have been written.
    pub fn wrote(&mut self, n: usize, pool: &mut BufPool) {
        self.out.consume(n, pool);
    }

    /// Bytes have arrived.
    ///
    /// # Errors
    /// [`Broken`] if they can't be what was asked for; the connection must be closed then.
    pub fn receive(
        &mut self,
        data: &[u8],
        sink: &mut impl Sink,
        pool: &mut BufPool,
    ) -> Result<(), Broken> {
        if self.input.is_empty() {
            let used = self.replies(data, sink)?;
            if let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty()) {
                self.input.push(rest, pool);
            }
            return Ok(());
        }
        self.input.push(data, pool);
        let bytes = self.input.take();
        let used = self.replies(&bytes, sink);
        self.input
            .restore(bytes, *used.as_ref().unwrap_or(&0), pool);
        used.map(|_| ())
    }

    /// Handles as many complete replies as `buf` holds; returns the bytes used.
    fn replies(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let mut rest = buf;
        while !rest.is_empty() {
            let used = if self.stream.is_some() {
                self.stream_on(rest, sink)?
            } else {
                let Some(entry) = self.entries.front() else {
                    return Err(Broken::Unasked);
                };
                match entry.shape {
                    Shape::Get(_) => self.get_reply(rest, sink)?,
                    Shape::Line(class) => self.line_reply(class, rest, sink)?,
                    Shape::Probe => self.probe_reply(rest, sink)?,
                }
            };
            if used == 0 {
                break;
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(buf.len() - rest.len())
    }

    fn get_reply(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        if let Some(value) = response::value(line) {
            if value.len > MAX_BLOCK {
                return Err(Broken::Garbage);
            }
            let total = used + value.len + 2;
            let whole = buf.get(..total);
            if whole.is_none() && total <= STREAM_ABOVE {
                return Ok(0);
            }
            self.skip_to(value.key, sink)?;
            let Some(slot) = self.slots.front() else {
                return Err(Broken::WrongKey);
            };
            let Some(bytes) = whole else {
                sink.start(slot.to, total);
                sink.chunk(slot.to, buf.get(..used).unwrap_or_default());
                self.stream = Some(Stream::new(value.len + 2));
                return Ok(used);
            };
            if !bytes.ends_with(b"\r\n") {
                return Err(Broken::Garbage);
            }
            sink.reply(slot.to, ReplyKind::Value, bytes);
            self.answered();
            return Ok(total);
        }
        match response::kind(line) {
            Kind::End => {
                while self.entries.front().is_some_and(|entry| entry.slots > 0) {
                    if let Some(slot) = self.slots.front() {
                        sink.miss(slot.to);
                    }
                    self.answered();
                }
            }
            kind if kind.is_error() => {
                let line = buf.get(..used).unwrap_or_default();
                while self.entries.front().is_some_and(|entry| entry.slots > 0) {
                    if let Some(slot) = self.slots.front() {
                        sink.error(slot.to, line);
                    }
                    self.answered();
                }
            }
            Kind::Unknown => return Err(Broken::Garbage),
            _ => return Err(Broken::WrongKind),
        }
        self.entries.pop_front();
        Ok(used)
    }

    /// Memcached answers the keys of a line in their order and leaves out those it has not, so the slots
    /// before the one that is answered are misses.
    fn skip_to(&mut self, key: &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        let slots = self.entries.front().map_or(0, |entry| entry.slots) as usize;
        let found = self
            .slots
            .iter()
            .take(slots)
            .position(|slot| self.keys.get(slot.key) == key)
            .ok_or(Broken::WrongKey)?;
        for _ in 0..found {
            if let Some(slot) = self.slots.front() {
                sink.miss(slot.to);
            }
            self.answered();
        }
        Ok(())
    }

    /// The first slot has its answer.
    fn answered(&mut self) {
        if let Some(slot) = self.slots.pop_front()
            && slot.key != KeyRef::EMPTY
        {
            self.keys.release(slot.key);
        }
        if let Some(entry) = self.entries.front_mut() {
            entry.slots = entry.slots.saturating_sub(1);
        }
    }

    fn line_reply(
        &mut self,
        class: Class,
        buf: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        let Some(slot) = self.slots.front().copied() else {
            return Err(Broken::Unasked);
        };
        let kind = response::kind(line);
        if kind.is_error() {
            sink.error(slot.to, buf.get(..used).unwrap_or_default());
            self.answered();
            self.entries.pop_front();
            return Ok(used);
        }
        if kind == Kind::Unknown {
            return Err(Broken::Garbage);
        }
        if !class.allows(kind) {
            return Err(Broken::WrongKind);
        }
        let block = match kind {
            Kind::MetaValue(len) if len > MAX_BLOCK => return Err(Broken::Garbage),
            Kind::MetaValue(len) => len + 2,
            _ => 0,
        };
        let total = used + block;
        let whole = buf.get(..total);
        if whole.is_none() && total <= STREAM_ABOVE {
            return Ok(0);
        }
        let mut head = buf.get(..used).unwrap_or_default();
        let mut rewritten = false;
        if let Class::Meta { own_opaque } = class {
            let guard = Guard::of(self.keys.get(slot.key));
            if !guard.admits(line, kind) {
                return Err(Broken::WrongKey);
            }
            if own_opaque {
                self.scratch.clear();
                without_opaque(line, guard.opaque, &mut self.scratch);
                head = &self.scratch;
                rewritten = true;
            }
        }
        let Some(bytes) = whole else {
            sink.start(slot.to, head.len() + block);
            sink.chunk(slot.to, head);
            self.stream = Some(Stream::new(block));
            return Ok(used);
        };
        if !bytes.ends_with(b"\r\n") && block > 0 {
            return Err(Broken::Garbage);
        }
        if rewritten {
            self.scratch
                .extend_from_slice(bytes.get(used..).unwrap_or_default());
            sink.reply(slot.to, ReplyKind::Line(kind), &self.scratch);
            if self.scratch.capacity() > STREAM_ABOVE * 2 {
                self.scratch = Vec::new();
            }
        } else {
            sink.reply(slot.to, ReplyKind::Line(kind), bytes);
        }
        self.answered();
        self.entries.pop_front();
        Ok(total)
    }

    fn probe_reply(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        match response::kind(buf.get(..end).unwrap_or_default()) {
            Kind::Version => {
                self.answered();
                self.entries.pop_front();
                sink.ready();
                Ok(used)
            }
            Kind::Unknown => Err(Broken::Garbage),
            _ => Err(Broken::WrongKind),
        }
    }

    fn stream_on(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let (Some(stream), Some(slot)) = (&mut self.stream, self.slots.front().copied()) else {
            return Err(Broken::Unasked);
        };
        let n = stream.left.min(buf.len());
        let bytes = buf.get(..n).unwrap_or_default();
        // The last two of the bytes to come must be the line end.
        for (back, want) in [(2, b'\r'), (1, b'\n')] {
            if stream.left >= back
                && let Some(b) = bytes.get(stream.left - back)
                && *b != want
            {
                return Err(Broken::Garbage);
            }
        }
        stream.left -= n;
        sink.chunk(slot.to, bytes);
        if stream.left == 0 {
            self.stream = None;
            sink.end(slot.to);
            let line = matches!(
                self.entries.front(),
                Some(Entry {
                    shape: Shape::Line(_),
                    ..
                })
            );
            self.answered();
            if line {
                self.entries.pop_front();
            }
        }
        Ok(n)
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

    /// Makes tombstones of the entries that are due at `now`; calls `give_up` for each request in them.
    /// Returns how many entries were due.
    pub fn expire(&mut self, now: u64, mut give_up: impl FnMut(Ticket)) -> usize {
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
                due += 1;
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
        self.open = None;
        self.stream = None;
        self.out.clear(pool);
        self.input.clear(pool);
        slots
            .into_iter()
            .map(|slot| slot.to)
            .filter(|to| *to != Ticket::NOBODY)
    }
}

fn complete_line(buf: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    match response::line(buf) {
        Some((_, used)) if used > response::MAX_LINE => Err(Broken::Garbage),
        None if buf.len() > response::MAX_LINE => Err(Broken::Garbage),
        found => Ok(found),
    }
}

/// What a meta reply must carry.
struct Guard<'a> {
    opaque: &'a [u8],
    key: Option<&'a [u8]>,
}

impl<'a> Guard<'a> {
    fn of(text: &'a [u8]) -> Guard<'a> {
        let mut words = text.splitn(2, |b| *b == b' ');
        Guard {
            opaque: words.next().unwrap_or_default(),
            key: words.next(),
        }
    }

    /// Whether a reply is for what was asked. A bare `EN` of an old server carries nothing.
    fn admits(&self, line: &[u8], kind: Kind) -> bool {
        let mut opaque = kind == Kind::MetaMiss && line == b"EN";
        for word in line.split(|b| *b == b' ').skip(1) {
            match word {
                [b'O', rest @ ..] if rest != self.opaque => return false,
                [b'O', ..] => opaque = true,
                [b'k', rest @ ..] if self.key.is_some_and(|key| key != rest) => return false,
                _ => {}
            }
        }
        opaque
    }
}

/// Copies a reply line without the opaque, with its line end.
fn without_opaque(line: &[u8], opaque: &[u8], out: &mut Vec<u8>) {
    for (i, word) in line.split(|b| *b == b' ').enumerate() {
        if i > 0 {
            if word.strip_prefix(b"O") == Some(opaque) {
                continue;
            }
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "conn_tests.rs"]
mod tests;
