//! The ketama layouts of libmemcached and twemproxy: rings of 32 bits.
//!
//! What they have in common is text `label-i` whose hash is a point; what differs is the label, the
//! number of points and the hash:
//!
//! | | label without a name | points per server | a point is |
//! |---|---|---|---|
//! | libmemcached, no weights | `host:port`, or `host` if the port is 11211; for a unix socket `path:0` | 100 | the chosen hash of the text |
//! | libmemcached, weighted | the same | 160 times its share, see below | a word of the MD5, four per text |
//! | twemproxy | the same; for a unix socket `path:` | as weighted | as weighted |
//!
//! A share is computed in single precision and rounded down to whole texts, so that a light server can
//! end up without any point. Where points coincide, the server listed first owns. (libmemcached says
//! so since 1.1; in twemproxy and older versions it depends on the C library's sort.)
//!
//! A node with a name of its own has that as its label in all three.

use std::fmt::Write as _;

use super::function::HashFunction;
use super::libhashkit::md5_words;
use super::ring::Point;
use super::{Distribution, Node};

/// The port that both systems leave out.
const MEMCACHED_PORT: u16 = 11211;
/// Points per server without weights.
pub(super) const POINTS: u32 = 100;
/// Points per server of mean weight.
pub(super) const WEIGHTED_POINTS: u32 = 160;

/// A value of 32 bits as a place on the ring.
pub(super) fn place(value: u32) -> u64 {
    u64::from(value) << 32
}

/// What a node is called on the ring of one of these distributions.
pub(super) fn label(distribution: Distribution, node: &Node) -> String {
    let Some(address) = node.derived_address() else {
        return node.name.clone();
    };
    if node.host.starts_with('/') {
        // libmemcached gives a unix socket the port 0, twemproxy keeps the colon of the missing one.
        return match distribution {
            Distribution::KetamaTwemproxy => format!("{address}:"),
            _ => format!("{address}:0"),
        };
    }
    if node.port == MEMCACHED_PORT {
        node.host.clone()
    } else {
        address
    }
}

/// The points of libmemcached's ketama without weights.
pub(super) fn plain_points(labels: &[String], hash: HashFunction) -> Vec<Point> {
    texts(labels.iter().map(|label| (label, POINTS)))
        .into_iter()
        .map(|(text, owner)| Point {
            value: place(hash.hash(text.as_bytes())),
            owner,
        })
        .collect()
}

/// The points of weighted ketama. Weights are whole numbers, so that their sum is exact.
pub(super) fn weighted_points(labels: &[String], weights: &[f64]) -> Vec<Point> {
    let total: f64 = weights.iter().sum();
    let groups = weights.iter().map(|weight| {
        let share = (*weight as f32) / (total as f32);
        let groups = share * WEIGHTED_POINTS as f32 / 4.0 * labels.len() as f32;
        groups.floor() as u32
    });
    texts(labels.iter().zip(groups))
        .into_iter()
        .flat_map(|(text, owner)| {
            md5_words(text.as_bytes()).map(|word| Point {
                value: place(word),
                owner,
            })
        })
        .collect()
}

/// `label-0`, `label-1`, … for every label, with its index.
fn texts<'a>(labels: impl Iterator<Item = (&'a String, u32)>) -> Vec<(String, u32)> {
    let mut texts = Vec::new();
    for (owner, (label, count)) in labels.enumerate() {
        for i in 0..count {
            let mut text = String::with_capacity(label.len() + 8);
            // Writing to a String cannot fail.
            let _ = write!(text, "{label}-{i}");
            texts.push((text, owner as u32));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_real_systems() {
        use Distribution::{Ketama, KetamaTwemproxy, KetamaWeighted};
        for (node, libmemcached, twemproxy) in [
            (Node::at("10.0.0.1", 11211), "10.0.0.1", "10.0.0.1"),
            (
                Node::at("10.0.0.1", 11212),
                "10.0.0.1:11212",
                "10.0.0.1:11212",
            ),
            (Node::at("::1", 11212), "::1:11212", "::1:11212"),
            (Node::at("/a/b.sock", 0), "/a/b.sock:0", "/a/b.sock:"),
            (Node::at("10.0.0.1", 11211).named("m-0"), "m-0", "m-0"),
            (
                Node::at("10.0.0.1", 11211).named("10.0.0.9:11211"),
                "10.0.0.9:11211",
                "10.0.0.9:11211",
            ),
        ] {
            assert_eq!(label(Ketama, &node), libmemcached);
            assert_eq!(label(KetamaWeighted, &node), libmemcached);
            assert_eq!(label(KetamaTwemproxy, &node), twemproxy);
        }
    }

    #[test]
    fn a_light_server_may_have_no_points() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let points = weighted_points(&labels, &[1.0, 1000.0]);
        assert!(points.iter().all(|point| point.owner == 1));
        assert_eq!(weighted_points(&labels, &[1.0, 1.0]).len(), 320);
        assert_eq!(plain_points(&labels, HashFunction::Md5).len(), 200);
    }
}
