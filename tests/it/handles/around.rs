//! Routes around one child, or that choose one by what is no key: outstanding, latency, blackhole, client, balance,
//! slow-warm-up.

use std::time::{Duration, Instant};

use super::outcomes::{CLOSES, LOST};
use super::{HIT, MISS, Scene};
use crate::support::eventually;
use crate::support::scripted::Act;

/// Every kind of request comes through as it is, and so does its answer.
const COMMANDS: &[(&str, &str)] = &[
    ("get k\r\n", HIT),
    ("get k\r\n", MISS),
    ("get k\r\n", "SERVER_ERROR x\r\n"),
    ("gat 5 k\r\n", HIT),
    ("set k 7 5 1\r\nx\r\n", "STORED\r\n"),
    ("set k 7 5 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("cas k 7 5 1 3\r\nx\r\n", "EXISTS\r\n"),
    ("delete k\r\n", "DELETED\r\n"),
    ("delete k\r\n", "NOT_FOUND\r\n"),
    ("incr k 1\r\n", "5\r\n"),
    ("decr k 1\r\n", "CLIENT_ERROR x\r\n"),
    ("touch k 1\r\n", "TOUCHED\r\n"),
    ("mg k v O1\r\n", "VA 1 O1\r\nx\r\n"),
    ("ms k 1 O1\r\nx\r\n", "HD O1\r\n"),
];

fn passes(scene: &Scene, to: usize) {
    for (command, answer) in COMMANDS {
        scene.check((command, &[(to, "", answer)], answer, &[(to, command)]));
    }
}

#[test]
fn late_answers_are_the_same_and_late() {
    let scene = Scene::new(
        "type = \"latency\"\nchild = \"p0\"\nbefore = \"20ms\"\nafter = \"30ms\"\ntotal = \"70ms\"",
        1,
    );
    passes(&scene, 0);
    scene.script(&[(0, "get", HIT)]);
    let mut client = scene.router.client();
    let begin = Instant::now();
    client.ask("get k\r\n", HIT);
    assert!(begin.elapsed() >= Duration::from_millis(70));
    // What is up to the last percentile is late, each request by its own lot; here it is all of them.
    let scene = Scene::new(
        "type = \"latency\"\nchild = \"p0\"\npercentiles = [[0, \"1h\"], [100, \"60ms\"]]",
        1,
    );
    passes(&scene, 0);
    scene.script(&[(0, "get", HIT)]);
    let mut client = scene.router.client();
    let begin = Instant::now();
    client.ask("get k\r\n", HIT);
    assert!(begin.elapsed() >= Duration::from_millis(60));
}

/// One request at a time; the others wait, and clients take turns.
#[test]
fn what_is_over_the_limit_waits_for_its_turn() {
    let scene = Scene::new("type = \"outstanding\"\nchild = \"p0\"\nlimit = 1", 1);
    passes(&scene, 0);
    let since = scene.servers[0].log().len();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    scene.servers[0].follow(move |_| {
        // The first time until it may; then that is over.
        let _ = wait.recv();
        Act::say(MISS)
    });
    let gets = scene.router.stat("cmd_get");
    let asked = |count: u64| {
        eventually("all have been read", || {
            scene.router.stat("cmd_get") == gets + count
        });
    };
    let mut first = scene.router.client();
    let mut second = scene.router.client();
    // The second client comes later than four of the first one.
    first.send("get a1\r\nget a2\r\nget a3\r\nget a4\r\n");
    asked(4);
    second.send("get b1\r\n");
    asked(5);
    eventually("the first is asked", || !scene.got(0, since).is_empty());
    assert_eq!(scene.got(0, since), ["get a1\r\n"]);
    drop(go);
    first.expect(MISS.repeat(4));
    second.expect(MISS);
    let all = ["a1", "a2", "b1", "a3", "a4"].map(|key| format!("get {key}\r\n"));
    assert_eq!(scene.got(0, since), all);
}

#[test]
fn what_fits_the_conditions_is_swallowed() {
    let scene = Scene::new(
        "type = \"blackhole\"\nchild = \"p0\"\nwhen = [{ field = \"key\", equals = [\"k\", \"j\"] }, { field = \"exptime\", equals = [5], differs = [5, 6, 7, 8] }]",
        1,
    );
    for (command, want) in [
        // A part that is not there does not count.
        ("get k\r\n", MISS),
        ("get j\r\n", MISS),
        ("incr k 1\r\n", "NOT_FOUND\r\n"),
        ("set k 7 5 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("touch k 9\r\n", "NOT_FOUND\r\n"),
        ("gat 5 k\r\n", MISS),
        ("mg k v T5 O1\r\n", "EN O1\r\n"),
        ("ms k 1 T9 O1\r\nx\r\n", "NS O1\r\n"),
        ("delete k\r\n", "NOT_FOUND\r\n"),
    ] {
        scene.check((command, &[], want, &[]));
    }
    scene.check(("get l\r\n", &[(0, "", MISS)], MISS, &[(0, "get l\r\n")]));
    let scene = Scene::new(
        "type = \"blackhole\"\nchild = \"p0\"\nblackhole = \"p1\"\nwhen = [{ field = \"flags\", differs = [7] }, { field = \"delta\", equals = [3] }, { field = \"cas\", equals = [9] }]",
        2,
    );
    for (command, answer, to) in [
        ("get k\r\n", HIT, 1),
        ("set k 7 5 1\r\nx\r\n", "STORED\r\n", 0),
        ("set k 8 5 1\r\nx\r\n", "STORED\r\n", 1),
        ("ms k 1 F7 O1\r\nx\r\n", "HD O1\r\n", 0),
        ("incr k 3\r\n", "5\r\n", 1),
        ("incr k 4\r\n", "5\r\n", 0),
        ("ma k O1\r\n", "HD O1\r\n", 0),
        ("ma k D3 O1\r\n", "HD O1\r\n", 1),
        ("cas k 0 0 1 9\r\nx\r\n", "STORED\r\n", 1),
        ("cas k 0 0 1 8\r\nx\r\n", "STORED\r\n", 0),
        ("ms k 1 C8 O1\r\nx\r\n", "HD O1\r\n", 0),
        ("delete k\r\n", "SERVER_ERROR x\r\n", 1),
    ] {
        scene.check((command, &[(to, "", answer)], answer, &[(to, command)]));
    }
    let scene = Scene::new("type = \"blackhole\"\nchild = \"p0\"\nwhen = []", 1);
    scene.check(("get k\r\n", &[], MISS, &[]));
    let scene = Scene::new(
        "type = \"blackhole\"\nchild = \"p0\"\nwhen = [{ field = \"value\", differs = [0] }]",
        1,
    );
    let set = "set k 7 5 1\r\nx\r\n";
    scene.check((set, &[(0, "", "STORED\r\n")], "STORED\r\n", &[(0, set)]));
}

/// SpookyHash V2 of "127.0.0.1" decides, and the offset.
#[test]
fn a_client_s_address_has_one_child() {
    for offset in 0..3 {
        let scene = Scene::new(
            &format!("type = \"client\"\nchildren = [\"p0\", \"p1\", \"p2\"]\noffset = {offset}"),
            3,
        );
        let hash = ringroad::hash::spooky64(b"127.0.0.1", 0);
        let own = (hash.wrapping_add(offset) % 3) as usize;
        for key in ["a", "b", "c", "d"] {
            let get = format!("get {key}\r\n");
            scene.check((&get, &[(own, "get", MISS)], MISS, &[(own, &get)]));
        }
        if offset == 0 {
            passes(&scene, own);
        }
    }
}

#[test]
fn an_error_leads_to_another_child() {
    let scene = Scene::new(
        "type = \"balance\"\nchildren = [\"p0\", \"p1\", \"p2\"]\ntries = 2",
        3,
    );
    // Where the key is first, as the table of Ch3 has it.
    let (key, first) = ("key1", 2);
    let get = format!("get {key}\r\n");
    let hit = "VALUE key1 7 1\r\nx\r\nEND\r\n";
    for answer in [hit, MISS] {
        scene.check((&get, &[(first, "", answer)], answer, &[(first, &get)]));
    }
    for failure in ["SERVER_ERROR x\r\n", CLOSES] {
        let since = scene.script(&[(2, "", failure), (0, "", hit), (1, "", hit)]);
        scene.router.client().ask(&get, hit);
        let got: Vec<usize> = (0..3).map(|n| scene.got(n, since[n]).len()).collect();
        assert_eq!((got[2], got[0] + got[1]), (1, 1), "{failure}: {got:?}");
        scene.settle(2);
    }
    let since = scene.script(&[(2, "", CLOSES), (0, "", CLOSES), (1, "", CLOSES)]);
    scene.router.client().ask(&get, LOST);
    let got: usize = (0..3).map(|n| scene.got(n, since[n]).len()).sum();
    assert_eq!(got, 2, "no more than two are tried");
}

/// With a first share of a millionth practically every get goes to the other one while the child is cold.
#[test]
fn a_cold_child_is_spared() {
    let scene = Scene::new(
        "type = \"slow-warm-up\"\nchild = \"p0\"\nfallback = \"p1\"\nmin_requests = 4\nstart = 0.000001\nstep = 0.000001\nenable_threshold = 0.5\ndisable_threshold = 0.6",
        2,
    );
    let get = "get k\r\n";
    for answer in [HIT, MISS, HIT] {
        scene.check((get, &[(0, "get", answer)], answer, &[(0, get)]));
    }
    // Errors and what is stored are neither hits nor misses.
    scene.check((
        get,
        &[(0, "get", "SERVER_ERROR x\r\n")],
        "SERVER_ERROR x\r\n",
        &[(0, get)],
    ));
    let set = "set k 7 5 1\r\nx\r\n";
    scene.check((
        set,
        &[(0, "set", "NOT_STORED\r\n")],
        "NOT_STORED\r\n",
        &[(0, set)],
    ));
    let delete = "delete k\r\n";
    // Two of four: not under the threshold.
    scene.check((
        delete,
        &[(0, "", "NOT_FOUND\r\n")],
        "NOT_FOUND\r\n",
        &[(0, delete)],
    ));
    scene.check((get, &[(0, "get", MISS)], MISS, &[(0, get)]));
    // Two of five.
    scene.check((get, &[(1, "get", HIT)], HIT, &[(1, get)]));
    scene.check((
        delete,
        &[(0, "", "DELETED\r\n")],
        "DELETED\r\n",
        &[(0, delete)],
    ));
    // Three of six; it ends at six tenths.
    scene.check((get, &[(1, "get", MISS)], MISS, &[(1, get)]));
    let touch = "touch k 1\r\n";
    for _ in 0..2 {
        scene.check((
            touch,
            &[(0, "", "TOUCHED\r\n")],
            "TOUCHED\r\n",
            &[(0, touch)],
        ));
    }
    scene.check((get, &[(0, "get", MISS)], MISS, &[(0, get)]));
}
