//! The pods of a StatefulSet by their ordinals, asked for one by one from the lowest upwards.
//!
//! For a Service whose port has no name, and for addresses without PTR records: the pods' names are known beforehand,
//! so it's enough to ask which of them exist. What doesn't exist is not in the answer, wherever it lies; whether it
//! will come back, the membership reducer guesses. One lookup that failed makes the whole answer unknown.
//!
//! Without an upper bound three in a row that don't exist are the end, beyond the highest that was there last time:
//! three that restart at once don't hide those above them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::Name;

use super::ask::Ask;
use super::lookup::{Addrs, both};
use super::{Found, LOOKUPS_AT_ONCE, MAX_ADDRS, MAX_MEMBERS, NoticeKind, Notices, Ordinals, each};
use crate::discovery::{Answer, Failure, FailureKind, Identity, Sighting};

/// Ordinals in a row that don't exist, after which there are none.
const GAP: u32 = 3;
/// How many are asked for at first; twice as many each time that all of them exist.
const WINDOW: u32 = 4;
/// As many with one and the same address are a wildcard record, not pods.
const WILDCARD: usize = 16;

pub(super) async fn ask(ask: &Ask, pattern: &Ordinals, port: u16) -> Result<Found, Failure> {
    let key = format!("ordinals {pattern}");
    let host = pattern.host(pattern.first());
    let mut walk = ask.walk(&key, &host)?;
    while let Some(form) = walk.next() {
        let mut run = Run {
            ask,
            pattern,
            key: &key,
            domain: form.base_name(),
            found: BTreeMap::new(),
            lost_family: None,
            has_v4: false,
            has_v6: false,
            none: None,
        };
        match run.all().await {
            Ok(()) => {
                walk.found(ask, &key, &form);
                return Ok(run.end(port));
            }
            Err(failure) => walk.failed(failure)?,
        }
    }
    Err(walk.end())
}

/// The search for ordinals below one domain.
struct Run<'a> {
    ask: &'a Ask,
    pattern: &'a Ordinals,
    key: &'a str,
    domain: Name,
    found: BTreeMap<u32, Addrs>,
    /// A family that failed where the other has addresses: of the first such ordinal.
    lost_family: Option<(bool, Failure)>,
    has_v4: bool,
    has_v6: bool,
    /// Why the last one that doesn't exist doesn't.
    none: Option<Failure>,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Failure> {
        let first = self.pattern.first();
        let most = u32::try_from(MAX_MEMBERS).unwrap_or(u32::MAX);
        let highest = self.ask.dns.remember(self.key, |memory| memory.highest);
        // Where the gap begins: behind the highest one known.
        let mut top = highest.map_or(first, |highest| highest.saturating_add(1).max(first));
        let mut next = first;
        let mut window = WINDOW;
        loop {
            let end = match self.pattern.last() {
                Some(last) => last.saturating_add(1),
                None if next < top => top.saturating_add(GAP),
                None => next.saturating_add(window),
            };
            let asked: Vec<u32> = (next..end).collect();
            let count = asked.len();
            let before = self.found.len();
            self.some(asked).await?;
            next = end;
            if let Some((highest, _)) = self.found.last_key_value() {
                top = top.max(highest.saturating_add(1));
            }
            if self.found.len() > MAX_MEMBERS || next.saturating_sub(first) > most.saturating_mul(2)
            {
                return Err(self.unusable(format!("more than {MAX_MEMBERS} ordinals")));
            }
            if self.is_wildcard() {
                return Err(self.unusable(
                    "all ordinals have the same address: a wildcard record?".to_owned(),
                ));
            }
            if self.pattern.last().is_some() || next.saturating_sub(top) >= GAP {
                break;
            }
            let is_full = self.found.len().saturating_sub(before) == count;
            if is_full {
                let limit = u32::try_from(LOOKUPS_AT_ONCE).unwrap_or(WINDOW);
                window = window.saturating_mul(2).min(limit);
            } else {
                window = GAP;
            }
        }
        let highest = self.found.last_key_value().map(|(highest, _)| *highest);
        if let Some(highest) = highest {
            self.ask
                .dns
                .remember(self.key, |memory| memory.highest = Some(highest));
        }
        if self.found.is_empty() {
            let none = self.none.take();
            return Err(none.unwrap_or_else(|| self.unusable("nothing was asked".to_owned())));
        }
        self.families()
    }

    /// Asks for these ordinals.
    async fn some(&mut self, ordinals: Vec<u32>) -> Result<(), Failure> {
        let mut names = Vec::new();
        for ordinal in &ordinals {
            let label = self.pattern.member(*ordinal);
            match self.domain.prepend_label(label.as_bytes()) {
                Ok(name) => names.push(name),
                Err(_) => return Err(self.unusable(format!("{label} makes too long a name"))),
            }
        }
        let results = each(names, self.ask.deadline(), |name| {
            let (ask, key) = (self.ask.clone(), self.key.to_owned());
            async move { ask.families(&key, &name).await }
        })
        .await;
        for (ordinal, result) in ordinals.into_iter().zip(results) {
            let (v4, v6) = result?;
            self.has_v4 |= v4.is_ok();
            self.has_v6 |= v6.is_ok();
            let is_v4_lost = v4.is_err();
            match both(v4, v6, |_, _| false) {
                Ok((addrs, lost)) => {
                    self.found.insert(ordinal, addrs);
                    if let Some(failure) = lost {
                        self.lost_family.get_or_insert((is_v4_lost, failure));
                    }
                }
                Err(failure) if failure.is_definite() => self.none = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Takes down how the families went.
    fn families(&mut self) -> Result<(), Failure> {
        let lost = self.lost_family.clone();
        let (has_v4, has_v6) = (self.has_v4, self.has_v6);
        let is_needed = self.ask.dns.remember(self.key, |memory| {
            let mut is_needed = false;
            for (is_v4, has, health) in [
                (true, has_v4, &mut memory.v4),
                (false, has_v6, &mut memory.v6),
            ] {
                match &lost {
                    Some((is_v4_lost, failure)) if *is_v4_lost == is_v4 => {
                        is_needed |= health.failed(failure.kind, Instant::now()) || has;
                    }
                    _ if has => health.worked(),
                    _ => health.absent(),
                }
            }
            is_needed
        });
        match lost {
            Some((_, failure)) if is_needed => Err(failure),
            _ => Ok(()),
        }
    }

    fn is_wildcard(&self) -> bool {
        let mut all = self.found.values().map(|addrs| &addrs.ips);
        let first: Option<&Vec<IpAddr>> = all.next();
        self.found.len() >= WILDCARD && all.all(|ips| Some(ips) == first)
    }

    fn unusable(&self, what: String) -> Failure {
        let detail = format!("{}: {what}", self.pattern);
        Failure::new(FailureKind::Unusable, detail)
    }

    fn end(self, port: u16) -> Found {
        let mut notices = Notices::default();
        let mut valid = Duration::MAX;
        let mut sightings = Vec::new();
        for (ordinal, addrs) in self.found {
            valid = valid.min(addrs.ttl);
            let name = self.pattern.member(ordinal);
            for odd in &addrs.odd {
                notices.add(NoticeKind::Skipped, || {
                    format!("{name} has the address {odd}, which no server can have")
                });
            }
            let addrs = addrs.ips.into_iter().take(MAX_ADDRS);
            sightings.push(Sighting {
                name,
                identity: Identity::Ordinal,
                addrs: addrs.map(|ip| SocketAddr::from((ip, port))).collect(),
                weight: None,
            });
        }
        if let Some((_, failure)) = self.lost_family {
            notices.add(NoticeKind::NoFamily, || failure.detail.clone());
        }
        Found {
            answer: Answer::Members { sightings, valid },
            notices: notices.0,
        }
    }
}
