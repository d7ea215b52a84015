//! Single situations that the random runs have found, or would find only after very many cases.

use super::plan::{Rng, Setup, Shape, Tight, What};
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
