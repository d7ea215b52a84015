//! More pods, fewer pods.
//!
//! Protects: only the keys that must move do; clients see no error while the ring changes.

use super::kube::{Kube, name};
use super::load::{OnMiss, fill, keys, moved, under_load};

/// The share of keys that moved must be the one expected to within this; 160 points a server are not even.
const TOLERANCE: f64 = 0.06;

#[test]
fn from_three_to_five_to_two() {
    let mut kube = Kube::start(3);
    let router = kube.router("", "");
    router.until_present(3);
    let keys = keys(3000);
    fill(&router, &keys, "three");
    let three = kube.owners(&keys, "three");
    let mut five = Default::default();
    let mut two = Default::default();
    let seen = under_load(&router, &keys, OnMiss::Store, "3 to 5 to 2", |load| {
        load.phase("3");
        for ordinal in [3, 4] {
            kube.run(&name(ordinal));
        }
        kube.show_all();
        load.phase("3 to 5");
        router.until_present(5);
        load.phase("5");
        fill(&router, &keys, "five");
        five = kube.owners(&keys, "five");
        // Kubernetes removes the highest first, one after the other.
        for ordinal in [4, 3, 2] {
            kube.show((0..ordinal).map(name));
            load.phase(["5 to 2: mc-2", "5 to 2: mc-3", "5 to 2: mc-4"][ordinal - 2]);
            kube.kill(&name(ordinal));
            router.until_present(ordinal);
        }
        load.phase("2");
        fill(&router, &keys, "two");
        two = kube.owners(&keys, "two");
    });
    for (from, to, before, after, expected) in
        [(3, 5, &three, &five, 0.4), (5, 2, &five, &two, 0.6)]
    {
        let share = moved(before, after) as f64 / keys.len() as f64;
        eprintln!(
            "{from} to {to}: keys moved: {:.1} % (expected {:.1} %)",
            share * 100.0,
            expected * 100.0
        );
        assert_eq!(after.len(), keys.len(), "every key has one owner");
        assert!((share - expected).abs() < TOLERANCE, "{share}");
        let stayed = |owner: &String| {
            after.values().any(|now| now == owner) && before.values().any(|was| was == owner)
        };
        let swapped = before.iter().filter(|(key, owner)| {
            let now = &after[*key];
            now != *owner && stayed(owner) && stayed(now)
        });
        assert_eq!(swapped.count(), 0, "keys moved between pods that stayed");
    }
    // A pod that is killed at once after it left DNS is missed for a moment, by gets as misses, by the sets
    // that follow them as errors. Growing costs no error at all.
    for phase in ["3", "3 to 5", "5", "2"] {
        assert_eq!(seen[phase].failed(), 0, "{phase}: {}", seen[phase]);
    }
}
