//! What can be compared between memcached 1.6.18 and a server that follows 1.6.45, and how.

use ringroad::protocol::error::ErrorKind::{
    BadDelta, BadExptime, BadFormat, BadKeyEncoding, DuplicateFlag, InvalidOrDuplicateFlag,
    ShutdownDisabled, UnknownCommand,
};
use ringroad::protocol::number;
use ringroad::protocol::request::{CloseReason, Limits, Meta, MetaCommand, Parsed, Request, parse};

/// Blanks what no two servers need have in common.
pub fn normal(reply: &[u8]) -> String {
    let text = reply.escape_ascii().to_string();
    let mut normal = String::new();
    for (i, line) in text.split("\\r\\n").enumerate() {
        if i > 0 {
            normal.push_str("\\r\\n\n");
        }
        let is_value = line.starts_with("VALUE ");
        let is_meta = line.starts_with("HD ") || line.starts_with("VA ") || line.starts_with("ME ");
        if line.starts_with("VERSION ") {
            normal.push_str("VERSION");
            continue;
        }
        for (i, word) in line.split(' ').enumerate() {
            if i > 0 {
                normal.push(' ');
            }
            let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            // 1.6.18 shows `exp` with the wrong sign.
            let blank = ["cas=", "exp=-", "exp=", "la=", "c", "t", "l"]
                .iter()
                .find(|name| {
                    is_meta && word != "exp=-1" && word.strip_prefix(**name).is_some_and(digits)
                });
            match blank {
                Some(name) => normal.push_str(name.trim_end_matches('-')),
                None if is_value && i == 4 => normal.push_str("cas"),
                None => normal.push_str(word),
            }
        }
    }
    normal
}

/// How far the two versions can be compared on a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Comparison {
    /// Byte for byte.
    Exact,
    /// All but the texts of errors and how many there are: 1.6.45 has other texts for malformed lines, and does
    /// not take a refused line's data block for commands.
    ButErrors,
    /// Not at all, because 1.6.45 differs as named.
    Not(&'static str),
}

use Comparison::{ButErrors, Exact, Not};

/// The list of differences between 1.6.18 and 1.6.45, and whether the request is complete: if not, 1.6.18 may
/// close without sending what it has to say.
pub fn comparison(mut request: &[u8]) -> (Comparison, bool) {
    let mut worst = Exact;
    while !request.is_empty() {
        let line = request.split(|b| *b == b'\n').next().unwrap();
        let words = line
            .split(|b| *b == b' ')
            .filter(|word| !word.is_empty() && *word != b"\r")
            .count();
        if line.first() == Some(&b' ') {
            return (Not("spaces before the command"), true);
        }
        if line.contains(&0) {
            return (Not("a NUL, where 1.6.18 takes a line to end"), true);
        }
        if line.len() < 3 && request.len() > line.len() && line.starts_with(b"mn") {
            return (Not("a command line of three bytes"), true);
        }
        if words > most_words(line) {
            return (Not("more words than a command has"), true);
        }
        let (len, parsed) = match parse(request, &Limits::default()) {
            Parsed::Request { len, request } => (len, request),
            Parsed::More { .. } => return (worst, false),
            Parsed::Close(CloseReason::Http) if !line.starts_with(b"GET / ") => {
                return (Not("HTTP in another form"), true);
            }
            Parsed::Close(_) => return (worst, true),
        };
        let mut skip = 0;
        let this = match parsed {
            Request::Refused(refused) => {
                skip = refused.swallow;
                match refused.error {
                    _ if line.starts_with(b"me ") => Not("words after me's key"),
                    _ if line.starts_with(b"gat") && words == 2 => Not("gat without a key"),
                    BadDelta if words > 4 => Not("more words than a command has"),
                    BadFormat | BadExptime | BadDelta if lenient_number(line) => {
                        Not("numbers that only 1.6.18 takes for one")
                    }

                    BadFormat
                    | UnknownCommand
                    | BadKeyEncoding
                    | ShutdownDisabled
                    | BadExptime
                    | DuplicateFlag
                    | InvalidOrDuplicateFlag => ButErrors,
                    _ => Exact,
                }
            }
            Request::Store(store) if soon(store.exptime) => Not(SOON),
            Request::Get(get) if soon(get.exptime) => Not(SOON),
            Request::Touch { exptime, .. } if soon(exptime) => Not(SOON),
            Request::FlushAll {
                delay: Some(delay), ..
            } if soon(delay) => Not(SOON),
            Request::Arith { .. } | Request::Touch { .. } if words > 4 => {
                Not("more words than a command has")
            }
            Request::FlushAll { .. } | Request::Verbosity { .. } if words > 3 => {
                Not("more words than a command has")
            }
            Request::Stats { .. } if words == 1 => Not("statistics"),
            Request::Delete { noreply, .. } if words > 2 + usize::from(noreply) => {
                Not("words after delete's key")
            }
            Request::Meta(meta) => meta_comparison(&meta),
            _ => Exact,
        };
        worst = worst.max(this);
        let Some(rest) = request.get(len + skip..) else {
            return (worst, false);
        };
        request = rest;
    }
    (worst, true)
}

/// Whether the line has a number that is one to 1.6.18 alone: a data length, a delta, a cas value, or a time of
/// `touch`, `gat` or `flush_all` that is over 32 bits, has a plus, or white space other than spaces in or after it.
fn lenient_number(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line
        .strip_suffix(b"\r")
        .unwrap_or(line)
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty())
        .collect();
    let signed = |at: usize| {
        words
            .get(at)
            .is_some_and(|w| number::i32(w).is_some() && number::strict_i32(w).is_none())
    };
    let unsigned = |at: usize| {
        words
            .get(at)
            .is_some_and(|w| number::u64(w).is_some() && number::strict_u64(w).is_none())
    };
    match words.first() {
        Some(&(b"gat" | b"gats" | b"flush_all")) => signed(1),
        Some(&(b"ms" | b"touch")) => signed(2),
        Some(&(b"incr" | b"decr")) => unsigned(2),
        Some(&b"cas") => signed(4) || unsigned(5),
        Some(&(b"set" | b"add" | b"replace" | b"append" | b"prepend")) => signed(4),
        _ => false,
    }
}

/// The most words 1.6.18 takes on a storage command's line.
fn most_words(line: &[u8]) -> usize {
    match line.split(|b| *b == b' ').next() {
        Some(b"set" | b"add" | b"replace" | b"append" | b"prepend") => 6,
        Some(b"cas") => 7,
        _ => usize::MAX,
    }
}

/// What may or may not have happened by the time the other server is asked.
const SOON: &str = "times that are over during the test";

fn soon(exptime: i32) -> bool {
    (1..20).contains(&exptime)
}

fn meta_comparison(meta: &Meta<'_>) -> Comparison {
    let words = || {
        meta.flags_text
            .split(|b| *b == b' ')
            .filter(|word| !word.is_empty())
    };
    let has = |flag: u8| words().any(|word| word[0] == flag);
    let time = |word: &[u8]| matches!(word[0], b'T' | b'N').then(|| number::i32(&word[1..]));
    if words().filter_map(time).flatten().any(soon) {
        return Not(SOON);
    }
    if has(b'x') || has(b'E') {
        return Not("flags x and E");
    }
    if words().any(|word| word[0] == b'M' && word.len() != 2) {
        return Not("the length of M's token");
    }
    match meta.command {
        MetaCommand::Set if has(b's') => Not("s of ms"),
        MetaCommand::Set if has(b'N') => Not("N of ms"),
        MetaCommand::Get if has(b'C') => Not("C of mg"),
        MetaCommand::Arithmetic if has(b'N') && has(b'q') => Not("q of an ma that creates"),
        MetaCommand::Debug if words().next().is_some() => Not("words after me's key"),
        // One text for all errors became one for each.
        MetaCommand::Delete => ButErrors,
        _ => Exact,
    }
}

pub fn without_errors(reply: &str) -> String {
    let error = |line: &&str| {
        ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"]
            .iter()
            .any(|error| line.starts_with(error))
    };
    reply
        .lines()
        .filter(|line| !error(line))
        .collect::<Vec<_>>()
        .join("\n")
}
