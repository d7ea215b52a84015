//! What well-formed answers become: members, ports, families, times to live.

use std::time::Duration;

use hickory_proto::rr::{Record, RecordType};
use ringroad::discovery::Identity;
use ringroad::discovery::dns::{Dns, Host, IdentityWish, NoticeKind};

use crate::rogue::{Reaction, Rogue, record};
use crate::{SERVICE, ask, dns, failed, members, notices, run, sightings, valid};

const PODS: &[(&str, &str)] = &[
    (SERVICE, "SRV 11211 mc-1.mc.default.svc.cluster.local."),
    (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
    (SERVICE, "10.0.0.1"),
    (SERVICE, "10.0.0.2"),
    ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
    ("mc-1.mc.default.svc.cluster.local.", "10.0.0.2"),
];

#[test]
fn targets_of_srv_records_are_the_members() {
    let server = Rogue::start(|asked| asked.of(PODS));
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["mc-0=10.0.0.1:11211", "mc-1=10.0.0.2:11211"]
    );
    assert!(
        sightings(&found)
            .iter()
            .all(|s| s.identity == Identity::Srv)
    );
    assert_eq!(notices(&found), []);
    assert_eq!(valid(&found), Duration::from_secs(30));
    // The Service has no IPv6, so its pods were not asked for any.
    let asked = server.take_asked();
    let v6 = asked.iter().filter(|a| a.kind == RecordType::AAAA);
    assert_eq!(v6.count(), 1);
}

#[test]
fn addresses_that_come_along_with_srv_records_are_not_asked_for() {
    let server = Rogue::start(|asked| {
        let Reaction::Answer(mut reply) = asked.of(PODS) else {
            unreachable!()
        };
        if asked.kind == RecordType::SRV {
            let pods = PODS.iter().filter(|(name, _)| *name != SERVICE);
            reply.add_additionals(pods.map(|(name, ip)| record(name, ip)));
        }
        Reaction::Answer(reply)
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["mc-0=10.0.0.1:11211", "mc-1=10.0.0.2:11211"]
    );
    assert_eq!(server.take_asked().len(), 3);
}

#[test]
fn a_port_name_chooses_the_srv_records_and_so_the_port() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (
                "_memcache._tcp.mc.default.svc.cluster.local.",
                "SRV 11999 mc-0.mc.default.svc.cluster.local.",
            ),
            (SERVICE, "10.0.0.1"),
            ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
        ])
    });
    let dns = dns(&server);
    run(async {
        let found = dns
            .service(SERVICE, 11211, Some("Memcache"), IdentityWish::Auto)
            .await;
        assert_eq!(members(&found), ["mc-0=10.0.0.1:11999"]);
        let found = dns
            .service(SERVICE, 11211, Some("memcached"), IdentityWish::Auto)
            .await;
        assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
        assert!(notices(&found).contains(&NoticeKind::NoSrv));
        for bad in ["", "a.b", "a b", "a\0"] {
            let found = dns
                .service(SERVICE, 11211, Some(bad), IdentityWish::Auto)
                .await;
            failed(&found);
        }
    });
}

#[test]
fn of_several_ports_the_configured_one_is_chosen_and_it_is_said() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "SRV 9150 a.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 a.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 9150 b.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11300 b.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 0 c.mc.default.svc.cluster.local."),
            ("a.mc.default.svc.cluster.local.", "10.0.0.1"),
            ("b.mc.default.svc.cluster.local.", "10.0.0.2"),
            ("c.mc.default.svc.cluster.local.", "10.0.0.3"),
        ])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["a=10.0.0.1:11211", "b=10.0.0.2:9150", "c=10.0.0.3:11211"]
    );
    assert_eq!(notices(&found), [NoticeKind::Port]);
    assert_eq!(found.notices[0].count, 3);
}

#[test]
fn a_member_with_both_families_is_one_member() {
    let zone: &[(&str, &str)] = &[
        (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
        (SERVICE, "10.0.0.1"),
        (SERVICE, "fd00::1"),
        ("mc-0.mc.default.svc.cluster.local.", "fd00::1"),
        ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
    ];
    let server = Rogue::start(|asked| asked.of(zone));
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["mc-0=10.0.0.1:11211,[fd00::1]:11211"]);
    // The same by PTR records.
    let v6 = format!("1.{}d.f.ip6.arpa.", "0.".repeat(29));
    let server = Rogue::start(move |asked| {
        asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "fd00::1"),
            (
                "1.0.0.10.in-addr.arpa.",
                "PTR Mc-0.mc.default.svc.cluster.local.",
            ),
            (&v6, "PTR mc-0.mc.default.svc.cluster.local."),
        ])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["mc-0=10.0.0.1:11211,[fd00::1]:11211"]);
    assert_eq!(sightings(&found)[0].identity, Identity::Ptr);
    assert_eq!(notices(&found), []);
}

#[test]
fn without_names_only_one_family_is_used_since_pairs_are_unknown() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "10.0.0.2"),
            (SERVICE, "fd00::1"),
            (SERVICE, "fd00::2"),
        ])
    });
    let dns = dns(&server);
    for identity in [IdentityWish::Auto, IdentityWish::Ip] {
        let found = run(dns.addresses(SERVICE, 11211, identity));
        assert_eq!(
            members(&found),
            [
                "10.0.0.1:11211=10.0.0.1:11211",
                "10.0.0.2:11211=10.0.0.2:11211"
            ]
        );
        assert!(notices(&found).contains(&NoticeKind::OtherFamily));
        let warned = notices(&found).contains(&NoticeKind::IpIdentity);
        assert_eq!(warned, identity == IdentityWish::Auto);
    }
}

#[test]
fn a_service_of_ipv6_alone_works() {
    let server = Rogue::start(|asked| asked.of(&[(SERVICE, "fd00::1"), (SERVICE, "fd00::2")]));
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        [
            "[fd00::1]:11211=[fd00::1]:11211",
            "[fd00::2]:11211=[fd00::2]:11211"
        ]
    );
}

/// Pods are asked only for addresses of the families that the Service has.
#[test]
fn targets_of_ipv6_alone_are_not_asked_for_ipv4() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "fd00::1"),
            (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
            ("mc-0.mc.default.svc.cluster.local.", "fd00::1"),
        ])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["mc-0=[fd00::1]:11211"]);
    let asked = server.take_asked();
    let v4 = asked.iter().filter(|a| a.kind == RecordType::A);
    assert_eq!(v4.count(), 1);
}

#[test]
fn one_address_without_names_looks_like_a_virtual_ip() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "10.96.7.7"),
            (
                "7.7.96.10.in-addr.arpa.",
                "PTR mc.default.svc.cluster.local.",
            ),
        ])
    });
    let dns_of = dns(&server);
    let found = run(ask(&dns_of));
    assert_eq!(members(&found), ["10.96.7.7:11211=10.96.7.7:11211"]);
    assert!(notices(&found).contains(&NoticeKind::VirtualIp));
    // Asked for as a plain name, one address is nothing special.
    let found = run(dns_of.addresses(SERVICE, 11211, IdentityWish::Auto));
    assert!(!notices(&found).contains(&NoticeKind::VirtualIp));
    // As a Service with a virtual address has it: the SRV target is the Service itself.
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "10.96.7.7"),
            (SERVICE, &format!("SRV 11211 {SERVICE}")),
        ])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["mc.default.svc.cluster.local=10.96.7.7:11211"]
    );
    assert_eq!(notices(&found), [NoticeKind::VirtualIp]);
}

#[test]
fn times_to_live_are_the_least_of_the_records_used() {
    for (ttls, least) in [
        ([30, 20, 10], 10),
        ([5, 20, 10], 5),
        ([0, 20, 10], 0),
        ([i32::MAX as u32; 3], i32::MAX as u32),
        ([u32::MAX, 9, 9], 0),
    ] {
        let server = Rogue::start(move |asked| {
            if asked.kind != RecordType::A {
                return asked.empty();
            }
            let mut records = [
                record(SERVICE, "CNAME real.example."),
                record("real.example.", "10.0.0.1"),
                record("real.example.", "10.0.0.2"),
            ];
            for (record, ttl) in records.iter_mut().zip(ttls) {
                record.ttl = ttl;
            }
            asked.with(records)
        });
        let found = run(ask(&dns(&server)));
        assert_eq!(valid(&found), Duration::from_secs(least.into()), "{ttls:?}");
    }
}

#[test]
fn a_thousand_addresses_come_over_tcp() {
    let records = || (0..1000).map(|n| record(SERVICE, &format!("10.0.{}.{}", n / 250, n % 250)));
    let server = Rogue::start(move |asked| match asked.kind {
        RecordType::A => asked.with(records()),
        _ => asked.empty(),
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(sightings(&found).len(), 1000);
    let asked = server.take_asked();
    assert!(asked.iter().any(|a| a.is_tcp && a.kind == RecordType::A));
    assert!(asked.iter().all(|a| a.message.edns.is_some()), "EDNS is on");
    // Of a thousand addresses that had no name the last time, not all are asked for one.
    assert!(asked.iter().filter(|a| a.kind == RecordType::PTR).count() <= 16);
}

#[test]
fn hundreds_of_targets_are_resolved() {
    let target = |n: usize| format!("mc-{n}.{SERVICE}");
    let server = Rogue::start(move |asked| {
        if asked.is(SERVICE, RecordType::SRV) {
            return asked
                .with((0..500).map(|n| record(SERVICE, &format!("SRV 11211 {}", target(n)))));
        }
        let number = asked
            .name
            .strip_prefix("mc-")
            .and_then(|n| n.split('.').next());
        match number.and_then(|n| n.parse::<usize>().ok()) {
            Some(n) if asked.kind == RecordType::A => asked.with([record(
                &asked.name,
                &format!("10.0.{}.{}", n / 250, n % 250),
            )]),
            _ => asked.empty(),
        }
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(sightings(&found).len(), 500);
    assert!(sightings(&found).iter().all(|s| s.addrs.len() == 1));
    assert_eq!(notices(&found), []);
}

#[test]
fn listed_names_are_told_apart() {
    let server = Rogue::start(|asked| match asked.name.as_str() {
        "broken.example." => asked.code(hickory_proto::op::ResponseCode::ServFail),
        _ => asked.of(&[
            ("a.example.", "10.0.0.1"),
            ("a.example.", "fd00::1"),
            ("b.example.", "CNAME a.example."),
            ("a.example.", "0.0.0.0"),
        ]),
    });
    let dns = dns(&server);
    let listed = |name: &str, host: &str, port| Host {
        name: name.to_owned(),
        host: host.to_owned(),
        port,
    };
    let named = run(dns.names(&[
        listed("one", "a.example.", 1),
        listed("two", "b.example.", 2),
        listed("gone", "gone.example.", 3),
        listed("broken", "broken.example.", 4),
        listed("again", "a.example.", 5),
        listed("ip", "10.9.9.9", 6),
        listed("six", "[::1]", 7),
        listed("local", "localhost", 8),
        listed("odd", "a b", 9),
        listed("nothing", "", 10),
    ]));
    let shown: Vec<String> = named
        .iter()
        .map(|named| match &named.found {
            Ok(found) => {
                let addrs: Vec<String> = found.addrs.iter().map(|a| a.to_string()).collect();
                format!("{} {}", named.name, addrs.join(" "))
            }
            Err(failure) => format!("{} {}", named.name, failure.kind.label()),
        })
        .collect();
    assert_eq!(shown[0], "one 10.0.0.1:1 [fd00::1]:1");
    assert_eq!(shown[1], "two 10.0.0.1:2 [fd00::1]:2");
    assert_eq!(shown[2], "gone no_such_name");
    assert_eq!(shown[3], "broken server_failure");
    assert_eq!(shown[4], "again 10.0.0.1:5 [fd00::1]:5");
    assert_eq!(shown[5], "ip 10.9.9.9:6");
    assert_eq!(shown[6], "six [::1]:7");
    assert!(shown[7].starts_with("local 127.0.0.1:8"), "{}", shown[7]);
    assert_eq!(shown[8], "odd unusable");
    assert_eq!(shown[9], "nothing unusable");
    let asked = server.take_asked();
    assert!(!asked.iter().any(|a| a.name == "localhost."));
    let of_a = asked.iter().filter(|a| a.is("a.example.", RecordType::A));
    // Once for all entries of the host, and once for the alias.
    assert!(of_a.count() <= 2);
    // Servers are not needed for addresses.
    let nobody = Dns::from_file("/nonexistent/resolv.conf", 53);
    let named = run(nobody.names(&[listed("ip", "10.9.9.9", 1), listed("name", "a.example", 1)]));
    assert!(named[0].found.is_ok());
    let failure = named[1].found.as_ref().unwrap_err();
    assert_eq!(failure.kind.label(), "io");
}

#[test]
fn ordinals_are_found_by_asking_upwards() {
    let existing = |asked: &crate::rogue::Asked, which: &[u32]| -> Reaction {
        let records: Vec<Record> = which
            .iter()
            .filter(|n| asked.is(&format!("mc-{n}.{SERVICE}"), RecordType::A))
            .map(|n| record(&asked.name, &format!("10.0.0.{n}")))
            .collect();
        if records.is_empty() {
            return asked.code(hickory_proto::op::ResponseCode::NXDomain);
        }
        asked.with(records)
    };
    let pattern = format!("Mc-{{0..}}.{SERVICE}").parse().unwrap();
    let many: Vec<u32> = (0..=200).collect();
    for which in [&[0][..], &[0, 1, 2], &[1, 2], &[0, 3, 6], &many] {
        let which = which.to_vec();
        let expected: Vec<String> = which
            .iter()
            .map(|n| format!("mc-{n}=10.0.0.{n}:11211"))
            .collect();
        let highest = *which.last().unwrap() as usize;
        let server = Rogue::start(move |asked| existing(asked, &which));
        let dns = dns(&server);
        run(async {
            let found = dns.ordinals(&pattern, 11211).await;
            assert_eq!(members(&found), expected);
            assert!(
                sightings(&found)
                    .iter()
                    .all(|s| s.identity == Identity::Ordinal)
            );
            // Once the highest is known, three more are asked for, in both families.
            server.take_asked();
            assert_eq!(members(&dns.ordinals(&pattern, 11211).await), expected);
            assert_eq!(server.take_asked().len(), 2 * (highest + 1 + 3));
        });
    }
    // Beyond a gap nothing is looked for, unless the pattern says so.
    let server = Rogue::start(move |asked| existing(asked, &[0, 9]));
    let dns = dns(&server);
    let found = run(dns.ordinals(&pattern, 11211));
    assert_eq!(members(&found), ["mc-0=10.0.0.0:11211"]);
    let bounded = format!("mc-{{0..9}}.{SERVICE}").parse().unwrap();
    server.take_asked();
    let found = run(dns.ordinals(&bounded, 11211));
    assert_eq!(
        members(&found),
        ["mc-0=10.0.0.0:11211", "mc-9=10.0.0.9:11211"]
    );
    assert_eq!(server.take_asked().len(), 20);
}
