//! The dialogues of a worker: polled, their asks sent, their answers collected.
//!
//! Asks go out along the routes like any other request and are answered through a ticket that names the dialogue.
//! How much goes out at a time is bounded: [`MAX_OPEN`] asks of all dialogues together, and for each destination as
//! many and as many bytes as half a queue takes, so that a value in parts fills no queue, neither
//! for itself nor for others. What has to wait is sent when answers have made room; every ask is answered or
//! times out, so there will be room.
//!
//! Invariants: a dialogue ends once, with one answer for its request, or is dropped because nobody waits for that;
//! answers for one that is gone, told apart by serial number, are thrown away. An update that takes a dialogue
//! holds its client's later requests back, which would else overtake it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::core::{Core, Routing};
use super::dialogue::{Answer, Ask, Dialogue, Handle};
use super::dispatch::{Op, pick};
use super::frame::{Frame, Retained};
use super::hub::Later;
use super::permits::Permits;
use crate::protocol::error::ErrorKind;
use crate::protocol::response;
use crate::route::big_value::with_flags;
use crate::route::exec::{Plan, Target};
use crate::route::tree::{NodeId, Step};
use crate::upstream::conn::Ticket;

/// Asks of all dialogues of a worker that may be under way.
const MAX_OPEN: usize = 1024;

/// Bytes of a command line besides its key, at most.
const COMMAND: usize = 64;

/// Dialogues of a worker that may go on after they have answered early. With more, they end with that.
const MAX_BACKGROUND: usize = 1024;

/// The most that is set aside at once for an answer that has been announced, in bytes.
const ROOM: usize = 1 << 20;

/// A found value whose parts are to be put together.
#[derive(Debug)]
pub struct Parts {
    /// The framed request that found it.
    pub(super) to: Ticket,
    /// The node that knows how.
    pub(super) node: NodeId,
    /// What was found.
    pub(super) reply: Vec<u8>,
}

/// A get that found nothing at the new server of a key that has moved.
#[derive(Debug)]
pub struct Missed {
    /// The framed request.
    pub(super) to: Ticket,
    /// The node that knows the previous server.
    pub(super) node: NodeId,
    /// What the new server answered.
    pub(super) miss: Answer,
}

/// An ask under way, or a pause.
#[derive(Debug)]
struct Open {
    number: u32,
    /// It takes no room: a pause, or an ask that does not wait for any.
    is_free: bool,
    destination: Option<u32>,
    bytes: usize,
}

/// What is under way to a destination.
#[derive(Debug, Default)]
struct Outgoing {
    asks: usize,
    bytes: usize,
}

/// A large answer as far as it has arrived.
#[derive(Debug)]
struct Arriving {
    number: u32,
    bytes: Vec<u8>,
    /// It is longer than values may be, and not kept.
    too_large: bool,
}

/// A dialogue under way.
struct Running {
    serial: u32,
    /// What it is for.
    to: Ticket,
    /// The client's request at the bottom of that.
    root: Ticket,
    routing: Arc<Routing>,
    /// Not there while it is polled.
    future: Option<Dialogue>,
    handle: Handle,
    /// All it asks goes there, whatever the routes say.
    destination: Option<u32>,
    /// Its client waits for it before it asks on.
    holds_client: bool,
    /// The name of the permit that it holds.
    permit: Option<usize>,
    unsent: VecDeque<(u32, Ask)>,
    /// Where the first of these goes, once that is known: a choice by chance or by a rate is made but once.
    way: Option<(Plan, Option<Target>)>,
    open: Vec<Open>,
    arriving: Vec<Arriving>,
    /// It has answered early, and nobody waits for it.
    background: bool,
    /// It is to be polled.
    due: bool,
    /// It is in [`Dialogues::waiting`].
    waits: bool,
}

impl Running {
    fn held(&self) -> usize {
        let unsent: usize = self.unsent.iter().map(|(_, ask)| ask.what.held()).sum();
        let arriving: usize = self.arriving.iter().map(|one| one.bytes.len()).sum();
        self.handle.talk().held() + unsent + arriving
    }
}

/// All dialogues of a worker.
#[derive(Default)]
pub struct Dialogues {
    running: Slab<Running>,
    serial: u32,
    /// How many of them have answered early.
    background: usize,
    /// Asks under way.
    open: usize,
    /// What is under way, by destination.
    outgoing: HashMap<u32, Outgoing>,
    /// Dialogues with asks that have not been sent.
    waiting: VecDeque<u32>,
    /// There may be room for asks of theirs.
    has_room: bool,
    /// When pauses end, and whose they are; of those that end together the first begun comes first.
    pauses: BTreeMap<(u64, u64), Ticket>,
    /// How many pauses there have been.
    paused: u64,
    permits: Permits,
}

impl std::fmt::Debug for Dialogues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} dialogues, {} asks", self.running.len(), self.open)
    }
}

impl Dialogues {
    fn live(&mut self, to: Ticket) -> Option<&mut Running> {
        let running = self.running.get_mut(to.dialogue()? as usize)?;
        (running.serial == to.serial).then_some(running)
    }

    /// Whether the dialogue of this ticket still goes on.
    pub(super) fn wanted(&mut self, to: Ticket) -> bool {
        self.live(to).is_some()
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether no more of them may go on after their answer.
    pub(super) fn is_busy(&self) -> bool {
        self.background >= MAX_BACKGROUND
    }

    /// A number for the next one, for what must be told from others'.
    pub(super) fn next_serial(&self) -> u32 {
        self.serial.wrapping_add(1)
    }

    /// Whether none is under way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.open == 0 && self.outgoing.is_empty()
    }

    /// Whether asks wait and may be sent.
    #[inline]
    pub(super) fn may_ask(&self) -> bool {
        self.has_room && !self.waiting.is_empty()
    }

    /// An ask has its answer.
    pub(super) fn answer(&mut self, to: Ticket, answer: Answer, later: &mut VecDeque<Later>) {
        let Some(running) = self.live(to) else {
            return;
        };
        running.arriving.retain(|one| one.number != to.index);
        let place = running.open.iter().position(|open| open.number == to.index);
        let Some(open) = place.map(|place| running.open.swap_remove(place)) else {
            return;
        };
        running.handle.talk().answer(to.index, answer);
        if !std::mem::replace(&mut running.due, true) {
            later.extend(to.dialogue().map(Later::Poll));
        }
        self.close(&open);
    }

    fn close(&mut self, open: &Open) {
        if open.is_free {
            return;
        }
        self.open = self.open.saturating_sub(1);
        self.has_room = true;
        if let Some(destination) = open.destination {
            self.leave(destination, open.bytes);
        }
    }

    /// The ask of this ticket does not wait for its first destination any more.
    pub(super) fn let_go(&mut self, to: Ticket) {
        let Some(running) = self.live(to) else {
            return;
        };
        let mut all = running.open.iter_mut();
        let Some(open) = all.find(|open| open.number == to.index) else {
            return;
        };
        let bytes = std::mem::take(&mut open.bytes);
        if let Some(destination) = open.destination.take() {
            self.leave(destination, bytes);
        }
    }

    fn leave(&mut self, destination: u32, bytes: usize) {
        self.has_room = true;
        if let Some(outgoing) = self.outgoing.get_mut(&destination) {
            outgoing.bytes = outgoing.bytes.saturating_sub(bytes);
            outgoing.asks = outgoing.asks.saturating_sub(1);
            if outgoing.asks == 0 {
                self.outgoing.remove(&destination);
            }
        }
    }

    /// When the next pause ends, or `u64::MAX`.
    pub(super) fn next_pause(&self) -> u64 {
        let first = self.pauses.first_key_value();
        first.map_or(u64::MAX, |((at, _), _)| *at)
    }

    /// Ends the pauses that are over.
    pub(super) fn end_pauses(&mut self, now: u64, later: &mut VecDeque<Later>) {
        while let Some(first) = self.pauses.first_entry()
            && first.key().0 <= now
        {
            let to = first.remove();
            self.answer(to, Answer::Miss, later);
        }
    }

    /// A large answer begins.
    pub(super) fn start(&mut self, to: Ticket, total: usize, head: &[u8]) {
        if let Some(running) = self.live(to) {
            // A server may have larger ones than clients may store here; what it has by default can be read.
            let max_value = running.routing.snapshot.settings.parse.max_value.max(ROOM);
            let too_large = total > max_value.saturating_add(response::MAX_LINE);
            let mut bytes = Vec::new();
            if !too_large {
                bytes.reserve_exact(total.min(ROOM));
                bytes.extend_from_slice(head);
            }
            running.arriving.push(Arriving {
                number: to.index,
                bytes,
                too_large,
            });
        }
    }

    /// More of it.
    pub(super) fn chunk(&mut self, to: Ticket, bytes: &[u8]) {
        let arriving = self.live(to).and_then(|running| {
            let mut all = running.arriving.iter_mut();
            all.find(|one| one.number == to.index)
        });
        if let Some(arriving) = arriving.filter(|one| !one.too_large) {
            arriving.bytes.extend_from_slice(bytes);
        }
    }

    /// The end of it. No dialogue asks for anything but values that could be as large.
    pub(super) fn end(&mut self, to: Ticket, later: &mut VecDeque<Later>) {
        let Some(running) = self.live(to) else {
            return;
        };
        let mut all = running.arriving.iter();
        if let Some(place) = all.position(|one| one.number == to.index) {
            let arrived = running.arriving.swap_remove(place);
            let answer = match arrived.too_large {
                true => Answer::Failed(ErrorKind::TooLarge),
                false => Answer::Value(arrived.bytes),
            };
            self.answer(to, answer, later);
        }
    }

    fn remove(&mut self, id: u32) -> Option<Running> {
        let running = self.running.try_remove(id as usize)?;
        self.background -= usize::from(running.background);
        for open in &running.open {
            self.close(open);
        }
        if let Some(name) = running.permit {
            self.pass_on(name);
        }
        Some(running)
    }

    /// Bytes of memory held by each, with the client's request that it is for.
    pub(super) fn held(&self) -> impl Iterator<Item = (Ticket, usize)> {
        let all = self.running.iter();
        all.map(|(_, running)| (running.root, running.held()))
    }
}

impl Dialogues {
    /// A permit is free.
    #[cold]
    fn pass_on(&mut self, name: usize) {
        while let Some(next) = self.permits.next(name) {
            if let Some(running) = self.live(next) {
                running.permit = Some(name);
                return self.permits.granted.push(next);
            }
        }
    }
}

/// What came of an attempt to send an ask.
enum Attempt {
    Sent,
    /// There is no room for it now.
    Waits,
}

impl Core {
    /// Starts a dialogue for a request, on the routing that this has begun with. It runs when
    /// [`Core::run_later`] does.
    pub(super) fn begin_dialogue(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        holds_client: bool,
        make: impl FnOnce(Handle) -> Dialogue,
    ) {
        if !self.is_wanted(to) {
            return self.forget_frame(to);
        }
        let root = match self.dialogues.live(to) {
            Some(outer) => outer.root,
            None => to,
        };
        let holds_client = holds_client && to.dialogue().is_none();
        if holds_client {
            self.hold_client(root, true);
        }
        self.spawn((to, root), routing, None, holds_client, make);
    }

    /// Starts a dialogue that nobody waits for, with one destination.
    pub(super) fn begin_settling(&mut self, with: u32, make: impl FnOnce(Handle) -> Dialogue) {
        let routing = Arc::clone(&self.routing);
        self.spawn(
            (Ticket::WORKER, Ticket::WORKER),
            &routing,
            Some(with),
            false,
            make,
        );
    }

    /// Starts a dialogue for a request, with one destination.
    pub(super) fn begin_dialogue_with(
        &mut self,
        destination: u32,
        to: Ticket,
        make: impl FnOnce(Handle) -> Dialogue,
    ) {
        if to != Ticket::WORKER && !self.is_wanted(to) {
            return self.forget_frame(to);
        }
        self.dialogues.let_go(to);
        let root = self.dialogues.live(to).map_or(to, |outer| outer.root);
        let routing = Arc::clone(&self.routing);
        self.spawn((to, root), &routing, Some(destination), false, make);
    }

    fn spawn(
        &mut self,
        (to, root): (Ticket, Ticket),
        routing: &Arc<Routing>,
        destination: Option<u32>,
        holds_client: bool,
        make: impl FnOnce(Handle) -> Dialogue,
    ) {
        let handle = Handle::default();
        self.dialogues.serial = self.dialogues.serial.wrapping_add(1);
        let id = self.dialogues.running.insert(Running {
            serial: self.dialogues.serial,
            to,
            root,
            routing: Arc::clone(routing),
            future: Some(make(handle.clone())),
            handle,
            destination,
            holds_client,
            permit: None,
            unsent: VecDeque::new(),
            way: None,
            open: Vec::new(),
            arriving: Vec::new(),
            background: false,
            due: true,
            waits: false,
        });
        self.later.push_back(Later::Poll(id as u32));
    }

    /// The address of the client that a request is of, if it has one.
    pub(super) fn address_of(&mut self, to: Ticket) -> Option<IpAddr> {
        let root = self.dialogues.live(to).map_or(to, |outer| outer.root);
        let client = self.replies.client_of(root)?;
        self.replies.client(client)?.address
    }

    fn is_wanted(&mut self, to: Ticket) -> bool {
        if to == Ticket::WORKER {
            return true;
        }
        match to.dialogue() {
            None => self.replies.wanted(to),
            Some(_) => self.dialogues.wanted(to),
        }
    }

    /// Nothing that the client has sent behind such an update is executed before that is done.
    fn hold_client(&mut self, root: Ticket, hold: bool) {
        if let Some(id) = self.replies.client_of(root)
            && let Some(client) = self.replies.client_mut(id)
        {
            if hold {
                client.dialogues += 1;
                client.blocked = true;
            } else {
                client.dialogues = client.dialogues.saturating_sub(1);
            }
        }
    }

    pub(super) fn forget_frame(&mut self, to: Ticket) {
        if self
            .frames
            .get(to.frame as usize)
            .is_some_and(|frame| frame.answers(to))
        {
            self.frames.remove(to.frame as usize);
        }
    }

    /// Lets a dialogue go on with what it has heard.
    pub(super) fn poll_dialogue(&mut self, id: u32) {
        let Some(running) = self.dialogues.running.get_mut(id as usize) else {
            return;
        };
        running.due = false;
        let to = running.to;
        if !self.is_wanted(to) {
            return self.drop_dialogue(id);
        }
        let Some(running) = self.dialogues.running.get_mut(id as usize) else {
            return;
        };
        let Some(mut future) = running.future.take() else {
            return;
        };
        match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => self.end_dialogue(id, answer),
            Poll::Pending => {
                running.future = Some(future);
                let is_early;
                let permits;
                let pauses = {
                    let mut talk = running.handle.talk();
                    is_early = talk.early.is_some();
                    running.unsent.append(&mut talk.asks);
                    permits = std::mem::take(&mut talk.permits);
                    std::mem::take(&mut talk.pauses)
                };
                for (number, name, limit) in permits {
                    running.open.push(Open {
                        number,
                        is_free: true,
                        destination: None,
                        bytes: 0,
                    });
                    let to = Ticket::of_dialogue(id, running.serial, number);
                    let client = self.replies.client_of(running.root);
                    let client = client.unwrap_or(u32::MAX);
                    if self.dialogues.permits.ask(name, limit, client, to) {
                        running.permit = Some(name);
                        self.dialogues.permits.granted.push(to);
                    }
                }
                for (number, micros) in pauses {
                    let until = self.now.saturating_add(micros);
                    running.open.push(Open {
                        number,
                        is_free: true,
                        destination: None,
                        bytes: 0,
                    });
                    let to = Ticket::of_dialogue(id, running.serial, number);
                    self.dialogues.paused += 1;
                    let nth = self.dialogues.paused;
                    self.dialogues.pauses.insert((until, nth), to);
                    self.timer = self.timer.min(until);
                }
                if running.unsent.is_empty() && running.open.is_empty() {
                    tracing::error!("a dialogue waits for nothing");
                    return self.end_dialogue(id, Answer::Failed(ErrorKind::NoServer));
                }
                if !running.unsent.is_empty() && !std::mem::replace(&mut running.waits, true) {
                    self.dialogues.waiting.push_back(id);
                    self.dialogues.has_room = true;
                }
                if is_early {
                    self.answer_early(id);
                }
                self.grant();
            }
        }
    }

    /// Gives the answer of a dialogue that goes on. If there are too many of those, it ends: what it has asked goes on
    /// without it, and has to be sent for that.
    fn answer_early(&mut self, id: u32) {
        let is_full = self.dialogues.background >= MAX_BACKGROUND;
        let Some(running) = self.dialogues.running.get_mut(id as usize) else {
            return;
        };
        if is_full {
            if running.unsent.is_empty() && !running.background {
                self.end_dialogue(id, Answer::Failed(ErrorKind::Overloaded));
            }
            return;
        }
        let Some(answer) = running.handle.talk().early.take() else {
            return;
        };
        running.background = true;
        let to = std::mem::replace(&mut running.to, Ticket::WORKER);
        let root = std::mem::replace(&mut running.root, Ticket::WORKER);
        let holds_client = std::mem::take(&mut running.holds_client);
        self.dialogues.background += 1;
        if holds_client {
            self.hold_client(root, false);
        }
        self.hub().conclude(to, answer);
    }

    /// Tells those who have got a permit.
    fn grant(&mut self) {
        while let Some(to) = self.dialogues.permits.granted.pop() {
            self.dialogues.answer(to, Answer::Miss, &mut self.later);
        }
    }

    fn end_dialogue(&mut self, id: u32, answer: Answer) {
        let Some(running) = self.dialogues.remove(id) else {
            return;
        };
        self.grant();
        if let Some(destination) = running.destination
            && running.to == Ticket::WORKER
        {
            return match answer {
                Answer::Failed(_) => self.settle_soon(),
                _ => self.settle(destination),
            };
        }
        if running.background {
            return;
        }
        if running.holds_client {
            self.hold_client(running.root, false);
        }
        let early = running.handle.talk().early.take();
        let answer = early.unwrap_or(answer);
        // Other failures have been counted where they happened.
        if let Answer::Failed(kind @ ErrorKind::TooLarge) = answer {
            self.stats.errors.count(kind);
            self.stats.worker.errors.inc();
        }
        self.hub().conclude(running.to, answer);
    }

    fn drop_dialogue(&mut self, id: u32) {
        if let Some(running) = self.dialogues.remove(id) {
            if running.holds_client {
                self.hold_client(running.root, false);
            }
            self.forget_frame(running.to);
            self.grant();
        }
    }

    /// Drops the dialogues that nobody waits for any more.
    pub(super) fn drop_unwanted(&mut self) {
        if self.dialogues.running.is_empty() {
            return;
        }
        let all = self.dialogues.running.iter();
        let all: Vec<(u32, Ticket)> = all.map(|(id, one)| (id as u32, one.root)).collect();
        for (id, root) in all {
            if root != Ticket::WORKER && !self.replies.wanted(root) {
                self.drop_dialogue(id);
            }
        }
        // There may be room for the asks of others.
        self.run_later();
    }

    /// Sends what dialogues ask, as far as there is room.
    pub(super) fn ask_for_dialogues(&mut self) {
        self.dialogues.has_room = false;
        for _ in 0..self.dialogues.waiting.len() {
            let Some(id) = self.dialogues.waiting.pop_front() else {
                return;
            };
            let waits = loop {
                match self.ask_next(id) {
                    None => break false,
                    Some(Attempt::Waits) => break true,
                    Some(Attempt::Sent) => {}
                }
            };
            if let Some(running) = self.dialogues.running.get_mut(id as usize) {
                running.waits = waits;
                let is_early = running.handle.talk().early.is_some();
                if waits {
                    self.dialogues.waiting.push_back(id);
                } else if is_early {
                    self.answer_early(id);
                }
            }
        }
    }

    /// Sends a dialogue's next ask; `None` if it has none.
    fn ask_next(&mut self, id: u32) -> Option<Attempt> {
        let running = self.dialogues.running.get(id as usize)?;
        let (number, ask) = running.unsent.front()?;
        let at_once = running.handle.talk().at_once;
        // What others wait for must not wait for them.
        let nested = running.to.dialogue().is_some();
        if self.dialogues.open >= MAX_OPEN && !nested && !at_once {
            return Some(Attempt::Waits);
        }
        let routing = Arc::clone(&running.routing);
        let tree = &routing.snapshot.tree;
        let key = ask.what.key();
        let sort = ask.what.op().sort(key, tree.splits());
        let only = running.destination;
        let (plan, target) = running.way.clone().unwrap_or_else(|| {
            let mut plan = ask.what.op().plan(self.now);
            let target = match only {
                Some(_) => None,
                None => match tree.resolve_for(ask.what.op().operation(), ask.from, key) {
                    Step::Nowhere => None,
                    Step::Pool(pool) => Some(Target::Pool(pool)),
                    Step::Decide(node) => plan.start(tree, node, key, sort),
                },
            };
            (plan, target)
        });
        let destination = only.or_else(|| match target {
            Some(Target::Pool(pool)) => pick(&routing, pool, key).map(|(id, _)| id),
            _ => None,
        });
        let bytes = ask.what.held() + COMMAND;
        if let Some(destination) = destination
            && !at_once
            && !self.has_room_for(destination, bytes)
        {
            let running = self.dialogues.running.get_mut(id as usize)?;
            running.way = Some((plan, target));
            return Some(Attempt::Waits);
        }
        let mut to = Ticket::of_dialogue(id, running.serial, *number);
        let running = self.dialogues.running.get_mut(id as usize)?;
        running.way = None;
        let (number, ask) = running.unsent.pop_front()?;
        running.open.push(Open {
            number,
            is_free: at_once,
            destination: destination.filter(|_| !at_once),
            bytes,
        });
        self.dialogues.open += usize::from(!at_once);
        if let Some(destination) = destination.filter(|_| !at_once) {
            let outgoing = self.dialogues.outgoing.entry(destination).or_default();
            outgoing.asks += 1;
            outgoing.bytes += bytes;
        }
        let sent = match target {
            None => match only {
                Some(destination) => self.send_to_destination(destination, to, &ask.what),
                None => Err(ErrorKind::NoServer),
            },
            Some(Target::Pool(pool)) if plan.is_over() => {
                self.send_retained(&routing, pool, to, &ask.what)
            }
            Some(target) => {
                let owner = Ticket {
                    frame: Ticket::NO_FRAME,
                    ..to
                };
                let mut what = ask.what;
                // Without its flags nobody could tell metadata from a value.
                let longer = match what.op() {
                    Op::Command { head, .. } if plan.has_joined() => with_flags(head),
                    _ => None,
                };
                if let (Some(head), Op::Command { class, guard, .. }) = (&longer, what.op()) {
                    let block = b"";
                    let op = Op::Command {
                        class,
                        head,
                        block,
                        guard,
                    };
                    what = Retained::new(what.key(), op).under(what.prefix());
                }
                let mut frame = Frame::new(routing, plan, owner, sort, what);
                frame.added_flags = longer.is_some();
                to.frame = self.frames.insert(frame) as u32;
                self.resend(to.frame, target);
                Ok(())
            }
        };
        if let Err(kind) = sent {
            self.fail(to, kind);
        }
        Some(Attempt::Sent)
    }

    /// Whether one ask more, with so many bytes, may be under way to a destination.
    fn has_room_for(&self, destination: u32, bytes: usize) -> bool {
        let Some(outgoing) = self.dialogues.outgoing.get(&destination) else {
            return true;
        };
        let destination = self.destinations.get(destination as usize);
        destination.and_then(Option::as_ref).is_none_or(|to| {
            outgoing.asks < to.spec.queue_requests / 2
                && outgoing.bytes + bytes <= to.spec.queue_bytes / 2
        })
    }
}
