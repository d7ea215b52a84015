//! AllFastestRoute: every child is asked, and the first reply that is no failure is the answer.

use super::outcomes::{HANGS, KINDS, LATE, LATE_ONE, Op, Outcome, ops};
use super::{DOWN, Scene};

/// One of those that are no failures, or if all are, any.
fn check(scene: &Scene, op: &Op, answers: &[Outcome]) {
    let good = |one: &&Outcome| !one.fails();
    let seen = |one: &Outcome| one.seen;
    let mut want: Vec<&str> = answers.iter().filter(good).map(seen).collect();
    if want.is_empty() {
        want = answers.iter().map(seen).collect();
    }
    let all: Vec<usize> = (0..answers.len()).collect();
    scene.play(op.command, answers, &all, &want);
}

#[test]
fn a_failure_waits_for_the_others() {
    let scene = Scene::of("AllFastestRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, &op, &answers);
        }
    }
}

/// The others' timeouts are longer than any test.
#[test]
fn the_first_is_enough() {
    let scene = Scene::of("AllFastestRoute", 3);
    for op in KINDS {
        for first in op.outcomes().into_iter().filter(|one| !one.fails()) {
            check(&scene, &op, &[LATE_ONE, first, LATE_ONE]);
        }
    }
}

#[test]
fn of_failures_the_last_one_is_the_answer() {
    let scene = Scene::mcrouter(&Scene::list("AllFastestRoute", 2), &[None, Some(100)]);
    for op in KINDS {
        for first in op.outcomes() {
            let want = if first.fails() { LATE } else { first.seen };
            scene.play(op.command, &[first, LATE_ONE], &[0, 1], &[want]);
        }
    }
    let route = r#"{"type": "AllFastestRoute", "children": ["PoolRoute|down", "PoolRoute|p0"]}"#;
    let scene = Scene::mcrouter(route, &[None]);
    for op in KINDS {
        for second in op.outcomes().into_iter().filter(|one| one.says != HANGS) {
            let mut want = vec![second.seen];
            if second.fails() {
                want.extend(DOWN);
            }
            scene.play(op.command, &[second], &[0], &want);
        }
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("AllFastestRoute");
}
