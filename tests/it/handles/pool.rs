//! PoolRoute: its timeout, the routing prefix, and that all else passes.

use super::outcomes::{HANGS, KINDS, LATE, LATE_ONE};
use super::{DOWN, HIT, Scene};

#[test]
fn everything_passes() {
    super::all_passes(r#""PoolRoute|p0""#);
    super::all_passes(r#"{"type": "PoolRoute", "pool": "p0", "asynclog": false}"#);
    super::all_passes(r#"{"type": "PoolRoute", "pool": {"name": "q", "inherit": "p0"}}"#);
}

#[test]
fn no_answer_in_time_and_no_server() {
    let scene = Scene::mcrouter(r#""PoolRoute|p0""#, &[Some(100)]);
    for op in KINDS {
        scene.play(op.command, &[LATE_ONE], &[0], &[LATE]);
    }
    let scene = Scene::mcrouter(r#""PoolRoute|down""#, &[None]);
    for op in KINDS {
        scene.play(op.command, &[], &[], DOWN);
    }
    // The pool's own timeout goes before that of what it inherits.
    let route =
        r#"{"type": "PoolRoute", "pool": {"name": "q", "inherit": "p0", "server_timeout": 100}}"#;
    let scene = Scene::mcrouter(route, &[None]);
    scene.check(("get k\r\n", &[(0, "", HANGS)], LATE, &[(0, "get k\r\n")]));
}

#[test]
fn a_routing_prefix_is_kept_where_that_is_asked_for() {
    for (more, kept) in [
        ("", ""),
        (r#", "keep_routing_prefix": false"#, ""),
        (r#", "keep_routing_prefix": true"#, "/././"),
    ] {
        let route =
            format!(r#"{{"type": "PoolRoute", "pool": {{"name": "q", "inherit": "p0"{more}}}}}"#);
        let scene = Scene::mcrouter(&route, &[None]);
        for (line, answer, seen) in [
            (
                "get #k\r\n",
                "VALUE #k 7 1\r\nx\r\nEND\r\n",
                "VALUE /././k 7 1\r\nx\r\nEND\r\n",
            ),
            ("gat 5 #k\r\n", "END\r\n", "END\r\n"),
            ("set #k 7 5 1\r\nx\r\n", "STORED\r\n", "STORED\r\n"),
            ("delete #k\r\n", "SERVER_ERROR x\r\n", "SERVER_ERROR x\r\n"),
            ("incr #k 1\r\n", "5\r\n", "5\r\n"),
            ("touch #k 9\r\n", "TOUCHED\r\n", "TOUCHED\r\n"),
        ] {
            let sent = line.replace('#', kept);
            let answer = answer.replace('#', kept);
            let asks = line.replace('#', "/././");
            scene.check((&asks, &[(0, "", &answer)], seen, &[(0, &sent)]));
        }
        // Without one there is nothing to keep.
        scene.check(("get k\r\n", &[(0, "", HIT)], HIT, &[(0, "get k\r\n")]));
    }
}
