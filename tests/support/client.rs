//! A raw client: bytes out, bytes in, every wait with a deadline.
//!
//! It knows as little of the protocol as possible, so that it can send and see anything. A test says exactly
//! which bytes it expects; "nothing comes" is shown with a fence (`mn` answers `MN`), never by waiting.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::replies::{self, Value};
use super::{PATIENCE, show};

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to an endpoint.
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
    patience: Duration,
}

impl Client {
    /// Connects over TCP.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        let stream =
            TcpStream::connect(addr).unwrap_or_else(|e| panic!("cannot connect to {addr}: {e}"));
        stream.set_nodelay(true).unwrap();
        Client::new(Stream::Tcp(stream))
    }

    /// Connects to a unix socket.
    pub fn connect_unix(path: &Path) -> Client {
        Client::new(Stream::Unix(UnixStream::connect(path).unwrap()))
    }

    fn new(stream: Stream) -> Client {
        let client = Client {
            stream,
            received: Vec::new(),
            patience: PATIENCE,
        };
        // Short, so that reads can watch the deadline; see read_some.
        let tick = Some(Duration::from_millis(100));
        match &client.stream {
            Stream::Tcp(s) => s.set_read_timeout(tick).unwrap(),
            Stream::Unix(s) => s.set_read_timeout(tick).unwrap(),
        }
        client
    }

    /// The TCP socket, for socket options.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(s) => s,
            Stream::Unix(_) => panic!("not a TCP client"),
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.try_send(bytes)
            .unwrap_or_else(|e| panic!("cannot send: {e}"));
        self
    }

    /// Sends bytes; the other side may have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(s) => s.write_all(bytes.as_ref()),
            Stream::Unix(s) => s.write_all(bytes.as_ref()),
        }
    }

    /// Ends the sending side; replies can still come.
    pub fn finish_sending(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }

    /// Closes with a reset rather than an orderly end.
    pub fn reset(self) {
        socket2::SockRef::from(self.tcp())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Reads what is there into `received`; false at the end of the stream (or a reset).
    fn read_some(&mut self, end: Instant) -> Result<bool, String> {
        let mut chunk = [0; 65536];
        loop {
            let result = match &mut self.stream {
                Stream::Tcp(s) => s.read(&mut chunk),
                Stream::Unix(s) => s.read(&mut chunk),
            };
            match result {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.received.extend_from_slice(&chunk[..n]);
                    return Ok(true);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() > end {
                        return Err(format!(
                            "nothing more within {:?}; received: {}",
                            self.patience,
                            show(&self.received)
                        ));
                    }
                }
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Reads until `enough` says how many bytes make up what is wanted, and takes those.
    fn take(&mut self, mut enough: impl FnMut(&[u8]) -> Option<usize>) -> Result<Vec<u8>, String> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(n) = enough(&self.received) {
                let rest = self.received.split_off(n);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            if !self.read_some(end)? {
                return Err(format!(
                    "connection closed; received: {}",
                    show(&self.received)
                ));
            }
        }
    }

    /// Reads exactly `n` bytes.
    #[track_caller]
    pub fn read(&mut self, n: usize) -> Vec<u8> {
        match self.take(|b| (b.len() >= n).then_some(n)) {
            Ok(bytes) => bytes,
            Err(e) => panic!("wanted {n} bytes, but {e}"),
        }
    }

    /// Reads up to and including `suffix`.
    #[track_caller]
    pub fn read_until(&mut self, suffix: &[u8]) -> Vec<u8> {
        let mut seen = 0;
        let found = self.take(|b| {
            let from = seen;
            seen = b.len().saturating_sub(suffix.len());
            b[from..]
                .windows(suffix.len())
                .position(|w| w == suffix)
                .map(|at| from + at + suffix.len())
        });
        match found {
            Ok(bytes) => bytes,
            Err(e) => panic!("wanted …{}, but {e}", show(suffix)),
        }
    }

    /// Reads up to and including `suffix`, or to the end of the stream; true if the stream ended.
    pub fn read_until_or_closed(&mut self, suffix: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let end = Instant::now() + self.patience;
        loop {
            if self.received.ends_with(suffix) {
                return Ok((std::mem::take(&mut self.received), false));
            }
            if !self.read_some(end)? {
                return Ok((std::mem::take(&mut self.received), true));
            }
        }
    }

    /// Reads a line, without its line end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = self.read_until(b"\r\n");
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads and compares: exactly these bytes must come next.
    #[track_caller]
    pub fn expect(&mut self, want: impl AsRef<[u8]>) -> &mut Client {
        let want = want.as_ref();
        // A wrong reply may be shorter than the right one: stop at the first byte that differs.
        let result = self.take(|b| {
            let n = b.len().min(want.len());
            (n == want.len() || b[..n] != want[..n]).then_some(n)
        });
        match result {
            Ok(got) if got == want => {}
            Ok(mut got) => {
                got.append(&mut self.received);
                let at = got.iter().zip(want).take_while(|(a, b)| a == b).count();
                panic!(
                    "replies differ from byte {at} on\n  wanted {}\n  got    {}",
                    show(&want[at.saturating_sub(40)..]),
                    show(&got[at.saturating_sub(40)..])
                );
            }
            Err(e) => panic!("wanted {}, but {e}", show(want)),
        }
        self
    }

    /// Sends a request and expects exactly this reply.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>, want: impl AsRef<[u8]>) -> &mut Client {
        let request = request.as_ref();
        self.send(request);
        self.expect(want)
    }

    /// Shows that nothing else is on its way: everything sent so far has been answered.
    #[track_caller]
    pub fn fence(&mut self) -> &mut Client {
        self.ask("mn\r\n", "MN\r\n")
    }

    /// Sends `requests` from another thread while reading `want`, for pipelines larger than the socket buffers.
    #[track_caller]
    pub fn pipeline(&mut self, requests: &[u8], want: &[u8]) {
        let mut writer = self.tcp().try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(requests));
            self.expect(want);
        });
    }

    /// The other side must end the connection, without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(
            rest.is_empty(),
            "before the end of the connection came: {}",
            show(&rest)
        );
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let end = Instant::now() + self.patience;
        while self
            .read_some(end)
            .unwrap_or_else(|e| panic!("the connection stays open: {e}"))
        {}
        std::mem::take(&mut self.received)
    }

    /// Reads one reply line with its data block.
    #[track_caller]
    pub fn reply(&mut self) -> replies::Reply {
        let line = self.read_until(b"\r\n");
        let line = line[..line.len() - 2].to_vec();
        let data = replies::announced(&line).map(|n| {
            let mut block = self.read(n + 2);
            assert!(block.ends_with(b"\r\n"), "a data block without its end");
            block.truncate(n);
            block
        });
        replies::Reply { line, data }
    }

    /// Reads `VALUE`s up to `END`.
    #[track_caller]
    pub fn values(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            let reply = self.reply();
            if reply.line == b"END" {
                return values;
            }
            let words = reply.words();
            assert!(
                words.first() == Some(&&b"VALUE"[..]) && (4..=5).contains(&words.len()),
                "not a value: {}",
                show(&reply.line)
            );
            let number = |w: &[u8]| std::str::from_utf8(w).unwrap().parse::<u64>().unwrap();
            values.push(Value {
                key: words[1].to_vec(),
                flags: number(words[2]) as u32,
                cas: words.get(4).map(|w| number(w)),
                data: reply.data.unwrap(),
            });
        }
    }

    /// Sends `stats ARGS` and reads the figures.
    #[track_caller]
    pub fn stats(&mut self, args: &str) -> Vec<(String, String)> {
        let space = if args.is_empty() { "" } else { " " };
        self.send(format!("stats{space}{args}\r\n"));
        let mut stats = Vec::new();
        loop {
            let line = self.line();
            if line == "END" {
                return stats;
            }
            let (name, value) = line
                .strip_prefix("STAT ")
                .and_then(|l| l.split_once(' '))
                .unwrap_or_else(|| panic!("not a statistic: {line}"));
            stats.push((name.to_owned(), value.to_owned()));
        }
    }
}
