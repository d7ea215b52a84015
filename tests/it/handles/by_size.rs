//! L1L2SizeSplitRoute: where values are by their size, and how they are found again.

use super::{HIT, MISS, Scene};

fn scene(more: &str) -> Scene {
    let route = format!("type = \"by-size\"\nl1 = \"p0\"\nl2 = \"p1\"\nthreshold = 3\n{more}");
    Scene::new(&route, 2)
}

const LARGE: &str = "set k 7 5 3\r\nxyz\r\n";
const NOTE: &str = "set k 39 5 0\r\n\r\n";
const NOTED: &str = "VALUE k 39 0\r\n\r\nEND\r\n";
const FOUND: &str = "VALUE k 7 3\r\nxyz\r\nEND\r\n";

#[test]
fn a_value_is_where_its_size_says() {
    let scene = scene("ttl_threshold = \"4s\"");
    scene.check_all(&[
        (
            "set k 7 5 2\r\nxy\r\n",
            &[(0, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(0, "set k 7 5 2\r\nxy\r\n")],
        ),
        // It does not live long enough.
        (
            "set k 7 3 3\r\nxyz\r\n",
            &[(0, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(0, "set k 7 3 3\r\nxyz\r\n")],
        ),
        (
            LARGE,
            &[(1, "set", "STORED\r\n"), (0, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(1, LARGE), (0, NOTE)],
        ),
        (
            LARGE,
            &[(1, "set", "STORED\r\n"), (0, "set", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(1, LARGE), (0, NOTE)],
        ),
        (
            LARGE,
            &[(1, "set", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(1, LARGE)],
        ),
        (
            "ms k 3 F7 T5 O1\r\nxyz\r\n",
            &[(1, "ms", "HD O1\r\n"), (0, "ms", "HD O1\r\n")],
            "HD O1\r\n",
            &[
                (1, "ms k 3 F7 T5 O1\r\nxyz\r\n"),
                (0, "ms k 0 T5 O1 F39\r\n\r\n"),
            ],
        ),
        // Of updates only a set knows of sizes.
        (
            "add k 7 5 3\r\nxyz\r\n",
            &[(0, "add", "STORED\r\n")],
            "STORED\r\n",
            &[(0, "add k 7 5 3\r\nxyz\r\n")],
        ),
        (
            "delete k\r\n",
            &[(0, "delete", "DELETED\r\n")],
            "DELETED\r\n",
            &[(0, "delete k\r\n")],
        ),
        (
            "incr k 1\r\n",
            &[(0, "incr", "NOT_FOUND\r\n")],
            "NOT_FOUND\r\n",
            &[(0, "incr k 1\r\n")],
        ),
        (
            "touch k 1\r\n",
            &[(0, "touch", "TOUCHED\r\n")],
            "TOUCHED\r\n",
            &[(0, "touch k 1\r\n")],
        ),
        (
            "gat 5 k\r\n",
            &[(0, "gat", HIT)],
            HIT,
            &[(0, "gat 5 k\r\n")],
        ),
    ]);
    let long = "k".repeat(232);
    let set = format!("set {long} 7 5 3\r\nxyz\r\n");
    scene.check((
        &set,
        &[(0, "set", "STORED\r\n")],
        "STORED\r\n",
        &[(0, &set)],
    ));
}

#[test]
fn a_large_value_may_be_in_both() {
    let scene = scene("both = true");
    scene.check_all(&[
        (
            LARGE,
            &[(0, "set", "STORED\r\n"), (1, "set", "STORED\r\n")],
            "STORED\r\n",
            &[(0, LARGE), (1, LARGE)],
        ),
        (
            LARGE,
            &[(0, "set", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(0, LARGE)],
        ),
    ]);
}

#[test]
fn a_get_follows_a_note() {
    let scene = scene("");
    let gets = "gets k\r\n";
    scene.check_all(&[
        ("get k\r\n", &[(0, "get", HIT)], HIT, &[(0, "get k\r\n")]),
        ("get k\r\n", &[(0, "get", MISS)], MISS, &[(0, "get k\r\n")]),
        (
            "get k\r\n",
            &[(0, "get", NOTED), (1, "get", FOUND)],
            FOUND,
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        (
            "get k\r\n",
            &[(0, "get", NOTED), (1, "get", MISS)],
            MISS,
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        (
            "get k\r\n",
            &[(0, "get", NOTED), (1, "get", "SERVER_ERROR x\r\n")],
            "SERVER_ERROR x\r\n",
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        // As mcrouter stores what comes with a lease.
        (
            "get k\r\n",
            &[
                (0, "get", "VALUE k 39 2\r\n17\r\nEND\r\n"),
                (1, "get", "VALUE k|==|17 7 3\r\nxyz\r\nEND\r\n"),
            ],
            FOUND,
            &[(0, "get k\r\n"), (1, "get k|==|17\r\n")],
        ),
        (
            "get k\r\n",
            &[
                (0, "get k", "VALUE k 39 2\r\n17\r\nEND\r\n"),
                (1, "get", MISS),
                (0, "gets", "VALUE k 39 2 5\r\n17\r\nEND\r\n"),
                (0, "cas", "STORED\r\n"),
            ],
            "SERVER_ERROR local error\r\n",
            &[
                (0, "get k\r\n"),
                (1, "get k|==|17\r\n"),
                (0, gets),
                (0, "cas k 0 -1 0 5\r\n\r\n"),
            ],
        ),
        // The cas is that of the note.
        (
            gets,
            &[
                (0, "gets", "VALUE k 39 0 5\r\n\r\nEND\r\n"),
                (1, "get", FOUND),
            ],
            "VALUE k 7 3 5\r\nxyz\r\nEND\r\n",
            &[(0, gets), (1, "get k\r\n")],
        ),
        // A note that is wrong goes, and the get is tried again.
        (
            gets,
            &[
                (0, "gets", "VALUE k 39 0 5\r\n\r\nEND\r\n"),
                (0, "gets", "VALUE k 39 0 5\r\n\r\nEND\r\n"),
                (0, "gets", "END\r\n"),
                (0, "cas", "STORED\r\n"),
                (1, "get", MISS),
            ],
            MISS,
            &[
                (0, gets),
                (1, "get k\r\n"),
                (0, gets),
                (0, "cas k 0 -1 0 5\r\n\r\n"),
                (0, gets),
            ],
        ),
        (
            "mg k s f v O1\r\n",
            &[(0, "mg", "VA 0 s0 f39 O1\r\n\r\n"), (1, "get", FOUND)],
            "VA 3 s3 f7 O1\r\nxyz\r\n",
            &[(0, "mg k s f v O1\r\n"), (1, "get k\r\n")],
        ),
        (
            "mg k v O1\r\n",
            &[(0, "mg", "VA 0 O1 f39\r\n\r\n"), (1, "get", FOUND)],
            "VA 3 O1\r\nxyz\r\n",
            &[(0, "mg k v O1 f\r\n"), (1, "get k\r\n")],
        ),
    ]);
}

fn leasing(more: &str) -> Scene {
    let route = format!(
        r#"{{"type": "L1L2SizeSplitRoute", "l1": "PoolRoute|p0", "l2": "PoolRoute|p1", "threshold": 3, "failure_ttl": 60{more}}}"#
    );
    let scene = Scene::mcrouter(&route, &[None; 2]);
    let (get, lease) = ("lease-get k\r\n", "LVALUE k 4711 0 0\r\n\r\nEND\r\n");
    scene.check((get, &[(0, "", lease)], lease, &[(0, get)]));
    scene
}

/// The value gets a name of its own, and the token stores the note.
#[test]
fn what_a_lease_stores_goes_by_its_size() {
    let scene = leasing("");
    let small = "lease-set k 4711 7 5 2\r\nxy\r\n";
    scene.check((small, &[(0, "", "STORED\r\n")], "STORED\r\n", &[(0, small)]));
    for stored in ["STORED\r\n", "NOT_STORED\r\n"] {
        let since = scene.script(&[(0, "lease-set", stored), (1, "set", "STORED\r\n")]);
        let mut client = scene.router.client();
        client.ask("lease-set k 4711 7 5 3\r\nxyz\r\n", stored);
        let (note, value) = (
            scene.got(0, since[0]).concat(),
            scene.got(1, since[1]).concat(),
        );
        let number = value.strip_prefix("set k|==|").unwrap();
        let (number, rest) = number.split_once(' ').unwrap();
        assert_eq!(rest, "7 5 3\r\nxyz\r\n");
        number.parse::<u32>().unwrap();
        let len = number.len();
        assert_eq!(note, format!("lease-set k 4711 39 5 {len}\r\n{number}\r\n"));
    }
    // The whole value, but not for long.
    for (asked, stored) in [(0, 60), (5, 5), (61, 60), (1_900_000_000, 60), (-1, -1)] {
        let since = scene.script(&[
            (0, "lease-set", "STORED\r\n"),
            (1, "set", "SERVER_ERROR x\r\n"),
        ]);
        let mut client = scene.router.client();
        let set = format!("lease-set k 4711 7 {asked} 3\r\nxyz\r\n");
        client.ask(set, "STORED\r\n");
        let whole = format!("lease-set k 4711 7 {stored} 3\r\nxyz\r\n");
        assert_eq!(scene.got(0, since[0]), [whole]);
    }
}

#[test]
fn what_a_lease_stores_may_be_in_both() {
    let scene = leasing(r#", "both_full_set": true"#);
    let set = "lease-set k 4711 7 5 3\r\nxyz\r\n";
    scene.check((
        set,
        &[(0, "", "STORED\r\n"), (1, "", "STORED\r\n")],
        "STORED\r\n",
        &[(0, set), (1, "set k 7 5 3\r\nxyz\r\n")],
    ));
    scene.check((
        set,
        &[(0, "", "NOT_STORED\r\n")],
        "NOT_STORED\r\n",
        &[(0, set)],
    ));
}

/// Nobody sees a note, and one without its value makes room for a lease.
#[test]
fn a_lease_get_follows_a_note() {
    let scene = leasing("");
    let get = "lease-get k\r\n";
    let note = "VALUE k 39 2\r\n17\r\nEND\r\n";
    let lease = "LVALUE k 4712 0 0\r\n\r\nEND\r\n";
    scene.check_all(&[
        (get, &[(0, "", HIT)], HIT, &[(0, get)]),
        (
            get,
            &[
                (0, "", note),
                (1, "", "VALUE k|==|17 7 3\r\nxyz\r\nEND\r\n"),
            ],
            FOUND,
            &[(0, get), (1, "get k|==|17\r\n")],
        ),
        (
            get,
            &[(0, "", NOTED), (1, "", FOUND)],
            FOUND,
            &[(0, get), (1, "get k\r\n")],
        ),
        (
            get,
            &[
                (0, "lease-get", note),
                (0, "lease-get", lease),
                (1, "get", MISS),
                (0, "gets", "VALUE k 39 2 5\r\n17\r\nEND\r\n"),
                (0, "cas", "STORED\r\n"),
            ],
            lease,
            &[
                (0, get),
                (1, "get k|==|17\r\n"),
                (0, "gets k\r\n"),
                (0, "cas k 0 -1 0 5\r\n\r\n"),
                (0, get),
            ],
        ),
        // What is stale is a note, too.
        (
            get,
            &[(0, "", "LVALUE k 4712 39 2\r\n17\r\nEND\r\n")],
            lease,
            &[(0, get)],
        ),
        (
            get,
            &[(0, "", "LVALUE k 4712 7 2\r\n17\r\nEND\r\n")],
            "LVALUE k 4712 7 2\r\n17\r\nEND\r\n",
            &[(0, get)],
        ),
    ]);
}

/// Requests that one client sends in a row come to a server in its order. A get that has to ask the second server after the
/// first may come behind a set of its client's that was sent behind it, as with mcrouter.
#[test]
fn a_pipeline_keeps_its_order() {
    let scene = scene("");
    let small = "set k 7 5 2\r\nxy\r\n";
    let whole = "VALUE k 7 2\r\nxy\r\nEND\r\n";
    let both = [LARGE, "get k\r\n", small, "get k\r\n"].concat();
    let answers = [
        (0, "set k 39", "STORED\r\n"),
        (0, "set k 7", "STORED\r\n"),
        (0, "get k", NOTED),
        (0, "get k", whole),
        (1, "set", "STORED\r\n"),
        (1, "get", FOUND),
    ];
    let want = ["STORED\r\n", FOUND, "STORED\r\n", whole].concat();
    scene.check((
        &both,
        &answers,
        &want,
        &[
            (1, LARGE),
            (0, NOTE),
            (0, "get k\r\n"),
            (1, "get k\r\n"),
            (0, small),
            (0, "get k\r\n"),
        ],
    ));
    let get_first = ["get k\r\n", small, "delete k\r\n", "get k\r\n"].concat();
    let answers = [
        (0, "get", whole),
        (0, "get", MISS),
        (0, "set", "STORED\r\n"),
        (0, "delete", "DELETED\r\n"),
    ];
    scene.check((
        &get_first,
        &answers,
        &[whole, "STORED\r\nDELETED\r\n", MISS].concat(),
        &[
            (0, "get k\r\n"),
            (0, small),
            (0, "delete k\r\n"),
            (0, "get k\r\n"),
        ],
    ));
}
