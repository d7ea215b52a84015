//! What is routed by: the configuration, the servers that were found, and what was before a change of them.
//!
//! Changes are made on a copy, which takes the place of what was only if it can be compiled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::names::Resolved;
use crate::config::{Config, Pool, Server, ServerAddr};
use crate::hash::PlacementError;
use crate::route::compile::{Previous, Snapshot};
use crate::route::moved::Handover;

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Current {
    /// What the workers have.
    pub(super) snapshot: Arc<Snapshot>,
    config: Config,
    /// The servers that were found, by pool.
    members: BTreeMap<String, Vec<Server>>,
    /// The addresses of servers that are listed by name.
    resolved: Resolved,
    /// Pools as they were before their servers changed, with warm scaling; for each the oldest first.
    previous: BTreeMap<String, Vec<Window>>,
}

/// The time after a change of a pool's servers.
#[derive(Clone)]
struct Window {
    /// The pool as it was.
    previous: Previous,
    /// When no request is under way any more that knows nothing of the change.
    opens: Instant,
    /// Until when the previous servers matter.
    until: Instant,
}

/// So many changes of a pool are remembered at a time. Pods of a StatefulSet join one by one. What is nowhere is asked of
/// every owner that its key has had, which are far fewer.
const MAX_CHANGES: usize = 12;

/// What is added to a pool's timeout until no request can be under way from before a change.
const SLACK: Duration = Duration::from_secs(1);

/// In which other routers learn of a change that was found: the usual time to live in a cluster, and a second. One that
/// does not know yet updates items at their previous servers, unseen by those who copy them.
const LEARN: Duration = Duration::from_secs(31);

impl Current {
    /// The beginning: nothing has been found yet.
    pub(super) fn new(config: &Config) -> Result<Current, PlacementError> {
        Ok(Current {
            snapshot: Arc::new(Snapshot::compile(config)?),
            config: config.clone(),
            members: BTreeMap::new(),
            resolved: Resolved::new(),
            previous: BTreeMap::new(),
        })
    }

    /// The configuration with the servers that were found in their pools.
    pub(super) fn filled(&self) -> Config {
        let mut config = self.config.clone();
        for pool in &mut config.pools {
            if pool.discover.is_some()
                && let Some(servers) = self.members.get(&pool.name)
            {
                pool.servers.clone_from(servers);
            }
        }
        config
    }

    /// The same with another configuration. A pool that listed its servers and is to find them from now on keeps
    /// those until it has.
    pub(super) fn with_config(&self, config: &Config) -> Current {
        let mut next = self.clone();
        for pool in &self.config.pools {
            if !pool.servers.is_empty() {
                next.members.insert(pool.name.clone(), pool.servers.clone());
            }
        }
        next.config = config.clone();
        next.members.retain(|name, _| {
            let pool = config.pools.iter().find(|pool| pool.name == *name);
            pool.is_some_and(|pool| pool.discover.is_some())
        });
        next
    }

    /// The same with these servers of a pool.
    pub(super) fn with_members(&self, pool: &str, servers: Vec<Server>) -> Current {
        let mut next = self.clone();
        next.members.insert(pool.to_owned(), servers);
        next
    }

    /// The same with these addresses of listed servers.
    pub(super) fn with_resolved(&self, resolved: Resolved) -> Current {
        let mut next = self.clone();
        next.resolved = resolved;
        next
    }

    /// Lets the windows begin and end whose time has come. The same without those that are over; `None` if there are
    /// none of them. One is over only when nothing is being copied any more: an update that is routed without it would
    /// not wait for that.
    pub(super) fn without_windows(&self, now: Instant) -> Option<Current> {
        let mut over = false;
        let mut left = self.previous.clone();
        for windows in left.values_mut() {
            windows.retain(|window| {
                let handover = &window.previous.handover;
                if window.until <= now {
                    let ends = handover.close();
                    over |= ends;
                    return !ends;
                }
                if window.opens <= now {
                    handover.open();
                }
                true
            });
        }
        left.retain(|_, windows| !windows.is_empty());
        over.then(|| Current {
            previous: left,
            ..self.clone()
        })
    }

    /// With a snapshot of what it is now. Where the servers of a pool with warm scaling are others than `before`,
    /// those are its previous ones for a while.
    pub(super) fn compiled(
        mut self,
        before: &Current,
        now: Instant,
    ) -> Result<Current, PlacementError> {
        let (old, new) = (before.filled(), self.filled());
        self.previous.retain(|name, windows| {
            let Some(pool) = new.pools.iter().find(|pool| pool.name == *name) else {
                return false;
            };
            if pool.warm_scaling.is_none() {
                for window in windows {
                    window.until = window.until.min(now);
                }
            }
            true
        });
        for pool in &new.pools {
            let was = old.pools.iter().find(|was| was.name == pool.name);
            if let (Some(window), Some(was)) = (pool.warm_scaling, was)
                && !was.servers.is_empty()
                && !pool.servers.is_empty()
                && was.selector()?.digest() != pool.selector()?.digest()
            {
                tracing::info!(
                    pool = pool.name,
                    from = was.servers.len(),
                    to = pool.servers.len(),
                    window_s = window.as_secs(),
                    "the servers have changed; previous ones are asked for what the new ones lack"
                );
                let learn = match pool.discover {
                    Some(_) => LEARN,
                    None => Duration::ZERO,
                };
                let opens = now + (pool.timeout + SLACK).max(learn).min(window / 10);
                let windows = self.previous.entry(pool.name.clone()).or_default();
                add(windows, was, now, opens, now + window);
            }
        }
        // One that is still a member may have moved meanwhile.
        let mut previous = BTreeMap::new();
        for (name, windows) in &self.previous {
            let is = new.pools.iter().find(|is| is.name == *name);
            let befores = windows.iter().map(|window| {
                let mut before = window.previous.clone();
                for server in &mut before.pool.servers {
                    let mut now = is.iter().flat_map(|is| &is.servers);
                    if let Some(same) = now.find(|is| is.name == server.name) {
                        server.addr = same.addr.clone();
                    }
                }
                before
            });
            previous.insert(name.clone(), befores.collect());
        }
        let locate = |addr: &ServerAddr| match addr {
            ServerAddr::Name { host, port } => match self.resolved.get(&(host.clone(), *port)) {
                Some(addrs) => ServerAddr::Found(addrs.clone()),
                None => addr.clone(),
            },
            addr => addr.clone(),
        };
        self.snapshot = Arc::new(Snapshot::compile_at(&new, &previous, locate)?);
        Ok(self)
    }
}

/// Remembers how a pool was before a change.
fn add(windows: &mut Vec<Window>, was: &Pool, now: Instant, opens: Instant, until: Instant) {
    let newest_is_new = windows.last().is_some_and(|newest| now < newest.opens);
    // Whoever was told of an earlier change only does not know where things are copied now.
    for window in &mut *windows {
        window.previous.handover.begin();
        window.opens = window.opens.max(opens);
    }
    // Servers join one by one. Where the least has been stored is what was before for the shortest time.
    if windows.len() >= MAX_CHANGES {
        if newest_is_new {
            return;
        }
        if let Some(oldest) = windows.first_mut() {
            oldest.until = oldest.until.min(now);
        }
    }
    windows.push(Window {
        previous: Previous {
            pool: was.clone(),
            handover: Handover::default(),
        },
        opens,
        until,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::route::tree::Node;

    fn config(servers: &str, warm: bool) -> Config {
        let text = format!(
            "[pools.a]\nservers = [{servers}]\nwarm_scaling = {warm}\nwarm_window = \"1m\""
        );
        config::parse("f", &text).unwrap().0
    }

    /// The servers before each change, joined by commas; the oldest first.
    fn previous(current: &Current) -> Vec<String> {
        let windows = current.previous.values().flatten();
        let servers = windows.map(|window| window.previous.pool.servers.iter());
        let names = servers.map(|servers| servers.map(|server| &*server.name).collect::<Vec<_>>());
        names.map(|names| names.join(",")).collect()
    }

    #[test]
    fn the_servers_before_a_change_are_kept_for_the_window() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let first = Current::new(&config("\"a:1\", \"b:1\"", true)).unwrap();
        let next = first.with_config(&config("\"a:1\", \"b:1\", \"c:1\"", true));
        let next = next.compiled(&first, start).unwrap();
        assert_eq!(previous(&next), ["a:1,b:1"]);
        assert_eq!(next.snapshot.pools.len(), 2);
        // What moves no key is no change.
        let same = next.clone().compiled(&next, start + second).unwrap();
        assert_eq!(previous(&same), ["a:1,b:1"]);
        assert!(same.without_windows(start + 59 * second).is_none());
        let over = same.without_windows(start + 60 * second).unwrap();
        let over = over.compiled(&same, start + 60 * second).unwrap();
        assert_eq!(previous(&over), [] as [&str; 0]);
        assert_eq!(over.snapshot.pools.len(), 1);
    }

    #[test]
    fn each_of_several_changes_is_remembered_for_its_own_time() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let first = Current::new(&config("\"a:1\"", true)).unwrap();
        let change = |current: &Current, servers: &str, seconds: u64| {
            let next = current.with_config(&config(servers, true));
            next.compiled(current, at(seconds)).unwrap()
        };
        let two = change(&first, "\"a:1\", \"b:1\"", 0);
        let three = change(&two, "\"a:1\", \"b:1\", \"c:1\"", 1);
        assert_eq!(previous(&three), ["a:1", "a:1,b:1"]);
        let moving = |node: u32| match three.snapshot.tree.node(node) {
            Some(Node::Moving { new, old, keys }) => (*new, *old, keys.clone()),
            other => panic!("{other:?}"),
        };
        let ((_, 1, oldest), (2, 3, newest)) = (moving(2), moving(4)) else {
            panic!("{:?}", three.snapshot.tree);
        };
        // The older change waits, too, until all know of the newer one.
        assert!(three.without_windows(at(2)).is_none());
        assert!(oldest.copy(b"k").is_none() && newest.copy(b"k").is_none());
        assert!(three.without_windows(at(4)).is_none());
        let copy = oldest.copy(b"k").unwrap();
        assert!(!newest.update(b"k").act(), "it is being copied");
        drop(copy);
        assert!(newest.update(b"k").act());
        let later = three.without_windows(at(60)).unwrap();
        assert_eq!(previous(&later), ["a:1,b:1"]);
        let later = later.without_windows(at(61)).unwrap();
        assert_eq!(previous(&later), [] as [&str; 0]);
    }

    #[test]
    fn of_many_changes_those_matter_that_were_for_longest() {
        let start = Instant::now();
        let listed = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("\"s{n}:1\"")).collect();
            names.join(", ")
        };
        let grown = |pause: u64| {
            let mut current = Current::new(&config(&listed(1), true)).unwrap();
            for count in 2..16 {
                let now = start + Duration::from_secs(count as u64 * pause);
                let next = current.with_config(&config(&listed(count), true));
                let next = next.compiled(&current, now).unwrap();
                current = next.without_windows(now).unwrap_or(next);
            }
            let before = previous(&current).into_iter();
            before
                .map(|servers| servers.split(',').count())
                .collect::<Vec<_>>()
        };
        // At once: the first one is where everything is.
        assert_eq!(grown(0), (1..=12).collect::<Vec<_>>());
        // With time in between: what the first one has has been asked for.
        assert_eq!(grown(4), (3..=14).collect::<Vec<_>>());
    }

    #[test]
    fn a_window_ends_only_when_nothing_is_being_copied() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let first = Current::new(&config("\"a:1\"", true)).unwrap();
        let next = first.with_config(&config("\"b:1\"", true));
        let next = next.compiled(&first, start).unwrap();
        let Some(Node::Moving { keys, .. }) = next.snapshot.tree.node(2) else {
            panic!("{:?}", next.snapshot.tree);
        };
        assert!(
            keys.copy(b"k").is_none(),
            "there may be requests from before"
        );
        assert!(next.without_windows(start + 2 * second).is_none());
        let copy = keys.copy(b"k").unwrap();
        // What is under way is known to what comes after a reload.
        let again = next.clone().compiled(&next, start + second).unwrap();
        let Some(Node::Moving { keys, .. }) = again.snapshot.tree.node(2) else {
            panic!("{:?}", again.snapshot.tree);
        };
        assert!(!keys.update(b"k").act());
        // Switched off: it ends, but not before that is done.
        let off = again.with_config(&config("\"b:1\"", false));
        let off = off.compiled(&again, start + 3 * second).unwrap();
        assert_eq!(previous(&off), ["a:1"]);
        assert!(off.without_windows(start + 4 * second).is_none());
        drop(copy);
        let over = off.without_windows(start + 4 * second).unwrap();
        assert_eq!(previous(&over), [] as [&str; 0]);
    }

    #[test]
    fn listed_servers_stay_until_others_are_found() {
        let start = Instant::now();
        let first = Current::new(&config("\"a:1\"", true)).unwrap();
        let text = "[pools.a]\ndiscover = \"a.example\"\nwarm_scaling = true";
        let finds = config::parse("f", text).unwrap().0;
        let next = first.with_config(&finds).compiled(&first, start).unwrap();
        let names = |current: &Current| {
            let pools = current.filled().pools;
            let names = pools[0].servers.iter().map(|server| server.name.clone());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(&next), ["a:1"]);
        assert_eq!(previous(&next), [] as [&str; 0]);
        let found = vec![Server::new(ServerAddr::Tcp(([127, 0, 0, 1], 2).into()))];
        let found = next
            .with_members("a", found)
            .compiled(&next, start)
            .unwrap();
        assert_eq!(names(&found), ["127.0.0.1:2"]);
        assert_eq!(previous(&found), ["a:1"]);
        // And back, and what had been found is forgotten.
        let back = found.with_config(&config("\"c:1\"", true));
        assert_eq!(names(&back), ["c:1"]);
    }

    #[test]
    fn without_warm_scaling_nothing_is_kept() {
        let first = Current::new(&config("\"a:1\"", false)).unwrap();
        let next = first.with_config(&config("\"b:1\"", false));
        let next = next.compiled(&first, Instant::now()).unwrap();
        assert_eq!(previous(&next), [] as [&str; 0]);
    }
}
