//! How many requests may pass: token buckets that fill with time.
//!
//! As in mcrouter a bucket is empty when its route is made, and fills up to its burst; a request takes one token. The
//! buckets are shared by all workers. Time comes from the caller, in microseconds since the process began; workers
//! see it pass each for itself, so it never runs backwards here.

use std::sync::{Mutex, PoisonError};

use super::tree::NodeId;
use crate::config::{Rate, Rates};
use crate::protocol::operation::{Group, Operation};

/// A node that lets so many requests pass.
#[derive(Debug)]
pub struct Limit {
    /// Where requests go that may pass.
    pub child: NodeId,
    /// Where the others go.
    pub over: NodeId,
    gets: Option<Bucket>,
    sets: Option<Bucket>,
    deletes: Option<Bucket>,
}

/// Two limits are equal if they say the same; how full they are does not count.
impl PartialEq for Limit {
    fn eq(&self, other: &Limit) -> bool {
        let rate = |bucket: &Option<Bucket>| bucket.as_ref().map(|bucket| bucket.rate);
        (self.child, self.over) == (other.child, other.over)
            && rate(&self.gets) == rate(&other.gets)
            && rate(&self.sets) == rate(&other.sets)
            && rate(&self.deletes) == rate(&other.deletes)
    }
}

impl Eq for Limit {}

impl Limit {
    pub(super) fn new(child: NodeId, over: NodeId, rates: &Rates) -> Limit {
        Limit {
            child,
            over,
            gets: rates.gets.map(Bucket::new),
            sets: rates.sets.map(Bucket::new),
            deletes: rates.deletes.map(Bucket::new),
        }
    }

    /// Its buckets begin to fill, unless they have begun.
    pub(super) fn begin(&self, now: u64) {
        let all = [&self.gets, &self.sets, &self.deletes];
        for bucket in all.into_iter().flatten() {
            bucket.begin(now);
        }
    }

    /// Where a request goes that does this.
    pub(super) fn way(&self, operation: Operation, now: u64) -> NodeId {
        let bucket = match operation.group() {
            Some(Group::GetLike) => &self.gets,
            Some(Group::UpdateLike) => &self.sets,
            Some(Group::DeleteLike) => &self.deletes,
            Some(Group::ArithmeticLike) | None => &None,
        };
        match bucket {
            Some(bucket) if !bucket.take(now) => self.over,
            _ => self.child,
        }
    }
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// Tokens, and the latest time seen in microseconds; nothing before it has begun.
    state: Mutex<Option<(f64, u64)>>,
}

const SECOND: f64 = 1e6;

impl Bucket {
    fn new(rate: Rate) -> Bucket {
        Bucket {
            rate,
            state: Mutex::new(None),
        }
    }

    fn begin(&self, now: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.get_or_insert((0.0, now));
    }

    fn take(&self, now: u64) -> bool {
        let Rate { rate, burst } = self.rate;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, latest) = state.get_or_insert((0.0, now));
        let passed = now.saturating_sub(*latest) as f64 / SECOND;
        *latest = now.max(*latest);
        *tokens = (*tokens + passed * rate).min(burst);
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: f64, burst: f64) -> Limit {
        let sets = Some(Rate { rate, burst });
        let rates = Rates {
            sets,
            ..Rates::default()
        };
        Limit::new(1, 2, &rates)
    }

    /// How many of so many requests at that time pass.
    fn passing(limit: &Limit, count: usize, seconds: f64) -> usize {
        let now = (seconds * SECOND) as u64;
        let ways = (0..count).filter(|_| limit.way(Operation::Add, now) == limit.child);
        ways.count()
    }

    /// What mcrouter 0.36 was seen to do: with a rate of 5, twenty requests at the start, two seconds later, and 0.4
    /// seconds after that.
    #[test]
    fn a_bucket_is_empty_at_first_and_fills_up_to_its_burst() {
        let limit = limit(5.0, 5.0);
        limit.begin(7_000_000);
        limit.begin(8_000_000);
        assert_eq!(passing(&limit, 20, 7.01), 0);
        assert_eq!(passing(&limit, 20, 9.0), 5);
        assert_eq!(passing(&limit, 20, 9.41), 2);
        assert_eq!(passing(&limit, 20, 100.0), 5);
    }

    #[test]
    fn a_burst_may_be_more_or_less_than_a_second_s_worth() {
        let more = limit(5.0, 12.0);
        more.begin(0);
        assert_eq!(passing(&more, 20, 1.01), 5);
        assert_eq!(passing(&more, 20, 60.0), 12);
        let less = limit(0.5, 0.5);
        less.begin(0);
        assert_eq!(passing(&less, 20, 60.0), 0, "there is never a whole token");
    }

    #[test]
    fn time_does_not_run_backwards() {
        let limit = limit(1.0, 10.0);
        limit.begin(0);
        assert_eq!(passing(&limit, 3, 3.0), 3);
        assert_eq!(passing(&limit, 3, 2.0), 0);
        assert_eq!(passing(&limit, 3, 5.0), 2);
    }

    #[test]
    fn what_has_no_rate_passes() {
        let limit = limit(1.0, 1.0);
        limit.begin(0);
        for operation in [
            Operation::Get,
            Operation::Delete,
            Operation::Incr,
            Operation::Touch,
        ] {
            assert_eq!(limit.way(operation, 0), limit.child, "{operation:?}");
        }
        assert_eq!(limit.way(Operation::Set, 0), limit.over);
    }
}
