//! A server joins or leaves while its pool's previous servers are still asked.
//!
//! Without faults clients must not be able to tell: whatever they have stored is there, with its flags and its time to
//! live, whatever they have deleted or changed is gone from wherever it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cases::quiet_setup;
use super::plan::{Rng, Setup, What};
use super::sim::Sim;
use crate::config::ServerAddr;
use crate::route::compile::{Previous, Snapshot};
use crate::route::moved::Handover;

/// What clients do; a cas is about one server's counter, and that differs after a copy.
const REQUESTS: &[What] = &[
    What::Get,
    What::GetMany,
    What::Gat,
    What::Set,
    What::Update,
    What::Delete,
    What::Arith,
    What::Touch,
    What::MetaGet,
    What::MetaSet,
    What::MetaDelete,
    What::MetaArith,
    What::Quiet,
];

/// Cases in `cargo test`.
const SEEDS: u64 = 40;

/// The pools become those of `variant`, and what they were is asked, too.
fn scale(sim: &mut Sim, from: usize, to: usize) {
    let (old, new) = (sim.env.setup.config(from), sim.env.setup.config(to));
    let previous: BTreeMap<_, _> = old
        .pools
        .into_iter()
        .map(|pool| {
            let handover = Handover::default();
            handover.open();
            (pool.name.clone(), Previous { pool, handover })
        })
        .collect();
    let snapshot = Snapshot::compile_at(&new, &previous, ServerAddr::clone).unwrap();
    sim.env.config = new;
    sim.env.snapshot = Arc::new(snapshot);
    sim.core.apply(Arc::clone(&sim.env.snapshot));
}

fn setup(seed: u64, rng: &mut Rng) -> Setup {
    Setup {
        clients: 1 + rng.below(3),
        servers: 2 + rng.below(3),
        connections: 1 + rng.below(2),
        coalesce: rng.one_in(2),
        big: rng.one_in(3),
        seed,
        ..quiet_setup()
    }
}

fn some(sim: &mut Sim, count: usize, pipelines: bool, rng: &mut Rng) {
    for _ in 0..count {
        if !pipelines {
            sim.settle(rng);
        }
        let client = rng.below(sim.clients.len());
        let mut what = *rng.pick(REQUESTS);
        if what == What::Quiet && !pipelines {
            // That is several requests at once.
            what = What::Set;
        }
        sim.clients[client].seen_cas.clear();
        sim.ask(client, what, rng);
        for _ in 0..rng.below(4) {
            sim.turn(rng);
        }
    }
}

#[test]
fn clients_do_not_notice_that_servers_join_and_leave() {
    let (mut asked, mut copied, mut updates) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng(seed);
        let mut sim = Sim::new(setup(seed, &mut rng));
        let pipelines = rng.one_in(2);
        sim.env.overtakes = pipelines;
        // With the variant 1 the first server is not there.
        let (from, to) = if rng.one_in(2) { (0, 1) } else { (1, 0) };
        sim.reload(from);
        some(&mut sim, 150, pipelines, &mut rng);
        if rng.one_in(2) {
            sim.settle(&mut rng);
        }
        scale(&mut sim, from, to);
        some(&mut sim, 300, pipelines, &mut rng);
        sim.settle(&mut rng);
        let worker = &sim.core.stats.worker;
        asked += worker.moved_asked.get();
        copied += worker.moved_copied.get();
        updates += worker.moved_updates.get();
        assert_eq!(worker.moved_skipped.get(), 0);
        // Afterwards nothing that counts is on a previous server alone that was not asked for.
        sim.reload(to);
        sim.settle(&mut rng);
        sim.check_empty(&mut rng);
    }
    assert!(
        asked > 500 && copied > 100 && updates > 500,
        "{asked} {copied} {updates}"
    );
}
