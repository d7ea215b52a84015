//! What servers are owed: remembered when updates fail, settled when the server is back.
//!
//! Who settles is a dialogue of the worker that sees the server in service first. Until that is done, requests for the
//! keys in question are treated as if the server were down, whichever worker they come to; see
//! [`crate::upstream::owed`]. All of this costs a request one look at whether anything is owed, and only where the pool
//! asks for it.

use std::sync::Arc;

use super::core::{Core, Stats};
use super::destinations::Upstream;
use super::dialogue::{Answer, Ask, Handle};
use super::dispatch::Op;
use super::frame::Retained;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{encode_key, words};
use crate::protocol::response::Kind;
use crate::protocol::write;
use crate::upstream::conn::Class;
use crate::upstream::owed::{AllOwed, Debt, Owed};

/// How soon is looked again whether what is owed can be settled, in microseconds.
const PERIOD: u64 = 50_000;

/// Who settles lets others try after so many timeouts of the server, should it have been lost.
const LEASE: u64 = 10;

/// How many deletions are under way at a time.
const AT_A_TIME: usize = 64;

impl Op<'_> {
    /// Whether something old would be left if this did not reach its server.
    pub(super) fn leaves_old(&self) -> bool {
        match self {
            Op::Get(..) => false,
            Op::Command { class, head, .. } => match class {
                Class::Store | Class::LeaseSet | Class::Delete | Class::Arith | Class::Flush => {
                    true
                }
                // A negative time ends the item at once.
                Class::Meta { .. } => {
                    !head.starts_with(b"mg ") || words(head).any(|word| word.starts_with(b"T-"))
                }
                Class::Touch => words(head)
                    .nth(2)
                    .is_some_and(|time| time.starts_with(b"-")),
                Class::MetaDebug | Class::Uptime | Class::LeaseGet | Class::Metaget => false,
            },
        }
    }
}

impl Core {
    /// A command did not get as far as a connection of its destination.
    #[cold]
    pub(super) fn owe(&mut self, destination: u32, key: &[u8], op: &Op<'_>) {
        if op.leaves_old() {
            self.owe_keys(destination, std::iter::once(key), false);
        }
    }

    /// Commands for these keys may not have been done; unless they have been `sent`, they have not.
    pub(super) fn owe_keys<'k>(
        &mut self,
        destination: u32,
        keys: impl IntoIterator<Item = &'k [u8]>,
        sent: bool,
    ) {
        let Some(Some(destination)) = self.destinations.get(destination as usize) else {
            return;
        };
        let Some(owed) = &destination.owed else {
            return;
        };
        for key in keys {
            owed.owe(key, self.now, sent);
            self.stats.worker.owed_updates.inc();
            self.settle_at = self.now;
            self.timer = self.now;
        }
    }

    /// Has it looked at soon what is owed.
    pub(super) fn settle_soon(&mut self) {
        self.settle_at = self.settle_at.min(self.now + PERIOD);
        self.timer = self.timer.min(self.settle_at);
    }

    /// Settles what can be settled with servers that are in service.
    pub(super) fn settle_all(&mut self) {
        self.settle_at = u64::MAX;
        for id in 0..self.destinations.len() as u32 {
            self.settle(id);
        }
    }

    fn is_ready(&self, conn: u32) -> bool {
        let up = self.conns.get(conn as usize);
        up.is_some_and(Upstream::is_ready)
    }

    /// Whether a server that is in service is owed anything.
    #[cfg(test)]
    pub(super) fn is_in_debt(&self) -> bool {
        let mut all = self.destinations.iter().flatten();
        all.any(|one| !one.down && one.owed.as_ref().is_some_and(|owed| owed.is_pending()))
    }

    /// Begins to settle with a server that is in service; if not now, then soon, or when it is connected.
    pub(super) fn settle(&mut self, id: u32) {
        let Some(Some(destination)) = self.destinations.get(id as usize) else {
            return;
        };
        let Some(owed) = destination.owed.as_ref().filter(|owed| owed.is_pending()) else {
            return;
        };
        if destination.down {
            return;
        }
        // Who asks for one of the keys next shall not be the one to find out.
        let mut conns = destination.conns.iter().copied();
        if !conns.any(|conn| self.is_ready(conn)) {
            let _ = self.any_connection(id, b"");
            return;
        }
        let lease = destination.spec.timeout.saturating_mul(LEASE);
        let debt = owed.settle(self.now, self.now.saturating_add(lease));
        let settling = debt.map(|debt| Settling {
            debt,
            owed: Arc::clone(owed),
            server: destination.spec.name.clone(),
            stats: Arc::clone(&self.stats),
            now: self.now,
        });
        match settling {
            Some(settling) => {
                self.begin_settling(id, |handle| Box::pin(settle(handle, settling)));
            }
            None => self.settle_soon(),
        }
    }
}

/// What is to be settled with one server.
struct Settling {
    debt: Debt,
    owed: Arc<Owed>,
    server: String,
    stats: Arc<Stats>,
    /// When it was begun.
    now: u64,
}

/// Settles some of it, or fails to.
async fn settle(handle: Handle, settling: Settling) -> Answer {
    let Settling {
        debt,
        owed,
        server,
        stats,
        now,
    } = settling;
    let mut failed = None;
    match debt {
        Debt::All(all) => failed = settle_all(&handle, &owed, all, &server, &stats).await.err(),
        Debt::Keys(keys) => {
            let mut waiting = keys.iter();
            let asks = keys.iter().map(|(key, _)| delete(key));
            handle
                .ask_all(asks, AT_A_TIME, |answer| {
                    let Some((key, number)) = waiting.next() else {
                        return false;
                    };
                    if let Answer::Failed(kind) = answer {
                        failed = Some(kind);
                        return false;
                    }
                    // A server that refuses to delete a key has no way to have it either.
                    owed.paid(key, *number);
                    stats.worker.owed_deletes.inc();
                    true
                })
                .await;
            if !owed.is_pending() && owed.may_say(now) {
                tracing::info!(
                    server,
                    "the server was out of reach; what it had of the keys that have been updated since is deleted"
                );
            }
        }
    }
    owed.rest();
    failed.map_or(Answer::Miss, Answer::Failed)
}

async fn settle_all(
    handle: &Handle,
    owed: &Owed,
    all: AllOwed,
    server: &str,
    stats: &Stats,
) -> Result<(), ErrorKind> {
    let stats_ask = Retained::line(Class::Uptime, Vec::new(), b"stats\r\n".to_vec());
    let uptime = match handle
        .ask(Ask {
            from: 0,
            what: stats_ask,
        })
        .await
    {
        Answer::Line(Kind::End, seconds) => {
            let seconds = std::str::from_utf8(&seconds).ok();
            seconds.and_then(|seconds| seconds.parse::<u64>().ok())
        }
        Answer::Failed(kind) => return Err(kind),
        _ => None,
    };
    // It counts seconds, and not from their beginning.
    let up_for = uptime.map(|seconds| seconds.saturating_add(2).saturating_mul(1_000_000));
    if up_for.is_some_and(|up_for| up_for < all.age) {
        owed.restarted(all);
        tracing::info!(
            server,
            uptime_s = uptime,
            "the server has been restarted while it was out of reach; it has nothing old"
        );
        return Ok(());
    }
    let mut head = Vec::new();
    write::flush_all(None, &mut head);
    let flush = Retained::line(Class::Flush, Vec::new(), head);
    match handle
        .ask(Ask {
            from: 0,
            what: flush,
        })
        .await
    {
        Answer::Failed(kind) => return Err(kind),
        Answer::Error(line, _) => {
            tracing::error!(
                server,
                answer = %String::from_utf8_lossy(&line).trim_end(),
                "the server was out of reach and refuses flush_all; it may give out old values (on_return)"
            );
            owed.flush_refused(all);
            return Ok(());
        }
        _ => {
            stats.worker.owed_flushes.inc();
            tracing::warn!(
                server,
                "the server was out of reach and has not been restarted since; all it had is deleted (on_return)"
            );
        }
    }
    owed.flushed(all);
    Ok(())
}

/// What deletes a key.
fn delete(key: &[u8]) -> Ask {
    // Only a meta command can name such a key.
    let is_binary = key.iter().any(|b| matches!(b, 0 | b'\r' | b'\n' | b' '));
    let mut head = Vec::with_capacity(key.len() + 16);
    let what = if is_binary {
        head.extend_from_slice(b"md ");
        head.extend_from_slice(&encode_key(key));
        head.extend_from_slice(b" b O0\r\n");
        Retained::meta(key.to_vec(), head, None, b"0".to_vec())
    } else {
        write::delete(key, &mut head);
        Retained::line(Class::Delete, key.to_vec(), head)
    };
    Ask { from: 0, what }
}

#[cfg(test)]
#[path = "returns_tests.rs"]
mod tests;
