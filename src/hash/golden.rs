//! Holds every placement against answers recorded from the real systems.
//!
//! `tests/golden/placement` was made by `tests/golden/make_placement.py` with nutcracker, libmemcached,
//! pylibmc, pymemcache and python-memcached; `tests/golden/mcrouter-0.36` was recorded from mcrouter
//! itself. The numbers of cases, keys and skipped rows are asserted too, so that a file that has lost
//! its content does not pass for one that agrees.

use std::collections::HashMap;
use std::path::PathBuf;

use super::*;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// One `# case` line: what was asked, of which nodes.
struct Case {
    line: String,
    placement: Placement,
    nodes: Vec<Node>,
}

impl Case {
    fn parse(line: &str) -> Case {
        let mut options = HashMap::new();
        let (first, nodes) = line.split_once(" nodes=").unwrap();
        for option in first.split(' ').skip(2) {
            let (name, value) = option.split_once('=').unwrap();
            options.insert(name, value);
        }
        let mut placement = Placement::of(options["distribution"].parse().unwrap());
        if options["hash"] != "-" {
            placement.hash = Some(options["hash"].parse().unwrap());
        }
        if let [open, close] = options["tag"].as_bytes() {
            placement.tag = Some((*open, *close));
        }
        let nodes = nodes.split(' ').map(|text| {
            let [name, host, port, weight] = text.split('|').collect::<Vec<_>>()[..] else {
                panic!("{text}")
            };
            Node {
                name: name.into(),
                host: host.into(),
                port: port.parse().unwrap(),
                weight: (weight != "-").then(|| weight.parse().unwrap()),
            }
        });
        Case {
            line: line.to_owned(),
            placement,
            nodes: nodes.collect(),
        }
    }
}

/// Compares all cases of a file, and gives how many cases and keys it has.
fn compare(name: &str) -> (usize, usize) {
    let text = read(&format!("placement/{name}"));
    let cases: Vec<Case> = text
        .lines()
        .filter(|line| line.starts_with("# case "))
        .map(Case::parse)
        .collect();
    let rows: Vec<(Vec<u8>, Vec<usize>)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('\t');
            let key = unhex(fields.next().unwrap());
            (key, fields.map(|field| field.parse().unwrap()).collect())
        })
        .collect();
    let mut failures = Vec::new();
    for (column, case) in cases.iter().enumerate() {
        let selector = Selector::new(&case.placement, &case.nodes).unwrap();
        let wrong: Vec<String> = rows
            .iter()
            .filter(|(key, indices)| selector.select(key) != indices[column])
            .map(|(key, _)| key.escape_ascii().to_string())
            .collect();
        if !wrong.is_empty() {
            let (count, of, line) = (wrong.len(), rows.len(), &case.line);
            failures.push(format!(
                "{count} of {of} keys elsewhere, as {}, in {line}",
                wrong[0]
            ));
        }
        for (_, indices) in &rows {
            assert_eq!(indices.len(), cases.len());
        }
    }
    assert!(failures.is_empty(), "{name}:\n{}", failures.join("\n"));
    (cases.len(), rows.len())
}

#[test]
fn keys_stay_where_twemproxy_put_them() {
    assert_eq!(compare("twemproxy.tsv"), (43, 250));
}

#[test]
fn keys_stay_where_libmemcached_put_them() {
    assert_eq!(compare("libmemcached.tsv"), (54, 250));
}

#[test]
fn keys_stay_where_pylibmc_put_them() {
    assert_eq!(compare("pylibmc.tsv"), (33, 202));
}

#[test]
fn keys_stay_where_pymemcache_put_them() {
    assert_eq!(compare("pymemcache.tsv"), (8, 202));
}

#[test]
fn keys_stay_where_python_memcached_put_them() {
    assert_eq!(compare("python_memcached.tsv"), (8, 202));
}

#[test]
fn jump_is_the_published_algorithm_over_xxh64() {
    assert_eq!(compare("jump.tsv"), (7, 251));
}

/// Compares a table of hash values, one function per column.
fn compare_values(name: &str, functions: &[impl Fn(&[u8]) -> u32], rows: usize) {
    let text = read(&format!("placement/{name}"));
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let key = unhex(fields.next().unwrap());
        let values: Vec<u32> = fields
            .map(|f| u32::from_str_radix(f, 16).unwrap())
            .collect();
        assert_eq!(values.len(), functions.len());
        for (column, (function, value)) in functions.iter().zip(values).enumerate() {
            assert_eq!(
                function(&key),
                value,
                "column {column} of {}",
                key.escape_ascii()
            );
        }
        seen += 1;
    }
    assert_eq!(seen, rows, "{name}");
}

#[test]
fn hash_functions_are_those_of_libhashkit() {
    let text = read("placement/libhashkit.tsv");
    let columns = text
        .lines()
        .find_map(|line| line.strip_prefix("# columns "))
        .unwrap();
    let functions: Vec<HashFunction> = columns.split(' ').map(|f| f.parse().unwrap()).collect();
    assert_eq!(
        functions.len(),
        10,
        "all but hsieh, crc16 and crc32a, which it does not have"
    );
    let functions: Vec<_> = functions
        .into_iter()
        .map(|f| move |key: &[u8]| f.hash(key))
        .collect();
    compare_values("libhashkit.tsv", &functions, 251);
}

#[test]
fn spooky_is_spooky_v2_at_every_length() {
    let functions = [0, 1, 0xface_2014].map(|seed| move |message: &[u8]| spooky32(message, seed));
    compare_values("spooky.tsv", &functions, 160);
}

/// What one file of mcrouter's was recorded with, from its header.
fn mcrouter_case(name: &str, text: &str) -> (Placement, Vec<Node>) {
    let config = text
        .lines()
        .find_map(|line| line.strip_prefix("# config: "))
        .unwrap();
    let (config, _) = config.rsplit_once(" ; extra args:").unwrap();
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    let pool = &config["pools"]["A"];
    let route = config
        .get("routes")
        .map_or(&config["route"], |routes| &routes[0]["route"]);
    let servers = pool["servers"].as_str().unwrap();
    let count: usize = servers[1..].split(' ').next().unwrap().parse().unwrap();
    let hash = &route["hash"];
    // Weights beside the servers make the default hash the weighted one.
    let weights = hash
        .get("weights")
        .or(pool.get("weights"))
        .and_then(|list| list.as_array());
    let function = hash.as_str().or(hash["hash_func"].as_str());
    let distribution = match function {
        Some("Crc32") => Distribution::Crc32,
        Some("ConstShard") => Distribution::ConstShard,
        Some("WeightedCh3") => Distribution::WeightedCh3,
        None if weights.is_some() => Distribution::WeightedCh3,
        None | Some("Ch3") => Distribution::Ch3,
        Some(other) => panic!("{name}: {other}"),
    };
    let salt = hash["salt"].as_str().unwrap_or_default().to_owned();
    let nodes = (0..count).map(|i| {
        let weight = weights
            .and_then(|list| list.get(i))
            .map(|weight| weight.as_f64().unwrap());
        Node {
            weight,
            ..Node::at("127.0.0.1", 30000 + i as u16)
        }
    });
    (
        Placement {
            salt,
            stop: true,
            ..Placement::of(distribution)
        },
        nodes.collect(),
    )
}

/// mcrouter's routing prefix: `/region/cluster/`. It is not part of the key.
fn without_prefix(key: &[u8]) -> &[u8] {
    let slashes: Vec<usize> = (0..key.len()).filter(|i| key[*i] == b'/').collect();
    match slashes[..] {
        [0, _, third, ..] => &key[third + 1..],
        _ => key,
    }
}

#[test]
fn keys_stay_where_mcrouter_put_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mcrouter-0.36");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            ["ch3", "weightedch3", "crc32", "constshard"]
                .iter()
                .any(|p| name.starts_with(p))
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 31);
    for name in &names {
        let text = read(&format!("mcrouter-0.36/{name}"));
        let (placement, nodes) = mcrouter_case(name, &text);
        let selector = Selector::new(&placement, &nodes).unwrap();
        let (mut refused, mut by_get, mut by_command) = (0, 0, 0);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let [key, _, get, command, sent] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{name}: {line}")
            };
            if get.starts_with("ERR:") {
                refused += 1;
                continue;
            }
            let full = unhex(key);
            let key = without_prefix(&full);
            // mcrouter's own command knows the owner of an empty key, which no server is asked for.
            let index = if get == "-" {
                assert!(key.is_empty(), "{name}: {line}");
                by_command += 1;
                command
            } else {
                let escaped = key
                    .escape_ascii()
                    .to_string()
                    .replace(r"\'", "'")
                    .replace("\\\"", "\"");
                let kept = name.contains("keep_routing_prefix");
                assert!(kept || sent == escaped, "{name}: {sent} is not {escaped}");
                by_get += 1;
                get
            };
            assert_eq!(selector.select(key).to_string(), index, "{name}: {line}");
        }
        let expected = match name.as_str() {
            "ch3_8_single_route.tsv" => (92, 0),
            "ch3_8_single_route_invalid_to_default.tsv" => (0, 2),
            "ch3_8_keep_routing_prefix.tsv" => (2, 0),
            _ => (2, 1),
        };
        assert_eq!((refused, by_command), expected, "{name}");
        assert_eq!(refused + by_command + by_get, 667, "{name}");
    }
}
