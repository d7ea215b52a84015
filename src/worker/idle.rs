//! Connections that nobody uses are closed, and opened again when somebody does.
//!
//! Each is looked at once in every interval. What had nothing under way and nothing new at two looks in a row is closed,
//! which is after one to two intervals of silence. A request costs nothing for that: what a connection has written
//! tells whether there was one. All connections with the same interval are looked at together.
//!
//! That is no failure of anybody's: the server is as much in service as before. Nor is it one if the server closes a
//! connection that it finds idle; requests that had been queued there, but not sent, go on a new one.

use super::core::Core;
use super::destinations::{State, YOUNG, begin_connecting};
use crate::upstream::conn::Conn;

/// Whether a connection is used.
#[derive(Debug)]
pub(super) struct Idle {
    /// How often it is looked at, in microseconds; 0 for never.
    every: u64,
    /// When it is looked at next, or `u64::MAX`.
    pub(super) look_at: u64,
    /// What had been written when it was looked at last, if there was nothing under way.
    seen: Option<u64>,
}

impl Idle {
    pub(super) fn new(every: u64) -> Idle {
        Idle {
            every,
            look_at: u64::MAX,
            seen: None,
        }
    }

    /// The connection can be used from now on.
    pub(super) fn begin(&mut self, now: u64) {
        self.seen = None;
        self.look_at = match now.checked_div(self.every) {
            Some(before) => (before + 1).saturating_mul(self.every),
            None => u64::MAX,
        };
    }

    /// Looks at it, if it is time; whether it has not been used for a whole interval.
    fn is_over(&mut self, now: u64, conn: &Conn) -> bool {
        if now < self.look_at {
            return false;
        }
        let before = self.seen;
        self.begin(now);
        self.seen = conn.is_idle().then(|| conn.written());
        self.seen.is_some() && self.seen == before
    }
}

impl Core {
    /// Closes a connection that is ready, if nobody has used it for long.
    pub(super) fn close_if_idle(&mut self, id: u32) {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        if !up.idle.is_over(self.now, &up.conn) {
            return;
        }
        let destination_id = up.destination;
        up.state = State::Idle;
        up.stats.connections.sub(1);
        drop(up.conn.break_off(&mut self.pool));
        self.todo.end.push(id);
        if let Some(Some(destination)) = self.destinations.get(up.destination as usize) {
            tracing::debug!(server = %destination.spec.name, "idle connection closed (idle_close)");
        }
        self.retire(destination_id);
    }

    /// A connection is gone, of whose requests none had been sent: takes them to a new one. Returns whether that was so.
    pub(super) fn reopen(&mut self, id: u32) -> bool {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return false;
        };
        let (State::Ready { since } | State::Metered { since }) = up.state else {
            return false;
        };
        let Some(Some(destination)) = self.destinations.get(up.destination as usize) else {
            return false;
        };
        // One that never lasts is a failure.
        if destination.is_given_up()
            || self.now.saturating_sub(since) < YOUNG
            || !up.conn.begin_again(&mut self.pool)
        {
            return false;
        }
        up.stats.connections.sub(1);
        let deadline = self.now.saturating_add(destination.spec.connect_timeout);
        begin_connecting(up, id, deadline, &mut self.todo);
        self.timer = self.timer.min(deadline);
        self.local.troubled(&destination.spec.name);
        true
    }
}

#[cfg(test)]
#[path = "idle_tests.rs"]
pub(super) mod tests;
