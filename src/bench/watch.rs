//! CPU time of this process and of others, as far as the system tells.
//!
//! Linux only for others: the time each thread has run, to the nanosecond, from
//! `/proc/PID/task/*/schedstat`, or, where the kernel does not keep that, user plus system time from
//! `/proc/PID/stat` in ticks of 10 ms. A thread that is running at that moment is counted up to the
//! last scheduler tick.

use std::fs;
use std::io;
use std::time::Instant;

/// CPU times at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When.
    pub(super) at: Instant,
    /// Of this process, in ns.
    pub(super) own: u64,
    /// Of each watched process, in ns; `None` when it could not be read.
    pub(super) others: Vec<Option<u64>>,
}

impl Sample {
    /// Samples this process and `pids`.
    pub(super) fn take(pids: &[u32]) -> Self {
        Self {
            at: Instant::now(),
            own: own_cpu(),
            others: pids.iter().map(|pid| process_cpu(*pid).ok()).collect(),
        }
    }
}

fn own_cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

/// CPU time of process `pid` with all its threads, in ns.
///
/// # Errors
/// When there is no such process, or the system does not tell.
pub fn process_cpu(pid: u32) -> io::Result<u64> {
    schedstat(pid).or_else(|_| stat(pid))
}

fn schedstat(pid: u32) -> io::Result<u64> {
    let mut total = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(text) => text,
            // A thread may end between the listing and the look.
            Err(error) if error.kind() == io::ErrorKind::NotFound && total > 0 => continue,
            Err(error) => return Err(error),
        };
        let ran = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        total = total.saturating_add(ran.ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(total)
}

fn stat(pid: u32) -> io::Result<u64> {
    /// Linux reports these in hundredths of a second on every architecture.
    const TICK_NS: u64 = 10_000_000;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    stat_ticks(&text)
        .map(|ticks| ticks.saturating_mul(TICK_NS))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// utime plus stime: fields 14 and 15, counted behind the name, which may hold spaces and parentheses.
fn stat_ticks(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The name of process `pid`, or the number where it has none.
pub(super) fn process_name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| pid.to_string(), |name| name.trim().to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_do_not_shift_the_fields() {
        let text = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 120 34 0 0 20 0 1 0 5 0";
        assert_eq!(stat_ticks(text), Some(154));
        assert_eq!(stat_ticks("7 (x"), None);
        assert_eq!(stat_ticks(""), None);
    }

    #[test]
    fn busy_time_shows_up() {
        let me = std::process::id();
        let before = process_cpu(me).unwrap();
        let own = own_cpu();
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let mut rng = super::super::sample::Rng::new(1);
        // Until the figures move: they may lag by a scheduler tick.
        while process_cpu(me).unwrap() < before + 5_000_000 {
            assert!(Instant::now() < deadline, "no CPU time was counted");
            for _ in 0..10_000 {
                std::hint::black_box(rng.next());
            }
        }
        assert!(own_cpu() > own);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Above the largest process id Linux can be set to.
        assert!(process_cpu(4_194_305).is_err());
    }
}
