//! Where a key goes next when a request has failed; see [`KeyedFailover`]. Pure.

use crate::config::{Draws, KeyOrder, KeyedFailover, Verdict};
use crate::hash::{ch3, rendezvous_order, routing_key, weighted};

/// With more draws than that a failed domain does not matter any more.
const DOMAIN_DRAWS: u32 = 76;

/// So many more draws at most for one try.
const MORE_DRAWS: u32 = 100;

/// A request's way through the children of a [`KeyedFailover`]; child 0 has been tried.
#[derive(Debug)]
pub struct Way<'r> {
    rule: &'r KeyedFailover,
    key: &'r [u8],
    children: usize,
    /// What has been tried, or stands for the same as what has been.
    used: Vec<usize>,
    /// The server of the first child, as a child.
    normal: Option<usize>,
    tries: u32,
    errors: u32,
    /// The number behind the key.
    number: u32,
    draws: u32,
    failed_domains: Vec<u32>,
}

impl<'r> Way<'r> {
    /// For a key and so many children; `normal` is the server that the first child has for the key.
    pub fn new(
        rule: &'r KeyedFailover,
        key: &'r [u8],
        children: usize,
        normal: Option<usize>,
    ) -> Way<'r> {
        let normal = normal.map(|index| index + 1);
        let repeats = match &rule.order {
            KeyOrder::Draws(draws) => draws.repeats_normal,
            KeyOrder::Rendezvous { .. } => false,
        };
        Way {
            rule,
            key: routing_key(key, None, true),
            children,
            used: [0].into_iter().chain(normal.filter(|_| !repeats)).collect(),
            normal,
            tries: 1,
            errors: 0,
            number: 1,
            draws: 0,
            failed_domains: Vec::new(),
        }
    }

    /// A child has failed: where to next? `None`: nowhere.
    pub fn next(&mut self, failed: usize, verdict: Verdict) -> Option<usize> {
        let next = match &self.rule.order {
            KeyOrder::Draws(draws) => {
                let is_down = matches!(verdict, Verdict::Tko | Verdict::ConnectError);
                self.errors += u32::from(!is_down && !draws.excluded.has(verdict));
                let failed = if failed == 0 {
                    self.normal
                } else {
                    Some(failed)
                };
                let domain = failed.map_or(0, |failed| domain_of(draws, failed));
                self.failed_domains.extend((domain != 0).then_some(domain));
                if self.tries >= draws.max_tries || self.errors >= draws.max_error_tries {
                    return None;
                }
                self.draw(draws)
            }
            KeyOrder::Rendezvous { tags, weights } => {
                let weights: Vec<f64> = weights.iter().map(|one| one.number()).collect();
                let order = rendezvous_order(tags, &weights, self.key);
                let all = order.into_iter().map(|index| index + 1);
                let mut left = all.filter(|child| *child < self.children);
                left.find(|child| !self.used.contains(child))
            }
        }?;
        self.tries += 1;
        self.used.push(next);
        Some(next)
    }

    fn draw(&mut self, draws: &Draws) -> Option<usize> {
        let count = u32::try_from(self.children).ok()?;
        let weights: Vec<f64> = draws.weights.iter().map(|one| one.number()).collect();
        for _ in 0..=MORE_DRAWS {
            self.number += 1;
            self.draws += 1;
            let hashed = [self.key, self.number.to_string().as_bytes()].concat();
            let child = match weights.as_slice() {
                [] => ch3(&hashed, count),
                weights => weighted(&hashed, count, weights),
            } as usize;
            let domain = domain_of(draws, child);
            let has_failed = self.draws <= DOMAIN_DRAWS && self.failed_domains.contains(&domain);
            if !self.used.contains(&child) && !has_failed {
                return Some(child);
            }
        }
        None
    }
}

fn domain_of(draws: &Draws, child: usize) -> u32 {
    let place = child.checked_sub(1);
    let domain = place.and_then(|place| draws.domains.get(place));
    domain.copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Failover, Millionths, Verdicts};

    fn draws() -> Draws {
        match KeyedFailover::DEFAULT.order {
            KeyOrder::Draws(draws) => draws,
            KeyOrder::Rendezvous { .. } => unreachable!(),
        }
    }

    /// All children in their order; every one fails like this.
    fn way(order: KeyOrder, key: &str, normal: Option<usize>, verdict: Verdict) -> Vec<usize> {
        let rule = KeyedFailover {
            failover: Failover::DEFAULT,
            order,
        };
        let mut way = Way::new(&rule, key.as_bytes(), 6, normal);
        let mut all = vec![0];
        while let Some(next) = way.next(all[all.len() - 1], verdict) {
            all.push(next);
        }
        all
    }

    #[test]
    fn draws_are_those_of_the_key_with_a_number_from_two_on() {
        for key in ["a", "key1", "foo|#|x"] {
            let hashed = key.split('|').next().unwrap();
            let all = way(KeyOrder::Draws(draws()), key, Some(2), Verdict::Timeout);
            let mut want = vec![0];
            for number in 2..200 {
                let child = ch3(format!("{hashed}{number}").as_bytes(), 6) as usize;
                if child != 3 && !want.contains(&child) {
                    want.push(child);
                }
            }
            assert_eq!(all, want, "{key}");
            assert_eq!(all.len(), 5);
        }
    }

    #[test]
    fn it_ends_after_so_many_tries_or_errors() {
        let bound = |max_tries, max_error_tries| {
            KeyOrder::Draws(Draws {
                max_tries,
                max_error_tries,
                excluded: Verdicts::NONE.with(Verdict::Busy),
                ..draws()
            })
        };
        for (order, verdict, want) in [
            (bound(3, 9), Verdict::Timeout, 3),
            (bound(1, 9), Verdict::Timeout, 1),
            (bound(9, 2), Verdict::Timeout, 2),
            (bound(9, 2), Verdict::Busy, 6),
            (bound(9, 2), Verdict::Tko, 6),
        ] {
            assert_eq!(way(order, "k", None, verdict).len(), want);
        }
    }

    #[test]
    fn a_failed_domain_is_left_for_the_end() {
        // Children 1, 2 and 3 stand together; the key's own server is child 2.
        let order = |repeats_normal| {
            KeyOrder::Draws(Draws {
                domains: vec![7, 7, 7, 8, 0],
                repeats_normal,
                ..draws()
            })
        };
        let all = way(order(false), "k", Some(1), Verdict::Timeout);
        assert_eq!(all[0], 0);
        let mut next = all[1..3].to_vec();
        next.sort_unstable();
        assert_eq!(next, [4, 5], "{all:?}");
        assert!(!all.contains(&2), "{all:?}");
        assert!(way(order(true), "k", Some(1), Verdict::Timeout).contains(&2));
    }

    #[test]
    fn weights_of_nothing_are_drawn_for_want_of_others_only() {
        let weights = [0, 0, 1_000_000, 1_000_000, 0, 0].map(Millionths).to_vec();
        let order = KeyOrder::Draws(Draws { weights, ..draws() });
        let all = way(order, "k", None, Verdict::Timeout);
        let mut next = all[1..3].to_vec();
        next.sort_unstable();
        assert_eq!(next, [2, 3], "{all:?}");
    }

    #[test]
    fn rendezvous_goes_by_the_scores_of_tags() {
        let tags: Vec<String> = (0..5).map(|n| format!("t{n}")).collect();
        let order = |weights: &[u32]| KeyOrder::Rendezvous {
            tags: tags.clone(),
            weights: weights.iter().copied().map(Millionths).collect(),
        };
        // The winners of the reference are child 5 for "foo", child 2 for "key1".
        for (key, first) in [("foo", 5), ("key1", 2)] {
            let all = way(order(&[]), key, None, Verdict::Timeout);
            assert_eq!((all.len(), all[1]), (6, first));
            let without = way(order(&[]), key, Some(first - 1), Verdict::Timeout);
            assert!(!without.contains(&first));
            assert_eq!(without[1], all[2]);
        }
        let weights = [500_000, 1_000_000, 2_000_000, 4_000_000, 0];
        assert_eq!(
            way(order(&weights), "abcdefgh", None, Verdict::Timeout)[1],
            3
        );
        assert_eq!(way(order(&weights), "key1", None, Verdict::Timeout)[1], 4);
    }
}
