//! Servers that come back with what they had: `on_return`.
//!
//! A server is frozen, which to the router looks like one that is cut off: it comes back as it was, and has not been
//! restarted. Protects: what has been changed or deleted meanwhile is not given out as it was before, by any worker;
//! only what must go is deleted.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::{Cluster, Ringroad};

/// Two servers and as many workers; a server is out of service after two short timeouts, and soon tried again.
fn cluster(lines: &[&str]) -> Cluster {
    Cluster::with(2, |setup| {
        let setup = setup
            .top("workers = 2")
            .top("flush_all = true")
            .pool("timeout = \"200ms\"")
            .pool("tko = { after = 2, probe_min = \"20ms\", probe_max = \"100ms\" }");
        lines.iter().fold(setup, |setup, line| setup.pool(line))
    })
}

/// Clients of each worker: who has just connected goes to the one that has fewer.
fn clients(cluster: &Cluster) -> Vec<Client> {
    (0..8).map(|_| cluster.client()).collect()
}

/// Keys of the first server, stored there as `before`.
fn stored(cluster: &Cluster) -> Vec<String> {
    let keys = cluster.keys_by_server(40).swap_remove(0);
    let mut client = cluster.client();
    for key in &keys {
        client.ask(format!("set {key} 0 0 6\r\nbefore\r\n"), "STORED\r\n");
    }
    keys
}

/// The first server hangs, and each worker has noticed.
fn cut_off(cluster: &Cluster, keys: &[String], clients: &mut [Client]) {
    let keys = keys[..2].join(" ");
    cluster.servers[0].process().freeze();
    eventually("both workers give the server up", || {
        for client in &mut *clients {
            client.send(format!("get {keys}\r\n"));
            client.read_until(b"END\r\n");
        }
        downs(cluster) == 2
    });
}

fn downs(cluster: &Cluster) -> u64 {
    let servers = cluster.client().stats("servers");
    let first = format!("{}:down", cluster.servers[0].addr());
    let found = servers.iter().find(|(name, _)| *name == first);
    found
        .unwrap_or_else(|| panic!("{first} in {servers:?}"))
        .1
        .parse()
        .unwrap()
}

fn comes_back(cluster: &Cluster) {
    cluster.servers[0].process().thaw();
    eventually("the server is back", || downs(cluster) == 0);
}

/// Values of these keys that a client is given.
fn values(client: &mut Client, keys: &[String]) -> Vec<(String, String)> {
    client.send(format!("get {}\r\n", keys.join(" ")));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let found = client.values().into_iter();
    found
        .map(|value| (text(&value.key), text(&value.data)))
        .collect()
}

/// What was done on the next server meanwhile, and what has come of it: values seen right after the server is back.
fn changed_meanwhile(lines: &[&str]) -> (Cluster, Vec<String>, Vec<(String, String)>) {
    let cluster = cluster(lines);
    let keys = stored(&cluster);
    let mut clients = clients(&cluster);
    cut_off(&cluster, &keys, &mut clients);
    for (n, key) in keys.iter().enumerate().take(30) {
        let client = &mut clients[n % 8];
        match n % 3 {
            0 => client.ask(format!("set {key} 0 0 5\r\nafter\r\n"), "STORED\r\n"),
            1 => client.ask(format!("delete {key}\r\n"), "NOT_FOUND\r\n"),
            _ => client.ask(format!("ms {key} 5 MS\r\nafter\r\n"), "HD\r\n"),
        };
    }
    cluster.servers[0].process().thaw();
    let mut seen = Vec::new();
    eventually("the server is back", || {
        for client in &mut clients {
            seen.extend(values(client, &keys));
        }
        downs(&cluster) == 0
    });
    for client in &mut clients {
        seen.extend(values(client, &keys));
    }
    (cluster, keys, seen)
}

#[test]
fn what_was_updated_elsewhere_does_not_come_back_as_it_was() {
    let (cluster, keys, seen) = changed_meanwhile(&["on_failure = \"next\""]);
    let (changed, others) = keys.split_at(30);
    let old: Vec<_> = seen
        .iter()
        .filter(|(key, value)| changed.contains(key) && value == "before")
        .collect();
    assert!(old.is_empty(), "{old:?}");
    eventually("all has been made up for", || {
        cluster.router.stat("ringroad_owed_deletes") >= 30
    });
    // What nobody has touched is still there.
    let mut client = cluster.client();
    assert_eq!(values(&mut client, others).len(), 10);
    assert_eq!(values(&mut client, changed), []);
    client.ask(format!("set {} 0 0 1\r\nx\r\n", keys[0]), "STORED\r\n");
    assert!(cluster.servers[0].holds(&keys[0]));
    assert_eq!(cluster.router.stat("ringroad_owed_flushes"), 0);
}

#[test]
fn a_server_that_is_trusted_gives_out_what_it_had() {
    let (cluster, keys, seen) =
        changed_meanwhile(&["on_failure = \"next\"", "on_return = \"trust\""]);
    assert!(seen.contains(&(keys[0].clone(), "before".to_owned())));
    assert_eq!(cluster.router.stat("ringroad_owed_updates"), 0);
}

#[test]
fn a_server_that_counts_as_cold_is_emptied_before_it_is_asked() {
    let cluster = cluster(&["on_return = \"cold\""]);
    let keys = stored(&cluster);
    let other = &cluster.keys_by_server(1)[1][0];
    let mut clients = clients(&cluster);
    cut_off(&cluster, &keys, &mut clients);
    comes_back(&cluster);
    for client in &mut clients {
        eventually("it is used again", || {
            assert_eq!(values(client, &keys[1..]), []);
            client.send(format!("set {} 0 0 1\r\nx\r\n", keys[0]));
            client.line() == "STORED"
        });
    }
    assert!(cluster.router.stat("ringroad_owed_flushes") >= 1);
    assert!(cluster.servers[1].holds(other), "others are left alone");
}

#[test]
fn a_cold_server_that_has_been_restarted_is_not_emptied() {
    let mut cluster = cluster(&["on_return = \"cold\""]);
    let keys = stored(&cluster);
    let mut clients = clients(&cluster);
    cluster.servers[0].kill();
    eventually("both workers give the server up", || {
        for client in &mut clients {
            client.send(format!("get {}\r\n", keys[0]));
            client.read_until(b"END\r\n");
        }
        downs(&cluster) == 2
    });
    // Its uptime counts whole seconds.
    std::thread::sleep(std::time::Duration::from_secs(4));
    cluster.servers[0].restart();
    let mut direct = cluster.servers[0].client();
    direct.ask(format!("set {} 0 0 3\r\nnew\r\n", keys[0]), "STORED\r\n");
    for client in &mut clients {
        eventually("it is used again", || values(client, &keys[..1]).len() == 1);
    }
    assert_eq!(cluster.router.stat("ringroad_owed_flushes"), 0);
}

/// Updates of the first pool's keys are done in the second one meanwhile; nobody has said anything of `on_return`.
#[test]
fn below_a_failover_route_nothing_old_comes_back_either() {
    let servers = Memcached::several(2);
    let text = |listen: &str| {
        format!(
            "listen = [\"{listen}\"]\nworkers = 1\nroute = {{ type = \"failover\", children = [\"p\", \"q\"] }}\n\
             [pools.p]\nservers = [\"{}\"]\ntimeout = \"200ms\"\ntko = {{ after = 2, probe_min = \"20ms\", probe_max = \"100ms\" }}\n\
             [pools.q]\nservers = [\"{}\"]\n",
            servers[0].addr(),
            servers[1].addr()
        )
    };
    let port = Port::reserve();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    std::fs::write(&config, text(&port.addr().to_string())).unwrap();
    let router = Ringroad::run(&config, port, dir);
    let mut c = router.client();
    c.ask("set k 0 0 6\r\nbefore\r\n", "STORED\r\n");
    c.ask("set d 0 0 6\r\nbefore\r\n", "STORED\r\n");
    servers[0].process().freeze();
    c.ask("set k 0 0 5\r\nafter\r\n", "STORED\r\n");
    c.ask("delete d\r\n", "NOT_FOUND\r\n");
    servers[0].process().thaw();
    eventually("the first server is used again", || {
        for key in ["k", "d"] {
            c.send(format!("get {key}\r\n"));
            assert!(c.values().iter().all(|value| value.data != b"before"));
        }
        c.ask("set other 0 0 1\r\nx\r\n", "STORED\r\n");
        servers[0].holds("other")
    });
    for key in ["k", "d"] {
        c.send(format!("get {key}\r\n"));
        assert!(c.values().iter().all(|value| value.data != b"before"));
    }
}

/// It hangs, is taken out of the file, and put back when it goes on.
#[test]
fn a_server_that_was_taken_out_and_put_back_has_missed_everything() {
    let cluster = cluster(&["on_failure = \"next\""]);
    let keys = stored(&cluster);
    let file = cluster.router.config();
    let text = std::fs::read_to_string(&file).unwrap();
    let first = format!("\"{}\", ", cluster.servers[0].addr());
    assert!(text.contains(&first), "{text}");
    cluster.servers[0].process().freeze();
    let mut client = cluster.client();
    let reload = |text: &str| {
        let reloads = cluster.router.stat("ringroad_reloads");
        std::fs::write(&file, text).unwrap();
        eventually("the file is read", || {
            cluster.router.stat("ringroad_reloads") > reloads
        });
    };
    reload(&text.replace(&first, ""));
    for key in &keys {
        client.ask(format!("set {key} 0 0 5\r\nafter\r\n"), "STORED\r\n");
    }
    cluster.servers[0].process().thaw();
    reload(&text);
    eventually("it is used again", || {
        let seen = values(&mut client, &keys);
        assert!(seen.iter().all(|(_, value)| value != "before"), "{seen:?}");
        client.ask(format!("set {} 0 0 5\r\nagain\r\n", keys[0]), "STORED\r\n");
        cluster.servers[0].holds(&keys[0])
    });
    assert_eq!(cluster.router.stat("ringroad_owed_flushes"), 1);
}
