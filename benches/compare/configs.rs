//! The configurations of what is compared.
//!
//! Every router gets its best settings for these loads, and the same time-outs as far as it has them; what
//! is set and why stands beside it. ringroad runs with its defaults, but for the number of clients.

use crate::endpoints::Servers;

/// 10 000 idle clients and those that are measured; ringroad's default is 10 000 in all.
const LIMITS: &str = "\n[limits]\nmax_connections = 20_000\n";

/// ringroad with two pools, compared with ringroad with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The second pool is asked when the first one fails, which it does not.
    Failover,
    /// The second pool gets a copy of a tenth of all requests.
    Shadow,
    /// Both pools get everything.
    AllSync,
}

impl Variant {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failover => "ringroad-failover",
            Self::Shadow => "ringroad-shadow",
            Self::AllSync => "ringroad-all-sync",
        }
    }
}

/// ringroad with one pool and one worker.
pub(crate) fn ringroad(port: u16, servers: &Servers) -> String {
    format!("{}{}{LIMITS}", head(port), pool("cache", servers))
}

/// ringroad with the second pool `others`.
pub(crate) fn variant(variant: Variant, port: u16, servers: &Servers, others: &Servers) -> String {
    let route = match variant {
        Variant::Failover => r#"{ type = "failover", children = ["cache", "second"] }"#,
        Variant::Shadow => {
            r#"{ type = "shadow", children = ["cache", "second"], per_million = 100_000 }"#
        }
        Variant::AllSync => r#"{ type = "all-sync", children = ["cache", "second"] }"#,
    };
    format!(
        "{}route = {route}\n{}{}{LIMITS}",
        head(port),
        pool("cache", servers),
        pool("second", others)
    )
}

fn head(port: u16) -> String {
    format!("listen = [\"127.0.0.1:{port}\"]\nworkers = 1\n")
}

fn pool(name: &str, servers: &Servers) -> String {
    let list: Vec<_> = servers
        .ports
        .iter()
        .map(|port| format!("\"127.0.0.1:{port}\""))
        .collect();
    format!("\n[pools.{name}]\nservers = [{}]\n", list.join(", "))
}

/// twemproxy at its best: one connection per server, made beforehand, no ejection, the same time-out (and
/// no logging of requests, see where it is started).
pub(crate) fn nutcracker(port: u16, servers: &Servers) -> String {
    let list: String = servers
        .ports
        .iter()
        .map(|port| format!("    - 127.0.0.1:{port}:1\n"))
        .collect();
    format!(
        "bench:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  \
         server_connections: 1\n  preconnect: true\n  auto_eject_hosts: false\n  timeout: 1000\n  \
         backlog: 4096\n  servers:\n{list}"
    )
}
