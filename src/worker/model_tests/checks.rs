//! What must hold of a run beyond the replies themselves: clients are closed only for a reason, everything
//! comes to rest, and nothing is left behind.

use super::client::Ask;
use super::plan::{Rng, Tight, What};
use super::sim::Sim;

impl Sim {
    /// The router has closed this client at once: it must have had a reason.
    pub fn check_broken(&self, index: usize) {
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
    pub fn check_finished(&mut self, index: usize) {
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
                && self.core.in_service().1 == 0
                && !self.core.is_in_debt();
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
            let held = self.core.replies.held()[client.id as usize];
            assert_eq!(
                held, 0,
                "memory is held for a client that waits for nothing"
            );
            client.resolve_silent(&self.env, silent);
        }
        for server in &self.servers {
            for (key, item) in &server.store.items {
                self.env.check_item(key, item);
            }
        }
        assert!(self.core.frames.is_empty(), "frames are left");
        assert!(self.core.later.is_empty());
        assert!(self.core.dialogues.is_empty(), "dialogues are left");
        for (_, up) in &self.core.conns {
            assert_eq!(up.conn.held(), 0);
        }
    }

    /// From now on every reply is checked exactly. A bound of a few bytes that closes whoever gets a large value is
    /// lifted, as a reload would do it.
    pub fn be_strict(&mut self) {
        self.env.strict = true;
        if let Tight::WorkerBytes(_) = self.env.setup.limits {
            self.env.setup.limits = Tight::Nothing;
            self.reload(self.variant);
        }
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
