//! The hash functions that a config may choose for `ketama`, `ketama_weighted`, `ketama_twemproxy`,
//! `modula` and `pylibmc`, by the names that twemproxy and libmemcached give them.

use std::fmt;
use std::str::FromStr;

use super::error::UnknownName;
use super::{libhashkit, murmur};

/// A hash function of 32 bits that twemproxy or libmemcached offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// libmemcached's default (there called `default`).
    OneAtATime,
    /// The first four bytes of the MD5; libmemcached's choice for ketama.
    Md5,
    /// CRC-16, in twemproxy only.
    Crc16,
    /// 15 bits of the CRC-32; pylibmc calls it `crc`. Too few bits for a ring.
    Crc32,
    /// The whole CRC-32, in twemproxy only.
    Crc32a,
    /// FNV-1 of 64 bits, cut to 32.
    Fnv1_64,
    /// FNV-1a with 64 bit constants cut to 32; twemproxy's default.
    Fnv1a64,
    /// FNV-1 of 32 bits.
    Fnv1_32,
    /// FNV-1a of 32 bits.
    Fnv1a32,
    /// Paul Hsieh's SuperFastHash.
    Hsieh,
    /// MurmurHash2 of 32 bits.
    Murmur,
    /// Bob Jenkins' lookup3.
    Jenkins,
    /// MurmurHash3 of 32 bits, in libmemcached only.
    Murmur3,
}

impl HashFunction {
    /// All hash functions.
    pub const ALL: [HashFunction; 13] = [
        HashFunction::OneAtATime,
        HashFunction::Md5,
        HashFunction::Crc16,
        HashFunction::Crc32,
        HashFunction::Crc32a,
        HashFunction::Fnv1_64,
        HashFunction::Fnv1a64,
        HashFunction::Fnv1_32,
        HashFunction::Fnv1a32,
        HashFunction::Hsieh,
        HashFunction::Murmur,
        HashFunction::Jenkins,
        HashFunction::Murmur3,
    ];

    /// The name in a config file.
    pub fn name(self) -> &'static str {
        match self {
            HashFunction::OneAtATime => "one_at_a_time",
            HashFunction::Md5 => "md5",
            HashFunction::Crc16 => "crc16",
            HashFunction::Crc32 => "crc32",
            HashFunction::Crc32a => "crc32a",
            HashFunction::Fnv1_64 => "fnv1_64",
            HashFunction::Fnv1a64 => "fnv1a_64",
            HashFunction::Fnv1_32 => "fnv1_32",
            HashFunction::Fnv1a32 => "fnv1a_32",
            HashFunction::Hsieh => "hsieh",
            HashFunction::Murmur => "murmur",
            HashFunction::Jenkins => "jenkins",
            HashFunction::Murmur3 => "murmur3",
        }
    }

    /// The value of a key.
    pub fn hash(self, key: &[u8]) -> u32 {
        match self {
            HashFunction::OneAtATime => libhashkit::one_at_a_time(key),
            HashFunction::Md5 => libhashkit::md5(key),
            HashFunction::Crc16 => libhashkit::crc16(key),
            HashFunction::Crc32 => libhashkit::crc32(key),
            HashFunction::Crc32a => libhashkit::crc32a(key),
            HashFunction::Fnv1_64 => libhashkit::fnv1_64(key),
            HashFunction::Fnv1a64 => libhashkit::fnv1a_64(key),
            HashFunction::Fnv1_32 => libhashkit::fnv1_32(key),
            HashFunction::Fnv1a32 => libhashkit::fnv1a_32(key),
            HashFunction::Hsieh => libhashkit::hsieh(key),
            HashFunction::Murmur => libhashkit::murmur(key),
            HashFunction::Jenkins => libhashkit::jenkins(key),
            HashFunction::Murmur3 => murmur::murmur3_libhashkit(key),
        }
    }

    /// Whether its values fill 32 bits evenly enough that arcs of a ring are shares of the keys.
    pub(super) fn fills_32_bits(self) -> bool {
        !matches!(self, HashFunction::Crc16 | HashFunction::Crc32)
    }
}

impl fmt::Display for HashFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HashFunction {
    type Err = UnknownName;

    /// Reads the name as a config file has it; `default` and `crc`, which is what pylibmc calls
    /// `one_at_a_time` and `crc32`, are understood as well.
    fn from_str(text: &str) -> Result<HashFunction, UnknownName> {
        let name = match text {
            "default" => "one_at_a_time",
            "crc" => "crc32",
            other => other,
        };
        HashFunction::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| {
                UnknownName::new(
                    "hash function",
                    text,
                    HashFunction::ALL.iter().map(|f| f.name()),
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_listed_once_and_reads_its_own_name() {
        for (index, function) in HashFunction::ALL.into_iter().enumerate() {
            assert_eq!(function.name().parse::<HashFunction>(), Ok(function));
            assert_eq!(
                HashFunction::ALL.iter().position(|f| *f == function),
                Some(index)
            );
        }
        assert_eq!("default".parse(), Ok(HashFunction::OneAtATime));
        assert_eq!("crc".parse(), Ok(HashFunction::Crc32));
        assert!(
            "sha1"
                .parse::<HashFunction>()
                .unwrap_err()
                .to_string()
                .contains("known are one_at")
        );
    }

    #[test]
    fn all_functions_take_all_lengths() {
        let bytes: Vec<u8> = (0..300).map(|i| (i * 37 % 256) as u8).collect();
        for function in HashFunction::ALL {
            for length in 0..bytes.len() {
                let _ = function.hash(&bytes[..length]);
            }
        }
    }
}
