//! What a client asks: the bytes it sends and what it then waits for.

use std::rc::Rc;

use super::client::{Ask, Client, Meta, Pending};
use super::env::{Env, NUMBERS, numeric};
use super::memcached::to_base64;
use super::oracle::{Belief, How, Known, Op, record};
use super::plan::{Rng, What};

const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";

impl Client {
    /// Sends a request of this kind.
    pub fn ask(&mut self, env: &mut Env, what: What, rng: &mut Rng) {
        if self.finished {
            return;
        }
        let key = self.key(rng);
        self.ask_about(env, what, key, rng);
    }

    /// As [`Client::ask`], about a given key where it is about one.
    pub fn ask_about(&mut self, env: &mut Env, what: What, key: Vec<u8>, rng: &mut Rng) {
        let noreply = rng.one_in(6);
        match what {
            What::Get => {
                let command = *rng.pick(&["get", "get", "gets"]);
                self.get(env, command, &[key]);
            }
            What::GetMany | What::GetVeryMany => {
                let count = match what {
                    What::GetMany => 2 + rng.below(30),
                    _ => 400 + rng.below(1500),
                };
                let keys: Vec<_> = (0..count).map(|_| self.key(rng)).collect();
                let command = *rng.pick(&["get", "get", "gets"]);
                self.get(env, command, &keys);
            }
            What::Gat => {
                let mut keys = vec![key];
                for _ in 0..rng.below(20) {
                    keys.push(self.key(rng));
                }
                let command = *rng.pick(&["gat 100", "gats 0"]);
                self.get(env, command, &keys);
            }
            What::Set => self.put(env, "set", key, noreply, rng),
            What::Update => {
                let command = *rng.pick(&["add", "replace", "append", "prepend"]);
                self.put(env, command, key, noreply, rng);
            }
            What::Cas => {
                let known = self.seen_cas.iter().rev().find(|(k, _)| *k == key);
                let token = known.map_or(7, |(_, cas)| *cas);
                let (head, op, block) = self.item(env, "cas", key.clone(), Some(token), rng);
                self.command(env, head, &block, op, key, noreply);
            }
            What::Delete => {
                let head = [b"delete ", &key[..]].concat();
                self.command(env, head, b"", Op::Delete, key, noreply);
            }
            What::Arith => {
                let key = self.numeric_key(rng);
                let op = arith(env, rng);
                let Op::Arith { incr, delta, .. } = op else {
                    return;
                };
                let name = if incr { "incr " } else { "decr " };
                let tail = format!(" {delta}");
                let head = [name.as_bytes(), &key, tail.as_bytes()].concat();
                self.command(env, head, b"", op, key, noreply);
            }
            What::Touch => {
                let head = [b"touch ", &key[..], b" 100"].concat();
                self.command(env, head, b"", Op::Touch, key, noreply);
            }
            What::MetaGet | What::MetaSet | What::MetaDelete | What::MetaArith => {
                let mut bytes = Vec::new();
                let meta = self.meta(env, what, key.clone(), false, rng, &mut bytes);
                let key = meta.1;
                self.send(env, &bytes, Ask::Meta(meta.0), &[&key]);
            }
            What::Quiet => self.quiet(env, rng),
            What::Debug => {
                let line = [b"me ", &key[..], b"\r\n"].concat();
                self.send(env, &line, Ask::Debug, &[&key]);
            }
            What::Local => match rng.below(5) {
                0 => self.send(env, b"version\r\n", Ask::Version, &[]),
                1 => self.send(env, b"stats\r\n", Ask::Stats, &[]),
                2 => self.send(env, b"verbosity 1 noreply\r\n", Ask::Silent(Op::Touch), &[]),
                3 => self.send(env, b"verbosity 1\r\n", Ask::Exactly(b"OK\r\n".into()), &[]),
                _ => self.send(env, b"mn\r\n", Ask::Exactly(b"MN\r\n".into()), &[]),
            },
            What::Refused => self.refused(env, rng),
            What::TooLarge => {
                let size = env.setup.max_value() + 1 + rng.below(100);
                let head = format!(" 0 0 {size}\r\n");
                let mut bytes = [b"set ", &key[..], head.as_bytes()].concat();
                bytes.extend(std::iter::repeat_n(b'x', size));
                bytes.extend_from_slice(b"\r\n");
                self.send(env, &bytes, Ask::TooLarge, &[&key]);
            }
            What::Flush => {
                let disabled = b"SERVER_ERROR flush_all is disabled\r\n".to_vec();
                let ask = match env.setup.flush {
                    true => Ask::Flush,
                    false => Ask::Exactly(disabled),
                };
                self.send(env, b"flush_all\r\n", ask, &[]);
            }
        }
    }

    /// The value of the last update of this key that it has sent.
    pub fn last_written(&self, key: &[u8]) -> Rc<Vec<u8>> {
        let mut ops = self.pending.iter().rev().filter_map(|p| match &p.ask {
            Ask::Silent(op) | Ask::Line(op) if p.keys[0].0 == key => Some(op),
            _ => None,
        });
        match ops.next() {
            Some(Op::Put(_, known)) => Rc::clone(&known.value),
            other => panic!("{other:?}"),
        }
    }

    pub fn quit(&mut self, env: &Env) {
        if !self.finished {
            self.send(env, b"quit\r\n", Ask::Quit, &[]);
            self.finished = true;
        }
    }

    pub fn send(&mut self, env: &Env, bytes: &[u8], ask: Ask, keys: &[&[u8]]) {
        self.outgoing.extend(bytes);
        self.woken = true;
        for key in keys {
            if self.owns(key) && !self.beliefs.contains_key(*key) {
                let mut belief = Belief::absent();
                belief.epoch = env.epoch;
                if env.rules(false).appear {
                    belief.forget();
                }
                if env.decides(key) {
                    // Valid until the first disturbance.
                    belief.since = env.disturbance(key);
                }
                self.beliefs.insert(key.to_vec(), belief);
            }
        }
        // A `verbosity … noreply` is about no key and is not heard of again.
        if !(keys.is_empty() && matches!(ask, Ask::Silent(_))) {
            self.pending.push_back(Pending::new(env, ask, keys));
        }
    }

    /// One of a few keys of its own, or one that all clients share.
    fn key(&self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(5) {
            return format!("s:{}", rng.below(4)).into_bytes();
        }
        self.own_key(rng.below(9))
    }

    /// Its own keys by number, nine of them.
    pub fn own_key(&self, n: usize) -> Vec<u8> {
        let prefix = ["a", "b", "x"][n % 3];
        match n / 3 {
            0 => format!("{prefix}:{}:{n}", self.uid),
            1 => format!("{prefix}:{}:#{}", self.uid, n % 3),
            _ => format!("{prefix}:{}:{}", self.uid, "k".repeat(150)),
        }
        .into_bytes()
    }

    fn numeric_key(&self, rng: &mut Rng) -> Vec<u8> {
        self.own_key(3 + rng.below(3))
    }

    pub fn get(&mut self, env: &Env, command: &str, keys: &[Vec<u8>]) {
        let mut line = command.as_bytes().to_vec();
        for key in keys {
            line.push(b' ');
            line.extend_from_slice(key);
        }
        line.extend_from_slice(b"\r\n");
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let with_cas = command.starts_with("gets") || command.starts_with("gats");
        self.send(env, &line, Ask::Get { with_cas }, &keys);
    }

    /// A new value for a key, recorded as written.
    fn value(&self, env: &mut Env, key: &[u8], number: u64, rng: &mut Rng) -> Vec<u8> {
        if let Some(code) = numeric(key) {
            let n = code * NUMBERS + NUMBERS / 2 + number % 1000;
            return n.to_string().into_bytes();
        }
        let padding = match rng.below(12) {
            0..6 => rng.below(40),
            6..11 => rng.below(3000),
            _ if env.setup.big => 30_000 + rng.below(90_000),
            _ => rng.below(12_000),
        };
        env.writes(self.uid, number, key);
        record(key, self.uid, number, padding)
    }

    /// A storage command without its line end, what it does, and the block.
    fn item(
        &self,
        env: &mut Env,
        command: &str,
        key: Vec<u8>,
        cas: Option<u64>,
        rng: &mut Rng,
    ) -> (Vec<u8>, Op, Vec<u8>) {
        let number = env.number();
        let value = self.value(env, &key, number, rng);
        let known = Known {
            flags: number as u32 % 1000,
            value: value.clone().into(),
            version: number,
        };
        let how = match command {
            "add" => How::Add,
            "replace" => How::Replace,
            "append" => How::Append,
            "prepend" => How::Prepend,
            "cas" => How::Cas(cas.unwrap_or(0)),
            _ => How::Set,
        };
        let mut head = format!("{command} ").into_bytes();
        head.extend_from_slice(&key);
        head.extend_from_slice(format!(" {} 0 {}", known.flags, value.len()).as_bytes());
        if let Some(cas) = cas {
            head.extend_from_slice(format!(" {cas}").as_bytes());
        }
        let block = [&value[..], b"\r\n"].concat();
        (head, Op::Put(how, known), block)
    }

    fn put(&mut self, env: &mut Env, command: &str, key: Vec<u8>, noreply: bool, rng: &mut Rng) {
        // Appended to a number, a record would make a mixture.
        let command = match numeric(&key) {
            Some(_) if command != "add" && command != "replace" => "set",
            // Added to the metadata of a value in parts, it makes it unreadable.
            None if env.setup.threshold().is_some() && command.ends_with("pend") => "set",
            _ => command,
        };
        let (head, op, block) = self.item(env, command, key.clone(), None, rng);
        self.command(env, head, &block, op, key, noreply);
    }

    fn command(
        &mut self,
        env: &Env,
        mut head: Vec<u8>,
        block: &[u8],
        op: Op,
        key: Vec<u8>,
        noreply: bool,
    ) {
        let ask = match noreply {
            true => {
                head.extend_from_slice(b" noreply");
                Ask::Silent(op)
            }
            false => Ask::Line(op),
        };
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(block);
        self.send(env, &head, ask, &[&key]);
    }

    /// Appends a meta command to `bytes`; returns what it is and the key it is about.
    fn meta(
        &self,
        env: &mut Env,
        what: What,
        key: Vec<u8>,
        quiet: bool,
        rng: &mut Rng,
        bytes: &mut Vec<u8>,
    ) -> (Meta, Vec<u8>) {
        let mut key = key;
        let mut flags: Vec<Vec<u8>> = Vec::new();
        let mut block = Vec::new();
        let (name, op) = match what {
            What::MetaGet => {
                for flag in ["v", "f", "s", "c", "t"] {
                    if !rng.one_in(3) {
                        flags.push(flag.into());
                    }
                }
                ("mg", Op::Get)
            }
            What::MetaDelete => ("md", Op::Delete),
            What::MetaArith => {
                key = self.numeric_key(rng);
                let op = arith(env, rng);
                if let Op::Arith { incr, delta, .. } = op {
                    flags.push(format!("D{delta}").into());
                    if !incr {
                        flags.push(b"MD".into());
                    }
                }
                if !rng.one_in(3) {
                    flags.push(b"v".into());
                }
                ("ma", op)
            }
            _ => {
                let mut mode = *rng.pick(&["set", "set", "add", "replace", "append", "prepend"]);
                let alone = numeric(&key).is_some() || env.setup.threshold().is_some();
                if alone && mode != "add" && mode != "replace" {
                    mode = "set";
                }
                let cas = self.seen_cas.iter().rev().find(|(k, _)| *k == key);
                let cas = cas.map(|(_, cas)| *cas).filter(|_| rng.one_in(3));
                if cas.is_some() {
                    mode = "cas";
                }
                let (_, op, value) = self.item(env, mode, key.clone(), cas, rng);
                block = value;
                if let Op::Put(_, known) = &op {
                    flags.push(format!("F{}", known.flags).into());
                }
                match (mode, cas) {
                    (_, Some(cas)) => flags.push(format!("C{cas}").into()),
                    ("add", _) => flags.push(b"ME".into()),
                    ("replace", _) => flags.push(b"MR".into()),
                    ("append", _) => flags.push(b"MA".into()),
                    ("prepend", _) => flags.push(b"MP".into()),
                    _ => {}
                }
                ("ms", op)
            }
        };
        if rng.one_in(2) {
            flags.push(b"k".into());
        }
        if quiet || rng.one_in(2) {
            flags.push(format!("O{}", env.number()).into());
        }
        let mut wire_key = key.clone();
        if rng.one_in(4) {
            wire_key = to_base64(&key);
            flags.push(b"b".into());
        }
        if quiet {
            flags.push(b"q".into());
        }
        for n in (1..flags.len()).rev() {
            flags.swap(n, rng.below(n + 1));
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(&wire_key);
        if name == "ms" {
            bytes.extend_from_slice(format!(" {}", block.len() - 2).as_bytes());
        }
        for flag in &flags {
            bytes.push(b' ');
            bytes.extend_from_slice(flag);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&block);
        let meta = Meta {
            op,
            wire_key,
            flags,
        };
        (meta, key)
    }

    /// Some quiet commands, each with an opaque, and the `mn` that ends them.
    fn quiet(&mut self, env: &mut Env, rng: &mut Rng) {
        let mut bytes = Vec::new();
        let mut metas = Vec::new();
        let mut keys = Vec::new();
        for _ in 0..1 + rng.below(6) {
            let what = *rng.pick(&[
                What::MetaGet,
                What::MetaGet,
                What::MetaSet,
                What::MetaDelete,
                What::MetaArith,
            ]);
            let key = self.key(rng);
            let (meta, key) = self.meta(env, what, key, true, rng, &mut bytes);
            metas.push(meta);
            keys.push(key);
        }
        bytes.extend_from_slice(b"mn\r\n");
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        self.send(env, &bytes, Ask::Quiet(metas), &keys);
    }

    /// Something that is wrong and must get exactly memcached's answer.
    fn refused(&mut self, env: &Env, rng: &mut Rng) {
        let long = "k".repeat(251);
        let (text, answer): (String, &[u8]) = match rng.below(9) {
            0 => ("bogus\r\n".into(), b"ERROR\r\n"),
            1 => ("get\r\n".into(), BAD_FORMAT),
            2 => (format!("get ok {long}\r\n"), BAD_FORMAT),
            3 => ("set k x 0 5\r\nhello\r\n".into(), BAD_FORMAT),
            4 => (
                "incr k x\r\n".into(),
                b"CLIENT_ERROR invalid numeric delta argument\r\n",
            ),
            5 => (
                "set k 0 0 3\r\nabcde\r\n".into(),
                b"CLIENT_ERROR bad data chunk\r\n",
            ),
            6 => ("set k x 0 2 noreply\r\nhi\r\n".into(), b""),
            7 => ("mg !! b\r\n".into(), b"CLIENT_ERROR error decoding key\r\n"),
            _ => (format!("delete {long}\r\n"), BAD_FORMAT),
        };
        if answer.is_empty() {
            self.outgoing.extend(text.as_bytes());
            self.woken = true;
            return;
        }
        let mut answer = answer.to_vec();
        if text.ends_with("abcde\r\n") {
            // The block is five bytes with "de" where its end should be; what follows is a line.
            answer.extend_from_slice(BAD_FORMAT);
        }
        self.send(env, text.as_bytes(), Ask::Exactly(answer), &[]);
    }
}

fn arith(env: &mut Env, rng: &mut Rng) -> Op {
    Op::Arith {
        incr: !rng.one_in(3),
        delta: rng.below(1000) as u64,
        version: env.number(),
    }
}
