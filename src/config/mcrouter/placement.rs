//! How mcrouter spreads keys over servers: from `hash`, `weights` and `tags` to a [`Placement`].
//!
//! Where mcrouter takes defaults, they are taken here: Ch3, or WeightedCh3 as soon as a pool has weights. A pool of
//! one server never looks at its hash function. In the rendezvous hashes a server is known by its tag, so its tag
//! becomes its name.

use super::super::Server;
use super::super::diagnostics::quoted;
use super::findings::Findings;
use super::json::did_you_mean;
use super::value::{Kind, Map, Place, Value};
use crate::hash::{Distribution, Node, Placement, Selector};

/// Servers and how keys are spread over them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) placement: Placement,
    pub(super) servers: Vec<Server>,
}

/// What a handle says about hashing.
pub(super) struct Wish<'v> {
    /// The name of the function, if it is given.
    function: Option<(&'v str, Place)>,
    salt: Option<&'v Value>,
    /// `weights_rv`.
    variable: Option<&'v Value>,
    weights: Option<&'v Value>,
    tags: Option<&'v Value>,
    /// Where to point.
    at: Place,
}

impl<'v> Wish<'v> {
    /// From `hash`: a name, or an object that goes over the pool's own weights and tags. `None` after an error.
    pub(super) fn new(
        findings: &mut Findings<'_>,
        hash: Option<&'v Value>,
        weights: Option<&'v Value>,
        tags: Option<&'v Value>,
        at: Place,
    ) -> Option<Wish<'v>> {
        let plain = Wish {
            function: None,
            salt: None,
            variable: None,
            weights,
            tags,
            at,
        };
        match hash.map(|hash| (hash, &hash.kind)) {
            None => Some(plain),
            Some((hash, Kind::Text(name))) => Some(Wish {
                function: Some((name, hash.at)),
                at: hash.at,
                ..plain
            }),
            Some((hash, Kind::Map(map))) => Wish::of_map(findings, map, hash.at, plain),
            Some((hash, _)) => {
                let what = hash.what();
                findings.error(
                    hash.at,
                    format!("`hash` must be the name of a function or an object, not {what}"),
                );
                None
            }
        }
    }

    /// Ch3 with this salt.
    pub(super) fn salted(salt: Option<&'v Value>, at: Place) -> Wish<'v> {
        Wish {
            function: None,
            salt,
            variable: None,
            weights: None,
            tags: None,
            at,
        }
    }

    /// From the object of a route that chooses by hash itself.
    pub(super) fn of_route(
        findings: &mut Findings<'_>,
        map: &'v Map,
        at: Place,
    ) -> Option<Wish<'v>> {
        let plain = Wish {
            function: None,
            salt: None,
            variable: None,
            weights: None,
            tags: None,
            at,
        };
        Wish::of_map(findings, map, at, plain)
    }

    fn of_map(
        findings: &mut Findings<'_>,
        map: &'v Map,
        at: Place,
        under: Wish<'v>,
    ) -> Option<Wish<'v>> {
        let function = match map.get("hash_func") {
            None => None,
            Some(value) => match value.as_text() {
                Some(name) => Some((&**name, value.at)),
                None => {
                    let what = value.what();
                    findings.error(value.at, format!("`hash_func` must be a text, not {what}"));
                    return None;
                }
            },
        };
        Some(Wish {
            function,
            salt: map.get("salt"),
            variable: map.get("weights_rv"),
            weights: map.get("weights").or(under.weights),
            tags: map.get("tags").or(under.tags),
            at,
        })
    }

    /// Spreads keys over these servers. `None` after an error.
    pub(super) fn spread(
        &self,
        findings: &mut Findings<'_>,
        servers: &[(Server, Place)],
    ) -> Option<Spread> {
        let mut spread = Spread {
            placement: Placement {
                stop: true,
                ..Placement::of(Distribution::Ch3)
            },
            servers: servers.iter().map(|(server, _)| server.clone()).collect(),
        };
        if servers.len() <= 1 {
            return Some(spread);
        }
        let (name, at) = match self.function {
            Some(function) => function,
            None if self.weights.is_some() => ("WeightedCh3", self.at),
            None => ("Ch3", self.at),
        };
        let live = name == "WeightedCh3Rv";
        let weighted = name.starts_with("Weighted") && !live;
        spread.placement.distribution = match name {
            "Ch3" => Distribution::Ch3,
            "Crc32" => Distribution::Crc32,
            "ConstShard" => Distribution::ConstShard,
            "WeightedCh3" | "WeightedCh3Rv" => Distribution::WeightedCh3,
            "Rendezvous" | "WeightedRendezvous" => Distribution::Rendezvous,
            _ => {
                let near = did_you_mean(name, FUNCTIONS.iter().copied());
                findings
                    .error(at, format!("unknown hash function {}", quoted(name)))
                    .label(near);
                return None;
            }
        };
        if let Some(salt) = self.salt {
            let Some(text) = salt.as_text() else {
                let what = salt.what();
                findings.error(salt.at, format!("`salt` must be a text, not {what}"));
                return None;
            };
            spread.placement.salt = text.to_string();
        }
        if live {
            let variable = self.variable.and_then(Value::as_text);
            let Some(variable) = variable.filter(|name| !name.is_empty()) else {
                let at = self.variable.map_or(at, |variable| variable.at);
                findings
                    .error(at, "WeightedCh3Rv needs `weights_rv`")
                    .label("the name of a list of weights in the file of --runtime-vars-file");
                return None;
            };
            spread.placement.weights_variable = Some(variable.to_string());
        }
        if weighted {
            self.weigh(findings, &mut spread, name, at)?;
        }
        if spread.placement.distribution == Distribution::Rendezvous {
            self.tag(findings, &mut spread, at)?;
        }
        let nodes: Vec<Node> = spread.servers.iter().map(Server::node).collect();
        if let Err(error) = Selector::new(&spread.placement, &nodes) {
            findings.error(at, error.to_string());
            return None;
        }
        Some(spread)
    }

    fn weigh(
        &self,
        findings: &mut Findings<'_>,
        spread: &mut Spread,
        name: &str,
        at: Place,
    ) -> Option<()> {
        let Some(value) = self.weights else {
            findings.error(at, format!("{name} needs `weights`"));
            return None;
        };
        let Some(list) = value.as_list() else {
            let what = value.what();
            findings.error(value.at, format!("`weights` must be a list, not {what}"));
            return None;
        };
        let (given, needed) = (list.items().len(), spread.servers.len());
        if given != needed {
            let message = format!("there are {given} weights for {needed} servers");
            if name == "WeightedRendezvous" {
                findings.error(value.at, message);
                return None;
            }
            findings
                .warn(value.at, message)
                .label("a missing one is 0.5, one too many is ignored");
        }
        let most = if name == "WeightedCh3" { 1.0 } else { 1e6 };
        let mut is_good = true;
        for (server, weight) in spread.servers.iter_mut().zip(list.items()) {
            server.weight = weight
                .as_number()
                .filter(|weight| (0.0..=most).contains(weight));
            if server.weight.is_none() {
                is_good = false;
                findings
                    .error(weight.at, "this is not a weight")
                    .label(format!("a number from 0 to {most}"));
            }
        }
        is_good.then_some(())
    }

    fn tag(&self, findings: &mut Findings<'_>, spread: &mut Spread, at: Place) -> Option<()> {
        let tags = self.tags.and_then(Value::as_list);
        let Some(tags) = tags.filter(|tags| tags.items().len() == spread.servers.len()) else {
            let at = self.tags.map_or(at, |tags| tags.at);
            findings
                .error(at, "the rendezvous hashes need a list `tags`")
                .label(format!(
                    "with {} texts, one for each server",
                    spread.servers.len()
                ));
            return None;
        };
        for (server, tag) in spread.servers.iter_mut().zip(tags.items()) {
            let good = |text: &&std::rc::Rc<str>| {
                (1..=250).contains(&text.len())
                    && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            };
            let Some(text) = tag.as_text().filter(good) else {
                findings
                    .error(tag.at, "this can't be the tag of a server")
                    .label("1 to 250 bytes without blanks");
                return None;
            };
            server.name = text.to_string();
        }
        Some(())
    }
}

const FUNCTIONS: &[&str] = &[
    "Ch3",
    "WeightedCh3",
    "WeightedCh3Rv",
    "Crc32",
    "ConstShard",
    "Rendezvous",
    "WeightedRendezvous",
];
