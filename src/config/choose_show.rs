//! [`Choose`] in words, for those who ask what becomes of a key, and as TOML.

use super::Route;
use super::choose::{Choose, Rate};

impl Choose {
    /// What becomes of a request for `key`, in words, for each route that it may be sent to.
    pub fn ways(&self, key: &[u8]) -> Vec<(String, &Route)> {
        let children = self.children();
        let at = |index: usize| children.get(index).copied();
        let only = |what: String, child: Option<&'_ Route>| -> Vec<(String, usize)> {
            let found = children
                .iter()
                .position(|one| child.is_some_and(|child| std::ptr::eq(*one, child)));
            found.map(|index| (what, index)).into_iter().collect()
        };
        let found: Vec<(String, usize)> = match self {
            Choose::Null | Choose::Error { .. } => Vec::new(),
            Choose::Hash { placement, .. } => {
                let owner = self
                    .selector()
                    .and_then(Result::ok)
                    .map(|one| one.select(key));
                let count = children.len();
                owner.map_or(Vec::new(), |owner| {
                    let what = format!(
                        "hash {}: child {owner} of 0 to {}",
                        placement.distribution,
                        count.saturating_sub(1)
                    );
                    only(what, at(owner))
                })
            }
            Choose::Random { .. } => (0..children.len())
                .map(|index| (format!("random: child {index}"), index))
                .collect(),
            Choose::Host { .. } => self.own().map_or(Vec::new(), |own| {
                only(format!("child {own}, that of this host"), at(own))
            }),
            Choose::Operation { operations, .. } => {
                let named = operations
                    .iter()
                    .map(|(requests, _)| requests.name().to_owned());
                named
                    .chain(["any other command".to_owned()])
                    .enumerate()
                    .map(|(index, what)| (what, index))
                    .collect()
            }
            Choose::Exptime { .. } => vec![(self.to_string(), 0)],
            Choose::RateLimit { .. } => vec![
                (self.to_string(), 0),
                ("what is over the rate".to_owned(), 1),
            ],
            Choose::HashStop { .. } => match self.allows(key) {
                true => vec![("hash stop allowed, or none".to_owned(), 0)],
                false => Vec::new(),
            },
        };
        found
            .into_iter()
            .filter_map(|(what, index)| Some((what, at(index)?)))
            .collect()
    }

    /// The routes below it, each with what leads there.
    pub fn labelled(&self) -> Vec<(String, &Route)> {
        match self {
            Choose::Operation { operations, .. } => {
                let names = operations.iter().map(|(requests, _)| requests.name());
                let labels = names.chain(["any other"]).map(str::to_owned);
                labels.zip(self.children()).collect()
            }
            Choose::RateLimit { .. } => {
                let labels = ["within the rate", "over it"].map(str::to_owned);
                labels.into_iter().zip(self.children()).collect()
            }
            Choose::Exptime { .. } | Choose::HashStop { .. } => {
                let children = self.children().into_iter();
                children
                    .map(|child| ("all of it".to_owned(), child))
                    .collect()
            }
            _ => {
                let children = self.children().into_iter().enumerate();
                children
                    .map(|(index, child)| (index.to_string(), child))
                    .collect()
            }
        }
    }
}

impl std::fmt::Display for Choose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Choose::Null => f.write_str("nothing: answered as by an empty cache"),
            Choose::Error {
                message, result, ..
            } => {
                let line = result.wire(message);
                write!(f, "nothing: answered with {}", line.trim_end())
            }
            Choose::Hash { placement, .. } => {
                write!(f, "by a hash of the key, {}", placement.distribution)
            }
            Choose::Random { .. } => f.write_str("any child, for each request anew"),
            Choose::Host { children, .. } => {
                let own = self.own().unwrap_or(0);
                write!(f, "child {own} of {} on this host", children.len())
            }
            Choose::Operation { .. } => f.write_str("by what the request does"),
            Choose::Exptime {
                exptime, at_most, ..
            } => {
                let rule = if *at_most { "at most" } else { "set to" };
                write!(f, "time to live {rule} {exptime}s")
            }
            Choose::RateLimit {
                rates, fallback, ..
            } => {
                let given = rates.named().into_iter();
                let given = given.filter_map(|(name, rate)| Some((name, rate?)));
                let given: Vec<String> = given
                    .map(|(name, Rate { rate, burst })| {
                        format!("{rate} {name} a second, {burst} at once")
                    })
                    .collect();
                write!(f, "at most {}", given.join("; "))?;
                match fallback {
                    Some(_) => Ok(()),
                    None => f.write_str("; others answered as by an empty cache"),
                }
            }
            Choose::HashStop { prefixes, .. } => {
                write!(
                    f,
                    "keys with |#| only if they begin with one of {prefixes:?}"
                )
            }
        }
    }
}

/// The table of a route; `route` writes those below it.
pub(super) fn render(choose: &Choose, route: impl Fn(&Route) -> String) -> String {
    use super::render::{key, list, quoted};
    let all = |children: &[Route]| list(children.iter().map(&route));
    let kind = |kind: &str, rest: &[String]| {
        let mut parts = vec![format!("type = \"{kind}\"")];
        parts.extend_from_slice(rest);
        format!("{{ {} }}", parts.join(", "))
    };
    match choose {
        Choose::Null => kind("null", &[]),
        Choose::Error {
            message,
            result,
            shown,
        } => kind(
            "error",
            &[
                format!("message = {}", quoted(message)),
                format!("result = {}", quoted(result.name)),
                format!("shown = {shown}"),
            ],
        ),
        Choose::Hash {
            children,
            placement,
            weights,
            names,
        } => {
            let mut parts = vec![format!("children = {}", all(children))];
            let name = placement.distribution.name();
            parts.push(format!("distribution = {}", quoted(name)));
            if let Some(hash) = placement.hash {
                parts.push(format!("hash = {}", quoted(&hash.to_string())));
            }
            if let Some(points) = placement.points {
                parts.push(format!("points = {points}"));
            }
            if !placement.salt.is_empty() {
                parts.push(format!("salt = {}", quoted(&placement.salt)));
            }
            if let Some(variable) = &placement.weights_variable {
                parts.push(format!("weights_variable = {}", quoted(variable)));
            }
            if let Some((open, close)) = placement.tag {
                let tag = format!("{}{}", char::from(open), char::from(close));
                parts.push(format!("hash_tag = {}", quoted(&tag)));
            }
            parts.push(format!("hash_stop = {}", placement.stop));
            if let Some(buckets) = &placement.buckets {
                let buckets = super::placement::render_buckets(buckets);
                parts.push(format!("buckets = {buckets}"));
            }
            if !weights.is_empty() {
                let weights = weights.iter().map(|weight| format!("{weight:?}"));
                parts.push(format!("weights = {}", list(weights)));
            }
            if !names.is_empty() {
                let names = names.iter().map(|name| quoted(name));
                parts.push(format!("names = {}", list(names)));
            }
            kind("hash", &parts)
        }
        Choose::Random { children } => kind("random", &[format!("children = {}", all(children))]),
        Choose::Host { children, salt } => {
            let mut parts = vec![format!("children = {}", all(children))];
            if !salt.is_empty() {
                parts.push(format!("salt = {}", quoted(salt)));
            }
            kind("host", &parts)
        }
        Choose::Operation {
            default,
            operations,
        } => {
            let mut parts = Vec::new();
            if let Some(default) = default {
                parts.push(format!("default = {}", route(default)));
            }
            let operations: Vec<String> = operations
                .iter()
                .map(|(requests, child)| format!("{} = {}", key(requests.name()), route(child)))
                .collect();
            parts.push(format!("operations = {{ {} }}", operations.join(", ")));
            kind("operation", &parts)
        }
        Choose::Exptime {
            child,
            exptime,
            at_most,
        } => {
            let action = if *at_most { "min" } else { "set" };
            let parts = [
                format!("child = {}", route(child)),
                format!("exptime = {exptime}"),
                format!("action = \"{action}\""),
            ];
            kind("exptime", &parts)
        }
        Choose::RateLimit {
            child,
            rates,
            fallback,
        } => {
            let mut parts = vec![format!("child = {}", route(child))];
            for (name, rate) in rates.named() {
                if let Some(Rate { rate, burst }) = rate {
                    parts.push(format!("{name}_rate = {rate:?}"));
                    parts.push(format!("{name}_burst = {burst:?}"));
                }
            }
            if let Some(fallback) = fallback {
                parts.push(format!("fallback = {}", route(fallback)));
            }
            kind("rate-limit", &parts)
        }
        Choose::HashStop { child, prefixes } => {
            let prefixes = prefixes.iter().map(|prefix| quoted(prefix));
            let parts = [
                format!("child = {}", route(child)),
                format!("prefixes = {}", list(prefixes)),
            ];
            kind("hash-stop", &parts)
        }
    }
}
