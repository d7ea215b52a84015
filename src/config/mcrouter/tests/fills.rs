//! Routes that fill one cache from another or stand around one child, and pools whose servers differ.

use super::*;
use crate::config::{
    Choose, Condition, Draws, ErrorResult, Field, KeyOrder, KeyedFailover, Latency, Latest, Levels,
    Migrate, Millionths, Scalar, Sizes, SlowWarmUp,
};

fn many(rule: Rule, children: &[usize]) -> Route {
    Route::Many {
        rule,
        children: children.iter().copied().map(Route::Pool).collect(),
    }
}

#[track_caller]
fn is(text: &str, rule: Rule, children: &[usize]) {
    assert_eq!(route(text).0, many(rule, children), "{text}");
}

#[test]
fn two_caches() {
    for (text, exptime) in [
        ("", Some(0)),
        (r#", "exptime": 60"#, Some(60)),
        (r#", "enable_metaget": true"#, None),
        (r#", "enable_metaget": true, "exptime": 5"#, Some(5)),
        (r#", "enable_metaget": true, "exptime": 0"#, Some(0)),
    ] {
        let text = format!(
            r#"{{"type": "WarmUpRoute", "cold": "PoolRoute|A", "warm": "PoolRoute|B"{text}}}"#
        );
        let want = Route::WarmUp {
            cold: Box::new(Route::Pool(0)),
            warm: Box::new(Route::Pool(1)),
            exptime,
        };
        assert_eq!(route(&text).0, want, "{text}");
    }
    // Its children may be anything.
    let text = r#"{"type": "WarmUpRoute", "cold": "AllSyncRoute|Pool|A", "warm": "NullRoute"}"#;
    assert!(matches!(route(text).0, Route::WarmUp { .. }));
    let l1l2 = r#""l1": "PoolRoute|A", "l2": "PoolRoute|B""#;
    let levels = |miss_exptime, miss_period| {
        Rule::Levels(Levels {
            exptime: 60,
            miss_exptime,
            miss_period,
        })
    };
    let text = format!(r#"{{"type": "L1L2CacheRoute", {l1l2}, "upgradingL1Exptime": 60}}"#);
    is(&text, levels(0, 0), &[0, 1]);
    let text = format!(
        r#"{{"type": "L1L2CacheRoute", {l1l2}, "upgradingL1Exptime": 60, "ncacheExptime": 5, "ncacheUpdatePeriod": 100}}"#
    );
    is(&text, levels(5, 100), &[0, 1]);
    let text = format!(r#"{{"type": "L1L2SizeSplitRoute", {l1l2}, "threshold": 100}}"#);
    let sizes = Sizes {
        threshold: 100,
        ..Sizes::DEFAULT
    };
    is(&text, Rule::Sizes(sizes), &[0, 1]);
    let text = format!(
        r#"{{"type": "L1L2SizeSplitRoute", {l1l2}, "threshold": 100, "ttl_threshold": 50, "failure_ttl": 7, "both_full_set": true, "retries": 3}}"#
    );
    let sizes = Sizes {
        threshold: 100,
        ttl_threshold: 50,
        failure_ttl: 7,
        both: true,
        retries: 3,
    };
    is(&text, Rule::Sizes(sizes), &[0, 1]);
    let text = r#"{"type": "StagingRoute", "warm": "PoolRoute|A", "staging": "PoolRoute|B"}"#;
    is(text, Rule::Staging, &[0, 1]);
    for (text, interval) in [("", 3600), (r#", "interval": 60"#, 60)] {
        let text = format!(
            r#"{{"type": "MigrateRoute", "from": "PoolRoute|A", "to": "PoolRoute|B", "start_time": 1700000000{text}}}"#
        );
        let start = 1_700_000_000;
        is(&text, Rule::Migrate(Migrate { start, interval }), &[0, 1]);
    }
}

#[test]
fn around_one_child() {
    let text =
        r#"{"type": "OutstandingLimitRoute", "target": "PoolRoute|A", "max_outstanding": 7}"#;
    is(text, Rule::Outstanding(7), &[0]);
    assert_eq!(route(&text.replace('7', "0")).0, Route::Pool(0));
    let text = r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "before_latency_ms": 1, "after_latency_ms": 2, "total_latency_ms": 3}"#;
    let latency = Latency {
        before: 1,
        after: 2,
        total: 3,
        percentiles: Vec::new(),
    };
    is(text, Rule::Latency(latency), &[0]);
    let text = r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "total_latency_percentile_ms": [[50, 1], [99.9, 20]]}"#;
    let at = |percent| Millionths::of(percent).unwrap();
    let latency = Latency {
        percentiles: vec![(at(50.0), 1), (at(99.9), 20)],
        ..Latency::NONE
    };
    is(text, Rule::Latency(latency), &[0]);
    let text = r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "before_latency_ms": 0, "request_payload_latency": true}"#;
    assert_eq!(route(text).0, Route::Pool(0));
    let condition = |field, equals: &[i64], differs: &[i64]| {
        let [equals, differs] =
            [equals, differs].map(|all| all.iter().copied().map(Scalar::Number).collect());
        Condition {
            field,
            equals,
            differs,
        }
    };
    for (policies, want) in [
        ("", Vec::new()),
        (r#""server": [{"op": "equals", "value": 1}]"#, Vec::new()),
        (
            r#""exptime": [{"op": "equals", "value": 1}, {"op": "not_equals", "value": 5}]"#,
            vec![condition(Field::Exptime, &[1], &[5])],
        ),
        (
            r#""flags": [{"op": "equals", "value": true}, {"op": "not_equals", "value": true}, {"op": "equals", "value": 2.0}]"#,
            vec![condition(Field::Flags, &[0, 2], &[0])],
        ),
        // None of these ever holds, or all of them do.
        (
            r#""delta": [{"op": "equals", "value": "x"}, {"op": "equals", "value": 0.5}, {"op": "like", "value": 1}, {"value": 1}]"#,
            vec![condition(Field::Delta, &[], &[])],
        ),
        (
            r#""casToken": [{"op": "not_equals", "value": 0.5}]"#,
            vec![condition(Field::Cas, &[0], &[0])],
        ),
    ] {
        let text = format!(
            r#"{{"type": "BlackholeRoute", "default": "PoolRoute|A", "policies": {{{policies}}}, "blackhole_child": "PoolRoute|B"}}"#
        );
        is(&text, Rule::Blackhole(want), &[0, 1]);
    }
    let text = r#"{"type": "BlackholeRoute", "default": "PoolRoute|A", "policies": {"key": [{"op": "equals", "value": "k"}]}}"#;
    let key = Condition {
        field: Field::Key,
        equals: vec![Scalar::Text("k".to_owned())],
        differs: Vec::new(),
    };
    let Route::Many { rule, children } = route(text).0 else {
        panic!("{text}");
    };
    assert_eq!(rule, Rule::Blackhole(vec![key]));
    assert_eq!(children, [Route::Pool(0), Route::Choose(Choose::Null)]);
}

#[test]
fn by_the_client() {
    let text = format!(
        r#"{{{POOLS}, "route": {{"type": "FailoverRoute", "children": [{{"type": "OriginalClientHashRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "offset": 3}}, "PoolRoute|C"]}}}}"#
    );
    let settings = Settings {
        retains_addresses: true,
        ..Settings::default()
    };
    let first = |config: Config| match tree(&config) {
        Route::Failover { children, .. } => children[0].clone(),
        other => panic!("{other:?}"),
    };
    let (config, _) = good_with(&settings, &text);
    assert_eq!(first(config), many(Rule::Client(3), &[0, 1]));
    let (config, warnings) = good_with(&Settings::default(), &text);
    let error = Choose::Error {
        message: "Missing IP".to_owned(),
        result: ErrorResult::DEFAULT,
        shown: false,
    };
    assert_eq!(first(config), Route::Choose(error));
    let said = |w: &Warning| w.message().contains("--retain-source-ip");
    assert!(warnings.iter().any(said));
}

fn children(text: &str) -> (Vec<Route>, Config) {
    match route(text) {
        (Route::Choose(Choose::Hash { children, .. }), config) => (children, config),
        (other, _) => panic!("{text}: {other:?}"),
    }
}

/// With what makes its servers differ a pool is a hash over them, and no key moves.
#[test]
fn what_stands_around_each_server_of_a_pool() {
    let text = r#"{"type": "PoolRoute", "pool": "A", "max_outstanding": 5, "slow_warmup": {"failoverTarget": "PoolRoute|B"}, "shadows": [
        {"target": "PoolRoute|C", "index_range": [1, 2], "key_fraction_range": [0, 1]}]}"#;
    let (found, config) = children(text);
    assert_eq!(names(&config), ["B", "A.0", "A.1", "A.2", "C"]);
    let slow = |pool| Route::Many {
        rule: Rule::SlowWarmUp(SlowWarmUp::DEFAULT),
        children: vec![many(Rule::Outstanding(5), &[pool]), Route::Pool(0)],
    };
    let shadowed = Route::Many {
        rule: Rule::Shadow(Shadow::ALL),
        children: vec![slow(2), Route::Pool(4)],
    };
    assert_eq!(found, [slow(1), shadowed, slow(3)]);
    let (Route::Choose(hash), _) = route(text) else {
        panic!("no hash");
    };
    let hash = hash.selector().unwrap().unwrap();
    let pool = route(r#""PoolRoute|A""#).1.pools[0].selector().unwrap();
    for key in 0..100 {
        let key = format!("key{key}|#|{key}");
        assert_eq!(hash.select(key.as_bytes()), pool.select(key.as_bytes()));
    }
    let text = r#"{"type": "PoolRoute", "pool": "C", "slow_warmup": {"failoverTarget": "PoolRoute|B", "settings":
        {"enable_threshold": 0.5, "disable_threshold": 1, "start": 0.25, "step": 2.5, "min_requests": 3}}}"#;
    let rule = SlowWarmUp {
        enable: Millionths(500_000),
        disable: Millionths(1_000_000),
        start: Millionths(250_000),
        step: Millionths(2_500_000),
        min_requests: 3,
    };
    is(text, Rule::SlowWarmUp(rule), &[1, 0]);
}

#[test]
fn shadows_of_keys() {
    let text = |more: &str| {
        format!(
            r#"{{"type": "PoolRoute", "pool": "A", "shadows": [{{"target": "PoolRoute|B", "keys_to_shadow": ["a", "b"]{more}}}]}}"#
        )
    };
    let rule = Shadow {
        keys: vec!["a".to_owned(), "b".to_owned()],
        per_million: 500_000,
        ..Shadow::ALL
    };
    is(
        &text(r#", "requests_fraction": 0.5"#),
        Rule::Shadow(rule),
        &[0, 1],
    );
    // Left out, as what makes no sense.
    assert_eq!(route(&text(r#", "index_range": [0, 1]"#)).0, Route::Pool(0));
}

#[test]
fn pools_without_servers_and_with_routes_in_their_places() {
    let with = |pools: &str, route: &str| {
        let text = format!(
            r#"{{"pools": {{"A": {{"servers": ["h:1"]}}, {pools}}}, "route": {{"type": "FailoverRoute", "children": ["PoolRoute|A", {route}]}}}}"#
        );
        match tree(&good(&text)) {
            Route::Failover { children, .. } => children[1].clone(),
            other => panic!("{other:?}"),
        }
    };
    let error = |name: &str| {
        Route::Choose(Choose::Error {
            message: format!("HashRoute with empty children, name: {name}"),
            result: ErrorResult::DEFAULT,
            shown: false,
        })
    };
    let null = Route::Choose(Choose::Null);
    let empty = r#""E": {"servers": [], "error_on_empty": false}, "F": {"servers": []}"#;
    assert_eq!(with(empty, r#""PoolRoute|F""#), error("F"));
    assert_eq!(with(empty, r#""PoolRoute|E""#), null);
    assert_eq!(with(empty, r#""HashRoute|Pool|F""#), error(""));
    let hash = r#"{"type": "HashRoute", "children": "Pool|F", "error_on_empty": false}"#;
    assert_eq!(with(empty, hash), null);
    assert_eq!(with(empty, r#""AllSyncRoute|Pool|F""#), null);
    let mixed = r#""M": {"servers": ["h:2", {"type": "NullRoute"}, "PLACE"]}"#;
    let mixed = mixed.replace("PLACE", "h:3");
    let Route::Choose(Choose::Hash { children, .. }) = with(&mixed, r#""PoolRoute|M""#) else {
        panic!("no hash");
    };
    assert_eq!(children, [Route::Pool(1), null.clone(), Route::Pool(2)]);
    let Route::Many { children, .. } = with(&mixed, r#""AllSyncRoute|Pool|M""#) else {
        panic!("no children");
    };
    assert_eq!(children[1], null);
    let around = r#"{"pools": {"A": {"servers": ["h:1", {"type": "HashRoute", "children": ["PoolRoute|A", "Pool|A"]}]}}, "route": "PoolRoute|A"}"#;
    assert!(bad(around).contains("the pool \"A\" is part of itself"));
}

#[test]
fn orders_by_the_key() {
    let pools =
        r#""pools": {"A": {"servers": ["h:1", "h:2", "h:3"], "failure_domains": [1, 0, "east"]}}"#;
    let rule = |more: &str| {
        let text = format!(
            r#"{{{pools}, "route": {{"type": "FailoverRoute", "children": ["PoolRoute|A", "Pool|A"], {more}}}}}"#
        );
        let config = good(&text);
        match tree(&config) {
            Route::Many {
                rule: Rule::KeyedFailover(rule),
                children,
            } if children.len() == 4 => rule.clone(),
            other => panic!("{other:?}"),
        }
    };
    let policy = |more: &str| {
        format!(
            r#""failover_policy": {{"type": "DeterministicOrderPolicy", "max_tries": 3, "max_error_tries": 2{more}}}"#
        )
    };
    let draws = Draws {
        max_tries: 3,
        max_error_tries: 2,
        excluded: Verdicts::NONE,
        weights: Vec::new(),
        domains: Vec::new(),
        repeats_normal: false,
    };
    let of = |draws: Draws| KeyedFailover {
        failover: Failover::DEFAULT,
        order: KeyOrder::Draws(draws),
    };
    assert_eq!(rule(&policy("")), of(draws.clone()));
    let more = policy(
        r#", "exclude_errors": ["busy"], "enable_failure_domains": true, "ignore_normal_reply_index": true"#,
    );
    let more = format!(
        r#"{more}, "hash": {{"hash_func": "WeightedCh3", "weights": [1, 0.25]}}, "failover_errors": ["tko"]"#
    );
    let want = KeyedFailover {
        failover: Failover {
            gets: Verdicts::NONE.with(Verdict::Tko),
            updates: Verdicts::NONE.with(Verdict::Tko),
            deletes: Verdicts::NONE.with(Verdict::Tko),
            ..Failover::DEFAULT
        },
        order: KeyOrder::Draws(Draws {
            excluded: Verdicts::NONE.with(Verdict::Busy),
            weights: [1_000_000, 250_000, 500_000, 500_000]
                .map(Millionths)
                .to_vec(),
            domains: vec![1, 0, crate::hash::spooky32(b"east", 0)],
            repeats_normal: true,
            ..draws
        }),
    };
    assert_eq!(rule(&more), want);
    let tags = || ["x", "y", "z"].map(str::to_owned).to_vec();
    let of = |weights: &[u32]| KeyedFailover {
        failover: Failover::DEFAULT,
        order: KeyOrder::Rendezvous {
            tags: tags(),
            weights: weights.iter().copied().map(Millionths).collect(),
        },
    };
    let text = r#""failover_policy": {"type": "RendezvousPolicy", "tags": ["x", "y", "z"]}"#;
    assert_eq!(rule(text), of(&[]));
    let text = r#""failover_policy": {"type": "RendezvousPolicy"}, "tags": ["x", "y", "z"], "hash": {"hash_func": "WeightedRendezvous", "weights": [1, 2, 3]}"#;
    assert_eq!(rule(text), of(&[1_000_000, 2_000_000, 3_000_000]));
}

#[test]
fn orders_by_the_host_and_more_than_one_try() {
    let latest = Latest {
        count: 5,
        salt: String::new(),
        weights: Vec::new(),
        failover: Failover::DEFAULT,
    };
    let text = r#"{"type": "LatestRoute", "children": ["PoolRoute|A", "PoolRoute|B"]}"#;
    is(text, Rule::Latest(latest.clone()), &[0, 1]);
    let text = r#"{"type": "LatestRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "failover_count": 2, "salt": "x", "weights": [0.5],
        "failover_policy": {"type": "LeastFailuresPolicy", "max_tries": 2}}"#;
    let more = Latest {
        count: 2,
        salt: "x".to_owned(),
        weights: vec![Millionths(500_000); 2],
        failover: Failover {
            max_tries: Some(2),
            ..Failover::DEFAULT
        },
    };
    is(text, Rule::Latest(more), &[0, 1]);
    let (found, config) = route(r#"{"type": "PoolRoute", "pool": "A", "hash": "Latest"}"#);
    assert_eq!(found, many(Rule::Latest(latest.clone()), &[0, 1, 2]));
    assert_eq!(names(&config), ["A.0", "A.1", "A.2"]);
    let text = r#"{"type": "PoolRoute", "pool": "A", "hash": {"hash_func": "Latest", "failover_count": 2}}"#;
    let two = Latest { count: 2, ..latest };
    is(text, Rule::Latest(two), &[0, 1, 2]);
    let alone = r#"{"type": "PoolRoute", "pool": "C", "hash": "Latest"}"#;
    assert_eq!(route(alone).0, Route::Pool(0));
    for text in [
        r#"{"type": "LoadBalancerRoute", "children": "Pool|A", "failover_count": 2, "salt": "x"}"#,
        r#"{"type": "PoolRoute", "pool": "A", "hash": {"hash_func": "LoadBalancer", "failover_count": 2, "salt": "x"}}"#,
    ] {
        let salt = "x".to_owned();
        is(text, Rule::Balance { salt, tries: 2 }, &[0, 1, 2]);
    }
}
