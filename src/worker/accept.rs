//! Accepts clients and hands each to the worker with the fewest.
//!
//! One acceptor decides for all, because the kernel's own spreading of a few long-lived connections over
//! several listening sockets is lumpy. At the configured maximum nothing is accepted until a client leaves;
//! those who connect wait in the kernel's queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;

use super::driver::Command;
use super::socket::Socket;

/// A worker, as the rest of the process sees it.
#[derive(Debug)]
pub struct Member {
    /// Where it takes commands; replaced when the worker is.
    pub inbox: Mutex<UnboundedSender<Command>>,
    /// How many clients it has.
    pub load: Arc<AtomicUsize>,
}

impl Member {
    /// Tells the worker something; false if it is gone.
    pub fn tell(&self, command: Command) -> bool {
        self.inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(command)
            .is_ok()
    }
}

/// All workers.
#[derive(Debug)]
pub struct Fleet {
    /// The workers.
    pub members: Vec<Arc<Member>>,
    /// The most clients of all workers together; changes with the configuration.
    pub max_clients: AtomicUsize,
}

impl Fleet {
    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.members
            .iter()
            .map(|m| m.load.load(Ordering::Relaxed))
            .sum()
    }

    fn is_full(&self) -> bool {
        self.clients() >= self.max_clients.load(Ordering::Relaxed)
    }

    /// Gives a client to the worker with the fewest.
    fn hand_over(&self, socket: Socket) {
        if let Some(member) = self
            .members
            .iter()
            .min_by_key(|m| m.load.load(Ordering::Relaxed))
        {
            member.load.fetch_add(1, Ordering::Relaxed);
            if !member.tell(Command::Client(socket)) {
                member.load.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Socket> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Replies are written whole; waiting for more to send would only delay them.
                stream.set_nodelay(true)?;
                Socket::Tcp(stream.into_std()?)
            }
            Listener::Unix(listener) => Socket::Unix(listener.accept().await?.0.into_std()?),
        })
    }
}

/// How often a full house looks for a free place.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How long to wait after the system refused a connection, for lack of file descriptors for example.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients for ever.
pub async fn accept(listener: Listener, fleet: Arc<Fleet>) {
    let mut was_full = false;
    loop {
        if fleet.is_full() {
            if !was_full {
                tracing::warn!(
                    clients = fleet.clients(),
                    "no more clients are accepted until some leave (limits.max_connections)"
                );
            }
            was_full = true;
            tokio::time::sleep(FULL_PAUSE).await;
            continue;
        }
        was_full = false;
        match listener.accept().await {
            Ok(socket) => fleet.hand_over(socket),
            Err(error) => match error.kind() {
                std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::warn!(%error, "a client can't be accepted; check the limit of open files (ulimit -n)");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            },
        }
    }
}
