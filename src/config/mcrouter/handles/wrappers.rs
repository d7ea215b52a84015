//! Types that stand around another handle, in the forms in which they do nothing to it.

use super::super::value::{Kind, Value};
use super::{Builder, Handle, Spec, Type, is_off};

pub(super) const TYPES: &[Type] = &[
    // It hands what it sees to a function that is not public.
    ("LoggingRoute", |builder, spec| {
        builder.target(spec, "target")
    }),
    ("OperationSelectorRoute", |builder, spec| {
        builder.selector(spec, "operation_policies")
    }),
    // An old name of it.
    ("PrefixPolicyRoute", |builder, spec| {
        builder.selector(spec, "operation_policies")
    }),
    ("RoutingGroupRoute", |builder, spec| {
        builder.selector(spec, "routing_group_policies")
    }),
    ("LatencyInjectionRoute", |builder, spec| {
        const LATENCIES: &[&str] = &[
            "before_latency_ms",
            "after_latency_ms",
            "total_latency_ms",
            "total_latency_percentile_ms",
            "request_payload_latency",
            "max_request_latency_us",
        ];
        builder.later_fields(spec, LATENCIES)?;
        builder.target(spec, "child")
    }),
    ("ModifyExptimeRoute", |builder, spec| {
        let is_min = spec.field("action").and_then(Value::as_text);
        let is_min = is_min.is_some_and(|action| &**action == "min");
        let is_zero = spec
            .field("exptime")
            .is_some_and(|value| matches!(value.kind, Kind::Int(0)));
        if !(is_min && is_zero) {
            return builder.later(spec.at, "ModifyExptimeRoute");
        }
        builder.target(spec, "target")
    }),
    ("ShadowRoute", |builder, spec| {
        builder.later_fields(spec, &["shadows"])?;
        builder.children(spec)
    }),
];

impl Builder<'_, '_> {
    /// The handle inside, written as a field or as the argument.
    fn target(&mut self, spec: &Spec<'_>, name: &str) -> Option<Vec<Handle>> {
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

    /// A choice by the kind of request; without any choice it is the default.
    fn selector(&mut self, spec: &Spec<'_>, policies: &str) -> Option<Vec<Handle>> {
        if let Some(policies) = spec.field(policies)
            && !is_off(policies)
        {
            return self.later(spec.at, spec.kind);
        }
        self.target(spec, "default_policy")
    }
}
