//! The meta commands' flags and base64 keys, as far as a router has to understand them.
//!
//! A router reads four flags: `q` (quiet), `O` (opaque), `k` (return the key) and `b` (the key is base64).
//! All others, and the validity of the whole set, are the server's business: it gets them unchanged.
//! <https://docs.memcached.org/protocols/meta/> is the reference.

use super::MAX_KEY;

/// The longest decoded form of a base64 key, in bytes.
pub const MAX_DECODED: usize = MAX_KEY / 4 * 3;

/// The flags of one meta command that concern a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags<'a> {
    /// `q`: the common answer is not sent.
    pub quiet: bool,
    /// `k`: the answer repeats the key.
    pub key: bool,
    /// `b`: the key is base64.
    pub base64: bool,
    /// One of those two comes twice. A server could not tell, because it gets neither or, for `b`, another key
    /// than the one that decides where the request goes.
    pub duplicate: bool,
    /// `O…`: the token that the answer repeats, without its `O`.
    pub opaque: Option<&'a [u8]>,
}

pub use super::scan::words;

/// Reads the flags after the key (and, for `ms`, after the length).
pub fn flags(text: &[u8]) -> Flags<'_> {
    let mut flags = Flags::default();
    for word in words(text) {
        match word {
            [b'q', ..] => flags.duplicate |= std::mem::replace(&mut flags.quiet, true),
            [b'k', ..] => flags.key = true,
            [b'b', ..] => flags.duplicate |= std::mem::replace(&mut flags.base64, true),
            [b'O', opaque @ ..] => flags.opaque = Some(opaque),
            _ => {}
        }
    }
    flags
}

/// Appends the answer to a meta get that finds nothing: `EN`, with the flags that come back on a miss
/// (`k` and `O`) in the order in which they were asked.
///
/// `b` has no place of its own in an answer: it follows a base64 key wherever `k` puts one.
pub fn miss(key: &[u8], flags_text: &[u8], out: &mut Vec<u8>) {
    let base64 = flags(flags_text).base64;
    out.extend_from_slice(b"EN");
    for word in words(flags_text) {
        match word {
            [b'k', ..] => {
                out.extend_from_slice(b" k");
                out.extend_from_slice(key);
                if base64 {
                    out.extend_from_slice(b" b");
                }
            }
            [b'O', ..] => {
                out.push(b' ');
                out.extend_from_slice(word);
            }
            _ => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

const fn sextet(b: u8) -> Option<u8> {
    match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Decodes a base64 key into `out`; `None` where memcached does not decode it.
///
/// Returns the decoded bytes, at most [`MAX_DECODED`]. memcached is lenient: it passes over characters
/// outside the alphabet, wants a multiple of four of the others, and stops at the first group with padding.
/// Leniency matters here because the decoded bytes decide which server owns the item.
pub fn decode_key<'o>(text: &[u8], out: &'o mut [u8; MAX_DECODED]) -> Option<&'o [u8]> {
    let digit = |b: &u8| {
        if *b == b'=' {
            Some(None)
        } else {
            sextet(*b).map(Some)
        }
    };
    let count = text.iter().filter_map(digit).count();
    if count == 0 || !count.is_multiple_of(4) || count > MAX_KEY {
        return None;
    }
    let mut digits = text.iter().filter_map(digit);
    let mut len = 0;
    while let Some(first) = digits.next() {
        let group = [first, digits.next()?, digits.next()?, digits.next()?];
        let padding = group.iter().filter(|d| d.is_none()).count();
        let bits = group
            .iter()
            .fold(0, |bits, d| bits << 6 | u32::from(d.unwrap_or(0)));
        // A whole group has three bytes, each padding character takes one away, and three are an error.
        let bytes = 3 - padding.min(3);
        if bytes == 0 {
            return None;
        }
        for byte in bits.to_be_bytes().get(1..=bytes)? {
            *out.get_mut(len)? = *byte;
            len += 1;
        }
        if padding > 0 {
            break;
        }
    }
    out.get(..len)
}

/// Encodes a key in base64, with padding, as memcached wants it.
#[must_use]
pub fn encode_key(key: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(key.len().div_ceil(3) * 4);
    for group in key.chunks(3) {
        let bits = (0..3).fold(0usize, |bits, at| {
            bits << 8 | group.get(at).copied().map_or(0, usize::from)
        });
        for at in 0..4 {
            let digit = DIGITS.get(bits >> (18 - 6 * at) & 63);
            text.push(*digit.filter(|_| at <= group.len()).unwrap_or(&b'='));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; MAX_DECODED];
        decode_key(text, &mut out).map(<[u8]>::to_vec)
    }

    #[test]
    fn base64_keys_decode_as_memcached_does_it() {
        assert_eq!(decode(b"YWJj").unwrap(), b"abc");
        assert_eq!(decode(b"b2Rkaw==").unwrap(), b"oddk");
        assert_eq!(decode(b"QUI=").unwrap(), b"AB");
        // All of these were asked of memcached 1.6.18.
        assert_eq!(decode(b"QUJ=").unwrap(), b"AB");
        assert_eq!(decode(b"Y!WJj").unwrap(), b"abc");
        assert_eq!(decode(b"QU=I").unwrap(), b"A@");
        assert_eq!(decode(b"=AAA").unwrap(), b"\0\0");
        assert_eq!(decode(b"YWJjZA==YWJj").unwrap(), b"abcd");
        for bad in [
            &b""[..],
            b"Q",
            b"QUI",
            b"QUI=x",
            b"Y-_j",
            b"%%",
            b"!!!",
            b"A===",
            b"====",
        ] {
            assert_eq!(decode(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_miss_repeats_key_and_opaque_in_the_order_asked() {
        let mut out = Vec::new();
        miss(b"nope", b"v k O1", &mut out);
        assert_eq!(out, b"EN knope O1\r\n");
        out.clear();
        miss(b"YWJj", b"b v k O1", &mut out);
        assert_eq!(out, b"EN kYWJj b O1\r\n");
        out.clear();
        miss(b"YWJj", b"b v", &mut out);
        assert_eq!(out, b"EN\r\n");
        out.clear();
        miss(b"x", b"v t f", &mut out);
        assert_eq!(out, b"EN\r\n");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(key in proptest::collection::vec(any::<u8>(), 1..180)) {
            prop_assert_eq!(decode(&encode_key(&key)), Some(key));
        }

        #[test]
        fn whatever_was_encoded_decodes(bytes in proptest::collection::vec(any::<u8>(), 1..180)) {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut text = Vec::new();
            for group in bytes.chunks(3) {
                let mut bits = 0u32;
                for i in 0..3 {
                    bits = bits << 8 | u32::from(*group.get(i).unwrap_or(&0));
                }
                for i in 0..4 {
                    text.push(if i <= group.len() { ALPHABET[(bits >> (18 - 6 * i)) as usize & 63] } else { b'=' });
                }
            }
            prop_assert_eq!(decode(&text).unwrap(), bytes);
        }

        #[test]
        fn no_flags_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (flags(&bytes), decode(&bytes));
            miss(b"k", &bytes, &mut Vec::new());
        }
    }
}
