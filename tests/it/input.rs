//! Input as it arrives: bad, split, late, in one piece, with every kind of line end.
//!
//! Protects: the connection survives what memcached's survives and closes where memcached closes it; a value
//! never becomes a command; how the bytes were split on the way changes nothing.

use crate::both::Both;
use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::router::Cluster;

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";
const BAD_CHUNK: &str = "CLIENT_ERROR bad data chunk\r\n";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";

#[test]
fn keys_of_any_bytes_up_to_250() {
    let longest = "k".repeat(250);
    let too_long = "k".repeat(251);
    Both::start()
        .each(|c| {
            for key in [
                &longest.clone().into_bytes()[..],
                b"k\x01",
                b"k\xff\xfe",
                b"k\x7f\r.",
                b"\t",
                b"VALUE",
                b"END",
                b"0",
                "schlüssel".as_bytes(),
            ] {
                let set = [b"set ", key, b" 5 0 2\r\nab\r\n"].concat();
                let value = [b"VALUE ", key, b" 5 2\r\nab\r\nEND\r\n"].concat();
                c.ask(set, "STORED\r\n");
                c.ask([b"get ", key, b"\r\n"].concat(), &value);
                c.ask([b"gat 0 ", key, b"\r\n"].concat(), &value);
                c.ask(
                    [b"mg ", key, b" k v\r\n"].concat(),
                    [b"VA 2 k", key, b"\r\nab\r\n"].concat(),
                );
                c.ask([b"delete ", key, b"\r\n"].concat(), "DELETED\r\n");
            }
            c.ask(format!("delete {too_long}\r\n"), BAD_LINE);
            c.ask(format!("incr {too_long} 1\r\n"), BAD_LINE);
            c.ask(format!("touch {too_long} 1\r\n"), BAD_LINE);
            c.ask(format!("mg {too_long} v\r\n"), BAD_LINE);
            c.fence();
        })
        .ringroad(|c| {
            // One too long key in a get: an error and nothing else, however many good ones there are.
            c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
            c.ask(format!("get {too_long}\r\n"), BAD_LINE);
            c.ask(format!("get a {too_long} a\r\n"), BAD_LINE);
            c.ask(format!("gets a a {too_long}\r\n"), BAD_LINE);
            c.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
            // A NUL would end the line early in some servers and not in others.
            c.ask("get a\0b\r\n", BAD_LINE);
            c.ask("set a\0b 0 0 1\r\nx\r\n", BAD_LINE);
            c.ask("mg a\0b v\r\n", BAD_LINE);
            c.ask("delete a\0\r\n", BAD_LINE);
            c.fence();
        });
}

#[test]
fn command_lines_may_end_in_a_bare_newline_but_data_blocks_may_not() {
    Both::start()
        .each(|c| {
            c.ask("set a 0 0 3\nabc\r\n", "STORED\r\n");
            c.ask("get a\n", "VALUE a 0 3\r\nabc\r\nEND\r\n");
            c.ask("mg a v\n", "VA 3\r\nabc\r\n");
            c.ask("ms a 1\nx\r\n", "HD\r\n");
            c.ask(
                "get  a   a \r\n",
                "VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
            );
            c.ask("set  a  0  0  1 \r\ny\r\n", "STORED\r\n");
        })
        .newer(|c| {
            c.ask(
                "set a 0 0 1\nx\nversion\r\n",
                format!("{BAD_CHUNK}ERROR\r\n"),
            );
            c.fence();
        });
}

#[test]
fn a_refused_set_does_not_run_its_value_as_a_command() {
    Both::start()
        .newer(|c| {
            let too_long = "k".repeat(251);
            c.ask("set victim 0 0 1\r\nx\r\n", "STORED\r\n");
            for line in [
                format!("set {too_long} 0 0 15"),
                "set a abc 0 15".into(),
                "set a -1 0 15".into(),
                "set a 0 abc 15".into(),
                "set a 0 99999999999999999999 15".into(),
                "cas a 0 0 15".into(),
                "cas a 0 0 15 abc".into(),
                format!("ms {too_long} 15"),
                "add a 0x1 0 15".into(),
            ] {
                c.ask(format!("{line}\r\ndelete victim 0\r\n"), BAD_LINE);
                c.fence();
            }
            c.ask("get victim\r\n", "VALUE victim 0 1\r\nx\r\nEND\r\n");
            // An older one takes this for 0.
            c.ask(
                "set a 0 0 4294967296\r\nnonsense\r\n",
                format!("{BAD_LINE}ERROR\r\n"),
            );
        })
        .each(|c| {
            // Without a length that can be believed there is nothing to swallow.
            for length in [
                "-1",
                "abc",
                "2147483648",
                "18446744073709551615",
                "100000000000000000000",
            ] {
                c.ask(
                    format!("set a 0 0 {length}\r\nnonsense\r\n"),
                    format!("{BAD_LINE}ERROR\r\n"),
                );
                c.ask(
                    format!("ms a {length}\r\nnonsense\r\n"),
                    format!("{BAD_LINE}ERROR\r\n"),
                );
            }
            c.ask("ms a S3\r\nnonsense\r\n", format!("{BAD_LINE}ERROR\r\n"));
            c.fence();
        });
}

#[test]
fn numbers_as_memcached_reads_them() {
    Both::start().each(|c| {
        c.ask("set a 4294967296 0 1\r\nx\r\n", "STORED\r\n");
        c.ask("set a 00 00 01\r\nx\r\n", "STORED\r\n");
        c.ask("set a +1 0 1\r\nx\r\n", "STORED\r\n");
        c.ask("get a\r\n", "VALUE a 1 1\r\nx\r\nEND\r\n");
        c.ask("set a 0 0 1 extra\r\nx\r\n", "STORED\r\n");
        c.ask("set n 0 0 2\r\n10\r\n", "STORED\r\n");
        c.ask("incr n 007\r\n", "17\r\n");
        c.ask(
            "incr n abc\r\n",
            "CLIENT_ERROR invalid numeric delta argument\r\n",
        );
        c.ask("decr n 1 extra\r\n", "16\r\n");
        c.ask(
            "touch n abc\r\n",
            "CLIENT_ERROR invalid exptime argument\r\n",
        );
        c.ask("verbosity abc\r\n", BAD_LINE);
    });
}

#[test]
fn numbers_and_flags_that_only_look_right() {
    const BAD_EXPTIME: &str = "CLIENT_ERROR invalid exptime argument\r\n";
    const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta argument\r\n";
    Both::start().newer(|c| {
        c.ask("set k 0 0 1\r\n1\r\n", "STORED\r\n");
        // Without a length there is no telling where the next command begins, so the error is shown in any case.
        for line in [
            "set k 0 0 abc noreply",
            "set k 0 0 -1 noreply",
            "cas k 0 0 abc 1 noreply",
            "cas k 0 0 99999999999 noreply",
        ] {
            c.ask(format!("{line}\r\n"), BAD_LINE);
        }
        // Flags and exptime of a `set` may have a tail after white space, no other number may.
        c.ask("set k 0\tz 0\tz 1\r\n1\r\n", "STORED\r\n");
        for tail in ["\t", "\tz", "\r", "\r^", "\u{b}", "x"] {
            c.ask(format!("touch k 0{tail}\r\n"), BAD_EXPTIME);
            c.ask(format!("gat 0{tail} k\r\n"), BAD_EXPTIME);
            c.ask(format!("incr k 1{tail}\r\n"), BAD_DELTA);
            c.ask(format!("cas k 0 0 1 1{tail}\r\nx\r\n"), BAD_LINE);
        }
        c.ask("gat +1 k\r\n", BAD_EXPTIME)
            .ask("incr k +1\r\n", BAD_DELTA)
            .ask("incr k -\r\n", BAD_DELTA);
        // A minus sign alone is a zero.
        c.ask("touch none -\r\n", "NOT_FOUND\r\n")
            .ask("gat - none\r\n", "END\r\n");
        c.ask("set k 0 0 -\r\n\r\n", "STORED\r\n");
        // The binary protocol begins with its first byte or not at all.
        c.ask(b"\x80x\r\n", "ERROR\r\n");
        for line in [
            "mg k q q",
            "md k q q",
            "mg k k k",
            "mg k O1 O2",
            "mg YWJj b b",
        ] {
            c.ask(format!("{line}\r\n"), "CLIENT_ERROR duplicate flag\r\n");
        }
        c.ask("ms k 1 q q\r\nx\r\n", "CLIENT_ERROR duplicate flag\r\n");
        c.ask("ma k q q\r\n", "CLIENT_ERROR invalid or duplicate flag\r\n");
        c.fence();
    });
}

#[test]
fn a_data_block_of_the_wrong_length() {
    Both::start().newer(|c| {
        c.ask("set a 0 0 3\r\nabc\r\n", "STORED\r\n");
        c.ask(
            "set a 0 0 3\r\nabcdef\r\n",
            format!("{BAD_CHUNK}{BAD_LINE}"),
        );
        c.ask(
            "set a 0 0 3\r\nabcdefghi\r\n",
            format!("{BAD_CHUNK}ERROR\r\n"),
        );
        c.ask(
            "set a 0 0 3\r\nab\r\n\r\n",
            format!("{BAD_CHUNK}{BAD_LINE}"),
        );
        c.ask(
            "set a 0 0 3\r\nab\r\nversion\r\n",
            format!("{BAD_CHUNK}ERROR\r\n"),
        );
        c.ask("ms a 3\r\nabcdef\r\n", format!("{BAD_CHUNK}{BAD_LINE}"));
        c.fence();
    });
}

#[test]
fn a_value_too_large_is_swallowed_and_removes_the_old_one() {
    let body = format!("{}\r\n", "a".repeat(2_000_000));
    Both::start().each(|c| {
        for (line, reply, old_stays) in [
            ("set k 0 0 2000000", TOO_LARGE, false),
            ("set k 0 0 2000000 noreply", "", false),
            ("add k 0 0 2000000", TOO_LARGE, true),
            ("append k 0 0 2000000", TOO_LARGE, true),
            ("prepend k 0 0 2000000", TOO_LARGE, true),
            ("ms k 2000000", TOO_LARGE, false),
            ("ms k 2000000 MA", TOO_LARGE, false),
            ("ms k 2000000 ME", TOO_LARGE, false),
            ("ms aw== 2000000 b", TOO_LARGE, false),
            ("ms k 2000000 q", TOO_LARGE, false),
            ("replace k 0 0 2000000", TOO_LARGE, true),
            ("cas k 0 0 2000000 1", TOO_LARGE, true),
        ] {
            eprintln!("{line}");
            c.ask("set k 0 0 3\r\nold\r\n", "STORED\r\n");
            c.send(format!("{line}\r\n")).send(&body).expect(reply);
            let left = if old_stays {
                "VALUE k 0 3\r\nold\r\nEND\r\n"
            } else {
                "END\r\n"
            };
            c.ask("get k\r\n", left);
        }
    });
}

#[test]
fn what_closes_the_connection_and_what_does_not() {
    let both = Both::start();
    for opening in [
        "quit\r\n".to_owned(),
        "quit foo\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.0\r\n\r\n".to_owned(),
        "x".repeat(3000),
        "x".repeat(70_000),
    ] {
        both.each(|c| {
            let _ = c.try_send(&opening);
            c.expect_closed();
        });
    }
    both.ringroad(|c| {
        // The binary protocol: a closed connection at once, not silence until the client gives up.
        let _ = c.try_send([
            0x80, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        c.expect_closed();
    });
    both.each(|c| {
        c.ask(format!("{}\r\n", "x".repeat(1500)), "ERROR\r\n");
        c.ask("foo\r\nfoo bar baz\r\n", "ERROR\r\nERROR\r\n");
        c.ask("get\tk\r\n", "ERROR\r\n");
        c.fence();
        // Requests before the quit are answered, those after it are not.
        c.send("set a 0 0 1\r\nx\r\nget a\r\nquit\r\nget a\r\n");
        c.expect("STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
        c.expect_closed();
    });
}

/// A conversation that has something of everything, and its replies.
fn mixture() -> (Vec<u8>, Vec<u8>) {
    let parts: &[(&str, &str)] = &[
        ("set s1 5 0 5\r\nhel\nl\r\n", "STORED\r\n"),
        ("set s2 0 0 10 noreply\r\nEND\r\nEND\r\n\r\n", ""),
        ("get s1\n", "VALUE s1 5 5\r\nhel\nl\r\nEND\r\n"),
        (
            "get s1 none s2 s1\r\n",
            "VALUE s1 5 5\r\nhel\nl\r\nVALUE s2 0 10\r\nEND\r\nEND\r\n\r\nVALUE s1 5 5\r\nhel\nl\r\nEND\r\n",
        ),
        ("foo\r\n", "ERROR\r\n"),
        ("set s3 0 0 2\r\n10\r\n", "STORED\r\n"),
        ("incr s3 7\r\n", "17\r\n"),
        (
            "incr s3 x\r\n",
            "CLIENT_ERROR invalid numeric delta argument\r\n",
        ),
        ("ms s4 3 F3 q\r\na\r\n\r\n", ""),
        ("mg s4 f v Oq\r\n", "VA 3 f3 Oq\r\na\r\n\r\n"),
        ("mg none q\r\nmn\r\n", "MN\r\n"),
        ("delete s4\r\n", "DELETED\r\n"),
        ("gat 0 s1\r\n", "VALUE s1 5 5\r\nhel\nl\r\nEND\r\n"),
        ("touch s1 0\r\n", "TOUCHED\r\n"),
        ("set s3 0 0 -1\r\n", BAD_LINE),
        ("mn\r\n", "MN\r\n"),
    ];
    let join = |f: fn(&(&str, &str)) -> Vec<u8>| parts.iter().flat_map(f).collect();
    (
        join(|p| p.0.as_bytes().to_vec()),
        join(|p| p.1.as_bytes().to_vec()),
    )
}

#[test]
fn split_at_every_byte() {
    let (requests, replies) = mixture();
    let memcached = Memcached::start();
    memcached.client().ask(&requests, &replies);

    let cluster = Cluster::with(3, |setup| setup.top("workers = 1"));
    // With one worker, an answer to another client shows that the first part has been read.
    let mut other = cluster.client();
    for at in 0..=requests.len() {
        let (first, second) = requests.split_at(at);
        let mut c = cluster.client();
        c.send(first);
        other.fence();
        c.send(second).expect(&replies);
    }
}

#[test]
fn byte_by_byte_and_all_at_once() {
    let (requests, replies) = mixture();
    let cluster = Cluster::start(3);
    let mut c = cluster.client();
    for byte in &requests {
        c.send([*byte]);
    }
    c.expect(&replies);
    // A hundred times over in one write.
    c.pipeline(&requests.repeat(100), &replies.repeat(100));
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    let (requests, replies) = mixture();
    Both::start().each(|c| {
        c.send(&requests);
        c.finish_sending();
        c.expect(&replies);
        c.expect_closed();
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_disturbs_nobody() {
    let cluster = Cluster::with(3, |setup| setup.top("workers = 1"));
    let mut victim = cluster.client();
    victim.ask("set v 0 0 5\r\nvalue\r\n", "STORED\r\n");
    let big = "b".repeat(500_000);
    victim.ask(format!("set big 0 0 500000\r\n{big}\r\n"), "STORED\r\n");
    let leavings: [&[u8]; 8] = [
        b"get v\r\nget big\r\nget v\r\n",
        b"set half 0 0 100\r\nabc",
        b"set half 0 0 10",
        b"get v v v v",
        b"mg big v\r\nms half 10 q\r\nabc",
        b"get big\r\nget big\r\nget big\r\nget big\r\n",
        b"incr",
        b"\r",
    ];
    for round in 0..20 {
        for leaving in leavings {
            let mut c = cluster.client();
            c.send(leaving);
            if round % 2 == 0 {
                c.reset();
            } else {
                drop(c);
            }
            victim.ask(
                "get v none\r\nmg v v\r\n",
                "VALUE v 0 5\r\nvalue\r\nEND\r\nVA 5\r\nvalue\r\n",
            );
        }
    }
    victim.ask("get half\r\n", "END\r\n");
}

#[test]
fn an_error_while_the_data_block_is_still_on_its_way_shifts_nothing() {
    let cluster = Cluster::with(3, |setup| setup.top("workers = 1"));
    let mut other = cluster.client();
    let mut c = cluster.client();
    let mut slowly = |c: &mut Client, text: &str| {
        for part in text.as_bytes().chunks(3) {
            c.send(part);
            other.fence();
        }
    };
    slowly(&mut c, "set k abc 0 21\r\nget k\r\nget k\r\nget k\r\n\r\n");
    c.expect(BAD_LINE);
    slowly(&mut c, "set k 0 0 3\r\nabc\r\nget k\r\n");
    c.expect("STORED\r\nVALUE k 0 3\r\nabc\r\nEND\r\n");
    c.fence();
}
