//! KeySplitRoute: which copies of a key are asked for what, and whose reply is the answer.

use super::outcomes::{Group, ops};
use super::{HIT, MISS, Scene};

fn scene(more: &str) -> Scene {
    Scene::mcrouter(
        &format!(
            r#"{{"type": "KeySplitRoute", "destination": "PoolRoute|p0", "replicas": 2, {more}}}"#
        ),
        &[None],
    )
}

/// The keys of this host's copy and the other one, as far as the hash stop.
fn copies(scene: &Scene) -> [&'static str; 2] {
    let since = scene.script(&[(0, "", "TOUCHED\r\n")]);
    scene.router.client().ask("touch k 9\r\n", "TOUCHED\r\n");
    match scene.got(0, since[0])[0].as_str() {
        "touch k 9\r\n" => ["k", "k::1"],
        _ => ["k::1", "k"],
    }
}

/// A request for a copy.
fn of(command: &str, copy: &str) -> String {
    command
        .replacen(" k", &format!(" {copy}"), 1)
        .replacen(" 5 k", &format!(" 5 {copy}"), 1)
}

#[test]
fn sets_and_deletions_go_to_all_the_rest_to_one() {
    for all_sync in [true, false] {
        let scene = scene(&format!("\"all_sync\": {all_sync}"));
        let copies = copies(&scene);
        for op in ops() {
            let several = match op.command {
                "set k 7 5 1\r\nx\r\n" | "ms k 1 O1\r\nx\r\n" => all_sync,
                _ => op.group == Group::Delete,
            };
            let [good, bad] = [op.own()[0], op.own()[1]];
            for (own, other) in [(good, bad), (bad, good)] {
                let verb = op.command.split(' ').next().unwrap();
                let begins = |copy: &str| match verb {
                    "gat" | "gats" => format!("{verb} 5 {copy}"),
                    _ => format!("{verb} {copy}"),
                };
                let [mine, its] = copies.map(begins);
                // The one that is the beginning of the other needs what follows.
                let says = |text: &str| match copies[0] {
                    "k" => text.to_owned(),
                    copy => text.replace(" k ", &format!(" {copy} ")),
                };
                let said = says(own.says);
                let since = scene.script(&[(0, &mine, &said), (0, &its, other.says)]);
                let since = since[0];
                let mut client = scene.router.client();
                client.send(format!("{}mn\r\n", op.command));
                let got = client.read_until(b"MN\r\n");
                let want = format!("{}MN\r\n", own.seen);
                assert_eq!(String::from_utf8(got).unwrap(), want, "{}", op.command);
                let count = if several { 2 } else { 1 };
                let keys = &copies[..count];
                crate::support::eventually("all copies have been asked", || {
                    scene.got(0, since).len() >= count
                });
                let mut got: Vec<String> = scene.got(0, since);
                let mut want: Vec<String> = keys.iter().map(|copy| of(op.command, copy)).collect();
                got.sort();
                want.sort();
                assert_eq!(got, want);
            }
        }
    }
}

#[test]
fn one_copy_after_the_other() {
    let scene = scene(r#""all_sync": false, "first_hit": true"#);
    let copies = copies(&scene);
    let [own, other] = copies.map(|copy| format!("get {copy}\r\n"));
    let value = |copy: &str| HIT.replace(" k ", &format!(" {copy} "));
    let [mine, its] = copies.map(value);
    let error = "SERVER_ERROR x\r\n";
    for (first, second, want, asked) in [
        (mine.as_str(), MISS, HIT, 1),
        (MISS, its.as_str(), HIT, 2),
        (error, &its, HIT, 2),
        (MISS, MISS, MISS, 2),
        (MISS, error, error, 2),
        (error, MISS, MISS, 2),
    ] {
        let asked = &[(0, own.as_str()), (0, other.as_str())][..asked];
        let answers = [(0, own.trim_end(), first), (0, other.trim_end(), second)];
        scene.check(("get k\r\n", &answers, want, asked));
    }
}

#[test]
fn the_number_is_before_the_hash_stop() {
    let scene = scene(r#""all_sync": true"#);
    let since = scene.script(&[(0, "", "DELETED\r\n")]);
    scene.router.client().ask("delete k|#|x\r\n", "DELETED\r\n");
    crate::support::eventually("both are deleted", || scene.got(0, since[0]).len() == 2);
    let mut got = scene.got(0, since[0]);
    got.sort();
    assert_eq!(got, ["delete k::1|#|x\r\n", "delete k|#|x\r\n"]);
}

/// What a client sends in a row is done in its order, copy by copy: a get never finds what was deleted before it, nor does an
/// update of its client's own copy overtake one.
#[test]
fn a_pipeline_keeps_its_order() {
    let scene = scene(r#""all_sync": true, "first_hit": true"#);
    let [own, other] = copies(&scene);
    let value = |copy: &str| HIT.replace(" k ", &format!(" {copy} "));
    let (hit, set) = (value(own), "set k 7 5 1\r\nx\r\n");
    let get = format!("get {own}");
    let answers = [
        (0, "set", "STORED\r\n"),
        (0, "delete", "DELETED\r\n"),
        (0, get.as_str(), hit.as_str()),
        (0, &get, &hit),
        (0, &get, MISS),
        (0, "get", MISS),
    ];
    let since = scene.script(&answers)[0];
    let mut client = scene.router.client();
    client.send(["get k\r\n", set, "get k\r\ndelete k\r\nget k\r\nmn\r\n"].concat());
    client.expect([HIT, "STORED\r\n", HIT, "DELETED\r\n", MISS, "MN\r\n"].concat());
    let got = scene.got(0, since);
    let order = |copy: &str| -> Vec<String> {
        let mine = got
            .iter()
            .filter(|line| line.split_ascii_whitespace().nth(1) == Some(copy));
        mine.map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        order(own),
        ["get", "set", "get", "delete", "get"],
        "{got:?}"
    );
    assert_eq!(order(other), ["set", "delete", "get"], "{got:?}");
}
