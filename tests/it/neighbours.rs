//! One client misbehaves; another one, through the same router and the same upstream connections, must not notice.
//!
//! A victim pipelines sets and gets and checks every byte, while offenders do everything a broken or hostile client
//! can do. The victim must see no error at all, and the servers' connections must not be torn down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::SetOnDrop;
use crate::support::client::Client;
use crate::support::rng::Rng;
use crate::support::router::Cluster;

/// A way to misbehave; gets a fresh connection each time.
type Offence = (&'static str, fn(Client, &mut Rng));

fn say(mut c: Client, bytes: &[u8]) {
    let _ = c.try_send(bytes);
    c.finish_sending();
    // What comes back is of no interest here, but it must come to an end.
    let _ = c.read_to_end();
}

const OFFENCES: [Offence; 22] = [
    ("a data block too long", |c, _| {
        say(c, b"set v1 0 0 3\r\nabcdefghijklmnop\r\n")
    }),
    ("a data block too short", |c, _| {
        say(c, b"set v1 0 0 30\r\nab\r\nget v1\r\nget v1\r\n")
    }),
    ("a data block without its end", |c, _| {
        say(c, b"set v1 0 0 3\r\nabcget v1\r\n")
    }),
    ("an impossible length", |c, _| {
        say(
            c,
            b"set v1 0 0 18446744073709551615\r\nset v1 0 0 -1\r\nset v1 0 0 4294967295\r\n",
        );
    }),
    ("a huge length and no data", |c, _| {
        say(c, b"set v1 0 0 1000000\r\nabc")
    }),
    ("a value over the limit", |c, _| {
        say(
            c,
            &[&b"set big 0 0 1500000\r\n"[..], &vec![b'v'; 1_500_002]].concat(),
        );
    }),
    ("garbage lines", |c, rng| {
        let mut bytes = rng.bytes(400);
        bytes.iter_mut().for_each(|b| *b = (*b % 94) + 32);
        bytes
            .chunks_mut(40)
            .for_each(|l| *l.last_mut().unwrap() = b'\n');
        say(c, &bytes);
    }),
    ("binary bytes", |c, rng| say(c, &rng.bytes(3000))),
    ("the binary protocol", |c, _| {
        say(c, &[0x80, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3])
    }),
    ("half a request, then a reset", |mut c, _| {
        let _ = c.try_send(b"set v1 0 0 100\r\nab");
        c.reset();
    }),
    ("requests, then a reset", |mut c, _| {
        let _ = c.try_send(b"get v1\r\nget v2\r\nget v3\r\nset o 0 0 1\r\nx\r\n".repeat(50));
        c.reset();
    }),
    ("half a line", |c, _| say(c, b"get v")),
    ("a NUL in the key", |c, _| {
        say(c, b"get v1\0v2\r\nset v\0 0 0 1\r\nx\r\nmg v1\0 v\r\n")
    }),
    ("keys too long", |c, _| {
        let key = "k".repeat(300);
        say(
            c,
            format!("get {key}\r\nget v1 {key}\r\nset {key} 0 0 1\r\nx\r\ndelete {key}\r\n")
                .as_bytes(),
        );
    }),
    ("a line without an end", |c, _| say(c, &[b'x'; 50_000])),
    ("bad numbers", |c, _| {
        say(c, b"set v1 x 0 3\r\nabc\r\nset v1 0 x 3\r\nabc\r\nincr v1 x\r\ntouch v1 x\r\ngat x v1\r\ncas v1 0 0 1 x\r\ny\r\n");
    }),
    ("bad meta flags", |c, _| {
        say(c, b"mg v1 ! v v\r\nms v1 S3\r\nabc\r\nms o 3 MX\r\nabc\r\nma o Nx\r\nmg !!! b\r\nms o 3 T\r\nabc\r\nmg v1 Oooooooooooooooooooooooooooooooooooooooooooooo\r\n");
    }),
    ("commands that are not for clients", |c, _| {
        say(c, b"shutdown\r\nslabs reassign 1 2\r\nlru_crawler metadump all\r\nwatch\r\ncache_memlimit 1\r\nflush_all\r\n");
    }),
    ("HTTP", |c, _| {
        say(c, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }),
    ("noreply with errors", |c, _| {
        say(c, b"set v1 0 0 3 noreply\r\nabcdefg\r\nadd v1 0 0 1 noreply\r\nx\r\nincr v1 1 noreply\r\nincr v1 z noreply\r\n");
    }),
    ("a flood that is not read", |mut c, _| {
        let tick = std::time::Duration::from_millis(20);
        c.tcp().set_write_timeout(Some(tick)).unwrap();
        while c.try_send("get v1 v2 v3 v4 big\r\n".repeat(500)).is_ok() {}
    }),
    ("values that look like replies", |c, _| {
        say(
            c,
            b"set o 0 0 26\r\nEND\r\nVALUE v1 0 1\r\nx\r\nEND\r\n\r\nget o\r\nget o v1 o\r\n",
        );
    }),
];

/// Keys `own…` belong to the victim alone; nobody else writes them.
fn victim(mut c: Client, seed: u64, done: &AtomicBool, rounds: &AtomicU64) {
    let mut rng = Rng::new(seed);
    let mut version = vec![0_u64; 60];
    while !done.load(Ordering::Relaxed) {
        let (mut requests, mut want) = (String::new(), String::new());
        for _ in 0..40 {
            let i = rng.below(version.len());
            let key = format!("own{seed}_{i}");
            if version[i] == 0 || rng.chance(30) {
                version[i] += 1;
                let value = format!("{key}={}", version[i]);
                requests += &format!("set {key} {i} 0 {}\r\n{value}\r\n", value.len());
                want += "STORED\r\n";
            } else {
                let value = format!("{key}={}", version[i]);
                requests += &format!("get {key}\r\nget no_such {key} {key}\r\nmg {key} v\r\n");
                let hit = format!("VALUE {key} {i} {}\r\n{value}\r\n", value.len());
                want += &format!(
                    "{hit}END\r\n{hit}{hit}END\r\nVA {}\r\n{value}\r\n",
                    value.len()
                );
            }
        }
        c.ask(requests, want);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    c.fence();
}

#[test]
fn a_neighbour_who_misbehaves_goes_unnoticed() {
    let cluster = Cluster::with(3, |setup| setup.top("workers = 1"));
    let mut c = cluster.client();
    for i in 1..=4 {
        c.ask(format!("set v{i} 0 0 5\r\nvalue\r\n"), "STORED\r\n");
    }
    let big = "b".repeat(300_000);
    c.ask(format!("set big 0 0 300000\r\n{big}\r\n"), "STORED\r\n");
    // Opens every upstream connection.
    for i in 0..100 {
        c.ask(format!("get warm{i}\r\n"), "END\r\n");
    }
    let opened = |cluster: &Cluster| -> Vec<u64> {
        cluster
            .servers
            .iter()
            .map(|s| s.stat("total_connections"))
            .collect()
    };
    let before = opened(&cluster);

    let done = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        let victims: Vec<_> = (0..2)
            .map(|seed| {
                let (c, done, rounds) = (cluster.client(), &done, &rounds);
                scope.spawn(move || victim(c, seed, done, rounds))
            })
            .collect();
        let mut rng = Rng::new(99);
        'all: for _ in 0..15 {
            for (_, offend) in OFFENCES {
                offend(cluster.client(), &mut rng);
                if victims.iter().any(|v| v.is_finished()) {
                    break 'all;
                }
            }
        }
        // The last offences must have met the victims, too.
        let from = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < from + 20 && !victims.iter().any(|v| v.is_finished())
        {
            std::thread::yield_now();
        }
        drop(stop);
        for (i, v) in victims.into_iter().enumerate() {
            assert!(
                v.join().is_ok(),
                "victim {i} saw a neighbour's misbehaviour"
            );
        }
    });
    // Asking costs each server one connection more; nothing else may have been opened.
    let after = opened(&cluster);
    for (server, (b, a)) in before.iter().zip(&after).enumerate() {
        assert!(
            a - b <= 1,
            "upstream connections to server {server} were torn down and opened again: {} more",
            a - b
        );
    }
}

/// One offence at a time, so that a failure names it.
#[test]
fn after_each_kind_of_misbehaviour_the_next_reply_is_right() {
    let cluster = Cluster::with(2, |setup| setup.top("workers = 1"));
    let mut c = cluster.client();
    for key in ["v1", "v2", "v3", "v4", "big", "own"] {
        c.ask(format!("set {key} 0 0 5\r\nvalue\r\n"), "STORED\r\n");
    }
    let mut rng = Rng::new(5);
    for (name, offend) in OFFENCES {
        eprintln!("{name}");
        for _ in 0..3 {
            offend(cluster.client(), &mut rng);
            c.ask("set own 0 0 5\r\nvalue\r\n", "STORED\r\n");
            c.ask("get own none\r\n", "VALUE own 0 5\r\nvalue\r\nEND\r\n");
            c.ask(
                "get own\r\nmg own v\r\n",
                "VALUE own 0 5\r\nvalue\r\nEND\r\nVA 5\r\nvalue\r\n",
            );
        }
    }
}
