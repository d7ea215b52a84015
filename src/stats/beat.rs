//! Signs of life of threads that must not hang.
//!
//! Each thread that serves beats at least once a second, whether it has work or not; `/healthz` and the metrics look
//! when it did last. A thread that has not begun or has ended is not missed.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a thread beats.
pub const PERIOD: Duration = Duration::from_secs(1);

/// A thread that has not beaten for so long hangs. Long enough for one that is short of processor time.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The sign of life of one thread: when it beat last, in milliseconds of the process's clock and one more, or 0 for
/// one that does not run.
#[derive(Debug, Default)]
pub struct Beat(AtomicU64);

impl Beat {
    /// The thread turns.
    pub fn beat(&self) {
        self.0.store(now() + 1, Ordering::Relaxed);
    }

    /// The thread ends, as it should.
    pub fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// How long ago it beat; `None` if it does not run.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let at = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(now().saturating_sub(at)))
    }
}

fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_that_run_have_an_age() {
        let beat = Beat::default();
        assert_eq!(beat.age(), None);
        beat.beat();
        assert!(beat.age().is_some_and(|age| age < LIMIT));
        beat.end();
        assert_eq!(beat.age(), None);
    }
}
