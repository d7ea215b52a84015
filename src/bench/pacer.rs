//! Wakes connections when their next request is due.
//!
//! The event loop's own timers tick in milliseconds, which would smear a latency of tens of
//! microseconds; on Linux the pacer therefore sleeps on a `timerfd`. The pacer decides nothing: a
//! connection looks at the schedule and the clock itself, so a late wake-up makes a request late, and
//! its latency says so, but loses none.

use std::rc::Rc;

use super::thread::Shared;

/// Shortest sleep, in ns: requests due within it go out together.
const LEAST_SLEEP: u64 = 20_000;

/// Wakes the connections `numbers` (by their place in the list) at their times, for ever.
pub(super) async fn run(shared: Rc<Shared>, numbers: Vec<u64>) {
    let Some(schedule) = shared.phase.schedule else {
        return;
    };
    let mut timer = Timer::new();
    let mut round = 0_u64;
    loop {
        // Rounds that are long due need no wake-up each: one makes a connection catch up with all.
        let current = schedule.round_at(shared.now()).max(round);
        let mut slept = false;
        for (place, number) in numbers.iter().enumerate() {
            let due = schedule.due(*number, current);
            let now = shared.now();
            if due > now {
                timer.sleep((due - now).max(LEAST_SLEEP)).await;
                slept = true;
            }
            shared.wake(place);
        }
        if !slept {
            // More is due than can be sent: the connections must get their turn all the same.
            tokio::task::yield_now().await;
        }
        round = current + 1;
    }
}

#[cfg(target_os = "linux")]
use linux::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A precise sleep; falls back to the event loop's timer when the system gives no `timerfd`.
    ///
    /// A `timerfd` is polled and read like a pipe, which is the one kind of foreign descriptor that
    /// tokio takes over without `unsafe`.
    pub(super) struct Timer(Option<Receiver>);

    impl Timer {
        /// A timer at rest.
        pub(super) fn new() -> Self {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
            Self(fd.and_then(|fd| Receiver::from_owned_fd_unchecked(fd).ok()))
        }

        /// Sleeps `ns` nanoseconds.
        pub(super) async fn sleep(&mut self, ns: u64) {
            if let Some(fd) = &self.0
                && precise(fd, ns).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(ns)).await;
        }
    }

    async fn precise(fd: &Receiver, ns: u64) -> io::Result<()> {
        let at = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            },
        };
        timerfd_settime(fd, TimerfdTimerFlags::empty(), &at)?;
        loop {
            fd.readable().await?;
            // How often it expired, which says nothing here: the clock decides what is due.
            let mut expirations = [0; 8];
            match fd.try_read(&mut expirations) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    fn new() -> Self {
        Self
    }

    async fn sleep(&mut self, ns: u64) {
        tokio::time::sleep(std::time::Duration::from_nanos(ns)).await;
    }
}
