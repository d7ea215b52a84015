//! What is printed of a configuration is read as the same configuration.

use super::super::vars::Variable;
use super::super::*;
use super::fills::fill;
use crate::hash::{Buckets, Distribution};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn address() -> impl Strategy<Value = ServerAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>()
            .prop_map(|(ip, port)| ServerAddr::Tcp(SocketAddr::from((ip, port.max(1))))),
        any::<([u16; 8], u16)>()
            .prop_map(|(ip, port)| ServerAddr::Tcp(SocketAddr::from((ip, port.max(1))))),
        ("[a-z][a-z0-9]{0,8}(\\.[a-z]{1,5})?", 1u16..)
            .prop_map(|(host, port)| ServerAddr::Name { host, port }),
        "/[a-z \"\\\\é]{0,8}[a-z]".prop_map(|path| ServerAddr::Unix(path.into())),
    ]
}

fn servers() -> impl Strategy<Value = Vec<Server>> {
    let server = (
        address(),
        option::of("[a-zA-Z0-9\"\\\\ö_:-]{1,8}"),
        option::of(0.0f64..100.0),
    );
    vec(server, 1..6).prop_map(|list| {
        let mut servers: Vec<Server> = Vec::new();
        for (addr, name, weight) in list {
            let mut server = Server::new(addr);
            server.weight = weight;
            server.name = name.unwrap_or(server.name);
            if servers.iter().all(|other| other.name != server.name) {
                servers.push(server);
            }
        }
        // A pool whose every weight is 0 can't be placed.
        servers[0].weight = None;
        servers
    })
}

fn placement() -> impl Strategy<Value = Placement> {
    let ring = (
        option::of(1u32..200),
        option::of(Just((b'{', b'}'))),
        any::<bool>(),
    );
    let live = "[a-z é]{1,5}".prop_map(|name| Placement {
        weights_variable: Some(name),
        ..Placement::of(Distribution::WeightedCh3)
    });
    let ring = ring.prop_map(|(points, tag, stop)| Placement {
        points,
        tag,
        stop,
        ..Placement::of(Distribution::Ring)
    });
    prop_oneof![3 => ring, 1 => live]
}

prop_compose! {
    fn pool()(
        name in "[a-zA-Z0-9_.-]{1,10}",
        servers in servers(),
        discover in option::of(discover()),
        placement in placement(),
        (timeout, connect_timeout) in (millis(1..600_000), millis(1..600_000)),
        (connections, idle_close) in (1usize..=64, millis(0..86_400_000)),
        [coalesce, keep_routing_prefix] in any::<[bool; 2]>(),
        warm_scaling in option::of(millis(1000..86_400_000)),
        gutter in option::of((0usize..4, 1u32..=2_592_000)),
        on_failure in option::of(proptest::sample::select(OnFailure::ALL)),
        on_return in option::of(proptest::sample::select(OnReturn::ALL)),
        spool in option::of("[^\r\n]{0,8}"),
        shown in option::of(("[^\r\n]{11,15}", 0u32..=65_535)),
        (after, probe_min, more) in (1u32..=1_000_000, millis(10..1_000_000), millis(0..1_000_000)),
        (recover, hold_down) in (1u32..=100, millis(0..3_600_000)),
        (enabled, fail_open) in (any::<bool>(), option::of((1u32..=3, 0u32..=2, 1u32..=100))),
        (requests, bytes, in_flight) in (1usize..=1_000_000, (64usize << 10)..=(1 << 30), 0usize..=1_000_000),
    ) -> Pool {
        // Which pools there are, and in which order, is up to the caller.
        let gutter = gutter.map(|(pool, exptime)| Gutter { pool, exptime });
        // Of how many servers, a percentage does not say; all of them are enough.
        let fail_open = fail_open.map(|(until, more, percent)| match percent {
            90.. => FailOpen { at: Share::Percent(100), until: Share::Percent(100) },
            _ => FailOpen { at: Share::Count(until + more), until: Share::Count(until) },
        });
        let tko = Tko { after, probe_min, probe_max: probe_min + more, recover, hold_down, enabled, fail_open };
        let queue = Queue { requests, bytes, in_flight };
        let shown = shown.map(|(pool, first)| Shown { pool, first });
        let mut servers = if discover.is_some() { Vec::new() } else { servers };
        if placement.weights_variable.is_some() {
            // Their weights are those of a ring.
            servers.iter_mut().for_each(|server| server.weight = None);
        }
        Pool { name, servers, discover, placement, timeout, connect_timeout, connections, idle_close, coalesce, keep_routing_prefix, warm_scaling, on_failure, gutter, on_return, spool, shown, tko, queue }
    }
}

fn source() -> impl Strategy<Value = Source> {
    let name = "[a-z0-9]([a-z0-9-]{0,5})(\\.[a-z]{1,5}){0,2}\\.?";
    let identity = proptest::sample::select(IdentityWish::ALL.as_slice());
    let pattern = "[a-z]{0,3}-\\{[0-9]{1,2}\\.\\.(1[0-9]{2})?\\}(\\.[a-z]{1,5}){0,2}";
    prop_oneof![
        (name, 1u16.., option::of("[a-z]{1,5}"), identity.clone()).prop_map(
            |(name, port, port_name, identity)| Source::Service {
                // All digits and dots may be an address.
                name: format!("x{name}"),
                port,
                port_name,
                identity
            }
        ),
        (pattern, 1u16..).prop_map(|(pattern, port)| Source::Ordinals {
            pattern: pattern.parse().unwrap(),
            port
        }),
        (name, 1u16.., identity).prop_map(|(name, port, identity)| Source::Addresses {
            name: format!("x{name}"),
            port,
            identity
        }),
        "/[a-z \"\\\\é]{0,8}[a-z]".prop_map(|path| Source::File(path.into())),
        ("[a-z][a-z0-9]{0,8}|::1|10\\.0\\.0\\.1", 1u16..)
            .prop_map(|(host, port)| Source::Endpoint { host, port }),
    ]
}

prop_compose! {
    fn discover()(
        sources in vec(source(), 1..3),
        (hold, hold_top, hold_ip, confirm) in
            (millis(0..86_400_000), millis(0..86_400_000), millis(0..86_400_000), millis(0..86_400_000)),
        max_loss in 0.0f64..=1.0,
    ) -> Discover {
        let mut unique: Vec<Source> = Vec::new();
        for source in sources {
            if !unique.contains(&source) {
                unique.push(source);
            }
        }
        let membership = Membership { hold, hold_top, hold_ip, max_loss, confirm };
        Discover { sources: unique, membership }
    }
}

prop_compose! {
    fn dns()(
        search in vec("[a-z]{1,5}(\\.[a-z]{1,5})?", 0..3),
        (min_ttl, more) in (millis(1000..3_600_000), millis(0..3_600_000)),
    ) -> Dns {
        Dns { servers: Vec::new(), search, min_ttl, max_ttl: min_ttl + more }
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    (0.001f64..1e6, 0.001f64..1e6).prop_map(|(rate, burst)| Rate { rate, burst })
}

/// Routes that decide without a reply, over these.
fn choose(inner: impl Strategy<Value = Route> + Clone + 'static) -> impl Strategy<Value = Choose> {
    let boxed = inner.clone().prop_map(Box::new);
    let children = vec(inner.clone(), 1..4);
    let results: Vec<&'static ErrorResult> = ErrorResult::ALL.iter().collect();
    let error = (
        "[ -~é]{0,9}",
        proptest::sample::select(results),
        any::<bool>(),
    );
    let weighted = vec((inner.clone(), 0.0f64..=1.0), 1..4);
    let named = proptest::collection::btree_map("[!-~é]{1,4}", inner.clone(), 1..4);
    let operations = proptest::sample::subsequence(Requests::all(), 1..=4);
    let operations = (operations, vec(inner, 4));
    prop_oneof![
        Just(Choose::Null),
        error.prop_map(|(message, result, shown)| Choose::Error {
            message,
            result,
            shown
        }),
        (children.clone(), placement()).prop_map(|(children, placement)| Choose::Hash {
            children,
            placement,
            weights: Vec::new(),
            names: Vec::new(),
        }),
        (weighted, "[a-z\"]{0,4}", option::of("[a-z\"]{1,4}")).prop_map(
            |(children, salt, weights_variable)| {
                let (children, weights) = children.into_iter().unzip();
                let buckets = Buckets {
                    total: 1000,
                    keyspace: salt.clone(),
                    by_prefix: vec![(salt.clone(), 7)],
                    parts: (salt.len() % 2 == 0).then_some((2, 'é')),
                };
                let placement = Placement {
                    buckets: (salt.len() > 1).then(|| Box::new(buckets)),
                    salt,
                    weights_variable,
                    ..Placement::of(Distribution::WeightedCh3)
                };
                Choose::Hash {
                    children,
                    placement,
                    weights,
                    names: Vec::new(),
                }
            }
        ),
        named.prop_map(|children| {
            let (names, children) = children.into_iter().unzip();
            Choose::Hash {
                children,
                placement: Placement::of(Distribution::Rendezvous),
                weights: Vec::new(),
                names,
            }
        }),
        children
            .clone()
            .prop_map(|children| Choose::Random { children }),
        (children, "[a-z]{0,3}").prop_map(|(children, salt)| Choose::Host { children, salt }),
        (operations, option::of(boxed.clone())).prop_map(|((requests, routes), default)| {
            Choose::Operation {
                default,
                operations: requests.into_iter().zip(routes).collect(),
            }
        }),
        (boxed.clone(), 0u32..=2_592_000, any::<bool>()).prop_map(|(child, exptime, at_most)| {
            Choose::Exptime {
                child,
                exptime,
                at_most,
            }
        }),
        (
            boxed.clone(),
            (rate(), option::of(rate()), option::of(rate())),
            option::of(boxed.clone())
        )
            .prop_map(|(child, (gets, sets, deletes), fallback)| {
                let gets = Some(gets);
                Choose::RateLimit {
                    child,
                    rates: Rates {
                        gets,
                        sets,
                        deletes,
                    },
                    fallback,
                }
            }),
        (boxed, vec("[!-~é]{0,4}", 0..3))
            .prop_map(|(child, prefixes)| Choose::HashStop { child, prefixes }),
    ]
}

/// Routes that look into keys, over these.
fn keys(inner: impl Strategy<Value = Route> + Clone + 'static) -> impl Strategy<Value = Keys> {
    let boxed = inner.clone().prop_map(Box::new);
    let text = || "[!-~é]{0,5}";
    let prefix = || {
        proptest::sample::select(vec!["/a/b/", "/././", "/é/\"/", "/a/fallback/"])
            .prop_map(str::to_owned)
    };
    let prefixes = proptest::collection::btree_map(prefix(), inner, 1..4);
    let modify = (
        option::of(prop_oneof![Just(String::new()), prefix()]),
        (text(), option::of(text()), text()),
        any::<bool>(),
    );
    let modify =
        modify.prop_map(
            |(set_routing_prefix, (ensure, replace, suffix), inplace)| Modify {
                set_routing_prefix,
                ensure_key_prefix: ensure,
                replace_key_prefix: replace,
                set_key_suffix: suffix,
                modify_inplace: inplace,
            },
        );
    let split = (2u32..=1000, any::<bool>(), any::<bool>());
    let split = split.prop_map(|(replicas, all_sync, first_hit)| Split {
        replicas,
        all_sync,
        first_hit,
    });
    let parts = || 1u32..=677;
    let shard = (
        parts(),
        parts(),
        0u64..1 << 40,
        0u64..1 << 40,
        any::<bool>(),
    );
    let shard = shard.prop_map(|(old, new, start, period, fanout_deletes)| Shard {
        old,
        new,
        start,
        period,
        fanout_deletes,
    });
    let shards = proptest::collection::btree_map("[a-zé]{0,3}[0-9]", shard, 0..3);
    prop_oneof![
        (prefixes, any::<bool>()).prop_map(|(routes, unknown_to_default)| Keys::Prefixes {
            default: routes.keys().next().unwrap().clone(),
            routes: routes
                .into_iter()
                .map(|(prefix, route)| (vec![prefix], route))
                .collect(),
            unknown_to_default,
        }),
        (boxed.clone(), modify).prop_map(|(child, modify)| Keys::Modify { child, modify }),
        (boxed.clone(), split).prop_map(|(child, split)| Keys::Split { child, split }),
        (boxed, shards).prop_map(|(child, shards)| Keys::Shards {
            child,
            shards: shards.into_iter().collect(),
        }),
    ]
}

/// Routes over pools that the caller reduces to those there are.
fn route() -> impl Strategy<Value = Route> {
    let leaf = (0usize..5).prop_map(Route::Pool);
    leaf.prop_recursive(4, 20, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let on = proptest::sample::subsequence(FailoverOn::ALL, 1..=FailoverOn::ALL.len());
        let prefix = "[!-~é]{1,6}".prop_map(String::into_bytes);
        let prefixes = proptest::collection::btree_map(prefix, inner.clone(), 1..4);
        prop_oneof![
            choose(inner.clone()).prop_map(Route::Choose),
            keys(inner.clone()).prop_map(Route::Keys),
            (vec(inner.clone(), 1..4), on)
                .prop_map(|(children, on)| Route::Failover { children, on }),
            (prefixes, boxed.clone()).prop_map(|(prefixes, default)| Route::Prefix {
                prefixes: prefixes.into_iter().collect(),
                default
            }),
            (
                boxed.clone(),
                (1usize << 10)..=(128 << 20),
                0usize..=1000,
                any::<bool>()
            )
                .prop_map(|(child, split_threshold, batch_size, hide_reply_flag)| {
                    Route::BigValue {
                        child,
                        split_threshold,
                        batch_size,
                        hide_reply_flag,
                    }
                }),
            (rule(), vec(inner.clone(), 2..4)).prop_map(|(rule, mut children)| {
                match rule.children().len() {
                    0 => {}
                    named => children.truncate(named),
                }
                Route::Many { rule, children }
            }),
            (boxed.clone(), boxed, option::of(0u32..=2_592_000)).prop_map(
                |(cold, warm, exptime)| {
                    Route::WarmUp {
                        cold,
                        warm,
                        exptime,
                    }
                }
            ),
        ]
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let mut rules: Vec<Rule> = Rule::ALL.into_iter().map(|(_, rule)| rule).collect();
    rules.push(Rule::MissFailover { best: true });
    let set = || {
        proptest::sample::subsequence(&Verdict::FAILURES[..], 0..=Verdict::FAILURES.len()).prop_map(
            |all| {
                all.iter()
                    .fold(Verdicts::NONE, |set, (_, one)| set.with(*one))
            },
        )
    };
    let limit = (0u32..=1_000_000, 1u32..=1_000_000_000)
        .prop_map(|(per_million, burst)| Limit { per_million, burst });
    let failover = (
        (set(), set(), set()),
        option::of(1u32..=1000),
        option::of(limit),
        (0u32..=2_592_000, any::<[bool; 2]>()),
    );
    let failover = failover.prop_map(
        |(sets, max_tries, limit, (exptime, [lease_pairing, tag]))| {
            let (gets, updates, deletes) = sets;
            Rule::Failover(Failover {
                lease_pairing,
                tag,
                gets,
                updates,
                deletes,
                max_tries,
                limit,
                exptime,
            })
        },
    );
    let shadow = (any::<[u32; 2]>(), 0u32..=1_000_000).prop_map(|([a, b], per_million)| {
        Rule::Shadow(Shadow {
            first_hash: a.min(b),
            last_hash: a.max(b),
            per_million,
            variable: Variable::named("round_trip").filter(|_| a % 2 == 0),
            keys: if a % 2 == 0 {
                Vec::new()
            } else {
                vec![format!("k{b}")]
            },
        })
    });
    prop_oneof![proptest::sample::select(rules), failover, shadow, fill()]
}

/// Takes pools modulo their number, and the warm-ups out that would fill a cache from itself.
fn fit(route: Route, pools: usize) -> Route {
    match route {
        Route::Pool(index) => Route::Pool(index % pools),
        Route::Choose(choose) => Route::Choose(choose.map(|child| fit(child, pools))),
        Route::Keys(keys) => Route::Keys(keys.map(|child| fit(child, pools))),
        Route::Prefix { prefixes, default } => Route::Prefix {
            prefixes: prefixes
                .into_iter()
                .map(|(prefix, child)| (prefix, fit(child, pools)))
                .collect(),
            default: Box::new(fit(*default, pools)),
        },
        Route::Failover { children, on } => Route::Failover {
            children: children
                .into_iter()
                .map(|child| fit(child, pools))
                .collect(),
            on,
        },
        Route::Many { rule, children } => Route::Many {
            rule,
            children: children
                .into_iter()
                .map(|child| fit(child, pools))
                .collect(),
        },
        Route::BigValue {
            child,
            split_threshold,
            batch_size,
            hide_reply_flag,
        } => Route::BigValue {
            child: Box::new(fit(*child, pools)),
            split_threshold,
            batch_size,
            hide_reply_flag,
        },
        Route::WarmUp {
            cold,
            warm,
            exptime,
        } => {
            let (cold, warm) = (Box::new(fit(*cold, pools)), Box::new(fit(*warm, pools)));
            if cold == warm {
                *cold
            } else {
                Route::WarmUp {
                    cold,
                    warm,
                    exptime,
                }
            }
        }
    }
}

prop_compose! {
    fn spool()(
        (dir, create_dir, replay) in ("/[^\r\n]{0,8}", any::<bool>(), any::<bool>()),
        format in proptest::sample::select(SpoolFormat::ALL),
        fsync in proptest::sample::select(Fsync::ALL),
        interval in millis(1..3_600_000),
        (max_bytes, replay_rate) in (1u64 << 20..=1 << 46, 0u64..=1_000_000_000),
        unknown_servers in proptest::sample::select(UnknownServers::ALL),
        [service_name, router_name, region, flavor] in proptest::array::uniform4("[^\r\n]{0,5}"),
    ) -> Spool {
        let fsync = match fsync {
            Fsync::Interval(_) => Fsync::Interval(interval),
            fsync => fsync,
        };
        Spool { dir: dir.into(), create_dir, format, fsync, max_bytes, replay, replay_rate, unknown_servers, service_name, router_name, region, flavor }
    }
}

prop_compose! {
    fn config()(
        pools in vec(pool(), 1..4),
        route in route(),
        (port, mode) in (option::of(1u16..60_000), 0u32..=0o777),
        workers in option::of(1usize..=1024),
        (introspection, compat, [vars, group_remote_errors]) in (any::<bool>(), proptest::sample::select(Compat::ALL), any::<[bool; 2]>()),
        (flush_all, miss_on_get_errors, leases, drain) in (any::<bool>(), any::<bool>(), any::<bool>(), millis(0..3_600_000)),
        (shared, delay) in (any::<bool>(), millis(0..3_600_000)),
        (max_value, max_get_line) in (1usize << 10..=128 << 20, 2usize << 10..=64 << 20),
        (client_requests, max_connections) in (1usize..=1_000_000, 1usize..=1_000_000),
        (worker_requests, waiting_requests, waiting_timeout) in (0usize..=1_000_000, 0usize..=1_000_000, millis(0..600_000)),
        (client_bytes, worker_bytes) in (64usize << 10..=1 << 30, 1usize << 20..=1 << 36),
        format in proptest::sample::select(LogFormat::ALL),
        dns in dns(),
        spool in spool(),
    ) -> Config {
        let mut unique: Vec<Pool> = Vec::new();
        for pool in pools {
            if unique.iter().all(|other| other.name != pool.name) {
                unique.push(pool);
            }
        }
        let mut listen = vec![Listen::Unix { path: "/run/r.sock".into(), mode }];
        listen.extend(port.map(|port| {
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            if shared { Listen::Shared(addr) } else { Listen::Tcp(addr) }
        }));
        let shutdown_delay = if delay < drain { delay } else { Duration::ZERO };
        let count = unique.len();
        for (index, pool) in unique.iter_mut().enumerate() {
            pool.gutter = pool.gutter.filter(|gutter| (index + 1..count).contains(&gutter.pool));
        }
        let limits = Limits {
            max_value, max_get_line, client_requests, client_bytes, worker_bytes, worker_requests, waiting_requests, waiting_timeout, max_connections,
        };
        let admin = port.map(|port| Admin { listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], port + 1))), "unix:/admin".parse().unwrap()] });
        let dns = Dns { servers: port.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], port + 1))).collect(), ..dns };
        let dns = Dns { search: if dns.servers.is_empty() { Vec::new() } else { dns.search }, ..dns };
        let log = Log { level: "warn,ringroad::config=debug".to_owned(), format };
        let route = fit(route, unique.len());
        let spool = unique.iter().any(|pool| pool.spool.is_some()).then_some(spool);
        Config { listen, workers, pools: unique, route, limits, log, admin, spool, dns, flush_all, miss_on_get_errors, leases, introspection, compat, group_remote_errors, runtime_vars: vars.then(|| "/etc/vars.json".into()), drain, shutdown_delay }
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(config in config()) {
        let text = config.to_toml();
        match parse("f", &text) {
            Ok((read, _)) => prop_assert_eq!(read, config, "{}", text),
            Err(errors) => prop_assert!(false, "{errors}"),
        }
    }
}
