//! Keys of a pool whose servers have changed, and which of them are being copied or updated right now.
//!
//! Copying an item and updating it must not overlap, or a reader could see the copy of what has just been deleted. So
//! whoever does either says so here, for all workers: an update waits until no copying is under way, and nothing is
//! copied while an update is. Across routers there is no such understanding; see `worker::moving` for what holds there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hash::{Selector, Shift};

/// The placements before and after a change, with what is under way. Cheap to clone; equal to its clones alone.
#[derive(Clone, Debug)]
pub struct MovedKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shift: Shift,
    busy: Mutex<HashMap<Vec<u8>, Busy>>,
}

/// What is under way for one key.
#[derive(Debug, Default)]
struct Busy {
    copies: usize,
    updates: usize,
}

/// Says for as long as it lives that a key is being copied or updated.
#[derive(Debug)]
pub struct Hold {
    keys: MovedKeys,
    key: Vec<u8>,
    is_copy: bool,
}

impl MovedKeys {
    /// From `old` to `new`.
    #[must_use]
    pub fn new(old: Selector, new: Selector) -> MovedKeys {
        MovedKeys(Arc::new(Inner {
            shift: Shift::new(old, new),
            busy: Mutex::default(),
        }))
    }

    /// Whether the key has another owner than before.
    #[must_use]
    pub fn moved(&self, key: &[u8]) -> bool {
        self.0.shift.moved(key)
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Busy>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to copy the key; `None` while an update is under way.
    #[must_use]
    pub fn copy(&self, key: &[u8]) -> Option<Hold> {
        let mut all = self.busy();
        if all.get(key).is_some_and(|busy| busy.updates > 0) {
            return None;
        }
        all.entry(key.to_vec()).or_default().copies += 1;
        Some(self.hold(key, true))
    }

    /// Begins an update of the key, which must wait while [`MovedKeys::is_copied`]. No copying begins from now on.
    #[must_use]
    pub fn update(&self, key: &[u8]) -> Hold {
        self.busy().entry(key.to_vec()).or_default().updates += 1;
        self.hold(key, false)
    }

    /// Whether the key is being copied.
    #[must_use]
    pub fn is_copied(&self, key: &[u8]) -> bool {
        self.busy().get(key).is_some_and(|busy| busy.copies > 0)
    }

    fn hold(&self, key: &[u8], is_copy: bool) -> Hold {
        Hold {
            keys: self.clone(),
            key: key.to_vec(),
            is_copy,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut all = self.keys.busy();
        if let Some(busy) = all.get_mut(&self.key) {
            let count = match self.is_copy {
                true => &mut busy.copies,
                false => &mut busy.updates,
            };
            *count = count.saturating_sub(1);
            if busy.copies == 0 && busy.updates == 0 {
                all.remove(&self.key);
            }
        }
    }
}

impl PartialEq for MovedKeys {
    fn eq(&self, other: &MovedKeys) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for MovedKeys {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Node, Placement};

    #[test]
    fn copies_and_updates_of_a_key_exclude_each_other() {
        let one = || Selector::new(&Placement::default(), &[Node::at("a", 1)]).unwrap();
        let keys = MovedKeys::new(one(), one());
        let copy = keys.copy(b"k").unwrap();
        let another = keys.copy(b"k").unwrap();
        let update = keys.update(b"k");
        assert!(keys.is_copied(b"k") && !keys.is_copied(b"other"));
        assert!(keys.copy(b"k").is_none(), "no more from now on");
        drop(copy);
        assert!(keys.is_copied(b"k"));
        drop(another);
        assert!(!keys.is_copied(b"k"));
        drop(update);
        assert!(keys.copy(b"k").is_some());
        assert!(keys.busy().is_empty(), "nothing is kept");
    }
}
