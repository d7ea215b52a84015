//! A memcached that has every item: the answers a router without sockets is given.
//!
//! It reads what the router sends with ringroad's own parser and writes what memcached 1.6 writes. It keeps
//! nothing: the value of a key is [`load::value`], and storing always succeeds. What the benches' load never
//! leads to is an error, not an answer. A real store would answer the same; this one takes no memory of its
//! own, so that the addresses of the router's buffers do not depend on it.

use ringroad::protocol::meta;
use ringroad::protocol::request::{self, Limits, MetaCommand, Parsed, Request};

use super::load::{self, VALUE};

/// One server's end of a connection.
#[derive(Default)]
pub struct Server {
    received: Vec<u8>,
    answer: Vec<u8>,
}

impl Server {
    /// The router sent these bytes.
    pub fn receive(&mut self, data: &[u8]) {
        self.received.extend_from_slice(data);
    }

    /// Answers everything that was received.
    ///
    /// # Errors
    /// A command that this server has no answer for, in words.
    pub fn work(&mut self) -> Result<(), String> {
        self.answer.clear();
        let mut rest = self.received.as_slice();
        while !rest.is_empty() {
            let Parsed::Request { len, request } = request::parse(rest, &Limits::default()) else {
                return Err(unknown(rest));
            };
            if !answer(&request, &mut self.answer) {
                return Err(unknown(rest));
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        self.received.clear();
        Ok(())
    }

    /// What it answered.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }
}

fn unknown(bytes: &[u8]) -> String {
    let text = bytes.get(..80).unwrap_or(bytes).escape_ascii();
    format!("the router sent something that the bench's servers can't answer: {text}")
}

fn answer(request: &Request<'_>, out: &mut Vec<u8>) -> bool {
    match request {
        Request::Get(get) => {
            for key in get.keys() {
                out.extend_from_slice(b"VALUE ");
                out.extend_from_slice(key);
                out.extend_from_slice(format!(" 0 {VALUE}\r\n").as_bytes());
                load::value(key, out);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"END\r\n");
        }
        Request::Store(_) => out.extend_from_slice(b"STORED\r\n"),
        Request::Meta(meta) => {
            let get = meta.command == MetaCommand::Get;
            if get {
                out.extend_from_slice(format!("VA {VALUE}").as_bytes());
            } else {
                out.extend_from_slice(b"HD");
            }
            for flag in meta::words(meta.flags_text) {
                match flag {
                    [b'k'] => {
                        out.extend_from_slice(b" k");
                        out.extend_from_slice(meta.key);
                    }
                    [b'O', ..] => {
                        out.push(b' ');
                        out.extend_from_slice(flag);
                    }
                    _ => {}
                }
            }
            out.extend_from_slice(b"\r\n");
            if get {
                load::value(meta.key, out);
                out.extend_from_slice(b"\r\n");
            }
        }
        Request::Version => out.extend_from_slice(b"VERSION 1.6.45\r\n"),
        _ => return false,
    }
    true
}
