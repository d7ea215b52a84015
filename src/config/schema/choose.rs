//! The keys of routes that decide without looking at a reply; see [`crate::config::choose`].

use super::{Key, Section, key};

const CHILD: Key = key("child", "route", "required", "Where everything goes.");

/// A route that answers as an empty cache.
pub const ROUTE_NULL: Section = Section {
    heading: "a route with `type = \"null\"`",
    within: "in a null route",
    keys: &[key(
        "type",
        "\"null\"",
        "required",
        "Answers at once as an empty cache that stores nothing: gets miss, updates are `NOT_STORED`, everything else is `NOT_FOUND`.",
    )],
};

/// A route that answers with an error.
pub const ROUTE_ERROR: Section = Section {
    heading: "a route with `type = \"error\"`",
    within: "in an error route",
    keys: &[
        key(
            "type",
            "\"error\"",
            "required",
            "Answers every request with an error. A get is a miss while `miss_on_get_errors` is on.",
        ),
        key(
            "message",
            "text of one line",
            "the words of `result`",
            "What clients are told, behind `SERVER_ERROR`.",
        ),
        key(
            "result",
            "name",
            "\"local_error\"",
            "Which error it is, by mcrouter's name; a failover route around it goes on for those that it reacts to. As `error`: `local_error`, `remote_error`; as `timeout`: `timeout`, `deadline_exceeded`; as `connect`: `connect_error`, `connect_timeout`, `shutdown`, `tko`; as `busy`: `busy`, `try_again`. No failover for `aborted`, `bad_cas_id`, `bad_command`, `bad_exptime`, `bad_flags`, `bad_key`, `bad_lease_id`, `bad_value`, `client_error`, `hot_key`, `ooo`, `overloaded`, `permission_denied`.",
        ),
        key(
            "shown",
            "true or false",
            "false",
            "Whether gets are answered with it while `miss_on_get_errors` is on, too.",
        ),
    ],
};

/// A route by hash.
pub const ROUTE_HASH: Section = Section {
    heading: "a route with `type = \"hash\"`",
    within: "in a hash route",
    keys: &[
        key(
            "type",
            "\"hash\"",
            "required",
            "Spreads keys over routes as a pool spreads them over servers.",
        ),
        key("children", "list of routes", "required", "Where keys go."),
        key(
            "distribution",
            "name",
            "\"ring\"",
            "How keys are spread; the names are those of pools.",
        ),
        key(
            "hash",
            "name",
            "the distribution's own",
            "The hash of the key, as in a pool.",
        ),
        key("points", "1 to 65536", "160", "As in a pool."),
        key("salt", "text", "\"\"", "As in a pool."),
        key(
            "weights_variable",
            "name",
            "none",
            "As in a pool; the weights are in the order of the children.",
        ),
        key("hash_tag", "two characters", "none", "As in a pool."),
        key("hash_stop", "true or false", "false", "As in a pool."),
        key("buckets", "table", "none", "As in a pool."),
        key(
            "weights",
            "list of numbers",
            "none",
            "The share of each child, for the distributions that take weights; as many as there are children.",
        ),
        key(
            "names",
            "list of texts",
            "the positions, from 0",
            "What the distribution knows each child by; as many as there are children, all different. With names a child keeps its keys wherever it stands in the list.",
        ),
    ],
};

/// A route by chance.
pub const ROUTE_RANDOM: Section = Section {
    heading: "a route with `type = \"random\"`",
    within: "in a random route",
    keys: &[
        key(
            "type",
            "\"random\"",
            "required",
            "Sends each request to any child, all alike.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "Where requests go.",
        ),
    ],
};

/// A route by host.
pub const ROUTE_HOST: Section = Section {
    heading: "a route with `type = \"host\"`",
    within: "in a host route",
    keys: &[
        key(
            "type",
            "\"host\"",
            "required",
            "Sends everything to one child, which is always the same on this host and another one on other hosts.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "One of which is chosen, by the address of the host.",
        ),
        key(
            "salt",
            "text",
            "\"\"",
            "Makes another choice among the same children.",
        ),
    ],
};

/// A route by command.
pub const ROUTE_OPERATION: Section = Section {
    heading: "a route with `type = \"operation\"`",
    within: "in an operation route",
    keys: &[
        key(
            "type",
            "\"operation\"",
            "required",
            "By what a request does. A meta command counts as the text command that does the same.",
        ),
        key(
            "operations",
            "table",
            "required",
            "From the command to the route: `get = \"POOL\"`. Commands are `get`, `gets`, `gat`, `gats`, `set`, `add`, `replace`, `append`, `prepend`, `cas`, `delete`, `incr`, `decr`, `touch`, and with `leases` `lease-get`, `lease-set`, `metaget`; groups of them `get_like`, `update_like`, `delete_like`, `arithmetic_like`. `touch` is in no group. A command goes before its group.",
        ),
        key(
            "default",
            "route",
            "none",
            "Where every other request goes. Without it they are answered with an error.",
        ),
    ],
};

/// A route that changes times to live.
pub const ROUTE_EXPTIME: Section = Section {
    heading: "a route with `type = \"exptime\"`",
    within: "in an exptime route",
    keys: &[
        key(
            "type",
            "\"exptime\"",
            "required",
            "Changes how long lives what is stored or touched.",
        ),
        CHILD,
        key(
            "exptime",
            "duration in whole seconds, up to 30d",
            "required",
            "The time to live; 0 is for ever.",
        ),
        key(
            "action",
            "\"set\" or \"min\"",
            "\"set\"",
            "`set`: whatever the client says; `min`: only where it would be longer, or for ever. `min` with 0 changes nothing.",
        ),
    ],
};

/// A route that refuses hash stops.
pub const ROUTE_HASH_STOP: Section = Section {
    heading: "a route with `type = \"hash-stop\"`",
    within: "in a hash-stop route",
    keys: &[
        key(
            "type",
            "\"hash-stop\"",
            "required",
            "Refuses keys with the hash stop `|#|`, but for those that begin with one of `prefixes`.",
        ),
        CHILD,
        key(
            "prefixes",
            "list of texts",
            "required",
            "Keys that begin with one of these may have a hash stop.",
        ),
    ],
};

/// A route that limits rates.
pub const ROUTE_RATE_LIMIT: Section = Section {
    heading: "a route with `type = \"rate-limit\"`",
    within: "in a rate-limit route",
    keys: &[
        key(
            "type",
            "\"rate-limit\"",
            "required",
            "Lets so many requests pass in a second, for the whole process. `incr`, `decr` and `touch` always pass.",
        ),
        CHILD,
        key(
            "gets_rate",
            "number",
            "none",
            "Gets in a second; each key is one.",
        ),
        key(
            "gets_burst",
            "number",
            "`gets_rate`",
            "How many of what has not been used are saved up. Nothing is at the start.",
        ),
        key("sets_rate", "number", "none", "Updates in a second."),
        key(
            "sets_burst",
            "number",
            "`sets_rate`",
            "The same for updates.",
        ),
        key("deletes_rate", "number", "none", "Deletions in a second."),
        key(
            "deletes_burst",
            "number",
            "`deletes_rate`",
            "The same for deletions.",
        ),
        key(
            "fallback",
            "route",
            "none",
            "Where the others go. Without it they are answered as by an empty cache: gets miss, nothing is stored or found.",
        ),
    ],
};
