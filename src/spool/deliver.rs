//! A connection of the replayer to one server: deletions are sent many at a time, and each is answered.
//!
//! Blocking, for a thread of its own. Whatever is not an answer to a deletion ends the connection; what was sent and not
//! answered counts as not delivered and is sent again, which does no harm.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::ServerAddr;
use crate::protocol::write;

/// The longest line a server may answer with, in bytes.
const MAX_REPLY: u64 = 2048;

/// What became of deletions that were sent together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// How many, from the first on, have been answered.
    pub count: usize,
    /// How many of those the server refused as no valid keys: they are in no cache.
    pub refused: usize,
}

trait Stream: Read + Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

pub(super) struct Link(BufReader<Box<dyn Stream>>);

impl Link {
    /// Connects, to the first address that can be had.
    pub(super) fn open(addr: &ServerAddr, timeout: Duration) -> io::Result<Link> {
        let addrs = match addr {
            ServerAddr::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(Link(BufReader::new(Box::new(stream))));
            }
            ServerAddr::Tcp(addr) => vec![*addr],
            ServerAddr::Found(addrs) => addrs.clone(),
            ServerAddr::Name { host, port } => (host.as_str(), *port).to_socket_addrs()?.collect(),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address is known");
        for addr in addrs {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(Link(BufReader::new(Box::new(stream))));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether a server answers, which it must before anything else is sent: something may listen there that is none.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        self.send(b"version\r\n")?;
        match self.line()?.starts_with(b"VERSION ") {
            true => Ok(()),
            false => Err(io::Error::other("no memcached answers there")),
        }
    }

    fn send(&mut self, text: &[u8]) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(text)?;
        stream.flush()
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0).take(MAX_REPLY).read_until(b'\n', &mut line)?;
        match line.ends_with(b"\n") {
            true => Ok(line),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Deletes all of these, in their order. With an error, the first so many have been deleted all the same.
    pub(super) fn delete(&mut self, keys: &[Vec<u8>]) -> (Delivered, io::Result<()>) {
        let mut delivered = Delivered::default();
        let mut text = Vec::new();
        for key in keys {
            write::delete(key, &mut text);
        }
        if let Err(error) = self.send(&text) {
            return (delivered, Err(error));
        }
        for _ in keys {
            match self.line() {
                Ok(line) if line == b"DELETED\r\n" || line == b"NOT_FOUND\r\n" => {}
                Ok(line) if line.starts_with(b"CLIENT_ERROR ") => delivered.refused += 1,
                Ok(line) => {
                    let text = String::from_utf8_lossy(&line).trim().to_owned();
                    let error = io::Error::other(format!("it answered: {text}"));
                    return (delivered, Err(error));
                }
                Err(error) => return (delivered, Err(error)),
            }
            delivered.count += 1;
        }
        (delivered, Ok(()))
    }
}
