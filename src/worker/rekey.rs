//! Requests whose keys a route changes: sent under other keys, answered under the client's.
//!
//! Which keys is in [`crate::route::keys`]; here lines are written anew with them, and replies with the key that was
//! asked for. Each is a dialogue: what is stored, found or deleted under another key is a request of its own.
//!
//! Invariants: a server never sees a key that is empty or too long; whatever a reply says, its reader sees the key
//! that it has sent; every request that a rule makes is sent, also those whose reply nobody waits for.

use std::sync::Arc;

use super::core::{Core, Routing};
use super::dialogue::{Answer, Ask, Handle};
use super::dispatch::Op;
use super::frame::Retained;
use super::many::rest;
use crate::config::mcrouter::host_id;
use crate::protocol::MAX_KEY;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::{encode_key, flags, words};
use crate::protocol::response::Kind;
use crate::protocol::write;
use crate::route::exec::{Outcome, Sort};
use crate::route::keys::{Request, Way, Ways};
use crate::route::tree::{Node, NodeId, Reason};
use crate::upstream::conn::{Class, Ticket};

/// A line of a command, and what its reply must carry, for another key. `None` if the key is none.
pub(super) fn rewritten(
    class: Class,
    head: &[u8],
    guard: &[u8],
    key: &[u8],
) -> Option<(Vec<u8>, Vec<u8>)> {
    let word = match is_base64(class, head) {
        true => encode_key(key),
        false => key.to_vec(),
    };
    if word.is_empty() || word.len() > MAX_KEY {
        return None;
    }
    let head = match class {
        Class::Delete => {
            let mut line = Vec::new();
            write::delete(&word, &mut line);
            line
        }
        _ => with_word(head, 1, &word)?,
    };
    if class.is_lookup() {
        return Some((head, word));
    }
    let mut guard = guard.to_vec();
    if let Some(end) = memchr::memchr(b' ', &guard) {
        guard.truncate(end + 1);
        guard.extend_from_slice(&word);
    }
    Some((head, guard))
}

fn is_meta(class: Class) -> bool {
    matches!(class, Class::Meta { .. } | Class::MetaDebug)
}

/// The flags of a meta line: what stands behind the key, and behind the length of `ms`.
fn flags_of(head: &[u8]) -> &[u8] {
    let body = head.strip_suffix(b"\r\n").unwrap_or(head);
    let before = if body.starts_with(b"ms ") { 3 } else { 2 };
    let mut rest = body;
    for _ in 0..before {
        let end = memchr::memchr(b' ', rest).map_or(rest.len(), |end| end + 1);
        rest = rest.get(end..).unwrap_or_default();
    }
    rest
}

fn is_base64(class: Class, head: &[u8]) -> bool {
    is_meta(class) && flags(flags_of(head)).base64
}

/// A line with another word at a place.
fn with_word(line: &[u8], place: usize, word: &[u8]) -> Option<Vec<u8>> {
    let mut start = 0;
    for _ in 0..place {
        start += memchr::memchr(b' ', line.get(start..)?)? + 1;
    }
    let rest = line.get(start..)?;
    let end = rest.iter().position(|b| matches!(b, b' ' | b'\r'))?;
    Some([line.get(..start)?, word, rest.get(end..)?].concat())
}

/// A reply to a request under another key, as one to `asked`.
fn restored(answer: Answer, asked: &Retained) -> Answer {
    match answer {
        Answer::Value(bytes) => {
            // A large one of a meta command comes like this, too.
            let restored = match bytes.starts_with(b"VA ") {
                true => restored_line(Kind::MetaValue(0), &bytes, asked),
                false => with_word(&bytes, 1, asked.key()),
            };
            Answer::Value(restored.unwrap_or(bytes))
        }
        Answer::Line(kind, bytes) => {
            let restored = restored_line(kind, &bytes, asked);
            Answer::Line(kind, restored.unwrap_or(bytes))
        }
        other => other,
    }
}

/// `None` if the line has no key.
fn restored_line(kind: Kind, line: &[u8], asked: &Retained) -> Option<Vec<u8>> {
    let Op::Command { class, head, .. } = asked.op() else {
        return None;
    };
    if class.is_lookup() {
        return with_word(line, 1, asked.key());
    }
    let end = memchr::memchr(b'\r', line)?;
    let body = line.get(..end)?;
    let is_encoded = is_base64(class, head);
    let word = match is_encoded {
        true => encode_key(asked.key()),
        false => asked.key().to_vec(),
    };
    let before = match kind {
        Kind::MetaDebug => return with_word(line, 1, &word),
        Kind::MetaValue(_) => 2,
        Kind::MetaHeader
        | Kind::MetaMiss
        | Kind::MetaNotFound
        | Kind::MetaNotStored
        | Kind::MetaExists => 1,
        _ => return None,
    };
    // memcached shows a key as its item was stored, however it was asked for; here it is shown as it was asked for, and
    // so is the flag that tells the one from the other.
    let mut out = Vec::with_capacity(line.len() + word.len());
    let mut has_key = false;
    for (place, was) in words(body).enumerate() {
        if place >= before && was == b"b" {
            continue;
        }
        if place > 0 {
            out.push(b' ');
        }
        if place >= before && !has_key && was.starts_with(b"k") {
            has_key = true;
            out.push(b'k');
            out.extend_from_slice(&word);
            // Where memcached has it.
            out.extend_from_slice(if is_encoded { b" b" } else { b"" });
        } else {
            out.extend_from_slice(was);
        }
    }
    out.extend_from_slice(line.get(end..)?);
    has_key.then_some(out)
}

/// Asks under other keys, and answers under the one that was asked for.
async fn run(handle: Handle, ways: Ways, asked: Retained) -> Answer {
    handle.ask_at_once();
    handle.holds(asked.held());
    let begin = |way: Way| {
        let what = asked.rekeyed(way.key, way.prefix)?;
        let from = way.from;
        Some(handle.begin(Ask { from, what }))
    };
    let invalid = || Answer::Failed(ErrorKind::BadFormat);
    match ways {
        Ways::First(ways) => {
            let mut ways = ways.into_iter();
            let Some(first) = ways.next().and_then(begin) else {
                return invalid();
            };
            let mut open: Vec<u32> = ways.filter_map(begin).collect();
            let answer = handle.any(&mut vec![first]).await.unwrap_or_else(invalid);
            let answer = restored(answer, &asked);
            if open.is_empty() {
                return answer;
            }
            handle.answer_early(answer);
            rest(&handle, &mut open).await
        }
        Ways::Hit(ways) => {
            let mut last = None;
            for way in ways {
                let Some(number) = begin(way) else {
                    continue;
                };
                let Some(answer) = handle.any(&mut vec![number]).await else {
                    break;
                };
                let answer = restored(answer, &asked);
                let is_hit = match &answer {
                    Answer::Value(_) => true,
                    Answer::Line(kind, _) => *kind != Kind::MetaMiss,
                    Answer::Miss | Answer::Error(..) | Answer::Failed(_) => false,
                };
                if is_hit {
                    return answer;
                }
                last = Some(answer);
            }
            last.unwrap_or_else(invalid)
        }
        Ways::Refused(why) => {
            let line = format!("SERVER_ERROR {why}\r\n").into_bytes();
            Answer::Error(line, Outcome::Failed(Reason::Error))
        }
    }
}

impl Core {
    /// Sends a request on with the keys that a node makes of its key.
    #[cold]
    pub(super) fn rekey(
        &mut self,
        to: Ticket,
        routing: &Arc<Routing>,
        node: NodeId,
        what: &Retained,
    ) -> Result<(), ErrorKind> {
        let tree = &routing.snapshot.tree;
        let Some(Node::Rekey(rekey)) = tree.node(node) else {
            return Err(ErrorKind::NoServer);
        };
        let request = Request {
            operation: what.op().operation(),
            prefix: what.prefix(),
            key: what.key(),
        };
        let ways = rekey.ways(tree, request, host_id(), self.local.unix_time());
        let to = self.adopt_request(to);
        if let Ways::First(all) | Ways::Hit(all) = &ways {
            self.count_requests(all.len());
        }
        let is_update = what.op().sort(what.key(), tree.splits()) != Sort::Get;
        let what = what.clone();
        self.begin_dialogue(to, routing, is_update, |handle| {
            Box::pin(run(handle, ways, what))
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(own_opaque: bool) -> Class {
        Class::Meta { own_opaque }
    }

    #[test]
    fn lines_are_written_anew_with_the_other_key() {
        for (class, head, guard, want) in [
            (Class::Store, "set k 0 0 1\r\n", "", "set new 0 0 1\r\n|"),
            (Class::Delete, "delete k\r\n", "", "delete new\r\n|"),
            (Class::Touch, "touch k 5\r\n", "", "touch new 5\r\n|"),
            (meta(true), "mg k v O7\r\n", "7", "mg new v O7\r\n|7"),
            (
                meta(false),
                "mg k v k Oab\r\n",
                "ab k",
                "mg new v k Oab\r\n|ab new",
            ),
            (
                meta(true),
                "ms aw== 2 b O7\r\n",
                "7",
                "ms bmV3 2 b O7\r\n|7",
            ),
            (Class::MetaDebug, "me k\r\n", "", "me new\r\n|"),
            (
                Class::LeaseGet,
                "lease-get k\r\n",
                "k",
                "lease-get new\r\n|new",
            ),
        ] {
            let (head, guard) =
                rewritten(class, head.as_bytes(), guard.as_bytes(), b"new").unwrap();
            let both = [head, b"|".to_vec(), guard].concat();
            assert_eq!(String::from_utf8(both).unwrap(), want);
        }
        let long = [b'x'; 251];
        assert_eq!(rewritten(Class::Delete, b"delete k\r\n", b"", &long), None);
        assert_eq!(rewritten(Class::Delete, b"delete k\r\n", b"", b""), None);
        let base64 = rewritten(meta(true), b"mg aw== b O1\r\n", b"1", &[b'x'; 190]);
        assert_eq!(base64, None, "encoded it has more than 250 bytes");
    }

    #[test]
    fn replies_are_written_anew_with_the_key_that_was_asked_for() {
        use crate::protocol::request::GetCommand;
        let get = Retained::get(b"client".to_vec(), GetCommand::Get, 0);
        let value = Answer::Value(b"VALUE sent 5 2 9\r\nab\r\n".to_vec());
        let Answer::Value(bytes) = restored(value, &get) else {
            panic!("it stays a value");
        };
        assert_eq!(bytes, b"VALUE client 5 2 9\r\nab\r\n");
        for (line, want) in [
            ("VA 2 f5 ksent\r\nab\r\n", "VA 2 f5 kclient\r\nab\r\n"),
            ("VA 2 f5\r\nkk\r\n", "VA 2 f5\r\nkk\r\n"),
        ] {
            let head = b"mg client v f k\r\n".to_vec();
            let asked = Retained::meta(b"client".to_vec(), head, None, b"7 client".to_vec());
            let Answer::Value(bytes) = restored(Answer::Value(line.into()), &asked) else {
                panic!("it stays a value");
            };
            let shown = String::from_utf8(bytes).unwrap();
            assert_eq!(shown, want, "a large answer to a meta get");
        }
        for (head, kind, line, want) in [
            (
                "mg client v k O7\r\n",
                Kind::MetaValue(2),
                "VA 2 ksent O7\r\nkk\r\n",
                "VA 2 kclient O7\r\nkk\r\n",
            ),
            (
                "mg client k s\r\n",
                Kind::MetaHeader,
                "HD ksent s4\r\n",
                "HD kclient s4\r\n",
            ),
            (
                "mg client v Okey\r\n",
                Kind::MetaHeader,
                "HD Okey\r\n",
                "HD Okey\r\n",
            ),
            (
                "mg Y2xpZW50 b k\r\n",
                Kind::MetaHeader,
                "HD kc2VudA== b\r\n",
                "HD kY2xpZW50 b\r\n",
            ),
            // An item that was stored by the other kind of key.
            (
                "mg client k\r\n",
                Kind::MetaHeader,
                "HD kc2VudA== b\r\n",
                "HD kclient\r\n",
            ),
            (
                "mg Y2xpZW50 b k s\r\n",
                Kind::MetaHeader,
                "HD ksent s4\r\n",
                "HD kY2xpZW50 b s4\r\n",
            ),
            (
                "ms client 2 k\r\n",
                Kind::MetaNotStored,
                "NS ksent\r\n",
                "NS kclient\r\n",
            ),
            (
                "me client\r\n",
                Kind::MetaDebug,
                "ME sent exp=-1\r\n",
                "ME client exp=-1\r\n",
            ),
        ] {
            let asked = Retained::meta(b"client".to_vec(), head.into(), None, b"7".to_vec());
            let answer = restored(Answer::Line(kind, line.into()), &asked);
            let Answer::Line(_, bytes) = answer else {
                panic!("it stays a line");
            };
            assert_eq!(String::from_utf8(bytes).unwrap(), want);
        }
    }
}
