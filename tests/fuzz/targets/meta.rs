//! The meta commands' flags, their base64 keys, and the answer to a miss.
//!
//! The input is a line of flags and, after a space, a key. Spaces between words mean nothing; a key that was decoded encodes to
//! itself; a miss is one well-formed `EN` line that repeats key and opaque as asked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::protocol::meta::{self, MAX_DECODED};
use ringroad::protocol::request::{Limits, Parsed, Request, parse};
use ringroad::protocol::response::{self, Kind};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, as in RFC 4648.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, n| {
            bits << 8 | u32::from(*group.get(n).unwrap_or(&0))
        });
        for n in 0..4 {
            text.push(match n <= group.len() {
                true => ALPHABET[(bits >> (18 - 6 * n)) as usize & 63],
                false => b'=',
            });
        }
    }
    text
}

fuzz_target!(|data: &[u8]| {
    let space = data.iter().rposition(|byte| *byte == b' ');
    let (text, key) = match space {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b""[..], data),
    };
    let flags = meta::flags(text);
    let words: Vec<&[u8]> = meta::words(text).collect();
    assert_eq!(flags, meta::flags(&words.join(&b"   "[..])));

    let mut scratch = [0; MAX_DECODED];
    if let Some(decoded) = meta::decode_key(key, &mut scratch) {
        // What the decoder is lenient about: characters that it passes over, what follows the padding, and
        // bits of the last digit that no byte needs.
        let known = |byte: &&u8| ALPHABET.contains(byte) || **byte == b'=';
        let digits: Vec<u8> = key.iter().filter(known).copied().collect();
        let padding = digits.iter().position(|byte| *byte == b'=');
        let digits = match padding {
            Some(at) => &digits[..at / 4 * 4 + 4],
            None => &digits[..],
        };
        assert!(!decoded.is_empty());
        let encoded = encode(decoded);
        assert_eq!(encoded.len(), digits.len());
        if padding.is_none() {
            assert_eq!(encoded, digits);
        }
    } else {
        let mut again = [0; MAX_DECODED];
        let short = &key[..key.len().min(MAX_DECODED)];
        if !short.is_empty() {
            assert_eq!(meta::decode_key(&encode(short), &mut again), Some(short));
        }
    }

    if data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return;
    }
    let mut miss = Vec::new();
    meta::miss(key, text, &mut miss);
    let (end, used) = response::line(&miss).expect("a miss is a line");
    assert_eq!((end + 2, used), (miss.len(), miss.len()));
    assert_eq!(response::kind(&miss[..end]), Kind::MetaMiss);
    if key.iter().all(u8::is_ascii_graphic) && !key.is_empty() {
        let back = meta::flags(&miss[2..end]);
        assert_eq!(back.opaque, flags.opaque);
        assert_eq!(back.key, flags.key);
    }

    let request = [b"mg ", key, b" ", text, b"\r\n"].concat();
    match parse(&request, &Limits::default()) {
        Parsed::Request { request, .. } => {
            if let Request::Meta(meta) = request {
                assert_eq!(meta.flags, meta::flags(meta.flags_text));
                if key.len() == meta.key.len() {
                    assert_eq!(meta.flags, flags);
                }
                let item = meta.item_key(&mut scratch);
                assert!(!item.is_empty() && item.len() <= 250);
            }
        }
        other => panic!("a line is a request: {other:?}"),
    }
});
