//! What clients and servers of a run have in common: where keys live, and what has gone wrong so far.
//!
//! A reply may be an error, or a miss that isn't one, only if a server of its key had a fault while the
//! request was under way. Whether it had is read off a fingerprint of that server's figures and of the
//! faults that were put in; it is taken when a request is made and compared when its reply is read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use super::memcached::Item;
use super::oracle::{Rules, records};
use super::plan::{Fault, Setup, Shape, Tight};
use crate::config::{Config, Keys, OnFailure, Route};
use crate::route::big_value::{FLAG, Metadata};
use crate::route::compile::Snapshot;
use crate::stats;
use crate::worker::core::Local;

/// The figures of all destinations that were ever opened, by their server's name.
pub type Figures = Arc<Mutex<Vec<(String, Arc<stats::Destination>)>>>;

/// The router's own answers.
pub struct Answers {
    pub figures: Figures,
}

pub const VERSION: &[u8] = b"VERSION 1.6.45-model\r\n";
pub const STATS: &[u8] = b"STAT a 1\r\nSTAT b 2\r\nEND\r\n";

impl Local for Answers {
    fn version(&self) -> &[u8] {
        VERSION
    }

    fn stats(&mut self, _args: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(STATS);
    }

    fn opened(&mut self, _: &str, name: &str, figures: Arc<stats::Destination>) {
        let entry = (name.to_owned(), figures);
        self.figures.lock().unwrap().push(entry);
    }

    fn troubled(&mut self, _name: &str) {}
    fn closed(&mut self, _figures: &Arc<stats::Destination>) {}
}

pub struct Env {
    pub setup: Setup,
    pub config: Config,
    pub snapshot: Arc<Snapshot>,
    /// Counts reloads.
    pub epoch: u32,
    pub figures: Figures,
    /// Faults put into each server.
    pub injected: Vec<u64>,
    /// Which key each record was written for.
    written: HashMap<(u64, u64), Vec<u8>>,
    next: u64,
    /// All is well now: nothing may fail, whatever the setup.
    pub strict: bool,
    /// Servers change while a client asks before it has its replies: a get that is overtaken by an update may miss.
    pub overtakes: bool,
}

impl Env {
    pub fn new(setup: Setup, figures: Figures) -> Env {
        let config = setup.config(0);
        let snapshot = Arc::new(setup.snapshot(0));
        Env {
            injected: vec![0; setup.servers],
            setup,
            config,
            snapshot,
            epoch: 0,
            figures,
            written: HashMap::new(),
            next: 1,
            strict: false,
            overtakes: false,
        }
    }

    /// A number nobody else has.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Notes that a record is about to be written.
    pub fn writes(&mut self, writer: u64, number: u64, key: &[u8]) {
        self.written.insert((writer, number), key.to_vec());
    }

    /// The pools that a key may be sent to, and whether a reply decides which.
    fn pools(&self, key: &[u8]) -> (Vec<usize>, bool) {
        let mut pools = Vec::new();
        let mut decides = false;
        let mut todo = vec![&self.config.route];
        while let Some(route) = todo.pop() {
            match route {
                Route::Pool(pool) => {
                    let settings = &self.config.pools[*pool];
                    decides |= settings.on_failure == Some(OnFailure::Next);
                    decides |= settings.gutter.is_some();
                    pools.push(*pool);
                    pools.extend(settings.gutter.map(|gutter| gutter.pool));
                }
                Route::Prefix { prefixes, default } => todo.push(
                    prefixes
                        .iter()
                        .find(|(prefix, _)| key.starts_with(prefix))
                        .map_or(&**default, |(_, route)| route),
                ),
                Route::Failover { children, .. } | Route::Many { children, .. } => {
                    decides = true;
                    todo.extend(children);
                }
                Route::WarmUp { cold, warm, .. } => {
                    decides = true;
                    todo.extend([&**cold, &**warm]);
                }
                Route::BigValue { child, .. } => todo.push(child),
                Route::Choose(choose) => todo.extend(choose.children()),
                Route::Keys(keys) => todo.extend(keys.children()),
            }
        }
        (pools, decides)
    }

    /// The numbers of the servers that may get a key.
    pub fn servers(&self, key: &[u8]) -> Vec<usize> {
        let (pools, _) = self.pools(key);
        let sent = match &self.config.route {
            Route::Keys(Keys::Modify { modify, .. }) => modify.apply(key),
            _ => None,
        };
        let key = sent.as_deref().unwrap_or(key);
        let mut servers = Vec::new();
        for index in pools {
            let pool = &self.snapshot.pools[index];
            let tried = match self.config.pools[index].on_failure {
                Some(OnFailure::Next) => 3,
                _ => 1,
            };
            let order = pool.selector.as_ref().unwrap().successors(key);
            let specs = order.iter().take(tried).map(|at| &pool.servers[*at]);
            servers.extend(specs.map(|spec| number_of(&spec.addr.to_string())));
        }
        servers
    }

    /// Whether the key's route depends on replies.
    pub fn decides(&self, key: &[u8]) -> bool {
        self.pools(key).1
    }

    /// A fingerprint of everything that has gone wrong with the servers of a key.
    pub fn disturbance(&self, key: &[u8]) -> u64 {
        if !self.setup.faults || self.strict {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        self.epoch.hash(&mut hasher);
        let figures = self.figures.lock().unwrap();
        let servers = match self.setup.threshold() {
            None => self.servers(key),
            // The parts of a value may be anywhere.
            Some(_) => (0..self.setup.servers).collect(),
        };
        for server in servers {
            self.injected[server].hash(&mut hasher);
            for (_, f) in figures.iter().filter(|(name, _)| number_of(name) == server) {
                for counter in [
                    &f.timeouts,
                    &f.failures,
                    &f.connects,
                    &f.connections,
                    &f.downs,
                    &f.down,
                ] {
                    counter.get().hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }

    /// The sum of one of the figures over all destinations.
    pub fn total(&self, figure: impl Fn(&stats::Destination) -> &stats::Counter) -> u64 {
        let figures = self.figures.lock().unwrap();
        figures.iter().map(|(_, f)| figure(f).get()).sum()
    }

    pub fn rules(&self, disturbed: bool) -> Rules {
        Rules {
            disturbed: (disturbed || self.overtakes) && !self.strict,
            vanish: (self.setup.flush || self.setup.allows(Fault::Restart)) && !self.strict,
            appear: match self.setup.route {
                Shape::WarmUp | Shape::WarmUpOfFailover | Shape::FailoverOfWarmUps { .. } => true,
                // What an update missed while its server was down.
                Shape::Failover { on_miss } => on_miss && self.setup.faults,
                _ => false,
            },
            replays: self.setup.faults && !self.strict,
            in_parts: self.setup.threshold().is_some(),
        }
    }

    /// Whether the worker may lack the memory to put a value together.
    pub fn may_refuse_gets(&self) -> bool {
        matches!(self.setup.limits, Tight::WorkerBytes(_)) && self.setup.threshold().is_some()
    }

    /// The flags of a value as the client set them; checks that they say whether it is stored in parts.
    pub fn flags(&self, flags: u32, len: usize) -> u32 {
        let hide = self.setup.route == Shape::BigValue { hide: true };
        let marked = flags & FLAG != 0;
        match self.setup.threshold() {
            Some(most) if len > most && !hide => assert!(marked, "not stored in parts"),
            _ => assert!(!marked, "a mark that is not to be seen"),
        }
        flags & !FLAG
    }

    /// Panics unless an item of a server is what may be there.
    pub fn check_item(&self, key: &[u8], item: &Item) {
        // Servers have them under other keys there.
        let key = match self.setup.route {
            Shape::Modify => key
                .strip_prefix(b"p:")
                .expect("the beginning they all have"),
            _ => key,
        };
        let Some(most) = self.setup.threshold() else {
            return self.check_value(key, &item.value, true);
        };
        let is_part = key.split(|b| *b == b':').count() > 3;
        if item.flags & FLAG != 0 {
            assert!(!is_part && Metadata::parse(&item.value).is_some());
        } else if is_part {
            assert!((1..=most).contains(&item.value.len()));
        } else {
            self.check_value(key, &item.value, true);
        }
    }

    /// Panics unless the value (or its beginning) was written for this key.
    pub fn check_value(&self, key: &[u8], value: &[u8], whole: bool) {
        if let Some(code) = numeric(key) {
            let text = std::str::from_utf8(value).unwrap_or("no text");
            if whole {
                let number = text.trim_end().parse::<u64>().unwrap_or(0);
                assert_eq!(number / NUMBERS, code, "{}: {text}", key.escape_ascii());
            }
            return;
        }
        match records(key, value, whole) {
            Ok(found) => {
                for record in found {
                    let owner = self.written.get(&record);
                    assert_eq!(owner.map(|k| &k[..]), Some(key), "record {record:?}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A numeric key's values lie in a range of this length of their own.
pub const NUMBERS: u64 = 1_000_000;

/// For keys of numbers (`a:<client>:#<n>`): which range its values lie in.
pub fn numeric(key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(key).ok()?;
    let mut parts = text.split(':');
    let prefix = u64::from(parts.next()?.bytes().next()?);
    let client: u64 = parts.next()?.parse().ok()?;
    let n: u64 = parts.next()?.strip_prefix('#')?.parse().ok()?;
    Some((client * 256 + prefix) * 4 + n)
}

/// A server's number from its name, `s0` and up, or its address, `127.0.0.1:1000` and up.
pub fn number_of(name: &str) -> usize {
    if let Some(number) = name.strip_prefix('s') {
        return number.parse().unwrap();
    }
    let port: usize = name
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .unwrap();
    port - 1000
}
