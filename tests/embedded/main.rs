//! The embedded server against a real memcached: the same requests to both, the same replies from both.
//!
//! The real one is Debian's 1.6.18; the embedded one follows 1.6.45. [`comparison::comparison`] names every kind
//! of request on which these two differ; all other replies must be identical byte for byte, after cas values,
//! times to live and last-access times are blanked, and so must the items that are left behind. Requests are
//! random from a fixed seed, a good part of them damaged on purpose.
//!
//! Without a `memcached` on the PATH the comparison is skipped and says so.

// Tests state what must hold; there an unwrap is an assertion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod comparison;
mod requests;
mod servers;

use std::collections::{BTreeMap, HashMap};

use ringroad::embedded::Handle;

use comparison::Comparison::{ButErrors, Exact, Not};
use comparison::{comparison, normal, without_errors};
use requests::{DUMP, Dice, SETUP, cases, damage, request, seed};
use servers::{Real, ask, ask_real, embedded};

fn cas_of(reply: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(reply);
    let line = text.lines().find(|line| line.starts_with("HD c")).unwrap();
    line.trim_start_matches("HD c").trim().parse().unwrap()
}

fn with_cas(request: &[u8], cas: u64) -> Vec<u8> {
    let Some(at) = request.windows(5).position(|w| w == b"{cas}") else {
        return request.to_vec();
    };
    [
        &request[..at],
        cas.to_string().as_bytes(),
        &request[at + 5..],
    ]
    .concat()
}

/// Leads both servers past the cas values that requests guess.
fn age(real: &Real, ours: &Handle) {
    let sets = b"set a 0 0 1\r\nx\r\n".repeat(100);
    let stored = b"STORED\r\n".repeat(100);
    assert_eq!(ask_real(real, &sets).bytes, stored);
    assert_eq!(ask(ours.addr(), &sets).bytes, stored);
}

#[test]
fn every_request_is_answered_as_by_memcached() {
    let Some(real) = Real::start() else { return };
    let ours = embedded();
    age(&real, &ours);
    let mut dice = Dice(seed());
    let mut compared = BTreeMap::new();
    let mut wrong = Vec::new();
    let cases = cases(4000);
    for _ in 0..cases {
        let mut request = request(&mut dice);
        for _ in 0..2 {
            if !request.is_empty() && dice.one_in(5) {
                damage(&mut dice, &mut request);
            }
        }
        let (how, complete) = comparison(&request);
        *compared.entry(how).or_insert(0usize) += 1;
        if let Not(_) = how {
            continue;
        }
        let setup = [SETUP, "mg a c\r\n"].concat();
        let cas = cas_of(&ask_real(&real, setup.as_bytes()).bytes);
        let want = ask_real(&real, &with_cas(&request, cas));
        let want_after = ask_real(&real, DUMP.as_bytes());
        let cas = cas_of(&ask(ours.addr(), setup.as_bytes()).bytes);
        let got = ask(ours.addr(), &with_cas(&request, cas));
        let got_after = ask(ours.addr(), DUMP.as_bytes());
        let (mut g, mut w) = (normal(&got.bytes), normal(&want.bytes));
        if how == ButErrors {
            (g, w) = (without_errors(&g), without_errors(&w));
        }
        let same = g == w
            || ((!complete || !want.whole) && g.starts_with(&w))
            || (!got.whole && w.starts_with(&g));
        let (ga, wa) = (normal(&got_after.bytes), normal(&want_after.bytes));
        if !same || ga != wa {
            let diff: Vec<String> = ga
                .lines()
                .zip(wa.lines())
                .filter(|(g, w)| g != w)
                .map(|(g, w)| format!("{g} | {w}"))
                .collect();
            wrong.push(format!(
                "request {}\n   got {g}\n  want {w}\n after {diff:?}",
                &request
                    .escape_ascii()
                    .to_string()
                    .chars()
                    .take(200)
                    .collect::<String>()
            ));
        }
    }
    println!("{compared:?}");
    assert!(
        compared[&Exact] * 2 > cases,
        "most requests are compared exactly"
    );
    assert!(
        wrong.is_empty(),
        "{} of {cases}\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
}

/// Pipelined: many requests at once on one connection, each of the kind that compares exactly.
///
/// Arithmetic is left out. While memcached is still sending an item's old value, it cannot change the item in
/// place, so whether `decr` leaves spaces depends on how the pipeline was cut. So is `flush_all`, for the reason
/// given at [`SETUP`], and what looks like HTTP: memcached closes then without sending what it has queued.
#[test]
fn pipelines_are_answered_as_by_memcached() {
    let Some(real) = Real::start() else { return };
    let ours = embedded();
    age(&real, &ours);
    let mut dice = Dice(seed() ^ 1);
    for _ in 0..cases(400) {
        let mut stream = SETUP.as_bytes().to_vec();
        for _ in 0..1 + dice.roll(60) {
            let request = with_cas(&request(&mut dice), 1);
            let verb: &[u8] = request.split(|b| *b == b' ').next().unwrap();
            if comparison(&request) == (Exact, true)
                && !matches!(verb, b"incr" | b"decr" | b"ma" | b"flush_all" | b"GET")
            {
                stream.extend_from_slice(&request);
            }
        }
        stream.extend_from_slice(DUMP.as_bytes());
        let (want, got) = (ask_real(&real, &stream), ask(ours.addr(), &stream));
        let (g, w) = (normal(&got.bytes), normal(&want.bytes));
        let same =
            g == w || (!want.whole && g.starts_with(&w)) || (!got.whole && w.starts_with(&g));
        let different = g.lines().zip(w.lines()).find(|(g, w)| g != w);
        assert!(same, "{different:?}\n{}", stream.escape_ascii());
    }
    let (theirs, ours) = (
        counters(&ask_real(&real, b"stats\r\n").bytes),
        counters(&ask(ours.addr(), b"stats\r\n").bytes),
    );
    for name in COUNTED {
        assert_eq!(ours.get(*name), theirs.get(*name), "{name}");
    }
}

/// Statistics that must come out the same after the same requests. Not `get_expired`: memcached's crawler may
/// come first. Nor `curr_items` and `bytes`: an item of the last pipeline may expire between the one and the other.
const COUNTED: &[&str] = &[
    "cmd_get",
    "cmd_set",
    "cmd_touch",
    "cmd_meta",
    "cmd_flush",
    "get_hits",
    "get_misses",
    "delete_hits",
    "delete_misses",
    "cas_hits",
    "cas_misses",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "total_items",
    "pointer_size",
    "limit_maxbytes",
];

fn counters(stats: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(stats);
    let pairs = text
        .lines()
        .filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The differences that [`comparison`] leaves out are no licence: here the newer version's answers are written
/// down, from its source and its documentation.
#[test]
fn what_only_the_newer_version_does() {
    let ours = embedded();
    let answer = |request: &str| {
        let request = [SETUP, request].concat();
        let reply = String::from_utf8(ask(ours.addr(), request.as_bytes()).bytes).unwrap();
        reply.split_once("HD\r\n").unwrap().1.to_owned()
    };
    for (request, want) in [
        // A value that the client has already is not sent again.
        (
            "ms a 1 E77\r\nx\r\nmg a v C77 c\r\nmg a v C76\r\n",
            "HD\r\nHD c77\r\nVA 1\r\nx\r\n",
        ),
        // New cas values at will.
        (
            "mg new N30 E5 c\r\nma num E6 c v\r\nma new2 N0 E8 c\r\n",
            "HD c5 W\r\nVA 3 c6\r\n101\r\nHD c8\r\n",
        ),
        ("md a I E9\r\nmg a c v\r\n", "HD\r\nVA 3 c9 X W\r\nold\r\n"),
        // A value deleted, its item kept.
        (
            "ms a 1 E3\r\nx\r\nmd a x\r\nmg a v c f t\r\n",
            "HD\r\nHD\r\nVA 0 c3 f0 t-1\r\n\r\n",
        ),
        (
            "md a x I E4 T100 F6\r\nmg a v c f\r\n",
            "HD\r\nVA 0 c4 f6 X W\r\n\r\n",
        ),
        ("md a x q\r\nmd nope x\r\nmd a x C1\r\n", "NF\r\nEX\r\n"),
        // The size that came out.
        (
            "ms a 2 MA s\r\nxy\r\nms a 2 ME s\r\nxy\r\nms a 1 s k c E4\r\nx\r\n",
            "HD s5\r\nNS s2\r\nHD s1 ka c4\r\n",
        ),
        // Append and prepend that create.
        (
            "ms new 2 MA N30\r\nxy\r\nms new 2 MP N60\r\nab\r\nmg new v t\r\n",
            "HD\r\nHD\r\nVA 4 t30\r\nabxy\r\n",
        ),
        ("ms new 2 MR N30\r\nxy\r\n", "NS\r\n"),
        // A mode's first character is enough, and there must be one.
        (
            "ms new 2 MEverything\r\nxy\r\nma num MDown v\r\nms a 1 M\r\nx\r\n",
            "HD\r\nVA 2\r\n99\r\nCLIENT_ERROR invalid mode for ms M token\r\n",
        ),
        // `md` has a text for each error.
        ("md a v v\r\n", "CLIENT_ERROR duplicate flag\r\n"),
        ("md a z\r\n", "CLIENT_ERROR invalid flag\r\n"),
        (
            "md a Cx\r\n",
            "CLIENT_ERROR bad token in command line format\r\n",
        ),
        ("md !!! b\r\n", "CLIENT_ERROR error decoding key\r\n"),
        // The last bad token's text counts, `F` has none, and an unknown flag outdoes them all.
        (
            "ms a 1 Tx Fx\r\nx\r\n",
            "CLIENT_ERROR bad token in command line format\r\n",
        ),
        (
            "ms a 1 Fx Jx\r\nx\r\n",
            "CLIENT_ERROR invalid numeric initial value\r\n",
        ),
        (
            "ms a 1 Fx\r\nx\r\n",
            "CLIENT_ERROR bad command line format\r\n",
        ),
        ("ms a 1 Tx 1\r\nx\r\n", "CLIENT_ERROR invalid flag\r\n"),
        // 20 words.
        (
            "mg a k s t c f v h l u q D1 I P L F1 C1 J1 M1\r\n",
            "VA 3 ka s3 t-1 c",
        ),
        (
            "mg a k s t c f v h l u q D1 I P L F1 C1 J1 M1 b\r\n",
            "CLIENT_ERROR options flags are too long\r\n",
        ),
        // Quiet when it creates, too.
        ("ma new N30 q v\r\nmg new v\r\n", "VA 1\r\n0\r\n"),
        ("incr a 1 and more noreply\r\ndelete a 5\r\n", "DELETED\r\n"),
    ] {
        let got = answer(request);
        let same = if want.ends_with('\n') {
            got == want
        } else {
            got.starts_with(want)
        };
        assert!(same, "{request:?}\n got {got:?}\nwant {want:?}");
    }
}
