//! What ringroad must reach, and whether it did.
//!
//! The defaults are the project's promises. All but the last three are ratios to twemproxy in the same
//! run; those hold on any machine. A goal whose figure is missing has failed, unless its workload was
//! left out by the user.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::results::Results;

/// The bounds. A TOML file may set any of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Goals {
    /// CPU time per request under W1, ÷ the rival's: at most.
    w1_cpu_ratio: f64,
    /// The same under W3.
    w3_cpu_ratio: f64,
    /// The same under W4.
    w4_cpu_ratio: f64,
    /// Requests per second under W3, ÷ the rival's: at least.
    w3_throughput_ratio: f64,
    /// System calls per request under W1: at most.
    w1_syscalls: f64,
    /// Requests per upstream write under w64: at least.
    w64_requests_per_write: f64,
    /// Resident bytes per idle client connection: at most.
    idle_connection_bytes: f64,
}

impl Default for Goals {
    fn default() -> Self {
        Self {
            w1_cpu_ratio: 0.85,
            w3_cpu_ratio: 0.45,
            w4_cpu_ratio: 0.65,
            w3_throughput_ratio: 2.5,
            w1_syscalls: 2.3,
            w64_requests_per_write: 8.0,
            idle_connection_bytes: 1500.0,
        }
    }
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// What was to be reached.
    pub(crate) goal: String,
    /// What was measured; `None` when it was not.
    pub(crate) measured: Option<f64>,
    /// Whether that is enough.
    pub(crate) reached: bool,
}

impl Goals {
    /// Reads a TOML file with other bounds; names as in this structure.
    ///
    /// # Errors
    /// When it cannot be read or holds anything else; says where.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Judges `results`; goals whose workload is not among `ran` are left out.
    pub(crate) fn judge(&self, results: &Results, ran: impl Fn(&str) -> bool) -> Vec<Verdict> {
        let cpu = |workload: &str| {
            let (subject, rival) = results.pair(workload)?;
            Some(subject.cpu_us / rival.cpu_us)
        };
        let throughput = |workload: &str| {
            let (subject, rival) = results.pair(workload)?;
            Some(subject.requests_per_s / rival.requests_per_s)
        };
        let subject = results
            .ratio_of
            .as_ref()
            .map(|(subject, _)| subject.as_str());
        let own = |workload: &str| results.row(workload, subject?);
        let idle = || {
            let row = results
                .memory
                .iter()
                .find(|row| Some(row.endpoint.as_str()) == subject)?;
            Some(row.idle_bytes)
        };
        let mut verdicts = Vec::new();
        let mut at_most = |workload: &str, what: &str, bound: f64, measured: Option<f64>| {
            if ran(workload) {
                verdicts.push(Verdict {
                    goal: format!("{workload} {what} ≤ {bound}"),
                    measured,
                    reached: measured.is_some_and(|measured| measured <= bound),
                });
            }
        };
        at_most("W1", "CPU ratio", self.w1_cpu_ratio, cpu("W1"));
        at_most("W3", "CPU ratio", self.w3_cpu_ratio, cpu("W3"));
        at_most("W4", "CPU ratio", self.w4_cpu_ratio, cpu("W4"));
        at_most(
            "W1",
            "system calls per request",
            self.w1_syscalls,
            own("W1").and_then(|row| row.syscalls),
        );
        at_most(
            "memory",
            "bytes per idle connection",
            self.idle_connection_bytes,
            idle(),
        );
        let mut at_least = |workload: &str, what: &str, bound: f64, measured: Option<f64>| {
            if ran(workload) {
                verdicts.push(Verdict {
                    goal: format!("{workload} {what} ≥ {bound}"),
                    measured,
                    reached: measured.is_some_and(|measured| measured >= bound),
                });
            }
        };
        at_least(
            "W3",
            "throughput ratio",
            self.w3_throughput_ratio,
            throughput("W3"),
        );
        at_least(
            "w64",
            "requests per upstream write",
            self.w64_requests_per_write,
            own("w64").and_then(|row| row.requests_per_upstream_write),
        );
        verdicts
    }
}

/// The verdicts as text.
pub(crate) fn text(verdicts: &[Verdict]) -> String {
    verdicts
        .iter()
        .map(|verdict| {
            let mark = if verdict.reached { "pass" } else { "FAIL" };
            let measured = verdict.measured.map_or_else(
                || "not measured".to_owned(),
                |figure| format!("{figure:.2}"),
            );
            format!("{mark}  {:<44} {measured}\n", verdict.goal)
        })
        .collect()
}
