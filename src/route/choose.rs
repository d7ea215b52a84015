//! Nodes that decide without looking at a reply.
//!
//! A [`Choice`] needs the key alone and is resolved on the spot. By what a request does ([`Operations`]) is chosen
//! when its plan begins; an [`Own`] answer is given by the worker itself, and no server is asked. `add` makes the
//! nodes of what a configuration says.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use super::rate::Limit;
use super::tree::{Node, NodeId, Reason};
use crate::config::{Choose, FailoverOn, Requests, Route};
use crate::hash::Selector;
use crate::protocol::operation::Operation;

/// A choice by the key, or by nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By hash.
    Hash {
        /// Who gets which key.
        spread: Spread,
        /// As many as the selector has nodes.
        children: Vec<NodeId>,
    },
    /// By chance.
    Random(Vec<NodeId>),
    /// By whether a key has a hash stop.
    HashStop {
        /// Keys that begin with one of these may have one.
        prefixes: Vec<Box<[u8]>>,
        /// Where the good ones go.
        child: NodeId,
        /// Where the others go.
        refused: NodeId,
    },
}

/// A selector; two are equal if they place all keys alike.
#[derive(Clone, Debug)]
pub struct Spread(Arc<Selector>);

impl PartialEq for Spread {
    fn eq(&self, other: &Spread) -> bool {
        self.0.digest() == other.0.digest()
    }
}

impl Eq for Spread {}

impl Choice {
    /// Which of its children a key has, by their positions, if that follows from its hash.
    pub fn place(&self, key: &[u8]) -> Option<usize> {
        match self {
            Choice::Hash { spread, .. } => Some(spread.0.select(key)),
            _ => None,
        }
    }

    /// Where a key goes.
    pub fn child(&self, key: &[u8]) -> Option<NodeId> {
        match self {
            Choice::Hash { spread, children } => children.get(spread.0.select(key)).copied(),
            Choice::Random(children) => {
                let index = (random() as usize).checked_rem(children.len())?;
                children.get(index).copied()
            }
            Choice::HashStop {
                prefixes,
                child,
                refused,
            } => {
                let is_good = memchr::memmem::find(key, b"|#|").is_none()
                    || prefixes.iter().any(|prefix| key.starts_with(prefix));
                Some(if is_good { *child } else { *refused })
            }
        }
    }
}

/// Xorshift, seeded by each thread for itself: good enough to spread requests.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(
            std::hash::RandomState::new().build_hasher().finish() | 1
        );
    }
    STATE.with(|state| {
        let mut next = state.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.set(next);
        next >> 16
    })
}

/// Where a request goes, by what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations([NodeId; Operation::COUNT]);

impl Operations {
    /// Of each operation the node that `place` says.
    pub(super) fn of(place: impl Fn(Operation) -> NodeId) -> Operations {
        Operations(Operation::ALL.map(place))
    }

    /// Where requests that do this go.
    pub fn child(&self, operation: Operation) -> Option<NodeId> {
        self.0.get(operation as usize).copied()
    }
}

/// An answer without a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// That of an empty cache.
    Nothing,
    /// What the router knows of itself, by what the key asks.
    Introspection,
    /// An error.
    Error {
        /// The line with its end.
        line: Box<[u8]>,
        /// What it is to failover routes; `None`: an answer like others.
        reason: Option<Reason>,
        /// It is shown where failed gets are misses, too.
        is_shown: bool,
    },
}

impl Own {
    /// That of a tree that has no route for a key, in mcrouter's words. Shown whether failed gets are misses or not.
    pub fn nowhere() -> Own {
        Own::Error {
            line: NO_ROUTE.into(),
            reason: Some(Reason::Error),
            is_shown: true,
        }
    }
}

/// The answer where a routing prefix leads nowhere.
const NO_ROUTE: &[u8] = b"SERVER_ERROR RootRoute: No rh found\r\n";

fn error(line: &str, reason: Option<Reason>, is_shown: bool) -> Node {
    Node::Own(Own::Error {
        line: line.as_bytes().into(),
        reason,
        is_shown,
    })
}

/// Has the answers of these nodes the words of mcrouter 0.36, which says of no error of its own what it is about.
pub(super) fn say_less(nodes: &mut [Node]) {
    for node in nodes {
        if let Node::Own(Own::Error { line, .. }) = node
            && **line == *NO_ROUTE
        {
            *line = b"SERVER_ERROR local error\r\n"[..].into();
        }
    }
}

fn push(node: Node, nodes: &mut Vec<Node>) -> NodeId {
    nodes.push(node);
    nodes.len() as NodeId - 1
}

/// Adds a route with what is below it, which `add` adds.
pub(super) fn add(
    choose: &Choose,
    nodes: &mut Vec<Node>,
    reason: impl Fn(FailoverOn) -> Reason,
    add: impl Fn(&Route, &mut Vec<Node>) -> NodeId,
) -> NodeId {
    let all = |children: &[Route], nodes: &mut Vec<Node>| -> Vec<NodeId> {
        children.iter().map(|child| add(child, nodes)).collect()
    };
    let node = match choose {
        Choose::Null => Node::Own(Own::Nothing),
        Choose::Error {
            message,
            result,
            shown,
        } => error(&result.wire(message), result.reason.map(reason), *shown),
        Choose::Hash { children, .. } => match choose.selector() {
            Some(Ok(selector)) => Node::Choose(Choice::Hash {
                spread: Spread(Arc::new(selector)),
                children: all(children, nodes),
            }),
            // A checked configuration has none of that.
            _ => error(
                "SERVER_ERROR no server for this key\r\n",
                Some(Reason::Connect),
                false,
            ),
        },
        Choose::Random { children } => Node::Choose(Choice::Random(all(children, nodes))),
        Choose::Host { children, .. } => match choose.own().and_then(|index| children.get(index)) {
            Some(child) => return add(child, nodes),
            None => Node::Own(Own::Nothing),
        },
        Choose::Operation {
            default,
            operations,
        } => {
            let built: Vec<(Requests, NodeId)> = operations
                .iter()
                .map(|(requests, route)| (*requests, add(route, nodes)))
                .collect();
            let default = default.as_deref().map(|route| add(route, nodes));
            let place = |wanted: Requests| {
                let found = built.iter().find(|(requests, _)| *requests == wanted);
                found.map(|(_, node)| *node)
            };
            Node::Operations(Operations(Operation::ALL.map(|operation| {
                let group = operation.group().map(Requests::Group);
                let found = place(Requests::One(operation))
                    .or_else(|| group.and_then(place))
                    .or(default);
                found.unwrap_or_else(|| {
                    // mcrouter's words; to it, too, this is no error that leads to a failover.
                    let name = operation.name();
                    let line =
                        format!("SERVER_ERROR unexpected result mc_res_unknown (0) for {name}\r\n");
                    push(error(&line, None, true), nodes)
                })
            })))
        }
        Choose::Exptime {
            child,
            exptime,
            at_most,
        } => {
            let child = add(child, nodes);
            match (*at_most, *exptime) {
                (true, 0) => return child,
                (true, exptime) => Node::Shorten { child, exptime },
                (false, exptime) => Node::Exptime { child, exptime },
            }
        }
        Choose::RateLimit {
            child,
            rates,
            fallback,
        } => {
            let child = add(child, nodes);
            let over = match fallback {
                Some(fallback) => add(fallback, nodes),
                None => push(Node::Own(Own::Nothing), nodes),
            };
            Node::Limit(Arc::new(Limit::new(child, over, rates)))
        }
        Choose::HashStop { child, prefixes } => {
            let child = add(child, nodes);
            // The spelling is mcrouter's.
            let line = "SERVER_ERROR Hash stop not permited\r\n";
            let refused = push(error(line, Some(Reason::Error), false), nodes);
            Node::Choose(Choice::HashStop {
                prefixes: prefixes.iter().map(|one| one.as_bytes().into()).collect(),
                child,
                refused,
            })
        }
    };
    push(node, nodes)
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
