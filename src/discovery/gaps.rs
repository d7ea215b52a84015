//! Ordinals that must be there because those around them are.
//!
//! A StatefulSet has no gaps. A router that starts while one of its pods restarts sees those below and above it; if it
//! placed keys without it, it would place them otherwise than the routers that know it, and then again when it comes
//! back. So its place is kept from the beginning, as for any member that is not shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Identity;
use super::names::{Name, ordinal};
use super::shown::Shown;

/// The names that lie between shown ones, with the identity of the one below; none of those that are known to be
/// `gone`. As many as half of those that are shown at most: more is not a pod that restarts but another scheme of names.
pub(super) fn gaps(shown: &BTreeMap<Name, Shown>, gone: &BTreeSet<Name>) -> Vec<(Name, Identity)> {
    let mut sets: HashMap<(&str, &str), Vec<(u64, Identity)>> = HashMap::new();
    for (name, one) in shown {
        let by_name = matches!(
            one.identity,
            Identity::Srv | Identity::Ordinal | Identity::Ptr
        );
        if by_name && let Some(ordinal) = ordinal(&name.0) {
            let set = sets.entry((ordinal.stem, ordinal.rest)).or_default();
            // In natural order, thus by number.
            set.push((ordinal.number, one.identity));
        }
    }
    let mut found = Vec::new();
    for ((stem, rest), set) in sets {
        let most = set.len() as u64 / 2;
        let steps = || set.iter().zip(set.iter().skip(1));
        let missing: u64 = steps()
            .map(|((low, _), (high, _))| high.saturating_sub(*low).saturating_sub(1))
            .fold(0, u64::saturating_add);
        if missing > most {
            continue;
        }
        for ((low, identity), (high, _)) in steps() {
            let names = (low.saturating_add(1)..*high).map(|n| Name(format!("{stem}-{n}{rest}")));
            let names = names.filter(|name| !gone.contains(name));
            found.extend(names.map(|name| (name, *identity)));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str], identity: Identity, gone: &[&str]) -> Vec<String> {
        let shown = names
            .iter()
            .map(|name| {
                let one = Shown {
                    identity,
                    addrs: Vec::new(),
                    weight: None,
                    adopted: false,
                };
                (Name((*name).to_owned()), one)
            })
            .collect();
        let gone = gone.iter().map(|name| Name((*name).to_owned())).collect();
        let found = gaps(&shown, &gone).into_iter();
        found.map(|(name, _)| name.0).collect()
    }

    #[test]
    fn what_lies_between_ordinals_is_missing() {
        let srv = Identity::Srv;
        assert_eq!(found(&["c-0", "c-2"], srv, &[]), ["c-1"]);
        assert_eq!(found(&["c-9", "c-10", "c-12"], srv, &[]), ["c-11"]);
        assert_eq!(found(&["c-0.x", "c-2.x", "d-5.x"], srv, &[]), ["c-1.x"]);
        for none in [
            &["c-0"][..],
            &["c-1", "c-2"],
            &["c-0", "c-3"],
            &["c-0", "c-99"],
            &["a", "c"],
        ] {
            assert_eq!(found(none, srv, &[]), [] as [&str; 0], "{none:?}");
        }
        let far = ["c-0", "c-18446744073709551615"];
        assert_eq!(found(&far, srv, &[]), [] as [&str; 0]);
        assert_eq!(found(&["c-0", "c-2"], srv, &["c-1"]), [] as [&str; 0]);
        // A list has the servers it has.
        assert_eq!(
            found(&["c-0", "c-2"], Identity::Configured, &[]),
            [] as [&str; 0]
        );
    }
}
