//! Pools: PoolRoute, the list of a pool's servers, and a hash over such lists.

use std::rc::Rc;

use super::super::super::{Choose, Pool, Route, Server, ServerAddr};
use super::super::placement::{Spread, Wish};
use super::super::pools::Read;
use super::super::value::{Kind, Place, Value};
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("PoolRoute", |builder, spec| {
        builder
            .limited_pool(spec)
            .map(|route| vec![Handle::Route(route)])
    }),
    ("Pool", |builder, spec| builder.servers_of(spec)),
    ("HashRoute", |builder, spec| {
        builder.hash_route(spec).map(|handle| vec![handle])
    }),
];

/// Fields of a PoolRoute that would change something.
const LATER: &[&str] = &[
    "max_outstanding",
    "slow_warmup",
    "bucketize",
    "distribution_enabled",
];

impl Builder<'_, '_> {
    fn pool_of(&mut self, spec: &Spec<'_>) -> Option<Rc<Read>> {
        let reference = match &spec.arg.kind {
            Kind::Map(map) => map.get("pool"),
            Kind::Null => None,
            _ => Some(spec.arg),
        };
        let Some(reference) = reference else {
            let message = format!("`pool` is missing in {}", spec.kind);
            self.findings.error(spec.at, message);
            return None;
        };
        self.pools.pool(self.findings, self.settings, reference)
    }

    fn limited_pool(&mut self, spec: &Spec<'_>) -> Option<Route> {
        let pool = self.pool_route(spec)?;
        let pool = match spec.field("rates") {
            Some(rates) => self.limited(rates, pool, None)?,
            None => pool,
        };
        self.sharded(spec, pool)
    }

    pub(super) fn pool_route(&mut self, spec: &Spec<'_>) -> Option<Route> {
        let fields = self.later_fields(spec, LATER);
        if let Some(policy) = spec.field("shadow_policy")
            && policy.as_text().is_none_or(|policy| &**policy != "default")
        {
            self.findings.error(policy.at, "invalid shadow policy");
            return None;
        }
        let spools = match spec.field("asynclog").map(|value| &value.kind) {
            None => true,
            Some(Kind::Bool(spools)) => *spools,
            Some(_) => {
                self.findings
                    .error(spec.at, "`asynclog` must be true or false");
                return None;
            }
        };
        let pool = self.pool_of(spec)?;
        let (weights, tags) = (pool.weights.as_ref(), pool.tags.as_ref());
        let hash = spec.field("hash");
        let wish = Wish::new(self.findings, hash, weights, tags, pool.at)?;
        let spread = wish.spread(self.findings, &pool.servers)?;
        fields?;
        let spool = match spools && self.settings.base.spool.is_some() {
            true => Some(self.spool_name(spec, &pool.name)?),
            false => None,
        };
        let servers = spread.servers.len();
        let route = Route::Pool(self.add_pool(&pool, &pool.name, spread, spool));
        self.shadowed(spec, route, servers)
    }

    /// What lines of the spool call a pool.
    fn spool_name(&mut self, spec: &Spec<'_>, pool: &str) -> Option<String> {
        for name in ["asynclog_name", "name"] {
            match spec.field(name) {
                None => {}
                Some(value) => match value.as_text() {
                    Some(text) => return Some(text.to_string()),
                    None => {
                        let what = value.what();
                        let message = format!("`{name}` must be a text, not {what}");
                        self.findings.error(value.at, message);
                        return None;
                    }
                },
            }
        }
        Some(pool.to_owned())
    }

    fn servers_of(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let pool = self.pool_of(spec)?;
        let servers = (0..pool.servers.len()).map(|index| Handle::Server {
            pool: pool.clone(),
            index,
        });
        Some(servers.collect())
    }

    fn hash_route(&mut self, spec: &Spec<'_>) -> Option<Handle> {
        let mut children = self.children(spec)?;
        if children.is_empty() {
            return self.later(spec.at, "a HashRoute without children");
        }
        if children.len() == 1 {
            return children.pop();
        }
        let wish = match spec.arg.as_map() {
            Some(map) => Wish::of_route(self.findings, map, spec.at)?,
            None => Wish::new(self.findings, None, None, None, spec.at)?,
        };
        self.hash_over(spec, children, &wish)
    }

    /// A hash over at least two children. Servers that are talked to alike make a pool.
    pub(super) fn hash_over(
        &mut self,
        spec: &Spec<'_>,
        children: Vec<Handle>,
        wish: &Wish<'_>,
    ) -> Option<Handle> {
        let mut first: Option<Rc<Read>> = None;
        let timeouts = |pool: &Pool| (pool.timeout, pool.connect_timeout);
        let are_alike = children.iter().all(|child| match child {
            Handle::Server { pool, .. } => {
                let known = first.get_or_insert_with(|| pool.clone());
                timeouts(&known.pool) == timeouts(&pool.pool)
            }
            Handle::Route(_) => false,
        });
        let Some(pool) = first.filter(|_| are_alike) else {
            return self.hash_of_routes(spec, children, wish);
        };
        let mut servers: Vec<(Server, Place)> = Vec::new();
        for child in children {
            let Handle::Server { pool, index } = child else {
                continue;
            };
            if let Some((server, at)) = pool.servers.get(index) {
                let mut server = server.clone();
                let mut times = 1;
                while servers.iter().any(|(other, _)| other.name == server.name) {
                    times += 1;
                    server.name = format!("{}#{times}", server.addr.default_name());
                }
                servers.push((server, *at));
            }
        }
        let spread = wish.spread(self.findings, &servers)?;
        let index = self.add_pool(&pool, &pool.name, spread, None);
        Some(Handle::Route(Route::Pool(index)))
    }

    /// A hash over anything. Children are known by their places, or by their tags.
    fn hash_of_routes(
        &mut self,
        spec: &Spec<'_>,
        children: Vec<Handle>,
        wish: &Wish<'_>,
    ) -> Option<Handle> {
        let places = (0..children.len()).map(|index| {
            let mut place = Server::new(ServerAddr::Unix(format!("/{index}").into()));
            place.name = index.to_string();
            (place, spec.at)
        });
        let places: Vec<(Server, Place)> = places.collect();
        let spread = wish.spread(self.findings, &places)?;
        let is_tagged = spread.placement.distribution == crate::hash::Distribution::Rendezvous;
        let is_weighted = spread.servers.iter().any(|one| one.weight.is_some());
        // A missing weight is a half.
        let weights = spread.servers.iter().map(|one| one.weight.unwrap_or(0.5));
        let names = spread.servers.iter().map(|one| one.name.clone());
        let children = children.into_iter().map(|child| self.as_route(child));
        Some(Handle::Route(Route::Choose(Choose::Hash {
            children: children.collect(),
            weights: weights.take_while(|_| is_weighted).collect(),
            names: names.take_while(|_| is_tagged).collect(),
            placement: spread.placement.clone(),
        })))
    }

    /// The route to a handle; a single server becomes a pool.
    pub(super) fn as_route(&mut self, handle: Handle) -> Route {
        match handle {
            Handle::Route(route) => route,
            Handle::Server { pool, index } => {
                let servers = pool.servers.get(index).into_iter();
                let spread = Spread {
                    placement: crate::hash::Placement {
                        stop: true,
                        ..crate::hash::Placement::of(crate::hash::Distribution::Ch3)
                    },
                    servers: servers.map(|(server, _)| server.clone()).collect(),
                };
                let name = format!("{}.{index}", pool.name);
                Route::Pool(self.add_pool(&pool, &name, spread, None))
            }
        }
    }

    /// Where no route leads to a pool: the first one there is, for a configuration has at least one.
    pub(in super::super) fn add_any_pool(&mut self) {
        let Some(name) = self.pools.first().filter(|_| self.out.is_empty()) else {
            return;
        };
        let arg = &name;
        let kind = "PoolRoute";
        let at = name.at;
        let _ = self.pool_route(&Spec { kind, at, arg });
        for pool in &mut self.out {
            // Nothing is deleted there.
            pool.spool = None;
        }
    }

    /// The number of the pool with these servers, which may be there already.
    fn add_pool(
        &mut self,
        read: &Read,
        name: &str,
        spread: Spread,
        spool: Option<String>,
    ) -> usize {
        let known = self
            .made
            .iter()
            .zip(&self.out)
            .position(|((other, made), pool)| {
                *other == read.name && *made == spread && pool.spool == spool
            });
        if let Some(known) = known {
            return known;
        }
        let mut pool = read.pool.clone();
        pool.name = self.unique(name);
        pool.placement = spread.placement.clone();
        pool.servers = spread.servers.clone();
        pool.spool = spool;
        if pool.name != *name {
            self.findings
                .warn(read.at, format!("this pool is shown as \"{}\"", pool.name));
        }
        self.out.push(pool);
        self.made.push((read.name.clone(), spread));
        self.out.len() - 1
    }

    /// A name that no other pool has and that can stand in statistics.
    fn unique(&mut self, name: &str) -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let mut plain: String = name
            .chars()
            .map(|c| if good(c) { c } else { '-' })
            .take(200)
            .collect();
        if plain.is_empty() {
            plain.push_str("pool");
        }
        let mut unique = plain.clone();
        let mut number = 1;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{plain}.{number}");
        }
        unique
    }
}

/// The value of an option that must be true or false.
pub(super) fn truth(builder: &mut Builder<'_, '_>, value: Option<&Value>) -> Option<bool> {
    match value.map(|value| (value, &value.kind)) {
        None => Some(false),
        Some((_, Kind::Bool(value))) => Some(*value),
        Some((value, _)) => {
            let what = value.what();
            let message = format!("this must be true or false, not {what}");
            builder.findings.error(value.at, message);
            None
        }
    }
}
