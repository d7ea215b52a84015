//! The driver's sockets to servers: looked up, opened, read, written.
//!
//! As with clients' sockets, each is read once a turn and written once; see [`super::driver`]. Every address of a
//! server gets its turn before the core hears that it can't be connected to.

use std::io;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use super::buf::LARGE;
use super::driver::{Command, Driver, READ, put};
use super::ready::Token;
use super::socket::{Socket, Stream, open_tcp, open_unix};
use crate::config::ServerAddr;
use crate::route::compile::DestinationSpec;

/// A socket to a server.
pub(super) struct ConnSocket {
    stream: Stream,
    waker: Waker,
    connecting: bool,
    /// The last write did not take everything, or not all was to be written.
    full: bool,
    /// Further addresses of the server's name, to be tried if this one can't be connected to.
    others: Vec<std::net::SocketAddr>,
}

impl ConnSocket {
    /// What has not been sent is not sent any more when this is dropped.
    pub(super) fn end_with_reset(&self) {
        self.stream.end_with_reset();
    }
}

impl Driver {
    pub(super) fn conn_ready(&mut self, id: u32) {
        // The core has given this socket up, and may have asked for a new one: what it says is not about that.
        if self.core.todo.close.contains(&id) {
            return;
        }
        let Some(Some(socket)) = self.conns.get_mut(id as usize) else {
            return;
        };
        let mut cx = Context::from_waker(&socket.waker);
        if socket.connecting {
            match socket.stream.poll_connected(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {
                    socket.connecting = false;
                    self.core.conn_connected(id);
                }
                Poll::Ready(Err(error)) => {
                    let others = std::mem::take(&mut socket.others);
                    return self.try_others(id, others, &error);
                }
            }
        }
        // Only then: asking the core for bytes ends the batch that later requests of this turn may join.
        if self.is_full(id) {
            self.core.todo.write.push(id);
        }
        let Some(Some(socket)) = self.conns.get_mut(id as usize) else {
            return;
        };
        let mut cx = Context::from_waker(&socket.waker);
        let mut buf = ReadBuf::new(self.scratch.space());
        match socket.stream.poll_read(&mut cx, &mut buf) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                let n = buf.filled().len();
                let data = self.scratch.lent().get(..n).unwrap_or_default();
                if data.is_empty() {
                    return self.drop_conn(id, "closed by the server");
                }
                let full = data.len() == READ;
                if data.len() >= LARGE {
                    self.core.lend(self.scratch.lent());
                }
                self.core.conn_bytes(id, data);
                if full || socket.stream.poll_readable(&mut cx).is_ready() {
                    socket.waker.wake_by_ref();
                }
            }
            Poll::Ready(Err(error)) => self.drop_conn(id, &error.to_string()),
        }
    }

    fn is_full(&self, id: u32) -> bool {
        matches!(self.conns.get(id as usize), Some(Some(socket)) if socket.full)
    }

    pub(super) fn flush_conn(&mut self, id: u32) {
        loop {
            let Some(Some(socket)) = self.conns.get_mut(id as usize) else {
                return;
            };
            if socket.connecting {
                return;
            }
            let (out, pieces) = self.core.conn_out(id);
            if out.is_empty() {
                // What has to wait is asked for again when the server has sent something.
                socket.full = pieces.is_some();
                return;
            }
            let mut cx = Context::from_waker(&socket.waker);
            let written = match pieces {
                None => socket.stream.poll_write(&mut cx, out),
                Some(pieces) => socket.stream.poll_write_pieces(&mut cx, pieces),
            };
            match written {
                Poll::Pending => {
                    socket.full = true;
                    return;
                }
                Poll::Ready(Ok(n)) if n > 0 => self.core.conn_wrote(id, n),
                Poll::Ready(Ok(_)) => return self.drop_conn(id, "nothing can be written"),
                Poll::Ready(Err(error)) => return self.drop_conn(id, &error.to_string()),
            }
        }
    }

    /// An address of a name could not be connected to: tries the next one.
    fn try_others(&mut self, id: u32, mut others: Vec<std::net::SocketAddr>, error: &io::Error) {
        match (others.is_empty(), self.core.conn_target(id)) {
            (false, Some(target)) => {
                let next = others.remove(0);
                self.open(id, &target, open_tcp(next), others);
            }
            _ => self.drop_conn(id, &error.to_string()),
        }
    }

    fn drop_conn(&mut self, id: u32, why: &str) {
        if let Some(place) = self.conns.get_mut(id as usize) {
            *place = None;
        }
        self.core.conn_closed(id, why);
    }

    pub(super) fn connect(&mut self, id: u32) {
        let Some(target) = self.core.conn_target(id) else {
            return;
        };
        let attempt = self.next_attempt(id);
        match &target.addr {
            ServerAddr::Name { host, port } => {
                let (host, port) = (host.clone(), *port);
                let outbox = self.outbox.clone();
                tokio::spawn(async move {
                    let found = tokio::net::lookup_host((host.as_str(), port))
                        .await
                        .map(Iterator::collect);
                    // The worker being gone is the only way for this to fail.
                    let _ = outbox.send(Command::Resolved(id, attempt, found));
                });
            }
            ServerAddr::Tcp(addr) => self.open(id, &target, open_tcp(*addr), Vec::new()),
            ServerAddr::Found(addrs) => self.resolved(id, attempt, Ok(addrs.clone())),
            ServerAddr::Unix(path) => self.open(id, &target, open_unix(path), Vec::new()),
        }
    }

    fn next_attempt(&mut self, id: u32) -> u64 {
        let index = id as usize;
        if self.attempts.len() <= index {
            self.attempts.resize(index + 1, 0);
        }
        match self.attempts.get_mut(index) {
            Some(attempt) => {
                *attempt += 1;
                *attempt
            }
            None => 0,
        }
    }

    pub(super) fn resolved(
        &mut self,
        id: u32,
        attempt: u64,
        found: io::Result<Vec<std::net::SocketAddr>>,
    ) {
        if self.attempts.get(id as usize) != Some(&attempt) {
            return;
        }
        let Some(target) = self.core.conn_target(id) else {
            return;
        };
        match found {
            Ok(mut addrs) if !addrs.is_empty() => {
                // One that neither answers nor refuses uses up the time; the next attempt begins elsewhere.
                let turn = attempt as usize % addrs.len();
                addrs.rotate_left(turn);
                let first = addrs.remove(0);
                self.open(id, &target, open_tcp(first), addrs);
            }
            Ok(_) => {
                let error = io::Error::other("the name has no address");
                self.open(id, &target, Err(error), Vec::new());
            }
            Err(error) => self.open(id, &target, Err(error), Vec::new()),
        }
    }

    fn open(
        &mut self,
        id: u32,
        target: &DestinationSpec,
        socket: io::Result<Socket>,
        others: Vec<std::net::SocketAddr>,
    ) {
        match socket.and_then(Stream::new) {
            Ok(stream) => {
                let waker = self.waker(Token::Conn(id));
                put(
                    &mut self.conns,
                    id,
                    ConnSocket {
                        stream,
                        waker,
                        connecting: true,
                        full: false,
                        others,
                    },
                );
                self.conn_ready(id);
            }
            Err(error) => {
                tracing::debug!(server = %target.name, %error, "connecting failed");
                self.core.conn_closed(id, &error.to_string());
            }
        }
    }
}
