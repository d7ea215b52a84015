//! Deletions that fail: written down, acknowledged, and done when their server is back.
//!
//! Protects: the lines are mcrouter's to the byte; a deletion that was answered with `NOT_FOUND` because it was written down
//! is in the files, whenever the process is killed, and reaches its server in its order; routes above a pool see it as
//! a deletion that found nothing; copies, conditional deletions and everything else are as without a spool; where
//! nothing can be written, clients get the error and the log says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::http;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::rng::Rng;
use crate::support::router::{self, Ringroad, Setup};
use crate::support::scripted::{Act, Scripted};
use crate::support::{eventually, wait_for};

/// The spool's section for a directory, which nothing is replayed from.
fn section(dir: &Path, more: &str) -> String {
    format!(
        "[spool]\ndir = {:?}\nreplay = false\n{more}",
        dir.to_str().unwrap()
    )
}

/// A server's refusal of every deletion.
fn refuses(command: &crate::support::scripted::Command) -> Vec<Act> {
    match command.verb() {
        "delete" | "md" => Act::say("SERVER_ERROR out of order\r\n"),
        _ => vec![Act::Serve],
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for hour in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let files = std::fs::read_dir(hour.path()).into_iter().flatten();
        all.extend(files.flatten().map(|file| file.path()));
    }
    all.sort();
    all
}

/// Every line, in the order of the files.
fn lines(dir: &Path) -> Vec<String> {
    let texts = files(dir)
        .into_iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The line without its time, which must be a number of seconds of this decade.
fn timeless(line: &str) -> String {
    let parts: Vec<&str> = line.splitn(3, ',').collect();
    let time: f64 = parts[1].parse().unwrap();
    assert!(time > 1.6e9 && time < 1e11, "{line}");
    format!("{},T,{}", parts[0], parts[2])
}

fn replay(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(router::binary());
    command.arg("replay").arg(dir).args(args).output().unwrap()
}

/// The keys that a server was told to delete, in order.
fn deleted(server: &Scripted) -> Vec<String> {
    let log = server.log().into_iter();
    let deletes = log.filter(|command| command.verb() == "delete");
    deletes
        .map(|command| command.args()[0].to_owned())
        .collect()
}

#[test]
fn both_formats_are_written_to_the_byte() {
    for (format, name, want) in [
        (
            "v1",
            "ringroad",
            r#"["AS1.0",T,"C",["127.0.0.1",PORT,"delete KEY\r\n"]]"#,
        ),
        (
            "v2",
            "svc",
            r#"["AS2.0",T,"C",{"a":{"al":1},"f":"fl","h":"[127.0.0.1]:PORT","k":"KEY","p":"cache","r":"reg","s":"svc"}]"#,
        ),
    ] {
        for fsync in ["never", "each", "interval"] {
            let dir = tempfile::tempdir().unwrap();
            let port = Port::reserve();
            let spool = section(
                &dir.path().join("made"),
                &format!(
                    "format = {format:?}\nfsync = {fsync:?}\nservice_name = {name:?}\nrouter_name = \"rt\"\nregion = \"reg\"\nflavor = \"fl\""
                ),
            );
            let router = Setup::new([port.addr()])
                .pool("spool = true")
                .table(&spool)
                .start();
            let mut c = router.client();
            c.ask("delete k1\r\n", "NOT_FOUND\r\n");
            c.ask("delete k2 noreply\r\ndelete k\\\"3\r\n", "NOT_FOUND\r\n");
            c.ask("md k4\r\n", "NF\r\n");
            c.ask("md k5 q k O7\r\nmn\r\n", "NF kk5 O7\r\nMN\r\n");
            // The bytes of `k6`.
            c.ask("md azY= b\r\n", "NF\r\n");
            let spool = dir.path().join("made");
            let seen: Vec<String> = lines(&spool).iter().map(|line| timeless(line)).collect();
            let keys = ["k1", "k2", r#"k\\\"3"#, "k4", "k5", "k6"];
            let port = port.number().to_string();
            let want: Vec<String> = keys
                .iter()
                .map(|key| want.replace("PORT", &port).replace("KEY", key))
                .collect();
            assert_eq!(seen, want);
            let file = files(&spool).remove(0);
            let file = file.file_name().unwrap().to_str().unwrap();
            let parts: Vec<&str> = file.split('-').collect();
            assert_eq!((parts.len(), parts[2], parts[3]), (6, name, "rt"), "{file}");
        }
    }
}

#[test]
fn what_is_no_plain_deletion_is_answered_with_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let router = Setup::new([port.addr()])
        .pool("spool = true")
        .top("miss_on_get_errors = false")
        .table(&section(dir.path(), ""))
        .start();
    let mut c = router.client();
    for command in [
        "md k C1\r\n",
        "md k I T30\r\n",
        "md k x\r\n",
        "set k 0 0 1\r\nx\r\n",
        "touch k 0\r\n",
        "incr k 1\r\n",
        "get k\r\n",
        // The key has a blank, which no line can hold.
        "md ayA= b\r\n",
    ] {
        c.send(command);
        let line = c.line();
        assert!(line.starts_with("SERVER_ERROR"), "{command}: {line}");
    }
    assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn routes_above_see_a_deletion_that_found_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = section(dir.path(), "");
    let dead = Scripted::start(refuses);
    let live = Memcached::start();
    let other = format!("[pools.live]\nservers = [\"{}\"]", live.addr());
    let both = "children = [\"cache\", \"live\"]";
    for (route, reaches) in [
        (format!("{{ type = \"failover\", {both} }}"), false),
        (
            format!("{{ type = \"selective-failover\", {both} }}"),
            false,
        ),
        (format!("{{ type = \"all-sync\", {both} }}"), true),
        (format!("{{ type = \"all-initial\", {both} }}"), true),
        // A miss leads on.
        (format!("{{ type = \"miss-failover\", {both} }}"), true),
    ] {
        let router = Setup::new([dead.addr()])
            .pool("spool = true")
            .top(&format!("route = {route}"))
            .table(&other)
            .table(&spool)
            .start();
        let before = lines(dir.path()).len();
        live.client().ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        let mut c = router.client();
        let want = if route.contains("miss-failover") {
            "DELETED\r\n"
        } else {
            "NOT_FOUND\r\n"
        };
        c.ask("delete k\r\n", want);
        eventually("it is as the route says", || live.holds("k") != reaches);
        assert_eq!(lines(dir.path()).len(), before + 1, "{route}");
    }
    // Without the spool the failover goes on.
    let router = Setup::new([dead.addr()])
        .top(&format!("route = {{ type = \"failover\", {both} }}"))
        .table(&other)
        .start();
    live.client().ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    router.client().ask("delete k\r\n", "DELETED\r\n");
    assert!(!live.holds("k"));
}

#[test]
fn copies_are_not_written_down_and_what_took_over_is_deleted_too() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Scripted::start(refuses);
    let live = Scripted::well_behaved();
    let router = Setup::new([dead.addr()])
        .pool("spool = true")
        .top("route = { type = \"shadow\", children = [\"live\", \"cache\"] }")
        .table(&format!("[pools.live]\nservers = [\"{}\"]", live.addr()))
        .table(&section(dir.path(), ""))
        .start();
    router.client().ask("delete k\r\n", "NOT_FOUND\r\n");
    eventually("the copy has arrived", || deleted(&dead) == ["k"]);
    router.client().ask("delete l\r\n", "NOT_FOUND\r\n");
    eventually("the copy has arrived", || deleted(&dead) == ["k", "l"]);
    assert_eq!(lines(dir.path()), [] as [&str; 0]);

    // With `on_failure = "next"` others have the keys meanwhile.
    let gone = Port::reserve();
    let servers = [gone.addr(), live.addr()];
    let router = Setup::new(servers)
        .pool("spool = true")
        .pool("on_failure = \"next\"")
        .table(&section(dir.path(), ""))
        .start();
    let mut c = router.client();
    for n in 0..40 {
        c.ask(format!("set k{n} 0 0 1\r\nx\r\n"), "STORED\r\n");
        c.ask(format!("delete k{n}\r\n"), "DELETED\r\n");
    }
    let spooled = lines(dir.path());
    assert!(
        !spooled.is_empty() && spooled.len() < 40,
        "{}",
        spooled.len()
    );
    let port = format!(",{},", gone.number());
    assert!(spooled.iter().all(|line| line.contains(&port)));
}

#[test]
fn what_is_written_down_is_done_when_the_server_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(refuses);
    let spool = section(dir.path(), "").replace("replay = false", "replay = true");
    let admin = Port::reserve();
    let router = Setup::new([server.addr()])
        .pool("spool = true")
        .table(&spool)
        .table(&format!("[admin]\nlisten = \"{}\"", admin.addr()))
        .start();
    let mut c = router.client();
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for key in &keys {
        c.ask(format!("delete {key}\r\n"), "NOT_FOUND\r\n");
    }
    let seen = deleted(&server).len();
    server.follow(|command| match command.verb() {
        "delete" => Act::say("DELETED\r\n"),
        _ => vec![Act::Serve],
    });
    eventually("the files are delivered", || files(dir.path()).is_empty());
    // What it had refused when it was tried meanwhile does not count.
    let all = deleted(&server);
    assert_eq!(all[all.len() - 50..], keys, "after the first {seen}");
    eventually("the figures say so", || {
        let page = http::get(admin.addr(), "/metrics").1;
        let has = |line: &str| page.lines().any(|one| one == line);
        has("ringroad_spool_deletes_total 50")
            && has("ringroad_spool_replayed_total 50")
            && has("ringroad_spool_dropped_total 0")
            && has("ringroad_spool_at_bound 0")
    });
    drop(router);
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Memcached::start();
    server.kill();
    let mut rng = Rng::new(5);
    let acknowledged: Mutex<Vec<Vec<String>>> = Mutex::default();
    for (round, fsync) in ["never", "each", "interval", "never", "each"]
        .iter()
        .enumerate()
    {
        let mut router = Setup::new([server.addr()])
            .pool("spool = true")
            .top("workers = 2")
            .table(&section(dir.path(), &format!("fsync = {fsync:?}")))
            .start();
        let addr = router.addr();
        let most = rng.between(1, 2000);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (count, acknowledged) = (&count, &acknowledged);
                scope.spawn(move || {
                    use std::io::{BufRead, BufReader, Write};
                    let stream = std::net::TcpStream::connect(addr).unwrap();
                    let mut replies = BufReader::new(stream.try_clone().unwrap());
                    let mut keys = Vec::new();
                    for number in 0.. {
                        let key = format!("r{round}_c{client}_{number}");
                        if (&stream)
                            .write_all(format!("delete {key}\r\n").as_bytes())
                            .is_err()
                        {
                            break;
                        }
                        let mut line = String::new();
                        match replies.read_line(&mut line) {
                            Ok(_) if line == "NOT_FOUND\r\n" => keys.push(key),
                            Ok(n) if n > 0 && line.ends_with('\n') => panic!("{line}"),
                            _ => break,
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    acknowledged.lock().unwrap().push(keys);
                });
            }
            eventually("so many are acknowledged", || {
                count.load(Ordering::Relaxed) >= most
            });
            router.process().kill();
        });
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.iter().any(|keys| !keys.is_empty()));
    // As if the last one had been killed in the middle of a line.
    let last = files(dir.path()).pop().unwrap();
    let mut text = std::fs::read(&last).unwrap();
    text.extend_from_slice(b"[\"AS1.0\",1795151056.27,\"C\",[\"127.0");
    std::fs::write(&last, text).unwrap();
    // In order, to one that records it.
    let recorder = Scripted::well_behaved();
    let copy = tempfile::tempdir().unwrap();
    for (number, file) in files(dir.path()).iter().enumerate() {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.replace(
            &format!(",{},", server.addr().port()),
            &format!(",{},", recorder.addr().port()),
        );
        let hour = copy
            .path()
            .join(file.parent().unwrap().file_name().unwrap());
        std::fs::create_dir_all(&hour).unwrap();
        std::fs::write(hour.join(file.file_name().unwrap()), text).unwrap();
        assert!(number < 20, "a file for each process");
    }
    let output = replay(copy.path(), &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(files(copy.path()), [] as [PathBuf; 0]);
    let arrived: BTreeMap<String, usize> = deleted(&recorder).into_iter().zip(0..).collect();
    for keys in &acknowledged {
        let places: Vec<usize> = keys.iter().map(|key| arrived[key]).collect();
        assert!(
            places.is_sorted(),
            "a client's deletions are in their order"
        );
    }
    // And to the server itself, which has what should be gone.
    server.restart();
    let mut c = server.client();
    let all: BTreeSet<&String> = acknowledged.iter().flatten().collect();
    for key in &all {
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let output = replay(dir.path(), &["--rate", "1000000"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("only half there"), "{told}");
    for key in &all {
        c.ask(format!("get {key}\r\n"), "END\r\n");
    }
}

#[test]
fn the_daemon_delivers_what_another_one_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Memcached::start();
    let addr = server.addr();
    server.kill();
    {
        let router = Setup::new([addr])
            .pool("spool = true")
            .table(&section(dir.path(), ""))
            .start();
        let mut c = router.client();
        for n in 0..300 {
            c.ask(format!("delete k{n}\r\n"), "NOT_FOUND\r\n");
        }
    }
    // A line for a server that is in no pool.
    let file = files(dir.path()).remove(0);
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("[\"AS1.0\",1,\"C\",[\"10.9.8.7\",1,\"delete gone\\r\\n\"]]\n");
    std::fs::write(&file, text).unwrap();
    server.restart();
    let mut c = server.client();
    for n in 0..300 {
        c.ask(format!("set k{n} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let live = section(dir.path(), "").replace("replay = false", "replay = true");
    {
        let mut router = Setup::new([addr]).pool("spool = true").table(&live).start();
        for n in 0..300 {
            eventually("it is deleted", || !server.holds(&format!("k{n}")));
        }
        eventually("the log says that a server is unknown", || {
            router.process().output().contains("10.9.8.7:1")
        });
        assert!(file.exists(), "it stays");
    }
    let router = Setup::new([addr])
        .pool("spool = true")
        .table(&format!("{live}unknown_servers = \"drop\""))
        .start();
    eventually("it counts as delivered", || !file.exists());
    drop(router);
}

#[test]
fn where_nothing_can_be_written_clients_get_the_error() {
    let dir = tempfile::tempdir().unwrap();
    // Rights do not keep root from writing, but a file where the directory should be does.
    let place = dir.path().join("spool");
    std::fs::write(&place, "").unwrap();
    let dead = Scripted::start(refuses);
    let live = Memcached::start();
    let mut router = Setup::new([dead.addr()])
        .pool("spool = true")
        .top("route = { type = \"prefix\", default = \"cache\", prefixes = { \"f\" = { type = \"failover\", children = [\"cache\", \"live\"] } } }")
        .table(&format!("[pools.live]\nservers = [\"{}\"]", live.addr()))
        .table(&section(&place, ""))
        .start();
    let mut c = router.client();
    c.ask("delete k\r\n", "SERVER_ERROR out of order\r\n");
    c.ask("md k\r\n", "SERVER_ERROR out of order\r\n");
    live.client().ask("set f 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask("delete f\r\n", "DELETED\r\n");
    let log = router.process().output();
    assert_eq!(
        log.matches("the spool can't be written").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("can't be written to the spool").count(),
        1,
        "{log}"
    );
    // No restart is needed.
    std::fs::remove_file(&place).unwrap();
    c.ask("delete k\r\n", "NOT_FOUND\r\n");
    assert_eq!(lines(&place).len(), 1);
}

#[test]
fn a_full_disk_is_told_and_costs_no_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(refuses);
    // No file of this process may be larger than 32 or 64 KiB, whatever the shell's block is.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    command.arg(router::binary());
    let port = Port::reserve();
    let own = tempfile::tempdir().unwrap();
    let config = own.path().join("ringroad.toml");
    let setup = Setup::new([server.addr()])
        .pool("spool = true")
        .table("[log]\nlevel = \"error\"")
        .table(&section(dir.path(), ""));
    std::fs::write(&config, setup.text(port.number())).unwrap();
    command.args(["run", "--config"]).arg(&config);
    let router = Ringroad::spawn(command, port, own);
    let mut c = router.client();
    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    for n in 0..1200 {
        let key = format!("{n}_{}", "k".repeat(200));
        c.send(format!("delete {key}\r\n"));
        match c.line().as_str() {
            "NOT_FOUND" => {
                acknowledged.insert(key);
            }
            "SERVER_ERROR out of order" => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "a file was full");
    let written: BTreeSet<String> = lines(dir.path())
        .iter()
        .map(|line| {
            let (_, rest) = line.split_once("delete ").unwrap();
            rest.split_once("\\r\\n\"]]").unwrap().0.to_owned()
        })
        .collect();
    assert_eq!(written, acknowledged);
}

#[test]
fn mcrouter_s_flags_and_json_mean_what_they_mean_there() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let server = Port::reserve();
    let live = Memcached::start();
    let config = dir.path().join("config.json");
    std::fs::write(
        &config,
        format!(
            r#"{{
                "pools": {{"A": {{"servers": ["{}"]}}, "B": {{"servers": ["{}"]}}, "K": {{"servers": ["{}"], "keep_routing_prefix": true}}}},
                "route": {{"type": "PrefixSelectorRoute", "wildcard": "PoolRoute|A", "policies": {{
                    "off": {{"type": "PoolRoute", "pool": "A", "asynclog": false}},
                    "named": {{"type": "PoolRoute", "pool": "A", "asynclog_name": "log"}},
                    "list": "AllSyncRoute|Pool|A",
                    "kept": "PoolRoute|K",
                    "limit": {{"type": "PoolRoute", "pool": "A", "max_outstanding": 5}},
                    "fail": {{"type": "FailoverRoute", "children": ["PoolRoute|A", "PoolRoute|B"]}},
                    "all": {{"type": "AllSyncRoute", "children": ["PoolRoute|B", "PoolRoute|A"]}}
                }}}}
            }}"#,
            server.addr(),
            live.addr(),
            server.addr()
        ),
    )
    .unwrap();
    let start = |args: &[&str]| {
        let port = Port::reserve();
        let mut command = Command::new(router::binary());
        command.args(["mcrouter", "-p", &port.number().to_string(), "-f"]);
        command.arg(&config).args(args);
        Ringroad::spawn(command, port, tempfile::tempdir().unwrap())
    };
    let path = spool.to_str().unwrap();
    let exchange = |router: &Ringroad, key: &str| {
        let mut c = router.client();
        c.send(format!("delete {key}\r\n"));
        c.line()
    };
    let is_error = |line: String| line.starts_with("SERVER_ERROR");
    let router = start(&["--async-dir", path]);
    for key in ["k", "named", "fail", "all", "limit"] {
        live.client()
            .ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(exchange(&router, key), "NOT_FOUND");
    }
    assert!(live.holds("fail") && !live.holds("all"));
    assert!(is_error(exchange(&router, "off")) && is_error(exchange(&router, "list")));
    let name = files(&spool).remove(0);
    assert!(name.to_str().unwrap().contains("-mcrouter-"), "{name:?}");
    let v1 = |key: &str| {
        format!(
            r#"["AS1.0",T,"C",["127.0.0.1",{},"delete {key}\r\n"]]"#,
            server.number()
        )
    };
    let seen: Vec<String> = lines(&spool).iter().map(|line| timeless(line)).collect();
    let want = ["k", "named", "fail", "all", "limit"].map(v1);
    assert_eq!(seen, want);
    // The key as the server sees it: without its routing prefix, unless the pool keeps it.
    assert_eq!(exchange(&router, "/././k"), "NOT_FOUND");
    assert_eq!(exchange(&router, "/././kept"), "NOT_FOUND");
    let seen: Vec<String> = lines(&spool).iter().map(|line| timeless(line)).collect();
    assert_eq!(seen[5..], [v1("k"), v1("/././kept")]);
    drop(router);

    let v2 = tempfile::tempdir().unwrap();
    let router = start(&["-a", v2.path().to_str().unwrap(), "--use-asynclog-version2"]);
    assert_eq!(exchange(&router, "named"), "NOT_FOUND");
    let want = format!(
        r#"["AS2.0",T,"C",{{"a":{{"al":1}},"f":"unknown","h":"[127.0.0.1]:{}","k":"named","p":"log","r":".","s":"mcrouter"}}]"#,
        server.number()
    );
    assert_eq!(timeless(&lines(v2.path())[0]), want);
    drop(router);

    let router = start(&["--async-dir", path, "--asynclog-disable"]);
    assert!(is_error(exchange(&router, "k")));
    live.client().ask("set fail 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(exchange(&router, "fail"), "DELETED");
    drop(router);

    // The directory is not there: it serves, and says so.
    let missing = dir.path().join("missing");
    let mut router = start(&["--async-dir", missing.to_str().unwrap()]);
    assert!(is_error(exchange(&router, "k")));
    let log = router.process().output();
    assert_eq!(
        log.matches("the spool can't be written").count(),
        1,
        "{log}"
    );
    assert!(!missing.exists());
}

#[test]
fn the_command_tells_what_it_does_and_leaves_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(refuses);
    let router = Setup::new([server.addr()])
        .pool("spool = true")
        .table(&section(dir.path(), ""))
        .start();
    router.client().ask("delete k\r\n", "NOT_FOUND\r\n");
    let text = |output: &Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
    };
    let output = replay(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("is being written"),
        "{}",
        text(&output)
    );
    drop(router);
    let place = server.addr().to_string();
    let output = replay(dir.path(), &["--dry-run"]);
    assert!(output.status.success());
    assert!(
        text(&output).contains(&format!("{place}: 1 to send, 0 waiting")),
        "{}",
        text(&output)
    );
    // It does not take it.
    let output = replay(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("it answered: SERVER_ERROR out of order"),
        "{}",
        text(&output)
    );
    assert_eq!(files(dir.path()).len(), 1);
    let output = replay(dir.path(), &["--drop", &place]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(files(dir.path()).len(), 0);
    let output = replay(&dir.path().join("none"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let help = wait_for("help", || {
        Command::new(router::binary())
            .args(["replay", "--help"])
            .output()
            .ok()
    });
    assert!(text(&help).contains("--mcrouter-has-ended"));
}

#[test]
fn a_client_that_has_left_does_not_take_its_deletion_along() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(|command| match command.verb() {
        "delete" => vec![Act::Ignore],
        _ => vec![Act::Serve],
    });
    let live = Memcached::start();
    let router = Setup::new([server.addr()])
        .pool("spool = true")
        .pool("timeout = \"300ms\"")
        .top("route = { type = \"prefix\", default = \"cache\", prefixes = { \"all\" = { type = \"all-sync\", children = [\"live\", \"cache\"] } } }")
        .table(&format!("[pools.live]\nservers = [\"{}\"]", live.addr()))
        .table(&section(dir.path(), ""))
        .start();
    for key in ["one", "all"] {
        let before = deleted(&server).len();
        let mut c = router.client();
        c.send(format!("delete {key}\r\n"));
        eventually("it is on its way", || deleted(&server).len() > before);
        drop(c);
        let line = format!("delete {key}\\r\\n");
        eventually("it is written down", || {
            lines(dir.path()).iter().any(|one| one.contains(&line))
        });
    }
}

#[test]
fn a_spool_may_be_added_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(refuses);
    let router = Setup::new([server.addr()]).start();
    let mut c = router.client();
    c.ask("delete k\r\n", "SERVER_ERROR out of order\r\n");
    let spool = section(dir.path(), "").replace("replay = false", "replay = true");
    router.write_config(
        &Setup::new([server.addr()])
            .pool("spool = true")
            .table(&spool),
    );
    router.hup();
    eventually("it is written down", || {
        c.send("delete k\r\n");
        c.line() == "NOT_FOUND"
    });
    server.follow(|command| match command.verb() {
        "delete" => Act::say("DELETED\r\n"),
        _ => vec![Act::Serve],
    });
    eventually("and delivered", || files(dir.path()).is_empty());
    // Without it, deletions are as they were.
    server.follow(refuses);
    router.write_config(&Setup::new([server.addr()]));
    router.hup();
    eventually("it is told", || {
        c.send("delete k\r\n");
        c.line() == "SERVER_ERROR out of order"
    });
}

/// Cleaners of temporary files do that, and people do.
#[test]
fn a_directory_that_is_removed_or_moved_is_made_again_with_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("spool");
    let server = Scripted::start(refuses);
    let admin = Port::reserve();
    let mut router = Setup::new([server.addr()])
        .pool("spool = true")
        .table(&section(&place, ""))
        .table(&format!("[admin]\nlisten = \"{}\"", admin.addr()))
        .start();
    let mut c = router.client();
    let keys = || -> Vec<String> {
        let lines = lines(&place).into_iter();
        let keys = lines.map(|line| line.split("delete ").nth(1).unwrap()[..2].to_owned());
        keys.collect()
    };
    let displaced = || {
        let page = http::get(admin.addr(), "/metrics").1;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("ringroad_spool_displaced_total "));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    c.ask("delete k1\r\n", "NOT_FOUND\r\n");
    std::fs::remove_dir_all(&place).unwrap();
    // Nothing is acknowledged that is in no file.
    c.ask("delete k2\r\n", "NOT_FOUND\r\n");
    assert_eq!(keys(), ["k1", "k2"]);
    assert_eq!(displaced(), 1);
    // It is seen without a deletion, too.
    std::fs::remove_file(files(&place).remove(0)).unwrap();
    eventually("it is written again", || keys() == ["k1", "k2"]);
    // What was moved is where it was moved to.
    let moved = dir.path().join("moved");
    std::fs::rename(&place, &moved).unwrap();
    eventually("it is seen", || displaced() == 3);
    c.ask("delete k3\r\n", "NOT_FOUND\r\n");
    assert_eq!(keys(), ["k3"]);
    assert_eq!(lines(&moved).len(), 2);
    drop(c);
    let log = router.process().output();
    assert_eq!(
        log.matches("was removed while it was written").count(),
        2,
        "{log}"
    );
    assert_eq!(
        log.matches("was moved while it was written").count(),
        1,
        "{log}"
    );
    assert!(log.contains("ringroad replay"), "{log}");
    // Until a file can be begun nothing is acknowledged, and what had been is not forgotten.
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    c = router.client();
    c.ask("delete k4\r\n", "SERVER_ERROR out of order\r\n");
    std::fs::remove_file(&place).unwrap();
    eventually("it is written again", || keys() == ["k3"]);
}

#[test]
fn the_files_have_a_bound_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let server = Scripted::start(refuses);
    let admin = Port::reserve();
    let router = Setup::new([server.addr()])
        .pool("spool = true")
        .table(&section(dir.path(), "max_bytes = \"1MiB\""))
        .table(&format!("[admin]\nlisten = \"{}\"", admin.addr()))
        .start();
    let mut c = router.client();
    let mut last = String::new();
    for turn in 0..40 {
        let keys: Vec<String> = (0..100)
            .map(|n| format!("{turn}_{n}_{}", "k".repeat(230)))
            .collect();
        let requests: String = keys.iter().map(|key| format!("delete {key}\r\n")).collect();
        c.ask(requests, "NOT_FOUND\r\n".repeat(100));
        last = keys[99].clone();
    }
    let sizes = files(dir.path()).into_iter();
    let bytes: u64 = sizes.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes > 800_000 && bytes <= 1 << 20, "{bytes}");
    let page = http::get(admin.addr(), "/metrics").1;
    let figure = |name: &str| -> u64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let left = lines(dir.path());
    assert!(left.last().unwrap().contains(&last), "the newest are there");
    assert_eq!(
        left.len() as u64 + figure("ringroad_spool_dropped_total "),
        4000
    );
    assert_eq!(figure("ringroad_spool_bytes "), bytes);
    assert_eq!(figure("ringroad_spool_at_bound "), 1);
}
