//! One thread of the generator: a single-threaded runtime, its connections, and its phases.
//!
//! All threads go through the same phases and meet at a barrier between them, so that warming up and
//! measuring start together. A thread that fails keeps meeting the others; it only does no more work.
//! Connections outlive phases: a phase spawns one task per connection and gets the connection back.
//!
//! Nothing waits for ever: an endpoint that answers nothing on any connection for [`GIVE_UP`] timeouts
//! ends the phase, and so does the stop flag, which is looked at ten times a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::LocalRuntime;

use super::conn::{Conn, Loss};
use super::link::Address;
use super::pacer;
use super::phase::{Phase, Schedule};
use super::plan::Plan;
use super::tally::Tally;
use super::watch::Sample;
use super::{Error, Target};

pub(super) use super::phase::Work;

/// Bytes read at once. Larger than a 64 KiB value with its header, so that one call takes it in.
const SCRATCH: usize = 128 * 1024;
/// How often timeouts, the stop flag and the progress figures are looked after.
const TICK: Duration = Duration::from_millis(100);
/// An endpoint that loses requests or refuses connections, and answers nothing at all for this many
/// times the timeout, is gone.
const GIVE_UP: u32 = 3;
/// Connections opened at the same time, well below a usual listen backlog.
const CONNECT_AT_ONCE: usize = 64;

/// What the threads of a run have in common.
#[derive(Debug)]
pub(super) struct Common {
    /// What to do.
    pub(super) plan: Arc<Plan>,
    /// What the user wrote as target, for messages.
    pub(super) target: Target,
    /// Where the endpoint is.
    pub(super) address: Address,
    /// The run's clock starts here.
    pub(super) base: Instant,
    /// Ends the run early: a failed thread, or the user.
    pub(super) stop: AtomicBool,
    /// Where the threads meet between phases; the main thread does not take part.
    pub(super) barrier: Barrier,
    /// Requests answered so far in the present phase, one entry per thread, for the progress line.
    pub(super) answered: Vec<AtomicU64>,
    /// CPU times when measuring started and when it ended.
    pub(super) samples: Mutex<Vec<Sample>>,
    /// Processes to sample.
    pub(super) pids: Vec<u32>,
}

impl Common {
    fn sample(&self) {
        let sample = Sample::take(&self.pids);
        // A panic elsewhere leaves the list whole: it is only ever pushed to.
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push(sample);
    }
}

/// One thread's share of a phase.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// What is sent.
    pub(super) work: Work,
    /// The thread's share of the requests; `0..u64::MAX` when time ends the phase.
    pub(super) range: std::ops::Range<u64>,
    /// How long requests are sent; `None`: until the range is used up.
    pub(super) time: Option<Duration>,
    /// Whether this is the phase that counts.
    pub(super) measured: bool,
}

/// What came of a phase on one thread.
#[derive(Debug)]
pub(super) struct PhaseResult {
    /// The counts.
    pub(super) tally: Tally,
    /// When it started and when its last answer came, in ns on the run's clock.
    pub(super) span: (u64, u64),
}

/// State shared by the tasks of one thread during one phase.
#[derive(Debug)]
pub(super) struct Shared {
    /// What to do.
    pub(super) plan: Arc<Plan>,
    /// The phase.
    pub(super) phase: Phase,
    /// The counts.
    pub(super) tally: RefCell<Tally>,
    /// Every connection reads into this.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// Since when requests are lost or connections refused with no answer in between.
    pub(super) trouble: Cell<Option<u64>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    fatal: RefCell<Option<Error>>,
    base: Instant,
}

impl Shared {
    fn new(common: &Common, phase: Phase, connections: usize) -> Self {
        let plan = Arc::clone(&common.plan);
        let tally = match phase.work {
            Work::Traffic => Tally::new(plan.mix.items(), &plan.blank),
            _ => Tally::new(std::iter::once(super::request::Kind::Set), &plan.blank),
        };
        Self {
            plan,
            phase,
            tally: RefCell::new(tally),
            scratch: RefCell::new(vec![0; SCRATCH]),
            trouble: Cell::new(None),
            wakers: RefCell::new(vec![None; connections]),
            fatal: RefCell::new(None),
            base: common.base,
        }
    }

    /// The run's clock, in ns.
    pub(super) fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Remembers how to wake the task of the connection at `place`.
    pub(super) fn park(&self, place: usize, cx: &Context<'_>) {
        if let Some(slot) = self.wakers.borrow_mut().get_mut(place) {
            match slot {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => *slot = Some(cx.waker().clone()),
            }
        }
    }

    /// Wakes the connection at `place`.
    pub(super) fn wake(&self, place: usize) {
        if let Some(Some(waker)) = self.wakers.borrow().get(place) {
            waker.wake_by_ref();
        }
    }

    /// Requests were lost or a connection refused.
    pub(super) fn in_trouble(&self) {
        if self.trouble.get().is_none() {
            self.trouble.set(Some(self.now()));
        }
    }

    fn fail(&self, error: Error) {
        self.fatal.borrow_mut().get_or_insert(error);
        self.phase.stop();
    }
}

/// Runs thread number `index` through `parts`; every thread must get equally many.
///
/// # Errors
/// The first thing that ended the thread's work early.
pub(super) fn run(
    common: &Arc<Common>,
    index: usize,
    parts: Vec<Part>,
) -> Result<Vec<PhaseResult>, Error> {
    let mut results = Vec::new();
    let mut outcome = Worker::start(common, index);
    if outcome.is_err() {
        common.stop.store(true, Ordering::Relaxed);
    }
    common.barrier.wait();
    for part in parts {
        if part.measured && index == 0 {
            common.sample();
        }
        if let Ok(worker) = &mut outcome
            && !common.stop.load(Ordering::Relaxed)
        {
            match worker.phase(&part) {
                Ok(result) => results.push(result),
                Err(error) => {
                    common.stop.store(true, Ordering::Relaxed);
                    outcome = Err(error);
                }
            }
        }
        common.barrier.wait();
        if part.measured && index == 0 {
            common.sample();
        }
    }
    outcome.map(|_| results)
}

/// A thread's runtime and connections.
struct Worker {
    common: Arc<Common>,
    index: usize,
    runtime: LocalRuntime,
    conns: Vec<Conn>,
}

impl Worker {
    fn start(common: &Arc<Common>, index: usize) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .map_err(|error| Error::Internal(format!("no event loop: {error}")))?;
        let plan = &common.plan;
        // Connection `n` belongs to thread `n % threads`.
        let numbers = (index..plan.connections).step_by(plan.threads);
        let phase = Phase::new(Work::Traffic, 1, 0..0, 0, None);
        let shared = Shared::new(common, phase, 0);
        let mut conns: Vec<_> = numbers
            .enumerate()
            .map(|(place, number)| Conn::new(number as u64, place, &shared))
            .collect();
        runtime.block_on(async {
            for group in conns.chunks_mut(CONNECT_AT_ONCE) {
                let opening: Vec<_> = group
                    .iter()
                    .map(|_| {
                        let common = Arc::clone(common);
                        tokio::task::spawn_local(async move { common.address.connect().await })
                    })
                    .collect();
                for (conn, opening) in group.iter_mut().zip(opening) {
                    let link = opening
                        .await
                        .map_err(|error| Error::Internal(error.to_string()))?
                        .map_err(|source| Error::connect(&common.target, source))?;
                    conn.link = Some(link);
                }
                if common.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(Self {
            common: Arc::clone(common),
            index,
            runtime,
            conns,
        })
    }

    fn phase(&mut self, part: &Part) -> Result<PhaseResult, Error> {
        let plan = &self.common.plan;
        let start = self.common.base.elapsed().as_nanos() as u64;
        let until = part.time.map_or(u64::MAX, |time| {
            start.saturating_add(time.as_nanos() as u64)
        });
        let filling = part.work != Work::Traffic;
        let schedule = plan.rate.filter(|_| !filling).map(|rate| Schedule {
            start,
            gap: 1e9 / rate as f64,
            connections: plan.connections as u64,
        });
        let depth = if filling { plan.fill_depth } else { plan.depth };
        let phase = Phase::new(part.work, depth, part.range.clone(), until, schedule);
        let shared = Rc::new(Shared::new(&self.common, phase, self.conns.len()));
        let conns = std::mem::take(&mut self.conns);
        self.conns = self.runtime.block_on(drive_all(
            Rc::clone(&shared),
            Arc::clone(&self.common),
            self.index,
            conns,
        ))?;
        if let Some(error) = shared.fatal.borrow_mut().take() {
            return Err(error);
        }
        let blank = Tally::new(std::iter::empty(), &plan.blank);
        let tally = shared.tally.replace(blank);
        let end = if tally.last_answer > start {
            tally.last_answer
        } else {
            shared.now()
        };
        Ok(PhaseResult {
            tally,
            span: (start, end),
        })
    }
}

/// Runs a phase over all connections of a thread and gives them back.
async fn drive_all(
    shared: Rc<Shared>,
    common: Arc<Common>,
    index: usize,
    conns: Vec<Conn>,
) -> Result<Vec<Conn>, Error> {
    let numbers = conns.iter().map(|conn| conn.number).collect();
    let mut helpers = vec![tokio::task::spawn_local(tick(
        Rc::clone(&shared),
        Arc::clone(&common),
        index,
    ))];
    if shared.phase.schedule.is_some() {
        helpers.push(tokio::task::spawn_local(pacer::run(
            Rc::clone(&shared),
            numbers,
        )));
    }
    let tasks: Vec<_> = conns
        .into_iter()
        .map(|conn| tokio::task::spawn_local(drive(conn, Rc::clone(&shared), Arc::clone(&common))))
        .collect();
    let mut conns = Vec::with_capacity(tasks.len());
    for task in tasks {
        conns.push(
            task.await
                .map_err(|error| Error::Internal(error.to_string()))?,
        );
    }
    for helper in helpers {
        helper.abort();
    }
    Ok(conns)
}

/// Runs a phase over one connection, which is opened again as often as it is lost.
async fn drive(mut conn: Conn, shared: Rc<Shared>, common: Arc<Common>) -> Conn {
    conn.begin_phase();
    loop {
        if conn.link.is_none() && !reconnect(&mut conn, &shared, &common).await {
            break;
        }
        match std::future::poll_fn(|cx| conn.turn(cx, &shared)).await {
            Ok(()) => break,
            Err(Loss::WrongValue(text)) => {
                conn.lose(&Loss::WrongValue(text.clone()), &shared);
                shared.fail(Error::WrongAnswer(text));
                break;
            }
            Err(Loss::WrongKey(text)) if shared.plan.check => {
                conn.lose(&Loss::WrongKey(text.clone()), &shared);
                shared.fail(Error::WrongAnswer(text));
                break;
            }
            Err(loss) => conn.lose(&loss, &shared),
        }
    }
    if !shared.phase.is_stopped() {
        let unsent = conn.unsent(&shared);
        shared.tally.borrow_mut().errors.unsent_requests += unsent;
    }
    conn
}

/// Opens the connection again, with growing pauses; `false` when the phase ended first.
async fn reconnect(conn: &mut Conn, shared: &Shared, common: &Common) -> bool {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_millis(500);
    loop {
        if conn.failures > 0 {
            let pause = FIRST_PAUSE * 2_u32.pow(conn.failures.min(8) - 1);
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
        if shared.phase.is_over(shared.now()) || !shared.phase.has_more() {
            return false;
        }
        match common.address.connect().await {
            Ok(link) => {
                conn.link = Some(link);
                return true;
            }
            Err(error) => {
                conn.failures = conn.failures.saturating_add(1);
                shared.in_trouble();
                let mut tally = shared.tally.borrow_mut();
                tally.errors.connect_failures += 1;
                tally.note(&format!("cannot reconnect: {error}"));
            }
        }
    }
}

/// Looks after timeouts, the stop flag, an endpoint that is gone, and the progress figures.
async fn tick(shared: Rc<Shared>, common: Arc<Common>, index: usize) {
    loop {
        tokio::time::sleep(TICK).await;
        if common.stop.load(Ordering::Relaxed) {
            shared.phase.stop();
        }
        if let Some(answered) = common.answered.get(index) {
            answered.store(shared.tally.borrow().answered, Ordering::Relaxed);
        }
        let patience = shared.plan.timeout * GIVE_UP;
        let hopeless = shared
            .trouble
            .get()
            .is_some_and(|since| shared.now().saturating_sub(since) > patience.as_nanos() as u64);
        if hopeless {
            let last = shared
                .tally
                .borrow()
                .texts
                .last()
                .map(|(text, _)| text.clone());
            shared.fail(Error::Gone {
                target: common.target.clone(),
                patience,
                last,
            });
        }
        let count = shared.wakers.borrow().len();
        (0..count).for_each(|place| shared.wake(place));
    }
}
