//! `ringroad demo`: a router and its cache servers in one process, with nothing to install.

use std::io::Write;
use std::time::Duration;

use super::AppError;
use super::control::serve;
use crate::cli::{DemoArgs, Failure};
use crate::config::{Config, Listen, Pool, Server, ServerAddr};
use crate::embedded::server::run_many;
use crate::log;

/// How long Ctrl-C waits for clients that are in the middle of something, such as somebody who has typed half a
/// `set`. The servers are in this process and answer at once; nobody wants to wait for a demo to end.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs the demo until a signal ends it.
///
/// # Errors
/// The cache servers or the router can't be started.
pub fn demo(args: DemoArgs) -> Result<(), Failure> {
    let runtime = |e: AppError| Failure::Runtime(e.to_string());
    let caches = run_many(usize::from(args.servers), args.memory)
        .map_err(|e| runtime(AppError::System("cannot start the cache servers", e)))?;
    let servers = caches
        .iter()
        .enumerate()
        .map(|(i, cache)| Server {
            name: format!("cache-{i}"),
            ..Server::new(ServerAddr::Tcp(cache.addr()))
        })
        .collect();
    let mut config = Config::single_pool(vec![args.listen.clone()], Pool::new("demo", servers));
    config.flush_all = true;
    config.drain = DRAIN;
    config.log.level = "warn".to_owned();
    args.log.apply(&mut config.log);
    let log =
        log::init(&config.log.level, config.log.format).map_err(|e| runtime(AppError::from(e)))?;
    let shown = config.clone();
    serve(config, log, None, |_| {
        // Nobody is left to tell if standard output is closed.
        let _ = welcome(&args.listen, &shown);
    })
    .map_err(runtime)
}

fn welcome(listen: &Listen, config: &Config) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "ringroad is running in front of {} small cache servers in this process:",
        config.pools.iter().map(|p| p.servers.len()).sum::<usize>()
    )?;
    for server in config.pools.iter().flat_map(|p| &p.servers) {
        writeln!(out, "  {}  {}", server.name, server.addr)?;
    }
    writeln!(
        out,
        "Every key always goes to the same one of them. Clients connect to {listen}.\n"
    )?;
    match listen {
        Listen::Tcp(addr) | Listen::Shared(addr) => {
            let host = if addr.ip().is_loopback() || addr.ip().is_unspecified() {
                "localhost".to_owned()
            } else {
                addr.ip().to_string()
            };
            writeln!(
                out,
                "Try it from another terminal:\n  telnet {host} {}",
                addr.port()
            )?;
        }
        Listen::Inherited(_) => {}
        Listen::Unix { path, .. } => {
            writeln!(
                out,
                "Try it from another terminal:\n  nc -U {}",
                path.display()
            )?;
        }
    }
    writeln!(
        out,
        "and type\n  set mykey 0 0 5\n  hello\n  get mykey\n  quit\n\nStop it with Ctrl-C. With servers of your own: ringroad run --help"
    )?;
    out.flush()
}
