//! Routes that choose, change or answer a request without looking at a reply.
//!
//! [`Choose`] is plain data like [`Route`], whose one variant for all of these it is; `routes_choose.rs` reads it,
//! [`render`] writes it. What becomes of a request is in `crate::route::choose`.
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
    /// Refuses keys with a hash stop, but for some.
    HashStop {
        /// Where the others go.
        child: Box<Route>,
        /// Keys that begin with one of these may have a hash stop.
        prefixes: Vec<String>,
    },
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

    /// What becomes of a request for `key`, in words, for each route that it may be sent to.
    pub fn ways(&self, key: &[u8]) -> Vec<(String, &Route)> {
        let children = self.children();
        let at = |index: usize| children.get(index).copied();
        let only = |what: String, child: Option<&'_ Route>| -> Vec<(String, usize)> {
            let found = children
                .iter()
                .position(|one| child.is_some_and(|child| std::ptr::eq(*one, child)));
            found.map(|index| (what, index)).into_iter().collect()
        };
        let found: Vec<(String, usize)> = match self {
            Choose::Null | Choose::Error { .. } => Vec::new(),
            Choose::Hash { placement, .. } => {
                let owner = self
                    .selector()
                    .and_then(Result::ok)
                    .map(|one| one.select(key));
                let count = children.len();
                owner.map_or(Vec::new(), |owner| {
                    let what = format!(
                        "hash {}: child {owner} of 0 to {}",
                        placement.distribution,
                        count.saturating_sub(1)
                    );
                    only(what, at(owner))
                })
            }
            Choose::Random { .. } => (0..children.len())
                .map(|index| (format!("random: child {index}"), index))
                .collect(),
            Choose::Host { .. } => self.own().map_or(Vec::new(), |own| {
                only(format!("child {own}, that of this host"), at(own))
            }),
            Choose::Operation { operations, .. } => {
                let named = operations
                    .iter()
                    .map(|(requests, _)| requests.name().to_owned());
                named
                    .chain(["any other command".to_owned()])
                    .enumerate()
                    .map(|(index, what)| (what, index))
                    .collect()
            }
            Choose::Exptime { .. } => vec![(self.to_string(), 0)],
            Choose::HashStop { .. } => match self.allows(key) {
                true => vec![("hash stop allowed, or none".to_owned(), 0)],
                false => Vec::new(),
            },
        };
        found
            .into_iter()
            .filter_map(|(what, index)| Some((what, at(index)?)))
            .collect()
    }

    /// The routes below it, each with what leads there.
    pub fn labelled(&self) -> Vec<(String, &Route)> {
        match self {
            Choose::Operation { operations, .. } => {
                let names = operations.iter().map(|(requests, _)| requests.name());
                let labels = names.chain(["any other"]).map(str::to_owned);
                labels.zip(self.children()).collect()
            }
            Choose::Exptime { .. } | Choose::HashStop { .. } => {
                let children = self.children().into_iter();
                children
                    .map(|child| ("all of it".to_owned(), child))
                    .collect()
            }
            _ => {
                let children = self.children().into_iter().enumerate();
                children
                    .map(|(index, child)| (index.to_string(), child))
                    .collect()
            }
        }
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

impl std::fmt::Display for Choose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Choose::Null => f.write_str("nothing: answered as by an empty cache"),
            Choose::Error {
                message, result, ..
            } => {
                let line = result.wire(message);
                write!(f, "nothing: answered with {}", line.trim_end())
            }
            Choose::Hash { placement, .. } => {
                write!(f, "by a hash of the key, {}", placement.distribution)
            }
            Choose::Random { .. } => f.write_str("any child, for each request anew"),
            Choose::Host { children, .. } => {
                let own = self.own().unwrap_or(0);
                write!(f, "child {own} of {} on this host", children.len())
            }
            Choose::Operation { .. } => f.write_str("by what the request does"),
            Choose::Exptime {
                exptime, at_most, ..
            } => {
                let rule = if *at_most { "at most" } else { "set to" };
                write!(f, "time to live {rule} {exptime}s")
            }
            Choose::HashStop { prefixes, .. } => {
                write!(
                    f,
                    "keys with |#| only if they begin with one of {prefixes:?}"
                )
            }
        }
    }
}

/// The table of a route; `route` writes those below it.
pub(super) fn render(choose: &Choose, route: impl Fn(&Route) -> String) -> String {
    use super::render::{key, list, quoted};
    let all = |children: &[Route]| list(children.iter().map(&route));
    let kind = |kind: &str, rest: &[String]| {
        let mut parts = vec![format!("type = \"{kind}\"")];
        parts.extend_from_slice(rest);
        format!("{{ {} }}", parts.join(", "))
    };
    match choose {
        Choose::Null => kind("null", &[]),
        Choose::Error {
            message,
            result,
            shown,
        } => kind(
            "error",
            &[
                format!("message = {}", quoted(message)),
                format!("result = {}", quoted(result.name)),
                format!("shown = {shown}"),
            ],
        ),
        Choose::Hash {
            children,
            placement,
            weights,
            names,
        } => {
            let mut parts = vec![format!("children = {}", all(children))];
            let name = placement.distribution.name();
            parts.push(format!("distribution = {}", quoted(name)));
            if let Some(hash) = placement.hash {
                parts.push(format!("hash = {}", quoted(&hash.to_string())));
            }
            if let Some(points) = placement.points {
                parts.push(format!("points = {points}"));
            }
            if !placement.salt.is_empty() {
                parts.push(format!("salt = {}", quoted(&placement.salt)));
            }
            if let Some((open, close)) = placement.tag {
                let tag = format!("{}{}", char::from(open), char::from(close));
                parts.push(format!("hash_tag = {}", quoted(&tag)));
            }
            parts.push(format!("hash_stop = {}", placement.stop));
            if !weights.is_empty() {
                let weights = weights.iter().map(|weight| format!("{weight:?}"));
                parts.push(format!("weights = {}", list(weights)));
            }
            if !names.is_empty() {
                let names = names.iter().map(|name| quoted(name));
                parts.push(format!("names = {}", list(names)));
            }
            kind("hash", &parts)
        }
        Choose::Random { children } => kind("random", &[format!("children = {}", all(children))]),
        Choose::Host { children, salt } => {
            let mut parts = vec![format!("children = {}", all(children))];
            if !salt.is_empty() {
                parts.push(format!("salt = {}", quoted(salt)));
            }
            kind("host", &parts)
        }
        Choose::Operation {
            default,
            operations,
        } => {
            let mut parts = Vec::new();
            if let Some(default) = default {
                parts.push(format!("default = {}", route(default)));
            }
            let operations: Vec<String> = operations
                .iter()
                .map(|(requests, child)| format!("{} = {}", key(requests.name()), route(child)))
                .collect();
            parts.push(format!("operations = {{ {} }}", operations.join(", ")));
            kind("operation", &parts)
        }
        Choose::Exptime {
            child,
            exptime,
            at_most,
        } => {
            let action = if *at_most { "min" } else { "set" };
            let parts = [
                format!("child = {}", route(child)),
                format!("exptime = {exptime}"),
                format!("action = \"{action}\""),
            ];
            kind("exptime", &parts)
        }
        Choose::HashStop { child, prefixes } => {
            let prefixes = prefixes.iter().map(|prefix| quoted(prefix));
            let parts = [
                format!("child = {}", route(child)),
                format!("prefixes = {}", list(prefixes)),
            ];
            kind("hash-stop", &parts)
        }
    }
}
