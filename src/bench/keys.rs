//! The keys and values of the load generator.
//!
//! A key is `PREFIX LETTER PADDING NUMBER`, always `key_size` bytes long, so that writing one is a copy
//! of a template and reading one back is a comparison and a short number. The letter keeps the two key
//! spaces apart: `k` holds values, `n` holds counters for `incr`.
//!
//! A value that is long enough describes itself: `KEY SPACE FILLER CRC`, where the last eight bytes are
//! the CRC-32 of everything before them, in hex. The filler starts at another offset for every key, so
//! that a piece of one value inside another does not go unnoticed. Values too short for that are filler
//! only, and cannot be checked.
//!
//! This module knows nothing of the protocol, of connections or of time.

use super::Error;

/// Longest key memcached accepts, in bytes.
const MAX_KEY: usize = 250;
/// Length of the checksum at the end of a value, in bytes.
const CRC_LEN: usize = 8;
/// How many different offsets into the filler values start from.
const FILLER_OFFSETS: u64 = 4096;

/// The two families of keys; they never collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Ordinary values.
    Data,
    /// Decimal numbers, for `incr`.
    Counter,
}

/// Writes and recognises the keys of one run.
#[derive(Debug, Clone)]
pub(super) struct KeySpace {
    data: Vec<u8>,
    counter: Vec<u8>,
    digits: usize,
    count: u64,
}

impl KeySpace {
    /// `count` keys of exactly `size` bytes that start with `prefix`.
    ///
    /// # Errors
    /// [`Error::Usage`] when such keys cannot exist or memcached would refuse them.
    pub(super) fn new(prefix: &str, size: usize, count: u64) -> Result<Self, Error> {
        if count == 0 {
            return Err(Error::Usage("--keys must be at least 1".into()));
        }
        if let Some(bad) = prefix.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::Usage(format!(
                "--key-prefix contains {bad:?}; memcached keys hold no spaces, line ends or control characters"
            )));
        }
        let digits = (count - 1).checked_ilog10().unwrap_or(0) as usize + 1;
        let least = prefix.len() + 1 + digits;
        if size < least || size > MAX_KEY {
            return Err(Error::Usage(format!(
                "--key-size {size} does not fit: with prefix {prefix:?} and {count} keys it must be between {least} and {MAX_KEY}"
            )));
        }
        let template = |letter: u8| {
            let mut key = prefix.as_bytes().to_vec();
            key.push(letter);
            key.resize(size, b'0');
            key
        };
        Ok(Self {
            data: template(b'k'),
            counter: template(b'n'),
            digits,
            count,
        })
    }

    /// Number of keys in each space.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Length of every key, in bytes.
    pub(super) fn key_len(&self) -> usize {
        self.data.len()
    }

    /// Appends key number `index` of `space` to `out`.
    pub(super) fn push(&self, space: Space, index: u64, out: &mut Vec<u8>) {
        let template = match space {
            Space::Data => &self.data,
            Space::Counter => &self.counter,
        };
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(index).as_bytes();
        let head = template.len().saturating_sub(digits.len());
        out.extend_from_slice(template.get(..head).unwrap_or_default());
        out.extend_from_slice(digits);
    }

    /// The number of a key of the data space, or `None` when `key` is none of ours.
    pub(super) fn index_of(&self, key: &[u8]) -> Option<u64> {
        if key.len() != self.data.len() {
            return None;
        }
        let (head, tail) = key.split_at_checked(key.len() - self.digits)?;
        if !self.data.starts_with(head) {
            return None;
        }
        let mut index = 0_u64;
        for byte in tail {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            index = index.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
        (index < self.count).then_some(index)
    }
}

/// Makes values; see the module header for their form.
#[derive(Debug)]
pub(super) struct Values {
    filler: Vec<u8>,
    key_len: usize,
}

impl Values {
    /// Values of up to `largest` bytes for keys of `key_len` bytes.
    pub(super) fn new(largest: usize, key_len: usize) -> Self {
        const ALPHABET: &[u8; 64] =
            b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let mut rng = super::sample::Rng::new(0x7269_6e67);
        let len = largest + FILLER_OFFSETS as usize;
        let filler = (0..len)
            .map(|_| {
                let at = (rng.next() >> 58) as usize;
                ALPHABET.get(at).copied().unwrap_or(b'x')
            })
            .collect();
        Self { filler, key_len }
    }

    /// Shortest value that can hold its key and checksum, in bytes.
    pub(super) fn least_checkable(key_len: usize) -> usize {
        key_len + 1 + CRC_LEN
    }

    /// Appends the value of data key `index`, exactly `size` bytes, to `out`.
    pub(super) fn push(&self, keys: &KeySpace, index: u64, size: usize, out: &mut Vec<u8>) {
        let offset = (index.wrapping_mul(7919) % FILLER_OFFSETS) as usize;
        let filler = |len: usize| self.filler.get(offset..offset + len).unwrap_or_default();
        let overhead = Self::least_checkable(self.key_len);
        if size < overhead {
            out.extend_from_slice(filler(size));
            return;
        }
        let start = out.len();
        keys.push(Space::Data, index, out);
        out.push(b' ');
        out.extend_from_slice(filler(size - overhead));
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&hex(crc));
    }
}

/// A checksum as it stands at the end of a value.
fn hex(crc: u32) -> [u8; CRC_LEN] {
    let mut text = [0; CRC_LEN];
    for (at, byte) in text.iter_mut().enumerate() {
        let nibble = (crc >> (28 - 4 * at)) & 0xf;
        *byte = b"0123456789abcdef"
            .get(nibble as usize)
            .copied()
            .unwrap_or(b'0');
    }
    text
}

/// Checks one value as it arrives, in pieces of any size.
#[derive(Debug)]
pub(super) struct Verifier {
    crc: crc32fast::Hasher,
    head: Vec<u8>,
    head_len: usize,
    tail: Vec<u8>,
    tail_at: usize,
    size: usize,
    seen: usize,
}

impl Verifier {
    /// A verifier for keys of `key_len` bytes; call [`start`](Self::start) before every value.
    pub(super) fn new(key_len: usize) -> Self {
        Self {
            crc: crc32fast::Hasher::new(),
            head: Vec::with_capacity(key_len + 1),
            head_len: key_len + 1,
            tail: Vec::with_capacity(CRC_LEN),
            tail_at: 0,
            size: 0,
            seen: 0,
        }
    }

    /// A value of `size` bytes follows.
    pub(super) fn start(&mut self, size: usize) {
        self.crc.reset();
        self.head.clear();
        self.tail.clear();
        self.size = size;
        self.tail_at = size.saturating_sub(CRC_LEN);
        self.seen = 0;
    }

    /// The next piece of the value.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let missing = self.head_len - self.head.len();
        self.head
            .extend_from_slice(piece.get(..missing.min(piece.len())).unwrap_or_default());
        let body = self.tail_at.saturating_sub(self.seen).min(piece.len());
        if let Some((body, tail)) = piece.split_at_checked(body) {
            self.crc.update(body);
            self.tail.extend_from_slice(tail);
        }
        self.seen += piece.len();
    }

    /// Says whether the value is whole and belongs to data key `index`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn finish(&mut self, keys: &KeySpace, index: u64) -> Result<(), String> {
        if self.size < Values::least_checkable(keys.key_len()) {
            return Err(format!(
                "its {} bytes are too few to hold a key and a checksum",
                self.size
            ));
        }
        let mut expected = Vec::with_capacity(self.head_len);
        keys.push(Space::Data, index, &mut expected);
        expected.push(b' ');
        if self.head != expected {
            return Err(format!(
                "it begins with \"{}\", not with its key",
                self.head.escape_ascii()
            ));
        }
        let crc = hex(std::mem::take(&mut self.crc).finalize());
        if self.tail != crc {
            return Err(format!(
                "its checksum is \"{}\" but its {} bytes give \"{}\"",
                self.tail.escape_ascii(),
                self.size,
                crc.escape_ascii()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> KeySpace {
        KeySpace::new("bench:", 24, 100_000).unwrap()
    }

    #[test]
    fn keys_have_their_size_and_read_back() {
        let keys = keys();
        for index in [0, 1, 9, 10, 4711, 99_999] {
            let mut out = b"get ".to_vec();
            keys.push(Space::Data, index, &mut out);
            assert_eq!(out.len(), 4 + 24);
            assert_eq!(keys.index_of(&out[4..]), Some(index));
        }
    }

    #[test]
    fn only_our_own_keys_are_recognised() {
        let keys = keys();
        let mut counter = Vec::new();
        keys.push(Space::Counter, 7, &mut counter);
        assert_eq!(keys.index_of(&counter), None, "the spaces are apart");
        assert_eq!(keys.index_of(b"bench:k00000000000100000"), None, "too big");
        assert_eq!(keys.index_of(b"bench:k0000000000000x000"), None);
        assert_eq!(keys.index_of(b"bench:k1000000000000000"), None, "short");
        assert_eq!(keys.index_of(b""), None);
    }

    #[test]
    fn impossible_key_spaces_are_refused() {
        assert!(KeySpace::new("bench:", 11, 100_000).is_err());
        assert!(KeySpace::new("bench:", 12, 100_000).is_ok());
        assert!(KeySpace::new("bench:", 251, 10).is_err());
        assert!(KeySpace::new("a b", 24, 10).is_err());
        assert!(KeySpace::new("", 24, 0).is_err());
        assert!(KeySpace::new("", 2, 1).is_ok());
    }

    fn verify(keys: &KeySpace, value: &[u8], index: u64, piece: usize) -> Result<(), String> {
        let mut verifier = Verifier::new(keys.key_len());
        // Twice, since a verifier is used again for every value of its connection.
        for _ in 0..2 {
            verifier.start(value.len());
            for piece in value.chunks(piece) {
                verifier.feed(piece);
            }
            verifier.finish(keys, index)?;
        }
        Ok(())
    }

    #[test]
    fn a_value_passes_for_its_own_key_in_any_pieces() {
        let keys = keys();
        let values = Values::new(5000, keys.key_len());
        for size in [33, 34, 100, 5000] {
            let mut value = Vec::new();
            values.push(&keys, 4711, size, &mut value);
            assert_eq!(value.len(), size);
            for piece in [1, 2, 7, 24, 25, 26, 99, 100, 5000] {
                assert_eq!(verify(&keys, &value, 4711, piece), Ok(()));
            }
        }
    }

    #[test]
    fn any_damage_to_a_value_is_seen() {
        let keys = keys();
        let values = Values::new(200, keys.key_len());
        let mut value = Vec::new();
        values.push(&keys, 5, 120, &mut value);
        assert!(verify(&keys, &value, 6, 120).is_err(), "another key's");
        for at in 0..value.len() {
            let mut bad = value.clone();
            bad[at] ^= 1;
            assert!(verify(&keys, &bad, 5, 50).is_err(), "byte {at}");
        }
        assert!(verify(&keys, &value[..119], 5, 50).is_err(), "truncated");
        assert!(verify(&keys, b"", 5, 50).is_err());
        // The middle of another key's value: the fillers differ, so the checksum does.
        let mut other = Vec::new();
        values.push(&keys, 6, 120, &mut other);
        let mut mixed = value.clone();
        mixed[60..80].copy_from_slice(&other[60..80]);
        assert!(verify(&keys, &mixed, 5, 50).is_err());
    }

    #[test]
    fn short_values_have_their_size() {
        let keys = keys();
        let values = Values::new(100, keys.key_len());
        for size in 0..33 {
            let mut value = Vec::new();
            values.push(&keys, 3, size, &mut value);
            assert_eq!(value.len(), size);
        }
    }
}
