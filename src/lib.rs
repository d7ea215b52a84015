//! ringroad: one memcached endpoint in front of many memcached servers.
//!
//! Applications talk to it as they would talk to one memcached. It finds the server that owns a key through a
//! consistent-hash ring, sends the request over one of a few shared connections and hands the answer back.
//! This page is the architecture; [`docs`] has the pages for users.
//!
//! ```text
//!  app ──┐                 ┌── worker thread (shares nothing) ────────────┐
//!  app ──┤ accept, hand to │ client session ─► route ─► destination queue │──► memcached 0
//!  app ──┘ least-loaded    │      ▲ replies in order ◄── reply matching   │──► memcached 1
//!          worker          └──────────────────────────────────────────────┘──► memcached 2
//!                                    ▲ Arc<Snapshot>, swapped between turns
//!              control thread: configuration, signals, admin HTTP
//! ```
//!
//! # Workers
//! Each worker is a thread with its own clients, its own connections to servers and its own tables. Nothing
//! on the way of a request is shared, locked or allocated. A worker is two halves:
//! - [`worker::core`] decides everything and knows neither sockets nor clocks: bytes and the time go in, bytes
//!   and deadlines come out. So the whole of it is tested with simulated networks, in any order of events.
//! - [`worker::driver`] is one future that owns all sockets. In a turn it reads every socket that has
//!   something, once; then the core has routed and queued everything; then every server and every client with
//!   something to be written is written, once. System calls are what a proxy costs, and this is what saves
//!   them.
//!
//! # A request
//! [`protocol::request`] takes it apart in the buffer it arrived in and refuses what memcached would refuse.
//! [`client::replies`] gives it a place in its client's order: an entry in a table with a serial number, no
//! task, channel or box. [`route`] finds the pool, [`hash`] the server. [`upstream::conn`] writes the command
//! into the connection's output and remembers whose it is. Gets of one turn for one server, whoever asks,
//! share one line: *get coalescing*.
//!
//! # A reply
//! The connection takes replies apart by key and checks each against what was asked: a `VALUE` must carry a
//! key that waits, a meta reply the opaque that was sent, a line must be one that its command can have. What
//! doesn't fit closes that connection; a reply is never given to the wrong request. Then it goes straight to
//! the client's output if it is next in order, else it is held. Values over 32 KiB are passed on while they
//! arrive, and their parts are not copied: the client's output refers to the buffer they were read into
//! ([`worker::buf`]) and is written gathered. Large data blocks of updates go the same way to the server.
//!
//! # Routes
//! A route is a tree of nodes. Those that choose by key cost nothing; those that decide on replies (failover,
//! warm-up) keep a frame for the request and run as a state machine, [`route::exec`]. What takes many requests
//! (a value in parts, [`route::big_value`]) is a *dialogue*: an `async fn` that the worker polls when
//! answers have come; it awaits nothing else.
//!
//! # Servers that come and go
//! [`discovery`] asks sources (DNS, files, endpoints) on the control thread and makes of their answers who is in the
//! ring: a pure reducer, in which only good answers change anything and a server that is no longer shown keeps its place
//! for a while. A change becomes a new snapshot; workers swap it between turns, destinations that stay keep their
//! connections. Who is up is not its business: the workers find that out together ([`upstream::tko`]).
//!
//! # What outlives the process
//! Nothing but deletions that could not be done: [`spool`] writes them to files, by a thread of its own, and has them delivered
//! when their servers are back. A worker lists what is to be written and is told when it is.
//!
//! # Directions
//! `main → cli → app → {admin, worker, discovery, config}`; `discovery → {config, hash}`; `worker → {client, route, upstream} → {protocol, hash,
//! stats}`; `route::compile → {config, hash}`. `introspect` answers in mcrouter's words: it reads `config`, `route` and `stats`. `embedded` (the demo's cache servers) and `bench` (the load
//! stats}`; `route::compile → {config, hash, spool}`; `worker → spool → config`. `embedded` (the demo's cache servers) and `bench` (the load
//! generator) stand beside and use `protocol` only.

pub mod admin;
pub mod app;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod discovery;
pub mod embedded;
pub mod hash;
pub mod introspect;
mod listening;
pub mod log;
pub mod protocol;
pub mod route;
pub mod spool;
pub mod stats;
pub mod upstream;
pub mod worker;

/// The longer pages.
pub mod docs {
    #[doc = include_str!("docs/config.md")]
    pub mod config {}
    #[doc = include_str!("docs/metrics.md")]
    pub mod metrics {}
    #[doc = include_str!("docs/rollouts.md")]
    pub mod rollouts {}
    #[doc = include_str!("docs/spool.md")]
    pub mod spool {}
    #[doc = include_str!("docs/mcrouter.md")]
    pub mod mcrouter {}
    #[doc = include_str!("docs/differences.md")]
    pub mod differences {}
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[doc = include_str!("docs/benchmarks.md")]
    pub mod benchmarks {}
    #[doc = include_str!("docs/speed.md")]
    pub mod speed {}
    #[doc = include_str!("docs/moving_mcrouter.md")]
    pub mod moving_mcrouter {}
    #[doc = include_str!("docs/moving_twemproxy.md")]
    pub mod moving_twemproxy {}
    #[doc = include_str!("docs/moving_clients.md")]
    pub mod moving_clients {}
    #[doc = include_str!("docs/moving_bitnami.md")]
    pub mod moving_bitnami {}
}
