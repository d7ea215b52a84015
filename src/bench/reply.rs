//! Takes a memcached endpoint's byte stream apart into replies, at any split of the stream.
//!
//! This reader is deliberately its own, apart from the router's protocol code: a generator that read
//! replies with the code it measures would overlook the same mistakes. It keeps no value bytes: bodies
//! are handed on in the pieces in which they arrive. What it cannot make sense of is [`Rubbish`], after
//! which the stream's framing is lost and the connection must be closed.
//!
//! It does not know which request a reply answers; `conn` does.

/// A line longer than this is no reply, in bytes. Answers of memcached stay far below it.
const MAX_LINE: usize = 4096;
/// A longer value is no value, in bytes: memcached's own ceiling.
const MAX_VALUE: u64 = 1 << 30;

/// A reply line that ends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End<'a> {
    /// `END`.
    Finished,
    /// `STORED`.
    Stored,
    /// `NOT_STORED` or `NS`.
    NotStored,
    /// `EXISTS` or `EX`.
    Exists,
    /// `NOT_FOUND` or `NF`.
    NotFound,
    /// `DELETED`.
    Deleted,
    /// `TOUCHED`.
    Touched,
    /// A decimal number, of `incr`.
    Number,
    /// `HD` with or without flags: done, for every meta command.
    MetaHit,
    /// `EN`.
    MetaMiss,
    /// `ERROR`.
    Error,
    /// `CLIENT_ERROR`, the whole line.
    ClientError(&'a [u8]),
    /// `SERVER_ERROR`, the whole line.
    ServerError(&'a [u8]),
}

/// The next thing in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Nothing more can be said before more bytes arrive.
    More,
    /// A value of `size` bytes under `key` follows; `meta` when it came as `VA`.
    Item {
        /// The key as the endpoint sent it; empty when a `VA` carried none.
        key: &'a [u8],
        /// Bytes of the value.
        size: usize,
        /// Whether this is the answer to a meta command, which has no `END`.
        meta: bool,
    },
    /// A piece of the value.
    Body(&'a [u8]),
    /// The value is complete.
    ItemEnd,
    /// A request is answered.
    Line(End<'a>),
}

/// Bytes that are no memcached reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rubbish(pub(super) String);

/// The incremental reader of one connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    // A line whose end has not arrived yet.
    partial: Vec<u8>,
    // The line in `partial` was handed out and must go before the next is read.
    stale: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Line,
    Body(usize),
    // How many bytes of the CR LF behind a value have been seen.
    Terminator(usize),
}

impl Reader {
    /// Whether the stream stands between two replies.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Line) && (self.partial.is_empty() || self.stale)
    }

    /// Forgets everything, for a new connection.
    pub(super) fn reset(&mut self) {
        self.partial.clear();
        self.stale = false;
        self.state = State::Line;
    }

    /// Takes the next step out of `input`, which shrinks by what was read.
    ///
    /// # Errors
    /// [`Rubbish`] when the bytes cannot be a reply; the reader must be reset.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
    ) -> Result<Step<'a>, Rubbish> {
        if self.stale {
            self.stale = false;
            self.partial.clear();
        }
        match self.state {
            State::Line => self.line(input),
            State::Body(left) => {
                let Some((body, rest)) = input.split_at_checked(left.min(input.len())) else {
                    return Ok(Step::More);
                };
                *input = rest;
                if body.len() == left {
                    self.state = State::Terminator(0);
                } else if body.is_empty() {
                    return Ok(Step::More);
                } else {
                    self.state = State::Body(left - body.len());
                }
                Ok(Step::Body(body))
            }
            State::Terminator(seen) => {
                let Some((byte, rest)) = input.split_first() else {
                    return Ok(Step::More);
                };
                *input = rest;
                match (seen, *byte) {
                    (0, b'\r') => {
                        self.state = State::Terminator(1);
                        self.next(input)
                    }
                    (1, b'\n') => {
                        self.state = State::Line;
                        Ok(Step::ItemEnd)
                    }
                    _ => Err(Rubbish(
                        "a value is not followed by its line end: its length is wrong".into(),
                    )),
                }
            }
        }
    }

    fn line<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Step<'a>, Rubbish> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            if self.partial.len() + input.len() > MAX_LINE {
                return Err(Rubbish(format!(
                    "a line of more than {MAX_LINE} bytes: {}",
                    shown(if self.partial.is_empty() {
                        input
                    } else {
                        &self.partial
                    })
                )));
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(Step::More);
        };
        let Some((line, rest)) = input.split_at_checked(end + 1) else {
            return Ok(Step::More);
        };
        *input = rest;
        let line = if self.partial.is_empty() {
            line
        } else {
            self.partial.extend_from_slice(line);
            self.stale = true;
            &self.partial
        };
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Rubbish(format!("a line without CR: {}", shown(line))));
        };
        let step = classify(line).ok_or_else(|| Rubbish(format!("no reply: {}", shown(line))))?;
        if let Step::Item { size, .. } = step {
            self.state = State::Body(size);
        }
        Ok(step)
    }
}

/// What a reply line says; `None` when it is none.
fn classify(line: &[u8]) -> Option<Step<'_>> {
    if let Some(rest) = line.strip_prefix(b"VALUE ") {
        let (key, rest) = word(rest);
        let (flags, rest) = word(rest);
        let (size, rest) = word(rest);
        number(flags)?;
        if key.is_empty() || !(rest.is_empty() || number(rest).is_some()) {
            return None;
        }
        return item(key, size, false);
    }
    let end = match line {
        b"END" => End::Finished,
        b"STORED" => End::Stored,
        b"NOT_STORED" => End::NotStored,
        b"EXISTS" => End::Exists,
        b"NOT_FOUND" => End::NotFound,
        b"DELETED" => End::Deleted,
        b"TOUCHED" => End::Touched,
        b"ERROR" => End::Error,
        _ => {
            let (first, rest) = word(line);
            match first {
                b"VA" => {
                    let (size, mut flags) = word(rest);
                    let mut key: &[u8] = &[];
                    while !flags.is_empty() {
                        let (flag, rest) = word(flags);
                        key = flag.strip_prefix(b"k").unwrap_or(key);
                        flags = rest;
                    }
                    return item(key, size, true);
                }
                b"HD" => End::MetaHit,
                b"EN" => End::MetaMiss,
                b"NS" => End::NotStored,
                b"EX" => End::Exists,
                b"NF" => End::NotFound,
                b"ERROR" => End::Error,
                b"CLIENT_ERROR" => End::ClientError(line),
                b"SERVER_ERROR" => End::ServerError(line),
                _ if rest.is_empty() && number(first).is_some() => End::Number,
                _ => return None,
            }
        }
    };
    Some(Step::Line(end))
}

fn item<'a>(key: &'a [u8], size: &[u8], meta: bool) -> Option<Step<'a>> {
    let size = number(size).filter(|size| *size <= MAX_VALUE)? as usize;
    Some(Step::Item { key, size, meta })
}

/// The bytes up to the next space, and those behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let at = text.iter().position(|byte| *byte == b' ');
    match at.and_then(|at| text.split_at_checked(at)) {
        Some((word, rest)) => (word, rest.get(1..).unwrap_or_default()),
        None => (text, &[]),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The beginning of some bytes, fit for a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let head = bytes.get(..MOST).unwrap_or(bytes);
    let more = if head.len() < bytes.len() { "…" } else { "" };
    format!("\"{}\"{more}", head.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything the reader says about `stream`, cut into pieces of `piece` bytes, with the bodies
    /// joined; the last entry is the error, where there is one.
    fn read(stream: &[u8], piece: usize) -> Vec<String> {
        let mut reader = Reader::default();
        let mut said = Vec::new();
        let mut body = Vec::new();
        for mut input in stream.chunks(piece) {
            loop {
                match reader.next(&mut input) {
                    Ok(Step::More) => {
                        assert!(input.is_empty(), "More leaves nothing unread");
                        break;
                    }
                    Ok(Step::Body(bytes)) => body.extend_from_slice(bytes),
                    Ok(Step::ItemEnd) => {
                        said.push(format!("body {}", body.escape_ascii()));
                        body.clear();
                    }
                    Ok(Step::Item { key, size, meta }) => {
                        said.push(format!("item {} {size} {meta}", key.escape_ascii()));
                    }
                    Ok(Step::Line(end)) => said.push(format!("{end:?}")),
                    Err(Rubbish(what)) => {
                        said.push(format!("rubbish: {what}"));
                        return said;
                    }
                }
            }
        }
        said.push(format!("idle {}", reader.is_idle()));
        said
    }

    #[test]
    fn any_split_gives_the_same_replies() {
        let stream: &[u8] = b"VALUE k 0 5\r\nEND\r\n\r\nVALUE l 7 0 99\r\n\r\nEND\r\nSTORED\r\nNOT_FOUND\r\n\
            18446744073709551615\r\nVA 2 f0 kabc O1\r\nhi\r\nVA 1\r\nx\r\nHD\r\nEN\r\nDELETED\r\nERROR\r\n\
            SERVER_ERROR out of memory\r\nNF kabc\r\nTOUCHED\r\n";
        let whole = read(stream, stream.len());
        assert_eq!(
            whole,
            [
                "item k 5 false",
                "body END\\r\\n",
                "item l 0 false",
                "body ",
                "Finished",
                "Stored",
                "NotFound",
                "Number",
                "item abc 2 true",
                "body hi",
                "item  1 true",
                "body x",
                "MetaHit",
                "MetaMiss",
                "Deleted",
                "Error",
                &format!("ServerError({:?})", b"SERVER_ERROR out of memory"),
                "NotFound",
                "Touched",
                "idle true",
            ]
        );
        for piece in 1..stream.len() {
            assert_eq!(read(stream, piece), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn rubbish_is_named_at_any_split() {
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"END\n",
            b"\r\n",
            b"STORED \r\n",
            b"VALUE k 0\r\n",
            b"VALUE k 0 -1\r\n",
            b"VALUE k x 1\r\n",
            b"VALUE  0 1\r\n",
            b"VALUE k 0 99999999999999999999\r\n",
            b"VALUE k 0 2000000000\r\n",
            b"VALUE k 0 1\r\nab\r\n",
            b"VALUE k 0 1\r\na\n\n",
            b"VALUE k 0 1 x\r\n",
            b"VA x\r\n",
            b"\x81\0\0\0\r\n",
            b"18446744073709551616\r\n",
        ] {
            for piece in 1..=bad.len() {
                let last = read(bad, piece).pop().unwrap();
                assert!(last.starts_with("rubbish"), "{} {last}", bad.escape_ascii());
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused_and_not_stored() {
        let stream = vec![b'x'; 3 * MAX_LINE];
        for piece in [1, 100, MAX_LINE, stream.len()] {
            let last = read(&stream, piece).pop().unwrap();
            assert!(last.starts_with("rubbish: a line of more than"), "{last}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_at_any_split_do_worse_than_rubbish(
            pieces in proptest::collection::vec(
                proptest::prop_oneof![
                    "VALUE k 0 [0-9]{1,3}\r\n",
                    "VA [0-9]{1,2} k[a-z]\r\n",
                    "(END|STORED|HD|EN|ERROR|CLIENT_ERROR x|[0-9]{1,21})\r\n",
                    "[\\x00-\\xff]{0,40}",
                ],
                0..20,
            ),
            piece in 1_usize..50,
        ) {
            let stream = pieces.concat().into_bytes();
            let whole = read(&stream, stream.len().max(1));
            proptest::prop_assert_eq!(read(&stream, piece), whole);
        }
    }

    #[test]
    fn half_a_reply_is_not_idle() {
        assert_eq!(read(b"STOR", 4).pop().unwrap(), "idle false");
        assert_eq!(read(b"VALUE k 0 3\r\nab", 99).pop().unwrap(), "idle false");
        assert_eq!(
            read(b"VALUE k 0 3\r\nabc\r", 99).pop().unwrap(),
            "idle false"
        );
        assert_eq!(read(b"", 1).pop().unwrap(), "idle true");
    }
}
