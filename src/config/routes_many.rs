//! Routes with several children and a rule, see [`Rule`]: in the file, as text, and in words.
//!
//! All of them have `children`; what else a type has is in `schema`. What is read here and what is written by
//! [`render`] are the same.

use std::fmt::Write as _;

use super::super::diagnostics::Report;
use super::super::read::Table;
use super::super::render::quoted;
use super::super::vars::{self, Variable};
use super::super::{Choose, Failover, KeyedFailover, Limit, Rule, Shadow, Verdict, Verdicts};
use super::{Reader, Route, exptime};

#[path = "routes_fills.rs"]
mod fills;
#[path = "routes_orders.rs"]
mod orders;

/// The default `limit_burst`.
const DEFAULT_BURST: usize = 1000;

impl Reader<'_> {
    /// A route with the rule that its `type` names.
    pub(super) fn many(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
    ) -> Option<Route> {
        let kind = table.get("type")?;
        let kind = kind.string(report, "a type of route")?;
        let (_, rule) = Rule::ALL.into_iter().find(|(name, _)| *name == kind)?;
        let rule = match rule {
            Rule::MissFailover { mut best } => {
                table.bool(report, "return_best_on_error", &mut best);
                Rule::MissFailover { best }
            }
            Rule::Failover(failover) => Rule::Failover(read_failover(report, table, failover)?),
            Rule::Latest(latest) => {
                let children = self.children(report, table, depth);
                let failover = read_failover(report, table, latest.failover);
                let latest = orders::latest(report, table, latest);
                let (children, mut latest, failover) = (children?, latest?, failover?);
                latest.failover = failover;
                let rule = Rule::Latest(latest);
                return Some(Route::Many { rule, children });
            }
            Rule::KeyedFailover(_) => {
                let children = self.children(report, table, depth);
                let failover = read_failover(report, table, Failover::DEFAULT);
                let order = orders::order(report, table, children.as_ref().map_or(0, Vec::len));
                let (children, mut failover, order) = (children?, failover?, order?);
                // It has a meaning of its own here.
                failover.max_tries = None;
                let rule = Rule::KeyedFailover(KeyedFailover { failover, order });
                return Some(Route::Many { rule, children });
            }
            Rule::Shadow(shadow) => Rule::Shadow(read_shadow(report, table, shadow)?),
            rule => {
                // All of it is looked at, so that all errors are found.
                let children = match rule.children() {
                    [] => self.children(report, table, depth),
                    names => self.named(report, table, depth, (&rule, names)),
                };
                let rule = fills::read(report, table, rule);
                let (rule, children) = (rule?, children?);
                return Some(Route::Many { rule, children });
            }
        };
        let children = self.children(report, table, depth)?;
        Some(Route::Many { rule, children })
    }

    /// Children that have names. What is swallowed need not go anywhere.
    fn named(
        &mut self,
        report: &mut Report<'_>,
        table: &Table<'_, '_>,
        depth: usize,
        (rule, names): (&Rule, &[&str]),
    ) -> Option<Vec<Route>> {
        let children: Vec<Option<Route>> = names
            .iter()
            .map(|name| {
                if matches!(rule, Rule::Blackhole(_))
                    && *name == "blackhole"
                    && table.get(name).is_none()
                {
                    return Some(Route::Choose(Choose::Null));
                }
                let entry = table.require(report, name, &format!("{name} = \"POOL\""))?;
                self.route(report, &entry, depth + 1)
            })
            .collect();
        children.into_iter().collect()
    }
}

/// The route as a table; `children` are they as texts.
pub(in super::super) fn render(rule: &Rule, children: &[String]) -> String {
    let mut text = format!("{{ type = \"{}\"", rule.name());
    match rule.children() {
        [] => {
            let _ = write!(text, ", children = [{}]", children.join(", "));
        }
        names => {
            for (name, child) in names.iter().zip(children) {
                let _ = write!(text, ", {name} = {child}");
            }
        }
    }
    match rule {
        Rule::MissFailover { best } => {
            let _ = write!(text, ", return_best_on_error = {best}");
        }
        Rule::Failover(failover) => render_failover(&mut text, failover),
        Rule::Latest(latest) => {
            render_failover(&mut text, &latest.failover);
            orders::render_latest(&mut text, latest);
        }
        Rule::KeyedFailover(rule) => {
            render_failover(&mut text, &rule.failover);
            orders::render(&mut text, &rule.order);
        }
        Rule::Shadow(Shadow {
            first_hash,
            last_hash,
            per_million,
            variable,
            keys,
        }) => {
            let _ = write!(
                text,
                ", first_hash = {first_hash}, last_hash = {last_hash}, per_million = {per_million}"
            );
            if !keys.is_empty() {
                let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
                let _ = write!(text, ", keys = [{}]", keys.join(", "));
            }
            if let Some(variable) = variable {
                let name = super::super::render::quoted(&variable.name());
                let _ = write!(text, ", range_variable = {name}");
            }
        }
        other => fills::render(&mut text, other),
    }
    text.push_str(" }");
    text
}

/// `None` after an error.
fn read_failover(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    mut rule: Failover,
) -> Option<Failover> {
    let mut complete = true;
    for (name, set) in [
        ("get_errors", &mut rule.gets),
        ("update_errors", &mut rule.updates),
        ("delete_errors", &mut rule.deletes),
    ] {
        match verdicts(report, table, name) {
            Some(Some(read)) => *set = read,
            Some(None) => {}
            None => complete = false,
        }
    }
    table.bool(report, "failover_tag", &mut rule.tag);
    table.bool(report, "lease_pairing", &mut rule.lease_pairing);
    if table.get("max_tries").is_some() {
        let mut most = 1;
        table.usize(report, "max_tries", 1..=1000, &mut most);
        rule.max_tries = u32::try_from(most).ok();
    }
    if let Some(entry) = table.get("failover_exptime") {
        match exptime(report, &entry, 0) {
            Some(seconds) => rule.exptime = seconds,
            None => complete = false,
        }
    }
    let (mut per_million, mut burst) = (0, DEFAULT_BURST);
    let place = table.get("limit_burst").map(|entry| entry.place());
    table.usize(report, "limit_per_million", 0..=1_000_000, &mut per_million);
    table.usize(report, "limit_burst", 1..=1_000_000_000, &mut burst);
    if table.get("limit_per_million").is_some() {
        rule.limit = Some(Limit {
            per_million: u32::try_from(per_million).ok()?,
            burst: u32::try_from(burst).ok()?,
        });
    } else if let Some(place) = place {
        report
            .error(place, "`limit_burst` without `limit_per_million`")
            .label("there is no limit");
        complete = false;
    }
    complete.then_some(rule)
}

/// A list of failures, if it is there; `None` after an error.
fn verdicts(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    name: &str,
) -> Option<Option<Verdicts>> {
    let Some(entry) = table.get(name) else {
        return Some(None);
    };
    let mut set = Verdicts::NONE;
    let mut complete = true;
    let names: Vec<usize> = (0..Verdict::FAILURES.len()).collect();
    for element in entry.array(report, "a list of failures")? {
        let name = |index: usize| {
            let failure = Verdict::FAILURES.get(index);
            failure.map_or(String::new(), |(name, _)| (*name).to_owned())
        };
        let index = element.choice(report, "a failure", &names, name);
        match index.and_then(|index| Verdict::FAILURES.get(index)) {
            Some((_, verdict)) => set = set.with(*verdict),
            None => complete = false,
        }
    }
    complete.then_some(Some(set))
}

fn render_failover(text: &mut String, rule: &Failover) {
    for (name, set) in [
        ("get_errors", rule.gets),
        ("update_errors", rule.updates),
        ("delete_errors", rule.deletes),
    ] {
        let names: Vec<String> = set.names().map(|name| format!("\"{name}\"")).collect();
        let _ = write!(text, ", {name} = [{}]", names.join(", "));
    }
    if let Some(most) = rule.max_tries {
        let _ = write!(text, ", max_tries = {most}");
    }
    if let Some(Limit { per_million, burst }) = rule.limit {
        let _ = write!(
            text,
            ", limit_per_million = {per_million}, limit_burst = {burst}"
        );
    }
    let _ = write!(text, ", failover_exptime = {}", rule.exptime);
    if rule.lease_pairing {
        let _ = write!(text, ", lease_pairing = true");
    }
    if rule.tag {
        let _ = write!(text, ", failover_tag = true");
    }
}

/// `None` after an error.
fn read_shadow(report: &mut Report<'_>, table: &Table<'_, '_>, all: Shadow) -> Option<Shadow> {
    let (mut first, mut last) = (all.first_hash as usize, all.last_hash as usize);
    let mut per_million = all.per_million as usize;
    let most = u64::from(u32::MAX);
    table.usize(report, "first_hash", 0..=most, &mut first);
    table.usize(report, "last_hash", 0..=most, &mut last);
    table.usize(report, "per_million", 0..=1_000_000, &mut per_million);
    let mut variable = None;
    if let Some(entry) = table.get("range_variable") {
        let name = entry.string(report, "the name of a variable")?;
        variable = Variable::named(name).filter(|_| !name.is_empty());
        if variable.is_none() {
            let message = format!(
                "`range_variable` must be a name, one of {} at most",
                vars::MAX
            );
            report.error(entry.place(), message);
            return None;
        }
    }
    let keys: Option<Vec<String>> = match table.get("keys") {
        None => Some(Vec::new()),
        Some(entry) => {
            let entries = entry.array(report, "a list of keys")?;
            let keys: Vec<Option<String>> = entries
                .iter()
                .map(|entry| Some(entry.string(report, "a key")?.to_owned()))
                .collect();
            keys.into_iter().collect()
        }
    };
    if first > last {
        let place = table.get("first_hash").or(table.get("last_hash"));
        report
            .error(
                place.map_or(table.place.clone(), |entry| entry.place()),
                "`first_hash` is larger than `last_hash`",
            )
            .label("no key would be copied");
        return None;
    }
    Some(Shadow {
        first_hash: u32::try_from(first).ok()?,
        last_hash: u32::try_from(last).ok()?,
        per_million: u32::try_from(per_million).ok()?,
        variable,
        keys: keys?,
    })
}
