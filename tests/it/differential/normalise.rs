//! What may differ between a memcached and a router in front of several, taken out before comparing.
//!
//! - cas values: each server counts its own;
//! - the text of `version` and `stats`: the router's own;
//! - times: remaining and elapsed seconds, which pass while the test runs; the details of `me`;
//! - the empty line that the newest memcached sends after refusing a too long key of a get (deliberately not copied).
//!
//! Everything else is compared byte for byte.

use crate::support::replies::{self, Reply};
use crate::support::show;

/// The replies of a stream, with what may differ replaced by a fixed text.
pub fn normalise(bytes: &[u8]) -> Vec<Reply> {
    let mut out: Vec<Reply> = Vec::new();
    for mut reply in replies::parse(bytes) {
        reply.line = line(&reply.line);
        let last = out.last().map(|r| r.line.as_slice());
        if reply.line.is_empty() && last == Some(b"CLIENT_ERROR bad command line format") {
            continue;
        }
        if reply.line == b"STAT" && last == Some(b"STAT") {
            continue;
        }
        out.push(reply);
    }
    out
}

fn line(line: &[u8]) -> Vec<u8> {
    let mut words: Vec<Vec<u8>> = line.split(|b| *b == b' ').map(<[u8]>::to_vec).collect();
    let verb = words[0].clone();
    match verb.as_slice() {
        b"VERSION" | b"STAT" => words.truncate(1),
        b"VALUE" if words.len() == 5 => words[4] = b"CAS".to_vec(),
        b"HD" | b"VA" | b"EN" | b"NF" | b"NS" | b"EX" => {
            let flags = if verb == b"VA" { 2 } else { 1 };
            for word in words.iter_mut().skip(flags) {
                match word.first() {
                    Some(b'c') if number(&word[1..]) => *word = b"cCAS".to_vec(),
                    Some(b't' | b'l') if number(&word[1..]) => word.truncate(1),
                    _ => {}
                }
            }
        }
        b"ME" => words
            .iter_mut()
            .skip(2)
            .for_each(|w| w.truncate(w.iter().position(|b| *b == b'=').unwrap_or(w.len()))),
        _ => {}
    }
    words.join(&b' ')
}

fn number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Where memcached's and ringroad's replies part, for a failure message.
pub fn difference(replies: &[Result<Vec<Reply>, String>; 2]) -> String {
    let (theirs, ours) = match replies {
        [Ok(theirs), Ok(ours)] => (theirs, ours),
        _ => return format!("  memcached and ringroad: {replies:?}\n"),
    };
    let same = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let mut out = format!("  after {same} equal replies\n");
    for (name, replies) in [("memcached", theirs), ("ringroad", ours)] {
        out += &format!("  {name}\n");
        for reply in replies.iter().skip(same).take(6) {
            out += &format!("    {}", show(&reply.line));
            if let Some(data) = &reply.data {
                out += &format!(" | {}", show(data));
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        normalise(text.as_bytes())
            .iter()
            .map(|r| String::from_utf8_lossy(&r.line).into_owned())
            .collect()
    }

    #[test]
    fn only_what_may_differ_is_taken_out() {
        assert_eq!(
            lines("VALUE k 0 1 17\r\nx\r\nEND\r\n"),
            ["VALUE k 0 1 CAS", "END"]
        );
        assert_eq!(lines("VALUE k 0 1\r\nx\r\nEND\r\n"), ["VALUE k 0 1", "END"]);
        assert_eq!(
            lines("VA 1 c9 t-1 kc9 t55 f4 Oc1\r\nx\r\n"),
            ["VA 1 cCAS t-1 kc9 t f4 Oc1"]
        );
        assert_eq!(lines("STAT a 1\r\nSTAT b 2\r\nEND\r\n"), ["STAT", "END"]);
        assert_eq!(
            lines("CLIENT_ERROR bad command line format\r\n\r\nEND\r\n"),
            ["CLIENT_ERROR bad command line format", "END"]
        );
        assert_eq!(lines("ERROR\r\n\r\n"), ["ERROR", ""]);
        assert_eq!(
            lines("VALUE k 0 9\r\nx\r\n"),
            ["<incomplete> VALUE k 0 9\r\nx\r\n"]
        );
    }
}
