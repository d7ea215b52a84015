//! What one thread counts during one phase, and how the threads' counts are put together.
//!
//! Plain numbers owned by one thread: nothing here is atomic or shared. A request is recorded exactly
//! once: as answered (with its latency), or as lost with its connection, or as due but never sent.

use hdrhistogram::Histogram;

use super::Error;
use super::request::Kind;

/// Longest latency told apart, in ns; longer ones count as this.
const LONGEST: u64 = 600_000_000_000;
/// How many different error texts are kept.
const TEXTS: usize = 8;

/// How an answered request came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Keys found, stored, deleted or touched.
    pub(super) hits: u64,
    /// Keys not found, or values not stored.
    pub(super) misses: u64,
    /// Whether the answer was an error.
    pub(super) error: bool,
}

/// The counts of one kind of request.
#[derive(Debug, Clone)]
pub(super) struct KindTally {
    /// Requests answered.
    pub(super) requests: u64,
    /// See [`Outcome::hits`].
    pub(super) hits: u64,
    /// See [`Outcome::misses`].
    pub(super) misses: u64,
    /// Requests answered with an error.
    pub(super) errors: u64,
    /// Latencies of the answered requests, in ns.
    pub(super) latency: Histogram<u64>,
}

/// What went wrong, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Errors {
    /// Answers `ERROR`.
    pub error: u64,
    /// Answers `CLIENT_ERROR`.
    pub client_error: u64,
    /// Answers `SERVER_ERROR`.
    pub server_error: u64,
    /// Times the bytes were no memcached reply, or no reply to what was asked.
    pub rubbish: u64,
    /// Values under a key that was not asked for.
    pub wrong_key: u64,
    /// Connections given up because the endpoint was silent.
    pub timeouts: u64,
    /// Connections the endpoint closed.
    pub closed: u64,
    /// Connections that broke (reset, unreachable).
    pub broken: u64,
    /// Attempts to reconnect that failed.
    pub connect_failures: u64,
    /// Requests without an answer, because their connection was lost.
    pub lost_requests: u64,
    /// With a fixed rate: requests that were due but never sent, as the endpoint did not keep up.
    pub unsent_requests: u64,
}

impl Errors {
    /// The names of the counts with their values, in a fixed order.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 11] {
        [
            ("ERROR", self.error),
            ("CLIENT_ERROR", self.client_error),
            ("SERVER_ERROR", self.server_error),
            ("no valid reply", self.rubbish),
            ("wrong key", self.wrong_key),
            ("timeouts", self.timeouts),
            ("closed by endpoint", self.closed),
            ("broken connections", self.broken),
            ("failed reconnects", self.connect_failures),
            ("lost requests", self.lost_requests),
            ("due but never sent", self.unsent_requests),
        ]
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        self.error += other.error;
        self.client_error += other.client_error;
        self.server_error += other.server_error;
        self.rubbish += other.rubbish;
        self.wrong_key += other.wrong_key;
        self.timeouts += other.timeouts;
        self.closed += other.closed;
        self.broken += other.broken;
        self.connect_failures += other.connect_failures;
        self.lost_requests += other.lost_requests;
        self.unsent_requests += other.unsent_requests;
    }
}

/// The counts of one phase.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// One entry per kind that occurs, in the order of [`Kind::ALL`].
    pub(super) kinds: Vec<(Kind, KindTally)>,
    /// What went wrong.
    pub(super) errors: Errors,
    /// Different error texts with how often each came, at most [`TEXTS`].
    pub(super) texts: Vec<(String, u64)>,
    /// Requests answered.
    pub(super) answered: u64,
    /// Bytes sent.
    pub(super) sent: u64,
    /// Bytes received.
    pub(super) received: u64,
    /// System calls that wrote.
    pub(super) writes: u64,
    /// System calls that read.
    pub(super) reads: u64,
    /// When the last answer came, in ns on the run's clock.
    pub(super) last_answer: u64,
}

impl Tally {
    /// Empty counts for `kinds`; every histogram starts as a copy of `blank`.
    pub(super) fn new(kinds: impl Iterator<Item = Kind>, blank: &Histogram<u64>) -> Self {
        let wanted: Vec<_> = kinds.collect();
        let kinds = Kind::ALL
            .into_iter()
            .filter(|kind| wanted.contains(kind))
            .map(|kind| (kind, KindTally::new(blank)))
            .collect();
        Self {
            kinds,
            errors: Errors::default(),
            texts: Vec::new(),
            answered: 0,
            sent: 0,
            received: 0,
            writes: 0,
            reads: 0,
            last_answer: 0,
        }
    }

    /// A request of `kind` was answered `latency` ns after it was due, at `now`.
    pub(super) fn answer(&mut self, kind: Kind, outcome: Outcome, latency: u64, now: u64) {
        self.answered += 1;
        self.last_answer = now;
        if let Some((_, tally)) = self.kinds.iter_mut().find(|(k, _)| *k == kind) {
            tally.requests += 1;
            tally.hits += outcome.hits;
            tally.misses += outcome.misses;
            tally.errors += u64::from(outcome.error);
            tally.latency.saturating_record(latency);
        }
    }

    /// Remembers an error's text, unless there are too many different ones already.
    pub(super) fn note(&mut self, text: &str) {
        if let Some((_, count)) = self.texts.iter_mut().find(|(seen, _)| seen == text) {
            *count += 1;
        } else if self.texts.len() < TEXTS {
            self.texts.push((text.to_owned(), 1));
        }
    }

    /// Adds another thread's counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (kind, theirs) in &other.kinds {
            if let Some((_, ours)) = self.kinds.iter_mut().find(|(k, _)| k == kind) {
                ours.requests += theirs.requests;
                ours.hits += theirs.hits;
                ours.misses += theirs.misses;
                ours.errors += theirs.errors;
                merge(&mut ours.latency, &theirs.latency);
            }
        }
        self.errors.add(&other.errors);
        for (text, count) in &other.texts {
            if let Some((_, ours)) = self.texts.iter_mut().find(|(seen, _)| seen == text) {
                *ours += count;
            } else if self.texts.len() < TEXTS {
                self.texts.push((text.clone(), *count));
            }
        }
        self.answered += other.answered;
        self.sent += other.sent;
        self.received += other.received;
        self.writes += other.writes;
        self.reads += other.reads;
        self.last_answer = self.last_answer.max(other.last_answer);
    }

    /// The latencies of all kinds together, in ns; `blank` as in [`new`](Self::new).
    pub(super) fn latency(&self, blank: &Histogram<u64>) -> Histogram<u64> {
        let mut all = blank.clone();
        for (_, tally) in &self.kinds {
            merge(&mut all, &tally.latency);
        }
        all
    }
}

impl KindTally {
    fn new(blank: &Histogram<u64>) -> Self {
        Self {
            requests: 0,
            hits: 0,
            misses: 0,
            errors: 0,
            latency: blank.clone(),
        }
    }
}

/// An empty histogram, from 1 ns to [`LONGEST`] with three digits.
///
/// # Errors
/// [`Error::Internal`] if the histogram library refuses these bounds.
pub(super) fn blank_histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| Error::Internal(error.to_string()))
}

fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    // Fails only for values beyond the bounds, and all histograms here are copies of one blank.
    let _ = into.add(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let blank = blank_histogram().unwrap();
        let kinds = || [Kind::Set, Kind::Get].into_iter();
        let mut one = Tally::new(kinds(), &blank);
        let mut two = Tally::new(kinds(), &blank);
        let hit = Outcome {
            hits: 1,
            ..Outcome::default()
        };
        let error = Outcome {
            error: true,
            ..Outcome::default()
        };
        one.answer(Kind::Get, hit, 1_000, 10);
        two.answer(Kind::Get, hit, 9_000, 20);
        two.answer(Kind::Set, error, 5_000_000, 30);
        two.note("SERVER_ERROR x");
        two.note("SERVER_ERROR x");
        two.errors.server_error = 1;
        one.note("SERVER_ERROR x");
        one.add(&two);
        assert_eq!(one.answered, 3);
        assert_eq!(one.last_answer, 30);
        assert_eq!(one.texts, [("SERVER_ERROR x".to_owned(), 3)]);
        assert_eq!(one.errors.server_error, 1);
        let names: Vec<_> = one
            .kinds
            .iter()
            .map(|(k, t)| (k.name(), t.requests))
            .collect();
        assert_eq!(names, [("get", 2), ("set", 1)]);
        let all = one.latency(&blank);
        assert_eq!(all.len(), 3);
        assert!(
            (4_990_000..=5_010_000).contains(&all.max()),
            "{}",
            all.max()
        );
        assert_eq!(all.min(), 1_000);
    }

    #[test]
    fn a_latency_beyond_the_longest_is_counted_not_dropped() {
        let mut tally = Tally::new([Kind::Get].into_iter(), &blank_histogram().unwrap());
        tally.answer(Kind::Get, Outcome::default(), u64::MAX, 1);
        assert_eq!(tally.kinds[0].1.latency.len(), 1);
    }

    #[test]
    fn the_number_of_texts_is_bounded() {
        let mut tally = Tally::new([Kind::Get].into_iter(), &blank_histogram().unwrap());
        for n in 0..100 {
            tally.note(&n.to_string());
        }
        assert_eq!(tally.texts.len(), TEXTS);
    }
}
