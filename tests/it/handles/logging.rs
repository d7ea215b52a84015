//! LoggingRoute: nothing that the servers or the clients see.

#[test]
fn everything_passes() {
    super::all_passes(r#"{"type": "LoggingRoute", "target": "PoolRoute|p0"}"#);
    super::all_passes(r#""LoggingRoute|PoolRoute|p0""#);
}
