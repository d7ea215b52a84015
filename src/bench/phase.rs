//! One phase of a run (filling, warming up, measuring): what is sent, until when, and how fast.
//!
//! Each thread has its own copy, so nothing here is shared between threads. Times are nanoseconds on
//! the run's clock, which starts at 0 when the run does.

use std::cell::Cell;

/// What a phase sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One `set` per key.
    FillData,
    /// One `set` per counter.
    FillCounters,
    /// The mix that was asked for.
    Traffic,
}

/// When requests are due, with a fixed rate.
///
/// The connections take turns: connection `c` of `n` sends the requests `c`, `c + n`, `c + 2n` … of one
/// evenly spaced schedule, whatever happens to the others and however late its own are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// When the first request is due.
    pub(super) start: u64,
    /// Time between two requests of the whole run, in ns.
    pub(super) gap: f64,
    /// Connections of the whole run.
    pub(super) connections: u64,
}

impl Schedule {
    /// When connection `number` has its `nth` request due.
    pub(super) fn due(&self, number: u64, nth: u64) -> u64 {
        let place = nth.saturating_mul(self.connections).saturating_add(number);
        self.start.saturating_add((place as f64 * self.gap) as u64)
    }

    /// Which of its requests a connection has due around `now`, give or take one.
    pub(super) fn round_at(&self, now: u64) -> u64 {
        let requests = now.saturating_sub(self.start) as f64 / self.gap;
        (requests / self.connections as f64) as u64
    }
}

/// A phase, as one thread sees it.
#[derive(Debug)]
pub(super) struct Phase {
    /// What is sent.
    pub(super) work: Work,
    /// Requests outstanding per connection.
    pub(super) depth: usize,
    /// When to stop sending; `u64::MAX` when a number of requests ends the phase.
    pub(super) until: u64,
    /// When requests are due; `None`: as fast as they are answered.
    pub(super) schedule: Option<Schedule>,
    next: Cell<u64>,
    end: Cell<u64>,
    stopped: Cell<bool>,
}

impl Phase {
    /// A phase of the requests `range` (key numbers when filling, else just a count) until `until`.
    pub(super) fn new(
        work: Work,
        depth: usize,
        range: std::ops::Range<u64>,
        until: u64,
        schedule: Option<Schedule>,
    ) -> Self {
        Self {
            work,
            depth,
            until,
            schedule,
            next: Cell::new(range.start),
            end: Cell::new(range.end),
            stopped: Cell::new(false),
        }
    }

    /// Ends the phase now: nothing more is sent.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether the phase was ended by [`stop`](Self::stop).
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Whether its time is up.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.stopped.get() || now >= self.until
    }

    /// Whether requests are left.
    pub(super) fn has_more(&self) -> bool {
        self.next.get() < self.end.get()
    }

    /// Takes one of the requests that are left; gives its number.
    pub(super) fn take(&self) -> Option<u64> {
        let next = self.next.get();
        (next < self.end.get()).then(|| {
            self.next.set(next + 1);
            next
        })
    }

    /// When connection `number` has its `nth` request due; `None` without a schedule.
    pub(super) fn due(&self, number: u64, nth: u64) -> Option<u64> {
        self.schedule.map(|schedule| schedule.due(number, nth))
    }

    /// How many requests connection `number` had due before the end of the phase's time.
    pub(super) fn due_in_all(&self, number: u64) -> u64 {
        let Some(schedule) = self.schedule.filter(|_| self.until != u64::MAX) else {
            return 0;
        };
        let span = self.until.saturating_sub(schedule.start) as f64 / schedule.gap;
        let mut count = ((span - number as f64) / schedule.connections as f64).max(0.0) as u64;
        // The division is rounded; the schedule itself decides.
        while count > 0 && schedule.due(number, count - 1) >= self.until {
            count -= 1;
        }
        while schedule.due(number, count) < self.until {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_an_even_schedule() {
        let schedule = Schedule {
            start: 1000,
            gap: 10.0,
            connections: 3,
        };
        let mut due: Vec<_> = (0..3)
            .flat_map(|number| (0..4).map(move |nth| schedule.due(number, nth)))
            .collect();
        due.sort_unstable();
        assert_eq!(due, (0..12).map(|n| 1000 + 10 * n).collect::<Vec<_>>());
    }

    #[test]
    fn all_due_requests_are_counted_once() {
        for (gap, connections, span) in [
            (10.0, 3, 1000),
            (333.3, 7, 100_000),
            (5e8, 50, 2_000_000_000),
        ] {
            let schedule = Schedule {
                start: 7,
                gap,
                connections,
            };
            let phase = Phase::new(Work::Traffic, 1, 0..u64::MAX, 7 + span, Some(schedule));
            let counted: u64 = (0..connections).map(|n| phase.due_in_all(n)).sum();
            let expected = (0..)
                .take_while(|n| ((*n as f64) * gap) as u64 + 7 < 7 + span)
                .count();
            assert_eq!(counted, expected as u64);
        }
    }

    #[test]
    fn a_number_of_requests_is_handed_out_once_each() {
        let phase = Phase::new(Work::FillData, 1, 5..8, u64::MAX, None);
        assert_eq!(
            std::iter::from_fn(|| phase.take()).collect::<Vec<_>>(),
            [5, 6, 7]
        );
        assert!(!phase.has_more());
        assert!(!phase.is_over(u64::MAX - 1));
        phase.stop();
        assert!(phase.is_over(0));
    }
}
