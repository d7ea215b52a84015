//! The keys of routes that send a request to several children.

use super::{Section, key};

/// A route to all its children.
pub const ROUTE_ALL: Section = Section {
    heading: "a route to all its children",
    within: "in a route to all its children",
    keys: &[
        key(
            "type",
            "\"all-sync\", \"all-async\", \"all-initial\", \"all-fastest\" or \"all-majority\"",
            "required",
            "Every request goes to all children. What the client gets: `all-sync` the worst reply, when all are there; `all-async` at once, as if nothing had been found or stored; `all-initial` the reply of the first child; `all-fastest` the first reply that is not a failure (a miss is none), or else the last one; `all-majority` the reply that more than half of them give, or else the most frequent one, the worse of equally frequent ones.",
        ),
        key("children", "list of routes", "required", "At least one."),
    ],
};

/// A route that also goes on when an item is not there.
pub const ROUTE_MISS_FAILOVER: Section = Section {
    heading: "a route with `type = \"miss-failover\"`",
    within: "in a miss-failover route",
    keys: &[
        key(
            "type",
            "\"miss-failover\"",
            "required",
            "Gets and deletions go to one child after the other, until one has the item; misses and errors alike lead to the next one. Everything else goes to the first child alone.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "Tried in this order.",
        ),
        key(
            "return_best_on_error",
            "true or false",
            "false",
            "Where no child has the item, the client gets the best reply there was (a miss is better than an error), the last one of equally good ones; otherwise the last child's reply.",
        ),
    ],
};

/// A failover that says more.
pub const ROUTE_SELECTIVE_FAILOVER: Section = Section {
    heading: "a route with `type = \"selective-failover\"`",
    within: "in a selective-failover route",
    keys: &[
        key(
            "type",
            "\"selective-failover\"",
            "required",
            "The first child; where that fails, others. As `failover`, but with the errors of each kind of command, an order that learns, and bounds. A miss is never a failure.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "The first one is always tried first.",
        ),
        key(
            "get_errors",
            "list of failures",
            "[\"timeout\", \"connect\", \"down\", \"busy\", \"remote\", \"local\"]",
            "With which failures a get goes on: `timeout` (no answer in time), `connect` (no connection could be made), `down` (the server is out of service), `busy` (the server answered `SERVER_ERROR 307`), `remote` (it answered with another error, or the connection broke), `local` (the request could not be sent, as when the queue is full), `client` (`CLIENT_ERROR`), `bad-key` (the key is too long for a value in parts). An empty list: never.",
        ),
        key(
            "update_errors",
            "list of failures",
            "[\"timeout\", \"connect\", \"down\", \"busy\", \"remote\", \"local\"]",
            "The same for commands that store a value. Increments, decrements and touches always go by the default.",
        ),
        key(
            "delete_errors",
            "list of failures",
            "[\"timeout\", \"connect\", \"down\", \"busy\", \"remote\", \"local\"]",
            "The same for deletions.",
        ),
        key(
            "max_tries",
            "1 to 1000",
            "all, in their order",
            "Try so many children at most, the first one included; of the others those with the fewest failures in a row come first.",
        ),
        key(
            "limit_per_million",
            "0 to 1000000",
            "no limit",
            "How many of a million requests may fail over; others get the error. Servers that are down or can't be connected to do not count.",
        ),
        key(
            "limit_burst",
            "1 to 1000000000",
            "`1000`",
            "How many requests may fail over in a row, if none has for long.",
        ),
        key(
            "failover_exptime",
            "duration in whole seconds, up to 30d",
            "no bound",
            "What is stored in any child but the first lives this long at most; 0 is for no bound.",
        ),
        key(
            "failover_tag",
            "true or false",
            "false",
            "Put `:failover=1` behind keys that have a hash stop (`|#|`), in any child but the first, as long as they are no longer than 250 bytes then. Clients see their own keys.",
        ),
        key(
            "lease_pairing",
            "true or false",
            "false",
            "Send a `lease-set` to the child that gave its lease, for ten seconds; without failover. Otherwise it goes the way of any update, and the server that it reaches refuses a lease of another one. A reload forgets.",
        ),
    ],
};

/// A route that copies requests.
pub const ROUTE_SHADOW: Section = Section {
    heading: "a route with `type = \"shadow\"`",
    within: "in a shadow route",
    keys: &[
        key(
            "type",
            "\"shadow\"",
            "required",
            "The first child serves all requests. The others get a copy of some of them, and what they reply is thrown away.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "The one that serves, then those that get copies.",
        ),
        key(
            "first_hash",
            "0 to 4294967295",
            "`0`",
            "Only keys whose SpookyHash V2 (32 bits, seed 0, of the part before `|#|`) is at least this are copied.",
        ),
        key(
            "last_hash",
            "0 to 4294967295",
            "`4294967295`",
            "And at most this: 429496729 makes it a tenth of the keys.",
        ),
        key(
            "range_variable",
            "name",
            "none",
            "A variable of `runtime_vars_file` whose range of the keys, from 0 to 1, goes before the hashes here while it has one.",
        ),
        key(
            "per_million",
            "0 to 1000000",
            "`1000000`",
            "How many of a million requests for these keys are copied, at random.",
        ),
        key(
            "keys",
            "list of texts",
            "all keys",
            "Only these keys are copied, whatever follows them behind a `|#|`.",
        ),
    ],
};
