//! A server that is asked for only so much at a time.
//!
//! Protects: by configuration and by mcrouter's flag, never more requests are under way to a server than the bound says,
//! whoever asks; all of them are answered in the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::router::{Ringroad, Setup};

/// The server's side of the only connection.
struct Side {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Side {
    fn accept(listener: &TcpListener) -> Side {
        let (stream, _) = listener.accept().unwrap();
        let mut side = Side {
            stream,
            read: Vec::new(),
        };
        assert_eq!(side.line(), "version");
        side.say("VERSION 1.6.18\r\n");
        side
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        self.stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut piece = [0; 4096];
            let n = self.stream.read(&mut piece).unwrap();
            assert!(n > 0, "closed");
            self.read.extend_from_slice(&piece[..n]);
        }
    }

    /// Nothing more comes. What comes later than that is not noticed here, but as one too many by the next.
    fn nothing(&mut self) {
        assert_eq!(self.read, b"", "too many at a time");
        self.stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut piece = [0; 100];
        match self.stream.read(&mut piece) {
            Err(error) => assert!(matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut
            )),
            Ok(n) => panic!("{:?}", String::from_utf8_lossy(&piece[..n])),
        }
    }
}

fn is_bounded(router: &Ringroad, listener: &TcpListener) {
    const CLIENTS: usize = 4;
    const EACH: usize = 5;
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("delete k\r\n".repeat(EACH));
    }
    let mut side = Side::accept(listener);
    for _ in 0..2 {
        assert_eq!(side.line(), "delete k");
    }
    for _ in 2..CLIENTS * EACH {
        side.nothing();
        side.say("DELETED\r\n");
        assert_eq!(side.line(), "delete k");
    }
    side.nothing();
    side.say("NOT_FOUND\r\nDELETED\r\n");
    let mut missed = 0;
    for client in &mut clients {
        for _ in 0..EACH {
            match &*client.line() {
                "DELETED" => {}
                "NOT_FOUND" => missed += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(missed, 1);
}

#[test]
fn no_more_requests_are_under_way_than_the_configuration_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = Setup::new([listener.local_addr().unwrap()])
        .top("workers = 1")
        .pool("timeout = \"20s\"")
        .pool("queue = { in_flight = 2 }")
        .start();
    is_bounded(&router, &listener);
}

#[test]
fn no_more_requests_are_under_way_than_mcrouters_flag_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let json = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{addr}\"]}}}}, \"route\": \"PoolRoute|A\"}}"
    );
    let flags = [
        "--target-max-inflight-requests=2",
        "--server-timeout=20000",
        "--asynclog-disable",
    ];
    let router = Ringroad::mcrouter(&json, &flags);
    is_bounded(&router, &listener);
}
