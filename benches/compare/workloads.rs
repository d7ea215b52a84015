//! The loads, by the names they have in the project's notes and results.
//!
//! All requests of a workload are alike or drawn from one mix; keys are drawn evenly. The names are
//! stable: goals and earlier results refer to them.

/// Which keys a workload uses; each set is stored once through every endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySet {
    /// 100 000 keys with values of 100 B.
    Small,
    /// 1 000 keys with values of 64 KiB.
    Large,
}

impl KeySet {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// The generator's options for it.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Small => &[
                "--key-prefix",
                "small:",
                "--keys",
                "100k",
                "--value-size",
                "100",
            ],
            Self::Large => &[
                "--key-prefix",
                "large:",
                "--keys",
                "1k",
                "--value-size",
                "64k",
            ],
        }
    }
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
    /// Requests of the shorter one of the two runs in which system calls are counted.
    pub(crate) traced: u64,
}

/// Every load, in the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "W1",
        about: "get 100 B, 50 connections, 1 outstanding",
        keys: KeySet::Small,
        options: &["-c", "50"],
        traced: 4_000,
    },
    Workload {
        name: "W1c500",
        about: "get 100 B, 500 connections, 1 outstanding",
        keys: KeySet::Small,
        options: &["-c", "500"],
        traced: 4_000,
    },
    Workload {
        name: "w64",
        about: "get 100 B, 64 connections, 1 outstanding",
        keys: KeySet::Small,
        options: &["-c", "64"],
        traced: 4_000,
    },
    Workload {
        name: "W2",
        about: "90 % get, 10 % set, 100 B, 50 connections, 1 outstanding",
        keys: KeySet::Small,
        options: &["-c", "50", "--mix", "90:10"],
        traced: 4_000,
    },
    Workload {
        name: "W3",
        about: "get 100 B, 50 connections, 16 outstanding",
        keys: KeySet::Small,
        options: &["-c", "50", "--depth", "16"],
        traced: 40_000,
    },
    Workload {
        name: "W4",
        about: "get of 20 keys, 100 B each, 50 connections, 1 outstanding",
        keys: KeySet::Small,
        options: &["-c", "50", "--multi", "20"],
        traced: 2_000,
    },
    Workload {
        name: "W5a",
        about: "get 64 KiB, 50 connections, 1 outstanding",
        keys: KeySet::Large,
        options: &["-c", "50"],
        traced: 2_000,
    },
    Workload {
        name: "W10",
        about: "set 100 B, 50 connections, 16 outstanding",
        keys: KeySet::Small,
        options: &["-c", "50", "--depth", "16", "--mix", "set=1"],
        traced: 40_000,
    },
    Workload {
        name: "L2k",
        about: "get 100 B at 2 000 requests/s, 50 connections: latency",
        keys: KeySet::Small,
        options: &["-c", "50", "--rate", "2k"],
        traced: 500,
    },
];
