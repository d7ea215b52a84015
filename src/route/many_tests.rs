//! The rules' arithmetic: severities, majorities, orders, limits, shadows.

use super::*;
use crate::config::{Limit, Rule, Shadow, Verdicts};
use crate::hash::spooky32;

#[test]
fn the_majority_is_more_than_a_half() {
    for (children, verdicts, want, at) in [
        (
            3,
            &[Verdict::Found, Verdict::NotFound, Verdict::Found][..],
            2,
            Some(2),
        ),
        (
            4,
            &[Verdict::Found, Verdict::NotFound, Verdict::Found][..],
            2,
            None,
        ),
        (2, &[Verdict::Found, Verdict::NotFound][..], 1, None),
        (2, &[Verdict::NotFound, Verdict::Found][..], 0, None),
        // Equally bad ones: the first verdict there was.
        (2, &[Verdict::NotStored, Verdict::NotFound][..], 0, None),
        (
            5,
            &[
                Verdict::Tko,
                Verdict::Found,
                Verdict::RemoteError,
                Verdict::Found,
            ][..],
            3,
            None,
        ),
        (1, &[Verdict::Stored][..], 0, Some(0)),
    ] {
        let mut majority = Majority::new(children);
        let mut decided = None;
        for (index, verdict) in verdicts.iter().enumerate() {
            if majority.add(*verdict, index) {
                decided = decided.or(Some(index));
            }
        }
        assert_eq!(decided, at, "{verdicts:?}");
        assert_eq!(majority.winner(), Some(want), "{verdicts:?}");
    }
    assert_eq!(Majority::<()>::new(0).winner(), None);
}

#[test]
fn severities_are_in_the_order_of_mcrouter() {
    let order = [
        Verdict::Stored,
        Verdict::NotFound,
        Verdict::Timeout,
        Verdict::BadKey,
        Verdict::RemoteError,
        Verdict::LocalError,
        Verdict::ClientError,
        Verdict::Touched,
    ];
    assert!(order.is_sorted_by(|a, b| a.severity() < b.severity()));
    assert_eq!(Verdict::Exists.severity(), Verdict::Stored.severity());
    assert!(!Verdict::ClientError.fails_over() && !Verdict::BadKey.fails_over());
}

#[test]
fn children_with_fewer_failures_come_first_but_for_the_first_one() {
    let rule = Failover {
        max_tries: Some(3),
        ..Failover::DEFAULT
    };
    let memory = Memory::default();
    assert_eq!(memory.order(&rule, 4), [0, 1, 2]);
    memory.heard(&rule, 0, Verdict::Timeout);
    memory.heard(&rule, 1, Verdict::Timeout);
    memory.heard(&rule, 1, Verdict::ClientError);
    memory.heard(&rule, 2, Verdict::Tko);
    assert_eq!(memory.order(&rule, 4), [0, 3, 2]);
    memory.heard(&rule, 1, Verdict::NotFound);
    assert_eq!(memory.order(&rule, 4), [0, 1, 3]);
    assert_eq!(memory.order(&Failover::DEFAULT, 4), [0, 1, 2, 3]);
}

#[test]
fn the_bucket_is_full_at_first_and_filled_by_requests() {
    let limit = Limit {
        per_million: 250_000,
        burst: 2,
    };
    let rule = Failover {
        limit: Some(limit),
        ..Failover::DEFAULT
    };
    let memory = Memory::default();
    let goes_on = |verdict| {
        memory.order(&rule, 2);
        memory.may_go_on(&rule, verdict)
    };
    let got: Vec<bool> = (0..8).map(|_| goes_on(Verdict::Timeout)).collect();
    assert_eq!(got, [true, true, false, false, true, false, false, false]);
    assert!(goes_on(Verdict::Tko) && goes_on(Verdict::ConnectError));
    let none = Limit {
        per_million: 0,
        burst: 1,
    };
    let rule = Failover {
        limit: Some(none),
        ..Failover::DEFAULT
    };
    let memory = Memory::default();
    assert!(memory.may_go_on(&rule, Verdict::Busy));
    assert!(!memory.may_go_on(&rule, Verdict::Busy));
}

#[test]
fn a_key_is_copied_by_the_hash_of_what_stands_before_the_hash_stop() {
    let hash = spooky32(b"user:1", 0);
    let only = Shadow {
        first_hash: hash,
        last_hash: hash,
        ..Shadow::ALL
    };
    assert!(only.takes(b"user:1") && only.takes(b"user:1|#|etc"));
    assert!(!only.takes(b"user:2") && Shadow::ALL.takes(b"user:2"));
    let above = Shadow {
        first_hash: hash + 1,
        ..Shadow::ALL
    };
    assert!(!above.takes(b"user:1"));
    let some = Shadow {
        per_million: 250_000,
        ..Shadow::ALL
    };
    let mut random = 88_172_645_463_325_252u64;
    let sampled = (0..100_000).filter(|_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        some.samples(random)
    });
    assert!((24_000..26_000).contains(&sampled.count()));
    assert!(Shadow::ALL.samples(u64::MAX));
}

#[test]
fn the_default_is_what_fails_over() {
    for (_, verdict) in Verdict::FAILURES {
        assert_eq!(Verdicts::DEFAULT.has(verdict), verdict.fails_over());
        assert!(verdict.is_error());
    }
}

#[test]
fn names_are_those_of_the_list() {
    for (name, rule) in Rule::ALL {
        assert_eq!(rule.name(), name);
    }
}
