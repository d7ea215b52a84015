//! Reads the routes that look into keys, see [`Keys`]; a part of the reader of routes.

use std::collections::HashSet;

use ::toml::de::DeValue;

use super::super::diagnostics::{Report, quoted};
use super::super::keys::{
    Keys, MAX_REPLICAS, MAX_SPLIT, Modify, Shard, Split, is_part_of_key, split_prefix,
};
use super::super::read::{Entry, Table, entries};
use super::super::schema::{self, Section};
use super::{Reader, Route};

/// Their types.
pub(super) const TYPES: [(&str, &Section); 4] = [
    ("routing-prefix", &schema::ROUTE_ROUTING_PREFIX),
    ("modify-key", &schema::ROUTE_MODIFY_KEY),
    ("key-split", &schema::ROUTE_KEY_SPLIT),
    ("shard-split", &schema::ROUTE_SHARD_SPLIT),
];

impl Reader<'_> {
    /// Reads a route of one of [`TYPES`]. `None` after an error.
    pub(super) fn keys(
        &mut self,
        report: &mut Report<'_>,
        kind: &str,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let keys = match kind {
            "routing-prefix" => self.prefixes(report, table, depth)?,
            "modify-key" => {
                let modify = modify(report, table);
                let child = self.child(report, table, depth)?;
                let modify = modify?;
                Keys::Modify { child, modify }
            }
            "key-split" => {
                let split = split(report, table);
                let child = self.child(report, table, depth)?;
                let split = split?;
                Keys::Split { child, split }
            }
            _ => {
                let shards = shards(report, table);
                let child = self.child(report, table, depth)?;
                let shards = shards?;
                Keys::Shards { child, shards }
            }
        };
        Some(Route::Keys(keys))
    }

    fn prefixes(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Keys> {
        let mut unknown_to_default = false;
        table.bool(report, "unknown_to_default", &mut unknown_to_default);
        let default = table.require(report, "default", "default = \"/region/cluster/\"");
        let text = default.as_ref().and_then(|entry| prefix(report, entry));
        let list = table.require(
            report,
            "routes",
            "routes = [{ prefixes = [\"/region/cluster/\"], route = \"POOL\" }]",
        )?;
        let mut routes = Vec::new();
        let mut known = HashSet::new();
        let mut complete = true;
        for element in list.array(report, "a list of tables")? {
            match self.of_prefixes(report, &element, depth, &mut known) {
                Some(one) => routes.push(one),
                None => complete = false,
            }
        }
        let (default, text) = (default?, text?);
        if complete && !known.contains(&text) {
            report
                .error(default.place(), format!("no route is for {text}"))
                .label("write it in the `prefixes` of one");
            return None;
        }
        complete.then_some(Keys::Prefixes {
            routes,
            default: text,
            unknown_to_default,
        })
    }

    fn of_prefixes(
        &mut self,
        report: &mut Report<'_>,
        entry: &Entry<'_, '_>,
        depth: usize,
        known: &mut HashSet<String>,
    ) -> Option<(Vec<String>, Route)> {
        let table = entry.table(report, &schema::ROUTE_OF_PREFIXES)?;
        let example = "prefixes = [\"/region/cluster/\"]";
        let list = table.require(report, "prefixes", example);
        let route = table
            .require(report, "route", "route = \"POOL\"")
            .and_then(|entry| self.route(report, &entry, depth + 1));
        let list = list?;
        let elements = list.array(report, "a list of prefixes")?;
        if elements.is_empty() {
            report
                .error(list.place(), "`prefixes` is an empty list")
                .label(format!("write: {example}"));
            return None;
        }
        let mut prefixes = Vec::new();
        for element in elements {
            let text = prefix(report, &element)?;
            if !known.insert(text.clone()) {
                report.error(element.place(), format!("{text} has a route already"));
                return None;
            }
            prefixes.push(text);
        }
        Some((prefixes, route?))
    }
}

/// A routing prefix.
fn prefix(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<String> {
    let text = entry.string(report, "a routing prefix")?;
    if split_prefix(text).is_some() && is_part_of_key(text) {
        return Some(text.to_owned());
    }
    report
        .error(
            entry.place(),
            format!("{} is not a routing prefix", quoted(text)),
        )
        .label("write \"/region/cluster/\"");
    None
}

fn modify(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Modify> {
    let mut complete = true;
    let mut text = |name: &str, report: &mut Report<'_>| {
        let entry = table.get(name)?;
        let text = entry.string(report, "a part of a key");
        let good = text.filter(|text| is_part_of_key(text));
        if let (Some(_), None) = (text, good) {
            report
                .error(entry.place(), format!("`{name}` can't be part of a key"))
                .label("keys have up to 250 bytes, no blanks and no control characters");
        }
        complete &= good.is_some();
        good.map(str::to_owned)
    };
    let ensure_key_prefix = text("ensure_key_prefix", report).unwrap_or_default();
    let replace_key_prefix = text("replace_key_prefix", report);
    let set_key_suffix = text("set_key_suffix", report).unwrap_or_default();
    let mut modify_inplace = false;
    table.bool(report, "modify_inplace", &mut modify_inplace);
    let set_routing_prefix = match table.get("set_routing_prefix") {
        None => None,
        Some(entry) if matches!(entry.value, DeValue::String(text) if text.is_empty()) => {
            Some(String::new())
        }
        Some(entry) => Some(prefix(report, &entry)?),
    };
    complete.then_some(Modify {
        set_routing_prefix,
        ensure_key_prefix,
        replace_key_prefix,
        set_key_suffix,
        modify_inplace,
    })
}

fn split(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Split> {
    let replicas = table
        .require(report, "replicas", "replicas = 2")
        .and_then(|entry| entry.integer(report, 2..=u64::from(MAX_REPLICAS)));
    let all_sync = table
        .require(report, "all_sync", "all_sync = true")
        .and_then(|entry| entry.bool(report));
    let mut first_hit = false;
    table.bool(report, "first_hit", &mut first_hit);
    Some(Split {
        replicas: u32::try_from(replicas?).ok()?,
        all_sync: all_sync?,
        first_hit,
    })
}

fn shards(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Vec<(String, Shard)>> {
    let list = table.require(report, "shards", "shards = { \"123\" = 4 }")?;
    let DeValue::Table(list_table) = list.value else {
        list.wrong_kind(report, "a table from shard to a number of parts");
        return None;
    };
    let mut shards = Vec::new();
    let mut complete = true;
    for entry in entries(list_table) {
        let is_id = entry.key.ends_with(|c: char| c.is_ascii_digit())
            && !entry.key.contains(':')
            && is_part_of_key(entry.key);
        if !is_id {
            let message = format!("{} is not the id of a shard", quoted(entry.key));
            report
                .error(entry.key_span.clone(), message)
                .label("it ends in a digit and has no colon");
        }
        match shard(report, &entry) {
            Some(shard) if is_id => shards.push((entry.key.to_owned(), shard)),
            _ => complete = false,
        }
    }
    complete.then_some(shards)
}

fn shard(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Shard> {
    let parts = 1..=u64::from(MAX_SPLIT);
    if let DeValue::Integer(_) = entry.value {
        let count = u32::try_from(entry.integer(report, parts)?).ok()?;
        return Some(Shard::fixed(count));
    }
    let table = entry.table(report, &schema::ROUTE_SHARD)?;
    let new = table
        .require(report, "parts", "parts = 4")
        .and_then(|entry| entry.integer(report, parts.clone()))?;
    let mut number =
        |name: &str, range: std::ops::RangeInclusive<u64>, default: u64| match table.get(name) {
            Some(entry) => entry.integer(report, range),
            None => Some(default),
        };
    let old = number("old_parts", parts, new)?;
    let start = number("start", 0..=1 << 40, 0)?;
    let period = number("period", 0..=1 << 40, 0)?;
    let mut fanout_deletes = true;
    table.bool(report, "fanout_deletes", &mut fanout_deletes);
    Some(Shard {
        old: u32::try_from(old).ok()?,
        new: u32::try_from(new).ok()?,
        start,
        period,
        fanout_deletes,
    })
}
