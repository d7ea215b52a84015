//! What holds for every placement, checked over random pools and keys, and the default ring against
//! the crate hash_ring.
//!
//! Tolerances are stated where they are used. Shares are checked on fixed pools, so that a run cannot
//! fail by chance.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use hash_ring::HashRing;
use proptest::prelude::*;
use xxhash_rust::xxh64::xxh64;

use super::*;

/// Distributions in which a node that leaves moves only its own keys, to its successor. (Weighted
/// ketama is not quite among them: the others' numbers of points are computed anew.)
const STEADY: [Distribution; 4] = [
    Distribution::Ring,
    Distribution::Ketama,
    Distribution::Rendezvous,
    Distribution::Pymemcache,
];

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-z0-9.:-]{1,12}|cache-[0-9]{1,3}|ö{1,3}", 1..24)
        .prop_map(|names| names.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn pool() -> impl Strategy<Value = Vec<Node>> {
    names().prop_map(|names| {
        names
            .into_iter()
            .map(|name| Node::at("h", 1).named(name))
            .collect()
    })
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 0..1200),
        prop::collection::vec(prop::sample::select(b"{}|#:$019a".to_vec()), 0..24),
        "\\PC{0,24}".prop_map(String::into_bytes),
    ]
}

fn distribution() -> impl Strategy<Value = Distribution> {
    prop::sample::select(Distribution::ALL.to_vec())
}

fn placement() -> impl Strategy<Value = Placement> {
    let tag = prop::option::of((any::<u8>(), any::<u8>()));
    let hash = prop::option::of(prop::sample::select(HashFunction::ALL.to_vec()));
    (distribution(), tag, any::<bool>(), "[a-z]{0,9}", hash).prop_map(
        |(distribution, tag, stop, salt, hash)| Placement {
            hash: hash.filter(|_| distribution.default_hash().is_some()),
            salt: if distribution.takes_salt() {
                salt
            } else {
                String::new()
            },
            tag,
            stop,
            ..Placement::of(distribution)
        },
    )
}

/// Weights that the distribution allows, one for every node or none at all.
fn weigh(nodes: &mut [Node], rule: WeightRule, draws: &[u8]) {
    for (node, draw) in nodes.iter_mut().zip(draws) {
        node.weight = match rule {
            WeightRule::None => None,
            WeightRule::Whole => Some(f64::from(draw % 8 + 1)),
            WeightRule::Scale => Some(f64::from(*draw) / 64.0 + 0.1),
            WeightRule::Keep => Some(f64::from(*draw) / 255.0),
        };
    }
}

fn owner_name<'a>(selector: &Selector, nodes: &'a [Node], key: &[u8]) -> &'a str {
    &nodes[selector.select(key)].name
}

proptest! {
    /// No bytes, no pool and no options may bring a worker down or name a server that is not there.
    #[test]
    fn every_key_has_an_owner(
        placement in placement(),
        mut nodes in pool(),
        weights in prop::option::of(prop::collection::vec(any::<u8>(), 24)),
        keys in prop::collection::vec(any_key(), 1..12),
    ) {
        if let Some(draws) = weights {
            weigh(&mut nodes, placement.distribution.weights(), &draws);
        }
        let selector = Selector::new(&placement, &nodes).unwrap();
        for key in keys {
            let owner = selector.select(&key);
            prop_assert!(owner < nodes.len());
            prop_assert_eq!(owner, selector.select(&key));
            prop_assert_eq!(owner, selector.select(selector.routing_key(&key)), "cut twice");
            prop_assert_eq!(owner, selector.explain(&key).owner);
            let order = selector.successors(&key);
            prop_assert_eq!(order.first(), Some(&owner));
            for nth in 0..=order.len() {
                prop_assert_eq!(selector.successor(&key, nth), order.get(nth).copied());
            }
            let unique: HashSet<_> = order.iter().collect();
            prop_assert_eq!(unique.len(), order.len());
            prop_assert!(order.iter().all(|index| *index < nodes.len()));
            if !matches!(placement.distribution, Distribution::Ring
                | Distribution::KetamaWeighted | Distribution::KetamaTwemproxy)
            {
                prop_assert_eq!(order.len(), nodes.len());
            }
        }
    }

    /// Two nodes that list the servers in another order still agree.
    #[test]
    fn the_order_of_the_list_does_not_matter_where_it_should_not(
        distribution in distribution(),
        (mut nodes, shuffled) in pool().prop_flat_map(|nodes| (Just(nodes.clone()), Just(nodes).prop_shuffle())),
        weights in prop::option::of(prop::collection::vec(any::<u8>(), 24)),
        keys in prop::collection::vec(any_key(), 1..20),
    ) {
        prop_assume!(!distribution.is_positional());
        if let Some(draws) = weights {
            weigh(&mut nodes, distribution.weights(), &draws);
        }
        let other: Vec<Node> = shuffled
            .iter()
            .map(|node| nodes.iter().find(|same| same.name == node.name).unwrap().clone())
            .collect();
        let placement = Placement::of(distribution);
        let one = Selector::new(&placement, &nodes).unwrap();
        let two = Selector::new(&placement, &other).unwrap();
        for key in &keys {
            prop_assert_eq!(owner_name(&one, &nodes, key), owner_name(&two, &other, key));
        }
        if matches!(distribution, Distribution::Ring | Distribution::Rendezvous | Distribution::Pymemcache) {
            prop_assert_eq!(one.digest(), two.digest());
        }
    }

    /// The key space of a node that leaves goes to its keys' successors, and nothing else moves.
    #[test]
    fn a_node_that_leaves_takes_only_its_own_keys_along(
        distribution in prop::sample::select(STEADY.to_vec()),
        mut nodes in pool(),
        weights in prop::option::of(prop::collection::vec(any::<u8>(), 24)),
        leaving in any::<prop::sample::Index>(),
        keys in prop::collection::vec(any_key(), 1..20),
    ) {
        prop_assume!(nodes.len() > 1);
        if let Some(draws) = weights {
            weigh(&mut nodes, distribution.weights(), &draws);
        }
        let placement = Placement::of(distribution);
        let before = Selector::new(&placement, &nodes).unwrap();
        let gone = leaving.index(nodes.len());
        let mut rest = nodes.clone();
        rest.remove(gone);
        let after = Selector::new(&placement, &rest).unwrap();
        for key in &keys {
            let expected = before.successors(key).into_iter().find(|index| *index != gone).unwrap();
            prop_assert_eq!(owner_name(&after, &rest, key), &nodes[expected].name);
        }
    }

    /// Successors are what the name says: take the owners out one after the other.
    #[test]
    fn successors_are_the_owners_after_the_owners_before_left(
        placement in placement(),
        mut nodes in pool(),
        draws in prop::collection::vec(any::<u8>(), 24),
        key in any_key(),
    ) {
        prop_assume!(!matches!(placement.distribution,
            Distribution::KetamaWeighted | Distribution::KetamaTwemproxy));
        weigh(&mut nodes, placement.distribution.weights(), &draws);
        let order = Selector::new(&placement, &nodes).unwrap().successors(&key);
        prop_assert_eq!(order.len(), nodes.len());
        let mut left: Vec<usize> = (0..nodes.len()).collect();
        for index in order {
            let pool: Vec<Node> = left.iter().map(|index| nodes[*index].clone()).collect();
            let owner = Selector::new(&placement, &pool).unwrap().select(&key);
            prop_assert_eq!(left.remove(owner), index);
        }
    }

    /// The default ring is hash_ring's: same names, same keys, same owners.
    #[test]
    fn the_default_ring_is_the_one_of_hash_ring(
        mut names in names(),
        points in 1..80_u32,
        keys in prop::collection::vec("\\PC{0,20}|[a-z]{1,6}:[0-9]{1,7}", 1..12),
    ) {
        names.sort();
        let oracle: HashRing<String> = HashRing::new(names.clone(), points as isize);
        let nodes: Vec<Node> = names.into_iter().map(|name| Node::at("h", 1).named(name)).collect();
        let placement = Placement { points: Some(points), ..Placement::default() };
        let selector = Selector::new(&placement, &nodes).unwrap();
        for key in keys {
            let owner = owner_name(&selector, &nodes, key.as_bytes()).to_owned();
            prop_assert_eq!(Some(&owner), oracle.get_node(key));
        }
    }

    /// Adding a server at the end moves keys only to it, in the positional consistent ones.
    #[test]
    fn a_server_added_at_the_end_takes_keys_from_all_and_moves_no_others(
        distribution in prop::sample::select(vec![Distribution::Ch3, Distribution::Jump]),
        count in 1..60_u16,
        keys in prop::collection::vec(any_key(), 1..40),
    ) {
        let nodes: Vec<Node> = (0..=count).map(|i| Node::at("h", i)).collect();
        let placement = Placement::of(distribution);
        let before = Selector::new(&placement, &nodes[..usize::from(count)]).unwrap();
        let after = Selector::new(&placement, &nodes).unwrap();
        for key in keys {
            let (from, to) = (before.select(&key), after.select(&key));
            prop_assert!(to == from || to == usize::from(count));
        }
    }

    /// Keys with the same tag are together, whatever is around it; with a stop, what follows it has
    /// no part.
    #[test]
    fn keys_with_one_tag_are_on_one_server(
        distribution in distribution(),
        nodes in pool(),
        tag in "[a-z0-9]{1,10}",
        around in prop::collection::vec("[a-z0-9:]{0,10}", 4),
        stop in any::<bool>(),
    ) {
        let placement = Placement { tag: Some((b'{', b'}')), stop, ..Placement::of(distribution) };
        let selector = Selector::new(&placement, &nodes).unwrap();
        let owner = selector.select(tag.as_bytes());
        for (before, after) in around.iter().zip(around.iter().rev()) {
            let key = format!("{before}{{{tag}}}{after}");
            prop_assert_eq!(selector.select(key.as_bytes()), owner);
            let key = format!("{before}{{{tag}}}{after}|#|{after}");
            prop_assert_eq!(selector.select(key.as_bytes()), owner);
        }
    }
}

/// Weighted ketama computes the numbers of points anew when a node leaves, so that rounding may move a
/// few keys of other nodes: never more than 2 in 100.
#[test]
fn weighted_ketama_moves_little_more_than_the_keys_of_the_node_that_left() {
    let nodes: Vec<Node> = (0..20)
        .map(|i| Node::at(format!("10.0.0.{i}"), 11211))
        .collect();
    for distribution in [Distribution::KetamaWeighted, Distribution::KetamaTwemproxy] {
        let placement = Placement::of(distribution);
        let before = Selector::new(&placement, &nodes).unwrap();
        for gone in 0..nodes.len() {
            let mut rest = nodes.clone();
            rest.remove(gone);
            let after = Selector::new(&placement, &rest).unwrap();
            let (mut own, mut others) = (0, 0);
            for i in 0..2000 {
                let key = format!("user:{i}:name");
                if before.select(key.as_bytes()) == gone {
                    own += 1;
                } else if owner_name(&before, &nodes, key.as_bytes())
                    != owner_name(&after, &rest, key.as_bytes())
                {
                    others += 1;
                }
            }
            assert!(
                own > 0 && others <= 40,
                "{distribution} without {gone}: {own} {others}"
            );
        }
    }
}

/// Hashes like the default ring, but a key of the form `@hex` is the number itself.
#[derive(Clone, Default)]
struct Probe;

struct ProbeHasher(u64);

impl BuildHasher for Probe {
    type Hasher = ProbeHasher;

    fn build_hasher(&self) -> ProbeHasher {
        ProbeHasher(0)
    }
}

impl Hasher for ProbeHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = match bytes.split_first() {
            Some((b'@', hex)) => {
                u64::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()
            }
            _ => xxh64(bytes, 0),
        };
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Before, at and behind every single point the owner is hash_ring's.
#[test]
fn the_default_ring_is_the_one_of_hash_ring_point_for_point() {
    let names: Vec<String> = (0..3).map(|i| format!("127.0.0.1:{}", 11211 + i)).collect();
    let oracle = HashRing::with_hasher(names.clone(), DEFAULT_POINTS as isize, Probe);
    let ring = ring::Ring::new(
        ring::default_points(
            names
                .iter()
                .map(|name| (name.as_str(), u64::from(DEFAULT_POINTS))),
        ),
        std::cmp::Reverse,
    );
    assert_eq!(ring.points().len(), 480);
    for point in ring.points() {
        for hash in [point.value - 1, point.value, point.value + 1] {
            let owner = oracle.get_node(format!("@{hash:x}")).unwrap();
            assert_eq!(&names[ring.owner(hash) as usize], owner, "{hash:x}");
        }
    }
}

fn shares(distribution: Distribution, count: u16) -> Vec<f64> {
    let nodes: Vec<Node> = (0..count)
        .map(|i| Node::at(format!("10.0.0.{i}"), 11211))
        .collect();
    Selector::new(&Placement::of(distribution), &nodes)
        .unwrap()
        .shares()
}

/// How far from its fair part a server's share may be, for pools of 2 to 20 equal servers.
#[test]
fn keys_are_spread_evenly() {
    for distribution in Distribution::ALL {
        let tolerance = match distribution {
            // One key in 65 536 is 0.0015 %; what is left is the noise of the sample.
            Distribution::Modula
            | Distribution::Pymemcache
            | Distribution::Pylibmc
            | Distribution::PythonMemcached
            | Distribution::Ch3
            | Distribution::WeightedCh3
            | Distribution::Crc32
            | Distribution::ConstShard
            | Distribution::Jump
            | Distribution::Rendezvous => 0.06,
            // 160 points per server, and 100.
            Distribution::Ring | Distribution::KetamaWeighted | Distribution::KetamaTwemproxy => {
                0.35
            }
            Distribution::Ketama => 0.45,
        };
        for count in [1, 2, 3, 5, 8, 13, 20] {
            let shares = shares(distribution, count);
            let total: f64 = shares.iter().sum();
            assert!((total - 1.0).abs() < 1e-6, "{distribution}: {total}");
            for share in shares {
                let part = share * f64::from(count);
                assert!(
                    (part - 1.0).abs() < tolerance,
                    "{distribution} of {count}: {part}"
                );
            }
        }
    }
}

/// A server of twice the weight gets about twice the keys.
#[test]
fn keys_are_spread_by_weight() {
    for (distribution, weights, expected, tolerance) in [
        (Distribution::Ring, [0.0, 1.0, 3.0], [0.0, 0.25, 0.75], 0.05),
        (
            Distribution::Rendezvous,
            [0.0, 1.0, 3.0],
            [0.0, 0.25, 0.75],
            0.01,
        ),
        (
            Distribution::KetamaWeighted,
            [1.0, 1.0, 2.0],
            [0.25, 0.25, 0.5],
            0.05,
        ),
        (
            Distribution::KetamaTwemproxy,
            [1.0, 1.0, 2.0],
            [0.25, 0.25, 0.5],
            0.05,
        ),
        (
            Distribution::Modula,
            [1.0, 1.0, 2.0],
            [0.25, 0.25, 0.5],
            0.01,
        ),
        (
            Distribution::PythonMemcached,
            [1.0, 1.0, 2.0],
            [0.25, 0.25, 0.5],
            0.01,
        ),
        (
            Distribution::WeightedCh3,
            [0.25, 0.25, 0.5],
            [0.25, 0.25, 0.5],
            0.02,
        ),
    ] {
        let nodes: Vec<Node> = (0..3)
            .zip(weights)
            .map(|(i, weight)| Node::at(format!("10.0.0.{i}"), 11211).weighing(weight))
            .collect();
        let shares = Selector::new(&Placement::of(distribution), &nodes)
            .unwrap()
            .shares();
        for (share, part) in shares.iter().zip(expected) {
            assert!(
                (share - part).abs() <= tolerance,
                "{distribution}: {shares:?}"
            );
        }
    }
}

/// Shares that are computed agree with where keys really go, and shares of a hash that does not fill
/// the ring are not computed but tried.
#[test]
fn shares_are_what_keys_show() {
    let nodes: Vec<Node> = (0..5)
        .map(|i| Node::at(format!("10.0.0.{i}"), 11211))
        .collect();
    for hash in [
        None,
        Some(HashFunction::Md5),
        Some(HashFunction::Crc32),
        Some(HashFunction::Crc16),
    ] {
        let placement = match hash {
            None => Placement::default(),
            hash => Placement {
                hash,
                ..Placement::of(Distribution::KetamaTwemproxy)
            },
        };
        let selector = Selector::new(&placement, &nodes).unwrap();
        let mut counted = [0.0; 5];
        for i in 0..20_000 {
            counted[selector.select(format!("user:{i}:name").as_bytes())] += 1.0 / 20_000.0;
        }
        for (share, count) in selector.shares().iter().zip(counted) {
            assert!(
                (share - count).abs() < 0.05,
                "{hash:?}: {:?} {counted:?}",
                selector.shares()
            );
        }
    }
}
