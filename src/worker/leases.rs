//! `lease-get`, `metaget` and `lease-set`.
//!
//! Each key is a dialogue, so that nothing of this is in the way of other requests: it asks along the routes as any
//! request does and makes of the answer what the client is to read. What `lease-get` does not find is an `LVALUE` in
//! any case; without a server's token that is 0, with which nobody may store anything.
//!
//! A `lease-set` is sent only where the same connection has answered a `lease-get`; see [`crate::upstream::leases`].
//! Where none has, one for a key of ringroad's own goes before it.

use std::sync::Arc;

use super::core::Core;
use super::dialogue::{Answer, Ask, Handle};
use super::dispatch::mute;
use super::frame::Retained;
use crate::client::replies::Shape;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::words;
use crate::protocol::number;
use crate::protocol::request::{LeaseSet, Lookup, LookupCommand};
use crate::protocol::response::Kind;
use crate::protocol::write;
use crate::route::exec::Outcome;
use crate::route::pairing::Pairing;
use crate::route::tree::{NodeId, Reason};
use crate::upstream::conn::{Class, Ticket};
use crate::upstream::leases::UNKNOWN;

/// What is asked for to find out whether a server knows leases.
const OWN_KEY: &[u8] = b"ringroad:leases";

impl Core {
    #[cold]
    pub(super) fn lookup(&mut self, id: u32, lookup: &Lookup<'_>) {
        let worker = &self.stats.worker;
        worker.cmd_get.add(lookup.count as u64);
        match lookup.command {
            LookupCommand::LeaseGet => worker.cmd_lease_get.add(lookup.count as u64),
            LookupCommand::Metaget => worker.cmd_metaget.add(lookup.count as u64),
        }
        let routing = Arc::clone(&self.routing);
        let from = routing.snapshot.tree.root();
        let hides_errors = routing.snapshot.settings.miss_on_get_errors;
        for (index, key) in words(lookup.keys).enumerate() {
            // One `END` for all of them.
            let shape = match index + 1 == lookup.count {
                true => Shape::Get,
                false => Shape::GetPart,
            };
            let to = self.replies.begin(id, shape, 1);
            let class = match lookup.command {
                LookupCommand::LeaseGet => Class::LeaseGet,
                LookupCommand::Metaget => Class::Metaget,
            };
            let what = Retained::lookup(class, key.to_vec(), key);
            self.begin_dialogue(to, &routing, false, |handle| {
                Box::pin(look_up(handle, from, what, class, hides_errors))
            });
        }
        self.run_later();
    }

    #[cold]
    pub(super) fn lease_set(&mut self, id: u32, set: &LeaseSet<'_>) {
        self.stats.worker.cmd_set.inc();
        self.stats.worker.cmd_lease_set.inc();
        if self.is_overloaded(set.block) {
            return self.refuse(id, ErrorKind::Overloaded, set.noreply);
        }
        let to = self.replies.begin(id, Shape::Line(mute(set.noreply)), 1);
        let mut head = Vec::new();
        write::lease_set(set, &mut head);
        let what = Retained::store(Class::LeaseSet, set.key.to_vec(), head, set.block.to_vec());
        let routing = Arc::clone(&self.routing);
        let from = routing.snapshot.tree.root();
        self.begin_dialogue(to, &routing, true, |handle| {
            handle.holds(what.held());
            Box::pin(async move { handle.ask(Ask { from, what }).await })
        });
        self.run_later();
    }

    /// Whether a `lease-set` may be sent on this connection.
    pub(super) fn knows_leases(&self, conn: u32) -> bool {
        let up = self.conns.get(conn as usize);
        up.is_some_and(|up| up.is_ready() && up.conn.knows_leases() == Some(true))
    }

    /// Sends a `lease-set` once the server is known to know it, or answers for a server that does not.
    #[cold]
    pub(super) fn ask_about_leases(
        &mut self,
        destination: u32,
        conn: u32,
        to: Ticket,
        what: &Retained,
    ) {
        let up = self.conns.get(conn as usize);
        if up.is_some_and(|up| up.is_ready() && up.conn.knows_leases() == Some(false)) {
            self.stats.worker.errors.inc();
            let outcome = Outcome::Failed(Reason::Error);
            return self.hub().error_as(to, UNKNOWN, outcome);
        }
        let what = what.clone();
        self.begin_dialogue_with(destination, to, |handle| {
            handle.holds(what.held());
            Box::pin(introduce(handle, what))
        });
    }
}

/// A line with another word in the place of a token.
pub(super) fn with_token(line: &[u8], token: u64) -> Option<Vec<u8>> {
    let mut starts = memchr::memchr_iter(b' ', line).map(|space| space + 1);
    let start = starts.nth(1)?;
    let end = starts.next()? - 1;
    let mut number = itoa::Buffer::new();
    let token = number.format(token).as_bytes();
    Some([line.get(..start)?, token, line.get(end..)?].concat())
}

/// The answer of a failover's child; a lease that it has given goes by a token of ringroad's own.
pub(super) fn paired(
    answer: Answer,
    leases: &Pairing,
    child: usize,
    key: &[u8],
    now: u64,
) -> Answer {
    let token = lease(&answer);
    let Answer::Line(Kind::MetaMiss, bytes) = answer else {
        return answer;
    };
    let changed = token.and_then(|token| with_token(&bytes, leases.keep(key, child, token, now)));
    Answer::Line(Kind::MetaMiss, changed.unwrap_or(bytes))
}

/// The token that comes with a miss.
pub(super) fn lease(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Line(Kind::MetaMiss, line) if line.starts_with(b"LVALUE ") => {
            number::strict_u64(words(line).nth(2)?)
        }
        _ => None,
    }
}

/// Whether it is a miss for which somebody else has the token.
pub(super) fn is_hot(answer: &Answer) -> bool {
    matches!(answer, Answer::Line(Kind::MetaDebug, line) if line.starts_with(b"NOT_FOUND_HOT"))
}

async fn look_up(
    handle: Handle,
    from: NodeId,
    what: Retained,
    class: Class,
    hides_errors: bool,
) -> Answer {
    let key = what.key().to_vec();
    let answer = handle.ask(Ask { from, what }).await;
    let is_miss = match &answer {
        Answer::Miss => true,
        Answer::Failed(_) | Answer::Error(..) => hides_errors,
        Answer::Value(_) | Answer::Line(..) => false,
    };
    match (is_miss, class) {
        (true, Class::LeaseGet) => {
            let line = [b"LVALUE ", &*key, b" 0 0 0\r\n\r\n"].concat();
            Answer::Line(Kind::MetaMiss, line)
        }
        _ => answer,
    }
}

/// Asks the server for a lease and, if it knows what that is, sends what is to be sent.
async fn introduce(handle: Handle, what: Retained) -> Answer {
    // By the same key, on the same connection.
    let asked = Retained::lookup(Class::LeaseGet, what.key().to_vec(), OWN_KEY);
    let from = 0;
    match handle.ask(Ask { from, what: asked }).await {
        failed @ (Answer::Failed(_) | Answer::Error(..)) => failed,
        _ => handle.ask(Ask { from, what }).await,
    }
}
