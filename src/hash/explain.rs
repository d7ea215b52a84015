//! Why a key is where it is, for `ringroad explain` and the admin pages.
//!
//! An explanation repeats the selection step by step with the same functions, and a test holds it
//! against `select`, so that it cannot tell a different story.

use std::fmt;

use xxhash_rust::xxh64::xxh64;

use super::ch3::{self, joined};
use super::murmur::murmur64a;
use super::rendezvous::{self, PymemcacheKey};
use super::selector::{Kind, Selector, ring_hash};
use super::{Distribution, HashFunction};

/// How the owner of one key was found. `Display` gives a few lines of text without a line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The pool's distribution.
    pub distribution: Distribution,
    /// The part of the key that is hashed, with the salt if there is one.
    pub hashed: Vec<u8>,
    /// The hash function's name.
    pub function: &'static str,
    /// The value of `hashed` under it.
    pub hash: u64,
    /// The point on the ring that the key belongs to, for rings. Rings of 32 bits have 32-bit points.
    pub point: Option<u64>,
    /// What led from the hash to the owner, in words.
    pub rule: String,
    /// The owner's index in the list of servers.
    pub owner: usize,
    /// The owner's name.
    pub name: String,
}

impl Explanation {
    pub(super) fn new(selector: &Selector, key: &[u8]) -> Explanation {
        let owner = selector.select(key);
        let mut room = [0; 10];
        let routing = selector.placed(key, &mut room);
        let hashed = joined([routing, selector.salt(), b""], <[u8]>::to_vec);
        let count = selector.names.len();
        let mut point = None;
        let (function, hash, rule) = match &selector.kind {
            Kind::Ring { ring, hash } => {
                let place = ring_hash(*hash, routing);
                let found = ring.point(place).value;
                let shift = if hash.is_some() { 32 } else { 0 };
                point = Some(found >> shift);
                let rule = format!(
                    "the first of {} points at or after the hash{}",
                    ring.points().len(),
                    if found < place {
                        ": none is, so the lowest one"
                    } else {
                        ""
                    }
                );
                (
                    hash.map_or("xxh64", HashFunction::name),
                    place >> shift,
                    rule,
                )
            }
            Kind::Modula { hash, slots } => {
                let value = hash.hash(routing);
                let slot = (value as usize).checked_rem(slots.len()).unwrap_or(0);
                let rule = format!("hash modulo {} slots is slot {slot}", slots.len());
                (hash.name(), u64::from(value), rule)
            }
            Kind::Ch3 => (
                "murmur64a",
                murmur64a(&hashed, ch3::SEED),
                format!("Ch3 of {count} positions"),
            ),
            Kind::WeightedCh3 => (
                "murmur64a",
                murmur64a(&hashed, ch3::SEED),
                format!("Ch3 of {count} positions, drawn again where the weight says no"),
            ),
            Kind::LiveCh3(_) => {
                let variable = selector.placement.weights_variable.as_deref();
                let rule = format!(
                    "Ch3 of {count} positions, drawn again where the weight says no; the weights are those of the \
                     variable {} now",
                    variable.unwrap_or_default()
                );
                ("murmur64a", murmur64a(&hashed, ch3::SEED), rule)
            }
            Kind::Crc32 => {
                let value = crc32fast::hash(&hashed) & 0x7fff_ffff;
                (
                    "crc32",
                    u64::from(value),
                    format!("hash modulo {count} servers"),
                )
            }
            Kind::ConstShard => {
                let rule = match ch3::shard(&hashed, count as u32) {
                    Some(shard) => format!("the key's second part names server number {shard}"),
                    None => format!("Ch3 of {count} positions"),
                };
                ("murmur64a", murmur64a(&hashed, ch3::SEED), rule)
            }
            Kind::Jump => (
                "xxh64",
                xxh64(routing, 0),
                format!("jump hash of {count} positions"),
            ),
            Kind::Rendezvous { .. } | Kind::WeightedRendezvous { .. } => (
                "murmur64a",
                rendezvous::key_hash(&hashed),
                format!("the highest score of {count} servers"),
            ),
            Kind::Pymemcache { nodes } => {
                let key = PymemcacheKey::new(routing);
                let score = nodes.get(owner).map_or(0, |node| node.score(&key).0);
                let rule = format!("the highest murmur3 of \"server-key\" of {count} servers");
                ("murmur3", u64::from(score), rule)
            }
        };
        let name = selector.names.get(owner).cloned().unwrap_or_default();
        let distribution = selector.placement.distribution;
        Explanation {
            distribution,
            hashed,
            function,
            hash,
            point,
            rule,
            owner,
            name,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "distribution  {}", self.distribution)?;
        writeln!(f, "hashed        \"{}\"", self.hashed.escape_ascii())?;
        writeln!(f, "hash          {} = {:#x}", self.function, self.hash)?;
        writeln!(f, "rule          {}", self.rule)?;
        if let Some(point) = self.point {
            writeln!(f, "ring point    {point:#x}")?;
        }
        write!(
            f,
            "owner         {:?}, number {} of the list",
            self.name,
            self.owner + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Node, Placement};
    use super::*;

    fn nodes() -> Vec<Node> {
        (0..5)
            .map(|i| Node::at("10.0.0.1", 11211 + i).named(format!("cache-{i}")))
            .collect()
    }

    #[test]
    fn an_explanation_names_the_owner_that_is_selected() {
        for distribution in Distribution::ALL {
            let selector = Selector::new(&Placement::of(distribution), &nodes()).unwrap();
            for key in ["", "a", "user:3:x", "x:9:y", "schlüssel"] {
                let explanation = selector.explain(key.as_bytes());
                assert_eq!(explanation.owner, selector.select(key.as_bytes()));
                assert_eq!(explanation.name, format!("cache-{}", explanation.owner));
                assert_eq!(explanation.hashed, key.as_bytes());
                let text = explanation.to_string();
                assert!(text.contains(&explanation.name) && text.contains(distribution.name()));
            }
        }
    }

    #[test]
    fn it_reads_as_a_few_lines() {
        let placement = Placement {
            tag: Some((b'{', b'}')),
            ..Placement::default()
        };
        let selector = Selector::new(&placement, &nodes()).unwrap();
        let text = selector.explain("x{user:1}y".as_bytes()).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "distribution  ring");
        assert_eq!(lines[1], "hashed        \"user:1\"");
        assert!(lines[2].starts_with("hash          xxh64 = 0x"), "{text}");
        assert_eq!(
            lines[3],
            "rule          the first of 800 points at or after the hash"
        );
        assert!(lines[4].starts_with("ring point    0x"), "{text}");
        assert!(lines[5].starts_with("owner         \"cache-"), "{text}");
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn what_is_printed_of_a_key_cannot_disturb_a_terminal() {
        let selector = Selector::new(&Placement::default(), &nodes()).unwrap();
        assert!(
            selector
                .explain(b"\x1b[2J\n")
                .to_string()
                .contains(r#""\x1b[2J\n""#)
        );
    }
}
