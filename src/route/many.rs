//! What routes with several children remember and count.
//!
//! [`Rule`](crate::config::Rule) says which children get a request and whose reply is the answer. This module is pure: it
//! orders children by what is remembered of them, and counts verdicts. Who sends and waits is the worker's dialogue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pairing::Pairing;
use crate::config::{Failover, SlowWarmUp, Verdict};

/// What a failover remembers from one request to the next, in all workers.
#[derive(Debug, Default)]
pub struct Memory {
    remembered: Mutex<Remembered>,
    /// Which child has given which lease.
    pub leases: Pairing,
}

/// Memories make no difference between routes.
impl PartialEq for Memory {
    fn eq(&self, _: &Memory) -> bool {
        true
    }
}

impl Eq for Memory {}

#[derive(Debug, Default)]
struct Remembered {
    /// Failures in a row, by child.
    failures: Vec<u32>,
    /// What is missing from a full bucket, in millionths of a request.
    missing: u64,
    /// Gets that notes have answered since one was looked into.
    noted: u32,
    /// Hits and misses of a child that may be cold.
    hits: u64,
    misses: u64,
    /// It is cold.
    is_cold: bool,
}

const MILLION: u64 = 1_000_000;

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The children that a request is to try, in order. Counts the request.
    pub fn order(&self, rule: &Failover, children: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..children).collect();
        if rule.max_tries.is_none() && rule.limit.is_none() {
            return order;
        }
        let mut memory = self.lock();
        if let Some(limit) = rule.limit {
            memory.missing = memory.missing.saturating_sub(limit.per_million.into());
        }
        if let Some(most) = rule.max_tries {
            if let Some(others) = order.get_mut(1..) {
                others.sort_by_key(|child| memory.failures.get(*child).copied().unwrap_or(0));
            }
            order.truncate((most as usize).max(1));
        }
        order
    }

    /// A child has answered.
    pub fn heard(&self, rule: &Failover, child: usize, verdict: Verdict) {
        if rule.max_tries.is_none() {
            return;
        }
        let mut memory = self.lock();
        if memory.failures.len() <= child {
            memory.failures.resize(child + 1, 0);
        }
        if let Some(failures) = memory.failures.get_mut(child) {
            *failures = match verdict.is_error() {
                true => failures.saturating_add(1),
                false => 0,
            };
        }
    }

    /// Whether a request that has failed so may go on.
    pub fn may_go_on(&self, rule: &Failover, verdict: Verdict) -> bool {
        let Some(limit) = rule.limit else {
            return true;
        };
        if matches!(verdict, Verdict::Tko | Verdict::ConnectError) {
            return true;
        }
        let mut memory = self.lock();
        let missing = memory.missing + MILLION;
        let goes_on = missing <= u64::from(limit.burst.max(1)) * MILLION;
        if goes_on {
            memory.missing = missing;
        }
        goes_on
    }
}

impl Memory {
    /// Counts a get that a note has answered; true for one in `period`, never for 0.
    pub fn is_due(&self, period: u32) -> bool {
        if period == 0 {
            return false;
        }
        let mut memory = self.lock();
        memory.noted += 1;
        if memory.noted < period {
            return false;
        }
        memory.noted = 0;
        true
    }

    /// Counts a hit or a miss of a child that may be cold.
    pub fn tally(&self, rule: &SlowWarmUp, is_hit: bool) {
        let mut memory = self.lock();
        match is_hit {
            true => memory.hits += 1,
            false => memory.misses += 1,
        }
        let share = memory.hit_share(rule);
        if memory.is_cold {
            memory.is_cold = share < rule.disable.0.into();
        } else {
            memory.is_cold = share < rule.enable.0.into();
        }
    }

    /// Whether a get is kept from such a child, by a random number.
    pub fn spares(&self, rule: &SlowWarmUp, random: u64) -> bool {
        let memory = self.lock();
        if !memory.is_cold {
            return false;
        }
        let more = memory.hit_share(rule).saturating_mul(rule.step.0.into()) / MILLION;
        // The upper bits are the better ones.
        (random >> 20) % MILLION >= more + u64::from(rule.start.0)
    }
}

impl Remembered {
    /// In millionths.
    fn hit_share(&self, rule: &SlowWarmUp) -> u64 {
        let all = self.hits + self.misses;
        if all < u64::from(rule.min_requests) || all == 0 {
            return MILLION;
        }
        self.hits.saturating_mul(MILLION) / all
    }
}

/// Counts replies until one verdict has more than a half of them.
#[derive(Debug)]
pub struct Majority<T> {
    needed: usize,
    /// How often each verdict came, and the reply that was the last to raise the count.
    counts: Vec<(Verdict, usize, T)>,
}

impl<T> Majority<T> {
    /// Of so many children.
    pub fn new(children: usize) -> Majority<T> {
        Majority {
            needed: children / 2 + 1,
            counts: Vec::new(),
        }
    }

    /// Takes a reply; true when one verdict has the majority.
    pub fn add(&mut self, verdict: Verdict, reply: T) -> bool {
        let known = self.counts.iter_mut().find(|(one, ..)| *one == verdict);
        let count = match known {
            Some((_, count, last)) => {
                *count += 1;
                *last = reply;
                *count
            }
            None => {
                self.counts.push((verdict, 1, reply));
                1
            }
        };
        count >= self.needed
    }

    /// The most frequent one; of equally frequent ones the worst.
    pub fn winner(self) -> Option<T> {
        let mut best: Option<(Verdict, usize, T)> = None;
        for one in self.counts {
            let better = best.as_ref().is_none_or(|(verdict, count, _)| {
                one.1 > *count || (one.1 == *count && one.0.severity() > verdict.severity())
            });
            if better {
                best = Some(one);
            }
        }
        best.map(|(_, _, reply)| reply)
    }
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;
