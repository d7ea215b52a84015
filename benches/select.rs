//! What it costs to find a key's server: every distribution at four sizes of pool, and the crate
//! hash_ring for comparison.
//!
//! Run `cargo bench --bench select`, or one group with `cargo bench --bench select -- ring/`. The keys
//! are looked up in turn, so that a figure holds the misses of the processor's caches that a real mix
//! of keys has; it is the time of one `select`, with nothing around it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hash_ring::HashRing;
use ringroad::hash::{DEFAULT_POINTS, Distribution, Node, Placement, Selector};

const SIZES: [u16; 4] = [3, 10, 100, 1000];

fn keys() -> Vec<String> {
    (0..4096_u64)
        .map(|i| {
            format!(
                "user:{}:profile",
                i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 10_000_000
            )
        })
        .collect()
}

fn nodes(count: u16) -> Vec<Node> {
    (0..count)
        .map(|i| Node::at(format!("10.0.{}.{}", i / 250, i % 250), 11211))
        .collect()
}

fn select(criterion: &mut Criterion) {
    let keys = keys();
    for distribution in Distribution::ALL {
        let mut group = criterion.benchmark_group(distribution.name());
        for count in SIZES {
            let placement = Placement::of(distribution);
            let selector = Selector::new(&placement, &nodes(count)).unwrap_or_else(|error| {
                eprintln!("{distribution} of {count}: {error}");
                std::process::exit(1);
            });
            let mut turn = keys.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    turn.next()
                        .map(|key| selector.select(black_box(key.as_bytes())))
                });
            });
        }
        group.finish();
    }
}

/// The crate takes the key as a `String`: making it is part of every lookup. A ring of a thousand nodes
/// is left out, because building it takes minutes.
fn hash_ring(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("hash_ring_crate");
    for count in SIZES.into_iter().filter(|count| *count <= 100) {
        let names: Vec<String> = nodes(count).into_iter().map(|node| node.name).collect();
        let ring: HashRing<String> = HashRing::new(names, DEFAULT_POINTS as isize);
        let mut turn = keys.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                turn.next()
                    .map(|key| ring.get_node(black_box(key).clone()).is_some())
            });
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(700))
}

criterion_group! {
    name = benches;
    config = config();
    targets = select, hash_ring
}
criterion_main!(benches);
