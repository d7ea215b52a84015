//! Names of a StatefulSet's pods, written as one pattern.

use std::fmt;
use std::str::FromStr;

/// The most ordinals a pattern may span, and the most that are asked for.
pub const MAX_ORDINALS: u32 = 4096;

/// A name with an ordinal in it: `cache-{0..}.mycache.default.svc` or, with an upper bound, `cache-{0..4}.mycache`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ordinals {
    before: String,
    first: u32,
    last: Option<u32>,
    /// The rest of the first label.
    after: String,
    /// What follows it, with its dot.
    rest: String,
}

/// Why a pattern means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{pattern}` is no pattern of ordinals: {why}; it should read like `cache-{{0..}}.mycache.default.svc`"
)]
pub struct OrdinalsError {
    pattern: String,
    why: &'static str,
}

impl FromStr for Ordinals {
    type Err = OrdinalsError;

    fn from_str(pattern: &str) -> Result<Ordinals, OrdinalsError> {
        let bad = |why| OrdinalsError {
            pattern: pattern
                .chars()
                .take(300)
                .flat_map(char::escape_debug)
                .collect(),
            why,
        };
        let (before, tail) = pattern.split_once('{').ok_or(bad("it has no `{`"))?;
        let (range, tail) = tail.split_once('}').ok_or(bad("it has no `}`"))?;
        let (first, last) = range
            .split_once("..")
            .ok_or(bad("there's no `..` in the braces"))?;
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        };
        let first: u32 = number(first).ok_or(bad("the first ordinal is not a number"))?;
        let last: Option<u32> = match last {
            "" => None,
            text => Some(number(text).ok_or(bad("the last ordinal is not a number"))?),
        };
        if last.is_some_and(|last| last < first) {
            return Err(bad("the last ordinal lies before the first"));
        }
        if last.unwrap_or(first) - first >= MAX_ORDINALS || first > u32::MAX / 2 {
            return Err(bad("there are too many ordinals"));
        }
        if before.contains('.') {
            return Err(bad("the braces are not in the first label"));
        }
        let (after, rest) = tail.split_at(tail.find('.').unwrap_or(tail.len()));
        let ordinals = Ordinals {
            before: before.to_ascii_lowercase(),
            first,
            last,
            after: after.to_ascii_lowercase(),
            rest: rest.to_ascii_lowercase(),
        };
        if is_host_name(&ordinals.host(last.unwrap_or(u32::MAX))) {
            Ok(ordinals)
        } else {
            Err(bad("it is not a host name"))
        }
    }
}

impl fmt::Display for Ordinals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ordinals {
            before,
            first,
            last,
            after,
            rest,
        } = self;
        write!(f, "{before}{{{first}..")?;
        if let Some(last) = last {
            write!(f, "{last}")?;
        }
        write!(f, "}}{after}{rest}")
    }
}

impl Ordinals {
    /// The lowest ordinal.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The highest, if the pattern gives one.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.last
    }

    /// What the pod with this ordinal is called: the first label.
    #[must_use]
    pub fn member(&self, ordinal: u32) -> String {
        format!("{}{ordinal}{}", self.before, self.after)
    }

    /// Its whole name.
    #[must_use]
    pub fn host(&self, ordinal: u32) -> String {
        format!("{}{}", self.member(ordinal), self.rest)
    }
}

/// Whether DNS can have this name, as a host's: labels of 1 to 63 letters, digits, `-` and `_`, in all at most 253
/// bytes; a dot at the end makes it absolute.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    bare.len() <= 253 && bare.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_written() {
        for text in [
            "cache-{0..}.mycache.default.svc",
            "cache-{0..4}.mycache.default.svc.cluster.local.",
            "{1..1}",
            "a{7..}b.c",
        ] {
            let pattern: Ordinals = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
        let pattern: Ordinals = "Cache-{0..}x.Y".parse().unwrap();
        assert_eq!(pattern.member(12), "cache-12x");
        assert_eq!(pattern.host(12), "cache-12x.y");
        assert_eq!((pattern.first(), pattern.last()), (0, None));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (text, why) in [
            ("cache-0.mycache", "no `{`"),
            ("cache-{0..", "no `}`"),
            ("cache-{0}.x", "no `..`"),
            ("cache-{..4}.x", "first ordinal"),
            ("cache-{a..}.x", "first ordinal"),
            ("cache-{+1..}.x", "first ordinal"),
            ("cache-{0..N}.x", "last ordinal is not"),
            ("cache-{3..2}.x", "before the first"),
            ("cache-{0..4096}.x", "too many"),
            ("cache-{4294967295..}.x", "too many"),
            ("cache-{99999999999..}.x", "first ordinal"),
            ("x.cache-{0..}", "first label"),
            ("cache-{0..}..x", "host name"),
            ("cache {0..}.x", "host name"),
            ("cache-{0..}.x{0..}", "host name"),
        ] {
            let error = text.parse::<Ordinals>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!("cache-{0..4095}.x".parse::<Ordinals>().is_ok());
        assert!(
            format!("{}{{0..}}", "x".repeat(60))
                .parse::<Ordinals>()
                .is_err()
        );
    }
}
