//! Real servers that die, come back, hang and wake up.
//!
//! Protects: every request gets a defined answer, at once or at the timeout, never a hang and never another
//! key's value; keys on healthy servers notice nothing; a server that comes back is used again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::support::client::Client;
use crate::support::port::Port;
use crate::support::rng::Rng;
use crate::support::router::{Cluster, Setup};
use crate::support::{SetOnDrop, eventually, show};

/// Recovers fast, so that tests need not wait.
pub const QUICK_PROBES: &str =
    "tko = { after = 3, probe_min = \"20ms\", probe_max = \"100ms\", hold_down = \"0s\" }";

fn quick(setup: Setup) -> Setup {
    setup.pool("timeout = \"300ms\"").pool(QUICK_PROBES)
}

/// What a failed update may be answered with.
fn is_server_error(line: &str) -> bool {
    line.starts_with("SERVER_ERROR ") && line.len() > 15
}

fn value(key: &str) -> String {
    format!("VALUE {key} 0 1\r\nx\r\n")
}

#[test]
fn a_dead_server_fails_its_own_keys_only_and_comes_back() {
    let mut cluster = Cluster::with(3, quick);
    let keys = cluster.keys_by_server(5);
    let mut c = cluster.client();
    cluster.servers[1].kill();
    for round in 0..20 {
        for key in &keys[1] {
            c.ask(format!("get {key}\r\n"), "END\r\n");
            c.ask(
                format!("mg {key} v k O{round}\r\n"),
                format!("EN k{key} O{round}\r\n"),
            );
            c.send(format!("set {key} 0 0 1\r\ny\r\n"));
            let line = c.line();
            assert!(is_server_error(&line), "set on a dead server: {line}");
            c.send(format!(
                "delete {key}\r\nincr {key} 1\r\ntouch {key} 0\r\nms {key} 1\r\ny\r\n"
            ));
            for what in ["delete", "incr", "touch", "ms"] {
                let line = c.line();
                assert!(is_server_error(&line), "{what} on a dead server: {line}");
            }
            c.send(format!(
                "set {key} 0 0 1 noreply\r\ny\r\nms {key} 1 q\r\ny\r\n"
            ));
            // A quiet command still shows an error; noreply hides it.
            let line = c.line();
            assert!(
                is_server_error(&line),
                "a quiet ms on a dead server: {line}"
            );
            c.fence();
        }
        for key in keys[0].iter().chain(&keys[2]) {
            c.ask(format!("get {key}\r\n"), format!("{}END\r\n", value(key)));
        }
        let (a, b, d) = (&keys[0][0], &keys[1][0], &keys[2][0]);
        c.ask(
            format!("get {a} {b} {d} {b} {a}\r\n"),
            format!("{}{}{}END\r\n", value(a), value(d), value(a)),
        );
    }
    cluster.servers[1].restart();
    let key = &keys[1][0];
    eventually("the restarted server is used again", || {
        c.send(format!("set {key} 0 0 1\r\nx\r\n"));
        c.line() == "STORED"
    });
    assert_eq!(cluster.owner(key), 1);
    c.ask(format!("get {key}\r\n"), format!("{}END\r\n", value(key)));
}

#[test]
fn failed_gets_show_the_error_where_that_is_asked_for() {
    let mut cluster = Cluster::with(3, |s| quick(s).top("miss_on_get_errors = false"));
    let keys = cluster.keys_by_server(2);
    let mut c = cluster.client();
    cluster.servers[0].kill();
    let (dead, alive) = (&keys[0][0], &keys[1][0]);
    for command in ["get", "gets", "gat 0"] {
        c.send(format!("{command} {dead}\r\n"));
        let line = c.line();
        assert!(is_server_error(&line), "{command}: {line}");
    }
    c.send(format!("mg {dead} v\r\n"));
    let line = c.line();
    assert!(is_server_error(&line), "mg: {line}");
    c.ask(
        format!("get {alive}\r\n"),
        format!("{}END\r\n", value(alive)),
    );
    // Of several keys: whatever came before the error, the error ends the reply.
    c.send(format!("get {alive} {dead} {alive}\r\n"));
    let mut lines = vec![c.line()];
    while !is_server_error(lines.last().unwrap()) {
        assert_ne!(
            lines.last().unwrap(),
            "END",
            "a failed multi-get looks complete: {lines:?}"
        );
        lines.push(c.line());
    }
    c.fence();
}

#[test]
fn with_every_server_down_every_command_has_an_answer() {
    let cluster = Cluster::with(2, |s| quick(s).top("flush_all = true"));
    let mut c = cluster.client();
    let Cluster {
        mut servers,
        router,
    } = cluster;
    for server in &mut servers {
        server.kill();
    }
    for _ in 0..3 {
        c.ask("get a b c\r\n", "END\r\n")
            .ask("gets a\r\n", "END\r\n")
            .ask("gat 0 a b\r\n", "END\r\n");
        c.ask("mg a v\r\n", "EN\r\n");
        for request in [
            "set a 0 0 1\r\nx\r\n",
            "add a 0 0 1\r\nx\r\n",
            "cas a 0 0 1 1\r\nx\r\n",
            "delete a\r\n",
            "incr a 1\r\n",
            "decr a 1\r\n",
            "touch a 0\r\n",
            "ms a 1\r\nx\r\n",
            "md a\r\n",
            "ma a\r\n",
            "flush_all\r\n",
        ] {
            c.send(request);
            let line = c.line();
            assert!(
                is_server_error(&line),
                "{}: {line}",
                show(request.as_bytes())
            );
        }
        c.send("me a\r\n");
        let line = c.line();
        assert!(is_server_error(&line) || line == "EN", "me: {line}");
        c.ask("bogus\r\n", "ERROR\r\n").fence();
        c.send("version\r\n");
        assert!(c.line().starts_with("VERSION "));
        assert!(!c.stats("").is_empty());
    }
    drop(router);
}

#[test]
fn a_server_that_was_never_there() {
    // One port that refuses, one that accepts and says nothing.
    let refusing = Port::reserve();
    let mute = Port::reserve();
    let _listener = mute.listen();
    for port in [&refusing, &mute] {
        let router = quick(Setup::new([port.addr()]))
            .pool("connect_timeout = \"200ms\"")
            .start();
        let mut c = router.client();
        let started = Instant::now();
        for _ in 0..5 {
            c.ask("get a\r\n", "END\r\n");
            c.send("set a 0 0 1\r\nx\r\n");
            assert!(is_server_error(&c.line()));
        }
        assert!(
            started.elapsed().as_secs() < 10,
            "took {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_hanging_server_costs_the_timeout_and_its_late_answers_go_to_nobody() {
    let cluster = Cluster::with(3, |s| quick(s).top("workers = 1"));
    let keys = cluster.keys_by_server(8);
    for key in keys.iter().flatten() {
        cluster.client().ask(
            format!("set {key} 0 0 {}\r\n<{key}>\r\n", key.len() + 2),
            "STORED\r\n",
        );
    }
    let hit = |key: &str| format!("VALUE {key} 0 {}\r\n<{key}>\r\nEND\r\n", key.len() + 2);
    for _ in 0..4 {
        cluster.servers[2].process().freeze();
        let mut waiting: Vec<Client> = (0..8).map(|_| cluster.client()).collect();
        for (client, key) in waiting.iter_mut().zip(&keys[2]) {
            client.send(format!("get {key}\r\nget {}\r\n", keys[0][0]));
        }
        // Healthy servers answer meanwhile.
        let started = Instant::now();
        for key in keys[0].iter().chain(&keys[1]) {
            cluster.client().ask(format!("get {key}\r\n"), hit(key));
        }
        assert!(started.elapsed().as_secs() < 5);
        for client in &mut waiting {
            client.expect("END\r\n").expect(hit(&keys[0][0]));
        }
        cluster.servers[2].process().thaw();
        // It now answers all of that. Nobody may get any of it who did not ask for it.
        eventually("the server that hung is used again", || {
            let mut back = true;
            for key in &keys[2] {
                let mut c = cluster.client();
                c.send(format!("get {key}\r\n"));
                let values = c.values();
                for value in &values {
                    assert_eq!(value.key, key.as_bytes());
                    assert_eq!(value.data, format!("<{key}>").as_bytes());
                }
                back &= values.len() == 1;
            }
            back
        });
    }
}

/// One client of the storm: sets and gets with verification. Counts requests and failures.
fn storm(mut c: Client, seed: u64, done: &AtomicBool, asked: &AtomicU64, failed: &AtomicU64) {
    let mut rng = Rng::new(seed);
    while !done.load(Ordering::Relaxed) {
        let keys: Vec<String> = (0..rng.between(1, 20))
            .map(|_| format!("s{}_{}", seed, rng.below(200)))
            .collect();
        let mut requests = String::new();
        for key in &keys {
            requests += &format!(
                "set {key} 0 0 {}\r\n<{key}>\r\nget {key} s0_0 {key}\r\n",
                key.len() + 2
            );
        }
        c.send(requests);
        for key in &keys {
            asked.fetch_add(1, Ordering::Relaxed);
            let line = c.line();
            assert!(
                line == "STORED" || is_server_error(&line),
                "reply to set: {line}"
            );
            if line != "STORED" {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            for value in c.values() {
                let name = String::from_utf8(value.key).unwrap();
                assert!(name == *key || name == "s0_0", "asked {key}, got {name}");
                assert_eq!(String::from_utf8(value.data).unwrap(), format!("<{name}>"));
            }
        }
    }
}

#[test]
fn servers_killed_and_restarted_under_load() {
    let mut cluster = Cluster::with(3, |s| quick(s).top("workers = 2"));
    let (done, asked, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let clients: Vec<Client> = (0..8).map(|_| cluster.client()).collect();
    std::thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        let storms: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(i, c)| {
                let (done, asked, failed) = (&done, &asked, &failed);
                scope.spawn(move || storm(c, i as u64, done, asked, failed))
            })
            .collect();
        let progress = |more: u64| {
            let from = asked.load(Ordering::Relaxed);
            eventually("clients make progress", || {
                asked.load(Ordering::Relaxed) >= from + more
                    || storms.iter().any(|s| s.is_finished())
            });
        };
        for round in 0..6 {
            progress(200);
            cluster.servers[round % 3].kill();
            progress(200);
            cluster.servers[round % 3].restart();
        }
        progress(200);
        drop(stop);
    });
    assert!(
        failed.load(Ordering::Relaxed) > 0,
        "no server was ever missed"
    );
    // And all is well again.
    let mut c = cluster.client();
    for key in (0..30).map(|i| format!("after{i}")) {
        eventually("every server is used again", || {
            c.send(format!("set {key} 0 0 1\r\nx\r\n"));
            c.line() == "STORED"
        });
    }
}

#[test]
fn a_server_that_comes_and_goes_must_answer_for_longer() {
    let tko =
        "tko = { probe_min = \"20ms\", probe_max = \"100ms\", recover = 3, hold_down = \"700ms\" }";
    let mut cluster = Cluster::with(1, |s| s.top("workers = 1").pool(tko));
    let mut c = cluster.client();
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    // The first time is none too many; then the hold, and twice that.
    for least in [40, 700, 1400] {
        cluster.servers[0].kill();
        eventually("it is out", || {
            c.send("get k\r\n");
            c.values();
            cluster.router.stat("ringroad_servers_down") == 1
        });
        let started = Instant::now();
        cluster.servers[0].restart();
        eventually("it is used again", || {
            c.send("set k 0 0 1\r\nx\r\n");
            c.line() == "STORED"
        });
        let took = started.elapsed().as_millis();
        assert!(took >= least, "back after {took} ms instead of {least}");
    }
}
