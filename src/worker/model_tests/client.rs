//! A client: what it has asked for and not been answered yet, and the check of every byte it gets.
//!
//! Replies are read in the order of the requests; whatever does not fit the first open request is a failure
//! of the router, there and then.

use std::collections::{HashMap, VecDeque};

use super::env::{Env, STATS, VERSION};
use super::oracle::{Belief, Op, Said};
use super::plan::Tight;
use crate::route::big_value::FLAG;

/// A request whose reply is still to come.
pub struct Pending {
    pub ask: Ask,
    /// The keys it is about, each with the fingerprint of disturbances when it was asked.
    pub keys: Vec<(Vec<u8>, u64)>,
    pub epoch: u32,
    /// What has arrived of a retrieval: the place of the key, and the value.
    got: Vec<(usize, Said)>,
}

/// What kind of reply a request has.
#[derive(Debug)]
pub enum Ask {
    /// These bytes and no others.
    Exactly(Vec<u8>),
    Version,
    Stats,
    /// `noreply`: nothing at all.
    Silent(Op),
    Get {
        with_cas: bool,
    },
    Line(Op),
    Meta(Meta),
    /// Quiet commands and the `mn` behind them.
    Quiet(Vec<Meta>),
    Debug,
    /// A `set` over the limit: an error, and the old value goes.
    TooLarge,
    Flush,
    Quit,
}

/// A meta command.
#[derive(Debug)]
pub struct Meta {
    pub op: Op,
    pub wire_key: Vec<u8>,
    pub flags: Vec<Vec<u8>>,
}

impl Pending {
    pub fn new(env: &Env, ask: Ask, keys: &[&[u8]]) -> Pending {
        Pending {
            ask,
            keys: keys
                .iter()
                .map(|key| (key.to_vec(), env.disturbance(key)))
                .collect(),
            epoch: env.epoch,
            got: Vec::new(),
        }
    }

    /// Whether anything has happened meanwhile that excuses a failure to answer for this key.
    fn is_disturbed(&self, env: &Env, index: usize) -> bool {
        let (key, before) = &self.keys[index];
        env.disturbance(key) != *before || self.epoch != env.epoch
    }
}

pub struct Client {
    /// Tells it from all clients before it.
    pub uid: u64,
    /// The core's number for it.
    pub id: u32,
    /// Its socket has something new for the router: bytes, their end, or room to write.
    pub woken: bool,
    /// Sent and not yet read by the router.
    pub outgoing: VecDeque<u8>,
    /// It shuts its side down once all is read.
    pub half_closed: bool,
    pub eof_seen: bool,
    /// Asks no more.
    pub finished: bool,
    pub reading: bool,
    /// It has ever stopped reading.
    pub slow: bool,
    pub incoming: Vec<u8>,
    pub pending: VecDeque<Pending>,
    pub beliefs: HashMap<Vec<u8>, Belief>,
    pub seen_cas: Vec<(Vec<u8>, u64)>,
}

type Lines<'a> = Option<(&'a [u8], usize)>;

/// The first line, and its length with the end.
fn line(buf: &[u8]) -> Lines<'_> {
    let newline = buf.iter().position(|b| *b == b'\n')?;
    let line = buf[..newline].strip_suffix(b"\r");
    Some((line.expect("replies end in \\r\\n"), newline + 1))
}

fn text(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(200)).unwrap_or_default();
    format!("{} bytes: {}", bytes.len(), head.escape_ascii())
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number");
    text.parse()
        .unwrap_or_else(|_| panic!("not a number: {text}"))
}

impl Client {
    pub fn new(uid: u64, id: u32) -> Client {
        Client {
            uid,
            id,
            woken: true,
            outgoing: VecDeque::new(),
            half_closed: false,
            eof_seen: false,
            finished: false,
            reading: true,
            slow: false,
            incoming: Vec::new(),
            pending: VecDeque::new(),
            beliefs: HashMap::new(),
            seen_cas: Vec::new(),
        }
    }

    /// Whether only this client uses the key.
    pub fn owns(&self, key: &[u8]) -> bool {
        !key.starts_with(b"s:")
    }

    /// Bytes have arrived.
    pub fn receive(&mut self, env: &Env, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        let incoming = std::mem::take(&mut self.incoming);
        let mut at = 0;
        while at < incoming.len() {
            let first = self
                .pending
                .iter()
                .position(|p| !matches!(p.ask, Ask::Silent(_)));
            let Some(first) = first else {
                panic!("unasked: {}", text(&incoming[at..]));
            };
            let Some(used) = self.reply(env, first, &incoming[at..]) else {
                break;
            };
            at += used;
        }
        self.incoming = incoming[at..].to_vec();
    }

    /// Reads the reply to the request at this place; `None` if it is not complete.
    fn reply(&mut self, env: &Env, place: usize, buf: &[u8]) -> Option<usize> {
        if let Ask::Get { with_cas } = self.pending[place].ask {
            return self.get_reply(env, place, with_cas, buf);
        }
        let used = {
            let pending = &self.pending[place];
            match &pending.ask {
                Ask::Exactly(want) => exactly(want, buf)?,
                Ask::Version => exactly(VERSION, buf)?,
                Ask::Stats => exactly(STATS, buf)?,
                Ask::TooLarge => exactly(b"SERVER_ERROR object too large for cache\r\n", buf)?,
                Ask::Quiet(_) => quiet_end(buf)?,
                Ask::Meta(_) => {
                    let (line, used) = line(buf)?;
                    used + block_len(line, buf, used)?
                }
                _ => line(buf)?.1,
            }
        };
        self.resolve_silent(env, place);
        let pending = self.pending.pop_front()?;
        self.check(env, &pending, &buf[..used]);
        Some(used)
    }

    /// The silent requests before this place have been dealt with.
    pub fn resolve_silent(&mut self, env: &Env, place: usize) {
        for _ in 0..place {
            let pending = self.pending.pop_front().expect("counted");
            if let Ask::Silent(op) = &pending.ask {
                self.observe(env, &pending, 0, op, &Said::Unheard);
            }
        }
    }

    fn check(&mut self, env: &Env, pending: &Pending, reply: &[u8]) {
        let line = reply.strip_suffix(b"\r\n").unwrap_or(reply);
        match &pending.ask {
            Ask::Line(op) => {
                let said = match line {
                    b"STORED" | b"DELETED" | b"TOUCHED" => Said::Done,
                    b"NOT_STORED" => Said::NotStored,
                    b"EXISTS" => Said::Exists,
                    b"NOT_FOUND" => Said::NotFound,
                    line if line.starts_with(b"SERVER_ERROR") => Said::Failed,
                    line if line.starts_with(b"CLIENT_ERROR") => Said::NotANumber,
                    line => Said::Number(number(line)),
                };
                let fits = match op {
                    Op::Put(..) => line != b"DELETED" && line != b"TOUCHED",
                    Op::Delete => line != b"STORED" && line != b"TOUCHED",
                    Op::Touch => line != b"STORED" && line != b"DELETED",
                    _ => said != Said::Done,
                };
                assert!(fits, "{op:?} was answered {}", text(line));
                self.observe(env, pending, 0, op, &said);
            }
            Ask::Meta(meta) => {
                let said = self.meta_reply(env, pending, 0, meta, reply);
                self.observe(env, pending, 0, &meta.op, &said);
            }
            Ask::Quiet(metas) => self.quiet_replies(env, pending, metas, reply),
            Ask::Debug => {
                let (key, _) = &pending.keys[0];
                let disturbed = pending.is_disturbed(env, 0);
                let fits = line == b"EN"
                    || line.starts_with(&[b"ME ", &key[..], b" "].concat())
                    || (disturbed && line.starts_with(b"SERVER_ERROR"));
                assert!(fits, "me was answered {}", text(line));
            }
            Ask::TooLarge => {
                // The old value's removal is on its way, if nothing happens to it.
                let (key, _) = &pending.keys[0];
                if self.owns(key) {
                    let certain = !env.setup.faults && pending.epoch == env.epoch;
                    let belief = self.belief(env, key);
                    match &mut belief.states {
                        Some(states) if certain => *states = vec![None],
                        _ => belief.haunted = true,
                    }
                    if env.rules(false).appear || belief.haunted {
                        belief.states = None;
                    }
                }
            }
            Ask::Flush => {
                assert!(
                    line == b"OK" || (env.setup.faults && line.starts_with(b"SERVER_ERROR")),
                    "flush_all was answered {}",
                    text(line)
                );
            }
            Ask::Quit => panic!("quit was answered {}", text(line)),
            Ask::Exactly(_) | Ask::Version | Ask::Stats | Ask::Silent(_) | Ask::Get { .. } => {}
        }
    }

    fn belief(&mut self, env: &Env, key: &[u8]) -> &mut Belief {
        let belief = self.beliefs.get_mut(key).expect("known since it was asked");
        if belief.epoch != env.epoch {
            // Another server may own it now; what is still under way may come later.
            belief.haunted |= !belief.is_certain();
            belief.forget();
            belief.epoch = env.epoch;
        }
        belief
    }

    /// Compares what was said about a key with what is known of it.
    fn observe(&mut self, env: &Env, pending: &Pending, index: usize, op: &Op, said: &Said) {
        let (key, before) = &pending.keys[index];
        // At its memory bound the worker refuses large values.
        let crowded = matches!(env.setup.limits, Tight::WorkerBytes(_))
            && (op.is_put() || env.may_refuse_gets());
        let disturbed = pending.is_disturbed(env, index) || crowded;
        if let Said::Hit { value: Some(v), .. } = said {
            env.check_value(key, v, true);
        }
        assert!(
            *said != Said::Failed || disturbed,
            "{op:?} on {} failed for no reason",
            key.escape_ascii()
        );
        if let Said::Hit { cas: Some(cas), .. } = said {
            self.seen_cas.push((key.clone(), *cas));
        }
        if !self.owns(key) {
            return;
        }
        let decides = env.decides(key);
        let rules = env.rules(disturbed);
        let epoch = pending.epoch;
        let before = *before;
        let strict = env.strict;
        let belief = self.belief(env, key);
        belief.haunted |= epoch != belief.epoch;
        if decides && !strict && (belief.since != before || disturbed) {
            belief.forget();
        }
        if let Err(error) = belief.observe(op, said, rules) {
            panic!("{}: {error}", key.escape_ascii());
        }
        belief.since = before;
        if decides && disturbed {
            belief.forget();
        }
    }

    fn get_reply(&mut self, env: &Env, place: usize, with_cas: bool, buf: &[u8]) -> Option<usize> {
        let (line, used) = line(buf)?;
        let pending = &mut self.pending[place];
        let start = pending.got.last().map_or(0, |(place, _)| place + 1);
        if line.starts_with(b"VALUE ") {
            let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            assert_eq!(words.len(), 4 + usize::from(with_cas), "{}", text(line));
            let len = number(words[3]) as usize;
            let block = buf.get(used..used + len + 2)?;
            assert!(block.ends_with(b"\r\n"), "a block without an end");
            let place = (start..pending.keys.len())
                .find(|n| pending.keys[*n].0 == words[1])
                .unwrap_or_else(|| panic!("not asked for: {}", text(line)));
            let said = Said::Hit {
                flags: Some(env.flags(number(words[2]) as u32, len)),
                value: Some(block[..len].to_vec()),
                cas: words.get(4).map(|word| number(word)),
            };
            pending.got.push((place, said));
            return Some(used + len + 2);
        }
        self.resolve_silent(env, place);
        let mut pending = self.pending.pop_front()?;
        let got: HashMap<usize, Said> = pending.got.drain(..).collect();
        let failed = line.starts_with(b"SERVER_ERROR");
        assert!(
            line == b"END" || (failed && !env.setup.miss_on_errors),
            "a get ended in {}",
            text(line)
        );
        let mut excused = !failed || env.may_refuse_gets();
        for index in 0..pending.keys.len() {
            let Some(said) = got.get(&index) else {
                let (key, _) = &pending.keys[index];
                excused |= pending.is_disturbed(env, index);
                if failed {
                    continue;
                }
                if !env.setup.miss_on_errors && !env.decides(key) && pending.epoch == env.epoch {
                    // It says miss, and errors are shown: then it is one.
                    pending.keys[index].1 = env.disturbance(&pending.keys[index].0);
                }
                self.observe(env, &pending, index, &Op::Get, &Said::Miss);
                continue;
            };
            self.observe(env, &pending, index, &Op::Get, said);
        }
        assert!(excused, "a get failed for no reason: {}", text(line));
        Some(used)
    }

    /// Takes the reply to one meta command apart and checks its flags.
    fn meta_reply(
        &mut self,
        env: &Env,
        pending: &Pending,
        index: usize,
        meta: &Meta,
        reply: &[u8],
    ) -> Said {
        let (line, used) = line(reply).expect("complete");
        if line.starts_with(b"SERVER_ERROR") {
            let get = matches!(meta.op, Op::Get);
            assert!(!get || !env.setup.miss_on_errors, "{}", text(line));
            if get {
                let disturbed = pending.is_disturbed(env, index) || env.may_refuse_gets();
                assert!(disturbed, "mg failed for no reason: {}", text(line));
            }
            return Said::Failed;
        }
        if line.starts_with(b"CLIENT_ERROR") {
            return Said::NotANumber;
        }
        let mut words = line.split(|b| *b == b' ');
        let code = words.next().unwrap_or_default();
        let mut block = None;
        if code == b"VA" {
            let len = number(words.next().unwrap_or_default()) as usize;
            assert_eq!(reply.len(), used + len + 2);
            block = Some(reply[used..used + len].to_vec());
        }
        let hit = matches!(code, b"VA" | b"HD");
        let (mut item_flags, mut cas) = (None, None);
        for flag in &meta.flags {
            match flag[0] {
                b'k' => {
                    assert_eq!(
                        words.next(),
                        Some(&[b"k", &meta.wire_key[..]].concat()[..]),
                        "{}",
                        text(line)
                    );
                    // It follows the key, wherever it was asked for.
                    if meta.flags.iter().any(|flag| flag[0] == b'b') {
                        assert_eq!(words.next(), Some(&b"b"[..]), "{}", text(line));
                    }
                }
                b'b' => {}
                b'O' => assert_eq!(words.next(), Some(&flag[..]), "{}", text(line)),
                name @ (b'f' | b's' | b'c' | b't') if hit => {
                    let word = words.next().unwrap_or_default();
                    assert_eq!(word.first(), Some(&name), "{}", text(line));
                    match name {
                        b'f' => item_flags = Some(number(&word[1..]) as u32),
                        b's' => {
                            let size = number(&word[1..]) as usize;
                            assert!(block.as_ref().is_none_or(|block| block.len() == size));
                        }
                        b'c' => cas = Some(number(&word[1..])),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        assert_eq!(words.next(), None, "too much: {}", text(line));
        match (&meta.op, code) {
            (Op::Get, b"EN") => Said::Miss,
            (Op::Get, b"HD" | b"VA") => {
                assert_eq!(code == b"VA", meta.flags.iter().any(|flag| flag == b"v"));
                // Without the value it is the item that is shown.
                item_flags = item_flags.map(|flags| match &block {
                    Some(block) => env.flags(flags, block.len()),
                    None => flags & !FLAG,
                });
                Said::Hit {
                    flags: item_flags,
                    value: block,
                    cas,
                }
            }
            (Op::Arith { .. }, b"VA") => Said::Number(number(&block.unwrap_or_default())),
            (Op::Put(..) | Op::Delete | Op::Arith { .. }, b"HD") => Said::Done,
            (_, b"NF") => Said::NotFound,
            (Op::Put(..), b"NS") => Said::NotStored,
            (Op::Put(..), b"EX") => Said::Exists,
            _ => panic!("{:?} was answered {}", meta.op, text(line)),
        }
    }

    fn quiet_replies(&mut self, env: &Env, pending: &Pending, metas: &[Meta], reply: &[u8]) {
        let mut said: Vec<Option<Said>> = vec![None; metas.len()];
        let mut errors = 0;
        let (mut at, mut next) = (0, 0);
        loop {
            let (line, used) = line(&reply[at..]).expect("complete");
            if line == b"MN" {
                break;
            }
            let used = used + block_len(line, reply.get(at..).unwrap_or_default(), used).unwrap();
            if line.starts_with(b"SERVER_ERROR") {
                errors += 1;
            } else if line.starts_with(b"CLIENT_ERROR") {
                // It carries no opaque; the next command on text is as good as any.
                errors += 1;
            } else {
                let opaque = line
                    .split(|b| *b == b' ')
                    .find(|word| word.starts_with(b"O"))
                    .unwrap_or_else(|| panic!("no opaque: {}", text(line)));
                let place = (next..metas.len())
                    .find(|n| metas[*n].flags.iter().any(|flag| flag == opaque))
                    .unwrap_or_else(|| panic!("not asked for now: {}", text(line)));
                let one = &reply[at..at + used];
                let what = self.meta_reply(env, pending, place, &metas[place], one);
                let shown = match (&metas[place].op, &what) {
                    (Op::Get, what) => *what != Said::Miss,
                    (_, what) => !matches!(what, Said::Done | Said::Number(_)),
                };
                assert!(shown, "not quiet: {}", text(line));
                said[place] = Some(what);
                next = place + 1;
            }
            at += used;
        }
        let open = said.iter().filter(|said| said.is_none()).count();
        assert!(errors <= open, "{errors} errors for {open} commands");
        let crowded = matches!(env.setup.limits, Tight::WorkerBytes(_));
        let any_disturbed = (0..metas.len()).any(|n| pending.is_disturbed(env, n)) || crowded;
        let arith = metas.iter().any(|m| matches!(m.op, Op::Arith { .. }));
        assert!(
            errors == 0 || any_disturbed || arith,
            "errors for no reason"
        );
        for (index, (meta, said)) in metas.iter().zip(said).enumerate() {
            match said {
                Some(said) => self.observe(env, pending, index, &meta.op, &said),
                None if errors > 0 => self.doubt(env, pending, index),
                None => self.observe(env, pending, index, &meta.op, &Said::Hidden),
            }
        }
    }

    /// One of several commands failed, nobody knows which.
    fn doubt(&mut self, env: &Env, pending: &Pending, index: usize) {
        let (key, _) = &pending.keys[index];
        if self.owns(key) {
            let belief = self.belief(env, key);
            belief.haunted = true;
            belief.forget();
        }
    }

    /// The connection was closed in the middle of a reply: what there is of it must be right.
    pub fn check_fragment(&self, env: &Env) {
        let Some((line, used)) = line(&self.incoming) else {
            return;
        };
        if let Some(rest) = line.strip_prefix(b"VALUE ") {
            let words: Vec<&[u8]> = rest.split(|b| *b == b' ').collect();
            let block = &self.incoming[used..];
            let (value, end) = block.split_at(block.len().min(number(words[2]) as usize));
            env.check_value(words[0], value, false);
            assert!(b"\r\n".starts_with(end), "a block without an end");
        }
    }
}

fn exactly(want: &[u8], buf: &[u8]) -> Option<usize> {
    let n = want.len().min(buf.len());
    assert_eq!(text(&buf[..n]), text(&want[..n]));
    (buf.len() >= want.len()).then_some(want.len())
}

/// The length of the data block that a meta line announces, if it is there.
fn block_len(line: &[u8], buf: &[u8], used: usize) -> Option<usize> {
    let Some(rest) = line.strip_prefix(b"VA ") else {
        return Some(0);
    };
    let len = number(rest.split(|b| *b == b' ').next().unwrap_or_default()) as usize;
    let block = buf.get(used..used + len + 2)?;
    assert!(block.ends_with(b"\r\n"), "a block without an end");
    Some(len + 2)
}

/// The length of everything up to the `MN`.
fn quiet_end(buf: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &buf[at..];
        let (line, used) = line(rest)?;
        at += used + block_len(line, rest, used)?;
        if line == b"MN" {
            return Some(at);
        }
    }
}
