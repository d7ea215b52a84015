//! The text protocol's replies, taken apart for comparison.
//!
//! Written independently of `ringroad::protocol`, which is what the tests judge. It reads a whole recorded
//! stream of replies: lines, and the data blocks that `VALUE` and `VA` lines announce.

/// One reply line, with its data block if it announces one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The line without its line end.
    pub line: Vec<u8>,
    /// The bytes of the data block, without its line end.
    pub data: Option<Vec<u8>>,
}

impl Reply {
    /// The words of the line.
    pub fn words(&self) -> Vec<&[u8]> {
        self.line
            .split(|b| *b == b' ')
            .filter(|w| !w.is_empty())
            .collect()
    }
}

/// The length that a reply line announces, if it does.
pub fn announced(line: &[u8]) -> Option<usize> {
    let number = |w: Option<&[u8]>| std::str::from_utf8(w?).ok()?.parse().ok();
    if line.starts_with(b"VALUE ") {
        return number(line.split(|b| *b == b' ').nth(3));
    }
    if line.starts_with(b"VA ") {
        return number(line.split(|b| *b == b' ').nth(1));
    }
    None
}

/// Takes a stream of replies apart. Bytes that are no complete reply come last, as a line of their own with
/// a mark that no server sends.
pub fn parse(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
            break;
        };
        let line = bytes[..end].to_vec();
        let rest = &bytes[end + 2..];
        let data = match announced(&line) {
            Some(len) => match rest.get(..len + 2) {
                Some(block) if block.ends_with(b"\r\n") => Some(block[..len].to_vec()),
                _ => break,
            },
            None => None,
        };
        bytes = &rest[data.as_ref().map_or(0, |d| d.len() + 2)..];
        replies.push(Reply { line, data });
    }
    if !bytes.is_empty() {
        let mut line = b"<incomplete> ".to_vec();
        line.extend_from_slice(bytes);
        replies.push(Reply { line, data: None });
    }
    replies
}

/// A value as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The key.
    pub key: Vec<u8>,
    /// The client's flags.
    pub flags: u32,
    /// The cas value, if it was asked for.
    pub cas: Option<u64>,
    /// The bytes.
    pub data: Vec<u8>,
}
