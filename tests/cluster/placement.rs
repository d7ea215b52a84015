//! How many keys move when a pod joins, with every distribution, in the running system.

use super::kube::{Kube, SERVICE, name};
use super::load::{keys, moved};
use crate::support::eventually;

/// The distributions and the share of keys that move from three servers to four.
const EXPECTED: &[(&str, f64)] = &[
    // Consistent ones move what the new server gets.
    ("ring", 0.25),
    ("ketama", 0.25),
    ("ketama_weighted", 0.25),
    ("ketama_twemproxy", 0.25),
    ("pymemcache", 0.25),
    ("ch3", 0.25),
    ("weighted_ch3", 0.25),
    ("const_shard", 0.25),
    ("jump", 0.25),
    ("rendezvous", 0.25),
    // A remainder by three and by four is the same for a quarter of all numbers.
    ("modula", 0.75),
    ("pylibmc", 0.75),
    ("python_memcached", 0.75),
    ("crc32", 0.75),
];

/// Of 2000 keys; the unevenness of a ring's points included.
const TOLERANCE: f64 = 0.09;

#[test]
fn the_share_that_moves_is_the_one_the_theory_gives() {
    let all = ringroad::hash::Distribution::ALL;
    assert_eq!(all.len(), EXPECTED.len(), "a distribution is missing here");
    let mut kube = Kube::start(3);
    let mut pools = String::new();
    let mut prefixes = String::new();
    for (distribution, _) in EXPECTED {
        pools += &format!(
            "[pools.{distribution}]\ndiscover = {{ service = \"{SERVICE}\", port = {} }}\n\
             distribution = \"{distribution}\"\n",
            kube.port()
        );
        prefixes += &format!("\"{distribution}/\" = \"{distribution}\"\n");
    }
    let router = kube.router_of(&format!(
        "[route]\ntype = \"prefix\"\ndefault = \"ring\"\n[route.prefixes]\n{prefixes}{pools}"
    ));
    let known = |count: usize| {
        let report = router.json(&["members"]);
        let pools = report.as_array().unwrap();
        pools
            .iter()
            .all(|pool| pool["members"].as_array().unwrap().len() == count)
    };
    eventually("every pool has three servers", || known(3));
    let base = keys(2000);
    let keys_of = |distribution: &str| -> Vec<String> {
        base.iter()
            .map(|key| format!("{distribution}/{key}"))
            .collect()
    };
    let store = |value: &str| {
        let mut client = router.client();
        for (distribution, _) in EXPECTED {
            for key in keys_of(distribution) {
                client.ask(
                    format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()),
                    "STORED\r\n",
                );
            }
        }
    };
    store("three");
    let before: Vec<_> = EXPECTED
        .iter()
        .map(|(distribution, _)| kube.owners(&keys_of(distribution), "three"))
        .collect();
    kube.run(&name(3));
    kube.show_all();
    eventually("every pool has four servers", || known(4));
    store("four!");
    for ((distribution, expected), before) in EXPECTED.iter().zip(before) {
        let after = kube.owners(&keys_of(distribution), "four!");
        assert_eq!((before.len(), after.len()), (base.len(), base.len()));
        let share = moved(&before, &after) as f64 / base.len() as f64;
        eprintln!(
            "{distribution}: 3 to 4: keys moved: {:.1} % (expected {:.1} %)",
            share * 100.0,
            expected * 100.0
        );
        assert!(
            (share - expected).abs() < TOLERANCE,
            "{distribution}: {share}"
        );
    }
}
