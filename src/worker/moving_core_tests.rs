//! The core with a pool whose servers have just changed, played by hand: every server answers when the test says so.
//!
//! Protects: what is stored in parts is put together whoever had it; nothing waits in a circle; what could not be
//! deleted from a previous server does not come back from there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::core::Core;
use super::played::{self, Shared, connects, sent_text};
use crate::config::{self, ServerAddr};
use crate::route::compile::{Previous, Snapshot};
use crate::route::moved::Handover;

/// A pool of the one server `new`, which was `old` before.
struct World {
    core: Core,
    handover: Handover,
    now: u64,
    conns: HashMap<String, u32>,
}

impl World {
    fn new(route: &str) -> World {
        let pool = |server: &str| {
            let port = 1 + usize::from(server == "new");
            let text = format!(
                "route = {route}\n[pools.a]\ntimeout = \"1s\"\nservers = [{{ name = \"{server}\", addr = \"127.0.0.1:{port}\" }}]"
            );
            config::parse("f", &text).unwrap().0
        };
        let (old, new) = (pool("old"), pool("new"));
        let handover = Handover::default();
        handover.open();
        let previous = Previous {
            pool: old.pools[0].clone(),
            handover: handover.clone(),
        };
        let previous = BTreeMap::from([("a".to_owned(), vec![previous])]);
        let snapshot = Snapshot::compile_at(&new, &previous, ServerAddr::clone).unwrap();
        World {
            core: played::core(Arc::new(snapshot), &Shared::default()),
            handover,
            now: 0,
            conns: HashMap::new(),
        }
    }

    fn client(&mut self) -> u32 {
        self.core.client_opened()
    }

    fn asks(&mut self, client: u32, text: &str) {
        self.core.client_bytes(client, text.as_bytes());
        self.connect();
    }

    /// Connects whatever is to be connected.
    fn connect(&mut self) {
        while let Some(conn) = self.core.todo.connect.pop() {
            if let Some(target) = self.core.conn_target(conn) {
                self.conns.insert(target.name.clone(), conn);
                connects(&mut self.core, conn);
            }
        }
    }

    fn read(&mut self, conn: u32) -> String {
        sent_text(&mut self.core, conn)
    }

    /// What a server is asked.
    fn hears(&mut self, server: &str) -> String {
        self.connect();
        self.read(self.conns[server])
    }

    /// The server gets this request, and answers; `O` stands for the opaque.
    #[track_caller]
    fn serve(&mut self, server: &str, request: &str, answer: &str) {
        self.connect();
        let conn = self.conns[server];
        let heard = self.read(conn);
        let opaque = heard.split(['\r', ' ']).find(|word| word.starts_with('O'));
        let plain = match opaque {
            Some(opaque) => heard.replace(&format!(" {opaque}"), ""),
            None => heard.clone(),
        };
        assert!(plain.starts_with(request), "{server} heard {heard:?}");
        let answer = answer.replace("O ", &format!("{} ", opaque.unwrap_or("O")));
        let answer = answer.replace("O\r", &format!("{}\r", opaque.unwrap_or("O")));
        self.core.conn_bytes(conn, answer.as_bytes());
        self.connect();
    }

    /// The connection to a server is lost, and no other one can be made.
    fn dies(&mut self, server: &str) {
        let conn = self.conns.remove(server).unwrap();
        self.core.conn_closed(conn, "killed");
    }

    /// So many milliseconds pass.
    fn pass(&mut self, millis: u64) {
        let until = self.now + millis * 1000;
        while self.core.next_tick() <= until {
            self.now = self.now.max(self.core.next_tick());
            self.core.set_now(self.now);
            self.core.tick();
        }
        self.now = until;
        self.core.set_now(until);
    }

    fn told(&mut self, client: u32) -> String {
        let mut read = Vec::new();
        while let Some(piece) = self.core.replies.client(client).map(|c| c.out.pending())
            && !piece.is_empty()
        {
            read.extend_from_slice(piece);
            let n = piece.len();
            self.core.client_wrote(client, n);
        }
        self.core.go_on(client);
        String::from_utf8(read).unwrap()
    }
}

const POOL: &str = "\"a\"";

#[test]
fn a_value_in_parts_is_put_together_whoever_had_its_metadata() {
    let parts = "{ type = \"big-value\", child = \"a\", split_threshold = \"1KiB\" }";
    for (get, answer) in [("get k\r\n", "END\r\n"), ("mg k v\r\n", "EN\r\n")] {
        let mut world = World::new(parts);
        let client = world.client();
        world.asks(client, get);
        world.serve("new", get.trim(), answer);
        world.serve("old", "mg k f t v c", "VA 5 f32768 t-1 c7 O\r\nother\r\n");
        world.serve("new", "ms k 5 ME F32768 c", "HD c9 O\r\n");
        world.serve("old", "mg k c", "HD c7 O\r\n");
        if get.starts_with("mg") {
            world.serve("new", "mg k v f", "VA 5 f32768 O\r\nother\r\n");
        }
        // It has no parts; what counts is that it is not taken for the value.
        assert_eq!(world.told(client), answer, "{get}");
    }
}

#[test]
fn flags_that_were_not_asked_for_are_not_shown() {
    let parts = "{ type = \"big-value\", child = \"a\", split_threshold = \"1KiB\" }";
    let mut world = World::new(parts);
    let client = world.client();
    world.asks(client, "mg k v\r\n");
    world.serve("new", "mg k v f", "EN\r\n");
    world.serve("old", "mg k f t v c", "VA 3 f5 t-1 c7 O\r\nabc\r\n");
    world.serve("new", "ms k 3 ME F5 c", "HD c9 O\r\n");
    world.serve("old", "mg k c", "HD c7 O\r\n");
    world.serve("new", "mg k v f", "VA 3 f5 O\r\nabc\r\n");
    assert_eq!(world.told(client), "VA 3\r\nabc\r\n");
}

/// A get has missed at the new server and waits for the previous one, which does not answer.
fn hanging_copy() -> World {
    let mut world = World::new(POOL);
    let reader = world.client();
    world.asks(reader, "get k\r\n");
    world.serve("new", "get k", "END\r\n");
    assert!(world.hears("old").starts_with("mg k f t v c"));
    world
}

#[test]
fn an_update_that_waits_for_a_copy_costs_the_servers_nothing() {
    let mut world = hanging_copy();
    let writer = world.client();
    world.asks(writer, "delete k\r\n");
    world.pass(100);
    assert_eq!(world.hears("new") + &world.hears("old"), "");
    // The copy gives up; the deletion goes on.
    world.pass(901);
    world.pass(2);
    assert!(world.hears("old").starts_with("md k"));
}

#[test]
fn an_update_that_waits_for_a_copy_waits_though_its_server_is_down() {
    let mut world = hanging_copy();
    world.dies("new");
    let other = world.client();
    world.core.client_bytes(other, b"get other\r\n");
    assert_eq!(world.told(other), "END\r\n");
    let writer = world.client();
    world.core.client_bytes(writer, b"delete k\r\n");
    world.core.client_bytes(other, b"version\r\n");
    assert_eq!(world.told(other), "VERSION 1\r\n");
    world.core.todo.connect.clear();
    world.pass(999);
    assert_eq!(world.told(writer), "");
    world.pass(3);
    world.serve("old", "md k", "EN\r\nHD O\r\n");
    // It is back.
    world.serve("new", "delete k", "NOT_FOUND\r\n");
    assert_eq!(world.told(writer), "DELETED\r\n");
}

#[test]
fn what_the_previous_server_was_not_told_of_does_not_come_back_from_there() {
    for (update, asks_first, answer) in [
        ("delete k\r\n", "", "NOT_FOUND\r\n"),
        ("set k 0 1 1\r\nx\r\n", "", "STORED\r\n"),
        ("append k 0 0 1\r\nx\r\n", "mg k", "NOT_STORED\r\n"),
        ("md k\r\n", "", "NF O\r\n"),
    ] {
        let mut world = World::new(POOL);
        let client = world.client();
        // It is known to both.
        world.asks(client, "get k\r\n");
        world.serve("new", "get k", "END\r\n");
        world.serve("old", "mg k", "EN\r\n");
        assert_eq!(world.told(client), "END\r\n");
        world.dies("old");
        world.core.todo.connect.clear();
        world.core.client_bytes(client, update.as_bytes());
        if !asks_first.is_empty() {
            // Before and while it is alone.
            world.serve("new", asks_first, "EN O\r\n");
            world.serve("new", asks_first, "EN O\r\n");
        }
        let word = update.split_once(' ').unwrap().0;
        world.serve("new", word, answer);
        assert_eq!(world.told(client), answer.replace(" O", ""));
        // The previous server is back, with what it had; the new one has lost it.
        world.asks(client, "get k\r\nmg k v\r\n");
        world.serve("new", "get k\r\nmg k v", "END\r\nEN\r\n");
        assert_eq!(world.told(client), "END\r\nEN\r\n", "after {update}");
        // Other keys are asked for there.
        world.pass(1000);
        world.connect();
        world.asks(client, "get other\r\n");
        world.serve("new", "get other", "END\r\n");
        world.serve("old", "mg other", "EN\r\n");
    }
}

#[test]
fn while_a_change_begins_readers_copy_nothing_and_miss_nothing() {
    let mut world = World::new(POOL);
    world.handover.begin();
    let client = world.client();
    world.asks(client, "get k\r\n");
    world.serve("new", "get k", "END\r\n");
    world.serve("old", "mg k f t v c", "VA 1 f5 t-1 c7 O\r\na\r\n");
    assert_eq!(world.told(client), "VALUE k 5 1\r\na\r\nEND\r\n");
    world.asks(client, "mg k f v\r\n");
    world.serve("new", "mg k f v", "EN\r\n");
    world.serve("old", "mg k f v", "VA 1 f5 O\r\na\r\n");
    assert_eq!(world.told(client), "VA 1 f5\r\na\r\n");
    // This is about the cas of the new server.
    world.asks(client, "gets k\r\n");
    world.serve("new", "gets k", "END\r\n");
    assert_eq!(world.told(client), "END\r\n");
    assert_eq!(world.hears("old") + &world.hears("new"), "");
}

#[test]
fn updates_that_copy_first_wait_for_those_that_are_done() {
    let mut world = World::new(POOL);
    let (one, two) = (world.client(), world.client());
    world.asks(one, "delete k\r\n");
    world.asks(two, "append k 0 0 1\r\nx\r\n");
    world.serve("old", "md k", "HD O\r\n");
    world.serve("new", "mg k\r\ndelete k", "EN O\r\n");
    // Not before the deletion has been answered: else it would be of what is gone.
    world.pass(2);
    assert_eq!(world.hears("old") + &world.hears("new"), "");
    let new = world.conns["new"];
    world.core.conn_bytes(new, b"NOT_FOUND\r\n");
    assert_eq!(world.told(one), "DELETED\r\n");
    world.pass(2);
    world.serve("new", "mg k", "EN O\r\n");
    world.serve("old", "mg k f t v c", "EN O\r\n");
    world.serve("new", "append k", "NOT_STORED\r\n");
    world.serve("old", "md k", "NF O\r\n");
    assert_eq!(world.told(two), "NOT_STORED\r\n");
}
