//! Shadows: of a ShadowRoute's children and of a PoolRoute.
//!
//! A shadow is for the children in its `index_range`. A ShadowRoute's children are known one by one; a PoolRoute's are
//! its servers, all of which or none a shadow must be for. As in mcrouter, a shadow that makes no sense is left out, with
//! a warning.

use super::super::super::vars::Variable;
use super::super::super::{Route, Rule, Shadow};
use super::super::value::{Kind, Value};
use super::{Builder, Handle, Spec, Type, is_off};

pub(super) const TYPES: &[Type] = &[("ShadowRoute", |builder, spec| {
    let children = builder.children(spec)?;
    let Some(shadows) = builder.shadows(spec)? else {
        return Some(children);
    };
    let children = children.into_iter().enumerate().map(|(index, child)| {
        let route = builder.as_route(child);
        let of_this = shadows.iter().filter(|one| one.covers(index));
        Handle::Route(of_this.fold(route, Known::around))
    });
    Some(children.collect())
})];

/// A shadow that makes sense.
struct Known<'v> {
    rule: Shadow,
    /// Children from the first on and before the last.
    range: (i64, i64),
    target: Route,
    value: &'v Value,
}

impl Known<'_> {
    fn covers(&self, index: usize) -> bool {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        (self.range.0..self.range.1).contains(&index)
    }

    fn around(child: Route, shadow: &Known<'_>) -> Route {
        Route::Many {
            rule: Rule::Shadow(shadow.rule),
            children: vec![child, shadow.target.clone()],
        }
    }
}

/// A number of the scale from 0 to 1.
fn fraction(value: &Value) -> Option<f64> {
    match value.kind {
        Kind::Double(number) => Some(number),
        Kind::Int(number) => Some(number as f64),
        _ => None,
    }
}

fn pair(value: &Value) -> Option<[&Value; 2]> {
    match value.as_list()?.items() {
        [first, last] => Some([first, last]),
        _ => None,
    }
}

impl Builder<'_, '_> {
    /// A PoolRoute with its shadows around it.
    pub(super) fn shadowed(
        &mut self,
        spec: &Spec<'_>,
        route: Route,
        servers: usize,
    ) -> Option<Route> {
        let Some(shadows) = self.shadows(spec)? else {
            return Some(route);
        };
        let mut route = route;
        for shadow in &shadows {
            let covered = (0..servers).filter(|index| shadow.covers(*index)).count();
            if covered != 0 && covered != servers {
                let what = "a shadow of some of a pool's servers";
                return self.later(shadow.value.at, what);
            }
            if covered > 0 {
                route = Known::around(route, shadow);
            }
        }
        Some(route)
    }

    /// The shadows of a handle; `Some(None)`: it has none, `None`: there was an error.
    fn shadows<'v>(&mut self, spec: &Spec<'v>) -> Option<Option<Vec<Known<'v>>>> {
        let Some(shadows) = spec.field("shadows").filter(|shadows| !is_off(shadows)) else {
            return Some(None);
        };
        let Some(list) = shadows.as_list() else {
            let what = shadows.what();
            let message = format!("`shadows` must be a list, not {what}");
            self.findings.error(shadows.at, message);
            return None;
        };
        let mut known = Vec::new();
        for value in list.items() {
            let field = value.as_map().and_then(|map| map.get("keys_to_shadow"));
            if let Some(field) = field
                && !is_off(field)
            {
                return self.later(field.at, "`keys_to_shadow` of a shadow");
            }
            match range_of(value) {
                Ok((rule, range)) => {
                    let target = value.as_map().and_then(|map| map.get("target"))?;
                    let target = self.route(target)?;
                    known.push(Known {
                        rule,
                        range,
                        target,
                        value,
                    });
                }
                Err(why) => {
                    self.findings.warn(value.at, why).label("left out");
                }
            }
        }
        Some(Some(known))
    }
}

/// Which requests a shadow is for, and of which children.
fn range_of(value: &Value) -> Result<(Shadow, (i64, i64)), &'static str> {
    let map = value.as_map().ok_or("a shadow must be an object")?;
    if map.get("target").is_none() {
        return Err("a shadow without a `target`");
    }
    let mut range = (0, 0);
    if let Some(given) = map.get("index_range") {
        let ends = pair(given).map(|[first, last]| (&first.kind, &last.kind));
        let Some((Kind::Int(first), Kind::Int(last))) = ends else {
            return Err("`index_range` must be two whole numbers");
        };
        if *first < 0 || first > last {
            return Err("`index_range` must be two whole numbers in their order");
        }
        range = (*first, *last);
    }
    let mut ends = [0.0, 0.0];
    if let Some(given) = map.get("key_fraction_range") {
        let numbers = pair(given).map(|pair| pair.map(fraction));
        let Some([Some(first), Some(last)]) = numbers else {
            return Err("`key_fraction_range` must be two numbers");
        };
        if !(0.0 <= first && first <= last && last <= 1.0) {
            return Err("`key_fraction_range` must be two numbers from 0 to 1 in their order");
        }
        ends = [first, last];
    }
    let per_million = match map.get("requests_fraction").map(|value| &value.kind) {
        None => 1_000_000,
        Some(Kind::Double(part)) if (0.0..=1.0).contains(part) => (part * 1e6).round() as u32,
        Some(_) => {
            return Err("`requests_fraction` must be a number with a point, from 0.0 to 1.0");
        }
    };
    let variable = match map.get("key_fraction_range_rv").map(Value::as_text) {
        None => None,
        Some(Some(name)) if !name.is_empty() => {
            Some(Variable::named(name).ok_or("there are too many runtime variables")?)
        }
        Some(_) => return Err("`key_fraction_range_rv` must be the name of a variable"),
    };
    let [first_hash, last_hash] = ends.map(|end| (end * f64::from(u32::MAX)) as u32);
    let rule = Shadow {
        first_hash,
        last_hash,
        per_million,
        variable,
    };
    Ok((rule, range))
}
