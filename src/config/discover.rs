//! Pools whose servers are found: `discover`, `membership` and `[dns]`.
//!
//! A source is written as a text in most cases; what it is shows by its form. Names are checked for what no DNS name
//! can be, so that a slip is found here and not by a server's denial.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::toml::de::DeValue;

use super::ServerAddr;
use super::diagnostics::{Report, quoted};
use super::ordinals::{Ordinals, is_host_name};
use super::read::{Entry, Table};
use super::schema;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// memcached's own port.
pub const DEFAULT_PORT: u16 = 11211;

/// How a pool finds its servers.
#[derive(Debug, Clone, PartialEq)]
pub struct Discover {
    /// Where they are found; at least one, no two the same.
    pub sources: Vec<Source>,
    /// How long places are kept.
    pub membership: Membership,
}

/// One place where servers are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A headless Service, by SRV records or addresses.
    Service {
        /// Its DNS name.
        name: String,
        /// The port, where SRV records do not say.
        port: u16,
        /// The name of its port, if it has one.
        port_name: Option<String>,
        /// What the ring knows its members by.
        identity: IdentityWish,
    },
    /// The pods of a StatefulSet by their ordinals.
    Ordinals {
        /// Their names.
        pattern: Ordinals,
        /// Their port.
        port: u16,
    },
    /// The addresses of a name.
    Addresses {
        /// The DNS name.
        name: String,
        /// The port of all of them.
        port: u16,
        /// What the ring knows its members by.
        identity: IdentityWish,
    },
    /// A file.
    File(PathBuf),
    /// A configuration endpoint that answers `config get cluster`.
    Endpoint {
        /// Its host, a name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// What the ring knows the members of a source by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum IdentityWish {
    /// The most stable there is: SRV target, PTR name, address.
    #[default]
    Auto,
    /// A name or nothing: what has none is no member.
    Name,
    /// The address, even where there are names. SRV records are not asked for.
    Ip,
}

/// How long places are kept; see [`crate::discovery::Policy`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Membership {
    /// How long an absent member keeps its place.
    pub hold: Duration,
    /// The same for the highest ordinals.
    pub hold_top: Duration,
    /// The same for members known by address only.
    pub hold_ip: Duration,
    /// The share, from 0 to 1, that may leave at once.
    pub max_loss: f64,
    /// How long more than that must have been absent.
    pub confirm: Duration,
}

/// Whom to ask for names, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The DNS servers; none for those of resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Domains for short names; with `servers` only.
    pub search: Vec<String>,
    /// The least time between two questions.
    pub min_ttl: Duration,
    /// The most.
    pub max_ttl: Duration,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(600),
            hold_top: Duration::from_secs(60),
            hold_ip: Duration::from_secs(30),
            max_loss: 0.5,
            confirm: Duration::from_secs(120),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        }
    }
}

impl IdentityWish {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Name, Self::Ip];

    /// The name used in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Name => "name",
            Self::Ip => "ip",
        }
    }
}

impl std::fmt::Display for Source {
    /// For the log: what is asked.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service { name, .. } => write!(f, "service {name}"),
            Self::Ordinals { pattern, .. } => write!(f, "ordinals {pattern}"),
            Self::Addresses { name, .. } => write!(f, "addresses of {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Endpoint { host, port } => write!(f, "endpoint {host}:{port}"),
        }
    }
}

/// Reads `discover` and `membership` of a pool that has the former; `None` after an error.
pub(super) fn discover(
    report: &mut Report<'_>,
    pool: &Table<'_, '_>,
    entry: &Entry<'_, '_>,
) -> Option<Discover> {
    let elements = entry.elements();
    if elements.is_empty() {
        report
            .error(entry.place(), "`discover` is an empty list")
            .label("name at least one source");
        return None;
    }
    let count = elements.len();
    let mut sources: Vec<Source> = Vec::new();
    for element in elements {
        let Some(source) = source(report, &element) else {
            continue;
        };
        if sources.contains(&source) {
            report
                .error(element.place(), format!("the {source} is given twice"))
                .label("once is enough");
        }
        sources.push(source);
    }
    let membership = membership(report, pool);
    (sources.len() == count).then_some(Discover {
        sources,
        membership,
    })
}

fn source(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Source> {
    if let DeValue::Table(_) = entry.value {
        return table(report, entry);
    }
    let text = entry.string(report, "a name, a path, or a table")?;
    if text.contains('{') {
        let pattern = pattern(report, entry, text)?;
        return Some(Source::Ordinals {
            pattern,
            port: DEFAULT_PORT,
        });
    }
    if let Some(path) = text.strip_prefix("file:") {
        return file(report, entry, path);
    }
    if text.starts_with('/') {
        return file(report, entry, text);
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) => match digits.parse() {
            Ok(port) if port > 0 => (name, port),
            _ => {
                report
                    .error(
                        entry.place(),
                        format!("{} has no port after the colon", quoted(text)),
                    )
                    .label("a number from 1 to 65535");
                return None;
            }
        },
        None => (text, DEFAULT_PORT),
    };
    Some(Source::Service {
        name: dns_name(report, entry, name)?,
        port,
        port_name: None,
        identity: IdentityWish::Auto,
    })
}

const KINDS: [&str; 5] = ["service", "ordinals", "addresses", "file", "endpoint"];

fn table(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Source> {
    let table = entry.table(report, &schema::DISCOVER)?;
    let given: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| table.get(kind).is_some())
        .collect();
    let [kind] = given.as_slice() else {
        if !KINDS.iter().any(|kind| table.is_misspelt(kind)) {
            let message = match given.as_slice() {
                [] => "a source without saying what it is".to_owned(),
                several => format!("a source is one of these, not {}", several.join(" and ")),
            };
            report.error(entry.place(), message).with_help(
                "give one of service, ordinals, addresses, file, endpoint; several sources are a list of tables",
            );
        }
        return None;
    };
    let what = table.get(kind)?;
    let text = what.string(report, "a text")?;
    for (key, kinds) in [
        ("port", &["service", "ordinals", "addresses"][..]),
        ("port_name", &["service"]),
        ("identity", &["service", "addresses"]),
    ] {
        if let Some(entry) = table.get(key)
            && !kinds.contains(kind)
        {
            report.error(
                entry.key_span.clone(),
                format!("`{key}` means nothing for a source by `{kind}`"),
            );
        }
    }
    let mut port = usize::from(DEFAULT_PORT);
    table.usize(report, "port", 1..=65_535, &mut port);
    let port = u16::try_from(port).unwrap_or(DEFAULT_PORT);
    let identity = match table.get("identity") {
        Some(entry) => entry.choice(report, "an identity", &IdentityWish::ALL, |one| {
            one.name().to_owned()
        })?,
        None => IdentityWish::Auto,
    };
    let port_name = match table.get("port_name") {
        Some(entry) => Some(port_name(report, &entry)?),
        None => None,
    };
    match *kind {
        "service" => Some(Source::Service {
            name: dns_name(report, &what, text)?,
            port,
            port_name,
            identity,
        }),
        "ordinals" => Some(Source::Ordinals {
            pattern: pattern(report, &what, text)?,
            port,
        }),
        "addresses" => Some(Source::Addresses {
            name: dns_name(report, &what, text)?,
            port,
            identity,
        }),
        "file" => file(report, &what, text),
        _ => endpoint(report, &what, text),
    }
}

fn pattern(report: &mut Report<'_>, entry: &Entry<'_, '_>, text: &str) -> Option<Ordinals> {
    match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            report.error(entry.place(), format!("{error}"));
            None
        }
    }
}

fn file(report: &mut Report<'_>, entry: &Entry<'_, '_>, path: &str) -> Option<Source> {
    if path.is_empty() || path.contains('\0') {
        report.error(entry.place(), format!("{} is no path", quoted(path)));
        return None;
    }
    Some(Source::File(PathBuf::from(path)))
}

fn endpoint(report: &mut Report<'_>, entry: &Entry<'_, '_>, text: &str) -> Option<Source> {
    match text.parse::<ServerAddr>() {
        Ok(ServerAddr::Name { host, port }) => Some(Source::Endpoint { host, port }),
        Ok(ServerAddr::Tcp(addr)) => Some(Source::Endpoint {
            host: addr.ip().to_string(),
            port: addr.port(),
        }),
        Ok(_) => {
            report
                .error(
                    entry.place(),
                    format!("{} is no configuration endpoint", quoted(text)),
                )
                .label("a host and its port");
            None
        }
        Err(error) => super::toml::address_error(report, entry, text, &error),
    }
}

fn port_name(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<String> {
    let text = entry.string(report, "the name of a port")?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if (1..=62).contains(&text.len()) && text.bytes().all(good) {
        return Some(text.to_ascii_lowercase());
    }
    report
        .error(entry.place(), format!("{} can't name a port", quoted(text)))
        .label("letters, digits and '-', without the '_' and '._tcp' of DNS");
    None
}

/// A name that DNS can have, in lower case.
fn dns_name(report: &mut Report<'_>, entry: &Entry<'_, '_>, text: &str) -> Option<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        report
            .error(
                entry.place(),
                format!("{} is an address, not a name", quoted(text)),
            )
            .with_help("servers with fixed addresses are listed: servers = [\"10.0.0.1:11211\"]");
        return None;
    }
    if !is_host_name(text) {
        report
            .error(entry.place(), format!("{} is no DNS name", quoted(text)))
            .label("labels of letters, digits and '-', with dots between them");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

fn membership(report: &mut Report<'_>, pool: &Table<'_, '_>) -> Membership {
    let mut membership = Membership::default();
    let Some(table) = pool
        .get("membership")
        .and_then(|entry| entry.table(report, &schema::MEMBERSHIP))
    else {
        return membership;
    };
    for (key, target) in [
        ("hold", &mut membership.hold),
        ("hold_top", &mut membership.hold_top),
        ("hold_ip", &mut membership.hold_ip),
        ("confirm", &mut membership.confirm),
    ] {
        table.duration(report, key, Duration::ZERO..=DAY, target);
    }
    if let Some(entry) = table.get("max_loss") {
        let share: Option<f64> = match entry.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match share.filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => membership.max_loss = share,
            None => {
                entry.wrong_kind(report, "a share from 0 to 1, such as 0.5");
            }
        }
    }
    membership
}

/// Reads `[dns]`.
pub(super) fn dns(report: &mut Report<'_>, root: &Table<'_, '_>) -> Dns {
    let mut dns = Dns::default();
    let Some(table) = root
        .get("dns")
        .and_then(|entry| entry.table(report, &schema::DNS))
    else {
        return dns;
    };
    if let Some(entry) = table.get("servers") {
        for element in entry.elements() {
            let Some(text) = element.string(report, "a list of addresses") else {
                continue;
            };
            let addr = text
                .parse()
                .or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
            match addr {
                Ok(addr) => dns.servers.push(addr),
                Err(_) => {
                    report
                        .error(
                            element.place(),
                            format!("{} is not the address of a DNS server", quoted(text)),
                        )
                        .label("an IP address, with a port if that is not 53: \"10.96.0.10:53\"");
                }
            }
        }
    }
    if let Some(entry) = table.get("search") {
        if table.get("servers").is_none() {
            report
                .error(entry.key_span.clone(), "`search` goes with `servers`")
                .label("without `servers`, resolv.conf has both");
        }
        for element in entry.elements() {
            if let Some(text) = element.string(report, "a list of domains")
                && let Some(name) = dns_name(report, &element, text)
            {
                dns.search.push(name);
            }
        }
    }
    let hour = Duration::from_secs(3600);
    table.duration(
        report,
        "min_ttl",
        Duration::from_millis(100)..=hour,
        &mut dns.min_ttl,
    );
    table.duration(
        report,
        "max_ttl",
        Duration::from_secs(1)..=DAY,
        &mut dns.max_ttl,
    );
    if dns.max_ttl < dns.min_ttl {
        let place = table
            .get("max_ttl")
            .or_else(|| table.get("min_ttl"))
            .map_or(0..0, |entry| entry.place());
        report.error(place, "`max_ttl` is shorter than `min_ttl`");
    }
    dns
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
