//! What clients send: command lines and data blocks.
//!
//! [`parse`] looks at the bytes a connection has received so far and says: a complete request, more bytes
//! needed, or close. It keeps no state; a caller with half a request calls again with more bytes. Requests
//! borrow from the buffer.
//!
//! Invariants: a request that memcached 1.6.45 refuses is refused here with the same bytes and the same
//! number of bytes consumed, so nothing malformed reaches a server that other clients share; an announced
//! length is only ever compared, never allocated. What differs from memcached on purpose: a NUL in a key is
//! refused (1.6.18 cuts the line there), and the stray empty line that 1.6.45 sends after the error for a
//! too long key of a `get` is left out, because a client would take it for its next reply.

use memchr::memchr;

use super::error::ErrorKind;
use super::meta::{self, words};
use super::{MAX_KEY, number};

/// Bounds on what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest value, in bytes.
    pub max_value: usize,
    /// The longest `get`/`gets`/`gat`/`gats` line, in bytes.
    pub max_get_line: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_value: 1 << 20,
            max_get_line: 4 << 20,
        }
    }
}

/// A line without its end, longer than this and of no kind that may be long, closes the connection
/// (memcached's own bound).
pub const MAX_UNFINISHED_LINE: usize = 2048;

/// The longest meta command line that is passed on, in bytes; keeps it within what every server reads at once.
const MAX_META_LINE: usize = 2000;

/// memcached's largest length: `INT_MAX - 2`.
const MAX_LENGTH: i32 = i32::MAX - 2;

/// The outcome of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Not complete. `total` is the length of the whole request in bytes where it is already known, else 0.
    More {
        /// Bytes of the whole request, or 0.
        total: usize,
    },
    /// A request of `len` bytes.
    Request {
        /// Bytes consumed.
        len: usize,
        /// What was asked.
        request: Request<'a>,
    },
    /// The connection is to be closed without a reply.
    Close(CloseReason),
}

/// Why a client's connection is closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The first byte is that of memcached's binary protocol.
    Binary,
    /// It speaks HTTP.
    Http,
    /// A command line that does not end.
    EndlessLine,
}

impl CloseReason {
    /// A sentence for the log.
    pub const fn describe(self) -> &'static str {
        match self {
            CloseReason::Binary => {
                "the client speaks memcached's binary protocol; configure it for the text (ASCII) or meta protocol"
            }
            CloseReason::Http => {
                "the client speaks HTTP; this port speaks memcached's text protocol"
            }
            CloseReason::EndlessLine => "a command line longer than 2 KiB without an end",
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `get`, `gets`, `gat`, `gats`
    Get(Get<'a>),
    /// `set`, `add`, `replace`, `append`, `prepend`, `cas`
    Store(Store<'a>),
    /// `delete`
    Delete {
        /// The item's key.
        key: &'a [u8],
        /// Whether the client wants no reply.
        noreply: bool,
    },
    /// `incr`, `decr`
    Arith {
        /// `incr` rather than `decr`.
        incr: bool,
        /// The item's key.
        key: &'a [u8],
        /// By how much.
        delta: u64,
        /// Whether the client wants no reply.
        noreply: bool,
    },
    /// `touch`
    Touch {
        /// The item's key.
        key: &'a [u8],
        /// The new expiry time, as sent.
        exptime: i32,
        /// Whether the client wants no reply.
        noreply: bool,
    },
    /// `mg`, `ms`, `md`, `ma`, `me`
    Meta(Meta<'a>),
    /// `mn`
    MetaNoop,
    /// `version`
    Version,
    /// `verbosity`
    Verbosity {
        /// Whether the client wants no reply.
        noreply: bool,
    },
    /// `flush_all`
    FlushAll {
        /// Seconds to wait, if given.
        delay: Option<i32>,
        /// Whether the client wants no reply.
        noreply: bool,
    },
    /// `stats`
    Stats {
        /// The words after the command, spaces between them as sent.
        args: &'a [u8],
    },
    /// `quit`
    Quit,
    /// Something that gets an error and reaches no server.
    Refused(Refused<'a>),
}

/// Which of the four retrieval commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GetCommand {
    /// `get`
    Get,
    /// `gets`: with cas values
    Gets,
    /// `gat`: get and touch
    Gat,
    /// `gats`: get and touch, with cas values
    Gats,
}

impl GetCommand {
    /// The command's name.
    pub const fn name(self) -> &'static [u8] {
        match self {
            GetCommand::Get => b"get",
            GetCommand::Gets => b"gets",
            GetCommand::Gat => b"gat",
            GetCommand::Gats => b"gats",
        }
    }

    /// Whether values carry cas values.
    pub const fn with_cas(self) -> bool {
        matches!(self, GetCommand::Gets | GetCommand::Gats)
    }

    /// Whether it sets an expiry time.
    pub const fn touches(self) -> bool {
        matches!(self, GetCommand::Gat | GetCommand::Gats)
    }
}

/// A retrieval of one or more keys, all of valid length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// The command.
    pub command: GetCommand,
    /// The new expiry time of `gat` and `gats`; 0 otherwise.
    pub exptime: i32,
    /// The number of keys, at least 1.
    pub count: usize,
    /// The keys, spaces between them; a single key has none around it.
    pub keys: &'a [u8],
}

impl<'a> Get<'a> {
    /// The keys in the order asked.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        words(self.keys)
    }
}

/// Which of the storage commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreCommand {
    /// `set`
    Set,
    /// `add`
    Add,
    /// `replace`
    Replace,
    /// `append`
    Append,
    /// `prepend`
    Prepend,
    /// `cas`
    Cas,
}

impl StoreCommand {
    /// The command's name.
    pub const fn name(self) -> &'static [u8] {
        match self {
            StoreCommand::Set => b"set",
            StoreCommand::Add => b"add",
            StoreCommand::Replace => b"replace",
            StoreCommand::Append => b"append",
            StoreCommand::Prepend => b"prepend",
            StoreCommand::Cas => b"cas",
        }
    }
}

/// A storage command with its complete data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'a> {
    /// The command.
    pub command: StoreCommand,
    /// The item's key.
    pub key: &'a [u8],
    /// The client's opaque flags.
    pub flags: u32,
    /// The expiry time, as sent.
    pub exptime: i32,
    /// The cas value of `cas`; 0 otherwise.
    pub cas: u64,
    /// Whether the client wants no reply.
    pub noreply: bool,
    /// The value with the `\r\n` that ends it.
    pub block: &'a [u8],
}

/// Which of the meta commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetaCommand {
    /// `mg`
    Get,
    /// `ms`
    Set,
    /// `md`
    Delete,
    /// `ma`
    Arithmetic,
    /// `me`
    Debug,
}

impl MetaCommand {
    /// The command's name.
    pub const fn name(self) -> &'static [u8] {
        match self {
            MetaCommand::Get => b"mg",
            MetaCommand::Set => b"ms",
            MetaCommand::Delete => b"md",
            MetaCommand::Arithmetic => b"ma",
            MetaCommand::Debug => b"me",
        }
    }
}

/// A meta command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The command.
    pub command: MetaCommand,
    /// The key as on the wire (base64 with flag `b`).
    pub key: &'a [u8],
    /// The flags after key and length, as sent.
    pub flags_text: &'a [u8],
    /// The flags that concern a router.
    pub flags: meta::Flags<'a>,
    /// For `ms`: the value with the `\r\n` that ends it. Empty otherwise.
    pub block: &'a [u8],
}

impl<'a> Meta<'a> {
    /// The bytes that decide where the item lives: the key, decoded if it is base64.
    pub fn item_key<'k>(&self, scratch: &'k mut [u8; meta::MAX_DECODED]) -> &'k [u8]
    where
        'a: 'k,
    {
        item_key(self.key, self.flags.base64, scratch)
    }
}

fn item_key<'k>(key: &'k [u8], base64: bool, scratch: &'k mut [u8; meta::MAX_DECODED]) -> &'k [u8] {
    if base64 {
        // parse() has refused keys that don't decode.
        meta::decode_key(key, scratch).unwrap_or_default()
    } else {
        key
    }
}

/// A request that is answered with an error on the spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The error.
    pub error: ErrorKind,
    /// Whether the client gets to see it.
    pub noreply: bool,
    /// How many bytes after the request are its data block and are to be thrown away.
    pub swallow: usize,
    /// The item whose old value a too large one would have replaced: memcached removes it.
    pub evict: Option<Evicted<'a>>,
}

/// An item that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted<'a> {
    /// The key as on the wire.
    pub key: &'a [u8],
    /// Whether it is base64.
    pub base64: bool,
}

impl<'a> Evicted<'a> {
    /// The bytes that decide where the item lives: the key, decoded if it is base64.
    pub fn item_key<'k>(&self, scratch: &'k mut [u8; meta::MAX_DECODED]) -> &'k [u8]
    where
        'a: 'k,
    {
        item_key(self.key, self.base64, scratch)
    }
}

fn refused<'a>(error: ErrorKind, noreply: bool) -> Request<'a> {
    Request::Refused(Refused {
        error,
        noreply,
        swallow: 0,
        evict: None,
    })
}

/// Takes the first request of `buf` apart. `buf` must not be empty.
pub fn parse<'a>(buf: &'a [u8], limits: &Limits) -> Parsed<'a> {
    let Some(newline) = memchr(b'\n', buf) else {
        return unfinished(buf, limits);
    };
    let len = newline + 1;
    let line = match buf.get(..newline) {
        Some([line @ .., b'\r']) => line,
        Some(line) => line,
        None => b"",
    };
    if let Some(keys) = line.strip_prefix(b"get ") {
        return Parsed::Request {
            len,
            request: get(GetCommand::Get, 0, keys),
        };
    }
    if buf.first() == Some(&0x80) {
        return Parsed::Close(CloseReason::Binary);
    }
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
            let last = words(line).last().unwrap_or_default();
            if last.starts_with(b"HTTP/") {
                return Parsed::Close(CloseReason::Http);
            }
            refused(ErrorKind::UnknownCommand, last == b"noreply")
        }
    };
    Parsed::Request { len, request }
}

fn unfinished<'a>(buf: &[u8], limits: &Limits) -> Parsed<'a> {
    if buf.first() == Some(&0x80) {
        return Parsed::Close(CloseReason::Binary);
    }
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

fn valid_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && memchr(0, key).is_none()
}

fn last_is_noreply(rest: &[u8]) -> bool {
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

/// The first word of `text` and what follows it.
fn next_word(text: &[u8]) -> (&[u8], &[u8]) {
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
    let (flags, tail) = next_word(tail);
    let (exptime, tail) = next_word(tail);
    let (length, tail) = next_word(tail);
    let noreply = last_is_noreply(tail);
    let at_line = |request| Parsed::Request {
        len: line_len,
        request,
    };
    let Some(length) = number::strict_i32(length).filter(|n| (0..=MAX_LENGTH).contains(n)) else {
        // No length, so no telling where a data block would end: it is read as commands.
        return at_line(refused(ErrorKind::BadFormat, noreply));
    };
    let block_len = length as usize + 2;
    let cas = match command {
        StoreCommand::Cas => number::u64(next_word(tail).0),
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
    match number::u64(delta) {
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
    match number::i32(exptime) {
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
#[path = "request_tests.rs"]
mod tests;
