//! Why a placement cannot be built, as sentences for the person who wrote the config.
//!
//! Every sentence names the server or the option that is at fault and what would be right. Positions
//! in the file are added by whoever read it.

use super::distribution::{Distribution, WeightRule};
use super::function::HashFunction;

/// Why [`Selector::new`](super::Selector::new) refused a placement.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlacementError {
    /// The list of nodes is empty.
    #[error("there must be at least one server to place keys on")]
    NoNodes,
    /// A node's name is the empty string.
    #[error("server {position} has an empty name")]
    EmptyName {
        /// Where it is in the list, counted from 1.
        position: usize,
    },
    /// Two nodes have one name.
    #[error("two servers are named {name:?}; give each its own name")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two nodes with different names are one and the same to this distribution.
    #[error(
        "servers {first:?} and {second:?} are both {label:?} to the distribution {distribution}, \
         which leaves out port 11211; give one of them another name"
    )]
    SameLabel {
        /// The distribution.
        distribution: Distribution,
        /// The name of the one.
        first: String,
        /// The name of the other.
        second: String,
        /// What both are hashed as.
        label: String,
    },
    /// A weight the distribution cannot use.
    #[error(
        "weight {weight} of server {name:?} is not possible with the distribution {distribution}: \
         it must be {}", rule.describe()
    )]
    Weight {
        /// The distribution.
        distribution: Distribution,
        /// What it allows.
        rule: WeightRule,
        /// The node's name.
        name: String,
        /// The weight as given.
        weight: f64,
    },
    /// All weights are zero.
    #[error(
        "the weight of every server is 0, so none would get any keys; at least one must be more"
    )]
    NoWeight,
    /// A hash function was given where the distribution has its own.
    #[error(
        "the distribution {distribution} has its own hash function; leave out hash = \"{hash}\""
    )]
    HashNotChoosable {
        /// The distribution.
        distribution: Distribution,
        /// The hash function that was given.
        hash: HashFunction,
    },
    /// A salt was given where there is none.
    #[error(
        "the distribution {distribution} has no salt; \
         only ch3, weighted_ch3, crc32, const_shard and rendezvous have one"
    )]
    SaltNotUsed {
        /// The distribution.
        distribution: Distribution,
    },
    /// The salt is longer than [`MAX_SALT`](super::MAX_SALT).
    #[error("the salt has {length} bytes; at most {max} are possible")]
    SaltTooLong {
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        max: usize,
    },
    /// Buckets were asked for where there are none.
    #[error("the distribution {distribution} has no buckets; only weighted_ch3 has")]
    BucketsNotUsed {
        /// The distribution.
        distribution: Distribution,
    },
    /// A number of points was given where it is fixed.
    #[error("the distribution {distribution} has a fixed number of points; leave out points")]
    PointsNotUsed {
        /// The distribution.
        distribution: Distribution,
    },
    /// A variable was given for the weights of a distribution that can't change them.
    #[error("the distribution {distribution} has no weights_variable; only weighted_ch3 has one")]
    VariableNotUsed {
        /// The distribution.
        distribution: Distribution,
    },
    /// Zero points per node.
    #[error("points must be at least 1")]
    NoPoints,
    /// The ring, or the table of a weighted `modula`, would be too large.
    #[error(
        "{needed} points for {nodes} servers are more than the possible {max}; \
         use fewer points per server or smaller weights"
    )]
    TooManyPoints {
        /// How many it would take.
        needed: u64,
        /// For how many nodes.
        nodes: usize,
        /// The most that is possible.
        max: usize,
    },
    /// More nodes than any distribution can count.
    #[error("{nodes} servers are more than the possible {max}")]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
        /// The most that is possible.
        max: usize,
    },
}

/// A name in a config that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given:?}; known are {}", known.join(", "))]
pub struct UnknownName {
    /// What kind of thing was to be named.
    pub what: &'static str,
    /// The name that was given.
    pub given: String,
    /// The names that would have been right.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    pub(super) fn new(
        what: &'static str,
        given: &str,
        known: impl Iterator<Item = &'static str>,
    ) -> UnknownName {
        UnknownName {
            what,
            given: given.to_owned(),
            known: known.collect(),
        }
    }
}
