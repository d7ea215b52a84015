//! Keys of a pool whose servers have changed, and what is under way for them.
//!
//! Copying an item and updating it must not overlap, or a reader could see the copy of what has just been deleted. So
//! whoever does either says so here, for all workers: an update waits until no copying is under way, and nothing is
//! copied while an update is. Across routers there is no such understanding; see `worker::moving` for what holds there.
//!
//! A [`Handover`] is about a pool and outlives what workers route by, or a reload would make them forget what others
//! are doing. It also knows the keys whose previous server could not be told of an update: what that has is not to be
//! believed any more. And it has a beginning and an end in which readers copy nothing: requests that are still, or
//! already, routed without it know nothing of all this.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hash::Shift;

/// Keys whose previous server is not to be believed, at most. With more of them none is.
const MAX_DOUBTED: usize = 1 << 19;

/// The placements before and after a change, with what is under way. Cheap to clone; equal to its clones alone.
#[derive(Clone, Debug)]
pub struct MovedKeys {
    /// To what it is now, and to what it was at changes since.
    shifts: Arc<[Shift]>,
    handover: Handover,
    /// Those of changes before this one: something may still be copied to where it was to be then.
    older: Arc<[Handover]>,
}

/// What is under way in a pool whose servers have changed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    random: RandomState,
}

#[derive(Debug, Default)]
struct State {
    busy: HashMap<Vec<u8>, Busy>,
    /// How many items are being copied.
    copies: usize,
    phase: Phase,
    /// Hashes of keys whose previous server could not be told of an update.
    doubted: HashSet<u64>,
    /// There were too many of them.
    all_doubted: bool,
}

/// Who may copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Updates that need what was there before; readers don't yet.
    #[default]
    Begins,
    /// Everybody.
    Open,
    /// Nobody.
    Ends,
}

/// What is under way for one key.
#[derive(Debug, Default)]
struct Busy {
    copies: usize,
    /// Updates that wait, that copy, or that are done right now.
    updates: usize,
    /// Updates that are done right now.
    acting: usize,
}

/// Says for as long as it lives that a key is being copied or updated.
#[derive(Debug)]
pub struct Hold {
    handover: Handover,
    older: Arc<[Handover]>,
    key: Vec<u8>,
    is_copy: bool,
    acts: bool,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers have changed (again): readers copy nothing until [`Handover::open`].
    pub fn begin(&self) {
        self.state().phase = Phase::Begins;
    }

    /// Readers may copy, unless it has ended.
    pub fn open(&self) {
        let mut state = self.state();
        if state.phase == Phase::Begins {
            state.phase = Phase::Open;
        }
    }

    /// Nothing is copied from now on; what is being copied goes on. Whether none is any more.
    pub fn close(&self) -> bool {
        let mut state = self.state();
        state.phase = Phase::Ends;
        state.copies == 0
    }

    fn is_copied(&self, key: &[u8]) -> bool {
        self.state()
            .busy
            .get(key)
            .is_some_and(|busy| busy.copies > 0)
    }
}

impl MovedKeys {
    /// `shifts` are from what was before the change to what is now, and to what was before each change since: a key
    /// whose owner was the same then is looked after there. `older` are the handovers of the changes before this one that
    /// still go on.
    #[must_use]
    pub fn new(shifts: Vec<Shift>, handover: Handover, older: Vec<Handover>) -> MovedKeys {
        MovedKeys {
            shifts: shifts.into(),
            handover,
            older: older.into(),
        }
    }

    /// Whether the key had an owner that it has not had since.
    #[must_use]
    pub fn moved(&self, key: &[u8]) -> bool {
        self.shifts.iter().all(|shift| shift.moved(key))
    }

    fn hold(&self, state: &mut State, key: &[u8], is_copy: bool) -> Hold {
        let busy = state.busy.entry(key.to_vec()).or_default();
        match is_copy {
            true => {
                busy.copies += 1;
                state.copies += 1;
            }
            false => busy.updates += 1,
        }
        Hold {
            handover: self.handover.clone(),
            older: Arc::clone(&self.older),
            key: key.to_vec(),
            is_copy,
            acts: false,
        }
    }

    /// Begins to copy the key; `None` while an update is under way, and while nothing is copied.
    #[must_use]
    pub fn copy(&self, key: &[u8]) -> Option<Hold> {
        let mut state = self.handover.state();
        let updated = state.busy.get(key).is_some_and(|busy| busy.updates > 0);
        (state.phase == Phase::Open && !updated).then(|| self.hold(&mut state, key, true))
    }

    /// Begins an update of the key, to be done when [`Hold::act`] says so. No copying begins from now on, except
    /// by updates.
    #[must_use]
    pub fn update(&self, key: &[u8]) -> Hold {
        self.hold(&mut self.handover.state(), key, false)
    }

    /// Begins to copy the key for an update that does not act; `None` while others act or copy. Other updates wait
    /// from now on.
    #[must_use]
    pub fn copy_to_update(&self, key: &[u8]) -> Option<Hold> {
        let mut state = self.handover.state();
        let busy = state.busy.get(key);
        let alone = busy.is_none_or(|busy| busy.acting == 0 && busy.copies == 0);
        alone.then(|| self.hold(&mut state, key, true))
    }

    /// Whether nobody copies any more.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.handover.state().phase == Phase::Ends
    }

    /// The previous server could not be told of an update: what it has is not to be believed.
    pub fn doubt(&self, key: &[u8]) {
        let hash = self.handover.0.random.hash_one(key);
        let mut state = self.handover.state();
        if state.doubted.len() >= MAX_DOUBTED {
            state.all_doubted = true;
        } else {
            state.doubted.insert(hash);
        }
    }

    /// Whether what the previous server has of the key is not to be believed.
    #[must_use]
    pub fn is_doubted(&self, key: &[u8]) -> bool {
        let hash = self.handover.0.random.hash_one(key);
        let state = self.handover.state();
        state.all_doubted || state.doubted.contains(&hash)
    }
}

impl Hold {
    /// Whether the update may be done now; it is until [`Hold::rest`] or the end of this. Not while the key is copied,
    /// be it by those who know only of an earlier change.
    #[must_use]
    pub fn act(&mut self) -> bool {
        if self.older.iter().any(|older| older.is_copied(&self.key)) {
            return false;
        }
        let mut state = self.handover.state();
        match state.busy.get_mut(&self.key) {
            Some(busy) if busy.copies > 0 => false,
            Some(busy) => {
                busy.acting += usize::from(!self.acts);
                self.acts = true;
                true
            }
            None => true,
        }
    }

    /// Nothing is done for the update now.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.acts)
            && let Some(busy) = self.handover.state().busy.get_mut(&self.key)
        {
            busy.acting = busy.acting.saturating_sub(1);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.rest();
        let mut all = self.handover.state();
        let state = &mut *all;
        if let Some(busy) = state.busy.get_mut(&self.key) {
            let count = match self.is_copy {
                true => &mut busy.copies,
                false => &mut busy.updates,
            };
            *count = count.saturating_sub(1);
            if busy.copies == 0 && busy.updates == 0 {
                state.busy.remove(&self.key);
            }
        }
        if self.is_copy {
            state.copies = state.copies.saturating_sub(1);
        }
    }
}

impl PartialEq for MovedKeys {
    fn eq(&self, other: &MovedKeys) -> bool {
        Arc::ptr_eq(&self.shifts, &other.shifts)
    }
}

impl Eq for MovedKeys {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Node, Placement, Selector};

    fn keys(handover: &Handover) -> MovedKeys {
        let one = |name| Selector::new(&Placement::default(), &[Node::at(name, 1)]).unwrap();
        let shift = Shift::new(one("a").into(), one("b").into());
        MovedKeys::new(vec![shift], handover.clone(), Vec::new())
    }

    fn opened() -> MovedKeys {
        let handover = Handover::default();
        handover.open();
        keys(&handover)
    }

    #[test]
    fn a_key_is_looked_after_where_its_owner_was_last() {
        let one = |name: &str| {
            Arc::new(Selector::new(&Placement::default(), &[Node::at(name, 1)]).unwrap())
        };
        let keys = |was: &str, since: &[&str]| {
            let since = since.iter().map(|then| Shift::new(one(was), one(then)));
            MovedKeys::new(since.collect(), Handover::default(), Vec::new())
        };
        assert!(keys("a", &["b"]).moved(b"k") && keys("a", &["b", "c"]).moved(b"k"));
        assert!(!keys("a", &["a"]).moved(b"k"), "it has it now");
        assert!(!keys("a", &["b", "a"]).moved(b"k"), "it had it later, too");
    }

    #[test]
    fn copies_and_updates_of_a_key_exclude_each_other() {
        let keys = opened();
        let copy = keys.copy(b"k").unwrap();
        let another = keys.copy(b"k").unwrap();
        let mut update = keys.update(b"k");
        assert!(!update.act() && keys.update(b"other").act());
        assert!(keys.copy(b"k").is_none(), "no more from now on");
        drop(copy);
        assert!(!update.act());
        drop(another);
        assert!(update.act() && update.act());
        drop(update);
        assert!(keys.copy(b"k").is_some());
        assert!(keys.handover.state().busy.is_empty(), "nothing is kept");
    }

    #[test]
    fn an_update_copies_only_while_no_other_is_done() {
        let keys = opened();
        let (mut one, mut two) = (keys.update(b"k"), keys.update(b"k"));
        assert!(one.act() && two.act());
        one.rest();
        assert!(keys.copy_to_update(b"k").is_none());
        two.rest();
        let copy = keys.copy_to_update(b"k").unwrap();
        assert!(!one.act() && !two.act());
        assert!(keys.copy_to_update(b"k").is_none());
        drop(copy);
        assert!(one.act() && two.act());
        drop((one, two));
        assert!(keys.handover.state().busy.is_empty(), "nothing is kept");
    }

    #[test]
    fn what_is_under_way_is_known_across_changes_of_the_routing() {
        let handover = Handover::default();
        let (before, after) = (keys(&handover), keys(&handover));
        assert!(before.copy(b"k").is_none(), "not yet");
        assert!(before.copy_to_update(b"k").is_some());
        handover.open();
        let copy = before.copy(b"k").unwrap();
        assert!(!after.update(b"k").act());
        before.doubt(b"lost");
        assert!(after.is_doubted(b"lost") && !after.is_doubted(b"k"));
        assert!(!handover.close(), "one is under way");
        assert!(after.copy(b"k").is_none() && after.ends());
        drop(copy);
        assert!(handover.close());
        handover.open();
        assert!(after.copy(b"k").is_none(), "it has ended");
        handover.begin();
        handover.open();
        assert!(after.copy(b"k").is_some(), "the servers have changed again");
    }

    #[test]
    fn with_too_many_doubts_nothing_is_believed() {
        let keys = opened();
        keys.handover.state().doubted = (0..MAX_DOUBTED as u64).collect();
        assert!(!keys.is_doubted(b"k"));
        keys.doubt(b"other");
        assert!(keys.is_doubted(b"k"));
    }
}
