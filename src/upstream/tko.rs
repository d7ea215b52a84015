//! Which servers are out of service, as all workers of the process see it.
//!
//! What is known of a server belongs to its address: whichever worker and whichever pool finds it dead, all of them
//! stop asking it, and all ask it again when it answers. One destination of one worker probes it, the one that took
//! it out; when that leaves, another takes over. [`Health`] says when it goes out and comes back; this shares it.
//!
//! A [`Seat`] is one destination's part in that. The settings of the pool of whoever records a failure or probes are
//! those that hold. A pool may *fail open*: with so many of its servers out no further ones are taken out, until
//! enough of them are back; that goes for every pool which has the server, whoever records the failure.
//!
//! Requests look at none of this: each worker has a flag of its own for each destination, and is woken by its [`Bell`]
//! when one of them may have changed. Locks are taken where something fails or comes back. No sockets and no clock;
//! times are microseconds that the caller passes in, on a clock that all workers share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use super::fail_open::PoolTko;
pub use super::fail_open::{Bounds, PoolFigures};
use super::health::{Health, HealthPolicy, Probed};
use super::owed::place_of;
use crate::config::ServerAddr;

/// What took a server out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Timeouts.
    Soft,
    /// No connection could be made, or none that lasts.
    Hard,
}

impl Kind {
    /// For the log.
    pub const fn label(self) -> &'static str {
        match self {
            Kind::Soft => "soft",
            Kind::Hard => "hard",
        }
    }
}

/// How many servers are out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// After timeouts.
    pub soft: u64,
    /// For want of a connection.
    pub hard: u64,
}

/// What a failure has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The server is out of service now; the caller probes it.
    Out(Kind, Totals),
    /// It was out after timeouts, and is so for want of a connection now.
    Hardened(Totals),
}

/// Wakes a worker when the standing of one of its servers may have changed.
#[derive(Debug, Default)]
pub struct Bell(Mutex<(Option<Waker>, bool)>);

impl Bell {
    /// Who is woken; at once if it has been rung before.
    pub fn hang(&self, waker: Waker) {
        let mut bell = lock(&self.0);
        if std::mem::take(&mut bell.1) {
            waker.wake_by_ref();
        }
        bell.0 = Some(waker);
    }

    fn ring(&self) {
        let mut bell = lock(&self.0);
        match &bell.0 {
            Some(waker) => waker.wake_by_ref(),
            None => bell.1 = true,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All servers of the process, by address.
#[derive(Debug, Default)]
pub struct Tkos {
    servers: Mutex<HashMap<ServerAddr, Weak<Server>>>,
    pools: Mutex<HashMap<String, Arc<PoolTko>>>,
    soft: AtomicU64,
    hard: AtomicU64,
}

#[derive(Debug, Default)]
struct Server {
    /// Whether timeouts have been counted that an answer would make forgotten.
    suspect: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    health: Health,
    /// While it is out.
    kind: Option<Kind>,
    members: Vec<Member>,
    /// The number of the member that probes it while it is out.
    prober: Option<u64>,
    /// The pools that count it among their servers that are out.
    counted: Vec<Arc<PoolTko>>,
    next: u64,
}

#[derive(Debug)]
struct Member {
    number: u64,
    bell: Arc<Bell>,
    pool: Option<Arc<PoolTko>>,
}

/// One destination's part in what is known of its server. Given up when it is dropped.
#[derive(Debug)]
pub struct Seat {
    tkos: Arc<Tkos>,
    server: Arc<Server>,
    number: u64,
    policy: HealthPolicy,
    bell: Arc<Bell>,
}

impl Tkos {
    /// A destination takes part from now on; `pool` is its pool if that fails open, and `bell` its worker's.
    pub fn join(
        self: &Arc<Tkos>,
        addr: &ServerAddr,
        policy: HealthPolicy,
        pool: Option<&str>,
        bell: &Arc<Bell>,
    ) -> Seat {
        let pool = pool.map(|pool| {
            let mut pools = lock(&self.pools);
            let known = pools.entry(pool.to_owned());
            Arc::clone(known.or_insert_with(|| Arc::new(PoolTko::new(pool))))
        });
        let mut servers = lock(&self.servers);
        let place = place_of(addr);
        let server = servers.get(&place).and_then(Weak::upgrade);
        let server = server.unwrap_or_else(|| {
            servers.retain(|_, server| server.strong_count() > 0);
            let server = Arc::default();
            servers.insert(place, Arc::downgrade(&server));
            server
        });
        // The last one to leave must not see it empty in between.
        let mut state = lock(&server.state);
        drop(servers);
        let number = state.next;
        state.next += 1;
        state.members.push(Member {
            number,
            bell: Arc::clone(bell),
            pool,
        });
        state.count_pools();
        drop(state);
        Seat {
            tkos: Arc::clone(self),
            server,
            number,
            policy,
            bell: Arc::clone(bell),
        }
    }

    /// These pools fail open, with these bounds; others don't any more.
    pub fn set_bounds<'p>(&self, bounds: impl IntoIterator<Item = (&'p str, Bounds)>) {
        let mut pools = lock(&self.pools);
        let mut old = std::mem::take(&mut *pools);
        for (name, bounds) in bounds {
            let pool = old.remove(name);
            let pool = pool.unwrap_or_else(|| Arc::new(PoolTko::new(name)));
            pool.set(Some(bounds));
            pools.insert(name.to_owned(), pool);
        }
        for pool in old.values() {
            pool.set(None);
        }
    }

    /// What took the server at this address out, if it is.
    pub fn kind_of(&self, addr: &ServerAddr) -> Option<Kind> {
        let server = lock(&self.servers).get(&place_of(addr))?.upgrade()?;
        let state = lock(&server.state);
        state.kind.filter(|_| state.health.is_down())
    }

    /// How many servers are out.
    pub fn totals(&self) -> Totals {
        Totals {
            soft: self.soft.load(Ordering::Relaxed),
            hard: self.hard.load(Ordering::Relaxed),
        }
    }

    /// The pools that fail open, by name.
    pub fn pools(&self) -> Vec<(String, PoolFigures)> {
        let pools = lock(&self.pools);
        let figures = pools
            .iter()
            .map(|(name, pool)| (name.clone(), pool.figures()));
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(|a, b| a.0.cmp(&b.0));
        figures
    }

    fn total(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Soft => &self.soft,
            Kind::Hard => &self.hard,
        }
    }
}

impl State {
    /// The pools that fail open and have this server, each once.
    fn pools(&self) -> Vec<Arc<PoolTko>> {
        let mut pools: Vec<Arc<PoolTko>> = Vec::new();
        for pool in self
            .members
            .iter()
            .filter_map(|member| member.pool.as_ref())
        {
            if !pools.iter().any(|known| Arc::ptr_eq(known, pool)) {
                pools.push(Arc::clone(pool));
            }
        }
        pools
    }

    /// Whether the server may be taken out, as far as pools that fail open are concerned; they count it then.
    fn may_go(&mut self) -> bool {
        let mut counted: Vec<Arc<PoolTko>> = Vec::new();
        for pool in self.pools() {
            if !pool.try_add() {
                counted.iter().for_each(|pool| pool.remove());
                return false;
            }
            counted.push(pool);
        }
        self.counted = counted;
        true
    }

    /// Members have come or gone, or the server is back.
    fn count_pools(&mut self) {
        let pools = match self.health.is_down() {
            true => self.pools(),
            false => Vec::new(),
        };
        for pool in &pools {
            if !self.counted.iter().any(|known| Arc::ptr_eq(known, pool)) {
                pool.add();
            }
        }
        for pool in &self.counted {
            if !pools.iter().any(|known| Arc::ptr_eq(known, pool)) {
                pool.remove();
            }
        }
        self.counted = pools;
    }

    /// The bells of all workers but this one's.
    fn others(&self, mine: &Arc<Bell>) -> Vec<Arc<Bell>> {
        let mut bells: Vec<Arc<Bell>> = Vec::new();
        for Member { bell, .. } in &self.members {
            if !Arc::ptr_eq(bell, mine) && !bells.iter().any(|known| Arc::ptr_eq(known, bell)) {
                bells.push(Arc::clone(bell));
            }
        }
        bells
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.server.state)
    }

    /// Whether this is about the same server as `other`.
    pub fn shares_with(&self, other: &Seat) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }

    /// Whether the server is out of service, and whether it is this destination that probes it.
    pub fn standing(&self) -> (bool, bool) {
        let state = self.state();
        let down = state.health.is_down();
        (down, down && state.prober == Some(self.number))
    }

    /// The server answered something that is no error: timeouts are no longer in a row.
    #[inline]
    pub fn answered(&self) {
        if self.server.suspect.load(Ordering::Relaxed) {
            self.forgive();
        }
    }

    #[cold]
    fn forgive(&self) {
        let mut state = self.state();
        state.health.answered();
        self.server.suspect.store(false, Ordering::Relaxed);
    }

    /// A request timed out.
    pub fn timed_out(&self, now: u64) -> Change {
        let mut state = self.state();
        self.server.suspect.store(true, Ordering::Relaxed);
        if state.health.would_go(&self.policy) && !state.may_go() {
            state.health.spared();
            return Change::None;
        }
        match state.health.timed_out(&self.policy, now) {
            true => self.went(state, Kind::Soft),
            false => Change::None,
        }
    }

    /// No connection could be made, or it failed its probe or did not last; [`Kind::Soft`] if that was for timeouts.
    pub fn failed(&self, kind: Kind, now: u64) -> Change {
        let mut state = self.state();
        if !state.health.is_down() && !state.may_go() {
            return Change::None;
        }
        if state.health.failed(now) {
            return self.went(state, kind);
        }
        if state.kind == Some(Kind::Soft) && kind == Kind::Hard {
            state.kind = Some(Kind::Hard);
            self.tkos.soft.fetch_sub(1, Ordering::Relaxed);
            self.tkos.hard.fetch_add(1, Ordering::Relaxed);
            return Change::Hardened(self.tkos.totals());
        }
        Change::None
    }

    /// The server is out, and this destination probes it.
    fn went(&self, mut state: MutexGuard<'_, State>, kind: Kind) -> Change {
        state.kind = Some(kind);
        state.prober = Some(self.number);
        self.tkos.total(kind).fetch_add(1, Ordering::Relaxed);
        let others = state.others(&self.bell);
        drop(state);
        others.iter().for_each(|bell| bell.ring());
        Change::Out(kind, self.tkos.totals())
    }

    /// A fresh connection, whoever made it, answered `version`.
    pub fn probed(&self, now: u64) -> Probed {
        let mut state = self.state();
        let probed = state.health.probed(&self.policy, now);
        self.server.suspect.store(false, Ordering::Relaxed);
        if probed == Probed::Back {
            let others = state.others(&self.bell);
            self.is_back(&mut state);
            drop(state);
            others.iter().for_each(|bell| bell.ring());
        }
        probed
    }

    fn is_back(&self, state: &mut State) -> Option<Kind> {
        let kind = state.kind.take();
        if let Some(kind) = kind {
            self.tkos.total(kind).fetch_sub(1, Ordering::Relaxed);
        }
        state.prober = None;
        state.count_pools();
        kind
    }

    /// How long to wait before the next probe, in microseconds, see [`Health::pause`]; `None` if it is not this
    /// destination that probes. `random` is any number.
    pub fn pause(&self, random: u64) -> Option<u64> {
        let mut state = self.state();
        let mine = state.health.is_down() && state.prober == Some(self.number);
        mine.then(|| state.health.pause(&self.policy, random))
    }

    /// The destination takes part no more. If it was the last one and the server is out, what took it out: that is
    /// forgotten. Another one's worker is woken if that is to probe now.
    pub fn leave(self) -> Option<Kind> {
        self.give_up()
    }

    fn give_up(&self) -> Option<Kind> {
        let mut state = self.state();
        let before = state.members.len();
        state.members.retain(|member| member.number != self.number);
        if state.members.len() == before {
            return None;
        }
        let Some(next) = state.members.first() else {
            state.health = Health::default();
            self.server.suspect.store(false, Ordering::Relaxed);
            return self.is_back(&mut state);
        };
        if state.prober == Some(self.number) {
            let (number, bell) = (next.number, Arc::clone(&next.bell));
            state.prober = Some(number);
            bell.ring();
        }
        state.count_pools();
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
#[path = "tko_tests.rs"]
mod tests;
