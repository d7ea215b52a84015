//! The root of a routing prefix, where alone a PrefixSelectorRoute may stand.

use super::super::super::diagnostics::quoted;
use super::super::super::{Choose, ErrorResult, Route};
use super::super::value::{Kind, Map, Value};
use super::Builder;

impl Builder<'_, '_> {
    /// Builds the tree of the default route. `None` after an error.
    pub(in super::super) fn root(&mut self, value: &Value) -> Option<Route> {
        let map = value.as_map().filter(|map| {
            let kind = map.get("type").and_then(Value::as_text);
            kind.is_some_and(|kind| &**kind == "PrefixSelectorRoute")
        });
        match map {
            Some(map) => self.prefix_selector(value, map),
            None => self.route(value),
        }
    }

    fn prefix_selector(&mut self, value: &Value, map: &Map) -> Option<Route> {
        let empty = Vec::new();
        let policies = match map.get("policies") {
            None => empty,
            Some(policies) => match &policies.kind {
                Kind::Map(map) => map.members().iter().collect(),
                _ => {
                    let what = policies.what();
                    let message = format!("`policies` must be an object, not {what}");
                    self.findings.error(policies.at, message);
                    return None;
                }
            },
        };
        let wildcard = map.get("wildcard");
        if policies.is_empty() && wildcard.is_none() {
            self.findings.error(
                value.at,
                "a PrefixSelectorRoute needs `policies` or a `wildcard`",
            );
            return None;
        }
        let mut prefixes = Vec::new();
        let mut everything = None;
        let mut is_good = true;
        for (prefix, member) in policies {
            let Some(route) = self.route(&member.value) else {
                is_good = false;
                continue;
            };
            if prefix.is_empty() {
                everything = Some(route);
            } else if prefix.contains("|#|")
                || prefix.len() > 250
                || prefix.bytes().any(|b| b <= b' ' || b == 0x7f)
            {
                let message = format!("no key is routed by the prefix {}", quoted(prefix));
                self.findings
                    .warn(member.key_at, message)
                    .label("never used");
            } else if prefix.ends_with('|') || prefix.ends_with("|#") {
                is_good = false;
                let _: Option<()> = self.later(
                    member.key_at,
                    "a prefix that ends like the beginning of a hash stop",
                );
            } else {
                prefixes.push((prefix.as_bytes().to_vec(), route));
            }
        }
        let wildcard = match wildcard {
            None => None,
            Some(wildcard) => Some(self.route(wildcard)?),
        };
        let Some(default) = everything.or(wildcard) else {
            return is_good.then(|| {
                // mcrouter's words, which clients see whether failed gets are misses or not.
                let default = Box::new(Route::Choose(Choose::Error {
                    message: "RootRoute: No rh found".to_owned(),
                    result: ErrorResult::DEFAULT,
                    shown: true,
                }));
                Route::Prefix { prefixes, default }
            });
        };
        if !is_good {
            return None;
        }
        if prefixes.is_empty() {
            return Some(default);
        }
        let default = Box::new(default);
        Some(Route::Prefix { prefixes, default })
    }
}
