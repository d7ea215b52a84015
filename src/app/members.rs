//! Who is in each pool, for people and programs: the admin port's `/members` and `ringroad members`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::dns;
use super::{AppError, Running};
use crate::config::{Config, Pool, ServerAddr};
use crate::discovery::asker::Asker;
use crate::discovery::{Membership, PoolMembers, State};

/// One pool and its members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolReport {
    /// The pool's name.
    pub pool: String,
    /// What its placement was computed from, in short; none while it has no members.
    pub digest: Option<String>,
    /// Where members are found; none for a pool whose servers are listed.
    pub sources: Vec<SourceReport>,
    /// The members in the ring's order.
    pub members: Vec<MemberReport>,
}

/// One source of members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// What is asked.
    pub source: String,
    /// Seconds since it last answered; none if it never did.
    pub age_seconds: Option<u64>,
    /// Why it does not answer, if it doesn't.
    pub failing: Option<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// What the ring hashes.
    pub name: String,
    /// Where the name comes from: `srv`, `ordinal`, `ptr`, `name`, `ip`; `listed` for a server of the file.
    pub identity: String,
    /// Where it is reached.
    pub address: String,
    /// Its addresses, of a member that was found.
    pub addresses: Vec<SocketAddr>,
    /// `present`, `absent` or `listed`.
    pub state: String,
    /// Seconds since it joined; none for a listed one.
    pub age_seconds: Option<u64>,
    /// For an absent one: seconds since it was last found.
    pub absent_seconds: Option<u64>,
    /// For an absent one: seconds until it may leave, as far as is known.
    pub leaves_in_seconds: Option<u64>,
    /// Its weight, if it has one.
    pub weight: Option<f64>,
    /// Its share of the keys, from 0 to 1.
    pub share: f64,
}

/// Reports a pool, with its servers filled in; `found` at time `now` of its own clock.
pub(super) fn report(pool: &Pool, found: Option<(&PoolMembers, Duration)>) -> PoolReport {
    let selector = match pool.servers.is_empty() {
        true => None,
        false => pool.selector().ok(),
    };
    let shares = selector.as_ref().map(|s| s.shares()).unwrap_or_default();
    let share = |name: &str| {
        let place = pool.servers.iter().position(|server| server.name == name);
        place
            .and_then(|place| shares.get(place))
            .copied()
            .unwrap_or(0.0)
    };
    let members = match found {
        None => pool
            .servers
            .iter()
            .map(|server| MemberReport {
                name: server.name.clone(),
                identity: "listed".to_owned(),
                address: server.addr.to_string(),
                addresses: match server.addr {
                    ServerAddr::Tcp(addr) => vec![addr],
                    _ => Vec::new(),
                },
                state: "listed".to_owned(),
                age_seconds: None,
                absent_seconds: None,
                leaves_in_seconds: None,
                weight: server.weight,
                share: share(&server.name),
            })
            .collect(),
        Some((members, now)) => members
            .members()
            .into_iter()
            .map(|(name, member)| {
                let absent = match member.state {
                    State::Present => None,
                    State::Absent {
                        since, leaves_at, ..
                    } => Some((since, leaves_at)),
                };
                MemberReport {
                    share: share(&name),
                    name,
                    identity: member.identity.to_string(),
                    address: ServerAddr::Found(member.addrs.clone()).to_string(),
                    addresses: member.addrs.clone(),
                    state: if absent.is_some() {
                        "absent"
                    } else {
                        "present"
                    }
                    .to_owned(),
                    age_seconds: Some(now.saturating_sub(member.first_seen).as_secs()),
                    absent_seconds: absent.map(|(since, _)| now.saturating_sub(since).as_secs()),
                    leaves_in_seconds: absent.map(|(_, at)| at.saturating_sub(now).as_secs()),
                    weight: member.weight,
                }
            })
            .collect(),
    };
    let source =
        |(source, membership): (&crate::config::Source, &Membership), now: Duration| SourceReport {
            source: source.to_string(),
            age_seconds: membership
                .last_good()
                .map(|at| now.saturating_sub(at).as_secs()),
            failing: membership.failing().map(|(failure, count)| {
                format!(
                    "{}, {count} times: {}",
                    failure.kind.label(),
                    failure.detail
                )
            }),
        };
    PoolReport {
        pool: pool.name.clone(),
        digest: selector.map(|selector| format!("{:016x}", selector.digest())),
        sources: match found {
            None => Vec::new(),
            Some((members, now)) => members.sources().map(|one| source(one, now)).collect(),
        },
        members,
    }
}

/// Reports every pool of a running router.
pub(super) fn running(running: &Running, followers: &super::follow::Followers) -> Vec<PoolReport> {
    let config = running.config();
    let (now, found) = followers.members();
    let pools = config.pools.iter().map(|pool| {
        let found = found.iter().find(|(name, _)| *name == pool.name);
        report(pool, found.map(|(_, members)| (members, now)))
    });
    pools.collect()
}

/// Asks the sources of every pool once and fills in what they say. Pools of which nothing is found have no servers.
///
/// # Errors
/// The event loop can't be started.
pub fn resolve(config: &Config) -> Result<(Config, Vec<PoolReport>), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| AppError::System("cannot start the event loop", e))?;
    runtime.block_on(async {
        let dns = dns(&config.dns);
        let mut filled = config.clone();
        let mut reports = Vec::new();
        for pool in &mut filled.pools {
            let Some(discover) = &pool.discover else {
                reports.push(report(pool, None));
                continue;
            };
            let mut asking = tokio::task::JoinSet::new();
            for (index, source) in discover.sources.iter().enumerate() {
                let mut asker = Asker::new(source, &dns);
                asking.spawn(async move { (index, asker.ask().await.answer) });
            }
            let mut members = PoolMembers::new(discover);
            for (index, answer) in asking.join_all().await {
                members.apply(index, Duration::ZERO, &answer);
            }
            pool.servers = members.servers();
            reports.push(report(pool, Some((&members, Duration::ZERO))));
        }
        Ok((filled, reports))
    })
}

/// Asks the router that runs with this configuration, by its admin port, who is in its pools.
///
/// # Errors
/// It has no admin port, does not answer, or is another program.
pub fn ask(config: &Config) -> Result<Vec<PoolReport>, String> {
    let Some(admin) = config.admin.as_ref().and_then(|admin| admin.listen.first()) else {
        return Err("the file has no [admin] port".to_owned());
    };
    let text = crate::admin::client::get(admin, "/members")
        .map_err(|error| format!("the admin port {admin} does not answer: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("the admin port {admin} is not that of a ringroad: {error}"))
}

/// The hook of the admin port.
pub(super) fn hook(
    router: &Arc<Running>,
    followers: &Arc<super::follow::Followers>,
) -> Arc<dyn Fn() -> serde_json::Value + Send + Sync> {
    let (router, followers) = (Arc::clone(router), Arc::clone(followers));
    Arc::new(move || serde_json::json!(running(&router, &followers)))
}
