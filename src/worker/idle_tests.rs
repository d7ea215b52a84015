//! A worker whose clients fall silent, and servers that hang up, played by hand.
//!
//! Protects: what is used is not closed, whatever the moment; what is not used is, after one to two intervals, and that is
//! no failure; nothing that was not sent is lost when a server hangs up.

use std::sync::Arc;

use super::*;
use crate::config;
use crate::route::compile::Snapshot;
use crate::stats;
use crate::worker::core::Local;

struct Alone;

impl Local for Alone {
    fn version(&self) -> &[u8] {
        b"VERSION 1\r\n"
    }
    fn stats(&mut self, _: &[u8], _: &mut Vec<u8>) {}
    fn opened(&mut self, _: &str, _: &str, _: Arc<stats::Destination>) {}
    fn troubled(&mut self, _name: &str) {}
    fn closed(&mut self, _: &Arc<stats::Destination>) {}
}

/// One with a client and a server.
pub(in crate::worker) struct Worker {
    pub(in crate::worker) core: Core,
    client: u32,
}

/// The only connection there is.
pub(in crate::worker) const CONN: u32 = 0;

impl Worker {
    pub(in crate::worker) fn new(more: &str) -> Worker {
        let timeout = match more.starts_with("timeout") {
            true => "",
            false => "timeout = \"100ms\"\n",
        };
        let text = format!(
            "miss_on_get_errors = false\n[pools.a]\nservers = [\"127.0.0.1:1\"]\n{timeout}{more}"
        );
        let config = config::parse("f", &text).unwrap().0;
        let snapshot = Arc::new(Snapshot::compile(&config).unwrap());
        let mut core = Core::new(snapshot, Box::new(Alone), Arc::default(), 1);
        let client = core.client_opened();
        Worker { core, client }
    }

    /// What is to be sent to the server.
    pub(in crate::worker) fn sent(&mut self) -> String {
        let mut read = Vec::new();
        loop {
            let (piece, _) = self.core.conn_out(CONN);
            if piece.is_empty() {
                self.core.todo.write.clear();
                self.core.conn_flushed(CONN);
                return String::from_utf8(read).unwrap();
            }
            read.extend_from_slice(piece);
            let n = piece.len();
            self.core.conn_wrote(CONN, n);
        }
    }

    pub(in crate::worker) fn connect(&mut self) {
        assert_eq!(self.core.todo.connect.pop(), Some(CONN));
        self.core.conn_connected(CONN);
        assert_eq!(self.sent(), "version\r\n");
        self.core.conn_bytes(CONN, b"VERSION 1\r\n");
    }

    pub(in crate::worker) fn ask(&mut self, text: &str) {
        self.core.client_bytes(self.client, text.as_bytes());
    }

    pub(in crate::worker) fn told(&mut self) -> String {
        let out = &self.core.replies.client(self.client).unwrap().out;
        let text = String::from_utf8(out.pending().to_vec()).unwrap();
        self.core.client_wrote(self.client, text.len());
        text
    }

    /// A get that is answered; the connection is made first if there is none.
    pub(in crate::worker) fn get(&mut self) {
        self.ask("get k\r\n");
        if !self.core.todo.connect.is_empty() {
            self.connect();
        }
        assert_eq!(self.sent(), "get k\r\n");
        self.core.conn_bytes(CONN, b"END\r\n");
        assert_eq!(self.told(), "END\r\n");
    }

    /// Time passes until then, in milliseconds. Returns when the connection was closed for being idle, if it was.
    pub(in crate::worker) fn until(&mut self, millis: u64) -> Option<u64> {
        let mut ended = None;
        while self.core.next_tick() <= millis * 1000 {
            self.core.set_now(self.core.next_tick().max(self.core.now));
            self.core.tick();
            for conn in std::mem::take(&mut self.core.todo.end) {
                assert_eq!(conn, CONN);
                assert!(ended.is_none());
                ended = Some(self.core.now / 1000);
            }
        }
        self.core.set_now(millis * 1000);
        ended
    }

    /// Connections, failures of requests, and how often the server went out.
    pub(in crate::worker) fn figures(&self) -> (u64, u64, u64) {
        let one = self.core.destinations[0].as_ref().unwrap();
        (
            one.stats.connections.get(),
            one.stats.failures.get(),
            one.stats.downs.get(),
        )
    }
}

const MINUTE: u64 = 60_000;

#[test]
fn a_connection_that_nobody_uses_is_closed_and_opened_again() {
    for begin in [0, 1, 59_999, 60_000, 60_001] {
        let mut w = Worker::new("");
        w.until(begin);
        w.get();
        let ended = w.until(begin + 3 * MINUTE).expect("it was closed");
        let silence = ended - begin;
        assert!((MINUTE..=2 * MINUTE).contains(&silence), "after {silence}");
        assert_eq!(w.figures(), (0, 0, 0));
        assert_eq!(w.core.next_tick(), u64::MAX, "nothing is left to look at");
        assert!(w.core.todo.connect.is_empty(), "nobody needs it");
        w.get();
        assert_eq!(w.figures(), (1, 0, 0));
    }
}

#[test]
fn a_connection_that_is_used_stays_open() {
    let mut w = Worker::new("idle_close = \"200ms\"");
    for n in 0..500 {
        assert_eq!(w.until(n * 199), None, "request {n}");
        w.get();
    }
    // Nor does it matter how long ago the request under way was sent.
    w.ask("get k\r\n");
    assert_eq!(w.sent(), "get k\r\n");
    let sent = w.core.now / 1000;
    assert_eq!(w.until(sent + 99), None);
    w.core.conn_bytes(CONN, b"END\r\n");
    assert!(w.until(sent + 1000).unwrap() >= sent + 99 + 200);
}

/// Looks while a request is under way do not count, even if it was sent before the last one.
#[test]
fn the_silence_begins_with_the_answer() {
    let mut w = Worker::new("idle_close = \"10ms\"");
    w.get();
    w.ask("get k\r\n");
    assert_eq!(w.sent(), "get k\r\n");
    assert_eq!(w.until(95), None);
    w.core.conn_bytes(CONN, b"END\r\n");
    assert_eq!(w.until(104), None);
    assert_eq!(w.until(120), Some(110));
}

#[test]
fn it_can_be_switched_off() {
    let mut w = Worker::new("idle_close = 0");
    w.get();
    assert_eq!(w.until(100_000 * MINUTE), None);
    assert_eq!(w.core.next_tick(), u64::MAX);
}

/// What a request needs that comes in the same turn, behind the close.
#[test]
fn a_request_that_comes_at_that_moment_is_served() {
    let mut w = Worker::new("idle_close = \"10ms\"");
    w.get();
    assert!(w.until(30).is_some());
    w.get();
    // One that was queued before the look keeps the connection open.
    w.core.set_now(w.core.next_tick());
    w.ask("get k\r\n");
    w.core.tick();
    w.core.set_now(w.core.next_tick());
    w.core.tick();
    assert!(w.core.todo.end.is_empty());
    assert_eq!(w.sent(), "get k\r\n");
    w.core.conn_bytes(CONN, b"END\r\n");
    assert_eq!(w.told(), "END\r\n");
}

#[test]
fn a_server_that_closes_an_idle_connection_has_not_failed() {
    let mut w = Worker::new("tko.after = 1\ntko.probe_min = \"1h\"\ntko.probe_max = \"1h\"");
    for n in 1..5 {
        w.get();
        w.until(n * 5_000);
        w.core.conn_closed(CONN, "closed by the server");
        assert_eq!(w.figures(), (0, 0, 0));
        assert!(w.core.todo.connect.is_empty(), "nobody needs it");
    }
    w.get();
}

/// The server hangs up in the very turn in which requests have been queued, or before they could be written.
#[test]
fn what_has_not_been_sent_goes_on_a_new_connection() {
    let mut w = Worker::new("");
    w.get();
    w.until(2_000);
    w.ask("get a\r\nget b\r\nset c 0 0 1\r\nx\r\n");
    w.core.conn_closed(CONN, "closed by the server");
    assert_eq!(w.figures(), (0, 0, 0));
    w.connect();
    assert_eq!(w.sent(), "get a b\r\nset c 0 0 1\r\nx\r\n");
    w.core
        .conn_bytes(CONN, b"VALUE b 0 1\r\ny\r\nEND\r\nSTORED\r\n");
    assert_eq!(w.told(), "END\r\nVALUE b 0 1\r\ny\r\nEND\r\nSTORED\r\n");
    assert_eq!(w.figures(), (1, 0, 0));
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let mut w = Worker::new("");
    w.get();
    w.until(2_000);
    w.ask("set c 0 0 1\r\nx\r\nget a\r\n");
    let (out, _) = w.core.conn_out(CONN);
    assert!(out.starts_with(b"set c"));
    w.core.conn_wrote(CONN, 1);
    w.core.conn_closed(CONN, "reset");
    assert!(w.core.todo.connect.is_empty());
    let lost = "SERVER_ERROR connection lost\r\n";
    assert_eq!(w.told(), lost.repeat(2));
    assert_eq!(w.figures(), (0, 2, 0));
}

/// A server that takes connections and drops them is out, and not connected to without end.
#[test]
fn a_connection_that_does_not_last_is_a_failure() {
    let mut w = Worker::new("");
    w.get();
    w.until(500);
    w.ask("get a\r\n");
    w.core.conn_closed(CONN, "closed by the server");
    assert_eq!(w.told(), "SERVER_ERROR connection lost\r\n");
    assert_eq!(w.figures(), (0, 1, 1));
}
