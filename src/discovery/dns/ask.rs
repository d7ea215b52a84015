//! One lookup: a question to one server after the other, over UDP and then over TCP, until one of them has answered.
//!
//! Built on hickory's pool of name servers, below its resolver: the resolver answers for `localhost` and `127/8` by
//! itself, follows SRV targets as if they were aliases and stops at the first server that fails. A pool here has one
//! server; which server comes next is decided in this file, so that a broken one doesn't hide those that work. The
//! pool repeats what UDP lost, checks ids, ports and questions, and turns to TCP when an answer was cut short.
//!
//! A server that answers keeps being asked first. Only a server's word counts: an answer, a name that isn't there,
//! no records of that type. Silence, garbage and refusals send the question to the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::timeout;

use super::system::System;
use super::{ASK_LIMIT, ATTEMPT, Dns, LOOKUP_LIMIT, LOOKUPS_AT_ONCE};
use crate::discovery::{Failure, FailureKind};

type Pool = NameServerPool<TokioRuntimeProvider>;

/// The servers of one configuration.
pub(super) struct Client {
    servers: Vec<Server>,
    /// Which one answered last.
    first: AtomicUsize,
    /// Lookups since one was answered.
    silence: AtomicUsize,
}

struct Server {
    addr: SocketAddr,
    /// UDP, and TCP for what is cut short.
    udp: Pool,
    tcp: Pool,
}

/// What came of an attempt.
enum Attempt {
    /// The server has spoken.
    Done(Result<Message, Failure>),
    /// It can't or won't answer, over TCP neither.
    Refused(Failure),
    /// Nothing usable arrived.
    Lost(Failure),
}

impl Client {
    pub(super) fn new(servers: &[SocketAddr]) -> Client {
        Client {
            servers: servers
                .iter()
                .filter_map(|addr| Server::new(*addr))
                .collect(),
            first: AtomicUsize::new(0),
            silence: AtomicUsize::new(0),
        }
    }

    /// How many lookups in a row no server has answered.
    pub(super) fn silence(&self) -> usize {
        self.silence.load(Ordering::Relaxed)
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Message, Failure> {
        let query = Query::query(name.clone(), kind);
        let result = match timeout(LOOKUP_LIMIT, self.one_by_one(&query)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(
                FailureKind::Timeout,
                format!("{name} {kind}: no answer within {LOOKUP_LIMIT:?}"),
            )),
        };
        match &result {
            Err(failure) if !failure.is_definite() && failure.kind != FailureKind::Server => {
                self.silence.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.silence.store(0, Ordering::Relaxed),
        }
        result
    }

    async fn one_by_one(&self, query: &Query) -> Result<Message, Failure> {
        let first = self.first.load(Ordering::Relaxed);
        let turn = || {
            let servers = self.servers.iter().enumerate().cycle().skip(first);
            servers.take(self.servers.len())
        };
        let mut lost = Vec::new();
        let mut worst: Option<Failure> = None;
        let mut note = |failure: Failure| {
            if worst
                .as_ref()
                .is_none_or(|worst| rank(failure.kind) > rank(worst.kind))
            {
                worst = Some(failure);
            }
        };
        for (index, server) in turn() {
            match server.send(&server.udp, query).await {
                Attempt::Done(result) => {
                    self.first.store(index, Ordering::Relaxed);
                    return result;
                }
                Attempt::Refused(failure) => note(failure),
                Attempt::Lost(failure) => {
                    lost.push(index);
                    note(failure);
                }
            }
        }
        for (index, server) in turn().filter(|(index, _)| lost.contains(index)) {
            match server.send(&server.tcp, query).await {
                Attempt::Done(result) => {
                    self.first.store(index, Ordering::Relaxed);
                    return result;
                }
                Attempt::Refused(failure) | Attempt::Lost(failure) => note(failure),
            }
        }
        Err(worst.unwrap_or_else(|| Failure::new(FailureKind::Io, "there are no name servers")))
    }
}

/// Which of several servers' failures is told: the one that says most.
fn rank(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Server => 3,
        FailureKind::Unusable => 2,
        FailureKind::Timeout => 1,
        _ => 0,
    }
}

impl Server {
    /// None if TLS can't be set up, which nothing here asks for.
    fn new(addr: SocketAddr) -> Option<Server> {
        let mut opts = ResolverOpts::default();
        opts.timeout = ATTEMPT;
        opts.attempts = 0;
        opts.edns0 = true;
        opts.cache_size = 0;
        opts.num_concurrent_reqs = 1;
        // Beyond this a connection would refuse; there are never more.
        opts.max_active_requests = LOOKUPS_AT_ONCE.saturating_mul(2);
        let pool = |connections: Vec<ConnectionConfig>| {
            let server = NameServerConfig::new(addr.ip(), true, connections);
            let tls = TlsConfig::new().ok()?;
            let context = Arc::new(PoolContext::new(opts.clone(), tls));
            let provider = TokioRuntimeProvider::default();
            Some(Pool::from_config([server], context, provider))
        };
        let at = |mut connection: ConnectionConfig| {
            connection.port = addr.port();
            connection
        };
        Some(Server {
            addr,
            udp: pool(vec![
                at(ConnectionConfig::udp()),
                at(ConnectionConfig::tcp()),
            ])?,
            tcp: pool(vec![at(ConnectionConfig::tcp())])?,
        })
    }

    async fn send(&self, pool: &Pool, query: &Query) -> Attempt {
        let mut options = DnsRequestOptions::default();
        let mut attempt = self.send_with(pool, query, options).await;
        if matches!(
            &attempt,
            Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::FormErr)))
        ) {
            // A server from before EDNS.
            options.use_edns = false;
            attempt = self.send_with(pool, query, options).await;
        }
        let failure = |kind, what: &dyn std::fmt::Display| {
            let detail = format!(
                "{} {}: {what} (server {})",
                query.name(),
                query.query_type(),
                self.addr
            );
            Failure::new(kind, detail)
        };
        match attempt {
            Ok(message) if message.queries.as_slice() == std::slice::from_ref(query) => {
                Attempt::Done(Ok(message))
            }
            Ok(_) => Attempt::Lost(failure(
                FailureKind::Unusable,
                &"an answer to another question",
            )),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NXDomain => {
                    Attempt::Done(Err(failure(FailureKind::NoSuchName, &"no such name")))
                }
                ResponseCode::NoError => {
                    Attempt::Done(Err(failure(FailureKind::Empty, &"no such records")))
                }
                code => Attempt::Refused(failure(FailureKind::Server, &code)),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                Attempt::Refused(failure(FailureKind::Server, &code))
            }
            Err(NetError::Truncated) => Attempt::Refused(failure(
                FailureKind::Unusable,
                &"the answer is cut short over TCP, too",
            )),
            Err(NetError::Timeout) => Attempt::Lost(failure(FailureKind::Timeout, &"no answer")),
            Err(error @ (NetError::Io(_) | NetError::NoConnections | NetError::Busy)) => {
                Attempt::Lost(failure(FailureKind::Io, &error))
            }
            Err(error) => Attempt::Lost(failure(FailureKind::Unusable, &error)),
        }
    }

    async fn send_with(
        &self,
        pool: &Pool,
        query: &Query,
        options: DnsRequestOptions,
    ) -> Result<Message, NetError> {
        let answer = pool.lookup(query.clone(), options).first_answer();
        match timeout(ATTEMPT, answer).await {
            Ok(answer) => answer.map(Message::from),
            Err(_) => Err(NetError::Timeout),
        }
    }
}

/// What the lookups of one question share.
#[derive(Clone)]
pub(super) struct Ask {
    pub dns: Dns,
    pub system: Arc<System>,
    began: Instant,
}

impl Ask {
    pub(super) fn new(dns: Dns, system: Arc<System>) -> Ask {
        Ask {
            dns,
            system,
            began: Instant::now(),
        }
    }

    /// When the question must have its answer.
    pub(super) fn deadline(&self) -> Instant {
        self.began + ASK_LIMIT
    }

    /// When the lookups of single members must end, so that there's time left to answer with what there is.
    pub(super) fn members_deadline(&self) -> Instant {
        self.began + ASK_LIMIT.saturating_sub(ATTEMPT)
    }

    /// Asks the servers once; the answer is to this question, and may have aliases.
    pub(super) async fn message(&self, name: &Name, kind: RecordType) -> Result<Message, Failure> {
        let Ok(_permit) = self.dns.inner.permits.acquire().await else {
            return Err(Failure::new(FailureKind::Io, "closed"));
        };
        self.system.client.lookup(name, kind).await
    }
}

/// The forms of a name, tried one after the other until one resolves.
pub(super) struct Walk {
    forms: Vec<Name>,
    order: std::vec::IntoIter<Name>,
    tried: usize,
    failure: Option<Failure>,
}

impl Ask {
    /// Begins a walk through what `host` may mean, with what is remembered under `key`.
    pub(super) fn walk(&self, key: &str, host: &str) -> Result<Walk, Failure> {
        let forms = self.system.forms(host)?;
        let order = self
            .dns
            .remember(key, |memory| memory.order(&forms, Instant::now()));
        Ok(Walk {
            forms,
            order: order.into_iter(),
            tried: 0,
            failure: None,
        })
    }
}

impl Walk {
    pub(super) fn next(&mut self) -> Option<Name> {
        self.tried += 1;
        self.order.next()
    }

    /// The form that came last has resolved. It is kept to, unless an earlier one may be right.
    pub(super) fn found(&self, ask: &Ask, key: &str, form: &Name) {
        if self.failure.as_ref().is_some_and(|f| !f.is_definite()) {
            return;
        }
        let at = self.forms.iter().position(|known| known == form);
        let is_walked = at.is_some_and(|at| at < self.tried);
        ask.dns.remember(key, |memory| {
            memory.resolved(form, is_walked, Instant::now())
        });
    }

    /// The form that came last has not.
    ///
    /// # Errors
    /// The failure itself, if the next form must not be tried because this one may be right.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        let is_passed_over = failure.is_definite() || failure.kind == FailureKind::Server;
        if !is_passed_over {
            return Err(failure);
        }
        // A server that fails says more than a name that isn't there.
        let tells = |failure: &Failure| failure.kind == FailureKind::Server;
        if self
            .failure
            .as_ref()
            .is_none_or(|old| tells(&failure) && !tells(old))
        {
            self.failure = Some(failure);
        }
        Ok(())
    }

    /// Why none of them has.
    pub(super) fn end(self) -> Failure {
        self.failure.unwrap_or_else(|| {
            Failure::new(
                FailureKind::Unusable,
                "a name that is too long with any search domain",
            )
        })
    }
}
