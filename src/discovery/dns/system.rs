//! Which servers are asked, and below which domains short names are looked for: `resolv.conf`, followed.
//!
//! The file is looked at once a second at most, and read when its stamp has changed or when the servers have failed
//! several times in a row; a changed content makes new sockets and connections, and so does repeated failure. A file
//! that can't be read, or that has lost its servers while it is being rewritten, leaves what was there.
//!
//! Of the file, `nameserver`, `search`, `domain` and `options ndots` count. Timeouts and attempts are ringroad's own:
//! the file's are made for programs that block.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::proto::rr::Name;

use super::ask::Client;
use super::label;
use crate::discovery::{Failure, FailureKind};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often connections are renewed because lookups fail.
const RENEW: Duration = Duration::from_secs(5);
/// Lookups in a row that no server answered, after which connections are renewed.
const SILENCE: usize = 3;
/// What is read of the file, in bytes.
const MAX_FILE: usize = 64 * 1024;
/// The most servers, and the most search domains; the rest is left aside.
const MAX_SERVERS: usize = 8;
const MAX_SEARCH: usize = 32;
/// A name with as many dots is absolute. `NAME.NAMESPACE.svc` and `POD.NAME.NAMESPACE.svc` need the search
/// domains, `NAME.NAMESPACE.svc.cluster.local` must not cost a walk through them.
const ABSOLUTE_DOTS: usize = 4;

/// Where the servers come from.
pub(super) enum Source {
    Fixed(Conf),
    File { path: PathBuf, port: u16 },
}

impl Source {
    pub(super) fn fixed(servers: &[SocketAddr], search: &[&str]) -> Source {
        Source::Fixed(Conf {
            servers: servers.iter().take(MAX_SERVERS).copied().collect(),
            search: domains(search.iter().copied()),
            // As in a pod.
            ndots: ABSOLUTE_DOTS,
        })
    }
}

/// What is taken from `resolv.conf`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conf {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    ndots: usize,
}

/// Servers and how names are completed, as of one state of the file.
pub(super) struct System {
    pub client: Client,
    search: Vec<Name>,
    ndots: usize,
}

/// The source with what was last made of it.
pub(super) struct Followed {
    source: Source,
    conf: Option<Conf>,
    system: Option<Arc<System>>,
    failure: Option<Failure>,
    stamp: Option<Stamp>,
    looked: Option<Instant>,
    made: Option<Instant>,
}

type Stamp = (Option<SystemTime>, u64);

impl Followed {
    pub(super) fn new(source: Source) -> Followed {
        Followed {
            source,
            conf: None,
            system: None,
            failure: None,
            stamp: None,
            looked: None,
            made: None,
        }
    }

    /// What to ask now.
    ///
    /// # Errors
    /// There was never a readable file.
    pub(super) fn current(&mut self, now: Instant) -> Result<Arc<System>, Failure> {
        let is_due = |since: Option<Instant>, after| {
            since.is_none_or(|since| now.saturating_duration_since(since) >= after)
        };
        let silent = self
            .system
            .as_ref()
            .is_some_and(|system| system.client.silence() >= SILENCE);
        let renew = silent && is_due(self.made, RENEW);
        if renew || is_due(self.looked, LOOK) {
            self.looked = Some(now);
            self.look(renew, now);
        }
        match &self.system {
            Some(system) => Ok(system.clone()),
            None => Err(self.failure.clone().unwrap_or_else(|| {
                Failure::new(FailureKind::Io, "there are no name servers to ask")
            })),
        }
    }

    fn look(&mut self, renew: bool, now: Instant) {
        let conf = match &self.source {
            Source::Fixed(conf) => conf.clone(),
            Source::File { path, port } => {
                let stamp = std::fs::metadata(path)
                    .map(|m| (m.modified().ok(), m.len()))
                    .ok();
                if !renew && stamp.is_some() && stamp == self.stamp {
                    return;
                }
                match read(path) {
                    Ok(text) => {
                        self.stamp = stamp;
                        let conf = parse(&text, *port);
                        if conf.servers.is_empty() && self.system.is_some() {
                            return;
                        }
                        with_default_server(conf, *port)
                    }
                    Err(error) => {
                        let detail = format!("cannot read {}: {error}", path.display());
                        self.failure = Some(Failure::new(FailureKind::Io, detail));
                        return;
                    }
                }
            }
        };
        if renew || self.conf.as_ref() != Some(&conf) {
            if self.conf.is_some() && !renew {
                tracing::info!("name servers or search domains have changed: {conf:?}");
            }
            self.made = Some(now);
            self.system = Some(Arc::new(System {
                client: Client::new(&conf.servers),
                search: conf.search.clone(),
                ndots: conf.ndots,
            }));
            self.conf = Some(conf);
        }
    }
}

fn read(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE as u64)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As in `resolv.conf(5)`: without a server, the one on this machine is meant.
fn with_default_server(mut conf: Conf, port: u16) -> Conf {
    if conf.servers.is_empty() {
        conf.servers.push((Ipv4Addr::LOCALHOST, port).into());
    }
    conf
}

fn parse(text: &str, port: u16) -> Conf {
    let mut conf = Conf {
        servers: Vec::new(),
        search: Vec::new(),
        ndots: 1,
    };
    for line in text.lines() {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                // A scope (`fe80::1%eth0`) can't be followed.
                let Some(ip) = words.next().and_then(|w| w.parse::<IpAddr>().ok()) else {
                    continue;
                };
                if conf.servers.len() < MAX_SERVERS {
                    conf.servers.push((ip, port).into());
                }
            }
            // The last one counts.
            Some("search" | "domain") => conf.search = domains(words),
            Some("options") => {
                for word in words {
                    if let Some(n) = word.strip_prefix("ndots:").and_then(|n| n.parse().ok()) {
                        conf.ndots = n;
                    }
                }
            }
            _ => {}
        }
    }
    conf
}

fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Name> {
    words
        .filter(|word| !word.starts_with('-'))
        .filter_map(|word| label::host(word).ok())
        .take(MAX_SEARCH)
        .collect()
}

impl System {
    /// The absolute names that `host` may mean, in the order to try them.
    ///
    /// # Errors
    /// It is no host name.
    pub(super) fn forms(&self, host: &str) -> Result<Vec<Name>, Failure> {
        let absolute = label::host(host)?;
        let dots = host.bytes().filter(|b| *b == b'.').count();
        if host.ends_with('.') || dots >= ABSOLUTE_DOTS {
            return Ok(vec![absolute]);
        }
        let below = |domain: &Name| {
            let mut name = absolute.clone();
            name.set_fqdn(false);
            name.append_domain(domain).ok()
        };
        let mut forms: Vec<Name> = self.search.iter().filter_map(below).collect();
        if dots >= self.ndots {
            forms.insert(0, absolute);
        } else {
            forms.push(absolute);
        }
        Ok(forms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(conf: &Conf, host: &str) -> Vec<String> {
        let system = System {
            client: Client::new(&conf.servers),
            search: conf.search.clone(),
            ndots: conf.ndots,
        };
        let forms = system.forms(host).unwrap();
        forms.iter().map(Name::to_ascii).collect()
    }

    const POD: &str = "search default.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
";

    #[test]
    fn short_names_are_looked_for_below_the_search_domains_and_long_ones_are_not() {
        let conf = parse(POD, 53);
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(
            forms(&conf, "cache"),
            [
                "cache.default.svc.cluster.local.",
                "cache.svc.cluster.local.",
                "cache.cluster.local.",
                "cache."
            ]
        );
        assert_eq!(
            forms(&conf, "Cache.default.svc")[2..],
            ["cache.default.svc.cluster.local.", "cache.default.svc."]
        );
        let full = "cache.default.svc.cluster.local";
        assert_eq!(forms(&conf, full), [format!("{full}.")]);
        assert_eq!(forms(&conf, "cache."), ["cache."]);
        // A host that isn't a pod: one dot makes a name absolute first.
        let conf = parse("nameserver 127.0.0.53\nsearch lan\n", 53);
        assert_eq!(forms(&conf, "a.example"), ["a.example.", "a.example.lan."]);
    }

    #[test]
    fn odd_files_give_what_can_be_read_of_them() {
        let text = "# nameserver 1.1.1.1\n;\nnameserver\nnameserver x\nnameserver fe80::1%eth0\n\
                    nameserver ::1 trailing\n\toptions ndots:x ndots:2 rotate\nsearch a b\ndomain -- . c_d\n\0\n";
        let conf = parse(text, 5300);
        assert_eq!(conf.servers, ["[::1]:5300".parse().unwrap()]);
        assert_eq!(conf.ndots, 2);
        let names: Vec<String> = conf.search.iter().map(Name::to_ascii).collect();
        assert_eq!(names, ["c_d."]);
        let conf = with_default_server(parse("", 53), 53);
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        let many = "nameserver 10.0.0.1\n".repeat(1000) + "search" + &" a".repeat(1000);
        let conf = parse(&many, 53);
        assert_eq!((conf.servers.len(), conf.search.len()), (8, 32));
        let label = "x".repeat(64);
        assert!(label::host(&label).is_err());
    }

    #[test]
    fn a_changed_file_is_followed_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let source = Source::File {
            path: path.clone(),
            port: 53,
        };
        let mut followed = Followed::new(source);
        let mut now = Instant::now();
        let failure = followed.current(now).err().unwrap();
        assert_eq!(failure.kind, FailureKind::Io);
        assert!(failure.detail.contains("resolv.conf"));

        std::fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        assert!(followed.current(now).is_err(), "looked at too often");
        now += LOOK;
        let first = followed.current(now).unwrap();
        now += LOOK;
        assert!(Arc::ptr_eq(&first, &followed.current(now).unwrap()));

        std::fs::write(&path, "nameserver 10.0.0.1\nsearch lan\n").unwrap();
        now += LOOK;
        let second = followed.current(now).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(second.forms("a").unwrap().len(), 2);

        for broken in ["", "nameserver nowhere\n"] {
            std::fs::write(&path, broken).unwrap();
            now += LOOK;
            assert!(Arc::ptr_eq(&second, &followed.current(now).unwrap()));
        }
        std::fs::remove_file(&path).unwrap();
        now += LOOK;
        assert!(Arc::ptr_eq(&second, &followed.current(now).unwrap()));
    }
}
