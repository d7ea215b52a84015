//! Keys go where the real mcrouter sent them with the same JSON, also after it has been converted to TOML.

use super::*;

/// Every recorded table: its configuration, and the server of each key.
#[test]
fn keys_go_where_mcrouter_0_36_sent_them_before_and_after_converting() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mcrouter-0.36");
    let mut tables = 0;
    let mut keys = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("# config: "));
        let (json, _) = line.unwrap().split_once(" ; extra args").unwrap();
        let mut json: serde_json::Value = serde_json::from_str(json).unwrap();
        let pool = &mut json["pools"]["A"];
        let keeps = pool.get("keep_routing_prefix").is_some();
        let count = pool["servers"].as_str().unwrap().trim_start_matches('<');
        let count: u16 = count.split(' ').next().unwrap().parse().unwrap();
        let servers = (0..count).map(|i| format!("127.0.0.1:{}", 30_000 + i));
        pool["servers"] = servers.collect();
        let settings = Settings {
            unknown_to_default: line.unwrap().contains("--send-invalid-route-to-default"),
            ..Settings::default()
        };
        let (config, _) = good_with(&settings, &json.to_string());
        let (converted, _) = parse_toml("f.toml", &config.to_toml()).unwrap();
        let routers = [config, converted].map(|config| {
            let selector = config.pools[0].selector().unwrap();
            assert_eq!(config.pools[0].keep_routing_prefix, keeps);
            (config.route, selector)
        });
        tables += 1;
        for row in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = row.split('\t').collect();
            let key: Vec<u8> = (0..fields[0].len() / 2)
                .map(|i| u8::from_str_radix(&fields[0][2 * i..2 * i + 2], 16).unwrap())
                .collect();
            let place = format!("{} in {}", key.escape_ascii(), path.display());
            for (route, selector) in &routers {
                let Route::Keys(keys) = route else {
                    panic!("{route:?}");
                };
                let ways = keys.ways(&key, 0, 0);
                if fields[2].starts_with("ERR:SERVER_ERROR") {
                    assert!(ways.is_empty(), "{place}");
                    continue;
                }
                let [(_, Route::Pool(0), rest)] = ways.as_slice() else {
                    panic!("{place}: {ways:?}");
                };
                // Nothing was left of some keys; then only the command that tells the route did.
                let Ok(want) = fields[2].parse().or(fields[3].parse::<usize>()) else {
                    continue;
                };
                assert_eq!(selector.select(rest), want, "{place}");
                let sent = if keeps { &key } else { rest };
                let sent = sent.escape_ascii().to_string();
                if fields[4] != "-" && !sent.contains('\\') {
                    assert_eq!(fields[4], sent, "{place}");
                }
            }
            keys += 1;
        }
    }
    assert!(
        tables >= 25 && keys >= 5_000,
        "{tables} tables, {keys} keys"
    );
}

/// What the archived Helm chart writes, with its comma behind the last server.
#[test]
fn the_chart_s_configuration() {
    let text = r#"{
  "pools": {
    "A": {
      "servers": [
        "my-memcached-0.my-memcached.default.svc.cluster.local:11211",
        "my-memcached-1.my-memcached.default.svc.cluster.local:11211",
        "my-memcached-2.my-memcached.default.svc.cluster.local:11211",
      ]
    }
  },
  "route": "PoolRoute|A"
}
"#;
    let config = good(text);
    assert_eq!(tree(&config), &Route::Pool(0));
    let servers = &config.pools[0].servers;
    assert_eq!(servers.len(), 3);
    assert_eq!(
        servers[2].name,
        "my-memcached-2.my-memcached.default.svc.cluster.local:11211"
    );
    let pool = &config.pools[0];
    assert_eq!(pool.timeout, Duration::from_secs(1));
    assert_eq!(pool.tko.probe_min, Duration::from_secs(10));
}
