use proptest::prelude::*;

use super::super::server::Options;
use super::super::store::Store;
use super::*;

const NOW: Now = Now(1_800_000_000);

fn store() -> Store {
    Store::new(Options::default(), NOW)
}

/// Everything a session answers to `bytes`, given in one piece.
fn answer(session: &mut Session, store: &Store, bytes: &[u8]) -> (Vec<u8>, Fate) {
    let mut all = Vec::new();
    let mut input = bytes;
    loop {
        let mut out = Vec::new();
        let fate = session.feed(store, NOW, input, &mut out);
        all.extend_from_slice(&out);
        if fate != Fate::Full {
            return (all, fate);
        }
        input = b"";
    }
}

/// A dialogue on a fresh connection to `store`: requests and replies in turns.
fn dialogue(store: &Store, turns: &[(&str, &str)]) {
    let mut session = Session::new();
    for (request, reply) in turns {
        let (got, fate) = answer(&mut session, store, request.as_bytes());
        assert_eq!(String::from_utf8_lossy(&got), *reply, "{request}");
        assert_eq!(fate, Fate::Open);
    }
}

#[test]
fn numbers_are_kept_as_memcached_keeps_them() {
    // Each of these was asked of 1.6.18.
    dialogue(
        &store(),
        &[
            ("set n 0 0 2\r\n10\r\nincr n 5\r\n", "STORED\r\n15\r\n"),
            ("decr n 6\r\nget n\r\n", "9\r\nVALUE n 0 2\r\n9 \r\nEND\r\n"),
            ("decr n 100\r\n", "0\r\n"),
            (
                "incr n 18446744073709551615\r\n",
                "18446744073709551615\r\n",
            ),
            (
                "incr n 1\r\nget n\r\n",
                "0\r\nVALUE n 0 20\r\n0                   \r\nEND\r\n",
            ),
            (
                "set n 3 0 6\r\n10 abc\r\nincr n 1\r\nget n\r\n",
                "STORED\r\n11\r\nVALUE n 3 6\r\n11    \r\nEND\r\n",
            ),
            ("set n 0 0 4\r\n5\0ab\r\nincr n 1\r\n", "STORED\r\n6\r\n"),
            ("set n 0 0 2\r\n+5\r\nincr n 1\r\n", "STORED\r\n6\r\n"),
            (
                "set n 0 0 2\r\n-5\r\nincr n 1\r\n",
                "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            ),
            (
                "set n 0 0 0\r\n\r\nma n C77\r\n",
                "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            ),
            ("set n 0 0 1\r\na\r\nma n C77\r\n", "STORED\r\nEX\r\n"),
            (
                "set n 0 0 4\r\n5abc\r\nincr n 1 noreply\r\nincr n 1\r\n",
                "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            ),
        ],
    );
}

#[test]
fn an_item_is_too_large_at_the_same_byte_as_in_memcached() {
    // Found by bisection with 1.6.18 and its default of 1 MiB.
    for (line, len) in [
        ("set K 0 0", 1_048_516),
        ("set K 5 0", 1_048_512),
        ("ms KKKK", 1_048_513),
    ] {
        let store = store();
        for (len, fits) in [(len, true), (len + 1, false)] {
            let mut session = Session::new();
            let line = format!("{line} {len}\r\n");
            let (early, _) = answer(&mut session, &store, line.as_bytes());
            let too_large = ErrorKind::TooLarge.wire();
            assert_eq!(early, if fits { b"" } else { too_large }, "{line}");
            let mut value = vec![b'v'; len];
            value.extend_from_slice(b"\r\nmn\r\n");
            let (rest, _) = answer(&mut session, &store, &value);
            assert!(rest.ends_with(b"MN\r\n"));
            assert_eq!(rest.len() > 4, fits);
            // In one piece, and with a line end that is none: the line decides.
            value.splice(..0, line.bytes());
            let (whole, _) = answer(&mut Session::new(), &store, &value);
            assert_eq!(whole.starts_with(too_large), !fits);
            if !fits {
                let end = value.len() - 6;
                value[end..end + 2].copy_from_slice(b"xy");
                let (bad, _) = answer(&mut Session::new(), &store, &value);
                assert_eq!(bad, [too_large, b"MN\r\n"].concat());
                assert!(
                    store.is_empty(),
                    "the value that was to be replaced is gone"
                );
            }
        }
    }
}

#[test]
fn a_too_large_value_takes_the_old_one_along_except_for_add_and_append() {
    let value = "v".repeat(2_000_000);
    for (line, stays) in [
        ("set abc 0 0 2000000", false),
        ("set abc 0 0 2000000 noreply", false),
        ("add abc 0 0 2000000", true),
        ("append abc 0 0 2000000", true),
        ("cas abc 0 0 2000000 1", true),
        ("ms abc 2000000", false),
        ("ms abc 2000000 MA", false),
        ("ms YWJj 2000000 b ME", false),
        ("ms abc 2000000 MX", true),
        ("ms abc 2000000 v v", true),
    ] {
        let store = store();
        let mut session = Session::new();
        let _ = answer(&mut session, &store, b"set abc 0 0 1\r\nx\r\n");
        let request = format!("{line}\r\n{value}\r\nmn\r\n");
        let (got, _) = answer(&mut session, &store, request.as_bytes());
        assert!(got.ends_with(b"MN\r\n"), "{line}");
        assert_eq!(store.is_empty(), !stays, "{line}");
    }
}

#[test]
fn an_append_that_would_be_too_large_stores_nothing() {
    let store = store();
    let half = "a".repeat(600_000);
    dialogue(
        &store,
        &[
            (&format!("set K 5 0 600000\r\n{half}\r\n"), "STORED\r\n"),
            (
                &format!("append K 0 0 600000\r\n{half}\r\n"),
                "NOT_STORED\r\n",
            ),
            (&format!("ms K 600000 MP\r\n{half}\r\n"), "NS\r\n"),
            ("mg K s f\r\n", "HD s600000 f5\r\n"),
        ],
    );
}

#[test]
fn output_stops_where_it_is_full_and_goes_on_in_the_same_get() {
    let store = store();
    let mut session = Session::new();
    let value = vec![b'v'; 100_000];
    for key in ["a", "b"] {
        let set = [
            format!("set {key} 0 0 100000\r\n").as_bytes(),
            &value,
            b"\r\n",
        ]
        .concat();
        let _ = answer(&mut session, &store, &set);
    }
    let mut line = b"get".to_vec();
    for _ in 0..100 {
        line.extend_from_slice(b" a nope b");
    }
    line.extend_from_slice(b"\r\nversion\r\n");
    let mut all = Vec::new();
    let mut input = &line[..];
    let mut turns = 0;
    loop {
        let mut out = Vec::new();
        let fate = session.feed(&store, NOW, input, &mut out);
        assert!(out.len() <= OUT_FULL + 100_100);
        all.extend_from_slice(&out);
        turns += 1;
        if fate == Fate::Open {
            break;
        }
        assert_eq!(fate, Fate::Full);
        input = b"";
    }
    assert!(turns > 50);
    let value = String::from_utf8(value).unwrap();
    let one = |key: &str| format!("VALUE {key} 0 100000\r\n{value}\r\n");
    let want = format!(
        "{}END\r\nVERSION {VERSION}\r\n",
        (one("a") + &one("b")).repeat(100)
    );
    assert!(all == want.as_bytes());
    assert_eq!(session.held(), 0);
    assert_eq!(
        store.lock().counters.get_cmds,
        300,
        "no key was asked for twice"
    );
}

#[test]
fn memory_is_taken_as_bytes_arrive_and_given_back() {
    let store = store();
    let mut session = Session::new();
    let _ = answer(&mut session, &store, b"set k 0 0 1000000\r\nabc");
    assert!(session.held() < 100, "the length alone takes nothing");
    for _ in 0..10 {
        let _ = answer(&mut session, &store, &[b'x'; 50_000]);
    }
    assert!(session.held() < 1_100_000);
    let _ = answer(&mut session, &store, &[b'x'; 499_997]);
    let (got, _) = answer(&mut session, &store, b"\r\n");
    assert_eq!(got, b"STORED\r\n");
    assert_eq!(session.held(), 0);
    // A refused value is not kept at all.
    let _ = answer(&mut session, &store, b"set k 0 0 2000000000\r\n");
    for _ in 0..10 {
        let _ = answer(&mut session, &store, &[b'x'; 50_000]);
        assert_eq!(session.held(), 0);
    }
}

#[test]
fn a_line_may_only_be_long_if_it_asks_for_many_keys() {
    let store = store();
    let mut session = Session::new();
    assert_eq!(answer(&mut session, &store, &[b'x'; 2048]).1, Fate::Open);
    assert_eq!(answer(&mut session, &store, b"x").1, Fate::Close);
    let mut session = Session::new();
    let _ = answer(&mut session, &store, b"get");
    for _ in 0..10_000 {
        let (got, fate) = answer(
            &mut session,
            &store,
            b" 0123456789 abcdefghijklmnopqrstuvwxyz",
        );
        assert_eq!((got.len(), fate), (0, Fate::Open));
    }
    assert_eq!(answer(&mut session, &store, b"\r\n").0, b"END\r\n");
    let mut fate = answer(&mut session, &store, b"get ").1;
    let mut sent = 0;
    while fate == Fate::Open {
        fate = answer(&mut session, &store, &[b'k'; 100_000]).1;
        sent += 100_000;
        assert!(sent < 5_000_000);
    }
    assert_eq!(fate, Fate::Close);
}

#[test]
fn replies_before_a_close_are_given() {
    let store = store();
    let mut session = Session::new();
    let (got, fate) = answer(&mut session, &store, b"mn\r\nquit\r\nmn\r\n");
    assert_eq!((&got[..], fate), (&b"MN\r\n"[..], Fate::Close));
}

#[test]
fn a_delayed_flush_takes_what_is_there_by_then() {
    let store = store();
    let ask = |now: u32, request: &str| {
        let mut out = Vec::new();
        let _ = Session::new().feed(&store, Now(now), request.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    ask(1000, "set a 0 0 1\r\na\r\n");
    assert_eq!(ask(1000, "flush_all 10\r\n"), "OK\r\n");
    ask(1005, "set b 0 0 1\r\nb\r\n");
    assert_eq!(ask(1008, "get a b\r\n").matches("VALUE").count(), 2);
    assert_eq!(ask(1009, "get a b\r\n"), "END\r\n");
    ask(1010, "set c 0 0 1\r\nc\r\n");
    assert_eq!(ask(1011, "get c\r\n").matches("VALUE").count(), 1);
    assert_eq!(ask(1012, "flush_all\r\nget c\r\n"), "OK\r\nEND\r\n");
    ask(1012, "set d 0 0 1\r\nd\r\n");
    assert_eq!(ask(1012, "get d\r\n").matches("VALUE").count(), 1);
}

#[test]
fn statistics_count_what_happened() {
    let store = store();
    let mut session = Session::new();
    let _ = answer(
        &mut session,
        &store,
        b"set a 0 0 1\r\n1\r\nset b 0 0 600000\r\n",
    );
    let _ = answer(&mut session, &store, &[b'b'; 600_000]);
    let _ = answer(
        &mut session,
        &store,
        b"\r\nget a nope\r\ngat 0 a nope\r\nincr a 1\r\ndecr nope 1\r\ndelete nope\r\ncas a 0 0 1 77\r\n1\r\n\
          mg a v\r\nmg a T30\r\ntouch a 0\r\nflush_all 100\r\nme a\r\nset big 0 0 5000000 noreply\r\n",
    );
    let stat = |args: &str| {
        let request = format!("stats{args}\r\n");
        let (text, _) = answer(&mut Session::new(), &store, request.as_bytes());
        String::from_utf8(text).unwrap()
    };
    let general = stat("");
    assert!(general.ends_with("\r\nEND\r\n"));
    for want in [
        "cmd_get 3",
        "get_hits 2",
        "get_misses 1",
        "cmd_set 3",
        "cmd_touch 4",
        "touch_hits 3",
        "touch_misses 1",
        "incr_hits 1",
        "decr_misses 1",
        "delete_misses 1",
        "cas_badval 1",
        "cmd_flush 1",
        "cmd_meta 1",
        "store_too_large 1",
        "curr_items 2",
        "total_items 2",
        "evictions 0",
        "limit_maxbytes 67108864",
        "bytes 600121",
        "version 1.6.45",
        "threads 1",
        "time 1800000000",
        "uptime 0",
    ] {
        assert!(
            general.contains(&format!("STAT {want}\r\n")),
            "{want}\n{general}"
        );
    }
    for (args, want) in [
        (" items", "STAT items:1:number 1\r\n"),
        (" items", "STAT items:39:mem_requested 600060\r\n"),
        (" slabs", "STAT 1:chunk_size 96\r\n"),
        (" slabs", "STAT 1:get_hits 2\r\n"),
        (" slabs", "STAT 39:used_chunks 2\r\n"),
        (" slabs", "STAT active_slabs 2\r\n"),
        (" sizes", "STAT 64 1\r\n"),
        (" settings", "STAT item_size_max 1048576\r\n"),
        (" conns", "END\r\n"),
        (" foo", "ERROR\r\n"),
        (" detail dump", "CLIENT_ERROR stats detail not allowed\r\n"),
        (" reset", "RESET\r\n"),
        (" ", "STAT get_hits 0\r\n"),
        (" ", "STAT curr_items 2\r\n"),
    ] {
        let got = stat(args);
        assert!(got.contains(want), "{args}: {want}\n{got}");
    }
}

#[test]
fn concurrent_increments_are_not_lost() {
    let store = store();
    let _ = answer(&mut Session::new(), &store, b"set n 0 0 1\r\n0\r\n");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = Session::new();
                for _ in 0..1000 {
                    let _ = answer(&mut session, &store, b"incr n 1 noreply\r\n");
                }
            });
        }
    });
    let (got, _) = answer(&mut Session::new(), &store, b"get n\r\n");
    assert_eq!(got, b"VALUE n 0 4\r\n4000\r\nEND\r\n");
}

/// Requests that mostly make sense, with some that do not, as one stream.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec!["a", "b", "YWJj", "abc", "n"]);
    let flags = prop::sample::subsequence(
        vec![
            "q", "k", "O1", "b", "v", "t", "c", "s", "f", "h", "l", "N30", "R40", "T50", "T-1",
            "C1", "E9", "I", "x", "MA", "MD", "D5", "J7", "F3", "u", "zz", "!",
        ],
        0..5,
    );
    let value = prop::collection::vec(any::<u8>(), 0..12);
    let piece =
        (0u8..12, key, flags, value, 0usize..4).prop_map(|(kind, key, flags, value, slip)| {
            let flags = flags.join(" ");
            let len = if slip == 3 {
                value.len() + 1
            } else {
                value.len()
            };
            let mut out = match kind {
                0 => format!("get {key} x {key}\r\n"),
                1 => format!("gats {slip} {key}\r\n"),
                2 | 3 => format!("set {key} {slip} 0 {len}\r\n"),
                4 => format!("append {key} 0 0 {len} noreply\r\n"),
                5 => format!("incr {key} {slip}\r\n"),
                6 => format!("mg {key} {flags}\n"),
                7 | 8 => format!("ms {key} {len} {flags}\r\n"),
                9 => format!("md {key} {flags}\r\n"),
                10 => format!("ma {key} {flags}\r\n"),
                _ => format!("delete {key}\r\nme {key}\r\nstats foo\r\n"),
            }
            .into_bytes();
            if matches!(kind, 2..=4 | 7 | 8) {
                out.extend_from_slice(&value);
                out.extend_from_slice(b"\r\n");
            }
            out
        });
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_replies(stream in streams(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let (one, other) = (store(), store());
        let want = answer(&mut Session::new(), &one, &stream);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let mut session = Session::new();
        let mut got = (Vec::new(), Fate::Open);
        let mut start = 0;
        for end in ends {
            if got.1 == Fate::Close {
                break;
            }
            let (out, fate) = answer(&mut session, &other, &stream[start..end]);
            got.0.extend_from_slice(&out);
            got.1 = fate;
            start = end;
        }
        prop_assert_eq!(got, want);
    }

    #[test]
    fn no_input_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10), stream in streams()) {
        let store = store();
        let mut session = Session::new();
        for piece in &pieces {
            if answer(&mut session, &store, piece).1 == Fate::Close {
                session = Session::new();
            }
        }
        // Damaged in places, requests that make sense reach further.
        let mut stream = stream;
        for piece in &pieces {
            if let [at, with, ..] = piece[..] && !stream.is_empty() {
                let at = usize::from(at) * 7 % stream.len();
                stream[at] = with;
            }
        }
        let _ = answer(&mut Session::new(), &store, &stream);
    }
}
