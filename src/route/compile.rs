//! From a configuration to what workers route by.
//!
//! A [`Snapshot`] is immutable and shared by all workers; a reload makes a new one and requests that are
//! under way finish on the old one.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::config::{
    Compat, Config, FailOpen, Failover, FailoverOn, Gutter, KeyedFailover, OnFailure, OnReturn,
    Pool, Route, Rule, ServerAddr,
};
use crate::hash::{PlacementError, Selector, Shift};
use crate::protocol::error::Words;
use crate::protocol::request;
use crate::upstream::health::HealthPolicy;
use crate::upstream::tko::Bounds;

use super::choose::Choice;
use super::keys::Rekey;
use super::moved::{Handover, MovedKeys};
use super::tree::{Node, NodeId, Reason, Reasons, Tree};
use super::{choose, introspect, keys};
use crate::spool::Place;

/// Parts of a value that may be on their way where nothing else is said.
const MAX_BATCH: usize = 1000;

/// Everything a worker needs to route requests.
#[derive(Debug)]
pub struct Snapshot {
    /// From keys to pools.
    pub tree: Tree,
    /// The pools, by number.
    pub pools: Vec<PoolSnapshot>,
    /// Bounds and switches.
    pub settings: Settings,
    /// What it was made of, if clients may ask about that.
    pub shown: Option<Arc<Config>>,
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
    /// What it stands for.
    pub role: Role,
    /// When it fails open, see [`crate::upstream::tko`].
    pub fail_open: Option<Bounds>,
    /// Whether a get that fails here is a miss; `None` for what holds everywhere.
    pub hides_errors: Option<bool>,
    /// From keys to servers; none while no servers are known, and for successors.
    pub selector: Option<Selector>,
    /// The servers, in the selector's order.
    pub servers: Vec<Arc<DestinationSpec>>,
    /// Whether single-key gets may share a line.
    pub coalesce: bool,
    /// Whether the servers see keys with their routing prefixes.
    pub keeps_prefix: bool,
    /// What lines of the spool call the servers, in their order; none unless deletions are written there.
    pub places: Vec<Place>,
}

/// What a pool stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the configuration's.
    Configured,
    /// What one was before its servers changed.
    Previous,
    /// The servers of the pool `of` that own the keys if so many before them in
    /// [`Selector::successors`] do not. It has none of its own.
    Successor {
        /// The number of the pool.
        of: u32,
        /// At least 1.
        nth: usize,
    },
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
    /// How long one stays open that nobody uses, in microseconds; 0 for ever.
    pub idle_close: u64,
    /// Requests that may wait for one connection.
    pub queue_requests: usize,
    /// Bytes that may wait to be sent on one connection.
    pub queue_bytes: usize,
    /// Command lines that may be under way on one connection; 0 for any number.
    pub in_flight: usize,
    /// When it is taken out of service.
    pub health: HealthPolicy,
    /// Its pool's name, if that fails open.
    pub fail_open: Option<String>,
    /// As for its pool.
    pub hides_errors: Option<bool>,
    /// What becomes of what it had when it comes back.
    pub on_return: OnReturn,
}

/// Bounds and switches of the whole process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The parser's bounds.
    pub parse: request::Limits,
    /// Requests one client may have outstanding; 0 if there is a bound on the whole worker, which then says more.
    pub client_requests: usize,
    /// A bound on the whole worker.
    pub throttle: Option<Throttle>,
    /// Bytes of replies that may wait for one client.
    pub client_bytes: usize,
    /// Bytes of buffers one worker may hold.
    pub worker_bytes: usize,
    /// Whether `flush_all` is passed on.
    pub flush_all: bool,
    /// Whether failed gets are misses.
    pub miss_on_get_errors: bool,
    /// Whose words errors have.
    pub words: Words,
    /// Whether all failures look alike to clients.
    pub groups_errors: bool,
}

/// How many requests a worker routes at a time.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// Requests of clients without an answer, at least 1; further ones wait.
    pub requests: usize,
    /// Requests that may wait; further ones are refused. 0 for any number.
    pub waiting: usize,
    /// How long one may wait until it is refused, in microseconds; 0 for ever.
    pub wait: u64,
    /// Requests one client may have outstanding.
    pub client_requests: usize,
}

fn throttle(limits: &crate::config::Limits) -> Option<Throttle> {
    (limits.worker_requests > 0).then(|| Throttle {
        requests: limits.worker_requests,
        waiting: limits.waiting_requests,
        wait: limits
            .waiting_timeout
            .as_micros()
            .min(u128::from(u64::MAX / 4)) as u64,
        client_requests: limits.client_requests,
    })
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// What [`Pool::selector`] refuses; a checked configuration has none of that.
    pub fn compile(config: &Config) -> Result<Snapshot, PlacementError> {
        Snapshot::compile_at(config, &BTreeMap::new(), ServerAddr::clone)
    }

    /// As [`Snapshot::compile`], for pools whose servers have just changed: `previous` has them as they were, oldest
    /// first. Each server is where `locate` says it is; placement does not depend on that.
    ///
    /// # Errors
    /// As for [`Snapshot::compile`].
    pub fn compile_at(
        config: &Config,
        previous: &BTreeMap<String, Vec<Previous>>,
        locate: impl Fn(&ServerAddr) -> ServerAddr,
    ) -> Result<Snapshot, PlacementError> {
        let befores = config
            .pools
            .iter()
            .filter_map(|pool| previous.get(&pool.name))
            .flatten()
            .map(|previous| &previous.pool);
        let fails_over = fails_over(config);
        let mut pools: Vec<PoolSnapshot> = config
            .pools
            .iter()
            .chain(befores)
            .enumerate()
            .map(|(index, pool)| {
                Ok(PoolSnapshot {
                    name: pool.name.clone(),
                    role: match index < config.pools.len() {
                        true => Role::Configured,
                        false => Role::Previous,
                    },
                    fail_open: bounds(pool).filter(|_| index < config.pools.len()),
                    hides_errors: hides_errors(pool),
                    selector: match pool.servers.is_empty() {
                        true => None,
                        false => Some(pool.selector()?),
                    },
                    servers: pool
                        .servers
                        .iter()
                        .map(|server| {
                            let on_return = pool.returns(fails_over.contains(&*pool.name));
                            let addr = locate(&server.addr);
                            Arc::new(spec(pool, &server.name, addr, on_return))
                        })
                        .collect(),
                    coalesce: pool.coalesce,
                    keeps_prefix: pool.keep_routing_prefix,
                    places: places(pool),
                })
            })
            .collect::<Result<_, _>>()?;
        let mut leaves = Leaves {
            config,
            moving: moving(config, previous)?,
            successors: BTreeMap::new(),
            copies: Cell::new(false),
        };
        for (index, pool) in config.pools.iter().enumerate() {
            leaves
                .successors
                .insert(index, successors(index, pool, &mut pools));
        }
        let mut nodes = Vec::new();
        add(&config.route, &leaves, &mut nodes);
        if config.compat == Compat::V0_36 {
            choose::say_less(&mut nodes);
        }
        if config.introspection {
            introspect::in_front(&mut nodes);
        }
        Ok(Snapshot {
            tree: Tree::new(nodes),
            pools,
            settings: Settings {
                parse: request::Limits {
                    max_value: config.limits.max_value,
                    max_get_line: config.limits.max_get_line,
                    leases: config.leases,
                },
                client_requests: match throttle(&config.limits) {
                    Some(_) => 0,
                    None => config.limits.client_requests,
                },
                throttle: throttle(&config.limits),
                client_bytes: config.limits.client_bytes,
                worker_bytes: config.limits.worker_bytes,
                flush_all: config.flush_all,
                miss_on_get_errors: config.miss_on_get_errors,
                words: match config.compat {
                    Compat::Latest => Words::Own,
                    Compat::V0_36 => Words::Mcrouter,
                },
                groups_errors: config.group_remote_errors,
            },
            shown: config.introspection.then(|| Arc::new(config.clone())),
        })
    }
}

/// The names of the pools whose requests a route may send elsewhere.
fn fails_over(config: &Config) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut routes = vec![(&config.route, false)];
    while let Some((route, below)) = routes.pop() {
        match route {
            Route::Pool(pool) => {
                let pool = config.pools.get(*pool).filter(|_| below);
                found.extend(pool.map(|pool| &*pool.name));
            }
            Route::Failover { children, .. } => {
                routes.extend(children.iter().map(|one| (one, true)))
            }
            Route::Prefix { prefixes, default } => {
                routes.extend(prefixes.iter().map(|(_, one)| (one, below)));
                routes.push((default, below));
            }
            Route::WarmUp { cold, warm, .. } => routes.extend([(&**cold, below), (&**warm, below)]),
            Route::BigValue { child, .. } => routes.push((child, below)),
            Route::Choose(choose) => {
                routes.extend(choose.children().into_iter().map(|one| (one, below)));
            }
            Route::Keys(keys) => {
                routes.extend(keys.children().into_iter().map(|one| (one, below)));
            }
            Route::Many { rule, children } => {
                let below = below || !matches!(rule, Rule::Shadow(_));
                routes.extend(children.iter().map(|one| (one, below)));
            }
        }
    }
    found
}

fn spec(pool: &Pool, name: &str, addr: ServerAddr, on_return: OnReturn) -> DestinationSpec {
    let micros = |d: std::time::Duration| d.as_micros().min(u128::from(u64::MAX / 4)) as u64;
    DestinationSpec {
        addr,
        name: name.to_owned(),
        timeout: micros(pool.timeout),
        connect_timeout: micros(pool.connect_timeout),
        connections: pool.connections.max(1),
        idle_close: micros(pool.idle_close),
        queue_requests: pool.queue.requests,
        queue_bytes: pool.queue.bytes,
        in_flight: pool.queue.in_flight,
        health: HealthPolicy {
            enabled: pool.tko.enabled,
            after: pool.tko.after,
            probe_min: micros(pool.tko.probe_min),
            probe_max: micros(pool.tko.probe_max),
            recover: pool.tko.recover,
            hold_down: micros(pool.tko.hold_down),
        },
        fail_open: pool.tko.fail_open.map(|_| pool.name.clone()),
        hides_errors: hides_errors(pool),
        on_return,
    }
}

/// When a pool fails open, by its number of servers. A pool of very few that are found may have too few for a
/// percentage.
fn bounds(pool: &Pool) -> Option<Bounds> {
    let FailOpen { at, until } = pool.tko.fail_open.filter(|_| pool.tko.enabled)?;
    let upper = at.of(pool.servers.len()).max(1);
    let lower = until.of(pool.servers.len()).clamp(1, upper);
    Some(Bounds { upper, lower })
}

fn hides_errors(pool: &Pool) -> Option<bool> {
    match pool.on_failure {
        Some(OnFailure::Miss) => Some(true),
        Some(OnFailure::Error) => Some(false),
        Some(OnFailure::Next) | None => None,
    }
}

/// How many servers are tried after the owner of a key with [`OnFailure::Next`], at most.
pub const MAX_SUCCESSORS: usize = 2;

/// Adds the pools that a pool's keys go on to, and returns their numbers.
fn successors(index: usize, pool: &Pool, pools: &mut Vec<PoolSnapshot>) -> Range<u32> {
    let first = pools.len() as u32;
    if pool.on_failure == Some(OnFailure::Next) {
        for nth in 1..pool.servers.len().min(MAX_SUCCESSORS + 1) {
            pools.push(PoolSnapshot {
                name: pool.name.clone(),
                role: Role::Successor {
                    of: index as u32,
                    nth,
                },
                fail_open: None,
                hides_errors: None,
                selector: None,
                servers: Vec::new(),
                coalesce: pool.coalesce,
                keeps_prefix: pool.keep_routing_prefix,
                places: Vec::new(),
            });
        }
    }
    first..pools.len() as u32
}

/// What there is to know of pools where a route ends at one.
struct Leaves<'c> {
    config: &'c Config,
    /// By the number of the pool as it is; the oldest first.
    moving: BTreeMap<usize, Vec<Moving>>,
    /// Where a pool's keys go on.
    successors: BTreeMap<usize, Range<u32>>,
    /// What is added now is for copies of requests, whose deletions are not written down.
    copies: Cell<bool>,
}

/// Nothing has been sent, or nothing that matters: a get may go elsewhere when its connection breaks, an update
/// when there was none.
const DOWN: (Reasons, Reasons) = {
    let unsent = Reasons::NONE.with(Reason::Connect);
    (unsent.with(Reason::Closed), unsent)
};

impl Leaves<'_> {
    /// Adds a pool with where its keys go when it fails. No gutter leads back to its pool.
    fn add(&self, pool: usize, nodes: &mut Vec<Node>) -> NodeId {
        let successors = self.successors.get(&pool).cloned().unwrap_or_default();
        let last = successors
            .end
            .checked_sub(1)
            .filter(|_| !successors.is_empty());
        // What the next servers may have is deleted there, too.
        let passes_on = |is_last| match is_last {
            true => Reasons::NONE,
            false => DOWN.1,
        };
        let mut children = vec![self.add_alone(pool, passes_on(last.is_none()), nodes)];
        for successor in successors {
            let passes_on = passes_on(last == Some(successor));
            children.push(push(self.leaf(pool, successor, passes_on), nodes));
        }
        let gutter = self.config.pools.get(pool).and_then(|pool| pool.gutter);
        if let Some(Gutter { pool, exptime }) = gutter {
            let child = self.add(pool, nodes);
            children.push(push(Node::Shorten { child, exptime }, nodes));
        }
        match children.as_slice() {
            [alone] => *alone,
            _ => push(
                Node::Failover {
                    children,
                    on: DOWN.0,
                    on_update: DOWN.1,
                    gutter: gutter.is_some(),
                },
                nodes,
            ),
        }
    }

    /// The pool of this number, which the settings of `pool` are for.
    fn leaf(&self, pool: usize, number: u32, passes_on: Reasons) -> Node {
        let spool = self
            .config
            .pools
            .get(pool)
            .and_then(|pool| pool.spool.as_ref());
        match spool.filter(|_| !self.copies.get()) {
            Some(name) => Node::Spool {
                pool: number,
                name: name.as_str().into(),
                passes_on,
            },
            None => Node::Pool(number),
        }
    }

    /// A pool that has changed several times has a node for each, the oldest next to it: so nothing is ever copied to
    /// where it would be looked for no longer than until the next change is over.
    fn add_alone(&self, pool: usize, passes_on: Reasons, nodes: &mut Vec<Node>) -> NodeId {
        let mut new = push(self.leaf(pool, pool as u32, passes_on), nodes);
        for (old, keys) in self.moving.get(&pool).into_iter().flatten() {
            let old = push(Node::Pool(*old), nodes);
            let keys = keys.clone();
            new = push(Node::Moving { new, old, keys }, nodes);
        }
        new
    }
}

fn places(pool: &Pool) -> Vec<Place> {
    let servers = pool.servers.iter().filter(|_| pool.spool.is_some());
    servers
        .map(|server| Place::of(&server.name, &server.addr))
        .collect()
}

fn push(node: Node, nodes: &mut Vec<Node>) -> NodeId {
    nodes.push(node);
    nodes.len() as NodeId - 1
}

/// A pool whose servers have changed: the number of the pool as it was, and what differs.
type Moving = (u32, MovedKeys);

/// By the number of the pool as it is; the oldest first.
fn moving(
    config: &Config,
    previous: &BTreeMap<String, Vec<Previous>>,
) -> Result<BTreeMap<usize, Vec<Moving>>, PlacementError> {
    let mut moving = BTreeMap::new();
    let mut number = config.pools.len();
    for (index, pool) in config.pools.iter().enumerate() {
        let Some(befores) = previous.get(&pool.name) else {
            continue;
        };
        let all = befores.iter().map(|before| &before.pool).chain([pool]);
        let all = match pool.servers.is_empty() {
            true => Vec::new(),
            false => all
                .map(|pool| pool.selector().map(Arc::new))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let mut older: Vec<Handover> = Vec::new();
        for (at, before) in befores.iter().enumerate() {
            let mut rest = all.iter().skip(at);
            if let Some(was) = rest.next() {
                let shifts = rest.map(|then| Shift::new(Arc::clone(was), Arc::clone(then)));
                let handover = before.handover.clone();
                let keys = MovedKeys::new(shifts.collect(), handover, older.clone());
                let place: &mut Vec<Moving> = moving.entry(index).or_default();
                place.push((number as u32, keys));
            }
            older.push(before.handover.clone());
            number += 1;
        }
    }
    Ok(moving)
}

/// Adds a route with its children before it.
fn add(route: &Route, leaves: &Leaves<'_>, nodes: &mut Vec<Node>) -> NodeId {
    let add = |route: &Route, nodes: &mut Vec<Node>| add(route, leaves, nodes);
    let node = match route {
        Route::Pool(pool) => return leaves.add(*pool, nodes),
        Route::Choose(choose) => return choose::add(choose, nodes, reason, add),
        Route::Keys(keys) => keys::add(keys, nodes, add),
        Route::Prefix { prefixes, default } => {
            let prefixes: Vec<(&[u8], NodeId)> = prefixes
                .iter()
                .map(|(prefix, child)| (&**prefix, add(child, nodes)))
                .collect();
            Node::prefix(prefixes, add(default, nodes))
        }
        Route::Failover { children, on } => {
            let on = on
                .iter()
                .fold(Reasons::NONE, |set, on| set.with(reason(*on)));
            Node::Failover {
                children: children.iter().map(|child| add(child, nodes)).collect(),
                on,
                on_update: on,
                gutter: false,
            }
        }
        Route::WarmUp {
            cold,
            warm,
            exptime,
        } => {
            let (cold, warm) = (add(cold, nodes), add(warm, nodes));
            match exptime {
                Some(exptime) if leads_to_pools(cold, nodes) => Node::WarmUp {
                    cold,
                    warm,
                    exptime: *exptime,
                },
                _ => many(&Rule::WarmUp { exptime: *exptime }, vec![cold, warm], nodes),
            }
        }
        Route::BigValue {
            child,
            split_threshold,
            batch_size,
            hide_reply_flag,
        } => Node::BigValue {
            child: add(child, nodes),
            threshold: (*split_threshold).max(1),
            batch: match *batch_size {
                0 => MAX_BATCH,
                size => size,
            },
            hide_flag: *hide_reply_flag,
        },
        Route::Many { rule, children } => {
            let children = children.iter().enumerate().map(|(index, child)| {
                let below_copies = leaves.copies.get();
                let is_copy = matches!(rule, Rule::Shadow(_)) && index > 0;
                leaves.copies.set(below_copies || is_copy);
                let child = add(child, nodes);
                leaves.copies.set(below_copies);
                child
            });
            let children = children.collect();
            many(rule, children, nodes)
        }
    };
    push(node, nodes)
}

/// Whether every key comes to a pool from there, and to no more.
fn leads_to_pools(node: NodeId, nodes: &[Node]) -> bool {
    match nodes.get(node as usize) {
        Some(Node::Pool(_) | Node::Moving { .. }) => true,
        Some(Node::Prefix { prefixes, default }) => {
            let all = prefixes.iter().map(|(_, child)| child).chain([default]);
            all.copied().all(|child| leads_to_pools(child, nodes))
        }
        Some(Node::Choose(Choice::Hash { children, .. })) => {
            children.iter().all(|child| leads_to_pools(*child, nodes))
        }
        _ => false,
    }
}

fn many(rule: &Rule, mut children: Vec<NodeId>, nodes: &mut Vec<Node>) -> Node {
    let own;
    let rule = match rule {
        Rule::Latest(latest) => {
            let order = latest.own(children.len()).into_iter();
            children = order.filter_map(|at| children.get(at).copied()).collect();
            own = Rule::Failover(latest.failover);
            &own
        }
        rule => rule,
    };
    if let Rule::Failover(Failover {
        exptime: exptime @ 1..,
        ..
    })
    | Rule::KeyedFailover(KeyedFailover {
        failover: Failover {
            exptime: exptime @ 1..,
            ..
        },
        ..
    }) = *rule
    {
        for child in children.iter_mut().skip(1) {
            let shorter = Node::Shorten {
                child: *child,
                exptime,
            };
            *child = push(shorter, nodes);
        }
    }
    if let Rule::Failover(Failover { tag: true, .. })
    | Rule::KeyedFailover(KeyedFailover {
        failover: Failover { tag: true, .. },
        ..
    }) = rule
    {
        for child in children.iter_mut().skip(1) {
            *child = push(Node::Rekey(Box::new(Rekey::Tag(*child))), nodes);
        }
    }
    Node::Many {
        rule: Arc::new(rule.clone()),
        children,
        memory: Arc::default(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn compiled(text: &str) -> Snapshot {
        Snapshot::compile(&config::parse("f", text).unwrap().0).unwrap()
    }

    #[test]
    fn a_pool_costs_nothing_more_unless_its_keys_go_on() {
        for setting in ["", "on_failure = \"miss\"", "on_failure = \"error\""] {
            let text =
                format!("[pools.a]\nservers = [\"a:1\", \"b:1\", \"c:1\", \"d:1\"]\n{setting}");
            let snapshot = compiled(&text);
            assert_eq!(snapshot.tree, Tree::new(vec![Node::Pool(0)]));
            assert_eq!(snapshot.pools.len(), 1);
        }
    }

    #[test]
    fn a_gutter_comes_last_and_may_have_one_itself() {
        let snapshot = compiled(
            "route = \"a\"\n[pools.a]\nservers = [\"a:1\", \"b:1\"]\non_failure = \"next\"\ngutter = \"b\"
            [pools.b]\nservers = [\"c:1\"]\ngutter = \"c\"\ngutter_exptime = \"5s\"
            [pools.c]\nservers = [\"d:1\"]",
        );
        let failover = |children| Node::Failover {
            children,
            on: DOWN.0,
            on_update: DOWN.1,
            gutter: true,
        };
        let shorten = |child, exptime| Node::Shorten { child, exptime };
        let want = vec![
            Node::Pool(0),
            Node::Pool(3),
            Node::Pool(1),
            Node::Pool(2),
            shorten(3, 5),
            failover(vec![2, 4]),
            shorten(5, 60),
            failover(vec![0, 1, 6]),
        ];
        assert_eq!(snapshot.tree, Tree::new(want));
    }

    #[test]
    fn keys_go_on_to_as_many_servers_as_there_are_but_two_at_most() {
        for (servers, successors) in [
            ("\"a:1\"", 0),
            ("\"a:1\", \"b:1\"", 1),
            ("\"a:1\", \"b:1\", \"c:1\"", 2),
            ("\"a:1\", \"b:1\", \"c:1\", \"d:1\"", 2),
        ] {
            let text = format!("[pools.a]\nservers = [{servers}]\non_failure = \"next\"");
            let snapshot = compiled(&text);
            assert_eq!(snapshot.pools.len(), 1 + successors);
            let roles = snapshot.pools.iter().skip(1).map(|pool| pool.role);
            let want = (1..=successors).map(|nth| Role::Successor { of: 0, nth });
            assert!(roles.eq(want));
        }
    }

    #[test]
    fn deletions_are_written_down_in_pools_that_say_so_but_not_for_copies() {
        let text = "route = { type = \"shadow\", children = [\"a\", { type = \"all-sync\", children = [\"a\", \"b\"] }] }
            [spool]\ndir = \"/x\"
            [pools.a]\nservers = [\"a:1\", \"b:1\"]\nspool = true
            [pools.b]\nservers = [\"c:1\"]";
        let snapshot = compiled(text);
        let spool = |pool, name: &str, passes_on| Node::Spool {
            pool,
            name: name.into(),
            passes_on,
        };
        let node = |id| snapshot.tree.node(id).unwrap();
        assert_eq!(*node(0), spool(0, "a", Reasons::NONE));
        assert_eq!((node(1), node(2)), (&Node::Pool(0), &Node::Pool(1)));
        let places: Vec<String> = snapshot.pools[0]
            .places
            .iter()
            .map(Place::to_string)
            .collect();
        assert_eq!(places, ["a:1", "b:1"]);
        assert!(snapshot.pools[1].places.is_empty());
        // Where the next servers take over, what they have is deleted, too.
        let text = "[spool]\ndir = \"/x\"\n[pools.a]\nservers = [\"a:1\", \"b:1\"]\nspool = true\nspool_name = \"n\"\non_failure = \"next\"";
        let snapshot = compiled(text);
        assert_eq!(*snapshot.tree.node(0).unwrap(), spool(0, "n", DOWN.1));
        assert_eq!(
            *snapshot.tree.node(1).unwrap(),
            spool(1, "n", Reasons::NONE)
        );
    }

    #[test]
    fn what_may_be_done_elsewhere_is_replayed_below_every_kind_of_route() {
        let two = "children = [\"a\", \"b\"]";
        for (route, replayed) in [
            ("{ type = \"failover\", @ }", "ab"),
            ("{ type = \"selective-failover\", @ }", "ab"),
            ("{ type = \"all-sync\", @ }", "ab"),
            ("{ type = \"all-async\", @ }", "ab"),
            ("{ type = \"miss-failover\", @ }", "ab"),
            ("{ type = \"shadow\", @ }", ""),
            ("{ type = \"hash\", @ }", ""),
            ("{ type = \"random\", @ }", ""),
            (
                "{ type = \"hash\", children = [{ type = \"all-sync\", children = [\"a\"] }, \"b\"] }",
                "a",
            ),
            (
                "{ type = \"all-fastest\", children = [{ type = \"exptime\", exptime = \"1s\", child = \"a\" }, { type = \"shadow\", children = [\"b\"] }] }",
                "ab",
            ),
            (
                "{ type = \"shadow\", children = [\"a\", { type = \"failover\", children = [\"b\", { type = \"null\" }] }] }",
                "b",
            ),
        ] {
            let route = route.replace('@', two);
            let text = format!(
                "route = {route}\n[pools.a]\nservers = [\"a:1\"]\n[pools.b]\nservers = [\"b:1\"]"
            );
            let found = fails_over(&config::parse("f", &text).unwrap().0)
                .into_iter()
                .collect::<String>();
            assert_eq!(found, replayed, "{route}");
        }
    }
}
