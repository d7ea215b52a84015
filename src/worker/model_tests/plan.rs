//! What a run does: drawn by proptest, so that a failing run shrinks to a short one.
//!
//! Each step carries a seed of its own for the details (sizes of chunks, which keys), so that leaving out
//! other steps does not change what it does. Every run switches a random part of the kinds of faults and
//! requests off: a bug that needs many of one kind is found sooner in a run that has nothing else.

use std::time::Duration;

use proptest::prelude::*;

use crate::config::{
    Config, FailoverOn, Gutter, Keys, Limits, Modify, OnFailure, OnReturn, Pool, Queue, Route,
    Server, ServerAddr, Tko,
};
use crate::hash::Placement;
use crate::route::compile::Snapshot;

/// A small generator for the details of a step (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What is the same for a whole run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether anything goes wrong; without, replies are checked exactly.
    pub faults: bool,
    pub servers: usize,
    pub clients: usize,
    pub connections: usize,
    pub coalesce: bool,
    pub route: Shape,
    pub miss_on_errors: bool,
    pub flush: bool,
    /// Values that are streamed.
    pub big: bool,
    pub limits: Tight,
    /// Kinds of faults that occur.
    pub tricks: u32,
    /// Microseconds; short enough to be hit.
    pub connect_timeout: u64,
    pub tko_after: u32,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Pool,
    /// A pool whose keys go on to the next servers.
    Next,
    /// A pool and another that takes what its servers can't.
    Gutter,
    Prefix,
    /// A pool whose servers see other keys.
    Modify,
    Failover {
        on_miss: bool,
    },
    FailoverOfPrefix,
    WarmUp,
    WarmUpOfFailover,
    FailoverOfWarmUps {
        on_miss: bool,
    },
    BigValue {
        hide: bool,
    },
    BigValueOfFailover,
    FailoverOfBigValue,
    BigValueOfWarmUp,
}

/// Which bounds are so small that they are met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tight {
    Nothing,
    ClientRequests(usize),
    ClientBytes(usize),
    Queue(usize),
    QueueBytes(usize),
    WorkerBytes(usize),
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    Request {
        client: usize,
        what: What,
        seed: u64,
    },
    /// Some turns of the event loop.
    Turns {
        count: usize,
        seed: u64,
    },
    Fault {
        server: usize,
        fault: Fault,
        seed: u64,
    },
    /// Time passes, in thousandths of the pool's timeout.
    Pass(u64),
    Reload(usize),
    Client {
        client: usize,
        act: Act,
        seed: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Get,
    GetMany,
    GetVeryMany,
    Gat,
    Set,
    Update,
    Cas,
    Delete,
    Arith,
    Touch,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaArith,
    Quiet,
    Debug,
    Local,
    Refused,
    TooLarge,
    Flush,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// New connections are refused, or accepted again.
    Refuse,
    /// Connecting takes for ever.
    Hang,
    /// It stops answering, or goes on.
    Stall,
    /// All its connections are closed.
    Drop,
    /// It starts again, with its items gone or not.
    Restart,
    /// What its next fitting reply is replaced by.
    Lie(Lie),
    /// Bytes that nobody asked for.
    Unasked,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    ServerError,
    Garbage,
    WrongKey,
    WrongOpaque,
    WrongKind,
    BadEnd,
    DropBefore,
    DropAfter,
    DropHalfWay,
    /// As `DropHalfWay`, of a value that is passed on while it arrives.
    BreakOff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// It leaves in the middle of things, and another one comes.
    Vanish,
    /// As `Vanish`, with half a request sent.
    VanishMidRequest,
    HalfClose,
    Quit,
    StopReading,
    ReadOn,
}

/// The kinds of [`Step::Fault`], by their bit in [`Setup::tricks`].
const FAULTS: [Fault; 16] = [
    Fault::Refuse,
    Fault::Hang,
    Fault::Stall,
    Fault::Drop,
    Fault::Restart,
    Fault::Unasked,
    Fault::Lie(Lie::ServerError),
    Fault::Lie(Lie::Garbage),
    Fault::Lie(Lie::WrongKey),
    Fault::Lie(Lie::WrongOpaque),
    Fault::Lie(Lie::WrongKind),
    Fault::Lie(Lie::BadEnd),
    Fault::Lie(Lie::DropBefore),
    Fault::Lie(Lie::DropAfter),
    Fault::Lie(Lie::DropHalfWay),
    Fault::Lie(Lie::BreakOff),
];

/// What is stored in the gutter of [`Shape::Gutter`] lives so many seconds at most.
pub const GUTTER_EXPTIME: u32 = 77;

/// The bit of the last one.
const BREAK_OFF: u32 = 1 << (FAULTS.len() - 1);

/// All kinds, those more often that are rare because they need much else.
fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => prop::sample::select(FAULTS.to_vec()),
        1 => Just(Fault::Lie(Lie::BreakOff)),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        3 => Just(Shape::Pool),
        2 => Just(Shape::Next),
        2 => Just(Shape::Gutter),
        2 => Just(Shape::Prefix),
        2 => Just(Shape::Modify),
        1 => Just(Shape::Failover { on_miss: false }),
        1 => Just(Shape::Failover { on_miss: true }),
        1 => Just(Shape::FailoverOfPrefix),
        1 => Just(Shape::WarmUp),
        1 => Just(Shape::WarmUpOfFailover),
        1 => any::<bool>().prop_map(|on_miss| Shape::FailoverOfWarmUps { on_miss }),
        2 => any::<bool>().prop_map(|hide| Shape::BigValue { hide }),
        1 => Just(Shape::BigValueOfFailover),
        1 => Just(Shape::FailoverOfBigValue),
    ]
}

fn tight() -> impl Strategy<Value = Tight> {
    prop_oneof![
        5 => Just(Tight::Nothing),
        1 => (1usize..5).prop_map(Tight::ClientRequests),
        1 => (1usize..3000).prop_map(Tight::ClientBytes),
        1 => (1usize..6).prop_map(Tight::Queue),
        1 => (1usize..400).prop_map(Tight::QueueBytes),
        1 => (1usize..200_000).prop_map(Tight::WorkerBytes),
    ]
}

pub fn setup() -> impl Strategy<Value = Setup> {
    let shape_of_it = (3usize..7, 1usize..7, 1usize..4, any::<bool>(), shape());
    let switches = (
        any::<bool>(),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.4),
        tight(),
    );
    let trouble = (
        prop::bool::weighted(0.7),
        any::<u32>(),
        prop::sample::select(vec![20_000u64, 100_000, 1_000_000]),
        1u32..4,
        any::<u64>(),
    );
    (shape_of_it, switches, trouble).prop_map(|(a, b, c)| Setup {
        faults: c.0,
        servers: a.0,
        clients: a.1,
        connections: a.2,
        coalesce: a.3,
        route: a.4,
        miss_on_errors: b.0,
        flush: b.1,
        big: b.2 || matches!(a.4, Shape::FailoverOfWarmUps { .. }),
        // Full queues and closed clients are faults, too.
        limits: match b.3 {
            Tight::Queue(_) | Tight::QueueBytes(_) | Tight::WorkerBytes(_) if !c.0 => {
                Tight::Nothing
            }
            tight => tight,
        },
        tricks: match a.4 {
            Shape::FailoverOfWarmUps { .. } => c.1 | BREAK_OFF,
            _ => c.1,
        },
        connect_timeout: c.2,
        tko_after: c.3,
        seed: c.4,
    })
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        8 => Just(What::Get),
        4 => Just(What::GetMany),
        1 => Just(What::GetVeryMany),
        1 => Just(What::Gat),
        8 => Just(What::Set),
        3 => Just(What::Update),
        1 => Just(What::Cas),
        2 => Just(What::Delete),
        2 => Just(What::Arith),
        1 => Just(What::Touch),
        3 => Just(What::MetaGet),
        3 => Just(What::MetaSet),
        1 => Just(What::MetaDelete),
        1 => Just(What::MetaArith),
        2 => Just(What::Quiet),
        1 => Just(What::Debug),
        1 => Just(What::Local),
        1 => Just(What::Refused),
        1 => Just(What::TooLarge),
        1 => Just(What::Flush),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop::sample::select(vec![
        Act::Vanish,
        Act::VanishMidRequest,
        Act::HalfClose,
        Act::Quit,
        Act::StopReading,
        Act::ReadOn,
        Act::ReadOn,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let request = (0usize..6, what(), any::<u64>());
    prop_oneof![
        50 => request.prop_map(|(client, what, seed)| Step::Request { client, what, seed }),
        25 => (1usize..5, any::<u64>()).prop_map(|(count, seed)| Step::Turns { count, seed }),
        6 => (0usize..6, fault(), any::<u64>())
            .prop_map(|(server, fault, seed)| Step::Fault { server, fault, seed }),
        2 => (1u64..2500).prop_map(Step::Pass),
        1 => (0usize..4).prop_map(Step::Reload),
        2 => (0usize..6, act(), any::<u64>())
            .prop_map(|(client, act, seed)| Step::Client { client, act, seed }),
    ]
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        3 => prop::collection::vec(step(), 1..60),
        1 => prop::collection::vec(step(), 60..250),
    ]
}

impl Setup {
    /// Whether this kind of fault occurs in this run.
    pub fn allows(&self, fault: Fault) -> bool {
        let bit = FAULTS.iter().position(|f| *f == fault).unwrap_or(0);
        self.faults && self.tricks & (1 << bit) != 0
    }

    /// How long a request may take, in microseconds. Without faults nothing is meant to take that long.
    pub fn timeout(&self) -> u64 {
        if self.faults { 100_000 } else { 100_000_000 }
    }

    /// The largest value.
    pub fn max_value(&self) -> usize {
        if self.big { 150_000 } else { 20_000 }
    }

    /// Values over this many bytes are stored in parts, if any are.
    pub fn threshold(&self) -> Option<usize> {
        let size = if self.big { 36_000 } else { 500 };
        match self.route {
            Shape::BigValue { .. }
            | Shape::BigValueOfFailover
            | Shape::BigValueOfWarmUp
            | Shape::FailoverOfBigValue => Some(size),
            _ => None,
        }
    }

    fn in_parts(&self, child: Route, hide_reply_flag: bool) -> Route {
        Route::BigValue {
            child: Box::new(child),
            split_threshold: self.threshold().unwrap_or(usize::MAX),
            batch_size: 1 + (self.seed % 5) as usize,
            hide_reply_flag,
        }
    }

    /// The configuration after so many reloads; `variant` is what changes.
    pub fn config(&self, variant: usize) -> Config {
        let all: Vec<usize> = (0..self.servers).collect();
        // A reload takes a server out, or changes how the servers are talked to.
        let main: Vec<usize> = match variant {
            1 => all[1..].to_vec(),
            2 => all.iter().rev().copied().collect(),
            4 => all[..all.len() - 1].to_vec(),
            _ => all.clone(),
        };
        let half = self.servers / 2;
        let pool = |name: &str, servers: &[usize]| {
            let servers = servers
                .iter()
                .map(|n| Server {
                    name: format!("s{n}"),
                    ..Server::new(ServerAddr::Tcp(([127, 0, 0, 1], 1000 + *n as u16).into()))
                })
                .collect();
            Pool {
                placement: Placement::default(),
                timeout: Duration::from_micros(self.timeout() + u64::from(variant == 3)),
                connect_timeout: Duration::from_micros(self.connect_timeout),
                connections: self.connections,
                // In most of them connections are idle now and then.
                idle_close: Duration::from_millis(
                    [0, 5, 50, 60_000][(self.seed >> 20) as usize % 4],
                ),
                coalesce: self.coalesce,
                tko: Tko {
                    after: self.tko_after,
                    probe_min: Duration::from_millis(10),
                    probe_max: Duration::from_millis(200),
                    recover: 1 + (self.seed >> 8) as u32 % 3,
                    hold_down: Duration::from_millis(25 * (self.seed >> 16 & 3)),
                    ..Tko::default()
                },
                queue: Queue {
                    requests: match self.limits {
                        Tight::Queue(n) => n,
                        _ => 4096,
                    },
                    bytes: match self.limits {
                        Tight::QueueBytes(n) => n,
                        _ => 4 << 20,
                    },
                    in_flight: [0, 0, 1, 3][(self.seed >> 24) as usize % 4],
                },
                ..Pool::new(name, servers)
            }
        };
        let reasons = |on_miss| match on_miss {
            true => FailoverOn::ALL.to_vec(),
            false => FailoverOn::DEFAULT.to_vec(),
        };
        let warm_up = |cold, warm| Route::WarmUp {
            cold: Box::new(Route::Pool(cold)),
            warm: Box::new(Route::Pool(warm)),
            exptime: Some(0),
        };
        let mut config = Config::single_pool(Vec::new(), pool("all", &main));
        config.pools.push(pool("low", &all[..half]));
        config.pools.push(pool("high", &all[half..]));
        let on_return = match self.seed / 16 % 4 {
            0 => None,
            1 => Some(OnReturn::Trust),
            // It takes items that no fault has touched.
            2 if self.flush || self.allows(Fault::Restart) => Some(OnReturn::Cold),
            _ => Some(OnReturn::Replay),
        };
        for pool in &mut config.pools {
            pool.on_return = on_return;
        }
        config.route = match self.route {
            Shape::Pool => Route::Pool(0),
            Shape::Next => {
                for pool in &mut config.pools {
                    pool.on_failure = Some(OnFailure::Next);
                }
                Route::Pool(0)
            }
            Shape::Gutter => {
                config.pools[1].gutter = Some(Gutter {
                    pool: 2,
                    exptime: GUTTER_EXPTIME,
                });
                Route::Pool(1)
            }
            Shape::Prefix => Route::Prefix {
                prefixes: vec![
                    (b"a".to_vec(), Route::Pool(1)),
                    (b"b".to_vec(), Route::Pool(2)),
                ],
                default: Box::new(Route::Pool(0)),
            },
            Shape::Modify => Route::Keys(Keys::Modify {
                child: Box::new(Route::Pool(0)),
                modify: Modify {
                    ensure_key_prefix: "p:".to_owned(),
                    ..Modify::default()
                },
            }),
            Shape::Failover { on_miss } => Route::Failover {
                children: vec![Route::Pool(1), Route::Pool(2)],
                on: reasons(on_miss),
            },
            Shape::FailoverOfPrefix => Route::Failover {
                children: vec![
                    Route::Pool(1),
                    Route::Prefix {
                        prefixes: vec![(b"a".to_vec(), Route::Pool(1))],
                        default: Box::new(Route::Pool(2)),
                    },
                    Route::Prefix {
                        prefixes: vec![(b"a".to_vec(), Route::Pool(2))],
                        default: Box::new(Route::Pool(0)),
                    },
                ],
                on: FailoverOn::DEFAULT.to_vec(),
            },
            Shape::WarmUp => warm_up(1, 2),
            Shape::WarmUpOfFailover => Route::WarmUp {
                cold: Box::new(Route::Pool(1)),
                warm: Box::new(Route::Failover {
                    children: vec![Route::Pool(2), Route::Pool(0)],
                    on: reasons(true),
                }),
                exptime: Some(60),
            },
            // What the first warm-up fails with while a value arrives must not reach the second.
            Shape::FailoverOfWarmUps { on_miss } => Route::Failover {
                children: vec![warm_up(1, 2), warm_up(2, 0), Route::Pool(0)],
                on: reasons(on_miss),
            },
            Shape::BigValue { hide } => self.in_parts(Route::Pool(0), hide),
            Shape::BigValueOfFailover => {
                let on = FailoverOn::DEFAULT.to_vec();
                let children = vec![Route::Pool(1), Route::Pool(2)];
                self.in_parts(Route::Failover { children, on }, false)
            }
            Shape::BigValueOfWarmUp => self.in_parts(warm_up(1, 2), false),
            Shape::FailoverOfBigValue => Route::Failover {
                children: vec![
                    self.in_parts(Route::Pool(1), false),
                    self.in_parts(Route::Pool(2), false),
                ],
                on: FailoverOn::DEFAULT.to_vec(),
            },
        };
        config.flush_all = self.flush;
        config.miss_on_get_errors = self.miss_on_errors;
        config.limits = Limits {
            max_value: self.max_value(),
            client_requests: match self.limits {
                Tight::ClientRequests(n) => n,
                _ => 1024,
            },
            client_bytes: match self.limits {
                Tight::ClientBytes(n) => n,
                _ if self.big => 100_000,
                _ => 1 << 20,
            },
            worker_bytes: match self.limits {
                Tight::WorkerBytes(n) => n,
                _ => 256 << 20,
            },
            worker_requests: [0, 0, 0, 2][(self.seed >> 28) as usize % 4],
            ..Limits::default()
        };
        config
    }

    pub fn snapshot(&self, variant: usize) -> Snapshot {
        Snapshot::compile(&self.config(variant)).expect("the configuration is good")
    }
}
