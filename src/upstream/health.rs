//! Whether a destination is in service.
//!
//! A destination is taken out (mcrouter calls it TKO) by one hard failure (no connection) or by several
//! timeouts in a row, and comes back when a fresh connection answers `version`. While it is out, requests
//! fail at once and a probe is tried at jittered, doubling intervals. Pure state: times are microseconds
//! that the caller passes in.

/// When a destination is taken out and how often it is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HealthPolicy {
    /// Timeouts in a row that take it out.
    pub after: u32,
    /// The first pause before a probe, in microseconds.
    pub probe_min: u64,
    /// The longest pause, in microseconds.
    pub probe_max: u64,
}

impl Default for HealthPolicy {
    fn default() -> HealthPolicy {
        HealthPolicy {
            after: 3,
            probe_min: 100_000,
            probe_max: 10_000_000,
        }
    }
}

/// The state of one destination.
#[derive(Clone, Debug, Default)]
pub struct Health {
    timeouts: u32,
    down: bool,
    failed_probes: u32,
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

    /// A fresh connection answered `version`. Returns whether this brought it back.
    pub fn probed(&mut self) -> bool {
        self.timeouts = 0;
        self.failed_probes = 0;
        std::mem::replace(&mut self.down, false)
    }

    /// A request timed out. Returns whether this took it out.
    pub fn timed_out(&mut self, policy: &HealthPolicy) -> bool {
        self.timeouts = self.timeouts.saturating_add(1);
        let out = !self.down && self.timeouts >= policy.after;
        self.down |= out;
        out
    }

    /// No connection could be made, or it failed its probe. Returns whether this took it out.
    pub fn failed(&mut self) -> bool {
        !std::mem::replace(&mut self.down, true)
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
mod tests {
    use super::*;

    #[test]
    fn timeouts_in_a_row_take_it_out_and_a_probe_brings_it_back() {
        let policy = HealthPolicy::default();
        let mut health = Health::default();
        assert!(!health.timed_out(&policy));
        assert!(!health.timed_out(&policy));
        health.answered();
        assert!(!health.timed_out(&policy), "no longer in a row");
        assert!(!health.timed_out(&policy));
        assert!(health.timed_out(&policy));
        assert!(health.is_down());
        assert!(!health.timed_out(&policy), "said once");
        assert!(health.probed());
        assert!(!health.is_down());
    }

    #[test]
    fn one_hard_failure_is_enough() {
        let mut health = Health::default();
        assert!(health.failed());
        assert!(health.is_down());
        assert!(!health.failed());
    }

    #[test]
    fn pauses_double_stay_bounded_and_jitter() {
        let policy = HealthPolicy::default();
        let mut health = Health::default();
        let mut last = 0;
        for i in 0..40 {
            let pause = health.pause(&policy, (u64::MAX / 3).wrapping_mul(i));
            assert!(pause <= policy.probe_max && pause >= policy.probe_min / 2);
            last = pause;
        }
        assert!(last >= policy.probe_max / 2);
    }
}
