//! PrefixSelectorRoute: a child by the longest prefix of the key.

use super::place::Place;

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
