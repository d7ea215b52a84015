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

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use control::run;
use current::Current;
pub use demo::demo;
use names::Resolved;

use crate::config::{Config, Server};
use crate::hash::{PlacementError, Selector};
use crate::route::compile::{PoolSnapshot, Role, Snapshot};
use crate::stats::report::{Registry, Reporter};
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

/// Shared by everything that runs.
pub struct Running {
    fleet: Arc<Fleet>,
    registry: Arc<Registry>,
    current: Mutex<Current>,
    draining: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
            draining: AtomicBool::new(false),
            threads: Mutex::default(),
        });
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
                    tokio::spawn(driver.run()).await
                })?;
                Ok::<(), io::Error>(())
            }));
            match outcome {
                Ok(Ok(())) => return,
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
    /// [`AppError::Placement`]; then nothing has changed.
    pub fn apply(&self, config: &Config) -> Result<(), AppError> {
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
        let mut pools = self.registry.pools();
        pools.retain(|name, _| snapshot.pools.iter().any(|pool| pool.name == *name));
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
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining: the process is about to end".to_owned());
        }
        let empty: Vec<String> = self
            .snapshot()
            .pools
            .iter()
            .filter(|pool| pool.role == Role::Configured && pool.servers.is_empty())
            .map(|pool| pool.name.clone())
            .collect();
        if !empty.is_empty() {
            return Err(format!(
                "no servers have been found yet for: {}",
                empty.join(", ")
            ));
        }
        let servers = self.registry.servers();
        let workers = self.fleet.members.len() as u64;
        let down =
            |s: &std::collections::BTreeMap<_, u64>| s.get("down").is_some_and(|n| *n >= workers);
        if !servers.is_empty() && servers.values().all(down) {
            return Err("no server is in service".to_owned());
        }
        Ok(())
    }

    /// Takes leave of all clients; returns when they are gone or `limit` is over.
    async fn drain(&self, limit: Duration) -> Ended {
        self.draining.store(true, Ordering::Relaxed);
        let until = Instant::now() + limit;
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
