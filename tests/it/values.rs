//! Values of every size, pipelines of every depth, readers of every speed.
//!
//! Protects: values of any bytes pass unchanged from 0 B to the configured maximum; neither large values nor
//! deep pipelines nor a client that does not read make the router's memory grow without bound.

use std::time::Duration;

use crate::both::Both;
use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::rng::Rng;
use crate::support::router::{Cluster, Setup};

fn round_trip(c: &mut Client, key: &str, value: &[u8]) {
    let head = format!("set {key} 9 0 {}\r\n", value.len());
    c.pipeline(&[head.as_bytes(), value, b"\r\n"].concat(), b"STORED\r\n");
    let head = format!("VALUE {key} 9 {}\r\n", value.len());
    c.ask(
        format!("get {key}\r\n"),
        [head.as_bytes(), value, b"\r\nEND\r\n"].concat(),
    );
    let head = format!("VA {} f9\r\n", value.len());
    c.ask(
        format!("mg {key} v f\r\n"),
        [head.as_bytes(), value, b"\r\n"].concat(),
    );
}

#[test]
fn values_of_every_size_and_any_bytes() {
    let mut rng = Rng::new(3);
    let mut values: Vec<Vec<u8>> = [
        0, 1, 2, 3, 10, 99, 100, 511, 512, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096,
        4097, 8191, 8192, 16_383, 16_384, 16_385, 32_768, 65_535, 65_536, 65_537, 100_000, 131_072,
        262_144, 500_000, 524_288, 1_000_000, 1_048_000,
    ]
    .iter()
    .map(|n| rng.bytes(*n))
    .collect();
    values.push(b"\r\nEND\r\n".to_vec());
    values.push(b"END\r\nVALUE x 0 1\r\nx\r\nEND\r\n".repeat(100));
    values.push(vec![0; 5000]);
    values.push(b"\n".repeat(70_000));
    values.push(b"\r".repeat(3));
    values.push(b"SERVER_ERROR x\r\nget x\r\nquit\r\n".to_vec());
    Both::start().each(|c| {
        for (i, value) in values.iter().enumerate() {
            round_trip(c, &format!("size{i}"), value);
        }
    });
}

#[test]
fn large_values_where_the_limit_allows_them() {
    let server = Memcached::with_args(&["-m", "256", "-I", "32m"]);
    let router = Setup::new([server.addr()])
        .table("[limits]\nmax_value = \"20MiB\"")
        .start();
    let mut rng = Rng::new(4);
    for size in [1 << 20, (1 << 20) + 1, 5_000_000, 20 << 20] {
        round_trip(&mut router.client(), "large", &rng.bytes(size));
    }
    let too_large = vec![b'x'; (20 << 20) + 1];
    let mut c = router.client();
    let head = format!("set large 0 0 {}\r\n", too_large.len());
    c.pipeline(
        &[head.as_bytes(), &too_large, b"\r\n"].concat(),
        b"SERVER_ERROR object too large for cache\r\n",
    );
    c.ask("get large\r\n", "END\r\n");
}

#[test]
fn a_pipeline_of_a_hundred_thousand() {
    let cluster = Cluster::start(3);
    let mut c = cluster.client();
    c.ask("set k 0 0 5\r\nvalue\r\n", "STORED\r\n");
    c.pipeline(
        "get k\r\n".repeat(100_000).as_bytes(),
        "VALUE k 0 5\r\nvalue\r\nEND\r\n".repeat(100_000).as_bytes(),
    );
    c.fence();
}

#[test]
fn a_pipeline_of_large_values_to_a_slow_reader_stays_within_bounds() {
    let mut cluster = Cluster::with(3, |setup| setup.top("workers = 1"));
    let mut c = cluster.client();
    let value = vec![b'v'; 500_000];
    for i in 0..4 {
        round_trip(&mut c, &format!("big{i}"), &value);
    }
    let idle = cluster.router.process().rss_kib();
    // 1000 replies of half a megabyte are 500 MB; the client reads none of them for now.
    let mut slow = cluster.client();
    let requests: String = (0..1000).map(|i| format!("get big{}\r\n", i % 4)).collect();
    slow.send(requests);
    // Others are served meanwhile, and after some time of that the router has settled.
    let mut most = 0;
    for i in 0..300 {
        let head = format!("VALUE big{} 9 500000\r\n", i % 4);
        c.ask(
            format!("get big{}\r\n", i % 4),
            [head.as_bytes(), &value, b"\r\nEND\r\n"].concat(),
        );
        most = most.max(cluster.router.process().rss_kib());
    }
    assert!(
        most < idle + 64 * 1024,
        "memory grew from {idle} KiB to {most} KiB for one client that does not read"
    );
    // Then it does read, and misses nothing.
    let mut reply = b"VALUE big0 9 500000\r\n".to_vec();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\nEND\r\n");
    for i in 0..1000 {
        reply[9] = b'0' + (i % 4) as u8;
        slow.expect(&reply);
    }
    slow.fence();
}

#[test]
fn clients_that_never_read_are_bounded_each() {
    let mut cluster = Cluster::with(2, |setup| setup.top("workers = 1"));
    let mut c = cluster.client();
    round_trip(&mut c, "k", &vec![b'v'; 50_000]);
    let idle = cluster.router.process().rss_kib();
    let mut deaf: Vec<Client> = (0..20).map(|_| cluster.client()).collect();
    for client in &mut deaf {
        client
            .tcp()
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        // Sends until the router stops reading, which a bounded router does.
        while client.try_send("get k\r\n".repeat(1000)).is_ok() {}
    }
    for _ in 0..200 {
        c.ask(
            "get k none\r\n",
            [&b"VALUE k 9 50000\r\n"[..], &[b'v'; 50_000], b"\r\nEND\r\n"].concat(),
        );
    }
    let grown = cluster.router.process().rss_kib().saturating_sub(idle);
    assert!(
        grown < 20 * 4 * 1024 + 32 * 1024,
        "20 clients that do not read cost {grown} KiB"
    );
    drop(deaf);
    c.fence();
}

#[test]
fn many_idle_connections_cost_little() {
    let mut cluster = Cluster::with(1, |setup| setup.top("workers = 1"));
    cluster.client().fence();
    let before = cluster.router.process().rss_kib();
    let mut clients: Vec<Client> = (0..1000).map(|_| cluster.client()).collect();
    for client in &mut clients {
        client.fence();
    }
    let grown = cluster.router.process().rss_kib().saturating_sub(before);
    // The release target is 1.5 KiB; this debug build and the allocator's rounding get some slack.
    assert!(grown < 8 * 1000, "1000 idle connections cost {grown} KiB");
}
