//! Single situations that the random runs have found, or would find only after very many cases.

use super::env::number_of;
use super::oracle::record;
use super::plan::{Fault, Lie, Rng, Setup, Shape, Tight, What};
use super::sim::Sim;

/// One client and one pool of three servers where nothing goes wrong.
pub fn quiet_setup() -> Setup {
    Setup {
        faults: false,
        servers: 3,
        clients: 1,
        connections: 1,
        coalesce: true,
        route: Shape::Pool,
        miss_on_errors: true,
        flush: false,
        big: false,
        limits: Tight::Nothing,
        tricks: 0,
        connect_timeout: 100_000,
        tko_after: 3,
        seed: 1,
    }
}

/// The core asks for a very long get's keys a window at a time, however their answers arrive.
#[test]
fn a_very_long_get_never_has_more_than_its_window_under_way() {
    let mut sim = Sim::new(quiet_setup());
    let mut rng = Rng(1);
    let key = sim.clients[0].own_key(0);
    sim.converse(0, What::Set, key.clone(), &mut rng);
    let keys = vec![key; 5000];
    sim.get(0, &keys);
    let mut most = 0;
    while sim.core.replies.outstanding() > 0 || sim.unread(0) > 0 {
        sim.smooth_turn(&mut rng);
        let waiting = sim.core.conns.iter().map(|(_, up)| up.conn.waiting());
        most = most.max(waiting.sum());
    }
    assert!(most > 0 && most <= 768, "{most} keys at once");
    sim.settle(&mut rng);
}

/// What a client asks behind a very long get is not executed before it.
#[test]
fn requests_behind_a_very_long_get_do_not_overtake_it() {
    let mut sim = Sim::new(quiet_setup());
    let mut rng = Rng(1);
    let key = sim.clients[0].own_key(0);
    sim.converse(0, What::Set, key.clone(), &mut rng);
    sim.get(0, &vec![key.clone(); 2000]);
    sim.clients[0].ask_about(&mut sim.env, What::Set, key, &mut rng);
    sim.settle(&mut rng);
}

/// As [`quiet_setup`], with the short timeouts of a setup with faults.
fn faulty_setup(route: Shape) -> Setup {
    Setup {
        faults: true,
        connect_timeout: 1_000_000,
        route,
        ..quiet_setup()
    }
}

/// A key of the first client that this server owns in this pool.
fn key_on(sim: &Sim, pool: usize, server: usize, prefix: &str) -> Vec<u8> {
    let pool = &sim.env.snapshot.pools[pool];
    (0..1000)
        .map(|n| format!("{prefix}:1:{n}").into_bytes())
        .find(|key| {
            number_of(&pool.servers[pool.selector.as_ref().unwrap().select(key)].name) == server
        })
        .unwrap()
}

/// A request that timed out while its connection was being made must not keep the timer busy, nor be held
/// against the connection once it is there.
#[test]
fn a_connection_that_takes_several_timeouts_to_make_is_used_all_the_same() {
    let mut sim = Sim::new(faulty_setup(Shape::Pool));
    let mut rng = Rng(1);
    sim.servers
        .iter_mut()
        .for_each(|server| server.hangs = true);
    let key = sim.clients[0].own_key(0);
    sim.clients[0].ask_about(&mut sim.env, What::Get, key.clone(), &mut rng);
    sim.smooth_turn(&mut rng);
    sim.pass(500_000, &mut rng);
    assert_eq!(sim.env.total(|f| &f.timeouts), 1);
    sim.servers
        .iter_mut()
        .for_each(|server| server.hangs = false);
    sim.smooth_turn(&mut rng);
    sim.pass(1000, &mut rng);
    sim.converse(0, What::Set, key.clone(), &mut rng);
    assert_eq!(sim.env.total(|f| &f.connects), 1);
    assert_eq!(sim.env.total(|f| &f.downs), 0);
}

/// The second connection does not sit out its pause when the first has found the server well.
#[test]
fn all_connections_to_a_server_that_is_back_are_made_at_once() {
    for seed in 0..20 {
        let mut setup = faulty_setup(Shape::Pool);
        setup.connections = 3;
        setup.seed = seed;
        let mut sim = Sim::new(setup);
        let mut rng = Rng(1);
        let refuse = |sim: &mut Sim, refuses| {
            let all = sim.servers.iter_mut();
            all.for_each(|server| server.refuses = refuses);
        };
        let ask_all = |sim: &mut Sim, rng: &mut Rng| {
            for n in 0..9 {
                let key = sim.clients[0].own_key(n);
                sim.clients[0].ask_about(&mut sim.env, What::Get, key, rng);
            }
            sim.smooth_turn(rng);
        };
        refuse(&mut sim, true);
        for _ in 0..20 {
            ask_all(&mut sim, &mut rng);
            sim.pass(20_000, &mut rng);
        }
        refuse(&mut sim, false);
        while sim.core.in_service().1 > 0 {
            sim.pass(1000, &mut rng);
        }
        let failures = sim.env.total(|f| &f.failures);
        ask_all(&mut sim, &mut rng);
        for _ in 0..5 {
            sim.smooth_turn(&mut rng);
        }
        assert_eq!(sim.core.replies.outstanding(), 0);
        assert_eq!(sim.env.total(|f| &f.failures), failures);
    }
}

/// Two updates of one key that fail over together arrive in their order.
#[test]
fn what_fails_over_together_keeps_its_order() {
    let mut sim = Sim::new(faulty_setup(Shape::Failover { on_miss: false }));
    let mut rng = Rng(3);
    let key = sim.clients[0].own_key(0);
    sim.servers[0].stalled = true;
    for _ in 0..5 {
        sim.clients[0].ask_about(&mut sim.env, What::Set, key.clone(), &mut Rng(1));
    }
    let last = sim.clients[0].last_written(&key);
    sim.smooth_turn(&mut rng);
    sim.pass(150_000, &mut rng);
    sim.servers[0].stalled = false;
    sim.settle(&mut rng);
    let stored = sim.servers[1..]
        .iter()
        .find_map(|s| s.store.items.get(&key));
    assert_eq!(stored.unwrap().value, *last);
}

/// What a server that is down can't take goes to the key's next server, in its order, or to the one after that, and is
/// found there; every key has a server as long as no three next to each other are down.
#[test]
fn keys_of_a_server_that_is_down_are_served_by_the_next() {
    for down in 1..=2 {
        let mut sim = Sim::new(faulty_setup(Shape::Next));
        let mut rng = Rng(down);
        for server in 0..down as usize {
            sim.servers[server].refuses = true;
        }
        for n in 0..9 {
            let key = sim.clients[0].own_key(n);
            for _ in 0..3 {
                sim.clients[0].ask_about(&mut sim.env, What::Set, key.clone(), &mut rng);
            }
            let last = sim.clients[0].last_written(&key);
            for _ in 0..6 {
                sim.smooth_turn(&mut rng);
            }
            let order = sim.env.servers(&key);
            let up = order.into_iter().find(|server| *server >= down as usize);
            let stored = sim.servers[up.unwrap()].store.items.get(&key);
            assert_eq!(stored.unwrap().value, *last, "{down} down");
            sim.get(0, std::slice::from_ref(&key));
            for _ in 0..4 {
                sim.smooth_turn(&mut rng);
            }
            assert_eq!(sim.core.stats.worker.get_misses.get(), 0);
        }
        assert_eq!(sim.core.stats.worker.get_hits.get(), 9);
        sim.heal();
        sim.settle(&mut rng);
    }
}

/// What a server that is down can't take goes to the gutter, and is gone there once it has been deleted where it belongs.
#[test]
fn what_is_deleted_leaves_the_gutter_too() {
    for deletion in [What::Delete, What::MetaDelete] {
        let mut sim = Sim::new(faulty_setup(Shape::Gutter));
        let mut rng = Rng(1);
        // The pool has one server.
        sim.servers[0].refuses = true;
        let key = sim.clients[0].own_key(0);
        let in_gutter = |sim: &Sim| {
            let mut gutter = sim.servers[1..].iter();
            gutter.any(|server| server.store.items.contains_key(&key))
        };
        for what in [What::Set, What::Get, What::Touch, What::Gat, What::MetaSet] {
            sim.clients[0].ask_about(&mut sim.env, what, key.clone(), &mut rng);
            for _ in 0..6 {
                sim.smooth_turn(&mut rng);
            }
            assert!(in_gutter(&sim));
        }
        sim.servers[0].refuses = false;
        sim.settle(&mut rng);
        assert!(in_gutter(&sim) && sim.servers[0].store.items.is_empty());
        sim.converse(0, What::Set, key.clone(), &mut rng);
        assert!(in_gutter(&sim) && !sim.servers[0].store.items.is_empty());
        while in_gutter(&sim) {
            // Some of these are conditional.
            sim.converse(0, deletion, key.clone(), &mut rng);
        }
    }
}

/// A route below a failover is chosen by the key, also when the failure was known at once.
#[test]
fn a_prefix_below_a_failover_sees_the_key() {
    let mut sim = Sim::new(faulty_setup(Shape::FailoverOfPrefix));
    let mut rng = Rng(1);
    // Server 0 is the first child and, for this prefix, the second; the third leads to the others.
    let key = b"a:1:0".to_vec();
    sim.servers[0].refuses = true;
    let mut last = None;
    for _ in 0..3 {
        sim.clients[0].ask_about(&mut sim.env, What::Set, key.clone(), &mut rng);
        last = Some(sim.clients[0].last_written(&key));
        for _ in 0..4 {
            sim.smooth_turn(&mut rng);
        }
    }
    let stored = sim.servers[1..]
        .iter()
        .find_map(|s| s.store.items.get(&key));
    assert_eq!(stored.unwrap().value, *last.unwrap());
}

/// A large value that a meta get found in the warm pool is copied, though its line says nothing about flags: it is asked for
/// once more.
#[test]
fn a_streamed_meta_hit_is_copied_to_the_cold_pool() {
    let mut setup = faulty_setup(Shape::WarmUp);
    setup.big = true;
    let mut sim = Sim::new(setup);
    let mut rng = Rng(1);
    let key = sim.clients[0].own_key(6);
    sim.servers
        .iter_mut()
        .for_each(|server| server.trickles = Some(1000));
    for seed in 0..30 {
        // The model's server panics at a malformed `add`.
        sim.clients[0].ask_about(&mut sim.env, What::MetaGet, key.clone(), &mut Rng(seed));
        sim.settle(&mut rng);
    }
    assert!(sim.servers[0].store.items.contains_key(&key));
}

/// While one value of a long get arrives, its frame's place is taken by a later key of the same get.
#[test]
fn a_copy_is_made_of_the_bytes_of_its_own_key_only() {
    let mut setup = faulty_setup(Shape::WarmUp);
    setup.servers = 6;
    setup.big = true;
    let mut sim = Sim::new(setup);
    let mut rng = Rng(1);
    let streamed = key_on(&sim, 1, 0, "x");
    let absent = key_on(&sim, 1, 1, "y");
    // In the warm pool there are more keys than free places of frames.
    let warm: Vec<Vec<u8>> = (0..20_000)
        .map(|n| format!("b:1:{n}").into_bytes())
        .filter(|key| sim.env.servers(key) == [4, 1])
        .take(500)
        .collect();
    let mut put = |server: usize, key: &[u8], size| {
        let number = sim.env.number();
        sim.env.writes(7, number, key);
        let value = record(key, 7, number, size);
        sim.servers[server].store.put(key, 1, value);
    };
    put(0, &streamed, 2_000_000);
    for key in &warm {
        put(4, key, 40_000);
    }
    // It goes on while the others come and go.
    sim.servers[0].trickles = Some(1000);
    sim.servers[4].trickles = Some(13_000);
    let mut keys = vec![absent; 600];
    keys[0] = streamed;
    keys.extend(warm.clone());
    sim.get(0, &keys);
    // Every stored value is checked.
    sim.settle(&mut rng);
    assert!(sim.servers[1].store.items.len() == warm.len());
}

/// A large value from the warm pool breaks off, or stops, after some of it has come: the client has seen a part of
/// it, or it waits for an earlier reply. The next route would find it, too, but it is too late to ask there.
#[test]
fn a_value_that_has_begun_is_the_last_word_of_its_route() {
    for seed in 0..150 {
        let mut rng = Rng(seed);
        let on_miss = rng.one_in(2);
        let mut setup = faulty_setup(Shape::FailoverOfWarmUps { on_miss });
        setup.servers = 6;
        setup.big = true;
        setup.tricks = u32::MAX;
        setup.miss_on_errors = rng.one_in(2);
        let mut sim = Sim::new(setup);
        let find = |prefix: &str, places: &dyn Fn(&[usize]) -> bool| {
            let mut keys = (0..10_000).map(|n| format!("{prefix}:1:{n}").into_bytes());
            keys.find(|key| places(&sim.env.servers(key))).unwrap()
        };
        let key = find("x", &|places| places.contains(&1) && places.contains(&4));
        let earlier = find("a", &|places| places.contains(&0) && !places.contains(&4));
        let absent = find("b", &|places| places.contains(&4));
        let number = sim.env.number();
        sim.env.writes(7, number, &key);
        let value = record(&key, 7, number, 33_000 + rng.below(100_000));
        sim.servers[4].store.put(&key, 1, value);
        // All connections are there.
        for key in [&absent, &earlier] {
            sim.converse(0, What::Get, key.clone(), &mut rng);
        }
        let held = rng.one_in(2);
        if held {
            sim.fault(0, Fault::Stall, &mut rng);
            sim.get(0, &[earlier]);
            sim.smooth_turn(&mut rng);
        }
        if rng.one_in(2) {
            sim.fault(4, Fault::Lie(Lie::BreakOff), &mut rng);
        } else {
            sim.servers[4].trickles = Some(10_000);
        }
        for _ in 0..1 + rng.below(3) {
            sim.get(0, std::slice::from_ref(&key));
        }
        for _ in 0..3 + rng.below(6) {
            sim.smooth_turn(&mut rng);
        }
        sim.pass(250_000, &mut rng);
        sim.heal();
        sim.settle(&mut rng);
    }
}
