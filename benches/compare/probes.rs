//! Single measurements: one run of the generator, requests per upstream write, memory per connection.
//! (System calls have a module of their own.)
//!
//! Upstream writes are counted by the kernel, as data segments on the router's server connections: with
//! `TCP_NODELAY` on loopback a write of less than 64 KiB is one segment, and counting costs the router
//! nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// Memory of `endpoint`, a fresh process, with many client connections.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Connections that were open.
    pub(crate) connections: usize,
    /// Resident bytes before the first.
    pub(crate) empty: u64,
    /// Additional resident bytes per connection that has done nothing.
    pub(crate) idle: f64,
    /// The same after one get on each.
    pub(crate) used: f64,
}

/// Opens `connections` connections to `endpoint` and measures what they cost it.
///
/// # Errors
/// When it does not take or answer them all in time.
pub(crate) fn memory(endpoint: &Endpoint, connections: usize) -> Result<Memory> {
    let failed = |what: &str, error: std::io::Error| format!("{} {what}: {error}", endpoint.name);
    let empty = settled_memory(endpoint.pid)?;
    // By now the connection that found it ready is closed on its side too.
    let before = open_files(endpoint.pid);
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.port))
            .map_err(|error| failed("refuses a connection", error))?;
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .map_err(|error| failed("connection", error))?;
        clients.push(client);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while open_files(endpoint.pid) < before + connections {
        if Instant::now() > deadline {
            return Err(format!(
                "{} has accepted only {} of {connections} connections",
                endpoint.name,
                open_files(endpoint.pid).saturating_sub(before)
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let idle = settled_memory(endpoint.pid)?;
    for client in &mut clients {
        let mut reply = [0; 5];
        client
            .write_all(b"get ringroad-compare-idle\r\n")
            .and_then(|()| client.read_exact(&mut reply))
            .map_err(|error| failed("does not answer", error))?;
    }
    let used = settled_memory(endpoint.pid)?;
    for client in &clients {
        // Reset instead of closed: thousands of ports in TIME_WAIT would stand in the next run's way.
        let _ = socket2::SockRef::from(client).set_linger(Some(Duration::ZERO));
    }
    let each = |now: u64| (now as f64 - empty as f64) / connections as f64;
    Ok(Memory {
        connections,
        empty,
        idle: each(idle),
        used: each(used),
    })
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident bytes of `pid` once they stop changing.
fn settled_memory(pid: u32) -> Result<u64> {
    const LOOKS: usize = 50;
    let mut last = resident(pid)?;
    let mut same = 0;
    for _ in 0..LOOKS {
        std::thread::sleep(Duration::from_millis(50));
        let now = resident(pid)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == 3 {
            break;
        }
    }
    Ok(last)
}

fn resident(pid: u32) -> Result<u64> {
    // The roll-up is exact; the status file lags behind by some pages per thread.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let (text, field) = match read("smaps_rollup") {
        Ok(text) => (text, "Rss:"),
        Err(_) => (
            read("status").map_err(|error| format!("memory of process {pid}: {error}"))?,
            "VmRSS:",
        ),
    };
    text.lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| format!("memory of process {pid}: no {field}"))
}
