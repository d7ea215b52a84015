//! What is compared: routers in front of three memcached, a bare multiplexer, and one memcached by itself.
//!
//! All routers share the same three servers. Each places keys by its own hash, so each is filled
//! through itself and finds its keys where it put them; no run flushes anything. That is fair, since
//! every read hits the same server processes in the same state, and simple.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::children;
use crate::configs::{self, Variant};

type Result<T> = std::result::Result<T, String>;

/// How long a process may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(15);

/// What the user wants compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ringroad: the binary built with this program, or another one.
    Ringroad(Option<PathBuf>),
    /// twemproxy.
    Nutcracker(Option<PathBuf>),
    /// The floor: the bare multiplexer that this program contains.
    Mux,
    /// No router: the first memcached.
    Direct,
    /// ringroad with other routes: not for users to name, workloads ask for it.
    Variant(Option<PathBuf>, Variant),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, Some(PathBuf::from(path))),
            None => (text, None),
        };
        match (name, path) {
            ("ringroad", path) => Ok(Self::Ringroad(path)),
            ("nutcracker", path) => Ok(Self::Nutcracker(path)),
            ("mux", None) => Ok(Self::Mux),
            ("direct", None) => Ok(Self::Direct),
            _ => Err(format!(
                "{text:?} is no endpoint; known are ringroad[=PATH], nutcracker[=PATH], mux and direct"
            )),
        }
    }
}

impl Kind {
    /// Its name in tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ringroad(_) => "ringroad",
            Self::Nutcracker(_) => "nutcracker",
            Self::Mux => "mux",
            Self::Direct => "direct",
            Self::Variant(_, variant) => variant.name(),
        }
    }
}

/// Three memcached.
#[derive(Debug)]
pub(crate) struct Servers {
    /// Where they listen, on loopback.
    pub(crate) ports: Vec<u16>,
    /// Their process ids.
    pub(crate) pids: Vec<u32>,
}

impl Servers {
    /// Starts them; `name` is the log files'. `program` is memcached, by default the one in `PATH`.
    ///
    /// # Errors
    /// When memcached is not installed or does not come up.
    pub(crate) fn start(program: Option<&Path>, name: &str, directory: &Path) -> Result<Self> {
        let program = program
            .map(Path::to_owned)
            .or_else(|| children::find_program("memcached"))
            .ok_or("memcached is not installed; it is what the routers route to")?;
        let mut servers = Self {
            ports: Vec::new(),
            pids: Vec::new(),
        };
        for number in 0..3 {
            let (port, pid) = start(&format!("{name}-{number}"), directory, |port| {
                let mut command = children::command(&program);
                command
                    .args(["-t", "1", "-m", "1024", "-c", "16384", "-U", "0"])
                    .args(["-l", "127.0.0.1", "-p", &port.to_string()])
                    // Needed by root, who else may not run it; ignored for others.
                    .args(["-u", "root"]);
                Ok(command)
            })?;
            servers.ports.push(port);
            servers.pids.push(pid);
        }
        Ok(servers)
    }
}

/// A running endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its name in tables, unique.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it listens, on loopback.
    pub(crate) port: u16,
    /// Its process id.
    pub(crate) pid: u32,
}

impl Endpoint {
    /// Starts an endpoint in front of `servers`; a variant of ringroad has `others` as its second pool.
    ///
    /// # Errors
    /// When its program is missing, or does not come up; with the end of its log.
    pub(crate) fn start(
        kind: &Kind,
        name: &str,
        servers: &Servers,
        others: Option<&Servers>,
        directory: &Path,
    ) -> Result<Self> {
        let ringroad = |path: &Option<PathBuf>, text: &dyn Fn(u16) -> String| {
            let program = path
                .clone()
                .unwrap_or_else(|| env!("CARGO_BIN_EXE_ringroad").into());
            start(name, directory, |port| {
                let config = directory.join(format!("{name}.toml"));
                write(&config, &text(port))?;
                let mut command = children::command(&program);
                command.args(["run", "--config"]).arg(config);
                Ok(command)
            })
        };
        let (port, pid) = match kind {
            Kind::Direct => servers
                .ports
                .first()
                .copied()
                .zip(servers.pids.first().copied())
                .ok_or("no memcached")?,
            Kind::Ringroad(path) => ringroad(path, &|port| configs::ringroad(port, servers))?,
            Kind::Variant(path, variant) => {
                let others = others.ok_or("no servers for the second pool")?;
                ringroad(path, &|port| {
                    configs::variant(*variant, port, servers, others)
                })?
            }
            Kind::Mux => start(name, directory, |port| {
                let program = std::env::current_exe().map_err(|error| error.to_string())?;
                let list: Vec<_> = servers
                    .ports
                    .iter()
                    .map(|port| format!("127.0.0.1:{port}"))
                    .collect();
                let mut command = children::command(program);
                command
                    .args(["mux", "--listen", &format!("127.0.0.1:{port}")])
                    .args(["--servers", &list.join(",")]);
                Ok(command)
            })?,
            Kind::Nutcracker(path) => {
                let program = path
                    .clone()
                    .or_else(|| children::find_program("nutcracker"))
                    .ok_or("nutcracker is not installed (Debian package: nutcracker)")?;
                start(name, directory, |port| {
                    let config = directory.join(format!("{name}.yml"));
                    write(&config, &configs::nutcracker(port, servers))?;
                    let mut command = children::command(&program);
                    command
                        .arg("--conf-file")
                        .arg(config)
                        .arg("--pid-file")
                        .arg(directory.join(format!("{name}.pid")))
                        .arg("--output")
                        .arg(directory.join(format!("{name}.out")))
                        // At its default verbosity it makes one more system call per request, to log it.
                        .args(["--verbose", "4"])
                        .args(["--stats-addr", "127.0.0.1", "--stats-port"])
                        .arg(free_port()?.to_string());
                    Ok(command)
                })?
            }
        };
        Ok(Self {
            name: name.to_owned(),
            kind: kind.clone(),
            port,
            pid,
        })
    }

    /// Whether this is a router, with connections of its own to the servers.
    pub(crate) fn is_router(&self) -> bool {
        self.kind != Kind::Direct
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Starts a process on a free port and waits until it answers a `get` there.
fn start(
    name: &str,
    directory: &Path,
    command: impl Fn(u16) -> Result<std::process::Command>,
) -> Result<(u16, u32)> {
    const ATTEMPTS: usize = 3;
    let log = directory.join(format!("{name}.log"));
    let mut last = String::new();
    // Another process can take the port between its choice and its use, hence more than one attempt.
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let file = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut command = command(port)?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let pid = children::start(&mut command).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if answers(port) {
                return Ok((port, pid));
            }
            if let Some(status) = children::ended(pid) {
                last = format!("{name} ended with {status}{}", children::tail(&log));
                break;
            }
            if Instant::now() > deadline {
                last = format!("{name} does not answer{}", children::tail(&log));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        children::kill(pid);
    }
    Err(last)
}

fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Whether something on `port` answers like a memcached that does not have a key.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(1);
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"get ringroad-compare-ready\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        Ok(&reply == b"END\r\n")
    };
    ask().unwrap_or(false)
}
