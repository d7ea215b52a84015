//! What routes that decide without a reply look like in a file, and which mistakes there are in them.

use super::super::super::{Config, Warning, parse};
use super::*;

fn with_route(route: &str) -> Result<(Config, Vec<Warning>), String> {
    let pools = "[pools.a]\nservers = [\"a:1\"]\n[pools.b]\nservers = [\"b:1\"]\n";
    parse("f", &format!("route = {route}\n{pools}")).map_err(|errors| errors.to_string())
}

fn choose(route: &str) -> Choose {
    match with_route(route).unwrap().0.route {
        Route::Choose(choose) => choose,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let (a, b) = (Route::Pool(0), Route::Pool(1));
    assert_eq!(choose("{ type = \"null\" }"), Choose::Null);
    let error = Choose::Error {
        message: String::new(),
        result: ErrorResult::of("local_error").unwrap(),
        shown: false,
    };
    assert_eq!(choose("{ type = \"error\" }"), error);
    let hash = Choose::Hash {
        children: vec![a.clone(), b.clone()],
        placement: crate::hash::Placement::default(),
        weights: Vec::new(),
        names: Vec::new(),
    };
    assert_eq!(
        choose("{ type = \"hash\", children = [\"a\", \"b\"] }"),
        hash
    );
    let operation = Choose::Operation {
        default: None,
        operations: vec![(Requests::One(crate::protocol::operation::Operation::Get), b)],
    };
    assert_eq!(
        choose("{ type = \"operation\", operations = { get = \"b\" } }"),
        operation
    );
    let exptime = Choose::Exptime {
        child: Box::new(a),
        exptime: 60,
        at_most: false,
    };
    assert_eq!(
        choose("{ type = \"exptime\", child = \"a\", exptime = \"1m\" }"),
        exptime
    );
}

#[test]
fn mistakes_are_told() {
    for (route, why) in [
        ("{ type = \"nul\" }", "did you mean \"null\""),
        ("{ type = \"null\", child = \"a\" }", "child"),
        (
            "{ type = \"error\", result = \"found\" }",
            "is not the result of an error",
        ),
        (
            "{ type = \"error\", message = \"a\\nb\" }",
            "clients can't be told this",
        ),
        ("{ type = \"hash\" }", "`children` is missing"),
        ("{ type = \"random\", children = [] }", "an empty list"),
        (
            "{ type = \"host\", children = [\"a\", \"c\"] }",
            "there is no pool",
        ),
        (
            "{ type = \"hash\", children = [\"a\", \"b\"], weights = [1] }",
            "there are 1 `weights` for 2 routes",
        ),
        (
            "{ type = \"hash\", children = [\"a\", \"b\"], names = [\"x\", \"x\"] }",
            "x",
        ),
        (
            "{ type = \"hash\", children = [\"a\", \"b\"], distribution = \"ch3\", weights = [1, 2] }",
            "weight",
        ),
        (
            "{ type = \"hash\", children = [\"a\", \"b\"], distribution = \"ketama\", salt = \"x\" }",
            "salt",
        ),
        (
            "{ type = \"operation\", operations = { gett = \"a\" } }",
            "no command that routes know",
        ),
        (
            "{ type = \"operation\", operations = \"a\" }",
            "a table from command to route",
        ),
        (
            "{ type = \"exptime\", child = \"a\", exptime = \"31d\" }",
            "out of range",
        ),
        (
            "{ type = \"exptime\", child = \"a\", exptime = 1, action = \"max\" }",
            "it can be: set, min",
        ),
        ("{ type = \"rate-limit\", child = \"a\" }", "without a rate"),
        (
            "{ type = \"rate-limit\", child = \"a\", gets_burst = 5 }",
            "a burst without its rate",
        ),
        (
            "{ type = \"rate-limit\", child = \"a\", gets_rate = 0 }",
            "out of range",
        ),
        (
            "{ type = \"hash-stop\", child = \"a\" }",
            "`prefixes` is missing",
        ),
    ] {
        let error = with_route(route).unwrap_err();
        assert!(error.contains(why), "{route}: {error}");
    }
}
