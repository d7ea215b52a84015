//! Reads the routes that decide without looking at a reply, see [`Choose`]; a part of the reader of routes.

use std::collections::HashSet;

use ::toml::de::DeValue;

use super::super::choose::{Choose, ErrorResult, MAX_MESSAGE, Rate, Rates, Requests, is_message};
use super::super::diagnostics::Report;
use super::super::pools::weight;
use super::super::read::{Entry, Table, entries};
use super::super::schema::{self, Section};
use super::super::{Route, placement};
use super::{Reader, exptime};

/// Their types.
pub(super) const TYPES: [(&str, &Section); 9] = [
    ("null", &schema::ROUTE_NULL),
    ("error", &schema::ROUTE_ERROR),
    ("hash", &schema::ROUTE_HASH),
    ("random", &schema::ROUTE_RANDOM),
    ("host", &schema::ROUTE_HOST),
    ("operation", &schema::ROUTE_OPERATION),
    ("exptime", &schema::ROUTE_EXPTIME),
    ("rate-limit", &schema::ROUTE_RATE_LIMIT),
    ("hash-stop", &schema::ROUTE_HASH_STOP),
];

impl Reader<'_> {
    /// Reads a route of one of [`TYPES`]. `None` after an error.
    pub(super) fn choose(
        &mut self,
        report: &mut Report<'_>,
        kind: &str,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let choose = match kind {
            "null" => Choose::Null,
            "error" => error(report, table)?,
            "hash" => self.hash(report, table, depth)?,
            "random" => Choose::Random {
                children: self.children(report, table, depth)?,
            },
            "host" => {
                let salt = match table.get("salt") {
                    Some(entry) => entry.string(report, "a text")?.to_owned(),
                    None => String::new(),
                };
                let children = self.children(report, table, depth)?;
                Choose::Host { children, salt }
            }
            "operation" => self.operation(report, table, depth)?,
            "rate-limit" => self.rate_limit(report, table, depth)?,
            "exptime" => self.exptime(report, table, depth)?,
            _ => self.hash_stop(report, table, depth)?,
        };
        Some(Route::Choose(choose))
    }

    pub(super) fn child(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Box<Route>> {
        let entry = table.require(report, "child", "child = \"POOL\"")?;
        self.route(report, &entry, depth + 1).map(Box::new)
    }

    pub(super) fn children(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Vec<Route>> {
        let list = table.require(report, "children", "children = [\"POOL\", \"OTHER\"]")?;
        let elements = list.array(report, "a list of routes")?;
        if elements.is_empty() {
            report
                .error(list.place(), "`children` is an empty list")
                .label("name at least one route");
            return None;
        }
        let children: Vec<Option<Route>> = elements
            .iter()
            .map(|element| self.route(report, element, depth + 1))
            .collect();
        children.into_iter().collect()
    }

    fn hash(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Choose> {
        let placement = placement::placement(report, table);
        let weights = list_of(report, table, "weights", "numbers", weight);
        let names = texts(report, table, "names");
        let children = self.children(report, table, depth)?;
        let (placement, weights, names) = (placement?, weights?, names?);
        for (name, given) in [("weights", weights.len()), ("names", names.len())] {
            let place = table.get(name).map(|entry| entry.place());
            if let Some(place) = place
                && given != children.len()
            {
                let message = format!("there are {given} `{name}` for {} routes", children.len());
                report.error(place, message).label("one for each child");
                return None;
            }
        }
        let choose = Choose::Hash {
            children,
            placement,
            weights,
            names,
        };
        if let Some(Err(error)) = choose.selector() {
            report.error(table.place.clone(), error.to_string());
            return None;
        }
        Some(choose)
    }

    fn operation(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Choose> {
        let default = match table.get("default") {
            Some(entry) => Some(Box::new(self.route(report, &entry, depth + 1)?)),
            None => None,
        };
        let list = table.require(report, "operations", "operations = { get = \"POOL\" }")?;
        let DeValue::Table(inner) = list.value else {
            list.wrong_kind(report, "a table from command to route");
            return None;
        };
        let all = Requests::all();
        let mut operations = Vec::new();
        let mut is_complete = true;
        for entry in entries(inner) {
            let requests = all.iter().find(|one| one.name() == entry.key);
            if requests.is_none() {
                let names: Vec<&str> = all.iter().map(|one| one.name()).collect();
                report
                    .error(
                        entry.key_span.clone(),
                        format!("`{}` is no command that routes know", entry.key),
                    )
                    .with_help(format!("it can be: {}", names.join(", ")));
            }
            match (requests, self.route(report, &entry, depth + 1)) {
                (Some(requests), Some(route)) => operations.push((*requests, route)),
                _ => is_complete = false,
            }
        }
        if operations.is_empty() && is_complete {
            report.warn(list.place(), "an operation route without operations");
        }
        is_complete.then_some(Choose::Operation {
            default,
            operations,
        })
    }

    fn exptime(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Choose> {
        let child = self.child(report, table, depth);
        let exptime = table
            .require(report, "exptime", "exptime = \"1h\"")
            .and_then(|entry| exptime(report, &entry, 0));
        let at_most = match table.get("action") {
            Some(entry) => {
                let actions = [false, true];
                let name = |at_most: bool| if at_most { "min" } else { "set" }.to_owned();
                entry.choice(report, "what to do with times to live", &actions, name)
            }
            None => Some(false),
        };
        Some(Choose::Exptime {
            child: child?,
            exptime: exptime?,
            at_most: at_most?,
        })
    }

    fn rate_limit(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Choose> {
        let child = self.child(report, table, depth);
        let fallback = match table.get("fallback") {
            Some(entry) => Some(Box::new(self.route(report, &entry, depth + 1)?)),
            None => None,
        };
        let gets = rate(report, table, "gets_rate", "gets_burst")?;
        let sets = rate(report, table, "sets_rate", "sets_burst")?;
        let deletes = rate(report, table, "deletes_rate", "deletes_burst")?;
        let rates = Rates {
            gets,
            sets,
            deletes,
        };
        if rates == Rates::default() {
            report
                .error(table.place.clone(), "a rate-limit route without a rate")
                .label("add sets_rate = 1000");
            return None;
        }
        Some(Choose::RateLimit {
            child: child?,
            rates,
            fallback,
        })
    }

    fn hash_stop(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Choose> {
        let child = self.child(report, table, depth);
        table.require(report, "prefixes", "prefixes = [\"user:\"]")?;
        let prefixes = texts(report, table, "prefixes")?;
        Some(Choose::HashStop {
            child: child?,
            prefixes,
        })
    }
}

fn error(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Choose> {
    let mut message = String::new();
    if let Some(entry) = table.get("message") {
        message = entry.string(report, "a text")?.to_owned();
        if !is_message(&message) {
            report
                .error(entry.place(), "clients can't be told this")
                .label(format!("one line of at most {MAX_MESSAGE} bytes"));
            return None;
        }
    }
    let result = match table.get("result") {
        Some(entry) => {
            let all: Vec<&'static ErrorResult> = ErrorResult::ALL.iter().collect();
            entry.choice(report, "the result of an error", &all, |one| {
                one.name.to_owned()
            })?
        }
        None => ErrorResult::DEFAULT,
    };
    let mut shown = false;
    table.bool(report, "shown", &mut shown);
    Some(Choose::Error {
        message,
        result,
        shown,
    })
}

/// One rate, if it is there; `None` after an error.
fn rate(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    rate: &str,
    burst: &str,
) -> Option<Option<Rate>> {
    let mut number = |name: &str| {
        let Some(entry) = table.get(name) else {
            return Some(None);
        };
        let number = weight(report, &entry)?;
        if !(1e-6..=1e9).contains(&number) {
            report
                .error(entry.place(), format!("`{name}` is out of range"))
                .label("more than 0, at most 1000000000");
            return None;
        }
        Some(Some((number, entry.place())))
    };
    let (rate, burst) = (number(rate)?, number(burst)?);
    match (rate, burst) {
        (Some((rate, _)), burst) => {
            let burst = burst.map_or(rate, |(burst, _)| burst);
            Some(Some(Rate { rate, burst }))
        }
        (None, None) => Some(None),
        (None, Some((_, place))) => {
            report.error(place, "a burst without its rate");
            None
        }
    }
}

/// A list of something; empty if it is not there, `None` after an error.
fn list_of<T>(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
    what: &str,
    read: impl Fn(&mut Report<'_>, &Entry<'_, '_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(entry) = table.get(name) else {
        return Some(Vec::new());
    };
    let elements = entry.array(report, &format!("a list of {what}"))?;
    let read: Vec<Option<T>> = elements.iter().map(|one| read(report, one)).collect();
    read.into_iter().collect()
}

fn texts(report: &mut Report<'_>, table: &Table<'_, '_>, name: &str) -> Option<Vec<String>> {
    let mut met = HashSet::new();
    let texts = list_of(report, table, name, "texts", |report, entry| {
        let text = entry.string(report, "a text")?;
        Some((text.to_owned(), entry.place()))
    })?;
    for (text, place) in &texts {
        if !met.insert(text) {
            report.warn(place.clone(), "this text is in the list already");
        }
    }
    Some(texts.into_iter().map(|(text, _)| text).collect())
}

#[cfg(test)]
#[path = "routes_choose_tests.rs"]
mod tests;
