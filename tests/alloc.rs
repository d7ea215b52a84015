//! What the request path allocates: nothing.
//!
//! Clients, servers and the turn of the event loop are played here without sockets, from bytes that were made
//! beforehand, around a real [`Core`]. After some turns to warm up, a counting allocator must see not a single
//! allocation in hundreds more, whether keys come alone, twenty at a time, or many requests in one read.

// The allocator only adds to a counter and hands on.
#![allow(unsafe_code)]
// Helpers of tests: a failed unwrap is a failed test, and clippy's exemption covers only test functions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use ringroad::config::{Config, Pool, Server, ServerAddr};
use ringroad::route::compile::Snapshot;
use ringroad::stats;
use ringroad::worker::core::{Core, Local, Stats};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Also called while the thread ends, when there is no counter any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct NoAnswers;

impl Local for NoAnswers {
    fn version(&self) -> &[u8] {
        b"VERSION 1\r\n"
    }
    fn stats(&mut self, _args: &[u8], _out: &mut Vec<u8>) {}
    fn opened(&mut self, _pool: &str, _name: &str, _figures: Arc<stats::Destination>) {}
    fn troubled(&mut self, _name: &str) {}
    fn closed(&mut self, _figures: &Arc<stats::Destination>) {}
}

const KEYS: usize = 1000;

/// A core, its clients, and servers that know the answer to every `get` by heart.
struct World {
    core: Core,
    clients: Vec<u32>,
    conns: Vec<u32>,
    /// `VALUE` and block of each key, by number; every tenth key is not there.
    values: Vec<Vec<u8>>,
    answer: Vec<u8>,
    todo: Vec<u32>,
    /// Bytes that reached clients.
    received: usize,
    now: u64,
}

impl World {
    fn new(clients: usize) -> World {
        let servers = (1..5u16)
            .map(|n| Server::new(ServerAddr::Tcp(([127, 0, 0, 1], n).into())))
            .collect();
        let config = Config::single_pool(Vec::new(), Pool::new("pool", servers));
        let snapshot = Arc::new(Snapshot::compile(&config).unwrap());
        let stats = Arc::new(Stats::default());
        let mut core = Core::new(snapshot, Box::new(NoAnswers), stats, 1);
        let clients = (0..clients).map(|_| core.client_opened()).collect();
        let values = (0..KEYS)
            .map(|n| match n % 10 {
                9 => Vec::new(),
                _ => {
                    let text = "x".repeat(20 + n % 300);
                    format!("VALUE key:{n:04} 0 {}\r\n{text}\r\n", text.len()).into_bytes()
                }
            })
            .collect();
        World {
            core,
            clients,
            conns: Vec::new(),
            values,
            answer: Vec::with_capacity(1 << 20),
            todo: Vec::with_capacity(1024),
            received: 0,
            now: 0,
        }
    }

    /// One turn: every client sends its bytes, servers answer, clients read.
    fn turn(&mut self, requests: &[Vec<u8>]) {
        self.now += 10;
        self.core.set_now(self.now);
        for (id, bytes) in self.clients.iter().zip(requests) {
            self.core.client_bytes(*id, bytes);
        }
        while let Some(id) = self.core.todo.connect.pop() {
            self.core.conn_connected(id);
            self.conns.push(id);
        }
        // More than once for a new client's pipeline, of which a part is held back at first.
        while !self.core.todo.write.is_empty() {
            self.serve_all();
        }
    }

    /// Servers answer what was written to them, clients read what that makes for them.
    fn serve_all(&mut self) {
        while !self.core.todo.write.is_empty() {
            std::mem::swap(&mut self.todo, &mut self.core.todo.write);
            for n in 0..self.todo.len() {
                self.serve(self.todo[n]);
            }
            self.todo.clear();
        }
        std::mem::swap(&mut self.todo, &mut self.core.replies.dirty);
        for id in self.todo.drain(..) {
            self.core.replies.unmark(id);
            let out = self.core.replies.client(id).unwrap().out.len();
            self.received += out;
            self.core.client_wrote(id, out);
            self.core.go_on(id);
        }
        self.core.todo.read_clients.clear();
    }

    /// Reads what was written to a server and answers it.
    fn serve(&mut self, id: u32) {
        self.core.conn_flushed(id);
        let (out, _) = self.core.conn_out(id);
        let written = out.len();
        self.answer.clear();
        for line in out.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let line = line.strip_suffix(b"\r").unwrap();
            if line == b"version" {
                self.answer.extend_from_slice(b"VERSION 1.6.45\r\n");
                continue;
            }
            for key in line.strip_prefix(b"get ").unwrap().split(|b| *b == b' ') {
                let digits = key.strip_prefix(b"key:").unwrap();
                let n = digits
                    .iter()
                    .fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
                self.answer.extend_from_slice(&self.values[n]);
            }
            self.answer.extend_from_slice(b"END\r\n");
        }
        self.core.conn_wrote(id, written);
        // In two pieces, so that replies are also put together.
        let (one, two) = self.answer.split_at(self.answer.len() / 2);
        self.core.conn_bytes(id, one);
        self.core.conn_bytes(id, two);
    }

    /// How many bytes the answers to these keys have.
    fn expected(&self, keys: &[usize]) -> usize {
        keys.iter().map(|key| self.values[*key].len()).sum()
    }
}

/// Runs `clients` that each send `requests` gets of `keys` keys in one read, turn after turn.
fn allocations(clients: usize, requests: usize, keys: usize) -> u64 {
    let mut world = World::new(clients);
    // Different keys in each turn, from a few sets that were made beforehand.
    let mut number = 0;
    let mut rounds = Vec::new();
    for _ in 0..7 {
        let mut round = Vec::new();
        let mut expected = 0;
        for _ in 0..clients {
            let mut bytes = Vec::new();
            for _ in 0..requests {
                let chosen: Vec<usize> = (0..keys)
                    .map(|_| {
                        number = (number * 31 + 17) % (KEYS * 8 + 1);
                        number % KEYS
                    })
                    .collect();
                expected += world.expected(&chosen) + b"END\r\n".len();
                bytes.extend_from_slice(b"get");
                for key in chosen {
                    bytes.extend_from_slice(format!(" key:{key:04}").as_bytes());
                }
                bytes.extend_from_slice(b"\r\n");
            }
            round.push(bytes);
        }
        rounds.push((round, expected));
    }
    let mut choice = 1u64;
    let mut turns = |world: &mut World, count: usize| {
        for _ in 0..count {
            choice = choice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (round, expected) = &rounds[(choice >> 33) as usize % rounds.len()];
            let before = world.received;
            world.turn(round);
            assert_eq!(world.received - before, *expected, "not all was answered");
        }
    };
    turns(&mut world, 500);
    assert_eq!(world.conns.len(), 4, "all servers take part");
    let worker = &world.core.stats.worker;
    let lines_before = worker.upstream_lines.get();
    let requests_before = worker.upstream_requests.get();
    let before = ALLOCATIONS.get();
    turns(&mut world, 500);
    let allocations = ALLOCATIONS.get() - before;
    let worker = &world.core.stats.worker;
    let lines = worker.upstream_lines.get() - lines_before;
    let sent = worker.upstream_requests.get() - requests_before;
    assert_eq!(sent as usize, 500 * clients * requests * keys);
    assert!(
        lines * 4 <= sent,
        "{sent} keys in {lines} lines: not coalesced"
    );
    allocations
}

#[test]
fn single_gets_of_64_clients_allocate_nothing() {
    assert_eq!(allocations(64, 1, 1), 0);
}

#[test]
fn gets_of_twenty_keys_allocate_nothing() {
    assert_eq!(allocations(16, 1, 20), 0);
}

#[test]
fn pipelined_gets_allocate_nothing() {
    assert_eq!(allocations(8, 50, 1), 0);
    // More than 16 KiB in one turn for each client.
    assert_eq!(allocations(2, 200, 1), 0);
}

/// The counter must be able to count.
#[test]
fn allocations_are_seen() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
