//! What it costs to take a request of a client, or a reply of a server, apart.
//!
//! Run `cargo bench --bench parse`. Each figure is the time of one message that is complete and in the cache;
//! 4096 messages that differ in their keys go round.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringroad::protocol::request::{self, Limits};
use ringroad::protocol::response::{self, Kind};
use support::load::{Ask, Load};

/// How many messages there are of each turn of a load.
const MESSAGES: usize = 256;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Elements(1));
    let limits = Limits::default();
    for (name, ask) in [
        ("get", Ask::Get(1)),
        ("get 20 keys", Ask::Get(20)),
        ("set", Ask::Set),
        ("mg", Ask::MetaGet),
        ("mg with opaque", Ask::MetaGetOpaque),
        ("ms", Ask::MetaSet),
    ] {
        let load = Load::new(MESSAGES, 1, ask);
        let mut messages = load.turns().flat_map(|turn| &turn.requests);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if let Some(message) = messages.next() {
                    black_box(request::parse(black_box(message), &limits));
                }
            });
        });
    }
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response");
    group.throughput(Throughput::Elements(1));
    for (name, ask) in [
        ("VALUE", Ask::Get(1)),
        ("STORED", Ask::Set),
        ("VA", Ask::MetaGet),
        ("VA with key and opaque", Ask::MetaGetOpaque),
        ("HD", Ask::MetaSet),
    ] {
        let load = Load::new(MESSAGES, 1, ask);
        let mut messages = load.turns().flat_map(|turn| &turn.replies);
        group.bench_function(name, |bencher| {
            bencher.iter(|| messages.next().and_then(|reply| data_len(black_box(reply))));
        });
    }
    group.finish();
}

/// The length of the data block that a reply announces, found as a connection finds it.
fn data_len(reply: &[u8]) -> Option<usize> {
    let (end, _) = response::line(reply)?;
    let line = reply.get(..end)?;
    if let Some(value) = response::value(line) {
        return Some(value.len);
    }
    match response::kind(line) {
        Kind::MetaValue(len) => Some(len),
        _ => None,
    }
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
}

criterion_group! {
    name = benches;
    config = config();
    targets = requests, responses
}
criterion_main!(benches);
