//! Looks up the host names of listed servers again and again, so that one that moves is found without a restart.
//!
//! Listed servers are members whether their names resolve or not. Until a name has resolved here, and while nothing
//! but the system can resolve it, it is looked up by the system at each connect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::Running;
use super::follow::jitter;
use crate::config::{Config, ServerAddr};
use crate::discovery::dns::{Dns, Host};
use crate::discovery::{Answer, Pace, Schedule};

/// A host and port as listed.
pub type Name = (String, u16);

/// What each listed name resolved to.
pub type Resolved = BTreeMap<Name, Vec<SocketAddr>>;

/// The names of the servers that are listed by name.
pub fn listed(config: &Config) -> BTreeSet<Name> {
    let servers = config.pools.iter().flat_map(|pool| &pool.servers);
    servers
        .filter_map(|server| match &server.addr {
            ServerAddr::Name { host, port } => Some((host.clone(), *port)),
            _ => None,
        })
        .collect()
}

/// Starts to look up these names, on the control thread; ends when aborted.
pub fn follow(
    running: Arc<Running>,
    dns: Dns,
    names: BTreeSet<Name>,
    pace: Pace,
    control: &tokio::runtime::Handle,
) -> AbortHandle {
    control
        .spawn(look_up(running, dns, names, pace))
        .abort_handle()
}

async fn look_up(running: Arc<Running>, dns: Dns, names: BTreeSet<Name>, pace: Pace) {
    let epoch = Instant::now();
    let mut random = jitter();
    let mut schedule = Schedule::new(pace, Duration::ZERO);
    let mut troubles = running.registry().troubles();
    let hosts: Vec<Host> = names
        .into_iter()
        .map(|(host, port)| Host {
            name: host.clone(),
            host,
            port,
        })
        .collect();
    let mut resolved = Resolved::new();
    let mut failing: BTreeSet<Name> = BTreeSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until((epoch + schedule.due()).into()) => {
                let mut changed = false;
                let mut valid = Duration::MAX;
                let mut failed = None;
                for (asked, named) in hosts.iter().zip(dns.names(&hosts).await) {
                    let name = (asked.host.clone(), asked.port);
                    match named.found {
                        Ok(found) => {
                            valid = valid.min(found.valid);
                            if failing.remove(&name) {
                                tracing::info!(name = asked.host, "the name of a server resolves again");
                            }
                            changed |= resolved.get(&name) != Some(&found.addrs);
                            resolved.insert(name, found.addrs);
                        }
                        Err(failure) => {
                            if failing.insert(name) {
                                tracing::warn!(
                                    name = asked.host,
                                    why = failure.kind.label(),
                                    "the name of a server can't be looked up; its last address stays, without one the system is asked at each connect: {}",
                                    failure.detail
                                );
                            }
                            failed = Some(failure);
                        }
                    }
                }
                let answer = match failed {
                    // The others are asked for as soon as the one that failed.
                    Some(failure) => Answer::Failed(failure),
                    None => Answer::Members { sightings: Vec::new(), valid },
                };
                if changed {
                    running.set_resolved(resolved.clone());
                }
                schedule.answered(epoch.elapsed(), &answer, changed, None, random());
            }
            trouble = troubles.recv() => {
                if matches!(trouble, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                    return;
                }
                // Servers have names of their own; whose name this is does not matter much.
                schedule.hurry(epoch.elapsed(), random());
            }
        }
    }
}
