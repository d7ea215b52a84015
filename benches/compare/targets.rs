//! What ringroad must reach, and whether it did.
//!
//! The targets are `targets.toml`, which is built in; a file of the same form may set others. Nearly all are
//! ratios within the run, which hold on any machine. A figure that was not measured (a rival that is not
//! installed, a counter that the machine lacks) is neither a pass nor a failure, and shown as such.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::results::{MemoryRow, Results, Row, Table};
use crate::workloads;

/// The targets that are built in.
const DEFAULT: &str = include_str!("targets.toml");
/// The section about memory, which is no workload.
pub(crate) const MEMORY: &str = "memory";

/// twemproxy's figure ÷ mcrouter's, by workload: what ringroad's ratio to twemproxy in this run is multiplied
/// with, since hardly a machine has mcrouter.
///
/// Measured by us with both beside each other, in the same way (one core, SCHED_FIFO, medians of 5 rounds in
/// turns; of 10 for W7): mcrouter 0.36 with jemalloc and one proxy thread, nutcracker 0.5 with
/// `server_connections: 1`, three memcached 1.6.18. CPU µs per request, requests per second, added µs.
const MCROUTER: &[(&str, What, f64, f64)] = &[
    ("W1", What::Cpu, 6.96, 8.16),
    ("W1", What::Throughput, 56_000.0, 51_000.0),
    ("W1c500", What::Cpu, 7.99, 9.16),
    ("W2", What::Cpu, 7.00, 8.13),
    ("W3", What::Cpu, 1.80, 3.60),
    ("W4", What::Cpu, 15.15, 60.2),
    ("W5a", What::Cpu, 20.0, 21.1),
    ("W5b", What::Cpu, 165.0, 188.0),
    ("W7", What::AddedLatency, 59.4 - 33.6, 62.2 - 33.6),
];

/// A figure of two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Cpu,
    Throughput,
    AddedLatency,
}

/// What a figure is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rival {
    Nutcracker,
    Mux,
    Direct,
    Mcrouter,
    Own,
}

/// What has a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Ratio(What, Rival),
    Syscalls,
    Instructions,
    Memory(&'static str),
}

const WHATS: [(&str, What, &str); 3] = [
    ("cpu", What::Cpu, "CPU time"),
    ("throughput", What::Throughput, "requests/s"),
    ("added_latency", What::AddedLatency, "added latency"),
];

const RIVALS: [(&str, Rival); 5] = [
    ("nutcracker", Rival::Nutcracker),
    ("mux", Rival::Mux),
    ("direct", Rival::Direct),
    ("mcrouter", Rival::Mcrouter),
    ("own", Rival::Own),
];

/// Key, text, and where the figure is.
type MemoryFigure = (&'static str, &'static str, fn(&MemoryRow) -> f64);

const MEMORY_FIGURES: [MemoryFigure; 5] = [
    ("empty_mb", "MB of an empty process", |row| row.empty_mb),
    ("idle_bytes", "bytes per idle connection", |row| {
        row.idle_bytes
    }),
    ("get_bytes", "bytes per connection after a get", |row| {
        row.get_bytes
    }),
    (
        "large_bytes",
        "bytes per connection after a 64 KiB reply",
        |row| row.large_bytes,
    ),
    ("closed_bytes", "bytes kept per closed connection", |row| {
        row.closed_bytes
    }),
];

impl Figure {
    /// The figure that a key of section `section` names.
    fn named(section: &str, key: &str) -> Result<Self, String> {
        if section == MEMORY {
            let mut known = MEMORY_FIGURES.iter().map(|(name, ..)| *name);
            return known
                .find(|name| *name == key)
                .map(Self::Memory)
                .ok_or_else(|| {
                    format!(
                        "[memory] has no {key:?}; known are {}",
                        MEMORY_FIGURES.map(|(name, ..)| name).join(" ")
                    )
                });
        }
        match key {
            "syscalls" => return Ok(Self::Syscalls),
            "instructions" => return Ok(Self::Instructions),
            _ => {}
        }
        let ratio = key.split_once("_vs_").and_then(|(what, rival)| {
            let (_, what, _) = WHATS.iter().find(|(name, ..)| *name == what)?;
            let (_, rival) = RIVALS.iter().find(|(name, _)| *name == rival)?;
            Some(Self::Ratio(*what, *rival))
        });
        ratio.ok_or_else(|| {
            format!(
                "[{section}] {key:?} is no figure; known are syscalls, instructions, and A_vs_B with A one of {} and B one of {}",
                WHATS.map(|(name, ..)| name).join(" "),
                RIVALS.map(|(name, _)| name).join(" ")
            )
        })
    }

    /// Whether more is better.
    fn at_least(self) -> bool {
        matches!(self, Self::Ratio(What::Throughput, _))
    }

    fn about(self) -> String {
        match self {
            Self::Syscalls => "system calls per request".to_owned(),
            Self::Instructions => "instructions per request".to_owned(),
            Self::Memory(name) => MEMORY_FIGURES
                .iter()
                .find(|(known, ..)| *known == name)
                .map_or(name, |(_, about, _)| *about)
                .to_owned(),
            Self::Ratio(what, rival) => {
                let about = WHATS.iter().find(|(_, known, _)| *known == what);
                let rival_name = RIVALS.iter().find(|(_, known)| *known == rival);
                format!(
                    "{} ÷ {}",
                    about.map_or("", |(_, _, about)| about),
                    match (rival, rival_name) {
                        (Rival::Own, _) => "plain ringroad",
                        (Rival::Mcrouter, _) => "mcrouter 0.36 (by way of nutcracker)",
                        (_, name) => name.map_or("", |(name, _)| name),
                    }
                )
            }
        }
    }
}

/// The bounds: by workload, then by figure.
#[derive(Debug, Clone)]
pub(crate) struct Targets(BTreeMap<String, BTreeMap<Figure, f64>>);

/// Whether a target was reached.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// Under which workload.
    pub(crate) workload: String,
    /// What has a bound.
    pub(crate) figure: String,
    /// The bound.
    pub(crate) bound: f64,
    /// Whether it's to be reached from above; at most the bound, otherwise.
    pub(crate) at_least: bool,
    /// What was measured; `None` when it was not.
    pub(crate) measured: Option<f64>,
    /// Whether that is enough; `None` when it was not measured.
    pub(crate) reached: Option<bool>,
}

impl Targets {
    /// The targets that are built in, or those of a file of the same form in the place of all of them.
    ///
    /// # Errors
    /// When the file cannot be read, or has something that is no bound of a known figure; says where.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Self::parse(DEFAULT);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let sections: BTreeMap<String, BTreeMap<String, f64>> =
            toml::from_str(text).map_err(|error| error.to_string())?;
        let mut targets = BTreeMap::new();
        for (section, bounds) in sections {
            let known = section == MEMORY || workloads::ALL.iter().any(|w| w.name == section);
            if !known {
                return Err(format!("[{section}] is no workload"));
            }
            let figures = bounds
                .into_iter()
                .map(|(key, bound)| Ok((Figure::named(&section, &key)?, bound)))
                .collect::<Result<_, String>>()?;
            targets.insert(section, figures);
        }
        Ok(Self(targets))
    }

    /// Judges `results`; targets of workloads that are not among `ran` are left out.
    pub(crate) fn judge(&self, results: &Results, ran: impl Fn(&str) -> bool) -> Vec<Verdict> {
        let order = workloads::ALL.iter().map(|workload| workload.name);
        let mut verdicts = Vec::new();
        for workload in order.chain([MEMORY]).filter(|name| ran(name)) {
            for (figure, bound) in self.0.get(workload).into_iter().flatten() {
                let measured = measured(results, workload, *figure);
                let at_least = figure.at_least();
                verdicts.push(Verdict {
                    workload: workload.to_owned(),
                    figure: figure.about(),
                    bound: *bound,
                    at_least,
                    measured,
                    reached: measured.map(|figure| {
                        if at_least {
                            figure >= *bound
                        } else {
                            figure <= *bound
                        }
                    }),
                });
            }
        }
        verdicts
    }
}

/// The figure that `figure` means under `workload`.
fn measured(results: &Results, workload: &str, figure: Figure) -> Option<f64> {
    if let Figure::Memory(name) = figure {
        let row = results
            .memory
            .iter()
            .find(|row| row.endpoint == "ringroad")?;
        let (.., get) = MEMORY_FIGURES.iter().find(|(known, ..)| *known == name)?;
        return Some(get(row));
    }
    let table = results.table(workload)?;
    let ringroad = table.row("ringroad")?;
    match figure {
        Figure::Syscalls => ringroad.syscalls,
        Figure::Instructions => ringroad.instructions,
        Figure::Ratio(what, Rival::Mcrouter) => {
            let ratio = ratio(table, ringroad, what, "nutcracker")?;
            let known = MCROUTER
                .iter()
                .find(|row| (row.0, row.1) == (workload, what));
            known.map(|(_, _, nutcracker, mcrouter)| ratio * nutcracker / mcrouter)
        }
        Figure::Ratio(what, Rival::Own) => {
            ratio(table, table.row(&table.subject)?, what, "ringroad")
        }
        Figure::Ratio(what, rival) => {
            let (name, _) = RIVALS.iter().find(|(_, known)| *known == rival)?;
            ratio(table, ringroad, what, name)
        }
        Figure::Memory(_) => None,
    }
}

fn ratio(table: &Table, ringroad: &Row, what: What, rival: &str) -> Option<f64> {
    Some(value(ringroad, what)? / value(table.row(rival)?, what)?)
}

fn value(row: &Row, what: What) -> Option<f64> {
    match what {
        What::Cpu => Some(row.cpu_us),
        What::Throughput => Some(row.requests_per_s),
        What::AddedLatency => row.added_us,
    }
}
