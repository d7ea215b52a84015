//! Rules that fill one cache from another: warm-up, two-level, staging, migrate.
//!
//! The first child serves; what the client hears is never later than it has to be: copies are made after the answer,
//! but for a `gets`, whose cas must be that of the copy. A copy is an `add`, so it never takes the place of anything newer.
//!
//! Meta commands are what the text command is that does the same. A `mg` without the value is a `metaget`: it copies
//! nothing.

use super::super::dialogue::{Answer, Ask, Handle};
use super::super::dispatch::Op;
use super::super::frame::Retained;
use super::super::leases::{is_hot, lease};
use super::item::{Item, Keyed, asks, flags_of};
use super::verdict::{Group, verdict};
use super::{Terms, nothing, rest};
use crate::config::{Levels, Migrate, Side, Verdict};
use crate::protocol::meta::words;
use crate::protocol::operation::Operation;
use crate::route::big_value::{self, exptime_of, with_flags, without_flags};
use crate::route::tree::NodeId;
use crate::upstream::conn::Class;

/// What a note that there is nothing says.
const NOTE: &[u8] = b"ncache\r\n";

/// A dialogue with what it needs.
pub(super) struct Talk<'t> {
    pub handle: &'t Handle,
    pub terms: &'t Terms,
    pub what: &'t Retained,
    pub group: Group,
}

impl Talk<'_> {
    pub(super) fn ask_of(&self, from: NodeId) -> Ask {
        let what = self.what.clone();
        Ask { from, what }
    }

    /// Has a child answer the request as it came.
    pub(super) async fn pass(&self, from: NodeId) -> Answer {
        self.handle.ask(self.ask_of(from)).await
    }

    pub(super) fn is_hit(&self, answer: &Answer) -> bool {
        self.judge(answer) == Verdict::Found
    }

    pub(super) fn judge(&self, answer: &Answer) -> Verdict {
        verdict(answer, self.group)
    }

    /// It holds this item until it has stored it.
    fn keeps(&self, item: Option<&Item>) {
        let item = item.map_or(0, |item| item.block.len());
        self.handle.holds(self.what.held() + item);
    }

    pub(super) fn operation(&self) -> Operation {
        self.what.op().operation()
    }

    fn meta_get(&self) -> Option<&[u8]> {
        match self.what.op() {
            Op::Command { head, .. } if head.starts_with(b"mg ") => Some(head),
            _ => None,
        }
    }

    /// Whether it asks for what is known of an item, and not for its value.
    pub(super) fn is_metaget(&self) -> bool {
        self.meta_get().is_some_and(|head| !asks(head, b'v'))
    }

    /// Sends the request to both, and answers with the worse reply, the first to arrive of equally bad ones.
    async fn both(&self, one: NodeId, other: NodeId) -> Answer {
        let mut open: Vec<u32> = [one, other]
            .map(|node| self.handle.begin(self.ask_of(node)))
            .into();
        let first = self.handle.any(&mut open).await;
        let second = self.handle.any(&mut open).await;
        match (first, second) {
            (Some(first), Some(second)) => {
                let worse = self.judge(&second).severity() > self.judge(&first).severity();
                if worse { second } else { first }
            }
            (one, other) => one.or(other).unwrap_or(Answer::Miss),
        }
    }
}

/// Gets go to `cold`, and where that lacks the item to `warm`.
pub(super) async fn warm_up(
    talk: &Talk<'_>,
    (cold, warm): (NodeId, NodeId),
    exptime: Option<u32>,
) -> Answer {
    let (handle, what) = (talk.handle, talk.what);
    let first = talk.pass(cold).await;
    if talk.group != Group::Get || talk.is_hit(&first) {
        return first;
    }
    let keyed = Keyed::of(what);
    match talk.operation() {
        Operation::Get => {
            let found = talk.pass(warm).await;
            if talk.is_metaget() || !talk.is_hit(&found) {
                return found;
            }
            let item = match talk.meta_get() {
                None => Item::of(&found),
                Some(_) => None,
            };
            talk.keeps(item.as_ref());
            handle.answer_early(found);
            let item = match item {
                Some(item) => Some(item),
                None => Item::of(&handle.ask(keyed.get(warm)).await),
            };
            if let Some(item) = item {
                fill(handle, &keyed, (cold, warm), &item, exptime).await;
            }
            Answer::Miss
        }
        // It has got the token to store it with.
        Operation::LeaseGet => {
            if is_hot(&first) {
                return first;
            }
            let Some(item) = Item::of(&handle.ask(keyed.get(warm)).await) else {
                return first;
            };
            talk.keeps(Some(&item));
            handle.answer_early(keyed.as_value(&item, None));
            // With 0 nobody may store anything.
            if let Some(token) = lease(&first).filter(|token| *token != 0)
                && let Some(exptime) = lifetime(handle, &keyed, warm, exptime).await
            {
                let ask = keyed.lease_set(cold, &item, exptime, token);
                handle.ask(ask).await;
            }
            Answer::Miss
        }
        // What it has must be in `cold` before it can be told what that says of it.
        _ => {
            let found = handle.ask(keyed.get(warm)).await;
            let Some(item) = Item::of(&found) else {
                return first;
            };
            talk.keeps(Some(&item));
            let touched = match what.op() {
                Op::Get(command, exptime) if command.touches() => Some(i64::from(exptime)),
                Op::Command { head, .. } => exptime_of(head).map(i64::from),
                Op::Get(..) => None,
            };
            match touched {
                Some(exptime) => {
                    handle.ask(keyed.store("add", cold, &item, exptime)).await;
                }
                None => fill(handle, &keyed, (cold, warm), &item, exptime).await,
            }
            talk.pass(cold).await
        }
    }
}

/// Adds an item to `cold`.
async fn fill(
    handle: &Handle,
    keyed: &Keyed,
    (cold, warm): (NodeId, NodeId),
    item: &Item,
    exptime: Option<u32>,
) {
    if let Some(exptime) = lifetime(handle, keyed, warm, exptime).await {
        handle.ask(keyed.store("add", cold, item, exptime)).await;
    }
}

/// The exptime of a copy: this one, or what is left in `warm`. `None`: it is not to be copied.
async fn lifetime(
    handle: &Handle,
    keyed: &Keyed,
    warm: NodeId,
    exptime: Option<u32>,
) -> Option<i64> {
    match exptime {
        Some(exptime) => Some(i64::from(exptime)),
        None => keyed.ttl(handle, warm).await,
    }
}

/// Gets go to `l1`, and where that lacks the item to `l2`.
pub(super) async fn levels(talk: &Talk<'_>, (l1, l2): (NodeId, NodeId), rule: &Levels) -> Answer {
    let (handle, what) = (talk.handle, talk.what);
    if talk.group != Group::Get {
        return talk.pass(l1).await;
    }
    let flagged = Flagged::of(what);
    let first = handle.ask(flagged.ask(l1)).await;
    if talk.is_hit(&first) {
        if flags_of(&first).is_none_or(|flags| flags & Levels::NOTE == 0) {
            return flagged.shown(first);
        }
        // It is noted that there is nothing.
        let is_due = talk.terms.memory.is_due(rule.miss_period);
        if !is_due {
            return nothing(what);
        }
        handle.answer_early(nothing(what));
        let keyed = Keyed::of(what);
        let found = Item::of(&handle.ask(keyed.get(l2)).await);
        let again = match &found {
            Some(item) => keyed.store("set", l1, item, rule.exptime.into()),
            None => keyed.store("set", l1, &note(), rule.miss_exptime.into()),
        };
        handle.ask(again).await;
        return Answer::Miss;
    }
    let second = handle.ask(flagged.ask(l2)).await;
    let keyed = Keyed::of(what);
    let add = match talk.judge(&second) {
        Verdict::Found => {
            let item = Item::of(&second).filter(|_| !talk.is_metaget());
            item.map(|item| keyed.store("add", l1, &item, rule.exptime.into()))
        }
        Verdict::NotFound if rule.miss_period != 0 => {
            Some(keyed.store("add", l1, &note(), rule.miss_exptime.into()))
        }
        _ => None,
    };
    let second = flagged.shown(second);
    let Some(add) = add else {
        return second;
    };
    handle.answer_early(second);
    handle.ask(add).await;
    Answer::Miss
}

fn note() -> Item {
    Item {
        flags: Levels::NOTE,
        cas: None,
        block: NOTE.to_vec(),
    }
}

/// A get whose answers show the flags of what was found, whether the client wants to see them or not.
pub(super) struct Flagged {
    what: Retained,
    added: bool,
}

impl Flagged {
    pub(super) fn of(what: &Retained) -> Flagged {
        if let Op::Command {
            class, head, guard, ..
        } = what.op()
            && let Some(head) = with_flags(head)
        {
            let op = Op::Command {
                class,
                head: &head,
                block: b"",
                guard,
            };
            return Flagged {
                what: Retained::new(what.key(), op).under(what.prefix()),
                added: true,
            };
        }
        Flagged {
            what: what.clone(),
            added: false,
        }
    }

    pub(super) fn ask(&self, from: NodeId) -> Ask {
        let what = self.what.clone();
        Ask { from, what }
    }

    /// As the client wants to see it.
    pub(super) fn shown(&self, answer: Answer) -> Answer {
        if !self.added {
            return answer;
        }
        let cleaned = |bytes: Vec<u8>| {
            let mut out = Vec::with_capacity(bytes.len());
            let used = crate::protocol::response::line(&bytes).map_or(0, |(_, used)| used);
            without_flags(&bytes, &mut out);
            out.extend_from_slice(bytes.get(used..).unwrap_or_default());
            out
        };
        match answer {
            Answer::Value(bytes) => Answer::Value(cleaned(bytes)),
            Answer::Line(kind @ crate::protocol::response::Kind::MetaValue(_), bytes) => {
                Answer::Line(kind, cleaned(bytes))
            }
            answer => answer,
        }
    }
}

/// `warm` serves; `staging` is kept like it.
pub(super) async fn staging(talk: &Talk<'_>, (warm, staging): (NodeId, NodeId)) -> Answer {
    let (handle, what) = (talk.handle, talk.what);
    if talk.group == Group::Delete {
        return talk.both(warm, staging).await;
    }
    let first = talk.pass(warm).await;
    let keyed = Keyed::of(what);
    match talk.operation() {
        // A lease of one cache is none of the other's.
        Operation::Get | Operation::LeaseGet if talk.group == Group::Get => {
            if talk.is_metaget() || !talk.is_hit(&first) {
                return first;
            }
            let item = match talk.meta_get() {
                None => Item::of(&first),
                Some(_) => None,
            };
            talk.keeps(item.as_ref());
            handle.answer_early(first);
            let there = handle.ask(keyed.exists(staging)).await;
            if matches!(talk.judge(&there), Verdict::Busy | Verdict::Found) {
                return Answer::Miss;
            }
            if let Some(exptime) = keyed.ttl(handle, warm).await {
                let item = match item {
                    Some(item) => Some(item),
                    None => Item::of(&handle.ask(keyed.get(warm)).await),
                };
                if let Some(item) = item {
                    handle
                        .ask(keyed.store("add", staging, &item, exptime))
                        .await;
                }
            }
            Answer::Miss
        }
        // As mcrouter, which then does not care for what it hears.
        Operation::Gets => {
            if talk.is_metaget() || !talk.is_hit(&first) {
                return first;
            }
            handle.answer_early(first);
            handle.ask(keyed.exists(staging)).await;
            Answer::Miss
        }
        Operation::Set | Operation::Cas | Operation::LeaseSet => {
            let copy = match what.op() {
                Op::Command {
                    class, head, block, ..
                } if talk.judge(&first) == Verdict::Stored => {
                    stored(class, head, block, what.key())
                }
                _ => None,
            };
            let Some((item, exptime)) = copy else {
                return first;
            };
            handle.answer_early(first);
            handle
                .ask(keyed.store("set", staging, &item, exptime))
                .await;
            Answer::Miss
        }
        _ if talk.judge(&first).is_error() => first,
        _ => {
            handle.answer_early(first);
            let mut open = vec![handle.begin(talk.ask_of(staging))];
            rest(handle, &mut open).await
        }
    }
}

/// What a `set`, `cas` or `lease-set` stores, and for how long.
pub(super) fn stored(class: Class, head: &[u8], block: &[u8], key: &[u8]) -> Option<(Item, i64)> {
    let number = |letter: u8| {
        let mut flags = words(super::item::line(head)).skip(3);
        flags.find_map(|word| word.strip_prefix(&[letter]))
    };
    let (flags, exptime) = match big_value::Update::of(class, head, key) {
        Some(update) => (update.flags, update.exptime),
        None if class == Class::LeaseSet => {
            let mut words = words(super::item::line(head)).skip(3);
            let flags = crate::protocol::number::flags(words.next()?)?;
            (flags, crate::protocol::number::i32(words.next()?)?)
        }
        // Its key has no form in text; the flags are all the same.
        None => (
            number(b'F').map_or(Some(0), crate::protocol::number::flags)?,
            number(b'T').map_or(Some(0), crate::protocol::number::i32)?,
        ),
    };
    let item = Item {
        flags,
        cas: None,
        block: block.to_vec(),
    };
    Some((item, exptime.into()))
}

/// The token of a `lease-set`, what it stores, and for how long.
pub(super) fn leased(what: &Retained) -> Option<(u64, Item, i64)> {
    let Op::Command {
        class, head, block, ..
    } = what.op()
    else {
        return None;
    };
    let token = what.token()?;
    let (item, exptime) = stored(class, head, block, what.key())?;
    Some((token, item, exptime))
}

/// `from` serves, and later `to`.
pub(super) async fn migrate(
    talk: &Talk<'_>,
    (from, to): (NodeId, NodeId),
    rule: &Migrate,
) -> Answer {
    let deletes = talk.group == Group::Delete;
    match rule.side(talk.what.key(), deletes, talk.terms.unix) {
        Side::From => talk.pass(from).await,
        Side::To => {
            let answer = talk.pass(to).await;
            let key = talk.what.key();
            let lately = talk.terms.unix < rule.switches(key).saturating_add(Migrate::AFTERMATH);
            // Its token may be one of `from`, which is not to give it out any more.
            if let Some((token, item, _)) = leased(talk.what)
                && lately
                && talk.judge(&answer) != Verdict::Stored
            {
                talk.keeps(Some(&item));
                talk.handle.answer_early(answer);
                let keyed = Keyed::of(talk.what);
                let ask = keyed.lease_set(from, &item, -1, token);
                talk.handle.ask(ask).await;
                return Answer::Miss;
            }
            answer
        }
        Side::Both => talk.both(from, to).await,
    }
}
