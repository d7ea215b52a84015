//! What becomes of the keys of a server that is down, by the pool's own settings.
//!
//! Protects: with `on_failure = "next"` every key is served while one server, or two of several, are dead or hang, and
//! goes home when its server is back; a pool's own setting decides whether a failed get is a miss or an error,
//! whatever holds everywhere else; a gutter
//! takes what a dead server can't, never keeps it for longer than it may, and loses what is deleted.

use crate::failure::QUICK_PROBES;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Cluster, Setup};

fn quick(setup: Setup) -> Setup {
    setup.pool("timeout = \"300ms\"").pool(QUICK_PROBES)
}

fn value(key: &str) -> String {
    format!("VALUE {key} 0 1\r\nx\r\n")
}

fn set(client: &mut Client, key: &str) {
    client.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
}

/// Once a first request has found the server dead, all is known.
fn notice(client: &mut Client, key: &str) {
    eventually("the dead server is noticed", || {
        client.send(format!("set {key} 0 0 1\r\nx\r\n"));
        client.line() == "STORED"
    });
}

#[test]
fn the_next_server_takes_the_keys_of_one_that_is_dead_and_gives_them_back() {
    let mut cluster = Cluster::with(3, |s| {
        quick(s).pool("on_failure = \"next\"").top("workers = 1")
    });
    let keys = cluster.keys_by_server(6);
    let mut c = cluster.client();
    cluster.servers[1].kill();
    notice(&mut c, &keys[1][0]);
    for _ in 0..3 {
        for key in &keys[1] {
            // What is not on the next server is a miss, and what is stored is there.
            c.ask(format!("delete {key}x\r\n"), "NOT_FOUND\r\n");
            set(&mut c, key);
            c.ask(format!("get {key}\r\n"), format!("{}END\r\n", value(key)));
            c.ask(format!("mg {key} v\r\n"), "VA 1\r\nx\r\n");
            c.ask(format!("ms {key} 1\r\n5\r\n"), "HD\r\n");
            c.ask(format!("incr {key} 1\r\n"), "6\r\n");
            c.ask(format!("touch {key} 0\r\n"), "TOUCHED\r\n");
            c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
            c.ask(format!("get {key}\r\n"), "END\r\n");
            set(&mut c, key);
        }
        let all: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        let values: String = all.iter().map(|key| value(key)).collect();
        c.ask(
            format!("get {}\r\n", all.join(" ")),
            format!("{values}END\r\n"),
        );
    }
    assert_eq!(cluster.router.stat("get_misses"), 18);
    assert!(cluster.router.stat("ringroad_sent_on") > 100);
    // Two of three are dead: the last one has them all.
    cluster.servers[0].kill();
    for key in keys.iter().flatten() {
        notice(&mut c, key);
        assert!(cluster.servers[2].holds(key));
    }
    cluster.servers[1].restart();
    let key = &keys[1][0];
    eventually("the server has its keys again", || {
        set(&mut c, key);
        cluster.servers[1].holds(key)
    });
}

#[test]
fn a_server_that_hangs_is_passed_over_once_it_is_out() {
    let cluster = Cluster::with(3, |s| quick(s).pool("on_failure = \"next\""));
    let keys = cluster.keys_by_server(3);
    let mut c = cluster.client();
    cluster.servers[2].process().freeze();
    for key in &keys[2] {
        eventually("a get is answered by the next server", || {
            c.send(format!("set {key} 0 0 1\r\nx\r\n"));
            let stored = c.line();
            c.send(format!("get {key}\r\n"));
            let found = c.values().len() == 1;
            stored == "STORED" && found
        });
    }
    cluster.servers[2].process().thaw();
}

#[test]
fn with_all_servers_down_the_pool_fails_as_ever() {
    let mut cluster = Cluster::with(3, |s| quick(s).pool("on_failure = \"next\""));
    let mut c = cluster.client();
    for server in &mut cluster.servers {
        server.kill();
    }
    for n in 0..50 {
        c.ask(format!("get k{n}\r\n"), "END\r\n");
        c.send(format!("set k{n} 0 0 1\r\nx\r\n"));
        let line = c.line();
        assert!(line.starts_with("SERVER_ERROR "), "{line}");
    }
    c.fence();
}

#[test]
fn each_pool_says_what_a_failed_get_is() {
    for (everywhere, own, other) in [(true, "error", "miss"), (false, "miss", "error")] {
        let mut servers = Memcached::several(2);
        let b = servers[1].addr();
        let router = quick(Setup::new([servers[0].addr()]))
            .top(&format!("miss_on_get_errors = {everywhere}"))
            .top("route = { type = \"prefix\", prefixes = { \"b:\" = \"b\", \"c:\" = \"c\" }, default = \"cache\" }")
            .pool(&format!("on_failure = \"{own}\""))
            .table(&format!("[pools.b]\nservers = [\"{b}\"]\non_failure = \"{other}\"\n[pools.c]\nservers = [\"{b}\"]"))
            .start();
        let mut c = router.client();
        for prefix in ["a:", "b:", "c:"] {
            set(&mut c, &format!("{prefix}1"));
        }
        servers.iter_mut().for_each(Memcached::kill);
        let everywhere = if everywhere { "miss" } else { "error" };
        for (prefix, want) in [("a:", own), ("b:", other), ("c:", everywhere)] {
            for _ in 0..3 {
                for (command, miss) in [
                    ("get", "END"),
                    ("gets", "END"),
                    ("gat 0", "END"),
                    ("mg", "EN"),
                ] {
                    c.send(format!("{command} {prefix}1\r\n"));
                    let line = c.line();
                    match want {
                        "miss" => assert_eq!(line, miss, "{command} {prefix}"),
                        _ => assert!(
                            line.starts_with("SERVER_ERROR "),
                            "{command} {prefix}: {line}"
                        ),
                    }
                }
            }
        }
        c.fence();
    }
}

/// Seconds an item has left on a server; `None` if it is not there, -1 for ever.
fn left(server: &Memcached, key: &str) -> Option<i64> {
    let mut c = server.client();
    c.send(format!("mg {key} t\r\n"));
    let line = c.line();
    let left = line.strip_prefix("HD t")?.split(' ').next()?;
    Some(left.parse().unwrap())
}

#[test]
fn a_gutter_takes_over_and_keeps_nothing_for_long() {
    let spare = Memcached::start();
    let gutter = format!("[pools.spare]\nservers = [\"{}\"]", spare.addr());
    let mut cluster = Cluster::with(2, |s| {
        quick(s)
            .pool("gutter = \"spare\"")
            .pool("gutter_exptime = \"100s\"")
            .table(&gutter)
    });
    let keys = cluster.keys_by_server(3);
    let mut c = cluster.client();
    cluster.servers[0].kill();
    let key = &keys[0][0];
    notice(&mut c, key);
    let kept = |low: i64, high: i64, what: &str| {
        let left = left(&spare, key);
        assert!(
            left.is_some_and(|left| (low..=high).contains(&left)),
            "{what}: {left:?}"
        );
    };
    for (request, reply, low, high) in [
        ("set K 7 0 1\r\nx\r\n", "STORED\r\n", 90, 100),
        ("set K 7 50 1\r\nx\r\n", "STORED\r\n", 40, 50),
        ("set K 7 2000000000 1\r\nx\r\n", "STORED\r\n", 90, 100),
        ("touch K 0\r\n", "TOUCHED\r\n", 90, 100),
        ("touch K 30\r\n", "TOUCHED\r\n", 20, 30),
        ("gat 2000 K\r\n", "VALUE K 7 1\r\nx\r\nEND\r\n", 90, 100),
        ("ms K 1 T20\r\n5\r\n", "HD\r\n", 10, 20),
        ("ms K 1\r\n5\r\n", "HD\r\n", 90, 100),
        ("mg K T10\r\n", "HD\r\n", 5, 10),
        ("mg K T500 t\r\n", "", 90, 100),
        ("delete K\r\n", "DELETED\r\n", 0, 0),
        ("mg K N0 v\r\n", "VA 0 W\r\n\r\n", 90, 100),
        ("md K\r\n", "HD\r\n", 0, 0),
        ("ma K N0\r\n", "HD\r\n", 90, 100),
        ("replace K 0 0 1\r\n1\r\n", "STORED\r\n", 90, 100),
        ("incr K 4\r\n", "5\r\n", 90, 100),
    ] {
        match reply {
            "" => {
                c.send(request.replace('K', key));
                c.line();
            }
            reply => {
                c.ask(request.replace('K', key), reply.replace('K', key));
            }
        }
        match high {
            0 => assert!(!spare.holds(key), "{request}"),
            _ => kept(low, high, request),
        }
    }
    // Another server's keys are its own.
    let other = &keys[1][0];
    set(&mut c, other);
    assert!(!spare.holds(other));
    cluster.servers[0].restart();
    eventually("the server has its keys again", || {
        set(&mut c, key);
        cluster.servers[0].holds(key)
    });
    assert!(spare.holds(key), "this is what may become old");
    c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
    eventually("it is deleted in the gutter, too", || !spare.holds(key));
    // Also where only the gutter has it.
    spare
        .client()
        .ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    c.ask(format!("md {key} O7\r\n"), "NF O7\r\n");
    eventually("it is deleted in the gutter, too", || !spare.holds(key));
}

#[test]
fn a_gutter_comes_after_the_next_servers() {
    let spare = Memcached::start();
    let gutter = format!("[pools.spare]\nservers = [\"{}\"]", spare.addr());
    let mut cluster = Cluster::with(2, |s| {
        quick(s)
            .pool("on_failure = \"next\"")
            .pool("gutter = \"spare\"")
            .table(&gutter)
    });
    let keys = cluster.keys_by_server(2);
    let mut c = cluster.client();
    cluster.servers[0].kill();
    let key = &keys[0][0];
    notice(&mut c, key);
    assert!(cluster.servers[1].holds(key) && !spare.holds(key));
    cluster.servers[1].kill();
    notice(&mut c, key);
    assert!(spare.holds(key));
    c.ask(format!("get {key}\r\n"), format!("{}END\r\n", value(key)));
}
