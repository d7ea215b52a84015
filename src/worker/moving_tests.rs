//! What replies are taken for, and which updates need what was there before.

use super::*;

fn command(class: Class, head: &str) -> Retained {
    let op = Op::Command {
        class,
        head: head.as_bytes(),
        block: b"",
        guard: b"",
    };
    Retained::new(b"k", op)
}

#[test]
fn updates_are_told_apart_by_what_they_need() {
    let meta = Class::Meta { own_opaque: true };
    for (class, head, want) in [
        (Class::Delete, "delete k\r\n", Update::Delete),
        (Class::Store, "set k 0 0 1\r\n", Update::Set),
        (Class::Store, "add k 0 0 1\r\n", Update::Other),
        (Class::Store, "cas k 0 0 1 7\r\n", Update::Other),
        (Class::Arith, "incr k 1\r\n", Update::Other),
        (Class::Touch, "touch k 0\r\n", Update::Other),
        (meta, "md k O1\r\n", Update::Delete),
        (meta, "md Ik O1\r\n", Update::Delete),
        (meta, "md k I T30 O1\r\n", Update::Other),
        (meta, "md k C5\r\n", Update::Other),
        (meta, "ms k 1 T0 F5 O1\r\n", Update::Set),
        (meta, "ms k 1 MS\r\n", Update::Set),
        (meta, "ms k 1 ME\r\n", Update::Other),
        (meta, "ms k 1 MA\r\n", Update::Other),
        (meta, "ms k 1 C9\r\n", Update::Other),
        (meta, "ma k D2\r\n", Update::Other),
        (Class::MetaDebug, "me k\r\n", Update::Debug),
    ] {
        assert_eq!(Update::of(&command(class, head)), want, "{head}");
    }
}

#[test]
fn an_item_is_what_the_server_said() {
    let item = Item::of(b"VA 3 f7 t-1 c15\r\nabc\r\n").unwrap();
    assert_eq!((item.flags, item.ttl, item.cas), (7, -1, &b"15"[..]));
    assert!(item.is_good());
    assert_eq!(item.as_value(b"key"), b"VALUE key 7 3\r\nabc\r\n");
    for odd in [
        &b"VA 3 f7 t-1\r\nabc\r\n"[..],
        b"VA 3 fx t-1 c15\r\nabc\r\n",
        b"VA 3 f99999999999 t-1 c15\r\nabc\r\n",
        b"HD\r\n",
        b"",
    ] {
        assert!(Item::of(odd).is_none(), "{}", odd.escape_ascii());
    }
    // A last second may be over before the copy is made; what is stale is not spread.
    for bad in [
        "VA 0 f0 t0 c1\r\n\r\n",
        "VA 0 f0 t5 c1 X\r\n\r\n",
        "VA 0 f0 t5 c1 W\r\n\r\n",
    ] {
        assert!(!Item::of(bad.as_bytes()).unwrap().is_good(), "{bad}");
    }
}

#[test]
fn a_deletion_that_only_the_previous_server_could_do_is_one() {
    let answer = as_deleted(Answer::Line(Kind::NotFound, b"NOT_FOUND\r\n".to_vec()));
    assert!(matches!(answer, Answer::Line(Kind::Deleted, line) if line == b"DELETED\r\n"));
    let answer = as_deleted(Answer::Line(Kind::MetaNotFound, b"NF kx Oq\r\n".to_vec()));
    assert!(matches!(answer, Answer::Line(Kind::MetaHeader, line) if line == b"HD kx Oq\r\n"));
    let answer = as_deleted(Answer::Line(Kind::MetaExists, b"EX\r\n".to_vec()));
    assert!(matches!(answer, Answer::Line(Kind::MetaExists, _)));
}
