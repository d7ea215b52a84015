//! Types that send to several children: today only what they are with a single child, which is that child.

use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("AllFastestRoute", only_child),
    ("AllInitialRoute", only_child),
    ("AllMajorityRoute", only_child),
    ("AllSyncRoute", only_child),
    ("LatestRoute", only_child),
];

fn only_child(builder: &mut Builder<'_, '_>, spec: &Spec<'_>) -> Option<Vec<Handle>> {
    let children = builder.children(spec)?;
    match children.len() {
        1 => Some(children),
        0 => builder.later(spec.at, &format!("{} without children", spec.kind)),
        _ => builder.later(spec.at, spec.kind),
    }
}
