//! Who is in the ring: a reducer of answers and times.
//!
//! * A member that is no longer shown is *absent*: it keeps its place and its last addresses for a *hold*, then
//!   leaves. If it is shown again before that, nothing has moved, whatever its new address. The hold is short for
//!   the highest ordinals while all lower ones are present, which is how a StatefulSet scales down, and for members
//!   that are known by address only.
//! * Only a good answer changes anything. Time alone never does, and while the source fails the clocks of the
//!   absent stand still: a member leaves because answers that came after its hold still lack it.
//! * What would take away too large a part of the ring at once has to be confirmed by several answers first.
//! * A StatefulSet has no gaps: an ordinal between two that are shown is a member that is absent.
//! * New members join at once. The ring is never empty once it was not.
//! * An address without a name, where a name is known for it, is that member: a reverse lookup that fails now and
//!   then makes no new members. This ends a hold after the name was last shown.
//! * [`Membership::ring`] is in natural order and holds nothing but names and weights: nodes that were shown the same
//!   names have the same ring, in whatever order they saw them.
//!
//! Nothing here asks, resolves or waits. Times are on the caller's clock, from any start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::change::Change;
use super::gaps::gaps;
use super::member::{Absence, Member, Policy, State};
use super::names::{Name, ordinal};
use super::shown::{Shown, shown};
use super::{Answer, Failure, Identity};
use crate::hash::Node;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Membership {
    policy: Policy,
    members: BTreeMap<Name, Member>,
    /// The latest time that was told; times never go back.
    now: Duration,
    /// How long the source has failed in all, the present failure left out.
    lost: Duration,
    failing: Option<Failing>,
    last_good: Option<Duration>,
    round: u64,
    /// When members left within the last [`Policy::confirm`].
    left: Vec<Duration>,
    no_room: bool,
    /// Names that have left and were not shown since: nothing is inferred about them.
    gone: BTreeSet<Name>,
}

#[derive(Clone, Debug)]
struct Failing {
    since: Duration,
    count: u32,
    last: Failure,
}

impl Membership {
    /// No members yet. What makes no sense in the policy is brought to the nearest that does.
    #[must_use]
    pub fn new(mut policy: Policy) -> Membership {
        policy.max_loss = if policy.max_loss.is_nan() {
            Policy::default().max_loss
        } else {
            policy.max_loss.clamp(0.0, 1.0)
        };
        policy.max_members = policy.max_members.max(1);
        policy.confirm_answers = policy.confirm_answers.max(1);
        Membership {
            policy,
            members: BTreeMap::new(),
            now: Duration::ZERO,
            lost: Duration::ZERO,
            failing: None,
            last_good: None,
            round: 0,
            left: Vec::new(),
            no_room: false,
            gone: BTreeSet::new(),
        }
    }

    /// Takes in what a source said, at the time it said it; gives what this changed, each kind in the order
    /// of names.
    pub fn apply(&mut self, now: Duration, answer: &Answer) -> Vec<Change> {
        self.now = self.now.max(now);
        let mut changes = Vec::new();
        match shown(answer, self.policy.max_members) {
            Err(failure) => self.fail(failure, &mut changes),
            Ok(mut shown) => {
                let known = self.recover(&mut changes);
                self.round += 1;
                let before = self.members.len();
                self.adopt(known, &mut shown);
                self.see(known, shown, &mut changes);
                self.miss(known, &mut changes);
                self.leave(known, before, &mut changes);
                self.last_good = Some(self.now);
            }
        }
        changes
    }

    /// All members in natural order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The members in natural order as the placement takes them: a function of names and weights alone.
    #[must_use]
    pub fn ring(&self) -> Vec<Node> {
        self.members().map(Member::node).collect()
    }

    /// Whether there are no members. False for good after the first.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// When an answer could next make a difference that only time makes (a hold that runs out, a loss to confirm);
    /// the source should be asked then, if not before. None while it fails.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        if self.failing.is_some() {
            return None;
        }
        let last = self.last_good?;
        let again = (self.policy.confirm / self.policy.confirm_answers).max(Duration::from_secs(5));
        let wait = |at: Duration| {
            if at > last {
                at
            } else {
                last.saturating_add(again)
            }
        };
        self.members()
            .filter_map(|member| match member.state {
                State::Absent { leaves_at, .. } => Some(wait(leaves_at)),
                State::Present => member.pending.map(|(_, since)| {
                    wait(
                        since
                            .saturating_add(self.policy.hold_top)
                            .saturating_add(self.lost),
                    )
                }),
            })
            .min()
    }

    /// When the last good answer came.
    #[must_use]
    pub fn last_good(&self) -> Option<Duration> {
        self.last_good
    }

    /// The last failure and how many there were in a row, unless the last answer was good.
    #[must_use]
    pub fn failing(&self) -> Option<(&Failure, u32)> {
        self.failing.as_ref().map(|f| (&f.last, f.count))
    }

    fn fail(&mut self, failure: Failure, changes: &mut Vec<Change>) {
        let before = self.failing.as_ref().map(|failing| failing.last.kind);
        if before != Some(failure.kind) {
            changes.push(Change::Failing(failure.clone()));
        }
        let (since, count) = self
            .failing
            .as_ref()
            .map_or((self.now, 0), |f| (f.since, f.count));
        self.failing = Some(Failing {
            since,
            count: count.saturating_add(1),
            last: failure,
        });
    }

    /// Ends a series of failures; gives the time on the clock that stood still meanwhile.
    fn recover(&mut self, changes: &mut Vec<Change>) -> Duration {
        if let Some(failing) = self.failing.take() {
            let after = self.now.saturating_sub(failing.since);
            self.lost = self.lost.saturating_add(after);
            changes.push(Change::Recovered {
                failures: failing.count,
                after,
            });
        }
        self.now.saturating_sub(self.lost)
    }

    /// Gives addresses without a name the name that is known for them, unless the answer shows that name.
    fn adopt(&self, known: Duration, shown: &mut BTreeMap<Name, Shown>) {
        if shown.values().all(|one| one.identity != Identity::Ip) {
            return;
        }
        let mut named: HashMap<SocketAddr, (bool, &Name)> = HashMap::new();
        for (name, member) in &self.members {
            let fresh = known.saturating_sub(member.named) < self.policy.hold;
            if member.identity == Identity::Ip || !fresh || shown.contains_key(name) {
                continue;
            }
            let present = member.absence.is_none();
            for addr in &member.addrs {
                let entry = named.entry(*addr).or_insert((present, name));
                // An address may have been handed on; whoever has it now is meant.
                if present && !entry.0 {
                    *entry = (true, name);
                }
            }
        }
        let adopted: Vec<(Name, Name)> = shown
            .iter()
            .filter(|(_, one)| one.identity == Identity::Ip)
            .filter_map(|(ip, one)| {
                let owner = one.addrs.iter().find_map(|addr| named.get(addr));
                owner.map(|(_, name)| (ip.clone(), (*name).clone()))
            })
            .collect();
        for (ip, name) in adopted {
            let (Some(mut one), Some(member)) = (shown.remove(&ip), self.members.get(&name)) else {
                continue;
            };
            one.identity = member.identity;
            one.weight = member.weight;
            one.adopted = true;
            if let Some(other) = shown.get_mut(&name) {
                other.unite(one);
            } else {
                shown.insert(name, one);
            }
        }
    }

    fn see(&mut self, known: Duration, shown: BTreeMap<Name, Shown>, changes: &mut Vec<Change>) {
        let mut waiting = 0;
        let missing = gaps(&shown, &self.gone);
        for (name, one) in shown {
            self.gone.remove(&name);
            if let Some(member) = self.members.get_mut(&name) {
                member.see(self.now, known, self.round, one, &self.policy, changes);
                continue;
            }
            // A name that never resolved has nothing to lose; only the configuration places it all the same.
            if one.addrs.is_empty() && one.identity != Identity::Configured {
                continue;
            }
            if self.members.len() >= self.policy.max_members {
                waiting += 1;
                continue;
            }
            changes.push(Change::Joined {
                name: name.0.clone(),
                identity: one.identity,
                addrs: one.addrs.clone(),
            });
            let member = Member::new(&name, one, self.now, known, self.round);
            self.members.insert(name, member);
        }
        for (name, identity) in missing {
            if self.members.len() < self.policy.max_members && !self.members.contains_key(&name) {
                changes.push(Change::Missing {
                    name: name.0.clone(),
                });
                // Of an earlier answer, so that it is absent in this one.
                let member = Member::missing(&name, identity, self.now, known);
                self.members.insert(name, member);
            }
        }
        if waiting > 0 && !self.no_room {
            changes.push(Change::NoRoom {
                count: waiting,
                limit: self.policy.max_members,
            });
        }
        self.no_room = waiting > 0;
    }

    /// Starts absences and says how long each lasts.
    fn miss(&mut self, known: Duration, changes: &mut Vec<Change>) {
        let (policy, round, now) = (&self.policy, self.round, self.now);
        let mut fresh = Vec::new();
        for member in self.members.values_mut().filter(|m| m.round != round) {
            let absence = member.absence.get_or_insert_with(|| {
                fresh.push(member.name.clone());
                member.state = State::Absent {
                    since: now,
                    leaves_at: now,
                    held_back: false,
                };
                Absence {
                    since: known,
                    answers: 0,
                    top: None,
                    leaves: known,
                }
            });
            absence.answers = absence.answers.saturating_add(1);
        }
        let tops = tops(&self.members);
        for (name, member) in &mut self.members {
            let Some(absence) = &mut member.absence else {
                continue;
            };
            absence.top = tops
                .contains(name)
                .then(|| absence.top.unwrap_or(known))
                .filter(|_| member.identity != Identity::Ip);
            let hold = if member.identity == Identity::Ip {
                policy.hold_ip
            } else {
                policy.hold
            };
            let by_hold = absence.since.saturating_add(hold);
            let by_top = absence.top.map(|top| top.saturating_add(policy.hold_top));
            absence.leaves = by_top.map_or(by_hold, |by_top| by_top.min(by_hold));
            if let State::Absent { leaves_at, .. } = &mut member.state {
                *leaves_at = absence.leaves.saturating_add(self.lost);
            }
        }
        for name in fresh {
            let absence = self.members.get(&Name(name.clone()));
            let absence = absence.and_then(|member| member.absence.as_ref());
            let hold = absence.map_or(Duration::ZERO, |a| a.leaves.saturating_sub(a.since));
            changes.push(Change::Absent { name, hold });
        }
    }

    /// Takes out who was absent for too long. Those who joined with this answer don't make a loss any smaller: the
    /// guard goes by how many there were `before`.
    fn leave(&mut self, known: Duration, before: usize, changes: &mut Vec<Change>) {
        let Policy {
            confirm,
            confirm_answers,
            max_loss,
            ..
        } = self.policy;
        let mut due: Vec<Name> = self
            .members
            .iter()
            .filter(|(_, m)| m.absence.as_ref().is_some_and(|a| known >= a.leaves))
            .map(|(name, _)| name.clone())
            .collect();
        if self.members.values().all(|m| m.absence.is_some()) {
            // The answer showed nobody whom the ring could be left to.
            if !self.no_room {
                return;
            }
            // It did, but they wait for room: one keeps the ring from being empty until they join.
            if due.len() == self.members.len() {
                due.pop();
            }
        }
        self.left
            .retain(|at| known.saturating_sub(*at) < self.policy.confirm);
        let lost = (due.len() + self.left.len()) as f64;
        let guarded = lost > max_loss * (before + self.left.len()) as f64;
        let mut held = Vec::new();
        for name in due {
            let Some(member) = self.members.get_mut(&name) else {
                continue;
            };
            let Some(absence) = &member.absence else {
                continue;
            };
            let confirmed_at = absence.since.saturating_add(confirm);
            let confirmed = known >= confirmed_at && absence.answers >= confirm_answers;
            let State::Absent {
                since,
                leaves_at,
                held_back,
            } = &mut member.state
            else {
                continue;
            };
            if guarded && !confirmed {
                *leaves_at = (*leaves_at).max(confirmed_at.saturating_add(self.lost));
                if !std::mem::replace(held_back, true) {
                    held.push(name.0);
                }
                continue;
            }
            let away = self.now.saturating_sub(*since);
            self.left.push(known);
            self.members.remove(&name);
            if self.gone.len() < self.policy.max_members {
                self.gone.insert(name.clone());
            }
            changes.push(Change::Left { name: name.0, away });
        }
        if !held.is_empty() {
            changes.push(Change::HeldBack {
                names: held,
                of: before,
            });
        }
    }
}

/// The members that are absent at the top of the ordinals of their StatefulSet, all others of it being present.
fn tops(members: &BTreeMap<Name, Member>) -> BTreeSet<Name> {
    let mut sets: HashMap<(&str, &str), Vec<(bool, &Name)>> = HashMap::new();
    for (name, member) in members {
        if let Some(ordinal) = ordinal(&name.0) {
            let set = sets.entry((ordinal.stem, ordinal.rest)).or_default();
            // In natural order, thus by number.
            set.push((member.absence.is_none(), name));
        }
    }
    let mut tops = BTreeSet::new();
    for set in sets.values() {
        let lower = set.iter().take_while(|(present, _)| *present).count();
        let (_, run) = set.split_at_checked(lower).unwrap_or_default();
        if lower > 0 && run.iter().all(|(present, _)| !present) {
            tops.extend(run.iter().map(|(_, name)| (*name).clone()));
        }
    }
    tops
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "membership_properties.rs"]
mod properties;
