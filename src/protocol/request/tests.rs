use super::*;
use crate::protocol::write;
use proptest::prelude::*;

fn one(text: &[u8]) -> (usize, Request<'_>) {
    match parse(text, &Limits::default()) {
        Parsed::Request { len, request } => (len, request),
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

fn error(text: &[u8]) -> (ErrorKind, bool, usize, usize) {
    match one(text) {
        (len, Request::Refused(r)) => (r.error, r.noreply, r.swallow, len),
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

#[test]
fn retrievals() {
    let (len, request) = one(b"get a\r\nget b\r\n");
    assert_eq!(len, 7);
    assert_eq!(
        request,
        Request::Get(Get {
            command: GetCommand::Get,
            exptime: 0,
            count: 1,
            keys: b"a"
        })
    );
    let (_, Request::Get(get)) = one(b"gets  a  b a \n") else {
        panic!()
    };
    assert_eq!(get.count, 3);
    assert_eq!(get.keys().collect::<Vec<_>>(), [b"a", b"b", b"a"]);
    let (_, Request::Get(get)) = one(b"gats -1 k\r\n") else {
        panic!()
    };
    assert_eq!((get.exptime, get.count, get.keys), (-1, 1, &b"k"[..]));
    let long = [b"get ".as_slice(), &[b'k'; 250], b"\r\n"].concat();
    assert!(matches!(one(&long).1, Request::Get(_)));
    assert!(matches!(one(b"get k\x01\xff\r\n").1, Request::Get(_)));
}

#[test]
fn refusals_have_memcacheds_text_and_swallow_what_has_a_length() {
    use ErrorKind::*;
    let long = "k".repeat(251);
    for (text, want) in [
        ("get\r\n".to_owned(), (BadFormat, false, 0)),
        ("get \r\n".into(), (BadFormat, false, 0)),
        ("gat 0\r\n".into(), (BadFormat, false, 0)),
        ("gat x k\r\n".into(), (BadExptime, false, 0)),
        (format!("get a {long}\r\n"), (BadFormat, false, 0)),
        (" get k\r\n".into(), (UnknownCommand, false, 0)),
        ("\r\n".into(), (BadFormat, false, 0)),
        ("\n".into(), (BadFormat, false, 0)),
        (" \r\n".into(), (BadFormat, false, 0)),
        ("f\r\n".into(), (BadFormat, false, 0)),
        ("GET K\r\n".into(), (UnknownCommand, false, 0)),
        ("get\tK\r\n".into(), (UnknownCommand, false, 0)),
        ("foo noreply\r\n".into(), (UnknownCommand, true, 0)),
        ("set\r\n".into(), (BadFormat, false, 0)),
        ("set K 0 0\r\n".into(), (BadFormat, false, 0)),
        ("set K 0 0 -1\r\n".into(), (BadFormat, false, 0)),
        ("set K 0 0 2147483648\r\n".into(), (BadFormat, false, 0)),
        (
            "set K 0 0 18446744073709551615\r\n".into(),
            (BadFormat, false, 0),
        ),
        ("set K abc 0 3\r\n".into(), (BadFormat, false, 5)),
        ("set K -1 0 3\r\n".into(), (BadFormat, false, 5)),
        (
            "set K 0 99999999999999999999 1\r\n".into(),
            (BadFormat, false, 3),
        ),
        (
            format!("set {long} 0 0 3 noreply\r\n"),
            (BadFormat, true, 5),
        ),
        ("cas K 0 0 3\r\n".into(), (BadFormat, false, 5)),
        ("cas K 0 0 3 noreply\r\n".into(), (BadFormat, true, 5)),
        ("cas K 0 0 3 abc\r\n".into(), (BadFormat, false, 5)),
        ("set K 0 0 2000000\r\n".into(), (TooLarge, false, 2000002)),
        ("incr K\r\n".into(), (BadFormat, false, 0)),
        ("incr K abc noreply\r\n".into(), (BadDelta, true, 0)),
        ("incr K -1\r\n".into(), (BadDelta, false, 0)),
        ("touch K\r\n".into(), (BadFormat, false, 0)),
        ("touch K abc\r\n".into(), (BadExptime, false, 0)),
        ("verbosity\r\n".into(), (BadFormat, false, 0)),
        ("verbosity abc\r\n".into(), (BadFormat, false, 0)),
        ("flush_all abc\r\n".into(), (BadExptime, false, 0)),
        ("shutdown\r\n".into(), (ShutdownDisabled, false, 0)),
        ("mg\r\n".into(), (BadFormat, false, 0)),
        (format!("mg {long}\r\n"), (BadFormat, false, 0)),
        ("mg !!! b v\r\n".into(), (BadKeyEncoding, false, 0)),
        ("ms K\r\n".into(), (BadFormat, false, 0)),
        ("ms K abc\r\n".into(), (BadFormat, false, 0)),
        ("ms K S3\r\n".into(), (BadFormat, false, 0)),
        // Lengths that only some versions accept, and flags that stop the tokenizer.
        ("set K 0 0 +3\r\n".into(), (BadFormat, false, 0)),
        ("set K 0 0 3\tx\r\n".into(), (BadFormat, false, 0)),
        ("set K 0 0 000000000003\r\n".into(), (BadFormat, false, 0)),
        ("ms K +3\r\n".into(), (BadFormat, false, 0)),
        ("ms K 3 !\r\n".into(), (BadFormat, false, 0)),
        ("ms K 3 T0 \u{80}\r\n".into(), (BadFormat, false, 0)),
        ("mg K {\r\n".into(), (BadFormat, false, 0)),
        ("gat +1 K\r\n".into(), (BadExptime, false, 0)),
        ("flush_all +1\r\n".into(), (BadExptime, false, 0)),
        (format!("ms {long} 3\r\n"), (BadFormat, false, 5)),
        ("get a\0b\r\n".into(), (BadFormat, false, 0)),
    ] {
        let (kind, noreply, swallow, len) = error(text.as_bytes());
        assert_eq!((kind, noreply, swallow), want, "{text:?}");
        assert_eq!(len, text.len());
    }
}

#[test]
fn a_too_large_value_takes_the_old_one_with_it_only_where_it_would_replace_it() {
    let evict = |text: &'static [u8]| match one(text).1 {
        Request::Refused(r) => r.evict.map(|e| (e.key, e.base64)),
        other => panic!("{other:?}"),
    };
    assert_eq!(evict(b"set K 0 0 2000000\r\n"), Some((&b"K"[..], false)));
    assert_eq!(evict(b"ms K 2000000 T0\r\n"), Some((&b"K"[..], false)));
    assert_eq!(evict(b"append K 0 0 2000000\r\n"), None);
    assert_eq!(evict(b"add K 0 0 2000000\r\n"), None);
    // Asked of memcached 1.6.18; 1.6.45's source says the same.
    assert_eq!(evict(b"ms K 2000000 MA\r\n"), Some((&b"K"[..], false)));
    assert_eq!(evict(b"ms K 2000000 ME\r\n"), Some((&b"K"[..], false)));
    assert_eq!(evict(b"ms YWJj 2000000 b\r\n"), Some((&b"YWJj"[..], true)));
}

/// Both ways of reading a meta get say the same of it.
#[test]
fn a_plain_meta_get_is_what_a_close_look_makes_of_it() {
    let words = [
        "",
        " v",
        " k",
        " v k f",
        " t c s v f k",
        " v v",
        " v k k",
        " v v v v v v v v v",
    ];
    for words in words {
        let plain = format!("mg key{words}\r\nmn\r\n");
        let close = format!("mg key {words}\r\nmn\r\n");
        let ((len, one), (close_len, other)) = (one(plain.as_bytes()), one(close.as_bytes()));
        assert_eq!((len + 1, one), (close_len, other), "{plain:?}");
    }
}

/// What is passed on as it came must be what would be written; what isn't plain is looked at closely.
#[test]
fn the_line_of_a_plain_set_is_as_it_would_be_written() {
    let mut plain = 0;
    for key in ["a", "k\t", &"k".repeat(250)] {
        for (flags, exptime) in [
            ("0", "0"),
            ("999999999", "3"),
            ("01", "0"),
            ("0", "-1"),
            ("+1", "0"),
        ] {
            for (between, end) in [(" ", "\r\n"), ("  ", "\r\n"), (" ", "\n"), (" ", " \r\n")] {
                let words = ["set", key, flags, exptime, "3"].join(between);
                let text = format!("{words}{end}abc\r\n");
                let Parsed::Request { len, request } = parse(text.as_bytes(), &Limits::default())
                else {
                    panic!("{text:?}");
                };
                let Request::Store(store) = request else {
                    continue;
                };
                assert_eq!((len, store.block), (text.len(), &b"abc\r\n"[..]));
                let mut written = Vec::new();
                write::store(&store, &mut written);
                assert!(store.line.is_empty() || store.line == written, "{text:?}");
                plain += usize::from(store.line == written);
            }
        }
    }
    // A tab in a key makes it one that is looked at closely, though it is written as it came.
    assert_eq!(plain, 4);
}

#[test]
fn stores_carry_their_block() {
    let (len, request) = one(b"set a 4294967297 -1 5 noreply\r\nhello\r\nget a\r\n");
    assert_eq!(len, 38);
    assert_eq!(
        request,
        Request::Store(Store {
            command: StoreCommand::Set,
            key: b"a",
            flags: 1,
            exptime: -1,
            cas: 0,
            noreply: true,
            line: b"",
            block: b"hello\r\n"
        })
    );
    let (_, Request::Store(store)) = one(b"set a 0 0 3 noreply extra\r\nabc\r\n") else {
        panic!()
    };
    assert!(!store.noreply, "only the last word counts");
    let (_, Request::Store(store)) = one(b"cas a 0 0 3 5 noreply\r\nabc\r\n") else {
        panic!()
    };
    assert_eq!((store.cas, store.noreply), (5, true));
    assert_eq!(
        parse(b"set a 0 0 5\r\nhel", &Limits::default()),
        Parsed::More { total: 20 }
    );
}

#[test]
fn a_bad_chunk_consumes_exactly_the_announced_length() {
    let (kind, noreply, swallow, len) = error(b"set a 0 0 3\r\nabcdef\r\n");
    assert_eq!((kind, noreply, swallow), (ErrorKind::BadChunk, false, 0));
    assert_eq!(
        len, 18,
        "the line and five bytes; the rest is the next command"
    );
    assert_eq!(error(b"ms a 3 q\r\nabcdef\r\n").0, ErrorKind::BadChunk);
}

#[test]
fn meta_commands_are_passed_on_with_what_a_router_needs() {
    let (_, Request::Meta(meta)) = one(b"mg  K  v k q Oabc\r\n") else {
        panic!()
    };
    assert_eq!(meta.key, b"K");
    assert_eq!(meta.flags_text, b"v k q Oabc");
    assert!(meta.flags.quiet && meta.flags.key && !meta.flags.base64);
    assert_eq!(meta.flags.opaque, Some(&b"abc"[..]));
    let (len, Request::Meta(meta)) = one(b"ms YWJj 2 b T0\r\nhi\r\n") else {
        panic!()
    };
    assert_eq!((len, meta.block), (20, &b"hi\r\n"[..]));
    assert_eq!(meta.item_key(&mut [0; meta::MAX_DECODED]), b"abc");
    assert_eq!(one(b"mn x\r\n").1, Request::MetaNoop);
}

#[test]
fn what_is_not_memcached_closes() {
    let close = |text: &[u8]| match parse(text, &Limits::default()) {
        Parsed::Close(reason) => Some(reason),
        _ => None,
    };
    assert!(is_binary(b"\x80\n"));
    assert_eq!(close(b"\x80xx\r\n"), None, "only the first byte counts");
    assert_eq!(close(b"GET / HTTP/1.1\r\n"), Some(CloseReason::Http));
    assert_eq!(close(&[b'x'; 3000]), Some(CloseReason::EndlessLine));
    assert_eq!(close(&[b'x'; 2048]), None);
    let mut gets = b"get ".to_vec();
    gets.resize(100_000, b'k');
    assert_eq!(close(&gets), None);
    gets.resize(5_000_000, b'k');
    assert_eq!(close(&gets), Some(CloseReason::EndlessLine));
}

#[test]
fn delete_ignores_everything_but_noreply_at_the_end() {
    for (text, noreply) in [
        (&b"delete K\r\n"[..], false),
        (b"delete K 0\r\n", false),
        (b"delete K 5\r\n", false),
        (b"delete K noreply extra\r\n", false),
        (b"delete K noreply\r\n", true),
        (b"delete K 0 noreply\r\n", true),
    ] {
        assert_eq!(one(text).1, Request::Delete { key: b"K", noreply });
    }
}

/// Command lines that resemble real ones far more often than random bytes would.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "get",
            "gets",
            "gat",
            "set",
            "add",
            "cas",
            "incr",
            "delete",
            "touch",
            "ms",
            "mg",
            "mn",
            "me",
            "noreply",
            "0",
            "1",
            "3",
            "-1",
            "5",
            "k",
            "key",
            "abc",
            "q",
            "k",
            "b",
            "O1",
            "YWJj",
            "flush_all",
            "stats",
            "verbosity",
            "2147483648",
            "99999999999999999999",
            "HTTP/1.1",
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let piece = (
        word,
        prop::sample::select(vec![" ", " ", " ", "  ", "\r\n", "\r\n", "\n", ""]),
    )
        .prop_map(|(mut w, sep)| {
            w.extend_from_slice(sep.as_bytes());
            w
        });
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn replay(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let limits = Limits::default();
    let mut log = Vec::new();
    let mut buf: Vec<u8> = Vec::new();
    let mut skip = 0usize;
    let mut start = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|c| c % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    for end in ends {
        buf.extend_from_slice(&stream[start..end]);
        start = end;
        loop {
            let eaten = skip.min(buf.len());
            buf.drain(..eaten);
            skip -= eaten;
            if buf.is_empty() || skip > 0 {
                break;
            }
            match parse(&buf, &limits) {
                Parsed::More { .. } => break,
                Parsed::Close(reason) => {
                    log.push(format!("{reason:?}"));
                    return log;
                }
                Parsed::Request { len, request } => {
                    assert!(len > 0 && len <= buf.len());
                    if let Request::Refused(r) = &request {
                        skip = r.swallow;
                    }
                    log.push(format!("{request:?}"));
                    buf.drain(..len);
                }
            }
        }
    }
    log
}

proptest! {
    #[test]
    fn any_split_gives_the_same_requests(stream in streams(), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        prop_assert_eq!(replay(&stream, &[]), replay(&stream, &cuts));
    }
}
