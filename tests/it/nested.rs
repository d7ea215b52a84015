//! Failover over a warm-up, when a large value breaks off after it has begun to arrive.
//!
//! Protects: once a value from the warm pool has begun, no other pool is asked for it. A client that has seen a part
//! of it is closed; one whose turn had not come gets exactly one reply.

use std::sync::mpsc;
use std::time::Duration;

use crate::failure::QUICK_PROBES;
use crate::stage::on_get;
use crate::support::eventually;
use crate::support::router::{Ringroad, Setup};
use crate::support::scripted::{Act, Scripted};

/// More than is delivered whole.
const SIZE: usize = 100_000;

/// The servers of a failover between a warm-up and another pool, and one beside that.
struct Nested {
    cold: Scripted,
    warm: Scripted,
    other: Scripted,
    router: Ringroad,
}

impl Nested {
    /// The warm pool's server sends a half of the value of `k` and then does this; the other pool has it, too.
    /// `beside` has the keys that begin with `slow`.
    fn start(then: Vec<Act>, beside: &Scripted) -> Nested {
        let cold = Scripted::well_behaved();
        let half = [format!("VALUE k 0 {SIZE}\r\n").into(), vec![b'w'; SIZE / 2]].concat();
        let warm = Scripted::start(on_get([vec![Act::Send(half)], then].concat()));
        let other = Scripted::well_behaved();
        other.put("k", b"other");
        let pool = |name, server: &Scripted, timeout| {
            format!(
                "[pools.{name}]\nservers = [\"{}\"]\ntimeout = \"{timeout}\"\n{QUICK_PROBES}\n\n",
                server.addr()
            )
        };
        let table = [
            pool("cold", &cold, "20s"),
            pool("warm", &warm, "300ms"),
            pool("other", &other, "20s"),
            "[route]\ntype = \"prefix\"\nprefixes = { \"slow\" = \"cache\" }\n\
             [route.default]\ntype = \"failover\"\n\
             children = [{ type = \"warm-up\", cold = \"cold\", warm = \"warm\", exptime = \"60s\" }, \"other\"]\n"
                .to_owned(),
        ];
        let router = Setup::new([beside.addr()])
            .top("workers = 1")
            .pool("timeout = \"20s\"")
            .table(&table.concat())
            .start();
        Nested {
            cold,
            warm,
            other,
            router,
        }
    }

    fn gets(server: &Scripted) -> usize {
        server.log().iter().filter(|c| c.is_get()).count()
    }

    /// What must hold at the end: one pool after the other was asked, once, and the last one not at all.
    fn check(&self) {
        assert_eq!(Nested::gets(&self.cold), 1);
        assert_eq!(Nested::gets(&self.warm), 1);
        assert_eq!(
            Nested::gets(&self.other),
            0,
            "asked, though it was too late"
        );
        let stored = self.cold.log().iter().any(|c| c.verb() == "add");
        assert!(!stored, "a half of a value was copied");
        // The router is well.
        let mut c = self.router.client();
        self.warm.behave();
        self.warm.put("k2", b"warm");
        eventually("the warm pool is used again", || {
            c.send("get k2\r\n");
            c.values().len() == 1
        });
    }
}

/// Three ways for a value to go no further; the last one ends with the timeout.
fn endings() -> [Vec<Act>; 3] {
    [vec![Act::Close], vec![Act::Reset], vec![]]
}

#[test]
fn a_client_that_has_seen_a_half_of_a_value_sees_nothing_else() {
    for then in endings() {
        let beside = Scripted::well_behaved();
        let nested = Nested::start(then, &beside);
        let mut c = nested.router.client();
        c.send("get k\r\nmn\r\n");
        let got = c.read_to_end();
        let head = format!("VALUE k 0 {SIZE}\r\n");
        // After a reset some of it may be lost on the way.
        let value = got.strip_prefix(head.as_bytes()).unwrap_or_default();
        assert!(value.iter().all(|b| *b == b'w') && value.len() <= SIZE / 2);
        assert!(!value.is_empty() || head.as_bytes().starts_with(&got));
        nested.check();
    }
}

#[test]
fn a_value_that_breaks_off_while_it_is_held_is_answered_once() {
    for then in endings() {
        let (answer, wait) = mpsc::channel::<()>();
        let beside = Scripted::start(move |command| {
            if command.is_get() {
                // The sender being gone is as good.
                let _ = wait.recv_timeout(Duration::from_secs(20));
            }
            vec![Act::Serve]
        });
        let nested = Nested::start(then, &beside);
        let mut c = nested.router.client();
        c.send("get slow\r\nget k\r\nmn\r\n");
        eventually("the value has failed", || {
            nested.router.stat("ringroad_errors") == 1
        });
        answer.send(()).unwrap();
        c.expect("END\r\nEND\r\nMN\r\n");
        c.fence();
        nested.check();
    }
}
