//! What the rules say that fill one cache from another, or stand around one child.
//!
//! Plain data, a struct for each rule that has anything to say; [`Rule`](super::Rule) holds them. Times to live are
//! seconds, at most 30 days, above which memcached reads a date; shares are [`Millionths`].

use std::fmt;

/// A number with six places behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(pub u32);

impl Millionths {
    /// The nearest one; `None` for what is negative or too large.
    pub fn of(number: f64) -> Option<Millionths> {
        let scaled = (number * 1e6).round();
        (0.0..=f64::from(u32::MAX))
            .contains(&scaled)
            .then_some(Millionths(scaled as u32))
    }

    /// As a number.
    pub fn number(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// As TOML writes a number.
impl fmt::Display for Millionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.number())
    }
}

/// A small cache in front of a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// How long what was found in the large one lives in the small one; 0 is for ever.
    pub exptime: u32,
    /// How long a note lives there that the large one has nothing.
    pub miss_exptime: u32,
    /// How many gets such a note answers until the large one is asked again; 0: no notes.
    pub miss_period: u32,
}

impl Levels {
    /// The bit of an item's flags that makes it such a note.
    pub const NOTE: u32 = 0x1_0000;

    /// As it is where nothing is said.
    pub const DEFAULT: Levels = Levels {
        exptime: 0,
        miss_exptime: 0,
        miss_period: 0,
    };
}

/// Small values here, large ones there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// From so many bytes on a value is large; 0: none is.
    pub threshold: usize,
    /// What lives less than so many seconds is never large; 0: it may be.
    pub ttl_threshold: u32,
    /// For values that could not be stored with the large ones; at least 1.
    pub failure_ttl: u32,
    /// Large values are stored with the small ones, too.
    pub both: bool,
    /// How often a `gets` or `lease-get` is tried again whose value is gone; 1 to 10.
    pub retries: u32,
}

impl Sizes {
    /// The bit of an item's flags that says: the value is with the large ones.
    pub const ELSEWHERE: u32 = 0x20;

    /// As it is where nothing is said.
    pub const DEFAULT: Sizes = Sizes {
        threshold: 0,
        ttl_threshold: 0,
        failure_ttl: 60,
        both: false,
        retries: 1,
    };

    /// Whether a value stays with the small ones.
    pub fn is_small(&self, key: &[u8], len: usize, exptime: i32) -> bool {
        let short = i64::from(exptime) < i64::from(self.ttl_threshold);
        self.threshold == 0
            || len < self.threshold
            || (self.ttl_threshold != 0 && short)
            // Behind the key there may be four bytes and a number.
            || key.len() + 24 > 255
    }
}

/// From one cache to another, key by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// When it begins, in seconds since 1970.
    pub start: u64,
    /// Within so many seconds keys change over, after as many have passed; at least 1.
    pub interval: u32,
}

/// Which of the two caches of a [`Migrate`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that keys come from.
    From,
    /// The one that they go to.
    To,
    /// Both.
    Both,
}

impl Migrate {
    /// For so many seconds after a key has changed over, a `lease-set` that the new cache refuses ends the lease that
    /// the old one may have given.
    pub const AFTERMATH: u64 = 10;

    /// An hour, long ago.
    pub const DEFAULT: Migrate = Migrate {
        start: 0,
        interval: 3600,
    };

    /// When a key changes over.
    pub fn switches(&self, key: &[u8]) -> u64 {
        let hash = crate::hash::spooky32(crate::hash::routing_key(key, None, true), 0);
        let part = u64::from(hash.checked_rem(self.interval).unwrap_or(0));
        self.start
            .saturating_add(u64::from(self.interval))
            .saturating_add(part)
    }

    /// Where a key is at this time.
    pub fn side(&self, key: &[u8], deletes: bool, now: u64) -> Side {
        let end = u64::from(self.interval).saturating_mul(2);
        match deletes {
            true if now < self.start => Side::From,
            true if now < self.start.saturating_add(end) => Side::Both,
            true => Side::To,
            false if now < self.switches(key) => Side::From,
            false => Side::To,
        }
    }
}

/// Spares a server that has few of its items yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowWarmUp {
    /// With a smaller share of hits it begins to spare it.
    pub enable: Millionths,
    /// With at least that it ends.
    pub disable: Millionths,
    /// The share of gets that such a server gets in any case,
    pub start: Millionths,
    /// and how many times its share of hits besides.
    pub step: Millionths,
    /// So many hits and misses are needed to know a share.
    pub min_requests: u32,
}

impl SlowWarmUp {
    /// As it is where nothing is said.
    pub const DEFAULT: SlowWarmUp = SlowWarmUp {
        enable: Millionths(700_000),
        disable: Millionths(900_000),
        start: Millionths(100_000),
        step: Millionths(1_000_000),
        min_requests: 100,
    };
}

/// Makes answers late; all in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Waited for before the request is sent.
    pub before: u32,
    /// Waited for when the answer is there.
    pub after: u32,
    /// The whole of it takes that long at least.
    pub total: u32,
    /// Percentiles up to 100, ascending, and what the whole of it takes at least for requests up to there.
    pub percentiles: Vec<(Millionths, u32)>,
}

impl Latency {
    /// None.
    pub const NONE: Latency = Latency {
        before: 0,
        after: 0,
        total: 0,
        percentiles: Vec::new(),
    };

    /// What a request takes at least, by a random number of its own: the longer of `total` and that of the first
    /// percentile above a number from 0 to 100, if there is one.
    pub fn least(&self, random: u64) -> u32 {
        let drawn = ((u128::from(random) * 100_000_000) >> 64) as u32;
        let mut above = self.percentiles.iter().filter(|(at, _)| at.0 > drawn);
        above.next().map_or(0, |(_, total)| *total).max(self.total)
    }

    /// Whether these can be the percentiles.
    pub fn are_percentiles(all: &[(Millionths, u32)]) -> bool {
        let ascending = all
            .iter()
            .zip(all.iter().skip(1))
            .all(|(one, next)| one.0 < next.0);
        ascending && all.iter().all(|(at, _)| at.0 <= 100_000_000)
    }
}

/// A part of a request that a blackhole looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// As the client wrote it.
    Key,
    /// 0 for commands that store nothing.
    Flags,
    /// The time to live, in commands that have one.
    Exptime,
    /// By how much a number is changed.
    Delta,
    /// What a `cas` compares.
    Cas,
    /// The data block: nothing ever equals it, or does not.
    Value,
}

impl Field {
    /// Every one: its name here, and mcrouter's.
    pub const ALL: [(&'static str, &'static str, Field); 6] = [
        ("key", "key", Field::Key),
        ("flags", "flags", Field::Flags),
        ("exptime", "exptime", Field::Exptime),
        ("delta", "delta", Field::Delta),
        ("cas", "casToken", Field::Cas),
        ("value", "value", Field::Value),
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        let mut all = Field::ALL.into_iter();
        all.find(|(.., one)| *one == self)
            .map_or("", |(name, ..)| name)
    }
}

/// What a part of a request is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// The key.
    Text(String),
    /// Everything else.
    Number(i64),
}

/// What a request must be like to be swallowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The part of the request. Where a request has no such part, the condition does not count.
    pub field: Field,
    /// It is one of these,
    pub equals: Vec<Scalar>,
    /// or is not one of these.
    pub differs: Vec<Scalar>,
}

impl Condition {
    /// Whether the part of a request fits.
    pub fn fits(&self, part: &Scalar) -> bool {
        let same_kind = |one: &&Scalar| {
            matches!(
                (one, part),
                (Scalar::Text(_), Scalar::Text(_)) | (Scalar::Number(_), Scalar::Number(_))
            )
        };
        self.equals.contains(part) || self.differs.iter().filter(same_kind).any(|one| one != part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_over_one_by_one_in_the_second_interval() {
        let migrate = Migrate {
            start: 1000,
            interval: 100,
        };
        for index in 0..200 {
            let key = format!("f{index}|#|x");
            let at = migrate.switches(key.as_bytes());
            assert!((1100..1200).contains(&at));
            assert_eq!(at, migrate.switches(format!("f{index}").as_bytes()));
            let side = |now| migrate.side(key.as_bytes(), false, now);
            assert_eq!((side(0), side(at - 1)), (Side::From, Side::From));
            assert_eq!((side(at), side(u64::MAX)), (Side::To, Side::To));
            let deletes = |now| migrate.side(key.as_bytes(), true, now);
            let both = (deletes(999), deletes(1000), deletes(1199), deletes(1200));
            assert_eq!(both, (Side::From, Side::Both, Side::Both, Side::To));
        }
    }

    #[test]
    fn small_values_short_lives_and_long_keys_stay_whole() {
        let sizes = Sizes {
            threshold: 10,
            ttl_threshold: 60,
            ..Sizes::DEFAULT
        };
        for (key, len, exptime, small) in [
            (&b"k"[..], 9, 100, true),
            (b"k", 10, 100, false),
            (b"k", 10, 59, true),
            (b"k", 10, 0, true),
            (b"k", 10, 60, false),
            (&[b'k'; 231], 10, 60, false),
            (&[b'k'; 232], 10, 60, true),
        ] {
            assert_eq!(sizes.is_small(key, len, exptime), small, "{len} {exptime}");
        }
        assert!(Sizes::DEFAULT.is_small(b"k", 1 << 20, 0));
        let any = Sizes {
            threshold: 1,
            ..Sizes::DEFAULT
        };
        assert!(!any.is_small(b"k", 1, 0));
    }

    #[test]
    fn numbers_keep_six_places() {
        for (number, text) in [
            (0.7, "0.7"),
            (1.0, "1.0"),
            (0.000_001, "1e-6"),
            (99.5, "99.5"),
        ] {
            assert_eq!(Millionths::of(number).unwrap().to_string(), text);
        }
        assert_eq!(Millionths::of(-0.1), None);
        assert_eq!(Millionths::of(1e9), None);
        assert_eq!(Millionths::of(f64::NAN), None);
    }

    #[test]
    fn a_condition_is_one_or_the_other() {
        let text = |text: &str| Scalar::Text(text.to_owned());
        let condition = Condition {
            field: Field::Key,
            equals: vec![text("a"), text("b")],
            differs: vec![Scalar::Number(1)],
        };
        assert!(condition.fits(&text("a")) && condition.fits(&text("b")));
        assert!(
            !condition.fits(&text("c")),
            "a number says nothing of a text"
        );
        let other = Condition {
            differs: vec![text("a")],
            ..condition
        };
        assert!(other.fits(&text("c")));
    }

    #[test]
    fn a_percentile_is_the_share_of_requests_up_to_it() {
        let millis = |number: f64| Millionths::of(number).unwrap();
        let latency = Latency {
            total: 5,
            percentiles: vec![(millis(50.0), 1), (millis(99.0), 20), (millis(99.9), 300)],
            ..Latency::NONE
        };
        let of = |percent: f64| latency.least((percent / 100.0 * 2f64.powi(64)) as u64);
        for (percent, least) in [
            (0.0, 5),
            (49.9, 5),
            (50.1, 20),
            (98.9, 20),
            (99.1, 300),
            (99.8, 300),
            (99.95, 5),
            (100.0, 5),
        ] {
            assert_eq!(of(percent), least, "{percent}");
        }
        let all = Latency {
            percentiles: vec![(millis(0.0), 9), (millis(100.0), 7)],
            ..Latency::NONE
        };
        assert_eq!([0, 1, u64::MAX].map(|random| all.least(random)), [7; 3]);
        for wrong in [
            [(50.0, 1), (50.0, 2)],
            [(60.0, 1), (50.0, 2)],
            [(1.0, 1), (101.0, 2)],
        ] {
            let wrong = wrong.map(|(at, total)| (millis(at), total));
            assert!(!Latency::are_percentiles(&wrong), "{wrong:?}");
        }
        assert!(Latency::are_percentiles(&latency.percentiles));
    }

    #[test]
    fn percentiles_that_are_none_are_refused_where_they_stand() {
        let parse = |percentiles: &str| {
            let route = format!("type = \"latency\", child = \"a\", percentiles = {percentiles}");
            let text = format!("route = {{ {route} }}\n[pools.a]\nservers = [\"h:1\"]");
            crate::config::parse("f", &text)
        };
        assert!(parse("[[0, \"1s\"], [99.9, 1], [100, \"0ms\"]]").is_ok());
        for (wrong, why) in [
            ("1", "a list of pairs"),
            ("[1]", "a list of pairs"),
            ("[[1]]", "a pair as"),
            ("[[-1, \"1s\"]]", "a number from 0 to 100"),
            ("[[101, \"1s\"]]", "must be from 0 to 100"),
            ("[[2, \"1s\"], [1, \"1s\"]]", "each above the one before"),
            ("[[1, \"1500us\"]]", "percentiles"),
            ("[[1, \"2h\"]]", "1h"),
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
