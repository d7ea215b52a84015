//! Taking a connection's replies apart: which request each belongs to, and whether it can be its answer.

use super::conn::{Conn, Entry, STREAM_ABOVE, Shape, Stream};
use super::keys::KeyRef;
use super::types::{Broken, Class, ReplyKind, Sink};
use crate::protocol::meta::{self, MAX_DECODED};
use crate::protocol::response::{self, Kind};
use crate::worker::buf::BufPool;

/// The largest data block a server may announce, in bytes.
pub(super) const MAX_BLOCK: usize = 1 << 30;

impl Conn {
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
                let Some(entry) = self.entries.front().filter(|entry| self.is_sent(entry)) else {
                    return Err(Broken::Unasked);
                };
                match entry.shape {
                    Shape::Get(_) => self.get_reply(rest, sink)?,
                    Shape::Line(Class::Uptime) => self.uptime_reply(rest, sink)?,
                    Shape::Line(Class::LeaseSet) => self.lease_set_reply(rest, sink)?,
                    Shape::Line(class @ (Class::LeaseGet | Class::Metaget)) => {
                        self.lookup_reply(class, rest, sink)?
                    }
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

    /// Whether a reply to it is possible: at least its first byte has been written. The caller writes the
    /// probe, which goes before everything else.
    pub(super) fn is_sent(&self, entry: &Entry) -> bool {
        entry.shape == Shape::Probe || entry.begins < self.written
    }

    fn get_reply(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let values = self.expected_values(buf, sink);
        let rest = buf.get(values..).unwrap_or_default();
        if rest.starts_with(b"END\r\n") {
            self.end_of_get(sink);
            return Ok(values + 5);
        }
        if values > 0 {
            return Ok(values);
        }
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        if let Some(value) = response::value(line) {
            if value.len > MAX_BLOCK {
                return Err(Broken::Garbage);
            }
            let total = used + value.len + 2;
            // A large one is passed on in parts even if all of it is here: parts need not be copied.
            let whole = buf.get(..total).filter(|_| total <= STREAM_ABOVE);
            if whole.is_none() && total <= STREAM_ABOVE {
                return Ok(0);
            }
            self.skip_to(value.key, sink)?;
            let Some(slot) = self.slots.front() else {
                return Err(Broken::WrongKey);
            };
            let Some(bytes) = whole else {
                sink.start(slot.to, total, buf.get(..used).unwrap_or_default());
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
                self.end_of_get(sink);
                return Ok(used);
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
        self.completed(sink);
        Ok(used)
    }

    /// The values of the keys that are waited for next, as far as they are here as servers write them, without a cas id
    /// and small: they are nearly all there is to read, and need no search for words and line ends. All else takes the
    /// longer way. Returns their length in bytes.
    #[inline(always)]
    fn expected_values(&mut self, buf: &[u8], sink: &mut impl Sink) -> usize {
        let Some(entry) = self.entries.front_mut() else {
            return 0;
        };
        let mut rest = buf;
        let mut found = 0;
        let mut last = KeyRef::EMPTY;
        for slot in self.slots.iter().take(entry.slots as usize) {
            let Some(value) = expected_value(rest, self.keys.get(slot.key)) else {
                break;
            };
            sink.reply(slot.to, ReplyKind::Value, value);
            rest = rest.get(value.len()..).unwrap_or_default();
            last = slot.key;
            found += 1;
        }
        if found > 0 {
            entry.slots = entry.slots.saturating_sub(found as u32);
            self.slots.drain(..found);
            self.keys.release(last);
        }
        buf.len() - rest.len()
    }

    /// What has not been found is not there.
    fn end_of_get(&mut self, sink: &mut impl Sink) {
        while self.entries.front().is_some_and(|entry| entry.slots > 0) {
            if let Some(slot) = self.slots.front() {
                sink.miss(slot.to);
            }
            self.answered();
        }
        self.completed(sink);
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
    pub(super) fn answered(&mut self) {
        if let Some(slot) = self.slots.pop_front()
            && slot.key != KeyRef::EMPTY
        {
            self.keys.release(slot.key);
        }
        if let Some(entry) = self.entries.front_mut() {
            entry.slots = entry.slots.saturating_sub(1);
        }
    }

    /// The first entry, a command's, has its answer.
    pub(super) fn line_answered(&mut self, sink: &mut impl Sink) {
        self.answered();
        if self.completed(sink) {
            self.updates.pop_front();
        }
    }

    /// The first entry has its answer. One that has been given up was counted then. Returns whether it was an update
    /// that is kept track of.
    #[inline(always)] // It is done for every command, and is little.
    pub(super) fn completed(&mut self, sink: &mut impl Sink) -> bool {
        let Some(entry) = self.entries.front() else {
            return false;
        };
        if !entry.tombstone {
            sink.timed(entry.timing, entry.asked);
        }
        let tracked = entry.tracked;
        self.entries.pop_front();
        tracked
    }

    fn uptime_reply(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        if let Some(stat) = line.strip_prefix(b"STAT ") {
            if let Some(seconds) = stat.strip_prefix(b"uptime ") {
                self.uptime = std::str::from_utf8(seconds)
                    .ok()
                    .and_then(|s| s.parse().ok());
            }
            return Ok(used);
        }
        let Some(slot) = self.slots.front().copied() else {
            return Err(Broken::Unasked);
        };
        match response::kind(line) {
            Kind::End => {
                let seconds = self.uptime.take().map(|seconds| seconds.to_string());
                let seconds = seconds.unwrap_or_default();
                sink.reply(slot.to, ReplyKind::Line(Kind::End), seconds.as_bytes());
            }
            kind if kind.is_error() => sink.error(slot.to, buf.get(..used).unwrap_or_default()),
            Kind::Unknown => return Err(Broken::Garbage),
            _ => return Err(Broken::WrongKind),
        }
        self.uptime = None;
        self.line_answered(sink);
        Ok(used)
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
            self.line_answered(sink);
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
        let whole = buf.get(..total).filter(|_| total <= STREAM_ABOVE);
        if whole.is_none() && total <= STREAM_ABOVE {
            return Ok(0);
        }
        let mut head = buf.get(..used).unwrap_or_default();
        let mut rewritten = false;
        if let Class::Meta { own_opaque } = class {
            let guard = Guard::of(self.keys.get(slot.key));
            let cut = guard.cut_from(line);
            if cut.is_none() && !guard.admits(line, kind) {
                return Err(Broken::WrongKey);
            }
            if own_opaque {
                self.scratch.clear();
                match cut {
                    Some(rest) => {
                        self.scratch.extend_from_slice(rest);
                        self.scratch.extend_from_slice(b"\r\n");
                    }
                    None => without_opaque(line, guard.opaque, &mut self.scratch),
                }
                head = &self.scratch;
                rewritten = true;
            }
        }
        let Some(bytes) = whole else {
            sink.start(slot.to, head.len() + block, head);
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
        self.line_answered(sink);
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
                    shape: Shape::Line(class),
                    ..
                }) if !class.is_lookup()
            );
            match line {
                true => self.line_answered(sink),
                false => self.answered(),
            }
        }
        Ok(n)
    }
}

pub(super) fn complete_line(buf: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
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

    /// The reply without the opaque, if that is its last word, where it was in the command, and says all there is to
    /// say.
    #[inline]
    fn cut_from<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let rest = line.strip_suffix(self.opaque)?.strip_suffix(b" O")?;
        if let Some(key) = self.key {
            rest.strip_suffix(key)?.strip_suffix(b" k")?;
        }
        Some(rest)
    }

    /// Whether a reply is for what was asked. A bare `EN` of an old server carries nothing.
    fn admits(&self, line: &[u8], kind: Kind) -> bool {
        let mut opaque = kind == Kind::MetaMiss && line == b"EN";
        for word in line.split(|b| *b == b' ').skip(1) {
            match word {
                [b'O', rest @ ..] if rest != self.opaque => return false,
                [b'O', ..] => opaque = true,
                [b'k', rest @ ..] if self.key.is_some_and(|key| !is_key(rest, key, line)) => {
                    return false;
                }
                _ => {}
            }
        }
        opaque
    }
}

/// Whether the key that a reply carries is the one that was asked for. memcached writes it in base64, with the flag
/// `b`, if the item was stored under a key in base64, however it is asked for.
fn is_key(carried: &[u8], key: &[u8], line: &[u8]) -> bool {
    carried == key
        || line.split(|b| *b == b' ').any(|word| word == b"b")
            && meta::decode_key(carried, &mut [0; MAX_DECODED]) == Some(key)
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

/// The small value of this key that `buf` begins with, if it is all there.
#[inline(always)]
fn expected_value<'a>(buf: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let rest = buf.strip_prefix(b"VALUE ")?.strip_prefix(key)?;
    let rest = match rest {
        [b' ', b'0'..=b'9', b' ', rest @ ..] => rest,
        _ => {
            let rest = rest.strip_prefix(b" ")?;
            let flags = rest.iter().position(|b| !b.is_ascii_digit())?;
            rest.get(flags..)?.strip_prefix(b" ")?
        }
    };
    let mut len = 0;
    let mut digits = 0;
    for byte in rest {
        match byte {
            b'0'..=b'9' if digits < 6 => len = len * 10 + usize::from(byte - b'0'),
            b'\r' if digits > 0 => break,
            _ => return None,
        }
        digits += 1;
    }
    let used = buf.len() - rest.len() + digits + 2;
    let total = used + len + 2;
    let bytes = buf.get(..total).filter(|_| total <= STREAM_ABOVE)?;
    (bytes.ends_with(b"\r\n") && bytes.get(used - 1) == Some(&b'\n')).then_some(bytes)
}
