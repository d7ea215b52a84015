//! Accepts clients and hands each to the worker with the fewest.
//!
//! One acceptor decides for all, because the kernel's own spreading of a few long-lived connections over
//! several listening sockets is lumpy. At the configured maximum nothing is accepted until a client leaves;
//! those who connect wait in the kernel's queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
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
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// Whether other processes may listen at the same address.
        shared: bool,
    },
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Socket> {
        Ok(match self {
            Listener::Tcp { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                tcp(stream.into_std()?)?
            }
            Listener::Unix(listener) => Socket::Unix(listener.accept().await?.0.into_std()?),
        })
    }

    /// Has the kernel give new clients to the other process that listens here, if there is one.
    fn steer_away(&self) {
        #[cfg(target_os = "linux")]
        if let Listener::Tcp {
            listener,
            shared: true,
        } = self
        {
            steering::to_the_second(listener);
        }
    }

    /// Closes it, after accepting everybody who has connected. Without a pause between the two: who connects in one
    /// would be reset.
    fn close(self, fleet: &Fleet) -> std::io::Result<()> {
        match self {
            Listener::Tcp { listener, .. } => {
                let listener = listener.into_std()?;
                while !fleet.is_full()
                    && let Ok((stream, _)) = listener.accept()
                {
                    stream.set_nonblocking(true)?;
                    fleet.hand_over(tcp(stream)?);
                }
            }
            Listener::Unix(listener) => {
                let listener = listener.into_std()?;
                while !fleet.is_full()
                    && let Ok((stream, _)) = listener.accept()
                {
                    stream.set_nonblocking(true)?;
                    fleet.hand_over(Socket::Unix(stream));
                }
            }
        }
        Ok(())
    }
}

/// A client's socket as it should be.
fn tcp(stream: std::net::TcpStream) -> std::io::Result<Socket> {
    // Replies are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    // A client whose machine has vanished gives its place back some day.
    socket2::SockRef::from(&stream).set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15)),
    )?;
    Ok(Socket::Tcp(stream))
}

/// Which of several sockets that listen at one address the kernel gives a new client to. By default it goes by a hash of
/// the client's address; a program that is attached to any of the sockets decides for all.
#[cfg(target_os = "linux")]
mod steering {
    use std::os::fd::AsFd;

    use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};

    /// To the socket that was opened second, which is that of the new process: sockets have numbers in the order in
    /// which they were opened, from 0, and when one is closed the last one gets its number. Where there is no such
    /// socket the kernel goes on as by default; so nothing is lost where no other process listens.
    pub(super) fn to_the_second(socket: &impl AsFd) {
        let mut program = [sock_filter {
            code: (BPF_RET | BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: 1,
        }];
        let program = sock_fprog {
            len: 1,
            filter: program.as_mut_ptr(),
        };
        if let Err(error) = setsockopt(socket, AttachReusePortCbpf, &program) {
            // The few who connect at the very moment at which the socket is closed may be reset then.
            tracing::warn!(%error, "new clients can't be steered to the process that takes over");
        }
    }
}

/// How often a full house looks for a free place.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How long nobody may come for the door to be closed.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// How long it stays open at most, if there is always somebody.
const LAST_MOMENTS: Duration = Duration::from_millis(500);
/// How long to wait after the system refused a connection, for lack of file descriptors for example.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A warning that would come with every client at a bound comes this often at most.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Accepts clients until told to stop, and then those that are waiting already.
pub async fn accept(listener: Listener, fleet: Arc<Fleet>, stop: Arc<Notify>) {
    let stopped = stop.notified();
    tokio::pin!(stopped);
    stopped.as_mut().enable();
    let mut complain_at = Instant::now();
    let mut complain = || {
        let now = Instant::now();
        let due = now >= complain_at;
        if due {
            complain_at = now + COMPLAINT_PAUSE;
        }
        due
    };
    let mut stopping = None;
    loop {
        if fleet.is_full() {
            if stopping.is_some() {
                return;
            }
            if complain() {
                tracing::warn!(
                    clients = fleet.clients(),
                    "no more clients are accepted until some leave (limits.max_connections)"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(FULL_PAUSE) => {}
                () = stopped.as_mut() => return,
            }
            continue;
        }
        let accepted = if let Some(until) = stopping {
            let accepted = tokio::time::timeout(LAST_PAUSE, listener.accept()).await;
            match accepted {
                Ok(accepted) if Instant::now() < until => accepted,
                last => {
                    if let Ok(Ok(socket)) = last {
                        fleet.hand_over(socket);
                    }
                    if let Err(error) = listener.close(&fleet) {
                        tracing::warn!(%error, "some of the last clients can't be accepted");
                    }
                    return;
                }
            }
        } else {
            tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped.as_mut() => {
                    stopping = Some(Instant::now() + LAST_MOMENTS);
                    listener.steer_away();
                    continue;
                }
            }
        };
        match accepted {
            Ok(socket) => fleet.hand_over(socket),
            Err(error) => match error.kind() {
                std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::ConnectionReset => {}
                _ => {
                    if complain() {
                        tracing::warn!(%error, "a client can't be accepted; check the limit of open files (ulimit -n)");
                    }
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            },
        }
    }
}
