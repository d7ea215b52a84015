//! What is said about mistakes: the place, what is wrong, what would be right.

use super::super::*;
use super::bad;

/// One mistake each: where it is reported, and what must be in the text.
#[test]
fn mistakes_are_named_with_their_place() {
    const POOL: &str = "[pools.c]\nservers = [\"a:1\", \"b:1\"]\n";
    for (text, place, parts) in [
        // The top of the file.
        ("", (1, 1), &["there are no pools", "[pools.cache]"][..]),
        (
            "{}on_failure = \"nxt\"",
            (3, 14),
            &["is not a way to deal with failures", "miss, error, next"],
        ),
        (
            "{}on_return = \"warm\"",
            (3, 13),
            &["a way to deal with servers that come back"],
        ),
        ("{}gutter = \"d\"", (3, 10), &["there is no pool \"d\""]),
        ("{}gutter = \"c\"", (3, 10), &["can't be its own gutter"]),
        ("{}gutter = 3", (3, 10), &["must be the name of a pool"]),
        ("{}gutter_exptime = \"0s\"", (3, 18), &["from 1s to"]),
        (
            "{}gutter_exptime = \"1.5s\"",
            (3, 18),
            &["`gutter_exptime` must be whole seconds"],
        ),
        (
            "route = \"c\"\n{}gutter = \"d\"\n[pools.d]\nservers = [\"c:1\"]\ngutter = \"c\"",
            (4, 10),
            &["the gutters lead back to this pool"],
        ),
        ("pools = 3", (1, 9), &["must be a table of pools"]),
        ("[pools]", (1, 1), &["there are no pools"]),
        (
            "lisen = []\n{}",
            (1, 1),
            &["unknown key `lisen`", "did you mean `listen`?"],
        ),
        (
            "colour = 1\n{}",
            (1, 1),
            &["the keys here are: listen, workers"],
        ),
        (
            "listen = 5000\n{}",
            (1, 10),
            &["\":5000\"", "127.0.0.1:5000"],
        ),
        ("listen = []\n{}", (1, 10), &["empty list"]),
        (
            "listen = [\"a\", 3]\n{}",
            (1, 11),
            &["the port is missing", "`listen` must be an address"],
        ),
        (
            "listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]\n{}",
            (1, 24),
            &["clashes with \"0.0.0.0:1\" on line 1"],
        ),
        (
            "listen = [\":1\", \"0.0.0.0:1\"]\n{}",
            (1, 17),
            &["IPv4 and IPv6"],
        ),
        (
            "listen = [{ unix = \"/a\", mode = 660 }]\n{}",
            (1, 33),
            &["\"0660\" or 0o660"],
        ),
        (
            "listen = [{ unix = \"/a\", mode = \"9\" }]\n{}",
            (1, 33),
            &["three octal digits"],
        ),
        (
            "listen = [{ unix = \"/a\", reuse_port = true }]\n{}",
            (1, 39),
            &["`reuse_port` goes with `tcp`"],
        ),
        (
            "listen = [{ tcp = \":1\", mode = \"0700\" }]\n{}",
            (1, 32),
            &["`mode` does not go with `tcp`"],
        ),
        (
            "listen = [{ tcp = \":0\", reuse_port = true }]\n{}",
            (1, 19),
            &["port 0 can't be shared"],
        ),
        (
            "listen = [{ tcp = \"unix:/a\" }]\n{}",
            (1, 19),
            &["this is a unix socket"],
        ),
        (
            "shutdown_delay = \"10s\"\n{}",
            (1, 18),
            &["leaves no time of the 10s", "shorter than 10s"],
        ),
        (
            "listen = [{ mode = \"0700\" }]\n{}",
            (1, 11),
            &["`unix` is missing"],
        ),
        ("workers = 0\n{}", (1, 11), &["from 1 to 1024"]),
        ("workers = \"all\"\n{}", (1, 11), &["\"auto\""]),
        ("flush_all = \"true\"\n{}", (1, 13), &["without quotes"]),
        ("drain = \"2h\"\n{}", (1, 9), &["from 0s to 1h"]),
        ("drain = -1\n{}", (1, 9), &["out of range"]),
        ("drain = \"10\"\n{}", (1, 9), &["\"10s\""]),
        (
            "route = \"d\"\n{}",
            (1, 9),
            &["there is no pool \"d\"", "the pools are: c"],
        ),
        // Pools.
        (
            "{}[pools.d]\nservers = [\"x:1\"]",
            (3, 8),
            &["several pools", "route = \"c\"", "type = \"failover\""],
        ),
        (
            "[pools.c]\nsever = [\"a:1\"]",
            (2, 1),
            &["did you mean `servers`?"],
        ),
        ("[pools.c]\n", (1, 1), &["`servers` is missing in a pool"]),
        ("[pools.c]\nservers = []", (2, 11), &["no servers"]),
        (
            "[pools.c]\nservers = \"a:1\"",
            (2, 11),
            &["must be a list of servers, not a text"],
        ),
        (
            "[pools.c]\nservers = [\"a:1\", 3]",
            (2, 19),
            &["a list of addresses or tables, not a number"],
        ),
        (
            "[pools.c]\nservers = [\"10.0.0.1\"]",
            (2, 12),
            &["write \"10.0.0.1:11211\""],
        ),
        (
            "[pools.c]\nservers = [\"a:1:1\"]",
            (2, 12),
            &["nutcracker", "{ addr = \"a:1\", weight = 1 }"],
        ),
        (
            "[pools.c]\nservers = [{ name = \"x\" }]",
            (2, 12),
            &["`addr` is missing"],
        ),
        (
            "[pools.c]\nservers = [{ name = \"x y\", addr = \"a:1\" }]",
            (2, 21),
            &["without blanks"],
        ),
        (
            "[pools.c]\nservers = [\"a:1\", \"a:1\"]",
            (2, 19),
            &["two servers named \"a:1\"", "on line 2"],
        ),
        (
            "[pools.c]\nservers = [{ addr = \"a:1\", weight = \"1\" }]",
            (2, 37),
            &["a number such as 1 or 0.5"],
        ),
        (
            "[pools.c]\nservers = [{ addr = \"a:1\", weight = nan }]",
            (2, 37),
            &["a number"],
        ),
        (
            "[pools.\"a b\"]\nservers = [\"a:1\"]",
            (1, 8),
            &["can't be the name of a pool"],
        ),
        (
            "[pools]\nservers = [\"a:1\"]",
            (2, 11),
            &["a pool needs a name: write [pools.cache] above"],
        ),
        (
            "{}route = \"c\"",
            (3, 1),
            &["`route` belongs to the top of the file"],
        ),
        (
            "{}max_value = 1",
            (3, 1),
            &["`max_value` belongs to [limits]"],
        ),
        ("{}timeout = \"soon\"", (3, 11), &["is not a duration"]),
        ("{}timeout = 0", (3, 11), &["from 1ms to 10m"]),
        ("{}timeout = true", (3, 11), &["not true or false"]),
        ("{}connections = 65", (3, 15), &["from 1 to 64"]),
        (
            "{}connections = 1.5",
            (3, 15),
            &["not a number with a fraction"],
        ),
        ("{}tko = { after = 0 }", (3, 17), &["from 1 to 1000000"]),
        (
            "{}tko = { probe_min = 20 }",
            (3, 21),
            &["shorter than `probe_min`", "probe_max 10s"],
        ),
        (
            "{}queue = { bytes = \"1KB\" }",
            (3, 19),
            &["\"1KiB\"", "1000"],
        ),
        // Placement.
        (
            "{}distribution = \"ketma\"",
            (3, 16),
            &["did you mean \"ketama\"?", "it can be: ring, ketama"],
        ),
        (
            "{}hash = \"md5\"",
            (3, 8),
            &["ring", "its own hash function"],
        ),
        ("{}hash = \"md6\"", (3, 8), &["did you mean \"md5\"?"]),
        ("{}salt = \"x\"", (3, 8), &["has no salt"]),
        (
            "{}weights_variable = \"x\"",
            (3, 20),
            &["only weighted_ch3"],
        ),
        (
            "{}distribution = \"weighted_ch3\"\nweights_variable = \"\"",
            (4, 20),
            &["is empty"],
        ),
        ("{}points = 0", (3, 10), &["from 1 to"]),
        (
            "{}distribution = \"jump\"\npoints = 9",
            (4, 10),
            &["fixed number of points"],
        ),
        ("{}hash_tag = \"{\"", (3, 12), &["two characters"]),
        (
            "[pools.c]\ndistribution = \"jump\"\nservers = [\"a:1\", { addr = \"b:1\", weight = 2 }]",
            (3, 44),
            &["weight 2 of server \"b:1\""],
        ),
        // The other tables.
        (
            "{}[limits]\nmax_value = \"256MiB\"",
            (4, 13),
            &["from 1KiB to 128MiB"],
        ),
        (
            "{}[log]\nlevel = \"inof\"",
            (4, 9),
            &["\"inof\" is not a level", "error, warn, info"],
        ),
        (
            "{}[log]\nformat = \"jason\"",
            (4, 10),
            &["did you mean \"json\"?"],
        ),
        ("{}[admin]\n", (3, 1), &["`listen` is missing in `admin`"]),
        (
            "{}[admin]\nlisten = \"127.0.0.1:5000\"",
            (4, 10),
            &["clashes with", "the default of `listen`"],
        ),
        (
            "{}[admin]\nlisten = { tcp = \"127.0.0.1:1\", reuse_port = true }",
            (4, 10),
            &["can't be shared"],
        ),
        (
            "{}[admin]\nlisten = [\"unix:/a\", \"127.0.0.1:1\", \"unix:/a\"]",
            (4, 37),
            &["clashes with", "line 4"],
        ),
        ("{}[admin]\nlisten = []", (4, 10), &["is an empty list"]),
        (
            "limits = 3\n{}",
            (1, 10),
            &["must be a table, not a number"],
        ),
    ] {
        let text = text.replacen("{}", POOL, 1);
        let errors = bad(&text);
        let first = &errors.errors()[0];
        let shown = errors.to_string();
        assert_eq!((first.line(), first.column()), place, "{text}\n{shown}");
        for part in parts {
            assert!(shown.contains(part), "{part}\n{text}\n{shown}");
        }
    }
}

/// What the parser of TOML finds, with a hint for what people try.
#[test]
fn syntax_errors_have_a_place_and_a_hint() {
    for (text, place, part) in [
        ("listen = [\n  \"a\"\n  \"b\"\n]", (3, 3), "comma"),
        ("[pools.c\nx = 1", (1, 9), "]"),
        ("drain: 10s", (1, 6), "write `key = value`"),
        ("drain = 10s", (1, 9), "\"10s\""),
        ("level = info", (1, 9), "\"info\""),
        ("a = 1\na = 2", (2, 1), "given before"),
        ("a = \"open", (1, 10), "invalid basic string"),
    ] {
        let errors = bad(text);
        let first = &errors.errors()[0];
        assert_eq!((first.line(), first.column()), place, "{errors}");
        assert!(errors.to_string().contains(part), "{errors}");
        assert!(
            first.message().starts_with("this is not valid TOML: "),
            "{errors}"
        );
    }
}

/// People fix a file in one go, not error by error.
#[test]
fn all_errors_are_reported_at_once_in_order() {
    let errors = bad("
        workers = 0
        lissen = 1
        route = \"x\"
        [pools.a]
        servers = [\"a\", \"b:1\", \"b:1\"]
        timeout = \"1\"
        colour = \"red\"
        [pools.b]
        distribution = \"rng\"
        [log]
        level = 1
    ");
    let found: Vec<usize> = errors.errors().iter().map(Diagnostic::line).collect();
    assert_eq!(found, [2, 3, 4, 6, 6, 7, 8, 9, 10, 12], "{errors}");
    assert!(
        errors
            .brief()
            .starts_with("f.toml:2:19: `workers` is out of range"),
        "{}",
        errors.brief()
    );
    assert!(errors.brief().ends_with("(and 9 more errors)"));
}

/// A key under a wrong name is not called missing too, and a pool whose servers are wrong is checked for the rest.
#[test]
fn one_mistake_is_one_error() {
    for text in [
        "[pool.c]\nservers = [\"a:1\"]",
        "[pools.c]\nserver = [\"a:1\"]",
        "[pools.c]\nservers = [{ adr = \"a:1\" }]",
        "route = \"c\"\n[pools.c]\nservers = [\"a\"]",
        "[pools.c]\nservers = [\"a:1\"]\ndistribution = \"rin\"\nsalt = \"x\"",
    ] {
        assert_eq!(bad(text).count(), 1, "{text}\n{}", bad(text));
    }
    let errors = bad("[pools.c]\nservers = [\"a\"]\nsalt = \"x\"");
    assert_eq!(errors.count(), 2, "{errors}");
}

#[test]
fn an_error_reads_like_a_compiler_s() {
    let errors =
        bad("[pools.cache]\nsever = [\"127.0.0.1:11211\"]\nservers = [\"127.0.0.1:11211\"]\n");
    let want = "error: unknown key `sever` in a pool
 --> f.toml:2:1
  |
2 | sever = [\"127.0.0.1:11211\"]
  | ^^^^^ did you mean `servers`?

1 error";
    assert_eq!(errors.to_string(), want);
}
