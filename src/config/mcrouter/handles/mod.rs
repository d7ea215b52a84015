//! Route handles: their notation, and one file for each family of types.
//!
//! A handle is an object with a `type`, a text (`Type|argument`, the name of a handle, or a type without an
//! argument), or a list. What is built under a name is built once: the first definition counts, as in mcrouter.
//! A type is a function in a family's `TYPES`; what mcrouter has and this release does not says so in its error.
//!
//! A handle here is a [`Route`] or a single server, which only a few types take as it is; for all others it becomes
//! a pool of one server.

mod choose;
mod collections;
mod failover;
mod fill;
mod keys;
mod levels;
mod orders;
mod pool;
mod root;
mod shadow;
mod single;
mod wrappers;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::super::diagnostics::quoted;
use super::super::{Pool, Route};
use super::findings::Findings;
use super::json::did_you_mean;
use super::placement::Spread;
use super::pools::{Pools, Read};
use super::settings::Settings;
use super::value::{Kind, Map, Place, Value};

/// Types that need services which are not public.
const ONLY_WITH_SERVICES: &[&str] = &["SetDistributionTargetRoute", "SRRoute"];

/// How deep handles may nest; most do not become a level of the route.
const MAX_DEPTH: usize = 64;

/// How many handles there may be, counted as often as they are used.
const MAX_HANDLES: usize = 20_000;

/// What a handle was built to.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    Route(Route),
    Server { pool: Rc<Read>, index: usize },
}

/// What is to be built.
struct Spec<'v> {
    /// The name of the type, and where it stands.
    kind: &'v str,
    at: Place,
    /// The object, the argument as a text, or null.
    arg: &'v Value,
}

type Type = (
    &'static str,
    fn(&mut Builder<'_, '_>, &Spec<'_>) -> Option<Vec<Handle>>,
);

enum Named {
    Raw(Value),
    Busy,
    Done(Option<Vec<Handle>>),
}

/// Builds the routes of one configuration and collects the pools they lead to.
pub(super) struct Builder<'b, 'r> {
    findings: &'b mut Findings<'r>,
    settings: &'b Settings,
    pools: Pools,
    named: HashMap<Rc<str>, Named>,
    out: Vec<Pool>,
    /// What `out` was made of.
    made: Vec<(String, Spread)>,
    /// Names that are taken in `out`.
    names: HashSet<String>,
    depth: usize,
    count: usize,
    /// Which parts of keys count for buckets, here.
    key_parts: Option<(u32, char)>,
    /// The pools whose servers are being built.
    open: Vec<String>,
}

impl<'b, 'r> Builder<'b, 'r> {
    pub(super) fn new(
        findings: &'b mut Findings<'r>,
        settings: &'b Settings,
        pools: Pools,
    ) -> Builder<'b, 'r> {
        Builder {
            findings,
            settings,
            pools,
            named: HashMap::new(),
            out: Vec::new(),
            made: Vec::new(),
            names: HashSet::new(),
            depth: 0,
            count: 0,
            key_parts: None,
            open: Vec::new(),
        }
    }

    /// Takes `named_handles` in.
    pub(super) fn name_handles(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        match &value.kind {
            Kind::Map(map) => {
                for (name, member) in map.in_order() {
                    let own = member.value.as_map().and_then(|map| map.get("name"));
                    if let Some(own) = own
                        && own.as_text() != Some(name)
                    {
                        self.findings.error(
                            own.at,
                            format!("this handle is named {}, too", quoted(name)),
                        );
                    }
                    let raw = Named::Raw(member.value.clone());
                    self.named.insert(name.clone(), raw);
                }
            }
            Kind::List(list) => {
                for item in list.items() {
                    let name = item.as_map().and_then(|map| map.get("name"));
                    if name.and_then(Value::as_text).is_none() {
                        self.findings.error(item.at, "a handle here needs a `name`");
                        continue;
                    }
                    let _ = self.list(item);
                }
            }
            _ => {
                let what = value.what();
                self.findings.error(
                    value.at,
                    format!("`named_handles` must be an object or a list, not {what}"),
                );
            }
        }
    }

    /// The pools that routes lead to, and those of the configuration.
    pub(super) fn into_pools(self) -> (Vec<Pool>, Pools) {
        (self.out, self.pools)
    }

    /// Builds what may be several handles. `None` after an error.
    fn list(&mut self, value: &Value) -> Option<Vec<Handle>> {
        if self.depth >= MAX_DEPTH {
            let message = format!("handles are nested more than {MAX_DEPTH} deep");
            self.findings.error(value.at, message);
            return None;
        }
        self.depth += 1;
        let built = match &value.kind {
            Kind::Text(text) => self.of_text(value.at, text),
            Kind::Map(map) => self.of_map(value, map),
            Kind::List(list) => {
                let built: Vec<_> = list.items().iter().map(|item| self.list(item)).collect();
                let built: Option<Vec<Vec<Handle>>> = built.into_iter().collect();
                built.map(|built| built.into_iter().flatten().collect())
            }
            _ => {
                let what = value.what();
                self.findings.error(
                    value.at,
                    format!("a route must be a text, an object or a list, not {what}"),
                );
                None
            }
        };
        self.depth -= 1;
        let built = built?;
        self.count += built.iter().map(weigh).sum::<usize>();
        if self.count > MAX_HANDLES {
            self.findings.error(value.at, "there are too many handles");
            return None;
        }
        Some(built)
    }

    fn of_text(&mut self, at: Place, text: &Rc<str>) -> Option<Vec<Handle>> {
        if text.is_empty() {
            return Some(Vec::new());
        }
        if let Some((kind, arg)) = text.split_once('|') {
            let arg = Value::text(at, arg);
            let arg = &arg;
            return self.make(&Spec { kind, at, arg });
        }
        if self.named.contains_key(text) {
            return self.by_name(at, text);
        }
        let arg = Value::null(at);
        let arg = &arg;
        let kind = text;
        self.make(&Spec { kind, at, arg })
    }

    /// A handle that is known by name.
    fn by_name(&mut self, at: Place, name: &Rc<str>) -> Option<Vec<Handle>> {
        match self.named.insert(name.clone(), Named::Busy) {
            Some(Named::Done(built)) => {
                let done = Named::Done(built.clone());
                self.named.insert(name.clone(), done);
                built
            }
            Some(Named::Raw(raw)) => {
                let built = match raw.as_map() {
                    // Under its own name it would find itself.
                    Some(map) => self.of_type(&raw, map),
                    None => self.list(&raw),
                };
                let done = Named::Done(built.clone());
                self.named.insert(name.clone(), done);
                built
            }
            Some(Named::Busy) | None => {
                let message = format!("the handle {} is part of itself", quoted(name));
                self.findings.error(at, message);
                None
            }
        }
    }

    fn of_map(&mut self, value: &Value, map: &Map) -> Option<Vec<Handle>> {
        let Some(name) = map.get("name").and_then(Value::as_text).cloned() else {
            return self.of_type(value, map);
        };
        if !self.named.contains_key(&name) {
            let raw = Named::Raw(value.clone());
            self.named.insert(name.clone(), raw);
        }
        self.by_name(value.at, &name)
    }

    fn of_type(&mut self, value: &Value, map: &Map) -> Option<Vec<Handle>> {
        let Some(kind) = map.get("type") else {
            self.findings
                .error(value.at, "`type` is missing in a route");
            return None;
        };
        let Some(name) = kind.as_text() else {
            let what = kind.what();
            self.findings
                .error(kind.at, format!("`type` must be a text, not {what}"));
            return None;
        };
        self.make(&Spec {
            kind: name,
            at: kind.at,
            arg: value,
        })
    }

    fn make(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let known = types().find(|(name, _)| *name == spec.kind);
        if let Some((_, make)) = known {
            return make(self, spec);
        }
        if ONLY_WITH_SERVICES.contains(&spec.kind) {
            self.findings.error(
                spec.at,
                format!("{} needs services that only Meta has", spec.kind),
            );
            return None;
        }
        let known = types().map(|(name, _)| *name);
        let names: Vec<Rc<str>> = self.named.keys().cloned().collect();
        let known = known.chain(names.iter().map(|name| &**name));
        let near = did_you_mean(spec.kind, known);
        let message = format!("unknown route handle {}", quoted(spec.kind));
        self.findings.error(spec.at, message).label(near);
        None
    }

    /// Refuses what mcrouter has and this release has not.
    fn later<T>(&mut self, at: Place, what: &str) -> Option<T> {
        self.findings
            .error(at, format!("not supported yet by this release: {what}"));
        None
    }

    /// Builds exactly one handle.
    fn one(&mut self, value: &Value) -> Option<Handle> {
        let mut built = self.list(value)?;
        match (built.len(), built.pop()) {
            (1, Some(handle)) => Some(handle),
            (count, _) => {
                self.findings
                    .error(value.at, format!("{count} handles in a list, expected 1"));
                None
            }
        }
    }

    /// Builds exactly one handle, as a route.
    fn route(&mut self, value: &Value) -> Option<Route> {
        let handle = self.one(value)?;
        Some(self.as_route(handle))
    }

    /// The handle of a field that must be there.
    fn required(&mut self, spec: &Spec<'_>, name: &str) -> Option<Route> {
        match spec.field(name) {
            Some(value) => self.route(value),
            None => {
                let message = format!("`{name}` is missing in {}", spec.kind);
                self.findings.error(spec.at, message);
                None
            }
        }
    }

    /// The children of an object, or the argument of the short form.
    fn children(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let children = match &spec.arg.kind {
            Kind::Map(map) => map.get("children"),
            Kind::Null => None,
            _ => Some(spec.arg),
        };
        match children {
            Some(children) => self.list(children),
            None => {
                let message = format!("`children` is missing in {}", spec.kind);
                self.findings.error(spec.at, message);
                None
            }
        }
    }
}

impl<'v> Spec<'v> {
    /// A field of the object.
    fn field(&self, name: &str) -> Option<&'v Value> {
        self.arg.as_map().and_then(|map| map.get(name))
    }
}

fn types() -> impl Iterator<Item = &'static Type> {
    [
        pool::TYPES,
        choose::TYPES,
        collections::TYPES,
        failover::TYPES,
        fill::TYPES,
        keys::TYPES,
        levels::TYPES,
        orders::TYPES,
        single::TYPES,
        shadow::TYPES,
        wrappers::TYPES,
    ]
    .into_iter()
    .flatten()
}

/// The names of the types that can be built, but for the one that only the root knows.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    types().map(|(name, _)| *name)
}

/// Whether a field is as if it were not there.
fn is_off(value: &Value) -> bool {
    match &value.kind {
        Kind::Null | Kind::Bool(false) => true,
        Kind::List(list) => list.items().is_empty(),
        Kind::Map(map) => map.members().is_empty(),
        Kind::Int(number) => *number == 0,
        _ => false,
    }
}

/// How many nodes a handle has.
fn weigh(handle: &Handle) -> usize {
    fn nodes(route: &Route) -> usize {
        1 + match route {
            Route::Pool(_) => 0,
            Route::Prefix { prefixes, default } => {
                prefixes
                    .iter()
                    .map(|(_, child)| nodes(child))
                    .sum::<usize>()
                    + nodes(default)
            }
            Route::Failover { children, .. } | Route::Many { children, .. } => {
                children.iter().map(nodes).sum()
            }
            Route::Choose(choose) => choose.children().into_iter().map(nodes).sum(),
            Route::Keys(keys) => keys.children().into_iter().map(nodes).sum(),
            Route::WarmUp { cold, warm, .. } => nodes(cold) + nodes(warm),
            Route::BigValue { child, .. } => nodes(child),
        }
    }
    match handle {
        Handle::Route(route) => nodes(route),
        Handle::Server { .. } => 1,
    }
}
