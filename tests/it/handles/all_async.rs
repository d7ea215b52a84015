//! AllAsyncRoute: every child is asked, and the answer is at once as if there were none.

use super::Scene;
use super::outcomes::{KINDS, LATE_ONE, Op, Outcome, ops};

fn check(scene: &Scene, op: &Op, answers: &[Outcome]) {
    let all: Vec<usize> = (0..answers.len()).collect();
    scene.play(op.command, answers, &all, &[op.default]);
}

/// Also with a single child nobody waits for it.
#[test]
fn what_is_answered_does_not_matter() {
    for count in [1, 2] {
        let scene = Scene::of("AllAsyncRoute", count);
        for op in ops() {
            for answers in op.answers(1) {
                check(&scene, &op, &answers.repeat(count));
            }
        }
    }
}

/// Their timeouts are longer than any test.
#[test]
fn nobody_waits() {
    let scene = Scene::of("AllAsyncRoute", 3);
    for op in KINDS {
        check(&scene, &op, &[LATE_ONE; 3]);
    }
}

#[test]
fn no_child_is_a_null_route() {
    let scene = Scene::mcrouter(r#"{"type": "AllAsyncRoute", "children": ""}"#, &[None]);
    for op in ops() {
        scene.play(op.command, &[], &[], &[op.default]);
    }
}

/// What is meant for nobody's eyes, and what a client has asked to see of a key.
#[test]
fn quiet_and_meta_requests() {
    let scene = Scene::of("AllAsyncRoute", 2);
    scene.script(&[(0, "", "EN\r\n"), (1, "", "EN\r\n")]);
    let mut client = scene.router.client();
    client.ask(
        "mg k k v\r\nms k 1 k\r\nx\r\nmd k k\r\n",
        "EN kk\r\nNS kk\r\nNF kk\r\n",
    );
    client.ask("mg k q v\r\nmd k q\r\nmn\r\n", "NF\r\nMN\r\n");
}
