//! The reader as a whole: what configurations mean, which are refused, and that what is printed means the same.

mod fills;
mod golden;
mod pools;
mod refused;
mod routes;

use std::time::Duration;

use super::super::{
    Failover, KeyedFailover, Keys, Latest, Limit, Modify, Pool, Route, Rule, Shadow, Shard, Split,
    Verdict, Verdicts, parse as parse_toml,
};
use super::*;
use crate::hash::Distribution;

const POOLS: &str = r#"
    "pools": {
        "A": {"servers": ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"]},
        "B": {"servers": ["10.0.1.1:11211", "10.0.1.2:11211"], "server_timeout": 250},
        "C": {"servers": ["10.0.2.1:11211"]}
    }"#;

fn with(settings: &Settings, text: &str) -> Result<(Config, Vec<Warning>), Errors> {
    parse_alone(settings, "f.json", text)
}

/// A good configuration; what is printed of it is read as the same.
#[track_caller]
fn good_with(settings: &Settings, text: &str) -> (Config, Vec<Warning>) {
    let (config, warnings) =
        with(settings, text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let written = config.to_toml();
    let (again, _) = parse_toml("f.toml", &written).unwrap_or_else(|errors| {
        panic!("{written}\n{errors}");
    });
    assert_eq!(again, config, "{written}");
    (config, warnings)
}

#[track_caller]
fn good(text: &str) -> Config {
    good_with(&Settings::default(), text).0
}

/// With the pools above.
#[track_caller]
fn route(route: &str) -> (Route, Config) {
    let config = good(&format!("{{{POOLS}, \"route\": {route}}}"));
    (tree(&config).clone(), config)
}

/// The only tree of a configuration, that of keys without a routing prefix.
#[track_caller]
fn tree(config: &Config) -> &Route {
    match &config.route {
        Route::Keys(Keys::Prefixes {
            routes, default, ..
        }) if routes.len() == 1 && routes[0].0.contains(default) => &routes[0].1,
        other => panic!("{other:?}"),
    }
}

/// The error, on one line.
#[track_caller]
fn bad(text: &str) -> String {
    match with(&Settings::default(), text) {
        Ok((config, _)) => panic!("accepted: {text}\n{}", config.to_toml()),
        Err(errors) => errors.brief(),
    }
}

#[track_caller]
fn bad_route(route: &str) -> String {
    bad(&format!("{{{POOLS}, \"route\": {route}}}"))
}

fn names(config: &Config) -> Vec<&str> {
    config.pools.iter().map(|pool| pool.name.as_str()).collect()
}

/// Every file in `config/mcrouter`: that it is right, and what it becomes.
#[test]
fn the_example_files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mcrouter");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let (config, warnings) = good_with(&Settings::default(), &text);
        // Only what is different by design.
        assert!(warnings.len() <= 1, "{}: {warnings:?}", path.display());
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        seen.push((file, names(&config).join(" ")));
    }
    seen.sort();
    let want = [
        ("failover.json", "main spare"),
        ("prefixes.json", "users sessions general"),
        ("single-pool.json", "A"),
        ("warm-up.json", "new old"),
    ];
    assert_eq!(seen, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
}
