//! mcrouter's Ch3, WeightedCh3, Crc32 and ConstShard.
//!
//! All four work on positions in the server list, not on names: adding a server at the end moves few
//! keys (not so for Crc32), taking one out of the middle moves many. The key given here is the routing
//! key with the salt already appended.

use super::murmur::murmur64a;
use super::selector::MAX_SALT;
use super::spooky::spooky32;

/// The largest number of servers that Ch3 can count: 2²³.
pub(super) const MAX_NODES: usize = 1 << 23;

/// Seed of Ch3's stream of bits, and of the tags of Rendezvous.
pub(super) const SEED: u64 = 4_193_360_111;

/// Words of the bit stream that are kept. Two tries among a thousand servers need eight.
const CACHED_WORDS: usize = 24;

/// An endless stream of bits that follows from a key: each word is the hash of the one before it.
struct Bits {
    words: [u64; CACHED_WORDS],
    known: usize,
}

impl Bits {
    fn of(key: &[u8]) -> Bits {
        let mut words = [0; CACHED_WORDS];
        words[0] = murmur64a(key, SEED);
        Bits { words, known: 1 }
    }

    fn next(word: u64) -> u64 {
        murmur64a(&word.to_le_bytes(), SEED)
    }

    fn get(&mut self, index: usize) -> bool {
        let wanted = index / 64;
        let near = wanted.min(CACHED_WORDS - 1);
        while self.known <= near {
            let last = self.words.get(self.known - 1).copied().unwrap_or(0);
            if let Some(slot) = self.words.get_mut(self.known) {
                *slot = Bits::next(last);
            }
            self.known += 1;
        }
        let mut word = self.words.get(near).copied().unwrap_or(0);
        // Beyond, which takes many misses in a row, nothing is kept and the way is walked again.
        for _ in near..wanted {
            word = Bits::next(word);
        }
        (word >> (index % 64)) & 1 == 1
    }
}

/// Ch3 ("furc hash"): the position below `count` of a key; 0 if `count` is 0 or 1.
pub(crate) fn ch3(key: &[u8], count: u32) -> u32 {
    const TRIES: u32 = 32;
    const STRIDE: usize = 23;
    if count <= 1 {
        return 0;
    }
    let mut bits = Bits::of(key);
    let mut depth = 32 - (count - 1).leading_zeros();
    let mut at = depth as usize;
    for _ in 0..TRIES {
        // Neither the depth nor the place in the stream is restored between tries: the first bit of
        // a retry is where the last one stopped, but a zero bit falls back to the small number.
        while !bits.get(at) {
            depth -= 1;
            if depth == 0 {
                return 0;
            }
            at = depth as usize;
        }
        at += STRIDE;
        let mut found = 1;
        for _ in 1..depth {
            found = 2 * found + u32::from(bits.get(at));
            at += STRIDE;
        }
        if found < count {
            return found;
        }
    }
    0
}

/// Crc32: 31 bits of zlib's CRC-32, modulo the number of servers.
pub(super) fn crc32(key: &[u8], count: u32) -> u32 {
    (crc32fast::hash(key) & 0x7fff_ffff)
        .checked_rem(count)
        .unwrap_or(0)
}

/// ConstShard: the number between the first two colons if it is one and below `count`, else Ch3 of
/// the whole key.
pub(super) fn const_shard(key: &[u8], count: u32) -> u32 {
    shard(key, count).unwrap_or_else(|| ch3(key, count))
}

/// The server that a key names by number.
pub(super) fn shard(key: &[u8], count: u32) -> Option<u32> {
    let mut parts = key.splitn(3, |byte| *byte == b':');
    let (_, text, _) = (parts.next()?, parts.next()?, parts.next()?);
    if text.is_empty() {
        return None;
    }
    let number = text.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| *number < count)
}

/// A weight from 0 to 1 as the bound that a draw must stay below.
pub(super) fn threshold(weight: f64) -> u32 {
    (weight * f64::from(u32::MAX)) as u32
}

/// How often WeightedCh3 draws before it takes what it has.
const DRAWS: u32 = 32;

/// WeightedCh3: Ch3, and if the server's draw says no, Ch3 of the key with another suffix.
///
/// `threshold_of` gives the bound of the server at a position.
pub(super) fn weighted_ch3(
    key: &[u8],
    salt: &[u8],
    count: u32,
    threshold_of: impl Fn(u32) -> u32,
) -> u32 {
    let mut found = 0;
    let mut digits = [0_u8; 2];
    let mut suffix_length = 0;
    for round in 0..DRAWS {
        let suffix = digits.get(..suffix_length).unwrap_or_default();
        let draw = joined([key, salt, suffix], |key| {
            found = ch3(key, count);
            spooky32(key, 0xface_2014)
        });
        if draw < threshold_of(found) {
            break;
        }
        // The number of the round that failed, its least significant digit first.
        digits = [b'0' + (round % 10) as u8, b'0' + (round / 10) as u8];
        suffix_length = if round < 10 { 1 } else { 2 };
    }
    found
}

/// The same for a key alone and weights as they are written; a missing one is a half.
pub(crate) fn weighted(key: &[u8], count: u32, weights: &[f64]) -> u32 {
    weighted_ch3(key, b"", count, |at| {
        threshold(weights.get(at as usize).copied().unwrap_or(0.5))
    })
}

/// Calls `then` with the parts as one slice: in place if only the first has bytes, else on the stack.
///
/// Only what is longer than any key that memcached takes, with salt and suffix, is put on the heap.
pub(super) fn joined<R>(parts: [&[u8]; 3], then: impl FnOnce(&[u8]) -> R) -> R {
    let [first, second, third] = parts;
    if second.is_empty() && third.is_empty() {
        return then(first);
    }
    let mut stack = [0; 250 + MAX_SALT + 2];
    let length = first.len() + second.len() + third.len();
    if let Some(buffer) = stack.get_mut(..length) {
        for (to, from) in buffer.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        then(buffer)
    } else {
        then(&parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 10] = [
        "",
        "a",
        "foo",
        "test_key",
        "key1",
        "abcdefgh",
        "abcdefghi",
        "0123456789abcdef",
        "a:b:c:1234567",
        "some_long_key_name_that_is_over_thirty_two_bytes_long",
    ];

    #[test]
    fn ch3_gives_the_values_of_the_reference() {
        let counts = [
            1, 2, 3, 4, 5, 8, 10, 16, 100, 1000, 8191, 65_536, 1_000_000, 8_388_608,
        ];
        let expected = [
            [
                0, 1, 1, 1, 1, 6, 8, 12, 72, 72, 3031, 3031, 407_687, 6_173_600,
            ],
            [
                0, 1, 1, 1, 4, 4, 4, 13, 34, 900, 1565, 55_594, 570_739, 7_695_180,
            ],
            [
                0, 1, 1, 1, 1, 1, 1, 1, 1, 478, 1629, 61_541, 372_182, 7_448_656,
            ],
            [
                0, 0, 0, 0, 4, 4, 4, 4, 86, 143, 6158, 28_726, 351_371, 4_399_430,
            ],
            [
                0, 0, 2, 2, 2, 2, 2, 2, 2, 808, 808, 24_368, 768_680, 7_205_857,
            ],
            [
                0, 0, 2, 2, 2, 2, 8, 8, 28, 257, 1309, 30_053, 464_333, 6_241_930,
            ],
            [
                0, 0, 2, 2, 2, 2, 2, 2, 26, 983, 3133, 57_012, 738_669, 738_669,
            ],
            [
                0, 1, 1, 1, 4, 4, 4, 14, 60, 60, 6412, 63_507, 364_571, 2_093_260,
            ],
            [
                0, 1, 1, 1, 1, 1, 1, 1, 84, 669, 4910, 19_635, 353_819, 1_785_581,
            ],
            [
                0, 0, 0, 0, 0, 0, 0, 0, 46, 613, 1471, 1471, 146_809, 6_288_652,
            ],
        ];
        for (key, row) in KEYS.iter().zip(expected) {
            for (count, index) in counts.iter().zip(row) {
                assert_eq!(ch3(key.as_bytes(), *count), index, "{key:?} of {count}");
            }
        }
        assert_eq!(ch3(b"a", 0), 0);
    }

    #[test]
    fn crc32_gives_the_values_of_the_reference() {
        let expected = [
            [0, 0, 0, 0, 0],
            [1, 1, 4, 9, 259],
            [1, 0, 1, 1, 121],
            [0, 2, 1, 6, 446],
            [0, 1, 1, 6, 496],
            [0, 2, 2, 2, 872],
            [1, 1, 3, 3, 383],
            [1, 0, 1, 1, 11],
            [1, 2, 1, 1, 961],
            [0, 1, 0, 0, 260],
        ];
        for (key, row) in KEYS.iter().zip(expected) {
            for (count, index) in [2, 3, 5, 10, 1000].iter().zip(row) {
                assert_eq!(crc32(key.as_bytes(), *count), index, "{key:?} of {count}");
            }
        }
        assert_eq!(crc32(b"a", 0), 0);
    }

    #[test]
    fn weighted_ch3_gives_the_values_of_the_reference() {
        let weights: [&[f64]; 5] = [
            &[1.0; 5],
            &[0.5; 5],
            &[0.0, 0.1, 1.0, 0.0, 0.3],
            &[0.1; 8],
            &[0.0; 3],
        ];
        let expected = [
            [1, 1, 1, 1, 2],
            [4, 3, 2, 5, 0],
            [1, 3, 1, 1, 1],
            [4, 4, 4, 4, 1],
            [2, 2, 2, 1, 1],
            [2, 2, 2, 7, 2],
            [2, 0, 2, 1, 1],
            [4, 4, 4, 7, 1],
            [1, 1, 1, 1, 1],
            [0, 4, 4, 5, 1],
        ];
        for (key, row) in KEYS.iter().zip(expected) {
            for (weights, index) in weights.iter().zip(row) {
                let found = weighted_ch3(key.as_bytes(), b"", weights.len() as u32, |at| {
                    threshold(weights[at as usize])
                });
                assert_eq!(found, index, "{key:?} with {weights:?}");
            }
        }
    }

    #[test]
    fn a_shard_is_a_number_between_the_first_two_colons() {
        for (key, expected) in [
            ("a:3:x", Some(3)),
            (":0:", Some(0)),
            ("a:007:x", Some(7)),
            ("a:3", None),
            ("3:a:x", None),
            ("a::x", None),
            ("a:3x:y", None),
            ("a:-3:y", None),
            ("a:b:3:y", None),
            ("a:99999999999999999999:y", None),
        ] {
            assert_eq!(shard(key.as_bytes(), 8), expected, "{key}");
        }
        assert_eq!(const_shard(b"a:3:x", 4), 3);
        assert_eq!(
            const_shard(b"a:3:x", 3),
            ch3(b"a:3:x", 3),
            "no such server: by hash"
        );
    }

    #[test]
    fn parts_are_joined_at_every_length() {
        for length in [0, 1, 249, 250, 251, 600, 5000] {
            let key = vec![b'k'; length];
            for (salt, suffix) in [("", ""), ("s", ""), ("", "1"), ("salt", "21")] {
                let whole = joined([&key, salt.as_bytes(), suffix.as_bytes()], <[u8]>::to_vec);
                assert_eq!(whole, [&key, salt.as_bytes(), suffix.as_bytes()].concat());
            }
        }
    }

    #[test]
    fn the_bit_stream_is_the_same_near_and_far() {
        let mut bits = Bits::of(b"k");
        let mut word = murmur64a(b"k", SEED);
        for index in 0..64 * (CACHED_WORDS + 3) {
            if index > 0 && index % 64 == 0 {
                word = murmur64a(&word.to_le_bytes(), SEED);
            }
            assert_eq!(bits.get(index), (word >> (index % 64)) & 1 == 1, "{index}");
        }
        let mut fresh = Bits::of(b"k");
        let far = 64 * (CACHED_WORDS + 2) + 5;
        assert_eq!(fresh.get(far), bits.get(far), "a far bit first");
    }
}
