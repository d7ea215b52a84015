//! Which keys have another owner after a change of the servers.

use std::collections::HashMap;
use std::sync::Arc;

use super::Selector;

/// The placements before and after a change.
#[derive(Debug)]
pub struct Shift {
    old: Arc<Selector>,
    new: Arc<Selector>,
    /// For each old node the new one of the same name.
    same: Vec<Option<usize>>,
}

impl Shift {
    /// From `old` to `new`.
    #[must_use]
    pub fn new(old: Arc<Selector>, new: Arc<Selector>) -> Shift {
        let names = new.names.iter().enumerate();
        let places: HashMap<&String, usize> = names.map(|(place, name)| (name, place)).collect();
        let same = old.names.iter().map(|name| places.get(name).copied());
        let same = same.collect();
        Shift { old, new, same }
    }

    /// Whether the key's owner is another one.
    #[must_use]
    pub fn moved(&self, key: &[u8]) -> bool {
        let Shift { old, new, same } = self;
        same.get(old.select(key)).copied().flatten() != Some(new.select(key))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Node, Placement};
    use super::*;

    fn selector(names: &[&str]) -> Selector {
        let nodes: Vec<Node> = names.iter().map(|name| Node::at(*name, 1)).collect();
        Selector::new(&Placement::default(), &nodes).unwrap()
    }

    #[test]
    fn a_key_has_moved_if_its_owner_has_another_name() {
        let (before, after) = (["a", "b", "c"], ["c", "a", "d"]);
        let shift = Shift::new(selector(&before).into(), selector(&after).into());
        let (old, new) = (selector(&before), selector(&after));
        let mut moved = 0;
        for number in 0..1000 {
            let key = format!("key{number}");
            let differs = before[old.select(key.as_bytes())] != after[new.select(key.as_bytes())];
            assert_eq!(shift.moved(key.as_bytes()), differs);
            moved += usize::from(differs);
        }
        assert!((300..900).contains(&moved), "{moved}");
    }
}
