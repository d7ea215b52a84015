//! The keys a connection waits for, so that every reply can be checked against what was asked.

/// A key in a [`KeyLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    at: u32,
    len: u32,
}

impl KeyRef {
    /// No bytes.
    pub const EMPTY: KeyRef = KeyRef { at: 0, len: 0 };

    /// The key of so many bytes, `offset` bytes into a text that has been or will be pushed at `at`. It can be read once
    /// that has been done.
    #[inline]
    pub fn within(at: u32, offset: usize, len: usize) -> KeyRef {
        KeyRef {
            at: at.wrapping_add(offset as u32),
            len: len as u32,
        }
    }
}

/// Keys in the order asked; released in the same order.
///
/// Positions are absolute and wrap at 2³²; what is held at one time is bounded far below that by the
/// connection's queue.
#[derive(Debug, Default)]
pub struct KeyLog {
    bytes: Vec<u8>,
    /// Absolute position of `bytes[0]`.
    base: u32,
}

/// Dead bytes at the front are moved away once there are this many, so each byte is moved less than once.
const COMPACT: usize = 16 * 1024;

impl KeyLog {
    /// Where the next key will be.
    #[inline]
    pub fn end(&self) -> u32 {
        self.base.wrapping_add(self.bytes.len() as u32)
    }

    /// Appends a key, or a text that keys are part of; see [`KeyRef::within`].
    #[inline]
    pub fn push(&mut self, key: &[u8]) -> KeyRef {
        let at = self.end();
        self.bytes.extend_from_slice(key);
        KeyRef {
            at,
            len: key.len() as u32,
        }
    }

    /// The bytes of a key that has not been released.
    #[inline]
    pub fn get(&self, key: KeyRef) -> &[u8] {
        let start = key.at.wrapping_sub(self.base) as usize;
        self.bytes
            .get(start..start + key.len as usize)
            .unwrap_or_default()
    }

    /// Releases `key` and all before it.
    #[inline]
    pub fn release(&mut self, key: KeyRef) {
        let dead = key.at.wrapping_sub(self.base) as usize + key.len as usize;
        if dead >= self.bytes.len() {
            self.base = self.base.wrapping_add(self.bytes.len() as u32);
            self.bytes.clear();
        } else if dead >= COMPACT && dead * 2 >= self.bytes.len() {
            self.bytes.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        }
    }

    /// Gives memory back that much longer keys, or many more, have needed.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() >= 4 * COMPACT && self.bytes.len() < self.bytes.capacity() / 4 {
            self.bytes.shrink_to(self.bytes.len() * 2);
        }
    }

    /// Releases everything, and the memory.
    pub fn reset(&mut self) {
        *self = KeyLog::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_stays_readable_until_released(
            base in any::<u32>(),
            steps in prop::collection::vec((1usize..250, 0usize..4), 1..400),
        ) {
            let mut log = KeyLog { bytes: Vec::new(), base };
            let mut live = std::collections::VecDeque::new();
            for (i, (len, release)) in steps.into_iter().enumerate() {
                let key = vec![i as u8; len];
                live.push_back((log.push(&key), key));
                for _ in 0..release {
                    if let Some((r, _)) = live.pop_front() {
                        log.release(r);
                    }
                }
                for (r, key) in &live {
                    prop_assert_eq!(log.get(*r), &key[..]);
                }
            }
        }
    }
}
