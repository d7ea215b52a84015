//! The compiled route: an arena of nodes.
//!
//! Nodes that choose by the key alone (prefixes, pools) are resolved on the spot and cost a request nothing.
//! Nodes that decide on a reply (failover, warm-up, big values) need a frame while the request is under way;
//! see [`super::exec`].

use std::sync::Arc;

use super::choose::{Choice, Operations, Own};
use super::keys::Rekey;
use super::many::Memory;
use super::moved::MovedKeys;
use super::rate::Limit;
use crate::config::Rule;
use crate::protocol::operation::Operation;

/// A node's place in the tree.
pub type NodeId = u32;

/// What makes a failover route go on to its next child; a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u8);

impl Reasons {
    /// The empty set.
    pub const NONE: Reasons = Reasons(0);

    /// The set with `reason` added.
    #[must_use]
    pub const fn with(self, reason: Reason) -> Reasons {
        Reasons(self.0 | 1 << reason as u8)
    }

    /// Whether `reason` is in it.
    pub const fn has(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }
}

/// One way for a request to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Closed,
    /// The server answered with an error.
    Error,
    /// The queue is full.
    Busy,
    /// A get found nothing.
    Miss,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// The pool of this number.
    Pool(u32),
    /// A pool whose deletions are written down when they fail. For all else it is the pool.
    Spool {
        /// The number of the pool.
        pool: u32,
        /// What the lines call it.
        name: Arc<str>,
        /// With these failures the deletion goes on to where the route leads then; with the others, and where it is
        /// empty, it counts as done.
        passes_on: Reasons,
    },
    /// By the beginning of the key; longest prefix first.
    Prefix {
        /// Prefixes by falling length, and where their keys go.
        prefixes: Vec<(Box<[u8]>, NodeId)>,
        /// Where every other key goes.
        default: NodeId,
    },
    /// The first child; where that fails for one of the reasons, the next.
    Failover {
        /// At least one.
        children: Vec<NodeId>,
        /// What counts as a failure of a get.
        on: Reasons,
        /// What counts as a failure of anything else.
        on_update: Reasons,
        /// The last child is a gutter: what is deleted elsewhere is deleted there, too.
        gutter: bool,
    },
    /// What is stored below lives so many seconds at most.
    Shorten {
        /// Where everything goes.
        child: NodeId,
        /// At least 1.
        exptime: u32,
    },
    /// By the key alone.
    Choose(Choice),
    /// By what the request does.
    Operations(Operations),
    /// By how many have passed already; shared, for that is counted.
    Limit(Arc<Limit>),
    /// Answered without a server.
    Own(Own),
    /// What is stored or touched below lives so many seconds; 0 is for ever.
    Exptime {
        /// Where everything goes.
        child: NodeId,
        /// At most 30 days.
        exptime: u32,
    },
    /// A get that misses in `cold` is asked of `warm`, and a hit there is added to `cold`.
    WarmUp {
        /// The cache being filled.
        cold: NodeId,
        /// The cache that is full.
        warm: NodeId,
        /// Seconds a copied item lives; 0 is for ever.
        exptime: u32,
    },
    /// A pool whose servers have changed a short while ago.
    Moving {
        /// The pool as it is.
        new: NodeId,
        /// The pool as it was.
        old: NodeId,
        /// Which keys this makes a difference to.
        keys: MovedKeys,
    },
    /// Values over `threshold` are stored in parts of that many bytes; see [`super::big_value`].
    BigValue {
        /// Where everything goes.
        child: NodeId,
        /// The most bytes one item holds.
        threshold: usize,
        /// How many parts are asked for at a time.
        batch: usize,
        /// Whether clients see the flags without [`super::big_value::FLAG`].
        hide_flag: bool,
    },
    /// Several children, and a rule that decides between them.
    Many {
        /// See there.
        rule: Arc<Rule>,
        /// At least one.
        children: Vec<NodeId>,
        /// What it remembers.
        memory: Arc<Memory>,
    },
    /// Looks into keys, or changes them.
    Rekey(Box<Rekey>),
}

impl Node {
    /// A choice by the beginning of the key.
    pub fn prefix(prefixes: Vec<(&[u8], NodeId)>, default: NodeId) -> Node {
        let mut prefixes: Vec<(Box<[u8]>, NodeId)> = prefixes
            .into_iter()
            .map(|(prefix, child)| (prefix.into(), child))
            .collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Node::Prefix { prefixes, default }
    }
}

/// Where the choice by key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// At a pool.
    Pool(u32),
    /// At a node that decides on the reply.
    Decide(NodeId),
    /// Nowhere: the tree is broken, which compiling rules out.
    Nowhere,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
    root: NodeId,
    /// The pool of all keys, if there is one; for deletions it may be more than that.
    only: Option<u32>,
    splits: bool,
    spools: bool,
}

impl Tree {
    /// A tree of these nodes; children must come before their parents, so that there is no cycle.
    pub fn new(nodes: Vec<Node>) -> Tree {
        let root = (nodes.len() as NodeId).saturating_sub(1);
        let splits = nodes
            .iter()
            .any(|node| matches!(node, Node::BigValue { .. }));
        let spools = nodes.iter().any(|node| matches!(node, Node::Spool { .. }));
        let only = match nodes.last() {
            Some(Node::Pool(pool) | Node::Spool { pool, .. }) => Some(*pool),
            _ => None,
        };
        Tree {
            nodes,
            root,
            only,
            splits,
            spools,
        }
    }

    /// Whether there is a node that stores values in parts.
    pub fn splits(&self) -> bool {
        self.splits
    }

    /// Whether there is a node that writes deletions down.
    #[inline]
    pub fn spools(&self) -> bool {
        self.spools
    }

    /// Its limits of rates begin, unless they have begun; `now` in microseconds since the process did.
    pub fn begin(&self, now: u64) {
        for node in &self.nodes {
            if let Node::Limit(limit) = node {
                limit.begin(now);
            }
        }
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// If a node chooses by the beginning of the key: the one that it chooses; else itself.
    pub fn prefixed(&self, id: NodeId, key: &[u8]) -> NodeId {
        match self.node(id) {
            Some(Node::Prefix { prefixes, default }) => longest(prefixes, *default, key),
            _ => id,
        }
    }

    /// Where requests begin.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Where a key goes.
    #[inline]
    pub fn resolve(&self, key: &[u8]) -> Step {
        match self.only {
            Some(pool) => Step::Pool(pool),
            None => self.resolve_from(self.root, key),
        }
    }

    /// The pool where all keys go, if it is one for all; deletions apart.
    #[inline]
    pub fn only_pool(&self) -> Option<u32> {
        self.only
    }

    /// Where a key goes from a node on.
    #[inline]
    pub fn resolve_from(&self, id: NodeId, key: &[u8]) -> Step {
        self.walk::<false>(id, key)
    }

    /// Where a deletion goes.
    pub fn resolve_deletion(&self, key: &[u8]) -> Step {
        self.walk::<true>(self.root, key)
    }

    /// Where a request that does this goes from a node on.
    #[inline]
    pub fn resolve_for(&self, operation: Operation, id: NodeId, key: &[u8]) -> Step {
        match operation == Operation::Delete && self.spools {
            true => self.walk::<true>(id, key),
            false => self.walk::<false>(id, key),
        }
    }

    #[inline]
    fn walk<const DELETES: bool>(&self, mut id: NodeId, key: &[u8]) -> Step {
        loop {
            match self.nodes.get(id as usize) {
                Some(Node::Pool(pool)) => return Step::Pool(*pool),
                Some(Node::Spool { pool, .. }) if !DELETES => return Step::Pool(*pool),
                Some(Node::Prefix { prefixes, default }) => {
                    id = longest(prefixes, *default, key);
                }
                Some(Node::Moving { new, keys, .. }) if !keys.moved(key) => id = *new,
                Some(Node::Choose(choice)) => match choice.child(key) {
                    Some(child) => id = child,
                    None => return Step::Nowhere,
                },
                Some(Node::Rekey(rekey)) => match unchanged(rekey, key) {
                    Some(child) => id = child,
                    None => return Step::Decide(id),
                },
                Some(Node::Many { rule, children, .. }) => match passed(rule, children, key) {
                    Some(child) => id = child,
                    None => return Step::Decide(id),
                },
                Some(_) => return Step::Decide(id),
                None => return Step::Nowhere,
            }
        }
    }
}

#[inline]
fn longest(prefixes: &[(Box<[u8]>, NodeId)], default: NodeId, key: &[u8]) -> NodeId {
    let mut all = prefixes.iter();
    all.find(|(prefix, _)| key.starts_with(prefix))
        .map_or(default, |(_, child)| *child)
}

/// Where a key goes from a node that leaves it as it is.
#[cold]
#[inline(never)]
fn unchanged(rekey: &Rekey, key: &[u8]) -> Option<NodeId> {
    rekey.passes(key)
}

/// Where a key goes from a node whose rule is not for it. Apart, lest a mere pool pays for it.
#[cold]
#[inline(never)]
fn passed(rule: &Rule, children: &[NodeId], key: &[u8]) -> Option<NodeId> {
    match rule {
        Rule::Shadow(shadow) if !shadow.takes(key) => children.first().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let tree = Tree::new(vec![
            Node::Pool(0),
            Node::Pool(1),
            Node::Pool(2),
            Node::Prefix {
                prefixes: vec![(b"user:x"[..].into(), 1), (b"user:"[..].into(), 0)],
                default: 2,
            },
        ]);
        assert_eq!(tree.resolve(b"user:x1"), Step::Pool(1));
        assert_eq!(tree.resolve(b"user:1"), Step::Pool(0));
        assert_eq!(tree.resolve(b"other"), Step::Pool(2));
    }

    #[test]
    fn only_deletions_see_the_spool() {
        let spool = Node::Spool {
            pool: 3,
            name: "p".into(),
            passes_on: Reasons::NONE,
        };
        let tree = Tree::new(vec![
            spool,
            Node::Prefix {
                prefixes: Vec::new(),
                default: 0,
            },
        ]);
        assert_eq!(tree.resolve(b"k"), Step::Pool(3));
        assert_eq!(tree.resolve_deletion(b"k"), Step::Decide(0));
        assert_eq!(tree.resolve_for(Operation::Touch, 1, b"k"), Step::Pool(3));
        assert_eq!(
            tree.resolve_for(Operation::Delete, 1, b"k"),
            Step::Decide(0)
        );
    }
}
