//! The one thing the rest of ringroad asks: given a pool's placement and nodes, who owns this key.
//!
//! `build.rs` makes a [`Selector`] and does all the work that does not depend on the key; afterwards it
//! is immutable (but for the weights of `live.rs`), so that workers can share it without a lock and a change of the membership is a new
//! one. Selecting is a match on the kind of placement and its arithmetic, which lives in the other
//! files of this module.
//!
//! Invariants: there is at least one node; every index that is returned is below the number of nodes;
//! `weights` holds what each node's weight comes to, given or not; those of a variable are in [`Kind::LiveCh3`].

use std::cmp::Reverse;

use xxhash_rust::xxh64::xxh64;

use super::explain::Explanation;
use super::function::HashFunction;
use super::live::Bounds;
use super::rendezvous::{PymemcacheKey, PymemcacheNode};
use super::ring::{Point, Ring};
use super::{Placement, ch3, jump, ketama, rendezvous, routing_key};

/// The most bytes a salt may have.
pub const MAX_SALT: usize = 250;

/// How many keys [`Selector::shares`] tries where it cannot compute.
const SAMPLES: u64 = 1 << 16;

/// Says which node of a pool owns a key. See the [module](super).
#[derive(Debug)]
pub struct Selector {
    pub(super) placement: Placement,
    /// Whether whole keys are hashed.
    pub(super) is_plain: bool,
    pub(super) names: Box<[String]>,
    pub(super) kind: Kind,
    pub(super) weights: Box<[f64]>,
    pub(super) digest: u64,
}

/// What is computed ahead for each kind of placement.
#[derive(Debug)]
pub(super) enum Kind {
    /// A ring; keys are hashed with the function, or with xxh64 where there is none.
    Ring {
        ring: Ring,
        hash: Option<HashFunction>,
    },
    /// Hash modulo the number of slots; each node has as many as its weight, in the list's order.
    Modula {
        hash: HashFunction,
        slots: Box<[u32]>,
    },
    /// See [`ch3`].
    Ch3,
    /// See [`ch3`].
    WeightedCh3,
    /// The same, with weights that change.
    LiveCh3(Bounds),
    /// See [`ch3`].
    Crc32,
    /// See [`ch3`].
    ConstShard,
    /// See [`jump`].
    Jump,
    /// The hashes of the nodes' names.
    Rendezvous { tags: Box<[u64]> },
    /// The same, with weights.
    WeightedRendezvous { tags: Box<[u64]> },
    /// See [`PymemcacheNode`].
    Pymemcache { nodes: Box<[PymemcacheNode]> },
}

impl Selector {
    /// The index, in the list the selector was built from, of the node that owns a key.
    ///
    /// The hash stop and the hash tag are applied here. Any bytes are fine, also none. Nothing is
    /// allocated (keys of more than 250 bytes with a salt excepted).
    #[inline]
    pub fn select(&self, key: &[u8]) -> usize {
        match &self.kind {
            // What pools have unless they say otherwise.
            Kind::Ring { ring, hash: None } if self.is_plain => ring.owner(xxh64(key, 0)) as usize,
            _ if self.is_plain => self.owner(key),
            _ => self.owner(self.placed(key, &mut [0; 10])),
        }
    }

    /// What is hashed of a key, without the salt: a part of it, or the number of its bucket, for which there is room.
    pub(super) fn placed<'a>(&self, key: &'a [u8], room: &'a mut [u8; 10]) -> &'a [u8] {
        let key = self.routing_key(key);
        let Some(buckets) = &self.placement.buckets else {
            return key;
        };
        let mut number = itoa::Buffer::new();
        let digits = number.format(buckets.of(key)).as_bytes();
        match room.get_mut(..digits.len()) {
            Some(room) => {
                room.copy_from_slice(digits);
                room
            }
            None => key,
        }
    }

    /// The part of a key that this placement hashes, without the salt.
    pub fn routing_key<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        routing_key(key, self.placement.tag, self.placement.stop)
    }

    pub(super) fn salt(&self) -> &[u8] {
        self.placement.salt.as_bytes()
    }

    fn owner(&self, key: &[u8]) -> usize {
        match &self.kind {
            Kind::Ring { ring, hash } => ring.owner(ring_hash(*hash, key)) as usize,
            Kind::Modula { hash, slots } => {
                let slot = (hash.hash(key) as usize)
                    .checked_rem(slots.len())
                    .unwrap_or(0);
                slots.get(slot).map_or(0, |owner| *owner as usize)
            }
            Kind::Rendezvous { tags } => {
                let hash = self.salted(key, rendezvous::key_hash);
                rendezvous::last_largest(tags.iter().map(|tag| rendezvous::score(*tag, hash)))
            }
            Kind::WeightedRendezvous { tags } => {
                let hash = self.salted(key, rendezvous::key_hash);
                let scores = tags
                    .iter()
                    .zip(&self.weights)
                    .map(|(tag, weight)| rendezvous::weighted_score(*tag, hash, *weight));
                rendezvous::first_largest(scores)
            }
            Kind::Pymemcache { nodes } => {
                let key = PymemcacheKey::new(key);
                let scores = nodes.iter().map(|node| node.score(&key)).enumerate();
                scores
                    .max_by_key(|(_, score)| *score)
                    .map_or(0, |(index, _)| index)
            }
            Kind::Ch3
            | Kind::WeightedCh3
            | Kind::LiveCh3(_)
            | Kind::Crc32
            | Kind::ConstShard
            | Kind::Jump => self.position(key, self.names.len(), |position| position),
        }
    }

    fn salted<R>(&self, key: &[u8], then: impl FnOnce(&[u8]) -> R) -> R {
        ch3::joined([key, self.salt(), b""], then)
    }

    /// The position of a key in a list of `count` nodes, for the kinds that know nodes by position
    /// only; `node_at` gives the node at a position.
    fn position(&self, key: &[u8], count: usize, node_at: impl Fn(usize) -> usize) -> usize {
        let weight_at = |at: usize| self.weights.get(node_at(at)).copied().unwrap_or(0.0);
        let size = count as u32;
        let found = match &self.kind {
            Kind::Ch3 => self.salted(key, |key| ch3::ch3(key, size)),
            Kind::WeightedCh3 => ch3::weighted_ch3(key, self.salt(), size, |at| {
                ch3::threshold(weight_at(at as usize))
            }),
            Kind::LiveCh3(bounds) => ch3::weighted_ch3(key, self.salt(), size, |at| {
                bounds.get(node_at(at as usize))
            }),
            Kind::Crc32 => self.salted(key, |key| ch3::crc32(key, size)),
            Kind::ConstShard => self.salted(key, |key| ch3::const_shard(key, size)),
            Kind::Jump => jump::jump(xxh64(key, 0), size),
            Kind::Modula { hash, .. } => {
                // Weights are whole numbers, few enough for their sum to be exact.
                let total: u64 = (0..count).map(|at| weight_at(at) as u64).sum();
                let mut left = u64::from(hash.hash(key)).checked_rem(total).unwrap_or(0);
                let holds = |at: &usize| {
                    let weight = weight_at(*at) as u64;
                    let inside = left < weight;
                    left = left.saturating_sub(weight);
                    inside
                };
                return (0..count).find(holds).unwrap_or(0);
            }
            Kind::Ring { .. }
            | Kind::Rendezvous { .. }
            | Kind::WeightedRendezvous { .. }
            | Kind::Pymemcache { .. } => 0,
        };
        found as usize
    }

    /// The owner of a key, then the node that would own it if the owner left the list, then the one
    /// that would if that left as well, and so on.
    ///
    /// * Rings: the nodes in the order in which their points follow the key's hash. A node without
    ///   points is not in it. (Weighted ketama computes all numbers of points anew when a node
    ///   really leaves; here the other nodes' points stay.)
    /// * `rendezvous`, `pymemcache`: by descending score.
    /// * All others: the nodes left over close ranks and the key is placed among them.
    ///
    /// Not for the request path: it allocates, and takes time in proportion to the number of nodes
    /// or, for the last group, to its square.
    pub fn successors(&self, key: &[u8]) -> Vec<usize> {
        let mut room = [0; 10];
        let key = self.placed(key, &mut room);
        let count = self.names.len();
        match &self.kind {
            Kind::Ring { ring, hash } => {
                let mut met = vec![false; count];
                let mut order = Vec::with_capacity(count);
                for Point { owner, .. } in ring.walk(ring_hash(*hash, key)) {
                    if let Some(seen @ false) = met.get_mut(owner as usize) {
                        *seen = true;
                        order.push(owner as usize);
                    }
                    if order.len() == count {
                        break;
                    }
                }
                order
            }
            Kind::Rendezvous { tags } => {
                let hash = self.salted(key, rendezvous::key_hash);
                let scores: Vec<f64> = tags
                    .iter()
                    .map(|tag| rendezvous::score(*tag, hash))
                    .collect();
                let mut order: Vec<usize> = (0..count).rev().collect();
                order.sort_by(|a, b| compare(scores.get(*b), scores.get(*a)));
                order
            }
            Kind::WeightedRendezvous { tags } => {
                let hash = self.salted(key, rendezvous::key_hash);
                let scores: Vec<f64> = tags
                    .iter()
                    .zip(&self.weights)
                    .map(|(tag, weight)| rendezvous::weighted_score(*tag, hash, *weight))
                    .collect();
                let mut order: Vec<usize> = (0..count).collect();
                order.sort_by(|a, b| compare(scores.get(*b), scores.get(*a)));
                order
            }
            Kind::Pymemcache { nodes } => {
                let key = PymemcacheKey::new(key);
                let scores: Vec<_> = nodes.iter().map(|node| node.score(&key)).collect();
                let mut order: Vec<usize> = (0..count).collect();
                order.sort_by_key(|index| Reverse(scores.get(*index)));
                order
            }
            _ => {
                let mut left: Vec<usize> = (0..count).collect();
                let mut order = Vec::with_capacity(count);
                while !left.is_empty() {
                    let at =
                        self.position(key, left.len(), |at| left.get(at).copied().unwrap_or(0));
                    order.push(left.remove(at.min(left.len() - 1)));
                }
                order
            }
        }
    }

    /// The node at this place of [`Selector::successors`], where the owner's is 0.
    ///
    /// For the first few nodes of a ring nothing is allocated, and no more points are looked at than lie before
    /// the node.
    pub fn successor(&self, key: &[u8], nth: usize) -> Option<usize> {
        let mut met = [u32::MAX; 4];
        let (Kind::Ring { ring, hash }, true) = (&self.kind, nth < met.len()) else {
            return self.successors(key).get(nth).copied();
        };
        let mut count = 0;
        for Point { owner, .. } in ring.walk(ring_hash(*hash, self.routing_key(key))) {
            if met.contains(&owner) {
                continue;
            }
            if count == nth {
                return Some(owner as usize);
            }
            *met.get_mut(count)? = owner;
            count += 1;
        }
        None
    }

    /// How the owner of a key is found, for people.
    pub fn explain(&self, key: &[u8]) -> Explanation {
        Explanation::new(self, key)
    }

    /// A number that is the same for two selectors if they place all keys alike: same distribution
    /// and options, same names and weights, and for the
    /// [positional](super::Distribution::is_positional) ones the same order. Nodes and versions can compare it; only names count, not addresses.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The fraction of the keys that each node owns, in the order of the list; they add up to 1.
    ///
    /// For rings over a hash that fills its range they are exact shares of the ring. For all others
    /// 65 536 keys are tried, always the same ones, which can take most of a second for a thousand
    /// nodes.
    pub fn shares(&self) -> Vec<f64> {
        let count = self.names.len();
        if let Kind::Ring { ring, hash } = &self.kind
            && hash.is_none_or(HashFunction::fills_32_bits)
        {
            return ring.shares(count);
        }
        let mut keys = vec![0_u32; count];
        for sample in 0..SAMPLES {
            // A mixed number in hex digits: no hash tag, stop or shard can be in it.
            let key = xxh64(&sample.to_le_bytes(), 0);
            let digits = [60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0]
                .map(|shift| char::from_digit((key >> shift) as u32 & 15, 16).unwrap_or('0') as u8);
            if let Some(number) = keys.get_mut(self.owner(&digits)) {
                *number += 1;
            }
        }
        keys.into_iter()
            .map(|number| f64::from(number) / SAMPLES as f64)
            .collect()
    }
}

/// Where a key is on a ring.
pub(super) fn ring_hash(hash: Option<HashFunction>, key: &[u8]) -> u64 {
    match hash {
        None => xxh64(key, 0),
        Some(function) => ketama::place(function.hash(key)),
    }
}

/// Scores are never NaN.
fn compare(a: Option<&f64>, b: Option<&f64>) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
}
