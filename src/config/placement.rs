//! How a pool spreads its keys: from the file to [`Placement`].
//!
//! Names are checked here; whether they go together (a hash that the distribution does not take, weights it can't
//! use, too many points) is for [`Selector::new`] to say, which is asked once so that a combination that would fail
//! at start is an error of the file, with the place it comes from.

use std::ops::Range;

use ::toml::de::DeValue;

use super::diagnostics::Report;
use super::pools::Placed;
use super::read::{Entry, Table, entries};
use super::render::{key, quoted};
use super::schema;
use super::{Pool, Server, ServerAddr};
use crate::hash::{
    Buckets, Distribution, HashFunction, MAX_BUCKETS, Node, Placement, PlacementError, Selector,
};

/// Reads the keys of a pool that are about placement; `None` after an error.
pub(super) fn placement(report: &mut Report<'_>, pool: &Table<'_, '_>) -> Option<Placement> {
    let mut placement = Placement::default();
    let mut good = true;
    if let Some(entry) = pool.get("distribution") {
        match entry.choice(report, "a distribution", &Distribution::ALL, |one| {
            one.to_string()
        }) {
            Some(distribution) => placement.distribution = distribution,
            None => good = false,
        }
    }
    if let Some(entry) = pool.get("hash") {
        // The parser of the functions also knows the names that other systems have for them.
        placement.hash = match entry.value {
            DeValue::String(text) if text.parse::<HashFunction>().is_ok() => text.parse().ok(),
            _ => entry.choice(report, "a hash function", &HashFunction::ALL, |one| {
                one.to_string()
            }),
        };
        good &= placement.hash.is_some();
    }
    if let Some(entry) = pool.get("points") {
        let points = entry.integer(report, 1..=65_536);
        placement.points = points.and_then(|points| u32::try_from(points).ok());
        good &= placement.points.is_some();
    }
    if let Some(entry) = pool.get("salt") {
        match entry.string(report, "a text") {
            Some(salt) => placement.salt = salt.to_owned(),
            None => good = false,
        }
    }
    if let Some(entry) = pool.get("weights_variable") {
        let name = entry.string(report, "the name of a variable");
        placement.weights_variable = name.map(str::to_owned);
        good &= name.is_some_and(|name| !name.is_empty());
        if name == Some("") {
            report
                .error(entry.place(), "`weights_variable` is empty")
                .label("leave it out for weights that stay");
        }
    }
    if let Some(entry) = pool.get("hash_tag") {
        placement.tag = hash_tag(report, &entry);
        good &= placement.tag.is_some();
    }
    if let Some(entry) = pool.get("hash_stop") {
        match entry.bool(report) {
            Some(stop) => placement.stop = stop,
            None => good = false,
        }
    }
    if let Some(entry) = pool.get("buckets") {
        placement.buckets = buckets(report, &entry).map(Box::new);
        good &= placement.buckets.is_some();
    }
    good.then_some(placement)
}

/// `None` after an error.
fn buckets(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Buckets> {
    let table = entry.table(report, &schema::BUCKETS)?;
    let count = 1..=u64::from(MAX_BUCKETS);
    let total = table
        .require(report, "total", "total = 1000")
        .and_then(|entry| entry.integer(report, count.clone()));
    let keyspace = match table.get("keyspace") {
        Some(entry) => entry.string(report, "a text")?.to_owned(),
        None => String::new(),
    };
    let mut by_prefix = Vec::new();
    if let Some(entry) = table.get("by_prefix") {
        let DeValue::Table(list) = entry.value else {
            entry.wrong_kind(report, "a table from prefix to a number of buckets");
            return None;
        };
        for entry in entries(list) {
            let number = entry.integer(report, count.clone())?;
            by_prefix.push((entry.key.to_owned(), u32::try_from(number).ok()?));
        }
    }
    let mut parts = None;
    if let Some(entry) = table.get("key_parts") {
        let number = entry.integer(report, 1..=250)?;
        let delimiter = match table.get("delimiter") {
            None => ':',
            Some(entry) => {
                let text = entry.string(report, "a character")?;
                let mut all = text.chars();
                let (Some(one), None) = (all.next(), all.next()) else {
                    report
                        .error(entry.place(), "`delimiter` must be one character")
                        .label("as in \":\"");
                    return None;
                };
                one
            }
        };
        parts = Some((u32::try_from(number).ok()?, delimiter));
    } else if let Some(entry) = table.get("delimiter") {
        entry.string(report, "a character")?;
        report
            .error(entry.place(), "`delimiter` without `key_parts`")
            .label("whole keys are looked at");
        return None;
    }
    Some(Buckets {
        total: u32::try_from(total?).ok()?,
        keyspace,
        by_prefix,
        parts,
    })
}

/// The table of these buckets.
pub(super) fn render_buckets(buckets: &Buckets) -> String {
    let Buckets {
        total,
        keyspace,
        by_prefix,
        parts,
    } = buckets;
    let mut all = vec![format!("total = {total}")];
    if !keyspace.is_empty() {
        all.push(format!("keyspace = {}", quoted(keyspace)));
    }
    if !by_prefix.is_empty() {
        let counts: Vec<String> = by_prefix
            .iter()
            .map(|(prefix, count)| format!("{} = {count}", key(prefix)))
            .collect();
        all.push(format!("by_prefix = {{ {} }}", counts.join(", ")));
    }
    if let Some((count, delimiter)) = parts {
        all.push(format!("key_parts = {count}"));
        all.push(format!("delimiter = {}", quoted(&delimiter.to_string())));
    }
    format!("{{ {} }}", all.join(", "))
}

fn hash_tag(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<(u8, u8)> {
    let text = entry.string(report, "two characters such as \"{}\"")?;
    match text.as_bytes() {
        [open, close] if open.is_ascii_graphic() && close.is_ascii_graphic() => {
            Some((*open, *close))
        }
        _ => {
            report
                .error(entry.place(), "`hash_tag` must be two characters")
                .label("the opening and the closing one, as in \"{}\"");
            None
        }
    }
}

/// Whether the servers can be placed; reports it if not. Without servers (they are wrong themselves) it is the
/// options alone that are looked at.
pub(super) fn check(
    report: &mut Report<'_>,
    pool: &Table<'_, '_>,
    placement: &Placement,
    servers: &[Placed],
) -> bool {
    let mut nodes: Vec<Node> = servers.iter().map(|placed| placed.server.node()).collect();
    if nodes.is_empty() {
        nodes.push(Node::at("127.0.0.1", 11211));
    }
    let Err(error) = Selector::new(placement, &nodes) else {
        return true;
    };
    let at = place(pool, servers, &error);
    report.error(at, error.to_string());
    false
}

/// The part of the file that the error is about.
fn place(pool: &Table<'_, '_>, servers: &[Placed], error: &PlacementError) -> Range<usize> {
    let key = |name: &str| pool.get(name).map(|entry| entry.place());
    let named = |name: &String| servers.iter().find(|placed| placed.server.name == *name);
    let place = match error {
        PlacementError::Weight { name, .. } => {
            named(name).map(|placed| placed.weight.clone().unwrap_or(placed.place.clone()))
        }
        PlacementError::DuplicateName { name } | PlacementError::SameLabel { second: name, .. } => {
            named(name).map(|placed| placed.place.clone())
        }
        PlacementError::EmptyName { position } => servers
            .get(position.saturating_sub(1))
            .map(|placed| placed.place.clone()),
        PlacementError::HashNotChoosable { .. } => key("hash"),
        PlacementError::SaltNotUsed { .. } | PlacementError::SaltTooLong { .. } => key("salt"),
        PlacementError::VariableNotUsed { .. } => key("weights_variable"),
        PlacementError::PointsNotUsed { .. } | PlacementError::NoPoints => key("points"),
        PlacementError::TooManyPoints { .. } => key("points").or_else(|| key("servers")),
        PlacementError::BucketsNotUsed { .. } => key("buckets"),
        PlacementError::NoNodes
        | PlacementError::NoWeight
        | PlacementError::TooManyNodes { .. } => key("servers"),
    };
    place.unwrap_or_else(|| pool.place.clone())
}

impl Server {
    /// The server as the placement sees it.
    #[must_use]
    pub fn node(&self) -> Node {
        let written = match &self.addr {
            // Where it was found must not matter: its name alone says where its keys are.
            ServerAddr::Found(_) => self.name.parse().ok(),
            addr => Some(addr.clone()),
        };
        let (host, port) = match &written {
            Some(ServerAddr::Tcp(addr)) => (addr.ip().to_string(), addr.port()),
            Some(ServerAddr::Name { host, port }) => (host.clone(), *port),
            Some(ServerAddr::Unix(path)) => (path.display().to_string(), 0),
            Some(ServerAddr::Found(_)) | None => (self.name.clone(), 0),
        };
        Node {
            name: self.name.clone(),
            host,
            port,
            weight: self.weight,
        }
    }
}

impl Pool {
    /// Builds the selector of this pool. For a pool of a checked [`Config`](super::Config) this has
    /// worked once already.
    ///
    /// # Errors
    /// The placement is not possible with these servers.
    pub fn selector(&self) -> Result<Selector, PlacementError> {
        let nodes: Vec<Node> = self.servers.iter().map(Server::node).collect();
        Selector::new(&self.placement, &nodes)
    }
}
