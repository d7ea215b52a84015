//! What no sequence of answers, failures and pauses can break.
//!
//! Distributions that place by name (`ring`, `ketama`, `rendezvous`, `pymemcache`): whatever happens, a key whose
//! owner stays in the ring moves at most to a name that joined. Those that place by position (`jump`, `ch3`, …) hold
//! this only where members join and leave at the end of the list, as those of one StatefulSet do; an absence or a
//! failure moves nothing with any of them, since the list stays as it is. With the modulo ones (`modula`, `crc32`,
//! …) any change of the list moves most keys.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::tests::{answer, failed, s, sighting};
use super::*;
use crate::discovery::{FailureKind, Sighting};
use crate::hash::{Distribution, Placement, Selector};

/// Six pods, two servers with names of their own and two without names.
const NAMES: [(&str, Identity); 10] = [
    ("cache-0", Identity::Srv),
    ("cache-1", Identity::Srv),
    ("cache-2", Identity::Ordinal),
    ("cache-3", Identity::Srv),
    ("cache-9", Identity::Ptr),
    ("cache-10", Identity::Srv),
    ("alpha.example:11211", Identity::Configured),
    ("beta.example:11211", Identity::Configured),
    ("10.0.0.8:11211", Identity::Ip),
    ("10.0.0.9:11211", Identity::Ip),
];

const STEADY: [Distribution; 4] = [
    Distribution::Ring,
    Distribution::Ketama,
    Distribution::Rendezvous,
    Distribution::Pymemcache,
];

#[derive(Clone, Debug)]
enum Event {
    /// These bits of [`NAMES`] are shown, each pod at an address of this generation.
    Shown(u16, u8),
    Failed(FailureKind),
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop::sample::select(FailureKind::ALL.to_vec()).prop_map(Event::Failed);
    // Mostly everybody is there, else the ring would hardly ever be whole.
    let mask = prop_oneof![
        2 => Just(0x3ff_u16),
        2 => (0..10_u16).prop_map(|bit| 0x3ff ^ (1 << bit)),
        1 => (1..6_u16).prop_map(|lowest| (1 << lowest) - 1),
        2 => 0..0x400_u16,
    ];
    prop_oneof![
        4 => (mask, 0..3_u8).prop_map(|(mask, age)| Event::Shown(mask, age)),
        1 => kind,
    ]
}

/// Events and the seconds before each.
fn history(most: u64) -> impl Strategy<Value = Vec<(u64, Event)>> {
    let pause = prop_oneof![4 => 0..20_u64, 1 => 0..=most];
    prop::collection::vec((pause.prop_map(move |p| p.min(most)), event()), 1..60)
}

fn shown(mask: u16, age: u8) -> Vec<Sighting> {
    let bit = |index: usize| mask & (1 << index) != 0;
    let names = NAMES.iter().enumerate().filter(|(index, _)| bit(*index));
    names
        .map(|(index, (name, identity))| {
            // Members without names are where their names say.
            let age = if *identity == Identity::Ip { 0 } else { age };
            sighting(name, *identity, 20 * age + index as u8)
        })
        .collect()
}

fn as_answer(event: &Event) -> Answer {
    match event {
        Event::Shown(mask, age) => answer(shown(*mask, *age)),
        Event::Failed(kind) => failed(*kind),
    }
}

fn owners(distribution: Distribution, ring: &[Node]) -> Vec<String> {
    let selector = Selector::new(&Placement::of(distribution), ring).unwrap();
    let keys = 0..150;
    keys.map(|key| {
        ring[selector.select(format!("key:{key}").as_bytes())]
            .name
            .clone()
    })
    .collect()
}

fn digest(m: &Membership) -> u64 {
    let placement = Placement::default();
    Selector::new(&placement, &m.ring()).unwrap().digest()
}

/// What the rules say, computed apart from the reducer: since when a name is missing, on a clock that stands still
/// during failures.
#[derive(Default)]
struct Clock {
    lost: u64,
    failing: Option<u64>,
    missing: HashMap<&'static str, (u64, u32)>,
}

impl Clock {
    fn tell(&mut self, now: u64, event: &Event) {
        let Event::Shown(mask @ 1.., _) = event else {
            self.failing.get_or_insert(now);
            return;
        };
        self.lost += self.failing.take().map_or(0, |since| now - since);
        for (index, (name, _)) in NAMES.iter().enumerate() {
            if mask & (1 << index) == 0 {
                self.missing.entry(name).or_insert((now - self.lost, 0)).1 += 1;
            } else {
                self.missing.remove(name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_the_rules(history in history(900)) {
        let policy = Policy::default();
        let mut m = Membership::new(policy.clone());
        let mut clock = Clock::default();
        let mut now = 0;
        for (pause, event) in &history {
            now += pause;
            clock.tell(now, event);
            let (before, members): (_, Vec<Member>) = (m.ring(), m.members().cloned().collect());
            let changes = m.apply(s(now), &as_answer(event));
            let after = m.ring();
            prop_assert!(before.is_empty() || !after.is_empty(), "the ring is never emptied");
            let good = matches!(event, Event::Shown(1.., _));
            if !good {
                prop_assert_eq!(&before, &after);
                prop_assert!(m.members().eq(members.iter()), "a failure changes nobody");
                prop_assert_eq!(m.next_event(), None);
                continue;
            }
            prop_assert!(m.next_event().is_none_or(|at| at > s(now)));
            prop_assert_eq!(before != after, changes.iter().any(Change::is_ring), "{:?}", changes);

            let Event::Shown(mask, _) = event else { unreachable!() };
            for (index, (name, _)) in NAMES.iter().enumerate() {
                let member = m.members().find(|member| member.name == *name);
                let present = member.is_some_and(|member| member.state == State::Present);
                prop_assert_eq!(present, mask & (1 << index) != 0, "shown is present: {}", name);
            }

            let mut gone = BTreeSet::new();
            let mut unconfirmed = 0;
            for change in &changes {
                let Change::Left { name, .. } = change else { continue };
                let (since, answers) = clock.missing[name.as_str()];
                let away = now - clock.lost - since;
                let hold = if name.ends_with("example:11211") { 600 } else { 30 };
                prop_assert!(away >= hold, "{} left after {} s", name, away);
                unconfirmed += usize::from(away < 60 || answers < 3);
                gone.insert(name.as_str());
            }
            prop_assert!(unconfirmed == 0 || gone.len() * 2 <= before.len());

            if before.is_empty() || before == after {
                continue;
            }
            let joined: BTreeSet<&str> = changes.iter().filter_map(|change| match change {
                Change::Joined { name, .. } | Change::Missing { name } => Some(name.as_str()),
                _ => None,
            }).collect();
            for distribution in STEADY {
                let pairs = owners(distribution, &before).into_iter().zip(owners(distribution, &after));
                for (old, new) in pairs {
                    prop_assert!(
                        old == new || gone.contains(old.as_str()) || joined.contains(new.as_str()),
                        "{}: from {} to {}", distribution, old, new
                    );
                }
            }
        }
    }

    /// Two nodes that were shown the same, in another order and at other times, within a hold.
    #[test]
    fn replicas_agree_whatever_the_order(
        (mine, theirs) in history(0).prop_flat_map(|history| {
            (Just(history.clone()), Just(history).prop_shuffle())
        }),
        offset in 0..1000_u64,
    ) {
        let (mut a, mut b) = (Membership::new(Policy::default()), Membership::new(Policy::default()));
        for (index, (_, event)) in mine.iter().enumerate() {
            a.apply(s(index as u64 / 3), &as_answer(event));
        }
        for (_, event) in &theirs {
            b.apply(s(offset), &as_answer(event));
        }
        prop_assert_eq!(a.ring(), b.ring());
        if !a.is_empty() {
            prop_assert_eq!(digest(&a), digest(&b));
        }
    }

    /// Whatever two nodes saw before: once the source stands still they come to the same ring, which is what it
    /// shows.
    #[test]
    fn replicas_converge(a in history(900), b in history(900), mask in 1..0x400_u16) {
        let last = answer(shown(mask, 0));
        let mut digests = Vec::new();
        for history in [a, b] {
            let mut m = Membership::new(Policy::default());
            let mut now = 0;
            for (pause, event) in &history {
                now += pause;
                m.apply(s(now), &as_answer(event));
            }
            // Asked as rarely as the reducer asks for: its own times are enough to get there.
            m.apply(s(now), &last);
            let mut asked = 0;
            while let Some(at) = m.next_event() {
                m.apply(at, &last);
                asked += 1;
                prop_assert!(asked < 30, "{:?}", m);
            }
            let names: BTreeSet<String> = m.members().map(|member| member.name.clone()).collect();
            prop_assert_eq!(names, shown(mask, 0).into_iter().map(|one| one.name).collect());
            digests.push(digest(&m));
        }
        prop_assert_eq!(digests[0], digests[1]);
    }

    /// Placement by position, in a StatefulSet that is scaled and whose pods restart.
    #[test]
    fn positional_placement_holds_for_a_stateful_set(
        steps in prop::collection::vec((1..13_u8, prop::option::of(0..12_u8)), 1..8),
    ) {
        let mut m = Membership::new(Policy::default());
        let mut now = 0;
        let mut known = 0;
        for (size, restarting) in steps {
            // Only what was there can restart; new pods come in order.
            let restarting = restarting.filter(|n| *n < known && size > 1);
            known = size;
            // The restart is over when it is scaled again.
            for seconds in [0, 25, 50, 75, 100] {
                let pods = (0..size).filter(|n| Some(*n) != restarting || seconds == 100);
                let pods = pods.map(|n| sighting(&format!("cache-{n}"), Identity::Srv, n));
                let before = m.ring();
                let changes = m.apply(s(now + seconds), &answer(pods.collect()));
                let after = m.ring();
                if before.is_empty() || before == after {
                    continue;
                }
                let touched: BTreeSet<&str> = changes.iter().filter_map(|change| match change {
                    Change::Joined { name, .. } | Change::Left { name, .. } => Some(name.as_str()),
                    _ => None,
                }).collect();
                for distribution in [Distribution::Jump, Distribution::Ch3] {
                    let pairs = owners(distribution, &before).into_iter().zip(owners(distribution, &after));
                    for (old, new) in pairs {
                        prop_assert!(
                            old == new || touched.contains(old.as_str()) || touched.contains(new.as_str()),
                            "{}: from {} to {}", distribution, old, new
                        );
                    }
                }
            }
            now += 200;
        }
    }
}
