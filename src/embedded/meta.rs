//! The meta commands: `mg`, `ms`, `md`, `ma` and `me`, with all flags of memcached 1.6.45.
//!
//! Flags take effect, and come back, in the order in which they were sent: `t` before `T` shows the old time to
//! live. What a command has changed before it finds its opaque token too long stays changed, as in memcached.
//! A base64 key comes back as base64 where memcached remembers that it was one, and raw where it does not.
//!
//! <https://docs.memcached.org/protocols/meta/> describes the commands; where it leaves something open, what
//! memcached does counts. Keys arrive here as the request parser has checked them.

use super::change::{ArithError, Mode, Outcome, Put};
use super::item::{self, Item, Mark, Now};
use super::meta_flags::{ErrorLine, Flags, MAX_OPAQUE, OPAQUE_TOO_LONG, check_opaque};
use super::session::NOT_NUMERIC;
use super::store::Items;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{self, words};
use crate::protocol::request::{Meta, MetaCommand};

/// What `ma` says of any flag it does not like.
const BAD_ARITHMETIC_FLAG: ErrorLine = b"CLIENT_ERROR invalid or duplicate flag\r\n";

/// The answer to a command line whose key does not decode.
pub fn refuse_key(line: &[u8], now: Now) -> ErrorLine {
    match words(line).next() {
        Some(b"ma") => BAD_ARITHMETIC_FLAG,
        Some(b"me") => ErrorKind::BadFormat.wire(),
        Some(b"ms") => Flags::bad_key(after(line, 3), 3, now),
        _ => Flags::bad_key(after(line, 2), 2, now),
    }
}

/// What follows the first `count` words of a line.
pub fn after(line: &[u8], count: usize) -> &[u8] {
    let mut rest = line;
    for _ in 0..count {
        let start = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
        rest = rest.get(start..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default();
    }
    rest
}

/// What memcached finds wrong with an `ms` line before it has seen the data block, in its order: a bad flag, a
/// mode that there is not, a value that is too large (the old one goes), an opaque token that is too long.
///
/// `key` is as on the wire; `len` is the announced length.
pub fn refuse_set(
    key: &[u8],
    len: usize,
    flags_text: &[u8],
    items: &mut Items,
    now: Now,
) -> Result<(), ErrorLine> {
    let mut scratch = [0; meta::MAX_DECODED];
    let key = if meta::flags(flags_text).base64 {
        meta::decode_key(key, &mut scratch).ok_or(ErrorKind::BadKeyEncoding.wire())?
    } else {
        key
    };
    prepare_set(key, len, flags_text, items, now).map(|_| ())
}

fn prepare_set(
    key: &[u8],
    len: usize,
    flags_text: &[u8],
    items: &mut Items,
    now: Now,
) -> Result<(Flags, Mode, u32), ErrorLine> {
    let flags = Flags::read(flags_text, 3, now)?;
    let (mode, exptime) = flags.store_mode()?;
    if !items.fits(key.len(), len, flags.client_flags) {
        items.refuse_too_large(Some(key));
        return Err(ErrorKind::TooLarge.wire());
    }
    check_opaque(flags_text)?;
    Ok((flags, mode, exptime))
}

/// Carries a meta command out and appends its reply, if it has one.
pub fn execute(meta: &Meta<'_>, items: &mut Items, now: Now, out: &mut Vec<u8>) {
    let start = out.len();
    let mut scratch = [0; meta::MAX_DECODED];
    let key = Key {
        bytes: meta.item_key(&mut scratch),
        binary: meta.flags.base64,
    };
    let text = meta.flags_text;
    let result = match meta.command {
        MetaCommand::Get => get(&key, text, items, now, out),
        MetaCommand::Set => set(&key, meta, items, now, out),
        MetaCommand::Delete => delete(&key, text, items, now, out),
        MetaCommand::Arithmetic => arithmetic(&key, text, items, now, out),
        MetaCommand::Debug => {
            debug(key.bytes, items, now, out);
            Ok(())
        }
    };
    if let Err(line) = result {
        out.truncate(start);
        out.extend_from_slice(line);
    }
}

/// The key a command names, decoded.
struct Key<'a> {
    bytes: &'a [u8],
    binary: bool,
}

fn number(flag: u8, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b' ', flag]);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn key_flag(key: &[u8], binary: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b" k");
    if binary {
        encode_key(key, out);
        out.extend_from_slice(b" b");
    } else {
        out.extend_from_slice(key);
    }
}

fn opaque_flag(word: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorLine> {
    if word.len() > MAX_OPAQUE {
        return Err(OPAQUE_TOO_LONG);
    }
    out.push(b' ');
    out.extend_from_slice(word);
    Ok(())
}

fn ttl_flag(item: &Item, now: Now, out: &mut Vec<u8>) {
    if item.exptime == 0 {
        out.extend_from_slice(b" t-1");
    } else {
        number(b't', u64::from(item.ttl(now)), out);
    }
}

/// The flags that come back from every command, found or not: opaque and key.
fn identity(key: &Key<'_>, flags_text: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorLine> {
    for word in words(flags_text) {
        match word.first() {
            Some(b'O') => opaque_flag(word, out)?,
            Some(b'k') => key_flag(key.bytes, key.binary, out),
            _ => {}
        }
    }
    Ok(())
}

fn get(
    key: &Key<'_>,
    flags_text: &[u8],
    items: &mut Items,
    now: Now,
    out: &mut Vec<u8>,
) -> Result<(), ErrorLine> {
    let flags = Flags::read(flags_text, 2, now)?;
    let mut created = false;
    if flags.vivify.is_some() && items.find(key.bytes, false, now).is_none() {
        // It gets its expiry time when the flag's turn comes, and is shown once even if that has passed.
        let item = Item::new(Box::default(), 0, 0);
        items.link(key.bytes, item, flags.cas, now);
        created = true;
    }
    let Some(mut item) = items.find(key.bytes, !flags.no_bump, now) else {
        items.counters.get_cmds += 1;
        items.counters.get_misses += 1;
        out.extend_from_slice(b"EN");
        let start = out.len() - 2;
        identity(key, flags_text, out)?;
        out.extend_from_slice(b"\r\n");
        if flags.quiet {
            out.truncate(start);
        }
        return Ok(());
    };
    if !flags.late_bump && !flags.no_bump {
        item.bump(now);
    }
    // A client that has the value already is told so by its absence.
    let value = flags.value && flags.compare != Some(item.cas);
    if value {
        out.extend_from_slice(b"VA ");
        out.extend_from_slice(itoa::Buffer::new().format(item.value.len()).as_bytes());
    } else {
        out.extend_from_slice(b"HD");
    }
    let mut won = false;
    for word in words(flags_text) {
        match word.first() {
            Some(b'T') => item.exptime = flags.exptime.unwrap_or(0),
            Some(b'N') if created => {
                item.exptime = flags.vivify.unwrap_or(0);
                won = true;
            }
            Some(b'R') => {
                let soon = flags.recache.unwrap_or(0);
                if !created
                    && !item.has(Mark::TokenSent)
                    && item.exptime != 0
                    && item.exptime < soon
                {
                    won = true;
                }
            }
            Some(b's') => number(b's', item.value.len() as u64, out),
            Some(b't') => ttl_flag(&item, now, out),
            Some(b'c') => number(b'c', item.cas, out),
            Some(b'f') => number(b'f', u64::from(item.flags), out),
            Some(b'l') => number(b'l', u64::from(now.since(item.time)), out),
            Some(b'h') => number(b'h', u64::from(item.has(Mark::Fetched)), out),
            Some(b'O') => opaque_flag(word, out)?,
            Some(b'k') => key_flag(key.bytes, item.has(Mark::KeyBinary), out),
            _ => {}
        }
    }
    if item.has(Mark::TokenSent) {
        out.extend_from_slice(b" Z");
    }
    if item.has(Mark::Stale) {
        out.extend_from_slice(b" X");
        won |= !item.has(Mark::TokenSent);
    }
    if won {
        out.extend_from_slice(b" W");
        item.set(Mark::TokenSent, true);
    }
    out.extend_from_slice(b"\r\n");
    if value {
        out.extend_from_slice(&item.value);
        out.extend_from_slice(b"\r\n");
    }
    if flags.late_bump && !flags.no_bump {
        item.bump(now);
    }
    let size = item.size(key.bytes.len());
    drop(item);
    if flags.exptime.is_some() {
        items.counters.touch_cmds += 1;
        items.class_counters(size).touch_hits += 1;
    } else {
        items.counters.get_cmds += 1;
        items.class_counters(size).get_hits += 1;
    }
    Ok(())
}

fn set(
    key: &Key<'_>,
    meta: &Meta<'_>,
    items: &mut Items,
    now: Now,
    out: &mut Vec<u8>,
) -> Result<(), ErrorLine> {
    let value = meta.block.strip_suffix(b"\r\n").unwrap_or(meta.block);
    let (flags, mode, exptime) = prepare_set(key.bytes, value.len(), meta.flags_text, items, now)?;
    let put = Put {
        mode,
        key: key.bytes,
        value,
        flags: flags.client_flags,
        exptime,
        compare: flags.compare.unwrap_or(0),
        cas: flags.cas,
        allow_stale: flags.invalidate && mode == Mode::Cas,
        binary: key.binary,
    };
    let (code, cas, len) = match items.put(&put, now) {
        Outcome::Stored { cas, len } => (b"HD", cas, len),
        Outcome::Exists => (b"EX", 0, value.len()),
        Outcome::NotFound => (b"NF", 0, value.len()),
        Outcome::NotStored | Outcome::TooLarge => (b"NS", 0, value.len()),
    };
    if flags.quiet && code == b"HD" {
        return Ok(());
    }
    out.extend_from_slice(code);
    for word in words(meta.flags_text) {
        match word.first() {
            Some(b'O') => opaque_flag(word, out)?,
            Some(b'k') => key_flag(key.bytes, key.binary, out),
            Some(b'c') => number(b'c', cas, out),
            Some(b's') => number(b's', len as u64, out),
            _ => {}
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn delete(
    key: &Key<'_>,
    flags_text: &[u8],
    items: &mut Items,
    now: Now,
    out: &mut Vec<u8>,
) -> Result<(), ErrorLine> {
    let flags = Flags::read(flags_text, 2, now)?;
    check_opaque(flags_text)?;
    let old_cas = items.find(key.bytes, false, now).map(|item| item.cas);
    let code = match (old_cas, flags.compare) {
        (None, _) => {
            items.counters.delete_misses += 1;
            b"NF"
        }
        (Some(cas), Some(compare)) if cas != compare => {
            items.counters.delete_misses += 1;
            b"EX"
        }
        (Some(cas), _) => {
            remove_or_mark(key, &flags, cas, items, now);
            b"HD"
        }
    };
    if flags.quiet && code == b"HD" {
        return Ok(());
    }
    out.extend_from_slice(code);
    identity(key, flags_text, out)?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The effect of an `md` that has found its item.
fn remove_or_mark(key: &Key<'_>, flags: &Flags, old_cas: u64, items: &mut Items, now: Now) {
    if flags.clear_value {
        let emptied = Item::new(
            Box::default(),
            flags.client_flags,
            flags.exptime.unwrap_or(0),
        );
        let cas = flags.cas.unwrap_or(old_cas);
        items.link(key.bytes, emptied, Some(cas), now);
    }
    if flags.invalidate {
        let cas = flags.cas.unwrap_or_else(|| items.fresh_cas());
        if let Some(mut item) = items.find(key.bytes, false, now) {
            if let Some(exptime) = flags.exptime {
                item.exptime = exptime;
            }
            item.set(Mark::Stale, true);
            item.set(Mark::TokenSent, false);
            item.cas = cas;
        }
    } else if flags.clear_value {
        let size = item::size(key.bytes.len(), 0, flags.client_flags);
        items.class_counters(size).delete_hits += 1;
    } else {
        items.delete(key.bytes, now);
    }
}

fn arithmetic(
    key: &Key<'_>,
    flags_text: &[u8],
    items: &mut Items,
    now: Now,
    out: &mut Vec<u8>,
) -> Result<(), ErrorLine> {
    let flags = Flags::read(flags_text, 2, now).map_err(|_| BAD_ARITHMETIC_FLAG)?;
    let incr = match flags.mode {
        0 | b'I' | b'+' => true,
        b'D' | b'-' => false,
        _ => return Err(b"CLIENT_ERROR invalid mode for ma M token\r\n"),
    };
    let delta = flags.delta.unwrap_or(1);
    let compare = flags.compare.unwrap_or(0);
    let mut created = false;
    let value = match items.arith(key.bytes, incr, delta, compare, now) {
        Ok(value) => value,
        Err(ArithError::NotNumeric) => {
            return Err(NOT_NUMERIC);
        }
        Err(ArithError::NotFound) if flags.vivify.is_some() => {
            created = true;
            let initial = flags.initial.unwrap_or(0);
            let digits = itoa::Buffer::new().format(initial).as_bytes().into();
            items.link(key.bytes, Item::new(digits, 0, 0), flags.cas, now);
            initial
        }
        Err(error) => {
            if error == ArithError::Exists {
                out.extend_from_slice(b"EX");
            } else {
                items.count_arith_miss(incr);
                out.extend_from_slice(b"NF");
            }
            identity(key, flags_text, out)?;
            out.extend_from_slice(b"\r\n");
            return Ok(());
        }
    };
    // Just stored or changed, so it is there.
    let Some(mut item) = items.find(key.bytes, false, now) else {
        return Err(b"SERVER_ERROR out of memory\r\n");
    };
    if let Some(cas) = flags.cas {
        item.cas = cas;
    }
    let start = out.len();
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    if flags.value {
        out.extend_from_slice(b"VA ");
        out.extend_from_slice(itoa::Buffer::new().format(digits.len()).as_bytes());
    } else {
        out.extend_from_slice(b"HD");
    }
    for word in words(flags_text) {
        match word.first() {
            Some(b'c') => number(b'c', item.cas, out),
            Some(b't') => ttl_flag(&item, now, out),
            Some(b'T') => item.exptime = flags.exptime.unwrap_or(0),
            Some(b'N') if created => item.exptime = flags.vivify.unwrap_or(0),
            Some(b'O') => opaque_flag(word, out)?,
            Some(b'k') => key_flag(key.bytes, key.binary, out),
            _ => {}
        }
    }
    out.extend_from_slice(b"\r\n");
    if flags.value {
        out.extend_from_slice(digits);
        out.extend_from_slice(b"\r\n");
    }
    if flags.quiet {
        out.truncate(start);
    }
    Ok(())
}

/// `me`: what there is to know about an item, for people.
fn debug(key: &[u8], items: &mut Items, now: Now, out: &mut Vec<u8>) {
    items.counters.meta_cmds += 1;
    let Some(item) = items.find(key, false, now) else {
        out.extend_from_slice(b"EN\r\n");
        return;
    };
    out.extend_from_slice(b"ME ");
    if item.has(Mark::KeyBinary) {
        encode_key(key, out);
    } else {
        out.extend_from_slice(key);
    }
    let exp = match item.exptime {
        0 => -1,
        _ => i64::from(item.ttl(now)),
    };
    let (la, cas) = (now.since(item.time), item.cas);
    let fetch = if item.has(Mark::Fetched) { "yes" } else { "no" };
    let size = item.size(key.len());
    drop(item);
    let cls = items.classes().of(size);
    let line = format!(" exp={exp} la={la} cas={cas} fetch={fetch} cls={cls} size={size}\r\n");
    out.extend_from_slice(line.as_bytes());
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode_key(key: &[u8], out: &mut Vec<u8>) {
    for group in key.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = ALPHABET.get((bits >> (18 - 6 * i)) as usize & 63);
            out.push(match digit {
                Some(digit) if i <= group.len() => *digit,
                _ => b'=',
            });
        }
    }
}

#[cfg(test)]
#[path = "meta_tests.rs"]
mod tests;
