//! The built `ringroad` with a configuration of its own, and a whole cluster around it.
//!
//! The binary is the one that Cargo built for these tests, or what `RINGROAD_TEST_BINARY` names (to test a
//! release build or a packaged one with the same tests).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::Client;
use super::memcached::Memcached;
use super::port::Port;
use super::process::Process;

/// A configuration in the making. Lines are TOML.
#[derive(Clone, Default)]
pub struct Setup {
    listen: Vec<String>,
    top: Vec<String>,
    pool: Vec<String>,
    tables: Vec<String>,
    servers: Vec<String>,
}

impl Setup {
    /// In front of these servers, in one pool called `cache`.
    pub fn new(servers: impl IntoIterator<Item = impl ToString>) -> Setup {
        Setup {
            servers: servers.into_iter().map(|s| s.to_string()).collect(),
            ..Setup::default()
        }
    }

    /// In front of these daemons.
    pub fn before(servers: &[Memcached]) -> Setup {
        Setup::new(servers.iter().map(Memcached::addr))
    }

    /// A line at the top level, e.g. `flush_all = true`.
    pub fn top(mut self, line: &str) -> Setup {
        self.top.push(line.to_owned());
        self
    }

    /// A line of the pool, e.g. `timeout = "200ms"`; takes the place of an earlier one for the same key.
    pub fn pool(mut self, line: &str) -> Setup {
        let key = |line: &str| line.split('=').next().map(|k| k.trim().to_owned());
        self.pool.retain(|earlier| key(earlier) != key(line));
        self.pool.push(line.to_owned());
        self
    }

    /// Further tables, after the pool.
    pub fn table(mut self, text: &str) -> Setup {
        self.tables.push(text.to_owned());
        self
    }

    /// Listens here too, besides a TCP port on 127.0.0.1.
    pub fn listen(mut self, address: &str) -> Setup {
        self.listen.push(address.to_owned());
        self
    }

    /// The configuration file's text.
    pub fn text(&self, port: u16) -> String {
        let mut listen = vec![format!("127.0.0.1:{port}")];
        listen.extend(self.listen.iter().cloned());
        format!(
            "listen = {listen:?}\n{}\n\n[pools.cache]\nservers = {:?}\n{}\n\n{}\n",
            self.top.join("\n"),
            self.servers,
            self.pool.join("\n"),
            self.tables.join("\n")
        )
    }

    /// Starts it and waits until it accepts.
    pub fn start(&self) -> Ringroad {
        Ringroad::start(self, Command::new(binary()))
    }

    /// As [`Setup::start`], for a process that may have only so many files open.
    pub fn start_with_files(&self, most: u32) -> Ringroad {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {most} && exec \"$0\" \"$@\""))
            .arg(binary());
        Ringroad::start(self, command)
    }
}

/// A running ringroad.
pub struct Ringroad {
    process: Process,
    port: Port,
    dir: tempfile::TempDir,
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("RINGROAD_TEST_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_ringroad")),
        PathBuf::from,
    )
}

impl Ringroad {
    fn start(setup: &Setup, command: Command) -> Ringroad {
        let port = Port::reserve();
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("ringroad.toml");
        std::fs::write(&config, setup.text(port.number())).unwrap();
        Ringroad::run_as(command, &config, port, dir)
    }

    /// Runs it with a file that the caller has written; `port` is one it listens on.
    pub fn run(config: &Path, port: Port, dir: tempfile::TempDir) -> Ringroad {
        Ringroad::run_as(Command::new(binary()), config, port, dir)
    }

    fn run_as(mut command: Command, config: &Path, port: Port, dir: tempfile::TempDir) -> Ringroad {
        command.arg("run").arg("--config").arg(config);
        Ringroad::spawn(command, port, dir)
    }

    /// Runs it with this TOML, which does not say where to listen.
    pub fn toml(text: &str) -> Ringroad {
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("ringroad.toml");
        let listen = port.addr();
        std::fs::write(&file, format!("listen = \"{listen}\"\n{text}")).unwrap();
        Ringroad::run(&file, port, dir)
    }

    /// Runs `ringroad mcrouter` with this JSON and these flags.
    pub fn mcrouter(json: &str, flags: &[&str]) -> Ringroad {
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("config.json");
        std::fs::write(&file, json).unwrap();
        let mut command = Command::new(binary());
        command.args(["mcrouter", "-p", &port.number().to_string()]);
        command.arg("--config-file").arg(&file).args(flags);
        Ringroad::spawn(command, port, dir)
    }

    /// Runs any command line that serves; `port` is one it listens on.
    pub fn spawn(command: Command, port: Port, dir: tempfile::TempDir) -> Ringroad {
        let mut process = Process::start("ringroad", command).unwrap();
        let addr = port.addr();
        process.wait_ready("accepts connections", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        Ringroad { process, port, dir }
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to read its configuration again.
    pub fn hup(&self) {
        self.process.signal("HUP");
    }

    /// Its TCP address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// A directory that lives as long as it does.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("ringroad.toml")
    }

    /// Replaces the configuration file's content; does not tell the process.
    pub fn write_config(&self, setup: &Setup) {
        std::fs::write(self.config(), setup.text(self.port.number())).unwrap();
    }

    /// A client.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// One figure of its `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.client().stats("");
        let (_, value) = stats
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("ringroad has no statistic {name}"));
        value.parse().unwrap()
    }
}

/// Real servers with ringroad in front.
pub struct Cluster {
    /// The servers, in the order of the configuration.
    pub servers: Vec<Memcached>,
    /// The router.
    pub router: Ringroad,
}

impl Cluster {
    /// `n` servers, default configuration.
    pub fn start(n: usize) -> Cluster {
        Cluster::with(n, |setup| setup)
    }

    /// `n` servers, with a changed configuration.
    pub fn with(n: usize, change: impl FnOnce(Setup) -> Setup) -> Cluster {
        Cluster::of(Memcached::several(n), change)
    }

    /// These servers, with a changed configuration.
    pub fn of(servers: Vec<Memcached>, change: impl FnOnce(Setup) -> Setup) -> Cluster {
        let router = change(Setup::before(&servers)).start();
        Cluster { servers, router }
    }

    /// A client of the router.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.router.client()
    }

    /// The one server that holds `key`; fails if none or several do.
    #[track_caller]
    pub fn owner(&self, key: &str) -> usize {
        let holders: Vec<usize> = (0..self.servers.len())
            .filter(|i| self.servers[*i].holds(key))
            .collect();
        assert_eq!(holders.len(), 1, "{key} is held by servers {holders:?}");
        holders[0]
    }

    /// `count` keys per server that ringroad sends there, found by storing and looking.
    pub fn keys_by_server(&self, count: usize) -> Vec<Vec<String>> {
        let mut by_server = vec![Vec::new(); self.servers.len()];
        let mut client = self.client();
        for i in 0..count * self.servers.len() * 50 {
            let key = format!("owned_{i}");
            client.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
            let owner = self.owner(&key);
            if by_server[owner].len() < count {
                by_server[owner].push(key);
            }
            if by_server.iter().all(|keys| keys.len() == count) {
                return by_server;
            }
        }
        panic!("some server owns hardly any keys: {by_server:?}");
    }
}
