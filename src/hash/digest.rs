//! One number for a placement, by which nodes can tell whether they agree.
//!
//! The digest covers what decides on the placement and nothing else: the distribution, the options in
//! effect (a default that is written out makes no difference), and the nodes by the labels that are
//! hashed and their weights. Addresses have no part in it. For rings it is taken over the finished
//! ring, so that neither the order of the list nor a weight that rounds to the same points matters.

use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::Placement;
use super::function::HashFunction;
use super::selector::Kind;

/// Hashes everything that decides on a placement. What is fed here, and in which order, must stay as
/// it is, or nodes of different versions would seem to disagree.
pub(super) fn digest(
    placement: &Placement,
    hash: Option<HashFunction>,
    labels: &[String],
    weights: &[f64],
    kind: &Kind,
) -> u64 {
    let mut state = Xxh64::new(0);
    let text = |text: &str, state: &mut Xxh64| {
        state.update(&(text.len() as u64).to_le_bytes());
        state.update(text.as_bytes());
    };
    text(placement.distribution.name(), &mut state);
    text(hash.map_or("", HashFunction::name), &mut state);
    text(&placement.salt, &mut state);
    let (open, close) = placement.tag.unwrap_or_default();
    state.update(&[
        u8::from(placement.tag.is_some()),
        open,
        close,
        u8::from(placement.stop),
    ]);
    if let Some(buckets) = &placement.buckets {
        // Nothing is fed where there are none, so that digests stay what they were.
        text(&format!("{buckets:?}"), &mut state);
    }
    if let Kind::Ring { ring, .. } = kind {
        // The ring itself: what led to it, such as the order of the list, does not matter.
        let names: Vec<u64> = labels
            .iter()
            .map(|label| xxh64(label.as_bytes(), 0))
            .collect();
        for point in ring.points() {
            state.update(&point.value.to_le_bytes());
            let name = names.get(point.owner as usize).copied().unwrap_or(0);
            state.update(&name.to_le_bytes());
        }
        return state.digest();
    }
    state.update(&[u8::from(matches!(kind, Kind::WeightedRendezvous { .. }))]);
    let mut nodes: Vec<(&String, &f64)> = labels.iter().zip(weights).collect();
    if !placement.distribution.is_positional() {
        nodes.sort_unstable_by_key(|(label, _)| *label);
    }
    for (label, weight) in nodes {
        text(label, &mut state);
        state.update(&weight.to_bits().to_le_bytes());
    }
    if let Some(variable) = &placement.weights_variable {
        // What it says at the moment is the same on all nodes, or will be.
        text(variable, &mut state);
    }
    state.digest()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{DEFAULT_POINTS, Distribution, Node, Selector, WeightRule};
    use super::*;

    #[test]
    fn the_digest_tells_placements_apart_and_nothing_else() {
        let digest = |placement: &Placement, nodes: &[Node]| {
            Selector::new(placement, nodes).unwrap().digest()
        };
        let pool: Vec<Node> = (0..6)
            .map(|i| Node::at("h", 1 + i).named(format!("n{i}")))
            .collect();
        let mut reversed = pool.clone();
        reversed.reverse();
        let mut moved = pool.clone();
        for node in &mut moved {
            node.host = "elsewhere".into();
        }
        let mut renamed = pool.clone();
        renamed[3].name = "other".into();
        let mut all = HashSet::new();
        for distribution in Distribution::ALL {
            let placement = Placement::of(distribution);
            let own = digest(&placement, &pool);
            assert!(all.insert(own), "{distribution}");
            assert_eq!(own, digest(&placement, &pool));
            assert_eq!(own, digest(&placement, &moved), "{distribution}: addresses");
            assert_eq!(
                own == digest(&placement, &reversed),
                !distribution.is_positional(),
                "{distribution}: order"
            );
            assert!(
                all.insert(digest(&placement, &renamed)),
                "{distribution}: names"
            );
            assert!(
                all.insert(digest(&placement, &pool[1..])),
                "{distribution}: fewer"
            );
            let tagged = Placement {
                tag: Some((b'{', b'}')),
                ..placement.clone()
            };
            assert!(all.insert(digest(&tagged, &pool)), "{distribution}: tag");
            let stopped = Placement {
                stop: true,
                ..placement.clone()
            };
            assert!(all.insert(digest(&stopped, &pool)), "{distribution}: stop");
            if distribution.takes_salt() {
                let salted = Placement {
                    salt: "s".into(),
                    ..placement.clone()
                };
                assert!(all.insert(digest(&salted, &pool)), "{distribution}: salt");
            }
            if distribution.weights() != WeightRule::None {
                let mut weighted = pool.clone();
                weighted[0].weight = Some(1.0);
                weighted[1].weight = Some(if distribution == Distribution::WeightedCh3 {
                    0.2
                } else {
                    2.0
                });
                assert!(
                    all.insert(digest(&placement, &weighted)),
                    "{distribution}: weights"
                );
            }
        }
        // A default that is written out changes nothing.
        let explicit = Placement {
            points: Some(DEFAULT_POINTS),
            ..Placement::default()
        };
        assert_eq!(
            digest(&explicit, &pool),
            digest(&Placement::default(), &pool)
        );
        let explicit = Placement {
            hash: Some(HashFunction::Md5),
            ..Placement::of(Distribution::KetamaWeighted)
        };
        let plain = Placement::of(Distribution::KetamaWeighted);
        assert_eq!(digest(&explicit, &pool), digest(&plain, &pool));
    }

    fn pool() -> Vec<Node> {
        (0..3).map(|i| Node::at("10.0.0.1", 11211 + i)).collect()
    }

    #[test]
    fn the_digest_stays_what_it_was() {
        // Nodes of different versions compare it. If this fails, they would all seem to disagree.
        let selector = Selector::new(&Placement::default(), &pool()).unwrap();
        assert_eq!(selector.digest(), 17_444_996_146_535_846_801);
        let selector = Selector::new(&Placement::of(Distribution::Ch3), &pool()).unwrap();
        assert_eq!(selector.digest(), 9_020_737_640_326_245_024);
    }
}
