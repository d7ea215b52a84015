//! A router in front of one scripted server, and how its answers are judged.
//!
//! The server behaves until a test gives it a script. Each item's value names its key, so that a mix-up cannot go
//! unseen; [`check_get`] accepts a miss, an error or the right value and nothing else. [`Stage::recovers`] shows
//! that what went wrong is over: the server is used again and a pipeline is answered exactly.

use std::time::{Duration, Instant};

use crate::failure::QUICK_PROBES;
use crate::support::client::Client;
use crate::support::router::{Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};
use crate::support::{eventually, show};

pub const KEYS: [&str; 4] = ["a", "bb", "ccc", "dddd"];

pub fn value_of(key: &str) -> String {
    format!("<{key}>")
}

pub fn value_reply(key: &str) -> String {
    format!("VALUE {key} 0 {}\r\n{}\r\n", key.len() + 2, value_of(key))
}

pub struct Stage {
    pub server: Scripted,
    pub router: Ringroad,
}

impl Stage {
    /// A router in front of one scripted server that behaves so far and holds [`KEYS`].
    pub fn set(change: impl FnOnce(Setup) -> Setup) -> Stage {
        let server = Scripted::well_behaved();
        for key in KEYS {
            server.put(key, value_of(key).as_bytes());
        }
        let setup = Setup::new([server.addr()])
            .top("workers = 1")
            .pool("timeout = \"300ms\"")
            .pool("connect_timeout = \"300ms\"")
            .pool(QUICK_PROBES);
        let router = change(setup).start();
        let stage = Stage { server, router };
        stage.recovers();
        stage
    }

    pub fn client(&self) -> Client {
        self.router.client()
    }

    /// The server behaves again: soon every key is served, and a pipeline is answered exactly.
    #[track_caller]
    pub fn recovers(&self) {
        self.server.behave();
        let mut c = self.client();
        eventually("the server is used again", || {
            c.send("get a\r\n");
            match c.reply().line.as_slice() {
                b"END" => false,
                b"VALUE a 0 3" => {
                    c.expect("END\r\n");
                    true
                }
                // An error, if errors are shown.
                _ => false,
            }
        });
        for _ in 0..3 {
            for key in KEYS {
                c.send(format!("get {key}\r\nget no_{key}\r\n"));
            }
            for key in KEYS {
                c.expect(format!("{}END\r\nEND\r\n", value_reply(key)));
            }
        }
    }
}

/// Reads the reply to `get KEY…`; only the right values may come. True if it ended in an error.
#[track_caller]
pub fn check_get(c: &mut Client, keys: &[&str]) -> (usize, bool) {
    let mut values = 0;
    loop {
        let reply = c.reply();
        if reply.line == b"END" {
            return (values, false);
        }
        if reply.line.starts_with(b"SERVER_ERROR ") {
            return (values, true);
        }
        let words = reply.words();
        assert_eq!(
            words[0],
            b"VALUE",
            "reply to get {keys:?}: {}",
            show(&reply.line)
        );
        let key = String::from_utf8(words[1].to_vec()).unwrap();
        assert!(
            keys.contains(&key.as_str()),
            "asked for {keys:?}, got {key}"
        );
        assert_eq!(
            reply.data.unwrap(),
            value_of(&key).as_bytes(),
            "the value of {key}"
        );
        values += 1;
    }
}

/// Asks in several ways while the server misbehaves; every answer must be a defined one.
pub fn everyone_gets_an_answer(stage: &Stage, name: &str) {
    let started = Instant::now();
    let mut single = stage.client();
    let mut pipelined = stage.client();
    let mut multi = stage.client();
    for _ in 0..4 {
        single.send("get bb\r\n");
        pipelined.send("get a\r\nget bb\r\nget ccc\r\nget none\r\nget dddd\r\n");
        multi.send("get a bb none ccc dddd bb\r\n");
        check_get(&mut single, &["bb"]);
        for key in ["a", "bb", "ccc", "none", "dddd"] {
            check_get(&mut pipelined, &[key]);
        }
        check_get(&mut multi, &["a", "bb", "ccc", "dddd"]);
    }
    single.fence();
    pipelined.fence();
    multi.fence();
    // 4 rounds of at most one timeout each, with a lot of slack for slow machines.
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{name}: took {:?}",
        started.elapsed()
    );
}

/// On a get: this text instead of the answer.
pub fn instead(text: &'static str) -> impl FnMut(&Command) -> Vec<Act> + Send {
    move |command| match command.is_get() {
        true => Act::say(text),
        false => vec![Act::Serve],
    }
}

/// On a get: these actions.
pub fn on_get(acts: Vec<Act>) -> impl FnMut(&Command) -> Vec<Act> + Send {
    move |command| match command.is_get() {
        true => acts.clone(),
        false => vec![Act::Serve],
    }
}
