//! Questions and their answers: what follows `__mcrouter__.` in the key of a get.
//!
//! A question is a name, or a name and arguments in brackets. Every question has an answer: what makes no sense is
//! answered with `ERROR: ` and the reason, in mcrouter's words. The commands that 0.36 does not have are unknown where
//! ringroad is to be like it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::View;
use super::instance::Instance;
use super::json::pretty;
use super::walk::{self, Walk};
use crate::config::{Compat, mcrouter};
use crate::protocol::operation::Operation;

/// A command, which mcrouters have it, and what it does.
type Command = (&'static str, Since, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    V0_36,
    Later,
}

const COMMANDS: &[Command] = &[
    ("version", Since::V0_36, "the version"),
    (
        "config_age",
        Since::V0_36,
        "seconds since the configuration was read",
    ),
    ("config_file", Since::V0_36, "the file of the configuration"),
    (
        "options",
        Since::V0_36,
        "all options, or the value of one: options(name)",
    ),
    (
        "route",
        Since::V0_36,
        "the servers that a request goes to: route(op,key)",
    ),
    (
        "route_handles",
        Since::V0_36,
        "the handles that a request may come to: route_handles(op,key)",
    ),
    (
        "config_md5_digest",
        Since::V0_36,
        "the MD5 of the configuration",
    ),
    (
        "config_sources_info",
        Since::V0_36,
        "the files of the configuration with their MD5s",
    ),
    (
        "preprocessed_config",
        Since::V0_36,
        "the configuration with its macros expanded",
    ),
    ("hostid", Since::V0_36, "the number of this host"),
    (
        "verbosity",
        Since::V0_36,
        "how much is logged, or change it: verbosity(n)",
    ),
    (
        "pools",
        Since::Later,
        "the pools with the ways to their servers",
    ),
    (
        "get_bucket",
        Since::Later,
        "the bucket of a key in a pool with buckets: get_bucket(key)",
    ),
    (
        "failure_domains",
        Since::Later,
        "the failure domains of a pool's servers: failure_domains(pool)",
    ),
    (
        "global_params",
        Since::Later,
        "the constants that macros have",
    ),
    ("help", Since::Later, "this list"),
];

/// The answer to a question.
#[must_use]
pub fn answer(question: &[u8], instance: &Instance, view: &View<'_>) -> Vec<u8> {
    let text = String::from_utf8_lossy(question);
    let mut text = match ask(question, &text, instance, view) {
        Ok(text) => text,
        Err(why) => format!("ERROR: {why}"),
    };
    if text.ends_with('\n') {
        text.pop();
    }
    text.into_bytes()
}

fn ask(
    question: &[u8],
    text: &str,
    instance: &Instance,
    view: &View<'_>,
) -> Result<String, String> {
    let (name, inside) = match text.split_once('(') {
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(inside) => (name, inside),
            None => (text, ""),
        },
        None => (text, ""),
    };
    let args: Vec<&str> = match inside {
        "" => Vec::new(),
        inside => inside.split(',').collect(),
    };
    let unknown = || Err(format!("unknown command: {name}"));
    let Some((_, since, _)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        return unknown();
    };
    let compat = view.config.compat;
    if *since == Since::Later && compat == Compat::V0_36 {
        return unknown();
    }
    match name {
        "version" => Ok(compat.version().to_owned()),
        "config_age" => {
            let since = instance.attempts().last_success;
            let age = super::instance::unix_seconds().saturating_sub(since);
            Ok(age.to_string())
        }
        "config_file" => match instance.file() {
            Some(path) => Ok(path.display().to_string()),
            None => Err("no config file found!".to_owned()),
        },
        "options" => options(&instance.start.options, &args),
        "route" => {
            let addrs = match operation(name, question, inside)? {
                (Wanted::One(operation), key) => Walk::new(view, operation, key).servers(),
                (Wanted::All, _) => every_server(view),
            };
            Ok(addrs.join("\r\n"))
        }
        "route_handles" => match operation(name, question, inside)? {
            (Wanted::One(operation), key) => Ok(Walk::new(view, operation, key).tree()),
            (Wanted::All, key) => Ok(Walk::new(view, Operation::Set, key).tree()),
        },
        "config_md5_digest" => Ok(instance.digest()),
        "config_sources_info" => Ok(instance.sources()),
        "preprocessed_config" => instance.preprocessed(),
        "hostid" => Ok(mcrouter::host_id().to_string()),
        "verbosity" => verbosity(instance, &args),
        "pools" => Ok(pools(view)),
        "get_bucket" => match args.as_slice() {
            [key] => Ok(Walk::new(view, Operation::Get, key.as_bytes()).buckets()),
            _ => Err("get_bucket: 1 arg expected".to_owned()),
        },
        "failure_domains" => failure_domains(view, &args),
        "global_params" => {
            let constants = instance.start.constants.iter();
            let all: serde_json::Map<String, Value> = constants
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            Ok(pretty(&Value::Object(all)))
        }
        "help" => Ok(COMMANDS
            .iter()
            .map(|(name, _, what)| format!("{name}: {what}\n"))
            .collect()),
        _ => unknown(),
    }
}

/// What a request does, as far as it has to do with routes.
enum Wanted {
    One(Operation),
    /// It goes to every server of every pool.
    All,
}

/// The operation and the key of a route that is asked for.
fn operation<'q>(
    name: &str,
    question: &'q [u8],
    inside: &str,
) -> Result<(Wanted, &'q [u8]), String> {
    let Some((wanted, _)) = inside.split_once(',') else {
        return Err(format!("{name}: 2 args expected"));
    };
    // The key as it came: it need not be UTF-8.
    let comma = memchr::memchr(b',', question).unwrap_or(0);
    let end = question.len().saturating_sub(1);
    let key = question.get(comma + 1..end).unwrap_or_default();
    let known = Operation::ALL.into_iter().find(|one| one.name() == wanted);
    let operation = match (known, wanted) {
        (Some(operation), _) => Wanted::One(operation),
        (None, "flushall" | "flushre") => Wanted::All,
        // mcrouter says so of both.
        (None, unknown) => return Err(format!("route: unknown request {unknown}")),
    };
    Ok((operation, key))
}

fn every_server(view: &View<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for (index, pool) in view.config.pools.iter().enumerate() {
        for (number, server) in pool.servers.iter().enumerate() {
            let addr = server.addr.to_string();
            if !(view.is_down)(index, number) && !all.contains(&addr) {
                all.push(addr);
            }
        }
    }
    all
}

fn options(options: &[(String, String)], args: &[&str]) -> Result<String, String> {
    match args {
        [] => Ok(options
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect()),
        [wanted] => {
            let found = options.iter().find(|(name, _)| name == wanted);
            match found {
                Some((_, value)) => Ok(value.clone()),
                None => Err(format!("options: option {wanted} not found")),
            }
        }
        _ => Err("options: 0 or 1 args expected".to_owned()),
    }
}

fn verbosity(instance: &Instance, args: &[&str]) -> Result<String, String> {
    match args {
        [] => Ok(instance.verbosity().to_string()),
        [number] => {
            let number: i64 = number
                .trim()
                .parse()
                .map_err(|_| format!("verbosity: {number} is no number"))?;
            let before = instance.set_verbosity(number)?;
            Ok(format!("{before} -> {number}"))
        }
        _ => Err(format!("expected at most 1 argument, got {}", args.len())),
    }
}

fn pools(view: &View<'_>) -> String {
    let mut all: BTreeMap<&str, BTreeMap<usize, String>> = BTreeMap::new();
    for pool in &view.config.pools {
        let (name, first) = pool.shown_as();
        let servers = all.entry(name).or_default();
        for server in 0..pool.servers.len() {
            let leaf = || walk::leaf(pool, server, view.config.compat);
            servers.entry(first + server).or_insert_with(leaf);
        }
    }
    let all: serde_json::Map<String, Value> = all
        .into_iter()
        .map(|(name, servers)| (name.to_owned(), servers.into_values().collect()))
        .collect();
    pretty(&Value::Object(all))
}

/// All servers are in none, which is 0.
fn failure_domains(view: &View<'_>, args: &[&str]) -> Result<String, String> {
    let [wanted] = args else {
        return Err("failure_domains: 1 arg expected".to_owned());
    };
    let pool = view.config.pools.iter().find(|pool| pool.name == *wanted);
    let Some(pool) = pool else {
        return Err(format!("failure_domains: pool {wanted} not found"));
    };
    let domains: serde_json::Map<String, Value> = pool
        .servers
        .iter()
        .map(|server| (server.addr.to_string(), json!(0)))
        .collect();
    Ok(pretty(&Value::Object(domains)))
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
