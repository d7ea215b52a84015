//! A socket that the process is started with (mcrouter's `--listen-sock-fd`).
//!
//! Protects: clients that came before the process are served; the socket survives reloads and is closed at the end; what
//! can't be listened on is refused in words, with the exit code for what no other try makes better.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::process::Process;
use crate::support::router;

/// Passes its standard input on under the number 3.
const PASS_ON: &str = "exec \"$0\" \"$@\" 3<&0 0</dev/null";

/// Starts `mcrouter` with this as its descriptor 3.
fn start(passed: impl Into<OwnedFd>, args: &[&str]) -> Process {
    let mut command = Command::new("sh");
    command.arg("-c").arg(PASS_ON).arg(router::binary());
    command.arg("mcrouter").args(args);
    Process::start_with("ringroad", command, Stdio::from(passed.into())).unwrap()
}

fn write(path: &Path, server: SocketAddr) -> String {
    let json = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{server}\"]}}}}, \"route\": \"PoolRoute|A\"}}"
    );
    // At once, so that a file that is half written is not taken for the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, json).unwrap();
    std::fs::rename(new, path).unwrap();
    format!("file:{}", path.display())
}

fn any() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_listening_socket_is_taken_over_and_kept_over_reloads() {
    let servers = Memcached::several(2);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.json");
    let config = write(&path, servers[0].addr());
    let listener = any();
    let addr = listener.local_addr().unwrap();
    let mut early = Client::connect(addr);
    let args = ["--listen-sock-fd", "3", "-p", "1", "--config", &config];
    let mut process = start(listener, &args);
    early.send("version\r\n");
    assert!(early.line().starts_with("VERSION "));
    early.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(servers[0].holds("a") && !servers[1].holds("a"));
    Client::connect(addr).ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");

    write(&path, servers[1].addr());
    process.signal("HUP");
    eventually("the other server is asked", || {
        early.ask("set b 0 0 1\r\ny\r\n", "STORED\r\n");
        servers[1].holds("b")
    });
    Client::connect(addr).ask("get b\r\n", "VALUE b 0 1\r\ny\r\nEND\r\n");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let log = process.output();
    for line in ["--port has no effect", "listen=fd:3", "is ready"] {
        assert!(log.contains(line), "{line} is missing in\n{log}");
    }
    assert!(!log.contains("at the next start"), "{log}");
    // Nobody holds it any more; a process that another test starts at this moment does until it is another program.
    eventually("the socket is closed", || TcpStream::connect(addr).is_err());
}

#[test]
fn a_socket_that_is_only_bound_is_listened_on() {
    let server = Memcached::start();
    let dir = tempfile::tempdir().unwrap();
    let config = write(&dir.path().join("c.json"), server.addr());
    let args = ["--listen-sock-fd=3", "--config", &config];

    let path = dir.path().join("s");
    let unix = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    unix.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
    tcp.bind(&at.into()).unwrap();
    let at = tcp.local_addr().unwrap().as_socket().unwrap();
    let mut routers = [start(unix, &args), start(tcp, &args)];
    routers[0].wait_ready("listens on its path", || {
        std::os::unix::net::UnixStream::connect(&path).is_ok()
    });
    routers[1].wait_ready("listens on its port", || TcpStream::connect(at).is_ok());
    let mut c = Client::connect_unix(&path);
    c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    Client::connect(at).ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    for router in &mut routers {
        router.signal("TERM");
        assert_eq!(router.wait().code(), Some(0));
    }
    assert!(path.exists(), "it belongs to whoever bound it");
}

#[test]
fn what_can_t_be_listened_on_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(&dir.path().join("c.json"), "127.0.0.1:1".parse().unwrap());
    let listener = any();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let file = File::open(dir.path().join("c.json")).unwrap();
    let cases: [(OwnedFd, &str, &str); 9] = [
        (any().into(), "0", "0 is a standard stream"),
        (any().into(), "1", "1 is a standard stream"),
        (any().into(), "99", "started without a descriptor 99"),
        (any().into(), "99999999999", "no number that a descriptor"),
        (any().into(), "x", "--listen-sock-fd can't be understood"),
        (any().into(), "", "--listen-sock-fd can't be understood"),
        (file.into(), "3", "the descriptor 3 is no socket"),
        (client.into(), "3", "the descriptor 3 is a connection"),
        (unbound.into(), "3", "the descriptor 3 is not bound"),
    ];
    for (passed, number, says) in cases {
        let flag = format!("--listen-sock-fd={number}");
        let mut process = start(passed, &[&flag, "--config", &config]);
        let code = process.wait().code();
        let text = process.output();
        assert_eq!(code, Some(3), "{number}: {text}");
        assert!(text.contains("mcrouter: "), "{number}: {text}");
        assert!(text.contains(says), "{number}: {text}");
    }
    // Who only looks at a configuration needs no socket.
    let file = File::open(dir.path().join("c.json")).unwrap();
    let args = ["--listen-sock-fd=3", "--validate-config", "-f"];
    let config = config.strip_prefix("file:").unwrap();
    let mut process = start(file, &[&args[..], &[config]].concat());
    assert_eq!(process.wait().code(), Some(0), "{}", process.output());
}
