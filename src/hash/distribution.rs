//! The distributions by name, and what each lets a config say.
//!
//! This is the one table that config, `--help`, `check` and the documentation read: the name in TOML,
//! a line that describes it, the hash function it uses, the weights it takes, whether it has a salt
//! or a number of points. The arithmetic is elsewhere; nothing here hashes anything.

use std::fmt;
use std::str::FromStr;

use super::error::UnknownName;
use super::function::HashFunction;

/// The rule by which a pool's keys are spread over its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Points `xxh64("name:i")` on a ring of 64 bits: the placement of the crate hash_ring 0.2.0.
    Ring,
    /// libmemcached's `MEMCACHED_BEHAVIOR_KETAMA` without weights: 100 points per server.
    Ketama,
    /// libmemcached's `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`: 160 points per server of mean weight.
    /// With `hash = "one_at_a_time"` it is also what libmemcached and pylibmc make of plain ketama as
    /// soon as a server has a weight above 1.
    KetamaWeighted,
    /// twemproxy's `distribution: ketama`.
    KetamaTwemproxy,
    /// twemproxy's `distribution: modula`: hash modulo the number of servers.
    Modula,
    /// The default of pymemcache's `HashClient`, for keys that are text (`str`). A client's
    /// `key_prefix` is not hashed there, but sent: such keys cannot be kept in place.
    Pymemcache,
    /// The default of pylibmc and of libmemcached: hash modulo the number of servers, no weights.
    Pylibmc,
    /// The default of python-memcached.
    PythonMemcached,
    /// mcrouter's default, `Ch3`.
    Ch3,
    /// mcrouter's `WeightedCh3`.
    WeightedCh3,
    /// mcrouter's `Crc32`.
    Crc32,
    /// mcrouter's `ConstShard`.
    ConstShard,
    /// Lamping and Veach's jump consistent hash over `xxh64(key)`.
    Jump,
    /// mcrouter's `Rendezvous`, or `WeightedRendezvous` once any node has a weight.
    Rendezvous,
}

/// The weights that a distribution takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightRule {
    /// None: a node may say 1, which changes nothing.
    None,
    /// Whole numbers from 1 to 1 000 000; none given is 1.
    Whole,
    /// Any number from 0 to 1 000 000; none given is 1, and 0 means no keys.
    Scale,
    /// From 0 to 1: the chance to keep a key that the hash gave to this node; none given is 0.5.
    Keep,
}

impl WeightRule {
    /// The allowed values, in words that complete "a weight must be …".
    pub fn describe(self) -> &'static str {
        match self {
            WeightRule::None => "left out (or 1): this distribution has no weights",
            WeightRule::Whole => "a whole number from 1 to 1000000",
            WeightRule::Scale => "a number from 0 to 1000000",
            WeightRule::Keep => "a number from 0 to 1",
        }
    }

    /// The weight of a node that gives none.
    pub fn default_weight(self) -> f64 {
        match self {
            WeightRule::None | WeightRule::Whole | WeightRule::Scale => 1.0,
            WeightRule::Keep => 0.5,
        }
    }

    /// Whether this weight may be given.
    pub fn allows(self, weight: f64) -> bool {
        match self {
            WeightRule::None => weight == 1.0,
            WeightRule::Whole => (1.0..=1e6).contains(&weight) && weight.fract() == 0.0,
            WeightRule::Scale => (0.0..=1e6).contains(&weight),
            WeightRule::Keep => (0.0..=1.0).contains(&weight),
        }
    }
}

impl Distribution {
    /// All distributions, the default one first.
    pub const ALL: [Distribution; 14] = [
        Distribution::Ring,
        Distribution::Ketama,
        Distribution::KetamaWeighted,
        Distribution::KetamaTwemproxy,
        Distribution::Modula,
        Distribution::Pymemcache,
        Distribution::Pylibmc,
        Distribution::PythonMemcached,
        Distribution::Ch3,
        Distribution::WeightedCh3,
        Distribution::Crc32,
        Distribution::ConstShard,
        Distribution::Jump,
        Distribution::Rendezvous,
    ];

    /// The name in a config file.
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Ring => "ring",
            Distribution::Ketama => "ketama",
            Distribution::KetamaWeighted => "ketama_weighted",
            Distribution::KetamaTwemproxy => "ketama_twemproxy",
            Distribution::Modula => "modula",
            Distribution::Pymemcache => "pymemcache",
            Distribution::Pylibmc => "pylibmc",
            Distribution::PythonMemcached => "python_memcached",
            Distribution::Ch3 => "ch3",
            Distribution::WeightedCh3 => "weighted_ch3",
            Distribution::Crc32 => "crc32",
            Distribution::ConstShard => "const_shard",
            Distribution::Jump => "jump",
            Distribution::Rendezvous => "rendezvous",
        }
    }

    /// One line for help texts and documentation.
    pub fn describe(self) -> &'static str {
        match self {
            Distribution::Ring => {
                "consistent hash ring over server names, as the crate hash_ring; any weights"
            }
            Distribution::Ketama => {
                "libmemcached's ketama without weights (pylibmc: ketama or distribution consistent)"
            }
            Distribution::KetamaWeighted => {
                "libmemcached's weighted ketama (pylibmc: ketama_weighted)"
            }
            Distribution::KetamaTwemproxy => "twemproxy's ketama, with its weights",
            Distribution::Modula => "twemproxy's modula: hash modulo servers, with its weights",
            Distribution::Pymemcache => "what pymemcache's HashClient does by default (text keys)",
            Distribution::Pylibmc => "what pylibmc and libmemcached do by default",
            Distribution::PythonMemcached => "what python-memcached does, with its weights",
            Distribution::Ch3 => "mcrouter's default, Ch3: consistent over server positions",
            Distribution::WeightedCh3 => "mcrouter's WeightedCh3: weights from 0 to 1",
            Distribution::Crc32 => "mcrouter's Crc32: crc32 modulo servers",
            Distribution::ConstShard => {
                "mcrouter's ConstShard: the number between the key's first two colons, else Ch3"
            }
            Distribution::Jump => "jump consistent hash over server positions",
            Distribution::Rendezvous => {
                "mcrouter's Rendezvous over server names; WeightedRendezvous if any has a weight"
            }
        }
    }

    /// The weights it takes.
    pub fn weights(self) -> WeightRule {
        match self {
            Distribution::Ring | Distribution::Rendezvous => WeightRule::Scale,
            Distribution::KetamaWeighted
            | Distribution::KetamaTwemproxy
            | Distribution::Modula
            | Distribution::PythonMemcached => WeightRule::Whole,
            Distribution::WeightedCh3 => WeightRule::Keep,
            Distribution::Ketama
            | Distribution::Pymemcache
            | Distribution::Pylibmc
            | Distribution::Ch3
            | Distribution::Crc32
            | Distribution::ConstShard
            | Distribution::Jump => WeightRule::None,
        }
    }

    /// The hash function it uses unless the config chooses another; `None` if there is no choice.
    pub fn default_hash(self) -> Option<HashFunction> {
        match self {
            Distribution::KetamaWeighted => Some(HashFunction::Md5),
            Distribution::KetamaTwemproxy | Distribution::Modula => Some(HashFunction::Fnv1a64),
            Distribution::Ketama | Distribution::Pylibmc => Some(HashFunction::OneAtATime),
            _ => None,
        }
    }

    /// Whether a salt may be given.
    pub fn takes_salt(self) -> bool {
        matches!(
            self,
            Distribution::Ch3
                | Distribution::WeightedCh3
                | Distribution::Crc32
                | Distribution::ConstShard
                | Distribution::Rendezvous
        )
    }

    /// Whether its weights may be a variable.
    pub fn takes_variable(self) -> bool {
        self == Distribution::WeightedCh3
    }

    /// Whether the number of points per node may be given.
    pub fn takes_points(self) -> bool {
        self == Distribution::Ring
    }

    /// Whether the order of the servers in the config has a part in the placement, so that taking one
    /// out of the middle, or listing them differently on two nodes, moves keys of all of them.
    pub fn is_positional(self) -> bool {
        match self {
            Distribution::Modula
            | Distribution::Pylibmc
            | Distribution::PythonMemcached
            | Distribution::Ch3
            | Distribution::WeightedCh3
            | Distribution::Crc32
            | Distribution::ConstShard
            | Distribution::Jump => true,
            Distribution::Ring
            | Distribution::Ketama
            | Distribution::KetamaWeighted
            | Distribution::KetamaTwemproxy
            | Distribution::Pymemcache
            | Distribution::Rendezvous => false,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Distribution {
    type Err = UnknownName;

    /// Reads the name as a config file has it.
    fn from_str(text: &str) -> Result<Distribution, UnknownName> {
        Distribution::ALL
            .into_iter()
            .find(|d| d.name() == text)
            .ok_or_else(|| {
                UnknownName::new(
                    "distribution",
                    text,
                    Distribution::ALL.iter().map(|d| d.name()),
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distribution_is_listed_once_and_reads_its_own_name() {
        for (index, distribution) in Distribution::ALL.into_iter().enumerate() {
            assert_eq!(
                distribution.name().parse::<Distribution>(),
                Ok(distribution)
            );
            assert_eq!(distribution.to_string(), distribution.name());
            assert_eq!(
                Distribution::ALL.iter().position(|d| *d == distribution),
                Some(index)
            );
            let line = distribution.describe();
            assert!(!line.contains('\n') && line.len() < 90, "{line}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "ketma".parse::<Distribution>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown distribution \"ketma\"; known are ring, ketama,"),
            "{error}"
        );
        assert!(
            "Ring".parse::<Distribution>().is_err(),
            "names are matched exactly"
        );
    }

    #[test]
    fn odd_weights_are_never_allowed() {
        for rule in [
            WeightRule::None,
            WeightRule::Whole,
            WeightRule::Scale,
            WeightRule::Keep,
        ] {
            for weight in [
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                -1.0,
                -0.5,
                1e6 + 1.0,
            ] {
                assert!(!rule.allows(weight), "{rule:?} {weight}");
            }
            assert!(rule.allows(rule.default_weight()));
        }
        assert!(!WeightRule::Whole.allows(0.0) && !WeightRule::Whole.allows(1.5));
        assert!(WeightRule::Scale.allows(0.0) && WeightRule::Keep.allows(0.0));
        assert!(!WeightRule::Keep.allows(1.01) && !WeightRule::None.allows(2.0));
    }
}
