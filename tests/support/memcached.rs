//! Real memcached daemons.
//!
//! The binary is `memcached` from the search path, or what `RINGROAD_TEST_MEMCACHED` names (to run the tests
//! against another version). Its absence fails every test that needs it: a skipped proof proves nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::OnceLock;

use super::client::Client;
use super::port::Port;
use super::process::Process;

/// A running (or stopped) memcached that keeps its port until dropped.
pub struct Memcached {
    port: Port,
    args: Vec<String>,
    process: Option<Process>,
}

fn binary() -> String {
    std::env::var("RINGROAD_TEST_MEMCACHED").unwrap_or_else(|_| "memcached".to_owned())
}

/// The version of the daemon that the tests run against, e.g. `[1, 6, 18]`.
pub fn version() -> [u32; 3] {
    static VERSION: OnceLock<[u32; 3]> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let output = Command::new(binary())
            .arg("-V")
            .output()
            .unwrap_or_else(|e| missing(&e));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut parts = text
            .trim()
            .trim_start_matches("memcached ")
            .split('.')
            .map(|p| p.parse().unwrap_or(0));
        std::array::from_fn(|_| parts.next().unwrap_or(0))
    })
}

/// Whether the daemon's own parser is the one whose answers to bad input ringroad gives. Older ones differ
/// in the cases that `tests/golden/memcached/bad-input-by-version.txt` lists.
pub fn is_reference() -> bool {
    version() >= [1, 6, 45]
}

fn missing(error: &std::io::Error) -> ! {
    panic!(
        "these tests run against real servers and cannot start `{}` ({error}); install the package `memcached` (Debian, Ubuntu: apt-get install memcached)",
        binary()
    )
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0"))
}

impl Memcached {
    /// Starts one with 64 MiB and up to 1 MiB per item.
    pub fn start() -> Memcached {
        Memcached::with_args(&["-m", "64"])
    }

    /// Starts one with further arguments.
    pub fn with_args(args: &[&str]) -> Memcached {
        let mut server = Memcached {
            port: Port::reserve(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            process: None,
        };
        server.restart();
        server
    }

    /// Starts `n` of them.
    pub fn several(n: usize) -> Vec<Memcached> {
        (0..n).map(|_| Memcached::start()).collect()
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Kills it if it runs, and starts it on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(binary());
        command
            .args(["-l", "127.0.0.1", "-U", "0", "-t", "1", "-c", "4096"])
            .args(["-p", &self.port.number().to_string()])
            .args(&self.args);
        if is_root() {
            command.args(["-u", "nobody"]);
        }
        let name = format!("memcached on port {}", self.port.number());
        let mut process = Process::start(&name, command).unwrap_or_else(|e| missing(&e));
        let addr = self.addr();
        process.wait_ready("accepts connections", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        self.process = Some(process);
    }

    /// Kills it; its port stays closed.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its process, which must be running.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("this memcached was killed")
    }

    /// A client of this server alone.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// One figure of its `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.client().stats("");
        let (_, value) = stats
            .iter()
            .find(|(n, _)| n == name)
            .unwrap_or_else(|| panic!("memcached has no statistic {name}"));
        value.parse().unwrap()
    }

    /// Whether it holds an item of this key.
    pub fn holds(&self, key: &str) -> bool {
        let mut client = self.client();
        client.send(format!("get {key}\r\n"));
        !client.values().is_empty()
    }
}
