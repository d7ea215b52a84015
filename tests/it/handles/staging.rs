//! StagingRoute: what reaches the second cache, and for how long it lives there.

use super::outcomes::{CLOSES, LOST};
use super::{HIT, MISS, Scene};

const SET: &str = "set k 7 5 1\r\nx\r\n";

fn scene() -> Scene {
    Scene::new("type = \"staging\"\nwarm = \"p0\"\nstaging = \"p1\"", 2)
}

#[test]
fn what_is_found_is_added_unless_it_is_there() {
    let scene = scene();
    let asked = [(0, "get k\r\n"), (1, "mg k O0\r\n"), (0, "mg k t O0\r\n")];
    for (left, add) in [
        ("HD t45 O0\r\n", Some((1, "add k 7 45 1\r\nx\r\n"))),
        ("HD t-1 O0\r\n", Some((1, "add k 7 0 1\r\nx\r\n"))),
        ("HD t0 O0\r\n", None),
        ("EN\r\n", None),
    ] {
        // An error is no item.
        for there in ["EN\r\n", "SERVER_ERROR x\r\n"] {
            let all: Vec<(usize, &str)> = asked.into_iter().chain(add).collect();
            let answers = [
                (0, "get", HIT),
                (1, "mg", there),
                (0, "mg", left),
                (1, "add", "STORED\r\n"),
            ];
            scene.check(("get k\r\n", &answers, HIT, &all));
        }
    }
    for there in ["HD O0\r\n", "SERVER_ERROR 307 busy\r\n"] {
        scene.check((
            "get k\r\n",
            &[(0, "get", HIT), (1, "mg", there)],
            HIT,
            &[(0, "get k\r\n"), (1, "mg k O0\r\n")],
        ));
    }
    scene.check_all(&[
        ("get k\r\n", &[(0, "get", MISS)], MISS, &[(0, "get k\r\n")]),
        (
            "get k\r\n",
            &[(0, "get", CLOSES)],
            LOST,
            &[(0, "get k\r\n")],
        ),
        (
            "gets k\r\n",
            &[
                (0, "gets", "VALUE k 7 1 9\r\nx\r\nEND\r\n"),
                (1, "mg", "EN\r\n"),
            ],
            "VALUE k 7 1 9\r\nx\r\nEND\r\n",
            &[(0, "gets k\r\n"), (1, "mg k O0\r\n")],
        ),
        (
            "mg k v O1\r\n",
            &[
                (0, "mg k v", "VA 1 O1\r\nx\r\n"),
                (1, "mg", "EN\r\n"),
                (0, "mg k t", "HD t9 O0\r\n"),
                (0, "get", HIT),
                (1, "add", "STORED\r\n"),
            ],
            "VA 1 O1\r\nx\r\n",
            &[
                (0, "mg k v O1\r\n"),
                (1, "mg k O0\r\n"),
                (0, "mg k t O0\r\n"),
                (0, "get k\r\n"),
                (1, "add k 7 9 1\r\nx\r\n"),
            ],
        ),
    ]);
}

#[test]
fn what_is_stored_is_stored_there_too() {
    let scene = scene();
    scene.check_all(&[
        (
            SET,
            &[(0, "set", "STORED\r\n"), (1, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(0, SET), (1, SET)],
        ),
        (
            SET,
            &[(0, "set", "NOT_STORED\r\n")],
            "NOT_STORED\r\n",
            &[(0, SET)],
        ),
        (
            SET,
            &[(0, "set", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(0, SET)],
        ),
        // A cas there would be another one's.
        (
            "cas k 7 5 1 3\r\nx\r\n",
            &[(0, "cas", "STORED\r\n"), (1, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(0, "cas k 7 5 1 3\r\nx\r\n"), (1, SET)],
        ),
        (
            "cas k 7 5 1 3\r\nx\r\n",
            &[(0, "cas", "EXISTS\r\n")],
            "EXISTS\r\n",
            &[(0, "cas k 7 5 1 3\r\nx\r\n")],
        ),
        (
            "ms k 1 T5 F7 C3 O1\r\nx\r\n",
            &[(0, "ms", "HD O1\r\n"), (1, "set", "STORED\r\n")],
            "HD O1\r\n",
            &[(0, "ms k 1 T5 F7 C3 O1\r\nx\r\n"), (1, SET)],
        ),
    ]);
}

#[test]
fn deletions_reach_both_and_all_else_follows() {
    let scene = scene();
    let delete = "delete k\r\n";
    let both = [(0, delete), (1, delete)];
    for (first, second, want) in [
        ("DELETED\r\n", "DELETED\r\n", "DELETED\r\n"),
        ("DELETED\r\n", "NOT_FOUND\r\n", "NOT_FOUND\r\n"),
        ("NOT_FOUND\r\n", "DELETED\r\n", "NOT_FOUND\r\n"),
        ("DELETED\r\n", "SERVER_ERROR x\r\n", "SERVER_ERROR x\r\n"),
        (CLOSES, "NOT_FOUND\r\n", LOST),
    ] {
        scene.check((
            delete,
            &[(0, "delete", first), (1, "delete", second)],
            want,
            &both,
        ));
    }
    for (command, answer) in [
        ("add k 7 5 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("append k 7 5 1\r\nx\r\n", "STORED\r\n"),
        ("incr k 1\r\n", "5\r\n"),
        ("incr k 1\r\n", "NOT_FOUND\r\n"),
        ("touch k 1\r\n", "TOUCHED\r\n"),
        ("gat 5 k\r\n", HIT),
        ("ma k O1\r\n", "HD O1\r\n"),
    ] {
        scene.check((
            command,
            &[(0, "", answer), (1, "", answer)],
            answer,
            &[(0, command), (1, command)],
        ));
    }
    scene.check((
        "incr k 1\r\n",
        &[(0, "", "SERVER_ERROR x\r\n")],
        "SERVER_ERROR x\r\n",
        &[(0, "incr k 1\r\n")],
    ));
}

/// What a lease-get finds is copied as what a get finds; the second cache is asked for no lease of its own.
#[test]
fn a_lease_is_the_warm_cache_s() {
    let route = r#"{"type": "StagingRoute", "warm": "PoolRoute|p0", "staging": "PoolRoute|p1"}"#;
    let scene = Scene::mcrouter(route, &[None; 2]);
    let get = "lease-get k\r\n";
    scene.check((
        get,
        &[
            (0, "lease-get", HIT),
            (1, "mg", "EN\r\n"),
            (0, "mg", "HD t45 O0\r\n"),
            (1, "add", "STORED\r\n"),
        ],
        HIT,
        &[
            (0, get),
            (1, "mg k O0\r\n"),
            (0, "mg k t O0\r\n"),
            (1, "add k 7 45 1\r\nx\r\n"),
        ],
    ));
    for answer in ["LVALUE k 4711 0 0\r\n\r\nEND\r\n", "SERVER_ERROR x\r\n"] {
        scene.check((get, &[(0, "", answer)], answer, &[(0, get)]));
    }
}

/// What is stored by a lease is set in the second cache, which has given none.
#[test]
fn what_a_lease_stores_is_set_in_staging() {
    let route = r#"{"type": "StagingRoute", "warm": "PoolRoute|p0", "staging": "PoolRoute|p1"}"#;
    let scene = Scene::mcrouter(route, &[None; 2]);
    let (get, lease) = ("lease-get k\r\n", "LVALUE k 4711 0 0\r\n\r\nEND\r\n");
    scene.check((get, &[(0, "", lease)], lease, &[(0, get)]));
    let set = "lease-set k 4711 7 5 1\r\nx\r\n";
    for stored in ["STORED\r\n", "STALE_STORED\r\n"] {
        scene.check((
            set,
            &[(0, "", stored), (1, "", "STORED\r\n")],
            stored,
            &[(0, set), (1, "set k 7 5 1\r\nx\r\n")],
        ));
    }
    for answer in ["NOT_STORED\r\n", "SERVER_ERROR x\r\n"] {
        scene.check((set, &[(0, "", answer)], answer, &[(0, set)]));
    }
}
