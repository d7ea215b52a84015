use super::*;

const END: &[u8] = b"END\r\n";

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
    replies.chunk(to, b"VA 99990 O7\r\n");
    assert!(!replies.cut(to), "nobody has seen it");
    replies.fail(to, ErrorKind::ConnectionLost);
    replies.line(first, Kind::Stored, b"STORED\r\n");
    assert_eq!(sent(&mut replies, id), "STORED|EN O7|");
}
