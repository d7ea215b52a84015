//! The control thread of a running router: start, signals, reload, drain.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::follow::Followers;
use super::listen::{failed, listen, unlink};
use super::trim::Trim;
use super::{AppError, Ended, Phase, Running, members};
use crate::admin;
use crate::cli::{Failure, RunArgs};
use crate::config::watch::Watchers;
use crate::config::{self, Attempt, Config, FileRead, Listen, LoadError, Origin, Warning};
use crate::discovery::dns::Dns;
use crate::introspect::{self, Instance};
use crate::log::{self, LogHandle};
use crate::spool::daemon::Daemon;
use crate::stats::beat;
use crate::worker::accept::accept;

/// How long clients wait for servers to be found at the start, at most.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);

/// Servers that room is kept for in a pool that discovers them.
const FOUND: usize = 64;

/// How often it is tried to open an admin port that another process has.
const ADMIN_PAUSE: Duration = Duration::from_millis(200);

/// How often the configuration file is looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(500);

/// A configuration, and what it probably does not mean.
type Read = (Config, Vec<Warning>);

/// A configuration that may change while it runs.
pub struct Supply {
    /// Where it is read from.
    pub origin: Origin,
    /// What goes over it each time.
    pub over: Option<RunArgs>,
    /// Whether its files are watched.
    pub watches: bool,
    /// What is known of the process.
    pub instance: Arc<Instance>,
}

/// Runs `ringroad run` until a signal ends it.
///
/// # Errors
/// The configuration, a listener or the logging can't be used.
pub fn run(args: RunArgs) -> Result<(), Failure> {
    let origin = Origin::file(&args.config);
    let start = introspect::Start {
        arguments: format!("run --config {}", args.config.display()),
        ..introspect::Start::default()
    };
    let supply = Supply {
        instance: Arc::new(Instance::new(start, Some(origin.clone()))),
        origin,
        over: Some(args),
        watches: true,
    };
    run_from(supply, &[]).map_err(|error| match error {
        StartError::Config(error) => Failure::Config(error),
        StartError::App(error) => Failure::Runtime(error.to_string()),
    })
}

/// Why a router that was to run does not.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] LoadError),
    /// Anything else.
    #[error("{0}")]
    App(#[from] AppError),
}

/// Routes by a configuration until a signal ends it; logs `lines` at the start.
///
/// # Errors
/// The configuration, a listener or the logging can't be used.
pub fn run_from(supply: Supply, lines: &[String]) -> Result<(), StartError> {
    let Attempt { outcome, files } = supply.origin.read();
    let (outcome, read, instead_of) = match outcome {
        Ok(good) => (good, files.clone(), None),
        Err(error) => match supply.copy() {
            Some((copy, read)) => (copy, read, Some(error)),
            None => return Err(error.into()),
        },
    };
    let (mut config, warnings) = outcome;
    supply.apply(&mut config);
    let log = log::init(&config.log.level, config.log.format).map_err(AppError::from)?;
    for line in lines {
        tracing::warn!("{line}");
    }
    let instance = &supply.instance;
    if let Some(error) = &instead_of {
        instance.failed();
        tracing::error!("Failed to reconfigure: {error}");
        tracing::warn!(
            "the configuration is the copy of the last one that was good (--config-dump-root)"
        );
    }
    instance.log_by(log.clone());
    instance.applied(read, &config, instead_of.is_some());
    warn(&warnings);
    // Of the file as it is, so that a good one is seen when it is there.
    let watchers = Watchers::new(files);
    serve(config, log, Some((supply, watchers)), |_| {})?;
    Ok(())
}

impl Supply {
    /// The copy of the last good configuration, if there is one that is not too old, and the files it is made of.
    fn copy(&self) -> Option<(Read, Vec<FileRead>)> {
        let start = &self.instance.start;
        let root = start.dump_root.as_ref()?;
        let attempt = self.origin.read_by(&mut |path| {
            introspect::files::dumped(root, &self.instance, path, start.max_dump_age)
        });
        Some((attempt.outcome.ok()?, attempt.files))
    }

    fn apply(&self, config: &mut Config) {
        if let Some(args) = &self.over {
            args.apply(config);
        }
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Everything a reload needs.
struct Reloader {
    supply: Supply,
    watchers: Mutex<Watchers>,
    running: Arc<Running>,
    followers: Arc<Followers>,
    log: LogHandle,
    config: Mutex<Config>,
    /// Delivers what is in the spool.
    replay: Mutex<Option<Daemon>>,
}

impl Reloader {
    /// Has what is in the spool delivered, unless that goes on already.
    fn replay(&self) -> Result<(), AppError> {
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        if replay.is_none() {
            *replay = self.running.replay()?;
        }
        Ok(())
    }

    /// Reads the configuration again.
    fn reload(&self) -> Result<String, String> {
        let Attempt { outcome, files } = self.supply.origin.read();
        // A file that is wrong was seen, too; it is not to be reported again.
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen(files.clone(), outcome.is_ok());
        self.outcome(outcome, files)
    }

    /// Looks whether a file has changed; if so, reads all of it again.
    fn look(&self) {
        let changed = self
            .watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .changed();
        if changed {
            let _ = self.reload();
        }
    }

    /// Applies a configuration, or says why not; counts and logs either.
    fn outcome(
        &self,
        loaded: Result<Read, LoadError>,
        files: Vec<FileRead>,
    ) -> Result<String, String> {
        let registry = self.running.registry();
        let instance = &self.supply.instance;
        let applied = loaded
            .map_err(|e| e.to_string())
            .and_then(|(mut config, warnings)| {
                self.supply.apply(&mut config);
                let config = fit_to_file_limit(config);
                self.running.apply(&config).map_err(|e| e.to_string())?;
                self.replay().map_err(|e| e.to_string())?;
                self.followers.follow(&config);
                Ok((config, warnings))
            });
        match applied {
            Ok((config, warnings)) => {
                warn(&warnings);
                registry.reloaded(true);
                instance.applied(files, &config, false);
                if instance.start.is_mcrouter {
                    let servers = config.pools.iter().map(|pool| pool.servers.len());
                    tracing::info!(
                        "reconfigured {} proxies with {} pools, {} clients {})",
                        registry.workers(),
                        config.pools.len(),
                        servers.sum::<usize>(),
                        instance.digest(),
                    );
                }
                let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
                if current.log.level != config.log.level
                    && let Err(error) = self.log.set(&config.log.level)
                {
                    tracing::warn!(%error, "the log level stays as it is");
                }
                let mut text = "the new configuration is in force".to_owned();
                for (what, changed) in [
                    ("listen", current.listen != config.listen),
                    ("workers", current.workers != config.workers),
                    ("admin", current.admin != config.admin),
                    (
                        "spool",
                        current.spool.is_some() && current.spool != config.spool,
                    ),
                    ("log.format", current.log.format != config.log.format),
                    ("dns.servers", current.dns.servers != config.dns.servers),
                    ("dns.search", current.dns.search != config.dns.search),
                ] {
                    if changed {
                        text.push_str("; ");
                        text.push_str(what);
                        text.push_str(" takes effect at the next start");
                    }
                }
                *current = config;
                tracing::info!("{text}");
                Ok(text)
            }
            Err(error) => {
                registry.reloaded(false);
                instance.failed();
                if instance.start.is_mcrouter {
                    tracing::error!("Failed to reconfigure: {error}");
                    tracing::error!("Error while reconfiguring mcrouter after config change");
                    return Err(error);
                }
                tracing::error!(
                    "the new configuration is not used, the old one stays in force:\n{error}"
                );
                Err(error)
            }
        }
    }
}

/// Serves until a signal ends it; `started` is called when clients can connect.
pub(super) fn serve(
    config: Config,
    log: LogHandle,
    source: Option<(Supply, Watchers)>,
    started: impl FnOnce(&Running),
) -> Result<(), AppError> {
    let config = fit_to_file_limit(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| AppError::System("cannot start the event loop", e))?;
    runtime.block_on(serve_on(config, log, source, started))
}

async fn serve_on(
    config: Config,
    log: LogHandle,
    source: Option<(Supply, Watchers)>,
    started: impl FnOnce(&Running),
) -> Result<(), AppError> {
    let system = |e| AppError::System("cannot wait for signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(system)?;
    let listeners = config
        .listen
        .iter()
        .map(listen)
        .collect::<Result<Vec<_>, _>>()?;
    // Before the first request: weights that come later would move its key.
    let mut vars = config::vars::Reader::default();
    vars.look(config.runtime_vars.as_deref());
    let running = Running::start(&config)?;
    let followers = Arc::new(Followers::new(Arc::clone(&running), dns(&config.dns)));
    followers.follow(&config);
    running.registry().control.beat();
    let mut background = JoinSet::new();
    if let Some((supply, _)) = &source {
        let registry = running.registry();
        registry.belongs_to(Arc::clone(&supply.instance));
        let task = introspect::tasks::run(Arc::clone(&supply.instance), Arc::clone(registry), vars);
        background.spawn(task);
    }
    let reloader = source.map(|(supply, watchers)| {
        Arc::new(Reloader {
            supply,
            watchers: Mutex::new(watchers),
            running: Arc::clone(&running),
            followers: Arc::clone(&followers),
            log: log.clone(),
            config: Mutex::new(config.clone()),
            replay: Mutex::default(),
        })
    });
    let mut waiting_admin = JoinSet::new();
    let mut open_admin = Vec::new();
    for at in config.admin.iter().flat_map(|admin| &admin.listen) {
        let hooks = hooks(&running, &followers, &config, reloader.clone(), log.clone());
        let shared = config.listen.iter().any(|l| matches!(l, Listen::Shared(_)));
        match admin::start(at, hooks.clone()) {
            Ok(server) => open_admin.push(server),
            Err(error) if shared && error.kind() == io::ErrorKind::AddrInUse => {
                waiting_admin.spawn(take_over_admin(at.clone(), hooks));
            }
            Err(error) => return Err(failed(at, error)),
        }
    }
    // Clients wait at the door for the first servers, rather than being served errors.
    let mut ends = tokio::select! {
        _ = tokio::time::timeout(FIRST_ANSWERS, followers.first_answers()) => false,
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
    };
    // Not before servers are known: lines are for servers.
    let _replay = match &reloader {
        Some(reloader) => reloader.replay().map(|()| None),
        None => running.replay(),
    }?;
    let stop = Arc::new(Notify::new());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            Arc::clone(&running.fleet),
            Arc::clone(&stop),
        ));
    }
    tracing::info!(
        listen = %config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        pools = config.pools.len(),
        servers = running.config().pools.iter().map(|p| p.servers.len()).sum::<usize>(),
        workers = running.fleet.members.len(),
        "ringroad {} is ready",
        env!("CARGO_PKG_VERSION"),
    );
    let served = !ends;
    if served {
        running.enter(Phase::Serving);
    }
    started(&running);
    let mut watch = tokio::time::interval(WATCH_PERIOD);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut windows = tokio::time::interval(Duration::from_secs(1));
    windows.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trim = Trim::default();
    while !ends {
        tokio::select! {
            _ = windows.tick() => {
                running.registry().control.beat();
                running.end_windows();
                trim.look(running.registry().clients());
            }
            _ = terminate.recv() => ends = true,
            _ = interrupt.recv() => ends = true,
            _ = hang_up.recv() => if let Some(reloader) = &reloader {
                let _ = reloader.reload();
            },
            _ = watch.tick(), if reloader.is_some() => if let Some(reloader) = &reloader
                && reloader.supply.watches
            {
                reloader.look();
            },
        }
    }
    // From here on the time that this may take is bounded.
    running.registry().control.end();
    running.enter(Phase::Draining);
    let (drain, delay) = match &reloader {
        Some(r) => {
            let config = r.config.lock().unwrap_or_else(PoisonError::into_inner);
            (config.drain, config.shutdown_delay)
        }
        None => (config.drain, config.shutdown_delay),
    };
    let until = Instant::now() + drain;
    let leave = async {
        if served && !delay.is_zero() {
            tracing::info!(
                delay_s = delay.as_secs_f64(),
                "about to end; clients are accepted for a while (shutdown_delay)"
            );
            tokio::time::sleep(delay).await;
        }
        // Whoever has connected is still served; each acceptor ends when nobody waits at its door.
        stop.notify_waiters();
        let _ = tokio::time::timeout_at(until.into(), accepting.join_all()).await;
        for address in &config.listen {
            unlink(address);
        }
        tracing::info!(
            clients = running.fleet.clients(),
            limit_s = until
                .saturating_duration_since(Instant::now())
                .as_secs_f64(),
            "no new clients; finishing what is under way"
        );
        running.drain(until).await
    };
    let ended = tokio::select! {
        ended = leave => ended,
        _ = terminate.recv() => Ended::Cut,
        _ = interrupt.recv() => Ended::Cut,
    };
    if let Some(spool) = running.spool.get() {
        spool.close();
    }
    match ended {
        Ended::Drained => tracing::info!("done"),
        Ended::Cut => tracing::warn!(
            clients = running.fleet.clients(),
            "the time to finish is over; closing the rest"
        ),
    }
    Ok(())
}

/// Opens the admin port when the process that has it ends; to be called where another process ends because of this one.
async fn take_over_admin(at: Listen, hooks: admin::Hooks) {
    tracing::info!(listen = %at, "another process has the admin port; it is opened when that has ended");
    loop {
        tokio::time::sleep(ADMIN_PAUSE).await;
        match admin::start(&at, hooks.clone()) {
            Ok(_server) => {
                tracing::info!(listen = %at, "the admin port is open");
                return std::future::pending().await;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::error!(%error, "cannot open the admin port (admin.listen)");
                return;
            }
        }
    }
}

/// Whom to ask for names.
pub(super) fn dns(config: &config::Dns) -> Dns {
    if config.servers.is_empty() {
        return Dns::from_system();
    }
    let search: Vec<&str> = config.search.iter().map(String::as_str).collect();
    Dns::with_servers(&config.servers, &search)
}

fn hooks(
    running: &Arc<Running>,
    followers: &Arc<Followers>,
    config: &Config,
    reloader: Option<Arc<Reloader>>,
    log: LogHandle,
) -> admin::Hooks {
    let for_ready = Arc::clone(running);
    let for_metrics = Arc::clone(running);
    let for_alive = Arc::clone(running.registry());
    let registry = Arc::clone(running.registry());
    let first = config.to_toml();
    let for_config = reloader.clone();
    admin::Hooks {
        ready: Arc::new(move || for_ready.ready()),
        alive: Arc::new(move || for_alive.alive(beat::LIMIT)),
        metrics: Arc::new(move || for_metrics.metrics()),
        stats: Arc::new(move || registry.json()),
        config: Arc::new(move || match &for_config {
            Some(r) => r
                .config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .to_toml(),
            None => first.clone(),
        }),
        members: members::hook(running, followers),
        reload: Arc::new(move || match &reloader {
            Some(reloader) => reloader.reload(),
            None => Err("there is no configuration file to read again".to_owned()),
        }),
        log,
    }
}

/// Lets this process open as many files as it may. If that is fewer than all its clients and servers need, it
/// takes fewer clients: without a file for a server's connection nobody would be served.
fn fit_to_file_limit(mut config: Config) -> Config {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused: then it is as it was, which is looked at next.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let Some(have) = getrlimit(Resource::Nofile).current else {
        return config;
    };
    let workers = config.workers.unwrap_or_else(super::default_workers);
    let upstream: usize = config
        .pools
        .iter()
        .map(|pool| {
            let servers = match &pool.discover {
                Some(_) => pool.servers.len().max(FOUND),
                None => pool.servers.len(),
            };
            servers * pool.connections * workers
        })
        .sum();
    // Listeners, the log, the event loops, the admin port and its connections.
    let reserve = upstream + config.listen.len() + 8 * workers + 32;
    let clients = (have as usize).saturating_sub(reserve).max(1);
    if clients < config.limits.max_connections {
        tracing::warn!(
            wanted = config.limits.max_connections,
            clients,
            open_files = have,
            "fewer clients than limits.max_connections are accepted, because so few files may be open; raise ulimit -n"
        );
        config.limits.max_connections = clients;
    }
    config
}
