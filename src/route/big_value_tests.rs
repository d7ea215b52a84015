use super::*;
use proptest::prelude::*;

const META: Class = Class::Meta { own_opaque: true };

#[test]
fn metadata_is_what_mcrouter_writes() {
    let value = vec![b'x'; 25];
    let metadata = Metadata::of(&value, 10);
    assert_eq!(metadata.chunks, 3);
    assert_eq!(metadata.suffix, u64::from(spooky32(&value, 0)));
    assert_eq!(metadata.text(), format!("1-3-{}", metadata.suffix));
    assert_eq!(Metadata::parse(metadata.text().as_bytes()), Some(metadata));
    let key = metadata.chunk_key(b"k", 2);
    assert_eq!(key, format!("k:2:{}", metadata.suffix).as_bytes());
    assert!(metadata.is_of(&value) && !metadata.is_of(&value[1..]));
    assert_eq!(Metadata::of(&value, 5).chunks, 5);
    assert_eq!(Metadata::of(&value, 24).chunks, 2);
}

#[test]
fn what_is_no_metadata_is_none() {
    for bad in [
        "",
        "1",
        "1-2",
        "1-2-",
        "1--3",
        "2-2-3",
        "1-0-3",
        "1-2-3-4",
        "1-2-3 ",
        " 1-2-3",
        "1-2-3x",
        "1-2--3",
        "+1-2-3",
        "1-4294967296-3",
        "1-2-18446744073709551616",
    ] {
        assert_eq!(Metadata::parse(bad.as_bytes()), None, "{bad}");
    }
    let wide = Metadata::parse(b"1-2-18446744073709551615").unwrap();
    assert_eq!((wide.chunks, wide.suffix), (2, u64::MAX));
}

#[test]
fn the_longest_chunk_key_decides_whether_a_key_will_do() {
    let metadata = Metadata {
        chunks: 11,
        suffix: 1234567890,
    };
    // `:10:1234567890`
    assert!(metadata.has_keys(&[b'k'; 236]));
    assert!(!metadata.has_keys(&[b'k'; 237]));
}

#[test]
fn updates_that_replace_a_value_are_split_and_no_others() {
    let of = |class, head: &str| Update::of(class, head.as_bytes(), b"k");
    let update = |flags, exptime| Some(Update { flags, exptime });
    assert_eq!(of(Class::Store, "set k 5 -1 9000\r\n"), update(5, -1));
    assert_eq!(of(Class::Store, "cas k 0 60 9000 77\r\n"), update(0, 60));
    assert_eq!(of(Class::Store, "add k 0 0 9\r\n"), update(0, 0));
    assert_eq!(of(Class::Store, "append k 0 0 9\r\n"), None);
    assert_eq!(of(Class::Store, "prepend k 0 0 9\r\n"), None);
    assert_eq!(of(META, "ms k 9000\r\n"), update(0, 0));
    assert_eq!(of(META, "ms k 9 T30 F7 MS k O1\r\n"), update(7, 30));
    assert_eq!(of(META, "ms k 9 ME C5\r\n"), update(0, 0));
    for bad in ["MA", "MP", "Mappend", "Fx", "T", "F1 F2", "T1 T1", "M"] {
        assert_eq!(of(META, &format!("ms k 9 {bad}\r\n")), None, "{bad}");
    }
    assert_eq!(Update::of(META, b"ms AAA= 9 b\r\n", b"\0\0"), None);
    assert_eq!(Update::of(META, b"ms YWJj 9 b\r\n", b"abc"), update(0, 0));
    assert_eq!(of(META, "md k q\r\n"), None);
    assert_eq!(of(Class::Delete, "delete k\r\n"), None);
}

#[test]
fn the_metadata_goes_where_the_value_would_have_gone() {
    let head = |class, head: &str| {
        let update = Update::of(class, head.as_bytes(), b"k").unwrap();
        String::from_utf8(metadata_head(class, head.as_bytes(), update, 12)).unwrap()
    };
    let store = |text| head(Class::Store, text);
    assert_eq!(store("set k 5 60 9000\r\n"), "set k 32773 60 12\r\n");
    assert_eq!(store("cas k 0 0 9000 77\r\n"), "cas k 32768 0 12 77\r\n");
    assert_eq!(
        head(META, "ms k 9000 T9 F5 k O1 q\r\n"),
        "ms k 12 T9 k O1 q F32773\r\n"
    );
    let update = Update {
        flags: 5,
        exptime: -1,
    };
    assert_eq!(chunk_head(b"k:0:1", update, 10), b"set k:0:1 5 -1 10\r\n");
}

#[test]
fn flags_are_seen_in_either_protocol() {
    for (reply, flagged) in [
        (&b"VALUE k 32768 9\r\n1-3-12345\r\n"[..], true),
        (b"VALUE k 32769 9 77\r\n", true),
        (b"VALUE k 5 9\r\n1-3-12345\r\n", false),
        (b"VALUE 32768 0 32768\r\n", false),
        (b"VA 9 f32768 kx\r\n1-3-12345\r\n", true),
        (b"VA 9 kf32768 f5\r\n", false),
        (b"VA 9\r\n", false),
        (b"HD f32768\r\n", false),
        (b"VALUE k 32768", false),
        (b"", false),
    ] {
        assert_eq!(is_flagged(reply), flagged, "{}", reply.escape_ascii());
    }
}

#[test]
fn the_reply_is_that_of_the_metadata_with_the_length_of_the_whole() {
    let joined = |head: &str, flags| {
        String::from_utf8(joined_head(head.as_bytes(), 3_000_000, flags)).unwrap()
    };
    let text = "VALUE k 32773 9 77\r\n";
    assert_eq!(joined(text, Flags::Shown), "VALUE k 32773 3000000 77\r\n");
    assert_eq!(joined(text, Flags::Cleaned), "VALUE k 5 3000000 77\r\n");
    let meta = "VA 9 s9 f32773 kfs O1 t30\r\n";
    assert_eq!(
        joined(meta, Flags::Shown),
        "VA 3000000 s3000000 f32773 kfs O1 t30\r\n"
    );
    assert_eq!(
        joined(meta, Flags::Cleaned),
        "VA 3000000 s3000000 f5 kfs O1 t30\r\n"
    );
    assert_eq!(
        joined(meta, Flags::Removed),
        "VA 3000000 s3000000 kfs O1 t30\r\n"
    );
}

#[test]
fn a_meta_get_without_flags_is_asked_for_them_and_they_are_taken_out_again() {
    assert_eq!(with_flags(b"mg k v O1\r\n").unwrap(), b"mg k v O1 f\r\n");
    assert_eq!(with_flags(b"mg k v f\r\n"), None);
    assert_eq!(with_flags(b"mg k t\r\n"), None);
    assert_eq!(with_flags(b"mg v\r\n"), None, "that is the key");
    let without = |head: &[u8]| {
        let mut out = Vec::new();
        without_flags(head, &mut out);
        out
    };
    assert_eq!(without(b"VA 1 kfoo f0\r\n"), b"VA 1 kfoo\r\n");
    assert_eq!(without(b"VA 1 kfoo\r\n"), b"VA 1 kfoo\r\n");
    let (stale, told) = (b"VA 1 t9 f0 W X Z\r\n", b"VA 1 t9 W X Z\r\n");
    assert_eq!(without(stale), told, "memcached adds words behind them");
    assert_eq!(without(b"VA 0 W\r\n"), b"VA 0 W\r\n");
    assert_eq!(exptime_of(b"mg k v T30\r\n"), Some(30));
    assert_eq!(exptime_of(b"mg T30 v\r\n"), None);
}

proptest! {
    #[test]
    fn nothing_that_a_server_or_client_sends_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = (Metadata::parse(&bytes), is_flagged(&bytes), with_flags(&bytes), exptime_of(&bytes));
        for flags in [Flags::Shown, Flags::Cleaned, Flags::Removed] {
            joined_head(&bytes, 1, flags);
        }
        without_flags(&bytes, &mut Vec::new());
        for class in [Class::Store, META] {
            if let Some(update) = Update::of(class, &bytes, b"k") {
                metadata_head(class, &bytes, update, 1);
            }
        }
    }

    #[test]
    fn every_metadata_is_read_as_it_was_written(chunks in 1u32.., suffix: u64) {
        let metadata = Metadata { chunks, suffix };
        prop_assert_eq!(Metadata::parse(metadata.text().as_bytes()), Some(metadata));
    }
}
