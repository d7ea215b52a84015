//! Reads and writes what the rules say that fill one cache from another, or stand around one child.
//!
//! A part of `routes_many`, which knows the children; see [`crate::config::fills`].

use std::fmt::Write as _;
use std::time::Duration;

use super::super::super::diagnostics::Report;
use super::super::super::pools::weight;
use super::super::super::read::{Entry, Table};
use super::super::super::render::{list, quoted};
use super::super::super::schema;
use super::super::super::{
    Condition, Field, Latency, Levels, Migrate, Millionths, Rule, Scalar, Sizes, SlowWarmUp,
};
use super::super::exptime;

/// The longest interval of a migration.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest latency.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// The rule with what the table says of it; `None` after an error.
pub(super) fn read(report: &mut Report<'_>, table: &Table<'_, '_>, rule: Rule) -> Option<Rule> {
    // All of it is looked at, so that all errors are found.
    let mut good = true;
    let rule = match rule {
        Rule::Levels(mut rule) => {
            let named = table.require(report, "exptime", "exptime = \"1h\"");
            good &= named.is_some();
            good &= seconds(report, table, "exptime", 0, &mut rule.exptime);
            good &= seconds(report, table, "miss_exptime", 0, &mut rule.miss_exptime);
            let most = 0..=u32::MAX;
            count(report, table, "miss_period", most, &mut rule.miss_period);
            Rule::Levels(rule)
        }
        Rule::Sizes(mut rule) => {
            good &= table
                .require(report, "threshold", "threshold = \"16KiB\"")
                .is_some();
            table.size(report, "threshold", 0..=(1 << 30), &mut rule.threshold);
            good &= seconds(report, table, "ttl_threshold", 0, &mut rule.ttl_threshold);
            good &= seconds(report, table, "failure_ttl", 1, &mut rule.failure_ttl);
            table.bool(report, "both", &mut rule.both);
            count(report, table, "retries", 1..=10, &mut rule.retries);
            Rule::Sizes(rule)
        }
        Rule::Migrate(mut rule) => {
            good &= migrate(report, table, &mut rule).is_some();
            Rule::Migrate(rule)
        }
        Rule::SlowWarmUp(mut rule) => {
            good &= slow(report, table, &mut rule);
            Rule::SlowWarmUp(rule)
        }
        Rule::Latency(mut rule) => {
            for (name, wait) in [
                ("before", &mut rule.before),
                ("after", &mut rule.after),
                ("total", &mut rule.total),
            ] {
                good &= millis(report, table, name, wait).is_some();
            }
            if let Some(entry) = table.get("percentiles") {
                let read = percentiles(report, &entry);
                good &= read.is_some();
                rule.percentiles = read.unwrap_or_default();
            }
            Rule::Latency(rule)
        }
        Rule::Blackhole(_) => {
            let entry = table.require(
                report,
                "when",
                "when = [{ field = \"key\", equals = [\"KEY\"] }]",
            )?;
            let entries = entry.array(report, "a list of conditions")?;
            let all: Vec<Option<Condition>> = entries
                .iter()
                .map(|entry| condition(report, entry))
                .collect();
            Rule::Blackhole(all.into_iter().collect::<Option<_>>()?)
        }
        Rule::Client(mut offset) => {
            count(report, table, "offset", 0..=u32::MAX, &mut offset);
            Rule::Client(offset)
        }
        Rule::Balance {
            mut salt,
            mut tries,
        } => {
            if let Some(entry) = table.get("salt") {
                match entry.string(report, "a text") {
                    Some(text) => text.clone_into(&mut salt),
                    None => good = false,
                }
            }
            count(report, table, "tries", 1..=1000, &mut tries);
            Rule::Balance { salt, tries }
        }
        Rule::Outstanding(mut limit) => {
            table.require(report, "limit", "limit = 100")?;
            count(report, table, "limit", 1..=1_000_000, &mut limit);
            Rule::Outstanding(limit)
        }
        rule => rule,
    };
    good.then_some(rule)
}

fn count(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
    range: std::ops::RangeInclusive<u32>,
    number: &mut u32,
) {
    let mut read = *number as usize;
    let range = u64::from(*range.start())..=u64::from(*range.end());
    table.usize(report, name, range, &mut read);
    *number = u32::try_from(read).unwrap_or(*number);
}

/// False after an error.
fn seconds(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
    least: u64,
    number: &mut u32,
) -> bool {
    let Some(entry) = table.get(name) else {
        return true;
    };
    let read = exptime(report, &entry, least);
    *number = read.unwrap_or(*number);
    read.is_some()
}

/// `None` after an error.
fn milliseconds(report: &mut Report<'_>, entry: &Entry<'_, '_>, name: &str) -> Option<u32> {
    let length = entry.duration(report, Duration::ZERO..=MAX_LATENCY)?;
    if length.subsec_nanos() % 1_000_000 != 0 {
        let message = format!("`{name}` must be whole milliseconds");
        report.error(entry.place(), message);
        return None;
    }
    u32::try_from(length.as_millis()).ok()
}

/// `None` after an error.
fn percentiles(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Vec<(Millionths, u32)>> {
    const PAIRS: &str = "a list of pairs as [99.9, \"1s\"]";
    let mut all = Vec::new();
    for pair in entry.array(report, PAIRS)? {
        let both = pair.array(report, PAIRS)?;
        let [at, total] = both.as_slice() else {
            pair.wrong_kind(report, "a pair as [99.9, \"1s\"]");
            return None;
        };
        let Some(percentile) = Millionths::of(weight(report, at)?) else {
            at.wrong_kind(report, "a number from 0 to 100");
            return None;
        };
        all.push((percentile, milliseconds(report, total, "percentiles")?));
    }
    if !Latency::are_percentiles(&all) {
        let message = "`percentiles` must be from 0 to 100, each above the one before";
        report.error(entry.place(), message);
        return None;
    }
    Some(all)
}

/// `None` after an error.
fn millis(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
    wait: &mut u32,
) -> Option<()> {
    let Some(entry) = table.get(name) else {
        return Some(());
    };
    *wait = milliseconds(report, &entry, name)?;
    Some(())
}

/// `None` after an error.
fn migrate(report: &mut Report<'_>, table: &Table<'_, '_>, rule: &mut Migrate) -> Option<()> {
    let start = table
        .require(report, "start_time", "start_time = 1893456000")
        .and_then(|entry| entry.integer(report, 0..=1 << 40));
    if let Some(entry) = table.get("interval") {
        let interval = entry.duration(report, Duration::from_secs(1)..=MAX_INTERVAL)?;
        rule.interval = u32::try_from(interval.as_secs()).ok()?;
        if interval.subsec_nanos() != 0 {
            report.error(entry.place(), "`interval` must be whole seconds");
            return None;
        }
    }
    rule.start = start?;
    Some(())
}

/// False after an error.
fn slow(report: &mut Report<'_>, table: &Table<'_, '_>, rule: &mut SlowWarmUp) -> bool {
    let mut good = true;
    for (name, number, range) in [
        ("enable_threshold", &mut rule.enable, 0..=1_000_000),
        ("disable_threshold", &mut rule.disable, 0..=1_000_000),
        ("start", &mut rule.start, 1..=999_999),
        ("step", &mut rule.step, 1..=99_999_999),
    ] {
        let Some(entry) = table.get(name) else {
            continue;
        };
        let Some(given) = weight(report, &entry) else {
            good = false;
            continue;
        };
        match Millionths::of(given).filter(|read| range.contains(&read.0)) {
            Some(read) => *number = read,
            None => {
                let [least, most] = [range.start(), range.end()].map(|end| Millionths(*end));
                report
                    .error(entry.place(), format!("`{name}` is out of range"))
                    .label(format!("from {least} to {most}"));
                good = false;
            }
        }
    }
    let most = 0..=u32::MAX;
    count(report, table, "min_requests", most, &mut rule.min_requests);
    if good && rule.enable >= rule.disable {
        let place = table
            .get("enable_threshold")
            .or(table.get("disable_threshold"));
        report
            .error(
                place.map_or(table.place.clone(), |entry| entry.place()),
                "`enable_threshold` is not under `disable_threshold`",
            )
            .label("it would begin as soon as it ends");
        good = false;
    }
    good
}

fn condition(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Condition> {
    let table = entry.table(report, &schema::CONDITION)?;
    let fields: Vec<Field> = Field::ALL.into_iter().map(|(.., field)| field).collect();
    let field = table
        .require(report, "field", "field = \"key\"")
        .and_then(|entry| {
            entry.choice(report, "a part of a request", &fields, |field| {
                field.name().to_owned()
            })
        });
    let mut scalars = |name: &str| -> Option<Vec<Scalar>> {
        let Some(entry) = table.get(name) else {
            return Some(Vec::new());
        };
        let entries = entry.array(report, "a list")?;
        let all: Vec<Option<Scalar>> = entries
            .iter()
            .map(|entry| match field {
                Some(Field::Key) => {
                    let text = entry.string(report, "a key")?;
                    Some(Scalar::Text(text.to_owned()))
                }
                _ => entry.signed(report).map(Scalar::Number),
            })
            .collect();
        all.into_iter().collect()
    };
    let (equals, differs) = (scalars("equals"), scalars("differs"));
    Some(Condition {
        field: field?,
        equals: equals?,
        differs: differs?,
    })
}

/// Appends what [`read`] reads.
pub(super) fn render(text: &mut String, rule: &Rule) {
    let _ = match rule {
        Rule::WarmUp { exptime: None } => write!(text, ", exptime = \"keep\""),
        Rule::WarmUp {
            exptime: Some(seconds),
        } => write!(text, ", exptime = {seconds}"),
        Rule::Levels(Levels {
            exptime,
            miss_exptime,
            miss_period,
        }) => write!(
            text,
            ", exptime = {exptime}, miss_exptime = {miss_exptime}, miss_period = {miss_period}"
        ),
        Rule::Sizes(Sizes {
            threshold,
            ttl_threshold,
            failure_ttl,
            both,
            retries,
        }) => write!(
            text,
            ", threshold = {threshold}, ttl_threshold = {ttl_threshold}, failure_ttl = {failure_ttl}, both = {both}, retries = {retries}"
        ),
        Rule::Migrate(Migrate { start, interval }) => {
            write!(text, ", start_time = {start}, interval = {interval}")
        }
        Rule::SlowWarmUp(SlowWarmUp {
            enable,
            disable,
            start,
            step,
            min_requests,
        }) => write!(
            text,
            ", enable_threshold = {enable}, disable_threshold = {disable}, start = {start}, step = {step}, min_requests = {min_requests}"
        ),
        Rule::Latency(Latency {
            before,
            after,
            total,
            percentiles,
        }) => {
            let all = percentiles.iter();
            let all = list(all.map(|(at, total)| format!("[{at}, \"{total}ms\"]")));
            write!(
                text,
                ", before = \"{before}ms\", after = \"{after}ms\", total = \"{total}ms\", percentiles = {all}"
            )
        }
        Rule::Blackhole(conditions) => {
            let conditions = conditions.iter().map(|one| {
                let [equals, differs] =
                    [&one.equals, &one.differs].map(|all| list(all.iter().map(scalar)));
                let field = one.field.name();
                format!("{{ field = \"{field}\", equals = {equals}, differs = {differs} }}")
            });
            write!(text, ", when = {}", list(conditions))
        }
        Rule::Client(offset) => write!(text, ", offset = {offset}"),
        Rule::Balance { salt, tries } => {
            write!(text, ", salt = {}, tries = {tries}", quoted(salt))
        }
        Rule::Outstanding(limit) => write!(text, ", limit = {limit}"),
        _ => Ok(()),
    };
}

fn scalar(one: &Scalar) -> String {
    match one {
        Scalar::Text(text) => quoted(text),
        Scalar::Number(number) => number.to_string(),
    }
}
