use super::super::{Config, parse};
use super::*;

/// A file with the pools a, b, c and this route.
fn with_route(route: &str) -> Result<(Config, Vec<super::super::Warning>), String> {
    let pools: String = ["a", "b", "c"]
        .iter()
        .map(|p| format!("[pools.{p}]\nservers = [\"{p}:1\"]\n"))
        .collect();
    parse("f", &format!("route = {route}\n{pools}")).map_err(|errors| errors.to_string())
}

fn pool(index: usize) -> Box<Route> {
    Box::new(Route::Pool(index))
}

#[test]
fn a_name_is_a_pool_and_the_others_are_warned_of() {
    let (config, warnings) = with_route("\"b\"").unwrap();
    assert_eq!(config.route, Route::Pool(1));
    let unused: Vec<&str> = warnings.iter().map(|w| w.message()).collect();
    assert_eq!(
        unused,
        [
            "no route leads to the pool \"a\"",
            "no route leads to the pool \"c\""
        ]
    );
}

#[test]
fn routes_nest() {
    let text = "{ type = \"prefix\", default = \"a\", prefixes = { \"u:\" = { type = \"failover\", children = [\"b\", \"c\"], on = [\"timeout\", \"miss\"] }, \"a:\" = { type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"1h\" } } }";
    let (config, warnings) = with_route(text).unwrap();
    assert_eq!(warnings, []);
    let on = vec![FailoverOn::Timeout, FailoverOn::Miss];
    let failover = Route::Failover {
        children: vec![Route::Pool(1), Route::Pool(2)],
        on,
    };
    let warm_up = Route::WarmUp {
        cold: pool(0),
        warm: pool(1),
        exptime: Some(3600),
    };
    let prefixes = vec![(b"u:".to_vec(), failover), (b"a:".to_vec(), warm_up)];
    assert_eq!(
        config.route,
        Route::Prefix {
            prefixes,
            default: pool(0)
        },
        "prefixes keep the file's order"
    );
}

#[test]
fn the_default_reasons_leave_misses_alone() {
    let (config, _) =
        with_route("{ type = \"failover\", children = [\"a\", \"b\", \"c\"] }").unwrap();
    let Route::Failover { on, .. } = config.route else {
        panic!("{:?}", config.route)
    };
    assert!(!on.contains(&FailoverOn::Miss) && on.len() == FailoverOn::ALL.len() - 1);
}

#[test]
fn mistakes_are_named() {
    for (route, parts) in [
        (
            "\"aa\"",
            &["there is no pool \"aa\"", "did you mean \"a\"", "a, b, c"][..],
        ),
        ("{ type = \"failover\", children = [] }", &["empty list"]),
        (
            "{ type = \"failover\", children = \"a\" }",
            &["must be a list of routes, not a text"],
        ),
        (
            "{ type = \"failover\", children = [\"a\", \"x\"], on = [\"conect\"] }",
            &["no pool \"x\"", "did you mean \"connect\""],
        ),
        (
            "{ type = \"failover\", children = [\"a\", \"b\"], on = [] }",
            &["nothing would ever fail over"],
        ),
        (
            "{ type = \"fallover\", children = [\"a\"] }",
            &["did you mean \"failover\"", "prefix, failover, warm-up"],
        ),
        ("{ children = [\"a\"] }", &["`type` is missing"]),
        (
            "{ type = \"prefix\", default = \"a\" }",
            &["`prefixes` is missing"],
        ),
        (
            "{ type = \"prefix\", prefixes = { \"a\" = \"a\" } }",
            &["`default` is missing"],
        ),
        (
            "{ type = \"prefix\", default = \"a\", prefixes = { \"\" = \"a\", \"a b\" = \"x\" } }",
            &["an empty prefix", "no key can have", "no pool \"x\""],
        ),
        (
            "{ type = \"warm-up\", cold = \"a\", warm = \"a\", exptime = 1 }",
            &["are the same"],
        ),
        (
            "{ type = \"warm-up\", cold = \"a\", warm = \"b\" }",
            &["`exptime` is missing"],
        ),
        (
            "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"31d\" }",
            &["from 0s to 720h"],
        ),
        (
            "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = \"1500ms\" }",
            &["whole seconds"],
        ),
        (
            "{ type = \"warm-up\", cold = \"a\", warm = \"b\", exptime = 0, childern = 1 }",
            &["unknown key `childern`"],
        ),
        ("[\"a\", \"b\"]", &["type = \"failover\""]),
        ("3", &["the name of a pool or a table"]),
    ] {
        let errors = with_route(route).unwrap_err();
        for part in parts {
            assert!(errors.contains(part), "{route}: {part}\n{errors}");
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nest = |n: usize| {
        let open = "{ type = \"failover\", children = [\"a\", ".repeat(n);
        format!("{open}\"b\"{}", "] }".repeat(n))
    };
    assert!(with_route(&nest(MAX_DEPTH - 1)).is_ok());
    assert!(
        with_route(&nest(MAX_DEPTH))
            .unwrap_err()
            .contains("20 deep")
    );
}

#[test]
fn values_in_parts() {
    let (config, warnings) = with_route("{ type = \"big-value\", child = { type = \"failover\", children = [\"a\", \"b\", \"c\"] } }").unwrap();
    assert_eq!(warnings, []);
    let Route::BigValue {
        split_threshold,
        batch_size,
        hide_reply_flag,
        ..
    } = config.route
    else {
        panic!("{:?}", config.route)
    };
    assert_eq!(
        (split_threshold, batch_size, hide_reply_flag),
        (1_024_000, 10, false)
    );
    let all = "split_threshold = \"256KiB\", batch_size = 3, hide_reply_flag = true";
    let (config, _) =
        with_route(&format!("{{ type = \"big-value\", child = \"a\", {all} }}")).unwrap();
    let route = Route::BigValue {
        child: pool(0),
        split_threshold: 256 << 10,
        batch_size: 3,
        hide_reply_flag: true,
    };
    assert_eq!(config.route, route);
    for (keys, part) in [
        ("", "`child` is missing"),
        (
            "child = \"a\", split_treshold = 2000",
            "did you mean `split_threshold`",
        ),
        ("child = \"a\", split_threshold = 1000", "1KiB"),
        ("child = \"a\", batch_size = 1001", "0 to 1000"),
    ] {
        let error = with_route(&format!("{{ type = \"big-value\", {keys} }}")).unwrap_err();
        assert!(error.contains(part), "{part}\n{error}");
    }
    let idle = "{ type = \"big-value\", child = \"a\", split_threshold = \"1MiB\" }";
    let (_, warnings) = with_route(idle).unwrap();
    let messages: Vec<&str> = warnings.iter().map(|w| w.message()).collect();
    assert!(
        messages.contains(&"no value is larger than `split_threshold`"),
        "{messages:?}"
    );
}
