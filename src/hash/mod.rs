//! Which server of a pool owns a key.
//!
//! A [`Selector`] is built once from a pool's [`Placement`] and its [`Node`]s, whenever the config or
//! the membership changes, and is then asked for every request. It never changes (but for weights that are a variable,
//! [`Placement::weights_variable`]), is `Send + Sync`,
//! and [`Selector::select`] neither allocates (for keys of the length that memcached allows) nor
//! panics, whatever the bytes of the key.
//!
//! Placement is a promise: the same names and the same key give the same server on every node, in
//! every version of ringroad, and, for the distributions of other systems, in those systems. That is
//! why only fixed, published hash functions are used here, and why recorded answers of the real
//! systems (`tests/golden`) are part of the tests.
//!
//! This module knows names, weights and key bytes. It knows nothing of sockets, health or time: a
//! server that is down still owns its keys; whoever routes decides what to do then, and
//! [`Selector::successors`] says where to look next.

mod buckets;
mod build;
mod ch3;
mod city;
mod digest;
mod distribution;
mod error;
mod explain;
mod function;
mod jump;
mod ketama;
mod latest;
mod libhashkit;
pub(crate) mod live;
mod murmur;
mod rendezvous;
mod ring;
mod selector;
mod shift;
mod spooky;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

pub use buckets::{Buckets, MAX_BUCKETS};
pub(crate) use ch3::{ch3, weighted};
pub(crate) use city::mix;
pub use distribution::{Distribution, WeightRule};
pub use error::{PlacementError, UnknownName};
pub use explain::Explanation;
pub use function::HashFunction;
pub(crate) use latest::latest;
pub(crate) use rendezvous::rendezvous_order;
pub use ring::{DEFAULT_POINTS, MAX_POINTS};
pub use selector::{MAX_SALT, Selector};
pub use shift::Shift;
pub use spooky::{spooky32, spooky64};

/// One member of a pool as the placement sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The identity that is hashed. It must be unique in its pool and should outlive the address; see
    /// [`Node::at`] for the name of a node that was given none.
    pub name: String,
    /// Host name or IP address without brackets, or the path of a unix socket (starts with `/`).
    /// Only the layouts of libmemcached and twemproxy look at it, to tell a name that was given from
    /// one that was derived.
    pub host: String,
    /// TCP port; 0 for a unix socket.
    pub port: u16,
    /// How large a share this node gets, if the config says so. What a number means, which ones are
    /// allowed and what none stands for is up to the distribution: see [`Distribution::weights`].
    pub weight: Option<f64>,
}

impl Node {
    /// The node at an address without a name of its own: it is named `host:port`, `[host]:port` for
    /// an IPv6 address, or by its path for a unix socket.
    pub fn at(host: impl Into<String>, port: u16) -> Node {
        let host = host.into();
        let name = if host.starts_with('/') {
            host.clone()
        } else if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Node {
            name,
            host,
            port,
            weight: None,
        }
    }

    /// The same node under a name that the user chose.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Node {
        self.name = name.into();
        self
    }

    /// The same node with a weight.
    #[must_use]
    pub fn weighing(mut self, weight: f64) -> Node {
        self.weight = Some(weight);
        self
    }

    /// `host:port` as clients write it into their rings (no brackets around IPv6 addresses), or the
    /// path, if the node has no name of its own.
    fn derived_address(&self) -> Option<String> {
        let bare = if self.host.starts_with('/') {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        };
        let bracketed = format!("[{}]:{}", self.host, self.port);
        (self.name == bare || self.name == bracketed).then_some(bare)
    }
}

/// What a pool's config says about placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The rule by which keys are spread.
    pub distribution: Distribution,
    /// The hash function, where the distribution lets one choose ([`Distribution::default_hash`]);
    /// `None` is the distribution's usual one.
    pub hash: Option<HashFunction>,
    /// Appended to every key before hashing, in mcrouter's distributions; at most [`MAX_SALT`] bytes.
    pub salt: String,
    /// Points per node of weight 1 in the distribution `ring`; `None` is [`DEFAULT_POINTS`].
    pub points: Option<u32>,
    /// Opening and closing byte of a hash tag, such as `{` and `}`: if both are in a key with
    /// something between them, only that is hashed.
    pub tag: Option<(u8, u8)>,
    /// Whether only the part of a key before the first `|#|` is hashed.
    pub stop: bool,
    /// Whether keys are put into buckets first, and how; with [`Distribution::WeightedCh3`] only.
    pub buckets: Option<Box<Buckets>>,
    /// In `weighted_ch3`: the variable whose weights go before the nodes' own, and change while the selector is in use
    /// (mcrouter's `WeightedCh3Rv`).
    pub weights_variable: Option<String>,
}

impl Default for Placement {
    /// The distribution `ring` over the whole key.
    fn default() -> Placement {
        Placement::of(Distribution::Ring)
    }
}

impl Placement {
    /// A distribution with its own defaults, over the whole key.
    pub fn of(distribution: Distribution) -> Placement {
        Placement {
            distribution,
            hash: None,
            salt: String::new(),
            points: None,
            tag: None,
            stop: false,
            buckets: None,
            weights_variable: None,
        }
    }
}

/// The part of a key that is hashed.
///
/// The hash stop comes first: with `stop`, everything from the first `|#|` on is ignored (mcrouter's
/// rule; a key that starts with it has an empty routing key). In what remains the hash tag is looked
/// for as twemproxy does: the bytes between the first opening delimiter and the next closing one
/// after it; if either is missing or nothing is between them, it is the whole.
pub fn routing_key(key: &[u8], tag: Option<(u8, u8)>, stop: bool) -> &[u8] {
    let mut part = key;
    if stop
        && let Some(end) = memchr::memmem::find(part, b"|#|")
        && let Some(before) = part.get(..end)
    {
        part = before;
    }
    if let Some((open, close)) = tag
        && let Some(start) = memchr::memchr(open, part)
        && let Some(inside) = part.get(start + 1..)
        && let Some(length @ 1..) = memchr::memchr(close, inside)
        && let Some(tagged) = inside.get(..length)
    {
        part = tagged;
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURLY: Option<(u8, u8)> = Some((b'{', b'}'));

    fn text(key: &str, tag: Option<(u8, u8)>, stop: bool) -> String {
        String::from_utf8(routing_key(key.as_bytes(), tag, stop).to_vec()).unwrap()
    }

    #[test]
    fn a_hash_tag_is_what_twemproxy_takes_for_one() {
        for (key, expected) in [
            ("user:{42}:name", "42"),
            ("{42}", "42"),
            ("{a}{b}", "a"),
            ("{}{b}", "{}{b}"),
            ("a{b{c}d}", "b{c"),
            ("}a{b}", "b"),
            ("no tag", "no tag"),
            ("{open", "{open"),
            ("close}", "close}"),
            ("}{", "}{"),
            ("", ""),
        ] {
            assert_eq!(text(key, CURLY, false), expected, "{key}");
            assert_eq!(text(key, None, false), key);
        }
    }

    #[test]
    fn a_tag_may_open_and_close_with_the_same_byte() {
        assert_eq!(text("x$tag$y$z", Some((b'$', b'$')), false), "tag");
        assert_eq!(text("$$x", Some((b'$', b'$')), false), "$$x");
        assert_eq!(text("a$b", Some((b'$', b'$')), false), "a$b");
    }

    #[test]
    fn the_hash_stop_cuts_at_its_first_occurrence() {
        assert_eq!(text("a|#|b|#|c", None, true), "a");
        assert_eq!(text("|#|b", None, true), "");
        assert_eq!(text("||#|b", None, true), "|");
        assert_eq!(text("a|#b", None, true), "a|#b");
        assert_eq!(text("a|#|b", None, false), "a|#|b");
    }

    #[test]
    fn the_hash_stop_comes_before_the_hash_tag() {
        assert_eq!(text("{a}|#|{b}", CURLY, true), "a");
        assert_eq!(text("a|#|{b}", CURLY, true), "a");
        assert_eq!(text("{a|#|b}", CURLY, true), "{a");
    }

    #[test]
    fn a_node_without_a_name_is_named_by_its_address() {
        assert_eq!(Node::at("10.0.0.1", 11211).name, "10.0.0.1:11211");
        assert_eq!(Node::at("::1", 11211).name, "[::1]:11211");
        assert_eq!(Node::at("/run/m.sock", 0).name, "/run/m.sock");
        assert_eq!(Node::at("::1", 1).derived_address().unwrap(), "::1:1");
        assert_eq!(
            Node::at("a", 1).named("a:1").derived_address().unwrap(),
            "a:1"
        );
        assert_eq!(Node::at("a", 1).named("cache-0").derived_address(), None);
        assert_eq!(Node::at("a", 1).named("b:1").derived_address(), None);
    }
}
