//! Answers that are wrong on purpose.

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};
use ringroad::discovery::FailureKind;
use ringroad::discovery::dns::{IdentityWish, MAX_ADDRS, NoticeKind};

use crate::rogue::{Asked, Reaction, Rogue, name, record};
use crate::support::rng::Rng;
use crate::{SERVICE, ask, dns, failed, failure, members, notices, run, sightings};

#[test]
fn doubles_count_once() {
    let server = Rogue::start(|asked| {
        let Reaction::Answer(mut reply) = asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "::ffff:10.0.0.1"),
            (SERVICE, "SRV 11211 A.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 a.MC.default.svc.cluster.local."),
            ("a.mc.default.svc.cluster.local.", "10.0.0.1"),
            ("a.mc.default.svc.cluster.local.", "::ffff:10.0.0.1"),
        ]) else {
            unreachable!()
        };
        let again = reply.answers.clone();
        reply.add_answers(again);
        Reaction::Answer(reply)
    });
    let dns = dns(&server);
    assert_eq!(members(&run(ask(&dns))), ["a=10.0.0.1:11211"]);
    let found = run(dns.addresses(SERVICE, 11211, IdentityWish::Ip));
    assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
}

#[test]
fn aliases_are_followed_within_and_beyond_an_answer() {
    let server = Rogue::start(|asked| {
        if asked.is("c.example.", RecordType::A) {
            // Out of order, with records of others among them.
            return asked.with([
                record("e.example.", "10.0.0.1"),
                record("stranger.example.", "10.6.6.6"),
                record("d.example.", "CNAME e.example."),
                record("c.example.", "CNAME d.example."),
            ]);
        }
        asked.of(&[
            (SERVICE, "CNAME b.example."),
            ("b.example.", "CNAME c.example."),
            ("c.example.", "CNAME d.example."),
            ("d.example.", "CNAME e.example."),
            ("e.example.", "TXT x"),
            ("1.0.0.10.in-addr.arpa.", "PTR mc-0.e.example."),
        ])
    });
    // The name that the address points back to lies below what the name is an alias of.
    assert_eq!(members(&run(ask(&dns(&server)))), ["mc-0=10.0.0.1:11211"]);
}

#[test]
fn aliases_in_circles_and_endless_ones_are_unusable() {
    let within = Rogue::start(|asked| {
        asked.with([
            record(SERVICE, "CNAME a.example."),
            record("a.example.", "CNAME b.example."),
            record("b.example.", "CNAME a.example."),
        ])
    });
    assert_eq!(failed(&run(ask(&dns(&within)))), FailureKind::Unusable);
    let myself =
        Rogue::start(|asked| asked.with([record(&asked.name, &format!("CNAME {}", asked.name))]));
    assert_eq!(failed(&run(ask(&dns(&myself)))), FailureKind::Unusable);
    let beyond = Rogue::start(|asked| {
        let next = match asked.name.as_str() {
            "a.example." => "b.example.",
            _ => "a.example.",
        };
        asked.with([record(&asked.name, &format!("CNAME {next}"))])
    });
    assert_eq!(failed(&run(ask(&dns(&beyond)))), FailureKind::Unusable);
    let mut number = 0;
    let endless = Rogue::start(move |asked| {
        number += 1;
        asked.with([record(&asked.name, &format!("CNAME n{number}.example."))])
    });
    let found = run(ask(&dns(&endless)));
    assert_eq!(failed(&found), FailureKind::Unusable);
    assert!(endless.take_asked().len() < 100);
    let to_nothing = Rogue::start(|asked| {
        let Reaction::Answer(mut reply) = asked.with([record(&asked.name, "CNAME gone.example.")])
        else {
            unreachable!()
        };
        reply.metadata.response_code = ResponseCode::NXDomain;
        Reaction::Answer(reply)
    });
    assert_eq!(
        failed(&run(ask(&dns(&to_nothing)))),
        FailureKind::NoSuchName
    );
}

#[test]
fn forged_answers_are_not_believed_and_the_right_one_is_awaited() {
    let forge = |asked: &Asked, with: fn(&mut hickory_proto::op::Message)| {
        let mut forged = asked.reply();
        forged.add_answers([record(&asked.name, "10.6.6.6")]);
        with(&mut forged);
        Reaction::Bytes(forged.to_vec().unwrap())
    };
    let server = Rogue::start(move |asked| {
        let right = asked.of(&[(SERVICE, "10.0.0.1")]);
        if asked.is_tcp {
            return right;
        }
        Reaction::All(vec![
            forge(asked, |m| m.metadata.id = m.metadata.id.wrapping_add(1)),
            forge(asked, |m| {
                m.queries = vec![Query::query(name("other.example."), RecordType::A)];
            }),
            forge(asked, |m| m.queries.clear()),
            Reaction::Bytes(Vec::new()),
            Reaction::Bytes(vec![7]),
            right,
        ])
    });
    assert_eq!(
        members(&run(ask(&dns(&server)))),
        ["10.0.0.1:11211=10.0.0.1:11211"]
    );
    // Over TCP, too, an answer to another question is none.
    let server = Rogue::start(move |asked| {
        let mut reply = asked.reply();
        if !asked.is_tcp {
            reply.metadata.truncation = true;
            return Reaction::Answer(reply);
        }
        reply.queries = vec![Query::query(name("other.example."), RecordType::A)];
        reply.add_answers([record("other.example.", "10.6.6.6")]);
        Reaction::Answer(reply)
    });
    assert_eq!(failed(&run(ask(&dns(&server)))), FailureKind::Unusable);
}

#[test]
fn records_of_strangers_and_of_other_types_are_left_aside() {
    let server = Rogue::start(|asked| {
        asked.with([
            record("stranger.example.", "10.6.6.6"),
            record("stranger.example.", "SRV 1 stranger.example."),
            record(SERVICE, "TXT 10.6.6.6"),
            record(SERVICE, "PTR stranger.example."),
        ])
    });
    let dns_of = dns(&server);
    assert_eq!(failed(&run(ask(&dns_of))), FailureKind::Empty);
    let foreign = Rogue::start(|asked| {
        let mut odd = record(SERVICE, "10.0.0.1");
        odd.dns_class = DNSClass::CH;
        asked.with([odd])
    });
    assert_eq!(failed(&run(ask(&dns(&foreign)))), FailureKind::Unusable);
}

/// What was cut short is no answer, not even in part.
#[test]
fn answers_that_stay_cut_short_are_unusable() {
    let server = Rogue::start(|asked| {
        let Reaction::Answer(mut reply) = asked.of(&[(SERVICE, "10.0.0.1"), (SERVICE, "10.0.0.2")])
        else {
            unreachable!()
        };
        reply.metadata.truncation = true;
        Reaction::Answer(reply)
    });
    assert_eq!(failed(&run(ask(&dns(&server)))), FailureKind::Unusable);
    // With nobody at TCP it can't be had at all.
    let server = Rogue::start(|asked| {
        if asked.is_tcp {
            return Reaction::Close;
        }
        let Reaction::Answer(mut reply) = asked.of(&[(SERVICE, "10.0.0.1")]) else {
            unreachable!()
        };
        reply.metadata.truncation = true;
        Reaction::Answer(reply)
    });
    failed(&run(ask(&dns(&server))));
}

/// More SRV records than fit anywhere: the addresses are used, as they fit.
#[test]
fn srv_records_cut_short_give_way_to_addresses() {
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::SRV => {
            let mut reply = asked.reply();
            reply.add_answers([record(
                SERVICE,
                "SRV 11211 mc-0.mc.default.svc.cluster.local.",
            )]);
            reply.metadata.truncation = true;
            Reaction::Answer(reply)
        }
        _ => asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "10.0.0.2"),
            (
                "1.0.0.10.in-addr.arpa.",
                "PTR mc-0.mc.default.svc.cluster.local.",
            ),
            (
                "2.0.0.10.in-addr.arpa.",
                "PTR mc-1.mc.default.svc.cluster.local.",
            ),
        ]),
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(
        members(&found),
        ["mc-0=10.0.0.1:11211", "mc-1=10.0.0.2:11211"]
    );
    assert_eq!(notices(&found), [NoticeKind::NoSrv]);
}

#[test]
fn targets_that_do_not_resolve_keep_their_place_unless_none_does() {
    let srv = |asked: &Asked| {
        asked.of(&[
            (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 mc-1.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 ."),
            (SERVICE, "TXT x"),
        ])
    };
    let server = Rogue::start(move |asked| match asked.name.as_str() {
        "mc-0.mc.default.svc.cluster.local." => asked.of(&[(&asked.name, "10.0.0.1")]),
        _ => srv(asked),
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["mc-0=10.0.0.1:11211", "mc-1="]);
    assert_eq!(notices(&found), [NoticeKind::Unresolved]);
    // None does, and there's nothing else to go by.
    let server = Rogue::start(srv);
    assert_eq!(members(&run(ask(&dns(&server)))), ["mc-0=", "mc-1="]);
    // None does, and the Service has addresses.
    let server = Rogue::start(move |asked| match asked.kind {
        RecordType::A if asked.name == SERVICE => asked.of(&[(SERVICE, "10.0.0.1")]),
        _ => srv(asked),
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
    // The root alone says that there's no such service.
    let server = Rogue::start(|asked| asked.of(&[(SERVICE, "SRV 0 .")]));
    assert_eq!(failed(&run(ask(&dns(&server)))), FailureKind::Empty);
}

#[test]
fn names_with_odd_bytes_are_left_out_and_case_means_nothing() {
    let odd = |label: &[u8]| name(SERVICE).prepend_label(label).unwrap();
    let server = Rogue::start(move |asked| {
        if asked.kind == RecordType::SRV {
            let targets = [
                odd(b"a b"),
                odd(b"a\nb"),
                odd(b"a.b"),
                odd(b"\xff\x00"),
                odd(b"\"><script>"),
                odd(b"UPPER_1-x"),
            ];
            let srv = |target: Name| RData::SRV(rdata::SRV::new(0, 0, 11211, target));
            let records = targets.map(|target| Record::from_rdata(name(SERVICE), 30, srv(target)));
            return asked.with(records);
        }
        match asked.kind {
            RecordType::A => asked.with([Record::from_rdata(
                asked.message.queries[0].name().clone(),
                30,
                crate::rogue::data("10.0.0.1"),
            )]),
            _ => asked.empty(),
        }
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(members(&found), ["upper_1-x=10.0.0.1:11211"]);
    assert_eq!(notices(&found), [NoticeKind::Skipped]);
    assert_eq!(found.notices[0].count, 5);
    let shown = found.notices[0].to_string();
    assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)), "{shown}");
}

#[test]
fn addresses_that_nobody_can_have_are_left_out() {
    let odd = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"];
    let server = Rogue::start(move |asked| {
        let mut zone = vec![(SERVICE, "10.0.0.1"), (SERVICE, "fd00::1")];
        zone.extend(odd.map(|ip| (SERVICE, ip)));
        asked.of(&zone)
    });
    let found = run(dns(&server).addresses(SERVICE, 11211, IdentityWish::Ip));
    assert_eq!(members(&found), ["10.0.0.1:11211=10.0.0.1:11211"]);
    let skipped = found.notices.iter().find(|n| n.kind == NoticeKind::Skipped);
    assert_eq!(skipped.unwrap().count, 5);
    let server = Rogue::start(move |asked| asked.of(&odd.map(|ip| (SERVICE, ip))));
    assert_eq!(failed(&run(ask(&dns(&server)))), FailureKind::Unusable);
}

#[test]
fn a_wildcard_record_is_no_statefulset() {
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::A => asked.with([record(&asked.name, "10.0.0.1")]),
        _ => asked.empty(),
    });
    let pattern = format!("mc-{{0..}}.{SERVICE}").parse().unwrap();
    let found = run(dns(&server).ordinals(&pattern, 11211));
    assert_eq!(failed(&found), FailureKind::Unusable);
    assert!(failure(&found).detail.contains("wildcard"));
    assert!(server.take_asked().len() < 100);
    // And with another address each time it ends as well.
    let mut n = 0_u32;
    let server = Rogue::start(move |asked| match asked.kind {
        RecordType::A => {
            n += 1;
            let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
            asked.with([record(&asked.name, &ip.to_string())])
        }
        _ => asked.empty(),
    });
    let found = run(dns(&server).ordinals(&pattern, 11211));
    assert!(matches!(
        failed(&found),
        FailureKind::Unusable | FailureKind::Timeout
    ));
}

#[test]
fn what_one_answer_may_hold_is_bounded() {
    // A member with hundreds of addresses has the lowest of them.
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::SRV => asked.with([record(
            SERVICE,
            "SRV 11211 mc-0.mc.default.svc.cluster.local.",
        )]),
        RecordType::A => asked.with(
            (0..300)
                .rev()
                .map(|n| record(&asked.name, &format!("10.0.{}.{}", n / 250, n % 250))),
        ),
        _ => asked.empty(),
    });
    let found = run(ask(&dns(&server)));
    assert_eq!(sightings(&found).len(), 1);
    assert_eq!(sightings(&found)[0].addrs.len(), MAX_ADDRS);
    assert_eq!(sightings(&found)[0].addrs[0].to_string(), "10.0.0.0:11211");
    // About the most that fits into a message.
    let server = Rogue::start(|asked| match asked.kind {
        RecordType::A => {
            let ip = |n: usize| format!("10.0.{}.{}", n / 250, n % 250);
            asked.with((0..3800).map(|n| record("m.", &ip(n))))
        }
        _ => asked.empty(),
    });
    let found = run(dns(&server).addresses("m.", 11211, IdentityWish::Ip));
    assert_eq!(sightings(&found).len(), 3800);
}

/// An answer that changes each time is passed on as it is; what to make of it is the reducer's business.
#[test]
fn alternating_answers_are_each_defined() {
    let mut round = 0;
    let server = Rogue::start(move |asked| {
        round += 1;
        match round % 4 {
            0 => asked.of(&[(SERVICE, "10.0.0.1")]),
            1 => asked.code(ResponseCode::NXDomain),
            2 => asked.empty(),
            _ => asked.code(ResponseCode::ServFail),
        }
    });
    let dns = dns(&server);
    run(async {
        for _ in 0..40 {
            ask(&dns).await;
        }
    });
}

/// Answers with bytes changed at random, behind a header and a question that fit: no panic, and always an end.
#[test]
fn garbage_is_survived() {
    let mut rng = Rng::new(7);
    let server = Rogue::start(move |asked| {
        if asked.is_tcp {
            return Reaction::Close;
        }
        let Reaction::Answer(mut reply) = asked.of(&[
            (SERVICE, "10.0.0.1"),
            (SERVICE, "fd00::1"),
            (SERVICE, "SRV 11211 mc-0.mc.default.svc.cluster.local."),
            (SERVICE, "SRV 11211 mc-1.mc.default.svc.cluster.local."),
            ("mc-0.mc.default.svc.cluster.local.", "10.0.0.1"),
            (
                "1.0.0.10.in-addr.arpa.",
                "PTR mc-0.mc.default.svc.cluster.local.",
            ),
        ]) else {
            unreachable!()
        };
        let question = {
            let mut bare = asked.reply();
            bare.answers.clear();
            bare.to_vec().unwrap().len()
        };
        reply.add_additionals([record("mc-1.mc.default.svc.cluster.local.", "10.0.0.2")]);
        let mut bytes = reply.to_vec().unwrap();
        for _ in 0..rng.below(4) {
            // The id and the question stay, or the answer would only be awaited for longer.
            let at = match rng.below(8) {
                0 => 2 + rng.below(2),
                1 => 6 + rng.below(6),
                _ => question + rng.below((bytes.len() - question).max(1)),
            };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.below(256) as u8;
            }
        }
        if rng.below(10) == 0 {
            bytes.truncate(question + rng.below(bytes.len() - question + 1));
        }
        Reaction::Bytes(bytes)
    });
    let dns = dns(&server);
    let mut good = 0;
    run(async {
        for _ in 0..300 {
            let found = ask(&dns).await;
            if let ringroad::discovery::Answer::Members { sightings, .. } = &found.answer {
                good += 1;
                for sighting in sightings {
                    let plain = |b: u8| {
                        b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-:[]".contains(&b)
                    };
                    assert!(sighting.name.bytes().all(plain), "{sighting:?}");
                }
            }
        }
    });
    assert!(good > 0, "all answers were spoilt");
}
