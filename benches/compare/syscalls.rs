//! How many system calls a router makes per request.
//!
//! Counted in runs of their own, as the difference between a longer and a shorter run, so that
//! connecting and starting cancel out.
//!
//! `perf` counts in the kernel and disturbs nothing. Where it may not, strace has to do, which stops the
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
const EVENT: &str = "raw_syscalls:sys_enter";

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
        perf.args(["stat", "-x", ",", "-e", EVENT, "-o"])
            .arg(&table)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let counts = perf.status().is_ok_and(|status| status.success())
            && std::fs::read_to_string(table).is_ok_and(|table| perf_count(&table) > Some(0));
        if counts {
            Some(Self::Perf)
        } else {
            children::has_program("strace").then_some(Self::Strace)
        }
    }

    /// System calls of `endpoint` per request under `workload`, from runs of `requests` and four times
    /// as many; `None` when the counter cannot attach.
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
    ) -> Result<Option<f64>> {
        let count = |requests: u64| match self {
            Self::Perf => under_perf(regime, endpoint, workload, requests, directory),
            Self::Strace => under_strace(regime, endpoint, workload, requests, directory),
        };
        let (Some((few, few_calls)), Some((many, many_calls))) =
            (count(requests)?, count(requests * 4)?)
        else {
            return Ok(None);
        };
        let requests = many.saturating_sub(few) as f64;
        let calls = many_calls.saturating_sub(few_calls) as f64;
        Ok((requests > 0.0).then(|| calls / requests))
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
) -> Result<Option<(u64, u64)>> {
    let table = directory.join("perf");
    let mut command = children::command("perf");
    command
        .args(["stat", "-x", ",", "-e", EVENT, "-o"])
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
    Ok(perf_count(&table).map(|calls| (report.requests, calls)))
}

/// The count in the output of `perf stat -x ,`: its first field.
fn perf_count(table: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.trim().parse().ok()
}

/// Requests answered and system calls made in one run with a strace attached.
fn under_strace(
    regime: &Regime,
    endpoint: &Endpoint,
    workload: &Workload,
    requests: u64,
    directory: &Path,
) -> Result<Option<(u64, u64)>> {
    let Some(tracer) = Tracer::attach(endpoint.pid, directory)? else {
        return Ok(None);
    };
    let number = requests.to_string();
    let mut options = workload.options.to_vec();
    options.extend(["--requests", &number]);
    let report = generate(regime, endpoint, workload.keys, &options, &[]);
    let calls = tracer.detach()?;
    Ok(Some((report?.requests, calls)))
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
