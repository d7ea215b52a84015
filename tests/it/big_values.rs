//! Values larger than an item may be, stored in parts on real servers with their usual limit of 1 MiB.
//!
//! Protects: a value comes back as it was written, by every command that reads, or is a miss; never a part of it. The
//! layout on the servers is mcrouter's. What the parts have to do with other requests: a pipeline keeps its
//! order, a key that is too long is refused, the old value stays if a new one can't be stored.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::rng::Rng;
use crate::support::router::{Cluster, Setup};

/// The size of parts.
const SIZE: usize = 256 * 1024;
const ROUTE: &str = "route = { type = \"big-value\", child = \"cache\", split_threshold = \"256KiB\", hide_reply_flag = true }";
const LIMITS: &str = "[limits]\nmax_value = \"16MiB\"";

fn in_parts(setup: Setup) -> Setup {
    setup.top(ROUTE).table(LIMITS)
}

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("set {key} 9 0 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn found(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("VALUE {key} 9 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn hit(key: &str, value: &[u8]) -> Vec<u8> {
    [&found(key, value)[..], b"END\r\n"].concat()
}

/// What one server has under a key: flags and value.
fn item(c: &mut Client, key: &str) -> Option<(String, Vec<u8>)> {
    c.send(format!("get {key}\r\n"));
    let value = c.values().pop()?;
    Some((value.flags.to_string(), value.data))
}

#[test]
fn a_large_value_comes_back_whole_by_every_command() {
    let cluster = Cluster::with(3, in_parts);
    let mut rng = Rng::new(11);
    let mut c = cluster.client();
    for size in [SIZE, SIZE + 1, 1_100_000, 3_000_000, 3 * SIZE, 12_000_000] {
        let value = rng.bytes(size);
        c.pipeline(&set("big", &value), b"STORED\r\n");
        c.ask("get big\r\n", hit("big", &value));
        c.ask("gat 100 big\r\n", hit("big", &value));
        let meta = [format!("VA {size} f9 kbig\r\n").as_bytes(), &value, b"\r\n"].concat();
        c.ask("mg big v f k\r\n", meta);
        let meta = [format!("VA {size}\r\n").as_bytes(), &value, b"\r\n"].concat();
        c.ask("mg big v T100\r\n", meta);
    }
    let value = rng.bytes(2_000_000);
    let head = format!("ms meta {} F9 T0\r\n", value.len());
    c.pipeline(&[head.as_bytes(), &value, b"\r\n"].concat(), b"HD\r\n");
    c.ask("get meta\r\n", hit("meta", &value));
}

#[test]
fn several_keys_keep_their_order_and_small_ones_cost_no_more() {
    let cluster = Cluster::with(3, in_parts);
    let mut rng = Rng::new(12);
    let mut c = cluster.client();
    let values: Vec<(String, Vec<u8>)> = (0..20)
        .map(|n| {
            let size = if n % 3 == 0 { 600_000 + n } else { 10 + n };
            (format!("many{n}"), rng.bytes(size))
        })
        .collect();
    for (key, value) in &values {
        c.pipeline(&set(key, value), b"STORED\r\n");
    }
    let mut line = "get".to_owned();
    let mut want = Vec::new();
    for (key, value) in &values {
        line.push_str(&format!(" {key} absent_{key}"));
        want.extend(found(key, value));
    }
    want.extend_from_slice(b"END\r\n");
    c.ask(format!("{line}\r\n"), want);
    let before = cluster.router.stat("ringroad_upstream_requests");
    c.ask("get many1\r\n", hit("many1", &values[1].1));
    let after = cluster.router.stat("ringroad_upstream_requests");
    assert_eq!(after - before, 1);
}

#[test]
fn the_layout_on_the_servers_is_mcrouters() {
    let cluster = Cluster::with(3, |setup| {
        let route = ROUTE.replace(", hide_reply_flag = true", "");
        setup.top(&route).table(LIMITS)
    });
    let value = Rng::new(13).bytes(3_000_000);
    let mut c = cluster.client();
    c.pipeline(&set("big", &value), b"STORED\r\n");
    let suffix = ringroad::hash::spooky32(&value, 0);
    let metadata = format!("1-12-{suffix}");
    let mut on = cluster.servers[cluster.owner("big")].client();
    let flags = (9 | 0x8000).to_string();
    let want = (flags.clone(), metadata.clone().into_bytes());
    assert_eq!(item(&mut on, "big"), Some(want));
    let mut used = vec![0; 3];
    for (n, chunk) in value.chunks(SIZE).enumerate() {
        let key = format!("big:{n}:{suffix}");
        let owner = cluster.owner(&key);
        let mut on = cluster.servers[owner].client();
        assert_eq!(item(&mut on, &key), Some(("9".to_owned(), chunk.to_vec())));
        used[owner] += 1;
    }
    assert_eq!(used.iter().sum::<i32>(), 12);
    assert!(used.iter().all(|n| *n > 0), "{used:?}");
    // What mcrouter would have written is read, its flag shown as mcrouter shows it.
    let head = format!("VALUE big {flags} {}\r\n", value.len());
    c.ask(
        "get big\r\n",
        [head.as_bytes(), &value, b"\r\nEND\r\n"].concat(),
    );
}

#[test]
fn overwritten_deleted_and_added() {
    let cluster = Cluster::with(3, in_parts);
    let mut rng = Rng::new(14);
    let mut c = cluster.client();
    let (one, two) = (rng.bytes(1_500_000), rng.bytes(1_400_000));
    // All at once: what is sent behind a value in parts does not overtake it.
    let mut requests = set("k", &one);
    let mut want = b"STORED\r\n".to_vec();
    requests.extend_from_slice(b"get k\r\n");
    want.extend(hit("k", &one));
    requests.extend(set("k", &two));
    want.extend_from_slice(b"STORED\r\n");
    requests.extend_from_slice(b"get k\r\nset k 9 0 5\r\nsmall\r\nget k\r\n");
    want.extend(hit("k", &two));
    want.extend_from_slice(b"STORED\r\n");
    want.extend(hit("k", b"small"));
    requests.extend(set("k", &one));
    want.extend_from_slice(b"STORED\r\n");
    requests.extend_from_slice(b"delete k\r\nget k\r\n");
    want.extend_from_slice(b"DELETED\r\nEND\r\n");
    c.pipeline(&requests, &want);
    let add = [&b"add"[..], &set("k", &two)[3..]].concat();
    c.pipeline(&add, b"STORED\r\n");
    c.pipeline(&add, b"NOT_STORED\r\n");
    c.send("gets k\r\n");
    let cas = c.values().pop().unwrap().cas.unwrap();
    let head = |cas: u64| format!("cas k 9 0 {} {cas}\r\n", one.len());
    let request = |cas| [head(cas).as_bytes(), &one, b"\r\n"].concat();
    c.pipeline(&request(cas), b"STORED\r\n");
    c.pipeline(&request(cas), b"EXISTS\r\n");
    c.ask("get k\r\n", hit("k", &one));
}

#[test]
fn a_key_too_long_for_parts_is_refused_and_its_old_value_goes() {
    let cluster = Cluster::with(2, in_parts);
    let key = "k".repeat(245);
    let mut c = cluster.client();
    c.pipeline(&set(&key, b"old"), b"STORED\r\n");
    c.pipeline(
        &set(&key, &vec![b'x'; 300_000]),
        b"SERVER_ERROR key too long for a value in parts\r\n",
    );
    c.ask(format!("get {key}\r\n"), "END\r\n");
    assert_eq!(cluster.router.stat("ringroad_error_key_too_long"), 1);
    // Over the limit it is refused as ever.
    c.pipeline(
        &set("k", &vec![b'x'; (16 << 20) + 1]),
        b"SERVER_ERROR object too large for cache\r\n",
    );
}

#[test]
fn with_a_server_gone_a_value_is_a_miss_and_an_update_an_error() {
    let mut cluster = Cluster::with(3, |setup| {
        in_parts(setup)
            .pool("timeout = \"500ms\"")
            .pool("connect_timeout = \"500ms\"")
    });
    let mut rng = Rng::new(15);
    let mut c = cluster.client();
    let value = rng.bytes(3_000_000);
    let mut keys: Vec<String> = (0..6).map(|n| format!("v{n}")).collect();
    for key in &keys {
        c.pipeline(&set(key, &value), b"STORED\r\n");
    }
    // Those with a part on that server: nearly all.
    let suffix = ringroad::hash::spooky32(&value, 0);
    keys.retain(|key| (0..12).any(|n| cluster.servers[1].holds(&format!("{key}:{n}:{suffix}"))));
    assert!(keys.len() > 2);
    cluster.servers[1].kill();
    for key in &keys {
        c.ask(format!("get {key}\r\n"), "END\r\n");
        // The same value has the same parts.
        c.send(set(key, &value));
        let line = c.line();
        assert!(line.starts_with("SERVER_ERROR"), "{line}");
    }
    cluster.servers[1].restart();
    let fresh = rng.bytes(2_000_000);
    eventually("the server is used again", || {
        // By the worker that has this client.
        c.send(set("fresh", &fresh));
        c.line() == "STORED"
    });
    c.ask("get fresh\r\n", hit("fresh", &fresh));
    // It came back empty: their parts there are gone.
    for key in &keys {
        c.ask(format!("get {key}\r\n"), "END\r\n");
    }
}

#[test]
fn one_server_takes_values_longer_than_its_queue() {
    let cluster = Cluster::with(1, |setup| {
        in_parts(setup).table("[pools.cache.queue]\nbytes = \"1MiB\"")
    });
    let mut rng = Rng::new(16);
    let values: Vec<Vec<u8>> = (0..4).map(|_| rng.bytes(6_000_000)).collect();
    std::thread::scope(|scope| {
        for (n, value) in values.iter().enumerate() {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut c = cluster.client();
                let key = format!("k{n}");
                for _ in 0..2 {
                    c.pipeline(&set(&key, value), b"STORED\r\n");
                    c.ask(format!("get {key}\r\n"), hit(&key, value));
                }
            });
        }
    });
    assert_eq!(cluster.router.stat("ringroad_error_queue_full"), 0);
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let cluster = Cluster::with(2, in_parts);
    let value = Rng::new(17).bytes(8_000_000);
    let mut c = cluster.client();
    c.pipeline(&set("k", &value), b"STORED\r\n");
    for n in 0..20 {
        let mut leaver = cluster.client();
        if n % 2 == 0 {
            leaver.send("get k k k\r\n");
            leaver.read(1 + n * 1000);
        } else {
            let request = set("k", &value);
            leaver.send(&request[..request.len() - 1]);
            let _ = leaver.try_send(b"\n");
        }
        leaver.reset();
    }
    c.ask("get k\r\n", hit("k", &value));
    eventually("all memory is given back", || {
        cluster.router.stat("ringroad_buffered_bytes") < 100_000
    });
}
