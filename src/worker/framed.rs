//! Requests on their way through routes that decide on replies: sent, sent on, copied, stored in parts.

use std::sync::Arc;

use super::big_value::{Joining, Storing, Terms, join, store};
use super::core::{Core, Routing};
use super::dialogues::{Missed, Parts};
use super::dispatch::{Op, hides_errors, keeps_prefix, pick};
use super::frame::{Deletion, Frame, Key, Retained};
use super::many;
use super::moving::{Fetching, Moved, fetch, update};
use crate::config::{Rule, Shadow};
use crate::protocol::error::ErrorKind;
use crate::protocol::operation::Operation;
use crate::protocol::request::Evicted;
use crate::route::big_value::{Update, with_flags};
use crate::route::exec::{Plan, Sort, Target};
use crate::route::moved::MovedKeys;
use crate::route::tree::{Node, NodeId, Step};
use crate::upstream::conn::{Class, Ticket};

/// Dialogues of a worker with which no more items are fetched from previous servers: then a miss is a miss.
const MAX_FETCHES: usize = 512;

impl Core {
    pub(super) fn send_framed(&mut self, node: NodeId, to: Ticket, key: &[u8], op: Op<'_>) {
        let routing = Arc::clone(&self.routing);
        let tree = &routing.snapshot.tree;
        if let Some(Node::Many { rule, children, .. }) = tree.node(node)
            && let Rule::Shadow(shadow) = &**rule
        {
            let mut others = children.iter().skip(1);
            if others
                .all(|other| matches!(tree.resolve_for(op.operation(), *other, key), Step::Pool(_)))
            {
                return self.send_with_copies(&routing, (shadow, children), to, key, op);
            }
        }
        let sort = op.sort(key, tree.splits());
        let mut plan = op.plan(self.now);
        let Some(target) = plan.start(tree, node, key, sort) else {
            return self.fail(to, ErrorKind::NoServer);
        };
        match target {
            Target::Pool(pool) if plan.is_over() => self.send_to_pool(pool, to, key, op),
            Target::Own(node) if plan.is_over() => self.answer(node, &routing, to, key, &op),
            Target::Pool(pool) if !plan.has_joined() && !plan.is_retimed() => {
                let retained = match op {
                    Op::Get(command, exptime) => {
                        Retained::get(Key::from_slice(key), command, exptime)
                    }
                    Op::Command { .. } => Retained::new(key, op),
                };
                let frame = Frame::new(routing, plan, to, sort, retained);
                let frame = self.frames.insert(frame) as u32;
                self.send_to_pool(pool, Ticket { frame, ..to }, key, op);
            }
            _ => self.send_for_dialogue(target, routing, plan, to, sort, key, op),
        }
        self.run_later();
    }

    /// The first child answers. The others are mere pools and get a copy that nobody waits for, if there is time for
    /// that; as many are under way as their servers' queues take.
    fn send_with_copies(
        &mut self,
        routing: &Routing,
        (shadow, children): (&Shadow, &[NodeId]),
        to: Ticket,
        key: &[u8],
        op: Op<'_>,
    ) {
        let Some((first, others)) = children.split_first() else {
            return self.fail(to, ErrorKind::NoServer);
        };
        if !self.overloaded && shadow.samples(self.random()) {
            self.count_requests(others.len());
            for other in others {
                let step = routing.snapshot.tree.resolve_from(*other, key);
                if let Step::Pool(pool) = step {
                    self.send_to_pool(pool, Ticket::NOBODY, key, op);
                }
            }
        }
        let tree = &routing.snapshot.tree;
        match tree.resolve_for(op.operation(), *first, key) {
            Step::Pool(pool) => self.send_to_pool(pool, to, key, op),
            Step::Decide(node) => self.send_framed(node, to, key, op),
            Step::Nowhere => self.fail(to, ErrorKind::NoServer),
        }
    }

    /// What is not sent to a pool as it came. What a dialogue answers, or may have to: a get below a node that puts values together, a value that is to be
    /// stored in parts, an update of a key that has moved; what has its time to live changed; what is answered here.
    #[cold]
    #[allow(clippy::too_many_arguments)] // They are the state of its one caller.
    fn send_for_dialogue(
        &mut self,
        target: Target,
        routing: Arc<Routing>,
        plan: Plan,
        to: Ticket,
        sort: Sort,
        key: &[u8],
        op: Op<'_>,
    ) {
        // Without its flags nobody could tell metadata from a value.
        let longer = match op {
            Op::Command { head, .. } if plan.has_joined() => with_flags(head),
            _ => None,
        };
        let mut op = op;
        if let (Op::Command { head, .. }, Some(longer)) = (&mut op, &longer) {
            *head = longer;
        }
        let retained = Retained::new(key, op);
        if plan.is_over() {
            if let Err(kind) = self.start(to, &routing, target, &retained) {
                self.fail(to, kind);
            }
            return;
        }
        let mut frame = Frame::new(routing, plan, to, sort, retained);
        frame.added_flags = longer.is_some();
        let frame = self.frames.insert(frame) as u32;
        self.resend(frame, target);
    }

    /// Sends a framed request on, to another place in the routing it began with.
    pub(super) fn resend(&mut self, frame_id: u32, target: Target) {
        let Some(frame) = self.frames.get_mut(frame_id as usize) else {
            return;
        };
        let to = Ticket {
            frame: frame_id,
            ..frame.to
        };
        let shortened = frame.shortened();
        if let Target::Own(node) = target {
            let (routing, what) = (Arc::clone(&frame.routing), frame.retained.clone());
            return self.answer(node, &routing, to, what.key(), &what.op());
        }
        let retained = std::mem::take(&mut frame.retained);
        let routing = Arc::clone(&frame.routing);
        let what = shortened.as_ref().unwrap_or(&retained);
        let sent = match target {
            Target::Pool(pool) => self.send_retained(&routing, pool, to, what),
            target => self.start(to, &routing, target, what),
        };
        // Back in its place first: where the route goes from here depends on the key.
        if let Some(frame) = self.frames.get_mut(frame_id as usize) {
            frame.retained = retained;
        }
        if let Err(kind) = sent {
            let hides_errors = match target {
                Target::Pool(pool) => hides_errors(&routing, pool),
                _ => None,
            };
            self.fail_in(hides_errors, to, kind);
        }
    }

    /// Sends a command that has been kept; its block is referred to if that is worth it.
    pub(super) fn send_retained(
        &mut self,
        routing: &Routing,
        pool: u32,
        to: Ticket,
        retained: &Retained,
    ) -> Result<(), ErrorKind> {
        let key = retained.key();
        let (destination, coalesce) = pick(routing, pool, key).ok_or(ErrorKind::NoServer)?;
        let whole;
        let mut retained = retained;
        if retained.prefix().is_some() {
            if keeps_prefix(routing, pool) {
                whole = retained.whole().ok_or(ErrorKind::BadFormat)?;
                retained = &whole;
            } else if key.is_empty() {
                return Err(ErrorKind::BadFormat);
            }
        }
        let key = retained.key();
        let conn = match self.connection(destination, key) {
            Ok(conn) => conn,
            Err(kind) => {
                self.owe(destination, key, &retained.op());
                return Err(kind);
            }
        };
        if retained.is_lease_set() && !self.knows_leases(conn) {
            self.ask_about_leases(destination, conn, to, retained);
            return Ok(());
        }
        let lent = std::mem::replace(&mut self.lent, retained.block().cloned());
        self.enqueue(conn, to, key, retained.op(), coalesce);
        self.lent = lent;
        Ok(())
    }

    /// As [`Core::send_retained`], whatever the routes say and the destination is owed.
    pub(super) fn send_to_destination(
        &mut self,
        destination: u32,
        to: Ticket,
        retained: &Retained,
    ) -> Result<(), ErrorKind> {
        let conn = self.any_connection(destination, retained.key())?;
        if retained.is_lease_set() && !self.knows_leases(conn) {
            return Err(ErrorKind::ConnectionLost);
        }
        let lent = std::mem::replace(&mut self.lent, retained.block().cloned());
        self.enqueue(conn, to, retained.key(), retained.op(), false);
        self.lent = lent;
        Ok(())
    }

    /// Deletes in a gutter what has been deleted elsewhere; nobody waits for it.
    pub(super) fn delete_in_gutter(&mut self, deletion: &Deletion) {
        self.stats.worker.gutter_deletes.inc();
        let Deletion {
            routing,
            node,
            what,
        } = deletion;
        let tree = &routing.snapshot.tree;
        let (key, sort) = (what.key(), Sort::Update { len: 0 });
        let mut nodes = vec![*node];
        while let Some(node) = nodes.pop() {
            match Plan::of(Operation::Delete, false, self.now).start(tree, node, key, sort) {
                // Should it fail: what is there does not live long.
                Some(Target::Pool(pool)) => {
                    let _ = self.send_retained(routing, pool, Ticket::NOBODY, what);
                }
                Some(Target::Move(node)) => {
                    let both = moving(routing, node).map(|(new, old, _)| [new, old]);
                    nodes.extend(both.into_iter().flatten());
                }
                Some(Target::Many(node)) => {
                    if let Some(Node::Many { children, .. }) = tree.node(node) {
                        nodes.extend(children);
                    }
                }
                Some(Target::Rekey(node)) => {
                    let _ = self.rekey(Ticket::NOBODY, routing, node, what);
                }
                Some(Target::Split(_) | Target::Own(_)) | None => {}
            }
        }
    }

    /// Adds an item that was found in a warm pool to a cold one; nobody waits for it.
    pub(super) fn copy_item(
        &mut self,
        routing: &Routing,
        pool: u32,
        key: &[u8],
        head: &[u8],
        block: &[u8],
    ) {
        if let Some((destination, _)) = pick(routing, pool, key)
            && let Ok(conn) = self.connection(destination, key)
        {
            let op = Op::Command {
                class: Class::Store,
                head,
                block,
                guard: b"",
            };
            self.enqueue(conn, Ticket::NOBODY, key, op, false);
        }
    }

    /// Begins what takes many requests.
    fn start(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        target: Target,
        what: &Retained,
    ) -> Result<(), ErrorKind> {
        match target {
            Target::Pool(pool) => self.send_retained(routing, pool, to, what),
            Target::Split(node) => self.split(to, routing, node, what),
            Target::Move(node) => self.move_update(to, routing, node, what),
            Target::Own(node) => {
                self.answer(node, routing, to, what.key(), &what.op());
                Ok(())
            }
            Target::Many(node) => self.ask_many(to, routing, node, what),
            Target::Rekey(node) => self.rekey(to, routing, node, what),
        }
    }

    /// A request that a dialogue is to answer with what its own requests bring. Who gets the answer.
    pub(super) fn adopt_request(&mut self, to: Ticket) -> Ticket {
        if let Some(frame) = self.frames.get_mut(to.frame as usize)
            && frame.answers(to)
        {
            // What is found there may have to be put together further up.
            frame.fetched = true;
        }
        self.dialogues.let_go(to);
        let nobody = Ticket {
            frame: Ticket::NO_FRAME,
            ..to
        };
        if nobody == Ticket::NOBODY {
            // What nobody waits for is done all the same.
            self.forget_frame(to);
            return Ticket::WORKER;
        }
        to
    }

    /// Has a node's children answer by its rule.
    #[cold]
    fn ask_many(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        node: NodeId,
        what: &Retained,
    ) -> Result<(), ErrorKind> {
        let (rule, children, memory) = match routing.snapshot.tree.node(node) {
            Some(Node::Many {
                rule,
                children,
                memory,
            }) => (Arc::clone(rule), children.clone(), Arc::clone(memory)),
            Some(Node::WarmUp {
                cold,
                warm,
                exptime,
            }) => {
                let exptime = Some(*exptime);
                let rule = Arc::new(Rule::WarmUp { exptime });
                (rule, vec![*cold, *warm], Arc::default())
            }
            _ => return Err(ErrorKind::NoServer),
        };
        let to = self.adopt_request(to);
        let mut children = children;
        if let Rule::Shadow(shadow) = &*rule
            && (self.overloaded || !shadow.samples(self.random()) || self.dialogues.is_busy())
        {
            children.truncate(1);
        }
        self.count_requests(children.len());
        let client = match *rule {
            Rule::Client(_) => self.address_of(to),
            _ => None,
        };
        let terms = many::Terms {
            random: match *rule {
                Rule::SlowWarmUp(_) | Rule::Latency(_) | Rule::Sizes(_) => self.random(),
                _ => 0,
            },
            unix: match *rule {
                Rule::Migrate(_) => self.local.unix_time(),
                _ => 0,
            },
            normal: match *rule {
                Rule::KeyedFailover(_) => {
                    let first = children.first().copied();
                    first.and_then(|first| chosen(routing, first, what.key()))
                }
                _ => None,
            },
            client,
            rule,
            children,
            memory,
        };
        let tree = &routing.snapshot.tree;
        let is_update = what.op().sort(what.key(), tree.splits()) != Sort::Get;
        let (what, now) = (what.clone(), self.now);
        self.begin_dialogue(to, routing, is_update, |handle| {
            Box::pin(many::run(handle, terms, what, now))
        });
        Ok(())
    }

    /// Has an update reach both servers of a key that has moved.
    fn move_update(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        node: NodeId,
        what: &Retained,
    ) -> Result<(), ErrorKind> {
        let nodes = moving(routing, node).ok_or(ErrorKind::NoServer)?;
        let serial = self.dialogues.next_serial();
        let moved = Moved::new(nodes, what, serial, Arc::clone(&self.stats));
        let what = what.clone();
        self.begin_dialogue(to, routing, true, |handle| {
            Box::pin(update(handle, moved, what))
        });
        Ok(())
    }

    /// Asks the previous server of a key that has moved for what the new one lacks.
    pub(super) fn fetch_moved(&mut self, missed: Missed) {
        let Missed { to, node, miss } = missed;
        let frame = self.frames.get_mut(to.frame as usize);
        let Some(frame) = frame.filter(|frame| frame.answers(to)) else {
            return;
        };
        frame.fetched = true;
        let routing = Arc::clone(&frame.routing);
        let nodes = moving(&routing, node);
        let Some(nodes) = nodes.filter(|_| self.dialogues.len() < MAX_FETCHES && !self.overloaded)
        else {
            self.stats.worker.moved_skipped.inc();
            return self.hub().conclude(to, miss);
        };
        let what = frame.shortened();
        let what = what.unwrap_or_else(|| frame.retained.clone());
        let serial = self.dialogues.next_serial();
        let moved = Moved::new(nodes, &what, serial, Arc::clone(&self.stats));
        let fetching = Fetching { moved, what, miss };
        self.begin_dialogue(to, &routing, false, |handle| {
            Box::pin(fetch(handle, fetching))
        });
    }

    /// Stores a value in parts.
    fn split(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        node: NodeId,
        what: &Retained,
    ) -> Result<(), ErrorKind> {
        let Op::Command { class, head, .. } = what.op() else {
            return Err(ErrorKind::NoServer);
        };
        let update = Update::of(class, head, what.key()).ok_or(ErrorKind::NoServer)?;
        let terms = terms(routing, node).ok_or(ErrorKind::NoServer)?;
        let Some(storing) = Storing::new(terms, update, what) else {
            // As for any value that is too large, the old one goes.
            if class == Class::Store && head.starts_with(b"set ") {
                self.evict(&Evicted {
                    key: what.key(),
                    base64: false,
                });
            }
            return Err(ErrorKind::KeyTooLong);
        };
        self.begin_dialogue(to, routing, true, |handle| Box::pin(store(handle, storing)));
        Ok(())
    }

    /// Puts together a value whose metadata has been found.
    pub(super) fn join_parts(&mut self, parts: Parts) {
        let Parts { to, node, reply } = parts;
        let frame = self.frames.get(to.frame as usize);
        let Some(frame) = frame.filter(|frame| frame.answers(to)) else {
            return;
        };
        if self.overloaded {
            return self.fail(to, ErrorKind::Overloaded);
        }
        let routing = Arc::clone(&frame.routing);
        let Some(terms) = terms(&routing, node) else {
            return self.fail(to, ErrorKind::NoServer);
        };
        let max_value = routing.snapshot.settings.parse.max_value;
        let joining = Joining::new(terms, &frame.retained, reply, frame.added_flags, max_value);
        self.begin_dialogue(to, &routing, false, |handle| {
            Box::pin(join(handle, joining))
        });
    }
}

/// Which of its servers, or children, a node has for a key, if it goes by a hash.
fn chosen(routing: &Routing, node: NodeId, key: &[u8]) -> Option<usize> {
    let mut node = node;
    loop {
        match routing.snapshot.tree.node(node)? {
            Node::Pool(pool) => {
                let pool = routing.snapshot.pools.get(*pool as usize)?;
                return Some(pool.selector.as_ref()?.select(key));
            }
            Node::Choose(choice) => return choice.place(key),
            Node::Moving { new, .. } => node = *new,
            Node::Failover { children, .. } | Node::Many { children, .. } => {
                node = *children.first()?;
            }
            _ => return None,
        }
    }
}

/// The new and the old pool of a node, and its keys.
fn moving(routing: &Routing, node: NodeId) -> Option<(NodeId, NodeId, MovedKeys)> {
    match routing.snapshot.tree.node(node)? {
        Node::Moving { new, old, keys } => Some((*new, *old, keys.clone())),
        _ => None,
    }
}

fn terms(routing: &Routing, node: NodeId) -> Option<Terms> {
    match routing.snapshot.tree.node(node)? {
        Node::BigValue {
            child,
            threshold,
            batch,
            hide_flag,
        } => Some(Terms {
            child: *child,
            threshold: *threshold,
            batch: *batch,
            hide_flag: *hide_flag,
        }),
        _ => None,
    }
}
