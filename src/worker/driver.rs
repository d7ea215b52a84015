//! The sockets of one worker.
//!
//! A single future owns all of them. Each socket has a waker of its own that puts its number on a list; a
//! turn takes the list, reads every socket on it once, lets the core act, and then writes each server and
//! each client that has something to be written, once. Writing last is what makes requests of many clients
//! leave in one system call.
//!
//! It knows nothing of the protocol. Everything in it is bounded by what the core holds; it never waits for
//! one socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::buf::{LARGE, SPARSE, Scratch};
use super::core::Core;
use super::ready::{Ready, SocketWaker, Token};
use super::servers::ConnSocket;
use super::socket::{Socket, Stream};
use crate::route::compile::Snapshot;
use crate::spool::{Confirm, Spool};
use crate::stats::beat;
use crate::upstream::conn::Ticket;

/// Bytes read from a socket at a time.
pub(super) const READ: usize = 256 * 1024;

/// When all workers' time begins: they compare times in what they share.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a worker is told.
pub enum Command {
    /// Serve this client.
    Client(Socket),
    /// Route by this from now on.
    Apply(Arc<Snapshot>),
    /// Take leave of clients as they finish; the worker ends when none is left.
    Drain,
    /// A deletion was written down, or could not be.
    Spooled(Ticket, bool),
    /// A server's name was looked up, for the connection with this number and attempt.
    Resolved(u32, u64, io::Result<Vec<std::net::SocketAddr>>),
}

struct ClientSocket {
    stream: Stream,
    waker: Waker,
    _place: Place,
}

/// A client's place in its worker's load, given back when it leaves.
pub struct Place(pub Arc<std::sync::atomic::AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A worker's sockets and its core.
pub struct Driver {
    pub(super) core: Core,
    clients: Vec<Option<ClientSocket>>,
    pub(super) conns: Vec<Option<ConnSocket>>,
    /// Counts attempts per connection, so that a late name lookup isn't taken for the current one.
    pub(super) attempts: Vec<u64>,
    ready: Arc<Ready>,
    turn: Vec<Token>,
    pub(super) scratch: Scratch,
    inbox: mpsc::UnboundedReceiver<Command>,
    pub(super) outbox: mpsc::UnboundedSender<Command>,
    load: Arc<std::sync::atomic::AtomicUsize>,
    spool: Arc<OnceLock<Arc<Spool>>>,
    timer: Pin<Box<Sleep>>,
    armed: u64,
    /// When the worker gives its next sign of life.
    beat_at: u64,
    epoch: Instant,
    draining: bool,
}

impl Driver {
    /// A driver for `core`. `outbox` is the sending end of `inbox`. `load` counts this worker's clients; the
    /// acceptor adds to it. Must be called within a tokio runtime.
    pub fn new(
        core: Core,
        inbox: mpsc::UnboundedReceiver<Command>,
        outbox: mpsc::UnboundedSender<Command>,
        load: Arc<std::sync::atomic::AtomicUsize>,
    ) -> Driver {
        let driver = Driver {
            core,
            clients: Vec::new(),
            conns: Vec::new(),
            attempts: Vec::new(),
            ready: Arc::default(),
            turn: Vec::new(),
            scratch: Scratch::new(READ),
            inbox,
            outbox,
            load,
            spool: Arc::default(),
            timer: Box::pin(tokio::time::sleep(Duration::from_secs(86_400))),
            armed: u64::MAX,
            epoch: *EPOCH,
            beat_at: 0,
            draining: false,
        };
        driver.core.bell.hang(driver.waker(Token::Health));
        driver
    }

    /// Has it write down deletions there, once there is something. Until then none can be.
    #[must_use]
    pub fn with_spool(mut self, spool: Arc<OnceLock<Arc<Spool>>>) -> Driver {
        self.spool = spool;
        self
    }

    /// Has the deletions written down that are to be.
    #[cold]
    fn write_down(&mut self) {
        for (to, deletion) in std::mem::take(&mut self.core.todo.spool) {
            match self.spool.get() {
                Some(spool) => {
                    let outbox = self.outbox.clone();
                    // If the worker has ended, so has everybody who waits.
                    let confirm = Confirm::new(move |is_written| {
                        let _ = outbox.send(Command::Spooled(to, is_written));
                    });
                    spool.submit(deletion, confirm);
                }
                None => self.core.spooled(to, false),
            }
        }
    }

    /// Runs until drained, or until the other end of the inbox is gone.
    pub async fn run(mut self) {
        // One task does all the worker's work; tokio's budget for tasks that share a thread would only make
        // it poll sockets twice.
        tokio::task::unconstrained(poll_fn(|cx| self.poll(cx))).await;
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// One turn. What is woken meanwhile comes in the next, after the others have had theirs.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut list = self.ready.lock();
            std::mem::swap(&mut list.tokens, &mut self.turn);
            match &list.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => list.waker = Some(cx.waker().clone()),
            }
        }
        self.core.set_now(self.now());
        let mut worked = !self.turn.is_empty();
        while let Poll::Ready(command) = self.inbox.poll_recv(cx) {
            worked = true;
            match command {
                Some(command) => self.command(command),
                None => return Poll::Ready(()),
            }
        }
        let mut turn = std::mem::take(&mut self.turn);
        for token in turn.drain(..) {
            match token {
                Token::Client(id) => self.client_ready(id),
                Token::Conn(id) => self.conn_ready(id),
                Token::Health => self.core.heed(),
            }
        }
        self.turn = turn;
        if self.armed != u64::MAX && self.timer.as_mut().poll(cx).is_ready() {
            self.armed = u64::MAX;
        }
        let now = self.now();
        if self.beat_at <= now {
            self.core.stats.beat.beat();
            self.core.relax();
            self.scratch.shrink();
            shrink_places(&mut self.clients);
            self.beat_at = now + beat::PERIOD.as_micros() as u64;
        }
        if self.core.next_tick() <= now {
            worked = true;
            self.core.set_now(now);
            self.core.tick();
        }
        self.carry_out();
        if worked {
            self.core.stats.worker.turns.inc();
        }
        self.arm(cx);
        if self.draining && self.core.replies.is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Does what the core has listed, until it lists no more.
    fn carry_out(&mut self) {
        loop {
            self.core.refill();
            if !self.core.todo.spool.is_empty() {
                self.write_down();
            }
            for id in std::mem::take(&mut self.core.todo.close) {
                if let Some(place) = self.conns.get_mut(id as usize)
                    && let Some(socket) = place.take()
                {
                    // What the kernel still has for the server must not arrive there after what is sent anew.
                    socket.end_with_reset();
                }
            }
            while let Some(id) = self.core.todo.end.pop() {
                if let Some(place) = self.conns.get_mut(id as usize) {
                    *place = None;
                }
            }
            while let Some(id) = self.core.todo.connect.pop() {
                self.connect(id);
            }
            let mut write = std::mem::take(&mut self.core.todo.write);
            for id in write.drain(..) {
                self.core.conn_flushed(id);
                self.flush_conn(id);
            }
            if self.core.todo.write.is_empty() {
                self.core.todo.write = write;
            }
            let mut dirty = std::mem::take(&mut self.core.replies.dirty);
            for id in dirty.drain(..) {
                self.core.replies.unmark(id);
                self.flush_client(id);
            }
            if self.core.replies.dirty.is_empty() {
                self.core.replies.dirty = dirty;
            }
            while let Some(id) = self.core.todo.read_clients.pop() {
                self.want_client(id);
            }
            let todo = &self.core.todo;
            if todo.close.is_empty()
                && todo.spool.is_empty()
                && todo.connect.is_empty()
                && todo.write.is_empty()
                && self.core.replies.dirty.is_empty()
                && self.core.replies.refill.is_empty()
                && !self.core.has_turns()
            {
                return;
            }
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let at = self.core.next_tick().min(self.beat_at);
        // Only ever moved forward: an early wake finds nothing due and arms it again.
        if at < self.armed {
            self.armed = at;
            let when = self.epoch + Duration::from_micros(at);
            self.timer.as_mut().reset(when.into());
            if self.timer.as_mut().poll(cx).is_ready() {
                self.armed = u64::MAX;
                cx.waker().wake_by_ref();
            }
        }
    }

    pub(super) fn waker(&self, token: Token) -> Waker {
        Waker::from(Arc::new(SocketWaker {
            token,
            ready: Arc::clone(&self.ready),
        }))
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Client(socket) => self.client(socket),
            Command::Apply(snapshot) => self.core.apply(snapshot),
            Command::Drain => {
                self.draining = true;
                // What has arrived already is answered before its client is taken leave of.
                for id in 0..self.clients.len() as u32 {
                    self.client_ready(id);
                    self.read_arrived(id);
                }
                self.core.drain();
            }
            Command::Spooled(to, is_written) => self.core.spooled(to, is_written),
            Command::Resolved(id, attempt, addrs) => self.resolved(id, attempt, addrs),
        }
    }

    fn client(&mut self, socket: Socket) {
        let place = Place(Arc::clone(&self.load));
        let stream = match Stream::new(socket) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client's socket can't be used");
                return;
            }
        };
        let id = self.core.client_opened();
        if let Some(address) = stream.address() {
            self.core.client_is_at(id, address);
        }
        let waker = self.waker(Token::Client(id));
        put(
            &mut self.clients,
            id,
            ClientSocket {
                stream,
                waker,
                _place: place,
            },
        );
        self.client_ready(id);
        if self.draining {
            self.read_arrived(id);
            self.core.drain();
        }
    }

    /// Reads a client once, even if its socket has not said that it can be read: a new one says so only when the
    /// event loop has looked at it, and a client that is taken leave of is not waited for until then.
    fn read_arrived(&mut self, id: u32) {
        if !self.core.wants_read(id) {
            return;
        }
        if let Some(Some(socket)) = self.clients.get(id as usize)
            // After an error or the end of the stream it is closed for having nothing under way.
            && let Ok(n @ 1..) = socket.stream.read_now(self.scratch.space())
        {
            let data = self.scratch.lent().get(..n).unwrap_or_default();
            self.core.client_bytes(id, data);
        }
    }

    /// Reads a client once, and writes what could not be written before.
    fn client_ready(&mut self, id: u32) {
        let pending = self
            .core
            .replies
            .client(id)
            .is_some_and(|c| !c.out.is_empty());
        if pending {
            self.core.replies.mark(id);
        }
        if self.core.is_held_up(id) {
            self.core.go_on(id);
        }
        if !self.core.wants_read(id) {
            return;
        }
        let Some(Some(socket)) = self.clients.get_mut(id as usize) else {
            return;
        };
        let mut cx = Context::from_waker(&socket.waker);
        if let Some((block, missing)) = self.core.client_block(id) {
            match socket.stream.poll_read_to(&mut cx, block, missing) {
                Poll::Pending => {}
                Poll::Ready(Ok(0)) => self.core.client_eof(id),
                Poll::Ready(Ok(n)) => {
                    self.core.client_block_bytes(id, n);
                    socket.waker.wake_by_ref();
                }
                Poll::Ready(Err(_)) => self.drop_client(id),
            }
            return;
        }
        let mut buf = ReadBuf::new(self.scratch.space());
        match socket.stream.poll_read(&mut cx, &mut buf) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                let n = buf.filled().len();
                let data = self.scratch.lent().get(..n).unwrap_or_default();
                if data.is_empty() {
                    self.core.client_eof(id);
                    return;
                }
                let full = data.len() == READ;
                if data.len() >= LARGE {
                    self.core.lend(self.scratch.lent());
                }
                self.core.client_bytes(id, data);
                if !self.core.wants_read(id) {
                    return;
                }
                if full {
                    // There may be more, but the others come first.
                    socket.waker.wake_by_ref();
                } else if socket.stream.poll_readable(&mut cx).is_ready() {
                    socket.waker.wake_by_ref();
                }
            }
            Poll::Ready(Err(_)) => self.drop_client(id),
        }
    }

    /// Has the client read again after it was not wanted.
    fn want_client(&mut self, id: u32) {
        if let Some(Some(socket)) = self.clients.get(id as usize) {
            socket.waker.wake_by_ref();
        }
    }

    fn flush_client(&mut self, id: u32) {
        loop {
            let Some(Some(socket)) = self.clients.get_mut(id as usize) else {
                return;
            };
            let Some(client) = self.core.replies.client(id) else {
                return;
            };
            if client.broken {
                return self.drop_client(id);
            }
            let out = client.out.pending();
            if out.is_empty() {
                break;
            }
            let mut cx = Context::from_waker(&socket.waker);
            let written = if client.out.is_gathered() {
                socket.stream.poll_write_pieces(&mut cx, &client.out)
            } else {
                socket.stream.poll_write(&mut cx, out)
            };
            match written {
                Poll::Pending => return,
                Poll::Ready(Ok(n)) if n > 0 => self.core.client_wrote(id, n),
                Poll::Ready(_) => return self.drop_client(id),
            }
        }
        self.core.settle_draining(id);
        if self.core.is_finished(id) {
            self.drop_client(id);
        } else if self.core.is_held_up(id)
            && let Some(Some(socket)) = self.clients.get(id as usize)
        {
            socket.waker.wake_by_ref();
        }
    }

    fn drop_client(&mut self, id: u32) {
        if let Some(place) = self.clients.get_mut(id as usize) {
            if self.core.replies.client(id).is_some_and(|c| c.reset)
                && let Some(socket) = place
            {
                socket.stream.end_with_reset();
            }
            *place = None;
        }
        self.core.client_closed(id);
    }
}

pub(super) fn put<T>(places: &mut Vec<Option<T>>, id: u32, value: T) {
    let index = id as usize;
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    if let Some(place) = places.get_mut(index) {
        *place = Some(value);
    }
}

/// Gives back what is behind the last one, if that is most of the room.
fn shrink_places<T>(places: &mut Vec<Option<T>>) {
    while places.last().is_some_and(Option::is_none) {
        places.pop();
    }
    if places.capacity() >= SPARSE && places.len() < places.capacity() / 4 {
        places.shrink_to(places.len() * 2);
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
