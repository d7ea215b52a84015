//! The example files in `config/` and the reference page: that they are right and complete.

use super::super::*;
use crate::hash::{Distribution, HashFunction, WeightRule};
use std::path::Path;

const REFERENCE: &str = include_str!("../../docs/config.md");
const COMPLETE: &str = include_str!("../../../config/ringroad.toml");

/// Name and text of every file in `config/`.
pub(super) fn all() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

fn good(name: &str, text: &str) -> Config {
    let (config, warnings) = parse(name, text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, [], "{name}");
    config
}

#[test]
fn every_example_is_right() {
    let files = all();
    assert!(files.len() >= 5, "{files:?}");
    for (name, text) in &files {
        good(name, text);
    }
}

/// The complete example says what the code does without it.
#[test]
fn the_complete_example_has_the_defaults() {
    let minimal = all()
        .into_iter()
        .find(|(name, _)| name.ends_with("minimal.toml"))
        .unwrap()
        .1;
    let mut complete = good("complete", COMPLETE);
    assert_eq!(
        complete.pools[0].placement.points,
        Some(crate::hash::DEFAULT_POINTS)
    );
    complete.pools[0].placement.points = None;
    assert_eq!(complete, good("minimal", &minimal));
}

/// What is commented out in the complete example (`#key` without a blank) is right too.
#[test]
fn the_complete_example_is_right_with_everything_in_it() {
    let everything: String = COMPLETE
        .lines()
        .map(|line| {
            let code = line
                .trim_start()
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
            code.unwrap_or(line)
        })
        // Takes the place of `points` and others, which go only with the distribution "ring".
        .map(|line| {
            if line.starts_with("distribution") {
                "distribution = \"ketama_twemproxy\""
            } else {
                line
            }
        })
        .filter(|line| {
            let others = ["points", "salt", "weights_variable"];
            !others.iter().any(|key| line.starts_with(key)) && *line != "\":5000\","
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = good("everything", &everything);
    assert_eq!((config.listen.len(), config.pools[0].servers.len()), (4, 6));
    assert!(config.admin.is_some() && config.pools[0].placement.tag.is_some());
}

/// No key without an example, and none with another default than the reference page gives.
#[test]
fn the_examples_show_every_key() {
    let texts: String = all().into_iter().map(|(_, text)| text).collect();
    for section in schema::SECTIONS {
        for key in section.keys {
            let shown = texts.contains(&format!("{} = ", key.name))
                || [
                    "tko",
                    "queue",
                    "limits",
                    "log",
                    "admin",
                    "pools",
                    "prefixes",
                    "routes",
                    "dns",
                    "membership",
                ]
                .contains(&key.name);
            assert!(shown, "`{}` {}", key.name, section.within);
            if key.default.starts_with('"') || key.default.bytes().all(|b| b.is_ascii_digit()) {
                let line = format!("{} = {}", key.name, key.default);
                let in_table = section.heading.starts_with("an entry") || texts.contains(&line);
                assert!(
                    COMPLETE.contains(&line) || key.default == "\"\"" || in_table,
                    "{line}"
                );
            }
        }
    }
}

/// A row of the table of distributions.
fn distribution(one: &Distribution) -> String {
    let weights = match one.weights() {
        WeightRule::None => "none",
        WeightRule::Whole => "whole numbers",
        WeightRule::Scale => "any",
        WeightRule::Keep => "0 to 1",
    };
    let hash = one.default_hash().map(|hash| format!("`hash` (`{hash}`)"));
    let salt = one.takes_salt().then(|| "`salt`".to_owned());
    let points = one.takes_points().then(|| "`points`".to_owned());
    let live = one.takes_variable();
    let live = live.then(|| "`weights_variable`".to_owned());
    let takes: Vec<String> = [hash, salt, points, live].into_iter().flatten().collect();
    let order = if one.is_positional() { "matters" } else { "" };
    let (what, takes) = (one.describe(), takes.join(", "));
    format!("| `{one}` | {what} | {weights} | {takes} | {order} |\n")
}

/// The tables of the reference page are what the code prints; paste from the message if they differ.
#[test]
fn the_reference_has_every_key() {
    for section in schema::SECTIONS {
        let table = schema::markdown(section);
        assert!(
            REFERENCE.contains(&table),
            "the table of what stands {} should be\n\n{table}",
            section.within
        );
        let heading = section.heading;
        // In backquotes, lest rustdoc takes the brackets for a link.
        let heading = if heading.starts_with('[') {
            format!("## `{heading}`\n")
        } else {
            format!("## {heading}\n")
        };
        assert!(REFERENCE.contains(&heading), "{heading}");
    }
    let names: String = Distribution::ALL.iter().map(distribution).collect();
    assert!(
        REFERENCE.contains(&names),
        "the distributions should be\n\n{names}"
    );
    let hashes: Vec<String> = HashFunction::ALL
        .iter()
        .map(|one| format!("`{one}`"))
        .collect();
    assert!(
        REFERENCE.contains(&hashes.join(", ")),
        "{}",
        hashes.join(", ")
    );
    for reason in FailoverOn::ALL {
        assert!(
            schema::ROUTE_FAILOVER
                .key("on")
                .unwrap()
                .meaning
                .contains(&format!("`{reason}`")),
            "{reason}"
        );
    }
}

/// Every example in the reference page is a file that works, or a part of one.
#[test]
fn the_examples_of_the_reference_are_right() {
    let blocks: Vec<&str> = REFERENCE
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 4);
    for block in blocks {
        good("docs/config.md", block);
    }
}
