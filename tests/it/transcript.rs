//! What clients of mcrouter 0.36 were recorded to see, replayed against ringroad in its place.
//!
//! Protects: with `--mcrouter-compat=0.36` every reply is the recorded one, but for the differences in [`PROTOCOL`], each
//! with its reason. Replayed are section A, all commands with three live servers, and section D, every command while
//! nothing listens where the server should be. The others are protected by tests of their own (`introspection`, `keys`).

use std::collections::BTreeMap;

use crate::mcrouter::{Place, chart};
use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::Ringroad;
use crate::support::show;

const TRANSCRIPT: &str = include_str!("../golden/mcrouter-0.36-transcript.txt");

/// A conversation on one connection.
struct Exchange {
    number: u32,
    title: String,
    /// What mcrouter was started with.
    options: Vec<String>,
    /// What was sent, and what came back.
    steps: Vec<(Vec<u8>, Vec<u8>)>,
    /// mcrouter closed the connection.
    closed: bool,
    /// It was more than asking and answering.
    special: bool,
}

/// A text in quotes, in C's spelling, and `${x*N}` for N times x.
fn unescaped(line: &str) -> Vec<u8> {
    let start = line.find('"').unwrap() + 1;
    let end = line.rfind('"').unwrap();
    let text = &line.as_bytes()[start..end];
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let rest = &text[at..];
        if let Some(rest) = rest.strip_prefix(b"${") {
            let length = rest.iter().position(|b| *b == b'}').unwrap();
            let (what, times) = rest[..length].split_at(
                rest[..length].len() - {
                    let star = rest[..length].iter().rposition(|b| *b == b'*').unwrap();
                    length - star
                },
            );
            let times: usize = std::str::from_utf8(&times[1..]).unwrap().parse().unwrap();
            out.extend(what.repeat(times));
            at += 2 + length + 1;
        } else if rest[0] == b'\\' {
            let (byte, used) = match rest[1] {
                b'r' => (b'\r', 2),
                b'n' => (b'\n', 2),
                b't' => (b'\t', 2),
                b'0' => (0, 2),
                b'x' => {
                    let digits = std::str::from_utf8(&rest[2..4]).unwrap();
                    (u8::from_str_radix(digits, 16).unwrap(), 4)
                }
                other => (other, 2),
            };
            out.push(byte);
            at += used;
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    out
}

/// The exchanges of the section with this letter.
fn section(letter: &str) -> Vec<Exchange> {
    let start = TRANSCRIPT.find(&format!("\n## {letter}. ")).unwrap() + 1;
    let end = TRANSCRIPT[start..].find("\n## ").unwrap();
    let mut options = Vec::new();
    let mut found: Vec<Exchange> = Vec::new();
    for line in TRANSCRIPT[start..start + end].lines().skip(1) {
        if let Some(given) = line.strip_prefix("--- options: ") {
            options = given
                .split(' ')
                .filter(|option| *option != "default")
                .map(str::to_owned)
                .collect();
        } else if let Some((number, title)) =
            line.strip_prefix('[').and_then(|l| l.split_once("] "))
        {
            found.push(Exchange {
                number: number.parse().unwrap(),
                title: title.to_owned(),
                options: options.clone(),
                steps: Vec::new(),
                closed: false,
                special: false,
            });
        } else if let Some(exchange) = found.last_mut() {
            if let Some(sent) = line.strip_prefix("  C: ") {
                exchange.special |= !sent.starts_with('"');
                if sent.contains('"') {
                    let sent = unescaped(sent);
                    match exchange.steps.last_mut() {
                        // Nothing had come back: it was not complete, or wished no reply.
                        Some((before, got)) if got.is_empty() => before.extend(sent),
                        _ => exchange.steps.push((sent, Vec::new())),
                    }
                }
            } else if let Some(got) = line.strip_prefix("  S: ") {
                exchange.closed |= got.starts_with("(connection closed");
                if got.starts_with('"') {
                    exchange.steps.last_mut().unwrap().1.extend(unescaped(got));
                }
            }
        }
    }
    found
}

/// What comes back, up to the answer of a command that every version of ringroad has.
fn answer(c: &mut Client, sent: &[u8]) -> Vec<u8> {
    c.send(sent);
    c.send("mn\r\n");
    let mut got = c.read_until(b"MN\r\n");
    got.truncate(got.len() - 4);
    got
}

/// Replays exchanges; what is not as recorded, by number.
fn replay(router: &Ringroad, exchange: &Exchange) -> Option<String> {
    let mut c = router.client();
    for (sent, want) in &exchange.steps {
        let got = answer(&mut c, sent);
        if is_stats(sent) {
            continue;
        }
        if of_any_cas(&got) != of_any_cas(want) {
            return Some(format!(
                "[{}] {}: {} was answered with {}, recorded is {}",
                exchange.number,
                exchange.title,
                show(sent),
                show(&got),
                show(want)
            ));
        }
    }
    None
}

/// A reply with another cas value is the same.
fn of_any_cas(reply: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in reply.split_inclusive(|b| *b == b'\n') {
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        match words.as_slice() {
            [b"VALUE", key, flags, length, _] => {
                lines.extend([key, *flags, *length].join(&b' '));
            }
            _ => lines.extend_from_slice(line),
        }
    }
    lines
}

/// Figures are others each time.
fn is_stats(sent: &[u8]) -> bool {
    sent.starts_with(b"stats")
}

/// Compares with the list of what is known to differ: no more, and no less.
fn judge(
    found: &BTreeMap<u32, String>,
    section: &[Exchange],
    known: &dyn Fn(&Exchange) -> Option<&'static str>,
) {
    let mut faults = Vec::new();
    for exchange in section {
        match (found.get(&exchange.number), known(exchange)) {
            (Some(difference), None) => faults.push(difference.clone()),
            (None, Some(why)) => faults.push(format!(
                "[{}] is no longer different: {why}",
                exchange.number
            )),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_with_live_servers_is_answered_as_recorded() {
    let servers = Memcached::several(3);
    let place = Place::new();
    let file = place.write("config.json", &chart(&servers));
    let router = place.serve(&["-pPORT", "-f", &file, "--mcrouter-compat=0.36"]);
    // A connection that mcrouter closes is one that it did not understand: there memcached's protocol holds.
    let all = section("A");
    let fit = |one: &Exchange| !one.closed && !one.special && !UNFINISHED.contains(&one.number);
    let all: Vec<Exchange> = all.into_iter().filter(fit).collect();
    assert!(all.len() > 60, "{}", all.len());
    let found = all
        .iter()
        .filter_map(|one| Some((one.number, replay(&router, one)?)));
    judge(&found.collect(), &all, &|exchange| {
        let known = PROTOCOL.iter();
        let mut known = known.filter(|(numbers, _)| numbers.contains(&exchange.number));
        known.next().map(|(_, why)| *why)
    });
}

/// Commands that don't end: a line without its end, a data block that is shorter than announced or ends otherwise.
const UNFINISHED: [u32; 3] = [97, 98, 103];

/// Where memcached's protocol is kept, and mcrouter has another one; by the exchanges that show it.
const PROTOCOL: &[(&[u32], &str)] = &[
    (&[5], "flags have 32 bits"),
    (&[16, 17], "they go on with a cas value of those servers"),
    (&[22], "an incr of what is no number is told so"),
    (&[26], "a delta over 64 bits is told so"),
    (&[37], "a delete with a time is as without one"),
    (&[57, 125, 126], "there are no such commands"),
    (
        &[75, 76, 77, 79, 80, 81, 82, 83, 84, 85, 86, 87],
        "a key of more than 250 bytes is told in memcached's words",
    ),
    (&[115, 116], "no other protocol is waited for"),
];

#[test]
fn every_command_without_a_server_is_answered_as_recorded() {
    let all = section("D");
    assert!(all.len() > 40, "{}", all.len());
    let mut found = BTreeMap::new();
    for exchange in &all {
        let nobody = Port::reserve();
        let config = format!(
            "{{\"pools\": {{\"A\": {{\"servers\": [\"{}\"]}}}}, \"route\": \"PoolRoute|A\"}}",
            nobody.addr()
        );
        let place = Place::new();
        let spool = place.path("spool");
        std::fs::create_dir(&spool).unwrap();
        let spool = format!("--async-dir={}", spool.display());
        let mut args = vec![
            "-pPORT",
            "--config-str",
            &*config,
            "--mcrouter-compat=0.36",
            &*spool,
        ];
        args.extend(exchange.options.iter().map(String::as_str));
        let router = place.serve(&args);
        if let Some(difference) = replay(&router, exchange) {
            found.insert(exchange.number, difference);
        }
    }
    judge(&found, &all, &|_| None);
}
