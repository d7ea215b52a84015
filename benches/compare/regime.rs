//! The conditions under which everything is measured: all processes on one core, under SCHED_FIFO.
//!
//! On one core no wake-up crosses cores, whose price would hide everything else; under SCHED_FIFO a
//! process runs until it has nothing more to do, so that the turns of generator, router and servers
//! follow each other in the same way in every run. Where the user may not set that, SCHED_BATCH comes
//! nearest, and the result says so.
//!
//! `chrt` and `taskset` (util-linux) do the setting: no system call interface of our own is needed.

use std::fmt;
use std::process::{Command, Stdio};

use crate::children;

/// The scheduling policy that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// SCHED_FIFO, as wanted.
    Fifo,
    /// SCHED_BATCH: SCHED_FIFO is not permitted.
    Batch,
    /// Neither could be set.
    Default,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "SCHED_FIFO",
            Self::Batch => "SCHED_BATCH",
            Self::Default => "the default policy",
        })
    }
}

/// One core and one policy.
#[derive(Debug, Clone)]
pub(crate) struct Regime {
    /// The core everything measured runs on.
    pub(crate) core: usize,
    /// How it is scheduled there.
    pub(crate) policy: Policy,
    /// What the reader of the result must know; empty when all is as wanted.
    pub(crate) notes: Vec<String>,
}

impl Regime {
    /// Finds out what this user may set. `core` is the user's choice; otherwise the last one allowed.
    ///
    /// # Errors
    /// When `taskset` is missing, or `core` is not one of this process's.
    pub(crate) fn find(core: Option<usize>) -> Result<Self, String> {
        let allowed = allowed_cores();
        let last = allowed
            .last()
            .copied()
            .ok_or("cannot tell which cores this process may use (/proc/self/status)")?;
        let core = core.unwrap_or(last);
        if !allowed.contains(&core) {
            return Err(format!(
                "core {core} is not available; this process may use {allowed:?}"
            ));
        }
        if !succeeds(Command::new("taskset").args(["-c", &core.to_string(), "true"])) {
            return Err("taskset does not work; install util-linux".into());
        }
        let mut notes = Vec::new();
        let policy = if succeeds(Command::new("chrt").args(["-f", "10", "true"])) {
            Policy::Fifo
        } else if succeeds(Command::new("chrt").args(["-b", "0", "true"])) {
            notes.push(
                "SCHED_FIFO is not permitted (root, or an rtprio limit, would allow it): \
                 SCHED_BATCH is used, and figures repeat less well"
                    .to_owned(),
            );
            Policy::Batch
        } else {
            notes.push("no scheduling policy could be set: figures repeat badly".to_owned());
            Policy::Default
        };
        if allowed.len() == 1 {
            notes.push("there is only one core, which this program shares too".to_owned());
        } else if let Some(other) = allowed.iter().find(|other| **other != core) {
            // This program and the tools it calls keep off the measured core.
            let me = std::process::id().to_string();
            let pinned =
                succeeds(Command::new("taskset").args(["-a", "-c", "-p", &other.to_string(), &me]));
            if !pinned {
                notes.push("this program could not be moved off the measured core".to_owned());
            }
        }
        Ok(Self {
            core,
            policy,
            notes,
        })
    }

    /// Puts a running process, with all its threads, under the regime.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn apply(&self, pid: u32) -> Result<(), String> {
        let pid = pid.to_string();
        let pinned = succeeds(Command::new("taskset").args([
            "-a",
            "-c",
            "-p",
            &self.core.to_string(),
            &pid,
        ]));
        let scheduled = match self.policy {
            Policy::Fifo => succeeds(Command::new("chrt").args(["-a", "-f", "-p", "10", &pid])),
            Policy::Batch => succeeds(Command::new("chrt").args(["-a", "-b", "-p", "0", &pid])),
            Policy::Default => true,
        };
        if pinned && scheduled {
            Ok(())
        } else {
            Err(format!(
                "process {pid} cannot be put on core {} under {}",
                self.core, self.policy
            ))
        }
    }

    /// A command that runs `program` under the regime from its start.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = children::command("taskset");
        command.args(["-c", &self.core.to_string()]);
        match self.policy {
            Policy::Fifo => command.args(["chrt", "-f", "10"]),
            Policy::Batch => command.args(["chrt", "-b", "0"]),
            Policy::Default => &mut command,
        };
        command.arg(program);
        command
    }
}

/// The processor's name, as the system tells it.
pub(crate) fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |(_, name)| name.trim().to_owned(),
        )
}

/// The cores this process may use, in order.
fn allowed_cores() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or_default();
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Raises the limit of open files of this process, and so of its children, to `wanted` or as far as
/// permitted; gives what it is then.
pub(crate) fn raise_open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    let limit = |current: u64, maximum: u64| Rlimit {
        current: Some(current),
        maximum: Some(maximum),
    };
    // Only root may raise the hard limit; everyone may go up to it.
    if hard < wanted && setrlimit(Resource::Nofile, limit(wanted, wanted)).is_ok() {
        return wanted;
    }
    let most = wanted.min(hard);
    if now.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: now.maximum,
        };
        let _ = setrlimit(Resource::Nofile, raised);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
