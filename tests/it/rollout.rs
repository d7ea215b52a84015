//! What a rollout needs of the built binary: health, readiness, an end that others have time to notice, a port that one
//! process takes over from another.
//!
//! Protects: `/readyz`, `/healthz` and `ringroad health` say what is true; after SIGTERM clients are served for as long
//! as `shutdown_delay` says, and a second signal ends it at once; while processes take a shared port over from each
//! other no client is refused or reset.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::failure::QUICK_PROBES;
use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::router::{self, Setup};
use crate::support::{eventually, http};

fn health(args: &[&str]) -> Output {
    Command::new(router::binary())
        .arg("health")
        .args(args)
        .env_remove("RINGROAD_CONFIG")
        .env_remove("RINGROAD_ADMIN")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit code and both streams.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (output.status.code(), text)
}

fn with_admin(setup: Setup) -> (Setup, SocketAddr, Port) {
    let port = Port::reserve();
    let addr = port.addr();
    (
        setup.table(&format!("[admin]\nlisten = \"{addr}\"")),
        addr,
        port,
    )
}

#[test]
fn health_says_yes_then_no_while_clients_are_still_served() {
    let server = Memcached::start();
    let setup = Setup::new([server.addr()])
        .top("drain = \"20s\"")
        .top("shutdown_delay = \"1500ms\"");
    let (setup, admin, _port) = with_admin(setup);
    let mut router = setup.start();
    let config = router.config();
    let config = ["--config", config.to_str().unwrap()];
    let admin = admin.to_string();
    let admin = ["--admin", admin.as_str()];
    // The port for clients is open before anybody is accepted.
    eventually("it is ready", || health(&admin).status.success());
    assert_eq!(said(&health(&config)), (Some(0), "ready".to_owned()));
    let live = [admin[0], admin[1], "--live"];
    assert_eq!(said(&health(&live)), (Some(0), "ok".to_owned()));
    let mut before = router.client();
    before.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    let started = Instant::now();
    router.process().signal("TERM");
    eventually("it is not ready any more", || {
        !health(&admin).status.success()
    });
    let (code, text) = said(&health(&admin));
    assert!(code == Some(1) && text.contains("draining"), "{text}");
    assert_eq!(said(&health(&live)), (Some(0), "ok".to_owned()));
    let mut after = router.client();
    after.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    before.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    assert_eq!(router.process().wait().code(), Some(0));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    assert!(
        took < Duration::from_secs(15),
        "idle clients delay the end: {took:?}"
    );
    before.expect_closed();
    after.expect_closed();
    let (code, text) = said(&health(&admin));
    assert!(
        code == Some(1) && text.contains("does not answer"),
        "{text}"
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Memcached::start();
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT")] {
        let setup = Setup::new([server.addr()])
            .top("drain = \"10m\"")
            .top("shutdown_delay = \"5m\"");
        let (setup, admin, _port) = with_admin(setup);
        let mut router = setup.start();
        let mut idle = router.client();
        idle.fence();
        router.process().signal(first);
        eventually("it is not ready any more", || {
            http::get(admin, "/readyz").0 == 503
        });
        router.process().signal(second);
        assert_eq!(router.process().wait().code(), Some(0));
        idle.expect_closed();
    }
}

#[test]
fn readiness_needs_a_server_and_health_does_not() {
    let nobody = Port::reserve();
    let server = Port::reserve();
    let setup = Setup::new([nobody.addr(), server.addr()])
        .top("workers = 2")
        .pool(QUICK_PROBES);
    let (setup, admin, _port) = with_admin(setup);
    let router = setup.start();
    eventually("it is ready, as far as it knows", || {
        http::try_get(admin, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    let mut c = router.client();
    for i in 0..50 {
        c.ask(format!("get k{i}\r\n"), "END\r\n");
    }
    let (status, why) = http::get(admin, "/readyz");
    assert_eq!((status, why.as_str()), (503, "no server is in service\n"));
    assert_eq!(http::get(admin, "/healthz"), (200, "ok\n".to_owned()));
    // One that accepts and answers is enough.
    let listener = server.listen();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = [0; 9];
            if stream.read_exact(&mut line).is_ok() && stream.write_all(b"VERSION 1\r\n").is_ok() {
                std::mem::forget(stream);
            }
        }
    });
    eventually("it is ready again", || http::get(admin, "/readyz").0 == 200);
}

#[test]
fn health_does_not_wait_for_one_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let started = Instant::now();
    let (code, text) = said(&health(&["--admin", &addr]));
    assert!(code == Some(1) && text.contains("within 2 s"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("no_admin.toml");
    std::fs::write(&config, Setup::new(["127.0.0.1:1"]).text(5999)).unwrap();
    let (code, text) = said(&health(&["--config", config.to_str().unwrap()]));
    assert!(code == Some(1) && text.contains("[admin]"), "{text}");
}

/// Connects, asks and leaves, again and again.
fn come_and_go(addr: SocketAddr, stop: &AtomicBool, served: &AtomicU64) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let outcome = TcpStream::connect(addr).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"mn\r\n")?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        });
        match outcome {
            Ok(answer) if answer == *b"MN\r\n" => {
                served.fetch_add(1, Ordering::Relaxed);
            }
            other => wrong.push(format!("{other:?} after {:?}", started.elapsed())),
        }
    }
    wrong
}

#[test]
fn a_shared_port_is_taken_over_without_a_client_noticing() {
    let server = Memcached::start();
    let port = Port::reserve();
    let admin = Port::reserve();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    let listen = format!("{{ tcp = \"{}\", reuse_port = true }}", port.addr());
    let text = format!(
        "listen = [{listen}]\nworkers = 2\n[admin]\nlisten = \"{}\"\n[pools.cache]\nservers = [\"{}\"]\n",
        admin.addr(),
        server.addr()
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        let mut command = Command::new(router::binary());
        command.arg("run").arg("--config").arg(&config);
        let mut process = Process::start("ringroad", command).unwrap();
        let output = process.output_path();
        process.wait_ready("is ready", || {
            std::fs::read_to_string(&output).is_ok_and(|text| text.contains("is ready"))
        });
        process
    };
    let mut old = start();
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| come_and_go(port.addr(), &stop, &served)))
            .collect();
        for _ in 0..10 {
            let before = served.load(Ordering::Relaxed);
            let mut new = start();
            eventually("both serve", || {
                served.load(Ordering::Relaxed) > before + 50
            });
            old.signal("TERM");
            assert_eq!(old.wait().code(), Some(0));
            let before = served.load(Ordering::Relaxed);
            eventually("the new one serves", || {
                served.load(Ordering::Relaxed) > before + 50
            });
            std::mem::swap(&mut old, &mut new);
        }
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(wrong, [] as [&str; 0], "of {served:?}");
    println!("{served:?} connects in 10 hand-overs, all served");
    Client::connect(port.addr()).fence();
    eventually("the last one has the admin port, too", || {
        http::try_get(admin.addr(), "/readyz").is_some_and(|(status, _)| status == 200)
    });
}

#[test]
fn a_port_that_is_not_shared_is_not_taken_over() {
    let server = Memcached::start();
    let router = Setup::new([server.addr()]).start();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    let listen = format!("{{ tcp = \"{}\", reuse_port = true }}", router.addr());
    let text = format!("listen = [{listen}]\n[pools.cache]\nservers = [\"127.0.0.1:1\"]\n");
    std::fs::write(&config, text).unwrap();
    let output = Command::new(router::binary())
        .args(["run", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let (code, text) = said(&output);
    assert!(
        code == Some(1) && text.contains("does not share it"),
        "{text}"
    );
}
