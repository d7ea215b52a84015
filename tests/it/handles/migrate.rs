//! MigrateRoute: which of the two caches is asked, by key and time.

use std::time::SystemTime;

use super::{HIT, Scene};

fn scene(start: u64, interval: &str) -> Scene {
    let route = format!(
        "type = \"migrate\"\nfrom = \"p0\"\nto = \"p1\"\nstart_time = {start}\ninterval = \"{interval}\""
    );
    Scene::new(&route, 2)
}

const COMMANDS: &[(&str, &str)] = &[
    ("get k\r\n", HIT),
    ("set k 7 5 1\r\nx\r\n", "STORED\r\n"),
    ("incr k 1\r\n", "5\r\n"),
    ("touch k 1\r\n", "TOUCHED\r\n"),
    ("get k\r\n", "SERVER_ERROR x\r\n"),
    ("mg k v O1\r\n", "VA 1 O1\r\nx\r\n"),
];

fn all_go_to(scene: &Scene, to: usize) {
    for (command, answer) in COMMANDS {
        scene.check((command, &[(to, "", answer)], answer, &[(to, command)]));
    }
}

#[test]
fn before_it_begins_nothing_goes_to_the_new_cache() {
    let scene = scene(1 << 40, "1h");
    all_go_to(&scene, 0);
    let delete = "delete k\r\n";
    scene.check((
        delete,
        &[(0, "", "DELETED\r\n")],
        "DELETED\r\n",
        &[(0, delete)],
    ));
}

#[test]
fn when_it_is_over_everything_does() {
    let scene = scene(0, "1s");
    all_go_to(&scene, 1);
    let delete = "delete k\r\n";
    scene.check((
        delete,
        &[(1, "", "DELETED\r\n")],
        "DELETED\r\n",
        &[(1, delete)],
    ));
}

/// In the first interval no key has changed yet, and deletions reach both.
#[test]
fn in_between_deletions_reach_both() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let scene = scene(now.unwrap().as_secs() - 1000, "365d");
    all_go_to(&scene, 0);
    for delete in ["delete k\r\n", "md k O1\r\n"] {
        let (there, gone) = match delete {
            "delete k\r\n" => ("DELETED\r\n", "NOT_FOUND\r\n"),
            _ => ("HD O1\r\n", "NF O1\r\n"),
        };
        for (first, second, want) in [
            (there, there, there),
            (there, gone, gone),
            (gone, there, gone),
            (there, "SERVER_ERROR x\r\n", "SERVER_ERROR x\r\n"),
        ] {
            let answers = [(0, "", first), (1, "", second)];
            scene.check((delete, &answers, want, &[(0, delete), (1, delete)]));
        }
    }
}
