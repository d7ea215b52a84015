//! Members by DNS: headless Services, StatefulSet ordinals, names with several addresses, lists of names.
//!
//! What each question gives is one [`Found`]: the [`Answer`] for the membership reducer, and notices for the log.
//! A [`Dns`] is shared by all pools of the process. It asks for A, AAAA, SRV and PTR records separately, so that a
//! family that failed is never taken for one that is empty; it keeps no cache, since what is asked again must be
//! looked up again; names are sent absolute, after at most one walk through the search domains.
//!
//! Invariants: every question ends within [`ASK_LIMIT`], with a defined answer, whatever the servers send; an
//! answer is never a part of the set because a lookup failed (it is [`Answer::Failed`] then); names come out in
//! lower case, of letters, digits, `_`, `-` and `.` only; no more than [`MAX_MEMBERS`] members; servers see no more
//! than [`LOOKUPS_AT_ONCE`] lookups at once. Times to live are passed on as they are: who asks, bounds them.
//!
//! It runs on the runtime it is first used on, and must stay there: its connections belong to that runtime. It
//! doesn't know what the members are for, when to ask again, and who was there before.

mod ask;
mod hosts;
mod label;
mod lookup;
mod memory;
mod ordinals;
mod service;
mod system;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use crate::config::{IdentityWish, Ordinals};
pub use hosts::{Host, Named, Resolved};

use super::{Answer, Failure, FailureKind};
use ask::Ask;
use memory::Memory;
use system::{Followed, Source};

/// The most members an answer may have; more is [`FailureKind::Unusable`].
pub const MAX_MEMBERS: usize = 4096;
/// The most addresses of one member; of more, the lowest are taken.
pub const MAX_ADDRS: usize = 16;
/// Lookups under way at once, of all pools together.
pub const LOOKUPS_AT_ONCE: usize = 64;
/// How long a server may take for one lookup before it is asked over TCP, or another one is asked.
pub const ATTEMPT: Duration = Duration::from_secs(2);
/// How long one lookup may take with all its attempts.
pub const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// How long a question with all its lookups may take.
pub const ASK_LIMIT: Duration = Duration::from_secs(15);

/// Names whose behaviour is remembered; far more than a configuration has.
const MAX_MEMORIES: usize = 4096;

/// The DNS source; cheap to clone, one for the process.
#[derive(Clone)]
pub struct Dns {
    inner: Arc<Inner>,
}

struct Inner {
    followed: Mutex<Followed>,
    memories: Mutex<HashMap<String, Memory>>,
    permits: Semaphore,
}

/// What a question gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The members, or why they can't be known.
    pub answer: Answer,
    /// What is worth a line in the log; at most one of a kind.
    pub notices: Vec<Notice>,
}

/// Something about an answer that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The kind, for counters.
    pub kind: NoticeKind,
    /// What was seen; the first case if there are several.
    pub detail: String,
    /// In how many cases.
    pub count: usize,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if self.count > 1 {
            write!(f, " (and {} more)", self.count - 1)?;
        }
        Ok(())
    }
}

/// Kinds of notices; a closed list that the log and the counters share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// One address and no member names: the Service looks like one that isn't headless.
    VirtualIp,
    /// Members are known by their addresses only: one that restarts elsewhere moves keys.
    IpIdentity,
    /// Something that can't be a member: a name with odd bytes, an address nobody can have.
    Skipped,
    /// A member's name doesn't resolve.
    Unresolved,
    /// SRV records can't be used; addresses are.
    NoSrv,
    /// PTR records could not be looked up.
    NoPtr,
    /// One address family could not be looked up; the other is used.
    NoFamily,
    /// Targets have several ports, or none that can be used; one was chosen.
    Port,
    /// Addresses of a second family that can't be told whose they are, and were left out.
    OtherFamily,
}

impl NoticeKind {
    /// All kinds.
    pub const ALL: [NoticeKind; 9] = [
        NoticeKind::VirtualIp,
        NoticeKind::IpIdentity,
        NoticeKind::Skipped,
        NoticeKind::Unresolved,
        NoticeKind::NoSrv,
        NoticeKind::NoPtr,
        NoticeKind::NoFamily,
        NoticeKind::Port,
        NoticeKind::OtherFamily,
    ];

    /// The label in the log and in counters.
    pub const fn label(self) -> &'static str {
        match self {
            NoticeKind::VirtualIp => "virtual_ip",
            NoticeKind::IpIdentity => "ip_identity",
            NoticeKind::Skipped => "skipped",
            NoticeKind::Unresolved => "unresolved",
            NoticeKind::NoSrv => "no_srv",
            NoticeKind::NoPtr => "no_ptr",
            NoticeKind::NoFamily => "no_family",
            NoticeKind::Port => "port",
            NoticeKind::OtherFamily => "other_family",
        }
    }
}

impl Found {
    /// It can't be known who is there.
    pub(super) fn failed(failure: Failure) -> Found {
        Found {
            answer: Answer::Failed(failure),
            notices: Vec::new(),
        }
    }
}

impl Dns {
    /// Asks the servers of `/etc/resolv.conf` and follows its changes. While the file can't be read, questions fail.
    pub fn from_system() -> Dns {
        Dns::from_file("/etc/resolv.conf", 53)
    }

    /// Like [`Dns::from_system`], with another file, whose servers listen on `port`.
    pub fn from_file(path: impl Into<PathBuf>, port: u16) -> Dns {
        Dns::new(Source::File {
            path: path.into(),
            port,
        })
    }

    /// Asks these servers. Short names are tried below the `search` domains; names that are no domains are left out.
    pub fn with_servers(servers: &[SocketAddr], search: &[&str]) -> Dns {
        Dns::new(Source::fixed(servers, search))
    }

    fn new(source: Source) -> Dns {
        Dns {
            inner: Arc::new(Inner {
                followed: Mutex::new(Followed::new(source)),
                memories: Mutex::new(HashMap::new()),
                permits: Semaphore::new(LOOKUPS_AT_ONCE),
            }),
        }
    }

    /// The members of a headless Service.
    ///
    /// Asks for its SRV records (`_port_name._tcp.name` with a port name, else those of `name` itself) and its
    /// addresses. With SRV records each target is a member, even one that doesn't resolve, at the port of the
    /// record; without, each address is one at `port`, named by its PTR record if that lies directly below `name`.
    /// A member with addresses of both families is one member. Priorities and weights of SRV records mean nothing
    /// to a ring and are left aside.
    pub async fn service(
        &self,
        name: &str,
        port: u16,
        port_name: Option<&str>,
        identity: IdentityWish,
    ) -> Found {
        let question = service::Question {
            host: name.to_owned(),
            port,
            port_name: port_name.map(str::to_owned),
            identity,
            srv: identity != IdentityWish::Ip,
        };
        self.found(question).await
    }

    /// The addresses of a name, each a member at `port`; named by its PTR record as with [`Dns::service`].
    pub async fn addresses(&self, name: &str, port: u16, identity: IdentityWish) -> Found {
        let question = service::Question {
            host: name.to_owned(),
            port,
            port_name: None,
            identity,
            srv: false,
        };
        self.found(question).await
    }

    async fn found(&self, question: service::Question) -> Found {
        self.contained(|ask| async move { service::ask(&ask, &question).await })
            .await
    }

    /// The ordinals of a StatefulSet that exist, by their names; at `port`.
    ///
    /// Without an upper bound, three ordinals in a row that don't exist end the search.
    pub async fn ordinals(&self, pattern: &Ordinals, port: u16) -> Found {
        let pattern = pattern.clone();
        self.contained(|ask| async move { ordinals::ask(&ask, &pattern, port).await })
            .await
    }

    /// The addresses of listed names, in their order; each name has some, or the reason why not.
    ///
    /// Only here the system's hosts file counts, and `localhost` is this machine.
    pub async fn names(&self, hosts: &[Host]) -> Vec<Named> {
        hosts::ask(self, hosts).await
    }

    /// Runs a question within the time limit, in a task of its own: a panic in it fails the question alone.
    async fn contained<F>(&self, question: impl FnOnce(Ask) -> F) -> Found
    where
        F: Future<Output = Result<Found, Failure>> + Send + 'static,
    {
        let ask = match self.begin() {
            Ok(ask) => ask,
            Err(failure) => return Found::failed(failure),
        };
        let deadline = ask.deadline();
        let mut done = each(vec![question(ask)], deadline, |question| question).await;
        match done.pop() {
            Some(Ok(Ok(found))) => found,
            Some(Ok(Err(failure)) | Err(failure)) => Found::failed(failure),
            None => Found::failed(Failure::new(FailureKind::Unusable, "nothing was asked")),
        }
    }

    fn begin(&self) -> Result<Ask, Failure> {
        let system = lock(&self.inner.followed).current(Instant::now())?;
        Ok(Ask::new(self.clone(), system))
    }

    fn remember<T>(&self, key: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memories = lock(&self.inner.memories);
        if memories.len() >= MAX_MEMORIES && !memories.contains_key(key) {
            memories.clear();
        }
        change(memories.entry(key.to_owned()).or_default())
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl Failure {
    /// Whether it says that there is nothing, rather than that it can't be known.
    fn is_definite(&self) -> bool {
        matches!(self.kind, FailureKind::NoSuchName | FailureKind::Empty)
    }
}

/// Notices on their way, merged by kind.
#[derive(Debug, Default)]
struct Notices(Vec<Notice>);

impl Notices {
    fn add(&mut self, kind: NoticeKind, detail: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|notice| notice.kind == kind) {
            Some(notice) => notice.count += 1,
            None => self.0.push(Notice {
                kind,
                detail: detail(),
                count: 1,
            }),
        }
    }
}

/// A lock whose holder can't leave things half changed, so that a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` for each item, [`LOOKUPS_AT_ONCE`] at a time, until the deadline; the results in the items' order.
async fn each<T, R, W, F>(items: Vec<T>, deadline: Instant, mut work: W) -> Vec<Result<R, Failure>>
where
    R: Send + 'static,
    W: FnMut(T) -> F,
    F: Future<Output = R> + Send + 'static,
{
    let mut results: Vec<Result<R, Failure>> = items
        .iter()
        .map(|_| Err(Failure::new(FailureKind::Timeout, "out of time")))
        .collect();
    let mut waiting = items.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut indices = HashMap::new();
    let deadline = tokio::time::Instant::from_std(deadline);
    loop {
        while running.len() < LOOKUPS_AT_ONCE
            && let Some((index, item)) = waiting.next()
        {
            indices.insert(running.spawn(work(item)).id(), index);
        }
        let next = tokio::time::timeout_at(deadline, running.join_next_with_id()).await;
        let (id, result) = match next {
            Ok(Some(Ok((id, result)))) => (id, Ok(result)),
            Ok(Some(Err(error))) => {
                let detail = format!("a bug: {error}");
                (error.id(), Err(Failure::new(FailureKind::Unusable, detail)))
            }
            Ok(None) | Err(_) => return results,
        };
        if let Some(slot) = indices.remove(&id).and_then(|i| results.get_mut(i)) {
            *slot = result;
        }
    }
}
