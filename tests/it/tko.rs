//! What workers know of a server's health is shared.
//!
//! Protects: a server that hangs costs the clients of all workers a few timeouts together, not each worker as many; all
//! of them go back to it as soon as one has found it well; `tko.enabled = false` switches that off.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::router::{Cluster, Setup};

fn two_workers(setup: Setup) -> Setup {
    setup.top("workers = 2").pool("timeout = \"200ms\"")
}

/// Clients of each worker: who has just connected goes to the one that has fewer.
fn clients(cluster: &Cluster) -> Vec<Client> {
    (0..8).map(|_| cluster.client()).collect()
}

/// One of the first server's figures.
fn figure(cluster: &Cluster, name: &str) -> u64 {
    let name = format!("{}:{name}", cluster.servers[0].addr());
    let all = cluster.client().stats("servers");
    let found = all.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("{name} in {all:?}"))
        .1
        .parse()
        .unwrap()
}

/// Keys of the first server, which has them and is connected to by both workers.
fn stored(cluster: &Cluster, clients: &mut [Client]) -> Vec<String> {
    let keys = cluster.keys_by_server(8).swap_remove(0);
    for (client, key) in clients.iter_mut().zip(&keys) {
        client.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    keys
}

#[test]
fn a_server_that_hangs_costs_all_workers_a_few_timeouts_together() {
    let cluster = Cluster::with(2, |setup| {
        // Nobody looks whether it is back before this is over.
        two_workers(setup).pool("tko = { after = 2, probe_min = \"1h\", probe_max = \"1h\" }")
    });
    let mut clients = clients(&cluster);
    let keys = stored(&cluster, &mut clients);
    assert!(figure(&cluster, "connections") >= 2, "each worker has one");
    cluster.servers[0].process().freeze();
    // One after the other, so that all that wait for their time are known.
    for key in &keys[..2] {
        clients[0].ask(format!("get {key}\r\n"), "END\r\n");
    }
    eventually("all have heard", || figure(&cluster, "down") == 2);
    let spent = figure(&cluster, "timeouts");
    assert!((1..=2).contains(&spent), "{spent}");
    for _ in 0..10 {
        for (client, key) in clients.iter_mut().zip(&keys) {
            client.ask(format!("get {key}\r\n"), "END\r\n");
            client.ask(
                format!("delete {key}\r\n"),
                "SERVER_ERROR server is down\r\n",
            );
        }
    }
    assert_eq!(figure(&cluster, "timeouts"), spent, "nobody else waited");
    assert_eq!(figure(&cluster, "downs"), 1);
    cluster.servers[0].process().thaw();
}

#[test]
fn all_workers_go_back_to_a_server_when_one_has_found_it_well() {
    let mut cluster = Cluster::with(2, |setup| {
        two_workers(setup).pool("tko = { probe_min = \"20ms\", probe_max = \"50ms\" }")
    });
    let mut clients = clients(&cluster);
    let keys = stored(&cluster, &mut clients);
    cluster.servers[0].kill();
    eventually("it is out", || {
        clients[0].ask(format!("get {}\r\n", keys[0]), "END\r\n");
        figure(&cluster, "down") == 2
    });
    cluster.servers[0].restart();
    eventually("it is back", || figure(&cluster, "down") == 0);
    assert_eq!(figure(&cluster, "downs"), 1);
    let failures = figure(&cluster, "failures");
    for (client, key) in clients.iter_mut().zip(&keys) {
        client.ask(format!("set {key} 0 0 1\r\ny\r\n"), "STORED\r\n");
    }
    assert_eq!(figure(&cluster, "failures"), failures);
}

#[test]
fn where_it_is_switched_off_each_request_waits_for_itself() {
    let cluster = Cluster::with(2, |setup| {
        two_workers(setup).pool("tko = { enabled = false, after = 1 }")
    });
    let mut clients = clients(&cluster);
    let keys = stored(&cluster, &mut clients);
    cluster.servers[0].process().freeze();
    for key in &keys[..3] {
        clients[0].ask(format!("delete {key}\r\n"), "SERVER_ERROR timeout\r\n");
    }
    assert_eq!(figure(&cluster, "down"), 0);
    cluster.servers[0].process().thaw();
    eventually("it answers", || {
        clients[1].send(format!("set {} 0 0 1\r\nz\r\n", keys[1]));
        clients[1].line() == "STORED"
    });
}
