//! Which child of a failover has given which lease.
//!
//! A token means something to the server that gave it and to no other. Where a `lease-get` has failed over, the client
//! gets a token of ringroad's own, as with mcrouter, and the `lease-set` that comes with it is sent to the same child
//! with the server's. That is remembered for ten seconds, for all workers.
//!
//! Pure: times are microseconds of the caller's. What is remembered is bounded; beyond that tokens pass as they are,
//! and the server that they are not from refuses them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};

/// The upper half of a token of ringroad's own; mcrouter's is the same.
const OWN: u64 = 0x7ace_b00c;

/// How long a lease is remembered, in microseconds.
const LIFE: u64 = 10_000_000;

/// How often those are forgotten that are older, in microseconds.
const SWEEP: u64 = 500_000;

/// How many are remembered at most.
const MAX_LEASES: usize = 65_536;

/// The leases that children have given.
#[derive(Debug, Default)]
pub struct Pairing(Mutex<Leases>);

#[derive(Debug)]
struct Leases {
    known: HashMap<u32, Lease>,
    next: u32,
    sweep_at: u64,
}

#[derive(Debug)]
struct Lease {
    key: Box<[u8]>,
    child: usize,
    token: u64,
    until: u64,
}

impl Default for Leases {
    fn default() -> Leases {
        // So that what one process gave out means nothing to the next.
        let first = std::hash::RandomState::new().build_hasher().finish();
        Leases {
            known: HashMap::new(),
            next: first as u32,
            sweep_at: 0,
        }
    }
}

/// Whether a token looks like one of ringroad's own.
pub fn is_own(token: u64) -> bool {
    token >> 32 == OWN
}

impl Pairing {
    /// The token that the client gets for one that a child has given.
    pub fn keep(&self, key: &[u8], child: usize, token: u64, now: u64) -> u64 {
        if !is_own(token) && (child == 0 || token <= 1) {
            return token;
        }
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= leases.sweep_at || leases.known.len() >= MAX_LEASES {
            leases.known.retain(|_, lease| now < lease.until);
            leases.sweep_at = now.saturating_add(SWEEP);
        }
        if leases.known.len() >= MAX_LEASES {
            return token;
        }
        let number = leases.next;
        leases.next = number.wrapping_add(1);
        leases.known.insert(
            number,
            Lease {
                key: key.into(),
                child,
                token,
                until: now.saturating_add(LIFE),
            },
        );
        OWN << 32 | u64::from(number)
    }

    /// Which child has given the lease that this token stands for, and what it calls it. To be had once.
    pub fn take(&self, key: &[u8], token: u64, now: u64) -> Option<(usize, u64)> {
        if !is_own(token) {
            return None;
        }
        let number = token as u32;
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = leases.known.get(&number);
        lease.filter(|lease| *lease.key == *key && now < lease.until)?;
        leases
            .known
            .remove(&number)
            .map(|lease| (lease.child, lease.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_of_another_child_is_found_once_and_not_for_long() {
        let pairing = Pairing::default();
        assert_eq!(
            pairing.keep(b"k", 0, 77, 0),
            77,
            "the first one's is as it is"
        );
        assert_eq!(pairing.keep(b"k", 1, 0, 0), 0, "no lease");
        let own = pairing.keep(b"k", 1, 77, 0);
        assert!(is_own(own));
        assert_eq!(pairing.take(b"other", own, 1), None);
        assert_eq!(pairing.take(b"k", 77, 1), None);
        assert_eq!(pairing.take(b"k", own, 1), Some((1, 77)));
        assert_eq!(pairing.take(b"k", own, 1), None);
        let late = pairing.keep(b"k", 2, 78, 0);
        assert_eq!(pairing.take(b"k", late, LIFE), None);
        // A router behind this one has tokens that look alike, also as the first child.
        let nested = pairing.keep(b"k", 0, own, 0);
        assert_eq!(pairing.take(b"k", nested, 0), Some((0, own)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pairing = Pairing::default();
        for n in 0..MAX_LEASES {
            assert!(is_own(pairing.keep(&n.to_le_bytes(), 1, 5, 0)));
        }
        assert_eq!(pairing.keep(b"k", 1, 5, 1), 5);
        assert!(is_own(pairing.keep(b"k", 1, 5, LIFE)));
        assert_eq!(pairing.0.lock().unwrap().known.len(), 1);
    }
}
