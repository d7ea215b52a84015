//! What handles become.

use super::*;
use crate::config::{Choose, ErrorResult, FailoverOn, Rate, Rates, Requests};
use crate::protocol::operation::{Group, Operation};

fn failover(children: Vec<Route>) -> Route {
    Route::Failover {
        children,
        on: FailoverOn::DEFAULT.to_vec(),
    }
}

#[test]
fn a_pool_in_every_notation() {
    for text in [
        r#""PoolRoute|A""#,
        r#"{"type": "PoolRoute", "pool": "A"}"#,
        r#"["PoolRoute|A"]"#,
        r#"[[], "PoolRoute|A", ""]"#,
        r#"{"type": "PoolRoute", "pool": "A", "name": "n", "asynclog": false, "shadows": [], "max_outstanding": 0}"#,
        r#"{"type": "PoolRoute", "pool": {"name": "A", "servers": ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"]}}"#,
        r#""AllSyncRoute|PoolRoute|A""#,
        r#"{"type": "FailoverRoute", "children": ["PoolRoute|A"], "failover_limit": {"rate": 0.1}}"#,
        r#""HashRoute|Pool|A""#,
        r#""OperationSelectorRoute|PoolRoute|A""#,
        r#"{"type": "PrefixPolicyRoute", "default_policy": "PoolRoute|A"}"#,
        r#"{"type": "LoggingRoute", "target": "PoolRoute|A"}"#,
        r#"{"type": "ModifyExptimeRoute", "target": "PoolRoute|A", "exptime": 0, "action": "min"}"#,
        r#"{"type": "PrefixSelectorRoute", "wildcard": "PoolRoute|A"}"#,
        r#"{"type": "PrefixSelectorRoute", "policies": {"": "PoolRoute|A"}}"#,
    ] {
        let (route, config) = route(text);
        assert_eq!(route, Route::Pool(0), "{text}");
        assert_eq!(names(&config), ["A"], "{text}");
        let pool = &config.pools[0];
        assert_eq!(pool.placement.distribution, Distribution::Ch3);
        assert!(pool.placement.stop, "the hash stop is always obeyed");
        assert_eq!(pool.servers.len(), 3);
    }
}

#[test]
fn prefixes_are_in_the_order_of_their_text() {
    let text = r#"{"type": "PrefixSelectorRoute", "wildcard": "PoolRoute|C",
        "policies": {"b": "PoolRoute|B", "a": "PoolRoute|A", "x|#|y": "PoolRoute|A"}}"#;
    let (route, config) = route(text);
    assert_eq!(names(&config), ["A", "B", "C"]);
    let Route::Prefix { prefixes, default } = route else {
        panic!()
    };
    assert_eq!(*default, Route::Pool(2));
    let want = [
        (b"a".to_vec(), Route::Pool(0)),
        (b"b".to_vec(), Route::Pool(1)),
    ];
    assert_eq!(prefixes, want);
}

#[test]
fn failover_in_order() {
    for text in [
        r#"{"type": "FailoverRoute", "children": ["PoolRoute|A", "PoolRoute|B"]}"#,
        r#"{"type": "FailoverRoute", "children": ["PoolRoute|A", "PoolRoute|B"],
            "failover_errors": ["tko", "timeout", "connect_timeout", "connect_error", "busy", "try_again",
                "shutdown", "local_error", "remote_error", "deadline_exceeded", "tko"],
            "failover_policy": {"type": "SomethingNew"}, "failover_tag": false, "enable_lease_pairing": false}"#,
        r#"{"type": "FailoverRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "failover_errors": {}}"#,
        r#"{"type": "FailoverWithExptimeRoute", "normal": "PoolRoute|A", "failover": "PoolRoute|B", "failover_exptime": 0}"#,
    ] {
        let (route, config) = route(text);
        assert_eq!(
            route,
            failover(vec![Route::Pool(0), Route::Pool(1)]),
            "{text}"
        );
        assert_eq!(names(&config), ["A", "B"]);
    }
}

#[test]
fn the_servers_of_a_pool_can_be_children() {
    let (route, config) = route(r#""FailoverRoute|Pool|B""#);
    assert_eq!(route, failover(vec![Route::Pool(0), Route::Pool(1)]));
    assert_eq!(names(&config), ["B.0", "B.1"]);
    for (pool, addr) in config
        .pools
        .iter()
        .zip(["10.0.1.1:11211", "10.0.1.2:11211"])
    {
        assert_eq!(pool.servers[0].addr.to_string(), addr);
        assert_eq!(pool.timeout, Duration::from_millis(250));
    }
    let salted = r#"{"type": "SaltedFailoverRoute", "pool": "B", "hash": {"salt": "s"}}"#;
    let (route, config) = super::route(salted);
    assert_eq!(route, failover((0..3).map(Route::Pool).collect()));
    assert_eq!(names(&config), ["B", "B.0", "B.1"]);
    assert_eq!(config.pools[0].placement.salt, "s");
}

#[test]
fn a_hash_over_lists_is_one_pool() {
    let text = r#"{"type": "HashRoute", "children": ["Pool|A", "Pool|C"], "hash_func": "Crc32", "salt": "x"}"#;
    let (route, config) = route(text);
    assert_eq!(route, Route::Pool(0));
    assert_eq!(config.pools.len(), 1);
    assert_eq!(config.pools[0].servers.len(), 4);
    assert_eq!(config.pools[0].placement.distribution, Distribution::Crc32);
    assert_eq!(config.pools[0].placement.salt, "x");
    assert!(
        bad_route(r#""HashRoute|Pool|A""#.replace("Pool|A", "PoolRoute|Z").as_str())
            .contains("there is no pool \"Z\"")
    );
}

#[test]
fn one_pool_with_two_hashes_is_two_pools() {
    let text = r#"{"type": "FailoverRoute", "children": [
        "PoolRoute|A",
        {"type": "PoolRoute", "pool": "A", "hash": "Crc32"},
        {"type": "PoolRoute", "pool": "A", "hash": "Ch3"}]}"#;
    let (route, config) = route(text);
    let pools = [0, 1, 0].map(Route::Pool).to_vec();
    assert_eq!(route, failover(pools));
    assert_eq!(names(&config), ["A", "A.2"]);
}

#[test]
fn warm_up_and_big_values() {
    let (route, _) =
        route(r#"{"type": "WarmUpRoute", "cold": "PoolRoute|A", "warm": "PoolRoute|B"}"#);
    assert_eq!(
        route,
        Route::WarmUp {
            cold: Box::new(Route::Pool(0)),
            warm: Box::new(Route::Pool(1)),
            exptime: Some(0)
        }
    );
    let text = r#"{"type": "BigValueRoute", "target": "PoolRoute|A", "split_threshold": 10000, "batch_size": 5}"#;
    let big = |child, hide_reply_flag| Route::BigValue {
        child: Box::new(child),
        split_threshold: 10_000,
        batch_size: 5,
        hide_reply_flag,
    };
    assert_eq!(super::route(text).0, big(Route::Pool(0), false));
    let settings = Settings {
        big_values: Some(BigValues {
            split_threshold: 10_000,
            batch_size: 5,
            hide_reply_flag: true,
        }),
        ..Settings::default()
    };
    let plain = format!("{{{POOLS}, \"route\": \"PoolRoute|A\"}}");
    let (config, _) = good_with(&settings, &plain);
    let Route::BigValue { child, .. } = &config.route else {
        panic!("{:?}", config.route);
    };
    assert!(matches!(**child, Route::Keys(_)), "around everything");
    assert_eq!(config.route, big((**child).clone(), true));
    let off = format!(
        "{{{POOLS}, \"route\": \"PoolRoute|A\", \"routing_options\": {{\"enable_global_big_value_route\": false}}}}"
    );
    assert_eq!(tree(&good_with(&settings, &off).0), &Route::Pool(0));
}

#[test]
fn named_handles_are_built_once_and_the_first_counts() {
    for named in [
        r#"{"a": "PoolRoute|A", "b": {"type": "FailoverRoute", "children": ["a", "PoolRoute|B"]}}"#,
        r#"[{"name": "a", "type": "PoolRoute", "pool": "A"}, {"name": "b", "type": "FailoverRoute", "children": ["a", "PoolRoute|B"]}]"#,
    ] {
        let text = format!("{{{POOLS}, \"named_handles\": {named}, \"route\": \"b\"}}");
        let config = good(&text);
        assert_eq!(
            tree(&config),
            &failover(vec![Route::Pool(0), Route::Pool(1)]),
            "{named}"
        );
    }
    let text = r#"{"type": "FailoverRoute", "children": [
        {"type": "PoolRoute", "name": "x", "pool": "A"},
        {"type": "PoolRoute", "name": "x", "pool": "B"},
        "x"]}"#;
    let pools = [0, 0, 0].map(Route::Pool).to_vec();
    assert_eq!(route(text).0, failover(pools));
}

#[test]
fn every_alias_has_its_tree() {
    let settings = Settings {
        default_route: "/a/b/".to_owned(),
        unknown_to_default: true,
        ..Settings::default()
    };
    for (routes, want) in [
        (
            r#"{"/a/b/": "PoolRoute|A", "/a/c/": "PoolRoute|B"}"#,
            vec![(vec!["/a/b/"], 0), (vec!["/a/c/"], 1)],
        ),
        (
            r#"[{"aliases": ["/c/d/", "/a/b/"], "route": "PoolRoute|A"}]"#,
            vec![(vec!["/c/d/", "/a/b/"], 0)],
        ),
    ] {
        let text = format!("{{{POOLS}, \"routes\": {routes}}}");
        let want = Keys::Prefixes {
            routes: want
                .into_iter()
                .map(|(aliases, pool)| {
                    let aliases = aliases.into_iter().map(str::to_owned);
                    (aliases.collect(), Route::Pool(pool))
                })
                .collect(),
            default: "/a/b/".to_owned(),
            unknown_to_default: true,
        };
        assert_eq!(good_with(&settings, &text).0.route, Route::Keys(want));
        assert!(bad(&text).contains("invalid default route: /././"));
    }
    let twice = format!(
        "{{{POOLS}, \"routes\": [{{\"aliases\": [\"/././\", \"/././\"], \"route\": \"PoolRoute|A\"}}]}}"
    );
    assert!(bad(&twice).contains("has a route already"));
}

#[test]
fn a_route_to_no_pool_is_one_too() {
    for text in [
        r#""NullRoute""#,
        r#"{"type": "AllFastestRoute", "children": ""}"#,
    ] {
        let (found, config) = route(text);
        assert_eq!(found, Route::Choose(Choose::Null));
        assert_eq!(names(&config), ["A"], "not in use");
    }
    let text = "{\"route\": \"NullRoute\"}";
    assert!(bad(text).contains("there is no pool"));
}

#[test]
fn keys_may_be_put_into_buckets() {
    let text = r#"{"type": "KeyParseRoute", "num_routing_parts": 2, "delimiter": ":", "target": {"type": "PoolRoute", "pool": "A", "hash": {"weights": [1, 1, 0.5]}, "bucketize": true, "total_buckets": 100, "bucketization_keyspace": "x", "total_buckets_by_prefix": {"a": 3}, "salt": "s"}}"#;
    let (found, config) = route(text);
    assert_eq!(found, Route::Pool(0));
    let placement = &config.pools[0].placement;
    let buckets = crate::hash::Buckets {
        total: 100,
        keyspace: "x".to_owned(),
        by_prefix: vec![("a".to_owned(), 3)],
        parts: Some((2, ':')),
    };
    let number = buckets.of(b"k:l:m").to_string();
    assert_eq!(placement.buckets.as_deref(), Some(&buckets));
    // The number is spread as a key would be without buckets.
    let plain = crate::hash::Placement {
        buckets: None,
        ..placement.clone()
    };
    let nodes: Vec<_> = config.pools[0]
        .servers
        .iter()
        .map(|one| one.node())
        .collect();
    let plain = crate::hash::Selector::new(&plain, &nodes).unwrap();
    let selector = config.pools[0].selector().unwrap();
    assert_eq!(selector.select(b"k:l:m"), plain.select(number.as_bytes()));
    assert_eq!(selector.select(b"k:l:m|#|x"), selector.select(b"k:l:n"));
}

#[test]
fn nothing_but_gets_may_be_routed() {
    let settings = Settings {
        only_gets: true,
        ..Settings::default()
    };
    let text = format!("{{{POOLS}, \"route\": \"PoolRoute|A\"}}");
    let (config, _) = good_with(&settings, &text);
    let Route::Choose(Choose::Operation {
        default: Some(others),
        operations,
    }) = &config.route
    else {
        panic!("{:?}", config.route);
    };
    assert_eq!(**others, Route::Choose(Choose::Null));
    assert_eq!(operations[0].0, Requests::Group(Group::GetLike));
}

#[test]
fn keys_are_changed_split_and_sharded() {
    let keys = |text: &str| match route(text).0 {
        Route::Keys(keys) => keys,
        other => panic!("{other:?}"),
    };
    let text = r#"{"type": "ModifyKeyRoute", "target": "PoolRoute|A", "set_routing_prefix": "a/b", "ensure_key_prefix": "p:", "replace_key_prefix": "", "set_key_suffix": ":s", "modify_inplace": true}"#;
    let modify = Modify {
        set_routing_prefix: Some("/a/b/".to_owned()),
        ensure_key_prefix: "p:".to_owned(),
        replace_key_prefix: Some(String::new()),
        set_key_suffix: ":s".to_owned(),
        modify_inplace: true,
    };
    let child = Box::new(Route::Pool(0));
    assert_eq!(
        keys(text),
        Keys::Modify {
            child: child.clone(),
            modify
        }
    );
    let strip = r#"{"type": "ModifyKeyRoute", "target": "PoolRoute|A", "set_routing_prefix": ""}"#;
    let modify = Modify {
        set_routing_prefix: Some(String::new()),
        ..Modify::default()
    };
    assert_eq!(
        keys(strip),
        Keys::Modify {
            child: child.clone(),
            modify
        }
    );
    let text = r#"{"type": "KeySplitRoute", "destination": "PoolRoute|A", "replicas": 2, "all_sync": true}"#;
    let split = Split {
        replicas: 2,
        all_sync: true,
        first_hit: false,
    };
    assert_eq!(
        keys(text),
        Keys::Split {
            child: child.clone(),
            split
        }
    );
    let text = r#"{"type": "PoolRoute", "pool": "A", "shard_splits": {"1": 1000, "2": {"old_split_size": 1, "new_split_size": 3, "split_start": 50, "migration_period": 60}}}"#;
    let shards = vec![
        ("1".to_owned(), Shard::fixed(677)),
        (
            "2".to_owned(),
            Shard {
                old: 1,
                new: 3,
                start: 50,
                period: 60,
                fanout_deletes: false,
            },
        ),
    ];
    assert_eq!(keys(text), Keys::Shards { child, shards });
}

#[test]
fn deletions_are_written_down_unless_it_is_said_otherwise() {
    let spools = |config: &Config| -> Vec<(String, Option<String>)> {
        let pools = config.pools.iter();
        pools
            .map(|pool| (pool.name.clone(), pool.spool.clone()))
            .collect()
    };
    let one = |name: &str, spool: Option<&str>| (name.to_owned(), spool.map(str::to_owned));
    for (text, want) in [
        (r#""PoolRoute|A""#, one("A", Some("A"))),
        (
            r#"{"type": "PoolRoute", "pool": "A", "asynclog": true}"#,
            one("A", Some("A")),
        ),
        (
            r#"{"type": "PoolRoute", "pool": "A", "name": "n"}"#,
            one("A", Some("n")),
        ),
        (
            r#"{"type": "PoolRoute", "pool": "A", "name": "n", "asynclog_name": "l"}"#,
            one("A", Some("l")),
        ),
        (
            r#"{"type": "PoolRoute", "pool": "A", "asynclog": false}"#,
            one("A", None),
        ),
        (r#""HashRoute|Pool|A""#, one("A", None)),
    ] {
        let (_, config) = route(text);
        assert_eq!(spools(&config), std::slice::from_ref(&want), "{text}");
        assert_eq!(config.spool.is_some(), want.1.is_some(), "{text}");
    }
    // With and without it, it is two pools; single servers never have it.
    let text = r#"{"type": "AllSyncRoute", "children": ["PoolRoute|A", {"type": "PoolRoute", "pool": "A", "asynclog": false}, "Pool|C"]}"#;
    let (_, config) = route(text);
    assert_eq!(
        spools(&config),
        [one("A", Some("A")), one("A.2", None), one("C.0", None)]
    );
    let mut disabled = Settings::default();
    disabled.base.spool = None;
    let text = format!("{{{POOLS}, \"route\": \"PoolRoute|A\"}}");
    let (config, _) = good_with(&disabled, &text);
    assert_eq!(
        (spools(&config), config.spool),
        (vec![one("A", None)], None)
    );
    for text in [
        r#"{"type": "PoolRoute", "pool": "A", "asynclog": 1}"#,
        r#"{"type": "PoolRoute", "pool": "A", "asynclog_name": 1}"#,
    ] {
        assert!(bad_route(text).contains("asynclog"), "{text}");
    }
}

fn choose(text: &str) -> (Choose, Config) {
    match route(text) {
        (Route::Choose(choose), config) => (choose, config),
        (other, _) => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_hash_over_anything() {
    let text = r#"{"type": "HashRoute", "children": ["Pool|C", "PoolRoute|B", "NullRoute"]}"#;
    let (hash, config) = choose(text);
    assert_eq!(names(&config), ["B", "C.0"]);
    let Choose::Hash {
        children,
        placement,
        weights,
        names,
    } = hash
    else {
        panic!()
    };
    let null = Route::Choose(Choose::Null);
    assert_eq!(children, [Route::Pool(1), Route::Pool(0), null]);
    assert_eq!(placement.distribution, Distribution::Ch3);
    assert!(placement.stop && weights.is_empty() && names.is_empty());
    for (function, distribution) in [
        (r#""Crc32", "salt": "x""#, Distribution::Crc32),
        (r#""ConstShard""#, Distribution::ConstShard),
        (
            r#""WeightedCh3", "weights": [1]"#,
            Distribution::WeightedCh3,
        ),
        (
            r#""Rendezvous", "tags": ["t", "u"]"#,
            Distribution::Rendezvous,
        ),
        (
            r#""WeightedRendezvous", "tags": ["t", "u"], "weights": [3, 1]"#,
            Distribution::Rendezvous,
        ),
    ] {
        let text = format!(
            r#"{{"type": "HashRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "hash_func": {function}}}"#
        );
        let (
            Choose::Hash {
                placement,
                weights,
                names,
                ..
            },
            _,
        ) = choose(&text)
        else {
            panic!()
        };
        assert_eq!(placement.distribution, distribution);
        assert_eq!(
            placement.salt.is_empty(),
            distribution != Distribution::Crc32
        );
        match function.contains("tags") {
            true => assert_eq!(names, ["t", "u"]),
            false => assert!(names.is_empty()),
        }
        let want: &[f64] = match (distribution, function.contains("[3, 1]")) {
            (Distribution::WeightedCh3, _) => &[1.0, 0.5],
            (_, true) => &[3.0, 1.0],
            _ => &[],
        };
        assert_eq!(weights, want, "{function}");
    }
    let text = r#"{"type": "HashRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "hash_func": "WeightedCh3Rv", "weights_rv": "w"}"#;
    let (
        Choose::Hash {
            placement, weights, ..
        },
        _,
    ) = choose(text)
    else {
        panic!()
    };
    assert_eq!(placement.weights_variable.as_deref(), Some("w"));
    assert_eq!(
        (placement.distribution, weights.len()),
        (Distribution::WeightedCh3, 0)
    );
}

#[test]
fn collections_without_a_choice_are_what_is_left() {
    for kind in [
        "RandomRoute",
        "HostIdRoute",
        "LoadBalancerRoute",
        "AllSyncRoute",
        "MissFailoverRoute",
        "FailoverRoute",
    ] {
        let none = format!(r#"{{"type": "{kind}", "children": ""}}"#);
        let text = format!(r#"{{"type": "FailoverRoute", "children": ["PoolRoute|A", {none}]}}"#);
        let want = failover(vec![Route::Pool(0), Route::Choose(Choose::Null)]);
        assert_eq!(route(&text).0, want, "{kind}");
        assert_eq!(route(&format!("\"{kind}|PoolRoute|A\"")).0, Route::Pool(0));
    }
}

/// What needs services of Meta to do anything is what it stands around.
#[test]
fn routes_around_one_that_do_nothing() {
    for text in [
        r#"{"type": "DistributionRoute", "child": "PoolRoute|A", "replay": true, "distribution_source_region": "x"}"#,
        r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A", "ttl": 10, "prefix": "x", "lease_settings": {}}"#,
        r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A", "ttl": 100, "ttl_unit_ms": true, "key_split_size": 3}"#,
        r#"{"type": "PoolRoute", "pool": "A", "distribution_enabled": true}"#,
        r#"{"type": "LoggingRoute", "target": "PoolRoute|A"}"#,
    ] {
        assert_eq!(route(text).0, Route::Pool(0), "{text}");
    }
    let options = r#"{"enable_delete_distribution": false, "enable_cross_region_delete_rpc": true, "enable_async_dl_broadcast": true}"#;
    good(&format!(
        r#"{{{POOLS}, "route": "PoolRoute|A", "routing_options": {options}}}"#
    ));
}

#[test]
fn collections_with_a_choice() {
    let two = r#""children": ["PoolRoute|A", "PoolRoute|B"]"#;
    let both = vec![Route::Pool(0), Route::Pool(1)];
    let random = Choose::Random {
        children: both.clone(),
    };
    let text = format!(r#"{{"type": "RandomRoute", {two}}}"#);
    assert_eq!(choose(&text).0, random);
    let text = format!(
        r#"{{"type": "LoadBalancerRoute", {two}, "algorithm": "two-random-choices", "load_ttl_ms": 5, "failover_count": 3}}"#
    );
    assert_eq!(choose(&text).0, random);
    let text = format!(r#"{{"type": "HostIdRoute", {two}, "salt": "s"}}"#);
    let host = Choose::Host {
        children: both.clone(),
        salt: "s".to_owned(),
    };
    assert_eq!(choose(&text).0, host);
    let text =
        format!(r#"{{"type": "LoadBalancerRoute", {two}, "salt": "s", "failover_count": 1}}"#);
    let (
        Choose::Hash {
            children,
            placement,
            ..
        },
        _,
    ) = choose(&text)
    else {
        panic!()
    };
    assert_eq!((children, placement.salt.as_str()), (both, "s"));
    assert_eq!(placement.distribution, Distribution::Ch3);
}

#[test]
fn routes_by_what_a_request_does() {
    let text = r#"{"type": "OperationSelectorRoute", "default_policy": "PoolRoute|A",
        "operation_policies": {"delete": "NullRoute", "get": "PoolRoute|B", "lease-get": "PoolRoute|C"}}"#;
    let (made, config) = choose(text);
    let want = Choose::Operation {
        default: Some(Box::new(Route::Pool(0))),
        operations: vec![
            (
                Requests::One(Operation::Delete),
                Route::Choose(Choose::Null),
            ),
            (Requests::One(Operation::Get), Route::Pool(1)),
            (Requests::One(Operation::LeaseGet), Route::Pool(2)),
        ],
    };
    assert_eq!(made, want);
    assert_eq!(config.pools.len(), 3);
    let text = r#"{"type": "RoutingGroupRoute", "routing_group_policies": {"update_like": "PoolRoute|A"}}"#;
    let want = Choose::Operation {
        default: None,
        operations: vec![(Requests::Group(Group::UpdateLike), Route::Pool(0))],
    };
    assert_eq!(choose(text).0, want);
}

#[test]
fn errors_with_their_results() {
    let error = |message: &str, result: &str, shown| Choose::Error {
        message: message.to_owned(),
        result: ErrorResult::of(result).unwrap(),
        shown,
    };
    for (text, want) in [
        ("\"ErrorRoute\"", error("", "local_error", false)),
        ("\"ErrorRoute|a|b\"", error("a|b", "local_error", false)),
        (
            r#"{"type": "ErrorRoute", "response": "x", "result": "mc_res_busy", "enable_logging": false}"#,
            error("x", "busy", false),
        ),
    ] {
        let text = format!(r#"{{"type": "FailoverRoute", "children": ["PoolRoute|A", {text}]}}"#);
        let want = failover(vec![Route::Pool(0), Route::Choose(want)]);
        assert_eq!(route(&text).0, want);
    }
    let text = r#"{"type": "PrefixSelectorRoute", "policies": {"a": "PoolRoute|A"}}"#;
    let Route::Prefix { default, .. } = route(text).0 else {
        panic!()
    };
    let want = error("RootRoute: No rh found", "local_error", true);
    assert_eq!(*default, Route::Choose(want));
}

#[test]
fn changes_and_conditions() {
    let child = Box::new(Route::Pool(0));
    let exptime = |exptime, at_most| Choose::Exptime {
        child: child.clone(),
        exptime,
        at_most,
    };
    for (fields, want) in [
        ("\"exptime\": 0", exptime(0, false)),
        ("\"exptime\": 9, \"action\": \"min\"", exptime(9, true)),
    ] {
        let text =
            format!(r#"{{"type": "ModifyExptimeRoute", "target": "PoolRoute|A", {fields}}}"#);
        assert_eq!(choose(&text).0, want);
    }
    let text =
        r#"{"type": "HashStopAllowListRoute", "target": "PoolRoute|A", "prefixes": ["a", "b"]}"#;
    let want = Choose::HashStop {
        child,
        prefixes: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(choose(text).0, want);
    let text = r#"{"type": "KeyParseRoute", "target": "PoolRoute|A", "num_routing_parts": 2, "delimiter": ":"}"#;
    assert_eq!(route(text).0, Route::Pool(0), "nothing here looks at it");
}

#[test]
fn rates() {
    let limit = |rates, fallback: Option<Route>| Choose::RateLimit {
        child: Box::new(Route::Pool(0)),
        rates,
        fallback: fallback.map(Box::new),
    };
    let rate = |rate, burst| Some(Rate { rate, burst });
    let text = r#"{"type": "RateLimitRoute", "target": "PoolRoute|A", "fallback": "PoolRoute|B",
        "rates": {"gets_rate": 100, "sets_rate": 0.5, "sets_burst": 3}}"#;
    let rates = Rates {
        gets: rate(100.0, 100.0),
        sets: rate(0.5, 3.0),
        deletes: None,
    };
    assert_eq!(choose(text).0, limit(rates, Some(Route::Pool(1))));
    let text = r#"{"type": "PoolRoute", "pool": "A", "rates": {"deletes_rate": 7}}"#;
    let rates = Rates {
        deletes: rate(7.0, 7.0),
        ..Rates::default()
    };
    assert_eq!(choose(text).0, limit(rates, None));
    let mut settings = Settings::default();
    settings.base.workers = Some(4);
    let (config, _) = good_with(&settings, &format!("{{{POOLS}, \"route\": {text}}}"));
    let rates = Rates {
        deletes: rate(28.0, 28.0),
        ..Rates::default()
    };
    assert_eq!(tree(&config), &Route::Choose(limit(rates, None)));
    let text = r#"{"type": "RateLimitRoute", "target": "PoolRoute|A", "rates": {}}"#;
    assert_eq!(route(text).0, Route::Pool(0));
}

#[test]
fn routes_to_several_children() {
    for (name, rule) in [
        ("AllSyncRoute", Rule::AllSync),
        ("AllAsyncRoute", Rule::AllAsync),
        ("AllInitialRoute", Rule::AllInitial),
        ("AllFastestRoute", Rule::AllFastest),
        ("AllMajorityRoute", Rule::AllMajority),
        ("MissFailoverRoute", Rule::MissFailover { best: false }),
    ] {
        let of = |children: &[usize]| Route::Many {
            rule: rule.clone(),
            children: children.iter().copied().map(Route::Pool).collect(),
        };
        let text = format!(r#"{{"type": "{name}", "children": ["PoolRoute|A", "PoolRoute|B"]}}"#);
        assert_eq!(route(&text).0, of(&[0, 1]));
        // Each server of the pool is a child.
        assert_eq!(route(&format!("\"{name}|Pool|A\"")).0, of(&[0, 1, 2]));
        let alone = match rule {
            Rule::AllAsync => of(&[0]),
            _ => Route::Pool(0),
        };
        assert_eq!(route(&format!("\"{name}|PoolRoute|A\"")).0, alone);
    }
    let best = r#"{"type": "MissFailoverRoute", "return_best_on_error": true, "children": ["PoolRoute|A", "PoolRoute|B"]}"#;
    let Route::Many { rule, .. } = route(best).0 else {
        panic!("{best}");
    };
    assert_eq!(rule, Rule::MissFailover { best: true });
}

#[test]
fn failover_with_all_it_can_say() {
    let of = |rule, count: usize| Route::Many {
        rule: Rule::Failover(rule),
        children: (0..count).map(Route::Pool).collect(),
    };
    let read = |more: &str| {
        route(&format!(
            r#"{{"type": "FailoverRoute", "children": ["PoolRoute|A", "PoolRoute|B"], {more}}}"#
        ))
        .0
    };
    let errors = |all: &[Verdict]| all.iter().fold(Verdicts::NONE, |set, one| set.with(*one));
    let few = errors(&[Verdict::Tko, Verdict::RemoteError, Verdict::ClientError]);
    let same = Failover {
        gets: few,
        updates: few,
        deletes: few,
        ..Failover::DEFAULT
    };
    let list = r#""failover_errors": ["tko", "remote_error", "client_error", "shutdown"]"#;
    assert_eq!(read(list), of(same, 2));
    let some = Failover {
        deletes: Verdicts::NONE,
        gets: errors(&[Verdict::ConnectError, Verdict::Busy]),
        ..Failover::DEFAULT
    };
    let groups = r#""failover_errors": {"deletes": [], "gets": ["connect_timeout", "connect_error", "busy"]}"#;
    assert_eq!(read(groups), of(some, 2));
    for (text, per_million, burst) in [
        (r#""failover_limit": {"rate": 0.05}"#, 50_000, 1000),
        (r#""failover_limit": {"rate": 7, "burst": 0}"#, 1_000_000, 1),
        (r#""failover_limit": {"rate": 0, "burst": 12.5}"#, 0, 12),
    ] {
        let limit = Some(Limit { per_million, burst });
        let want = Failover {
            limit,
            ..Failover::DEFAULT
        };
        assert_eq!(read(text), of(want, 2), "{text}");
    }
    let least = Failover {
        max_tries: Some(2),
        ..Failover::DEFAULT
    };
    let text = r#""failover_policy": {"type": "LeastFailuresPolicy", "max_tries": 2}"#;
    assert_eq!(read(text), of(least, 2));
    let pairs = Failover {
        lease_pairing: true,
        ..Failover::DEFAULT
    };
    let text = r#""enable_lease_pairing": true, "name": "n""#;
    assert_eq!(read(text), of(pairs, 2));
    for (kind, policy) in [
        (
            "LatestRoute",
            r#"{"type": "LeastFailuresPolicy", "max_tries": 2}"#,
        ),
        (
            "FailoverRoute",
            r#"{"type": "RendezvousPolicy", "tags": ["b"]}"#,
        ),
        (
            "FailoverRoute",
            r#"{"type": "DeterministicOrderPolicy", "max_tries": 2, "max_error_tries": 2}"#,
        ),
    ] {
        let read = route(&format!(
            r#"{{"type": "{kind}", "children": ["PoolRoute|A", "PoolRoute|B"], "failover_policy": {policy}, {text}}}"#
        ));
        let (Route::Many { rule, .. }, _) = &read else {
            panic!("{read:?}");
        };
        let (Rule::Latest(Latest { failover, .. })
        | Rule::KeyedFailover(KeyedFailover { failover, .. })) = rule
        else {
            panic!("{rule:?}");
        };
        assert!(failover.lease_pairing, "{kind} {policy}");
    }
    for (text, exptime) in [("", 60), (r#", "failover_exptime": 5"#, 5)] {
        let text = format!(
            r#"{{"type": "FailoverWithExptimeRoute", "normal": "PoolRoute|A", "failover": ["PoolRoute|B", "PoolRoute|C"]{text}}}"#
        );
        let want = Failover {
            exptime,
            ..Failover::DEFAULT
        };
        assert_eq!(route(&text).0, of(want, 3));
    }
    let text = r#"{"type": "FailoverWithExptimeRoute", "normal": "PoolRoute|A", "failover": "PoolRoute|B", "failover_exptime": 0}"#;
    assert_eq!(route(text).0, failover([0, 1].map(Route::Pool).to_vec()));
}

#[test]
fn shadows() {
    let of = |rule, child, target: usize| Route::Many {
        rule: Rule::Shadow(rule),
        children: vec![child, Route::Pool(target)],
    };
    let tenth = Shadow {
        last_hash: 429_496_729,
        ..Shadow::ALL
    };
    let text = r#"{"type": "PoolRoute", "pool": "A", "shadows": [
        {"target": "PoolRoute|B", "index_range": [0, 3], "key_fraction_range": [0, 0.1]},
        {"target": "PoolRoute|C", "index_range": [0, 99], "key_fraction_range": [0.0, 1], "requests_fraction": 0.25},
        {"target": "PoolRoute|C", "key_fraction_range": [0, 1]}]}"#;
    let quarter = Shadow {
        per_million: 250_000,
        ..Shadow::ALL
    };
    assert_eq!(route(text).0, of(quarter, of(tenth, Route::Pool(0), 1), 2));
    let text = r#"{"type": "AllSyncRoute", "children": {"type": "ShadowRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "shadows": [
        {"target": "PoolRoute|C", "index_range": [1, 2], "key_fraction_range": [0.5, 1]}]}}"#;
    let half = Shadow {
        first_hash: 2_147_483_647,
        ..Shadow::ALL
    };
    let Route::Many { children, .. } = route(text).0 else {
        panic!("{text}");
    };
    assert_eq!(children, [Route::Pool(0), of(half, Route::Pool(1), 2)]);
    // What makes no sense is left out.
    for shadow in [
        "{}",
        "5",
        r#"{"target": "PoolRoute|B", "index_range": [2, 1]}"#,
        r#"{"target": "PoolRoute|B", "index_range": [0]}"#,
        r#"{"target": "PoolRoute|B", "index_range": [0, 3], "key_fraction_range": [0, 1.5]}"#,
        r#"{"target": "PoolRoute|B", "index_range": [0, 3], "requests_fraction": 1}"#,
    ] {
        let text = format!(r#"{{"type": "PoolRoute", "pool": "A", "shadows": [{shadow}]}}"#);
        assert_eq!(route(&text).0, Route::Pool(0), "{shadow}");
    }
}
