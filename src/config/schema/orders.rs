//! The keys of failovers whose order follows from the host or from the key; see [`crate::config::orders`].

use super::{Key, Section, key};

// What both say of failing over.

const GET_ERRORS: Key = key(
    "get_errors",
    "list of failures",
    "as in a selective-failover route",
    "With which failures a get goes on.",
);

const UPDATE_ERRORS: Key = key(
    "update_errors",
    "list of failures",
    "as in a selective-failover route",
    "The same for commands that store a value.",
);

const DELETE_ERRORS: Key = key(
    "delete_errors",
    "list of failures",
    "as in a selective-failover route",
    "The same for deletions.",
);

const LIMIT_PER_MILLION: Key = key(
    "limit_per_million",
    "0 to 1000000",
    "no limit",
    "As in a selective-failover route.",
);

const LIMIT_BURST: Key = key(
    "limit_burst",
    "1 to 1000000000",
    "`1000`",
    "As in a selective-failover route.",
);

const FAILOVER_EXPTIME: Key = key(
    "failover_exptime",
    "duration in whole seconds, up to 30d",
    "no bound",
    "As in a selective-failover route.",
);

const FAILOVER_TAG: Key = key(
    "failover_tag",
    "true or false",
    "false",
    "As in a selective-failover route.",
);

const LEASE_PAIRING: Key = key(
    "lease_pairing",
    "true or false",
    "false",
    "As in a selective-failover route.",
);

/// The children of a host.
pub const ROUTE_LATEST: Section = Section {
    heading: "a route with `type = \"latest\"`",
    within: "in a latest route",
    keys: &[
        key(
            "type",
            "\"latest\"",
            "required",
            "Each host uses only some of the children, always the same, and these one after the other as a selective-failover route does. Which they are follows from the host's address, as in mcrouter.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "Of which a host uses some.",
        ),
        key("count", "1 to 1000", "5", "How many it uses."),
        key(
            "salt",
            "text",
            "\"\"",
            "Makes another choice of the same children.",
        ),
        key(
            "weights",
            "list of numbers from 0 to 1",
            "all alike",
            "The share of hosts that each child gets.",
        ),
        key(
            "max_tries",
            "1 to 1000",
            "all of these, in their order",
            "As in a selective-failover route.",
        ),
        GET_ERRORS,
        UPDATE_ERRORS,
        DELETE_ERRORS,
        LIMIT_PER_MILLION,
        LIMIT_BURST,
        FAILOVER_EXPTIME,
        FAILOVER_TAG,
        LEASE_PAIRING,
    ],
};

/// By the key.
pub const ROUTE_KEYED_FAILOVER: Section = Section {
    heading: "a route with `type = \"keyed-failover\"`",
    within: "in a keyed-failover route",
    keys: &[
        key(
            "type",
            "\"keyed-failover\"",
            "required",
            "The first child; where that fails, others in an order that follows from the key, so that all routers go to the same ones.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "The first one is a pool (or a hash); the others are its servers in their order, or take their places. The one that the first child has for the key is not asked again.",
        ),
        key(
            "order",
            "\"draws\" or \"rendezvous\"",
            "\"draws\"",
            "`draws`: the hash `ch3` of the key with a number behind it, from 2 on; `rendezvous`: the hash of that name of the `tags`.",
        ),
        key(
            "max_tries",
            "1 to 1000",
            "`1000`",
            "For `draws`: so many children at most, the first one included.",
        ),
        key(
            "max_error_tries",
            "1 to 1000",
            "`1000`",
            "For `draws`: so many failures at most. Servers that are down or can't be connected to do not count.",
        ),
        key(
            "excluded_errors",
            "list of failures",
            "none",
            "For `draws`: failures that do not count either.",
        ),
        key(
            "domains",
            "list of whole numbers",
            "none",
            "For `draws`: the failure domain of each child but the first, 0 for none. While there are others, no child is asked whose domain has had a failure.",
        ),
        key(
            "repeats_normal",
            "true or false",
            "false",
            "For `draws`: the server that the first child has for the key may be asked again.",
        ),
        key(
            "tags",
            "list of texts",
            "required for `rendezvous`",
            "What each child but the first is known by.",
        ),
        key(
            "weights",
            "list of numbers",
            "all alike",
            "For `draws` from 0 to 1, one for each child; for `rendezvous` up to 1000, one for each but the first.",
        ),
        GET_ERRORS,
        UPDATE_ERRORS,
        DELETE_ERRORS,
        LIMIT_PER_MILLION,
        LIMIT_BURST,
        FAILOVER_EXPTIME,
        FAILOVER_TAG,
        LEASE_PAIRING,
    ],
};
