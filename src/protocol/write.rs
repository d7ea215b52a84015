//! Requests as they are sent to servers.
//!
//! Commands are written anew rather than copied: `noreply` and the quiet flag are left out, so that every
//! request has exactly one reply and replies can be matched by counting; numbers are normalised; a meta
//! command without an opaque gets one, so that its reply can be checked.

use super::meta::words;
use super::request::{LeaseSet, Meta, MetaCommand, Store, StoreCommand};

/// `<command> <key> <flags> <exptime> <bytes> [<cas>]\r\n`
pub fn store(store: &Store<'_>, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(store.command.name());
    out.push(b' ');
    out.extend_from_slice(store.key);
    out.push(b' ');
    out.extend_from_slice(number.format(store.flags).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(store.exptime).as_bytes());
    out.push(b' ');
    out.extend_from_slice(
        number
            .format(store.block.len().saturating_sub(2))
            .as_bytes(),
    );
    if store.command == StoreCommand::Cas {
        out.push(b' ');
        out.extend_from_slice(number.format(store.cas).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `lease-set <key> <token> <flags> <exptime> <bytes>\r\n`
pub fn lease_set(set: &LeaseSet<'_>, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"lease-set ");
    out.extend_from_slice(set.key);
    out.push(b' ');
    out.extend_from_slice(number.format(set.token).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(set.flags).as_bytes());
    out.push(b' ');
    out.extend_from_slice(number.format(set.exptime).as_bytes());
    out.push(b' ');
    let len = set.block.len().saturating_sub(2);
    out.extend_from_slice(number.format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `delete <key>\r\n`; with the `0` that memcached takes behind it if the key is a word by which it would tell that nobody
/// wants a reply.
pub fn delete(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"delete ");
    out.extend_from_slice(key);
    if key == b"noreply" {
        out.extend_from_slice(b" 0");
    }
    out.extend_from_slice(b"\r\n");
}

/// `incr|decr <key> <delta>\r\n`
pub fn arith(incr: bool, key: &[u8], delta: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(if incr { b"incr " } else { b"decr " });
    out.extend_from_slice(key);
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(delta).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `touch <key> <exptime>\r\n`
pub fn touch(key: &[u8], exptime: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"touch ");
    out.extend_from_slice(key);
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(exptime).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `flush_all [<delay>]\r\n`
pub fn flush_all(delay: Option<i32>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"flush_all");
    if let Some(delay) = delay {
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(delay).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The line of a meta command without its quiet flag, with `opaque` added unless that is empty.
pub fn meta(meta: &Meta<'_>, opaque: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(meta.command.name());
    out.push(b' ');
    out.extend_from_slice(meta.key);
    if meta.command == MetaCommand::Set {
        out.push(b' ');
        let len = meta.block.len().saturating_sub(2);
        out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    }
    for word in words(meta.flags_text) {
        if word.first() == Some(&b'q') && meta.flags.quiet {
            continue;
        }
        out.push(b' ');
        out.extend_from_slice(word);
    }
    if !opaque.is_empty() {
        out.extend_from_slice(b" O");
        out.extend_from_slice(opaque);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{Limits, Parsed, Request, parse};

    fn rewritten(text: &[u8], opaque: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match parse(text, &Limits::default()) {
            Parsed::Request {
                request: Request::Store(s),
                ..
            } => store(&s, &mut out),
            Parsed::Request {
                request: Request::Meta(m),
                ..
            } => meta(&m, opaque, &mut out),
            other => panic!("{other:?}"),
        }
        out
    }

    #[test]
    fn a_deletion_is_always_answered() {
        for (key, line) in [("k", "delete k\r\n"), ("noreply", "delete noreply 0\r\n")] {
            let mut out = Vec::new();
            delete(key.as_bytes(), &mut out);
            assert_eq!(out, line.as_bytes());
        }
    }

    #[test]
    fn requests_are_normalised_and_always_answered() {
        assert_eq!(
            rewritten(b"set  k +01 -1 03 noreply\r\nabc\r\n", b""),
            b"set k 1 -1 3\r\n"
        );
        assert_eq!(
            rewritten(b"cas k 0 0 3 7 noreply\r\nabc\r\n", b""),
            b"cas k 0 0 3 7\r\n"
        );
        assert_eq!(rewritten(b"mg k  v q k\r\n", b"1f"), b"mg k v k O1f\r\n");
        assert_eq!(
            rewritten(b"ms k 2 T0 Oxy q\r\nhi\r\n", b""),
            b"ms k 2 T0 Oxy\r\n"
        );
    }
}
