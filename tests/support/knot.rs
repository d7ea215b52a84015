//! A real DNS server, Knot, that is reconfigured while it runs.
//!
//! It serves `cluster.local`, `example`, and the reverse zones of the addresses that tests use (10/8, 127/8,
//! fd00::/8), from records that a test sets as a whole or Service by Service, the way a cluster's DNS shows them.
//! A change is live when the call returns. It listens on 127.0.0.2, whose port of that number is reserved, and is
//! gone when the value is dropped.
//!
//! The binaries are `knotd` and `knotc` from the search path or /usr/sbin. Their absence fails every test that needs
//! them: a skipped proof proves nothing.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use super::port::Port;
use super::process::Process;

const ZONES: [&str; 5] = [
    "cluster.local.",
    "example.",
    "10.in-addr.arpa.",
    "127.in-addr.arpa.",
    "d.f.ip6.arpa.",
];

/// One record: owner with a dot at its end, type, data.
pub type Record = (String, &'static str, String);

/// The running server.
pub struct Knot {
    port: Port,
    dir: tempfile::TempDir,
    process: Option<Process>,
    serial: u32,
    ttl: u32,
    records: Vec<Record>,
}

/// A pod behind a headless Service.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub ips: Vec<IpAddr>,
}

impl Pod {
    /// A pod with these addresses.
    pub fn new(name: &str, ips: &[&str]) -> Pod {
        Pod {
            name: name.to_owned(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }
}

fn binary(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| {
            panic!(
                "these tests run against a real DNS server and cannot find `{name}`; install the package `knot` \
                 (Debian, Ubuntu: apt-get install knot)"
            )
        })
}

impl Knot {
    /// Starts one without records.
    pub fn start() -> Knot {
        let mut knot = Knot {
            port: Port::reserve(),
            dir: tempfile::tempdir().unwrap(),
            process: None,
            serial: 1,
            ttl: 5,
            records: Vec::new(),
        };
        let dir = knot.dir.path().display();
        let mut conf = format!(
            "server:\n    rundir: \"{dir}\"\n    listen: {}@{}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\n\
             control:\n    listen: \"{dir}/socket\"\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n    storage: \"{dir}\"\n    journal-db-max-size: 16M\n    kasp-db-max-size: 16M\n    \
             timer-db-max-size: 16M\n\
             template:\n  - id: default\n    storage: \"{dir}\"\n    zonefile-sync: -1\n    zonefile-load: whole\n    \
             journal-content: none\n\
             zone:\n",
            knot.addr().ip(),
            knot.addr().port(),
        );
        for zone in ZONES {
            writeln!(conf, "  - domain: {zone}\n    file: \"{zone}zone\"").unwrap();
        }
        std::fs::write(knot.dir.path().join("knot.conf"), conf).unwrap();
        knot.write();
        knot.restart();
        knot
    }

    /// Where it listens, by UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 0, 2), self.port.number()).into()
    }

    /// Kills it if it runs, and starts it with the records it had.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = Command::new(binary("knotd"));
        command.arg("-c").arg(self.dir.path().join("knot.conf"));
        let process = Process::start("knotd", command);
        let mut process = process.unwrap_or_else(|e| panic!("cannot start knotd: {e}"));
        process.wait_ready("is controlled", || self.control(&["status"]));
        process.wait_ready("has loaded its zones", || {
            ZONES
                .iter()
                .all(|zone| self.control(&["zone-read", zone, "@", "SOA"]))
        });
        self.process = Some(process);
    }

    /// Kills it: a total outage.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Its process, which must be running: to freeze it, say.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("knotd was stopped")
    }

    /// The time to live of records from the next change on, in seconds.
    pub fn set_ttl(&mut self, ttl: u32) {
        self.ttl = ttl;
    }

    /// Replaces all records.
    pub fn set(&mut self, records: Vec<Record>) {
        self.records = records;
        self.reload();
    }

    /// Adds records to those there are.
    pub fn add(&mut self, records: impl IntoIterator<Item = Record>) {
        self.records.extend(records);
        self.reload();
    }

    /// Removes the records that the test doesn't keep.
    pub fn retain(&mut self, keep: impl FnMut(&Record) -> bool) {
        self.records.retain(keep);
        self.reload();
    }

    /// Makes a headless Service out of these pods, in the place of what it was. Without pods it doesn't exist.
    ///
    /// `service` is its whole name without the last dot; SRV records exist if its port has a name.
    pub fn service(&mut self, service: &str, port: Option<(&str, u16)>, pods: &[Pod]) {
        let service = format!("{service}.");
        let below = format!(".{service}");
        self.records.retain(|(owner, kind, data)| {
            let is_ours = *owner == service || owner.ends_with(&below);
            !(is_ours || *kind == "PTR" && data.ends_with(&below))
        });
        self.records.extend(records_of(&service, port, pods));
        self.reload();
    }

    fn reload(&mut self) {
        self.serial += 1;
        self.write();
        for zone in ZONES {
            assert!(
                self.process.is_none() || self.control(&["-b", "zone-reload", zone]),
                "knotd does not take the zone {zone}"
            );
        }
    }

    fn control(&self, args: &[&str]) -> bool {
        let socket = self.dir.path().join("socket");
        let output = Command::new(binary("knotc"))
            .args(["-t", "20", "-s"])
            .arg(socket)
            .args(args)
            .output()
            .unwrap_or_else(|e| panic!("cannot run knotc: {e}"));
        output.status.success()
    }

    fn write(&self) {
        for zone in ZONES {
            let serial = self.serial;
            let mut text =
                format!("@ 1 SOA ns. hostmaster. {serial} 3600 600 86400 1\n@ 3600 NS ns.\n");
            let below = format!(".{zone}");
            for (owner, kind, data) in &self.records {
                if owner.ends_with(&below) || owner == zone {
                    writeln!(text, "{owner} {} {kind} {data}", self.ttl).unwrap();
                }
            }
            // Renamed into place, so that a restart never sees half of it.
            let file = self.dir.path().join(format!("{zone}zone"));
            let new = file.with_extension("new");
            std::fs::write(&new, format!("$ORIGIN {zone}\n{text}")).unwrap();
            std::fs::rename(&new, &file).unwrap();
        }
    }
}

/// What a cluster's DNS says of a headless Service.
pub fn records_of(service: &str, port: Option<(&str, u16)>, pods: &[Pod]) -> Vec<Record> {
    let mut records = Vec::new();
    for pod in pods {
        let host = format!("{}.{service}", pod.name);
        for ip in &pod.ips {
            let kind = if ip.is_ipv4() { "A" } else { "AAAA" };
            records.push((service.to_owned(), kind, ip.to_string()));
            records.push((host.clone(), kind, ip.to_string()));
            records.push((reverse(*ip), "PTR", host.clone()));
        }
        if let Some((name, port)) = port {
            let srv = format!("0 50 {port} {host}");
            records.push((format!("_{name}._tcp.{service}"), "SRV", srv.clone()));
            records.push((service.to_owned(), "SRV", srv));
        }
    }
    records
}

/// The name below which an address's PTR records are.
pub fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let mut name = String::new();
            for byte in ip.octets().iter().rev() {
                write!(name, "{:x}.{:x}.", byte & 15, byte >> 4).unwrap();
            }
            name + "ip6.arpa."
        }
    }
}
