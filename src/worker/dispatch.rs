//! From parsed requests to commands queued for servers, and answers to what concerns the router itself.

use std::sync::Arc;

use super::core::{Core, Routing};
use super::destinations::State;
use crate::client::replies::{LongGet, Mute, Shape};
use crate::hash::Selector;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{self, MAX_DECODED, words};
use crate::protocol::request::{
    Evicted, Get, GetCommand, Meta, MetaCommand, Refused, Request, Store, StoreCommand,
};
use crate::protocol::write;
use crate::route::compile::{PoolSnapshot, Role};
use crate::route::tree::Step;
use crate::upstream::conn::{Asking, Class, Ticket};

/// A command for one server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op<'a> {
    /// One key of a retrieval.
    Get(GetCommand, i32),
    /// A complete command.
    Command {
        class: Class,
        head: &'a [u8],
        block: &'a [u8],
        /// What a meta reply must carry; see [`crate::upstream::conn::Conn::command`].
        guard: &'a [u8],
    },
}

/// A get of up to this many keys is asked for at once, whatever the client's replies have been like.
const MIN_LONG: usize = 32;

pub(super) const fn mute(noreply: bool) -> Mute {
    if noreply { Mute::All } else { Mute::Nothing }
}

impl Core {
    pub(super) fn dispatch(&mut self, routing: &Routing, id: u32, request: Request<'_>) {
        match request {
            Request::Get(get) => self.get(routing, id, &get),
            Request::Store(store) => self.store(id, &store),
            Request::Delete { key, noreply } => {
                self.stats.worker.cmd_delete.inc();
                self.line(id, mute(noreply), key, Class::Delete, b"", |head| {
                    write::delete(key, head);
                });
            }
            Request::Arith {
                incr,
                key,
                delta,
                noreply,
            } => {
                self.stats.worker.cmd_arith.inc();
                if !incr {
                    self.stats.worker.cmd_decr.inc();
                }
                self.line(id, mute(noreply), key, Class::Arith, b"", |head| {
                    write::arith(incr, key, delta, head);
                });
            }
            Request::Touch {
                key,
                exptime,
                noreply,
            } => {
                self.stats.worker.cmd_touch.inc();
                self.line(id, mute(noreply), key, Class::Touch, b"", |head| {
                    write::touch(key, exptime, head);
                });
            }
            Request::Meta(meta) => self.meta(id, &meta),
            Request::MetaNoop => self.replies.local(id, b"MN\r\n"),
            Request::Version => self.replies.local(id, self.local.version()),
            Request::Verbosity { noreply } => {
                if !noreply {
                    self.replies.local(id, b"OK\r\n");
                }
            }
            Request::FlushAll { delay, noreply } => self.flush_all(id, delay, noreply),
            Request::Stats { args } => {
                let mut text = Vec::new();
                self.local.stats(args, &mut text);
                self.replies.local(id, &text);
                // A report is long work; the others come before this client's next one.
                if let Some(client) = self.replies.client_mut(id) {
                    client.blocked = true;
                }
            }
            Request::Quit => self.quit(id),
            Request::Lookup(lookup) => self.lookup(id, &lookup),
            Request::LeaseSet(set) => self.lease_set(id, &set),
            Request::Refused(refused) => self.refused(id, &refused),
        }
    }

    fn refused(&mut self, id: u32, refused: &Refused<'_>) {
        if let Some(client) = self.replies.client_mut(id) {
            client.swallow = u32::try_from(refused.swallow).unwrap_or(u32::MAX);
        }
        if let Some(evicted) = refused.evict {
            self.evict(&evicted);
        }
        self.refuse(id, refused.error, refused.noreply);
    }

    /// Counts an error that a request gets on the spot, and gives it to a client that wants a reply.
    pub(super) fn refuse(&mut self, id: u32, error: ErrorKind, noreply: bool) {
        self.stats.errors.count(error);
        self.stats.worker.errors.inc();
        if !noreply {
            let words = self.replies.words;
            self.replies.local(id, error.wire_in(words));
        }
    }

    /// memcached drops the old value when a new one is too large. Nobody waits for this.
    pub(super) fn evict(&mut self, evicted: &Evicted<'_>) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let mut scratch = [0; MAX_DECODED];
        let class = if evicted.base64 {
            head.extend_from_slice(b"md ");
            head.extend_from_slice(evicted.key);
            head.extend_from_slice(b" b O0\r\n");
            Class::Meta { own_opaque: true }
        } else {
            write::delete(evicted.key, &mut head);
            Class::Delete
        };
        let key = evicted.item_key(&mut scratch);
        let op = Op::Command {
            class,
            head: &head,
            block: b"",
            guard: if evicted.base64 { b"0" } else { b"" },
        };
        self.send(Ticket::NOBODY, key, op);
        self.head = head;
    }

    /// Counts what is not a mere get.
    #[cold]
    #[inline(never)]
    fn count_get(&self, command: GetCommand, keys: u64) {
        let worker = &self.stats.worker;
        match command {
            GetCommand::Get => worker.cmd_get.add(keys),
            GetCommand::Gets => {
                worker.cmd_get.add(keys);
                worker.cmd_gets.add(keys);
            }
            GetCommand::Gat => {
                worker.cmd_touch.add(keys);
                worker.cmd_gat.add(keys);
            }
            GetCommand::Gats => {
                worker.cmd_touch.add(keys);
                worker.cmd_gats.add(keys);
            }
        }
    }

    /// Counts what is not a mere set among the storage commands.
    #[cold]
    #[inline(never)]
    fn count_store(&self, command: StoreCommand) {
        let worker = &self.stats.worker;
        match command {
            StoreCommand::Set => {}
            StoreCommand::Add => worker.cmd_add.inc(),
            StoreCommand::Replace => worker.cmd_replace.inc(),
            StoreCommand::Append => worker.cmd_append.inc(),
            StoreCommand::Prepend => worker.cmd_prepend.inc(),
            StoreCommand::Cas => worker.cmd_cas.inc(),
        }
    }

    fn get(&mut self, routing: &Routing, id: u32, get: &Get<'_>) {
        match get.command {
            GetCommand::Get => self.stats.worker.cmd_get.add(get.count as u64),
            command => self.count_get(command, get.count as u64),
        }
        let command = (get.command, get.exptime);
        if get.count == 1 {
            let to = self.replies.begin(id, Shape::Get, 1);
            return self.get_keys(routing, to, std::iter::once(get.keys), command);
        }
        let max_bytes = self.routing.snapshot.settings.client_bytes;
        if get.count <= MIN_LONG || get.count <= self.replies.window(id, max_bytes) {
            let to = self.replies.begin(id, Shape::Get, get.count as u32);
            return self.get_keys(routing, to, get.keys(), command);
        }
        let long = LongGet {
            command: (get.command, get.exptime),
            text: get.keys.to_vec(),
            at: 0,
            left: get.count,
        };
        self.replies.keep_long(id, Box::new(long));
        self.ask_more(id);
    }

    /// Asks for the keys of one get, whose slots begin at `to`.
    #[inline(always)] // Of a get of one key it is what there is to do.
    fn get_keys<'a>(
        &mut self,
        routing: &Routing,
        to: Ticket,
        keys: impl Iterator<Item = &'a [u8]>,
        command: (GetCommand, i32),
    ) {
        let only = Only::of(routing);
        let mut joined = 0;
        for (index, key) in (0..).zip(keys) {
            let to = Ticket { index, ..to };
            match &only {
                Some(only) => joined += u64::from(self.get_in_pool(only, to, key, command)),
                None => self.send(to, key, Op::Get(command.0, command.1)),
            }
        }
        self.stats.worker.upstream_requests.add(joined);
    }

    /// Asks for the next part of a client's long get, if it has one and room for it.
    pub(super) fn ask_more(&mut self, id: u32) {
        let max_bytes = self.routing.snapshot.settings.client_bytes;
        while let Some((mut long, window)) = self.replies.take_long(id, max_bytes) {
            let count = long.left.min(window);
            let shape = if count == long.left {
                Shape::Get
            } else {
                Shape::GetPart
            };
            let to = self.replies.begin(id, shape, count as u32);
            let mut keys = words(long.text.get(long.at..).unwrap_or_default());
            let routing = Arc::clone(&self.routing);
            self.get_keys(&routing, to, keys.by_ref().take(count), long.command);
            long.at = long.text.len() - keys.rest().len();
            long.left -= count;
            if long.left > 0 {
                self.replies.keep_long(id, long);
            }
        }
    }

    fn store(&mut self, id: u32, store: &Store<'_>) {
        self.stats.worker.cmd_set.inc();
        if store.command != StoreCommand::Set {
            self.count_store(store.command);
        }
        let block = store.block;
        if self.is_overloaded(block) {
            return self.refuse(id, ErrorKind::Overloaded, store.noreply);
        }
        let (key, mute) = (store.key, mute(store.noreply));
        if !store.line.is_empty() {
            return self.written(id, mute, key, Class::Store, (store.line, block));
        }
        self.line(id, mute, key, Class::Store, block, |head| {
            write::store(store, head);
        });
    }

    /// Whether a large value is too much for now.
    pub(super) fn is_overloaded(&self, block: &[u8]) -> bool {
        self.overloaded && block.len() > 4096
    }

    /// A command with a one-line reply.
    fn line(
        &mut self,
        id: u32,
        mute: Mute,
        key: &[u8],
        class: Class,
        block: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        write(&mut head);
        self.written(id, mute, key, class, (&head, block));
        self.head = head;
    }

    /// As [`Core::line`], for one that is written already.
    fn written(
        &mut self,
        id: u32,
        mute: Mute,
        key: &[u8],
        class: Class,
        (head, block): (&[u8], &[u8]),
    ) {
        let shape = match class {
            Class::Arith => Shape::Number(mute),
            _ => Shape::Line(mute),
        };
        let to = self.replies.begin(id, shape, 1);
        let op = Op::Command {
            class,
            head,
            block,
            guard: b"",
        };
        if class == Class::Delete && self.routing.snapshot.tree.spools() {
            self.send_deletion(to, key, op);
        } else {
            self.send(to, key, op);
        }
    }

    fn meta(&mut self, id: u32, meta: &Meta<'_>) {
        let worker = &self.stats.worker;
        worker.cmd_meta.inc();
        match meta.command {
            MetaCommand::Get => worker.cmd_get.inc(),
            MetaCommand::Set => worker.cmd_set.inc(),
            MetaCommand::Delete => worker.cmd_delete.inc(),
            MetaCommand::Arithmetic => worker.cmd_arith.inc(),
            MetaCommand::Debug => {}
        }
        if self.is_overloaded(meta.block) {
            return self.refuse(id, ErrorKind::Overloaded, false);
        }
        let mute = if meta.flags.quiet {
            Mute::Quiet(meta.command)
        } else {
            Mute::Nothing
        };
        let shape = match meta.command {
            MetaCommand::Get => Shape::MetaGet(mute),
            _ => Shape::Line(mute),
        };
        let to = self.replies.begin(id, shape, 1);
        if meta.command == MetaCommand::Get
            && (meta.flags.key || meta.flags.base64 || meta.flags.opaque.is_some())
        {
            let mut text = std::mem::take(&mut self.head);
            text.clear();
            meta::miss(meta.key, meta.flags_text, &mut text);
            self.replies.set_miss(to, &text);
            self.head = text;
        }
        let mut scratch = [0; MAX_DECODED];
        let key = meta.item_key(&mut scratch);
        let mut head = std::mem::take(&mut self.head);
        let mut own = std::mem::take(&mut self.guard);
        head.clear();
        own.clear();
        let class = match (meta.command, meta.flags.opaque) {
            (MetaCommand::Debug, _) => Class::MetaDebug,
            (_, Some(_)) => Class::Meta { own_opaque: false },
            (_, None) => {
                own.extend_from_slice(itoa::Buffer::new().format(to.serial).as_bytes());
                Class::Meta { own_opaque: true }
            }
        };
        write::meta(meta, &own, &mut head);
        if let Some(opaque) = meta.flags.opaque {
            own.extend_from_slice(opaque);
        }
        // A base64 key comes back in its canonical spelling, which need not be the client's.
        if meta.flags.key && !meta.flags.base64 {
            own.push(b' ');
            own.extend_from_slice(meta.key);
        }
        if meta.command == MetaCommand::Debug {
            own.clear();
        }
        let op = Op::Command {
            class,
            head: &head,
            block: meta.block,
            guard: &own,
        };
        if meta.command == MetaCommand::Delete && self.routing.snapshot.tree.spools() {
            self.send_deletion(to, key, op);
        } else {
            self.send(to, key, op);
        }
        self.head = head;
        self.guard = own;
    }

    fn flush_all(&mut self, id: u32, delay: Option<i32>, noreply: bool) {
        let routing = Arc::clone(&self.routing);
        if !routing.snapshot.settings.flush_all {
            return self.refuse(id, ErrorKind::FlushDisabled, noreply);
        }
        self.stats.worker.cmd_flush.inc();
        let mut all: Vec<u32> = routing.destinations.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let to = self
            .replies
            .begin(id, Shape::Broadcast(mute(noreply)), all.len() as u32);
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        write::flush_all(delay, &mut head);
        for destination in all {
            let op = Op::Command {
                class: Class::Flush,
                head: &head,
                block: b"",
                guard: b"",
            };
            match self.connection(destination, b"") {
                Ok(conn) => self.enqueue(conn, to, b"", op, false),
                Err(kind) => {
                    self.owe(destination, b"", &op);
                    self.fail(to, kind);
                }
            }
        }
        self.head = head;
    }

    /// Routes a command and queues it.
    pub(super) fn send(&mut self, to: Ticket, key: &[u8], op: Op<'_>) {
        match self.routing.snapshot.tree.resolve(key) {
            Step::Pool(pool) => self.send_to_pool(pool, to, key, op),
            Step::Decide(node) => self.send_framed(node, to, key, op),
            Step::Nowhere => self.fail(to, ErrorKind::NoServer),
        }
    }

    /// As [`Core::send`], for a deletion where some are written down.
    #[cold]
    #[inline(never)]
    fn send_deletion(&mut self, to: Ticket, key: &[u8], op: Op<'_>) {
        match self.routing.snapshot.tree.resolve_deletion(key) {
            Step::Pool(pool) => self.send_to_pool(pool, to, key, op),
            Step::Decide(node) => self.send_framed(node, to, key, op),
            Step::Nowhere => self.fail(to, ErrorKind::NoServer),
        }
    }

    #[inline]
    pub(super) fn send_to_pool(&mut self, pool: u32, to: Ticket, key: &[u8], op: Op<'_>) {
        let failed = match pick(&self.routing, pool, key) {
            Some((destination, coalesce)) => match self.connection(destination, key) {
                Ok(conn) => return self.enqueue(conn, to, key, op, coalesce),
                Err(kind) => {
                    self.owe(destination, key, &op);
                    kind
                }
            },
            None => ErrorKind::NoServer,
        };
        self.fail_in(hides_errors(&self.routing, pool), to, failed);
    }

    /// As [`Core::send_to_pool`], for a key of a retrieval. Nearly all of them go to a server that is up and not busy, and
    /// are done with here. Returns whether the caller has to count it among those that were sent to servers.
    #[inline]
    fn get_in_pool(
        &mut self,
        only: &Only<'_>,
        to: Ticket,
        key: &[u8],
        get: (GetCommand, i32),
    ) -> bool {
        let destination = only.destinations.get(only.selector.select(key));
        let conn = destination.and_then(|destination| self.only_connection(*destination));
        if let Some(up) = conn.and_then(|conn| self.conns.get_mut(conn as usize))
            // Where lines wait, one that is open may be of an earlier turn, and its server out by now.
            && matches!(up.state, State::Ready { .. })
            && up.conn.join(get, key, to, only.coalesce, &mut self.pool)
        {
            // All else has been seen to when its line was begun, in this turn.
            up.stats.requests.inc();
            return true;
        }
        self.send_to_pool(only.pool, to, key, Op::Get(get.0, get.1));
        false
    }

    #[inline]
    pub(super) fn enqueue(
        &mut self,
        conn: u32,
        to: Ticket,
        key: &[u8],
        op: Op<'_>,
        coalesce: bool,
    ) {
        let Some(up) = self.conns.get_mut(conn as usize) else {
            return self.fail(to, ErrorKind::NoServer);
        };
        let asking = Asking {
            to,
            since: self.now,
            deadline: self.now.saturating_add(up.timeout),
        };
        let new_line = match op {
            Op::Get(command, exptime) => {
                up.conn
                    .get((command, exptime), key, asking, coalesce, &mut self.pool)
            }
            Op::Command {
                class,
                head,
                block,
                guard,
            } => {
                let block = (block, self.lent.as_ref());
                up.conn
                    .command(class, head, block, guard, asking, &mut self.pool);
                if up.tracks && op.leaves_old() {
                    up.conn.track(key);
                }
                true
            }
        };
        self.stats.worker.upstream_requests.inc();
        up.stats.requests.inc();
        if new_line {
            self.stats.worker.upstream_lines.inc();
            up.stats.lines.inc();
        }
        self.timer = self.timer.min(asking.deadline);
        if !up.dirty {
            if up.is_ready() {
                up.dirty = true;
                self.todo.write.push(conn);
            } else {
                up.report_queue();
            }
        }
    }
}

/// What there is to be known of the pool that all keys go to.
struct Only<'a> {
    pool: u32,
    selector: &'a Selector,
    destinations: &'a [u32],
    coalesce: bool,
}

impl<'a> Only<'a> {
    #[inline]
    fn of(routing: &'a Routing) -> Option<Only<'a>> {
        let pool = routing.snapshot.tree.only_pool()?;
        let settings = routing.snapshot.pools.get(pool as usize)?;
        Some(Only {
            pool,
            selector: settings.selector.as_ref()?,
            destinations: routing.destinations.get(pool as usize)?,
            coalesce: settings.coalesce,
        })
    }
}

/// The destination that owns a key in a pool, and whether gets may share a line there.
#[inline]
pub(super) fn pick(routing: &Routing, pool: u32, key: &[u8]) -> Option<(u32, bool)> {
    let settings = routing.snapshot.pools.get(pool as usize)?;
    let Some(selector) = &settings.selector else {
        return pick_successor(routing, settings, key);
    };
    let server = selector.select(key);
    let destination = *routing.destinations.get(pool as usize)?.get(server)?;
    Some((destination, settings.coalesce))
}

/// Whether a get that fails in a pool is a miss, if the pool says.
pub(super) fn hides_errors(routing: &Routing, pool: u32) -> Option<bool> {
    routing.snapshot.pools.get(pool as usize)?.hides_errors
}

/// Whether the servers of a pool see keys with their routing prefixes.
pub(super) fn keeps_prefix(routing: &Routing, pool: u32) -> bool {
    let pool = routing.snapshot.pools.get(pool as usize);
    pool.is_some_and(|pool| pool.keeps_prefix)
}

#[cold]
fn pick_successor(routing: &Routing, settings: &PoolSnapshot, key: &[u8]) -> Option<(u32, bool)> {
    let Role::Successor { of, nth } = settings.role else {
        return None;
    };
    let whole = routing.snapshot.pools.get(of as usize)?;
    let server = whole.selector.as_ref()?.successor(key, nth)?;
    let destination = *routing.destinations.get(of as usize)?.get(server)?;
    Some((destination, settings.coalesce))
}
