//! The replies to `lease-get`, `metaget` and `lease-set`.
//!
//! A lookup is answered with one line, which may announce a block, and `END`; a key that is not there with `END` alone
//! or, to `lease-get`, with `LVALUE`, which carries a token. That is a miss to routes: it goes on as a line of kind
//! [`Kind::MetaMiss`]. All of this is rare and out of the way of other replies.
//!
//! A server that does not know `lease-set` would take its data block for commands, so nobody sends it one before it
//! has answered a `lease-get` on the same connection: [`Conn::knows_leases`]. That itself is harmless: a memcached says
//! `ERROR`, and the connection goes on. The answer to who asked is [`UNKNOWN`], a failure like others.

use super::conn::{Conn, STREAM_ABOVE, Stream};
use super::matcher::{MAX_BLOCK, complete_line};
use super::types::{Broken, Class, ReplyKind, Sink};
use crate::protocol::meta::words;
use crate::protocol::number;
use crate::protocol::response::{self, Kind};

/// What becomes of the `ERROR` of a server that does not know the command.
pub const UNKNOWN: &[u8] = b"SERVER_ERROR the server does not know this command\r\n";

/// The largest value that comes with a token, in bytes: it is not passed on before it is complete.
const MAX_STALE: usize = 16 << 20;

/// A line of a lookup's reply that is not its end.
enum Found {
    /// The item, with a block of so many bytes.
    Value(usize),
    /// A miss with a token, and a block of so many bytes.
    Lease(usize),
    /// A miss; somebody else has the token.
    Hot,
    /// What is known of an item.
    Meta,
}

impl Found {
    /// `None` if it is no line that this command can have, or one of another key.
    fn of(class: Class, line: &[u8], key: &[u8]) -> Option<Found> {
        let mut words = words(line);
        let name = words.next()?;
        let found = match (class, name) {
            (Class::LeaseGet, b"NOT_FOUND_HOT") => return Some(Found::Hot),
            (Class::LeaseGet, b"VALUE" | b"LVALUE") if words.next() == Some(key) => {
                let lease = name == b"LVALUE";
                let len = words.nth(usize::from(lease) + 1)?;
                let len = number::plain(len).filter(|len| *len <= MAX_BLOCK)?;
                match lease {
                    true if len > MAX_STALE => return None,
                    true => Found::Lease(len),
                    false => Found::Value(len),
                }
            }
            (Class::Metaget, b"META") if words.next() == Some(key) => Found::Meta,
            _ => return None,
        };
        Some(found)
    }
}

impl Conn {
    #[cold]
    pub(super) fn lookup_reply(
        &mut self,
        class: Class,
        buf: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        let waits = self.entries.front().is_some_and(|entry| entry.slots > 0);
        let slot = self.slots.front().copied().filter(|_| waits);
        let kind = response::kind(line);
        if kind == Kind::End {
            self.speaks(class);
            if let Some(slot) = slot {
                sink.miss(slot.to);
                self.answered();
            }
            self.completed(sink);
            return Ok(used);
        }
        // After what was found there is nothing but the end.
        let slot = slot.ok_or(Broken::WrongKind)?;
        if kind.is_error() {
            let mut line = buf.get(..used).unwrap_or_default();
            if kind == Kind::Error {
                line = UNKNOWN;
                if class == Class::LeaseGet {
                    self.leases = Some(false);
                }
            }
            sink.error(slot.to, line);
            self.answered();
            self.completed(sink);
            return Ok(used);
        }
        let found = Found::of(class, line, self.keys.get(slot.key));
        let Some(found) = found else {
            return Err(match kind {
                Kind::Unknown => Broken::Garbage,
                _ => Broken::WrongKind,
            });
        };
        let block = match found {
            Found::Value(len) | Found::Lease(len) => len + 2,
            Found::Hot | Found::Meta => 0,
        };
        let total = used + block;
        let streams = total > STREAM_ABOVE && matches!(found, Found::Value(_));
        if streams {
            self.speaks(class);
            sink.start(slot.to, total, buf.get(..used).unwrap_or_default());
            self.stream = Some(Stream::new(block));
            return Ok(used);
        }
        let Some(bytes) = buf.get(..total) else {
            return Ok(0);
        };
        if block > 0 && !bytes.ends_with(b"\r\n") {
            return Err(Broken::Garbage);
        }
        self.speaks(class);
        let kind = match found {
            Found::Value(_) => ReplyKind::Value,
            Found::Lease(_) => ReplyKind::Line(Kind::MetaMiss),
            // Not to be stored anywhere.
            Found::Hot | Found::Meta => ReplyKind::Line(Kind::MetaDebug),
        };
        sink.reply(slot.to, kind, bytes);
        self.answered();
        Ok(total)
    }

    fn speaks(&mut self, class: Class) {
        if class == Class::LeaseGet {
            self.leases = Some(true);
        }
    }

    #[cold]
    pub(super) fn lease_set_reply(
        &mut self,
        buf: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, Broken> {
        let Some((end, used)) = complete_line(buf)? else {
            return Ok(0);
        };
        let line = buf.get(..end).unwrap_or_default();
        let Some(slot) = self.slots.front().copied() else {
            return Err(Broken::Unasked);
        };
        let kind = match line {
            b"STALE_STORED" => Kind::Stored,
            line => response::kind(line),
        };
        let whole = buf.get(..used).unwrap_or_default();
        match kind {
            Kind::Stored | Kind::NotStored | Kind::Exists | Kind::NotFound | Kind::Deleted => {
                sink.reply(slot.to, ReplyKind::Line(kind), whole);
            }
            // It takes the block for commands: what it says from now on is not what was asked.
            Kind::Error => return Err(Broken::WrongKind),
            kind if kind.is_error() => sink.error(slot.to, whole),
            Kind::Unknown => return Err(Broken::Garbage),
            _ => return Err(Broken::WrongKind),
        }
        self.line_answered(sink);
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::latency::Timing;
    use crate::upstream::types::{Asking, Ticket};
    use crate::worker::buf::BufPool;

    /// What was said to whom.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Heard(Vec<(u32, String)>);

    impl Heard {
        fn note(&mut self, to: Ticket, what: &str, bytes: &[u8]) {
            self.0
                .push((to.request, format!("{what} {}", bytes.escape_ascii())));
        }
    }

    impl Sink for Heard {
        fn miss(&mut self, to: Ticket) {
            self.note(to, "miss", b"");
        }
        fn reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
            self.note(to, &format!("{kind:?}"), bytes);
        }
        fn start(&mut self, to: Ticket, total: usize, head: &[u8]) {
            self.note(to, &format!("start {total}"), head);
        }
        fn chunk(&mut self, _: Ticket, _: &[u8]) {}
        fn end(&mut self, to: Ticket) {
            self.note(to, "end", b"");
        }
        fn error(&mut self, to: Ticket, line: &[u8]) {
            self.note(to, "error", line);
        }
        fn ready(&mut self) {}
        fn timed(&mut self, _: Timing, _: u32) {}
    }

    /// A connection that was asked these for the key `k`, each numbered.
    fn asked(classes: &[Class]) -> (Conn, BufPool) {
        let (mut conn, mut pool) = (Conn::default(), BufPool::default());
        for (number, class) in (0..).zip(classes) {
            let (head, guard): (&[u8], &[u8]) = match class {
                Class::LeaseGet => (b"lease-get k\r\n", b"k"),
                Class::Metaget => (b"metaget k\r\n", b"k"),
                Class::LeaseSet => (b"lease-set k 1 0 0 0\r\n\r\n", b""),
                _ => (b"delete k\r\n", b""),
            };
            let asking = Asking {
                to: Ticket {
                    request: number,
                    serial: 0,
                    index: 0,
                    frame: Ticket::NO_FRAME,
                },
                since: 0,
                deadline: 1,
            };
            conn.command(*class, head, (b"", None), guard, asking, &mut pool);
        }
        let n = conn.out().len();
        conn.wrote(n, &mut pool);
        (conn, pool)
    }

    fn hear(classes: &[Class], pieces: &[&[u8]]) -> (Result<(), Broken>, Heard, Conn) {
        let (mut conn, mut pool) = asked(classes);
        let mut heard = Heard::default();
        for piece in pieces {
            if let Err(broken) = conn.receive(piece, &mut heard, &mut pool) {
                return (Err(broken), heard, conn);
            }
        }
        (Ok(()), heard, conn)
    }

    #[test]
    fn every_reply_goes_to_who_asked() {
        let get = Class::LeaseGet;
        let classes = [
            get,
            get,
            get,
            get,
            Class::Metaget,
            Class::Metaget,
            Class::LeaseSet,
            Class::LeaseSet,
            Class::Delete,
        ];
        let text = b"VALUE k 1 2\r\nab\r\nEND\r\nLVALUE k 77 0 3\r\nold\r\nEND\r\nNOT_FOUND_HOT\r\nEND\r\nEND\r\n\
            META k age: 5; exptime: 0; from: unknown; is_transient: 0\r\nEND\r\nEND\r\nSTALE_STORED\r\nNOT_STORED\r\nDELETED\r\n";
        let (result, heard, conn) = hear(&classes, &[text]);
        assert_eq!(result, Ok(()));
        let want = [
            "Value VALUE k 1 2\\r\\nab\\r\\n",
            "Line(MetaMiss) LVALUE k 77 0 3\\r\\nold\\r\\n",
            "Line(MetaDebug) NOT_FOUND_HOT\\r\\n",
            "miss ",
            "Line(MetaDebug) META k age: 5; exptime: 0; from: unknown; is_transient: 0\\r\\n",
            "miss ",
            "Line(Stored) STALE_STORED\\r\\n",
            "Line(NotStored) NOT_STORED\\r\\n",
            "Line(Deleted) DELETED\\r\\n",
        ];
        let want: Vec<(u32, String)> = (0..).zip(want.map(str::to_owned)).collect();
        assert_eq!(heard.0, want);
        assert!(conn.is_idle() && conn.knows_leases() == Some(true));
    }

    #[test]
    fn a_server_that_knows_none_of_it_answers_the_rest() {
        let classes = [Class::LeaseGet, Class::Metaget, Class::Delete];
        let (result, heard, conn) = hear(&classes, &[b"ERROR\r\nERROR\r\nDELETED\r\n"]);
        assert_eq!(result, Ok(()));
        assert!(heard.0[0].1.contains("does not know") && heard.0[1].1.contains("does not know"));
        assert_eq!(heard.0[2].1, "Line(Deleted) DELETED\\r\\n");
        assert_eq!(conn.knows_leases(), Some(false));
        // Another error says nothing about that.
        let (_, heard, conn) = hear(&classes, &[b"SERVER_ERROR busy\r\n"]);
        assert_eq!(heard.0[0].1, "error SERVER_ERROR busy\\r\\n");
        assert_eq!(conn.knows_leases(), None);
    }

    #[test]
    fn what_can_not_be_an_answer_breaks_the_connection() {
        for (class, text, want) in [
            (Class::LeaseGet, "VALUE other 0 1\r\nx\r\n", Broken::Garbage),
            (Class::LeaseGet, "LVALUE k 1 0\r\n", Broken::Garbage),
            (
                Class::LeaseGet,
                "LVALUE k 1 0 99999999999\r\n",
                Broken::Garbage,
            ),
            (Class::LeaseGet, "VALUE k 0 1\r\nxyz\r\n", Broken::Garbage),
            (
                Class::LeaseGet,
                "VALUE k 0 1\r\nx\r\nVALUE k 0 1\r\nx\r\n",
                Broken::WrongKind,
            ),
            (Class::LeaseGet, "STORED\r\n", Broken::WrongKind),
            (Class::Metaget, "VALUE k 0 1\r\nx\r\n", Broken::Garbage),
            (Class::LeaseSet, "ERROR\r\n", Broken::WrongKind),
            (Class::LeaseSet, "END\r\n", Broken::WrongKind),
            (Class::LeaseSet, "hello\r\n", Broken::Garbage),
        ] {
            let (result, ..) = hear(&[class], &[text.as_bytes()]);
            assert_eq!(result, Err(want), "{class:?}: {text}");
        }
    }

    #[test]
    fn a_large_value_is_passed_on_while_it_arrives() {
        let value = vec![b'v'; 100_000];
        let text = [b"VALUE k 0 100000\r\n", &*value, b"\r\nEND\r\nSTORED\r\n"].concat();
        let pieces: Vec<&[u8]> = text.chunks(7000).collect();
        let (result, heard, conn) = hear(&[Class::LeaseGet, Class::LeaseSet], &pieces);
        assert_eq!(result, Ok(()));
        let want = [
            (0, "start 100020 VALUE k 0 100000\\r\\n"),
            (0, "end "),
            (1, "Line(Stored) STORED\\r\\n"),
        ];
        let want = want.map(|(to, what)| (to, what.to_owned()));
        assert_eq!(heard.0, want);
        assert!(conn.is_idle());
    }

    fn replies() -> impl Strategy<Value = Vec<(Class, String)>> {
        let reply = prop_oneof![
            "[a-z]{0,9}".prop_map(|v| (
                Class::LeaseGet,
                format!("VALUE k 7 {}\r\n{v}\r\nEND\r\n", v.len())
            )),
            ("[a-z]{0,9}", any::<u64>()).prop_map(|(v, token)| {
                let text = format!("LVALUE k {token} 0 {}\r\n{v}\r\nEND\r\n", v.len());
                (Class::LeaseGet, text)
            }),
            Just((Class::LeaseGet, "NOT_FOUND_HOT\r\nEND\r\n".to_owned())),
            Just((Class::LeaseGet, "ERROR\r\n".to_owned())),
            Just((Class::Metaget, "META k age: 1\r\nEND\r\n".to_owned())),
            Just((Class::Metaget, "END\r\n".to_owned())),
            Just((Class::LeaseSet, "STALE_STORED\r\n".to_owned())),
            Just((Class::LeaseSet, "SERVER_ERROR x\r\n".to_owned())),
            Just((Class::Delete, "DELETED\r\n".to_owned())),
        ];
        prop::collection::vec(reply, 1..12)
    }

    proptest! {
        /// However the bytes arrive: each gets one answer, the same as in one piece.
        #[test]
        fn pieces_make_no_difference(replies in replies(), cuts in prop::collection::vec(1usize..9, 1..200)) {
            let classes: Vec<Class> = replies.iter().map(|(class, _)| *class).collect();
            let text: String = replies.iter().map(|(_, text)| &**text).collect();
            let (result, whole, _) = hear(&classes, &[text.as_bytes()]);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(whole.0.len(), classes.len());
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            let (result, heard, conn) = hear(&classes, &pieces);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(heard, whole);
            prop_assert!(conn.is_idle());
        }

        /// Nothing that a server sends panics.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"LVALUE k 1\r\nEND".to_vec())], 0..80)) {
            for class in [Class::LeaseGet, Class::Metaget, Class::LeaseSet] {
                let _ = hear(&[class, class], &[&bytes]);
            }
        }
    }
}
