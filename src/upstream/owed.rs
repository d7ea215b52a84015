//! What a server is owed: updates that it has not seen because it was out of reach.
//!
//! A server that comes back without having been restarted still has what it had, whatever has been deleted or changed
//! elsewhere meanwhile. Where its pool says so, the keys of updates that failed are remembered here, and nobody is given
//! anything of them until they have been deleted there. With more keys than there is room for all the server has is
//! deleted, unless it has been restarted since: then it has nothing left from before.
//!
//! All workers of the process share what they owe a server, or one would give out what another knows to be old. So this
//! is locked; but only where something is owed, which is rare, and known without a lock.
//!
//! No sockets and no clock; times are microseconds that the caller passes in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::config::ServerAddr;

/// Room for the keys owed to one server, in bytes. With more of them all it has is deleted.
pub const MAX_BYTES: usize = 16 << 20;

/// What a key takes besides itself, about, in bytes.
const ENTRY: usize = 64;

/// The most keys that are deleted at a time.
const BATCH: usize = 1024;

/// What one server is owed.
#[derive(Debug, Default)]
pub struct Owed {
    /// Whether there is anything.
    pending: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The keys, each with the number of its last update.
    keys: HashMap<Box<[u8]>, u64>,
    bytes: usize,
    /// The number of the next update.
    next: u64,
    /// Everything is to be deleted: the number that this has among the updates, and since when.
    all: Option<(u64, u64)>,
    /// Somebody is about to settle; until then at most.
    settling: Option<u64>,
}

/// What is to be done at the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Debt {
    /// Everything goes.
    All(AllOwed),
    /// These go: keys, each with what [`Owed::paid`] wants to know.
    Keys(Vec<(Box<[u8]>, u64)>),
}

/// Everything is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllOwed {
    /// For how long, in microseconds. A server that has been up for less has nothing from before.
    pub age: u64,
    before: u64,
    upto: u64,
}

impl Owed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let pending = state.all.is_some() || !state.keys.is_empty();
        self.pending.store(pending, Ordering::Relaxed);
        result
    }

    /// Whether anything is owed.
    #[inline]
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether the server may not be asked about this key now. The empty key is none.
    pub fn refuses(&self, key: &[u8]) -> bool {
        let state = self.state();
        !key.is_empty() && (state.all.is_some() || state.keys.contains_key(key))
    }

    /// How many keys are owed.
    pub fn len(&self) -> usize {
        self.state().keys.len()
    }

    /// Whether no key is owed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An update of this key may not have reached the server. The empty key stands for all of them.
    pub fn owe(&self, key: &[u8], now: u64) {
        if key.is_empty() {
            return self.owe_all(now);
        }
        let full = self.change(|state| {
            let number = state.number();
            if let Some(last) = state.keys.get_mut(key) {
                *last = number;
                return false;
            }
            state.bytes += key.len() + ENTRY;
            state.keys.insert(key.into(), number);
            state.bytes > MAX_BYTES
        });
        if full {
            self.owe_all(now);
        }
    }

    /// Nothing the server has may be given out any more.
    pub fn owe_all(&self, now: u64) {
        self.change(|state| {
            state.keys = HashMap::new();
            state.bytes = 0;
            state.all = Some((state.number(), now));
        });
    }

    /// What is to be done first, if anything is and nobody else does it; the caller does it before `until`, or says with
    /// [`Owed::rest`] that it does no more.
    pub fn settle(&self, now: u64, until: u64) -> Option<Debt> {
        self.change(|state| {
            if state.settling.is_some_and(|until| now < until) {
                return None;
            }
            let debt = match state.all {
                Some((number, since)) => Debt::All(AllOwed {
                    age: now.saturating_sub(since),
                    before: number,
                    upto: state.number(),
                }),
                None if state.keys.is_empty() => return None,
                None => {
                    let some = state.keys.iter().take(BATCH);
                    Debt::Keys(some.map(|(key, number)| (key.clone(), *number)).collect())
                }
            };
            state.settling = Some(until);
            Some(debt)
        })
    }

    /// The key has been deleted, or was not there; unless it has been updated in vain since.
    pub fn paid(&self, key: &[u8], number: u64) {
        self.change(|state| {
            if state.keys.get(key) == Some(&number) {
                state.remove(key);
            }
        });
    }

    /// All the server had has been deleted.
    pub fn flushed(&self, all: AllOwed) {
        self.change(|state| state.clear(all.before, all.upto));
    }

    /// The server has been restarted since everything was owed. What has been owed since then still is.
    pub fn restarted(&self, all: AllOwed) {
        self.change(|state| state.clear(all.before, all.before));
    }

    /// Nobody is about to settle any more.
    pub fn rest(&self) {
        self.change(|state| state.settling = None);
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn remove(&mut self, key: &[u8]) {
        if self.keys.remove(key).is_some() {
            self.bytes = self.bytes.saturating_sub(key.len() + ENTRY);
        }
        if self.keys.is_empty() {
            // There may have been many.
            self.keys = HashMap::new();
        }
    }

    /// Everything is settled that has a number up to `upto`, if all is still owed as `before` says.
    fn clear(&mut self, before: u64, upto: u64) {
        if self.all.is_some_and(|(number, _)| number == before) {
            self.all = None;
        }
        self.keys.retain(|_, number| *number > upto);
        self.bytes = self.keys.keys().map(|key| key.len() + ENTRY).sum();
    }
}

/// What the process owes to servers.
#[derive(Debug, Default)]
pub struct Debts(Mutex<HashMap<(String, ServerAddr), Weak<Owed>>>);

impl Debts {
    /// What is owed to the server of this name at this address, to be kept by whoever talks to it. It is forgotten when
    /// nobody does any more.
    pub fn of(&self, name: &str, addr: &ServerAddr) -> Arc<Owed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (name.to_owned(), addr.clone());
        if let Some(known) = all.get(&place).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, owed| owed.strong_count() > 0);
        let owed = Arc::default();
        all.insert(place, Arc::downgrade(&owed));
        owed
    }

    /// How many keys are owed to all servers together.
    pub fn keys(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.values().filter_map(Weak::upgrade);
        known.map(|owed| owed.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(debt: Option<Debt>) -> Vec<(Box<[u8]>, u64)> {
        match debt {
            Some(Debt::Keys(keys)) => keys,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_refused_until_it_has_been_deleted() {
        let owed = Owed::default();
        assert!(!owed.is_pending());
        owed.owe(b"k", 1);
        assert!(owed.is_pending() && owed.refuses(b"k") && !owed.refuses(b"other"));
        let debt = keys(owed.settle(5, 10));
        assert_eq!(owed.settle(9, 20), None, "somebody is about to");
        let again = keys(owed.settle(10, 20));
        assert_eq!(debt, again, "who does not seem to be");
        // Another update fails meanwhile: that the first deletion came before it can't be ruled out.
        owed.owe(b"k", 11);
        for (key, number) in debt {
            owed.paid(&key, number);
        }
        assert!(owed.refuses(b"k"));
        owed.rest();
        for (key, number) in keys(owed.settle(12, 20)) {
            owed.paid(&key, number);
        }
        assert!(!owed.is_pending() && !owed.refuses(b"k"));
        assert_eq!(owed.state().bytes, 0);
    }

    #[test]
    fn with_too_many_keys_everything_is_owed() {
        let owed = Owed::default();
        let key = |n: usize| [format!("{n}").into_bytes(), vec![b'k'; 200]].concat();
        let mut n = 0;
        while owed.state().all.is_none() {
            owed.owe(&key(n), 100);
            n += 1;
            assert!(n < MAX_BYTES / 200);
        }
        assert!(n > MAX_BYTES / 300);
        assert_eq!(owed.state().bytes, 0);
        assert!(owed.refuses(b"whatever"));
        assert!(!owed.refuses(b""), "what concerns no key may be asked");
        owed.owe(b"later", 200);
        let Some(Debt::All(all)) = owed.settle(350, 400) else {
            panic!();
        };
        assert_eq!(all.age, 250);
        owed.owe(b"latest", 360);
        owed.flushed(all);
        assert!(!owed.refuses(b"later") && owed.refuses(b"latest") && !owed.refuses(b"other"));
    }

    #[test]
    fn a_server_that_has_been_restarted_owes_nothing_from_before() {
        let owed = Owed::default();
        owed.owe(b"early", 10);
        owed.owe(b"", 20);
        owed.owe(b"late", 30);
        let Some(Debt::All(all)) = owed.settle(40, 50) else {
            panic!();
        };
        // It goes out of reach once more while it is asked how long it has been up.
        owed.owe_all(45);
        owed.restarted(all);
        assert!(owed.refuses(b"early"), "that is not settled");
        owed.rest();
        let Some(Debt::All(all)) = owed.settle(60, 70) else {
            panic!();
        };
        assert_eq!(all.age, 15);
        owed.owe(b"late", 65);
        owed.restarted(all);
        assert!(owed.refuses(b"late") && !owed.refuses(b"early"));
    }

    #[test]
    fn workers_share_what_they_owe_for_as_long_as_any_talks_to_the_server() {
        let debts = Debts::default();
        let addr = ServerAddr::Tcp(([127, 0, 0, 1], 1).into());
        let one = debts.of("a", &addr);
        one.owe(b"k", 0);
        assert!(debts.of("a", &addr).refuses(b"k"));
        assert!(!debts.of("b", &addr).refuses(b"k"));
        assert_eq!(debts.keys(), 1);
        drop(one);
        assert!(!debts.of("a", &addr).refuses(b"k"));
    }
}
