//! The admin port over real sockets, with a client that writes bytes.

use super::*;
use crate::config::LogFormat;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc;

/// Takes one outcome for each reload; blocks while there is none.
type Outcomes = mpsc::Sender<Result<String, String>>;

struct Fixture {
    server: Server,
    ready: Arc<Mutex<Result<(), String>>>,
    outcomes: Outcomes,
    /// A reload has begun.
    begun: mpsc::Receiver<()>,
    log: LogHandle,
}

fn fixture(bounds: Bounds) -> Fixture {
    fixture_at("127.0.0.1:0".parse().unwrap(), bounds)
}

fn fixture_at(listen: Listen, bounds: Bounds) -> Fixture {
    let (subscriber, log) = crate::log::build("info", LogFormat::Human, false, io::sink).unwrap();
    // The handle lives as long as its subscriber.
    std::mem::forget(subscriber);
    let ready = Arc::new(Mutex::new(Ok(())));
    let (outcomes, source) = mpsc::channel();
    let source = Mutex::new(source);
    let (begins, begun) = mpsc::channel();
    let begins = Mutex::new(begins);
    let hooks = Hooks {
        alive: Arc::new(|| Ok(())),
        metrics: Arc::new(|| "# TYPE a gauge\na 1\n".to_owned()),
        members: Arc::new(|| serde_json::json!([])),
        ready: {
            let ready = Arc::clone(&ready);
            Arc::new(move || ready.lock().unwrap().clone())
        },
        stats: Arc::new(|| serde_json::json!({ "cmd_get": 7 })),
        config: Arc::new(|| "listen = [\"127.0.0.1:5000\"]\n".to_owned()),
        reload: Arc::new(move || {
            let _ = begins.lock().unwrap().send(());
            source
                .lock()
                .unwrap()
                .recv()
                .unwrap_or_else(|_| Err("gone".to_owned()))
        }),
        log: log.clone(),
    };
    let server = start_with(&listen, hooks, bounds).unwrap();
    Fixture {
        server,
        ready,
        outcomes,
        begun,
        log,
    }
}

fn tcp(server: &Server) -> std::net::SocketAddr {
    match server.listen() {
        Listen::Tcp(addr) => *addr,
        other => panic!("{other}"),
    }
}

impl Fixture {
    fn connect(&self) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(tcp(&self.server)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// Sends the bytes and returns everything until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have closed before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.ask_with(method, path, "", body)
    }

    fn ask_with(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let answer = self.raw(
            format!("{method} {path} HTTP/1.1\r\nhost: h:1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
                .as_bytes(),
        );
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (
            status.unwrap_or_else(|| panic!("{answer:?}")),
            body.to_owned(),
        )
    }
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[test]
fn pages_answer() {
    let port = fixture(Bounds::default());
    assert_eq!(port.ask("GET", "/healthz", ""), ok("ok\n"));
    assert_eq!(port.ask("GET", "/readyz?verbose", ""), ok("ready\n"));
    *port.ready.lock().unwrap() = Err("draining".to_owned());
    assert_eq!(
        port.ask("GET", "/readyz", ""),
        (503, "draining\n".to_owned())
    );
    assert_eq!(
        port.ask("GET", "/healthz", ""),
        ok("ok\n"),
        "alive, though not ready"
    );
    assert_eq!(
        port.ask("GET", "/version", ""),
        ok(concat!("ringroad ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    assert_eq!(
        port.ask("GET", "/config", ""),
        ok("listen = [\"127.0.0.1:5000\"]\n")
    );
    let (status, stats) = port.ask("GET", "/stats", "");
    assert_eq!(
        (
            status,
            serde_json::from_str::<serde_json::Value>(&stats).unwrap()["cmd_get"].as_u64()
        ),
        (200, Some(7))
    );
    assert_eq!(port.ask("HEAD", "/stats", ""), ok(""));
}

#[test]
fn an_unknown_page_lists_the_others() {
    let port = fixture(Bounds::default());
    let (status, body) = port.ask("GET", "/metricz", "");
    assert_eq!(status, 404);
    for (_, path, _) in PAGES {
        assert!(body.contains(path), "{body}");
    }
    let answer = port.raw(b"DELETE /stats HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET\r\n"),
        "{answer}"
    );
}

#[test]
fn the_log_level_is_read_and_set() {
    let port = fixture(Bounds::default());
    assert_eq!(port.ask("GET", "/log-level", ""), ok("info\n"));
    assert_eq!(port.ask("PUT", "/log-level", "debug\n"), ok("debug\n"));
    assert_eq!(port.log.get(), "debug");
    let (status, why) = port.ask("PUT", "/log-level", "loud");
    assert!(
        status == 400 && why.contains("the levels are off, error"),
        "{status} {why}"
    );
    assert_eq!(port.ask("PUT", "/log-level", &"x".repeat(5000)).0, 413);
    assert_eq!(port.log.get(), "debug");
}

#[test]
fn a_reload_answers_with_its_outcome() {
    let port = fixture(Bounds::default());
    port.outcomes.send(Ok("reloaded".to_owned())).unwrap();
    assert_eq!(port.ask("POST", "/reload", ""), ok("reloaded\n"));
    port.outcomes
        .send(Err("f.toml:1:1: wrong".to_owned()))
        .unwrap();
    assert_eq!(
        port.ask("POST", "/reload", ""),
        (422, "f.toml:1:1: wrong\n".to_owned())
    );
    assert_eq!(
        port.ask("GET", "/reload", "").0,
        405,
        "a GET changes nothing"
    );
}

#[test]
fn one_reload_at_a_time_and_the_port_stays_alive() {
    let port = fixture(Bounds {
        reload_time: Duration::from_millis(50),
        ..Bounds::default()
    });
    assert_eq!(port.ask("POST", "/reload", "").0, 504, "no outcome yet");
    assert_eq!(
        port.ask("POST", "/reload", "").0,
        409,
        "the first one still runs"
    );
    assert_eq!(port.ask("GET", "/healthz", "").0, 200);
    port.outcomes.send(Ok("first".to_owned())).unwrap();
    port.outcomes.send(Ok("second".to_owned())).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while port.ask("POST", "/reload", "") != ok("second\n") {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn a_foreign_web_page_can_t_change_anything() {
    let port = fixture(Bounds::default());
    assert_eq!(
        port.ask_with(
            "PUT",
            "/log-level",
            "origin: http://evil.example\r\n",
            "off"
        )
        .0,
        403
    );
    assert_eq!(
        port.ask_with("POST", "/reload", "origin: null\r\n", "").0,
        403
    );
    assert_eq!(port.log.get(), "info");
    assert_eq!(
        port.ask_with("PUT", "/log-level", "origin: http://h:1\r\n", "warn")
            .0,
        200,
        "a page of its own may"
    );
}

#[test]
fn nonsense_and_oversize_are_refused() {
    let port = fixture(Bounds::default());
    assert!(port.raw(b"get mykey\r\n\r\n").starts_with("HTTP/1.1 400"));
    let long = format!("GET /stats HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let answer = port.raw(long.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many = format!("GET /stats HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
    let answer = port.raw(many.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(port.ask("GET", "/healthz", "").0, 200);
}

#[test]
fn a_silent_connection_is_closed() {
    let short = Duration::from_millis(50);
    let port = fixture(Bounds {
        head_time: short,
        body_time: short,
        ..Bounds::default()
    });
    // `raw` returns when the server closes.
    let answer = port.raw(b"GET /stats HT");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    let answer = port.raw(b"PUT /log-level HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\ndeb");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let port = fixture(Bounds {
        lifetime: short,
        ..Bounds::default()
    });
    assert_eq!(port.raw(b""), "");
}

const GET_HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

#[test]
fn connections_are_bounded() {
    let port = fixture(Bounds {
        connections: 1,
        ..Bounds::default()
    });
    // One that asks nothing makes room for the next.
    let mut idle = port.connect();
    assert!(port.raw(GET_HEALTH).starts_with("HTTP/1.1 200"));
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
    // One whose request is being answered does not.
    let mut busy = port.connect();
    busy.write_all(b"POST /reload HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .unwrap();
    port.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    let answer = port.raw(b"");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("too many connections\n"),
        "{answer}"
    );
    port.outcomes.send(Ok("done".to_owned())).unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !port.raw(GET_HEALTH).starts_with("HTTP/1.1 200") {
        assert!(std::time::Instant::now() < deadline, "the slot comes back");
    }
}

#[test]
fn dropping_it_frees_the_port_even_during_a_reload() {
    let port = fixture(Bounds {
        reload_time: Duration::from_millis(10),
        ..Bounds::default()
    });
    assert_eq!(port.ask("POST", "/reload", "").0, 504);
    let addr = tcp(&port.server);
    drop(port.server);
    TcpListener::bind(addr).unwrap();
    drop(port.outcomes);
}

#[test]
fn the_reference_lists_the_pages() {
    let rows: String = PAGES
        .iter()
        .map(|(methods, path, what)| format!("| `{methods} {path}` | {what} |\n"))
        .collect();
    let reference = include_str!("../docs/config.md");
    assert!(reference.contains(&rows), "the pages should be\n\n{rows}");
}

#[test]
fn a_unix_socket_is_served_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    // Left by a process that is gone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen: Listen = format!("unix:{}", path.display()).parse().unwrap();
    let port = fixture_at(listen.clone(), Bounds::default());
    assert_eq!(client::get(&listen, "/readyz").unwrap(), "ready\n");
    *port.ready.lock().unwrap() = Err("not yet".to_owned());
    let (status, text) = client::ask(&listen, "/readyz", Duration::from_secs(20)).unwrap();
    assert_eq!((status.as_u16(), &*text), (503, "not yet\n"));
    let taken = bind(&listen).err().unwrap();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    drop(port);
    assert!(!path.exists());
}
