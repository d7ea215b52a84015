//! How many requests a worker routes at a time, and which of them wait for their turn.
//!
//! With a bound (`limits.worker_requests`) the requests of a client beyond it stay in its input, unread ones in its socket,
//! and the client is put in line. Whoever is first goes on as soon as a request has ended. What is refused instead, because
//! too many wait or it has waited for too long, is answered in the client's order like anything else.
//!
//! Without a bound nothing of this is looked at: with one, the bound on a client's requests that is looked at anyway is 0
//! ([`Settings::client_requests`]), and all decisions are made here.

use std::collections::VecDeque;

use super::core::Core;
use crate::protocol::error::ErrorKind;
use crate::protocol::request::{self, Parsed, Request};
use crate::route::compile::{Settings, Throttle};
use crate::stats::results::Failed;

/// Who waits.
#[derive(Debug)]
pub(super) struct Turns {
    /// In the order of `since`.
    line: VecDeque<Waiting>,
    /// How many requests wait in that line.
    requests: usize,
    /// Whose turn it is.
    current: Option<Waiting>,
    /// When the first one will have waited for too long, or `u64::MAX`.
    pub(super) due: u64,
}

/// A client whose next request can't be routed yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    client: u32,
    since: u64,
    /// How many of its requests have waited since then.
    requests: usize,
    /// They have waited for too long.
    is_late: bool,
}

/// What becomes of a client's next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is dealt with.
    Now,
    /// It had so many bytes, and has been refused.
    Refused(usize),
    /// Not yet: the client is blocked.
    Later,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            line: VecDeque::new(),
            requests: 0,
            current: None,
            due: u64::MAX,
        }
    }
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    fn take_first(&mut self) -> Option<Waiting> {
        let first = self.line.pop_front()?;
        self.requests -= first.requests;
        Some(first)
    }

    /// A client is gone.
    #[cold]
    pub(super) fn forget(&mut self, client: u32) {
        self.line.retain(|one| one.client != client);
        self.requests = self.line.iter().map(|one| one.requests).sum();
    }
}

impl Core {
    /// What becomes of a client's next request, at the beginning of `rest`, if the client has come to a bound.
    #[cold]
    #[inline(never)]
    pub(super) fn turn(&mut self, id: u32, settings: &Settings, rest: &[u8]) -> Turn {
        let Some(throttle) = &settings.throttle else {
            return Turn::Later;
        };
        if !self.has_own_room(id, settings, throttle) {
            return Turn::Later;
        }
        let is_full = self.replies.outstanding() >= throttle.requests;
        let current = self.turns.current.take();
        let mut current = current.filter(|one| one.client == id && one.requests > 0);
        let may_go = match &mut current {
            Some(one) => {
                one.requests -= 1;
                !is_full && !one.is_late
            }
            None => !is_full && self.turns.is_empty(),
        };
        self.turns.current = current;
        if may_go {
            return Turn::Now;
        }
        // What is not here yet, or not for a server, waits for nobody.
        let Some((len, noreply)) = next_routed(rest, settings) else {
            return Turn::Now;
        };
        match self.turns.current {
            Some(one) if one.is_late => return self.refuse_busy(id, len, noreply),
            Some(one) => {
                // It was there before those in the line.
                self.turns.current = None;
                let requests = one.requests + 1;
                self.turns.line.push_front(Waiting { requests, ..one });
                self.turns.requests += requests;
            }
            None => {
                let room = match throttle.waiting {
                    0 => usize::MAX,
                    most => most.saturating_sub(self.turns.requests),
                };
                if room == 0 {
                    return self.refuse_busy(id, len, noreply);
                }
                let requests = complete(rest, settings).min(room);
                self.turns.line.push_back(Waiting {
                    client: id,
                    since: self.now,
                    requests,
                    is_late: false,
                });
                self.turns.requests += requests;
            }
        }
        if let Some(client) = self.replies.client_mut(id) {
            client.waits = true;
        }
        self.look_at_turns(throttle.wait);
        Turn::Later
    }

    fn refuse_busy(&mut self, id: u32, len: usize, noreply: bool) -> Turn {
        self.stats.results.ended(Failed::Busy);
        self.refuse(id, ErrorKind::Busy, noreply);
        Turn::Refused(len)
    }

    /// Whether the client's own bounds let it ask for more.
    fn has_own_room(&self, id: u32, settings: &Settings, throttle: &Throttle) -> bool {
        let most = throttle.client_requests;
        self.replies.has_room(id, most, settings.client_bytes)
    }

    /// Whether a client that had come to a bound may go on without having waited in line.
    #[cold]
    #[inline(never)]
    pub(super) fn need_not_wait(&self, id: u32) -> bool {
        let settings = &self.routing.snapshot.settings;
        let waits = self.replies.client(id).is_none_or(|client| client.waits);
        match &settings.throttle {
            Some(throttle) => !waits && self.has_own_room(id, settings, throttle),
            None => false,
        }
    }

    /// Whether somebody waits whose turn it is.
    pub fn has_turns(&self) -> bool {
        !self.turns.is_empty() && self.is_free()
    }

    #[cold]
    fn is_free(&self) -> bool {
        let throttle = &self.routing.snapshot.settings.throttle;
        throttle.is_none_or(|throttle| self.replies.outstanding() < throttle.requests)
    }

    /// Lets go on those whose turn it is, and refuses what has waited for too long.
    #[cold]
    #[inline(never)]
    pub(super) fn give_turns(&mut self) {
        // Without a bound any more nobody has to wait.
        let throttle = self.routing.snapshot.settings.throttle;
        loop {
            let oldest = self.turns.line.front().map(|one| one.since);
            let is_late = match (oldest, throttle.map_or(0, |throttle| throttle.wait)) {
                (None, _) => break,
                (_, 0) => false,
                (Some(since), wait) => since.saturating_add(wait) <= self.now,
            };
            if !is_late && !self.is_free() {
                break;
            }
            let Some(first) = self.turns.take_first() else {
                break;
            };
            if let Some(client) = self.replies.client_mut(first.client) {
                client.waits = false;
                self.turns.current = Some(Waiting { is_late, ..first });
                self.unblock(first.client);
                self.turns.current = None;
            }
        }
        self.look_at_turns(throttle.map_or(0, |throttle| throttle.wait));
    }

    /// Notes how many wait, and when the first will have waited for too long.
    fn look_at_turns(&mut self, wait: u64) {
        self.stats
            .worker
            .waiting_requests
            .set(self.turns.requests as u64);
        self.turns.due = match (self.turns.line.front(), wait) {
            (Some(first), 1..) => first.since.saturating_add(wait),
            _ => u64::MAX,
        };
        self.timer = self.timer.min(self.turns.due);
    }
}

/// The length of the request that begins here, if it is complete and goes to a server, and whether nobody waits for its
/// reply.
fn next_routed(rest: &[u8], settings: &Settings) -> Option<(usize, bool)> {
    let Parsed::Request { len, request } = request::parse(rest, &settings.parse) else {
        return None;
    };
    let noreply = match request {
        Request::Get(_) | Request::Lookup(_) | Request::Meta(_) => false,
        Request::Store(store) => store.noreply,
        Request::LeaseSet(set) => set.noreply,
        Request::Delete { noreply, .. }
        | Request::Arith { noreply, .. }
        | Request::Touch { noreply, .. }
        | Request::FlushAll { noreply, .. } => noreply,
        Request::MetaNoop
        | Request::Version
        | Request::Verbosity { .. }
        | Request::Stats { .. }
        | Request::Quit
        | Request::Refused(_) => return None,
    };
    Some((len, noreply))
}

/// How many complete requests there are.
fn complete(mut rest: &[u8], settings: &Settings) -> usize {
    let mut requests = 0;
    while let Parsed::Request { len, request } = request::parse(rest, &settings.parse) {
        requests += 1;
        let data = match request {
            Request::Refused(refused) => refused.swallow,
            _ => 0,
        };
        rest = rest.get(len.saturating_add(data)..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
    requests
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
