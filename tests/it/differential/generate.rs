//! Seeded streams of requests: good ones, odd ones, bad ones.
//!
//! A stream is a list of [`Step`]s, so that a failing one can be made smaller by leaving steps out. Keys carry
//! [`MARK`], which each run replaces with a name of its own: runs do not see each other's items. Avoided by
//! construction is what differs in nature: eviction, times that pass, NUL in keys.
//!
//! Where memcached's answer to bad input changed between versions, a step holds what an older daemon is sent
//! instead: the request that provokes from it the answer of the newer one. That is the list of the differences.

use crate::support::memcached;
use crate::support::rng::Rng;

/// Stands for the run's own name, in keys; six bytes, as is the name.
pub const MARK: &str = "@@@@@@";
/// [`MARK`] in base64.
pub const MARK_BASE64: &str = "QEBAQEBA";
/// Stands for the cas value that the last [`Step::Gets`] saw.
pub const CAS: &str = "{cas}";

/// One step of a stream.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send this; to an older daemon, the second.
    Send(Vec<u8>, Option<Vec<u8>>),
    /// Read everything up to here.
    Sync,
    /// Send `gets KEY`, read everything up to its answer and keep the cas value.
    Gets(String),
}

fn send(text: impl Into<Vec<u8>>) -> Step {
    Step::Send(text.into(), None)
}

/// `text` is answered as an older daemon answers `older`.
fn newer(text: impl Into<Vec<u8>>, older: &str) -> Step {
    Step::Send(text.into(), Some(older.as_bytes().to_vec()))
}

/// Requests that every version answers so, without further effect.
const BAD_LINE: &str = "verbosity abc\r\n";
const ERROR: &str = "bogus\r\n";
const NOTHING: &str = "";

/// The keys of one stream.
pub struct Keys {
    plain: Vec<Vec<u8>>,
    base64: Vec<String>,
}

impl Keys {
    fn new(rng: &mut Rng) -> Keys {
        let mut plain: Vec<Vec<u8>> = (0..rng.between(1, 6))
            .map(|i| format!("{MARK}{i}").into_bytes())
            .collect();
        if rng.chance(30) {
            plain.push(format!("{MARK}{}", "k".repeat(244)).into_bytes());
        }
        if rng.chance(30) {
            plain.push([MARK.as_bytes(), b"\xff\x01\x7f\t\x80="].concat());
        }
        // "@@@@@@xyz", "@@@@@@x\xff?" and "@@@@@@x" in base64.
        let base64 = ["eHl6", "eP8/", "eA=="]
            .map(|tail| format!("{MARK_BASE64}{tail}"))
            .to_vec();
        Keys { plain, base64 }
    }

    fn one<'a>(&'a self, rng: &mut Rng) -> &'a [u8] {
        let at = rng.below(self.plain.len());
        &self.plain[at]
    }

    fn text(&self, rng: &mut Rng) -> String {
        loop {
            if let Ok(key) = String::from_utf8(self.one(rng).to_vec()) {
                return key;
            }
        }
    }
}

/// A number small enough to stay below 2^63 whatever arithmetic follows: in front of larger ones memcached looks for a
/// minus sign and reads on into what happens to lie behind the item.
fn number(rng: &mut Rng) -> Vec<u8> {
    rng.below(100_000).to_string().into_bytes()
}

/// A value that is no number and does not become one by appending.
fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => Vec::new(),
        1 => b"x\r\nEND\r\nget a\r\n".to_vec(),
        2 => {
            let len = rng.below(300);
            [b"x".to_vec(), rng.bytes(len)].concat()
        }
        3 => {
            let len = rng.below(20_000);
            vec![b'v'; len]
        }
        _ => vec![b'a' + rng.below(26) as u8; rng.between(1, 40)],
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(40) {
        number(rng)
    } else {
        text(rng)
    }
}

fn exptime(rng: &mut Rng) -> &'static str {
    rng.choose(&["0", "0", "0", "1000000", "-1", "2592000"])
}

fn store(rng: &mut Rng, key: &[u8], verb: &str, value: &[u8], cas: &str, noreply: &str) -> Vec<u8> {
    let flags = rng.choose(&["0", "0", "1", "4294967295", "0042", "+7"]);
    let exptime = exptime(rng);
    let end = rng.choose(&["\r\n", "\r\n", "\r\n", "\n", " \r\n"]);
    let head = format!(" {flags} {exptime} {}{cas}{noreply}{end}", value.len());
    [verb.as_bytes(), b" ", key, head.as_bytes(), value, b"\r\n"].concat()
}

fn get(rng: &mut Rng, keys: &Keys) -> Vec<u8> {
    let verb = rng.choose(&["get", "get", "get", "gets", "gat", "gats"]);
    let mut line = verb.as_bytes().to_vec();
    if verb.starts_with("gat") {
        line.extend_from_slice(format!(" {}", exptime(rng)).as_bytes());
    }
    let most = rng.choose(&[1, 1, 3, 12, 60]);
    for _ in 0..rng.between(1, most) {
        // memcached closes on an unfinished line of more than 2 KiB unless it is a get or gets; whether it sees one
        // depends on how the bytes arrive.
        if line.len() > 1500 && verb.starts_with("gat") {
            break;
        }
        line.extend_from_slice(rng.choose(&[&b" "[..], b" ", b" ", b"  "]));
        line.extend_from_slice(keys.one(rng));
    }
    line.extend_from_slice(rng.choose(&[&b"\r\n"[..], b"\r\n", b"\n", b" \r\n"]));
    line
}

/// Flags that versions refuse in different words.
const ODD: [&str; 4] = ["z", "!", "Dx", "s"];

fn flags(rng: &mut Rng, choice: &[&str]) -> String {
    let reference = memcached::is_reference();
    let mut chosen = String::new();
    let mut letters = String::new();
    for _ in 0..rng.below(5) {
        let flag = rng.choose(choice);
        let letter = &flag[..1];
        // Twice the same is an error of its own; seldom, so that most commands are good.
        let again = letters.contains(letter);
        if (again && !rng.chance(3)) || (!reference && (again || ODD.contains(&flag))) {
            continue;
        }
        letters += letter;
        chosen += " ";
        chosen += flag;
    }
    chosen
}

const MG: [&str; 21] = [
    "v", "v", "v", "f", "s", "k", "c", "t", "h", "q", "O1", "Oabc", "N0", "N100000", "R0", "R30",
    "T0", "T1000000", "T-1", "l", "z",
];
const MS: [&str; 19] = [
    "F5", "F0", "T0", "T1000000", "ME", "MA", "MP", "MR", "MS", "Ma", "MX", "I", "c", "k", "q",
    "O7", "C1", "s", "FX",
];
const MD: [&str; 8] = ["q", "k", "O9", "I", "T30", "C1", "T0", "!"];
const MA: [&str; 16] = [
    "N0", "N1000", "J13", "D10", "D1", "MI", "MD", "M+", "M-", "v", "t", "c", "k", "O3", "T0", "Dx",
];

fn meta(rng: &mut Rng, keys: &Keys) -> Vec<u8> {
    let base64 = rng.chance(25);
    let key = if base64 {
        rng.pick(&keys.base64).clone().into_bytes()
    } else {
        keys.one(rng).to_vec()
    };
    let b = if base64 { " b" } else { "" };
    match rng.below(10) {
        0..=3 => [
            b"mg ",
            &key[..],
            b.as_bytes(),
            flags(rng, &MG).as_bytes(),
            b"\r\n",
        ]
        .concat(),
        4..=6 => {
            let flags = flags(rng, &MS);
            let value = if flags.contains(" M") {
                text(rng)
            } else {
                value(rng)
            };
            let head = format!(" {}{b}{flags}\r\n", value.len());
            [b"ms ", &key[..], head.as_bytes(), &value, b"\r\n"].concat()
        }
        7 => [
            b"md ",
            &key[..],
            b.as_bytes(),
            flags(rng, &MD).as_bytes(),
            b"\r\n",
        ]
        .concat(),
        8 => {
            let flags = if rng.chance(30) && memcached::is_reference() {
                // Older ones answer a quiet one that makes the item.
                rng.choose(&[" N0 q", " N1000 q", " q N0 J5"]).to_owned()
            } else {
                flags(rng, &MA)
            };
            let command = [b"ma ", &key[..], b.as_bytes(), flags.as_bytes(), b"\r\n"].concat();
            [&command, &b"md "[..], &key, b.as_bytes(), b" q\r\n"].concat()
        }
        _ if rng.chance(30) => [b"me ", &key[..], b.as_bytes(), b"\r\n"].concat(),
        _ => b"mn\r\n".to_vec(),
    }
}

/// Arithmetic on an item that is deleted afterwards. What is stored then is up to chance: memcached changes a number
/// in place, which leaves spaces behind a shorter one, unless an earlier reply still refers to the item.
fn arithmetic(rng: &mut Rng, key: &[u8], noreply: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..rng.between(1, 3) {
        let verb = rng.choose(&["incr ", "decr "]);
        let delta = rng.choose(&["1", "5", "007", "99999", "3000000000000000000"]);
        let tail = format!(" {delta}{noreply}\r\n");
        out.extend([verb.as_bytes(), key, tail.as_bytes()].concat());
    }
    out.extend([b"delete ", key, b"\r\n"].concat());
    out
}

/// A request that every memcached understands.
fn good(rng: &mut Rng, keys: &Keys, out: &mut Vec<Step>) {
    let noreply = if rng.chance(20) { " noreply" } else { "" };
    let key = keys.one(rng).to_vec();
    let bytes = match rng.below(20) {
        0..=4 => get(rng, keys),
        5..=8 => {
            let verb = rng.choose(&["set", "set", "set", "add", "replace", "append", "prepend"]);
            let value = if verb.ends_with("pend") {
                text(rng)
            } else {
                value(rng)
            };
            store(rng, &key, verb, &value, "", noreply)
        }
        9 => {
            let key = keys.text(rng);
            if rng.chance(70) {
                out.push(Step::Gets(key.clone()));
            }
            let cas = rng.choose(&[CAS, CAS, CAS, "999999999", "0"]);
            let value = value(rng);
            if rng.chance(50) {
                store(
                    rng,
                    key.as_bytes(),
                    "cas",
                    &value,
                    &format!(" {cas}"),
                    noreply,
                )
            } else {
                let head = format!("ms {key} {} C{cas}\r\n", value.len());
                [head.as_bytes(), &value, b"\r\n"].concat()
            }
        }
        10 => {
            let zero = if rng.chance(20) { " 0" } else { "" };
            [
                b"delete ",
                &key[..],
                zero.as_bytes(),
                noreply.as_bytes(),
                b"\r\n",
            ]
            .concat()
        }
        11 | 12 => arithmetic(rng, &key, noreply),
        13 => {
            let tail = format!(" {}{noreply}\r\n", exptime(rng));
            [b"touch ", &key[..], tail.as_bytes()].concat()
        }
        14 => match rng.below(6) {
            0 => b"version\r\n".to_vec(),
            1 => b"verbosity 1\r\n".to_vec(),
            2 => b"stats\r\n".to_vec(),
            3 => b"mn\r\n".to_vec(),
            4 => b"verbosity 1 noreply\r\n".to_vec(),
            _ => b"flush_all 0\r\n".to_vec(),
        },
        _ => meta(rng, keys),
    };
    out.push(send(bytes));
}

/// A request with something wrong, or on the edge of it.
fn bad(rng: &mut Rng, keys: &Keys, out: &mut Vec<Step>) {
    let key = keys.text(rng);
    let long = format!("{MARK}{}", "k".repeat(rng.between(245, 400)));
    let step = match rng.below(48) {
        0 => send("bogus\r\n"),
        1 => newer("\r\n", BAD_LINE),
        2 => newer("\n", BAD_LINE),
        3 => newer("x\r\n", BAD_LINE),
        4 => newer(" \r\n", BAD_LINE),
        5 => newer("bogus noreply\r\n", NOTHING),
        6 => newer(format!(" get {key}\r\n"), ERROR),
        7 => send(format!("get\t{key}\r\n")),
        8 => send(format!("GET {key}\r\n")),
        9 => newer(
            (rng.choose(&["get\r\n", "gets\r\n", "gat\r\n", "gats\r\n", "gat 0\r\n"])).to_owned(),
            BAD_LINE,
        ),
        10 => newer(
            (rng.choose(&[
                "set\r\n",
                "add k\r\n",
                "set k 0 0\r\n",
                "cas k\r\n",
                "incr\r\n",
                "decr k\r\n",
            ]))
            .to_owned(),
            BAD_LINE,
        ),
        11 => newer(
            (rng.choose(&[
                "touch\r\n",
                "touch k\r\n",
                "delete\r\n",
                "mg\r\n",
                "md\r\n",
                "ma\r\n",
                "verbosity\r\n",
            ]))
            .to_owned(),
            BAD_LINE,
        ),
        // memcached loses the replies before this one that it has not sent yet; no reason to do the same.
        12 | 13 => {
            out.push(Step::Sync);
            send(format!(
                "get {}{long} {key}\r\n",
                rng.choose(&["", "nokey ", "a b c "])
            ))
        }
        14 => send(format!("delete {long}\r\n")),
        15 => send(format!("incr {long} 1\r\n")),
        16 => send(format!("touch {long} 0\r\n")),
        17 => send(format!("mg {long} v\r\n")),
        18 => newer(format!("set {long} 0 0 3\r\nabc\r\n"), BAD_LINE),
        19 => newer(format!("set {long} 0 0 3 noreply\r\nabc\r\n"), NOTHING),
        20 => newer(format!("ms {long} 3\r\nabc\r\n"), BAD_LINE),
        21 => {
            let length = rng.choose(&[
                "-1",
                "abc",
                "2147483648",
                "2147483647",
                "18446744073709551615",
                "99999999999999999999",
                "0x3",
            ]);
            send(format!("set {key} 0 0 {length}\r\nnonsense\r\n"))
        }
        22 => {
            let length = rng.choose(&["-1", "abc", "2147483648", "99999999999999999999", "S3", ""]);
            send(format!("ms {key} {length}\r\nnonsense\r\n"))
        }
        23 => newer(
            format!(
                "set {key} {} 0 3\r\nabc\r\n",
                rng.choose(&["abc", "-1", "1x", "0x1"])
            ),
            BAD_LINE,
        ),
        24 => newer(
            format!(
                "add {key} 0 {} 3\r\nabc\r\n",
                rng.choose(&["abc", "1x", "99999999999999999999"])
            ),
            BAD_LINE,
        ),
        25 => newer(
            format!("cas {key} 0 0 3 {}\r\nabc\r\n", rng.choose(&["abc", "-1x"])),
            BAD_LINE,
        ),
        26 => newer(format!("cas {key} 0 0 3\r\nabc\r\n"), BAD_LINE),
        27 => newer(format!("cas {key} 0 0 3 noreply\r\nabc\r\n"), NOTHING),
        28 => send(format!("set {key} 4294967296 0 3\r\nabc\r\n")),
        29 => send(format!("set {key} 0 0 3 extra\r\nabc\r\n")),
        30 => newer(
            format!("set {key} 1 0 3 noreply extra\r\nabc\r\n"),
            &format!("set {key} 1 0 3\r\nabc\r\n"),
        ),
        31 => send(format!("set {key} 0 0 3 NOREPLY\r\nabc\r\n")),
        // What follows the data block is a line of its own; shorter than four bytes it is answered differently.
        32 => send(format!("set {key} 0 0 3\r\nabcdefgh\r\n")),
        33 => newer(
            format!("set {key} 0 0 3\r\nabcdef\r\n"),
            &format!("set {key} 0 0 3\r\nabcdeverbosity x\r\n"),
        ),
        34 => newer(
            format!("ms {key} 3\r\nabcdef\r\n"),
            &format!("ms {key} 3\r\nabcdeverbosity x\r\n"),
        ),
        35 => send(format!("set {key} 0 0 3 noreply\r\nabcdefgh\r\n")),
        36 => {
            // Commands inside an announced block are data, although the block does not end where it should.
            let body = format!("abc\r\nget {key}\r\n");
            send(format!(
                "set {key} 0 0 {}\r\n{body}bogusbogus\r\n",
                body.len() + 3
            ))
        }
        37 => send(format!(
            "incr {key} {}\r\n",
            rng.choose(&["abc", "-1", "18446744073709551616", "1x", "+"])
        )),
        38 => send(format!(
            "decr {key} {} noreply\r\n",
            rng.choose(&["abc", "-1"])
        )),
        39 => send(format!(
            "touch {key} {}\r\n",
            rng.choose(&["abc", "1x", "abc noreply"])
        )),
        40 => send(format!(
            "gat {} {key}\r\n",
            rng.choose(&["abc", "1x", "99999999999999999999"])
        )),
        41 => newer(format!("delete {key} 5\r\n"), &format!("delete {key}\r\n")),
        42 => newer(
            format!("delete {key} noreply extra\r\n"),
            &format!("delete {key}\r\n"),
        ),
        43 => send(rng.choose(&[
            "mg !!! b v\r\n",
            "mg a b v\r\n",
            "mg %% b\r\n",
            "mg ==== b\r\n",
        ])),
        44 => send(format!(
            "mg {key} v {}\r\n",
            rng.choose(&["v", "Z9", "Oooooooooooooooooooooooooooooooooo", "O", "k k"])
        )),
        45 if rng.chance(30) => newer(format!("mg {key} v !\r\n"), BAD_LINE),
        45 => send(rng.choose(&[
            "flush_all abc\r\n",
            "stats foo\r\n",
            "lru_bogus\r\n",
            "mz k\r\n",
        ])),
        46 => send(format!("{}\r\n", "x".repeat(rng.between(100, 1900)))),
        _ if rng.chance(80) => send("bogus\r\n"),
        _ => {
            let body = "b".repeat(1_100_000);
            let verb = rng.choose(&["set", "add", "append", "replace"]);
            send(format!("{verb} {key} 0 0 {}\r\n{body}\r\n", body.len()))
        }
    };
    out.push(step);
}

/// A stream of good requests only.
pub fn good_stream(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let keys = Keys::new(&mut rng);
    let most = rng.choose(&[3, 10, 40, 120]);
    let mut out = Vec::new();
    for _ in 0..rng.between(1, most) {
        good(&mut rng, &keys, &mut out);
    }
    out
}

/// A stream of good and bad requests.
pub fn mixed_stream(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed ^ 0xbad);
    let keys = Keys::new(&mut rng);
    let share = rng.between(10, 90);
    let mut out = Vec::new();
    for _ in 0..rng.between(1, 25) {
        if rng.chance(share) {
            bad(&mut rng, &keys, &mut out);
        } else {
            good(&mut rng, &keys, &mut out);
        }
    }
    out
}
