//! The same streams of bytes to a real memcached and to ringroad in front of three; the replies must be the same.
//!
//! [`generate`] makes the streams from a seed, [`normalise`] takes out what may differ, [`recorded`] does the same for
//! streams of bytes damaged at random, against answers recorded from the newest memcached. A difference is made
//! smaller by leaving steps out before it is reported, with the seed that repeats it.
//!
//! `RINGROAD_TEST_STREAMS` sets how many streams of each kind are tried.

mod generate;
mod normalise;
mod recorded;

use crate::support::client::Client;
use crate::support::memcached::{self, Memcached};
use crate::support::replies::Reply;
use crate::support::router::Cluster;
use crate::support::show;
use generate::{CAS, MARK, MARK_BASE64, Step};

/// Ends a stream: a request whose answer nothing else gives.
const END: &str = "mg end_of_stream O4711\r\n";
const ENDED: &str = "EN O4711\r\n";

fn streams(default: u64) -> u64 {
    std::env::var("RINGROAD_TEST_STREAMS").map_or(default, |n| n.parse().unwrap())
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for at in memchr::memmem::find_iter(bytes, from) {
        out.extend_from_slice(&bytes[end..at]);
        out.extend_from_slice(to.as_bytes());
        end = at + from.len();
    }
    out.extend_from_slice(&bytes[end..]);
    out
}

/// Base64 of six bytes.
fn base64(name: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = name.bytes().fold(0_u64, |bits, b| bits << 8 | u64::from(b));
    (0..8)
        .rev()
        .map(|i| DIGITS[(bits >> (6 * i)) as usize & 63] as char)
        .collect()
}

/// Numbers the runs, so that none sees another's items. In letters: where damage has put a name in a number's place, it
/// is never a number.
fn next_name() -> String {
    static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    (0..6)
        .rev()
        .map(|i| (b'g' + (run >> (4 * i) & 15) as u8) as char)
        .collect()
}

/// Sends a stream on a fresh connection and reads what comes back, up to the end or the close.
fn play(mut client: Client, name: &str, steps: &[Step], older: bool) -> Result<Vec<u8>, String> {
    let mut transcript = Vec::new();
    // One that no server comes to.
    let mut cas = "888888888".to_owned();
    let mut pending = Vec::new();
    let flush = |client: &mut Client, pending: &mut Vec<u8>| -> Result<(Vec<u8>, bool), String> {
        pending.extend_from_slice(END.as_bytes());
        let mut writer = client.tcp().try_clone().map_err(|e| e.to_string())?;
        std::thread::scope(|scope| {
            let bytes = std::mem::take(pending);
            // A thread only where the socket buffers might not hold it.
            if bytes.len() > 30_000 {
                scope.spawn(move || std::io::Write::write_all(&mut writer, &bytes));
            } else {
                let _ = client.try_send(&bytes);
            }
            let (mut got, closed) = client.read_until_or_closed(ENDED.as_bytes())?;
            if !closed {
                got.truncate(got.len() - ENDED.len());
            }
            Ok((got, closed))
        })
    };
    for step in steps {
        match step {
            Step::Send(bytes, other) => {
                let bytes = if older {
                    other.as_ref().unwrap_or(bytes)
                } else {
                    bytes
                };
                let bytes = replace(bytes, MARK, name);
                let bytes = replace(&bytes, MARK_BASE64, &base64(name));
                pending.extend_from_slice(&replace(&bytes, CAS, &cas));
            }
            Step::Sync => {
                let (got, closed) = flush(&mut client, &mut pending)?;
                transcript.extend_from_slice(&got);
                if closed {
                    return Ok(transcript);
                }
            }
            Step::Gets(key) => {
                pending
                    .extend_from_slice(format!("gets {}\r\n", key.replace(MARK, name)).as_bytes());
                let (got, closed) = flush(&mut client, &mut pending)?;
                let head = format!("VALUE {} ", key.replace(MARK, name));
                let values = got
                    .rsplit(|b| *b == b'\n')
                    .filter(|l| l.starts_with(head.as_bytes()));
                if let Some(word) = values.filter_map(|l| l.split(|b| *b == b' ').nth(4)).next() {
                    cas = String::from_utf8_lossy(word).trim_end().to_owned();
                }
                transcript.extend_from_slice(&got);
                if closed {
                    return Ok(transcript);
                }
            }
        }
    }
    let (got, closed) = flush(&mut client, &mut pending)?;
    transcript.extend_from_slice(&got);
    if closed {
        transcript.extend_from_slice(b"<closed>\r\n");
    }
    Ok(transcript)
}

struct Pair {
    memcached: Memcached,
    cluster: Cluster,
}

impl Pair {
    fn start() -> Pair {
        Pair {
            memcached: Memcached::start(),
            cluster: Cluster::with(3, |s| s.top("flush_all = true")),
        }
    }

    /// Both sides' replies, normalised.
    fn replies(&self, steps: &[Step]) -> [Result<Vec<Reply>, String>; 2] {
        let name = next_name();
        let older = !memcached::is_reference();
        let theirs = play(self.memcached.client(), &name, steps, older);
        let ours = play(self.cluster.client(), &name, steps, false);
        [theirs, ours].map(|r| r.map(|bytes| normalise::normalise(&bytes)))
    }

    fn differ(&self, steps: &[Step]) -> bool {
        let [theirs, ours] = self.replies(steps);
        theirs != ours
    }

    /// Leaves out steps as long as the difference stays.
    fn shrink(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut size = steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < steps.len() {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + size).min(steps.len()));
                if self.differ(&fewer) {
                    steps = fewer;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        steps
    }

    #[track_caller]
    fn compare(&self, kind: &str, seed: u64, steps: &[Step]) {
        let first = self.replies(steps);
        if first[0] == first[1] {
            return;
        }
        let steps = self.shrink(steps.to_vec());
        let mut replies = self.replies(&steps);
        let mut note = "";
        if replies[0] == replies[1] {
            note = " (not again when repeated; these are the first replies)";
            replies = first;
        }
        let mut sent = String::new();
        for step in &steps {
            sent += &match step {
                Step::Send(bytes, _) => format!("    {}\n", show(bytes)),
                Step::Sync => "    (reading everything)\n".to_owned(),
                Step::Gets(key) => format!("    gets {key} (keeping the cas value)\n"),
            };
        }
        panic!(
            "{kind} stream of seed {seed}: replies differ{note}\n{}  sent\n{sent}",
            normalise::difference(&replies)
        );
    }
}

#[test]
fn good_streams() {
    let pair = Pair::start();
    for seed in 0..streams(1500) {
        pair.compare("good", seed, &generate::good_stream(seed));
    }
}

#[test]
fn mixed_streams() {
    let pair = Pair::start();
    for seed in 0..streams(1500) {
        pair.compare("mixed", seed, &generate::mixed_stream(seed));
    }
}
