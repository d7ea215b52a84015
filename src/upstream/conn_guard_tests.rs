//! What a server may answer and what breaks the connection, so that no reply reaches the wrong request.

use super::*;

#[test]
fn the_beginning_of_a_foreign_large_value_is_not_passed_on() {
    let mut b = Bench::default();
    b.get(1, "mine");
    b.flush();
    assert_eq!(
        b.receive(b"VALUE other 0 100000\r\nsecret"),
        Err(Broken::WrongKey)
    );
    assert!(b.heard().is_empty());
    assert_eq!(b.broken_off(), [1]);
}

#[test]
fn whatever_was_not_asked_for_breaks_the_connection_and_reaches_nobody() {
    let get = |b: &mut Bench| {
        b.get(1, "a");
    };
    let gets_meta =
        |b: &mut Bench| b.command(1, Class::Meta { own_opaque: true }, "mg a O5\r\n", "5");
    let set = |b: &mut Bench| b.command(1, Class::Store, "set a 0 0 0\r\n\r\n", "");
    let debug = |b: &mut Bench| b.command(1, Class::MetaDebug, "me a\r\n", "");
    type Case<'a> = (&'a dyn Fn(&mut Bench), &'a [u8], Broken);
    let cases: Vec<Case<'_>> = vec![
        (&get, b"VALUE b 0 1\r\nx\r\n", Broken::WrongKey),
        (&get, b"VALUE ab 0 1\r\nx\r\n", Broken::WrongKey),
        (&get, b"VALUE  0 1\r\nx\r\n", Broken::WrongKey),
        (&get, b"VALUE a 0 1\r\nxyz", Broken::Garbage),
        (&get, b"VALUE a 0 99999999999\r\n", Broken::Garbage),
        (&get, b"VALUE a 0 2000000000\r\n", Broken::Garbage),
        (&get, b"VALUE a\r\n", Broken::Garbage),
        (&get, b"STORED\r\n", Broken::WrongKind),
        (&get, b"HD O5\r\n", Broken::WrongKind),
        (&get, b"hello\r\n", Broken::Garbage),
        (&get, b"\r\n", Broken::Garbage),
        (&get, &[b'x'; 5000], Broken::Garbage),
        (&gets_meta, b"HD O6\r\n", Broken::WrongKey),
        (&gets_meta, b"HD O55\r\n", Broken::WrongKey),
        (&gets_meta, b"HD\r\n", Broken::WrongKey),
        (&gets_meta, b"EN O6\r\n", Broken::WrongKey),
        (&gets_meta, b"VA 1 O6\r\nx\r\n", Broken::WrongKey),
        (&gets_meta, b"VA 100000 O6\r\nx", Broken::WrongKey),
        (&gets_meta, b"VA 1 O5\r\nxyz", Broken::Garbage),
        (&gets_meta, b"VA 2000000000 O5\r\n", Broken::Garbage),
        (&gets_meta, b"STORED\r\n", Broken::WrongKind),
        (&gets_meta, b"ME a x\r\n", Broken::WrongKind),
        (&set, b"DELETED\r\n", Broken::WrongKind),
        (&set, b"END\r\n", Broken::WrongKind),
        (&set, b"STORED \r\n", Broken::Garbage),
        (&set, b"12\r\n", Broken::WrongKind),
        (&debug, b"HD\r\n", Broken::WrongKind),
    ];
    for (ask, answer, broken) in cases {
        let mut b = Bench::default();
        ask(&mut b);
        b.flush();
        let shown = answer[..answer.len().min(40)].escape_ascii().to_string();
        assert_eq!(b.receive(answer), Err(broken), "{shown}");
        assert!(b.heard().is_empty(), "{shown}");
        assert_eq!(b.broken_off(), [1], "{shown}");
    }
}

#[test]
fn bytes_after_the_last_reply_were_not_asked_for() {
    let mut b = Bench::default();
    assert_eq!(b.receive(b"END\r\n"), Err(Broken::Unasked));
    let mut b = Bench::default();
    b.get(1, "a");
    b.flush();
    assert_eq!(b.receive(b"END\r\nE"), Err(Broken::Unasked));
    assert_eq!(b.heard(), ["1.0 miss"], "what came before is right");
}

#[test]
fn each_class_takes_its_own_answers() {
    let all = [
        (
            Class::Store,
            vec!["STORED", "NOT_STORED", "EXISTS", "NOT_FOUND"],
        ),
        (Class::Delete, vec!["DELETED", "NOT_FOUND"]),
        (Class::Arith, vec!["0", "18446744073709551615", "NOT_FOUND"]),
        (Class::Touch, vec!["TOUCHED", "NOT_FOUND"]),
        (Class::Flush, vec!["OK"]),
        (Class::MetaDebug, vec!["ME a exp=-1", "EN", "EN O1"]),
        (
            Class::Meta { own_opaque: false },
            vec![
                "HD O1", "VA 0 O1|", "EN O1", "EN", "NF O1", "NS O1", "EX O1",
            ],
        ),
    ];
    let mut texts: Vec<&str> = all
        .iter()
        .flat_map(|(_, answers)| answers.clone())
        .collect();
    texts.push("END");
    texts.push("VERSION 1.6");
    for (class, answers) in &all {
        for text in &texts {
            let mut b = Bench::default();
            let opaque = if matches!(class, Class::Meta { .. }) {
                "1"
            } else {
                ""
            };
            b.command(1, *class, "x\r\n", opaque);
            b.flush();
            let wire = format!("{text}\r\n").replace('|', "\r\n");
            let fits = b.receive(wire.as_bytes()).is_ok();
            let expected = answers.contains(text);
            assert_eq!(fits, expected, "{class:?} {text}");
            assert_eq!(b.heard().len(), usize::from(expected));
        }
        for error in ["ERROR", "CLIENT_ERROR x", "SERVER_ERROR x"] {
            let mut b = Bench::default();
            b.command(1, *class, "x\r\n", "");
            b.flush();
            b.receive(format!("{error}\r\n").as_bytes()).unwrap();
            assert_eq!(b.heard(), [format!("1.0 error {error}|")]);
        }
    }
}

#[test]
fn an_opaque_is_taken_out_wherever_it_stands() {
    for (line, shown) in [
        ("HD O5", "HD|"),
        ("HD kO5 O5 s1", "HD kO5 s1|"),
        ("HD O5 t-1", "HD t-1|"),
        ("VA 2 f1 O5|ab", "VA 2 f1|ab|"),
        ("EN", "EN|"),
    ] {
        let mut b = Bench::default();
        b.command(1, Class::Meta { own_opaque: true }, "mg a O5\r\n", "5");
        b.flush();
        b.receive(format!("{line}\r\n").replace('|', "\r\n").as_bytes())
            .unwrap();
        assert_eq!(b.heard(), [format!("1.0 reply {shown}")]);
    }
}

#[test]
fn a_key_may_come_back_as_the_item_was_stored() {
    for (line, fits) in [
        ("HD ka O5", true),
        ("HD kYQ== O5 b", true),
        ("VA 1 kYQ== b O5|x", true),
        ("HD kYg== b O5", false),
        ("HD kYQ== O5", false),
        ("HD kb b O5", false),
    ] {
        let mut b = Bench::default();
        let own = Class::Meta { own_opaque: true };
        b.command(1, own, "mg a k O5\r\n", "5 a");
        b.flush();
        let wire = format!("{line}\r\n").replace('|', "\r\n");
        assert_eq!(b.receive(wire.as_bytes()).is_ok(), fits, "{line}");
    }
}

#[test]
fn a_large_value_without_its_line_end_breaks_the_connection() {
    for bad in [&b"x\n"[..], b"\rx"] {
        for split in 0..3 {
            let mut b = Bench::default();
            b.get(1, "a");
            b.flush();
            let head = format!("VALUE a 0 {STREAM_ABOVE}\r\n");
            b.receive(head.as_bytes()).unwrap();
            b.receive(&vec![b'v'; STREAM_ABOVE - 1]).unwrap();
            let end = [b"v", bad].concat();
            let (one, two) = end.split_at(split);
            let outcome = b.receive(one).and_then(|()| b.receive(two));
            assert_eq!(outcome, Err(Broken::Garbage), "split at {split}");
        }
    }
}

#[test]
fn an_answer_to_what_has_not_been_written_yet_was_not_asked_for() {
    for (answer, kind) in [("END", 0), ("STORED", 1), ("HD O1", 2)] {
        for written_before in [false, true] {
            let mut b = Bench::default();
            if written_before {
                b.get(9, "before");
                b.flush();
            }
            match kind {
                0 => drop(b.get(1, "a")),
                1 => b.command(1, Class::Store, "set a 0 0 0\r\n\r\n", ""),
                _ => b.command(1, Class::Meta { own_opaque: false }, "mg a O1\r\n", "1"),
            }
            if written_before {
                b.receive(b"END\r\n").unwrap();
                b.heard();
            }
            let line = format!("{answer}\r\n");
            assert_eq!(b.receive(line.as_bytes()), Err(Broken::Unasked), "{answer}");
            assert!(b.heard().is_empty());
            assert_eq!(b.broken_off(), [1]);
        }
    }
}

#[test]
fn a_late_reply_is_checked_like_any_other() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.flush();
    b.conn.expire(SECOND, |_| {}, |_, _| {});
    assert_eq!(b.receive(b"VALUE b 0 1\r\nx\r\n"), Err(Broken::WrongKey));
}
