//! The store against a model of it, a plain map, with time passing; and the store under its memory limit.

use std::collections::HashMap;

use proptest::prelude::*;

use super::change::{ArithError, Mode, Outcome, Put};
use super::item::Now;
use super::server::Options;
use super::store::Store;

/// What the model knows of an item.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    value: Vec<u8>,
    flags: u32,
    /// 0 for never.
    dies: u32,
    cas: u64,
    stored: u32,
}

#[derive(Debug, Default)]
struct Model {
    entries: HashMap<&'static str, Entry>,
    /// When a delayed flush comes due.
    flush: Option<u32>,
    cas: u64,
}

impl Model {
    /// A dead item goes when it is looked for; that shows, since a later flush may be a milder one.
    fn alive(&mut self, key: &str, now: u32) -> Option<&mut Entry> {
        let entry = self.entries.get(key)?;
        let expired = entry.dies != 0 && entry.dies <= now;
        let flushed = self.flush.is_some_and(|at| at <= now && entry.stored <= at);
        if expired || flushed {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    fn put(&mut self, key: &'static str, put: &Put<'_>, now: u32) -> Outcome {
        let &Put {
            mode,
            value,
            flags,
            exptime: dies,
            compare,
            ..
        } = put;
        let old = self.alive(key, now).cloned();
        let entry = |value: Vec<u8>, flags, dies, cas| Entry {
            value,
            flags,
            dies,
            cas,
            stored: now,
        };
        let cas = self.cas + 1;
        let fresh = entry(value.to_vec(), flags, dies, cas);
        let joined = |old: &Entry, front: &[u8], back: &[u8]| {
            entry([front, back].concat(), old.flags, old.dies, cas)
        };
        let new = match (mode, old) {
            (Mode::Set, _) | (Mode::Add, None) | (Mode::Replace, Some(_)) => fresh,
            (Mode::Append { create: true } | Mode::Prepend { create: true }, None) => fresh,
            (Mode::Cas, None) => return Outcome::NotFound,
            (Mode::Cas, Some(old)) if old.cas == compare => fresh,
            (Mode::Cas, Some(_)) => return Outcome::Exists,
            (Mode::Append { .. } | Mode::Prepend { .. }, Some(old))
                if compare != 0 && compare != old.cas =>
            {
                return Outcome::Exists;
            }
            (Mode::Append { .. }, Some(old)) => joined(&old, &old.value, value),
            (Mode::Prepend { .. }, Some(old)) => joined(&old, value, &old.value),
            _ => return Outcome::NotStored,
        };
        self.cas = cas;
        let len = new.value.len();
        self.entries.insert(key, new);
        Outcome::Stored { cas, len }
    }

    fn arith(&mut self, key: &str, incr: bool, delta: u64, now: u32) -> Result<u64, ArithError> {
        let cas = self.cas + 1;
        let entry = self.alive(key, now).ok_or(ArithError::NotFound)?;
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        let number = text.split(' ').next().unwrap_or_default();
        let old: u64 = number.parse().map_err(|_| ArithError::NotNumeric)?;
        let new = if incr {
            old.wrapping_add(delta)
        } else {
            old.saturating_sub(delta)
        };
        let mut value = new.to_string().into_bytes();
        if value.len() > entry.value.len() {
            entry.stored = now;
        } else {
            value.resize(entry.value.len(), b' ');
        }
        entry.value = value;
        entry.cas = cas;
        self.cas = cas;
        Ok(new)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(Mode, &'static str, Vec<u8>, u32, i32, u64),
    Get(&'static str),
    Touch(&'static str, i32),
    Delete(&'static str),
    Arith(&'static str, bool, u64),
    Flush(i32),
    Wait(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let exptime = || {
        prop::sample::select(vec![
            0, 0, 0, 1, 2, 5, 60, -1, 2_592_000, 1_000_003, 3_000_000,
        ])
    };
    let mode = prop::sample::select(vec![
        Mode::Set,
        Mode::Set,
        Mode::Add,
        Mode::Replace,
        Mode::Append { create: false },
        Mode::Append { create: true },
        Mode::Prepend { create: false },
        Mode::Prepend { create: true },
        Mode::Cas,
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "0",
            "9",
            "10",
            "100",
            "18446744073709551615",
            "x1",
            ""
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>().prop_map(|b| b | 0x80), 0..20),
    ];
    let op = prop_oneof![
        8 => (mode, key(), value, 0u32..4, exptime(), 0u64..12)
            .prop_map(|(mode, key, value, flags, exptime, compare)| Op::Put(mode, key, value, flags, exptime, compare)),
        6 => key().prop_map(Op::Get),
        2 => (key(), exptime()).prop_map(|(key, exptime)| Op::Touch(key, exptime)),
        1 => key().prop_map(Op::Delete),
        4 => (key(), any::<bool>(), prop::sample::select(vec![0, 1, 9, 91, u64::MAX]))
            .prop_map(|(key, incr, delta)| Op::Arith(key, incr, delta)),
        1 => prop::sample::select(vec![0, -1, 1, 3, 10]).prop_map(Op::Flush),
        3 => (0u32..4).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #[test]
    fn the_store_behaves_as_its_model(ops in ops()) {
        let start = 1_000_000;
        let store = Store::new(Options::default(), Now(start));
        let mut items = store.lock();
        let mut model = Model::default();
        let mut now = start;
        for op in ops {
            let at = Now(now);
            match op {
                Op::Put(mode, key, value, flags, exptime, compare) => {
                    // A comparison with nothing fails on any item.
                    let compare = if mode == Mode::Cas { compare.max(1) } else { compare };
                    let put = Put {
                        mode, key: key.as_bytes(), value: &value, flags, exptime: at.expiry(exptime),
                        compare, cas: None, allow_stale: false, binary: false,
                    };
                    let want = model.put(key, &put, now);
                    prop_assert_eq!(items.put(&put, at), want);
                }
                Op::Get(key) => {
                    let got = items.get(key.as_bytes(), at).map(|item| (item.value.to_vec(), item.flags, item.cas));
                    let want = model.alive(key, now).map(|e| (e.value.clone(), e.flags, e.cas));
                    prop_assert_eq!(got, want);
                    // A fetched item may become active and so younger; the model takes its word for that.
                    if let Some(item) = items.peek(key.as_bytes(), at) {
                        let stored = item.time;
                        prop_assert!(stored <= now);
                        model.entries.get_mut(key).unwrap().stored = stored;
                    }
                }
                Op::Touch(key, exptime) => {
                    let found = items.touch(key.as_bytes(), at.expiry(exptime), at).map(|item| item.time);
                    let entry = model.alive(key, now);
                    prop_assert_eq!(found.is_some(), entry.is_some());
                    if let (Some(stored), Some(entry)) = (found, entry) {
                        entry.dies = at.expiry(exptime);
                        entry.stored = stored;
                    }
                }
                Op::Delete(key) => {
                    let want = model.alive(key, now).is_some();
                    prop_assert_eq!(items.delete(key.as_bytes(), at), want);
                    model.entries.remove(key);
                }
                Op::Arith(key, incr, delta) => {
                    let want = model.arith(key, incr, delta, now);
                    prop_assert_eq!(items.arith(key.as_bytes(), incr, delta, 0, at), want);
                }
                Op::Flush(delay) => {
                    items.flush(delay, at);
                    if delay > 0 {
                        model.flush = Some(now + delay.unsigned_abs() - 1);
                    } else {
                        model.flush = None;
                        model.entries.clear();
                    }
                }
                Op::Wait(seconds) => now += seconds,
            }
        }
        for key in ["a", "b", "c", "d"] {
            let got = items.peek(key.as_bytes(), Now(now)).map(|i| (i.value.to_vec(), i.exptime, i.cas));
            let want = model.alive(key, now).map(|e| (e.value.clone(), e.dies, e.cas));
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn memory_stays_under_the_limit(sizes in prop::collection::vec((0u16..600, 0usize..500_000), 1..300)) {
        let memory = 2 << 20;
        let store = Store::new(Options { memory, ..Options::default() }, Now(1));
        let mut items = store.lock();
        for (i, (key, len)) in sizes.iter().enumerate() {
            let key = format!("key{key}");
            // Mostly small, as in life.
            let len = if i % 4 == 0 { *len } else { len / 500 };
            let value = vec![0; len];
            let put = Put {
                mode: if i % 7 == 0 { Mode::Append { create: true } } else { Mode::Set },
                key: key.as_bytes(), value: &value, flags: 0, exptime: 0,
                compare: 0, cas: None, allow_stale: false, binary: false,
            };
            let outcome = items.put(&put, Now(1));
            prop_assert!(items.weight() <= memory as u64);
            if matches!(outcome, Outcome::Stored { .. }) {
                prop_assert!(items.get(key.as_bytes(), Now(1)).is_some(), "what was just stored is there");
            }
            let summed: usize = items.iter().map(|(key, item)| item.size(key.len())).sum();
            prop_assert_eq!(items.bytes(), summed as u64);
        }
    }
}

fn set<'a>(key: &'a [u8], value: &'a [u8], exptime: u32) -> Put<'a> {
    Put {
        mode: Mode::Set,
        key,
        value,
        flags: 0,
        exptime,
        compare: 0,
        cas: None,
        allow_stale: false,
        binary: false,
    }
}

#[test]
fn evictions_are_counted_and_replacements_are_not() {
    let memory = 1 << 20;
    let store = Store::new(
        Options {
            memory,
            ..Options::default()
        },
        Now(1),
    );
    let mut items = store.lock();
    let value = [7; 1000];
    for _ in 0..5000 {
        items.put(&set(b"same", &value, 0), Now(1));
    }
    assert_eq!((items.len(), items.counters.evictions), (1, 0));
    for i in 0..5000 {
        items.put(&set(format!("key{i}").as_bytes(), &value, 0), Now(1));
    }
    let (len, evictions) = (items.len(), items.counters.evictions);
    assert!(len > 800, "most of the memory is for items: {len}");
    assert_eq!(len as u64 + evictions, 5001);
    assert_eq!(items.counters.reclaimed, 0);
    // Items whose time is up make room before others do, whether or not the cache would keep them.
    items.flush(0, Now(1));
    for i in 0..500 {
        items.put(&set(format!("old{i}").as_bytes(), &value, 10), Now(1));
    }
    let before = items.counters.evictions;
    for i in 0..800 {
        items.put(&set(format!("new{i}").as_bytes(), &value, 0), Now(70));
    }
    assert_eq!(items.counters.evictions, before);
    assert_eq!(
        (items.counters.reclaimed, items.counters.expired_unfetched),
        (500, 500)
    );
    assert_eq!(items.len(), 800);
}

#[test]
fn what_is_used_again_outlives_what_is_not() {
    let store = Store::new(
        Options {
            memory: 1 << 20,
            ..Options::default()
        },
        Now(1),
    );
    let mut items = store.lock();
    let value = [7; 1000];
    for i in 0..100 {
        items.put(&set(format!("hot{i}").as_bytes(), &value, 0), Now(1));
    }
    for i in 0..20_000 {
        items.put(&set(format!("cold{i}").as_bytes(), &value, 0), Now(1));
        let _ = items.get(format!("hot{}", i % 100).as_bytes(), Now(1));
    }
    let hot = (0..100)
        .filter(|i| items.peek(format!("hot{i}").as_bytes(), Now(1)).is_some())
        .count();
    assert!(hot > 90, "{hot}");
}

#[test]
fn limits_that_make_no_sense_are_made_to() {
    let options = Options {
        memory: 0,
        max_item: usize::MAX,
        max_connections: 1,
    };
    let store = Store::new(options, Now(1));
    assert_eq!(store.options().memory, 1 << 20);
    assert_eq!(store.options().max_item, 1 << 19);
}
