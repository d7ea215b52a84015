//! WarmUpRoute: what is asked of which cache, and what is copied for how long.

use super::outcomes::{CLOSES, LOST};
use super::{HIT, MISS, Scene};

const GETS: &str = "VALUE k 7 1 9\r\nx\r\nEND\r\n";
const ADD: &str = "add k 7 60 1\r\nx\r\n";

/// Everything but gets is a matter of the cold cache alone.
#[test]
fn only_gets_come_to_the_warm_cache() {
    let scene = Scene::new(
        "type = \"warm-up\"\ncold = \"p0\"\nwarm = \"p1\"\nexptime = \"1m\"",
        2,
    );
    for (command, answers) in [
        (
            "set k 7 5 1\r\nx\r\n",
            &["STORED\r\n", "NOT_STORED\r\n", "SERVER_ERROR x\r\n"][..],
        ),
        ("add k 7 5 1\r\nx\r\n", &["STORED\r\n", "NOT_STORED\r\n"]),
        ("append k 7 5 1\r\nx\r\n", &["STORED\r\n", "NOT_STORED\r\n"]),
        (
            "cas k 7 5 1 3\r\nx\r\n",
            &["STORED\r\n", "EXISTS\r\n", "NOT_FOUND\r\n"],
        ),
        (
            "delete k\r\n",
            &["DELETED\r\n", "NOT_FOUND\r\n", "SERVER_ERROR x\r\n"],
        ),
        (
            "incr k 1\r\n",
            &["5\r\n", "NOT_FOUND\r\n", "CLIENT_ERROR x\r\n"],
        ),
        ("touch k 1\r\n", &["TOUCHED\r\n", "NOT_FOUND\r\n"]),
    ] {
        for answer in answers {
            scene.check((command, &[(0, "", answer)], answer, &[(0, command)]));
        }
    }
}

#[test]
fn what_the_cold_cache_lacks_is_added_there() {
    let scene = Scene::new(
        "type = \"warm-up\"\ncold = \"p0\"\nwarm = \"p1\"\nexptime = \"1m\"",
        2,
    );
    scene.check_all(&[
        ("get k\r\n", &[(0, "get", HIT)], HIT, &[(0, "get k\r\n")]),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", HIT), (0, "add", "STORED\r\n")],
            HIT,
            &[(0, "get k\r\n"), (1, "get k\r\n"), (0, ADD)],
        ),
        // A cold cache that is broken serves from the warm one.
        (
            "get k\r\n",
            &[
                (0, "get", "SERVER_ERROR x\r\n"),
                (1, "get", HIT),
                (0, "add", "NOT_STORED\r\n"),
            ],
            HIT,
            &[(0, "get k\r\n"), (1, "get k\r\n"), (0, ADD)],
        ),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", MISS)],
            MISS,
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        (
            "get k\r\n",
            &[(0, "get", MISS), (1, "get", CLOSES)],
            LOST,
            &[(0, "get k\r\n"), (1, "get k\r\n")],
        ),
        // The cas is that of the copy.
        (
            "gets k\r\n",
            &[
                (0, "gets", MISS),
                (0, "gets", GETS),
                (1, "get", HIT),
                (0, "add", "STORED\r\n"),
            ],
            GETS,
            &[
                (0, "gets k\r\n"),
                (1, "get k\r\n"),
                (0, ADD),
                (0, "gets k\r\n"),
            ],
        ),
        (
            "gets k\r\n",
            &[(0, "gets", MISS), (1, "get", "SERVER_ERROR x\r\n")],
            MISS,
            &[(0, "gets k\r\n"), (1, "get k\r\n")],
        ),
        (
            "gets k\r\n",
            &[(0, "gets", "SERVER_ERROR y\r\n"), (1, "get", MISS)],
            "SERVER_ERROR y\r\n",
            &[(0, "gets k\r\n"), (1, "get k\r\n")],
        ),
        // A gat says how long the copy lives.
        (
            "gat 30 k\r\n",
            &[
                (0, "gat", MISS),
                (0, "gat", HIT),
                (1, "get", HIT),
                (0, "add", "STORED\r\n"),
            ],
            HIT,
            &[
                (0, "gat 30 k\r\n"),
                (1, "get k\r\n"),
                (0, "add k 7 30 1\r\nx\r\n"),
                (0, "gat 30 k\r\n"),
            ],
        ),
        (
            "gats 30 k\r\n",
            &[(0, "gats", GETS)],
            GETS,
            &[(0, "gats 30 k\r\n")],
        ),
    ]);
}

/// Meta commands are what the text command is that does the same; a `mg` without the value copies nothing.
#[test]
fn meta_commands() {
    let scene = Scene::new(
        "type = \"warm-up\"\ncold = \"p0\"\nwarm = \"p1\"\nexptime = \"1m\"",
        2,
    );
    let get = "mg k v O1\r\n";
    scene.check_all(&[
        (
            get,
            &[(0, "mg", "VA 1 O1\r\nx\r\n")],
            "VA 1 O1\r\nx\r\n",
            &[(0, get)],
        ),
        (
            get,
            &[
                (0, "mg", "EN\r\n"),
                (1, "mg", "VA 1 O1\r\nx\r\n"),
                (1, "get", HIT),
                (0, "add", "STORED\r\n"),
            ],
            "VA 1 O1\r\nx\r\n",
            &[(0, get), (1, get), (1, "get k\r\n"), (0, ADD)],
        ),
        (
            "mg k t O1\r\n",
            &[(0, "mg", "EN\r\n"), (1, "mg", "HD t5 O1\r\n")],
            "HD t5 O1\r\n",
            &[(0, "mg k t O1\r\n"), (1, "mg k t O1\r\n")],
        ),
        (
            "mg k c v O1\r\n",
            &[
                (0, "mg", "EN\r\n"),
                (0, "mg", "VA 1 c3 O1\r\nx\r\n"),
                (1, "get", HIT),
                (0, "add", "STORED\r\n"),
            ],
            "VA 1 c3 O1\r\nx\r\n",
            &[
                (0, "mg k c v O1\r\n"),
                (1, "get k\r\n"),
                (0, ADD),
                (0, "mg k c v O1\r\n"),
            ],
        ),
        // "k" in base64.
        (
            "mg aw== b v O1\r\n",
            &[
                (0, "mg", "EN\r\n"),
                (1, "mg aw== b v", "VA 1 b O1\r\nx\r\n"),
                (1, "mg aw== f v b", "VA 1 f7 b O0\r\nx\r\n"),
                (0, "ms", "HD b O0\r\n"),
            ],
            "VA 1 b O1\r\nx\r\n",
            &[
                (0, "mg aw== b v O1\r\n"),
                (1, "mg aw== b v O1\r\n"),
                (1, "mg aw== f v b O0\r\n"),
                (0, "ms aw== 1 ME F7 T60 b O0\r\nx\r\n"),
            ],
        ),
        (
            "md k O1\r\n",
            &[(0, "md", "NF O1\r\n")],
            "NF O1\r\n",
            &[(0, "md k O1\r\n")],
        ),
    ]);
}

/// With `keep` the warm cache is asked how long the item has to live.
#[test]
fn the_remaining_time_to_live() {
    let scene = Scene::new(
        "type = \"warm-up\"\ncold = \"p0\"\nwarm = \"p1\"\nexptime = \"keep\"",
        2,
    );
    let asked = [(0, "get k\r\n"), (1, "get k\r\n"), (1, "mg k t O0\r\n")];
    for (answer, add) in [
        ("HD t45 O0\r\n", Some("add k 7 45 1\r\nx\r\n")),
        ("HD t-1 O0\r\n", Some("add k 7 0 1\r\nx\r\n")),
        // A longer one would be a date.
        ("HD t99999999 O0\r\n", Some("add k 7 2592000 1\r\nx\r\n")),
        // It is about to be gone, is gone, or nobody knows.
        ("HD t0 O0\r\n", None),
        ("EN\r\n", None),
        ("SERVER_ERROR x\r\n", None),
    ] {
        let all: Vec<(usize, &str)> = asked.into_iter().chain(add.map(|add| (0, add))).collect();
        let answers = [
            (0, "get", MISS),
            (1, "get", HIT),
            (1, "mg", answer),
            (0, "add", "STORED\r\n"),
        ];
        scene.check(("get k\r\n", &answers, HIT, &all));
    }
    scene.check((
        "gets k\r\n",
        &[
            (0, "gets", MISS),
            (0, "gets", GETS),
            (1, "get", HIT),
            (1, "mg", "HD t45 O0\r\n"),
            (0, "add", "STORED\r\n"),
        ],
        GETS,
        &[
            (0, "gets k\r\n"),
            (1, "get k\r\n"),
            (1, "mg k t O0\r\n"),
            (0, "add k 7 45 1\r\nx\r\n"),
            (0, "gets k\r\n"),
        ],
    ));
}

/// Both may be any routes.
#[test]
fn caches_that_are_routes() {
    let scene = Scene::new(
        "type = \"warm-up\"\nexptime = 0\ncold = { type = \"all-sync\", children = [\"p0\", \"p1\"] }\nwarm = { type = \"failover\", children = [\"p2\", \"p3\"] }",
        4,
    );
    let add = "add k 7 0 1\r\nx\r\n";
    scene.check((
        "get k\r\n",
        &[
            (0, "get", MISS),
            (1, "get", HIT),
            (2, "get", "SERVER_ERROR x\r\n"),
            (3, "get", HIT),
            (0, "add", "STORED\r\n"),
            (1, "add", "NOT_STORED\r\n"),
        ],
        HIT,
        &[
            (0, "get k\r\n"),
            (1, "get k\r\n"),
            (2, "get k\r\n"),
            (3, "get k\r\n"),
            (0, add),
            (1, add),
        ],
    ));
}

const LEASE: &str = "LVALUE k 4711 0 0\r\n\r\nEND\r\n";
const HOT: &str = "NOT_FOUND_HOT\r\nEND\r\n";

/// The cold cache's lease is used for the copy, after the client has its answer.
#[test]
fn a_lease_of_the_cold_cache_stores_what_the_warm_one_has() {
    let route =
        r#"{"type": "WarmUpRoute", "cold": "PoolRoute|p0", "warm": "PoolRoute|p1", "exptime": 60}"#;
    let scene = Scene::mcrouter(route, &[None; 2]);
    let get = "lease-get k\r\n";
    scene.check_all(&[
        (get, &[(0, "lease-get", HIT)], HIT, &[(0, get)]),
        (get, &[(0, "lease-get", HOT)], HOT, &[(0, get)]),
        (
            get,
            &[
                (0, "lease-get", LEASE),
                (1, "get", HIT),
                (0, "lease-set", "STORED\r\n"),
            ],
            HIT,
            &[
                (0, get),
                (1, "get k\r\n"),
                (0, "lease-set k 4711 7 60 1\r\nx\r\n"),
            ],
        ),
        (
            get,
            &[(0, "lease-get", LEASE), (1, "get", MISS)],
            LEASE,
            &[(0, get), (1, "get k\r\n")],
        ),
        (
            get,
            &[(0, "lease-get", LEASE), (1, "get", "SERVER_ERROR x\r\n")],
            LEASE,
            &[(0, get), (1, "get k\r\n")],
        ),
        // Without a token there is nothing to store it with.
        (
            get,
            &[(0, "lease-get", "SERVER_ERROR x\r\n"), (1, "get", HIT)],
            HIT,
            &[(0, get), (1, "get k\r\n")],
        ),
        (
            get,
            &[(0, "lease-get", "SERVER_ERROR x\r\n"), (1, "get", MISS)],
            "SERVER_ERROR x\r\n",
            &[(0, get), (1, "get k\r\n")],
        ),
    ]);
}

/// What is copied has the key that it is asked for by, where pools keep the routing prefix.
#[test]
fn copies_keep_the_prefix_of_their_keys() {
    let pool = |name| {
        format!(
            r#"{{"type": "PoolRoute", "pool": {{"name": "q{name}", "inherit": "p{name}", "keep_routing_prefix": true}}}}"#
        )
    };
    let warm_up = |more| {
        let (cold, warm) = (pool(0), pool(1));
        let route = format!(r#"{{"type": "WarmUpRoute", "cold": {cold}, "warm": {warm}, {more}}}"#);
        Scene::mcrouter(&route, &[None; 2])
    };
    let found = "VALUE /././k 7 1\r\nx\r\nEND\r\n";
    warm_up(r#""exptime": 9"#).check((
        "get /././k\r\n",
        &[
            (0, "get", MISS),
            (1, "get", found),
            (0, "add", "STORED\r\n"),
        ],
        found,
        &[
            (0, "get /././k\r\n"),
            (1, "get /././k\r\n"),
            (0, "add /././k 7 9 1\r\nx\r\n"),
        ],
    ));
    let scene = warm_up(r#""enable_metaget": true"#);
    scene.check_all(&[
        (
            "get /././k\r\n",
            &[
                (0, "get", MISS),
                (1, "get", found),
                (1, "mg", "HD t45 O0\r\n"),
                (0, "add", "STORED\r\n"),
            ],
            found,
            &[
                (0, "get /././k\r\n"),
                (1, "get /././k\r\n"),
                (1, "mg /././k t O0\r\n"),
                (0, "add /././k 7 45 1\r\nx\r\n"),
            ],
        ),
        (
            "lease-get /././k\r\n",
            &[
                (0, "lease-get", "LVALUE /././k 4711 0 0\r\n\r\nEND\r\n"),
                (1, "get", found),
                (1, "mg", "HD t45 O0\r\n"),
                (0, "lease-set", "STORED\r\n"),
            ],
            found,
            &[
                (0, "lease-get /././k\r\n"),
                (1, "get /././k\r\n"),
                (1, "mg /././k t O0\r\n"),
                (0, "lease-set /././k 4711 7 45 1\r\nx\r\n"),
            ],
        ),
    ]);
}
