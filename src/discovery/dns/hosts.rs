//! The addresses of names that are known beforehand: a list in the configuration, a file, an endpoint's answer.
//!
//! Who is a member is settled there; here only addresses are looked up, and a name that fails is told apart from the
//! others. These names may be anything a person writes: an address, `localhost`, a name of the hosts file. The hosts
//! file comes first, as people expect, and is read anew at each question.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::ask::Ask;
use super::lookup::both;
use super::{ASK_LIMIT, Dns, MAX_ADDRS, each};
use crate::discovery::{Failure, FailureKind};

const HOSTS: &str = "/etc/hosts";
/// What is read of the hosts file, in bytes.
const MAX_HOSTS: u64 = 4 * 1024 * 1024;
/// How long the hosts file's word holds.
const HOSTS_VALID: Duration = Duration::from_secs(30);

/// A member whose name is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What came of a [`Host`].
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// Its addresses, or why there are none.
    pub found: Result<Resolved, Failure>,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// They, sorted and without doubles; at least one.
    pub addrs: Vec<SocketAddr>,
    /// How long they hold. Not bounded; [`Duration::MAX`] for a host that is an address.
    pub valid: Duration,
}

type Ips = Result<(Vec<IpAddr>, Duration), Failure>;

pub(super) async fn ask(dns: &Dns, listed: &[Host]) -> Vec<Named> {
    let hosts_file = read_hosts();
    let mut found: HashMap<&str, Ips> = HashMap::new();
    let mut lookups: Vec<&str> = Vec::new();
    for host in listed.iter().map(|listed| listed.host.as_str()) {
        if found.contains_key(host) {
            continue;
        }
        let ips = match without_dns(host, &hosts_file) {
            Some(ips) => Ok(ips),
            None => {
                lookups.push(host);
                Err(Failure::new(FailureKind::Timeout, "not asked"))
            }
        };
        found.insert(host, ips);
    }
    match dns.begin() {
        Ok(ask) => {
            let hosts = lookups.iter().map(|host| (*host).to_owned()).collect();
            let deadline = Instant::now() + ASK_LIMIT;
            let results = each(hosts, deadline, |host| one(ask.clone(), host)).await;
            for (host, result) in lookups.into_iter().zip(results) {
                found.insert(host, result.and_then(|result| result));
            }
        }
        Err(failure) => {
            for host in lookups {
                found.insert(host, Err(failure.clone()));
            }
        }
    }
    let named = listed.iter().map(|listed| {
        let found = match found.get(listed.host.as_str()) {
            Some(Ok((ips, valid))) => {
                let addrs = ips.iter().take(MAX_ADDRS);
                Ok(Resolved {
                    addrs: addrs.map(|ip| (*ip, listed.port).into()).collect(),
                    valid: *valid,
                })
            }
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(Failure::new(FailureKind::Unusable, "not asked")),
        };
        Named {
            name: listed.name.clone(),
            found,
        }
    });
    named.collect()
}

async fn one(ask: Ask, host: String) -> Ips {
    let key = format!("listed {host}");
    let mut walk = ask.walk(&key, &host)?;
    while let Some(form) = walk.next() {
        let (v4, v6) = ask.families(&key, &form).await;
        let found = both(v4, v6, |v4, v6| {
            ask.dns
                .remember(&key, |memory| memory.families(v4, v6, Instant::now()))
        });
        match found {
            Ok((addrs, _)) => {
                walk.found(&ask, &key, &form);
                return Ok((addrs.ips, addrs.ttl));
            }
            Err(failure) => walk.failed(failure)?,
        }
    }
    Err(walk.end())
}

/// What needs no lookup: addresses, names of the hosts file, and `localhost`.
fn without_dns(host: &str, hosts_file: &str) -> Option<(Vec<IpAddr>, Duration)> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((vec![ip], Duration::MAX));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let ips = in_hosts(host, hosts_file);
    if !ips.is_empty() {
        return Some((ips, HOSTS_VALID));
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost").then(|| {
        let ips = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        (ips, Duration::MAX)
    })
}

fn read_hosts() -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(HOSTS).and_then(|f| f.take(MAX_HOSTS).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        // A machine without the file has no such names.
        Err(_) => String::new(),
    }
}

/// The addresses of a host in the text of a hosts file, sorted.
fn in_hosts(host: &str, text: &str) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        if words.any(|word| {
            word.strip_suffix('.')
                .unwrap_or(word)
                .eq_ignore_ascii_case(host)
        }) {
            ips.push(ip);
        }
    }
    ips.sort_unstable();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_this_machine_need_no_servers() {
        let hosts = "# 10.0.0.9 mc\n127.0.0.1 localhost lo # mc\n10.0.0.2\tx MC.lan mc\n\
                     fd00::2 mc\nnonsense mc\n10.0.0.2 mc\n";
        let found = |host: &str| {
            let (ips, _) = without_dns(host, hosts)?;
            Some(ips.iter().map(IpAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(found("10.1.1.1").unwrap(), ["10.1.1.1"]);
        assert_eq!(found("[::1]").unwrap(), ["::1"]);
        assert_eq!(found("::1").unwrap(), ["::1"]);
        assert_eq!(found("mc").unwrap(), ["10.0.0.2", "fd00::2"]);
        assert_eq!(found("mc.LAN.").unwrap(), ["10.0.0.2"]);
        assert_eq!(found("localhost").unwrap(), ["127.0.0.1"]);
        assert_eq!(found("a.localhost").unwrap(), ["127.0.0.1", "::1"]);
        assert_eq!(found("nonsense"), None);
        assert_eq!(found("10.0.0.2.example"), None);
        assert_eq!(found(""), None);
    }
}
