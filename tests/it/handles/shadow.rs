//! ShadowRoute, and `shadows` of a PoolRoute: what is copied, and that nobody sees or waits for it.

use super::Scene;
use super::outcomes::{KINDS, LATE_ONE, ops};

fn pool(shadow: &str) -> String {
    format!(
        r#"{{"type": "PoolRoute", "pool": "p0", "shadows": [{{"target": "PoolRoute|p1"{shadow}}}]}}"#
    )
}

const ALL: &str = r#", "index_range": [0, 1], "key_fraction_range": [0.0, 1.0]"#;

#[test]
fn the_reply_is_that_of_the_pool() {
    let list = format!(
        r#"{{"type": "ShadowRoute", "children": ["PoolRoute|p0"], "shadows": [{{"target": "PoolRoute|p1"{ALL}}}]}}"#
    );
    for route in [pool(ALL), list] {
        let scene = Scene::mcrouter(&route, &[None; 2]);
        for op in ops() {
            for answers in op.answers(2) {
                scene.play(op.command, &answers, &[0, 1], &[answers[0].seen]);
            }
        }
    }
}

/// The copy's timeout is longer than any test.
#[test]
fn nobody_waits_for_a_copy() {
    let scene = Scene::mcrouter(&pool(ALL), &[None; 2]);
    for op in KINDS {
        for answer in op.outcomes() {
            scene.play(op.command, &[answer, LATE_ONE], &[0, 1], &[answer.seen]);
        }
    }
    let down = pool(ALL).replace("PoolRoute|p1", "PoolRoute|down");
    super::all_passes(&down);
}

#[test]
fn what_is_copied() {
    let share = f64::from(ringroad::hash::spooky32(b"k", 0)) / f64::from(u32::MAX);
    let range = |from: f64, to: f64| {
        format!(r#", "index_range": [0, 1], "key_fraction_range": [{from}, {to}]"#)
    };
    for (shadow, copied) in [
        // By default no server, and no key.
        (String::new(), false),
        (r#", "key_fraction_range": [0.0, 1.0]"#.to_owned(), false),
        (r#", "index_range": [0, 1]"#.to_owned(), false),
        (range(0.0, 1.0).replace("[0, 1]", "[1, 2]"), false),
        (range(0.0, share + 0.001), true),
        (range(0.0, share - 0.001), false),
        (range(share - 0.001, 1.0), true),
        (range(share + 0.001, 1.0), false),
        (format!("{ALL}, \"requests_fraction\": 1.0"), true),
        (format!("{ALL}, \"requests_fraction\": 0.0"), false),
        // It is to be written with a point; one that is not right is as if it were not there.
        (format!("{ALL}, \"requests_fraction\": 1"), false),
        (ALL.replace("1.0", "2.0"), false),
        (r#", "keys_to_shadow": ["j", "k"]"#.to_owned(), true),
        (r#", "keys_to_shadow": ["j", "k|#|"]"#.to_owned(), false),
    ] {
        let scene = Scene::mcrouter(&pool(&shadow), &[None; 2]);
        let asked = if copied { &[0, 1][..] } else { &[0] };
        for op in KINDS {
            let [good, bad] = [op.own()[0], op.own()[1]];
            scene.play(op.command, &[good, bad], asked, &[good.seen]);
        }
    }
}
