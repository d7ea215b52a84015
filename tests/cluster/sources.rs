//! Sources other than one Service: a file, a configuration endpoint, several at once; and what a reload changes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use super::kube::{Kube, SERVICE, name};
use super::load::{OnMiss, fill, keys, under_load};
use crate::support::knot::reverse;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::router::binary;
use crate::support::{eventually, wait_for};

#[test]
fn a_file_is_followed_and_a_bad_one_changes_nothing() {
    let kube = Kube::start(3);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers");
    let line = |ordinal| format!("{}={}\n", name(ordinal), kube.addr(&name(ordinal)));
    std::fs::write(&file, line(0) + &line(1)).unwrap();
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {:?}\n[pools.cache.membership]\nhold_top = \"1s\"\n",
        file.display().to_string()
    ));
    router.until_present(2);
    let keys = keys(300);
    fill(&router, &keys, "before");
    let seen = under_load(&router, &keys, OnMiss::Leave, "a bad file", |load| {
        load.phase("bad");
        for (bad, figure) in [
            (
                "mc-0=127.0.0.1:1\nmc-0=127.0.0.1:2\n",
                "discovery_failed_unusable",
            ),
            ("\u{1}\u{2} ]]", "discovery_failed_unusable"),
            ("", "discovery_failed_empty"),
        ] {
            let before = router.figure(figure);
            std::fs::write(&file, bad).unwrap();
            eventually("it is counted", || router.figure(figure) > before);
        }
        std::fs::remove_file(&file).unwrap();
        eventually("that is counted", || {
            router.figure("discovery_failed_io") > 0
        });
        load.more(500);
    });
    assert_eq!(seen["bad"].hits, seen["bad"].gets);
    assert_eq!(router.names("present").len(), 2);
    // JSON, and by a rename.
    let json: Vec<_> = (0..3)
        .map(|n| serde_json::json!({ "name": name(n), "addr": kube.addr(&name(n)).to_string() }))
        .collect();
    let new = dir.path().join("new");
    std::fs::write(&new, serde_json::json!({ "servers": json }).to_string()).unwrap();
    std::fs::rename(&new, &file).unwrap();
    router.until_present(3);
    std::fs::write(&file, line(0) + &line(1)).unwrap();
    router.until_present(2);
}

/// As ElastiCache answers: one node more at each question.
#[test]
fn a_configuration_endpoint_is_followed() {
    let kube = Kube::start(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let nodes: Vec<String> = (0..2)
        .map(|ordinal| {
            let addr = kube.addr(&name(ordinal));
            format!("{}.example|{}|{}", name(ordinal), addr.ip(), addr.port())
        })
        .collect();
    std::thread::spawn(move || {
        for (asked, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            if stream.read_line(&mut line).is_err() || line != "config get cluster\r\n" {
                continue;
            }
            let count = if asked == 0 { 1 } else { 2 };
            let text = format!("{asked}\n{}\n", nodes[..count].join(" "));
            let len = text.len();
            let _ = write!(
                stream.get_mut(),
                "CONFIG cluster 0 {len}\r\n{text}\r\nEND\r\n"
            );
        }
    });
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ endpoint = \"{endpoint}\" }}\n"
    ));
    eventually("both nodes are known", || {
        router.names("present").len() == 2
    });
    let port = kube.port();
    assert_eq!(
        router.names("present"),
        [
            format!("mc-0.example:{port}"),
            format!("mc-1.example:{port}")
        ]
    );
    fill(&router, &keys(50), "stored");
}

/// Pods of two Services that have the same names are different servers.
#[test]
fn two_sources_make_one_pool() {
    let blue = Kube::start(2);
    let green = Kube::start(2);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers");
    let addr = green.addr("mc-0");
    std::fs::write(&file, format!("mc-0={addr}\n")).unwrap();
    let port = blue.port();
    let router = blue.router_of(&format!(
        "[pools.cache]\ndiscover = [{{ service = \"{SERVICE}\", port = {port} }}, {:?}]\n",
        file.display().to_string()
    ));
    eventually("all three are known", || router.names("present").len() == 3);
    assert_eq!(
        router.names("present"),
        [
            "mc-0".to_owned(),
            format!("mc-0.{SERVICE}"),
            format!("mc-1.{SERVICE}")
        ]
    );
    fill(&router, &keys(100), "stored");
}

/// A server that has left is taken leave of: its connections are closed once nothing is under way.
#[test]
fn connections_to_a_server_that_has_left_are_closed() {
    let mut kube = Kube::start(3);
    let router = kube.router("", "");
    router.until_present(3);
    fill(&router, &keys(300), "stored");
    let connections = |kube: &Kube| -> u64 {
        let stats = kube.client("mc-2").stats("");
        let found = stats
            .into_iter()
            .find(|(name, _)| name == "curr_connections");
        found.unwrap().1.parse().unwrap()
    };
    let with_router = connections(&kube);
    kube.show((0..2).map(name));
    router.until_present(2);
    wait_for("its connections are closed", || {
        (connections(&kube) < with_router).then_some(())
    });
    fill(&router, &keys(300), "stored");
}

/// How soon a change is live; bounded loosely here, since machines are slow, and printed.
#[test]
fn a_change_is_live_when_the_time_to_live_is_over() {
    let mut kube = Kube::start(2);
    let router = kube.router("", "");
    router.until_present(2);
    for ordinal in 2..6 {
        kube.run(&name(ordinal));
        kube.show_all();
        let start = std::time::Instant::now();
        eventually("it is known", || {
            router.figure("servers") == ordinal as u64 + 1
        });
        eprintln!(
            "a change is live after {:?} (time to live 1 s)",
            start.elapsed()
        );
    }
}

/// A reload that changes where servers are found keeps the old ones until new ones are.
#[test]
fn a_reload_changes_the_source_without_a_gap() {
    let kube = Kube::start(3);
    let router = kube.router("", "");
    router.until_present(3);
    let keys = keys(300);
    fill(&router, &keys, "before");
    let config = router.ringroad.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let seen = under_load(&router, &keys, OnMiss::Leave, "another source", |load| {
        load.phase("change");
        // Nobody is there for a while, and then the same pods by their ordinals.
        let nowhere = text.replace(SERVICE, "nowhere.default.svc.cluster.local");
        std::fs::write(&config, nowhere).unwrap();
        eventually("the new source fails", || {
            router.figure("discovery_failed_no_such_name") > 0
        });
        load.more(500);
        let ordinals = text.replace(
            &format!("service = \"{SERVICE}\""),
            &format!("ordinals = \"mc-{{0..}}.{SERVICE}\""),
        );
        std::fs::write(&config, ordinals).unwrap();
        eventually("it is found by ordinals", || {
            let members = router.members();
            members.len() == 3 && members.iter().all(|member| member.identity == "ordinal")
        });
        load.more(500);
    });
    let seen = &seen["change"];
    assert_eq!((seen.failed(), seen.hits), (0, seen.gets));
}

/// `name`: whatever has none is left out, and what has one is known by it.
#[test]
fn servers_without_a_name_are_left_out_where_names_are_asked_for() {
    let mut kube = Kube::start(3).without_port_name();
    let port = kube.port();
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ service = \"{SERVICE}\", port = {port}, identity = \"name\" }}\n\
         [pools.cache.membership]\nhold_top = \"1s\"\n"
    ));
    router.until_present(3);
    assert!(
        router
            .members()
            .iter()
            .all(|member| member.identity == "ptr")
    );
    let keys = keys(300);
    fill(&router, &keys, "stored");
    // Its address has no name.
    let ip = kube.addr("mc-2").ip();
    let reverse = reverse(ip);
    kube.dns
        .retain(|record| !format!("{record:?}").contains(&reverse));
    eventually("it is left out", || router.names("present").len() == 2);
    kube.show_all();
    router.until_present(3);
    let by_ip = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ service = \"{SERVICE}\", port = {port}, identity = \"ip\" }}\n"
    ));
    eventually("all are known by their addresses", || {
        let members = by_ip.members();
        members.len() == 3 && members.iter().all(|member| member.identity == "ip")
    });
    assert_ne!(by_ip.digest(), router.digest());
}

/// Nothing has been found yet, and nothing listens yet.
#[test]
fn sigterm_during_the_first_lookups_ends_it_at_once() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringroad.toml");
    let port = Port::reserve();
    let text = format!(
        "listen = [\"{}\"]\n[pools.cache]\ndiscover = \"{SERVICE}\"\n[dns]\nservers = [\"{}\"]\n",
        port.addr(),
        silent.local_addr().unwrap()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(&config);
    let mut process = Process::start("ringroad", command).unwrap();
    silent.recv(&mut [0; 512]).unwrap();
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}
