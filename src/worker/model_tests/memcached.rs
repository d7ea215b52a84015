//! A memcached small enough to be obviously right: the oracle's storage and the servers' answers.
//!
//! It executes complete commands from the bytes that the router sent and panics at anything that the router
//! must never send: a malformed line, `noreply`, a quiet flag, a `get` longer than the bounds that were
//! promised. Nothing here expires; an exptime is only read.

use std::collections::HashMap;

/// A stored item.
#[derive(Clone, Debug)]
pub struct Item {
    pub flags: u32,
    pub value: Vec<u8>,
    pub cas: u64,
}

/// What a command was, as far as a lie about it has to know.
#[derive(Debug, PartialEq)]
pub enum Asked {
    Get(Vec<Vec<u8>>),
    Line,
    Meta,
    Version,
}

/// The outcome of a command.
#[derive(Debug)]
pub struct Answer {
    pub used: usize,
    pub bytes: Vec<u8>,
    pub asked: Asked,
}

/// The items of one server.
pub struct Store {
    pub items: HashMap<Vec<u8>, Item>,
    /// It must not be told to keep anything longer, in seconds.
    pub keeps: Option<i64>,
    cas: u64,
}

impl Store {
    /// `first_cas` keeps the cas values of servers apart.
    pub fn new(first_cas: u64, keeps: Option<i64>) -> Store {
        Store {
            items: HashMap::new(),
            keeps,
            cas: first_cas,
        }
    }

    pub fn put(&mut self, key: &[u8], flags: u32, value: Vec<u8>) {
        self.cas += 1;
        let cas = self.cas;
        self.items.insert(key.to_vec(), Item { flags, value, cas });
    }

    /// Executes the first command of `input`, if it is complete.
    pub fn execute(&mut self, input: &[u8]) -> Option<Answer> {
        let newline = input.iter().position(|b| *b == b'\n')?;
        let line = input[..newline]
            .strip_suffix(b"\r")
            .expect("lines end in \\r\\n");
        assert!(line.len() <= 9000, "a line of {} bytes", line.len());
        let text = line.escape_ascii().to_string();
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        assert!(
            words.iter().all(|word| !word.is_empty()),
            "empty words: {text}"
        );
        assert!(words.last() != Some(&&b"noreply"[..]), "{text}");
        let mut used = newline + 1;
        let mut block = |len: &[u8]| -> Option<Vec<u8>> {
            let len: usize = number(len) as usize;
            let bytes = input.get(used..used + len + 2)?;
            assert!(bytes.ends_with(b"\r\n"), "a bad block for {text}");
            used += len + 2;
            Some(bytes[..len].to_vec())
        };
        let mut out = Vec::new();
        let mut asked = Asked::Line;
        if let Some(most) = self.keeps {
            let exptimes = exptimes(&words);
            let kept = exptimes.iter().all(|one| *one != 0 && *one <= most);
            assert!(kept, "too long for a gutter: {text}");
        }
        match words[0] {
            b"version" => {
                out.extend_from_slice(b"VERSION 1.6.45\r\n");
                asked = Asked::Version;
            }
            b"get" | b"gets" | b"gat" | b"gats" => {
                let touches = words[0].starts_with(b"gat");
                let keys = &words[if touches { 2 } else { 1 }..];
                assert!(!keys.is_empty() && keys.len() <= 64, "{text}");
                let most = if touches { 2048 } else { 8192 + 300 };
                assert!(line.len() <= most, "{} bytes", line.len());
                for key in keys {
                    self.value(key, words[0].ends_with(b"s"), &mut out);
                }
                out.extend_from_slice(b"END\r\n");
                asked = Asked::Get(keys.iter().map(|key| key.to_vec()).collect());
            }
            b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => {
                let value = block(words[4])?;
                let cas = words.get(5).map(|word| number(word));
                let flags = number(words[2]) as u32;
                out.extend_from_slice(self.store(words[0], words[1], flags, value, cas));
            }
            b"delete" => {
                assert_eq!(words.len(), 2);
                out.extend_from_slice(match self.items.remove(words[1]) {
                    Some(_) => b"DELETED\r\n",
                    None => b"NOT_FOUND\r\n",
                });
            }
            b"incr" | b"decr" => {
                match self.arith(words[0] == b"incr", words[1], number(words[2])) {
                    None => out.extend_from_slice(b"NOT_FOUND\r\n"),
                    Some(None) => out.extend_from_slice(NOT_A_NUMBER),
                    Some(Some(n)) => out.extend_from_slice(format!("{n}\r\n").as_bytes()),
                }
            }
            b"touch" => out.extend_from_slice(match self.items.contains_key(words[1]) {
                true => b"TOUCHED\r\n",
                false => b"NOT_FOUND\r\n",
            }),
            b"flush_all" => {
                self.items.clear();
                out.extend_from_slice(b"OK\r\n");
            }
            b"ms" => {
                let value = block(words[2])?;
                self.meta(&words[..2], &words[3..], value, &mut out);
                asked = Asked::Meta;
            }
            b"mg" | b"md" | b"ma" => {
                self.meta(&words[..2], &words[2..], Vec::new(), &mut out);
                asked = Asked::Meta;
            }
            b"me" => match self.items.get(words[1]) {
                None => out.extend_from_slice(b"EN\r\n"),
                Some(item) => {
                    out.extend_from_slice(b"ME ");
                    out.extend_from_slice(words[1]);
                    out.extend_from_slice(format!(" exp=-1 cas={}\r\n", item.cas).as_bytes());
                }
            },
            // Even one that has just been restarted: to be emptied then does no harm.
            b"stats" => out.extend_from_slice(b"STAT pid 7\r\nSTAT uptime 99999\r\nEND\r\n"),
            _ => panic!("the router sent {text}"),
        }
        Some(Answer {
            used,
            bytes: out,
            asked,
        })
    }

    /// Appends a `VALUE` if the key is there.
    pub fn value(&self, key: &[u8], with_cas: bool, out: &mut Vec<u8>) {
        let Some(item) = self.items.get(key) else {
            return;
        };
        out.extend_from_slice(b"VALUE ");
        out.extend_from_slice(key);
        out.extend_from_slice(format!(" {} {}", item.flags, item.value.len()).as_bytes());
        if with_cas {
            out.extend_from_slice(format!(" {}", item.cas).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&item.value);
        out.extend_from_slice(b"\r\n");
    }

    fn store(
        &mut self,
        command: &[u8],
        key: &[u8],
        flags: u32,
        value: Vec<u8>,
        cas: Option<u64>,
    ) -> &'static [u8] {
        let old = self.items.get(key);
        let (flags, value) = match (command, old) {
            (b"cas", None) => return b"NOT_FOUND\r\n",
            (b"cas", Some(item)) if Some(item.cas) != cas => return b"EXISTS\r\n",
            (b"add", Some(_)) | (b"replace" | b"append" | b"prepend", None) => {
                return b"NOT_STORED\r\n";
            }
            (b"append", Some(item)) => (item.flags, [&item.value[..], &value].concat()),
            (b"prepend", Some(item)) => (item.flags, [&value[..], &item.value].concat()),
            _ => (flags, value),
        };
        self.put(key, flags, value);
        b"STORED\r\n"
    }

    /// `None`: not there; `Some(None)`: not a number.
    fn arith(&mut self, incr: bool, key: &[u8], delta: u64) -> Option<Option<u64>> {
        let item = self.items.get(key)?;
        let flags = item.flags;
        let Some(old) = std::str::from_utf8(&item.value)
            .ok()
            .and_then(|text| text.trim_end().parse::<u64>().ok())
        else {
            return Some(None);
        };
        let new = if incr {
            old.wrapping_add(delta)
        } else {
            old.saturating_sub(delta)
        };
        self.put(key, flags, new.to_string().into_bytes());
        Some(Some(new))
    }

    fn meta(&mut self, head: &[&[u8]], flags: &[&[u8]], value: Vec<u8>, out: &mut Vec<u8>) {
        let flag = |name: u8| {
            flags
                .iter()
                .find(|flag| flag[0] == name)
                .map(|flag| &flag[1..])
        };
        assert!(flag(b'q').is_none(), "a quiet command reached a server");
        let opaques = flags.iter().filter(|flag| flag[0] == b'O').count();
        assert_eq!(opaques, 1, "a reply that can't be checked");
        let decoded;
        let wire_key = head[1];
        let mut key = wire_key;
        if flag(b'b').is_some() {
            decoded = from_base64(wire_key);
            key = &decoded;
        }
        let mut number_after = None;
        let code: &[u8] = match head[0] {
            b"mg" => match self.items.get(key) {
                Some(_) => b"HD",
                None => b"EN",
            },
            b"md" => match self.items.remove(key) {
                Some(_) => b"HD",
                None => b"NF",
            },
            b"ms" => {
                let mode: &[u8] = match flag(b'M') {
                    Some(b"A") => b"append",
                    Some(b"P") => b"prepend",
                    Some(b"E") => b"add",
                    Some(b"R") => b"replace",
                    _ => b"set",
                };
                let cas = flag(b'C').map(number);
                let mode = if cas.is_some() { &b"cas"[..] } else { mode };
                let flags = flag(b'F').map_or(0, number) as u32;
                match self.store(mode, key, flags, value, cas) {
                    b"STORED\r\n" => b"HD",
                    b"EXISTS\r\n" => b"EX",
                    b"NOT_FOUND\r\n" => b"NF",
                    _ => b"NS",
                }
            }
            _ => {
                let delta = flag(b'D').map_or(1, number);
                let incr = !matches!(flag(b'M'), Some(b"D" | b"-"));
                match self.arith(incr, key, delta) {
                    None => b"NF",
                    Some(None) => return out.extend_from_slice(NOT_A_NUMBER),
                    Some(Some(n)) => {
                        number_after = Some(n);
                        b"HD"
                    }
                }
            }
        };
        let item = self.items.get(key).filter(|_| code == b"HD");
        let block = match head[0] {
            b"mg" if flag(b'v').is_some() => item.map(|item| item.value.clone()),
            b"ma" if flag(b'v').is_some() => number_after.map(|n| n.to_string().into_bytes()),
            _ => None,
        };
        match &block {
            Some(block) => out.extend_from_slice(format!("VA {}", block.len()).as_bytes()),
            None => out.extend_from_slice(code),
        }
        let flag_b = flags.iter().any(|flag| flag.starts_with(b"b"));
        for flag in flags {
            let back = match (flag[0], item) {
                (b'k', _) if flag_b => [b"k", wire_key, b" b"].concat(),
                (b'k', _) => [b"k", wire_key].concat(),
                (b'O', _) => flag.to_vec(),
                (b'f', Some(item)) => format!("f{}", item.flags).into_bytes(),
                (b's', Some(item)) => format!("s{}", item.value.len()).into_bytes(),
                (b'c', Some(item)) => format!("c{}", item.cas).into_bytes(),
                (b't', Some(_)) => b"t-1".to_vec(),
                _ => continue,
            };
            out.push(b' ');
            out.extend_from_slice(&back);
        }
        out.extend_from_slice(b"\r\n");
        if let Some(block) = block {
            out.extend_from_slice(&block);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// memcached's answer to `incr` on text.
pub const NOT_A_NUMBER: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number");
    // exptimes may be negative; nobody looks at them.
    text.trim_start_matches('-').parse().expect("a number")
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub fn to_base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for group in bytes.chunks(3) {
        let mut bits = 0u32;
        for i in 0..3 {
            bits = bits << 8 | u32::from(*group.get(i).unwrap_or(&0));
        }
        for i in 0..4 {
            out.push(match i <= group.len() {
                true => ALPHABET[(bits >> (18 - 6 * i)) as usize & 63],
                false => b'=',
            });
        }
    }
    out
}

fn from_base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for group in text.chunks(4) {
        let digits: Vec<u32> = group
            .iter()
            .filter(|b| **b != b'=')
            .map(|b| ALPHABET.iter().position(|a| a == b).expect("base64") as u32)
            .collect();
        let bits = digits.iter().fold(0, |bits, d| bits << 6 | d) << (6 * (4 - digits.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..digits.len()]);
    }
    out
}

/// The times to live in a command; 0 is for ever, whether it says so or nothing.
fn exptimes(words: &[&[u8]]) -> Vec<i64> {
    let number = |word: &[u8]| -> i64 { std::str::from_utf8(word).unwrap().parse().unwrap() };
    match words[0] {
        b"set" | b"add" | b"replace" | b"cas" => vec![number(words[3])],
        b"touch" => vec![number(words[2])],
        b"gat" | b"gats" => vec![number(words[1])],
        b"ms" | b"mg" | b"ma" => {
            let flags = words.iter().skip(if words[0] == b"ms" { 3 } else { 2 });
            let times = flags.filter(|word| matches!(word[0], b'T' | b'N'));
            let mut times: Vec<i64> = times.map(|word| number(&word[1..])).collect();
            if words[0] == b"ms" && !words.iter().skip(3).any(|word| word[0] == b'T') {
                times.push(0);
            }
            times
        }
        _ => Vec::new(),
    }
}
