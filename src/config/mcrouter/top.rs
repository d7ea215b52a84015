//! The top of a configuration: pools, named handles, and the routes of each routing prefix.

use std::collections::HashSet;

use super::super::diagnostics::quoted;
use super::super::keys::{is_part_of_key, split_prefix};
use super::super::{Choose, Config, Keys, Requests, Route};
use super::findings::Findings;
use super::handles::Builder;
use super::pools::Pools;
use super::settings::Settings;
use super::value::{Kind, Map, Place, Value};
use crate::protocol::operation::Group;

/// How deep routes may nest, as in TOML.
const MAX_DEPTH: usize = 20;

/// Makes a configuration of what the preprocessor has made of a file. `None` after an error.
pub(super) fn config(
    findings: &mut Findings<'_>,
    settings: &Settings,
    document: &Value,
) -> Option<Config> {
    let Some(map) = document.as_map() else {
        let what = document.what();
        findings.error(
            document.at,
            format!("a configuration must be an object, not {what}"),
        );
        return None;
    };
    check_options(findings, map)?;
    let pools = Pools::new(findings, map.get("pools"));
    let (at, trees) = trees(findings, settings, map, document.at)?;
    let mut builder = Builder::new(findings, settings, pools);
    builder.name_handles(map.get("named_handles"));
    let built: Vec<_> = trees
        .into_iter()
        .map(|(aliases, handle)| Some((aliases, builder.root(&handle)?)))
        .collect();
    builder.add_any_pool();
    let (pools, unused) = builder.into_pools();
    let routes = built.into_iter().collect::<Option<Vec<_>>>()?;
    let mut route = Route::Keys(Keys::Prefixes {
        routes,
        default: settings.default_route.clone(),
        unknown_to_default: settings.unknown_to_default,
    });
    unused.warn_of_unused(findings);
    if pools.is_empty() {
        findings
            .error(at, "there is no pool, so that nothing could be kept")
            .with_help("add: \"pools\": {\"A\": {\"servers\": [\"HOST:11211\"]}}");
        return None;
    }
    if let Some(big) = settings.big_values.filter(|_| wraps_big_values(map)) {
        route = Route::BigValue {
            child: Box::new(route),
            split_threshold: big.split_threshold,
            batch_size: big.batch_size,
            hide_reply_flag: big.hide_reply_flag,
        };
    }
    if settings.only_gets {
        let gets = Requests::Group(Group::GetLike);
        route = Route::Choose(Choose::Operation {
            default: Some(Box::new(Route::Choose(Choose::Null))),
            operations: vec![(gets, route)],
        });
    }
    if depth(&route) > MAX_DEPTH {
        findings.error(at, format!("routes are nested more than {MAX_DEPTH} deep"));
        return None;
    }
    let mut base = settings.base.clone();
    base.spool = base
        .spool
        .filter(|_| pools.iter().any(|pool| pool.spool.is_some()));
    Some(Config {
        pools,
        route,
        ..base
    })
}

/// Refuses options that have requests for other regions go to a service, and so elsewhere than the routes say.
fn check_options(findings: &mut Findings<'_>, map: &Map) -> Option<()> {
    let options = map.get("routing_options").and_then(Value::as_map);
    let mut is_good = true;
    for (name, usual) in [
        ("enable_delete_distribution", false),
        ("enable_set_distribution", false),
        ("enable_async_dl_broadcast", false),
        ("enable_cross_region_delete_rpc", true),
        ("enable_cross_region_set_rpc", true),
    ] {
        let Some(value) = options.and_then(|options| options.get(name)) else {
            continue;
        };
        let message = match value.kind {
            // It is about distributed deletes alone.
            Kind::Bool(_) if name == "enable_async_dl_broadcast" => continue,
            Kind::Bool(given) if given == usual => continue,
            Kind::Bool(_) => format!("`{name}` needs services that only Meta has"),
            _ => format!("`{name}` must be true or false, not {}", value.what()),
        };
        findings.error(value.at, message);
        is_good = false;
    }
    is_good.then_some(())
}

fn wraps_big_values(map: &Map) -> bool {
    let options = map.get("routing_options").and_then(Value::as_map);
    let wish = options.and_then(|options| options.get("enable_global_big_value_route"));
    !wish.is_some_and(|wish| matches!(wish.kind, Kind::Bool(false)))
}

fn depth(route: &Route) -> usize {
    let below = match route {
        Route::Pool(_) => 0,
        Route::Prefix { prefixes, default } => prefixes
            .iter()
            .map(|(_, child)| depth(child))
            .chain([depth(default)])
            .max()
            .unwrap_or(0),
        Route::Failover { children, .. } | Route::Many { children, .. } => {
            children.iter().map(depth).max().unwrap_or(0)
        }
        Route::Choose(choose) => choose.children().into_iter().map(depth).max().unwrap_or(0),
        Route::Keys(keys) => keys.children().into_iter().map(depth).max().unwrap_or(0),
        Route::WarmUp { cold, warm, .. } => depth(cold).max(depth(warm)),
        Route::BigValue { child, .. } => depth(child),
    };
    below + 1
}

/// Prefixes, and what stands for the route of their keys.
type Tree = (Vec<String>, Value);

/// Where the trees are, and what they are.
fn trees(
    findings: &mut Findings<'_>,
    settings: &Settings,
    map: &Map,
    at: Place,
) -> Option<(Place, Vec<Tree>)> {
    match (map.get("route"), map.get("routes")) {
        (Some(route), None) => {
            let all = vec![(vec![settings.default_route.clone()], route.clone())];
            Some((route.at, all))
        }
        (None, Some(routes)) => Some((routes.at, of_aliases(findings, settings, routes)?)),
        (Some(_), Some(routes)) => {
            findings.error(routes.at, "both `route` and `routes` are given");
            None
        }
        (None, None) => {
            findings
                .error(at, "there is no `route`")
                .with_help("add: \"route\": \"PoolRoute|POOL\"");
            None
        }
    }
}

/// One tree for each element.
fn of_aliases(
    findings: &mut Findings<'_>,
    settings: &Settings,
    routes: &Value,
) -> Option<Vec<Tree>> {
    let mut found: Vec<(Vec<(String, Place)>, Value)> = Vec::new();
    match &routes.kind {
        Kind::Map(map) => {
            for (alias, member) in map.in_order() {
                let aliases = vec![(alias.to_string(), member.key_at)];
                found.push((aliases, member.value.clone()));
            }
        }
        Kind::List(list) => {
            for item in list.items() {
                found.push(aliases(findings, item)?);
            }
        }
        _ => {
            let what = routes.what();
            findings.error(
                routes.at,
                format!("`routes` must be an object or a list, not {what}"),
            );
            return None;
        }
    }
    let mut known = HashSet::new();
    let mut is_good = true;
    for (alias, at) in found.iter().flat_map(|(aliases, _)| aliases) {
        let mistake = if split_prefix(alias).is_none() || !is_part_of_key(alias) {
            ("is not a routing prefix", "write \"/region/cluster/\"")
        } else if !known.insert(alias.clone()) {
            ("has a route already", "given twice")
        } else {
            continue;
        };
        is_good = false;
        let message = format!("{} {}", quoted(alias), mistake.0);
        findings.error(*at, message).label(mistake.1);
    }
    if is_good && !known.contains(&settings.default_route) {
        let route = &settings.default_route;
        findings
            .error(routes.at, format!("invalid default route: {route}"))
            .label("no alias is this")
            .with_help("-R chooses the default route");
        return None;
    }
    let trees = found.into_iter().map(|(aliases, handle)| {
        let aliases = aliases.into_iter().map(|(alias, _)| alias);
        (aliases.collect(), handle)
    });
    is_good.then(|| trees.collect())
}

/// `{"aliases": […], "route": …}`.
fn aliases(findings: &mut Findings<'_>, item: &Value) -> Option<(Vec<(String, Place)>, Value)> {
    let parts = item.as_map().and_then(|map| {
        let aliases = map.get("aliases")?.as_list()?;
        Some((aliases, map.get("route")?))
    });
    let Some((aliases, route)) = parts else {
        findings
            .error(item.at, "a tree of `routes` needs `aliases` and `route`")
            .with_help("write: { \"aliases\": [\"/region/cluster/\"], \"route\": … }");
        return None;
    };
    let mut found = Vec::new();
    for alias in aliases.items() {
        let Some(text) = alias.as_text() else {
            let what = alias.what();
            findings.error(alias.at, format!("an alias must be a text, not {what}"));
            return None;
        };
        found.push((text.to_string(), alias.at));
    }
    if found.is_empty() {
        let message = "a tree of `routes` needs at least one alias";
        findings.error(item.at, message);
        return None;
    }
    Some((found, route.clone()))
}
