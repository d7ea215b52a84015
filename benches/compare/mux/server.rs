//! Servers of the floor: requests on their way to them, and their replies.
//!
//! Replies are not taken apart further than to see where each ends. A reply to a request about one key goes
//! to its client piece by piece as it comes; one of several to a get that was split over servers goes there
//! when it is complete, without its closing line.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use memchr::{memchr, memrchr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::client::decimal;
use super::{Hub, LARGE};

/// Buffers written with one call, at most.
const GATHERED: usize = 32;

/// Who gets the next reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    client: usize,
    number: u64,
    split: bool,
}

impl Awaited {
    pub(super) fn new(client: usize, number: u64, split: bool) -> Self {
        Self {
            client,
            number,
            split,
        }
    }
}

/// What is on its way to a server, and who waits for its replies.
#[derive(Debug)]
pub(super) struct Server {
    write: OwnedWriteHalf,
    /// Buffers that are not added to any more, before `out`.
    sealed: VecDeque<Vec<u8>>,
    out: Vec<u8>,
    /// How much of the first of them is written.
    written: usize,
    awaited: VecDeque<Awaited>,
    flusher: Option<Waker>,
    /// Whether the flusher has been told that there is something to write.
    woken: bool,
}

impl Server {
    pub(super) fn new(write: OwnedWriteHalf) -> Self {
        Self {
            write,
            sealed: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            awaited: VecDeque::new(),
            flusher: None,
            woken: false,
        }
    }

    /// Adds to what is written at the end of this turn. (Large values by themselves, at once, cost half as
    /// much again.)
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// The same without a copy, for a large one.
    pub(super) fn send_buffer(&mut self, buffer: Vec<u8>, hub: &Hub) {
        if !self.out.is_empty() {
            let out = std::mem::replace(&mut self.out, hub.buffer());
            self.sealed.push_back(out);
        }
        self.sealed.push_back(buffer);
    }

    /// A request is complete: its reply will be for `awaited`.
    pub(super) fn expect(&mut self, awaited: Awaited) {
        self.awaited.push_back(awaited);
        if !self.woken
            && let Some(flusher) = &self.flusher
        {
            self.woken = true;
            flusher.wake_by_ref();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, hub: &Hub) -> io::Result<()> {
        self.woken = false;
        loop {
            let written = if self.sealed.is_empty() {
                let rest = self.out.get(self.written..).unwrap_or_default();
                if rest.is_empty() {
                    self.out.clear();
                    self.written = 0;
                    return Ok(());
                }
                Pin::new(&mut self.write).poll_write(cx, rest)
            } else {
                let mut slices = [IoSlice::new(&[]); GATHERED];
                let buffers = self.sealed.iter().chain([&self.out]);
                let mut skip = self.written;
                for (slice, buffer) in slices.iter_mut().zip(buffers) {
                    *slice = IoSlice::new(buffer.get(skip..).unwrap_or_default());
                    skip = 0;
                }
                Pin::new(&mut self.write).poll_write_vectored(cx, &slices)
            };
            match written {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(count)) => self.advance(count, hub),
            }
        }
    }

    fn advance(&mut self, count: usize, hub: &Hub) {
        self.written += count;
        while let Some(first) = self.sealed.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            if let Some(buffer) = self.sealed.pop_front()
                && buffer.capacity() >= LARGE
            {
                hub.recycle(buffer);
            }
        }
    }
}

/// Writes to server `number` whenever there is something to write.
///
/// It's a task of its own: woken by the first request of a turn it runs behind all clients that are ready.
pub(super) async fn flush(hub: Rc<Hub>, number: usize) {
    let ended = std::future::poll_fn(|cx| {
        let Some(server) = hub.servers.get(number) else {
            return Poll::Ready(());
        };
        let mut server = server.borrow_mut();
        if server.flusher.is_none() {
            server.flusher = Some(cx.waker().clone());
        }
        match server.flush(cx, &hub) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    });
    ended.await;
    end();
}

/// Reads what server `number` says, until it goes.
pub(super) async fn read(hub: Rc<Hub>, number: usize, mut read: OwnedReadHalf) {
    let mut replies = Replies::default();
    std::future::poll_fn(|cx| {
        loop {
            let mut scratch = hub.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut read).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    if replies.take(&hub, number, buffer.filled()).is_none() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    })
    .await;
    end();
}

/// Nothing is left to be done without a server: the process ends.
fn end() {
    eprintln!("mux: a server is gone");
    std::process::exit(1);
}

/// Where in its replies a server is.
#[derive(Debug, Default)]
struct Replies {
    /// Bytes of a value that are still to come, with its line end.
    body: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The beginning of a reply that goes on when it is complete.
    parked: Vec<u8>,
}

impl Replies {
    /// Takes `bytes` of server `number`; `None` when they are no reply to anything.
    fn take(&mut self, hub: &Hub, number: usize, bytes: &[u8]) -> Option<()> {
        let mut server = hub.servers.get(number)?.borrow_mut();
        let (mut start, mut at) = (0, 0);
        while at < bytes.len() {
            if self.body > 0 {
                let step = self.body.min(bytes.len() - at);
                self.body -= step;
                at += step;
                continue;
            }
            let rest = bytes.get(at..)?;
            let Some(end) = memchr(b'\n', rest) else {
                self.line.extend_from_slice(rest);
                break;
            };
            at += end + 1;
            let mut line = rest.get(..=end)?;
            if !self.line.is_empty() {
                self.line.extend_from_slice(line);
                line = &self.line;
            }
            if line.starts_with(b"VALUE ") {
                let line = line.strip_suffix(b"\r\n")?;
                self.body = decimal(line.get(memrchr(b' ', line)? + 1..)?)? + 2;
            } else {
                let closing = line.len();
                let awaited = server.awaited.pop_front()?;
                self.hand_on(hub, awaited, bytes.get(start..at)?, Some(closing));
                start = at;
            }
            self.line.clear();
        }
        let rest = bytes.get(start..)?;
        if !rest.is_empty() {
            let awaited = *server.awaited.front()?;
            self.hand_on(hub, awaited, rest, None);
        }
        Some(())
    }

    /// A piece of a reply; with the length of the closing line when it ends with that.
    fn hand_on(&mut self, hub: &Hub, to: Awaited, piece: &[u8], closing: Option<usize>) {
        let mut clients = hub.clients.borrow_mut();
        let Some(client) = clients.get_mut(to.client) else {
            return;
        };
        let over = if !to.split {
            client.deliver(to.number, piece, closing.is_some())
        } else if let Some(closing) = closing {
            let whole = if self.parked.is_empty() {
                piece
            } else {
                self.parked.extend_from_slice(piece);
                &self.parked
            };
            let values = whole.len().saturating_sub(closing);
            let over = client.deliver(to.number, whole.get(..values).unwrap_or_default(), true);
            self.parked.clear();
            over
        } else {
            self.parked.extend_from_slice(piece);
            false
        };
        if over {
            clients.remove(to.client);
        }
    }
}
