//! Failover, in the order of the children or by their failures.
//!
//! One that has nothing but children is the plain failover of TOML, which is faster; what says more is a
//! `selective-failover`. mcrouter tells more failures apart than memcached's protocol and a router between them can
//! show: those that never happen here are left out of lists.

use super::super::super::diagnostics::quoted;
use super::super::super::{
    Choose, Failover, FailoverOn, KeyedFailover, Limit, Route, Rule, Verdict, Verdicts,
};
use super::super::value::{Kind, Member, Members, Value};
use super::choose::one;
use super::orders::{self, Ordered};
use super::pool::truth;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("FailoverRoute", |builder, spec| {
        let children = builder.children(spec)?;
        builder.failover(spec, children, 0)
    }),
    ("FailoverWithExptimeRoute", |builder, spec| {
        builder.failover_with_exptime(spec)
    }),
    ("SaltedFailoverRoute", |builder, spec| {
        builder.salted_failover(spec)
    }),
];

/// The errors that may be listed, and what they are here, if they ever happen.
const ERRORS: &[(&str, Option<Verdict>)] = &[
    ("aborted", None),
    ("bad_cas_id", None),
    ("bad_command", None),
    ("bad_exptime", None),
    ("bad_flags", None),
    ("bad_key", Some(Verdict::BadKey)),
    ("bad_lease_id", None),
    ("bad_value", None),
    ("busy", Some(Verdict::Busy)),
    ("client_error", Some(Verdict::ClientError)),
    ("connect_error", Some(Verdict::ConnectError)),
    ("connect_timeout", Some(Verdict::ConnectError)),
    ("deadline_exceeded", None),
    ("hot_key", None),
    ("local_error", Some(Verdict::LocalError)),
    ("ooo", None),
    ("overloaded", None),
    ("permission_denied", None),
    ("remote_error", Some(Verdict::RemoteError)),
    ("shutdown", None),
    ("timeout", Some(Verdict::Timeout)),
    ("tko", Some(Verdict::Tko)),
    ("try_again", None),
];

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: i64 = 30 * 24 * 3600;

impl Builder<'_, '_> {
    fn failover(
        &mut self,
        spec: &Spec<'_>,
        children: Vec<Handle>,
        exptime: u32,
    ) -> Option<Vec<Handle>> {
        match children.len() {
            0 => return Some(one(Choose::Null)),
            1 => return Some(children),
            _ => {}
        }
        let order = match self.key_order(spec, &children)? {
            Ordered::ByKey(order) => Some(order),
            Ordered::Otherwise => None,
        };
        let rule = self.failover_rule(spec, exptime)?;
        let children = children.into_iter().map(|child| self.as_route(child));
        let children = children.collect();
        Some(vec![Handle::Route(match order {
            Some(order) => Route::Many {
                rule: Rule::KeyedFailover(KeyedFailover {
                    failover: rule,
                    order,
                }),
                children,
            },
            None if rule == Failover::DEFAULT => Route::Failover {
                children,
                on: FailoverOn::DEFAULT.to_vec(),
            },
            None => Route::Many {
                rule: Rule::Failover(rule),
                children,
            },
        })])
    }

    /// What a failover says, but for an order that follows from the key.
    pub(super) fn failover_rule(&mut self, spec: &Spec<'_>, exptime: u32) -> Option<Failover> {
        let tag = self.flag(spec, "failover_tag", Some(false));
        let tries = self.policy(spec);
        let errors = match spec.field("failover_errors") {
            None => Some([Verdicts::DEFAULT; 3]),
            Some(errors) => self.errors(errors),
        };
        let limit = match spec.field("failover_limit") {
            None => Some(None),
            Some(limit) => self.limit(limit).map(Some),
        };
        let lease_pairing = self.lease_pairing(spec);
        let [gets, updates, deletes] = errors?;
        Some(Failover {
            gets,
            updates,
            deletes,
            max_tries: tries?,
            limit: limit?,
            exptime,
            lease_pairing: lease_pairing?,
            tag: tag?,
        })
    }

    /// Whether a lease is used where it was given. mcrouter tells the routes by their names.
    fn lease_pairing(&mut self, spec: &Spec<'_>) -> Option<bool> {
        let Some(value) = spec.field("enable_lease_pairing") else {
            return Some(false);
        };
        let Kind::Bool(pairs) = value.kind else {
            let message = format!(
                "`enable_lease_pairing` must be true or false, not {}",
                value.what()
            );
            self.findings.error(value.at, message);
            return None;
        };
        if pairs && spec.field("name").is_none() {
            let message = "`enable_lease_pairing` needs a `name` for the route";
            self.findings.error(value.at, message);
            return None;
        }
        Some(pairs)
    }

    /// How many children are tried, if the policy goes by their failures; one that mcrouter does not know is that of
    /// the order.
    fn policy(&mut self, spec: &Spec<'_>) -> Option<Option<u32>> {
        let Some(policy) = spec.field("failover_policy") else {
            return Some(None);
        };
        let map = policy.as_map();
        let kind = map.and_then(|map| map.get("type"));
        let Some(kind) = kind.and_then(Value::as_text) else {
            self.findings.error(
                policy.at,
                "`failover_policy` must be an object with a `type`",
            );
            return None;
        };
        if orders::POLICIES.contains(&&**kind) {
            // Its order follows from the key.
            return Some(None);
        }
        if &**kind == "LeastFailuresPolicy" {
            let tries = map.and_then(|map| map.get("max_tries"));
            let Some(Kind::Int(tries @ 1..)) = tries.map(|tries| &tries.kind) else {
                let message = "LeastFailuresPolicy needs a whole number `max_tries` of at least 1";
                self.findings.error(policy.at, message);
                return None;
            };
            // There are fewer children than that.
            return Some(u32::try_from((*tries).min(1000)).ok());
        }
        self.findings
            .warn(
                policy.at,
                format!("unknown failover policy {}", quoted(kind)),
            )
            .label("children are tried in their order");
        Some(None)
    }

    /// The errors of gets, updates and deletions.
    fn errors(&mut self, errors: &Value) -> Option<[Verdicts; 3]> {
        match &errors.kind {
            Kind::List(_) => self.error_list(errors).map(|set| [set; 3]),
            Kind::Map(map) => {
                let mut sets = [Verdicts::DEFAULT; 3];
                for (group, set) in ["gets", "updates", "deletes"].into_iter().zip(&mut sets) {
                    if let Some(list) = map.get(group) {
                        *set = self.error_list(list)?;
                    }
                }
                Some(sets)
            }
            _ => {
                let what = errors.what();
                let message = format!("`failover_errors` must be a list or an object, not {what}");
                self.findings.error(errors.at, message);
                None
            }
        }
    }

    pub(super) fn error_list(&mut self, value: &Value) -> Option<Verdicts> {
        let Some(list) = value.as_list() else {
            let what = value.what();
            self.findings
                .error(value.at, format!("errors must be a list, not {what}"));
            return None;
        };
        let mut set = Verdicts::NONE;
        let mut connects = [false; 2];
        for item in list.items() {
            let name = item.as_text().map_or("", |name| &**name);
            let Some((_, verdict)) = ERRORS.iter().find(|(known, _)| *known == name) else {
                let message = format!("failover error {} is no error", quoted(name));
                self.findings.error(item.at, message);
                return None;
            };
            for (seen, kind) in connects
                .iter_mut()
                .zip(["connect_error", "connect_timeout"])
            {
                *seen |= kind == name;
            }
            set = verdict.map_or(set, |verdict| set.with(verdict));
        }
        if connects == [true, false] || connects == [false, true] {
            let what = "`failover_errors` with only one of connect_error and connect_timeout";
            return self.later(value.at, what);
        }
        Some(set)
    }

    fn limit(&mut self, value: &Value) -> Option<Limit> {
        let map = value.as_map();
        let rate = match map.and_then(|map| map.get("rate")).map(|rate| &rate.kind) {
            Some(Kind::Double(rate)) => *rate,
            Some(Kind::Int(rate)) => *rate as f64,
            _ => {
                let message = "`failover_limit` must be an object with a number `rate`";
                self.findings.error(value.at, message);
                return None;
            }
        };
        let burst = match map
            .and_then(|map| map.get("burst"))
            .map(|burst| &burst.kind)
        {
            None => 1000.0,
            Some(Kind::Double(burst)) => *burst,
            Some(Kind::Int(burst)) => *burst as f64,
            Some(_) => {
                self.findings
                    .error(value.at, "`burst` of `failover_limit` must be a number");
                return None;
            }
        };
        Some(Limit {
            per_million: (rate.clamp(0.0, 1.0) * 1e6).round() as u32,
            burst: burst.clamp(1.0, 1e9) as u32,
        })
    }

    fn failover_with_exptime(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let exptime = match spec.field("failover_exptime").map(|value| &value.kind) {
            None => 60,
            Some(Kind::Int(exptime @ ..=MAX_EXPTIME)) => (*exptime).max(0),
            Some(Kind::Int(_)) => {
                return self.later(spec.at, "a `failover_exptime` of more than 30 days");
            }
            Some(_) => {
                self.findings
                    .error(spec.at, "`failover_exptime` must be a whole number");
                return None;
            }
        };
        let normal = self.required(spec, "normal")?;
        let mut children = vec![Handle::Route(normal)];
        if let Some(failover) = spec.field("failover") {
            children.extend(self.list(failover)?);
        }
        self.failover(spec, children, u32::try_from(exptime).ok()?)
    }

    /// The key's server first, then all servers of the pool.
    fn salted_failover(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let Some(pool) = spec.field("pool") else {
            self.findings
                .error(spec.at, "`pool` is missing in SaltedFailoverRoute");
            return None;
        };
        let mut members = Members::new();
        for name in ["pool", "hash", "shadows", "shadow_policy"] {
            if let Some(value) = spec.field(name) {
                let (key_at, value) = (value.at, value.clone());
                members.insert(name.into(), Member { key_at, value });
            }
        }
        let arg = &Value::map(spec.at, members).ok()?;
        let (kind, at) = ("PoolRoute", spec.at);
        let normal = self.pool_route(&Spec { kind, at, arg })?;
        let mut children = vec![Handle::Route(normal)];
        let kind = "Pool";
        let arg = pool;
        children.extend(self.make(&Spec { kind, at, arg })?);
        self.failover(spec, children, 0)
    }

    /// Whether an option is on.
    pub(super) fn is_on(&mut self, spec: &Spec<'_>, name: &str) -> Option<bool> {
        truth(self, spec.field(name))
    }
}
