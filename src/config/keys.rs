//! Routes that look at more of a key than its hash, or change it on the way to the servers.
//!
//! [`Keys`] is plain data like [`Route`], whose one variant for all of these it is; the rules are mcrouter's.
//! What becomes of a key is worked out here, without any state, so that `explain` and the request path can't
//! differ; `routes_keys.rs` reads it, `keys_show.rs` writes it, for files and for people.
//!
//! Invariants: routing prefixes have the form `/region/cluster/` and are unique, and the default is one of them; there
//! are 2 to [`MAX_REPLICAS`] replicas; a shard has 1 to [`MAX_SPLIT`] parts. Clients see the keys that they have sent.

use super::Route;

/// The most copies that a key is split into.
pub const MAX_REPLICAS: u32 = 1000;

/// The most parts of a shard: as many as two letters tell apart, and the one without.
pub const MAX_SPLIT: u32 = 26 * 26 + 1;

/// What a hash stop begins with.
const STOP: &[u8] = b"|#|";

/// A route that looks into keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// By the routing prefix `/region/cluster/` that a key may begin with, which is not sent on.
    Prefixes {
        /// Which prefixes lead where; at least one each.
        routes: Vec<(Vec<String>, Route)>,
        /// The prefix that a key without one is taken to have.
        default: String,
        /// Whether keys with a prefix that leads nowhere go where those without one go; otherwise they are refused.
        unknown_to_default: bool,
    },
    /// Changes the beginning or the end of keys.
    Modify {
        /// Where everything goes.
        child: Box<Route>,
        /// How.
        modify: Modify,
    },
    /// Several copies of each key, of which each host uses one.
    Split {
        /// Where everything goes.
        child: Box<Route>,
        /// How many, and who gets what.
        split: Split,
    },
    /// Some shards have several parts, of which each host uses one.
    Shards {
        /// Where everything goes.
        child: Box<Route>,
        /// By the id of the shard.
        shards: Vec<(String, Shard)>,
    },
}

/// How keys are changed; the first rule that fits is the one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modify {
    /// The routing prefix that keys get instead of theirs; empty for none.
    pub set_routing_prefix: Option<String>,
    /// What every key begins with.
    pub ensure_key_prefix: String,
    /// A beginning that is taken away for `ensure_key_prefix`.
    pub replace_key_prefix: Option<String>,
    /// What is put behind the key.
    pub set_key_suffix: String,
    /// Where a key does not begin with `ensure_key_prefix`: whether as many bytes of it go.
    pub modify_inplace: bool,
}

/// Copies of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// How many.
    pub replicas: u32,
    /// A set goes to all of them; otherwise to that of this host.
    pub all_sync: bool,
    /// A get asks one after the other until one has the item; otherwise that of this host alone.
    pub first_hit: bool,
}

/// How many parts a shard has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Before the migration.
    pub old: u32,
    /// After it.
    pub new: u32,
    /// When it begins, in seconds since 1970.
    pub start: u64,
    /// How many seconds it takes; host by host changes over.
    pub period: u64,
    /// A deletion goes to all parts; otherwise to that of this host.
    pub fanout_deletes: bool,
}

impl Keys {
    /// The routes below it, in their order.
    pub fn children(&self) -> Vec<&Route> {
        match self {
            Keys::Prefixes { routes, .. } => routes.iter().map(|(_, route)| route).collect(),
            Keys::Modify { child, .. } | Keys::Split { child, .. } | Keys::Shards { child, .. } => {
                vec![child]
            }
        }
    }

    /// The same with other routes below it.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(Route) -> Route) -> Keys {
        match self {
            Keys::Prefixes {
                routes,
                default,
                unknown_to_default,
            } => Keys::Prefixes {
                routes: routes
                    .into_iter()
                    .map(|(prefixes, route)| (prefixes, change(route)))
                    .collect(),
                default,
                unknown_to_default,
            },
            Keys::Modify { child, modify } => Keys::Modify {
                child: Box::new(change(*child)),
                modify,
            },
            Keys::Split { child, split } => Keys::Split {
                child: Box::new(change(*child)),
                split,
            },
            Keys::Shards { child, shards } => Keys::Shards {
                child: Box::new(change(*child)),
                shards,
            },
        }
    }
}

/// Region and cluster of `/region/cluster/`.
pub fn split_prefix(prefix: &str) -> Option<(&str, &str)> {
    let inner = prefix.strip_prefix('/')?.strip_suffix('/')?;
    let (region, cluster) = inner.split_once('/')?;
    let good = |part: &str| !part.is_empty() && !part.contains('/');
    (good(region) && good(cluster)).then_some((region, cluster))
}

/// Whether a text can be part of a key.
pub fn is_part_of_key(text: &str) -> bool {
    text.len() <= 250 && !text.bytes().any(|b| b <= b' ' || b == 0x7f)
}

/// A key's routing prefix, which may be empty, and the key without it.
pub fn routing_prefix(key: &[u8]) -> (&[u8], &[u8]) {
    let slash = |from: usize| {
        let rest = key.get(from..)?;
        Some(from + memchr::memchr(b'/', rest)? + 1)
    };
    let end = match key.first() {
        Some(b'/') => slash(1).and_then(slash),
        _ => None,
    };
    key.split_at_checked(end.unwrap_or(0)).unwrap_or((b"", key))
}

/// Routing prefixes, each with the number of its route.
pub type Numbered = Vec<(Box<[u8]>, usize)>;

/// The routes that a key with this prefix goes to: numbers in `prefixes`, each once, the default's first if it is among
/// them. A star in the asked prefix stands for any text without a slash.
pub fn routes_of(
    asked: &[u8],
    prefixes: &[(Box<[u8]>, usize)],
    default: usize,
    unknown_to_default: bool,
) -> Vec<usize> {
    if asked.is_empty() {
        return vec![default];
    }
    let mut found: Vec<usize> = Vec::new();
    if asked.contains(&b'*') {
        let fitting = prefixes.iter().filter(|(prefix, _)| fits(asked, prefix));
        for (_, route) in fitting {
            if !found.contains(route) {
                found.push(*route);
            }
        }
        if let Some(place) = found.iter().position(|route| *route == default) {
            found.remove(place);
            found.insert(0, default);
        }
    } else {
        let of = |wanted: &[u8]| prefixes.iter().find(|(prefix, _)| **prefix == *wanted);
        let fallback = || {
            let region = memchr::memchr(b'/', asked.get(1..)?)? + 2;
            of(&[asked.get(..region)?, b"fallback/"].concat())
        };
        found.extend(of(asked).or_else(fallback).map(|(_, route)| *route));
    }
    if found.is_empty() && unknown_to_default {
        found.push(default);
    }
    found
}

/// Whether a text fits a pattern, in which a star is any text without a slash.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where to go on when it does not fit: behind the last star, which takes one byte more.
    let mut star = None;
    while let Some(byte) = text.get(place) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, place));
                at += 1;
            }
            Some(wanted) if wanted == byte => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((behind, taken)) if text.get(taken) != Some(&b'/') => {
                    star = Some((behind, taken + 1));
                    (at, place) = (behind, taken + 1);
                }
                _ => return false,
            },
        }
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|b| *b == b'*')
}

impl Modify {
    /// What becomes of a key without its routing prefix; `None`: it stays.
    pub fn apply(&self, key: &[u8]) -> Option<Vec<u8>> {
        let ensure = self.ensure_key_prefix.as_bytes();
        let suffix = self.set_key_suffix.as_bytes();
        let replace = self.replace_key_prefix.as_deref().map(str::as_bytes);
        if let Some(rest) = replace.and_then(|replace| key.strip_prefix(replace)) {
            return Some([ensure, rest, suffix].concat());
        }
        if !key.starts_with(ensure) {
            let rest = key
                .get(ensure.len()..)
                .filter(|_| self.modify_inplace)
                .unwrap_or(key);
            return Some([ensure, rest, suffix].concat());
        }
        (!suffix.is_empty()).then(|| [key, suffix].concat())
    }
}

/// A key's part before the hash stop, and the rest.
fn at_stop(key: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memmem::find(key, STOP).unwrap_or(key.len());
    key.split_at_checked(end).unwrap_or((key, b""))
}

impl Split {
    /// Which of the copies this host uses.
    pub fn own(&self, host: u32) -> u32 {
        host.checked_rem(self.replicas).unwrap_or(0)
    }

    /// The key of a copy; `None`: as it is. `full` is the length that it has with its routing prefix.
    pub fn key(&self, key: &[u8], replica: u32) -> Option<Vec<u8>> {
        let (routing, rest) = at_stop(key);
        let number = format!("::{replica}");
        (replica > 0).then(|| [routing, number.as_bytes(), rest].concat())
    }

    /// Whether a key of so many bytes, with its routing prefix, is too long to be split.
    pub const fn is_too_long(length: usize) -> bool {
        length + 5 > 255
    }
}

/// The id of the shard in a key, and where it ends: what stands between the first two colons, if that ends in a digit.
pub fn shard_id(key: &[u8]) -> Option<(&[u8], usize)> {
    let (routing, _) = at_stop(key);
    let start = memchr::memchr(b':', routing)? + 1;
    let rest = routing.get(start..)?;
    let id = rest.get(..memchr::memchr(b':', rest)?)?;
    id.last()?
        .is_ascii_digit()
        .then_some((id, start + id.len()))
}

impl Shard {
    /// One that has so many parts and keeps them.
    pub const fn fixed(parts: u32) -> Shard {
        Shard {
            old: parts,
            new: parts,
            start: 0,
            period: 0,
            fanout_deletes: true,
        }
    }

    /// How many parts there are for a host at a time in seconds since 1970.
    pub fn parts(&self, host: u32, now: u64) -> u32 {
        let elapsed = now.saturating_sub(self.start);
        let is_over = now >= self.start && elapsed >= self.period;
        // Host by host: those with a small number first.
        let has_changed =
            u128::from(host % 16_384) * u128::from(self.period) < u128::from(elapsed) * 16_384;
        if is_over || (now >= self.start && has_changed) {
            self.new
        } else {
            self.old
        }
    }
}

/// The key of a part of a shard whose id ends at `end`; `None`: as it is.
pub fn shard_key(key: &[u8], end: usize, part: u32) -> Option<Vec<u8>> {
    let index = part.checked_sub(1)?;
    let letter = |number: u32| b'a' + (number % 26) as u8;
    let (before, rest) = key.split_at_checked(end)?;
    let letters = [letter(index), letter(index / 26)];
    Some([before, &letters, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_routing_prefix_has_three_slashes() {
        for (key, prefix) in [
            ("/a/b/c", "/a/b/"),
            ("/a/b/c/d", "/a/b/"),
            ("/a/b/", "/a/b/"),
            ("///x", "///"),
            ("/a/b", ""),
            ("a/b/c/d", ""),
            ("/", ""),
            ("", ""),
        ] {
            let (found, rest) = routing_prefix(key.as_bytes());
            assert_eq!(found, prefix.as_bytes(), "{key}");
            assert_eq!([found, rest].concat(), key.as_bytes());
        }
    }

    fn routes(asked: &str, unknown_to_default: bool) -> Vec<usize> {
        let prefixes = [
            ("/e/a/", 1),
            ("/e/b/", 0),
            ("/w/a/", 2),
            ("/w/fallback/", 3),
            ("/w/b/", 1),
        ];
        let prefixes = prefixes.map(|(prefix, route)| (prefix.as_bytes().into(), route));
        routes_of(asked.as_bytes(), &prefixes, 0, unknown_to_default)
    }

    #[test]
    fn stars_reach_every_route_once_and_the_default_first() {
        for (asked, want) in [
            ("", vec![0]),
            ("/*/*/", vec![0, 1, 2, 3]),
            ("/e/*/", vec![0, 1]),
            ("/w/*/", vec![2, 3, 1]),
            ("/*/a/", vec![1, 2]),
            ("/*/b/", vec![0, 1]),
            ("/w/f*k/", vec![3]),
            ("/w/**/", vec![2, 3, 1]),
            ("/*/", vec![]),
            ("/w*a/", vec![]),
            ("/x/*/", vec![]),
        ] {
            assert_eq!(routes(asked, false), want, "{asked}");
        }
    }

    #[test]
    fn an_unknown_cluster_has_its_region_s_fallback() {
        assert_eq!(routes("/w/x/", false), [3]);
        assert_eq!(routes("/w/a/", false), [2]);
        assert_eq!(routes("/e/x/", false), Vec::<usize>::new());
        assert_eq!(routes("/e/x/", true), [0]);
        assert_eq!(routes("/x/*/", true), [0]);
    }

    #[test]
    fn keys_are_changed_by_the_first_rule_that_fits() {
        let modify = |ensure: &str, replace: Option<&str>, suffix: &str, inplace: bool| Modify {
            set_routing_prefix: None,
            ensure_key_prefix: ensure.to_owned(),
            replace_key_prefix: replace.map(str::to_owned),
            set_key_suffix: suffix.to_owned(),
            modify_inplace: inplace,
        };
        for (rule, key, want) in [
            (modify("p:", None, "", false), "k", Some("p:k")),
            (modify("p:", None, "", false), "p:k", None),
            (modify("p:", None, "", true), "abc", Some("p:c")),
            (modify("p:", None, "", true), "a", Some("p:a")),
            (modify("p:", None, ":s", false), "p:k", Some("p:k:s")),
            (modify("p:", None, ":s", false), "k", Some("p:k:s")),
            (modify("", None, ":s", false), "k", Some("k:s")),
            (modify("", None, "", false), "k", None),
            (modify("n:", Some("o:"), "", false), "o:k", Some("n:k")),
            (modify("n:", Some("o:"), "", false), "k", Some("n:k")),
            (modify("", Some("o:"), "", false), "o:k", Some("k")),
            (modify("n:", Some(""), "", false), "n:k", Some("n:n:k")),
            (modify("p:", None, "", false), "k|#|x", Some("p:k|#|x")),
        ] {
            let found = rule.apply(key.as_bytes());
            let found = found
                .as_deref()
                .map(|key| std::str::from_utf8(key).unwrap());
            assert_eq!(found, want, "{rule:?} {key}");
        }
    }

    #[test]
    fn copies_are_numbered_before_the_hash_stop() {
        let split = Split {
            replicas: 3,
            all_sync: true,
            first_hit: false,
        };
        assert_eq!(split.own(7), 1);
        assert_eq!(split.key(b"k", 0), None);
        assert_eq!(split.key(b"k", 2).unwrap(), b"k::2");
        assert_eq!(split.key(b"k|#|x", 12).unwrap(), b"k::12|#|x");
    }

    #[test]
    fn a_shard_s_id_stands_between_the_first_two_colons() {
        for (key, want) in [
            ("p:123:rest", Some(("123", 5))),
            ("p:x9:rest:1:", Some(("x9", 4))),
            ("p:12x:rest", None),
            ("p::rest", None),
            ("p:12", None),
            ("12:x", None),
            ("p:12|#|:x", None),
        ] {
            let found = shard_id(key.as_bytes());
            let want = want.map(|(id, end)| (id.as_bytes(), end));
            assert_eq!(found, want, "{key}");
        }
    }

    #[test]
    fn parts_have_two_letters_behind_the_id() {
        assert_eq!(shard_key(b"p:1:r", 3, 0), None);
        for (part, want) in [
            (1, "p:1aa:r"),
            (2, "p:1ba:r"),
            (26, "p:1za:r"),
            (27, "p:1ab:r"),
            (676, "p:1zz:r"),
        ] {
            assert_eq!(shard_key(b"p:1:r", 3, part).unwrap(), want.as_bytes());
        }
    }

    #[test]
    fn hosts_change_over_one_after_the_other() {
        let shard = Shard {
            old: 2,
            new: 4,
            start: 1000,
            period: 100,
            fanout_deletes: false,
        };
        assert_eq!(shard.parts(0, 999), 2);
        assert_eq!(shard.parts(0, 1001), 4);
        assert_eq!(shard.parts(8191, 1050), 4);
        assert_eq!(shard.parts(8192, 1050), 2);
        assert_eq!(shard.parts(16_383, 1100), 4);
        let at_once = Shard { period: 0, ..shard };
        assert_eq!((at_once.parts(9, 999), at_once.parts(9, 1000)), (2, 4));
    }

    proptest! {
        #[test]
        fn a_pattern_fits_as_by_trying_all(pattern in "[ab/*]{0,6}", text in "[ab/]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), _) if slow(rest, text) => true,
                    (Some((b'*', _)), Some((b, after))) => *b != b'/' && slow(pattern, after),
                    (Some((a, rest)), Some((b, after))) => a == b && slow(rest, after),
                    _ => false,
                }
            }
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(pattern, text), slow(pattern, text));
        }
    }
}
