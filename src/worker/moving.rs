//! Keys whose owner has changed a short while ago, as dialogues.
//!
//! What the new server lacks is fetched from the previous one and added to the new one with the time it has left to
//! live; updates reach both. Nothing old comes back by this:
//!
//! * A copy is an `add`, so it never takes the place of anything newer. While a key is being copied its updates wait, and
//!   while it is being updated it is not copied ([`crate::route::moved`]). What follows is for other routers, which know
//!   nothing of that.
//! * A deletion is done at the previous server first and at the new one after that. After a copy the previous server is
//!   asked once more: if the item is not there as it was, a deletion or an update has been there meanwhile, and the
//!   copy is taken away again, unless something newer has taken its place (by its cas). So whichever way copying and
//!   deleting are interleaved, by however many routers, one of the two takes the copy away: at once, though not before
//!   a reader may have seen it, if the two are of different routers and overlap.
//! * Every other update makes sure that the new server has the item, is done there, and deletes the previous one.
//! * If the previous server can't be told, what it has is never asked for again.

use std::sync::Arc;

use super::core::Stats;
use super::dialogue::{Answer, Ask, Handle};
use super::dispatch::Op;
use super::frame::Retained;
use crate::protocol::error::ErrorKind;
use crate::protocol::request::GetCommand;
use crate::protocol::response::{self, Kind};
use crate::route::moved::MovedKeys;
use crate::route::tree::NodeId;
use crate::upstream::conn::Class;

/// A longer time to live would be read as a date, in seconds.
const MAX_TTL: i64 = 30 * 24 * 3600;

/// A key that has moved, and from where to where.
pub(super) struct Moved {
    new: NodeId,
    old: NodeId,
    keys: MovedKeys,
    /// The key that is hashed.
    key: Vec<u8>,
    /// The key as it stands in a meta command.
    token: Vec<u8>,
    /// That is in base64.
    base64: bool,
    /// Tells replies of this dialogue from others.
    opaque: String,
    stats: Arc<Stats>,
}

impl Moved {
    pub(super) fn new(
        (new, old, keys): (NodeId, NodeId, MovedKeys),
        what: &Retained,
        serial: u32,
        stats: Arc<Stats>,
    ) -> Moved {
        let (mut token, mut base64) = (what.key().to_vec(), false);
        if let Op::Command {
            class: Class::Meta { .. },
            head,
            ..
        } = what.op()
        {
            let mut words = words(head).skip(1);
            token = words.next().unwrap_or_default().to_vec();
            base64 = words.any(|word| word == b"b");
        }
        Moved {
            new,
            old,
            keys,
            key: what.key().to_vec(),
            token,
            base64,
            opaque: format!("m{serial}"),
            stats,
        }
    }

    /// A meta command for the key: `mg`, its flags, and a block or nothing.
    fn ask(&self, from: NodeId, command: &str, flags: &str, block: Option<&[u8]>) -> Ask {
        let mut head = Vec::with_capacity(self.token.len() + flags.len() + 40);
        head.extend_from_slice(command.as_bytes());
        head.push(b' ');
        head.extend_from_slice(&self.token);
        if let Some(block) = block {
            head.extend_from_slice(format!(" {}", block.len().saturating_sub(2)).as_bytes());
        }
        if !flags.is_empty() {
            head.push(b' ');
            head.extend_from_slice(flags.as_bytes());
        }
        if self.base64 {
            head.extend_from_slice(b" b");
        }
        head.extend_from_slice(format!(" O{}\r\n", self.opaque).as_bytes());
        Ask {
            from,
            what: Retained::meta(
                self.key.clone(),
                head,
                block.map(<[u8]>::to_vec),
                self.opaque.clone().into_bytes(),
            ),
        }
    }

    fn delete_old(&self) -> Ask {
        self.ask(self.old, "md", "", None)
    }

    /// `old` is the answer to [`Moved::delete_old`].
    fn doubt_unless_told(&self, old: &Answer) {
        if !matches!(old, Answer::Line(Kind::MetaHeader | Kind::MetaNotFound, _)) {
            self.keys.doubt(&self.key);
        }
    }
}

/// A get that found nothing at its new server.
pub(super) struct Fetching {
    pub moved: Moved,
    pub what: Retained,
    /// What the new server answered.
    pub miss: Answer,
}

/// What came of fetching an item.
enum Carried {
    /// There is nothing to be had.
    Nothing,
    /// The new server has it now: as found, line and block.
    Copied(Vec<u8>),
    /// The new server has something newer than this. Whoever stored that has not been told yet that it is done, or
    /// this would have been gone.
    Older(Vec<u8>),
}

/// Asks the previous server for what the new one lacks.
pub(super) async fn fetch(handle: Handle, fetching: Fetching) -> Answer {
    let Fetching { moved, what, miss } = fetching;
    if moved.keys.is_doubted(&moved.key) {
        return miss;
    }
    moved.stats.worker.moved_asked.inc();
    let Some(_hold) = moved.keys.copy(&moved.key) else {
        // It is being updated, or it is too early. What the previous server still has was there when this was asked.
        if is_plain_get(&what) {
            return read(&handle, &moved, what.key()).await.unwrap_or(miss);
        }
        if !only_looks(&what) {
            return miss;
        }
        let from = moved.old;
        return match handle.ask(Ask { from, what }).await {
            found @ Answer::Line(Kind::MetaValue(_) | Kind::MetaHeader, _) => {
                moved.stats.worker.moved_hits.inc();
                found
            }
            // A large one.
            found @ Answer::Value(_) => {
                moved.stats.worker.moved_hits.inc();
                found
            }
            _ => miss,
        };
    };
    match carry(&handle, &moved).await {
        Carried::Copied(found) | Carried::Older(found) if is_plain_get(&what) => {
            match Item::of(&found).map(|item| item.as_value(what.key())) {
                Some(value) => Answer::Value(value),
                None => miss,
            }
        }
        Carried::Copied(_) => {
            let from = moved.new;
            handle.ask(Ask { from, what }).await
        }
        // What has been stored meanwhile may have been stored by this client behind its get.
        Carried::Older(_) | Carried::Nothing => miss,
    }
}

fn is_plain_get(what: &Retained) -> bool {
    matches!(what.op(), Op::Get(GetCommand::Get, _))
}

/// Whether it is a meta get that leaves the item as it is, and asks for nothing that another server has otherwise.
fn only_looks(what: &Retained) -> bool {
    let Op::Command { head, .. } = what.op() else {
        return false;
    };
    head.starts_with(b"mg ")
        && words(head).skip(2).all(|word| {
            matches!(
                word.first(),
                Some(b'b' | b'f' | b'k' | b'O' | b's' | b't' | b'v')
            )
        })
}

/// The previous server's item as the answer to a `get`.
async fn read(handle: &Handle, moved: &Moved, key: &[u8]) -> Option<Answer> {
    let found = match handle
        .ask(moved.ask(moved.old, "mg", "f t v c", None))
        .await
    {
        Answer::Value(found) | Answer::Line(Kind::MetaValue(_), found) => found,
        _ => return None,
    };
    let item = Item::of(&found).filter(Item::is_good)?;
    moved.stats.worker.moved_hits.inc();
    Some(Answer::Value(item.as_value(key)))
}

/// Copies the item from the previous server to the new one.
async fn carry(handle: &Handle, moved: &Moved) -> Carried {
    let found = match handle
        .ask(moved.ask(moved.old, "mg", "f t v c", None))
        .await
    {
        Answer::Value(found) | Answer::Line(Kind::MetaValue(_), found) => found,
        _ => return Carried::Nothing,
    };
    let Some(item) = Item::of(&found).filter(Item::is_good) else {
        return Carried::Nothing;
    };
    moved.stats.worker.moved_hits.inc();
    let mut flags = format!("ME F{} c", item.flags);
    if item.ttl >= 0 {
        flags.push_str(&format!(" T{}", item.ttl.min(MAX_TTL)));
    }
    handle.holds(found.len());
    let copied = match handle
        .ask(moved.ask(moved.new, "ms", &flags, Some(item.block)))
        .await
    {
        Answer::Line(Kind::MetaHeader, line) => word(&line, b'c').map(<[u8]>::to_vec),
        Answer::Line(Kind::MetaNotStored, _) => {
            let there = handle.ask(moved.ask(moved.new, "mg", "f t v c", None));
            return match there.await {
                // Somebody else has copied it.
                Answer::Value(other) | Answer::Line(Kind::MetaValue(_), other)
                    if Item::of(&other).is_some_and(|other| other.is_same(&item)) =>
                {
                    Carried::Copied(found)
                }
                _ => Carried::Older(found),
            };
        }
        // It could not be stored; whether what was found still holds can't be known.
        _ => None,
    };
    let still = match handle.ask(moved.ask(moved.old, "mg", "c", None)).await {
        Answer::Line(Kind::MetaHeader, line) => word(&line, b'c') == Some(item.cas),
        _ => false,
    };
    if still {
        if copied.is_some() {
            moved.stats.worker.moved_copied.inc();
        }
        return Carried::Copied(found);
    }
    if let Some(cas) = copied {
        let flags = format!("C{}", String::from_utf8_lossy(&cas));
        let _ = handle.ask(moved.ask(moved.new, "md", &flags, None)).await;
    }
    Carried::Nothing
}

/// An update of a key that has moved.
pub(super) async fn update(handle: Handle, moved: Moved, what: Retained) -> Answer {
    moved.stats.worker.moved_updates.inc();
    handle.holds(what.held());
    let new = moved.new;
    let mut hold = moved.keys.update(&moved.key);
    while !hold.act() {
        // Copying is a matter of a few answers.
        handle.pause().await;
    }
    match Update::of(&what) {
        Update::Debug => handle.ask(Ask { from: new, what }).await,
        Update::Delete => {
            let old = handle.ask(moved.delete_old()).await;
            moved.doubt_unless_told(&old);
            let answer = handle.ask(Ask { from: new, what }).await;
            match old {
                Answer::Line(Kind::MetaHeader, _) => as_deleted(answer),
                _ => answer,
            }
        }
        Update::Set => {
            let asks = [Ask { from: new, what }, moved.delete_old()];
            let mut answers = Vec::with_capacity(2);
            handle
                .ask_all(asks.into_iter(), 2, |answer| {
                    answers.push(answer);
                    true
                })
                .await;
            answers.last().inspect(|old| moved.doubt_unless_told(old));
            answers.swap_remove(0)
        }
        Update::Other => {
            if is_missing(&handle, &moved).await {
                hold.rest();
                carry_alone(&handle, &moved).await;
                while !hold.act() {
                    handle.pause().await;
                }
            }
            let answer = handle.ask(Ask { from: new, what }).await;
            // Then what is at the previous server is as good as it was.
            if !matches!(answer, Answer::Failed(kind) if is_unsent(kind)) {
                let old = handle.ask(moved.delete_old()).await;
                moved.doubt_unless_told(&old);
            }
            answer
        }
    }
}

/// Whether nothing was sent of a request that failed like this.
fn is_unsent(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectFailed
            | ErrorKind::MarkedDown
            | ErrorKind::QueueFull
            | ErrorKind::Overloaded
            | ErrorKind::NoServer
    )
}

/// Whether the new server lacks the item.
async fn is_missing(handle: &Handle, moved: &Moved) -> bool {
    let there = handle.ask(moved.ask(moved.new, "mg", "", None)).await;
    matches!(there, Answer::Line(Kind::MetaMiss, _))
}

/// How often an update waits for others to be done before it does without what was there before: they have changed
/// that anyway.
const MAX_PAUSES: usize = 100;

/// Copies the item for an update, when no other is done at the time.
async fn carry_alone(handle: &Handle, moved: &Moved) {
    for _ in 0..MAX_PAUSES {
        if moved.keys.ends() || moved.keys.is_doubted(&moved.key) {
            return;
        }
        if let Some(_hold) = moved.keys.copy_to_update(&moved.key) {
            if is_missing(handle, moved).await {
                moved.stats.worker.moved_asked.inc();
                carry(handle, moved).await;
            }
            return;
        }
        handle.pause().await;
    }
}

/// What an update needs of what was there before.
#[derive(Debug, PartialEq)]
enum Update {
    /// It goes.
    Delete,
    /// Nothing.
    Set,
    /// It changes that, or depends on it.
    Other,
    /// It is no update.
    Debug,
}

impl Update {
    fn of(what: &Retained) -> Update {
        let Op::Command { class, head, .. } = what.op() else {
            return Update::Debug;
        };
        let mut words = words(head);
        match (class, words.next().unwrap_or_default()) {
            (Class::Delete, _) => Update::Delete,
            (Class::Store, b"set") => Update::Set,
            (Class::MetaDebug | Class::Flush, _) => Update::Debug,
            // Invalidating keeps the item, and a cas is about the new server's.
            (Class::Meta { .. }, b"md") => {
                match words
                    .skip(1)
                    .any(|word| matches!(word.first(), Some(b'I' | b'C' | b'x')))
                {
                    true => Update::Other,
                    false => Update::Delete,
                }
            }
            (Class::Meta { .. }, b"ms") => {
                let is_set = |word: &[u8]| match word.first() {
                    Some(b'M') => matches!(word.get(1), Some(b'S' | b's')),
                    Some(b'C' | b'I') => false,
                    _ => true,
                };
                match words.skip(2).all(is_set) {
                    true => Update::Set,
                    false => Update::Other,
                }
            }
            _ => Update::Other,
        }
    }
}

/// The answer to a deletion of which only the previous server had something to delete.
fn as_deleted(answer: Answer) -> Answer {
    match answer {
        Answer::Line(Kind::NotFound, _) => Answer::Line(Kind::Deleted, b"DELETED\r\n".to_vec()),
        Answer::Line(Kind::MetaNotFound, line) => {
            let rest = line.get(2..).unwrap_or_default();
            Answer::Line(Kind::MetaHeader, [b"HD", rest].concat())
        }
        answer => answer,
    }
}

/// An item as `mg … f t v c` gives it.
struct Item<'a> {
    flags: u32,
    /// Seconds; -1 for ever.
    ttl: i64,
    cas: &'a [u8],
    /// With its line end.
    block: &'a [u8],
    /// It has been invalidated, or somebody is about to renew it.
    stale: bool,
}

impl Item<'_> {
    fn of(found: &[u8]) -> Option<Item<'_>> {
        let (end, used) = response::line(found)?;
        let line = found.get(..end)?;
        let number = |flag| std::str::from_utf8(word(line, flag)?).ok();
        Some(Item {
            flags: number(b'f')?.parse().ok()?,
            ttl: number(b't')?.parse().ok()?,
            cas: word(line, b'c')?,
            block: found.get(used..)?,
            stale: words(line).any(|word| matches!(word, b"W" | b"X" | b"Z")),
        })
    }

    /// Whether it may be given out: a last second may be over before it is stored, and 0 would be for ever.
    fn is_good(&self) -> bool {
        self.ttl != 0 && !self.stale
    }

    fn is_same(&self, other: &Item<'_>) -> bool {
        self.flags == other.flags && self.block == other.block
    }

    /// As the answer to a `get`.
    fn as_value(&self, key: &[u8]) -> Vec<u8> {
        let len = self.block.len().saturating_sub(2);
        let mut value = Vec::with_capacity(key.len() + self.block.len() + 40);
        value.extend_from_slice(b"VALUE ");
        value.extend_from_slice(key);
        value.extend_from_slice(format!(" {} {len}\r\n", self.flags).as_bytes());
        value.extend_from_slice(self.block);
        value
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = line.iter().position(|b| matches!(b, b'\r' | b'\n'));
    let line = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    line.split(|b| *b == b' ').filter(|word| !word.is_empty())
}

/// The rest of the first flag of a reply that begins with this letter.
fn word(line: &[u8], letter: u8) -> Option<&[u8]> {
    words(line)
        .skip(1)
        .find_map(|word| word.strip_prefix(&[letter]))
}

#[cfg(test)]
#[path = "moving_tests.rs"]
mod tests;
