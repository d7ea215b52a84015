//! The figures of all rounds, their medians, and how they are shown.
//!
//! Ratios are those of the medians of the first router to the second, in the same run; figures of
//! different runs or machines do not compare.

use std::fmt::Write as _;

use ringroad::bench::Report;
use serde::Serialize;

use crate::probes::Memory;

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
    /// System calls of the endpoint per request.
    pub(crate) syscalls: Option<f64>,
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
            syscalls: None,
        })
    }
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
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    /// The workload's name.
    pub(crate) workload: String,
    /// What it is.
    pub(crate) about: String,
    /// One row per endpoint.
    pub(crate) rows: Vec<Row>,
    /// What went wrong, with the endpoint's name; the figures are not to be trusted then.
    pub(crate) problems: Vec<String>,
}

/// The memory of one router.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MemoryRow {
    /// The router.
    pub(crate) endpoint: String,
    /// Connections that were open.
    pub(crate) connections: usize,
    /// Resident MB without any.
    pub(crate) empty_mb: f64,
    /// Resident bytes per connection that has done nothing.
    pub(crate) idle_bytes: f64,
    /// Resident bytes per connection after one get on each.
    pub(crate) used_bytes: f64,
}

impl MemoryRow {
    /// Gives a measurement its endpoint's name.
    pub(crate) fn new(endpoint: String, memory: &Memory) -> Self {
        Self {
            endpoint,
            connections: memory.connections,
            empty_mb: memory.empty as f64 / 1e6,
            idle_bytes: memory.idle,
            used_bytes: memory.used,
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// The first two routers, whose ratio is shown: subject and rival.
    pub(crate) ratio_of: Option<(String, String)>,
    /// The core everything ran on.
    pub(crate) core: usize,
    /// The scheduling policy.
    pub(crate) policy: String,
    /// What the reader must know.
    pub(crate) notes: Vec<String>,
    /// Rounds per workload and endpoint.
    pub(crate) rounds: usize,
    /// One table per workload.
    pub(crate) tables: Vec<Table>,
    /// One row per router.
    pub(crate) memory: Vec<MemoryRow>,
    /// The goals, when they were asked for.
    pub(crate) goals: Vec<crate::goals::Verdict>,
}

impl Results {
    /// The rows of subject and rival under `workload`.
    pub(crate) fn pair(&self, workload: &str) -> Option<(&Row, &Row)> {
        let (subject, rival) = self.ratio_of.as_ref()?;
        Some((self.row(workload, subject)?, self.row(workload, rival)?))
    }

    /// The row of `endpoint` under `workload`.
    pub(crate) fn row(&self, workload: &str, endpoint: &str) -> Option<&Row> {
        let table = self.tables.iter().find(|t| t.workload == workload)?;
        table.rows.iter().find(|row| row.endpoint == endpoint)
    }
}

/// A table as text.
pub(crate) fn table_text(results: &Results, table: &Table) -> String {
    let mut out = format!("\n{}  {}\n", table.workload, table.about);
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "{:<14}{:>10}{:>9}{:>11}{:>9}{:>9}{:>11}{:>12}{:>11}{:>10}",
        "",
        "CPU µs",
        "÷ gen.",
        "req/s",
        "p50 µs",
        "p99 µs",
        "gen. CPU",
        "servers µs",
        "req/write",
        "syscalls"
    );
    for row in &table.rows {
        let _ = writeln!(
            out,
            "{:<14}{:>10.2}{:>9.2}{:>11.0}{:>9.0}{:>9.0}{:>10.0}%{:>12}{:>11}{:>10}",
            row.endpoint,
            row.cpu_us,
            row.cpu_to_generator,
            row.requests_per_s,
            row.p50_us,
            row.p99_us,
            row.generator_share * 100.0,
            optional(row.servers_us),
            optional(row.requests_per_upstream_write),
            optional(row.syscalls),
        );
    }
    if let Some((subject, rival)) = results.ratio_of.as_ref().and_then(|(subject, rival)| {
        let row = |name: &str| table.rows.iter().find(|row| row.endpoint == *name);
        Some((row(subject)?, row(rival)?))
    }) {
        let both = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let _ = writeln!(
            out,
            "{:<14}{:>10.2}{:>9}{:>11.2}{:>9.2}{:>9.2}{:>11}{:>12}{:>11}{:>10}",
            "ratio",
            subject.cpu_us / rival.cpu_us,
            "",
            subject.requests_per_s / rival.requests_per_s,
            subject.p50_us / rival.p50_us,
            subject.p99_us / rival.p99_us,
            "",
            optional(both(subject.servers_us, rival.servers_us)),
            optional(both(
                subject.requests_per_upstream_write,
                rival.requests_per_upstream_write
            )),
            optional(both(subject.syscalls, rival.syscalls)),
        );
    }
    for problem in &table.problems {
        let _ = writeln!(out, "NOT TO BE TRUSTED: {problem}");
    }
    out
}

/// The memory of the routers as text.
pub(crate) fn memory_text(rows: &[MemoryRow]) -> String {
    let mut out = String::new();
    if let Some(first) = rows.first() {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\nMemory: resident bytes per client connection, {} connections\n{:<14}{:>10}{:>16}{:>14}",
            first.connections, "", "idle", "after one get", "empty MB"
        );
    }
    for row in rows {
        let _ = writeln!(
            out,
            "{:<14}{:>10.0}{:>16.0}{:>14.1}",
            row.endpoint, row.idle_bytes, row.used_bytes, row.empty_mb
        );
    }
    out
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
