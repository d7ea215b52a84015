//! The records of a name: its addresses, its SRV records, the name of an address; aliases followed.
//!
//! Out of a message only that is taken which belongs to the name asked for, or to what it is an alias of. Aliases
//! within an answer are followed there, beyond it they are asked for; a loop and too long a chain make the answer
//! unusable. The time to live is the least of all records used, aliases included.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::ask::Ask;
use super::{MAX_MEMBERS, memory::Memory};
use crate::discovery::{Failure, FailureKind};

/// The longest chain of aliases.
const MAX_ALIASES: usize = 16;

/// Addresses that a name has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Addrs {
    /// Sorted, without doubles; of both families, or of one.
    pub ips: Vec<IpAddr>,
    /// Addresses that nobody can have, left out.
    pub odd: Vec<IpAddr>,
    /// Whose they are: the name, or the last of its aliases.
    pub owner: Name,
    pub ttl: Duration,
}

/// SRV records of a name.
pub(super) struct Targets {
    /// Targets and ports, sorted, without doubles.
    pub targets: Vec<(Name, u16)>,
    /// Addresses of targets that came along.
    pub addrs: Vec<(Name, IpAddr, Duration)>,
    pub ttl: Duration,
}

struct Records {
    owner: Name,
    records: Vec<Record>,
    additional: Vec<Record>,
    ttl: Duration,
}

impl Ask {
    /// The addresses of one family (`A` or `AAAA`).
    pub(super) async fn family(&self, name: &Name, kind: RecordType) -> Result<Addrs, Failure> {
        let found = self.records(name, kind).await?;
        let ips = found.records.iter().filter_map(|r| ip(&r.data));
        let (mut ips, mut odd): (Vec<IpAddr>, Vec<IpAddr>) = ips.partition(is_reachable);
        for list in [&mut ips, &mut odd] {
            list.sort_unstable();
            list.dedup();
        }
        if ips.is_empty() {
            let detail = format!("{name} {kind}: no address that a server could have");
            return Err(Failure::new(FailureKind::Unusable, detail));
        }
        Ok(Addrs {
            ips,
            odd,
            owner: found.owner,
            ttl: found.ttl,
        })
    }

    /// The addresses of both families, each by itself; one that is never answered may be left out.
    pub(super) async fn families(
        &self,
        key: &str,
        name: &Name,
    ) -> (Result<Addrs, Failure>, Result<Addrs, Failure>) {
        let now = Instant::now();
        let (no_v4, no_v6) = self.dns.remember(key, |memory| {
            (memory.v4.is_paused(now), memory.v6.is_paused(now))
        });
        let family = async |kind, is_left_out| {
            if is_left_out {
                let detail = format!("{name} {kind}: left out, since it is never answered");
                return Err(Failure::new(FailureKind::Empty, detail));
            }
            self.family(name, kind).await
        };
        tokio::join!(
            family(RecordType::A, no_v4),
            family(RecordType::AAAA, no_v6)
        )
    }

    /// The targets of SRV records.
    pub(super) async fn targets(&self, name: &Name) -> Result<Targets, Failure> {
        let found = self.records(name, RecordType::SRV).await?;
        let mut targets: Vec<(Name, u16)> = found
            .records
            .iter()
            .filter_map(|record| match &record.data {
                // The root says that there is no such service.
                RData::SRV(srv) if !srv.target.is_root() => {
                    Some((srv.target.to_lowercase(), srv.port))
                }
                _ => None,
            })
            .collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() {
            let detail = format!("{name} SRV: records without targets");
            return Err(Failure::new(FailureKind::Empty, detail));
        }
        if targets.len() > MAX_MEMBERS {
            let detail = format!("{name} SRV: more than {MAX_MEMBERS} targets");
            return Err(Failure::new(FailureKind::Unusable, detail));
        }
        let addrs = found.additional.iter().filter_map(|record| {
            let ip = ip(&record.data).filter(is_reachable)?;
            Some((record.name.to_lowercase(), ip, seconds(record.ttl)))
        });
        Ok(Targets {
            targets,
            addrs: addrs.collect(),
            ttl: found.ttl,
        })
    }

    /// The names that an address points back to, sorted.
    pub(super) async fn pointers(&self, ip: IpAddr) -> Result<(Vec<Name>, Duration), Failure> {
        let found = self.records(&Name::from(ip), RecordType::PTR).await?;
        let names = found.records.into_iter().filter_map(|r| match r.data {
            RData::PTR(ptr) => Some(ptr.0.to_lowercase()),
            _ => None,
        });
        let mut names: Vec<Name> = names.collect();
        names.sort_unstable();
        Ok((names, found.ttl))
    }

    async fn records(&self, name: &Name, kind: RecordType) -> Result<Records, Failure> {
        let mut chain = Chain::new(name.clone());
        loop {
            let mut message = self.message(chain.end(), kind).await?;
            let answers = std::mem::take(&mut message.answers);
            let is_known = chain.follow(&answers, kind)?;
            let end = chain.end();
            let records: Vec<Record> = answers
                .into_iter()
                .filter(|r| r.record_type() == kind && &r.name == end)
                .collect();
            if !records.is_empty() {
                let ttls = records.iter().map(|r| seconds(r.ttl));
                let ttl = ttls.fold(chain.ttl, Duration::min);
                return Ok(Records {
                    owner: end.clone(),
                    records,
                    additional: message.additionals,
                    ttl,
                });
            }
            if message.metadata.response_code == ResponseCode::NXDomain {
                let end = end.to_ascii();
                let detail = format!("{name} {kind}: an alias of {end}, which doesn't exist");
                return Err(Failure::new(FailureKind::NoSuchName, detail));
            }
            if is_known {
                let detail = format!("{name} {kind}: no such records");
                return Err(Failure::new(FailureKind::Empty, detail));
            }
        }
    }
}

/// A name and what it is an alias of.
struct Chain {
    names: Vec<Name>,
    ttl: Duration,
}

impl Chain {
    fn new(name: Name) -> Chain {
        Chain {
            names: vec![name],
            ttl: Duration::MAX,
        }
    }

    fn end(&self) -> &Name {
        // It begins with a name and only grows.
        static ROOT: std::sync::LazyLock<Name> = std::sync::LazyLock::new(Name::root);
        self.names.last().unwrap_or(&ROOT)
    }

    /// Follows the aliases in an answer to a question for the end. Returns whether the end is still the same.
    fn follow(&mut self, answers: &[Record], kind: RecordType) -> Result<bool, Failure> {
        let asked = self.names.len();
        loop {
            let end = self.end();
            if answers
                .iter()
                .any(|r| r.record_type() == kind && &r.name == end)
            {
                break;
            }
            let next = answers.iter().find_map(|r| match &r.data {
                RData::CNAME(target) if &r.name == end => Some((target.0.clone(), r.ttl)),
                _ => None,
            });
            let Some((next, ttl)) = next else {
                break;
            };
            let is_loop = self.names.contains(&next);
            if is_loop || self.names.len() > MAX_ALIASES {
                let what = if is_loop {
                    "aliases in a circle"
                } else {
                    "too long a chain of aliases"
                };
                let name = self.names.first().unwrap_or(end);
                let detail = format!("{name} {kind}: {what}, at {}", next.to_ascii());
                return Err(Failure::new(FailureKind::Unusable, detail));
            }
            self.names.push(next);
            self.ttl = self.ttl.min(seconds(ttl));
        }
        Ok(self.names.len() == asked)
    }
}

/// The addresses of both families as one, with what is remembered of them.
///
/// # Errors
/// Neither family has addresses, or one failed that can't be done without: it had some before, or the other has none.
/// The failure of the other one, where that has addresses, is in the value.
pub(super) fn both(
    v4: Result<Addrs, Failure>,
    v6: Result<Addrs, Failure>,
    needed: impl FnOnce(&Result<Addrs, Failure>, &Result<Addrs, Failure>) -> bool,
) -> Result<(Addrs, Option<Failure>), Failure> {
    let is_needed = needed(&v4, &v6);
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.ips.extend(v6.ips);
            v4.odd.extend(v6.odd);
            v4.ttl = v4.ttl.min(v6.ttl);
            // An IPv4 address may have come as both.
            v4.ips.sort_unstable();
            v4.ips.dedup();
            Ok((v4, None))
        }
        (Ok(addrs), Err(failure)) | (Err(failure), Ok(addrs)) => {
            if failure.is_definite() {
                Ok((addrs, None))
            } else if is_needed {
                Err(failure)
            } else {
                Ok((addrs, Some(failure)))
            }
        }
        (Err(v4), Err(v6)) => Err(match (v4.is_definite(), v6.is_definite()) {
            (true, false) => v6,
            (true, true) if v6.kind == FailureKind::Empty => v6,
            _ => v4,
        }),
    }
}

impl Memory {
    /// Takes down how the two families went; returns whether one that failed is needed.
    pub(super) fn families(
        &mut self,
        v4: &Result<Addrs, Failure>,
        v6: &Result<Addrs, Failure>,
        now: Instant,
    ) -> bool {
        let mut needed = false;
        for (mine, other, health) in [(v4, v6, &mut self.v4), (v6, v4, &mut self.v6)] {
            match mine {
                Ok(_) => health.worked(),
                Err(failure) if failure.is_definite() => health.absent(),
                // An outage of everything says nothing about a family.
                Err(failure) if other.is_ok() => needed |= health.failed(failure.kind, now),
                Err(_) => {}
            }
        }
        needed
    }
}

/// The address in a record.
fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0).to_canonical()),
        _ => None,
    }
}

/// Whether a server may have it. To connect to `0.0.0.0` is to connect to this machine.
fn is_reachable(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

fn seconds(ttl: u32) -> Duration {
    // As RFC 2181 has it, the highest bit set means zero.
    Duration::from_secs(u64::from(if ttl > i32::MAX as u32 { 0 } else { ttl }))
}
