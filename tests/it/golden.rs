//! Recorded answers to bad input, replayed.
//!
//! `tests/golden/memcached/bad-input-by-version.txt` holds what two versions of memcached answered to some 150
//! request lines. ringroad must answer every one as the newer version did, whichever version stands behind it,
//! save for [`DEVIATIONS`]. Long inputs are shortened in the file; [`expand`] restores them and checks their
//! length against the recorded one.

use crate::support::client::Client;
use crate::support::memcached::{self, Memcached};
use crate::support::router::Cluster;
use crate::support::show;

const TABLE: &str = include_str!("../golden/memcached/bad-input-by-version.txt");

/// The key that stands for `K` in the table; it exists, with flags 7 and value `old`.
const KEY: &str = "oddk";

/// Input prefix, what the newer memcached answers, what ringroad answers, and why.
const DEVIATIONS: [(&str, &str, &str, &str); 1] = [(
    "get ",
    "CLIENT_ERROR bad command line format\r\n\r\n",
    "CLIENT_ERROR bad command line format\r\n",
    "the empty line after the error would be taken for the next reply",
)];

struct Case {
    /// As in the file, for messages.
    name: String,
    input: Vec<u8>,
    reply: Vec<u8>,
    closed: bool,
}

/// The text inside Python quotes, as bytes.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.bytes();
    while let Some(c) = chars.next() {
        if c != b'\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            other => panic!("unknown escape {other:?} in {text}"),
        }
    }
    out
}

/// Restores a shortened input: the last byte shown repeats, then comes what each kind of line ends in.
fn expand(shown: &str) -> Vec<u8> {
    let Some((head, count)) = shown.split_once("...(") else {
        return unescape(shown);
    };
    let count: usize = count.trim_end_matches(" bytes)").parse().unwrap();
    let head = unescape(head);
    let text = std::str::from_utf8(&head).unwrap();
    let verb = text.split(' ').next().unwrap();
    let tail = match (verb, count) {
        (_, 2_000_023..) => "\r\nget K\r\n",
        ("set", 266) => " 0 0 1\r\nx\r\n",
        ("set", 274) => " 0 0 1 noreply\r\nx\r\n",
        ("incr", _) => " 1\r\n",
        ("touch", _) => " 0\r\n",
        ("mg", _) => " v\r\n",
        ("ms", _) => " 1\r\nx\r\n",
        ("get" | "delete", _) => "\r\n",
        // No line end at all.
        (_, 3000) => "",
        _ => "\r\n",
    };
    let fill = *head.last().unwrap();
    let mut input = head.clone();
    input.resize(count - tail.len(), fill);
    input.extend_from_slice(tail.as_bytes());
    // The length of the part that matters was recorded nowhere else, so hold it against the name.
    let key = input
        .split(|b| *b == b' ' || *b == b'\r')
        .find(|w| w.len() > 100);
    if verb.len() < 10 && fill == b'k' {
        let length = key.map_or(0, <[u8]>::len);
        assert!(
            length == 251 || count == 2106,
            "{shown}: restored with a key of {length} bytes"
        );
    }
    input
}

fn with_key(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in input.split_inclusive(|b| matches!(b, b' ' | b'\r' | b'\n' | b'\t')) {
        match piece.split_first() {
            Some((b'K', rest)) if rest.len() <= 1 => {
                out.extend_from_slice(KEY.as_bytes());
                out.extend_from_slice(rest);
            }
            _ => out.extend_from_slice(piece),
        }
    }
    out
}

/// The cases with the newer version's answers; those whose answer is text of the server's own are left out.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut shown = "";
    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        if let Some(text) = line.strip_prefix('\'') {
            shown = text.strip_suffix('\'').unwrap();
            continue;
        }
        let (versions, answer) = line.trim().split_once(':').unwrap();
        if versions.trim() == "1.6.18" {
            continue;
        }
        let answer = answer.trim().strip_prefix("b'").unwrap();
        let (reply, note) = answer.rsplit_once('\'').unwrap_or((answer, ""));
        if ["version", "stats \\r", "me K"]
            .iter()
            .any(|own| shown.starts_with(own))
        {
            continue;
        }
        cases.push(Case {
            name: shown.to_owned(),
            input: with_key(&expand(shown)),
            reply: unescape(reply),
            closed: matches!(note.trim(), "CLOSED" | "RESET"),
        });
    }
    cases
}

/// What an endpoint answers to one input, and whether it closed the connection.
///
/// A connection that is to be closed gets nothing more: an unfinished line would become a finished one.
fn answer(mut client: Client, input: &[u8], closes: bool) -> Result<(Vec<u8>, bool), String> {
    client.ask(format!("set {KEY} 7 0 3\r\nold\r\n"), "STORED\r\n");
    let _ = client.try_send(input);
    if closes {
        return client.read_until_or_closed(b"(never)");
    }
    let _ = client.try_send("mg end_of_case O4711\r\n");
    let (mut reply, closed) = client.read_until_or_closed(b"EN O4711\r\n")?;
    if !closed {
        reply.truncate(reply.len() - b"EN O4711\r\n".len());
    }
    Ok((reply, closed))
}

fn replay(connect: impl Fn() -> Client, deviations: &[(&str, &str, &str, &str)]) {
    let cases = cases();
    assert!(cases.len() >= 120, "only {} cases were read", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let mut want = case.reply.clone();
        for (prefix, newer, ours, _) in deviations {
            if case.name.starts_with(prefix) && want == newer.as_bytes() {
                want = ours.as_bytes().to_vec();
            }
        }
        let got = answer(connect(), &case.input, case.closed);
        if got != Ok((want.clone(), case.closed)) {
            wrong.push(format!(
                "{}\n    wanted {}{}\n    got    {}",
                case.name,
                show(&want),
                if case.closed { " CLOSED" } else { "" },
                match got {
                    Ok((reply, closed)) =>
                        format!("{}{}", show(&reply), if closed { " CLOSED" } else { "" }),
                    Err(e) => e,
                }
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn bad_input_is_answered_as_the_newest_memcached_answers_it() {
    let cluster = Cluster::with(3, |setup| setup.top("flush_all = true"));
    replay(|| cluster.client(), &DEVIATIONS);
}

/// The recording itself, where the daemon at hand is new enough.
#[test]
fn the_recording_is_what_the_newest_memcached_answers() {
    if !memcached::is_reference() {
        return;
    }
    let server = Memcached::start();
    replay(|| server.client(), &[]);
}
