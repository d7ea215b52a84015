//! The items of one embedded server, on a weighted quick_cache behind one lock.
//!
//! Every command runs under the lock from its first look at an item to its last change, so `cas`, `add`, `incr`
//! and the rest, which are in [`super::change`], are atomic however many connections there are. A server's
//! connections share one thread, so the lock is free nearly always.
//!
//! Invariants: the weight, which is memcached's item size plus what the cache's own structures take, never
//! exceeds the memory limit after a command; what was just stored is there; an expired or flushed item is never
//! seen; no two changes get the same cas value, unless a client chooses one.
//! The time comes with each call. This module knows neither the protocol's syntax nor sockets.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::{Cache, RefMut};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::counters::{ClassCounters, Counters, Traffic};
use super::item::{self, Classes, Item, Mark, Now};
use super::server::Options;

/// A set of items with its counters, shared by the connections of one server.
#[derive(Debug)]
pub struct Store {
    items: Mutex<Items>,
    traffic: Traffic,
    options: Options,
}

impl Store {
    /// An empty store. Memory below 1 MiB is taken for 1 MiB, and an item may take half of it at most.
    pub fn new(options: Options, now: Now) -> Store {
        let memory = options.memory.max(item::PAGE);
        let options = Options {
            memory,
            max_item: options.max_item.clamp(1024, memory / 2),
            ..options
        };
        Store {
            items: Mutex::new(Items::new(&options, now)),
            traffic: Traffic::default(),
            options,
        }
    }

    /// How many items there are; expired ones that nobody has asked for since count.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, locked.
    pub(super) fn lock(&self) -> MutexGuard<'_, Items> {
        // Every change is made by a single call into the cache, so a panic elsewhere leaves it sound.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of the connections.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The limits in force.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// What the cache's entry, its links and the two allocations of an item take beyond memcached's header.
const OVERHEAD: usize = 48;

/// Weighs an item by the memory it takes.
#[derive(Clone, Debug)]
pub struct ItemWeight;

impl Weighter<Box<[u8]>, Item> for ItemWeight {
    fn weight(&self, key: &Box<[u8]>, item: &Item) -> u64 {
        (item.size(key.len()) + OVERHEAD) as u64
    }
}

/// Counts what had to make room.
#[derive(Clone, Debug)]
pub struct Evictions;

/// What one insertion pushed out.
#[derive(Debug, Default)]
pub struct Evicted {
    now: u32,
    expired: u64,
    expired_unfetched: u64,
    alive: u64,
    unfetched: u64,
    active: u64,
}

impl Lifecycle<Box<[u8]>, Item> for Evictions {
    type RequestState = Evicted;

    fn is_pinned(&self, _key: &Box<[u8]>, item: &Item) -> bool {
        item.has(Mark::Pinned)
    }

    // Not `on_evict`: that is also called for the old value when a new one replaces it.
    fn before_evict(&self, state: &mut Evicted, _key: &Box<[u8]>, item: &mut Item) {
        let unfetched = u64::from(!item.has(Mark::Fetched));
        if item.expired(Now(state.now)) {
            state.expired += 1;
            state.expired_unfetched += unfetched;
        } else {
            state.alive += 1;
            state.unfetched += unfetched;
            state.active += u64::from(item.has(Mark::Active));
        }
    }
}

// An item is as old as its time says, which is why a delayed flush spares what is stored later.
fn flushed(item: &Item, flush_at: u32, now: Now) -> bool {
    flush_at != 0 && flush_at <= now.0 && item.time <= flush_at
}

/// An item in its place.
pub type ItemRef<'a> = RefMut<'a, Box<[u8]>, Item, ItemWeight, DefaultHashBuilder, Evictions>;

/// The items of a [`Store`] while it is locked.
#[derive(Debug)]
pub struct Items {
    cache: Cache<Box<[u8]>, Item, ItemWeight, DefaultHashBuilder, Evictions>,
    classes: Classes,
    /// What was counted.
    pub counters: Counters,
    last_cas: u64,
    started: Now,
    /// Items of this time and older are flushed once it is reached.
    flush_at: u32,
    /// When dead items were last looked for.
    swept: Now,
}

/// How often, in seconds, dead items are looked for when memory is short.
const SWEEP_EVERY: u32 = 60;

impl Items {
    fn new(options: &Options, now: Now) -> Items {
        let memory = options.memory;
        let mut builder = OptionsBuilder::new();
        builder
            .weight_capacity(memory as u64)
            .estimated_items_capacity(memory / 1024);
        // The two values it asks for are given, so building cannot fail; the fallback has the same limit.
        let cache = match builder.build() {
            Ok(options) => Cache::with_options(
                options,
                ItemWeight,
                DefaultHashBuilder::default(),
                Evictions,
            ),
            Err(_) => Cache::with(
                memory / 1024,
                memory as u64,
                ItemWeight,
                DefaultHashBuilder::default(),
                Evictions,
            ),
        };
        Items {
            cache,
            classes: Classes::new(options.max_item),
            counters: Counters::default(),
            last_cas: 0,
            started: now,
            flush_at: 0,
            swept: now,
        }
    }

    /// How many items there are, expired ones that nobody asked for included.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// The items' sizes as memcached counts them, in bytes.
    pub fn bytes(&self) -> u64 {
        self.weight() - (self.len() * OVERHEAD) as u64
    }

    /// The memory that is accounted for, in bytes; never more than [`Options::memory`].
    pub fn weight(&self) -> u64 {
        self.cache.weight()
    }

    /// The slab classes items fall into.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// When the store was made.
    pub fn started(&self) -> Now {
        self.started
    }

    /// The point in time of the flush in force, 0 for none.
    pub fn flush_at(&self) -> u32 {
        self.flush_at
    }

    /// All items with their keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.cache.iter().map(|(key, item)| (&**key, item))
    }

    /// Removes the item if it is dead.
    fn reap(&mut self, key: &[u8], now: Now) {
        let Some(item) = self.cache.peek(key) else {
            return;
        };
        if flushed(item, self.flush_at, now) {
            self.counters.get_flushed += 1;
        } else if item.expired(now) {
            self.counters.get_expired += 1;
        } else {
            return;
        }
        self.cache.remove(key);
    }

    /// Removes all dead items if that was not done lately: the cache itself would let live ones go first that
    /// were not asked for as often. (memcached has a thread for that, the LRU crawler.)
    fn sweep(&mut self, now: Now) {
        if now.since(self.swept.0) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        let flush_at = self.flush_at;
        let (dead, unfetched) = (Cell::new(0), Cell::new(0));
        self.cache.retain(|_, item| {
            let alive = !item.expired(now) && !flushed(item, flush_at, now);
            dead.set(dead.get() + u64::from(!alive));
            unfetched.set(unfetched.get() + u64::from(!alive && !item.has(Mark::Fetched)));
            alive
        });
        self.counters.reclaimed += dead.get();
        self.counters.expired_unfetched += unfetched.get();
    }

    /// The item, without counting anything. `used` says whether this is a use that should keep it cached.
    ///
    /// Its value must not be changed to a longer one: only [`Items::put`] makes room.
    pub fn find(&mut self, key: &[u8], used: bool, now: Now) -> Option<ItemRef<'_>> {
        self.reap(key, now);
        if used {
            self.cache.get_mut(key)
        } else {
            self.cache.peek_mut(key)
        }
    }

    /// The item as it is, without counting anything.
    pub fn peek(&mut self, key: &[u8], now: Now) -> Option<&Item> {
        self.reap(key, now);
        self.cache.peek(key)
    }

    /// The counters of the class that items of `size` bytes fall into.
    pub fn class_counters(&mut self, size: usize) -> &mut ClassCounters {
        self.counters.class_mut(self.classes.of(size))
    }

    /// `get`: the item, counted as a hit or miss.
    pub fn get(&mut self, key: &[u8], now: Now) -> Option<ItemRef<'_>> {
        self.reap(key, now);
        self.counters.get_cmds += 1;
        let Some(mut item) = self.cache.get_mut(key) else {
            self.counters.get_misses += 1;
            return None;
        };
        let class = self.classes.of(item.size(key.len()));
        self.counters.class_mut(class).get_hits += 1;
        item.bump(now);
        Some(item)
    }

    /// `touch` and `gat`: the item, with a new expiry time, counted as a touch.
    pub fn touch(&mut self, key: &[u8], exptime: u32, now: Now) -> Option<ItemRef<'_>> {
        self.reap(key, now);
        self.counters.touch_cmds += 1;
        let Some(mut item) = self.cache.get_mut(key) else {
            self.counters.touch_misses += 1;
            return None;
        };
        let class = self.classes.of(item.size(key.len()));
        self.counters.class_mut(class).touch_hits += 1;
        item.bump(now);
        item.exptime = exptime;
        Some(item)
    }

    /// Removes the item; whether there was one. Counted as a delete hit or miss.
    pub fn delete(&mut self, key: &[u8], now: Now) -> bool {
        self.reap(key, now);
        match self.cache.remove(key) {
            Some((key, item)) => {
                self.class_counters(item.size(key.len())).delete_hits += 1;
                true
            }
            None => {
                self.counters.delete_misses += 1;
                false
            }
        }
    }

    /// Whether an item of these lengths may be stored.
    pub fn fits(&self, key_len: usize, value_len: usize, flags: u32) -> bool {
        self.classes.fits(item::size(key_len, value_len, flags))
    }

    /// Counts a refused value, and removes the item that it would have replaced.
    pub fn refuse_too_large(&mut self, replaced: Option<&[u8]>) {
        self.counters.store_too_large += 1;
        if let Some(key) = replaced {
            self.cache.remove(key);
        }
    }

    /// Puts an item in the place of whatever is there, evicting others if needed. Returns its cas value.
    pub fn link(&mut self, key: &[u8], mut item: Item, cas: Option<u64>, now: Now) -> u64 {
        let cas = cas.unwrap_or_else(|| self.fresh_cas());
        item.cas = cas;
        item.time = now.0;
        let weight = (item.size(key.len()) + OVERHEAD) as u64;
        if self.weight() + weight > self.cache.capacity() {
            self.sweep(now);
        }
        let mut evicted = Evicted {
            now: now.0,
            ..Evicted::default()
        };
        // No item is larger than half the memory, so there is always another one that can go.
        item.set(Mark::Pinned, true);
        self.cache
            .insert_with_lifecycle(key.into(), item, &mut evicted);
        if let Some(mut item) = self.cache.peek_mut(key) {
            item.set(Mark::Pinned, false);
        }
        self.counters.total_items += 1;
        self.counters.evictions += evicted.alive;
        self.counters.evicted_unfetched += evicted.unfetched;
        self.counters.evicted_active += evicted.active;
        self.counters.reclaimed += evicted.expired;
        self.counters.expired_unfetched += evicted.expired_unfetched;
        cas
    }

    /// Counts an `incr` or `decr` that found nothing.
    pub fn count_arith_miss(&mut self, incr: bool) {
        if incr {
            self.counters.incr_misses += 1;
        } else {
            self.counters.decr_misses += 1;
        }
    }

    /// The next cas value.
    pub fn fresh_cas(&mut self) -> u64 {
        self.last_cas += 1;
        self.last_cas
    }

    /// `flush_all`: at once for a delay of 0 or less, else everything that will be there when it is over.
    pub fn flush(&mut self, delay: i32, now: Now) {
        self.counters.flush_cmds += 1;
        if delay > 0 {
            self.flush_at = now.expiry(delay).saturating_sub(1);
        } else {
            self.flush_at = 0;
            self.cache.clear();
        }
    }

    /// `stats reset`.
    pub fn reset_counters(&mut self) {
        self.counters = Counters::default();
    }
}
