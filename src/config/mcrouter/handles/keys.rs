//! Types that change keys: ModifyKeyRoute, KeySplitRoute, and the `shard_splits` of a PoolRoute.

use super::super::super::diagnostics::quoted;
use super::super::super::keys::{MAX_REPLICAS, MAX_SPLIT, is_part_of_key, split_prefix};
use super::super::super::{Keys, Modify, Route, Shard, Split};
use super::super::value::{Kind, Map, Value};
use super::{Builder, Handle, Spec, Type, is_off};

pub(super) const TYPES: &[Type] = &[
    ("ModifyKeyRoute", |builder, spec| {
        let child = Box::new(builder.required(spec, "target")?);
        let modify = builder.modify_key(spec)?;
        Some(one(Keys::Modify { child, modify }))
    }),
    ("KeySplitRoute", |builder, spec| {
        let child = Box::new(builder.required(spec, "destination")?);
        let split = builder.key_split(spec)?;
        Some(one(Keys::Split { child, split }))
    }),
];

fn one(keys: Keys) -> Vec<Handle> {
    vec![Handle::Route(Route::Keys(keys))]
}

impl Builder<'_, '_> {
    /// A field that is true or false.
    pub(super) fn flag(
        &mut self,
        spec: &Spec<'_>,
        name: &str,
        default: Option<bool>,
    ) -> Option<bool> {
        let found = spec.field(name);
        match (found.map(|value| &value.kind), default) {
            (Some(Kind::Bool(flag)), _) => Some(*flag),
            (None, Some(default)) => Some(default),
            _ => {
                let at = found.map_or(spec.at, |value| value.at);
                let message = format!("`{name}` of {} must be true or false", spec.kind);
                self.findings.error(at, message);
                None
            }
        }
    }

    fn modify_key(&mut self, spec: &Spec<'_>) -> Option<Modify> {
        let mut part = |name: &str| -> Option<Option<String>> {
            let Some(value) = spec.field(name) else {
                return Some(None);
            };
            let text = self.text(spec, name, "")?;
            if is_part_of_key(&text) {
                return Some(Some(text));
            }
            let message = format!("`{name}` can't be part of a key");
            self.findings
                .error(value.at, message)
                .label("keys have up to 250 bytes, no blanks and no control characters");
            None
        };
        let ensure = part("ensure_key_prefix");
        let replace = part("replace_key_prefix");
        let suffix = part("set_key_suffix");
        let routing = part("set_routing_prefix");
        let modify_inplace = self.flag(spec, "modify_inplace", Some(false));
        // The outer slashes may be missing.
        let set_routing_prefix = match routing? {
            Some(text) if !text.is_empty() => {
                let inner = text.trim_start_matches('/').trim_end_matches('/');
                let prefix = format!("/{inner}/");
                if split_prefix(&prefix).is_none() {
                    let at = spec.field("set_routing_prefix");
                    let at = at.map_or(spec.at, |value| value.at);
                    let message = format!("{} is not a routing prefix", quoted(&text));
                    self.findings
                        .error(at, message)
                        .label("write \"/region/cluster/\"");
                    return None;
                }
                Some(prefix)
            }
            other => other,
        };
        Some(Modify {
            set_routing_prefix,
            ensure_key_prefix: ensure?.unwrap_or_default(),
            replace_key_prefix: replace?,
            set_key_suffix: suffix?.unwrap_or_default(),
            modify_inplace: modify_inplace?,
        })
    }

    fn key_split(&mut self, spec: &Spec<'_>) -> Option<Split> {
        let most = i64::from(MAX_REPLICAS);
        let replicas = match spec.field("replicas").map(|value| &value.kind) {
            Some(Kind::Int(count)) if (2..=most).contains(count) => u32::try_from(*count).ok(),
            _ => {
                let at = spec.field("replicas").map_or(spec.at, |value| value.at);
                let message = format!("KeySplitRoute needs `replicas` from 2 to {most}");
                self.findings.error(at, message);
                None
            }
        };
        let all_sync = self.flag(spec, "all_sync", None);
        let first_hit = self.flag(spec, "first_hit", Some(false));
        Some(Split {
            replicas: replicas?,
            all_sync: all_sync?,
            first_hit: first_hit?,
        })
    }

    /// A PoolRoute with the shards that have several parts.
    pub(super) fn sharded(&mut self, spec: &Spec<'_>, pool: Route) -> Option<Route> {
        let Some(splits) = spec.field("shard_splits").filter(|value| !is_off(value)) else {
            return Some(pool);
        };
        let Some(map) = splits.as_map() else {
            let message = format!("`shard_splits` must be an object, not {}", splits.what());
            self.findings.error(splits.at, message);
            return None;
        };
        let mut shards = Vec::new();
        let mut is_good = true;
        for (id, member) in map.in_order() {
            match self.shard(&member.value) {
                Some(shard) => shards.push((id.to_string(), shard)),
                None => is_good = false,
            }
            // No key has such a shard.
            if !id.ends_with(|c: char| c.is_ascii_digit())
                || id.contains(':')
                || !is_part_of_key(id)
            {
                shards.pop();
                let message = format!("no key has the shard {}", quoted(id));
                self.findings
                    .warn(member.key_at, message)
                    .label("it ends in a digit and has no colon");
            }
        }
        let child = Box::new(pool);
        is_good.then_some(Route::Keys(Keys::Shards { child, shards }))
    }

    fn shard(&mut self, value: &Value) -> Option<Shard> {
        match &value.kind {
            Kind::Int(_) => {
                let parts = self.parts(value)?;
                Some(Shard::fixed(parts))
            }
            Kind::Map(map) => {
                let mut part = |name: &str| match map.get(name) {
                    Some(parts) => self.parts(parts),
                    None => {
                        let message = format!("`{name}` is missing in a shard");
                        self.findings.error(value.at, message);
                        None
                    }
                };
                let (old, new) = (part("old_split_size"), part("new_split_size"));
                let start = self.seconds(value, map, "split_start");
                let period = self.seconds(value, map, "migration_period");
                let fanout_deletes = match map.get("fanout_deletes") {
                    None => false,
                    Some(flag) => match flag.kind {
                        Kind::Bool(flag) => flag,
                        _ => {
                            let message = "`fanout_deletes` must be true or false";
                            self.findings.error(flag.at, message);
                            return None;
                        }
                    },
                };
                Some(Shard {
                    old: old?,
                    new: new?,
                    start: start?,
                    period: period?,
                    fanout_deletes,
                })
            }
            _ => {
                let what = value.what();
                let message = format!("a shard must be a number of parts or an object, not {what}");
                self.findings.error(value.at, message);
                None
            }
        }
    }

    /// mcrouter takes more than there are for as many as there are.
    fn parts(&mut self, value: &Value) -> Option<u32> {
        match value.kind {
            Kind::Int(parts @ 1..) => {
                Some(u32::try_from(parts).map_or(MAX_SPLIT, |parts| parts.min(MAX_SPLIT)))
            }
            _ => {
                let message = "the parts of a shard must be a whole number from 1 on";
                self.findings.error(value.at, message);
                None
            }
        }
    }

    fn seconds(&mut self, value: &Value, map: &Map, name: &str) -> Option<u64> {
        let found = map.get(name);
        match found.map(|found| &found.kind) {
            Some(Kind::Int(seconds)) if (0..1 << 40).contains(seconds) => {
                u64::try_from(*seconds).ok()
            }
            _ => {
                let at = found.map_or(value.at, |found| found.at);
                let message = format!("a shard needs a whole number of seconds `{name}`");
                self.findings.error(at, message);
                None
            }
        }
    }
}
