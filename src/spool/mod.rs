//! Reliable deletes: what could not be deleted is written down, and deleted once its server is back.
//!
//! ```text
//!  worker ──entry──► queue ──► writer thread ──► files ──► replayer ──► servers
//!    ▲                              │
//!    └── written, or not ───────────┘
//! ```
//!
//! A worker whose deletion has failed hands it to the [`Spool`] and answers when the writer says that it is written;
//! what is written together is synced together. The [`replay`]er reads the files again, in the daemon ([`daemon`]) or on
//! the command line, and removes a file when all in it has been delivered. [`line`](mod@line) and [`names`] are
//! mcrouter's formats and know neither files nor clocks.
//!
//! Invariants: a file is locked (`flock`) from before it has its name until it is closed, so one without a lock is
//! complete or its writer is dead; every entry that was taken gets exactly one answer, also if the writer
//! dies; the queue and the directory are bounded. The promises to users are on the page `docs/spool.md`.

pub mod daemon;
mod deliver;
mod figures;
pub mod line;
pub mod names;
pub mod replay;
mod store;
mod writer;

pub use figures::Figures;
pub use line::{Deletion, Place};
pub use writer::{Confirm, MAX_QUEUE, Spool};
