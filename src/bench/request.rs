//! What the load generator asks: the kinds of request and their bytes.
//!
//! A request is a copy of fixed words and of a key, written straight into the connection's output
//! buffer. All requests are well-formed: what an endpoint does with bad input is not measured here.

use super::keys::{KeySpace, Space, Values};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `get`, of one or many keys.
    Get,
    /// `gets`, of one or many keys.
    Gets,
    /// `set`.
    Set,
    /// `delete`.
    Delete,
    /// `incr` by 1, on its own key space.
    Incr,
    /// `touch` with no expiry.
    Touch,
    /// `mg` with the flags `v` and `k`.
    MetaGet,
    /// `ms`.
    MetaSet,
}

impl Kind {
    /// Every kind, in the order in which they are reported.
    pub(super) const ALL: [Self; 8] = [
        Self::Get,
        Self::Gets,
        Self::Set,
        Self::Delete,
        Self::Incr,
        Self::Touch,
        Self::MetaGet,
        Self::MetaSet,
    ];

    /// The command word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Gets => "gets",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Incr => "incr",
            Self::Touch => "touch",
            Self::MetaGet => "mg",
            Self::MetaSet => "ms",
        }
    }

    /// The kind with this command word.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// All command words, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(" ")
    }

    /// Whether the answer may hold values.
    pub(super) fn fetches(self) -> bool {
        matches!(self, Self::Get | Self::Gets | Self::MetaGet)
    }

    /// Whether a data block follows the command line.
    pub(super) fn stores(self) -> bool {
        matches!(self, Self::Set | Self::MetaSet)
    }
}

/// Writes requests.
#[derive(Debug)]
pub(super) struct Writer {
    /// The keys of the run.
    pub(super) keys: KeySpace,
    /// The values of the run.
    pub(super) values: Values,
}

impl Writer {
    /// Appends a `get` or `gets` of `indices`.
    pub(super) fn get(&self, kind: Kind, indices: impl Iterator<Item = u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(kind.name().as_bytes());
        for index in indices {
            out.push(b' ');
            self.keys.push(Space::Data, index, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a request about one key; `size` is the value's, where one is stored.
    pub(super) fn single(&self, kind: Kind, index: u64, size: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(kind.name().as_bytes());
        out.push(b' ');
        let space = if kind == Kind::Incr {
            Space::Counter
        } else {
            Space::Data
        };
        self.keys.push(space, index, out);
        match kind {
            Kind::Get | Kind::Gets | Kind::Delete => out.extend_from_slice(b"\r\n"),
            Kind::Incr => out.extend_from_slice(b" 1\r\n"),
            Kind::Touch => out.extend_from_slice(b" 0\r\n"),
            Kind::MetaGet => out.extend_from_slice(b" v k\r\n"),
            Kind::Set | Kind::MetaSet => {
                let lead: &[u8] = if kind == Kind::Set { b" 0 0 " } else { b" " };
                out.extend_from_slice(lead);
                push_line_number(size as u64, out);
                self.values.push(&self.keys, index, size, out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends the `set` that starts counter `index` at 0.
    pub(super) fn counter(&self, index: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"set ");
        self.keys.push(Space::Counter, index, out);
        out.extend_from_slice(b" 0 0 1\r\n0\r\n");
    }
}

fn push_line_number(number: u64, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> Writer {
        Writer {
            keys: KeySpace::new("p:", 6, 100).unwrap(),
            values: Values::new(64, 6),
        }
    }

    fn text(write: impl FnOnce(&Writer, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&writer(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_bytes_of_every_kind() {
        assert_eq!(
            text(|w, out| w.get(Kind::Get, [3, 42].into_iter(), out)),
            "get p:k003 p:k042\r\n"
        );
        for (kind, line) in [
            (Kind::Gets, "gets p:k007\r\n"),
            (Kind::Delete, "delete p:k007\r\n"),
            (Kind::Incr, "incr p:n007 1\r\n"),
            (Kind::Touch, "touch p:k007 0\r\n"),
            (Kind::MetaGet, "mg p:k007 v k\r\n"),
        ] {
            assert_eq!(text(|w, out| w.single(kind, 7, 0, out)), line);
        }
        let set = text(|w, out| w.single(Kind::Set, 7, 20, out));
        assert!(set.starts_with("set p:k007 0 0 20\r\np:k007 "), "{set}");
        assert_eq!(set.len(), "set p:k007 0 0 20\r\n\r\n".len() + 20);
        let meta = text(|w, out| w.single(Kind::MetaSet, 7, 20, out));
        assert!(meta.starts_with("ms p:k007 20\r\np:k007 "), "{meta}");
        assert_eq!(
            text(|w, out| w.counter(7, out)),
            "set p:n007 0 0 1\r\n0\r\n"
        );
    }

    #[test]
    fn names_and_kinds_go_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("GET"), None);
    }
}
