//! KeyParseRoute: nothing that the servers or the clients see.

#[test]
fn everything_passes() {
    for parts in [1, 3] {
        super::all_passes(&format!(
            r#"{{"type": "KeyParseRoute", "target": "PoolRoute|p0", "num_routing_parts": {parts}, "delimiter": ":"}}"#
        ));
    }
}
