//! The replayer: reads files oldest first, delivers what they say, and removes each that is delivered completely.
//!
//! Invariants: deletions for one server are sent in the order of the files and their lines, and each is sent only when
//! all before it have been answered or sent on the same connection; once one fails, no later one for that server is sent
//! in the same pass. A file is removed only when every line of it has been answered by its server, or counts as
//! delivered by what the caller says. A file that somebody has locked is being written and is left alone; so is a file
//! of mcrouter, which locks none, until it is too old to be written. Half a line is ignored where a file ends.
//!
//! Blocking. Who runs it, in the daemon or on the command line, says where servers are ([`Servers`]) and is told
//! what happens ([`Event`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::deliver::Link;
use super::line::{self, MAX_LINE, Place, Unreadable};
use super::store::{self, Listed};
use crate::config::ServerAddr;

/// Lines that are read, and of them those of one server sent, at a time.
const CHUNK: usize = 256;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There.
    At(ServerAddr),
    /// It is not known; its lines stay.
    Unknown,
    /// Its lines count as delivered.
    Dropped,
}

/// Who knows where servers are.
pub trait Servers {
    /// Where this one is.
    fn find(&self, place: &Place) -> Found;
}

impl<F: Fn(&Place) -> Found> Servers for F {
    fn find(&self, place: &Place) -> Found {
        self(place)
    }
}

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// Deletions in a second, at most; 0 is for no bound.
    pub rate: u64,
    /// How long connecting or an answer may take.
    pub timeout: Duration,
    /// Only count what would be sent.
    pub dry_run: bool,
    /// Files of mcrouter are complete, however young: it has ended.
    pub mcrouter_has_ended: bool,
}

/// What happens in a pass.
#[derive(Debug)]
pub enum Event<'e> {
    /// Files are to be looked at, so many, with so many bytes.
    Begin {
        /// How many.
        files: usize,
        /// Their length.
        bytes: u64,
    },
    /// A file was gone through.
    File {
        /// Which.
        path: &'e Path,
        /// How that ended.
        outcome: &'e Outcome,
    },
    /// A server could not be reached, or broke off.
    Failed {
        /// Which.
        place: &'e Place,
        /// Why.
        error: &'e io::Error,
    },
    /// More has been delivered; comes often.
    Progress {
        /// So far in this pass.
        totals: &'e Totals,
    },
}

/// How it ended with a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// It is being written.
    pub in_use: bool,
    /// All of it is delivered, and it is removed (or would be, with `dry_run`).
    pub removed: bool,
    /// Lines that are no deletions of a key: they keep it from being removed. By the number of the line.
    pub unreadable: Vec<(u64, Unreadable)>,
    /// Its last line is only half there.
    pub half_line: bool,
    /// Lines that wait for their servers.
    pub waiting: u64,
    /// It could not be read or removed.
    pub error: Option<io::ErrorKind>,
}

/// Sums over a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Deletions that servers have answered; with `dry_run`, that would be sent.
    pub delivered: u64,
    /// Of these, those that servers refused as no keys.
    pub refused: u64,
    /// Lines of servers that count as delivered.
    pub dropped: u64,
    /// Lines that wait for their servers.
    pub waiting: u64,
    /// Of these, those of servers that are not known.
    pub unknown: u64,
    /// Lines that are no deletions of a key.
    pub unreadable: u64,
    /// Files removed.
    pub files: u64,
    /// Files that are left, those in use included.
    pub files_left: u64,
    /// By server: deletions delivered and waiting.
    pub servers: BTreeMap<Place, (u64, u64)>,
}

/// At most so many lines that are no deletions are told of, for each file.
const MAX_TOLD: usize = 20;

/// Goes through a directory again and again.
pub struct Replayer {
    options: Options,
    links: HashMap<Place, Link>,
    /// Files that have been read and are still there.
    known: HashMap<PathBuf, Known>,
    /// From when on more may be sent.
    free_at: Option<Instant>,
}

/// What is known of a file that has been read, so that it is not read again for nothing and nothing of it is sent
/// again for another server's sake.
#[derive(Default)]
struct Known {
    /// Servers that have all of it that is for them.
    done: HashSet<Place>,
    /// The others, and how many lines are for each. None: nothing is left to be delivered, but it can't be removed.
    waits: BTreeMap<Place, u64>,
}

struct Pass<'p> {
    servers: &'p dyn Servers,
    stop: &'p AtomicBool,
    totals: Totals,
    /// Nothing more for these now.
    failed: BTreeSet<Place>,
}

impl Pass<'_> {
    /// Whether nothing can be delivered to a server in this pass.
    fn can_do_nothing(&self, place: &Place) -> bool {
        self.failed.contains(place) || self.servers.find(place) == Found::Unknown
    }

    /// So many lines wait for a server.
    fn waits(&mut self, place: &Place, lines: u64) {
        self.totals.servers.entry(place.clone()).or_default().1 += lines;
        self.totals.waiting += lines;
        if self.servers.find(place) == Found::Unknown {
            self.totals.unknown += lines;
        }
    }
}

impl Replayer {
    /// One that has done nothing yet.
    pub fn new(options: Options) -> Replayer {
        Replayer {
            options,
            links: HashMap::new(),
            known: HashMap::new(),
            free_at: None,
        }
    }

    /// Whether a server answers, now or by a connection that is open.
    pub fn reaches(&mut self, place: &Place, servers: &dyn Servers) -> bool {
        match servers.find(place) {
            Found::At(addr) => self.link(place, &addr).is_ok(),
            Found::Unknown | Found::Dropped => false,
        }
    }

    /// Goes through all files once.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn pass(
        &mut self,
        dir: &Path,
        servers: &dyn Servers,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<Totals> {
        let all = store::list(dir)?;
        let there: HashSet<&PathBuf> = all.iter().map(|one| &one.path).collect();
        self.known.retain(|path, _| there.contains(path));
        tell(Event::Begin {
            files: all.len(),
            bytes: all.iter().map(|one| one.len).sum(),
        });
        let mut pass = Pass {
            servers,
            stop,
            totals: Totals::default(),
            failed: BTreeSet::new(),
        };
        for listed in &all {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Some(known) = self.known.get(&listed.path)
                && known.waits.keys().all(|place| pass.can_do_nothing(place))
            {
                for (place, lines) in &known.waits {
                    pass.waits(place, *lines);
                }
                pass.totals.files_left += 1;
                continue;
            }
            let outcome = match self.file(listed, &mut pass, tell) {
                Ok(outcome) => outcome,
                // Removed by somebody else.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Outcome {
                    error: Some(error.kind()),
                    ..Outcome::default()
                },
            };
            match outcome.removed {
                true => pass.totals.files += 1,
                false => pass.totals.files_left += 1,
            }
            tell(Event::File {
                path: &listed.path,
                outcome: &outcome,
            });
        }
        // Servers close connections that are idle; one that is is not worth keeping.
        self.links.retain(|place, _| {
            pass.totals
                .servers
                .get(place)
                .is_some_and(|(delivered, _)| *delivered > 0)
        });
        Ok(pass.totals)
    }

    fn file(
        &mut self,
        listed: &Listed,
        pass: &mut Pass<'_>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let may_grow = store::may_grow(listed.named) && !self.options.mcrouter_has_ended;
        let file = File::open(&listed.path)?;
        if may_grow || !store::try_lock(&file) {
            outcome.in_use = true;
            return Ok(outcome);
        }
        let mut reader = BufReader::with_capacity(64 << 10, &file);
        let known = self.known.remove(&listed.path);
        let is_new = known.is_none();
        let mut done = known.unwrap_or_default().done;
        let mut met = BTreeSet::new();
        let mut waits: BTreeMap<Place, u64> = BTreeMap::new();
        let mut number = 0;
        let mut ended = false;
        while !ended && !pass.stop.load(Ordering::Relaxed) {
            let mut chunk: BTreeMap<Place, Vec<Vec<u8>>> = BTreeMap::new();
            for _ in 0..self.chunk() {
                number += 1;
                match next_line(&mut reader)? {
                    Line::End => {
                        ended = true;
                        break;
                    }
                    Line::Half => {
                        outcome.half_line = true;
                        ended = true;
                        break;
                    }
                    Line::Whole(text) => match line::read(&text) {
                        Ok(deletion) => {
                            chunk.entry(deletion.place).or_default().push(deletion.key);
                        }
                        Err(why) => {
                            pass.totals.unreadable += u64::from(is_new);
                            if outcome.unreadable.len() < MAX_TOLD {
                                outcome.unreadable.push((number, why));
                            }
                        }
                    },
                }
            }
            for (place, keys) in chunk {
                if !done.contains(&place) && !self.deliver(&place, &keys, pass, tell) {
                    outcome.waiting += keys.len() as u64;
                    *waits.entry(place.clone()).or_default() += keys.len() as u64;
                }
                met.insert(place);
            }
            tell(Event::Progress {
                totals: &pass.totals,
            });
        }
        if !ended {
            return Ok(outcome);
        }
        if waits.is_empty() && outcome.unreadable.is_empty() {
            outcome.removed = true;
            if !self.options.dry_run {
                store::remove(&listed.path)?;
            }
        } else {
            done.extend(met.into_iter().filter(|place| !waits.contains_key(place)));
            self.known
                .insert(listed.path.clone(), Known { done, waits });
        }
        Ok(outcome)
    }

    fn chunk(&self) -> usize {
        match self.options.rate {
            0 => CHUNK,
            // So that a low rate is no burst a second.
            rate => usize::try_from(rate / 10).unwrap_or(CHUNK).clamp(1, CHUNK),
        }
    }

    /// Has a server delete these; whether it has.
    fn deliver(
        &mut self,
        place: &Place,
        keys: &[Vec<u8>],
        pass: &mut Pass<'_>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> bool {
        let count = keys.len() as u64;
        let found = pass.servers.find(place);
        let addr = match found {
            Found::Dropped => {
                pass.totals.servers.entry(place.clone()).or_default();
                pass.totals.dropped += count;
                return true;
            }
            Found::At(addr) if !pass.failed.contains(place) => addr,
            Found::At(_) | Found::Unknown => {
                pass.waits(place, count);
                return false;
            }
        };
        let sums = pass.totals.servers.entry(place.clone()).or_default();
        if self.options.dry_run {
            sums.0 += count;
            pass.totals.delivered += count;
            return true;
        }
        self.wait_for_turn(count, pass.stop);
        let (delivered, result) = match self.link(place, &addr) {
            Ok(link) => link.delete(keys),
            Err(error) => (Default::default(), Err(error)),
        };
        let sent = delivered.count as u64;
        let sums = pass.totals.servers.entry(place.clone()).or_default();
        sums.0 += sent;
        sums.1 += count - sent;
        pass.totals.delivered += sent;
        pass.totals.waiting += count - sent;
        pass.totals.refused += delivered.refused as u64;
        if let Err(error) = &result {
            self.links.remove(place);
            pass.failed.insert(place.clone());
            tell(Event::Failed { place, error });
        }
        result.is_ok()
    }

    fn link(&mut self, place: &Place, addr: &ServerAddr) -> io::Result<&mut Link> {
        use std::collections::hash_map::Entry;
        match self.links.entry(place.clone()) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(room) => {
                let mut link = Link::open(addr, self.options.timeout)?;
                link.probe()?;
                Ok(room.insert(link))
            }
        }
    }

    /// Waits until so many may be sent.
    fn wait_for_turn(&mut self, count: u64, stop: &AtomicBool) {
        if self.options.rate == 0 {
            return;
        }
        let now = Instant::now();
        let free_at = self.free_at.unwrap_or(now).max(now);
        while Instant::now() < free_at && !stop.load(Ordering::Relaxed) {
            let left = free_at.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        let takes = Duration::from_secs_f64(count as f64 / self.options.rate as f64);
        self.free_at = Some(free_at + takes);
    }
}

enum Line {
    Whole(Vec<u8>),
    /// The file ends within it, and it says nothing.
    Half,
    End,
}

/// The next line without its end. What is longer than any line counts as lines that say nothing.
fn next_line(reader: &mut impl BufRead) -> io::Result<Line> {
    let mut text = Vec::new();
    reader.take(MAX_LINE as u64).read_until(b'\n', &mut text)?;
    if text.is_empty() {
        return Ok(Line::End);
    }
    if text.last() == Some(&b'\n') {
        text.pop();
        return Ok(Line::Whole(text));
    }
    // It may lack nothing but its end.
    match text.len() < MAX_LINE && line::read(&text).is_err() {
        true => Ok(Line::Half),
        false => Ok(Line::Whole(text)),
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
