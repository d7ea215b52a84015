//! Which of a worker's destinations are out of service: what happens to them is told to all workers, and what others
//! find out is heeded.
//!
//! Each destination has a flag of its own that requests look at. It follows what [`crate::upstream::tko`] knows of the
//! server's address: at once where this worker changes that, and by [`Core::heed`] where another one does. Only the
//! destination that probes has a connection waiting to be tried again; all others connect when they are asked for
//! something.

use std::sync::Arc;

use super::core::Core;
use super::destinations::{Destination, State};
use crate::config::OnReturn;
use crate::protocol::error::ErrorKind;
use crate::route::compile::DestinationSpec;
use crate::upstream::health::Probed;
use crate::upstream::tko::{Change, Kind, Seat};

impl Core {
    /// A new destination's part in what is known of its server.
    pub(super) fn seat(&self, spec: &Arc<DestinationSpec>) -> Option<Seat> {
        let pool = spec.fail_open.as_deref();
        let join = || self.tkos.join(&spec.addr, spec.health, pool, &self.bell);
        spec.health.enabled.then(join)
    }

    /// A retired destination takes no part any more.
    pub(super) fn leave_seat(&mut self, id: u32) {
        let Some(Some(destination)) = self.destinations.get_mut(id as usize) else {
            return;
        };
        destination.probe = None;
        if let Some(seat) = destination.seat.take()
            && let Some(kind) = seat.leave()
        {
            tracing::info!(
                server = %destination.spec.name,
                addr = %destination.spec.addr,
                tko = kind.label(),
                "server was out of service (TKO) and is in no pool any more; that is forgotten"
            );
        }
    }

    /// Takes note of what other workers have found out. To be called when the bell has been rung.
    pub fn heed(&mut self) {
        for id in 0..self.destinations.len() as u32 {
            let Some(Some(destination)) = self.destinations.get(id as usize) else {
                continue;
            };
            let Some(seat) = &destination.seat else {
                continue;
            };
            let (down, probes) = seat.standing();
            let takes_over = probes && destination.probe.is_none();
            self.set_down(id, down);
            if takes_over {
                self.take_over(id);
            }
        }
        self.run_later();
        self.count_outcomes();
    }

    /// Notes whether a destination's server is out.
    fn set_down(&mut self, id: u32, down: bool) {
        let Some(Some(destination)) = self.destinations.get_mut(id as usize) else {
            return;
        };
        if std::mem::replace(&mut destination.down, down) == down {
            return;
        }
        destination.stats.down.set(down.into());
        if !down {
            destination.probe = None;
            for conn in &destination.conns {
                if let Some(up) = self.conns.get_mut(*conn as usize)
                    && matches!(up.state, State::Waiting { .. })
                {
                    up.state = State::Idle;
                }
            }
            if destination
                .owed
                .as_ref()
                .is_some_and(|owed| owed.is_pending())
            {
                self.settle_at = self.now;
                self.timer = self.now;
            }
            return;
        }
        // Whoever has never had it in service does not know whether it has missed anything.
        if destination.spec.on_return == OnReturn::Cold
            && destination.served
            && let Some(owed) = &destination.owed
        {
            owed.owe_all(self.now);
        }
        // What has nothing to wait for may lead to a server that is not there any more.
        for conn in &destination.conns {
            if let Some(up) = self.conns.get_mut(*conn as usize)
                && up.is_ready()
                && up.conn.is_idle()
            {
                up.state = State::Idle;
                up.stats.connections.sub(1);
                drop(up.conn.break_off(&mut self.pool));
                self.todo.close.push(*conn);
            }
        }
    }

    /// Whatever destinations this worker has of the server of this one hear what that has found out.
    fn tell(&mut self, id: u32, down: bool) {
        let Some(seat) = self.destination(id).and_then(|one| one.seat.as_ref()) else {
            return;
        };
        let is_same = |one: &Destination| one.seat.as_ref().is_some_and(|s| s.shares_with(seat));
        let all = self.destinations.iter().enumerate();
        let same = all.filter(|(_, one)| one.as_ref().is_some_and(is_same));
        let same: Vec<u32> = same.map(|(id, _)| id as u32).collect();
        for id in same {
            self.set_down(id, down);
        }
    }

    fn destination(&self, id: u32) -> Option<&Destination> {
        self.destinations.get(id as usize)?.as_ref()
    }

    /// So many requests of a destination timed out. Returns whether that took its server out.
    pub(super) fn count_timeouts(&mut self, id: u32, count: usize) -> bool {
        let mut out = false;
        for _ in 0..count {
            let seat = self.destination(id).and_then(|one| one.seat.as_ref());
            let change = seat.map_or(Change::None, |seat| seat.timed_out(self.now));
            out |= change != Change::None;
            self.note(
                id,
                change,
                ErrorKind::Timeout,
                "no answers within the timeout",
            );
        }
        out
    }

    /// A destination could not be connected to, or the connection did not last.
    pub(super) fn count_failure(&mut self, id: u32, kind: ErrorKind, why: &str) {
        let seat = self.destination(id).and_then(|one| one.seat.as_ref());
        let how = match kind {
            ErrorKind::Timeout => Kind::Soft,
            _ => Kind::Hard,
        };
        let change = seat.map_or(Change::None, |seat| seat.failed(how, self.now));
        self.note(id, change, kind, why);
    }

    fn note(&mut self, id: u32, change: Change, kind: ErrorKind, why: &str) {
        let Some(destination) = self.destination(id) else {
            return;
        };
        let (server, addr) = (&destination.spec.name, &destination.spec.addr);
        let (how, totals) = match change {
            Change::None => return,
            Change::Hardened(totals) => {
                return tracing::info!(
                    %server, %addr, tko = Kind::Hard.label(), hard = totals.hard, soft = totals.soft,
                    reason = kind.label(), why,
                    "server is still out of service; now it can't be connected to, either"
                );
            }
            Change::Out(how, totals) => (how, totals),
        };
        destination.stats.downs.inc();
        tracing::warn!(
            %server, %addr, tko = how.label(), hard = totals.hard, soft = totals.soft,
            reason = kind.label(), why,
            "server is out of service (TKO); it is probed until it answers"
        );
        self.tell(id, true);
    }

    /// A fresh connection answered `version`. Returns for how long it is to be probed again, in microseconds, if the
    /// server is not in service.
    pub(super) fn answered_probe(&mut self, conn: u32) -> Option<u64> {
        let id = self.conns.get(conn as usize)?.destination;
        let destination = self.destination(id)?;
        let probed = destination.seat.as_ref().map(|seat| seat.probed(self.now));
        match probed.unwrap_or(Probed::Up) {
            Probed::Up => {}
            Probed::Back => {
                let totals = self.tkos.totals();
                tracing::info!(
                    server = %destination.spec.name, hard = totals.hard, soft = totals.soft,
                    "server is back in service (no longer TKO)"
                );
                self.tell(id, false);
            }
            Probed::Again(pause) => return Some(pause),
        }
        if let Some(Some(destination)) = self.destinations.get_mut(id as usize) {
            destination.served = true;
            if destination.probe == Some(conn) {
                destination.probe = None;
            }
        }
        None
    }

    /// A connection that failed is tried again after a pause, if it is up to it to probe the server.
    pub(super) fn probe_later(&mut self, conn: u32, random: u64) {
        let Some(pause) = self.may_probe(conn, |seat| seat.pause(random)) else {
            return;
        };
        self.wait(conn, pause);
    }

    /// A connection whose probe was answered is tried again after this pause, if it is up to it to probe the server.
    pub(super) fn wait_to_probe(&mut self, conn: u32, pause: u64) {
        if self
            .may_probe(conn, |seat| seat.standing().1.then_some(()))
            .is_some()
        {
            self.wait(conn, pause);
        }
    }

    /// One connection of a destination probes.
    fn may_probe<R>(&mut self, conn: u32, ask: impl FnOnce(&Seat) -> Option<R>) -> Option<R> {
        let id = self.conns.get(conn as usize)?.destination;
        let destination = self.destinations.get_mut(id as usize)?.as_mut()?;
        let is_free = destination.probe.is_none_or(|probe| probe == conn);
        let answer = ask(destination.seat.as_ref().filter(|_| is_free)?)?;
        destination.probe = Some(conn);
        Some(answer)
    }

    fn wait(&mut self, conn: u32, pause: u64) {
        if let Some(up) = self.conns.get_mut(conn as usize) {
            let until = self.now.saturating_add(pause);
            up.state = State::Waiting { until };
            self.timer = self.timer.min(until);
        }
    }

    /// It is up to this destination to probe its server from now on.
    fn take_over(&mut self, id: u32) {
        let Some(conns) = self.destination(id).map(|one| one.conns.clone()) else {
            return;
        };
        let is_ready = |conn: &u32| {
            let up = self.conns.get(*conn as usize);
            up.is_some_and(|up| up.is_ready())
        };
        let (ready, other): (Vec<u32>, Vec<u32>) = conns.into_iter().partition(is_ready);
        let Some(conn) = other.first().or(ready.first()).copied() else {
            return;
        };
        match self.conns.get(conn as usize).map(|up| up.state) {
            // Its outcome is that of a probe.
            Some(State::Connecting { .. } | State::Probing { .. }) => {
                self.may_probe(conn, |_| Some(()));
            }
            Some(State::Ready { .. } | State::Metered { .. }) => {
                self.todo.close.push(conn);
                let why = "the server is out of service, and is probed by a fresh connection";
                self.break_conn(conn, ErrorKind::MarkedDown, why);
            }
            _ => {
                let random = self.random();
                self.probe_later(conn, random);
            }
        }
    }

    /// How many destinations are in service and out of it.
    pub fn in_service(&self) -> (usize, usize) {
        let all = || self.destinations.iter().flatten();
        let down = all().filter(|destination| destination.down).count();
        (all().count() - down, down)
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
