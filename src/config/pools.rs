//! The pools of the file and their servers.
//!
//! A pool that has an error keeps its name, so that a route to it is not called wrong as well. Names are checked
//! here because they end up in statistics, logs and (for servers) in the ring: no blanks, no control characters.

use std::ops::Range;
use std::time::Duration;

use ::toml::de::DeValue;

use super::diagnostics::{Report, nearest, quoted};
use super::read::{Entry, Table, entries};
use super::{Discover, Gutter, OnFailure, OnReturn, Pool, Queue, Server, ServerAddr, Shown, tko};
use super::{discover, placement, routes, schema, toml};

const MINUTE: Duration = Duration::from_secs(60);

/// The longest name of a pool or server, in bytes.
const MAX_NAME: usize = 250;

/// The pools as far as they could be read.
pub(super) struct Pools {
    names: Vec<(String, Range<usize>)>,
    pools: Vec<Option<Pool>>,
}

impl Pools {
    fn gutter(&self, pool: usize) -> Option<usize> {
        Some(self.pools.get(pool)?.as_ref()?.gutter?.pool)
    }

    /// With the gutters of the pools that are used, which are used, too.
    pub(super) fn with_gutters(&self, mut used: Vec<bool>) -> Vec<bool> {
        for index in 0..used.len() {
            let mut at = index;
            while used.get(at) == Some(&true)
                && let Some(gutter) = self.gutter(at)
                && let Some(place @ false) = used.get_mut(gutter)
            {
                *place = true;
                at = gutter;
            }
        }
        used
    }

    /// The pool that is nobody's gutter, if it is the only one.
    pub(super) fn only_without_gutters(&self) -> Option<usize> {
        let count = self.pools.len();
        let is_gutter = |pool| (0..count).any(|other| self.gutter(other) == Some(pool));
        let mut others = (0..count).filter(|pool| !is_gutter(*pool));
        others.next().filter(|_| others.next().is_none())
    }

    /// Every pool's name and where it stands, in the order of the file.
    pub(super) fn names(&self) -> &[(String, Range<usize>)] {
        &self.names
    }

    /// The pools, if all of them are good.
    pub(super) fn into_checked(self) -> Option<Vec<Pool>> {
        self.pools.into_iter().collect()
    }
}

/// One server and where its parts stand, for errors about the pool as a whole.
pub(super) struct Placed {
    pub(super) server: Server,
    pub(super) place: Range<usize>,
    pub(super) weight: Option<Range<usize>>,
}

/// Reads `[pools]`.
pub(super) fn pools(report: &mut Report<'_>, root: &Table<'_, '_>) -> Option<Pools> {
    const EXAMPLE: &str = "[pools.cache]\nservers = [\"127.0.0.1:11211\", \"127.0.0.1:11212\"]";
    let Some(entry) = root.get("pools") else {
        if root.is_misspelt("pools") {
            return None;
        }
        report
            .error(
                root.place.clone(),
                "there are no pools: nothing says where the servers are",
            )
            .with_help(format!("add a pool:\n{EXAMPLE}"));
        return None;
    };
    let DeValue::Table(table) = entry.value else {
        entry
            .wrong_kind(report, "a table of pools")
            .with_help(format!("write a pool as\n{EXAMPLE}"));
        return None;
    };
    let list = entries(table);
    if list.is_empty() {
        report
            .error(
                entry.place(),
                "there are no pools: nothing says where the servers are",
            )
            .with_help(format!("add a pool:\n{EXAMPLE}"));
        return None;
    }
    let mut pools = Pools {
        names: Vec::new(),
        pools: Vec::new(),
    };
    let mut wishes = Vec::new();
    for entry in list {
        let good = pool_name(report, &entry);
        let pool = pool(report, root, &entry, &mut wishes).filter(|_| good);
        pools.names.push((entry.key.to_owned(), entry.key_span));
        pools.pools.push(pool);
    }
    gutters(report, &mut pools, &wishes);
    Some(pools)
}

/// A gutter by its name, before all pools are known.
struct Wish {
    of: String,
    name: String,
    place: Range<usize>,
    exptime: u32,
}

/// Finds the gutters among the pools. After an error there are none.
fn gutters(report: &mut Report<'_>, pools: &mut Pools, wishes: &[Wish]) {
    let find = |pools: &Pools, name: &str| pools.names.iter().position(|(pool, _)| pool == name);
    for wish in wishes {
        let (Some(of), place) = (find(pools, &wish.of), wish.place.clone()) else {
            continue;
        };
        match find(pools, &wish.name) {
            None => {
                let names = pools.names.iter().map(|(pool, _)| pool.as_str());
                let near = nearest(&wish.name, names);
                let message = format!("there is no pool {}", quoted(&wish.name));
                let error = report.error(place, message);
                if let Some(near) = near {
                    error.label(format!("did you mean \"{near}\"?"));
                }
            }
            Some(pool) if pool == of => {
                report
                    .error(place, "a pool can't be its own gutter")
                    .label("name another pool, with other servers");
            }
            Some(pool) => {
                if let Some(Some(own)) = pools.pools.get_mut(of) {
                    own.gutter = Some(Gutter {
                        pool,
                        exptime: wish.exptime,
                    });
                }
            }
        }
    }
    for wish in wishes {
        let Some(of) = find(pools, &wish.of) else {
            continue;
        };
        let mut way = vec![of];
        while let Some(next) = way.last().and_then(|at| pools.gutter(*at)) {
            if next == of {
                report
                    .error(wish.place.clone(), "the gutters lead back to this pool")
                    .label("nothing would be left to go to");
            }
            if way.contains(&next) {
                break;
            }
            way.push(next);
        }
        warn_of_shared_servers(report, pools, of, wish);
    }
}

/// A server that is down is down in the gutter, too; and what a client stores behind its own deletion might meet that
/// deletion there.
fn warn_of_shared_servers(report: &mut Report<'_>, pools: &Pools, of: usize, wish: &Wish) {
    let servers = |pool: usize| {
        let pool = pools.pools.get(pool).and_then(Option::as_ref);
        pool.map_or(&[][..], |pool| &pool.servers)
    };
    let Some(gutter) = pools.gutter(of) else {
        return;
    };
    let shared = servers(of).iter().find(|server| {
        let mut theirs = servers(gutter).iter();
        theirs.any(|other| other.addr == server.addr)
    });
    if let Some(server) = shared {
        let message = format!(
            "the pool and its gutter share the server \"{}\"",
            server.addr
        );
        report
            .warn(wish.place.clone(), message)
            .label("when it is down, it is down in both");
    }
}

fn pool_name(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if (1..=MAX_NAME).contains(&entry.key.len()) && entry.key.bytes().all(good) {
        return true;
    }
    let error = report.error(
        entry.key_span.clone(),
        format!("{} can't be the name of a pool", quoted(entry.key)),
    );
    if schema::POOL.key(entry.key).is_none() {
        error.label("use letters, digits, '_', '-' and '.'");
    }
    false
}

fn pool(
    report: &mut Report<'_>,
    root: &Table<'_, '_>,
    entry: &Entry<'_, '_>,
    wishes: &mut Vec<Wish>,
) -> Option<Pool> {
    if !matches!(entry.value, DeValue::Table(_)) {
        let error = entry.wrong_kind(report, "a table");
        if schema::POOL.key(entry.key).is_some() {
            error.with_help(format!(
                "a pool needs a name: write [pools.cache] above `{}`",
                entry.key
            ));
        }
        return None;
    }
    let table = entry.table(report, &schema::POOL)?;
    let discover = table
        .get("discover")
        .map(|entry| found(report, &table, &entry));
    let servers = match &discover {
        Some(_) => Some(Vec::new()),
        None => {
            if let Some(entry) = table.get("membership") {
                report
                    .error(entry.key_span, "`membership` goes with `discover`")
                    .label("listed servers are always members");
            }
            servers(report, &table)
        }
    };
    let placement = placement::placement(report, &table);
    let mut pool = Pool::new(entry.key, Vec::new());
    let (millisecond, most) = (Duration::from_millis(1), 10 * MINUTE);
    table.duration(report, "timeout", millisecond..=most, &mut pool.timeout);
    table.duration(
        report,
        "connect_timeout",
        millisecond..=most,
        &mut pool.connect_timeout,
    );
    table.usize(report, "connections", 1..=64, &mut pool.connections);
    let day = 24 * 60 * MINUTE;
    table.duration(
        report,
        "idle_close",
        Duration::ZERO..=day,
        &mut pool.idle_close,
    );
    table.bool(report, "coalesce", &mut pool.coalesce);
    table.bool(report, "keep_routing_prefix", &mut pool.keep_routing_prefix);
    let mut window = 10 * MINUTE;
    table.duration(report, "warm_window", 1000 * millisecond..=day, &mut window);
    let mut warm = false;
    table.bool(report, "warm_scaling", &mut warm);
    pool.warm_scaling = warm.then_some(window);
    pool.on_failure = table.get("on_failure").and_then(|entry| {
        let name = |choice: OnFailure| choice.name().to_owned();
        entry.choice(report, "a way to deal with failures", OnFailure::ALL, name)
    });
    pool.on_return = table.get("on_return").and_then(|entry| {
        let name = |choice: OnReturn| choice.name().to_owned();
        entry.choice(
            report,
            "a way to deal with servers that come back",
            OnReturn::ALL,
            name,
        )
    });
    let exptime = table.get("gutter_exptime");
    let exptime = exptime.and_then(|entry| routes::exptime(report, &entry, 1));
    if let Some(gutter) = table.get("gutter")
        && let Some(name) = gutter.string(report, "the name of a pool")
    {
        wishes.push(Wish {
            of: entry.key.to_owned(),
            name: name.to_owned(),
            place: gutter.place(),
            exptime: exptime.unwrap_or(60),
        });
    }
    // Where they are found, nobody knows how many.
    let count = servers.as_ref().map(Vec::len).filter(|count| *count > 0);
    pool.tko = tko::read(report, &table, count);
    pool.spool = super::spool::of_pool(report, root, &table, entry.key);
    pool.shown = shown(report, &table, entry.key);
    pool.queue = queue(report, &table);
    let placement = placement?;
    let placed = placement::check(
        report,
        &table,
        &placement,
        servers.as_deref().unwrap_or_default(),
    );
    let servers = servers.filter(|_| placed)?;
    pool.placement = placement;
    pool.discover = match discover {
        Some(discover) => Some(discover?),
        None => None,
    };
    pool.servers = servers.into_iter().map(|placed| placed.server).collect();
    Some(pool)
}

/// `discover`, which takes the place of `servers`.
fn found(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    entry: &Entry<'_, '_>,
) -> Option<Discover> {
    let discover = discover::discover(report, table, entry);
    if let Some(servers) = table.get("servers") {
        report
            .error(
                servers.key_span,
                "a pool has `servers` or `discover`, not both",
            )
            .with_help("for a fixed server beside those that are found, make a pool of each and a route over both");
        return None;
    }
    discover
}

/// `None` if any server is wrong.
fn servers(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Vec<Placed>> {
    let entry = table.require(
        report,
        "servers",
        "servers = [\"127.0.0.1:11211\"], or where they are found: discover = \"NAME.default.svc.cluster.local\"",
    )?;
    let elements = entry.array(report, "a list of servers")?;
    if elements.is_empty() {
        report
            .error(entry.place(), "the pool has no servers")
            .label("write at least one, as in [\"127.0.0.1:11211\"]");
        return None;
    }
    let count = elements.len();
    let mut servers: Vec<Placed> = Vec::new();
    for element in elements {
        if let Some(placed) = server(report, &element) {
            servers.push(placed);
        }
    }
    let unique = check_unique(report, &servers);
    (unique && servers.len() == count).then_some(servers)
}

fn server(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Placed> {
    if !matches!(entry.value, DeValue::Table(_)) {
        let text = entry.string(report, "a list of addresses or tables")?;
        let addr = address(report, entry, text)?;
        return Some(Placed {
            server: Server::new(addr),
            place: entry.place(),
            weight: None,
        });
    }
    let table = entry.table(report, &schema::SERVER)?;
    let name = table.get("name").map(|entry| server_name(report, &entry));
    let weight = table
        .get("weight")
        .map(|entry| (weight(report, &entry), entry.place()));
    let addr = table.require(report, "addr", "addr = \"10.0.0.1:11211\"")?;
    let text = addr.string(report, "an address such as \"10.0.0.1:11211\"")?;
    let mut server = Server::new(address(report, &addr, text)?);
    if let Some(name) = name {
        server.name = name?;
    }
    let place = weight.as_ref().map(|(_, place)| place.clone());
    if let Some((weight, _)) = weight {
        server.weight = Some(weight?);
    }
    Some(Placed {
        server,
        place: entry.place(),
        weight: place,
    })
}

fn address(report: &mut Report<'_>, entry: &Entry<'_, '_>, text: &str) -> Option<ServerAddr> {
    match text.parse() {
        Ok(addr) => Some(addr),
        Err(error) => toml::address_error(report, entry, text, &error),
    }
}

fn server_name(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<String> {
    let name = entry.string(report, "a text such as \"cache-0\"")?;
    if name.is_empty()
        || name.len() > MAX_NAME
        || name.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        report
            .error(
                entry.place(),
                format!("{} can't be the name of a server", quoted(name)),
            )
            .label(format!("1 to {MAX_NAME} bytes without blanks"));
        return None;
    }
    Some(name.to_owned())
}

/// Any number that is one; which of them make sense is up to the distribution.
pub(super) fn weight(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<f64> {
    let weight: Option<f64> = match entry.value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    let weight = weight.filter(|weight| weight.is_finite());
    if weight.is_none() {
        entry.wrong_kind(report, "a number such as 1 or 0.5");
    }
    weight
}

/// Names must differ, since the ring knows servers by them; equal addresses are only odd.
fn check_unique(report: &mut Report<'_>, servers: &[Placed]) -> bool {
    let mut names = std::collections::HashMap::new();
    let mut places = std::collections::HashMap::new();
    let mut unique = true;
    for Placed { server, place, .. } in servers {
        if let Some(earlier) = names.insert(server.name.as_str(), place.start) {
            unique = false;
            let line = report.line_of(earlier);
            report
                .error(
                    place.clone(),
                    format!("there are two servers named {}", quoted(&server.name)),
                )
                .label(format!("the other one is on line {line}"))
                .with_help("keys are placed by the names, so each must be there once");
        } else if let Some(earlier) = places.insert(server.addr.key(), place.start) {
            let line = report.line_of(earlier);
            report
                .warn(
                    place.clone(),
                    format!("two servers have the address \"{}\"", server.addr),
                )
                .label(format!("the other one is on line {line}"));
        }
    }
    unique
}

fn queue(report: &mut Report<'_>, pool: &Table<'_, '_>) -> Queue {
    let mut queue = Queue::default();
    if let Some(table) = pool
        .get("queue")
        .and_then(|entry| entry.table(report, &schema::QUEUE))
    {
        table.usize(report, "requests", 1..=1_000_000, &mut queue.requests);
        table.size(report, "bytes", 64 << 10..=1 << 30, &mut queue.bytes);
        table.usize(report, "in_flight", 0..=1_000_000, &mut queue.in_flight);
    }
    queue
}

/// What the pool is called where mcrouter's questions are answered.
fn shown(report: &mut Report<'_>, table: &Table<'_, '_>, own: &str) -> Option<Shown> {
    let mut first = 0;
    table.usize(report, "shown_from", 0..=65_535, &mut first);
    let name = match table.get("shown_as") {
        Some(entry) => entry.string(report, "text")?,
        None => own,
    };
    (name != own || first != 0).then(|| Shown {
        pool: name.to_owned(),
        first: u32::try_from(first).unwrap_or(0),
    })
}
