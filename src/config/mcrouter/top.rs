//! The top of a configuration: pools, named handles, and the routes of each routing prefix.

use super::super::diagnostics::quoted;
use super::super::{Config, Route};
use super::findings::Findings;
use super::handles::Builder;
use super::pools::Pools;
use super::settings::{Settings, split_route};
use super::value::{Kind, Map, Place, Value};

/// How deep routes may nest, as in TOML.
const MAX_DEPTH: usize = 16;

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
    let pools = Pools::new(findings, map.get("pools"));
    let (at, handle) = default_handle(findings, settings, map, document.at)?;
    let mut builder = Builder::new(findings, settings, pools);
    builder.name_handles(map.get("named_handles"));
    let route = builder.root(&handle);
    let notes = builder.notes();
    let (pools, unused) = builder.into_pools();
    let mut route = route?;
    unused.warn_of_unused(findings);
    if pools.is_empty() {
        let message = "not supported yet by this release: routes that lead to no pool";
        findings.error(at, message);
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
    if depth(&route) > MAX_DEPTH {
        findings.error(at, format!("routes are nested more than {MAX_DEPTH} deep"));
        return None;
    }
    let warning = findings.warn(at, "some things are not as with mcrouter yet");
    for note in notes {
        warning.with_help(note);
    }
    warning
        .with_help("keys are passed on as they are, also those that begin with /region/cluster/");
    Some(Config {
        pools,
        route,
        ..settings.base.clone()
    })
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
        Route::WarmUp { cold, warm, .. } => depth(cold).max(depth(warm)),
        Route::BigValue { child, .. } => depth(child),
    };
    below + 1
}

/// The handle of the default route, and where it is.
fn default_handle(
    findings: &mut Findings<'_>,
    settings: &Settings,
    map: &Map,
    at: Place,
) -> Option<(Place, Value)> {
    match (map.get("route"), map.get("routes")) {
        (Some(route), None) => Some((route.at, route.clone())),
        (None, Some(routes)) => of_aliases(findings, settings, routes),
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

/// One tree for each alias; only the default route can be used yet.
fn of_aliases(
    findings: &mut Findings<'_>,
    settings: &Settings,
    routes: &Value,
) -> Option<(Place, Value)> {
    let mut trees: Vec<(String, Place, Value)> = Vec::new();
    match &routes.kind {
        Kind::Map(map) => {
            for (alias, member) in map.in_order() {
                trees.push((alias.to_string(), member.key_at, member.value.clone()));
            }
        }
        Kind::List(list) => {
            for item in list.items() {
                let found = aliases(findings, item);
                trees.extend(found?);
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
    let mut default = None;
    let mut others = Vec::new();
    let mut is_good = true;
    for (alias, at, handle) in trees {
        if split_route(&alias).is_none() {
            is_good = false;
            findings
                .error(at, format!("{} is not a routing prefix", quoted(&alias)))
                .label("write \"/region/cluster/\"");
        } else if alias == settings.default_route {
            default = Some((at, handle));
        } else {
            others.push((alias, at));
        }
    }
    if default.is_none() && is_good {
        let route = &settings.default_route;
        findings
            .error(routes.at, format!("invalid default route: {route}"))
            .label("no alias is this")
            .with_help("-R chooses the default route");
        return None;
    }
    for (alias, at) in others {
        is_good = false;
        let message = format!("not supported yet by this release: the routing prefix {alias}");
        findings
            .error(at, message)
            .label("only the default route can be served");
    }
    default.filter(|_| is_good)
}

/// `{"aliases": […], "route": …}`.
fn aliases(findings: &mut Findings<'_>, item: &Value) -> Option<Vec<(String, Place, Value)>> {
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
        found.push((text.to_string(), alias.at, route.clone()));
    }
    Some(found)
}
