//! Routes in the file: the name of a pool, or a table with a `type`.
//!
//! Every pool that a route names is marked as used, so that the ones that can't be reached are warned of. Which
//! types there are and what their keys mean is in `schema`; what a route does with a request, in `crate::route`.

#[path = "routes_many.rs"]
pub(super) mod many;

use std::time::Duration;

use ::toml::de::DeValue;

use super::diagnostics::{Report, nearest, quoted};
use super::pools::Pools;
use super::read::{Entry, Table, entries};
use super::schema::{self, Section};
use super::{FailoverOn, Route, show_size};

/// How deep routes may nest; the request path keeps a frame for each level that decides on a reply.
const MAX_DEPTH: usize = 20;

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The default `split_threshold`, in bytes: memcached's default limit with room for key and header.
const DEFAULT_THRESHOLD: usize = 1000 << 10;

/// The default `batch_size`.
const DEFAULT_BATCH: usize = 10;

#[path = "routes_choose.rs"]
mod choose;
#[path = "routes_keys.rs"]
mod keys;

const TYPES: &[(&str, &Section)] = &[
    ("prefix", &schema::ROUTE_PREFIX),
    ("failover", &schema::ROUTE_FAILOVER),
    ("warm-up", &schema::ROUTE_WARM_UP),
    ("big-value", &schema::ROUTE_BIG_VALUE),
    ("all-sync", &schema::ROUTE_ALL),
    ("all-async", &schema::ROUTE_ALL),
    ("all-initial", &schema::ROUTE_ALL),
    ("all-fastest", &schema::ROUTE_ALL),
    ("all-majority", &schema::ROUTE_ALL),
    ("miss-failover", &schema::ROUTE_MISS_FAILOVER),
    ("selective-failover", &schema::ROUTE_SELECTIVE_FAILOVER),
    ("shadow", &schema::ROUTE_SHADOW),
    ("latest", &schema::ROUTE_LATEST),
    ("keyed-failover", &schema::ROUTE_KEYED_FAILOVER),
    ("two-level", &schema::ROUTE_TWO_LEVEL),
    ("by-size", &schema::ROUTE_BY_SIZE),
    ("staging", &schema::ROUTE_STAGING),
    ("migrate", &schema::ROUTE_MIGRATE),
    ("slow-warm-up", &schema::ROUTE_SLOW_WARM_UP),
    ("latency", &schema::ROUTE_LATENCY),
    ("blackhole", &schema::ROUTE_BLACKHOLE),
    ("client", &schema::ROUTE_CLIENT),
    ("balance", &schema::ROUTE_BALANCE),
    ("outstanding", &schema::ROUTE_OUTSTANDING),
];

/// Every type there is.
fn types() -> impl Iterator<Item = (&'static str, &'static Section)> {
    TYPES
        .iter()
        .copied()
        .chain(choose::TYPES)
        .chain(keys::TYPES)
}

/// Reads the route of the file and warns of pools that it does not use.
pub(super) fn route(
    report: &mut Report<'_>,
    pools: &Pools,
    entry: &Entry<'_, '_>,
) -> Option<Route> {
    let mut reader = Reader {
        pools,
        used: vec![false; pools.names().len()],
    };
    let route = reader.route(report, entry, 0);
    if route.is_some() {
        let used = pools.with_gutters(reader.used);
        for ((name, place), used) in pools.names().iter().zip(&used) {
            if !used {
                report
                    .warn(
                        place.clone(),
                        format!("no route leads to the pool \"{name}\""),
                    )
                    .label("never used")
                    .with_help("name it in `route`, or remove it");
            }
        }
    }
    route
}

/// Warns if nothing can be over the threshold of a big-value route.
pub(super) fn warn_of_thresholds(
    report: &mut Report<'_>,
    place: std::ops::Range<usize>,
    route: &Route,
    max_value: usize,
) {
    let children: Vec<&Route> = match route {
        Route::Pool(_) => Vec::new(),
        Route::Prefix { prefixes, default } => {
            let children = prefixes.iter().map(|(_, child)| child);
            children.chain([&**default]).collect()
        }
        Route::Failover { children, .. } | Route::Many { children, .. } => {
            children.iter().collect()
        }
        Route::Choose(choose) => choose.children(),
        Route::Keys(keys) => keys.children(),
        Route::WarmUp { cold, warm, .. } => vec![&**cold, &**warm],
        Route::BigValue {
            child,
            split_threshold,
            ..
        } => {
            if *split_threshold >= max_value {
                let size = show_size(max_value as u64);
                report
                    .warn(place.clone(), "no value is larger than `split_threshold`")
                    .label("nothing will be stored in parts")
                    .with_help(format!(
                        "`limits.max_value` is \"{size}\": raise it to the largest value there may be"
                    ));
            }
            vec![&**child]
        }
    };
    for child in children {
        warn_of_thresholds(report, place.clone(), child, max_value);
    }
}

struct Reader<'p> {
    pools: &'p Pools,
    used: Vec<bool>,
}

impl Reader<'_> {
    fn route(
        &mut self,
        report: &mut Report<'_>,
        entry: &Entry<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        if depth >= MAX_DEPTH {
            report.error(
                entry.place(),
                format!("routes are nested more than {MAX_DEPTH} deep"),
            );
            return None;
        }
        match entry.value {
            DeValue::String(name) => self.pool(report, entry, name),
            DeValue::Table(table) => {
                let kind = table.get_key_value("type").is_some();
                let section = if kind {
                    self.kind(report, entry)?
                } else {
                    return missing_type(report, entry);
                };
                let table = entry.table(report, section)?;
                let choose = choose::TYPES.into_iter();
                if let Some((kind, _)) = choose
                    .into_iter()
                    .find(|(_, one)| one.heading == section.heading)
                {
                    return self.choose(report, kind, &table, depth);
                }
                let mut keys = keys::TYPES.into_iter();
                if let Some((kind, _)) = keys.find(|(_, one)| one.heading == section.heading) {
                    return self.keys(report, kind, &table, depth);
                }
                match section.heading {
                    heading if heading == schema::ROUTE_PREFIX.heading => {
                        self.prefix(report, &table, depth)
                    }
                    heading if heading == schema::ROUTE_FAILOVER.heading => {
                        self.failover(report, &table, depth)
                    }
                    heading if heading == schema::ROUTE_BIG_VALUE.heading => {
                        self.big_value(report, &table, depth)
                    }
                    heading if heading == schema::ROUTE_WARM_UP.heading => {
                        self.warm_up(report, &table, depth)
                    }
                    _ => self.many(report, &table, depth),
                }
            }
            DeValue::Array(_) => {
                entry
                    .wrong_kind(report, "the name of a pool or a table with a `type`")
                    .with_help("to try one after the other, write { type = \"failover\", children = [ … ] }");
                None
            }
            _ => {
                entry.wrong_kind(report, "the name of a pool or a table with a `type`");
                None
            }
        }
    }

    fn pool(
        &mut self,
        report: &mut Report<'_>,
        entry: &Entry<'_, '_>,
        name: &str,
    ) -> Option<Route> {
        let names = self.pools.names();
        let Some(index) = names.iter().position(|(pool, _)| pool == name) else {
            let error = report.error(entry.place(), format!("there is no pool {}", quoted(name)));
            if let Some(near) = nearest(name, names.iter().map(|(pool, _)| pool.as_str())) {
                error.label(format!("did you mean \"{near}\"?"));
            }
            let list = names
                .iter()
                .take(20)
                .map(|(pool, _)| pool.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            if !list.is_empty() {
                error.with_help(format!("the pools are: {list}"));
            }
            return None;
        };
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
        Some(Route::Pool(index))
    }

    fn kind(&self, report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<&'static Section> {
        let DeValue::Table(table) = entry.value else {
            return None;
        };
        let kind = entries(table)
            .into_iter()
            .find(|entry| entry.key == "type")?;
        let all: Vec<(&str, &Section)> = types().collect();
        let (_, section) =
            kind.choice(report, "a type of route", &all, |(name, _)| name.to_owned())?;
        Some(section)
    }

    fn prefix(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let default = table
            .require(report, "default", "default = \"POOL\"")
            .and_then(|entry| self.route(report, &entry, depth + 1));
        let list = table.require(report, "prefixes", "prefixes = { \"user:\" = \"POOL\" }")?;
        let DeValue::Table(list_table) = list.value else {
            list.wrong_kind(report, "a table from prefix to route");
            return None;
        };
        let list_entries = entries(list_table);
        if list_entries.is_empty() {
            report
                .warn(list.place(), "a prefix route without prefixes")
                .label("every key goes to `default`");
        }
        let mut prefixes = Vec::new();
        let mut complete = true;
        for entry in list_entries {
            let good = check_prefix(report, &entry);
            match self.route(report, &entry, depth + 1) {
                Some(route) if good => prefixes.push((entry.key.as_bytes().to_vec(), route)),
                _ => complete = false,
            }
        }
        let default = Box::new(default?);
        complete.then_some(Route::Prefix { prefixes, default })
    }

    fn failover(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let on = failover_on(report, table);
        let list = table.require(report, "children", "children = [\"POOL\", \"OTHER\"]")?;
        let elements = list.array(report, "a list of routes")?;
        match elements.len() {
            0 => {
                report
                    .error(list.place(), "`children` is an empty list")
                    .label("name at least two routes");
                return None;
            }
            1 => {
                report
                    .warn(
                        list.place(),
                        "a failover route with one child has nowhere to go",
                    )
                    .label("name at least two routes");
            }
            _ => {}
        }
        let count = elements.len();
        let mut children: Vec<Route> = Vec::new();
        for element in elements {
            let Some(child) = self.route(report, &element, depth + 1) else {
                continue;
            };
            if children.contains(&child) {
                report
                    .warn(element.place(), "this child is in the list already")
                    .label("tried twice");
            }
            children.push(child);
        }
        (children.len() == count).then_some(Route::Failover { children, on: on? })
    }

    fn warm_up(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let mut child = |name: &str, report: &mut Report<'_>| {
            let entry = table.require(report, name, &format!("{name} = \"POOL\""))?;
            self.route(report, &entry, depth + 1).map(Box::new)
        };
        let cold = child("cold", report);
        let warm = child("warm", report);
        let exptime = table
            .require(
                report,
                "exptime",
                "exptime = \"1h\", \"keep\", or 0 for items that never expire",
            )
            .and_then(|entry| match entry.value {
                DeValue::String(text) if text == "keep" => Some(None),
                _ => exptime(report, &entry, 0).map(Some),
            });
        let (cold, warm, exptime) = (cold?, warm?, exptime?);
        if cold == warm {
            let place = table
                .get("warm")
                .map_or(table.place.clone(), |entry| entry.place());
            report
                .error(place, "`cold` and `warm` are the same")
                .label("name the cache to fill from");
            return None;
        }
        Some(Route::WarmUp {
            cold,
            warm,
            exptime,
        })
    }

    fn big_value(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let child = table
            .require(report, "child", "child = \"POOL\"")
            .and_then(|entry| self.route(report, &entry, depth + 1));
        let mut split_threshold = DEFAULT_THRESHOLD;
        let mut batch_size = DEFAULT_BATCH;
        let mut hide_reply_flag = false;
        table.size(
            report,
            "split_threshold",
            (1 << 10)..=(128 << 20),
            &mut split_threshold,
        );
        table.usize(report, "batch_size", 0..=1000, &mut batch_size);
        table.bool(report, "hide_reply_flag", &mut hide_reply_flag);
        Some(Route::BigValue {
            child: Box::new(child?),
            split_threshold,
            batch_size,
            hide_reply_flag,
        })
    }
}

fn missing_type(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Route> {
    let names = types().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    report
        .error(entry.place(), "`type` is missing in a route")
        .label(format!("add type = …, one of: {names}"));
    None
}

fn check_prefix(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> bool {
    let place = entry.key_span.clone();
    if entry.key.is_empty() {
        report
            .error(place, "an empty prefix fits every key")
            .label("use `default` for that");
    } else if entry.key.len() > 250 {
        report
            .error(place, "the prefix is longer than a key can be")
            .label("a key has at most 250 bytes");
    } else if entry.key.bytes().any(|b| b <= b' ' || b == 0x7f) {
        report
            .error(place, "no key can have this prefix")
            .label("keys hold no blanks or control characters");
    } else {
        return true;
    }
    false
}

/// `None` after an error.
fn failover_on(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Vec<FailoverOn>> {
    let Some(entry) = table.get("on") else {
        return Some(FailoverOn::DEFAULT.to_vec());
    };
    let elements = entry.elements();
    if elements.is_empty() {
        report
            .error(
                entry.place(),
                "`on` is an empty list: nothing would ever fail over",
            )
            .label("name a reason");
        return None;
    }
    let mut on = Vec::new();
    let mut complete = true;
    for element in elements {
        match element.choice(report, "a reason to fail over", FailoverOn::ALL, |reason| {
            reason.to_string()
        }) {
            Some(reason) if on.contains(&reason) => {
                report.warn(
                    element.place(),
                    format!("\"{reason}\" is in the list already"),
                );
            }
            Some(reason) => on.push(reason),
            None => complete = false,
        }
    }
    complete.then_some(on)
}

/// A lifetime in whole seconds, at least so many.
pub(super) fn exptime(report: &mut Report<'_>, entry: &Entry<'_, '_>, least: u64) -> Option<u32> {
    let duration = entry.duration(report, Duration::from_secs(least)..=MAX_EXPTIME)?;
    if duration.subsec_nanos() != 0 {
        report
            .error(
                entry.place(),
                format!("`{}` must be whole seconds", entry.key),
            )
            .label("memcached counts in seconds");
        return None;
    }
    u32::try_from(duration.as_secs()).ok()
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
