//! Where requests go, and in which order replies come back.
//!
//! Protects: a key lives on one server, always the same; replies of a pipeline over several servers return in
//! the order of the requests; a multi-key get answers in the order asked, whatever its size; `mn` fences quiet
//! commands on every server; few connections upstream however many clients there are.

use std::collections::HashMap;
use std::fmt::Write;

use crate::both::Both;
use crate::support::client::Client;
use crate::support::rng::Rng;
use crate::support::router::{Cluster, Setup};
use crate::support::scripted::Scripted;

/// A value that names its key, so that a mix-up cannot go unseen.
fn value_of(key: &str) -> String {
    format!("<{key}>")
}

fn store(client: &mut Client, keys: &[String]) {
    let mut requests = String::new();
    for key in keys {
        let value = value_of(key);
        write!(requests, "set {key} 0 0 {}\r\n{value}\r\n", value.len()).unwrap();
    }
    client.pipeline(
        requests.as_bytes(),
        "STORED\r\n".repeat(keys.len()).as_bytes(),
    );
}

fn value_reply(key: &str) -> String {
    let value = value_of(key);
    format!("VALUE {key} 0 {}\r\n{value}\r\n", value.len())
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

#[test]
fn a_key_lives_on_one_server_whichever_command_and_connection_speaks_of_it() {
    let cluster = Cluster::start(3);
    let keys = names("home_", 300);
    store(&mut cluster.client(), &keys);
    let mut per_server = [0; 3];
    let owners: HashMap<&String, usize> = keys.iter().map(|k| (k, cluster.owner(k))).collect();
    for owner in owners.values() {
        per_server[*owner] += 1;
    }
    assert!(
        per_server.iter().all(|n| *n > 30),
        "a lopsided ring: {per_server:?}"
    );

    for key in keys.iter().take(60) {
        let mut c = cluster.client();
        c.ask(format!("append {key} 0 0 1\r\n1\r\n"), "STORED\r\n");
        c.ask(format!("ms {key} 1\r\n5\r\n"), "HD\r\n");
        c.ask(format!("incr {key} 2\r\n"), "7\r\n");
        c.ask(format!("ma {key} v\r\n"), "VA 1\r\n8\r\n");
        c.ask(format!("touch {key} 0\r\n"), "TOUCHED\r\n");
        c.ask(
            format!("gat 0 {key}\r\n"),
            format!("VALUE {key} 0 1\r\n8\r\nEND\r\n"),
        );
        c.ask(format!("mg {key} v\r\n"), "VA 1\r\n8\r\n");
        assert_eq!(cluster.owner(key), owners[key]);
        c.ask(format!("md {key}\r\n"), "HD\r\n");
        assert!(!cluster.servers[owners[key]].holds(key));
    }
}

#[test]
fn placement_does_not_depend_on_the_process() {
    let cluster = Cluster::start(3);
    let keys = names("again_", 200);
    store(&mut cluster.client(), &keys);
    let second = Setup::before(&cluster.servers).start();
    let mut c = second.client();
    for key in &keys {
        c.ask(
            format!("get {key}\r\n"),
            format!("{}END\r\n", value_reply(key)),
        );
    }
}

#[test]
fn replies_come_in_the_order_of_the_requests() {
    let cluster = Cluster::start(3);
    let mut c = cluster.client();
    let keys = names("order_", 500);
    store(&mut c, &keys);
    let mut rng = Rng::new(1);
    let (mut requests, mut want) = (String::new(), String::new());
    for _ in 0..20_000 {
        let key = rng.pick(&keys);
        match rng.below(6) {
            0 => {
                let other = rng.pick(&keys);
                write!(requests, "get {key} {other} nokey\r\n").unwrap();
                want += &value_reply(key);
                want += &value_reply(other);
                want += "END\r\n";
            }
            1 => {
                write!(requests, "mg {key} v k\r\n").unwrap();
                let value = value_of(key);
                write!(want, "VA {} k{key}\r\n{value}\r\n", value.len()).unwrap();
            }
            2 => {
                requests += "get missing\r\n";
                want += "END\r\n";
            }
            3 => {
                requests += "bogus\r\n";
                want += "ERROR\r\n";
            }
            4 => {
                let value = value_of(key);
                write!(
                    requests,
                    "set {key} 0 0 {} noreply\r\n{value}\r\n",
                    value.len()
                )
                .unwrap();
            }
            _ => {
                write!(requests, "get {key}\r\n").unwrap();
                want += &value_reply(key);
                want += "END\r\n";
            }
        }
    }
    c.pipeline(requests.as_bytes(), want.as_bytes());
    c.fence();
}

#[test]
fn one_reads_what_one_wrote_within_a_pipeline() {
    Both::start().each(|c| {
        let (mut requests, mut want) = (String::new(), String::new());
        for i in 0..3000 {
            let key = format!("ryw{}", i % 7);
            write!(
                requests,
                "set {key} 0 0 4\r\n{i:04}\r\nget {key}\r\nget {key} ryw{}\r\n",
                (i + 3) % 7
            )
            .unwrap();
            write!(
                want,
                "STORED\r\nVALUE {key} 0 4\r\n{i:04}\r\nEND\r\nVALUE {key} 0 4\r\n{i:04}\r\n"
            )
            .unwrap();
            if i >= 4 {
                write!(want, "VALUE ryw{} 0 4\r\n{:04}\r\n", (i + 3) % 7, i - 4).unwrap();
            }
            want += "END\r\n";
        }
        c.pipeline(requests.as_bytes(), want.as_bytes());
    });
}

#[test]
fn multi_key_gets_of_any_size_with_duplicates_and_misses() {
    let both = Both::start();
    let keys = names("multi_", 10_000);
    for count in [1, 2, 3, 10, 100, 1000, 10_000] {
        let mut rng = Rng::new(count as u64);
        let mut asked: Vec<&str> = Vec::new();
        let mut want = String::new();
        for key in &keys[..count] {
            // About a fifth misses, a fifth asked twice.
            match rng.below(5) {
                0 => asked.push("no_such_key"),
                1 => asked.extend([key.as_str(), key.as_str()]),
                _ => asked.push(key),
            }
        }
        asked.truncate(10_000);
        for key in asked.iter().filter(|k| **k != "no_such_key") {
            want += &value_reply(key);
        }
        want += "END\r\n";
        both.each(|c| {
            store(c, &keys[..count]);
            c.pipeline(
                format!("get {}\r\n", asked.join(" ")).as_bytes(),
                want.as_bytes(),
            );
            c.send(format!("gets {}\r\n", asked.join(" ")));
            let got: Vec<Vec<u8>> = c.values().into_iter().map(|v| v.key).collect();
            let expected: Vec<&str> = asked
                .iter()
                .copied()
                .filter(|k| *k != "no_such_key")
                .collect();
            assert!(got.iter().zip(&expected).all(|(g, e)| g == e.as_bytes()));
            assert_eq!(got.len(), expected.len());
            c.fence();
        });
    }
}

#[test]
fn many_keys_of_the_greatest_length() {
    let keys: Vec<String> = (0..2000).map(|i| format!("{i:0>250}")).collect();
    let mut want: String = keys.iter().map(|k| value_reply(k)).collect();
    want += "END\r\n";
    Both::start().each(|c| {
        store(c, &keys);
        c.pipeline(
            format!("get {}\r\n", keys.join(" ")).as_bytes(),
            want.as_bytes(),
        );
    });
}

#[test]
fn a_fence_waits_for_quiet_commands_on_every_server() {
    let cluster = Cluster::start(3);
    let mut c = cluster.client();
    let mut direct: Vec<Client> = cluster.servers.iter().map(|s| s.client()).collect();
    for round in 0..100 {
        let mut requests = String::new();
        for i in 0..30 {
            write!(requests, "ms fence{i} 3 q\r\n{round:03}\r\n").unwrap();
        }
        c.ask(format!("{requests}mn\r\n"), "MN\r\n");
        // The fence has been answered: by now every server must have the new values.
        let mut fresh = 0;
        for server in &mut direct {
            server.send("get");
            for i in 0..30 {
                server.send(format!(" fence{i}"));
            }
            server.send("\r\n");
            for value in server.values() {
                assert_eq!(value.data, format!("{round:03}").as_bytes());
                fresh += 1;
            }
        }
        assert_eq!(fresh, 30);
    }
}

#[test]
fn few_connections_upstream_however_many_clients() {
    let cluster = Cluster::with(3, |setup| setup.top("workers = 2"));
    let before: u64 = cluster.servers[0].stat("curr_connections");
    let mut clients: Vec<Client> = (0..200).map(|_| cluster.client()).collect();
    let keys = names("few_", 50);
    store(&mut clients[0], &keys);
    for (i, client) in clients.iter_mut().enumerate() {
        let key = &keys[i % keys.len()];
        client.ask(
            format!("get {key}\r\n"),
            format!("{}END\r\n", value_reply(key)),
        );
    }
    for server in &cluster.servers {
        // `stat` itself is one connection more; `before` counted one, too.
        let now = server.stat("curr_connections");
        assert!(
            now <= before.max(2) + 4,
            "200 clients make {now} connections to a server (before: {before})"
        );
    }
}

#[test]
fn coalescing_on_and_off_answer_the_same() {
    for coalesce in ["coalesce = true", "coalesce = false"] {
        let cluster = Cluster::with(2, |setup| setup.top("workers = 1").pool(coalesce));
        let keys = names("co_", 40);
        let mut clients: Vec<Client> = (0..16).map(|_| cluster.client()).collect();
        store(&mut clients[0], &keys);
        let mut rng = Rng::new(7);
        for _ in 0..200 {
            // All write before any reads: the router sees many single gets, also of the same key, at once.
            let asked: Vec<Vec<&String>> = clients
                .iter_mut()
                .map(|c| {
                    let asked: Vec<&String> =
                        (0..rng.between(1, 4)).map(|_| rng.pick(&keys)).collect();
                    let requests: String = asked
                        .iter()
                        .map(|k| format!("get {k}\r\nget none_{k}\r\n"))
                        .collect();
                    c.send(requests);
                    asked
                })
                .collect();
            for (client, asked) in clients.iter_mut().zip(asked) {
                for key in asked {
                    client.expect(format!("{}END\r\nEND\r\n", value_reply(key)));
                }
            }
        }
        for client in &mut clients {
            client.fence();
        }
    }
}

#[test]
fn gets_that_arrive_together_leave_together() {
    for (coalesce, most) in [("coalesce = true", 4), ("coalesce = false", 16)] {
        let server = Scripted::well_behaved();
        let router = Setup::new([server.addr()])
            .top("workers = 1")
            .pool(coalesce)
            .start();
        let keys = names("k_", 16);
        let mut c = router.client();
        store(&mut c, &keys);
        let requests: String = keys.iter().map(|k| format!("get {k}\r\n")).collect();
        let want: String = keys.iter().map(|k| value_reply(k) + "END\r\n").collect();
        c.ask(requests, want);
        let gets = server
            .log()
            .iter()
            .filter(|command| command.is_get())
            .count();
        let least = if most == 16 { 16 } else { 1 };
        assert!(
            (least..=most).contains(&gets),
            "with {coalesce}, 16 gets made {gets} requests to the server"
        );
    }
}
