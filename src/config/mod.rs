//! The configuration: what a file may say, and what it means once checked.
//!
//! [`Config`] and the types below it are plain data with every default filled in and every number within its range;
//! whoever holds one need not check anything again. They are made by [`parse`] from TOML, by [`mcrouter`] from
//! mcrouter's JSON, and by [`Config::single_pool`] for a program that has no file. An [`Origin`] is where one comes
//! from, whichever of the two it is.
//!
//! * `toml`, `pools`, `placement`, `routes` read the sections; `read` has the typed access they share;
//!   `schema` lists every key, for the suggestions, the reference page and the tests.
//! * `diagnostics` turns byte positions into messages; `render` writes a `Config` as TOML again; `watch` sees changes.
//!
//! Nothing here opens a connection or resolves a name, and reading a file happens in `origin` and [`watch`] alone.

mod address;
mod choose;
mod choose_show;
mod compat;
mod diagnostics;
mod discover;
mod fills;
mod keys;
mod keys_show;
mod layout;
mod many;
pub mod mcrouter;
mod orders;
mod ordinals;
mod origin;
mod placement;
mod pools;
mod read;
mod render;
mod routes;
pub mod schema;
mod spool;
mod tko;

mod toml;
mod units;
pub mod vars;
pub mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::toml::{parse, parse_bytes};
pub use address::{AddressError, DEFAULT_SOCKET_MODE, Listen, ServerAddr};
pub use choose::{Choose, ErrorResult, Rate, Rates, Requests};
pub use compat::Compat;
pub use diagnostics::{Diagnostic, Errors, MAX_SHOWN, Severity, Warning};
pub use discover::{Discover, Dns, IdentityWish, Membership, Source};
pub use fills::{
    Condition, Field, Latency, Levels, Migrate, Millionths, Scalar, Side, Sizes, SlowWarmUp,
};
pub use keys::{Keys, Modify, Numbered, Shard, Split};
pub(crate) use keys::{routes_of, routing_prefix, shard_id, shard_key};
pub(crate) use keys_show::numbered;
pub use many::{Failover, Limit, Rule, Shadow, TAG, Verdict, Verdicts};
pub use orders::{Draws, KeyOrder, KeyedFailover, Latest};
pub use ordinals::{MAX_ORDINALS, Ordinals, OrdinalsError, is_host_name};
pub use origin::{Attempt, FileRead, LoadError, Origin, load, parse_any};
pub use spool::{Fsync, Spool, SpoolFormat, UnknownServers};
pub use tko::{FailOpen, Share, Tko};
pub use units::{parse_duration, parse_size, show_duration, show_size};

use crate::hash::Placement;

/// A whole configuration, checked. See the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where clients connect; at least one, no two of which clash.
    pub listen: Vec<Listen>,
    /// Worker threads; `None` lets ringroad choose from the number of cores.
    pub workers: Option<usize>,
    /// The pools in the order of the file; at least one.
    pub pools: Vec<Pool>,
    /// Which pool a request goes to.
    pub route: Route,
    /// Bounds of everything that grows with what clients and servers send.
    pub limits: Limits,
    /// What is logged and how.
    pub log: Log,
    /// The admin port, if there is one.
    pub admin: Option<Admin>,
    /// Where deletions are written down that could not be done. There is one if a pool has [`Pool::spool`].
    pub spool: Option<Spool>,
    /// Whom to ask for the names of pools that discover their servers.
    pub dns: Dns,
    /// Whether `flush_all` is passed on, to every server of every pool; otherwise it is refused.
    pub flush_all: bool,
    /// Whether a get that failed is answered as a miss rather than with an error. Updates always show the error.
    pub miss_on_get_errors: bool,
    /// Whether `lease-get`, `lease-set` and `metaget` are commands.
    pub leases: bool,
    /// Whether `get __mcrouter__.COMMAND` is answered with what the router knows of itself; see `crate::introspect`.
    pub introspection: bool,
    /// Which mcrouter this one is like, where they differ.
    pub compat: Compat,
    /// Whether clients are told of every failure that it is one of a server, and no more.
    pub group_remote_errors: bool,
    /// The file with runtime variables, if there is one; see [`vars`].
    pub runtime_vars: Option<PathBuf>,
    /// How long the process may take to end after SIGTERM, in all.
    pub drain: Duration,
    /// How long after SIGTERM clients are still accepted; shorter than `drain`, or zero.
    pub shutdown_delay: Duration,
}

/// Servers among which keys are spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The pool's name; unique.
    pub name: String,
    /// The servers in the order of the file; at least one, with unique names. For a pool that discovers its
    /// servers: those that are known, which may be none.
    pub servers: Vec<Server>,
    /// How the servers are found, if they are not listed.
    pub discover: Option<Discover>,
    /// How keys are spread; proven good for these servers by building the selector once.
    pub placement: Placement,
    /// How long a request may take from the moment it is queued for its server.
    pub timeout: Duration,
    /// How long connecting may take, the lookup of the name and the first `version` included.
    pub connect_timeout: Duration,
    /// Connections of each worker to each server.
    pub connections: usize,
    /// How long one stays open that nobody uses, at least; zero for as long as the server lets it.
    pub idle_close: Duration,
    /// Whether single-key gets that wait for the same server leave as one multi-key get.
    pub coalesce: bool,
    /// Whether servers see keys with the routing prefix that a route has taken off.
    pub keep_routing_prefix: bool,
    /// How long after a change of the servers a key's previous server is asked, too; `None` for not at all.
    pub warm_scaling: Option<Duration>,
    /// What becomes of requests whose server is down; `None`: [`Config::miss_on_get_errors`] says.
    pub on_failure: Option<OnFailure>,
    /// Where requests go whose server is down, after `on_failure`.
    pub gutter: Option<Gutter>,
    /// What becomes of what a server had before it was out of reach; `None`: as [`Pool::returns`] says.
    pub on_return: Option<OnReturn>,
    /// Whether deletions that fail are written down ([`Config::spool`]), and what the lines call the pool.
    pub spool: Option<String>,
    /// What mcrouter's questions are answered with, if that is not the pool's own name.
    pub shown: Option<Shown>,
    /// When a server is taken out, and when it is tried again.
    pub tko: Tko,
    /// How much may wait for one connection.
    pub queue: Queue,
}

/// What mcrouter calls the servers of a pool that stands for one of its pools, or for a server of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name of its pool.
    pub pool: String,
    /// The number of the first server there.
    pub first: u32,
}

/// What becomes of requests that a pool can't serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// A get that failed is a miss.
    Miss,
    /// A get that failed shows its error.
    Error,
    /// What can be asked again without harm goes to the key's next servers while its own is down.
    Next,
}

/// What a server is trusted with that could not be reached for a while and has not been restarted meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnReturn {
    /// What it had is given out again, whatever could not be updated meanwhile.
    Trust,
    /// What could not be updated is deleted before anything of it is given out.
    Replay,
    /// All it had is deleted.
    Cold,
}

/// Another pool that takes the requests of servers that are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gutter {
    /// Its index in [`Config::pools`]; gutters of gutters do not lead back.
    pub pool: usize,
    /// Seconds that what is stored there lives at most; from 1 to 30 days.
    pub exptime: u32,
}

/// One server of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// What the distribution knows the server by: its place depends on this alone, not on the address.
    /// Without a name of its own it is the address, or the bare path of a unix socket.
    pub name: String,
    /// Where it is.
    pub addr: ServerAddr,
    /// Its share relative to the others, if given; which weights make sense depends on the distribution.
    pub weight: Option<f64>,
}

/// What may wait for one connection to a server. At the bound a request is answered with an error at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Requests, those in flight included.
    pub requests: usize,
    /// Bytes of requests not yet sent.
    pub bytes: usize,
    /// Requests in flight; further ones wait here. 0 for any number.
    pub in_flight: usize,
}

/// Which pool a request goes to: a tree whose leaves are pools.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// The pool with this index in [`Config::pools`].
    Pool(usize),
    /// By the beginning of the key; the longest prefix that fits wins.
    Prefix {
        /// Prefixes, unique and not empty, and where their keys go; in the order of the file.
        prefixes: Vec<(Vec<u8>, Route)>,
        /// Where every other key goes.
        default: Box<Route>,
    },
    /// The first child, and where that fails in one of the ways listed, the next one.
    Failover {
        /// At least one.
        children: Vec<Route>,
        /// What counts as a failure; each at most once.
        on: Vec<FailoverOn>,
    },
    /// Fills a cold cache from a warm one: a get that misses in `cold` is asked of `warm`, and a hit there is added
    /// to `cold`. Everything else goes to `cold`.
    WarmUp {
        /// The cache that is being filled.
        cold: Box<Route>,
        /// The cache that is full.
        warm: Box<Route>,
        /// Seconds a copied item lives; 0 is for ever. At most 30 days, above which memcached reads a date. `None`:
        /// as long as it still has in `warm`.
        exptime: Option<u32>,
    },
    /// Decides without looking at a reply.
    Choose(Choose),
    /// Stores values over a threshold in parts, as mcrouter does, so that they may be larger than one item.
    BigValue {
        /// Where everything goes, the parts of values too.
        child: Box<Route>,
        /// The largest value that is stored as it is, and the size of the parts of larger ones, in bytes;
        /// from 1 KiB to 128 MiB.
        split_threshold: usize,
        /// How many parts are on their way at a time; 1 to 1000.
        batch_size: usize,
        /// Whether clients see the flags without the bit that marks a value in parts.
        hide_reply_flag: bool,
    },
    /// Several children, and a rule that says which of them get a request and whose reply is the answer.
    Many {
        /// The rule.
        rule: Rule,
        /// At least one.
        children: Vec<Route>,
    },
    /// Looks into keys, or changes them.
    Keys(Keys),
}

/// What makes a failover route try its next child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailoverOn {
    /// There is no connection: refused, not up in time, or the server is out (TKO). Nothing was sent.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke, or the server talked nonsense, before the answer was complete.
    Closed,
    /// The server answered `SERVER_ERROR` or `ERROR`.
    Error,
    /// The server's queue here is full. Nothing was sent.
    Busy,
    /// A get found nothing.
    Miss,
}

/// Bounds, with what happens at each in the reference page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest value, in bytes.
    pub max_value: usize,
    /// The longest command line of a get, in bytes; other lines have memcached's fixed bound.
    pub max_get_line: usize,
    /// Requests one client may have outstanding.
    pub client_requests: usize,
    /// Bytes of replies that may wait for one client.
    pub client_bytes: usize,
    /// Bytes of buffers one worker may hold.
    pub worker_bytes: usize,
    /// Requests of clients one worker routes at a time; 0 for any number.
    pub worker_requests: usize,
    /// Requests that may wait for their turn in a worker; 0 for any number.
    pub waiting_requests: usize,
    /// How long one may wait for its turn; zero for ever.
    pub waiting_timeout: Duration,
    /// Client connections of the whole process.
    pub max_connections: usize,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or a list of `module=level`; see [`crate::log::check_filter`].
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its addresses, at least one, none of them [`Listen::Shared`]. Commands that ask a running ringroad use the first.
    pub listen: Vec<Listen>,
}

/// Where ringroad listens when the file does not say.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// The largest configuration file that is read, in bytes.
pub const MAX_FILE: u64 = 4 << 20;

impl Config {
    /// A configuration with these listeners and one pool, every other setting at its default.
    #[must_use]
    pub fn single_pool(listen: Vec<Listen>, pool: Pool) -> Self {
        Self {
            listen,
            workers: None,
            pools: vec![pool],
            route: Route::Pool(0),
            limits: Limits::default(),
            log: Log::default(),
            admin: None,
            spool: None,
            dns: Dns::default(),
            flush_all: false,
            miss_on_get_errors: true,
            leases: false,
            introspection: false,
            compat: Compat::Latest,
            group_remote_errors: false,
            runtime_vars: None,
            drain: Duration::from_secs(10),
            shutdown_delay: Duration::ZERO,
        }
    }

    /// The configuration as TOML with every setting written out; [`parse`] reads it as the same configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        render::config(self)
    }
}

impl Pool {
    /// What mcrouter calls the pool, and the number of its first server there.
    #[must_use]
    pub fn shown_as(&self) -> (&str, usize) {
        match &self.shown {
            Some(shown) => (&shown.pool, shown.first as usize),
            None => (&self.name, 0),
        }
    }

    /// A pool with these servers, every other setting at its default.
    #[must_use]
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            servers,
            discover: None,
            placement: Placement::default(),
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            connections: 1,
            idle_close: Duration::from_secs(60),
            coalesce: true,
            keep_routing_prefix: false,
            warm_scaling: None,
            on_failure: None,
            gutter: None,
            on_return: None,
            spool: None,
            shown: None,
            tko: Tko::default(),
            queue: Queue::default(),
        }
    }

    /// What becomes of what a server had before it was out of reach. Unless it is said: where requests may be done
    /// elsewhere meanwhile, what they have changed must not be seen as it was before. `fails_over` says that a route does
    /// that.
    #[must_use]
    pub fn returns(&self, fails_over: bool) -> OnReturn {
        let elsewhere = fails_over
            || self.on_failure == Some(OnFailure::Next)
            || self.gutter.is_some()
            || self.warm_scaling.is_some();
        self.on_return.unwrap_or(match elsewhere {
            true => OnReturn::Replay,
            false => OnReturn::Trust,
        })
    }
}

impl Server {
    /// A server that is known by its address and has no weight.
    #[must_use]
    pub fn new(addr: ServerAddr) -> Self {
        Self {
            name: addr.default_name(),
            addr,
            weight: None,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            requests: 4096,
            bytes: 4 << 20,
            in_flight: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_value: 1 << 20,
            max_get_line: 4 << 20,
            client_requests: 1024,
            client_bytes: 1 << 20,
            worker_bytes: 256 << 20,
            worker_requests: 0,
            waiting_requests: 0,
            waiting_timeout: Duration::ZERO,
            max_connections: 10_000,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

impl LogFormat {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::Auto, Self::Human, Self::Json];

    /// The name used in the file and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl OnFailure {
    /// Every choice, in the order of the reference page.
    pub const ALL: &'static [Self] = &[Self::Miss, Self::Error, Self::Next];

    /// The name used in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Error => "error",
            Self::Next => "next",
        }
    }

    /// What it does, in a sentence without its end.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Miss => "a get that failed is answered as a miss",
            Self::Error => "a get that failed is answered with the error",
            Self::Next => {
                "while a server is down, the next ones on the ring take its keys' requests"
            }
        }
    }
}

impl OnReturn {
    /// Every choice, in the order of the reference page.
    pub const ALL: &'static [Self] = &[Self::Trust, Self::Replay, Self::Cold];

    /// The name used in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Replay => "replay",
            Self::Cold => "cold",
        }
    }

    /// What it does, in a sentence without its end.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Trust => "what a server still has when it is back is given out again",
            Self::Replay => {
                "what a server has missed while it could not be reached is deleted there first"
            }
            Self::Cold => {
                "a server that could not be reached is emptied first, unless it has been restarted"
            }
        }
    }
}

impl FailoverOn {
    /// Every reason, in the order of the reference page.
    pub const ALL: &'static [Self] = &[
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Error,
        Self::Busy,
        Self::Miss,
    ];

    /// What a failover route reacts to when it does not say: everything but a miss.
    pub const DEFAULT: &'static [Self] = &[
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Error,
        Self::Busy,
    ];

    /// The name used in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Error => "error",
            Self::Busy => "busy",
            Self::Miss => "miss",
        }
    }
}

impl fmt::Display for FailoverOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
