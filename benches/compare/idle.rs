//! Clients that connect and say nothing, held by a process of their own.
//!
//! They are another process's, so that neither the generator nor this program carries them, and off the
//! measured core. They leave with a reset: thousands of ports in TIME_WAIT would stand in the next run's way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::children;
use crate::endpoints::Endpoint;
use crate::memory::open_files;

/// What `compare idle` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to connect.
    #[arg(long)]
    target: SocketAddr,
    /// How often.
    #[arg(long)]
    connections: usize,
}

/// Holds connections until standard input ends.
///
/// # Errors
/// When one is refused.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut held = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        held.push(connect(options.target)?);
    }
    let failed = |error: std::io::Error| error.to_string();
    let mut out = std::io::stdout();
    writeln!(out, "{}", held.len()).map_err(failed)?;
    out.flush().map_err(failed)?;
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).map_err(failed)?;
    Ok(())
}

/// A connection that is reset rather than closed when it's dropped.
///
/// # Errors
/// The system's, in words.
pub(crate) fn connect(target: SocketAddr) -> Result<TcpStream, String> {
    let failed = |error| format!("connection to {target}: {error}");
    let stream = TcpStream::connect(target).map_err(failed)?;
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .map_err(failed)?;
    Ok(stream)
}

/// A process that holds idle connections, until it is dropped.
#[derive(Debug)]
pub(crate) struct Holder {
    pid: u32,
}

impl Drop for Holder {
    fn drop(&mut self) {
        children::kill(self.pid);
    }
}

impl Holder {
    /// Opens `connections` connections to `endpoint`, and waits until it has accepted them.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start(endpoint: &Endpoint, connections: usize) -> Result<Self, String> {
        let before = open_files(endpoint.pid);
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = children::command(program);
        command
            .args(["idle", "--target", &format!("127.0.0.1:{}", endpoint.port)])
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let pid = children::start(&mut command).map_err(|error| error.to_string())?;
        let holder = Self { pid };
        let mut line = String::new();
        children::take_stdout(pid)
            .map(|out| BufReader::new(out).read_line(&mut line))
            .transpose()
            .map_err(|error| error.to_string())?;
        if line.trim() != connections.to_string() {
            return Err(format!(
                "{} does not take {connections} idle connections",
                endpoint.name
            ));
        }
        accepted(endpoint, before + connections)?;
        Ok(holder)
    }
}

/// Waits until `endpoint` has `files` files open.
///
/// # Errors
/// When it takes too long.
pub(crate) fn accepted(endpoint: &Endpoint, files: usize) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let open = open_files(endpoint.pid);
        if open >= files {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{} has not accepted {} of the connections",
                endpoint.name,
                files - open
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
