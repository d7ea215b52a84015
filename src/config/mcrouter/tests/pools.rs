//! What pools may say.

use super::*;

#[track_caller]
fn pool_with(settings: &Settings, pool: &str) -> (Pool, Vec<Warning>) {
    let text = format!("{{\"pools\": {{\"A\": {pool}}}, \"route\": \"PoolRoute|A\"}}");
    let (mut config, warnings) = good_with(settings, &text);
    (config.pools.remove(0), warnings)
}

#[track_caller]
fn pool(text: &str) -> Pool {
    pool_with(&Settings::default(), text).0
}

#[track_caller]
fn refused(pool: &str, why: &str) {
    let text = format!("{{\"pools\": {{\"A\": {pool}}}, \"route\": \"PoolRoute|A\"}}");
    let error = bad(&text);
    assert!(error.contains(why), "{pool}: {error}");
}

/// How a pool whose servers say nothing else is spread.
fn addresses(pool: &Pool) -> Vec<String> {
    let servers = pool.servers.iter();
    servers.map(|server| server.addr.to_string()).collect()
}

#[test]
fn servers_in_every_form() {
    let pool = pool(
        r#"{"servers": ["127.0.0.1:1", "[::1]:2", "h.example:3:ascii:plain:notcompressed", "unix:/run/m.sock"]}"#,
    );
    assert_eq!(
        addresses(&pool),
        ["127.0.0.1:1", "[::1]:2", "h.example:3", "unix:/run/m.sock"]
    );
    let over =
        super::pools::pool(r#"{"servers": ["127.0.0.1:1", "h:2", "unix:/m"], "port_override": 9}"#);
    assert_eq!(addresses(&over), ["127.0.0.1:9", "h:9", "unix:/m"]);
    let (twice, warnings) = pool_with(&Settings::default(), r#"{"servers": ["h:1", "h:1"]}"#);
    assert_eq!(addresses(&twice), ["h:1", "h:1"]);
    assert!(warnings.iter().any(|w| w.message().contains("two servers")));
}

#[test]
fn timeouts_are_the_pools_or_the_command_lines() {
    let mut settings = Settings::default();
    settings.pool.timeout = Duration::from_millis(500);
    settings.default_route = "/west/one/".to_owned();
    settings.within_cluster = Some(Duration::from_millis(20));
    settings.cross_cluster = Some(Duration::from_millis(30));
    settings.cross_region = Some(Duration::from_millis(40));
    let times = |text: &str| {
        let text = format!("{{\"servers\": [\"h:1\"], {text}}}");
        let (pool, _) = pool_with(&settings, &text);
        (pool.timeout.as_millis(), pool.connect_timeout.as_millis())
    };
    for (text, want) in [
        (r#""qos": {}"#, (500, 500)),
        (r#""server_timeout": 100"#, (100, 100)),
        (r#""server_timeout": 100, "connect_timeout": 7"#, (100, 7)),
        (r#""region": "west", "cluster": "one""#, (20, 500)),
        (
            r#""region": "west", "cluster": "two", "server_timeout": 9"#,
            (30, 9),
        ),
        (r#""region": "east", "cluster": "one""#, (40, 500)),
        (r#""region": "east""#, (500, 500)),
    ] {
        assert_eq!(times(text), want, "{text}");
    }
}

#[test]
fn the_hash_is_what_mcrouter_takes() {
    const TWO: &str = r#""servers": ["10.0.0.1:1", "10.0.0.2:1"]"#;
    let spread = |pool: &str, hash: &str| {
        let route = format!("{{\"type\": \"PoolRoute\", \"pool\": \"A\"{hash}}}");
        let config = good(&format!(
            "{{\"pools\": {{\"A\": {{{TWO}{pool}}}}}, \"route\": {route}}}"
        ));
        let pool = &config.pools[0];
        let weights: Vec<Option<f64>> = pool.servers.iter().map(|s| s.weight).collect();
        let names: Vec<String> = pool.servers.iter().map(|s| s.name.clone()).collect();
        (pool.placement.distribution, weights, names.join(" "))
    };
    let plain = "10.0.0.1:1 10.0.0.2:1";
    let weights = r#", "weights": [0.5, 1]"#;
    let tags = r#", "tags": ["x", "y"]"#;
    let both = format!("{weights}{tags}");
    let none = vec![None, None];
    let given = vec![Some(0.5), Some(1.0)];
    for (pool, hash, want) in [
        ("", "", (Distribution::Ch3, none.clone(), plain)),
        (
            weights,
            "",
            (Distribution::WeightedCh3, given.clone(), plain),
        ),
        (
            weights,
            r#", "hash": "Crc32""#,
            (Distribution::Crc32, none.clone(), plain),
        ),
        (
            weights,
            r#", "hash": {"salt": "s"}"#,
            (Distribution::WeightedCh3, given.clone(), plain),
        ),
        (
            "",
            r#", "hash": {"hash_func": "WeightedCh3", "weights": [0.5]}"#,
            (Distribution::WeightedCh3, vec![Some(0.5), None], plain),
        ),
        (
            "",
            r#", "hash": "ConstShard""#,
            (Distribution::ConstShard, none.clone(), plain),
        ),
        (
            &both,
            r#", "hash": "Rendezvous""#,
            (Distribution::Rendezvous, none, "x y"),
        ),
        (
            &both,
            r#", "hash": "WeightedRendezvous""#,
            (Distribution::Rendezvous, given, "x y"),
        ),
    ] {
        let (distribution, weights, names) = spread(pool, hash);
        assert_eq!(
            (distribution, weights, names.as_str()),
            want,
            "{pool} {hash}"
        );
    }
    // The weights of the pool have no part in those of a variable.
    let live = r#", "hash": {"hash_func": "WeightedCh3Rv", "weights_rv": "w", "salt": "s"}"#;
    let text = format!(
        "{{\"pools\": {{\"A\": {{{TWO}{weights}}}}}, \"route\": {{\"type\": \"PoolRoute\", \"pool\": \"A\"{live}}}}}"
    );
    let pool = &good(&text).pools[0];
    let placement = &pool.placement;
    assert_eq!(placement.distribution, Distribution::WeightedCh3);
    assert_eq!(placement.weights_variable.as_deref(), Some("w"));
    assert_eq!(placement.salt, "s");
    assert!(pool.servers.iter().all(|server| server.weight.is_none()));
    // A single server never looks at it.
    let one = r#"{"pools": {"A": {"servers": ["h:1"]}}, "route": {"type": "PoolRoute", "pool": "A", "hash": "None"}}"#;
    assert_eq!(good(one).pools[0].placement.distribution, Distribution::Ch3);
    for (hash, why) in [
        (r#""Ch2""#, "unknown hash function \"Ch2\""),
        (r#""WeightedCh3Rv""#, "needs `weights_rv`"),
        (
            r#"{"hash_func": "WeightedCh3Rv", "weights_rv": 1}"#,
            "needs `weights_rv`",
        ),
        (r#""WeightedCh3""#, "needs `weights`"),
        (
            r#"{"hash_func": "WeightedCh3", "weights": [2, 1]}"#,
            "not a weight",
        ),
        (r#""Rendezvous""#, "need a list `tags`"),
        (r#"{"salt": 1}"#, "`salt` must be a text"),
        ("1", "must be the name of a function"),
    ] {
        let error = bad(&format!(
            "{{\"pools\": {{\"A\": {{{TWO}}}}}, \"route\": {{\"type\": \"PoolRoute\", \"pool\": \"A\", \"hash\": {hash}}}}}"
        ));
        assert!(error.contains(why), "{hash}: {error}");
    }
}

#[test]
fn pools_inherit_what_they_do_not_say() {
    let text = r#"{
        "pools": {
            "base": {"servers": ["h:1"], "server_timeout": 50, "inherit": "root"},
            "root": {"server_timeout": 60, "connect_timeout": 70},
            "A": {"inherit": "base", "servers": ["i:2"]}
        },
        "route": "PoolRoute|A"
    }"#;
    let (config, warnings) = good_with(&Settings::default(), text);
    let pool = &config.pools[0];
    assert_eq!(addresses(pool), ["i:2"]);
    assert_eq!(pool.timeout, Duration::from_millis(50));
    assert_eq!(pool.connect_timeout, Duration::from_millis(70));
    assert!(
        !warnings
            .iter()
            .any(|w| w.message().contains("no route leads"))
    );
    refused(
        r#"{"inherit": "A", "servers": ["h:1"]}"#,
        "inherits from itself",
    );
    refused(
        r#"{"inherit": "B", "servers": ["h:1"]}"#,
        "there is no pool \"B\"",
    );
    refused(
        r#"{"inherit": 1, "servers": ["h:1"]}"#,
        "`inherit` must be a text",
    );
}

#[test]
fn a_pool_may_be_a_file() {
    let mut read = |path: &Path| match path == Path::new("/p/x.json") {
        true => Ok(br#"{"servers": ["h:1"], "server_timeout": 5}"#.to_vec()),
        false => no_files(path),
    };
    let text = r#"{"route": "PoolRoute|file:/p/x.json"}"#;
    let settings = Settings::default();
    let (config, _) = parse(&settings, "f.json", text, None, &mut read).unwrap();
    assert_eq!(names(&config), ["file--p-x.json"]);
    assert_eq!(config.pools[0].timeout, Duration::from_millis(5));
    let missing = parse_alone(&settings, "f.json", r#"{"route": "PoolRoute|file:/none"}"#);
    let error = missing.unwrap_err().brief();
    assert!(error.contains("can't read the pool \"/none\""), "{error}");
}

#[test]
fn odd_names_are_shown_in_letters_and_stay_apart() {
    let text = r#"{"pools": {"a b": {"servers": ["h:1"]}, "a/b": {"servers": ["h:2"]}},
        "route": {"type": "FailoverRoute", "children": ["PoolRoute|a b", "PoolRoute|a/b"]}}"#;
    let (config, warnings) = good_with(&Settings::default(), text);
    assert_eq!(names(&config), ["a-b", "a-b.2"]);
    let shown = warnings
        .iter()
        .filter(|w| w.message().contains("is shown as"));
    assert_eq!(shown.count(), 2);
}

#[test]
fn what_a_pool_can_not_be() {
    for (text, why) in [
        ("1", "a pool must be an object"),
        ("{}", "`servers` is missing"),
        (r#"{"servers": "h:1"}"#, "`servers` must be a list"),
        (r#"{"servers": []}"#, "there is no pool"),
        (r#"{"servers": [1]}"#, "a server must be a text"),
        (
            r#"{"servers": [{"type": "NullRoute"}]}"#,
            "there is no pool",
        ),
        (r#"{"servers": ["h"]}"#, "the port is missing"),
        (r#"{"servers": ["h:1:caret"]}"#, "the protocol \"caret\""),
        (r#"{"servers": ["h:1:ascii:ssl"]}"#, "the security \"ssl\""),
        (
            r#"{"servers": ["h:1"], "protocol": "thrift"}"#,
            "this `protocol`",
        ),
        (
            r#"{"servers": ["h:1"], "security_mech": "ssl"}"#,
            "this `security_mech`",
        ),
        (
            r#"{"servers": ["h:1"], "use_ssl": true}"#,
            "`use_ssl` of a pool",
        ),
        (
            r#"{"servers": ["h:1"], "keep_routing_prefix": 1}"#,
            "`keep_routing_prefix` must be true or false",
        ),
        (
            r#"{"servers": ["h:1"], "tko_tracker": {"num_tko_threshold_upper": 1}}"#,
            "`tko_tracker` needs `num_tko_threshold_lower` or",
        ),
        (
            r#"{"servers": ["h:1"], "tko_tracker": {"percent_tko_threshold_upper": 50, "num_tko_threshold_lower": 1}}"#,
            "make no sense for 1 servers",
        ),
        (
            r#"{"servers": ["h:1"], "tko_tracker": {"percent_tko_threshold_upper": 101, "num_tko_threshold_lower": 1}}"#,
            "a percentage from 1 to 100",
        ),
        (
            r#"{"servers": ["h:1"], "tko_tracker": {"num_tko_threshold_upper": 0, "num_tko_threshold_lower": 1}}"#,
            "at least 1",
        ),
        (
            r#"{"servers": ["h:1"], "tko_tracker": 5}"#,
            "`tko_tracker` must be an object",
        ),
        (
            r#"{"servers": ["h:1"], "server_timeout": 0}"#,
            "no time in milliseconds",
        ),
        (
            r#"{"servers": ["h:1"], "server_timeout": "1s"}"#,
            "no time in milliseconds",
        ),
        (
            r#"{"servers": ["h:1"], "server_timeout": 900000}"#,
            "such a long `server_timeout`",
        ),
        (
            r#"{"servers": ["h:1"], "port_override": 0}"#,
            "from 1 to 65535",
        ),
    ] {
        refused(text, why);
    }
    let (_, warnings) = pool_with(
        &Settings::default(),
        r#"{"servers": ["h:1"], "sever_timeout": 1}"#,
    );
    assert!(
        warnings[0]
            .brief()
            .contains("did you mean \"server_timeout\"?")
    );
}

#[test]
fn a_pool_may_say_how_many_of_its_servers_may_be_out() {
    let pool = pool(
        r#"{"servers": ["h:1", "h:2", "h:3", "h:4"],
            "tko_tracker": {"percent_tko_threshold_upper": 75, "num_tko_threshold_lower": 1}}"#,
    );
    let fail_open = pool.tko.fail_open.unwrap();
    assert_eq!((fail_open.at.of(4), fail_open.until.of(4)), (3, 1));
}
