//! A worker's memory: added up now and then, and what happens when it is too much.
//!
//! What counts is what grows with what clients and servers send: buffers (all of them, however little is in them),
//! requests, what routes and dialogues keep, buffers kept for later. A dialogue's memory is its client's, so that
//! closing the clients that hold the most helps.
//!
//! Adding up takes time, so it is not done for each request. Between two times only that is counted from which memory
//! grows: bytes read, fresh buffers, requests. As soon as that could have used up half of what was left, all is added
//! up again: at once, not in the next turn, because one turn may read from thousands of sockets. Memory of those who
//! are closed is given back in the same moment.

use super::core::Core;

/// How often memory is looked at while any is held, in microseconds.
const BUDGET_PERIOD: u64 = 50_000;
/// A client that holds less is not closed for lack of memory, in bytes; even less, if there are very many clients.
const BACKLOG: usize = 64 * 1024;
/// The least bound that a configuration may have, in bytes.
const LEAST: usize = 1 << 20;
/// What a request is taken to need before it is looked at, in bytes: itself, its place in a server's queue, its key.
const REQUEST: usize = 384;
/// Memory is added up no more often than each time this part of the bound may have come to it. So far it may be
/// exceeded.
const STEP: usize = 16;
/// Clients are closed until this part of the bound is free again, so that it isn't done for each read.
const FREE: usize = 8;
/// The part of the bound that each of the worker's two pools may keep of buffers that nobody uses.
const SPARE: usize = 16;
/// At the bound, a log line is written no more often, in microseconds.
const COMPLAIN_PERIOD: u64 = 1_000_000;

/// What is known between two times that memory is added up.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Bytes read since, and those for requests that others were made of.
    read: usize,
    /// Requests that there were.
    requests: usize,
    /// How much may come before it is done again.
    room: usize,
    /// When the bound may be logged again.
    complain_at: u64,
    /// Clients closed since it was logged.
    closed: u64,
}

impl Core {
    /// Bytes have been read and dealt with: sees to it that memory stays within its bound.
    #[inline]
    pub(super) fn check_budget(&mut self, read: usize) {
        self.budget.read += read;
        let requests = self.replies.outstanding();
        let requests = requests.saturating_sub(self.budget.requests) * REQUEST;
        let fresh = *self.pool.allocated() + *self.replies.pool.allocated();
        if self.budget.read + fresh + requests > self.budget.room {
            self.enforce_budget();
        } else if self.budget_at == u64::MAX {
            self.budget_at = self.now + BUDGET_PERIOD;
            self.timer = self.timer.min(self.budget_at);
        }
    }

    /// Many requests are made of one.
    pub(super) fn count_requests(&mut self, requests: usize) {
        self.budget.read += requests * REQUEST;
    }

    /// Adds up what the worker holds, and closes the clients that hold most while that is more than it may.
    #[cold]
    pub(super) fn enforce_budget(&mut self) {
        let limit = self.routing.snapshot.settings.worker_bytes;
        for pool in [&mut self.pool, &mut self.replies.pool] {
            *pool.allocated() = 0;
            pool.trim(limit / SPARE);
        }
        let conns: usize = self.conns.iter().map(|(_, up)| up.conn.held()).sum();
        let frames: usize = self.frames.iter().map(|(_, frame)| frame.held()).sum();
        let mut others = conns + frames;
        let mut held = self.replies.held();
        for (root, bytes) in self.dialogues.held() {
            let client = self.replies.client_of(root);
            match client.and_then(|id| held.get_mut(id as usize)) {
                Some(held) => *held += bytes,
                None => others += bytes,
            }
        }
        let mut total = others + held.iter().sum::<usize>();
        self.overloaded = total > limit;
        if total + self.spare() > limit {
            self.pool.trim(0);
            self.replies.pool.trim(0);
        }
        if self.overloaded {
            total = self.close_largest(&held, total, limit);
        }
        self.stats.worker.buffered_bytes.set(total as u64);
        let requests = self.replies.outstanding();
        self.budget_at = match (total, self.overloaded) {
            (0, false) => u64::MAX,
            // Very many of them take a while to be looked at.
            _ => self.now + BUDGET_PERIOD + requests as u64,
        };
        self.timer = self.timer.min(self.budget_at);
        let left = limit.saturating_sub(total + self.spare());
        self.budget.read = 0;
        self.budget.requests = requests;
        self.budget.room = (left / 2).max(limit / STEP);
    }

    fn spare(&self) -> usize {
        self.pool.held() + self.replies.pool.held()
    }

    /// Closes the clients that hold the most; returns how much is held then.
    fn close_largest(&mut self, held: &[usize], mut total: usize, limit: usize) -> usize {
        let before = total;
        let few = BACKLOG.min(limit.max(LEAST) / 2 / self.replies.len().max(1));
        let sizes = held.iter().enumerate();
        let mut sizes: Vec<(usize, u32)> = sizes
            .filter(|(_, bytes)| **bytes > few)
            .map(|(id, bytes)| (*bytes, id as u32))
            .collect();
        sizes.sort_unstable();
        let mut closed = 0u64;
        while total > limit - limit / FREE
            && let Some((bytes, id)) = sizes.pop()
        {
            self.replies.release(id);
            self.replies.mark(id);
            total -= bytes;
            closed += 1;
        }
        self.drop_unwanted();
        self.pool.trim(0);
        self.replies.pool.trim(0);
        self.stats.worker.closed_connections.add(closed);
        self.budget.closed += closed;
        if self.budget.complain_at <= self.now {
            self.budget.complain_at = self.now + COMPLAIN_PERIOD;
            tracing::warn!(
                bytes = before,
                limit,
                closed = std::mem::take(&mut self.budget.closed),
                "the worker is at its memory bound (limits.worker_bytes); closed the clients that hold the most"
            );
        }
        total
    }
}
