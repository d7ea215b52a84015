//! The commands that mcrouter and the memcacheds it was made for have besides: `lease-get`, `lease-set`, `metaget`.
//!
//! A memcached answers `ERROR` to them, so they are commands only where [`Limits::leases`] says so. Their words are
//! checked as those of the commands they are like: `get` and `set`. They come last in the parser, where everything
//! else that memcached does not know is.

use super::parse::{MAX_LENGTH, last_is_noreply, next_word, refused, valid_key};
use super::{LeaseSet, Limits, Lookup, LookupCommand, Parsed, Refused, Request};
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::words;
use crate::protocol::number;

/// The most keys of one line: each is a request of its own.
const MAX_KEYS: usize = 256;

/// The request of a line that is `len` bytes long and begins with this word; `None` if the word is none of these.
pub(super) fn parse<'a>(
    verb: &[u8],
    rest: &'a [u8],
    buf: &'a [u8],
    len: usize,
    limits: &Limits,
) -> Option<Parsed<'a>> {
    let request = match verb {
        b"lease-get" => lookup(LookupCommand::LeaseGet, rest),
        b"metaget" => lookup(LookupCommand::Metaget, rest),
        b"lease-set" => return Some(lease_set(rest, buf, len, limits)),
        _ => return None,
    };
    Some(Parsed::Request { len, request })
}

fn lookup(command: LookupCommand, keys: &[u8]) -> Request<'_> {
    let count = words(keys).count();
    if !(1..=MAX_KEYS).contains(&count) || !words(keys).all(valid_key) {
        return refused(ErrorKind::BadFormat, false);
    }
    Request::Lookup(Lookup {
        command,
        count,
        keys,
    })
}

fn lease_set<'a>(rest: &'a [u8], buf: &'a [u8], line_len: usize, limits: &Limits) -> Parsed<'a> {
    let (key, tail) = next_word(rest);
    let (token, tail) = next_word(tail);
    let (flags, tail) = next_word(tail);
    let (exptime, tail) = next_word(tail);
    let (length, tail) = next_word(tail);
    let noreply = last_is_noreply(tail);
    let at_line = |request| Parsed::Request {
        len: line_len,
        request,
    };
    let Some(length) = number::strict_i32(length).filter(|n| (0..=MAX_LENGTH).contains(n)) else {
        // Nobody can tell where a data block would end.
        return at_line(refused(ErrorKind::BadFormat, false));
    };
    let block_len = length as usize + 2;
    let skip = |error| {
        at_line(Request::Refused(Refused {
            error,
            noreply,
            swallow: block_len,
            evict: None,
        }))
    };
    let (Some(token), Some(flags), Some(exptime), true) = (
        number::strict_u64(token),
        number::flags(flags),
        number::i32(exptime),
        valid_key(key),
    ) else {
        return skip(ErrorKind::BadFormat);
    };
    if length as usize > limits.max_value {
        return skip(ErrorKind::TooLarge);
    }
    let total = line_len + block_len;
    let Some(block) = buf.get(line_len..total) else {
        return Parsed::More { total };
    };
    let request = match block.ends_with(b"\r\n") {
        true => Request::LeaseSet(LeaseSet {
            key,
            token,
            flags,
            exptime,
            noreply,
            block,
        }),
        false => refused(ErrorKind::BadChunk, noreply),
    };
    Parsed::Request {
        len: total,
        request,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse as parse_request;
    use super::*;

    const ON: Limits = Limits {
        max_value: 100,
        max_get_line: 10_000,
        leases: true,
    };

    fn parsed(text: &str) -> Parsed<'_> {
        parse_request(text.as_bytes(), &ON)
    }

    #[test]
    fn they_are_commands_only_where_that_is_on() {
        for line in [
            "lease-get k\r\n",
            "metaget k\r\n",
            "lease-set k 1 0 0 1\r\n",
        ] {
            let off = Limits {
                leases: false,
                ..ON
            };
            let Parsed::Request { len, request } = parse_request(line.as_bytes(), &off) else {
                panic!();
            };
            assert_eq!(len, line.len());
            assert_eq!(request, refused(ErrorKind::UnknownCommand, false));
        }
    }

    #[test]
    fn lookups_of_one_and_many_keys() {
        let lookup = |command, count, keys: &'static str| {
            Request::Lookup(Lookup {
                command,
                count,
                keys: keys.as_bytes(),
            })
        };
        for (line, want) in [
            ("lease-get k\r\n", lookup(LookupCommand::LeaseGet, 1, "k")),
            (
                "lease-get a  b \r\n",
                lookup(LookupCommand::LeaseGet, 2, "a  b "),
            ),
            (
                "metaget a b c\n",
                lookup(LookupCommand::Metaget, 3, "a b c"),
            ),
        ] {
            let len = line.len();
            assert_eq!(
                parsed(line),
                Parsed::Request { len, request: want },
                "{line}"
            );
        }
        let long = format!("lease-get {}\r\n", "k".repeat(251));
        let many = format!("metaget {}\r\n", "k ".repeat(MAX_KEYS + 1));
        for line in ["lease-get\r\n", "metaget \r\n", &long, &many] {
            let request = refused(ErrorKind::BadFormat, false);
            assert_eq!(
                parsed(line),
                Parsed::Request {
                    len: line.len(),
                    request
                },
                "{line}"
            );
        }
    }

    #[test]
    fn lease_sets_good_and_bad() {
        let text = "lease-set k 18446744073709551615 7 -1 3 noreply\r\na\nb\r\nnext";
        let want = LeaseSet {
            key: b"k",
            token: u64::MAX,
            flags: 7,
            exptime: -1,
            noreply: true,
            block: b"a\nb\r\n",
        };
        assert_eq!(
            parsed(text),
            Parsed::Request {
                len: text.len() - 4,
                request: Request::LeaseSet(want)
            }
        );
        assert_eq!(
            parsed("lease-set k 1 0 0 3\r\nab"),
            Parsed::More { total: 26 }
        );
        // What has a length is skipped with its block; what has none is not.
        for (line, error, swallow) in [
            ("lease-set k x 0 0 3\r\n", ErrorKind::BadFormat, 5),
            ("lease-set k 1 -1 0 3\r\n", ErrorKind::BadFormat, 5),
            ("lease-set k 1 0 x 3\r\n", ErrorKind::BadFormat, 5),
            ("lease-set k 1 0 0 101\r\n", ErrorKind::TooLarge, 103),
            ("lease-set k 1 0 0 -1\r\n", ErrorKind::BadFormat, 0),
            ("lease-set k 1 0 0\r\n", ErrorKind::BadFormat, 0),
        ] {
            let Parsed::Request {
                request: Request::Refused(refused),
                len,
            } = parsed(line)
            else {
                panic!("{line}");
            };
            assert_eq!(
                (refused.error, refused.swallow, len),
                (error, swallow, line.len()),
                "{line}"
            );
        }
    }

    proptest! {
        /// Whatever the words are: nothing panics, nothing is used beyond what there is, and a block is what it says.
        #[test]
        fn any_words(
            verb in prop::sample::select(vec!["lease-get", "lease-set", "metaget", "lease-"]),
            words in prop::collection::vec("[a-z0-9 \\-]{0,12}|[0-9]{1,21}|noreply", 0..8),
            block in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = format!("{verb} {}\r\n", words.join(" ")).into_bytes();
            bytes.extend(block);
            match parse_request(&bytes, &ON) {
                Parsed::Request { len, request } => {
                    prop_assert!(len <= bytes.len());
                    if let Request::LeaseSet(set) = request {
                        prop_assert!(set.block.ends_with(b"\r\n"));
                    }
                }
                Parsed::More { total } => prop_assert!(total > bytes.len()),
                Parsed::Close(_) => prop_assert!(false),
            }
        }
    }
}
