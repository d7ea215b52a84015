//! Asks one source, whichever kind it is.
//!
//! A source that lists its members (a file, an endpoint) may list them by host names; these are looked up here,
//! and a name that can't be looked up now keeps the addresses it had.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dns::{Dns, Found, Notice, NoticeKind};
use super::file::FileSource;
use super::{Answer, Failure, FailureKind, Listed, Pace, Sighting, dns, endpoint};
use crate::config::Source;

/// How long a configuration endpoint may take.
const ENDPOINT_LIMIT: Duration = Duration::from_secs(5);

/// How long an endpoint's answer holds; its own clients ask once a minute.
const ENDPOINT_VALID: Duration = Duration::from_secs(60);

/// How often a file is looked at.
const FILE_PERIOD: Duration = Duration::from_secs(1);

/// The longest that the addresses of a listed name are taken for true without asking.
const NAME_VALID: Duration = Duration::from_secs(30);

/// See the [module](self).
pub struct Asker {
    source: Source,
    dns: Dns,
    file: Option<FileSource>,
    names: HashMap<(String, u16), Resolved>,
}

struct Resolved {
    addrs: Vec<SocketAddr>,
    until: Instant,
}

impl Asker {
    /// Asks `source`, with `dns` for the names in it.
    #[must_use]
    pub fn new(source: &Source, dns: &Dns) -> Asker {
        let file = match source {
            Source::File(path) => Some(FileSource::new(path)),
            _ => None,
        };
        Asker {
            source: source.clone(),
            dns: dns.clone(),
            file,
            names: HashMap::new(),
        }
    }

    /// How often to ask: `pace`, except for a file, which costs little to look at.
    #[must_use]
    pub fn pace(&self, pace: Pace) -> Pace {
        match self.file {
            None => pace,
            Some(_) => Pace {
                floor: FILE_PERIOD,
                ceiling: FILE_PERIOD,
                retry_ceiling: FILE_PERIOD,
                hurry: FILE_PERIOD,
            },
        }
    }

    /// Asks once. Takes no longer than [`dns::ASK_LIMIT`] for names and a few seconds for an endpoint.
    pub async fn ask(&mut self) -> Found {
        match &self.source {
            Source::Service {
                name,
                port,
                port_name,
                identity,
            } => {
                let port_name = port_name.as_deref();
                self.dns.service(name, *port, port_name, *identity).await
            }
            Source::Ordinals { pattern, port } => self.dns.ordinals(pattern, *port).await,
            Source::Addresses {
                name,
                port,
                identity,
            } => self.dns.addresses(name, *port, *identity).await,
            Source::File(_) => {
                let Some(file) = &mut self.file else {
                    return Found::failed(Failure::new(FailureKind::Io, "not opened"));
                };
                file.poll();
                match file.current() {
                    Ok(listed) => {
                        let listed = listed.to_vec();
                        self.listed(listed, FILE_PERIOD).await
                    }
                    Err(failure) => Found::failed(failure.clone()),
                }
            }
            Source::Endpoint { host, port } => {
                let (host, port) = (host.clone(), *port);
                match self.endpoint(&host, port).await {
                    Ok(listed) => self.listed(listed, ENDPOINT_VALID).await,
                    Err(failure) => Found::failed(failure),
                }
            }
        }
    }

    async fn endpoint(&self, host: &str, port: u16) -> Result<Vec<Listed>, Failure> {
        let mut found = self.dns.names(&[asked(host, port)]).await;
        let resolved = match found.pop() {
            Some(named) => named.found?,
            None => return Err(Failure::new(FailureKind::Unusable, "not asked")),
        };
        let mut last = Failure::new(FailureKind::Empty, format!("{host} has no address"));
        for addr in resolved.addrs {
            match endpoint::ask(addr, ENDPOINT_LIMIT).await {
                Ok(cluster) => return Ok(cluster.nodes),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn listed(&mut self, listed: Vec<Listed>, valid: Duration) -> Found {
        let now = Instant::now();
        let wanted: Vec<(&str, u16)> = listed.iter().filter_map(Listed::to_resolve).collect();
        self.names
            .retain(|(host, port), _| wanted.contains(&(host.as_str(), *port)));
        let stale: Vec<dns::Host> = wanted
            .iter()
            .filter(|(host, port)| {
                let known = self.names.get(&((*host).to_owned(), *port));
                known.is_none_or(|known| known.until <= now)
            })
            .map(|(host, port)| asked(host, *port))
            .collect();
        let mut unresolved: Vec<String> = Vec::new();
        for (asked, named) in stale.iter().zip(self.dns.names(&stale).await) {
            let key = (asked.host.clone(), asked.port);
            match named.found {
                Ok(found) => {
                    let until = now + found.valid.min(NAME_VALID);
                    let addrs = found.addrs;
                    self.names.insert(key, Resolved { addrs, until });
                }
                Err(failure) => unresolved.push(format!("{}: {}", asked.host, failure.detail)),
            }
        }
        let sightings: Vec<Sighting> = listed
            .iter()
            .map(|one| {
                let addrs = one
                    .to_resolve()
                    .and_then(|(host, port)| self.names.get(&(host.to_owned(), port)))
                    .map_or(Vec::new(), |known| known.addrs.clone());
                one.sighting(addrs)
            })
            .collect();
        let notices = match unresolved.first() {
            None => Vec::new(),
            Some(first) => vec![Notice {
                kind: NoticeKind::Unresolved,
                detail: first.clone(),
                count: unresolved.len(),
            }],
        };
        Found {
            answer: Answer::Members { sightings, valid },
            notices,
        }
    }
}

fn asked(host: &str, port: u16) -> dns::Host {
    dns::Host {
        name: host.to_owned(),
        host: host.to_owned(),
        port,
    }
}
