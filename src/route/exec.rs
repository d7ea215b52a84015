//! Routes that decide on replies, as a state machine.
//!
//! A [`Plan`] is a request's way through the tree: a stack of the nodes that still have a say. [`Plan::start`]
//! gives the first pool to ask; after each outcome [`Plan::next`] says whether that is the client's answer or
//! another pool is to be asked. Nested routes cost a level each, no boxes and no recursion.
//!
//! What takes many requests (a value in parts) is not done here: the plan says that it is to be done, the
//! caller does it, and how that ended is an outcome like any other.

use smallvec::SmallVec;

use super::tree::{Node, NodeId, Reason, Step, Tree};
use crate::protocol::operation::Operation;

/// What a request is, as far as routes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It looks an item up.
    Get,
    /// It does not.
    Update {
        /// The length of its value, if that may be stored in parts, else 0.
        len: usize,
    },
}

/// How a request to one pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A get found its item.
    Hit,
    /// A get found the metadata of a value that is stored in parts; only where [`Plan::joins`].
    Metadata,
    /// A get found nothing.
    Miss,
    /// An update was answered, whatever the answer.
    Done,
    /// It failed.
    Failed(Reason),
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this pool.
    Pool(u32),
    /// Its value is to be stored in parts by this node.
    Split(NodeId),
    /// It is to reach both servers of a key that has moved, by this node.
    Move(NodeId),
    /// Nowhere: this node has the answer.
    Own(NodeId),
    /// It is to be sent to this node's children by its rule.
    Many(NodeId),
    /// It is to be sent on with the keys that this node makes of its key.
    Rekey(NodeId),
}

/// A pool that an item is to be added to, and for how many seconds; 0 is for ever.
pub type CopyTo = (u32, u32);

/// What to do after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on here.
    Ask(Target),
    /// This was the answer.
    Answer,
    /// This was the answer, and the item is to be copied.
    AnswerAndCopy(CopyTo),
    /// This deletion is to be written down by this node; how that ends is the next outcome.
    Spool(NodeId),
    /// The previous server of a key that has moved is to be asked, by this node; how that ends is the next outcome.
    Fetch(NodeId),
    /// This was the metadata of a value whose parts this node is to put together; how that ends is the next
    /// outcome. The metadata may have to be copied.
    Join(NodeId, Option<CopyTo>),
}

/// How a time to live is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// To so many seconds at most.
    AtMost(u32),
    /// To so many seconds; 0 is for ever.
    Set(u32),
}

/// Deeper routes than this cost a request an allocation.
type Levels = SmallVec<[Level; 4]>;

#[derive(Clone, Copy, Debug)]
struct Level {
    node: NodeId,
    child: u32,
}

/// A request's way through the nodes that decide on replies.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    levels: Levels,
    /// Whether there was ever a level of a node that puts values together.
    joined: bool,
    /// What the request does.
    operation: Operation,
    /// It is one of the meta protocol.
    meta: bool,
    /// When it began.
    now: u64,
    /// Whether there was ever a level of a node that changes times to live.
    retimed: bool,
    /// The gutter that an update has just not come to.
    passed_by: Option<NodeId>,
}

impl Plan {
    /// For a request that does this, maybe in the meta protocol; `now` in microseconds since the process began.
    pub fn of(operation: Operation, meta: bool, now: u64) -> Plan {
        Plan {
            operation,
            meta,
            now,
            ..Plan::default()
        }
    }

    /// Enters the tree at `node`. `None`: no pool there.
    pub fn start(&mut self, tree: &Tree, node: NodeId, key: &[u8], sort: Sort) -> Option<Target> {
        self.levels.clear();
        self.passed_by = None;
        self.descend(tree, node, key, sort)
    }

    /// The gutter that an update has passed by with its last outcome: a deletion is to be done there, too.
    #[inline]
    pub fn take_passed_by(&mut self) -> Option<NodeId> {
        self.passed_by.take()
    }

    /// What is done where the plan is now to the time to live of what is stored, one after the other.
    pub fn lifetimes(&self, tree: &Tree) -> impl Iterator<Item = Lifetime> {
        let levels = if self.retimed { &self.levels[..] } else { &[] };
        let nodes = levels.iter().map(|level| tree.node(level.node));
        nodes.filter_map(|node| match node {
            Some(Node::Shorten { exptime, .. }) => Some(Lifetime::AtMost(*exptime)),
            Some(Node::Exptime { exptime, .. }) => Some(Lifetime::Set(*exptime)),
            _ => None,
        })
    }

    /// Whether it has come by a node that changes times to live.
    #[inline]
    pub fn is_retimed(&self) -> bool {
        self.retimed
    }

    /// Whether no node has a say any more: the first answer is the client's.
    pub fn is_over(&self) -> bool {
        self.levels.is_empty()
    }

    /// Whether it has come by a node that puts values together.
    #[inline]
    pub fn has_joined(&self) -> bool {
        self.joined
    }

    /// Whether a value that a get finds now would be put together if it is stored in parts.
    pub fn joins(&self, tree: &Tree) -> bool {
        self.joined
            && self
                .levels
                .iter()
                .any(|level| matches!(tree.node(level.node), Some(Node::BigValue { .. })))
    }

    fn descend(&mut self, tree: &Tree, node: NodeId, key: &[u8], sort: Sort) -> Option<Target> {
        let mut at = node;
        loop {
            match tree.resolve_for(self.operation, at, key) {
                Step::Pool(pool) => return Some(Target::Pool(pool)),
                Step::Nowhere => return None,
                Step::Decide(node) => {
                    let stays;
                    (at, stays) = match (tree.node(node)?, sort) {
                        (Node::Failover { children, .. }, _) => (*children.first()?, true),
                        // Its answer is of the copy, or says nothing of the flags that a copy must have.
                        (Node::WarmUp { .. }, Sort::Get)
                            if self.meta || self.operation != Operation::Get =>
                        {
                            return Some(Target::Many(node));
                        }
                        (Node::WarmUp { cold, .. }, _) => (*cold, sort == Sort::Get),
                        (Node::BigValue { threshold, .. }, Sort::Update { len })
                            if len > *threshold =>
                        {
                            return Some(Target::Split(node));
                        }
                        (Node::BigValue { child, .. }, _) => {
                            self.joined |= sort == Sort::Get;
                            (*child, sort == Sort::Get)
                        }
                        (Node::Shorten { child, .. } | Node::Exptime { child, .. }, _) => {
                            self.retimed = true;
                            (*child, true)
                        }
                        (Node::Operations(operations), _) => {
                            (operations.child(self.operation)?, false)
                        }
                        (Node::Limit(limit), _) => (limit.way(self.operation, self.now), false),
                        (Node::Own(_), _) => return Some(Target::Own(node)),
                        (Node::Spool { pool, .. }, _) => {
                            self.levels.push(Level { node, child: 0 });
                            return Some(Target::Pool(*pool));
                        }
                        (Node::Moving { .. }, Sort::Update { .. }) => {
                            return Some(Target::Move(node));
                        }
                        (Node::Moving { new, .. }, Sort::Get) => (*new, true),
                        (Node::Many { .. }, _) => return Some(Target::Many(node)),
                        (Node::Rekey(_), _) => return Some(Target::Rekey(node)),
                        (Node::Pool(_) | Node::Prefix { .. } | Node::Choose(_), _) => return None,
                    };
                    if stays {
                        self.levels.push(Level { node, child: 0 });
                    }
                }
            }
        }
    }

    /// What follows from an outcome.
    pub fn next(&mut self, tree: &Tree, key: &[u8], sort: Sort, outcome: Outcome) -> Next {
        let mut copy = None;
        while let Some(level) = self.levels.pop() {
            let child = level.child + 1;
            let next = match tree.node(level.node) {
                Some(Node::Failover {
                    children,
                    on,
                    on_update,
                    gutter,
                }) => {
                    let on = match sort {
                        Sort::Get => on,
                        Sort::Update { .. } => on_update,
                    };
                    let fails = match outcome {
                        Outcome::Failed(reason) => on.has(reason),
                        Outcome::Miss => on.has(Reason::Miss),
                        Outcome::Hit | Outcome::Metadata | Outcome::Done => false,
                    };
                    let next = children.get(child as usize).filter(|_| fails);
                    // One outcome passes one gutter by: another one would be in it.
                    if *gutter
                        && next.is_none()
                        && sort != Sort::Get
                        && (child as usize) < children.len()
                    {
                        self.passed_by = children.last().copied();
                    }
                    next
                }
                Some(Node::WarmUp {
                    cold,
                    warm,
                    exptime,
                }) => match (level.child, outcome) {
                    (0, Outcome::Miss | Outcome::Failed(_)) => Some(warm),
                    (1.., Outcome::Hit | Outcome::Metadata) => {
                        if let Step::Pool(pool) = tree.resolve_from(*cold, key) {
                            if outcome == Outcome::Hit {
                                // The nodes further up have no say in a hit.
                                self.levels.clear();
                                return Next::AnswerAndCopy((pool, *exptime));
                            }
                            copy = copy.or(Some((pool, *exptime)));
                        }
                        None
                    }
                    _ => None,
                },
                Some(Node::Spool { .. }) if matches!(outcome, Outcome::Failed(_)) => {
                    return Next::Spool(level.node);
                }
                Some(Node::Moving { .. }) if outcome == Outcome::Miss => {
                    return Next::Fetch(level.node);
                }
                Some(Node::BigValue { .. }) if outcome == Outcome::Metadata => {
                    return Next::Join(level.node, copy);
                }
                _ => None,
            };
            if let Some(next) = next {
                self.levels.push(Level {
                    node: level.node,
                    child,
                });
                if let Some(target) = self.descend(tree, *next, key, sort) {
                    return Next::Ask(target);
                }
            }
        }
        copy.map_or(Next::Answer, Next::AnswerAndCopy)
    }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
