//! Orders of a failover that follow from the key (DeterministicOrderPolicy, RendezvousPolicy) or from the host (LatestRoute,
//! which a pool may also have for its servers), and LoadBalancerRoute with more than one try.

use std::rc::Rc;

use super::super::super::{Choose, Draws, KeyOrder, Latest, Millionths, Route, Rule, Verdicts};
use super::super::value::{Kind, Map, Value};
use super::choose::one;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[("LatestRoute", |builder, spec| {
    let children = match spec.arg.as_map() {
        Some(map) if map.get("children").is_none() => Vec::new(),
        _ => builder.children(spec)?,
    };
    builder.latest(spec, children)
})];

/// Policies whose order follows from the key.
pub(super) const POLICIES: &[&str] = &["DeterministicOrderPolicy", "RendezvousPolicy"];

/// How the children of a failover are ordered.
pub(super) enum Ordered {
    ByKey(KeyOrder),
    Otherwise,
}

impl Builder<'_, '_> {
    /// `None` after an error.
    pub(super) fn key_order(&mut self, spec: &Spec<'_>, children: &[Handle]) -> Option<Ordered> {
        let policy = spec.field("failover_policy");
        let kind = policy
            .and_then(Value::as_map)
            .and_then(|map| map.get("type"));
        let order = match kind.and_then(Value::as_text).map(|kind| &**kind) {
            Some("DeterministicOrderPolicy") => self.draws(spec, policy?, children)?,
            Some("RendezvousPolicy") => self.rendezvous(spec, policy?, children.len())?,
            _ => return Some(Ordered::Otherwise),
        };
        Some(Ordered::ByKey(order))
    }

    fn draws(&mut self, spec: &Spec<'_>, policy: &Value, children: &[Handle]) -> Option<KeyOrder> {
        let own = Spec {
            kind: "DeterministicOrderPolicy",
            at: policy.at,
            arg: policy,
        };
        let max_tries = self.whole(&own, "max_tries", 1..=1000, None);
        let max_error_tries = self.whole(&own, "max_error_tries", 1..=1000, None);
        let excluded = match own.field("exclude_errors") {
            None => Some(Verdicts::NONE),
            Some(errors) => self.error_list(errors),
        };
        let repeats_normal = self.is_on(&own, "ignore_normal_reply_index");
        let has_domains = self.is_on(&own, "enable_failure_domains");
        let (hash, map, function) = given_hash(spec);
        let weights = match function {
            None | Some("Ch3") => Some(Vec::new()),
            Some("WeightedCh3") => {
                let weights = map.and_then(|map| map.get("weights"));
                self.weights(spec, weights, children.len(), (0.5, 1.0))
            }
            Some(_) => {
                let at = hash.map_or(spec.at, |hash| hash.at);
                let message = "the hash of DeterministicOrderPolicy is Ch3 or WeightedCh3";
                self.findings.error(at, message);
                None
            }
        };
        let domain = |child: &Handle| match child {
            Handle::Server { pool, index } => pool.domains.get(*index).copied().unwrap_or(0),
            Handle::Route(_) => 0,
        };
        let domains = children.iter().skip(1).map(domain);
        Some(KeyOrder::Draws(Draws {
            max_tries: u32::try_from(max_tries?).ok()?,
            max_error_tries: u32::try_from(max_error_tries?).ok()?,
            excluded: excluded?,
            weights: weights?,
            domains: match has_domains? {
                true => domains.collect(),
                false => Vec::new(),
            },
            repeats_normal: repeats_normal?,
        }))
    }

    fn rendezvous(&mut self, spec: &Spec<'_>, policy: &Value, children: usize) -> Option<KeyOrder> {
        let others = children.saturating_sub(1);
        let tags = policy.as_map().and_then(|map| map.get("tags"));
        let tags = tags.or_else(|| spec.field("tags"));
        let list = tags.and_then(Value::as_list);
        let texts: Option<Vec<String>> = list.and_then(|list| {
            let texts = list.items().iter().map(Value::as_text);
            texts
                .map(|text| text.map(|text| text.to_string()))
                .collect()
        });
        let Some(texts) = texts.filter(|texts| texts.len() == others) else {
            let at = tags.map_or(policy.at, |tags| tags.at);
            self.findings
                .error(at, "RendezvousPolicy needs a list `tags`")
                .label(format!(
                    "with {others} texts, one for each child but the first"
                ));
            return None;
        };
        let (_, map, function) = given_hash(spec);
        let weights = match function {
            Some("WeightedRendezvous") => {
                let weights = map.and_then(|map| map.get("weights"));
                let weights = weights.or_else(|| spec.field("weights"));
                self.weights(spec, weights, others, (0.0, 1000.0))?
            }
            _ => Vec::new(),
        };
        Some(KeyOrder::Rendezvous {
            tags: texts,
            weights,
        })
    }

    /// As many weights as are needed; a missing one is the default.
    fn weights(
        &mut self,
        spec: &Spec<'_>,
        given: Option<&Value>,
        needed: usize,
        (missing, most): (f64, f64),
    ) -> Option<Vec<Millionths>> {
        let Some(list) = given.and_then(Value::as_list) else {
            let at = given.map_or(spec.at, |given| given.at);
            self.findings.error(at, "this hash needs a list `weights`");
            return None;
        };
        let mut weights = Vec::new();
        for item in list.items().iter().take(needed) {
            let weight = item.as_number().filter(|weight| *weight <= most);
            let Some(weight) = weight.and_then(Millionths::of) else {
                self.findings
                    .error(item.at, "this is not a weight")
                    .label(format!("a number from 0 to {most}"));
                return None;
            };
            weights.push(weight);
        }
        weights.resize(needed, Millionths::of(missing)?);
        Some(weights)
    }

    /// A failover over those children that the host has.
    pub(super) fn latest(&mut self, spec: &Spec<'_>, children: Vec<Handle>) -> Option<Vec<Handle>> {
        let count = self.whole(spec, "failover_count", 1..=1000, Some(5));
        let salt = self.text(spec, "salt", "");
        if self.is_on(spec, "thread_local_failover")? {
            self.findings
                .warn(
                    spec.at,
                    "`thread_local_failover`: all threads have the same route",
                )
                .label("has no effect");
        }
        let weights = match spec.field("weights") {
            None => Some(Vec::new()),
            given => self.weights(spec, given, children.len(), (0.5, 1.0)),
        };
        if let Ordered::ByKey(_) = self.key_order(spec, &children)? {
            return self.later(spec.at, "this failover policy in a LatestRoute");
        }
        let failover = self.failover_rule(spec, 0)?;
        match children.len() {
            0 => return Some(one(Choose::Null)),
            1 => return Some(children),
            _ => {}
        }
        let rule = Rule::Latest(Latest {
            count: u32::try_from(count?).ok()?,
            salt: salt?,
            weights: weights?,
            failover,
        });
        let children = children.into_iter().map(|child| self.as_route(child));
        let children = children.collect();
        Some(vec![Handle::Route(Route::Many { rule, children })])
    }

    /// By hash, with more than one try.
    pub(super) fn balanced(&mut self, salt: String, tries: u32, children: Vec<Handle>) -> Handle {
        let children = children.into_iter().map(|child| self.as_route(child));
        let children = children.collect();
        let rule = Rule::Balance { salt, tries };
        Handle::Route(Route::Many { rule, children })
    }
}

/// A route's `hash`, its fields if it has any, and the name of its function: `"Ch3"` or `{"hash_func": "Ch3"}`.
fn given_hash<'a>(spec: &Spec<'a>) -> (Option<&'a Value>, Option<&'a Rc<Map>>, Option<&'a str>) {
    let hash = spec.field("hash");
    let map = hash.and_then(Value::as_map);
    let function = match map {
        Some(map) => map.get("hash_func").and_then(Value::as_text),
        None => hash.and_then(Value::as_text),
    };
    (hash, map, function.map(|name| &**name))
}

/// The function of a `hash` that is a route of its own: `Latest` or `LoadBalancer`.
pub(super) fn route_of_hash(hash: Option<&Value>) -> Option<&'static str> {
    let hash = hash?;
    let name = match &hash.kind {
        Kind::Map(map) => map.get("hash_func").and_then(Value::as_text)?,
        _ => hash.as_text()?,
    };
    ["Latest", "LoadBalancer"]
        .into_iter()
        .find(|one| **one == **name)
}
