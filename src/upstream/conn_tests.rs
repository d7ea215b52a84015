use super::*;
use crate::stats::latency::Family;

#[path = "conn_guard_tests.rs"]
mod guard;

const SECOND: u64 = 1_000_000;

/// Writes down what a [`Sink`] is told.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    /// Bytes of the large value that is arriving.
    streamed: usize,
    /// Of requests that were answered: family, how long they had waited at 9, how many.
    timed: Vec<(Family, u64, u32)>,
}

impl Heard {
    fn note(&mut self, to: Ticket, what: &str, bytes: &[u8]) {
        let who = match to {
            Ticket::NOBODY => "nobody".to_owned(),
            to => format!("{}.{}", to.request, to.index),
        };
        let text = bytes.escape_ascii().to_string().replace("\\r\\n", "|");
        self.said
            .push(format!("{who} {what} {text}").trim_end().to_owned());
    }
}

impl Sink for Heard {
    fn miss(&mut self, to: Ticket) {
        self.note(to, "miss", b"");
    }
    fn reply(&mut self, to: Ticket, _kind: ReplyKind, bytes: &[u8]) {
        self.note(to, "reply", bytes);
    }
    fn start(&mut self, to: Ticket, total: usize, head: &[u8]) {
        self.streamed = head.len();
        self.note(to, &format!("start {total}"), b"");
    }
    fn chunk(&mut self, _to: Ticket, bytes: &[u8]) {
        self.streamed += bytes.len();
    }
    fn end(&mut self, to: Ticket) {
        let streamed = self.streamed;
        self.note(to, &format!("end {streamed}"), b"");
    }
    fn error(&mut self, to: Ticket, line: &[u8]) {
        self.note(to, "error", line);
    }
    fn ready(&mut self) {
        self.note(Ticket::NOBODY, "ready", b"");
    }
    fn timed(&mut self, timing: Timing, requests: u32) {
        self.timed
            .push((timing.family(), timing.waited(9), requests));
    }
}

/// A connection with everything around it.
#[derive(Default)]
struct Bench {
    conn: Conn,
    pool: BufPool,
    heard: Heard,
    /// What was written and not looked at yet.
    wire: Vec<u8>,
}

fn ticket(request: u32, index: u32) -> Ticket {
    Ticket {
        request,
        serial: request + 100,
        index,
        frame: Ticket::NO_FRAME,
    }
}

impl Bench {
    fn get_as(&mut self, to: Ticket, command: GetCommand, key: &str, coalesce: bool) -> bool {
        let asking = Asking {
            to,
            since: 7,
            deadline: SECOND,
        };
        let command = (command, 60);
        self.conn
            .get(command, key.as_bytes(), asking, coalesce, &mut self.pool)
    }

    /// A `get` of one key, coalesced.
    fn get(&mut self, request: u32, key: &str) -> bool {
        self.get_as(ticket(request, 0), GetCommand::Get, key, true)
    }

    fn command(&mut self, request: u32, class: Class, head: &str, opaque: &str) {
        self.command_until(request, class, head, opaque, SECOND);
    }

    fn command_until(&mut self, request: u32, class: Class, head: &str, opaque: &str, until: u64) {
        let asking = Asking {
            to: ticket(request, 0),
            since: 8,
            deadline: until,
        };
        let (head, opaque) = (head.as_bytes(), opaque.as_bytes());
        self.conn
            .command(class, head, (b"", None), opaque, asking, &mut self.pool);
    }

    /// Writes everything; returns what was written.
    fn flush(&mut self) -> String {
        self.conn.seal(&mut self.pool);
        let out = self.conn.out().pending().to_vec();
        self.conn.wrote(out.len(), &mut self.pool);
        self.wire.extend_from_slice(&out);
        out.escape_ascii().to_string().replace("\\r\\n", "|")
    }

    fn receive(&mut self, text: &[u8]) -> Result<(), Broken> {
        self.conn.receive(text, &mut self.heard, &mut self.pool)
    }

    /// What the sink was told since the last time.
    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard.said)
    }

    fn broken_off(&mut self) -> Vec<u32> {
        let waiting = self.conn.break_off(&mut self.pool);
        waiting.map(|to| to.request).collect()
    }
}

#[test]
fn gets_of_one_turn_share_a_line_until_something_else_is_queued_or_the_line_is_written() {
    let mut b = Bench::default();
    assert!(b.get(1, "a"));
    assert!(!b.get(2, "b"), "no new line");
    b.command(3, Class::Delete, "delete d\r\n", "");
    assert!(b.get(4, "c"));
    assert_eq!(b.flush(), "get a b|delete d|get c|");
    assert!(b.get(5, "e"), "what is written is closed");
    assert!(b.get_as(ticket(6, 0), GetCommand::Gets, "f", true));
    assert!(b.get_as(ticket(7, 0), GetCommand::Gat, "g", true));
    assert_eq!(b.flush(), "get e|gets f|gat 60 g|");
}

#[test]
fn without_coalescing_only_keys_of_one_request_share_a_line() {
    let mut b = Bench::default();
    for (request, index, key) in [(1, 0, "a"), (1, 1, "b"), (2, 0, "c"), (2, 1, "d")] {
        b.get_as(ticket(request, index), GetCommand::Get, key, false);
    }
    assert_eq!(b.flush(), "get a b|get c d|");
}

/// A key that goes to a gutter is touched for another time than the others of its request.
#[test]
fn keys_that_are_touched_for_different_times_do_not_share_a_line() {
    let mut bench = Bench::default();
    let asking = Asking {
        to: ticket(1, 0),
        since: 9,
        deadline: SECOND,
    };
    for (key, exptime, new_line) in [("a", 60, true), ("b", 60, false), ("c", 5, true)] {
        let command = (GetCommand::Gat, exptime);
        let key = key.as_bytes();
        let new = bench.conn.get(command, key, asking, true, &mut bench.pool);
        assert_eq!(new, new_line);
    }
}

#[test]
fn get_and_touch_is_never_coalesced_but_takes_one_requests_keys() {
    let mut b = Bench::default();
    for (request, index, key) in [(1, 0, "a"), (1, 1, "b"), (2, 0, "c")] {
        b.get_as(ticket(request, index), GetCommand::Gat, key, true);
    }
    assert_eq!(b.flush(), "gat 60 a b|gat 60 c|");
}

#[test]
fn a_line_holds_64_keys_at_most() {
    let mut b = Bench::default();
    let lines = (0..130).filter(|n| b.get(*n, "key")).count();
    assert_eq!(lines, 3);
    let text = b.flush();
    let keys: Vec<usize> = text
        .split('|')
        .map(|line| line.matches("key").count())
        .collect();
    assert_eq!(keys, [64, 64, 2, 0]);
}

#[test]
fn a_line_holds_8_kib_at_most_and_one_that_touches_1800_bytes() {
    let key = "k".repeat(250);
    for (command, most) in [(GetCommand::Get, 8192 + 3), (GetCommand::Gats, 1800 + 3)] {
        let mut b = Bench::default();
        for index in 0..60 {
            b.get_as(ticket(1, index), command, &key, true);
        }
        let text = b.flush();
        let lengths: Vec<usize> = text.split('|').map(str::len).collect();
        assert!(lengths.iter().all(|n| *n <= most), "{lengths:?}");
        assert!(lengths[0] > most - 260, "not cut too early: {lengths:?}");
    }
}

#[test]
fn values_find_their_askers_and_what_is_left_out_is_a_miss() {
    let mut b = Bench::default();
    for (request, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        b.get(request, key);
    }
    b.flush();
    b.receive(b"VALUE b 0 1\r\nB\r\nVALUE c 7 0\r\n\r\nEND\r\n")
        .unwrap();
    assert_eq!(
        b.heard(),
        [
            "1.0 miss",
            "2.0 reply VALUE b 0 1|B|",
            "3.0 reply VALUE c 7 0||",
            "4.0 miss"
        ]
    );
    assert!(b.conn.is_idle());
    assert_eq!(b.conn.waiting(), 0);
}

#[test]
fn a_key_that_is_in_a_batch_twice_is_answered_twice() {
    let mut b = Bench::default();
    for (request, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        b.get(request, key);
    }
    b.flush();
    b.receive(b"VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nVALUE a 0 1\r\ny\r\nEND\r\n")
        .unwrap();
    assert_eq!(
        b.heard(),
        [
            "1.0 reply VALUE a 0 1|x|",
            "2.0 reply VALUE a 0 1|x|",
            "3.0 miss",
            "4.0 reply VALUE a 0 1|y|"
        ]
    );
}

#[test]
fn an_error_answers_all_that_is_left_of_a_batch() {
    let mut b = Bench::default();
    for (request, key) in [(1, "a"), (2, "b"), (3, "c")] {
        b.get(request, key);
    }
    b.command(4, Class::Delete, "delete d\r\n", "");
    b.flush();
    b.receive(b"VALUE a 0 1\r\nx\r\nSERVER_ERROR oom\r\nDELETED\r\n")
        .unwrap();
    assert_eq!(
        b.heard(),
        [
            "1.0 reply VALUE a 0 1|x|",
            "2.0 error SERVER_ERROR oom|",
            "3.0 error SERVER_ERROR oom|",
            "4.0 reply DELETED|"
        ]
    );
}

#[test]
fn replies_are_the_same_wherever_they_are_split() {
    let text = b"VALUE a 0 3\r\nE\r\n\r\nVALUE b 0 0 9\r\n\r\nEND\r\nSTORED\r\nVA 2 O7 k\r\nhi\r\nEN O8\r\n5\r\n";
    let ask = |b: &mut Bench| {
        b.get(1, "a");
        b.get(2, "b");
        b.command(3, Class::Store, "set c 0 0 0\r\n\r\n", "");
        b.command(4, Class::Meta { own_opaque: true }, "mg k v O7\r\n", "7");
        b.command(5, Class::Meta { own_opaque: false }, "mg k v O8\r\n", "8");
        b.command(6, Class::Arith, "incr n 1\r\n", "");
        b.flush();
    };
    let mut whole = Bench::default();
    ask(&mut whole);
    whole.receive(text).unwrap();
    let expected = whole.heard();
    assert_eq!(
        expected[3], "4.0 reply VA 2 k|hi|",
        "the added opaque is gone"
    );
    assert_eq!(expected[4], "5.0 reply EN O8|", "the client's own stays");
    for first in 0..text.len() {
        for second in first..text.len() {
            let mut b = Bench::default();
            ask(&mut b);
            for part in [&text[..first], &text[first..second], &text[second..]] {
                b.receive(part).unwrap();
            }
            assert_eq!(b.heard(), expected, "split at {first} and {second}");
            assert!(b.conn.is_idle());
            assert_eq!(b.conn.held(), 0);
        }
    }
}

#[test]
fn a_large_value_is_passed_on_while_it_arrives() {
    for meta in [false, true] {
        let mut b = Bench::default();
        let len = STREAM_ABOVE;
        let head = if meta {
            b.command(1, Class::Meta { own_opaque: true }, "mg a v O9\r\n", "9");
            format!("VA {len} O9 ka\r\n")
        } else {
            b.get(1, "a");
            format!("VALUE a 0 {len}\r\n")
        };
        b.get(2, "b");
        b.flush();
        b.receive(head.as_bytes()).unwrap();
        assert_eq!(b.conn.streaming(), Some(ticket(1, 0)));
        b.receive(&vec![b'\n'; len - 10]).unwrap();
        assert!(b.heard.streamed >= len - 10, "nothing is held back");
        b.receive(&[b'\r'; 10]).unwrap();
        b.receive(b"\r").unwrap();
        assert!(b.conn.streaming().is_some(), "the end is not there yet");
        let rest: &[u8] = if meta {
            b"\nEND\r\n"
        } else {
            b"\nEND\r\nEND\r\n"
        };
        b.receive(if meta {
            rest
        } else {
            b"\nVALUE b 0 1\r\nx\r\nEND\r\n"
        })
        .unwrap();
        let head = if meta {
            format!("VA {len} ka\r\n")
        } else {
            head
        };
        let total = head.len() + len + 2;
        let second = if meta {
            "2.0 miss"
        } else {
            "2.0 reply VALUE b 0 1|x|"
        };
        assert_eq!(
            b.heard(),
            [
                &format!("1.0 start {total}"),
                &format!("1.0 end {total}"),
                second
            ]
        );
        assert!(b.conn.is_idle());
    }
}

#[test]
fn answers_are_timed_by_command_line_and_late_ones_are_not_timed_again() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.get(2, "b");
    b.get(3, "c");
    b.command(4, Class::Store, "set d 0 0 1\r\n", "");
    for (command, n) in [("mg", 5), ("ms", 6), ("md", 7), ("ma", 8)] {
        let head = format!("{command} e O{n}\r\n");
        b.command(n, Class::Meta { own_opaque: false }, &head, &n.to_string());
    }
    b.get_as(ticket(9, 0), GetCommand::Gat, "f", true);
    b.flush();
    b.receive(b"VALUE b 0 1\r\nx\r\n").unwrap();
    assert_eq!(b.heard.timed, [], "the line has no end yet");
    b.receive(b"END\r\nSTORED\r\nEN\r\nHD O6\r\nHD O7\r\nHD O8\r\n")
        .unwrap();
    let want = [
        (Family::Get, 2, 3),
        (Family::Set, 1, 1),
        (Family::Get, 1, 1),
        (Family::Set, 1, 1),
        (Family::Delete, 1, 1),
        (Family::Arith, 1, 1),
    ];
    assert_eq!(std::mem::take(&mut b.heard.timed), want);
    let mut late = Vec::new();
    b.conn
        .expire(SECOND, |_| {}, |timing, n| late.push((timing.family(), n)));
    assert_eq!(late, [(Family::Touch, 1)]);
    b.receive(b"END\r\n").unwrap();
    assert_eq!(b.heard.timed, []);
}

#[test]
fn a_late_reply_is_recognised_and_thrown_away() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.get(2, "b");
    b.flush();
    b.command_until(3, Class::Delete, "delete c\r\n", "", 2 * SECOND);
    b.flush();
    let mut given_up = Vec::new();
    let mut late = Vec::new();
    let given = |to: Ticket| given_up.push(to.request);
    let due = b
        .conn
        .expire(SECOND, given, |timing, n| late.push((timing.waited(9), n)));
    assert_eq!(due, 1);
    assert_eq!(given_up, [1, 2]);
    assert_eq!(late, [(2, 2)]);
    assert_eq!(
        b.conn.expire(SECOND, |_| panic!("said twice"), |_, _| {}),
        0
    );
    assert_eq!(b.conn.waiting(), 3, "tombstones keep their place");
    assert!(!b.conn.is_idle());
    b.receive(b"VALUE a 0 1\r\nx\r\nEND\r\nDELETED\r\n")
        .unwrap();
    assert_eq!(
        b.heard(),
        [
            "nobody reply VALUE a 0 1|x|",
            "nobody miss",
            "3.0 reply DELETED|"
        ]
    );
    assert!(b.conn.is_idle());
}

#[test]
fn nothing_joins_a_batch_that_has_timed_out() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.conn.expire(SECOND, |_| {}, |_, _| {});
    assert!(b.get(2, "b"), "a line of its own");
    assert_eq!(b.flush(), "get a|get b|");
}

#[test]
fn a_first_answer_that_stays_out_for_another_timeout_makes_the_connection_stuck() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.flush();
    assert_eq!(b.conn.next_event(Some(SECOND)), Some(SECOND));
    b.conn.expire(SECOND, |_| {}, |_, _| {});
    assert_eq!(b.conn.next_event(Some(SECOND)), Some(2 * SECOND));
    assert!(!b.conn.stuck_since(SECOND - 1));
    assert!(b.conn.stuck_since(SECOND));
    b.receive(b"END\r\n").unwrap();
    assert!(!b.conn.stuck_since(SECOND));
    assert_eq!(b.conn.next_event(Some(SECOND)), None);
}

/// Else the timer is due again at once, for ever.
#[test]
fn expiring_leaves_nothing_that_is_due() {
    let large = format!("VALUE a 0 200000\r\n{}", "v".repeat(70_000));
    for timed_out in [false, true] {
        for finished in [false, true] {
            let mut b = Bench::default();
            b.get(1, "a");
            b.get(1, "other");
            b.flush();
            b.command_until(2, Class::Delete, "delete b\r\n", "", SECOND + 10);
            b.flush();
            if timed_out {
                b.conn.expire(SECOND, |_| {}, |_, _| {});
            }
            // The value goes on arriving, so the first entry has more time, but those behind it have not.
            b.receive(large.as_bytes()).unwrap();
            b.conn.extend_deadline(2 * SECOND);
            if finished {
                b.receive(&vec![b'v'; 130_000]).unwrap();
                b.receive(b"\r\n").unwrap();
            }
            let now = SECOND + 20;
            let mut given_up = Vec::new();
            b.conn
                .expire(now, |to| given_up.push(to.request), |_, _| {});
            assert_eq!(given_up, [2], "it has its own deadline");
            assert!(b.conn.next_event(Some(SECOND)).unwrap() > now);
        }
    }
}

#[test]
fn the_probe_goes_first_and_what_was_queued_waits_for_it() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.conn.probe(SECOND);
    b.get(2, "b");
    b.receive(b"VERSION 1.6.45\r\n").unwrap();
    assert_eq!(b.heard(), ["nobody ready"]);
    assert_eq!(b.flush(), "get a b|");
    b.receive(b"VALUE a 0 1\r\nx\r\nEND\r\n").unwrap();
    assert_eq!(b.heard(), ["1.0 reply VALUE a 0 1|x|", "2.0 miss"]);
    for (answer, broken) in [
        (&b"ERROR\r\n"[..], Broken::WrongKind),
        (b"END\r\n", Broken::WrongKind),
        (b"220 mail.example ESMTP\r\n", Broken::Garbage),
    ] {
        let mut b = Bench::default();
        b.get(1, "a");
        b.conn.probe(SECOND);
        assert_eq!(b.receive(answer), Err(broken));
        assert_eq!(b.broken_off(), [1]);
    }
}

#[test]
fn a_probe_is_no_request_that_times_out() {
    let mut b = Bench::default();
    b.conn.probe(SECOND);
    assert_eq!(b.conn.next_event(Some(SECOND)), None);
    b.get(1, "a");
    assert_eq!(b.conn.next_event(Some(SECOND)), Some(SECOND));
    let mut given_up = Vec::new();
    b.conn
        .expire(SECOND, |to| given_up.push(to.request), |_, _| {});
    assert_eq!(given_up, [1]);
    b.receive(b"VERSION 1\r\n").unwrap();
    assert_eq!(b.heard(), ["nobody ready"]);
}

#[test]
fn what_times_out_before_the_connection_is_there_is_overdue_only_from_then_on() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.conn.expire(SECOND, |_| {}, |_, _| {});
    assert_eq!(
        b.conn.next_event(None),
        None,
        "nothing to do until it is there"
    );
    b.command_until(2, Class::Delete, "delete b\r\n", "", 10 * SECOND);
    b.conn.begin_waiting(9 * SECOND);
    assert!(!b.conn.stuck_since(9 * SECOND - 1));
    assert_eq!(b.conn.next_event(Some(SECOND)), Some(10 * SECOND));
    assert!(b.conn.stuck_since(9 * SECOND));
}

#[test]
fn breaking_off_returns_exactly_those_without_an_answer() {
    let mut b = Bench::default();
    b.get(1, "late");
    b.flush();
    b.conn.expire(SECOND, |_| {}, |_, _| {});
    for (request, key) in [(2, "a"), (3, "b"), (4, "c")] {
        b.get_as(ticket(request, 0), GetCommand::Gets, key, true);
    }
    b.command(5, Class::Delete, "delete d\r\n", "");
    b.flush();
    b.receive(b"END\r\nVALUE b 0 1 7\r\nx\r\n").unwrap();
    b.get(6, "not written");
    b.receive(b"VALUE c 0 5 8\r\nab").unwrap();
    assert_eq!(b.broken_off(), [4, 5, 6]);
    assert!(b.conn.is_idle());
    assert_eq!((b.conn.waiting(), b.conn.held()), (0, 0));
    assert_eq!(b.conn.next_event(Some(SECOND)), None);
    b.heard();
    assert!(b.get(7, "again"), "and it can be used again");
    assert_eq!(b.flush(), "get again|");
    b.receive(b"END\r\n").unwrap();
    assert_eq!(b.heard(), ["7.0 miss"]);
}

#[test]
fn breaking_off_in_the_middle_of_a_large_value_names_its_asker_first() {
    let mut b = Bench::default();
    b.get(1, "a");
    b.get(2, "b");
    b.flush();
    b.receive(format!("VALUE b 0 {STREAM_ABOVE}\r\nxx").as_bytes())
        .unwrap();
    assert_eq!(b.heard().len(), 2, "a miss and a start");
    assert_eq!(b.conn.streaming(), Some(ticket(2, 0)));
    assert_eq!(b.broken_off(), [2]);
    assert_eq!(b.conn.streaming(), None);
}

#[test]
fn partial_writes_send_every_byte_once() {
    let mut b = Bench::default();
    let mut expected = String::new();
    let mut written = Vec::new();
    for round in 0..200u32 {
        b.get(round, "key");
        expected.push_str("get key|");
        b.conn.seal(&mut b.pool);
        let n = (round as usize * 7) % (b.conn.out().len() + 1);
        written.extend_from_slice(&b.conn.out().pending()[..n]);
        b.conn.wrote(n, &mut b.pool);
    }
    written.extend_from_slice(b.conn.out().pending());
    let text = written.escape_ascii().to_string().replace("\\r\\n", "|");
    assert_eq!(text, expected);
}
