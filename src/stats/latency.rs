//! How long servers take to answer: histograms with fixed bounds.
//!
//! Each destination has one [`Latency`] in each worker: a histogram for each [`Family`] of commands. What is shown of
//! a pool, of a server over all workers, or of a kind of command is added up from these when somebody asks
//! ([`Times`]), so that the request path records once. It records once for all replies of a read that were asked
//! for at the same moment ([`Timing`]), which is what coalesced gets and pipelines are.
//!
//! A time runs from the turn in which a request was queued for its server to the turn in which the answer was
//! read, on the worker's clock, which is read once a turn. A request that times out counts with the time it
//! waited; one whose connection breaks does not count here.

use super::Counter;

/// Upper bounds of the buckets, in microseconds, each included; what takes longer is in one more bucket.
pub const BOUNDS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000,
];

/// The buckets of a histogram.
const BUCKETS: usize = BOUNDS.len() + 1;

/// Commands by what they do; a meta command is counted with the text commands that do the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// get, gets, mg
    #[default]
    Get,
    /// set, add, replace, append, prepend, cas, ms
    Set,
    /// touch, gat, gats
    Touch,
    /// delete, md
    Delete,
    /// incr, decr, ma
    Arith,
    /// flush_all, me
    Other,
}

impl Family {
    /// Every family, in declaration order.
    pub const ALL: [Family; 6] = [
        Family::Get,
        Family::Set,
        Family::Touch,
        Family::Delete,
        Family::Arith,
        Family::Other,
    ];

    /// The name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Family::Get => "get",
            Family::Set => "set",
            Family::Touch => "touch",
            Family::Delete => "delete",
            Family::Arith => "arith",
            Family::Other => "other",
        }
    }
}

/// What a request is, and since when it waits for its server. One number, because every request in a queue has one and
/// it is compared with the one before it: the first three letters of its command, and the low half of the time, of which
/// only the distance to the answer matters, and no request waits for an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing(u64);

impl Timing {
    /// For a command line that was queued at `since`, in the worker's microseconds.
    #[inline]
    #[must_use]
    pub fn new(line: &[u8], since: u64) -> Timing {
        let letters = match line.first_chunk::<4>() {
            Some(letters) => u32::from_le_bytes(*letters) & 0x00ff_ffff,
            None => 0,
        };
        Timing(u64::from(letters) << 32 | since & 0xffff_ffff)
    }

    /// The kind of command.
    #[must_use]
    pub fn family(self) -> Family {
        match &self.0.to_le_bytes() {
            [_, _, _, _, letters @ .., _] => match letters {
                b"get" | b"mg " => Family::Get,
                b"set" | b"add" | b"rep" | b"app" | b"pre" | b"cas" | b"ms " => Family::Set,
                b"tou" | b"gat" => Family::Touch,
                b"del" | b"md " => Family::Delete,
                b"inc" | b"dec" | b"ma " => Family::Arith,
                _ => Family::Other,
            },
        }
    }

    /// How long it has waited at `now`, in microseconds.
    #[must_use]
    pub fn waited(self, now: u64) -> u64 {
        u64::from((now as u32).wrapping_sub(self.0 as u32))
    }
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [Counter; BUCKETS],
    /// In microseconds.
    sum: Counter,
}

/// The times of one destination in one worker.
#[derive(Debug, Default)]
pub struct Latency([Histogram; Family::ALL.len()]);

impl Latency {
    /// `n` requests were answered, or given up, at `now`.
    pub fn record(&self, timing: Timing, now: u64, n: u64) {
        let took = timing.waited(now);
        let bucket = BOUNDS.iter().take_while(|bound| took > **bound).count();
        if let Some(histogram) = self.0.get(timing.family() as usize) {
            if let Some(counter) = histogram.buckets.get(bucket) {
                counter.add(n);
            }
            histogram.sum.add(took.saturating_mul(n));
        }
    }
}

/// A histogram that was added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Times {
    /// Adds another.
    pub fn add(&mut self, other: &Times) {
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.wrapping_add(*more);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// For each bound, in seconds, how many took no longer; the last bound is infinite and its number is that of all.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().map(|us| *us as f64 / 1e6);
        let mut so_far = 0u64;
        bounds
            .chain([f64::INFINITY])
            .zip(&self.buckets)
            .map(move |(bound, n)| {
                so_far = so_far.wrapping_add(*n);
                (bound, so_far)
            })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// All times together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.sum as f64 / 1e6
    }
}

/// The times of several destinations added up, by family.
#[derive(Clone, Debug, Default)]
pub struct ByFamily(pub [Times; Family::ALL.len()]);

impl ByFamily {
    /// Adds those of a destination in a worker, as they are now.
    pub fn add(&mut self, latency: &Latency) {
        for (mine, more) in self.0.iter_mut().zip(&latency.0) {
            for (mine, more) in mine.buckets.iter_mut().zip(&more.buckets) {
                *mine = mine.wrapping_add(more.get());
            }
            mine.sum = mine.sum.wrapping_add(more.sum.get());
        }
    }

    /// Adds others.
    pub fn add_all(&mut self, other: &ByFamily) {
        for (mine, more) in self.0.iter_mut().zip(&other.0) {
            mine.add(more);
        }
    }

    /// Of all commands together.
    pub fn together(&self) -> Times {
        let mut all = Times::default();
        for times in &self.0 {
            all.add(times);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_it_does_not_exceed() {
        let latency = Latency::default();
        let timing = Timing::new(b"set k 0 0 1\r\n", 1000);
        for (took, n) in [(0, 1), (50, 2), (51, 4), (5_000_000, 8), (5_000_001, 16)] {
            latency.record(timing, 1000 + took, n);
        }
        let mut times = ByFamily::default();
        times.add(&latency);
        assert_eq!(times.0[Family::Get as usize], Times::default());
        let all: Vec<(f64, u64)> = times.together().cumulative().collect();
        assert_eq!(all[..2], [(50e-6, 3), (100e-6, 7)]);
        assert_eq!(all[14..], [(2.5, 7), (5.0, 15), (f64::INFINITY, 31)]);
        let us = 2 * 50 + 4 * 51 + 8 * 5_000_000 + 16 * 5_000_001;
        assert_eq!(times.together().seconds(), us as f64 / 1e6);
    }

    #[test]
    fn families_are_where_their_number_says() {
        for (index, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family as usize, index);
        }
    }

    #[test]
    fn commands_are_told_apart_by_their_letters() {
        for (lines, family) in [
            (&["get k", "gets k", "mg k v"][..], Family::Get),
            (
                &[
                    "set", "add ", "replace", "append", "prepend", "cas k", "ms k 1",
                ],
                Family::Set,
            ),
            (&["touch k 1", "gat 1 k", "gats 1 k"], Family::Touch),
            (&["delete k", "md k"], Family::Delete),
            (&["incr k 1", "decr k 1", "ma k"], Family::Arith),
            (&["flush_all", "me k", "x", ""], Family::Other),
        ] {
            for line in lines {
                let line = format!("{line} ");
                let timing = Timing::new(line.as_bytes(), 1 << 50);
                assert_eq!(timing.family(), family, "{line}");
                assert_eq!(timing.waited((1 << 50) + 7), 7);
            }
        }
        let late = Timing::new(b"get ", u64::from(u32::MAX));
        assert_eq!(late.waited(u64::from(u32::MAX) + 3), 3);
    }
}
