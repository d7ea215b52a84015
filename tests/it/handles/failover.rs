//! FailoverRoute in the order of its children and by their failures, FailoverWithExptimeRoute: which errors of which
//! request lead on, to whom, and how often.

use super::outcomes::{BUSY, CLOSES, ERROR, Group, KINDS, LATE_ONE, Op, Outcome, REFUSED, ops};
use super::{DOWN, HIT, MISS, Scene};

fn route(count: usize, more: &str) -> String {
    let children: Vec<String> = (0..count).map(|n| format!("PoolRoute|p{n}")).collect();
    format!("{{\"type\": \"FailoverRoute\", \"children\": {children:?}{more}}}")
}

/// With which errors gets, updates and deletions go on; by the default list where there is none.
#[derive(Clone, Copy, Default)]
struct Lists {
    gets: Option<&'static [&'static str]>,
    updates: Option<&'static [&'static str]>,
    deletes: Option<&'static [&'static str]>,
}

impl Lists {
    fn all(list: &'static [&'static str]) -> Lists {
        let all = Some(list);
        Lists {
            gets: all,
            updates: all,
            deletes: all,
        }
    }

    fn go_on(&self, op: &Op, one: &Outcome) -> bool {
        let list = match op.group {
            Group::Get => self.gets,
            Group::Update => self.updates,
            Group::Delete => self.deletes,
            Group::Arithmetic | Group::None => None,
        };
        list.map_or(one.fails(), |list| list.contains(&one.result))
    }
}

fn check(scene: &Scene, lists: Lists, op: &Op, answers: &[Outcome]) {
    let first = answers.iter().position(|one| !lists.go_on(op, one));
    let last = first.unwrap_or(answers.len() - 1);
    let asked: Vec<usize> = (0..=last).collect();
    scene.play(op.command, answers, &asked, &[answers[last].seen]);
}

#[test]
fn a_failure_leads_on_and_a_miss_does_not() {
    let scene = Scene::of("FailoverRoute", 2);
    for op in ops() {
        for answers in op.answers(2) {
            check(&scene, Lists::default(), &op, &answers);
        }
    }
}

#[test]
fn the_last_reply_is_the_answer_whatever_it_is() {
    let scene = Scene::of("FailoverRoute", 3);
    for op in KINDS {
        for answers in op.answers(3) {
            if answers.iter().filter(|one| one.says == CLOSES).count() < 2 {
                check(&scene, Lists::default(), &op, &answers);
            }
        }
    }
}

#[test]
fn lists_of_errors() {
    let busy: &[&str] = &["busy"];
    for (errors, lists) in [
        ("[]", Lists::all(&[])),
        (r#"["remote_error"]"#, Lists::all(&["remote_error"])),
        (
            r#"["client_error", "busy", "ooo"]"#,
            Lists::all(&["client_error", "busy"]),
        ),
        (r#"["timeout"]"#, Lists::all(&["timeout"])),
        (
            r#"{"gets": ["busy"]}"#,
            Lists {
                gets: Some(busy),
                ..Lists::default()
            },
        ),
        (
            r#"{"updates": [], "deletes": ["client_error"]}"#,
            Lists {
                updates: Some(&[]),
                deletes: Some(&["client_error"]),
                ..Lists::default()
            },
        ),
    ] {
        let route = route(2, &format!(", \"failover_errors\": {errors}"));
        let scene = Scene::mcrouter(&route, &[Some(100), None]);
        for op in ops() {
            let second = op.own()[0];
            for first in op.outcomes() {
                check(&scene, lists, &op, &[first, second]);
            }
        }
        for op in KINDS {
            check(&scene, lists, &op, &[LATE_ONE, op.own()[0]]);
        }
    }
}

#[test]
fn a_server_that_is_not_there() {
    let children = r#""children": ["PoolRoute|down", "PoolRoute|p0"]"#;
    for (more, goes_on) in [
        ("", true),
        (
            r#", "failover_errors": ["connect_error", "connect_timeout", "tko"]"#,
            true,
        ),
        (r#", "failover_errors": ["timeout", "remote_error"]"#, false),
    ] {
        let route = format!("{{\"type\": \"FailoverRoute\", {children}{more}}}");
        let scene = Scene::mcrouter(&route, &[None]);
        for op in ops() {
            let by_default = matches!(op.group, Group::Arithmetic | Group::None);
            for second in op.outcomes() {
                if goes_on || by_default {
                    scene.play(op.command, &[second], &[0], &[second.seen]);
                } else {
                    scene.play(op.command, &[second], &[], DOWN);
                }
            }
        }
    }
}

/// Plays a get that the first child answers so, and the second one with a hit; tells whether that was asked.
fn passes(scene: &Scene, first: &str) -> bool {
    let since = scene.script(&[(0, "", first), (1, "", HIT)]);
    let mut client = scene.router.client();
    client.send("get k\r\nmn\r\n");
    client.read_until(b"MN\r\n");
    !scene.got(1, since[1]).is_empty()
}

/// The bucket is full at first, and gets so much with each request.
#[test]
fn failovers_have_a_limit() {
    let limit = |rate, burst| {
        let limit = format!(", \"failover_limit\": {{\"rate\": {rate}, \"burst\": {burst}}}");
        Scene::mcrouter(&route(2, &limit), &[None; 2])
    };
    let pattern = |scene: &Scene, answers: &str| -> String {
        let all = answers.chars().map(|one| match one {
            'e' => ERROR,
            'b' => BUSY,
            _ => MISS,
        });
        all.map(|first| if passes(scene, first) { 'y' } else { 'n' })
            .collect()
    };
    // What has brought the scene up took other ways.
    assert_eq!(pattern(&limit("0.5", 2), "eeeebeeb"), "yyynynyn");
    assert_eq!(pattern(&limit("0.5", 2), "eeemmmme"), "yyynnnny");
    assert_eq!(pattern(&limit("0.0", 3), "ebemeb"), "yyynnn");
    assert_eq!(pattern(&limit("1.0", 1), "eeeeee"), "yyyyyy");
    // A rate over 1 is 1.
    assert_eq!(pattern(&limit("7.0", 1), "eeeeee"), "yyyyyy");
    // The error is the answer.
    let scene = limit("0.0", 1);
    assert!(passes(&scene, ERROR));
    for op in KINDS {
        for first in op.outcomes().into_iter().filter(Outcome::fails) {
            scene.play(op.command, &[first], &[0], &[first.seen]);
        }
    }
}

/// Servers that are not there take nothing of it.
#[test]
fn what_can_t_be_asked_does_not_count() {
    let route = r#"{"type": "FailoverRoute", "children": ["PoolRoute|down", "PoolRoute|p0", "PoolRoute|p1"],
        "failover_limit": {"rate": 0.0, "burst": 1}}"#;
    let scene = Scene::mcrouter(route, &[None; 2]);
    let get = "get k\r\n";
    for _ in 0..3 {
        scene.check((get, &[(0, "", MISS)], MISS, &[(0, get)]));
    }
    scene.check((
        get,
        &[(0, "", ERROR), (1, "", HIT)],
        HIT,
        &[(0, get), (1, get)],
    ));
    scene.check((get, &[(0, "", ERROR)], ERROR, &[(0, get)]));
}

/// The first child is always first; of the others the one that has failed least often in a row.
#[test]
fn the_order_of_least_failures() {
    let policy = |tries| {
        let policy = format!(
            ", \"failover_policy\": {{\"type\": \"LeastFailuresPolicy\", \"max_tries\": {tries}}}"
        );
        Scene::mcrouter(&route(3, &policy), &[None; 3])
    };
    let scene = policy(2);
    let get = "get k\r\n";
    for (second, answer) in [
        (1, ERROR),
        (2, HIT),
        (2, MISS),
        (2, ERROR),
        // One failure each: as in the list.
        (1, BUSY),
        // An error that leads nowhere counts, too.
        (2, REFUSED),
        // Two each.
        (1, MISS),
        // It has none any more.
        (1, ERROR),
        (1, HIT),
    ] {
        scene.check((
            get,
            &[(0, "", ERROR), (second, "", answer)],
            answer,
            &[(0, get), (second, get)],
        ));
        scene.check((get, &[(0, "", MISS)], MISS, &[(0, get)]));
    }
    // One try is none of the others; more than there are children are all.
    let scene = policy(1);
    scene.check((get, &[(0, "", ERROR)], ERROR, &[(0, get)]));
    let scene = policy(9);
    let all = [(0, "", ERROR), (1, "", ERROR), (2, "", BUSY)];
    scene.check((get, &all, BUSY, &[(0, get), (1, get), (2, get)]));
}

#[test]
fn an_unknown_policy_is_the_order_of_the_list() {
    let more = r#", "failover_policy": {"type": "NoSuchPolicy", "max_tries": 1}"#;
    let scene = Scene::mcrouter(&route(3, more), &[None; 3]);
    for op in KINDS {
        for last in op.outcomes() {
            let failed = op.outcomes()[op.own().len()];
            check(&scene, Lists::default(), &op, &[failed, failed, last]);
        }
    }
}

/// What is stored elsewhere lives a minute, or as long as it is said; deletions are as they are.
#[test]
fn times_to_live_of_what_fails_over() {
    for (more, bound) in [
        ("", 60),
        (", \"failover_exptime\": 5", 5),
        (", \"failover_exptime\": 0", 0),
    ] {
        let route = format!(
            r#"{{"type": "FailoverWithExptimeRoute", "normal": "PoolRoute|p0", "failover": ["PoolRoute|p1"]{more}}}"#
        );
        let scene = Scene::mcrouter(&route, &[None; 2]);
        for before in [0, 3, 30, 1000] {
            let after = match (before, bound) {
                (_, 0) => before,
                (0, bound) => bound,
                (before, bound) => before.min(bound),
            };
            for (line, answer) in [
                ("set k 7 # 1\r\nx\r\n", "STORED\r\n"),
                ("add k 7 # 1\r\nx\r\n", "NOT_STORED\r\n"),
                ("cas k 7 # 1 3\r\nx\r\n", "EXISTS\r\n"),
                ("touch k #\r\n", "TOUCHED\r\n"),
                ("gat # k\r\n", HIT),
                ("get k\r\n", HIT),
                ("delete k\r\n", "DELETED\r\n"),
                ("incr k 1\r\n", "5\r\n"),
            ] {
                let [before, after] = [before, after].map(|n| line.replace('#', &n.to_string()));
                let asked = [(0, before.as_str()), (1, after.as_str())];
                let answers = [(0, "", ERROR), (1, "", answer)];
                scene.check((&before, &answers, answer, &asked));
                let fine = [(0, "", answer)];
                scene.check((&before, &fine, answer, &asked[..1]));
            }
        }
    }
}

#[test]
fn no_child_is_a_null_route_and_one_is_itself() {
    super::no_child_and_one("FailoverRoute");
}
