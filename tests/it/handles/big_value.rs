//! BigValueRoute, as servers see it: parts and what names them, and what becomes of errors.

use super::outcomes::{HANGS, ops};
use super::{MISS, Scene};
use crate::support::eventually;

/// One part at a time, as several gets of one server may be sent as one.
fn scene(more: &str) -> Scene {
    Scene::mcrouter(
        &format!(
            r#"{{"type": "BigValueRoute", "target": "PoolRoute|p0", "split_threshold": 1024, "batch_size": 1{more}}}"#
        ),
        &[None],
    )
}

/// A value of a byte more than a part, and the number that its parts share.
fn value() -> (String, u32) {
    let value = "v".repeat(1025);
    let hash = ringroad::hash::spooky32(value.as_bytes(), 0);
    (value, hash)
}

fn play(
    scene: &Scene,
    command: &str,
    answers: super::Answers<'_>,
    want: &str,
    mut asked: Vec<String>,
) {
    let since = scene.script(answers)[0];
    let mut client = scene.router.client();
    client.send(format!("{command}mn\r\n"));
    let answer = client.read_until(b"MN\r\n");
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer, format!("{want}MN\r\n"), "{:?}", scene.got(0, since));
    eventually("all has been asked", || {
        scene.got(0, since).len() >= asked.len()
    });
    let mut got = scene.got(0, since);
    got.sort();
    asked.sort();
    assert_eq!(got, asked, "{command}");
}

#[test]
fn a_value_is_stored_in_parts_and_then_named() {
    let scene = scene("");
    let (value, hash) = value();
    let (first, second) = (format!("set k:0:{hash}"), format!("set k:1:{hash}"));
    let parts = [
        format!("{first} 7 5 1024\r\n{}\r\n", &value[..1024]),
        format!("{second} 7 5 1\r\nv\r\n"),
    ];
    let name = format!("1-2-{hash}");
    for verb in ["set", "add", "replace", "cas"] {
        let cas = if verb == "cas" { " 3" } else { "" };
        let command = format!("{verb} k 7 5 1025{cas}\r\n{value}\r\n");
        let named = format!("{verb} k 32775 5 {}{cas}\r\n{name}\r\n", name.len());
        let beginning = format!("{verb} k 32775");
        for answer in ["STORED\r\n", "NOT_STORED\r\n", "SERVER_ERROR x\r\n"] {
            let all = [(0, "set k:", "STORED\r\n"), (0, &*beginning, answer)];
            let asked = [&parts[..], std::slice::from_ref(&named)].concat();
            play(&scene, &command, &all, answer, asked);
        }
        // Without its parts it is not named.
        for (one, other, want) in [
            ("STORED\r\n", "NOT_STORED\r\n", "NOT_STORED\r\n"),
            ("STORED\r\n", "SERVER_ERROR x\r\n", "SERVER_ERROR x\r\n"),
        ] {
            let all = [(0, &*first, one), (0, &*second, other)];
            play(&scene, &command, &all, want, parts.to_vec());
        }
    }
}

#[test]
fn a_name_leads_to_the_parts() {
    let (value, hash) = value();
    let name = format!("1-2-{hash}");
    let named = format!("VALUE k 32775 {}\r\n{name}\r\nEND\r\n", name.len());
    let keys = [format!("k:0:{hash}"), format!("k:1:{hash}")];
    let gets = keys.clone().map(|key| format!("get {key}"));
    let found = [
        format!("VALUE {} 7 1024\r\n{}\r\nEND\r\n", keys[0], &value[..1024]),
        format!("VALUE {} 7 1\r\nv\r\nEND\r\n", keys[1]),
    ];
    let asked = vec![
        "get k\r\n".to_owned(),
        format!("{}\r\n", gets[0]),
        format!("{}\r\n", gets[1]),
    ];
    for (more, flags) in [("", 32775), (", \"hide_reply_flag\": true", 7)] {
        let scene = scene(more);
        let whole = format!("VALUE k {flags} 1025\r\n{value}\r\nEND\r\n");
        for (second, want) in [
            (&*found[1], &*whole),
            (MISS, MISS),
            ("SERVER_ERROR x\r\n", "SERVER_ERROR x\r\n"),
        ] {
            let all = [
                (0, "get k", &*named),
                (0, &*gets[0], &*found[0]),
                (0, &*gets[1], second),
            ];
            play(&scene, "get k\r\n", &all, want, asked.clone());
        }
        // Of another version, or no name at all.
        for name in ["2-2-1", "1-2", "x"] {
            let named = format!("VALUE k 32775 {}\r\n{name}\r\nEND\r\n", name.len());
            play(
                &scene,
                "get k\r\n",
                &[(0, "get k", &named)],
                MISS,
                asked[..1].to_vec(),
            );
        }
        let delete = "delete k\r\n";
        play(
            &scene,
            delete,
            &[(0, "", "DELETED\r\n")],
            "DELETED\r\n",
            vec![delete.to_owned()],
        );
    }
}

#[test]
fn what_is_small_passes() {
    let (scene, (value, _)) = (scene(""), value());
    // A `mg` is asked for the flags, too.
    for op in ops().iter().filter(|op| !op.command.starts_with("mg")) {
        for answer in op.outcomes() {
            scene.play(op.command, &[answer], &[0], &[answer.seen]);
        }
    }
    let set = format!("set k 7 5 1024\r\n{}\r\n", &value[..1024]);
    play(
        &scene,
        &set,
        &[(0, "", "STORED\r\n")],
        "STORED\r\n",
        vec![set.clone()],
    );
}

/// Under a pool that keeps the routing prefix parts have it, too: stored, and asked for.
#[test]
fn parts_keep_the_prefix_of_their_key() {
    let route = r#"{"type": "BigValueRoute", "split_threshold": 1024, "batch_size": 1, "target":
        {"type": "PoolRoute", "pool": {"name": "q0", "inherit": "p0", "keep_routing_prefix": true}}}"#;
    let scene = Scene::mcrouter(route, &[None]);
    let (value, hash) = value();
    let name = format!("1-2-{hash}");
    let asked = vec![
        format!("set /././k:0:{hash} 7 5 1024\r\n{}\r\n", &value[..1024]),
        format!("set /././k:1:{hash} 7 5 1\r\nv\r\n"),
        format!("set /././k 32775 5 {}\r\n{name}\r\n", name.len()),
    ];
    let stored = [(0, "set", "STORED\r\n")];
    let set = format!("set /././k 7 5 1025\r\n{value}\r\n");
    play(&scene, &set, &stored, "STORED\r\n", asked);
    let keys = [format!("/././k:0:{hash}"), format!("/././k:1:{hash}")];
    let gets = keys.clone().map(|key| format!("get {key}"));
    let lines = gets.clone().map(|get| format!("{get}\r\n"));
    let found = [
        format!("VALUE {} 7 1024\r\n{}\r\nEND\r\n", keys[0], &value[..1024]),
        format!("VALUE {} 7 1\r\nv\r\nEND\r\n", keys[1]),
    ];
    let named = format!("VALUE /././k 32775 {}\r\n{name}\r\nEND\r\n", name.len());
    let all = [
        (0, "get /././k", &*named),
        (0, &*gets[0], &*found[0]),
        (0, &*gets[1], &*found[1]),
    ];
    let whole = format!("VALUE /././k 32775 1025\r\n{value}\r\nEND\r\n");
    let asked = [&["get /././k\r\n".to_owned()][..], &lines].concat();
    play(&scene, "get /././k\r\n", &all, &whole, asked);
    let named = format!("VA {} O1 f32775\r\n{name}\r\n", name.len());
    let all = [
        (0, "mg /././k", &*named),
        (0, &*gets[0], &*found[0]),
        (0, &*gets[1], &*found[1]),
    ];
    let asked = [&["mg /././k v O1 f\r\n".to_owned()][..], &lines].concat();
    let whole = format!("VA 1025 O1\r\n{value}\r\n");
    play(&scene, "mg /././k v O1\r\n", &all, &whole, asked);
}

/// With the batch size 0 no part waits for another one.
#[test]
fn all_parts_may_be_on_their_way_at_once() {
    for (batch, on_their_way) in [(0, 30), (7, 7)] {
        let scene = Scene::mcrouter(
            &format!(
                r#"{{"type": "BigValueRoute", "target": "PoolRoute|p0", "split_threshold": 1024, "batch_size": {batch}}}"#
            ),
            &[None],
        );
        let since = scene.script(&[(0, "set", HANGS)])[0];
        let mut client = scene.router.client();
        client.send(format!("set k 7 5 30720\r\n{}\r\n", "v".repeat(30720)));
        eventually("they are on their way", || {
            scene.got(0, since).len() >= on_their_way
        });
        // One that nobody answers is never the reason for the next one.
        client.send("mn\r\n");
        scene.router.client().ask("mn\r\n", "MN\r\n");
        assert_eq!(scene.got(0, since).len(), on_their_way);
    }
}

/// What takes nothing says so of a large value as of a small one.
#[test]
fn a_child_that_stores_nothing() {
    let route = r#"{"type": "BigValueRoute", "target": "NullRoute", "split_threshold": 1024, "batch_size": 10}"#;
    let scene = Scene::mcrouter(route, &[None]);
    let (value, _) = value();
    let mut client = scene.router.client();
    client.ask(format!("set k 7 5 1025\r\n{value}\r\n"), "NOT_STORED\r\n");
    client.ask(format!("ms k 1025 O1 k\r\n{value}\r\n"), "NS O1 kk\r\n");
    client.ask("get k\r\ndelete k\r\n", "END\r\nNOT_FOUND\r\n");
}
