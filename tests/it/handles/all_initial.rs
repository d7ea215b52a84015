//! AllInitialRoute: every child is asked, and the answer is that of the first one.

use super::outcomes::{KINDS, LATE_ONE, Op, Outcome, ops};
use super::{DOWN, Scene};

fn check(scene: &Scene, op: &Op, answers: &[Outcome]) {
    let all: Vec<usize> = (0..answers.len()).collect();
    scene.play(op.command, answers, &all, &[answers[0].seen]);
}

#[test]
fn the_first_child_s_reply_is_the_answer() {
    let scene = Scene::of("AllInitialRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, &op, &answers);
        }
    }
}

/// Their timeouts are longer than any test.
#[test]
fn nobody_waits_for_the_others() {
    let scene = Scene::of("AllInitialRoute", 3);
    for op in KINDS {
        for first in op.outcomes() {
            check(&scene, &op, &[first, LATE_ONE, LATE_ONE]);
        }
    }
}

#[test]
fn everybody_waits_for_the_first() {
    let scene = Scene::mcrouter(&Scene::list("AllInitialRoute", 2), &[Some(100), None]);
    for op in KINDS {
        for second in op.own() {
            check(&scene, &op, &[LATE_ONE, *second]);
        }
    }
    let route = r#"{"type": "AllInitialRoute", "children": ["PoolRoute|down", "PoolRoute|p0"]}"#;
    let scene = Scene::mcrouter(route, &[None]);
    for op in KINDS {
        for second in op.outcomes() {
            scene.play(op.command, &[second], &[0], DOWN);
        }
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("AllInitialRoute");
}
