//! A worker's memory: added up now and then, and what happens when it is too much.
//!
//! What counts is what grows with what clients and servers send: buffers, requests, what routes and dialogues keep.
//! A dialogue's memory is its client's, so that closing the clients that hold the most helps.

use std::collections::HashMap;

use super::core::Core;

/// How often memory is looked at while any is held, in microseconds.
const BUDGET_PERIOD: u64 = 50_000;
/// A client that holds less is not closed for lack of memory, in bytes.
const BACKLOG: usize = 64 * 1024;

impl Core {
    /// Has memory looked at soon, if that isn't due anyway.
    #[inline]
    pub(super) fn watch_budget(&mut self) {
        if self.budget_at == u64::MAX {
            self.budget_at = self.now + BUDGET_PERIOD;
            self.timer = self.timer.min(self.budget_at);
        }
    }

    /// Closes the clients that hold most while the worker holds more than it may.
    pub(super) fn enforce_budget(&mut self) {
        let limit = self.routing.snapshot.settings.worker_bytes;
        let conns: usize = self.conns.iter().map(|(_, up)| up.conn.buffered()).sum();
        let frames: usize = self.frames.iter().map(|(_, frame)| frame.held()).sum();
        let mut total = conns + frames;
        let mut by_client: HashMap<u32, usize> = HashMap::new();
        for (root, bytes) in self.dialogues.held() {
            match self.replies.client_of(root) {
                Some(id) => *by_client.entry(id).or_default() += bytes,
                None => total += bytes,
            }
        }
        let mut sizes: Vec<(usize, u32)> = Vec::new();
        for id in self.replies.ids() {
            let bytes = self.replies.held_by(id) + by_client.get(&id).copied().unwrap_or(0);
            total += bytes;
            if bytes > BACKLOG {
                sizes.push((bytes, id));
            }
        }
        self.stats.worker.buffered_bytes.set(total as u64);
        self.budget_at = if total > 0 {
            self.now + BUDGET_PERIOD
        } else {
            u64::MAX
        };
        self.overloaded = total > limit;
        if total <= limit {
            return;
        }
        sizes.sort_unstable();
        let (before, mut closed) = (total, 0u64);
        while total > limit
            && let Some((bytes, id)) = sizes.pop()
        {
            self.replies.break_client(id);
            total -= bytes;
            closed += 1;
        }
        self.stats.worker.closed_connections.add(closed);
        tracing::warn!(
            bytes = before,
            limit,
            closed,
            "the worker is at its memory bound (limits.worker_bytes); closed the clients that hold the most"
        );
    }
}
