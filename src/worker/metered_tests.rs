//! A connection with a bound on what is under way, played by hand.
//!
//! Protects: there are never more lines under way than the bound says, and nothing waits without need; what waits is sent
//! in order; what has waited for too long is not sent, unless somebody keeps count of updates.

use crate::worker::idle::tests::{CONN, Worker};

fn set(key: &str) -> String {
    format!("set {key} 0 0 1\r\nx\r\n")
}

const STORED: &str = "STORED\r\n";

impl Worker {
    #[track_caller]
    fn answers(&mut self, answer: &str) {
        self.core.conn_bytes(CONN, answer.as_bytes());
    }
}

/// One whose connection is made.
fn worker(more: &str) -> Worker {
    let mut w = Worker::new(more);
    w.ask("get first\r\n");
    w.connect();
    assert_eq!(w.sent(), "get first\r\n");
    w.answers("END\r\n");
    assert_eq!(w.told(), "END\r\n");
    w
}

#[test]
fn no_more_are_under_way_than_the_bound_says() {
    let mut w = worker("queue.in_flight = 2");
    let keys = ["a", "b", "c", "d", "e"];
    w.ask(&keys.map(set).concat());
    assert_eq!(w.sent(), set("a") + &set("b"));
    assert_eq!(w.sent(), "", "until something is answered");
    assert!(
        w.core.conn_out(CONN).1.is_some(),
        "the driver shall ask again"
    );
    w.answers(STORED);
    assert_eq!(w.sent(), set("c"));
    w.ask(&set("f"));
    assert_eq!(w.sent(), "");
    w.answers(&STORED.repeat(2));
    assert_eq!(w.sent(), set("d") + &set("e"));
    w.answers(STORED);
    assert_eq!(w.sent(), set("f"));
    assert!(w.core.conn_out(CONN).1.is_none(), "nothing waits");
    w.answers(&STORED.repeat(2));
    assert_eq!(w.told(), STORED.repeat(6));
}

/// While gets wait, later ones join them: the line is ended when it is its turn.
#[test]
fn gets_that_wait_share_a_line() {
    let mut w = worker("queue.in_flight = 1");
    w.ask("get a\r\n");
    assert_eq!(w.sent(), "get a\r\n");
    for key in ["b", "c"] {
        w.ask(&format!("get {key}\r\n"));
        assert_eq!(w.sent(), "");
    }
    w.answers("END\r\n");
    assert_eq!(w.sent(), "get b c\r\n");
    w.answers("VALUE c 0 1\r\nx\r\nEND\r\n");
    assert_eq!(w.told(), "END\r\nEND\r\nVALUE c 0 1\r\nx\r\nEND\r\n");
}

/// Bytes before an open line leave, and with them the place where it begins.
#[test]
fn gets_join_no_line_that_has_moved() {
    let mut w = worker("queue.in_flight = 1");
    w.ask("get a\r\n");
    assert_eq!(w.sent(), "get a\r\n");
    let large = format!("set b 0 0 100000\r\n{}\r\n", "x".repeat(100_000));
    w.ask(&large);
    w.ask("get c\r\n");
    assert_eq!(w.sent(), "");
    w.answers("END\r\n");
    assert!(w.sent() == large);
    w.ask("get d\r\n");
    w.answers(STORED);
    assert_eq!(w.sent(), "get c\r\n");
    w.answers("END\r\n");
    assert_eq!(w.sent(), "get d\r\n");
}

/// A line of which a part has been written is under way; the rest of it is not held back.
#[test]
fn a_line_that_has_begun_is_finished() {
    let mut w = worker("queue.in_flight = 1");
    w.ask(&(set("a") + &set("b")));
    let (out, _) = w.core.conn_out(CONN);
    assert_eq!(out, set("a").as_bytes());
    w.core.conn_wrote(CONN, 3);
    assert_eq!(w.sent(), set("a")[3..]);
    w.answers(STORED);
    assert_eq!(w.sent(), set("b"));
}

const TIMEOUT: &str = "SERVER_ERROR timeout\r\n";

#[test]
fn what_has_waited_for_too_long_is_not_sent() {
    // A line that is still open, and one behind a complete one.
    for unsent in [
        set("b") + "get c d\r\n",
        "get c d\r\n".to_owned() + &set("b"),
    ] {
        let mut w = worker("queue.in_flight = 1\ntko.after = 100");
        w.ask(&set("a"));
        assert_eq!(w.sent(), set("a"));
        w.ask(&unsent);
        assert_eq!(w.sent(), "");
        w.until(150);
        assert_eq!(w.told(), TIMEOUT.repeat(3));
        w.ask(&set("e"));
        assert_eq!(w.sent(), "", "what has timed out is under way");
        w.answers(STORED);
        assert_eq!(w.sent(), set("e"));
        w.answers(STORED);
        assert_eq!(w.told(), STORED);
        w.ask("get z\r\n");
        assert_eq!(w.sent(), "get z\r\n");
        w.answers("VALUE z 0 1\r\nx\r\nEND\r\n");
        assert_eq!(w.told(), "VALUE z 0 1\r\nx\r\nEND\r\n");
        assert!(w.core.conns[CONN as usize].conn.is_idle());
    }
}

/// Nothing but dead lines is left: the line that is still open goes without its end.
#[test]
fn a_queue_of_dead_lines_becomes_empty() {
    let mut w = worker("queue.in_flight = 1");
    w.ask(&set("a"));
    assert_eq!(w.sent(), set("a"));
    w.ask("get b\r\n");
    assert_eq!(w.sent(), "");
    w.until(150);
    w.answers(STORED);
    assert_eq!(w.sent(), "");
    assert!(w.core.conns[CONN as usize].conn.is_idle());
    assert_eq!(w.told(), TIMEOUT.repeat(2));
    w.ask("get c\r\n");
    assert_eq!(w.sent(), "get c\r\n");
}

/// Whoever keeps count of updates must know whether they were done.
#[test]
fn an_update_that_is_kept_track_of_is_sent_all_the_same() {
    let mut w = worker("queue.in_flight = 1\ntko.after = 100\non_return = \"replay\"");
    w.ask(&(set("a") + &set("b") + "get c\r\n"));
    assert_eq!(w.sent(), set("a"));
    w.until(150);
    assert_eq!(w.told(), TIMEOUT.repeat(3));
    w.answers(STORED);
    assert_eq!(w.sent(), set("b"));
    // It has a whole timeout for its answer, though its time was over before.
    w.until(240);
    w.answers(STORED);
    assert_eq!(w.sent(), "", "nobody waits for the get");
    w.ask("get d\r\n");
    assert_eq!(w.sent(), "get d\r\n");
    w.answers("END\r\n");
    assert_eq!(w.told(), "END\r\n");
    assert_eq!(w.figures().2, 0);
}

/// Nothing changes for a connection that breaks.
#[test]
fn what_waits_fails_with_its_connection_or_goes_on_a_new_one() {
    let mut w = worker("queue.in_flight = 1");
    w.until(2_000);
    w.ask(&(set("a") + &set("b")));
    assert_eq!(w.sent(), set("a"));
    w.core.conn_closed(CONN, "closed by the server");
    assert_eq!(w.told(), "SERVER_ERROR connection lost\r\n".repeat(2));
    w.ask(&(set("c") + &set("d")));
    w.connect();
    assert_eq!(w.sent(), set("c"));
    w.answers(STORED);
    assert_eq!(w.sent(), set("d"));
    w.answers(STORED);
    assert_eq!(w.told(), STORED.repeat(2));
}

/// What waits for a server that is in no pool any more and is not sent in the end keeps it no longer.
#[test]
fn a_retired_server_goes_with_its_last_dead_line() {
    let mut w = worker("queue.in_flight = 1\ntko.after = 100");
    w.ask(&set("a"));
    assert_eq!(w.sent(), set("a"));
    w.ask("get b\r\n");
    assert_eq!(w.sent(), "");
    let text = "[pools.a]\nservers = [\"127.0.0.1:2\"]";
    let config = crate::config::parse("f", text).unwrap().0;
    let snapshot = crate::route::compile::Snapshot::compile(&config).unwrap();
    w.core.apply(std::sync::Arc::new(snapshot));
    w.until(150);
    w.answers(STORED);
    assert!(w.core.conns.contains(CONN as usize), "a line is left");
    assert_eq!(w.sent(), "");
    assert!(!w.core.conns.contains(CONN as usize));
    assert_eq!(w.core.in_service(), (1, 0));
}
