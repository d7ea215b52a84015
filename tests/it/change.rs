//! Routes that change a request, or let only some pass, in front of scripted servers.
//!
//! Protects: times to live are what ModifyExptimeRoute makes of them, byte for byte; hash stops and rates are held to;
//! what may not pass reaches no server and is answered as mcrouter answers it.

use crate::choose::{OF_NOTHING, Place};
use crate::support::eventually;

#[test]
fn times_to_live_are_set_or_bounded() {
    for (fields, changes) in [
        (
            "\"exptime\": 60",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 60 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 60 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 60 1"),
                ("replace k 1 5 1\r\nx\r\n", "replace k 1 60 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 60 1 9"),
                ("touch k 5\r\n", "touch k 60"),
                ("gat 5 k\r\n", "gat 60 k"),
                ("gats 0 k\r\n", "gats 60 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O* T60"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T60 O*"),
                ("mg k v T5\r\n", "mg k v T60 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
        (
            "\"exptime\": 60, \"action\": \"min\"",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 60 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 60 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 5 1"),
                ("replace k 1 61 1\r\nx\r\n", "replace k 1 60 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 5 1 9"),
                ("touch k 500\r\n", "touch k 60"),
                ("gat 5 k\r\n", "gat 5 k"),
                ("gats 0 k\r\n", "gats 60 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O* T60"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T5 O*"),
                ("mg k v T500\r\n", "mg k v T60 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
        (
            "\"exptime\": 0",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 0 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 0 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 0 1"),
                ("replace k 1 5 1\r\nx\r\n", "replace k 1 0 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 0 1 9"),
                ("touch k 5\r\n", "touch k 0"),
                ("gat 5 k\r\n", "gat 0 k"),
                ("gats 0 k\r\n", "gats 0 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O*"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T0 O*"),
                ("mg k v T5\r\n", "mg k v T0 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
    ] {
        let route =
            format!("{{\"type\": \"ModifyExptimeRoute\", \"target\": \"PoolRoute|A\", {fields}}}");
        let place = Place::mcrouter(&route);
        let mut c = place.client();
        for (ask, _) in changes {
            c.send(format!("{ask}mn\r\n"));
            c.read_until(b"MN\r\n");
        }
        let got: Vec<String> = place
            .lines(0)
            .iter()
            .map(|line| without_opaque(line))
            .collect();
        let want: Vec<&str> = changes.iter().map(|(_, line)| *line).collect();
        assert_eq!(got, want, "{fields}");
    }
}

/// The number that the router gives a meta command is its own business.
fn without_opaque(line: &str) -> String {
    if !line.starts_with('m') {
        return line.to_owned();
    }
    let words = line.split(' ').map(|word| match word.strip_prefix('O') {
        Some(number) if !number.is_empty() => "O*",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_hash_stop_is_for_those_on_the_list() {
    let place = Place::mcrouter(
        "{\"type\": \"HashStopAllowListRoute\", \"target\": \"PoolRoute|A\", \"prefixes\": [\"ok:\"]}",
    );
    let mut c = place.client();
    c.ask("touch ok:1|#|x 5\r\n", "TOUCHED\r\n");
    c.ask("touch plain 5\r\n", "TOUCHED\r\n");
    let refused = "SERVER_ERROR Hash stop not permited\r\n";
    c.ask("touch no:1|#|x 5\r\n", refused);
    c.ask("set no:1|#|x 0 0 1\r\nx\r\n", refused);
    c.ask("delete no:1|#|x\r\n", refused);
    c.ask("get no:1|#|x\r\n", "END\r\n");
    c.ask("get plain no:1|#|x ok:2|#|\r\n", "END\r\n");
    assert_eq!(
        place
            .lines(0)
            .iter()
            .filter(|line| line.contains("no:"))
            .count(),
        0
    );
}

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
