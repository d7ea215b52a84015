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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// How many workers talk to the server.
    users: usize,
    /// When the last of them stopped.
    left: Option<u64>,
    /// When it may be said again that something has been settled.
    say_at: u64,
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

    /// A worker talks to the server from now on. If none has for a while, that had left the pools and is back: what it
    /// missed meanwhile nobody knows.
    pub fn join(&self, now: u64) {
        let left = self.change(|state| {
            state.users += 1;
            state.left.take()
        });
        if let Some(since) = left {
            self.owe_all(since.min(now));
        }
    }

    /// A worker talks to the server no more.
    pub fn leave(&self, now: u64) {
        self.change(|state| {
            state.users = state.users.saturating_sub(1);
            if state.users == 0 {
                state.left = Some(now);
            }
        });
    }

    /// A worker talks to the server on, but minds no more what it misses.
    pub fn trust(&self) {
        self.change(|state| state.users = state.users.saturating_sub(1));
    }

    /// Whether it is worth a line in the log that something has been settled; not more often than every ten seconds.
    pub fn may_say(&self, now: u64) -> bool {
        self.change(|state| {
            let may = now >= state.say_at;
            if may {
                state.say_at = now.saturating_add(10_000_000);
            }
            may
        })
    }

    /// An update of this key may or, unless it has been `sent`, can't have reached the server. The empty key stands for
    /// all of them.
    pub fn owe(&self, key: &[u8], now: u64, sent: bool) {
        if key.is_empty() {
            return self.owe_all(now);
        }
        let full = self.change(|state| {
            let number = state.number();
            if let Some(last) = state.keys.get_mut(key) {
                // What was never sent can't come behind a deletion that is on its way; or a key that is asked for all
                // the time would be owed for ever.
                if sent {
                    *last = number;
                }
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

    /// The server refuses to delete all it has. What is known by its key can still be deleted.
    pub fn flush_refused(&self, all: AllOwed) {
        self.change(|state| state.clear(all.before, 0));
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

/// What stands for an address where servers are remembered by theirs. Of several addresses there may be some more or
/// fewer now and then.
pub(super) fn place_of(addr: &ServerAddr) -> ServerAddr {
    match addr {
        ServerAddr::Found(addrs) => addrs.iter().min().copied().map(ServerAddr::Tcp),
        _ => None,
    }
    .unwrap_or_else(|| addr.clone())
}

/// Whether a name and an address are those of the same server.
pub fn is_same(one: (&str, &ServerAddr), other: (&str, &ServerAddr)) -> bool {
    one.0 == other.0 && place_of(one.1) == place_of(other.1)
}

/// Servers that have left and are remembered, at most. Of more of them those are forgotten that left first.
const MAX_LEFT: usize = 4096;

/// What the process owes to servers, and which servers have left.
#[derive(Debug, Default)]
pub struct Debts(Mutex<HashMap<(String, ServerAddr), Arc<Owed>>>);

impl Debts {
    /// What is owed to the server of this name at this address. Whoever talks to it says so by [`Owed::join`] and
    /// [`Owed::leave`].
    pub fn of(&self, name: &str, addr: &ServerAddr) -> Arc<Owed> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let addr = place_of(addr);
        let owed = Arc::clone(all.entry((name.to_owned(), addr)).or_default());
        if all.len() > MAX_LEFT {
            let left = |owed: &Arc<Owed>| owed.state().left;
            let first = all
                .iter()
                .filter_map(|(place, owed)| Some((left(owed)?, place)));
            let first = first.min_by_key(|(since, _)| *since);
            if let Some(place) = first.map(|(_, place)| place.clone()) {
                all.remove(&place);
            }
        }
        owed
    }

    /// How many keys are owed to all servers together.
    #[cfg(test)]
    fn keys(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|owed| owed.state().keys.len()).sum()
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
        owed.owe(b"k", 1, true);
        assert!(owed.is_pending() && owed.refuses(b"k") && !owed.refuses(b"other"));
        let debt = keys(owed.settle(5, 10));
        assert_eq!(owed.settle(9, 20), None, "somebody is about to");
        let again = keys(owed.settle(10, 20));
        assert_eq!(debt, again, "who does not seem to be");
        // Another update fails meanwhile: that the first deletion came before it can't be ruled out.
        owed.owe(b"k", 11, true);
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
            owed.owe(&key(n), 100, true);
            n += 1;
            assert!(n < MAX_BYTES / 200);
        }
        assert!(n > MAX_BYTES / 300);
        assert_eq!(owed.state().bytes, 0);
        assert!(owed.refuses(b"whatever"));
        assert!(!owed.refuses(b""), "what concerns no key may be asked");
        owed.owe(b"later", 200, true);
        let Some(Debt::All(all)) = owed.settle(350, 400) else {
            panic!();
        };
        assert_eq!(all.age, 250);
        owed.owe(b"latest", 360, true);
        owed.flushed(all);
        assert!(!owed.refuses(b"later") && owed.refuses(b"latest") && !owed.refuses(b"other"));
    }

    #[test]
    fn a_server_that_has_been_restarted_owes_nothing_from_before() {
        let owed = Owed::default();
        owed.owe(b"early", 10, true);
        owed.owe(b"", 20, true);
        owed.owe(b"late", 30, true);
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
        owed.owe(b"late", 65, true);
        owed.restarted(all);
        assert!(owed.refuses(b"late") && !owed.refuses(b"early"));
    }

    #[test]
    fn what_was_never_sent_does_not_make_a_debt_younger() {
        let owed = Owed::default();
        owed.owe(b"k", 1, false);
        let debt = keys(owed.settle(5, 10));
        // Somebody tries and tries.
        owed.owe(b"k", 6, false);
        for (key, number) in debt {
            owed.paid(&key, number);
        }
        assert!(!owed.refuses(b"k"));
    }

    #[test]
    fn workers_share_what_they_owe_to_a_server() {
        let debts = Debts::default();
        let ip = |last| std::net::SocketAddr::from(([127, 0, 0, last], 1));
        let addr = ServerAddr::Tcp(ip(1));
        debts.of("a", &addr).owe(b"k", 0, true);
        assert!(debts.of("a", &addr).refuses(b"k"));
        assert!(!debts.of("b", &addr).refuses(b"k"));
        let found = ServerAddr::Found(vec![ip(2), ip(1)]);
        assert!(debts.of("a", &found).refuses(b"k"), "it has one more");
        assert_eq!(debts.keys(), 1);
    }

    #[test]
    fn a_server_that_left_and_is_back_has_missed_everything() {
        let debts = Debts::default();
        let addr = ServerAddr::Tcp(([127, 0, 0, 1], 1).into());
        let one = debts.of("a", &addr);
        one.join(10);
        one.join(11);
        one.leave(20);
        // A worker goes and comes, as when the settings change.
        one.join(21);
        assert!(!one.is_pending());
        one.leave(30);
        one.leave(40);
        drop(one);
        let again = debts.of("a", &addr);
        again.join(100);
        again.join(101);
        let Some(Debt::All(all)) = again.settle(140, 150) else {
            panic!();
        };
        assert_eq!(all.age, 100);
        again.flush_refused(all);
        assert!(!again.is_pending());
    }

    #[test]
    fn of_many_servers_those_are_forgotten_that_left_first() {
        let debts = Debts::default();
        for n in 0..=MAX_LEFT as u64 {
            let owed = debts.of(&n.to_string(), &ServerAddr::Found(Vec::new()));
            owed.join(n);
            owed.leave(n);
        }
        let owed = |n: u64| debts.of(&n.to_string(), &ServerAddr::Found(Vec::new()));
        assert_eq!(owed(0).state().left, None);
        assert_eq!(owed(2).state().left, Some(2));
    }
}
