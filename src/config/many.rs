//! Rules of routes with several children.
//!
//! A [`Rule`] says which children get a request and whose reply is the answer; the rules, and the order of replies by
//! severity that some go by, are mcrouter's. Plain data like `Route`, and what follows from it alone; `routes_many.rs`
//! reads and writes it. What is remembered and counted while requests pass is in `crate::route::many`; children are
//! numbered in the order of the configuration.

use super::fills::{Condition, Latency, Levels, Migrate, Sizes, SlowWarmUp};
use super::orders::{KeyedFailover, Latest};
use super::vars::Variable;
use crate::hash::{routing_key, spooky32};

/// Which children get a request, and whose reply is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All of them; the worst reply, and of equally bad ones the first.
    AllSync,
    /// All of them; the answer is that nothing was found or stored, at once.
    AllAsync,
    /// All of them; the reply of the first child.
    AllInitial,
    /// All of them; the first reply that is not a failure, or else the last one.
    AllFastest,
    /// All of them; the reply that more than a half gave, or else the most frequent one.
    AllMajority,
    /// Gets and deletions: one after the other until one has the item. Everything else: the first child.
    MissFailover {
        /// Where none has it: the best reply, instead of the last one.
        best: bool,
    },
    /// One after the other, as long as a reply is a failure of the kinds that it says.
    Failover(Failover),
    /// Some children, which follow from the host; one after the other as for a failover.
    Latest(Latest),
    /// The first child; where that fails, others in an order that follows from the key.
    KeyedFailover(KeyedFailover),
    /// The first child; the others get a copy of some requests, and nobody minds what they reply.
    Shadow(Shadow),
    /// A get that misses in the first child (`cold`) is asked of the second (`warm`), and what is found is added to
    /// the first. Everything else: the first.
    WarmUp {
        /// For so many seconds, 0 for ever; `None`: for as long as it still has in the second.
        exptime: Option<u32>,
    },
    /// A get that misses in the first child (`l1`) is asked of the second (`l2`), and what is found is added to the
    /// first. Everything else: the first.
    Levels(Levels),
    /// Large values are stored in the second child (`l2`), and a note in the first (`l1`) says so.
    Sizes(Sizes),
    /// The first child (`warm`); what is found or stored there is stored in the second (`staging`), too.
    Staging,
    /// The first child (`from`), and later the second (`to`).
    Migrate(Migrate),
    /// The first child (`child`); while it lacks most items, most gets go to the second (`fallback`).
    SlowWarmUp(SlowWarmUp),
    /// The only child, later.
    Latency(Latency),
    /// The first child (`child`); requests that fit every condition go to the second (`blackhole`).
    Blackhole(Vec<Condition>),
    /// One child, by a hash of the client's address; the number is added to the hash.
    Client(u32),
    /// By hash of the key; where that fails, another child, so many in all.
    Balance {
        /// Makes another choice of the same children.
        salt: String,
        /// At least 1.
        tries: u32,
    },
    /// The only child; so many requests of a worker are on their way at a time, at least 1.
    Outstanding(u32),
}

impl Rule {
    /// Every rule with a type of its own in the configuration, and the name of that.
    pub const ALL: [(&'static str, Rule); 20] = [
        ("shadow", Rule::Shadow(Shadow::ALL)),
        ("latest", Rule::Latest(Latest::DEFAULT)),
        (
            "keyed-failover",
            Rule::KeyedFailover(KeyedFailover::DEFAULT),
        ),
        ("selective-failover", Rule::Failover(Failover::DEFAULT)),
        ("all-sync", Rule::AllSync),
        ("all-async", Rule::AllAsync),
        ("all-initial", Rule::AllInitial),
        ("all-fastest", Rule::AllFastest),
        ("all-majority", Rule::AllMajority),
        ("miss-failover", Rule::MissFailover { best: false }),
        ("two-level", Rule::Levels(Levels::DEFAULT)),
        ("by-size", Rule::Sizes(Sizes::DEFAULT)),
        ("staging", Rule::Staging),
        ("migrate", Rule::Migrate(Migrate::DEFAULT)),
        ("slow-warm-up", Rule::SlowWarmUp(SlowWarmUp::DEFAULT)),
        ("latency", Rule::Latency(Latency::NONE)),
        ("blackhole", Rule::Blackhole(Vec::new())),
        ("client", Rule::Client(0)),
        (
            "balance",
            Rule::Balance {
                salt: String::new(),
                tries: 1,
            },
        ),
        ("outstanding", Rule::Outstanding(1)),
    ];

    /// The name of its type in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Rule::AllSync => "all-sync",
            Rule::AllAsync => "all-async",
            Rule::AllInitial => "all-initial",
            Rule::AllFastest => "all-fastest",
            Rule::AllMajority => "all-majority",
            Rule::MissFailover { .. } => "miss-failover",
            Rule::Failover(_) => "selective-failover",
            Rule::Shadow(_) => "shadow",
            Rule::Latest(_) => "latest",
            Rule::KeyedFailover(_) => "keyed-failover",
            Rule::WarmUp { .. } => "warm-up",
            Rule::Levels(_) => "two-level",
            Rule::Sizes(_) => "by-size",
            Rule::Staging => "staging",
            Rule::Migrate(_) => "migrate",
            Rule::SlowWarmUp(_) => "slow-warm-up",
            Rule::Latency(_) => "latency",
            Rule::Blackhole(_) => "blackhole",
            Rule::Client(_) => "client",
            Rule::Balance { .. } => "balance",
            Rule::Outstanding(_) => "outstanding",
        }
    }

    /// The names of its children; of one that has a list of `children`, nothing.
    pub const fn children(&self) -> &'static [&'static str] {
        match self {
            Rule::WarmUp { .. } => &["cold", "warm"],
            Rule::Levels(_) | Rule::Sizes(_) => &["l1", "l2"],
            Rule::Staging => &["warm", "staging"],
            Rule::Migrate(_) => &["from", "to"],
            Rule::SlowWarmUp(_) => &["child", "fallback"],
            Rule::Blackhole(_) => &["child", "blackhole"],
            Rule::Latency(_) | Rule::Outstanding(_) => &["child"],
            _ => &[],
        }
    }

    /// What becomes of a request, in words.
    pub const fn describe(&self) -> &'static str {
        match self {
            Rule::AllSync => "to all, the worst reply is the answer",
            Rule::AllAsync => "to all, answered at once as if nothing were there",
            Rule::AllInitial => "to all, the first child's reply is the answer",
            Rule::AllFastest => "to all, the first reply that is not a failure is the answer",
            Rule::AllMajority => "to all, the most frequent reply is the answer",
            Rule::MissFailover { best: false } => {
                "gets and deletions to one after the other until one has the item, the last reply if none has; all else to the first"
            }
            Rule::MissFailover { best: true } => {
                "gets and deletions to one after the other until one has the item, the best reply if none has; all else to the first"
            }
            Rule::Failover(Failover {
                max_tries: None, ..
            }) => "the first that does not fail with one of its errors",
            Rule::Failover(Failover {
                max_tries: Some(_), ..
            }) => {
                "the first that does not fail with one of its errors, those with the fewest failures before others"
            }
            Rule::Latest(_) => "this host's children, the first that does not fail",
            Rule::KeyedFailover(_) => "the first; where that fails, others by the key",
            Rule::Shadow(_) => "the first; the others get a copy of some requests",
            Rule::WarmUp { .. } | Rule::Levels(_) => {
                "gets to the first, what it lacks from the second; all else to the first"
            }
            Rule::Sizes(_) => "large values to the second, all else to the first",
            Rule::Staging => "to the first, what it has to the second",
            Rule::Migrate(_) => "from the first to the second as time goes by",
            Rule::SlowWarmUp(_) => "to the first, most gets to the second while it is cold",
            Rule::Latency(_) => "to its child, later",
            Rule::Blackhole(_) => "to the first, or to the second if the request fits",
            Rule::Client(_) => "to one of them, by the client's address",
            Rule::Balance { .. } => "to one of them by hash, where that fails to others",
            Rule::Outstanding(_) => "to its child, so many at a time",
        }
    }
}

/// Which requests are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Those of keys whose SpookyHash V2 of 32 bits is at least this,
    pub first_hash: u32,
    /// and at most this.
    pub last_hash: u32,
    /// Of those, so many of a million at random.
    pub per_million: u32,
    /// The range of hashes that goes before this one while it has a value.
    pub variable: Option<Variable>,
    /// Of these keys alone, without what follows a hash stop; nothing: of all.
    pub keys: Vec<String>,
}

impl Shadow {
    /// All of them.
    pub const ALL: Shadow = Shadow {
        first_hash: 0,
        last_hash: u32::MAX,
        per_million: 1_000_000,
        variable: None,
        keys: Vec::new(),
    };

    /// Whether requests of this key may be copied.
    pub fn takes(&self, key: &[u8]) -> bool {
        let all = (self.first_hash, self.last_hash) == (0, u32::MAX);
        if all && self.keys.is_empty() && self.variable.is_none() {
            return true;
        }
        let key = routing_key(key, None, true);
        if !self.keys.is_empty() && !self.keys.iter().any(|one| one.as_bytes() == key) {
            return false;
        }
        let range = self.variable.and_then(Variable::range);
        let (first, last) = range.unwrap_or((self.first_hash, self.last_hash));
        (first..=last).contains(&spooky32(key, 0))
    }

    /// Whether this one is, by a random number.
    pub const fn samples(&self, random: u64) -> bool {
        // The upper bits are the better ones.
        (random >> 20) % 1_000_000 < self.per_million as u64
    }
}

/// When a failover goes on, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// What counts as a failure of a get.
    pub gets: Verdicts,
    /// Of an update. Increments and touches go by the default.
    pub updates: Verdicts,
    /// Of a deletion.
    pub deletes: Verdicts,
    /// So many children at most, at least 1; those with the fewest failures in a row come before others, but for the
    /// first one. `None`: all, in their order.
    pub max_tries: Option<u32>,
    /// How many requests may go on.
    pub limit: Option<Limit>,
    /// So many seconds at most lives what is stored anywhere but in the first child; 0 for no bound.
    pub exptime: u32,
    /// Whether a lease is used where it was given.
    pub lease_pairing: bool,
    /// Whether keys with a hash stop get [`TAG`] at their end anywhere but in the first child.
    pub tag: bool,
}

/// What tells a server, or a route further down, that a request has failed elsewhere.
pub const TAG: &str = ":failover=1";

impl Failover {
    /// As a failover is where nothing is said.
    pub const DEFAULT: Failover = Failover {
        gets: Verdicts::DEFAULT,
        updates: Verdicts::DEFAULT,
        deletes: Verdicts::DEFAULT,
        max_tries: None,
        limit: None,
        exptime: 0,
        lease_pairing: false,
        tag: false,
    };
}

/// A bound on how many of all requests fail over. Failures of a server that is known to be down do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of a million requests.
    pub per_million: u32,
    /// So many may fail over in a row when none has for long; at least 1.
    pub burst: u32,
}

/// A set of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts(u16);

impl Verdicts {
    /// None.
    pub const NONE: Verdicts = Verdicts(0);

    /// What fails over where nothing is said.
    pub const DEFAULT: Verdicts = Verdicts::NONE
        .with(Verdict::Timeout)
        .with(Verdict::ConnectError)
        .with(Verdict::Tko)
        .with(Verdict::Busy)
        .with(Verdict::RemoteError)
        .with(Verdict::LocalError);

    /// The set with one more.
    #[must_use]
    pub const fn with(self, verdict: Verdict) -> Verdicts {
        Verdicts(self.0 | 1 << verdict as u16)
    }

    /// Whether it is in the set.
    pub const fn has(self, verdict: Verdict) -> bool {
        self.0 & 1 << verdict as u16 != 0
    }

    /// The names of what is in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = Verdict::FAILURES.into_iter();
        all.filter(move |(_, verdict)| self.has(*verdict))
            .map(|(name, _)| name)
    }
}

/// How a request ended; mcrouter's results, as far as memcached's protocol can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `DELETED`, or its like in the meta protocol.
    Deleted,
    /// `TOUCHED`
    Touched,
    /// A get has found its item.
    Found,
    /// A miss, or `NOT_FOUND`.
    NotFound,
    /// `NOT_STORED`
    NotStored,
    /// `STORED`, or the new number.
    Stored,
    /// `EXISTS`
    Exists,
    /// `OK`
    Ok,
    /// No answer in time.
    Timeout,
    /// No connection.
    ConnectError,
    /// The server is out of service.
    Tko,
    /// `SERVER_ERROR 307`
    Busy,
    /// The key is too long.
    BadKey,
    /// `CLIENT_ERROR`
    ClientError,
    /// The router could not send it.
    LocalError,
    /// Any other error of the server, or of the connection to it.
    RemoteError,
}

impl Verdict {
    /// The failures, with their names in the configuration.
    pub const FAILURES: [(&'static str, Verdict); 8] = [
        ("timeout", Verdict::Timeout),
        ("connect", Verdict::ConnectError),
        ("down", Verdict::Tko),
        ("busy", Verdict::Busy),
        ("remote", Verdict::RemoteError),
        ("local", Verdict::LocalError),
        ("client", Verdict::ClientError),
        ("bad-key", Verdict::BadKey),
    ];

    /// Whether it is a failure.
    pub const fn is_error(self) -> bool {
        self.fails_over() || matches!(self, Verdict::ClientError | Verdict::BadKey)
    }

    /// How bad it is: a reply is worse than another if this is larger.
    pub const fn severity(self) -> u8 {
        match self {
            Verdict::Deleted | Verdict::Found | Verdict::Stored | Verdict::Exists | Verdict::Ok => {
                1
            }
            Verdict::NotFound | Verdict::NotStored => 4,
            Verdict::Timeout | Verdict::ConnectError | Verdict::Tko | Verdict::Busy => 5,
            Verdict::BadKey => 6,
            Verdict::RemoteError => 7,
            Verdict::LocalError => 8,
            Verdict::ClientError => 9,
            // mcrouter has forgotten it in its list.
            Verdict::Touched => 10,
        }
    }

    /// Whether a failover goes on, unless it is told otherwise.
    pub const fn fails_over(self) -> bool {
        matches!(
            self,
            Verdict::Timeout
                | Verdict::ConnectError
                | Verdict::Tko
                | Verdict::Busy
                | Verdict::LocalError
                | Verdict::RemoteError
        )
    }

    /// Whether the item was there, or all is well.
    pub const fn is_hit(self) -> bool {
        matches!(
            self,
            Verdict::Deleted | Verdict::Touched | Verdict::Found | Verdict::Ok
        )
    }
}
