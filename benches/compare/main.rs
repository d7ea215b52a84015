//! The side-by-side comparison: ringroad, twemproxy, the floor, and a memcached without any router.
//!
//! `cargo bench --bench compare -- [options]` starts three real memcached, the routers in front of
//! them, and the load generator (`ringroad bench`) as a process of its own; puts all of them on one
//! core; runs every workload in turns, round by round; and prints medians and ratios. What the columns
//! mean and how to read them: `src/docs/benchmarks.md`.
//!
//! - `endpoints`, `configs`: what is compared. `mux`: the floor. `workloads`: under which load. `regime`: under
//!   which conditions.
//! - `run`: the turns. `probes`, `syscalls`, `memory`, `idle`: the single measurements.
//! - `results`: medians. `text`, `plots`: how they are shown. `targets`: what must be reached.
//! - `children`: every process started here ends with this program.

mod children;
mod configs;
mod endpoints;
mod idle;
mod memory;
mod mux;
mod plots;
mod probes;
mod regime;
mod results;
mod run;
mod syscalls;
mod targets;
mod text;
mod workloads;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use configs::Variant;
use endpoints::{Endpoint, Kind, Servers};
use regime::Regime;
use results::Results;
use run::Bench;
use syscalls::Counter;
use targets::{MEMORY, Targets};
use workloads::{Field, Workload};

/// Compare ringroad with twemproxy, with a bare multiplexer, and with memcached itself
///
/// Needs memcached and util-linux (taskset, chrt); nutcracker, perf or strace, and ss (iproute2) add
/// their columns where they are installed. Root, or an rtprio limit, allows SCHED_FIFO, without which figures
/// repeat less well.
#[derive(Debug, Parser)]
#[command(
    name = "compare",
    bin_name = "cargo bench --bench compare --",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Options {
    /// What this program is when it starts itself
    #[command(subcommand)]
    part: Option<Part>,

    /// What to compare, in this order: ringroad[=PATH], nutcracker[=PATH], mux, direct. Ratios are the
    /// first one's to each of the others
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    endpoints: Vec<Kind>,

    /// Only these workloads (and "memory"), by name; W5 is W5a and W5b
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

    /// The memcached to route to, instead of the one in PATH
    #[arg(long, value_name = "PATH")]
    memcached: Option<PathBuf>,

    /// Write a picture of each workload's result to this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,

    /// Do not count system calls (with perf or strace, in runs of their own)
    #[arg(long)]
    no_syscalls: bool,

    /// Judge the result by the project's targets, or by those in this TOML file
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

/// The parts that are processes of their own.
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The floor
    #[command(hide = true)]
    Mux(mux::Options),
    /// Clients that say nothing
    #[command(hide = true)]
    Idle(idle::Options),
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn wants_workload(&self, workload: &Workload) -> bool {
        if self.only.is_empty() {
            !workload.extra
        } else {
            self.only.iter().any(|name| workload.is_called(name))
        }
    }

    fn workloads(&self) -> impl Iterator<Item = &'static Workload> {
        workloads::ALL.iter().filter(|w| self.wants_workload(w))
    }

    fn seconds(&self) -> f64 {
        if self.smoke { 0.15 } else { self.seconds }
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
    let options = Options::parse();
    let done = match &options.part {
        Some(Part::Mux(options)) => mux::run(options).map(|()| true),
        Some(Part::Idle(options)) => idle::run(options).map(|()| true),
        None => compare(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if children::interrupted() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the whole comparison; `false` when something went wrong in it or a target was missed.
fn compare(options: &Options) -> Result<bool, String> {
    if !cfg!(target_os = "linux") {
        return Err("the comparison needs Linux: it reads CPU times from /proc".into());
    }
    check(options)?;
    let targets = match &options.targets {
        None => None,
        Some(path) => Some(Targets::read(path.as_deref())?),
    };
    let began = Instant::now();
    let (_guard, directory) =
        children::Guard::new().map_err(|error| format!("cannot begin: {error}"))?;
    let mut regime = Regime::find(options.core)?;
    // The children inherit it. Each client connection is one file on either side.
    let files = regime::raise_open_files(options.idle.max(10_000) as u64 + 1000);
    let memcached = options.memcached.as_deref();
    let servers = Servers::start(memcached, "memcached", &directory)?;
    let endpoints = start_all(options, &servers, &directory, &mut regime.notes)?;
    let wanted = wanted_variants(options);
    let others = if wanted.is_empty() {
        None
    } else {
        Some(Servers::start(memcached, "second", &directory)?)
    };
    let variants = start_variants(&wanted, &endpoints, &servers, others.as_ref(), &directory)?;
    let running = endpoints.iter().chain(variants.iter().map(|(_, e)| e));
    let second = others.iter().flat_map(|others| &others.pids);
    for pid in running.map(|e| &e.pid).chain(&servers.pids).chain(second) {
        regime.apply(*pid)?;
    }
    let counter = find_counter(options, &directory, &mut regime.notes);
    let mut results = Results {
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        machine: regime::processor(),
        core: regime.core,
        policy: regime.policy.to_string(),
        notes: regime.notes.clone(),
        rounds: options.rounds(),
        seconds: options.seconds(),
        ..Results::default()
    };
    say(options, &text::header(&results))?;
    let bench = Bench {
        options,
        regime,
        servers,
        others,
        endpoints,
        variants,
        counter,
        directory,
        files,
        began,
    };
    bench.fill()?;
    for workload in options.workloads() {
        let table = bench.workload(workload)?;
        say(options, &text::table(&table))?;
        results.tables.push(table);
    }
    if options.wants(MEMORY) {
        results.memory = bench.memory()?;
        say(options, &text::memory(&results.memory))?;
    }
    if let Some(targets) = targets {
        let ran = |name: &str| {
            let mut workloads = options.workloads();
            workloads.any(|w| w.name == name) || (name == MEMORY && options.wants(MEMORY))
        };
        results.targets = targets.judge(&results, ran);
        say(options, &text::targets(&results.targets))?;
    }
    if let Some(directory) = &options.plots {
        plots::write(&results, directory)?;
    }
    if options.json {
        let json = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        print(&(json + "\n"))?;
    }
    let clean = results.tables.iter().all(|table| table.problems.is_empty());
    let reached = |verdict: &targets::Verdict| verdict.reached != Some(false);
    Ok(clean && results.targets.iter().all(reached))
}

fn check(options: &Options) -> Result<(), String> {
    let known = |name: &str| {
        name == MEMORY
            || workloads::ALL
                .iter()
                .any(|workload| workload.is_called(name))
    };
    if let Some(name) = options.only.iter().find(|name| !known(name)) {
        let mut names: Vec<_> = workloads::ALL
            .iter()
            .map(|workload| workload.name)
            .collect();
        names.push(MEMORY);
        return Err(format!(
            "{name:?} is no workload; known are {}",
            names.join(" ")
        ));
    }
    if (0.01..=120.0).contains(&options.seconds) {
        Ok(())
    } else {
        Err("--seconds must be between 0.01 and 120".into())
    }
}

fn find_counter(options: &Options, directory: &Path, notes: &mut Vec<String>) -> Option<Counter> {
    if options.no_syscalls {
        return None;
    }
    let counter = Counter::find(directory);
    match counter {
        None => notes
            .push("neither perf nor strace works here: system calls are not counted".to_owned()),
        Some(Counter::Strace) => notes.push(
            "system calls are counted under strace, which makes for up to a tenth more".to_owned(),
        ),
        Some(Counter::Perf) => {}
    }
    counter
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
        kinds = vec![
            Kind::Ringroad(None),
            Kind::Nutcracker(None),
            Kind::Mux,
            Kind::Direct,
        ];
        if !children::has_program("nutcracker") {
            kinds.retain(|kind| !matches!(kind, Kind::Nutcracker(_)));
            notes.push("nutcracker is not installed: nothing is compared with it".to_owned());
        }
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for kind in &kinds {
        let same = endpoints.iter().filter(|e| e.kind.name() == kind.name());
        let name = match same.count() {
            0 => kind.name().to_owned(),
            n => format!("{}-{}", kind.name(), n + 1),
        };
        endpoints.push(Endpoint::start(kind, &name, servers, None, directory)?);
    }
    Ok(endpoints)
}

/// The variants of ringroad that the wanted workloads need.
fn wanted_variants(options: &Options) -> Vec<Variant> {
    let variant = |workload: &Workload| match workload.field {
        Field::Variant(variant) => Some(variant),
        _ => None,
    };
    options.workloads().filter_map(variant).collect()
}

fn start_variants(
    wanted: &[Variant],
    endpoints: &[Endpoint],
    servers: &Servers,
    others: Option<&Servers>,
    directory: &Path,
) -> Result<Vec<(Variant, Endpoint)>, String> {
    let program = endpoints.iter().find_map(|endpoint| match &endpoint.kind {
        Kind::Ringroad(path) => Some(path.clone()),
        _ => None,
    });
    let start = |variant: &Variant| {
        let kind = Kind::Variant(program.clone().flatten(), *variant);
        let endpoint = Endpoint::start(&kind, variant.name(), servers, others, directory)?;
        Ok((*variant, endpoint))
    };
    wanted.iter().map(start).collect()
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
