//! Follows the members of pools that discover their servers.
//!
//! Each source has a task on the control thread that asks it when its schedule says, sooner when a connection to one
//! of its members fails, and feeds the answers to the pool's membership. What changes is logged, counted, and handed
//! to [`Running`], which has the workers route by it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};

use super::{Running, names};
use crate::config::{Config, Discover};
use crate::discovery::asker::Asker;
use crate::discovery::dns::{Dns, Found, NoticeKind};
use crate::discovery::{Answer, Change, Pace, PoolMembers, Schedule};
use crate::stats::report::Discovery;

/// A notice that stays the same is not logged again for this long.
const REPEAT: Duration = Duration::from_secs(3600);

/// The pools that are followed.
pub struct Followers {
    running: Arc<Running>,
    dns: Dns,
    /// Where the tasks run; a reload may come from another thread.
    control: tokio::runtime::Handle,
    epoch: Instant,
    pools: Mutex<BTreeMap<String, Followed>>,
    /// The names of listed servers that are looked up.
    names: Mutex<Option<Names>>,
}

struct Names {
    names: BTreeSet<names::Name>,
    pace: (Duration, Duration),
    task: AbortHandle,
}

struct Followed {
    discover: Discover,
    pace: (Duration, Duration),
    shared: Arc<Shared>,
    /// Ends with this.
    _tasks: JoinSet<()>,
}

struct Shared {
    pool: String,
    running: Arc<Running>,
    epoch: Instant,
    state: Mutex<State>,
    /// Every source has been asked once.
    asked: Notify,
}

struct State {
    members: PoolMembers,
    figures: Discovery,
    /// Sources that have not been asked yet.
    waiting: usize,
    noticed: BTreeMap<(usize, NoticeKind), (String, Instant)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

impl Followers {
    /// Follows nothing yet; `dns` is asked for names. Must be called within the control thread's runtime.
    pub fn new(running: Arc<Running>, dns: Dns) -> Followers {
        Followers {
            running,
            dns,
            control: tokio::runtime::Handle::current(),
            epoch: Instant::now(),
            pools: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// Follows the pools of `config` that discover their servers, and no others. A pool that is followed already
    /// and in the same way is not disturbed; one that is followed in another way keeps its servers until they are
    /// found.
    pub fn follow(&self, config: &Config) {
        self.follow_names(config);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = (config.dns.min_ttl, config.dns.max_ttl);
        let wanted = |name: &str| {
            let pool = config.pools.iter().find(|pool| pool.name == name)?;
            pool.discover.as_ref()
        };
        pools.retain(|name, followed| {
            wanted(name) == Some(&followed.discover) && followed.pace == pace
        });
        for pool in &config.pools {
            if let Some(discover) = &pool.discover
                && !pools.contains_key(&pool.name)
            {
                let followed = self.start(&pool.name, discover, pace);
                pools.insert(pool.name.clone(), followed);
            }
        }
    }

    fn follow_names(&self, config: &Config) {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names::listed(config);
        let pace = (config.dns.min_ttl, config.dns.max_ttl);
        if known
            .as_ref()
            .is_some_and(|known| known.names == names && known.pace == pace)
        {
            return;
        }
        if let Some(before) = known.take() {
            before.task.abort();
        }
        if !names.is_empty() {
            let task = names::follow(
                Arc::clone(&self.running),
                self.dns.clone(),
                names.clone(),
                bounds(pace),
                &self.control,
            );
            *known = Some(Names { names, pace, task });
        }
    }

    fn start(
        &self,
        pool: &str,
        discover: &Discover,
        (floor, ceiling): (Duration, Duration),
    ) -> Followed {
        let count = discover.sources.len();
        let shared = Arc::new(Shared {
            pool: pool.to_owned(),
            running: Arc::clone(&self.running),
            epoch: self.epoch,
            state: Mutex::new(State {
                members: PoolMembers::new(discover),
                figures: Discovery {
                    answered: vec![None; count],
                    ..Discovery::default()
                },
                waiting: count,
                noticed: BTreeMap::new(),
            }),
            asked: Notify::new(),
        });
        let pace = bounds((floor, ceiling));
        let mut tasks = JoinSet::new();
        for (index, source) in discover.sources.iter().enumerate() {
            tracing::info!(pool, %source, "looking for servers");
            let asker = Asker::new(source, &self.dns);
            tasks.spawn_on(
                follow(Arc::clone(&shared), index, asker, pace),
                &self.control,
            );
        }
        Followed {
            discover: discover.clone(),
            pace: (floor, ceiling),
            shared,
            _tasks: tasks,
        }
    }

    /// Waits until every source of every pool has been asked once, whatever came of it.
    pub async fn first_answers(&self) {
        let all: Vec<Arc<Shared>> = self
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(|followed| Arc::clone(&followed.shared))
            .collect();
        for shared in all {
            loop {
                let asked = shared.asked.notified();
                if shared.state().waiting == 0 {
                    break;
                }
                asked.await;
            }
        }
    }

    /// The members of each pool that is followed, as they are now, and what time that is on their clock.
    pub fn members(&self) -> (Duration, Vec<(String, PoolMembers)>) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let members = pools
            .iter()
            .map(|(name, followed)| (name.clone(), followed.shared.state().members.clone()))
            .collect();
        (self.epoch.elapsed(), members)
    }
}

/// Random numbers for a schedule.
pub(super) fn jitter() -> impl FnMut() -> u64 {
    let random = RandomState::new();
    let mut drawn = 0u64;
    move || {
        drawn += 1;
        random.hash_one(drawn)
    }
}

fn bounds((floor, ceiling): (Duration, Duration)) -> Pace {
    Pace {
        floor,
        ceiling,
        retry_ceiling: Pace::default().retry_ceiling.max(floor),
        ..Pace::default()
    }
}

/// Asks one source for as long as it is followed.
async fn follow(shared: Arc<Shared>, index: usize, mut asker: Asker, pace: Pace) {
    let mut random = jitter();
    let mut schedule = Schedule::new(asker.pace(pace), shared.now());
    let mut troubles = shared.running.registry().troubles();
    let mut first = true;
    loop {
        let due = shared.epoch + schedule.due();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {
                let found = asker.ask().await;
                let (changed, wanted) = shared.take(index, &found);
                schedule.answered(shared.now(), &found.answer, changed, wanted, random());
                if std::mem::take(&mut first) {
                    let mut state = shared.state();
                    state.waiting = state.waiting.saturating_sub(1);
                    drop(state);
                    shared.asked.notify_waiters();
                }
            }
            trouble = troubles.recv() => {
                let ours = match trouble {
                    Ok(name) => shared.has(index, &name),
                    // Some were missed; they may have been ours.
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return,
                };
                if ours {
                    schedule.hurry(shared.now(), random());
                }
            }
        }
    }
}

impl Shared {
    /// Whether one of the source's members has this name.
    fn has(&self, index: usize, name: &str) -> bool {
        let state = self.state();
        state.members.source(index).is_some_and(|membership| {
            // A pool of several sources may call it by a longer name.
            membership.members().any(|member| {
                name.strip_prefix(member.name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
    }

    /// Takes in what a source said. Whether it changed anything, and when its membership wants the next answer.
    fn take(&self, index: usize, found: &Found) -> (bool, Option<Duration>) {
        let mut state = self.state();
        let State {
            members, figures, ..
        } = &mut *state;
        let changes = members.apply(index, self.now(), &found.answer);
        let mut count = |what: String| *figures.counts.entry(what).or_default() += 1;
        match &found.answer {
            Answer::Members { .. } => count("answers".to_owned()),
            Answer::Failed(failure) => count(format!("failed_{}", failure.kind.label())),
        }
        for change in &changes {
            count(format!("change_{}", change.label()));
        }
        for notice in &found.notices {
            count(format!("notice_{}", notice.kind.label()));
        }
        if let (Answer::Members { .. }, Some(at)) = (&found.answer, figures.answered.get_mut(index))
        {
            *at = Some(Instant::now());
        }
        let absent =
            |member: &&crate::discovery::Member| member.state != crate::discovery::State::Present;
        figures.absent = members
            .sources()
            .map(|(_, membership)| membership.members().filter(absent).count())
            .sum();
        let wanted = members
            .source(index)
            .and_then(crate::discovery::Membership::next_event);
        self.log(&changes);
        state.notice(&self.pool, index, found);
        let servers = changes
            .iter()
            .any(Change::is_routing)
            .then(|| state.members.servers());
        let figures = state.figures.clone();
        drop(state);
        self.running
            .registry()
            .pools()
            .entry(self.pool.clone())
            .or_default()
            .discovery = Some(figures);
        if let Some(servers) = servers {
            self.running.set_members(&self.pool, servers);
        }
        (!changes.is_empty(), wanted)
    }

    fn log(&self, changes: &[Change]) {
        let pool = &self.pool;
        for change in changes {
            match change {
                Change::Failing(_) | Change::HeldBack { .. } | Change::NoRoom { .. } => {
                    tracing::warn!(pool, change = change.label(), "{change}");
                }
                _ => tracing::info!(pool, change = change.label(), "{change}"),
            }
        }
    }
}

impl State {
    /// Logs what a person should know, once in a while as long as it stays the same.
    fn notice(&mut self, pool: &str, index: usize, found: &Found) {
        if let Answer::Members { .. } = found.answer {
            self.noticed.retain(|(source, kind), _| {
                *source != index || found.notices.iter().any(|notice| notice.kind == *kind)
            });
        }
        for notice in &found.notices {
            let key = (index, notice.kind);
            let text = notice.to_string();
            let known = self.noticed.get(&key);
            if known.is_some_and(|(said, at)| *said == text && at.elapsed() < REPEAT) {
                continue;
            }
            tracing::warn!(pool, notice = notice.kind.label(), "{text}");
            self.noticed.insert(key, (text, Instant::now()));
        }
    }
}
