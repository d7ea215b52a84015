//! Single measurements: one run of the generator, and requests per upstream write. (System calls and memory
//! have modules of their own.)
//!
//! Upstream writes are counted by the kernel, as data segments on the router's server connections: with
//! `TCP_NODELAY` on loopback a write of less than 64 KiB is one segment, and counting costs the router
//! nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringroad::bench::Report;

use crate::children;
use crate::endpoints::{Endpoint, Servers};
use crate::regime::Regime;
use crate::workloads::KeySet;

type Result<T> = std::result::Result<T, String>;

/// How long any single run of the generator or of a tool may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Runs the generator, in a process of its own under the regime, against `endpoint`.
///
/// # Errors
/// When it fails; its own message is on standard error.
pub(crate) fn generate(
    regime: &Regime,
    endpoint: &Endpoint,
    keys: KeySet,
    options: &[&str],
    pids: &[u32],
) -> Result<Report> {
    let command = regime.command(Path::new(env!("CARGO_BIN_EXE_ringroad")));
    generate_with(command, endpoint, keys, options, pids)
}

/// As [`generate`]; `command` starts the generator's program, and its arguments are added to it.
///
/// # Errors
/// As [`generate`].
pub(crate) fn generate_with(
    mut command: Command,
    endpoint: &Endpoint,
    keys: KeySet,
    options: &[&str],
    pids: &[u32],
) -> Result<Report> {
    command
        .args(["bench", "--json", "--target"])
        .arg(format!("127.0.0.1:{}", endpoint.port))
        .args(keys.options())
        .args(options)
        .stdin(Stdio::null());
    for pid in pids {
        command.args(["--pid", &pid.to_string()]);
    }
    let (status, out) = children::run(&mut command, LIMIT)
        .map_err(|error| format!("the generator against {}: {error}", endpoint.name))?;
    if !status.success() {
        return Err(format!(
            "the generator failed against {} ({status})",
            endpoint.name
        ));
    }
    serde_json::from_slice(&out)
        .map_err(|error| format!("the generator's result against {}: {error}", endpoint.name))
}

/// Data segments that process `pid` has sent to the servers on its present connections; `None` without
/// `ss`, or when it shows none of them.
pub(crate) fn upstream_segments(pid: u32, servers: &Servers) -> Option<u64> {
    let ports: Vec<_> = servers
        .ports
        .iter()
        .map(|port| format!("dport = :{port}"))
        .collect();
    let output = Command::new("ss")
        .args(["-HtinpO", "state", "established"])
        .arg(format!("( {} )", ports.join(" or ")))
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    segments(&text, pid)
}

/// The sum of `data_segs_out` over the lines of `ss` that name process `pid`.
fn segments(text: &str, pid: u32) -> Option<u64> {
    let owner = format!("pid={pid},");
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&owner)).collect();
    let sent = lines.iter().map(|line| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix("data_segs_out:")?.parse::<u64>().ok())
            // A connection that has not sent anything shows no such field.
            .unwrap_or(0)
    });
    (!lines.is_empty()).then(|| sent.sum())
}
