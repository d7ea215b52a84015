//! Configuration endpoints: AWS ElastiCache and Google Memorystore tell the nodes of a cluster over memcached's port.
//!
//! ```text
//! config get cluster\r\n
//! CONFIG cluster 0 <bytes>\r\n
//! <version>\n
//! <host>|<ip>|<port> <host>|<ip>|<port> …\n
//! \r\n
//! END\r\n
//! ```
//!
//! Engines before 1.4.14 don't know the command and have the same text under a key: `get AmazonElastiCache:cluster`.
//! The `ip` may be empty; Memorystore writes the address in both places. The format is AWS's ("Adding Auto Discovery
//! To Your Client Library"). A member is named `host:port`, as a pool's list of the same servers would name it.
//!
//! An answer counts as a whole or not at all. What is read is bounded, and the text is taken for hostile.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::listed::Listed;
use super::{Failure, FailureKind, Identity};
use crate::config::ServerAddr;

/// The longest text of a configuration, in bytes; some 100 for each node.
pub const MAX_TEXT: usize = 1 << 20;

/// The most nodes of a cluster.
pub const MAX_NODES: usize = 4096;

/// The longest line before the text.
const MAX_LINE: usize = 512;

const ASK: &[u8] = b"config get cluster\r\n";
const ASK_OLD: &[u8] = b"get AmazonElastiCache:cluster\r\n";

/// What an endpoint says about its cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Counts the changes of the cluster.
    pub version: u64,
    /// The nodes; at least one.
    pub nodes: Vec<Listed>,
}

/// What has been read so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is not all there.
    Partial,
    /// The command is not known.
    Unknown,
    /// The answer.
    Cluster(Cluster),
}

/// Asks an endpoint: a connection, the question, and for old engines the old one.
///
/// # Errors
/// No connection or a broken one, no answer within `timeout` in all, or one of no use.
pub async fn ask(endpoint: SocketAddr, timeout: Duration) -> Result<Cluster, Failure> {
    let asked = tokio::time::timeout(timeout, dialogue(endpoint));
    let result = asked.await.unwrap_or_else(|_| {
        let detail = format!("no answer within {timeout:?}");
        fail(FailureKind::Timeout, detail)
    });
    result.map_err(|failure| Failure {
        detail: format!("{endpoint}: {}", failure.detail),
        ..failure
    })
}

async fn dialogue(endpoint: SocketAddr) -> Result<Cluster, Failure> {
    let mut stream = TcpStream::connect(endpoint).await.map_err(broken)?;
    for question in [ASK, ASK_OLD] {
        match exchange(&mut stream, question).await? {
            Reply::Cluster(cluster) => return Ok(cluster),
            Reply::Unknown | Reply::Partial => {}
        }
    }
    fail(
        FailureKind::Unusable,
        "it knows neither `config get cluster` nor `get AmazonElastiCache:cluster`",
    )
}

fn broken(error: io::Error) -> Failure {
    Failure {
        kind: FailureKind::Io,
        detail: error.to_string(),
    }
}

/// Never [`Reply::Partial`].
async fn exchange(stream: &mut TcpStream, question: &[u8]) -> Result<Reply, Failure> {
    let mut left = question;
    while !left.is_empty() {
        stream.writable().await.map_err(broken)?;
        match stream.try_write(left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(broken(error)),
        }
    }
    let (mut reply, mut chunk) = (Vec::new(), vec![0; 8192]);
    loop {
        stream.readable().await.map_err(broken)?;
        // More than the parser takes is never needed: it has refused by then.
        let read = match stream.try_read(&mut chunk) {
            Ok(0) => return fail(FailureKind::Io, "closed the connection in mid-answer"),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(broken(error)),
        };
        reply.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match parse(&reply)? {
            Reply::Partial => {}
            reply => return Ok(reply),
        }
    }
}

fn fail<T>(kind: FailureKind, detail: impl Into<String>) -> Result<T, Failure> {
    let detail = detail.into();
    Err(Failure { kind, detail })
}

fn unusable<T>(detail: impl Into<String>) -> Result<T, Failure> {
    fail(FailureKind::Unusable, detail)
}

/// A part of the answer as the log may have it.
fn quoted(bytes: &[u8]) -> String {
    let short = bytes.get(..80).unwrap_or(bytes);
    format!("\"{}\"", short.escape_ascii())
}

/// Reads the answer to either question; `reply` is everything that came since it was asked.
///
/// # Errors
/// It is an error, has no nodes, is malformed, or too long.
pub fn parse(reply: &[u8]) -> Result<Reply, Failure> {
    let Some((line, rest)) = first_line(reply) else {
        if reply.len() > MAX_LINE {
            return unusable(format!("it answers {}", quoted(reply)));
        }
        return Ok(Reply::Partial);
    };
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').take(6).collect();
    let length = match words.as_slice() {
        [b"CONFIG", b"cluster", _, length] => length,
        [b"VALUE", b"AmazonElastiCache:cluster", _, length] => length,
        [b"ERROR"] => return Ok(Reply::Unknown),
        // Memcached says so to a command with arguments it doesn't know.
        [b"CLIENT_ERROR", ..] => return Ok(Reply::Unknown),
        [b"END"] => return fail(FailureKind::Empty, "it has no configuration"),
        [b"SERVER_ERROR", ..] => {
            return fail(FailureKind::Server, format!("it answers {}", quoted(line)));
        }
        _ => return unusable(format!("it answers {}", quoted(line))),
    };
    let length = std::str::from_utf8(length).ok();
    let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) else {
        return unusable(format!("it answers {}", quoted(line)));
    };
    if length > MAX_TEXT {
        return unusable(format!("a configuration of {length} bytes is too long"));
    }
    let Some((text, tail)) = rest.split_at_checked(length) else {
        return Ok(Reply::Partial);
    };
    const TAIL: &[u8] = b"\r\nEND\r\n";
    if tail.len() < TAIL.len() && TAIL.starts_with(tail) {
        return Ok(Reply::Partial);
    }
    if !tail.starts_with(TAIL) {
        return unusable(format!("after {length} bytes comes {}", quoted(tail)));
    }
    cluster(text).map(Reply::Cluster)
}

fn first_line(reply: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', reply.get(..MAX_LINE).unwrap_or(reply))?;
    let (line, rest) = reply.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

fn cluster(text: &[u8]) -> Result<Cluster, Failure> {
    let Ok(text) = std::str::from_utf8(text) else {
        return unusable("the configuration is not text");
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let Ok(version) = first.parse() else {
        return unusable(format!("{} is not a version", quoted(first.as_bytes())));
    };
    let mut nodes = Vec::new();
    for word in lines.next().unwrap_or_default().split_ascii_whitespace() {
        nodes.push(node(word)?);
        if nodes.len() > MAX_NODES {
            return unusable(format!("the cluster has more than {MAX_NODES} nodes"));
        }
    }
    if let Some(more) = lines.next() {
        return unusable(format!("after the nodes comes {}", quoted(more.as_bytes())));
    }
    if nodes.is_empty() {
        return fail(FailureKind::Empty, "the cluster has no nodes");
    }
    Ok(Cluster { version, nodes })
}

fn node(word: &str) -> Result<Listed, Failure> {
    let wrong = |why: &str| Failure {
        kind: FailureKind::Unusable,
        detail: format!("{} is not a node: {why}", quoted(word.as_bytes())),
    };
    let parts: Vec<&str> = word.split('|').take(4).collect();
    let [host, ip, port] = parts.as_slice() else {
        return Err(wrong("it should be host|ip|port"));
    };
    let port: u16 = port.parse().map_err(|_| wrong("the port is no number"))?;
    let address = |text: &str| {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        bare.unwrap_or(text).parse::<IpAddr>().ok()
    };
    // The way to write addresses and host names is that of a pool's servers.
    let written = match address(host) {
        Some(ip) => SocketAddr::new(ip, port).to_string(),
        None => format!("{host}:{port}"),
    };
    let named: ServerAddr = written.parse().map_err(|_| wrong("no host name or port"))?;
    let named = named.key();
    let identity = match named {
        ServerAddr::Tcp(_) => Identity::Ip,
        ServerAddr::Name { .. } => Identity::Configured,
        ServerAddr::Unix(_) | ServerAddr::Found(_) => return Err(wrong("no host name")),
    };
    let addr = if ip.is_empty() {
        named.clone()
    } else {
        let ip = address(ip).ok_or_else(|| wrong("no IP address"))?;
        ServerAddr::Tcp(SocketAddr::new(ip, port))
    };
    Ok(Listed {
        name: named.default_name(),
        identity,
        addr,
        weight: None,
    })
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
