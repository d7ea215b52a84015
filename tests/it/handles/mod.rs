//! One file for each kind of route: the built binary, and scripted servers that record what they get.
//!
//! A [`Scene`] is a route over pools of one server each, `p0`, `p1` and so on. [`Scene::check`] plays one request: what each
//! server answers, what the client gets, and which lines each server has got, in their order. Each server is asked in
//! the text protocol unless it says otherwise. Outcomes are those of mcrouter.
//!
//! [`Scene::mcrouter`] is a route in mcrouter's JSON; [`Scene::play`] plays a request that
//! servers get as it is, with answers of [`outcomes`].

mod all_async;
mod all_fastest;
mod all_initial;
mod all_majority;
mod all_sync;
mod around;
mod big_value;
mod by_size;
mod distribution;
mod error;
mod failover;
mod hash;
mod hash_stop;
mod json;
mod key_parse;
mod key_split;
mod logging;
mod migrate;
mod miss_failover;
mod modify_exptime;
mod modify_key;
mod null;
mod operation_selector;
mod orders;
pub mod outcomes;
pub mod place;
mod pool;
mod prefix_selector;
mod rate_limit;
mod shadow;
mod staging;
mod stock;
mod two_level;
mod warm_up;

use std::collections::HashMap;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};

use self::outcomes::{CLOSES, HANGS, Outcome, ops};
use crate::support::eventually;
use crate::support::port::Port;
use crate::support::router::{self, Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};

/// What the servers of a scene answer: to each command, by the server and the beginning of the line. The longest
/// beginning counts; several answers are given one after the other, the last one for ever.
pub type Answers<'a> = &'a [(usize, &'a str, &'a str)];

/// A request, its answer, and what each server gets.
pub type Case<'a> = (&'a str, Answers<'a>, &'a str, &'a [(usize, &'a str)]);

/// What a client may see of a server that is not there.
pub const DOWN: &[&str] = &[
    "SERVER_ERROR connect failed\r\n",
    "SERVER_ERROR server is down\r\n",
];
pub const HIT: &str = "VALUE k 7 1\r\nx\r\nEND\r\n";
pub const MISS: &str = "END\r\n";

pub struct Scene {
    pub servers: Vec<Scripted>,
    pub router: Ringroad,
    /// A key for one server alone: this, its number, and a colon or a slash.
    direct: [&'static str; 2],
    /// Where nobody listens.
    down: Port,
}

fn written(command: &Command) -> String {
    match &command.data {
        Some(data) => format!("{}\r\n{}\r\n", command.line, String::from_utf8_lossy(data)),
        None => format!("{}\r\n", command.line),
    }
}

impl Scene {
    /// This route over so many pools; errors are shown, and what a server is owed is not sent.
    pub fn new(route: &str, pools: usize) -> Scene {
        let servers: Vec<Scripted> = (0..pools).map(|_| Scripted::well_behaved()).collect();
        let tables: String = servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let addr = server.addr();
                format!(
                    "[pools.p{n}]\nservers = [\"{addr}\"]\ntimeout = \"60s\"\non_return = \"trust\"\n[pools.p{n}.tko]\nafter = 1000\n"
                )
            })
            .collect();
        let direct: String = (0..pools)
            .map(|n| format!("\"direct{n}:\" = \"p{n}\"\n"))
            .collect();
        let router = Setup::new([servers[0].addr()])
            .top("workers = 1\nmiss_on_get_errors = false")
            .table(&format!(
                "{tables}[route]\ntype = \"prefix\"\n[route.prefixes]\n{direct}[route.default]\n{route}\n"
            ))
            .start();
        let (direct, down) = (["direct", ":"], Port::reserve());
        let scene = Scene {
            servers,
            router,
            direct,
            down,
        };
        (0..pools).for_each(|n| scene.settle(n));
        scene
    }

    /// This route in mcrouter's JSON, over a pool for each timeout (milliseconds; much longer than a test, if there is
    /// none). It is converted, so that errors can be shown, nothing spooled, and no server owed anything. Nobody listens
    /// for the pool `down`.
    pub fn mcrouter(route: &str, timeouts: &[Option<u32>]) -> Scene {
        let servers: Vec<Scripted> = timeouts.iter().map(|_| Scripted::well_behaved()).collect();
        let down = Port::reserve();
        let mut pools = format!("\"down\": {{\"servers\": [\"{}\"]}}", down.addr());
        let mut routes = format!("{{\"aliases\": [\"/././\"], \"route\": {route}}}");
        for (n, (server, timeout)) in servers.iter().zip(timeouts).enumerate() {
            let (addr, timeout) = (server.addr(), timeout.unwrap_or(60_000));
            pools += &format!(
                ", \"p{n}\": {{\"servers\": [\"{addr}\"], \"server_timeout\": {timeout}}}"
            );
            routes +=
                &format!(", {{\"aliases\": [\"/direct/{n}/\"], \"route\": \"PoolRoute|p{n}\"}}");
        }
        let text = format!("{{\"pools\": {{{pools}}}, \"routes\": [{routes}]}}");
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let mut convert = Process::new(router::binary());
        let converted = convert.arg("convert").arg(&file).output().unwrap();
        let toml = String::from_utf8(converted.stdout).unwrap();
        let why = String::from_utf8_lossy(&converted.stderr);
        assert!(converted.status.success(), "{route}: {why}");
        let mut toml = toml[..toml.find("[spool]").unwrap()].to_owned();
        let here = port.addr().to_string();
        for (setting, other) in [
            ("127.0.0.1:5000", here.as_str()),
            ("workers = \"auto\"", "workers = 1"),
            ("miss_on_get_errors = true", "miss_on_get_errors = false"),
            ("tko.after = 3", "tko.after = 1000"),
            ("tko.probe_min = \"10s\"", "tko.probe_min = \"10ms\""),
            ("tko.probe_max = \"1m\"", "tko.probe_max = \"10ms\""),
            ("spool = true", "spool = false"),
            ("spool_name = ", "# "),
        ] {
            assert!(toml.contains(setting), "{setting} is not in {toml}");
            toml = toml.replace(setting, other);
        }
        let file = dir.path().join("ringroad.toml");
        std::fs::write(&file, toml).unwrap();
        let router = Ringroad::run(&file, port, dir);
        let direct = ["/direct/", "/"];
        let scene = Scene {
            servers,
            router,
            direct,
            down,
        };
        (0..timeouts.len()).for_each(|n| scene.settle(n));
        scene
    }

    /// A route of this type over so many pools.
    pub fn list(kind: &str, pools: usize) -> String {
        let children: Vec<String> = (0..pools).map(|n| format!("PoolRoute|p{n}")).collect();
        format!("{{\"type\": \"{kind}\", \"children\": {children:?}}}")
    }

    /// The scene of [`Scene::list`].
    pub fn of(kind: &str, pools: usize) -> Scene {
        Scene::mcrouter(&Scene::list(kind, pools), &vec![None; pools])
    }

    /// Has the servers answer so from now on, and forgets what they have got.
    pub fn script(&self, answers: Answers<'_>) -> Vec<usize> {
        for (n, server) in self.servers.iter().enumerate() {
            let mut mine: HashMap<String, Vec<String>> = HashMap::new();
            for (_, line, answer) in answers.iter().filter(|(server, ..)| *server == n) {
                let place = mine.entry((*line).to_owned()).or_default();
                place.push((*answer).to_owned());
            }
            let mine = Arc::new(Mutex::new(mine));
            server.follow(move |command| {
                if command.verb() == "version" {
                    return vec![Act::Serve];
                }
                let mut mine = mine.lock().unwrap();
                let all = mine.iter_mut();
                let fits = all.filter(|(line, _)| command.line.starts_with(line.as_str()));
                let found = fits.max_by_key(|(line, _)| line.len());
                let Some((_, answers)) = found else {
                    return Act::say("SERVER_ERROR unexpected\r\n");
                };
                let answer = match answers.len() {
                    1 => answers[0].clone(),
                    _ => answers.remove(0),
                };
                match answer.as_str() {
                    CLOSES => vec![Act::Close],
                    HANGS => vec![Act::Ignore],
                    answer => Act::say(answer),
                }
            });
        }
        self.servers
            .iter()
            .map(|server| server.log().len())
            .collect()
    }

    /// What a server has got since.
    pub fn got(&self, n: usize, since: usize) -> Vec<String> {
        let log = self.servers[n].log();
        let news = log.iter().skip(since);
        news.filter(|command| command.verb() != "version")
            .map(written)
            .collect()
    }

    /// Plays a request. Every server has got what `asked` says of it, in that order, and nothing else.
    #[track_caller]
    pub fn check(&self, (command, answers, want, asked): Case<'_>) {
        self.check_any((command, answers, "", asked), &[want]);
    }

    /// As [`Scene::check`], for an answer that may be one of several.
    #[track_caller]
    pub fn check_any(&self, (command, answers, _, asked): Case<'_>, want: &[&str]) {
        let since = self.script(answers);
        let mut client = self.router.client();
        client.send(format!("{command}mn\r\n"));
        let got = String::from_utf8(client.read_until(b"MN\r\n")).unwrap();
        let got = got.strip_suffix("MN\r\n").unwrap();
        assert!(
            want.contains(&got),
            "{command:?} with {answers:?}: {got:?}, not {want:?}"
        );
        for (n, since) in since.iter().enumerate() {
            let mine = asked.iter().filter(|(server, _)| *server == n);
            let want: Vec<String> = mine.map(|(_, line)| (*line).to_owned()).collect();
            let what = format!("{command:?} with {answers:?}: server {n} has got {want:?}");
            let end = std::time::Instant::now() + crate::support::PATIENCE;
            while self.got(n, *since) != want {
                let got = self.got(n, *since);
                assert!(std::time::Instant::now() < end, "{what}, not {got:?}");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            // Or the next case's answers would be taken for it.
            eventually("the server has its answer", || {
                self.servers[n].has_decided()
            });
        }
        for (n, ..) in answers.iter().filter(|(.., says)| *says == CLOSES) {
            self.settle(*n);
        }
        for (n, ..) in answers.iter().filter(|(.., says)| *says == HANGS) {
            self.drop_connection(*n);
            self.settle(*n);
        }
    }

    /// Plays a request to which server after server says this; those in `asked` get it as it is, and nothing else.
    #[track_caller]
    pub fn play(&self, command: &str, says: &[Outcome], asked: &[usize], want: &[&str]) {
        let says = says.iter().enumerate();
        let answers: Vec<(usize, &str, &str)> = says
            .filter(|(n, _)| asked.contains(n))
            .map(|(n, one)| (n, "", one.says))
            .collect();
        let asked: Vec<(usize, &str)> = asked.iter().map(|n| (*n, command)).collect();
        self.check_any((command, &answers, "", &asked), want);
    }

    /// Has the server close the connection at the next request, as it has left one there without an answer.
    fn drop_connection(&self, n: usize) {
        let mut closed = false;
        self.servers[n].follow(move |command| match (command.verb(), closed) {
            ("version", _) => vec![Act::Serve],
            (_, true) => Act::say(MISS),
            (_, false) => {
                closed = true;
                vec![Act::Close]
            }
        });
        let mut client = self.router.client();
        client.send(format!("get {}\r\nmn\r\n", self.direct(n)));
        client.read_until(b"MN\r\n");
    }

    fn direct(&self, n: usize) -> String {
        let [before, behind] = self.direct;
        format!("{before}{n}{behind}direct")
    }

    /// Waits until the server is in service again, after it has closed a connection.
    pub fn settle(&self, n: usize) {
        self.script(&[(n, "", MISS)]);
        let mut client = self.router.client();
        eventually(&format!("server {n} is back"), || {
            client.send(format!("get {}\r\n", self.direct(n)));
            client.line() == "END"
        });
    }

    #[track_caller]
    pub fn check_all(&self, cases: &[Case<'_>]) {
        for case in cases {
            self.check(*case);
        }
    }
}

/// A list of no children is a NullRoute, one of one child is that child.
pub fn no_child_and_one(kind: &str) {
    for children in ["\"\"", "[]"] {
        let route = format!("{{\"type\": \"{kind}\", \"children\": {children}}}");
        let scene = Scene::mcrouter(&route, &[None]);
        for op in ops() {
            scene.play(op.command, &[], &[], &[op.default]);
        }
    }
    for route in [
        Scene::list(kind, 1),
        format!("\"{kind}|Pool|p0\""),
        format!("\"{kind}|PoolRoute|p0\""),
    ] {
        let scene = Scene::mcrouter(&route, &[None]);
        for op in ops() {
            for answer in op.outcomes() {
                scene.play(op.command, &[answer], &[0], &[answer.seen]);
            }
        }
    }
}

/// Every request comes through this route to `p0` as it is, and every answer comes back.
pub fn all_passes(route: &str) {
    let scene = Scene::mcrouter(route, &[None]);
    for op in ops() {
        for answer in op.outcomes() {
            scene.play(op.command, &[answer], &[0], &[answer.seen]);
        }
    }
}
