//! Values in parts, as mcrouter lays them out, so that both can read what the other has written.
//!
//! A value over the threshold is cut into chunks of that size. Chunk `i` is an item `<key>:<i>:<suffix>`; the
//! suffix is the lower half of the value's SpookyHash V2, in decimal. Under the key itself is an item with
//! [`FLAG`] among its flags and the value `1-<chunks>-<suffix>`: the *metadata*. Since the suffix comes from the
//! value, chunks of different values never meet; a value is written before its metadata.
//!
//! Here is the layout and what it does to command lines and replies. Nothing here sends anything; a line that is
//! no metadata is `None`, whoever wrote it.

use crate::hash::spooky32;
use crate::protocol::meta::words;
use crate::protocol::{MAX_KEY, number, response};
use crate::upstream::conn::Class;

/// The bit of an item's flags that says: its value is the metadata of a larger one.
pub const FLAG: u32 = 0x8000;

/// The version of the layout.
const VERSION: u64 = 1;

/// What the metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// How many chunks there are; at least 1.
    pub chunks: u32,
    /// What tells the chunks of this value from those of others.
    pub suffix: u64,
}

impl Metadata {
    /// For a value that is cut into chunks of `size` bytes.
    pub fn of(value: &[u8], size: usize) -> Metadata {
        Metadata {
            chunks: u32::try_from(value.len().div_ceil(size.max(1))).unwrap_or(u32::MAX),
            suffix: u64::from(spooky32(value, 0)),
        }
    }

    /// Reads an item's value; `None` if it is no metadata.
    pub fn parse(text: &[u8]) -> Option<Metadata> {
        let mut parts = text.split(|b| *b == b'-');
        let mut next = || parts.next().and_then(number::strict_u64);
        let (version, chunks, suffix) = (next()?, next()?, next()?);
        (version == VERSION && parts.next().is_none()).then_some(())?;
        let chunks = u32::try_from(chunks).ok().filter(|chunks| *chunks > 0)?;
        Some(Metadata { chunks, suffix })
    }

    /// The value of the metadata's item.
    pub fn text(&self) -> String {
        format!("{VERSION}-{}-{}", self.chunks, self.suffix)
    }

    /// The key of a chunk.
    pub fn chunk_key(&self, key: &[u8], index: u32) -> Vec<u8> {
        let tail = format!(":{index}:{}", self.suffix);
        [key, tail.as_bytes()].concat()
    }

    /// Whether the keys of all chunks are short enough.
    pub fn has_keys(&self, key: &[u8]) -> bool {
        // The last one's is the longest.
        self.chunk_key(key, self.chunks - 1).len() <= MAX_KEY
    }

    /// Whether a value that has been put together is the one that was written: its chunks may stem from writers
    /// that cut it differently.
    pub fn is_of(&self, value: &[u8]) -> bool {
        u64::from(spooky32(value, 0)) == self.suffix
    }
}

/// What is to be known of an update in order to store its value in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The item's flags.
    pub flags: u32,
    /// Its expiry time.
    pub exptime: i32,
}

impl Update {
    /// Of a command line; `None` if its value can't be stored in parts, because it is added to another one, or the
    /// key is not one for the text protocol, or a server would refuse the line.
    pub fn of(class: Class, head: &[u8], key: &[u8]) -> Option<Update> {
        match class {
            Class::Store => {
                let mut words = words(line(head));
                let command = words.next()?;
                if matches!(command, b"append" | b"prepend") {
                    return None;
                }
                let mut words = words.skip(1);
                Some(Update {
                    flags: number::flags(words.next()?)?,
                    exptime: number::i32(words.next()?)?,
                })
            }
            Class::Meta { .. } if head.starts_with(b"ms ") => of_meta(head, key),
            _ => None,
        }
    }
}

fn of_meta(head: &[u8], key: &[u8]) -> Option<Update> {
    let mut update = Update {
        flags: 0,
        exptime: 0,
    };
    let mut seen = [false; 3];
    for word in words(line(head)).skip(3) {
        let (name, rest) = word.split_first()?;
        let index = match name {
            b'F' => {
                update.flags = number::flags(rest)?;
                0
            }
            b'T' => {
                update.exptime = number::i32(rest)?;
                1
            }
            b'M' => {
                // Set, add and replace, in any of their spellings.
                if !matches!(rest.first(), Some(b'S' | b's' | b'E' | b'e' | b'R' | b'r')) {
                    return None;
                }
                2
            }
            _ => continue,
        };
        let twice = std::mem::replace(seen.get_mut(index)?, true);
        (!twice).then_some(())?;
    }
    is_text(key).then_some(update)
}

fn is_text(key: &[u8]) -> bool {
    !key.is_empty() && key.iter().all(|b| *b > b' ' && *b != 0x7f)
}

/// The command line with [`FLAG`] and another length of its value.
pub fn metadata_head(class: Class, head: &[u8], update: Update, len: usize) -> Vec<u8> {
    stand_in_head(class, head, update.flags | FLAG, len)
}

/// The command line with these flags and another length of its value.
pub fn stand_in_head(class: Class, head: &[u8], flags: u32, len: usize) -> Vec<u8> {
    let flags = flags.to_string();
    let len = len.to_string();
    let mut out = Vec::with_capacity(head.len() + 16);
    let store = class == Class::Store;
    for (place, word) in words(line(head)).enumerate() {
        if !store && place > 2 && word.starts_with(b"F") {
            continue;
        }
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(match (store, place) {
            (true, 2) => flags.as_bytes(),
            (true, 4) | (false, 2) => len.as_bytes(),
            _ => word,
        });
    }
    if !store {
        out.extend_from_slice(b" F");
        out.extend_from_slice(flags.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The command line that stores a chunk.
pub fn chunk_head(key: &[u8], update: Update, len: usize) -> Vec<u8> {
    let tail = format!(" {} {} {len}\r\n", update.flags, update.exptime);
    [b"set ", key, tail.as_bytes()].concat()
}

/// Whether a reply (a `VALUE` line or one of a meta get, perhaps with its block) announces metadata.
pub fn is_flagged(reply: &[u8]) -> bool {
    let Some((end, _)) = response::line(reply) else {
        return false;
    };
    let line = reply.get(..end).unwrap_or_default();
    let flags = match line.strip_prefix(b"VALUE ") {
        Some(rest) => words(rest).nth(1),
        None => words(line.strip_prefix(b"VA ").unwrap_or_default())
            .skip(1)
            .find_map(|word| word.strip_prefix(b"f")),
    };
    flags
        .and_then(number::flags)
        .is_some_and(|flags| flags & FLAG != 0)
}

/// What is done to the flags in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// They stay.
    Shown,
    /// They go without [`FLAG`].
    Cleaned,
    /// Nobody has asked for them; they are taken out (of a reply to a meta get).
    Removed,
}

/// The first line of a reply for a value of this length, given the one for its metadata.
pub fn joined_head(head: &[u8], len: usize, flags: Flags) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 16);
    let text = head.starts_with(b"VALUE ");
    let len = len.to_string();
    let cleaned = |word: &[u8]| match number::flags(word) {
        Some(number) if flags == Flags::Cleaned => (number & !FLAG).to_string().into_bytes(),
        _ => word.to_vec(),
    };
    for (place, word) in words(line(head)).enumerate() {
        let word = match (text, place, word) {
            (true, 2, _) => cleaned(word),
            (true, 3, _) | (false, 1, _) => len.clone().into_bytes(),
            (false, 2.., [b'f', ..]) if flags == Flags::Removed => continue,
            (false, 2.., [b'f', rest @ ..]) => [b"f", &cleaned(rest)[..]].concat(),
            (false, 2.., [b's', ..]) => [b"s", len.as_bytes()].concat(),
            _ => word.to_vec(),
        };
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(&word);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The first line of a reply to a meta get that was asked for the flags at its end, without them.
pub fn without_flags(head: &[u8], out: &mut Vec<u8>) {
    let line = line(head);
    let mut end = line.len();
    // Behind what was asked for memcached tells of a win, and of a stale item.
    while let Some(rest) = line.get(..end)
        && let [.., b' ', b'W' | b'X' | b'Z'] = rest
    {
        end -= 2;
    }
    let (asked, told) = line.split_at_checked(end).unwrap_or((line, b""));
    let rest = match memchr::memrchr(b' ', asked) {
        Some(space) if asked.get(space + 1) == Some(&b'f') => asked.get(..space).unwrap_or(asked),
        _ => asked,
    };
    out.extend_from_slice(rest);
    out.extend_from_slice(told);
    out.extend_from_slice(b"\r\n");
}

/// The command line of a meta get with a request for the flags at its end, if it asks for the value and not for
/// the flags: without them nobody could tell metadata.
pub fn with_flags(head: &[u8]) -> Option<Vec<u8>> {
    let line = line(head);
    let asks = |name: u8| words(line).skip(2).any(|word| word.first() == Some(&name));
    (asks(b'v') && !asks(b'f')).then(|| [line, b" f\r\n"].concat())
}

/// How long a meta get (or set) makes the item live, if it says so.
pub fn exptime_of(head: &[u8]) -> Option<i32> {
    words(line(head))
        .skip(2)
        .find_map(|word| word.strip_prefix(b"T"))
        .and_then(number::i32)
}

/// The first line without its end.
fn line(head: &[u8]) -> &[u8] {
    let end = response::line(head).map_or(head.len(), |(end, _)| end);
    head.get(..end).unwrap_or_default()
}

#[cfg(test)]
#[path = "big_value_tests.rs"]
mod tests;
