//! NullRoute and DevNullRoute: nothing is stored and nothing found.

use super::Scene;
use super::outcomes::ops;
use super::place::{OF_NOTHING, Place};

#[test]
fn nothing_is_stored_and_nothing_found_by_a_null_route() {
    for place in [
        Place::mcrouter(
            "{\"type\": \"OperationSelectorRoute\", \"default_policy\": \"NullRoute\", \"operation_policies\": {\"flushall\": \"PoolRoute|A\"}}",
        ),
        Place::mcrouter(
            "{\"type\": \"RandomRoute\", \"children\": [\"DevNullRoute\", \"NullRoute\", {\"type\": \"HashRoute\", \"children\": [\"NullRoute\", \"PoolRoute|A\"], \"hash_func\": \"WeightedCh3\", \"weights\": [1, 0]}]}",
        ),
        Place::toml("{ type = \"null\" }"),
    ] {
        let mut c = place.client();
        for (ask, want) in OF_NOTHING {
            c.ask(ask, want);
        }
        // Between answers of servers, in the client's order.
        c.fence();
        assert_eq!(place.counts(), [0; 3]);
    }
}

#[test]
fn both_names_of_it() {
    for route in ["\"NullRoute\"", "\"DevNullRoute\""] {
        let scene = Scene::mcrouter(route, &[None]);
        for op in ops() {
            scene.play(op.command, &[], &[], &[op.default]);
        }
    }
}
