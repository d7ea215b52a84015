//! DNS that fails, lies in part, comes too large, or changes its mind.
//!
//! Protects: nothing of this takes a server out of the ring or costs a client an error; what is amiss is counted.

use super::kube::{Kube, SERVICE, name};
use super::load::{OnMiss, fill, keys, under_load};
use crate::support::eventually;

#[test]
fn a_total_outage_of_dns_changes_nothing() {
    let mut kube = Kube::start(3);
    let router = kube.router("", "");
    router.until_present(3);
    let keys = keys(500);
    fill(&router, &keys, "before");
    let digest = router.digest();
    let seen = under_load(&router, &keys, OnMiss::Leave, "DNS outage", |load| {
        load.phase("before");
        kube.dns.stop();
        load.phase("outage");
        eventually("the outage is seen", || {
            router.figure("discovery_change_failing") == 1
        });
        load.more(1000);
        assert_eq!(router.names("present").len(), 3, "nobody is even absent");
        kube.dns.restart();
        eventually("it is over", || {
            router.figure("discovery_change_recovered") == 1
        });
        load.phase("after");
    });
    for (phase, seen) in seen {
        assert_eq!((seen.failed(), seen.hits), (0, seen.gets), "{phase}");
    }
    assert_eq!(router.digest(), digest);
}

#[test]
fn a_service_that_vanishes_from_dns_changes_nothing() {
    let mut kube = Kube::start(3);
    let router = kube.router("", "");
    router.until_present(3);
    let keys = keys(500);
    fill(&router, &keys, "before");
    let seen = under_load(&router, &keys, OnMiss::Leave, "NXDOMAIN", |load| {
        load.phase("before");
        kube.show([] as [&str; 0]);
        load.phase("no such name");
        eventually("the denials are seen", || {
            router.figure("discovery_failed_no_such_name") >= 2
        });
        load.more(500);
    });
    for (phase, seen) in seen {
        assert_eq!((seen.failed(), seen.hits), (0, seen.gets), "{phase}");
    }
    assert_eq!(router.names("present").len(), 3);
}

/// DNS leaves out pods that run; clients notice nothing, because their places and addresses are kept.
#[test]
fn a_partial_answer_takes_nobody_away() {
    let mut kube = Kube::start(5);
    let router = kube.router("", "");
    router.until_present(5);
    let keys = keys(500);
    fill(&router, &keys, "before");
    let digest = router.digest();
    let seen = under_load(&router, &keys, OnMiss::Leave, "partial answer", |load| {
        load.phase("before");
        kube.show(["mc-0", "mc-4"]);
        load.phase("partial");
        eventually("three are absent", || router.names("absent").len() == 3);
        load.more(1000);
        kube.show_all();
        router.until_present(5);
        load.phase("after");
    });
    for (phase, seen) in seen {
        assert_eq!((seen.failed(), seen.hits), (0, seen.gets), "{phase}");
    }
    assert_eq!(router.digest(), digest);
}

/// Answers that alternate: the ring stays as it is, and no connection is closed for it.
#[test]
fn answers_that_alternate_do_not_thrash() {
    let mut kube = Kube::start(4);
    let router = kube.router("", "");
    router.until_present(4);
    let keys = keys(500);
    fill(&router, &keys, "before");
    let digest = router.digest();
    let connects = router.ringroad.stat("ringroad_upstream_connects");
    let seen = under_load(&router, &keys, OnMiss::Leave, "flapping", |load| {
        load.phase("flapping");
        for round in 0..4 {
            let left_out = if round % 2 == 0 { "mc-1" } else { "mc-2" };
            kube.show((0..4).map(name).filter(|name| name != left_out));
            eventually("it is seen", || router.names("absent") == [left_out]);
        }
        load.more(500);
    });
    let seen = &seen["flapping"];
    assert_eq!((seen.failed(), seen.hits), (0, seen.gets));
    assert_eq!(router.digest(), digest);
    // A worker that had no request for some server yet connects to it for the first time.
    let more = router.ringroad.stat("ringroad_upstream_connects") - connects;
    assert!(more <= 4, "{more} connections were made anew");
    assert_eq!(router.figure("discovery_change_left"), 0);
}

/// More than fits into a datagram: the answer is cut short, and asked for again over TCP.
#[test]
fn an_answer_that_is_too_large_for_udp_is_complete() {
    let kube = Kube::start(24);
    let router = kube.router("", "");
    router.until_present(24);
    let keys = keys(1000);
    fill(&router, &keys, "stored");
    let owners = kube.owners(&keys, "stored");
    let used: std::collections::BTreeSet<_> = owners.values().collect();
    assert_eq!(
        (owners.len(), used.len()),
        (keys.len(), 24),
        "all of them take part"
    );
}

/// A short name is looked for in the search domains.
#[test]
fn a_short_name_is_found_by_the_search_domains() {
    let kube = Kube::start(2);
    let port = kube.port();
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ service = \"mc.default\", port = {port} }}\n"
    ));
    router.until_present(2);
    fill(&router, &keys(50), "stored");
}

/// The ordinals' own names are enough where the Service has no records of its own.
#[test]
fn ordinals_are_found_without_the_service() {
    let mut kube = Kube::start(3);
    let port = kube.port();
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ ordinals = \"mc-{{0..}}.{SERVICE}\", port = {port} }}\n\
         [pools.cache.membership]\nhold_top = \"1s\"\n"
    ));
    router.until_present(3);
    kube.run("mc-3");
    kube.show_all();
    router.until_present(4);
    assert!(
        router
            .members()
            .iter()
            .all(|member| member.identity == "ordinal")
    );
    kube.show((0..3).map(name));
    kube.kill("mc-3");
    router.until_present(3);
    fill(&router, &keys(50), "stored");
}

/// Nothing is there at the start: errors that say so, and not ready; then it recovers alone.
#[test]
fn it_starts_while_nothing_resolves_and_recovers_alone() {
    let mut kube = Kube::start(2);
    kube.dns.stop();
    let router = kube.router("", "");
    let mut client = router.client();
    client.ask("get a\r\n", "END\r\n");
    client.ask(
        "set a 0 0 1\r\nx\r\n",
        "SERVER_ERROR no server for this key\r\n",
    );
    client.ask("mg a v\r\n", "EN\r\n");
    assert!(router.members().is_empty());
    kube.dns.restart();
    router.until_present(2);
    eventually("it is served", || {
        client.send("set a 0 0 1\r\nx\r\n");
        client.line() == "STORED"
    });
}

/// Two routers that follow the same Service place keys alike, whenever they started.
#[test]
fn every_router_has_the_same_ring() {
    let mut kube = Kube::start(2);
    let early = kube.router("", "");
    early.until_present(2);
    kube.run("mc-10");
    kube.run("mc-2");
    kube.show_all();
    let late = kube.router("", "");
    eventually("both know all four", || {
        early.names("present").len() == 4 && late.names("present").len() == 4
    });
    assert_eq!(early.digest(), late.digest());
    let order: Vec<String> = late
        .members()
        .into_iter()
        .map(|member| member.name)
        .collect();
    assert_eq!(order, ["mc-0", "mc-1", "mc-2", "mc-10"]);
}
