//! Short names, search domains, and a `resolv.conf` that changes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use ringroad::discovery::FailureKind;
use ringroad::discovery::dns::{Dns, Found, Host, IdentityWish};

use crate::rogue::{Reaction, Rogue};
use crate::support::PATIENCE;
use crate::{failed, members, run};

const SEARCH: [&str; 3] = [
    "default.svc.cluster.local",
    "svc.cluster.local.",
    "cluster.local",
];

async fn addresses(dns: &Dns, name: &str) -> Found {
    dns.addresses(name, 11211, IdentityWish::Ip).await
}

#[test]
fn short_names_are_found_below_the_search_domains_and_the_form_is_remembered() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            ("mc.default.svc.cluster.local.", "10.0.0.1"),
            ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
        ])
    });
    let dns = Dns::with_servers(&[server.addr()], &SEARCH);
    run(async {
        for name in [
            "mc",
            "MC.default",
            "mc.default.svc",
            "mc.default.svc.cluster.local",
        ] {
            let found = addresses(&dns, name).await;
            assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"], "{name}");
            server.take_asked();
            members(&addresses(&dns, name).await);
            assert_eq!(server.take_asked().len(), 2, "{name}");
        }
        let pattern = "mc-{0..}.mc".parse().unwrap();
        let found = dns.ordinals(&pattern, 11211).await;
        assert_eq!(members(&found), ["mc-0=10.0.0.1:11211"]);
        let listed = Host {
            name: "x".into(),
            host: "mc".into(),
            port: 1,
        };
        assert!(dns.names(&[listed]).await[0].found.is_ok());
        // A long name costs no walk through the domains, and a dot at the end forbids it.
        server.take_asked();
        for name in ["gone.default.svc.cluster.local", "mc."] {
            assert_eq!(
                failed(&addresses(&dns, name).await),
                FailureKind::NoSuchName
            );
            assert_eq!(server.take_asked().len(), 2);
        }
    });
}

/// While nothing is ready behind the right name, a wildcard further down must not take its place.
#[test]
fn a_name_that_resolved_is_not_looked_for_elsewhere() {
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = is_gone.clone();
    let server = Rogue::start(move |asked| match asked.name.as_str() {
        "mc.default.svc.cluster.local." if gone.load(Ordering::Relaxed) => {
            asked.code(ResponseCode::NXDomain)
        }
        "mc.default.svc.cluster.local." => asked.of(&[(&asked.name, "10.0.0.1")]),
        _ => asked.of(&[(&asked.name, "10.6.6.6")]),
    });
    let dns = Dns::with_servers(&[server.addr()], &SEARCH);
    run(async {
        let right = ["10.0.0.1:11211=10.0.0.1:11211"];
        assert_eq!(members(&addresses(&dns, "mc").await), right);
        is_gone.store(true, Ordering::Relaxed);
        assert_eq!(
            failed(&addresses(&dns, "mc").await),
            FailureKind::NoSuchName
        );
        is_gone.store(false, Ordering::Relaxed);
        assert_eq!(members(&addresses(&dns, "mc").await), right);
    });
}

/// What can't be known at one form is not decided by the next.
#[test]
fn a_form_that_hangs_ends_the_search() {
    let server = Rogue::start(|asked| match asked.name.as_str() {
        "mc.default.svc.cluster.local." => Reaction::Silence,
        _ => asked.of(&[(&asked.name, "10.6.6.6")]),
    });
    let dns = Dns::with_servers(&[server.addr()], &SEARCH);
    assert_eq!(failed(&run(addresses(&dns, "mc"))), FailureKind::Timeout);
    // A domain whose servers are broken, though, is passed over; and asked again the next time.
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = is_broken.clone();
    let server = Rogue::start(move |asked| match asked.name.as_str() {
        "mc.svc.cluster.local." => asked.of(&[(&asked.name, "10.0.0.1")]),
        "mc.default.svc.cluster.local." if !broken.load(Ordering::Relaxed) => {
            asked.of(&[(&asked.name, "10.0.0.2")])
        }
        _ => asked.code(ResponseCode::ServFail),
    });
    let dns = Dns::with_servers(&[server.addr()], &SEARCH);
    assert_eq!(
        members(&run(addresses(&dns, "mc"))),
        ["10.0.0.1:11211=10.0.0.1:11211"]
    );
    is_broken.store(false, Ordering::Relaxed);
    assert_eq!(
        members(&run(addresses(&dns, "mc"))),
        ["10.0.0.2:11211=10.0.0.2:11211"]
    );
    // And if nothing is found, it is said that this is not certain.
    assert_eq!(failed(&run(addresses(&dns, "gone"))), FailureKind::Server);
}

#[test]
fn a_changed_resolv_conf_is_followed() {
    let first = Rogue::start(|asked| match asked.kind {
        RecordType::A => asked.of(&[("mc.one.example.", "10.0.0.1")]),
        _ => asked.empty(),
    });
    let port = first.addr().port();
    let second = Rogue::start_at(
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
        port,
        |asked| match asked.kind {
            RecordType::A => asked.of(&[("mc.two.example.", "10.0.0.2")]),
            _ => asked.empty(),
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    let dns = Dns::from_file(&path, port);
    assert_eq!(second.addr().port(), port);
    run(async {
        assert_eq!(failed(&addresses(&dns, "mc").await), FailureKind::Io);
        let end = tokio::time::Instant::now() + PATIENCE;
        for (text, expected) in [
            (
                "nameserver 127.0.0.1\nsearch one.example\n",
                "10.0.0.1:11211=10.0.0.1:11211",
            ),
            (
                "nameserver 127.0.0.2\nsearch two.example\n",
                "10.0.0.2:11211=10.0.0.2:11211",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            loop {
                let found = addresses(&dns, "mc").await;
                if matches!(&found.answer, ringroad::discovery::Answer::Members { .. })
                    && members(&found) == [expected]
                {
                    break;
                }
                assert!(tokio::time::Instant::now() < end, "{found:?}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    });
}
