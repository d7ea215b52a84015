//! The whole request path without sockets: what 64 clients ask in one turn, out to three servers and back.
//!
//! A figure is the time the core takes for one turn of all clients: parsing, routing, queueing and coalescing,
//! matching the servers' answers, putting replies in order; with one copy of every byte written, in the place
//! of the system call. What the clients and servers do in between is not in it. The rate that criterion prints
//! is requests; a 20-key get is one.
//!
//! Run `cargo bench --bench turn`. For figures that don't depend on the machine, see `counts`.

mod support;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::load::{Ask, Load};
use support::router::{Router, THREE_SERVERS, WITH_FAILOVER};

const CLIENTS: usize = 64;

fn turn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for (name, config, depth, ask) in [
        ("get", THREE_SERVERS, 1, Ask::Get(1)),
        ("get 16 deep", THREE_SERVERS, 16, Ask::Get(1)),
        ("get 20 keys", THREE_SERVERS, 1, Ask::Get(20)),
        ("get 9, set 1", THREE_SERVERS, 1, Ask::GetOrSet),
        ("set", THREE_SERVERS, 1, Ask::Set),
        ("mg", THREE_SERVERS, 1, Ask::MetaGet),
        ("mg with opaque", THREE_SERVERS, 1, Ask::MetaGetOpaque),
        ("ms", THREE_SERVERS, 1, Ask::MetaSet),
        ("get with failover", WITH_FAILOVER, 1, Ask::Get(1)),
    ] {
        let load = Load::new(CLIENTS, depth, ask);
        let mut router = or_exit(name, Router::new(config, &load));
        let mut turns = load.turns();
        group.throughput(Throughput::Elements(load.requests as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                (0..count)
                    .filter_map(|_| turns.next())
                    .map(|turn| or_exit(name, router.turn(turn)))
                    .sum::<Duration>()
            });
        });
    }
    group.finish();
}

fn or_exit<T>(name: &str, outcome: Result<T, String>) -> T {
    outcome.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        std::process::exit(1);
    })
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
}

criterion_group! {
    name = benches;
    config = config();
    targets = turn
}
criterion_main!(benches);
