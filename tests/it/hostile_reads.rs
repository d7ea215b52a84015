//! Servers that talk nonsense when asked for values.
//!
//! A scripted server behaves until it has the router's trust, then does one thing wrong. Protects: the client gets
//! a defined answer in time and never a value that is not its key's; what is wrong stays on that connection; once
//! the server behaves again, it is used again.

use std::time::Duration;

use crate::stage::{KEYS, Stage, check_get, everyone_gets_an_answer, instead, on_get, value_reply};
use crate::support::client::Client;
use crate::support::router::Setup;
use crate::support::scripted::{Act, Scripted};
use crate::support::show;

/// Gets that a server may answer so without ever getting a wrong value through.
#[test]
fn nonsense_in_place_of_a_value() {
    let stage = Stage::set(|s| s);
    for text in [
        "hello\r\n",
        "\r\n",
        "\n",
        "END",
        "end\r\n",
        "END \r\n",
        "STORED\r\n",
        "HD\r\n",
        "EN\r\n",
        "VA 3\r\n<a>\r\n",
        "OK\r\n",
        "17\r\n",
        "VERSION 1.6.45\r\n",
        "VALUE\r\nEND\r\n",
        "VALUE a\r\nEND\r\n",
        "VALUE a 0\r\nEND\r\n",
        "VALUE a 0 x\r\nEND\r\n",
        "VALUE a 0 -1\r\nEND\r\n",
        "VALUE a 0 99999999999999999999\r\nEND\r\n",
        "VALUE a 0 4294967296\r\nEND\r\n",
        "VALUE a 0 2147483647\r\nEND\r\n",
        "VALUE a 0 3 x y z\r\n<a>\r\nEND\r\n",
        "VALUE a 0 3\r\n<a>XXEND\r\n",
        "VALUE a 0 2\r\n<a>\r\nEND\r\n",
        "VALUE a 0 9\r\n<a>\r\nEND\r\n",
        "value a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE  a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE zzz 0 5\r\n<zzz>\r\nEND\r\n",
        "VALUE zzz 0 5\r\n<zzz>\r\nVALUE a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE a 0 3\r\n<a>\r\nVALUE zzz 0 5\r\n<zzz>\r\nEND\r\n",
        "VALUE a 0 3\r\n<a>\r\nSTORED\r\n",
        "VALUE a 0 3\r\n<a>\r\nVALUE a 0 3\r\n<a>\r\nVALUE a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE dddd 0 6\r\n<dddd>\r\nVALUE a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE a 0 3\r\n<a>\r\n\r\nEND\r\n",
        "\0\0\0\0",
        "\u{81}\u{0}binary\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nhey",
        "+OK\r\n$-1\r\n",
    ] {
        eprintln!("{}", show(text.as_bytes()));
        stage.server.follow(instead(text));
        everyone_gets_an_answer(&stage, text);
        stage.recovers();
    }
}

#[test]
fn answers_nobody_asked_for() {
    let stage = Stage::set(|s| s);
    for text in [
        "END\r\n",
        "VALUE a 0 3\r\n<a>\r\nEND\r\n",
        "VALUE bb 0 4\r\n<bb>\r\nEND\r\n",
        "ERROR\r\n",
        "SERVER_ERROR out of memory\r\n",
        "VERSION 1\r\n",
        "rubbish",
    ] {
        eprintln!("{}", show(text.as_bytes()));
        // After a right answer comes another one.
        stage
            .server
            .follow(on_get(vec![Act::Serve, Act::Send(text.into())]));
        everyone_gets_an_answer(&stage, text);
        stage.recovers();
        // As soon as the connection is there.
        stage.server.follow(move |command| match command.number {
            0 => vec![Act::Serve, Act::Send(text.into())],
            _ => vec![Act::Serve],
        });
        everyone_gets_an_answer(&stage, text);
        stage.recovers();
    }
}

#[test]
fn connections_that_end_at_every_byte_of_an_answer() {
    let stage = Stage::set(|s| s);
    let answer = "VALUE a 0 3\r\n<a>\r\nVALUE bb 0 4\r\n<bb>\r\nEND\r\n";
    for at in 0..answer.len() {
        for last in [Act::Close, Act::Reset] {
            let text = Act::Send(answer[..at].into());
            stage.server.follow(on_get(vec![text, last]));
            let mut c = stage.client();
            c.send("get a bb\r\nget a\r\n");
            check_get(&mut c, &["a", "bb"]);
            check_get(&mut c, &["a"]);
            c.fence();
        }
        if at % 8 == 0 {
            stage.recovers();
        }
    }
    stage.recovers();
}

#[test]
fn values_already_received_are_delivered_when_the_rest_fails() {
    for (miss, ending) in [(true, "END\r\n"), (false, "SERVER_ERROR")] {
        let stage = Stage::set(|s| s.top(&format!("miss_on_get_errors = {miss}")));
        for last in [vec![Act::Close], vec![Act::Reset], vec![]] {
            // The first two values, and a half of the third.
            stage.server.follow(move |command| {
                if !command.is_get() || command.args().len() < 3 {
                    return vec![Act::Serve];
                }
                let text = format!(
                    "{}{}VALUE ccc 0 5\r\n<cc",
                    value_reply("a"),
                    value_reply("bb")
                );
                [vec![Act::Send(text.into())], last.clone()].concat()
            });
            // Single-key gets of one client, coalesced into one request.
            let mut c = stage.client();
            c.send("get a\r\nget bb\r\nget ccc\r\n");
            c.expect(value_reply("a") + "END\r\n");
            c.expect(value_reply("bb") + "END\r\n");
            let line = c.line() + "\r\n";
            assert!(line.starts_with(ending), "the value cut off: {line}");
            c.fence();
            stage.recovers();
        }
    }
}

#[test]
fn a_late_answer_goes_to_nobody() {
    let stage = Stage::set(|s| s);
    // Answers every get well after the timeout, so that answers arrive while other requests wait.
    stage.server.follow(on_get(vec![
        Act::Wait(Duration::from_millis(450)),
        Act::Serve,
    ]));
    let mut clients: Vec<Client> = (0..8).map(|_| stage.client()).collect();
    for round in 0..6 {
        for (i, c) in clients.iter_mut().enumerate() {
            c.send(format!("get {}\r\n", KEYS[(i + round) % 4]));
        }
        for (i, c) in clients.iter_mut().enumerate() {
            check_get(c, &[KEYS[(i + round) % 4]]);
        }
    }
    stage.recovers();
}

#[test]
fn an_answer_in_the_smallest_pieces_is_an_answer() {
    let stage = Stage::set(|s| s.pool("timeout = \"10s\"").pool("coalesce = true"));
    let text = format!("{}{}END\r\n", value_reply("a"), value_reply("bb"));
    stage
        .server
        .follow(on_get(vec![Act::Trickle(text.clone().into())]));
    let mut c = stage.client();
    for _ in 0..20 {
        c.ask("get a bb\r\n", &text);
    }
}

#[test]
fn floods_do_not_fill_the_memory() {
    let mut stage = Stage::set(|s| s);
    let idle = stage.router.process().rss_kib();
    let floods: [(&str, Vec<u8>); 3] = [
        ("a line without an end", vec![b'x'; 8 << 20]),
        (
            "one value again and again",
            value_reply("a").repeat(500_000).into_bytes(),
        ),
        ("more ENDs than questions", b"END\r\n".repeat(1_000_000)),
    ];
    for (name, bytes) in floods {
        eprintln!("{name}");
        stage.server.follow(on_get(vec![Act::Send(bytes)]));
        everyone_gets_an_answer(&stage, name);
        let now = stage.router.process().rss_kib();
        assert!(
            now < idle + 32 * 1024,
            "{name}: memory grew from {idle} KiB to {now} KiB"
        );
        stage.recovers();
    }
}

#[test]
fn a_large_value_that_breaks_off_ends_the_connection_it_has_begun_to_reach() {
    let mut stage = Stage::set(|s| s);
    let idle = stage.router.process().rss_kib();
    for (announced, sent) in [(3_000_000, 1_500_000), (200_000_000, 8_000_000)] {
        for last in [vec![Act::Close], vec![Act::Reset], vec![]] {
            let head = format!("VALUE a 0 {announced}\r\n");
            let bytes = [head.as_bytes(), &vec![b'v'; sent]].concat();
            stage
                .server
                .follow(on_get([vec![Act::Send(bytes)], last].concat()));
            let mut c = stage.client();
            c.send("get a\r\nget bb\r\n");
            let line = c.line() + "\r\n";
            if line == head {
                // What has been sent cannot be taken back, and nothing else may follow it.
                let rest = c.read_to_end();
                assert!(rest.iter().all(|b| *b == b'v') && rest.len() <= sent);
            } else {
                assert_eq!(line, "END\r\n");
                check_get(&mut c, &["bb"]);
            }
            let now = stage.router.process().rss_kib();
            assert!(
                now < idle + 48 * 1024,
                "memory grew from {idle} KiB to {now} KiB"
            );
            stage.recovers();
        }
    }
}

#[test]
fn a_server_that_does_not_introduce_itself_is_not_used() {
    for greeting in [
        "",
        "ERROR\r\n",
        "hello\r\n",
        "END\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "VERSION",
    ] {
        let server = Scripted::start(move |command| match command.verb() {
            "version" => Act::say(greeting),
            _ => Act::say("VALUE a 0 3\r\nbad\r\nEND\r\n"),
        });
        let router = Setup::new([server.addr()])
            .pool("connect_timeout = \"200ms\"")
            .pool("timeout = \"300ms\"")
            .start();
        let mut c = router.client();
        c.ask("get a\r\n", "END\r\n");
        c.send("set a 0 0 1\r\nx\r\n");
        let line = c.line();
        assert!(
            line.starts_with("SERVER_ERROR "),
            "greeted with {greeting:?}: {line}"
        );
        let asked = server
            .log()
            .into_iter()
            .filter(|command| command.verb() != "version")
            .count();
        assert_eq!(
            asked, 0,
            "it was sent requests after greeting with {greeting:?}"
        );
    }
}
