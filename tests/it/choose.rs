//! Routes that choose, change or answer a request without looking at a reply, in front of scripted servers.
//!
//! Protects: each command goes where mcrouter's handle would send it, byte for byte as mcrouter would change it, and
//! what no server is asked is answered as mcrouter answers it; the same in TOML and in mcrouter's JSON.

use std::process::Command;

use crate::support::client::Client;
use crate::support::port::Port;
use crate::support::router::{self, Ringroad};
use crate::support::scripted::{Act, Scripted};

/// What each command is answered by the servers here.
fn answer(command: &crate::support::scripted::Command) -> Vec<Act> {
    match command.verb() {
        "get" | "gets" | "version" | "set" => vec![Act::Serve],
        "gat" | "gats" => Act::say("END\r\n"),
        "touch" => Act::say("TOUCHED\r\n"),
        "incr" | "decr" => Act::say("5\r\n"),
        "delete" => Act::say("DELETED\r\n"),
        "cas" => Act::say("EXISTS\r\n"),
        "ms" | "md" | "ma" => Act::say(&format!("HD {}\r\n", opaque(command))),
        "mg" => Act::say(&format!("EN {}\r\n", opaque(command))),
        _ => Act::say("STORED\r\n"),
    }
}

/// The opaque that the router has added.
fn opaque(command: &crate::support::scripted::Command) -> &str {
    let mut words = command.line.rsplit(' ');
    words.find(|word| word.starts_with('O')).unwrap_or_default()
}

/// The pools A, B and C with a server each, and a router in front.
pub struct Place {
    servers: [Scripted; 3],
    router: Ringroad,
}

impl Place {
    /// With mcrouter's JSON.
    pub fn mcrouter(route: &str) -> Place {
        Place::mcrouter_with(route, &[])
    }

    fn mcrouter_with(route: &str, flags: &[&str]) -> Place {
        let servers = [(); 3].map(|()| Scripted::start(answer));
        let pools: Vec<String> = ["A", "B", "C"]
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("\"{name}\": {{\"servers\": [\"{}\"]}}", server.addr()))
            .collect();
        let text = format!(
            "{{\"pools\": {{{}}}, \"route\": {route}}}",
            pools.join(", ")
        );
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(router::binary());
        command.args(["mcrouter", "-p", &port.number().to_string()]);
        command.arg("--config-file").arg(&file).args(flags);
        let router = Ringroad::spawn(command, port, dir);
        Place { servers, router }
    }

    /// With TOML, where the pools are called a, b and c.
    pub fn toml(route: &str) -> Place {
        let servers = [(); 3].map(|()| Scripted::start(answer));
        let pools: String = ["a", "b", "c"]
            .iter()
            .zip(&servers)
            .map(|(name, server)| format!("[pools.{name}]\nservers = [\"{}\"]\n", server.addr()))
            .collect();
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("ringroad.toml");
        let listen = port.number();
        let text = format!("listen = \"127.0.0.1:{listen}\"\nroute = {route}\n{pools}");
        std::fs::write(&file, text).unwrap();
        let router = Ringroad::run(&file, port, dir);
        Place { servers, router }
    }

    pub fn client(&self) -> Client {
        self.router.client()
    }

    /// The lines that a server has received, but for those of the connection itself.
    pub fn lines(&self, server: usize) -> Vec<String> {
        let log = self.servers[server].log();
        let lines = log.into_iter().filter(|one| one.verb() != "version");
        lines.map(|one| one.line).collect()
    }

    /// How many requests each server has received.
    pub fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|server| self.lines(server).len())
    }
}

/// What each command is answered by nothing at all.
pub const OF_NOTHING: [(&str, &str); 23] = [
    ("get k\r\n", "END\r\n"),
    ("gets k\r\n", "END\r\n"),
    ("get k l m\r\n", "END\r\n"),
    ("gat 5 k\r\n", "END\r\n"),
    ("gats 5 k\r\n", "END\r\n"),
    ("set k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("replace k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("append k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("prepend k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("cas k 0 0 1 7\r\nx\r\n", "NOT_STORED\r\n"),
    ("delete k\r\n", "NOT_FOUND\r\n"),
    ("incr k 1\r\n", "NOT_FOUND\r\n"),
    ("decr k 1\r\n", "NOT_FOUND\r\n"),
    ("touch k 5\r\n", "NOT_FOUND\r\n"),
    ("mg k v\r\n", "EN\r\n"),
    ("mg k v k Oab\r\n", "EN kk Oab\r\n"),
    ("mg k v q\r\nmn\r\n", "MN\r\n"),
    ("ms k 1 Oab\r\nx\r\n", "NS Oab\r\n"),
    ("md k k\r\n", "NF kk\r\n"),
    ("ma k\r\n", "NF\r\n"),
    ("set k 0 0 1 noreply\r\nx\r\nmn\r\n", "MN\r\n"),
    ("delete k noreply\r\nmn\r\n", "MN\r\n"),
];

#[test]
fn nothing_is_stored_and_nothing_found_by_a_null_route() {
    for place in [
        Place::mcrouter(
            "{\"type\": \"OperationSelectorRoute\", \"default_policy\": \"NullRoute\", \"operation_policies\": {\"flushall\": \"PoolRoute|A\"}}",
        ),
        Place::mcrouter(
            "{\"type\": \"RandomRoute\", \"children\": [\"DevNullRoute\", \"NullRoute\", {\"type\": \"HashRoute\", \"children\": [\"NullRoute\", \"PoolRoute|A\"], \"hash_func\": \"WeightedCh3\", \"weights\": [1, 0]}]}",
        ),
        Place::toml("{ type = \"null\" }"),
    ] {
        let mut c = place.client();
        for (ask, want) in OF_NOTHING {
            c.ask(ask, want);
        }
        // Between answers of servers, in the client's order.
        c.fence();
        assert_eq!(place.counts(), [0; 3]);
    }
}

#[test]
fn an_error_route_says_what_it_is_told_to() {
    let show = ["--disable-miss-on-get-errors"];
    let updates = [
        "set k 0 0 1\r\nx\r\n",
        "add k 0 0 1\r\nx\r\n",
        "cas k 0 0 1 7\r\nx\r\n",
        "delete k\r\n",
        "incr k 1\r\n",
        "touch k 5\r\n",
        "ms k 1\r\nx\r\n",
        "md k\r\n",
        "ma k\r\n",
    ];
    let gets = ["get k\r\n", "gets k\r\n", "gat 5 k\r\n", "mg k v\r\n"];
    for (route, line) in [
        (
            "ErrorRoute\", \"PoolRoute|A",
            "SERVER_ERROR local error\r\n",
        ),
        (
            "ErrorRoute|boom text\", \"PoolRoute|A",
            "SERVER_ERROR boom text\r\n",
        ),
    ] {
        // The first of two; the second has no weight.
        let route = format!(
            "{{\"type\": \"HashRoute\", \"children\": [\"{route}\"], \"hash_func\": \"WeightedCh3\", \"weights\": [1, 0]}}"
        );
        let (hiding, showing) = (Place::mcrouter(&route), Place::mcrouter_with(&route, &show));
        for place in [&hiding, &showing] {
            let mut c = place.client();
            for ask in updates {
                c.ask(ask, line);
            }
        }
        let mut c = hiding.client();
        for ask in &gets[..3] {
            c.ask(*ask, "END\r\n");
        }
        c.ask(gets[3], "EN\r\n");
        let mut c = showing.client();
        for ask in gets {
            c.ask(ask, line);
        }
        c.ask("get k l\r\n", line);
        assert_eq!(hiding.counts(), [0; 3]);
    }
}

#[test]
fn every_result_of_an_error_route_has_its_words_and_its_failover() {
    for (result, line, fails_over) in [
        ("local_error", "SERVER_ERROR local error", true),
        ("remote_error", "SERVER_ERROR remote error", true),
        ("timeout", "SERVER_ERROR timeout", true),
        ("connect_timeout", "SERVER_ERROR connection timeout", true),
        ("connect_error", "SERVER_ERROR connection error", true),
        ("busy", "SERVER_ERROR 307 busy", true),
        ("try_again", "SERVER_ERROR 302 try again", true),
        ("shutdown", "SERVER_ERROR 301 shutdown", true),
        ("tko", "SERVER_ERROR unavailable", true),
        (
            "deadline_exceeded",
            "SERVER_ERROR request deadline exceeded",
            true,
        ),
        ("ooo", "SERVER_ERROR out of order", false),
        ("bad_key", "CLIENT_ERROR bad key", false),
        ("bad_value", "SERVER_ERROR bad value", false),
        ("aborted", "SERVER_ERROR aborted", false),
        ("client_error", "CLIENT_ERROR", false),
        ("overloaded", "SERVER_ERROR overloaded", false),
    ] {
        let error = format!("{{\"type\": \"ErrorRoute\", \"result\": \"mc_res_{result}\"}}");
        let route = format!(
            "{{\"type\": \"OperationSelectorRoute\", \"default_policy\": {error}, \"operation_policies\": {{\"delete\": {{\"type\": \"FailoverRoute\", \"children\": [{error}, \"PoolRoute|B\"]}}}}}}"
        );
        let place = Place::mcrouter(&route);
        let mut c = place.client();
        c.ask("set k 0 0 1\r\nx\r\n", format!("{line}\r\n"));
        let after = match fails_over {
            true => "DELETED",
            false => line,
        };
        c.ask("delete k\r\n", format!("{after}\r\n"));
        assert_eq!(place.counts(), [0, usize::from(fails_over), 0], "{result}");
    }
}

/// Every text command and its line at the server, then every meta command's beginning.
const COMMANDS: [(&str, &str, &str); 20] = [
    ("get", "get k\r\n", "get k"),
    ("gets", "gets k\r\n", "gets k"),
    ("gat", "gat 5 k\r\n", "gat 5 k"),
    ("gats", "gats 5 k\r\n", "gats 5 k"),
    ("set", "set k 0 7 1\r\nx\r\n", "set k 0 7 1"),
    ("add", "add k 0 7 1\r\nx\r\n", "add k 0 7 1"),
    ("replace", "replace k 0 7 1\r\nx\r\n", "replace k 0 7 1"),
    ("append", "append k 0 7 1\r\nx\r\n", "append k 0 7 1"),
    ("prepend", "prepend k 0 7 1\r\nx\r\n", "prepend k 0 7 1"),
    ("cas", "cas k 0 7 1 9\r\nx\r\n", "cas k 0 7 1 9"),
    ("delete", "delete k\r\n", "delete k"),
    ("incr", "incr k 1\r\n", "incr k 1"),
    ("decr", "decr k 1\r\n", "decr k 1"),
    ("touch", "touch k 5\r\n", "touch k 5"),
    ("get", "mg k v\r\n", "mg k v O"),
    ("gat", "mg k v T30\r\n", "mg k v T30 O"),
    ("set", "ms k 1\r\nx\r\n", "ms k 1 O"),
    ("add", "ms k 1 ME\r\nx\r\n", "ms k 1 ME O"),
    ("delete", "md k\r\n", "md k O"),
    ("decr", "ma k MD\r\n", "ma k MD O"),
];

#[test]
fn each_command_has_its_own_route() {
    for own in ["get", "gat", "set", "add", "cas", "delete", "decr", "touch"] {
        let place = Place::mcrouter(&format!(
            "{{\"type\": \"OperationSelectorRoute\", \"default_policy\": \"PoolRoute|A\", \"operation_policies\": {{\"{own}\": \"PoolRoute|B\"}}}}"
        ));
        let mut c = place.client();
        let mut want = [Vec::new(), Vec::new()];
        for (name, ask, line) in COMMANDS {
            c.send(format!("{ask}mn\r\n"));
            c.read_until(b"MN\r\n");
            want[usize::from(name == own)].push(line);
        }
        for (server, want) in want.iter().enumerate() {
            let got = place.lines(server);
            assert_eq!(got.len(), want.len(), "{own}: {got:?}");
            for (got, want) in got.iter().zip(want) {
                let fits = got == want || (want.ends_with(" O") && got.starts_with(want));
                assert!(fits, "{own}: {got} for {want}");
            }
        }
    }
}

#[test]
fn each_group_has_its_own_route_and_touch_is_in_none() {
    for (group, members) in [
        ("get_like", &["get", "gets", "gat", "gats"][..]),
        (
            "update_like",
            &["set", "add", "replace", "append", "prepend", "cas"],
        ),
        ("delete_like", &["delete"]),
        ("arithmetic_like", &["incr", "decr"]),
    ] {
        let place = Place::mcrouter(&format!(
            "{{\"type\": \"RoutingGroupRoute\", \"routing_group_policies\": {{\"{group}\": \"PoolRoute|B\"}}}}"
        ));
        let mut c = place.client();
        let mut count = 0;
        for (name, ask, _) in COMMANDS {
            c.send(format!("{ask}mn\r\n"));
            let answer = String::from_utf8(c.read_until(b"MN\r\n")).unwrap();
            let refused =
                format!("SERVER_ERROR unexpected result mc_res_unknown (0) for {name}\r\nMN\r\n");
            let is_member = members.contains(&name);
            assert_eq!(answer == refused, !is_member, "{group}, {name}: {answer}");
            count += usize::from(is_member);
        }
        assert_eq!(place.counts(), [0, count, 0], "{group}");
    }
}

#[test]
fn a_hash_over_routes_has_mcrouter_s_places() {
    let place = Place::mcrouter(
        "{\"type\": \"HashRoute\", \"children\": [\"PoolRoute|A\", {\"type\": \"FailoverRoute\", \"children\": [\"ErrorRoute\", \"PoolRoute|B\"]}, \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    let recorded = include_str!("../golden/mcrouter-0.36/ch3_3.tsv");
    let mut count = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        let (key, Ok(want)) = (fields[1], fields[2].parse::<usize>()) else {
            continue;
        };
        if !key.bytes().all(plain) {
            continue;
        }
        let before = place.counts();
        c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
        let after = place.counts();
        assert_eq!(after[want], before[want] + 1, "{key}");
        count += 1;
    }
    assert!(count > 100);
}

#[test]
fn by_chance_all_have_a_share_and_nobody_sees_it() {
    let place = Place::mcrouter(
        "{\"type\": \"RandomRoute\", \"children\": [\"PoolRoute|A\", \"PoolRoute|B\", \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    for _ in 0..300 {
        c.ask("touch k 5\r\n", "TOUCHED\r\n");
    }
    let counts = place.counts();
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn a_host_has_one_child() {
    let place = Place::mcrouter(
        "{\"type\": \"HostIdRoute\", \"salt\": \"s\", \"children\": [\"PoolRoute|A\", \"PoolRoute|B\", \"PoolRoute|C\"]}",
    );
    let mut c = place.client();
    for number in 0..30 {
        c.ask(format!("touch k{number} 5\r\n"), "TOUCHED\r\n");
    }
    let mut counts = place.counts();
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 30]);
}

#[test]
fn keys_of_no_prefix_find_no_route() {
    let place = Place::mcrouter(
        "{\"type\": \"PrefixSelectorRoute\", \"policies\": {\"a\": \"PoolRoute|A\"}}",
    );
    let mut c = place.client();
    c.ask("touch a1 5\r\n", "TOUCHED\r\n");
    for ask in ["get b\r\n", "delete b\r\n", "touch b 5\r\n", "mg b v\r\n"] {
        c.ask(ask, "SERVER_ERROR RootRoute: No rh found\r\n");
    }
    assert_eq!(place.counts(), [1, 0, 0]);
}
