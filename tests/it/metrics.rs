//! `/metrics` of the built binary.
//!
//! Protects: the page is what Prometheus reads, by a strict reader; its figures are those of what was really asked, per
//! pool, server and command; they go on through a reload that gives every server a new connection; what fails is counted.

use std::net::SocketAddr;

use crate::failure::QUICK_PROBES;
use crate::support::eventually;
use crate::support::http;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::prometheus::Page;
use crate::support::router::{Cluster, Setup};
use crate::support::scripted::{Act, Scripted};

fn admin() -> (Port, String) {
    let port = Port::reserve();
    let table = format!("[admin]\nlisten = \"{}\"", port.addr());
    (port, table)
}

#[track_caller]
fn page(addr: SocketAddr) -> Page {
    let (status, text) = http::get(addr, "/metrics");
    assert_eq!(status, 200);
    Page::read(&text)
}

#[test]
fn the_page_counts_what_was_asked() {
    let (port, table) = admin();
    let cluster = Cluster::with(3, |s| s.top("workers = 2").table(&table));
    for _ in 0..4 {
        let mut c = cluster.client();
        c.ask("set a 0 0 1\r\nx\r\nms b 1\r\nx\r\n", "STORED\r\nHD\r\n");
        c.ask(
            "get a\r\nmg b v\r\n",
            "VALUE a 0 1\r\nx\r\nEND\r\nVA 1\r\nx\r\n",
        );
        c.ask("get none1 none2\r\n", "END\r\n");
        c.ask(
            "set n 0 0 1\r\n1\r\nincr n 1\r\nma n\r\n",
            "STORED\r\n2\r\nHD\r\n",
        );
        c.ask(
            "touch a 0\r\ngat 0 a\r\n",
            "TOUCHED\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
        );
        c.ask(
            "delete a\r\nmd b\r\nnonsense\r\n",
            "DELETED\r\nHD\r\nERROR\r\n",
        );
    }
    let (head, text) = http::try_get_whole(port.addr(), "/metrics").unwrap();
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    let page = Page::read(&text);
    let requests = |command| page.sum("ringroad_requests_total", &[("command", command)]);
    let timed = |command| {
        let labels = [("pool", "cache"), ("command", command)];
        page.sum("ringroad_request_duration_seconds_count", &labels)
    };
    for (command, count) in [
        ("get", 16.0),
        ("set", 12.0),
        ("touch", 8.0),
        ("delete", 8.0),
        ("arith", 8.0),
    ] {
        assert_eq!(requests(command), count, "{command}");
        assert_eq!(timed(command), count, "{command}");
    }
    assert_eq!(timed("other"), 0.0);
    assert_eq!(page.sum("ringroad_get_hits_total", &[]), 12.0);
    assert_eq!(page.sum("ringroad_get_misses_total", &[]), 8.0);
    assert_eq!(page.sum("ringroad_errors_total", &[]), 4.0);
    assert_eq!(page.sum("ringroad_ready", &[]), 1.0);
    let mut by_server = 0.0;
    for server in &cluster.servers {
        let name = server.addr().to_string();
        let labels = [("pool", "cache"), ("server", name.as_str())];
        by_server += page.sum("ringroad_server_request_duration_seconds_count", &labels);
        assert_eq!(page.sum("ringroad_server_queue_requests", &labels), 0.0);
        assert_eq!(page.sum("ringroad_server_down", &labels), 0.0);
    }
    assert_eq!(by_server, 52.0);
    assert!(page.sum("ringroad_request_duration_seconds_sum", &[]) > 0.0);
    assert!(page.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(page.sum("process_start_time_seconds", &[]) > 1.7e9);
    assert_eq!(
        page.sum("ringroad_pool_members", &[("state", "listed")]),
        3.0
    );
    assert!(page.sum("ringroad_silence_seconds", &[]) < 10.0);
}

/// With another timeout each server has another connection in each worker, and figures of its own.
#[test]
fn counters_go_on_through_a_reload() {
    let (port, table) = admin();
    let server = Memcached::start();
    let setup = Setup::new([server.addr()]).table(&table);
    let router = setup.start();
    let mut c = router.client();
    let count = |name: &str| page(port.addr()).sum(name, &[]);
    let times = "ringroad_request_duration_seconds_count";
    for round in 1..4u32 {
        c.ask("get a\r\n", "END\r\n");
        assert_eq!(count(times), f64::from(round));
        assert_eq!(count("ringroad_server_requests_total"), f64::from(round));
        assert_eq!(count("ringroad_server_connections"), 1.0);
        router.write_config(&setup.clone().pool(&format!("timeout = \"{round}500ms\"")));
        router.hup();
        eventually("the reload is done", || {
            count("ringroad_config_reloads_total") >= f64::from(round)
        });
        eventually("the former connection is gone", || {
            count("ringroad_server_connections") == 0.0
        });
    }
    router.write_config(&setup.clone().top("nonsense = 1"));
    router.hup();
    eventually("the reload has failed", || {
        page(port.addr()).sum("ringroad_config_reloads_total", &[("result", "failed")]) >= 1.0
    });
    assert_eq!(count("ringroad_config_last_reload_successful"), 0.0);
}

#[test]
fn what_waits_and_what_times_out_is_seen() {
    let (port, table) = admin();
    let server = Scripted::well_behaved();
    let router = Setup::new([server.addr()])
        .pool("timeout = \"1500ms\"")
        .pool(QUICK_PROBES)
        .table(&table)
        .start();
    let mut c = router.client();
    c.ask("get a\r\n", "END\r\n");
    server.follow(|command| match command.is_get() {
        true => vec![Act::Ignore],
        false => vec![Act::Serve],
    });
    c.send("get a\r\nget b\r\n");
    eventually("two requests wait", || {
        page(port.addr()).sum("ringroad_server_queue_requests", &[]) == 2.0
    });
    c.expect("END\r\nEND\r\n");
    let page = page(port.addr());
    assert_eq!(page.sum("ringroad_server_timeouts_total", &[]), 2.0);
    assert_eq!(
        page.sum("ringroad_errors_total", &[("kind", "timeout")]),
        2.0
    );
    let bucket = |le| {
        let labels = [("command", "get"), ("le", le)];
        page.sum("ringroad_request_duration_seconds_bucket", &labels)
    };
    assert_eq!(
        (bucket("1"), bucket("+Inf")),
        (1.0, 3.0),
        "they waited for their timeout"
    );
}

#[test]
fn a_server_that_is_out_is_seen() {
    let (port, table) = admin();
    let mut servers = Memcached::several(2);
    let router = Setup::before(&servers)
        .pool(QUICK_PROBES)
        .table(&table)
        .start();
    let name = servers[0].addr().to_string();
    let gone = servers.remove(0);
    drop(gone);
    let mut c = router.client();
    for i in 0..50 {
        c.ask(format!("get k{i}\r\n"), "END\r\n");
    }
    let labels = [("server", name.as_str())];
    let page = page(port.addr());
    assert!(page.sum("ringroad_server_down", &labels) >= 1.0);
    assert!(page.sum("ringroad_server_downs_total", &labels) >= 1.0);
    assert!(page.sum("ringroad_server_failures_total", &labels) >= 1.0);
    assert_eq!(page.sum("ringroad_ready", &[]), 1.0, "there is another one");
}
