//! What the integration tests are made of: real processes, raw clients, scripted servers.
//!
//! - [`process`]: a child process with its output, signals and an end that is waited for;
//! - [`memcached`]: real memcached daemons; [`router`]: the built `ringroad` with a configuration;
//! - [`http`] and [`prometheus`]: pages of the admin port, and what is in one of them;
//! - [`client`]: a raw client with deadlines; [`replies`]: the text protocol's replies taken apart, written
//!   apart from ringroad's own parser so that it can judge it;
//! - [`scripted`]: servers that misbehave on purpose; [`knot`]: a real DNS server.
//!
//! Nothing here sleeps in order to let something happen: it polls a condition until a deadline, and fails
//! with a sentence when the deadline passes. Ports are reserved across test processes, see [`port`].

pub mod client;
pub mod http;
pub mod knot;
pub mod memcached;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod replies;
pub mod rng;
pub mod router;
pub mod scripted;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Generous: CI machines are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails with `what` if it doesn't within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Like [`eventually`], for a condition that yields a value.
#[track_caller]
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(what, || {
        found = poll();
        found.is_some()
    });
    found.unwrap()
}

/// Sets a flag when dropped: threads that run until the flag is set end even if the test fails before it sets it.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes for a failure message: escaped, and cut in the middle if long.
pub fn show(bytes: &[u8]) -> String {
    const SIDE: usize = 100;
    if bytes.len() <= 2 * SIDE {
        return bytes.escape_ascii().to_string();
    }
    format!(
        "{} …({} bytes)… {}",
        bytes[..SIDE].escape_ascii(),
        bytes.len(),
        bytes[bytes.len() - SIDE..].escape_ascii()
    )
}
