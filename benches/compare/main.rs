//! The side-by-side comparison: ringroad, twemproxy, and a memcached without any router.
//!
//! `cargo bench --bench compare -- [options]` starts three real memcached, the routers in front of
//! them, and the load generator (`ringroad bench`) as a process of its own; puts all of them on one
//! core; runs every workload in turns, round by round; and prints medians and ratios. What the columns
//! mean and how to read them: `src/docs/benchmarks.md`.
//!
//! - `endpoints`: what is compared. `workloads`: under which load. `regime`: under which conditions.
//! - `probes`, `syscalls`: the single measurements. `results`: medians and tables. `goals`: what must be reached.
//! - `children`: every process started here ends with this program.

mod children;
mod endpoints;
mod goals;
mod probes;
mod regime;
mod results;
mod syscalls;
mod workloads;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use endpoints::{Endpoint, Kind, Servers};
use goals::Goals;
use regime::Regime;
use results::{MemoryRow, Results, Row, Sample, Table};
use syscalls::Counter;
use workloads::{KeySet, Workload};

/// Compare ringroad with twemproxy and with memcached itself
///
/// Needs memcached and util-linux (taskset, chrt); nutcracker, perf or strace, and ss (iproute2) add
/// their columns where they are installed. Root, or an rtprio limit, allows SCHED_FIFO, without which figures
/// repeat less well.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --")]
struct Options {
    /// What to compare, in this order: ringroad[=PATH], nutcracker[=PATH], direct. Ratios are the first
    /// router's to the second's
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    endpoints: Vec<Kind>,

    /// Only these workloads (and "memory"), by name
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,

    /// Rounds; the figures are their medians
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Seconds per measurement
    #[arg(long, value_name = "S", default_value = "2")]
    seconds: f64,

    /// The core everything measured runs on; by default the last one
    #[arg(long, value_name = "N")]
    core: Option<usize>,

    /// Client connections for the memory measurement
    #[arg(long, value_name = "N", default_value = "10000")]
    idle: usize,

    /// Do not count system calls (with perf or strace, in runs of their own)
    #[arg(long)]
    no_syscalls: bool,

    /// Judge the result against the project's goals, or against those in this TOML file
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    targets: Option<Option<PathBuf>>,

    /// One short round of everything: shows that it works, measures nothing
    #[arg(long)]
    smoke: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,

    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn seconds(&self) -> f64 {
        if self.smoke { 0.3 } else { self.seconds }
    }

    fn rounds(&self) -> usize {
        if self.smoke { 1 } else { self.rounds.into() }
    }
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this too, without any argument; there is nothing to test.
    if std::env::args_os().len() == 1 {
        println!("nothing is compared without options; use: cargo bench --bench compare");
        return ExitCode::SUCCESS;
    }
    match compare(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if children::interrupted() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the whole comparison; `false` when something went wrong in it or a goal was missed.
fn compare(options: &Options) -> Result<bool, String> {
    if !cfg!(target_os = "linux") {
        return Err("the comparison needs Linux: it reads CPU times from /proc".into());
    }
    check_names(options)?;
    let goals = match &options.targets {
        None => None,
        Some(None) => Some(Goals::default()),
        Some(Some(path)) => Some(Goals::read(path)?),
    };
    let (_guard, directory) =
        children::Guard::new().map_err(|error| format!("cannot begin: {error}"))?;
    let mut regime = Regime::find(options.core)?;
    // The children inherit it. Each client connection is one file on either side.
    let files = regime::raise_open_files(options.idle as u64 + 1000);
    let servers = Servers::start(&directory)?;
    let endpoints = start_all(options, &servers, &directory, &mut regime.notes)?;
    for pid in endpoints
        .iter()
        .map(|e| e.pid)
        .chain(servers.pids.iter().copied())
    {
        regime.apply(pid)?;
    }
    let counter = match Counter::find(&directory) {
        _ if options.no_syscalls => None,
        None => {
            regime.notes.push(
                "neither perf nor strace works here: system calls are not counted".to_owned(),
            );
            None
        }
        Some(Counter::Strace) => {
            regime.notes.push(
                "system calls are counted under strace, which makes for up to a tenth more"
                    .to_owned(),
            );
            Some(Counter::Strace)
        }
        perf => perf,
    };
    let mut routers = endpoints.iter().filter(|endpoint| endpoint.is_router());
    let mut results = Results {
        ratio_of: routers
            .next()
            .zip(routers.next())
            .map(|(subject, rival)| (subject.name.clone(), rival.name.clone())),
        core: regime.core,
        policy: regime.policy.to_string(),
        notes: regime.notes.clone(),
        rounds: options.rounds(),
        ..Results::default()
    };
    say(options, &header(&results))?;
    let bench = Bench {
        options,
        regime,
        servers,
        endpoints,
        counter,
        directory,
    };
    bench.fill()?;
    for workload in workloads::ALL.iter().filter(|w| options.wants(w.name)) {
        let table = bench.workload(workload)?;
        say(options, &results::table_text(&results, &table))?;
        results.tables.push(table);
    }
    if options.wants("memory") {
        results.memory = bench.memory(files)?;
        say(options, &results::memory_text(&results.memory))?;
    }
    if let Some(goals) = goals {
        results.goals = goals.judge(&results, |name| options.wants(name));
        say(options, &format!("\n{}", goals::text(&results.goals)))?;
    }
    if options.json {
        let json = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        print(&(json + "\n"))?;
    }
    let clean = results.tables.iter().all(|table| table.problems.is_empty());
    Ok(clean && results.goals.iter().all(|goal| goal.reached))
}

fn check_names(options: &Options) -> Result<(), String> {
    let mut known: Vec<_> = workloads::ALL
        .iter()
        .map(|workload| workload.name)
        .collect();
    known.push("memory");
    match options
        .only
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        Some(name) => Err(format!(
            "{name:?} is no workload; known are {}",
            known.join(" ")
        )),
        None if !(0.01..=120.0).contains(&options.seconds) => {
            Err("--seconds must be between 0.01 and 120".into())
        }
        None => Ok(()),
    }
}

/// Starts what is to be compared. By default that includes nutcracker only where it is installed.
fn start_all(
    options: &Options,
    servers: &Servers,
    directory: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Endpoint>, String> {
    let mut kinds = options.endpoints.clone();
    if kinds.is_empty() {
        kinds = vec![Kind::Ringroad(None), Kind::Nutcracker(None), Kind::Direct];
        if !children::has_program("nutcracker") {
            kinds.retain(|kind| !matches!(kind, Kind::Nutcracker(_)));
            notes.push("nutcracker is not installed: no ratios".to_owned());
        }
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for kind in &kinds {
        let same = endpoints.iter().filter(|e| e.kind.name() == kind.name());
        let name = match same.count() {
            0 => kind.name().to_owned(),
            n => format!("{}-{}", kind.name(), n + 1),
        };
        endpoints.push(Endpoint::start(kind, &name, servers, directory)?);
    }
    Ok(endpoints)
}

fn header(results: &Results) -> String {
    let mut text = format!(
        "All on core {} under {}; medians of {} rounds in turns; µs per request\n",
        results.core, results.policy, results.rounds
    );
    for note in &results.notes {
        text += &format!("Note: {note}\n");
    }
    text
}

/// Prints what is for people only.
fn say(options: &Options, text: &str) -> Result<(), String> {
    if options.json { Ok(()) } else { print(text) }
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot print the result: {error}"))
}

/// Everything that runs.
struct Bench<'a> {
    options: &'a Options,
    regime: Regime,
    servers: Servers,
    endpoints: Vec<Endpoint>,
    counter: Option<Counter>,
    directory: PathBuf,
}

impl Bench<'_> {
    /// Stores every key that will be read, through every endpoint.
    fn fill(&self) -> Result<(), String> {
        let used = |keys: KeySet| {
            let mut workloads = workloads::ALL.iter();
            workloads.any(|w| w.keys == keys && self.options.wants(w.name))
        };
        for keys in KeySet::ALL.into_iter().filter(|keys| used(*keys)) {
            for endpoint in &self.endpoints {
                let options = ["--prefill", "-c", "4", "-n", "1"];
                let report = probes::generate(&self.regime, endpoint, keys, &options, &[])?;
                let stored = report.prefill.as_ref();
                if stored.is_none_or(|prefill| prefill.stored < prefill.keys) {
                    return Err(format!(
                        "{} did not store all keys: {stored:?}",
                        endpoint.name
                    ));
                }
            }
        }
        Ok(())
    }

    fn workload(&self, workload: &Workload) -> Result<Table, String> {
        let seconds = self.options.seconds();
        let duration = format!("{seconds}s");
        let warm_up = format!("{}s", (seconds / 5.0).min(0.5));
        let mut options = workload.options.to_vec();
        options.extend(["--duration", &duration, "--warm-up", &warm_up]);
        let mut problems = Vec::new();
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); self.endpoints.len()];
        for round in 1..=self.options.rounds() {
            let mut line = format!("{} round {round}:", workload.name);
            for (endpoint, samples) in self.endpoints.iter().zip(&mut samples) {
                let mut pids = vec![endpoint.pid];
                if endpoint.is_router() {
                    pids.extend(&self.servers.pids);
                }
                let segments = || probes::upstream_segments(endpoint.pid, &self.servers);
                let before = segments();
                let report =
                    probes::generate(&self.regime, endpoint, workload.keys, &options, &pids)?;
                let written = segments()
                    .zip(before)
                    .and_then(|(after, before)| after.checked_sub(before));
                for problem in results::problems(&report) {
                    problems.push(format!("{}, round {round}: {problem}", endpoint.name));
                }
                let sample = Sample::new(&report, written)?;
                line += &format!("  {} {:.2} µs", endpoint.name, sample.cpu_us());
                samples.push(sample);
            }
            eprintln!("{line}");
        }
        let mut rows = Vec::new();
        for (endpoint, samples) in self.endpoints.iter().zip(&samples) {
            let row = Row::new(endpoint.name.clone(), samples, endpoint.is_router());
            let mut row = row.ok_or("nothing was measured")?;
            row.syscalls = self.syscalls(workload, endpoint)?;
            rows.push(row);
        }
        Ok(Table {
            workload: workload.name.to_owned(),
            about: workload.about.to_owned(),
            rows,
            problems,
        })
    }

    fn syscalls(&self, workload: &Workload, endpoint: &Endpoint) -> Result<Option<f64>, String> {
        // It takes longest of all; once shows that it works.
        let again = self.options.smoke && workload.name != "W1";
        let Some(counter) = self.counter.filter(|_| endpoint.is_router() && !again) else {
            return Ok(None);
        };
        let requests = if self.options.smoke {
            workload.traced / 10
        } else {
            workload.traced
        };
        counter.per_request(&self.regime, endpoint, workload, requests, &self.directory)
    }

    /// Measures each router's memory on a fresh process of its own.
    fn memory(&self, files: u64) -> Result<Vec<MemoryRow>, String> {
        let most = usize::try_from(files.saturating_sub(500)).unwrap_or(usize::MAX);
        let wanted = if self.options.smoke {
            self.options.idle.min(500)
        } else {
            self.options.idle
        };
        let connections = wanted.min(most);
        if connections < wanted {
            eprintln!("only {connections} connections: the limit of open files is {files}");
        }
        let mut rows = Vec::new();
        for endpoint in self.endpoints.iter().filter(|e| e.is_router()) {
            let name = format!("{}-memory", endpoint.name);
            let fresh = Endpoint::start(&endpoint.kind, &name, &self.servers, &self.directory)?;
            let memory = probes::memory(&fresh, connections)?;
            children::kill(fresh.pid);
            rows.push(MemoryRow::new(endpoint.name.clone(), &memory));
        }
        Ok(rows)
    }
}
