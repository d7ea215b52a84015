//! Clients of the floor: their requests, and the replies on their way back to them.
//!
//! Each request has a place in its client's queue. What belongs to the oldest one goes straight into the
//! client's output; what comes too early is held at its place. Anything but `get` and `set` ends the
//! connection.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use memchr::{memchr, memrchr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::server::Awaited;
use super::{Hub, LARGE};

/// A request that is not answered yet.
#[derive(Debug)]
struct Slot {
    /// Answers that are still to come: one for each server that was asked.
    parts: usize,
    /// Whether it was split over servers, so that the closing line is still to be written.
    split: bool,
    /// What came before the requests in front of it were answered.
    held: Vec<u8>,
}

/// What is known of a client besides its input.
#[derive(Debug)]
pub(super) struct Client {
    write: OwnedWriteHalf,
    out: Vec<u8>,
    written: usize,
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    waker: Option<Waker>,
    /// Whether its task has been told that there is something to write.
    woken: bool,
    gone: bool,
}

impl Client {
    pub(super) fn new(write: OwnedWriteHalf) -> Self {
        Self {
            write,
            out: Vec::new(),
            written: 0,
            slots: VecDeque::new(),
            first: 0,
            waker: None,
            woken: false,
            gone: false,
        }
    }

    /// A new request, answered by `parts` servers; gives its number.
    fn ask(&mut self, parts: usize, split: bool) -> u64 {
        self.slots.push_back(Slot {
            parts,
            split,
            held: Vec::new(),
        });
        self.first + self.slots.len() as u64 - 1
    }

    /// A piece of the answer to request `number`; `done` with the last piece of a server. Gives whether
    /// the client has left and nothing more is expected for it.
    pub(super) fn deliver(&mut self, number: u64, bytes: &[u8], done: bool) -> bool {
        let index = (number - self.first) as usize;
        if index == 0 {
            self.append(bytes);
        } else if let Some(slot) = self.slots.get_mut(index) {
            slot.held.extend_from_slice(bytes);
        }
        if done {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.parts -= 1;
            }
            if index == 0 {
                self.advance();
            }
        }
        self.gone && self.slots.is_empty()
    }

    /// Takes leave of the requests in front that are answered; what is held for the next one goes out.
    fn advance(&mut self) {
        while let Some(slot) = self.slots.front_mut() {
            let (parts, split, held) = (slot.parts, slot.split, std::mem::take(&mut slot.held));
            if !held.is_empty() {
                self.append(&held);
            }
            if parts > 0 {
                return;
            }
            if split {
                self.append(b"END\r\n");
            }
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Bytes for the client: large ones at once, the others at its next turn.
    fn append(&mut self, mut bytes: &[u8]) {
        if self.gone {
            return;
        }
        if bytes.len() >= LARGE
            && self.out.is_empty()
            && let Ok(count) = self.write.try_write(bytes)
        {
            bytes = bytes.get(count..).unwrap_or_default();
        }
        // An error of the socket shows again when the rest is written.
        if bytes.is_empty() {
            return;
        }
        self.out.extend_from_slice(bytes);
        if !self.woken
            && let Some(waker) = &self.waker
        {
            self.woken = true;
            waker.wake_by_ref();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.woken = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.write).poll_write(cx, rest) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

/// Serves client `id` until it goes.
pub(super) async fn serve(hub: Rc<Hub>, id: usize, mut read: OwnedReadHalf) {
    let mut input = Input::default();
    std::future::poll_fn(|cx| input.turn(&hub, id, &mut read, cx)).await;
    let mut clients = hub.clients.borrow_mut();
    if let Some(client) = clients.get_mut(id) {
        client.gone = true;
        if client.slots.is_empty() {
            clients.remove(id);
        }
    }
}

/// What came of a request that is not complete.
#[derive(Debug, Default)]
struct Input {
    partial: Vec<u8>,
    /// How long it will be, where that is known.
    whole: usize,
}

impl Input {
    /// Reads what is there and writes what is to be written; ready when the client is gone.
    fn turn(
        &mut self,
        hub: &Hub,
        id: usize,
        read: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let done = if self.whole.saturating_sub(self.partial.len()) >= LARGE {
                self.read_large(hub, id, read, cx)
            } else {
                self.read(hub, id, read, cx)
            };
            match done {
                Poll::Pending => break,
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
            }
        }
        let mut clients = hub.clients.borrow_mut();
        let Some(client) = clients.get_mut(id) else {
            return Poll::Ready(());
        };
        if client.waker.is_none() {
            client.waker = Some(cx.waker().clone());
        }
        match client.flush(cx) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }

    /// Reads by way of the scratch; `false` when the client is gone.
    fn read(
        &mut self,
        hub: &Hub,
        id: usize,
        read: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let mut scratch = hub.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(read).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(false),
            Poll::Ready(Ok(())) => {
                let bytes = buffer.filled();
                if !self.partial.is_empty() {
                    self.partial.extend_from_slice(bytes);
                    return Poll::Ready(self.take_partial(hub, id));
                }
                let Some((taken, whole)) = hub.take(id, bytes) else {
                    return Poll::Ready(false);
                };
                let rest = bytes.get(taken..).unwrap_or_default();
                if !rest.is_empty() {
                    if whole >= LARGE {
                        self.partial = hub.buffer();
                    }
                    self.partial.extend_from_slice(rest);
                }
                self.whole = whole;
                Poll::Ready(true)
            }
        }
    }

    /// Reads the rest of a large request where it is wanted; `false` when the client is gone.
    fn read_large(
        &mut self,
        hub: &Hub,
        id: usize,
        read: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        // Room for a little more: a read that fills what it was given has to be done again.
        const MORE: usize = 256;
        self.partial
            .reserve(self.whole.saturating_sub(self.partial.len()) + MORE);
        let reading = pin!(read.read_buf(&mut self.partial));
        match reading.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_) | Ok(0)) => Poll::Ready(false),
            Poll::Ready(Ok(_)) if self.partial.len() < self.whole => Poll::Ready(true),
            Poll::Ready(Ok(_)) => Poll::Ready(self.take_partial(hub, id)),
        }
    }

    /// Takes the requests that have become complete; `false` when they are none.
    fn take_partial(&mut self, hub: &Hub, id: usize) -> bool {
        if self.partial.len() < self.whole {
            return true;
        }
        if self.partial.len() == self.whole && self.whole >= LARGE {
            self.whole = 0;
            return hub.hand_over(id, std::mem::take(&mut self.partial));
        }
        let Some((taken, whole)) = hub.take(id, &self.partial) else {
            return false;
        };
        self.partial.drain(..taken);
        self.whole = whole;
        true
    }
}

impl Hub {
    /// Takes the requests at the beginning of `input`: gives how many bytes they are, and how long the one
    /// behind them will be, where that is known. `None` for anything but `get` and `set`.
    fn take(&self, id: usize, input: &[u8]) -> Option<(usize, usize)> {
        let mut clients = self.clients.borrow_mut();
        let client = clients.get_mut(id)?;
        let mut taken = 0;
        loop {
            let rest = input.get(taken..)?;
            let Some(end) = memchr(b'\n', rest) else {
                return Some((taken, 0));
            };
            let line = rest.get(..=end)?;
            if let Some(keys) = line.strip_prefix(b"get ") {
                let keys = keys.strip_suffix(b"\r\n")?;
                if memchr(b' ', keys).is_none() {
                    self.single(client, id, keys, line);
                } else {
                    self.multi(client, id, keys);
                }
                taken += line.len();
            } else {
                let (key, size) = set_line(line)?;
                let whole = line.len() + size + 2;
                let Some(request) = rest.get(..whole) else {
                    return Some((taken, whole));
                };
                self.single(client, id, key, request);
                taken += whole;
            }
        }
    }

    /// A request about one key: passed on as it is.
    fn single(&self, client: &mut Client, id: usize, key: &[u8], request: &[u8]) {
        let number = client.ask(1, false);
        if let Some(server) = self.servers.get(self.place(key)) {
            let mut server = server.borrow_mut();
            server.send(request);
            server.expect(Awaited::new(id, number, false));
        }
    }

    /// A get of several keys: one to each server that has some of them.
    fn multi(&self, client: &mut Client, id: usize, keys: &[u8]) {
        let mut asked = 0_u64;
        for key in keys.split(|byte| *byte == b' ') {
            let place = self.place(key);
            if let Some(server) = self.servers.get(place) {
                let mut server = server.borrow_mut();
                if asked & (1 << place) == 0 {
                    asked |= 1 << place;
                    server.send(b"get");
                }
                server.send(b" ");
                server.send(key);
            }
        }
        let number = client.ask(asked.count_ones() as usize, true);
        for (place, server) in self.servers.iter().enumerate() {
            if asked & (1 << place) != 0 {
                let mut server = server.borrow_mut();
                server.send(b"\r\n");
                server.expect(Awaited::new(id, number, true));
            }
        }
    }

    /// A large set in a buffer of its own: passed on with the buffer.
    fn hand_over(&self, id: usize, request: Vec<u8>) -> bool {
        let end = memchr(b'\n', &request);
        let line = end.and_then(|end| request.get(..=end));
        let place = line.and_then(set_line).map(|(key, _)| self.place(key));
        let mut clients = self.clients.borrow_mut();
        let (Some(place), Some(client)) = (place, clients.get_mut(id)) else {
            return false;
        };
        let number = client.ask(1, false);
        if let Some(server) = self.servers.get(place) {
            let mut server = server.borrow_mut();
            server.send_buffer(request, self);
            server.expect(Awaited::new(id, number, false));
        }
        true
    }
}

/// Key and size in the line of a `set`; `None` for any other line.
fn set_line(line: &[u8]) -> Option<(&[u8], usize)> {
    let rest = line.strip_prefix(b"set ")?.strip_suffix(b"\r\n")?;
    let key = rest.get(..memchr(b' ', rest)?)?;
    let size = rest.get(memrchr(b' ', rest)? + 1..)?;
    Some((key, decimal(size)?))
}

/// A number in digits.
pub(super) fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + usize::from(digit))
    })
}
