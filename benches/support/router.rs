//! A whole router of one worker without sockets: clients, the core, servers.
//!
//! It does in a turn what `worker::driver` does: reports everything that is ready, then writes every server
//! and every client that has something to be written, once. The servers work between turns, and only the
//! core's part is timed and counted (the copy into the other side's buffer, which stands for the system call,
//! is timed but not counted).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringroad::config;
use ringroad::route::compile::Snapshot;
use ringroad::stats::report::{Registry, Reporter};
use ringroad::worker::core::Core;

use super::load::{Load, Turn};
use super::metered;
use super::server::Server;

/// Three servers, as in the comparison with other routers.
pub const THREE_SERVERS: &str = r#"
[pools.cache]
servers = ["127.0.0.1:11211", "127.0.0.1:11212", "127.0.0.1:11213"]
"#;

/// The same, with a pool to go to when one of them fails.
pub const WITH_FAILOVER: &str = r#"
[route]
type = "failover"
children = ["cache", "other"]
[pools.cache]
servers = ["127.0.0.1:11211", "127.0.0.1:11212", "127.0.0.1:11213"]
[pools.other]
servers = ["127.0.0.1:11214"]
"#;

/// The same, with a pool that gets a copy of a tenth of the requests.
pub const WITH_SHADOW: &str = r#"
[route]
type = "shadow"
per_million = 100000
children = ["cache", "other"]
[pools.cache]
servers = ["127.0.0.1:11211", "127.0.0.1:11212", "127.0.0.1:11213"]
[pools.other]
servers = ["127.0.0.1:11214"]
"#;

/// Two pools that both get all requests.
pub const ALL_SYNC: &str = r#"
[route]
type = "all-sync"
children = ["cache", "other"]
[pools.cache]
servers = ["127.0.0.1:11211", "127.0.0.1:11212", "127.0.0.1:11213"]
[pools.other]
servers = ["127.0.0.1:11214", "127.0.0.1:11215", "127.0.0.1:11216"]
"#;

/// How much later each turn is than the one before, in microseconds.
const TURN: u64 = 100;

/// Compiles a configuration.
///
/// # Errors
/// What is wrong with it, in words.
pub fn snapshot(text: &str) -> Result<Snapshot, String> {
    let (config, _) = config::parse("bench", text).map_err(|errors| errors.to_string())?;
    Snapshot::compile(&config).map_err(|error| error.to_string())
}

/// The router and everybody around it.
pub struct Router {
    core: Core,
    now: u64,
    counting: bool,
    /// What each client has received, by its number. The core gives numbers from 0 on.
    received: Vec<Vec<u8>>,
    /// By the number of the connection.
    servers: Vec<Server>,
}

impl Router {
    /// A router with this configuration and as many clients as `load` has. Its connections are made, and all
    /// its buffers have the size that the load needs.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(config: &str, load: &Load) -> Result<Router, String> {
        let registry = Arc::new(Registry::new(1));
        let stats = registry.worker(0).ok_or("a registry without workers")?;
        let local = Box::new(Reporter::new(Arc::clone(&registry)));
        let mut core = Core::new(Arc::new(snapshot(config)?), local, stats, 1);
        for _ in 0..load.clients {
            core.client_opened();
        }
        let mut router = Router {
            core,
            now: 0,
            counting: false,
            received: vec![Vec::new(); load.clients],
            servers: Vec::new(),
        };
        for turn in load.turns().take(64) {
            router.turn(turn)?;
        }
        Ok(router)
    }

    /// From now on callgrind, if it runs this, counts.
    pub fn count(&mut self) {
        self.counting = true;
    }

    /// All clients send what `turn` says and receive their replies. Returns the time the core took.
    ///
    /// # Errors
    /// A client did not get the reply it must get; in words.
    pub fn turn(&mut self, turn: &Turn) -> Result<Duration, String> {
        let began = Instant::now();
        self.begin();
        for (id, request) in turn.requests.iter().enumerate() {
            if !metered::client_bytes(self.counting, &mut self.core, id as u32, request) {
                return Err(format!("the router stops reading client {id}"));
            }
        }
        self.carry_out()?;
        let mut spent = began.elapsed();
        loop {
            for server in &mut self.servers {
                server.work()?;
            }
            if self.servers.iter().all(|server| server.answer().is_empty()) {
                break;
            }
            let began = Instant::now();
            self.begin();
            for (id, server) in self.servers.iter().enumerate() {
                let answer = server.answer();
                if !answer.is_empty()
                    && !metered::conn_bytes(self.counting, &mut self.core, id as u32, answer)
                {
                    return Err(format!("the router stops reading connection {id}"));
                }
            }
            self.carry_out()?;
            spent += began.elapsed();
        }
        for (received, reply) in self.received.iter_mut().zip(&turn.replies) {
            if received != reply {
                return Err(format!(
                    "a client received {}, which should be {}",
                    received.escape_ascii(),
                    reply.escape_ascii()
                ));
            }
            received.clear();
        }
        Ok(spent)
    }

    fn begin(&mut self) {
        self.now += TURN;
        metered::begin(self.counting, &mut self.core, self.now);
    }

    /// Does what the core has listed, until it lists no more. (The lists of sockets to be read again, and of
    /// gets too long to be asked for at once, stay empty with the benches' loads.)
    fn carry_out(&mut self) -> Result<(), String> {
        loop {
            while let Some(id) = self.core.todo.connect.pop() {
                let index = id as usize;
                if self.servers.len() <= index {
                    self.servers.resize_with(index + 1, Server::default);
                }
                self.core.conn_connected(id);
            }
            let mut write = std::mem::take(&mut self.core.todo.write);
            for id in write.drain(..) {
                self.flush_conn(id)?;
            }
            if self.core.todo.write.is_empty() {
                self.core.todo.write = write;
            }
            let mut dirty = std::mem::take(&mut self.core.replies.dirty);
            for id in dirty.drain(..) {
                self.flush_client(id)?;
            }
            if self.core.replies.dirty.is_empty() {
                self.core.replies.dirty = dirty;
            }
            let todo = &self.core.todo;
            if !todo.close.is_empty()
                || !todo.read_clients.is_empty()
                || !self.core.replies.refill.is_empty()
            {
                return Err(format!("the router wants what the bench has not: {todo:?}"));
            }
            if todo.connect.is_empty()
                && todo.write.is_empty()
                && self.core.replies.dirty.is_empty()
            {
                return Ok(());
            }
        }
    }

    fn flush_conn(&mut self, id: u32) -> Result<(), String> {
        let out = metered::conn_out(self.counting, &mut self.core, id);
        let n = out.len();
        if n == 0 {
            return Ok(());
        }
        if let Some(server) = self.servers.get_mut(id as usize) {
            server.receive(out);
        }
        if metered::conn_wrote(self.counting, &mut self.core, id, n) {
            Ok(())
        } else {
            Err(format!("connection {id} has bytes left"))
        }
    }

    fn flush_client(&mut self, id: u32) -> Result<(), String> {
        let out = metered::client_out(self.counting, &mut self.core, id);
        let n = out.len();
        let Some(received) = self.received.get_mut(id as usize) else {
            return Err(format!("there is no client {id}"));
        };
        received.extend_from_slice(out);
        if metered::client_wrote(self.counting, &mut self.core, id, n) {
            Err(format!("the router closes client {id}"))
        } else {
            Ok(())
        }
    }
}
