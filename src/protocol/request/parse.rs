//! The parser of requests. See [`super`] for what it promises.
//!
//! Commands are told apart by their first word; each has a function that checks its words in memcached's
//! order, because the order decides which error a line with several mistakes gets.

use memchr::{memchr, memchr3};

use super::{
    CloseReason, Evicted, Get, GetCommand, Limits, MAX_UNFINISHED_LINE, Meta, MetaCommand, Parsed,
    Refused, Request, Store, StoreCommand, lease,
};
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{self, words};
use crate::protocol::scan::blank;
use crate::protocol::{MAX_KEY, number};

/// The longest meta command line that is passed on, in bytes; keeps it within what every server reads at once.
const MAX_META_LINE: usize = 2000;

/// memcached's largest length: `INT_MAX - 2`.
pub(super) const MAX_LENGTH: i32 = i32::MAX - 2;

pub(super) fn refused<'a>(error: ErrorKind, noreply: bool) -> Request<'a> {
    Request::Refused(Refused {
        error,
        noreply,
        swallow: 0,
        evict: None,
    })
}

/// Takes the first request of `buf` apart. `buf` must not be empty.
pub fn parse<'a>(buf: &'a [u8], limits: &Limits) -> Parsed<'a> {
    match plain_get(buf) {
        Some(parsed) => parsed,
        None => no_plain_get(buf, limits),
    }
}

#[inline(never)] // A get does not pay for it.
fn no_plain_get<'a>(buf: &'a [u8], limits: &Limits) -> Parsed<'a> {
    plain_set(buf, limits)
        .or_else(|| plain_meta_get(buf))
        .unwrap_or_else(|| general(buf, limits))
}

fn general<'a>(buf: &'a [u8], limits: &Limits) -> Parsed<'a> {
    let Some(newline) = memchr(b'\n', buf) else {
        return unfinished(buf, limits);
    };
    let len = newline + 1;
    let line = match buf.get(..newline) {
        Some([line @ .., b'\r']) => line,
        Some(line) => line,
        None => b"",
    };
    if len < 4 {
        // memcached's parser wants two letters and a line end at least.
        return Parsed::Request {
            len,
            request: refused(ErrorKind::BadFormat, false),
        };
    }
    let (verb, rest) = match memchr(b' ', line) {
        Some(space) => (
            line.get(..space).unwrap_or_default(),
            line.get(space + 1..).unwrap_or_default(),
        ),
        None => (line, &b""[..]),
    };
    let request = match verb {
        b"set" => return store(StoreCommand::Set, rest, buf, len, limits),
        b"add" => return store(StoreCommand::Add, rest, buf, len, limits),
        b"replace" => return store(StoreCommand::Replace, rest, buf, len, limits),
        b"append" => return store(StoreCommand::Append, rest, buf, len, limits),
        b"prepend" => return store(StoreCommand::Prepend, rest, buf, len, limits),
        b"cas" => return store(StoreCommand::Cas, rest, buf, len, limits),
        b"ms" => return meta_set(rest, buf, len, limits),
        b"mg" => meta_line(MetaCommand::Get, rest),
        b"md" => meta_line(MetaCommand::Delete, rest),
        b"ma" => meta_line(MetaCommand::Arithmetic, rest),
        b"me" => meta_line(MetaCommand::Debug, rest),
        b"mn" => Request::MetaNoop,
        b"get" => get(GetCommand::Get, 0, rest),
        b"gets" => get(GetCommand::Gets, 0, rest),
        b"gat" => get_and_touch(GetCommand::Gat, rest),
        b"gats" => get_and_touch(GetCommand::Gats, rest),
        b"delete" => delete(rest),
        b"incr" => arith(true, rest),
        b"decr" => arith(false, rest),
        b"touch" => touch(rest),
        b"version" => Request::Version,
        b"verbosity" => verbosity(rest),
        b"flush_all" => flush_all(rest),
        b"stats" => Request::Stats { args: rest },
        b"quit" => Request::Quit,
        b"shutdown" => refused(ErrorKind::ShutdownDisabled, false),
        _ => {
            if limits.leases
                && let Some(parsed) = lease::parse(verb, rest, buf, len, limits)
            {
                return parsed;
            }
            let last = words(line).last().unwrap_or_default();
            if last.starts_with(b"HTTP/") {
                return Parsed::Close(CloseReason::Http);
            }
            refused(ErrorKind::UnknownCommand, last == b"noreply")
        }
    };
    Parsed::Request { len, request }
}

/// A `get` whose keys are all good, which is nearly all there is to read: one search finds what ends keys and what no
/// key may hold. `None`: look closer.
#[inline(always)]
fn plain_get(buf: &[u8]) -> Option<Parsed<'_>> {
    let text = buf.strip_prefix(b"get ")?;
    let end = memchr3(b'\n', b' ', 0, text)?;
    if text.get(end) != Some(&b'\n') {
        return plain_multi_get(text);
    }
    let line = text.get(..end)?;
    let keys = line.strip_suffix(b"\r").unwrap_or(line);
    (1..=MAX_KEY).contains(&keys.len()).then_some(())?;
    Some(Parsed::Request {
        len: end + 5,
        request: Request::Get(Get {
            command: GetCommand::Get,
            exptime: 0,
            count: 1,
            keys,
        }),
    })
}

/// The same for several keys, with one space between any two.
fn plain_multi_get(text: &[u8]) -> Option<Parsed<'_>> {
    let mut rest = text;
    let mut count = 0;
    loop {
        let len = blank(rest)?;
        (1..=MAX_KEY).contains(&len).then_some(())?;
        count += 1;
        let (_, after) = rest.split_at_checked(len)?;
        let line_end = match after {
            [b' ', keys @ ..] => {
                rest = keys;
                continue;
            }
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        let len = text.len() - after.len();
        return Some(Parsed::Request {
            len: len + line_end + 4,
            request: Request::Get(Get {
                command: GetCommand::Get,
                exptime: 0,
                count,
                keys: text.get(..len)?,
            }),
        });
    }
}

/// A `set` as clients write it: nothing but the one space between words, numbers without anything before them, all of it
/// good. `None`: look closer.
#[inline(always)]
fn plain_set<'a>(buf: &'a [u8], limits: &Limits) -> Option<Parsed<'a>> {
    let text = buf.strip_prefix(b"set ")?;
    let (key, rest) = text.split_at_checked(blank(text)?)?;
    let (flags, rest) = plain_number(rest)?;
    let (exptime, rest) = plain_number(rest)?;
    let (length, rest) = plain_number(rest)?;
    let rest = rest.strip_prefix(b"\r\n")?;
    if !(1..=MAX_KEY).contains(&key.len()) || length as usize > limits.max_value {
        return None;
    }
    let line = buf.get(..buf.len() - rest.len())?;
    let total = line.len() + length as usize + 2;
    let Some(block) = rest.get(..length as usize + 2) else {
        return Some(Parsed::More { total });
    };
    block.ends_with(b"\r\n").then_some(Parsed::Request {
        len: total,
        request: Request::Store(Store {
            command: StoreCommand::Set,
            key,
            flags,
            exptime: i32::try_from(exptime).ok()?,
            cas: 0,
            noreply: false,
            line,
            block,
        }),
    })
}

/// A meta get with a few flags of one letter that say what is to be returned, as most have. `None`: look closer.
#[inline(always)]
fn plain_meta_get(buf: &[u8]) -> Option<Parsed<'_>> {
    let text = buf.strip_prefix(b"mg ")?;
    let (key, after) = text.split_at_checked(blank(text)?)?;
    (1..=MAX_KEY).contains(&key.len()).then_some(())?;
    let mut flags = meta::Flags::default();
    let mut rest = after;
    let mut left = 8;
    while let [b' ', flag, tail @ ..] = rest
        && left > 0
    {
        match flag {
            b'k' => flags.key = true,
            b'v' | b'f' | b't' | b'c' | b's' => {}
            _ => return None,
        }
        rest = tail;
        left -= 1;
    }
    let end = rest.strip_prefix(b"\r\n")?;
    let flags_text = after.get(1..after.len() - rest.len()).unwrap_or_default();
    Some(Parsed::Request {
        len: buf.len() - end.len(),
        request: Request::Meta(Meta {
            command: MetaCommand::Get,
            key,
            flags_text,
            flags,
            block: b"",
        }),
    })
}

/// A space and a number of up to nine digits as it is written by machines; and what follows.
#[inline(always)]
fn plain_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = text.strip_prefix(b" ")?;
    let (mut number, mut digits) = (0, 0);
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        if digits == 9 || (number == 0 && digits > 0) {
            return None;
        }
        number = number * 10 + u32::from(digit - b'0');
        digits += 1;
        rest = tail;
    }
    (digits > 0).then_some((number, rest))
}

fn unfinished<'a>(buf: &[u8], limits: &Limits) -> Parsed<'a> {
    if buf.len() > MAX_UNFINISHED_LINE {
        let many_keys = [&b"get "[..], b"gets ", b"gat ", b"gats "]
            .iter()
            .any(|verb| buf.starts_with(verb));
        if !many_keys || buf.len() > limits.max_get_line {
            return Parsed::Close(CloseReason::EndlessLine);
        }
    }
    Parsed::More { total: 0 }
}

pub(super) fn valid_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && memchr(0, key).is_none()
}

pub(super) fn last_is_noreply(rest: &[u8]) -> bool {
    let trimmed = match rest.iter().rposition(|b| *b != b' ') {
        Some(last) => rest.get(..=last).unwrap_or_default(),
        None => b"",
    };
    trimmed == b"noreply" || trimmed.ends_with(b" noreply")
}

fn get<'a>(command: GetCommand, exptime: i32, keys: &'a [u8]) -> Request<'a> {
    // One key without a space around it is nearly all the traffic.
    if memchr(b' ', keys).is_none() {
        if !valid_key(keys) {
            return refused(ErrorKind::BadFormat, false);
        }
        return Request::Get(Get {
            command,
            exptime,
            count: 1,
            keys,
        });
    }
    let mut count = 0;
    let mut last: &[u8] = b"";
    for key in words(keys) {
        if !valid_key(key) {
            return refused(ErrorKind::BadFormat, false);
        }
        count += 1;
        last = key;
    }
    if count == 0 {
        return refused(ErrorKind::BadFormat, false);
    }
    Request::Get(Get {
        command,
        exptime,
        count,
        keys: if count == 1 { last } else { keys },
    })
}

fn get_and_touch(command: GetCommand, rest: &[u8]) -> Request<'_> {
    let (exptime, keys) = next_word(rest);
    if words(keys).next().is_none() {
        return refused(ErrorKind::BadFormat, false);
    }
    match number::strict_i32(exptime) {
        Some(exptime) => get(command, exptime, keys),
        None => refused(ErrorKind::BadExptime, false),
    }
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// As [`next_word`], for what is a few bytes long: to call a search costs more than to look.
#[inline]
fn next_short_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = skip_spaces(text);
    let end = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

/// The first word of `text` and what follows it.
pub(super) fn next_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = skip_spaces(text);
    let end = memchr(b' ', text).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

fn store<'a>(
    command: StoreCommand,
    rest: &'a [u8],
    buf: &'a [u8],
    line_len: usize,
    limits: &Limits,
) -> Parsed<'a> {
    let (key, tail) = next_word(rest);
    let (flags, tail) = next_short_word(tail);
    let (exptime, tail) = next_short_word(tail);
    let (length, tail) = next_short_word(tail);
    let noreply = !tail.is_empty() && last_is_noreply(tail);
    let at_line = |request| Parsed::Request {
        len: line_len,
        request,
    };
    let Some(length) = number::strict_i32(length).filter(|n| (0..=MAX_LENGTH).contains(n)) else {
        // No length, so no telling where a data block would end: it is read as commands, and the error is
        // shown even to those who want no reply.
        return at_line(refused(ErrorKind::BadFormat, false));
    };
    let block_len = length as usize + 2;
    let cas = match command {
        StoreCommand::Cas => number::strict_u64(next_word(tail).0),
        _ => Some(0),
    };
    let (Some(flags), Some(exptime), Some(cas), true) = (
        number::flags(flags),
        number::i32(exptime),
        cas,
        valid_key(key),
    ) else {
        return at_line(Request::Refused(Refused {
            error: ErrorKind::BadFormat,
            noreply,
            swallow: block_len,
            evict: None,
        }));
    };
    if length as usize > limits.max_value {
        return at_line(Request::Refused(Refused {
            error: ErrorKind::TooLarge,
            noreply,
            swallow: block_len,
            evict: (command == StoreCommand::Set).then_some(Evicted { key, base64: false }),
        }));
    }
    let total = line_len + block_len;
    let Some(block) = buf.get(line_len..total) else {
        return Parsed::More { total };
    };
    let request = if block.ends_with(b"\r\n") {
        Request::Store(Store {
            command,
            key,
            flags,
            exptime,
            cas,
            noreply,
            line: b"",
            block,
        })
    } else {
        refused(ErrorKind::BadChunk, noreply)
    };
    Parsed::Request {
        len: total,
        request,
    }
}

fn delete(rest: &[u8]) -> Request<'_> {
    let (key, tail) = next_word(rest);
    let noreply = last_is_noreply(tail);
    if valid_key(key) {
        Request::Delete { key, noreply }
    } else {
        refused(ErrorKind::BadFormat, noreply)
    }
}

fn arith(incr: bool, rest: &[u8]) -> Request<'_> {
    let (key, tail) = next_word(rest);
    let noreply = last_is_noreply(tail);
    let (delta, _) = next_word(tail);
    if delta.is_empty() || !valid_key(key) {
        return refused(ErrorKind::BadFormat, noreply);
    }
    match number::strict_u64(delta) {
        Some(delta) => Request::Arith {
            incr,
            key,
            delta,
            noreply,
        },
        None => refused(ErrorKind::BadDelta, noreply),
    }
}

fn touch(rest: &[u8]) -> Request<'_> {
    let (key, tail) = next_word(rest);
    let noreply = last_is_noreply(tail);
    let (exptime, _) = next_word(tail);
    if exptime.is_empty() || !valid_key(key) {
        return refused(ErrorKind::BadFormat, noreply);
    }
    match number::strict_i32(exptime) {
        Some(exptime) => Request::Touch {
            key,
            exptime,
            noreply,
        },
        None => refused(ErrorKind::BadExptime, noreply),
    }
}

fn verbosity(rest: &[u8]) -> Request<'_> {
    let noreply = last_is_noreply(rest);
    let (level, _) = next_word(rest);
    if noreply || number::u64(level).is_some() {
        Request::Verbosity { noreply }
    } else {
        refused(ErrorKind::BadFormat, noreply)
    }
}

fn flush_all(rest: &[u8]) -> Request<'_> {
    let noreply = last_is_noreply(rest);
    let (delay, tail) = next_word(rest);
    if delay.is_empty() || (noreply && words(tail).next().is_none()) {
        return Request::FlushAll {
            delay: None,
            noreply,
        };
    }
    match number::strict_i32(delay) {
        Some(delay) => Request::FlushAll {
            delay: Some(delay),
            noreply,
        },
        None => refused(ErrorKind::BadExptime, noreply),
    }
}

fn meta_line(command: MetaCommand, rest: &[u8]) -> Request<'_> {
    let (key, flags_text) = next_word(rest);
    meta_request(command, key, flags_text, b"")
        .map_or_else(|error| refused(error, false), Request::Meta)
}

/// Whether every flag begins with a character that memcached's tokenizer takes for one. With another, 1.6.45
/// gives the line up before it knows the length of an `ms`, and reads the data block as commands.
fn flags_tokenize(flags_text: &[u8]) -> bool {
    words(flags_text).all(|word| matches!(word, [b'A'..=b'z' | b'0'..=b'9', ..]))
}

fn meta_request<'a>(
    command: MetaCommand,
    key: &'a [u8],
    flags_text: &'a [u8],
    block: &'a [u8],
) -> Result<Meta<'a>, ErrorKind> {
    if !valid_key(key)
        || flags_text.len() > MAX_META_LINE
        || memchr(0, flags_text).is_some()
        || !flags_tokenize(flags_text)
    {
        return Err(ErrorKind::BadFormat);
    }
    let flags = match command {
        MetaCommand::Debug => meta::Flags {
            base64: words(flags_text).next() == Some(b"b"),
            ..meta::Flags::default()
        },
        _ => meta::flags(flags_text),
    };
    if flags.duplicate {
        return Err(match command {
            MetaCommand::Arithmetic => ErrorKind::InvalidOrDuplicateFlag,
            _ => ErrorKind::DuplicateFlag,
        });
    }
    if flags.base64 && meta::decode_key(key, &mut [0; meta::MAX_DECODED]).is_none() {
        return Err(ErrorKind::BadKeyEncoding);
    }
    Ok(Meta {
        command,
        key,
        flags_text: skip_spaces(flags_text),
        flags,
        block,
    })
}

fn meta_set<'a>(rest: &'a [u8], buf: &'a [u8], line_len: usize, limits: &Limits) -> Parsed<'a> {
    let (key, tail) = next_word(rest);
    let (length, flags_text) = next_word(tail);
    let at_line = |error, swallow, evict| Parsed::Request {
        len: line_len,
        request: Request::Refused(Refused {
            error,
            noreply: false,
            swallow,
            evict,
        }),
    };
    let Some(length) = number::strict_i32(length).filter(|n| (0..=MAX_LENGTH).contains(n)) else {
        return at_line(ErrorKind::BadFormat, 0, None);
    };
    let block_len = length as usize + 2;
    let mut request = match meta_request(MetaCommand::Set, key, flags_text, b"") {
        Ok(request) => request,
        // A flag that the tokenizer itself refuses leaves memcached without a length to swallow.
        Err(error) if !flags_tokenize(flags_text) => return at_line(error, 0, None),
        Err(error) => return at_line(error, block_len, None),
    };
    if length as usize > limits.max_value {
        // Whatever the mode: unlike `add` and `append`, `ms` takes the old value along even with `ME` and `MA`.
        let evict = Some(Evicted {
            key,
            base64: request.flags.base64,
        });
        return at_line(ErrorKind::TooLarge, block_len, evict);
    }
    let total = line_len + block_len;
    let Some(block) = buf.get(line_len..total) else {
        return Parsed::More { total };
    };
    let request = if block.ends_with(b"\r\n") {
        request.block = block;
        Request::Meta(request)
    } else {
        refused(ErrorKind::BadChunk, false)
    };
    Parsed::Request {
        len: total,
        request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way for plain gets finds what the long way finds, but for spaces that mean nothing.
        #[test]
        fn a_plain_get_is_read_as_any_other(text in "get [ab\\x00\\r\\n ]{0,12}[a]{0,2}", long in 240usize..260) {
            let limits = Limits::default();
            let keys = format!("get {} b\r\nx", "k".repeat(long));
            for buf in [text.as_bytes(), keys.as_bytes()] {
                if let Some(short) = plain_get(buf) {
                    prop_assert_eq!(short, general(buf, &limits));
                }
            }
        }
    }
}
