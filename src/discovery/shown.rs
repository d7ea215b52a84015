//! What an answer shows, made fit for the reducer: one entry for each name, bounded, in an order of its own.
//!
//! Sources clean up after themselves; this is the last line against an answer that is hostile or odd. The result
//! depends on what was shown, never on the order in which it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::names::{Name, is_usable};
use super::{Answer, Failure, FailureKind, Identity};

/// The most addresses a member is remembered with; the lowest are kept.
pub(super) const MAX_ADDRS: usize = 32;

/// One member as an answer shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) identity: Identity,
    /// Sorted, without doubles.
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) weight: Option<f64>,
    /// Whether the answer had an address alone, and the name was known from before.
    pub(super) adopted: bool,
}

impl Shown {
    /// Takes in another sighting of the same member.
    pub(super) fn unite(&mut self, other: Shown) {
        self.identity = self.identity.min(other.identity);
        self.addrs.extend(other.addrs);
        tidy(&mut self.addrs);
        // Two weights for one name are a mistake; the larger one wins, whichever came first.
        self.weight = match (self.weight, other.weight) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.adopted &= other.adopted;
    }
}

fn tidy(addrs: &mut Vec<SocketAddr>) {
    addrs.sort_unstable();
    addrs.dedup();
    addrs.truncate(MAX_ADDRS);
}

/// Who is shown, if anybody is.
///
/// # Errors
/// What the source said, or that its answer is of no use: empty, only unusable names, more than `limit` members.
pub(super) fn shown(answer: &Answer, limit: usize) -> Result<BTreeMap<Name, Shown>, Failure> {
    let sightings = match answer {
        Answer::Members { sightings, .. } => sightings,
        Answer::Failed(failure) => return Err(failure.clone()),
    };
    let mut members: BTreeMap<Name, Shown> = BTreeMap::new();
    for sighting in sightings.iter().filter(|one| is_usable(&one.name)) {
        let mut shown = Shown {
            identity: sighting.identity,
            addrs: sighting.addrs.clone(),
            weight: sighting
                .weight
                .filter(|weight| weight.is_finite() && *weight >= 0.0),
            adopted: false,
        };
        tidy(&mut shown.addrs);
        let name = Name(sighting.name.clone());
        if let Some(known) = members.get_mut(&name) {
            known.unite(shown);
        } else {
            members.insert(name, shown);
        }
        if members.len() > limit {
            return Err(Failure {
                kind: FailureKind::Unusable,
                detail: format!("the answer has more than {limit} members"),
            });
        }
    }
    if !members.is_empty() {
        return Ok(members);
    }
    Err(if sightings.is_empty() {
        Failure {
            kind: FailureKind::Empty,
            detail: "the answer has no members".into(),
        }
    } else {
        Failure {
            kind: FailureKind::Unusable,
            detail: "no name in the answer can be the name of a member".into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Sighting;
    use std::time::Duration;

    fn sighting(name: &str, identity: Identity, addrs: &[&str], weight: Option<f64>) -> Sighting {
        Sighting {
            name: name.into(),
            identity,
            addrs: addrs.iter().map(|addr| addr.parse().unwrap()).collect(),
            weight,
        }
    }

    fn of(sightings: Vec<Sighting>) -> Result<BTreeMap<Name, Shown>, Failure> {
        let valid = Duration::from_secs(5);
        shown(&Answer::Members { sightings, valid }, 3)
    }

    #[test]
    fn doubles_become_one_whatever_the_order() {
        let mut all = vec![
            sighting(
                "a-1",
                Identity::Configured,
                &["[::1]:1", "10.0.0.1:1"],
                Some(1.0),
            ),
            sighting("a-0", Identity::Srv, &[], Some(f64::NAN)),
            sighting("a-1", Identity::Srv, &["10.0.0.1:1"], Some(2.0)),
            sighting("a-1", Identity::Ip, &["10.0.0.2:1"], None),
            sighting("", Identity::Srv, &["10.0.0.3:1"], None),
        ];
        let expected = of(all.clone()).unwrap();
        let names: Vec<&str> = expected.keys().map(|name| name.0.as_str()).collect();
        assert_eq!(names, ["a-0", "a-1"]);
        let merged = &expected[&Name("a-1".into())];
        assert_eq!(merged.identity, Identity::Srv);
        assert_eq!(merged.weight, Some(2.0));
        assert_eq!(merged.addrs.len(), 3);
        assert_eq!(expected[&Name("a-0".into())].weight, None);
        for _ in 0..all.len() {
            all.rotate_left(1);
            assert_eq!(of(all.clone()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_of_no_use_is_a_failure() {
        let kind = |sightings| of(sightings).unwrap_err().kind;
        let named = |name: &str| sighting(name, Identity::Srv, &["10.0.0.1:1"], None);
        assert_eq!(kind(vec![]), FailureKind::Empty);
        assert_eq!(kind(vec![named("a\nb")]), FailureKind::Unusable);
        let four = ["a", "b", "c", "d"].map(named).to_vec();
        assert_eq!(kind(four), FailureKind::Unusable);
        let doubles = vec![named("a"); 1000];
        assert_eq!(of(doubles).unwrap().len(), 1);
    }

    #[test]
    fn addresses_are_bounded() {
        let addrs = (1..1000).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let mut one = sighting("a", Identity::Srv, &[], None);
        one.addrs = addrs.rev().collect();
        let shown = of(vec![one]).unwrap();
        let kept = &shown[&Name("a".into())].addrs;
        assert_eq!(kept.len(), MAX_ADDRS);
        assert_eq!(kept[0].port(), 1);
    }
}
