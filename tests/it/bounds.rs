//! What one router may be asked for at a time, and what happens at each bound.
//!
//! Protects: a bound is met by those who ask for too much and by nobody else. Gets of many keys by many clients
//! are no overload; memory that clients make the router hold is bounded and given back; reports are served in
//! turn with other clients' requests; without enough files for all clients there are enough for the servers.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::QUICK_PROBES;
use crate::support::client::Client;
use crate::support::router::{Cluster, Ringroad, Setup};
use crate::support::scripted::{Act, Scripted};
use crate::support::{SetOnDrop, eventually};

const MIB: u64 = 1 << 20;

/// The queue for a server counts lines, and a line carries many keys.
#[test]
fn long_gets_of_many_clients_are_all_answered() {
    const KEYS: usize = 500;
    const CLIENTS: usize = 20;
    let cluster = Cluster::with(1, |s| s.top("workers = 1").pool("timeout = \"20s\""));
    let (mut sets, mut gets, mut want) = (String::new(), "get".to_owned(), String::new());
    for i in 0..KEYS {
        sets += &format!("set k{i} 0 0 10\r\n0123456789\r\n");
        gets += &format!(" k{i}");
        want += &format!("VALUE k{i} 0 10\r\n0123456789\r\n");
    }
    gets += "\r\n";
    want += "END\r\n";
    cluster.client().ask(sets, "STORED\r\n".repeat(KEYS));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| cluster.client()).collect();
    // The router learns that these clients' values are small and may be asked for all at once.
    for c in &mut clients {
        for _ in 0..10 {
            c.ask(&gets, &want);
        }
    }
    for round in 0..5 {
        let asked = cluster.router.stat("cmd_get");
        cluster.servers[0].process().freeze();
        for c in &mut clients {
            c.send(&gets);
        }
        eventually("the router has read all gets", || {
            cluster.router.stat("cmd_get") == asked + (CLIENTS * KEYS) as u64
        });
        cluster.servers[0].process().thaw();
        for c in &mut clients {
            c.expect(&want);
        }
        assert_eq!(cluster.router.stat("get_misses"), 0, "in round {round}");
        assert_eq!(
            cluster.router.stat("ringroad_errors"),
            0,
            "in round {round}"
        );
    }
}

fn closed(router: &Ringroad) -> u64 {
    router.stat("ringroad_closed_connections")
}

fn buffered(router: &Ringroad) -> u64 {
    router.stat("ringroad_buffered_bytes")
}

/// Clients that ask for much and read nothing make the memory bound be met; the system has it back when they have left.
#[test]
fn the_memory_of_a_spike_goes_back_to_the_system() {
    const SIZE: usize = 500_000;
    let mut cluster = Cluster::with(1, |s| s.top("workers = 1").pool("timeout = \"60s\""));
    let mut c = cluster.client();
    let value = "v".repeat(SIZE);
    c.ask(format!("set k 0 0 {SIZE}\r\n{value}\r\n"), "STORED\r\n");
    c.ask(
        "get k\r\n",
        format!("VALUE k 0 {SIZE}\r\n{value}\r\nEND\r\n"),
    );
    let before = cluster.router.process().rss_kib() * 1024;
    let mut clients: Vec<Client> = (0..40).map(|_| cluster.client()).collect();
    for c in &mut clients {
        c.send("get k\r\n".repeat(300));
    }
    eventually("much is held", || buffered(&cluster.router) > 100 * MIB);
    drop(clients);
    eventually("nothing is held", || buffered(&cluster.router) == 0);
    eventually("it is given back", || {
        cluster.router.process().rss_kib() * 1024 < before + 40 * MIB
    });
}

/// Values that wait for an earlier request's reply. The clients that make the router hold most have to go.
#[test]
fn replies_that_wait_for_their_turn_are_bounded() {
    const SIZE: usize = 150_000;
    let cluster = Cluster::with(2, |s| {
        s.top("workers = 1")
            .pool("timeout = \"60s\"")
            .table("[limits]\nworker_bytes = \"4MiB\"")
    });
    let keys = cluster.keys_by_server(1);
    let (slow, big) = (&keys[0][0], &keys[1][0]);
    let value = "v".repeat(SIZE);
    let mut bystander = cluster.client();
    bystander.ask(format!("set {big} 0 0 {SIZE}\r\n{value}\r\n"), "STORED\r\n");
    bystander.ask(format!("set {slow} 0 0 1\r\nx\r\n"), "STORED\r\n");
    let hit = format!("VALUE {big} 0 {SIZE}\r\n{value}\r\nEND\r\n");
    cluster.servers[0].process().freeze();
    // Those who wait for one value wait for 3 MiB in all, within the bound; together with the others it is 7.
    let mut clients: Vec<(usize, Client)> = (0..20)
        .map(|i| {
            let many = i % 4 + 1;
            let mut c = cluster.client();
            c.send(format!(
                "get {slow}\r\n{}",
                format!("get {big}\r\n").repeat(many)
            ));
            (many, c)
        })
        .collect();
    eventually("some clients are closed", || closed(&cluster.router) > 0);
    eventually("what is held is within the bound", || {
        bystander.ask(format!("get {big}\r\n"), &hit);
        buffered(&cluster.router) <= 4 * MIB
    });
    cluster.servers[0].process().thaw();
    let mut gone = 0;
    for (many, c) in &mut clients {
        let want = format!("VALUE {slow} 0 1\r\nx\r\nEND\r\n{}", hit.repeat(*many));
        c.try_send("mn\r\n").ok();
        let (got, ended) = c.read_until_or_closed(b"END\r\nMN\r\n").unwrap();
        if !ended {
            assert!(got == (want + "MN\r\n").as_bytes(), "a client that stayed");
            continue;
        }
        gone += 1;
        assert!(got.is_empty(), "the first reply was not there yet");
        assert!(*many > 1, "closed, though others held more");
    }
    assert!(gone < 15, "{gone} clients are gone");
    assert_eq!(closed(&cluster.router), gone);
    eventually("nothing is held any more", || {
        buffered(&cluster.router) == 0
    });
}

/// Requests whose end does not come: half a value, half a line.
#[test]
fn unfinished_requests_are_bounded() {
    let block = "v".repeat(900_000);
    for half in [
        format!("set k 0 0 1000000\r\n{block}"),
        format!("get {}", "key ".repeat(220_000)),
    ] {
        let cluster = Cluster::with(1, |s| {
            s.top("workers = 1")
                .table("[limits]\nworker_bytes = \"8MiB\"")
        });
        let mut bystander = cluster.client();
        bystander.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        let mut clients = Vec::new();
        for _ in 0..30 {
            let mut c = cluster.client();
            let _ = c.try_send(&half);
            clients.push(c);
        }
        eventually("some clients are closed", || closed(&cluster.router) >= 20);
        eventually("what is held is within the bound", || {
            bystander.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
            buffered(&cluster.router) <= 8 * MIB
        });
        // Itself, and the one that asks.
        eventually("nine at most are left", || {
            cluster.router.stat("curr_connections") <= 2 + 9
        });
        assert!(cluster.router.stat("curr_connections") > 2, "all are gone");
        drop(clients);
        eventually("nothing is held any more", || {
            buffered(&cluster.router) == 0
        });
    }
}

/// What a failover keeps in order to send it again.
#[test]
fn updates_that_failover_keeps_are_bounded() {
    let queue = "queue = { bytes = \"64MiB\" }";
    let hole = Scripted::start(|command| match command.verb() {
        "version" => vec![Act::Serve],
        _ => vec![Act::Ignore],
    });
    let table = format!(
        "[pools.hole]\nservers = [\"{}\"]\ntimeout = \"60s\"\n{QUICK_PROBES}\n{queue}\n\n\
         [route]\ntype = \"prefix\"\ndefault = \"cache\"\n\
         prefixes = {{ \"f:\" = {{ type = \"failover\", children = [\"hole\", \"cache\"] }} }}\n\n\
         [limits]\nworker_bytes = \"4MiB\"",
        hole.addr()
    );
    let cluster = Cluster::with(1, |s| s.top("workers = 1").pool(queue).table(&table));
    let router = &cluster.router;
    let mut bystander = cluster.client();
    let mut clients: Vec<Client> = (0..8).map(|_| cluster.client()).collect();
    let block = "v".repeat(1_000_000);
    for (i, c) in clients.iter_mut().enumerate() {
        // Those that come when there is no room are closed, perhaps before they have sent everything.
        let _ = c.try_send(format!("set f:{i} 0 0 1000000\r\n{block}\r\n"));
    }
    // What is too much for now is refused; the replies come behind that of the first, which is on its way.
    let overloaded = || router.stat("ringroad_error_overloaded");
    let mut more = cluster.client();
    let block = "v".repeat(5000);
    eventually("large values are refused", || {
        more.send(format!("set f:more 0 0 5000\r\n{block}\r\n"));
        overloaded() > 0
    });
    let held = buffered(router);
    // One value, twice, at least, as below.
    assert!(
        (2_000_000..=6 * MIB).contains(&held),
        "{held} bytes are held"
    );
    bystander.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    bystander.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    // Its connection ends at the next command: everything is sent again, to the other pool.
    hole.follow(|command| match command.verb() {
        "version" => vec![Act::Serve],
        _ => vec![Act::Close],
    });
    cluster
        .client()
        .ask("set f:small 0 0 1\r\nx\r\n", "STORED\r\n");
    let mut stored = 0;
    for c in &mut clients {
        let (got, ended) = c.read_until_or_closed(b"\r\n").unwrap();
        match got.as_slice() {
            b"STORED\r\n" => stored += 1,
            b"SERVER_ERROR router is out of memory\r\n" => {}
            _ => assert!(
                ended && got.is_empty(),
                "{:?}",
                String::from_utf8_lossy(&got)
            ),
        }
    }
    // A value that is kept is held twice, for the server and to be sent again; two of them are just the bound.
    assert!((1..8).contains(&stored), "{stored} of 8 were kept");
    drop(more);
    eventually("nothing is held any more", || buffered(router) == 0);
    let refused = overloaded();
    bystander.ask(format!("set f:more 0 0 5000\r\n{block}\r\n"), "STORED\r\n");
    assert_eq!(overloaded(), refused);
}

/// A report on the router is long work: one a client and turn, so that a client with thousands of them does not
/// keep the others waiting.
#[test]
fn a_flood_of_stats_is_served_in_turn_with_others() {
    const REPORTS: usize = 1500;
    let cluster = Cluster::with(1, |s| s.top("workers = 1"));
    let done = AtomicBool::new(false);
    let mut victim = cluster.client();
    victim.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    std::thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        let other = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::Relaxed) {
                victim.ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
                served += 1;
            }
            served
        });
        let floods: Vec<_> = (0..3)
            .map(|_| {
                let mut c = cluster.client();
                c.send("stats\r\n".repeat(REPORTS));
                scope.spawn(move || {
                    let mut last = None;
                    for report in 0..REPORTS {
                        let text = String::from_utf8(c.read_until(b"\r\nEND\r\n")).unwrap();
                        let turn: u64 = text
                            .lines()
                            .find_map(|line| line.strip_prefix("STAT ringroad_turns "))
                            .and_then(|number| number.parse().ok())
                            .expect("the number of turns");
                        assert!(
                            last.is_none_or(|last| last < turn),
                            "report {report} came in the same turn as the one before"
                        );
                        last = Some(turn);
                    }
                })
            })
            .collect();
        for flood in floods {
            assert!(flood.join().is_ok());
        }
        drop(stop);
        assert!(other.join().unwrap() > 0);
    });
}

/// Connections to servers are opened when they are needed, and clients may have come before.
#[test]
fn with_few_files_there_are_fewer_clients_and_all_servers() {
    let servers = crate::support::memcached::Memcached::several(3);
    let mut router = Setup::before(&servers)
        .top("workers = 1")
        .start_with_files(72);
    let output = router.process().output();
    assert!(
        output.contains("fewer clients than limits.max_connections") && output.contains("ulimit"),
        "{output}"
    );
    // The first connection was only to see whether it listens.
    let mut clients = vec![router.client()];
    let most = |c: &mut Client| {
        let stats = c.stats("");
        let stat = |name| stats.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let number = |name| stat(name).parse::<usize>().unwrap();
        (number("max_connections"), number("curr_connections"))
    };
    let (max, _) = most(&mut clients[0]);
    assert!((10..72).contains(&max), "{max} clients of 72 files");
    for _ in 0..100 {
        clients.push(router.client());
    }
    for c in &mut clients {
        c.send("mn\r\n");
    }
    for c in &mut clients[..max] {
        c.expect("MN\r\n");
    }
    assert_eq!(most(&mut clients[0]), (max, max));
    for i in 0..30 {
        clients[i % max].ask(format!("set k{i} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    for server in &servers {
        assert!(server.stat("curr_items") > 0);
    }
    // Those who wait are served when others have left.
    let late = clients.split_off(max);
    drop(clients);
    for mut c in late {
        c.expect("MN\r\n");
        c.ask("get k1\r\n", "VALUE k1 0 1\r\nx\r\nEND\r\n");
    }
    assert!(!router.process().output().contains("can't be accepted"));
}
