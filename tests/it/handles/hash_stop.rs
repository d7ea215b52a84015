//! HashStopAllowListRoute: which keys may have a hash stop.

use super::place::Place;

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
fn what_has_no_hash_stop_passes() {
    super::all_passes(
        r#"{"type": "HashStopAllowListRoute", "target": "PoolRoute|p0", "prefixes": []}"#,
    );
}
