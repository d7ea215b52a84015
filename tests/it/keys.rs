//! Routes that look into keys or change them, in front of real memcached servers.
//!
//! Protects: a routing prefix leads where mcrouter's rules say and never reaches a server that does not want it;
//! whatever key a server has an item under, clients see their own in every reply of every command; broadcasts reach
//! all, and nobody waits for those that are down.

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::Ringroad;

/// The pools a, b and c with a server each, and a router in front.
struct Place {
    servers: Vec<Memcached>,
    router: Ringroad,
}

impl Place {
    /// With TOML; `c` says more of the pool c.
    fn toml(route: &str, c: &str) -> Place {
        let servers = Memcached::several(3);
        let pools: String = ["a", "b", "c"]
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("[pools.{name}]\nservers = [\"{}\"]\n", server.addr()))
            .collect();
        let router = Ringroad::toml(&format!("route = {route}\n{pools}{c}\n"));
        Place { servers, router }
    }

    /// With mcrouter's JSON: `routes` is a member of it.
    fn mcrouter(routes: &str, flags: &[&str]) -> Place {
        let servers = Memcached::several(3);
        let pools: Vec<String> = ["a", "b", "c"]
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("\"{name}\": {{\"servers\": [\"{}\"]}}", server.addr()))
            .collect();
        let text = format!("{{\"pools\": {{{}}}, {routes}}}", pools.join(", "));
        let router = Ringroad::mcrouter(&text, flags);
        Place { servers, router }
    }

    fn client(&self) -> Client {
        self.router.client()
    }

    /// The numbers of the servers that have a key.
    fn holders(&self, key: &str) -> Vec<usize> {
        let all = self.servers.iter().enumerate();
        all.filter(|(_, server)| server.holds(key))
            .map(|(index, _)| index)
            .collect()
    }

    /// Waits until these servers and no others have a key.
    fn settled(&self, key: &str, want: &[usize]) {
        eventually(&format!("{key} is at {want:?}"), || {
            self.holders(key) == want
        });
    }
}

const TREES: &str = r#""routes": [
    {"aliases": ["/e/a/"], "route": "PoolRoute|a"},
    {"aliases": ["/e/b/", "/w/fallback/"], "route": "PoolRoute|b"},
    {"aliases": ["/w/a/"], "route": "PoolRoute|c"}]"#;

/// Every command, with the key that clients use and what they see, `@` for the key.
fn every_command(c: &mut Client, key: &str) {
    for (ask, want) in [
        ("get @\r\n", "END\r\n"),
        ("mg @ v k Oab\r\n", "EN k@ Oab\r\n"),
        ("set @ 5 0 2\r\nab\r\n", "STORED\r\n"),
        ("get @\r\n", "VALUE @ 5 2\r\nab\r\nEND\r\n"),
        (
            "get @ nokey @\r\n",
            "VALUE @ 5 2\r\nab\r\nVALUE @ 5 2\r\nab\r\nEND\r\n",
        ),
        ("add @ 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("replace @ 7 0 1\r\nx\r\n", "STORED\r\n"),
        ("append @ 0 0 1\r\ny\r\n", "STORED\r\n"),
        ("prepend @ 0 0 1\r\nw\r\n", "STORED\r\n"),
        ("get @\r\n", "VALUE @ 7 3\r\nwxy\r\nEND\r\n"),
        ("gat 100 @\r\n", "VALUE @ 7 3\r\nwxy\r\nEND\r\n"),
        ("cas @ 0 0 1 1\r\nx\r\n", "EXISTS\r\n"),
        ("touch @ 0\r\n", "TOUCHED\r\n"),
        ("set @ 0 0 1\r\n7\r\n", "STORED\r\n"),
        ("incr @ 5\r\n", "12\r\n"),
        ("decr @ 2\r\n", "10\r\n"),
        ("mg @ k v\r\n", "VA 2 k@\r\n10\r\n"),
        ("mg @ k s Oop\r\n", "HD k@ s2 Oop\r\n"),
        ("ms @ 3 k\r\nabc\r\n", "HD k@\r\n"),
        ("ms @ 3 ME k\r\nabc\r\n", "NS k@\r\n"),
        (
            "ma @ k\r\n",
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ),
        ("md @ k q\r\nmn\r\n", "MN\r\n"),
        ("md @ k\r\n", "NF k@\r\n"),
        (
            "set @ 0 0 1 noreply\r\nz\r\nget @\r\n",
            "VALUE @ 0 1\r\nz\r\nEND\r\n",
        ),
        ("delete @\r\n", "DELETED\r\n"),
        ("delete @\r\n", "NOT_FOUND\r\n"),
        ("incr @ 1\r\n", "NOT_FOUND\r\n"),
        (
            "set @ 0 0 3\r\ntoolong\r\n",
            "CLIENT_ERROR bad data chunk\r\n",
        ),
    ] {
        c.ask(ask.replace('@', key), want.replace('@', key));
        if ask.contains("toolong") {
            // The rest of what was too long.
            c.expect("ERROR\r\n");
        }
    }
    c.send(format!("set {key} 0 0 1\r\nx\r\ngets {key}\r\n"));
    c.expect("STORED\r\n");
    let line = c.line();
    assert!(line.starts_with(&format!("VALUE {key} 0 1 ")), "{line}");
    c.expect("x\r\nEND\r\n");
    c.send(format!("me {key}\r\n"));
    assert!(c.line().starts_with(&format!("ME {key} ")));
    let large = "v".repeat(300_000);
    c.send(format!("set {key} 0 0 300000\r\n{large}\r\nget {key}\r\n"));
    c.expect("STORED\r\n");
    c.expect(format!("VALUE {key} 0 300000\r\n{large}\r\nEND\r\n"));
    c.ask(
        format!("mg {key} k v\r\n"),
        format!("VA 300000 k{key}\r\n{large}\r\n"),
    );
    c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
}

/// A get by a key in base64; whether a `b` follows it in the reply depends on memcached's version.
fn encoded(c: &mut Client, ask: &str, line: &str, block: &str) {
    c.send(ask);
    let found = c.line();
    let found = found.trim_end();
    assert_eq!(found.strip_suffix(" b").unwrap_or(found), line);
    c.expect(block);
}

#[test]
fn a_prefix_leads_to_its_tree_and_is_not_sent_on() {
    let place = Place::mcrouter(TREES, &["-R", "/e/a/"]);
    let mut c = place.client();
    for (prefix, server) in [
        ("", 0),
        ("/e/a/", 0),
        ("/e/b/", 1),
        ("/w/a/", 2),
        ("/w/x/", 1),
    ] {
        every_command(&mut c, &format!("{prefix}k"));
        c.ask(format!("set {prefix}k 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(place.holders("k"), [server], "{prefix}");
        c.ask(format!("delete {prefix}k\r\n"), "DELETED\r\n");
    }
    // What is no prefix stays.
    for key in ["/k", "/k/l", "k/l/m", "/"] {
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(place.holders(key), [0], "{key}");
    }
    c.ask("set /w/a/b64 0 0 1\r\nx\r\n", "STORED\r\n");
    // "/w/a/b64"
    encoded(
        &mut c,
        "mg L3cvYS9iNjQ= b k v\r\n",
        "VA 1 kL3cvYS9iNjQ=",
        "x\r\n",
    );
}

#[test]
fn a_prefix_that_leads_nowhere_is_refused_or_the_default_s() {
    let nowhere = "SERVER_ERROR RootRoute: No rh found\r\n";
    let place = Place::mcrouter(TREES, &["-R", "/e/a/"]);
    let mut c = place.client();
    for command in [
        "get /e/x/k\r\n",
        "get k /e/x/k l\r\n",
        "set /e/x/k 0 0 1\r\nx\r\n",
        "delete /e/x/k\r\n",
        "touch /x/a/k 5\r\n",
        "get /x/*/k\r\n",
        "incr /x/*/k 1\r\n",
    ] {
        c.ask(command, nowhere);
    }
    c.ask("get /e/a/\r\n", "END\r\n");
    c.ask(
        "set /e/a/ 0 0 1\r\nx\r\n",
        "CLIENT_ERROR bad command line format\r\n",
    );
    let long = "k".repeat(245);
    c.ask(format!("set /e/a/{long} 0 0 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(place.holders(&long), [0]);
    let flags = ["-R", "/e/a/", "--send-invalid-route-to-default"];
    let place = Place::mcrouter(TREES, &flags);
    let mut c = place.client();
    c.ask("set /e/x/k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(place.holders("k"), [0]);
    c.ask("get /y/*/k\r\n", "VALUE /y/*/k 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn a_broadcast_reaches_every_tree_and_waits_for_one() {
    let mut place = Place::mcrouter(TREES, &["-R", "/e/a/"]);
    let mut c = place.client();
    c.ask("set /*/*/k 0 0 1\r\nx\r\n", "STORED\r\n");
    place.settled("k", &[0, 1, 2]);
    c.ask("delete /e/*/k\r\n", "DELETED\r\n");
    place.settled("k", &[2]);
    c.ask("delete /*/*/k\r\n", "NOT_FOUND\r\n");
    place.settled("k", &[]);
    c.ask("set /w/*/k 0 0 1\r\nx\r\n", "STORED\r\n");
    place.settled("k", &[1, 2]);
    c.ask("get /w/*/k\r\n", "VALUE /w/*/k 0 1\r\nx\r\nEND\r\n");
    // A server that is silent is waited for by nobody.
    place.servers[1].process().freeze();
    c.ask("set /*/*/late 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask("get /*/*/late\r\n", "VALUE /*/*/late 0 1\r\nx\r\nEND\r\n");
    place.servers[1].process().thaw();
    place.settled("late", &[0, 1, 2]);
    place.servers[2].kill();
    c.ask("delete /*/*/late\r\n", "DELETED\r\n");
    eventually("the other one lost it, too", || {
        !place.servers[1].holds("late")
    });
}

#[test]
fn nothing_but_gets_passes_where_that_is_asked_for() {
    let place = Place::mcrouter(TREES, &["-R", "/e/a/", "--allow-only-gets"]);
    let mut c = place.client();
    place.servers[0]
        .client()
        .ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    c.ask("get /e/a/k\r\n", "VALUE /e/a/k 0 1\r\nx\r\nEND\r\n");
    c.ask("set k 0 0 1\r\ny\r\n", "NOT_STORED\r\n");
    c.ask("delete /e/a/k\r\n", "NOT_FOUND\r\n");
    c.ask("touch k 5\r\n", "NOT_FOUND\r\n");
    assert_eq!(place.holders("k"), [0]);
}

#[test]
fn a_pool_may_want_the_prefix_and_owners_do_not_depend_on_it() {
    let place = Place::toml(
        r#"{ type = "routing-prefix", default = "/e/a/", routes = [{ prefixes = ["/e/a/", "/w/a/"], route = "c" }, { prefixes = ["/e/b/"], route = { type = "modify-key", child = "c", set_routing_prefix = "/new/x/" } }, { prefixes = ["/e/c/"], route = { type = "modify-key", child = "c", set_routing_prefix = "" } }, { prefixes = ["/e/d/"], route = { type = "failover", children = ["a", "c"] } }] }"#,
        "keep_routing_prefix = true",
    );
    let mut c = place.client();
    for (key, there) in [
        ("k", "k"),
        ("/w/a/k", "/w/a/k"),
        ("/e/a/k", "/e/a/k"),
        ("/e/b/k", "/new/x/k"),
        ("/e/c/l", "l"),
    ] {
        every_command(&mut c, key);
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(place.holders(there), [2], "{key}");
        place.servers[2]
            .client()
            .ask(format!("delete {there}\r\n"), "DELETED\r\n");
    }
    // Nothing is left of this key but what the server wants.
    c.ask("set /w/a/ 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(place.holders("/w/a/"), [2]);
    let mut servers = place.servers;
    servers[0].kill();
    c.ask("set /e/d/k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(servers[2].holds("/e/d/k"), "where a failover leads");
}

#[test]
fn keys_are_changed_on_the_way_and_back() {
    let place = Place::mcrouter(
        r#""route": {"type": "ModifyKeyRoute", "target": "PoolRoute|a", "ensure_key_prefix": "app:", "replace_key_prefix": "old:", "set_key_suffix": ":1"}"#,
        &[],
    );
    let mut c = place.client();
    every_command(&mut c, "k");
    every_command(&mut c, "old:k");
    every_command(&mut c, "app:k");
    every_command(&mut c, "/././k");
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(
        (place.holders("app:k:1"), place.holders("k")),
        (vec![0], vec![])
    );
    for key in ["old:k", "app:k"] {
        c.ask(
            format!("get {key}\r\n"),
            format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"),
        );
    }
    let long = "k".repeat(245);
    let refused = "SERVER_ERROR ModifyKeyRoute: invalid key: too long\r\n";
    c.ask(format!("set {long} 0 0 1\r\nx\r\n"), refused);
    c.ask(format!("get {long}\r\n"), "END\r\n");
    c.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    // "k", and a key that is not text.
    encoded(&mut c, "mg aw== b k v\r\n", "VA 1 kaw==", "x\r\n");
    c.ask("ms AQID 2 b\r\nbn\r\n", "HD\r\n");
    encoded(&mut c, "mg AQID b k v\r\n", "VA 2 kAQID", "bn\r\n");
    // "app:" + 1 2 3 + ":1"
    place.servers[0]
        .client()
        .ask("mg YXBwOgECAzox b v\r\n", "VA 2\r\nbn\r\n");
}

#[test]
fn what_has_failed_elsewhere_is_marked() {
    let mut place = Place::mcrouter(
        r#""route": {"type": "FailoverRoute", "children": ["PoolRoute|a", {"type": "FailoverRoute", "failover_tag": true, "children": ["PoolRoute|b", "PoolRoute|c"]}], "failover_tag": true}"#,
        &["--asynclog-disable"],
    );
    let mut c = place.client();
    every_command(&mut c, "k|#|x");
    place.servers[0].kill();
    every_command(&mut c, "k|#|x");
    c.ask(
        "set k|#|x 0 0 1\r\nx\r\nset k 0 0 1\r\nx\r\n",
        "STORED\r\nSTORED\r\n",
    );
    assert!(place.servers[1].holds("k|#|x:failover=1"));
    assert!(place.servers[1].holds("k"), "without a hash stop");
    place.servers[1].kill();
    c.ask("set k|#|y 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(
        place.servers[2].holds("k|#|y:failover=1:failover=1"),
        "of two failovers"
    );
}

#[test]
fn updates_of_a_pipeline_keep_their_order() {
    let place = Place::toml(
        r#"{ type = "modify-key", child = "a", ensure_key_prefix = "p:" }"#,
        "",
    );
    let mut c = place.client();
    let mut want = String::from("STORED\r\n");
    c.send("set n 0 0 1\r\n0\r\n");
    for number in 1..500 {
        c.send(format!("incr n 1\r\nset k{number} 0 0 1\r\nx\r\nget n\r\n"));
        let length = number.to_string().len();
        want += &format!("{number}\r\nSTORED\r\nVALUE n 0 {length}\r\n{number}\r\nEND\r\n");
    }
    c.expect(want);
}

#[test]
fn copies_of_a_key_are_written_and_deleted_together() {
    let place = Place::mcrouter(
        r#""route": {"type": "KeySplitRoute", "destination": "PoolRoute|a", "replicas": 3, "all_sync": true, "first_hit": true}"#,
        &[],
    );
    let mut c = place.client();
    every_command(&mut c, "k");
    c.ask("set k|#|x 0 0 1\r\nx\r\n", "STORED\r\n");
    for copy in ["k|#|x", "k::1|#|x", "k::2|#|x"] {
        place.settled(copy, &[0]);
    }
    // One copy is enough for a get.
    for lost in [["k|#|x", "k::1|#|x"], ["k|#|x", "k::2|#|x"]] {
        c.ask("set k|#|x 0 0 1\r\nx\r\n", "STORED\r\n");
        for copy in ["k|#|x", "k::1|#|x", "k::2|#|x"] {
            place.settled(copy, &[0]);
        }
        for copy in lost {
            place.servers[0]
                .client()
                .ask(format!("delete {copy}\r\n"), "DELETED\r\n");
        }
        c.ask("get k|#|x\r\n", "VALUE k|#|x 0 1\r\nx\r\nEND\r\n");
    }
    c.send("delete k|#|x\r\n");
    c.line();
    for copy in ["k|#|x", "k::1|#|x", "k::2|#|x"] {
        place.settled(copy, &[]);
    }
}

#[test]
fn a_shard_in_parts_is_deleted_in_all() {
    let place = Place::mcrouter(
        r#""route": {"type": "PoolRoute", "pool": "a", "shard_splits": {"7": 3}}"#,
        &[],
    );
    let mut c = place.client();
    every_command(&mut c, "x:8:y");
    let parts = ["x:7:y", "x:7aa:y", "x:7ba:y"];
    let mut server = place.servers[0].client();
    for part in parts {
        server.ask(format!("set {part} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    c.ask("get x:7:y\r\n", "VALUE x:7:y 0 1\r\nx\r\nEND\r\n");
    c.ask("delete x:7:y\r\n", "DELETED\r\n");
    for part in parts {
        place.settled(part, &[]);
    }
    c.ask("set x:7:y 0 0 1\r\nx\r\n", "STORED\r\n");
    let there = parts.iter().filter(|part| place.servers[0].holds(part));
    assert_eq!(there.count(), 1, "this host's");
}
