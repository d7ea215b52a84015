//! A file that lists a pool's members, written by another system and read again whenever it changes.
//!
//! ```text
//! # one server a line: an address, a name before it, a weight after it
//! 10.0.0.1:11211
//! cache-1=10.0.0.2:11211
//! cache-2=cache-2.example:11211 2
//! ```
//!
//! or JSON, which begins with `{`, or with a `[` that opens no IPv6 address: a list of addresses and of objects, or an
//! object with that list as its `servers`:
//!
//! ```text
//! {"servers": ["10.0.0.1:11211", {"name": "cache-1", "addr": "10.0.0.2:11211", "weight": 2}]}
//! ```
//!
//! Addresses are written as in a pool's `servers`. All of a file counts or nothing: one mistake makes it a failure,
//! which says the line, so that half a list never becomes the ring.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::listed::Listed;
use super::names::{MAX_NAME, is_usable};
use super::{Failure, FailureKind, Identity};
use crate::config::ServerAddr;
use crate::config::watch::Watcher;

/// The most members that a file may list.
pub const MAX_LISTED: usize = 4096;

/// The longest explanation of a mistake, in characters.
const MAX_CAUSE: usize = 300;

/// No file has this in it; stands for what was never read.
const UNREAD: &str = "\0ringroad: unread\0";

/// A file of members that is polled. It has no clock; the caller decides how often, a second or two is cheap.
#[derive(Debug)]
pub struct FileSource {
    watcher: Watcher,
    current: Result<Vec<Listed>, Failure>,
}

impl FileSource {
    /// Reads the file once; that it is missing or wrong is not an error but the state it is in.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> FileSource {
        let mut source = FileSource {
            watcher: Watcher::new(path, UNREAD),
            current: Err(Failure {
                kind: FailureKind::Io,
                detail: "not read yet".into(),
            }),
        };
        // The watcher wants to see everything twice.
        let _ = source.poll() || source.poll();
        source
    }

    /// Looks at the file. Whether what it says has changed; a new content counts when two polls in a row saw it.
    pub fn poll(&mut self) -> bool {
        let Some(report) = self.watcher.changed() else {
            return false;
        };
        let path = self.watcher.path().display();
        let new = match report {
            Ok(content) => parse(&content).map_err(|mistake| Failure {
                kind: mistake.kind,
                detail: format!("{path}{mistake}"),
            }),
            Err(error) => {
                let kind = match error.kind() {
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::FileTooLarge => {
                        FailureKind::Unusable
                    }
                    _ => FailureKind::Io,
                };
                let detail = format!("{path}: {error}");
                // Else the return of the content that was there before would be no change.
                self.watcher.seen(UNREAD);
                Err(Failure { kind, detail })
            }
        };
        let changed = new != self.current;
        self.current = new;
        changed
    }

    /// What the file said when it was last polled.
    ///
    /// # Errors
    /// It can't be read ([`FailureKind::Io`]), is wrong ([`FailureKind::Unusable`]) or lists nobody
    /// ([`FailureKind::Empty`]).
    pub fn current(&self) -> Result<&[Listed], &Failure> {
        self.current.as_deref()
    }
}

/// Why a list is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", Place(*.line))]
pub struct Mistake {
    /// [`FailureKind::Unusable`] or [`FailureKind::Empty`].
    pub kind: FailureKind,
    /// The line, counted from 1; 0 if it is about the whole.
    pub line: usize,
    /// What is wrong and what would be right.
    pub cause: String,
}

struct Place(usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            line => write!(f, ":{line}"),
        }
    }
}

impl Mistake {
    /// The cause may quote the file, so it is made fit for a line of the log.
    fn at(line: usize, cause: impl AsRef<str>) -> Mistake {
        let mut fit = String::new();
        for c in cause.as_ref().chars().take(MAX_CAUSE) {
            if c.is_control() {
                fit.extend(c.escape_default());
            } else {
                fit.push(c);
            }
        }
        Mistake {
            kind: FailureKind::Unusable,
            line,
            cause: fit,
        }
    }
}

/// Reads a list of members in either form.
///
/// # Errors
/// Nobody is listed, or anything is wrong.
pub fn parse(text: &str) -> Result<Vec<Listed>, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let listed = if is_json(text) {
        json(text)?
    } else {
        lines(text)?
    };
    if listed.is_empty() {
        return Err(Mistake {
            kind: FailureKind::Empty,
            line: 0,
            cause: "there are no servers in it".into(),
        });
    }
    Ok(listed)
}

/// A line may begin with the bracket of an IPv6 address.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let is_v6 = |inside: &str| {
        let address = inside.split(']').next().unwrap_or_default();
        address.contains(':')
            && address
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b":.%".contains(&b))
    };
    text.starts_with('{') || text.strip_prefix('[').is_some_and(|inside| !is_v6(inside))
}

fn lines(text: &str) -> Result<Vec<Listed>, Mistake> {
    let mut listed = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let fail = |cause: String| Mistake::at(number, cause);
        let words = line.split_whitespace();
        let mut words = words.take_while(|word| !word.starts_with('#'));
        let Some(server) = words.next() else {
            continue;
        };
        let weight = match words.next() {
            None => None,
            Some(word) => Some(word.parse::<f64>().map_err(|_| {
                let word = word.escape_debug();
                fail(format!(
                    "\"{word}\" is not a weight; write \"name=10.0.0.1:11211 2\""
                ))
            })?),
        };
        if let Some(word) = words.next() {
            let word = word.escape_debug();
            return Err(fail(format!(
                "nothing can follow the weight, but \"{word}\" does; write one server a line"
            )));
        }
        let (name, addr) = match server.split_once('=') {
            Some((name, addr)) => (Some(name), addr),
            None => (None, server),
        };
        let addr = address(addr).map_err(fail)?;
        let one = member(name, addr, weight).map_err(fail)?;
        if let Some(first) = seen.insert(one.name.clone(), number) {
            let twice = twice(&one.name);
            return Err(fail(format!("{twice}; the other one is on line {first}")));
        }
        listed.push(one);
        check_count(listed.len()).map_err(fail)?;
    }
    Ok(listed)
}

fn twice(name: &str) -> String {
    format!("there are two servers named \"{}\"", name.escape_debug())
}

fn check_count(count: usize) -> Result<(), String> {
    if count > MAX_LISTED {
        return Err(format!("there are more than {MAX_LISTED} servers"));
    }
    Ok(())
}

fn address(text: &str) -> Result<ServerAddr, String> {
    match text.parse::<ServerAddr>() {
        Ok(ServerAddr::Unix(_)) => {
            Err("unix sockets can't be discovered; list them in the pool".into())
        }
        Ok(addr) => Ok(addr),
        // Its way of writing is a line's, but for the blank before the weight.
        Err(error) if error.help.starts_with("write {") => Err(format!(
            "{}; write \"name=10.0.0.1:11211 2\" for a name and a weight",
            error.message
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn member(name: Option<&str>, addr: ServerAddr, weight: Option<f64>) -> Result<Listed, String> {
    if let Some(name) = name.filter(|name| !is_usable(name)) {
        let shown: String = name.chars().take(40).collect();
        return Err(format!(
            "\"{}\" can't be the name of a server: it has 1 to {MAX_NAME} bytes without blanks",
            shown.escape_debug()
        ));
    }
    if weight.is_some_and(|weight| !(0.0..=1e6).contains(&weight)) {
        return Err("a weight is a number from 0 to 1000000".into());
    }
    let identity = match (name, &addr) {
        (None, ServerAddr::Tcp(_)) => Identity::Ip,
        _ => Identity::Configured,
    };
    Ok(Listed {
        name: name.map_or_else(|| addr.default_name(), str::to_owned),
        identity,
        addr,
        weight,
    })
}

fn json(text: &str) -> Result<Vec<Listed>, Mistake> {
    let parsed: Result<Top, _> = serde_json::from_str(text);
    parsed.map(|top| top.0).map_err(|error| {
        let full = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let cause = full.strip_suffix(&place).unwrap_or(&full);
        Mistake::at(error.line(), cause)
    })
}

/// The list itself, or the object around it.
struct Top(Vec<Listed>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Around {
    servers: List,
}

struct List(Vec<Listed>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    name: Option<String>,
    addr: Addr,
    weight: Option<f64>,
}

struct Addr(ServerAddr);

struct Element(Listed);

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Top, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Top;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of servers, or an object with \"servers\"")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Top, A::Error> {
                list(seq).map(Top)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Top, A::Error> {
                let around = Around::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Top(around.servers.0))
            }
        }
        from.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<List, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of servers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<List, A::Error> {
                list(seq).map(List)
            }
        }
        from.deserialize_seq(Elements)
    }
}

/// Checks while it reads, so that a mistake has its place.
fn list<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<Listed>, A::Error> {
    let mut listed = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while let Some(Element(one)) = seq.next_element()? {
        if !seen.insert(one.name.clone()) {
            return Err(A::Error::custom(twice(&one.name)));
        }
        listed.push(one);
        check_count(listed.len()).map_err(A::Error::custom)?;
    }
    Ok(listed)
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Element, D::Error> {
        struct Server;
        impl<'de> Visitor<'de> for Server {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address such as \"10.0.0.1:11211\", \
                     or an object with \"addr\" and perhaps \"name\" and \"weight\"",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Element, E> {
                let addr = address(text).map_err(E::custom)?;
                member(None, addr, None).map(Element).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                let made = member(object.name.as_deref(), object.addr.0, object.weight);
                made.map(Element).map_err(A::Error::custom)
            }
        }
        from.deserialize_any(Server)
    }
}

impl<'de> Deserialize<'de> for Addr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Addr, D::Error> {
        let text = String::deserialize(from)?;
        address(&text).map(Addr).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
