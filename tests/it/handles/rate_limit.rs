//! RateLimitRoute, and `rates` of a PoolRoute: what is over its rate, and what is not.

use super::Scene;
use super::outcomes::{Group, ops};
use super::place::{OF_NOTHING, Place};
use crate::support::eventually;

#[test]
fn what_is_over_its_rate_is_answered_or_goes_elsewhere() {
    // A bucket is empty at first, and a token takes longer than this test.
    const RATES: &str = "{\"gets_rate\": 0.0001, \"sets_rate\": 0.0001, \"deletes_rate\": 0.0001, \"gets_burst\": 1, \"sets_burst\": 1, \"deletes_burst\": 1}";
    let unlimited = ["incr k 1\r\n", "decr k 1\r\n", "touch k 5\r\n", "ma k\r\n"];
    let limit =
        format!("\"type\": \"RateLimitRoute\", \"target\": \"PoolRoute|A\", \"rates\": {RATES}");
    for place in [
        Place::mcrouter(&format!("{{{limit}}}")),
        Place::mcrouter(&format!(
            "{{\"type\": \"PoolRoute\", \"pool\": \"A\", \"rates\": {RATES}}}"
        )),
    ] {
        let mut c = place.client();
        for (ask, want) in OF_NOTHING {
            let passes = unlimited.contains(&ask);
            if !passes {
                c.ask(ask, want);
            }
        }
        assert_eq!(place.counts(), [0; 3]);
        for ask in unlimited {
            c.send(format!("{ask}mn\r\n"));
            c.read_until(b"MN\r\n");
        }
        assert_eq!(place.counts(), [unlimited.len(), 0, 0]);
    }
    let place = Place::mcrouter(&format!("{{{limit}, \"fallback\": \"PoolRoute|B\"}}"));
    let mut c = place.client();
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask("get k l\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    c.ask("delete k\r\n", "DELETED\r\n");
    c.ask("touch k 5\r\n", "TOUCHED\r\n");
    assert_eq!(place.counts()[0], 1);
    assert!(place.lines(1).iter().all(|line| !line.starts_with("touch")));
}

#[test]
fn what_is_within_its_rate_passes() {
    let place = Place::toml("{ type = \"rate-limit\", child = \"a\", sets_rate = 1000000 }");
    let mut c = place.client();
    // It has had time to fill by now, as long as the router takes to say that it is ready.
    eventually("the bucket has something", || {
        c.send("set k 0 0 1\r\nx\r\n");
        c.line() == "STORED"
    });
    c.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
}

/// Rates of a single group leave the others alone.
#[test]
fn a_rate_is_for_its_own_group() {
    for (rate, own) in [
        ("gets", Group::Get),
        ("sets", Group::Update),
        ("deletes", Group::Delete),
    ] {
        let route = format!(
            r#"{{"type": "RateLimitRoute", "target": "PoolRoute|p0", "rates": {{"{rate}_rate": 0.0001, "{rate}_burst": 1}}, "fallback": "PoolRoute|p1"}}"#
        );
        let scene = Scene::mcrouter(&route, &[None; 2]);
        for op in ops() {
            for answer in op.outcomes() {
                let to = usize::from(op.group == own);
                scene.play(op.command, &[answer; 2], &[to], &[answer.seen]);
            }
        }
    }
}
