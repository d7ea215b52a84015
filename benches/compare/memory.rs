//! What a client connection costs a router in memory, and whether it gives that back.
//!
//! Measured on a fresh process: the resident bytes before the first connection, with many that have done
//! nothing, after a small get on each, after a get of 64 KiB on each (one after the other, so that what is
//! counted is what stays behind), and after all of them have left.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::endpoints::Endpoint;
use crate::idle;

type Result<T> = std::result::Result<T, String>;

/// The large value, in bytes.
const VALUE: usize = 64 * 1024;

/// Memory of a router with many client connections.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Connections that were open.
    pub(crate) connections: usize,
    /// Resident bytes before the first.
    pub(crate) empty: u64,
    /// Additional resident bytes per connection that has done nothing.
    pub(crate) idle: f64,
    /// The same after a small get on each.
    pub(crate) get: f64,
    /// The same after a reply of 64 KiB on each.
    pub(crate) large: f64,
    /// The same after all have left.
    pub(crate) closed: f64,
}

/// Opens `connections` connections to `endpoint`, a fresh process, and measures what they cost it.
///
/// # Errors
/// When it does not take or answer them all in time.
pub(crate) fn measure(endpoint: &Endpoint, connections: usize) -> Result<Memory> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.port));
    let failed = |error: std::io::Error| format!("{} does not answer: {error}", endpoint.name);
    let empty = settled(endpoint.pid)?;
    // By now the connection that found it ready is closed on its side too.
    let before = open_files(endpoint.pid);
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = idle::connect(address)?;
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .map_err(failed)?;
        clients.push(client);
    }
    idle::accepted(endpoint, before + connections)?;
    let idle = settled(endpoint.pid)?;
    let mut reply = Vec::new();
    let mut all = |request: &[u8], expected: &[u8]| {
        for client in &mut clients {
            ask(client, request, expected, &mut reply).map_err(failed)?;
        }
        settled(endpoint.pid)
    };
    let get = all(b"get ringroad-compare-idle\r\n", b"END\r\n")?;
    let value = vec![b'v'; VALUE];
    let mut set = format!("set ringroad-compare-large 0 0 {VALUE}\r\n").into_bytes();
    set.extend_from_slice(&value);
    set.extend_from_slice(b"\r\n");
    let mut stored = format!("VALUE ringroad-compare-large 0 {VALUE}\r\n").into_bytes();
    stored.extend_from_slice(&value);
    stored.extend_from_slice(b"\r\nEND\r\n");
    store(address, &set).map_err(failed)?;
    let large = all(b"get ringroad-compare-large\r\n", &stored)?;
    drop(clients);
    left(endpoint, before)?;
    // Memory may be given back by and by.
    let closed = settled_for(endpoint.pid, 30)?;
    let each = |now: u64| (now as f64 - empty as f64) / connections as f64;
    Ok(Memory {
        connections,
        empty,
        idle: each(idle),
        get: each(get),
        large: each(large),
        closed: each(closed),
    })
}

/// Sends a request and reads the reply, which must be the expected one.
fn ask(
    client: &mut TcpStream,
    request: &[u8],
    expected: &[u8],
    reply: &mut Vec<u8>,
) -> std::io::Result<()> {
    reply.resize(expected.len(), 0);
    client.write_all(request)?;
    client.read_exact(reply)?;
    if reply == expected {
        Ok(())
    } else {
        Err(std::io::Error::other("another reply than expected"))
    }
}

/// Stores the large value over a connection of its own.
fn store(address: SocketAddr, set: &[u8]) -> std::io::Result<()> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    ask(&mut client, set, b"STORED\r\n", &mut Vec::new())
}

/// Waits until the connections are closed on the endpoint's side too.
fn left(endpoint: &Endpoint, files: usize) -> Result<()> {
    /// Those to the servers may have come meanwhile.
    const OTHERS: usize = 16;
    for _ in 0..1000 {
        if open_files(endpoint.pid) <= files + OTHERS {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!(
        "{} keeps connections open that are closed",
        endpoint.name
    ))
}

/// How many files process `pid` has open.
pub(crate) fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Resident bytes of `pid` once they stop changing.
fn settled(pid: u32) -> Result<u64> {
    settled_for(pid, 3)
}

/// Resident bytes of `pid` once they have not changed for `calm` times 50 ms.
fn settled_for(pid: u32, calm: usize) -> Result<u64> {
    const LOOKS: usize = 100;
    let mut last = resident(pid)?;
    let mut same = 0;
    for _ in 0..LOOKS {
        std::thread::sleep(Duration::from_millis(50));
        let now = resident(pid)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == calm {
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
