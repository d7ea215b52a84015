//! `ringroad explain`: which server owns a key, and why.
//!
//! The route is followed as a request would be, to every pool it may reach, in the order in which it would try them;
//! in each the placement tells its story. No server is asked, so the answer does not depend on which are up.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::{Value, json};

use super::{ExplainArgs, Failure, open_config};
use crate::config::mcrouter::host_id;
use crate::config::{Config, OnFailure, Pool, Route, Rule, show_size};
use crate::hash::Selector;
use crate::route::compile::MAX_SUCCESSORS;

/// The longest key memcached takes, in bytes.
const MAX_KEY: usize = 250;

/// Next owners that are listed.
const SUCCESSORS: usize = 5;

/// Where a key may end: a pool, or an answer on the way.
struct Reached<'c> {
    pool: Option<&'c Pool>,
    /// How it gets there.
    path: Vec<String>,
}

/// Explains every key; text or JSON on `out`, warnings about the file on `err`.
///
/// # Errors
/// The file can't be read or used, there is no such pool, or a key is none for memcached.
pub fn explain(
    args: &ExplainArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let (file, config) = open_config(args.config.as_deref(), err)?;
    let (config, _) = super::members::known(config, err)?;
    super::read_variables(&config, err)?;
    let only = args
        .pool
        .as_deref()
        .map(|name| find_pool(&config, name))
        .transpose()?;
    let mut keys = Vec::new();
    for key in &args.keys {
        keys.push(check_key(key.as_encoded_bytes())?);
    }
    let mut text = format!("from {}\n", file.display());
    let mut values = Vec::new();
    for key in keys {
        let reached = match only {
            Some(pool) => vec![Reached {
                pool: Some(pool),
                path: Vec::new(),
            }],
            None => reach(&config, key),
        };
        let mut pools = Vec::new();
        let _ = writeln!(text, "\nkey \"{}\"", key.escape_ascii());
        for one in reached {
            let Some(pool) = one.pool else {
                let _ = writeln!(text, "  no server  ({})", one.path.join("; "));
                pools.push(json!({ "pool": null, "path": one.path, "owner": null }));
                continue;
            };
            if pool.servers.is_empty() {
                let pool = &pool.name;
                let _ = writeln!(text, "  pool {pool}: no servers have been found");
                pools.push(json!({ "pool": pool, "path": one.path, "owner": null }));
                continue;
            }
            let selector = pool
                .selector()
                .map_err(|error| Failure::Runtime(error.to_string()))?;
            in_words(&mut text, pool, &one.path, &selector, key);
            pools.push(in_json(pool, &one.path, &selector, key));
        }
        values.push(json!({ "key": String::from_utf8_lossy(key), "pools": pools }));
    }
    if args.json {
        writeln!(out, "{:#}", Value::from(values))?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

pub(super) fn find_pool<'c>(config: &'c Config, name: &str) -> Result<&'c Pool, Failure> {
    config
        .pools
        .iter()
        .find(|pool| pool.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
            Failure::Usage(format!(
                "there is no pool \"{name}\"; the pools are: {}",
                names.join(", ")
            ))
        })
}

fn check_key(key: &[u8]) -> Result<&[u8], Failure> {
    let why = match key.len() {
        0 => "is empty".to_owned(),
        length if length > MAX_KEY => format!("has {length} bytes"),
        _ if key.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) => {
            "holds a blank or a control character".to_owned()
        }
        _ => return Ok(key),
    };
    Err(Failure::Usage(format!(
        "the key \"{}\" {why}; memcached takes keys of 1 to {MAX_KEY} bytes without blanks and control characters",
        key.escape_ascii()
    )))
}

/// The pools that a request for `key` may reach, in the order of the tries.
fn reach<'c>(config: &'c Config, key: &[u8]) -> Vec<Reached<'c>> {
    let mut found = Vec::new();
    follow(config, &config.route, key, &mut Vec::new(), &mut found);
    found
}

fn follow<'c>(
    config: &'c Config,
    route: &Route,
    key: &[u8],
    path: &mut Vec<String>,
    found: &mut Vec<Reached<'c>>,
) {
    let mut step = |step: String, child: &Route| {
        path.push(step);
        follow(config, child, key, path, found);
        path.pop();
    };
    match route {
        Route::Pool(index) => {
            let Some(pool) = config.pools.get(*index) else {
                return;
            };
            found.push(Reached {
                pool: Some(pool),
                path: path.clone(),
            });
            if let Some(gutter) = pool.gutter {
                path.push(format!("while a server of {} is down", pool.name));
                follow(config, &Route::Pool(gutter.pool), key, path, found);
                path.pop();
            }
        }
        Route::Prefix { prefixes, default } => {
            let fits = prefixes
                .iter()
                .filter(|(prefix, _)| key.starts_with(prefix));
            match fits.max_by_key(|(prefix, _)| prefix.len()) {
                Some((prefix, child)) => {
                    step(format!("prefix \"{}\"", prefix.escape_ascii()), child)
                }
                None => step("no prefix fits".to_owned(), default),
            }
        }
        Route::Failover { children, on } => {
            let on: Vec<&str> = on.iter().map(|reason| reason.name()).collect();
            for (index, child) in children.iter().enumerate() {
                let when = if index == 0 {
                    "first choice".to_owned()
                } else {
                    format!("failover on {}", on.join(", "))
                };
                step(when, child);
            }
        }
        Route::Choose(choose) => {
            let ways = choose.ways(key);
            if ways.is_empty() {
                let mut path = path.clone();
                path.push(choose.to_string());
                return found.push(Reached { pool: None, path });
            }
            for (what, child) in ways {
                path.push(what);
                follow(config, child, key, path, found);
                path.pop();
            }
        }
        Route::Keys(keys) => {
            let ways = keys.ways(key, host_id(), now());
            if ways.is_empty() {
                let mut path = path.clone();
                path.push("no route for this routing prefix".to_owned());
                return found.push(Reached { pool: None, path });
            }
            for (what, child, key) in ways {
                path.push(what);
                follow(config, child, &key, path, found);
                path.pop();
            }
        }
        Route::WarmUp { cold, warm, .. } => {
            step("cold".to_owned(), cold);
            step("warm, if a get misses".to_owned(), warm);
        }
        Route::BigValue {
            child,
            split_threshold,
            ..
        } => {
            let size = show_size(*split_threshold as u64);
            step(format!("values over {size} in parts"), child);
        }
        Route::Many { rule, children } => {
            let copied = match rule {
                Rule::Shadow(shadow) => shadow.takes(key),
                _ => true,
            };
            let reached = if copied { children.len() } else { 1 };
            let names = rule.children();
            let order = match rule {
                Rule::Latest(latest) => latest.own(children.len()),
                _ => (0..reached).collect(),
            };
            for index in order {
                let Some(child) = children.get(index) else {
                    continue;
                };
                let kind = rule.name();
                step(
                    match names.get(index) {
                        Some(name) => match rule {
                            Rule::Migrate(migrate) if index == 0 => {
                                let until = migrate.switches(key);
                                format!("{kind} {name}, until {until} seconds after 1970")
                            }
                            _ => format!("{kind} {name}"),
                        },
                        None => format!("{kind} {} of {}", index + 1, children.len()),
                    },
                    child,
                );
            }
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_secs())
}

fn in_words(text: &mut String, pool: &Pool, path: &[String], selector: &Selector, key: &[u8]) {
    let explanation = selector.explain(key);
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("  ({})", path.join("; "))
    };
    let _ = writeln!(text, "  pool {}{path}", pool.name);
    for line in explanation.to_string().lines() {
        let _ = writeln!(text, "    {line}");
    }
    if let Some(server) = pool.servers.get(explanation.owner) {
        let _ = writeln!(text, "    address       {}", server.addr);
    }
    let next = successors(pool, selector, key);
    let tried = tried(pool, &next);
    if !tried.is_empty() {
        let _ = writeln!(text, "    if it is down {}", tried.join(", then "));
    }
    if !next.is_empty() {
        let _ = writeln!(
            text,
            "    next          {}  (owners, were the ones before taken out of the pool)",
            next.join(", ")
        );
    }
}

/// Hashes are texts, since few JSON readers keep all 64 bits of a number.
fn in_json(pool: &Pool, path: &[String], selector: &Selector, key: &[u8]) -> Value {
    let next = successors(pool, selector, key);
    let explanation = selector.explain(key);
    let server = pool.servers.get(explanation.owner);
    json!({
        "pool": pool.name,
        "path": path,
        "distribution": explanation.distribution.name(),
        "hashed": String::from_utf8_lossy(&explanation.hashed),
        "hash": { "function": explanation.function, "value": format!("{:#x}", explanation.hash) },
        "point": explanation.point.map(|point| format!("{point:#x}")),
        "rule": explanation.rule,
        "owner": {
            "name": explanation.name,
            "index": explanation.owner,
            "addr": server.map(|server| server.addr.to_string()),
        },
        "if_down": tried(pool, &next),
        "successors": next,
    })
}

/// Who is asked while the owner is down.
fn tried<'n>(pool: &Pool, next: &[&'n str]) -> Vec<&'n str> {
    match pool.on_failure {
        Some(OnFailure::Next) => next.iter().take(MAX_SUCCESSORS).copied().collect(),
        _ => Vec::new(),
    }
}

/// The names of the next owners.
fn successors<'c>(pool: &'c Pool, selector: &Selector, key: &[u8]) -> Vec<&'c str> {
    let order = selector
        .successors(key)
        .into_iter()
        .skip(1)
        .take(SUCCESSORS);
    order
        .filter_map(|index| pool.servers.get(index))
        .map(|server| server.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::ffi::OsString;

    const FILE: &str = "
        [route]
        type = \"prefix\"
        default = \"a\"
        [route.prefixes]
        \"u:\" = \"b\"
        \"u:x:\" = { type = \"failover\", children = [\"a\", \"b\"], on = [\"timeout\"] }
        \"w:\" = { type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = 0 }
        \"v:\" = { type = \"big-value\", child = \"b\" }
        \"l:\" = { type = \"two-level\", l1 = \"a\", l2 = \"b\", exptime = 0 }
        \"m:\" = { type = \"migrate\", from = \"a\", to = \"b\", start_time = 1000, interval = 1 }
        \"s:\" = { type = \"shadow\", children = [\"a\", \"b\"], keys = [\"s:1\"] }
        \"n:\" = { type = \"operation\", default = { type = \"error\", message = \"no\" }, operations = { get = \"b\" } }
        [pools.a]
        servers = [{ name = \"a0\", addr = \"h0:1\" }, { name = \"a1\", addr = \"h1:1\" }, { name = \"a2\", addr = \"h2:1\" }]
        on_failure = \"next\"
        [pools.b]
        servers = [\"h3:1\"]";

    fn run(pool: Option<&str>, json: bool, keys: &[&str]) -> (Result<(), Failure>, String) {
        let dir = tempfile::TempDir::new().unwrap();
        let config = dir.path().join("f.toml");
        std::fs::write(&config, FILE).unwrap();
        let keys = keys.iter().map(OsString::from).collect();
        let args = ExplainArgs {
            config: Some(config),
            pool: pool.map(str::to_owned),
            json,
            keys,
        };
        let mut out = Vec::new();
        let result = explain(&args, &mut out, &mut Vec::new());
        (result, String::from_utf8(out).unwrap())
    }

    fn run_json(keys: &[&str]) -> Value {
        let (result, out) = run(None, true, keys);
        result.unwrap();
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn the_owner_is_the_one_that_a_request_would_reach() {
        let (config, _) = config::parse("f", FILE).unwrap();
        let selector = config.pools[0].selector().unwrap();
        for key in ["k1", "k2", "k3", "k4", "k5"] {
            let value = run_json(&[key]);
            let owner = &config.pools[0].servers[selector.select(key.as_bytes())];
            assert_eq!(value[0]["pools"][0]["owner"]["name"], owner.name);
            assert_eq!(
                value[0]["pools"][0]["owner"]["addr"],
                owner.addr.to_string()
            );
            assert_eq!(
                value[0]["pools"][0]["successors"].as_array().unwrap().len(),
                2
            );
            let (_, text) = run(None, false, &[key]);
            let line = format!("owner         \"{}\"", owner.name);
            assert!(
                text.contains(&line) && text.contains(&format!("address       {}", owner.addr)),
                "{text}"
            );
        }
    }

    #[test]
    fn copies_are_shown_only_where_the_key_has_any() {
        for (last, want) in [(u32::MAX, 2), (0, 1)] {
            let text = format!(
                "route = {{ type = \"shadow\", children = [\"a\", \"b\"], last_hash = {last} }}\n[pools.a]\nservers = [\"a:1\"]\n[pools.b]\nservers = [\"b:1\"]"
            );
            let (config, _) = config::parse("f", &text).unwrap();
            let reached = reach(&config, b"k");
            assert_eq!(reached.len(), want);
            assert_eq!(reached[0].path, ["shadow 1 of 2"]);
        }
    }

    #[test]
    fn where_a_key_goes_while_its_server_is_down() {
        let value = run_json(&["k"]);
        let pool = &value[0]["pools"][0];
        assert_eq!(pool["if_down"], pool["successors"], "two are tried");
        let names: Vec<&str> = pool["if_down"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_str().unwrap())
            .collect();
        let (_, text) = run(None, false, &["k"]);
        let line = format!("if it is down {}, then {}\n", names[0], names[1]);
        assert!(text.contains(&line), "{text}");
        let (_, text) = run(Some("b"), false, &["k"]);
        assert!(!text.contains("if it is down"), "{text}");
    }

    #[test]
    fn the_route_is_followed_in_the_order_of_tries() {
        let paths = |key: &str| -> Vec<(String, String)> {
            let value = run_json(&[key]);
            let pools = value[0]["pools"].as_array().unwrap();
            let path = |pool: &Value| {
                pool["path"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| s.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join("; ")
            };
            pools
                .iter()
                .map(|pool| (pool["pool"].as_str().unwrap().to_owned(), path(pool)))
                .collect()
        };
        let pair = |pool: &str, path: &str| (pool.to_owned(), path.to_owned());
        assert_eq!(paths("k"), [pair("a", "no prefix fits")]);
        assert_eq!(paths("u:1"), [pair("b", "prefix \"u:\"")]);
        let longest = [
            pair("a", "prefix \"u:x:\"; first choice"),
            pair("b", "prefix \"u:x:\"; failover on timeout"),
        ];
        assert_eq!(paths("u:x:1"), longest);
        assert_eq!(
            paths("w:1"),
            [
                pair("a", "prefix \"w:\"; cold"),
                pair("b", "prefix \"w:\"; warm, if a get misses")
            ]
        );
        let levels = ["l1", "l2"].map(|level| format!("prefix \"l:\"; two-level {level}"));
        assert_eq!(paths("l:1"), [pair("a", &levels[0]), pair("b", &levels[1])]);
        let until = "prefix \"m:\"; migrate from, until 1001 seconds after 1970";
        let to = "prefix \"m:\"; migrate to";
        assert_eq!(paths("m:1"), [pair("a", until), pair("b", to)]);
        assert_eq!((paths("s:1").len(), paths("s:2").len()), (2, 1));
        assert_eq!(
            paths("v:1"),
            [pair("b", "prefix \"v:\"; values over 1000KiB in parts")]
        );
    }

    #[test]
    fn what_no_server_is_asked_is_told() {
        let value = run_json(&["n:1"]);
        let pools = value[0]["pools"].as_array().unwrap();
        assert_eq!(
            (&pools[0]["pool"], &pools[0]["path"][1]),
            (&json!("b"), &json!("get"))
        );
        assert_eq!(pools[1]["pool"], Value::Null);
        assert_eq!(
            pools[1]["path"],
            json!([
                "prefix \"n:\"",
                "any other command",
                "nothing: answered with SERVER_ERROR no"
            ])
        );
        let (_, text) = run(None, false, &["n:1"]);
        assert!(text.contains("no server  (prefix \"n:\"; "), "{text}");
    }

    #[test]
    fn a_gutter_is_where_a_key_goes_last() {
        let text =
            "[pools.a]\nservers = [\"h0:1\"]\ngutter = \"b\"\n[pools.b]\nservers = [\"h1:1\"]";
        let (config, warnings) = config::parse("f", text).unwrap();
        assert_eq!(warnings, [], "and the other pool is where all keys go");
        let reached = reach(&config, b"k");
        let names: Vec<&str> = reached
            .iter()
            .map(|one| one.pool.unwrap().name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(reached[1].path, ["while a server of a is down"]);
    }

    #[test]
    fn a_pool_can_be_asked_by_itself() {
        let (result, text) = run(Some("b"), false, &["k", "l"]);
        result.unwrap();
        assert!(
            text.contains("key \"k\"") && text.contains("key \"l\"") && text.contains("pool b\n"),
            "{text}"
        );
        assert!(!text.contains("pool a"), "{text}");
        let failure = run(Some("c"), false, &["k"]).0.unwrap_err();
        assert_eq!(
            (failure.code(), failure.to_string().as_str()),
            (2, "there is no pool \"c\"; the pools are: a, b")
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (key, part) in [
            ("", "is empty"),
            ("a b", "a blank"),
            ("a\u{7}", "control"),
            (&"x".repeat(251), "251 bytes"),
        ] {
            let failure = run(None, false, &[key]).0.unwrap_err();
            assert!(
                failure.code() == 2 && failure.to_string().contains(part),
                "{failure}"
            );
        }
    }
}
