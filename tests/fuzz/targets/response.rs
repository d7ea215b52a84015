//! Anything a server may answer, to any queue of requests.
//!
//! The input begins with the requests, one a line, by a letter and a key or opaque (see [`ask`]), and an empty
//! line; the rest is what the server says, written as for [`expand`].
//!
//! Each request gets exactly one answer, or is given up, or is handed back when the connection breaks; answers
//! come in the order of the requests; a value is of the key that was asked for and a meta reply carries the
//! opaque; and all of this is the same however the server's bytes are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::protocol::request::GetCommand;
use ringroad::protocol::response::{self, Kind};
use ringroad::stats::latency::Timing;
use ringroad::upstream::conn::{Asking, Broken, Class, Conn, ReplyKind, Sink, Ticket};
use ringroad::worker::buf::BufPool;
use ringroad_fuzz::{cuttings, expand};

const TIMEOUT: u64 = 1_000_000;

/// A request, and what it came to.
#[derive(Debug, PartialEq)]
struct Asked {
    class: Option<Class>,
    /// The key of a get, the opaque of a meta command.
    text: Vec<u8>,
    outcome: Outcome,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Waits,
    Miss,
    /// Whether it came as a whole is up to the network; it is not remembered.
    Reply(Vec<u8>),
    /// A large one under way: its whole length and what is there.
    Begun(usize, Vec<u8>),
    Error(Vec<u8>),
    GivenUp,
    HandedBack,
}

#[derive(Default)]
struct Answers {
    asked: Vec<Asked>,
    /// Requests before this one have their answers.
    next: usize,
    ready: usize,
}

impl Answers {
    fn place(&self, to: Ticket) -> Option<usize> {
        (to != Ticket::NOBODY).then_some(to.request as usize)
    }

    fn settle(&mut self, to: Ticket, outcome: Outcome) {
        let Some(place) = self.place(to) else { return };
        assert!(
            place >= self.next,
            "an answer out of order, or a second one"
        );
        self.next = place + 1;
        let asked = &mut self.asked[place];
        assert!(matches!(asked.outcome, Outcome::Waits | Outcome::Begun(..)));
        if let Outcome::Reply(bytes) = &outcome {
            let (end, _) = response::line(bytes).expect("a reply has a line");
            let line = &bytes[..end];
            match asked.class {
                None => {
                    let value = response::value(line).expect("a get is answered with values");
                    assert_eq!(value.key, asked.text, "another key's value");
                }
                Some(Class::Meta { own_opaque }) if line != b"EN" => {
                    let mut words = line.split(|byte| *byte == b' ').skip(1);
                    let opaque = [b"O", &asked.text[..]].concat();
                    let carries = words.any(|word| word == opaque);
                    assert_eq!(carries, !own_opaque, "the opaque: {}", line.escape_ascii());
                }
                Some(_) => {}
            }
            assert!(bytes.ends_with(b"\n"));
        }
        asked.outcome = outcome;
    }
}

impl Sink for Answers {
    fn miss(&mut self, to: Ticket) {
        self.settle(to, Outcome::Miss);
    }
    fn reply(&mut self, to: Ticket, kind: ReplyKind, bytes: &[u8]) {
        if let ReplyKind::Line(kind) = kind {
            assert!(kind != Kind::Unknown && !kind.is_error());
        }
        self.settle(to, Outcome::Reply(bytes.to_vec()));
    }
    fn start(&mut self, to: Ticket, total: usize, head: &[u8]) {
        let Some(place) = self.place(to) else { return };
        assert_eq!(self.asked[place].outcome, Outcome::Waits);
        self.asked[place].outcome = Outcome::Begun(total, head.to_vec());
    }
    fn chunk(&mut self, to: Ticket, bytes: &[u8]) {
        let Some(place) = self.place(to) else { return };
        match &mut self.asked[place].outcome {
            Outcome::Begun(_, got) => got.extend_from_slice(bytes),
            other => panic!("bytes of a reply that has not begun: {other:?}"),
        }
    }
    fn end(&mut self, to: Ticket) {
        let Some(place) = self.place(to) else { return };
        let Outcome::Begun(total, got) = &mut self.asked[place].outcome else {
            panic!("the end of a reply that has not begun");
        };
        assert_eq!(*total, got.len());
        let got = std::mem::take(got);
        self.settle(to, Outcome::Reply(got));
    }
    fn error(&mut self, to: Ticket, line: &[u8]) {
        self.settle(to, Outcome::Error(line.to_vec()));
    }
    fn ready(&mut self) {
        self.ready += 1;
    }
    fn timed(&mut self, _: Timing, requests: u32) {
        assert!(requests > 0);
    }
}

/// Queues what a line of the input says.
fn ask(conn: &mut Conn, pool: &mut BufPool, answers: &mut Answers, line: &[u8]) {
    let Some((letter, text)) = line.split_first() else {
        return;
    };
    let to = Ticket {
        request: answers.asked.len() as u32,
        serial: 7,
        index: 0,
        frame: Ticket::NO_FRAME,
    };
    let asking = Asking {
        to,
        since: 0,
        deadline: TIMEOUT,
    };
    let get = match letter {
        b'g' => Some(GetCommand::Get),
        b'G' => Some(GetCommand::Gets),
        b't' => Some(GetCommand::Gat),
        _ => None,
    };
    let class = match letter {
        b's' => Class::Store,
        b'd' => Class::Delete,
        b'i' => Class::Arith,
        b'T' => Class::Touch,
        b'F' => Class::Flush,
        b'm' => Class::Meta { own_opaque: false },
        b'o' => Class::Meta { own_opaque: true },
        b'D' => Class::MetaDebug,
        _ => Class::Store,
    };
    match letter {
        b'g' | b'G' | b't' | b's' | b'd' | b'i' | b'T' | b'F' | b'm' | b'o' | b'D' => {}
        // What is queued so far is written.
        b'.' => {
            conn.seal(pool);
            let n = conn.out().len();
            return conn.wrote(n, pool);
        }
        // What is queued so far is given up.
        b'!' => {
            let give_up = |to: Ticket| {
                let asked = &mut answers.asked[to.request as usize];
                assert_eq!(asked.outcome, Outcome::Waits);
                asked.outcome = Outcome::GivenUp;
            };
            conn.expire(TIMEOUT, give_up, |_, _| {});
            return;
        }
        _ => return,
    }
    // The parser lets nothing else through.
    if text.is_empty() || text.len() > 250 || text.iter().any(|b| matches!(b, 0 | b' ' | b'\r')) {
        return;
    }
    answers.asked.push(Asked {
        class: get.is_none().then_some(class),
        text: text.to_vec(),
        outcome: Outcome::Waits,
    });
    match get {
        Some(command) => {
            conn.get((command, 60), text, asking, true, pool);
        }
        None => {
            let opaque = match class {
                Class::Meta { .. } => text,
                _ => b"",
            };
            conn.command(class, b"command\r\n", (b"", None), opaque, asking, pool);
        }
    }
}

fn converse(requests: &[u8], pieces: &[&[u8]]) -> (Answers, Option<Broken>) {
    let (mut conn, mut pool) = (Conn::default(), BufPool::default());
    let mut answers = Answers::default();
    for line in requests.split(|byte| *byte == b'\n') {
        ask(&mut conn, &mut pool, &mut answers, line);
    }
    let probed = requests.first() == Some(&b'p');
    if probed {
        conn.probe(TIMEOUT);
    }
    conn.seal(&mut pool);
    let n = conn.out().len();
    conn.wrote(n, &mut pool);
    let mut broken = None;
    for piece in pieces {
        if let Err(why) = conn.receive(piece, &mut answers, &mut pool) {
            broken = Some(why);
            break;
        }
    }
    assert!(answers.ready <= usize::from(probed));
    // A reply that has not ended is of a request that still waits.
    for asked in &mut answers.asked {
        if let Outcome::Begun(total, got) = &asked.outcome {
            assert!(got.len() < *total || broken.is_some());
            asked.outcome = Outcome::Waits;
        }
    }
    for to in conn.break_off(&mut pool) {
        let asked = &mut answers.asked[to.request as usize];
        assert_eq!(
            asked.outcome,
            Outcome::Waits,
            "handed back, though answered"
        );
        asked.outcome = Outcome::HandedBack;
    }
    assert!(
        answers
            .asked
            .iter()
            .all(|asked| asked.outcome != Outcome::Waits)
    );
    assert!(conn.is_idle() && conn.held() == 0 && conn.waiting() == 0);
    (answers, broken)
}

fuzz_target!(|data: &[u8]| {
    let (requests, replies) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..=at], &data[at + 2..]),
        None => (&b""[..], data),
    };
    let mut rest = replies;
    while let Some((end, used)) = response::line(rest) {
        assert!(end < used && used <= rest.len());
        let line = &rest[..end];
        let kind = response::kind(line);
        if let Some(value) = response::value(line) {
            assert_eq!(kind, Kind::Unknown, "a VALUE is nothing else");
            assert!(value.key.len() < line.len());
        }
        rest = &rest[used..];
    }
    let replies = expand(replies);
    let mut cuttings = cuttings(&replies).into_iter();
    let (whole, end) = converse(requests, &cuttings.next().expect("the first is the whole"));
    for pieces in cuttings {
        let (cut, cut_end) = converse(requests, &pieces);
        assert_eq!(whole.asked, cut.asked);
        assert_eq!((whole.ready, end), (cut.ready, cut_end));
    }
});
