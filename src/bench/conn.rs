//! One client connection: sends requests, matches the answers to them, and measures.
//!
//! A turn is: read what is there (one system call), match it, write the next requests (one system
//! call). In steady state a turn allocates nothing. Requests and answers are matched by order; the key
//! of every value must be one that its request asked for, always, and with `--check` its bytes must be
//! that key's.
//!
//! Whatever the endpoint does ends in one of two ways: the request is counted as answered, or the
//! connection is given up with a [`Loss`] that says why, and every request on it is counted as lost.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::keys::Verifier;
use super::link::Link;
use super::reply::{End, Reader, Rubbish, Step, shown};
use super::request::Kind;
use super::sample::Rng;
use super::tally::Outcome;
use super::thread::{Shared, Work};

/// Unsent bytes beyond which no more requests are written, so that a deep pipeline of large values
/// does not fill memory.
const OUT_MOST: usize = 256 * 1024;

/// Why a connection was given up.
#[derive(Debug)]
pub(super) enum Loss {
    /// The endpoint closed it.
    Closed,
    /// The system reported an error.
    Broken(io::Error),
    /// The bytes were no answer to what was asked.
    Rubbish(String),
    /// A value came under a key that was not asked for.
    WrongKey(String),
    /// No byte came for the timeout.
    Timeout,
    /// The endpoint refused a command that carries data, so that what it made of the data is unknown.
    Refused,
    /// `--check` found a wrong value; ends the run.
    WrongValue(String),
}

/// A request on its way.
#[derive(Debug)]
struct Pending {
    kind: Kind,
    /// When it was due, in ns on the run's clock.
    due: u64,
    /// Keys it asked for; their numbers stand in `asked`.
    keys: usize,
    /// Values received so far.
    found: usize,
    /// Where in its keys the search for the next value starts.
    cursor: usize,
}

/// A client connection and everything that outlives its socket.
#[derive(Debug)]
pub(super) struct Conn {
    /// Its number among all connections of the run.
    pub(super) number: u64,
    /// Its place among its thread's connections.
    pub(super) place: usize,
    /// The socket, while there is one.
    pub(super) link: Option<Link>,
    /// Losses and failed attempts since the last answer.
    pub(super) failures: u32,
    rng: Rng,
    reader: Reader,
    verifier: Verifier,
    pending: VecDeque<Pending>,
    asked: VecDeque<u64>,
    /// The key of the value that is being read.
    current: u64,
    out: Vec<u8>,
    written: usize,
    /// How many requests of the phase's schedule this connection has sent.
    sent: u64,
    /// When the endpoint last showed life, or the oldest request was sent.
    waiting_since: u64,
}

impl Conn {
    /// A connection without a socket.
    pub(super) fn new(number: u64, place: usize, shared: &Shared) -> Self {
        let plan = &shared.plan;
        let mut mixer = Rng::new(plan.seed);
        let seed = mixer.next() ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self {
            number,
            place,
            link: None,
            failures: 0,
            rng: Rng::new(seed),
            reader: Reader::default(),
            verifier: Verifier::new(plan.writer.keys.key_len()),
            pending: VecDeque::with_capacity(plan.depth.min(1024)),
            asked: VecDeque::new(),
            current: 0,
            out: Vec::new(),
            written: 0,
            sent: 0,
            waiting_since: 0,
        }
    }

    /// A new phase begins: its schedule starts from the beginning.
    pub(super) fn begin_phase(&mut self) {
        self.sent = 0;
    }

    /// Requests of the phase's schedule that were due and never sent.
    pub(super) fn unsent(&self, shared: &Shared) -> u64 {
        shared
            .phase
            .due_in_all(self.number)
            .saturating_sub(self.sent)
    }

    /// One turn. Ready when the phase is over for this connection and nothing is outstanding.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Result<(), Loss>> {
        shared.park(self.place, cx);
        match self.try_turn(cx, shared) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(loss) => Poll::Ready(Err(loss)),
        }
    }

    fn try_turn(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Result<bool, Loss> {
        let mut now = None;
        let mut scratch = shared.scratch.borrow_mut();
        loop {
            let Some(link) = self.link.as_mut() else {
                return Err(Loss::Closed);
            };
            let mut buffer = ReadBuf::new(&mut scratch);
            match link.poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Loss::Broken(error)),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled();
            let time = shared.now();
            now = Some(time);
            let mut tally = shared.tally.borrow_mut();
            tally.reads += 1;
            tally.received += bytes.len() as u64;
            drop(tally);
            if bytes.is_empty() {
                return Err(Loss::Closed);
            }
            self.waiting_since = time;
            self.absorb(bytes, time, shared)?;
        }
        drop(scratch);
        let now = now.unwrap_or_else(|| shared.now());
        loop {
            self.refill(now, shared);
            if !self.flush(cx, shared)? || !self.may_send(now, shared) {
                break;
            }
        }
        if self.pending.is_empty() {
            return Ok(shared.phase.is_over(now) || self.is_exhausted(shared));
        }
        let silent = now.saturating_sub(self.waiting_since);
        if silent > shared.plan.timeout.as_nanos() as u64 {
            return Err(Loss::Timeout);
        }
        Ok(false)
    }

    /// Whether a request could be written now.
    fn may_send(&self, now: u64, shared: &Shared) -> bool {
        self.pending.len() < shared.phase.depth
            && self.out.len() < OUT_MOST
            && !shared.phase.is_over(now)
            && shared.phase.has_more()
            && shared
                .phase
                .due(self.number, self.sent)
                .is_none_or(|due| due <= now)
    }

    /// Whether this phase's schedule holds no more request for this connection.
    fn is_exhausted(&self, shared: &Shared) -> bool {
        !shared.phase.has_more()
            || shared
                .phase
                .due(self.number, self.sent)
                .is_some_and(|due| due >= shared.phase.until)
    }

    /// Writes requests into the buffer until the pipeline is full.
    fn refill(&mut self, now: u64, shared: &Shared) {
        while self.may_send(now, shared) {
            let Some(index) = shared.phase.take() else {
                return;
            };
            let due = shared.phase.due(self.number, self.sent).unwrap_or(now);
            self.sent += 1;
            if self.pending.is_empty() {
                self.waiting_since = now;
            }
            self.request(index, due, shared);
        }
    }

    /// Writes one request into the buffer.
    fn request(&mut self, index: u64, due: u64, shared: &Shared) {
        let plan = &*shared.plan;
        let Self {
            rng, asked, out, ..
        } = self;
        let mut keys = 1;
        let kind = match shared.phase.work {
            Work::FillData => {
                let size = plan.value_size(rng);
                plan.writer.single(Kind::Set, index, size, out);
                Kind::Set
            }
            Work::FillCounters => {
                plan.writer.counter(index, out);
                Kind::Set
            }
            Work::Traffic => {
                let kind = plan.mix.sample(rng).unwrap_or(Kind::Get);
                if matches!(kind, Kind::Get | Kind::Gets) {
                    keys = plan.multi;
                    let before = asked.len();
                    asked.extend((0..keys).map(|_| plan.popularity.sample(rng)));
                    plan.writer.get(kind, asked.range(before..).copied(), out);
                } else {
                    let index = plan.popularity.sample(rng);
                    let size = if kind.stores() {
                        plan.value_size(rng)
                    } else {
                        0
                    };
                    asked.push_back(index);
                    plan.writer.single(kind, index, size, out);
                }
                kind
            }
        };
        if shared.phase.work != Work::Traffic {
            asked.push_back(index);
        }
        self.pending.push_back(Pending {
            kind,
            due,
            keys,
            found: 0,
            cursor: 0,
        });
    }

    /// Writes the buffer to the socket; `true` when it is empty afterwards.
    fn flush(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Result<bool, Loss> {
        let Some(link) = self.link.as_mut() else {
            return Err(Loss::Closed);
        };
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match link.poll_write(cx, rest) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(Loss::Broken(error)),
                Poll::Ready(Ok(0)) => return Err(Loss::Closed),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    let mut tally = shared.tally.borrow_mut();
                    tally.writes += 1;
                    tally.sent += count as u64;
                }
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Matches received bytes to the requests on their way.
    fn absorb(&mut self, mut bytes: &[u8], now: u64, shared: &Shared) -> Result<(), Loss> {
        let plan = &*shared.plan;
        loop {
            let step = self
                .reader
                .next(&mut bytes)
                .map_err(|Rubbish(text)| Loss::Rubbish(text))?;
            let Some(front) = self.pending.front_mut() else {
                let quiet = step == Step::More;
                return if quiet && self.reader.is_idle() {
                    Ok(())
                } else {
                    Err(Loss::Rubbish("an answer to nothing that was asked".into()))
                };
            };
            match step {
                Step::More => return Ok(()),
                Step::Item { key, size, meta } => {
                    if !front.kind.fetches() || meta != (front.kind == Kind::MetaGet) {
                        return Err(Loss::Rubbish(format!(
                            "a value as answer to {}",
                            front.kind.name()
                        )));
                    }
                    let found = plan.writer.keys.index_of(key).and_then(|index| {
                        let place = locate(&self.asked, front, index)?;
                        front.cursor = place + 1;
                        Some(index)
                    });
                    let (Some(index), true) = (found, front.found < front.keys) else {
                        return Err(Loss::WrongKey(format!(
                            "a value came for key {}, which the {} did not ask for",
                            shown(key),
                            front.kind.name()
                        )));
                    };
                    front.found += 1;
                    self.current = index;
                    if plan.check {
                        self.verifier.start(size);
                    }
                }
                Step::Body(piece) => {
                    if plan.check {
                        self.verifier.feed(piece);
                    }
                }
                Step::ItemEnd => {
                    let meta = front.kind == Kind::MetaGet;
                    if plan.check {
                        self.verifier
                            .finish(&plan.writer.keys, self.current)
                            .map_err(|what| wrong_value(shared, self.current, &what))?;
                    }
                    if meta {
                        self.complete(
                            Outcome {
                                hits: 1,
                                ..Outcome::default()
                            },
                            now,
                            shared,
                        );
                    }
                }
                Step::Line(end) => {
                    let refused = end == End::Error && front.kind.stores();
                    let outcome = outcome(front, end, shared).ok_or_else(|| {
                        Loss::Rubbish(format!("{end:?} as answer to {}", front.kind.name()))
                    })?;
                    self.complete(outcome, now, shared);
                    if refused {
                        return Err(Loss::Refused);
                    }
                }
            }
        }
    }

    /// The oldest request is answered.
    fn complete(&mut self, outcome: Outcome, now: u64, shared: &Shared) {
        self.failures = 0;
        shared.trouble.set(None);
        if let Some(done) = self.pending.pop_front() {
            self.asked.drain(..done.keys.min(self.asked.len()));
            let latency = now.saturating_sub(done.due);
            shared
                .tally
                .borrow_mut()
                .answer(done.kind, outcome, latency, now);
        }
    }

    /// The connection is gone: counts why, and what went with it.
    pub(super) fn lose(&mut self, loss: &Loss, shared: &Shared) {
        self.link = None;
        self.reader.reset();
        self.out.clear();
        self.written = 0;
        self.asked.clear();
        let lost = self.pending.len() as u64;
        self.pending.clear();
        self.failures = self.failures.saturating_add(1);
        // With a schedule an endpoint may close connections that idle; without one, none idles.
        if lost > 0 || shared.phase.schedule.is_none() {
            shared.in_trouble();
        }
        let mut tally = shared.tally.borrow_mut();
        tally.errors.lost_requests += lost;
        match loss {
            Loss::Closed => tally.errors.closed += 1,
            Loss::Broken(error) => {
                tally.errors.broken += 1;
                tally.note(&error.to_string());
            }
            Loss::Timeout => tally.errors.timeouts += 1,
            Loss::Rubbish(text) => {
                tally.errors.rubbish += 1;
                tally.note(text);
            }
            Loss::WrongKey(text) => {
                tally.errors.wrong_key += 1;
                tally.note(text);
            }
            // Its answer was counted already, as an error.
            Loss::Refused => {}
            Loss::WrongValue(_) => tally.errors.wrong_key += 1,
        }
    }
}

/// Where among the keys of `request`, the oldest one, `index` stands: from the cursor on, since answers
/// come in the order asked as a rule, else anywhere.
fn locate(asked: &VecDeque<u64>, request: &Pending, index: u64) -> Option<usize> {
    let keys = || asked.iter().take(request.keys).enumerate();
    keys()
        .skip(request.cursor)
        .chain(keys())
        .find(|(_, key)| **key == index)
        .map(|(place, _)| place)
}

/// What `end` means for `request`; `None` when it is no answer to it.
fn outcome(request: &Pending, end: End<'_>, shared: &Shared) -> Option<Outcome> {
    let hit = Outcome {
        hits: 1,
        ..Outcome::default()
    };
    let miss = Outcome {
        misses: 1,
        ..Outcome::default()
    };
    let failed = Outcome {
        hits: request.found as u64,
        misses: 0,
        error: true,
    };
    let mut tally = shared.tally.borrow_mut();
    match end {
        End::Error => {
            tally.errors.error += 1;
            tally.note("ERROR");
            return Some(failed);
        }
        End::ClientError(line) => {
            tally.errors.client_error += 1;
            tally.note(&String::from_utf8_lossy(line));
            return Some(failed);
        }
        End::ServerError(line) => {
            tally.errors.server_error += 1;
            tally.note(&String::from_utf8_lossy(line));
            return Some(failed);
        }
        _ => {}
    }
    match (request.kind, end) {
        (Kind::Get | Kind::Gets, End::Finished) => Some(Outcome {
            hits: request.found as u64,
            misses: request.keys.saturating_sub(request.found) as u64,
            error: false,
        }),
        (Kind::Set, End::Stored)
        | (Kind::Delete, End::Deleted)
        | (Kind::Touch, End::Touched)
        | (Kind::Incr, End::Number)
        | (Kind::MetaSet, End::MetaHit) => Some(hit),
        (Kind::Set | Kind::MetaSet, End::NotStored | End::Exists | End::NotFound)
        | (Kind::Delete | Kind::Touch | Kind::Incr, End::NotFound)
        | (Kind::MetaGet, End::MetaMiss) => Some(miss),
        _ => None,
    }
}

fn wrong_value(shared: &Shared, index: u64, what: &str) -> Loss {
    let mut key = Vec::new();
    shared
        .plan
        .writer
        .keys
        .push(super::keys::Space::Data, index, &mut key);
    Loss::WrongValue(format!("the value of key {} is wrong: {what}", shown(&key)))
}
