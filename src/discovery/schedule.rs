//! When to ask a source again.
//!
//! * After an answer: when it is no longer valid, between a floor and a ceiling. The jitter makes it earlier, never
//!   late by more than [`MAX_LATE`], so that a change is live within the time to live plus a second.
//! * After a failure: from the floor on, doubling up to a ceiling of its own.
//! * *Hurry*, because a connection to a member failed: soon, but at most once in a while; the pause doubles up to the
//!   floor while the answers bring nothing new, so that a member that is down for long costs no more than that.
//!
//! Pure: times are on the caller's clock, the random numbers come from the caller. One for each pool.

use std::time::Duration;

use super::Answer;

/// The most by which the floor's jitter makes an answer late.
pub const MAX_LATE: Duration = Duration::from_millis(500);

/// Keeps sums from overflowing.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The bounds of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The shortest time between two questions, whatever the time to live.
    pub floor: Duration,
    /// The longest.
    pub ceiling: Duration,
    /// The longest while the source fails; no less than the floor.
    pub retry_ceiling: Duration,
    /// The first pause between a question and one in a hurry.
    pub hurry: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            floor: Duration::from_secs(5),
            ceiling: Duration::from_secs(300),
            retry_ceiling: Duration::from_secs(30),
            hurry: Duration::from_secs(1),
        }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    due: Duration,
    /// When the last answer came.
    last: Option<Duration>,
    failures: u32,
    /// Questions in a hurry whose answers brought nothing new, in a row.
    in_vain: u32,
    hurried: bool,
}

impl Schedule {
    /// The first question is due at once. A ceiling below the floor is raised to it; nothing is longer than a year.
    #[must_use]
    pub fn new(mut pace: Pace, now: Duration) -> Schedule {
        pace.floor = pace.floor.min(YEAR);
        pace.ceiling = pace.ceiling.clamp(pace.floor, YEAR);
        pace.retry_ceiling = pace.retry_ceiling.clamp(pace.floor, YEAR);
        pace.hurry = pace.hurry.min(pace.floor);
        Schedule {
            pace,
            due: now,
            last: None,
            failures: 0,
            in_vain: 0,
            hurried: false,
        }
    }

    /// When to ask.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes in that `answer` came at `now`. `changed` says whether it brought anything new, `wanted` when the
    /// membership needs the next one ([`next_event`](super::Membership::next_event)). Gives when to ask next.
    pub fn answered(
        &mut self,
        now: Duration,
        answer: &Answer,
        changed: bool,
        wanted: Option<Duration>,
        random: u64,
    ) -> Duration {
        let Pace {
            floor,
            ceiling,
            retry_ceiling,
            hurry,
        } = self.pace;
        self.in_vain = match (changed, std::mem::take(&mut self.hurried)) {
            (true, _) => 0,
            (false, true) => self.in_vain.saturating_add(1),
            (false, false) => self.in_vain,
        };
        self.last = Some(now);
        let wait = match answer {
            Answer::Members { valid, .. } => {
                self.failures = 0;
                let valid = (*valid).clamp(floor, ceiling);
                let from = (valid - valid / 10).max(floor);
                between(from, valid.max(from + late(floor)), random)
            }
            Answer::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                let wait = doubled(floor, self.failures - 1).min(retry_ceiling);
                between(
                    (wait - wait / 5).max(floor),
                    wait.max(floor + late(floor)),
                    random,
                )
            }
        };
        self.due = now.saturating_add(wait);
        if let Some(wanted) = wanted {
            let soonest = now.saturating_add(hurry);
            self.due = self.due.min(wanted.max(soonest));
        }
        self.due
    }

    /// A connection to a member failed, at `now`: the next question comes forward, as far as the pace allows. Gives
    /// when it is, if that is sooner than before.
    pub fn hurry(&mut self, now: Duration, random: u64) -> Option<Duration> {
        let last = self.last?;
        let pause = if self.failures > 0 {
            self.pace.floor
        } else {
            doubled(self.pace.hurry, self.in_vain).min(self.pace.floor)
        };
        // Many nodes see the same server die; they need not all ask in the same millisecond.
        let pause = between(pause, pause + pause / 4, random);
        let soon = last.saturating_add(pause);
        let spread = between(Duration::ZERO, self.pace.hurry / 4, random);
        let at = soon.max(now.saturating_add(spread));
        if at >= self.due {
            return None;
        }
        self.due = at;
        self.hurried = true;
        Some(at)
    }
}

fn late(floor: Duration) -> Duration {
    (floor / 10).min(MAX_LATE)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX))
}

/// A time from `from` up to `to`, as the random number says.
fn between(from: Duration, to: Duration, random: u64) -> Duration {
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    from + to.saturating_sub(from).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::{Failure, FailureKind};
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn good(valid: Duration) -> Answer {
        let sightings = Vec::new();
        Answer::Members { sightings, valid }
    }

    fn failed() -> Answer {
        let detail = String::new();
        let kind = FailureKind::Timeout;
        Answer::Failed(Failure { kind, detail })
    }

    fn new() -> Schedule {
        Schedule::new(Pace::default(), s(0))
    }

    #[test]
    fn it_asks_when_the_answer_is_no_longer_valid() {
        for (valid, soonest, latest) in [
            (0, 5_000, 5_500),
            (5, 5_000, 5_500),
            (30, 27_000, 30_000),
            (86_400, 270_000, 300_000),
            (u64::MAX, 270_000, 300_000),
        ] {
            let at = |random| {
                let mut schedule = new();
                assert_eq!(schedule.due(), s(0));
                schedule.answered(s(100), &good(s(valid)), false, None, random) - s(100)
            };
            assert_eq!(at(0), Duration::from_millis(soonest), "{valid}");
            let most = at(u64::MAX);
            let latest = Duration::from_millis(latest);
            assert!(most <= latest && most + Duration::from_millis(1) >= latest);
        }
    }

    #[test]
    fn failures_back_off_and_a_good_answer_ends_that() {
        let mut schedule = new();
        for (failures, least, most) in [
            (1, 5_000, 5_500),
            (2, 8_000, 10_000),
            (3, 16_000, 20_000),
            (4, 24_000, 30_000),
            (5, 24_000, 30_000),
        ] {
            let soonest = schedule.clone().answered(s(0), &failed(), false, None, 0);
            let latest = schedule.answered(s(0), &failed(), false, None, u64::MAX);
            assert_eq!(schedule.failures(), failures);
            assert_eq!(soonest, Duration::from_millis(least));
            assert!(latest <= Duration::from_millis(most) && latest > soonest);
        }
        schedule.failures = u32::MAX;
        assert!(schedule.answered(s(0), &failed(), false, None, 0) <= s(30));
        schedule.answered(s(0), &good(s(5)), false, None, 0);
        assert_eq!(schedule.failures(), 0);
    }

    #[test]
    fn the_membership_is_served_in_time() {
        let mut schedule = new();
        let valid = good(s(300));
        assert_eq!(schedule.answered(s(0), &valid, true, Some(s(30)), 0), s(30));
        // What it wanted before now is asked for soon, not in a loop.
        assert_eq!(
            schedule.answered(s(40), &valid, true, Some(s(30)), 0),
            s(41)
        );
        assert_eq!(
            schedule.answered(s(40), &good(s(5)), true, Some(s(600)), 0),
            s(45)
        );
    }

    #[test]
    fn a_failed_connection_asks_soon_but_not_often() {
        let mut schedule = new();
        assert_eq!(schedule.hurry(s(0), 0), None, "the first is on its way");
        let valid = good(s(30));
        schedule.answered(s(0), &valid, true, None, u64::MAX);
        assert_eq!(schedule.hurry(s(10), 0), Some(s(10)));
        assert_eq!(schedule.hurry(s(10), 0), None, "it is due already");
        let mut now = s(10);
        for pause in [2, 4, 5, 5, 5].map(s) {
            schedule.answered(now, &valid, false, None, u64::MAX);
            assert_eq!(schedule.hurry(now, 0), Some(now + pause), "nothing new");
            now += pause;
        }
        schedule.answered(now, &valid, true, None, u64::MAX);
        assert_eq!(schedule.hurry(now, 0), Some(now + s(1)), "it did");
    }

    #[test]
    fn a_source_that_fails_is_not_hurried_below_the_floor() {
        let mut schedule = new();
        for _ in 0..5 {
            schedule.answered(s(100), &failed(), false, None, u64::MAX);
        }
        assert_eq!(schedule.hurry(s(101), 0), Some(s(105)));
    }

    proptest! {
        /// However it is used: no two questions closer than the shortest pause, none later than the longest.
        #[test]
        fn it_never_asks_too_often_or_too_late(
            steps in prop::collection::vec((any::<Option<u32>>(), any::<bool>(), any::<Option<u16>>(), any::<u64>(), 0..4_u8), 1..60),
        ) {
            let pace = Pace::default();
            let mut schedule = new();
            let mut now = s(0);
            for (valid, changed, wanted, random, hurries) in steps {
                let answer = valid.map_or_else(failed, |valid| good(Duration::from_millis(valid.into())));
                let wanted = wanted.map(|wanted| now + Duration::from_millis(wanted.into()));
                let due = schedule.answered(now, &answer, changed, wanted, random);
                prop_assert!(due >= now + pace.hurry && due <= now + pace.ceiling + MAX_LATE);
                if valid.is_none() && wanted.is_none() {
                    prop_assert!(due >= now + pace.floor && due <= now + pace.retry_ceiling);
                }
                for hurry in 0..hurries {
                    let before = schedule.due();
                    let at = schedule.hurry(now + Duration::from_millis(300 * u64::from(hurry)), random.rotate_left(hurry.into()));
                    prop_assert!(at.is_none_or(|at| at < before && at == schedule.due()));
                    prop_assert!(schedule.due() >= now + pace.hurry);
                }
                now = schedule.due();
            }
        }

        #[test]
        fn odd_paces_are_taken(floor: u64, ceiling: u64, retry: u64, hurry: u64, valid: u64, random: u64) {
            let [floor, ceiling, retry_ceiling, hurry] = [floor, ceiling, retry, hurry].map(Duration::from_secs);
            let mut schedule = Schedule::new(Pace { floor, ceiling, retry_ceiling, hurry }, s(0));
            for answer in [good(s(valid)), failed(), failed()] {
                schedule.answered(s(u64::MAX), &answer, false, Some(s(0)), random);
                schedule.hurry(s(valid), random);
            }
        }
    }
}
