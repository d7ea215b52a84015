//! Pools: PoolRoute, the list of a pool's servers, and a hash over such lists.

use std::rc::Rc;

use super::super::super::diagnostics::quoted;
use super::super::super::{Choose, ErrorResult, Pool, Route, Rule, Server, ServerAddr, Shown};
use super::super::placement::{Spread, Wish};
use super::super::pools::Read;
use super::super::value::{Kind, Place, Value};
use super::orders::route_of_hash;
use super::shadow::Known;
use super::{Builder, Handle, Spec, Type};
use crate::hash::{Buckets, Distribution, MAX_BUCKETS};

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
        // Where nothing says what to distribute, it is as if it were off.
        let fields = self.is_distribution(spec, &["distribution_enabled"]);
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
        let around = self.around_servers(spec);
        let shadows = self.shadows(spec);
        if pool.servers.is_empty() {
            fields?;
            return Some(empty(&pool.name, pool.error_on_empty));
        }
        let spool = match spools && self.settings.base.spool.is_some() {
            true => Some(self.spool_name(spec, &pool.name)?),
            false => None,
        };
        let (weights, tags) = (pool.weights.as_ref(), pool.tags.as_ref());
        let hash = spec.field("hash");
        let as_route = route_of_hash(hash).filter(|_| pool.servers.len() > 1);
        if let (Some(kind), Some(arg)) = (as_route, hash) {
            fields?;
            let children = self.around_each(spec, (&pool, spool), &around?, shadows?)?;
            let children = children.into_iter().map(Handle::Route).collect();
            let at = arg.at;
            let own = Spec { kind, at, arg };
            let mut built = match kind {
                "Latest" => self.latest(&own, children)?,
                _ => self.load_balancer(&own, Some(children))?,
            };
            return built.pop().map(|handle| self.as_route(handle));
        }
        let wish = Wish::new(self.findings, hash, weights, tags, pool.at)?;
        let mut spread = wish.spread(self.findings, &pool.servers)?;
        // A single server is not chosen by hash.
        let buckets = self.buckets(spec)?;
        if let Some(buckets) = buckets.filter(|_| pool.servers.len() > 1) {
            if spread.placement.distribution != Distribution::WeightedCh3 {
                let message = "`bucketize` needs the hash WeightedCh3, and so `weights`";
                self.findings.error(spec.at, message);
                return None;
            }
            // The salt of such a route, if it has one, is its own.
            if let Some(salt) = spec.field("salt") {
                let Some(text) = salt.as_text() else {
                    let message = format!("`salt` must be a text, not {}", salt.what());
                    self.findings.error(salt.at, message);
                    return None;
                };
                spread.placement.salt = text.to_string();
            }
            spread.placement.buckets = Some(Box::new(buckets));
        }
        fields?;
        let (around, shadows) = (around?, shadows?);
        let servers = spread.servers.len();
        let alike = around.is_empty() && pool.routes.is_empty();
        if alike && shadows.iter().all(|shadow| shadow.is_for_all(servers)) {
            let route = Route::Pool(self.add_pool(&pool, None, spread, spool));
            let shadows = self.targets(shadows)?;
            let shadows = shadows.iter().filter(|shadow| shadow.covers(0));
            return Some(shadows.fold(route, Known::around));
        }
        // Its servers differ in what stands around them, so that each is a route of its own.
        let mut children = self.around_each(spec, (&pool, spool), &around, shadows)?;
        if children.len() == 1 {
            return children.pop();
        }
        Some(by_hash(children, &spread))
    }

    /// The servers of a pool, each with what stands around it.
    fn around_each(
        &mut self,
        spec: &Spec<'_>,
        (pool, spool): (&Rc<Read>, Option<String>),
        around: &[(Rule, Option<Route>)],
        shadows: Vec<Known<Value>>,
    ) -> Option<Vec<Route>> {
        let servers = self.servers_in(spec, pool)?;
        let servers = servers.into_iter();
        let servers = servers.map(|one| self.route_of(one, spool.as_ref()));
        let servers: Vec<Route> = servers.collect();
        let shadows = self.targets(shadows)?;
        let mut children = Vec::new();
        for (index, mut route) in servers.into_iter().enumerate() {
            for (rule, other) in around {
                route = Route::Many {
                    rule: rule.clone(),
                    children: std::iter::once(route).chain(other.clone()).collect(),
                };
            }
            let shadows = shadows.iter().filter(|shadow| shadow.covers(index));
            children.push(shadows.fold(route, Known::around));
        }
        Some(children)
    }

    /// The servers of a pool, some of which may be routes.
    fn servers_in(&mut self, spec: &Spec<'_>, pool: &Rc<Read>) -> Option<Vec<Handle>> {
        if self.open.contains(&pool.name) {
            let message = format!("the pool {} is part of itself", quoted(&pool.name));
            self.findings.error(spec.at, message);
            return None;
        }
        self.open.push(pool.name.clone());
        let servers: Vec<Option<Handle>> = (0..pool.servers.len())
            .map(|index| match pool.routes.get(&index) {
                Some(route) => self.one(route),
                None => Some(Handle::Server {
                    pool: pool.clone(),
                    index,
                }),
            })
            .collect();
        self.open.pop();
        servers.into_iter().collect()
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

    /// The buckets of a PoolRoute, if it has any. `None` after an error.
    fn buckets(&mut self, spec: &Spec<'_>) -> Option<Option<Buckets>> {
        if !self.flag(spec, "bucketize", Some(false))? {
            return Some(None);
        }
        let most = i64::from(MAX_BUCKETS);
        let mut count = |value: Option<&Value>, name: &str| match value.map(|value| &value.kind) {
            Some(Kind::Int(count)) if (1..=most).contains(count) => u32::try_from(*count).ok(),
            _ => {
                let at = value.map_or(spec.at, |value| value.at);
                let message = format!("`{name}` must be a whole number from 1 to {most}");
                self.findings.error(at, message);
                None
            }
        };
        let total = count(spec.field("total_buckets"), "total_buckets")?;
        let mut by_prefix = Vec::new();
        if let Some(value) = spec.field("total_buckets_by_prefix") {
            let Some(map) = value.as_map() else {
                let message = format!(
                    "`total_buckets_by_prefix` must be an object, not {}",
                    value.what()
                );
                self.findings.error(value.at, message);
                return None;
            };
            for (prefix, member) in map.in_order() {
                let number = count(Some(&member.value), "a number of buckets")?;
                by_prefix.push((prefix.to_string(), number));
            }
        }
        if spec.field("bucketization_keyspace").is_none() {
            let message = "`bucketize` needs a `bucketization_keyspace`";
            self.findings.error(spec.at, message);
            return None;
        }
        let keyspace = self.text(spec, "bucketization_keyspace", "")?;
        Some(Some(Buckets {
            total,
            keyspace,
            by_prefix,
            parts: self.key_parts,
        }))
    }

    fn servers_of(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let pool = self.pool_of(spec)?;
        self.servers_in(spec, &pool)
    }

    fn hash_route(&mut self, spec: &Spec<'_>) -> Option<Handle> {
        let mut children = self.children(spec)?;
        if children.is_empty() {
            let is_error = match spec.field("error_on_empty") {
                None => true,
                value => truth(self, value)?,
            };
            return Some(Handle::Route(empty("", is_error)));
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
        let index = self.add_pool(&pool, None, spread, None);
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
        let children = children.into_iter().map(|child| self.as_route(child));
        Some(Handle::Route(by_hash(children.collect(), &spread)))
    }

    /// The route to a handle; a single server becomes a pool.
    pub(super) fn as_route(&mut self, handle: Handle) -> Route {
        self.route_of(handle, None)
    }

    /// The same; what can't be deleted at a single server is written down under this name.
    fn route_of(&mut self, handle: Handle, spool: Option<&String>) -> Route {
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
                Route::Pool(self.add_pool(&pool, Some(index), spread, spool.cloned()))
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

    /// The number of the pool with these servers, or with a single one of a pool's, which may be there already.
    fn add_pool(
        &mut self,
        read: &Read,
        single: Option<usize>,
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
        let name = match single {
            Some(index) => format!("{}.{index}", read.name),
            None => read.name.clone(),
        };
        pool.name = self.unique(&name);
        pool.shown = (pool.name != read.name).then(|| Shown {
            pool: read.name.clone(),
            first: single.map_or(0, |index| u32::try_from(index).unwrap_or(u32::MAX)),
        });
        pool.placement = spread.placement.clone();
        pool.servers = spread.servers.clone();
        pool.spool = spool;
        if pool.name != name {
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

/// Where a pool without servers leads.
fn empty(name: &str, is_error: bool) -> Route {
    Route::Choose(match is_error {
        false => Choose::Null,
        // mcrouter's words.
        true => Choose::Error {
            message: format!("HashRoute with empty children, name: {name}")
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
            result: ErrorResult::DEFAULT,
            shown: false,
        },
    })
}

/// Routes by hash, as servers would be spread.
fn by_hash(children: Vec<Route>, spread: &Spread) -> Route {
    let is_tagged = spread.placement.distribution == crate::hash::Distribution::Rendezvous;
    let is_weighted = spread.servers.iter().any(|one| one.weight.is_some());
    // A missing weight is a half.
    let weights = spread.servers.iter().map(|one| one.weight.unwrap_or(0.5));
    let names = spread.servers.iter().map(|one| one.name.clone());
    Route::Choose(Choose::Hash {
        children,
        weights: weights.take_while(|_| is_weighted).collect(),
        names: names.take_while(|_| is_tagged).collect(),
        placement: spread.placement.clone(),
    })
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
