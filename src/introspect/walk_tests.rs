//! Routes that are followed without being asked.

use super::*;
use crate::config::{Config, parse};
use crate::route::compile::Snapshot;

fn toml(route: &str, compat: Compat) -> Config {
    let mut text = format!("route = {route}\nintrospection = true\n");
    for (name, ports) in [("a", 1..4), ("b", 11..12), ("c", 21..22)] {
        let servers: Vec<String> = ports.map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let _ = write!(
            text,
            "[pools.{name}]\ndistribution = \"ch3\"\nservers = [{}]\n",
            servers.join(", ")
        );
    }
    let mut config = parse("f", &text).unwrap().0;
    config.compat = compat;
    config
}

/// Where requests go, with the servers of these pools out of service.
fn servers(route: &str, operation: Operation, down: &[usize]) -> String {
    let config = toml(route, Compat::Latest);
    let snapshot = Snapshot::compile(&config).unwrap();
    let is_down = |pool: usize, _: usize| down.contains(&pool);
    let view = View {
        config: &config,
        snapshot: &snapshot,
        is_down: &is_down,
    };
    let walk = Walk::new(&view, operation, b"k");
    let ports = walk.servers().into_iter();
    let ports = ports.map(|addr| addr.rsplit(':').next().unwrap().to_owned());
    ports.collect::<Vec<_>>().join(" ")
}

fn tree(route: &str, compat: Compat) -> String {
    let config = toml(route, compat);
    let snapshot = Snapshot::compile(&config).unwrap();
    let view = View {
        config: &config,
        snapshot: &snapshot,
        is_down: &|_, _| false,
    };
    Walk::new(&view, Operation::Get, b"k").tree()
}

#[test]
fn a_request_is_simulated_with_the_answers_of_an_empty_cache() {
    use Operation::{Delete, Get, Incr, Set};
    let failover = "{ type = \"selective-failover\", children = [\"b\", \"c\"] }";
    let reasons =
        "{ type = \"failover\", children = [\"b\", \"c\"], on = [\"connect\", \"miss\"] }";
    let all = "{ type = \"all-sync\", children = [\"b\", \"c\"] }";
    let miss = "{ type = \"miss-failover\", children = [\"b\", \"c\"] }";
    let warm = "{ type = \"warm-up\", cold = \"b\", warm = \"c\", exptime = 0 }";
    let by = "{ type = \"operation\", default = \"c\", operations = { get_like = \"b\", delete = { type = \"null\" } } }";
    let broken = "{ type = \"failover\", on = [\"error\"], children = [{ type = \"error\", message = \"no\" }, \"c\"] }";
    for (route, operation, down, want) in [
        ("\"b\"", Get, &[][..], "11"),
        ("\"b\"", Get, &[1], ""),
        (failover, Get, &[], "11"),
        (failover, Get, &[1], "21"),
        (failover, Set, &[1], "21"),
        (failover, Get, &[1, 2], ""),
        (reasons, Get, &[], "11 21"),
        (reasons, Set, &[], "11"),
        (reasons, Set, &[1], "21"),
        (all, Set, &[], "11 21"),
        (all, Set, &[1], "21"),
        (miss, Get, &[], "11 21"),
        (miss, Delete, &[], "11 21"),
        (miss, Set, &[], "11"),
        (warm, Get, &[], "11 21"),
        (warm, Delete, &[], "11"),
        (by, Get, &[], "11"),
        (by, Incr, &[], "21"),
        (by, Delete, &[], ""),
        (broken, Get, &[], "21"),
    ] {
        let got = servers(route, operation, down);
        assert_eq!(got, want, "{route} {operation:?} {down:?}");
    }
}

#[test]
fn each_route_gets_the_key_that_it_is_given() {
    use Operation::{Delete, Get, Set};
    let prefixes = "{ type = \"routing-prefix\", default = \"/e/a/\", routes = [{ prefixes = [\"/e/a/\"], route = \"b\" }, { prefixes = [\"/w/a/\"], route = { type = \"prefix\", prefixes = { \"x:\" = \"c\" }, default = \"a\" } }] }";
    let config = toml(prefixes, Compat::V0_36);
    let snapshot = Snapshot::compile(&config).unwrap();
    let view = View {
        config: &config,
        snapshot: &snapshot,
        is_down: &|_, _| false,
    };
    let servers = |key: &str, operation| Walk::new(&view, operation, key.as_bytes()).servers();
    assert_eq!(servers("k", Get), ["127.0.0.1:11"]);
    assert_eq!(servers("/w/a/x:1", Get), ["127.0.0.1:21"]);
    assert_eq!(
        servers("/*/*/x:1", Delete),
        ["127.0.0.1:11", "127.0.0.1:21"]
    );
    assert_eq!(servers("/x/y/k", Set), [""; 0]);
    assert_eq!(Walk::new(&view, Get, b"/x/y/k").tree(), "root");
    let split = "{ type = \"key-split\", child = \"b\", replicas = 3, all_sync = false, first_hit = false }";
    for (operation, want) in [(Get, 1), (Set, 1), (Delete, 3)] {
        let found = super::tests::servers(split, operation, &[]);
        assert_eq!(found.split(' ').count(), want, "{operation:?}");
    }
}

#[test]
fn the_tree_is_printed_as_mcrouter_prints_it() {
    let owner = 1 + crate::config::parse(
        "f",
        "[pools.a]\nservers = [\"h:1\", \"h:2\", \"h:3\"]\ndistribution = \"ch3\"",
    )
    .unwrap()
    .0
    .pools[0]
        .selector()
        .unwrap()
        .select(b"k");
    let id = owner - 1;
    let end = ":ascii:plain:notcompressed|timeout=1000ms";
    assert_eq!(
        tree("\"a\"", Compat::V0_36),
        format!("root\n hash|Ch3\n  host|pool=a|id={id}|ap=127.0.0.1:{owner}{end}")
    );
    let more = "|keep_routing_prefix=false|msb=0";
    let failover = "{ type = \"failover\", on = [\"connect\"], children = [{ type = \"exptime\", child = \"b\", exptime = \"5s\" }, { type = \"shadow\", children = [\"a\", \"c\"] }, { type = \"error\", message = \"no\" }] }";
    assert_eq!(
        tree(failover, Compat::Latest),
        format!(
            "proxy\n root\n  failover\n   modify-exptime|set|exptime=5\n    host|pool=b|id=0|ap=127.0.0.1:11{end}{more}\n   selection|hash|Ch3\n    shadow\n     host|pool=a|id={id}|ap=127.0.0.1:{owner}{end}{more}\n     host|pool=c|id=0|ap=127.0.0.1:21{end}{more}\n   error|log|mc_res_local_error|no"
        )
    );
}

/// Of a PoolRoute mcrouter shows the log first, then shards, the hash, and what stands around each server.
#[test]
fn what_stands_around_servers_is_in_mcrouters_order() {
    let settings = crate::config::mcrouter::Settings {
        base: crate::config::mcrouter::Settings::default().base,
        ..Default::default()
    };
    let shadows = |last: usize| {
        format!(
            r#"[{{"target": "PoolRoute|C", "index_range": [0, {last}], "key_fraction_range": [0, 1]}},
            {{"target": "Pool|B", "index_range": [0, {last}], "key_fraction_range": [0, 1]}},
            {{"target": "Pool|B", "index_range": [0, {last}], "key_fraction_range": [0, 0]}}]"#
        )
    };
    let (all, some) = (shadows(2), shadows(1));
    let copied = "host A\n* asynclog:C\n*  host C\n* host B";
    for (fields, want) in [
        (String::new(), "asynclog:A\n hash\n  host A".to_owned()),
        (
            r#", "rates": {"gets_rate": 5}, "shard_splits": {"1": 2}, "asynclog_name": "x""#.to_owned(),
            "asynclog:x\n shardsplit\n  rate-limit|gets_rate=5|gets_burst=5\n   hash\n    host A".to_owned(),
        ),
        (
            format!(r#", "shadows": {all}"#),
            format!("asynclog:A\n hash\n  shadow\n   {}", copied.replace('*', "  ")),
        ),
        (
            format!(r#", "shadows": {some}, "max_outstanding": 5"#),
            format!(
                "asynclog:A\n hash\n  shadow\n   outstanding-limit|limit=5\n    {}",
                copied.replace('*', "  ")
            ),
        ),
        (
            r#", "max_outstanding": 5, "slow_warmup": {"failoverTarget": "PoolRoute|C"}"#.to_owned(),
            "asynclog:A\n hash\n  slow-warmup\n   outstanding-limit|limit=5\n    host A\n   asynclog:C\n    host C".to_owned(),
        ),
        (
            r#", "asynclog": false, "max_outstanding": 5"#.to_owned(),
            "hash\n outstanding-limit|limit=5\n  host A".to_owned(),
        ),
    ] {
        let text = format!(
            r#"{{"pools": {{"A": {{"servers": ["a:1", "b:1"]}}, "B": {{"servers": ["c:1"]}}, "C": {{"servers": ["d:1"]}}}},
                "route": {{"type": "PoolRoute", "pool": "A"{fields}}}}}"#
        );
        let (mut config, _) =
            crate::config::mcrouter::parse_alone(&settings, "f.json", &text).unwrap();
        config.compat = Compat::V0_36;
        let snapshot = Snapshot::compile(&config).unwrap();
        let view = View {
            config: &config,
            snapshot: &snapshot,
            is_down: &|_, _| false,
        };
        // The first server has the key.
        let key = ["k", "l", "m", "n", "o"].into_iter().find(|key| {
            let asked = Walk::new(&view, Operation::Get, key.as_bytes()).servers();
            asked.first().is_some_and(|server| server == "a:1")
        });
        let tree = Walk::new(&view, Operation::Get, key.unwrap().as_bytes()).tree();
        let lines: Vec<String> = tree
            .lines()
            .map(|line| match line.split_once("host|pool=") {
                Some((before, host)) => {
                    assert_eq!(host.split('|').nth(1), Some("id=0"), "{line}");
                    format!("{before}host {}", &host[..1])
                }
                None => line.replace("hash|Ch3", "hash"),
            })
            .collect();
        let want: Vec<String> = want.lines().map(|line| format!(" {line}")).collect();
        assert_eq!(lines[1..], want, "{text}");
    }
}
