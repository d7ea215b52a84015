//! Failovers whose order follows from the host or from the key.
//!
//! Plain data. Which children a host uses is known when the configuration is compiled; where a key goes next, when a request
//! has failed: see `crate::route::orders`.

use super::{Failover, Millionths, Verdicts};

/// A failover over some children, which follow from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// So many children at most, at least 1.
    pub count: u32,
    /// Makes another choice of the same children.
    pub salt: String,
    /// The weight of each child, from 0 to 1; nothing: all alike.
    pub weights: Vec<Millionths>,
    /// When it goes on.
    pub failover: Failover,
}

impl Latest {
    /// As it is where nothing is said.
    pub const DEFAULT: Latest = Latest {
        count: 5,
        salt: String::new(),
        weights: Vec::new(),
        failover: Failover::DEFAULT,
    };

    /// Of so many children: those of this host, the first one first.
    pub fn own(&self, children: usize) -> Vec<usize> {
        let weights: Vec<f64> = self.weights.iter().map(|one| one.number()).collect();
        let host = super::mcrouter::host_id();
        crate::hash::latest(host, children, self.count as usize, &self.salt, &weights)
    }
}

/// A failover whose order follows from the key. The first child is a pool, the others are its servers, or take their
/// places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedFailover {
    /// When it goes on.
    pub failover: Failover,
    /// Where.
    pub order: KeyOrder,
}

/// How the order follows from the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// By Ch3 of the key with a number behind it.
    Draws(Draws),
    /// By descending score of the rendezvous hash.
    Rendezvous {
        /// What each child but the first is known by.
        tags: Vec<String>,
        /// The weight of each of these; nothing: all alike.
        weights: Vec<Millionths>,
    },
}

/// See [`KeyOrder::Draws`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    /// So many children at most, the first one included; at least 1.
    pub max_tries: u32,
    /// So many failures at most; at least 1. Servers that are down, and what is excluded, do not count.
    pub max_error_tries: u32,
    /// Failures that do not count.
    pub excluded: Verdicts,
    /// The weight of each child, the first one included; nothing: all alike.
    pub weights: Vec<Millionths>,
    /// The failure domain of each child but the first; 0 is none. Nothing: they have none.
    pub domains: Vec<u32>,
    /// The server that the first child has for the key may be drawn again.
    pub repeats_normal: bool,
}

impl KeyedFailover {
    /// As it is where nothing is said.
    pub const DEFAULT: KeyedFailover = KeyedFailover {
        failover: Failover::DEFAULT,
        order: KeyOrder::Draws(Draws {
            max_tries: 1000,
            max_error_tries: 1000,
            excluded: Verdicts::NONE,
            weights: Vec::new(),
            domains: Vec::new(),
            repeats_normal: false,
        }),
    };
}
