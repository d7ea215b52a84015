//! Servers one by one, as mcrouter lists them.
//!
//! A server is listed once for each pool that has it, summed up over the workers; in which state its connections are is
//! counted by worker. Of the results mcrouter shows here, ringroad counts failures by server.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::instance::Instance;
use crate::config::{Config, Server};
use crate::stats::Destination;
use crate::stats::report::Registry;
use crate::stats::results::Failed;
use crate::stats::servers::Id;
use crate::upstream::tko::Kind;

/// In which state a server's connections in a worker are, as mcrouter counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not been needed.
    New,
    /// There is a connection.
    Up,
    /// It is out of service.
    Down,
    /// There was a connection.
    Closed,
}

/// That of a server in a worker.
pub(super) fn state(figures: &Destination) -> State {
    if figures.down.get() > 0 {
        State::Down
    } else if figures.connections.get() > 0 {
        State::Up
    } else if figures.connects.get() == 0 {
        State::New
    } else {
        State::Closed
    }
}

/// What mcrouter calls a connection to a server.
fn key(id: &Id, config: Option<&Config>) -> String {
    let pool = config.and_then(|config| config.pools.iter().find(|pool| pool.name == id.pool));
    let timeout = pool.map_or(0, |pool| pool.timeout.as_millis());
    let addr = addr(id, config);
    format!("{addr}:ascii:plain:notcompressed-{timeout}")
}

/// A server's address; its name where nothing else is known.
fn addr(id: &Id, config: Option<&Config>) -> String {
    server(id, config).map_or_else(|| id.server.clone(), |server| server.addr.to_string())
}

fn server<'c>(id: &Id, config: Option<&'c Config>) -> Option<&'c Server> {
    let mut pools = config?.pools.iter();
    let pool = pools.find(|pool| pool.name == id.pool)?;
    pool.servers.iter().find(|one| one.name == id.server)
}

/// A line for each server: `stats servers`.
pub(super) fn each_server(registry: &Registry, instance: &Instance, text: &mut String) {
    let config = instance.config();
    let mut states: BTreeMap<Id, Vec<State>> = BTreeMap::new();
    for (id, figures) in registry.locked().each() {
        states.entry(id.clone()).or_default().push(state(figures));
    }
    for (id, sum) in registry.sums() {
        let all = sum.times.together();
        let count = all.count();
        let average = if count == 0 {
            0.0
        } else {
            all.seconds() * 1e6 / count as f64
        };
        let waiting = sum.get("waiting");
        let _ = write!(
            text,
            "STAT {} avg_latency_us:{average:.3} pending_reqs:0 inflight_reqs:{waiting}",
            key(&id, config.as_deref())
        );
        if sum.get("down") > 0 {
            let server = server(&id, config.as_deref());
            let kind = server.and_then(|server| registry.tkos().kind_of(&server.addr));
            let kind = kind.unwrap_or(Kind::Hard).label();
            let _ = write!(text, " {kind}_tko; ");
        }
        text.push_str(" avg_retrans_ratio:0 max_retrans_ratio:0 min_retrans_ratio:0");
        let states = states.get(&id).map_or(&[][..], Vec::as_slice);
        for (wanted, name) in [
            (State::New, "new"),
            (State::Up, "up"),
            (State::Closed, "closed"),
            (State::Down, "down"),
        ] {
            let count = states.iter().filter(|one| **one == wanted).count();
            if count > 0 {
                let _ = write!(text, " {name}:{count}");
            }
        }
        let mut mark = ";";
        for (failed, count) in &sum.results {
            // What was not sent because the server is out of service is no result of it.
            if *count == 0 || *failed == Failed::Tko {
                continue;
            }
            let name = match failed {
                Failed::DataTimeout => "timeout",
                failed => failed.name(),
            };
            let _ = write!(text, "{mark} {name}:{count}");
            mark = "";
        }
        text.push_str("\r\n");
    }
}

/// A line for each server that is out of service: `stats suspect_servers`.
pub(super) fn suspects(registry: &Registry, text: &mut String) {
    let config = registry.instance().and_then(|instance| instance.config());
    for (id, sum) in registry.sums() {
        let workers = sum.get("down");
        if workers > 0 {
            let addr = addr(&id, config.as_deref());
            let failures = sum.get("timeouts") + sum.get("failures");
            let _ = write!(
                text,
                "STAT {addr} status:tko num_failures:{}\r\n",
                failures.max(workers)
            );
        }
    }
}
