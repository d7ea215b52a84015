//! What several workers know of servers: cases, and what holds of any sequence of events.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use proptest::prelude::*;

use super::*;

fn addr(port: u16) -> ServerAddr {
    ServerAddr::Tcp(([127, 0, 0, 1], port).into())
}

/// A worker, and how often it was woken.
#[derive(Default)]
struct Worker {
    bell: Arc<Bell>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Worker {
    fn new() -> Worker {
        let worker = Worker::default();
        let woken = Arc::clone(&worker.woken);
        worker.bell.hang(Waker::from(woken));
        worker
    }

    fn join(&self, tkos: &Arc<Tkos>, port: u16, pool: Option<&str>) -> Seat {
        tkos.join(&addr(port), HealthPolicy::default(), pool, &self.bell)
    }

    /// How often it was woken since it was asked last.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::Relaxed)
    }
}

fn totals(soft: u64, hard: u64) -> Totals {
    Totals { soft, hard }
}

#[test]
fn what_one_worker_finds_out_holds_for_all() {
    let tkos = Arc::default();
    let (a, b) = (Worker::new(), Worker::new());
    let (one, two) = (a.join(&tkos, 1, None), b.join(&tkos, 1, None));
    let other = b.join(&tkos, 2, None);
    assert_eq!(
        one.failed(Kind::Hard, 0),
        Change::Out(Kind::Hard, totals(0, 1))
    );
    assert_eq!((a.woken(), b.woken()), (0, 1), "the finder knows");
    assert_eq!(one.standing(), (true, true));
    assert_eq!(two.standing(), (true, false), "one probes");
    assert_eq!(other.standing(), (false, false));
    assert!(one.pause(0).is_some() && two.pause(0).is_none());
    assert_eq!(two.failed(Kind::Hard, 5), Change::None, "known");
    // Whoever made the connection.
    assert_eq!(two.probed(10), Probed::Back);
    assert_eq!((a.woken(), b.woken()), (1, 0));
    assert_eq!(one.standing(), (false, false));
    assert_eq!(tkos.totals(), totals(0, 0));
}

#[test]
fn timeouts_are_counted_over_all_workers_until_an_answer() {
    let tkos = Arc::default();
    let (a, b) = (Worker::new(), Worker::new());
    let (one, two) = (a.join(&tkos, 1, None), b.join(&tkos, 1, None));
    one.timed_out(0);
    two.timed_out(0);
    two.answered();
    assert_eq!(one.timed_out(1), Change::None, "no longer in a row");
    assert_eq!(two.timed_out(1), Change::None);
    assert_eq!(one.timed_out(2), Change::Out(Kind::Soft, totals(1, 0)));
    // What arrives late does not bring it back.
    two.answered();
    assert!(two.standing().0);
    // It may get worse, and no better.
    assert_eq!(two.failed(Kind::Hard, 3), Change::Hardened(totals(0, 1)));
    assert_eq!(one.timed_out(4), Change::None);
    assert_eq!(one.failed(Kind::Soft, 4), Change::None);
    assert_eq!(tkos.totals(), totals(0, 1));
}

#[test]
fn another_probes_when_the_first_one_leaves() {
    let tkos = Arc::default();
    let (a, b) = (Worker::new(), Worker::new());
    let (one, two) = (a.join(&tkos, 1, None), b.join(&tkos, 1, None));
    one.failed(Kind::Hard, 0);
    b.woken();
    assert_eq!(one.leave(), None);
    assert_eq!(b.woken(), 1);
    assert_eq!(two.standing(), (true, true));
    // Also one that has just come.
    let three = a.join(&tkos, 1, None);
    assert_eq!(three.standing(), (true, false));
    drop(two);
    assert_eq!(three.standing(), (true, true));
    assert_eq!(three.leave(), Some(Kind::Hard), "nobody is left");
    assert_eq!(tkos.totals(), totals(0, 0));
    assert!(!a.join(&tkos, 1, None).standing().0, "forgotten");
}

#[test]
fn a_bell_that_is_hung_late_has_not_missed_anything() {
    let tkos = Arc::default();
    let (a, b) = (Worker::new(), Worker::default());
    let (one, _two) = (a.join(&tkos, 1, None), b.join(&tkos, 1, None));
    one.failed(Kind::Hard, 0);
    b.bell.hang(Waker::from(Arc::clone(&b.woken)));
    assert_eq!(b.woken(), 1);
}

#[test]
fn a_name_that_was_looked_up_is_the_address() {
    let tkos: Arc<Tkos> = Arc::default();
    let worker = Worker::new();
    let ServerAddr::Tcp(ip) = addr(1) else {
        panic!();
    };
    let found = ServerAddr::Found(vec![ip]);
    let found = tkos.join(&found, HealthPolicy::default(), None, &worker.bell);
    assert!(found.shares_with(&worker.join(&tkos, 1, None)));
}

#[test]
fn a_pool_with_too_many_out_takes_no_more_out() {
    let tkos: Arc<Tkos> = Arc::default();
    tkos.set_bounds([("p", Bounds { upper: 2, lower: 1 })]);
    let worker = Worker::new();
    let seats: Vec<Seat> = (1..=4)
        .map(|port| worker.join(&tkos, port, Some("p")))
        .collect();
    // Of a pool that does not fail open, and of both.
    let other = worker.join(&tkos, 3, None);
    for seat in &seats[..2] {
        assert!(matches!(seat.failed(Kind::Hard, 0), Change::Out(..)));
    }
    assert_eq!(seats[2].failed(Kind::Hard, 0), Change::None);
    assert_eq!(
        other.failed(Kind::Hard, 0),
        Change::None,
        "the pool has it, too"
    );
    for _ in 0..10 {
        assert_eq!(seats[3].timed_out(0), Change::None);
    }
    assert_eq!(tkos.totals(), totals(0, 2));
    assert_eq!(seats[0].probed(1), Probed::Back);
    assert!(
        matches!(seats[3].timed_out(2), Change::Out(Kind::Soft, _)),
        "it has earned that"
    );
    let figures = &tkos.pools()[0].1;
    assert_eq!((figures.out, figures.entered, figures.exited), (2, 2, 1));
    tkos.set_bounds([]);
    assert!(matches!(other.failed(Kind::Hard, 3), Change::Out(..)));
    assert!(tkos.pools().is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Join(u16, bool),
    Leave(usize),
    Fail(usize, bool),
    Timeout(usize),
    Answer(usize),
    Probe(usize),
    Bounds(Option<(u32, u32)>),
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let seat = 0..12usize;
    let event = prop_oneof![
        3 => (1u16..5, any::<bool>()).prop_map(|(port, pool)| Event::Join(port, pool)),
        2 => seat.clone().prop_map(Event::Leave),
        3 => (seat.clone(), any::<bool>()).prop_map(|(seat, hard)| Event::Fail(seat, hard)),
        4 => seat.clone().prop_map(Event::Timeout),
        1 => seat.clone().prop_map(Event::Answer),
        4 => seat.prop_map(Event::Probe),
        1 => prop::option::of((1u32..4, 0u32..3)).prop_map(Event::Bounds),
    ];
    prop::collection::vec((event, 0u64..3_000_000), 0..120)
}

proptest! {
    /// Whatever happens: all destinations of a server see the same, exactly one of them probes one that is out, the
    /// numbers are right, and nothing is taken out of a pool that fails open.
    #[test]
    fn all_know_the_same_and_one_probes(events in events()) {
        let tkos: Arc<Tkos> = Arc::default();
        let worker = Worker::new();
        let mut seats: Vec<(u16, bool, Seat)> = Vec::new();
        let mut now = 0;
        for (event, pause) in events {
            now += pause;
            let was_open = tkos.pools().first().is_some_and(|(_, figures)| figures.is_open);
            let count = seats.len().max(1);
            let seat = |n: usize| seats.get(n % count);
            let mut change = (Change::None, 0);
            match event {
                Event::Join(port, pool) => {
                    let seat = worker.join(&tkos, port, pool.then_some("p"));
                    seats.push((port, pool, seat));
                }
                Event::Leave(n) if !seats.is_empty() => {
                    seats.swap_remove(n % count).2.leave();
                }
                Event::Fail(n, hard) => if let Some((port, _, seat)) = seat(n) {
                    let kind = if hard { Kind::Hard } else { Kind::Soft };
                    change = (seat.failed(kind, now), *port);
                },
                Event::Timeout(n) => if let Some((port, _, seat)) = seat(n) {
                    change = (seat.timed_out(now), *port);
                },
                Event::Answer(n) => if let Some((.., seat)) = seat(n) {
                    seat.answered();
                },
                Event::Probe(n) => if let Some((.., seat)) = seat(n) {
                    seat.probed(now);
                },
                Event::Bounds(Some((lower, more))) => {
                    tkos.set_bounds([("p", Bounds { upper: lower + more, lower })]);
                }
                Event::Bounds(None) | Event::Leave(_) => {}
            }
            if let (Change::Out(..), port) = change {
                let in_pool = seats.iter().any(|(other, pool, _)| *other == port && *pool);
                prop_assert!(!(was_open && in_pool), "the pool fails open");
            }
            type Standing = (bool, (bool, bool));
            let mut servers: BTreeMap<u16, Vec<Standing>> = BTreeMap::new();
            for (port, pool, seat) in &seats {
                servers.entry(*port).or_default().push((*pool, seat.standing()));
            }
            let mut out = 0;
            let mut out_of_pool = 0;
            for standings in servers.values() {
                let down = standings[0].1.0;
                prop_assert!(standings.iter().all(|(_, (other, _))| *other == down));
                let probing = standings.iter().filter(|(_, (_, probes))| *probes).count();
                prop_assert_eq!(probing, usize::from(down));
                out += u64::from(down);
                out_of_pool += u32::from(down && standings.iter().any(|(pool, _)| *pool));
            }
            let totals = tkos.totals();
            prop_assert_eq!(totals.soft + totals.hard, out);
            if let Some((_, figures)) = tkos.pools().first() {
                prop_assert_eq!(figures.out, out_of_pool);
                prop_assert_eq!(figures.entered - figures.exited, u64::from(figures.is_open));
            }
        }
    }
}
