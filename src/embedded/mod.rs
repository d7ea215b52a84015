//! A small memcached inside this process, for `ringroad demo` and for tests.
//!
//! It speaks the protocol of memcached 1.6.45: the same replies byte for byte, for good and bad input, to the
//! text commands and the meta commands. [`Store`] keeps the items (memory limit with eviction, expiry, cas),
//! [`session`] turns a connection's bytes into replies, [`server`] puts both behind a TCP port.
//!
//! Only [`server`] knows sockets and the clock; everything else gets [`Now`] with each call. What it has not:
//! slab administration, watchers, `lru_crawler`, authentication, UDP, the binary protocol and storage on disk.
//! It shares the request parser with the router, so what is refused there is refused here: a NUL in a key, and
//! the names of memcached's administration, as unknown commands. Two answers of 1.6.45 are left out as mishaps:
//! the empty line after the error for too long a key in a `get`, and sub-commands of `stats` that are known by
//! their first letters. What was answered before a connection is closed is always sent.

mod change;
mod counters;
mod item;
mod meta;
mod meta_flags;
pub mod server;
pub mod session;
mod stats;
mod store;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod model_tests;

pub use item::Now;
pub use server::{Handle, Options, Server, run_many};
pub use session::{Fate, Session};
pub use store::Store;

/// What `version` answers. The numbers are those of the memcached whose behaviour is followed, because
/// clients switch features by them.
pub const VERSION: &str = "1.6.45";
