//! What it costs to find the server for a key, from the root of the route on, and what a route that decides
//! on replies adds.
//!
//! Run `cargo bench --bench route`; `select` has the distributions by themselves. "to server" is the way of
//! every request: the tree, then the pool's ring. "plan" is what a failover or warm-up route adds per
//! request, without the frame that keeps the request: entering it, and deciding on each outcome.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringroad::route::compile::Snapshot;
use ringroad::route::exec::{Next, Outcome, Plan, Sort};
use ringroad::route::tree::{Reason, Step};
use support::load::Rng;
use support::router::{THREE_SERVERS, WITH_FAILOVER, snapshot};

/// One key in three goes to each pool.
const PREFIXES: &str = r#"
[route]
type = "prefix"
default = "general"
[route.prefixes]
"user:" = "users"
"page:" = "pages"
[pools.general]
servers = ["127.0.0.1:11211", "127.0.0.1:11212", "127.0.0.1:11213"]
[pools.users]
servers = ["127.0.0.1:11214", "127.0.0.1:11215", "127.0.0.1:11216"]
[pools.pages]
servers = ["127.0.0.1:11217", "127.0.0.1:11218", "127.0.0.1:11219"]
"#;

fn compiled(text: &str) -> Snapshot {
    snapshot(text).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1);
    })
}

fn keys() -> Vec<String> {
    let mut rng = Rng::new(1);
    let prefixes = ["", "user:", "page:"].iter().cycle();
    let keys = prefixes.map(|prefix| format!("{prefix}{}", rng.key()));
    keys.take(4096).collect()
}

fn to_server(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("to server");
    let keys = keys();
    for (name, text) in [("one pool", THREE_SERVERS), ("prefixes", PREFIXES)] {
        let snapshot = compiled(text);
        let mut keys = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = black_box(keys.next()?.as_bytes());
                match snapshot.tree.resolve(key) {
                    Step::Pool(pool) => {
                        let pool = snapshot.pools.get(pool as usize)?;
                        pool.selector.as_ref().map(|selector| selector.select(key))
                    }
                    _ => None,
                }
            });
        });
    }
    group.finish();
}

fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let snapshot = compiled(WITH_FAILOVER);
    let tree = &snapshot.tree;
    let keys = keys();
    for (name, outcomes) in [
        ("failover, answered", &[Outcome::Hit][..]),
        (
            "failover, second answers",
            &[Outcome::Failed(Reason::Timeout), Outcome::Hit],
        ),
    ] {
        let mut keys = keys.iter().cycle();
        let mut plan = Plan::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = black_box(keys.next()?.as_bytes());
                let Step::Decide(node) = tree.resolve(key) else {
                    return None;
                };
                plan.start(tree, node, key, Sort::Get)?;
                let mut last = None;
                for outcome in outcomes {
                    last = Some(plan.next(tree, key, Sort::Get, black_box(*outcome)));
                }
                last.filter(|next| *next == Next::Answer)
            });
        });
    }
    group.finish();
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
    targets = to_server, plan
}
criterion_main!(benches);
