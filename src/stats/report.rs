//! The process's figures as text: memcached's `stats` in memcached's names.
//!
//! A [`Registry`] is shared by all workers. Figures that a router has no equivalent of (items, bytes stored,
//! evictions) are 0, because a router stores nothing and exporters fail on a missing name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use super::Destination;
use super::beat::Beat;
pub use super::process::cpu_seconds;
use super::servers::{Id, Servers, Sum};
use crate::config::{Compat, ServerAddr};
use crate::introspect::{Instance, View, commands, figures};
use crate::spool::Figures;
use crate::upstream::owed::{Debts, Owed};
use crate::upstream::tko::Tkos;
use crate::worker::core::{Local, Stats};

/// The version clients are told: that of the memcached whose behaviour is followed, and nothing else. Some libraries
/// read the number from the end of the line (Node's memcached), and switch features by it.
pub const VERSION: &str = "1.6.45";

/// Names of troubled servers that wait to be heard; whoever is behind by more hears that it is.
const TROUBLES: usize = 256;

/// Everything that can be reported.
#[derive(Debug)]
pub struct Registry {
    started: Instant,
    /// Milliseconds since 1970.
    pub(super) started_at: u64,
    pub(super) workers: Vec<Arc<Stats>>,
    /// The sign of life of the thread that accepts clients and looks after the others.
    pub control: Beat,
    pub(super) servers: Mutex<Servers>,
    /// Configurations applied since the start.
    pub reloads: AtomicU64,
    /// Configurations refused since the start.
    pub failed_reloads: AtomicU64,
    /// When a configuration was last applied, the one of the start included, in milliseconds since 1970.
    applied_at: AtomicU64,
    /// Whether the last attempt to apply one failed.
    last_failed: AtomicBool,
    /// Workers that were replaced after a panic.
    pub replaced_workers: AtomicU64,
    /// The most clients.
    pub max_connections: AtomicU64,
    /// What is known of each pool besides its servers' figures.
    pools: Mutex<BTreeMap<String, Pool>>,
    /// Names of servers whose connections fail.
    troubled: broadcast::Sender<Arc<str>>,
    /// What is owed to servers.
    debts: Debts,
    /// Which servers are out of service.
    pub(super) tkos: Arc<Tkos>,
    /// What is known of the process besides figures.
    instance: OnceLock<Arc<Instance>>,
    /// Of the spool, if there is one.
    pub spool: OnceLock<Arc<Figures>>,
}

/// What is known of a pool besides its servers' figures.
#[derive(Debug, Default)]
pub struct Pool {
    /// How many servers are in the ring.
    pub servers: usize,
    /// What the placement was computed from, in short: equal where keys go to the same servers.
    pub digest: Option<u64>,
    /// Of a pool that discovers its servers.
    pub discovery: Option<Discovery>,
}

/// How the discovery of a pool's servers goes.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// When each source last answered; `None` for one that never did.
    pub answered: Vec<Option<Instant>>,
    /// Servers that keep their places although they are no longer found.
    pub absent: usize,
    /// What happened how often: `answers`, `failed_KIND`, `change_KIND`, `notice_KIND`.
    pub counts: BTreeMap<String, u64>,
}

impl Pool {
    /// Seconds since the source that has not answered for longest last did; unknown if one never did.
    pub(super) fn discovery_age(&self) -> Option<f64> {
        let answered = self.discovery.as_ref()?.answered.iter();
        let ages = answered.map(|at| at.map(|at| at.elapsed().as_secs_f64()));
        ages.collect::<Option<Vec<_>>>()?
            .into_iter()
            .reduce(f64::max)
    }

    fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::from([("servers".to_owned(), self.servers.to_string())]);
        if let Some(digest) = self.digest {
            values.insert("ring_digest".to_owned(), format!("{digest:016x}"));
        }
        if let Some(discovery) = &self.discovery {
            // That of a source that never answered is unknown.
            let age = self
                .discovery_age()
                .map_or("-1".to_owned(), |age| (age as u64).to_string());
            values.insert("discovery_age_seconds".to_owned(), age);
            values.insert("absent".to_owned(), discovery.absent.to_string());
            for (what, count) in &discovery.counts {
                values.insert(format!("discovery_{what}"), count.to_string());
            }
        }
        values
    }
}

impl Registry {
    /// A registry for this many workers.
    pub fn new(workers: usize) -> Registry {
        Registry {
            started: Instant::now(),
            started_at: wall_ms(),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            control: Beat::default(),
            servers: Mutex::default(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
            applied_at: AtomicU64::new(wall_ms()),
            last_failed: AtomicBool::new(false),
            replaced_workers: AtomicU64::new(0),
            max_connections: AtomicU64::new(0),
            pools: Mutex::default(),
            troubled: broadcast::channel(TROUBLES).0,
            debts: Debts::default(),
            tkos: Arc::default(),
            instance: OnceLock::new(),
            spool: OnceLock::new(),
        }
    }

    /// This is what is known of the process besides figures; said once.
    pub fn belongs_to(&self, instance: Arc<Instance>) {
        let _ = self.instance.set(instance);
    }

    /// What is known of the process besides figures, if anything.
    pub fn instance(&self) -> Option<&Arc<Instance>> {
        self.instance.get()
    }

    /// Which servers are out of service.
    pub fn tkos(&self) -> &Tkos {
        &self.tkos
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The figures of each worker.
    pub fn each_worker(&self) -> impl Iterator<Item = &Arc<Stats>> {
        self.workers.iter()
    }

    /// The figures of one worker.
    pub fn worker(&self, index: usize) -> Option<Arc<Stats>> {
        self.workers.get(index).map(Arc::clone)
    }

    pub(crate) fn locked(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only these pools are there from now on.
    pub fn keep_pools(&self, there: impl Fn(&str) -> bool) {
        self.pools().retain(|name, _| there(name));
        self.locked().keep_pools(there);
    }

    /// A configuration was applied, or refused.
    pub fn reloaded(&self, applied: bool) {
        let count = if applied {
            self.applied_at.store(wall_ms(), Ordering::Relaxed);
            &self.reloads
        } else {
            &self.failed_reloads
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.last_failed.store(!applied, Ordering::Relaxed);
    }

    /// When a configuration was last applied, in seconds since 1970, and whether the last attempt succeeded.
    pub(super) fn last_reload(&self) -> (f64, bool) {
        let at = self.applied_at.load(Ordering::Relaxed) as f64 / 1e3;
        (at, !self.last_failed.load(Ordering::Relaxed))
    }

    /// Whether each thread that serves has beaten within `limit`; if not, which one hangs.
    ///
    /// # Errors
    /// A sentence for whoever asks.
    pub fn alive(&self, limit: Duration) -> Result<(), String> {
        for (name, age) in self.beats() {
            if age > limit {
                return Err(format!("{name} has not turned for {} s", age.as_secs()));
            }
        }
        Ok(())
    }

    /// The threads that run, and how long ago each beat.
    pub(crate) fn beats(&self) -> impl Iterator<Item = (String, Duration)> {
        let workers = self.workers.iter().enumerate();
        let workers = workers.map(|(index, stats)| (format!("worker {index}"), stats.beat.age()));
        std::iter::once(("the control thread".to_owned(), self.control.age()))
            .chain(workers)
            .filter_map(|(name, age)| Some((name, age?)))
    }

    /// What is known of each pool, to be changed.
    pub fn pools(&self) -> MutexGuard<'_, BTreeMap<String, Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to this server failed.
    pub fn troubled(&self, name: &str) {
        // Nobody listens where no pool discovers its servers.
        if self.troubled.receiver_count() > 0 {
            let _ = self.troubled.send(name.into());
        }
    }

    /// Hears the names of servers whose connections fail, from now on.
    pub fn troubles(&self) -> broadcast::Receiver<Arc<str>> {
        self.troubled.subscribe()
    }

    /// The workers' counters added up, by name.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        let mut totals = BTreeMap::new();
        for stats in &self.workers {
            for (name, value) in stats.worker.values() {
                *totals.entry(name).or_default() += value;
            }
        }
        totals
    }

    /// Errors by kind, added up.
    pub fn errors(&self) -> BTreeMap<&'static str, u64> {
        let mut totals = BTreeMap::new();
        for stats in &self.workers {
            for (kind, value) in stats.errors.values() {
                *totals.entry(kind.label()).or_default() += value;
            }
        }
        totals
    }

    /// What was counted for each server of each pool, added up over the workers.
    pub fn sums(&self) -> BTreeMap<Id, Sum> {
        self.locked().sums()
    }

    /// How many clients there are.
    pub fn clients(&self) -> u64 {
        let workers = self.workers.iter();
        let counts = workers.map(|stats| stats.worker.curr_connections.get());
        counts.fold(0, u64::wrapping_add)
    }

    /// Each server's figures added up over the workers, by the server's name.
    pub fn servers(&self) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
        let mut servers: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for (id, sum) in self.locked().sums() {
            let server = servers.entry(id.server).or_default();
            for (name, value) in sum.figures {
                *server.entry(name).or_default() += value;
            }
        }
        servers
    }

    /// All figures, for the admin port.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.uptime(),
            "workers": self.workers.len(),
            "reloads": self.reloads.load(Ordering::Relaxed),
            "failed_reloads": self.failed_reloads.load(Ordering::Relaxed),
            "replaced_workers": self.replaced_workers.load(Ordering::Relaxed),
            "totals": self.totals(),
            "errors": self.errors(),
            "servers": self.servers(),
            "pools": self.pools().iter().map(|(name, pool)| (name.clone(), pool.values())).collect::<BTreeMap<_, _>>(),
        })
    }

    /// Seconds since the start.
    pub fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    fn general(&self, out: &mut String) {
        let totals = self.totals();
        let total = |name: &str| totals.get(name).copied().unwrap_or(0);
        let mut stat = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a String can't fail.
            let _ = write!(out, "STAT {name} {value}\r\n");
        };
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        stat("pid", &std::process::id());
        stat("uptime", &self.uptime());
        stat("time", &time);
        stat("version", &VERSION);
        stat("ringroad_version", &env!("CARGO_PKG_VERSION"));
        stat("pointer_size", &usize::BITS);
        let (user, system) = cpu_seconds();
        stat("rusage_user", &format_args!("{user:.6}"));
        stat("rusage_system", &format_args!("{system:.6}"));
        stat(
            "max_connections",
            &self.max_connections.load(Ordering::Relaxed),
        );
        stat("curr_connections", &total("curr_connections"));
        stat("total_connections", &total("total_connections"));
        stat("rejected_connections", &0);
        stat("cmd_get", &total("cmd_get"));
        stat("cmd_set", &total("cmd_set"));
        stat("cmd_flush", &total("cmd_flush"));
        stat("cmd_touch", &total("cmd_touch"));
        stat("cmd_meta", &total("cmd_meta"));
        stat("cmd_delete", &total("cmd_delete"));
        stat("cmd_arith", &total("cmd_arith"));
        stat("get_hits", &total("get_hits"));
        stat("get_misses", &total("get_misses"));
        for name in ["get_expired", "get_flushed", "delete_misses", "delete_hits"] {
            stat(name, &0);
        }
        stat("bytes_read", &total("bytes_read"));
        stat("bytes_written", &total("bytes_written"));
        stat("limit_maxbytes", &0);
        stat("accepting_conns", &1);
        stat("threads", &self.workers.len());
        for name in [
            "curr_items",
            "total_items",
            "bytes",
            "evictions",
            "reclaimed",
        ] {
            stat(name, &0);
        }
        let servers = self.servers();
        let down = servers
            .values()
            .filter(|s| s.get("down").is_some_and(|n| *n > 0))
            .count();
        stat("ringroad_servers", &servers.len());
        stat("ringroad_servers_down", &down);
        stat("ringroad_reloads", &self.reloads.load(Ordering::Relaxed));
        stat(
            "ringroad_failed_reloads",
            &self.failed_reloads.load(Ordering::Relaxed),
        );
        stat(
            "ringroad_replaced_workers",
            &self.replaced_workers.load(Ordering::Relaxed),
        );
        for name in [
            "get_errors",
            "errors",
            "closed_connections",
            "upstream_requests",
            "upstream_lines",
            "upstream_writes",
            "upstream_reads",
            "upstream_connects",
            "upstream_bad_replies",
            "client_writes",
            "sent_on",
            "gutter_deletes",
            "owed_updates",
            "owed_deletes",
            "owed_flushes",
            "moved_asked",
            "moved_hits",
            "moved_copied",
            "moved_skipped",
            "moved_updates",
            "turns",
            "buffered_bytes",
            "waiting_requests",
        ] {
            stat(&format!("ringroad_{name}"), &total(name));
        }
        for (label, count) in self.errors() {
            stat(&format!("ringroad_error_{label}"), &count);
        }
    }

    /// Appends the answer to `stats` with these arguments: the figures and `END`, or `ERROR`.
    pub fn answer(&self, args: &[u8], out: &mut Vec<u8>) {
        let mut text = String::new();
        let words: Vec<&[u8]> = args
            .split(|b| *b == b' ')
            .filter(|word| !word.is_empty())
            .collect();
        if let Some(instance) = self.instance() {
            let asked = match words.as_slice() {
                [b"mcrouter", rest @ ..] => Some(rest),
                // Where the names are mcrouter's, these are ringroad's own.
                [b"ringroad"] => None,
                rest if instance.start.is_mcrouter => Some(rest),
                _ => None,
            };
            if let Some(asked) = asked {
                return figures::answer(self, instance, asked, out);
            }
        }
        match words.as_slice() {
            [] | [b"ringroad"] => self.general(&mut text),
            [b"servers"] => {
                for (server, figures) in self.servers() {
                    for (name, value) in figures {
                        let _ = write!(text, "STAT {server}:{name} {value}\r\n");
                    }
                }
            }
            [b"pools"] => {
                for (pool, figures) in self.pools().iter() {
                    for (name, value) in figures.values() {
                        let _ = write!(text, "STAT {pool}:{name} {value}\r\n");
                    }
                }
            }
            [b"settings"] => {
                let _ = write!(
                    text,
                    "STAT maxconns {}\r\nSTAT num_threads {}\r\nSTAT cas_enabled yes\r\nSTAT binding_protocol ascii\r\n",
                    self.max_connections.load(Ordering::Relaxed),
                    self.workers.len(),
                );
            }
            // A router stores nothing, so there is nothing to list; memcached itself lists nothing when empty.
            [b"items" | b"slabs" | b"sizes" | b"conns"] => {}
            [b"reset"] => {
                out.extend_from_slice(b"RESET\r\n");
                return;
            }
            _ => {
                out.extend_from_slice(b"ERROR\r\n");
                return;
            }
        }
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"END\r\n");
    }
}

/// A worker's way to the registry. What it reported is taken out when it is dropped, so that a worker that
/// was replaced leaves nothing behind.
#[derive(Debug)]
pub struct Reporter {
    registry: Arc<Registry>,
    mine: Vec<Arc<Destination>>,
}

impl Reporter {
    /// A worker's way to this registry.
    pub fn new(registry: Arc<Registry>) -> Reporter {
        Reporter {
            registry,
            mine: Vec::new(),
        }
    }
}

impl Local for Reporter {
    fn unix_time(&self) -> u64 {
        let since = UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_secs())
    }

    fn version(&self) -> &[u8] {
        let start = self.registry.instance().map(|instance| &instance.start);
        match start.map(|start| start.compat) {
            Some(Compat::V0_36) => b"VERSION 36.0.0 mcrouter\r\n",
            _ => b"VERSION 1.6.45\r\n",
        }
    }

    fn introspect(&mut self, question: &[u8], view: &View<'_>) -> Vec<u8> {
        match self.registry.instance() {
            Some(instance) => commands::answer(question, instance, view),
            None => b"ERROR: nothing is known yet".to_vec(),
        }
    }

    fn stats(&mut self, args: &[u8], out: &mut Vec<u8>) {
        self.registry.answer(args, out);
    }

    fn opened(&mut self, pool: &str, name: &str, figures: Arc<Destination>) {
        self.mine.push(Arc::clone(&figures));
        let id = Id {
            pool: pool.to_owned(),
            server: name.to_owned(),
        };
        self.registry.locked().open(id, figures);
    }

    fn troubled(&mut self, name: &str) {
        self.registry.troubled(name);
    }

    fn owed(&mut self, name: &str, addr: &ServerAddr) -> Arc<Owed> {
        self.registry.debts.of(name, addr)
    }

    fn tkos(&self) -> Arc<Tkos> {
        Arc::clone(&self.registry.tkos)
    }

    fn closed(&mut self, figures: &Arc<Destination>) {
        self.mine.retain(|known| !Arc::ptr_eq(known, figures));
        self.registry
            .locked()
            .close(|known| Arc::ptr_eq(known, figures));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mine = &self.mine;
        self.registry
            .locked()
            .close(|known| mine.iter().any(|mine| Arc::ptr_eq(known, mine)));
    }
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_end_and_carry_the_names_exporters_need() {
        let registry = Registry::new(2);
        registry.workers[0].worker.cmd_get.add(3);
        registry.workers[1].worker.cmd_get.add(4);
        let mut out = Vec::new();
        registry.answer(b"", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("END\r\n"));
        assert!(text.contains("STAT cmd_get 7\r\n"));
        for name in [
            "pid",
            "uptime",
            "version",
            "ringroad_version",
            "curr_connections",
            "get_hits",
            "bytes",
            "curr_items",
        ] {
            assert!(text.contains(&format!("STAT {name} ")), "{name}");
        }
        let mut out = Vec::new();
        registry.answer(b"foo", &mut out);
        assert_eq!(out, b"ERROR\r\n");
    }
}
