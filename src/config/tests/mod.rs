//! The reader as a whole: what it accepts, what it says about mistakes, and that it answers everything.

mod files;
mod fills;
mod mistakes;
mod round_trip;

use super::*;
use proptest::prelude::*;

const MINIMAL: &str = "listen = [\"127.0.0.1:5000\"]
[pools.cache]
servers = [\"127.0.0.1:11211\", \"127.0.0.1:11212\", \"127.0.0.1:11213\"]
";

fn good(text: &str) -> (Config, Vec<Warning>) {
    parse("f.toml", text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn bad(text: &str) -> Errors {
    match parse("f.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors,
    }
}

/// The smallest file; it stays valid for ever and means this.
#[test]
fn the_smallest_file_has_every_default() {
    let (config, warnings) = good(MINIMAL);
    assert_eq!(warnings, []);
    let listen: SocketAddr = "127.0.0.1:5000".parse().unwrap();
    let servers = (11211..=11213)
        .map(|port| {
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            Server {
                name: addr.to_string(),
                addr: ServerAddr::Tcp(addr),
                weight: None,
            }
        })
        .collect();
    let second = Duration::from_secs(1);
    let want = Config {
        listen: vec![Listen::Tcp(listen)],
        workers: None,
        pools: vec![Pool {
            name: "cache".to_owned(),
            servers,
            discover: None,
            placement: Placement::default(),
            timeout: second,
            connect_timeout: second,
            connections: 1,
            idle_close: 60 * second,
            coalesce: true,
            keep_routing_prefix: false,
            warm_scaling: None,
            on_failure: None,
            gutter: None,
            on_return: None,
            spool: None,
            shown: None,
            tko: Tko {
                after: 3,
                probe_min: second / 10,
                probe_max: 10 * second,
                recover: 1,
                hold_down: second,
                enabled: true,
                fail_open: None,
            },
            queue: Queue {
                requests: 4096,
                bytes: 4 << 20,
                in_flight: 0,
            },
        }],
        route: Route::Pool(0),
        dns: Dns::default(),
        limits: Limits {
            max_value: 1 << 20,
            max_get_line: 4 << 20,
            client_requests: 1024,
            client_bytes: 1 << 20,
            worker_bytes: 256 << 20,
            worker_requests: 0,
            waiting_requests: 0,
            waiting_timeout: Duration::ZERO,
            max_connections: 10_000,
        },
        log: Log {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        },
        admin: None,
        spool: None,
        flush_all: false,
        miss_on_get_errors: true,
        leases: false,
        introspection: false,
        compat: Compat::Latest,
        group_remote_errors: false,
        runtime_vars: None,
        drain: 10 * second,
        shutdown_delay: Duration::ZERO,
    };
    assert_eq!(config, want);
    let (_, without_listen) = MINIMAL.split_once('\n').unwrap();
    assert_eq!(good(without_listen).0, want, "`listen` has a default");
}

#[test]
fn values_may_be_written_in_several_ways() {
    let text = "
        listen = \"unix:/run/r.sock\"
        workers = 2
        drain = 2.5
        [pools]
        a.servers = [{ unix = 1 }]
    ";
    assert!(
        bad(text)
            .to_string()
            .contains("unknown key `unix` in a server")
    );
    let text = "
        listen = [\":5000\", { unix = \"unix:/run/r.sock\", mode = 0o660 }, { unix = \"/run/s.sock\", mode = \"0777\" }]
        workers = 2
        drain = 2.5
        [pools.a]
        servers = [\"[::1]:1\", { addr = \"b.example:1\", weight = 2 }, { name = \"c\", addr = \"unix:/run/c.sock\", weight = 0.5 }]
        timeout = 1
        queue = { bytes = 1048576 }
        tko.after = 5
        points = 10
        hash_tag = \"{}\"
        hash_stop = true
        [limits]
        max_value = \"16MiB\"
        [admin]
        listen = \"127.0.0.1:5001\"
    ";
    let (config, warnings) = good(text);
    assert_eq!(warnings, []);
    let modes: Vec<u32> = config
        .listen
        .iter()
        .map(|l| {
            if let Listen::Unix { mode, .. } = l {
                *mode
            } else {
                0
            }
        })
        .collect();
    assert_eq!(modes, [0, 0o660, 0o777]);
    assert_eq!(
        (config.workers, config.drain),
        (Some(2), Duration::from_millis(2500))
    );
    let pool = &config.pools[0];
    let names: Vec<(&str, Option<f64>)> = pool
        .servers
        .iter()
        .map(|s| (s.name.as_str(), s.weight))
        .collect();
    assert_eq!(
        names,
        [
            ("[::1]:1", None),
            ("b.example:1", Some(2.0)),
            ("c", Some(0.5))
        ]
    );
    assert_eq!(
        (pool.queue.bytes, pool.tko.after, pool.timeout),
        (1 << 20, 5, Duration::from_secs(1))
    );
    let placement = &pool.placement;
    assert_eq!(
        (placement.points, placement.tag, placement.stop),
        (Some(10), Some((b'{', b'}')), true)
    );
    assert_eq!(config.limits.max_value, 16 << 20);
    assert_eq!(
        config.admin.unwrap().listen,
        ["127.0.0.1:5001".parse().unwrap()]
    );
}

#[test]
fn pools_keep_the_order_of_the_file() {
    let text = "route = \"m\"\n[pools.z]\nservers = [\"a:1\"]\n[pools.m]\nservers = [\"a:1\"]\n[pools.a]\nservers = [\"a:1\"]";
    let (config, warnings) = good(text);
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!((names, config.route), (vec!["z", "m", "a"], Route::Pool(1)));
    assert_eq!(warnings.len(), 2, "z and a are not used");
    assert_eq!(
        (warnings[0].line(), warnings[0].severity()),
        (2, Severity::Warning)
    );
}

#[test]
fn odd_files_are_answered() {
    assert!(
        bad(&format!("x = \"{}\"", "a".repeat(MAX_FILE as usize)))
            .to_string()
            .contains("more than")
    );
    let errors = parse_bytes("f", b"listen = 3\nx = \"\xff\"").unwrap_err();
    assert_eq!(
        (errors.errors()[0].line(), errors.errors()[0].column()),
        (2, 6),
        "{errors}"
    );
    assert!(errors.to_string().contains("not UTF-8"));
    for deep in [
        "[".repeat(100_000),
        "a.".repeat(100_000),
        "a={".repeat(10_000),
        format!("a = {}", "[".repeat(100_000)),
    ] {
        bad(&deep);
    }
    let bom = format!("\u{feff}{MINIMAL}");
    assert_eq!(
        good(&bom).0,
        good(MINIMAL).0,
        "Windows editors put a mark at the beginning"
    );
    assert_eq!(good(&MINIMAL.replace('\n', "\r\n")).0, good(MINIMAL).0);
    let many: String = (0..1000).map(|i| format!("k{i} = 1\n")).collect();
    assert_eq!(bad(&format!("{many}{MINIMAL}")).count(), 1000);
}

/// Every key of the schema is really read: a date is right nowhere.
#[test]
fn every_key_of_the_schema_is_read() {
    const KINDS: [&str; 5] = ["service", "ordinals", "addresses", "file", "endpoint"];
    for section in schema::SECTIONS {
        for key in section.keys {
            let (before, after) = match section.heading {
                "top of the file" => ("", ""),
                "an entry of `listen` as a table" => ("listen = [{", "}]"),
                "an entry of `discover` as a table" if KINDS.contains(&key.name) => {
                    ("[pools.a]\ndiscover = [{", "}]")
                }
                "an entry of `discover` as a table" => {
                    ("[pools.a]\ndiscover = [{service = \"a\",", "}]")
                }
                "[pools.NAME.membership]" => {
                    ("[pools.a]\ndiscover = \"a\"\n[pools.a.membership]\n", "")
                }
                "an entry of `servers` as a table" => ("[pools.a]\nservers = [{", "}]"),
                "an entry of `routes` in a routing-prefix route" if key.name == "route" => (
                    "route = { type = \"routing-prefix\", routes = [{ prefixes = [\"/a/b/\"],",
                    "}] }",
                ),
                "an entry of `routes` in a routing-prefix route" => {
                    ("route = { type = \"routing-prefix\", routes = [{", "}] }")
                }
                "`buckets`" if key.name == "delimiter" => (
                    "[pools.a]\nservers = [\"a:1\"]\nbuckets = { total = 1, key_parts = 1,",
                    "}",
                ),
                "`buckets`" => ("[pools.a]\nservers = [\"a:1\"]\nbuckets = { ", "}"),
                "an entry of `shards` as a table" if key.name == "parts" => (
                    "route = { type = \"shard-split\", shards = { 1 = {",
                    "} } }",
                ),
                "an entry of `shards` as a table" => (
                    "route = { type = \"shard-split\", shards = { 1 = { parts = 1,",
                    "} } }",
                ),
                "an entry of `when` in a blackhole route" => (
                    "route = { type = \"blackhole\", child = \"a\", when = [{",
                    "}] }",
                ),
                "a route to all its children" => ("route = { type = \"all-sync\",", "}"),
                "[pools.NAME]" if key.name == "membership" => ("[pools.a]\ndiscover = \"a\"\n", ""),
                "[pools.NAME]" => ("[pools.a]\n", ""),
                "[pools.NAME.tko]" => ("[pools.a.tko]\n", ""),
                "[pools.NAME.queue]" => ("[pools.a.queue]\n", ""),
                heading => (heading, ""),
            };
            let kind = section.heading.split('"').nth(1);
            let of_route = kind.map(|kind| format!("route = {{ type = \"{kind}\","));
            let (before, after) = match &of_route {
                Some(before) => (before.as_str(), "}"),
                None => (before, after),
            };
            let before = if before.starts_with('[') {
                format!("{before}\n")
            } else {
                before.to_owned()
            };
            let before = if key.name == "type" {
                before.split("type").next().unwrap()
            } else {
                &before
            };
            let pool = if section.heading == "top of the file"
                || section.heading.contains("route")
                || section.heading.contains("shards")
            {
                if key.name == "pools" {
                    ""
                } else {
                    "\n[pools.a]\nservers = [\"a:1\"]"
                }
            } else {
                ""
            };
            let text = format!("{before} {} = 1979-05-27 {after}{pool}", key.name);
            let errors = bad(&text).to_string();
            assert!(errors.contains("not a date"), "{text}\n{errors}");
            assert!(!errors.contains("unknown key"), "{text}\n{errors}");
        }
    }
}

proptest! {
    /// Bytes from anywhere get an answer that can be printed.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(errors) = parse_bytes("f", &bytes) {
            prop_assert!(!errors.errors().is_empty());
            prop_assert!(errors.to_string().contains("f:"));
        }
    }

    /// So do files that were right before somebody leant on the keyboard.
    #[test]
    fn any_damage_is_answered(
        file in 0usize..5,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[\\PC\n\"\\[\\]{}=.#]{0,4}"), 1..5),
    ) {
        let mut text = files::all()[file].1.clone();
        for (at, len, put) in damage {
            let at = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((at + len).min(text.len()));
            text.replace_range(at..end, &put);
        }
        match parse("f", &text) {
            Ok((config, _)) => prop_assert_eq!(parse("g", &config.to_toml()).unwrap().0, config),
            Err(errors) => prop_assert!(errors.to_string().contains("f:")),
        }
    }
}
