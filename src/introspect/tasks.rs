//! What is done from time to time: counts are remembered for rates, figures are written to files, a new configuration
//! is copied, variables are read.
//!
//! All of it runs beside the control thread's loop, files on a thread for blocking work: a slow disk must not keep the
//! process from answering signals. What fails is logged once, and again only after it has worked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::{figures, files};
use crate::config::vars;
use crate::stats::report::Registry;

/// Seconds that rates are averages over, at most.
const SPAN: usize = 240;

/// How often all of this is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Counts of the last minutes.
#[derive(Debug, Default)]
pub struct Window {
    /// The names, which are always the same ones, in their order.
    names: Vec<String>,
    /// Moments and the counts in the order of the names.
    moments: VecDeque<(Instant, Box<[u64]>)>,
}

/// How much each count has grown in a second.
#[derive(Debug, Default)]
pub struct Rates(BTreeMap<String, f64>);

impl Window {
    /// Remembers the counts of a moment; to be called once a second.
    pub fn push(&mut self, at: Instant, counts: BTreeMap<String, u64>) {
        if !self.names.iter().eq(counts.keys()) {
            self.names = counts.keys().cloned().collect();
            self.moments.clear();
        }
        self.moments.push_back((at, counts.into_values().collect()));
        while self.moments.len() > SPAN {
            self.moments.pop_front();
        }
    }

    /// The rates from the oldest moment until now.
    #[must_use]
    pub fn rates(&self, now: &BTreeMap<String, u64>) -> Rates {
        self.rates_at(Instant::now(), now)
    }

    fn rates_at(&self, at: Instant, now: &BTreeMap<String, u64>) -> Rates {
        let Some((since, before)) = self.moments.front() else {
            return Rates::default();
        };
        let seconds = at.saturating_duration_since(*since).as_secs_f64().max(1.0);
        let before: BTreeMap<&String, u64> =
            self.names.iter().zip(before.iter().copied()).collect();
        let rate = |name: &String, count: &u64| {
            let before = before.get(name).copied().unwrap_or(*count);
            count.saturating_sub(before) as f64 / seconds
        };
        let all = now.iter();
        Rates(
            all.map(|(name, count)| (name.clone(), rate(name, count)))
                .collect(),
        )
    }
}

impl Rates {
    /// That of a count; 0 for one that there is not.
    #[must_use]
    pub fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

/// Says what goes wrong, once.
#[derive(Debug, Default)]
struct Complaint(bool);

impl Complaint {
    fn weigh(&mut self, what: &str, dir: &Path, result: io::Result<()>) {
        match result {
            Ok(()) => self.0 = false,
            Err(error) => {
                if !std::mem::replace(&mut self.0, true) {
                    let dir = dir.display();
                    tracing::warn!(
                        "{what} can't be written to {dir}: {error}; make the directory, or give the flag an empty value to do without"
                    );
                }
            }
        }
    }
}

/// Notes what the counts are now.
fn count(instance: &Instance, registry: &Registry) {
    let counts = figures::counts(registry);
    instance.window().push(Instant::now(), counts);
}

/// Does all of this until it is dropped. The variables have been read once.
pub async fn run(instance: Arc<Instance>, registry: Arc<Registry>, vars: vars::Reader) {
    count(&instance, &registry);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut files = Files {
        vars,
        ..Files::default()
    };
    loop {
        ticks.tick().await;
        let (instance, registry) = (Arc::clone(&instance), Arc::clone(&registry));
        let done = tokio::task::spawn_blocking(move || {
            count(&instance, &registry);
            files.look(&instance, &registry);
            files
        });
        files = match done.await {
            Ok(files) => files,
            // It was cut off at the end of the process.
            Err(_) => return,
        };
    }
}

/// Files, and when they were last written.
#[derive(Debug, Default)]
struct Files {
    written: Option<Instant>,
    dumped: u64,
    stats: Complaint,
    dump: Complaint,
    vars: vars::Reader,
}

impl Files {
    fn look(&mut self, instance: &Instance, registry: &Registry) {
        let start = &instance.start;
        if let Some(root) = &start.stats_root
            && !start.stats_interval.is_zero()
            && self
                .written
                .is_none_or(|at| at.elapsed() + PERIOD / 2 >= start.stats_interval)
        {
            self.written = Some(Instant::now());
            let result = files::write_stats(root, instance, registry);
            self.stats.weigh("figures (--stats-root)", root, result);
        }
        let generation = instance.generation();
        if let Some(root) = &start.dump_root
            && self.dumped != generation
        {
            self.dumped = generation;
            let result = files::dump(root, instance, &instance.files());
            self.dump
                .weigh("the configuration (--config-dump-root)", root, result);
        }
        let file = instance
            .config()
            .and_then(|config| config.runtime_vars.clone());
        self.vars.look(file.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_over_the_last_minutes() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let counts = |n: u64| BTreeMap::from([("a".to_owned(), n)]);
        let mut window = Window::default();
        assert_eq!(window.rates_at(start, &counts(5)).of("a"), 0.0);
        window.push(start, counts(10));
        assert_eq!(
            window.rates_at(start + 4 * second, &counts(30)).of("a"),
            5.0
        );
        for n in 1..=300u32 {
            window.push(start + n * second, counts(10 + 2 * u64::from(n)));
        }
        let rates = window.rates_at(start + 300 * second, &counts(610));
        assert!((rates.of("a") - 2.0).abs() < 0.01, "{rates:?}");
        assert_eq!(rates.of("b"), 0.0);
    }
}
