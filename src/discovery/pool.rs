//! The members of one pool: those of all its sources together.
//!
//! Each source has a membership of its own, since each fails and answers for itself. A pool of several sources tells
//! members apart that are called the same in each, as pods of two StatefulSets may be: there a name that is unique
//! only within its source is followed by the source's.

use std::collections::BTreeMap;

use super::{Answer, Change, Identity, Member, Membership, Policy};
use crate::config::{Discover, Server, Source};
use std::time::Duration;

/// See the [module](self). Times are on the caller's clock.
#[derive(Debug, Clone)]
pub struct PoolMembers {
    sources: Vec<(Source, Membership)>,
}

impl PoolMembers {
    /// A pool without members yet.
    #[must_use]
    pub fn new(discover: &Discover) -> PoolMembers {
        let held = discover.membership;
        let policy = Policy {
            hold: held.hold,
            hold_top: held.hold_top,
            hold_ip: held.hold_ip,
            max_loss: held.max_loss,
            confirm: held.confirm,
            ..Policy::default()
        };
        PoolMembers {
            sources: discover
                .sources
                .iter()
                .map(|source| (source.clone(), Membership::new(policy.clone())))
                .collect(),
        }
    }

    /// Takes in what the source with this number said; see [`Membership::apply`].
    pub fn apply(&mut self, source: usize, now: Duration, answer: &Answer) -> Vec<Change> {
        match self.sources.get_mut(source) {
            Some((_, membership)) => membership.apply(now, answer),
            None => Vec::new(),
        }
    }

    /// The sources and what is known of each.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, &Membership)> {
        self.sources
            .iter()
            .map(|(source, members)| (source, members))
    }

    /// The membership of a source.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<&Membership> {
        self.sources.get(index).map(|(_, membership)| membership)
    }

    /// The members of all sources by the name that the ring hashes, in the order in which it has them.
    #[must_use]
    pub fn members(&self) -> Vec<(String, &Member)> {
        let several = self.sources.len() > 1;
        let mut seen = BTreeMap::new();
        let mut members = Vec::new();
        for (index, (source, membership)) in self.sources.iter().enumerate() {
            for member in membership.members() {
                let name = match (several, within(source)) {
                    (true, Some(within)) if is_local(member.identity) => {
                        format!("{}.{within}", member.name)
                    }
                    _ => member.name.clone(),
                };
                // Two sources that list the same server list it once.
                if seen.insert(name.clone(), index).is_none() {
                    members.push((name, member));
                }
            }
        }
        if several {
            members.sort_by(|(a, _), (b, _)| super::names::natural_order(a, b));
        }
        members
    }

    /// The members as a pool's servers.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.members()
            .into_iter()
            .map(|(name, member)| member.server(name))
            .collect()
    }
}

/// Whether the name is unique only within its source.
fn is_local(identity: Identity) -> bool {
    matches!(identity, Identity::Srv | Identity::Ordinal | Identity::Ptr)
}

fn within(source: &Source) -> Option<String> {
    let name = match source {
        Source::Service { name, .. } | Source::Addresses { name, .. } => name.clone(),
        Source::Ordinals { pattern, .. } => {
            let host = pattern.host(pattern.first());
            host.split_once('.')
                .map_or(String::new(), |(_, rest)| rest.to_owned())
        }
        Source::File(_) | Source::Endpoint { .. } => return None,
    };
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::Sighting;
    use super::*;
    use crate::config;

    fn discover(text: &str) -> Discover {
        let text = format!("[pools.a]\ndiscover = {text}\n");
        let (config, _) = config::parse("f", &text).unwrap();
        config.pools[0].discover.clone().unwrap()
    }

    fn shown(names: &[&str], identity: Identity) -> Answer {
        Answer::Members {
            sightings: names
                .iter()
                .map(|name| Sighting {
                    name: (*name).to_owned(),
                    identity,
                    addrs: vec![([10, 0, 0, 1], 11211).into()],
                    weight: None,
                })
                .collect(),
            valid: Duration::from_secs(5),
        }
    }

    fn names(pool: &PoolMembers) -> Vec<String> {
        pool.servers()
            .into_iter()
            .map(|server| server.name)
            .collect()
    }

    #[test]
    fn one_source_gives_its_names_as_they_are() {
        let mut pool = PoolMembers::new(&discover("\"cache.default.svc\""));
        pool.apply(0, Duration::ZERO, &shown(&["c-10", "c-2"], Identity::Srv));
        assert_eq!(names(&pool), ["c-2", "c-10"]);
    }

    #[test]
    fn names_of_several_sources_are_told_apart() {
        let mut pool = PoolMembers::new(&discover(
            "[\"cache.blue.svc\", \"c-{0..}.cache.green.svc.\", \"/etc/list\"]",
        ));
        pool.apply(0, Duration::ZERO, &shown(&["c-0"], Identity::Srv));
        pool.apply(1, Duration::ZERO, &shown(&["c-0"], Identity::Ordinal));
        pool.apply(
            2,
            Duration::ZERO,
            &shown(&["x:1", "c-0"], Identity::Configured),
        );
        assert_eq!(
            names(&pool),
            ["c-0", "c-0.cache.blue.svc", "c-0.cache.green.svc", "x:1"]
        );
        pool.apply(
            2,
            Duration::ZERO,
            &shown(&["c-0.cache.blue.svc"], Identity::Configured),
        );
        assert_eq!(
            names(&pool).len(),
            4,
            "once, although two show it; x:1 and c-0 are held"
        );
    }
}
