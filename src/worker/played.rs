//! What tests play a worker with, by hand: the bytes go in and come out here, and time passes when the test says so.
//!
//! For tests alone. A [`Worker`] has one client; connections to servers are made, and their probe answered, while it
//! is [`reachable`](Worker::reachable). What is sent to servers is heard, and answered, by the test.

use std::sync::Arc;

use super::core::{Core, Local};
use crate::config::{self, ServerAddr};
use crate::route::compile::Snapshot;
use crate::stats;
use crate::upstream::owed::{Debts, Owed};
use crate::upstream::tko::Tkos;

/// What workers that have been given the same know together.
#[derive(Clone, Default)]
pub(super) struct Shared {
    pub(super) tkos: Arc<Tkos>,
    pub(super) debts: Arc<Debts>,
}

impl Local for Shared {
    fn version(&self) -> &[u8] {
        b"VERSION 1\r\n"
    }
    fn stats(&mut self, _: &[u8], _: &mut Vec<u8>) {}
    fn opened(&mut self, _: &str, _: &str, _: Arc<stats::Destination>) {}
    fn troubled(&mut self, _name: &str) {}
    fn owed(&mut self, name: &str, addr: &ServerAddr) -> Arc<Owed> {
        self.debts.of(name, addr)
    }
    fn tkos(&self) -> Arc<Tkos> {
        Arc::clone(&self.tkos)
    }
    fn closed(&mut self, _: &Arc<stats::Destination>) {}
}

/// What this configuration has workers do.
pub(super) fn snapshot(text: &str) -> Arc<Snapshot> {
    let config = config::parse("f", text).unwrap().0;
    Arc::new(Snapshot::compile(&config).unwrap())
}

/// A core that begins with this.
pub(super) fn core(snapshot: Arc<Snapshot>, shared: &Shared) -> Core {
    Core::new(snapshot, Box::new(shared.clone()), Arc::default(), 1)
}

/// All that is to be sent to a server, taken piece by piece.
pub(super) fn sent(core: &mut Core, conn: u32) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let (piece, _) = core.conn_out(conn);
        if piece.is_empty() {
            core.conn_flushed(conn);
            return read;
        }
        read.extend_from_slice(piece);
        let n = piece.len();
        core.conn_wrote(conn, n);
    }
}

/// The same where it is text.
pub(super) fn sent_text(core: &mut Core, conn: u32) -> String {
    String::from_utf8(sent(core, conn)).unwrap()
}

/// The connection is made, and its probe answered.
pub(super) fn connects(core: &mut Core, conn: u32) {
    core.conn_connected(conn);
    assert_eq!(sent_text(core, conn), "version\r\n");
    core.conn_bytes(conn, b"VERSION 1\r\n");
}

/// A worker with one client.
pub(super) struct Worker {
    pub(super) core: Core,
    client: u32,
    /// Whether connections can be made; the probe is answered then.
    pub(super) reachable: bool,
    /// Those that have been made, in their order.
    pub(super) conns: Vec<u32>,
}

impl Worker {
    pub(super) fn new(text: &str, shared: &Shared) -> Worker {
        let mut core = core(snapshot(text), shared);
        let client = core.client_opened();
        Worker {
            core,
            client,
            reachable: true,
            conns: Vec::new(),
        }
    }

    /// The client asks; what it is told at once.
    pub(super) fn asks(&mut self, text: &str) -> String {
        self.core.client_bytes(self.client, text.as_bytes());
        self.connect();
        self.told()
    }

    pub(super) fn told(&mut self) -> String {
        let out = &self.core.replies.client(self.client).unwrap().out;
        let text = String::from_utf8(out.pending().to_vec()).unwrap();
        self.core.client_wrote(self.client, text.len());
        text
    }

    /// Whether it tried to connect.
    pub(super) fn connect(&mut self) -> bool {
        let mut tried = false;
        while let Some(conn) = self.core.todo.connect.pop() {
            tried = true;
            if !self.reachable {
                self.core.conn_closed(conn, "unreachable");
                continue;
            }
            connects(&mut self.core, conn);
            self.conns.push(conn);
        }
        tried
    }

    /// What has been sent on the last connection.
    pub(super) fn sent(&mut self) -> String {
        match self.conns.last() {
            Some(conn) => sent_text(&mut self.core, *conn),
            None => String::new(),
        }
    }

    /// The last connection hears exactly this, and answers.
    #[track_caller]
    pub(super) fn hears(&mut self, what: &str, answer: &str) {
        assert_eq!(self.sent(), what);
        let conn = *self.conns.last().unwrap();
        self.core.conn_bytes(conn, answer.as_bytes());
        self.connect();
    }

    /// The last connection is lost.
    pub(super) fn loses_connection(&mut self) {
        // What has not been sent would not be lost.
        self.sent();
        let conn = self.conns.pop().unwrap();
        self.conns.clear();
        self.core.conn_closed(conn, "lost");
    }

    /// Time passes until then, in milliseconds. Returns how often it tried to connect.
    pub(super) fn until(&mut self, millis: u64) -> usize {
        let mut tries = 0;
        while self.core.next_tick() <= millis * 1000 {
            self.core.set_now(self.core.next_tick().max(self.core.now));
            self.core.tick();
            tries += usize::from(self.connect());
        }
        self.core.set_now(millis * 1000);
        tries
    }

    /// So many milliseconds pass.
    pub(super) fn pass(&mut self, millis: u64) {
        self.until(self.core.now / 1000 + millis);
    }

    /// How often one of its servers went out.
    pub(super) fn downs(&self) -> u64 {
        let all = self.core.destinations.iter().flatten();
        all.map(|one| one.stats.downs.get()).sum()
    }
}
