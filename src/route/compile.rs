//! From a configuration to what workers route by.
//!
//! A [`Snapshot`] is immutable and shared by all workers; a reload makes a new one and requests that are
//! under way finish on the old one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, FailoverOn, Pool, Route, ServerAddr};
use crate::hash::{PlacementError, Selector};
use crate::protocol::request;
use crate::upstream::health::HealthPolicy;

use super::moved::{Handover, MovedKeys};
use super::tree::{Node, NodeId, Reason, Reasons, Tree};

/// Everything a worker needs to route requests.
#[derive(Debug)]
pub struct Snapshot {
    /// From keys to pools.
    pub tree: Tree,
    /// The pools, by number.
    pub pools: Vec<PoolSnapshot>,
    /// Bounds and switches.
    pub settings: Settings,
}

/// A pool as it was before its servers changed.
#[derive(Clone, Debug)]
pub struct Previous {
    /// Its servers, and how they are talked to.
    pub pool: Pool,
    /// What is under way; the same for as long as keys are handed over.
    pub handover: Handover,
}

/// One pool.
#[derive(Debug)]
pub struct PoolSnapshot {
    /// Its name.
    pub name: String,
    /// It is what a pool was before its servers changed.
    pub is_previous: bool,
    /// From keys to servers; none while no servers are known.
    pub selector: Option<Selector>,
    /// The servers, in the selector's order.
    pub servers: Vec<Arc<DestinationSpec>>,
    /// Whether single-key gets may share a line.
    pub coalesce: bool,
}

/// A server and how it is talked to. Equal specs are one destination, whichever pools name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DestinationSpec {
    /// Where it is.
    pub addr: ServerAddr,
    /// What logs and statistics call it: its configured name.
    pub name: String,
    /// How long a request may take, in microseconds.
    pub timeout: u64,
    /// How long connecting may take, in microseconds.
    pub connect_timeout: u64,
    /// Connections per worker.
    pub connections: usize,
    /// Requests that may wait for one connection.
    pub queue_requests: usize,
    /// Bytes that may wait to be sent on one connection.
    pub queue_bytes: usize,
    /// When it is taken out of service.
    pub health: HealthPolicy,
}

/// Bounds and switches of the whole process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The parser's bounds.
    pub parse: request::Limits,
    /// Requests one client may have outstanding.
    pub client_requests: usize,
    /// Bytes of replies that may wait for one client.
    pub client_bytes: usize,
    /// Bytes of buffers one worker may hold.
    pub worker_bytes: usize,
    /// Whether `flush_all` is passed on.
    pub flush_all: bool,
    /// Whether failed gets are misses.
    pub miss_on_get_errors: bool,
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// What [`Pool::selector`] refuses; a checked configuration has none of that.
    pub fn compile(config: &Config) -> Result<Snapshot, PlacementError> {
        Snapshot::compile_at(config, &BTreeMap::new(), ServerAddr::clone)
    }

    /// As [`Snapshot::compile`], for pools whose servers have just changed: `previous` has them as they were. Each
    /// server is where `locate` says it is; placement does not depend on that.
    ///
    /// # Errors
    /// As for [`Snapshot::compile`].
    pub fn compile_at(
        config: &Config,
        previous: &BTreeMap<String, Previous>,
        locate: impl Fn(&ServerAddr) -> ServerAddr,
    ) -> Result<Snapshot, PlacementError> {
        let befores = config
            .pools
            .iter()
            .filter_map(|pool| previous.get(&pool.name))
            .map(|previous| &previous.pool);
        let pools = config
            .pools
            .iter()
            .chain(befores)
            .enumerate()
            .map(|(index, pool)| {
                Ok(PoolSnapshot {
                    name: pool.name.clone(),
                    is_previous: index >= config.pools.len(),
                    selector: match pool.servers.is_empty() {
                        true => None,
                        false => Some(pool.selector()?),
                    },
                    servers: pool
                        .servers
                        .iter()
                        .map(|server| Arc::new(spec(pool, &server.name, locate(&server.addr))))
                        .collect(),
                    coalesce: pool.coalesce,
                })
            })
            .collect::<Result<_, _>>()?;
        let mut nodes = Vec::new();
        let moving = moving(config, previous)?;
        add(&config.route, &moving, &mut nodes);
        Ok(Snapshot {
            tree: Tree::new(nodes),
            pools,
            settings: Settings {
                parse: request::Limits {
                    max_value: config.limits.max_value,
                    max_get_line: config.limits.max_get_line,
                },
                client_requests: config.limits.client_requests,
                client_bytes: config.limits.client_bytes,
                worker_bytes: config.limits.worker_bytes,
                flush_all: config.flush_all,
                miss_on_get_errors: config.miss_on_get_errors,
            },
        })
    }
}

fn spec(pool: &Pool, name: &str, addr: ServerAddr) -> DestinationSpec {
    let micros = |d: std::time::Duration| d.as_micros().min(u128::from(u64::MAX / 4)) as u64;
    DestinationSpec {
        addr,
        name: name.to_owned(),
        timeout: micros(pool.timeout),
        connect_timeout: micros(pool.connect_timeout),
        connections: pool.connections.max(1),
        queue_requests: pool.queue.requests,
        queue_bytes: pool.queue.bytes,
        health: HealthPolicy {
            after: pool.tko.after,
            probe_min: micros(pool.tko.probe_min),
            probe_max: micros(pool.tko.probe_max),
        },
    }
}

/// A pool whose servers have changed: the number of the pool as it was, and what differs.
type Moving = (u32, MovedKeys);

/// By the number of the pool as it is.
fn moving(
    config: &Config,
    previous: &BTreeMap<String, Previous>,
) -> Result<BTreeMap<usize, Moving>, PlacementError> {
    let mut moving = BTreeMap::new();
    let mut number = config.pools.len();
    for (index, pool) in config.pools.iter().enumerate() {
        if let Some(before) = previous.get(&pool.name) {
            if !pool.servers.is_empty() {
                let keys = MovedKeys::new(
                    before.pool.selector()?,
                    pool.selector()?,
                    before.handover.clone(),
                );
                moving.insert(index, (number as u32, keys));
            }
            number += 1;
        }
    }
    Ok(moving)
}

/// Adds a route with its children before it.
fn add(route: &Route, moving: &BTreeMap<usize, Moving>, nodes: &mut Vec<Node>) -> NodeId {
    let add = |route: &Route, nodes: &mut Vec<Node>| add(route, moving, nodes);
    let node = match route {
        Route::Pool(pool) => match moving.get(pool) {
            None => Node::Pool(*pool as u32),
            Some((old, keys)) => {
                nodes.push(Node::Pool(*pool as u32));
                nodes.push(Node::Pool(*old));
                let count = nodes.len() as NodeId;
                Node::Moving {
                    new: count - 2,
                    old: count - 1,
                    keys: keys.clone(),
                }
            }
        },
        Route::Prefix { prefixes, default } => {
            let mut prefixes: Vec<_> = prefixes
                .iter()
                .map(|(prefix, child)| (prefix.clone().into_boxed_slice(), add(child, nodes)))
                .collect();
            prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
            Node::Prefix {
                prefixes,
                default: add(default, nodes),
            }
        }
        Route::Failover { children, on } => Node::Failover {
            children: children.iter().map(|child| add(child, nodes)).collect(),
            on: on
                .iter()
                .fold(Reasons::default(), |set, on| set.with(reason(*on))),
        },
        Route::WarmUp {
            cold,
            warm,
            exptime,
        } => Node::WarmUp {
            cold: add(cold, nodes),
            warm: add(warm, nodes),
            exptime: *exptime,
        },
        Route::BigValue {
            child,
            split_threshold,
            batch_size,
            hide_reply_flag,
        } => Node::BigValue {
            child: add(child, nodes),
            threshold: (*split_threshold).max(1),
            batch: (*batch_size).max(1),
            hide_flag: *hide_reply_flag,
        },
    };
    nodes.push(node);
    nodes.len() as NodeId - 1
}

fn reason(on: FailoverOn) -> Reason {
    match on {
        FailoverOn::Connect => Reason::Connect,
        FailoverOn::Timeout => Reason::Timeout,
        FailoverOn::Closed => Reason::Closed,
        FailoverOn::Error => Reason::Error,
        FailoverOn::Busy => Reason::Busy,
        FailoverOn::Miss => Reason::Miss,
    }
}
