//! Where a request goes, found without sending it.
//!
//! Two questions, two walks. [`Walk::servers`] is what mcrouter calls a route: the request is simulated, with each
//! server that is in service giving the answer of an empty cache, and the servers that would be asked are listed in
//! order. So a failover shows its first child while that is in service, and all children that are not have no part.
//! [`Walk::tree`] lists every handle that such a request may come to, one a line, under mcrouter's names.
//!
//! Both go by `step`, which knows each kind of route and is the one place to extend. Both run on the configuration;
//! only the owner of a key and who is in service are asked of the snapshot. What depends on counts and chance (rate
//! limits, the order of failures, samples) is taken as for the first request.

use std::fmt::Write as _;

use super::{View, layers};
use crate::config::mcrouter;
use crate::config::{
    Choose, Compat, ErrorResult, Failover, FailoverOn, KeyedFailover, Latest, OnFailure, Pool,
    Requests, Route, Rule, Verdict, Verdicts,
};
use crate::config::{Keys, shard_id, shard_key};
use crate::hash::{Distribution, Placement, routing_key};
use crate::protocol::operation::{Group, Operation};
use crate::route::compile::MAX_SUCCESSORS;

/// Routes nest less deep than this; whoever breaks that is cut off.
const MAX_DEPTH: usize = 128;

/// How a simulated request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// As in an empty cache.
    Nothing,
    /// It failed.
    Failed(Verdict),
}

/// What a route does with a request.
struct Step<'r> {
    /// mcrouter's name; `None` for what mcrouter has no handle for.
    name: Option<String>,
    /// Where the request may go, in order.
    children: Vec<&'r Route>,
    /// The key that each of them gets; none: that of the request.
    keys: Vec<Vec<u8>>,
    how: How,
}

impl<'r> Step<'r> {
    /// The children, each with its key.
    fn each<'s>(&'s self, key: &'s [u8]) -> impl Iterator<Item = (&'r Route, &'s [u8])> {
        let keys = &self.keys;
        let children = self.children.iter().enumerate();
        children.map(move |(index, child)| (*child, keys.get(index).map_or(key, Vec::as_slice)))
    }
}

/// Which of the children are asked, and what becomes of it.
enum How {
    /// The first one.
    First,
    /// All; the answer is the worst one.
    Worst,
    /// All; the answer is that of the first one.
    All,
    /// All; the answer is a good one, if there is any.
    Best,
    /// One after the other, as long as this holds.
    While(Box<dyn Fn(Ended) -> bool>),
    /// None.
    Ends(Ended),
}

/// Where a handle stands in the tree.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// The log of the pool that it is of stands above.
    spool_is_shown: bool,
}

impl Place {
    /// Writes a line here; what stands below it is there.
    fn below(self, text: &str, out: &mut String) -> Place {
        line(text, self.depth, out);
        Place {
            depth: self.depth + 1,
            ..self
        }
    }
}

/// A request that is followed.
pub struct Walk<'v> {
    view: &'v View<'v>,
    operation: Operation,
    key: &'v [u8],
    compat: Compat,
}

impl<'v> Walk<'v> {
    /// A request that does this with a key.
    #[must_use]
    pub fn new(view: &'v View<'v>, operation: Operation, key: &'v [u8]) -> Walk<'v> {
        Walk {
            view,
            operation,
            key,
            compat: view.config.compat,
        }
    }

    /// The addresses of the servers that it would be sent to.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.simulate(&self.view.config.route, self.key, 0, &mut found);
        found
    }

    /// The handles that it may come to, from the root on; each line ends with a line feed but for the last one.
    #[must_use]
    pub fn tree(&self) -> String {
        let mut out = String::new();
        let depth = match self.compat {
            Compat::V0_36 => 0,
            Compat::Latest => {
                line("proxy", 0, &mut out);
                1
            }
        };
        line("root", depth, &mut out);
        let from = Place {
            depth: depth + 1,
            spool_is_shown: false,
        };
        self.handles(&self.view.config.route, self.key, from, &mut out);
        out.truncate(out.trim_end().len());
        out
    }

    /// The buckets that the key may be in, a line for each pool with buckets that it may come to.
    #[must_use]
    pub fn buckets(&self) -> String {
        let mut found = Vec::new();
        self.collect_buckets(&self.view.config.route, self.key, 0, &mut found);
        found.dedup();
        found.join("\n")
    }

    fn collect_buckets(&self, route: &'v Route, key: &[u8], depth: usize, found: &mut Vec<String>) {
        if depth > MAX_DEPTH {
            return;
        }
        let placement = match route {
            Route::Pool(pool) => self.pool(*pool).map(|pool| &pool.placement),
            Route::Choose(Choose::Hash { placement, .. }) => Some(placement),
            _ => None,
        };
        if let Some(placement) = placement
            && let Some(buckets) = &placement.buckets
        {
            let bucket = buckets.of(routing_key(key, placement.tag, placement.stop));
            let key = String::from_utf8_lossy(self.key);
            found.push(format!("{key}\t{bucket}\t{}\tnull", buckets.keyspace));
        }
        if !matches!(route, Route::Pool(_)) {
            for (child, key) in self.step(route, key).each(key) {
                self.collect_buckets(child, key, depth + 1, found);
            }
        }
    }

    fn pool(&self, index: usize) -> Option<&'v Pool> {
        self.view.config.pools.get(index)
    }

    fn owner(&self, pool: usize, key: &[u8]) -> Option<usize> {
        let selector = self.view.snapshot.pools.get(pool)?.selector.as_ref()?;
        Some(selector.select(key))
    }

    fn simulate(
        &self,
        route: &'v Route,
        key: &[u8],
        depth: usize,
        found: &mut Vec<String>,
    ) -> Ended {
        if depth > MAX_DEPTH {
            return Ended::Failed(Verdict::LocalError);
        }
        if let Route::Pool(pool) = route {
            return self.ask_pool(*pool, key, depth, found);
        }
        let step = self.step(route, key);
        let mut ask =
            |(child, key): (&'v Route, &[u8])| self.simulate(child, key, depth + 1, found);
        let nowhere = Ended::Failed(Verdict::LocalError);
        let mut children = step.each(key);
        match &step.how {
            How::Ends(ended) => *ended,
            How::First => children.next().map_or(nowhere, ask),
            How::While(goes_on) => {
                let mut ended = nowhere;
                for child in children {
                    ended = ask(child);
                    if !goes_on(ended) {
                        break;
                    }
                }
                ended
            }
            How::Worst | How::All | How::Best => {
                let all: Vec<Ended> = children.map(ask).collect();
                let failed = |one: &Ended| *one != Ended::Nothing;
                let chosen = match step.how {
                    How::Worst => all.iter().find(|one| failed(one)),
                    How::Best => all.iter().find(|one| !failed(one)),
                    _ => None,
                };
                chosen.or(all.first()).copied().unwrap_or(nowhere)
            }
        }
    }

    fn ask_pool(&self, index: usize, key: &[u8], depth: usize, found: &mut Vec<String>) -> Ended {
        let (Some(pool), Some(owner)) = (self.pool(index), self.owner(index, key)) else {
            return Ended::Failed(Verdict::ConnectError);
        };
        let mut tries = vec![owner];
        if pool.on_failure == Some(OnFailure::Next)
            && let Some(selector) = self.view.snapshot.pools.get(index)
            && let Some(selector) = &selector.selector
        {
            let next = (1..=MAX_SUCCESSORS).filter_map(|nth| selector.successor(key, nth));
            tries.extend(next);
        }
        for server in tries {
            if !(self.view.is_down)(index, server) {
                let addr = pool.servers.get(server).map(|one| one.addr.to_string());
                found.extend(addr);
                return Ended::Nothing;
            }
        }
        if let Some(gutter) = pool.gutter
            && depth <= MAX_DEPTH
        {
            return self.ask_pool(gutter.pool, key, depth + 1, found);
        }
        if self.operation == Operation::Delete && pool.spool.is_some() {
            // It is written down, and counts as done.
            return Ended::Nothing;
        }
        Ended::Failed(Verdict::Tko)
    }

    fn handles(&self, route: &'v Route, key: &[u8], at: Place, out: &mut String) {
        if at.depth > MAX_DEPTH {
            return;
        }
        if let Route::Pool(pool) = route {
            return self.pool_handles(*pool, key, at, out);
        }
        let mut at = at;
        if let Some(name) = layers::spool(self.view.config, route).filter(|_| !at.spool_is_shown) {
            at = at.below(&format!("asynclog:{name}"), out);
            at.spool_is_shown = true;
        }
        if let Some((child, targets)) = layers::shadows(route, key) {
            return match child {
                Route::Pool(pool) => self.pool_with_shadows(*pool, &targets, key, at, out),
                child => {
                    let below = if targets.is_empty() {
                        at
                    } else {
                        at.below("shadow", out)
                    };
                    self.handles(child, key, below, out);
                    self.copies(&targets, key, below, out);
                }
            };
        }
        let step = self.step(route, key);
        let below = match &step.name {
            Some(name) => at.below(name, out),
            None => at,
        };
        for (index, (child, key)) in step.each(key).enumerate() {
            let mut below = below;
            if index > 0 && layers::is_of_first(route) {
                below.spool_is_shown = false;
            }
            match exptime_elsewhere(route).filter(|_| index > 0) {
                Some(seconds) => {
                    let name = format!("modify-exptime|min|exptime={seconds}");
                    let below = below.below(&name, out);
                    self.handles(child, key, below, out);
                }
                None => self.handles(child, key, below, out),
            }
        }
    }

    /// The targets of shadows, which have logs of their own.
    fn copies(&self, targets: &[&'v Route], key: &[u8], at: Place, out: &mut String) {
        let at = Place {
            spool_is_shown: false,
            ..at
        };
        for target in targets {
            self.handles(target, key, at, out);
        }
    }

    fn pool_handles(&self, index: usize, key: &[u8], at: Place, out: &mut String) {
        self.pool_with_shadows(index, &[], key, at, out);
    }

    /// A pool whose servers have shadows for the key.
    fn pool_with_shadows(
        &self,
        index: usize,
        targets: &[&'v Route],
        key: &[u8],
        at: Place,
        out: &mut String,
    ) {
        let Some(pool) = self.pool(index) else {
            return;
        };
        let gutter = pool.gutter;
        let outer = match gutter {
            Some(_) => at.below("failover", out),
            None => at,
        };
        let mut at = outer;
        if let Some(name) = pool.spool.as_ref().filter(|_| !at.spool_is_shown) {
            at = at.below(&format!("asynclog:{name}"), out);
        }
        if pool.servers.len() > 1 {
            at = at.below(&self.hash(&pool.placement, is_weighted(pool)), out);
        }
        if !targets.is_empty() {
            at = at.below("shadow", out);
        }
        if let Some(owner) = self.owner(index, key) {
            line(&leaf(pool, owner, self.compat), at.depth, out);
        }
        self.copies(targets, key, at, out);
        if let Some(gutter) = gutter
            && outer.depth <= MAX_DEPTH
        {
            self.pool_handles(gutter.pool, key, outer, out);
        }
    }

    fn hash(&self, placement: &Placement, is_weighted: bool) -> String {
        let function = match placement.distribution {
            Distribution::Ch3 => "Ch3",
            Distribution::WeightedCh3 if placement.weights_variable.is_some() => "WeightedCh3Rv",
            Distribution::WeightedCh3 => "WeightedCh3",
            Distribution::Crc32 => "Crc32",
            Distribution::ConstShard => "ConstShard",
            Distribution::Rendezvous if is_weighted => "WeightedRendezvous",
            Distribution::Rendezvous => "Rendezvous",
            other => other.name(),
        };
        let salt = match placement.salt.as_str() {
            "" => String::new(),
            salt => format!("|salt={salt}"),
        };
        let first = match self.compat {
            Compat::V0_36 => "hash",
            Compat::Latest => "selection|hash",
        };
        format!("{first}|{function}{salt}")
    }

    /// What a route that is no pool does with the request.
    fn step(&self, route: &'v Route, key: &[u8]) -> Step<'v> {
        let is_get = self.operation.group() == Some(Group::GetLike);
        let (name, children, how) = match route {
            Route::Pool(_) => (None, Vec::new(), How::First),
            Route::Prefix { prefixes, default } => {
                let fits = prefixes
                    .iter()
                    .filter(|(prefix, _)| key.starts_with(prefix));
                let longest = fits.max_by_key(|(prefix, _)| prefix.len());
                let child = longest.map_or(&**default, |(_, child)| child);
                (None, vec![child], How::First)
            }
            Route::Failover { children, on } => {
                let on = on.clone();
                let goes_on = move |ended| match ended {
                    Ended::Nothing => is_get && on.contains(&FailoverOn::Miss),
                    Ended::Failed(verdict) => on.contains(&reason(verdict)),
                };
                let how = How::While(Box::new(goes_on));
                (Some("failover".to_owned()), children.iter().collect(), how)
            }
            Route::WarmUp { cold, warm, .. } => {
                let children = match is_get {
                    true => vec![&**cold, &**warm],
                    false => vec![&**cold],
                };
                let how = How::While(Box::new(|_| true));
                (Some("warm-up".to_owned()), children, how)
            }
            Route::BigValue {
                child,
                split_threshold,
                batch_size,
                ..
            } => {
                let name =
                    format!("big-value|split-threshold={split_threshold}|batch-size={batch_size}");
                (Some(name), vec![&**child], How::First)
            }
            Route::Choose(choose) => self.choose(choose, key),
            Route::Many { rule, children } => self.many(rule, children, key),
            Route::Keys(keys) => return self.keys(keys, key),
        };
        Step {
            name,
            children,
            keys: Vec::new(),
            how,
        }
    }

    /// Routes that look into keys, or change them.
    fn keys(&self, keys: &'v Keys, key: &[u8]) -> Step<'v> {
        let (host, now) = (mcrouter::host_id(), super::instance::unix_seconds());
        let step = |name: Option<&str>, how: How| {
            let (children, keys) = keys
                .ways(key, host, now)
                .into_iter()
                .map(|(_, child, key)| (child, key))
                .unzip();
            Step {
                name: name.map(str::to_owned),
                children,
                keys,
                how,
            }
        };
        let all = |name: String, child: &'v Route, keys: Vec<Vec<u8>>, how: How| Step {
            name: Some(name),
            children: keys.iter().map(|_| child).collect(),
            keys,
            how,
        };
        let is_delete = self.operation == Operation::Delete;
        match keys {
            // The first one's reply is the answer, as with all that is sent everywhere.
            Keys::Prefixes { .. } => step(None, How::All),
            Keys::Modify { .. } => step(Some("modify-key"), How::First),
            Keys::Split { child, split } => {
                let own = split.own(host);
                let name = format!(
                    "keysplit|replicas={}|all-sync={}|first-hit={}|replicaId={own}",
                    split.replicas, split.all_sync, split.first_hit
                );
                let is_get = self.operation.group() == Some(Group::GetLike);
                let tries = is_get && split.first_hit;
                let every =
                    is_delete || tries || (self.operation == Operation::Set && split.all_sync);
                let numbers = (0..split.replicas).filter(|number| every && *number != own);
                let keys = std::iter::once(own)
                    .chain(numbers)
                    .map(|number| split.key(key, number).unwrap_or_else(|| key.to_vec()));
                let how = match tries {
                    true => How::While(Box::new(|_| true)),
                    false => How::All,
                };
                all(name, child, keys.collect(), how)
            }
            Keys::Shards { child, shards } => {
                let found = shard_id(key).and_then(|(id, end)| {
                    let shard = shards.iter().find(|(name, _)| name.as_bytes() == id);
                    Some((&shard?.1, end))
                });
                match found {
                    Some((shard, end)) if is_delete && shard.fanout_deletes => {
                        let parts = 0..shard.parts(host, now);
                        let keys = parts
                            .map(|part| shard_key(key, end, part).unwrap_or_else(|| key.to_vec()));
                        all("shardsplit".to_owned(), child, keys.collect(), How::All)
                    }
                    _ => step(Some("shardsplit"), How::First),
                }
            }
        }
    }

    fn choose(&self, choose: &'v Choose, key: &[u8]) -> (Option<String>, Vec<&'v Route>, How) {
        let name = |text: &str| Some(text.to_owned());
        let at = |children: &'v [Route], index: Option<usize>| -> Vec<&'v Route> {
            index
                .and_then(|index| children.get(index))
                .into_iter()
                .collect()
        };
        match choose {
            Choose::Null => (name("null"), Vec::new(), How::Ends(Ended::Nothing)),
            Choose::Error {
                message, result, ..
            } => {
                let text = match message.as_str() {
                    "" => String::new(),
                    message => format!("|{message}"),
                };
                let name = format!("error|log|mc_res_{}{text}", result.name);
                (
                    Some(name),
                    Vec::new(),
                    How::Ends(Ended::Failed(verdict(result))),
                )
            }
            Choose::Hash {
                children,
                placement,
                weights,
                ..
            } => {
                let owner = choose.selector().and_then(Result::ok);
                let owner = owner.map(|one| one.select(key));
                let text = self.hash(placement, !weights.is_empty());
                (Some(text), at(children, owner), How::First)
            }
            Choose::Random { children } => (name("random"), children.iter().collect(), How::First),
            Choose::Host { children, .. } => (None, at(children, choose.own()), How::First),
            Choose::Operation {
                default,
                operations,
            } => {
                let group = self.operation.group().map(Requests::Group);
                let place = |wanted: Requests| {
                    let found = operations.iter().find(|(requests, _)| *requests == wanted);
                    found.map(|(_, route)| route)
                };
                let child = place(Requests::One(self.operation))
                    .or_else(|| group.and_then(place))
                    .or(default.as_deref());
                (
                    name("operation-selector"),
                    child.into_iter().collect(),
                    How::First,
                )
            }
            Choose::Exptime {
                child,
                exptime,
                at_most,
            } => {
                let action = if *at_most { "min" } else { "set" };
                let name = format!("modify-exptime|{action}|exptime={exptime}");
                (Some(name), vec![&**child], How::First)
            }
            Choose::RateLimit { child, rates, .. } => {
                let mut name = "rate-limit".to_owned();
                for (group, rate) in rates.named() {
                    if let Some(rate) = rate {
                        // Writing to a String can't fail.
                        let _ = write!(
                            name,
                            "|{group}_rate={}|{group}_burst={}",
                            rate.rate, rate.burst
                        );
                    }
                }
                (Some(name), vec![&**child], How::First)
            }
            Choose::HashStop { child, .. } => match choose.allows(key) {
                true => (name("hash-stop-allow-list"), vec![&**child], How::First),
                false => (
                    name("hash-stop-allow-list"),
                    Vec::new(),
                    How::Ends(Ended::Failed(Verdict::LocalError)),
                ),
            },
        }
    }

    fn many(
        &self,
        rule: &Rule,
        children: &'v [Route],
        key: &[u8],
    ) -> (Option<String>, Vec<&'v Route>, How) {
        let group = self.operation.group();
        let mut all: Vec<&Route> = children.iter().collect();
        let how = match rule {
            Rule::AllSync | Rule::AllMajority => How::Worst,
            Rule::AllAsync | Rule::AllInitial => How::All,
            Rule::AllFastest => How::Best,
            Rule::MissFailover { .. } => match group {
                Some(Group::GetLike | Group::DeleteLike) => How::While(Box::new(|_| true)),
                _ => {
                    all.truncate(1);
                    How::First
                }
            },
            Rule::Failover(failover)
            | Rule::Latest(Latest { failover, .. })
            | Rule::KeyedFailover(KeyedFailover { failover, .. }) => {
                if let Rule::Latest(latest) = rule {
                    let own = latest.own(children.len()).into_iter();
                    all = own.filter_map(|index| children.get(index)).collect();
                }
                if let Some(most) = failover.max_tries {
                    all.truncate((most as usize).max(1));
                }
                let verdicts = verdicts(failover, group);
                How::While(Box::new(move |ended| match ended {
                    Ended::Nothing => false,
                    Ended::Failed(verdict) => verdicts.has(verdict),
                }))
            }
            Rule::Shadow(shadow) => {
                if !shadow.takes(key) {
                    all.truncate(1);
                }
                How::All
            }
            Rule::WarmUp { .. } | Rule::Levels(_) | Rule::Sizes(_) => match group {
                Some(Group::GetLike) => How::While(Box::new(|_| true)),
                _ => {
                    all.truncate(1);
                    How::First
                }
            },
            Rule::Balance { .. } => How::While(Box::new(|ended| matches!(ended, Ended::Failed(_)))),
            Rule::Latency(_) | Rule::Outstanding(_) => How::First,
            // Which of them it is follows from more than the key.
            Rule::Staging
            | Rule::Migrate(_)
            | Rule::SlowWarmUp(_)
            | Rule::Blackhole(_)
            | Rule::Client(_) => How::All,
        };
        let name = match rule {
            Rule::Failover(_) | Rule::Latest(_) | Rule::KeyedFailover(_) => "failover",
            Rule::Levels(_) => "l1l2-cache",
            Rule::Sizes(_) => "l1l2-sizesplit",
            Rule::SlowWarmUp(_) => "slow-warmup",
            Rule::Client(_) => "OriginalClientHashRoute",
            Rule::Balance { .. } => "loadbalancer|weighted-hashing",
            Rule::Outstanding(limit) => {
                let name = format!("outstanding-limit|limit={limit}");
                return (Some(name), all, how);
            }
            Rule::Latency(rule) => {
                let (before, after, total) = (rule.before, rule.after, rule.total);
                let name = format!(
                    "latency-injection|before:{before}ms|after:{after}ms|total:{total}ms|request_payload:false|max_request_latency_us:0"
                );
                return (Some(name), all, how);
            }
            rule => rule.name(),
        };
        (Some(name.to_owned()), all, how)
    }
}

/// How long what a failover stores anywhere but in its first child lives, if it says; a handle of its own in mcrouter.
fn exptime_elsewhere(route: &Route) -> Option<u32> {
    match route {
        Route::Many {
            rule: Rule::Failover(failover),
            ..
        } => Some(failover.exptime).filter(|seconds| *seconds > 0),
        _ => None,
    }
}

fn verdicts(failover: &Failover, group: Option<Group>) -> Verdicts {
    match group {
        Some(Group::GetLike) => failover.gets,
        Some(Group::UpdateLike) => failover.updates,
        Some(Group::DeleteLike) => failover.deletes,
        Some(Group::ArithmeticLike) | None => Verdicts::DEFAULT,
    }
}

/// What a failure is to a failover that lists reasons.
fn reason(verdict: Verdict) -> FailoverOn {
    match verdict {
        Verdict::Timeout => FailoverOn::Timeout,
        Verdict::ConnectError | Verdict::Tko => FailoverOn::Connect,
        Verdict::Busy => FailoverOn::Busy,
        _ => FailoverOn::Error,
    }
}

/// What an error of a route is to the routes around it.
fn verdict(result: &ErrorResult) -> Verdict {
    match result.reason {
        None => Verdict::ClientError,
        Some(FailoverOn::Timeout) => Verdict::Timeout,
        Some(FailoverOn::Connect) if result.name == "tko" => Verdict::Tko,
        Some(FailoverOn::Connect) => Verdict::ConnectError,
        Some(FailoverOn::Busy) => Verdict::Busy,
        Some(_) if result.name == "local_error" => Verdict::LocalError,
        Some(_) => Verdict::RemoteError,
    }
}

fn is_weighted(pool: &Pool) -> bool {
    pool.servers.iter().any(|server| server.weight.is_some())
}

fn line(text: &str, depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', depth));
    out.push_str(text);
    out.push('\n');
}

/// What mcrouter calls the way to a server.
#[must_use]
pub fn leaf(pool: &Pool, server: usize, compat: Compat) -> String {
    let addr = pool.servers.get(server).map(|one| one.addr.to_string());
    let (name, first) = pool.shown_as();
    let mut text = format!(
        "host|pool={name}|id={}|ap={}:ascii:plain:notcompressed|timeout={}ms",
        first + server,
        addr.unwrap_or_default(),
        pool.timeout.as_millis()
    );
    if compat == Compat::Latest {
        let keeps = pool.keep_routing_prefix;
        text.push_str(&format!("|keep_routing_prefix={keeps}|msb=0"));
    }
    text
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
