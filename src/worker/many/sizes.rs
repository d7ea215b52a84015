//! Small values here, large ones there: the rule `by-size`.
//!
//! A large value is in `l2`; in `l1` is a note, an item with the flag [`Sizes::ELSEWHERE`]. Where that has no value, the
//! large one is under the same key; else under `KEY|==|VALUE`, which is how mcrouter stores what comes with a lease. The
//! value is written before its note, and a note without a value is taken away, unless it has changed meanwhile.

use super::super::dialogue::{Answer, Handle};
use super::super::dispatch::Op;
use super::super::frame::Retained;
use super::super::leases::lease;
use super::fills::{Flagged, Talk, leased};
use super::item::{Item, Keyed, flags_of, line, with_value};
use super::verdict::Group;
use crate::config::{Sizes, Verdict};
use crate::protocol::meta::words;
use crate::protocol::number;
use crate::protocol::operation::Operation;
use crate::protocol::response::Kind;
use crate::route::big_value::{Update, stand_in_head};
use crate::route::exec::Outcome;
use crate::route::tree::{NodeId, Reason};

pub(super) async fn sizes(talk: &Talk<'_>, (l1, l2): (NodeId, NodeId), rule: &Sizes) -> Answer {
    match (talk.group, talk.operation()) {
        (Group::Get, Operation::Get | Operation::Gets | Operation::LeaseGet)
            if !talk.is_metaget() =>
        {
            read(talk, (l1, l2), rule).await
        }
        (Group::Update, Operation::Set) => write(talk, (l1, l2), rule).await,
        (Group::Update, Operation::LeaseSet) => write_leased(talk, (l1, l2), rule).await,
        _ => talk.pass(l1).await,
    }
}

async fn write(talk: &Talk<'_>, (l1, l2): (NodeId, NodeId), rule: &Sizes) -> Answer {
    let what = talk.what;
    let Op::Command {
        class, head, block, ..
    } = what.op()
    else {
        return talk.pass(l1).await;
    };
    // A key in base64 stays with the small ones, too.
    let update = Update::of(class, head, what.key());
    let len = block.len().saturating_sub(2);
    let large = update.filter(|update| !rule.is_small(what.key(), len, update.exptime));
    let Some(update) = large else {
        return talk.pass(l1).await;
    };
    if rule.both {
        let first = talk.pass(l1).await;
        if talk.judge(&first) == Verdict::Stored {
            talk.handle.answer_early(first);
            talk.pass(l2).await;
            return Answer::Miss;
        }
        return first;
    }
    let there = talk.pass(l2).await;
    if talk.judge(&there) != Verdict::Stored {
        return there;
    }
    let head = stand_in_head(class, head, update.flags | Sizes::ELSEWHERE, 0);
    let mut ask = talk.ask_of(l1);
    ask.what = what.with(head, b"\r\n".to_vec());
    talk.handle.ask(ask).await
}

/// As [`write`], by a token of `l1`. The value has a name of its own in `l2`: that the note is not stored must not change
/// what an older one stands for.
async fn write_leased(talk: &Talk<'_>, (l1, l2): (NodeId, NodeId), rule: &Sizes) -> Answer {
    let (handle, what) = (talk.handle, talk.what);
    let Some((token, item, exptime)) = leased(what) else {
        return talk.pass(l1).await;
    };
    let len = item.block.len().saturating_sub(2);
    let keyed = Keyed::of(what);
    let number = talk.terms.random as u32;
    let large = match rule.is_small(what.key(), len, i32::try_from(exptime).unwrap_or(i32::MAX)) {
        true => None,
        false => keyed.with(&format!("|==|{number}")),
    };
    let Some(own) = large else {
        return talk.pass(l1).await;
    };
    if rule.both {
        let first = talk.pass(l1).await;
        if talk.judge(&first) == Verdict::Stored {
            handle.answer_early(first);
            handle.ask(keyed.store("set", l2, &item, exptime)).await;
            return Answer::Miss;
        }
        return first;
    }
    let there = handle.ask(own.store("set", l2, &item, exptime)).await;
    if talk.judge(&there) == Verdict::Stored {
        let note = Item {
            flags: item.flags | Sizes::ELSEWHERE,
            cas: None,
            block: format!("{number}\r\n").into_bytes(),
        };
        return handle.ask(keyed.lease_set(l1, &note, exptime, token)).await;
    }
    let most = i64::from(rule.failure_ttl);
    let exptime = match exptime {
        0 => most,
        exptime => exptime.min(most),
    };
    handle.ask(keyed.lease_set(l1, &item, exptime, token)).await
}

/// The miss of a `lease-get` that comes with a note.
fn bare_lease(what: &Retained, answer: &Answer) -> Option<Answer> {
    let token = lease(answer)?;
    let Answer::Line(_, bytes) = answer else {
        return None;
    };
    let flags = words(line(bytes)).nth(3).and_then(number::flags)?;
    let noted = flags & Sizes::ELSEWHERE != 0;
    noted.then(|| {
        let rest = format!(" {token} 0 0\r\n\r\n");
        let text = [b"LVALUE ", what.key(), rest.as_bytes()].concat();
        Answer::Line(Kind::MetaMiss, text)
    })
}

/// The answer of a router that has lost something.
fn lost() -> Answer {
    let outcome = Outcome::Failed(Reason::Error);
    Answer::Error(b"SERVER_ERROR local error\r\n".to_vec(), outcome)
}

async fn read(talk: &Talk<'_>, (l1, l2): (NodeId, NodeId), rule: &Sizes) -> Answer {
    let handle = talk.handle;
    let with_cas = talk.operation() == Operation::Gets;
    let insists = with_cas || talk.operation() == Operation::LeaseGet;
    let flagged = Flagged::of(talk.what);
    let keyed = Keyed::of(talk.what);
    for _ in 0..=rule.retries {
        let first = handle.ask(flagged.ask(l1)).await;
        let noted = flags_of(&first).is_some_and(|flags| flags & Sizes::ELSEWHERE != 0);
        let Some(note) = Item::of(&first).filter(|_| noted) else {
            return bare_lease(talk.what, &first).unwrap_or_else(|| flagged.shown(first));
        };
        let value = String::from_utf8_lossy(&note.block);
        let value = value.trim_end_matches("\r\n");
        let own = match value {
            "" => None,
            value => keyed.with(&format!("|==|{value}")),
        };
        let there = own.as_ref().unwrap_or(&keyed);
        let found = handle.ask(there.get(l2)).await;
        if let Some(item) = Item::of(&found) {
            return match &first {
                Answer::Value(line) if line.starts_with(b"VALUE ") => {
                    keyed.as_value(&item, note.cas.filter(|_| with_cas))
                }
                Answer::Value(line) | Answer::Line(_, line) => {
                    flagged.shown(with_value(line, &item))
                }
                _ => lost(),
            };
        }
        let judged = talk.judge(&found);
        if judged.is_error() {
            if judged.fails_over() && (own.is_some() || insists) {
                forget(handle, &keyed, l1, &note).await;
            }
            return found;
        }
        if own.is_none() && !insists {
            return super::nothing(talk.what);
        }
        forget(handle, &keyed, l1, &note).await;
        if !insists {
            return lost();
        }
    }
    lost()
}

/// Takes a note away whose value is gone.
async fn forget(handle: &Handle, keyed: &Keyed, l1: NodeId, note: &Item) {
    let now = Item::of(&handle.ask(keyed.gets(l1)).await);
    if let Some(Item {
        cas: Some(cas),
        block,
        ..
    }) = now
        && block == note.block
    {
        handle.ask(keyed.expire(l1, cas)).await;
    }
}
