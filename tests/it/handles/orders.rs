//! Failovers in an order that follows from the key or the host.

use super::outcomes::{CLOSES, LOST};
use super::{HIT, MISS, Scene};

const ERROR: &str = "SERVER_ERROR x\r\n";

/// Which of so many children a scene asks, all of which fail, and what the client gets.
fn asked(scene: &Scene, command: &str, answer: &str, want: &str) -> Vec<usize> {
    let answers: Vec<(usize, &str, &str)> =
        (0..scene.servers.len()).map(|n| (n, "", answer)).collect();
    let since = scene.script(&answers);
    scene.router.client().ask(command, want);
    let all = 0..scene.servers.len();
    all.filter(|n| !scene.got(*n, since[*n]).is_empty())
        .collect()
}

/// The first child is a pool of two, whose servers are the other children; a key goes to each server once.
#[test]
fn every_server_of_a_key_is_asked_once() {
    for order in [
        "order = \"draws\"",
        "order = \"rendezvous\"\ntags = [\"a\", \"b\", \"c\"]",
    ] {
        let scene = Scene::new(
            &format!(
                "type = \"keyed-failover\"\nchildren = [{{ type = \"hash\", distribution = \"ch3\", children = [\"p0\", \"p1\", \"p2\"] }}, \"p0\", \"p1\", \"p2\"]\n{order}"
            ),
            3,
        );
        for key in ["a", "b", "c", "d"] {
            for command in [
                format!("get {key}\r\n"),
                format!("set {key} 0 0 1\r\nx\r\n"),
                format!("delete {key}\r\n"),
                format!("incr {key} 1\r\n"),
                format!("touch {key} 1\r\n"),
            ] {
                let since: Vec<usize> = scene.servers.iter().map(|one| one.log().len()).collect();
                assert_eq!(
                    asked(&scene, &command, ERROR, ERROR),
                    [0, 1, 2],
                    "{command}"
                );
                for (n, since) in since.iter().enumerate() {
                    assert_eq!(scene.got(n, *since), [command.as_str()]);
                }
            }
        }
        // A miss leads nowhere, nor does what is no failure.
        for (command, answer) in [("get a\r\n", MISS), ("incr a 1\r\n", "CLIENT_ERROR x\r\n")] {
            assert_eq!(asked(&scene, command, answer, answer).len(), 1);
        }
    }
}

#[test]
fn draws_end_after_so_many_tries() {
    let route = |more: &str| {
        format!("type = \"keyed-failover\"\nchildren = [\"p0\", \"p1\", \"p2\", \"p3\"]\n{more}")
    };
    // `p0` has one server, which counts as the first of the others.
    for (more, want) in [
        ("max_tries = 2", 2),
        ("max_error_tries = 2", 2),
        ("max_error_tries = 1", 1),
        ("max_error_tries = 1\nexcluded_errors = [\"remote\"]", 3),
        ("repeats_normal = true", 4),
        ("get_errors = []", 1),
    ] {
        let scene = Scene::new(&route(more), 4);
        assert_eq!(
            asked(&scene, "get k\r\n", ERROR, ERROR).len(),
            want,
            "{more}"
        );
    }
    let scene = Scene::new(&route("repeats_normal = true"), 4);
    assert_eq!(asked(&scene, "get k\r\n", CLOSES, LOST).len(), 4);
}

/// A host asks its own children, always in the same order.
#[test]
fn a_host_has_children_of_its_own() {
    let scene = Scene::new(
        "type = \"latest\"\nchildren = [\"p0\", \"p1\", \"p2\", \"p3\"]\ncount = 2",
        4,
    );
    let own = asked(&scene, "get k\r\n", ERROR, ERROR);
    assert_eq!(own.len(), 2);
    let first = asked(&scene, "get k\r\n", HIT, HIT);
    assert_eq!(first.len(), 1);
    let second = own.iter().copied().find(|one| *one != first[0]).unwrap();
    for key in ["a", "b", "c", "d"] {
        let get = format!("get {key}\r\n");
        scene.check((
            &get,
            &[(first[0], "", ERROR), (second, "", MISS)],
            MISS,
            &[(first[0], &get), (second, &get)],
        ));
    }
}
