//! Shadows: of a ShadowRoute's children and of a PoolRoute.
//!
//! A shadow is for the children in its `index_range`. A ShadowRoute's children are known one by one; a PoolRoute's are
//! its servers; unless all of them have the same shadows, each becomes a route of its own. As in mcrouter, a shadow that makes no sense is left out, with
//! a warning.

use super::super::super::vars::Variable;
use super::super::super::{Route, Rule, Shadow};
use super::super::value::{Kind, Map, Value};
use super::{Builder, Handle, Spec, Type, is_off};

pub(super) const TYPES: &[Type] = &[("ShadowRoute", |builder, spec| {
    let children = builder.children(spec)?;
    let shadows = builder.shadows(spec)?;
    let shadows = builder.targets(shadows)?;
    let children = children.into_iter().enumerate().map(|(index, child)| {
        let mut of_this = shadows.iter().filter(|one| one.covers(index)).peekable();
        if of_this.peek().is_none() {
            return child;
        }
        Handle::Route(of_this.fold(builder.as_route(child), Known::around))
    });
    Some(children.collect())
})];

/// A shadow that makes sense.
pub(super) struct Known<T> {
    rule: Shadow,
    /// Children from the first on and before the last.
    range: (i64, i64),
    target: T,
}

impl<T> Known<T> {
    pub(super) fn covers(&self, index: usize) -> bool {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        (self.range.0..self.range.1).contains(&index)
    }

    /// Whether it is for all children alike, of so many.
    pub(super) fn is_for_all(&self, children: usize) -> bool {
        (1..children).all(|index| self.covers(index) == self.covers(0))
    }
}

impl Known<Route> {
    pub(super) fn around(child: Route, shadow: &Known<Route>) -> Route {
        Route::Many {
            rule: Rule::Shadow(shadow.rule.clone()),
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
    /// The shadows of a handle; `None`: there was an error.
    pub(super) fn shadows(&mut self, spec: &Spec<'_>) -> Option<Vec<Known<Value>>> {
        let Some(shadows) = spec.field("shadows").filter(|shadows| !is_off(shadows)) else {
            return Some(Vec::new());
        };
        let Some(list) = shadows.as_list() else {
            let what = shadows.what();
            let message = format!("`shadows` must be a list, not {what}");
            self.findings.error(shadows.at, message);
            return None;
        };
        let mut known = Vec::new();
        for value in list.items() {
            match range_of(value) {
                Ok((rule, range)) => {
                    let target = value.as_map().and_then(|map| map.get("target"))?;
                    let target = target.clone();
                    known.push(Known {
                        rule,
                        range,
                        target,
                    });
                }
                Err(why) => {
                    self.findings.warn(value.at, why).label("left out");
                }
            }
        }
        Some(known)
    }

    /// With their targets built.
    pub(super) fn targets(&mut self, known: Vec<Known<Value>>) -> Option<Vec<Known<Route>>> {
        let built = known.into_iter().map(|one| {
            Some(Known {
                rule: one.rule,
                range: one.range,
                target: self.route(&one.target)?,
            })
        });
        let built: Vec<Option<Known<Route>>> = built.collect();
        built.into_iter().collect()
    }
}

/// Which requests a shadow is for, and of which children.
fn range_of(value: &Value) -> Result<(Shadow, (i64, i64)), &'static str> {
    let map = value.as_map().ok_or("a shadow must be an object")?;
    if map.get("target").is_none() {
        return Err("a shadow without a `target`");
    }
    if let Some(keys) = map.get("keys_to_shadow").filter(|keys| !is_off(keys)) {
        let keys = keys.as_list().ok_or("`keys_to_shadow` must be a list")?;
        let others = ["index_range", "key_fraction_range", "key_fraction_range_rv"];
        if others.iter().any(|name| map.get(name).is_some()) {
            return Err("a shadow with both `keys_to_shadow` and a range");
        }
        let keys: Option<Vec<String>> = keys
            .items()
            .iter()
            .map(|key| key.as_text().map(|key| key.to_string()))
            .collect();
        let rule = Shadow {
            keys: keys.ok_or("a key of `keys_to_shadow` must be a text")?,
            per_million: sample(map)?,
            ..Shadow::ALL
        };
        return Ok((rule, (0, i64::MAX)));
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
    let per_million = sample(map)?;
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
        keys: Vec::new(),
    };
    Ok((rule, range))
}

/// Which part of the requests it is for.
fn sample(map: &Map) -> Result<u32, &'static str> {
    match map.get("requests_fraction").map(|value| &value.kind) {
        None => Ok(1_000_000),
        Some(Kind::Double(part)) if (0.0..=1.0).contains(part) => Ok((part * 1e6).round() as u32),
        Some(_) => Err("`requests_fraction` must be a number with a point, from 0.0 to 1.0"),
    }
}
