//! The times to live in commands as they are sent to servers, changed.
//!
//! What is stored for want of a better place must not stay there. Times in the past stay as they are: they delete.
//! Without a clock a date can't be told from one in the past, so every date counts as later than any bound.

use super::meta::words;

/// A text exptime that is not over `most` seconds: 0, for ever, and dates are.
#[must_use]
pub fn at_most(exptime: i32, most: u32) -> i32 {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    if exptime == 0 {
        most
    } else {
        exptime.min(most)
    }
}

/// The line of a command (with its line end) such that what it stores or touches lives `most` seconds at most;
/// `None` if it does as it is. Lines are as [`super::write`] writes them.
#[must_use]
pub fn shortened(line: &[u8], most: u32) -> Option<Vec<u8>> {
    changed(line, |old| at_most(old, most))
}

fn changed(line: &[u8], change: impl Fn(i32) -> i32) -> Option<Vec<u8>> {
    let command = line.split(|b| *b == b' ').next().unwrap_or_default();
    match command {
        b"set" | b"add" | b"replace" | b"cas" => text(line, 3, change),
        b"lease-set" => text(line, 4, change),
        b"touch" => text(line, 2, change),
        b"ms" => meta(line, 3, change),
        b"mg" | b"ma" | b"md" => meta(line, 2, change),
        _ => None,
    }
}

/// The line of a command (with its line end) such that what it stores or touches lives that many seconds, 0 for ever;
/// `None` if it does as it is. A deletion stays as it is.
#[must_use]
pub fn set(line: &[u8], seconds: u32) -> Option<Vec<u8>> {
    if line.starts_with(b"md ") {
        return None;
    }
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    changed(line, |_| seconds)
}

fn number(word: &[u8]) -> Option<i32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The exptime is the word at this place.
fn text(line: &[u8], place: usize, change: impl Fn(i32) -> i32) -> Option<Vec<u8>> {
    let body = line.strip_suffix(b"\r\n")?;
    let old = number(body.split(|b| *b == b' ').nth(place)?)?;
    let new = change(old);
    if new == old {
        return None;
    }
    let mut out = Vec::with_capacity(line.len() + 10);
    for (index, word) in body.split(|b| *b == b' ').enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match index == place {
            true => out.extend_from_slice(itoa::Buffer::new().format(new).as_bytes()),
            false => out.extend_from_slice(word),
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(out)
}

/// Flags begin at this place: `T` is a time to live, `N` that of an item which the command creates. A set without
/// `T` is for ever.
fn meta(line: &[u8], flags: usize, change: impl Fn(i32) -> i32) -> Option<Vec<u8>> {
    let body = line.strip_suffix(b"\r\n")?;
    let mut out = Vec::with_capacity(line.len() + 13);
    let mut changed = false;
    let mut timed = !line.starts_with(b"ms ");
    for (index, word) in words(body).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match word.split_first() {
            Some((flag @ (b'T' | b'N'), old)) if index >= flags => {
                timed |= *flag == b'T';
                out.push(*flag);
                match number(old).map(|old| (old, change(old))) {
                    Some((old, new)) if old != new => {
                        changed = true;
                        out.extend_from_slice(itoa::Buffer::new().format(new).as_bytes());
                    }
                    // The server may say what it thinks of it.
                    _ => out.extend_from_slice(old),
                }
            }
            _ => out.extend_from_slice(word),
        }
    }
    if !timed && change(0) != 0 {
        changed = true;
        out.extend_from_slice(b" T");
        out.extend_from_slice(itoa::Buffer::new().format(change(0)).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(line: &str) -> String {
        let line = format!("{line}\r\n");
        let out = shortened(line.as_bytes(), 60).unwrap_or(line.into_bytes());
        String::from_utf8(out).unwrap().trim_end().to_owned()
    }

    #[test]
    fn what_would_live_longer_is_shortened() {
        for (line, want) in [
            ("set k 7 0 5", "set k 7 60 5"),
            ("set k 7 59 5", "set k 7 59 5"),
            ("set k 7 61 5", "set k 7 60 5"),
            ("set k 7 -1 5", "set k 7 -1 5"),
            ("add k 0 1999999999 5", "add k 0 60 5"),
            ("replace k 0 0 5", "replace k 0 60 5"),
            ("cas k 0 0 5 123", "cas k 0 60 5 123"),
            ("append k 0 0 5", "append k 0 0 5"),
            ("touch k 0", "touch k 60"),
            ("touch k 5", "touch k 5"),
            ("delete k", "delete k"),
            ("incr k 100", "incr k 100"),
            ("ms k 5", "ms k 5 T60"),
            ("ms k 5 T0 F7 O1", "ms k 5 T60 F7 O1"),
            ("ms k 5 T7 O1", "ms k 5 T7 O1"),
            ("ms T100 5 T-1", "ms T100 5 T-1"),
            ("ms k 5 MA N0 O1", "ms k 5 MA N60 O1 T60"),
            ("mg k v T90", "mg k v T60"),
            ("mg N90 v N30", "mg N90 v N30"),
            ("mg k v N300 R30", "mg k v N60 R30"),
            ("ma k N0 T5 D3", "ma k N60 T5 D3"),
            ("md k I T300", "md k I T60"),
            ("ms k 5 Tx", "ms k 5 Tx"),
            ("mg k v TTT", "mg k v TTT"),
        ] {
            assert_eq!(short(line), want, "{line}");
        }
    }

    #[test]
    fn an_exptime_that_is_in_bounds_stays() {
        for (exptime, want) in [
            (0, 60),
            (1, 1),
            (60, 60),
            (61, 60),
            (-1, -1),
            (i32::MAX, 60),
        ] {
            assert_eq!(at_most(exptime, 60), want);
        }
        assert_eq!(at_most(0, u32::MAX), i32::MAX);
    }
}
