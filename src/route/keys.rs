//! Nodes that look into keys or change them: which requests a request becomes.
//!
//! What happens to a key is in [`crate::config::Keys`]; here it meets the nodes of a tree. A request whose key stays
//! passes without a frame ([`Rekey::passes`]); the others become [`Ways`], which the worker's dialogue goes. Pure: who
//! this host is and what time it is, the caller says.

use std::sync::Arc;

use super::choose::Own;
use super::tree::{Node, NodeId, Tree};
use crate::config::{
    Keys, Modify, Numbered, Route, Shard, Split, TAG, numbered, routes_of, routing_prefix,
    shard_id, shard_key,
};
use crate::protocol::MAX_KEY;
use crate::protocol::operation::{Group, Operation};

/// A node's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rekey {
    /// By routing prefix.
    Prefixes {
        /// Each with the number of its route.
        prefixes: Numbered,
        /// By number.
        routes: Vec<NodeId>,
        /// The number of the one for keys without a prefix.
        default: usize,
        /// The answer where no route is found.
        refused: NodeId,
        /// Whether that is the default's instead.
        unknown_to_default: bool,
    },
    /// Another key.
    Modify(NodeId, Modify),
    /// Copies.
    Split(NodeId, Split),
    /// Parts of shards.
    Shards(NodeId, Vec<(Box<[u8]>, Shard)>),
    /// A mark for what has failed elsewhere.
    Tag(NodeId),
}

/// Where a request goes, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The node where its way begins.
    pub from: NodeId,
    /// Its routing prefix, for pools that want it.
    pub prefix: Option<Arc<[u8]>>,
    /// The key without that.
    pub key: Vec<u8>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ways {
    /// All of these; the first one's reply is the answer, and nobody waits for the others.
    First(Vec<Way>),
    /// One after the other until one has the item; else the last one's reply.
    Hit(Vec<Way>),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// What a request is before a node looks into its key.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it does.
    pub operation: Operation,
    /// The routing prefix that has been taken off.
    pub prefix: &'a Option<Arc<[u8]>>,
    /// Its key without that.
    pub key: &'a [u8],
}

impl Rekey {
    /// Where a key goes that stays as it is, whatever the request does and whenever it comes.
    pub fn passes(&self, key: &[u8]) -> Option<NodeId> {
        match self {
            Rekey::Prefixes {
                prefixes,
                routes,
                default,
                refused,
                unknown_to_default,
            } => {
                let prefix = match key.first() {
                    Some(b'/') => routing_prefix(key).0,
                    _ => b"",
                };
                if prefix.is_empty() {
                    return routes.get(*default).copied();
                }
                let found = routes_of(prefix, prefixes, *default, *unknown_to_default);
                found.is_empty().then_some(*refused)
            }
            Rekey::Modify(child, modify) => {
                let stays = modify.set_routing_prefix.is_none() && modify.apply(key).is_none();
                stays.then_some(*child)
            }
            Rekey::Split(..) => None,
            Rekey::Shards(child, shards) => part(shards, key).is_none().then_some(*child),
            Rekey::Tag(child) => {
                let has_stop = memchr::memmem::find(key, b"|#|").is_some();
                (!has_stop || key.len() + TAG.len() > MAX_KEY).then_some(*child)
            }
        }
    }

    /// What becomes of a request that does not pass, on this host at this time in seconds since 1970.
    pub fn ways(&self, tree: &Tree, request: Request<'_>, host: u32, now: u64) -> Ways {
        let Request {
            operation,
            prefix,
            key,
        } = request;
        let way = |from: &NodeId, key: Vec<u8>| Way {
            from: *from,
            prefix: prefix.clone(),
            key,
        };
        let ways = match self {
            Rekey::Prefixes {
                prefixes,
                routes,
                default,
                refused,
                unknown_to_default,
            } => {
                let (prefix, rest) = routing_prefix(key);
                let found = routes_of(prefix, prefixes, *default, *unknown_to_default);
                let mut nodes = Vec::new();
                for node in found.into_iter().filter_map(|index| routes.get(index)) {
                    // Trees that send a key to the same place send it there once, those that do not know it, nowhere.
                    let node = tree.prefixed(*node, rest);
                    if node != *refused && !nodes.contains(&node) {
                        nodes.push(node);
                    }
                }
                if nodes.is_empty() {
                    nodes.push(*refused);
                }
                let prefix: Option<Arc<[u8]>> = Some(prefix.into());
                let ways = nodes.into_iter().map(|from| Way {
                    from,
                    prefix: prefix.clone(),
                    key: rest.to_vec(),
                });
                return Ways::First(ways.collect());
            }
            Rekey::Modify(child, modify) => {
                let new = modify.apply(key).unwrap_or_else(|| key.to_vec());
                let mut one = way(child, new);
                if let Some(prefix) = &modify.set_routing_prefix {
                    one.prefix = (!prefix.is_empty()).then(|| prefix.as_bytes().into());
                }
                if let Some(why) = invalid(&one.key) {
                    return Ways::Refused(why);
                }
                Ways::First(vec![one])
            }
            Rekey::Tag(child) => {
                let tagged = [key, TAG.as_bytes()].concat();
                Ways::First(vec![way(child, tagged)])
            }
            Rekey::Split(child, split) => {
                let own = split.own(host);
                let length = prefix.as_ref().map_or(0, |prefix| prefix.len()) + key.len();
                let copy = |replica: u32| {
                    let new = split.key(key, replica);
                    way(child, new.unwrap_or_else(|| key.to_vec()))
                };
                let others = (0..split.replicas).filter(|replica| *replica != own);
                let all = || [own].into_iter().chain(others).map(copy).collect();
                match operation {
                    _ if Split::is_too_long(length) => Ways::First(vec![way(child, key.to_vec())]),
                    Operation::Get if split.first_hit => Ways::Hit(all()),
                    Operation::Set if split.all_sync => Ways::First(all()),
                    _ if operation.group() == Some(Group::DeleteLike) => Ways::First(all()),
                    _ => Ways::First(vec![copy(own)]),
                }
            }
            Rekey::Shards(child, shards) => {
                let Some((shard, end)) = part(shards, key) else {
                    return Ways::First(vec![way(child, key.to_vec())]);
                };
                let parts = shard.parts(host, now).max(1);
                let of = |part: u32| {
                    let new = shard_key(key, end, part);
                    way(child, new.unwrap_or_else(|| key.to_vec()))
                };
                let is_delete = operation.group() == Some(Group::DeleteLike);
                match is_delete && shard.fanout_deletes {
                    true => Ways::First((0..parts).map(of).collect()),
                    false => Ways::First(vec![of(host % parts)]),
                }
            }
        };
        match &ways {
            Ways::First(all) | Ways::Hit(all) if all.iter().any(|way| way.key.len() > MAX_KEY) => {
                Ways::Refused(TOO_LONG)
            }
            _ => ways,
        }
    }

    /// The nodes below it.
    pub fn children(&self) -> Vec<NodeId> {
        match self {
            Rekey::Prefixes { routes, .. } => routes.clone(),
            Rekey::Modify(child, _)
            | Rekey::Split(child, _)
            | Rekey::Shards(child, _)
            | Rekey::Tag(child) => vec![*child],
        }
    }
}

const TOO_LONG: &str = "the key would be too long";

/// Why no server takes a key.
fn invalid(key: &[u8]) -> Option<&'static str> {
    match key.len() {
        0 => Some("ModifyKeyRoute: invalid key: nothing is left of it"),
        length if length > MAX_KEY => Some("ModifyKeyRoute: invalid key: too long"),
        _ => None,
    }
}

fn part<'s>(shards: &'s [(Box<[u8]>, Shard)], key: &[u8]) -> Option<(&'s Shard, usize)> {
    let (id, end) = shard_id(key)?;
    let mut all = shards.iter();
    let (_, shard) = all.find(|(name, _)| **name == *id)?;
    Some((shard, end))
}

/// Adds a route with what is below it, which `add` adds.
pub(super) fn add(
    keys: &Keys,
    nodes: &mut Vec<Node>,
    add: impl Fn(&Route, &mut Vec<Node>) -> NodeId,
) -> Node {
    let rekey = match keys {
        Keys::Prefixes {
            routes,
            default,
            unknown_to_default,
        } => prefixes(routes, default, *unknown_to_default, nodes, add),
        Keys::Modify { child, modify } => Rekey::Modify(add(child, nodes), modify.clone()),
        Keys::Split { child, split } => Rekey::Split(add(child, nodes), *split),
        Keys::Shards { child, shards } => {
            let shards = shards.iter();
            let shards = shards.map(|(name, shard)| (name.as_bytes().into(), *shard));
            Rekey::Shards(add(child, nodes), shards.collect())
        }
    };
    Node::Rekey(Box::new(rekey))
}

fn prefixes(
    routes: &[(Vec<String>, Route)],
    default: &str,
    unknown_to_default: bool,
    nodes: &mut Vec<Node>,
    add: impl Fn(&Route, &mut Vec<Node>) -> NodeId,
) -> Rekey {
    let nowhere = Node::Own(Own::nowhere());
    nodes.push(nowhere.clone());
    let refused = nodes.len() as NodeId - 1;
    // Equal routes are one, so that a key that goes to all of them goes there once.
    let mut known: Vec<(&Route, NodeId)> = Vec::new();
    let mut once = |route, nodes: &mut Vec<Node>| {
        if let Some((_, node)) = known.iter().find(|(one, _)| *one == route) {
            return *node;
        }
        let mut node = add(route, nodes);
        if nodes.get(node as usize) == Some(&nowhere) {
            node = refused;
        }
        known.push((route, node));
        node
    };
    let (prefixes, main) = numbered(routes, default);
    let built = routes.iter().map(|(_, route)| match route {
        Route::Prefix { prefixes, default } => {
            let prefixes: Vec<(&[u8], NodeId)> = prefixes
                .iter()
                .map(|(prefix, child)| (&**prefix, once(child, nodes)))
                .collect();
            let node = Node::prefix(prefixes, once(default, nodes));
            nodes.push(node);
            nodes.len() as NodeId - 1
        }
        route => once(route, nodes),
    });
    let built = built.collect();
    Rekey::Prefixes {
        prefixes,
        routes: built,
        default: main,
        refused,
        unknown_to_default,
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
