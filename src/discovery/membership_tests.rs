//! The rules of membership, one scenario each, as a cluster would play them.

use super::*;
use crate::discovery::{FailureKind, Sighting};

/// Seconds.
pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn sighting(name: &str, identity: Identity, ip: u8) -> Sighting {
    Sighting {
        name: name.into(),
        identity,
        addrs: vec![SocketAddr::from(([10, 0, 0, ip], 11211))],
        weight: None,
    }
}

pub(super) fn answer(sightings: Vec<Sighting>) -> Answer {
    let valid = s(5);
    Answer::Members { sightings, valid }
}

/// A StatefulSet's pods, at addresses that end with their ordinal.
fn pods(ordinals: impl IntoIterator<Item = u8>) -> Answer {
    let pod = |n| sighting(&format!("cache-{n}"), Identity::Srv, n);
    answer(ordinals.into_iter().map(pod).collect())
}

pub(super) fn failed(kind: FailureKind) -> Answer {
    let detail = "what came".into();
    Answer::Failed(Failure { kind, detail })
}

/// The answer, every five seconds over a time; what it changed, as lines.
fn over(m: &mut Membership, from: u64, to: u64, answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    for now in (from..=to).step_by(5) {
        lines.extend(
            m.apply(s(now), answer)
                .iter()
                .map(|c| format!("{now}: {c}")),
        );
    }
    lines
}

fn names(m: &Membership) -> Vec<&str> {
    m.members().map(|member| member.name.as_str()).collect()
}

fn state<'m>(m: &'m Membership, name: &str) -> &'m Member {
    m.members().find(|member| member.name == name).unwrap()
}

fn five() -> Membership {
    let mut m = Membership::new(policy());
    m.apply(s(0), &pods(0..5));
    m
}

/// Shorter than the default, so that the guard's confirmation outlasts every short hold.
fn policy() -> Policy {
    Policy {
        hold_top: Duration::from_secs(30),
        confirm: Duration::from_secs(60),
        ..Policy::default()
    }
}

#[test]
fn everything_joins_at_once_in_natural_order() {
    let mut m = Membership::new(policy());
    assert!(m.is_empty() && m.next_event().is_none() && m.last_good().is_none());
    let changes = m.apply(s(7), &pods([10, 2, 0]));
    assert!(changes.iter().all(Change::is_ring) && changes.len() == 3);
    assert_eq!(names(&m), ["cache-0", "cache-2", "cache-10"]);
    assert_eq!(m.last_good(), Some(s(7)));
    assert!(m.apply(s(12), &pods([0, 2, 10])).is_empty());
    let more = m.apply(s(17), &pods([0, 1, 2, 10]));
    assert_eq!(
        more[0].to_string(),
        "cache-1 joined at 10.0.0.1:11211 (identity: srv)"
    );
    assert_eq!(names(&m).len(), 4);
}

#[test]
fn a_restarted_pod_keeps_its_place() {
    let mut m = five();
    let ring = m.ring();
    let gone = over(&mut m, 5, 300, &pods([0, 1, 3, 4]));
    assert_eq!(gone, ["5: cache-2 is absent and keeps its place for 600 s"]);
    let member = state(&m, "cache-2");
    assert_eq!(
        member.addrs[0].to_string(),
        "10.0.0.2:11211",
        "its last ones"
    );
    assert_eq!((member.last_seen, member.first_seen), (s(0), s(0)));
    assert_eq!(m.next_event(), Some(s(605)));
    let mut back = vec![sighting("cache-2", Identity::Srv, 99)];
    back.extend([0, 1, 3, 4].map(|n| sighting(&format!("cache-{n}"), Identity::Srv, n)));
    assert_eq!(
        over(&mut m, 305, 305, &answer(back)),
        [
            "305: cache-2 is back after 300 s",
            "305: cache-2 moved from 10.0.0.2:11211 to 10.0.0.99:11211"
        ]
    );
    assert_eq!(m.ring(), ring);
    assert_eq!(state(&m, "cache-2").state, State::Present);
    assert_eq!(m.next_event(), None);
}

#[test]
fn a_middle_ordinal_leaves_after_the_hold() {
    let mut m = five();
    let lines = over(&mut m, 5, 700, &pods([0, 1, 3, 4]));
    assert_eq!(lines[1..], ["605: cache-2 left after 600 s of absence"]);
    assert_eq!(names(&m), ["cache-0", "cache-1", "cache-3", "cache-4"]);
}

#[test]
fn scaling_down_is_quick() {
    let mut m = five();
    over(&mut m, 5, 10, &pods(0..4));
    let lines = over(&mut m, 15, 60, &pods(0..3));
    assert_eq!(
        lines,
        [
            "15: cache-3 is absent and keeps its place for 30 s",
            "35: cache-4 left after 30 s of absence",
            "45: cache-3 left after 30 s of absence",
        ]
    );
}

/// A short hold counts from when the absence began to look like scaling down.
#[test]
fn the_highest_are_kept_while_a_lower_one_is_absent_too() {
    let mut m = five();
    over(&mut m, 5, 20, &pods([0, 1, 2, 3]));
    let lines = over(&mut m, 25, 100, &pods([0, 2, 3]));
    assert_eq!(
        lines,
        ["25: cache-1 is absent and keeps its place for 600 s"]
    );
    let lines = over(&mut m, 105, 140, &pods(0..4));
    assert_eq!(
        lines,
        [
            "105: cache-1 is back after 80 s",
            "135: cache-4 left after 130 s of absence"
        ]
    );
}

#[test]
fn several_stateful_sets_are_told_apart() {
    let mut m = Membership::new(policy());
    let pod = |name: &str, ip| sighting(name, Identity::Srv, ip);
    let all = [("a-0", 1), ("a-1", 2), ("b-0", 3), ("b-1", 4), ("c-0", 5)];
    m.apply(s(0), &answer(all.map(|(n, i)| pod(n, i)).to_vec()));
    // The top of a, the bottom of b, the whole of c: only the first looks like scaling down.
    let lines = over(&mut m, 5, 100, &answer(vec![pod("a-0", 1), pod("b-1", 4)]));
    assert_eq!(lines.last().unwrap(), "35: a-1 left after 30 s of absence");
    assert_eq!(names(&m), ["a-0", "b-0", "b-1", "c-0"]);
}

#[test]
fn addresses_without_names_have_a_short_hold() {
    let mut m = Membership::new(policy());
    let ip = |n: u8| sighting(&format!("10.0.0.{n}:11211"), Identity::Ip, n);
    m.apply(s(0), &answer(vec![ip(1), ip(2), ip(3)]));
    let lines = over(&mut m, 5, 60, &answer(vec![ip(1), ip(3)]));
    assert_eq!(lines[1], "35: 10.0.0.2:11211 left after 30 s of absence");
    assert_eq!(m.ring()[1], Node::at("10.0.0.3", 11211));
    // A dashed address would look like an ordinal.
    let mut m = Membership::new(Policy {
        hold_ip: s(600),
        ..policy()
    });
    let dashed = |n: u8| sighting(&format!("10-0-0-{n}"), Identity::Ip, n);
    m.apply(s(0), &answer(vec![dashed(1), dashed(2), dashed(3)]));
    over(&mut m, 5, 300, &answer(vec![dashed(1), dashed(2)]));
    assert_eq!(names(&m).len(), 3);
}

#[test]
fn failures_keep_everything_and_stop_the_clocks() {
    let mut m = five();
    over(&mut m, 5, 100, &pods([0, 1, 3, 4]));
    let (ring, leaves) = (m.ring(), m.next_event());
    assert_eq!(leaves, Some(s(605)));
    let mut lines = over(&mut m, 105, 600, &failed(FailureKind::NoSuchName));
    lines.extend(over(&mut m, 605, 1105, &failed(FailureKind::Timeout)));
    assert_eq!(
        lines,
        [
            "105: no answer (no_such_name), the members stay: what came",
            "605: no answer (timeout), the members stay: what came"
        ]
    );
    assert_eq!((m.ring(), m.next_event()), (ring, None));
    assert_eq!(m.failing().unwrap().1, 201);
    assert_eq!(m.last_good(), Some(s(100)));
    // The hold had 505 seconds to go when the outage began, and has them still.
    let lines = over(&mut m, 1205, 1800, &pods([0, 1, 3, 4]));
    assert_eq!(
        lines,
        [
            "1205: answers again after 201 failures in 1100 s",
            "1705: cache-2 left after 1700 s of absence"
        ]
    );
    assert!(m.failing().is_none());
}

#[test]
fn time_alone_takes_nobody_away() {
    let mut m = five();
    m.apply(s(5), &pods([0, 1, 2, 3]));
    assert_eq!(m.next_event(), Some(s(35)));
    // The next answer comes long after the hold, and shows it: nothing was lost.
    assert_eq!(
        m.apply(s(5000), &pods(0..5))[0].to_string(),
        "cache-4 is back after 4995 s"
    );
}

#[test]
fn answers_of_no_use_are_failures() {
    let mut m = Membership::new(Policy {
        max_members: 6,
        ..policy()
    });
    m.apply(s(0), &pods(0..5));
    let ring = m.ring();
    for (answer, kind) in [
        (answer(vec![]), FailureKind::Empty),
        (pods(0..7), FailureKind::Unusable),
        (
            answer(vec![sighting("a b", Identity::Srv, 1)]),
            FailureKind::Unusable,
        ),
    ] {
        m.apply(s(5), &answer);
        assert_eq!(m.failing().unwrap().0.kind, kind);
        assert_eq!(m.ring(), ring);
    }
}

#[test]
fn a_large_loss_waits_for_confirmation() {
    let mut m = five();
    let lines = over(&mut m, 5, 100, &pods(0..2));
    assert_eq!(
        lines[3..],
        [
            "35: 3 of 5 members are gone at once; kept until more answers agree: \
             cache-2, cache-3, cache-4",
            "65: cache-2 left after 60 s of absence",
            "65: cache-3 left after 60 s of absence",
            "65: cache-4 left after 60 s of absence",
        ]
    );
    // Long enough, but too few answers.
    let mut m = five();
    m.apply(s(5), &pods(0..2));
    m.apply(s(300), &pods(0..2));
    assert!(state(&m, "cache-4").state != State::Present && names(&m).len() == 5);
    assert_eq!(m.next_event(), Some(s(320)), "a third is asked for");
    m.apply(s(320), &pods(0..2));
    assert_eq!(names(&m), ["cache-0", "cache-1"]);
}

/// What is too much at once is also too much in slices.
#[test]
fn a_large_loss_in_slices_waits_too() {
    let mut m = Membership::new(policy());
    m.apply(s(0), &pods(0..8));
    m.apply(s(5), &pods(0..6));
    m.apply(s(10), &pods(0..4));
    m.apply(s(15), &pods(0..2));
    let lines = over(&mut m, 20, 100, &pods(0..2));
    assert_eq!(
        lines,
        [
            "35: cache-6 left after 30 s of absence",
            "35: cache-7 left after 30 s of absence",
            "40: cache-4 left after 30 s of absence",
            "40: cache-5 left after 30 s of absence",
            "45: 2 of 4 members are gone at once; kept until more answers agree: cache-2, cache-3",
            "75: cache-2 left after 60 s of absence",
            "75: cache-3 left after 60 s of absence",
        ]
    );
}

#[test]
fn answers_that_alternate_change_the_ring_once() {
    let mut m = Membership::new(policy());
    m.apply(s(0), &pods(0..3));
    m.apply(s(5), &pods(3..6));
    let ring = m.ring();
    assert_eq!(ring.len(), 6);
    for now in (10..3000).step_by(5) {
        let shown = if now % 10 == 0 {
            pods(0..3)
        } else {
            pods(3..6)
        };
        let changes = m.apply(s(now), &shown);
        assert!(!changes.iter().any(Change::is_routing), "{changes:?}");
    }
    assert_eq!(m.ring(), ring);
}

#[test]
fn weights_count_at_once_and_then_have_to_stand_still() {
    let weighing = |weight: f64| {
        let mut one = sighting("cache-0", Identity::Configured, 1);
        one.weight = Some(weight);
        answer(vec![one])
    };
    let mut m = Membership::new(policy());
    m.apply(s(0), &weighing(1.0));
    let lines = over(&mut m, 5, 5, &weighing(2.0));
    assert_eq!(lines, ["5: cache-0 has weight 2, had 1"]);
    let mut changes = 0;
    for now in (10..400).step_by(5) {
        let weight = if now % 10 == 0 { 1.0 } else { 2.0 };
        changes += m.apply(s(now), &weighing(weight)).len();
    }
    assert_eq!(changes, 0, "alternating");
    assert_eq!(m.ring()[0].weight, Some(2.0));
    m.apply(s(400), &weighing(3.0));
    assert_eq!(m.next_event(), Some(s(430)));
    let lines = over(&mut m, 405, 500, &weighing(3.0));
    assert_eq!(lines, ["430: cache-0 has weight 3, had 2"]);
}

#[test]
fn only_the_configuration_places_what_never_resolved() {
    let unresolved = |name: &str, identity| Sighting {
        addrs: vec![],
        ..sighting(name, identity, 0)
    };
    let mut m = Membership::new(policy());
    m.apply(
        s(0),
        &answer(vec![
            unresolved("a", Identity::Configured),
            unresolved("b", Identity::Srv),
            sighting("c", Identity::Srv, 3),
        ]),
    );
    assert_eq!(names(&m), ["a", "c"]);
    // A member whose name stops resolving keeps its addresses.
    let gone = answer(vec![
        sighting("a", Identity::Configured, 1),
        unresolved("c", Identity::Srv),
    ]);
    assert_eq!(
        over(&mut m, 5, 5, &gone),
        ["5: a moved from no address to 10.0.0.1:11211"]
    );
    assert_eq!(state(&m, "c").addrs.len(), 1);
    // Answers that leave nobody in the ring take nobody out of it.
    over(
        &mut m,
        10,
        2000,
        &answer(vec![unresolved("x", Identity::Srv)]),
    );
    assert_eq!(names(&m), ["a", "c"]);
}

/// A reverse lookup, or the SRV records, may fail for a while: the same members then appear as bare addresses.
#[test]
fn an_address_whose_name_is_known_is_that_member() {
    let mut m = five();
    let bare = |n: u8| sighting(&format!("10.0.0.{n}:11211"), Identity::Ip, n);
    let mut some = vec![bare(2), bare(3)];
    some.extend([0, 1, 4].map(|n| sighting(&format!("cache-{n}"), Identity::Srv, n)));
    let all = answer((0..5).map(bare).collect());
    for now in (5..600).step_by(5) {
        let shown = if now % 10 == 0 {
            &all
        } else {
            &answer(some.clone())
        };
        assert!(m.apply(s(now), shown).is_empty(), "{now}");
    }
    assert!(m.members().all(|member| member.identity == Identity::Srv));
    // Not for ever, lest nodes that never saw the names disagree with this one.
    let later = over(&mut m, 600, 2000, &all);
    assert!(
        later.contains(&"1195: 10.0.0.0:11211 joined at 10.0.0.0:11211 (identity: ip)".to_owned())
    );
    assert!(m.members().all(|member| member.identity == Identity::Ip));
}

/// Pods get addresses that others had before; a name in the answer is never overruled by an address.
#[test]
fn a_name_that_is_shown_itself_adopts_nothing() {
    let mut m = five();
    let mut sightings = vec![
        sighting("cache-0", Identity::Srv, 50),
        sighting("10.0.0.0:11211", Identity::Ip, 0),
    ];
    sightings.extend([1, 2, 3, 4].map(|n| sighting(&format!("cache-{n}"), Identity::Srv, n)));
    m.apply(s(5), &answer(sightings));
    assert_eq!(names(&m)[0], "10.0.0.0:11211");
    assert_eq!(state(&m, "cache-0").addrs[0].to_string(), "10.0.0.50:11211");
}

/// An absent member's last address may be another's by now.
#[test]
fn an_address_that_was_handed_on_is_whose_it_is_now() {
    let mut m = Membership::new(policy());
    let pod = |n: u8, ip| sighting(&format!("cache-{n}"), Identity::Srv, ip);
    m.apply(s(0), &answer(vec![pod(0, 7), pod(1, 8), pod(2, 9)]));
    m.apply(s(5), &answer(vec![pod(1, 7), pod(2, 9)]));
    let bare = sighting("10.0.0.7:11211", Identity::Ip, 7);
    assert!(m.apply(s(10), &answer(vec![bare, pod(2, 9)])).is_empty());
    assert!(matches!(state(&m, "cache-0").state, State::Absent { .. }));
    assert_eq!(state(&m, "cache-1").state, State::Present);
}

#[test]
fn a_full_ring_lets_others_in_as_its_members_leave() {
    let mut m = Membership::new(Policy {
        max_members: 3,
        ..policy()
    });
    m.apply(s(0), &pods(0..3));
    let lines = over(&mut m, 5, 2000, &pods(10..13));
    assert_eq!(lines[0], "5: 3 can't join: there are 3 members already");
    let full = lines.iter().filter(|line| line.contains("can't join"));
    assert!(full.count() <= 2, "{lines:#?}");
    assert_eq!(names(&m), ["cache-10", "cache-11", "cache-12"]);
}

#[test]
fn odd_policies_and_times_are_taken() {
    let mut m = Membership::new(Policy {
        hold: Duration::MAX,
        hold_top: Duration::MAX,
        hold_ip: Duration::MAX,
        max_loss: f64::NAN,
        confirm: Duration::MAX,
        confirm_answers: 0,
        max_members: 0,
    });
    m.apply(Duration::MAX, &pods(0..1));
    m.apply(s(0), &pods(1..2));
    m.apply(Duration::MAX, &pods(1..2));
    assert_eq!(names(&m), ["cache-0"]);
    assert_eq!(m.next_event(), Some(Duration::MAX));
    let mut m = Membership::new(Policy {
        hold: s(0),
        hold_top: s(0),
        max_loss: 7.0,
        ..policy()
    });
    m.apply(s(0), &pods(0..5));
    m.apply(s(0), &pods(0..1));
    assert_eq!(names(&m), ["cache-0"], "no hold, no guard: as asked for");
}

/// A router that starts while a pod restarts places keys like those that know it.
#[test]
fn an_ordinal_between_others_has_a_place_from_the_beginning() {
    let sighted = |names: &[&str]| {
        answer(
            names
                .iter()
                .enumerate()
                .map(|(index, name)| sighting(name, Identity::Srv, index as u8))
                .collect(),
        )
    };
    let all = ["cache-0", "cache-1", "cache-2"];
    let mut early = Membership::new(policy());
    early.apply(s(0), &sighted(&all));
    early.apply(s(5), &sighted(&["cache-0", "cache-2"]));
    let mut late = Membership::new(policy());
    let changes = late.apply(s(5), &sighted(&["cache-0", "cache-2"]));
    assert_eq!(early.ring(), late.ring());
    assert!(changes.contains(&Change::Missing {
        name: "cache-1".to_owned()
    }));
    late.apply(s(10), &sighted(&all));
    assert_eq!(early.ring(), late.ring());
    // One that really is not there leaves after its hold, and is not thought up again.
    let mut alone = Membership::new(policy());
    for now in (0..1300).step_by(10) {
        alone.apply(s(now), &sighted(&["cache-0", "cache-2"]));
    }
    assert_eq!(alone.ring().len(), 2);
}
