//! What becomes of the keys of a server that is down, by the pool's own settings.
//!
//! Protects: with `on_failure = "next"` every key is served while one server, or two of several, are dead or hang, and
//! goes home when its server is back; a pool's own setting decides whether a failed get is a miss or an error,
//! whatever holds everywhere else.

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
