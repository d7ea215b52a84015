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

/// A lease that the old cache gave shortly before the key changed over is of no use to the new one; the old one is told
/// that it is over, and for that is asked for a lease once, on this connection.
#[test]
fn a_lease_of_the_old_cache_ends_when_the_new_one_refuses_it() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    // Every key changes over in the second after the first interval.
    for (start, invalidates) in [(now - 2, true), (now - 60, false)] {
        let route = format!(
            r#"{{"type": "MigrateRoute", "from": "PoolRoute|p0", "to": "PoolRoute|p1", "start_time": {start}, "interval": 1}}"#
        );
        let scene = Scene::mcrouter(&route, &[None; 2]);
        let (get, lease) = ("lease-get k\r\n", "LVALUE k 4711 0 0\r\n\r\nEND\r\n");
        scene.check((get, &[(1, "", lease)], lease, &[(1, get)]));
        let set = "lease-set k 4711 7 5 1\r\nx\r\n";
        scene.check((set, &[(1, "", "STORED\r\n")], "STORED\r\n", &[(1, set)]));
        let answers = [
            (1, "lease-set", "NOT_STORED\r\n"),
            (0, "lease-get", "END\r\n"),
            (0, "lease-set", "NOT_STORED\r\n"),
        ];
        let asked = [
            (1, set),
            (0, "lease-get ringroad:leases\r\n"),
            (0, "lease-set k 4711 7 -1 1\r\nx\r\n"),
        ];
        let asked = if invalidates { &asked[..] } else { &asked[..1] };
        scene.check((set, &answers, "NOT_STORED\r\n", asked));
    }
}
