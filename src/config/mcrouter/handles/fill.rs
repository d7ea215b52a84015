//! WarmUpRoute and BigValueRoute: types that ask more than once for one request.

use super::super::super::Route;
use super::super::value::{Kind, Value};
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("WarmUpRoute", |builder, spec| {
        builder
            .warm_up(spec)
            .map(|route| vec![Handle::Route(route)])
    }),
    ("BigValueRoute", |builder, spec| {
        builder
            .big_value(spec)
            .map(|route| vec![Handle::Route(route)])
    }),
];

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: i64 = 30 * 24 * 3600;

impl Builder<'_, '_> {
    fn warm_up(&mut self, spec: &Spec<'_>) -> Option<Route> {
        let keeps = self.is_on(spec, "enable_metaget");
        let cold = self.required(spec, "cold");
        let warm = self.required(spec, "warm");
        let exptime = match spec.field("exptime").map(|value| (value, &value.kind)) {
            None => None,
            Some((_, Kind::Int(exptime @ 0..=MAX_EXPTIME))) => u32::try_from(*exptime).ok(),
            Some((value, Kind::Int(_))) => {
                return self.later(value.at, "an `exptime` that is not from 0 to 30 days");
            }
            Some((value, _)) => {
                let what = value.what();
                let message = format!("`exptime` must be a whole number, not {what}");
                self.findings.error(value.at, message);
                return None;
            }
        };
        let (cold, warm) = (cold?, warm?);
        // What is said goes before what could be found out.
        let exptime = exptime.or((!keeps?).then_some(0));
        if cold == warm {
            return self.later(
                spec.at,
                "a WarmUpRoute whose `cold` and `warm` are the same",
            );
        }
        Some(Route::WarmUp {
            cold: Box::new(cold),
            warm: Box::new(warm),
            exptime,
        })
    }

    fn big_value(&mut self, spec: &Spec<'_>) -> Option<Route> {
        let child = self.required(spec, "target");
        let threshold = self.number(spec, "split_threshold", 1 << 10..=128 << 20);
        let batch = self.number(spec, "batch_size", 0..=1000);
        let hide = self.is_on(spec, "hide_reply_flag");
        Some(Route::BigValue {
            child: Box::new(child?),
            split_threshold: threshold?,
            batch_size: batch?,
            hide_reply_flag: hide?,
        })
    }

    /// A whole number that must be there; one that only mcrouter takes is refused.
    fn number(
        &mut self,
        spec: &Spec<'_>,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<usize> {
        match spec.field(name) {
            Some(Value {
                kind: Kind::Int(number),
                at,
            }) => {
                if !range.contains(number) {
                    let (least, most) = (range.start(), range.end());
                    let what = format!("a `{name}` that is not from {least} to {most}");
                    return self.later(*at, &what);
                }
                usize::try_from(*number).ok()
            }
            other => {
                let at = other.map_or(spec.at, |value| value.at);
                let message = format!("{} needs a whole number `{name}`", spec.kind);
                self.findings.error(at, message);
                None
            }
        }
    }
}
