//! More requests than a worker may have under way.
//!
//! Protects: by configuration and by mcrouter's flags, further requests wait and are served in the end; those too many, and
//! those that have waited for too long, are told that the router is busy; questions about the router are answered.

use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Cluster, Ringroad};

const GET: &str = "get k\r\n";
const HIT: &str = "VALUE k 0 1\r\nx\r\nEND\r\n";

#[test]
fn requests_wait_for_their_turn_or_are_refused() {
    let cluster = Cluster::with(1, |setup| {
        setup
            .top("workers = 1")
            .pool("timeout = \"60s\"")
            .table("[limits]\nworker_requests = 1\nwaiting_requests = 3")
    });
    let router = &cluster.router;
    let mut clients: Vec<_> = (0..4).map(|_| cluster.client()).collect();
    clients[0].ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    let asked = router.stat("cmd_get");
    cluster.servers[0].process().freeze();
    clients[0].send(GET);
    eventually("one is under way", || router.stat("cmd_get") == asked + 1);
    clients[1].send(GET);
    clients[2].send(GET.repeat(2));
    eventually("three wait", || {
        router.stat("ringroad_waiting_requests") == 3
    });
    clients[3].ask(GET, "SERVER_ERROR busy\r\n");
    clients[3].send("delete k noreply\r\nset k 0 0 1\r\ny\r\n");
    clients[3].expect("SERVER_ERROR busy\r\n");
    assert_eq!(router.stat("cmd_get"), asked + 1, "none has overtaken");
    assert_eq!(router.stat("ringroad_error_busy"), 3);
    cluster.servers[0].process().thaw();
    for (client, hits) in clients.iter_mut().zip([1, 1, 2, 0]) {
        client.expect(HIT.repeat(hits));
    }
    assert_eq!(router.stat("ringroad_waiting_requests"), 0);
    clients[3].ask(GET, HIT);
    // Far more than may be under way: nothing is lost.
    for client in &mut clients[..1] {
        client.pipeline(GET.repeat(1000).as_bytes(), HIT.repeat(1000).as_bytes());
    }
}

/// With a bound on what is under way only, everybody is served.
#[test]
fn without_a_bound_on_those_who_wait_all_are_served() {
    let cluster = Cluster::with(1, |setup| {
        setup
            .top("workers = 1")
            .table("[limits]\nworker_requests = 2")
    });
    let mut clients: Vec<_> = (0..20).map(|_| cluster.client()).collect();
    clients[0].ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    for _ in 0..20 {
        for client in &mut clients {
            client.send(GET.repeat(20));
        }
        for client in &mut clients {
            client.expect(HIT.repeat(20));
        }
    }
    assert_eq!(cluster.router.stat("ringroad_errors"), 0);
}

#[test]
fn mcrouters_flags_say_how_many_and_how_long() {
    let server = Memcached::start();
    let json = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{}\"]}}}}, \"route\": \"PoolRoute|A\"}}",
        server.addr()
    );
    for (compat, busy) in [
        ("0.36", "SERVER_ERROR 307 busy\r\n"),
        ("latest", "SERVER_ERROR busy\r\n"),
    ] {
        let compat = format!("--mcrouter-compat={compat}");
        let flags = [
            "--proxy-max-inflight-requests=1",
            "--proxy-max-throttled-requests=2",
            "--waiting-request-timeout-ms=100",
            "--server-timeout=60000",
            "--asynclog-disable",
            &compat,
        ];
        let router = Ringroad::mcrouter(&json, &flags);
        let figure = |group: &str, name: &str| {
            let all = router.client().stats(group);
            let found = all.into_iter().find(|(known, _)| known == name);
            found.unwrap_or_else(|| panic!("{name}")).1
        };
        let mut clients: Vec<_> = (0..4).map(|_| router.client()).collect();
        clients[0].ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        server.process().freeze();
        clients[0].send(GET);
        eventually("one is under way", || {
            figure("", "destination_inflight_reqs") == "1"
        });
        for client in &mut clients[1..] {
            // At once, or after a tenth of a second.
            client.send(GET).expect(busy);
        }
        assert_eq!(figure("count", "result_busy_count"), "3");
        server.process().thaw();
        clients[0].expect(HIT);
        clients[1].ask(GET, HIT);
    }
}
