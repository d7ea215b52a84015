//! A pod that restarts with another address keeps its keys' places.
//!
//! Protects: not one key moves; keys of the others are hits all the time; the clients see no error; the new address is
//! used within the time to live, and sooner when a connection fails.

use super::kube::{Kube, SERVICE, name};
use super::load::{OnMiss, fill, keys, moved, under_load};
use crate::support::eventually;

/// The pod is gone from DNS for a while and comes back at another address.
fn restart(kube: &mut Kube, pod: &str) {
    let router = kube.router("", "");
    let count = 5;
    router.until_present(count);
    let keys = keys(2000);
    fill(&router, &keys, "before");
    let before = kube.owners(&keys, "before");
    assert_eq!(before.len(), keys.len());
    let digest = router.digest();
    let old = router.members();
    let seen = under_load(
        &router,
        &keys,
        OnMiss::Leave,
        &format!("restart of {pod}"),
        |load| {
            load.phase("before");
            load.phase("without it");
            kube.kill(pod);
            kube.show((0..count).map(name).filter(|name| name != pod));
            eventually("its absence is seen", || router.names("absent") == [pod]);
            load.more(500);
            kube.run(pod);
            kube.show_all();
            eventually("its new address is known", || {
                router.names("present").len() == count && router.members() != old
            });
            load.phase("after");
        },
    );
    for (phase, seen) in &seen {
        assert_eq!(seen.failed(), 0, "{phase}");
    }
    assert_eq!(seen["before"].hits, seen["before"].gets);
    assert_eq!(router.digest(), digest, "the ring is the same");
    fill(&router, &keys, "after");
    let after = kube.owners(&keys, "after");
    let lost = before.values().filter(|owner| *owner == pod).count();
    eprintln!(
        "restart of {pod}: keys moved: {} (expected 0); keys it had: {lost} of {}",
        moved(&before, &after),
        keys.len()
    );
    assert_eq!(after.len(), keys.len());
    assert_eq!(moved(&before, &after), 0);
    // While it was gone exactly its keys were misses, give or take those under way.
    let share = lost as f64 * 100.0 / keys.len() as f64;
    let missed = 100.0 - seen["without it"].hit_rate();
    assert!(missed <= share + 5.0, "{missed} % missed, {share} % lost");
}

#[test]
fn a_pod_in_the_middle_restarts_with_another_address() {
    restart(&mut Kube::start(5), "mc-2");
}

#[test]
fn without_srv_records_the_name_of_the_address_is_as_good() {
    let mut kube = Kube::start(5).without_port_name();
    restart(&mut kube, "mc-1");
    let router = kube.router("", "");
    router.until_present(5);
    assert!(
        router
            .members()
            .iter()
            .all(|member| member.identity == "ptr")
    );
}

/// A long time to live does not keep a pod's new address from being found: a failed connection asks at once.
#[test]
fn a_failed_connection_asks_for_the_name_at_once() {
    let mut kube = Kube::start(3);
    kube.dns.set_ttl(3600);
    kube.max_ttl = "1h";
    kube.show_all();
    let router = kube.router_of(&format!(
        "[pools.cache]\ndiscover = {{ service = \"{SERVICE}\", port = {} }}\n",
        kube.port()
    ));
    router.until_present(3);
    let keys = keys(300);
    fill(&router, &keys, "before");
    kube.kill("mc-1");
    kube.run("mc-1");
    kube.show_all();
    let address = kube.addr("mc-1").to_string();
    let mut client = router.client();
    // Nothing but the traffic tells that anything has changed.
    eventually("the new address is used", || {
        for key in &keys {
            client.send(format!("get {key}\r\n"));
            client.values();
        }
        router
            .members()
            .iter()
            .any(|member| member.address == address)
    });
    eventually("its keys are taken again", || {
        client.send("set x 0 0 1\r\nx\r\n");
        client.line();
        fill_again(&router, &keys)
    });
}

fn fill_again(router: &super::kube::Router, keys: &[String]) -> bool {
    let mut client = router.client();
    keys.iter().all(|key| {
        client.send(format!("set {key} 0 0 5\r\nafter\r\n"));
        client.line() == "STORED"
    })
}

/// Servers that are listed by name are looked up again, too; their places never change.
#[test]
fn a_listed_name_that_moves_is_followed() {
    let mut kube = Kube::start(2);
    let port = kube.port();
    let servers: Vec<String> = (0..2)
        .map(|ordinal| format!("\"{}.{SERVICE}.:{port}\"", name(ordinal)))
        .collect();
    let router = kube.router_of(&format!(
        "[pools.cache]\nservers = [{}]\n",
        servers.join(", ")
    ));
    let keys = keys(300);
    eventually("the names resolve", || fill_again(&router, &keys));
    let before = kube.owners(&keys, "after");
    kube.run("mc-1");
    kube.show_all();
    eventually("the one that moved is found", || fill_again(&router, &keys));
    let after = kube.owners(&keys, "after");
    assert_eq!((before.len(), after.len()), (keys.len(), keys.len()));
    assert_eq!(moved(&before, &after), 0);
}

/// A router that starts while a pod restarts has the same ring as one that knows the pod.
#[test]
fn a_router_that_starts_meanwhile_has_the_same_ring() {
    let mut kube = Kube::start(4);
    let early = kube.router("", "");
    early.until_present(4);
    kube.kill("mc-1");
    kube.show(["mc-0", "mc-2", "mc-3"]);
    eventually("it is absent", || early.names("absent") == ["mc-1"]);
    let late = kube.router("", "");
    eventually("the other one knows of it", || {
        late.names("absent") == ["mc-1"]
    });
    assert_eq!(early.digest(), late.digest());
    kube.run("mc-1");
    kube.show_all();
    early.until_present(4);
    late.until_present(4);
    assert_eq!(early.digest(), late.digest());
}
