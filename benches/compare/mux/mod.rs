//! The floor of the comparison: a bare multiplexer on one single-threaded tokio runtime.
//!
//! It does what no proxy can leave out, as well as we can write it: it reads requests of many clients,
//! hashes their keys, hands them to one connection per server, and gives the replies back in the order in
//! which each client asked. One read per ready client, one write per server and per client in a turn, no
//! channels, no allocation per request, large values without a copy in between.
//!
//! It leaves out everything else: limits, time-outs, counters, other commands than `get` and `set`, failing
//! servers (it ends), the order of values within one get, and putting gets of several clients together.
//! It is no router: it is here only so that "as fast as can be" is a program and not an opinion.
//!
//! - `client`: requests. `server`: replies. Here: what they share, and how it starts.

mod client;
mod server;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use slab::Slab;
use tokio::net::{TcpSocket, TcpStream};

use client::Client;
use server::Server;

/// Bytes read at a time. Of 16 KiB to 512 KiB this was best for values of 64 KiB and of 900 KiB alike.
const SCRATCH: usize = 256 * 1024;
/// From this size on bytes are passed on by themselves rather than gathered with others.
const LARGE: usize = 16 * 1024;
/// How many tasks run before the sockets are looked at again: all that are ready.
const TASKS_PER_TURN: u32 = 4096;
/// Most servers: one bit each is kept of those that a get is split over.
const SERVERS: usize = 64;
/// How many large buffers are kept for the next large values.
const SPARE: usize = 64;

/// What `compare mux` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where clients connect.
    #[arg(long)]
    listen: SocketAddr,
    /// The servers.
    #[arg(long, value_delimiter = ',', required = true)]
    servers: Vec<SocketAddr>,
}

/// What all tasks share; one thread has it.
struct Hub {
    clients: RefCell<Slab<Client>>,
    servers: Vec<RefCell<Server>>,
    /// What every socket is read into; empty between two reads.
    scratch: RefCell<Box<[u8]>>,
    /// Large buffers without contents: a fresh one costs more than filling it.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Hub {
    /// The number of the server that has `key`.
    fn place(&self, key: &[u8]) -> usize {
        crc32fast::hash(key) as usize % self.servers.len()
    }

    /// An empty buffer, a large one if there is one.
    fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for later.
    fn recycle(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// Multiplexes; does not return. The process ends when a server goes.
///
/// # Errors
/// When it cannot listen or cannot reach a server.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    if options.servers.len() > SERVERS {
        return Err(format!("at most {SERVERS} servers"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .event_interval(TASKS_PER_TURN)
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(|error| error.to_string())?;
    runtime
        .block_on(serve(options))
        .map_err(|error| format!("mux: {error}"))
}

async fn serve(options: &Options) -> std::io::Result<()> {
    let mut servers = Vec::new();
    let mut readers = Vec::new();
    for address in &options.servers {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        servers.push(RefCell::new(Server::new(write)));
        readers.push(read);
    }
    let hub = Rc::new(Hub {
        clients: RefCell::default(),
        servers,
        scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        spare: RefCell::default(),
    });
    for (number, read) in readers.into_iter().enumerate() {
        tokio::task::spawn_local(server::read(Rc::clone(&hub), number, read));
        tokio::task::spawn_local(server::flush(Rc::clone(&hub), number));
    }
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(options.listen)?;
    let listener = socket.listen(4096)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let id = hub.clients.borrow_mut().insert(Client::new(write));
        tokio::task::spawn_local(client::serve(Rc::clone(&hub), id, read));
    }
}
