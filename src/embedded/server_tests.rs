use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as Client};
use std::time::Instant;

use super::*;

fn start(options: Options) -> Handle {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::bind(addr, options).unwrap().start().unwrap()
}

fn connect(handle: &Handle) -> Client {
    let client = Client::connect(handle.addr()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
}

/// Asks, and reads as many bytes as the reply is to have.
fn ask(client: &mut Client, request: &[u8], reply: &[u8]) {
    client.write_all(request).unwrap();
    let mut got = vec![0; reply.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(
        got.escape_ascii().to_string(),
        reply.escape_ascii().to_string()
    );
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn it_serves_until_it_is_stopped_and_leaves_the_port() {
    let handle = start(Options::default());
    let addr = handle.addr();
    let mut client = connect(&handle);
    ask(&mut client, b"set k 5 0 2\r\nhi\r\n", b"STORED\r\n");
    ask(
        &mut connect(&handle),
        b"get k\r\n",
        b"VALUE k 5 2\r\nhi\r\nEND\r\n",
    );
    assert_eq!(handle.store().len(), 1);
    handle.stop();
    assert_eq!(
        client.read(&mut [0; 10]).unwrap_or(0),
        0,
        "connections are closed"
    );
    assert!(Client::connect(addr).is_err(), "nobody listens");
    let again = Server::bind(addr, Options::default()).unwrap();
    assert_eq!(again.local_addr(), addr);
    let again = again.start().unwrap();
    ask(&mut connect(&again), b"get k\r\n", b"END\r\n");
    drop(again);
    assert!(Client::connect(addr).is_err(), "dropping stops, too");
}

#[test]
fn servers_of_one_process_have_their_own_items() {
    let handles = run_many(3, 8 << 20).unwrap();
    for (i, handle) in handles.iter().enumerate() {
        let set = format!("set k 0 0 1\r\n{i}\r\n");
        ask(&mut connect(handle), set.as_bytes(), b"STORED\r\n");
    }
    for (i, handle) in handles.iter().enumerate() {
        let reply = format!("VALUE k 0 1\r\n{i}\r\nEND\r\n");
        ask(&mut connect(handle), b"get k\r\n", reply.as_bytes());
        assert_eq!(handle.store().options().memory, 8 << 20);
    }
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let handle = start(Options {
        max_connections: 2,
        ..Options::default()
    });
    let (mut one, mut two) = (connect(&handle), connect(&handle));
    ask(&mut one, b"mn\r\n", b"MN\r\n");
    ask(&mut two, b"mn\r\n", b"MN\r\n");
    let mut refused = String::new();
    let _ = connect(&handle).read_to_string(&mut refused);
    assert_eq!(refused, "ERROR Too many open connections\r\n");
    drop(one);
    let traffic = handle.store().traffic();
    until("the place is free again", || {
        traffic.connections.load(Relaxed) == 1
    });
    ask(&mut connect(&handle), b"mn\r\n", b"MN\r\n");
    assert_eq!(traffic.rejected.load(Relaxed), 1);
    ask(&mut two, b"mn\r\n", b"MN\r\n");
}

#[test]
fn a_client_that_has_finished_sending_gets_its_replies() {
    let handle = start(Options::default());
    let mut client = connect(&handle);
    client
        .write_all(&b"version\r\nmn\r\n".repeat(1000))
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("MN\r\n").count(), 1000);
    assert_eq!(all.matches("VERSION 1.6.").count(), 1000);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let handle = start(Options::default());
    let mut slow = connect(&handle);
    let value = vec![b'v'; 500_000];
    let set = [&b"set k 0 0 500000\r\n"[..], &value, b"\r\n"].concat();
    ask(&mut slow, &set, b"STORED\r\n");
    // As many requests as the sockets take, until the server has not moved for a while. A slow machine may
    // end this early; then less is asserted, but nothing false.
    let requests = b"get k\r\n".repeat(1000);
    slow.set_nonblocking(true).unwrap();
    let mut sent = 0usize;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(300) {
        assert!(sent < 100_000_000, "the server reads without end");
        match slow.write(&requests) {
            Ok(n) => {
                sent += n;
                last = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let answered = handle.store().traffic().bytes_written.load(Relaxed);
    assert!(answered < 50_000_000, "{answered} bytes are waiting");
    // Others are served meanwhile.
    ask(&mut connect(&handle), b"mn\r\n", b"MN\r\n");
    // And everything arrives once it is read, in whole replies.
    slow.set_nonblocking(false).unwrap();
    let whole = sent / 7;
    let reply = b"VALUE k 0 500000\r\n".len() + 500_000 + b"\r\nEND\r\n".len();
    // Reading it all would take long; a part of it shows that the order holds.
    let mut got = vec![0; reply];
    for _ in 0..whole.min(100) {
        slow.read_exact(&mut got).unwrap();
        assert!(got.starts_with(b"VALUE k 0 500000\r\nvvv") && got.ends_with(b"v\r\nEND\r\n"));
    }
}

#[test]
fn an_idle_connection_takes_little_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let store = Store::new(Options::default(), clock());
        let scratch = RefCell::new(Scratch {
            input: Box::default(),
            output: Vec::new(),
        });
        let task = serve(socket, &store, &scratch);
        assert!(std::mem::size_of_val(&task) < 600);
    });
}

#[test]
fn statistics_know_the_connections() {
    let handle = start(Options::default());
    let mut client = connect(&handle);
    let mine = client.local_addr().unwrap();
    client
        .write_all(b"stats conns\r\nstats\r\nstats settings\r\nquit\r\n")
        .unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    for line in [
        format!("STAT 0:addr tcp:{}", handle.addr()),
        format!("STAT 1:addr tcp:{mine}"),
        "STAT curr_connections 1".to_owned(),
        "STAT total_connections 1".to_owned(),
        format!("STAT tcpport {}", handle.addr().port()),
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}\n{text}");
    }
    until("it is gone", || handle.store().traffic().peers().is_empty());
}
