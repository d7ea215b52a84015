//! Types that stand around one handle, or choose one by what is no key: OutstandingLimitRoute, LatencyInjectionRoute,
//! BlackholeRoute, OriginalClientHashRoute; and `max_outstanding` and `slow_warmup` of a PoolRoute, which stand
//! around each of its servers.

use super::super::super::{
    Choose, Condition, ErrorResult, Field, Latency, Millionths, Route, Rule, Scalar, SlowWarmUp,
};
use super::super::value::{Kind, Map, Value};
use super::choose::one;
use super::{Builder, Handle, Spec, Type};

pub(super) const TYPES: &[Type] = &[
    ("OutstandingLimitRoute", |builder, spec| {
        let limit = builder.whole(spec, "max_outstanding", 0..=1_000_000, None);
        let target = builder.target(spec, "target")?;
        match u32::try_from(limit?).ok()? {
            0 => Some(target),
            limit => Some(builder.around(Rule::Outstanding(limit), target)),
        }
    }),
    ("LatencyInjectionRoute", |builder, spec| {
        builder.latency(spec)
    }),
    ("BlackholeRoute", |builder, spec| builder.blackhole(spec)),
    ("OriginalClientHashRoute", |builder, spec| {
        builder.client_hash(spec)
    }),
];

/// The longest latency, in milliseconds.
const MAX_LATENCY: i64 = 3_600_000;

impl Builder<'_, '_> {
    fn around(&mut self, rule: Rule, target: Vec<Handle>) -> Vec<Handle> {
        let children = target.into_iter().map(|child| self.as_route(child));
        let children = children.collect();
        vec![Handle::Route(Route::Many { rule, children })]
    }

    fn latency(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let Some(map) = spec.arg.as_map() else {
            let message = "LatencyInjectionRoute must be an object";
            self.findings.error(spec.at, message);
            return None;
        };
        let percentiles = self.percentiles(spec);
        let mut millis = |name| self.whole(spec, name, 0..=MAX_LATENCY, Some(0));
        let [before, after, total] = [
            millis("before_latency_ms"),
            millis("after_latency_ms"),
            millis("total_latency_ms"),
        ];
        if self.is_on(spec, "request_payload_latency")? {
            let at = map
                .get("request_payload_latency")
                .map_or(spec.at, |value| value.at);
            self.findings
                .warn(
                    at,
                    "no request of memcached's protocol says how late it is to be",
                )
                .label("has no effect");
        }
        let child = self.target(spec, "child")?;
        let rule = Latency {
            before: u32::try_from(before?).ok()?,
            after: u32::try_from(after?).ok()?,
            total: u32::try_from(total?).ok()?,
            percentiles: percentiles?,
        };
        match rule == Latency::NONE {
            true => Some(child),
            false => Some(self.around(Rule::Latency(rule), child)),
        }
    }

    /// `None` after an error.
    fn percentiles(&mut self, spec: &Spec<'_>) -> Option<Vec<(Millionths, u32)>> {
        let Some(value) = spec.field("total_latency_percentile_ms") else {
            return Some(Vec::new());
        };
        let pair = |pair: &Value| {
            let [at, total] = pair.as_list()?.items() else {
                return None;
            };
            let total = total.as_number().filter(|total| total.fract() == 0.0)?;
            let fits = (0.0..=MAX_LATENCY as f64).contains(&total);
            let at = at.as_number().and_then(Millionths::of)?;
            fits.then_some((at, total as u32))
        };
        let pairs = value
            .as_list()
            .and_then(|list| list.items().iter().map(pair).collect());
        let pairs = pairs.filter(|all: &Vec<_>| Latency::are_percentiles(all));
        if pairs.is_none() {
            self.findings
                .error(
                    value.at,
                    "`total_latency_percentile_ms` is a list of pairs [PERCENTILE, MILLISECONDS]",
                )
                .label("the percentiles from 0 to 100, each above the one before");
        }
        pairs
    }

    fn blackhole(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let child = self.required(spec, "default");
        let hole = match spec.field("blackhole_child") {
            Some(value) => self.route(value),
            None => Some(Route::Choose(Choose::Null)),
        };
        let policies = spec.field("policies");
        let Some(policies) = policies.and_then(Value::as_map) else {
            let at = policies.map_or(spec.at, |value| value.at);
            self.findings
                .error(at, "BlackholeRoute needs an object `policies`");
            return None;
        };
        let mut conditions = Vec::new();
        let mut is_good = true;
        for (name, member) in policies.in_order() {
            let Some(tests) = member.value.as_list() else {
                let what = member.value.what();
                self.findings.error(
                    member.value.at,
                    format!("the policies of a field must be a list, not {what}"),
                );
                is_good = false;
                continue;
            };
            let known = Field::ALL.iter().find(|(_, other, _)| *other == &**name);
            let Some((.., field)) = known else {
                self.findings
                    .warn(member.key_at, "no request here has such a field")
                    .label("does not count, as in mcrouter");
                continue;
            };
            let mut condition = Condition {
                field: *field,
                equals: Vec::new(),
                differs: Vec::new(),
            };
            for test in tests.items() {
                if !add_test(&mut condition, test.as_map().map(|map| &**map)) {
                    self.findings
                        .warn(test.at, "no request ever fits this")
                        .label("does not count, as in mcrouter");
                }
            }
            conditions.push(condition);
        }
        let children = vec![child?, hole?];
        let rule = Rule::Blackhole(conditions);
        is_good.then(|| vec![Handle::Route(Route::Many { rule, children })])
    }

    fn client_hash(&mut self, spec: &Spec<'_>) -> Option<Vec<Handle>> {
        let children = spec.field("children");
        if children.is_none_or(|children| children.as_list().is_none()) {
            let at = children.map_or(spec.at, |value| value.at);
            let message = "OriginalClientHashRoute needs a list `children`";
            self.findings.error(at, message);
            return None;
        }
        let offset = self.whole(spec, "offset", 0..=u32::MAX.into(), Some(0));
        let children = self.children(spec)?;
        let rule = Rule::Client(u32::try_from(offset?).ok()?);
        if children.is_empty() {
            let message = "OriginalClientHashRoute needs at least one child";
            self.findings.error(spec.at, message);
            return None;
        }
        if !self.settings.retains_addresses {
            self.findings
                .warn(spec.at, "this needs --retain-source-ip")
                .label("without it every request is answered with an error");
            // The children are pools of the configuration all the same.
            return Some(one(Choose::Error {
                message: "Missing IP".to_owned(),
                result: ErrorResult::DEFAULT,
                shown: false,
            }));
        }
        Some(self.around(rule, children))
    }

    /// What stands around each server of a PoolRoute, the innermost first.
    pub(super) fn around_servers(&mut self, spec: &Spec<'_>) -> Option<Vec<(Rule, Option<Route>)>> {
        let mut all = Vec::new();
        let limit = self.whole(spec, "max_outstanding", 0..=1_000_000, Some(0))?;
        if let Ok(limit @ 1..) = u32::try_from(limit) {
            all.push((Rule::Outstanding(limit), None));
        }
        let Some(slow) = spec.field("slow_warmup") else {
            return Some(all);
        };
        let map = slow.as_map();
        let Some(target) = map.and_then(|map| map.get("failoverTarget")) else {
            let message = "`slow_warmup` must be an object with a `failoverTarget`";
            self.findings.error(slow.at, message);
            return None;
        };
        let target = self.route(target);
        let rule = match map.and_then(|map| map.get("settings")) {
            None => SlowWarmUp::DEFAULT,
            Some(settings) => self.slow_settings(settings)?,
        };
        all.push((Rule::SlowWarmUp(rule), Some(target?)));
        Some(all)
    }

    fn slow_settings(&mut self, value: &Value) -> Option<SlowWarmUp> {
        let Some(map) = value.as_map() else {
            let message = format!("`settings` must be an object, not {}", value.what());
            self.findings.error(value.at, message);
            return None;
        };
        let mut rule = SlowWarmUp::DEFAULT;
        for (name, share, must, range) in [
            ("enable_threshold", &mut rule.enable, true, 0..=1_000_000),
            ("disable_threshold", &mut rule.disable, true, 0..=1_000_000),
            ("start", &mut rule.start, false, 1..=999_999),
            ("step", &mut rule.step, false, 1..=99_999_999),
        ] {
            let given = map.get(name);
            if given.is_none() && !must {
                continue;
            }
            let read = given.and_then(Value::as_number).and_then(Millionths::of);
            let Some(read) = read.filter(|read| range.contains(&read.0)) else {
                let at = given.map_or(value.at, |given| given.at);
                let [least, most] = [range.start(), range.end()].map(|end| Millionths(*end));
                self.findings
                    .error(at, format!("`{name}` must be a number"))
                    .label(format!("from {least} to {most}"));
                return None;
            };
            *share = read;
        }
        if rule.enable >= rule.disable {
            let message = "`enable_threshold` must be under `disable_threshold`";
            self.findings.error(value.at, message);
            return None;
        }
        match map.get("min_requests").map(|value| &value.kind) {
            None => {}
            Some(Kind::Int(count)) if u32::try_from(*count).is_ok() => {
                rule.min_requests = u32::try_from(*count).ok()?;
            }
            Some(_) => {
                let message = "`min_requests` must be a whole number";
                self.findings.error(value.at, message);
                return None;
            }
        }
        Some(rule)
    }
}

/// Adds a comparison; false if it never holds.
fn add_test(condition: &mut Condition, test: Option<&Map>) -> bool {
    let field = |name| test.and_then(|test| test.get(name));
    let differs = match field("op").and_then(Value::as_text).map(|op| &**op) {
        Some("equals") => false,
        Some("not_equals") => true,
        _ => return false,
    };
    let is_text = condition.field == Field::Key;
    let scalar = match field("value").map(|value| &value.kind) {
        Some(Kind::Text(text)) if is_text => Scalar::Text(text.to_string()),
        Some(Kind::Int(number)) if !is_text => Scalar::Number(*number),
        // A number is true unless it is 0.
        Some(Kind::Bool(truth)) if !is_text => {
            let list = match *truth == differs {
                true => &mut condition.equals,
                false => &mut condition.differs,
            };
            list.push(Scalar::Number(0));
            return true;
        }
        Some(Kind::Double(number)) if !is_text => {
            if number.fract() != 0.0 {
                // No whole number equals it.
                if differs {
                    condition.equals.push(Scalar::Number(0));
                    condition.differs.push(Scalar::Number(0));
                }
                return differs;
            }
            Scalar::Number(*number as i64)
        }
        _ => return false,
    };
    match differs {
        true => condition.differs.push(scalar),
        false => condition.equals.push(scalar),
    }
    true
}
