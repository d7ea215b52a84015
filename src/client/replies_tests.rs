use super::*;
use crate::protocol::error::ErrorKind;
use crate::protocol::request::{GetCommand, MetaCommand};
use crate::protocol::response::Kind;

/// What a client has been sent; taken out of its buffer.
fn sent(replies: &mut Replies, id: u32) -> String {
    let (client, pool) = replies.client_and_pool(id).unwrap();
    let text = client.out.pending().escape_ascii().to_string();
    let n = client.out.len();
    client.out.consume(n, pool);
    text.replace("\\r\\n", "|")
}

fn value(key: &str, text: &str) -> Vec<u8> {
    format!("VALUE {key} 0 {}\r\n{text}\r\n", text.len()).into_bytes()
}

fn at(to: Ticket, index: u32) -> Ticket {
    Ticket { index, ..to }
}

const LINE: Shape = Shape::Line(Mute::Nothing);

#[test]
fn a_broadcast_waits_for_all_servers_though_one_failed_before_its_turn() {
    let mut replies = Replies::default();
    let id = replies.open();
    let first = replies.begin(id, LINE, 1);
    let flush = replies.begin(id, Shape::Broadcast(Mute::Nothing), 2);
    replies.fail(flush, ErrorKind::MarkedDown);
    replies.line(first, Kind::Stored, b"STORED\r\n");
    assert_eq!(sent(&mut replies, id), "STORED|");
    replies.line(flush, Kind::Ok, b"OK\r\n");
    assert_eq!(sent(&mut replies, id), "SERVER_ERROR server is down|");
    assert_eq!(replies.outstanding(), 0);
}

#[test]
fn a_large_meta_value_that_breaks_off_unseen_is_a_miss_with_its_opaque() {
    let mut replies = Replies::default();
    let id = replies.open();
    let first = replies.begin(id, LINE, 1);
    let to = replies.begin(id, Shape::MetaGet(Mute::Nothing), 1);
    replies.set_miss(to, b"EN O7\r\n");
    replies.start(to, 100_000);
    replies.chunk(to, b"VA 99990 O7\r\n", None);
    assert!(!replies.cut(to), "nobody has seen it");
    replies.fail(to, ErrorKind::ConnectionLost);
    replies.line(first, Kind::Stored, b"STORED\r\n");
    assert_eq!(sent(&mut replies, id), "STORED|EN O7|");
}

#[test]
fn answers_leave_in_the_order_of_the_requests() {
    let mut replies = Replies::default();
    let id = replies.open();
    let other = replies.open();
    let a = replies.begin(id, LINE, 1);
    let b = replies.begin(id, Shape::Get, 1);
    let theirs = replies.begin(other, LINE, 1);
    let c = replies.begin(id, LINE, 1);
    replies.local(id, b"VERSION x\r\n");
    replies.line(c, Kind::Deleted, b"DELETED\r\n");
    replies.value(b, &value("b", "1"));
    assert_eq!(sent(&mut replies, id), "", "the first is not there yet");
    replies.line(theirs, Kind::Touched, b"TOUCHED\r\n");
    assert_eq!(sent(&mut replies, other), "TOUCHED|", "others don't wait");
    replies.line(a, Kind::Stored, b"STORED\r\n");
    assert_eq!(
        sent(&mut replies, id),
        "STORED|VALUE b 0 1|1|END|DELETED|VERSION x|"
    );
    assert_eq!(replies.outstanding(), 0);
    assert_eq!(
        (
            replies.client(id).unwrap().requests,
            replies.client(id).unwrap().keys
        ),
        (0, 0)
    );
}

/// Every order in which five answers can come gives the same bytes.
#[test]
fn values_of_one_get_leave_in_the_order_of_its_keys() {
    fn permutations(rest: &[u32]) -> Vec<Vec<u32>> {
        if rest.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for n in rest {
            let others: Vec<u32> = rest.iter().copied().filter(|m| m != n).collect();
            for mut tail in permutations(&others) {
                tail.push(*n);
                all.push(tail);
            }
        }
        all
    }
    for order in permutations(&[0, 1, 2, 3, 4]) {
        let mut replies = Replies::default();
        let id = replies.open();
        let to = replies.begin(id, Shape::Get, 5);
        let mut all = String::new();
        for n in order {
            match n {
                1 => replies.miss(at(to, n)),
                3 => replies.fail(at(to, n), ErrorKind::Timeout),
                n => replies.value(at(to, n), &value(&n.to_string(), "x")),
            }
            all += &sent(&mut replies, id);
        }
        assert_eq!(all, "VALUE 0 0 1|x|VALUE 2 0 1|x|VALUE 4 0 1|x|END|");
        assert_eq!(replies.outstanding(), 0);
    }
}

#[test]
fn large_values_go_straight_on_or_wait_for_their_turn() {
    let mut replies = Replies::default();
    let id = replies.open();
    let first = replies.begin(id, Shape::Get, 3);
    let second = replies.begin(id, Shape::Get, 1);
    // The last begins, the first overtakes it, the middle one comes at the end.
    for (to, text) in [(second, "4a"), (at(first, 2), "3a"), (at(first, 0), "1a")] {
        replies.start(to, 100);
        replies.chunk(to, text.as_bytes(), None);
    }
    assert_eq!(sent(&mut replies, id), "1a", "straight on");
    replies.chunk(second, b"4b", None);
    replies.end(second);
    replies.chunk(at(first, 2), b"3b", None);
    replies.chunk(first, b"1b", None);
    replies.end(first);
    assert_eq!(sent(&mut replies, id), "1b");
    replies.value(at(first, 1), b"2");
    assert_eq!(
        sent(&mut replies, id),
        "23a3b",
        "what has arrived of the third"
    );
    replies.chunk(at(first, 2), b"3c", None);
    assert_eq!(sent(&mut replies, id), "3c", "the rest as it comes");
    replies.end(at(first, 2));
    assert_eq!(sent(&mut replies, id), "END|4a4bEND|");
    assert_eq!(replies.outstanding(), 0);
    assert_eq!(replies.held()[id as usize], 0);
}

#[test]
fn muted_answers_are_not_sent_and_all_others_are() {
    use MetaCommand::{Arithmetic, Delete, Get, Set};
    let kinds = [
        (Kind::MetaHeader, "HD"),
        (Kind::MetaValue(0), "VA 0"),
        (Kind::MetaMiss, "EN"),
        (Kind::MetaNotFound, "NF"),
        (Kind::MetaNotStored, "NS"),
        (Kind::MetaExists, "EX"),
    ];
    for (mute, hidden) in [
        (Mute::Nothing, &[][..]),
        (Mute::All, &["HD", "VA 0", "EN", "NF", "NS", "EX"][..]),
        (Mute::Quiet(Get), &["EN"]),
        (Mute::Quiet(Set), &["HD"]),
        (Mute::Quiet(Delete), &["HD"]),
        (Mute::Quiet(Arithmetic), &["HD", "VA 0"]),
    ] {
        for (kind, text) in kinds {
            let mut replies = Replies::default();
            let id = replies.open();
            let shape = match mute {
                Mute::Quiet(Get) => Shape::MetaGet(mute),
                _ => Shape::Line(mute),
            };
            let to = replies.begin(id, shape, 1);
            replies.local(id, b"MN\r\n");
            replies.line(to, kind, text.as_bytes());
            let shown = if hidden.contains(&text) { "" } else { text };
            assert_eq!(sent(&mut replies, id), format!("{shown}MN|"), "{mute:?}");
        }
    }
}

#[test]
fn a_muted_request_that_fails_is_silent_only_for_noreply() {
    let timeout = "SERVER_ERROR timeout|";
    for (shape, hide_errors, expected) in [
        (Shape::Line(Mute::All), true, ""),
        (Shape::Broadcast(Mute::All), true, ""),
        (Shape::Line(Mute::Quiet(MetaCommand::Set)), true, timeout),
        (Shape::MetaGet(Mute::Quiet(MetaCommand::Get)), true, ""),
        (
            Shape::MetaGet(Mute::Quiet(MetaCommand::Get)),
            false,
            timeout,
        ),
        (Shape::MetaGet(Mute::Nothing), true, "EN O9|"),
        (Shape::MetaGet(Mute::Nothing), false, timeout),
        (Shape::Get, true, "END|"),
        (Shape::Get, false, timeout),
    ] {
        let mut replies = Replies {
            miss_on_get_errors: hide_errors,
            ..Replies::default()
        };
        let id = replies.open();
        let to = replies.begin(id, shape, 1);
        if matches!(shape, Shape::MetaGet(_)) {
            replies.set_miss(to, b"EN O9\r\n");
        }
        replies.fail(to, ErrorKind::Timeout);
        assert_eq!(sent(&mut replies, id), expected, "{shape:?} {hide_errors}");
        assert_eq!(replies.outstanding(), 0);
    }
}

#[test]
fn a_meta_get_that_succeeds_does_not_show_the_miss_it_was_given() {
    for held_back in [false, true] {
        let mut replies = Replies::default();
        let id = replies.open();
        let first = replies.begin(id, LINE, 1);
        let to = replies.begin(id, Shape::MetaGet(Mute::Nothing), 1);
        replies.set_miss(to, b"EN O9\r\n");
        if held_back {
            replies.line(to, Kind::MetaHeader, b"HD O9\r\n");
        }
        replies.line(first, Kind::Stored, b"STORED\r\n");
        if !held_back {
            replies.line(to, Kind::MetaHeader, b"HD O9\r\n");
        }
        assert_eq!(sent(&mut replies, id), "STORED|HD O9|");
    }
}

#[test]
fn a_bad_meta_command_shows_the_servers_answer_also_when_errors_are_misses() {
    let mut replies = Replies::default();
    let id = replies.open();
    for line in [&b"CLIENT_ERROR bad flag\r\n"[..], b"SERVER_ERROR oom\r\n"] {
        let to = replies.begin(id, Shape::MetaGet(Mute::Nothing), 1);
        replies.error(to, line);
    }
    assert_eq!(sent(&mut replies, id), "CLIENT_ERROR bad flag|EN|");
}

#[test]
fn shown_errors_of_a_get_end_it_after_the_values_there_are() {
    let mut replies = Replies {
        miss_on_get_errors: false,
        ..Replies::default()
    };
    let id = replies.open();
    let to = replies.begin(id, Shape::Get, 3);
    replies.fail(at(to, 2), ErrorKind::Timeout);
    replies.error(to, b"SERVER_ERROR oom\r\n");
    replies.value(at(to, 1), &value("b", "1"));
    assert_eq!(
        sent(&mut replies, id),
        "VALUE b 0 1|1|SERVER_ERROR timeout|",
        "one error for all, in place of END"
    );
}

#[test]
fn a_broadcast_has_one_answer_and_any_error_shows() {
    for (errors, expected) in [
        (0, "OK|"),
        (1, "SERVER_ERROR timeout|"),
        (3, "SERVER_ERROR timeout|"),
    ] {
        let mut replies = Replies::default();
        let id = replies.open();
        let to = replies.begin(id, Shape::Broadcast(Mute::Nothing), 3);
        for n in 0..3 {
            assert_eq!(sent(&mut replies, id), "");
            if n < errors {
                replies.fail(to, ErrorKind::Timeout);
            } else {
                replies.line(to, Kind::Ok, b"OK\r\n");
            }
        }
        assert_eq!(sent(&mut replies, id), expected);
        assert_eq!(replies.client(id).unwrap().keys, 0);
    }
}

#[test]
fn half_a_value_that_was_sent_closes_the_client_and_one_that_was_not_is_a_miss() {
    for by_timeout in [false, true] {
        let mut replies = Replies::default();
        let id = replies.open();
        let to = replies.begin(id, Shape::Get, 2);
        replies.start(at(to, 1), 100);
        replies.chunk(at(to, 1), b"half", None);
        replies.start(to, 100);
        replies.chunk(to, b"half", None);
        if by_timeout {
            replies.fail(at(to, 1), ErrorKind::Timeout);
            assert!(!replies.client(id).unwrap().broken, "nobody has seen it");
            replies.fail(to, ErrorKind::Timeout);
        } else {
            assert!(!replies.cut(at(to, 1)));
            assert!(replies.cut(to));
        }
        assert!(replies.client(id).unwrap().broken);
        assert!(replies.dirty.contains(&id));
        replies.close(id);
        assert_eq!(replies.outstanding(), 0);
    }
}

#[test]
fn answers_for_a_client_that_left_reach_nobody() {
    let mut replies = Replies::default();
    let gone = replies.open();
    let get = replies.begin(gone, Shape::Get, 2);
    let set = replies.begin(gone, LINE, 1);
    let large = replies.begin(gone, Shape::Get, 1);
    replies.start(large, 100);
    replies.close(gone);
    assert_eq!(replies.outstanding(), 0);
    // The next client takes its place, and its requests those of the other's.
    let id = replies.open();
    assert_eq!(id, gone);
    let mine: Vec<Ticket> = (0..3).map(|_| replies.begin(id, Shape::Get, 1)).collect();
    assert!(mine.iter().any(|to| to.request == get.request));
    replies.value(get, &value("secret", "x"));
    replies.miss(at(get, 1));
    replies.line(set, Kind::Stored, b"STORED\r\n");
    replies.chunk(large, b"secret", None);
    replies.end(large);
    replies.fail(set, ErrorKind::Timeout);
    assert!(replies.cut(large), "nothing is left to do");
    assert_eq!(replies.client_of(get), None);
    for to in mine {
        replies.miss(to);
    }
    assert_eq!(sent(&mut replies, id), "END|END|END|");
    assert!(!replies.client(id).unwrap().broken);
}

fn long(count: usize) -> Box<LongGet> {
    Box::new(LongGet {
        command: (GetCommand::Get, 0),
        text: b"k ".repeat(count),
        at: 0,
        left: count,
    })
}

#[test]
fn a_long_get_is_asked_for_in_parts_and_ends_once() {
    let mut replies = Replies::default();
    let id = replies.open();
    replies.keep_long(id, long(3));
    assert!(
        !replies.has_room(id, 100, usize::MAX),
        "nothing overtakes it"
    );
    let (rest, _) = replies.take_long(id, usize::MAX).unwrap();
    let part = replies.begin(id, Shape::GetPart, 2);
    replies.keep_long(id, rest);
    replies.value(at(part, 1), &value("b", "2"));
    assert_eq!(sent(&mut replies, id), "", "the first key comes first");
    replies.value(part, &value("a", "1"));
    assert_eq!(sent(&mut replies, id), "VALUE a 0 1|1|VALUE b 0 1|2|");
    assert_eq!(replies.refill, [id], "there is room for the next part");
    assert!(replies.take_long(id, usize::MAX).is_some());
    let last = replies.begin(id, Shape::Get, 1);
    replies.miss(last);
    assert_eq!(sent(&mut replies, id), "END|");
    assert!(replies.client(id).unwrap().is_idle());
}

#[test]
fn a_failure_in_one_part_of_a_long_get_is_shown_at_its_end() {
    let mut replies = Replies {
        miss_on_get_errors: false,
        ..Replies::default()
    };
    let id = replies.open();
    let part = replies.begin(id, Shape::GetPart, 1);
    let last = replies.begin(id, Shape::Get, 1);
    replies.fail(part, ErrorKind::Timeout);
    replies.value(last, &value("b", "2"));
    assert_eq!(
        sent(&mut replies, id),
        "VALUE b 0 1|2|SERVER_ERROR timeout|"
    );
    let next = replies.begin(id, Shape::Get, 1);
    replies.miss(next);
    assert_eq!(sent(&mut replies, id), "END|", "and only there");
}

#[test]
fn the_next_part_waits_for_the_last_one_and_for_a_reader() {
    let mut replies = Replies::default();
    let id = replies.open();
    let window = replies.window(id, 1 << 20);
    assert!((16..=512).contains(&window));
    replies.keep_long(id, long(5000));
    let part = replies.begin(id, Shape::GetPart, window as u32);
    assert!(replies.take_long(id, 1 << 20).is_none(), "keys under way");
    for index in 0..window as u32 {
        replies.value(at(part, index), &value("k", &"x".repeat(30_000)));
    }
    assert!(replies.take_long(id, 1000).is_none(), "bytes not read yet");
    sent(&mut replies, id);
    assert!(replies.take_long(id, 1000).is_some());
}

#[test]
fn room_is_bounded_by_requests_by_bytes_and_by_what_is_to_be_expected() {
    let mut replies = Replies::default();
    let id = replies.open();
    assert!(replies.has_room(id, 2, 100_000));
    let first = replies.begin(id, LINE, 1);
    assert!(replies.has_room(id, 2, 100_000));
    assert!(!replies.has_room(id, 1, 100_000), "requests");
    assert!(
        !replies.has_room(id, 2, 20_000),
        "a reply of average length to come"
    );
    let second = replies.begin(id, LINE, 1);
    assert!(!replies.has_room(id, 2, 100_000));
    replies.line(second, Kind::Stored, b"STORED\r\n");
    assert!(!replies.has_room(id, 2, 100_000), "it waits for the first");
    replies.line(first, Kind::Stored, b"STORED\r\n");
    assert!(replies.has_room(id, 2, 100_000));
    replies.local(id, &[b'x'; 100_000]);
    assert!(!replies.has_room(id, 2, 100_000), "bytes");
    sent(&mut replies, id);
    assert!(replies.has_room(id, 2, 100_000));
    assert!(!replies.has_room(id + 1, 2, 100_000), "no such client");
}

#[test]
fn room_follows_the_length_of_replies() {
    let mut replies = Replies::default();
    let id = replies.open();
    let mut pipeline = |size: usize| {
        for _ in 0..120 {
            let to = replies.begin(id, Shape::Get, 1);
            replies.value(to, &value("k", &"x".repeat(size)));
            sent(&mut replies, id);
        }
        let mut fit = 0;
        let mut open = Vec::new();
        while replies.has_room(id, 10_000, 100_000) {
            fit += 1;
            open.push(replies.begin(id, Shape::Get, 1));
        }
        open.into_iter().for_each(|to| replies.miss(to));
        sent(&mut replies, id);
        fit
    };
    let small = pipeline(10);
    let large = pipeline(10_000);
    assert!(small > 1000, "{small}");
    assert!((5..20).contains(&large), "{large}");
}

#[test]
fn a_client_that_waits_for_nothing_holds_no_memory() {
    let mut replies = Replies::default();
    let id = replies.open();
    let first = replies.begin(id, LINE, 1);
    let second = replies.begin(id, Shape::Get, 3);
    replies.value(at(second, 2), &value("c", "1"));
    replies.start(at(second, 1), 100);
    replies.chunk(at(second, 1), b"1234", None);
    assert!(
        replies.held()[id as usize] >= 16 + 4,
        "and something for the requests"
    );
    assert_eq!(replies.client(id).unwrap().held, 16 + 4);
    replies.line(first, Kind::Stored, b"STORED\r\n");
    replies.miss(second);
    replies.end(at(second, 1));
    sent(&mut replies, id);
    assert_eq!(replies.held()[id as usize], 0);
    let client = replies.client(id).unwrap();
    assert_eq!((client.out.held(), client.input.held()), (0, 0));
}

#[test]
fn outcomes_are_counted_once() {
    let mut replies = Replies::default();
    let id = replies.open();
    let to = replies.begin(id, Shape::Get, 4);
    replies.value(to, &value("a", "1"));
    replies.miss(at(to, 1));
    replies.fail(at(to, 2), ErrorKind::Timeout);
    replies.start(at(to, 3), 10);
    replies.end(at(to, 3));
    let meta = replies.begin(id, Shape::MetaGet(Mute::Nothing), 1);
    replies.line(meta, Kind::MetaMiss, b"EN\r\n");
    let expected = Outcomes {
        hits: 2,
        misses: 3,
        hidden_errors: 1,
    };
    assert_eq!(replies.outcomes, expected);
}
