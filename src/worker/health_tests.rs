//! Two workers that share what they know of their servers, played by hand.
//!
//! Protects: what one worker finds dead the other does not ask again, and both go back at once; one of them probes, and
//! another when that one is gone; a reload forgets only what leaves.

use std::sync::Arc;

use crate::route::compile::Snapshot;
use crate::upstream::tko::{PoolFigures, Tkos, Totals};
use crate::worker::played::{self, Shared, Worker, sent_text};

/// What fails is answered with an error.
fn strict(text: &str) -> String {
    format!("miss_on_get_errors = false\n{text}")
}

fn snapshot(text: &str) -> Arc<Snapshot> {
    played::snapshot(&strict(text))
}

fn worker(text: &str, tkos: &Arc<Tkos>) -> Worker {
    let shared = Shared {
        tkos: Arc::clone(tkos),
        ..Shared::default()
    };
    Worker::new(&strict(text), &shared)
}

/// Two that share what they know.
fn two(text: &str) -> (Worker, Worker, Arc<Tkos>) {
    let tkos = Arc::default();
    (worker(text, &tkos), worker(text, &tkos), tkos)
}

const ONE: &str = "[pools.a]\nservers = [\"127.0.0.1:1\"]\ntimeout = \"100ms\"";

const OUT: &str = "SERVER_ERROR server is down\r\n";

#[test]
fn a_server_that_one_worker_can_not_reach_is_out_for_both() {
    let (mut a, mut b, _) = two(ONE);
    a.reachable = false;
    b.reachable = false;
    assert!(a.asks("get k\r\n").starts_with("SERVER_ERROR"));
    assert_eq!(a.core.in_service(), (0, 1));
    b.core.heed();
    assert_eq!(b.core.in_service(), (0, 1));
    assert_eq!(b.asks("get k\r\n"), OUT);
    assert!(b.core.todo.connect.is_empty());
    assert_eq!(b.until(60_000), 0, "the other one probes");
    assert!(a.until(60_000) > 3);
    assert_eq!((a.downs(), b.downs()), (1, 0), "it went out once");
    a.reachable = true;
    b.reachable = true;
    a.until(80_000);
    assert_eq!(a.core.in_service(), (1, 0));
    b.core.heed();
    b.core.set_now(80_000_000);
    assert_eq!(b.asks("get k\r\n"), "");
    b.hears("get k\r\n", "END\r\n");
    assert_eq!(b.told(), "END\r\n");
}

#[test]
fn a_server_that_hangs_costs_the_workers_three_timeouts_together() {
    let (mut a, mut b, tkos) = two(ONE);
    for worker in [&mut a, &mut b] {
        worker.asks("get k\r\n");
        worker.hears("get k\r\n", "END\r\n");
        worker.told();
        worker.until(5000);
    }
    // An error says that it lives, but not that it serves.
    b.asks("get one\r\n");
    b.until(5150);
    assert_eq!(b.asks("get two\r\n"), "SERVER_ERROR timeout\r\n");
    b.hears(
        "get one\r\nget two\r\n",
        "END\r\nSERVER_ERROR out of memory\r\n",
    );
    a.until(5200);
    a.asks("get three\r\n");
    a.until(5320);
    assert_eq!(tkos.totals(), Totals::default());
    b.until(5330);
    assert_eq!(b.told(), "SERVER_ERROR out of memory\r\n");
    b.asks("get four\r\n");
    b.until(5450);
    assert_eq!(tkos.totals(), Totals { soft: 1, hard: 0 });
    a.core.heed();
    assert_eq!(
        a.asks("get five\r\n"),
        "SERVER_ERROR timeout\r\nSERVER_ERROR server is down\r\n"
    );
}

/// Timeouts so short that a connection has given up before it is a second old are counted one by one like others.
#[test]
fn a_fresh_connection_that_hangs_costs_as_many_timeouts_as_any() {
    let (mut a, _, tkos) = two(ONE);
    a.asks("get one\r\n");
    assert_eq!(a.until(240), 0);
    assert_eq!(a.told(), "SERVER_ERROR timeout\r\n");
    assert!(!a.core.todo.close.is_empty(), "it is given up");
    a.core.todo.close.clear();
    assert_eq!(tkos.totals(), Totals::default(), "after one timeout");
    a.asks("get two\r\n");
    assert_eq!(a.conns.len(), 2);
    a.until(345);
    assert_eq!(tkos.totals(), Totals::default(), "after two");
    a.asks("get three\r\n");
    a.until(460);
    let out = Totals { soft: 1, hard: 0 };
    assert_eq!(tkos.totals(), out, "after three");
}

#[test]
fn a_fresh_connection_that_is_closed_takes_its_server_out() {
    let (mut a, _, tkos) = two(ONE);
    a.asks("get one\r\n");
    a.core.conn_closed(a.conns[0], "closed by the server");
    assert_eq!(tkos.totals(), Totals { soft: 0, hard: 1 });
    // One that has lasted is made again, and that tells.
    let (mut b, _, tkos) = two(ONE);
    b.asks("get one\r\n");
    b.hears("get one\r\n", "END\r\n");
    b.until(5000);
    b.core.conn_closed(b.conns[0], "closed by the server");
    assert_eq!(tkos.totals(), Totals::default());
    b.reachable = false;
    b.asks("get two\r\n");
    assert_eq!(tkos.totals(), Totals { soft: 0, hard: 1 });
}

#[test]
fn another_worker_probes_when_the_first_one_is_gone() {
    let (mut a, mut b, _) = two(ONE);
    // It has a connection that is in use.
    b.asks("get k\r\n");
    assert_eq!(sent_text(&mut b.core, b.conns[0]), "get k\r\n");
    a.reachable = false;
    a.asks("get k\r\n");
    b.core.heed();
    assert_eq!(b.core.in_service(), (0, 1));
    drop(a);
    b.core.heed();
    assert_eq!(b.told(), OUT, "it is probed by a fresh connection");
    assert_eq!(b.until(60_000), 1);
    assert_eq!(b.core.in_service(), (1, 0));
}

#[test]
fn an_idle_connection_to_a_server_that_is_out_is_not_kept() {
    let (mut a, mut b, _) = two(ONE);
    b.asks("get k\r\n");
    b.hears("get k\r\n", "END\r\n");
    b.told();
    a.reachable = false;
    a.asks("get k\r\n");
    b.core.heed();
    assert_eq!(b.core.todo.close, b.conns);
    a.reachable = true;
    a.until(60_000);
    b.core.todo.close.clear();
    b.core.heed();
    b.core.set_now(60_000_000);
    b.asks("get k\r\n");
    assert_eq!(b.conns.len(), 2);
    b.hears("get k\r\n", "END\r\n");
}

#[test]
fn a_reload_keeps_what_is_known_of_a_server_that_stays() {
    let (mut a, mut b, tkos) = two(ONE);
    a.reachable = false;
    a.asks("get k\r\n");
    // The same address with other settings, in another pool, in the same worker: that probes from now on.
    let other = "[pools.b]\nservers = [\"127.0.0.1:1\"]\ntimeout = \"200ms\"";
    a.core.apply(snapshot(other));
    b.core.apply(snapshot(other));
    assert_eq!(a.asks("get k\r\n"), OUT);
    assert_eq!(b.asks("get k\r\n"), OUT);
    assert_eq!(tkos.totals(), Totals { soft: 0, hard: 1 });
    b.reachable = false;
    a.core.heed();
    b.core.heed();
    assert!(a.until(10_000) + b.until(10_000) > 0, "one of them probes");
    let third = "[pools.b]\nservers = [\"127.0.0.1:2\"]";
    a.core.apply(snapshot(third));
    b.core.apply(snapshot(third));
    assert_eq!(tkos.totals(), Totals::default());
    a.core.apply(snapshot(ONE));
    assert_eq!(a.core.in_service(), (1, 0), "forgotten");
}

#[test]
fn pools_with_other_settings_share_it_within_a_worker() {
    let both = format!(
        "{ONE}\n[pools.b]\nservers = [\"127.0.0.1:1\"]\ntimeout = \"7s\"\n[route]\ntype = \"prefix\"\ndefault = \"a\"\nprefixes = {{ \"b:\" = \"b\" }}"
    );
    let mut a = worker(&both, &Arc::default());
    a.reachable = false;
    a.asks("get k\r\n");
    assert_eq!(a.asks("get b:k\r\n"), OUT);
    a.reachable = true;
    a.until(60_000);
    assert_eq!(a.core.in_service(), (2, 0));
}

#[test]
fn nothing_is_taken_out_where_that_is_switched_off() {
    let off = format!("{ONE}\ntko = {{ enabled = false, after = 1 }}");
    let (mut a, _b, tkos) = two(&off);
    a.reachable = false;
    for _ in 0..3 {
        let told = a.asks("get k\r\n");
        assert!(told.starts_with("SERVER_ERROR") && told != OUT, "{told}");
    }
    assert_eq!(
        (a.core.in_service(), tkos.totals()),
        ((1, 0), Totals::default())
    );
    a.reachable = true;
    assert_eq!(a.asks("get k\r\n"), "", "it is asked again at once");
    a.hears("get k\r\n", "END\r\n");
}

#[test]
fn a_pool_that_fails_open_goes_on_to_ask() {
    let text = "[pools.a]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\", \"127.0.0.1:4\"]\ntko = { fail_open_at = \"50%\", fail_open_until = 1 }";
    let (mut a, mut b, tkos) = two(text);
    a.reachable = false;
    b.reachable = false;
    for n in 0..40 {
        a.asks(&format!("get k{n}\r\n"));
        b.core.heed();
        b.asks(&format!("get k{n}\r\n"));
    }
    let figures = PoolFigures {
        out: 2,
        is_open: true,
        entered: 1,
        exited: 0,
    };
    assert_eq!(tkos.pools(), [("a".to_owned(), figures)]);
    assert_eq!(a.core.in_service(), (2, 2));
    a.reachable = true;
    a.until(60_000);
    let (_, figures) = tkos.pools().remove(0);
    assert_eq!((figures.out, figures.exited), (0, 1));
}
