//! A router's core with clients and servers around it, all driven by a script; for the target `core`.
//!
//! It moves bytes between the core and the others as `worker::driver` does, without sockets. A server answers
//! truthfully (an embedded server's [`Session`]) or says whatever the script has it say. The world keeps what
//! every client sent and received, and [`World::check`] judges it: whole, well-formed replies, and values only of
//! keys that this client itself has asked for.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ringroad::config::{self, ServerAddr};
use ringroad::embedded::{Fate, Now, Options, Session, Store};
use ringroad::protocol::response::{self, Kind};
use ringroad::route::compile::Snapshot;
use ringroad::stats;
use ringroad::worker::buf::Lent;
use ringroad::worker::core::{Core, Local, Stats};

/// The routers that there are, by the first byte of a script. They differ in routes and in bounds so small that
/// they are met.
const CONFIGS: [&str; 6] = [
    "[pools.a]\nservers = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']\n",
    "flush_all = true\nmiss_on_get_errors = false\n\
     [pools.a]\nservers = ['127.0.0.1:1', '127.0.0.1:2']\nconnections = 2\ncoalesce = false\n",
    "route = { type = 'failover', children = ['a', 'b'], on = ['connect', 'timeout', 'closed', 'error', 'busy', 'miss'] }\n\
     [pools.a]\nservers = ['127.0.0.1:1', '127.0.0.1:2']\n[pools.b]\nservers = ['127.0.0.1:3']\n",
    "route = { type = 'prefix', default = 'a', prefixes = { k = 'b' } }\n\
     [pools.a]\nservers = ['127.0.0.1:1', '127.0.0.1:2']\n[pools.b]\nservers = ['127.0.0.1:3']\n",
    "route = { type = 'warm-up', cold = 'a', warm = 'b', exptime = 60 }\n\
     [pools.a]\nservers = ['127.0.0.1:1']\n[pools.b]\nservers = ['127.0.0.1:2']\n",
    "[limits]\nclient_requests = 2\nclient_bytes = '64KiB'\nmax_value = '64KiB'\n\
     [pools.a]\nservers = ['127.0.0.1:1', '127.0.0.1:2']\nqueue = { requests = 2 }\n",
];

/// How many servers the configurations have together.
const SERVERS: usize = 3;

/// Microseconds; the configurations leave it at the default.
const TIMEOUT: u64 = 1_000_000;

fn snapshot(number: usize) -> Arc<Snapshot> {
    static ALL: OnceLock<Vec<Arc<Snapshot>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let compile = |text: &&str| {
            let (config, _) = config::parse("core", text).unwrap_or_else(|e| panic!("{e}"));
            Arc::new(Snapshot::compile(&config).expect("the configuration is good"))
        };
        CONFIGS.iter().map(compile).collect()
    });
    Arc::clone(&all[number % all.len()])
}

struct Answers;

impl Local for Answers {
    fn version(&self) -> &[u8] {
        b"VERSION 1.6.45\r\n"
    }
    fn stats(&mut self, _args: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"END\r\n");
    }
    fn opened(&mut self, _pool: &str, _name: &str, _figures: Arc<stats::Destination>) {}
    fn troubled(&mut self, _name: &str) {}
    fn closed(&mut self, _figures: &Arc<stats::Destination>) {}
}

/// A connection from the router to a server.
struct Link {
    server: usize,
    connected: bool,
    session: Session,
    received: Vec<u8>,
}

#[derive(Default)]
struct Client {
    sent: Vec<u8>,
    received: Vec<u8>,
    reads: bool,
}

/// The core and everybody around it.
pub struct World {
    core: Core,
    now: u64,
    links: HashMap<u32, Link>,
    stores: Vec<Store>,
    refuses: [bool; SERVERS],
    clients: HashMap<u32, Client>,
    /// The ids of the clients that the script speaks of.
    seats: [Option<u32>; 4],
    /// Clients to be looked at in the next turn.
    awake: Vec<u32>,
}

impl World {
    /// With the router of this number.
    pub fn new(number: usize) -> World {
        let options = Options {
            memory: 1 << 20,
            max_item: 100_000,
            ..Options::default()
        };
        World {
            core: Core::new(
                snapshot(number),
                Box::new(Answers),
                Arc::new(Stats::default()),
                1,
            ),
            now: 1,
            links: HashMap::new(),
            stores: (0..SERVERS)
                .map(|_| Store::new(options.clone(), Now(1000)))
                .collect(),
            refuses: [false; SERVERS],
            clients: HashMap::new(),
            seats: [None; 4],
            awake: Vec::new(),
        }
    }

    fn begin(&mut self) {
        self.now += 50;
        self.core.set_now(self.now);
        if self.core.next_tick() <= self.now {
            self.core.tick();
        }
    }

    /// The client on this seat, which comes if it is not there.
    fn client(&mut self, seat: usize) -> u32 {
        if let Some(id) = self.seats[seat] {
            return id;
        }
        let id = self.core.client_opened();
        let client = Client {
            reads: true,
            ..Client::default()
        };
        assert!(
            self.clients.insert(id, client).is_none(),
            "an id given twice"
        );
        self.seats[seat] = Some(id);
        id
    }

    /// What is read is lent to the core, as the driver does it.
    fn lend(&mut self, bytes: &[u8]) -> Lent {
        let bytes = Lent::new(bytes.to_vec().into());
        self.core.lend(&bytes);
        bytes
    }

    /// A client sends; what the router does not want to read now is never sent.
    pub fn client_sends(&mut self, seat: usize, bytes: &[u8]) {
        self.begin();
        let id = self.client(seat);
        self.core.go_on(id);
        if self.core.wants_read(id) && !bytes.is_empty() {
            let client = self.clients.get_mut(&id).expect("it is there");
            client.sent.extend_from_slice(bytes);
            let bytes = self.lend(bytes);
            self.core.client_bytes(id, &bytes);
        }
        self.carry_out();
    }

    /// A client sends no more.
    pub fn client_ends(&mut self, seat: usize) {
        self.begin();
        let id = self.client(seat);
        if self.core.wants_read(id) {
            self.core.client_eof(id);
        }
        self.carry_out();
    }

    /// A client is gone.
    pub fn client_vanishes(&mut self, seat: usize) {
        self.begin();
        if let Some(id) = self.seats[seat] {
            self.core.client_closed(id);
            self.forget(id);
        }
        self.carry_out();
    }

    /// A client stops reading, or goes on.
    pub fn client_reads(&mut self, seat: usize, reads: bool) {
        self.begin();
        let id = self.client(seat);
        self.clients.get_mut(&id).expect("it is there").reads = reads;
        self.core.replies.mark(id);
        self.core.go_on(id);
        self.carry_out();
    }

    fn forget(&mut self, id: u32) {
        if let Some(client) = self.clients.remove(&id) {
            check(&client, false);
        }
        for seat in &mut self.seats {
            seat.take_if(|known| *known == id);
        }
    }

    fn link_ids(&self, server: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = self.links.keys().copied().collect();
        ids.retain(|id| self.links[id].server == server);
        ids.sort_unstable();
        ids
    }

    /// New connections to this server are established, or refused, as it does at the time.
    pub fn server_accepts(&mut self, server: usize) {
        self.begin();
        for id in self.link_ids(server) {
            if self.refuses[server] {
                self.links.remove(&id);
                self.core.conn_closed(id, "refused");
            } else if let Some(link) = self.links.get_mut(&id)
                && !link.connected
            {
                link.connected = true;
                self.core.conn_connected(id);
            }
        }
        self.carry_out();
    }

    /// From now on the server refuses connections, or takes them.
    pub fn server_refuses(&mut self, server: usize, refuses: bool) {
        self.refuses[server] = refuses;
    }

    /// The server answers what it has received, truthfully; on `most` of its connections.
    pub fn server_answers(&mut self, server: usize) {
        self.begin();
        for id in self.link_ids(server) {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if !link.connected || link.received.is_empty() {
                continue;
            }
            let asked = std::mem::take(&mut link.received);
            let mut out = Vec::new();
            let mut fate = link
                .session
                .feed(&self.stores[server], Now(1000), &asked, &mut out);
            while fate == Fate::Full {
                fate = link
                    .session
                    .feed(&self.stores[server], Now(1000), b"", &mut out);
            }
            assert_ne!(fate, Fate::Close, "the router sent what no server takes");
            if !out.is_empty() {
                let out = Lent::new(out.into());
                self.core.lend(&out);
                self.core.conn_bytes(id, &out);
            }
        }
        self.carry_out();
    }

    /// The server says this on its first connection and forgets what it was asked there.
    pub fn server_says(&mut self, server: usize, bytes: &[u8]) {
        self.begin();
        if let Some(id) = self.link_ids(server).first()
            && let Some(link) = self.links.get_mut(id)
            && link.connected
            && !bytes.is_empty()
        {
            link.received.clear();
            let (id, bytes) = (*id, self.lend(bytes));
            self.core.conn_bytes(id, &bytes);
        }
        self.carry_out();
    }

    /// The server closes its connections.
    pub fn server_drops(&mut self, server: usize) {
        self.begin();
        for id in self.link_ids(server) {
            self.links.remove(&id);
            self.core.conn_closed(id, "closed by the server");
        }
        self.carry_out();
    }

    /// The configuration is replaced.
    pub fn reload(&mut self, number: usize) {
        self.begin();
        self.core.apply(snapshot(number));
        self.carry_out();
    }

    /// Time passes, in thousandths of the timeout.
    pub fn pass(&mut self, thousandths: u64) {
        let until = self.now + thousandths * TIMEOUT / 1000;
        for _ in 0..200 {
            let next = self.core.next_tick();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.begin();
            self.carry_out();
        }
        self.now = self.now.max(until);
        self.begin();
        self.carry_out();
    }

    /// This turn, and those that follow from clients that were held up and have been written to.
    fn carry_out(&mut self) {
        self.carry_out_turn();
        for turn in 0.. {
            assert!(
                turn < 10_000,
                "a client is held up for ever and always busy"
            );
            let awake = std::mem::take(&mut self.awake);
            if awake.is_empty() {
                return;
            }
            self.begin();
            for id in awake {
                self.core.go_on(id);
            }
            self.carry_out_turn();
        }
    }

    /// What the core has listed, in the order of the driver.
    fn carry_out_turn(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "the core never has enough");
            self.core.refill();
            for id in std::mem::take(&mut self.core.todo.close) {
                self.links.remove(&id);
            }
            for id in std::mem::take(&mut self.core.todo.end) {
                self.links.remove(&id);
            }
            while let Some(id) = self.core.todo.connect.pop() {
                self.connect(id);
            }
            for id in std::mem::take(&mut self.core.todo.write) {
                self.core.conn_flushed(id);
                self.flush_link(id);
            }
            for id in std::mem::take(&mut self.core.replies.dirty) {
                self.core.replies.unmark(id);
                self.flush_client(id);
            }
            self.core.todo.read_clients.clear();
            let todo = &self.core.todo;
            if todo.close.is_empty()
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

    fn connect(&mut self, id: u32) {
        let Some(target) = self.core.conn_target(id) else {
            return;
        };
        let ServerAddr::Tcp(addr) = &target.addr else {
            panic!("an address that was not configured");
        };
        let link = Link {
            server: usize::from(addr.port()) - 1,
            connected: false,
            session: Session::new(),
            received: Vec::new(),
        };
        let before = self.links.insert(id, link);
        assert!(before.is_none(), "a connection is opened that is open");
    }

    fn flush_link(&mut self, id: u32) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.connected {
            return;
        }
        loop {
            let (out, _) = self.core.conn_out(id);
            if out.is_empty() {
                return;
            }
            link.received.extend_from_slice(out);
            let n = out.len();
            self.core.conn_wrote(id, n);
        }
    }

    fn flush_client(&mut self, id: u32) {
        let Some(client) = self.core.replies.client(id) else {
            return;
        };
        if !client.broken {
            let theirs = self.clients.get_mut(&id).expect("the core knows no others");
            if !theirs.reads {
                return;
            }
            while let Some(client) = self.core.replies.client(id)
                && !client.out.is_empty()
            {
                let out = client.out.pending();
                theirs.received.extend_from_slice(out);
                let n = out.len();
                self.core.client_wrote(id, n);
            }
        }
        if self.core.is_finished(id) {
            let broken = self.core.replies.client(id).is_some_and(|c| c.broken);
            self.core.client_closed(id);
            if let Some(client) = self.clients.get(&id) {
                check(client, !broken);
            }
            self.forget(id);
        } else if self.core.is_held_up(id) {
            self.awake.push(id);
        }
    }

    /// All is well again: servers take connections and answer, clients read, time passes. Then nothing may be
    /// under way, what clients have received must be right, and a new client must be served.
    pub fn check(mut self) {
        self.refuses = [false; SERVERS];
        for seat in 0..self.seats.len() {
            if self.seats[seat].is_some() {
                self.client_reads(seat, true);
            }
        }
        self.serve(true);
        let replies = &self.core.replies;
        let waits = replies
            .ids()
            .any(|id| replies.client(id).is_some_and(|c| c.requests > 0));
        assert!(!waits, "requests wait for ever");
        assert_eq!(self.core.in_service().1, 0, "a server never comes back");
        for client in self.clients.values() {
            check(client, true);
        }
        for seat in 0..self.seats.len() {
            self.client_vanishes(seat);
        }
        self.serve(false);
        assert!(self.core.replies.is_empty(), "somebody is left");
        self.client_sends(0, b"set key 0 0 5\r\nhello\r\n");
        self.serve(false);
        self.client_sends(0, b"get key\r\nmn\r\n");
        self.serve(false);
        let id = self.seats[0].expect("it is served, not closed");
        let got = &self.clients[&id].received;
        let want = b"STORED\r\nVALUE key 0 5\r\nhello\r\nEND\r\nMN\r\n";
        assert_eq!(
            got.escape_ascii().to_string(),
            want.escape_ascii().to_string()
        );
    }

    /// Rounds in which all servers accept and answer; `late` passes enough time for everything to be given up
    /// and for servers to be probed.
    fn serve(&mut self, late: bool) {
        for round in 0..if late { 60 } else { 8 } {
            for server in 0..SERVERS {
                self.server_accepts(server);
                self.server_answers(server);
            }
            if late && round >= 8 {
                self.pass(500);
            }
        }
    }
}

/// Judges what a client has received; `whole` if nothing may have been cut off.
fn check(client: &Client, whole: bool) {
    let mut rest = &client.received[..];
    while !rest.is_empty() {
        let Some((end, used)) = response::line(rest) else {
            assert!(!whole, "half a line: {}", rest.escape_ascii());
            return;
        };
        let line = &rest[..end];
        let block = match (response::value(line), response::kind(line)) {
            (Some(value), _) => {
                let asked = client
                    .sent
                    .windows(value.key.len())
                    .any(|part| part == value.key);
                assert!(asked, "somebody else's value: {}", line.escape_ascii());
                Some(value.len)
            }
            (None, Kind::MetaValue(len)) => Some(len),
            // The router's own answer to `mn`.
            (None, Kind::Unknown) if line == b"MN" => None,
            (None, Kind::Unknown) => {
                panic!("no reply of memcached's: {}", line.escape_ascii())
            }
            (None, _) => None,
        };
        rest = &rest[used..];
        if let Some(len) = block {
            let Some(bytes) = rest.get(..len + 2) else {
                assert!(!whole, "half a value of {}", line.escape_ascii());
                return;
            };
            assert!(bytes.ends_with(b"\r\n"), "a value without its end");
            rest = &rest[len + 2..];
        }
    }
}
