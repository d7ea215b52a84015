//! Where questions about the router itself leave the route: at its root, by the beginning of the key.
//!
//! mcrouter answers `get __mcrouter__.COMMAND` itself. Here that is two nodes in front of the route of a configuration
//! that wants it: one looks at the beginning of a key, the next at what is done with it, and only gets go on to the
//! answer. So a route without this pays nothing, and requests of any other kind for such keys are what they always were.

use super::choose::{Operations, Own};
use super::tree::{Node, NodeId};
use crate::protocol::operation::Operation;

/// What keys begin with that are questions.
pub const PREFIX: &[u8] = b"__mcrouter__.";

/// Puts the nodes in front of the last one, which is the root.
pub(super) fn in_front(nodes: &mut Vec<Node>) {
    let Some(root) = nodes.len().checked_sub(1) else {
        return;
    };
    let root = root as NodeId;
    let answer = push(Node::Own(Own::Introspection), nodes);
    let by_operation = Operations::of(|operation| match operation {
        Operation::Get => answer,
        _ => root,
    });
    let questions = push(Node::Operations(by_operation), nodes);
    let prefixes = vec![(PREFIX.into(), questions)];
    let default = root;
    push(Node::Prefix { prefixes, default }, nodes);
}

fn push(node: Node, nodes: &mut Vec<Node>) -> NodeId {
    nodes.push(node);
    nodes.len() as NodeId - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::route::compile::Snapshot;
    use crate::route::exec::{Plan, Sort, Target};
    use crate::route::tree::Step;

    #[test]
    fn only_gets_of_such_keys_leave_the_route_and_only_where_it_is_wished() {
        let text = "[pools.a]\nservers = [\"a:1\", \"b:1\"]";
        let plain = Snapshot::compile(&config::parse("f", text).unwrap().0).unwrap();
        assert_eq!(plain.tree.resolve(b"__mcrouter__.version"), Step::Pool(0));
        let text = format!("introspection = true\n{text}");
        let asked = Snapshot::compile(&config::parse("f", &text).unwrap().0).unwrap();
        assert_eq!(asked.tree.resolve(b"__mcrouter__"), Step::Pool(0));
        let key = b"__mcrouter__.version";
        let Step::Decide(node) = asked.tree.resolve(key) else {
            panic!("{:?}", asked.tree);
        };
        for operation in Operation::ALL {
            let target = Plan::of(operation, false, 0).start(&asked.tree, node, key, Sort::Get);
            let is_own = matches!(target, Some(Target::Own(_)));
            assert_eq!(is_own, operation == Operation::Get, "{operation:?}");
        }
    }
}
