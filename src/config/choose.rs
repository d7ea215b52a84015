//! Routes that choose, change or answer a request without looking at a reply.
//!
//! [`Choose`] is plain data like [`Route`], whose one variant for all of these it is; `routes_choose.rs` reads it,
//! `choose_show.rs` writes it, for files and for people. What becomes of a request is in `crate::route::choose`.
//!
//! Invariants: a hash has as many weights and names as children, or none, and its selector can be built; lists of
//! children are not empty; texts are one line.

use super::{FailoverOn, Route};
use crate::hash::{Node, Placement, PlacementError, Selector};
use crate::protocol::operation::{Group, Operation};

/// A route that decides without a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Choose {
    /// Answers as an empty cache would: gets miss, nothing is stored or found.
    Null,
    /// Answers everything with an error.
    Error {
        /// What clients are told; empty for the words of `result`.
        message: String,
        /// Which error it is.
        result: &'static ErrorResult,
        /// Whether gets are answered with it where failed gets are misses, too.
        shown: bool,
    },
    /// By a hash of the key.
    Hash {
        /// Where keys go.
        children: Vec<Route>,
        /// How keys are spread over them.
        placement: Placement,
        /// The weight of each child, or nothing.
        weights: Vec<f64>,
        /// What the placement knows each child by, or nothing: then it is its position, from 0.
        names: Vec<String>,
    },
    /// Any child, for each request anew.
    Random {
        /// Where requests go.
        children: Vec<Route>,
    },
    /// The same child for all requests of this host.
    Host {
        /// One of which is chosen.
        children: Vec<Route>,
        /// Makes another choice of the same children.
        salt: String,
    },
    /// By what the request does.
    Operation {
        /// Where all others go; without it they are answered with an error.
        default: Option<Box<Route>>,
        /// A single command goes before its group.
        operations: Vec<(Requests, Route)>,
    },
    /// Changes the time to live of what is stored or touched.
    Exptime {
        /// Where everything goes.
        child: Box<Route>,
        /// Seconds, at most 30 days; 0 is for ever.
        exptime: u32,
        /// Only of what would live longer.
        at_most: bool,
    },
    /// Lets so many requests pass in a second.
    RateLimit {
        /// Where they go.
        child: Box<Route>,
        /// How many.
        rates: Rates,
        /// Where the others go; without it they are answered as by an empty cache.
        fallback: Option<Box<Route>>,
    },
    /// Refuses keys with a hash stop, but for some.
    HashStop {
        /// Where the others go.
        child: Box<Route>,
        /// Keys that begin with one of these may have a hash stop.
        prefixes: Vec<String>,
    },
}

/// How many requests of each group may pass; as many as there are where it is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // Each is the group of its name.
pub struct Rates {
    pub gets: Option<Rate>,
    pub sets: Option<Rate>,
    pub deletes: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests in a second; more than 0.
    pub rate: f64,
    /// The most that have been saved up; more than 0.
    pub burst: f64,
}

impl Rates {
    /// By the names of the groups.
    pub fn named(&self) -> [(&'static str, Option<Rate>); 3] {
        [
            ("gets", self.gets),
            ("sets", self.sets),
            ("deletes", self.deletes),
        ]
    }
}

/// Which requests a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// One command.
    One(Operation),
    /// A group of them.
    Group(Group),
}

impl Requests {
    /// All there are, in the order of the reference page.
    pub fn all() -> Vec<Requests> {
        let groups = Group::ALL.into_iter().map(Requests::Group);
        let ones = Operation::ALL.into_iter().map(Requests::One);
        groups.chain(ones).collect()
    }

    /// The name used in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Requests::One(operation) => operation.name(),
            Requests::Group(group) => group.name(),
        }
    }
}

/// An error that a route may answer, by mcrouter's name.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorResult {
    /// The name without `mc_res_`.
    pub name: &'static str,
    /// The reply line without a message.
    pub line: &'static str,
    /// What it is to a failover route, if that cares.
    pub reason: Option<FailoverOn>,
}

const fn result(name: &'static str, line: &'static str, reason: Option<FailoverOn>) -> ErrorResult {
    ErrorResult { name, line, reason }
}

impl ErrorResult {
    /// Every error result of mcrouter, with its words; the first is the default.
    pub const ALL: &'static [ErrorResult] = &[
        result(
            "local_error",
            "SERVER_ERROR local error",
            Some(FailoverOn::Error),
        ),
        result(
            "remote_error",
            "SERVER_ERROR remote error",
            Some(FailoverOn::Error),
        ),
        result("timeout", "SERVER_ERROR timeout", Some(FailoverOn::Timeout)),
        result(
            "connect_timeout",
            "SERVER_ERROR connection timeout",
            Some(FailoverOn::Connect),
        ),
        result(
            "connect_error",
            "SERVER_ERROR connection error",
            Some(FailoverOn::Connect),
        ),
        result("busy", "SERVER_ERROR 307 busy", Some(FailoverOn::Busy)),
        result(
            "try_again",
            "SERVER_ERROR 302 try again",
            Some(FailoverOn::Busy),
        ),
        result(
            "shutdown",
            "SERVER_ERROR 301 shutdown",
            Some(FailoverOn::Connect),
        ),
        result("tko", "SERVER_ERROR unavailable", Some(FailoverOn::Connect)),
        result(
            "deadline_exceeded",
            "SERVER_ERROR request deadline exceeded",
            Some(FailoverOn::Timeout),
        ),
        result("ooo", "SERVER_ERROR out of order", None),
        result("bad_command", "CLIENT_ERROR bad command", None),
        result("bad_key", "CLIENT_ERROR bad key", None),
        result("bad_flags", "CLIENT_ERROR bad flags", None),
        result("bad_exptime", "CLIENT_ERROR bad exptime", None),
        result("bad_lease_id", "CLIENT_ERROR bad lease_id", None),
        result("bad_cas_id", "CLIENT_ERROR bad cas_id", None),
        result("bad_value", "SERVER_ERROR bad value", None),
        result("aborted", "SERVER_ERROR aborted", None),
        result("client_error", "CLIENT_ERROR", None),
        result("permission_denied", "SERVER_ERROR permission denied", None),
        result("hot_key", "SERVER_ERROR hot key", None),
        result("overloaded", "SERVER_ERROR overloaded", None),
    ];

    /// The first of them.
    pub const DEFAULT: &'static ErrorResult = match ErrorResult::ALL {
        [first, ..] => first,
        [] => &result("local_error", "SERVER_ERROR local error", None),
    };

    /// The one of this name.
    pub fn of(name: &str) -> Option<&'static ErrorResult> {
        ErrorResult::ALL.iter().find(|one| one.name == name)
    }

    /// The reply line, with its line end.
    pub fn wire(&self, message: &str) -> String {
        match (message, self.name) {
            ("", _) => format!("{}\r\n", self.line),
            (_, "client_error") => format!("CLIENT_ERROR {message}\r\n"),
            _ => format!("SERVER_ERROR {message}\r\n"),
        }
    }
}

/// The longest text of an error, in bytes.
pub(super) const MAX_MESSAGE: usize = 512;

/// Whether a text can be told in an error line.
pub(super) fn is_message(text: &str) -> bool {
    text.len() <= MAX_MESSAGE && !text.chars().any(char::is_control)
}

impl Choose {
    /// The routes below it, in their order.
    pub fn children(&self) -> Vec<&Route> {
        match self {
            Choose::Null | Choose::Error { .. } => Vec::new(),
            Choose::Hash { children, .. }
            | Choose::Random { children }
            | Choose::Host { children, .. } => children.iter().collect(),
            Choose::Operation {
                default,
                operations,
            } => {
                let routes = operations.iter().map(|(_, route)| route);
                routes.chain(default.as_deref()).collect()
            }
            Choose::RateLimit {
                child, fallback, ..
            } => [&**child].into_iter().chain(fallback.as_deref()).collect(),
            Choose::Exptime { child, .. } | Choose::HashStop { child, .. } => vec![child],
        }
    }

    /// The same with other routes below it.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(Route) -> Route) -> Choose {
        let mut all = |children: Vec<Route>| children.into_iter().map(&mut change).collect();
        match self {
            Choose::Null | Choose::Error { .. } => self,
            Choose::Hash {
                children,
                placement,
                weights,
                names,
            } => Choose::Hash {
                children: all(children),
                placement,
                weights,
                names,
            },
            Choose::Random { children } => Choose::Random {
                children: all(children),
            },
            Choose::Host { children, salt } => Choose::Host {
                children: all(children),
                salt,
            },
            Choose::Operation {
                default,
                operations,
            } => Choose::Operation {
                operations: operations
                    .into_iter()
                    .map(|(requests, route)| (requests, change(route)))
                    .collect(),
                default: default.map(|route| Box::new(change(*route))),
            },
            Choose::Exptime {
                child,
                exptime,
                at_most,
            } => Choose::Exptime {
                child: Box::new(change(*child)),
                exptime,
                at_most,
            },
            Choose::RateLimit {
                child,
                rates,
                fallback,
            } => Choose::RateLimit {
                child: Box::new(change(*child)),
                rates,
                fallback: fallback.map(|route| Box::new(change(*route))),
            },
            Choose::HashStop { child, prefixes } => Choose::HashStop {
                child: Box::new(change(*child)),
                prefixes,
            },
        }
    }

    /// For a hash: who gets which key. Of a checked configuration this has worked once already.
    ///
    /// # Errors
    /// The placement is not possible with these children.
    pub fn selector(&self) -> Option<Result<Selector, PlacementError>> {
        let Choose::Hash {
            children,
            placement,
            weights,
            names,
        } = self
        else {
            return None;
        };
        let nodes: Vec<Node> = (0..children.len())
            .map(|index| Node {
                name: names.get(index).cloned().unwrap_or(index.to_string()),
                host: String::new(),
                port: 0,
                weight: weights.get(index).copied(),
            })
            .collect();
        Some(Selector::new(placement, &nodes))
    }

    /// For a choice by host: the position of the child that this host has.
    pub fn own(&self) -> Option<usize> {
        let Choose::Host { children, salt } = self else {
            return None;
        };
        let id = super::mcrouter::host_id();
        let hash = match salt.as_str() {
            "" => id,
            salt => crate::hash::spooky32(format!("{id}{salt}").as_bytes(), 0),
        };
        (hash as usize).checked_rem(children.len())
    }

    /// Whether a key may be used as far as its hash stop goes.
    pub fn allows(&self, key: &[u8]) -> bool {
        match self {
            Choose::HashStop { prefixes, .. } => {
                memchr::memmem::find(key, b"|#|").is_none()
                    || prefixes
                        .iter()
                        .any(|prefix| key.starts_with(prefix.as_bytes()))
            }
            _ => true,
        }
    }
}
