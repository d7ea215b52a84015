//! Reads and writes failovers whose order follows from the host or from the key; a part of `routes_many`.

use std::fmt::Write as _;

use super::super::super::diagnostics::Report;
use super::super::super::pools::weight;
use super::super::super::read::{Entry, Table};
use super::super::super::render::{list, quoted};
use super::super::super::{Draws, KeyOrder, KeyedFailover, Latest, Millionths};
use super::verdicts;

/// All of a list that is read; empty if it is not there, `None` after an error.
fn all<T>(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
    read: impl Fn(&mut Report<'_>, &Entry<'_, '_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(entry) = table.get(name) else {
        return Some(Vec::new());
    };
    let elements = entry.array(report, "a list")?;
    let read: Vec<Option<T>> = elements.iter().map(|one| read(report, one)).collect();
    read.into_iter().collect()
}

fn weights(report: &mut Report<'_>, table: &Table<'_, '_>, most: f64) -> Option<Vec<Millionths>> {
    all(report, table, "weights", |report, entry| {
        let given = weight(report, entry)?;
        let read = Some(given)
            .filter(|given| *given <= most)
            .and_then(Millionths::of);
        if read.is_none() {
            report
                .error(entry.place(), "this is not a weight")
                .label(format!("a number from 0 to {most}"));
        }
        read
    })
}

fn number(report: &mut Report<'_>, table: &Table<'_, '_>, name: &str, default: u32) -> u32 {
    let mut read = default as usize;
    table.usize(report, name, 1..=1000, &mut read);
    u32::try_from(read).unwrap_or(default)
}

/// `None` after an error.
pub(super) fn latest(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    mut rule: Latest,
) -> Option<Latest> {
    rule.count = number(report, table, "count", rule.count);
    let weights = weights(report, table, 1.0);
    if let Some(entry) = table.get("salt") {
        rule.salt = entry.string(report, "a text")?.to_owned();
    }
    rule.weights = weights?;
    Some(rule)
}

/// The order of a failover with so many children; `None` after an error.
pub(super) fn order(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    children: usize,
) -> Option<KeyOrder> {
    let by_score = match table.get("order") {
        None => Some(false),
        Some(entry) => entry.choice(report, "an order", &[false, true], |by_score| {
            if by_score { "rendezvous" } else { "draws" }.to_owned()
        }),
    };
    let tags = all(report, table, "tags", |report, entry| {
        Some(entry.string(report, "a text")?.to_owned())
    });
    let domains = all(report, table, "domains", |report, entry| {
        let domain = entry.integer(report, 0..=u32::MAX.into())?;
        u32::try_from(domain).ok()
    });
    let excluded = verdicts(report, table, "excluded_errors");
    let most = if by_score == Some(true) { 1000.0 } else { 1.0 };
    let weights = weights(report, table, most);
    let KeyOrder::Draws(default) = KeyedFailover::DEFAULT.order else {
        return None;
    };
    let mut draws = Draws {
        max_tries: number(report, table, "max_tries", default.max_tries),
        max_error_tries: number(report, table, "max_error_tries", default.max_error_tries),
        ..default
    };
    table.bool(report, "repeats_normal", &mut draws.repeats_normal);
    let (tags, weights) = (tags?, weights?);
    if by_score? {
        let others = children.saturating_sub(1);
        if tags.len() != others || !(weights.is_empty() || weights.len() == others) {
            report
                .error(
                    table.place.clone(),
                    "there must be a tag for each child but the first",
                )
                .label(format!("{others} `tags`, and as many `weights` or none"));
            return None;
        }
        return Some(KeyOrder::Rendezvous { tags, weights });
    }
    draws.excluded = excluded?.unwrap_or(draws.excluded);
    draws.domains = domains?;
    draws.weights = weights;
    Some(KeyOrder::Draws(draws))
}

fn numbers(all: &[Millionths]) -> String {
    list(all.iter().map(Millionths::to_string))
}

/// Appends what [`latest`] reads.
pub(super) fn render_latest(text: &mut String, rule: &Latest) {
    let (count, salt) = (rule.count, quoted(&rule.salt));
    let _ = write!(text, ", count = {count}, salt = {salt}");
    if !rule.weights.is_empty() {
        let _ = write!(text, ", weights = {}", numbers(&rule.weights));
    }
}

/// Appends what [`order`] reads.
pub(super) fn render(text: &mut String, order: &KeyOrder) {
    match order {
        KeyOrder::Rendezvous { tags, weights } => {
            let tags = list(tags.iter().map(|tag| quoted(tag)));
            let _ = write!(text, ", order = \"rendezvous\", tags = {tags}");
            if !weights.is_empty() {
                let _ = write!(text, ", weights = {}", numbers(weights));
            }
        }
        KeyOrder::Draws(Draws {
            max_tries,
            max_error_tries,
            excluded,
            weights,
            domains,
            repeats_normal,
        }) => {
            let excluded = list(excluded.names().map(quoted));
            let _ = write!(
                text,
                ", order = \"draws\", max_tries = {max_tries}, max_error_tries = {max_error_tries}, excluded_errors = {excluded}, repeats_normal = {repeats_normal}"
            );
            if !weights.is_empty() {
                let _ = write!(text, ", weights = {}", numbers(weights));
            }
            if !domains.is_empty() {
                let domains = list(domains.iter().map(u32::to_string));
                let _ = write!(text, ", domains = {domains}");
            }
        }
    }
}
