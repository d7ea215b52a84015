//! What the embedded server counts, under memcached's names.
//!
//! [`Counters`] belong to the items and change under their lock; those that memcached keeps per slab class are
//! kept per slab class, and the totals are their sums. [`Traffic`] belongs to the sockets and is atomic, since
//! connections come and go without the lock. Nothing here knows how the figures are shown.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use slab::Slab;

/// Counters of one slab class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are memcached's
pub struct ClassCounters {
    pub set_cmds: u64,
    pub get_hits: u64,
    pub touch_hits: u64,
    pub delete_hits: u64,
    pub incr_hits: u64,
    pub decr_hits: u64,
    pub cas_hits: u64,
    pub cas_badval: u64,
}

/// Counters of one store.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the names are memcached's
pub struct Counters {
    pub get_cmds: u64,
    pub get_misses: u64,
    pub get_expired: u64,
    pub get_flushed: u64,
    pub touch_cmds: u64,
    pub touch_misses: u64,
    pub delete_misses: u64,
    pub incr_misses: u64,
    pub decr_misses: u64,
    pub cas_misses: u64,
    pub flush_cmds: u64,
    pub meta_cmds: u64,
    pub store_too_large: u64,
    pub total_items: u64,
    pub evictions: u64,
    pub evicted_unfetched: u64,
    pub evicted_active: u64,
    pub reclaimed: u64,
    pub expired_unfetched: u64,
    classes: Vec<ClassCounters>,
}

impl Counters {
    /// The counters of a class, all zero if nothing was counted there.
    pub fn class(&self, class: usize) -> ClassCounters {
        self.classes.get(class).copied().unwrap_or_default()
    }

    /// The counters of a class, to be changed.
    pub fn class_mut(&mut self, class: usize) -> &mut ClassCounters {
        if self.classes.len() <= class {
            self.classes.resize(class + 1, ClassCounters::default());
        }
        // Just made long enough for it.
        #[allow(clippy::indexing_slicing)]
        &mut self.classes[class]
    }

    /// The sums over all classes.
    pub fn totals(&self) -> ClassCounters {
        let mut totals = ClassCounters::default();
        for class in &self.classes {
            totals.set_cmds += class.set_cmds;
            totals.get_hits += class.get_hits;
            totals.touch_hits += class.touch_hits;
            totals.delete_hits += class.delete_hits;
            totals.incr_hits += class.incr_hits;
            totals.decr_hits += class.decr_hits;
            totals.cas_hits += class.cas_hits;
            totals.cas_badval += class.cas_badval;
        }
        totals
    }
}

/// Counters of the connections to one store.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Connections turned away because there were too many.
    pub rejected: AtomicU64,
    /// Bytes received.
    pub bytes_read: AtomicU64,
    /// Bytes sent.
    pub bytes_written: AtomicU64,
    /// Where the server listens, once it does.
    pub listening: OnceLock<SocketAddr>,
    peers: Mutex<Slab<SocketAddr>>,
}

impl Traffic {
    /// Notes an accepted connection; returns the number it has until [`Traffic::left`].
    pub fn joined(&self, peer: SocketAddr) -> usize {
        self.accepted.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, Relaxed);
        self.lock_peers().insert(peer)
    }

    /// Notes that a connection has ended.
    pub fn left(&self, number: usize) {
        self.connections.fetch_sub(1, Relaxed);
        self.lock_peers().try_remove(number);
    }

    /// The open connections: numbers from 1 and the clients' addresses.
    pub fn peers(&self) -> Vec<(usize, SocketAddr)> {
        let peers = self.lock_peers();
        peers.iter().map(|(i, addr)| (i + 1, *addr)).collect()
    }

    fn lock_peers(&self) -> MutexGuard<'_, Slab<SocketAddr>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the counts from zero again, as `stats reset` does; open connections stay counted.
    pub fn reset(&self) {
        for counter in [
            &self.accepted,
            &self.rejected,
            &self.bytes_read,
            &self.bytes_written,
        ] {
            counter.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sums_of_the_classes() {
        let mut counters = Counters::default();
        counters.class_mut(3).get_hits += 2;
        counters.class_mut(1).get_hits += 1;
        counters.class_mut(39).set_cmds += 5;
        assert_eq!(counters.class(3).get_hits, 2);
        assert_eq!(counters.class(2), ClassCounters::default());
        assert_eq!(counters.class(77), ClassCounters::default());
        assert_eq!(counters.totals().get_hits, 3);
        assert_eq!(counters.totals().set_cmds, 5);
    }

    #[test]
    fn a_reset_leaves_the_open_connections() {
        let traffic = Traffic::default();
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let first = traffic.joined(peer(1));
        traffic.joined(peer(2));
        traffic.left(first);
        traffic.joined(peer(3));
        assert_eq!(traffic.peers(), [(1, peer(3)), (2, peer(2))]);
        assert_eq!(traffic.accepted.load(Relaxed), 3);
        traffic.reset();
        assert_eq!(traffic.connections.load(Relaxed), 2);
        assert_eq!(traffic.accepted.load(Relaxed), 0);
    }
}
