//! One client's connection without its socket: bytes in, replies out.
//!
//! [`Session::feed`] takes what was received, cut anywhere, carries out every request that is complete and
//! appends the replies. It knows neither sockets nor the clock.
//!
//! Bounds: at most one incomplete request is kept (a `get` line of [`Limits::max_get_line`], or a command line
//! with a value of the largest item's size), and only as it arrives, however much a line announces. When
//! [`OUT_FULL`] bytes of output are waiting, even in the middle of a many-key `get`, it stops with
//! [`Fate::Full`] until the caller has sent them. An idle session owns no memory.

use memchr::memchr;

use super::VERSION;
use super::change::{ArithError, Mode, Outcome, Put};
use super::item::Now;
use super::meta;
use super::stats;
use super::store::{Items, Store};
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{MAX_DECODED, words};
use crate::protocol::number;
use crate::protocol::request::{
    Get, Limits, MAX_UNFINISHED_LINE, Parsed, Refused, Request, Store as StoreRequest,
    StoreCommand, is_binary, parse,
};

/// Bytes of waiting output at which a session stops. It may be exceeded by one value.
pub const OUT_FULL: usize = 256 << 10;

/// What to do with the connection after a [`Session::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// Send the output and read on.
    Open,
    /// Send the output, then call again with no input: there is more to do with what was received.
    Full,
    /// Send the output and close.
    Close,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Session {
    /// Received and not yet used: the beginning of a request.
    buf: Vec<u8>,
    /// Bytes of a refused value that are still to come and are thrown away.
    skip: usize,
    /// The keys of the `get` at the front of the buffer that are answered.
    served: usize,
    /// The length of the request at the front of the buffer, where known.
    want: usize,
    /// Whether the buffer is a line without its end.
    in_line: bool,
    /// Whether anything has been received.
    spoken: bool,
}

/// What a step of [`Session::run`] came to.
enum Step {
    /// A request of so many bytes is dealt with.
    Done(usize),
    /// More bytes are needed.
    More,
    /// The output is full.
    Full,
    /// The connection ends.
    Close,
}

impl Session {
    /// A fresh connection.
    pub fn new() -> Session {
        Session::default()
    }

    /// Bytes of memory that the session holds.
    pub fn held(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes `input`, carries out what is complete and appends the replies to `out`.
    ///
    /// `now` is the time of the call. Input given while the last call returned [`Fate::Full`] is kept, but a
    /// caller that wants bounded memory gives none then. After [`Fate::Close`] the session is used up.
    pub fn feed(&mut self, store: &Store, now: Now, input: &[u8], out: &mut Vec<u8>) -> Fate {
        if !input.is_empty() && !std::mem::replace(&mut self.spoken, true) && is_binary(input) {
            return Fate::Close;
        }
        if self.buf.is_empty() {
            let (used, fate) = self.run(store, now, input, out);
            if let Some(rest) = input.get(used..) {
                self.buf.extend_from_slice(rest);
            }
            return fate;
        }
        if self.still_incomplete(store, input) {
            self.buf.extend_from_slice(input);
            return Fate::Open;
        }
        self.buf.extend_from_slice(input);
        let mut buf = std::mem::take(&mut self.buf);
        let (used, fate) = self.run(store, now, &buf, out);
        buf.drain(..used.min(buf.len()));
        // An empty one is not kept: most connections are idle most of the time.
        if !buf.is_empty() {
            self.buf = buf;
        }
        fate
    }

    /// Whether the buffered beginning of a request is sure to stay one with `input`. Spares parsing it again
    /// for every packet of a long line or value.
    fn still_incomplete(&self, store: &Store, input: &[u8]) -> bool {
        let len = self.buf.len() + input.len();
        if self.want > 0 {
            return len < self.want;
        }
        // The parser has let the line grow past the common bound, so it is one that may be long.
        self.in_line
            && self.buf.len() > MAX_UNFINISHED_LINE
            && len <= limits(store).max_get_line
            && memchr(b'\n', input).is_none()
    }

    /// Deals with the requests in `bytes`; returns how many bytes are used up.
    fn run(&mut self, store: &Store, now: Now, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Fate) {
        let limits = limits(store);
        let mut items = store.lock();
        let mut used = 0;
        self.want = 0;
        self.in_line = false;
        loop {
            let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) else {
                return (bytes.len(), Fate::Open);
            };
            if self.skip > 0 {
                let skipped = self.skip.min(rest.len());
                self.skip -= skipped;
                used += skipped;
                continue;
            }
            if out.len() >= OUT_FULL {
                return (used, Fate::Full);
            }
            match self.step(store, &mut items, &limits, now, rest, out) {
                Step::Done(len) => used += len,
                Step::More => return (used, Fate::Open),
                Step::Full => return (used, Fate::Full),
                Step::Close => return (bytes.len(), Fate::Close),
            }
        }
    }

    /// Deals with the first request in `bytes`, which are not empty.
    fn step(
        &mut self,
        store: &Store,
        items: &mut Items,
        limits: &Limits,
        now: Now,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let (len, request) = match parse(bytes, limits) {
            Parsed::Request { len, request } => (len, request),
            Parsed::Close(_) => return Step::Close,
            Parsed::More { total: 0 } => {
                self.in_line = true;
                return Step::More;
            }
            Parsed::More { total } => {
                // As in memcached, a refusal does not wait for the value.
                if refuse_block(bytes, items, now, out) {
                    self.skip = total;
                    return Step::Done(0);
                }
                self.want = total;
                return Step::More;
            }
        };
        match request {
            Request::Get(get) => {
                if !self.get(&get, items, now, out) {
                    return Step::Full;
                }
            }
            Request::Refused(refused) => {
                self.skip = refused.swallow;
                refuse(&refused, bytes, items, now, out);
            }
            Request::Stats { args } => stats::render(args, store, items, now, out),
            Request::Quit => return Step::Close,
            request => execute(request, items, now, out),
        }
        Step::Done(len)
    }

    /// Answers a retrieval from the first key that is not answered yet. `false` if the output is full first.
    fn get(&mut self, get: &Get<'_>, items: &mut Items, now: Now, out: &mut Vec<u8>) -> bool {
        let exptime = now.expiry(get.exptime);
        for key in get.keys().skip(self.served) {
            if out.len() >= OUT_FULL {
                return false;
            }
            self.served += 1;
            let item = if get.command.touches() {
                items.touch(key, exptime, now)
            } else {
                items.get(key, now)
            };
            let Some(item) = item else { continue };
            let mut digits = itoa::Buffer::new();
            out.extend_from_slice(b"VALUE ");
            out.extend_from_slice(key);
            out.push(b' ');
            out.extend_from_slice(digits.format(item.flags).as_bytes());
            out.push(b' ');
            out.extend_from_slice(digits.format(item.value.len()).as_bytes());
            if get.command.with_cas() {
                out.push(b' ');
                out.extend_from_slice(digits.format(item.cas).as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&item.value);
            out.extend_from_slice(b"\r\n");
        }
        self.served = 0;
        out.extend_from_slice(b"END\r\n");
        true
    }
}

fn limits(store: &Store) -> Limits {
    Limits {
        max_value: store.options().max_item,
        ..Limits::default()
    }
}

/// Carries out what needs nothing but the items.
fn execute(request: Request<'_>, items: &mut Items, now: Now, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let (reply, noreply): (&[u8], bool) = match request {
        Request::Store(store) => (put(&store, items, now), store.noreply),
        Request::Delete { key, noreply } => match items.delete(key, now) {
            true => (b"DELETED\r\n", noreply),
            false => (b"NOT_FOUND\r\n", noreply),
        },
        Request::Touch {
            key,
            exptime,
            noreply,
        } => match items.touch(key, now.expiry(exptime), now) {
            Some(_) => (b"TOUCHED\r\n", noreply),
            None => (b"NOT_FOUND\r\n", noreply),
        },
        Request::Arith {
            incr,
            key,
            delta,
            noreply,
        } => match items.arith(key, incr, delta, 0, now) {
            Ok(value) => {
                if !noreply {
                    out.extend_from_slice(digits.format(value).as_bytes());
                }
                (b"\r\n", noreply)
            }
            Err(ArithError::NotFound | ArithError::Exists) => {
                items.count_arith_miss(incr);
                (b"NOT_FOUND\r\n", noreply)
            }
            Err(ArithError::NotNumeric) => (NOT_NUMERIC, noreply),
        },
        Request::Meta(meta) => {
            meta::execute(&meta, items, now, out);
            return;
        }
        Request::MetaNoop => (b"MN\r\n", false),
        Request::Version => {
            out.extend_from_slice(b"VERSION ");
            out.extend_from_slice(VERSION.as_bytes());
            (b"\r\n", false)
        }
        // There is no log whose verbosity could be set.
        Request::Verbosity { noreply } => (b"OK\r\n", noreply),
        Request::FlushAll { delay, noreply } => {
            items.flush(delay.unwrap_or(0), now);
            (b"OK\r\n", noreply)
        }
        // Session::step has taken these.
        Request::Get(_) | Request::Stats { .. } | Request::Quit | Request::Refused(_) => return,
        // Its parser knows no leases.
        Request::Lookup(_) | Request::LeaseSet(_) => return,
    };
    if !noreply {
        out.extend_from_slice(reply);
    }
}

/// The answer to arithmetic on something that is no number.
pub(super) const NOT_NUMERIC: &[u8] =
    b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

fn put(store: &StoreRequest<'_>, items: &mut Items, now: Now) -> &'static [u8] {
    let mode = match store.command {
        StoreCommand::Set => Mode::Set,
        StoreCommand::Add => Mode::Add,
        StoreCommand::Replace => Mode::Replace,
        StoreCommand::Append => Mode::Append { create: false },
        StoreCommand::Prepend => Mode::Prepend { create: false },
        StoreCommand::Cas => Mode::Cas,
    };
    let put = Put {
        mode,
        key: store.key,
        value: store.block.strip_suffix(b"\r\n").unwrap_or(store.block),
        flags: store.flags,
        exptime: now.expiry(store.exptime),
        compare: store.cas,
        cas: None,
        allow_stale: false,
        binary: false,
    };
    match items.put(&put, now) {
        Outcome::Stored { .. } => b"STORED\r\n",
        Outcome::NotStored => b"NOT_STORED\r\n",
        Outcome::Exists => b"EXISTS\r\n",
        Outcome::NotFound => b"NOT_FOUND\r\n",
        Outcome::TooLarge => {
            items.refuse_too_large((mode == Mode::Set).then_some(store.key));
            ErrorKind::TooLarge.wire()
        }
    }
}

/// Answers a request that the parser refused. `bytes` begin with it.
fn refuse(refused: &Refused<'_>, bytes: &[u8], items: &mut Items, now: Now, out: &mut Vec<u8>) {
    let line = first_line(bytes);
    match refused.error {
        // The parser has seen the whole value; memcached looks at the line first.
        ErrorKind::BadChunk if refuse_block(bytes, items, now, out) => return,
        ErrorKind::TooLarge if line.starts_with(b"ms ") && refuse_block(bytes, items, now, out) => {
            return;
        }
        ErrorKind::TooLarge => {
            let mut scratch = [0; MAX_DECODED];
            let evicted = refused.evict.as_ref().map(|e| e.item_key(&mut scratch));
            items.refuse_too_large(evicted);
        }
        ErrorKind::BadKeyEncoding => {
            out.extend_from_slice(meta::refuse_key(line, now));
            return;
        }
        _ => {}
    }
    if !refused.noreply {
        out.extend_from_slice(refused.error.wire());
    }
}

/// The line that `bytes` begin with, without its end.
fn first_line(bytes: &[u8]) -> &[u8] {
    match memchr(b'\n', bytes).and_then(|end| bytes.get(..end)) {
        Some([line @ .., b'\r']) => line,
        Some(line) => line,
        None => b"",
    }
}

/// Refuses a storage command by its line alone, if there is reason to, although the parser is content with it:
/// the item would be too large with its key, or an `ms` has bad flags. The reply is then appended.
fn refuse_block(bytes: &[u8], items: &mut Items, now: Now, out: &mut Vec<u8>) -> bool {
    let line = first_line(bytes);
    let mut fields = words(line);
    let mut field = || fields.next().unwrap_or_default();
    let (verb, key) = (field(), field());
    let length = |text| number::strict_i32(text).map_or(0, |len| len.unsigned_abs() as usize);
    if verb == b"ms" {
        let len = length(field());
        let flags_text = meta::after(line, 3);
        return match meta::refuse_set(key, len, flags_text, items, now) {
            Ok(()) => false,
            Err(reply) => {
                out.extend_from_slice(reply);
                true
            }
        };
    }
    let (flags, _exptime, len) = (field(), field(), length(field()));
    if items.fits(key.len(), len, number::flags(flags).unwrap_or(0)) {
        return false;
    }
    items.refuse_too_large((verb == b"set").then_some(key));
    if fields.last() != Some(b"noreply") {
        out.extend_from_slice(ErrorKind::TooLarge.wire());
    }
    true
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
