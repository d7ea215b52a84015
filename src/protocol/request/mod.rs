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

mod lease;
mod parse;

use super::error::ErrorKind;
use super::meta::{self, words};

pub use parse::parse;

/// Bounds on what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest value, in bytes.
    pub max_value: usize,
    /// The longest `get`/`gets`/`gat`/`gats` line, in bytes.
    pub max_get_line: usize,
    /// Whether `lease-get`, `lease-set` and `metaget` are commands.
    pub leases: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_value: 1 << 20,
            max_get_line: 4 << 20,
            leases: false,
        }
    }
}

/// Whether a connection that begins with these bytes speaks memcached's binary protocol. Only its first byte
/// tells; later lines may begin with that byte and are unknown commands.
pub fn is_binary(first_bytes: &[u8]) -> bool {
    first_bytes.first() == Some(&0x80)
}

/// A line without its end, longer than this and of no kind that may be long, closes the connection
/// (memcached's own bound).
pub const MAX_UNFINISHED_LINE: usize = 2048;

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
    /// The connection began with the first byte of memcached's binary protocol.
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
            CloseReason::EndlessLine => {
                "a command line that is longer than 2 KiB (a get: than limits.max_get_line) and has no end"
            }
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
    /// `lease-get`, `metaget`
    Lookup(Lookup<'a>),
    /// `lease-set`
    LeaseSet(LeaseSet<'a>),
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

/// Which of the retrieval commands that memcached has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupCommand {
    /// `lease-get`: the value, or the right to store one
    LeaseGet,
    /// `metaget`: what is known of the item
    Metaget,
}

/// Such a retrieval of one or more keys, all of valid length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The command.
    pub command: LookupCommand,
    /// The number of keys, at least 1.
    pub count: usize,
    /// The keys, spaces between them.
    pub keys: &'a [u8],
}

/// `lease-set` with its complete data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSet<'a> {
    /// The item's key.
    pub key: &'a [u8],
    /// What `lease-get` gave the client the right with.
    pub token: u64,
    /// The client's opaque flags.
    pub flags: u32,
    /// The expiry time, as sent.
    pub exptime: i32,
    /// Whether the client wants no reply.
    pub noreply: bool,
    /// The value with the `\r\n` that ends it.
    pub block: &'a [u8],
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
    /// The command line, if it came as [`write::store`](super::write::store) would write it; else nothing.
    pub line: &'a [u8],
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

#[cfg(test)]
mod tests;
