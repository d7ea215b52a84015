//! Connections on which only so many command lines may be under way at a time; the others wait here.
//!
//! Such a connection is [`State::Metered`] where any other is `Ready`, so that those others need not look at a bound. What
//! is to be written is what the bound admits; the driver asks again when the server has sent something. The bound is held
//! whatever happens: a line whose requests have timed out is under way until the server has answered it. One that had to
//! wait here until its time was over is not sent any more, unless it is an update that must be kept track of.

use super::destinations::{Destination, State, Upstream};
use crate::worker::buf::{Buf, BufPool};

/// What may be written to a connection that is not plainly ready; as [`Core::conn_out`](super::core::Core::conn_out).
#[cold]
#[inline(never)]
pub(super) fn out<'a>(
    up: &'a mut Upstream,
    destinations: &[Option<Destination>],
    now: u64,
    pool: &mut BufPool,
) -> (&'a [u8], Option<&'a Buf>) {
    let (State::Metered { .. }, Some(Some(destination))) =
        (up.state, destinations.get(up.destination as usize))
    else {
        return (b"", None);
    };
    let admitted = up.conn.admit(destination.spec.in_flight.max(1), now, pool);
    up.report_queue();
    let all = up.conn.out();
    let first = all.pending();
    let first = first.get(..admitted).unwrap_or(first);
    let waits = first.is_empty() && !all.is_empty();
    (first, Some(all).filter(|_| waits))
}

#[cfg(test)]
#[path = "metered_tests.rs"]
mod tests;
