//! `ringroad bench`: a load generator for any memcached endpoint.
//!
//! Each thread runs one single-threaded event loop with its share of the connections; a connection
//! makes one read and one write per turn and allocates nothing per request, so that the generator costs
//! less than what it measures. With `--rate` the load does not depend on the endpoint: requests are due
//! at fixed times, and latency counts from then (no coordinated omission). With `--check` every value
//! is proven to belong to its key.
//!
//! - `args`, `plan`: what the user asked for, checked.
//! - `sample`, `keys`, `request`: which requests, and their bytes.
//! - `reply`, `conn`, `link`: answers, and the connection that matches them to requests.
//! - `phase`, `pacer`, `thread`: when to send, and the event loop.
//! - `tally`, `watch`, `report`: what was counted, and how it is told.
//!
//! The generator knows nothing of the router: it must measure any endpoint alike, and must not share
//! the router's mistakes.
//! How to use it and how to read what it says: [`crate::docs::benchmarks`].

mod args;
mod conn;
mod keys;
mod link;
mod pacer;
mod phase;
mod plan;
mod reply;
mod report;
mod request;
mod sample;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod watch;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

pub use args::{Args, Distribution, Mix, Sizes, Target};
pub use report::{Generator, KindReport, Latency, Prefill, Process, Report};
pub use tally::Errors;
pub use watch::process_cpu;

use tokio::sync::oneshot;

use link::Address;
use plan::Plan;
use tally::Tally;
use thread::{Common, Part, PhaseResult, Work};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options cannot be carried out together.
    #[error("{0}")]
    Usage(String),
    /// The endpoint cannot be reached.
    #[error("cannot connect to {target}: {source}\n{hint}")]
    Connect {
        /// The endpoint.
        target: Target,
        /// What the system said.
        source: io::Error,
        /// What the user can check.
        hint: &'static str,
    },
    /// The endpoint stopped answering during the run.
    #[error(
        "{target} has answered nothing for {patience:?} while requests were lost or connections refused{}",
        last.as_ref().map_or(String::new(), |last| format!("; last: {last}"))
    )]
    Gone {
        /// The endpoint.
        target: Target,
        /// How long that was borne.
        patience: Duration,
        /// The last error text, if there was one.
        last: Option<String>,
    },
    /// `--check` found an answer that is wrong.
    #[error(
        "WRONG ANSWER: {0}\nIf these keys hold values of something else, use --prefill or another --key-prefix."
    )]
    WrongAnswer(String),
    /// No key could be stored.
    #[error("--prefill could not store a single key{}", last.as_ref().map_or(String::new(), |last| format!("; the endpoint said: {last}")))]
    Prefill {
        /// An error text, if there was one.
        last: Option<String>,
    },
    /// The user ended the run before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// The generator itself failed.
    #[error("the load generator failed: {0}")]
    Internal(String),
}

impl Error {
    fn connect(target: &Target, source: io::Error) -> Self {
        let hint = match (source.kind(), target) {
            (io::ErrorKind::ConnectionRefused, _) => {
                "Nothing listens there. Is the endpoint running, and is this its address and port?"
            }
            (io::ErrorKind::NotFound, Target::Unix(_)) => {
                "There is no such socket. Is the endpoint running, and does it listen on this path?"
            }
            (io::ErrorKind::PermissionDenied, Target::Unix(_)) => {
                "This user may not open the socket. Check its mode and owner."
            }
            (io::ErrorKind::TimedOut, _) => {
                "No answer at all. Check the address, and whether a firewall drops packets to it."
            }
            _ => "Check the address, and that the endpoint runs and accepts connections.",
        };
        Self::Connect {
            target: target.clone(),
            source,
            hint,
        }
    }
}

/// Runs the load that `args` describe and prints the result to standard output.
///
/// Must not be called from inside a tokio runtime.
///
/// # Errors
/// As [`measure`], and [`Error::Output`].
pub fn run(args: Args) -> Result<(), Error> {
    let report = measure(&args)?;
    let text = if args.json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|error| Error::Internal(error.to_string()))? + "\n"
    } else {
        report.text()
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Runs the load that `args` describe and gives the result. Progress goes to standard error when that
/// is a terminal; Ctrl-C ends the run early, and what was measured until then is the result.
///
/// Must not be called from inside a tokio runtime.
///
/// # Errors
/// When the options contradict each other, the endpoint cannot be reached or is gone for long, or, with
/// `--check`, an answer is wrong. Errors the endpoint answers with, and single connections it closes,
/// are counted in the report.
pub fn measure(args: &Args) -> Result<Report, Error> {
    let plan = Arc::new(Plan::new(args)?);
    // Besides its sockets a thread holds a few files, and a process its standard ones.
    link::allow_open_files((plan.connections + 8 * plan.threads + 32) as u64)?;
    let address = Address::find(&args.target)?;
    let common = Arc::new(Common {
        plan: Arc::clone(&plan),
        target: args.target.clone(),
        address,
        base: Instant::now(),
        stop: AtomicBool::new(false),
        barrier: Barrier::new(plan.threads),
        answered: (0..plan.threads).map(|_| AtomicU64::new(0)).collect(),
        samples: Mutex::new(Vec::new()),
        pids: args.pid.clone(),
    });
    let (done, wait) = mpsc::channel();
    let mut threads = Vec::with_capacity(plan.threads);
    for index in 0..plan.threads {
        let common = Arc::clone(&common);
        let parts = parts(args, &plan, index);
        let done = done.clone();
        let thread = std::thread::Builder::new()
            .name(format!("bench-{index}"))
            .spawn(move || {
                let result = thread::run(&common, index, parts);
                // The receiver lives until every thread has reported.
                let _ = done.send((index, result));
            });
        match thread {
            Ok(thread) => threads.push(thread),
            // The threads started so far wait for this one at the barrier: the process must end.
            Err(error) => return Err(Error::Internal(format!("no thread: {error}"))),
        }
    }
    drop(done);
    let results = supervise(&common, &wait)?;
    let interrupted = common.stop.load(Ordering::Relaxed);
    summarise(args, &common, results, interrupted)
}

/// The phases of thread `index`.
fn parts(args: &Args, plan: &Plan, index: usize) -> Vec<Part> {
    let share = |total: u64| {
        let at = |index: usize| (u128::from(total) * index as u128 / plan.threads as u128) as u64;
        at(index)..at(index + 1)
    };
    let keys = plan.writer.keys.count();
    let fill = |work| Part {
        work,
        range: share(keys),
        time: None,
        measured: false,
    };
    let traffic = |range, time, measured| Part {
        work: Work::Traffic,
        range,
        time,
        measured,
    };
    let mut parts = Vec::new();
    if args.prefill && plan.uses_data() {
        parts.push(fill(Work::FillData));
    }
    if args.prefill && plan.uses_counters() {
        parts.push(fill(Work::FillCounters));
    }
    if !args.warm_up.is_zero() {
        parts.push(traffic(0..u64::MAX, Some(args.warm_up), false));
    }
    parts.push(match args.requests {
        Some(total) => traffic(share(total), None, true),
        None => traffic(0..u64::MAX, Some(args.duration), true),
    });
    parts
}

/// What a thread reports when it is done: its results, phase by phase.
type ThreadResult = (usize, Result<Vec<PhaseResult>, Error>);

/// Waits for the threads; meanwhile listens for Ctrl-C and shows progress.
fn supervise(
    common: &Arc<Common>,
    wait: &mpsc::Receiver<ThreadResult>,
) -> Result<Vec<Vec<PhaseResult>>, Error> {
    const FIRST: Duration = Duration::from_secs(2);
    const EVERY: Duration = Duration::from_secs(1);
    let _listening = listen_for_interrupt(Arc::clone(common));
    let mut progress = Progress::new();
    let mut results = Vec::new();
    let mut failure: Option<Error> = None;
    let mut pause = FIRST;
    while results.len() < common.plan.threads {
        match wait.recv_timeout(pause) {
            Ok((index, Ok(phases))) => results.push((index, phases)),
            Ok((index, Err(error))) => {
                failure.get_or_insert(error);
                results.push((index, Vec::new()));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                progress.show(common);
                pause = EVERY;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::Internal("a thread panicked".into()));
            }
        }
    }
    progress.end();
    match failure {
        Some(error) => Err(error),
        None => {
            results.sort_by_key(|(index, _)| *index);
            Ok(results.into_iter().map(|(_, phases)| phases).collect())
        }
    }
}

/// Ctrl-C asks the threads to stop; a second one ends the process. Listens until the result is dropped.
fn listen_for_interrupt(common: Arc<Common>) -> oneshot::Sender<()> {
    let (end, ended) = oneshot::channel();
    let listener = std::thread::Builder::new().name("bench-signal".into());
    // Without the listener Ctrl-C ends the process at once, which is acceptable too.
    let _ = listener.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(async {
                tokio::spawn(async move {
                    if tokio::signal::ctrl_c().await.is_ok() {
                        common.stop.store(true, Ordering::Relaxed);
                    }
                    if tokio::signal::ctrl_c().await.is_ok() {
                        std::process::exit(130);
                    }
                });
                // Comes as an error, when the sender is dropped.
                let _ = ended.await;
            });
        }
    });
    end
}

/// The line on standard error that shows a long run is alive.
struct Progress {
    shown: bool,
    terminal: bool,
    last: (Instant, u64),
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: false,
            terminal: io::stderr().is_terminal(),
            last: (Instant::now(), 0),
        }
    }

    fn show(&mut self, common: &Common) {
        if !self.terminal {
            return;
        }
        let answered: u64 = common
            .answered
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum();
        let (at, before) = std::mem::replace(&mut self.last, (Instant::now(), answered));
        let rate = answered.saturating_sub(before) as f64 / at.elapsed().as_secs_f64().max(0.001);
        eprint!(
            "\r\x1b[K{:4} s  {} requests answered, {}/s now",
            common.base.elapsed().as_secs(),
            report::grouped(answered),
            report::grouped(rate as u64)
        );
        self.shown = true;
    }

    fn end(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Puts the threads' results together.
fn summarise(
    args: &Args,
    common: &Common,
    results: Vec<Vec<PhaseResult>>,
    interrupted: bool,
) -> Result<Report, Error> {
    let plan = &common.plan;
    let phases = parts(args, plan, 0);
    let kinds = || plan.mix.items();
    let mut prefill: Option<Tally> = None;
    let mut warm_up_requests = 0;
    let mut measured: Option<(Tally, u64, u64)> = None;
    for thread in results {
        for (part, result) in phases.iter().zip(thread) {
            let (start, end) = result.span;
            if part.measured {
                let (tally, first, last) =
                    measured.get_or_insert_with(|| (Tally::new(kinds(), &plan.blank), start, end));
                tally.add(&result.tally);
                *first = start.min(*first);
                *last = end.max(*last);
            } else if part.work == Work::Traffic {
                warm_up_requests += result.tally.answered;
            } else if let Some(tally) = &mut prefill {
                tally.add(&result.tally);
            } else {
                prefill = Some(result.tally);
            }
        }
    }
    let prefill = prefill.map(|tally| {
        let spaces = u64::from(plan.uses_data()) + u64::from(plan.uses_counters());
        Prefill::of(&tally, plan.writer.keys.count() * spaces)
    });
    if let Some(prefill) = prefill.as_ref().filter(|prefill| prefill.stored == 0) {
        let last = prefill.error_texts.first().map(|(text, _)| text.clone());
        return Err(Error::Prefill { last });
    }
    let Some((tally, first, last)) = measured else {
        return Err(Error::Interrupted);
    };
    let elapsed_s = last.saturating_sub(first).max(1) as f64 / 1e9;
    let requests = tally.answered;
    let per_request = |cpu: f64| cpu * 1e6 / requests.max(1) as f64;
    let samples = common
        .samples
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (before, after) = (samples.first(), samples.last());
    let used = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?) as f64 / 1e9);
    let cpu_s = used(before.map(|s| s.own), after.map(|s| s.own)).unwrap_or(0.0);
    let wall = match (before, after) {
        (Some(before), Some(after)) => after.at.duration_since(before.at).as_secs_f64(),
        _ => elapsed_s,
    };
    let processes = common.pids.iter().enumerate().map(|(at, pid)| {
        let other = |sample: Option<&watch::Sample>| sample?.others.get(at).copied().flatten();
        let cpu_s = used(other(before), other(after));
        Process {
            pid: *pid,
            name: watch::process_name(*pid),
            cpu_s,
            cpu_us_per_request: cpu_s.map(per_request),
        }
    });
    let kind_reports = tally.kinds.iter().map(|(kind, counts)| KindReport {
        kind: kind.name().to_owned(),
        requests: counts.requests,
        hits: counts.hits,
        misses: counts.misses,
        errors: counts.errors,
        latency_us: Latency::of(&counts.latency),
    });
    Ok(Report {
        target: args.target.to_string(),
        connections: plan.connections,
        depth: plan.depth,
        threads: plan.threads,
        elapsed_s,
        requests,
        requests_per_s: requests as f64 / elapsed_s,
        offered_per_s: plan.rate,
        bytes_sent: tally.sent,
        bytes_received: tally.received,
        kinds: kind_reports.collect(),
        latency_us: Latency::of(&tally.latency(&plan.blank)),
        errors: tally.errors.clone(),
        error_texts: tally.texts.clone(),
        generator: Generator {
            cpu_s,
            cpu_share: cpu_s / (wall.max(1e-9) * plan.threads as f64),
            cpu_us_per_request: per_request(cpu_s),
            writes: tally.writes,
            reads: tally.reads,
        },
        processes: processes.collect(),
        prefill,
        warm_up_requests,
        interrupted,
    })
}
