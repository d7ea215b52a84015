//! The keys of routes that look into a key, or change it; see [`crate::config::Keys`].

use super::{Key, Section, key};

const CHILD: Key = key("child", "route", "required", "Where everything goes.");

/// Buckets.
pub const BUCKETS: Section = Section {
    heading: "`buckets`",
    within: "in `buckets`",
    keys: &[
        key(
            "total",
            "1 to 8388608",
            "required",
            "How many buckets there are. A key's bucket is Ch3 of the part of it that is hashed; what is spread is its number.",
        ),
        key(
            "keyspace",
            "text",
            "\"\"",
            "What `get __mcrouter__.get_bucket(KEY)` calls the buckets.",
        ),
        key(
            "by_prefix",
            "table from prefix to 1 to 8388608",
            "none",
            "Keys with this beginning go to so many of the buckets only; the longest that fits holds.",
        ),
        key(
            "key_parts",
            "1 to 250",
            "none",
            "Only what stands before so many delimiters in a key is looked at.",
        ),
        key(
            "delimiter",
            "character",
            "\":\"",
            "What ends a part of a key; with `key_parts` only.",
        ),
    ],
};

/// A route by routing prefix.
pub const ROUTE_ROUTING_PREFIX: Section = Section {
    heading: "a route with `type = \"routing-prefix\"`",
    within: "in a routing-prefix route",
    keys: &[
        key(
            "type",
            "\"routing-prefix\"",
            "required",
            "A key may begin with `/region/cluster/`, which says where it goes and is not sent to the server; what clients see is the key with its prefix. A star stands for any text without a slash: `/*/*/key` goes to every route once, `/region/*/key` to those of a region. The reply is that of the route for `default` if it is among them, else of the first in the order of the file; for the others nobody waits. A prefix that is not listed leads to `/region/fallback/`, if that is.",
        ),
        key(
            "default",
            "prefix",
            "required",
            "The prefix that keys without one are taken to have.",
        ),
        key(
            "routes",
            "list of tables",
            "required",
            "Which prefixes lead where.",
        ),
        key(
            "unknown_to_default",
            "true or false",
            "false",
            "Whether a key with a prefix that leads nowhere goes where those without one go; otherwise it is answered with `SERVER_ERROR RootRoute: No rh found`.",
        ),
    ],
};

/// An entry of a route by routing prefix.
pub const ROUTE_OF_PREFIXES: Section = Section {
    heading: "an entry of `routes` in a routing-prefix route",
    within: "in an entry of a routing-prefix route",
    keys: &[
        key(
            "prefixes",
            "list of prefixes",
            "required",
            "`[\"/region/cluster/\", …]`; each is in the list of one route only.",
        ),
        key("route", "route", "required", "Where their keys go."),
    ],
};

/// A route that changes keys.
pub const ROUTE_MODIFY_KEY: Section = Section {
    heading: "a route with `type = \"modify-key\"`",
    within: "in a modify-key route",
    keys: &[
        key(
            "type",
            "\"modify-key\"",
            "required",
            "Servers get other keys than clients send. What clients see are theirs. A key that would be longer than 250 bytes is refused.",
        ),
        CHILD,
        key(
            "ensure_key_prefix",
            "text",
            "\"\"",
            "What keys are to begin with; it is put in front of those that do not.",
        ),
        key(
            "replace_key_prefix",
            "text",
            "none",
            "A key that begins with this gets `ensure_key_prefix` instead of it.",
        ),
        key(
            "set_key_suffix",
            "text",
            "\"\"",
            "What is put behind every key.",
        ),
        key(
            "modify_inplace",
            "true or false",
            "false",
            "`ensure_key_prefix` takes the place of as many bytes at the beginning, instead of making the key longer.",
        ),
        key(
            "set_routing_prefix",
            "prefix",
            "that of the key",
            "The routing prefix for pools with `keep_routing_prefix`; `\"\"` takes it away.",
        ),
    ],
};

/// A route with copies of each key.
pub const ROUTE_KEY_SPLIT: Section = Section {
    heading: "a route with `type = \"key-split\"`",
    within: "in a key-split route",
    keys: &[
        key(
            "type",
            "\"key-split\"",
            "required",
            "Keys that are too hot for one server get copies under other keys: `key`, `key::1`, `key::2` and so on. Each host uses one of them; deletions go to all. Keys over 250 bytes with their copy's number have one copy only.",
        ),
        CHILD,
        key("replicas", "2 to 1000", "required", "How many copies."),
        key(
            "all_sync",
            "true or false",
            "required",
            "Whether a `set` goes to all copies; the reply is that for this host's.",
        ),
        key(
            "first_hit",
            "true or false",
            "false",
            "Whether a `get` asks one copy after the other, this host's first, until one is there.",
        ),
    ],
};

/// A route with shards in parts.
pub const ROUTE_SHARD_SPLIT: Section = Section {
    heading: "a route with `type = \"shard-split\"`",
    within: "in a shard-split route",
    keys: &[
        key(
            "type",
            "\"shard-split\"",
            "required",
            "For keys like `x:SHARD:rest`, where SHARD ends in a digit: shards that are listed have several parts, each under keys of its own (`x:SHARDaa:rest`), and each host uses one.",
        ),
        CHILD,
        key(
            "shards",
            "table from shard to a number of parts or a table",
            "required",
            "`{ \"123\" = 4 }`: four parts, deletions go to all.",
        ),
    ],
};

/// A shard that changes the number of its parts.
pub const ROUTE_SHARD: Section = Section {
    heading: "an entry of `shards` as a table",
    within: "in a shard",
    keys: &[
        key("parts", "1 to 677", "required", "How many parts it has."),
        key(
            "old_parts",
            "1 to 677",
            "`parts`",
            "How many it had before `start`.",
        ),
        key(
            "start",
            "seconds since 1970",
            "`0`",
            "When hosts begin to change over to `parts`.",
        ),
        key(
            "period",
            "seconds",
            "`0`",
            "How long it takes until all have.",
        ),
        key(
            "fanout_deletes",
            "true or false",
            "true",
            "Whether deletions go to all parts; otherwise to that of this host.",
        ),
    ],
};
