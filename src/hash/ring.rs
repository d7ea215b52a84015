//! The ring: points in order, each with the node that owns the keys up to it.
//!
//! A key belongs to the first point at or after its hash, wrapping at the end. Points are 64 bits;
//! layouts of 32 bits (ketama) put theirs into the upper half, keys likewise, which keeps the order.
//!
//! Invariants: points are sorted by value, then by the rank the builder gave the nodes; `starts[b]` is
//! the number of points below bucket `b`, so that a lookup searches the few points of one bucket
//! instead of all. There are about as many buckets as points. Points may coincide: the first owns.
//!
//! The default layout is the one of the crate hash_ring 0.2.0: node `n` has the points
//! `xxh64("n:0")`, `xxh64("n:1")`, … with seed 0, keys are `xxh64(key)`. The crate itself is what the
//! tests compare with. Where points of two nodes coincide it lets the node win that was added last;
//! here it is the one with the greater name, which is hash_ring's outcome for nodes added in order
//! of their names, and is the same on every process however the config lists them.

use std::fmt::Write as _;

use xxhash_rust::xxh64::xxh64;

/// Points per node of weight 1 in the default layout.
pub const DEFAULT_POINTS: u32 = 160;

/// The most points a ring may have: 26 214 nodes with the default number, some 100 MB.
pub const MAX_POINTS: usize = 1 << 22;

/// A point and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) value: u64,
    pub(super) owner: u32,
}

/// Points in order with an index over them.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[Point]>,
    starts: Box<[u32]>,
    /// A hash shifted right by this is its bucket.
    shift: u32,
}

impl Ring {
    /// Sorts the points and builds the index. `rank` orders nodes whose points coincide, the lowest
    /// first.
    pub(super) fn new<K: Ord>(mut points: Vec<Point>, rank: impl Fn(u32) -> K) -> Ring {
        points.sort_by(|a, b| {
            a.value
                .cmp(&b.value)
                .then_with(|| rank(a.owner).cmp(&rank(b.owner)))
        });
        let bits = points.len().max(2).next_power_of_two().trailing_zeros();
        let shift = u64::BITS - bits;
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        let mut below = 0;
        for bucket in 0..1_u64 << bits {
            let rest = points.get(below..).unwrap_or_default();
            below += rest
                .iter()
                .take_while(|point| point.value >> shift < bucket)
                .count();
            starts.push(below as u32);
        }
        starts.push(points.len() as u32);
        Ring {
            points: points.into(),
            starts: starts.into(),
            shift,
        }
    }

    /// The index of the first point at or after a hash; the number of points if there is none.
    fn search(&self, hash: u64) -> usize {
        let bucket = (hash >> self.shift) as usize;
        let Some([start, end]) = self
            .starts
            .get(bucket..)
            .and_then(|rest| rest.first_chunk())
        else {
            return 0; // Not reached: there is a start for every value of the shifted hash.
        };
        let (start, end) = (*start as usize, *end as usize);
        let candidates = self.points.get(start..end).unwrap_or_default();
        start + candidates.partition_point(|point| point.value < hash)
    }

    /// The node that owns a hash.
    pub(super) fn owner(&self, hash: u64) -> u32 {
        self.point(hash).owner
    }

    /// The point that a hash belongs to. (A ring without points, which is never built, would give
    /// node 0.)
    pub(super) fn point(&self, hash: u64) -> Point {
        let found = self.points.get(self.search(hash)).or(self.points.first());
        found.copied().unwrap_or(Point { value: 0, owner: 0 })
    }

    /// All points in the order in which they are met from a hash on.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = Point> {
        let (before, after) = self.points.split_at(self.search(hash));
        after.iter().chain(before).copied()
    }

    /// The points in order.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The part of all hashes that each of `count` nodes owns.
    pub(super) fn shares(&self, count: usize) -> Vec<f64> {
        let mut arcs = vec![0_u128; count];
        let mut previous = self.points.last().map_or(0, |point| point.value);
        for point in &self.points {
            let arc = point.value.wrapping_sub(previous);
            previous = point.value;
            if let Some(sum) = arcs.get_mut(point.owner as usize) {
                *sum += u128::from(arc);
            }
        }
        // All points in one place leave no arc at all: the first of them owns everything.
        if arcs.iter().all(|arc| *arc == 0)
            && let Some(first) = self.points.first()
            && let Some(sum) = arcs.get_mut(first.owner as usize)
        {
            *sum = 1 << 64;
        }
        arcs.into_iter()
            .map(|arc| arc as f64 / 2_f64.powi(64))
            .collect()
    }
}

/// How many points a node has in the default layout: `points` times its weight, rounded to the
/// nearest (a half up), but at least one unless the weight is 0.
pub(super) fn points_of_weight(points: u32, weight: f64) -> u64 {
    if weight == 0.0 {
        0
    } else {
        ((f64::from(points) * weight).round() as u64).max(1)
    }
}

/// The points of the default layout for nodes given as name and number of points.
pub(super) fn default_points<'a>(nodes: impl Iterator<Item = (&'a str, u64)>) -> Vec<Point> {
    let mut points = Vec::new();
    let mut text = String::new();
    for (owner, (name, count)) in nodes.enumerate() {
        for i in 0..count {
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}:{i}");
            points.push(Point {
                value: xxh64(text.as_bytes(), 0),
                owner: owner as u32,
            });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(values: &[(u64, u32)]) -> Ring {
        let points = values
            .iter()
            .map(|&(value, owner)| Point { value, owner })
            .collect();
        Ring::new(points, |owner| owner)
    }

    #[test]
    fn a_hash_belongs_to_the_first_point_at_or_after_it() {
        let ring = ring(&[(10, 0), (1 << 63, 1), (u64::MAX - 1, 2)]);
        for (hash, owner) in [
            (0, 0),
            (10, 0),
            (11, 1),
            (1 << 63, 1),
            ((1 << 63) + 1, 2),
            (u64::MAX - 1, 2),
            (u64::MAX, 0),
        ] {
            assert_eq!(ring.owner(hash), owner, "{hash}");
        }
    }

    #[test]
    fn of_points_in_one_place_the_lowest_rank_owns_and_the_others_follow() {
        let points = [2, 0, 1].map(|owner| Point { value: 7, owner }).to_vec();
        let ring = Ring::new(points, std::cmp::Reverse);
        assert_eq!(ring.owner(7), 2);
        assert_eq!(ring.owner(8), 2);
        assert_eq!(ring.walk(0).map(|p| p.owner).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(ring.shares(3), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn shares_are_the_arcs_before_the_points() {
        let ring = ring(&[(1 << 62, 0), (1 << 63, 1), (3 << 62, 0)]);
        assert_eq!(ring.shares(3), [0.75, 0.25, 0.0]);
    }

    #[test]
    fn weights_scale_the_number_of_points() {
        for (weight, count) in [
            (1.0, 160),
            (0.5, 80),
            (2.0, 320),
            (0.0, 0),
            (0.0001, 1),
            (0.7, 112),
        ] {
            assert_eq!(points_of_weight(160, weight), count, "{weight}");
        }
        assert_eq!(points_of_weight(3, 0.5), 2, "half a point is rounded up");
    }

    proptest! {
        /// The index is only a shortcut: it finds what a walk over all points finds, however the
        /// points are heaped together.
        #[test]
        fn the_index_finds_what_a_walk_finds(
            values in prop::collection::vec(
                prop_oneof![any::<u64>(), 0..40_u64, u64::MAX - 40..=u64::MAX, (0..9_u64).prop_map(|n| n << 61)],
                1..200,
            ),
            hashes in prop::collection::vec(
                prop_oneof![any::<u64>(), 0..50_u64, u64::MAX - 50..=u64::MAX, (0..9_u64).prop_map(|n| n << 61)],
                1..50,
            ),
        ) {
            let numbered: Vec<_> = values.iter().copied().zip(0..).collect();
            let ring = ring(&numbered);
            let mut sorted = numbered;
            sorted.sort_unstable();
            for hash in hashes.iter().chain(&values) {
                let walked = sorted.iter().find(|(value, _)| value >= hash).or(sorted.first());
                prop_assert_eq!(ring.owner(*hash), walked.unwrap().1);
            }
            let total: f64 = ring.shares(values.len()).iter().sum();
            prop_assert!((total - 1.0).abs() < 1e-9);
        }
    }
}
