//! `ringroad check`: is the file right, and what does it mean?
//!
//! The explanation is for people: what is listened on, where a key goes, how each pool spreads its keys and what
//! happens when a server fails, in words rather than in keys. Everything in it is computed from the checked
//! [`Config`], the shares of the servers by the placement itself.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::{CheckArgs, Failure, write_warnings};
use crate::config::{
    self, Config, Discover, Errors, FailOpen, Gutter, Listen, LoadError, Pool, Route, Warning,
    show_duration, show_size,
};

/// Checks a file and writes what it means; warnings go to `err`, errors are returned.
///
/// # Errors
/// The file can't be read or used, or the output not written.
pub fn check(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let (config, warnings) = if args.file == Path::new("-") {
        stdin()?
    } else {
        config::load(&args.file)?
    };
    write_warnings(err, &warnings)?;
    super::read_variables(&config, err)?;
    let text = if args.toml {
        config.to_toml()
    } else {
        let file = if args.file == Path::new("-") {
            "standard input".to_owned()
        } else {
            args.file.display().to_string()
        };
        format!("{file} is right. It means:\n{}", describe(&config))
    };
    out.write_all(text.as_bytes())?;
    Ok(())
}

pub(super) fn stdin() -> Result<(Config, Vec<Warning>), LoadError> {
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .take(config::MAX_FILE + 1)
        .read_to_end(&mut bytes);
    match read {
        Ok(_) => Ok(config::parse_any("standard input", &bytes)?),
        Err(error) => Err(LoadError::Read {
            file: "standard input".to_owned(),
            error,
        }),
    }
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Self {
        Self::Config(LoadError::Invalid(errors))
    }
}

/// The whole configuration in words.
#[must_use]
pub fn describe(config: &Config) -> String {
    let mut text = String::new();
    text.push_str("\nClients connect to\n");
    for listen in &config.listen {
        let _ = writeln!(text, "  {}", listener(listen));
    }
    text.push_str("\nRoute\n");
    route(&mut text, config, &config.route, "every key", 1);
    for one in &config.pools {
        pool(&mut text, config, one);
    }
    rest(&mut text, config);
    text
}

fn listener(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(addr) if addr.ip().is_unspecified() && addr.is_ipv6() => {
            format!("{addr}  (every address of this machine, IPv4 and IPv6)")
        }
        Listen::Tcp(addr) if addr.port() == 0 => format!("{addr}  (any free port)"),
        Listen::Tcp(addr) => addr.to_string(),
        Listen::Inherited(_) => format!("{listen}  (a socket that it was started with)"),
        Listen::Shared(addr) => format!("{addr}  (shared with other processes: reuse_port)"),
        Listen::Unix { mode, .. } => format!("{listen}  (mode 0{mode:03o})"),
    }
}

/// One line for each node, its children indented below it.
fn route(text: &mut String, config: &Config, node: &Route, what: &str, depth: usize) {
    let pad = "  ".repeat(depth);
    match node {
        Route::Pool(index) => {
            let name = config.pools.get(*index).map_or("?", |pool| &pool.name);
            let _ = writeln!(text, "{pad}{what} -> pool {name}");
        }
        Route::Prefix { prefixes, default } => {
            let _ = writeln!(
                text,
                "{pad}{what} -> by the beginning of the key, the longest that fits"
            );
            for (prefix, child) in prefixes {
                route(
                    text,
                    config,
                    child,
                    &format!("\"{}\"", prefix.escape_ascii()),
                    depth + 1,
                );
            }
            route(text, config, default, "any other", depth + 1);
        }
        Route::Failover { children, on } => {
            let on: Vec<&str> = on.iter().map(|reason| reason.name()).collect();
            let _ = writeln!(
                text,
                "{pad}{what} -> the first that does not fail ({})",
                on.join(", ")
            );
            for (position, child) in (1..).zip(children) {
                route(text, config, child, &format!("{position}."), depth + 1);
            }
        }
        Route::Choose(choose) => {
            let _ = writeln!(text, "{pad}{what} -> {choose}");
            for (what, child) in choose.labelled() {
                route(text, config, child, &what, depth + 1);
            }
        }
        Route::Keys(keys) => {
            let _ = writeln!(text, "{pad}{what} -> {keys}");
            for (what, child) in keys.labelled() {
                route(text, config, child, &what, depth + 1);
            }
        }
        Route::WarmUp {
            cold,
            warm,
            exptime,
        } => {
            let lives = match exptime {
                None => "for the time it has left".to_owned(),
                Some(0) => "for ever".to_owned(),
                Some(seconds) => format!(
                    "for {}",
                    show_duration(std::time::Duration::from_secs(u64::from(*seconds)))
                ),
            };
            let _ = writeln!(
                text,
                "{pad}{what} -> a cold cache that fills itself from a warm one"
            );
            route(text, config, cold, "cold", depth + 1);
            route(
                text,
                config,
                warm,
                &format!("warm, for gets that miss; copied to cold {lives}"),
                depth + 1,
            );
        }
        Route::BigValue {
            child,
            split_threshold,
            batch_size,
            hide_reply_flag,
        } => {
            let size = show_size(*split_threshold as u64);
            let flag = if *hide_reply_flag {
                "its flag hidden"
            } else {
                "its flag shown"
            };
            let batch = match batch_size {
                0 => "all at once".to_owned(),
                size => format!("{size} at a time"),
            };
            let _ = writeln!(
                text,
                "{pad}{what} -> values over {size} in parts of that size, {batch}, {flag}"
            );
            route(text, config, child, "all of it", depth + 1);
        }
        Route::Many { rule, children } => {
            let _ = writeln!(text, "{pad}{what} -> {}", rule.describe());
            let names = rule.children();
            for (index, child) in children.iter().enumerate() {
                let what = match names.get(index) {
                    Some(name) => (*name).to_owned(),
                    None => format!("{}.", index + 1),
                };
                route(text, config, child, &what, depth + 1);
            }
        }
    }
}

fn pool(text: &mut String, config: &Config, pool: &Pool) {
    let placement = &pool.placement;
    let distribution = placement.distribution;
    let count = match pool.discover {
        Some(_) => "servers that are found".to_owned(),
        None => plural(pool.servers.len(), "server"),
    };
    let _ = writeln!(
        text,
        "\nPool {}: {count}, distribution {distribution}",
        pool.name
    );
    let _ = writeln!(text, "  {}", distribution.describe());
    if let Some((open, close)) = placement.tag {
        let (open, close) = (char::from(open), char::from(close));
        let _ = writeln!(
            text,
            "  only what stands between {open} and {close} in a key is hashed"
        );
    }
    if placement.stop {
        text.push_str("  only what stands before the first |#| in a key is hashed\n");
    }
    if distribution.is_positional() && pool.servers.len() > 1 {
        text.push_str(
            "  the order of the servers matters: the same list in another order moves keys\n",
        );
    }
    if let Some(variable) = &placement.weights_variable {
        let _ = writeln!(
            text,
            "  the weights are those of the variable {variable} while runtime_vars_file has them; the shares are those of now"
        );
    }
    match &pool.discover {
        Some(discover) => found(text, pool, discover),
        None => servers(text, pool),
    }
    if let Some(on_failure) = pool.on_failure {
        let _ = writeln!(text, "  {}", on_failure.describe());
    }
    if let Some(Gutter { pool, exptime }) = pool.gutter {
        let name = config.pools.get(pool).map_or("", |pool| &pool.name);
        let exptime = show_duration(Duration::from_secs(exptime.into()));
        let _ = writeln!(
            text,
            "  requests of servers that are down go to the pool {name}, where nothing lives longer than {exptime}"
        );
    }
    if let Some(window) = pool.warm_scaling {
        let window = show_duration(window);
        let _ = writeln!(
            text,
            "  when servers join or leave, keys are handed over for {window} (warm_scaling)"
        );
    }
    if let Some(on_return) = pool.on_return {
        let _ = writeln!(text, "  {}", on_return.describe());
    }
    if pool.spool.is_some() {
        text.push_str(
            "  deletions that fail are written down, and done when the server is back (spool)\n",
        );
    }
    let each = plural(pool.connections, "connection");
    let coalesce = if pool.coalesce {
        "gets are"
    } else {
        "gets are not"
    };
    let prefix = match pool.keep_routing_prefix {
        true => "\n  the servers see keys with their routing prefixes",
        false => "",
    };
    let out = if pool.tko.enabled {
        format!(
            "a server is out after {} in a row or when it can't be connected to,\n  and tried again after {} to {}\n  \
             it is back after {} in a row; one that comes and goes must answer for {} and more",
            plural(pool.tko.after as usize, "timeout"),
            show_duration(pool.tko.probe_min),
            show_duration(pool.tko.probe_max),
            plural(pool.tko.recover as usize, "answered probe"),
            show_duration(pool.tko.hold_down),
        )
    } else {
        "no server is ever out: each request for a dead one waits for its timeout".to_owned()
    };
    let open = match pool.tko.fail_open {
        Some(FailOpen { at, until }) => format!(
            "\n  with {at} of them out no further ones are taken out, until no more than {until} are"
        ),
        None => String::new(),
    };
    let under_way = match pool.queue.in_flight {
        0 => String::new(),
        most => format!(", of which at most {most} are under way at a time"),
    };
    let idle = match pool.idle_close {
        Duration::ZERO => "connections stay open".to_owned(),
        time => format!(
            "a connection that nobody uses is closed after {} to {}",
            show_duration(time),
            show_duration(time * 2)
        ),
    };
    let _ = writeln!(
        text,
        "  {each} of each worker to each server; {coalesce} coalesced{prefix}\n  {idle}\n  \
         a request may take {}, connecting {}\n  \
         {out}{open}\n  \
         up to {} or {} wait for one connection{under_way}",
        show_duration(pool.timeout),
        show_duration(pool.connect_timeout),
        plural(pool.queue.requests, "request"),
        show_size(pool.queue.bytes as u64),
    );
}

/// Where the servers are found; who they are, `ringroad members` tells.
fn found(text: &mut String, pool: &Pool, discover: &Discover) {
    for source in &discover.sources {
        let _ = writeln!(text, "  servers: {source}");
    }
    let held = &discover.membership;
    let _ = writeln!(
        text,
        "  one that is no longer found keeps its place for {}; the highest ordinals for {},\n  \
         those known by address alone for {}; more than {:.0} % at once leave only after {}",
        show_duration(held.hold),
        show_duration(held.hold_top),
        show_duration(held.hold_ip),
        held.max_loss * 100.0,
        show_duration(held.confirm),
    );
    if pool.placement.distribution.is_positional() {
        let _ = writeln!(
            text,
            "  {} counts the servers: one that leaves or joins among them moves most keys",
            pool.placement.distribution
        );
    }
}

/// A table of the servers, with a column only for what differs.
fn servers(text: &mut String, pool: &Pool) {
    let shares = pool
        .selector()
        .map(|selector| selector.shares())
        .unwrap_or_default();
    let named = pool
        .servers
        .iter()
        .any(|server| server.name != server.addr.to_string());
    let weighted = pool.servers.iter().any(|server| server.weight.is_some());
    let default_weight = pool.placement.distribution.weights().default_weight();
    let mut rows = vec![(
        "server".to_owned(),
        "address".to_owned(),
        "weight".to_owned(),
        "keys".to_owned(),
    )];
    for (index, server) in pool.servers.iter().enumerate() {
        let share = shares
            .get(index)
            .map_or(String::new(), |share| format!("{:.1} %", share * 100.0));
        let weight = server.weight.unwrap_or(default_weight).to_string();
        rows.push((server.name.clone(), server.addr.to_string(), weight, share));
    }
    let width = |column: fn(&(String, String, String, String)) -> &String| {
        rows.iter()
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (name_width, addr_width) = (width(|row| &row.0), width(|row| &row.1));
    for (name, addr, weight, share) in &rows {
        let mut line = format!("    {name:<name_width$}");
        if named {
            let _ = write!(line, "  {addr:<addr_width$}");
        }
        if weighted {
            let _ = write!(line, "  {weight:>6}");
        }
        let _ = writeln!(text, "{line}  {share:>7}");
    }
}

fn rest(text: &mut String, config: &Config) {
    let limits = &config.limits;
    let size = |bytes: usize| show_size(bytes as u64);
    let turns = match limits.worker_requests {
        0 => String::new(),
        most => format!(", {} under way", plural(most, "request")),
    };
    let _ = writeln!(
        text,
        "\nLimits\n  \
         a value: {}; the line of a get: {}\n  \
         a client: {} outstanding, {} of replies waiting\n  \
         a worker: {} of buffers{turns}; the process: {}",
        size(limits.max_value),
        size(limits.max_get_line),
        plural(limits.client_requests, "request"),
        size(limits.client_bytes),
        size(limits.worker_bytes),
        plural(limits.max_connections, "client connection"),
    );
    text.push_str("\nOther\n");
    let workers = config
        .workers
        .map_or("as many workers as the cores call for".to_owned(), |n| {
            plural(n, "worker")
        });
    let _ = writeln!(text, "  {workers}");
    let failed = if config.miss_on_get_errors {
        "a miss"
    } else {
        "an error"
    };
    let _ = writeln!(text, "  a get that failed is answered as {failed}");
    let flush = if config.flush_all {
        "goes to every server of every pool"
    } else {
        "is refused"
    };
    let _ = writeln!(text, "  flush_all {flush}");
    let _ = writeln!(
        text,
        "  SIGTERM leaves requests in flight {}",
        show_duration(config.drain)
    );
    let _ = writeln!(
        text,
        "  log: {}, format {}",
        config.log.level, config.log.format
    );
    match &config.admin {
        Some(admin) => {
            for listen in &admin.listen {
                let form = match listen {
                    Listen::Unix { .. } | Listen::Inherited(_) => "",
                    Listen::Tcp(_) | Listen::Shared(_) => "http://",
                };
                let _ = writeln!(text, "  admin port: {form}{listen}");
            }
        }
        None => text.push_str("  no admin port\n"),
    }
}

fn plural(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, toml: bool) -> (Result<(), Failure>, String, String) {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("f.toml");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let result = check(&CheckArgs { file, toml }, &mut out, &mut err);
        (
            result,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn a_good_file_is_explained() {
        let text = "listen = [\":5000\", \"unix:/run/r.sock\"]
            [route]
            type = \"prefix\"
            default = \"a\"
            [route.prefixes]
            \"u:\" = { type = \"failover\", children = [\"a\", \"b\"], on = [\"timeout\"] }
            \"w:\" = { type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"1h\" }
            \"v:\" = { type = \"big-value\", child = \"b\", split_threshold = \"512KiB\" }
            [pools.a]
            servers = [\"10.0.0.1:1\", { name = \"two\", addr = \"10.0.0.2:1\", weight = 3 }]
            hash_tag = \"{}\"
            [pools.b]
            servers = [\"10.0.0.3:1\"]
            distribution = \"jump\"
            coalesce = false";
        let (result, out, err) = run(text, false);
        result.unwrap();
        assert_eq!(err, "");
        for part in [
            "f.toml is right",
            "[::]:5000  (every address",
            "unix:/run/r.sock  (mode 0700)",
            "  every key -> by the beginning of the key",
            "    \"u:\" -> the first that does not fail (timeout)\n      1. -> pool a\n      2. -> pool b\n",
            "      warm, for gets that miss; copied to cold for 1h -> pool b\n",
            "    \"v:\" -> values over 512KiB in parts of that size, 10 at a time, its flag shown\n      all of it -> pool b\n",
            "    any other -> pool a\n",
            "Pool a: 2 servers, distribution ring",
            "between { and }",
            "    two         10.0.0.2:1       3   ",
            "Pool b: 1 server, distribution jump",
            "100.0 %",
            "gets are not coalesced",
            "no admin port",
        ] {
            assert!(out.contains(part), "{part}\n{out}");
        }
        // Weights 1 and 3.
        let share = out
            .lines()
            .find(|line| line.contains("two "))
            .unwrap()
            .split_whitespace()
            .nth(3)
            .unwrap();
        assert!(
            (70.0..80.0).contains(&share.parse::<f64>().unwrap()),
            "{out}"
        );
    }

    #[test]
    fn the_long_form_is_a_file_that_means_the_same() {
        let minimal = "[pools.cache]\nservers = [\"127.0.0.1:11211\"]";
        let (result, out, _) = run(minimal, true);
        result.unwrap();
        assert_eq!(
            config::parse("a", &out).unwrap().0,
            config::parse("b", minimal).unwrap().0
        );
        assert!(out.contains("max_get_line = \"4MiB\""), "{out}");
    }

    #[test]
    fn warnings_are_written_and_errors_returned() {
        let (result, out, err) = run(
            "[pools.a]\nservers = [\"h:1\", { name = \"b\", addr = \"H:1\" }]",
            false,
        );
        result.unwrap();
        assert!(
            out.contains("is right") && err.contains("f.toml:2:19"),
            "{out}{err}"
        );
        let (result, out, _) = run("[pools.a]\nserver = [\"h:1\"]", false);
        let failure = result.unwrap_err();
        assert_eq!((failure.code(), out.as_str()), (1, ""));
        assert!(failure.to_string().contains("f.toml:2:1"), "{failure}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let args = CheckArgs {
            file: "/nonexistent/f.toml".into(),
            toml: false,
        };
        let failure = check(&args, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(
            failure
                .to_string()
                .contains("can't read /nonexistent/f.toml: "),
            "{failure}"
        );
    }
}
