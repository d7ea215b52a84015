//! Types that stand around another handle, and do nothing to it.
//!
//! DistributionRoute sends on what something above it marks for other regions: `routing_options`, which are refused where they
//! would (see `top`), or SetDistributionTargetRoute, which is refused. CarbonLookasideRoute asks a router that a flavor names;
//! without that router mcrouter has the child alone.

use super::super::value::{Kind, Value};
use super::pool::truth;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    // It hands what it sees to a function that is not public.
    ("LoggingRoute", |builder, spec| {
        builder.target(spec, "target")
    }),
    ("DistributionRoute", |builder, spec| {
        let fields = ["replay", "distributed_delete_rpc_enabled", "secure_writes"];
        let is_good = builder.is_distribution(spec, &fields);
        let child = builder.child_of(spec);
        is_good.and(child)
    }),
    ("CarbonLookasideRoute", |builder, spec| {
        let is_good = builder.is_lookaside(spec);
        let child = builder.child_of(spec);
        is_good.and(child)
    }),
];

impl Builder<'_, '_> {
    /// The handle inside, written as a field or as the argument.
    pub(super) fn target(&mut self, spec: &Spec<'_>, name: &str) -> Option<Vec<Handle>> {
        let target = match &spec.arg.kind {
            Kind::Map(map) => map.get(name),
            Kind::Null => None,
            _ => Some(spec.arg),
        };
        match target {
            Some(target) => self.one(target).map(|handle| vec![handle]),
            None => {
                let message = format!("`{name}` is missing in {}", spec.kind);
                self.findings.error(spec.at, message);
                None
            }
        }
    }

    /// The `child` of a type that must be an object.
    fn child_of(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        if spec.arg.as_map().is_none() {
            let message = format!("{} must be an object", spec.kind);
            self.findings.error(spec.at, message);
            return None;
        }
        self.target(spec, "child")
    }

    /// Whether these fields are true or false, or not there.
    pub(super) fn is_distribution(&mut self, spec: &Spec<'_>, fields: &[&str]) -> Option<()> {
        let read = fields.iter().map(|name| truth(self, spec.field(name)));
        let read: Vec<_> = read.collect();
        read.into_iter().collect::<Option<Vec<_>>>().map(|_| ())
    }

    fn is_lookaside(&mut self, spec: &Spec<'_>) -> Option<()> {
        if let Some(flavor) = spec.field("flavor") {
            return self.later(flavor.at, "a CarbonLookasideRoute with a `flavor`");
        }
        let in_millis = truth(self, spec.field("ttl_unit_ms"))?;
        let range = match in_millis {
            true => 10..=999,
            false => i64::from(i32::MIN)..=i64::from(i32::MAX),
        };
        let ttl = self.whole(spec, "ttl", range, None)?;
        if in_millis && 1000 % ttl != 0 {
            let at = spec.field("ttl").map_or(spec.at, |value| value.at);
            let message = "1000 must be a multiple of a `ttl` in milliseconds";
            self.findings.error(at, message);
            return None;
        }
        self.whole(spec, "key_split_size", 1..=i64::MAX, Some(1))?;
        self.text(spec, "prefix", "")?;
        for name in ["lease_settings", "helper_config", "flavor_overrides"] {
            if let Some(value) = spec.field(name)
                && value.as_map().is_none()
            {
                let message = format!("`{name}` must be an object, not {}", Value::what(value));
                self.findings.error(value.at, message);
                return None;
            }
        }
        self.findings
            .warn(spec.at, "there is no router for what is looked up first")
            .label("the child alone, as in mcrouter");
        Some(())
    }
}
