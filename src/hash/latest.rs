//! mcrouter's LatestRoute: which children a host uses, and in which order.
//!
//! The order follows from the host's id alone, so that each host has children of its own and keeps them. The id is mixed
//! with the salt and, after each draw, with its number; what is drawn is a place by WeightedCh3 of the mixed number in
//! decimal. The last of those that are left takes the place of the one that was drawn.

use super::ch3::{threshold, weighted_ch3};
use super::city::mix;
use super::spooky::spooky64;

/// Thomas Wang's mix of 64 bits.
pub(crate) fn twang_mix(key: u64) -> u64 {
    let mut mixed = (!key).wrapping_add(key << 21);
    mixed ^= mixed >> 24;
    mixed = mixed.wrapping_mul(265);
    mixed ^= mixed >> 14;
    mixed = mixed.wrapping_mul(21);
    mixed ^= mixed >> 28;
    mixed.wrapping_add(mixed << 31)
}

/// The first `count` of so many children as this host orders them. A missing weight is 1.
pub(crate) fn latest(
    host: u32,
    children: usize,
    count: usize,
    salt: &str,
    weights: &[f64],
) -> Vec<usize> {
    let mut key = mix(0, host.into());
    if !salt.is_empty() {
        key = mix(twang_mix(key), spooky64(salt.as_bytes(), 0));
    }
    let mut left: Vec<(usize, u32)> = (0..children)
        .map(|index| (index, threshold(weights.get(index).copied().unwrap_or(1.0))))
        .collect();
    let mut order = Vec::new();
    for draw in 0..count.min(children) as u64 {
        let number = key.to_string();
        let weight = |place: u32| left.get(place as usize).map_or(0, |(_, weight)| *weight);
        let place = weighted_ch3(number.as_bytes(), b"", left.len() as u32, weight) as usize;
        if place < left.len() {
            order.push(left.swap_remove(place).0);
        }
        key = mix(key, draw);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from mcrouter 0.36 on a host with the only address 10.244.1.7.
    #[test]
    fn a_host_has_the_children_that_mcrouter_gives_it() {
        const HOST: u32 = 1_269_154_689;
        let eight = [0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.01, 0.6];
        let ten = [
            0.324, 0.151, 0.651, 0.072, 0.536, 0.366, 0.058, 0.507, 0.037, 0.434,
        ];
        for (children, count, salt, weights, want) in [
            (1, 5, "", &[][..], &[0][..]),
            (1, 5, "abc", &[], &[0]),
            (2, 5, "", &[], &[1, 0]),
            (2, 5, "abc", &[], &[0, 1]),
            (2, 5, "", &[1.0, 0.5], &[0, 1]),
            (3, 5, "", &[], &[1, 0, 2]),
            (3, 2, "", &[], &[1, 0]),
            (3, 5, "abc", &[], &[0, 2, 1]),
            (3, 5, "", &[0.1, 1.0, 0.5], &[1, 2, 0]),
            (5, 5, "", &[], &[4, 2, 3, 0, 1]),
            (5, 5, "abc", &[], &[0, 4, 3, 1, 2]),
            (5, 5, "", &[1.0, 0.9, 0.3, 0.0, 0.7], &[4, 1, 2, 0, 3]),
            (8, 100, "", &[], &[5, 2, 4, 3, 1, 6, 7, 0]),
            (8, 5, "abc", &[], &[0, 7, 5, 4, 3]),
            (8, 5, "", &eight, &[2, 3, 4, 7, 1]),
            (10, 100, "", &[], &[5, 8, 4, 9, 1, 2, 7, 0, 6, 3]),
            (10, 5, "abc", &[], &[0, 7, 5, 4, 3]),
            (10, 5, "", &ten, &[2, 7, 4, 5, 1]),
            (50, 5, "", &[], &[11, 31, 36, 43, 1]),
            (50, 5, "abc", &[], &[0, 46, 18, 16, 3]),
        ] {
            assert_eq!(
                latest(HOST, children, count, salt, weights),
                want,
                "{children} {salt} {weights:?}"
            );
        }
    }
}
