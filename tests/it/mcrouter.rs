//! mcrouter's command line and configuration, unchanged, in front of real servers.
//!
//! Protects: the archived chart's arguments and JSON work as they are; keys go where mcrouter sent them; every example
//! file runs; what is converted to TOML routes the same; changes of the file and of what it imports are seen; exit codes
//! are mcrouter's.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::{self, Ringroad};

/// A directory in which the program is called `mcrouter`.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(router::binary(), dir.path().join("mcrouter")).unwrap();
        Place { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("mcrouter"));
        command.args(args);
        command
    }

    /// Runs it to its end.
    pub fn output(&self, args: &[&str]) -> (i32, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).stdin(Stdio::null()).output().unwrap();
        let text = [stdout, stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (status.code().unwrap(), text)
    }

    /// Runs it with a free port in the place of `PORT`.
    pub fn serve(self, args: &[&str]) -> Ringroad {
        let port = Port::reserve();
        let number = port.number().to_string();
        let args: Vec<String> = args
            .iter()
            .map(|arg| arg.replace("PORT", &number))
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ringroad::spawn(self.command(&args), port, self.dir)
    }
}

/// What the chart's template makes of these servers: with a comma behind the last one.
pub fn chart(servers: &[Memcached]) -> String {
    let servers: String = servers
        .iter()
        .map(|server| format!("        \"{}\",\n", server.addr()))
        .collect();
    format!(
        "{{\n  \"pools\": {{\n    \"A\": {{\n      \"servers\": [\n{servers}      ]\n    }}\n  }},\n  \"route\": \"PoolRoute|A\"\n}}\n"
    )
}

fn owner(servers: &[Memcached], key: &str) -> usize {
    let holders: Vec<usize> = (0..servers.len())
        .filter(|i| servers[*i].holds(key))
        .collect();
    assert_eq!(holders.len(), 1, "{key} is held by servers {holders:?}");
    holders[0]
}

/// Plain keys of the table recorded from mcrouter 0.36 with three servers, and the server of each.
fn recorded() -> Vec<(String, usize)> {
    include_str!("../golden/mcrouter-0.36/ch3_3.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let plain = fields[1]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
            let index = fields[2].parse().ok()?;
            plain.then(|| (fields[1].to_owned(), index))
        })
        .take(150)
        .collect()
}

#[test]
fn the_chart_s_arguments_and_configuration_work_as_they_are() {
    let servers = Memcached::several(3);
    let place = Place::new();
    let file = place.write("config.json", &chart(&servers));
    let router = place.serve(&["-p PORT", &format!("--config-file={file}")]);
    let mut c = router.client();
    let keys = recorded();
    assert!(keys.len() > 100);
    for (key, want) in &keys {
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(owner(&servers, key), *want, "{key}");
        c.ask(
            format!("get {key}\r\n"),
            format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"),
        );
    }
    // mcrouter has one thread unless it is told otherwise.
    let stats = router.client().stats("");
    let threads = stats
        .iter()
        .find(|(name, _)| name == "num_proxies")
        .unwrap();
    assert_eq!(threads.1, "1");
}

#[test]
fn what_is_converted_routes_the_same() {
    let servers = Memcached::several(3);
    let place = Place::new();
    let text = chart(&servers).replace(
        "\"PoolRoute|A\"",
        "{\"type\": \"PoolRoute\", \"pool\": \"A\", \"hash\": {\"hash_func\": \"WeightedCh3\", \"weights\": [1, 0.5, 0.2], \"salt\": \"s\"}}",
    );
    let file = place.write("config.json", &text);
    let converted = Command::new(router::binary())
        .args(["convert", &file])
        .output()
        .unwrap();
    assert!(converted.status.success());
    let port = Port::reserve();
    let toml = String::from_utf8(converted.stdout)
        .unwrap()
        .replace("127.0.0.1:5000", &port.addr().to_string());
    let dir = tempfile::tempdir().unwrap();
    let toml_file = dir.path().join("ringroad.toml");
    std::fs::write(&toml_file, toml).unwrap();
    let from_toml = Ringroad::run(&toml_file, port, dir);
    let from_json = place.serve(&["-pPORT", "-f", &file]);
    for (key, _) in recorded() {
        let (mut a, mut b) = (from_json.client(), from_toml.client());
        a.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        b.ask(format!("set {key} 0 0 1\r\ny\r\n"), "STORED\r\n");
        // One that went elsewhere would be on two servers.
        owner(&servers, &key);
        a.ask(
            format!("get {key}\r\n"),
            format!("VALUE {key} 0 1\r\ny\r\nEND\r\n"),
        );
    }
}

/// An example file with servers that are there.
fn example(name: &str, servers: &[Memcached]) -> (String, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config/mcrouter")
        .join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    let mut names = Vec::new();
    while let Some(end) = text.find(".example:11211") {
        let start = text[..end].rfind(['"', ' ', '(']).unwrap() + 1;
        let name = text[start..end].to_owned();
        let addr = servers[names.len()].addr().to_string();
        text = text.replace(&format!("{name}.example:11211"), &addr);
        names.push(name);
    }
    (text, names)
}

#[test]
fn every_example_runs() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mcrouter");
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let servers = Memcached::several(6);
        let place = Place::new();
        let file = place.write(&name, &example(&name, &servers).0);
        let router = place.serve(&["--port=PORT", "--config", &format!("file:{file}")]);
        let mut c = router.client();
        for key in ["a", "user:1", "user:session:1"] {
            c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
            c.ask(
                format!("get {key}\r\n"),
                format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"),
            );
        }
    }
}

#[test]
fn the_example_with_prefixes_routes_by_them() {
    let servers = Memcached::several(6);
    let place = Place::new();
    let (text, names) = example("prefixes.json", &servers);
    let file = place.write("p.json", &text);
    let router = place.serve(&["-p", "PORT", "-f", &file]);
    let mut c = router.client();
    for (prefix, pool) in [
        ("user:", "users"),
        ("user:session:", "sessions"),
        ("x:", "general"),
    ] {
        for i in 0..10 {
            let key = format!("{prefix}{i}");
            c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
            let name = &names[owner(&servers, &key)];
            assert!(name.starts_with(pool), "{key} is on {name}");
        }
    }
}

#[test]
fn the_example_with_failover_survives_its_main_pool() {
    let mut servers = Memcached::several(4);
    let place = Place::new();
    let (text, names) = example("failover.json", &servers);
    let spare = names.iter().position(|name| name == "spare-0").unwrap();
    let file = place.write("f.json", &text);
    let router = place.serve(&["-p", "PORT", "-f", &file]);
    let mut c = router.client();
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(!servers[spare].holds("k"));
    for index in (0..servers.len()).filter(|index| *index != spare) {
        servers[index].kill();
    }
    eventually("the spare pool takes over", || {
        c.send("set k 0 0 1\r\ny\r\n");
        c.line() == "STORED"
    });
    assert!(servers[spare].holds("k"));
    c.ask("get k\r\n", "VALUE k 0 1\r\ny\r\nEND\r\n");
}

#[test]
fn a_change_of_the_file_or_of_what_it_imports_is_seen() {
    let servers = Memcached::several(3);
    let place = Place::new();
    let pool = |i: usize| format!("{{\"A\": {{\"servers\": [\"{}\"]}}}}", servers[i].addr());
    let main = |pools: &str| format!("{{\"pools\": {pools}, \"route\": \"PoolRoute|A\"}}");
    place.write("pools.json", &pool(0));
    let file = place.write("main.json", &main("\"@import(pools.json)\""));
    let router = place.serve(&["-p", "PORT", "-f", &file]);
    let mut c = router.client();
    let mut number = 0;
    let mut goes_to = |index: usize| {
        eventually("the new configuration is used", || {
            number += 1;
            let key = format!("k{number}");
            c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
            owner(&servers, &key) == index
        });
    };
    goes_to(0);
    let write = |name: &str, text: &str| std::fs::write(router.dir().join(name), text).unwrap();
    write("pools.json", &pool(1));
    goes_to(1);
    // A file that is wrong changes nothing, and is still watched.
    let failed = || -> u64 {
        let stats = router.client().stats("ringroad");
        let found = stats
            .iter()
            .find(|(name, _)| name == "ringroad_failed_reloads");
        found.unwrap().1.parse().unwrap()
    };
    let before = failed();
    write("pools.json", "{\"A\": ");
    eventually("it is refused", || failed() > before);
    goes_to(1);
    write("pools.json", &pool(2));
    goes_to(2);
    // What is no longer imported does not matter.
    write("main.json", &main(&pool(0)));
    goes_to(0);
    router.hup();
    goes_to(0);
}

#[test]
fn a_configuration_on_the_command_line_and_a_log_in_a_file() {
    let server = Memcached::start();
    let place = Place::new();
    let text = format!(
        "{{\"route\": {{\"type\": \"PoolRoute\", \"pool\": {{\"name\": \"A\", \"servers\": [\"{}\"]}}}}}}",
        server.addr()
    );
    let log = place.path("log");
    let mut router = place.serve(&[
        "-p",
        "PORT",
        "--config",
        &text,
        "-L",
        &log.display().to_string(),
        "--rss-limit-mb",
        "16384",
        "--debug-fifo-root=/tmp/none",
        "--enable-flush-cmd",
    ]);
    let mut c = router.client();
    c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask("flush_all\r\n", "OK\r\n");
    c.ask("get a\r\n", "END\r\n");
    router.process().signal("TERM");
    assert_eq!(router.process().wait().code(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    for line in [
        "unrecognized option '--rss-limit-mb'",
        "the argument \"16384\" is no flag",
        "--debug-fifo-root means nothing here",
        "is ready",
    ] {
        assert!(log.contains(line), "{line} is missing in\n{log}");
    }
}

#[test]
fn exit_codes_are_those_of_mcrouter() {
    let place = Place::new();
    let good = "{\"pools\": {\"A\": {\"servers\": [\"127.0.0.1:1\"]}}, \"route\": \"PoolRoute|A\"}";
    let good = place.write("good.json", good);
    let bad = place.write(
        "bad.json",
        "{\"route\": \"PoolRoute|A\",\n \"pools\": {\"A\": {}}}",
    );
    let later = place.write("later.json", "{\"route\":\n  {\"type\": \"SRRoute\"}}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("-p{}", taken.local_addr().unwrap().port());
    for (args, code, says) in [
        (&["--help"][..], 0, "--config-file=VALUE"),
        (&["-V"], 0, "mcrouter"),
        (&["--validate-config", "-f", &good], 0, ""),
        (&["--validate-config=exit", "-p1", "-f", &good], 0, ""),
        (&["--validate-config", "-f", &bad], 3, "bad.json:2:17"),
        (
            &["--validate-config=run", "-p1", "-f", &bad],
            3,
            "`servers` is missing",
        ),
        (
            &["--validate-config", "-f", &later],
            3,
            "SRRoute needs services that only Meta has\n --> ",
        ),
        (&["-p1", "-f", &bad], 2, "`servers` is missing"),
        (&["-p1", "-f", "/none.json"], 2, "can't read /none.json"),
        (
            &["--listen-addresses=127.0.0.1", &taken, "-f", &good],
            2,
            "cannot listen on",
        ),
        (&["-f", &good], 3, "invalid ports"),
        (&["-p1"], 3, "there is no configuration"),
        (
            &["-p1", "-f", &good, "--num-proxies=0"],
            3,
            "usage: mcrouter",
        ),
        (
            &["-p1", "-f", &good, "--ssl-port=2"],
            3,
            "--ssl-port is not supported yet",
        ),
    ] {
        let (status, text) = place.output(args);
        assert_eq!(status, code, "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
}

#[test]
fn the_other_commands_take_the_json_too() {
    let place = Place::new();
    let text = "{\"pools\": {\"A\": {\"servers\": [\"10.0.0.1:1\", \"10.0.0.2:1\", \"10.0.0.3:1\"]}}, \"route\": \"PoolRoute|A\"}";
    let file = place.write("c.json", text);
    let run = |args: &[&str]| {
        let output = Command::new(router::binary()).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    for (args, says) in [
        (&["check", &file][..], "is right"),
        (&["check", "--toml", &file], "distribution = \"ch3\""),
        (&["convert", &file], "hash_stop = true"),
        (&["explain", "--config", &file, "foo"], "10.0.0.2:1"),
        (&["mcrouter", "--validate-config", "-f", &file], ""),
    ] {
        let (code, text) = run(args);
        assert_eq!(code, 0, "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
    let (code, text) = run(&["convert", &place.write("bad.json", "{}")]);
    assert!(code == 1 && text.contains("there is no `route`"), "{text}");
}
