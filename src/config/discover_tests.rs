//! What `discover`, `membership` and `[dns]` take and refuse.

use super::super::parse;
use super::*;

fn sources(discover: &str) -> Result<Vec<Source>, String> {
    let text = format!("[pools.a]\ndiscover = {discover}\n");
    match parse("f", &text) {
        Ok((config, _)) => Ok(config.pools[0].discover.clone().unwrap().sources),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn a_text_shows_by_its_form_what_it_is() {
    let service = |name: &str, port| Source::Service {
        name: name.to_owned(),
        port,
        port_name: None,
        identity: IdentityWish::Auto,
    };
    for (text, want) in [
        ("Cache.default.svc", service("cache.default.svc", 11211)),
        ("cache.", service("cache.", 11211)),
        ("cache:1234", service("cache", 1234)),
        ("/etc/list", Source::File("/etc/list".into())),
        ("file:list", Source::File("list".into())),
        (
            "c-{0..}.c",
            Source::Ordinals {
                pattern: "c-{0..}.c".parse().unwrap(),
                port: 11211,
            },
        ),
    ] {
        assert_eq!(sources(&format!("\"{text}\"")), Ok(vec![want]), "{text}");
    }
    let two = sources("[\"a\", { endpoint = \"[::1]:11211\" }]").unwrap();
    assert_eq!(two[0], service("a", 11211));
    assert_eq!(two[1].to_string(), "endpoint ::1:11211");
}

#[test]
fn mistakes_are_named() {
    for (discover, what) in [
        ("[]", "empty list"),
        ("[\"a\", \"a\"]", "given twice"),
        ("\"\"", "no DNS name"),
        ("\"a..b\"", "no DNS name"),
        ("\"a b\"", "no DNS name"),
        ("\"10.0.0.1\"", "is an address"),
        ("\"a:0\"", "no port"),
        ("\"a:http\"", "no port"),
        ("\"a-{0..}{1..}.x\"", "host name"),
        ("{ port = 1 }", "without saying what"),
        ("{ servce = \"a\" }", "did you mean `service`"),
        ("{ service = \"a\", file = \"b\" }", "not service and file"),
        ("{ file = \"b\", port = 1 }", "`port` means nothing"),
        ("{ service = \"a\", identity = \"pod\" }", "not an identity"),
        (
            "{ service = \"a\", port_name = \"_x._tcp\" }",
            "can't name a port",
        ),
        ("{ service = \"a\", port = 0 }", "out of range"),
        ("{ endpoint = \"a\" }", "port"),
        ("{ endpoint = \"unix:/a\" }", "no configuration endpoint"),
        ("{ file = \"\" }", "no path"),
        ("\"a\"\nservers = [\"a:1\"]", "not both"),
        ("\"a\"\nmembership.max_loss = 2", "from 0 to 1"),
        ("\"a\"\nmembership.hold = \"25h\"", "out of range"),
        (
            "\"a\"\n[dns]\nservers = [\"dns.google\"]",
            "not the address",
        ),
        ("\"a\"\n[dns]\nsearch = [\"x\"]", "goes with `servers`"),
        (
            "\"a\"\n[dns]\nmin_ttl = \"1m\"\nmax_ttl = \"1s\"",
            "shorter than",
        ),
    ] {
        let error = sources(discover).unwrap_err();
        assert!(error.contains(what), "{discover}: {error}");
    }
}
