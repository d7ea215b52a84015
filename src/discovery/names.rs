//! Members' names: their order, their ordinals, and which ones are usable.
//!
//! The *natural order* compares runs of digits as numbers: `cache-2` stands before `cache-10`. It is a total order
//! that depends on the two names alone, so every node of a cluster lists the same members in the same order. That
//! matters for the distributions that place keys by position: with it, a StatefulSet grows and shrinks at the end
//! of its part of the list.
//!
//! An *ordinal name* ends (in its first label) with `-N`, as the pods of a StatefulSet are called.

use std::cmp::Ordering;

/// The longest name of a member in bytes; a host name has at most 253, an address with its port 47.
pub const MAX_NAME: usize = 255;

/// A name in natural order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) String);

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        natural_order(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares two names, digits as numbers. Names that differ only in leading zeros are ordered by their bytes, so
/// that only equal names are equal.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (text_a, rest_a) = split_while(left, |b| !b.is_ascii_digit());
        let (text_b, rest_b) = split_while(right, |b| !b.is_ascii_digit());
        let order = text_a.cmp(text_b);
        if order.is_ne() {
            return order;
        }
        if rest_a.is_empty() || rest_b.is_empty() {
            return rest_a.len().cmp(&rest_b.len()).then_with(|| a.cmp(b));
        }
        let (number_a, after_a) = split_while(rest_a, |b| b.is_ascii_digit());
        let (number_b, after_b) = split_while(rest_b, |b| b.is_ascii_digit());
        let order = number_order(number_a, number_b);
        if order.is_ne() {
            return order;
        }
        (left, right) = (after_a, after_b);
    }
}

/// Digits of any length, so that no number is too large.
fn number_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The leading part whose bytes all fit, and the rest. `fits` must not depend on part of a character.
fn split_while(text: &str, fits: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !fits(b)).unwrap_or(text.len());
    // Only ASCII digits decide, so `end` is at the boundary of a character.
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The parts of an ordinal name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordinal<'n> {
    /// What comes before the `-`; with `rest`, which StatefulSet it belongs to.
    pub stem: &'n str,
    /// What comes after the first label: `.service:11211`, or nothing.
    pub rest: &'n str,
    /// Its number.
    pub number: u64,
}

/// Takes `cache-3`, `cache-3.service` or `cache-3:11211` apart; `None` for a name that isn't made like this, also
/// for `cache-03`, which no StatefulSet has.
#[must_use]
pub fn ordinal(name: &str) -> Option<Ordinal<'_>> {
    let end = name.find(['.', ':']).unwrap_or(name.len());
    let (label, rest) = name.split_at_checked(end)?;
    let (stem, digits) = label.rsplit_once('-')?;
    let canonical =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if stem.is_empty() || !canonical {
        return None;
    }
    let number = digits.parse().ok()?;
    Some(Ordinal { stem, rest, number })
}

/// Whether a member may be called this: 1 to [`MAX_NAME`] bytes without blanks and control characters, since names
/// stand in statistics, logs and tables.
#[must_use]
pub fn is_usable(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinals_are_compared_as_numbers() {
        let sorted = [
            "10.0.0.2:11211",
            "10.0.0.10:9",
            "10.0.0.10:11211",
            "cache",
            "cache-0",
            "cache-1",
            "cache-2",
            "cache-10",
            "cache-10.service",
            "cache-11",
            "cache-99999999999999999999999999",
            "cache-100000000000000000000000000",
            "cache-a",
            "ö-1",
            "ö-2",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(natural_order(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(
            natural_order("cache-10", "cache-010"),
            "cache-10".cmp("cache-010")
        );
    }

    #[test]
    fn ordinal_names() {
        let parts = |name| ordinal(name).map(|o| (o.stem, o.number, o.rest));
        assert_eq!(parts("cache-0"), Some(("cache", 0, "")));
        assert_eq!(parts("my-cache-12"), Some(("my-cache", 12, "")));
        assert_eq!(parts("c-3.svc.ns"), Some(("c", 3, ".svc.ns")));
        assert_eq!(parts("c-3:11211"), Some(("c", 3, ":11211")));
        for name in [
            "",
            "cache",
            "cache-",
            "-1",
            "cache-01",
            "cache-x1",
            "cache-1x",
            "cache1",
            "10.0.0.1:11211",
            "[fd00::1-2]:1",
            "cache.x-1",
            "cache-99999999999999999999",
        ] {
            assert_eq!(parts(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_would_disturb_a_log_are_unusable() {
        for name in ["", "a b", "a\n", "\u{1b}[2J", "a\u{a0}b", &"x".repeat(256)] {
            assert!(!is_usable(name), "{name:?}");
        }
        assert!(is_usable("cache-0") && is_usable(&"x".repeat(255)));
    }

    fn name() -> impl Strategy<Value = String> {
        "[a0-2.-]{0,6}|[a-b]-[0-9]{1,3}|\\PC{0,6}"
    }

    proptest! {
        /// A list sorted by it comes out the same wherever it started, and nothing equals another name.
        #[test]
        fn it_is_a_total_order(a in name(), b in name(), c in name()) {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le(), "{:?} {:?} {:?}", a, b, c);
            }
        }

        #[test]
        fn any_name_is_taken_apart_or_not(name in name()) {
            if let Some(o) = ordinal(&name) {
                prop_assert_eq!(format!("{}-{}{}", o.stem, o.number, o.rest), name);
            }
        }
    }
}
