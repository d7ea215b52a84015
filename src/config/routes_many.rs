//! Routes with several children and a rule, see [`Rule`]: in the file, as text, and in words.
//!
//! All of them have `children`; what else a type has is in `schema`. What is read here and what is written by
//! [`render`] are the same.

use std::fmt::Write as _;

use super::super::diagnostics::Report;
use super::super::read::Table;
use super::super::vars::{self, Variable};
use super::super::{Failover, Limit, Rule, Shadow, Verdict, Verdicts};
use super::{Reader, Route, exptime};

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
            Rule::Shadow(shadow) => Rule::Shadow(read_shadow(report, table, shadow)?),
            rule => rule,
        };
        let children = self.children(report, table, depth)?;
        Some(Route::Many { rule, children })
    }
}

/// The route as a table; `children` is their list.
pub(in super::super) fn render(rule: Rule, children: &str) -> String {
    let mut text = format!("{{ type = \"{}\", children = {children}", rule.name());
    match rule {
        Rule::MissFailover { best } => {
            let _ = write!(text, ", return_best_on_error = {best}");
        }
        Rule::Failover(failover) => render_failover(&mut text, &failover),
        Rule::Shadow(Shadow {
            first_hash,
            last_hash,
            per_million,
            variable,
        }) => {
            let _ = write!(
                text,
                ", first_hash = {first_hash}, last_hash = {last_hash}, per_million = {per_million}"
            );
            if let Some(variable) = variable {
                let name = super::super::render::quoted(&variable.name());
                let _ = write!(text, ", range_variable = {name}");
            }
        }
        Rule::AllSync
        | Rule::AllAsync
        | Rule::AllInitial
        | Rule::AllFastest
        | Rule::AllMajority => {}
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
        let Some(entry) = table.get(name) else {
            continue;
        };
        *set = Verdicts::NONE;
        let names: Vec<usize> = (0..Verdict::FAILURES.len()).collect();
        for element in entry.array(report, "a list of failures")? {
            let name = |index: usize| {
                let failure = Verdict::FAILURES.get(index);
                failure.map_or(String::new(), |(name, _)| (*name).to_owned())
            };
            let index = element.choice(report, "a failure", &names, name);
            match index.and_then(|index| Verdict::FAILURES.get(index)) {
                Some((_, verdict)) => *set = set.with(*verdict),
                None => complete = false,
            }
        }
    }
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
    })
}
