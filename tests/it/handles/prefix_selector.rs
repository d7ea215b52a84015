//! PrefixSelectorRoute: a child by the longest prefix of the key.

use super::place::Place;
use super::{MISS, Scene};

#[test]
fn keys_of_no_prefix_find_no_route() {
    let place = Place::mcrouter(
        "{\"type\": \"PrefixSelectorRoute\", \"policies\": {\"a\": \"PoolRoute|A\"}}",
    );
    let mut c = place.client();
    c.ask("touch a1 5\r\n", "TOUCHED\r\n");
    for ask in ["get b\r\n", "delete b\r\n", "touch b 5\r\n", "mg b v\r\n"] {
        c.ask(ask, "SERVER_ERROR RootRoute: No rh found\r\n");
    }
    assert_eq!(place.counts(), [1, 0, 0]);
}

#[test]
fn the_longest_prefix_of_the_routing_key() {
    let route = r#"{"type": "PrefixSelectorRoute", "policies": {"a": "PoolRoute|p1", "ab": "PoolRoute|p2"}, "wildcard": "PoolRoute|p0"}"#;
    let scene = Scene::mcrouter(route, &[None; 3]);
    for (key, sent, to) in [
        ("k", "k", 0),
        ("a", "a", 1),
        ("ac", "ac", 1),
        ("ab", "ab", 2),
        ("abc|#|d", "abc|#|d", 2),
        ("/././abc", "abc", 2),
        // Not in the routing key.
        ("a|#|b", "a|#|b", 1),
        ("|#|a", "|#|a", 0),
    ] {
        for line in [
            "touch # 9\r\n",
            "delete #\r\n",
            "set # 7 5 1\r\nx\r\n",
            "incr # 1\r\n",
        ] {
            let [asks, sent] = [key, sent].map(|key| line.replace('#', key));
            let answer = "NOT_FOUND\r\n";
            let answer = if line.starts_with("set") {
                "STORED\r\n"
            } else {
                answer
            };
            scene.check((&asks, &[(to, "", answer)], answer, &[(to, &sent)]));
        }
        let [asks, sent] = [key, sent].map(|key| format!("get {key}\r\n"));
        scene.check((&asks, &[(to, "", MISS)], MISS, &[(to, &sent)]));
    }
    super::all_passes(
        r#"{"type": "PrefixSelectorRoute", "policies": {"a": "NullRoute"}, "wildcard": "PoolRoute|p0"}"#,
    );
}
