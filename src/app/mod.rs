//! The running process: listeners, workers, signals, reload, drain.
//!
//! The main thread is the control thread; it accepts clients, watches the configuration and waits for
//! signals. Each worker is a thread of its own. A worker that panics is counted and replaced; its clients
//! lose their connections, the others notice nothing.

mod control;
mod current;
mod demo;
mod follow;
mod listen;
pub mod members;
mod names;
mod spooling;
mod trim;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use control::{StartError, Supply, run, run_from};
use current::Current;
pub use demo::demo;
use names::Resolved;

use crate::config::{Config, Server};
use crate::hash::{PlacementError, Selector};
use crate::route::compile::{PoolSnapshot, Role, Snapshot};
use crate::spool::Spool;
use crate::stats::metrics::State;
use crate::stats::report::{Registry, Reporter};
use crate::stats::servers::Sum;
use crate::worker::accept::{Fleet, Member};
use crate::worker::core::Core;
use crate::worker::driver::{Command, Driver};

/// Why the process could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener could not be opened.
    #[error("cannot listen on {listen}: {source}{hint}")]
    Listen {
        /// The address as configured.
        listen: String,
        /// What the system said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The configuration can't be compiled.
    #[error("{0}")]
    Placement(#[from] PlacementError),
    /// Logging can't be set up.
    #[error("{0}")]
    Log(#[from] crate::log::LogError),
    /// The system refused something basic.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All clients had their replies.
    Drained,
    /// The time for that was over.
    Cut,
}

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The first servers are being looked for.
    Starting,
    /// Clients are accepted.
    Serving,
    /// The process is about to end.
    Draining,
}

/// Shared by everything that runs.
pub struct Running {
    fleet: Arc<Fleet>,
    registry: Arc<Registry>,
    current: Mutex<Current>,
    phase: AtomicU8,
    threads: Mutex<Vec<JoinHandle<()>>>,
    spool: Arc<OnceLock<Arc<Spool>>>,
}

impl Running {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`AppError`] if the configuration can't be compiled or a thread not be started.
    pub fn start(config: &Config) -> Result<Arc<Running>, AppError> {
        let current = Current::new(config)?;
        let snapshot = Arc::clone(&current.snapshot);
        let count = config.workers.unwrap_or_else(default_workers).max(1);
        let registry = Arc::new(Registry::new(count));
        registry
            .max_connections
            .store(config.limits.max_connections as u64, Ordering::Relaxed);
        let mut members = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..count {
            let (sender, receiver) = mpsc::unbounded_channel();
            members.push(Arc::new(Member {
                inbox: Mutex::new(sender),
                load: Arc::new(AtomicUsize::new(0)),
            }));
            inboxes.push(receiver);
        }
        let running = Arc::new(Running {
            fleet: Arc::new(Fleet {
                members,
                max_clients: AtomicUsize::new(config.limits.max_connections),
            }),
            registry,
            current: Mutex::new(current),
            phase: AtomicU8::new(Phase::Starting as u8),
            threads: Mutex::default(),
            spool: Arc::default(),
        });
        running.open_spool(config)?;
        running.report_rings(&snapshot);
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let for_thread = Arc::clone(&running);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || for_thread.worker(index, inbox))
                .map_err(|e| AppError::System("cannot start a worker thread", e))?;
            running
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        Ok(running)
    }

    /// A worker's thread: its driver, replaced if it panics.
    fn worker(&self, index: usize, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let (Some(member), Some(stats)) = (
            self.fleet.members.get(index).map(Arc::clone),
            self.registry.worker(index),
        ) else {
            return;
        };
        loop {
            let outbox = member
                .inbox
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let core = Core::new(
                self.snapshot(),
                Box::new(Reporter::new(Arc::clone(&self.registry))),
                Arc::clone(&stats),
                seed(index),
            );
            let load = Arc::clone(&member.load);
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                // After every run of the worker's one task the sockets are polled again: a client that
                // always has more to read must not keep the others waiting.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .event_interval(2)
                    .max_blocking_threads(4)
                    .build()?;
                runtime.block_on(async {
                    let driver = Driver::new(core, inbox, outbox, load);
                    let driver = driver.with_spool(Arc::clone(&self.spool));
                    tokio::spawn(driver.run()).await
                })?;
                Ok::<(), io::Error>(())
            }));
            match outcome {
                Ok(Ok(())) => {
                    stats.beat.end();
                    return;
                }
                Ok(Err(error)) => {
                    tracing::error!(worker = index, %error, "a worker failed; replacing it")
                }
                Err(_) => tracing::error!(worker = index, "a worker panicked; replacing it"),
            }
            self.registry
                .replaced_workers
                .fetch_add(1, Ordering::Relaxed);
            stats.worker.curr_connections.set(0);
            let (sender, receiver) = mpsc::unbounded_channel();
            *member.inbox.lock().unwrap_or_else(PoisonError::into_inner) = sender;
            inbox = receiver;
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current().snapshot)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force, with the servers that are known.
    pub fn config(&self) -> Config {
        self.current().filled()
    }

    /// The figures.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Routes by a new configuration from now on. Listeners and the number of workers stay as they are.
    ///
    /// # Errors
    /// [`AppError::Placement`], or no thread can be started for a spool; then nothing has changed.
    pub fn apply(&self, config: &Config) -> Result<(), AppError> {
        // Before anything is written there.
        self.open_spool(config)?;
        let mut current = self.current();
        let next = current.with_config(config);
        self.replace(&mut current, next)?;
        drop(current);
        self.fleet
            .max_clients
            .store(config.limits.max_connections, Ordering::Relaxed);
        self.registry
            .max_connections
            .store(config.limits.max_connections as u64, Ordering::Relaxed);
        Ok(())
    }

    /// These are a pool's servers from now on. Ones that can't be placed change nothing.
    fn set_members(&self, pool: &str, servers: Vec<Server>) {
        let mut current = self.current();
        let next = current.with_members(pool, servers);
        if let Err(error) = self.replace(&mut current, next) {
            tracing::error!(pool, %error, "the servers that were found can't be used; those before stay");
        }
    }

    /// These are the addresses of servers that are listed by name from now on.
    fn set_resolved(&self, resolved: Resolved) {
        let mut current = self.current();
        let next = current.with_resolved(resolved);
        if let Err(error) = self.replace(&mut current, next) {
            // Placement knows no addresses, so this can't be.
            tracing::error!(%error, "the addresses of listed servers can't be used");
        }
    }

    /// Ends the times in which previous servers are asked, where they are over.
    fn end_windows(&self) {
        let mut current = self.current();
        if let Some(next) = current.without_windows(Instant::now())
            && let Err(error) = self.replace(&mut current, next)
        {
            tracing::error!(%error, "the end of a change of servers can't be routed by");
        }
    }

    /// Routes by `next` from now on. Workers are told while it is locked, so that they are told in order.
    fn replace(&self, current: &mut Current, next: Current) -> Result<(), PlacementError> {
        let next = next.compiled(current, Instant::now())?;
        *current = next;
        self.tell(&current.snapshot);
        Ok(())
    }

    /// Has the workers route by a snapshot.
    fn tell(&self, snapshot: &Arc<Snapshot>) {
        self.report_rings(snapshot);
        for member in &self.fleet.members {
            member.tell(Command::Apply(Arc::clone(snapshot)));
        }
    }

    /// Puts every pool's ring into the figures, and a new one into the log.
    fn report_rings(&self, snapshot: &Snapshot) {
        self.registry
            .keep_pools(|name| snapshot.pools.iter().any(|pool| pool.name == name));
        let mut pools = self.registry.pools();
        let configured = |pool: &&PoolSnapshot| pool.role == Role::Configured;
        for pool in snapshot.pools.iter().filter(configured) {
            let figures = pools.entry(pool.name.clone()).or_default();
            figures.servers = pool.servers.len();
            let digest = pool.selector.as_ref().map(Selector::digest);
            if let Some(digest) = digest
                && figures.digest != Some(digest)
            {
                tracing::info!(
                    pool = pool.name,
                    servers = pool.servers.len(),
                    digest = format_args!("{digest:016x}"),
                    "keys are placed by this ring; every ringroad with the same digest places them alike"
                );
            }
            figures.digest = digest;
        }
    }

    /// Whether clients may be sent here; if not, why.
    ///
    /// # Errors
    /// A sentence for whoever asks.
    pub fn ready(&self) -> Result<(), String> {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == Phase::Starting as u8 {
            return Err("starting: the first servers are being looked for".to_owned());
        }
        if phase == Phase::Draining as u8 {
            return Err("draining: the process is about to end".to_owned());
        }
        let snapshot = self.snapshot();
        let pools = snapshot.pools.iter();
        let pools: Vec<&PoolSnapshot> = pools.filter(|p| p.role == Role::Configured).collect();
        if pools.iter().all(|pool| pool.servers.is_empty()) {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let names = names.join(", ");
            return Err(format!("no servers have been found yet for: {names}"));
        }
        let servers = self.registry.sums();
        if !servers.is_empty() && servers.values().all(Sum::is_down) {
            return Err("no server is in service".to_owned());
        }
        Ok(())
    }

    /// The figures for Prometheus.
    pub fn metrics(&self) -> String {
        self.registry.metrics(State {
            ready: self.ready().is_ok(),
            draining: self.phase.load(Ordering::Relaxed) == Phase::Draining as u8,
        })
    }

    /// Clients are accepted, or no more are to be sent here.
    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Takes leave of all clients; returns when they are gone or the time is over.
    async fn drain(&self, until: Instant) -> Ended {
        for member in &self.fleet.members {
            member.tell(Command::Drain);
        }
        loop {
            let running = self
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|thread| !thread.is_finished());
            if !running {
                return Ended::Drained;
            }
            if Instant::now() >= until {
                return Ended::Cut;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One worker per core, at most four: a node's router shares the node with what it serves.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(4))
}

fn seed(index: usize) -> u64 {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64);
    nanos
        ^ (u64::from(std::process::id()) << 32)
        ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::stats::beat;

    /// Waits for a moment; false after twenty seconds.
    fn comes_true(condition: impl Fn() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while !condition() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    #[test]
    fn a_worker_that_hangs_is_noticed_and_one_that_idles_is_not() {
        let config = |port: u16| {
            let text = format!("workers = 2\n[pools.a]\nservers = [\"127.0.0.1:{port}\"]");
            parse("f", &text).unwrap().0
        };
        let running = Running::start(&config(1)).unwrap();
        let registry = running.registry();
        let limit = 3 * beat::PERIOD;
        assert!(comes_true(|| registry.beats().count() == 2));
        std::thread::sleep(limit + beat::PERIOD / 2);
        assert_eq!(registry.alive(limit), Ok(()), "idle workers beat, too");
        {
            // A worker that learns of another server registers it, which has to wait now.
            let _held = registry.locked();
            for member in &running.fleet.members {
                let snapshot = Arc::clone(&Current::new(&config(2)).unwrap().snapshot);
                member.tell(Command::Apply(snapshot));
            }
            assert!(comes_true(|| registry.alive(limit).is_err()));
            let why = registry.alive(limit).unwrap_err();
            assert!(
                why.starts_with("worker ") && why.contains("has not turned"),
                "{why}"
            );
        }
        assert!(comes_true(|| registry.alive(limit).is_ok()));
        for member in &running.fleet.members {
            member.tell(Command::Drain);
        }
        assert!(
            comes_true(|| registry.beats().count() == 0),
            "the end is no hang"
        );
        assert_eq!(registry.alive(Duration::ZERO), Ok(()));
    }
}
