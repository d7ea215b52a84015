//! What servers answer, taken apart line by line.
//!
//! A reply is a line, or a line that announces a data block of a given length. This module reads lines; the
//! connection that owns the bytes counts the block. Nothing here trusts a server: a line that does not
//! parse is `None` or [`Kind::Unknown`], and the caller closes that connection.

use memchr::memchr;

use super::number;

/// The longest line a server may send; longer means that it does not speak memcached.
pub const MAX_LINE: usize = 4096;

/// The first line of `buf`: its length without and with the line end. `None` if it is not complete yet.
pub fn line(buf: &[u8]) -> Option<(usize, usize)> {
    let newline = memchr(b'\n', buf)?;
    let end = match buf.get(newline.wrapping_sub(1)) {
        Some(b'\r') => newline - 1,
        _ => newline,
    };
    Some((end, newline + 1))
}

/// A `VALUE key flags bytes [cas]` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The key, as the server spells it.
    pub key: &'a [u8],
    /// Length of the data block in bytes, without its line end.
    pub len: usize,
}

/// Parses a line without its line end; `None` if it is no well-formed `VALUE` line.
pub fn value(line: &[u8]) -> Option<Value<'_>> {
    let rest = line.strip_prefix(b"VALUE ")?;
    let (key, rest) = word(rest)?;
    let (_flags, rest) = word(rest)?;
    let len = match memchr(b' ', rest) {
        Some(space) => rest.get(..space)?,
        None => rest,
    };
    Some(Value {
        key,
        len: number::plain(len)?,
    })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', text)?;
    Some((text.get(..space)?, text.get(space + 1..)?))
}

/// What kind of answer a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `STORED`
    Stored,
    /// `NOT_STORED`
    NotStored,
    /// `EXISTS`
    Exists,
    /// `NOT_FOUND`
    NotFound,
    /// `DELETED`
    Deleted,
    /// `TOUCHED`
    Touched,
    /// `OK`
    Ok,
    /// `END`
    End,
    /// The new value of an `incr` or `decr`.
    Number,
    /// `VERSION …`
    Version,
    /// `HD …`: meta success
    MetaHeader,
    /// `VA bytes …`: meta success with a data block of this many bytes
    MetaValue(usize),
    /// `EN …`: meta miss
    MetaMiss,
    /// `NF …`: meta not found
    MetaNotFound,
    /// `NS …`: meta not stored
    MetaNotStored,
    /// `EX …`: meta cas mismatch
    MetaExists,
    /// `ME …`: meta debug
    MetaDebug,
    /// `ERROR`
    Error,
    /// `CLIENT_ERROR …`
    ClientError,
    /// `SERVER_ERROR …`
    ServerError,
    /// None of the above.
    Unknown,
}

impl Kind {
    /// Whether this is one of the three error replies.
    pub fn is_error(self) -> bool {
        matches!(self, Kind::Error | Kind::ClientError | Kind::ServerError)
    }
}

/// Classifies a reply line without its line end.
pub fn kind(line: &[u8]) -> Kind {
    match line {
        b"STORED" => Kind::Stored,
        b"NOT_STORED" => Kind::NotStored,
        b"EXISTS" => Kind::Exists,
        b"NOT_FOUND" => Kind::NotFound,
        b"DELETED" => Kind::Deleted,
        b"TOUCHED" => Kind::Touched,
        b"OK" => Kind::Ok,
        b"END" => Kind::End,
        [b'V', b'E', b'R', b'S', b'I', b'O', b'N', b' ', ..] => Kind::Version,
        [b'H', b'D', rest @ ..] if ends_word(rest) => Kind::MetaHeader,
        [b'E', b'N', rest @ ..] if ends_word(rest) => Kind::MetaMiss,
        [b'N', b'F', rest @ ..] if ends_word(rest) => Kind::MetaNotFound,
        [b'N', b'S', rest @ ..] if ends_word(rest) => Kind::MetaNotStored,
        [b'E', b'X', rest @ ..] if ends_word(rest) => Kind::MetaExists,
        [b'M', b'E', b' ', ..] => Kind::MetaDebug,
        [b'V', b'A', b' ', rest @ ..] => {
            let len = rest.split(|b| *b == b' ').next().unwrap_or_default();
            number::plain(len).map_or(Kind::Unknown, Kind::MetaValue)
        }
        _ if error(line) => match line.first() {
            Some(b'E') => Kind::Error,
            Some(b'C') => Kind::ClientError,
            _ => Kind::ServerError,
        },
        [b'0'..=b'9', ..] if line.len() <= 20 && line.iter().all(u8::is_ascii_digit) => {
            Kind::Number
        }
        _ => Kind::Unknown,
    }
}

// Prefixes, because `SERVER_ERROR: shutdown not enabled` and old versions' `ERROR: …` exist.
fn error(line: &[u8]) -> bool {
    line.starts_with(b"ERROR")
        || line.starts_with(b"CLIENT_ERROR")
        || line.starts_with(b"SERVER_ERROR")
}

fn ends_word(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn value_lines_are_taken_apart() {
        let v = value(b"VALUE k 0 5").unwrap();
        assert_eq!((v.key, v.len), (&b"k"[..], 5));
        let v = value(b"VALUE k 0 5 123").unwrap();
        assert_eq!((v.key, v.len), (&b"k"[..], 5));
        for bad in [
            &b"VALUE"[..],
            b"VALUE ",
            b"VALUE k",
            b"VALUE k 0",
            b"VALUE k 0 ",
            b"VALUE k 0 x",
            b"VALUE k 0 -1",
            b"VALUE k 0 99999999999",
            b"value k 0 5",
        ] {
            assert_eq!(value(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn lines_end_in_lf_or_crlf() {
        assert_eq!(line(b"END\r\nx"), Some((3, 5)));
        assert_eq!(line(b"END\nx"), Some((3, 4)));
        assert_eq!(line(b"\n"), Some((0, 1)));
        assert_eq!(line(b"\r\n"), Some((0, 2)));
        assert_eq!(line(b"END\r"), None);
    }

    #[test]
    fn every_documented_answer_is_known() {
        for (text, want) in [
            ("STORED", Kind::Stored),
            ("NOT_FOUND", Kind::NotFound),
            ("17", Kind::Number),
            ("VERSION 1.6.18", Kind::Version),
            ("HD", Kind::MetaHeader),
            ("HD O1 kn", Kind::MetaHeader),
            ("VA 2 kn", Kind::MetaValue(2)),
            ("VA x", Kind::Unknown),
            ("EN", Kind::MetaMiss),
            ("EN kx", Kind::MetaMiss),
            ("END", Kind::End),
            ("EX", Kind::MetaExists),
            ("EXISTS", Kind::Exists),
            ("NS", Kind::MetaNotStored),
            ("ME n exp=-1", Kind::MetaDebug),
            ("ERROR", Kind::Error),
            ("ERROR: shutdown not enabled", Kind::Error),
            ("CLIENT_ERROR x", Kind::ClientError),
            ("SERVER_ERROR x", Kind::ServerError),
            ("", Kind::Unknown),
            ("HDx", Kind::Unknown),
            ("1x", Kind::Unknown),
        ] {
            assert_eq!(kind(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (line(&bytes), value(&bytes), kind(&bytes));
        }
    }
}
