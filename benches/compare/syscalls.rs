//! How many system calls a router makes per request, and how many instructions it spends on one.
//!
//! Counted in runs of their own, as the difference between a longer and a shorter run, so that
//! connecting and starting cancel out.
//!
//! `perf` counts in the kernel and disturbs nothing; instructions only it can count, and only where the
//! processor's counters are to be had, which in a virtual machine they often are not. Where it may not count, strace has to do, which stops the
//! router at every call: meanwhile the others run on, batches come out smaller, and it makes up to a
//! tenth more calls than it otherwise would.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::children;
use crate::endpoints::Endpoint;
use crate::probes::{LIMIT, generate, generate_with};
use crate::regime::Regime;
use crate::workloads::Workload;

type Result<T> = std::result::Result<T, String>;

/// The event that `perf` counts: any system call.
const CALLS: &str = "raw_syscalls:sys_enter";
/// Instructions outside of the kernel.
const INSTRUCTIONS: &str = "instructions:u";
/// Both, as `perf` takes them.
const EVENTS: &str = "raw_syscalls:sys_enter,instructions:u";

/// What was counted in one run, or per request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    requests: f64,
    /// System calls.
    pub(crate) calls: f64,
    /// Instructions in user space; `None` where they cannot be counted.
    pub(crate) instructions: Option<f64>,
}

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    /// `perf stat`.
    Perf,
    /// `strace -c`.
    Strace,
}

impl Counter {
    /// The best counter that works here.
    pub(crate) fn find(directory: &Path) -> Option<Self> {
        let table = directory.join("perf-try");
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", EVENTS, "-o"])
            .arg(&table)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let counts = perf.status().is_ok_and(|status| status.success())
            && std::fs::read_to_string(table)
                .is_ok_and(|table| perf_count(&table, CALLS) > Some(0.0));
        if counts {
            Some(Self::Perf)
        } else {
            children::has_program("strace").then_some(Self::Strace)
        }
    }

    /// What `endpoint` spends per request under `workload`, from runs of `requests` and four times as many;
    /// `None` when the counter cannot attach.
    ///
    /// # Errors
    /// When the generator fails.
    pub(crate) fn per_request(
        self,
        regime: &Regime,
        endpoint: &Endpoint,
        workload: &Workload,
        requests: u64,
        directory: &Path,
    ) -> Result<Option<Counts>> {
        let count = |requests: u64| match self {
            Self::Perf => under_perf(regime, endpoint, workload, requests, directory),
            Self::Strace => under_strace(regime, endpoint, workload, requests, directory),
        };
        let (Some(few), Some(many)) = (count(requests)?, count(requests * 4)?) else {
            return Ok(None);
        };
        let requests = many.requests - few.requests;
        let instructions = many.instructions.zip(few.instructions);
        Ok((requests > 0.0).then(|| Counts {
            requests: 1.0,
            calls: (many.calls - few.calls) / requests,
            instructions: instructions.map(|(many, few)| (many - few) / requests),
        }))
    }
}

/// Requests answered and system calls made in one run; `perf` is the generator's parent and counts as
/// long as that lives.
fn under_perf(
    regime: &Regime,
    endpoint: &Endpoint,
    workload: &Workload,
    requests: u64,
    directory: &Path,
) -> Result<Option<Counts>> {
    let table = directory.join("perf");
    let mut command = children::command("perf");
    command
        .args(["stat", "-x", ",", "-e", EVENTS, "-o"])
        .arg(&table)
        .args(["-p", &endpoint.pid.to_string(), "--"]);
    let generator = regime.command(Path::new(env!("CARGO_BIN_EXE_ringroad")));
    command.arg(generator.get_program());
    command.args(generator.get_args());
    let number = requests.to_string();
    let mut options = workload.options.to_vec();
    options.extend(["--requests", &number]);
    let report = generate_with(command, endpoint, workload.keys, &options, &[])?;
    let table = std::fs::read_to_string(&table).map_err(|error| error.to_string())?;
    Ok(perf_count(&table, CALLS).map(|calls| Counts {
        requests: report.requests as f64,
        calls,
        instructions: perf_count(&table, INSTRUCTIONS),
    }))
}

/// The count of `event` in the output of `perf stat -x ,`: its first field, no number where it's not supported.
fn perf_count(table: &str, event: &str) -> Option<f64> {
    let line = table.lines().find(|line| line.contains(event))?;
    line.split(',').next()?.trim().parse().ok()
}

/// Requests answered and system calls made in one run with a strace attached.
fn under_strace(
    regime: &Regime,
    endpoint: &Endpoint,
    workload: &Workload,
    requests: u64,
    directory: &Path,
) -> Result<Option<Counts>> {
    let Some(tracer) = Tracer::attach(endpoint.pid, directory)? else {
        return Ok(None);
    };
    let number = requests.to_string();
    let mut options = workload.options.to_vec();
    options.extend(["--requests", &number]);
    let report = generate(regime, endpoint, workload.keys, &options, &[]);
    let calls = tracer.detach()?;
    Ok(Some(Counts {
        requests: report?.requests as f64,
        calls: calls as f64,
        instructions: None,
    }))
}

/// A strace that counts a process's system calls.
struct Tracer {
    pid: u32,
    table: PathBuf,
}

impl Tracer {
    fn attach(pid: u32, directory: &Path) -> Result<Option<Self>> {
        let table = directory.join("strace");
        let mut command = children::command("strace");
        command
            .args(["-c", "-f", "-o"])
            .arg(&table)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let Ok(tracer) = children::start(&mut command) else {
            return Ok(None);
        };
        // It says so on standard error when it has attached; when it may not, it ends.
        let attached = children::take_stderr(tracer)
            .and_then(|stderr| BufReader::new(stderr).lines().next()?.ok())
            .is_some_and(|line| line.contains("attached"));
        if attached {
            Ok(Some(Self { pid: tracer, table }))
        } else {
            children::kill(tracer);
            Ok(None)
        }
    }

    fn detach(self) -> Result<u64> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)
                .map_err(|error| format!("strace cannot be ended: {error}"))?;
        }
        children::wait(self.pid, LIMIT).map_err(|error| format!("strace: {error}"))?;
        let text = std::fs::read_to_string(&self.table).map_err(|error| error.to_string())?;
        Ok(count_calls(&text))
    }
}

/// The sum of the column `calls` in a table of `strace -c`.
fn count_calls(table: &str) -> u64 {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields.last() == Some(&"total") {
                return None;
            }
            fields.get(3)?.parse::<u64>().ok()
        })
        .sum()
}
