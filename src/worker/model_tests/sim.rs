//! A driver without sockets: it moves bytes between the core, clients and servers as the real one does,
//! in pieces and orders of its own choosing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::client::Client;
use super::env::{Answers, Env, number_of};
use super::memcached::Store;
use super::plan::{Act, GUTTER_EXPTIME, Rng, Setup, Shape, What};
use super::servers::Server;
use crate::config::ServerAddr;
use crate::worker::buf::{LARGE, Lent};
use crate::worker::core::{Core, Stats};

/// A connection between the router and a server.
pub struct Link {
    pub server: usize,
    pub connecting: bool,
    pub to_server: Vec<u8>,
    pub to_router: VecDeque<u8>,
    /// The server has closed it.
    pub eof: bool,
    /// The last write did not take everything.
    pub full: bool,
}

pub struct Sim {
    pub core: Core,
    pub env: Env,
    /// Of the configuration that is in force.
    pub variant: usize,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    pub links: Vec<Option<Link>>,
    pub now: u64,
    pub uids: u64,
    /// Every byte moves as soon as it can.
    pub smooth: bool,
    /// Whether something moved in the last turn.
    pub moved: bool,
    /// Clients are taken leave of; no new ones come.
    pub draining: bool,
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
        let gutter = match env.setup.route {
            Shape::Gutter => env.setup.servers / 2,
            _ => usize::MAX,
        };
        let servers = (0..env.setup.servers)
            .map(|n| Server {
                store: Store::new(
                    n as u64 * 1_000_000_000,
                    (n >= gutter).then_some(GUTTER_EXPTIME.into()),
                ),
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
            variant: 0,
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
            let size = if self.env.setup.big && n != 0 {
                50_000
            } else {
                20
            };
            let value = super::oracle::record(&key, client.uid, number, size);
            for pool in &self.env.snapshot.pools[2..] {
                let spec = &pool.servers[pool.selector.as_ref().unwrap().select(&key)];
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
                    client.woken = true;
                }
                self.client_ready(index, rng);
                self.replace(index);
            }
            Act::HalfClose => {
                let client = &mut self.clients[index];
                client.half_closed = true;
                client.woken = true;
                client.finished = true;
            }
            Act::Quit => self.clients[index].quit(&self.env),
            Act::StopReading => {
                if self.env.setup.faults {
                    self.clients[index].reading = false;
                    self.clients[index].slow = true;
                }
            }
            Act::ReadOn => {
                self.clients[index].reading = true;
                self.clients[index].woken = true;
            }
        }
    }

    /// The client's connection is gone and another client comes.
    pub fn replace(&mut self, index: usize) {
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
        self.variant = variant;
        self.env.config = self.env.setup.config(variant);
        self.env.snapshot = Arc::new(self.env.setup.snapshot(variant));
        self.core.set_now(self.now);
        self.core.apply(Arc::clone(&self.env.snapshot));
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

    /// As the driver does it, and only when it would: a client that the driver forgets to look at again waits
    /// here for ever, too.
    pub fn client_ready(&mut self, index: usize, rng: &mut Rng) {
        if !std::mem::take(&mut self.clients[index].woken) {
            return;
        }
        let id = self.clients[index].id;
        let pending = |c: &crate::client::replies::Client| !c.out.is_empty();
        if self.core.replies.client(id).is_some_and(pending) {
            self.core.replies.mark(id);
        }
        if self.core.is_held_up(id) {
            self.core.go_on(id);
        }
        if !self.core.wants_read(id) {
            return;
        }
        let most = self.clients[index].outgoing.len().min(65_536);
        let n = self.piece(most, rng);
        let client = &mut self.clients[index];
        self.moved |= n > 0;
        if n > 0 {
            if let Some((block, missing)) = self.core.client_block(id) {
                let n = n.min(missing);
                block.extend(client.outgoing.drain(..n));
                self.core.client_block_bytes(id, n);
            } else {
                let data: Vec<u8> = client.outgoing.drain(..n).collect();
                let data = Lent::new(data.into());
                if data.len() >= LARGE {
                    self.core.lend(&data);
                }
                self.core.client_bytes(id, &data);
            }
            if !self.core.wants_read(id) {
                return;
            }
        } else if client.half_closed && client.outgoing.is_empty() && !client.eof_seen {
            client.eof_seen = true;
            self.moved = true;
            self.core.client_eof(id);
        }
        let client = &mut self.clients[index];
        client.woken = !client.outgoing.is_empty() || (client.half_closed && !client.eof_seen);
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
            let data = Lent::new(data.into());
            self.moved = true;
            if data.len() >= LARGE {
                self.core.lend(&data);
            }
            self.core.conn_bytes(id as u32, &data);
        }
    }

    pub fn drop_link(&mut self, id: usize, why: &str) {
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
            for id in std::mem::take(&mut self.core.todo.end) {
                let link = self.links[id as usize].take().expect("it was open");
                let quiet = link.to_server.is_empty() && link.to_router.is_empty();
                assert!(quiet || link.eof, "closed for being idle, and was not");
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
            while let Some(id) = self.core.todo.read_clients.pop() {
                self.wake(id);
            }
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
            let (out, pieces) = self.core.conn_out(id as u32);
            if out.is_empty() {
                link.full = pieces.is_some();
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

    fn wake(&mut self, id: u32) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == id) {
            client.woken = true;
            self.moved = true;
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
                // The socket says when there is room again.
                self.clients[index].woken = self.clients[index].reading;
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
        } else if self.core.is_held_up(id) {
            self.wake(id);
        }
    }
}
