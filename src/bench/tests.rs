//! The generator as a whole, against endpoints that behave, and against scripted ones that do not.
//!
//! What must hold: every request is counted once, as answered or as lost; nothing hangs, whatever the
//! endpoint does; a wrong answer is never taken for a right one. The well-behaved endpoint is a real
//! memcached; where none is installed those tests say so and do nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

fn args(target: &str, options: &str) -> Args {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }
    let line = ["bench", "--target", target].into_iter();
    let cli: Cli = clap::Parser::parse_from(line.chain(options.split_whitespace()));
    cli.args
}

/// An endpoint that runs `script` on every connection, in a thread of its own.
fn endpoint(script: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

/// Answers each command line with what `answer` makes of it, until the peer or `answer` ends it.
fn answer_lines(stream: TcpStream, mut answer: impl FnMut(&str) -> Option<Vec<u8>>) {
    let mut out = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        match answer(&line) {
            Some(bytes) if out.write_all(&bytes).is_ok() => {}
            _ => return,
        }
    }
}

fn measured(address: SocketAddr, options: &str) -> Report {
    measure(&args(&address.to_string(), options)).unwrap()
}

/// A memcached on a unix socket and a TCP port, ended with the test.
struct Memcached {
    child: Child,
    target: String,
    _dir: tempfile::TempDir,
}

impl Memcached {
    fn start(unix: bool) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let mut command = Command::new("memcached");
        // Root must name a user; for others the option is ignored.
        command.args(["-u", "root", "-t", "1", "-U", "0"]);
        let target = if unix {
            command.arg("-s").arg(&path);
            format!("unix:{}", path.display())
        } else {
            command.args(["-l", "127.0.0.1", "-p", &port.to_string()]);
            format!("127.0.0.1:{port}")
        };
        let child = command.stderr(Stdio::null()).spawn();
        let Ok(child) = child else {
            eprintln!("skipped: memcached is not installed");
            return None;
        };
        let started = Self {
            child,
            target,
            _dir: dir,
        };
        let parsed: Target = started.target.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Address::find(&parsed).is_err() {
            assert!(Instant::now() < deadline, "memcached does not come up");
            std::thread::yield_now();
        }
        Some(started)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_kind_of_request_is_answered_and_checked_by_memcached() {
    let Some(server) = Memcached::start(false) else {
        return;
    };
    let options = "--prefill --check --requests 20k --keys 500 --connections 8 --threads 2 --depth 8 \
        --multi 7 --value-size 33-300=9,100k=1 --distribution zipf:0.9 \
        --mix get=4,gets=1,set=2,delete=1,incr=1,touch=1,mg=1,ms=1";
    let report = measure(&args(&server.target, options)).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.requests, 20_000);
    assert_eq!(report.prefill.as_ref().map(|p| p.stored), Some(1000));
    assert_eq!(report.kinds.len(), 8);
    for kind in &report.kinds {
        let keys = if kind.kind.starts_with("get") { 7 } else { 1 };
        assert!(kind.requests > 0, "{kind:?}");
        assert_eq!(kind.hits + kind.misses, keys * kind.requests, "{kind:?}");
        assert!(kind.hits > 0, "{kind:?}");
        assert!(kind.latency_us.p50 > 0.0, "{kind:?}");
    }
    let sum: u64 = report.kinds.iter().map(|kind| kind.requests).sum();
    assert_eq!(sum, report.requests);
    assert!(report.text().contains("errors       none"));
}

#[test]
fn a_unix_socket_is_an_endpoint_too() {
    let Some(server) = Memcached::start(true) else {
        return;
    };
    let report = measure(&args(
        &server.target,
        "--prefill --check --requests 500 --keys 50",
    ))
    .unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!((report.requests, report.kinds[0].hits), (500, 500));
}

#[test]
fn values_that_something_else_stored_do_not_pass_the_check() {
    let Some(server) = Memcached::start(false) else {
        return;
    };
    // Too short to describe themselves: what another program stores looks no better.
    let fill = args(
        &server.target,
        "--prefill --requests 1 --keys 10 --value-size 20",
    );
    measure(&fill).unwrap();
    let check = measure(&args(&server.target, "--check --requests 100 --keys 10"));
    assert!(matches!(check, Err(Error::WrongAnswer(_))), "{check:?}");
}

#[test]
fn an_endpoint_that_closes_after_each_request_loses_them_all() {
    let address = endpoint(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
    });
    let report = measured(address, "--requests 12 --connections 3");
    assert_eq!(report.requests, 0);
    assert_eq!(report.errors.lost_requests, 12);
    assert!(report.errors.closed + report.errors.broken >= 12);
}

#[test]
fn an_endpoint_that_closes_at_once_is_given_up() {
    let address = endpoint(drop);
    let result = measure(&args(&address.to_string(), "--requests 1m --timeout 100ms"));
    assert!(matches!(result, Err(Error::Gone { .. })), "{result:?}");
}

#[test]
fn a_silent_endpoint_is_given_up() {
    let address = endpoint(|mut stream| {
        // Reads on, so that the connection stays open.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let result = measure(&args(&address.to_string(), "--requests 1m --timeout 100ms"));
    assert!(matches!(result, Err(Error::Gone { .. })), "{result:?}");
}

#[test]
fn rubbish_is_counted_and_shown() {
    let address = endpoint(|stream| {
        answer_lines(stream, |_| {
            Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())
        });
    });
    let report = measured(address, "--requests 6 --connections 2 --depth 3");
    assert_eq!(report.requests, 0);
    assert_eq!(report.errors.lost_requests, 6);
    assert!(report.errors.rubbish >= 2);
    assert!(report.text().contains("HTTP/1.1 400"), "{}", report.text());
}

#[test]
fn answers_to_something_else_are_rubbish() {
    for reply in [
        "STORED\r\n",
        "5\r\n",
        "EN\r\n",
        "END\r\nEND\r\n",
        "VA 1 k\r\nx\r\n",
    ] {
        let address = endpoint(move |stream| answer_lines(stream, |_| Some(reply.into())));
        let report = measured(address, "--requests 4 --connections 1");
        assert!(report.errors.rubbish > 0, "{reply}: {:?}", report.errors);
        assert_eq!(report.requests + report.errors.lost_requests, 4, "{reply}");
    }
}

#[test]
fn errors_are_counted_by_kind_and_keep_the_connection() {
    let address = endpoint(|stream| {
        let mut count = 0;
        answer_lines(stream, |_| {
            count += 1;
            let reply: &[u8] = match count % 3 {
                0 => b"ERROR\r\n",
                1 => b"CLIENT_ERROR no\r\n",
                _ => b"SERVER_ERROR out of memory\r\n",
            };
            Some(reply.to_vec())
        });
    });
    let report = measured(address, "--requests 30 --connections 1");
    let errors = &report.errors;
    assert_eq!(
        (errors.error, errors.client_error, errors.server_error),
        (10, 10, 10)
    );
    assert_eq!((errors.closed, errors.lost_requests), (0, 0));
    assert_eq!((report.requests, report.kinds[0].errors), (30, 30));
}

/// The answer to `get KEY`: the right value under `key`.
fn value(asked: &str, key: &str) -> Vec<u8> {
    let keys = keys::KeySpace::new("bench:", 24, 10_000).unwrap();
    let values = keys::Values::new(100, 24);
    let index = keys.index_of(asked.as_bytes()).unwrap();
    let mut reply = format!("VALUE {key} 0 100\r\n").into_bytes();
    values.push(&keys, index, 100, &mut reply);
    reply.extend_from_slice(b"\r\nEND\r\n");
    reply
}

#[test]
fn a_value_for_a_key_that_was_not_asked_is_never_a_hit() {
    let address = endpoint(|stream| {
        answer_lines(stream, |line| {
            let key = line.strip_prefix("get ")?;
            // Another key of the same form.
            let other = if key.ends_with('1') {
                "bench:k00000000000000002"
            } else {
                "bench:k00000000000000001"
            };
            Some(value(key, other))
        });
    });
    let report = measured(address, "--requests 4 --connections 1");
    assert_eq!((report.requests, report.errors.wrong_key), (0, 4));
    let check = measure(&args(&address.to_string(), "--requests 4 --check"));
    assert!(matches!(check, Err(Error::WrongAnswer(_))), "{check:?}");
}

#[test]
fn another_keys_value_under_the_right_key_fails_the_check() {
    let address = endpoint(|stream| {
        answer_lines(stream, |line| {
            let key = line.strip_prefix("get ")?;
            let other = if key.ends_with('1') {
                "bench:k00000000000000002"
            } else {
                "bench:k00000000000000001"
            };
            Some(value(other, key))
        });
    });
    let report = measured(address, "--requests 4 --connections 1");
    assert_eq!(report.kinds[0].hits, 4, "not seen without --check");
    let check = measure(&args(&address.to_string(), "--requests 4 --check"));
    let text = check.unwrap_err().to_string();
    assert!(
        text.contains("WRONG ANSWER") && text.contains("bench:k"),
        "{text}"
    );
}

#[test]
fn replies_that_trickle_in_are_put_together() {
    let address = endpoint(|stream| {
        let _ = stream.set_nodelay(true);
        let mut out = stream.try_clone().unwrap();
        answer_lines(stream, |line| {
            for byte in value(line.strip_prefix("get ")?, line.strip_prefix("get ")?) {
                out.write_all(&[byte]).ok()?;
            }
            Some(Vec::new())
        });
    });
    let report = measured(address, "--requests 20 --connections 2 --depth 2 --check");
    assert_eq!(report.kinds[0].hits, 20, "{:?}", report.errors);
}

#[test]
fn an_endpoint_that_comes_back_is_used_again() {
    let connections = Mutex::new(0);
    let address = endpoint(move |stream| {
        let number = {
            let mut count = connections.lock().unwrap();
            *count += 1;
            *count
        };
        let mut left = if number < 4 { 2 } else { u32::MAX };
        answer_lines(stream, |_| {
            left = left.checked_sub(1)?;
            Some(b"END\r\n".to_vec())
        });
    });
    let report = measured(address, "--requests 100 --connections 1");
    assert_eq!(report.requests + report.errors.lost_requests, 100);
    assert!(report.requests >= 90, "{:?}", report.errors);
    assert!(report.errors.lost_requests >= 2, "{:?}", report.errors);
}

#[test]
fn a_stall_is_charged_to_every_request_that_was_due() {
    const STALL: Duration = Duration::from_millis(300);
    let first = Mutex::new(true);
    let address = endpoint(move |stream| {
        answer_lines(stream, |_| {
            if std::mem::take(&mut *first.lock().unwrap()) {
                // The stall itself is what is tested; nothing waits for it but the generator.
                std::thread::sleep(STALL);
            }
            Some(b"END\r\n".to_vec())
        });
    });
    let report = measured(address, "--rate 100 --requests 50 --connections 1");
    assert_eq!(report.requests, 50);
    // 30 requests were due during the stall, the last of them 10 ms before its end.
    let latency = &report.latency_us;
    assert!(latency.max >= 299_000.0, "{latency:?}");
    assert!(latency.p50 >= 45_000.0, "{latency:?}");
}

#[test]
fn a_rate_beyond_the_endpoints_is_reported_as_such() {
    let address = endpoint(|stream| {
        answer_lines(stream, |_| {
            std::thread::sleep(Duration::from_millis(5));
            Some(b"END\r\n".to_vec())
        });
    });
    let report = measured(address, "--rate 10k --duration 300ms --connections 2");
    let all = report.requests + report.errors.unsent_requests + report.errors.lost_requests;
    assert_eq!(
        all, 3000,
        "every due request is told of: {:?}",
        report.errors
    );
    assert!(report.requests <= 300, "{}", report.requests);
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&seen);
    let address = endpoint(move |stream| {
        answer_lines(stream, |line| {
            record.lock().unwrap().push(line.to_owned());
            Some(b"END\r\n".to_vec())
        });
    });
    let run = |seed: u32| {
        measured(
            address,
            &format!("--requests 40 --connections 1 --seed {seed}"),
        );
        std::mem::take(&mut *seen.lock().unwrap())
    };
    let (one, again, other) = (run(1), run(1), run(2));
    assert_eq!(one.len(), 40);
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[test]
fn nothing_there_is_an_error_with_advice() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = measure(&args(&free.to_string(), ""))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(&free.to_string()) && text.contains("Is the endpoint running"),
        "{text}"
    );
    let text = measure(&args("unix:/nonexistent/socket", ""))
        .unwrap_err()
        .to_string();
    assert!(text.contains("no such socket"), "{text}");
}

#[test]
fn options_that_cannot_work_together_are_refused() {
    for options in [
        "--check --value-size 10",
        "--threads 4 --connections 2",
        "--mix set=1 --multi 5",
        "--keys 1m --key-size 5",
        "--duration 0s",
        "--timeout 0s",
    ] {
        let result = measure(&args("127.0.0.1:1", options));
        assert!(
            matches!(result, Err(Error::Usage(_))),
            "{options}: {result:?}"
        );
    }
}

#[test]
fn the_report_survives_json() {
    let address = endpoint(|stream| answer_lines(stream, |_| Some(b"END\r\n".to_vec())));
    let me = std::process::id();
    let report = measured(address, &format!("--requests 50 --pid {me} --pid 4194305"));
    let json = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.requests, 50);
    assert!(back.processes[0].cpu_s.is_some());
    assert!(
        back.processes[1].cpu_s.is_none(),
        "there is no such process"
    );
}
