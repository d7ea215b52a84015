//! Makes a [`Selector`]: everything that a config can get wrong about placement is found here, and
//! everything is computed here that does not depend on a key.
//!
//! What a node is called when it is hashed (its label) is its name, but in the layouts of other systems
//! a node without a name of its own is called what that system would call it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::digest::digest;
use super::function::HashFunction;
use super::live::Bounds;
use super::rendezvous::PymemcacheNode;
use super::ring::{DEFAULT_POINTS, MAX_POINTS, Ring};
use super::selector::{Kind, MAX_SALT, Selector};
use super::{Distribution, Node, Placement, PlacementError, WeightRule};
use super::{ch3, ketama, rendezvous, ring};

impl Selector {
    /// Builds the placement of a pool. Off the request path: a ring of a thousand nodes takes some
    /// tens of milliseconds.
    ///
    /// # Errors
    /// If there are no nodes, a name is empty or twice there, a weight is not possible with the
    /// distribution, an option is given that the distribution does not have, or something is too
    /// large. See [`PlacementError`].
    pub fn new(placement: &Placement, nodes: &[Node]) -> Result<Selector, PlacementError> {
        let distribution = placement.distribution;
        check_options(placement)?;
        check_nodes(distribution, nodes)?;
        let rule = distribution.weights();
        let weights: Box<[f64]> = nodes
            .iter()
            .map(|node| node.weight.unwrap_or(rule.default_weight()))
            .collect();
        if rule == WeightRule::Scale && weights.iter().all(|weight| *weight == 0.0) {
            return Err(PlacementError::NoWeight);
        }
        let hash = placement.hash.or(distribution.default_hash());
        let labels = labels(distribution, nodes)?;
        let kind = match distribution {
            Distribution::Ring => {
                let points = placement.points.unwrap_or(DEFAULT_POINTS);
                let counts: Vec<u64> = weights
                    .iter()
                    .map(|weight| ring::points_of_weight(points, *weight))
                    .collect();
                check_points(counts.iter().sum(), nodes.len())?;
                let points = ring::default_points(labels.iter().map(String::as_str).zip(counts));
                // Coinciding points: the greater name, as the ring's description says.
                let rank = |owner: u32| Reverse(labels.get(owner as usize));
                Kind::Ring {
                    ring: Ring::new(points, rank),
                    hash: None,
                }
            }
            Distribution::Ketama => {
                check_points(u64::from(ketama::POINTS) * nodes.len() as u64, nodes.len())?;
                let hash = hash.unwrap_or(HashFunction::OneAtATime);
                let points = ketama::plain_points(&labels, hash);
                Kind::Ring {
                    ring: Ring::new(points, |owner| owner),
                    hash: Some(hash),
                }
            }
            Distribution::KetamaWeighted | Distribution::KetamaTwemproxy => {
                check_points(
                    u64::from(ketama::WEIGHTED_POINTS) * nodes.len() as u64,
                    nodes.len(),
                )?;
                let points = ketama::weighted_points(&labels, &weights);
                Kind::Ring {
                    ring: Ring::new(points, |owner| owner),
                    hash,
                }
            }
            Distribution::Modula | Distribution::Pylibmc => {
                let hash = hash.unwrap_or(HashFunction::OneAtATime);
                Kind::Modula {
                    hash,
                    slots: slots(&weights)?,
                }
            }
            Distribution::PythonMemcached => Kind::Modula {
                hash: HashFunction::Crc32,
                slots: slots(&weights)?,
            },
            Distribution::Ch3 => Kind::Ch3,
            Distribution::WeightedCh3 => match &placement.weights_variable {
                Some(variable) => Kind::LiveCh3(Bounds::of(variable, &weights)),
                None => Kind::WeightedCh3,
            },
            Distribution::Crc32 => Kind::Crc32,
            Distribution::ConstShard => Kind::ConstShard,
            Distribution::Jump => Kind::Jump,
            Distribution::Rendezvous => {
                let tags = labels
                    .iter()
                    .map(|label| rendezvous::tag_hash(label))
                    .collect();
                if nodes.iter().any(|node| node.weight.is_some()) {
                    Kind::WeightedRendezvous { tags }
                } else {
                    Kind::Rendezvous { tags }
                }
            }
            Distribution::Pymemcache => Kind::Pymemcache {
                nodes: PymemcacheNode::all(&labels),
            },
        };
        let digest = digest(placement, hash, &labels, &weights, &kind);
        let names = nodes.iter().map(|node| node.name.clone()).collect();
        Ok(Selector {
            is_plain: !placement.stop && placement.tag.is_none() && placement.buckets.is_none(),
            placement: placement.clone(),
            names,
            kind,
            weights,
            digest,
        })
    }
}

fn check_options(placement: &Placement) -> Result<(), PlacementError> {
    let distribution = placement.distribution;
    if placement.buckets.is_some() && distribution != Distribution::WeightedCh3 {
        return Err(PlacementError::BucketsNotUsed { distribution });
    }
    if let Some(hash) = placement.hash
        && distribution.default_hash().is_none()
    {
        return Err(PlacementError::HashNotChoosable { distribution, hash });
    }
    if !placement.salt.is_empty() && !distribution.takes_salt() {
        return Err(PlacementError::SaltNotUsed { distribution });
    }
    if placement.salt.len() > MAX_SALT {
        return Err(PlacementError::SaltTooLong {
            length: placement.salt.len(),
            max: MAX_SALT,
        });
    }
    if placement.weights_variable.is_some() && !distribution.takes_variable() {
        return Err(PlacementError::VariableNotUsed { distribution });
    }
    match placement.points {
        Some(_) if !distribution.takes_points() => {
            Err(PlacementError::PointsNotUsed { distribution })
        }
        Some(0) => Err(PlacementError::NoPoints),
        _ => Ok(()),
    }
}

fn check_nodes(distribution: Distribution, nodes: &[Node]) -> Result<(), PlacementError> {
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    if nodes.len() > ch3::MAX_NODES {
        return Err(PlacementError::TooManyNodes {
            nodes: nodes.len(),
            max: ch3::MAX_NODES,
        });
    }
    let rule = distribution.weights();
    let mut names = HashSet::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if node.name.is_empty() {
            return Err(PlacementError::EmptyName {
                position: index + 1,
            });
        }
        if !names.insert(&node.name) {
            return Err(PlacementError::DuplicateName {
                name: node.name.clone(),
            });
        }
        if let Some(weight) = node.weight
            && !rule.allows(weight)
        {
            let name = node.name.clone();
            return Err(PlacementError::Weight {
                distribution,
                rule,
                name,
                weight,
            });
        }
    }
    Ok(())
}

fn check_points(needed: u64, nodes: usize) -> Result<(), PlacementError> {
    if needed > MAX_POINTS as u64 {
        return Err(PlacementError::TooManyPoints {
            needed,
            nodes,
            max: MAX_POINTS,
        });
    }
    Ok(())
}

/// What each node is called when it is hashed.
fn labels(distribution: Distribution, nodes: &[Node]) -> Result<Vec<String>, PlacementError> {
    let label_of = |node: &Node| match distribution {
        Distribution::Ketama | Distribution::KetamaWeighted | Distribution::KetamaTwemproxy => {
            ketama::label(distribution, node)
        }
        Distribution::Pymemcache => rendezvous::pymemcache_label(node),
        _ => node.name.clone(),
    };
    let labels: Vec<String> = nodes.iter().map(label_of).collect();
    let mut owners = HashMap::with_capacity(nodes.len());
    for (label, node) in labels.iter().zip(nodes) {
        if let Some(first) = owners.insert(label, &node.name) {
            return Err(PlacementError::SameLabel {
                distribution,
                first: first.clone(),
                second: node.name.clone(),
                label: label.clone(),
            });
        }
    }
    Ok(labels)
}

/// Every node as often as its weight says.
fn slots(weights: &[f64]) -> Result<Box<[u32]>, PlacementError> {
    check_points(
        weights.iter().map(|weight| *weight as u64).sum(),
        weights.len(),
    )?;
    let nodes = (0..).zip(weights);
    Ok(nodes
        .flat_map(|(node, weight)| std::iter::repeat_n(node, *weight as usize))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u16) -> Vec<Node> {
        (0..count)
            .map(|i| Node::at("10.0.0.1", 11211 + i))
            .collect()
    }

    fn refusal(placement: &Placement, nodes: &[Node]) -> String {
        Selector::new(placement, nodes).unwrap_err().to_string()
    }

    #[test]
    fn a_pool_needs_servers_with_names_of_their_own() {
        for distribution in Distribution::ALL {
            let placement = Placement::of(distribution);
            assert_eq!(
                refusal(&placement, &[]),
                "there must be at least one server to place keys on"
            );
            let twice = [Node::at("a", 1), Node::at("b", 2), Node::at("a", 1)];
            assert_eq!(
                refusal(&placement, &twice),
                "two servers are named \"a:1\"; give each its own name"
            );
            let unnamed = [Node::at("a", 1), Node::at("b", 1).named("")];
            assert_eq!(refusal(&placement, &unnamed), "server 2 has an empty name");
        }
    }

    #[test]
    fn two_servers_that_ketama_cannot_tell_apart_are_refused() {
        let pool = [Node::at("a", 11211), Node::at("b", 1).named("a")];
        assert_eq!(
            refusal(&Placement::of(Distribution::Ketama), &pool),
            "servers \"a:11211\" and \"a\" are both \"a\" to the distribution ketama, \
             which leaves out port 11211; give one of them another name"
        );
        assert!(Selector::new(&Placement::default(), &pool).is_ok());
    }

    #[test]
    fn weights_that_a_distribution_cannot_use_are_refused_by_name() {
        let weighing = |weight| [Node::at("a", 1), Node::at("b", 1).weighing(weight)];
        assert_eq!(
            refusal(&Placement::of(Distribution::Jump), &weighing(2.0)),
            "weight 2 of server \"b:1\" is not possible with the distribution jump: \
             it must be left out (or 1): this distribution has no weights"
        );
        assert_eq!(
            refusal(
                &Placement::of(Distribution::KetamaTwemproxy),
                &weighing(1.5)
            ),
            "weight 1.5 of server \"b:1\" is not possible with the distribution ketama_twemproxy: \
             it must be a whole number from 1 to 1000000"
        );
        for distribution in Distribution::ALL {
            let placement = Placement::of(distribution);
            for weight in [f64::NAN, f64::INFINITY, -1.0, 1e9] {
                assert!(refusal(&placement, &weighing(weight)).contains("\"b:1\""));
            }
            assert!(
                Selector::new(&placement, &weighing(1.0)).is_ok(),
                "{distribution}"
            );
        }
    }

    #[test]
    fn somebody_must_get_the_keys() {
        let zero: Vec<Node> = nodes(3)
            .into_iter()
            .map(|node| node.weighing(0.0))
            .collect();
        for distribution in [Distribution::Ring, Distribution::Rendezvous] {
            assert_eq!(
                refusal(&Placement::of(distribution), &zero),
                "the weight of every server is 0, so none would get any keys; \
                 at least one must be more"
            );
        }
        // mcrouter takes this, and then uses the last draw.
        assert!(Selector::new(&Placement::of(Distribution::WeightedCh3), &zero).is_ok());
    }

    #[test]
    fn options_that_a_distribution_does_not_have_are_refused() {
        let pool = nodes(3);
        let hash = Placement {
            hash: Some(HashFunction::Md5),
            ..Placement::default()
        };
        assert_eq!(
            refusal(&hash, &pool),
            "the distribution ring has its own hash function; leave out hash = \"md5\""
        );
        let salt = Placement {
            salt: "s".into(),
            ..Placement::default()
        };
        assert_eq!(
            refusal(&salt, &pool),
            "the distribution ring has no salt; \
             only ch3, weighted_ch3, crc32, const_shard and rendezvous have one"
        );
        let points = Placement {
            points: Some(10),
            ..Placement::of(Distribution::Ketama)
        };
        assert_eq!(
            refusal(&points, &pool),
            "the distribution ketama has a fixed number of points; leave out points"
        );
        let salt = "x".repeat(MAX_SALT + 1);
        assert_eq!(
            refusal(
                &Placement {
                    salt,
                    ..Placement::of(Distribution::Ch3)
                },
                &pool
            ),
            "the salt has 251 bytes; at most 250 are possible"
        );
        // What the table of distributions says is what is accepted.
        for distribution in Distribution::ALL {
            let placement = Placement::of(distribution);
            let salt = Placement {
                salt: "s".into(),
                ..placement.clone()
            };
            assert_eq!(
                Selector::new(&salt, &pool).is_ok(),
                distribution.takes_salt()
            );
            let variable = Placement {
                weights_variable: Some("v".into()),
                ..placement.clone()
            };
            assert_eq!(
                Selector::new(&variable, &pool).is_ok(),
                distribution.takes_variable()
            );
            let points = Placement {
                points: Some(7),
                ..placement.clone()
            };
            assert_eq!(
                Selector::new(&points, &pool).is_ok(),
                distribution.takes_points()
            );
            for hash in HashFunction::ALL {
                let hash = Placement {
                    hash: Some(hash),
                    ..placement.clone()
                };
                let chosen = Selector::new(&hash, &pool).is_ok();
                assert_eq!(chosen, distribution.default_hash().is_some());
            }
        }
    }

    #[test]
    fn a_ring_has_a_size_that_memory_can_hold() {
        let points = |points| Placement {
            points: Some(points),
            ..Placement::default()
        };
        assert_eq!(refusal(&points(0), &nodes(3)), "points must be at least 1");
        assert_eq!(
            refusal(&points(u32::MAX), &nodes(3)),
            "12884901885 points for 3 servers are more than the possible 4194304; \
             use fewer points per server or smaller weights"
        );
        let heavy: Vec<Node> = nodes(5)
            .into_iter()
            .map(|node| node.weighing(1e6))
            .collect();
        for distribution in [
            Distribution::Ring,
            Distribution::Modula,
            Distribution::PythonMemcached,
        ] {
            assert!(
                refusal(&Placement::of(distribution), &heavy).contains("more than the possible")
            );
        }
        assert!(Selector::new(&Placement::of(Distribution::KetamaWeighted), &heavy).is_ok());
    }
}
