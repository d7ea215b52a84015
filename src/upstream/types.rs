//! What passes between a connection and those who use it.

use crate::protocol::response::Kind;
use crate::stats::latency::Timing;

/// Who gets the answer; this module only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The request's place in the worker's table.
    pub request: u32,
    /// Its serial number, so that a reused place isn't taken for it.
    pub serial: u32,
    /// Which of the request's keys.
    pub index: u32,
    /// The route frame that decides on the answer, or [`Ticket::NO_FRAME`].
    pub frame: u32,
}

impl Ticket {
    /// The answer goes to the client as it is.
    pub const NO_FRAME: u32 = u32::MAX;
    /// Nobody waits (any more).
    pub const NOBODY: Ticket = Ticket {
        request: u32::MAX,
        serial: 0,
        index: 0,
        frame: Ticket::NO_FRAME,
    };
    /// The worker itself waits.
    pub const WORKER: Ticket = Ticket {
        request: u32::MAX,
        serial: u32::MAX,
        index: 0,
        frame: Ticket::NO_FRAME,
    };
    /// A frame that nobody has: the answer goes to a dialogue as it is.
    pub const BARE: u32 = u32::MAX - 1;
    /// In [`Ticket::request`]: the rest of it is a place in the table of dialogues.
    const DIALOGUE: u32 = 1 << 31;

    /// For a request of a dialogue.
    pub fn of_dialogue(id: u32, serial: u32, index: u32) -> Ticket {
        Ticket {
            request: id | Ticket::DIALOGUE,
            serial,
            index,
            frame: Ticket::BARE,
        }
    }

    /// The dialogue that gets the answer, if it is one.
    #[inline]
    pub fn dialogue(&self) -> Option<u32> {
        // The last place is that of `NOBODY`.
        let id = self.request.wrapping_sub(Ticket::DIALOGUE);
        (id < u32::MAX - Ticket::DIALOGUE).then_some(id)
    }
}

/// The terms of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Who gets the answer.
    pub to: Ticket,
    /// When it was queued, in the caller's microseconds.
    pub since: u64,
    /// When it gives up, in the caller's microseconds.
    pub deadline: u64,
}

/// Receives what the replies mean. Each ticket gets exactly one `miss`, `reply`, `fail`, or `start` …
/// `end`, unless the connection breaks; then [`break_off`](super::conn::Conn::break_off) returns those that got none.
pub trait Sink {
    /// The key is not there.
    fn miss(&mut self, to: Ticket);
    /// A complete reply: a line, or a line and its data block. For `get`s the `VALUE` without `END`.
    fn reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]);
    /// A large reply begins with this line; `total` is its length in bytes, line and block.
    fn start(&mut self, to: Ticket, total: usize, head: &[u8]);
    /// The next bytes of its block.
    fn chunk(&mut self, to: Ticket, bytes: &[u8]);
    /// It is complete.
    fn end(&mut self, to: Ticket);
    /// An error line from the server, with its line end.
    fn error(&mut self, to: Ticket, line: &[u8]);
    /// The connection's own `version` was answered.
    fn ready(&mut self);
    /// So many requests, which were queued together, have all been answered.
    fn timed(&mut self, timing: Timing, requests: u32);
}

/// What a complete reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A `VALUE` and its block.
    Value,
    /// A line of this kind, for meta with its block.
    Line(Kind),
}

/// Why a connection can't be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A reply's key or opaque is not the one asked for.
    WrongKey,
    /// A reply that this command can't have.
    WrongKind,
    /// Bytes that nothing was asked for.
    Unasked,
    /// Something that is not memcached's protocol.
    Garbage,
}

impl Broken {
    /// For the log.
    pub const fn describe(self) -> &'static str {
        match self {
            Broken::WrongKey => "it answered with a key or opaque that was not asked for",
            Broken::WrongKind => "it answered with a reply that this command cannot have",
            Broken::Unasked => "it sent bytes that nothing was asked for",
            Broken::Garbage => "it sent something that is not memcached's protocol",
        }
    }
}

/// The kinds of commands, by the replies they can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// set, add, replace, append, prepend, cas
    Store,
    /// delete
    Delete,
    /// incr, decr
    Arith,
    /// touch
    Touch,
    /// flush_all
    Flush,
    /// mg, ms, md, ma; `own_opaque` if the opaque was added here and is to be taken out of the reply
    Meta {
        /// Whether ringroad added the opaque.
        own_opaque: bool,
    },
    /// me
    MetaDebug,
    /// lease-get
    LeaseGet,
    /// metaget
    Metaget,
    /// lease-set
    LeaseSet,
    /// `stats`, of which only the uptime in seconds is kept: the reply is that as a number, or nothing.
    Uptime,
}

impl Class {
    /// Whether its reply ends in `END`, as that of a get.
    #[must_use]
    pub fn is_lookup(self) -> bool {
        matches!(self, Class::LeaseGet | Class::Metaget)
    }

    pub(super) fn allows(self, kind: Kind) -> bool {
        match self {
            Class::Store => {
                matches!(
                    kind,
                    Kind::Stored | Kind::NotStored | Kind::Exists | Kind::NotFound
                )
            }
            Class::Delete => matches!(kind, Kind::Deleted | Kind::NotFound),
            Class::Arith => matches!(kind, Kind::Number | Kind::NotFound),
            Class::Touch => matches!(kind, Kind::Touched | Kind::NotFound),
            Class::Flush => kind == Kind::Ok,
            Class::Meta { .. } => matches!(
                kind,
                Kind::MetaHeader
                    | Kind::MetaValue(_)
                    | Kind::MetaMiss
                    | Kind::MetaNotFound
                    | Kind::MetaNotStored
                    | Kind::MetaExists
            ),
            Class::MetaDebug => matches!(kind, Kind::MetaDebug | Kind::MetaMiss),
            Class::Uptime => kind == Kind::End,
            // They are read by themselves.
            Class::LeaseGet | Class::Metaget | Class::LeaseSet => false,
        }
    }
}
