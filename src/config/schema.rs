//! Every key a configuration file may hold: its type, its default and what it means, in one place.
//!
//! The reader takes the known keys from here (an unknown one is an error with a suggestion), the reference page
//! `src/docs/config.md` holds the tables that [`markdown`] prints, and `config/ringroad.toml` is checked against the
//! defaults. So a key can't be added without being documented.
//!
//! The defaults here are text for people; the values are the `Default`s in the parent module, and a test of
//! the complete example holds both together.

#[path = "schema_many.rs"]
mod many;

use std::fmt::Write as _;

mod choose;
mod fills;
mod keys;
mod orders;

pub use choose::*;
pub use fills::*;
pub use keys::*;
pub use many::{ROUTE_ALL, ROUTE_MISS_FAILOVER, ROUTE_SELECTIVE_FAILOVER, ROUTE_SHADOW};
pub use orders::*;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name as written.
    pub name: &'static str,
    /// The kind of value, for people.
    pub kind: &'static str,
    /// The default as it would be written, or `required` or `none`.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// One kind of table.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// How the table is written, such as `[pools.NAME]`.
    pub heading: &'static str,
    /// Where a key of it stands, such as "in a pool".
    pub within: &'static str,
    /// Its keys in the order of the reference page.
    pub keys: &'static [Key],
}

impl Section {
    /// The key's entry.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names, for a message.
    #[must_use]
    pub fn names(&self) -> String {
        self.keys
            .iter()
            .map(|key| key.name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        meaning,
    }
}

/// The top of the file.
pub const ROOT: Section = Section {
    heading: "top of the file",
    within: "at the top of the file",
    keys: &[
        key(
            "listen",
            "address or list of addresses",
            "[\"127.0.0.1:5000\"]",
            "Where clients connect: `\"127.0.0.1:5000\"`, `\"[::1]:5000\"`, `\":5000\"` (every address, IPv4 and IPv6), `\"unix:/run/ringroad.sock\"`, or a table to give the unix socket a mode or to share the port. Port 0 takes any free port. A change needs a restart.",
        ),
        key(
            "workers",
            "\"auto\" or 1 to 1024",
            "\"auto\"",
            "Worker threads. `\"auto\"` chooses from the number of cores. A change needs a restart.",
        ),
        key(
            "route",
            "pool name or route table",
            "the pool, if there is just one",
            "Which pool a request goes to.",
        ),
        key(
            "flush_all",
            "true or false",
            "false",
            "Pass `flush_all` on to every server of every pool. While off it is refused.",
        ),
        key(
            "miss_on_get_errors",
            "true or false",
            "true",
            "Answer a get that failed as a miss, which is what users of a cache expect; `false` shows them the error. Updates always show it.",
        ),
        key(
            "leases",
            "true or false",
            "false",
            "Take `lease-get`, `lease-set` and `metaget` for commands, as mcrouter does, and pass them on to servers that know them; a memcached does not. While off they are answered as unknown, as by memcached.",
        ),
        key(
            "introspection",
            "true or false",
            "false",
            "Answer `get __mcrouter__.COMMAND` with what the router knows of itself, as mcrouter does: where a key goes, what is configured. Other requests for such keys are served as usual.",
        ),
        key(
            "mcrouter_compat",
            "\"latest\" or \"0.36\"",
            "\"latest\"",
            "Which mcrouter to be like where they differ: `0.36` has the texts of its errors, and a failed `incr` or `decr` is a miss. See `mcrouter.md`.",
        ),
        key(
            "group_remote_errors",
            "true or false",
            "false",
            "Answer whatever fails with `SERVER_ERROR remote error`, so that nothing is told of the servers.",
        ),
        key(
            "runtime_vars_file",
            "path",
            "none",
            "A file with a JSON object of variables that routes refer to by name, such as the range of keys that a shadow copies. A change of it holds within a second or two.",
        ),
        key(
            "drain",
            "duration up to 1h",
            "\"10s\"",
            "After SIGTERM: how long it may take until the process ends, `shutdown_delay` and the requests in flight included.",
        ),
        key(
            "shutdown_delay",
            "duration up to 1h",
            "\"0s\"",
            "After SIGTERM: how long clients are still accepted and served, while `/readyz` says no. For where those who send clients here learn of that with a delay, as on Kubernetes; shorter than `drain`.",
        ),
        key(
            "pools",
            "tables",
            "required",
            "The pools, one table each: `[pools.NAME]`.",
        ),
        key(
            "limits",
            "table",
            "see there",
            "Bounds of memory and of what clients may send.",
        ),
        key(
            "dns",
            "table",
            "see there",
            "Whom to ask for names that `discover` gives, and how often.",
        ),
        key(
            "spool",
            "table",
            "none",
            "Where deletions are written down that could not be done; which pools write there, `spool` in a pool says.",
        ),
        key("log", "table", "see there", "What is logged and how."),
        key(
            "admin",
            "table",
            "none",
            "The admin port; without this table there is none.",
        ),
    ],
};

/// A listener written as a table.
pub const LISTEN: Section = Section {
    heading: "an entry of `listen` as a table",
    within: "in a listener",
    keys: &[
        key(
            "unix",
            "path",
            "required, or `tcp`",
            "The path of the unix socket.",
        ),
        key(
            "mode",
            "octal permissions",
            "\"0700\"",
            "Who may connect: `\"0700\"` the same user, `\"0770\"` the group too, `\"0777\"` everybody. With `unix` only.",
        ),
        key(
            "tcp",
            "address",
            "required, or `unix`",
            "A TCP address, as in the short form.",
        ),
        key(
            "reuse_port",
            "true or false",
            "false",
            "Whether another process of the same user may listen there too (`SO_REUSEPORT`), so that a new ringroad takes over from one that ends and no client is refused. With `tcp` only.",
        ),
    ],
};

/// A pool.
pub const POOL: Section = Section {
    heading: "[pools.NAME]",
    within: "in a pool",
    keys: &[
        key(
            "servers",
            "list of addresses or tables",
            "required, or `discover`",
            "The servers: `\"10.0.0.1:11211\"`, `\"cache-0.example:11211\"` (a name, looked up again and again), `\"unix:/run/memcached.sock\"`, or a table with a name or a weight.",
        ),
        key(
            "discover",
            "text, table, or a list of them",
            "required, or `servers`",
            "Where the servers are found, and found again as they come and go: the name of a headless Service (`\"mycache-memcached.default.svc.cluster.local\"`), the ordinals of a StatefulSet (`\"cache-{0..}.cache.default.svc.cluster.local\"`), a file (`\"/etc/ringroad/servers\"`), or a table. Several sources make one pool.",
        ),
        key(
            "membership",
            "table",
            "see there",
            "How long a server that is no longer found keeps its place; with `discover` only.",
        ),
        key(
            "distribution",
            "name",
            "\"ring\"",
            "How keys are spread over the servers; the names are listed below.",
        ),
        key(
            "hash",
            "name",
            "the distribution's own",
            "The hash of the key, for the distributions that leave the choice; the names are listed below.",
        ),
        key(
            "points",
            "1 to 65536",
            "160",
            "Points that a server of weight 1 has on the ring; with the distribution `ring` only.",
        ),
        key(
            "salt",
            "text",
            "\"\"",
            "Added to the key before it is hashed, for the distributions that take one; spreads the same keys in another way.",
        ),
        key(
            "weights_variable",
            "name",
            "none",
            "With the distribution `weighted_ch3`: a list under `hash_route_weights` in `runtime_vars_file`, whose weights, in the order of the servers, go before their own. A change moves keys at once, without a reload.",
        ),
        key(
            "hash_tag",
            "two characters",
            "none",
            "Hash only the part of a key between these two: with `\"{}\"`, `user:{42}:name` and `user:{42}:mail` have the same server.",
        ),
        key(
            "hash_stop",
            "true or false",
            "false",
            "Hash only the part of a key before the first `|#|`, as mcrouter does.",
        ),
        key(
            "buckets",
            "table",
            "none",
            "Put keys into a fixed number of buckets first, and spread those: `{ total = 1000 }`. With `weighted_ch3` only.",
        ),
        key(
            "timeout",
            "duration from 1ms to 10m",
            "\"1s\"",
            "How long a request may take, waiting for its turn included.",
        ),
        key(
            "connect_timeout",
            "duration from 1ms to 10m",
            "\"1s\"",
            "How long connecting to a server may take.",
        ),
        key(
            "connections",
            "1 to 64",
            "1",
            "Connections of each worker to each server. One is the fastest in most cases.",
        ),
        key(
            "idle_close",
            "duration up to 24h",
            "\"1m\"",
            "A connection on which nothing was asked for that long is closed (looked at once in each such time, so after up to twice as long) and opened again by the next request. That is no failure. `0` for never.",
        ),
        key(
            "coalesce",
            "true or false",
            "true",
            "Send single-key gets that wait for the same server as one multi-key get. Clients see no difference but the speed.",
        ),
        key(
            "keep_routing_prefix",
            "true or false",
            "false",
            "Whether the servers see keys with the routing prefix that a routing-prefix route has taken off. Who owns a key does not depend on it.",
        ),
        key(
            "warm_scaling",
            "true or false",
            "false",
            "When servers join or leave: for a while, ask a key's previous server for what its new one does not have, copy what is found with the time it has left to live, and have updates reach both, so that nothing old comes back.",
        ),
        key(
            "warm_window",
            "duration from 1s to 24h",
            "\"10m\"",
            "How long `warm_scaling` goes on after a change.",
        ),
        key(
            "on_failure",
            "\"miss\", \"error\" or \"next\"",
            "as `miss_on_get_errors`",
            "What becomes of a request that fails in this pool. `miss`: a get is a miss; `error`: a get shows the error; `next`: while the server of a key is down, requests go to the key's next server, or the one after that. A get whose connection breaks is asked again there, an update only if nothing of it was sent. Updates that fail always show it.",
        ),
        key(
            "gutter",
            "pool name",
            "none",
            "Another pool, which takes the requests of servers that are down, after the next servers with `on_failure = \"next\"`. What is deleted in this pool is deleted there, too.",
        ),
        key(
            "gutter_exptime",
            "duration in whole seconds from 1s to 30d",
            "\"1m\"",
            "What is stored in the gutter lives at most that long, so that nothing old is found there later.",
        ),
        key(
            "on_return",
            "\"trust\", \"replay\" or \"cold\"",
            "as the pool needs it",
            "What becomes of what a server still has when it comes back after it could not be reached for a while. `trust`: it is given out again. `replay`: whatever could not be updated meanwhile is deleted there first. `cold`: all of it is deleted (`flush_all`), unless the server has been restarted. By default `replay` where updates may be done elsewhere meanwhile (`on_failure = \"next\"`, `gutter`, `warm_scaling`, a failover route), else `trust`.",
        ),
        key(
            "spool",
            "true or false",
            "false",
            "Write a deletion that fails to the spool (`[spool]`), answer `NOT_FOUND`, and do it when the server is back. Routes around the pool see a deletion that found nothing: they do not go on to other pools with it.",
        ),
        key(
            "spool_name",
            "text",
            "the pool's name",
            "What lines of the format `v2` call the pool; with `spool` only.",
        ),
        key(
            "shown_as",
            "text",
            "the pool's name",
            "What answers to mcrouter's questions (`introspection`) call the pool. `ringroad convert` writes it where one pool of mcrouter's has become several.",
        ),
        key(
            "shown_from",
            "0 to 65535",
            "`0`",
            "The number that the first server has in these answers.",
        ),
        key(
            "tko",
            "table",
            "see there",
            "When a server counts as down, and when it is tried again.",
        ),
        key(
            "queue",
            "table",
            "see there",
            "How much may wait for one connection to a server.",
        ),
    ],
};

/// A server written as a table.
pub const SERVER: Section = Section {
    heading: "an entry of `servers` as a table",
    within: "in a server",
    keys: &[
        key(
            "addr",
            "address",
            "required",
            "Where the server is, as in the short form.",
        ),
        key(
            "name",
            "text without blanks",
            "the address",
            "What the distribution knows the server by. With a name the address may change and every key stays where it is.",
        ),
        key(
            "weight",
            "number",
            "none",
            "The server's share relative to the others, for the distributions that take weights.",
        ),
    ],
};

/// A source of servers written as a table.
pub const DISCOVER: Section = Section {
    heading: "an entry of `discover` as a table",
    within: "in a source of servers",
    keys: &[
        key(
            "service",
            "DNS name",
            "none",
            "A headless Service: its SRV records name the servers, else its addresses do. One of these five says what the source is.",
        ),
        key(
            "ordinals",
            "pattern",
            "none",
            "The names of a StatefulSet's pods: `\"cache-{0..}.cache.default.svc.cluster.local\"` asks upwards until three in a row are missing, `{0..4}` for these five.",
        ),
        key(
            "addresses",
            "DNS name",
            "none",
            "A name whose addresses are the servers; no SRV records are asked for.",
        ),
        key(
            "file",
            "path",
            "none",
            "A file that is looked at for changes: a server a line (`cache-0=10.0.0.1:11211`), or JSON.",
        ),
        key(
            "endpoint",
            "address",
            "none",
            "A configuration endpoint as of AWS ElastiCache or Google Memorystore, which is asked for `config get cluster`.",
        ),
        key(
            "port",
            "1 to 65535",
            "11211",
            "The servers' port, where SRV records do not say. Not for `file` and `endpoint`, which bring theirs.",
        ),
        key(
            "port_name",
            "name",
            "none",
            "The name of the Service's port, if it has several: asks for `_NAME._tcp.SERVICE`. With `service` only.",
        ),
        key(
            "identity",
            "\"auto\", \"name\" or \"ip\"",
            "\"auto\"",
            "What the ring knows a server by: `auto` the most stable there is (SRV target, name of the address, address), `name` a name or nothing, `ip` the address. With `service` and `addresses` only.",
        ),
    ],
};

/// How long places are kept.
pub const MEMBERSHIP: Section = Section {
    heading: "[pools.NAME.membership]",
    within: "in `membership`",
    keys: &[
        key(
            "hold",
            "duration up to 24h",
            "\"10m\"",
            "How long a server that is no longer found keeps its place; until then its keys are misses and nobody else's move.",
        ),
        key(
            "hold_top",
            "duration up to 24h",
            "\"1m\"",
            "The same for the highest ordinals while all lower ones are found: that is how a StatefulSet is made smaller.",
        ),
        key(
            "hold_ip",
            "duration up to 24h",
            "\"30s\"",
            "The same for servers that are known by their address alone, which come back under another.",
        ),
        key(
            "max_loss",
            "number from 0 to 1",
            "0.5",
            "The share of a pool's servers that may leave at once; more leave only after `confirm`.",
        ),
        key(
            "confirm",
            "duration up to 24h",
            "\"2m\"",
            "How long, and in several answers in a row, a larger part must be missing before it leaves.",
        ),
    ],
};

/// How names are asked for.
pub const DNS: Section = Section {
    heading: "[dns]",
    within: "in `dns`",
    keys: &[
        key(
            "servers",
            "list of addresses",
            "those of /etc/resolv.conf",
            "The DNS servers, such as `[\"10.96.0.10:53\"]`. A change needs a restart.",
        ),
        key(
            "search",
            "list of domains",
            "those of /etc/resolv.conf",
            "Domains in which short names are looked for; with `servers` only. A change needs a restart.",
        ),
        key(
            "min_ttl",
            "duration from 100ms to 1h",
            "\"5s\"",
            "An answer is not asked for again sooner than this, whatever its time to live. A connection that fails has the name asked for at once.",
        ),
        key(
            "max_ttl",
            "duration from 1s to 24h",
            "\"5m\"",
            "An answer is asked for again after this, whatever its time to live.",
        ),
    ],
};

/// When a server counts as down.
pub const TKO: Section = Section {
    heading: "[pools.NAME.tko]",
    within: "in `tko`",
    keys: &[
        key(
            "enabled",
            "true or false",
            "true",
            "Whether servers are taken out at all. If not, each request for a dead server waits for its timeout.",
        ),
        key(
            "after",
            "1 to 1000000",
            "3",
            "Timeouts in a row that take a server out. One that can't be connected to, or closes a connection within its first second, is out at once.",
        ),
        key(
            "probe_min",
            "duration from 10ms to 1h",
            "\"100ms\"",
            "The wait before a server that is out is tried again: a half to the whole of this, by chance.",
        ),
        key(
            "probe_max",
            "duration from 10ms to 1h",
            "\"10s\"",
            "What that wait doubles up to while the server stays down.",
        ),
        key(
            "recover",
            "1 to 100",
            "1",
            "Probes in a row that a server which is out must answer before it is used again.",
        ),
        key(
            "hold_down",
            "duration up to 1h",
            "\"1s\"",
            "How long a server must go on answering probes if it was out less than a minute before. It doubles with each such time, up to 64 times that; a minute in service halves the number again. `0` for not at all.",
        ),
        key(
            "fail_open_at",
            "1 to 1000000, or a percentage",
            "none",
            "With so many of the pool's servers out no further ones are taken out: what is wrong may be something else. A percentage, as in `\"30%\"`, is one of the pool's servers, rounded down.",
        ),
        key(
            "fail_open_until",
            "the same",
            "none",
            "Until no more of them than this are out.",
        ),
    ],
};

/// How much may wait.
pub const QUEUE: Section = Section {
    heading: "[pools.NAME.queue]",
    within: "in `queue`",
    keys: &[
        key(
            "requests",
            "1 to 1000000",
            "4096",
            "Requests waiting or in flight, for each connection. One more is answered with an error at once.",
        ),
        key(
            "bytes",
            "size from 64KiB to 1GiB",
            "\"4MiB\"",
            "Bytes waiting to be sent, for each connection. At the bound a request is answered with an error at once.",
        ),
        key(
            "in_flight",
            "0 to 1000000",
            "0",
            "Requests that may be under way on each connection; further ones wait in ringroad, and are not sent if they time out there. Gets that share a line count once. `0` for any number.",
        ),
    ],
};

/// A route by prefix.
pub const ROUTE_PREFIX: Section = Section {
    heading: "a route with `type = \"prefix\"`",
    within: "in a prefix route",
    keys: &[
        key(
            "type",
            "\"prefix\"",
            "required",
            "By the beginning of the key; the longest prefix that fits wins.",
        ),
        key(
            "prefixes",
            "table",
            "required",
            "From the prefix to the route of its keys: `\"user:\" = \"users\"`.",
        ),
        key(
            "default",
            "route",
            "required",
            "Where every other key goes.",
        ),
    ],
};

/// A failover route.
pub const ROUTE_FAILOVER: Section = Section {
    heading: "a route with `type = \"failover\"`",
    within: "in a failover route",
    keys: &[
        key(
            "type",
            "\"failover\"",
            "required",
            "The first child; where that fails, the next one.",
        ),
        key(
            "children",
            "list of routes",
            "required",
            "Tried in this order.",
        ),
        key(
            "on",
            "list of reasons",
            "[\"connect\", \"timeout\", \"closed\", \"error\", \"busy\"]",
            "What counts as a failure: `connect` (no connection, or the server is out), `timeout` (no answer in time), `closed` (the connection broke before the answer was complete), `error` (the server answered with an error), `busy` (the server's queue is full), `miss` (a get found nothing).",
        ),
    ],
};

/// A warm-up route.
pub const ROUTE_WARM_UP: Section = Section {
    heading: "a route with `type = \"warm-up\"`",
    within: "in a warm-up route",
    keys: &[
        key(
            "type",
            "\"warm-up\"",
            "required",
            "Fills a cold cache from a warm one: a get that misses in `cold` is asked of `warm`, and a hit there is added to `cold`. Everything else goes to `cold` alone.",
        ),
        key(
            "cold",
            "route",
            "required",
            "The cache that is being filled.",
        ),
        key("warm", "route", "required", "The cache that is full."),
        key(
            "exptime",
            "duration in whole seconds, up to 30d, or \"keep\"",
            "required",
            "How long an item copied to `cold` lives; 0 is for ever, `\"keep\"` as long as it still has in `warm`, which is asked for that. What a `gat` or `gats` copies lives as long as that says.",
        ),
    ],
};

/// A route for values larger than an item may be.
pub const ROUTE_BIG_VALUE: Section = Section {
    heading: "a route with `type = \"big-value\"`",
    within: "in a big-value route",
    keys: &[
        key(
            "type",
            "\"big-value\"",
            "required",
            "Stores values over a threshold in parts, in the layout of mcrouter, and puts them together again when they are read.",
        ),
        key(
            "child",
            "route",
            "required",
            "Where everything goes, the parts of values too.",
        ),
        key(
            "split_threshold",
            "size from 1KiB to 128MiB",
            "\"1000KiB\"",
            "The largest value that is stored as it is, and the size of the parts of larger ones. An item's key and header count to memcached's own limit (1 MiB unless it was started with `-I`), so stay below that.",
        ),
        key(
            "batch_size",
            "0 to 1000",
            "10",
            "How many parts of one value are on their way at a time; 0: all of them, up to 1000.",
        ),
        key(
            "hide_reply_flag",
            "true or false",
            "false",
            "Give the flags of a value that was put together without the bit 0x8000 that marks it. mcrouter shows the bit unless it is told to hide it.",
        ),
    ],
};

/// The bounds.
pub const LIMITS: Section = Section {
    heading: "[limits]",
    within: "in `limits`",
    keys: &[
        key(
            "max_value",
            "size from 1KiB to 128MiB",
            "\"1MiB\"",
            "The largest value. A larger one is read and thrown away, and the client gets memcached's own error.",
        ),
        key(
            "max_get_line",
            "size from 2KiB to 64MiB",
            "\"4MiB\"",
            "The longest command line of a get, keys included. Other command lines have memcached's fixed bound.",
        ),
        key(
            "client_requests",
            "1 to 1000000",
            "1024",
            "Requests a client may have outstanding; at the bound ringroad stops reading from it.",
        ),
        key(
            "client_bytes",
            "size from 64KiB to 1GiB",
            "\"1MiB\"",
            "Bytes of replies that may wait for one client; at the bound ringroad stops reading from it.",
        ),
        key(
            "worker_bytes",
            "size from 1MiB to 64GiB",
            "\"256MiB\"",
            "Bytes each worker may hold; at the bound the clients that hold the most are closed and large updates refused.",
        ),
        key(
            "worker_requests",
            "0 to 1000000",
            "0",
            "Requests of clients that each worker has under way at a time, a get of several keys counting once; further ones wait for their turn. `0` for any number.",
        ),
        key(
            "waiting_requests",
            "0 to 1000000",
            "0",
            "Requests that may wait in a worker for their turn; one more is answered with `SERVER_ERROR busy` at once. With `worker_requests` only. `0` for any number.",
        ),
        key(
            "waiting_timeout",
            "duration up to 10m",
            "\"0s\"",
            "A request that has waited that long for its turn is answered with `SERVER_ERROR busy`. With `worker_requests` only. `0` for as long as it takes.",
        ),
        key(
            "max_connections",
            "1 to 1000000",
            "10000",
            "Client connections of the whole process; at the bound no more are accepted until one closes.",
        ),
    ],
};

/// The spool.
pub const SPOOL: Section = Section {
    heading: "[spool]",
    within: "in `spool`",
    keys: &[
        key(
            "dir",
            "path",
            "required",
            "The directory of the files, such as `\"/var/spool/ringroad\"`. A change of anything in this table needs a restart; the table itself may be added at any time.",
        ),
        key(
            "create_dir",
            "true or false",
            "true",
            "Make the directory if it is not there.",
        ),
        key(
            "format",
            "\"v1\" or \"v2\"",
            "\"v1\"",
            "The form of a line: mcrouter's `AS1.0` or its `AS2.0`. Both are read.",
        ),
        key(
            "fsync",
            "\"never\", \"each\" or \"interval\"",
            "\"interval\"",
            "When a deletion is answered, and what a loss of power takes with it. `each`: when its line is on the disk; nothing is lost. `interval`: when the system has it, which writes it to the disk after `fsync_interval` at most; so much may be lost. `never`: when the system has it, which writes it when it likes. A process that is killed loses nothing.",
        ),
        key(
            "fsync_interval",
            "duration from 1ms to 1h",
            "\"1s\"",
            "See `fsync`.",
        ),
        key(
            "max_bytes",
            "size from 1MiB to 65536GiB",
            "\"1GiB\"",
            "The most that all files together hold. At the bound the oldest file is removed, delivered or not.",
        ),
        key(
            "replay",
            "true or false",
            "true",
            "Deliver what is spooled when the server is back. Without it `ringroad replay` does that when it is called.",
        ),
        key(
            "replay_rate",
            "0 to 1000000000",
            "10000",
            "How many deletions are delivered in a second, at most; 0 is for no bound.",
        ),
        key(
            "unknown_servers",
            "\"keep\" or \"drop\"",
            "\"keep\"",
            "What becomes of deletions for servers that no pool has (any more): they stay in their files, or count as delivered. Both is said in the log.",
        ),
        key(
            "service_name",
            "text",
            "\"ringroad\"",
            "A part of the names of files, and of lines of the format `v2`.",
        ),
        key(
            "router_name",
            "text",
            "\"0\"",
            "A part of the names of files.",
        ),
        key(
            "region",
            "text",
            "\"\"",
            "A part of lines of the format `v2`.",
        ),
        key(
            "flavor",
            "text",
            "\"unknown\"",
            "A part of lines of the format `v2`.",
        ),
    ],
};

/// Logging.
pub const LOG: Section = Section {
    heading: "[log]",
    within: "in `log`",
    keys: &[
        key(
            "level",
            "off, error, warn, info, debug, trace",
            "\"info\"",
            "What is logged. Single modules can differ: `\"info,ringroad::upstream=debug\"`.",
        ),
        key(
            "format",
            "\"auto\", \"human\" or \"json\"",
            "\"auto\"",
            "The form of a line, on standard error. `auto` is `human` on a terminal, else `json`. A change needs a restart.",
        ),
    ],
};

/// The admin port.
pub const ADMIN: Section = Section {
    heading: "[admin]",
    within: "in `admin`",
    keys: &[key(
        "listen",
        "address, table, or a list of them",
        "required",
        "The address of the admin port, such as `\"127.0.0.1:5001\"`, or `\"unix:/run/ringroad-admin.sock\"`, in the forms of `listen`. It is HTTP, for people and machines you trust: it has no password. Of several, commands that ask a running ringroad use the first. A change needs a restart.",
    )],
};

/// Every section, in the order of the reference page.
pub const SECTIONS: &[Section] = &[
    ROOT,
    LISTEN,
    POOL,
    SERVER,
    BUCKETS,
    DISCOVER,
    MEMBERSHIP,
    DNS,
    TKO,
    QUEUE,
    ROUTE_PREFIX,
    ROUTE_FAILOVER,
    ROUTE_WARM_UP,
    ROUTE_BIG_VALUE,
    ROUTE_OPERATION,
    ROUTE_HASH,
    ROUTE_RANDOM,
    ROUTE_HOST,
    ROUTE_NULL,
    ROUTE_ERROR,
    ROUTE_EXPTIME,
    ROUTE_RATE_LIMIT,
    ROUTE_HASH_STOP,
    ROUTE_ALL,
    ROUTE_MISS_FAILOVER,
    ROUTE_SELECTIVE_FAILOVER,
    ROUTE_SHADOW,
    ROUTE_ROUTING_PREFIX,
    ROUTE_OF_PREFIXES,
    ROUTE_MODIFY_KEY,
    ROUTE_KEY_SPLIT,
    ROUTE_SHARD_SPLIT,
    ROUTE_SHARD,
    ROUTE_LATEST,
    ROUTE_KEYED_FAILOVER,
    ROUTE_TWO_LEVEL,
    ROUTE_BY_SIZE,
    ROUTE_STAGING,
    ROUTE_MIGRATE,
    ROUTE_SLOW_WARM_UP,
    ROUTE_LATENCY,
    ROUTE_BLACKHOLE,
    CONDITION,
    ROUTE_CLIENT,
    ROUTE_BALANCE,
    ROUTE_OUTSTANDING,
    LIMITS,
    SPOOL,
    LOG,
    ADMIN,
];

/// The section's table as it stands in the reference page.
#[must_use]
pub fn markdown(section: &Section) -> String {
    let mut text = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let default = match key.default {
            words
                if words.starts_with(['"', '['])
                    || words.parse::<f64>().is_ok()
                    || words.bytes().all(|b| b.is_ascii_digit()) =>
            {
                format!("`{words}`")
            }
            "true" | "false" => format!("`{}`", key.default),
            words => words.to_owned(),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            key.name,
            escaped(key.kind),
            escaped(key.meaning)
        );
    }
    text
}

/// A bar inside a table cell must be escaped, even within backquotes.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
