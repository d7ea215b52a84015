//! Where replies from servers go: to the client's place in line, or to a route that decides on them.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::core::{Core, Routing};
use super::dispatch::Op;
use crate::client::replies::Replies;
use crate::protocol::error::ErrorKind;
use crate::protocol::request::GetCommand;
use crate::protocol::response::{self, Kind};
use crate::route::exec::{Next, Outcome, Plan};
use crate::route::tree::Reason;
use crate::upstream::conn::{Class, ReplyKind, Sink, Ticket};
use crate::worker::buf::Lent;

/// A request whose route decides on replies.
#[derive(Debug)]
pub struct Frame {
    pub(super) routing: Arc<Routing>,
    pub(super) plan: Plan,
    /// Who gets the answer.
    pub(super) to: Ticket,
    pub(super) get: bool,
    pub(super) retained: Retained,
    /// A value that is to be copied, as far as it has arrived.
    pub(super) copy: Vec<u8>,
    /// Where it is to be copied, and for how long it lives there.
    pub(super) copying: Option<(u32, u32)>,
}

impl Frame {
    /// Bytes of memory it holds.
    pub(super) fn held(&self) -> usize {
        self.copy.len() + self.retained.held()
    }

    /// Whether this is the frame of that ticket, and not one that has taken its place. The serial is not
    /// enough: each key of a get has a frame.
    pub(super) fn answers(&self, to: Ticket) -> bool {
        let to = Ticket {
            frame: Ticket::NO_FRAME,
            ..to
        };
        self.to == to
    }
}

/// A command kept so that it can be sent again.
#[derive(Debug, Default)]
pub(super) struct Retained {
    key: Vec<u8>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Get(GetCommand, i32),
    Command {
        class: Class,
        head: Vec<u8>,
        block: Vec<u8>,
        guard: Vec<u8>,
    },
}

impl Default for Form {
    fn default() -> Form {
        Form::Get(GetCommand::Get, 0)
    }
}

impl Retained {
    pub(super) fn new(key: &[u8], op: Op<'_>) -> Retained {
        Retained {
            key: key.to_vec(),
            form: match op {
                Op::Get(command, exptime) => Form::Get(command, exptime),
                Op::Command {
                    class,
                    head,
                    block,
                    guard,
                } => Form::Command {
                    class,
                    head: head.to_vec(),
                    block: block.to_vec(),
                    guard: guard.to_vec(),
                },
            },
        }
    }

    fn held(&self) -> usize {
        self.key.len()
            + match &self.form {
                Form::Get(..) => 0,
                Form::Command { head, block, .. } => head.len() + block.len(),
            }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    fn is_text_get(&self) -> bool {
        matches!(self.form, Form::Get(..))
    }

    pub(super) fn op(&self) -> Op<'_> {
        match &self.form {
            Form::Get(command, exptime) => Op::Get(*command, *exptime),
            Form::Command {
                class,
                head,
                block,
                guard,
            } => Op::Command {
                class: *class,
                head,
                block,
                guard,
            },
        }
    }
}

/// What can't be done while a connection's replies are being read.
#[derive(Debug)]
pub enum Later {
    /// Ask another pool.
    Resend {
        /// The frame.
        frame: u32,
        /// The pool.
        pool: u32,
    },
    /// Add an item to a pool.
    Copy(Box<Copying>),
}

/// An item to be added to a pool: its `VALUE` line and block as received.
#[derive(Debug)]
pub struct Copying {
    routing: Arc<Routing>,
    key: Vec<u8>,
    value: Vec<u8>,
    pool: u32,
    exptime: u32,
}

/// Takes the replies of one connection.
pub(super) struct Hub<'a> {
    pub(super) replies: &'a mut Replies,
    pub(super) frames: &'a mut Slab<Frame>,
    pub(super) later: &'a mut VecDeque<Later>,
    pub(super) ready: bool,
    /// What the bytes of this read may be referred to in.
    pub(super) lent: Option<&'a Lent>,
}

enum Decision {
    /// The route is done; the answer goes here.
    Deliver(Ticket),
    /// As `Deliver`, and the value is to be copied.
    DeliverAndCopy(Ticket),
    /// The route goes on.
    GoesOn,
}

impl Hub<'_> {
    fn decide(&mut self, to: Ticket, outcome: Outcome) -> Decision {
        let plain = Ticket {
            frame: Ticket::NO_FRAME,
            ..to
        };
        let Some(frame) = self
            .frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.answers(to))
        else {
            return Decision::Deliver(plain);
        };
        // Once a value to be copied has begun, its route is over: only the copy depends on how it ends.
        if frame.copying.is_some() || !self.replies.wanted(plain) {
            self.frames.remove(to.frame as usize);
            return Decision::Deliver(plain);
        }
        let tree = &frame.routing.snapshot.tree;
        match frame
            .plan
            .next(tree, frame.retained.key(), frame.get, outcome)
        {
            Next::Ask(pool) => {
                self.later.push_back(Later::Resend {
                    frame: to.frame,
                    pool,
                });
                Decision::GoesOn
            }
            Next::Answer => {
                self.frames.remove(to.frame as usize);
                Decision::Deliver(plain)
            }
            Next::AnswerAndCopy { pool, exptime } => {
                frame.copying = Some((pool, exptime));
                Decision::DeliverAndCopy(plain)
            }
        }
    }

    /// The value in the frame is complete: it is copied once the connection's replies are read.
    fn copy(&mut self, frame_id: u32) {
        if let Some(frame) = self.frames.try_remove(frame_id as usize)
            && let Some((pool, exptime)) = frame.copying
        {
            self.later.push_back(Later::Copy(Box::new(Copying {
                routing: frame.routing,
                key: frame.retained.key,
                value: frame.copy,
                pool,
                exptime,
            })));
        }
    }

    fn copying(&mut self, to: Ticket) -> Option<&mut Frame> {
        self.frames
            .get_mut(to.frame as usize)
            .filter(|frame| frame.copying.is_some() && frame.answers(to))
    }

    fn framed_reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        let get = self
            .frames
            .get(to.frame as usize)
            .is_some_and(|frame| frame.get);
        let outcome = match kind {
            ReplyKind::Value => Outcome::Hit,
            ReplyKind::Line(Kind::MetaMiss) if get => Outcome::Miss,
            ReplyKind::Line(_) if get => Outcome::Hit,
            ReplyKind::Line(_) => Outcome::Done,
        };
        match self.decide(to, outcome) {
            Decision::GoesOn => {}
            Decision::Deliver(to) => self.plain_reply(to, kind, bytes),
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
                self.plain_reply(plain, kind, bytes);
            }
        }
    }

    #[inline]
    fn plain_reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        match kind {
            ReplyKind::Value => self.replies.value(to, bytes),
            ReplyKind::Line(kind) => self.replies.line(to, kind, bytes),
        }
    }

    /// The request failed without an answer.
    pub(super) fn fail(&mut self, to: Ticket, kind: ErrorKind) {
        if to.frame == Ticket::NO_FRAME {
            return self.replies.fail(to, kind);
        }
        match self.decide(to, Outcome::Failed(reason(kind))) {
            Decision::GoesOn => {}
            Decision::Deliver(to) | Decision::DeliverAndCopy(to) => self.replies.fail(to, kind),
        }
    }
}

fn reason(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Timeout => Reason::Timeout,
        ErrorKind::ConnectFailed | ErrorKind::MarkedDown | ErrorKind::NoServer => Reason::Connect,
        ErrorKind::ConnectionLost | ErrorKind::BadReply => Reason::Closed,
        ErrorKind::QueueFull | ErrorKind::Overloaded => Reason::Busy,
        _ => Reason::Error,
    }
}

impl Sink for Hub<'_> {
    fn miss(&mut self, to: Ticket) {
        if to.frame == Ticket::NO_FRAME {
            return self.replies.miss(to);
        }
        if let Decision::Deliver(to) = self.decide(to, Outcome::Miss) {
            self.replies.miss(to);
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

    fn start(&mut self, to: Ticket, total: usize) {
        if to.frame != Ticket::NO_FRAME {
            // A hit always ends a route that asks for one.
            let _ = self.decide(to, Outcome::Hit);
            if self
                .copying(to)
                .is_some_and(|frame| !frame.retained.is_text_get())
            {
                // A meta reply need not carry the flags that a copy would have to have.
                self.frames.try_remove(to.frame as usize);
            }
        }
        self.replies.start(to, total);
    }

    fn chunk(&mut self, to: Ticket, bytes: &[u8]) {
        if to.frame != Ticket::NO_FRAME
            && let Some(frame) = self.copying(to)
        {
            frame.copy.extend_from_slice(bytes);
        }
        self.replies.chunk(to, bytes, self.lent);
    }

    fn end(&mut self, to: Ticket) {
        if to.frame != Ticket::NO_FRAME && self.copying(to).is_some() {
            self.copy(to.frame);
        }
        self.replies.end(to);
    }

    fn error(&mut self, to: Ticket, line: &[u8]) {
        if to.frame == Ticket::NO_FRAME {
            return self.replies.error(to, line);
        }
        let outcome = if line.starts_with(b"CLIENT_ERROR") {
            Outcome::Done
        } else {
            Outcome::Failed(Reason::Error)
        };
        match self.decide(to, outcome) {
            Decision::GoesOn => {}
            Decision::Deliver(to) | Decision::DeliverAndCopy(to) => self.replies.error(to, line),
        }
    }

    fn ready(&mut self) {
        self.ready = true;
    }
}

impl Core {
    pub(super) fn hub(&mut self) -> Hub<'_> {
        Hub {
            replies: &mut self.replies,
            frames: &mut self.frames,
            later: &mut self.later,
            ready: false,
            lent: None,
        }
    }

    /// A request failed without reaching a server, or without an answer from it.
    pub(super) fn fail(&mut self, to: Ticket, kind: ErrorKind) {
        self.stats.errors.count(kind);
        self.stats.worker.errors.inc();
        self.hub().fail(to, kind);
    }

    /// Does what had to wait while replies were being read, in the order in which it came up: updates of one
    /// key that fail over together must arrive in their order.
    pub(super) fn run_later(&mut self) {
        while let Some(later) = self.later.pop_front() {
            match later {
                Later::Resend { frame, pool } => self.resend(frame, pool),
                Later::Copy(copy) => self.copy_value(&copy),
            }
        }
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
        let mut number = itoa::Buffer::new();
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head.extend_from_slice(b"add ");
        head.extend_from_slice(&copy.key);
        head.push(b' ');
        head.extend_from_slice(flags);
        head.push(b' ');
        head.extend_from_slice(number.format(copy.exptime).as_bytes());
        head.push(b' ');
        head.extend_from_slice(number.format(block.len().saturating_sub(2)).as_bytes());
        head.extend_from_slice(b"\r\n");
        self.copy_item(&copy.routing, copy.pool, &copy.key, &head, block);
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
