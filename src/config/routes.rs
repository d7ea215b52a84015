//! Routes in the file: the name of a pool, or a table with a `type`.
//!
//! Every pool that a route names is marked as used, so that the ones that can't be reached are warned of. Which
//! types there are and what their keys mean is in `schema`; what a route does with a request, in `crate::route`.

use std::time::Duration;

use ::toml::de::DeValue;

use super::diagnostics::{Report, nearest, quoted};
use super::pools::Pools;
use super::read::{Entry, Table, entries};
use super::schema::{self, Section};
use super::{FailoverOn, Route};

/// How deep routes may nest; the request path keeps a frame for each level that decides on a reply.
const MAX_DEPTH: usize = 16;

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: Duration = Duration::from_secs(30 * 24 * 3600);

const TYPES: &[(&str, &Section)] = &[
    ("prefix", &schema::ROUTE_PREFIX),
    ("failover", &schema::ROUTE_FAILOVER),
    ("warm-up", &schema::ROUTE_WARM_UP),
];

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
        for ((name, place), used) in pools.names().iter().zip(&reader.used) {
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
                match section.heading {
                    heading if heading == schema::ROUTE_PREFIX.heading => {
                        self.prefix(report, &table, depth)
                    }
                    heading if heading == schema::ROUTE_FAILOVER.heading => {
                        self.failover(report, &table, depth)
                    }
                    _ => self.warm_up(report, &table, depth),
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
        let names: Vec<usize> = (0..TYPES.len()).collect();
        let name = |index: usize| {
            TYPES
                .get(index)
                .map_or(String::new(), |(name, _)| (*name).to_owned())
        };
        let index = kind.choice(report, "a type of route", &names, name)?;
        TYPES.get(index).map(|(_, section)| *section)
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
                "exptime = \"1h\", or 0 for items that never expire",
            )
            .and_then(|entry| exptime(report, &entry));
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
}

fn missing_type(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<Route> {
    let names = TYPES
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
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

/// A lifetime in whole seconds.
fn exptime(report: &mut Report<'_>, entry: &Entry<'_, '_>) -> Option<u32> {
    let duration = entry.duration(report, Duration::ZERO..=MAX_EXPTIME)?;
    if duration.subsec_nanos() != 0 {
        report
            .error(entry.place(), "`exptime` must be whole seconds")
            .label("memcached counts in seconds");
        return None;
    }
    u32::try_from(duration.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, parse};
    use super::*;

    /// A file with the pools a, b, c and this route.
    fn with_route(route: &str) -> Result<(Config, Vec<super::super::Warning>), String> {
        let pools: String = ["a", "b", "c"]
            .iter()
            .map(|p| format!("[pools.{p}]\nservers = [\"{p}:1\"]\n"))
            .collect();
        parse("f", &format!("route = {route}\n{pools}")).map_err(|errors| errors.to_string())
    }

    fn pool(index: usize) -> Box<Route> {
        Box::new(Route::Pool(index))
    }

    #[test]
    fn a_name_is_a_pool_and_the_others_are_warned_of() {
        let (config, warnings) = with_route("\"b\"").unwrap();
        assert_eq!(config.route, Route::Pool(1));
        let unused: Vec<&str> = warnings.iter().map(|w| w.message()).collect();
        assert_eq!(
            unused,
            [
                "no route leads to the pool \"a\"",
                "no route leads to the pool \"c\""
            ]
        );
    }

    #[test]
    fn routes_nest() {
        let text = "{ type = \"prefix\", default = \"a\", prefixes = { \"u:\" = { type = \"failover\", children = [\"b\", \"c\"], on = [\"timeout\", \"miss\"] }, \"a:\" = { type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"1h\" } } }";
        let (config, warnings) = with_route(text).unwrap();
        assert_eq!(warnings, []);
        let on = vec![FailoverOn::Timeout, FailoverOn::Miss];
        let failover = Route::Failover {
            children: vec![Route::Pool(1), Route::Pool(2)],
            on,
        };
        let warm_up = Route::WarmUp {
            cold: pool(0),
            warm: pool(1),
            exptime: 3600,
        };
        let prefixes = vec![(b"u:".to_vec(), failover), (b"a:".to_vec(), warm_up)];
        assert_eq!(
            config.route,
            Route::Prefix {
                prefixes,
                default: pool(0)
            },
            "prefixes keep the file's order"
        );
    }

    #[test]
    fn the_default_reasons_leave_misses_alone() {
        let (config, _) =
            with_route("{ type = \"failover\", children = [\"a\", \"b\", \"c\"] }").unwrap();
        let Route::Failover { on, .. } = config.route else {
            panic!("{:?}", config.route)
        };
        assert!(!on.contains(&FailoverOn::Miss) && on.len() == FailoverOn::ALL.len() - 1);
    }

    #[test]
    fn mistakes_are_named() {
        for (route, parts) in [
            (
                "\"aa\"",
                &["there is no pool \"aa\"", "did you mean \"a\"", "a, b, c"][..],
            ),
            ("{ type = \"failover\", children = [] }", &["empty list"]),
            (
                "{ type = \"failover\", children = \"a\" }",
                &["must be a list of routes, not a text"],
            ),
            (
                "{ type = \"failover\", children = [\"a\", \"x\"], on = [\"conect\"] }",
                &["no pool \"x\"", "did you mean \"connect\""],
            ),
            (
                "{ type = \"failover\", children = [\"a\", \"b\"], on = [] }",
                &["nothing would ever fail over"],
            ),
            (
                "{ type = \"fallover\", children = [\"a\"] }",
                &["did you mean \"failover\"", "prefix, failover, warm-up"],
            ),
            ("{ children = [\"a\"] }", &["`type` is missing"]),
            (
                "{ type = \"prefix\", default = \"a\" }",
                &["`prefixes` is missing"],
            ),
            (
                "{ type = \"prefix\", prefixes = { \"a\" = \"a\" } }",
                &["`default` is missing"],
            ),
            (
                "{ type = \"prefix\", default = \"a\", prefixes = { \"\" = \"a\", \"a b\" = \"x\" } }",
                &["an empty prefix", "no key can have", "no pool \"x\""],
            ),
            (
                "{ type = \"warm-up\", cold = \"a\", warm = \"a\", exptime = 1 }",
                &["are the same"],
            ),
            (
                "{ type = \"warm-up\", cold = \"a\", warm = \"b\" }",
                &["`exptime` is missing"],
            ),
            (
                "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"31d\" }",
                &["from 0s to 720h"],
            ),
            (
                "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"1500ms\" }",
                &["whole seconds"],
            ),
            (
                "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = 0, childern = 1 }",
                &["unknown key `childern`"],
            ),
            ("[\"a\", \"b\"]", &["type = \"failover\""]),
            ("3", &["the name of a pool or a table"]),
        ] {
            let errors = with_route(route).unwrap_err();
            for part in parts {
                assert!(errors.contains(part), "{route}: {part}\n{errors}");
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |n: usize| {
            let open = "{ type = \"failover\", children = [\"a\", ".repeat(n);
            format!("{open}\"b\"{}", "] }".repeat(n))
        };
        assert!(with_route(&nest(MAX_DEPTH - 1)).is_ok());
        assert!(
            with_route(&nest(MAX_DEPTH))
                .unwrap_err()
                .contains("16 deep")
        );
    }
}
