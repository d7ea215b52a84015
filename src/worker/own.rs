//! Answers that routes give themselves: that of an empty cache, or an error.
//!
//! They go the way of a server's answer, so that the routes around and the client's place in line see no difference.
//! No server is asked and nothing is waited for.

use super::core::{Core, Routing};
use super::dispatch::Op;
use crate::protocol::meta::{self, words};
use crate::protocol::response::Kind;
use crate::route::choose::Own;
use crate::route::exec::Outcome;
use crate::route::tree::{Node, NodeId};
use crate::upstream::conn::{Class, ReplyKind, Sink, Ticket};

impl Core {
    /// Answers as this node says.
    #[cold]
    pub(super) fn answer(
        &mut self,
        node: NodeId,
        routing: &Routing,
        to: Ticket,
        key: &[u8],
        op: &Op<'_>,
    ) {
        match routing.snapshot.tree.node(node) {
            Some(Node::Own(Own::Error {
                line,
                reason,
                is_shown,
            })) => {
                self.stats.worker.errors.inc();
                let outcome = reason.map_or(Outcome::Done, Outcome::Failed);
                let mut hub = self.hub();
                hub.hides_errors = is_shown.then_some(false);
                hub.error_as(to, line, outcome);
            }
            Some(Node::Own(Own::Introspection)) => self.introspect(routing, to, key, op),
            _ => self.answer_nothing(to, key, op),
        }
    }

    /// As a cache that is empty and stores nothing.
    pub(super) fn answer_nothing(&mut self, to: Ticket, key: &[u8], op: &Op<'_>) {
        let mut text = Vec::new();
        match nothing(key, op, &mut text) {
            Some((kind, line)) => self.hub().reply(to, ReplyKind::Line(kind), line),
            None => self.hub().miss(to),
        }
    }
}

/// What a cache answers that is empty and stores nothing; `None`: the miss of a get. `text` is room for it.
pub(super) fn nothing<'t>(
    key: &[u8],
    op: &Op<'_>,
    text: &'t mut Vec<u8>,
) -> Option<(Kind, &'t [u8])> {
    let Op::Command { class, head, .. } = op else {
        return None;
    };
    Some(match class {
        Class::Store | Class::LeaseSet => (Kind::NotStored, b"NOT_STORED\r\n"),
        Class::LeaseGet | Class::Metaget => return None,
        Class::Meta { own_opaque } => (nothing_of(head, *own_opaque, key, text), text),
        Class::MetaDebug => (Kind::MetaMiss, b"EN\r\n"),
        Class::Delete | Class::Arith | Class::Touch | Class::Flush | Class::Uptime => {
            (Kind::NotFound, b"NOT_FOUND\r\n")
        }
    })
}

/// The answer to a meta command with the flags that come back (`k`, `O`, `b`), in their order.
fn nothing_of(head: &[u8], own_opaque: bool, key: &[u8], out: &mut Vec<u8>) -> Kind {
    let body = head.strip_suffix(b"\r\n").unwrap_or(head);
    let mut parts = words(body);
    let name = parts.next().unwrap_or_default();
    let key = parts.next().unwrap_or(key);
    let mut flags: Vec<&[u8]> = parts.skip(usize::from(name == b"ms")).collect();
    if own_opaque {
        // Then it is the only one.
        flags.retain(|flag| !flag.starts_with(b"O"));
    }
    meta::miss(key, &flags.join(&b' '), out);
    let (kind, code) = match name {
        b"mg" => return Kind::MetaMiss,
        b"ms" => (Kind::MetaNotStored, b"NS"),
        _ => (Kind::MetaNotFound, b"NF"),
    };
    out.splice(..2.min(out.len()), *code);
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_answers_bring_back_what_was_asked_for() {
        for (head, own, want) in [
            ("mg k v", false, "EN\r\n"),
            ("mg k v k O7", false, "EN kk O7\r\n"),
            ("mg k v k O7", true, "EN kk\r\n"),
            ("mg aw== b k v O5", true, "EN kaw== b\r\n"),
            ("ms k 2 T0 Oab", false, "NS Oab\r\n"),
            ("ms k 2 O9", true, "NS\r\n"),
            ("md k q", false, "NF\r\n"),
            ("ma k k O1", true, "NF kk\r\n"),
            ("mg k v k O7 f", true, "EN kk\r\n"),
            ("ma O O9", false, "NF O9\r\n"),
            ("md azA= b k O5", true, "NF kazA= b\r\n"),
        ] {
            let mut out = Vec::new();
            let line = format!("{head}\r\n");
            nothing_of(line.as_bytes(), own, b"k", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{head}");
        }
    }
}
