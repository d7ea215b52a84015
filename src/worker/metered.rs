//! Connections on which only so many command lines may be under way at a time; the others wait here.
//!
//! Such a connection is [`State::Metered`] where any other is `Ready`, so that those others need not look at a bound. What
//! is to be written is what the bound admits; the driver asks again when the server has sent something. The bound is held
//! whatever happens: a line whose requests have timed out is under way until the server has answered it. One that had to
//! wait here until its time was over is not sent any more, unless it is an update that must be kept track of.

use super::core::Core;
use super::destinations::{State, Upstream};
use crate::worker::buf::Buf;

impl Core {
    /// Lets a metered connection send as much as it may. If that drops all there was, a retired destination's is closed.
    #[cold]
    #[inline(never)]
    pub(super) fn admit(&mut self, id: u32) {
        let Some(up) = self.conns.get_mut(id as usize) else {
            return;
        };
        let destination = up.destination;
        let Some(Some(known)) = self.destinations.get(destination as usize) else {
            return;
        };
        let most = known.spec.in_flight.max(1);
        up.admitted = up.conn.admit(most, self.now, &mut self.pool);
        up.report_queue();
        if up.conn.is_idle() {
            self.retire(destination);
        }
    }
}

/// What may be written to a connection that is not plainly ready; as [`Core::conn_out`].
#[cold]
#[inline(never)]
pub(super) fn out(up: &Upstream) -> (&[u8], Option<&Buf>) {
    let State::Metered { .. } = up.state else {
        return (b"", None);
    };
    let all = up.conn.out();
    let first = all.pending();
    let first = first.get(..up.admitted).unwrap_or(first);
    let waits = first.is_empty() && !all.is_empty();
    (first, Some(all).filter(|_| waits))
}

#[cfg(test)]
#[path = "metered_tests.rs"]
mod tests;
