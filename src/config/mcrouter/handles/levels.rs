//! Types with two caches: L1L2CacheRoute, L1L2SizeSplitRoute, StagingRoute and MigrateRoute.

use super::super::super::{Levels, Migrate, Route, Rule, Sizes};
use super::super::value::{Kind, Value};
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("L1L2CacheRoute", |builder, spec| {
        let rule = builder.levels(spec);
        builder.pair(spec, rule, ["l1", "l2"])
    }),
    ("L1L2SizeSplitRoute", |builder, spec| {
        let rule = builder.sizes(spec);
        builder.pair(spec, rule, ["l1", "l2"])
    }),
    ("StagingRoute", |builder, spec| {
        builder.pair(spec, Some(Rule::Staging), ["warm", "staging"])
    }),
    ("MigrateRoute", |builder, spec| {
        let rule = builder.migrate(spec);
        builder.pair(spec, rule, ["from", "to"])
    }),
];

/// memcached reads a larger exptime as a date.
const MAX_EXPTIME: i64 = 30 * 24 * 3600;

impl Builder<'_, '_> {
    /// A rule with two children that have names.
    fn pair(
        &mut self,
        spec: &Spec<'_>,
        rule: Option<Rule>,
        names: [&str; 2],
    ) -> Option<Vec<Handle>> {
        let [first, second] = names.map(|name| self.required(spec, name));
        let (rule, children) = (rule?, vec![first?, second?]);
        Some(vec![Handle::Route(Route::Many { rule, children })])
    }

    /// A whole number within a range; without a default it must be there.
    pub(super) fn whole(
        &mut self,
        spec: &Spec<'_>,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
        default: Option<i64>,
    ) -> Option<i64> {
        match (spec.field(name), default) {
            (
                Some(Value {
                    kind: Kind::Int(number),
                    at,
                }),
                _,
            ) => {
                if range.contains(number) {
                    return Some(*number);
                }
                let (least, most) = (range.start(), range.end());
                let what = format!("a `{name}` that is not from {least} to {most}");
                self.later(*at, &what)
            }
            (None, Some(default)) => Some(default),
            (other, _) => {
                let at = other.map_or(spec.at, |value| value.at);
                let message = format!("{} needs a whole number `{name}`", spec.kind);
                self.findings.error(at, message);
                None
            }
        }
    }

    /// A time to live.
    fn ttl(&mut self, spec: &Spec<'_>, name: &str, default: Option<i64>) -> Option<u32> {
        let seconds = self.whole(spec, name, 0..=MAX_EXPTIME, default)?;
        u32::try_from(seconds).ok()
    }

    fn levels(&mut self, spec: &Spec<'_>) -> Option<Rule> {
        let most = i64::from(u32::MAX);
        let exptime = self.ttl(spec, "upgradingL1Exptime", None);
        let miss_exptime = self.ttl(spec, "ncacheExptime", Some(0));
        let miss_period = self.whole(spec, "ncacheUpdatePeriod", 0..=most, Some(0));
        Some(Rule::Levels(Levels {
            exptime: exptime?,
            miss_exptime: miss_exptime?,
            miss_period: u32::try_from(miss_period?).ok()?,
        }))
    }

    fn sizes(&mut self, spec: &Spec<'_>) -> Option<Rule> {
        let threshold = self.whole(spec, "threshold", 0..=1 << 30, None);
        let ttl_threshold = self.ttl(spec, "ttl_threshold", Some(0));
        let failure_ttl = self.whole(spec, "failure_ttl", 1..=MAX_EXPTIME, Some(60));
        let both = self.is_on(spec, "both_full_set");
        let retries = self.whole(spec, "retries", 1..=10, Some(1));
        Some(Rule::Sizes(Sizes {
            threshold: usize::try_from(threshold?).ok()?,
            ttl_threshold: ttl_threshold?,
            failure_ttl: u32::try_from(failure_ttl?).ok()?,
            both: both?,
            retries: u32::try_from(retries?).ok()?,
        }))
    }

    fn migrate(&mut self, spec: &Spec<'_>) -> Option<Rule> {
        let start = self.whole(spec, "start_time", 0..=1 << 40, None);
        let interval = self.whole(spec, "interval", 1..=31_536_000, Some(3600));
        Some(Rule::Migrate(Migrate {
            start: u64::try_from(start?).ok()?,
            interval: u32::try_from(interval?).ok()?,
        }))
    }
}
