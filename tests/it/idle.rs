//! Connections that nobody uses, in front of real servers.
//!
//! Protects: whichever side closes an idle connection, nothing has failed: the server stays in service, nothing is logged
//! above debug, and the next request is served.

use std::fmt::Write as _;

use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Ringroad, Setup};

/// How many connections a memcached has, that of the question among them.
fn connected(server: &Memcached) -> u64 {
    server.stat("curr_connections")
}

/// The router's figures of its only server, as mcrouter shows them.
fn states(router: &Ringroad) -> String {
    let mut text = String::new();
    for (name, value) in router.client().stats("mcrouter servers") {
        let _ = write!(text, "{name} {value}");
    }
    text
}

/// One of ringroad's own figures.
fn figure(router: &Ringroad, server: &Memcached, name: &str) -> u64 {
    let name = format!("{}:{name}", server.addr());
    let all = router.client().stats("servers");
    let found = all.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("{name} in {all:?}"))
        .1
        .parse()
        .unwrap()
}

#[track_caller]
fn nothing_has_failed(router: &mut Ringroad, server: &Memcached) {
    for name in ["failures", "timeouts", "downs", "down"] {
        assert_eq!(figure(router, server, name), 0, "{name}");
    }
    let log = router.process().output();
    for level in ["WARN", "ERROR", "closed"] {
        assert!(!log.contains(level), "{log}");
    }
}

#[test]
fn the_router_closes_a_connection_that_nobody_uses() {
    let servers = Memcached::several(1);
    let server = &servers[0];
    let before = connected(server);
    let mut router = Setup::before(&servers)
        .top("workers = 1")
        .top("miss_on_get_errors = false")
        .pool("idle_close = \"100ms\"")
        .start();
    let mut client = router.client();
    for _ in 0..3 {
        client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        client.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
        eventually("it is closed", || {
            figure(&router, server, "connections") == 0
        });
        eventually("the server has noticed", || connected(server) == before);
        assert!(states(&router).contains(" closed:1"), "{}", states(&router));
    }
    assert_eq!(figure(&router, server, "connects"), 3);
    nothing_has_failed(&mut router, server);
}

/// Requests at every moment around that at which the connection is closed.
#[test]
fn no_request_meets_a_connection_that_is_being_closed() {
    let servers = Memcached::several(1);
    let mut router = Setup::before(&servers)
        .top("workers = 1")
        .top("miss_on_get_errors = false")
        .pool("idle_close = \"10ms\"")
        .start();
    let mut client = router.client();
    client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    for n in 0..200 {
        // Not to wait for anything: from 9 to 21 ms are about the interval and twice that.
        std::thread::sleep(std::time::Duration::from_micros(9_000 + n * 60));
        client.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    }
    assert!(
        figure(&router, &servers[0], "connects") > 2,
        "it was closed"
    );
    nothing_has_failed(&mut router, &servers[0]);
}

#[test]
fn a_server_may_close_a_connection_that_nobody_uses() {
    let server = Memcached::with_args(&["-o", "idle_timeout=1"]);
    let servers = [server];
    let mut router = Setup::before(&servers)
        .top("workers = 1")
        .top("miss_on_get_errors = false")
        .pool("idle_close = 0")
        .pool("tko = { after = 1, probe_min = \"1h\", probe_max = \"1h\" }")
        .start();
    let server = &servers[0];
    let mut client = router.client();
    for connects in 1..3 {
        client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        assert_eq!(figure(&router, server, "connects"), connects);
        eventually("it is closed", || {
            figure(&router, server, "connections") == 0
        });
        assert!(states(&router).contains(" closed:1"), "{}", states(&router));
    }
    client.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    nothing_has_failed(&mut router, server);
}

#[test]
fn mcrouters_flag_says_how_long_a_connection_stays() {
    let server = Memcached::start();
    let json = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{}\"]}}}}, \"route\": \"PoolRoute|A\"}}",
        server.addr()
    );
    let flags = [
        "--reset-inactive-connection-interval=50",
        "--asynclog-disable",
    ];
    let router = Ringroad::mcrouter(&json, &flags);
    let mut client = router.client();
    let count = |name: &str| {
        let all = router.client().stats("");
        let found = all.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("{name}")).1.clone()
    };
    assert_eq!(count("num_servers_new"), "1");
    client.ask("get k\r\n", "END\r\n");
    eventually("it is closed", || count("num_servers_closed") == "1");
    assert_eq!(count("num_servers_down"), "0");
    client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    client.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
}
