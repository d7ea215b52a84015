//! More clients ask than a worker may route for, played by hand.
//!
//! Protects: with a bound there are never more requests under way, none is lost, each client's and all clients' order is
//! kept; what is refused is refused in its client's order; a client that leaves leaves the line.

use crate::worker::idle::tests::{CONN, Worker};

struct World {
    w: Worker,
    clients: Vec<u32>,
}

const BUSY: &str = "SERVER_ERROR busy\r\n";
const STORED: &str = "STORED\r\n";

fn set(key: &str) -> String {
    format!("set {key} 0 0 1\r\nx\r\n")
}

impl World {
    /// One whose connection is made.
    fn new(limits: &str, clients: usize) -> World {
        let mut w = Worker::new(&format!(
            "timeout = \"10m\"\nidle_close = 0\n[limits]\n{limits}"
        ));
        let clients = (0..clients).map(|_| w.core.client_opened()).collect();
        w.ask("get first\r\n");
        w.connect();
        assert_eq!(w.sent(), "get first\r\n");
        w.core.conn_bytes(CONN, b"END\r\n");
        assert_eq!(w.told(), "END\r\n");
        World { w, clients }
    }

    fn ask(&mut self, client: usize, text: &str) {
        let id = self.clients[client];
        self.w.core.client_bytes(id, text.as_bytes());
    }

    fn told(&mut self, client: usize) -> String {
        let id = self.clients[client];
        let out = &self.w.core.replies.client(id).unwrap().out;
        let text = String::from_utf8(out.pending().to_vec()).unwrap();
        self.w.core.client_wrote(id, text.len());
        text
    }

    /// What the server hears in this turn.
    fn hears(&mut self) -> String {
        self.w.core.refill();
        assert!(!self.w.core.has_turns());
        self.w.sent()
    }

    fn answers(&mut self, answer: &str) {
        self.w.core.conn_bytes(CONN, answer.as_bytes());
    }

    fn waiting(&self) -> u64 {
        self.w.core.stats.worker.waiting_requests.get()
    }
}

#[test]
fn clients_take_turns() {
    let mut w = World::new("worker_requests = 2", 3);
    w.ask(0, &(set("a1") + &set("a2") + &set("a3")));
    w.ask(1, &set("b1"));
    w.ask(2, &(set("c1") + &set("c2")));
    assert_eq!(w.hears(), set("a1") + &set("a2"));
    assert_eq!(w.waiting(), 4);
    for client in 0..3 {
        let id = w.clients[client];
        assert!(!w.w.core.wants_read(id), "its socket is not read meanwhile");
        w.w.core.go_on(id);
    }
    assert_eq!(w.hears(), "", "nobody pushes in");
    w.answers(STORED);
    assert_eq!(w.hears(), set("a3"));
    w.answers(&STORED.repeat(2));
    assert_eq!(w.hears(), set("b1") + &set("c1"));
    assert_eq!(w.waiting(), 1);
    w.answers(STORED);
    assert_eq!(w.hears(), set("c2"));
    assert_eq!(w.waiting(), 0);
    w.answers(&STORED.repeat(2));
    assert_eq!(w.hears(), "");
    for (client, count) in [3, 1, 2].into_iter().enumerate() {
        assert_eq!(w.told(client), STORED.repeat(count));
        assert!(w.w.core.wants_read(w.clients[client]));
    }
    assert!(w.w.core.todo.read_clients.len() >= 3);
}

/// Without the bound in the way everything is as without a bound.
#[test]
fn who_meets_no_bound_notices_nothing() {
    let mut w = World::new("worker_requests = 3", 1);
    for _ in 0..3 {
        w.ask(0, "get a b c\r\nversion\r\nget");
        assert_eq!(w.hears(), "get a b c\r\n");
        w.ask(0, " d\r\n");
        assert_eq!(w.hears(), "get d\r\n");
        w.answers("END\r\nEND\r\n");
        assert_eq!(w.told(0), "END\r\nVERSION 1\r\nEND\r\n");
    }
    w.ask(0, "get a\r\nget b\r\nstats\r\nversion\r\nget c\r\n");
    assert_eq!(w.hears(), "get a b\r\n");
    w.answers("END\r\n");
    w.w.core.go_on(w.clients[0]);
    assert_eq!(w.hears(), "get c\r\n");
    w.answers("END\r\n");
    assert_eq!(w.told(0), "END\r\nEND\r\nVERSION 1\r\nEND\r\n");
}

#[test]
fn a_clients_own_bound_holds_too() {
    let mut w = World::new("worker_requests = 10\nclient_requests = 1", 1);
    w.ask(0, &(set("a") + &set("b")));
    assert_eq!(w.hears(), set("a"));
    assert_eq!(w.waiting(), 0);
    w.answers(STORED);
    w.w.core.go_on(w.clients[0]);
    assert_eq!(w.hears(), set("b"));
}

#[test]
fn when_too_many_wait_the_next_is_refused() {
    let mut w = World::new("worker_requests = 1\nwaiting_requests = 2", 4);
    w.ask(0, &set("a"));
    w.ask(1, &set("b"));
    // A half request is none.
    w.ask(3, "set d 0 0 1\r\n");
    w.ask(2, &set("c"));
    assert_eq!(w.waiting(), 2);
    w.ask(
        3,
        "x\r\nget e\r\ndelete f noreply\r\nset g 0 0 1 noreply\r\nx\r\nversion\r\nmg h\r\n",
    );
    let want = BUSY.repeat(2) + "VERSION 1\r\n" + BUSY;
    assert_eq!(w.told(3), want, "a get, too, and no more");
    assert_eq!(w.hears(), set("a"));
    for (client, next) in [(0, set("b")), (1, set("c")), (2, String::new())] {
        w.answers(STORED);
        assert_eq!(w.told(client), STORED);
        assert_eq!(w.hears(), next);
    }
    w.ask(3, &set("z"));
    assert_eq!(w.hears(), set("z"), "who was refused may ask again");
}

/// Of what a client sends at once, as much as there is room for waits; what is refused comes behind that.
#[test]
fn refusals_keep_the_order_of_their_client() {
    let mut w = World::new("worker_requests = 1\nwaiting_requests = 1", 2);
    w.ask(0, &(set("a") + &set("b")));
    w.ask(1, &set("c"));
    assert_eq!(w.told(1), BUSY);
    assert_eq!(w.hears(), set("a"));
    assert_eq!(w.told(0), "");
    w.answers(STORED);
    assert_eq!(w.hears(), set("b"));
    w.ask(1, &set("d"));
    // Behind the one that is under way, and one that waits.
    w.ask(0, "get e\r\n");
    assert_eq!(w.told(0), STORED, "the next one's answer is still to come");
    w.answers(STORED);
    assert_eq!(w.told(0), STORED.to_owned() + BUSY);
    assert_eq!(w.hears(), set("d"));
}

#[test]
fn what_waits_for_too_long_is_refused() {
    let mut w = World::new("worker_requests = 1\nwaiting_timeout = \"50ms\"", 3);
    w.ask(0, &set("a"));
    w.ask(1, &(set("b") + &set("c")));
    w.w.until(20);
    w.ask(2, &set("d"));
    assert_eq!(w.hears(), set("a"));
    w.w.until(49);
    assert_eq!(w.hears(), "");
    assert_eq!(w.told(1), "");
    w.w.until(50);
    assert_eq!(w.hears(), "");
    assert_eq!(w.told(1), BUSY.repeat(2));
    assert_eq!((w.told(2), w.waiting()), (String::new(), 1));
    assert!(w.w.core.wants_read(w.clients[1]));
    w.answers(STORED);
    assert_eq!(w.hears(), set("d"), "in time");
    w.ask(1, &set("e"));
    w.w.until(100);
    assert_eq!(w.hears(), "");
    assert_eq!(w.told(1), BUSY);
    w.answers(STORED);
    assert_eq!((w.told(2), w.waiting()), (STORED.to_owned(), 0));
}

#[test]
fn who_leaves_has_no_turn() {
    let mut w = World::new("worker_requests = 1\nwaiting_requests = 2", 3);
    w.ask(0, &set("a"));
    w.ask(1, &(set("b1") + &set("b2")));
    w.w.core.client_closed(w.clients[1]);
    // Another one has its number now, and its place is at the end.
    let new = w.w.core.client_opened();
    assert_eq!(new, w.clients[1]);
    w.ask(2, &set("c"));
    w.ask(1, &set("d"));
    assert_eq!(w.hears(), set("a"));
    w.answers(STORED);
    assert_eq!(w.hears(), set("c"));
    w.answers(STORED);
    assert_eq!(w.hears(), set("d"));
}

/// A client that says that it sends no more gets its answers, and is closed then.
#[test]
fn who_has_sent_all_is_served() {
    let mut w = World::new("worker_requests = 1", 2);
    w.ask(0, &set("a"));
    w.ask(1, &set("b"));
    w.w.core.client_eof(w.clients[1]);
    assert!(!w.w.core.is_finished(w.clients[1]));
    assert_eq!(w.hears(), set("a"));
    w.answers(STORED);
    assert_eq!(w.hears(), set("b"));
    w.answers(STORED);
    assert_eq!(w.told(1), STORED);
    assert!(w.w.core.is_finished(w.clients[1]));
}

#[test]
fn without_a_bound_any_more_nobody_waits() {
    let mut w = World::new("worker_requests = 1", 2);
    w.ask(0, &(set("a") + &set("b")));
    w.ask(1, &(set("c") + &set("d")));
    assert_eq!(w.hears(), set("a"));
    let mut config = crate::config::parse(
        "f",
        "[pools.a]\nservers = [\"127.0.0.1:1\"]\ntimeout = \"10m\"\nidle_close = 0",
    );
    let config = &mut config.as_mut().unwrap().0;
    let snapshot = crate::route::compile::Snapshot::compile(config).unwrap();
    w.w.core.apply(std::sync::Arc::new(snapshot));
    assert_eq!(w.hears(), set("b") + &set("c") + &set("d"));
    assert_eq!(w.waiting(), 0);
}
