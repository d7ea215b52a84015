//! The loads, by the names they have in the project's notes and results.
//!
//! All requests of a workload are alike or drawn from one mix; keys are drawn evenly. The names are
//! stable: targets and earlier results refer to them.

use crate::configs::Variant;

/// Which keys a workload uses; each set is stored once through every endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySet {
    /// 100 000 keys with values of 100 B.
    Small,
    /// 1 000 keys with values of 64 KiB.
    Large,
    /// 100 keys with values of 900 KiB.
    Huge,
}

impl KeySet {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Huge];

    /// The generator's options for it.
    pub(crate) fn options(self) -> [&'static str; 6] {
        let (prefix, keys, size) = match self {
            Self::Small => ("small:", "100k", "100"),
            Self::Large => ("large:", "1k", "64k"),
            Self::Huge => ("huge:", "100", "900k"),
        };
        ["--key-prefix", prefix, "--keys", keys, "--value-size", size]
    }
}

/// What runs under a workload, in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Every endpoint.
    All,
    /// Every endpoint but the memcached, with this many more clients that say nothing.
    BesideIdle(usize),
    /// The first ringroad, and the same with these options in the place of the workload's.
    Own(&'static str, &'static [&'static str]),
    /// The first ringroad, and one with two pools.
    Variant(Variant),
}

/// A load.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: KeySet,
    /// The generator's other options.
    pub(crate) options: &'static [&'static str],
    /// Who runs under it.
    pub(crate) field: Field,
    /// Requests of the shorter one of the two runs in which system calls are counted, where they are.
    pub(crate) traced: Option<u64>,
    /// Whether it runs only when it is named.
    pub(crate) extra: bool,
}

impl Workload {
    /// Whether `name` means it: its own name, or that without the small letter at its end.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let letter = |rest: &str| {
            let mut letters = rest.chars();
            letters
                .next()
                .is_none_or(|letter| letter.is_ascii_lowercase())
                && letters.next().is_none()
        };
        self.name.strip_prefix(name).is_some_and(letter)
    }

    /// Whether its latency at a fixed rate is what counts, so that it takes more rounds.
    pub(crate) fn is_paced(&self) -> bool {
        self.options.contains(&"--rate")
    }
}

const GET_50: &[&str] = &["-c", "50"];
const GET_50_DEEP: &[&str] = &["-c", "50", "--depth", "16"];
const MIX_50: &[&str] = &["-c", "50", "--mix", "90:10"];

const fn load(
    name: &'static str,
    about: &'static str,
    options: &'static [&'static str],
) -> Workload {
    Workload {
        name,
        about,
        keys: KeySet::Small,
        options,
        field: Field::All,
        traced: None,
        extra: false,
    }
}

/// Every load, in the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        traced: Some(4_000),
        ..load("W1", "get 100 B, 50 connections, 1 outstanding", GET_50)
    },
    load(
        "W1c500",
        "get 100 B, 500 connections, 1 outstanding",
        &["-c", "500"],
    ),
    Workload {
        extra: true,
        ..load(
            "w64",
            "get 100 B, 64 connections, 1 outstanding",
            &["-c", "64"],
        )
    },
    load(
        "W2",
        "90 % get, 10 % set, 100 B, 50 connections, 1 outstanding",
        MIX_50,
    ),
    Workload {
        traced: Some(40_000),
        ..load(
            "W3",
            "get 100 B, 50 connections, 16 outstanding",
            GET_50_DEEP,
        )
    },
    Workload {
        traced: Some(2_000),
        ..load(
            "W4",
            "get of 20 keys, 100 B each, 50 connections, 1 outstanding",
            &["-c", "50", "--multi", "20"],
        )
    },
    Workload {
        keys: KeySet::Large,
        ..load("W5a", "get 64 KiB, 50 connections, 1 outstanding", GET_50)
    },
    Workload {
        keys: KeySet::Huge,
        ..load("W5b", "get 900 KiB, 50 connections, 1 outstanding", GET_50)
    },
    Workload {
        field: Field::BesideIdle(1_000),
        ..load("W6a", "W1 beside 1 000 idle connections", GET_50)
    },
    Workload {
        field: Field::BesideIdle(10_000),
        ..load("W6b", "W1 beside 10 000 idle connections", GET_50)
    },
    load(
        "W7",
        "get 100 B at 2 000 requests/s, 50 connections: latency",
        &["-c", "50", "--rate", "2k"],
    ),
    Workload {
        field: Field::Own("ringroad mg", &["-c", "50", "--mix", "mg=1"]),
        ..load("W8a", "W1 with mg in the place of get", GET_50)
    },
    Workload {
        field: Field::Own("ringroad mg/ms", &["-c", "50", "--mix", "mg=90,ms=10"]),
        ..load(
            "W8b",
            "W2 with mg and ms in the place of get and set",
            MIX_50,
        )
    },
    Workload {
        field: Field::Own(
            "ringroad mg",
            &["-c", "50", "--depth", "16", "--mix", "mg=1"],
        ),
        ..load("W8c", "W3 with mg in the place of get", GET_50_DEEP)
    },
    Workload {
        field: Field::Variant(Variant::Failover),
        ..load(
            "W9a",
            "W1 with failover of two pools, the first healthy",
            GET_50,
        )
    },
    Workload {
        field: Field::Variant(Variant::Shadow),
        ..load("W9b", "W1 with a shadow of 10 % in a second pool", GET_50)
    },
    Workload {
        field: Field::Variant(Variant::AllSync),
        ..load("W9c", "W1 with all-sync over two pools", GET_50)
    },
    load(
        "W10a",
        "set 100 B, 50 connections, 16 outstanding",
        &["-c", "50", "--depth", "16", "--mix", "set=1"],
    ),
    Workload {
        keys: KeySet::Large,
        ..load(
            "W10b",
            "set 64 KiB, 50 connections, 1 outstanding",
            &["-c", "50", "--mix", "set=1"],
        )
    },
];
