//! One member of the ring, and how long places are kept.
//!
//! The private times of a member are on a clock that stands still while the source fails ("known time" in the
//! reducer); the public ones are on the caller's clock.

use std::net::SocketAddr;
use std::time::Duration;

use super::Identity;
use super::change::Change;
use super::names::Name;
use super::shown::Shown;
use crate::config::{Server, ServerAddr};
use crate::hash::Node;

/// How long places are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How long an absent member keeps its place.
    pub hold: Duration,
    /// The same for the highest ordinals, while all lower ones are present.
    pub hold_top: Duration,
    /// The same for members that are known by address only.
    pub hold_ip: Duration,
    /// The share of the ring, from 0 to 1, that may leave at once (within [`Policy::confirm`]) without confirmation.
    pub max_loss: f64,
    /// How long members of a larger part must have been absent to leave.
    pub confirm: Duration,
    /// How many good answers in a row must have lacked them.
    pub confirm_answers: u32,
    /// The most members of an answer, and of the ring.
    pub max_members: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            hold: Duration::from_secs(600),
            hold_top: Duration::from_secs(60),
            hold_ip: Duration::from_secs(30),
            max_loss: 0.5,
            confirm: Duration::from_secs(120),
            confirm_answers: 3,
            max_members: 4096,
        }
    }
}

/// Whether a member is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The last good answer showed it.
    Present,
    /// It did not.
    Absent {
        /// When an answer first lacked it.
        since: Duration,
        /// The first time at which an answer without it takes it out of the ring, as of the last good answer. It
        /// moves back while the source fails.
        leaves_at: Duration,
        /// Whether it would have left if it were not part of too large a loss.
        held_back: bool,
    },
}

/// One member of the ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What the ring hashes.
    pub name: String,
    /// Where the name comes from.
    pub identity: Identity,
    /// Where it is reached, or was last; none if its name never resolved.
    pub addrs: Vec<SocketAddr>,
    /// Its weight, if the source gives one.
    pub weight: Option<f64>,
    /// Whether it is shown.
    pub state: State,
    /// When it joined.
    pub first_seen: Duration,
    /// When an answer last showed it.
    pub last_seen: Duration,
    /// When its own name was last shown; like all private times on the clock that stands still during failures.
    pub(super) named: Duration,
    /// The answer that showed it last.
    pub(super) round: u64,
    pub(super) reweighted: Option<Duration>,
    /// A weight that came too soon after another, and since when.
    pub(super) pending: Option<(Option<f64>, Duration)>,
    pub(super) absence: Option<Absence>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Absence {
    pub(super) since: Duration,
    /// Good answers in a row without it.
    pub(super) answers: u32,
    /// Since when it has been among the highest ordinals with all lower ones present.
    pub(super) top: Option<Duration>,
    pub(super) leaves: Duration,
}

impl Member {
    pub(super) fn new(
        name: &Name,
        shown: Shown,
        now: Duration,
        known: Duration,
        round: u64,
    ) -> Member {
        Member {
            name: name.0.clone(),
            identity: shown.identity,
            addrs: shown.addrs,
            weight: shown.weight,
            state: State::Present,
            first_seen: now,
            last_seen: now,
            named: known,
            round,
            reweighted: None,
            pending: None,
            absence: None,
        }
    }

    /// One that must be there although no answer has shown it yet.
    pub(super) fn missing(
        name: &Name,
        identity: Identity,
        now: Duration,
        known: Duration,
    ) -> Member {
        let shown = Shown {
            identity,
            addrs: Vec::new(),
            weight: None,
            adopted: false,
        };
        Member::new(name, shown, now, known, 0)
    }

    /// The member as a pool's server, under the name that the ring hashes.
    #[must_use]
    pub fn server(&self, name: String) -> Server {
        Server {
            name,
            addr: ServerAddr::Found(self.addrs.clone()),
            weight: self.weight,
        }
    }

    /// The member as the placement takes it: a function of its name and weight alone.
    #[must_use]
    pub fn node(&self) -> Node {
        self.server(self.name.clone()).node()
    }

    pub(super) fn see(
        &mut self,
        now: Duration,
        known: Duration,
        round: u64,
        shown: Shown,
        policy: &Policy,
        changes: &mut Vec<Change>,
    ) {
        self.round = round;
        self.last_seen = now;
        if let State::Absent { since, .. } = self.state {
            changes.push(Change::Returned {
                name: self.name.clone(),
                away: now.saturating_sub(since),
            });
        }
        self.state = State::Present;
        self.absence = None;
        if !shown.adopted {
            self.named = known;
            self.identity = shown.identity;
            self.reweigh(known, shown.weight, policy, changes);
        }
        if !shown.addrs.is_empty() && shown.addrs != self.addrs {
            changes.push(Change::Moved {
                name: self.name.clone(),
                old: std::mem::replace(&mut self.addrs, shown.addrs.clone()),
                new: shown.addrs,
            });
        }
    }

    /// A weight counts at once, unless it changed within the hold before: then it must stand still for a while, so
    /// that answers that alternate don't move keys to and fro.
    fn reweigh(
        &mut self,
        known: Duration,
        new: Option<f64>,
        policy: &Policy,
        changes: &mut Vec<Change>,
    ) {
        if new == self.weight {
            self.pending = None;
            return;
        }
        let since = |at: Duration| known.saturating_sub(at);
        if self.reweighted.is_some_and(|at| since(at) < policy.hold) {
            match self.pending {
                Some((weight, at)) if weight == new && since(at) >= policy.hold_top => {}
                Some((weight, _)) if weight == new => return,
                _ => {
                    self.pending = Some((new, known));
                    return;
                }
            }
        }
        self.pending = None;
        self.reweighted = Some(known);
        changes.push(Change::Weighted {
            name: self.name.clone(),
            old: std::mem::replace(&mut self.weight, new),
            new,
        });
    }
}
