//! DistributionRoute and CarbonLookasideRoute, as they are without the services that they are made for: nothing that the
//! servers or the clients see.

#[test]
fn everything_passes() {
    for route in [
        r#"{"type": "DistributionRoute", "child": "PoolRoute|p0", "distributed_delete_rpc_enabled": false}"#,
        r#"{"type": "CarbonLookasideRoute", "child": "PoolRoute|p0", "ttl": 10, "prefix": "x"}"#,
        r#"{"type": "PoolRoute", "pool": "p0", "distribution_enabled": true}"#,
    ] {
        super::all_passes(route);
    }
}
