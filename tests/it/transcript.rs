//! What clients of a real mcrouter 0.36 have sent and got, sent again to ringroad in its place.
//!
//! Protects: in `--mcrouter-compat 0.36` an operator's clients see what they have always seen, but for a list of
//! differences that is written down here with a reason for each. An exchange that is no longer different is an error,
//! too: the list says neither too little nor too much.
//!
//! The record is `tests/golden/mcrouter-0.36-transcript.txt`. Its servers are real ones here where they were real
//! ones then, refused ports, silent servers and scripted ones. Ports are mapped; cas ids and figures are not compared.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::{self, Ringroad};
use crate::support::scripted::{Act, Scripted};

const RECORD: &str = include_str!("../golden/mcrouter-0.36-transcript.txt");

/// A difference that is meant.
struct Rule {
    why: &'static str,
    /// How many replies differ so.
    count: usize,
    is: fn(&Exchange, &Different) -> bool,
}

/// What differs, and why; `src/docs/mcrouter.md` has the reasons for users.
const DIFFERENT: &[Rule] = &[
    Rule {
        why: "memcached's protocol: other errors, and the connection goes on",
        count: 59,
        is: |_, it| it.want.contains("CLIENT_ERROR malformed request"),
    },
    Rule {
        why: "memcached's words for keys that are too long",
        count: 13,
        is: |_, it| it.want.contains("CLIENT_ERROR bad key"),
    },
    Rule {
        why: "memcached's protocol: flags have 32 bits, a delta 64, a delete has no time",
        count: 4,
        is: |one, _| matches!(one.number, 5 | 26 | 37),
    },
    Rule {
        why: "there are no such commands",
        count: 3,
        is: |one, _| matches!(one.number, 57 | 125 | 126),
    },
    Rule {
        why: "memcached's protocol: what an incr was told of its item is passed on",
        count: 4,
        is: |_, it| it.sent.starts_with("incr") && it.got.starts_with("CLIENT_ERROR"),
    },
    Rule {
        why: "the values of a get are shown before the error of one of its keys",
        count: 1,
        is: |one, it| one.number == 204 && it.got.starts_with("VALUE a"),
    },
    Rule {
        why: "a lease-get that can't be done is a miss wherever a get is one",
        count: 1,
        is: |one, it| one.number == 203 && it.sent.starts_with("lease-get"),
    },
    Rule {
        why: "a server that does not know a command, or is not asked with an empty key, stays in service",
        count: 27,
        is: |one, _| one.section == "A7",
    },
    Rule {
        why: "a server's line of an error is passed on as it is, and takes no server out",
        count: 24,
        is: |one, it| {
            one.section == "F"
                && (it.got.starts_with("ERROR")
                    || it.got == "SERVER_ERROR\\r\\n"
                    || (one.title.contains("\"ERROR") && it.sent.starts_with("stats")))
        },
    },
    Rule {
        why: "a reply that its command can't have breaks the connection",
        count: 8,
        is: |one, it| matches!(one.number, 374 | 399 | 420 | 434) && it.got != it.want,
    },
    Rule {
        why: "a value is passed on with the cas id that the server gives, or without",
        count: 4,
        is: |one, _| matches!(one.number, 409 | 414),
    },
    Rule {
        why: "a handle that changes nothing is not there, and DevNullRoute is NullRoute",
        count: 6,
        is: |one, it| it.sent.contains("route_handles") && (529..=534).contains(&one.number),
    },
    Rule {
        why: "a question where a request would go is none for a limit of rates",
        count: 2,
        is: |one, it| one.block.contains("RateLimitRoute") && it.sent.contains("mcrouter__.route("),
    },
];

/// Exchanges that are not sent: what they show is not what a client sees, or takes part of a minute.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "128-201",
        "figures and questions: tests/it/introspection.rs",
    ),
    (
        "210-217",
        "figures and questions: tests/it/introspection.rs",
    ),
    (
        "71",
        "memcached passes over words behind the length; what comes behind it would differ",
    ),
    ("16 17", "they go on with a cas id of those servers"),
    ("490-492", "a choice by chance"),
    (
        "469-471 487-489 493-495",
        "a choice by the host, which is another one",
    ),
    (
        "97",
        "a data block must end in CR LF, as with memcached; then nothing behind it is where it was",
    ),
    ("298 299", "probes: tests/it/failure.rs"),
];

/// The numbers of a list like `1-3 5`.
fn numbers(list: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in list.split(' ').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap());
    }
    all
}

#[derive(Debug)]
enum Step {
    Send { bytes: Vec<u8>, by_byte: bool },
    HalfClose,
    Expect(Vec<u8>),
    Nothing,
    Closed,
}

#[derive(Debug)]
struct Exchange {
    number: u32,
    title: String,
    section: String,
    /// The line of the block that it is in, if that has one.
    block: String,
    steps: Vec<Step>,
}

/// Bytes as the record writes them.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if let Some(repeat) = rest.strip_prefix(b"${") {
            let end = repeat.iter().position(|b| *b == b'}').unwrap();
            let inner = std::str::from_utf8(&repeat[..end]).unwrap();
            let (what, count) = inner.split_once('*').unwrap();
            for _ in 0..count.parse().unwrap() {
                out.extend_from_slice(what.as_bytes());
            }
            rest = &repeat[end + 1..];
            continue;
        }
        if *first != b'\\' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (kind, after) = after.split_first().unwrap();
        rest = after;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'x' => {
                let hex = std::str::from_utf8(&after[..2]).unwrap();
                out.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &after[2..];
            }
            other => out.push(*other),
        }
    }
    out
}

/// What stands between the first and the last quote of a line.
fn quoted(line: &str) -> Option<Vec<u8>> {
    let start = line.find('"')? + 1;
    let end = line.rfind('"')?;
    Some(unescaped(&line[start..end]))
}

fn exchanges() -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    let (mut section, mut block) = (String::new(), String::new());
    for line in RECORD.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.split('.').next().unwrap().to_owned();
            block.clear();
        } else if let Some(text) = line.strip_prefix("--- ") {
            block = text.to_owned();
        } else if let Some((number, title)) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            all.push(Exchange {
                number: number.parse().unwrap(),
                title: title.to_owned(),
                section: section.clone(),
                block: block.clone(),
                steps: Vec::new(),
            });
        } else if let Some(text) = line.strip_prefix("  C: ") {
            let step = match quoted(text) {
                Some(bytes) => Step::Send {
                    bytes,
                    by_byte: text.starts_with("(one byte"),
                },
                None => Step::HalfClose,
            };
            all.last_mut().unwrap().steps.push(step);
        } else if let Some(text) = line.strip_prefix("  S: ") {
            let step = match text {
                "(nothing)" => Step::Nothing,
                "(connection closed by mcrouter)" => Step::Closed,
                text => Step::Expect(quoted(text).unwrap()),
            };
            all.last_mut().unwrap().steps.push(step);
        }
    }
    all
}

/// The servers of an exchange or of a section, and a router in front.
struct Stage {
    router: Ringroad,
    servers: Vec<Memcached>,
    _scripted: Option<Scripted>,
    _dead: Vec<Port>,
    /// What the record calls an address, and what it is here.
    ports: Vec<(&'static str, String)>,
}

/// What stands in the record for the servers of the pool A of three.
const LIVE: [&str; 3] = ["127.0.0.1:21201", "127.0.0.1:21202", "127.0.0.1:21203"];

impl Stage {
    fn start(
        pools: &[(&str, Vec<&'static str>)],
        more: &str,
        route: &str,
        flags: &[&str],
        script: Option<Script>,
    ) -> Stage {
        let mut servers = Vec::new();
        let mut dead = Vec::new();
        let mut scripted = None;
        let mut ports: Vec<(&'static str, String)> = Vec::new();
        for name in pools.iter().flat_map(|(_, names)| names) {
            if ports.iter().any(|(known, _)| known == name) {
                continue;
            }
            let address = if LIVE.contains(name) {
                servers.push(Memcached::start());
                servers.last().unwrap().addr().to_string()
            } else if let Some(script) = script.clone() {
                let server = Scripted::start(move |command| script.acts(command));
                let address = server.addr().to_string();
                scripted = Some(server);
                address
            } else {
                let port = Port::reserve();
                let address = port.addr().to_string();
                dead.push(port);
                address
            };
            ports.push((name, address));
        }
        let address = |name: &str| {
            let (_, address) = ports.iter().find(|(known, _)| *known == name).unwrap();
            format!("\"{address}\"")
        };
        let pools: Vec<String> = pools
            .iter()
            .map(|(name, servers)| {
                let servers: Vec<String> = servers.iter().map(|name| address(name)).collect();
                format!(
                    "\"{name}\": {{\"servers\": [{}]{more}}}",
                    servers.join(", ")
                )
            })
            .collect();
        let text = format!(
            "{{\"pools\": {{{}}}, \"route\": {route}}}",
            pools.join(", ")
        );
        let (port, dir) = (Port::reserve(), tempfile::tempdir().unwrap());
        let file = dir.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let spool = dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let mut command = Command::new(router::binary());
        command.args([
            "mcrouter",
            "-p",
            &port.number().to_string(),
            "--mcrouter-compat=0.36",
        ]);
        command.arg("--config-file").arg(&file);
        command.arg("--async-dir").arg(&spool).args(flags);
        command.args(["--stats-root", "", "--config-dump-root", ""]);
        let router = Ringroad::spawn(command, port, dir);
        Stage {
            router,
            servers,
            _scripted: scripted,
            _dead: dead,
            ports,
        }
    }

    /// Text with the record's names of servers.
    fn named(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for (name, address) in &self.ports {
            text = text.replace(address.as_str(), name);
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => text.into_bytes(),
            Err(_) => bytes.to_vec(),
        }
    }
}

/// What a scripted server does.
#[derive(Clone, Debug)]
enum Script {
    Silent,
    Say(Vec<u8>),
    Close,
}

impl Script {
    fn acts(&self, command: &crate::support::scripted::Command) -> Vec<Act> {
        if command.verb() == "version" {
            return vec![Act::Serve];
        }
        match self {
            Script::Silent => vec![Act::Ignore],
            Script::Say(bytes) => vec![Act::Send(bytes.clone())],
            Script::Close => vec![Act::Close],
        }
    }
}

/// Cas ids and figures are other ones.
fn comparable(bytes: &[u8]) -> String {
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = line.escape_ascii().to_string();
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["VALUE", key, flags, length, _] => {
                lines.push(format!("VALUE {key} {flags} {length} CAS"));
            }
            ["STAT", server, status, _] if text.contains("num_failures") => {
                lines.push(format!("STAT {server} {status}"));
            }
            ["STAT", server, figures @ ..] if server.contains(":ascii") => {
                let tko: Vec<&&str> = figures.iter().filter(|word| word.contains("tko")).collect();
                lines.push(format!("STAT {server} {tko:?}"));
            }
            _ => lines.push(text),
        }
    }
    lines.concat()
}

/// A reply that is another one.
#[derive(Debug)]
struct Different {
    sent: String,
    want: String,
    got: String,
}

/// Sends an exchange; what was different.
fn play(stage: &Stage, exchange: &Exchange) -> Vec<Different> {
    const FENCE_LINE: &str = "mn\r\n";
    const FENCE: &[u8] = b"MN\r\n";
    let mut client: Client = stage.router.client();
    let mut steps = exchange.steps.iter().peekable();
    let mut found = Vec::new();
    let mut is_closed = false;
    while let Some(step) = steps.next() {
        match step {
            Step::Send { bytes, by_byte } => {
                let waits = matches!(steps.peek(), Some(Step::Nothing));
                let sent = match by_byte {
                    true => bytes.iter().try_for_each(|byte| client.try_send([*byte])),
                    false => client.try_send(bytes),
                };
                if waits && sent.is_ok() {
                    continue;
                }
                // Where it was closed, nothing of it goes on; what is behind an error may swallow a fence.
                let is_last = steps.clone().all(|step| !matches!(step, Step::Send { .. }));
                let closes = matches!(exchange.steps.last(), Some(Step::Closed));
                let got = if is_last && closes {
                    client.finish_sending();
                    is_closed = true;
                    client.read_to_end()
                } else {
                    let _ = client.try_send(FENCE_LINE);
                    let (mut got, closed) = client
                        .read_until_or_closed(FENCE)
                        .unwrap_or_else(|why| panic!("{exchange:?}: {why}"));
                    is_closed |= closed;
                    got.truncate(got.strip_suffix(FENCE).unwrap_or(&got).len());
                    got
                };
                let want = match steps.peek() {
                    Some(Step::Expect(bytes)) => comparable(bytes),
                    _ => String::new(),
                };
                let got = comparable(&stage.named(&got));
                if got != want {
                    let sent = bytes.escape_ascii().to_string();
                    found.push(Different { sent, want, got });
                    if closes {
                        // What comes behind an error was not looked at then.
                        return found;
                    }
                }
                if matches!(steps.peek(), Some(Step::Expect(_))) {
                    steps.next();
                }
            }
            Step::HalfClose => client.finish_sending(),
            Step::Expect(_) | Step::Nothing => {}
            Step::Closed => {
                if !is_closed {
                    let (rest, closed) = client.read_until_or_closed(FENCE).unwrap_or_default();
                    if !closed || !rest.is_empty() {
                        found.push(Different {
                            sent: "nothing".to_owned(),
                            want: "(closed)".to_owned(),
                            got: comparable(&rest),
                        });
                    }
                }
            }
        }
    }
    found
}

/// The stage of a section in which every exchange has a fresh one, or of a block.
fn stage(exchange: &Exchange) -> Stage {
    let three = || vec![("A", LIVE.to_vec())];
    let one = |name| vec![("A", vec![name])];
    let plain = "\"PoolRoute|A\"";
    let title = exchange.title.as_str();
    match exchange.section.as_str() {
        "B" if title.contains("AllSync") => Stage::start(
            &three(),
            "",
            "\"AllSyncRoute|Pool|A\"",
            &["--enable-flush-cmd"],
            None,
        ),
        "B" => Stage::start(&three(), "", plain, &["--enable-flush-cmd"], None),
        "C" if title.starts_with("keep") => Stage::start(
            &three(),
            ", \"keep_routing_prefix\": true",
            plain,
            &[],
            None,
        ),
        "C" => Stage::start(
            &three(),
            "",
            plain,
            &["--send-invalid-route-to-default"],
            None,
        ),
        "D" => {
            let options = exchange.block.strip_prefix("options: ").unwrap();
            let options: Vec<&str> = options
                .split(' ')
                .filter(|word| *word != "default")
                .collect();
            Stage::start(&one("127.0.0.1:21299"), "", plain, &options, None)
        }
        "E" => {
            let mut flags = Vec::new();
            if title.contains("--disable-miss-on-get-errors") {
                flags.push("--disable-miss-on-get-errors");
            }
            Stage::start(
                &one("127.0.0.1:21298"),
                "",
                plain,
                &flags,
                Some(Script::Silent),
            )
        }
        "F" => {
            let script = match title.contains("closing the connection") {
                true => Script::Close,
                false => Script::Say(quoted(title.split(';').nth(1).unwrap()).unwrap()),
            };
            let flags: &[&str] = match title.ends_with("--disable-miss-on-get-errors") {
                true => &["--disable-miss-on-get-errors"],
                false => &[],
            };
            Stage::start(&one("127.0.0.1:21297"), "", plain, flags, Some(script))
        }
        "I" => {
            let (route, state) = exchange.block.rsplit_once(" ; ").unwrap();
            let route = route.strip_prefix("route ").unwrap();
            let a = match state {
                "all live" => LIVE.to_vec(),
                "index 0 dead" => vec!["127.0.0.1:21291", LIVE[1], LIVE[2]],
                _ => vec!["127.0.0.1:21291", "127.0.0.1:21292", "127.0.0.1:21293"],
            };
            Stage::start(&[("A", a), ("B", vec![LIVE[2]])], "", route, &[], None)
        }
        _ => Stage::start(&three(), "", plain, &[], None),
    }
}

#[test]
fn clients_see_what_mcrouter_0_36_showed_them() {
    let left_out: Vec<u32> = LEFT_OUT.iter().flat_map(|(all, _)| numbers(all)).collect();
    let mut found: Vec<(Exchange, Vec<Different>)> = Vec::new();
    let mut shared: Option<Stage> = None;
    let (silent, others): (Vec<Exchange>, Vec<Exchange>) = exchanges()
        .into_iter()
        .filter(|exchange| !left_out.contains(&exchange.number))
        .partition(|exchange| exchange.section == "E");
    // A silent server is waited for: for all of them at once.
    std::thread::scope(|scope| {
        let all: Vec<_> = silent
            .into_iter()
            .map(|one| scope.spawn(move || (play(&stage(&one), &one), one)))
            .collect();
        for exchange in others {
            // In these one router served all.
            let is_shared = matches!(exchange.section.as_str(), "A" | "A4");
            let own;
            let stage = if is_shared {
                shared.get_or_insert_with(|| stage(&exchange))
            } else {
                own = stage(&exchange);
                &own
            };
            let different = play(stage, &exchange);
            found.push((exchange, different));
        }
        for one in all {
            let (different, exchange) = one.join().unwrap();
            found.push((exchange, different));
        }
    });
    let count = found.len();
    let mut wrong = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (exchange, all) in found {
        for different in all {
            match DIFFERENT
                .iter()
                .find(|rule| (rule.is)(&exchange, &different))
            {
                Some(rule) => *counts.entry(rule.why).or_default() += 1,
                None => {
                    let cut = |text: &str| text.chars().take(300).collect::<String>();
                    let Different { sent, want, got } = &different;
                    let (number, title) = (exchange.number, &exchange.title);
                    let block = &exchange.block;
                    wrong += &format!(
                        "[{number}] {title} {block}\n  sent   {}\n  wanted {}\n  got    {}\n",
                        cut(sent),
                        cut(want),
                        cut(got)
                    );
                }
            }
        }
    }
    assert!(count > 400, "{count}");
    assert!(wrong.is_empty(), "{wrong}\n{counts:#?}");
    for rule in DIFFERENT {
        assert_eq!(counts.get(rule.why), Some(&rule.count), "{}", rule.why);
    }
}
