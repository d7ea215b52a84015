//! A pool grows without a storm of misses.
//!
//! Protects: with `warm_scaling` the hit rate stays what it was, whatever moved; copies have the flags and the time to live
//! of what they are copies of; what is deleted or changed meanwhile does not come back.

use super::kube::{Kube, Router, name};
use super::load::{OnMiss, Seen, fill, keys, under_load};
use crate::support::eventually;

/// From three pods to four under load that never stores; gives what was seen before and after.
fn grow(pool: &str, title: &str) -> (Seen, Seen, Kube, Router, Vec<String>) {
    let mut kube = Kube::start(3);
    let router = kube.router(pool, "");
    router.until_present(3);
    let keys = keys(3000);
    fill(&router, &keys, "stored");
    let mut seen = under_load(&router, &keys, OnMiss::Leave, title, |load| {
        load.phase("before");
        load.more(3000);
        load.phase("during");
        kube.run(&name(3));
        kube.show_all();
        router.until_present(4);
        load.more(3000);
        load.phase("after");
        load.more(3000);
    });
    for (phase, seen) in &seen {
        assert_eq!(seen.failed(), 0, "{phase}");
    }
    let mut take = |phase| seen.remove(phase).unwrap();
    (take("before"), take("after"), kube, router, keys)
}

#[test]
fn scaling_up_keeps_the_hit_rate() {
    let (before, after, kube, router, keys) =
        grow("warm_scaling = true\nwarm_window = \"30s\"", "3 to 4, warm");
    let lost = before.hit_rate() - after.hit_rate();
    assert!(lost < 1.0, "{lost} points were lost");
    // Every key, so that each that has moved is asked for. Nothing is copied while requests from before the change may
    // be under way.
    let mut client = router.client();
    eventually("what has moved is copied", || {
        for key in &keys {
            client.send(format!("get {key}\r\n"));
            assert_eq!(client.values().len(), 1, "{key}");
        }
        let on_new = kube.client("mc-3").stats("");
        let items = on_new.iter().find(|(name, _)| name == "curr_items");
        let items: usize = items.unwrap().1.parse().unwrap();
        (400..1200).contains(&items)
    });
    let copied = router.ringroad.stat("ringroad_moved_copied");
    eprintln!("3 to 4, warm: {copied} of {} keys were copied", keys.len());
}

/// What it costs without; the numbers are what is printed.
#[test]
fn without_it_the_keys_that_move_are_lost() {
    let (before, after, ..) = grow("", "3 to 4, cold");
    let lost = before.hit_rate() - after.hit_rate();
    eprintln!("3 to 4, cold: {lost:.1} points of hit rate lost (a quarter of the keys moved)");
    assert!((15.0..35.0).contains(&lost), "{lost}");
}

#[test]
fn copies_keep_flags_and_time_to_live_and_deletions_reach_both() {
    let mut kube = Kube::start(2);
    let router = kube.router("warm_scaling = true\nwarm_window = \"5s\"", "");
    router.until_present(2);
    let keys = keys(400);
    let mut client = router.client();
    for key in &keys {
        client.ask(format!("set {key} 77 1000 3\r\nold\r\n"), "STORED\r\n");
    }
    let before = kube.owners(&keys, "old");
    kube.run(&name(2));
    kube.show_all();
    router.until_present(3);
    // In turns: read, deleted, replaced, incremented (which fails), appended to, touched.
    for (index, key) in keys.iter().enumerate() {
        match index % 6 {
            0 => {
                client.ask(format!("mg {key} f v\r\n"), "VA 3 f77\r\nold\r\n");
                client.send(format!("mg {key} t\r\n"));
                let ttl = client.line();
                let ttl: i64 = ttl.strip_prefix("HD t").unwrap().trim().parse().unwrap();
                assert!((900..=1000).contains(&ttl), "{key} lives for {ttl} s");
            }
            1 => {
                client.ask(format!("delete {key}\r\n"), "DELETED\r\n");
                client.ask(format!("get {key}\r\n"), "END\r\n");
            }
            2 => {
                client.ask(format!("set {key} 0 0 3\r\nnew\r\n"), "STORED\r\n");
            }
            3 => {
                let error = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
                client.ask(format!("incr {key} 1\r\n"), error);
            }
            4 => {
                client.ask(format!("append {key} 0 0 1\r\n+\r\n"), "STORED\r\n");
                client.ask(
                    format!("get {key}\r\n"),
                    format!("VALUE {key} 77 4\r\nold+\r\nEND\r\n"),
                );
            }
            _ => {
                client.ask(format!("touch {key} 500\r\n"), "TOUCHED\r\n");
            }
        }
    }
    let moved = before.iter().filter(|(key, owner)| {
        let mut direct = kube.client("mc-2");
        direct.send(format!("get {key}\r\n"));
        let there = !direct.values().is_empty();
        let mut direct = kube.client(owner);
        direct.send(format!("get {key}\r\n"));
        let was = direct.values();
        let index: usize = key.strip_prefix("key:").unwrap().parse().unwrap();
        if there && !index.is_multiple_of(6) {
            assert!(was.is_empty(), "{key} is still at {owner}");
        }
        if index % 6 == 1 {
            assert!(was.is_empty() && !there, "{key} was deleted");
        }
        there
    });
    let moved = moved.count();
    eprintln!("2 to 3, updates: {moved} keys moved");
    assert!(moved > 50, "{moved}");
    // When the window is over, previous servers are not asked any more.
    let asked = || router.ringroad.stat("ringroad_moved_asked");
    eventually("the window ends", || {
        let before = asked();
        for number in 0..200 {
            client.ask(format!("get nothing:{number}\r\n"), "END\r\n");
        }
        asked() == before
    });
    client.ask("get key:1\r\n", "END\r\n");
}

/// As a StatefulSet that is made larger by two: the second joins before anything has been copied to the first.
#[test]
fn pods_that_join_one_by_one_lose_nothing() {
    let mut kube = Kube::start(3);
    let router = kube.router("warm_scaling = true", "");
    router.until_present(3);
    let keys = keys(1000);
    fill(&router, &keys, "stored");
    for ordinal in [3, 4] {
        kube.run(&name(ordinal));
        kube.show_all();
        router.until_present(ordinal + 1);
    }
    let mut client = router.client();
    let mut hits = 0;
    for key in &keys {
        client.send(format!("get {key}\r\n"));
        hits += client.values().len();
    }
    eprintln!("3 to 4 to 5, warm: {hits} of {} keys are there", keys.len());
    assert_eq!(hits, keys.len());
}

/// Two more pods, one after the other, and the last one goes again: each change comes while the one before still goes on.
#[test]
fn changes_that_follow_each_other_lose_nothing() {
    let mut kube = Kube::start(3);
    let router = kube.router("warm_scaling = true\nwarm_window = \"40s\"", "");
    router.until_present(3);
    let keys = keys(1500);
    fill(&router, &keys, "stored");
    let mut client = router.client();
    let copied = || router.ringroad.stat("ringroad_moved_copied");
    let mut gone = Vec::new();
    for (stage, (count, want)) in [(4, 4), (5, 5), (4, 4)].into_iter().enumerate() {
        if !kube.is_running(&name(count - 1)) {
            kube.run(&name(count - 1));
        }
        kube.show((0..count).map(name));
        router.until_present(want);
        let before = copied();
        // A part of the keys is read until some have been copied, so that others are left where they were.
        let part = &keys[stage * 300..stage * 300 + 300];
        eventually("something is copied", || {
            for key in part {
                client.send(format!("get {key}\r\n"));
                assert_eq!(client.values().len(), 1, "{key} after change {stage}");
            }
            copied() > before
        });
        // And some are deleted or changed before they are copied, or after.
        for key in [&keys[stage * 300], &keys[1000 + stage]] {
            client.ask(format!("delete {key}\r\n"), "DELETED\r\n");
            gone.push(key.clone());
        }
        client.ask(
            format!("append {} 0 0 1\r\n+\r\n", keys[1100 + stage]),
            "STORED\r\n",
        );
    }
    let mut hits = 0;
    for key in &keys {
        client.send(format!("get {key}\r\n"));
        let found = client.values().len();
        assert_eq!(found, usize::from(!gone.contains(key)), "{key}");
        hits += found;
    }
    for stage in 0..3 {
        client.send(format!("get {}\r\n", keys[1100 + stage]));
        assert_eq!(client.values()[0].data, b"stored+");
    }
    eprintln!(
        "3 to 4 to 5 to 4, warm: {hits} of {} keys are there, {} were copied",
        keys.len() - gone.len(),
        copied()
    );
}

/// A pool whose keys go on to the next server while theirs is down grows, and a server dies in the middle of it.
#[test]
fn a_server_that_dies_while_its_pool_grows_costs_its_own_keys_alone() {
    let mut kube = Kube::start(3);
    let router = kube.router(
        "warm_scaling = true\nwarm_window = \"40s\"\non_failure = \"next\"\ntko = { probe_max = \"200ms\" }",
        "",
    );
    router.until_present(3);
    let keys = keys(1000);
    fill(&router, &keys, "stored");
    let owners = kube.owners(&keys, "stored");
    kube.run(&name(3));
    kube.show_all();
    router.until_present(4);
    let mut client = router.client();
    kube.kill("mc-1");
    eventually("everything is served all the same", || {
        let key = owners.iter().find(|(_, owner)| *owner == "mc-1").unwrap().0;
        client.send(format!("set {key} 0 0 6\r\nstored\r\n"));
        client.line() == "STORED"
    });
    for key in &keys {
        client.send(format!("get {key}\r\n"));
        let found = client.values().len();
        if owners[key] != "mc-1" {
            assert_eq!(found, 1, "{key} was at {}", owners[key]);
        }
        client.ask(format!("set {key} 0 0 3\r\nnew\r\n"), "STORED\r\n");
        client.ask(
            format!("get {key}\r\n"),
            format!("VALUE {key} 0 3\r\nnew\r\nEND\r\n"),
        );
        client.ask(format!("delete {key}\r\n"), "DELETED\r\n");
        client.ask(format!("get {key}\r\n"), "END\r\n");
    }
}
