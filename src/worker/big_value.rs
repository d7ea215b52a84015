//! Values in parts: how they are stored and how they are put together again, as dialogues.
//!
//! [`crate::route::big_value`] has the layout. A value is stored chunk by chunk, its metadata last and only if
//! every chunk was stored, by the command that the client gave; so until then the old value stays what it was.
//! It is read whole or not at all: chunks that are missing, or are not all of one value, make it a miss; a chunk that
//! could not be asked for makes it a failure.

use super::buf::Lent;
use super::dialogue::{Answer, Ask, Handle};
use super::dispatch::Op;
use super::frame::{Prefix, Retained};
use super::many::nothing;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta;
use crate::protocol::request::GetCommand;
use crate::protocol::response::{self, Kind};
use crate::route::big_value::{self, Flags, Metadata, Update};
use crate::route::tree::NodeId;
use crate::upstream::conn::Class;

/// How the route is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Where chunks and metadata go.
    pub child: NodeId,
    /// The size of chunks, in bytes.
    pub threshold: usize,
    /// How many are under way at a time.
    pub batch: usize,
    /// Whether the flags are given without the bit of metadata.
    pub hide_flag: bool,
}

/// An update whose value is to be stored in parts.
#[derive(Debug)]
pub(super) struct Storing {
    terms: Terms,
    key: Vec<u8>,
    value: Lent,
    update: Update,
    metadata: Metadata,
    /// The client's command, with the metadata as its value.
    last: Retained,
}

impl Storing {
    /// `None` if the key is too long for those of chunks.
    pub(super) fn new(terms: Terms, update: Update, what: &Retained) -> Option<Storing> {
        let value = what.block()?;
        let metadata = Metadata::of(contents(value), terms.threshold);
        metadata.has_keys(what.key()).then_some(())?;
        let Op::Command { class, head, .. } = what.op() else {
            return None;
        };
        let text = metadata.text();
        let head = big_value::metadata_head(class, head, update, text.len());
        Some(Storing {
            terms,
            key: what.key().to_vec(),
            value: value.clone(),
            update,
            metadata,
            last: what.with(head, format!("{text}\r\n").into_bytes()),
        })
    }
}

/// A data block without its line end.
fn contents(block: &[u8]) -> &[u8] {
    block.strip_suffix(b"\r\n").unwrap_or(block)
}

/// Stores the chunks and then the metadata.
pub(super) async fn store(handle: Handle, storing: Storing) -> Answer {
    let Storing {
        terms,
        key,
        value,
        update,
        metadata,
        last,
    } = storing;
    handle.holds(value.len() + last.held());
    let prefix = last.prefix();
    let chunks = contents(&value).chunks(terms.threshold);
    let asks = (0..).zip(chunks).map(|(index, chunk)| {
        let key = metadata.chunk_key(&key, index);
        let head = big_value::chunk_head(&key, update, chunk.len());
        let block = [chunk, b"\r\n"].concat();
        Ask {
            from: terms.child,
            what: Retained::store(Class::Store, key, head, block).under(prefix),
        }
    });
    let mut worst = None;
    let hear = |answer| {
        match answer {
            Answer::Line(Kind::Stored, _) => {}
            // A route that takes nothing, as it says of a small value; an error is worse.
            Answer::Line(Kind::NotStored, _) => {
                worst = worst.take().or_else(|| Some(nothing(&last)))
            }
            Answer::Error(..) | Answer::Failed(_) => worst = worst.take().or(Some(answer)),
            // Nothing else is an answer to `set`.
            _ => worst = Some(Answer::Failed(ErrorKind::BadReply)),
        }
        worst.is_none()
    };
    handle.ask_all(asks, terms.batch, hear).await;
    drop(value);
    if let Some(worst) = worst {
        return worst;
    }
    handle.holds(last.held());
    let from = terms.child;
    handle.ask(Ask { from, what: last }).await
}

/// A get that has found metadata.
#[derive(Debug)]
pub(super) struct Joining {
    pub terms: Terms,
    /// The key as it is hashed.
    pub key: Vec<u8>,
    /// What has been taken off it, for pools that want it back.
    pub prefix: Prefix,
    /// What has been found: the first line and, unless it is too long for metadata, the block.
    pub reply: Vec<u8>,
    /// How chunks are asked for.
    pub by: (GetCommand, i32),
    /// What to do about flags.
    pub flags: Flags,
    /// The answer if it is a miss after all.
    pub miss: Answer,
    /// The most bytes it may have.
    pub max_value: usize,
}

impl Joining {
    /// For the request `what`, sent with a question for flags or not.
    pub(super) fn new(
        terms: Terms,
        what: &Retained,
        reply: Vec<u8>,
        added_flags: bool,
        max_value: usize,
    ) -> Joining {
        let (by, miss) = match what.op() {
            Op::Get(command, exptime) => (by(command.touches().then_some(exptime)), Answer::Miss),
            Op::Command { class, head, .. } => {
                let own_opaque = class == (Class::Meta { own_opaque: true });
                let miss = Answer::Line(Kind::MetaMiss, meta_miss(head, own_opaque));
                (by(big_value::exptime_of(head)), miss)
            }
        };
        Joining {
            terms,
            key: what.key().to_vec(),
            prefix: what.prefix().clone(),
            reply,
            by,
            flags: match (added_flags, terms.hide_flag) {
                (true, _) => Flags::Removed,
                (false, true) => Flags::Cleaned,
                (false, false) => Flags::Shown,
            },
            miss,
            max_value,
        }
    }
}

/// What makes the metadata live longer must do so for the chunks.
fn by(exptime: Option<i32>) -> (GetCommand, i32) {
    exptime.map_or((GetCommand::Get, 0), |exptime| (GetCommand::Gat, exptime))
}

/// The answer of a meta get that finds nothing, from its line as it was sent.
fn meta_miss(head: &[u8], own_opaque: bool) -> Vec<u8> {
    let end = response::line(head).map_or(head.len(), |(end, _)| end);
    let mut words = meta::words(head.get(..end).unwrap_or_default()).skip(1);
    let key = words.next().unwrap_or_default();
    let mut flags = Vec::new();
    for word in words.filter(|word| !(own_opaque && word.starts_with(b"O"))) {
        flags.extend_from_slice(word);
        flags.push(b' ');
    }
    let mut out = Vec::new();
    meta::miss(key, &flags, &mut out);
    out
}

/// Asks for the chunks and puts them together.
pub(super) async fn join(handle: Handle, joining: Joining) -> Answer {
    let Joining {
        terms,
        key,
        prefix,
        reply,
        by: (command, exptime),
        flags,
        miss,
        max_value,
    } = joining;
    let (_, used) = response::line(&reply).unwrap_or_default();
    let (head, block) = reply.split_at_checked(used).unwrap_or_default();
    let found = Metadata::parse(contents(block)).filter(|metadata| metadata.has_keys(&key));
    let Some(metadata) = found else {
        return miss;
    };
    let asks = (0..metadata.chunks).map(|index| Ask {
        from: terms.child,
        what: Retained::get(metadata.chunk_key(&key, index), command, exptime).under(&prefix),
    });
    let mut value = Vec::new();
    let mut failure = None;
    let mut is_whole = true;
    let hear = |answer| {
        match answer {
            Answer::Value(reply) => match chunk(&reply) {
                Some(chunk) if value.len() + chunk.len() > max_value => {
                    failure = Some(Answer::Failed(ErrorKind::TooLarge));
                }
                Some(chunk) if is_whole => {
                    value.extend_from_slice(chunk);
                    handle.holds(value.len());
                }
                _ => is_whole = false,
            },
            Answer::Error(..) | Answer::Failed(_) => failure = failure.take().or(Some(answer)),
            Answer::Miss | Answer::Line(..) => is_whole = false,
        }
        is_whole && failure.is_none()
    };
    handle.ask_all(asks, terms.batch, hear).await;
    if let Some(failure) = failure {
        return failure;
    }
    if !is_whole || !metadata.is_of(&value) {
        return miss;
    }
    let mut out = big_value::joined_head(head, value.len(), flags);
    out.reserve_exact(value.len() + 2);
    out.extend_from_slice(&value);
    out.extend_from_slice(b"\r\n");
    match miss {
        Answer::Miss => Answer::Value(out),
        _ => Answer::Line(Kind::MetaValue(value.len()), out),
    }
}

/// The contents of a chunk; a writer of metadata makes none that is empty.
fn chunk(reply: &[u8]) -> Option<&[u8]> {
    let (_, used) = response::line(reply)?;
    Some(contents(reply.get(used..)?)).filter(|chunk| !chunk.is_empty())
}
