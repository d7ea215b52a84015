//! Where a pool's members come from, and which of them it has.
//!
//! A *source* (DNS, a file, a configuration endpoint) is asked again and again and gives an [`Answer`]: who is
//! there now, or why that can't be known. The membership reducer makes of these answers who is *in the ring*:
//! a member that a source no longer shows keeps its place for a while, and an answer that failed changes nothing.
//!
//! Invariants: the ring hashes a member's [`Sighting::name`], never its address, so a member that comes back under
//! another address moves no key; membership is not health, which the workers find out; the reducer is a
//! pure function of answers and times. Nothing here knows clients, requests or the protocol's commands.

pub mod asker;
mod change;
pub mod dns;
pub mod endpoint;
pub mod file;
mod gaps;
mod listed;
mod member;
pub mod membership;
pub mod names;
pub mod pool;
pub mod schedule;
mod shown;

pub use change::Change;
pub use listed::Listed;
pub use member::{Member, Policy, State};
pub use membership::Membership;
pub use pool::PoolMembers;
pub use schedule::{Pace, Schedule};

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// One member as a source shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// What the ring hashes; unique within an answer.
    pub name: String,
    /// Where the name comes from.
    pub identity: Identity,
    /// Where the member is reached, sorted and without doubles; none if its name is known but doesn't resolve.
    pub addrs: Vec<SocketAddr>,
    /// Its share relative to the others, if the source says so.
    pub weight: Option<f64>,
}

/// What a member's name was taken from, the most stable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The host label of an SRV target.
    Srv,
    /// The ordinal name that was asked for.
    Ordinal,
    /// The host label of the name that the address points back to.
    Ptr,
    /// The configuration, a file or an endpoint said it.
    Configured,
    /// The address itself: a member that restarts elsewhere is another member.
    Ip,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Identity::Srv => "srv",
            Identity::Ordinal => "ordinal",
            Identity::Ptr => "ptr",
            Identity::Configured => "name",
            Identity::Ip => "ip",
        })
    }
}

/// What a source said when it was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These are there; never none.
    Members {
        /// Them, in any order.
        sightings: Vec<Sighting>,
        /// How long the source holds this for true; a DNS answer's time to live. Not yet bounded.
        valid: Duration,
    },
    /// It can't be known; what was known stays.
    Failed(Failure),
}

/// Why a source gave no members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for counters.
    pub kind: FailureKind,
    /// What was asked and what came, for the log.
    pub detail: String,
}

/// Kinds of failures; a closed list that the log and the counters share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The name does not exist, or nothing is ready behind it: the two look the same in DNS.
    NoSuchName,
    /// The name exists and has no records of the kinds asked for.
    Empty,
    /// No answer in time.
    Timeout,
    /// The server refused or failed (`SERVFAIL`, `REFUSED`, …).
    Server,
    /// The answer could not be used: cut short, malformed, endless aliases, more members than the bound.
    Unusable,
    /// The file or the connection could not be read.
    Io,
}

impl Failure {
    fn new(kind: FailureKind, detail: impl Into<String>) -> Failure {
        Failure {
            kind,
            detail: detail.into(),
        }
    }
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [FailureKind; 6] = [
        FailureKind::NoSuchName,
        FailureKind::Empty,
        FailureKind::Timeout,
        FailureKind::Server,
        FailureKind::Unusable,
        FailureKind::Io,
    ];

    /// The label in the log and in counters.
    pub const fn label(self) -> &'static str {
        match self {
            FailureKind::NoSuchName => "no_such_name",
            FailureKind::Empty => "empty",
            FailureKind::Timeout => "timeout",
            FailureKind::Server => "server_failure",
            FailureKind::Unusable => "unusable",
            FailureKind::Io => "io",
        }
    }
}
