//! With real memcached: what is copied has the time to live that it had, and is the same item.

use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Ringroad, Setup};

/// Two daemons, `a` and `b`, behind this route.
fn before(route: &str) -> (Vec<Memcached>, Ringroad) {
    let servers = Memcached::several(2);
    let (a, b) = (servers[0].addr(), servers[1].addr());
    let pools = format!("[pools.a]\nservers = [\"{a}\"]\n[pools.b]\nservers = [\"{b}\"]\n");
    let router = Setup::new([a])
        .top("workers = 1")
        .table(&format!("{pools}[route]\n{route}\n"))
        .start();
    (servers, router)
}

/// Flags and time to live of an item, and its value.
fn item(server: &Memcached, key: &str) -> Option<(String, i64, String)> {
    let mut client = server.client();
    client.send(format!("mg {key} f t v\r\n"));
    let line = client.line();
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["VA", _, flags, left] => Some((
            (*flags).to_owned(),
            left[1..].parse().unwrap(),
            client.line(),
        )),
        _ => None,
    }
}

#[test]
fn copies_live_as_long_as_what_they_are_copied_from() {
    for route in [
        "type = \"warm-up\"\ncold = \"b\"\nwarm = \"a\"\nexptime = \"keep\"",
        "type = \"staging\"\nwarm = \"a\"\nstaging = \"b\"",
    ] {
        let (servers, router) = before(route);
        let mut direct = servers[0].client();
        direct.ask("set short 5 1000 1\r\nx\r\n", "STORED\r\n");
        direct.ask("set long 6 0 1\r\ny\r\n", "STORED\r\n");
        direct.ask("ms bG9uZ2VyIGtleQ== 1 b F7 T1000\r\nz\r\n", "HD\r\n");
        let mut client = router.client();
        client.ask(
            "get short long\r\n",
            "VALUE short 5 1\r\nx\r\nVALUE long 6 1\r\ny\r\nEND\r\n",
        );
        client.ask("mg bG9uZ2VyIGtleQ== b v\r\n", "VA 1\r\nz\r\n");
        for (key, flags, left, value) in [
            ("short", "f5", 900..=1000, "x"),
            ("long", "f6", -1..=-1, "y"),
            ("bG9uZ2VyIGtleQ== b", "f7", 900..=1000, "z"),
        ] {
            eventually(&format!("{key} is copied"), || {
                item(&servers[1], key).is_some()
            });
            let (has, lives, is) = item(&servers[1], key).unwrap();
            assert_eq!((has.as_str(), is.as_str()), (flags, value), "{key}");
            assert!(left.contains(&lives), "{key} lives {lives}");
        }
    }
}

/// What a gets says of an item that was only in the warm cache holds for the copy.
#[test]
fn a_cas_after_a_gets_that_was_copied() {
    let (servers, router) =
        before("type = \"warm-up\"\ncold = \"b\"\nwarm = \"a\"\nexptime = \"keep\"");
    servers[0]
        .client()
        .ask("set k 5 1000 1\r\nx\r\n", "STORED\r\n");
    let mut client = router.client();
    client.send("gets k\r\n");
    let line = client.line();
    let cas = line.split(' ').nth(4).unwrap().to_owned();
    client.expect("x\r\nEND\r\n");
    client.ask(format!("cas k 5 1000 1 {cas}\r\nz\r\n"), "STORED\r\n");
    assert_eq!(item(&servers[1], "k").unwrap().2, "z");
    assert_eq!(item(&servers[0], "k").unwrap().2, "x");
}

#[test]
fn large_values_are_found_again() {
    let (servers, router) = before("type = \"by-size\"\nl1 = \"b\"\nl2 = \"a\"\nthreshold = 1000");
    let mut client = router.client();
    let value = "v".repeat(100_000);
    client.ask(format!("set k 5 0 100000\r\n{value}\r\n"), "STORED\r\n");
    client.ask("set small 5 0 1\r\ns\r\n", "STORED\r\n");
    client.ask(
        "get k small\r\n",
        format!("VALUE k 5 100000\r\n{value}\r\nVALUE small 5 1\r\ns\r\nEND\r\n"),
    );
    client.ask("mg k v f\r\n", format!("VA 100000 f5\r\n{value}\r\n"));
    assert!(servers[0].holds("k") && !servers[0].holds("small"));
    assert_eq!(
        item(&servers[1], "k").unwrap(),
        ("f37".to_owned(), -1, String::new())
    );
    // The value is gone; a gets takes the note away.
    servers[0].client().ask("delete k\r\n", "DELETED\r\n");
    client.ask("gets k\r\n", "END\r\n");
    assert!(!servers[1].holds("k"));
}
