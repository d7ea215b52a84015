//! What the router tells of itself in mcrouter's words: `get __mcrouter__.COMMAND`, `stats`, and files.
//!
//! An [`Instance`] is what is known of the process as a whole: how it was started, what its configuration was read
//! from, how reloads went. [`commands`] answers questions with it, [`walk`] follows routes without sending anything,
//! [`figures`] names the counters as mcrouter does, [`files`] writes them down, and keeps a copy of the configuration
//! to start from. [`tasks`] is what of this is done from time to time.
//!
//! Names and forms are mcrouter's, since its users' tools read them; the figures are ringroad's own. Answering is for
//! people and tools that ask now and then: it may allocate and lock, and the request path comes here for nothing else.

pub mod commands;
pub mod figures;
pub mod files;
pub mod instance;
pub mod json;
mod layers;
mod servers;
pub mod tasks;
pub mod walk;

pub use instance::{Instance, Start};

use crate::config::Config;
use crate::route::compile::Snapshot;

/// What a worker knows and an answer may need.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// What the snapshot was made of.
    pub config: &'v Config,
    /// What the worker routes by.
    pub snapshot: &'v Snapshot,
    /// Whether a server is out of service, by the numbers of its pool and of itself in there.
    pub is_down: &'v dyn Fn(usize, usize) -> bool,
}
