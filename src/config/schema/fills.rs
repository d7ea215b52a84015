//! The keys of routes that fill one cache from another, or stand around one child; see [`crate::config::fills`].

use super::{Key, Section, key};

const CHILD: Key = key("child", "route", "required", "Where requests go.");

/// A small cache in front of a large one.
pub const ROUTE_TWO_LEVEL: Section = Section {
    heading: "a route with `type = \"two-level\"`",
    within: "in a two-level route",
    keys: &[
        key(
            "type",
            "\"two-level\"",
            "required",
            "A small cache in front of a large one: a get that misses in `l1` is asked of `l2`, and a hit there is added to `l1`. Everything else goes to `l1` alone.",
        ),
        key("l1", "route", "required", "The small cache."),
        key("l2", "route", "required", "The large one."),
        key(
            "exptime",
            "duration in whole seconds, up to 30d",
            "required",
            "How long what was found in `l2` lives in `l1`; 0 is for ever.",
        ),
        key(
            "miss_exptime",
            "duration in whole seconds, up to 30d",
            "for ever",
            "How long a note lives in `l1` that `l2` has nothing: an item with the flag 0x10000. It is a miss for clients.",
        ),
        key(
            "miss_period",
            "0 to 4294967295",
            "`0`",
            "How many gets are answered by such notes until one asks `l2` again; 0 is for no notes.",
        ),
    ],
};

/// Small values here, large ones there.
pub const ROUTE_BY_SIZE: Section = Section {
    heading: "a route with `type = \"by-size\"`",
    within: "in a by-size route",
    keys: &[
        key(
            "type",
            "\"by-size\"",
            "required",
            "Large values are stored in `l2`, by `set` and `lease-set` alone; an item with the flag 0x20 in `l1` says so, and `get`, `gets` and `lease-get` follow it. Everything else goes to `l1` alone.",
        ),
        key(
            "l1",
            "route",
            "required",
            "For small values, and for the keys of large ones.",
        ),
        key("l2", "route", "required", "For large values."),
        key(
            "threshold",
            "size, or 0",
            "required",
            "From this size on a value is large; 0: none is. Neither are those whose key is longer than 231 bytes.",
        ),
        key(
            "ttl_threshold",
            "duration in whole seconds, up to 30d",
            "none",
            "What lives less than this is not large; what lives for ever is taken for 0 seconds, as mcrouter does.",
        ),
        key(
            "failure_ttl",
            "duration in whole seconds, 1s to 30d",
            "1m",
            "For a value that a lease stores in `l1`, since `l2` could not take it.",
        ),
        key(
            "both",
            "true or false",
            "false",
            "Large values are stored in `l1` as they are, and in `l2`, too.",
        ),
        key(
            "retries",
            "1 to 10",
            "`1`",
            "How often a `gets` or `lease-get` is tried again whose value is in neither.",
        ),
    ],
};

/// A second cache is kept like the first.
pub const ROUTE_STAGING: Section = Section {
    heading: "a route with `type = \"staging\"`",
    within: "in a staging route",
    keys: &[
        key(
            "type",
            "\"staging\"",
            "required",
            "Clients are served by `warm`. What a get finds there is added to `staging` for the time it has left, if it is not there; what is stored in `warm` is stored in `staging`, too; deletions go to both, and the worse reply is the answer; everything else goes to `warm`, then to `staging`, unless it failed.",
        ),
        key("warm", "route", "required", "The cache in use."),
        key("staging", "route", "required", "The cache to be filled."),
    ],
};

/// From one cache to another.
pub const ROUTE_MIGRATE: Section = Section {
    heading: "a route with `type = \"migrate\"`",
    within: "in a migrate route",
    keys: &[
        key(
            "type",
            "\"migrate\"",
            "required",
            "Requests change from one cache to another, key by key: between one and two `interval`s after `start_time`. Deletions go to both from `start_time` on until all keys have changed, and the worse reply is the answer.",
        ),
        key("from", "route", "required", "The cache that is left."),
        key("to", "route", "required", "The new one."),
        key(
            "start_time",
            "seconds since 1970",
            "required",
            "When it begins, by the clock of the host.",
        ),
        key(
            "interval",
            "duration in whole seconds, 1s to 365d",
            "1h",
            "How long it takes until the first key changes, and then until all have.",
        ),
    ],
};

/// A server that has few items.
pub const ROUTE_SLOW_WARM_UP: Section = Section {
    heading: "a route with `type = \"slow-warm-up\"`",
    within: "in a slow-warm-up route",
    keys: &[
        key(
            "type",
            "\"slow-warm-up\"",
            "required",
            "While few gets of `child` are hits, most gets go to `fallback`. Everything else always goes to `child`. Hits and misses of `child` are counted, of all requests.",
        ),
        CHILD,
        key(
            "fallback",
            "route",
            "required",
            "Where gets go that `child` is spared.",
        ),
        key(
            "enable_threshold",
            "0.0 to 1.0",
            "0.7",
            "With a smaller share of hits it begins.",
        ),
        key(
            "disable_threshold",
            "0.0 to 1.0, over `enable_threshold`",
            "0.9",
            "With at least this share it ends.",
        ),
        key(
            "start",
            "number between 0 and 1",
            "0.1",
            "The share of gets that `child` gets in any case.",
        ),
        key(
            "step",
            "number between 0 and 100",
            "1.0",
            "How many times the share of hits is added to `start`.",
        ),
        key(
            "min_requests",
            "0 to 4294967295",
            "`100`",
            "So many hits and misses have to be counted before it begins.",
        ),
    ],
};

/// Late answers.
pub const ROUTE_LATENCY: Section = Section {
    heading: "a route with `type = \"latency\"`",
    within: "in a latency route",
    keys: &[
        key(
            "type",
            "\"latency\"",
            "required",
            "Makes requests late, to try out what clients make of it.",
        ),
        CHILD,
        key(
            "before",
            "duration in whole milliseconds, up to 1h",
            "none",
            "Waited for before a request is sent.",
        ),
        key(
            "after",
            "duration in whole milliseconds, up to 1h",
            "none",
            "Waited for when its answer is there.",
        ),
        key(
            "total",
            "duration in whole milliseconds, up to 1h",
            "none",
            "All of it together takes at least this long.",
        ),
        key(
            "percentiles",
            "list of pairs of a number from 0 to 100 and such a duration",
            "none",
            "Differs from request to request: with `[[50, \"5ms\"], [99, \"80ms\"]]` all of it takes at least 5 ms for half of the requests and 80 ms for 49 % of them; the rest is as without. The longer of this and `total` holds.",
        ),
    ],
};

/// Swallows requests.
pub const ROUTE_BLACKHOLE: Section = Section {
    heading: "a route with `type = \"blackhole\"`",
    within: "in a blackhole route",
    keys: &[
        key(
            "type",
            "\"blackhole\"",
            "required",
            "Requests that fit all of `when` do not reach `child`.",
        ),
        CHILD,
        key(
            "blackhole",
            "route",
            "{ type = \"null\" }",
            "Where the requests that fit go.",
        ),
        key(
            "when",
            "list of tables",
            "required",
            "What a request must be like. A condition about something that a request does not have does not count, so that without conditions every request fits.",
        ),
    ],
};

/// One condition.
pub const CONDITION: Section = Section {
    heading: "an entry of `when` in a blackhole route",
    within: "in a condition of a blackhole route",
    keys: &[
        key(
            "field",
            "\"key\", \"flags\", \"exptime\", \"delta\", \"cas\" or \"value\"",
            "required",
            "A part of the request. Every request has a key and flags, which are 0 where nothing is stored; what stores, touches or sets a time to live has an `exptime`, and a deletion has the one 0; `incr` and `decr` have a `delta`, `cas` a `cas`. A `value` never fits.",
        ),
        key(
            "equals",
            "list of texts (for a key) or of whole numbers",
            "none",
            "It fits if it is one of these,",
        ),
        key(
            "differs",
            "list of texts (for a key) or of whole numbers",
            "none",
            "or if it is not one of these.",
        ),
    ],
};

/// By the client.
pub const ROUTE_CLIENT: Section = Section {
    heading: "a route with `type = \"client\"`",
    within: "in a client route",
    keys: &[
        key(
            "type",
            "\"client\"",
            "required",
            "All requests of a client's address go to the same child. Those of clients that have none (of a unix socket) are answered with an error.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "One of which a client has.",
        ),
        key(
            "offset",
            "0 to 4294967295",
            "`0`",
            "Added to the hash of the address: the next child.",
        ),
    ],
};

/// By hash, with other choices.
pub const ROUTE_BALANCE: Section = Section {
    heading: "a route with `type = \"balance\"`",
    within: "in a balance route",
    keys: &[
        key(
            "type",
            "\"balance\"",
            "required",
            "Spreads keys over routes by the hash `ch3`. What is answered with an error is tried with other children.",
        ),
        key("children", "list of routes", "required", "Where keys go."),
        key(
            "salt",
            "text",
            "\"\"",
            "Makes another choice of the same children.",
        ),
        key(
            "tries",
            "1 to 1000",
            "`1`",
            "With so many children in all, the first one included.",
        ),
    ],
};

/// So many at a time.
pub const ROUTE_OUTSTANDING: Section = Section {
    heading: "a route with `type = \"outstanding\"`",
    within: "in an outstanding route",
    keys: &[
        key(
            "type",
            "\"outstanding\"",
            "required",
            "So many requests of each worker are on their way at a time. Others wait; clients take turns.",
        ),
        CHILD,
        key("limit", "1 to 1000000", "required", "How many."),
    ],
};
