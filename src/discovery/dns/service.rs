//! A headless Service, or any name with several addresses, as members.
//!
//! SRV records first: each target is a member and has a name of its own. Without them each address is one, and its
//! PTR record may tell the name. What has neither is known by its address, which the caller is told.
//!
//! The one thing to avoid is that members change their names because a lookup failed: the whole ring would move.
//! So a way of naming that has worked is not given up at a failure, only when the servers say that it is gone, or
//! after many failures in a row; until then the answer is that it can't be known.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{Name, RecordType};

use super::ask::Ask;
use super::lookup::{Addrs, Targets, both};
use super::memory::Memory;
use super::{
    Found, IdentityWish, MAX_ADDRS, MAX_MEMBERS, Notice, NoticeKind, Notices, each, label,
};
use crate::discovery::{Answer, Failure, FailureKind, Identity, Sighting};

/// Addresses whose PTR records are looked up where none ever was of use.
const PROBES: usize = 16;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub host: String,
    pub port: u16,
    pub port_name: Option<String>,
    pub identity: IdentityWish,
    pub srv: bool,
}

/// A question at one of the names that it may mean.
struct Place<'a> {
    ask: &'a Ask,
    question: &'a Question,
    key: &'a str,
    form: &'a Name,
    notices: Notices,
    ttl: Duration,
    /// Members with names.
    named: BTreeMap<String, (Identity, Vec<SocketAddr>)>,
    /// Addresses without.
    nameless: Vec<SocketAddr>,
}

pub(super) async fn ask(ask: &Ask, question: &Question) -> Result<Found, Failure> {
    let port_name = question.port_name.as_deref().unwrap_or_default();
    let key = format!("{} {} {port_name}", question.srv, question.host);
    let mut walk = ask.walk(&key, &question.host)?;
    while let Some(form) = walk.next() {
        let place = Place {
            ask,
            question,
            key: &key,
            form: &form,
            notices: Notices::default(),
            ttl: Duration::MAX,
            named: BTreeMap::new(),
            nameless: Vec::new(),
        };
        match place.ask().await {
            Ok(found) => {
                walk.found(ask, &key, &form);
                return Ok(found);
            }
            Err(failure) => walk.failed(failure)?,
        }
    }
    Err(walk.end())
}

impl Place<'_> {
    fn remember<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        self.ask.dns.remember(self.key, change)
    }

    async fn ask(mut self) -> Result<Found, Failure> {
        let now = Instant::now();
        let srv_name = self.srv_name()?;
        let is_left_out = self.remember(|memory| memory.srv.is_paused(now));
        let srv = async {
            if !self.question.srv || is_left_out {
                return None;
            }
            Some(self.ask.targets(&srv_name).await)
        };
        let ((v4, v6), srv) = tokio::join!(self.ask.families(self.key, self.form), srv);
        let kinds = Kinds::of(&v4, &v6);
        let addrs = both(v4, v6, |v4, v6| {
            self.remember(|memory| memory.families(v4, v6, Instant::now()))
        });
        let mut instead_of = None;
        match srv {
            Some(Ok(targets)) => {
                self.remember(|memory| memory.srv.worked());
                let owner = addrs.as_ref().ok().map(|(addrs, _)| addrs.owner.clone());
                let resolved = self.by_targets(targets, owner.as_ref(), &kinds).await?;
                if resolved || addrs.is_err() {
                    return self.found();
                }
                self.named.clear();
                self.nameless.clear();
                self.ttl = Duration::MAX;
                self.notices.add(NoticeKind::NoSrv, || {
                    format!("no target of {srv_name} can be used; its addresses are")
                });
            }
            Some(Err(failure)) if failure.is_definite() => {
                self.remember(|memory| memory.srv.absent());
                if let Some(port_name) = &self.question.port_name {
                    self.notices.add(NoticeKind::NoSrv, || {
                        format!("no SRV records at {srv_name}; has the Service a port named {port_name}?")
                    });
                }
            }
            Some(Err(failure)) => {
                if addrs.as_ref().is_err_and(Failure::is_definite) {
                    return Err(failure);
                }
                if addrs.is_ok()
                    && self.remember(|memory| memory.srv.failed(failure.kind, Instant::now()))
                {
                    instead_of = Some(failure.clone());
                }
                self.notices.add(NoticeKind::NoSrv, || {
                    format!("SRV records can't be used: {}", failure.detail)
                });
            }
            None => {}
        }
        let (addrs, lost_family) = addrs?;
        if let Some(failure) = lost_family {
            self.notices
                .add(NoticeKind::NoFamily, || failure.detail.clone());
        }
        self.by_addresses(addrs).await?;
        match instead_of {
            Some(failure) if !self.nameless.is_empty() => Err(failure),
            _ => self.found(),
        }
    }

    fn srv_name(&self) -> Result<Name, Failure> {
        match &self.question.port_name {
            None => Ok(self.form.clone()),
            Some(port) => label::host(&format!("_{port}._tcp"))
                .ok()
                .filter(|prefix| prefix.num_labels() == 2 && !port.is_empty())
                .and_then(|mut prefix| {
                    prefix.set_fqdn(false);
                    prefix.append_domain(self.form).ok()
                })
                .ok_or_else(|| {
                    let detail = format!("`{}` is not a port name", port.escape_debug());
                    Failure::new(FailureKind::Unusable, detail)
                }),
        }
    }

    /// Each target a member. Returns whether there are any, with an address at least one.
    async fn by_targets(
        &mut self,
        targets: Targets,
        owner: Option<&Name>,
        kinds: &Kinds,
    ) -> Result<bool, Failure> {
        self.ttl = targets.ttl;
        let services: Vec<&Name> = [Some(self.form), owner].into_iter().flatten().collect();
        let mut ports: BTreeMap<&Name, Vec<u16>> = BTreeMap::new();
        for (target, port) in &targets.targets {
            ports.entry(target).or_default().push(*port);
        }
        let mut known: BTreeMap<&Name, Vec<(IpAddr, Duration)>> = BTreeMap::new();
        for (name, ip, ttl) in &targets.addrs {
            known.entry(name).or_default().push((*ip, *ttl));
        }
        let mut lookups = Vec::new();
        for target in ports.keys() {
            for (kind, is_v4, is_wanted) in [
                (RecordType::A, true, kinds.v4),
                (RecordType::AAAA, false, kinds.v6),
            ] {
                let has = known
                    .get(target)
                    .is_some_and(|ips| ips.iter().any(|(ip, _)| ip.is_ipv4() == is_v4));
                if is_wanted && !has {
                    lookups.push(((*target).clone(), kind));
                }
            }
        }
        let results = each(
            lookups.clone(),
            self.ask.members_deadline(),
            |(name, kind)| {
                let ask = self.ask.clone();
                async move { ask.family(&name, kind).await }
            },
        )
        .await;
        let mut lost: Option<Failure> = None;
        for ((target, _), result) in lookups.iter().zip(results) {
            match result.and_then(|result| result) {
                Ok(addrs) => {
                    let ips = addrs.ips.iter().map(|ip| (*ip, addrs.ttl));
                    known.entry(target).or_default().extend(ips);
                }
                Err(failure) if failure.is_definite() => {}
                Err(failure) => lost = lost.or(Some(failure)),
            }
        }

        let mut distinct = ports.keys();
        if let (Some(target), None) = (distinct.next(), distinct.next())
            && services.contains(target)
        {
            self.virtual_ip();
        }
        let mut resolved = false;
        for (target, ports) in &ports {
            let port = self.choose(target, ports);
            let mut addrs: Vec<SocketAddr> = Vec::new();
            for (ip, ttl) in known.get(target).into_iter().flatten() {
                addrs.push((*ip, port).into());
                self.ttl = self.ttl.min(*ttl);
            }
            let addrs = tidy(addrs);
            resolved |= !addrs.is_empty();
            let Some(name) = label::member(target, &services) else {
                self.notices.add(NoticeKind::Skipped, || {
                    let target = target.to_ascii();
                    format!("a member can't be named {target}, as SRV records say")
                });
                continue;
            };
            match label::dashed(&name) {
                Some(ip) if addrs.iter().all(|addr| addr.ip() == ip) => {
                    self.nameless.push((ip, port).into());
                    continue;
                }
                _ => {}
            }
            if addrs.is_empty() {
                self.notices.add(NoticeKind::Unresolved, || {
                    let target = target.to_ascii();
                    format!("{target} doesn't resolve, but SRV records name it")
                });
            }
            let name = match self.named.contains_key(&name) {
                // Two services, with members of the same label.
                true => label::whole(target).unwrap_or(name),
                false => name,
            };
            self.named.insert(name, (Identity::Srv, addrs));
        }
        match lost {
            Some(failure) if !resolved => return Err(failure),
            Some(failure) => self
                .notices
                .add(NoticeKind::Unresolved, || failure.detail.clone()),
            None => {}
        }
        Ok(resolved && !(self.named.is_empty() && self.nameless.is_empty()))
    }

    /// The port to use of those that records give for a target.
    fn choose(&mut self, target: &Name, ports: &[u16]) -> u16 {
        let mine = self.question.port;
        let mut usable = ports.iter().copied().filter(|port| *port != 0);
        let Some(first) = usable.next() else {
            self.notices.add(NoticeKind::Port, || {
                let target = target.to_ascii();
                format!("{target} has port 0, as SRV records say; {mine} is used")
            });
            return mine;
        };
        if usable.next().is_none() {
            return first;
        }
        let port = if ports.contains(&mine) { mine } else { first };
        self.notices.add(NoticeKind::Port, || {
            let target = target.to_ascii();
            format!("{target} has the ports {ports:?}; {port} is used (name the port to choose)")
        });
        port
    }

    /// Each address a member, or a part of the member whose name it points back to.
    async fn by_addresses(&mut self, addrs: Addrs) -> Result<(), Failure> {
        let port = self.question.port;
        self.ttl = self.ttl.min(addrs.ttl);
        for odd in &addrs.odd {
            self.notices.add(NoticeKind::Skipped, || {
                format!(
                    "{} has the address {odd}, which no server can have",
                    self.form
                )
            });
        }
        if addrs.ips.len() > MAX_MEMBERS.saturating_mul(2) {
            return Err(self.too_many(addrs.ips.len()));
        }
        let services = [self.form, &addrs.owner];
        let (mut has_worked, is_left_out) = self.remember(|memory| {
            let ptr = &memory.ptr;
            (ptr.has_worked(), ptr.is_paused(Instant::now()))
        });
        let mut todo = addrs.ips.clone();
        if self.question.identity == IdentityWish::Ip || is_left_out {
            self.nameless = todo.drain(..).map(|ip| (ip, port).into()).collect();
        }
        let mut lost = None;
        while !todo.is_empty() {
            let count = if has_worked {
                todo.len()
            } else {
                PROBES.min(todo.len())
            };
            let some: Vec<IpAddr> = todo.drain(..count).collect();
            let results = each(some.clone(), self.ask.members_deadline(), |ip| {
                let ask = self.ask.clone();
                async move { ask.pointers(ip).await }
            })
            .await;
            for (ip, result) in some.into_iter().zip(results) {
                let addr = SocketAddr::from((ip, port));
                let named = match result.and_then(|result| result) {
                    Ok((targets, ttl)) => targets
                        .iter()
                        .find_map(|target| label::pointed(target, &services))
                        .map(|name| (name, ttl)),
                    Err(failure) => {
                        if !failure.is_definite() {
                            lost = lost.or(Some(failure));
                        }
                        None
                    }
                };
                match named {
                    Some((name, _)) if label::dashed(&name) == Some(ip) => self.nameless.push(addr),
                    Some((name, ttl)) => {
                        has_worked = true;
                        self.ttl = self.ttl.min(ttl);
                        let member = self.named.entry(name);
                        member.or_insert((Identity::Ptr, Vec::new())).1.push(addr);
                    }
                    None => self.nameless.push(addr),
                }
            }
            if !has_worked {
                self.nameless
                    .extend(todo.drain(..).map(|ip| SocketAddr::from((ip, port))));
            }
        }
        for (_, addrs) in self.named.values_mut() {
            *addrs = tidy(std::mem::take(addrs));
        }
        let now = Instant::now();
        let has_names = !self.named.is_empty();
        match lost {
            Some(failure) => {
                let is_needed = self.remember(|memory| memory.ptr.failed(failure.kind, now));
                if is_needed || has_names {
                    return Err(failure);
                }
                self.notices
                    .add(NoticeKind::NoPtr, || failure.detail.clone());
            }
            None if has_names => self.remember(|memory| memory.ptr.worked()),
            None => self.remember(|memory| memory.ptr.absent()),
        }
        if self.question.srv && !has_names {
            let is_one = |is_v4| {
                self.nameless
                    .iter()
                    .filter(|a| a.is_ipv4() == is_v4)
                    .count()
                    <= 1
            };
            if is_one(true) && is_one(false) {
                self.virtual_ip();
            }
        }
        Ok(())
    }

    fn virtual_ip(&mut self) {
        let form = self.form;
        self.notices.add(NoticeKind::VirtualIp, || {
            format!(
                "{form} has one address and no names of members: it looks like a Service that isn't headless \
                 (clusterIP: None makes it so)"
            )
        });
    }

    fn too_many(&self, count: usize) -> Failure {
        let detail = format!("{}: {count} members, more than {MAX_MEMBERS}", self.form);
        Failure::new(FailureKind::Unusable, detail)
    }

    /// What has been gathered, as an answer.
    fn found(mut self) -> Result<Found, Failure> {
        self.nameless.sort_unstable();
        self.nameless.dedup();
        if self.question.identity == IdentityWish::Name {
            for addr in self.nameless.drain(..) {
                self.notices.add(NoticeKind::Skipped, || {
                    format!("{addr} has no name, and `identity` asks for one")
                });
            }
        }
        let has_v4 = self.nameless.iter().any(SocketAddr::is_ipv4)
            || self
                .named
                .values()
                .any(|(_, addrs)| addrs.iter().any(SocketAddr::is_ipv4));
        // Which of them belong to the same member can't be told.
        let nameless = std::mem::take(&mut self.nameless).into_iter();
        let (nameless, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
            nameless.partition(|addr| addr.is_ipv4() || !has_v4);
        for addr in others {
            self.notices.add(NoticeKind::OtherFamily, || {
                format!("{addr} is left out: which member it belongs to can't be told")
            });
        }
        let mut members = self.named;
        for addr in nameless {
            if self.question.identity == IdentityWish::Auto {
                self.notices.add(NoticeKind::IpIdentity, || {
                    format!("{addr} is known by its address only; keys move when it changes")
                });
            }
            if let Entry::Vacant(free) = members.entry(addr.to_string()) {
                free.insert((Identity::Ip, vec![addr]));
            }
        }
        if members.is_empty() {
            let detail = match self.notices.0.pop() {
                Some(Notice { detail, .. }) => format!("{}: no members: {detail}", self.form),
                None => format!("{}: no members", self.form),
            };
            return Err(Failure::new(FailureKind::Unusable, detail));
        }
        if members.len() > MAX_MEMBERS {
            let detail = format!("{}: more than {MAX_MEMBERS} members", self.form);
            return Err(Failure::new(FailureKind::Unusable, detail));
        }
        let sightings = members
            .into_iter()
            .map(|(name, (identity, addrs))| Sighting {
                name,
                identity,
                addrs,
                weight: None,
            });
        Ok(Found {
            answer: Answer::Members {
                sightings: sightings.collect(),
                valid: self.ttl,
            },
            notices: self.notices.0,
        })
    }
}

/// Which families the members of a Service may have, as far as its own addresses tell.
struct Kinds {
    v4: bool,
    v6: bool,
}

impl Kinds {
    fn of(v4: &Result<Addrs, Failure>, v6: &Result<Addrs, Failure>) -> Kinds {
        let is_none =
            |family: &Result<Addrs, Failure>| family.as_ref().is_err_and(Failure::is_definite);
        Kinds {
            v4: !(is_none(v4) && v6.is_ok()),
            v6: !(is_none(v6) && v4.is_ok()),
        }
    }
}

/// Sorted, without doubles, and not more than a member may have.
fn tidy(mut addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addrs.sort_unstable();
    addrs.dedup();
    addrs.truncate(MAX_ADDRS);
    addrs
}
