//! Types that choose, change or answer without looking at a reply.
//!
//! A collection without children is a NullRoute, one with a single child is that child, as in mcrouter. Policies for
//! requests that never come to a route here are read, so that what is wrong in them is found, and left out.

use super::super::super::choose::is_message;
use super::super::super::diagnostics::quoted;
use super::super::super::{Choose, ErrorResult, Rate, Rates, Requests, Route};
use super::super::placement::Wish;
use super::super::value::{Kind, Map, Value};
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("NullRoute", |_, _| Some(one(Choose::Null))),
    ("DevNullRoute", |_, _| Some(one(Choose::Null))),
    ("ErrorRoute", |builder, spec| {
        builder.error_route(spec).map(one)
    }),
    ("RandomRoute", |builder, spec| {
        let children = builder.children(spec)?;
        Some(builder.collected(children, |children| Choose::Random { children }))
    }),
    ("HostIdRoute", |builder, spec| {
        let salt = builder.text(spec, "salt", "")?;
        let children = builder.children(spec)?;
        Some(builder.collected(children, |children| Choose::Host { children, salt }))
    }),
    ("LoadBalancerRoute", |builder, spec| {
        builder.load_balancer(spec, None)
    }),
    ("OperationSelectorRoute", |builder, spec| {
        builder.selector(spec, "operation_policies", OPERATIONS)
    }),
    // An old name of it.
    ("PrefixPolicyRoute", |builder, spec| {
        builder.selector(spec, "operation_policies", OPERATIONS)
    }),
    ("RoutingGroupRoute", |builder, spec| {
        builder.selector(spec, "routing_group_policies", &[])
    }),
    ("ModifyExptimeRoute", |builder, spec| {
        builder.modify_exptime(spec)
    }),
    ("HashStopAllowListRoute", |builder, spec| {
        builder.hash_stop(spec)
    }),
    ("RateLimitRoute", |builder, spec| {
        builder
            .rate_limit(spec)
            .map(|route| vec![Handle::Route(route)])
    }),
    ("KeyParseRoute", |builder, spec| builder.key_parse(spec)),
];

/// Requests of mcrouter that do not come to a route here; their names may be in policies.
const OPERATIONS: &[&str] = &["flushall", "flushre"];

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: i64 = 30 * 24 * 3600;

pub(super) fn one(choose: Choose) -> Vec<Handle> {
    vec![Handle::Route(Route::Choose(choose))]
}

impl Builder<'_, '_> {
    /// What a collection is, by the number of its children.
    fn collected(
        &mut self,
        children: Vec<Handle>,
        make: impl FnOnce(Vec<Route>) -> Choose,
    ) -> Vec<Handle> {
        match children.len() {
            0 => one(Choose::Null),
            1 => children,
            _ => {
                let children = children.into_iter().map(|child| self.as_route(child));
                one(make(children.collect()))
            }
        }
    }

    /// A field that is a text, if it is there.
    pub(super) fn text(&mut self, spec: &Spec<'_>, name: &str, default: &str) -> Option<String> {
        let Some(value) = spec.field(name) else {
            return Some(default.to_owned());
        };
        let text = value.as_text();
        if text.is_none() {
            let message = format!("`{name}` must be a text, not {}", value.what());
            self.findings.error(value.at, message);
        }
        text.map(|text| text.to_string())
    }

    fn error_route(&mut self, spec: &Spec<'_>) -> Option<Choose> {
        let (message, at) = match &spec.arg.kind {
            Kind::Text(text) => (text.to_string(), spec.arg.at),
            Kind::Map(_) => {
                let at = spec.field("response").map_or(spec.at, |value| value.at);
                (self.text(spec, "response", "")?, at)
            }
            _ => (String::new(), spec.at),
        };
        if !is_message(&message) {
            return self.later(at, "an error text that is long or has control characters");
        }
        let name = self.text(spec, "result", "mc_res_local_error")?;
        let result = name.strip_prefix("mc_res_").and_then(ErrorResult::of);
        let Some(result) = result else {
            let at = spec.field("result").map_or(spec.at, |value| value.at);
            let message = format!("result {} is not a valid error result", quoted(&name));
            self.findings.error(at, message);
            return None;
        };
        if let Some(value) = spec.field("enable_logging")
            && !matches!(value.kind, Kind::Bool(_))
        {
            let message = "`enable_logging` must be true or false";
            self.findings.error(value.at, message);
            return None;
        }
        Some(Choose::Error {
            message,
            result,
            shown: false,
        })
    }

    /// No server that speaks memcached's protocol says how busy it is, so that all are taken as alike.
    /// Its children may be given.
    pub(super) fn load_balancer(
        &mut self,
        spec: &Spec<'_>,
        children: Option<Vec<Handle>>,
    ) -> Option<Vec<Handle>> {
        let algorithm = self.text(spec, "algorithm", "weighted-hashing")?;
        let at = |name: &str| spec.field(name).map_or(spec.at, |value| value.at);
        let tries = self.whole(spec, "failover_count", 1..=1000, Some(1))?;
        let tries = u32::try_from(tries).ok()?;
        let salt = spec.field("salt");
        let children = match children {
            Some(children) => children,
            None => self.children(spec)?,
        };
        match algorithm.as_str() {
            _ if children.len() < 2 => {
                Some(self.collected(children, |children| Choose::Random { children }))
            }
            "two-random-choices" => {
                if tries > 1 {
                    self.findings
                        .warn(at("failover_count"), "two-random-choices tries one child")
                        .label("has no effect, as in mcrouter");
                }
                Some(self.collected(children, |children| Choose::Random { children }))
            }
            "weighted-hashing" if tries > 1 => {
                let salt = self.text(spec, "salt", "")?;
                Some(vec![self.balanced(salt, tries, children)])
            }
            "weighted-hashing" => {
                let wish = Wish::salted(salt, spec.at);
                self.hash_over(spec, children, &wish)
                    .map(|handle| vec![handle])
            }
            other => {
                let message = format!("unknown load balancing algorithm {}", quoted(other));
                self.findings.error(at("algorithm"), message);
                None
            }
        }
    }

    /// A choice by the kind of request; without any choice it is the default. `others` are kinds that don't come here.
    fn selector(&mut self, spec: &Spec<'_>, field: &str, others: &[&str]) -> Option<Vec<Handle>> {
        let Some(policies) = spec.field(field) else {
            return self.target(spec, "default_policy");
        };
        let Some(policies) = policies.as_map() else {
            let message = format!("`{field}` must be an object, not {}", policies.what());
            self.findings.error(policies.at, message);
            return None;
        };
        let default = match spec.field("default_policy") {
            Some(value) => Some(Box::new(self.route(value)?)),
            None => None,
        };
        let operations = self.policies(policies, others)?;
        match default {
            Some(default) if operations.is_empty() => Some(vec![Handle::Route(*default)]),
            default => Some(one(Choose::Operation {
                default,
                operations,
            })),
        }
    }

    fn policies(&mut self, policies: &Map, others: &[&str]) -> Option<Vec<(Requests, Route)>> {
        let all = Requests::all();
        let fits = |one: &&Requests| matches!(one, Requests::One(_)) == !others.is_empty();
        let mut operations = Vec::new();
        let mut is_good = true;
        for (name, member) in policies.in_order() {
            let requests = all.iter().filter(fits).find(|one| one.name() == &**name);
            let route = self.route(&member.value);
            match (requests, route) {
                (Some(requests), Some(route)) => operations.push((*requests, route)),
                (None, Some(_)) if others.contains(&&**name) => {
                    let message = format!("no request {} comes to a route", quoted(name));
                    self.findings
                        .warn(member.key_at, message)
                        .label("never used");
                }
                (None, _) => {
                    is_good = false;
                    let message = format!("unknown operation {}", quoted(name));
                    self.findings.error(member.key_at, message);
                }
                (Some(_), None) => is_good = false,
            }
        }
        is_good.then_some(operations)
    }

    fn modify_exptime(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let exptime = match spec.field("exptime").map(|value| (value.at, &value.kind)) {
            Some((_, Kind::Int(exptime @ 0..=MAX_EXPTIME))) => u32::try_from(*exptime).ok()?,
            Some((at, Kind::Int(_))) => {
                return self.later(at, "an `exptime` that is not from 0 to 30 days");
            }
            found => {
                let at = found.map_or(spec.at, |(at, _)| at);
                self.findings
                    .error(at, "ModifyExptimeRoute needs a whole number `exptime`");
                return None;
            }
        };
        let at_most = match self.text(spec, "action", "set")?.as_str() {
            "set" => false,
            "min" => true,
            other => {
                let at = spec.field("action").map_or(spec.at, |value| value.at);
                let message = format!("`action` is \"set\" or \"min\", not {}", quoted(other));
                self.findings.error(at, message);
                return None;
            }
        };
        if at_most && exptime == 0 {
            return self.target(spec, "target");
        }
        let child = Box::new(self.required(spec, "target")?);
        Some(one(Choose::Exptime {
            child,
            exptime,
            at_most,
        }))
    }

    fn rate_limit(&mut self, spec: &Spec<'_>) -> Option<Route> {
        let target = self.required(spec, "target");
        let fallback = match spec.field("fallback") {
            Some(value) => Some(self.route(value)?),
            None => None,
        };
        let Some(rates) = spec.field("rates") else {
            let message = "`rates` is missing in RateLimitRoute";
            self.findings.error(spec.at, message);
            return None;
        };
        self.limited(rates, target?, fallback)
    }

    /// A limit around a route. mcrouter has one for each of its threads.
    pub(super) fn limited(
        &mut self,
        rates: &Value,
        child: Route,
        fallback: Option<Route>,
    ) -> Option<Route> {
        let Some(map) = rates.as_map() else {
            let message = format!("`rates` must be an object, not {}", rates.what());
            self.findings.error(rates.at, message);
            return None;
        };
        let threads = self.settings.base.workers.unwrap_or(1) as f64;
        let mut read = |rate: &str, burst: &str| -> Option<Option<Rate>> {
            let mut number = |name: &str| match map.get(name) {
                None => Some(None),
                Some(value) => match value.as_number() {
                    Some(number) if number > 0.0 && number <= 1e6 => Some(Some(number * threads)),
                    Some(number) if number > 0.0 => {
                        self.later(value.at, &format!("a `{name}` over 1000000"))
                    }
                    _ => {
                        let message = format!("`{name}` must be a number over 0");
                        self.findings.error(value.at, message);
                        None
                    }
                },
            };
            let (rate, burst) = (number(rate)?, number(burst)?);
            Some(rate.map(|rate| Rate {
                rate,
                burst: burst.unwrap_or(rate),
            }))
        };
        let rates = Rates {
            gets: read("gets_rate", "gets_burst")?,
            sets: read("sets_rate", "sets_burst")?,
            deletes: read("deletes_rate", "deletes_burst")?,
        };
        if rates == Rates::default() {
            return Some(child);
        }
        Some(Route::Choose(Choose::RateLimit {
            child: Box::new(child),
            rates,
            fallback: fallback.map(Box::new),
        }))
    }

    fn hash_stop(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let child = self.required(spec, "target");
        let list = spec.field("prefixes").and_then(Value::as_list);
        let Some(list) = list else {
            let at = spec.field("prefixes").map_or(spec.at, |value| value.at);
            self.findings
                .error(at, "HashStopAllowListRoute needs a list `prefixes`");
            return None;
        };
        let mut prefixes = Vec::new();
        for item in list.items() {
            let Some(text) = item.as_text() else {
                let message = format!("a prefix must be a text, not {}", item.what());
                self.findings.error(item.at, message);
                return None;
            };
            prefixes.push(text.to_string());
        }
        let child = Box::new(child?);
        Some(one(Choose::HashStop { child, prefixes }))
    }

    /// What it finds in keys is only for bucketized pools.
    fn key_parse(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let parts = spec.field("num_routing_parts");
        let count = match parts.map(|value| &value.kind) {
            Some(Kind::Int(count @ 1..)) => u32::try_from(*count).unwrap_or(u32::MAX),
            _ => {
                let at = parts.map_or(spec.at, |value| value.at);
                let message = "KeyParseRoute needs a whole number `num_routing_parts` from 1 on";
                self.findings.error(at, message);
                return None;
            }
        };
        let delimiter = spec.field("delimiter");
        let text = delimiter.and_then(Value::as_text);
        let mut all = text.into_iter().flat_map(|text| text.chars());
        let (Some(one), None) = (all.next(), all.next()) else {
            let at = delimiter.map_or(spec.at, |value| value.at);
            let message = "KeyParseRoute needs a `delimiter` of one character";
            self.findings.error(at, message);
            return None;
        };
        // A key has no more parts than bytes.
        let parts = Some((count.min(250), one));
        let around = std::mem::replace(&mut self.key_parts, parts);
        let target = self.target(spec, "target");
        self.key_parts = around;
        target
    }
}
