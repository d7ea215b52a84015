//! Servers that don't answer, refuse, or answer some of the questions only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use ringroad::discovery::FailureKind;
use ringroad::discovery::dns::{ASK_LIMIT, Dns, IdentityWish, LOOKUP_LIMIT, NoticeKind};

use crate::rogue::{Asked, Reaction, Rogue};
use crate::{SERVICE, ask, dns, failed, failure, members, notices, run};

#[test]
fn every_kind_of_refusal_has_its_name() {
    type Case = (fn(&Asked) -> Reaction, FailureKind);
    let cases: &[Case] = &[
        (|a| a.code(ResponseCode::NXDomain), FailureKind::NoSuchName),
        (|a| a.empty(), FailureKind::Empty),
        (|a| a.code(ResponseCode::ServFail), FailureKind::Server),
        (|a| a.code(ResponseCode::Refused), FailureKind::Server),
        (|a| a.code(ResponseCode::NotImp), FailureKind::Server),
        (|a| a.code(ResponseCode::FormErr), FailureKind::Server),
        (|a| a.code(ResponseCode::NotAuth), FailureKind::Server),
    ];
    for (react, kind) in cases {
        let server = Rogue::start(react);
        let dns = dns(&server);
        run(async {
            let found = ask(&dns).await;
            assert_eq!(failed(&found), *kind);
            assert!(failure(&found).detail.contains("mc.default.svc"));
            let found = dns.addresses(SERVICE, 11211, IdentityWish::Ip).await;
            assert_eq!(failed(&found), *kind);
            let pattern = format!("mc-{{0..}}.{SERVICE}").parse().unwrap();
            assert_eq!(failed(&dns.ordinals(&pattern, 11211).await), *kind);
        });
    }
}

/// Nobody waits for longer than it says, however silent the servers are.
#[test]
fn dead_servers_cost_a_bounded_time() {
    let silent = Rogue::start(|_| Reaction::Silence);
    let another = Rogue::start(|_| Reaction::Close);
    let third = Rogue::start(|_| Reaction::Silence);
    for servers in [
        vec![silent.addr()],
        vec![silent.addr(), another.addr(), third.addr()],
    ] {
        let dns = Dns::with_servers(&servers, &["a.example", "b.example"]);
        let began = Instant::now();
        let found = run(dns.service("mc", 11211, None, IdentityWish::Auto));
        assert_eq!(failed(&found), FailureKind::Timeout);
        // Generous to a slow machine, far below what the attempts would add up to.
        assert!(began.elapsed() < LOOKUP_LIMIT + Duration::from_secs(5));
    }
}

/// Where nobody listens there's no silence to wait for but UDP's.
#[test]
fn a_server_that_is_not_there_is_told() {
    let addr = Rogue::start(|_| Reaction::Silence).addr();
    let dns = Dns::with_servers(&[addr], &[]);
    let found = run(ask(&dns));
    let kind = failed(&found);
    assert!(
        matches!(kind, FailureKind::Timeout | FailureKind::Io),
        "{kind:?}"
    );
    assert!(failure(&found).detail.contains(&addr.to_string()));
    let nobody = Dns::with_servers(&[], &[]);
    assert_eq!(failed(&run(ask(&nobody))), FailureKind::Io);
}

/// Members that hang must not keep the others from being known.
#[test]
fn targets_that_hang_are_members_without_addresses() {
    let server = Rogue::start(|asked| {
        if asked.name.starts_with("hangs-") {
            return Reaction::Silence;
        }
        asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 gone.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 hangs-1.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 hangs-2.mc.default.svc.cluster.local."),
            ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
        ])
    });
    let began = Instant::now();
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["gone=", "hangs-1=", "hangs-2=", "mc-0=10.0.0.1:11211"]
    );
    assert_eq!(notices(&found), [NoticeKind::Unresolved]);
    assert!(began.elapsed() < ASK_LIMIT + Duration::from_secs(5));
}

#[test]
fn a_broken_server_does_not_hide_one_that_works() {
    for broken in [
        (|a: &Asked| a.code(ResponseCode::ServFail)) as fn(&Asked) -> Reaction,
        |a| a.code(ResponseCode::Refused),
        |a| Reaction::Bytes(vec![0; a.message.to_vec().unwrap().len()]),
        |_| Reaction::Silence,
    ] {
        let bad = Rogue::start(broken);
        let good = Rogue::start(|a| a.of(&[(SERVICE, "10.0.0.1"), (SERVICE, "10.0.0.2")]));
        let dns = Dns::with_servers(&[bad.addr(), good.addr()], &[]);
        run(async {
            let expected = [
                "10.0.0.1:11211=10.0.0.1:11211",
                "10.0.0.2:11211=10.0.0.2:11211",
            ];
            assert_eq!(members(&ask(&dns).await), expected);
            // From then on the one that works is asked first.
            bad.take_asked();
            assert_eq!(members(&ask(&dns).await), expected);
            assert_eq!(bad.take_asked().len(), 0);
        });
    }
}

#[test]
fn servers_from_before_edns_are_asked_without() {
    let server = Rogue::start(|asked| {
        if asked.message.edns.is_some() {
            return asked.code(ResponseCode::FormErr);
        }
        asked.of(&[(SERVICE, "10.0.0.1")])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
}

/// UDP that is dropped on the way, as behind some firewalls.
#[test]
fn tcp_is_tried_where_udp_is_silent() {
    let server = Rogue::start(|asked| match asked.is_tcp {
        true => asked.of(&[(SERVICE, "10.0.0.1")]),
        false => Reaction::Silence,
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
}

#[test]
fn one_family_is_enough_unless_the_other_was_there_before() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let server = Rogue::start(move |asked| match asked.kind {
        RecordType::AAAA if is_broken.load(Ordering::Relaxed) => asked.code(ResponseCode::ServFail),
        _ => asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "fd00::1"),
            (
                "1.0.0.10.in-addr.arpa.",
                "PTR mc-0.mc.default.svc.cluster.local.",
            ),
            (
                &format!("1.{}d.f.ip6.arpa.", "0.".repeat(29)),
                "PTR mc-0.mc.default.svc.cluster.local.",
            ),
        ]),
    });
    let dns = dns(&server);
    run(async {
        let found = ask(&dns).await;
        assert_eq!(members(&found), ["mc-0=10.0.0.1:11211"]);
        assert_eq!(notices(&found), [NoticeKind::NoFamily]);
        broken.store(false, Ordering::Relaxed);
        let found = ask(&dns).await;
        assert_eq!(members(&found), ["mc-0=10.0.0.1:11211,[fd00::1]:11211"]);
        broken.store(true, Ordering::Relaxed);
        assert_eq!(failed(&ask(&dns).await), FailureKind::Server);
    });
}

/// No addresses of one family and a failure for the other is not the same as no addresses.
#[test]
fn an_absent_family_does_not_hide_that_the_other_failed() {
    for lost in [RecordType::A, RecordType::AAAA] {
        for absent in [ResponseCode::NoError, ResponseCode::NXDomain] {
            let server = Rogue::start(move |asked| match asked.kind == lost {
                true => asked.code(ResponseCode::ServFail),
                false => asked.code(absent),
            });
            assert_eq!(failed(&run(ask(&dns(&server)))), FailureKind::Server);
        }
    }
}

#[test]
fn a_family_that_is_never_answered_is_left_out_for_a_while() {
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::AAAA => Reaction::Silence,
        _ => asked.of(&[(SERVICE, "10.0.0.1")]),
    });
    let dns = dns(&server);
    run(async {
        ask(&dns).await;
        server.take_asked();
        let found = ask(&dns).await;
        assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
        let asked = server.take_asked();
        assert!(asked.iter().all(|a| a.kind != RecordType::AAAA));
    });
}

/// A part of the ordinals would be taken for the whole.
#[test]
fn one_ordinal_that_fails_makes_all_unknown() {
    for react in [
        (|a: &Asked| a.code(ResponseCode::ServFail)) as fn(&Asked) -> Reaction,
        |_| Reaction::Silence,
    ] {
        let server = Rogue::start(move |asked| match asked.name.as_str() {
            "mc-2.mc.default.svc.cluster.local." => react(asked),
            name => match name.strip_prefix("mc-").and_then(|n| n[..1].parse().ok()) {
                Some(n @ 0..5) if asked.kind == RecordType::A => {
                    asked.with([crate::rogue::record(name, &format!("10.0.0.{n}"))])
                }
                _ => asked.code(ResponseCode::NXDomain),
            },
        });
        let pattern = format!("mc-{{0..}}.{SERVICE}").parse().unwrap();
        failed(&run(dns(&server).ordinals(&pattern, 11211)));
    }
}

#[test]
fn a_server_that_comes_back_is_heard() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let server = Rogue::start(move |asked| match down.load(Ordering::Relaxed) {
        true => Reaction::Close,
        false => asked.of(&[(SERVICE, "10.0.0.1")]),
    });
    let dns = dns(&server);
    run(async {
        members(&ask(&dns).await);
        is_down.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            failed(&ask(&dns).await);
        }
        is_down.store(false, Ordering::Relaxed);
        members(&ask(&dns).await);
    });
}
