//! `ringroad plan`: which keys would move if servers came or went, before they do.
//!
//! Computed by placing many keys with and without the change, so that it holds for every distribution.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use super::{Failure, PlanArgs, open_config};
use crate::config::{Config, Pool, Server, ServerAddr};
use crate::hash::Selector;

/// Keys that are placed. The shares are right to within a few tenths of a percent.
const KEYS: u32 = 200_000;

/// What moves.
#[derive(Debug, PartialEq)]
struct Plan {
    /// From whom, to whom, and the share of all keys; the largest first.
    moves: Vec<(String, String, f64)>,
    /// The share that moves in all.
    moved: f64,
    /// The least that any placement has to move: what those who leave had, and what those who join get.
    least: f64,
}

/// Tells which share of the keys would move from where to where; text or JSON on `out`.
///
/// # Errors
/// The file can't be read or used, there is no such pool or member, the name to add is there already, or nobody is left.
pub fn plan(args: &PlanArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let (_, config) = open_config(args.config.as_deref(), err)?;
    if args.add.is_empty() && args.remove.is_empty() {
        return Err(Failure::Usage(
            "nothing to plan: say what would change with --add NAME or --remove NAME".to_owned(),
        ));
    }
    let (config, _) = super::members::known(config, err)?;
    super::read_variables(&config, err)?;
    let before = choose(&config, args.pool.as_deref())?;
    if before.servers.is_empty() {
        return Err(Failure::Runtime(format!(
            "no servers have been found for the pool {}",
            before.name
        )));
    }
    let after = change(before, &args.add, &args.remove)?;
    let selector = |pool: &Pool| {
        pool.selector()
            .map_err(|error| Failure::Usage(format!("with this change: {error}")))
    };
    let plan = compare(before, &selector(before)?, &after, &selector(&after)?);
    if args.json {
        let moves: Vec<_> = plan
            .moves
            .iter()
            .map(|(from, to, share)| json!({ "from": from, "to": to, "share": share }))
            .collect();
        writeln!(
            out,
            "{:#}",
            json!({ "pool": before.name, "moved": plan.moved, "least": plan.least, "moves": moves })
        )?;
    } else {
        out.write_all(in_words(before, &after, &plan).as_bytes())?;
    }
    Ok(())
}

fn choose<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Pool, Failure> {
    match (name, config.pools.as_slice()) {
        (Some(name), _) => super::explain::find_pool(config, name),
        (None, [pool]) => Ok(pool),
        (None, pools) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            Err(Failure::Usage(format!(
                "there are several pools, choose one with --pool: {}",
                names.join(", ")
            )))
        }
    }
}

fn change(pool: &Pool, add: &[String], remove: &[String]) -> Result<Pool, Failure> {
    let mut after = pool.clone();
    for name in remove {
        let before = after.servers.len();
        after.servers.retain(|server| server.name != *name);
        if after.servers.len() == before {
            let names: Vec<&str> = after.servers.iter().map(|s| s.name.as_str()).collect();
            return Err(Failure::Usage(format!(
                "the pool {} has no member \"{name}\"; its members are: {}",
                pool.name,
                names.join(", ")
            )));
        }
    }
    for name in add {
        if after.servers.iter().any(|server| server.name == *name) {
            return Err(Failure::Usage(format!(
                "\"{name}\" is a member of the pool {} already",
                pool.name
            )));
        }
        after.servers.push(Server {
            name: name.clone(),
            addr: ServerAddr::Found(Vec::new()),
            weight: None,
        });
    }
    if after.servers.is_empty() {
        return Err(Failure::Usage("nobody would be left".to_owned()));
    }
    if pool.discover.is_some() {
        after
            .servers
            .sort_by(|a, b| crate::discovery::names::natural_order(&a.name, &b.name));
    }
    Ok(after)
}

fn compare(before: &Pool, old: &Selector, after: &Pool, new: &Selector) -> Plan {
    let mut moves: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    let place: Vec<Option<usize>> = before
        .servers
        .iter()
        .map(|one| {
            after
                .servers
                .iter()
                .position(|other| other.name == one.name)
        })
        .collect();
    let (mut left, mut joined) = (0u32, 0u32);
    for number in 0..KEYS {
        let key = format!("key:{number}");
        let (from, to) = (old.select(key.as_bytes()), new.select(key.as_bytes()));
        let stays = place.get(from).copied().flatten();
        if stays != Some(to) {
            *moves.entry((from, to)).or_default() += 1;
        }
        let is_new = !place.contains(&Some(to));
        left += u32::from(stays.is_none());
        joined += u32::from(is_new && stays.is_some());
    }
    let share = |count: u32| f64::from(count) / f64::from(KEYS);
    let name = |pool: &Pool, index: usize| {
        pool.servers
            .get(index)
            .map_or(String::new(), |server| server.name.clone())
    };
    let moved = share(moves.values().sum());
    let mut moves: Vec<(String, String, f64)> = moves
        .into_iter()
        .map(|((from, to), count)| (name(before, from), name(after, to), share(count)))
        .collect();
    moves.sort_by(|a, b| b.2.total_cmp(&a.2));
    Plan {
        moves,
        moved,
        least: share(left + joined),
    }
}

fn in_words(before: &Pool, after: &Pool, plan: &Plan) -> String {
    let mut text = format!(
        "pool {}: {} -> {} servers, {:.1} % of the keys would move\n",
        before.name,
        before.servers.len(),
        after.servers.len(),
        plan.moved * 100.0
    );
    if plan.moved > plan.least * 1.05 + 0.005 {
        let _ = writeln!(
            text,
            "  {:.1} % of them only change places among servers that stay, because of the distribution {}",
            (plan.moved - plan.least) * 100.0,
            before.placement.distribution
        );
    }
    let width = |side: fn(&(String, String, f64)) -> &String| {
        let names = plan.moves.iter().map(side);
        names.map(|name| name.chars().count()).max().unwrap_or(0)
    };
    let (from_width, to_width) = (width(|one| &one.0), width(|one| &one.1));
    for (from, to, share) in &plan.moves {
        let _ = writeln!(
            text,
            "  {from:<from_width$} -> {to:<to_width$}  {:5.1} %",
            share * 100.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn run(file: &str, add: &[&str], remove: &[&str], json: bool) -> Result<String, Failure> {
        let dir = tempfile::TempDir::new().unwrap();
        let config: PathBuf = dir.path().join("f.toml");
        std::fs::write(&config, file).unwrap();
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let args = PlanArgs {
            config: Some(config),
            pool: None,
            add: owned(add),
            remove: owned(remove),
            json,
        };
        let mut out = Vec::new();
        plan(&args, &mut out, &mut Vec::new())?;
        Ok(String::from_utf8(out).unwrap())
    }

    const RING: &str = "[pools.a]\nservers = [\"c-0:1\", \"c-1:1\", \"c-2:1\"]\n";

    #[test]
    fn a_ring_moves_what_it_must_and_no_more() {
        let text = run(RING, &["c-3:1"], &[], true).unwrap();
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
        let moved = plan["moved"].as_f64().unwrap();
        // A quarter, give or take the unevenness of 160 points.
        assert!((0.20..0.30).contains(&moved), "{text}");
        assert_eq!(plan["moved"], plan["least"]);
        let moves = plan["moves"].as_array().unwrap();
        assert_eq!(moves.len(), 3);
        assert!(moves.iter().all(|one| one["to"] == "c-3:1"));
        let text = run(RING, &[], &["c-1:1"], false).unwrap();
        assert!(text.starts_with("pool a: 3 -> 2 servers, "), "{text}");
        assert!(!text.contains("change places"), "{text}");
    }

    #[test]
    fn a_distribution_that_counts_servers_is_shown_for_what_it_does() {
        let file = format!("{RING}distribution = \"modula\"\n");
        let text = run(&file, &[], &["c-0:1"], false).unwrap();
        assert!(
            text.contains("change places among servers that stay"),
            "{text}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (add, remove, part) in [
            (&[][..], &[][..], "--add NAME"),
            (&["c-0:1"], &[], "already"),
            (&[], &["c-9:1"], "its members are: c-0:1, c-1:1, c-2:1"),
            (&[], &["c-0:1", "c-1:1", "c-2:1"], "nobody would be left"),
        ] {
            let failure = run(RING, add, remove, false).unwrap_err();
            assert!(
                failure.code() == 2 && failure.to_string().contains(part),
                "{failure}"
            );
        }
    }
}
