//! What is refused: with its place, and so that one sees whether mcrouter would take it.

use super::*;
use proptest::prelude::*;

/// The page for users has all that there is.
#[test]
fn every_type_is_on_the_reference_page() {
    let page = include_str!("../../../docs/mcrouter.md");
    let (possible, _) = page.split_once("Not yet:").unwrap();
    for name in super::super::handles::names() {
        // An old name of another one.
        if name != "PrefixPolicyRoute" {
            assert!(possible.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn parameters_that_would_change_something_are_refused() {
    let two = r#""children": ["PoolRoute|A", "PoolRoute|B"]"#;
    for (route, why) in [
        (r#"{"type": "PoolRoute", "pool": "A", "shadows": 5}"#.to_owned(), "`shadows` must be a list"),
        (r#"{"type": "PoolRoute", "pool": "A", "max_outstanding": "5"}"#.to_owned(), "a whole number `max_outstanding`"),
        (r#"{"type": "PoolRoute", "pool": "A", "max_outstanding": 1000001}"#.to_owned(), "a `max_outstanding` that is not"),
        (r#"{"type": "PoolRoute", "pool": "A", "rates": {"gets_rate": 1e7}}"#.to_owned(), "`gets_rate`"),
        (r#"{"type": "PoolRoute", "pool": "A", "slow_warmup": {}}"#.to_owned(), "with a `failoverTarget`"),
        (r#"{"type": "PoolRoute", "pool": "A", "slow_warmup": {"failoverTarget": "PoolRoute|B", "settings": {"enable_threshold": 0.5}}}"#.to_owned(), "`disable_threshold` must be"),
        (r#"{"type": "PoolRoute", "pool": "A", "slow_warmup": {"failoverTarget": "PoolRoute|B", "settings": {"enable_threshold": 0.5, "disable_threshold": 0.5}}}"#.to_owned(), "must be under"),
        (r#"{"type": "L1L2CacheRoute", "l1": "PoolRoute|A", "l2": "PoolRoute|B"}"#.to_owned(), "a whole number `upgradingL1Exptime`"),
        (r#"{"type": "L1L2SizeSplitRoute", "l1": "PoolRoute|A", "l2": "PoolRoute|B", "threshold": 1, "retries": 11}"#.to_owned(), "a `retries` that is not"),
        (r#"{"type": "L1L2SizeSplitRoute", "l1": "PoolRoute|A", "threshold": 1}"#.to_owned(), "`l2` is missing"),
        (r#"{"type": "StagingRoute", "warm": "PoolRoute|A"}"#.to_owned(), "`staging` is missing"),
        (r#"{"type": "MigrateRoute", "from": "PoolRoute|A", "to": "PoolRoute|B", "start_time": 1, "interval": 0}"#.to_owned(), "a `interval`"),
        (r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "before_latency_ms": -1}"#.to_owned(), "a `before_latency_ms`"),
        (r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "total_latency_percentile_ms": [[50, 1], [50, 2]]}"#.to_owned(), "is a list of pairs"),
        (r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "total_latency_percentile_ms": [[50, 1.5]]}"#.to_owned(), "is a list of pairs"),
        (r#"{"type": "LatencyInjectionRoute", "child": "PoolRoute|A", "total_latency_percentile_ms": [50, 1]}"#.to_owned(), "is a list of pairs"),
        (r#"{"type": "BlackholeRoute", "default": "PoolRoute|A"}"#.to_owned(), "needs an object `policies`"),
        (r#"{"type": "BlackholeRoute", "default": "PoolRoute|A", "policies": {"key": 1}}"#.to_owned(), "must be a list"),
        (r#"{"type": "OriginalClientHashRoute", "children": "PoolRoute|A"}"#.to_owned(), "needs a list"),
        (r#"{"type": "PoolRoute", "pool": "A", "bucketize": true}"#.to_owned(), "`total_buckets`"),
        (r#"{"type": "PoolRoute", "pool": "A", "bucketize": true, "total_buckets": 10}"#.to_owned(), "`bucketization_keyspace`"),
        (r#"{"type": "PoolRoute", "pool": "A", "bucketize": true, "total_buckets": 10, "bucketization_keyspace": "x"}"#.to_owned(), "needs the hash WeightedCh3"),
        (r#"{"type": "PoolRoute", "pool": "A", "shadow_policy": "x"}"#.to_owned(), "invalid shadow policy"),
        (format!(r#"{{"type": "FailoverRoute", {two}, "failover_limit": {{"burst": 5}}}}"#), "number `rate`"),
        (format!(r#"{{"type": "FailoverRoute", {two}, "failover_tag": 1}}"#), "`failover_tag` of FailoverRoute must be"),
        (format!(r#"{{"type": "FailoverRoute", {two}, "enable_lease_pairing": true}}"#), "`enable_lease_pairing` needs a `name`"),
        (format!(r#"{{"type": "FailoverRoute", {two}, "failover_errors": ["tko", "connect_error"]}}"#), "only one of connect_error"),
        (format!(r#"{{"type": "FailoverRoute", {two}, "failover_errors": ["miss"]}}"#), "\"miss\" is no error"),
        (
            format!(r#"{{"type": "FailoverRoute", {two}, "failover_policy": {{"type": "RendezvousPolicy"}}}}"#),
            "needs a list `tags`",
        ),
        (
            format!(r#"{{"type": "FailoverRoute", {two}, "failover_policy": {{"type": "DeterministicOrderPolicy", "max_tries": 3}}}}"#),
            "a whole number `max_error_tries`",
        ),
        (
            format!(r#"{{"type": "FailoverRoute", {two}, "hash": "Crc32", "failover_policy": {{"type": "DeterministicOrderPolicy", "max_tries": 3, "max_error_tries": 3}}}}"#),
            "is Ch3 or WeightedCh3",
        ),
        (
            format!(r#"{{"type": "LatestRoute", {two}, "failover_policy": {{"type": "RendezvousPolicy", "tags": ["a"]}}}}"#),
            "this failover policy",
        ),
        (format!(r#"{{"type": "LatestRoute", {two}, "failover_count": 0}}"#), "a `failover_count`"),
        (
            format!(r#"{{"type": "FailoverRoute", {two}, "failover_policy": {{"type": "LeastFailuresPolicy", "max_tries": 0}}}}"#),
            "`max_tries` of at least 1",
        ),
        (
            r#"{"type": "FailoverWithExptimeRoute", "normal": "PoolRoute|A", "failover": "PoolRoute|B", "failover_exptime": 9999999}"#.to_owned(),
            "more than 30 days",
        ),
        (r#"{"type": "SRRoute", "service_name": "x"}"#.to_owned(), "SRRoute needs services"),
        (r#"{"type": "SetDistributionTargetRoute", "child": "PoolRoute|A", "target_region": ""}"#.to_owned(), "needs services"),
        (r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A", "ttl": 5, "flavor": "file:x"}"#.to_owned(), "with a `flavor`"),
        (r#"{"type": "ModifyExptimeRoute", "target": "PoolRoute|A", "exptime": -1}"#.to_owned(), "an `exptime`"),
        (
            r#"{"type": "WarmUpRoute", "cold": "PoolRoute|A", "warm": "PoolRoute|B", "exptime": 9999999}"#.to_owned(),
            "an `exptime`",
        ),
        (
            r#"{"type": "BigValueRoute", "target": "PoolRoute|A", "split_threshold": 10, "batch_size": 1}"#.to_owned(),
            "a `split_threshold`",
        ),
        (
            r#"{"type": "BigValueRoute", "target": "PoolRoute|A", "split_threshold": 10000, "batch_size": 1001}"#.to_owned(),
            "a `batch_size`",
        ),
        (
            r#"{"type": "PrefixSelectorRoute", "policies": {"a|": "PoolRoute|A"}, "wildcard": "PoolRoute|B"}"#.to_owned(),
            "beginning of a hash stop",
        ),
    ] {
        let error = bad_route(&route);
        assert!(error.contains(why), "{route}: {error}");
    }
}

#[test]
fn mistakes_are_called_mistakes() {
    for (route, why) in [
        (
            r#""PoolRouet|A""#,
            "unknown route handle \"PoolRouet\"; did you mean \"PoolRoute\"?",
        ),
        (r#""PoolRoute""#, "`pool` is missing"),
        (r#""PoolRoute|Z""#, "there is no pool \"Z\""),
        (r#"{"pool": "A"}"#, "`type` is missing"),
        (r#"{"type": 1}"#, "`type` must be a text"),
        ("1", "a route must be"),
        ("[]", "0 handles in a list, expected 1"),
        (
            r#"["PoolRoute|A", "PoolRoute|B"]"#,
            "2 handles in a list, expected 1",
        ),
        (r#""Pool|A""#, "3 handles in a list, expected 1"),
        (r#"{"type": "FailoverRoute"}"#, "`children` is missing"),
        (
            r#"{"type": "FailoverRoute", "children": [{"type": "PrefixSelectorRoute", "wildcard": "PoolRoute|A"}, "PoolRoute|B"]}"#,
            "unknown route handle \"PrefixSelectorRoute\"",
        ),
        (r#"{"type": "SRRoute"}"#, "only Meta has"),
        (r#""OperationSelectorRoute""#, "`default_policy` is missing"),
        (
            r#"{"type": "OperationSelectorRoute", "operation_policies": {"gett": "PoolRoute|A"}}"#,
            "unknown operation \"gett\"",
        ),
        (
            r#"{"type": "OperationSelectorRoute", "operation_policies": {"get_like": "PoolRoute|A"}}"#,
            "unknown operation \"get_like\"",
        ),
        (
            r#"{"type": "RoutingGroupRoute", "routing_group_policies": {"get": "PoolRoute|A"}}"#,
            "unknown operation \"get\"",
        ),
        (
            r#"{"type": "ErrorRoute", "result": "mc_res_found"}"#,
            "\"mc_res_found\" is not a valid error result",
        ),
        (
            r#"{"type": "ErrorRoute", "response": 1}"#,
            "`response` must be a text",
        ),
        (
            r#"{"type": "HashRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "hash_func": "Ch4"}"#,
            "unknown hash function",
        ),
        (
            r#"{"type": "HashRoute", "children": ["PoolRoute|A", "PoolRoute|B"], "hash_func": "Rendezvous"}"#,
            "need a list `tags`",
        ),
        (
            r#"{"type": "ModifyExptimeRoute", "target": "PoolRoute|A", "exptime": 5, "action": "max"}"#,
            "`action` is",
        ),
        (
            r#"{"type": "ModifyExptimeRoute", "target": "PoolRoute|A"}"#,
            "a whole number `exptime`",
        ),
        (
            r#"{"type": "LoadBalancerRoute", "children": "Pool|A", "algorithm": "x"}"#,
            "unknown load balancing algorithm",
        ),
        (r#""DistributionRoute|PoolRoute|A""#, "must be an object"),
        (r#"{"type": "DistributionRoute"}"#, "`child` is missing"),
        (
            r#"{"type": "DistributionRoute", "child": "PoolRoute|A", "replay": 1}"#,
            "must be true or false",
        ),
        (
            r#"{"type": "PoolRoute", "pool": "A", "distribution_enabled": "x"}"#,
            "must be true or false",
        ),
        (
            r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A"}"#,
            "a whole number `ttl`",
        ),
        (
            r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A", "ttl": 300, "ttl_unit_ms": true}"#,
            "must be a multiple",
        ),
        (
            r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|A", "ttl": 5, "helper_config": 1}"#,
            "must be an object",
        ),
        (
            r#"{"type": "RateLimitRoute", "target": "PoolRoute|A"}"#,
            "`rates` is missing",
        ),
        (
            r#"{"type": "RateLimitRoute", "target": "PoolRoute|A", "rates": {"sets_rate": 0}}"#,
            "a number over 0",
        ),
        (
            r#"{"type": "KeyParseRoute", "target": "PoolRoute|A", "num_routing_parts": 0}"#,
            "from 1 on",
        ),
        (
            r#"{"type": "HashStopAllowListRoute", "target": "PoolRoute|A"}"#,
            "a list `prefixes`",
        ),
        (
            r#"{"type": "BigValueRoute", "target": "PoolRoute|A"}"#,
            "needs a whole number `split_threshold`",
        ),
        (
            r#"{"type": "PrefixSelectorRoute"}"#,
            "needs `policies` or a `wildcard`",
        ),
    ] {
        let error = bad_route(route);
        assert!(error.contains(why), "{route}: {error}");
    }
    for (text, why) in [
        ("[]", "must be an object"),
        ("{}", "there is no `route`"),
        (
            r#"{"route": "a", "routes": {}}"#,
            "both `route` and `routes`",
        ),
        (r#"{"routes": 1}"#, "`routes` must be"),
        (
            r#"{"routing_options": {"enable_delete_distribution": true}}"#,
            "needs services",
        ),
        (
            r#"{"routing_options": {"enable_cross_region_set_rpc": false}}"#,
            "needs services",
        ),
        (
            r#"{"routing_options": {"enable_set_distribution": 1}}"#,
            "must be true or false",
        ),
        (r#"{"routes": []}"#, "invalid default route: /././"),
        (
            r#"{"routes": [{"aliases": ["/./."], "route": "x"}]}"#,
            "is not a routing prefix",
        ),
        (
            r#"{"routes": [{"route": "x"}]}"#,
            "needs `aliases` and `route`",
        ),
        (
            r#"{"pools": 1, "route": "PoolRoute|A"}"#,
            "`pools` must be an object",
        ),
        (
            r#"{"named_handles": 1, "route": "x"}"#,
            "`named_handles` must be",
        ),
        (
            r#"{"named_handles": ["x"], "route": "x"}"#,
            "needs a `name`",
        ),
        (
            r#"{"named_handles": {"x": "x"}, "route": "x"}"#,
            "is part of itself",
        ),
        (
            r#"{"named_handles": {"x": {"type": "AllSyncRoute", "children": "x"}}, "route": "x"}"#,
            "is part of itself",
        ),
        (
            r#"{"named_handles": {"x": {"type": "Pool", "name": "y", "pool": "A"}}, "route": "x"}"#,
            "is named \"x\", too",
        ),
    ] {
        let error = bad(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_run() {
    let text = r#"{
        "pools": {"A": {"servers": ["h", "h:1"], "protocol": "caret"}},
        "route": {"type": "FailoverRoute", "failover_tag": true, "children": ["PoolRoute|A", "PoolRoute|B", "SRRoute"]}
    }"#;
    let errors = with(&Settings::default(), text).unwrap_err();
    assert!(errors.count() >= 4, "{errors}");
}

#[test]
fn routes_are_not_deeper_or_larger_than_the_request_path_takes() {
    let nested = |count: usize| {
        (0..count).fold("\"PoolRoute|A\"".to_owned(), |inner, _| {
            format!("{{\"type\": \"FailoverRoute\", \"children\": [{inner}, \"PoolRoute|B\"]}}")
        })
    };
    assert!(matches!(route(&nested(18)).0, Route::Failover { .. }));
    assert!(bad_route(&nested(19)).contains("more than 20 deep"));
    assert!(bad_route(&nested(80)).contains("more than 64 deep"));
    let handles: String = (1..17)
        .map(|i| {
            let before = i - 1;
            format!(", \"n{i}\": {{\"type\": \"FailoverRoute\", \"children\": [\"n{before}\", \"n{before}\"]}}")
        })
        .collect();
    let text = format!(
        "{{{POOLS}, \"named_handles\": {{\"n0\": \"PoolRoute|A\"{handles}}}, \"route\": \"n16\"}}"
    );
    assert!(bad(&text).contains("too many handles"));
}

fn piece() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "null",
        "true",
        "\"\"",
        "\"PoolRoute|A\"",
        "\"Pool|A\"",
        "\"A\"",
        "\"n\"",
        "[]",
        "{}",
        "\"h:1\"",
        "\"FailoverRoute|Pool|A\"",
        "\"HashRoute|Pool|A\"",
        "[\"h:1\", \"h:2\"]",
        "\"@range(@int(1),@int(3))\"",
        "\"/././\"",
        "0.5",
        "\"%hostid%\"",
        "\"Ch3\"",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop::sample::select(vec![
            "type",
            "pool",
            "pools",
            "route",
            "routes",
            "children",
            "servers",
            "name",
            "hash",
            "weights",
            "named_handles",
            "A",
            "n",
            "target",
            "policies",
            "wildcard",
            "macros",
            "vars",
            "aliases",
            "inherit",
            "hash_func",
            "failover_errors",
            "tags",
            "/././",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\": {value}"))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    /// Whatever a configuration is made of, it gets an answer; a good one is the same when it is printed.
    #[test]
    fn any_configuration_is_answered(pools in piece(), route in piece(), named in piece()) {
        let text = format!("{{\"pools\": {pools}, \"route\": {route}, \"named_handles\": {named}}}");
        if let Ok((config, _)) = with(&Settings::default(), &text) {
            let written = config.to_toml();
            let again = parse_toml("f.toml", &written);
            prop_assert_eq!(again.map(|(config, _)| config), Ok(config));
        }
    }
}
