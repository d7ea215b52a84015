//! Random requests from a seed: well formed, nearly so, and damaged.

/// A seeded generator of numbers (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }
}

/// The seed: fixed, unless `RINGROAD_SEED` gives another.
pub fn seed() -> u64 {
    std::env::var("RINGROAD_SEED").map_or(0x5eed, |seed| seed.parse().unwrap())
}

/// How many cases: `default`, unless `RINGROAD_CASES` says otherwise.
pub fn cases(default: usize) -> usize {
    std::env::var("RINGROAD_CASES").map_or(default, |cases| cases.parse().unwrap())
}

const KEYS: &[&str] = &["a", "b", "num", "abc", "YWJj", "bin\u{1}", "nope"];

/// The state before each request: two texts, two numbers, one of them short on digits, one base64 key.
///
/// The keys are looked for after the flush: 1.6.18 forgets a flush at the next delayed one, and what nobody has
/// asked for in between is back.
pub const SETUP: &str = "flush_all\r\nget a b num abc YWJj bin\u{1} nope base\r\nset a 7 0 3\r\nold\r\nset b 0 100 5\r\nhello\r\nset num 5 0 3\r\n100\r\n\
                     set abc 0 0 20\r\n18446744073709551615\r\nms YmFzZQ== 2 b F9\r\nhi\r\n";

/// Asks for everything about every key.
pub const DUMP: &str = "gets a b num abc YWJj bin\u{1} nope base\r\nmg a h t f c s\r\nmg b h t f c s\r\nmg num h t f c s v k\r\n\
                    mg abc h t f v k\r\nmg YWJj h t f v k\r\nmg YWJj b h t f v k\r\nmg YmFzZQ== b k v f\r\nme a\r\n";

fn number(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "0",
        "0",
        "0",
        "1",
        "1",
        "5",
        "91",
        "100",
        "-1",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "abc",
        "0x1",
        "00",
        "2147483648",
        "-2147483649",
    ])
}

fn exptime(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "0",
        "0",
        "0",
        "100",
        "2592000",
        "2000000000",
        "-1",
        "3000000",
        "abc",
        "2147483648",
    ])
}

fn value(dice: &mut Dice) -> Vec<u8> {
    if dice.one_in(3) {
        return dice
            .pick(&[
                "0",
                "1",
                "99",
                "18446744073709551615",
                "",
                "-1",
                "7 x",
                "\0",
            ])
            .as_bytes()
            .to_vec();
    }
    let len = match dice.roll(20) {
        0 => 5000,
        1 => 70_000,
        _ => dice.roll(12),
    };
    (0..len)
        .map(|_| *b"ab\r\n 0\0\xff".get(dice.roll(8)).unwrap())
        .collect()
}

fn meta_flags(dice: &mut Dice, command: &str) -> String {
    let common: &[&str] = &[
        "k", "O123", "q", "b", "I", "T0", "T100", "T-1", "Tx", "C{cas}", "C1", "C0", "Cx", "P1",
        "L", "z",
    ];
    let own: &[&str] = match command {
        "mg" => &[
            "v", "v", "t", "s", "f", "c", "h", "l", "u", "N0", "N30", "N-1", "R25", "R200", "R0",
            "v",
        ],
        "ms" => &[
            "F5",
            "F0",
            "F4294967296",
            "Fx",
            "c",
            "MA",
            "MP",
            "ME",
            "MR",
            "MS",
            "MX",
            "Ma",
            "I",
        ],
        "ma" => &[
            "v",
            "v",
            "t",
            "c",
            "N0",
            "N60",
            "J7",
            "J18446744073709551615",
            "D5",
            "D0",
            "MI",
            "MD",
            "M+",
            "M-",
            "Mx",
            "Dx",
        ],
        _ => &["v", "t"],
    };
    let mut flags = String::new();
    for _ in 0..dice.roll(6) {
        let flag = if dice.one_in(3) {
            dice.pick(common)
        } else {
            dice.pick(own)
        };
        flags.push_str(if dice.one_in(12) { "  " } else { " " });
        flags.push_str(flag);
    }
    flags
}

/// One request, well formed or nearly so. `{cas}` stands for the cas value of the key `a`.
pub fn request(dice: &mut Dice) -> Vec<u8> {
    let key = dice.pick(KEYS);
    let other = dice.pick(KEYS);
    let noreply = if dice.one_in(6) { " noreply" } else { "" };
    let end = if dice.one_in(10) { "\n" } else { "\r\n" };
    let line = match dice.roll(20) {
        0 | 1 => format!("{} {key} {other} {key}", dice.pick(&["get", "gets"])),
        2 => format!(
            "{} {} {key} {other}",
            dice.pick(&["gat", "gats"]),
            exptime(dice)
        ),
        3..=6 => {
            let command = dice.pick(&["set", "add", "replace", "append", "prepend", "cas"]);
            let value = value(dice);
            let len = match dice.roll(30) {
                0 => value.len() + 1,
                1 => value.len().saturating_sub(1),
                2 => 1_048_500 + dice.roll(40),
                _ => value.len(),
            };
            let cas = match command {
                "cas" => dice.pick(&[" {cas}", " {cas}", " 1", " 0", " 99999", " abc"]),
                _ => "",
            };
            let mut bytes = format!(
                "{command} {key} {} {} {len}{cas}{noreply}{end}",
                number(dice),
                exptime(dice)
            )
            .into_bytes();
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
            return bytes;
        }
        7 => format!("delete {key}{noreply}"),
        8 | 9 => format!(
            "{} {key} {}{noreply}",
            dice.pick(&["incr", "decr"]),
            number(dice)
        ),
        10 => format!("touch {key} {}{noreply}", exptime(dice)),
        11 | 12 => format!("mg {key}{}", meta_flags(dice, "mg")),
        13 | 14 => {
            let value = value(dice);
            let len = if dice.one_in(30) {
                value.len() + 1
            } else {
                value.len()
            };
            let mut bytes = format!("ms {key} {len}{}{end}", meta_flags(dice, "ms")).into_bytes();
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
            return bytes;
        }
        15 => format!("md {key}{}", meta_flags(dice, "md")),
        16 => format!("ma {key}{}", meta_flags(dice, "ma")),
        17 => format!("me {key}"),
        18 => format!("flush_all {}{noreply}", exptime(dice)),
        _ => dice
            .pick(&[
                "mn",
                "version",
                "verbosity 1",
                "verbosity 1 noreply",
                "verbosity x",
                "stats reset",
                "stats foo",
                "quit",
                "foo",
                "foo bar",
                "GET a",
                "get\ta",
                "slabs",
                "misbehave",
                "GET / HTTP/1.1",
                "shutdown",
                "flush_all",
            ])
            .to_owned(),
    };
    (line + end).into_bytes()
}

/// Damages a request: a byte changed, dropped, doubled, or a piece cut off or moved.
pub fn damage(dice: &mut Dice, request: &mut Vec<u8>) {
    let line = request
        .iter()
        .position(|b| *b == b'\n')
        .map_or(request.len(), |end| end + 1);
    let at = dice.roll(line);
    match dice.roll(5) {
        0 => {
            request[at] = *b" \r\n\t\0-+09azKM!{\x7f\x80\xff"
                .get(dice.roll(18))
                .unwrap()
        }
        1 => drop(request.remove(at)),
        2 => request.insert(at, request[at]),
        3 => request.insert(at, b' '),
        _ => {
            let to = at + dice.roll(line - at);
            request.drain(at..to);
        }
    }
}
