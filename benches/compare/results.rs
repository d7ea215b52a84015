//! The figures of all rounds, and their medians.
//!
//! Ratios are those of medians, of one run; figures of different runs or machines do not compare. How they
//! are shown: `text` and `plots`.

use ringroad::bench::Report;
use serde::Serialize;

use crate::memory::Memory;
use crate::syscalls::Counts;

/// What one run of the generator gave.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    cpu_us: f64,
    generator_us: f64,
    generator_share: f64,
    servers_us: f64,
    requests_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    per_upstream_write: Option<f64>,
}

impl Sample {
    /// From the generator's report, whose first watched process is the endpoint and the others are the
    /// servers, and from the data segments the endpoint sent to the servers meanwhile.
    ///
    /// # Errors
    /// When the endpoint's CPU time could not be read.
    pub(crate) fn new(report: &Report, segments: Option<u64>) -> Result<Self, String> {
        let mut cpu = report.processes.iter().map(|p| p.cpu_us_per_request);
        let cpu_us = cpu
            .next()
            .flatten()
            .ok_or("the endpoint's CPU time could not be read; has it ended?")?;
        let sent = report.requests + report.warm_up_requests;
        Ok(Self {
            cpu_us,
            generator_us: report.generator.cpu_us_per_request,
            generator_share: report.generator.cpu_share,
            servers_us: cpu.flatten().sum(),
            requests_per_s: report.requests_per_s,
            p50_us: report.latency_us.p50,
            p99_us: report.latency_us.p99,
            per_upstream_write: segments
                .filter(|segments| *segments > 0)
                .map(|segments| sent as f64 / segments as f64),
        })
    }
}

impl Sample {
    /// CPU time of the endpoint per request, in µs.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_us
    }
}

/// What must not happen in a comparison: errors, and misses where every key was stored.
pub(crate) fn problems(report: &Report) -> Vec<String> {
    let misses: u64 = report.kinds.iter().map(|kind| kind.misses).sum();
    let mut problems: Vec<_> = report
        .errors
        .list()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if misses > 0 {
        problems.push(format!("misses {misses}"));
    }
    if report.requests == 0 {
        problems.push("nothing was answered".to_owned());
    }
    problems
}

/// The medians of one endpoint under one workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// CPU time of the endpoint per request, in µs.
    pub(crate) cpu_us: f64,
    /// The same ÷ the generator's.
    pub(crate) cpu_to_generator: f64,
    /// Requests answered per second.
    pub(crate) requests_per_s: f64,
    /// Median latency, in µs.
    pub(crate) p50_us: f64,
    /// 99th percentile of latency, in µs.
    pub(crate) p99_us: f64,
    /// The generator's CPU time ÷ elapsed time.
    pub(crate) generator_share: f64,
    /// CPU time of all servers per request, in µs; `None` when the endpoint is itself a server.
    pub(crate) servers_us: Option<f64>,
    /// Requests per write to a server.
    pub(crate) requests_per_upstream_write: Option<f64>,
    /// How much later than the memcached's the median answer came, in µs, where both were paced alike: the
    /// median of the differences within a round.
    pub(crate) added_us: Option<f64>,
    /// System calls of the endpoint per request.
    pub(crate) syscalls: Option<f64>,
    /// Instructions of the endpoint per request, in user space.
    pub(crate) instructions: Option<f64>,
}

impl Row {
    /// The medians of `samples`; `None` when there are none.
    pub(crate) fn new(endpoint: String, samples: &[Sample], router: bool) -> Option<Self> {
        let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field).collect());
        Some(Self {
            endpoint,
            cpu_us: of(|s| s.cpu_us)?,
            cpu_to_generator: of(|s| s.cpu_us / s.generator_us)?,
            requests_per_s: of(|s| s.requests_per_s)?,
            p50_us: of(|s| s.p50_us)?,
            p99_us: of(|s| s.p99_us)?,
            generator_share: of(|s| s.generator_share)?,
            servers_us: if router { of(|s| s.servers_us) } else { None },
            requests_per_upstream_write: median(
                samples
                    .iter()
                    .filter_map(|s| s.per_upstream_write)
                    .collect(),
            ),
            added_us: None,
            syscalls: None,
            instructions: None,
        })
    }

    /// Adds what was counted in runs of their own.
    pub(crate) fn count(&mut self, counts: Counts) {
        self.syscalls = Some(counts.calls);
        self.instructions = counts.instructions;
    }
}

/// How much the median latency of `samples` is above that of `base`, round by round: the median of that.
pub(crate) fn added_latency(samples: &[Sample], base: &[Sample]) -> Option<f64> {
    let both = samples.iter().zip(base);
    median(
        both.map(|(sample, base)| sample.p50_us - base.p50_us)
            .collect(),
    )
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = values.get(middle.checked_sub(1)?).copied()?;
    Some(f64::midpoint(lower, upper))
}

/// The result of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// The workload.
    pub(crate) workload: String,
    /// What it is.
    pub(crate) about: String,
    /// Whose figures are divided by the others'.
    pub(crate) subject: String,
    /// One row per endpoint.
    pub(crate) rows: Vec<Row>,
    /// What makes it worthless.
    pub(crate) problems: Vec<String>,
}

impl Table {
    /// The row of `endpoint`.
    pub(crate) fn row(&self, endpoint: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.endpoint == endpoint)
    }
}

/// The memory of one router.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryRow {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// Client connections.
    pub(crate) connections: usize,
    /// Resident memory without any, in MB.
    pub(crate) empty_mb: f64,
    /// Resident bytes per connection that has done nothing.
    pub(crate) idle_bytes: f64,
    /// Resident bytes per connection after a small get on each.
    pub(crate) get_bytes: f64,
    /// Resident bytes per connection after a reply of 64 KiB on each.
    pub(crate) large_bytes: f64,
    /// Resident bytes that are left per connection when all are closed.
    pub(crate) closed_bytes: f64,
}

impl MemoryRow {
    /// Gives a measurement its endpoint's name.
    pub(crate) fn new(endpoint: String, memory: &Memory) -> Self {
        Self {
            endpoint,
            connections: memory.connections,
            empty_mb: memory.empty as f64 / 1e6,
            idle_bytes: memory.idle,
            get_bytes: memory.get,
            large_bytes: memory.large,
            closed_bytes: memory.closed,
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// When, in seconds since 1970.
    pub(crate) time: u64,
    /// The processor.
    pub(crate) machine: String,
    /// The core everything ran on.
    pub(crate) core: usize,
    /// The scheduling policy.
    pub(crate) policy: String,
    /// What the reader must know.
    pub(crate) notes: Vec<String>,
    /// Rounds per workload and endpoint.
    pub(crate) rounds: usize,
    /// Seconds per measurement.
    pub(crate) seconds: f64,
    /// One table per workload.
    pub(crate) tables: Vec<Table>,
    /// One row per router.
    pub(crate) memory: Vec<MemoryRow>,
    /// The targets, when they were asked for.
    pub(crate) targets: Vec<crate::targets::Verdict>,
}

impl Results {
    /// The table of `workload`.
    pub(crate) fn table(&self, workload: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.workload == workload)
    }
}
