//! The hash functions that libmemcached (libhashkit) and twemproxy let one choose.
//!
//! Each takes the bytes of a key and gives 32 bits. They are reproduced with the habits that these
//! two systems have on x86-64, because keys only stay where they are if every bit agrees:
//! `crc32` keeps 15 bits, the "64 bit" FNV-1a works on 32 bits, and several functions read bytes
//! from 0x80 on as negative numbers. Recorded values of the real libraries are the tests
//! (`tests/golden/placement/libhashkit.tsv`, `twemproxy.tsv`); the functions' own publications are
//! named at each.

use md5::{Digest, Md5};

/// A byte as C reads a `char` on x86-64: from 0x80 on it is negative, and stays so when widened.
fn signed(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

/// Bob Jenkins' one-at-a-time.
pub(super) fn one_at_a_time(key: &[u8]) -> u32 {
    let mut value = key.iter().fold(0_u32, |value, byte| {
        let value = value.wrapping_add(signed(*byte));
        let value = value.wrapping_add(value << 10);
        value ^ (value >> 6)
    });
    value = value.wrapping_add(value << 3);
    value ^= value >> 11;
    value.wrapping_add(value << 15)
}

/// The four little-endian words of a key's MD5 (RFC 1321).
pub(super) fn md5_words(key: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(key).into();
    let number = u128::from_le_bytes(digest);
    [0, 32, 64, 96].map(|shift| (number >> shift) as u32)
}

/// The first word of the MD5.
pub(super) fn md5(key: &[u8]) -> u32 {
    let [first, ..] = md5_words(key);
    first
}

/// CRC-16/XMODEM (polynomial 0x1021) in a register that twemproxy never cuts back to 16 bits.
pub(super) fn crc16(key: &[u8]) -> u32 {
    key.iter().fold(0_u32, |crc, byte| {
        let mut row = ((crc >> 8) ^ u32::from(*byte)) << 8 & 0xff00;
        for _ in 0..8 {
            row = if row & 0x8000 == 0 {
                row << 1
            } else {
                (row << 1) ^ 0x1021
            };
        }
        (crc << 8) ^ (row & 0xffff)
    })
}

/// CRC-32 as zlib computes it, and of that 15 bits from the middle. python-memcached does the same.
pub(super) fn crc32(key: &[u8]) -> u32 {
    (crc32fast::hash(key) >> 16) & 0x7fff
}

/// The whole CRC-32.
pub(super) fn crc32a(key: &[u8]) -> u32 {
    crc32fast::hash(key)
}

const FNV_64_INIT: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_64_PRIME: u64 = 0x100_0000_01b3;
const FNV_32_INIT: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;

/// FNV-1 of 64 bits, of which the lower 32 are given.
pub(super) fn fnv1_64(key: &[u8]) -> u32 {
    let hash = key.iter().fold(FNV_64_INIT, |hash, byte| {
        hash.wrapping_mul(FNV_64_PRIME) ^ i64::from(byte.cast_signed()).cast_unsigned()
    });
    hash as u32
}

/// FNV-1a with the 64 bit constants cut to 32 bits.
pub(super) fn fnv1a_64(key: &[u8]) -> u32 {
    key.iter().fold(FNV_64_INIT as u32, |hash, byte| {
        (hash ^ signed(*byte)).wrapping_mul(FNV_64_PRIME as u32)
    })
}

/// FNV-1 of 32 bits.
pub(super) fn fnv1_32(key: &[u8]) -> u32 {
    key.iter().fold(FNV_32_INIT, |hash, byte| {
        hash.wrapping_mul(FNV_32_PRIME) ^ signed(*byte)
    })
}

/// FNV-1a of 32 bits.
pub(super) fn fnv1a_32(key: &[u8]) -> u32 {
    key.iter().fold(FNV_32_INIT, |hash, byte| {
        (hash ^ signed(*byte)).wrapping_mul(FNV_32_PRIME)
    })
}

/// Paul Hsieh's SuperFastHash, started at 0; nothing gives 0.
pub(super) fn hsieh(key: &[u8]) -> u32 {
    if key.is_empty() {
        return 0;
    }
    let (words, tail) = key.as_chunks::<4>();
    let mut hash = 0_u32;
    for [a, b, c, d] in words {
        hash = hash.wrapping_add(half(*a, *b));
        hash = (hash << 16) ^ (half(*c, *d) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match *tail {
        [a, b, c] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 16;
            hash ^= signed(c) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [a, b] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [a] => {
            hash = hash.wrapping_add(u32::from(a));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

fn half(low: u8, high: u8) -> u32 {
    u32::from(u16::from_le_bytes([low, high]))
}

/// Austin Appleby's MurmurHash2 of 32 bits, seeded with a multiple of the length.
pub(super) fn murmur(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = key.len() as u32;
    let mut hash = 0xdead_beef_u32.wrapping_mul(length) ^ length;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        hash = (hash ^ little_endian(tail)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Up to four bytes as a little-endian number.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// Bob Jenkins' lookup3 (`hashlittle`) with the initial value 13.
pub(super) fn jenkins(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32
        .wrapping_add(key.len() as u32)
        .wrapping_add(13);
    let (mut a, mut b, mut c) = (start, start, start);
    // The last twelve bytes, or fewer, are not mixed but finished: so a full last block is a tail.
    let blocks = key.len().saturating_sub(1) / 12;
    let (head, tail) = key.split_at(blocks * 12);
    for block in head.chunks_exact(12) {
        let [x, y, z] = three_words(block);
        a = a.wrapping_add(x);
        b = b.wrapping_add(y);
        c = c.wrapping_add(z);
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
    }
    if tail.is_empty() {
        return c;
    }
    let [x, y, z] = three_words(tail);
    a = a.wrapping_add(x);
    b = b.wrapping_add(y);
    c = c.wrapping_add(z);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// Up to twelve bytes as three little-endian words, the missing bytes zero.
fn three_words(bytes: &[u8]) -> [u32; 3] {
    let mut parts = bytes.chunks(4).map(little_endian);
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        // RFC 1321, appendix A.5; the CRC catalogue's "123456789"; Noll's FNV test vectors;
        // lookup3.c's own driver gives 0x17770551 for "Four score…" with the initial value 0.
        assert_eq!(
            md5_words(b"abc"),
            [0x9850_0190, 0xb04f_d23c, 0x7d3f_96d6, 0x727f_e128]
        );
        assert_eq!(crc16(b"123456789") & 0xffff, 0x31c3);
        assert_eq!(crc32a(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"123456789"), 0x4bf4);
        assert_eq!(fnv1_32(b"foobar"), 0x31f0_b262);
        assert_eq!(fnv1a_32(b"foobar"), 0xbf9c_f968);
        assert_eq!(fnv1_64(b"foobar"), 0x340d_8765_a4dd_a9c2_u64 as u32);
        assert_eq!(one_at_a_time(b"a"), 0xca2e_9442);
    }
}
