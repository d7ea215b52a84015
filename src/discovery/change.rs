//! What an answer changed, one thing each, for the log and for whoever rebuilds routing.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Failure, Identity};

/// One thing that an answer changed. `Display` gives the line for the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new member is in the ring.
    Joined {
        /// Its name.
        name: String,
        /// Where the name comes from.
        identity: Identity,
        /// Where it is reached.
        addrs: Vec<SocketAddr>,
    },
    /// A member that is not shown must be there, because ordinals below and above it are. It has a place.
    Missing {
        /// Its name.
        name: String,
    },
    /// A member is no longer shown. It keeps its place.
    Absent {
        /// Its name.
        name: String,
        /// How long it keeps its place, as far as is known now.
        hold: Duration,
    },
    /// An absent member is shown again, at its old place.
    Returned {
        /// Its name.
        name: String,
        /// How long it was absent.
        away: Duration,
    },
    /// A member is reached elsewhere. Its place is the same.
    Moved {
        /// Its name.
        name: String,
        /// Where it was reached.
        old: Vec<SocketAddr>,
        /// Where it is reached.
        new: Vec<SocketAddr>,
    },
    /// A member's weight has changed.
    Weighted {
        /// Its name.
        name: String,
        /// The weight it had.
        old: Option<f64>,
        /// The weight it has.
        new: Option<f64>,
    },
    /// A member was absent for too long and is out of the ring.
    Left {
        /// Its name.
        name: String,
        /// How long it was absent.
        away: Duration,
    },
    /// These would have left, but are too large a part of the ring to believe it yet. Said once for each absence.
    HeldBack {
        /// Their names.
        names: Vec<String>,
        /// How many members the ring has.
        of: usize,
    },
    /// These were shown and could not join: the ring has as many members as it may have. Said once, until one can.
    NoRoom {
        /// How many they are.
        count: usize,
        /// How many members there may be.
        limit: usize,
    },
    /// The source fails. Said when it begins and when the kind of failure changes.
    Failing(Failure),
    /// The source answers again.
    Recovered {
        /// How often it failed in a row.
        failures: u32,
        /// Since the first of these failures.
        after: Duration,
    },
}

impl Change {
    /// Whether keys are placed differently after it.
    #[must_use]
    pub fn is_ring(&self) -> bool {
        matches!(
            self,
            Change::Joined { .. }
                | Change::Missing { .. }
                | Change::Left { .. }
                | Change::Weighted { .. }
        )
    }

    /// Whether routing has to be told: where keys are, or where a member is reached.
    #[must_use]
    pub fn is_routing(&self) -> bool {
        self.is_ring() || matches!(self, Change::Moved { .. })
    }

    /// Its kind, as the log and the counters call it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Change::Joined { .. } => "joined",
            Change::Missing { .. } => "missing",
            Change::Absent { .. } => "absent",
            Change::Returned { .. } => "returned",
            Change::Moved { .. } => "moved",
            Change::Weighted { .. } => "weighted",
            Change::Left { .. } => "left",
            Change::HeldBack { .. } => "held_back",
            Change::NoRoom { .. } => "no_room",
            Change::Failing(_) => "failing",
            Change::Recovered { .. } => "recovered",
        }
    }
}

/// How many names a line of the log lists.
const LISTED: usize = 8;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Joined {
                name,
                identity,
                addrs,
            } => {
                write!(f, "{name} joined at {} (identity: {identity})", At(addrs))
            }
            Change::Missing { name } => {
                write!(
                    f,
                    "{name} is not shown, but those below and above it are: it has a place"
                )
            }
            Change::Absent { name, hold } => {
                let hold = hold.as_secs();
                write!(f, "{name} is absent and keeps its place for {hold} s")
            }
            Change::Returned { name, away } => {
                write!(f, "{name} is back after {} s", away.as_secs())
            }
            Change::Moved { name, old, new } => {
                write!(f, "{name} moved from {} to {}", At(old), At(new))
            }
            Change::Weighted { name, old, new } => {
                let (old, new) = (Weight(*old), Weight(*new));
                write!(f, "{name} has weight {new}, had {old}")
            }
            Change::Left { name, away } => {
                write!(f, "{name} left after {} s of absence", away.as_secs())
            }
            Change::HeldBack { names, of } => {
                let count = names.len();
                write!(
                    f,
                    "{count} of {of} members are gone at once; kept until more answers agree: "
                )?;
                list(f, names)
            }
            Change::NoRoom { count, limit } => {
                write!(f, "{count} can't join: there are {limit} members already")
            }
            Change::Failing(failure) => {
                let (kind, detail) = (failure.kind.label(), &failure.detail);
                write!(f, "no answer ({kind}), the members stay: {detail}")
            }
            Change::Recovered { failures, after } => {
                let after = after.as_secs();
                write!(f, "answers again after {failures} failures in {after} s")
            }
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().take(LISTED).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

struct At<'a>(&'a [SocketAddr]);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address");
        }
        list(f, self.0)
    }
}

struct Weight(Option<f64>);

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(weight) => weight.fmt(f),
            None => f.write_str("none of its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::FailureKind;

    /// The lines of the log are read by people and by their alerts.
    #[test]
    fn they_read_as_one_line_each() {
        let s = Duration::from_secs;
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let name = || "cache-1".to_owned();
        for (change, line, ring, routing) in [
            (
                Change::Joined {
                    name: name(),
                    identity: Identity::Srv,
                    addrs: vec![addr("10.0.0.1:11211"), addr("[fd00::1]:11211")],
                },
                "cache-1 joined at 10.0.0.1:11211, [fd00::1]:11211 (identity: srv)",
                true,
                true,
            ),
            (
                Change::Absent {
                    name: name(),
                    hold: s(600),
                },
                "cache-1 is absent and keeps its place for 600 s",
                false,
                false,
            ),
            (
                Change::Returned {
                    name: name(),
                    away: s(12),
                },
                "cache-1 is back after 12 s",
                false,
                false,
            ),
            (
                Change::Moved {
                    name: name(),
                    old: vec![],
                    new: vec![addr("10.0.0.2:11211")],
                },
                "cache-1 moved from no address to 10.0.0.2:11211",
                false,
                true,
            ),
            (
                Change::Weighted {
                    name: name(),
                    old: None,
                    new: Some(0.5),
                },
                "cache-1 has weight 0.5, had none of its own",
                true,
                true,
            ),
            (
                Change::Left {
                    name: name(),
                    away: s(31),
                },
                "cache-1 left after 31 s of absence",
                true,
                true,
            ),
            (
                Change::HeldBack {
                    names: (0..10).map(|n| format!("c-{n}")).collect(),
                    of: 12,
                },
                "10 of 12 members are gone at once; kept until more answers agree: \
                 c-0, c-1, c-2, c-3, c-4, c-5, c-6, c-7 and 2 more",
                false,
                false,
            ),
            (
                Change::NoRoom { count: 2, limit: 3 },
                "2 can't join: there are 3 members already",
                false,
                false,
            ),
            (
                Change::Failing(Failure {
                    kind: FailureKind::Timeout,
                    detail: "a.example. SRV".into(),
                }),
                "no answer (timeout), the members stay: a.example. SRV",
                false,
                false,
            ),
            (
                Change::Recovered {
                    failures: 3,
                    after: s(40),
                },
                "answers again after 3 failures in 40 s",
                false,
                false,
            ),
        ] {
            assert_eq!(change.to_string(), line);
            assert_eq!(change.is_ring(), ring, "{line}");
            assert_eq!(change.is_routing(), routing, "{line}");
        }
    }
}
