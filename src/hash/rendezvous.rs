//! Rendezvous hashing (highest random weight): every node scores every key, the highest score owns.
//!
//! Three forms: mcrouter's Rendezvous and WeightedRendezvous over the nodes' names, and the one of
//! pymemcache's `HashClient`. A node that leaves takes only its own keys along, and the order of the
//! list does not matter (but for scores that tie, of which mcrouter's has one in 2⁵³). The price is
//! one score per node and key.

use super::Node;
use super::ch3::SEED;
use super::city::mix;
use super::murmur::{Murmur3, murmur64a};

/// Seed of mcrouter's hash of a key.
const KEY_SEED: u64 = 2_718_281_828;

/// The hash of a node's name or a key's.
pub(super) fn tag_hash(name: &str) -> u64 {
    murmur64a(name.as_bytes(), SEED)
}

/// The hash of a key.
pub(super) fn key_hash(key: &[u8]) -> u64 {
    murmur64a(key, KEY_SEED)
}

/// A node's score for a key, without weights.
pub(super) fn score(tag: u64, key: u64) -> f64 {
    mix(tag, key) as f64
}

/// A node's score for a key with a weight.
pub(super) fn weighted_score(tag: u64, key: u64, weight: f64) -> f64 {
    const MANTISSA: u64 = (1 << 53) - 1;
    let draw = (mix(tag, key) & MANTISSA) as f64 / (1_u64 << 53) as f64;
    weight / -draw.ln()
}

/// The index of the largest score, the last of equal ones.
pub(super) fn last_largest(scores: impl Iterator<Item = f64>) -> usize {
    let start = (0, f64::NEG_INFINITY);
    let best = scores.enumerate().fold(
        start,
        |best, (i, s)| if s >= best.1 { (i, s) } else { best },
    );
    best.0
}

/// The index of the largest score, the first of equal ones.
pub(super) fn first_largest(scores: impl Iterator<Item = f64>) -> usize {
    let start = (0, f64::NEG_INFINITY);
    let best = scores
        .enumerate()
        .fold(start, |best, (i, s)| if s > best.1 { (i, s) } else { best });
    best.0
}

/// The places of these tags by descending score for a key, as mcrouter orders them; without weights all are alike.
pub(crate) fn rendezvous_order(tags: &[String], weights: &[f64], key: &[u8]) -> Vec<usize> {
    let key = key_hash(key);
    let mut scores: Vec<(usize, f64)> = tags
        .iter()
        .enumerate()
        .map(|(at, tag)| {
            let tag = tag_hash(tag);
            match weights {
                [] => (at, score(tag, key)),
                weights => {
                    let weight = weights.get(at).copied().unwrap_or(0.0);
                    (at, weighted_score(tag, key, weight))
                }
            }
        })
        .collect();
    // Of equal scores without weights the last wins, with weights the first.
    if weights.is_empty() {
        scores.reverse();
    }
    scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    scores.into_iter().map(|(at, _)| at).collect()
}

/// A node as pymemcache scores it: MurmurHash3 of `node-key`, where the node is `host:port` (the port
/// always, IPv6 addresses without brackets), or the path of a unix socket.
#[derive(Debug)]
pub(super) struct PymemcacheNode {
    /// The hash with `node-` already in it.
    prefix: Murmur3,
    /// Breaks ties: the place of the node's text among all, in ascending order.
    rank: u32,
}

/// What pymemcache calls a node.
pub(super) fn pymemcache_label(node: &Node) -> String {
    node.derived_address().unwrap_or_else(|| node.name.clone())
}

impl PymemcacheNode {
    /// All nodes of a pool from their labels.
    pub(super) fn all(labels: &[String]) -> Box<[PymemcacheNode]> {
        let mut ascending: Vec<&String> = labels.iter().collect();
        ascending.sort_unstable();
        labels
            .iter()
            .map(|label| {
                let mut prefix = Murmur3::new(0);
                push_text(&mut prefix, label.as_bytes());
                prefix.push(b"-");
                let rank = ascending.partition_point(|other| *other < label) as u32;
                PymemcacheNode { prefix, rank }
            })
            .collect()
    }

    /// The score for a key, and the rank that breaks ties; the largest pair owns.
    pub(super) fn score(&self, key: &PymemcacheKey<'_>) -> (u32, u32) {
        let mut state = self.prefix;
        match key {
            PymemcacheKey::Bytes(bytes) => state.push(bytes),
            PymemcacheKey::Text(text) => push_chars(&mut state, text),
        }
        (state.finish(), self.rank)
    }
}

/// A key as pymemcache hashes it: not the bytes on the wire but the characters of a Python string,
/// of each of which only the lower eight bits count.
pub(super) enum PymemcacheKey<'a> {
    /// ASCII, where that is the same, or not UTF-8, which no Python string gives.
    Bytes(&'a [u8]),
    /// Text with other characters (`allow_unicode_keys=True`).
    Text(&'a str),
}

impl<'a> PymemcacheKey<'a> {
    pub(super) fn new(key: &'a [u8]) -> PymemcacheKey<'a> {
        match std::str::from_utf8(key) {
            Ok(text) if !text.is_ascii() => PymemcacheKey::Text(text),
            _ => PymemcacheKey::Bytes(key),
        }
    }
}

fn push_text(state: &mut Murmur3, bytes: &[u8]) {
    match PymemcacheKey::new(bytes) {
        PymemcacheKey::Bytes(bytes) => state.push(bytes),
        PymemcacheKey::Text(text) => push_chars(state, text),
    }
}

fn push_chars(state: &mut Murmur3, text: &str) {
    for character in text.chars() {
        state.push(&[u32::from(character) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_reference() {
        let tags = ["t0", "t1", "t2", "t3", "t4"].map(tag_hash);
        let weights = [0.5, 1.0, 2.0, 4.0, 0.0];
        for (key, first_mix, plain, weighted) in [
            ("", 0x21d1_f78d_7054_e663_u64, 1, 3),
            ("a", 0xea5b_3256_763f_fce1, 0, 3),
            ("foo", 0x3422_2cf0_adac_5b8c, 4, 3),
            ("test_key", 0x3c69_a136_4864_a1f4, 4, 3),
            ("key1", 0x0ec4_db4a_2366_ebfa, 1, 3),
            ("abcdefgh", 0x481b_6ce6_476c_e951, 1, 2),
            ("abcdefghi", 0x29da_219f_52f4_9fad, 4, 2),
            ("0123456789abcdef", 0xbca2_66cd_587b_bbde, 3, 3),
            ("a:b:c:1234567", 0x2cb9_fa78_7169_9194, 4, 3),
            (
                "some_long_key_name_that_is_over_thirty_two_bytes_long",
                0x6743_f6c4_36ac_3f46,
                1,
                3,
            ),
        ] {
            let hash = key_hash(key.as_bytes());
            assert_eq!(mix(tags[0], hash), first_mix, "{key}");
            assert_eq!(
                last_largest(tags.iter().map(|tag| score(*tag, hash))),
                plain,
                "{key}"
            );
            let scores = tags
                .iter()
                .zip(weights)
                .map(|(tag, w)| weighted_score(*tag, hash, w));
            assert_eq!(first_largest(scores), weighted, "{key}");
        }
    }

    #[test]
    fn ties_fall_as_in_mcrouter() {
        assert_eq!(last_largest([1.0, 3.0, 3.0, 2.0].into_iter()), 2);
        assert_eq!(first_largest([1.0, 3.0, 3.0, 2.0].into_iter()), 1);
        assert_eq!(last_largest(std::iter::empty()), 0);
    }

    #[test]
    fn a_weight_of_zero_scores_zero() {
        for key in 0..1000 {
            assert_eq!(weighted_score(tag_hash("t"), key, 0.0), 0.0);
        }
    }
}
