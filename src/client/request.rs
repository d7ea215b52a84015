//! Clients and their requests as data; [`super::replies`] has what happens to them.

use crate::protocol::error::{ErrorKind, Words};
use crate::protocol::request::{GetCommand, MetaCommand};
use crate::protocol::response::Kind;
use crate::worker::buf::Buf;

/// Assumed length of a reply before there is a history, in bytes: high, so that a new client's long pipeline
/// of large values is not asked for all at once.
pub(super) const FIRST_AVERAGE: u32 = 32 * 1024;

/// The most keys of one get that are asked for at a time.
pub const WINDOW: usize = 512;

/// The least, however long the client's replies are.
pub(super) const MIN_WINDOW: usize = 16;

/// One client connection.
#[derive(Debug)]
pub struct Client {
    /// Where it is, unless it is at a unix socket.
    pub address: Option<std::net::IpAddr>,
    /// Received and not yet parsed.
    pub input: Buf,
    /// To be sent.
    pub out: Buf,
    /// Bytes of a refused data block still to be thrown away.
    pub swallow: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Requests without a complete reply.
    pub requests: u32,
    /// Keys without an answer.
    pub keys: u32,
    /// The keys of a long get that have not been asked for yet. Nothing behind them is read before they are.
    pub(super) long: Option<Box<LongGet>>,
    /// What the parts of a long get before this one failed with.
    pub(super) part_failure: Option<Box<Failure>>,
    /// Bytes of replies that wait for their turn.
    pub(super) held: usize,
    /// What a reply's length is expected to be, in bytes: the longest lately.
    pub(super) average: u32,
    /// In [`Replies::dirty`].
    pub(super) dirty: bool,
    /// No more requests are read; it is closed when all replies are sent.
    pub closing: bool,
    /// It is closed at once; what it was owed can't be sent.
    pub broken: bool,
    /// It is closed with a reset, because it may not understand a mere end.
    pub reset: bool,
    /// Parsing stopped at a bound and goes on when there is room.
    pub blocked: bool,
    /// It waits for its turn.
    pub waits: bool,
    /// Updates of its that take several requests. Nothing behind them is executed before they are.
    pub dialogues: u32,
    /// It has shut down its sending side.
    pub eof: bool,
    /// It has sent something.
    pub spoken: bool,
    /// The input is a line that may be long, searched for its end already.
    pub in_line: bool,
    /// The length of the request that has begun, in bytes, or 0 if that isn't known.
    pub need: u32,
}

impl Client {
    /// Whether some keys of a long get have not been asked for yet.
    pub fn has_long(&self) -> bool {
        self.long.is_some()
    }

    /// Whether it waits for nothing and has nothing half sent: it can be closed without loss.
    pub fn is_idle(&self) -> bool {
        self.requests == 0 && self.long.is_none() && self.out.is_empty()
    }

    /// Learns from the length of a reply: at once if it is longer than expected, slowly if it is shorter.
    #[inline]
    pub(super) fn expect(&mut self, len: usize) {
        let len = len.min(u32::MAX as usize / 2) as u32;
        self.average = if len >= self.average {
            len
        } else {
            self.average - (self.average - len) / 8
        };
    }
}

/// Which answers a client does not want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mute {
    /// It sees all.
    Nothing,
    /// `noreply`: it sees none.
    All,
    /// Flag `q` of this meta command: it does not see the common one.
    Quiet(MetaCommand),
}

impl Mute {
    /// Whether an answer of this kind is kept from the client; recorded from memcached 1.6.
    pub(super) fn hides(self, kind: Kind) -> bool {
        match self {
            Mute::Nothing => false,
            Mute::All => true,
            Mute::Quiet(MetaCommand::Get) => kind == Kind::MetaMiss,
            Mute::Quiet(MetaCommand::Arithmetic) => {
                matches!(kind, Kind::MetaHeader | Kind::MetaValue(_))
            }
            Mute::Quiet(_) => kind == Kind::MetaHeader,
        }
    }
}

/// What kind of reply a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Values and `END`.
    Get,
    /// Values: a part of a long get that is not its last.
    GetPart,
    /// One line, possibly with a data block.
    Line(Mute),
    /// As `Line`, for a command whose failures mcrouter 0.36 answers with `NOT_FOUND`.
    Number(Mute),
    /// One line for what all servers were told.
    Broadcast(Mute),
    /// As `Line`; if it fails, it is a miss whose text was given with [`set_miss`](super::replies::Replies::set_miss).
    MetaGet(Mute),
}

#[derive(Debug, Default)]
pub(super) enum Slot {
    #[default]
    Waiting,
    /// Nothing to send.
    Empty,
    /// Complete, in the request's held bytes.
    Held { at: usize, len: usize },
    /// Arriving, held back.
    Stream { bytes: Box<Buf>, done: bool },
    /// Arriving, straight to the client.
    Direct,
}

#[derive(Debug)]
pub enum Failure {
    Kind(ErrorKind),
    Line(Box<[u8]>),
}

impl Failure {
    pub(super) fn wire_in(&self, words: Words) -> &[u8] {
        match self {
            Failure::Kind(kind) => kind.wire_in(words),
            Failure::Line(line) => line,
        }
    }
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) serial: u32,
    pub(super) client: u32,
    pub(super) next: u32,
    pub(super) shape: Shape,
    /// The slot that is sent next.
    pub(super) emit: u32,
    pub(super) count: u32,
    /// Slots (for a broadcast: servers) without an answer.
    pub(super) pending: u32,
    pub(super) first: Slot,
    pub(super) rest: Vec<Slot>,
    pub(super) held: Vec<u8>,
    pub(super) failure: Option<Failure>,
}

impl Request {
    /// Bytes of memory it takes.
    pub(super) fn held(&self) -> usize {
        let slots = std::iter::once(&self.first).chain(&self.rest);
        let streams = slots.map(|slot| match slot {
            Slot::Stream { bytes, .. } => bytes.held(),
            _ => 0,
        });
        size_of::<Request>()
            + self.rest.capacity() * size_of::<Slot>()
            + self.held.capacity()
            + streams.sum::<usize>()
    }

    pub(super) fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        match index {
            0 => Some(&mut self.first),
            _ => self.rest.get_mut(index as usize - 1),
        }
    }
}

/// The keys of a long get that have not been asked for yet. It is asked for in parts, each a request of its
/// own, so that neither slots nor replies of the whole are held at a time.
#[derive(Debug)]
pub struct LongGet {
    /// The command and its expiry time.
    pub command: (GetCommand, i32),
    /// The key words of the line.
    pub text: Vec<u8>,
    /// Where the next key begins.
    pub at: usize,
    /// How many keys are left.
    pub left: usize,
}

/// Counts of outcomes since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Keys found.
    pub hits: u64,
    /// Keys not found.
    pub misses: u64,
    /// Keys of failed gets that were answered as misses.
    pub hidden_errors: u64,
}
