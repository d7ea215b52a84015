//! Variables that can be changed while routes are in use.
//!
//! A file holds a JSON object, as mcrouter's runtime variables: `"NAME": [FROM, TO]` is a range of the keys, in which a
//! shadow copies them; `"key_fractions": {"NAME": TO}` is the range from 0 for `key_fraction_range_NAME`, and goes before
//! the other form while it is there. `"hash_route_weights": {"NAME": [WEIGHT, …]}` are the weights of a `weighted_ch3`
//! that has a variable; they are kept where the placement is (`hash::live`).
//!
//! A route holds a [`Variable`], which is a number; what it stands for is in one table of the process, where looking it
//! up is one load without a lock. Names are never given back: there are as many as configurations have ever named.
//! [`Reader`] looks at the file. One that can't be read or makes no sense changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::watch;
use crate::hash::live;

/// Names that there may be.
pub const MAX: usize = 256;

/// What mcrouter's `key_fractions` leave out of a name.
const PREFIX: &str = "key_fraction_range_";

/// Where mcrouter has the weights.
const WEIGHTS: &str = "hash_route_weights";

/// It has no value.
const UNSET: u64 = 0xffff_ffff_0000_0000;

/// Ranges of hashes: the first in the upper half, the last in the lower. A range that no hash is in stands for no value.
static RANGES: [AtomicU64; MAX] = [const { AtomicU64::new(UNSET) }; MAX];

static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A variable of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variable(u16);

impl Variable {
    /// The one of this name; `None` if there are too many.
    #[must_use]
    pub fn named(name: &str) -> Option<Variable> {
        let mut names = names();
        if let Some(known) = names.iter().position(|known| known == name) {
            return Some(Variable(known as u16));
        }
        if names.len() >= MAX {
            return None;
        }
        names.push(name.to_owned());
        Some(Variable(names.len() as u16 - 1))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        names().get(self.0 as usize).cloned().unwrap_or_default()
    }

    /// The first and the last hash of its range, if it has a value.
    #[must_use]
    pub fn range(self) -> Option<(u32, u32)> {
        let range = RANGES.get(self.0 as usize)?.load(Ordering::Relaxed);
        (range != UNSET).then_some(((range >> 32) as u32, range as u32))
    }
}

fn names() -> MutexGuard<'static, Vec<String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hashes of a range of fractions, both ends included.
#[must_use]
pub fn hashes(from: f64, to: f64) -> Option<(u32, u32)> {
    let good = (0.0..=1.0).contains(&from) && (from..=1.0).contains(&to);
    let hash = |fraction: f64| (fraction * f64::from(u32::MAX)) as u32;
    good.then(|| (hash(from), hash(to)))
}

/// What a file says.
#[derive(Default)]
struct Values {
    ranges: BTreeMap<String, (u32, u32)>,
    weights: live::Values,
}

/// What a text of variables says.
fn parse(text: &[u8]) -> Result<Values, String> {
    let json: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let all = json.as_object().ok_or("it is no object")?;
    let weights = match all.get(WEIGHTS) {
        Some(lists) => parse_weights(lists)?,
        None => live::Values::new(),
    };
    let mut found = BTreeMap::new();
    for (name, value) in all {
        let Some(list) = value.as_array() else {
            continue;
        };
        let ends: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        if let (2, [from, to]) = (list.len(), ends.as_slice()) {
            let range = hashes(*from, *to);
            let range = range.ok_or_else(|| format!("`{name}` is no range within 0 and 1"))?;
            found.insert(name.clone(), range);
        }
    }
    for (name, to) in all
        .get("key_fractions")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let range = to.as_f64().and_then(|to| hashes(0.0, to));
        let range = range.ok_or_else(|| format!("`key_fractions.{name}` is not within 0 and 1"))?;
        found.insert(format!("{PREFIX}{name}"), range);
    }
    Ok(Values {
        ranges: found,
        weights,
    })
}

fn parse_weights(lists: &Value) -> Result<live::Values, String> {
    let lists = lists
        .as_object()
        .ok_or_else(|| format!("`{WEIGHTS}` is no object"))?;
    let mut found = live::Values::new();
    for (name, list) in lists {
        let weights: Option<Box<[f64]>> = list.as_array().and_then(|list| {
            let weights = list.iter().map(Value::as_f64);
            weights
                .map(|weight| weight.filter(|weight| live::is_weight(*weight)))
                .collect()
        });
        let weights = weights
            .ok_or_else(|| format!("`{WEIGHTS}.{name}` is no list of numbers within 0 and 1"))?;
        found.insert(name.clone(), weights);
    }
    Ok(found)
}

/// Gives every variable its value; ranges that are not there are none, weights that are not there stay. Returns what is
/// odd about them.
fn set(values: Values) -> Vec<String> {
    let ranges = values.ranges;
    for name in ranges.keys() {
        // One that no route names is kept for one that may.
        let _ = Variable::named(name);
    }
    for (name, slot) in names().iter().zip(&RANGES) {
        let range = ranges.get(name);
        let range = range.map_or(UNSET, |(first, last)| {
            u64::from(*first) << 32 | u64::from(*last)
        });
        slot.store(range, Ordering::Relaxed);
    }
    live::set(values.weights)
}

/// Reads a file once. Returns what is odd about it.
///
/// # Errors
/// It can't be read or makes no sense; then nothing has changed.
pub fn read(path: &Path) -> Result<Vec<String>, String> {
    let text = watch::read(path).map_err(|error| error.to_string())?;
    Ok(set(parse(&text)?))
}

/// Looks at a file of variables.
#[derive(Debug, Default)]
pub struct Reader {
    path: Option<PathBuf>,
    /// What was read last, good or not.
    seen: Option<Result<Vec<u8>, String>>,
}

impl Reader {
    /// Reads the file if it has changed; `None` if there is none, which changes nothing.
    pub fn look(&mut self, path: Option<&Path>) {
        if self.path.as_deref() != path {
            *self = Reader {
                path: path.map(Path::to_path_buf),
                seen: None,
            };
        }
        let Some(path) = path else {
            return;
        };
        let read = watch::read(path).map_err(|error| error.to_string());
        if self.seen.as_ref() == Some(&read) {
            return;
        }
        let parsed = match &read {
            Ok(text) => parse(text),
            Err(error) => Err(error.clone()),
        };
        let file = path.display();
        match parsed {
            Ok(values) => {
                let count = values.ranges.len() + values.weights.len();
                tracing::info!("{count} runtime variables have been read from {file}");
                for odd in set(values) {
                    tracing::warn!("`{WEIGHTS}` in {file}: {odd}");
                }
            }
            Err(why) => {
                tracing::warn!("the runtime variables in {file} stay as they were: {why}");
            }
        }
        self.seen = Some(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_file_is_a_change_of_the_range() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vars.json");
        let mut reader = Reader::default();
        let one = Variable::named("vars_test_one").unwrap();
        let two = Variable::named("key_fraction_range_vars_test").unwrap();
        assert_eq!((one.range(), one.name().as_str()), (None, "vars_test_one"));
        reader.look(Some(&path));
        let mut write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            reader.look(Some(&path));
        };
        write(
            r#"{"vars_test_one": [0, 0.5], "key_fractions": {"vars_test": 1}, "other": {"a": 1}}"#,
        );
        assert_eq!(one.range(), Some((0, u32::MAX / 2)));
        assert_eq!(two.range(), Some((0, u32::MAX)));
        for wrong in [
            "{",
            "[]",
            r#"{"vars_test_one": [0.5, 0.1]}"#,
            r#"{"key_fractions": {"a": 2}}"#,
        ] {
            write(wrong);
            assert_eq!(one.range(), Some((0, u32::MAX / 2)), "{wrong}");
        }
        write(r#"{"vars_test_one": [0, 0]}"#);
        assert_eq!((one.range(), two.range()), (Some((0, 0)), None));
        assert_eq!(Variable::named("vars_test_one"), Some(one));
    }

    #[test]
    fn weights_are_read_or_all_stays_as_it_was() {
        let weights = |text: &str| parse(text.as_bytes()).map(|values| values.weights);
        let good = weights(r#"{"hash_route_weights": {"a": [1, 0.5, 0], "b": []}, "x": 1}"#);
        let want: [(String, Box<[f64]>); 2] = [
            ("a".into(), [1.0, 0.5, 0.0].into()),
            ("b".into(), [].into()),
        ];
        assert_eq!(good, Ok(want.into()));
        for (wrong, why) in [
            ("[0, 1]", "`hash_route_weights` is no object"),
            ("null", "`hash_route_weights` is no object"),
            (r#"{"a": [1], "b": [1.5]}"#, "`hash_route_weights.b`"),
            (r#"{"b": [-0.1]}"#, "within 0 and 1"),
            (r#"{"b": ["1"]}"#, "no list of numbers"),
            (r#"{"b": 1}"#, "no list of numbers"),
        ] {
            let found = weights(&format!("{{\"hash_route_weights\": {wrong}}}"));
            let found = found.unwrap_err();
            assert!(found.contains(why), "{wrong}: {found}");
        }
    }
}
