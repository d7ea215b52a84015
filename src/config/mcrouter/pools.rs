//! The pools of a configuration, as routes ask for them.
//!
//! As in mcrouter a pool is read when a route names it, and the first reading counts. A pool is named, or written
//! where it is used (with a `name`), or it is a file of its own (`file:…`). What a pool may say and what becomes of
//! it here is in [`FIELDS`].

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::super::diagnostics::quoted;
use super::super::{Pool, Server, ServerAddr};
use super::findings::Findings;
use super::json::{self, did_you_mean};
use super::server;
use super::settings::Settings;
use super::tko_tracker;
use super::value::{Kind, Map, Members, Place, Value};

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    /// It is read.
    Read,
    /// It says nothing to a router of memcached's text protocol.
    Nothing,
    /// It would change something that is not done yet, unless it is off.
    Later,
}

const FIELDS: &[(&str, Field)] = &[
    ("servers", Field::Read),
    ("inherit", Field::Read),
    ("protocol", Field::Read),
    ("server_timeout", Field::Read),
    ("connect_timeout", Field::Read),
    ("region", Field::Read),
    ("cluster", Field::Read),
    ("weights", Field::Read),
    ("tags", Field::Read),
    ("port_override", Field::Read),
    ("security_mech", Field::Read),
    ("security_mech_within_dc", Field::Read),
    ("security_mech_cross_dc", Field::Read),
    ("keep_routing_prefix", Field::Read),
    ("tko_tracker", Field::Read),
    ("use_ssl", Field::Later),
    ("port_override_within_dc", Field::Later),
    ("port_override_cross_dc", Field::Later),
    ("name", Field::Nothing),
    ("qos", Field::Nothing),
    ("hostnames", Field::Nothing),
    ("failure_domains", Field::Read),
    ("enable_compression", Field::Nothing),
    ("additional_fanout", Field::Nothing),
    ("disable_request_deadline_check", Field::Nothing),
    ("error_on_empty", Field::Read),
    ("services", Field::Nothing),
    ("service_id_override", Field::Nothing),
    ("pool_locality", Field::Nothing),
    ("pool_cluster", Field::Nothing),
];

/// How far pools may inherit from each other.
const MAX_HEIRS: usize = 32;

/// A pool that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// As the configuration calls it.
    pub(super) name: String,
    pub(super) at: Place,
    /// Timeouts and so on; no servers, no placement, and the name as it may be shown.
    pub(super) pool: Pool,
    /// The servers, and where each is written.
    pub(super) servers: Vec<(Server, Place)>,
    /// What stands in the place of a server and is a route, by its position.
    pub(super) routes: HashMap<usize, Value>,
    /// The failure domain of each server, 0 for none; or nothing.
    pub(super) domains: Vec<u32>,
    /// A route to it is an error if there are no servers.
    pub(super) error_on_empty: bool,
    pub(super) weights: Option<Value>,
    pub(super) tags: Option<Value>,
}

/// The pools.
pub(super) struct Pools {
    named: Option<Rc<Map>>,
    /// By name; `None` after an error.
    read: HashMap<String, Option<Rc<Read>>>,
}

impl Pools {
    /// From the member `pools`.
    pub(super) fn new(findings: &mut Findings<'_>, value: Option<&Value>) -> Pools {
        let named = value.and_then(|value| {
            let map = value.as_map();
            if map.is_none() {
                let what = value.what();
                findings.error(value.at, format!("`pools` must be an object, not {what}"));
            }
            map.cloned()
        });
        let read = HashMap::new();
        Pools { named, read }
    }

    /// The name of the first one in the file.
    pub(super) fn first(&self) -> Option<Value> {
        let all = self.named.as_ref()?.in_order();
        let (name, member) = all.first()?;
        Some(Value::text(member.key_at, (*name).clone()))
    }

    /// Warns of pools that no route has named.
    pub(super) fn warn_of_unused(&self, findings: &mut Findings<'_>) {
        let Some(named) = &self.named else { return };
        for (name, member) in named.in_order() {
            let is_parent = named.members().values().any(|other| {
                let parent = other.value.as_map().and_then(|map| map.get("inherit"));
                parent.and_then(Value::as_text) == Some(name)
            });
            if !self.read.contains_key(&**name) && !is_parent {
                findings
                    .warn(
                        member.key_at,
                        format!("no route leads to the pool {}", quoted(name)),
                    )
                    .label("never used");
            }
        }
    }

    /// The pool that a handle refers to: by name, or written there.
    pub(super) fn pool(
        &mut self,
        findings: &mut Findings<'_>,
        settings: &Settings,
        reference: &Value,
    ) -> Option<Rc<Read>> {
        let (name, inline) = match &reference.kind {
            Kind::Text(name) => (name.clone(), None),
            Kind::Map(map) => match map.get("name").and_then(Value::as_text) {
                Some(name) => (name.clone(), Some(map.clone())),
                None => {
                    findings.error(reference.at, "a pool that is written here needs a `name`");
                    return None;
                }
            },
            _ => {
                let what = reference.what();
                let message = format!("a pool must be a name or an object, not {what}");
                findings.error(reference.at, message);
                return None;
            }
        };
        if let Some(known) = self.read.get(&*name) {
            return known.clone();
        }
        let found = match inline {
            Some(map) => Some((reference.at, map)),
            None => self.find(findings, &name, reference.at),
        };
        let read = found.and_then(|(at, map)| self.read_pool(findings, settings, &name, at, &map));
        let read = read.map(Rc::new);
        self.read.insert(name.to_string(), read.clone());
        read
    }

    /// The object of a pool.
    fn find(
        &self,
        findings: &mut Findings<'_>,
        name: &str,
        from: Place,
    ) -> Option<(Place, Rc<Map>)> {
        let members = self.named.as_ref().map(|map| map.members());
        let value = match members.and_then(|members| members.get(name)) {
            Some(member) => member.value.clone(),
            None => match name.strip_prefix("file:") {
                Some(path) => open(findings, path, from)?,
                None => {
                    let known = members.into_iter().flat_map(Members::keys);
                    let near = did_you_mean(name, known.map(|key| &**key));
                    findings
                        .error(from, format!("there is no pool {}", quoted(name)))
                        .label(near);
                    return None;
                }
            },
        };
        match value.as_map() {
            Some(map) => Some((value.at, map.clone())),
            None => {
                let what = value.what();
                findings.error(value.at, format!("a pool must be an object, not {what}"));
                None
            }
        }
    }

    /// With what is missing taken from the pools it inherits from.
    fn inherit(&self, findings: &mut Findings<'_>, name: &str, own: &Rc<Map>) -> Option<Members> {
        let mut all = own.members().clone();
        let mut heirs = vec![name.to_owned()];
        let mut next = own.get("inherit").cloned();
        while let Some(parent) = next {
            let Some(parent_name) = parent.as_text() else {
                let what = parent.what();
                findings.error(parent.at, format!("`inherit` must be a text, not {what}"));
                return None;
            };
            if heirs.iter().any(|heir| **heir == **parent_name) || heirs.len() > MAX_HEIRS {
                findings.error(parent.at, "the pool inherits from itself");
                return None;
            }
            let (_, map) = self.find(findings, parent_name, parent.at)?;
            for (key, member) in map.members() {
                all.entry(key.clone()).or_insert_with(|| member.clone());
            }
            heirs.push(parent_name.to_string());
            next = map.get("inherit").cloned();
        }
        Some(all)
    }

    fn read_pool(
        &self,
        findings: &mut Findings<'_>,
        settings: &Settings,
        name: &str,
        at: Place,
        own: &Rc<Map>,
    ) -> Option<Read> {
        let all = self.inherit(findings, name, own)?;
        let reader = Reader {
            all: &all,
            at,
            settings,
        };
        // All of it is looked at, so that all errors are found.
        let fields = reader.check_fields(findings);
        let security = reader.check_security(findings);
        let timeouts = reader.timeouts(findings);
        let servers = reader.servers(findings);
        let keep_routing_prefix = match reader.get("keep_routing_prefix") {
            None => false,
            Some(value) => match value.kind {
                Kind::Bool(keeps) => keeps,
                _ => {
                    let message = format!(
                        "`keep_routing_prefix` must be true or false, not {}",
                        value.what()
                    );
                    findings.error(value.at, message);
                    return None;
                }
            },
        };
        let count = servers.as_ref().map_or(0, Vec::len);
        let tracker = reader.get("tko_tracker").filter(|value| !is_off(value));
        let fail_open = tracker.map(|value| tko_tracker::read(findings, value, count));
        let fail_open = fail_open.map_or(Some(None), |read| read.map(Some));
        let domains = reader.domains(findings);
        let error_on_empty = match reader
            .get("error_on_empty")
            .map(|value| (value, &value.kind))
        {
            None => Some(true),
            Some((_, Kind::Bool(value))) => Some(*value),
            Some((value, _)) => {
                findings.error(value.at, "`error_on_empty` must be true or false");
                None
            }
        };
        (fields && security).then_some(())?;
        let (timeout, connect_timeout) = timeouts?;
        let mut pool = settings.pool.clone();
        pool.name = name.to_owned();
        pool.timeout = timeout;
        pool.connect_timeout = connect_timeout;
        pool.keep_routing_prefix = keep_routing_prefix;
        pool.tko.fail_open = fail_open?;
        Some(Read {
            name: name.to_owned(),
            at,
            pool,
            servers: servers?,
            routes: reader.routes(),
            domains: domains?,
            error_on_empty: error_on_empty?,
            weights: reader.get("weights").cloned(),
            tags: reader.get("tags").cloned(),
        })
    }
}

/// A pool in a file of its own.
fn open(findings: &mut Findings<'_>, path: &str, from: Place) -> Option<Value> {
    let parsed = match findings.open(Path::new(path)) {
        Ok(source) => json::parse(findings, source),
        Err(why) => {
            findings.error(from, format!("can't read the pool {}: {why}", quoted(path)));
            return None;
        }
    };
    parsed.map_err(|fault| findings.fault(fault)).ok()
}

/// Whether a field is as if it were not there.
fn is_off(value: &Value) -> bool {
    match &value.kind {
        Kind::Null | Kind::Bool(false) => true,
        Kind::List(list) => list.items().is_empty(),
        Kind::Map(map) => map.members().is_empty(),
        Kind::Int(number) => *number == 0,
        _ => false,
    }
}

struct Reader<'p> {
    all: &'p Members,
    at: Place,
    settings: &'p Settings,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.all.get(name).map(|member| &member.value)
    }

    fn check_fields(&self, findings: &mut Findings<'_>) -> bool {
        let mut good = true;
        for (key, member) in self.all {
            let known = FIELDS.iter().find(|(name, _)| *name == &**key);
            match known.map(|(_, field)| *field) {
                Some(Field::Read | Field::Nothing) => {}
                Some(Field::Later) if is_off(&member.value) => {}
                Some(Field::Later) => {
                    good = false;
                    findings.error(
                        member.key_at,
                        format!("not supported yet by this release: `{key}` of a pool"),
                    );
                }
                None => {
                    let near = did_you_mean(key, FIELDS.iter().map(|(name, _)| *name));
                    findings
                        .warn(
                            member.key_at,
                            format!("a pool has no field {}; it is ignored", quoted(key)),
                        )
                        .label(near);
                }
            }
        }
        good
    }

    fn check_security(&self, findings: &mut Findings<'_>) -> bool {
        let mut good = true;
        let protocol = [("protocol", "ascii")];
        let security = [
            "security_mech",
            "security_mech_within_dc",
            "security_mech_cross_dc",
        ]
        .map(|name| (name, "plain"));
        for (name, only) in protocol.into_iter().chain(security) {
            let Some(value) = self.get(name) else {
                continue;
            };
            let text = value.as_text().map(|text| text.to_ascii_lowercase());
            if text.as_deref() != Some(only) {
                good = false;
                findings
                    .error(
                        value.at,
                        format!("not supported yet by this release: this `{name}`"),
                    )
                    .label(format!("it can be \"{only}\""));
            }
        }
        good
    }

    fn millis(&self, findings: &mut Findings<'_>, name: &str) -> Result<Option<Duration>, ()> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Kind::Int(millis @ 1..=1_000_000) = value.kind else {
            findings
                .error(value.at, format!("`{name}` is no time in milliseconds"))
                .label("a whole number from 1 to 1000000");
            return Err(());
        };
        let time = Duration::from_millis(millis as u64);
        if let Err(why) = Settings::check_timeout(time) {
            findings
                .error(
                    value.at,
                    format!("not supported yet by this release: such a long `{name}`"),
                )
                .label(why);
            return Err(());
        }
        Ok(Some(time))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text).map(|text| &**text)
    }

    fn timeouts(&self, findings: &mut Findings<'_>) -> Option<(Duration, Duration)> {
        let own = self.millis(findings, "server_timeout");
        let connect = self.millis(findings, "connect_timeout");
        let (own, connect) = (own.ok()?, connect.ok()?);
        let own = own.unwrap_or(self.settings.pool.timeout);
        let place = self.text("region").zip(self.text("cluster"));
        Some((self.settings.timeout(own, place), connect.unwrap_or(own)))
    }

    fn port(&self, findings: &mut Findings<'_>) -> Result<Option<u16>, ()> {
        let Some(value) = self.get("port_override") else {
            return Ok(None);
        };
        let port = match value.kind {
            Kind::Int(port) => u16::try_from(port).ok().filter(|port| *port > 0),
            _ => None,
        };
        if port.is_none() {
            findings.error(value.at, "`port_override` must be a number from 1 to 65535");
        }
        port.map(Some).ok_or(())
    }

    fn domains(&self, findings: &mut Findings<'_>) -> Option<Vec<u32>> {
        let Some(value) = self.get("failure_domains") else {
            return Some(Vec::new());
        };
        let count = |value: Option<&Value>| {
            let list = value.and_then(Value::as_list);
            list.map(|list| list.items().len())
        };
        let domains: Option<Vec<u32>> = value.as_list().and_then(|list| {
            let domains = list.items().iter().map(|item| match &item.kind {
                Kind::Int(number) => u32::try_from(*number).ok(),
                Kind::Text(text) => Some(crate::hash::spooky32(text.as_bytes(), 0)),
                _ => None,
            });
            domains.collect()
        });
        let servers = count(self.get("servers"));
        let domains = domains.filter(|domains| Some(domains.len()) == servers);
        if domains.is_none() {
            findings
                .error(value.at, "`failure_domains` must be a list")
                .label("a whole number or a text for each server");
        }
        domains
    }

    fn routes(&self) -> HashMap<usize, Value> {
        let list = self.get("servers").and_then(Value::as_list);
        let items = list.into_iter().flat_map(|list| list.items().iter());
        let routes = items.enumerate();
        let routes = routes.filter(|(_, item)| matches!(item.kind, Kind::Map(_)));
        routes.map(|(index, item)| (index, item.clone())).collect()
    }

    fn servers(&self, findings: &mut Findings<'_>) -> Option<Vec<(Server, Place)>> {
        let port = self.port(findings);
        let Some(value) = self.get("servers") else {
            findings
                .error(self.at, "`servers` is missing in a pool")
                .label("has no `servers`");
            return None;
        };
        let Some(list) = value.as_list() else {
            let what = value.what();
            findings.error(value.at, format!("`servers` must be a list, not {what}"));
            return None;
        };
        let mut servers = Vec::new();
        for item in list.items() {
            if let Kind::Map(_) = item.kind {
                // It stands for the route in its place.
                let name = format!("/route/{}", servers.len());
                let server = Server::new(ServerAddr::Unix(name.into()));
                servers.push((server, item.at));
            } else if let Some(server) = one_server(findings, item, port.unwrap_or_default()) {
                servers.push((server, item.at));
            }
        }
        let is_complete = port.is_ok() && servers.len() == list.items().len();
        name_apart(findings, &mut servers);
        is_complete.then_some(servers)
    }
}

fn one_server(findings: &mut Findings<'_>, item: &Value, port: Option<u16>) -> Option<Server> {
    let Some(text) = item.as_text() else {
        let what = item.what();
        findings.error(item.at, format!("a server must be a text, not {what}"));
        return None;
    };
    let written = match server::parse(text) {
        Ok(written) => written,
        Err(error) => {
            findings
                .error(item.at, format!("{}: {}", quoted(text), error.message))
                .label(error.help);
            return None;
        }
    };
    for (what, given, only) in [
        ("protocol", &written.protocol, "ascii"),
        ("security", &written.security, "plain"),
    ] {
        if let Some(given) = given
            && given != only
        {
            findings
                .error(
                    item.at,
                    format!(
                        "not supported yet by this release: the {what} {}",
                        quoted(given)
                    ),
                )
                .label(format!("it can be \"{only}\""));
            return None;
        }
    }
    let mut addr = written.addr;
    if let Some(port) = port {
        match &mut addr {
            ServerAddr::Tcp(addr) => addr.set_port(port),
            ServerAddr::Name { port: own, .. } => *own = port,
            ServerAddr::Unix(_) | ServerAddr::Found(_) => {}
        }
    }
    Some(Server::new(addr))
}

/// A server that is listed twice is two servers with one address; mcrouter tells them apart by their position.
fn name_apart(findings: &mut Findings<'_>, servers: &mut [(Server, Place)]) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for (server, at) in servers {
        let count = times.entry(server.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            findings
                .warn(
                    *at,
                    format!("two servers have the address \"{}\"", server.addr),
                )
                .label("it gets the keys of both places");
            server.name = format!("{}#{count}", server.name);
        }
    }
}
