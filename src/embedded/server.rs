//! The embedded server's TCP side: a listener and its connections on one thread of their own.
//!
//! Each connection is read into a buffer that all of them share, its [`Session`] answers into another, and the
//! answer leaves with one write. What the socket does not take is kept, and nothing more is read from that
//! client until it is sent; so a slow reader costs what one turn may produce and no more, and an idle
//! connection costs next to nothing.
//!
//! Everything ends with the [`Handle`]: the thread, the listener, the connections and the items. This is the
//! only part that knows the clock.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::item::Now;
use super::session::{Fate, Session};
use super::store::Store;

/// Limits of an embedded server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that the items may take, with what is needed to keep them. At least 1 MiB.
    pub memory: usize,
    /// The largest item in bytes, counted as memcached counts it (`-I`): key, value and about 60 bytes. At most
    /// half the memory.
    pub max_item: usize,
    /// Connections open at the same time. Further ones get memcached's error and are closed.
    pub max_connections: usize,
}

impl Default for Options {
    /// memcached's own: 64 MiB, 1 MiB, 1024 connections.
    fn default() -> Options {
        Options {
            memory: 64 << 20,
            max_item: 1 << 20,
            max_connections: 1024,
        }
    }
}

/// A server that is bound to its address and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    addr: SocketAddr,
    options: Options,
}

impl Server {
    /// Binds to `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of binding and listening, such as an address in use.
    pub fn bind(addr: SocketAddr, options: Options) -> io::Result<Server> {
        let listener = StdListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok(Server {
            listener,
            addr,
            options,
        })
    }

    /// The address clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves, on a thread of its own, until the handle is stopped or dropped.
    ///
    /// # Errors
    /// If the runtime or the thread cannot be made.
    pub fn start(self) -> io::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener)?
        };
        let store = Arc::new(Store::new(self.options, clock()));
        // Set once, here.
        let _ = store.traffic().listening.set(self.addr);
        let (stop, stopped) = oneshot::channel();
        let shared = store.clone();
        let thread = std::thread::Builder::new()
            .name(format!("memcached-{}", self.addr.port()))
            .spawn(move || {
                let tasks = LocalSet::new();
                tasks.spawn_local(accept(listener, shared));
                // Sent or dropped, it is the end; the tasks and their sockets go with the set.
                let _ = tasks.block_on(&runtime, stopped);
            })?;
        Ok(Handle {
            addr: self.addr,
            store,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Starts `n` servers on free loopback ports, with `memory` bytes for the items of each.
///
/// # Errors
/// Those of [`Server::bind`] and [`Server::start`]; what was started by then is stopped.
pub fn run_many(n: usize, memory: usize) -> io::Result<Vec<Handle>> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options {
        memory,
        ..Options::default()
    };
    (0..n)
        .map(|_| Server::bind(addr, options.clone())?.start())
        .collect()
}

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// The address clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server's items and counters.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Closes the listener and all connections, and waits for the thread to end. The items are lost.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may be gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// The time of day in seconds.
fn clock() -> Now {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Now(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Bytes taken from a socket at once.
const READ: usize = 64 << 10;

/// Above this capacity the shared output buffer is given back after use.
const KEEP: usize = 512 << 10;

/// Buffers that every connection of a server uses between two awaits, and none across one.
struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
}

async fn accept(listener: TcpListener, store: Arc<Store>) {
    let scratch = Rc::new(RefCell::new(Scratch {
        input: vec![0; READ].into(),
        output: Vec::new(),
    }));
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            // Out of descriptors or a client gone already: wait a little, as there is nothing else to do.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let traffic = store.traffic();
        if traffic.connections.load(Relaxed) >= store.options().max_connections as u64 {
            traffic.rejected.fetch_add(1, Relaxed);
            // Whether the client hears why makes no difference here.
            let _ = socket.try_write(b"ERROR Too many open connections\r\n");
            continue;
        }
        // Replies are small and wanted at once. It only fails if the connection is gone.
        let _ = socket.set_nodelay(true);
        let seat = Seat {
            number: traffic.joined(peer),
            store: store.clone(),
        };
        let scratch = scratch.clone();
        tokio::task::spawn_local(async move {
            // An error is a connection that broke; the client knows.
            let _ = serve(socket, &seat.store, &scratch).await;
        });
    }
}

/// A connection's place among those that are counted; free again however the connection ends.
struct Seat {
    number: usize,
    store: Arc<Store>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.store.traffic().left(self.number);
    }
}

/// Serves one connection until its end.
async fn serve(socket: TcpStream, store: &Store, scratch: &RefCell<Scratch>) -> io::Result<()> {
    let mut session = Session::new();
    let mut fate = Fate::Open;
    loop {
        match fate {
            Fate::Open => socket.readable().await?,
            // The others get their turn in between.
            Fate::Full => tokio::task::yield_now().await,
            Fate::Close => return Ok(()),
        }
        let turn = turn(&socket, &mut session, fate, store, scratch)?;
        fate = turn.fate;
        send(&socket, &turn.unsent).await?;
    }
}

/// What one turn left to do.
struct Turn {
    fate: Fate,
    unsent: Vec<u8>,
}

/// Reads once, unless the session has input left; answers; writes once.
fn turn(
    socket: &TcpStream,
    session: &mut Session,
    fate: Fate,
    store: &Store,
    scratch: &RefCell<Scratch>,
) -> io::Result<Turn> {
    let traffic = store.traffic();
    let mut scratch = scratch.borrow_mut();
    let Scratch { input, output } = &mut *scratch;
    let read = match fate {
        Fate::Full => 0,
        Fate::Open | Fate::Close => match socket.try_read(input) {
            // What was received before the end is answered already.
            Ok(0) => {
                return Ok(Turn {
                    fate: Fate::Close,
                    unsent: Vec::new(),
                });
            }
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Turn {
                    fate,
                    unsent: Vec::new(),
                });
            }
            Err(error) => return Err(error),
        },
    };
    traffic.bytes_read.fetch_add(read as u64, Relaxed);
    output.clear();
    let input = input.get(..read).unwrap_or_default();
    let fate = session.feed(store, clock(), input, output);
    traffic
        .bytes_written
        .fetch_add(output.len() as u64, Relaxed);
    let sent = match output.is_empty() {
        true => 0,
        false => match socket.try_write(output) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        },
    };
    let unsent = output.get(sent..).unwrap_or_default().to_vec();
    if output.capacity() > KEEP {
        *output = Vec::new();
    }
    Ok(Turn { fate, unsent })
}

async fn send(socket: &TcpStream, mut unsent: &[u8]) -> io::Result<()> {
    while !unsent.is_empty() {
        socket.writable().await?;
        match socket.try_write(unsent) {
            Ok(sent) => unsent = unsent.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
