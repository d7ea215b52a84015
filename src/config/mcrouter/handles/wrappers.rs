//! Types that stand around another handle, and do nothing to it.

use super::super::value::Kind;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    // It hands what it sees to a function that is not public.
    ("LoggingRoute", |builder, spec| {
        builder.target(spec, "target")
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
}
