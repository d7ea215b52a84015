//! L1L2CacheRoute: what is asked of which level, what is copied, and notes that there is nothing.

use super::{HIT, MISS, Scene};

const SET: &str = "set k 7 5 1\r\nx\r\n";

fn scene(more: &str) -> Scene {
    let route = format!("type = \"two-level\"\nl1 = \"p0\"\nl2 = \"p1\"\nexptime = \"1m\"\n{more}");
    Scene::new(&route, 2)
}

#[test]
fn what_l1_lacks_is_added_from_l2() {
    let scene = scene("");
    let add = "add k 7 60 1\r\nx\r\n";
    scene.check_all(&[
        ("get k\r\n", &[(0, "get", HIT)], HIT, &[(0, "get k\r\n")]),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", HIT), (0, "add", "STORED\r\n")],
            HIT,
            &[(0, "get k\r\n"), (1, "get k\r\n"), (0, add)],
        ),
        (
            "get k\r\n",
            &[
                (0, "get", "SERVER_ERROR x\r\n"),
                (1, "get", HIT),
                (0, "add", "STORED\r\n"),
            ],
            HIT,
            &[(0, "get k\r\n"), (1, "get k\r\n"), (0, add)],
        ),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", MISS)],
            MISS,
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", "SERVER_ERROR y\r\n")],
            "SERVER_ERROR y\r\n",
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        (
            "gat 9 k\r\n",
            &[(0, "gat", MISS), (1, "gat", HIT), (0, "add", "STORED\r\n")],
            HIT,
            &[(0, "gat 9 k\r\n"), (1, "gat 9 k\r\n"), (0, add)],
        ),
        // The flags are asked for, and kept from a client that has not.
        (
            "mg k v O1\r\n",
            &[
                (0, "mg", "EN\r\n"),
                (1, "mg", "VA 1 O1 f7\r\nx\r\n"),
                (0, "add", "STORED\r\n"),
            ],
            "VA 1 O1\r\nx\r\n",
            &[(0, "mg k v O1 f\r\n"), (1, "mg k v O1 f\r\n"), (0, add)],
        ),
        (SET, &[(0, "set", "STORED\r\n")], "STORED\r\n", &[(0, SET)]),
        (
            "delete k\r\n",
            &[(0, "delete", "NOT_FOUND\r\n")],
            "NOT_FOUND\r\n",
            &[(0, "delete k\r\n")],
        ),
        (
            "incr k 1\r\n",
            &[(0, "incr", "2\r\n")],
            "2\r\n",
            &[(0, "incr k 1\r\n")],
        ),
        (
            "touch k 1\r\n",
            &[(0, "touch", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(0, "touch k 1\r\n")],
        ),
    ]);
}

#[test]
fn notes_answer_and_every_third_looks_whether_they_are_still_right() {
    let scene = scene("miss_exptime = \"5s\"\nmiss_period = 3");
    let note = "VALUE k 65536 6\r\nncache\r\nEND\r\n";
    scene.check((
        "get k\r\n",
        &[(0, "get", MISS), (1, "get", MISS), (0, "add", "STORED\r\n")],
        MISS,
        &[
            (0, "get k\r\n"),
            (1, "get k\r\n"),
            (0, "add k 65536 5 6\r\nncache\r\n"),
        ],
    ));
    // An error is no reason for a note.
    scene.check((
        "get k\r\n",
        &[(0, "get", MISS), (1, "get", "SERVER_ERROR x\r\n")],
        "SERVER_ERROR x\r\n",
        &[(0, "get k\r\n"), (1, "get k\r\n")],
    ));
    for (found, set) in [
        (MISS, "set k 65536 5 6\r\nncache\r\n"),
        (HIT, "set k 7 60 1\r\nx\r\n"),
    ] {
        for _ in 0..2 {
            scene.check(("get k\r\n", &[(0, "get", note)], MISS, &[(0, "get k\r\n")]));
        }
        scene.check((
            "get k\r\n",
            &[
                (0, "get", note),
                (1, "get", found),
                (0, "set", "STORED\r\n"),
            ],
            MISS,
            &[(0, "get k\r\n"), (1, "get k\r\n"), (0, set)],
        ));
    }
    scene.check((
        "mg k v k O1\r\n",
        &[(0, "mg", "VA 6 kk O1 f65536\r\nncache\r\n")],
        "EN kk O1\r\n",
        &[(0, "mg k v k O1 f\r\n")],
    ));
}

/// Without notes of its own it still knows those of others.
#[test]
fn a_note_of_another_router_is_a_miss() {
    let scene = scene("");
    let note = "VALUE k 65537 6\r\nncache\r\nEND\r\n";
    for _ in 0..3 {
        scene.check(("get k\r\n", &[(0, "get", note)], MISS, &[(0, "get k\r\n")]));
    }
}

/// A lease-get is a get, and a miss without a token is a miss.
#[test]
fn leases_are_asked_of_both() {
    let route = r#"{"type": "L1L2CacheRoute", "l1": "PoolRoute|p0", "l2": "PoolRoute|p1", "upgradingL1Exptime": 60}"#;
    let scene = Scene::mcrouter(route, &[None; 2]);
    let get = "lease-get k\r\n";
    let add = "add k 7 60 1\r\nx\r\n";
    for miss in [
        "NOT_FOUND_HOT\r\nEND\r\n",
        "LVALUE k 4711 0 0\r\n\r\nEND\r\n",
    ] {
        scene.check_all(&[
            (
                get,
                &[
                    (0, "lease-get", miss),
                    (1, "lease-get", HIT),
                    (0, "add", "STORED\r\n"),
                ],
                HIT,
                &[(0, get), (1, get), (0, add)],
            ),
            (
                get,
                &[
                    (0, "lease-get", "SERVER_ERROR x\r\n"),
                    (1, "lease-get", miss),
                ],
                miss,
                &[(0, get), (1, get)],
            ),
        ]);
    }
}
