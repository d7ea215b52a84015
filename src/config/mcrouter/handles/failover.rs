//! Failover in the order of the children.
//!
//! Which errors lead to the next child is the same list for all requests in TOML, while mcrouter's `failover_errors`
//! leaves out increments and touches; so only the default list can be taken over.

use super::super::super::diagnostics::quoted;
use super::super::super::{FailoverOn, Route};
use super::super::value::{Kind, Member, Members, Value};
use super::pool::truth;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("FailoverRoute", |builder, spec| {
        let children = builder.children(spec)?;
        builder.failover(spec, children)
    }),
    ("FailoverWithExptimeRoute", |builder, spec| {
        builder.failover_with_exptime(spec)
    }),
    ("SaltedFailoverRoute", |builder, spec| {
        builder.salted_failover(spec)
    }),
];

/// What fails over unless a route says otherwise.
const DEFAULT_ERRORS: &[&str] = &[
    "busy",
    "connect_error",
    "connect_timeout",
    "deadline_exceeded",
    "local_error",
    "remote_error",
    "shutdown",
    "timeout",
    "tko",
    "try_again",
];

/// Errors that may be listed, too.
const OTHER_ERRORS: &[&str] = &[
    "aborted",
    "bad_cas_id",
    "bad_command",
    "bad_exptime",
    "bad_flags",
    "bad_key",
    "bad_lease_id",
    "bad_value",
    "client_error",
    "hot_key",
    "ooo",
    "overloaded",
    "permission_denied",
];

/// Policies that are not the order of the children.
const POLICIES: &[&str] = &[
    "LeastFailuresPolicy",
    "DeterministicOrderPolicy",
    "RendezvousPolicy",
];

impl Builder<'_, '_> {
    fn failover(&mut self, spec: &Spec<'_>, children: Vec<Handle>) -> Option<Vec<Handle>> {
        match children.len() {
            0 => return self.later(spec.at, &format!("{} without children", spec.kind)),
            1 => return Some(children),
            _ => {}
        }
        let fields = self.later_fields(
            spec,
            &["failover_limit", "failover_tag", "enable_lease_pairing"],
        );
        let policy = self.in_order(spec);
        let errors = match spec.field("failover_errors") {
            None => Some(()),
            Some(errors) => self.default_errors(errors),
        };
        fields.and(policy).and(errors)?;
        let children = children.into_iter().map(|child| self.as_route(child));
        Some(vec![Handle::Route(Route::Failover {
            children: children.collect(),
            on: FailoverOn::DEFAULT.to_vec(),
        })])
    }

    /// Whether the policy is that of the order; one that mcrouter does not know is.
    fn in_order(&mut self, spec: &Spec<'_>) -> Option<()> {
        let Some(policy) = spec.field("failover_policy") else {
            return Some(());
        };
        let kind = policy.as_map().and_then(|map| map.get("type"));
        let Some(kind) = kind.and_then(Value::as_text) else {
            self.findings.error(
                policy.at,
                "`failover_policy` must be an object with a `type`",
            );
            return None;
        };
        if POLICIES.contains(&&**kind) {
            return self.later(policy.at, &format!("the failover policy {kind}"));
        }
        self.findings
            .warn(
                policy.at,
                format!("unknown failover policy {}", quoted(kind)),
            )
            .label("children are tried in their order");
        Some(())
    }

    /// Whether these are the errors of the default.
    fn default_errors(&mut self, errors: &Value) -> Option<()> {
        let groups: Vec<&Value> = match &errors.kind {
            Kind::List(_) => vec![errors],
            Kind::Map(map) => ["gets", "updates", "deletes"]
                .into_iter()
                .filter_map(|group| map.get(group))
                .collect(),
            _ => {
                let what = errors.what();
                let message = format!("`failover_errors` must be a list or an object, not {what}");
                self.findings.error(errors.at, message);
                return None;
            }
        };
        for group in groups {
            let Some(list) = group.as_list() else {
                let what = group.what();
                self.findings
                    .error(group.at, format!("errors must be a list, not {what}"));
                return None;
            };
            let mut given = Vec::new();
            for item in list.items() {
                let name = item.as_text().map_or("", |name| &**name);
                if !DEFAULT_ERRORS.contains(&name) && !OTHER_ERRORS.contains(&name) {
                    let message = format!("failover error {} is no error", quoted(name));
                    self.findings.error(item.at, message);
                    return None;
                }
                given.push(name);
            }
            given.sort_unstable();
            given.dedup();
            if given != DEFAULT_ERRORS {
                return self.later(group.at, "`failover_errors` other than the default ones");
            }
        }
        Some(())
    }

    fn failover_with_exptime(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let shortens = match spec.field("failover_exptime").map(|value| &value.kind) {
            Some(Kind::Int(exptime)) => *exptime > 0,
            None => true,
            Some(_) => {
                self.findings
                    .error(spec.at, "`failover_exptime` must be a whole number");
                return None;
            }
        };
        if shortens {
            return self.later(spec.at, "FailoverWithExptimeRoute");
        }
        let normal = self.required(spec, "normal")?;
        let mut children = vec![Handle::Route(normal)];
        if let Some(failover) = spec.field("failover") {
            children.extend(self.list(failover)?);
        }
        self.failover(spec, children)
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
        self.failover(spec, children)
    }

    /// Whether an option is on.
    pub(super) fn is_on(&mut self, spec: &Spec<'_>, name: &str) -> Option<bool> {
        truth(self, spec.field(name))
    }
}
