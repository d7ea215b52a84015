//! [`Keys`] in words, for those who ask what becomes of a key, and as TOML.

use super::Route;
use super::keys::{
    Keys, Modify, Numbered, Shard, Split, routes_of, routing_prefix, shard_id, shard_key,
};

impl Keys {
    /// What becomes of a request for `key`, in words, for each route that it may be sent to, and the key there.
    pub fn ways(&self, key: &[u8], host: u32, now: u64) -> Vec<(String, &Route, Vec<u8>)> {
        match self {
            Keys::Prefixes {
                routes,
                default,
                unknown_to_default,
            } => {
                let (prefix, rest) = routing_prefix(key);
                let (prefixes, main) = numbered(routes, default);
                let found = routes_of(prefix, &prefixes, main, *unknown_to_default);
                let more = |position: usize| match position {
                    0 => String::new(),
                    _ => ", a copy that nobody waits for".to_owned(),
                };
                let prefix = match prefix {
                    b"" => "no routing prefix".to_owned(),
                    prefix => format!("routing prefix {}", prefix.escape_ascii()),
                };
                let found = found.into_iter().filter_map(|index| routes.get(index));
                found
                    .enumerate()
                    .map(|(position, (_, route))| {
                        let what = format!("{prefix}{}", more(position));
                        (what, route, rest.to_vec())
                    })
                    .collect()
            }
            Keys::Modify { child, modify } => match modify.apply(key) {
                None => same("key as it is", child, key),
                Some(new) => vec![(renamed(&new), child, new)],
            },
            Keys::Split { child, split } => match split.key(key, split.own(host)) {
                None => same("the first copy, used by this host", child, key),
                Some(new) => vec![(renamed(&new), child, new)],
            },
            Keys::Shards { child, shards } => {
                let found = shard_id(key).and_then(|(id, end)| {
                    let shard = shards.iter().find(|(name, _)| name.as_bytes() == id);
                    let parts = shard?.1.parts(host, now);
                    shard_key(key, end, host.checked_rem(parts)?)
                });
                match found {
                    None => same("key as it is", child, key),
                    Some(new) => vec![(renamed(&new), child, new)],
                }
            }
        }
    }

    /// The routes below it, each with what leads there.
    pub fn labelled(&self) -> Vec<(String, &Route)> {
        match self {
            Keys::Prefixes {
                routes, default, ..
            } => routes
                .iter()
                .map(|(prefixes, route)| {
                    let more = match prefixes.contains(default) {
                        true => " and keys without a prefix",
                        false => "",
                    };
                    (format!("{}{more}", prefixes.join(", ")), route)
                })
                .collect(),
            Keys::Modify { child, .. } | Keys::Split { child, .. } | Keys::Shards { child, .. } => {
                vec![("all of it".to_owned(), child)]
            }
        }
    }
}

fn same<'r>(what: &str, child: &'r Route, key: &[u8]) -> Vec<(String, &'r Route, Vec<u8>)> {
    vec![(what.to_owned(), child, key.to_vec())]
}

fn renamed(key: &[u8]) -> String {
    format!("as the key \"{}\"", key.escape_ascii())
}

/// Every prefix with the number of its route, and the number of the default's.
pub(crate) fn numbered(routes: &[(Vec<String>, Route)], default: &str) -> (Numbered, usize) {
    let all = routes
        .iter()
        .enumerate()
        .flat_map(|(index, (prefixes, _))| {
            let prefixes = prefixes.iter();
            prefixes.map(move |prefix| (prefix.as_bytes().into(), index))
        });
    let all: Numbered = all.collect();
    let main = all
        .iter()
        .find(|(prefix, _)| **prefix == *default.as_bytes());
    let main = main.map_or(0, |(_, index)| *index);
    (all, main)
}

impl std::fmt::Display for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Keys::Prefixes {
                unknown_to_default, ..
            } => {
                f.write_str("by the routing prefix /region/cluster/ of the key")?;
                match unknown_to_default {
                    true => f.write_str("; unknown ones as if there were none"),
                    false => f.write_str("; unknown ones are refused"),
                }
            }
            Keys::Modify { modify, .. } => {
                let mut parts = Vec::new();
                if let Some(prefix) = &modify.set_routing_prefix {
                    parts.push(format!("the routing prefix {prefix:?}"));
                }
                if let Some(old) = &modify.replace_key_prefix {
                    parts.push(format!("{:?} for {old:?}", modify.ensure_key_prefix));
                }
                if !modify.ensure_key_prefix.is_empty() {
                    let how = match modify.modify_inplace {
                        true => "over the beginning",
                        false => "in front",
                    };
                    parts.push(format!(
                        "{:?} {how} if it is not there",
                        modify.ensure_key_prefix
                    ));
                }
                if !modify.set_key_suffix.is_empty() {
                    parts.push(format!("{:?} behind", modify.set_key_suffix));
                }
                match parts.is_empty() {
                    true => f.write_str("keys as they are"),
                    false => write!(f, "keys get {}", parts.join(", ")),
                }
            }
            Keys::Split { split, .. } => {
                let sets = match split.all_sync {
                    true => "sets go to all",
                    false => "sets go to this host's",
                };
                let gets = match split.first_hit {
                    true => "gets to one after the other",
                    false => "gets to this host's",
                };
                write!(
                    f,
                    "{} copies of each key; {sets}, {gets}, deletions to all",
                    split.replicas
                )
            }
            Keys::Shards { shards, .. } => {
                write!(
                    f,
                    "{} shards in several parts, of which this host uses one",
                    shards.len()
                )
            }
        }
    }
}

/// The table of a route; `route` writes those below it.
pub(super) fn render(keys: &Keys, route: impl Fn(&Route) -> String) -> String {
    use super::render::{key, list, quoted};
    match keys {
        Keys::Prefixes {
            routes,
            default,
            unknown_to_default,
        } => {
            let routes = routes.iter().map(|(prefixes, child)| {
                let prefixes = list(prefixes.iter().map(|prefix| quoted(prefix)));
                format!("{{ prefixes = {prefixes}, route = {} }}", route(child))
            });
            format!(
                "{{ type = \"routing-prefix\", default = {}, routes = {}, unknown_to_default = {unknown_to_default} }}",
                quoted(default),
                list(routes)
            )
        }
        Keys::Modify { child, modify } => {
            let Modify {
                set_routing_prefix,
                ensure_key_prefix,
                replace_key_prefix,
                set_key_suffix,
                modify_inplace,
            } = modify;
            let mut parts = vec![
                "type = \"modify-key\"".to_owned(),
                format!("child = {}", route(child)),
            ];
            let texts = [
                ("set_routing_prefix", set_routing_prefix.as_deref()),
                ("ensure_key_prefix", Some(ensure_key_prefix.as_str())),
                ("replace_key_prefix", replace_key_prefix.as_deref()),
                ("set_key_suffix", Some(set_key_suffix.as_str())),
            ];
            for (name, text) in texts {
                parts.extend(text.map(|text| format!("{name} = {}", quoted(text))));
            }
            parts.push(format!("modify_inplace = {modify_inplace}"));
            format!("{{ {} }}", parts.join(", "))
        }
        Keys::Split { child, split } => {
            let Split {
                replicas,
                all_sync,
                first_hit,
            } = split;
            format!(
                "{{ type = \"key-split\", child = {}, replicas = {replicas}, all_sync = {all_sync}, first_hit = {first_hit} }}",
                route(child)
            )
        }
        Keys::Shards { child, shards } => {
            let shards: Vec<String> = shards
                .iter()
                .map(|(name, shard)| {
                    let Shard {
                        old,
                        new,
                        start,
                        period,
                        fanout_deletes,
                    } = shard;
                    format!(
                        "{} = {{ parts = {new}, old_parts = {old}, start = {start}, period = {period}, fanout_deletes = {fanout_deletes} }}",
                        key(name)
                    )
                })
                .collect();
            format!(
                "{{ type = \"shard-split\", child = {}, shards = {{ {} }} }}",
                route(child),
                shards.join(", ")
            )
        }
    }
}
