//! A new configuration while requests are under way.
//!
//! Protects: SIGHUP, a changed file and a swapped symlink all lead to a reload; a good one takes effect without
//! dropping a connection or losing a request; a bad one changes nothing, and the log says what is wrong with it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::client::Client;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::{Ringroad, Setup};
use crate::support::{SetOnDrop, eventually};

/// Two sets of servers and a router that starts with the first.
struct Bench {
    old: Vec<Memcached>,
    new: Vec<Memcached>,
    router: Ringroad,
}

impl Bench {
    fn start() -> Bench {
        let old = Memcached::several(2);
        let new = Memcached::several(2);
        let router = Setup::before(&old).top("workers = 2").start();
        Bench { old, new, router }
    }

    fn setup(servers: &[Memcached]) -> Setup {
        Setup::before(servers).top("workers = 2")
    }

    /// Which set a key that is stored now goes to.
    fn goes_to_new(&self, c: &mut Client) -> bool {
        // A key of its own each time: a reload may come at any moment, also just after this.
        static PROBES: AtomicU64 = AtomicU64::new(0);
        let key = format!("probe{}", PROBES.fetch_add(1, Ordering::Relaxed));
        c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        let new = self.new.iter().filter(|s| s.holds(&key)).count();
        let old = self.old.iter().filter(|s| s.holds(&key)).count();
        assert_eq!(new + old, 1, "{key} is on {new} new and {old} old servers");
        new == 1
    }
}

/// Sets and gets without pause and without a single error, across reloads, on one connection each.
fn under_traffic(bench: &Bench, clients: usize, change: impl FnOnce(&dyn Fn(u64))) {
    let done = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        let threads: Vec<_> = (0..clients)
            .map(|i| {
                let (mut c, done, count) = (bench.router.client(), &done, &count);
                scope.spawn(move || {
                    let mut n = 0;
                    while !done.load(Ordering::Relaxed) {
                        // A reload may come between the set and the get: then the other set of servers is asked.
                        c.ask(format!("set t{i} 0 0 8\r\n{n:08}\r\n"), "STORED\r\n");
                        c.send(format!(
                            "get t{i} none\r\nmn\r\nset t{i} 0 0 8 noreply\r\n{n:08}\r\n"
                        ));
                        for value in c.values() {
                            assert_eq!(value.key, format!("t{i}").as_bytes());
                        }
                        c.expect("MN\r\n");
                        n += 1;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    c.fence();
                })
            })
            .collect();
        let progress = |more: u64| {
            let from = count.load(Ordering::Relaxed);
            eventually("traffic flows", || {
                count.load(Ordering::Relaxed) >= from + more
                    || threads.iter().any(|t| t.is_finished())
            });
        };
        progress(100);
        change(&progress);
        progress(100);
        drop(stop);
        for thread in threads {
            assert!(
                thread.join().is_ok(),
                "a client lost a request or its connection"
            );
        }
    });
}

#[test]
fn sighup_applies_a_new_configuration_under_traffic() {
    let mut bench = Bench::start();
    let pid = bench.router.process().pid();
    let mut c = bench.router.client();
    assert!(!bench.goes_to_new(&mut c));
    under_traffic(&bench, 6, |progress| {
        for round in 0..6 {
            let to_new = round % 2 == 0;
            let servers = if to_new { &bench.new } else { &bench.old };
            bench.router.write_config(&Bench::setup(servers));
            bench.router.hup();
            let mut c = bench.router.client();
            eventually("the new servers are used", || {
                bench.goes_to_new(&mut c) == to_new
            });
            progress(50);
        }
    });
    // The connection from before the reloads still lives, and speaks to the servers of now.
    assert!(!bench.goes_to_new(&mut c));
    assert!(bench.router.process().is_running());
    assert_eq!(bench.router.process().pid(), pid);
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let bench = Bench::start();
    let mut c = bench.router.client();
    assert!(!bench.goes_to_new(&mut c));
    under_traffic(&bench, 2, |_| {
        bench.router.write_config(&Bench::setup(&bench.new));
        eventually("the changed file is applied", || bench.goes_to_new(&mut c));
    });
}

#[test]
fn a_swapped_symlink_is_noticed_as_a_mounted_configmap_makes_it() {
    let old = Memcached::several(2);
    let new = Memcached::several(2);
    let port = Port::reserve();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    // ringroad.toml -> ..data/ringroad.toml, ..data -> a directory for each version.
    for (version, servers) in [("..2026_01", &old), ("..2026_02", &new)] {
        std::fs::create_dir(path.join(version)).unwrap();
        let text = Bench::setup(servers).text(port.number());
        std::fs::write(path.join(version).join("ringroad.toml"), text).unwrap();
    }
    swap(&path, "..2026_01");
    let config = path.join("ringroad.toml");
    std::os::unix::fs::symlink("..data/ringroad.toml", &config).unwrap();
    let router = Ringroad::run(&config, port, dir);
    let bench = Bench { old, new, router };
    let mut c = bench.router.client();
    assert!(!bench.goes_to_new(&mut c));
    swap(&path, "..2026_02");
    eventually("the swapped symlink is applied", || {
        bench.goes_to_new(&mut c)
    });
}

/// Points `..data` elsewhere in one step, as the kubelet does.
fn swap(dir: &Path, version: &str) {
    std::os::unix::fs::symlink(version, dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let mut bench = Bench::start();
    let mut c = bench.router.client();
    let good = Bench::setup(&bench.new).text(bench.router.addr().port());
    let bad: [(&str, String); 6] = [
        ("severs", good.replace("servers =", "severs =")),
        (
            "timeout",
            good.clone() + "\n[pools.cache.extra]\ntimeout = 1\n",
        ),
        ("TOML", "this is not TOML at all [[[".to_owned()),
        ("pools", "listen = [\"127.0.0.1:1\"]\n".to_owned()),
        (
            "not-an-address",
            good.replace("servers = [", "servers = [\"not-an-address::::\", "),
        ),
        ("workers", good.replace("workers = 2", "workers = \"many\"")),
    ];
    for (word, text) in &bad {
        let before = bench.router.process().output().len();
        std::fs::write(bench.router.config(), text).unwrap();
        bench.router.hup();
        // The log says what is wrong, with the place.
        eventually("the log reports the bad configuration", || {
            let output = bench.router.process().output();
            output[before..].contains("ringroad.toml:") && output[before..].contains(word)
        });
        assert!(
            !bench.goes_to_new(&mut c),
            "a bad configuration was applied:\n{text}"
        );
    }
    assert!(bench.router.process().is_running());
    // A good one after all those is applied.
    std::fs::write(bench.router.config(), &good).unwrap();
    bench.router.hup();
    eventually("the good configuration is applied", || {
        bench.goes_to_new(&mut c)
    });
}

#[test]
fn a_file_that_disappears_changes_nothing() {
    let mut bench = Bench::start();
    let mut c = bench.router.client();
    let before = bench.router.process().output().len();
    std::fs::remove_file(bench.router.config()).unwrap();
    bench.router.hup();
    eventually("the log says that the file is gone", || {
        bench.router.process().output()[before..].contains("ringroad.toml")
    });
    assert!(!bench.goes_to_new(&mut c));
    assert!(bench.router.process().is_running());
}

#[test]
fn settings_of_clients_change_for_connections_that_exist() {
    let bench = Bench::start();
    let mut c = bench.router.client();
    c.ask("flush_all\r\n", "SERVER_ERROR flush_all is disabled\r\n");
    bench
        .router
        .write_config(&Bench::setup(&bench.old).top("flush_all = true"));
    bench.router.hup();
    eventually("flush_all is allowed", || {
        c.send("flush_all\r\n");
        c.line() == "OK"
    });
}
