//! Start, listeners, drain, and the errors of the first minute.
//!
//! Protects: ringroad listens on IPv4, IPv6 and unix sockets; SIGTERM finishes what is in flight and exits 0 within
//! a bound; a bad configuration or a port in use ends it at once, with a sentence that says what to do.

use std::io::{BufRead, BufReader};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::failure::QUICK_PROBES;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::router::{self, Cluster, Setup};
use crate::support::scripted::{Act, Scripted};

fn ringroad(args: &[&str]) -> Output {
    Command::new(router::binary())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn unix_socket_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringroad.sock");
    let cluster = Cluster::with(2, |s| s.listen(&format!("unix:{}", path.display())));
    let mut c = Client::connect_unix(&path);
    c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    cluster
        .client()
        .ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    c.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    c.send("quit\r\n").expect_closed();
}

#[test]
fn a_unix_socket_left_behind_is_taken_over_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringroad.sock");
    let listen = format!("unix:{}", path.display());
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Memcached::start();
    let router = Setup::new([server.addr()]).listen(&listen).start();
    Client::connect_unix(&path).fence();
    // A second one must not steal it.
    let port = Port::reserve();
    let config = dir.path().join("second.toml");
    std::fs::write(
        &config,
        Setup::new([server.addr()])
            .listen(&listen)
            .text(port.number()),
    )
    .unwrap();
    let output = ringroad(&["run", "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    Client::connect_unix(&path).fence();
    drop(router);
}

#[test]
fn ipv6_listener() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no ::1");
        return;
    }
    let port = Port::reserve();
    let addr = SocketAddr::from((Ipv6Addr::LOCALHOST, port.number()));
    let cluster = Cluster::with(2, |s| s.listen(&addr.to_string()));
    let mut c = Client::connect(addr);
    c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n")
        .ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    cluster
        .client()
        .ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn sigterm_ends_an_idle_router_at_once_with_success() {
    let mut cluster = Cluster::start(2);
    let mut idle = cluster.client();
    idle.fence();
    let started = Instant::now();
    cluster.router.process().signal("TERM");
    let status = cluster.router.process().wait();
    assert_eq!(
        status.code(),
        Some(0),
        "{}",
        cluster.router.process().output()
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "an idle client delays the end: {:?}",
        started.elapsed()
    );
    idle.expect_closed();
}

#[test]
fn sigint_is_an_orderly_end_too() {
    let mut cluster = Cluster::start(1);
    cluster.client().fence();
    cluster.router.process().signal("INT");
    assert_eq!(cluster.router.process().wait().code(), Some(0));
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let server = Scripted::well_behaved();
    server.put("a", b"late");
    let mut router = Setup::new([server.addr()])
        .pool("timeout = \"5s\"")
        .pool(QUICK_PROBES)
        .start();
    let mut c = router.client();
    c.ask("get a\r\n", "VALUE a 0 4\r\nlate\r\nEND\r\n");
    server.follow(|command| match command.is_get() {
        true => vec![Act::Wait(Duration::from_millis(700)), Act::Serve],
        false => vec![Act::Serve],
    });
    c.send("get a\r\n");
    let asked = |server: &Scripted| {
        server
            .log()
            .iter()
            .filter(|command| command.is_get())
            .count()
    };
    eventually("the server has the request", || asked(&server) == 2);
    router.process().signal("TERM");
    let addr = router.addr();
    eventually("nothing listens any more", || {
        std::net::TcpStream::connect(addr).is_err()
    });
    c.expect("VALUE a 0 4\r\nlate\r\nEND\r\n");
    c.expect_closed();
    assert_eq!(router.process().wait().code(), Some(0));
}

/// The kernel has taken these clients in; the router learns of them and of its end at the same time.
#[test]
fn sigterm_serves_clients_that_wait_to_be_accepted() {
    for _ in 0..3 {
        let mut cluster = Cluster::with(2, |s| s.top("workers = 2"));
        cluster.client().ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        cluster.router.process().freeze();
        let mut clients: Vec<Client> = (0..100).map(|_| cluster.client()).collect();
        for c in &mut clients {
            c.send("get a\r\nmn\r\n");
        }
        cluster.router.process().signal("TERM");
        cluster.router.process().thaw();
        for c in &mut clients {
            c.expect("VALUE a 0 1\r\nx\r\nEND\r\nMN\r\n");
            c.expect_closed();
        }
        assert_eq!(cluster.router.process().wait().code(), Some(0));
    }
}

#[test]
fn sigterm_does_not_wait_longer_than_its_bound() {
    let server = Scripted::well_behaved();
    let mut router = Setup::new([server.addr()])
        .top("drain = \"500ms\"")
        .pool("timeout = \"60s\"")
        .start();
    let mut c = router.client();
    c.ask("get a\r\n", "END\r\n");
    server.follow(|command| match command.is_get() {
        true => vec![Act::Ignore],
        false => vec![Act::Serve],
    });
    c.send("get a\r\n");
    eventually("the server has the request", || {
        server.log().iter().filter(|x| x.is_get()).count() == 2
    });
    let started = Instant::now();
    router.process().signal("TERM");
    assert_eq!(router.process().wait().code(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    std::fs::write(&config, Setup::new(["127.0.0.1:11211"]).text(port)).unwrap();
    let output = ringroad(&["run", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        text.contains(&port.to_string()),
        "does not name the port: {text}"
    );
}

#[test]
fn a_bad_configuration_ends_the_start_with_its_place_and_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    let good = Setup::new(["127.0.0.1:11211"]).text(5999);
    std::fs::write(&config, good.replace("servers", "severs")).unwrap();
    for args in [["run", "--config"], ["check", ""]] {
        let mut args: Vec<&str> = args.into_iter().filter(|a| !a.is_empty()).collect();
        args.push(config.to_str().unwrap());
        let output = ringroad(&args);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{args:?} accepted a misspelt key");
        assert!(
            text.contains("ringroad.toml:5:"),
            "{args:?} does not name the line: {text}"
        );
        assert!(
            text.contains("severs") && text.contains("servers"),
            "no suggestion: {text}"
        );
    }
    std::fs::write(&config, good).unwrap();
    let output = ringroad(&["check", config.to_str().unwrap()]);
    assert!(output.status.success());
    let output = ringroad(&["run", "--config", "/no/such/file.toml"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/file.toml"));
}

#[test]
fn the_commands_explain_themselves() {
    let help = ringroad(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in ["run", "demo", "check", "explain"] {
        assert!(
            text.contains(command),
            "--help does not mention {command}:\n{text}"
        );
    }
    let version = ringroad(&["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    assert!(!ringroad(&["no-such-command"]).status.success());
}

#[test]
fn explain_names_the_server_that_really_gets_the_key() {
    let cluster = Cluster::start(3);
    let config = cluster.router.config();
    let mut c = cluster.client();
    for i in 0..20 {
        let key = format!("explained{i}");
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        let output = ringroad(&["explain", &key, "--config", config.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let owner = cluster.servers[cluster.owner(&key)].addr().to_string();
        assert!(
            text.contains(&owner),
            "{key} is on {owner}, but explain says:\n{text}"
        );
    }
}

#[test]
fn the_demo_needs_nothing_and_says_what_to_type() {
    let port = Port::reserve();
    let mut child = Command::new(router::binary())
        .args(["demo", "--listen", &port.addr().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the demo accepts", || {
        std::net::TcpStream::connect(port.addr()).is_ok()
    });
    let mut c = Client::connect(port.addr());
    c.ask("set mykey 0 0 5\r\nhello\r\n", "STORED\r\n");
    c.ask("get mykey\r\n", "VALUE mykey 0 5\r\nhello\r\nEND\r\n");
    let mut set = String::new();
    let mut want = String::new();
    for i in 0..100 {
        set += &format!("set d{i} 0 0 2\r\nhi\r\nmg d{i} v\r\n");
        want += "STORED\r\nVA 2\r\nhi\r\n";
    }
    c.ask(set, want);
    c.send("quit\r\n").expect_closed();
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -TERM {}", child.id()))
        .status();
    assert!(status.unwrap().success());
    let said: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let said = said.join("\n");
    for word in ["telnet", "get", "set", &port.number().to_string()] {
        assert!(
            said.contains(word),
            "the demo does not mention {word}:\n{said}"
        );
    }
}

#[test]
fn ctrl_c_ends_the_demo_at_once_whatever_its_clients_do() {
    let port = Port::reserve();
    let mut command = Command::new(router::binary());
    command.args(["demo", "--listen", &port.addr().to_string()]);
    let mut demo = Process::start("the demo", command).unwrap();
    demo.wait_ready("accepts connections", || {
        std::net::TcpStream::connect(port.addr()).is_ok()
    });
    let mut idle = Client::connect(port.addr());
    idle.fence();
    let mut typing = Client::connect(port.addr());
    typing.ask("mn\r\nset mykey 0 0 5\r\nhel", "MN\r\n");
    let mut deaf = Client::connect(port.addr());
    deaf.send("stats\r\n".repeat(5000));
    let started = Instant::now();
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0), "{}", demo.output());
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "took {:?}",
        started.elapsed()
    );
    idle.expect_closed();
}
