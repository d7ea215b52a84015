//! AllSyncRoute: every child is asked, and the worst reply is the answer.

use super::outcomes::{KINDS, LATE_ONE, Op, Outcome, ops};
use super::{DOWN, Scene};

/// Of equally bad replies whichever arrives first.
fn worst(answers: &[Outcome]) -> Vec<&'static str> {
    let worst = answers.iter().map(Outcome::severity).max();
    let all = answers.iter();
    all.filter(|one| Some(one.severity()) == worst)
        .map(|one| one.seen)
        .collect()
}

fn check(scene: &Scene, op: &Op, answers: &[Outcome]) {
    let all: Vec<usize> = (0..answers.len()).collect();
    scene.play(op.command, answers, &all, &worst(answers));
}

#[test]
fn the_worst_of_two() {
    let scene = Scene::of("AllSyncRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, &op, &answers);
        }
    }
}

#[test]
fn the_worst_of_three() {
    let scene = Scene::of("AllSyncRoute", 3);
    for op in KINDS {
        let [good, bad] = [op.own()[0], op.own()[1]];
        for answers in [
            [good, good, good],
            [good, bad, good],
            [bad, good, op.outcomes()[2]],
        ] {
            check(&scene, &op, &answers);
        }
    }
}

#[test]
fn no_answer_in_time_is_worse_than_a_miss_and_better_than_an_error() {
    let scene = Scene::mcrouter(&Scene::list("AllSyncRoute", 2), &[None, Some(100)]);
    for op in KINDS {
        for first in op.outcomes() {
            check(&scene, &op, &[first, LATE_ONE]);
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_waited_for_too() {
    let route = r#"{"type": "AllSyncRoute", "children": ["PoolRoute|p0", "PoolRoute|down"]}"#;
    let scene = Scene::mcrouter(route, &[None]);
    for op in KINDS {
        for first in op.outcomes() {
            let want = match first.severity() {
                ..5 => DOWN.to_vec(),
                5 => [&[first.seen], DOWN].concat(),
                _ => vec![first.seen],
            };
            scene.play(op.command, &[first], &[0], &want);
        }
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("AllSyncRoute");
}
