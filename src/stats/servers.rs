//! The figures of servers, added up over workers.
//!
//! Each worker has figures of its own for each server, and gives them up when the server leaves the ring or its
//! settings change. What they had counted until then is kept for as long as any worker still has that server, and
//! its times for as long as its pool is there: a counter that went back would look like a new start to whoever
//! computes rates from it.
//!
//! A server that several pools list with the same settings has one connection, and figures under the first of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Destination;
use super::latency::ByFamily;
use super::results::Failed;

/// Figures that go down, too; those of what is closed are over.
const GAUGES: [&str; 4] = ["down", "connections", "waiting", "unsent_bytes"];

/// A server of a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub server: String,
}

/// What was counted for a server.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// By the counters' names.
    pub figures: BTreeMap<&'static str, u64>,
    /// How requests to it failed.
    pub results: BTreeMap<Failed, u64>,
    /// How long it took to answer.
    pub times: ByFamily,
}

impl Sum {
    fn add(&mut self, figures: &Destination) {
        for (name, value) in figures.values() {
            let sum = self.figures.entry(name).or_default();
            *sum = sum.wrapping_add(value);
        }
        for (failed, count) in figures.results.values() {
            let sum = self.results.entry(failed).or_default();
            *sum = sum.wrapping_add(count);
        }
        self.times.add(&figures.latency);
    }

    /// The figure of this name; 0 for one that there is not.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or(0)
    }

    /// Whether requests for it fail. A server is out for all workers or for none; not all may have heard yet.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.get("down") > 0
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Servers {
    open: Vec<(Id, Arc<Destination>)>,
    /// What has been closed, of servers that are open elsewhere.
    past: BTreeMap<Id, Sum>,
    /// Times of servers that nobody has any more, by pool.
    gone: BTreeMap<String, ByFamily>,
}

impl Servers {
    /// A worker has this one now.
    pub fn open(&mut self, id: Id, figures: Arc<Destination>) {
        self.open.push((id, figures));
    }

    /// A worker has given these up.
    pub fn close(&mut self, closed: impl Fn(&Arc<Destination>) -> bool) {
        let all = std::mem::take(&mut self.open);
        let (closed, open): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, figures)| closed(figures));
        self.open = open;
        for (id, figures) in closed {
            let past = self.past.entry(id).or_default();
            past.add(&figures);
            past.figures.retain(|name, _| !GAUGES.contains(name));
        }
        let (open, gone) = (&self.open, &mut self.gone);
        self.past.retain(|id, past| {
            let stays = open.iter().any(|(known, _)| known == id);
            if !stays {
                gone.entry(id.pool.clone())
                    .or_default()
                    .add_all(&past.times);
            }
            stays
        });
    }

    /// Only these pools are there.
    pub fn keep_pools(&mut self, there: impl Fn(&str) -> bool) {
        self.gone.retain(|pool, _| there(pool));
    }

    /// The figures of each server in each worker that has it.
    pub fn each(&self) -> impl Iterator<Item = (&Id, &Arc<Destination>)> {
        self.open.iter().map(|(id, figures)| (id, figures))
    }

    /// Each server's figures.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<Id, Sum> {
        let mut sums = self.past.clone();
        for (id, figures) in &self.open {
            sums.entry(id.clone()).or_default().add(figures);
        }
        sums
    }

    /// The times of each pool that has or had servers; `sums` are those of now.
    #[must_use]
    pub fn pools(&self, sums: &BTreeMap<Id, Sum>) -> BTreeMap<String, ByFamily> {
        let mut pools = self.gone.clone();
        for (id, sum) in sums {
            let pool = pools.entry(id.pool.clone()).or_default();
            pool.add_all(&sum.times);
        }
        pools
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::latency::Timing;

    fn id(server: &str) -> Id {
        Id {
            pool: "p".to_owned(),
            server: server.to_owned(),
        }
    }

    fn figures(requests: u64) -> Arc<Destination> {
        let figures = Destination::default();
        figures.requests.add(requests);
        figures.connections.set(1);
        figures
            .latency
            .record(Timing::new(b"get k", 0), 10, requests);
        Arc::new(figures)
    }

    #[test]
    fn counters_never_go_back_while_a_server_or_its_pool_is_there() {
        let mut servers = Servers::default();
        let (one, two) = (figures(3), figures(4));
        servers.open(id("a"), Arc::clone(&one));
        servers.open(id("a"), Arc::clone(&two));
        assert_eq!(servers.sums()[&id("a")].get("requests"), 7);
        assert_eq!(servers.sums()[&id("a")].get("connections"), 2);
        servers.close(|figures| Arc::ptr_eq(figures, &one));
        assert_eq!(servers.sums()[&id("a")].get("requests"), 7);
        assert_eq!(servers.sums()[&id("a")].get("connections"), 1);
        let times = |servers: &Servers| {
            let pools = servers.pools(&servers.sums());
            pools
                .get("p")
                .map(|pool| pool.together().cumulative().last())
        };
        assert_eq!(times(&servers), Some(Some((f64::INFINITY, 7))));
        servers.close(|figures| Arc::ptr_eq(figures, &two));
        assert!(servers.sums().is_empty());
        assert_eq!(times(&servers), Some(Some((f64::INFINITY, 7))));
        servers.keep_pools(|pool| pool != "p");
        assert_eq!(times(&servers), None);
    }

    #[test]
    fn one_is_down_if_any_worker_has_heard_so() {
        let mut servers = Servers::default();
        let down = Destination::default();
        servers.open(id("a"), Arc::default());
        assert!(!servers.sums()[&id("a")].is_down());
        down.down.set(1);
        servers.open(id("a"), Arc::new(down));
        assert!(servers.sums()[&id("a")].is_down());
        servers.open(id("a"), figures(1));
        assert!(servers.sums()[&id("a")].is_down(), "a connection is left");
    }
}
