//! A real DNS server, reconfigured while it is asked: what a cluster's DNS goes through.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ringroad::discovery::dns::{Dns, Host, IdentityWish, NoticeKind};
use ringroad::discovery::{FailureKind, Identity};

use crate::support::knot::{Knot, Pod, reverse};
use crate::{failed, members, notices, run, sightings};

const SERVICE: &str = "mc.default.svc.cluster.local";
const PORT: Option<(&str, u16)> = Some(("memcache", 11211));

fn pods(count: usize) -> Vec<Pod> {
    (0..count)
        .map(|n| Pod::new(&format!("mc-{n}"), &[&format!("127.0.1.{n}")]))
        .collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("mc-{n}=127.0.1.{n}:11211"))
        .collect()
}

fn dns(knot: &Knot) -> Dns {
    Dns::with_servers(&[knot.addr()], &[])
}

#[test]
fn a_service_with_a_named_port_is_known_by_srv_records() {
    let mut knot = Knot::start();
    let dns = dns(&knot);
    run(async {
        let ask = |name| dns.service(SERVICE, 11211, name, IdentityWish::Auto);
        assert_eq!(failed(&ask(None).await), FailureKind::NoSuchName);
        for count in [3, 5, 2] {
            knot.service(SERVICE, PORT, &pods(count));
            for name in [None, Some("memcache")] {
                let found = ask(name).await;
                assert_eq!(members(&found), expected(count));
                assert!(
                    sightings(&found)
                        .iter()
                        .all(|s| s.identity == Identity::Srv)
                );
                assert_eq!(notices(&found), []);
            }
        }
        // One pod comes back with another address, under its name.
        let mut moved = pods(3);
        moved[1].ips = vec!["127.0.1.99".parse().unwrap()];
        knot.service(SERVICE, PORT, &moved);
        assert_eq!(members(&ask(None).await)[1], "mc-1=127.0.1.99:11211");
        // None is ready: as if the Service didn't exist.
        knot.service(SERVICE, PORT, &[]);
        assert_eq!(failed(&ask(None).await), FailureKind::NoSuchName);
        // The server is gone, and comes back.
        knot.stop();
        let kind = failed(&ask(None).await);
        assert!(
            matches!(kind, FailureKind::Timeout | FailureKind::Io),
            "{kind:?}"
        );
        knot.service(SERVICE, PORT, &pods(3));
        knot.restart();
        assert_eq!(members(&ask(None).await), expected(3));
    });
}

#[test]
fn a_service_without_a_port_name_is_known_by_ptr_records() {
    let mut knot = Knot::start();
    let dns = dns(&knot);
    run(async {
        for count in [3, 5, 2] {
            knot.service(SERVICE, None, &pods(count));
            let found = dns.service(SERVICE, 11211, None, IdentityWish::Auto).await;
            assert_eq!(members(&found), expected(count));
            assert!(
                sightings(&found)
                    .iter()
                    .all(|s| s.identity == Identity::Ptr)
            );
            assert_eq!(notices(&found), []);
            let found = dns.addresses(SERVICE, 11211, IdentityWish::Auto).await;
            assert_eq!(members(&found), expected(count));
        }
        knot.retain(|(_, kind, _)| *kind != "PTR");
        let found = dns.service(SERVICE, 11211, None, IdentityWish::Auto).await;
        assert_eq!(
            members(&found),
            [
                "127.0.1.0:11211=127.0.1.0:11211",
                "127.0.1.1:11211=127.0.1.1:11211"
            ]
        );
        assert_eq!(notices(&found), [NoticeKind::IpIdentity]);
    });
}

#[test]
fn dual_stack_pods_are_one_member_each() {
    let mut knot = Knot::start();
    let dns = dns(&knot);
    let pods: Vec<Pod> = (0..3)
        .map(|n| {
            Pod::new(
                &format!("mc-{n}"),
                &[&format!("10.0.0.{n}"), &format!("fd00::{n}")],
            )
        })
        .collect();
    let expected = [
        "mc-0=10.0.0.0:11211,[fd00::]:11211",
        "mc-1=10.0.0.1:11211,[fd00::1]:11211",
        "mc-2=10.0.0.2:11211,[fd00::2]:11211",
    ];
    run(async {
        for port in [PORT, None] {
            knot.service(SERVICE, port, &pods);
            let found = dns.service(SERVICE, 11211, None, IdentityWish::Auto).await;
            assert_eq!(members(&found), expected);
        }
        let pattern = format!("mc-{{0..}}.{SERVICE}").parse().unwrap();
        assert_eq!(members(&dns.ordinals(&pattern, 11211).await), expected);
    });
}

#[test]
fn a_thousand_pods_come_over_tcp() {
    let mut knot = Knot::start();
    let ip = |n: usize| IpAddr::V4(Ipv4Addr::new(10, 1, (n / 250) as u8, (n % 250) as u8));
    // The SRV records of 1500 don't fit into any message; the PTR records give the same names.
    for (count, port, expected) in [
        (1000, None, vec![]),
        (1000, PORT, vec![]),
        (1500, PORT, vec![NoticeKind::NoSrv]),
    ] {
        let pod = |n| Pod {
            name: format!("mc-{n}"),
            ips: vec![ip(n)],
        };
        let pods: Vec<Pod> = (0..count).map(pod).collect();
        knot.service(SERVICE, port, &pods);
        let all: BTreeSet<String> = (0..count)
            .map(|n| format!("mc-{n}={}:11211", ip(n)))
            .collect();
        // A source of its own each time: what was remembered must not be needed.
        let dns = Dns::with_servers(&[knot.addr()], &[]);
        let found = run(dns.service(SERVICE, 11211, None, IdentityWish::Auto));
        assert!(
            BTreeSet::from_iter(members(&found)) == all,
            "{count} {port:?}"
        );
        assert_eq!(notices(&found), expected);
    }
}

#[test]
fn ordinals_follow_a_statefulset_up_and_down() {
    let mut knot = Knot::start();
    let dns = dns(&knot);
    let pattern = format!("mc-{{0..}}.{SERVICE}").parse().unwrap();
    let bounded = format!("mc-{{0..3}}.{SERVICE}").parse().unwrap();
    run(async {
        let found = dns.ordinals(&pattern, 11211).await;
        assert_eq!(failed(&found), FailureKind::NoSuchName);
        for count in [3, 5, 2] {
            knot.service(SERVICE, None, &pods(count));
            let found = dns.ordinals(&pattern, 11211).await;
            assert_eq!(members(&found), expected(count));
            assert!(
                sightings(&found)
                    .iter()
                    .all(|s| s.identity == Identity::Ordinal)
            );
            let found = dns.ordinals(&bounded, 11211).await;
            assert_eq!(members(&found), expected(count.min(4)));
        }
        // Three in the middle restart at once: those above are still seen.
        knot.service(SERVICE, None, &pods(8));
        assert_eq!(members(&dns.ordinals(&pattern, 11211).await), expected(8));
        let some: Vec<Pod> = pods(8)
            .drain(..)
            .filter(|p| !"mc-2 mc-3 mc-4".contains(&p.name))
            .collect();
        knot.service(SERVICE, None, &some);
        assert_eq!(members(&dns.ordinals(&pattern, 11211).await).len(), 5);
        knot.service(SERVICE, None, &[]);
        let found = dns.ordinals(&pattern, 11211).await;
        assert_eq!(failed(&found), FailureKind::NoSuchName);
    });
}

#[test]
fn short_names_are_completed_by_search_domains() {
    let mut knot = Knot::start();
    knot.service(SERVICE, PORT, &pods(2));
    let search = [
        "default.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ];
    let dns = Dns::with_servers(&[knot.addr()], &search);
    run(async {
        for name in [
            "mc",
            "mc.default",
            "mc.default.svc",
            SERVICE,
            &format!("{SERVICE}."),
        ] {
            let found = dns.service(name, 11211, None, IdentityWish::Auto).await;
            assert_eq!(members(&found), expected(2), "{name}");
        }
        let pattern = "mc-{0..}.mc".parse().unwrap();
        assert_eq!(members(&dns.ordinals(&pattern, 11211).await), expected(2));
        let found = dns.service("mc.", 11211, None, IdentityWish::Auto).await;
        // This server is nobody's for such names.
        assert_eq!(failed(&found), FailureKind::Server);
    });
}

#[test]
fn aliases_and_listed_names_resolve() {
    let mut knot = Knot::start();
    let record = |owner: &str, kind, data: &str| (owner.to_owned(), kind, data.to_owned());
    knot.set(vec![
        record("cache.example.", "CNAME", "mc.default.svc.cluster.local."),
        record("a.example.", "A", "127.0.0.1"),
        record("a.example.", "AAAA", "fd00::1"),
        record("circle.example.", "CNAME", "back.example."),
        record("back.example.", "CNAME", "circle.example."),
        record(&reverse("127.0.0.1".parse().unwrap()), "PTR", "a.example."),
    ]);
    let records = crate::support::knot::records_of(&format!("{SERVICE}."), None, &pods(2));
    knot.add(records);
    let dns = dns(&knot);
    run(async {
        let found = dns
            .service("cache.example.", 11211, None, IdentityWish::Auto)
            .await;
        assert_eq!(members(&found), expected(2));
        let found = dns
            .service("circle.example.", 11211, None, IdentityWish::Auto)
            .await;
        assert_eq!(failed(&found), FailureKind::Unusable);
        let listed = |host: &str| Host {
            name: "x".to_owned(),
            host: host.to_owned(),
            port: 11211,
        };
        let named = dns
            .names(&[listed("a.example."), listed("no.example.")])
            .await;
        let found = named[0].found.as_ref().unwrap();
        let addrs: Vec<String> = found.addrs.iter().map(|a| a.to_string()).collect();
        assert_eq!(addrs, ["127.0.0.1:11211", "[fd00::1]:11211"]);
        assert_eq!(found.valid.as_secs(), 5);
        let failure = named[1].found.as_ref().unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoSuchName);
    });
}
