//! Servers that answer updates and meta commands with nonsense, errors that are replies, and one mad server among
//! sane ones.
//!
//! Protects: an update's answer is one that fits the update, or an error; an error reply of a server is a reply
//! and no reason to reset the connection that others share; a mad server harms its own keys only.

use crate::failure::QUICK_PROBES;
use crate::stage::{Stage, check_get, value_of, value_reply};
use crate::support::memcached::Memcached;
use crate::support::router::Setup;
use crate::support::scripted::{Act, Scripted};
use crate::support::show;

#[test]
fn errors_of_the_server_are_replies_and_keep_the_connection() {
    let stage = Stage::set(|s| s.top("miss_on_get_errors = false").pool("coalesce = false"));
    for error in [
        "SERVER_ERROR out of memory storing object\r\n",
        "CLIENT_ERROR bad command line format\r\n",
        "ERROR\r\n",
        "SERVER_ERROR: something else\r\n",
    ] {
        stage.server.follow(move |command| match command.verb() {
            "version" => vec![Act::Serve],
            _ => Act::say(error),
        });
        let connections = |s: &Stage| s.server.log().iter().map(|c| c.connection).max();
        let before = connections(&stage);
        let mut c = stage.client();
        for _ in 0..10 {
            c.ask("set a 0 0 1\r\nx\r\n", error);
            c.ask(
                "delete a\r\nincr a 1\r\nms a 1\r\nx\r\nmg a v\r\n",
                error.repeat(4),
            );
            c.ask("get a\r\n", error);
        }
        assert_eq!(
            connections(&stage),
            before,
            "the shared connection was reset for {error}"
        );
        stage.recovers();
    }
}

#[test]
fn wrong_answers_to_updates() {
    let stage = Stage::set(|s| s);
    for text in [
        "END\r\n",
        "VALUE a 0 1\r\nx\r\nEND\r\n",
        "HD\r\n",
        "\r\n",
        "hello\r\n",
        "VERSION 1\r\n",
        "STORED",
        "",
    ] {
        eprintln!("{}", show(text.as_bytes()));
        stage.server.follow(move |command| match command.verb() {
            "set" | "delete" => Act::say(text),
            _ => vec![Act::Serve],
        });
        let mut c = stage.client();
        for request in ["set x 0 0 1\r\nx\r\n", "delete x\r\n"] {
            c.send(request);
            let line = c.line();
            assert!(
                line.starts_with("SERVER_ERROR "),
                "{} gave {line}",
                show(request.as_bytes())
            );
            c.send("get a\r\n");
            check_get(&mut c, &["a"]);
        }
        stage.recovers();
    }
}

#[test]
fn wrong_answers_to_meta_commands() {
    let stage = Stage::set(|s| s);
    for text in [
        "HD kzzz\r\n",
        "HD O999\r\n",
        "VA 3 kbb O1\r\n<a>\r\n",
        "VA 3 ka O2\r\n<a>\r\n",
        "VA x\r\n",
        "VA 3\r\n<a>XX",
        "VA 99999999999\r\n",
        "END\r\n",
        "STORED\r\n",
        "MN\r\n",
        "hello\r\n",
        "EN kzzz O7\r\n",
    ] {
        eprintln!("{}", show(text.as_bytes()));
        stage.server.follow(move |command| match command.verb() {
            "mg" => Act::say(text),
            _ => vec![Act::Serve],
        });
        let mut c = stage.client();
        c.send("mg a k O1 v\r\n");
        let reply = c.reply();
        assert!(
            reply.line == b"EN ka O1" || reply.line.starts_with(b"SERVER_ERROR "),
            "{text:?} came through as {}",
            show(&reply.line)
        );
        c.fence();
        stage.recovers();
    }
}

#[test]
fn a_mad_server_does_not_disturb_its_sane_neighbours() {
    let evil = Scripted::well_behaved();
    let good = [Memcached::start(), Memcached::start()];
    let router = Setup::new([evil.addr(), good[0].addr(), good[1].addr()])
        .top("workers = 1")
        .pool("timeout = \"300ms\"")
        .pool(QUICK_PROBES)
        .start();
    let mut c = router.client();
    let mut kept = Vec::new();
    for key in (0..200).map(|i| format!("sane{i}")) {
        c.ask(
            format!("set {key} 0 0 {}\r\n{}\r\n", key.len() + 2, value_of(&key)),
            "STORED\r\n",
        );
        if good.iter().any(|server| server.holds(&key)) {
            kept.push(key);
        }
    }
    assert!(
        kept.len() > 50 && kept.len() < 200,
        "{} of 200 keys on sane servers",
        kept.len()
    );
    // A key that lives elsewhere, so that nobody asks this server for it.
    let foreign = format!("VALUE {} 0 1\r\nx\r\nEND\r\n", kept[0]).into_bytes();
    let mut number = 0;
    evil.follow(move |command| {
        number += 1;
        match number % 5 {
            _ if command.verb() == "version" => vec![Act::Serve],
            0 => Act::say("what?\r\n"),
            1 => vec![Act::Reset],
            2 => vec![Act::Ignore],
            3 => vec![Act::Send(foreign.clone())],
            _ => vec![Act::Send(b"VALUE sane".to_vec()), Act::Close],
        }
    });
    let mut mad = router.client();
    for round in 0..10 {
        // Everything at once: the mad server's keys and the sane ones', from two clients.
        for i in 0..200 {
            mad.send(format!("get sane{i}\r\n"));
        }
        for key in &kept {
            c.send(format!("get {key}\r\n"));
        }
        for key in &kept {
            c.expect(format!("{}END\r\n", value_reply(key)));
        }
        for i in 0..200 {
            check_get(&mut mad, &[&format!("sane{i}")]);
        }
        eprintln!("round {round} done");
    }
}
