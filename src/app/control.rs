//! The control thread of a running router: start, signals, reload, drain.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::listen::{listen, unlink};
use super::{AppError, Ended, Running};
use crate::admin;
use crate::cli::RunArgs;
use crate::config::watch::Watcher;
use crate::config::{self, Config, LoadError, Warning};
use crate::log::{self, LogHandle};
use crate::worker::accept::accept;

/// How often the configuration file is looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(500);

/// Runs `ringroad run` until a signal ends it.
///
/// # Errors
/// The configuration, a listener or the logging can't be used.
pub fn run(args: RunArgs) -> Result<(), crate::cli::Failure> {
    let loaded = args.load()?;
    let runtime = |e: AppError| crate::cli::Failure::Runtime(e.to_string());
    let log = log::init(&loaded.config.log.level, loaded.config.log.format)
        .map_err(|e| runtime(e.into()))?;
    warn(&loaded.warnings);
    let watcher = Watcher::new(&args.config, loaded.text);
    serve(loaded.config, log, Some((args, watcher)), |_| {}).map_err(runtime)
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Everything a reload needs.
struct Reloader {
    args: RunArgs,
    watcher: Mutex<Watcher>,
    running: Arc<Running>,
    log: LogHandle,
    config: Mutex<Config>,
}

impl Reloader {
    /// Reads the file again, for a signal or the admin port.
    fn reload(&self) -> Result<String, String> {
        let loaded = config::load(&self.args.config);
        if let Ok((_, _, text)) = &loaded {
            self.watcher
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .seen(text);
        }
        self.outcome(loaded.map(|(config, warnings, _)| (config, warnings)))
    }

    /// Looks whether the file has changed; if so, applies it.
    fn look(&self) {
        let changed = self
            .watcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .changed();
        let name = self.args.config.display().to_string();
        match changed {
            None => {}
            Some(Ok(text)) => {
                let _ = self.outcome(config::parse(&name, &text).map_err(LoadError::Invalid));
            }
            Some(Err(error)) => {
                let _ = self.outcome(Err(LoadError::Read { file: name, error }));
            }
        }
    }

    /// Applies a configuration, or says why not; counts and logs either.
    fn outcome(&self, loaded: Result<(Config, Vec<Warning>), LoadError>) -> Result<String, String> {
        let registry = self.running.registry();
        let applied = loaded
            .map_err(|e| e.to_string())
            .and_then(|(mut config, warnings)| {
                self.args.apply(&mut config);
                self.running.apply(&config).map_err(|e| e.to_string())?;
                Ok((config, warnings))
            });
        match applied {
            Ok((config, warnings)) => {
                warn(&warnings);
                registry.reloads.fetch_add(1, Ordering::Relaxed);
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
                    ("log.format", current.log.format != config.log.format),
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
                registry.failed_reloads.fetch_add(1, Ordering::Relaxed);
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
    source: Option<(RunArgs, Watcher)>,
    started: impl FnOnce(&Running),
) -> Result<(), AppError> {
    raise_file_limit(config.limits.max_connections);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| AppError::System("cannot start the event loop", e))?;
    runtime.block_on(serve_on(config, log, source, started))
}

async fn serve_on(
    config: Config,
    log: LogHandle,
    source: Option<(RunArgs, Watcher)>,
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
    let running = Running::start(&config)?;
    let reloader = source.map(|(args, watcher)| {
        Arc::new(Reloader {
            args,
            watcher: Mutex::new(watcher),
            running: Arc::clone(&running),
            log: log.clone(),
            config: Mutex::new(config.clone()),
        })
    });
    let _admin = match &config.admin {
        Some(at) => Some(
            admin::start(at.listen, hooks(&running, &config, reloader.clone(), log))
                .map_err(|e| AppError::System("cannot open the admin port (admin.listen)", e))?,
        ),
        None => None,
    };
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&running.fleet)));
    }
    tracing::info!(
        listen = %config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        pools = config.pools.len(),
        servers = config.pools.iter().map(|p| p.servers.len()).sum::<usize>(),
        workers = running.fleet.members.len(),
        "ringroad {} is ready",
        env!("CARGO_PKG_VERSION"),
    );
    started(&running);
    let mut watch = tokio::time::interval(WATCH_PERIOD);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => if let Some(reloader) = &reloader {
                let _ = reloader.reload();
            },
            _ = watch.tick(), if reloader.is_some() => if let Some(reloader) = &reloader {
                reloader.look();
            },
        }
    }
    // Whoever is being accepted right now is served; the sockets close with the last acceptor.
    accepting.shutdown().await;
    for address in &config.listen {
        unlink(address);
    }
    let drain = match &reloader {
        Some(r) => {
            r.config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .drain
        }
        None => config.drain,
    };
    tracing::info!(
        clients = running.fleet.clients(),
        limit_s = drain.as_secs_f64(),
        "no new clients; finishing what is under way"
    );
    let ended = tokio::select! {
        ended = running.drain(drain) => ended,
        _ = terminate.recv() => Ended::Cut,
        _ = interrupt.recv() => Ended::Cut,
    };
    match ended {
        Ended::Drained => tracing::info!("done"),
        Ended::Cut => tracing::warn!(
            clients = running.fleet.clients(),
            "the time to finish is over; closing the rest"
        ),
    }
    Ok(())
}

fn hooks(
    running: &Arc<Running>,
    config: &Config,
    reloader: Option<Arc<Reloader>>,
    log: LogHandle,
) -> admin::Hooks {
    let for_ready = Arc::clone(running);
    let registry = Arc::clone(running.registry());
    let first = config.to_toml();
    let for_config = reloader.clone();
    admin::Hooks {
        ready: Arc::new(move || for_ready.ready()),
        stats: Arc::new(move || registry.json()),
        config: Arc::new(move || match &for_config {
            Some(r) => r
                .config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .to_toml(),
            None => first.clone(),
        }),
        reload: Arc::new(move || match &reloader {
            Some(reloader) => reloader.reload(),
            None => Err("there is no configuration file to read again".to_owned()),
        }),
        log,
    }
}

/// Lets this process open as many files as it may, and says so if that is fewer than it may need.
fn raise_file_limit(clients: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Refused: then it is as it was, which the next line reports.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let have = getrlimit(Resource::Nofile).current;
    // Servers' connections, listeners and the log need some, too.
    let need = clients as u64 + 256;
    if have.is_some_and(|have| have < need) {
        tracing::warn!(
            have,
            need,
            "fewer files may be open than limits.max_connections asks for; raise ulimit -n"
        );
    }
}
