//! Where replies from servers go: to the client's place in line, to a route that decides on them, or to a
//! dialogue.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::core::{Core, Routing};
use super::dialogue::Answer;
use super::dialogues::{Dialogues, Missed, Parts};
use super::dispatch::keeps_prefix;
use super::frame::{Deletion, Frame, Prefix};
use super::undone::Undone;
use crate::client::replies::Replies;
use crate::protocol::MAX_KEY;
use crate::protocol::error::ErrorKind;
use crate::protocol::response::{self, Kind};
use crate::route::big_value::{is_flagged, without_flags};
use crate::route::exec::{CopyTo, Next, Outcome, Sort, Target};
use crate::route::tree::{NodeId, Reason};
use crate::stats::Destination;
use crate::stats::latency::Timing;
use crate::stats::results::Failed;
use crate::upstream::conn::{ReplyKind, Sink, Ticket};
use crate::worker::buf::{LARGE, Lent};

/// What can't be done while a connection's replies are being read.
#[derive(Debug)]
pub enum Later {
    /// Send a request on.
    Resend {
        /// The frame.
        frame: u32,
        /// Where to.
        target: Target,
    },
    /// Add an item to a pool.
    Copy(Box<Copying>),
    /// Put a value together.
    Join(Box<Parts>),
    /// Delete in a gutter.
    Delete(Box<Deletion>),
    /// Ask the previous server of a key.
    Fetch(Box<Missed>),
    /// Write a deletion down.
    Spool(Box<Undone>),
    /// Look after a dialogue.
    Poll(u32),
}

/// An item to be added to a pool: its `VALUE` line and block as received.
#[derive(Debug)]
pub struct Copying {
    routing: Arc<Routing>,
    key: Vec<u8>,
    /// What has been taken off the key.
    prefix: Prefix,
    value: Vec<u8>,
    to: CopyTo,
}

/// Takes the replies of one connection.
pub(super) struct Hub<'a> {
    pub(super) replies: &'a mut Replies,
    pub(super) frames: &'a mut Slab<Frame>,
    pub(super) dialogues: &'a mut Dialogues,
    pub(super) later: &'a mut VecDeque<Later>,
    pub(super) ready: bool,
    /// There was an error among the answers.
    pub(super) refused: bool,
    /// What the bytes of this read may be referred to in.
    pub(super) lent: Option<&'a Lent>,
    /// Whether a get that fails now is a miss, if its pool says.
    pub(super) hides_errors: Option<bool>,
    pub(super) times: Times<'a>,
}

/// The times of the answers of one read. Those that were asked for together are recorded together.
pub(super) struct Times<'a> {
    /// Where to record; nowhere while no connection is read.
    to: Option<&'a Destination>,
    now: u64,
    timing: Timing,
    requests: u32,
}

impl<'a> Times<'a> {
    pub(super) fn none() -> Times<'static> {
        Times {
            to: None,
            now: 0,
            timing: Timing::default(),
            requests: 0,
        }
    }

    pub(super) fn of(to: &'a Destination, now: u64) -> Times<'a> {
        Times {
            to: Some(to),
            now,
            ..Times::none()
        }
    }

    #[inline]
    fn add(&mut self, timing: Timing, requests: u32) {
        if timing != self.timing {
            self.record();
            self.timing = timing;
        }
        self.requests += requests;
    }

    /// Records what has been added last.
    #[inline]
    pub(super) fn record(&mut self) {
        if self.requests > 0
            && let Some(to) = self.to
        {
            to.latency
                .record(self.timing, self.now, self.requests.into());
        }
        self.requests = 0;
    }
}

enum Decision {
    /// The route is done; the answer goes here.
    Deliver(Ticket),
    /// As `Deliver`, and the value is to be copied.
    DeliverAndCopy(Ticket),
    /// The value's parts are to be put together by this node.
    Join(NodeId, Option<CopyTo>),
    /// The key's previous server is to be asked by this node.
    Fetch(NodeId),
    /// This node writes it down.
    Spool(NodeId),
    /// The route goes on.
    GoesOn,
}

fn plain(to: Ticket) -> Ticket {
    Ticket {
        frame: Ticket::NO_FRAME,
        ..to
    }
}

impl Hub<'_> {
    fn decide(&mut self, to: Ticket, outcome: Outcome) -> Decision {
        let plain = plain(to);
        let Some(frame) = self
            .frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.answers(to))
        else {
            return Decision::Deliver(plain);
        };
        let wanted = match plain.dialogue() {
            None => self.replies.wanted(plain),
            Some(_) => self.dialogues.wanted(plain),
        };
        // Once a value to be copied has begun, its route is over: only the copy depends on how it ends.
        if frame.copying.is_some() || !wanted {
            if frame.sort != Sort::Get {
                // Of a deletion there is something left to do, whoever has left.
                let (tree, key) = (&frame.routing.snapshot.tree, frame.retained.key());
                if let Next::Spool(node) = frame.plan.next(tree, key, frame.sort, outcome) {
                    return Decision::Spool(node);
                }
                let node = frame.plan.take_passed_by();
                let deletion = node.and_then(|node| frame.deletion(node));
                self.later
                    .extend(deletion.map(|one| Later::Delete(Box::new(one))));
            }
            self.frames.remove(to.frame as usize);
            return Decision::Deliver(plain);
        }
        let tree = &frame.routing.snapshot.tree;
        let next = frame
            .plan
            .next(tree, frame.retained.key(), frame.sort, outcome);
        if let Some(node) = frame.plan.take_passed_by() {
            let deletion = frame.deletion(node);
            self.later
                .extend(deletion.map(|one| Later::Delete(Box::new(one))));
        }
        match next {
            Next::Ask(target) => {
                // Of the reply that has failed.
                frame.ignored = None;
                self.later.push_back(Later::Resend {
                    frame: to.frame,
                    target,
                });
                Decision::GoesOn
            }
            Next::Answer => {
                self.frames.remove(to.frame as usize);
                Decision::Deliver(plain)
            }
            Next::AnswerAndCopy(copy) => {
                frame.copying = Some(copy);
                Decision::DeliverAndCopy(plain)
            }
            Next::Join(node, copy) => Decision::Join(node, copy),
            Next::Fetch(node) => Decision::Fetch(node),
            Next::Spool(node) => Decision::Spool(node),
        }
    }

    /// A deletion has failed that is to be written down.
    #[cold]
    fn spool(&mut self, to: Ticket, node: NodeId, failure: Answer) {
        let undone = Undone { to, node, failure };
        self.later.push_back(Later::Spool(Box::new(undone)));
    }

    /// The value in the frame is complete: it is copied once the connection's replies are read.
    fn copy(&mut self, frame_id: u32) {
        if let Some(frame) = self.frames.try_remove(frame_id as usize)
            && let Some(to) = frame.copying
        {
            self.later.push_back(Later::Copy(Box::new(Copying {
                routing: frame.routing,
                key: frame.retained.key().to_vec(),
                prefix: frame.retained.prefix().clone(),
                value: frame.copy,
                to,
            })));
        }
    }

    fn frame(&mut self, to: Ticket) -> Option<&mut Frame> {
        self.frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.answers(to))
    }

    fn copying(&mut self, to: Ticket) -> Option<&mut Frame> {
        self.frame(to).filter(|frame| frame.copying.is_some())
    }

    fn framed_reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        let frame = self.frames.get(to.frame as usize);
        let get = frame.is_some_and(|frame| frame.sort == Sort::Get);
        let outcome = match kind {
            ReplyKind::Line(Kind::MetaMiss) if get => Outcome::Miss,
            ReplyKind::Line(_) if !get => Outcome::Done,
            _ => Outcome::Hit,
        };
        if outcome == Outcome::Hit && frame.is_some_and(Frame::has_joined) {
            self.hit_below_big_values(to, kind, bytes);
        } else {
            self.decided_reply(to, kind, bytes, bytes, outcome);
        }
    }

    /// What is found below a node that puts values together may be such a value's metadata, and may have flags that
    /// the client has not asked for.
    #[cold]
    fn hit_below_big_values(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        let frame = self.frame(to);
        let joins = frame.as_ref().is_some_and(|frame| frame.joins());
        let added_flags = frame.is_some_and(|frame| frame.added_flags);
        let outcome = match joins && is_flagged(bytes) {
            true => Outcome::Metadata,
            false => Outcome::Hit,
        };
        let mut cleaned = Vec::new();
        let mut shown = bytes;
        if added_flags
            && matches!(kind, ReplyKind::Line(Kind::MetaValue(_)))
            && let Some((_, used)) = response::line(bytes)
        {
            without_flags(bytes, &mut cleaned);
            cleaned.extend_from_slice(bytes.get(used..).unwrap_or_default());
            shown = &cleaned;
        }
        self.decided_reply(to, kind, bytes, shown, outcome);
    }

    /// Lets the route decide on a reply; the client is shown it as `shown`.
    #[inline(always)] // It is most of what a framed reply costs, and has two callers.
    fn decided_reply(
        &mut self,
        to: Ticket,
        kind: ReplyKind,
        bytes: &[u8],
        shown: &[u8],
        outcome: Outcome,
    ) {
        match self.decide(to, outcome) {
            // Only what has failed is written down.
            Decision::GoesOn | Decision::Spool(_) => {}
            Decision::Deliver(plain) => self.pass_reply(plain, kind, shown),
            Decision::DeliverAndCopy(plain) => {
                if kind == ReplyKind::Value {
                    if let Some(frame) = self.copying(to) {
                        frame.copy.extend_from_slice(bytes);
                    }
                    self.copy(to.frame);
                } else {
                    // A meta reply need not carry the flags that a copy would have to have.
                    self.frames.try_remove(to.frame as usize);
                }
                self.pass_reply(plain, kind, shown);
            }
            Decision::Join(node, copy) => {
                let copy = copy.filter(|_| kind == ReplyKind::Value);
                self.join(to, node, copy, bytes.to_vec());
            }
            Decision::Fetch(node) => {
                let miss = Answer::Line(Kind::MetaMiss, shown.to_vec());
                self.later
                    .push_back(Later::Fetch(Box::new(Missed { to, node, miss })));
            }
        }
    }

    /// Metadata has been found.
    fn join(&mut self, to: Ticket, node: NodeId, copy: Option<CopyTo>, reply: Vec<u8>) {
        let Some(frame) = self.frame(to) else {
            return;
        };
        let copying = copy.map(|to| {
            Box::new(Copying {
                routing: Arc::clone(&frame.routing),
                key: frame.retained.key().to_vec(),
                prefix: frame.retained.prefix().clone(),
                value: reply.clone(),
                to,
            })
        });
        self.later.extend(copying.map(Later::Copy));
        let parts = Box::new(Parts { to, node, reply });
        self.later.push_back(Later::Join(parts));
    }

    #[inline]
    fn plain_reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        match kind {
            ReplyKind::Value => self.replies.value(to, bytes),
            ReplyKind::Line(kind) => self.replies.line(to, kind, bytes),
        }
    }

    #[inline]
    fn pass_reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        if to.dialogue().is_none() {
            self.plain_reply(to, kind, bytes);
        } else {
            self.answer_dialogue(to, kind, bytes);
        }
    }

    #[cold]
    fn answer_dialogue(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        let answer = match kind {
            ReplyKind::Value => Answer::Value(bytes.to_vec()),
            ReplyKind::Line(kind) => Answer::Line(kind, bytes.to_vec()),
        };
        self.dialogues.answer(to, answer, self.later);
    }

    /// Where a failure goes.
    fn failing(&mut self) -> &mut Replies {
        self.replies.pool_hides_errors = self.hides_errors;
        self.replies
    }

    /// The request failed without an answer.
    pub(super) fn fail(&mut self, to: Ticket, kind: ErrorKind) {
        if to.frame == Ticket::NO_FRAME {
            return self.failing().fail(to, kind);
        }
        match self.decide(to, Outcome::Failed(reason(kind))) {
            Decision::Spool(node) => self.spool(to, node, Answer::Failed(kind)),
            Decision::GoesOn | Decision::Join(..) | Decision::Fetch(_) => {}
            Decision::Deliver(to) | Decision::DeliverAndCopy(to) => match to.dialogue() {
                None => self.failing().fail(to, kind),
                Some(_) => {
                    let answer = Answer::Failed(kind);
                    self.dialogues.answer(to, answer, self.later);
                }
            },
        }
    }

    /// A dialogue has ended with this answer.
    pub(super) fn conclude(&mut self, to: Ticket, answer: Answer) {
        let frame = self.frame(to);
        let get = frame.as_ref().is_some_and(|f| f.sort == Sort::Get);
        let fetched = frame.is_some_and(|f| std::mem::take(&mut f.fetched) && f.joins());
        let (kind, bytes) = match answer {
            Answer::Value(bytes) => (ReplyKind::Value, bytes),
            Answer::Line(kind, bytes) => (ReplyKind::Line(kind), bytes),
            Answer::Miss => return self.miss(to),
            Answer::Error(line, outcome) => return self.error_as(to, &line, outcome),
            Answer::Failed(kind) => return self.fail(to, kind),
        };
        let outcome = match kind {
            ReplyKind::Line(Kind::MetaMiss) if get => Outcome::Miss,
            ReplyKind::Line(_) if !get => Outcome::Done,
            _ => Outcome::Hit,
        };
        if fetched && outcome == Outcome::Hit {
            return self.hit_below_big_values(to, kind, &bytes);
        }
        let to = match to.frame {
            Ticket::NO_FRAME => to,
            _ => match self.decide(to, outcome) {
                Decision::GoesOn | Decision::Join(..) | Decision::Spool(_) => return,
                Decision::Fetch(node) => {
                    let miss = Answer::Line(Kind::MetaMiss, bytes);
                    self.later
                        .push_back(Later::Fetch(Box::new(Missed { to, node, miss })));
                    return;
                }
                Decision::Deliver(plain) => plain,
                Decision::DeliverAndCopy(plain) => {
                    // Its parts are where they belong; as one item it would be too large.
                    self.frames.try_remove(to.frame as usize);
                    plain
                }
            },
        };
        if to.dialogue().is_some() || bytes.len() < LARGE {
            return self.pass_reply(to, kind, &bytes);
        }
        let whole = Lent::new(bytes.into());
        self.replies.start(to, whole.len());
        self.replies.chunk(to, &whole, Some(&whole));
        self.replies.end(to);
    }

    fn framed_start(&mut self, to: Ticket, mut total: usize, head: &[u8]) {
        let mut cleaned = Vec::new();
        let mut shown = head;
        if let Some(frame) = self.frame(to) {
            // Metadata is short.
            if frame.joins() && is_flagged(head) {
                frame.ignored = Some(head.into());
                return;
            }
            if frame.added_flags {
                without_flags(head, &mut cleaned);
                total = total + cleaned.len() - head.len();
                shown = &cleaned;
            }
        }
        // A hit always ends a route that asks for one.
        let _ = self.decide(to, Outcome::Hit);
        if let Some(frame) = self.copying(to) {
            if frame.retained.is_text_get() {
                frame.copy.extend_from_slice(head);
            } else {
                // A meta reply need not carry the flags that a copy would have to have.
                self.frames.try_remove(to.frame as usize);
            }
        }
        if to.dialogue().is_some() {
            return self.dialogues.start(to, total, shown);
        }
        self.replies.start(to, total);
        self.replies.chunk(to, shown, None);
    }

    fn framed_chunk(&mut self, to: Ticket, bytes: &[u8]) {
        if let Some(frame) = self.frame(to) {
            if frame.ignored.is_some() {
                return;
            }
            if frame.copying.is_some() {
                frame.copy.extend_from_slice(bytes);
            }
        }
        if to.dialogue().is_some() {
            return self.dialogues.chunk(to, bytes);
        }
        self.replies.chunk(to, bytes, self.lent);
    }

    fn framed_end(&mut self, to: Ticket) {
        let ignored = self.frame(to).and_then(|frame| frame.ignored.take());
        if let Some(head) = ignored {
            if let Decision::Join(node, _) = self.decide(to, Outcome::Metadata) {
                self.join(to, node, None, head.into_vec());
            }
            return;
        }
        if self.copying(to).is_some() {
            self.copy(to.frame);
        }
        if to.dialogue().is_some() {
            return self.dialogues.end(to, self.later);
        }
        self.replies.end(to);
    }

    /// A server or a route answered with an error line; `outcome` is what it is to routes.
    pub(super) fn error_as(&mut self, to: Ticket, line: &[u8], outcome: Outcome) {
        if to.frame == Ticket::NO_FRAME {
            return self.failing().error(to, line);
        }
        match self.decide(to, outcome) {
            Decision::Spool(node) => {
                self.spool(to, node, Answer::Error(line.to_vec(), outcome));
            }
            Decision::GoesOn | Decision::Join(..) | Decision::Fetch(_) => {}
            Decision::Deliver(to) | Decision::DeliverAndCopy(to) => match to.dialogue() {
                None => self.failing().error(to, line),
                Some(_) => {
                    let answer = Answer::Error(line.to_vec(), outcome);
                    self.dialogues.answer(to, answer, self.later);
                }
            },
        }
    }
}

pub(super) fn reason(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Timeout => Reason::Timeout,
        ErrorKind::ConnectFailed | ErrorKind::MarkedDown | ErrorKind::NoServer => Reason::Connect,
        ErrorKind::ConnectionLost | ErrorKind::BadReply => Reason::Closed,
        ErrorKind::QueueFull | ErrorKind::Overloaded | ErrorKind::Busy => Reason::Busy,
        _ => Reason::Error,
    }
}

impl Sink for Hub<'_> {
    fn miss(&mut self, to: Ticket) {
        if to.frame == Ticket::NO_FRAME {
            return self.replies.miss(to);
        }
        match self.decide(to, Outcome::Miss) {
            Decision::Deliver(to) => match to.dialogue() {
                None => self.replies.miss(to),
                Some(_) => self.dialogues.answer(to, Answer::Miss, self.later),
            },
            Decision::Fetch(node) => {
                let miss = Answer::Miss;
                self.later
                    .push_back(Later::Fetch(Box::new(Missed { to, node, miss })));
            }
            Decision::GoesOn
            | Decision::Join(..)
            | Decision::Spool(_)
            | Decision::DeliverAndCopy(_) => {}
        }
    }

    #[inline]
    fn reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        if to.frame == Ticket::NO_FRAME {
            self.plain_reply(to, kind, bytes);
        } else {
            self.framed_reply(to, kind, bytes);
        }
    }

    fn start(&mut self, to: Ticket, total: usize, head: &[u8]) {
        if to.frame != Ticket::NO_FRAME {
            return self.framed_start(to, total, head);
        }
        self.replies.start(to, total);
        self.replies.chunk(to, head, None);
    }

    fn chunk(&mut self, to: Ticket, bytes: &[u8]) {
        if to.frame != Ticket::NO_FRAME {
            return self.framed_chunk(to, bytes);
        }
        self.replies.chunk(to, bytes, self.lent);
    }

    fn end(&mut self, to: Ticket) {
        if to.frame != Ticket::NO_FRAME {
            return self.framed_end(to);
        }
        self.replies.end(to);
    }

    fn error(&mut self, to: Ticket, line: &[u8]) {
        self.refused = true;
        let outcome = if line.starts_with(b"CLIENT_ERROR") {
            Outcome::Done
        } else {
            Outcome::Failed(Reason::Error)
        };
        let failed = Failed::of_line(line);
        self.replies.results.failed(failed);
        if let Some(to) = self.times.to {
            to.results.add(failed, 1);
        }
        self.error_as(to, line, outcome);
    }

    fn ready(&mut self) {
        self.ready = true;
    }

    #[inline]
    fn timed(&mut self, timing: Timing, requests: u32) {
        self.times.add(timing, requests);
    }
}

impl Core {
    pub(super) fn hub(&mut self) -> Hub<'_> {
        Hub {
            replies: &mut self.replies,
            frames: &mut self.frames,
            dialogues: &mut self.dialogues,
            later: &mut self.later,
            ready: false,
            refused: false,
            lent: None,
            hides_errors: None,
            times: Times::none(),
        }
    }

    /// A request failed without reaching a server, or without an answer from it.
    pub(super) fn fail(&mut self, to: Ticket, kind: ErrorKind) {
        self.fail_in(None, to, kind);
    }

    /// As [`Core::fail`], in a pool that says whether failed gets are misses, or does not.
    pub(super) fn fail_in(&mut self, hides_errors: Option<bool>, to: Ticket, kind: ErrorKind) {
        self.stats.errors.count(kind);
        self.stats.worker.errors.inc();
        self.stats.results.failed(Failed::of(kind));
        let mut hub = self.hub();
        hub.hides_errors = hides_errors;
        hub.fail(to, kind);
    }

    /// Does what had to wait while replies were being read, in the order in which it came up: updates of one
    /// key that fail over together must arrive in their order.
    #[inline]
    pub(super) fn run_later(&mut self) {
        if !self.later.is_empty() || self.dialogues.may_ask() {
            self.work_off_later();
        }
    }

    fn work_off_later(&mut self) {
        // What is done here may want to have it done; it is, when its turn comes.
        if self.in_later {
            return;
        }
        self.in_later = true;
        loop {
            while let Some(later) = self.later.pop_front() {
                match later {
                    Later::Resend { frame, target } => {
                        self.stats.worker.sent_on.inc();
                        self.resend(frame, target);
                    }
                    Later::Copy(copy) => self.copy_value(&copy),
                    Later::Delete(deletion) => self.delete_in_gutter(&deletion),
                    Later::Join(parts) => self.join_parts(*parts),
                    Later::Fetch(missed) => self.fetch_moved(*missed),
                    Later::Spool(undone) => self.spool(*undone),
                    Later::Poll(id) => self.poll_dialogue(id),
                }
            }
            if !self.dialogues.may_ask() {
                break;
            }
            self.ask_for_dialogues();
        }
        self.in_later = false;
    }

    fn copy_value(&mut self, copy: &Copying) {
        let Some((end, used)) = response::line(&copy.value) else {
            return;
        };
        let line = copy.value.get(..end).unwrap_or_default();
        let block = copy.value.get(used..).unwrap_or_default();
        let Some(flags) = line.split(|b| *b == b' ').nth(2) else {
            return;
        };
        let prefix = copy.prefix.as_deref().unwrap_or_default();
        let prefix = match keeps_prefix(&copy.routing, copy.to.0) {
            true if prefix.len() + copy.key.len() > MAX_KEY => return,
            true => prefix,
            false => b"",
        };
        let mut number = itoa::Buffer::new();
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head.extend_from_slice(b"add ");
        head.extend_from_slice(prefix);
        head.extend_from_slice(&copy.key);
        head.push(b' ');
        head.extend_from_slice(flags);
        head.push(b' ');
        head.extend_from_slice(number.format(copy.to.1).as_bytes());
        head.push(b' ');
        head.extend_from_slice(number.format(block.len().saturating_sub(2)).as_bytes());
        head.extend_from_slice(b"\r\n");
        self.copy_item(&copy.routing, copy.to.0, &copy.key, &head, block);
        self.head = head;
    }

    /// Moves the counts of outcomes to the worker's figures.
    pub(super) fn count_outcomes(&mut self) {
        let outcomes = std::mem::take(&mut self.replies.outcomes);
        let worker = &self.stats.worker;
        worker.get_hits.add(outcomes.hits);
        worker.get_misses.add(outcomes.misses);
        worker.get_errors.add(outcomes.hidden_errors);
    }
}
