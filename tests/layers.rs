//! Which part of the crate may know which: dependencies point one way.
//!
//! Protects: what decides (protocol, placement, routes, replies, membership) stays free of sockets and clocks, so that
//! it can be tested without them, and no module reaches up into one that is built on it.

// Helpers of tests: a failed unwrap is a failed test, and clippy's exemption covers only test functions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

/// Every source file below `src/PATH`, or that file; tests beside the code excepted.
fn files(path: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    let is_test = |path: &PathBuf| path.to_str().unwrap().contains("tests");
    found.retain(|path| !is_test(path));
    assert!(!found.is_empty(), "{path} is gone; correct this list");
    found
}

/// The file's code without its tests and comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn mentions(path: &str, what: &str) -> Vec<String> {
    let files = files(path).into_iter();
    let those = files.filter(|file| code(file).contains(what));
    those.map(|file| file.display().to_string()).collect()
}

#[test]
fn what_decides_knows_no_sockets() {
    for part in [
        "protocol",
        "hash",
        "route",
        "upstream",
        "client",
        "worker/core.rs",
        "worker/dispatch.rs",
        "worker/destinations.rs",
        "worker/hub.rs",
        "worker/ticks.rs",
        "worker/buf.rs",
        "worker/undone.rs",
        "spool/line.rs",
        "spool/names.rs",
        "discovery/membership.rs",
        "discovery/schedule.rs",
        "discovery/pool.rs",
    ] {
        for what in ["tokio", "std::net::Tcp", "Instant::now", "SystemTime"] {
            assert_eq!(
                mentions(part, what),
                [] as [&str; 0],
                "{part} mentions {what}"
            );
        }
    }
}

#[test]
fn nobody_reaches_up() {
    for (part, above) in [
        (
            "protocol",
            &[
                "hash", "route", "upstream", "client", "worker", "config", "app",
            ][..],
        ),
        (
            "hash",
            &[
                "route",
                "upstream",
                "client",
                "worker",
                "config",
                "app",
                "discovery",
            ],
        ),
        (
            "config",
            &[
                "route",
                "upstream",
                "client",
                "worker",
                "app",
                "cli",
                "discovery",
                "admin",
            ],
        ),
        ("route", &["client", "app", "cli", "discovery", "admin"]),
        ("upstream", &["client", "route", "app", "cli", "discovery"]),
        ("client", &["app", "cli", "discovery", "config", "admin"]),
        ("worker", &["app", "cli", "discovery", "admin"]),
        (
            "spool",
            &[
                "app", "cli", "admin", "worker", "client", "route", "upstream",
            ],
        ),
        (
            "discovery",
            &[
                "app", "cli", "admin", "worker", "client", "route", "upstream", "stats",
            ],
        ),
        (
            "admin",
            &[
                "app",
                "cli",
                "worker",
                "client",
                "route",
                "upstream",
                "discovery",
            ],
        ),
    ] {
        for above in above {
            let used = mentions(part, &format!("crate::{above}::"));
            assert_eq!(used, [] as [&str; 0], "{part} uses {above}");
        }
    }
}
