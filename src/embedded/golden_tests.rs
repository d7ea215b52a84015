//! Replies recorded from real memcacheds, asked of a session.
//!
//! `bad-input-by-version.txt` holds the answers of 1.6.18 and 1.6.45 to single lines; the newer ones must come
//! out here. `sessions-1.6.18.txt` holds dialogues with 1.6.18; where 1.6.45 answers otherwise, the list
//! [`NEWER`] says so. Long lines are abbreviated in the files and made whole again here.

use super::item::Now;
use super::server::Options;
use super::session::{Fate, Session};
use super::store::Store;
use super::{VERSION, server};

const NOW: Now = Now(1_795_000_000);

/// memcached's read buffer: what it sees of a long line at once.
const READ: usize = 16 << 10;

/// A Python literal, with or without `b`, quoted with `'` or `"`; and what follows it.
fn literal(text: &str) -> (Vec<u8>, &str) {
    let text = text.strip_prefix('b').unwrap_or(text);
    let quote = text.as_bytes()[0];
    assert!(matches!(quote, b'\'' | b'"'), "{text}");
    let mut bytes = Vec::new();
    let mut at = 1;
    let hex = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    loop {
        let b = text.as_bytes()[at];
        if b == quote {
            return (bytes, &text[at + 1..]);
        }
        if b != b'\\' {
            bytes.push(b);
            at += 1;
            continue;
        }
        at += 2;
        bytes.push(match text.as_bytes()[at - 1] {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                at += 2;
                hex(at - 2)
            }
            other => other,
        });
    }
}

/// Makes an abbreviated request (`get kkk...(257 bytes)`) whole: a run of its last letter up to the given
/// length, with the line's usual end.
fn whole(request: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&request).into_owned();
    let Some((head, rest)) = text.split_once("...(") else {
        return request;
    };
    let total: usize = rest.trim_end_matches(" bytes)").parse().unwrap();
    if head.starts_with("get k0 k1 ") {
        let keys: Vec<String> = (0..2000).map(|i| format!("k{i}")).collect();
        let line = format!("get {}\r\n", keys.join(" "));
        assert_eq!(line.len(), total);
        return line.into_bytes();
    }
    let letter = head.chars().last().unwrap();
    let head = head.trim_end_matches(letter);
    let end = match (head, total) {
        ("set ", 266) => " 0 0 1\r\nx\r\n",
        ("set ", 274) => " 0 0 1 noreply\r\nx\r\n",
        ("incr ", _) => " 1\r\n",
        ("touch ", _) => " 0\r\n",
        ("mg ", _) => " v\r\n",
        ("ms ", 261) => " 1\r\nx\r\n",
        ("ms ", 262) => " 2\r\nhi\r\n",
        ("", 3000 | 9000) => "",
        _ => "\r\n",
    };
    // The key of these was longer when they were recorded.
    let run = match head.contains(" 2000000") {
        true => 2_000_000,
        false => total - head.len() - end.len(),
    };
    [head, &letter.to_string().repeat(run), end]
        .concat()
        .into_bytes()
}

fn feed(session: &mut Session, store: &Store, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    for piece in bytes.chunks(READ) {
        let mut fate = session.feed(store, NOW, piece, &mut out);
        while fate == Fate::Full {
            let mut more = Vec::new();
            fate = session.feed(store, NOW, b"", &mut more);
            out.extend_from_slice(&more);
        }
        if fate == Fate::Close {
            return (out, true);
        }
    }
    (out, false)
}

/// Blanks what differs from run to run: cas values and versions.
fn normal(reply: &[u8]) -> String {
    let text = reply.escape_ascii().to_string();
    let text = text
        .replace(&format!("VERSION {VERSION}"), "VERSION")
        .replace("VERSION 1.6.18", "VERSION")
        .replace("VERSION 1.6.45", "VERSION");
    let mut normal = String::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let end = word.find("\\r").unwrap_or(word.len());
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let is_cas = word.strip_prefix("cas=").is_some_and(digits)
            || word[..end].strip_prefix('c').is_some_and(digits);
        if is_cas {
            normal.push_str("CAS");
            normal.push_str(&word[end..]);
        } else {
            normal.push_str(word);
        }
        if words.peek().is_some() {
            normal.push(' ');
        }
    }
    normal
}

fn fresh_store(max_item: usize) -> Store {
    let options = Options {
        max_item,
        ..server::Options::default()
    };
    Store::new(options, NOW)
}

#[test]
fn bad_input_is_answered_as_by_1_6_45() {
    let file = include_str!("../../tests/golden/memcached/bad-input-by-version.txt");
    let mut lines = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    let mut cases = 0;
    let mut wrong = Vec::new();
    while let Some(line) = lines.next() {
        let (request, _) = literal(line);
        let mut want = None;
        while let Some(reply) = lines.next_if(|line| line.starts_with("     ")) {
            let (label, reply) = reply.trim_start().split_once(": ").unwrap();
            if matches!(label.trim(), "all" | "1.6.45") {
                want = Some(literal(reply));
            }
        }
        let (mut reply, fate) = want.unwrap();
        // In the file, K stands for the key that exists.
        let mut request = whole(request);
        for (k, key) in [(" K ", " oddk "), (" K\r", " oddk\r"), (" K\n", " oddk\n")] {
            let end = request.len().min(100);
            let head = String::from_utf8_lossy(&request[..end]).replacen(k, key, 1);
            request.splice(..end, head.into_bytes());
        }
        let store = fresh_store(1 << 20);
        let mut session = Session::new();
        // Stored twice, because some lines guess the cas value 1.
        for _ in 0..2 {
            let (stored, _) = feed(&mut session, &store, b"set oddk 7 0 3\r\nold\r\n");
            assert_eq!(stored, b"STORED\r\n");
        }
        if line.contains(" 2000000") {
            request.extend_from_slice(b"get oddk\r\n");
        }
        // The empty line after this error would be taken for the next reply; the parser's header says so.
        if reply == b"CLIENT_ERROR bad command line format\r\n\r\n" {
            reply.truncate(reply.len() - 2);
        }
        let (got, closed) = feed(&mut session, &store, &request);
        cases += 1;
        let same = if line.starts_with("'stats \\r") {
            got.starts_with(b"STAT pid ") && got.ends_with(b"\r\nEND\r\n")
        } else {
            normal(&got) == normal(&reply)
        };
        let must_close = matches!(fate.trim(), "CLOSED" | "RESET");
        if !same || closed != must_close {
            wrong.push(format!(
                "{line}\n   got {} {closed}\n  want {} {must_close}",
                normal(&got),
                normal(&reply)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases > 120, "{cases}");
}

/// Requests of the dialogues that 1.6.45 answers otherwise than 1.6.18, with its answer.
///
/// Three entries at the end have other reasons: a router's endpoint has no watchers and no crawler, and the
/// recording took longer than its `flush_all 10`.
const NEWER: &[(&str, &str)] = &[
    // Missing words have an error of their own.
    (r"get\r\n", BAD_FORMAT),
    (r"get \r\n", BAD_FORMAT),
    (r"gets\r\n", BAD_FORMAT),
    (r"\r\n", BAD_FORMAT),
    (r"\n", BAD_FORMAT),
    (r"set a 0 0\r\n", BAD_FORMAT),
    (r"incr n\r\n", BAD_FORMAT),
    (r"delete\r\n", BAD_FORMAT),
    (r"touch a\r\n", BAD_FORMAT),
    (r"gat 0\r\n", BAD_FORMAT),
    (r"gat\r\n", BAD_FORMAT),
    (r"verbosity\r\n", BAD_FORMAT),
    (r"mg\r\n", BAD_FORMAT),
    (r"mg m !\r\n", BAD_FORMAT),
    (
        r"lo\r\n",
        r"CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\n",
    ),
    // The data block of a refused line is no command.
    (r"set a -1 0 1\r\nx\r\n", BAD_FORMAT),
    (
        "set kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...(266 bytes)",
        BAD_FORMAT,
    ),
    (r"set a 0 99999999999999999999 1\r\nx\r\n", BAD_FORMAT),
    (r"set a 0x1 0 1\r\nx\r\n", BAD_FORMAT),
    (r"cas a 0 0 1\r\nx\r\n", BAD_FORMAT),
    (r"cas a 0 0 1 abc\r\nx\r\n", BAD_FORMAT),
    (
        "ms kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...(262 bytes)",
        BAD_FORMAT,
    ),
    // Other words.
    (r" get a\r\n", r"ERROR\r\n"),
    (r"delete a 5\r\n", r"NOT_FOUND\r\n"),
    (r"set a 0 0 1 noreply extra\r\nx\r\n", r"STORED\r\n"),
    (r"shutdown\r\n", r"SERVER_ERROR: shutdown not enabled\r\n"),
    // See above.
    (r"watch\r\n", r"ERROR\r\n"),
    (r"lru_crawler metadump all\r\n", r"ERROR\r\n"),
    (
        r"get a a a\r\n",
        r"VALUE a 1 1\r\nx\r\nVALUE a 1 1\r\nx\r\nVALUE a 1 1\r\nx\r\nEND\r\n",
    ),
];

const BAD_FORMAT: &str = r"CLIENT_ERROR bad command line format\r\n";

#[test]
fn dialogues_go_as_with_1_6_18_but_for_the_listed_answers() {
    let file = include_str!("../../tests/golden/memcached/sessions-1.6.18.txt");
    let store = fresh_store(2 << 20);
    let mut session = Session::new();
    let mut lines = file.lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    let mut unused: Vec<&str> = NEWER.iter().map(|(request, _)| *request).collect();
    while let Some(line) = lines.next() {
        let Some(request) = line.strip_prefix("C: ") else {
            assert!(line.is_empty(), "{line}");
            session = Session::new();
            continue;
        };
        let reply = lines
            .next()
            .and_then(|line| line.strip_prefix("S: "))
            .unwrap();
        let ((request, _), (reply, fate)) = (literal(request), literal(reply));
        let (got, closed) = feed(&mut session, &store, &whole(request.clone()));
        let text = request.escape_ascii().to_string();
        unused.retain(|request| *request != text);
        let newer = NEWER.iter().find(|(request, _)| *request == text);
        let want = newer.map_or_else(|| normal(&reply), |(_, reply)| (*reply).to_owned());
        if normal(&got) != want || closed != (fate.trim() == "(closed)") {
            wrong.push(format!("(\"{text}\", \"{}\"), // {want}", normal(&got)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "{unused:?}");
}
