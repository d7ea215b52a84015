//! The item of a request's key: asked for, taken from an answer, stored.
//!
//! A rule that copies an item from one child to another asks for it by commands of its own. They are of the text
//! protocol, as mcrouter's are, unless the client has named its key in base64: such a key may have no form in text. The
//! time to live is only to be had by the meta protocol.

use super::super::dialogue::{Answer, Ask, Handle};
use super::super::dispatch::Op;
use super::super::frame::{Prefix, Retained};
use crate::protocol::meta::words;
use crate::protocol::number;
use crate::protocol::request::GetCommand;
use crate::protocol::response::{self, Kind};
use crate::route::tree::NodeId;
use crate::upstream::conn::Class;

/// A longer time to live would be read as a date, in seconds.
const MAX_TTL: i64 = 30 * 24 * 3600;

/// What replies to commands of this file must carry.
const OPAQUE: &[u8] = b"0";

/// How the item of a request is asked for.
pub(super) struct Keyed {
    /// The key that is hashed.
    key: Vec<u8>,
    /// The key as it stands in a meta command, if the client has named it in base64.
    token: Option<Vec<u8>>,
    /// Pools may want it back.
    prefix: Prefix,
}

impl Keyed {
    pub(super) fn of(what: &Retained) -> Keyed {
        let key = what.key().to_vec();
        let mut token = None;
        if let Op::Command {
            class: Class::Meta { .. },
            head,
            ..
        } = what.op()
        {
            let mut words = words(line(head)).skip(1);
            let word = words.next().unwrap_or_default().to_vec();
            token = words.any(|word| word == b"b").then_some(word);
        }
        let prefix = what.prefix().clone();
        Keyed { key, token, prefix }
    }

    /// The same with this behind the key; a key in base64 has none such.
    pub(super) fn with(&self, tail: &str) -> Option<Keyed> {
        self.token.is_none().then(|| Keyed {
            key: [&self.key, tail.as_bytes()].concat(),
            token: None,
            prefix: self.prefix.clone(),
        })
    }

    fn ask(&self, from: NodeId, what: Retained) -> Ask {
        let what = what.under(&self.prefix);
        Ask { from, what }
    }

    fn meta(&self, from: NodeId, command: &str, flags: &str, block: Option<&[u8]>) -> Ask {
        let key = self.token.as_ref().unwrap_or(&self.key);
        let mut head = [command.as_bytes(), b" ", key].concat();
        if let Some(block) = block {
            head.extend_from_slice(format!(" {}", block.len().saturating_sub(2)).as_bytes());
        }
        head.extend_from_slice(flags.as_bytes());
        if self.token.is_some() {
            head.extend_from_slice(b" b");
        }
        head.extend_from_slice(b" O");
        head.extend_from_slice(OPAQUE);
        head.extend_from_slice(b"\r\n");
        let block = block.map(<[u8]>::to_vec);
        let what = Retained::meta(self.key.clone(), head, block, OPAQUE.to_vec());
        self.ask(from, what)
    }

    fn text(&self, from: NodeId, class: Class, words: &str, block: Option<&[u8]>) -> Ask {
        let (command, rest) = words.split_once(' ').unwrap_or((words, ""));
        let mut head = [command.as_bytes(), b" ", &self.key].concat();
        if !rest.is_empty() {
            head.push(b' ');
            head.extend_from_slice(rest.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let key = self.key.clone();
        let what = match block {
            Some(block) => Retained::store(class, key, head, block.to_vec()),
            None => Retained::line(class, key, head),
        };
        self.ask(from, what)
    }

    /// Asks for the item.
    pub(super) fn get(&self, from: NodeId) -> Ask {
        match self.token {
            Some(_) => self.meta(from, "mg", " f v", None),
            None => self.ask(from, Retained::get(self.key.clone(), GetCommand::Get, 0)),
        }
    }

    /// Asks for the item and its cas.
    pub(super) fn gets(&self, from: NodeId) -> Ask {
        match self.token {
            Some(_) => self.meta(from, "mg", " f c v", None),
            None => self.ask(from, Retained::get(self.key.clone(), GetCommand::Gets, 0)),
        }
    }

    /// Asks whether the item is there.
    pub(super) fn exists(&self, from: NodeId) -> Ask {
        self.meta(from, "mg", "", None)
    }

    /// Stores an item as `set` or `add` does.
    pub(super) fn store(&self, command: &str, from: NodeId, item: &Item, exptime: i64) -> Ask {
        let (flags, block) = (item.flags, &item.block[..]);
        let len = block.len().saturating_sub(2);
        match self.token {
            Some(_) => {
                let mode = if command == "add" { " ME" } else { "" };
                let words = format!("{mode} F{flags} T{exptime}");
                self.meta(from, "ms", &words, Some(block))
            }
            None => {
                let words = format!("{command} {flags} {exptime} {len}");
                self.text(from, Class::Store, &words, Some(block))
            }
        }
    }

    /// Stores an item by the token that a `lease-get` has got.
    pub(super) fn lease_set(&self, from: NodeId, item: &Item, exptime: i64, token: u64) -> Ask {
        let (flags, len) = (item.flags, item.block.len().saturating_sub(2));
        let words = format!("lease-set {token} {flags} {exptime} {len}");
        self.text(from, Class::LeaseSet, &words, Some(&item.block))
    }

    /// Makes the item, if it is still the one with this cas, one that has expired.
    pub(super) fn expire(&self, from: NodeId, cas: u64) -> Ask {
        match self.token {
            Some(_) => self.meta(from, "ms", &format!(" T-1 C{cas}"), Some(b"\r\n")),
            None => {
                let words = format!("cas 0 -1 0 {cas}");
                self.text(from, Class::Store, &words, Some(b"\r\n"))
            }
        }
    }

    /// How many seconds the item has to live, as the exptime of a copy; 0 is for ever, `None`: it is not to be copied.
    pub(super) async fn ttl(&self, handle: &Handle, from: NodeId) -> Option<i64> {
        let Answer::Line(Kind::MetaHeader, line) =
            handle.ask(self.meta(from, "mg", " t", None)).await
        else {
            return None;
        };
        let left: i64 = std::str::from_utf8(word(&line, b't')?).ok()?.parse().ok()?;
        match left {
            -1 => Some(0),
            // A last second may be over before it is stored, and 0 would be for ever.
            ..=0 => None,
            left => Some(left.min(MAX_TTL)),
        }
    }

    /// The answer to a `get` (or `gets`) of this key that finds an item.
    pub(super) fn as_value(&self, item: &Item, cas: Option<u64>) -> Answer {
        let len = item.block.len().saturating_sub(2);
        let cas = cas.map_or(String::new(), |cas| format!(" {cas}"));
        let rest = format!(" {} {len}{cas}\r\n", item.flags);
        Answer::Value([b"VALUE ", &self.key[..], rest.as_bytes(), &item.block].concat())
    }
}

/// An item as an answer shows it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub flags: u32,
    pub cas: Option<u64>,
    /// With its line end.
    pub block: Vec<u8>,
}

impl Item {
    /// Of an answer that has a value and its flags.
    pub(super) fn of(answer: &Answer) -> Option<Item> {
        let (Answer::Value(found) | Answer::Line(Kind::MetaValue(_), found)) = answer else {
            return None;
        };
        let (end, used) = response::line(found)?;
        let line = found.get(..end)?;
        let (flags, cas) = match line.strip_prefix(b"VALUE ") {
            Some(rest) => {
                let mut words = words(rest).skip(1);
                let flags = words.next()?;
                (flags, words.nth(1))
            }
            None => (word(line, b'f')?, word(line, b'c')),
        };
        let cas = cas.and_then(|cas| std::str::from_utf8(cas).ok()?.parse().ok());
        Some(Item {
            flags: number::flags(flags)?,
            cas,
            block: found.get(used..)?.to_vec(),
        })
    }
}

/// The flags of an item in an answer to a get, whether that has a value or not.
pub(super) fn flags_of(answer: &Answer) -> Option<u32> {
    let (Answer::Value(found) | Answer::Line(Kind::MetaValue(_) | Kind::MetaHeader, found)) =
        answer
    else {
        return None;
    };
    let line = line(found);
    let flags = match line.strip_prefix(b"VALUE ") {
        Some(rest) => words(rest).nth(1)?,
        None => word(line, b'f')?,
    };
    number::flags(flags)
}

/// The answer to a meta get with another value: its length and flags change with it.
pub(super) fn with_value(found: &[u8], item: &Item) -> Answer {
    let len = item.block.len().saturating_sub(2).to_string();
    let flags = item.flags.to_string();
    let mut out = Vec::with_capacity(found.len() + item.block.len() + 20);
    for (place, word) in words(line(found)).enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        match (place, word) {
            (1, _) => out.extend_from_slice(len.as_bytes()),
            (2.., [b'f', ..]) => out.extend_from_slice(&[b"f", flags.as_bytes()].concat()),
            (2.., [b's', ..]) => out.extend_from_slice(&[b"s", len.as_bytes()].concat()),
            _ => out.extend_from_slice(word),
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&item.block);
    Answer::Value(out)
}

/// The first line without its end.
pub(super) fn line(bytes: &[u8]) -> &[u8] {
    let end = response::line(bytes).map_or(bytes.len(), |(end, _)| end);
    bytes.get(..end).unwrap_or_default()
}

/// The rest of the first flag of a meta line that begins with this letter.
pub(super) fn word(bytes: &[u8], letter: u8) -> Option<&[u8]> {
    words(line(bytes))
        .skip(1)
        .find_map(|word| word.strip_prefix(&[letter]))
}

/// Whether a meta command has a flag that begins with this letter.
pub(super) fn asks(head: &[u8], letter: u8) -> bool {
    words(line(head))
        .skip(2)
        .any(|word| word.first() == Some(&letter))
}
