//! `lease-get`, `lease-set` and `metaget`, in front of servers that know them and of memcacheds, which do not.
//!
//! Protects: they are passed on with exactly the bytes that mcrouter sends, and answered with what it answers; a server
//! that does not know them never takes a value for commands, and neither its connection nor anybody else's requests
//! suffer; without `leases` they are unknown, as to memcached.

use std::collections::HashMap;

use crate::support::memcached::Memcached;
use crate::support::router::{Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};

fn setup(server: impl ToString) -> Setup {
    Setup::new([server]).top("workers = 1").top("leases = true")
}

/// A server with leases: the first one who does not find a key gets a token, others hear that it is hot.
fn leasing() -> Scripted {
    let mut items: HashMap<String, String> = HashMap::new();
    let mut tokens: HashMap<String, u64> = HashMap::new();
    items.insert("there".to_owned(), "value".to_owned());
    items.insert("large".to_owned(), "v".repeat(100_000));
    let answer = move |command: &Command| {
        let args = command.args();
        let key = args.first().copied().unwrap_or_default().to_owned();
        let text = match command.verb() {
            "lease-get" => match (items.get(&key), tokens.get(&key)) {
                (Some(value), _) => format!("VALUE {key} 3 {}\r\n{value}\r\nEND\r\n", value.len()),
                (None, Some(_)) => "NOT_FOUND_HOT\r\nEND\r\n".to_owned(),
                (None, None) => {
                    tokens.insert(key.clone(), 4711);
                    format!("LVALUE {key} 4711 1 5\r\nstale\r\nEND\r\n")
                }
            },
            "metaget" => match items.contains_key(&key) {
                true => format!(
                    "META {key} age: 5; exptime: 60; from: 127.0.0.1; is_transient: 0\r\nEND\r\n"
                ),
                false => "END\r\n".to_owned(),
            },
            "lease-set" => match args[1] == "4711" {
                true => {
                    let value = String::from_utf8(command.data.clone().unwrap()).unwrap();
                    items.insert(key, value);
                    "STORED\r\n".to_owned()
                }
                false => "STALE_STORED\r\n".to_owned(),
            },
            _ => return vec![Act::Serve],
        };
        // In pieces, as it may come.
        match text.len() < 1000 {
            true => vec![Act::Trickle(text.into_bytes())],
            false => Act::say(&text),
        }
    };
    Scripted::start(answer)
}

/// What a server was sent, without what a connection begins with.
fn heard(server: &Scripted) -> Vec<String> {
    let lines = server.log().into_iter().map(|command| command.line);
    lines.filter(|line| line != "version").collect()
}

#[test]
fn leases_are_passed_on_and_answered() {
    let server = leasing();
    let router = setup(server.addr()).start();
    let mut client = router.client();
    client.ask("lease-get there\r\n", "VALUE there 3 5\r\nvalue\r\nEND\r\n");
    client.ask("lease-get k\r\n", "LVALUE k 4711 1 5\r\nstale\r\nEND\r\n");
    client.ask("lease-get k\r\n", "NOT_FOUND_HOT\r\nEND\r\n");
    client.ask("lease-set k 9 2 60 3\r\nold\r\n", "STALE_STORED\r\n");
    client.ask("lease-set k 4711 2 60 3\r\nnew\r\n", "STORED\r\n");
    // One end for several keys, in the order asked.
    client.ask(
        "lease-get k a there\r\n",
        "VALUE k 3 3\r\nnew\r\nLVALUE a 4711 1 5\r\nstale\r\nVALUE there 3 5\r\nvalue\r\nEND\r\n",
    );
    client.ask(
        "metaget there nowhere k\r\n",
        "META there age: 5; exptime: 60; from: 127.0.0.1; is_transient: 0\r\n\
         META k age: 5; exptime: 60; from: 127.0.0.1; is_transient: 0\r\nEND\r\n",
    );
    let large = format!("VALUE large 3 100000\r\n{}\r\nEND\r\n", "v".repeat(100_000));
    client.ask("lease-get large\r\n", large);
    client
        .send("lease-set k 4711 0 0 1 noreply\r\nx\r\n")
        .fence();
    assert_eq!(
        heard(&server),
        [
            "lease-get there",
            "lease-get k",
            "lease-get k",
            "lease-set k 9 2 60 3",
            "lease-set k 4711 2 60 3",
            "lease-get k",
            "lease-get a",
            "lease-get there",
            "metaget there",
            "metaget nowhere",
            "metaget k",
            "lease-get large",
            "lease-set k 4711 0 0 1",
        ]
    );
}

#[test]
fn a_server_is_asked_for_a_lease_before_it_is_sent_a_value() {
    let server = leasing();
    let router = setup(server.addr()).start();
    let mut client = router.client();
    // What follows waits for it.
    client.pipeline(
        b"lease-set k 4711 0 0 1\r\nx\r\nlease-get k\r\n",
        b"STORED\r\nVALUE k 3 1\r\nx\r\nEND\r\n",
    );
    let want = [
        "lease-get ringroad:leases",
        "lease-set k 4711 0 0 1",
        "lease-get k",
    ];
    assert_eq!(heard(&server), want);
}

/// A memcached whose router has one worker, and both how often it was connected to.
fn memcached(lines: &[&str]) -> (Memcached, Ringroad) {
    let server = Memcached::start();
    let setup = setup(server.addr());
    let router = lines
        .iter()
        .fold(setup, |setup, line| setup.top(line))
        .start();
    (server, router)
}

#[test]
fn a_memcached_never_takes_a_value_for_commands() {
    let (server, router) = memcached(&["miss_on_get_errors = false"]);
    let (mut client, mut other) = (router.client(), router.client());
    client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    let unknown = "SERVER_ERROR the server does not know this command\r\n";
    let before = server.stat("total_connections");
    for round in 0..20 {
        other.send(format!(
            "get k\r\nset o 0 0 1\r\n{}\r\nget o\r\n",
            round % 10
        ));
        client.send("get k\r\nlease-set k 1 0 0 11\r\nflush_all\r\n\r\nlease-get k\r\nmetaget k j\r\nget k\r\n");
        client.expect("VALUE k 0 1\r\nx\r\nEND\r\n");
        client.expect(unknown).expect(unknown).expect(unknown);
        client.expect("VALUE k 0 1\r\nx\r\nEND\r\n");
        other.expect("VALUE k 0 1\r\nx\r\nEND\r\nSTORED\r\n");
        other.expect(format!("VALUE o 0 1\r\n{}\r\nEND\r\n", round % 10));
    }
    assert_eq!(server.stat("cmd_flush"), 0);
    // The statistics are read by a connection each.
    assert_eq!(server.stat("total_connections"), before + 2);
    assert_eq!(router.stat("ringroad_error_connection_lost"), 0);
}

#[test]
fn what_fails_is_a_miss_where_gets_are() {
    let (mut server, router) = memcached(&[]);
    let mut client = router.client();
    let nothing = "LVALUE k 0 0 0\r\n\r\nEND\r\n";
    client.ask("lease-get k\r\n", nothing);
    client.ask("metaget k\r\n", "END\r\n");
    server.kill();
    client.ask("lease-get k\r\n", nothing);
    client.send("lease-set k 1 0 0 1\r\nx\r\n");
    assert!(client.line().starts_with("SERVER_ERROR "));
    client.fence();
}

#[test]
fn routes_choose_by_them_and_answer_for_them() {
    let server = leasing();
    let route = "route = { type = \"operation\", default = \"cache\", operations = { metaget = { type = \"null\" }, lease-set = { type = \"null\" }, get_like = { type = \"failover\", children = [{ type = \"error\" }, \"cache\"], on = [\"error\"] } } }";
    let router = setup(server.addr()).top(route).start();
    let mut client = router.client();
    client.ask("metaget there\r\n", "END\r\n");
    client.ask("lease-set k 4711 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
    client.ask("lease-get there\r\n", "VALUE there 3 5\r\nvalue\r\nEND\r\n");
    client.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(heard(&server), ["lease-get there", "set k 0 0 1"]);
    let nowhere = setup(server.addr())
        .top("route = { type = \"null\" }")
        .start();
    let mut client = nowhere.client();
    client.ask("lease-get k\r\n", "LVALUE k 0 0 0\r\n\r\nEND\r\n");
    client.ask(
        "lease-get a b\r\n",
        "LVALUE a 0 0 0\r\n\r\nLVALUE b 0 0 0\r\n\r\nEND\r\n",
    );
    client.ask("lease-set k 1 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
}

#[test]
fn the_client_reads_the_key_that_it_has_sent() {
    let server = leasing();
    let route = "route = { type = \"modify-key\", child = \"cache\", ensure_key_prefix = \"x:\" }";
    let router = setup(server.addr()).top(route).start();
    let mut client = router.client();
    client.ask("lease-get k\r\n", "LVALUE k 4711 1 5\r\nstale\r\nEND\r\n");
    client.ask("lease-get k\r\n", "NOT_FOUND_HOT\r\nEND\r\n");
    client.ask("lease-set k 4711 0 0 1\r\nv\r\n", "STORED\r\n");
    client.ask("lease-get k\r\n", "VALUE k 3 1\r\nv\r\nEND\r\n");
    client.ask(
        "metaget k\r\n",
        "META k age: 5; exptime: 60; from: 127.0.0.1; is_transient: 0\r\nEND\r\n",
    );
    assert_eq!(
        heard(&server)[2..4],
        ["lease-set x:k 4711 0 0 1", "lease-get x:k"]
    );
}

#[test]
fn a_miss_with_a_token_is_a_miss_to_routes() {
    let (first, second) = (leasing(), leasing());
    first.follow(|command| match command.verb() {
        "lease-get" => Act::say(&format!(
            "LVALUE {} 1 0 0\r\n\r\nEND\r\n",
            command.args()[0]
        )),
        _ => vec![Act::Serve],
    });
    let table = format!("[pools.other]\nservers = [\"{}\"]\n", second.addr());
    let router = setup(first.addr())
        .top("route = { type = \"failover\", children = [\"cache\", \"other\"], on = [\"miss\"] }")
        .table(&table)
        .start();
    let mut client = router.client();
    client.ask("lease-get there\r\n", "VALUE there 3 5\r\nvalue\r\nEND\r\n");
    client.ask(
        "lease-get nowhere\r\n",
        "LVALUE nowhere 4711 1 5\r\nstale\r\nEND\r\n",
    );
    assert_eq!(heard(&first), ["lease-get there", "lease-get nowhere"]);
}

#[test]
fn a_lease_is_used_where_it_was_given() {
    for kind in [
        "type = \"selective-failover\", children = [\"cache\", \"other\"], update_errors = []",
        "type = \"keyed-failover\", children = [\"cache\", \"cache\", \"other\"]",
        "type = \"keyed-failover\", children = [\"cache\", \"cache\", \"other\"], order = \"rendezvous\", tags = [\"a\", \"b\"]",
    ] {
        comes_back(kind);
    }
}

/// A failover of this kind from the first server, which has no leases, to the second.
fn comes_back(kind: &str) {
    let (first, second) = (leasing(), leasing());
    first.follow(|command| match command.verb() {
        "version" => vec![Act::Serve],
        _ => Act::say("SERVER_ERROR out of order\r\n"),
    });
    let table = format!("[pools.other]\nservers = [\"{}\"]\n", second.addr());
    let route = format!("route = {{ {kind}, lease_pairing = true }}");
    let router = setup(first.addr()).top(&route).table(&table).start();
    let mut client = router.client();
    client.send("lease-get k\r\n");
    let line = client.line();
    let token: u64 = line.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!((line.split(' ').count(), token >> 32), (5, 0x7ace_b00c));
    client.expect("stale\r\nEND\r\n");
    client.ask(format!("lease-set k {token} 0 0 1\r\nx\r\n"), "STORED\r\n");
    client.ask("lease-get k\r\n", "VALUE k 3 1\r\nx\r\nEND\r\n");
    // It is good for once; the first child gets whatever is not known.
    client.ask(
        format!("lease-set k {token} 0 0 1\r\ny\r\n"),
        "SERVER_ERROR out of order\r\n",
    );
    assert_eq!(
        heard(&second),
        ["lease-get k", "lease-set k 4711 0 0 1", "lease-get k"]
    );
}

/// Which child of the host's own it was counts, not which of all.
#[test]
fn a_host_uses_a_lease_where_its_own_child_has_given_it() {
    let servers = [leasing(), leasing(), leasing()];
    let table: String = servers
        .iter()
        .enumerate()
        .map(|(n, server)| format!("[pools.p{n}]\nservers = [\"{}\"]\n", server.addr()))
        .collect();
    let route = "route = { type = \"latest\", children = [\"p0\", \"p1\", \"p2\"], count = 2, lease_pairing = true }";
    let router = setup(servers[0].addr()).top(route).table(&table).start();
    let mut client = router.client();
    client.ask("get k\r\n", "END\r\n");
    let first = servers.iter().position(|server| !heard(server).is_empty());
    let first = &servers[first.unwrap()];
    first.follow(|command| match command.verb() {
        "version" => vec![Act::Serve],
        _ => Act::say("SERVER_ERROR out of order\r\n"),
    });
    client.send("lease-get k\r\n");
    let line = client.line();
    let token: u64 = line.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(token >> 32, 0x7ace_b00c);
    client.expect("stale\r\nEND\r\n");
    client.ask(format!("lease-set k {token} 0 0 1\r\nx\r\n"), "STORED\r\n");
    let stored = |server: &&Scripted| heard(server).contains(&"lease-set k 4711 0 0 1".to_owned());
    assert_eq!(servers.iter().filter(stored).count(), 1);
}

#[test]
fn without_the_setting_they_are_unknown() {
    let server = Memcached::start();
    let router = Setup::new([server.addr()]).start();
    let mut client = router.client();
    client.ask("lease-get k\r\nmetaget k\r\n", "ERROR\r\nERROR\r\n");
    // As to memcached, the block is a command.
    client.ask("lease-set k 1 0 0 4\r\nquit\r\n", "ERROR\r\n");
    client.expect_closed();
}
