//! The driver with real sockets on loopback: what depends on the moment at which a socket says something.
//!
//! Protects: the addresses of a name are tried in turn; a client that a draining worker is given is answered what
//! it has sent already; what the old socket of a connection says after the core has given it up concerns nobody.
//!
//! Lookups are real, but the test is the one whom the driver tells of them: it hands the driver addresses of its
//! own, because no test can add a name with several addresses to the system.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config::{Config, Pool, Server, ServerAddr};
use crate::embedded::server::run_many;
use crate::stats::report::{Registry, Reporter};

/// How long anything may take that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A driver that is not running yet, and both ends of its commands.
struct Stage {
    driver: Driver,
    inbox: mpsc::UnboundedSender<Command>,
    lookups: mpsc::UnboundedReceiver<Command>,
}

fn stage(server: ServerAddr) -> Stage {
    let mut pool = Pool::new("all", vec![Server::new(server)]);
    pool.timeout = PATIENCE;
    pool.connect_timeout = Duration::from_millis(200);
    pool.tko.after = 100;
    pool.tko.probe_min = Duration::from_millis(1);
    pool.tko.probe_max = Duration::from_millis(2);
    let config = Config::single_pool(Vec::new(), pool);
    let core = Core::new(
        Arc::new(Snapshot::compile(&config).unwrap()),
        Box::new(Reporter::new(Arc::new(Registry::new(1)))),
        Arc::default(),
        1,
    );
    let (sender, inbox) = mpsc::unbounded_channel();
    let (outbox, lookups) = mpsc::unbounded_channel();
    Stage {
        driver: Driver::new(core, inbox, outbox, Arc::new(AtomicUsize::new(0))),
        inbox: sender,
        lookups,
    }
}

impl Stage {
    /// A new client; this is its side.
    fn client(&self) -> Peer<UnixStream> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let _ = self.inbox.send(Command::Client(Socket::Unix(theirs)));
        Peer::new(ours)
    }

    /// One turn, after the event loop has looked at the sockets.
    async fn turn(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = poll_fn(|cx| Poll::Ready(self.driver.poll(cx))).await;
    }

    /// Turns until the other side has received exactly this.
    async fn expect<S: Read>(&mut self, peer: &mut Peer<S>, want: &str) {
        let end = Instant::now() + PATIENCE;
        while peer.received().len() < want.len() {
            assert!(Instant::now() < end, "{:?}, not {want:?}", peer.text());
            self.turn().await;
        }
        assert_eq!(peer.text(), want);
        peer.got.clear();
    }
}

/// The test's side of a connection.
struct Peer<S> {
    stream: S,
    got: Vec<u8>,
    closed: bool,
}

impl Peer<UnixStream> {
    fn new(stream: UnixStream) -> Peer<UnixStream> {
        stream.set_nonblocking(true).unwrap();
        let got = Vec::new();
        let closed = false;
        Peer {
            stream,
            got,
            closed,
        }
    }
}

impl Peer<TcpStream> {
    /// Accepts the connection that waits.
    fn accept(listener: &TcpListener) -> Peer<TcpStream> {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let got = Vec::new();
        let closed = false;
        Peer {
            stream,
            got,
            closed,
        }
    }
}

impl<S: Read> Peer<S> {
    /// All that has come and not been taken.
    fn received(&mut self) -> &[u8] {
        let mut chunk = [0; 4096];
        while !self.closed {
            match self.stream.read(&mut chunk) {
                Ok(n) => {
                    self.closed = n == 0;
                    self.got.extend_from_slice(&chunk[..n]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
                Err(error) => panic!("{error}"),
            }
        }
        &self.got
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.received()).into_owned()
    }

    /// Waits for a running driver to send a line, or to close.
    async fn line(&mut self) -> String {
        let end = Instant::now() + PATIENCE;
        while !self.received().contains(&b'\n') && !self.closed {
            assert!(Instant::now() < end, "nothing came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let line = self.text();
        self.got.clear();
        line
    }
}

/// An address at which nothing listens.
fn refusing() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// An address at which connections are neither accepted nor refused, as long as what comes with it is kept.
fn hanging() -> (SocketAddr, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut kept = vec![listener];
    // The queue of those who wait to be accepted is full then.
    for _ in 0..4 {
        let socket = new();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr);
        kept.push(socket);
    }
    (addr.as_socket().unwrap(), kept)
}

/// Asks a driver whose server's name has these addresses to store something, until it has. Returns how many
/// requests that took, and how many lookups.
async fn attempts_with(addrs: Vec<SocketAddr>) -> (usize, usize) {
    let stage = stage(ServerAddr::Name {
        host: "localhost".to_owned(),
        port: 1,
    });
    let mut client = stage.client();
    let (inbox, mut lookups) = (stage.inbox, stage.lookups);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(stage.driver.run());
    tokio::spawn(async move {
        while let Some(Command::Resolved(id, attempt, _)) = lookups.recv().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = inbox.send(Command::Resolved(id, attempt, Ok(addrs.clone())));
        }
    });
    let mut requests = 0;
    loop {
        client.stream.write_all(b"set a 0 0 1\r\nx\r\n").unwrap();
        requests += 1;
        let lookups = count.load(Ordering::Relaxed);
        match client.line().await.as_str() {
            "STORED\r\n" => return (requests, count.load(Ordering::Relaxed)),
            _ => assert!(lookups < 10, "the good address is not tried"),
        }
    }
}

#[tokio::test]
async fn an_address_of_a_name_that_refuses_does_not_matter() {
    let cache = run_many(1, 1 << 20).unwrap();
    let good = cache[0].addr();
    let (a, b) = (refusing(), refusing());
    for addrs in [[good, a, b], [a, good, b], [a, b, good]] {
        assert_eq!(attempts_with(addrs.to_vec()).await, (1, 1));
    }
}

#[tokio::test]
async fn an_address_of_a_name_that_hangs_costs_one_attempt() {
    let cache = run_many(1, 1 << 20).unwrap();
    let good = cache[0].addr();
    let (deaf, _kept) = hanging();
    // Accepts, and says nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dumb = listener.local_addr().unwrap();
    for bad in [deaf, dumb] {
        let first = attempts_with(vec![good, bad]).await.1;
        let second = attempts_with(vec![bad, good]).await.1;
        assert_eq!(first.min(second), 1);
        assert_eq!(first.max(second), 2);
    }
    let (_, lookups) = attempts_with(vec![dumb, refusing(), deaf, good]).await;
    assert!(lookups <= 4, "{lookups} lookups");
}

/// The core gives a connection up and at once needs it again; in the same turn its old socket is looked at once
/// more, because it has become writable, too, and has come to its end.
#[tokio::test]
async fn the_old_socket_of_a_connection_is_not_heard_any_more() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut stage = stage(ServerAddr::Tcp(listener.local_addr().unwrap()));
    let mut client = stage.client();
    client.stream.write_all(b"get a\r\n").unwrap();
    stage.turn().await;
    stage.turn().await;
    let mut server = Peer::accept(&listener);
    stage.expect(&mut server, "version\r\n").await;
    server.stream.write_all(b"VERSION 1\r\n").unwrap();
    stage.expect(&mut server, "get a\r\n").await;
    server.stream.write_all(b"END\r\n").unwrap();
    stage.expect(&mut client, "END\r\n").await;

    // One that breaks soon after it was made would count as a failed attempt.
    stage.driver.epoch -= Duration::from_secs(10);
    // Nobody asked for this.
    server.stream.write_all(b"END\r\n").unwrap();
    drop(server);
    client.stream.write_all(b"set a 0 0 1\r\nx\r\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (conn, asking) = (Token::Conn(0), Token::Client(0));
    stage.driver.ready.lock().tokens = vec![conn, asking, conn];
    stage.turn().await;
    assert_eq!(stage.driver.core.stats.worker.upstream_bad_replies.get(), 1);

    stage.turn().await;
    assert_eq!(
        client.text(),
        "",
        "the request failed with the old connection"
    );
    let mut server = Peer::accept(&listener);
    stage.expect(&mut server, "version\r\n").await;
    server.stream.write_all(b"VERSION 1\r\n").unwrap();
    stage.expect(&mut server, "set a 0 0 1\r\nx\r\n").await;
    server.stream.write_all(b"STORED\r\n").unwrap();
    stage.expect(&mut client, "STORED\r\n").await;
}

/// It has connected and asked before the end was decided; only the worker hears of it late.
#[tokio::test]
async fn a_client_given_to_a_draining_worker_is_answered() {
    let cache = run_many(1, 1 << 20).unwrap();
    for late in [false, true] {
        let mut stage = stage(ServerAddr::Tcp(cache[0].addr()));
        // It keeps the worker from ending: it has sent half a request.
        let mut slow = stage.client();
        slow.stream.write_all(b"get a").unwrap();
        stage.turn().await;
        stage.turn().await;
        if late {
            let _ = stage.inbox.send(Command::Drain);
            stage.turn().await;
        }
        let mut client = stage.client();
        client
            .stream
            .write_all(b"mn\r\nset a 0 0 1\r\nx\r\n")
            .unwrap();
        if !late {
            let _ = stage.inbox.send(Command::Drain);
        }
        stage.expect(&mut client, "MN\r\nSTORED\r\n").await;
        stage.turn().await;
        assert!(client.received().is_empty() && client.closed);

        let mut silent = stage.client();
        stage.turn().await;
        assert!(silent.received().is_empty() && silent.closed);
        slow.stream.write_all(b"\r\n").unwrap();
        stage.expect(&mut slow, "VALUE a 0 1\r\nx\r\nEND\r\n").await;
    }
}
