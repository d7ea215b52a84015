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

/// What the pools were, oldest first.
type Before = Vec<(usize, Handover)>;

/// The pools become those of the variant `to`, and what they were is asked, too.
fn scale(sim: &mut Sim, before: &Before, to: usize) {
    let new = sim.env.setup.config(to);
    let previous = |at: usize| {
        let all = before.iter().map(|(variant, handover)| Previous {
            pool: sim.env.setup.config(*variant).pools.swap_remove(at),
            handover: handover.clone(),
        });
        all.collect()
    };
    let pools = new.pools.iter().enumerate();
    let previous: BTreeMap<_, _> = pools
        .map(|(at, pool)| (pool.name.clone(), previous(at)))
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
        let handover = Handover::default();
        handover.open();
        scale(&mut sim, &vec![(from, handover)], to);
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

#[test]
fn clients_do_not_notice_several_changes_at_a_time() {
    let (mut asked, mut copied) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = Rng(seed);
        let mut sim = Sim::new(Setup {
            servers: 3 + rng.below(2),
            ..setup(seed, &mut rng)
        });
        let pipelines = rng.one_in(2);
        sim.env.overtakes = pipelines;
        let mut before = Before::new();
        let mut now = *rng.pick(&[0, 1, 4]);
        sim.reload(now);
        some(&mut sim, 100, pipelines, &mut rng);
        for _ in 0..2 + rng.below(3) {
            if rng.one_in(2) {
                sim.settle(&mut rng);
            }
            before.push((now, Handover::default()));
            now = *rng.pick(&[0, 1, 4]);
            for (_, handover) in &before {
                handover.begin();
            }
            scale(&mut sim, &before, now);
            // Nothing is copied yet: a get that does more than look finds nothing.
            sim.env.overtakes = true;
            some(&mut sim, rng.below(100), pipelines, &mut rng);
            if rng.one_in(2) {
                // Whoever has asked before the change has been answered.
                sim.settle(&mut rng);
                for (_, handover) in &before {
                    handover.open();
                }
                sim.env.overtakes = pipelines;
                some(&mut sim, 100, pipelines, &mut rng);
            }
        }
        sim.settle(&mut rng);
        let worker = &sim.core.stats.worker;
        asked += worker.moved_asked.get();
        copied += worker.moved_copied.get();
        assert_eq!(worker.moved_skipped.get(), 0);
        sim.reload(now);
        sim.settle(&mut rng);
        sim.check_empty(&mut rng);
    }
    assert!(asked > 500 && copied > 100, "{asked} {copied}");
}
