//! Three pools of a scripted server each that answers sensibly, behind a route in TOML or in mcrouter's JSON; and every
//! command.

use crate::support::client::Client;
use crate::support::router::Ringroad;
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

    pub fn mcrouter_with(route: &str, flags: &[&str]) -> Place {
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
        let router = Ringroad::mcrouter(&text, flags);
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
        let router = Ringroad::toml(&format!("route = {route}\n{pools}"));
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

/// Every text command and its line at the server, then every meta command's beginning.
pub const COMMANDS: [(&str, &str, &str); 20] = [
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
