//! HashRoute over routes, RandomRoute, HostIdRoute: one child of several.

use super::place::Place;

#[test]
fn a_hash_over_routes_has_mcrouter_s_places() {
    let place = Place::mcrouter(
        "{\"type\": \"HashRoute\", \"children\": [\"PoolRoute|A\", {\"type\": \"FailoverRoute\", \"children\": [\"ErrorRoute\", \"PoolRoute|B\"]}, \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    let recorded = include_str!("../../golden/mcrouter-0.36/ch3_3.tsv");
    let mut count = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        let (key, Ok(want)) = (fields[1], fields[2].parse::<usize>()) else {
            continue;
        };
        if !key.bytes().all(plain) {
            continue;
        }
        let before = place.counts();
        c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
        let after = place.counts();
        assert_eq!(after[want], before[want] + 1, "{key}");
        count += 1;
    }
    assert!(count > 100);
}

#[test]
fn by_chance_all_have_a_share_and_nobody_sees_it() {
    let place = Place::mcrouter(
        "{\"type\": \"RandomRoute\", \"children\": [\"PoolRoute|A\", \"PoolRoute|B\", \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    for _ in 0..300 {
        c.ask("touch k 5\r\n", "TOUCHED\r\n");
    }
    let counts = place.counts();
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn a_host_has_one_child() {
    let place = Place::mcrouter(
        "{\"type\": \"HostIdRoute\", \"salt\": \"s\", \"children\": [\"PoolRoute|A\", \"PoolRoute|B\", \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    for number in 0..30 {
        c.ask(format!("touch k{number} 5\r\n"), "TOUCHED\r\n");
    }
    let mut counts = place.counts();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 30]);
}

#[test]
fn a_single_child_is_itself() {
    for kind in ["RandomRoute", "HostIdRoute"] {
        super::no_child_and_one(kind);
    }
    // Then nobody looks at the function.
    super::all_passes(
        r#"{"type": "HashRoute", "children": "PoolRoute|p0", "hash_func": "NoSuchFunction"}"#,
    );
}

#[test]
fn whatever_is_chosen_answers() {
    for (kind, more) in [
        ("RandomRoute", ""),
        ("HostIdRoute", ", \"salt\": \"s\""),
        ("HashRoute", ", \"salt\": \"s\""),
    ] {
        super::all_passes(&format!(
            "{{\"type\": \"{kind}\", \"children\": [\"PoolRoute|p0\", \"PoolRoute|p0\"]{more}}}"
        ));
    }
}
