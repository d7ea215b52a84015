//! Pods, their DNS, and a router that follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::knot::{Knot, Pod};
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::router::{Ringroad, binary};

/// The headless Service.
pub const SERVICE: &str = "mc.default.svc.cluster.local";

/// A memcached on an address of its own.
struct Running {
    ip: Ipv4Addr,
    process: Process,
}

/// Pods behind a headless Service, and its DNS.
pub struct Kube {
    pub dns: Knot,
    port: Port,
    pods: BTreeMap<String, Running>,
    /// Whom DNS shows.
    shown: BTreeSet<String>,
    port_name: Option<&'static str>,
    /// How long routers take answers for true, whatever their time to live.
    pub max_ttl: &'static str,
}

/// An address of 127.0.0.0/8 that nobody else in this process has had.
fn fresh_ip() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = (NEXT.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes();
    // 127.0.x.x belongs to others.
    Ipv4Addr::new(127, 1 + high, low.max(1), (low % 250) + 2)
}

impl Kube {
    /// `count` pods, `mc-0` and up, all ready and in DNS. Its records live for a second.
    pub fn start(count: usize) -> Kube {
        let mut dns = Knot::start();
        dns.set_ttl(1);
        let mut kube = Kube {
            dns,
            port: Port::reserve(),
            pods: BTreeMap::new(),
            shown: BTreeSet::new(),
            port_name: Some("memcache"),
            max_ttl: "1s",
        };
        for ordinal in 0..count {
            kube.run(&name(ordinal));
        }
        kube.show_all();
        kube
    }

    /// Starts a pod at a fresh address, in the place of the one of that name. DNS is not told.
    pub fn run(&mut self, name: &str) {
        self.pods.remove(name);
        let ip = fresh_ip();
        let mut command = Command::new("memcached");
        command
            .args(["-l", &ip.to_string(), "-U", "0", "-t", "1", "-m", "64"])
            .args(["-p", &self.port.number().to_string()])
            .args(["-u", "nobody"]);
        let mut process = Process::start(name, command)
            .unwrap_or_else(|e| panic!("cannot start memcached, install the package: {e}"));
        let addr = SocketAddr::from((ip, self.port.number()));
        process.wait_ready("accepts connections", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        self.pods.insert(name.to_owned(), Running { ip, process });
    }

    /// Kills a pod. DNS is not told.
    pub fn kill(&mut self, name: &str) {
        self.pods.remove(name);
    }

    /// Whether there is such a pod.
    pub fn is_running(&self, name: &str) -> bool {
        self.pods.contains_key(name)
    }

    /// DNS shows these pods and no others.
    pub fn show(&mut self, names: impl IntoIterator<Item = impl ToString>) {
        self.shown = names.into_iter().map(|name| name.to_string()).collect();
        self.publish();
    }

    /// DNS shows every pod that runs.
    pub fn show_all(&mut self) {
        self.show(self.pods.keys().cloned().collect::<Vec<_>>());
    }

    fn publish(&mut self) {
        let pods: Vec<Pod> = self
            .shown
            .iter()
            .map(|name| Pod {
                name: name.clone(),
                ips: vec![self.pods[name].ip.into()],
            })
            .collect();
        let port = self.port_name.map(|name| (name, self.port.number()));
        self.dns.service(SERVICE, port, &pods);
    }

    /// The Service's port has no name: there are no SRV records.
    pub fn without_port_name(mut self) -> Kube {
        self.port_name = None;
        self.publish();
        self
    }

    /// Where a pod is.
    pub fn addr(&self, name: &str) -> SocketAddr {
        (self.pods[name].ip, self.port.number()).into()
    }

    /// Its process.
    pub fn process(&self, name: &str) -> &Process {
        &self.pods[name].process
    }

    /// A client of one pod.
    pub fn client(&self, name: &str) -> Client {
        Client::connect(self.addr(name))
    }

    /// The port of every pod.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Which pod has each key with this value; pods that don't run have none.
    pub fn owners(&self, keys: &[String], value: &str) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        for pod in self.pods.keys() {
            let mut client = self.client(pod);
            for part in keys.chunks(100) {
                client.send(format!("get {}\r\n", part.join(" ")));
                for found in client.values() {
                    if found.data == value.as_bytes() {
                        let key = String::from_utf8(found.key).unwrap();
                        let before = owners.insert(key, pod.clone());
                        assert_eq!(before, None, "held by two pods");
                    }
                }
            }
        }
        owners
    }

    /// A router that follows this pool; `pool` and `rest` are further lines of the pool and of the file. Names
    /// are asked for anew after a second at the latest, and the highest ordinals leave after one.
    pub fn router(&self, pool: &str, rest: &str) -> Router {
        self.router_of(&format!(
            "[pools.cache]\ndiscover = {{ service = \"{SERVICE}\", port = {} }}\ntimeout = \"2s\"\n{pool}\n\
             [pools.cache.membership]\nhold_top = \"1s\"\nconfirm = \"1s\"\n{rest}",
            self.port.number()
        ))
    }

    /// A router with these pools.
    pub fn router_of(&self, pools: &str) -> Router {
        let port = Port::reserve();
        let admin = Port::reserve();
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("ringroad.toml");
        let text = format!(
            "listen = [\"{}\"]\nworkers = 2\n{pools}\n[dns]\nservers = [\"{}\"]\nsearch = [\"svc.cluster.local\"]\n\
             min_ttl = \"500ms\"\nmax_ttl = \"{}\"\n[admin]\nlisten = \"{}\"\n",
            port.addr(),
            self.dns.addr(),
            self.max_ttl,
            admin.addr(),
        );
        std::fs::write(&config, text).unwrap();
        Router {
            ringroad: Ringroad::run(&config, port, dir),
            _admin: admin,
        }
    }
}

/// What the pod with this ordinal is called.
pub fn name(ordinal: usize) -> String {
    format!("mc-{ordinal}")
}

/// A router and its admin port.
pub struct Router {
    pub ringroad: Ringroad,
    _admin: Port,
}

/// A member as `ringroad members` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub name: String,
    pub address: String,
    pub state: String,
    pub identity: String,
}

impl Router {
    /// A client of it.
    pub fn client(&self) -> Client {
        self.ringroad.client()
    }

    fn run(&self, args: &[&str]) -> String {
        let output = Command::new(binary())
            .args(args)
            .arg("--config")
            .arg(self.ringroad.config())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `ringroad COMMAND … --json` prints.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.run(&args)).unwrap()
    }

    /// The members of its first pool.
    pub fn members(&self) -> Vec<Member> {
        let report = self.json(&["members"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let members = report[0]["members"].as_array().unwrap();
        members
            .iter()
            .map(|member| Member {
                name: text(&member["name"]),
                address: text(&member["address"]),
                state: text(&member["state"]),
                identity: text(&member["identity"]),
            })
            .collect()
    }

    /// Names of members in a state.
    pub fn names(&self, state: &str) -> Vec<String> {
        let members = self.members().into_iter();
        let those = members.filter(|member| member.state == state);
        those.map(|member| member.name).collect()
    }

    /// Waits until exactly the first `count` pods are members and present.
    #[track_caller]
    pub fn until_present(&self, count: usize) {
        let want: Vec<String> = (0..count).map(name).collect();
        eventually("the router knows the pods", || {
            self.names("present") == want && self.members().len() == count
        });
    }

    /// One of `stats pools` of the pool `cache`; 0 if it has not been counted yet.
    pub fn figure(&self, name: &str) -> u64 {
        let name = format!("cache:{name}");
        let stats = self.client().stats("pools");
        let found = stats.into_iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, value)| value.parse().unwrap())
    }

    /// Its ring's digest.
    pub fn digest(&self) -> String {
        let report = self.json(&["members"]);
        report[0]["digest"].as_str().unwrap_or_default().to_owned()
    }
}
