//! Weights of `weighted_ch3` that change while a selector is in use.
//!
//! mcrouter's `WeightedCh3Rv` takes its weights from a variable that whoever runs it may change at any time. A selector
//! with such a variable has a table of bounds, which [`set`] writes and requests read: a load for each draw and no
//! lock. The tables are known here by the names of their variables, for as long as a selector holds them; values that
//! have been set are kept for selectors that are made later.
//!
//! A request that comes while the table is being written may see old and new weights side by side. It is then placed
//! as by one of the tables on the way from the old to the new one, always on a server that there is.
//!
//! Nothing here knows where the weights come from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::WeightRule;
use super::ch3::threshold;

/// Weights by the names of their variables, in the order of the servers.
pub type Values = BTreeMap<String, Box<[f64]>>;

static ALL: Mutex<All> = Mutex::new(All {
    values: BTreeMap::new(),
    users: Vec::new(),
});

struct All {
    values: Values,
    users: Vec<User>,
}

/// A table that a selector has, or had.
struct User {
    variable: String,
    /// What a server weighs for whose place the variable has nothing.
    own: Box<[f64]>,
    bounds: Weak<[AtomicU32]>,
}

/// The bounds that draws must stay below, by the position of the server.
#[derive(Debug)]
pub(super) struct Bounds(Arc<[AtomicU32]>);

impl Bounds {
    /// Those of a selector whose servers have these weights of their own.
    pub(super) fn of(variable: &str, own: &[f64]) -> Bounds {
        let bounds: Arc<[AtomicU32]> = own.iter().map(|_| AtomicU32::new(0)).collect();
        let user = User {
            variable: variable.to_owned(),
            own: own.into(),
            bounds: Arc::downgrade(&bounds),
        };
        let mut all = all();
        store(
            &bounds,
            own,
            all.values.get(variable).map_or(&[], |all| all),
        );
        all.users.retain(|user| user.bounds.strong_count() > 0);
        all.users.push(user);
        Bounds(bounds)
    }

    pub(super) fn get(&self, at: usize) -> u32 {
        self.0
            .get(at)
            .map_or(0, |bound| bound.load(Ordering::Relaxed))
    }
}

/// Whether this can be a weight: a number from 0 to 1.
#[must_use]
pub fn is_weight(weight: f64) -> bool {
    WeightRule::Keep.allows(weight)
}

/// Gives variables their weights, which hold at once for every selector that there is. A variable that is not among
/// them keeps what it has. Returns what is odd about them, in sentences about the variables.
///
/// The weights must be some for [`is_weight`]; others count as never and always.
pub fn set(values: Values) -> Vec<String> {
    let mut all = all();
    all.users.retain(|user| user.bounds.strong_count() > 0);
    let mut odd = Vec::new();
    let mut values = values;
    for user in &all.users {
        let name = &user.variable;
        let Some(weights) = values.get(name) else {
            odd.push(format!(
                "`{name}` is not there: its weights stay as they were"
            ));
            if let Some(before) = all.values.get(name) {
                values.insert(name.clone(), before.clone());
            }
            continue;
        };
        let (given, needed) = (weights.len(), user.own.len());
        if given != needed {
            odd.push(format!(
                "`{name}` has {given} weights for {needed} servers: a missing one is the server's own or 0.5, one too many is ignored"
            ));
        }
        if let Some(bounds) = user.bounds.upgrade() {
            store(&bounds, &user.own, weights);
        }
    }
    all.values = values;
    odd.sort();
    odd.dedup();
    odd
}

fn store(bounds: &[AtomicU32], own: &[f64], weights: &[f64]) {
    for (at, (bound, own)) in bounds.iter().zip(own).enumerate() {
        let weight = weights.get(at).unwrap_or(own);
        bound.store(threshold(*weight), Ordering::Relaxed);
    }
}

fn all() -> MutexGuard<'static, All> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tests of one process share the variables; those that set some go one after the other.
#[cfg(test)]
pub(crate) static TESTS: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::super::{Distribution, Node, Placement, Selector};
    use super::*;

    fn nodes(weights: &[Option<f64>]) -> Vec<Node> {
        let nodes = (1..).zip(weights).map(|(port, weight)| Node {
            weight: *weight,
            ..Node::at("10.0.0.1", port)
        });
        nodes.collect()
    }

    fn values(variable: &str, weights: &[f64]) -> Values {
        Values::from([(variable.to_owned(), weights.into())])
    }

    fn live(variable: &str) -> Placement {
        Placement {
            weights_variable: Some(variable.to_owned()),
            salt: "s".to_owned(),
            ..Placement::of(Distribution::WeightedCh3)
        }
    }

    /// Where the first keys are, and where they would go next.
    fn owners(selector: &Selector) -> Vec<Vec<usize>> {
        let keys = (0..400).map(|n| format!("key{n}"));
        keys.map(|key| {
            let order = selector.successors(key.as_bytes());
            assert_eq!(order.first(), Some(&selector.select(key.as_bytes())));
            order
        })
        .collect()
    }

    /// Where WeightedCh3 with these weights has them.
    fn fixed(weights: &[f64]) -> Vec<Vec<usize>> {
        let placement = Placement {
            salt: "s".to_owned(),
            ..Placement::of(Distribution::WeightedCh3)
        };
        let weights: Vec<Option<f64>> = weights.iter().copied().map(Some).collect();
        owners(&Selector::new(&placement, &nodes(&weights)).unwrap())
    }

    #[test]
    fn keys_are_where_the_weights_of_now_put_them() {
        let _alone = TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let placement = live("live_test_a");
        let one = Selector::new(&placement, &nodes(&[None; 4])).unwrap();
        let digest = one.digest();
        assert_eq!(owners(&one), fixed(&[0.5; 4]), "nothing is known yet");
        for weights in [[1.0, 0.25, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]] {
            assert_eq!(set(values("live_test_a", &weights)), [""; 0]);
            assert_eq!(owners(&one), fixed(&weights), "{weights:?}");
            let later = Selector::new(&placement, &nodes(&[None; 4])).unwrap();
            assert_eq!(owners(&later), fixed(&weights), "made later");
        }
        assert_ne!(fixed(&[1.0, 0.25, 0.0, 1.0]), fixed(&[0.0, 1.0, 1.0, 1.0]));
        assert_eq!(one.digest(), digest, "nodes agree whatever the weights are");
        let other = Selector::new(&live("live_test_b"), &nodes(&[None; 4])).unwrap();
        assert_ne!(other.digest(), digest);
    }

    #[test]
    fn what_is_missing_is_told() {
        let _alone = TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let own = [Some(1.0), None, Some(0.25)];
        let one = Selector::new(&live("live_test_c"), &nodes(&own)).unwrap();
        assert_eq!(owners(&one), fixed(&[1.0, 0.5, 0.25]));
        let odd = set(values("live_test_c", &[0.0]));
        assert_eq!(odd.len(), 1);
        assert!(odd[0].contains("1 weights for 3 servers"), "{odd:?}");
        assert_eq!(owners(&one), fixed(&[0.0, 0.5, 0.25]));
        let odd = set(values("live_test_c", &[0.0, 1.0, 1.0, 0.0]));
        assert!(odd[0].contains("4 weights for 3 servers"), "{odd:?}");
        assert_eq!(owners(&one), fixed(&[0.0, 1.0, 1.0]));
        // One that is no longer there keeps its weights, also for selectors to come.
        let odd = set(Values::new());
        assert!(odd[0].contains("`live_test_c` is not there"), "{odd:?}");
        let later = Selector::new(&live("live_test_c"), &nodes(&own)).unwrap();
        for selector in [&one, &later] {
            assert_eq!(owners(selector), fixed(&[0.0, 1.0, 1.0]));
        }
        // What no selector has is forgotten.
        drop((one, later));
        assert_eq!(set(Values::new()), [""; 0]);
        let fresh = Selector::new(&live("live_test_c"), &nodes(&own)).unwrap();
        assert_eq!(owners(&fresh), fixed(&[1.0, 0.5, 0.25]));
    }
}
