//! The replayer in the daemon: a thread that delivers what is spooled as soon as a server is back.
//!
//! Files that are complete are tried once a second; connecting is how it learns that a server is back, so it depends on
//! no worker's view. The file that is being written is asked for when one of its servers answers. A server that
//! does not is tried less and less often, up to every 30 seconds.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::line::Place;
use super::replay::{Event, Found, Options, Replayer, Totals};
use super::writer::Spool;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a server that does not answer is left alone, at most.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How long a server may take to connect and for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The thread; it is told to end when this is dropped.
pub struct Daemon {
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stops: AtomicBool,
    lock: Mutex<()>,
    wakes: Condvar,
}

impl Daemon {
    /// Starts it. `find` says where servers are now.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(
        spool: Arc<Spool>,
        find: impl Fn(&Place) -> Found + Send + 'static,
    ) -> io::Result<Daemon> {
        let stop = Arc::new(Stop::default());
        let for_thread = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("spool-replay".to_owned())
            .spawn(move || run(&spool, &find, &for_thread))?;
        Ok(Daemon { stop })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.stops.store(true, Ordering::Relaxed);
        drop(self.stop.lock.lock());
        // It may be waiting for a server; nothing depends on its end.
        self.stop.wakes.notify_all();
    }
}

/// When a server that did not answer is tried again.
struct Pause {
    until: Instant,
    wait: Duration,
}

fn run(spool: &Spool, find: &dyn Fn(&Place) -> Found, stop: &Stop) {
    let mut replayer = Replayer::new(Options {
        rate: spool.settings().replay_rate,
        timeout: TIMEOUT,
        dry_run: false,
        mcrouter_has_ended: false,
    });
    let mut pauses: HashMap<Place, Pause> = HashMap::new();
    let mut said = Said::default();
    while !stop.stops.load(Ordering::Relaxed) {
        let now = Instant::now();
        let paused = |place: &Place| match pauses.get(place) {
            Some(pause) if now < pause.until => Found::Unknown,
            _ => find(place),
        };
        let mut failed = Vec::new();
        let mut figures = Totals::default();
        let result =
            replayer.pass(
                &spool.settings().dir,
                &paused,
                &stop.stops,
                &mut |event| match event {
                    Event::Failed { place, error } => {
                        tracing::debug!(server = %place, %error, "spooled deletions wait");
                        failed.push(place.clone());
                    }
                    Event::File { path, outcome } => said.file(path, outcome),
                    Event::Progress { totals } => {
                        let more = totals.delivered - figures.delivered;
                        spool.figures().replayed.add(more);
                        let bad = totals.unreadable - figures.unreadable;
                        spool.figures().unreadable.add(bad);
                        figures = totals.clone();
                    }
                    Event::Begin { .. } => {}
                },
            );
        match result {
            Ok(totals) => said.totals(&totals, find),
            // Nothing has been written yet, or the writer says what is wrong.
            Err(error) => tracing::debug!(%error, "the spool can't be read"),
        }
        for place in spool.open_places() {
            if matches!(paused(&place), Found::At(_)) {
                match replayer.reaches(&place, &find) {
                    true => {
                        spool.end_file();
                        break;
                    }
                    false => failed.push(place),
                }
            }
        }
        pauses.retain(|_, pause| now < pause.until + MAX_WAIT);
        for place in failed {
            let wait = pauses.get(&place).map_or(PERIOD, |pause| pause.wait * 2);
            let wait = wait.min(MAX_WAIT);
            let until = Instant::now() + wait;
            pauses.insert(place, Pause { until, wait });
        }
        let guard = stop.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !stop.stops.load(Ordering::Relaxed) {
            drop(stop.wakes.wait_timeout(guard, PERIOD));
        }
    }
}

/// What has been said in the log, so that it is not said every second.
#[derive(Default)]
struct Said {
    unknown: HashMap<Place, bool>,
    half: std::collections::HashSet<std::path::PathBuf>,
}

impl Said {
    fn file(&mut self, path: &std::path::Path, outcome: &super::replay::Outcome) {
        let file = path.display();
        if outcome.half_line && (outcome.removed || self.half.insert(path.to_owned())) {
            tracing::info!(%file, "a spool file ends in the middle of a line: its writer was killed before that deletion was acknowledged");
        }
        if !outcome.unreadable.is_empty() && outcome.waiting == 0 {
            let lines: Vec<u64> = outcome
                .unreadable
                .iter()
                .map(|(number, _)| *number)
                .collect();
            tracing::warn!(%file, ?lines, "a spool file has lines that are no deletions; the others are delivered, and the file stays: look at it and remove it");
        }
        if let Some(error) = outcome.error {
            tracing::debug!(%file, %error, "a spool file can't be read or removed");
        }
        if outcome.removed {
            self.half.remove(path);
        }
    }

    fn totals(&mut self, totals: &Totals, find: &dyn Fn(&Place) -> Found) {
        if totals.files > 0 {
            tracing::info!(
                delivered = totals.delivered,
                files = totals.files,
                "spooled deletions are delivered"
            );
        }
        self.unknown
            .retain(|place, _| totals.servers.contains_key(place));
        for (place, (_, waiting)) in &totals.servers {
            let (found, verb) = match find(place) {
                Found::Unknown if *waiting > 0 => (true, "they wait"),
                Found::Dropped => (
                    false,
                    "they count as delivered (unknown_servers = \"drop\")",
                ),
                _ => continue,
            };
            if self.unknown.insert(place.clone(), found).is_none() {
                tracing::warn!(server = %place, "there are spooled deletions for a server that no pool has: {verb}");
            }
        }
    }
}
