//! AllMajorityRoute: every child is asked, and the answer is what most of them say; of what is as frequent, the worst.

use super::Scene;
use super::outcomes::{CLOSES, KINDS, LATE_ONE, Op, Outcome, ops};

/// Only the result counts: two that broke differently are of one mind, and either's words may be the answer.
fn check(scene: &Scene, op: &Op, answers: &[Outcome]) {
    let count = |one: &Outcome| answers.iter().filter(|it| it.result == one.result).count();
    let most = answers.iter().map(count).max();
    let chosen: Vec<&Outcome> = answers
        .iter()
        .filter(|it| Some(count(it)) == most)
        .collect();
    let worst = chosen.iter().map(|it| it.severity()).max();
    let chosen = chosen.iter().filter(|it| Some(it.severity()) == worst);
    let want: Vec<&str> = chosen.map(|it| it.seen).collect();
    let all: Vec<usize> = (0..answers.len()).collect();
    scene.play(op.command, answers, &all, &want);
}

#[test]
fn most_of_three() {
    let scene = Scene::of("AllMajorityRoute", 3);
    for op in KINDS {
        for answers in op.answers(3) {
            // Once is enough for what takes time.
            if answers.iter().filter(|one| one.says == CLOSES).count() < 2 {
                check(&scene, &op, &answers);
            }
        }
    }
}

#[test]
fn most_of_two_is_both() {
    let scene = Scene::of("AllMajorityRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, &op, &answers);
        }
    }
}

/// The third one's timeout is longer than any test; it counts where the others are not of one mind.
#[test]
fn nobody_waits_for_those_that_change_nothing() {
    let scene = Scene::of("AllMajorityRoute", 3);
    for op in KINDS {
        for one in op.outcomes() {
            check(&scene, &op, &[one, LATE_ONE, one]);
        }
    }
    let scene = Scene::mcrouter(
        &Scene::list("AllMajorityRoute", 3),
        &[None, None, Some(100)],
    );
    for op in KINDS {
        let [good, bad] = [op.own()[0], op.own()[1]];
        check(&scene, &op, &[good, bad, LATE_ONE]);
        check(&scene, &op, &[bad, op.outcomes()[2], LATE_ONE]);
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("AllMajorityRoute");
}
