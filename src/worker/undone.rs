//! Deletions that could not be done and are written down instead.
//!
//! A frame that waits for the spool has nothing under way: what it goes on with is told by [`Core::spooled`], once
//! for each entry of [`Todo::spool`](super::core::Todo). Written down, the deletion counts as one that found nothing;
//! else it is the failure that it was, and the routes around it decide on that. Whether its client has left makes no
//! difference: a deletion is written down all the same.
//!
//! What can be written down is the plain deletion of a key that a text command can carry. A meta command with conditions
//! (`C`) or that leaves something behind (`I`, `T`, `x`) is none.

use super::core::{Core, Routing};
use super::dialogue::Answer;
use super::dispatch::{Op, keeps_prefix};
use super::frame::Retained;
use super::hub::reason;
use super::own;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::words;
use crate::route::compile::Role;
use crate::route::exec::Outcome;
use crate::route::tree::{Node, NodeId, Reason};
use crate::spool::{Deletion, Place, line};
use crate::upstream::conn::{Class, Ticket};

/// A deletion that has failed.
#[derive(Debug)]
pub struct Undone {
    /// Who waits for it.
    pub(super) to: Ticket,
    /// The node that writes it down.
    pub(super) node: NodeId,
    /// How it failed.
    pub(super) failure: Answer,
}

impl Core {
    /// Has a deletion written down.
    #[cold]
    pub(super) fn spool(&mut self, undone: Undone) {
        let Undone { to, node, failure } = undone;
        let Some(frame) = self
            .frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.answers(to))
        else {
            return;
        };
        match entry(&frame.routing, node, &frame.retained, &failure) {
            Some(deletion) => {
                frame.spooling = Some(Box::new((node, failure)));
                self.todo.spool.push((to, deletion));
            }
            None => self.hub().conclude(to, failure),
        }
    }

    /// An entry of [`Todo::spool`](super::core::Todo) is written down, or could not be.
    pub fn spooled(&mut self, to: Ticket, is_written: bool) {
        let Some(frame) = self
            .frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.answers(to))
        else {
            return;
        };
        let Some((node, failure)) = frame.spooling.take().map(|spooling| *spooling) else {
            return;
        };
        let passes_on = match frame.routing.snapshot.tree.node(node) {
            Some(Node::Spool { passes_on, .. }) => passes_on.has(reason_of(&failure)),
            _ => false,
        };
        let answer = match is_written && !passes_on {
            true => nothing(&frame.retained),
            false => failure,
        };
        self.hub().conclude(to, answer);
        self.run_later();
    }
}

fn reason_of(failure: &Answer) -> Reason {
    match failure {
        Answer::Failed(kind) => reason(*kind),
        Answer::Error(_, Outcome::Failed(reason)) => *reason,
        _ => Reason::Error,
    }
}

/// The answer of a server that does not have the key.
fn nothing(what: &Retained) -> Answer {
    let mut text = Vec::new();
    match own::nothing(what.key(), &what.op(), &mut text) {
        Some((kind, line)) => Answer::Line(kind, line.to_vec()),
        None => Answer::Miss,
    }
}

/// What is to be written down, if that is possible and would be right.
fn entry(routing: &Routing, node: NodeId, what: &Retained, failure: &Answer) -> Option<Deletion> {
    if matches!(failure, Answer::Failed(ErrorKind::KeyTooLong)) || !is_plain(&what.op()) {
        return None;
    }
    let Some(Node::Spool { pool, name, .. }) = routing.snapshot.tree.node(node) else {
        return None;
    };
    let place = place(routing, *pool, what.key())?;
    // As it was sent.
    let whole = match keeps_prefix(routing, *pool) && what.prefix().is_some() {
        true => Some(what.whole()?),
        false => None,
    };
    let key = whole.as_ref().unwrap_or(what).key();
    line::is_key(key).then(|| Deletion {
        place: place.clone(),
        key: key.to_vec(),
        pool: name.to_string(),
    })
}

/// What lines call the server of a key.
fn place<'r>(routing: &'r Routing, pool: u32, key: &[u8]) -> Option<&'r Place> {
    let pools = &routing.snapshot.pools;
    let mut settings = pools.get(pool as usize)?;
    let server = match settings.role {
        Role::Successor { of, nth } => {
            settings = pools.get(of as usize)?;
            settings.selector.as_ref()?.successor(key, nth)?
        }
        Role::Configured | Role::Previous => settings.selector.as_ref()?.select(key),
    };
    settings.places.get(server)
}

/// Whether a command deletes one item, whatever the item is.
fn is_plain(op: &Op<'_>) -> bool {
    let Op::Command { class, head, .. } = op else {
        return false;
    };
    match class {
        Class::Delete => true,
        Class::Meta { .. } if head.starts_with(b"md ") => {
            let body = head.strip_suffix(b"\r\n").unwrap_or(head);
            let mut flags = words(body).skip(2);
            flags.all(|flag| matches!(flag.first(), Some(b'q' | b'k' | b'b' | b'O')))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_deletions_are_written_down() {
        for (head, class, want) in [
            ("delete k", Class::Delete, true),
            ("md k", Class::Meta { own_opaque: true }, true),
            ("md k q O1", Class::Meta { own_opaque: false }, true),
            ("md aw== b k O1", Class::Meta { own_opaque: true }, true),
            // If it is still what the client has seen; a mark that it is old; what stays of it.
            ("md k C1 O1", Class::Meta { own_opaque: true }, false),
            ("md k I O1", Class::Meta { own_opaque: true }, false),
            ("md k I T30 O1", Class::Meta { own_opaque: true }, false),
            ("md k x O1", Class::Meta { own_opaque: true }, false),
            ("md k E5 O1", Class::Meta { own_opaque: true }, false),
            ("ma k O1", Class::Meta { own_opaque: true }, false),
            ("touch k 0", Class::Touch, false),
        ] {
            let head = format!("{head}\r\n");
            let op = Op::Command {
                class,
                head: head.as_bytes(),
                block: b"",
                guard: b"",
            };
            assert_eq!(is_plain(&op), want, "{head}");
        }
    }
}
