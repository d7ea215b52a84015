//! Weights that are a variable of a file, in front of real servers.
//!
//! Protects: keys move when the file changes, without a reload, to where WeightedCh3 with those weights has them (as
//! recorded from mcrouter); a file that makes no sense moves nothing; the first request after a start finds the file
//! read; pools and hash routes, TOML and mcrouter's JSON are alike in this; `explain` tells what the router does.

use std::path::Path;
use std::process::Command;

use ringroad::hash::{Distribution, Node, Placement, Selector};

use crate::mcrouter::Place;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Setup, binary};

/// Where mcrouter 0.36 was recorded to send keys among eight servers with [`RECORDED_WEIGHTS`].
const RECORDED: &str = include_str!("../golden/mcrouter-0.36/weightedch3_8.tsv");
const RECORDED_WEIGHTS: &str = "[0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.01, 0.6]";

/// Recorded keys that go into a line of text, with the numbers of their servers.
fn recorded() -> Vec<(&'static str, usize)> {
    assert!(RECORDED.contains(RECORDED_WEIGHTS));
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let plain = rows.filter(|row| {
        let key = row[1];
        !key.is_empty() && key.len() < 100 && key.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    let found: Vec<_> = plain
        .filter_map(|row| Some((row[1], row[2].parse().ok()?)))
        .take(200)
        .collect();
    assert_eq!(found.len(), 200);
    found
}

/// Where these keys are with fixed weights.
fn placed(keys: &[String], weights: &[f64]) -> Vec<usize> {
    let nodes: Vec<Node> = (1..)
        .zip(weights)
        .map(|(port, weight)| Node::at("h", port).weighing(*weight))
        .collect();
    let placement = Placement::of(Distribution::WeightedCh3);
    let selector = Selector::new(&placement, &nodes).unwrap();
    let owners = keys.iter().map(|key| selector.select(key.as_bytes()));
    owners.collect()
}

/// Writes beside the file and puts that in its place, so that nobody reads a half.
fn replace(file: impl AsRef<Path>, text: &str) {
    let file = file.as_ref();
    let next = file.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, file).unwrap();
}

fn store(c: &mut Client, keys: &[String]) {
    for key in keys {
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
}

/// Whether each key, when it is stored now, is at the server that has this number, and at no other.
fn are_at(c: &mut Client, servers: &[Memcached], keys: &[String], owners: &[usize]) -> bool {
    for server in servers {
        server.client().ask("flush_all\r\n", "OK\r\n");
    }
    store(c, keys);
    keys.iter().zip(owners).all(|(key, owner)| {
        let holders = (0..servers.len()).filter(|at| servers[*at].holds(key));
        holders.eq([*owner])
    })
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("weighed_{n}")).collect()
}

#[test]
fn mcrouter_s_variable_puts_keys_where_its_weights_have_them() {
    let servers = Memcached::several(8);
    let addrs: Vec<String> = servers.iter().map(|s| s.addr().to_string()).collect();
    let place = Place::new();
    let file = place.write(
        "f.json",
        &format!(
            "{{\"pools\": {{\"A\": {{\"servers\": {addrs:?}}}}}, \"route\": {{\"type\": \"PoolRoute\", \"pool\": \"A\", \"hash\": {{\"hash_func\": \"WeightedCh3Rv\", \"weights_rv\": \"w\"}}}}}}"
        ),
    );
    let ones = "{\"hash_route_weights\": {\"w\": [1, 1, 1, 1, 1, 1, 1, 1]}}";
    let vars = place.write("vars.json", ones);
    let router = place.serve(&["-p", "PORT", "-f", &file, "--runtime-vars-file", &vars]);
    let mut c = router.client();
    let recorded = recorded();
    let keys: Vec<String> = recorded.iter().map(|(key, _)| (*key).to_owned()).collect();
    let owners: Vec<usize> = recorded.iter().map(|(_, owner)| *owner).collect();
    // The file holds for the first request.
    let at_first = placed(&keys, &[1.0; 8]);
    assert!(are_at(&mut c, &servers, &keys, &at_first));
    assert_ne!(at_first, owners);
    replace(
        &vars,
        &format!("{{\"hash_route_weights\": {{\"w\": {RECORDED_WEIGHTS}}}}}"),
    );
    eventually("keys are where mcrouter has them", || {
        are_at(&mut c, &servers, &keys, &owners)
    });
    let question = "get __mcrouter__.route_handles(get,a)\r\n";
    c.send(question);
    let told = String::from_utf8(c.read_until(b"END\r\n")).unwrap();
    assert!(told.contains("hash|WeightedCh3Rv"), "{told}");
}

#[test]
fn a_pool_follows_its_variable_and_nothing_else() {
    let servers = Memcached::several(3);
    let dir = tempfile::tempdir().unwrap();
    let vars = dir.path().join("vars.json");
    replace(&vars, "{\"hash_route_weights\": {\"w\": [1, 0.25]}}");
    let setup = Setup::before(&servers)
        .top(&format!("runtime_vars_file = {vars:?}"))
        .pool("distribution = \"weighted_ch3\"")
        .pool("weights_variable = \"w\"");
    let router = setup.start();
    let mut c = router.client();
    let keys = names(60);
    // What the list has nothing for is a half.
    assert!(are_at(
        &mut c,
        &servers,
        &keys,
        &placed(&keys, &[1.0, 0.25, 0.5])
    ));
    let explained = |key: &String| {
        let mut command = Command::new(binary());
        command.args(["explain", "--json", "--config"]);
        command.arg(router.config()).arg(key);
        let out = command.output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        value[0]["pools"][0]["owner"].to_string()
    };
    for weights in [[0.0, 1.0, 0.5], [0.75, 0.25, 1.0]] {
        replace(
            &vars,
            &format!("{{\"hash_route_weights\": {{\"w\": {weights:?}, \"other\": [0]}}}}"),
        );
        let owners = placed(&keys, &weights);
        eventually("keys have moved", || {
            are_at(&mut c, &servers, &keys, &owners)
        });
        for (key, owner) in keys.iter().zip(&owners).take(5) {
            let told = explained(key);
            let addr = servers[*owner].addr().to_string();
            assert!(told.contains(&addr), "{key}: {told} is not {addr}");
        }
    }
}

#[test]
fn weights_that_are_none_change_nothing_and_are_told() {
    let servers = Memcached::several(2);
    let dir = tempfile::tempdir().unwrap();
    let vars = dir.path().join("vars.json");
    replace(&vars, "{\"hash_route_weights\": {\"w\": [0, 1]}}");
    let one = |server: &Memcached| vec![server.addr().to_string()];
    let tables = format!(
        "[pools.b]\nservers = {:?}\n[route]\ntype = \"hash\"\nchildren = [\"cache\", \"b\"]\n\
         distribution = \"weighted_ch3\"\nweights_variable = \"w\"",
        one(&servers[1])
    );
    let setup = Setup::before(&servers[..1])
        .top(&format!("runtime_vars_file = {vars:?}"))
        .table(&tables);
    let mut router = setup.start();
    let mut c = router.client();
    let keys = names(40);
    let good = placed(&keys, &[0.0, 1.0]);
    assert!(are_at(&mut c, &servers, &keys, &good));
    for (wrong, why) in [
        ("{\"w\": [1, 1.5]}", "hash_route_weights.w` is no list"),
        ("{\"w\": [1, \"0\"]}", "hash_route_weights.w` is no list"),
        ("[1, 0]", "hash_route_weights` is no object"),
        ("{}", "`w` is not there"),
    ] {
        replace(&vars, &format!("{{\"hash_route_weights\": {wrong}}}"));
        let process = router.process();
        eventually("the log says so", || process.output().contains(why));
        assert!(are_at(&mut c, &servers, &keys, &good), "{wrong}");
    }
    replace(&vars, "{\"hash_route_weights\": {\"w\": [1, 0]}}");
    let moved = placed(&keys, &[1.0, 0.0]);
    assert_ne!(good, moved);
    eventually("good weights hold again", || {
        are_at(&mut c, &servers, &keys, &moved)
    });
}
