//! A driver without sockets: it moves bytes between the core, clients and servers as the real one does,
//! in pieces and orders of its own choosing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::client::{Ask, Client};
use super::env::{Answers, Env, number_of};
use super::memcached::{Asked, Store};
use super::plan::{Act, Fault, Lie, Rng, Setup, Tight, What};
use crate::config::ServerAddr;
use crate::worker::core::{Core, Stats};

pub struct Server {
    pub store: Store,
    pub refuses: bool,
    pub hangs: bool,
    pub stalled: bool,
    /// The most bytes that come from it in a turn, smooth or not.
    pub trickles: Option<usize>,
    pub lie: Option<(Lie, u64)>,
}

/// A connection between the router and a server.
struct Link {
    server: usize,
    connecting: bool,
    to_server: Vec<u8>,
    to_router: VecDeque<u8>,
    /// The server has closed it.
    eof: bool,
    /// The last write did not take everything.
    full: bool,
}

pub struct Sim {
    pub core: Core,
    pub env: Env,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    links: Vec<Option<Link>>,
    now: u64,
    uids: u64,
    /// Every byte moves as soon as it can.
    smooth: bool,
    /// Whether something moved in the last turn.
    moved: bool,
    /// Clients are taken leave of; no new ones come.
    draining: bool,
}

enum Token {
    Client(usize),
    Link(usize),
}

impl Sim {
    pub fn new(setup: Setup) -> Sim {
        let figures = Arc::default();
        let env = Env::new(setup, Arc::clone(&figures));
        let core = Core::new(
            Arc::clone(&env.snapshot),
            Box::new(Answers { figures }),
            Arc::new(Stats::default()),
            env.setup.seed,
        );
        let servers = (0..env.setup.servers)
            .map(|n| Server {
                store: Store::new(n as u64 * 1_000_000_000),
                refuses: false,
                hangs: false,
                stalled: false,
                trickles: None,
                lie: None,
            })
            .collect();
        let mut sim = Sim {
            core,
            env,
            clients: Vec::new(),
            servers,
            links: Vec::new(),
            now: 0,
            uids: 0,
            smooth: false,
            moved: false,
            draining: false,
        };
        for _ in 0..sim.env.setup.clients {
            let client = sim.new_client();
            sim.clients.push(client);
        }
        sim
    }

    fn new_client(&mut self) -> Client {
        self.uids += 1;
        let id = self.core.client_opened();
        let client = Client::new(self.uids, id);
        if self.env.rules(false).appear {
            self.seed(&client);
        }
        client
    }

    /// Puts values for a client's keys into the warm pool.
    fn seed(&mut self, client: &Client) {
        for n in [0, 1, 6] {
            let key = client.own_key(n);
            let number = self.env.number();
            self.env.writes(client.uid, number, &key);
            let size = if self.env.setup.big && n == 6 {
                50_000
            } else {
                20
            };
            let value = super::oracle::record(&key, client.uid, number, size);
            for pool in &self.env.snapshot.pools[2..] {
                let spec = &pool.servers[pool.selector.select(&key)];
                let server = number_of(&spec.addr.to_string());
                self.servers[server].store.put(&key, 5, value.clone());
            }
        }
    }

    pub fn client_index(&self, client: usize) -> usize {
        client % self.clients.len()
    }

    pub fn ask(&mut self, client: usize, what: What, rng: &mut Rng) {
        let client = self.client_index(client);
        self.clients[client].ask(&mut self.env, what, rng);
    }

    pub fn act(&mut self, client: usize, act: Act, rng: &mut Rng) {
        let index = self.client_index(client);
        match act {
            Act::Vanish => self.replace(index),
            Act::VanishMidRequest => {
                let client = &mut self.clients[index];
                if !client.finished {
                    let half = [&b"set k 0 0 10\r\nhal"[..], b"get a b", b"mg"];
                    client.outgoing.extend(*rng.pick(&half));
                }
                self.client_ready(index, rng);
                self.replace(index);
            }
            Act::HalfClose => {
                let client = &mut self.clients[index];
                client.half_closed = true;
                client.finished = true;
            }
            Act::Quit => self.clients[index].quit(&self.env),
            Act::StopReading => {
                if self.env.setup.faults {
                    self.clients[index].reading = false;
                    self.clients[index].slow = true;
                }
            }
            Act::ReadOn => self.clients[index].reading = true,
        }
    }

    /// The client's connection is gone and another client comes.
    fn replace(&mut self, index: usize) {
        self.core.client_closed(self.clients[index].id);
        if self.draining {
            self.clients.remove(index);
        } else {
            self.clients[index] = self.new_client();
        }
    }

    /// From now on each client is to be closed as soon as it has its replies.
    pub fn drain(&mut self) {
        self.draining = true;
        for client in &mut self.clients {
            client.finished = true;
        }
        self.core.drain();
    }

    pub fn reload(&mut self, variant: usize) {
        self.env.epoch += 1;
        self.env.config = self.env.setup.config(variant);
        self.env.snapshot = Arc::new(self.env.setup.snapshot(variant));
        self.core.set_now(self.now);
        self.core.apply(Arc::clone(&self.env.snapshot));
    }

    pub fn fault(&mut self, server: usize, fault: Fault, rng: &mut Rng) {
        if !self.env.setup.allows(fault) {
            return;
        }
        let index = server % self.servers.len();
        let server = &mut self.servers[index];
        match fault {
            Fault::Refuse => server.refuses = !server.refuses,
            Fault::Hang => server.hangs = !server.hangs,
            Fault::Stall => server.stalled = !server.stalled,
            Fault::Lie(lie) => server.lie = Some((lie, rng.next())),
            Fault::Restart => {
                if rng.one_in(2) {
                    server.store.items.clear();
                }
                self.drop_links(index, rng);
            }
            Fault::Drop => self.drop_links(index, rng),
            Fault::Unasked => {
                self.core.set_now(self.now);
                for id in 0..self.links.len() {
                    let quiet = self
                        .core
                        .conns
                        .get(id)
                        .is_some_and(|up| up.is_ready() && up.conn.expects_nothing());
                    if quiet && self.links[id].as_ref().is_some_and(|l| l.server == index) {
                        let bytes = *rng.pick(&[&b"END\r\n"[..], b"STORED\r\n", b"x"]);
                        self.core.conn_bytes(id as u32, bytes);
                        let closed = self.core.todo.close.contains(&(id as u32));
                        assert!(closed, "unasked bytes were taken for an answer");
                    }
                }
            }
        }
        self.env.injected[index] += 1;
    }

    fn drop_links(&mut self, server: usize, rng: &mut Rng) {
        for link in self.links.iter_mut().flatten() {
            if link.server == server {
                link.eof = true;
                link.to_server.clear();
                if rng.one_in(2) {
                    let keep = rng.below(link.to_router.len() + 1);
                    link.to_router.truncate(keep);
                }
            }
        }
    }

    /// Time passes, with a turn whenever the core asks for one.
    pub fn pass(&mut self, micros: u64, rng: &mut Rng) {
        let until = self.now + micros;
        for _ in 0..400 {
            let next = self.core.next_tick();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.turn(rng);
        }
        self.now = self.now.max(until);
        self.turn(rng);
    }

    /// One turn of the event loop, and then the servers' turn.
    pub fn turn(&mut self, rng: &mut Rng) {
        self.moved = false;
        if !self.smooth {
            self.now += rng.below(300) as u64;
        }
        self.core.set_now(self.now);
        let mut tokens: Vec<Token> = (0..self.clients.len()).map(Token::Client).collect();
        tokens.extend((0..self.links.len()).map(Token::Link));
        for n in (1..tokens.len()).rev() {
            tokens.swap(n, rng.below(n + 1));
        }
        for token in tokens {
            if !self.smooth && rng.one_in(3) {
                continue;
            }
            match token {
                // It may have been the last one and be gone.
                Token::Client(index) if index >= self.clients.len() => {}
                Token::Client(index) => self.client_ready(index, rng),
                Token::Link(id) => self.link_ready(id, rng),
            }
        }
        if self.core.next_tick() <= self.now {
            self.core.tick();
        }
        self.carry_out(rng);
        for _ in 0..3 {
            if self.core.next_tick() <= self.now {
                self.core.tick();
                self.carry_out(rng);
            }
        }
        assert!(
            self.core.next_tick() > self.now,
            "ticks do nothing and are due again at once"
        );
        self.serve(rng);
    }

    /// How many of `most` bytes move at a time.
    fn piece(&self, most: usize, rng: &mut Rng) -> usize {
        if self.smooth {
            return most;
        }
        match rng.below(5) {
            0 => rng.below(3),
            1 => rng.below(50),
            2 => rng.below(5000),
            _ => 65_536,
        }
        .min(most)
    }

    fn client_ready(&mut self, index: usize, rng: &mut Rng) {
        let id = self.clients[index].id;
        let pending = |c: &crate::client::replies::Client| !c.out.is_empty();
        if self.core.replies.client(id).is_some_and(pending) {
            self.core.replies.mark(id);
        }
        if !self.core.wants_read(id) {
            return;
        }
        let most = self.clients[index].outgoing.len().min(65_536);
        let n = self.piece(most, rng);
        let client = &mut self.clients[index];
        if n > 0 {
            let data: Vec<u8> = client.outgoing.drain(..n).collect();
            self.moved = true;
            self.core.client_bytes(id, &data);
        } else if client.half_closed && client.outgoing.is_empty() && !client.eof_seen {
            client.eof_seen = true;
            self.moved = true;
            self.core.client_eof(id);
        }
    }

    fn link_ready(&mut self, id: usize, rng: &mut Rng) {
        let Some(link) = self.links[id].as_mut() else {
            return;
        };
        if link.connecting {
            let server = &self.servers[link.server];
            if server.hangs {
                return;
            }
            self.moved = true;
            if server.refuses {
                return self.drop_link(id, "refused");
            }
            link.connecting = false;
            self.core.conn_connected(id as u32);
        }
        let Some(link) = self.links[id].as_mut() else {
            return;
        };
        if link.full {
            self.core.todo.write.push(id as u32);
        }
        let server = link.server;
        let most = link.to_router.len().min(65_536);
        if most == 0 {
            if link.eof {
                self.moved = true;
                self.drop_link(id, "closed by the server");
            }
            return;
        }
        let mut n = self.piece(most, rng);
        n = n.min(self.servers[server].trickles.unwrap_or(n));
        if n > 0 {
            let link = self.links[id].as_mut().expect("just seen");
            let data: Vec<u8> = link.to_router.drain(..n).collect();
            self.moved = true;
            self.core.conn_bytes(id as u32, &data);
        }
    }

    fn drop_link(&mut self, id: usize, why: &str) {
        self.links[id] = None;
        self.core.conn_closed(id as u32, why);
    }

    /// Does what the core has listed, in the order of the real driver.
    fn carry_out(&mut self, rng: &mut Rng) {
        for round in 0.. {
            assert!(round < 10_000, "the core never has enough");
            self.core.refill();
            for id in std::mem::take(&mut self.core.todo.close) {
                self.close_link(id as usize, rng);
            }
            while let Some(id) = self.core.todo.connect.pop() {
                self.connect(id);
            }
            for id in std::mem::take(&mut self.core.todo.write) {
                self.core.conn_flushed(id);
                self.flush_link(id as usize, rng);
            }
            for id in std::mem::take(&mut self.core.replies.dirty) {
                self.core.replies.unmark(id);
                self.flush_client(id, rng);
            }
            self.core.todo.read_clients.clear();
            let todo = &self.core.todo;
            if todo.close.is_empty()
                && todo.connect.is_empty()
                && todo.write.is_empty()
                && self.core.replies.dirty.is_empty()
                && self.core.replies.refill.is_empty()
            {
                return;
            }
        }
    }

    /// The router closes a connection; the server may have read what was sent before, or not.
    fn close_link(&mut self, id: usize, rng: &mut Rng) {
        if rng.one_in(2) {
            self.serve_link(id, true, rng);
        }
        if let Some(link) = self.links.get_mut(id) {
            *link = None;
        }
    }

    fn connect(&mut self, id: u32) {
        let Some(target) = self.core.conn_target(id) else {
            return;
        };
        let ServerAddr::Tcp(addr) = &target.addr else {
            panic!("an address that was not configured");
        };
        let id = id as usize;
        if self.links.len() <= id {
            self.links.resize_with(id + 1, || None);
        }
        self.moved = true;
        self.links[id] = Some(Link {
            server: usize::from(addr.port()) - 1000,
            connecting: true,
            to_server: Vec::new(),
            to_router: VecDeque::new(),
            eof: false,
            full: false,
        });
    }

    fn flush_link(&mut self, id: usize, rng: &mut Rng) {
        loop {
            let most = self.piece(usize::MAX, rng);
            let Some(Some(link)) = self.links.get_mut(id) else {
                return;
            };
            if link.connecting {
                return;
            }
            let out = self.core.conn_out(id as u32);
            if out.is_empty() {
                link.full = false;
                return;
            }
            if link.eof && rng.one_in(2) {
                return self.drop_link(id, "broken pipe");
            }
            let n = out.len().min(most);
            if n == 0 {
                link.full = true;
                return;
            }
            link.to_server.extend_from_slice(&out[..n]);
            if link.eof {
                link.to_server.clear();
            }
            self.moved = true;
            self.core.conn_wrote(id as u32, n);
        }
    }

    fn flush_client(&mut self, id: u32, rng: &mut Rng) {
        let Some(index) = self.clients.iter().position(|c| c.id == id) else {
            return;
        };
        loop {
            let Some(client) = self.core.replies.client(id) else {
                return;
            };
            if client.broken {
                self.check_broken(index);
                return self.replace(index);
            }
            let out = client.out.pending();
            if out.is_empty() {
                break;
            }
            let n = match self.clients[index].reading {
                true => self.piece(out.len(), rng),
                false => 0,
            };
            if n == 0 {
                return;
            }
            let bytes = out[..n].to_vec();
            self.moved = true;
            self.clients[index].receive(&self.env, &bytes);
            self.core.client_wrote(id, n);
        }
        self.core.settle_draining(id);
        if self.core.is_finished(id) {
            self.check_finished(index);
            self.replace(index);
        } else {
            self.core.go_on(id);
        }
    }

    /// The router has closed this client at once: it must have had a reason.
    fn check_broken(&self, index: usize) {
        let client = &self.clients[index];
        let crowded = matches!(self.env.setup.limits, Tight::WorkerBytes(_));
        let streamed = self.env.setup.faults && self.largest() > 30_000;
        assert!(
            !self.env.strict && (crowded || streamed),
            "closed for no reason (slow: {})",
            client.slow
        );
        client.check_fragment(&self.env);
    }

    /// The router has closed this client in peace: it must have wanted that, and have all its replies.
    fn check_finished(&mut self, index: usize) {
        let client = &self.clients[index];
        assert!(client.finished, "closed without having asked for it");
        if self.draining && !client.outgoing.is_empty() {
            // What was not read is not owed.
            return;
        }
        let open = client
            .pending
            .iter()
            .filter(|p| !matches!(p.ask, Ask::Silent(_) | Ask::Quit))
            .count();
        assert!(
            open == 0 && client.incoming.is_empty(),
            "closed with {open} replies owed"
        );
    }

    fn largest(&self) -> usize {
        let sizes = self
            .servers
            .iter()
            .flat_map(|server| server.store.items.values().map(|item| item.value.len()));
        // What is gone may still be under way.
        sizes
            .max()
            .unwrap_or(0)
            .max(if self.env.setup.big { 100_000 } else { 0 })
    }

    /// The servers answer some of what they have read.
    fn serve(&mut self, rng: &mut Rng) {
        for id in 0..self.links.len() {
            if self.smooth || !rng.one_in(3) {
                self.serve_link(id, false, rng);
            }
        }
    }

    fn serve_link(&mut self, id: usize, closing: bool, rng: &mut Rng) {
        let Some(Some(link)) = self.links.get_mut(id) else {
            return;
        };
        let server = &mut self.servers[link.server];
        if link.eof || (server.stalled && !closing) {
            return;
        }
        let mut at = 0;
        while at < link.to_server.len() {
            if !self.smooth && rng.one_in(20) {
                break;
            }
            let drops_first = matches!(server.lie, Some((Lie::DropBefore, _)));
            if drops_first && rng.one_in(2) {
                // Not even executed.
                server.lie = None;
                self.env.injected[link.server] += 1;
                link.eof = true;
                break;
            }
            let Some(answer) = server.store.execute(&link.to_server[at..]) else {
                break;
            };
            self.moved = true;
            at += answer.used;
            let mut bytes = answer.bytes;
            if let Some((lie, detail)) = server.lie
                && let Some(lied) = untrue(lie, &bytes, &answer.asked, &server.store, detail)
            {
                server.lie = None;
                self.env.injected[link.server] += 1;
                bytes = lied;
                link.eof = matches!(lie, Lie::DropBefore | Lie::DropAfter | Lie::DropHalfWay);
            }
            link.to_router.extend(bytes);
            if link.eof {
                break;
            }
        }
        link.to_server.drain(..at);
        if link.eof {
            link.to_server.clear();
        }
    }

    /// All faults end.
    pub fn heal(&mut self) {
        for (n, server) in self.servers.iter_mut().enumerate() {
            if server.refuses || server.hangs || server.stalled || server.lie.is_some() {
                self.env.injected[n] += 1;
            }
            server.refuses = false;
            server.hangs = false;
            server.stalled = false;
            server.trickles = None;
            server.lie = None;
        }
        for client in &mut self.clients {
            client.reading = true;
        }
    }

    fn open_requests(&self) -> usize {
        self.core.replies.outstanding()
    }

    /// Runs until nothing is under way, time passing as it must.
    pub fn settle(&mut self, rng: &mut Rng) {
        self.smooth = true;
        let limit = self.now + 60_000_000;
        loop {
            self.turn(rng);
            if self.moved {
                continue;
            }
            let next = self.core.next_tick();
            let quiet = self.open_requests() == 0
                && self.core.conns.iter().all(|(_, up)| up.conn.is_idle())
                && self.core.in_service().1 == 0;
            if quiet {
                break;
            }
            assert!(
                next < limit,
                "{} requests wait for ever, {:?} destinations in and out of service",
                self.open_requests(),
                self.core.in_service()
            );
            self.now = next;
        }
        self.smooth = false;
        self.check_settled();
    }

    fn check_settled(&mut self) {
        for client in &mut self.clients {
            assert!(client.outgoing.is_empty(), "not read");
            let silent = client.pending.len();
            let owed = client
                .pending
                .iter()
                .filter(|p| !matches!(p.ask, Ask::Silent(_)))
                .count();
            assert_eq!(owed, 0, "replies that never came");
            assert!(client.incoming.is_empty());
            client.resolve_silent(&self.env, silent);
        }
        for server in &self.servers {
            for (key, item) in &server.store.items {
                self.env.check_value(key, &item.value, true);
            }
        }
        assert!(self.core.frames.is_empty(), "frames are left");
        assert!(self.core.later.is_empty());
        for (_, up) in &self.core.conns {
            assert_eq!(up.conn.buffered(), 0);
        }
    }

    /// From now on every reply is checked exactly.
    pub fn be_strict(&mut self) {
        self.env.strict = true;
        for client in &mut self.clients {
            client.beliefs.clear();
        }
    }

    /// What is stored may be anything; nothing is believed of a key before it has been set.
    pub fn assume_nothing(&mut self, index: usize) {
        for n in 0..9 {
            let client = &mut self.clients[index];
            let key = client.own_key(n);
            let belief = client.beliefs.entry(key).or_default();
            belief.forget();
            belief.epoch = self.env.epoch;
        }
    }

    /// Asks, and runs until the reply is there.
    pub fn converse(&mut self, index: usize, what: What, key: Vec<u8>, rng: &mut Rng) {
        self.clients[index].ask_about(&mut self.env, what, key, rng);
        self.settle(rng);
    }

    /// One turn in which everything moves.
    pub fn smooth_turn(&mut self, rng: &mut Rng) {
        self.smooth = true;
        self.turn(rng);
        self.smooth = false;
    }

    /// Sends a `get` for these keys.
    pub fn get(&mut self, index: usize, keys: &[Vec<u8>]) {
        self.clients[index].get(&self.env, "get", keys);
    }

    /// Bytes that a client has sent and the router not read.
    pub fn unread(&self, index: usize) -> usize {
        self.clients[index].outgoing.len()
    }

    /// Nothing may be left behind once all clients are gone.
    pub fn check_empty(&mut self, rng: &mut Rng) {
        let ids: Vec<u32> = self.clients.iter().map(|c| c.id).collect();
        self.clients.clear();
        for id in ids {
            self.core.client_closed(id);
        }
        self.smooth = true;
        self.settle(rng);
        assert!(self.core.replies.is_empty());
        let worker = &self.core.stats.worker;
        assert_eq!(worker.curr_connections.get(), 0);
        if !self.env.setup.faults {
            assert_eq!(worker.upstream_bad_replies.get(), 0);
        }
    }
}

/// What a server says instead of the truth; `None` if this lie does not fit the command.
fn untrue(lie: Lie, truth: &[u8], asked: &Asked, store: &Store, detail: u64) -> Option<Vec<u8>> {
    let mut rng = Rng(detail);
    match lie {
        Lie::ServerError => Some(b"SERVER_ERROR out of memory\r\n".to_vec()),
        Lie::Garbage => Some(match rng.below(4) {
            0 => b"rubbish\r\n".to_vec(),
            1 => b"VALUE\r\n".to_vec(),
            2 => vec![b'x'; 5000],
            _ => b"VALUE k 0 99999999999\r\n".to_vec(),
        }),
        Lie::WrongKey => {
            let Asked::Get(keys) = asked else {
                return None;
            };
            // Another user's value, complete and well-formed.
            let mut others: Vec<&Vec<u8>> = store
                .items
                .keys()
                .filter(|key| !keys.contains(key))
                .collect();
            others.sort();
            let other = others.get(rng.below(others.len()))?;
            let mut out = Vec::new();
            store.value(other, false, &mut out);
            out.extend_from_slice(b"END\r\n");
            Some(out)
        }
        Lie::WrongOpaque => {
            let at = truth.windows(2).position(|w| w == b" O")?;
            let line = truth.iter().position(|b| *b == b'\n')?;
            if *asked != Asked::Meta || at > line {
                return None;
            }
            let mut out = truth.to_vec();
            out.splice(at + 2..at + 2, *b"9");
            Some(out)
        }
        Lie::WrongKind => match asked {
            Asked::Get(_) => Some(b"STORED\r\n".to_vec()),
            Asked::Line | Asked::Version => Some(b"END\r\n".to_vec()),
            Asked::Meta => Some(b"STORED\r\n".to_vec()),
        },
        Lie::BadEnd => {
            let header = truth.iter().position(|b| *b == b'\n')?;
            let line = std::str::from_utf8(&truth[..header - 1]).ok()?;
            let words: Vec<&str> = line.split(' ').collect();
            let len: usize = match words[0] {
                "VALUE" => words[3].parse().ok()?,
                "VA" => words[1].parse().ok()?,
                _ => return None,
            };
            let mut out = truth.to_vec();
            out[header + 1 + len + rng.below(2)] = b'x';
            Some(out)
        }
        Lie::DropBefore => Some(Vec::new()),
        Lie::DropAfter => Some(truth.to_vec()),
        Lie::DropHalfWay => Some(truth[..rng.below(truth.len())].to_vec()),
    }
}
