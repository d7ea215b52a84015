//! Types that send to several children.
//!
//! Without children each is a NullRoute, with a single child that child, but for AllAsyncRoute.

use super::super::super::{Choose, Route, Rule};
use super::choose::one;
use super::pool::truth;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("AllAsyncRoute", |builder, spec| {
        builder.many(spec, Rule::AllAsync)
    }),
    ("AllFastestRoute", |builder, spec| {
        builder.many(spec, Rule::AllFastest)
    }),
    ("AllInitialRoute", |builder, spec| {
        builder.many(spec, Rule::AllInitial)
    }),
    ("AllMajorityRoute", |builder, spec| {
        builder.many(spec, Rule::AllMajority)
    }),
    ("AllSyncRoute", |builder, spec| {
        builder.many(spec, Rule::AllSync)
    }),
    ("MissFailoverRoute", |builder, spec| {
        let best = truth(builder, spec.field("return_best_on_error"))?;
        builder.many(spec, Rule::MissFailover { best })
    }),
];

impl Builder<'_, '_> {
    fn many(&mut self, spec: &Spec<'_>, rule: Rule) -> Option<Vec<Handle>> {
        let children = self.children(spec)?;
        match children.len() {
            0 => return Some(one(Choose::Null)),
            1 if rule != Rule::AllAsync => return Some(children),
            _ => {}
        }
        let children = children.into_iter().map(|child| self.as_route(child));
        let children = children.collect();
        Some(vec![Handle::Route(Route::Many { rule, children })])
    }
}
