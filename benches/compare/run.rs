//! Running it: every workload in turns, round by round, and the measurements that stand by themselves.
//!
//! What runs under a workload is a list of lanes, an endpoint with the generator's options. A round is one
//! run of each of them; medians are taken over the rounds.

use std::path::PathBuf;
use std::time::Instant;

use crate::configs::Variant;
use crate::endpoints::{Endpoint, Kind, Servers};
use crate::idle::Holder;
use crate::regime::Regime;
use crate::results::{self, MemoryRow, Row, Sample, Table};
use crate::syscalls::{Counter, Counts};
use crate::workloads::{self, Field, KeySet, Workload};
use crate::{Options, children, memory, probes};

type Result<T> = std::result::Result<T, String>;

/// An endpoint under a load.
struct Lane<'a> {
    name: String,
    endpoint: &'a Endpoint,
    options: &'static [&'static str],
}

impl<'a> Lane<'a> {
    fn new(endpoint: &'a Endpoint, workload: &Workload) -> Self {
        Self {
            name: endpoint.name.clone(),
            endpoint,
            options: workload.options,
        }
    }
}

/// Everything that runs.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) regime: Regime,
    pub(crate) servers: Servers,
    /// The second pool's servers, where a workload has one.
    pub(crate) others: Option<Servers>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// ringroad with two pools.
    pub(crate) variants: Vec<(Variant, Endpoint)>,
    pub(crate) counter: Option<Counter>,
    pub(crate) directory: PathBuf,
    /// The limit of open files.
    pub(crate) files: u64,
    pub(crate) began: Instant,
}

impl Bench<'_> {
    /// Stores every key that will be read, through every endpoint, and checks that what comes back is right.
    ///
    /// # Errors
    /// When an endpoint doesn't store them all, or gives wrong answers.
    pub(crate) fn fill(&self) -> Result<()> {
        /// One key at a time; many at once; many requests at once.
        const CHECKS: [&[&str]; 3] = [&[], &["--multi", "20"], &["--depth", "16"]];
        for keys in KeySet::ALL {
            let uses = |workload: &&Workload| {
                workload.keys == keys && self.options.wants_workload(workload)
            };
            if workloads::ALL.iter().filter(uses).count() == 0 {
                continue;
            }
            let variants = self.variants.iter().map(|(_, endpoint)| endpoint);
            // Only the small ones are read through the variants.
            let variants = variants.filter(|_| keys == KeySet::Small);
            for endpoint in self.endpoints.iter().chain(variants) {
                self.tell(&format!("filling {}", endpoint.name));
                let number = if keys == KeySet::Small { "500" } else { "20" };
                let options = ["--prefill", "-c", "4", "-n", number, "--check"];
                let report = probes::generate(&self.regime, endpoint, keys, &options, &[])?;
                let stored = report.prefill.as_ref();
                if stored.is_none_or(|prefill| prefill.stored < prefill.keys) {
                    return Err(format!(
                        "{} did not store all keys: {stored:?}",
                        endpoint.name
                    ));
                }
                for more in CHECKS {
                    let mut options = vec!["-c", "4", "-n", number, "--check"];
                    options.extend(more);
                    let report = probes::generate(&self.regime, endpoint, keys, &options, &[])?;
                    if let Some(problem) = results::problems(&report).first() {
                        return Err(format!("{} with {more:?}: {problem}", endpoint.name));
                    }
                }
            }
        }
        Ok(())
    }

    fn lanes(&self, workload: &Workload) -> Result<Vec<Lane<'_>>> {
        let lane = |endpoint| Lane::new(endpoint, workload);
        let ringroad = || {
            let mut endpoints = self.endpoints.iter();
            endpoints
                .find(|endpoint| matches!(endpoint.kind, Kind::Ringroad(_)))
                .ok_or_else(|| format!("{} needs a ringroad", workload.name))
        };
        Ok(match workload.field {
            Field::All => self.endpoints.iter().map(lane).collect(),
            Field::BesideIdle(_) => {
                let routers = self.endpoints.iter().filter(|e| e.is_router());
                routers.map(lane).collect()
            }
            Field::Own(name, options) => {
                let endpoint = ringroad()?;
                let other = Lane {
                    name: name.to_owned(),
                    endpoint,
                    options,
                };
                vec![lane(endpoint), other]
            }
            Field::Variant(wanted) => {
                let mut variants = self.variants.iter();
                let (_, endpoint) = variants
                    .find(|(variant, _)| *variant == wanted)
                    .ok_or("no such variant")?;
                vec![lane(ringroad()?), lane(endpoint)]
            }
        })
    }

    /// Measures one workload.
    ///
    /// # Errors
    /// When an endpoint or a tool fails altogether; what makes the figures worthless is in the table.
    pub(crate) fn workload(&self, workload: &Workload) -> Result<Table> {
        let lanes = self.lanes(workload)?;
        let mut idle = Vec::new();
        if let Field::BesideIdle(wanted) = workload.field {
            let connections = self.connections(wanted);
            for lane in &lanes {
                self.tell(&format!("{connections} idle clients at {}", lane.name));
                idle.push(Holder::start(lane.endpoint, connections)?);
            }
        }
        let mut problems = Vec::new();
        let mut samples: Vec<Vec<Sample>> = lanes.iter().map(|_| Vec::new()).collect();
        // A latency of some µs takes more of them to be told from another.
        let rounds = self.options.rounds() * if workload.is_paced() { 2 } else { 1 };
        for round in 1..=rounds {
            let mut line = format!("{} round {round} of {rounds}:", workload.name);
            for (lane, samples) in lanes.iter().zip(&mut samples) {
                let (sample, wrong) = self.sample(workload, lane)?;
                for problem in wrong {
                    problems.push(format!("{}, round {round}: {problem}", lane.name));
                }
                line += &format!("  {} {:.2} µs", lane.name, sample.cpu_us());
                samples.push(sample);
            }
            self.tell(&line);
        }
        drop(idle);
        let direct = lanes.iter().position(|lane| !lane.endpoint.is_router());
        let base = direct.and_then(|at| samples.get(at));
        let mut rows = Vec::new();
        for (lane, own) in lanes.iter().zip(&samples) {
            let router = lane.endpoint.is_router();
            let row = Row::new(lane.name.clone(), own, router);
            let mut row = row.ok_or("nothing was measured")?;
            if workload.is_paced() && router {
                row.added_us = base.and_then(|base| results::added_latency(own, base));
            }
            if let Some(counts) = self.count(workload, lane.endpoint)? {
                row.count(counts);
            }
            rows.push(row);
        }
        let subject = match workload.field {
            Field::All | Field::BesideIdle(_) => rows.first(),
            Field::Own(..) | Field::Variant(_) => rows.last(),
        };
        Ok(Table {
            workload: workload.name.to_owned(),
            about: workload.about.to_owned(),
            subject: subject.map(|row| row.endpoint.clone()).unwrap_or_default(),
            rows,
            problems,
        })
    }

    /// One run of one lane, and what went wrong in it.
    fn sample(&self, workload: &Workload, lane: &Lane<'_>) -> Result<(Sample, Vec<String>)> {
        let seconds = self.options.seconds();
        let duration = format!("{seconds}s");
        let warm_up = format!("{}s", (seconds / 5.0).min(0.5));
        let mut options = lane.options.to_vec();
        options.extend(["--duration", &duration, "--warm-up", &warm_up]);
        let endpoint = lane.endpoint;
        let mut pids = vec![endpoint.pid];
        if endpoint.is_router() {
            pids.extend(&self.servers.pids);
            if matches!(workload.field, Field::Variant(_)) {
                pids.extend(self.others.iter().flat_map(|others| &others.pids));
            }
        }
        let segments = || probes::upstream_segments(endpoint.pid, &self.servers);
        let before = segments();
        let report = probes::generate(&self.regime, endpoint, workload.keys, &options, &pids)?;
        let written = segments()
            .zip(before)
            .and_then(|(after, before)| after.checked_sub(before));
        Ok((Sample::new(&report, written)?, results::problems(&report)))
    }

    fn count(&self, workload: &Workload, endpoint: &Endpoint) -> Result<Option<Counts>> {
        // It takes longest of all; once shows that it works.
        let again = self.options.smoke && workload.name != "W1";
        let counter = self.counter.filter(|_| endpoint.is_router() && !again);
        let Some((counter, requests)) = counter.zip(workload.traced) else {
            return Ok(None);
        };
        let requests = if self.options.smoke {
            requests / 10
        } else {
            requests
        };
        counter.per_request(&self.regime, endpoint, workload, requests, &self.directory)
    }

    /// How many of `wanted` connections there can and shall be.
    fn connections(&self, wanted: usize) -> usize {
        let most = usize::try_from(self.files.saturating_sub(500)).unwrap_or(usize::MAX);
        let wanted = if self.options.smoke {
            wanted / 20
        } else {
            wanted
        };
        if most < wanted {
            self.tell(&format!(
                "only {most} connections: the limit of open files is {}",
                self.files
            ));
        }
        wanted.min(most)
    }

    /// Measures each router's memory, on a fresh process of its own.
    ///
    /// # Errors
    /// When one does not start or does not answer.
    pub(crate) fn memory(&self) -> Result<Vec<MemoryRow>> {
        let connections = self.connections(self.options.idle);
        let mut rows = Vec::new();
        for endpoint in self.endpoints.iter().filter(|e| e.is_router()) {
            self.tell(&format!("memory of {}", endpoint.name));
            let name = format!("{}-memory", endpoint.name);
            let kind = &endpoint.kind;
            let fresh = Endpoint::start(kind, &name, &self.servers, None, &self.directory)?;
            let memory = memory::measure(&fresh, connections)?;
            children::kill(fresh.pid);
            rows.push(MemoryRow::new(endpoint.name.clone(), &memory));
        }
        Ok(rows)
    }

    /// Progress, for people.
    fn tell(&self, text: &str) {
        eprintln!("{:4.0} s  {text}", self.began.elapsed().as_secs_f64());
    }
}
