//! Jump consistent hash: John Lamping and Eric Veach, "A Fast, Minimal Memory, Consistent Hash
//! Algorithm", arXiv:1406.2294.
//!
//! The paper maps a number of 64 bits to a position; ringroad takes `xxh64(key)` with seed 0 for that
//! number, the hash of its default ring. Positions, not names, are hashed: servers are added and
//! removed at the end of the list only, or most keys move.

/// The position below `count` of a number; 0 if `count` is 0.
pub(super) fn jump(number: u64, count: u32) -> u32 {
    const TWO_POW_31: f64 = 2_147_483_648.0;
    let mut state = number;
    let mut found = 0;
    let mut candidate = 0_i64;
    while candidate < i64::from(count) {
        found = candidate;
        state = state
            .wrapping_mul(2_862_933_555_777_941_757)
            .wrapping_add(1);
        let draw = ((state >> 33) + 1) as f64;
        candidate = ((found + 1) as f64 * (TWO_POW_31 / draw)) as i64;
    }
    found as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_values_of_other_implementations() {
        // From the tests of widely used implementations in Go and Java; the placement over keys is
        // held against a package of its own in hash::golden.
        for (number, count, expected) in [
            (1, 1, 0),
            (42, 57, 43),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1024, 520),
        ] {
            assert_eq!(jump(number, count), expected, "{number} {count}");
        }
    }

    #[test]
    fn growing_by_one_moves_keys_only_to_the_new_position() {
        for number in (0..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            for count in 1..40 {
                let (before, after) = (jump(number, count), jump(number, count + 1));
                assert!(before < count && (after == before || after == count));
            }
        }
    }
}
