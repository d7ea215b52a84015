//! Routes that decide on replies, as a state machine.
//!
//! A [`Plan`] is a request's way through the tree: a stack of the nodes that still have a say. [`Plan::start`]
//! gives the first pool to ask; after each outcome [`Plan::next`] says whether that is the client's answer or
//! another pool is to be asked. Nested routes cost a level each, no boxes and no recursion.

use super::tree::{Node, NodeId, Reason, Step, Tree};

/// How a request to one pool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A get found its item.
    Hit,
    /// A get found nothing.
    Miss,
    /// An update was answered, whatever the answer.
    Done,
    /// It failed.
    Failed(Reason),
}

/// What to do after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this pool.
    Ask(u32),
    /// This was the answer.
    Answer,
    /// This was the answer, and the item is to be added to this pool for so many seconds.
    AnswerAndCopy {
        /// The pool.
        pool: u32,
        /// Seconds the copy lives; 0 is for ever.
        exptime: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Level {
    node: NodeId,
    child: u32,
}

/// A request's way through the nodes that decide on replies.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    levels: Vec<Level>,
}

impl Plan {
    /// Enters the tree at `node`; `get` says whether the request is a retrieval. `None`: no pool there.
    pub fn start(&mut self, tree: &Tree, node: NodeId, key: &[u8], get: bool) -> Option<u32> {
        self.levels.clear();
        self.descend(tree, node, key, get)
    }

    fn descend(&mut self, tree: &Tree, node: NodeId, key: &[u8], get: bool) -> Option<u32> {
        let mut at = node;
        loop {
            match tree.resolve_from(at, key) {
                Step::Pool(pool) => return Some(pool),
                Step::Nowhere => return None,
                Step::Decide(node) => {
                    at = match tree.node(node)? {
                        Node::Failover { children, .. } => *children.first()?,
                        Node::WarmUp { cold, .. } => *cold,
                        Node::Pool(_) | Node::Prefix { .. } => return None,
                    };
                    if get || !matches!(tree.node(node), Some(Node::WarmUp { .. })) {
                        self.levels.push(Level { node, child: 0 });
                    }
                }
            }
        }
    }

    /// What follows from an outcome.
    pub fn next(&mut self, tree: &Tree, key: &[u8], get: bool, outcome: Outcome) -> Next {
        while let Some(level) = self.levels.pop() {
            let child = level.child + 1;
            let next = match tree.node(level.node) {
                Some(Node::Failover { children, on }) => {
                    let fails = match outcome {
                        Outcome::Failed(reason) => on.has(reason),
                        Outcome::Miss => on.has(Reason::Miss),
                        Outcome::Hit | Outcome::Done => false,
                    };
                    children.get(child as usize).filter(|_| fails)
                }
                Some(Node::WarmUp {
                    cold,
                    warm,
                    exptime,
                }) => match (level.child, outcome) {
                    (0, Outcome::Miss | Outcome::Failed(_)) => Some(warm),
                    (_, Outcome::Hit) if level.child > 0 => {
                        if let Step::Pool(pool) = tree.resolve_from(*cold, key) {
                            // The nodes further up have no say in a hit.
                            self.levels.clear();
                            return Next::AnswerAndCopy {
                                pool,
                                exptime: *exptime,
                            };
                        }
                        None
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some(next) = next {
                self.levels.push(Level {
                    node: level.node,
                    child,
                });
                if let Some(pool) = self.descend(tree, *next, key, get) {
                    return Next::Ask(pool);
                }
            }
        }
        Next::Answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Reasons;
    use super::*;

    fn failover(on: Reasons) -> Tree {
        Tree::new(vec![
            Node::Pool(0),
            Node::Pool(1),
            Node::Failover {
                children: vec![0, 1],
                on,
            },
        ])
    }

    #[test]
    fn failover_goes_on_only_for_its_reasons_and_ends_with_the_last_child() {
        let tree = failover(Reasons::default().with(Reason::Timeout));
        let mut plan = Plan::default();
        assert_eq!(plan.start(&tree, 2, b"k", true), Some(0));
        assert_eq!(
            plan.next(&tree, b"k", true, Outcome::Failed(Reason::Connect)),
            Next::Answer
        );
        assert_eq!(plan.start(&tree, 2, b"k", true), Some(0));
        assert_eq!(
            plan.next(&tree, b"k", true, Outcome::Failed(Reason::Timeout)),
            Next::Ask(1)
        );
        assert_eq!(
            plan.next(&tree, b"k", true, Outcome::Failed(Reason::Timeout)),
            Next::Answer
        );
        assert_eq!(plan.start(&tree, 2, b"k", true), Some(0));
        assert_eq!(plan.next(&tree, b"k", true, Outcome::Miss), Next::Answer);
    }

    #[test]
    fn warm_up_asks_the_warm_pool_on_a_miss_and_copies_its_hit() {
        let tree = Tree::new(vec![
            Node::Pool(0),
            Node::Pool(1),
            Node::WarmUp {
                cold: 0,
                warm: 1,
                exptime: 60,
            },
        ]);
        let mut plan = Plan::default();
        assert_eq!(plan.start(&tree, 2, b"k", true), Some(0));
        assert_eq!(plan.next(&tree, b"k", true, Outcome::Miss), Next::Ask(1));
        assert_eq!(
            plan.next(&tree, b"k", true, Outcome::Hit),
            Next::AnswerAndCopy {
                pool: 0,
                exptime: 60
            }
        );
        assert_eq!(plan.start(&tree, 2, b"k", true), Some(0));
        assert_eq!(plan.next(&tree, b"k", true, Outcome::Hit), Next::Answer);
        assert_eq!(plan.start(&tree, 2, b"k", false), Some(0));
        assert_eq!(
            plan.next(&tree, b"k", false, Outcome::Done),
            Next::Answer,
            "updates go to the cold pool"
        );
    }

    #[test]
    fn nested_failovers_climb_back_up() {
        let all = Reasons::default()
            .with(Reason::Timeout)
            .with(Reason::Connect);
        let tree = Tree::new(vec![
            Node::Pool(0),
            Node::Pool(1),
            Node::Pool(2),
            Node::Failover {
                children: vec![0, 1],
                on: all,
            },
            Node::Failover {
                children: vec![3, 2],
                on: all,
            },
        ]);
        let mut plan = Plan::default();
        let failed = Outcome::Failed(Reason::Timeout);
        assert_eq!(plan.start(&tree, 4, b"k", true), Some(0));
        assert_eq!(plan.next(&tree, b"k", true, failed), Next::Ask(1));
        assert_eq!(plan.next(&tree, b"k", true, failed), Next::Ask(2));
        assert_eq!(plan.next(&tree, b"k", true, failed), Next::Answer);
    }
}
