//! Changes that depend on what is there: conditional stores, appends, arithmetic.
//!
//! Each is one step under the store's lock. The conditions and their precedence are memcached's: a value too
//! large is refused before anything else, then the item is looked for, then cas values are compared. A change
//! makes a new item, without the marks of the old one; only arithmetic that fits changes one in place.
//! This module knows neither the protocol's syntax nor how items are cached.

use super::item::{self, Item, Mark, Now};
use super::store::Items;
use crate::protocol::number;

/// How a value is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In any case.
    Set,
    /// If there is none.
    Add,
    /// If there is one.
    Replace,
    /// After the present value.
    Append {
        /// Store it as the value if there is none.
        create: bool,
    },
    /// Before the present value.
    Prepend {
        /// Store it as the value if there is none.
        create: bool,
    },
    /// If the cas value is still the given one.
    Cas,
}

/// A value to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// Under which condition.
    pub mode: Mode,
    /// The key, decoded.
    pub key: &'a [u8],
    /// The value, without its line end.
    pub value: &'a [u8],
    /// The client's flags.
    pub flags: u32,
    /// The expiry time as [`Now::expiry`] gives it.
    pub exptime: u32,
    /// The cas value that is expected, 0 for none. Append and prepend heed it, too.
    pub compare: u64,
    /// The cas value the item is to get; the next one otherwise.
    pub cas: Option<u64>,
    /// With [`Mode::Cas`]: store a value that is older than the present one, and mark it stale.
    pub allow_stale: bool,
    /// Whether the key came as base64.
    pub binary: bool,
}

/// What became of a [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Stored {
        /// The item's new cas value.
        cas: u64,
        /// The length of the item's whole value, in bytes.
        len: usize,
    },
    /// The condition was not met.
    NotStored,
    /// The cas value has changed.
    Exists,
    /// There is no item whose cas value could be compared.
    NotFound,
    /// The item would be larger than items may be. [`Items::refuse_too_large`] is not done yet.
    TooLarge,
}

/// Why an `incr` or `decr` changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithError {
    /// No such item.
    NotFound,
    /// The value is not an unsigned 64-bit number.
    NotNumeric,
    /// The cas value is another.
    Exists,
}

impl Items {
    /// Stores a value if its condition holds.
    pub fn put(&mut self, put: &Put<'_>, now: Now) -> Outcome {
        let key_len = put.key.len();
        if !self.fits(key_len, put.value.len(), put.flags) {
            return Outcome::TooLarge;
        }
        let size = item::size(key_len, put.value.len(), put.flags);
        self.class_counters(size).set_cmds += 1;
        let (old_size, verdict) = match self.peek(put.key, now) {
            None => (0, absent(put)),
            Some(old) => (old.size(key_len), present(old, put)),
        };
        if put.mode == Mode::Cas {
            match verdict {
                Ok(_) => self.class_counters(old_size).cas_hits += 1,
                Err(Outcome::Exists) => self.class_counters(old_size).cas_badval += 1,
                Err(_) => self.counters.cas_misses += 1,
            }
        }
        let item = match verdict {
            Ok(item) if self.fits(key_len, item.value.len(), item.flags) => item,
            // Only an append can have grown.
            Ok(_) => return Outcome::NotStored,
            Err(outcome) => {
                if put.mode == Mode::Add
                    && let Some(mut old) = self.find(put.key, true, now)
                {
                    old.renew(now);
                }
                return outcome;
            }
        };
        let len = item.value.len();
        let cas = self.link(put.key, item, put.cas, now);
        Outcome::Stored { cas, len }
    }

    /// Adds to or subtracts from a number: up wraps at 2^64, down stops at 0. Returns the new number.
    ///
    /// A miss is not counted: `ma` may yet create the item. A number that got shorter leaves spaces behind it,
    /// since its item is changed in place.
    pub fn arith(
        &mut self,
        key: &[u8],
        incr: bool,
        delta: u64,
        compare: u64,
        now: Now,
    ) -> Result<u64, ArithError> {
        let Some(item) = self.peek(key, now) else {
            return Err(ArithError::NotFound);
        };
        // Of nothing, and of a value in several chunks, memcached says so whatever the cas value.
        let size = item.size(key.len());
        if item.value.is_empty() || item::chunked(size) {
            return Err(ArithError::NotNumeric);
        }
        if compare != 0 && compare != item.cas {
            return Err(ArithError::Exists);
        }
        // memcached reads a C string, so a NUL ends the number.
        let text = item.value.split(|b| *b == 0).next().unwrap_or_default();
        let Some(old) = number::u64(text) else {
            return Err(ArithError::NotNumeric);
        };
        let new = if incr {
            old.wrapping_add(delta)
        } else {
            old.saturating_sub(delta)
        };
        if incr {
            self.class_counters(size).incr_hits += 1;
        } else {
            self.class_counters(size).decr_hits += 1;
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(new).as_bytes();
        let cas = self.fresh_cas();
        // Just seen, so it is there.
        if let Some(mut item) = self.find(key, false, now) {
            if let Some((front, rest)) = item.value.split_at_mut_checked(digits.len()) {
                front.copy_from_slice(digits);
                rest.fill(b' ');
                item.renew(now);
                item.cas = cas;
            } else {
                let longer = Item::new(digits.into(), item.flags, item.exptime);
                drop(item);
                self.link(key, longer, Some(cas), now);
            }
        }
        Ok(new)
    }
}

fn fresh(put: &Put<'_>) -> Item {
    let mut item = Item::new(put.value.into(), put.flags, put.exptime);
    item.set(Mark::KeyBinary, put.binary);
    item
}

/// The item to store where there is none.
fn absent(put: &Put<'_>) -> Result<Item, Outcome> {
    match put.mode {
        Mode::Set | Mode::Add | Mode::Append { create: true } | Mode::Prepend { create: true } => {
            Ok(fresh(put))
        }
        Mode::Cas => Err(Outcome::NotFound),
        Mode::Replace | Mode::Append { .. } | Mode::Prepend { .. } => Err(Outcome::NotStored),
    }
}

/// The item to store in the place of `old`.
fn present(old: &Item, put: &Put<'_>) -> Result<Item, Outcome> {
    match put.mode {
        Mode::Set | Mode::Replace => Ok(fresh(put)),
        Mode::Add => Err(Outcome::NotStored),
        Mode::Cas if put.compare != 0 && put.compare == old.cas => Ok(fresh(put)),
        Mode::Cas if put.compare != 0 && put.compare < old.cas && put.allow_stale => {
            // Late, but better than nothing: it serves until the one who was told to fetch a new value has it.
            let mut item = fresh(put);
            item.exptime = old.exptime;
            item.set(Mark::Stale, true);
            item.set(Mark::TokenSent, old.has(Mark::TokenSent));
            Ok(item)
        }
        Mode::Cas => Err(Outcome::Exists),
        Mode::Append { .. } | Mode::Prepend { .. }
            if put.compare != 0 && put.compare != old.cas =>
        {
            Err(Outcome::Exists)
        }
        // Flags and expiry time stay the old ones. That the key is base64 is forgotten, as in memcached.
        Mode::Append { .. } => Ok(joined(&old.value, put.value, old)),
        Mode::Prepend { .. } => Ok(joined(put.value, &old.value, old)),
    }
}

fn joined(front: &[u8], back: &[u8], old: &Item) -> Item {
    Item::new([front, back].concat().into(), old.flags, old.exptime)
}
