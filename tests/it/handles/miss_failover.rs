//! MissFailoverRoute: gets and deletions try one child after the other until one has the item; all else is the first
//! one's.

use super::outcomes::{CLOSES, Group, KINDS, LATE_ONE, Op, Outcome, ops};
use super::{DOWN, Scene};

fn check(scene: &Scene, op: &Op, answers: &[Outcome], best: bool) {
    let moves = matches!(op.group, Group::Get | Group::Delete);
    let hit = answers.iter().position(Outcome::is_hit);
    let (asked, want) = match (moves, hit) {
        (false, _) => (1, answers[0].seen),
        (true, Some(hit)) => (hit + 1, answers[hit].seen),
        // The last of the best ones, or simply the last.
        (true, None) if best => {
            let best = answers.iter().rev().min_by_key(|one| one.severity());
            (answers.len(), best.unwrap().seen)
        }
        (true, None) => (answers.len(), answers[answers.len() - 1].seen),
    };
    let asked: Vec<usize> = (0..asked).collect();
    scene.play(op.command, answers, &asked, &[want]);
}

fn route(count: usize, best: &str) -> String {
    let children: Vec<String> = (0..count).map(|n| format!("PoolRoute|p{n}")).collect();
    format!("{{\"type\": \"MissFailoverRoute\", \"children\": {children:?}{best}}}")
}

const BEST: &str = ", \"return_best_on_error\": true";

#[test]
fn until_one_has_the_item() {
    let scene = Scene::of("MissFailoverRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, &op, &answers, false);
        }
    }
}

#[test]
fn the_best_reply_if_none_has_it() {
    for (more, best) in [(BEST, true), (", \"return_best_on_error\": false", false)] {
        let scene = Scene::mcrouter(&route(3, more), &[None; 3]);
        for op in [&KINDS[0], &KINDS[2]] {
            for answers in op.answers(3) {
                if answers.iter().filter(|one| one.says == CLOSES).count() < 2 {
                    check(&scene, op, &answers, best);
                }
            }
        }
        for op in [&KINDS[1], &KINDS[3], &KINDS[4]] {
            for answers in op.answers(1) {
                check(&scene, op, &answers.repeat(3), best);
            }
        }
    }
}

#[test]
fn no_answer_in_time_is_a_failure_like_others() {
    for (more, best) in [("", false), (BEST, true)] {
        let scene = Scene::mcrouter(&route(2, more), &[Some(100), None]);
        for op in KINDS {
            for second in op.outcomes() {
                check(&scene, &op, &[LATE_ONE, second], best);
            }
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_passed_by() {
    let route = r#"{"type": "MissFailoverRoute", "children": ["PoolRoute|down", "PoolRoute|p0"]}"#;
    let scene = Scene::mcrouter(route, &[None]);
    for op in ops() {
        for second in op.outcomes() {
            match op.group {
                Group::Get | Group::Delete => {
                    scene.play(op.command, &[second], &[0], &[second.seen]);
                }
                _ => scene.play(op.command, &[second], &[], DOWN),
            }
        }
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("MissFailoverRoute");
}
