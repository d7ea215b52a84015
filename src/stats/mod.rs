//! Counters that a worker writes and anyone may read.
//!
//! Each counter has one writer, its worker, so counting is a load and a store, never a locked instruction.
//! Readers add up the workers; what they see may be a moment old, never torn.

pub mod beat;
pub mod latency;
pub mod metrics;
pub(crate) mod process;
pub mod prometheus;
pub mod report;
pub mod results;
pub mod servers;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::error::ErrorKind;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Takes `n` off, for gauges.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(n),
            Ordering::Relaxed,
        );
    }

    /// Sets it, for gauges.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident),* $(,)? }
        $(and { $($(#[doc = $more_doc:literal])* $more:ident: $kind:ty),* $(,)? })?) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: Counter,)*
            $($($(#[doc = $more_doc])* pub $more: $kind,)*)?
        }

        impl $name {
            /// Every counter's name and value.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// One worker's figures.
    Worker {
        /// Open client connections.
        curr_connections,
        /// Client connections since the start.
        total_connections,
        /// Client connections closed because the client misbehaved or read too slowly.
        closed_connections,
        /// Keys asked for by get, gets and `mg`.
        cmd_get,
        /// Storage commands.
        cmd_set,
        /// `touch`, `gat` and `gats`: keys.
        cmd_touch,
        /// `delete` and `md`.
        cmd_delete,
        /// `incr`, `decr` and `ma`.
        cmd_arith,
        /// Meta commands.
        cmd_meta,
        /// `flush_all`.
        cmd_flush,
        /// Keys that were found.
        get_hits,
        /// Keys that were not found.
        get_misses,
        /// Keys of gets that failed and were answered as misses.
        get_errors,
        /// Requests that were refused or failed, of any kind.
        errors,
        /// Bytes from clients.
        bytes_read,
        /// Bytes to clients.
        bytes_written,
        /// Write calls to clients.
        client_writes,
        /// Requests sent to servers; keys of gets count each.
        upstream_requests,
        /// Command lines sent to servers: fewer than requests, thanks to coalescing.
        upstream_lines,
        /// Write calls to servers.
        upstream_writes,
        /// Read calls from servers.
        upstream_reads,
        /// Connections made to servers.
        upstream_connects,
        /// Replies that were not what was asked for; each closed its connection.
        upstream_bad_replies,
        /// Requests that went on to another server or pool, as their route or pool says.
        sent_on,
        /// Deletions that were done in a gutter, too.
        gutter_deletes,
        /// Items asked of a key's previous server because its new one had none (`warm_scaling`).
        moved_asked,
        /// How many of them it had.
        moved_hits,
        /// How many were copied to the new server.
        moved_copied,
        /// How many were not asked for because too much was under way.
        moved_skipped,
        /// Updates of keys whose server has changed, which reach both.
        moved_updates,
        /// Updates that a server may not have seen, remembered until it is back (`on_return`).
        owed_updates,
        /// Keys that were deleted at a server for that when it was back.
        owed_deletes,
        /// How often all that a server had was deleted.
        owed_flushes,
        /// Keys asked for by gets; they are in `cmd_get`, too.
        cmd_gets,
        /// Keys of gat; they are in `cmd_touch`, too.
        cmd_gat,
        /// Keys of gats; they are in `cmd_touch`, too.
        cmd_gats,
        /// Of the storage commands in `cmd_set`.
        cmd_add,
        /// Of the storage commands in `cmd_set`.
        cmd_replace,
        /// Of the storage commands in `cmd_set`.
        cmd_append,
        /// Of the storage commands in `cmd_set`.
        cmd_prepend,
        /// Of the storage commands in `cmd_set`.
        cmd_cas,
        /// Of the commands in `cmd_arith`.
        cmd_decr,
        /// Keys asked for by lease-get; they are in `cmd_get`, too.
        cmd_lease_get,
        /// lease-set; in `cmd_set`, too.
        cmd_lease_set,
        /// Keys asked for by metaget; they are in `cmd_get`, too.
        cmd_metaget,
        /// Turns of the event loop.
        turns,
        /// Bytes of buffers in use for clients and servers.
        buffered_bytes,
        /// Requests of clients that wait for their turn.
        waiting_requests,
    }
}

counters! {
    /// One destination's figures in one worker.
    Destination {
        /// Requests sent to it; keys of gets count each.
        requests,
        /// Command lines sent to it.
        lines,
        /// Write calls.
        writes,
        /// Requests that timed out.
        timeouts,
        /// Requests that failed for another reason.
        failures,
        /// Connections made.
        connects,
        /// 1 while it is out of service.
        down,
        /// How often this worker was the one to take it out of service.
        downs,
        /// Connections that are ready.
        connections,
        /// Requests waiting for an answer.
        waiting,
        /// Bytes waiting to be sent.
        unsent_bytes,
    } and {
        /// How long it took to answer.
        latency: latency::Latency,
        /// How requests to it failed.
        results: results::ByKind,
    }
}

impl Destination {
    /// So many requests have failed so, without an answer.
    #[cold]
    pub fn failed(&self, kind: ErrorKind, requests: usize) {
        let requests = requests as u64;
        match kind {
            ErrorKind::Timeout => self.timeouts.add(requests),
            _ => self.failures.add(requests),
        }
        self.results.add(results::Failed::of(kind), requests);
    }
}

/// Errors by kind.
#[derive(Debug, Default)]
pub struct Errors([Counter; ErrorKind::ALL.len()]);

impl Errors {
    /// Counts one.
    pub fn count(&self, kind: ErrorKind) {
        if let Some(counter) = self.0.get(kind as usize) {
            counter.inc();
        }
    }

    /// Every kind with its count.
    pub fn values(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        ErrorKind::ALL
            .iter()
            .zip(&self.0)
            .map(|(kind, counter)| (*kind, counter.get()))
    }
}
