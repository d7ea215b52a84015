//! Members must not change their names because a lookup failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use ringroad::discovery::dns::{IdentityWish, NoticeKind};
use ringroad::discovery::{FailureKind, Identity};

use crate::rogue::{Reaction, Rogue};
use crate::{SERVICE, ask, dns, failed, members, notices, run, sightings};

const NAMED: [&str; 2] = ["mc-0=10.0.0.1:11211", "mc-1=10.0.0.2:11211"];
const NAMELESS: [&str; 2] = [
    "10.0.0.1:11211=10.0.0.1:11211",
    "10.0.0.2:11211=10.0.0.2:11211",
];

const ADDRESSES: [(&str, &str); 2] = [(SERVICE, "10.0.0.1"), (SERVICE, "10.0.0.2")];
const SRV: [(&str, &str); 4] = [
    (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
    (SERVICE, "SRV 11211 mc-1.mc.default.svc.cluster.local."),
    ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
    ("mc-1.mc.default.svc.cluster.local.", "10.0.0.2"),
];
const PTR: [(&str, &str); 2] = [
    (
        "1.0.0.10.in-addr.arpa.",
        "PTR mc-0.mc.default.svc.cluster.local.",
    ),
    (
        "2.0.0.10.in-addr.arpa.",
        "PTR mc-1.mc.default.svc.cluster.local.",
    ),
];

/// A server of SRV, addresses and PTR records, each of which can be made to fail (1) or be absent (2).
struct Switched {
    server: Rogue,
    srv: Arc<AtomicU8>,
    ptr: Arc<AtomicU8>,
    second_ptr: Arc<AtomicU8>,
}

fn switched() -> Switched {
    let [srv, ptr, second_ptr] = [(); 3].map(|()| Arc::new(AtomicU8::new(0)));
    let (of_srv, of_ptr, of_second) = (srv.clone(), ptr.clone(), second_ptr.clone());
    let zone = [&ADDRESSES[..], &SRV, &PTR].concat();
    let server = Rogue::start(move |asked| {
        let mut state = match asked.kind {
            RecordType::SRV => of_srv.load(Ordering::Relaxed),
            RecordType::PTR => of_ptr.load(Ordering::Relaxed),
            _ => 0,
        };
        if asked.name.starts_with("2.0.0.10.") {
            state = state.max(of_second.load(Ordering::Relaxed));
        }
        match state {
            0 => asked.of(&zone),
            1 => asked.code(ResponseCode::ServFail),
            _ => asked.code(ResponseCode::NXDomain),
        }
    });
    Switched {
        server,
        srv,
        ptr,
        second_ptr,
    }
}

fn set(which: &AtomicU8, state: u8) {
    which.store(state, Ordering::Relaxed);
}

#[test]
fn a_hiccup_of_srv_records_renames_nobody() {
    let Switched {
        server, srv, ptr, ..
    } = switched();
    let dns = dns(&server);
    run(async {
        assert_eq!(members(&ask(&dns).await), NAMED);
        // PTR records give the same names.
        set(&srv, 1);
        let found = ask(&dns).await;
        assert_eq!(members(&found), NAMED);
        assert_eq!(notices(&found), [NoticeKind::NoSrv]);
        // Without them the names can't be known.
        set(&ptr, 2);
        for _ in 0..5 {
            assert_eq!(failed(&ask(&dns).await), FailureKind::Server);
        }
        set(&srv, 0);
        assert_eq!(members(&ask(&dns).await), NAMED);
        // They are gone, the server says: then addresses are what there is.
        set(&srv, 2);
        assert_eq!(members(&ask(&dns).await), NAMELESS);
    });
}

#[test]
fn what_fails_for_long_counts_as_gone() {
    let Switched {
        server, srv, ptr, ..
    } = switched();
    let dns = dns(&server);
    set(&ptr, 2);
    run(async {
        assert_eq!(members(&ask(&dns).await), NAMED);
        set(&srv, 1);
        for _ in 0..10 {
            failed(&ask(&dns).await);
        }
        assert_eq!(members(&ask(&dns).await), NAMELESS);
        set(&srv, 0);
        assert_eq!(members(&ask(&dns).await), NAMED);
    });
}

#[test]
fn srv_records_that_never_worked_are_done_without() {
    let Switched { server, srv, .. } = switched();
    set(&srv, 1);
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), NAMED);
    assert!(
        sightings(&found)
            .iter()
            .all(|s| s.identity == Identity::Ptr)
    );
    assert_eq!(notices(&found), [NoticeKind::NoSrv]);
}

#[test]
fn a_hiccup_of_ptr_records_renames_nobody() {
    let Switched {
        server,
        srv,
        ptr,
        second_ptr,
    } = switched();
    let dns = dns(&server);
    set(&srv, 2);
    run(async {
        assert_eq!(members(&ask(&dns).await), NAMED);
        set(&ptr, 1);
        assert_eq!(failed(&ask(&dns).await), FailureKind::Server);
        set(&ptr, 0);
        set(&second_ptr, 1);
        assert_eq!(failed(&ask(&dns).await), FailureKind::Server);
        set(&second_ptr, 0);
        assert_eq!(members(&ask(&dns).await), NAMED);
        set(&second_ptr, 2);
        let mixed = [NAMELESS[1], NAMED[0]];
        assert_eq!(members(&ask(&dns).await), mixed);
    });
    // Some named and some not, because a lookup failed: not even the first time.
    let Switched {
        server,
        srv,
        second_ptr,
        ..
    } = switched();
    set(&srv, 2);
    set(&second_ptr, 1);
    assert_eq!(failed(&run(ask(&crate::dns(&server)))), FailureKind::Server);
}

#[test]
fn ptr_records_that_never_worked_are_done_without() {
    let Switched {
        server, srv, ptr, ..
    } = switched();
    set(&srv, 2);
    set(&ptr, 1);
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), NAMELESS);
    assert_eq!(notices(&found), [NoticeKind::NoPtr, NoticeKind::IpIdentity]);
    // Reverse lookups that hang are waited for once.
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::PTR => Reaction::Silence,
        _ => asked.of(&ADDRESSES),
    });
    let dns = dns(&server);
    run(async {
        assert_eq!(members(&ask(&dns).await), NAMELESS);
        server.take_asked();
        assert_eq!(members(&ask(&dns).await), NAMELESS);
        let asked = server.take_asked();
        assert!(asked.iter().all(|a| a.kind != RecordType::PTR));
    });
}

#[test]
fn the_wish_decides_what_counts_as_a_name() {
    let Switched {
        server,
        srv,
        ptr,
        second_ptr,
    } = switched();
    let dns = dns(&server);
    run(async {
        let found = dns.service(SERVICE, 11211, None, IdentityWish::Ip).await;
        assert_eq!(members(&found), NAMELESS);
        assert_eq!(notices(&found), []);
        let found = dns.service(SERVICE, 11211, None, IdentityWish::Name).await;
        assert_eq!(members(&found), NAMED);
        set(&srv, 2);
        set(&second_ptr, 2);
        let found = dns.service(SERVICE, 11211, None, IdentityWish::Name).await;
        assert_eq!(members(&found), NAMED[..1]);
        assert_eq!(notices(&found), [NoticeKind::Skipped]);
        set(&ptr, 2);
        let found = dns.service(SERVICE, 11211, None, IdentityWish::Name).await;
        assert_eq!(failed(&found), FailureKind::Unusable);
    });
}

/// Pods without a host name get their address as their label; that is no name, and each family would be a member.
#[test]
fn labels_that_spell_the_address_are_no_names() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "fd00::1"),
            (SERVICE, "SRV 11211 10-0-0-1.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 fd00--1.mc.default.svc.cluster.local."),
            ("10-0-0-1.mc.default.svc.cluster.local.", "10.0.0.1"),
            ("fd00--1.mc.default.svc.cluster.local.", "fd00::1"),
        ])
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), [NAMELESS[0]]);
    assert_eq!(sightings(&found)[0].identity, Identity::Ip);
    assert_eq!(
        notices(&found),
        [NoticeKind::OtherFamily, NoticeKind::IpIdentity]
    );
}

/// A target elsewhere is called by its whole name, and that doesn't depend on what other targets there are.
#[test]
fn targets_elsewhere_are_called_by_their_whole_name() {
    let server = Rogue::start(|asked| {
        asked.of(&[
            (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 mc-0.mc.other.svc.cluster.local."),
            ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
            ("mc-0.mc.other.svc.cluster.local.", "10.0.0.2"),
        ])
    });
    assert_eq!(
        members(&run(ask(&dns(&server)))),
        [
            "mc-0=10.0.0.1:11211",
            "mc-0.mc.other.svc.cluster.local=10.0.0.2:11211"
        ]
    );
}
