//! Whether a destination is in service.
//!
//! A destination is taken out (mcrouter calls it TKO) by one hard failure (no connection) or by several
//! timeouts in a row. While it is out, requests fail at once and a probe is tried at jittered, doubling intervals:
//! a fresh connection must answer `version`. It comes back when enough of them in a row have.
//!
//! One that is taken out again soon after it came back *flaps*. Each flap doubles the time over which its probes
//! must be answered, and each minute that it stays in service halves their number again; so a server that
//! answers `version` and nothing else costs its keys a few timeouts, then fewer and fewer of them. Pure state: times
//! are microseconds that the caller passes in, which never go back.

/// A destination that stays in service for so long is forgiven half of its flaps, in microseconds.
const CALM: u64 = 60_000_000;

/// The hold is doubled so many times at most: to 64 times its first length.
const MAX_DOUBLINGS: u32 = 6;

/// When a destination is taken out, how often it is probed, and when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthPolicy {
    /// Whether it is taken out at all.
    pub enabled: bool,
    /// Timeouts in a row that take it out.
    pub after: u32,
    /// The first pause before a probe, in microseconds.
    pub probe_min: u64,
    /// The longest pause, in microseconds.
    pub probe_max: u64,
    /// Probes in a row that must be answered; at least 1.
    pub recover: u32,
    /// How long they must go on being answered by one that has flapped once, in microseconds.
    pub hold_down: u64,
}

impl Default for HealthPolicy {
    fn default() -> HealthPolicy {
        HealthPolicy {
            enabled: true,
            after: 3,
            probe_min: 100_000,
            probe_max: 10_000_000,
            recover: 1,
            hold_down: 1_000_000,
        }
    }
}

/// The state of one destination.
#[derive(Clone, Debug, Default)]
pub struct Health {
    timeouts: u32,
    down: bool,
    failed_probes: u32,
    /// Probes in a row that have been answered since it was taken out.
    answered: u32,
    /// When the first and the last of them were.
    first_answer: u64,
    last_answer: u64,
    /// When it came back the last time.
    back_at: Option<u64>,
    flaps: u32,
}

/// What an answered probe means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It was in service.
    Up,
    /// It is in service again.
    Back,
    /// It must answer again, after so many microseconds.
    Again(u64),
}

impl Health {
    /// Whether requests fail at once.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// It answered something: timeouts are no longer in a row.
    pub fn answered(&mut self) {
        self.timeouts = 0;
    }

    /// How long its probes must go on being answered, in microseconds.
    fn hold(&self, policy: &HealthPolicy) -> u64 {
        match self.flaps.checked_sub(1) {
            None => 0,
            Some(doublings) => policy
                .hold_down
                .saturating_mul(1 << doublings.min(MAX_DOUBLINGS)),
        }
    }

    /// A fresh connection answered `version`.
    pub fn probed(&mut self, policy: &HealthPolicy, now: u64) -> Probed {
        self.failed_probes = 0;
        if !self.down {
            // Timeouts go on being counted: who answers `version` need not answer anything else.
            return Probed::Up;
        }
        // Several connections that are made at once say no more than one.
        if self.answered == 0 || now.saturating_sub(self.last_answer) >= policy.probe_min {
            self.answered = self.answered.saturating_add(1);
            self.last_answer = now;
        }
        if self.answered == 1 {
            self.first_answer = self.last_answer;
        }
        let missing = policy.recover.saturating_sub(self.answered);
        let held = now.saturating_sub(self.first_answer);
        let left = self.hold(policy).saturating_sub(held);
        if missing == 0 && left == 0 {
            self.down = false;
            self.timeouts = 0;
            self.answered = 0;
            self.back_at = Some(now);
            return Probed::Back;
        }
        let pause = left / u64::from(missing.max(1));
        let least = policy.probe_min.max(1);
        Probed::Again(pause.clamp(least, policy.probe_max.max(least)))
    }

    /// Whether one more timeout would take it out.
    pub fn would_go(&self, policy: &HealthPolicy) -> bool {
        !self.down && self.timeouts.saturating_add(1) >= policy.after
    }

    /// A request timed out, but it is not to be taken out.
    pub fn spared(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
    }

    /// A request timed out. Returns whether this took it out.
    pub fn timed_out(&mut self, policy: &HealthPolicy, now: u64) -> bool {
        self.timeouts = self.timeouts.saturating_add(1);
        let out = !self.down && self.timeouts >= policy.after;
        if out {
            self.go_down(now);
        }
        out
    }

    /// No connection could be made, or it failed its probe. Returns whether this took it out.
    pub fn failed(&mut self, now: u64) -> bool {
        self.answered = 0;
        let out = !self.down;
        if out {
            self.go_down(now);
        }
        out
    }

    fn go_down(&mut self, now: u64) {
        self.down = true;
        self.answered = 0;
        let Some(back_at) = self.back_at else {
            return;
        };
        let calm = now.saturating_sub(back_at) / CALM;
        let calm = u32::try_from(calm).unwrap_or(u32::MAX);
        self.flaps = match calm {
            0 => self.flaps.saturating_add(1).min(MAX_DOUBLINGS + 1),
            calm => self.flaps.checked_shr(calm).unwrap_or(0),
        };
    }

    /// How long to wait before the next attempt, in microseconds: doubling up to the maximum, and of that
    /// half fixed and half random, so that a fleet's probes spread. `random` is any number.
    pub fn pause(&mut self, policy: &HealthPolicy, random: u64) -> u64 {
        let factor = 1u64 << self.failed_probes.min(20);
        self.failed_probes = self.failed_probes.saturating_add(1);
        let full = policy
            .probe_min
            .max(1)
            .saturating_mul(factor)
            .min(policy.probe_max.max(1));
        full / 2 + random % (full / 2 + 1)
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
