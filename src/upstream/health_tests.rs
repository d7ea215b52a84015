//! When a destination goes out of service and comes back: cases, and what holds of any sequence of events.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1000;
const SECOND: u64 = 1_000_000;

/// Answers probes at the pauses that are asked for until it is back; returns when that is, and the probes it took.
fn come_back(health: &mut Health, policy: &HealthPolicy, mut now: u64) -> (u64, u32) {
    for probes in 1..100_000 {
        match health.probed(policy, now) {
            Probed::Back => return (now, probes),
            Probed::Again(pause) => now += pause,
            Probed::Up => panic!("it was not down"),
        }
    }
    panic!("it never comes back");
}

#[test]
fn timeouts_in_a_row_take_it_out_and_a_probe_brings_it_back() {
    let policy = HealthPolicy::default();
    let mut health = Health::default();
    assert!(!health.timed_out(&policy, 0));
    assert!(!health.timed_out(&policy, 0));
    health.answered();
    assert!(!health.timed_out(&policy, 0), "no longer in a row");
    assert!(!health.timed_out(&policy, 0));
    assert!(health.timed_out(&policy, 0));
    assert!(health.is_down());
    assert!(!health.timed_out(&policy, 0), "said once");
    assert_eq!(health.probed(&policy, 5), Probed::Back);
    assert!(!health.is_down());
    assert_eq!(health.probed(&policy, 6), Probed::Up);
}

#[test]
fn one_hard_failure_is_enough() {
    let mut health = Health::default();
    assert!(health.failed(0));
    assert!(health.is_down());
    assert!(!health.failed(0));
}

#[test]
fn pauses_double_stay_bounded_and_jitter() {
    let policy = HealthPolicy::default();
    let mut health = Health::default();
    let mut last = 0;
    for i in 0..40 {
        let pause = health.pause(&policy, (u64::MAX / 3).wrapping_mul(i));
        assert!(pause <= policy.probe_max && pause >= policy.probe_min / 2);
        last = pause;
    }
    assert!(last >= policy.probe_max / 2);
}

#[test]
fn several_probes_must_be_answered_one_after_the_other() {
    let policy = HealthPolicy {
        recover: 3,
        ..HealthPolicy::default()
    };
    let mut health = Health::default();
    health.failed(0);
    let again = Probed::Again(100 * MS);
    // Connections that are made at once count as one.
    for _ in 0..5 {
        assert_eq!(health.probed(&policy, SECOND), again);
    }
    assert_eq!(health.probed(&policy, SECOND + 100 * MS), again);
    health.failed(SECOND + 150 * MS);
    assert_eq!(
        health.probed(&policy, SECOND + 200 * MS),
        again,
        "from the start"
    );
    assert_eq!(health.probed(&policy, SECOND + 300 * MS), again);
    assert_eq!(health.probed(&policy, SECOND + 400 * MS), Probed::Back);
}

#[test]
fn each_flap_doubles_the_hold_and_calm_halves_it() {
    let policy = HealthPolicy::default();
    let mut health = Health::default();
    let mut now = 0;
    let mut holds = Vec::new();
    for _ in 0..10 {
        now += SECOND;
        assert!(health.failed(now));
        let (back, _) = come_back(&mut health, &policy, now);
        holds.push((back - now) / SECOND);
        now = back;
    }
    assert_eq!(holds, [0, 1, 2, 4, 8, 16, 32, 64, 64, 64]);
    // Two minutes in service: a quarter of the seven flaps is left, and this is not one.
    now += 2 * CALM;
    health.failed(now);
    let (back, _) = come_back(&mut health, &policy, now);
    assert_eq!(back - now, policy.hold_down);
    now = back + 100 * CALM;
    health.failed(now);
    assert_eq!(come_back(&mut health, &policy, now), (now, 1), "forgiven");
}

/// What may happen to a destination, and how long after the event before.
#[derive(Clone, Debug)]
enum Event {
    Probe,
    Failure,
    Timeout,
    Answer,
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        4 => Just(Event::Probe),
        1 => Just(Event::Failure),
        2 => Just(Event::Timeout),
        1 => Just(Event::Answer),
    ];
    let pause = prop_oneof![Just(0), 0..500 * MS, 0..20 * SECOND, 0..300 * SECOND];
    prop::collection::vec((event, pause), 0..200)
}

prop_compose! {
    fn policy()(
        after in 1u32..4,
        (probe_min, more) in (10 * MS..SECOND, 0..10 * SECOND),
        recover in 1u32..6,
        hold_down in prop_oneof![Just(0), 0..30 * SECOND],
    ) -> HealthPolicy {
        HealthPolicy { enabled: true, after, probe_min, probe_max: probe_min + more, recover, hold_down }
    }
}

#[test]
fn who_answers_version_and_nothing_else_goes_out_however_often_it_is_connected_to() {
    let policy = HealthPolicy {
        after: 3,
        ..HealthPolicy::default()
    };
    let mut health = Health::default();
    for now in [1, 2] {
        assert_eq!(health.probed(&policy, now), Probed::Up);
        assert!(!health.timed_out(&policy, now));
    }
    assert_eq!(health.probed(&policy, 3), Probed::Up);
    assert!(health.timed_out(&policy, 3));
}

proptest! {
    /// Whatever happens: it comes back only when that many probes in a row were answered, at least a pause apart, over
    /// the time that its flaps ask for; and it goes out only by what takes it out.
    #[test]
    fn it_comes_back_only_when_it_has_earned_it(policy in policy(), events in events()) {
        let mut health = Health::default();
        let mut now = 0;
        // Since the last failure: when probes were answered.
        let mut answered: Vec<u64> = Vec::new();
        let mut timeouts = 0;
        let (mut flaps, mut back_at) = (0u32, None::<u64>);
        for (event, pause) in events {
            now += pause;
            let was_down = health.is_down();
            match event {
                Event::Probe => {
                    let probed = health.probed(&policy, now);
                    if !was_down {
                        prop_assert_eq!(probed, Probed::Up);
                        continue;
                    }
                    if answered.last().is_none_or(|last| now - last >= policy.probe_min) {
                        answered.push(now);
                    }
                    let hold = if flaps == 0 { 0 } else { policy.hold_down << (flaps - 1) };
                    let earned = answered.len() >= policy.recover as usize && now - answered[0] >= hold;
                    prop_assert_eq!(probed == Probed::Back, earned);
                    prop_assert_eq!(health.is_down(), !earned);
                    if let Probed::Again(pause) = probed {
                        prop_assert!((policy.probe_min..=policy.probe_max).contains(&pause));
                    }
                    if earned {
                        timeouts = 0;
                        back_at = Some(now);
                    }
                    continue;
                }
                Event::Failure => {
                    answered.clear();
                    prop_assert_eq!(health.failed(now), !was_down);
                }
                Event::Timeout => {
                    timeouts += 1;
                    let out = health.timed_out(&policy, now);
                    prop_assert_eq!(out, !was_down && timeouts >= policy.after);
                }
                Event::Answer => {
                    timeouts = 0;
                    health.answered();
                }
            }
            if health.is_down() && !was_down {
                answered.clear();
                flaps = match back_at.map(|back| (now - back) / CALM) {
                    None => flaps,
                    Some(0) => (flaps + 1).min(7),
                    Some(calm) => flaps >> calm.min(31),
                };
            }
        }
    }

    /// One that answers all its probes does come back, and not later than it must.
    #[test]
    fn one_that_is_well_comes_back(policy in policy(), events in events()) {
        let mut health = Health::default();
        let mut now = 0;
        for (event, pause) in events {
            now += pause;
            match event {
                Event::Probe => { health.probed(&policy, now); }
                Event::Failure => { health.failed(now); }
                Event::Timeout => { health.timed_out(&policy, now); }
                Event::Answer => health.answered(),
            }
        }
        health.failed(now);
        let (back, probes) = come_back(&mut health, &policy, now);
        let most = 64 * policy.hold_down + u64::from(policy.recover) * policy.probe_max;
        prop_assert!(back - now <= most, "{} of {most}", back - now);
        prop_assert!(probes >= policy.recover);
    }
}
