//! Streams damaged at random, against answers recorded from the newest memcached.
//!
//! Cutting, doubling and exchanging bytes puts data where commands are expected and the other way round; what happens
//! then is where versions differ most. So the answers of 1.6.45 are kept in
//! `tests/golden/memcached/damaged-streams-1.6.45.txt`, which ringroad must repeat whatever version stands behind it,
//! and with a daemon of that version the recording itself is checked. Streams that older servers answer differently
//! although they are forwarded unchanged (new flags) are left out of the file.
//!
//! `RINGROAD_RECORD=FILE` writes a new recording, from a daemon of that version.

use std::fmt::Write;

use super::generate::{self, MARK, MARK_BASE64, Step};
use super::{CAS, END, ENDED, base64, next_name, normalise, replace};
use crate::support::client::Client;
use crate::support::memcached::{self, Memcached};
use crate::support::rng::Rng;
use crate::support::router::Cluster;

const RECORDING: &str = include_str!("../../golden/memcached/damaged-streams-1.6.45.txt");

/// No data block that a damaged stream announces may be longer: [`pad`] must be able to fill it.
const LONGEST: u64 = 2000;

/// Ends whatever is unfinished: a line, or a data block of up to [`LONGEST`] bytes.
fn pad() -> Vec<u8> {
    [b"\r\n", &b"mn\r\n".repeat(LONGEST as usize / 4 + 50)[..]].concat()
}

const PIECES: [&[u8]; 24] = [
    b" ",
    b"  ",
    b"\r\n",
    b"\n",
    b"\r",
    b"0",
    b"-1",
    b"3",
    b"noreply",
    b" noreply",
    b"get ",
    b"set ",
    b"gat 0 ",
    b"ms ",
    b"mg ",
    b"mn\r\n",
    b"END\r\n",
    b" q",
    b" k",
    b" b",
    b" O1",
    b"\xff",
    b"x",
    b" v",
];

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len() + 1);
    let end = (at + rng.between(1, 12)).min(bytes.len());
    match rng.below(5) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = rng.choose(&PIECES);
            drop(bytes.splice(at..at, piece.iter().copied()));
        }
        2 => {
            let piece = rng.choose(&PIECES);
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        3 => {
            let piece = bytes[at..end].to_vec();
            let to = rng.below(bytes.len() + 1);
            drop(bytes.splice(to..to, piece));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.next() as u8;
            }
        }
    }
}

/// Whether a stream keeps to what can be compared: see the generator's header, and [`LONGEST`].
fn comparable(bytes: &[u8]) -> bool {
    let digits = |run: &[u8]| {
        let text = std::str::from_utf8(run).unwrap_or("");
        text.parse::<u64>().unwrap_or(u64::MAX)
    };
    bytes.len() < 600
        && !bytes.contains(&0)
        && bytes
            .split(|b| !b.is_ascii_digit())
            .filter(|run| !run.is_empty())
            .all(|run| digits(run) <= LONGEST || digits(run) > u64::from(u32::MAX))
        && bytes
            .split(|b| b.is_ascii_whitespace())
            .all(|word| word.len() < 200)
        // Keys that lose a part of their mark would be shared by streams.
        && bytes.iter().filter(|b| **b == b'@').count() == MARK.len() * memchr::memmem::find_iter(bytes, MARK).count()
        && !["quit", "flush_all", "stats", "incr", "decr", "ma ", CAS]
            .iter()
            .any(|word| memchr::memmem::find(bytes, word.as_bytes()).is_some())
}

/// A damaged stream, if it can be compared.
fn damaged(seed: u64) -> Option<Vec<u8>> {
    let mut rng = Rng::new(seed ^ 0xda_3a_9e);
    let mut bytes = Vec::new();
    for step in generate::good_stream(rng.next()).iter().take(6) {
        if let Step::Send(more, _) = step {
            bytes.extend_from_slice(more);
        }
    }
    for _ in 0..rng.between(1, 6) {
        damage(&mut rng, &mut bytes);
    }
    comparable(&bytes).then_some(bytes)
}

/// The replies as one line of text; runs of equal replies are counted. `None` if the connection was closed.
fn answer(mut client: Client, stream: &[u8]) -> Result<Option<String>, String> {
    let name = next_name();
    let bytes = replace(&replace(stream, MARK, &name), MARK_BASE64, &base64(&name));
    // Items of earlier streams whose keys were damaged must not be found.
    client.ask("flush_all\r\n", "OK\r\n");
    let _ = client.try_send([&bytes[..], &pad(), END.as_bytes()].concat());
    let (got, closed) = client.read_until_or_closed(ENDED.as_bytes())?;
    if closed {
        return Ok(None);
    }
    let replies = normalise::normalise(&got[..got.len() - ENDED.len()]);
    let mut text = String::new();
    for same in replies.chunk_by(|a, b| a == b) {
        let line = replace(
            &replace(&same[0].line, &name, MARK),
            &base64(&name),
            MARK_BASE64,
        );
        write!(text, "{}", line.escape_ascii()).unwrap();
        if let Some(data) = &same[0].data {
            write!(text, " | {}", data.escape_ascii()).unwrap();
        }
        if same.len() > 1 {
            write!(text, " * {}", same.len()).unwrap();
        }
        text += "; ";
    }
    Ok(Some(text))
}

/// The recorded streams and answers.
fn recording() -> Vec<(Vec<u8>, &'static str)> {
    let mut lines = RECORDING.lines().filter(|l| !l.starts_with('#'));
    let mut cases = Vec::new();
    while let (Some(stream), Some(answer)) = (lines.next(), lines.next()) {
        cases.push((
            unescape(stream.strip_prefix("> ").unwrap()),
            answer.strip_prefix("< ").unwrap(),
        ));
    }
    cases
}

/// The reverse of `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => match bytes.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                }
                other => other,
            },
            plain => plain,
        };
        out.push(byte);
    }
    out
}

/// The replies of an answer, with repeated ones written out.
fn replies(answer: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for reply in answer.split("; ").filter(|r| !r.is_empty()) {
        match reply.rsplit_once(" * ") {
            Some((reply, count)) => out.extend(std::iter::repeat_n(reply, count.parse().unwrap())),
            None => out.push(reply),
        }
    }
    out
}

/// Whether two answers are the same. Where a meta command has two faults, ringroad may name the other one: it looks at
/// the data block and the key itself, and leaves the flags to the server.
fn agree(want: &str, got: &str) -> bool {
    let own = [
        "CLIENT_ERROR bad data chunk",
        "CLIENT_ERROR error decoding key",
    ];
    let (want, got) = (replies(want), replies(got));
    want.len() == got.len()
        && want
            .iter()
            .zip(&got)
            .all(|(w, g)| w == g || (own.contains(g) && w.starts_with("CLIENT_ERROR ")))
}

fn replay(connect: impl Fn() -> Client) {
    let cases = recording();
    assert!(
        cases.len() >= 500,
        "only {} streams are recorded",
        cases.len()
    );
    let mut wrong = String::new();
    let mut count = 0;
    for (stream, want) in &cases {
        let got = answer(connect(), stream);
        let same = match &got {
            Ok(Some(got)) => agree(want, got),
            _ => false,
        };
        if !same {
            count += 1;
            writeln!(
                wrong,
                "{}\n    wanted {want}\n    got    {got:?}",
                stream.escape_ascii()
            )
            .unwrap();
        }
    }
    assert!(
        count == 0,
        "{count} of {} damaged streams are answered differently:\n{wrong}",
        cases.len()
    );
}

#[test]
fn damaged_streams_are_answered_as_the_newest_memcached_answers_them() {
    let cluster = Cluster::with(3, |s| s.top("flush_all = true"));
    replay(|| cluster.client());
}

#[test]
fn the_recording_of_damaged_streams_is_what_the_newest_memcached_answers() {
    if memcached::is_reference() && std::env::var_os("RINGROAD_RECORD").is_none() {
        let server = Memcached::start();
        replay(|| server.client());
    }
}

/// Not a test of anything: writes a new recording when asked to.
#[test]
fn record_damaged_streams() {
    let Some(file) = std::env::var_os("RINGROAD_RECORD") else {
        return;
    };
    assert!(
        memcached::is_reference(),
        "record from memcached 1.6.45 or newer"
    );
    let server = Memcached::start();
    let mut text = String::from(
        "# Streams of damaged requests (>) and what memcached 1.6.45 answered (<). Written by tests/it/differential/recorded.rs,\n# which says what the marks stand for.\n",
    );
    let mut count = 0;
    for stream in (0..).filter_map(damaged) {
        if let Ok(Some(answer)) = answer(server.client(), &stream) {
            writeln!(text, "> {}\n< {answer}", stream.escape_ascii()).unwrap();
            count += 1;
        }
        if count == 1000 {
            break;
        }
    }
    std::fs::write(file, text).unwrap();
}
