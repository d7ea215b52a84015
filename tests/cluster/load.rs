//! Steady load, and what it saw in each phase.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::kube::Router;
use crate::support::rng::Rng;
use crate::support::{SetOnDrop, eventually};

/// What the load saw in one phase.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub gets: u64,
    pub hits: u64,
    pub sets: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Seen {
    /// Hits of all gets, in percent.
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 * 100.0 / self.gets.max(1) as f64
    }

    /// Errors of all kinds.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, hit rate {:.2} %, {} errors",
            self.gets + self.sets,
            self.hit_rate(),
            self.failed()
        )?;
        for (kind, count) in &self.errors {
            write!(f, "; {count} × {kind}")?;
        }
        Ok(())
    }
}

/// Whether a client that misses stores the item again, as applications do.
#[derive(Clone, Copy, PartialEq)]
pub enum OnMiss {
    Store,
    Leave,
}

/// The load while a scenario runs.
pub struct Load<'a> {
    phase: &'a AtomicUsize,
    phases: &'a [Mutex<Seen>],
    names: Vec<&'static str>,
}

impl Load<'_> {
    /// A phase begins; returns when the load has seen some of it.
    pub fn phase(&mut self, name: &'static str) {
        self.names.push(name);
        let phase = self.names.len() - 1;
        self.phase.store(phase, Ordering::Relaxed);
        self.more(500);
    }

    /// Returns when the load has seen this many more gets.
    pub fn more(&self, gets: u64) {
        let now = || self.phases[self.names.len() - 1].lock().unwrap().gets;
        let from = now();
        eventually("load flows", || now() >= from + gets);
    }
}

/// `count` keys.
pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key:{n}")).collect()
}

/// Stores every key with this value.
pub fn fill(router: &Router, keys: &[String], value: &str) {
    let mut client = router.client();
    for key in keys {
        let len = value.len();
        client.ask(format!("set {key} 0 0 {len}\r\n{value}\r\n"), "STORED\r\n");
    }
}

/// Runs `scenario` under the load of some clients that get random keys; prints and returns what they saw, by phase.
pub fn under_load(
    router: &Router,
    keys: &[String],
    on_miss: OnMiss,
    title: &str,
    scenario: impl FnOnce(&mut Load<'_>),
) -> BTreeMap<&'static str, Seen> {
    const PHASES: usize = 8;
    let (done, phase) = (AtomicBool::new(false), AtomicUsize::new(0));
    let phases: Vec<Mutex<Seen>> = (0..PHASES).map(|_| Mutex::default()).collect();
    let mut names = Vec::new();
    std::thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        let threads: Vec<_> = (0..3)
            .map(|seed| {
                let (done, phase, phases) = (&done, &phase, &phases);
                scope.spawn(move || {
                    let mut client = router.client();
                    let mut rng = Rng::new(seed);
                    while !done.load(Ordering::Relaxed) {
                        let key = rng.pick(keys);
                        let phase = phase.load(Ordering::Relaxed);
                        client.send(format!("get {key}\r\n"));
                        let first = client.line();
                        let mut stored = None;
                        let mut error = None;
                        let hit = first.starts_with("VALUE ");
                        if hit {
                            assert_eq!(first.split(' ').nth(1), Some(key.as_str()));
                            let _ = (client.line(), client.line());
                        } else if first == "END" {
                            if on_miss == OnMiss::Store {
                                // What the test stores meanwhile is newer.
                                client.send(format!("add {key} 0 0 6\r\nstored\r\n"));
                                stored = Some(client.line());
                            }
                        } else {
                            error = Some(first);
                        }
                        let mut seen = phases[phase].lock().unwrap();
                        seen.gets += 1;
                        seen.hits += u64::from(hit);
                        if let Some(answer) = stored {
                            seen.sets += 1;
                            if answer != "STORED" && answer != "NOT_STORED" {
                                error = Some(answer);
                            }
                        }
                        if let Some(error) = error {
                            *seen.errors.entry(error).or_default() += 1;
                        }
                    }
                })
            })
            .collect();
        let mut load = Load {
            phase: &phase,
            phases: &phases,
            names: Vec::new(),
        };
        scenario(&mut load);
        names = load.names;
        drop(stop);
        for thread in threads {
            assert!(thread.join().is_ok(), "a client lost its connection");
        }
    });
    let mut seen = BTreeMap::new();
    for (name, phase) in names.into_iter().zip(phases) {
        let phase = phase.into_inner().unwrap();
        eprintln!("{title}: {name}: {phase}");
        seen.insert(name, phase);
    }
    seen
}

/// How many keys have another owner in `after` than in `before`, among those that both know.
pub fn moved(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> usize {
    let differs =
        |(key, owner): &(&String, &String)| after.get(*key).is_some_and(|now| now != *owner);
    before.iter().filter(differs).count()
}
