//! Rules that choose one child, or stand around one: slow-warm-up, latency, blackhole, client, balance, outstanding.

use super::super::dialogue::Answer;
use super::super::dispatch::Op;
use super::fills::Talk;
use super::verdict::Group;
use crate::config::{Condition, Field, Latency, Scalar, SlowWarmUp, Verdict};
use crate::hash::{ch3, routing_key, spooky64};
use crate::protocol::meta::words;
use crate::protocol::number;
use crate::protocol::operation::Operation;
use crate::route::big_value::exptime_of;
use crate::route::exec::Outcome;
use crate::route::tree::{NodeId, Reason};

/// Most gets go to `fallback` while `child` lacks most items.
pub(super) async fn slow_warm_up(
    talk: &Talk<'_>,
    (child, fallback): (NodeId, NodeId),
    rule: &SlowWarmUp,
) -> Answer {
    let memory = &talk.terms.memory;
    if talk.group == Group::Get && memory.spares(rule, talk.terms.random) {
        return talk.pass(fallback).await;
    }
    let answer = talk.pass(child).await;
    match talk.judge(&answer) {
        Verdict::Found | Verdict::Deleted | Verdict::Touched => memory.tally(rule, true),
        Verdict::NotFound => memory.tally(rule, false),
        _ => {}
    }
    answer
}

/// The child, later.
pub(super) async fn latency(talk: &Talk<'_>, child: NodeId, rule: &Latency) -> Answer {
    let micros = |millis: u32| u64::from(millis) * 1000;
    let least = rule.least(talk.terms.random);
    let total = (least > 0).then(|| talk.handle.begin_pause(micros(least)));
    if rule.before > 0 {
        talk.handle.sleep(micros(rule.before)).await;
    }
    let answer = talk.pass(child).await;
    if rule.after > 0 {
        talk.handle.sleep(micros(rule.after)).await;
    }
    if let Some(total) = total {
        talk.handle.any(&mut vec![total]).await;
    }
    answer
}

/// The child, unless the request fits all conditions.
pub(super) async fn blackhole(
    talk: &Talk<'_>,
    (child, hole): (NodeId, NodeId),
    conditions: &[Condition],
) -> Answer {
    let fits = |condition: &Condition| match part(talk, condition.field) {
        Part::Absent => true,
        Part::Unequalled => false,
        Part::Is(scalar) => condition.fits(&scalar),
    };
    match conditions.iter().all(fits) {
        true => talk.pass(hole).await,
        false => talk.pass(child).await,
    }
}

enum Part {
    /// The request has none.
    Absent,
    /// It is there, and nothing is said of it.
    Unequalled,
    Is(Scalar),
}

/// A part of a request. A missing flag of a meta command is what the server takes for it.
fn part(talk: &Talk<'_>, field: Field) -> Part {
    let operation = talk.operation();
    let stores = talk.group == Group::Update;
    let op = talk.what.op();
    let (meta, head) = match op {
        Op::Command { head, .. } => (
            matches!(head.get(..3), Some(b"mg " | b"ms " | b"md " | b"ma ")),
            head,
        ),
        Op::Get(..) => (false, &b""[..]),
    };
    let line = super::item::line(head);
    let word = |place: usize| words(line).nth(place);
    let flag = |letter: u8| {
        let skipped = if stores { 3 } else { 2 };
        words(line)
            .skip(skipped)
            .find_map(|word| word.strip_prefix(&[letter]))
    };
    let number_or = |text: Option<&[u8]>, default: i64| {
        let read = text.map_or(Some(default), |text| {
            number::u64(text).map(|number| number as i64)
        });
        Part::Is(Scalar::Number(read.unwrap_or(default)))
    };
    match field {
        Field::Key => {
            let key = String::from_utf8_lossy(talk.what.key());
            Part::Is(Scalar::Text(key.into_owned()))
        }
        Field::Flags => match (stores, meta) {
            (true, true) => number_or(flag(b'F'), 0),
            (true, false) => number_or(word(2), 0),
            _ => Part::Is(Scalar::Number(0)),
        },
        Field::Exptime => {
            let exptime = match (op, operation) {
                (Op::Get(command, exptime), _) if command.touches() => Some(exptime),
                (Op::Get(..), _) => None,
                (_, Operation::Get | Operation::Gets | Operation::Incr | Operation::Decr) => None,
                (_, Operation::Delete) => Some(0),
                (Op::Command { head, .. }, _) if meta => Some(exptime_of(head).unwrap_or(0)),
                (_, Operation::Touch) => word(2).and_then(number::i32),
                _ => word(3).and_then(number::i32),
            };
            exptime.map_or(Part::Absent, |exptime| {
                Part::Is(Scalar::Number(exptime.into()))
            })
        }
        Field::Delta => match operation {
            Operation::Incr | Operation::Decr if meta => number_or(flag(b'D'), 1),
            Operation::Incr | Operation::Decr => number_or(word(2), 0),
            _ => Part::Absent,
        },
        Field::Cas => match operation {
            Operation::Cas if meta => number_or(flag(b'C'), 0),
            Operation::Cas => number_or(word(5), 0),
            _ => Part::Absent,
        },
        Field::Value if stores || talk.group == Group::Delete => Part::Unequalled,
        Field::Value => Part::Absent,
    }
}

/// One child, by the client's address.
pub(super) async fn client(talk: &Talk<'_>, children: &[NodeId], offset: u32) -> Answer {
    let Some(address) = talk.terms.client else {
        let outcome = Outcome::Failed(Reason::Error);
        return Answer::Error(b"SERVER_ERROR Missing IP\r\n".to_vec(), outcome);
    };
    let hash = spooky64(address.to_string().as_bytes(), 0).wrapping_add(offset.into());
    let index = hash.checked_rem(children.len() as u64).unwrap_or(0);
    match children.get(index as usize) {
        Some(child) => talk.pass(*child).await,
        None => super::none(),
    }
}

/// By hash of the key; where that fails, among those that are left.
pub(super) async fn balance(
    talk: &Talk<'_>,
    children: &[NodeId],
    (salt, tries): (&str, u32),
) -> Answer {
    let mut left = children.to_vec();
    let key = routing_key(talk.what.key(), None, true);
    let mut answer = super::none();
    for attempt in 0..tries {
        let again = match attempt {
            0 => String::new(),
            attempt => attempt.to_string(),
        };
        let hashed = [key, salt.as_bytes(), again.as_bytes()].concat();
        let Some(index) = u32::try_from(left.len()).ok().filter(|count| *count > 0) else {
            break;
        };
        let child = left.remove(ch3(&hashed, index) as usize % left.len());
        answer = talk.pass(child).await;
        if !talk.judge(&answer).is_error() {
            break;
        }
    }
    answer
}
